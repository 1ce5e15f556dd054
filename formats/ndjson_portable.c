#include "formats/ndjson_parts.h"
#include "libcore/base/civil.h"
#include "libcore/base/digits.h"

#define FAST_NAME ndjson_fast_portable
#define KERNEL

static inline bool is_literal(const uint8_t *p, const struct ndjson_step *s)
{
	size_t n = s->literal_len < sizeof(s->literal) ? s->literal_len : sizeof(s->literal);

	return !memcmp(p, s->literal, n);
}

/* The high bit of each byte that is equal to one. */
static inline uint64_t bytes_equal(uint64_t w, uint8_t byte)
{
	uint64_t x = w ^ DIGITS_EACH(byte);

	return ~(((x & DIGITS_EACH(0x7f)) + DIGITS_EACH(0x7f)) | x) & DIGITS_EACH(0x80);
}

/* The high bit of each quote, backslash and control character. */
static inline uint64_t specials(uint64_t w)
{
	uint64_t printable = (w & DIGITS_EACH(0x7f)) + DIGITS_EACH(0x60);

	return bytes_equal(w, '"') | bytes_equal(w, '\\') | (~(printable | w) & DIGITS_EACH(0x80));
}

static inline const uint8_t *copy_text(
	struct column_builder *b, const uint8_t *p, const uint8_t *last)
{
	size_t len = b->bytes.len;

	for (; p <= last; p += 8, len += 8) {
		uint64_t w = digits_load8((const char *)p);
		uint64_t stop = specials(w) | (w & DIGITS_EACH(0x80));

		if (b->bytes.cap - len < 8) {
			size_t before = b->bytes.len;

			b->bytes.len = len;
			buf_grow(&b->bytes, 64);
			b->bytes.len = before;
		}
		memcpy(b->bytes.data + len, p, 8);
		if (stop) {
			unsigned n = (unsigned)__builtin_ctzll(stop) >> 3;

			if (p[n] != '"')
				return NULL;
			b->bytes.len = len + n;
			return p + n;
		}
	}
	return NULL;
}

static inline const uint8_t *pass_text(const uint8_t *p, const uint8_t *last)
{
	for (; p <= last; p += 8) {
		uint64_t stop = specials(digits_load8((const char *)p));

		if (stop) {
			p += __builtin_ctzll(stop) >> 3;
			return *p == '"' ? p : NULL;
		}
	}
	return NULL;
}

static inline const uint8_t *find_newline(const uint8_t *p, const uint8_t *end)
{
	return memchr(p, '\n', (size_t)(end - p));
}

#include "formats/ndjson_fast.inc"
