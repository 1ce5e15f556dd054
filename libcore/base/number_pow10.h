/* The leading 128 bits of 10^q, normalised to have their top bit set, for reading and writing
 * floats.  Truncated for q >= 0 (exact up to 55), the next greater integer for q < 0.
 * The table is written by tests/tools/number_pow10.py. */
#ifndef RUNNEL_BASE_NUMBER_POW10_H
#define RUNNEL_BASE_NUMBER_POW10_H

#include <stdint.h>

enum { NUMBER_POW10_FIRST = -342, NUMBER_POW10_EXACT = 55, NUMBER_POW10_LAST = 324 };

struct number_pow10 {
	uint64_t high, low;
};

extern const struct number_pow10 number_pow10[NUMBER_POW10_LAST - NUMBER_POW10_FIRST + 1];

#endif
