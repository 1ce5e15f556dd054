/* The heap.  An allocation that the system refuses is not an error a stage could recover from: it
 * calls the handler that the program's entry installed, which must not return (it reports and
 * exits with ERROR_IO).  So these never return NULL.  Caps that a user sets (--memory) are another
 * matter: state is charged to a budget by its owner and fails with an error of its own.
 *
 * Sizes in bytes.  mem_free(NULL) is nothing. */
#ifndef RUNNEL_BASE_MEMORY_H
#define RUNNEL_BASE_MEMORY_H

#include <stddef.h>

void *mem_alloc(size_t bytes);
void *mem_zero(size_t bytes);
void *mem_resize(void *p, size_t bytes);
void mem_free(void *p);
char *mem_strdup(const char *text);
char *mem_strndup(const char *text, size_t len);
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Memory for columns: aligned to 64 bytes, its contents kept up to the lesser size.  old_bytes is
 * what it was asked for with, 0 if p is NULL.  From some megabytes on these are pages of their
 * own, which grow by being moved in the page tables, not copied. */
void *mem_column_resize(void *p, size_t old_bytes, size_t bytes);
void mem_column_free(void *p, size_t bytes);

/* Zeroed memory that a child of fork does not get if it is large: what a snapshot doesn't need costs
 * neither its fork (20 ms a gigabyte) nor copies of the pages written meanwhile. */
void *mem_unforked_zero(size_t bytes);
void mem_unforked_free(void *p, size_t bytes);

/* handler is called with the size that was refused; if it returns, the process aborts. */
void mem_on_failure(void (*handler)(size_t bytes));

/* Grows *array (of element_bytes each) so that it holds at least `needed` elements; *cap is in
 * elements.  Doubles, so that appending is linear. */
void mem_grow(void **array, size_t *cap, size_t needed, size_t element_bytes);

#define MEM_GROW(array, cap, needed) \
	do { \
		if ((size_t)(needed) > (size_t)(cap)) { \
			size_t mem_cap_ = (size_t)(cap); \
			void *mem_array_ = (array); \
			mem_grow(&mem_array_, &mem_cap_, (size_t)(needed), sizeof *(array)); \
			(array) = mem_array_; \
			(cap) = mem_cap_; \
		} \
	} while (0)

#endif
