/* Eight digits at a time, in a register: what the readers of numbers and of times share.
 *
 * A word holds eight characters in the order of memory, the first in the low byte.  SWAR technique
 * as described by Lemire, "Quickly parsing eight digits" (2018). */
#ifndef RUNNEL_BASE_DIGITS_H
#define RUNNEL_BASE_DIGITS_H

#include <endian.h>
#include <stdbool.h>
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

static inline void digits_put8(char *out, uint32_t value)
{
	digits_put4(out, value / 10000);
	digits_put4(out + 4, value % 10000);
}

#endif
