#include "libcore/base/memory.h"

#include "libcore/base/must.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGES_BYTES = 2 << 20, COLUMN_ALIGN = 64, COLUMN_LARGE_BYTES = 8 << 20 };

static void (*failure_handler)(size_t bytes);

static void *checked(void *p, size_t bytes)
{
	if (p || bytes == 0)
		return p;
	if (failure_handler)
		failure_handler(bytes);
	abort();
}

void mem_on_failure(void (*handler)(size_t bytes))
{
	failure_handler = handler;
}

void *mem_alloc(size_t bytes)
{
	return checked(malloc(bytes ? bytes : 1), bytes);
}

void *mem_zero(size_t bytes)
{
	return checked(calloc(1, bytes ? bytes : 1), bytes);
}

void *mem_resize(void *p, size_t bytes)
{
	return checked(realloc(p, bytes ? bytes : 1), bytes);
}

void mem_free(void *p)
{
	free(p);
}

char *mem_strdup(const char *text)
{
	return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t len)
{
	char *copy = mem_alloc(len + 1);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *mem_printf(const char *format, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	MUST(len >= 0);
	text = mem_alloc((size_t)len + 1);
	va_start(args, format);
	vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return text;
}

void mem_grow(void **array, size_t *cap, size_t needed, size_t element_bytes)
{
	size_t next = *cap ? *cap * 2 : 16;

	if (next < needed)
		next = needed;
	MUST(next <= SIZE_MAX / 2 / element_bytes);
	*array = mem_resize(*array, next * element_bytes);
	*cap = next;
}

/* ---- columns ---- */

static size_t column_bytes(size_t bytes)
{
	size_t align = bytes >= COLUMN_LARGE_BYTES ? PAGES_BYTES : COLUMN_ALIGN;

	MUST(bytes <= SIZE_MAX - align);
	return bytes ? (bytes + align - 1) & ~(align - 1) : align;
}

static void *column_alloc(size_t bytes)
{
	void *p;

	if (bytes < COLUMN_LARGE_BYTES)
		return checked(aligned_alloc(COLUMN_ALIGN, column_bytes(bytes)), bytes);
	p = mmap(NULL, column_bytes(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		0);
	return checked(p == MAP_FAILED ? NULL : p, bytes);
}

void mem_column_free(void *p, size_t bytes)
{
	if (bytes < COLUMN_LARGE_BYTES)
		free(p);
	else
		munmap(p, column_bytes(bytes));
}

void *mem_column_resize(void *p, size_t old_bytes, size_t bytes)
{
	void *to;

	if (p && old_bytes >= COLUMN_LARGE_BYTES && bytes >= COLUMN_LARGE_BYTES) {
		to = mremap(p, column_bytes(old_bytes), column_bytes(bytes), MREMAP_MAYMOVE);
		return checked(to == MAP_FAILED ? NULL : to, bytes);
	}
	to = column_alloc(bytes);
	if (p)
		memcpy(to, p, old_bytes < bytes ? old_bytes : bytes);
	if (p)
		mem_column_free(p, old_bytes);
	return to;
}

void *mem_unforked_zero(size_t bytes)
{
	void *p;

	if (bytes < COLUMN_LARGE_BYTES)
		return mem_zero(bytes);
	p = column_alloc(bytes); /* new pages are zero */
	madvise(p, column_bytes(bytes), MADV_DONTFORK);
	return p;
}

void mem_unforked_free(void *p, size_t bytes)
{
	if (p)
		mem_column_free(p, bytes);
}
