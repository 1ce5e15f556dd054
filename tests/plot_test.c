/* A plot's buckets against a model that keeps every value, and what is drawn of them. */
#include "cmd/speek/plot.h"
#include "libcore/base/memory.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { VALUES = 2000 };

struct value {
	int64_t x;
	double y;
};

/* Every bucket has what the values that belong to it say, and there is none without a bucket. */
static void check(const struct plot *p, const struct value *values, size_t n)
{
	uint64_t in_buckets = 0;

	for (size_t i = 0; i < p->len; i++) {
		struct plot_bucket model = {.least = INFINITY, .greatest = -INFINITY};

		for (size_t v = 0; v < n; v++) {
			if (values[v].x >> p->shift != p->first + (int64_t)i)
				continue;
			model.least = fmin(model.least, values[v].y);
			model.greatest = fmax(model.greatest, values[v].y);
			model.count++;
		}
		assert_int_equal(p->buckets[i].count, model.count);
		in_buckets += model.count;
		if (!model.count)
			continue;
		assert_true(p->buckets[i].least == model.least);
		assert_true(p->buckets[i].greatest == model.greatest);
	}
	assert_int_equal(in_buckets, n);
	assert_int_equal(p->values, n);
	assert_true(p->len <= PLOT_BUCKETS);
	assert_true(p->buckets[0].count && p->buckets[p->len - 1].count);
}

static void buckets_are_those_of_a_model(void **state)
{
	static struct value values[VALUES];
	static struct plot p;
	unsigned seed = (unsigned)time(NULL);

	printf("seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 60; round++) {
		int64_t width = (int64_t)1 << (rand() % 62), at = rand() - RAND_MAX / 2;
		size_t n = 1 + (size_t)rand() % VALUES;

		plot_init(&p);
		for (size_t i = 0; i < n; i++) {
			uint64_t random = (uint64_t)rand() << 31 ^ (uint64_t)rand();

			values[i].x = at + (int64_t)(random % (uint64_t)width) * (rand() % 2 ? 1 : -1);
			values[i].y = rand() % 1000 / 7.0;
			plot_put(&p, values[i].x, values[i].y);
		}
		check(&p, values, n);
	}
}

static void what_is_no_number_is_counted(void **state)
{
	static struct plot p;
	struct plot_labels labels = {"y", "x", false};
	struct buf out = BUF_INIT;

	plot_init(&p);
	plot_put(&p, 1, NAN);
	plot_put(&p, 2, INFINITY);
	plot_draw(&p, &labels, 80, &out);
	assert_string_equal(buf_cstr(&out), "y over x, 0 values, 2 without\n");
	buf_clear(&out);
}

/* Widths, values and times at their ends: as many lines as promised, none too wide, all of it UTF-8
 * of one column a character. */
static void extremes_are_drawn(void **state)
{
	static const double ys[][2] = {{0, 0}, {5, 5}, {-DBL_MAX, DBL_MAX}, {DBL_MAX, DBL_MAX},
		{-1e-300, 1e-300}, {DBL_MAX, DBL_MAX / 2}};
	static const int64_t xs[][2] = {{0, 0}, {INT64_MIN, INT64_MAX}, {INT64_MAX, INT64_MAX},
		{-5, 5}};
	static struct plot p;

	for (size_t i = 0; i < sizeof ys / sizeof *ys; i++) {
		for (size_t k = 0; k < 2 * sizeof xs / sizeof *xs; k++) {
			struct plot_labels labels = {"y", "x", k % 2};
			struct buf out = BUF_INIT;
			unsigned lines = 0, width = 33 + (unsigned)(7 * k), column = 0;

			plot_init(&p);
			plot_put(&p, xs[k / 2][0], ys[i][0]);
			plot_put(&p, xs[k / 2][1], ys[i][1]);
			plot_draw(&p, &labels, width, &out);
			for (size_t b = 0; b < out.len; b++) {
				column += (out.data[b] & 0xc0) != 0x80;
				if (out.data[b] != '\n')
					continue;
				assert_true(column <= width + 1 || lines == PLOT_LINES - 1);
				lines++;
				column = 0;
			}
			assert_int_equal(lines, PLOT_LINES);
			assert_true(strstr(buf_cstr(&out), "nan") == NULL);
			buf_clear(&out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_number_is_counted),
		cmocka_unit_test(buckets_are_those_of_a_model),
		cmocka_unit_test(extremes_are_drawn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
