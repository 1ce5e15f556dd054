/* The calendar's arithmetic follows Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
 * (2013): years start in March, 400 of them are one era of 146,097 days. */
#include "libcore/base/civil.h"

#include "libcore/base/digits.h"

enum { DAYS_PER_ERA = 146097, DAYS_TO_EPOCH = 719468, OFFSET_HOURS_MAX = 18 };

static inline int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static inline int64_t floor_mod(int64_t a, int64_t b)
{
	int64_t r = a % b;

	return r < 0 ? r + b : r;
}

/* ---- calendar ---- */

int64_t civil_days(int64_t year, int month, int day)
{
	int64_t y = year - (month <= 2), era = floor_div(y, 400);
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - DAYS_TO_EPOCH;
}

void civil_from_days(int64_t days, struct civil *out)
{
	int64_t era = floor_div(days + DAYS_TO_EPOCH, DAYS_PER_ERA);
	unsigned day = (unsigned)(days + DAYS_TO_EPOCH - era * DAYS_PER_ERA);
	unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	unsigned day_of_year = day - (365 * year + year / 4 - year / 100);
	unsigned month = (5 * day_of_year + 2) / 153; /* 0 is March */

	out->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
	out->month = (int)(month < 10 ? month + 3 : month - 9);
	out->year = (int64_t)year + era * 400 + (out->month <= 2);
}

void civil_from_us(int64_t us, struct civil *out)
{
	int64_t days = floor_div(us, CIVIL_US_DAY);
	uint64_t rest = (uint64_t)floor_mod(us, CIVIL_US_DAY);
	uint32_t seconds = (uint32_t)(rest / 1000000);

	civil_from_days(days, out);
	out->us = (int)(rest % 1000000);
	out->hour = (int)(seconds / 3600);
	out->minute = (int)(seconds / 60 % 60);
	out->second = (int)(seconds % 60);
}

enum number_status civil_to_us(const struct civil *c, int64_t *us)
{
	int64_t seconds = (int64_t)c->hour * 3600 + (int64_t)c->minute * 60 + c->second;
	__int128 value;

	if (c->year < -300000 || c->year > 300000)
		return NUMBER_RANGE;
	value = ((__int128)civil_days(c->year, c->month, c->day) * 86400 + seconds) * 1000000 +
		c->us;
	if (value < INT64_MIN || value > INT64_MAX)
		return NUMBER_RANGE;
	*us = (int64_t)value;
	return NUMBER_OK;
}

bool civil_is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int civil_days_in_month(int64_t year, int month)
{
	static const int8_t days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month] + (month == 2 && civil_is_leap(year));
}

/* ---- reading dates and timestamps ----
 *
 * Readers return the bytes they took, 0 if the text isn't of their form.  What is well formed but
 * out of range is noted aside, so that the form of the rest is still checked. */

static inline size_t read_date(const char *text, size_t len, int64_t *days, bool *range)
{
	uint64_t w;
	unsigned year, month, day;

	if (len < 10)
		return 0;
	w = digits_load8(text); /* YYYY-MM- */
	if ((w & UINT64_C(0xff0000ff00000000)) != UINT64_C(0x2d00002d00000000))
		return 0;
	w ^= UINT64_C(0x2d00002d00000000) ^ UINT64_C(0x3000003000000000);
	if (digits_others(w) || !digits_is(text[8]) || !digits_is(text[9]))
		return 0;
	year = digits_value(w, 4);
	month = (unsigned)(text[5] - '0') * 10 + (unsigned)(text[6] - '0');
	day = (unsigned)(text[8] - '0') * 10 + (unsigned)(text[9] - '0');
	if (year < 1 || month - 1 > 11 || day < 1 ||
		(day > 28 && (int)day > civil_days_in_month(year, (int)month))) {
		*range = true;
		return 10;
	}
	*days = civil_days(year, (int)month, (int)day);
	return 10;
}

static inline bool two_digits(const char *text, unsigned *value)
{
	*value = (unsigned)(text[0] - '0') * 10 + (unsigned)(text[1] - '0');
	return digits_is(text[0]) && digits_is(text[1]);
}

/* hh:mm:ss in one word, if the bytes are there. */
static inline bool read_clock8(const char *text, unsigned *seconds, bool *range)
{
	uint64_t w = digits_load8(text);
	unsigned hour, minute, second;

	if ((w & UINT64_C(0x0000ff0000ff0000)) != UINT64_C(0x00003a00003a0000))
		return false;
	if (digits_others(w ^ UINT64_C(0x00003a00003a0000) ^ UINT64_C(0x0000300000300000)))
		return false;
	w &= UINT64_C(0x0f0f000f0f000f0f);
	w = w * 10 + (w >> 8); /* in bytes 0, 3 and 6: ten times the first digit and the second */
	hour = w & 0xff;
	minute = w >> 24 & 0xff;
	second = w >> 48 & 0xff;
	*range |= hour > 23 || minute > 59 || second > 59;
	*seconds = hour * 3600 + minute * 60 + second;
	return true;
}

static size_t read_fraction(const char *text, size_t len, unsigned *us)
{
	size_t i = 1;
	unsigned value = 0, digits = 0;

	if (len < 2 || (text[0] != '.' && text[0] != ',') || !digits_is(text[1]))
		return 0;
	for (; i < len && digits_is(text[i]); i++) {
		if (digits < 6)
			value = value * 10 + (unsigned)(text[i] - '0');
		digits++;
	}
	if (digits > 9)
		return 0;
	for (; digits < 6; digits++)
		value *= 10;
	*us = value;
	return i;
}

/* hh:mm[:ss[.fraction]] */
static size_t read_clock(const char *text, size_t len, int64_t *us, bool *range)
{
	unsigned seconds = 0, hour, minute, fraction = 0;
	size_t taken = 8;

	if (len < 8 || !read_clock8(text, &seconds, range)) {
		if (len < 5 || text[2] != ':' || !two_digits(text, &hour) ||
			!two_digits(text + 3, &minute))
			return 0;
		taken = 5;
		*range |= hour > 23 || minute > 59;
		seconds = hour * 3600 + minute * 60;
	}
	if (taken == 8)
		taken += read_fraction(text + 8, len - 8, &fraction);
	*us = (int64_t)seconds * 1000000 + fraction;
	return taken;
}

/* Z, +hh, +hh:mm, +hhmm; 0 if there is none. */
static size_t read_offset(const char *text, size_t len, int64_t *seconds, bool *range)
{
	unsigned hours, minutes = 0;
	size_t taken = 3, at;

	if (!len)
		return 0;
	if (text[0] == 'Z' || text[0] == 'z')
		return 1;
	if ((text[0] != '+' && text[0] != '-') || len < 3 || !two_digits(text + 1, &hours))
		return 0;
	at = len > 3 && text[3] == ':' ? 4 : 3;
	if (len >= at + 2 && two_digits(text + at, &minutes))
		taken = at + 2;
	else
		minutes = 0;
	*range |= minutes > 59 || hours * 60 + minutes > OFFSET_HOURS_MAX * 60;
	*seconds = (int64_t)(hours * 3600 + minutes * 60);
	if (text[0] == '-')
		*seconds = -*seconds;
	return taken;
}

static inline size_t read_timestamp(const char *text, size_t len, int64_t *us, bool *range)
{
	int64_t days = 0, clock = 0, offset = 0;
	size_t taken = read_date(text, len, &days, range), more;

	if (!taken)
		return 0;
	if (len > 10 && (text[10] == 'T' || text[10] == ' ' || text[10] == 't')) {
		more = read_clock(text + 11, len - 11, &clock, range);
		if (more) {
			taken += 1 + more;
			taken += read_offset(text + taken, len - taken, &offset, range);
		}
	}
	*us = days * CIVIL_US_DAY + clock - offset * CIVIL_US_SECOND;
	*range |= *us < TIMESTAMP_TEXT_LEAST || *us > TIMESTAMP_TEXT_MOST;
	return taken;
}

ssize_t date_scan(const char *text, size_t len, int32_t *days)
{
	bool range = false;
	int64_t value = 0;
	size_t taken = read_date(text, len, &value, &range);

	if (!taken)
		return NUMBER_MALFORMED;
	if (range)
		return NUMBER_RANGE;
	*days = (int32_t)value;
	return (ssize_t)taken;
}

enum number_status date_parse(const char *text, size_t len, int32_t *days)
{
	ssize_t taken = len == 10 ? date_scan(text, len, days) : NUMBER_MALFORMED;

	return taken < 0 ? (enum number_status)taken : NUMBER_OK;
}

ssize_t timestamp_scan(const char *text, size_t len, int64_t *us)
{
	bool range = false;
	int64_t value;
	size_t taken = read_timestamp(text, len, &value, &range);

	if (!taken)
		return NUMBER_MALFORMED;
	if (range)
		return NUMBER_RANGE;
	*us = value;
	return (ssize_t)taken;
}

enum number_status timestamp_parse(const char *text, size_t len, int64_t *us)
{
	bool range = false;
	int64_t value;

	if (len < 10 || read_timestamp(text, len, &value, &range) != len)
		return NUMBER_MALFORMED;
	if (range)
		return NUMBER_RANGE;
	*us = value;
	return NUMBER_OK;
}

enum number_status timestamp_from_ticks(int64_t ticks, int64_t ticks_per_second, int64_t *us)
{
	if (ticks_per_second > 1000000) {
		*us = floor_div(ticks, ticks_per_second / 1000000);
		return NUMBER_OK;
	}
	return __builtin_mul_overflow(ticks, 1000000 / ticks_per_second, us) ? NUMBER_RANGE
									     : NUMBER_OK;
}

/* ---- writing dates and timestamps ---- */

static inline size_t put_day(char *out, const struct civil *c)
{
	size_t n = 4;

	if (c->year >= 1 && c->year <= 9999) {
		digits_put4(out, (unsigned)c->year);
	} else {
		uint64_t year = c->year < 0 ? 0 - (uint64_t)c->year : (uint64_t)c->year;

		out[0] = c->year < 0 ? '-' : '+';
		n = 5;
		if (year <= 9999)
			digits_put4(out + 1, (unsigned)year);
		else
			n = 1 + uint_put(out + 1, year);
	}
	out[n] = '-';
	digits_put2(out + n + 1, (unsigned)c->month);
	out[n + 3] = '-';
	digits_put2(out + n + 4, (unsigned)c->day);
	return n + 6;
}

size_t date_put(char out[DATE_TEXT_MAX], int32_t days)
{
	struct civil c;

	civil_from_days(days, &c);
	return put_day(out, &c);
}

size_t timestamp_put(char out[TIMESTAMP_TEXT_MAX], int64_t us)
{
	struct civil c;
	size_t n;

	civil_from_us(us, &c);
	n = put_day(out, &c);
	out[n] = 'T';
	digits_put2(out + n + 1, (unsigned)c.hour);
	out[n + 3] = ':';
	digits_put2(out + n + 4, (unsigned)c.minute);
	out[n + 6] = ':';
	digits_put2(out + n + 7, (unsigned)c.second);
	n += 9;
	if (c.us) {
		unsigned ms = (unsigned)c.us / 1000, rest = (unsigned)c.us % 1000;

		out[n] = '.';
		out[n + 1] = (char)('0' + ms / 100);
		digits_put2(out + n + 2, ms % 100);
		n += 4;
		if (rest) {
			out[n] = (char)('0' + rest / 100);
			digits_put2(out + n + 1, rest % 100);
			n += 3;
		}
	}
	out[n] = 'Z';
	return n + 1;
}

/* ---- fields ---- */

/* Days since the epoch of the Monday that starts the ISO year's week 1. */
static int64_t iso_year_start(int64_t year)
{
	int64_t fourth = civil_days(year, 1, 4);

	return fourth - floor_mod(fourth + 3, 7); /* 1970-01-01 was a Thursday */
}

static int64_t iso_year(int64_t days, int64_t year)
{
	if (days < iso_year_start(year))
		return year - 1;
	return year + (days >= iso_year_start(year + 1));
}

static int64_t extract_day(enum civil_field field, int64_t days)
{
	struct civil c;

	civil_from_days(days, &c);
	switch (field) {
	case CIVIL_YEAR: return c.year;
	case CIVIL_QUARTER: return (c.month + 2) / 3;
	case CIVIL_MONTH: return c.month;
	case CIVIL_WEEK: return (days - iso_year_start(iso_year(days, c.year))) / 7 + 1;
	case CIVIL_DAY: return c.day;
	case CIVIL_DOW: return floor_mod(days + 4, 7);
	case CIVIL_ISODOW: return floor_mod(days + 3, 7) + 1;
	case CIVIL_DOY: return days - civil_days(c.year, 1, 1) + 1;
	case CIVIL_ISOYEAR: return iso_year(days, c.year);
	case CIVIL_DECADE: return floor_div(c.year, 10);
	case CIVIL_CENTURY: return floor_div(c.year - 1, 100) + 1;
	case CIVIL_HOUR:
	case CIVIL_MINUTE:
	case CIVIL_SECOND:
	case CIVIL_MILLISECOND:
	case CIVIL_MICROSECOND:
	case CIVIL_EPOCH: break;
	}
	return 0;
}

int64_t civil_extract(enum civil_field field, int64_t us)
{
	int64_t of_day = floor_mod(us, CIVIL_US_DAY);

	switch (field) {
	case CIVIL_HOUR: return of_day / (3600 * CIVIL_US_SECOND);
	case CIVIL_MINUTE: return of_day / (60 * CIVIL_US_SECOND) % 60;
	case CIVIL_SECOND: return of_day / CIVIL_US_SECOND % 60;
	case CIVIL_MILLISECOND: return of_day / 1000 % 60000;
	case CIVIL_MICROSECOND: return of_day % 60000000;
	case CIVIL_EPOCH: return floor_div(us, CIVIL_US_SECOND);
	case CIVIL_YEAR:
	case CIVIL_QUARTER:
	case CIVIL_MONTH:
	case CIVIL_WEEK:
	case CIVIL_DAY:
	case CIVIL_DOW:
	case CIVIL_ISODOW:
	case CIVIL_DOY:
	case CIVIL_ISOYEAR:
	case CIVIL_DECADE:
	case CIVIL_CENTURY: break;
	}
	return extract_day(field, floor_div(us, CIVIL_US_DAY));
}

static enum number_status from_days(int64_t days, int64_t *us)
{
	return __builtin_mul_overflow(days, CIVIL_US_DAY, us) ? NUMBER_RANGE : NUMBER_OK;
}

static enum number_status from_units(int64_t us, int64_t unit, int64_t *out)
{
	return __builtin_sub_overflow(us, floor_mod(us, unit), out) ? NUMBER_RANGE : NUMBER_OK;
}

enum number_status timestamp_trunc(enum civil_field field, int64_t us, int64_t *out)
{
	int64_t days = floor_div(us, CIVIL_US_DAY);
	struct civil c;

	civil_from_days(days, &c);
	switch (field) {
	case CIVIL_MICROSECOND: *out = us; return NUMBER_OK;
	case CIVIL_MILLISECOND: return from_units(us, 1000, out);
	case CIVIL_SECOND: return from_units(us, CIVIL_US_SECOND, out);
	case CIVIL_MINUTE: return from_units(us, 60 * CIVIL_US_SECOND, out);
	case CIVIL_HOUR: return from_units(us, 3600 * CIVIL_US_SECOND, out);
	case CIVIL_DAY: return from_days(days, out);
	case CIVIL_WEEK: return from_days(days - floor_mod(days + 3, 7), out);
	case CIVIL_MONTH: return from_days(civil_days(c.year, c.month, 1), out);
	case CIVIL_QUARTER: return from_days(civil_days(c.year, (c.month - 1) / 3 * 3 + 1, 1), out);
	case CIVIL_YEAR: return from_days(civil_days(c.year, 1, 1), out);
	case CIVIL_ISOYEAR: return from_days(iso_year_start(iso_year(days, c.year)), out);
	case CIVIL_DECADE: return from_days(civil_days(floor_div(c.year, 10) * 10, 1, 1), out);
	case CIVIL_CENTURY:
		return from_days(civil_days(floor_div(c.year - 1, 100) * 100 + 1, 1, 1), out);
	case CIVIL_DOW:
	case CIVIL_ISODOW:
	case CIVIL_DOY:
	case CIVIL_EPOCH: break;
	}
	return NUMBER_RANGE;
}

/* The day of the calendar some months later; years stay far inside int64. */
static enum number_status add_months(int64_t days, int64_t months, int64_t *out)
{
	struct civil c;
	int64_t month;
	int last;

	if (months < -12000000 || months > 12000000 || days < -400000000000 || days > 400000000000)
		return NUMBER_RANGE;
	civil_from_days(days, &c);
	month = c.year * 12 + c.month - 1 + months;
	c.year = floor_div(month, 12);
	c.month = (int)floor_mod(month, 12) + 1;
	last = civil_days_in_month(c.year, c.month);
	*out = civil_days(c.year, c.month, c.day < last ? c.day : last);
	return NUMBER_OK;
}

enum number_status timestamp_add_months(int64_t us, int64_t months, int64_t *out)
{
	int64_t days;
	__int128 value;

	if (add_months(floor_div(us, CIVIL_US_DAY), months, &days))
		return NUMBER_RANGE;
	value = (__int128)days * CIVIL_US_DAY + floor_mod(us, CIVIL_US_DAY);
	if (value < INT64_MIN || value > INT64_MAX)
		return NUMBER_RANGE;
	*out = (int64_t)value;
	return NUMBER_OK;
}

enum number_status date_add_months(int32_t days, int64_t months, int32_t *out)
{
	int64_t value;

	if (add_months(days, months, &value) || value < INT32_MIN || value > INT32_MAX)
		return NUMBER_RANGE;
	*out = (int32_t)value;
	return NUMBER_OK;
}
