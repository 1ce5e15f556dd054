#include "libcore/base/buf.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdarg.h>
#include <stdio.h>

enum { BUF_FIRST_BYTES = 64 };

void buf_clear(struct buf *b)
{
	mem_free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_grow(struct buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap * 2 : BUF_FIRST_BYTES;

	MUST(more <= SIZE_MAX / 4 && b->len <= SIZE_MAX / 4);
	if (cap < b->len + more)
		cap = b->len + more;
	b->data = mem_resize(b->data, cap);
	b->cap = cap;
}

void buf_put_text(struct buf *b, const char *text)
{
	buf_put(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	MUST(len >= 0);
	va_start(args, format);
	vsnprintf((char *)buf_reserve(b, (size_t)len + 1), (size_t)len + 1, format, args);
	va_end(args);
	b->len += (size_t)len;
}

const char *buf_cstr(struct buf *b)
{
	*buf_reserve(b, 1) = '\0';
	return (const char *)b->data;
}

uint8_t *buf_take(struct buf *b, size_t *len)
{
	uint8_t *data = b->data;

	*len = b->len;
	*b = (struct buf)BUF_INIT;
	return data;
}
