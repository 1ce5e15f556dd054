#include "libcore/base/number.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct decimal_shape whole = {38, 0};

static uint64_t seed = 0x2545f4914f6cdd1d;

static uint64_t next_random(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static __int128 integer(const char *text)
{
	__int128 value = 0;

	if (decimal_parse(text, strlen(text), whole, false, &value))
		fail_msg("'%s' isn't read", text);
	return value;
}

static __int128 random_decimal(void)
{
	__int128 value = (__int128)(next_random() >> 2) << 62 | (next_random() >> 2);

	value %= decimal_pow10[next_random() % 39];
	return next_random() & 1 ? value : -value;
}

static void texts_that_do_not_fit_a_decimal_are_refused(void **state)
{
	static const struct {
		const char *text;
		struct decimal_shape shape;
		bool round;
		enum number_status status;
		const char *unscaled;
	} cases[] = {
		{"", {10, 2}, false, NUMBER_MALFORMED, "77"},
		{".", {10, 2}, false, NUMBER_MALFORMED, "77"},
		{"-", {10, 2}, false, NUMBER_MALFORMED, "77"},
		{"1e", {10, 2}, false, NUMBER_MALFORMED, "77"},
		{"1.2.3", {10, 2}, false, NUMBER_MALFORMED, "77"},
		{"1,2", {10, 2}, false, NUMBER_MALFORMED, "77"},
		{"nan", {10, 2}, true, NUMBER_MALFORMED, "77"},
		{"100", {4, 2}, false, NUMBER_RANGE, "77"},
		{"99.995", {4, 2}, true, NUMBER_RANGE, "77"},
		{"1e99999999999999999999", {38, 0}, true, NUMBER_RANGE, "77"},
		{"100000000000000000000000000000000000000", {38, 0}, true, NUMBER_RANGE, "77"},
		{"1.005", {10, 2}, false, NUMBER_INEXACT, "77"},
		{"1e-3", {10, 2}, false, NUMBER_INEXACT, "77"},
		{"1e-99999999999999999999", {10, 2}, false, NUMBER_INEXACT, "77"},
		{"0.0000000000000000000000000000000000000000000000001", {10, 2}, false,
			NUMBER_INEXACT, "77"},
		{"1.005", {10, 2}, true, NUMBER_OK, "101"},
		{"-1.005", {10, 2}, true, NUMBER_OK, "-101"},
		{"1.00499999", {10, 2}, true, NUMBER_OK, "100"},
		{"0.005", {10, 2}, true, NUMBER_OK, "1"},
		{"0.0049", {10, 2}, true, NUMBER_OK, "0"},
		{"0.0009", {10, 2}, true, NUMBER_OK, "0"},
		{"1.50000", {10, 2}, false, NUMBER_OK, "150"},
		{".5", {10, 2}, false, NUMBER_OK, "50"},
		{"+5.", {10, 2}, false, NUMBER_OK, "500"},
		{"-0", {10, 2}, false, NUMBER_OK, "0"},
		{"0e999999", {10, 2}, false, NUMBER_OK, "0"},
		{"99.99", {4, 2}, false, NUMBER_OK, "9999"},
		{"12.5e2", {10, 2}, false, NUMBER_OK, "125000"},
		{"12500e-3", {10, 2}, false, NUMBER_OK, "1250"},
		{"0000000000000000000000000000000000000000000000000012", {10, 2}, false, NUMBER_OK,
			"1200"},
		{"-99999999999999999999999999999999999999", {38, 0}, false, NUMBER_OK,
			"-99999999999999999999999999999999999999"},
		{"0.99999999999999999999999999999999999999", {38, 38}, false, NUMBER_OK,
			"99999999999999999999999999999999999999"},
	};
	char text[DECIMAL_TEXT_MAX + 1];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		__int128 value = 77;
		enum number_status status = decimal_parse(cases[i].text, strlen(cases[i].text),
			cases[i].shape, cases[i].round, &value);

		text[decimal_put(text, value, 0)] = 0;
		if (status != cases[i].status || strcmp(text, cases[i].unscaled))
			fail_msg("'%s': %d, %s", cases[i].text, status, text);
	}
	assert_int_equal(
		decimal_scan("1.5,2", 5, (struct decimal_shape){4, 2}, false, &(__int128){0}), 3);
}

static void literals_find_the_shape_that_holds_them(void **state)
{
	static const struct {
		const char *text;
		unsigned precision, scale;
		int unscaled;
	} cases[] = {{"0", 1, 0, 0}, {"0.00", 2, 2, 0}, {"1.50", 3, 2, 150}, {"-0.05", 2, 2, -5},
		{"1e3", 4, 0, 1000}, {"1.5e-1", 2, 2, 15}, {"12.5e1", 3, 0, 125}};
	struct decimal_shape shape;
	__int128 value;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(
			decimal_parse_any(cases[i].text, strlen(cases[i].text), &value, &shape),
			NUMBER_OK);
		if (shape.precision != cases[i].precision || shape.scale != cases[i].scale ||
			value != cases[i].unscaled)
			fail_msg("'%s': %u,%u", cases[i].text, shape.precision, shape.scale);
	}
	assert_int_equal(decimal_parse_any("1e38", 4, &value, &shape), NUMBER_RANGE);
	assert_int_equal(decimal_parse_any("1e-39", 5, &value, &shape), NUMBER_RANGE);
	assert_int_equal(decimal_parse_any("1x", 2, &value, &shape), NUMBER_MALFORMED);
}

static void decimals_are_put_with_all_their_digits_and_read_back(void **state)
{
	static const struct {
		const char *unscaled;
		unsigned scale;
		const char *text;
	} cases[] = {{"0", 0, "0"}, {"0", 2, "0.00"}, {"-5", 2, "-0.05"}, {"1230", 2, "12.30"},
		{"7", 0, "7"},
		{"-99999999999999999999999999999999999999", 38,
			"-0.99999999999999999999999999999999999999"},
		{"18446744073709551616", 3, "18446744073709551.616"}};
	char text[DECIMAL_TEXT_MAX + 1];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		text[decimal_put(text, integer(cases[i].unscaled), cases[i].scale)] = 0;
		assert_string_equal(text, cases[i].text);
	}
	for (int i = 0; i < 100000; i++) {
		__int128 value = random_decimal(), back;
		unsigned scale = (unsigned)(next_random() % 39);
		size_t len = decimal_put(text, value, scale);

		assert_true(len <= DECIMAL_TEXT_MAX);
		assert_int_equal(
			decimal_parse(text, len, (struct decimal_shape){38, scale}, false, &back),
			NUMBER_OK);
		assert_true(back == value);
	}
}

static void a_rescaled_decimal_is_the_text_read_at_the_other_scale(void **state)
{
	char text[DECIMAL_TEXT_MAX];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		__int128 value = random_decimal(), expected = 0, got = 0;
		unsigned scale = (unsigned)(next_random() % 39);
		struct decimal_shape to = {.precision = (unsigned)(next_random() % 38 + 1)};
		bool round = next_random() & 1;
		enum number_status status;

		to.scale = (unsigned)(next_random() % (to.precision + 1));
		status = decimal_parse(text, decimal_put(text, value, scale), to, round, &expected);
		if (status != decimal_rescale(value, scale, to, round, &got) && status == NUMBER_OK)
			fail_msg("%.40s to %u,%u", text, to.precision, to.scale);
		assert_true(got == expected);
	}
}

static void arithmetic_is_that_of_pythons_integers(void **state)
{
	static const struct {
		const char *a;
		unsigned a_scale;
		const char *b;
		unsigned b_scale, out_scale;
		const char *product, *quotient, *rest;
	} cases[] = {
#include "tests/decimal_cases.h"
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		__int128 a = integer(cases[i].a), b = integer(cases[i].b), got[3];
		const char *expected[3] = {cases[i].product, cases[i].quotient, cases[i].rest};
		enum number_status status[3] = {
			decimal_mul(a, cases[i].a_scale, b, cases[i].b_scale, cases[i].out_scale,
				&got[0]),
			decimal_div(a, cases[i].a_scale, b, cases[i].b_scale, cases[i].out_scale,
				&got[1]),
			decimal_mod(a, cases[i].a_scale, b, cases[i].b_scale, &got[2]),
		};

		for (int k = 0; k < 3; k++)
			if (status[k] != (expected[k] ? NUMBER_OK : NUMBER_RANGE) ||
				(expected[k] && got[k] != integer(expected[k])))
				fail_msg("case %zu: %s and %s, %c", i, cases[i].a, cases[i].b,
					"*/%"[k]);
	}
	assert_int_equal(decimal_div(1, 0, 0, 0, 0, &(__int128){0}), NUMBER_MALFORMED);
	assert_int_equal(decimal_mod(1, 0, 0, 0, &(__int128){0}), NUMBER_MALFORMED);
}

static void sums_stay_below_ten_to_the_38(void **state)
{
	__int128 most = decimal_pow10[38] - 1, sum;

	(void)state;
	assert_int_equal(decimal_add(most, 1, &sum), NUMBER_RANGE);
	assert_int_equal(decimal_add(most, most, &sum), NUMBER_RANGE);
	assert_int_equal(decimal_sub(-most, 1, &sum), NUMBER_RANGE);
	assert_int_equal(decimal_sub(-most, most, &sum), NUMBER_RANGE);
	assert_int_equal(decimal_sub(most, most, &sum), NUMBER_OK);
	assert_true(sum == 0);
	assert_int_equal(decimal_add(most, -1, &sum), NUMBER_OK);
	assert_true(sum == most - 1);
}

static void decimals_compare_across_scales(void **state)
{
	static const struct {
		const char *a;
		unsigned a_scale;
		const char *b;
		unsigned b_scale;
		int order;
	} cases[] = {{"15", 1, "150", 2, 0}, {"15", 1, "151", 2, -1}, {"-15", 1, "-151", 2, 1},
		{"1", 0, "1", 38, 1}, {"-1", 0, "1", 38, -1}, {"0", 0, "0", 38, 0},
		{"99999999999999999999999999999999999999", 0, "1", 1, 1},
		{"1", 38, "99999999999999999999999999999999999999", 0, -1}};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		__int128 a = integer(cases[i].a), b = integer(cases[i].b);

		assert_int_equal(
			decimal_compare(a, cases[i].a_scale, b, cases[i].b_scale), cases[i].order);
		assert_int_equal(
			decimal_compare(b, cases[i].b_scale, a, cases[i].a_scale), -cases[i].order);
	}
}

static void decimals_turn_into_ints_and_floats(void **state)
{
	char text[DECIMAL_TEXT_MAX + 1];
	__int128 value;
	int64_t number;

	(void)state;
	assert_int_equal(decimal_to_int(-199, 2, &number), NUMBER_OK);
	assert_int_equal(number, -1);
	assert_int_equal(decimal_to_int((__int128)INT64_MAX + 1, 0, &number), NUMBER_RANGE);
	assert_int_equal(
		decimal_from_int(INT64_MIN, (struct decimal_shape){38, 19}, &value), NUMBER_OK);
	assert_true(value == INT64_MIN * decimal_pow10[19]);
	assert_int_equal(decimal_from_int(100, (struct decimal_shape){4, 2}, &value), NUMBER_RANGE);
	assert_int_equal(decimal_from_float(0.15, (struct decimal_shape){4, 1}, &value), NUMBER_OK);
	assert_true(value == 2);
	assert_int_equal(
		decimal_from_float(NAN, (struct decimal_shape){4, 1}, &value), NUMBER_RANGE);
	assert_int_equal(
		decimal_from_float(-INFINITY, (struct decimal_shape){4, 1}, &value), NUMBER_RANGE);
	assert_int_equal(
		decimal_from_float(1e300, (struct decimal_shape){38, 0}, &value), NUMBER_RANGE);
	for (int i = 0; i < 100000; i++) {
		unsigned scale = (unsigned)(next_random() % 39);

		value = random_decimal();
		text[decimal_put(text, value, scale)] = 0;
		if (decimal_to_float(value, scale) != strtod(text, NULL))
			fail_msg("%s", text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_that_do_not_fit_a_decimal_are_refused),
		cmocka_unit_test(literals_find_the_shape_that_holds_them),
		cmocka_unit_test(decimals_are_put_with_all_their_digits_and_read_back),
		cmocka_unit_test(a_rescaled_decimal_is_the_text_read_at_the_other_scale),
		cmocka_unit_test(arithmetic_is_that_of_pythons_integers),
		cmocka_unit_test(sums_stay_below_ten_to_the_38),
		cmocka_unit_test(decimals_compare_across_scales),
		cmocka_unit_test(decimals_turn_into_ints_and_floats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
