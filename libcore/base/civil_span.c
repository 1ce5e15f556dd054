/* Durations, intervals, sizes, and the names of units. */
#include "libcore/base/civil.h"

#include "libcore/base/digits.h"

#define MINUTE_US (60 * CIVIL_US_SECOND)
#define HOUR_US (3600 * CIVIL_US_SECOND)

struct unit {
	const char *name;
	int64_t us; /* or months, if calendar */
	bool calendar;
};

/* What durations take, case sensitive: m is a minute, and M nothing. */
static const struct unit short_units[] = {
	{"us", 1, false},
	{"ms", 1000, false},
	{"s", CIVIL_US_SECOND, false},
	{"m", MINUTE_US, false},
	{"h", HOUR_US, false},
	{"d", CIVIL_US_DAY, false},
	{"w", 7 * CIVIL_US_DAY, false},
	{NULL, 0, false},
};

/* What intervals take besides, with or without a plural s. */
static const struct unit long_units[] = {
	{"microsecond", 1, false},
	{"usec", 1, false},
	{"us", 1, false},
	{"millisecond", 1000, false},
	{"msec", 1000, false},
	{"ms", 1000, false},
	{"second", CIVIL_US_SECOND, false},
	{"sec", CIVIL_US_SECOND, false},
	{"s", CIVIL_US_SECOND, false},
	{"minute", MINUTE_US, false},
	{"min", MINUTE_US, false},
	{"m", MINUTE_US, false},
	{"hour", HOUR_US, false},
	{"hr", HOUR_US, false},
	{"h", HOUR_US, false},
	{"day", CIVIL_US_DAY, false},
	{"d", CIVIL_US_DAY, false},
	{"week", 7 * CIVIL_US_DAY, false},
	{"w", 7 * CIVIL_US_DAY, false},
	{"month", 1, true},
	{"mon", 1, true},
	{"quarter", 3, true},
	{"year", 12, true},
	{"yr", 12, true},
	{"y", 12, true},
	{"decade", 120, true},
	{"century", 1200, true},
	{NULL, 0, false},
};

static inline bool is_letter(char c)
{
	return (unsigned char)((c | 0x20) - 'a') < 26;
}

static inline bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static size_t letters(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && is_letter(text[n]))
		n++;
	return n;
}

static bool same_word(const char *text, size_t len, const char *name)
{
	size_t i = 0;

	for (; i < len && name[i]; i++)
		if ((text[i] | 0x20) != name[i])
			return false;
	return i == len && !name[i];
}

static const struct unit *find_short(const char *text, size_t len)
{
	for (const struct unit *u = short_units; u->name; u++)
		if (strlen(u->name) == len && !memcmp(u->name, text, len))
			return u;
	return NULL;
}

static const struct unit *find_long(const char *text, size_t len)
{
	bool plural = len > 2 && (text[len - 1] | 0x20) == 's';

	for (const struct unit *u = long_units; u->name; u++)
		if (same_word(text, len, u->name) || (plural && same_word(text, len - 1, u->name)))
			return u;
	return NULL;
}

/* A count with a fraction: value = whole + part / parts. */
struct count {
	uint64_t whole;
	uint64_t part, parts;
};

/* Returns the bytes taken, 0 if there is no number; 18 digits of fraction count. */
static size_t read_count(const char *text, size_t len, struct count *count, bool *range)
{
	ssize_t taken = uint_scan(text, len, &count->whole);
	size_t i = 0;

	count->part = 0;
	count->parts = 1;
	if (taken == NUMBER_MALFORMED)
		return 0;
	if (taken == NUMBER_RANGE) {
		*range = true;
		while (i < len && digits_is(text[i]))
			i++;
	} else {
		i = (size_t)taken;
	}
	if (i + 1 >= len || text[i] != '.' || !digits_is(text[i + 1]))
		return i;
	for (i++; i < len && digits_is(text[i]); i++) {
		if (count->parts >= UINT64_C(1000000000000000000))
			continue;
		count->part = count->part * 10 + (unsigned)(text[i] - '0');
		count->parts *= 10;
	}
	return i;
}

/* Below 2^64 * 12 * 10^8 * 604800: far inside 128 bits for one unit; sums are checked by callers.
 */
static __int128 scaled(const struct count *count, int64_t unit)
{
	return (__int128)count->whole * unit +
	       (__int128)((unsigned __int128)count->part * (uint64_t)unit / count->parts);
}

/* Adds up with a limit that leaves room for the sum of any text of these sizes. */
static void add_up(__int128 *sum, __int128 more, bool *range)
{
	const __int128 limit = (__int128)1 << 100;

	*sum += more;
	if (*sum > limit || *sum < -limit) {
		*range = true;
		*sum = 0;
	}
}

static enum number_status to_int64(__int128 value, int64_t *out)
{
	if (value < INT64_MIN || value > INT64_MAX)
		return NUMBER_RANGE;
	*out = (int64_t)value;
	return NUMBER_OK;
}

/* [-+](number unit)+ , or 0 alone.  Returns the bytes taken, 0 if malformed. */
static size_t read_duration(const char *text, size_t len, __int128 *us, bool *range)
{
	size_t i = len && (text[0] == '-' || text[0] == '+'), parts = 0;
	bool negative = i && text[0] == '-';
	struct count count;

	*us = 0;
	while (i < len && digits_is(text[i])) {
		size_t number = read_count(text + i, len - i, &count, range);
		size_t name = letters(text + i + number, len - i - number);
		const struct unit *unit = find_short(text + i + number, name);

		if (!unit && !name && !parts && !count.whole && !count.part)
			return i + number; /* 0 needs no unit */
		if (!unit)
			return parts ? i : 0;
		add_up(us, scaled(&count, unit->us), range);
		i += number + name;
		parts++;
	}
	if (negative)
		*us = -*us;
	return parts ? i : 0;
}

ssize_t duration_scan(const char *text, size_t len, int64_t *us)
{
	bool range = false;
	__int128 value;
	size_t taken = read_duration(text, len, &value, &range);

	if (!taken)
		return NUMBER_MALFORMED;
	if (range || to_int64(value, us))
		return NUMBER_RANGE;
	return (ssize_t)taken;
}

enum number_status duration_parse(const char *text, size_t len, int64_t *us)
{
	bool range = false;
	__int128 value;

	if (!len || read_duration(text, len, &value, &range) != len)
		return NUMBER_MALFORMED;
	return range ? NUMBER_RANGE : to_int64(value, us);
}

static size_t put_part(char *out, uint64_t *rest, uint64_t unit, char name)
{
	size_t n;

	if (*rest < unit)
		return 0;
	n = uint_put(out, *rest / unit);
	out[n] = name;
	*rest %= unit;
	return n + 1;
}

/* What is below a minute, in its greatest unit, with a fraction of that. */
static size_t put_rest(char *out, uint64_t rest)
{
	uint64_t unit = rest >= 1000000 ? 1000000 : rest >= 1000 ? 1000 : 1;
	uint64_t part = rest % unit;
	size_t n = uint_put(out, rest / unit);

	if (part) {
		out[n++] = '.';
		for (uint64_t digit = unit / 10; part; digit /= 10) {
			out[n++] = (char)('0' + part / digit);
			part %= digit;
		}
	}
	if (unit < 1000000)
		out[n++] = unit == 1 ? 'u' : 'm';
	out[n] = 's';
	return n + 1;
}

size_t duration_put(char out[DURATION_TEXT_MAX], int64_t us)
{
	uint64_t rest = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
	size_t n = 0;

	if (!us) {
		memcpy(out, "0s", 2);
		return 2;
	}
	if (us < 0)
		out[n++] = '-';
	n += put_part(out + n, &rest, CIVIL_US_DAY, 'd');
	n += put_part(out + n, &rest, HOUR_US, 'h');
	n += put_part(out + n, &rest, MINUTE_US, 'm');
	return rest ? n + put_rest(out + n, rest) : n;
}

/* ---- intervals ---- */

/* hh:mm[:ss[.fraction]] with any number of hours; 0 if the text isn't of that form. */
static size_t read_hours(const char *text, size_t len, __int128 *us, bool *range)
{
	struct count hours, seconds = {.parts = 1};
	size_t i = 0;
	unsigned minutes;

	while (i < len && digits_is(text[i]))
		i++;
	if (!i || len - i < 3 || text[i] != ':' || !digits_is(text[i + 1]) ||
		!digits_is(text[i + 2]))
		return 0;
	read_count(text, i, &hours, range);
	minutes = (unsigned)(text[i + 1] - '0') * 10 + (unsigned)(text[i + 2] - '0');
	i += 3;
	if (len - i >= 3 && text[i] == ':' && digits_is(text[i + 1]) && digits_is(text[i + 2]))
		i += 1 + read_count(text + i + 1, len - i - 1, &seconds, range);
	*range |= minutes > 59 || seconds.whole > 59;
	*us = scaled(&hours, HOUR_US) + minutes * MINUTE_US + scaled(&seconds, CIVIL_US_SECOND);
	return i;
}

struct interval_sum {
	__int128 months, us;
	bool range;
};

/* One "-2 days" or "02:00" at text, sign included; 0 if malformed. */
static size_t read_term(const char *text, size_t len, struct interval_sum *sum)
{
	size_t i = len && (text[0] == '-' || text[0] == '+'), taken, name;
	int sign = i && text[0] == '-' ? -1 : 1;
	const struct unit *unit;
	struct count count;
	__int128 us;

	taken = read_hours(text + i, len - i, &us, &sum->range);
	if (taken) {
		add_up(&sum->us, sign * us, &sum->range);
		return i + taken;
	}
	taken = read_count(text + i, len - i, &count, &sum->range);
	if (!taken)
		return 0;
	i += taken;
	while (i < len && is_space(text[i]))
		i++;
	name = letters(text + i, len - i);
	unit = find_long(text + i, name);
	if (!unit || (unit->calendar && count.part))
		return 0;
	add_up(unit->calendar ? &sum->months : &sum->us, sign * scaled(&count, unit->us),
		&sum->range);
	return i + name;
}

enum number_status interval_parse(const char *text, size_t len, struct interval *out)
{
	struct interval_sum sum = {.range = false};
	struct interval value;
	size_t i = 0, terms = 0;

	if (!duration_parse(text, len, &value.us)) { /* also for its sign, which is of the whole */
		*out = (struct interval){.us = value.us};
		return NUMBER_OK;
	}
	for (;;) {
		size_t taken;

		while (i < len && is_space(text[i]))
			i++;
		if (i == len)
			break;
		taken = read_term(text + i, len - i, &sum);
		if (!taken)
			return NUMBER_MALFORMED;
		i += taken;
		terms++;
	}
	if (!terms)
		return NUMBER_MALFORMED;
	if (sum.range || to_int64(sum.months, &value.months) || to_int64(sum.us, &value.us))
		return NUMBER_RANGE;
	*out = value;
	return NUMBER_OK;
}

/* ---- sizes ---- */

enum number_status size_parse(const char *text, size_t len, uint64_t *bytes)
{
	static const char units[] = "kmgtp";
	struct count count;
	bool range = false;
	size_t i = read_count(text, len, &count, &range);
	unsigned shift = 0;
	unsigned __int128 value;

	if (!i)
		return NUMBER_MALFORMED;
	if (i < len && is_letter(text[i]) && (text[i] | 0x20) != 'b') {
		const char *unit = strchr(units, text[i] | 0x20);

		if (!unit)
			return NUMBER_MALFORMED;
		shift = (unsigned)(unit - units + 1) * 10;
		i++;
		if (len - i >= 2 && text[i] == 'i') /* KiB, never a bare Ki */
			i++;
	}
	if (i < len && (text[i] == 'B' || text[i] == 'b'))
		i++;
	if (i != len || (count.part && !shift))
		return NUMBER_MALFORMED;
	value = (unsigned __int128)count.whole << shift;
	value += ((unsigned __int128)count.part << shift) / count.parts;
	if (range || value > UINT64_MAX)
		return NUMBER_RANGE;
	*bytes = (uint64_t)value;
	return NUMBER_OK;
}

/* ---- names of fields ---- */

bool civil_field_parse(const char *text, size_t len, enum civil_field *out)
{
	static const struct {
		const char *name;
		enum civil_field field;
	} names[] = {
		{"year", CIVIL_YEAR},
		{"quarter", CIVIL_QUARTER},
		{"month", CIVIL_MONTH},
		{"week", CIVIL_WEEK},
		{"day", CIVIL_DAY},
		{"dayofmonth", CIVIL_DAY},
		{"hour", CIVIL_HOUR},
		{"minute", CIVIL_MINUTE},
		{"second", CIVIL_SECOND},
		{"millisecond", CIVIL_MILLISECOND},
		{"microsecond", CIVIL_MICROSECOND},
		{"dow", CIVIL_DOW},
		{"dayofweek", CIVIL_DOW},
		{"isodow", CIVIL_ISODOW},
		{"doy", CIVIL_DOY},
		{"dayofyear", CIVIL_DOY},
		{"epoch", CIVIL_EPOCH},
		{"isoyear", CIVIL_ISOYEAR},
		{"decade", CIVIL_DECADE},
		{"century", CIVIL_CENTURY},
	};
	bool plural = len > 1 && (text[len - 1] | 0x20) == 's';

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!same_word(text, len, names[i].name) &&
			!(plural && same_word(text, len - 1, names[i].name)))
			continue;
		*out = names[i].field;
		return true;
	}
	return false;
}
