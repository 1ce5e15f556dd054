#include "libcore/base/utf8.h"

#include <string.h>

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t load8(const char *text)
{
	uint64_t w;

	memcpy(&w, text, 8);
	return w;
}

/* The first byte at or behind i that isn't ASCII, 32 at a time. */
static inline size_t skip_ascii(const char *text, size_t len, size_t i)
{
	while (len - i >= 32) {
		uint64_t w = load8(text + i) | load8(text + i + 8) | load8(text + i + 16) |
			     load8(text + i + 24);

		if (w & EACH_BYTE(0x80))
			break;
		i += 32;
	}
	while (len - i >= 8 && !(load8(text + i) & EACH_BYTE(0x80)))
		i += 8;
	while (i < len && (signed char)text[i] >= 0)
		i++;
	return i;
}

bool utf8_is_ascii(const char *text, size_t len)
{
	return skip_ascii(text, len, 0) == len;
}

static inline bool follows(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* Bytes of the well-formed character that starts with a byte above 0x7f, or 0.  The ranges of the
 * second byte are those of table 3-7 of the Unicode Standard. */
static inline size_t long_character(const char *text, size_t len)
{
	unsigned char lead = (unsigned char)text[0], second;

	if (lead < 0xc2 || lead > 0xf4 || len < 2 || !follows(text[1]))
		return 0;
	if (lead < 0xe0)
		return 2;
	second = (unsigned char)text[1];
	if (len < 3 || !follows(text[2]))
		return 0;
	if (lead < 0xf0)
		return (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ? 0 : 3;
	if (len < 4 || !follows(text[3]))
		return 0;
	return (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f) ? 0 : 4;
}

size_t utf8_valid_len(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t n;

		if ((signed char)text[i] >= 0) {
			i = skip_ascii(text, len, i);
			continue;
		}
		n = long_character(text + i, len - i);
		if (!n)
			return i;
		i += n;
	}
	return len;
}

bool utf8_valid(const char *text, size_t len)
{
	return utf8_valid_len(text, len) == len;
}

/* How many of the eight bytes follow in a character: top bits 10. */
static inline unsigned followers8(uint64_t w)
{
	return (unsigned)((((w >> 7) & ~(w >> 6)) & EACH_BYTE(1)) * EACH_BYTE(1) >> 56);
}

size_t utf8_count(const char *text, size_t len)
{
	size_t count = len, i = 0;

	for (; len - i >= 8; i += 8)
		count -= followers8(load8(text + i));
	for (; i < len; i++)
		count -= follows(text[i]);
	return count;
}

size_t utf8_offset(const char *text, size_t len, size_t n)
{
	size_t i = 0;

	while (len - i >= 8) {
		size_t starts = 8 - followers8(load8(text + i));

		if (starts > n)
			break;
		n -= starts;
		i += 8;
	}
	for (; i < len; i++) {
		if (follows(text[i]))
			continue;
		if (!n)
			return i;
		n--;
	}
	return len;
}

size_t utf8_decode(const char *text, size_t len, uint32_t *code)
{
	size_t n;
	uint32_t value;

	if (!len)
		return 0;
	if ((signed char)text[0] >= 0) {
		*code = (unsigned char)text[0];
		return 1;
	}
	n = long_character(text, len);
	if (!n)
		return 0;
	value = (unsigned char)text[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++)
		value = value << 6 | ((unsigned char)text[i] & 0x3f);
	*code = value;
	return n;
}

size_t utf8_encode(char out[4], uint32_t code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* ---- case ----
 *
 * Runs of capitals first..last, each `apart` from its small letter; in runs with step 2 capitals
 * and small letters alternate.  From Unicode's UnicodeData.txt, fields 12 and 13.  All lie below
 * U+0800, so that no mapping makes a text longer. */
struct run {
	uint16_t first, last;
	int16_t apart;
	uint8_t step;
	uint8_t ways; /* which mappings use it */
};

enum { TO_LOWER = 1, TO_UPPER = 2, BOTH = 3 };

static const struct run runs[] = {
	{'A', 'Z', 32, 1, BOTH},
	{0xc0, 0xd6, 32, 1, BOTH},
	{0xd8, 0xde, 32, 1, BOTH},
	{0x100, 0x12e, 1, 2, BOTH},
	{0x130, 0x130, 'i' - 0x130, 1, TO_LOWER}, /* I with dot */
	{0x132, 0x136, 1, 2, BOTH},
	{0x139, 0x147, 1, 2, BOTH},
	{0x14a, 0x176, 1, 2, BOTH},
	{0x178, 0x178, 0xff - 0x178, 1, BOTH},
	{0x179, 0x17d, 1, 2, BOTH},
	{0x370, 0x372, 1, 2, BOTH},
	{0x376, 0x376, 1, 1, BOTH},
	{0x37f, 0x37f, 0x3f3 - 0x37f, 1, BOTH},
	{0x386, 0x386, 0x3ac - 0x386, 1, BOTH},
	{0x388, 0x38a, 0x3ad - 0x388, 1, BOTH},
	{0x38c, 0x38c, 0x3cc - 0x38c, 1, BOTH},
	{0x38e, 0x38f, 0x3cd - 0x38e, 1, BOTH},
	{0x391, 0x3a1, 32, 1, BOTH},
	{0x3a3, 0x3ab, 32, 1, BOTH},
	{0x3cf, 0x3cf, 0x3d7 - 0x3cf, 1, BOTH},
	{0x3d8, 0x3ee, 1, 2, BOTH},
	{0x3f4, 0x3f4, 0x3b8 - 0x3f4, 1, TO_LOWER},
	{0x3f7, 0x3f7, 1, 1, BOTH},
	{0x3f9, 0x3f9, 0x3f2 - 0x3f9, 1, BOTH},
	{0x3fa, 0x3fa, 1, 1, BOTH},
	{0x3fd, 0x3ff, 0x37b - 0x3fd, 1, BOTH},
	{0x400, 0x40f, 80, 1, BOTH},
	{0x410, 0x42f, 32, 1, BOTH},
	{0x460, 0x480, 1, 2, BOTH},
	{0x48a, 0x4be, 1, 2, BOTH},
	{0x4c0, 0x4c0, 15, 1, BOTH},
	{0x4c1, 0x4cd, 1, 2, BOTH},
	{0x4d0, 0x52e, 1, 2, BOTH},
	{0x531, 0x556, 48, 1, BOTH},
	/* Small letters whose capital has another small letter. */
	{0x39c, 0x39c, 0xb5 - 0x39c, 1, TO_UPPER},  /* micro sign */
	{'I', 'I', 0x131 - 'I', 1, TO_UPPER},       /* dotless i */
	{'S', 'S', 0x17f - 'S', 1, TO_UPPER},       /* long s */
	{0x3a3, 0x3a3, 0x3c2 - 0x3a3, 1, TO_UPPER}, /* final sigma */
	{0x392, 0x392, 0x3d0 - 0x392, 1, TO_UPPER},
	{0x398, 0x398, 0x3d1 - 0x398, 1, TO_UPPER},
	{0x3a6, 0x3a6, 0x3d5 - 0x3a6, 1, TO_UPPER},
	{0x3a0, 0x3a0, 0x3d6 - 0x3a0, 1, TO_UPPER},
	{0x39a, 0x39a, 0x3f0 - 0x39a, 1, TO_UPPER},
	{0x3a1, 0x3a1, 0x3f1 - 0x3a1, 1, TO_UPPER},
	{0x395, 0x395, 0x3f5 - 0x395, 1, TO_UPPER},
};

enum { RUNS = sizeof(runs) / sizeof(runs[0]), CASE_END = 0x590 };

static uint32_t mapped(uint32_t code, unsigned way)
{
	for (unsigned i = 0; i < RUNS; i++) {
		int apart = way == TO_UPPER ? runs[i].apart : 0;
		int64_t at = (int64_t)code - runs[i].first - apart;

		if (!(runs[i].ways & way) || at < 0 || at > runs[i].last - runs[i].first ||
			at % runs[i].step)
			continue;
		return way == TO_UPPER ? (uint32_t)(runs[i].first + at)
				       : (uint32_t)((int64_t)code + runs[i].apart);
	}
	return code;
}

uint32_t utf8_upper(uint32_t code)
{
	return code < CASE_END ? mapped(code, TO_UPPER) : code;
}

uint32_t utf8_lower(uint32_t code)
{
	return code < CASE_END ? mapped(code, TO_LOWER) : code;
}

/* Eight ASCII characters: 0x20 is flipped in those from first to first + 25. */
static inline uint64_t flip_case8(uint64_t w, char first)
{
	uint64_t from = w + EACH_BYTE(0x80u - (unsigned char)first);
	uint64_t behind = w + EACH_BYTE(0x80u - (unsigned char)first - 26);

	return w ^ ((from & ~behind & EACH_BYTE(0x80)) >> 2);
}

static inline char flip_case(char c, char first)
{
	return (unsigned char)(c - first) < 26 ? (char)(c ^ 0x20) : c;
}

static size_t put_mapped(char *out, const char *text, size_t len, unsigned way)
{
	char first = way == TO_UPPER ? 'a' : 'A';
	size_t at = 0, i = 0;

	while (i < len) {
		uint32_t code;
		size_t n;

		for (; len - i >= 8; i += 8, at += 8) {
			uint64_t w = load8(text + i);

			if (w & EACH_BYTE(0x80))
				break;
			w = flip_case8(w, first);
			memcpy(out + at, &w, 8);
		}
		if (i == len)
			break;
		if ((signed char)text[i] >= 0) {
			out[at++] = flip_case(text[i++], first);
			continue;
		}
		n = utf8_decode(text + i, len - i, &code);
		if (n == 2) {
			at += utf8_encode(out + at, mapped(code, way));
			i += 2;
			continue;
		}
		n = n ? n : 1;
		memmove(out + at, text + i, n);
		at += n;
		i += n;
	}
	return at;
}

size_t utf8_put_upper(char *out, const char *text, size_t len)
{
	return put_mapped(out, text, len, TO_UPPER);
}

size_t utf8_put_lower(char *out, const char *text, size_t len)
{
	return put_mapped(out, text, len, TO_LOWER);
}
