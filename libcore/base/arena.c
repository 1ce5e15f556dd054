#include "libcore/base/arena.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct arena_block {
	struct arena_block *next;
	size_t bytes; /* of the payload behind this header */
};

enum {
	BLOCK_MIN_BYTES = 16 << 10,
	HEADER_BYTES = 64, /* so that the payload is as aligned as the block */
	ALIGN_SMALL = 16,
	ALIGN_LARGE = 64,
};

static uint8_t *payload(struct arena_block *b)
{
	return (uint8_t *)b + HEADER_BYTES;
}

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* The first spare block that is large enough, else a new one. */
static struct arena_block *block_get(struct arena *a, size_t bytes)
{
	struct arena_block **link = &a->spare, *b;

	for (; (b = *link); link = &b->next) {
		if (b->bytes >= bytes) {
			*link = b->next;
			return b;
		}
	}
	if (bytes < BLOCK_MIN_BYTES)
		bytes = BLOCK_MIN_BYTES;
	b = mem_alloc(HEADER_BYTES + bytes);
	b->bytes = bytes;
	return b;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	size_t align = bytes >= ALIGN_LARGE ? ALIGN_LARGE : ALIGN_SMALL;
	uintptr_t at = round_up((uintptr_t)a->next, align);
	struct arena_block *b;

	MUST(bytes <= SIZE_MAX / 4);
	if (!a->first || at > (uintptr_t)a->end || (uintptr_t)a->end - at < bytes) {
		b = block_get(a, bytes + ALIGN_LARGE);
		b->next = a->first;
		a->first = b;
		a->next = payload(b);
		a->end = a->next + b->bytes;
		at = round_up((uintptr_t)a->next, align);
	}
	a->next = (uint8_t *)at + bytes;
	return (void *)at;
}

void *arena_zero(struct arena *a, size_t bytes)
{
	return memset(arena_alloc(a, bytes), 0, bytes);
}

char *arena_strndup(struct arena *a, const char *text, size_t len)
{
	char *copy = arena_alloc(a, len + 1);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *arena_strdup(struct arena *a, const char *text)
{
	return arena_strndup(a, text, strlen(text));
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	MUST(len >= 0);
	text = arena_alloc(a, (size_t)len + 1);
	va_start(args, format);
	vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return text;
}

void arena_reset(struct arena *a)
{
	struct arena_block *b;

	while ((b = a->first)) {
		a->first = b->next;
		b->next = a->spare;
		a->spare = b;
	}
	a->next = a->end = NULL;
}

void arena_clear(struct arena *a)
{
	struct arena_block *b;

	arena_reset(a);
	while ((b = a->spare)) {
		a->spare = b->next;
		mem_free(b);
	}
}
