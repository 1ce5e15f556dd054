#include "libcore/base/memory.h"

#include "libcore/base/must.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

void mem_grow(void **array, size_t *cap, size_t needed, size_t element_bytes)
{
	size_t next = *cap ? *cap * 2 : 16;

	if (next < needed)
		next = needed;
	MUST(next <= SIZE_MAX / 2 / element_bytes);
	*array = mem_resize(*array, next * element_bytes);
	*cap = next;
}
