/* Eight digits at a time, in a register: what the readers of numbers and of times share.
 *
 * A word holds eight characters in the order of memory, the first in the low byte.  SWAR technique
 * as described by Lemire, "Quickly parsing eight digits" (2018). */
#ifndef RUNNEL_BASE_DIGITS_H
#define RUNNEL_BASE_DIGITS_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DIGITS_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* "00" "01" .. "99" */
extern const char digits_pairs[200];

static inline uint64_t digits_load8(const char *text)
{
	uint64_t w;

	memcpy(&w, text, 8);
	return le64toh(w);
}

/* The n < 8 bytes at text, zeros behind, without reading past them. */
static inline uint64_t digits_load_few(const char *text, size_t n)
{
	uint32_t low = 0, high = 0;

	if (n >= 4) {
		memcpy(&low, text, 4);
		memcpy(&high, text + n - 4, 4);
		return le32toh(low) | (uint64_t)le32toh(high) << (8 * n - 32);
	}
	if (!n)
		return 0;
	return (uint64_t)(unsigned char)text[0] |
	       (uint64_t)(unsigned char)text[n / 2] << (n / 2 * 8) |
	       (uint64_t)(unsigned char)text[n - 1] << (8 * n - 8);
}

/* The high bit of each byte that is no digit. */
static inline uint64_t digits_others(uint64_t w)
{
	uint64_t x = w ^ DIGITS_EACH(0x30);

	return (((x & DIGITS_EACH(0x7f)) + DIGITS_EACH(0x76)) | x) & DIGITS_EACH(0x80);
}

/* How many of the eight are digits before the first other, 0..8. */
static inline unsigned digits_leading(uint64_t w)
{
	uint64_t others = digits_others(w);

	return others ? (unsigned)__builtin_ctzll(others) >> 3 : 8;
}

/* The value of eight digits; bytes of 0 count as digit 0. */
static inline uint32_t digits_value8(uint64_t w)
{
	w = (w & DIGITS_EACH(0x0f)) * ((10 << 8) + 1) >> 8;
	w = (w & UINT64_C(0x00ff00ff00ff00ff)) * ((100 << 16) + 1) >> 16;
	return (uint32_t)((w & UINT64_C(0x0000ffff0000ffff)) * ((UINT64_C(10000) << 32) + 1) >> 32);
}

/* Only the first n (1..8) of them. */
static inline uint32_t digits_value(uint64_t w, unsigned n)
{
	return digits_value8(w << (64 - 8 * n));
}

static inline bool digits_is(char c)
{
	return (unsigned char)(c - '0') < 10;
}

static inline void digits_put2(char *out, unsigned value)
{
	memcpy(out, digits_pairs + 2 * value, 2);
}

static inline void digits_put4(char *out, unsigned value)
{
	digits_put2(out, value / 100);
	digits_put2(out + 2, value % 100);
}

/* The eight digits of a value below 10^8 as bytes 0..9, the first in the low byte: the inverse of
 * digits_value8.  In a register, since a load across several just written pairs stalls. */
static inline uint64_t digits_split8(uint32_t value)
{
	uint64_t w = (uint64_t)(value % 10000) << 32 | value / 10000, tens;

	tens = (w * 10486 >> 20) & UINT64_C(0x0000007f0000007f); /* / 100 */
	w = tens | (w - 100 * tens) << 16;
	tens = (w * 103 >> 10) & UINT64_C(0x000f000f000f000f); /* / 10 */
	return tens | (w - 10 * tens) << 8;
}

static inline void digits_store8(char *out, uint64_t w)
{
	w = htole64(w);
	memcpy(out, &w, 8);
}

static inline void digits_put8(char *out, uint32_t value)
{
	digits_store8(out, digits_split8(value) | DIGITS_EACH(0x30));
}

#endif
