/* What the readers and the writer of PostgreSQL's values share: big-endian words, and numerics.
 *
 *   numeric   digits i16, weight i16, sign u16, scale u16, then digits of base 10,000: the first
 * counts 10,000^weight.  sign: 0, 0x4000 negative, 0xc000 NaN, 0xd000 and 0xf000 infinity date i32
 * days, timestamp i64 microseconds, since 2000-01-01 interval  i64 microseconds, i32 days, i32
 * months */
#ifndef RUNNEL_CONNECT_HEAVY_POSTGRES_BINARY_H
#define RUNNEL_CONNECT_HEAVY_POSTGRES_BINARY_H

#include "libcore/base/buf.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define POSTGRES_EPOCH_DAYS 10957
#define POSTGRES_EPOCH_US (INT64_C(10957) * 86400 * 1000000)

enum {
	NUMERIC_HEAD_BYTES = 8,
	NUMERIC_BASE = 10000,
	NUMERIC_BASE_DIGITS = 4,
	NUMERIC_NEGATIVE = 0x4000,
	NUMERIC_NAN = 0xc000,
	NUMERIC_INFINITY = 0xd000,
	NUMERIC_MINUS_INFINITY = 0xf000,
	NUMERIC_SCALE_MAX = 16383,
};

static inline uint16_t take_u16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof v);
	return be16toh(v);
}

static inline uint32_t take_u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return be32toh(v);
}

static inline uint64_t take_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return be64toh(v);
}

static inline void put_u16(struct buf *b, uint16_t v)
{
	v = htobe16(v);
	buf_put(b, &v, sizeof v);
}

static inline void put_u32(struct buf *b, uint32_t v)
{
	v = htobe32(v);
	buf_put(b, &v, sizeof v);
}

static inline void put_u64(struct buf *b, uint64_t v)
{
	v = htobe64(v);
	buf_put(b, &v, sizeof v);
}

/* The exact text of a numeric, as the server writes it.  0, -1: malformed. */
int numeric_put_text(const uint8_t *bytes, size_t len, struct buf *out);

/* Exactly, at a scale.  0, -1 and *why. */
int numeric_take(const uint8_t *bytes, size_t len, unsigned scale, __int128 *out, const char **why);

/* Appends the binary form. */
void numeric_put(__int128 unscaled, unsigned scale, struct buf *out);
/* From text: digits with a point, an exponent, NaN, Infinity.  -1 with nothing appended: no number,
 * or one beyond what the server holds. */
int numeric_put_from_text(const char *text, size_t len, struct buf *out);

#endif
