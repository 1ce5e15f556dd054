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

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t next_random(void) /* xorshift64* (Marsaglia, Vigna) */
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, 8);
	return bits;
}

static double of_bits(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, 8);
	return value;
}

/* ---- int ---- */

static void what_is_no_int_is_told_apart_from_what_does_not_fit(void **state)
{
	static const struct {
		const char *text;
		enum number_status status;
	} cases[] = {
		{"", NUMBER_MALFORMED},
		{"-", NUMBER_MALFORMED},
		{"+", NUMBER_MALFORMED},
		{"--1", NUMBER_MALFORMED},
		{" 1", NUMBER_MALFORMED},
		{"1 ", NUMBER_MALFORMED},
		{"1.0", NUMBER_MALFORMED},
		{"12345678x", NUMBER_MALFORMED},
		{"1234567/", NUMBER_MALFORMED},
		{"1234567:", NUMBER_MALFORMED},
		{"\xb1", NUMBER_MALFORMED},
		{"1234567\xb1", NUMBER_MALFORMED},
		{"99999999999999999999999x", NUMBER_MALFORMED},
		{"9223372036854775808", NUMBER_RANGE},
		{"-9223372036854775809", NUMBER_RANGE},
		{"18446744073709551616", NUMBER_RANGE},
		{"99999999999999999999999", NUMBER_RANGE},
		{"184467440737095516160000000000000000", NUMBER_RANGE},
	};
	int64_t value = 77;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].text);

		if (int_parse(cases[i].text, len, &value) != cases[i].status)
			fail_msg("'%s'", cases[i].text);
		assert_int_equal(value, 77);
	}
}

static void ints_read_back_as_they_were_put(void **state)
{
	static const int64_t edges[8] = {0, 1, -1, 9, 10, INT64_MIN, INT64_MIN + 1, INT64_MAX};
	char text[INT_TEXT_MAX + 1], expected[32];

	(void)state;
	for (int i = 0; i < 400000; i++) {
		int64_t value = (int64_t)(next_random() >> (next_random() & 63)), back;
		size_t len;

		if (i < 8)
			value = edges[i];
		else if (i & 8)
			value = -value;
		len = int_put(text, value);
		text[len] = 0;
		snprintf(expected, sizeof(expected), "%" PRId64, value);
		assert_string_equal(text, expected);
		assert_int_equal(int_parse(text, len, &back), NUMBER_OK);
		assert_true(back == value);
		text[len - 1] = 'x';
		assert_int_equal(int_parse(text, len, &back), NUMBER_MALFORMED);
	}
}

static void powers_of_ten_and_their_neighbours_are_put(void **state)
{
	char text[UINT_TEXT_MAX + 1], expected[32];
	uint64_t power = 1, back;

	(void)state;
	for (int i = 0; i < 20; i++, power *= 10)
		for (int d = -1; d <= 1; d++) {
			size_t len = uint_put(text, power + (uint64_t)d);

			text[len] = 0;
			snprintf(expected, sizeof(expected), "%" PRIu64, power + (uint64_t)d);
			assert_string_equal(text, expected);
			assert_int_equal(uint_parse(text, len, &back), NUMBER_OK);
			assert_true(back == power + (uint64_t)d);
		}
}

static void an_int_at_the_start_of_a_buffer_ends_where_its_digits_do(void **state)
{
	int64_t value;

	(void)state;
	assert_int_equal(int_scan("12,34", 5, &value), 2);
	assert_int_equal(value, 12);
	assert_int_equal(int_scan("-0000000000000000000000000012345678,1", 37, &value), 35);
	assert_int_equal(value, -12345678);
	assert_int_equal(int_scan("123456789", 3, &value), 3);
	assert_int_equal(value, 123);
	assert_int_equal(int_scan(",", 1, &value), NUMBER_MALFORMED);
}

/* ---- float ---- */

static void what_is_no_float_is_refused(void **state)
{
	static const struct {
		const char *text;
		unsigned flags;
		enum number_status status;
	} cases[] = {
		{"", 0, NUMBER_MALFORMED},
		{".", 0, NUMBER_MALFORMED},
		{"-.", 0, NUMBER_MALFORMED},
		{"e1", 0, NUMBER_MALFORMED},
		{"1e", 0, NUMBER_MALFORMED},
		{"1e+", 0, NUMBER_MALFORMED},
		{"1.2.3", 0, NUMBER_MALFORMED},
		{"0x10", 0, NUMBER_MALFORMED},
		{"nan", 0, NUMBER_MALFORMED},
		{"inf", 0, NUMBER_MALFORMED},
		{"infinit", FLOAT_WORDS, NUMBER_MALFORMED},
		{"nano", FLOAT_WORDS, NUMBER_MALFORMED},
		{"+1", FLOAT_JSON, NUMBER_MALFORMED},
		{".5", FLOAT_JSON, NUMBER_MALFORMED},
		{"1.", FLOAT_JSON, NUMBER_MALFORMED},
		{"1.e5", FLOAT_JSON, NUMBER_MALFORMED},
		{"01", FLOAT_JSON, NUMBER_MALFORMED},
		{"-", FLOAT_JSON, NUMBER_MALFORMED},
		{"1e309", 0, NUMBER_RANGE},
		{"-1e400", 0, NUMBER_RANGE},
		{"1.7976931348623159e308", 0, NUMBER_RANGE},
		{"1e99999999999999999999", 0, NUMBER_RANGE},
	};
	double value = 77;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].text);

		if (float_parse(cases[i].text, len, cases[i].flags, &value) != cases[i].status)
			fail_msg("'%s'", cases[i].text);
		assert_true(value == 77);
	}
}

static void hard_floats_are_rounded_as_strtod_does(void **state)
{
	static const char *const cases[] = {"0", "-0", "0.0", "1", "+1.5", ".5", "5.", "1e3",
		"1E-3", "0e999", "1e22", "1e23", "9007199254740993", "9007199254740992.5",
		"4503599627370497.5", "2.2250738585072011e-308", "2.2250738585072014e-308",
		"4.9e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "2e-324",
		"1e-400", "0e-99999999999999999999", "1.7976931348623157e308",
		"1.7976931348623158e308", "179769313486231570000000000000000e276",
		"9007199254740993.00000000000000000000000000000000000000",
		"9007199254740993.00000000000000000000000000000000000001",
		"9007199254740992.99999999999999999999999999999999999999",
		"0.000000000000000000000000000001e30",
		"100000000000000000000000000000000000000000000e-44",
		"00000000000000000000000000000001.5", "6.631236846766476e-316",
		"8.988465674311579538e307", "1448997445238699e0", "7.3177701707893310e+15",
		"0.1e-6", "123456789012345678901234567890", "3.5845784221e-289",
		"2."
		"2250738585072011360574097967091319759348195463516456480234261097248222220210769455"
		"1652952390813508"
		"7914149158913039621106870086438694594645527657207407820621743379988141063267329253"
		"552286881372149012"
		"9811224514518898490572223072852551331557550159143974763979834118019993239625482890"
		"171070818506906306"
		"6665599493827577257201576306269066333264756530000924588831643303777979186961204949"
		"739037782970490505"
		"1080609940730262937128958950003583799967207254304360284078895771796150945516748243"
		"471030702609144621"
		"5722898802581825451803257070188608721131280795122334262883686223215037756666225039"
		"825343359745688844"
		"2390026549819838548794829220689472168983109969836584681402285424333066033985088644"
		"580400103493397042"
		"7567186443383770486037861622771738545623065874679014086723327636718751234567890123"
		"456789012345678901"
		"e-308"};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		double value, expected = strtod(cases[i], NULL);

		if (float_parse(cases[i], strlen(cases[i]), 0, &value) ||
			bits_of(value) != bits_of(expected))
			fail_msg("'%s': %.17g, not %.17g", cases[i], value, expected);
	}
}

static void words_are_floats_only_where_asked(void **state)
{
	double value;

	(void)state;
	assert_int_equal(float_parse("-Infinity", 9, FLOAT_WORDS, &value), NUMBER_OK);
	assert_true(isinf(value) && value < 0);
	assert_int_equal(float_parse("NaN", 3, FLOAT_WORDS, &value), NUMBER_OK);
	assert_true(isnan(value));
	assert_int_equal(float_scan("inf,1", 5, FLOAT_WORDS, &value), 3);
	assert_int_equal(float_scan("1.5e,", 5, 0, &value), 3);
	assert_int_equal(float_scan("01", 2, FLOAT_JSON, &value), 1);
}

static void floats_are_put_in_the_form_that_was_promised(void **state)
{
	static const struct {
		double value;
		const char *text, *whole;
	} cases[] = {
		{0.0, "0.0", "0"},
		{-0.0, "-0.0", "-0"},
		{1, "1.0", "1"},
		{0.1, "0.1", "0.1"},
		{-12.5, "-12.5", "-12.5"},
		{123456789012345.0, "123456789012345.0", "123456789012345"},
		{9007199254740993.0, "9007199254740992.0", "9007199254740992"},
		{9999999999999998.0, "9999999999999998.0", "9999999999999998"},
		{1e15, "1000000000000000.0", "1000000000000000"},
		{1e16, "1e16", "1e16"},
		{1e-5, "0.00001", "0.00001"},
		{1.5e-5, "0.000015", "0.000015"},
		{-1.2345678901234567e-5, "-0.000012345678901234568", "-0.000012345678901234568"},
		{1e-6, "1e-6", "1e-6"},
		{1e300, "1e300", "1e300"},
		{1e23, "1e23", "1e23"},
		{5e-324, "5e-324", "5e-324"},
		{1.7976931348623157e308, "1.7976931348623157e308", "1.7976931348623157e308"},
		{-2.2250738585072014e-308, "-2.2250738585072014e-308", "-2.2250738585072014e-308"},
		{-INFINITY, "-inf", "-inf"},
		{NAN, "nan", "nan"},
	};
	char text[FLOAT_TEXT_MAX + 1];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		text[float_put(text, cases[i].value, 0)] = 0;
		assert_string_equal(text, cases[i].text);
		text[float_put(text, cases[i].value, FLOAT_WHOLE)] = 0;
		assert_string_equal(text, cases[i].whole);
	}
}

/* The oracle: no text of fewer digits reads back, and of this length printf's is the nearest. */
static void assert_shortest(double value, const char *text)
{
	char shorter[40];
	int digits = 0;
	bool leading = true;

	for (const char *p = text; *p && *p != 'e'; p++) {
		leading &= *p < '1' || *p > '9';
		digits += !leading && *p >= '0' && *p <= '9';
	}
	for (const char *p = strchr(text, 'e') ? strchr(text, 'e') - 1 : text + strlen(text) - 1;
		p > text && (*p == '0' || *p == '.'); p--)
		digits -= *p == '0';
	snprintf(shorter, sizeof(shorter), "%.*e", digits > 1 ? digits - 2 : 0, value);
	if (digits > 1 && strtod(shorter, NULL) == value)
		fail_msg("'%s' is longer than '%s'", text, shorter);
	snprintf(shorter, sizeof(shorter), "%.*e", digits - 1, value);
	if (strtod(shorter, NULL) == value && strtod(text, NULL) == value) {
		char again[40]; /* both read back: ours must be as near, that is the same digits */

		snprintf(again, sizeof(again), "%.*Le", digits - 1, strtold(text, NULL));
		assert_string_equal(again, shorter);
	}
}

static void random_floats_are_shortest_and_read_back(void **state)
{
	char text[FLOAT_TEXT_MAX + 1];

	(void)state;
	print_message("seed %" PRIx64 "\n", seed);
	for (int i = 0; i < 1500000; i++) {
		double value = of_bits(next_random()), back;
		size_t len;

		if (i % 3 == 1)
			value = (double)(int64_t)(next_random() >> 20) / 1000;
		if (i % 64 == 0) /* the irregular neighbours: powers of two */
			value = of_bits((next_random() % 2047) << 52);
		if (!isfinite(value))
			continue;
		len = float_put(text, value, 0);
		text[len] = 0;
		assert_true(len <= FLOAT_TEXT_MAX);
		if (float_parse(text, len, 0, &back) || bits_of(back) != bits_of(value))
			fail_msg("'%s' reads back as %.17g", text, back);
		if (i % 16 == 0) {
			assert_true(bits_of(strtod(text, NULL)) == bits_of(value));
			assert_shortest(value, text);
		}
	}
}

static void random_texts_are_rounded_as_strtod_does(void **state)
{
	char text[1100];

	(void)state;
	for (int i = 0; i < 300000; i++) {
		int digits = 1 + (int)(next_random() % (i % 100 ? 40 : 900)), n = 0;
		int point = (int)(next_random() % (unsigned)(digits + 1));
		double value = 0, expected;
		enum number_status status;

		if (i % 4 == 0) { /* exactly between two doubles, or next to it */
			double low = of_bits(next_random() % (UINT64_C(2047) << 52));

			if (low > 1e300 || low < 1e-290)
				continue;
			n = snprintf(text, sizeof(text), "%.*Le%s", (int)(next_random() % 60 + 30),
				(long double)low / 2 + (long double)nextafter(low, INFINITY) / 2,
				"");
			if (next_random() &
				1) /* the exponent stays, a digit in the middle changes */
				text[20] = (char)('0' + next_random() % 10);
		} else {
			for (int d = 0; d < digits; d++) {
				if (d == point)
					text[n++] = '.';
				text[n++] = (char)('0' + next_random() % 10);
			}
			n += snprintf(text + n, 20, "e%d", (int)(next_random() % 700) - 360);
		}
		expected = strtod(text, NULL);
		status = float_parse(text, (size_t)n, 0, &value);
		if (isinf(expected) ? status != NUMBER_RANGE : bits_of(value) != bits_of(expected))
			fail_msg("'%s': %.17g, not %.17g", text, value, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_int_is_told_apart_from_what_does_not_fit),
		cmocka_unit_test(ints_read_back_as_they_were_put),
		cmocka_unit_test(powers_of_ten_and_their_neighbours_are_put),
		cmocka_unit_test(an_int_at_the_start_of_a_buffer_ends_where_its_digits_do),
		cmocka_unit_test(what_is_no_float_is_refused),
		cmocka_unit_test(hard_floats_are_rounded_as_strtod_does),
		cmocka_unit_test(words_are_floats_only_where_asked),
		cmocka_unit_test(floats_are_put_in_the_form_that_was_promised),
		cmocka_unit_test(random_floats_are_shortest_and_read_back),
		cmocka_unit_test(random_texts_are_rounded_as_strtod_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
