#include "libcore/base/zone.h"

#include "libcore/base/buf.h"
#include "libcore/base/civil.h"
#include "libcore/base/infile.h"
#include "libcore/base/memory.h"

#include <string.h>

#define ZONE_DIRECTORY "/usr/share/zoneinfo"

enum {
	ZONE_NAME_MAX = 64,
	ZONE_FILE_MAX = 1 << 20,
	HEADER_BYTES = 44,
	DAY_S = 86400,
	OFFSET_MOST_S = 26 * 3600, /* RFC 8536: -25 h < offset < 26 h */
};

/* A day of the year on which clocks change, and when: POSIX TZ's Mm.w.d, Jn and n. */
struct change {
	char kind; /* 'M', 'J', 'n' */
	int month, week, day;
	int32_t at_s; /* local, from midnight; may lie on another day */
};

struct rule {
	int32_t standard_s, summer_s;
	bool has_summer;
	struct change to_summer, to_standard;
};

struct zone {
	size_t len;
	int64_t *times;   /* from times[i] on offsets[i + 1] holds; offsets[0] before all */
	int32_t *offsets; /* len + 1 */
	bool has_rule;
	struct rule rule; /* from the last time on */
};

void zone_free(struct zone *z)
{
	if (!z)
		return;
	mem_free(z->times);
	mem_free(z->offsets);
	mem_free(z);
}

/* ---- the rule: std offset [dst [offset] , start [/time] , end [/time]] ---- */

struct text {
	const char *at, *end;
};

static bool skip(struct text *t, char c)
{
	if (t->at == t->end || *t->at != c)
		return false;
	t->at++;
	return true;
}

static bool read_number(struct text *t, int most, int *out)
{
	const char *start = t->at;

	*out = 0;
	while (t->at < t->end && *t->at >= '0' && *t->at <= '9' && t->at - start < 4)
		*out = *out * 10 + (*t->at++ - '0');
	return t->at > start && *out <= most;
}

/* [+-]hh[:mm[:ss]] */
static bool read_time(struct text *t, int hours_most, int32_t *out)
{
	bool negative = skip(t, '-');
	int hours, minutes = 0, seconds = 0;

	if (!negative)
		skip(t, '+');
	if (!read_number(t, hours_most, &hours))
		return false;
	if (skip(t, ':') && !read_number(t, 59, &minutes))
		return false;
	if (skip(t, ':') && !read_number(t, 59, &seconds))
		return false;
	*out = hours * 3600 + minutes * 60 + seconds;
	if (negative)
		*out = -*out;
	return true;
}

static bool skip_name(struct text *t)
{
	const char *start = t->at;

	if (skip(t, '<')) {
		while (t->at < t->end && *t->at != '>')
			t->at++;
		return skip(t, '>');
	}
	while (t->at < t->end && ((*t->at | 32) >= 'a' && (*t->at | 32) <= 'z'))
		t->at++;
	return t->at - start >= 3;
}

static bool read_change(struct text *t, struct change *out)
{
	enum { DEFAULT_S = 2 * 3600, HOURS_MOST = 167 };

	if (!skip(t, ','))
		return false;
	out->at_s = DEFAULT_S;
	if (skip(t, 'M')) {
		out->kind = 'M';
		if (!read_number(t, 12, &out->month) || !skip(t, '.') ||
			!read_number(t, 5, &out->week) || !skip(t, '.') ||
			!read_number(t, 6, &out->day) || !out->month || !out->week)
			return false;
	} else {
		out->kind = skip(t, 'J') ? 'J' : 'n';
		if (!read_number(t, 365, &out->day) || (out->kind == 'J' && !out->day))
			return false;
	}
	return !skip(t, '/') || read_time(t, HOURS_MOST, &out->at_s);
}

static bool parse_rule(const char *text, size_t len, struct rule *r)
{
	struct text t = {text, text + len};
	int32_t west;

	if (!skip_name(&t) || !read_time(&t, 24, &west))
		return false;
	r->standard_s = -west;
	if (t.at == t.end)
		return true;
	r->has_summer = true;
	r->summer_s = r->standard_s + 3600;
	if (!skip_name(&t))
		return false;
	if (t.at < t.end && *t.at != ',') {
		if (!read_time(&t, 24, &west))
			return false;
		r->summer_s = -west;
	}
	return read_change(&t, &r->to_summer) && read_change(&t, &r->to_standard) && t.at == t.end;
}

/* Seconds since the epoch, local, at which the change of a year comes. */
static int64_t change_local(const struct change *c, int64_t year)
{
	int64_t days;

	if (c->kind == 'M') {
		int64_t first = civil_days(year, c->month, 1);
		int weekday = (int)(((first + 4) % 7 + 7) % 7); /* of the first; 1970-01-01: 4 */
		int day = (c->day - weekday + 7) % 7 + 7 * (c->week - 1);

		while (day >= civil_days_in_month(year, c->month))
			day -= 7;
		days = first + day;
	} else {
		days = civil_days(year, 1, 1) + c->day - (c->kind == 'J');
		if (c->kind == 'J' && civil_is_leap(year) && c->day >= 60)
			days++; /* J never counts February 29th */
	}
	return days * DAY_S + c->at_s;
}

/* The times around utc_s, of this year and its neighbours, between which one offset holds. */
static int32_t rule_offset(const struct rule *r, int64_t utc_s, int64_t *from_s, int64_t *until_s)
{
	struct civil day;
	int32_t offset = r->standard_s;
	int64_t last = INT64_MIN;

	if (!r->has_summer)
		return offset;
	civil_from_days(utc_s / DAY_S - (utc_s % DAY_S < 0), &day);
	for (int64_t year = day.year - 1; year <= day.year + 1; year++) {
		int64_t summer = change_local(&r->to_summer, year) - r->standard_s;
		int64_t standard = change_local(&r->to_standard, year) - r->summer_s;
		int64_t times[2] = {summer, standard};

		for (int i = 0; i < 2; i++) {
			if (times[i] <= utc_s && times[i] >= last) {
				last = times[i];
				offset = i == 0 ? r->summer_s : r->standard_s;
			} else if (times[i] > utc_s && times[i] < *until_s) {
				*until_s = times[i];
			}
		}
	}
	if (last > *from_s)
		*from_s = last;
	return offset;
}

/* ---- the file ---- */

struct counts {
	uint32_t isut, isstd, leap, time, type, text;
};

static uint32_t read_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t read_i64(const uint8_t *p)
{
	return (int64_t)((uint64_t)read_u32(p) << 32 | read_u32(p + 4));
}

static bool read_header(const uint8_t *p, size_t len, struct counts *c)
{
	enum { COUNT_MAX = 1 << 16 };

	if (len < HEADER_BYTES || memcmp(p, "TZif", 4) != 0)
		return false;
	*c = (struct counts){read_u32(p + 20), read_u32(p + 24), read_u32(p + 28), read_u32(p + 32),
		read_u32(p + 36), read_u32(p + 40)};
	return c->isut < COUNT_MAX && c->isstd < COUNT_MAX && c->leap < COUNT_MAX &&
	       c->time < COUNT_MAX && c->type && c->type <= 256 && c->text < COUNT_MAX;
}

static size_t block_bytes(const struct counts *c, size_t time_bytes)
{
	return c->time * (time_bytes + 1) + c->type * (size_t)6 + c->text +
	       c->leap * (time_bytes + 4) + c->isstd + c->isut;
}

static bool parse_block(struct zone *z, const struct counts *c, const uint8_t *p)
{
	const uint8_t *indexes = p + c->time * (size_t)8, *types = indexes + c->time;

	z->len = c->time;
	z->times = mem_alloc((c->time + (size_t)1) * sizeof *z->times);
	z->offsets = mem_alloc((c->time + (size_t)1) * sizeof *z->offsets);
	z->offsets[0] = (int32_t)read_u32(types);
	for (size_t i = 0; i < c->time; i++) {
		z->times[i] = read_i64(p + 8 * i);
		if (indexes[i] >= c->type || (i && z->times[i] <= z->times[i - 1]))
			return false;
		z->offsets[i + 1] = (int32_t)read_u32(types + (size_t)6 * indexes[i]);
	}
	for (size_t i = 0; i <= z->len; i++) {
		if (z->offsets[i] > OFFSET_MOST_S || z->offsets[i] < -OFFSET_MOST_S)
			return false;
	}
	return true;
}

/* Behind the second block stands the rule, between newlines; an empty one says nothing. */
static bool parse_footer(struct zone *z, const char *p, size_t len)
{
	const char *end;

	if (len < 2 || p[0] != '\n' || !(end = memchr(p + 1, '\n', len - 1)))
		return false;
	z->has_rule = end > p + 1;
	return !z->has_rule || parse_rule(p + 1, (size_t)(end - p - 1), &z->rule);
}

int zone_parse(const void *bytes, size_t len, struct zone **out, struct error *e)
{
	const uint8_t *p = bytes;
	struct counts c;
	struct zone *z = mem_zero(sizeof *z);
	size_t block;

	if (!read_header(p, len, &c) || p[4] < '2') /* version 1 has 32 bits and no rule */
		goto bad;
	block = HEADER_BYTES + block_bytes(&c, 4);
	if (block > len || !read_header(p + block, len - block, &c))
		goto bad;
	p += block + HEADER_BYTES;
	len -= block + HEADER_BYTES;
	block = block_bytes(&c, 8);
	if (block > len || !parse_block(z, &c, p) ||
		!parse_footer(z, (const char *)p + block, len - block))
		goto bad;
	*out = z;
	return 0;
bad:
	zone_free(z);
	return error_set(e, ERROR_DATA, "not a time zone file (TZif, version 2 or later)");
}

/* ---- by name ---- */

/* +hh, +hhmm, +hh:mm and with a minus */
static bool fixed_offset(const char *name, size_t len, int32_t *out)
{
	struct text t = {name, name + len};
	bool negative = skip(&t, '-');
	int hours, minutes = 0;

	if ((!negative && !skip(&t, '+')) || !read_number(&t, 2359, &hours))
		return false;
	if (t.at - name > 3) { /* hhmm */
		minutes = hours % 100;
		hours /= 100;
	} else if (skip(&t, ':') && !read_number(&t, 59, &minutes)) {
		return false;
	}
	*out = (hours * 60 + minutes) * (negative ? -60 : 60);
	return t.at == t.end && hours <= 18 && minutes <= 59;
}

/* Names become paths: nothing that leaves the directory. */
static bool is_name(const char *name, size_t len)
{
	if (!len || len > ZONE_NAME_MAX || name[0] == '/' || name[len - 1] == '/')
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c | 32) >= 'a' && (c | 32) <= 'z') && !(c >= '0' && c <= '9') && c != '/' &&
			c != '_' && c != '-' && c != '+')
			return false;
	}
	return true;
}

static int unknown(const char *name, size_t len, struct error *e)
{
	error_set(e, ERROR_USAGE, "there is no time zone '%.*s'",
		(int)(len > ZONE_NAME_MAX ? ZONE_NAME_MAX : len), len ? name : "");
	return error_hint(e, "zones are named like Europe/Berlin or +02:00; %s",
		"the system's list is in " ZONE_DIRECTORY " (package tzdata)");
}

int zone_open(const char *name, size_t len, struct zone **out, struct error *e)
{
	struct error cause = ERROR_INIT;
	struct buf file = BUF_INIT;
	char path[sizeof ZONE_DIRECTORY + ZONE_NAME_MAX + 1];
	int32_t offset = 0;
	int status;

	if (fixed_offset(name, len, &offset) || (len == 3 && !memcmp(name, "UTC", 3))) {
		*out = mem_zero(sizeof **out);
		(*out)->offsets = mem_alloc(sizeof *(*out)->offsets);
		(*out)->offsets[0] = offset;
		return 0;
	}
	if (!is_name(name, len))
		return unknown(name, len, e);
	memcpy(path, ZONE_DIRECTORY "/", sizeof ZONE_DIRECTORY);
	memcpy(path + sizeof ZONE_DIRECTORY, name, len);
	path[sizeof ZONE_DIRECTORY + len] = '\0';
	status = infile_read(path, ZONE_FILE_MAX, &file, &cause);
	if (status == 0)
		status = zone_parse(file.data, file.len, out, &cause);
	buf_clear(&file);
	error_clear(&cause);
	return status < 0 ? unknown(name, len, e) : 0;
}

/* ---- asking ---- */

int32_t zone_offset(const struct zone *z, int64_t utc_s, int64_t *from_s, int64_t *until_s)
{
	size_t low = 0, high = z->len; /* the first time after utc_s is in [low, high] */

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (z->times[middle] <= utc_s)
			low = middle + 1;
		else
			high = middle;
	}
	*from_s = low ? z->times[low - 1] : INT64_MIN;
	*until_s = low < z->len ? z->times[low] : INT64_MAX;
	if (low == z->len && z->has_rule)
		return rule_offset(&z->rule, utc_s, from_s, until_s);
	return z->offsets[low];
}

static int64_t floor_seconds(int64_t us)
{
	return us / CIVIL_US_SECOND - (us % CIVIL_US_SECOND < 0);
}

static int64_t add_seconds(int64_t us, int64_t seconds)
{
	int64_t out;

	if (__builtin_add_overflow(us, seconds * CIVIL_US_SECOND, &out))
		return seconds < 0 ? INT64_MIN : INT64_MAX;
	return out;
}

int64_t zone_to_local(const struct zone *z, int64_t utc_us)
{
	int64_t from, until;

	return add_seconds(utc_us, zone_offset(z, floor_seconds(utc_us), &from, &until));
}

int64_t zone_to_utc(const struct zone *z, int64_t local_us)
{
	int64_t from, until, local_s = floor_seconds(local_us);
	/* A day before no change of this one has happened: its offset first, as it comes first. */
	int32_t before = zone_offset(z, local_s - DAY_S, &from, &until);
	int32_t at = zone_offset(z, local_s - before, &from, &until);

	if (at == before)
		return add_seconds(local_us, -(int64_t)before);
	/* A change lies between, at `from` or earlier: with the new offset the time must lie behind
	 * it. */
	if (zone_offset(z, local_s - at, &from, &until) == at)
		return add_seconds(local_us, -(int64_t)at);
	return add_seconds(local_us, -(int64_t)before);
}
