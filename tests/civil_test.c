#include "libcore/base/civil.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t seed = 0x853c49e6748fea9b;

static uint64_t next_random(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static int64_t at(const char *text)
{
	int64_t us = 0;

	if (timestamp_parse(text, strlen(text), &us))
		fail_msg("'%s' isn't read", text);
	return us;
}

static void what_is_no_timestamp_is_told_apart_from_what_cannot_be(void **state)
{
	static const struct {
		const char *text;
		enum number_status status;
	} cases[] = {
		{"", NUMBER_MALFORMED},
		{"2013", NUMBER_MALFORMED},
		{"2013-1-1", NUMBER_MALFORMED},
		{"2013-01-0x", NUMBER_MALFORMED},
		{"2013/01/01", NUMBER_MALFORMED},
		{"-013-01-01", NUMBER_MALFORMED},
		{"2013-01-01T", NUMBER_MALFORMED},
		{"2013-01-01Z", NUMBER_MALFORMED},
		{"2013-01-01T1:00", NUMBER_MALFORMED},
		{"2013-01-01T10", NUMBER_MALFORMED},
		{"2013-01-01T10:00:", NUMBER_MALFORMED},
		{"2013-01-01T10:00:0", NUMBER_MALFORMED},
		{"2013-01-01T10:00:00.", NUMBER_MALFORMED},
		{"2013-01-01T10:00:00.1234567890", NUMBER_MALFORMED},
		{"2013-01-01T10:00:00+1", NUMBER_MALFORMED},
		{"2013-01-01T10:00:00+01:", NUMBER_MALFORMED},
		{"2013-01-01T10:00:00+01:3", NUMBER_MALFORMED},
		{"2013-01-01T10:00:00ZZ", NUMBER_MALFORMED},
		{"2013-01-01 10:00:00 ", NUMBER_MALFORMED},
		{"2013-13-01T10:00:00x", NUMBER_MALFORMED},
		{"0000-01-01", NUMBER_RANGE},
		{"2013-00-01", NUMBER_RANGE},
		{"2013-13-01", NUMBER_RANGE},
		{"2013-01-00", NUMBER_RANGE},
		{"2013-01-32", NUMBER_RANGE},
		{"2013-02-29", NUMBER_RANGE},
		{"1900-02-29", NUMBER_RANGE},
		{"2013-04-31", NUMBER_RANGE},
		{"2013-01-01T24:00:00", NUMBER_RANGE},
		{"2013-01-01T23:60:00", NUMBER_RANGE},
		{"2016-12-31T23:59:60Z", NUMBER_RANGE},
		{"2013-01-01T10:00:00+19", NUMBER_RANGE},
		{"2013-01-01T10:00:00+01:60", NUMBER_RANGE},
		{"0001-01-01T00:00:00+01", NUMBER_RANGE},
		{"9999-12-31T23:59:59-01", NUMBER_RANGE},
	};
	int64_t us = 77;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (timestamp_parse(cases[i].text, strlen(cases[i].text), &us) != cases[i].status)
			fail_msg("'%s'", cases[i].text);
		assert_int_equal(us, 77);
	}
}

static void timestamps_are_read_in_every_form(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} cases[] = {
		{"1970-01-01", 0},
		{"1970-01-01T00:00:00Z", 0},
		{"1970-01-01 00:01", 60000000},
		{"1970-01-01t00:00:01.5z", 1500000},
		{"1970-01-01T00:00:01,25", 1250000},
		{"1970-01-01T00:00:00.123456789", 123456},
		{"1970-01-01T01:00:00+01", 0},
		{"1970-01-01T01:30:00+0130", 0},
		{"1970-01-01T01:30:00.000001+01:30", 1},
		{"1969-12-31T19:00-05:00", 0},
		{"1969-12-31T23:59:59.999999Z", -1},
		{"2013-01-01T10:00:00Z", INT64_C(1357034400000000)},
		{"0001-01-01", TIMESTAMP_TEXT_LEAST},
		{"9999-12-31T23:59:59.999999Z", TIMESTAMP_TEXT_MOST},
		{"2000-02-29T12:34:56Z", INT64_C(951827696000000)},
	};
	int64_t us;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (at(cases[i].text) != cases[i].us)
			fail_msg("'%s'", cases[i].text);
	assert_int_equal(timestamp_scan("2013-01-01T10:00:00Z,x", 22, &us), 20);
	assert_int_equal(timestamp_scan("2013-01-01,x", 12, &us), 10);
	assert_int_equal(timestamp_scan("2013-01-01 x", 12, &us), 10);
	assert_int_equal(timestamp_scan("2013-01-01 10:00 +", 18, &us), 16);
}

static void timestamps_are_put_as_the_c_library_would(void **state)
{
	char text[TIMESTAMP_TEXT_MAX + 1], expected[64];

	(void)state;
	print_message("seed %" PRIx64 "\n", seed);
	for (int i = 0; i < 200000; i++) {
		int64_t us = (int64_t)(next_random() %
				       (uint64_t)(TIMESTAMP_TEXT_MOST - TIMESTAMP_TEXT_LEAST)) +
			     TIMESTAMP_TEXT_LEAST;
		int64_t back, sub;
		time_t seconds;
		struct tm tm;
		size_t len, n;

		if (i % 3 == 0)
			us -= us % 1000000;
		else if (i % 3 == 1)
			us -= us % 1000;
		sub = (us % 1000000 + 1000000) % 1000000;
		seconds = (us - sub) / 1000000;
		gmtime_r(&seconds, &tm);
		n = (size_t)snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d",
			tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
			tm.tm_sec);
		if (sub % 1000)
			n += (size_t)snprintf(expected + n, 16, ".%06d", (int)sub);
		else if (sub)
			n += (size_t)snprintf(expected + n, 16, ".%03d", (int)sub / 1000);
		snprintf(expected + n, 4, "Z");
		len = timestamp_put(text, us);
		text[len] = 0;
		assert_string_equal(text, expected);
		assert_int_equal(timestamp_parse(text, len, &back), NUMBER_OK);
		assert_true(back == us);
		assert_true(timegm(&tm) == seconds);
		assert_int_equal(civil_extract(CIVIL_DOY, us), tm.tm_yday + 1);
		assert_int_equal(civil_extract(CIVIL_DOW, us), tm.tm_wday);
		assert_int_equal(civil_extract(CIVIL_ISODOW, us), tm.tm_wday ? tm.tm_wday : 7);
		strftime(expected, sizeof(expected), "%G %V", &tm);
		snprintf(text, sizeof(text), "%d %02d", (int)civil_extract(CIVIL_ISOYEAR, us),
			(int)civil_extract(CIVIL_WEEK, us));
		if (tm.tm_year > -400) /* glibc doesn't pad %G before year 1000 */
			assert_string_equal(text, expected);
	}
}

static void years_beyond_text_are_put_with_a_sign(void **state)
{
	char text[TIMESTAMP_TEXT_MAX + 1];

	(void)state;
	text[timestamp_put(text, INT64_MAX)] = 0;
	assert_string_equal(text, "+294247-01-10T04:00:54.775807Z");
	text[timestamp_put(text, INT64_MIN)] = 0;
	assert_string_equal(text, "-290308-12-21T19:59:05.224192Z");
	text[timestamp_put(text, TIMESTAMP_TEXT_LEAST - 1000000)] = 0;
	assert_string_equal(text, "+0000-12-31T23:59:59Z");
	text[date_put(text, INT32_MAX)] = 0;
	assert_string_equal(text, "+5881580-07-11");
	text[date_put(text, INT32_MIN)] = 0;
	assert_string_equal(text, "-5877641-06-23");
}

static void every_day_of_a_thousand_years_follows_the_one_before(void **state)
{
	struct civil day, last;
	char text[DATE_TEXT_MAX];
	int32_t back;

	(void)state;
	civil_from_days(civil_days(1599, 12, 31), &last);
	for (int64_t days = civil_days(1600, 1, 1); days < civil_days(2600, 1, 1); days++) {
		civil_from_days(days, &day);
		if (day.day != last.day + 1) {
			assert_int_equal(day.day, 1);
			assert_int_equal(last.day, civil_days_in_month(last.year, last.month));
			assert_int_equal(
				day.year * 12 + day.month, last.year * 12 + last.month + 1);
		}
		assert_int_equal(civil_days(day.year, day.month, day.day), days);
		assert_int_equal(date_parse(text, date_put(text, (int32_t)days), &back), NUMBER_OK);
		assert_int_equal(back, days);
		last = day;
	}
	assert_int_equal(date_parse("2013-01-01x", 11, &back), NUMBER_MALFORMED);
	assert_int_equal(date_parse("2013-02-30", 10, &back), NUMBER_RANGE);
	assert_int_equal(date_scan("2013-01-01x", 11, &back), 10);
}

static void times_are_cut_to_a_field(void **state)
{
	static const struct {
		enum civil_field field;
		const char *text, *cut;
	} cases[] = {
		{CIVIL_MILLISECOND, "2013-05-16T10:11:12.345678Z", "2013-05-16T10:11:12.345Z"},
		{CIVIL_SECOND, "2013-05-16T10:11:12.345678Z", "2013-05-16T10:11:12Z"},
		{CIVIL_MINUTE, "1913-05-16T10:11:12.345678Z", "1913-05-16T10:11:00Z"},
		{CIVIL_HOUR, "1913-05-16T10:11:12Z", "1913-05-16T10:00:00Z"},
		{CIVIL_DAY, "1969-12-31T10:11:12Z", "1969-12-31T00:00:00Z"},
		{CIVIL_WEEK, "2021-01-03T10:11:12Z", "2020-12-28T00:00:00Z"},
		{CIVIL_MONTH, "2020-02-29T10:11:12Z", "2020-02-01T00:00:00Z"},
		{CIVIL_QUARTER, "2020-06-30T10:11:12Z", "2020-04-01T00:00:00Z"},
		{CIVIL_YEAR, "2020-06-30T10:11:12Z", "2020-01-01T00:00:00Z"},
		{CIVIL_ISOYEAR, "2021-01-03T10:11:12Z", "2019-12-30T00:00:00Z"},
		{CIVIL_DECADE, "2019-06-30T10:11:12Z", "2010-01-01T00:00:00Z"},
		{CIVIL_CENTURY, "2000-06-30T10:11:12Z", "1901-01-01T00:00:00Z"},
	};
	int64_t us;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(
			timestamp_trunc(cases[i].field, at(cases[i].text), &us), NUMBER_OK);
		if (us != at(cases[i].cut))
			fail_msg("'%s'", cases[i].text);
	}
	assert_int_equal(timestamp_trunc(CIVIL_DOW, 0, &us), NUMBER_RANGE);
	assert_int_equal(timestamp_trunc(CIVIL_YEAR, INT64_MIN, &us), NUMBER_RANGE);
	assert_int_equal(timestamp_trunc(CIVIL_HOUR, INT64_MIN, &us), NUMBER_RANGE);
	assert_int_equal(
		civil_extract(CIVIL_MILLISECOND, at("1960-01-01T10:11:12.345678Z")), 12345);
	assert_int_equal(
		civil_extract(CIVIL_MICROSECOND, at("1960-01-01T10:11:12.345678Z")), 12345678);
	assert_int_equal(civil_extract(CIVIL_EPOCH, -1), -1);
	assert_int_equal(civil_extract(CIVIL_QUARTER, at("1960-12-01")), 4);
}

static void months_are_added_up_to_the_end_of_the_month(void **state)
{
	int64_t us;
	int32_t days;

	(void)state;
	assert_int_equal(timestamp_add_months(at("2020-01-31T10:00"), 1, &us), NUMBER_OK);
	assert_true(us == at("2020-02-29T10:00"));
	assert_int_equal(timestamp_add_months(at("2020-03-31"), -13, &us), NUMBER_OK);
	assert_true(us == at("2019-02-28"));
	assert_int_equal(timestamp_add_months(at("1970-01-01"), -1, &us), NUMBER_OK);
	assert_true(us == at("1969-12-01"));
	assert_int_equal(timestamp_add_months(INT64_MAX, 1, &us), NUMBER_RANGE);
	assert_int_equal(timestamp_add_months(0, INT64_MAX, &us), NUMBER_RANGE);
	assert_int_equal(date_add_months(INT32_MAX, 1, &days), NUMBER_RANGE);
	assert_int_equal(date_add_months(0, 12, &days), NUMBER_OK);
	assert_int_equal(days, 365);
}

static void durations_are_read_or_refused(void **state)
{
	static const struct {
		const char *text;
		enum number_status status;
		int64_t us;
	} cases[] = {
		{"", NUMBER_MALFORMED, 0},
		{"-", NUMBER_MALFORMED, 0},
		{"5", NUMBER_MALFORMED, 0},
		{"h", NUMBER_MALFORMED, 0},
		{"1M", NUMBER_MALFORMED, 0},
		{"1h 30m", NUMBER_MALFORMED, 0},
		{"1h30", NUMBER_MALFORMED, 0},
		{"1h0", NUMBER_MALFORMED, 0},
		{"1.s", NUMBER_MALFORMED, 0},
		{".5s", NUMBER_MALFORMED, 0},
		{"1hour", NUMBER_MALFORMED, 0},
		{"99999999999999999999s", NUMBER_RANGE, 0},
		{"9223372036854775808us", NUMBER_RANGE, 0},
		{"300000000w", NUMBER_RANGE, 0},
		{"0", NUMBER_OK, 0},
		{"0s", NUMBER_OK, 0},
		{"1us", NUMBER_OK, 1},
		{"250ms", NUMBER_OK, 250000},
		{"10s", NUMBER_OK, 10000000},
		{"5m", NUMBER_OK, 300000000},
		{"-1h", NUMBER_OK, INT64_C(-3600000000)},
		{"7d", NUMBER_OK, INT64_C(604800000000)},
		{"1w", NUMBER_OK, INT64_C(604800000000)},
		{"1h30m", NUMBER_OK, INT64_C(5400000000)},
		{"1.5s", NUMBER_OK, 1500000},
		{"0.1h", NUMBER_OK, 360000000},
		{"9223372036854775807us", NUMBER_OK, INT64_MAX},
		{"-9223372036854775808us", NUMBER_OK, INT64_MIN},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int64_t us = 0;

		if (duration_parse(cases[i].text, strlen(cases[i].text), &us) != cases[i].status ||
			us != cases[i].us)
			fail_msg("'%s'", cases[i].text);
	}
}

static void durations_read_back_as_they_were_put(void **state)
{
	static const struct {
		int64_t us;
		const char *text;
	} cases[] = {
		{0, "0s"},
		{1, "1us"},
		{250000, "250ms"},
		{1500, "1.5ms"},
		{1500000, "1.5s"},
		{INT64_C(5400000000), "1h30m"},
		{INT64_C(-5400000001), "-1h30m1us"},
		{INT64_C(129600000000), "1d12h"},
		{INT64_MIN, "-106751991d4h54.775808s"},
	};
	char text[DURATION_TEXT_MAX + 1];
	int64_t back;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		text[duration_put(text, cases[i].us)] = 0;
		assert_string_equal(text, cases[i].text);
	}
	for (int i = 0; i < 100000; i++) {
		int64_t us = (int64_t)next_random() >> (next_random() & 63);
		size_t len = duration_put(text, us);

		assert_true(len <= DURATION_TEXT_MAX);
		assert_int_equal(duration_parse(text, len, &back), NUMBER_OK);
		assert_true(back == us);
	}
}

static void intervals_are_read_or_refused(void **state)
{
	static const struct {
		const char *text;
		enum number_status status;
		int64_t months, us;
	} cases[] = {
		{"", NUMBER_MALFORMED, 0, 0},
		{" ", NUMBER_MALFORMED, 0, 0},
		{"5", NUMBER_MALFORMED, 0, 0},
		{"5 parsecs", NUMBER_MALFORMED, 0, 0},
		{"minutes", NUMBER_MALFORMED, 0, 0},
		{"1.5 months", NUMBER_MALFORMED, 0, 0},
		{"00:5:00", NUMBER_MALFORMED, 0, 0},
		{"00:60:00", NUMBER_RANGE, 0, 0},
		{"99999999999999999999 years", NUMBER_RANGE, 0, 0},
		{"5 minutes", NUMBER_OK, 0, 300000000},
		{"  1 day ", NUMBER_OK, 0, CIVIL_US_DAY},
		{"1 Hour 30 MINUTES", NUMBER_OK, 0, INT64_C(5400000000)},
		{"00:05:00", NUMBER_OK, 0, 300000000},
		{"-00:05:00.25", NUMBER_OK, 0, -300250000},
		{"1 day 02:00", NUMBER_OK, 0, CIVIL_US_DAY + INT64_C(7200000000)},
		{"1 year 2 months -3 days", NUMBER_OK, 14, -3 * CIVIL_US_DAY},
		{"1.5 hours", NUMBER_OK, 0, INT64_C(5400000000)},
		{"1h30m", NUMBER_OK, 0, INT64_C(5400000000)},
		{"-1h30m", NUMBER_OK, 0, INT64_C(-5400000000)},
		{"2 weeks", NUMBER_OK, 0, 14 * CIVIL_US_DAY},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct interval v = {0, 0};

		if (interval_parse(cases[i].text, strlen(cases[i].text), &v) != cases[i].status ||
			v.months != cases[i].months || v.us != cases[i].us)
			fail_msg("'%s': %" PRId64 " %" PRId64, cases[i].text, v.months, v.us);
	}
}

static void sizes_are_read_or_refused(void **state)
{
	static const struct {
		const char *text;
		enum number_status status;
		uint64_t bytes;
	} cases[] = {
		{"", NUMBER_MALFORMED, 0},
		{"M", NUMBER_MALFORMED, 0},
		{"-1", NUMBER_MALFORMED, 0},
		{"1x", NUMBER_MALFORMED, 0},
		{"1Ki", NUMBER_MALFORMED, 0},
		{"1.5", NUMBER_MALFORMED, 0},
		{"1MM", NUMBER_MALFORMED, 0},
		{"16777216T", NUMBER_RANGE, 0},
		{"0", NUMBER_OK, 0},
		{"512", NUMBER_OK, 512},
		{"512b", NUMBER_OK, 512},
		{"64k", NUMBER_OK, 65536},
		{"256M", NUMBER_OK, UINT64_C(256) << 20},
		{"2G", NUMBER_OK, UINT64_C(2) << 30},
		{"1.5GiB", NUMBER_OK, UINT64_C(3) << 29},
		{"1TB", NUMBER_OK, UINT64_C(1) << 40},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t bytes = 0;

		if (size_parse(cases[i].text, strlen(cases[i].text), &bytes) != cases[i].status ||
			bytes != cases[i].bytes)
			fail_msg("'%s'", cases[i].text);
	}
}

static void fields_have_names(void **state)
{
	enum civil_field field;

	(void)state;
	assert_false(civil_field_parse("", 0, &field));
	assert_false(civil_field_parse("years ", 6, &field));
	assert_true(civil_field_parse("YEARS", 5, &field));
	assert_int_equal(field, CIVIL_YEAR);
	assert_true(civil_field_parse("isodow", 6, &field));
	assert_int_equal(field, CIVIL_ISODOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_timestamp_is_told_apart_from_what_cannot_be),
		cmocka_unit_test(timestamps_are_read_in_every_form),
		cmocka_unit_test(timestamps_are_put_as_the_c_library_would),
		cmocka_unit_test(years_beyond_text_are_put_with_a_sign),
		cmocka_unit_test(every_day_of_a_thousand_years_follows_the_one_before),
		cmocka_unit_test(times_are_cut_to_a_field),
		cmocka_unit_test(months_are_added_up_to_the_end_of_the_month),
		cmocka_unit_test(durations_are_read_or_refused),
		cmocka_unit_test(durations_read_back_as_they_were_put),
		cmocka_unit_test(intervals_are_read_or_refused),
		cmocka_unit_test(sizes_are_read_or_refused),
		cmocka_unit_test(fields_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
