/* The calendar, and the text of dates, timestamps, durations, intervals and sizes.
 *
 *   date       int32 days since 1970-01-01, proleptic Gregorian
 *   timestamp  int64 microseconds since 1970-01-01T00:00:00Z, no leap seconds
 *   duration   int64 microseconds
 *
 * No locale, no time zones (an offset in text is applied, none is UTC), no clock, no allocation.
 * Statuses, _scan, _parse and _put are as in base/number.h.
 *
 * Text holds the years 0001..9999; others are NUMBER_RANGE when read.  Arithmetic and _put take
 * every value: such years are put with a sign and at least four digits, as ISO 8601's expanded
 * years (+12345-01-01, -0044-03-15, where -0044 is 45 BC), which _parse refuses. */
#ifndef RUNNEL_BASE_CIVIL_H
#define RUNNEL_BASE_CIVIL_H

#include "libcore/base/number.h"

enum {
	DATE_TEXT_MAX = 16,
	TIMESTAMP_TEXT_MAX = 40,
	DURATION_TEXT_MAX = 48,
};

#define CIVIL_US_SECOND INT64_C(1000000)
#define CIVIL_US_DAY (INT64_C(86400) * CIVIL_US_SECOND)

struct civil {
	int64_t year; /* 0 is 1 BC */
	int month;    /* 1..12 */
	int day;      /* 1..31 */
	int hour, minute, second;
	int us;
};

/* ---- calendar ---- */

/* Days since the epoch of a day of the calendar; month 1..12, day may be any small number. */
int64_t civil_days(int64_t year, int month, int day);
/* Sets year, month and day only. */
void civil_from_days(int64_t days, struct civil *out);
void civil_from_us(int64_t us, struct civil *out);
/* NUMBER_RANGE if it doesn't fit int64; fields aren't checked. */
enum number_status civil_to_us(const struct civil *c, int64_t *us);
int civil_days_in_month(int64_t year, int month);
bool civil_is_leap(int64_t year);

/* ---- dates: 2013-01-01 ---- */

ssize_t date_scan(const char *text, size_t len, int32_t *days);
enum number_status date_parse(const char *text, size_t len, int32_t *days);
size_t date_put(char out[DATE_TEXT_MAX], int32_t days);

/* ---- timestamps: ISO 8601 ----
 *
 *   2013-01-01[(T|t|space)10:00[:00[(.|,)fraction]][Z|z|+hh|+hh:mm|+hhmm]]
 *
 * A date alone is its midnight.  1..9 digits of fraction, truncated to microseconds.  A field out
 * of range (month 13, 24:00, a leap second 60, an offset over 18 h) is NUMBER_RANGE. */

ssize_t timestamp_scan(const char *text, size_t len, int64_t *us);
enum number_status timestamp_parse(const char *text, size_t len, int64_t *us);
/* UTC with Z; a fraction only where there is one, 3 or 6 digits: 2013-01-01T10:00:00.250Z */
size_t timestamp_put(char out[TIMESTAMP_TEXT_MAX], int64_t us);

/* A duration or timestamp column's integers in another unit: 1 (s), 1000 (ms), 1000000 (us) or
 * 1000000000 (ns, floored) ticks per second. */
enum number_status timestamp_from_ticks(int64_t ticks, int64_t ticks_per_second, int64_t *us);

/* ---- durations, as on command lines: 1us 250ms 10s 5m 1h 7d 2w, 1h30m, 1.5s, -5m, 0 ---- */

ssize_t duration_scan(const char *text, size_t len, int64_t *us);
enum number_status duration_parse(const char *text, size_t len, int64_t *us);
/* d h m, then s, ms or us with a fraction if needed: 1d12h, 1h30m, 1.5s, 250ms, -5m, 0s.  Reads
 * back as the same. */
size_t duration_put(char out[DURATION_TEXT_MAX], int64_t us);

/* ---- SQL intervals ----
 *
 *   '5 minutes'  '1 day'  '1 hour 30 minutes'  '-2 days'  '1.5 hours'  '00:05:00'  '1 day 02:00'
 *   '1 year 2 months'  and durations as above
 *
 * Unit names in singular, plural and the usual short forms, any case.  Months and years have no
 * fixed length and are kept apart; their fractions are malformed. */
struct interval {
	int64_t months;
	int64_t us;
};

enum number_status interval_parse(const char *text, size_t len, struct interval *out);

/* ---- sizes: 512, 64k, 256M, 2G, 1T; also lower case, KiB, MB (all powers of 1024), 1.5G ---- */

enum number_status size_parse(const char *text, size_t len, uint64_t *bytes);

/* ---- fields ---- */

enum civil_field {
	CIVIL_YEAR,
	CIVIL_QUARTER,
	CIVIL_MONTH,
	CIVIL_WEEK, /* ISO 8601: Monday first, week 1 holds January 4th */
	CIVIL_DAY,
	CIVIL_HOUR,
	CIVIL_MINUTE,
	CIVIL_SECOND,
	CIVIL_MILLISECOND,
	CIVIL_MICROSECOND,
	CIVIL_DOW,    /* 0 Sunday .. 6 */
	CIVIL_ISODOW, /* 1 Monday .. 7 */
	CIVIL_DOY,    /* 1..366 */
	CIVIL_EPOCH,  /* whole seconds, floored */
	CIVIL_ISOYEAR,
	CIVIL_DECADE,
	CIVIL_CENTURY, /* 1 is 1..100 */
};

/* "year", "month", "weeks", any case.  False if there is no such field. */
bool civil_field_parse(const char *text, size_t len, enum civil_field *out);

/* millisecond and microsecond include the seconds (as in PostgreSQL): 10.25 s are 10250 ms. */
int64_t civil_extract(enum civil_field field, int64_t us);

/* Cuts down to the field.  Fields that aren't units (dow, isodow, doy, epoch) and results below the
 * least timestamp are NUMBER_RANGE.  isoyear cuts to the Monday of week 1. */
enum number_status timestamp_trunc(enum civil_field field, int64_t us, int64_t *out);

/* The same day and time some months later; a day the month doesn't have becomes its last. */
enum number_status timestamp_add_months(int64_t us, int64_t months, int64_t *out);
enum number_status date_add_months(int32_t days, int64_t months, int32_t *out);

/* The inclusive range of timestamps whose text can be read back (years 0001..9999). */
#define TIMESTAMP_TEXT_LEAST INT64_C(-62135596800000000)
#define TIMESTAMP_TEXT_MOST INT64_C(253402300799999999)

#endif
