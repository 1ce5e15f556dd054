/* PostgreSQL's values, one by one: what isn't taken, what text and binary give, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "connect/heavy/postgres_binary.h"
#include "connect/heavy/postgres_pgoutput.h"
#include "connect/heavy/postgres_types.h"

enum { MODIFIER_12_4 = (12 << 16 | 4) + 4 };

static struct postgres_codec codec_of(uint32_t oid, int32_t modifier)
{
	struct postgres_type t = {.oid = oid, .modifier = modifier, .kind = 'b'};

	return postgres_codec_of(&t);
}

/* A value's text, taken and shown; "!why" where it isn't taken. */
static void check_text(uint32_t oid, int32_t modifier, const char *text, const char *wanted)
{
	struct postgres_codec codec = codec_of(oid, modifier);
	struct buf shown = BUF_INIT;
	struct column_builder b;
	const char *why = NULL;
	struct column c;

	builder_init(&b, codec.type);
	if (postgres_take_text(&codec, text, strlen(text), &b, &why) < 0) {
		assert_int_equal(b.rows, 0);
		buf_printf(&shown, "!%s", why);
		assert_memory_equal(buf_cstr(&shown), wanted, strlen(wanted));
	} else {
		c = builder_column(&b);
		column_put_text(&c, 0, 1000, &shown);
		assert_string_equal(buf_cstr(&shown), wanted);
	}
	buf_clear(&shown);
	builder_clear(&b);
}

static void values_that_have_no_counterpart_are_refused(void **state)
{
	(void)state;
	check_text(OID_NUMERIC, MODIFIER_12_4, "NaN", "!NaN");
	check_text(OID_NUMERIC, MODIFIER_12_4, "-Infinity", "!infinity");
	check_text(OID_NUMERIC, MODIFIER_12_4, "1.23456", "!a number with more digits");
	check_text(OID_NUMERIC, MODIFIER_12_4, "123456789.0", "!a number too large");
	check_text(OID_NUMERIC, MODIFIER_12_4, "x", "!a value that isn't");
	check_text(OID_DATE, -1, "infinity", "!infinity");
	check_text(OID_DATE, -1, "2026-13-01", "!a value");
	check_text(OID_DATE, -1, "2026-01-01 AD", "!a value");
	check_text(OID_TIMESTAMPTZ, -1, "-infinity", "!infinity");
	check_text(OID_TIMESTAMPTZ, -1, "2026-01-01 10:00", "!a value");
	check_text(OID_TIMESTAMPTZ, -1, "294276-12-31 23:59:59+00", "!a time out of range");
	check_text(OID_INTERVAL, -1, "P1M", "!an interval with months");
	check_text(OID_INTERVAL, -1, "P1.5D", "!a value");
	check_text(OID_INTERVAL, -1, "P", "!a value");
	check_text(OID_BOOL, -1, "true", "!a value");
	check_text(OID_BYTEA, -1, "\\x0", "!a value");
	check_text(OID_FLOAT4, -1, "1e39", "!a value");
	check_text(OID_TEXT, -1, "\xff", "!text that isn't UTF-8");
	check_text(OID_JSON, -1, "{\"a\":}", "!JSON");
}

static void texts_give_their_values(void **state)
{
	(void)state;
	check_text(OID_NUMERIC, MODIFIER_12_4, "-12.3400", "-12.3400");
	check_text(OID_NUMERIC, -1, "1e100", "1e100");
	check_text(OID_NUMERIC, (4 << 16 | (-3 & 0x7ff)) + 4, "9999000", "9999000");
	check_text(OID_NUMERIC, (3 << 16 | 7) + 4, "0.0000123", "0.0000123");
	check_text(OID_DATE, -1, "2026-01-31", "2026-01-31");
	check_text(OID_DATE, -1, "0044-03-15 BC", "-0043-03-15");
	check_text(OID_DATE, -1, "20000-02-29", "+20000-02-29");
	check_text(OID_TIMESTAMP, -1, "2026-01-31 10:00:00.25", "2026-01-31T10:00:00.250Z");
	check_text(OID_TIMESTAMPTZ, -1, "2026-01-31 10:00:00+05:30", "2026-01-31T04:30:00Z");
	check_text(OID_TIMESTAMPTZ, -1, "2026-01-31 10:00:00-00:00:15", "2026-01-31T10:00:15Z");
	check_text(OID_INTERVAL, -1, "PT0S", "0s");
	check_text(OID_INTERVAL, -1, "P-1DT-2H", "-1d2h");
	check_text(OID_INTERVAL, -1, "P1DT-0.5S", "23h59m59.5s");
	check_text(OID_FLOAT4, -1, "0.1", "0.10000000149011612");
	check_text(OID_BOOL, -1, "f", "false");
}

/* Digits of base 10,000, as the server groups them. */
static void numerics_keep_every_digit(void **state)
{
	static const struct {
		const char *in, *out; /* out NULL: the same */
	} cases[] = {{"0", NULL}, {"0.000", NULL}, {"-1", NULL}, {"10000", NULL}, {"1e5", "100000"},
		{"1.5e-3", "0.0015"}, {"0.00000001", NULL}, {"123456789.00012300", NULL},
		{"NaN", NULL}, {"Infinity", NULL}, {"-inf", "-Infinity"}, {"007", "7"},
		{"-99999999999999999999999999999999999999999999.9999999999", NULL}};
	static const char *const wrong[] = {"", "-", ".", "1.2.3", "1e", "1e999999", "x", "1 "};
	struct buf binary = BUF_INIT, text = BUF_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_int_equal(numeric_put_from_text(wrong[i], strlen(wrong[i]), &binary), -1);
		assert_int_equal(binary.len, 0);
	}
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf_reset(&binary);
		buf_reset(&text);
		assert_int_equal(
			numeric_put_from_text(cases[i].in, strlen(cases[i].in), &binary), 0);
		assert_int_equal(numeric_put_text(binary.data, binary.len, &text), 0);
		assert_string_equal(buf_cstr(&text), cases[i].out ? cases[i].out : cases[i].in);
	}
	buf_clear(&binary);
	buf_clear(&text);
}

static void decimals_come_back(void **state)
{
	static const struct {
		int64_t value;
		unsigned scale;
	} cases[] = {{0, 0}, {0, 5}, {1, 4}, {-1, 5}, {123456789, 4}, {INT64_MIN, 0},
		{INT64_MAX, 17}, {10000, 4}, {10000, 0}, {99990000, 8}};
	struct buf binary = BUF_INIT;
	const char *why;
	__int128 back;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf_reset(&binary);
		numeric_put(cases[i].value, cases[i].scale, &binary);
		assert_int_equal(
			numeric_take(binary.data, binary.len, cases[i].scale, &back, &why), 0);
		assert_true(back == cases[i].value);
	}
	buf_clear(&binary);
}

static void positions_are_two_numbers(void **state)
{
	static const char *const wrong[] = {"", "/", "1/", "/1", "1/123456789", "1/x", "1/1 "};
	uint64_t lsn;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_int_equal(pgoutput_parse_lsn(wrong[i], &lsn), -1);
	assert_int_equal(pgoutput_parse_lsn("16/B374D848", &lsn), 0);
	assert_true(lsn == UINT64_C(0x16b374d848));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_that_have_no_counterpart_are_refused),
		cmocka_unit_test(texts_give_their_values),
		cmocka_unit_test(numerics_keep_every_digit),
		cmocka_unit_test(decimals_come_back),
		cmocka_unit_test(positions_are_two_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
