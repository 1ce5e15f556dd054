/* Numbers and times to text and back, beside the C library: ns per value.
 *
 *     build/release/tests/bench/number_bench [values] */
#include "libcore/base/civil.h"
#include "libcore/base/number.h"
#include "libcore/base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT_STRIDE = 48, ROUNDS = 5 };

struct set {
	size_t n;
	double *floats;
	int64_t *ints;
	char *text; /* TEXT_STRIDE bytes each, NUL behind */
	uint8_t *len;
};

static volatile uint64_t sink;

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t next_random(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t do_printf(const struct set *s)
{
	char out[64];
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += (uint64_t)snprintf(out, sizeof(out), "%.17g", s->floats[i]);
	return sum;
}

static uint64_t do_float_put(const struct set *s)
{
	char out[64];
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += float_put(out, s->floats[i], 0);
	return sum;
}

static uint64_t do_strtod(const struct set *s)
{
	double sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += strtod(s->text + i * TEXT_STRIDE, NULL);
	return (uint64_t)(sum != 0);
}

static uint64_t do_float_parse(const struct set *s)
{
	double sum = 0, value = 0;

	for (size_t i = 0; i < s->n; i++) {
		float_parse(s->text + i * TEXT_STRIDE, s->len[i], 0, &value);
		sum += value;
	}
	return (uint64_t)(sum != 0);
}

static uint64_t do_strtol(const struct set *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += (uint64_t)strtoll(s->text + i * TEXT_STRIDE, NULL, 10);
	return sum;
}

static uint64_t do_int_parse(const struct set *s)
{
	uint64_t sum = 0;
	int64_t value = 0;

	for (size_t i = 0; i < s->n; i++) {
		int_parse(s->text + i * TEXT_STRIDE, s->len[i], &value);
		sum += (uint64_t)value;
	}
	return sum;
}

static uint64_t do_printf_int(const struct set *s)
{
	char out[64];
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += (uint64_t)snprintf(out, sizeof(out), "%" PRId64, s->ints[i]);
	return sum;
}

static uint64_t do_int_put(const struct set *s)
{
	char out[64];
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += int_put(out, s->ints[i]);
	return sum;
}

static uint64_t do_timestamp_put(const struct set *s)
{
	char out[64];
	uint64_t sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += timestamp_put(out, s->ints[i]);
	return sum;
}

static uint64_t do_timestamp_parse(const struct set *s)
{
	uint64_t sum = 0;
	int64_t us = 0;

	for (size_t i = 0; i < s->n; i++) {
		timestamp_parse(s->text + i * TEXT_STRIDE, s->len[i], &us);
		sum += (uint64_t)us;
	}
	return sum;
}

static uint64_t do_decimal_parse(const struct set *s)
{
	uint64_t sum = 0;
	__int128 value = 0;

	for (size_t i = 0; i < s->n; i++) {
		decimal_parse(s->text + i * TEXT_STRIDE, s->len[i], (struct decimal_shape){18, 2},
			false, &value);
		sum += (uint64_t)value;
	}
	return sum;
}

static uint64_t do_utf8_valid(const struct set *s)
{
	return utf8_valid(s->text, s->n * TEXT_STRIDE);
}

static double best(uint64_t (*work)(const struct set *), const struct set *s)
{
	double least = 1e9;

	for (int i = 0; i < ROUNDS; i++) {
		double start = seconds(), took;

		sink += work(s);
		took = seconds() - start;
		least = took < least ? took : least;
	}
	return least * 1e9 / (double)s->n;
}

static void compare(const char *name, const struct set *s, uint64_t (*theirs)(const struct set *),
	uint64_t (*ours)(const struct set *))
{
	double slow = best(theirs, s), fast = best(ours, s);

	printf("%-34s %8.1f %8.1f %7.1fx\n", name, slow, fast, slow / fast);
}

static void alone(const char *name, const struct set *s, uint64_t (*ours)(const struct set *))
{
	printf("%-34s %8s %8.1f\n", name, "", best(ours, s));
}

static void set_text(struct set *s, size_t i, size_t len)
{
	s->len[i] = (uint8_t)len;
	s->text[i * TEXT_STRIDE + len] = 0;
}

static void float_texts(struct set *s, const char *puts, const char *reads)
{
	for (size_t i = 0; i < s->n; i++)
		set_text(s, i, float_put(s->text + i * TEXT_STRIDE, s->floats[i], 0));
	compare(puts, s, do_printf, do_float_put);
	compare(reads, s, do_strtod, do_float_parse);
}

static void floats(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		uint64_t bits = next_random() % (UINT64_C(2047) << 52);

		memcpy(&s->floats[i], &bits, 8);
	}
	float_texts(s, "float_put, any bits (printf)", "float_parse, any bits (strtod)");
	for (size_t i = 0; i < s->n; i++)
		s->floats[i] = (double)(next_random() >> 11) / 9007199254740992.0;
	float_texts(s, "float_put, 0..1", "float_parse, 0..1");
	for (size_t i = 0; i < s->n; i++)
		s->floats[i] = (double)(next_random() % 10000000) / 100;
	float_texts(s, "float_put, prices", "float_parse, prices");
}

static void ints(struct set *s, const char *puts, const char *reads, unsigned shift)
{
	for (size_t i = 0; i < s->n; i++) {
		s->ints[i] = (int64_t)(next_random() >> (shift + next_random() % (63 - shift)));
		set_text(s, i, int_put(s->text + i * TEXT_STRIDE, s->ints[i]));
	}
	compare(puts, s, do_printf_int, do_int_put);
	compare(reads, s, do_strtol, do_int_parse);
}

static void others(struct set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		s->ints[i] = (int64_t)(next_random() % 1700000000000) * 1000;
		set_text(s, i, timestamp_put(s->text + i * TEXT_STRIDE, s->ints[i]));
	}
	alone("timestamp_put, ms", s, do_timestamp_put);
	alone("timestamp_parse, ms", s, do_timestamp_parse);
	for (size_t i = 0; i < s->n; i++)
		set_text(s, i,
			decimal_put(s->text + i * TEXT_STRIDE, (__int128)(next_random() % 10000000),
				2));
	alone("decimal_parse, prices", s, do_decimal_parse);
	memset(s->text, 'a', s->n * TEXT_STRIDE);
	alone("utf8_valid, 48 ASCII bytes", s, do_utf8_valid);
}

int main(int argc, char **argv)
{
	struct set s = {.n = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000};

	s.floats = calloc(s.n, sizeof(*s.floats));
	s.ints = calloc(s.n, sizeof(*s.ints));
	s.text = calloc(s.n, TEXT_STRIDE);
	s.len = calloc(s.n, 1);
	if (!s.n || !s.floats || !s.ints || !s.text || !s.len)
		return 1;
	printf("%-34s %8s %8s\n", "ns per value", "libc", "here");
	floats(&s);
	ints(&s, "int_put, any length (printf)", "int_parse, any length (strtoll)", 0);
	ints(&s, "int_put, up to 5 digits", "int_parse, up to 5 digits", 47);
	others(&s);
	free(s.floats);
	free(s.ints);
	free(s.text);
	free(s.len);
	return 0;
}
