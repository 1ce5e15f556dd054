/* When a job that failed is started again. */
#include "cmd/runnel/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { SECOND_US = 1000000 };

static void what_is_no_number_in_a_time_is_refused(void **state)
{
	static const char *const texts[] = {"", "10", "/10m", "10/", "-1/10m", "x/10m", "10/x", "1001/1s",
		"10/0s", "10/10m/3"};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct backoff b;
		struct error e = ERROR_INIT;

		if (backoff_parse(texts[i], &b, &e) == 0)
			fail_msg("'%s' was taken", texts[i]);
		assert_int_equal(e.code, ERROR_USAGE);
	}
}

static void the_wait_doubles_up_to_half_a_minute_give_or_take_a_fifth(void **state)
{
	static const double wanted[] = {0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30};
	struct error e = ERROR_INIT;
	struct backoff b;

	assert_int_equal(backoff_parse("100/1h", &b, &e), 0);
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		double got = (double)backoff_failed(&b, (int64_t)(i + 1) * SECOND_US) / SECOND_US;

		if (got < 0.79 * wanted[i] || got > 1.21 * wanted[i])
			fail_msg("failure %zu: %g s instead of %g s", i + 1, got, wanted[i]);
	}
}

static void too_many_failures_in_the_time_are_the_end(void **state)
{
	struct error e = ERROR_INIT;
	struct backoff b;

	assert_int_equal(backoff_parse("3/10s", &b, &e), 0);
	for (int i = 0; i < 3; i++)
		assert_true(backoff_failed(&b, i * SECOND_US) > 0);
	assert_int_equal(backoff_failed(&b, 9 * SECOND_US), -1);
}

static void failures_that_are_long_past_dont_count(void **state)
{
	struct error e = ERROR_INIT;
	struct backoff b;

	assert_int_equal(backoff_parse("2/10s", &b, &e), 0);
	for (int i = 0; i < 100; i++)
		assert_in_range(backoff_failed(&b, (int64_t)i * 11 * SECOND_US), 80000, 120000);
}

static void none_allowed_gives_up_at_once(void **state)
{
	struct error e = ERROR_INIT;
	struct backoff b;

	assert_int_equal(backoff_parse("0/1s", &b, &e), 0);
	assert_int_equal(backoff_failed(&b, 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_number_in_a_time_is_refused),
		cmocka_unit_test(the_wait_doubles_up_to_half_a_minute_give_or_take_a_fifth),
		cmocka_unit_test(too_many_failures_in_the_time_are_the_end),
		cmocka_unit_test(failures_that_are_long_past_dont_count),
		cmocka_unit_test(none_allowed_gives_up_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
