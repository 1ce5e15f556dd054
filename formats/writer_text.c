/* Searching text for the few bytes that need care, 32 at a time: most text has none, and is copied
 * while it is looked at. */
#include "formats/writer_impl.h"

#include "libcore/base/cpu.h"

#include <immintrin.h>
#include <stdio.h>

#define AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))

enum { BLOCK = 32 };

/* The escape of one byte; returns its length, at most 6. */
static size_t put_escape(uint8_t c, char *out)
{
	static const char letters[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
		['\r'] = 'r'};
	static const char hex[] = "0123456789abcdef";

	out[0] = '\\';
	if (c >= 0x20 || letters[c]) {
		out[1] = c >= 0x20 ? (char)c : letters[c];
		return 2;
	}
	memcpy(out + 1, "u00", 3);
	out[4] = hex[c >> 4];
	out[5] = hex[c & 15];
	return 6;
}

static bool is_special(uint8_t c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

static size_t put_portable(const char *text, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];

		if (is_special(c))
			n += put_escape(c, out + n);
		else
			out[n++] = (char)c;
	}
	return n;
}

/* Copies blocks whole and then counts only what is clean: out has 32 bytes to spare. */
AVX2 static size_t put_avx2(const char *text, size_t len, size_t readable, char *out)
{
	const __m256i quote = _mm256_set1_epi8('"'), backslash = _mm256_set1_epi8('\\');
	const __m256i space = _mm256_set1_epi8(0x1f);
	size_t i = 0, n = 0;

	while (i < len && readable - i >= BLOCK) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(text + i));
		__m256i bad = _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(v, quote),
			_mm256_cmpeq_epi8(v, backslash)),
			_mm256_cmpeq_epi8(_mm256_min_epu8(v, space), v));
		uint32_t mask = (uint32_t)_mm256_movemask_epi8(bad);
		size_t left = len - i, clean = mask ? (size_t)__builtin_ctz(mask) : BLOCK;

		_mm256_storeu_si256((__m256i *)(void *)(out + n), v);
		if (clean >= left)
			return n + left;
		n += clean;
		i += clean;
		if (clean < BLOCK)
			n += put_escape((uint8_t)text[i++], out + n);
	}
	return n + put_portable(text + i, len - i, out + n);
}

size_t writer_put_json_text(const char *text, size_t len, size_t readable, char *out)
{
	size_t n;

	out[0] = '"';
	n = cpu_has_avx2() ? put_avx2(text, len, readable, out + 1) : put_portable(text, len, out + 1);
	out[n + 1] = '"';
	return n + 2;
}

AVX2 static size_t plain_avx2(const char *text, size_t len, size_t readable, const char special[4])
{
	const __m256i a = _mm256_set1_epi8(special[0]), b = _mm256_set1_epi8(special[1]);
	const __m256i c = _mm256_set1_epi8(special[2]), d = _mm256_set1_epi8(special[3]);
	size_t i = 0;

	for (; i < len && readable - i >= BLOCK; i += BLOCK) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(text + i));
		__m256i hit = _mm256_or_si256(
			_mm256_or_si256(_mm256_cmpeq_epi8(v, a), _mm256_cmpeq_epi8(v, b)),
			_mm256_or_si256(_mm256_cmpeq_epi8(v, c), _mm256_cmpeq_epi8(v, d)));
		uint32_t mask = (uint32_t)_mm256_movemask_epi8(hit);

		if (mask) {
			size_t at = i + (size_t)__builtin_ctz(mask);

			return at < len ? at : len;
		}
	}
	for (; i < len; i++) {
		if (memchr(special, text[i], 4))
			return i;
	}
	return len;
}

size_t writer_plain_len(const char *text, size_t len, size_t readable, const char special[4])
{
	if (cpu_has_avx2())
		return plain_avx2(text, len, readable, special);
	for (size_t i = 0; i < len; i++) {
		if (memchr(special, text[i], 4))
			return i;
	}
	return len;
}
