#include "libcore/base/utf8.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t next_random(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

/* The oracle, from the definition: decode, then ask whether the form was the shortest and the code
 * a character. */
static size_t naive_character(const unsigned char *text, size_t len)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = text[0] < 0x80             ? 1
		   : (text[0] & 0xe0) == 0xc0 ? 2
		   : (text[0] & 0xf0) == 0xe0 ? 3
		   : (text[0] & 0xf8) == 0xf0 ? 4
					      : 0;
	uint32_t code = n > 1 ? text[0] & (0x7f >> n) : text[0];

	if (!n || n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (text[i] >> 6 != 2)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

static void malformed_bytes_are_found_where_they_start(void **state)
{
	static const struct {
		const char *text;
		size_t valid;
	} cases[] = {
		{"\x80", 0},
		{"a\xc0\x80", 1},
		{"ab\xc1\xbf", 2},
		{"\xe0\x9f\xbf", 0},
		{"\xed\xa0\x80", 0},
		{"\xf0\x8f\xbf\xbf", 0},
		{"\xf4\x90\x80\x80", 0},
		{"\xf5\x80\x80\x80", 0},
		{"\xff", 0},
		{"\xc3", 0},
		{"x\xe2\x82", 1},
		{"\xf0\x9f\x98", 0},
		{"\xc3\xa9\xc3", 2},
		{"0123456789012345678901234567890123456789\xff", 40},
		{"\xe2\x82\xac\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", 17},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].text);

		if (utf8_valid_len(cases[i].text, len) != cases[i].valid)
			fail_msg("case %zu: %zu", i, utf8_valid_len(cases[i].text, len));
		assert_true(utf8_valid(cases[i].text, len) == (cases[i].valid == len));
	}
	assert_true(utf8_valid(NULL, 0));
	(void)state;
}

static void random_bytes_are_judged_as_by_the_definition(void **state)
{
	static const unsigned char likely[] = {0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf,
		0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf3, 0xf4, 0xf5, 'a'};
	unsigned char text[80];

	(void)state;
	print_message("seed %" PRIx64 "\n", seed);
	for (int i = 0; i < 300000; i++) {
		size_t len = next_random() % sizeof(text), at = 0, ascii = next_random() % 64;

		for (size_t k = 0; k < len; k++)
			text[k] = k < ascii ? 'x' : likely[next_random() % sizeof(likely)];
		while (at < len && naive_character(text + at, len - at))
			at += naive_character(text + at, len - at);
		assert_int_equal(utf8_valid_len((const char *)text, len), at);
	}
}

static void every_code_point_is_encoded_and_decoded(void **state)
{
	char text[4];
	uint32_t code;

	(void)state;
	for (uint32_t i = 0; i < 0x110010; i++) {
		size_t n = utf8_encode(text, i);

		if (i > 0x10ffff || (i >= 0xd800 && i < 0xe000)) {
			assert_int_equal(n, 0);
			continue;
		}
		if (utf8_decode(text, n, &code) != n || code != i || !utf8_valid(text, n))
			fail_msg("U+%04" PRIX32, i);
		if (n > 1 && utf8_decode(text, n - 1, &code))
			fail_msg("U+%04" PRIX32 ", cut short", i);
	}
	assert_int_equal(utf8_decode("", 0, &code), 0);
}

static void characters_are_counted_and_found(void **state)
{
	char text[4 * 64];
	size_t starts[65];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		size_t n = next_random() % 64, len = 0;

		for (size_t k = 0; k < n; k++) {
			starts[k] = len;
			len += utf8_encode(text + len,
				(uint32_t)(next_random() % 0xd800) >> next_random() % 16);
		}
		assert_int_equal(utf8_count(text, len), n);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(utf8_offset(text, len, k), starts[k]);
		assert_int_equal(utf8_offset(text, len, n), len);
		assert_int_equal(utf8_offset(text, len, n + 100), len);
	}
	assert_true(utf8_is_ascii("0123456789012345678901234567890123456789", 40));
	assert_false(utf8_is_ascii("012345678901234567890123456789012345678\xc3", 40));
}

static void case_is_mapped_one_to_one(void **state)
{
	static const struct {
		const char *text, *upper, *lower;
	} cases[] = {
		{"", "", ""},
		{"Hello, World! @[`{ 0123456789", "HELLO, WORLD! @[`{ 0123456789",
			"hello, world! @[`{ 0123456789"},
		{"Stra\u00dfe \u00e0\u00f7\u00fe\u00ff", "STRA\u00dfE \u00c0\u00f7\u00de\u0178",
			"stra\u00dfe \u00e0\u00f7\u00fe\u00ff"},
		{"\u0130\u0131\u017f", "\u0130IS", "i\u0131\u017f"},
		{"\u0141\u00f3d\u017a \u010ce\u0161i", "\u0141\u00d3D\u0179 \u010cE\u0160I",
			"\u0142\u00f3d\u017a \u010de\u0161i"},
		{"\u0388\u03bb\u03bb\u03b7\u03bd\u03b1\u03c2",
			"\u0388\u039b\u039b\u0397\u039d\u0391\u03a3",
			"\u03ad\u03bb\u03bb\u03b7\u03bd\u03b1\u03c2"},
		{"\u041f\u0440\u0438\u0432\u0435\u0442 \u0451\u0402",
			"\u041f\u0420\u0418\u0412\u0415\u0422 \u0401\u0402",
			"\u043f\u0440\u0438\u0432\u0435\u0442 \u0451\u0452"},
		{"\u0540\u0561\u0575 \u4e2d \U0001f600\u00e9abcdefghijklmnopq",
			"\u0540\u0531\u0545 \u4e2d \U0001f600\u00c9ABCDEFGHIJKLMNOPQ",
			"\u0570\u0561\u0575 \u4e2d \U0001f600\u00e9abcdefghijklmnopq"},
		{"a\xff\xc3", "A\xff\xc3", "a\xff\xc3"},
	};
	char out[128];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].text);

		out[utf8_put_upper(out, cases[i].text, len)] = 0;
		assert_string_equal(out, cases[i].upper);
		memcpy(out, cases[i].text, len);
		out[utf8_put_lower(out, out, len)] = 0;
		assert_string_equal(out, cases[i].lower);
	}
}

static void capitals_and_small_letters_belong_together(void **state)
{
	unsigned pairs = 0;

	(void)state;
	for (uint32_t code = 0; code < 0x800; code++) {
		uint32_t upper = utf8_upper(code), lower = utf8_lower(code);

		assert_true(upper < 0x800 && lower < 0x800);
		assert_int_equal(utf8_upper(upper), upper);
		assert_int_equal(utf8_lower(lower), lower);
		assert_false(upper != code && lower != code);
		pairs += upper != code;
	}
	/* As many as UnicodeData.txt has small letters with a capital in the ranges promised. */
	assert_int_equal(pairs, 371);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_bytes_are_found_where_they_start),
		cmocka_unit_test(random_bytes_are_judged_as_by_the_definition),
		cmocka_unit_test(every_code_point_is_encoded_and_decoded),
		cmocka_unit_test(characters_are_counted_and_found),
		cmocka_unit_test(case_is_mapped_one_to_one),
		cmocka_unit_test(capitals_and_small_letters_belong_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
