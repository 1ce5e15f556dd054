#include "formats/ndjson_parts.h"
#include "libcore/base/civil.h"
#include "libcore/base/digits.h"

#if defined(__x86_64__)
#	include <immintrin.h>

#	define FAST_NAME ndjson_fast_avx2
#	define KERNEL __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))

KERNEL static inline bool is_literal(const uint8_t *p, const struct ndjson_step *s)
{
	__m256i at = _mm256_loadu_si256((const __m256i *)p);
	__m256i literal = _mm256_loadu_si256((const __m256i *)s->literal);
	uint32_t same = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(at, literal));

	return !(~same & s->mask);
}

/* Bytes that end plain text: quote, backslash, control characters; above 0x7f as well, since a
 * signed comparison has them below the space. */
KERNEL static inline uint32_t specials(__m256i v)
{
	__m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
	__m256i backslash = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));
	__m256i below = _mm256_cmpgt_epi8(_mm256_set1_epi8(' '), v);

	return (uint32_t)_mm256_movemask_epi8(
		_mm256_or_si256(_mm256_or_si256(quote, backslash), below));
}

KERNEL static inline uint32_t copy_32(uint8_t *to, const uint8_t *p)
{
	__m256i v = _mm256_loadu_si256((const __m256i *)p);

	_mm256_storeu_si256((__m256i *)to, v);
	return specials(v);
}

static void grow_text(struct column_builder *b, size_t len)
{
	size_t before = b->bytes.len;

	b->bytes.len = len;
	buf_grow(&b->bytes, 256);
	b->bytes.len = before;
}

/* First 32 bytes, then 64 with one branch: texts of 40 to 90 bytes, such as addresses, then take
 * the same way whatever their length. */
KERNEL static inline __attribute__((always_inline)) const uint8_t *copy_text(
	struct column_builder *b, const uint8_t *p, const uint8_t *last)
{
	size_t len = b->bytes.len;
	uint64_t stop;

	if (__builtin_expect(b->bytes.cap - len < 96, 0))
		grow_text(b, len);
	stop = copy_32(b->bytes.data + len, p);
	if (!stop) {
		p += 32;
		len += 32;
		for (;; p += 64, len += 64) {
			if (p > last)
				return NULL;
			if (__builtin_expect(b->bytes.cap - len < 64, 0))
				grow_text(b, len);
			stop = copy_32(b->bytes.data + len, p);
			stop |= (uint64_t)copy_32(b->bytes.data + len + 32, p + 32) << 32;
			if (stop)
				break;
		}
	}
	p += __builtin_ctzll(stop);
	if (*p != '"')
		return NULL;
	b->bytes.len = len + (unsigned)__builtin_ctzll(stop);
	return p;
}

KERNEL static inline const uint8_t *pass_text(const uint8_t *p, const uint8_t *last)
{
	for (; p <= last; p += 32) {
		__m256i v = _mm256_loadu_si256((const __m256i *)p);
		uint32_t stop = specials(v) & ~(uint32_t)_mm256_movemask_epi8(v);

		if (stop) {
			p += __builtin_ctz(stop);
			return *p == '"' ? p : NULL;
		}
	}
	return NULL;
}

KERNEL static inline uint64_t newlines(const uint8_t *p)
{
	__m256i newline = _mm256_set1_epi8('\n');
	__m256i low = _mm256_loadu_si256((const __m256i *)p);
	__m256i high = _mm256_loadu_si256((const __m256i *)(p + 32));

	return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, newline)) |
	       (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, newline)) << 32;
}

/* 128 bytes at a time, one branch for all: lines differ in length, and a branch for each 32 bytes
 * is a misprediction a line (2.5 instead of 4 GB/s). */
KERNEL static inline const uint8_t *find_newline(const uint8_t *p, const uint8_t *end)
{
	for (; end - p >= 128; p += 128) {
		uint64_t first = newlines(p), second = newlines(p + 64);

		if (first | second) {
			uint64_t at = first ? first : second;

			return p + (first ? 0 : 64) + __builtin_ctzll(at);
		}
	}
	return memchr(p, '\n', (size_t)(end - p));
}

#	include "formats/ndjson_fast.inc"

#else

const uint8_t *ndjson_fast_avx2(
	struct ndjson *r, const uint8_t *p, const uint8_t *end, uint32_t *rows)
{
	return ndjson_fast_portable(r, p, end, rows);
}

#endif
