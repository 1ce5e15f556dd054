/* A growing run of bytes.
 *
 *   data            data + len            data + cap
 *   | what was put  | room                |
 *
 * data is NULL until the first put; a view of it is valid until the next call that may grow it.
 * The bytes are not terminated; buf_cstr puts a NUL behind them (not counted in len). */
#ifndef RUNNEL_BASE_BUF_H
#define RUNNEL_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

#define BUF_INIT {.data = NULL, .len = 0, .cap = 0}

void buf_clear(struct buf *b); /* frees; usable again after */

static inline void buf_reset(struct buf *b) /* empties, keeps the memory */
{
	b->len = 0;
}

void buf_grow(struct buf *b, size_t more);

/* Room for `more` further bytes; returns where they go.  The caller adds to len what it wrote. */
static inline uint8_t *buf_reserve(struct buf *b, size_t more)
{
	if (b->cap - b->len < more)
		buf_grow(b, more);
	return b->data + b->len;
}

static inline void buf_put(struct buf *b, const void *bytes, size_t len)
{
	if (len) /* memcpy from NULL is undefined even for nothing */
		memcpy(buf_reserve(b, len), bytes, len);
	b->len += len;
}

static inline void buf_put_byte(struct buf *b, uint8_t byte)
{
	*buf_reserve(b, 1) = byte;
	b->len++;
}

void buf_put_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *buf_cstr(struct buf *b);

/* Hands the bytes to the caller, who frees them with mem_free; the buffer is empty after. */
uint8_t *buf_take(struct buf *b, size_t *len);

#endif
