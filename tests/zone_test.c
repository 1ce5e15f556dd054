/* Time zones against the C library's reading of the same files, at random times of a printed seed. */
#include "libcore/base/civil.h"
#include "libcore/base/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { TIMES = 4000 };

static uint64_t seed = 20261123;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct zone *open_zone(const char *name)
{
	struct error e = ERROR_INIT;
	struct zone *z = NULL;

	if (zone_open(name, strlen(name), &z, &e) < 0)
		fail_msg("%s: %s", name, e.text);
	return z;
}

static void what_is_no_zone_is_refused(void **state)
{
	static const char *const names[] = {"", "Europe/Berlni", "../../etc/passwd", "/etc/passwd",
		"Europe", "Europe/", "+25:00", "+1:2:3", "+", "zone.tab", "tzdata.zi", "+99"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct error e = ERROR_INIT;
		struct zone *z;

		if (zone_open(names[i], strlen(names[i]), &z, &e) == 0)
			fail_msg("'%s' was taken", names[i]);
		assert_int_equal(e.code, ERROR_USAGE);
		error_clear(&e);
	}
}

static void every_cut_of_a_file_is_refused_or_has_all_it_needs(void **state)
{
	FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "r");
	static uint8_t bytes[1 << 16];
	size_t len;

	if (!f)
		skip();
	len = fread(bytes, 1, sizeof bytes, f);
	fclose(f);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut + 1);
		struct error e = ERROR_INIT;
		struct zone *z;

		memcpy(copy, bytes, cut);
		assert_int_equal(zone_parse(copy, cut, &z, &e), -1);
		error_clear(&e);
		free(copy);
	}
}

static void local_times_are_those_of_the_c_library(void **state)
{
	static const char *const names[] = {"Europe/Berlin", "America/New_York", "Asia/Kolkata",
		"Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca", "Europe/Dublin",
		"America/Sao_Paulo", "Pacific/Apia", "Asia/Tehran", "Antarctica/Troll", "America/Nuuk",
		"Etc/GMT+5", "UTC", "Asia/Gaza", "Pacific/Auckland"};

	print_message("seed %llu\n", (unsigned long long)seed);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct zone *z = open_zone(names[i]);

		setenv("TZ", names[i], 1);
		tzset();
		for (int n = 0; n < TIMES; n++) {
			time_t t = (time_t)(next_random() % 20000000000) - 4000000000;
			int64_t from, until, us = t * CIVIL_US_SECOND + 123456;
			struct tm tm;
			int32_t offset = zone_offset(z, t, &from, &until);

			localtime_r(&t, &tm);
			if (offset != tm.tm_gmtoff)
				fail_msg("%s at %lld: %d, not %ld", names[i], (long long)t, offset,
					tm.tm_gmtoff);
			assert_true(from <= t && t < until);
			assert_int_equal(zone_to_local(z, us), us + offset * CIVIL_US_SECOND);
			if (until != INT64_MAX) { /* the span is as long as it is said to be */
				t = until - 1;
				localtime_r(&t, &tm);
				assert_int_equal(offset, tm.tm_gmtoff);
			}
		}
		zone_free(z);
	}
	unsetenv("TZ");
	tzset();
}

static void a_local_time_goes_back_to_the_first_of_the_times_it_stands_for(void **state)
{
	struct zone *z = open_zone("America/New_York");

	for (int n = 0; n < TIMES; n++) {
		int64_t us = (int64_t)(next_random() % 4000000000) * CIVIL_US_SECOND;
		int64_t local = zone_to_local(z, us), back = zone_to_utc(z, local);

		assert_int_equal(zone_to_local(z, back), local);
		assert_true(back == us || back == us - 3600 * CIVIL_US_SECOND);
	}
	/* 2024-11-03 01:30 comes twice, 2024-03-10 02:30 never. */
	assert_int_equal(zone_to_utc(z, INT64_C(1730597400) * CIVIL_US_SECOND),
		(1730597400 + 4 * 3600) * CIVIL_US_SECOND);
	assert_int_equal(zone_to_utc(z, INT64_C(1710037800) * CIVIL_US_SECOND),
		(1710037800 + 5 * 3600) * CIVIL_US_SECOND);
	zone_free(z);
}

static void offsets_have_names_too(void **state)
{
	static const struct {
		const char *name;
		int32_t seconds;
	} cases[] = {{"+02:00", 7200}, {"-0330", -12600}, {"+2", 7200}, {"-11", -39600}, {"UTC", 0}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct zone *z = open_zone(cases[i].name);
		int64_t from, until;

		assert_int_equal(zone_offset(z, 0, &from, &until), cases[i].seconds);
		zone_free(z);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_zone_is_refused),
		cmocka_unit_test(every_cut_of_a_file_is_refused_or_has_all_it_needs),
		cmocka_unit_test(offsets_have_names_too),
		cmocka_unit_test(local_times_are_those_of_the_c_library),
		cmocka_unit_test(a_local_time_goes_back_to_the_first_of_the_times_it_stands_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
