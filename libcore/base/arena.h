/* Memory with one common end: what lives as long as a stage, a program of expressions, a batch.
 * Single objects are never freed; arena_reset forgets all and keeps the blocks for the next batch,
 * arena_clear frees them.  Results are aligned to 64 bytes where they are 64 bytes or longer (so
 * that columns suit vector loads), to 16 otherwise.  Not zeroed unless said. */
#ifndef RUNNEL_BASE_ARENA_H
#define RUNNEL_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
	struct arena_block *first;   /* blocks in use, newest first */
	struct arena_block *spare;   /* blocks kept by arena_reset */
	uint8_t *next, *end;         /* free part of the newest block */
};

#define ARENA_INIT {.first = NULL}

void *arena_alloc(struct arena *a, size_t bytes);
void *arena_zero(struct arena *a, size_t bytes);
char *arena_strdup(struct arena *a, const char *text);
char *arena_strndup(struct arena *a, const char *text, size_t len);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *a);
void arena_clear(struct arena *a);

#define ARENA_NEW(arena, type) ((type *)arena_zero((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, n) ((type *)arena_zero((arena), (size_t)(n) * sizeof(type)))

#endif
