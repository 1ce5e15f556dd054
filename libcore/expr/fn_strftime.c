/* Times by a format, in both directions: the letters of strftime(3) that are independent of locale
 * and zone, with %f for six digits of microseconds.  English names; UTC. */
#include "libcore/expr/kernel.h"

#include "libcore/base/civil.h"
#include "libcore/base/digits.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

static const char writes[] = "YymdejHIMSfpaAbBuwVGszZFTRDnt%", reads[] = "YymdejHIMSfpbBszZFTRDnt%";

static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July",
	"August", "September", "October", "November", "December"};
static const char *const days[] = {
	"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

/* ---- writing ---- */

static void put2(struct buf *b, int v)
{
	digits_put2((char *)buf_reserve(b, 2), (unsigned)v);
	b->len += 2;
}

static void put_two(struct buf *b, char mark, int v)
{
	buf_put_byte(b, (uint8_t)mark);
	put2(b, v);
}

static void put_year(struct buf *b, int64_t year)
{
	if (year < 0 || year > 9999) {
		buf_printf(b, "%04lld", (long long)year);
		return;
	}
	digits_put4((char *)buf_reserve(b, 4), (unsigned)year);
	b->len += 4;
}

static void put_field(struct buf *b, char letter, int64_t us, const struct civil *c)
{
	int hour = c->hour % 12 ? c->hour % 12 : 12;
	int year2 = (int)((c->year % 100 + 100) % 100);

	switch (letter) {
	case 'Y': put_year(b, c->year); break;
	case 'G': put_year(b, civil_extract(CIVIL_ISOYEAR, us)); break;
	case 'y': put2(b, year2); break;
	case 'm': put2(b, c->month); break;
	case 'd': put2(b, c->day); break;
	case 'e': buf_printf(b, "%2d", c->day); break;
	case 'j': buf_printf(b, "%03d", (int)civil_extract(CIVIL_DOY, us)); break;
	case 'H': put2(b, c->hour); break;
	case 'I': put2(b, hour); break;
	case 'M': put2(b, c->minute); break;
	case 'S': put2(b, c->second); break;
	case 'f': buf_printf(b, "%06d", c->us); break;
	case 'p': buf_put_text(b, c->hour < 12 ? "AM" : "PM"); break;
	case 'a': buf_put(b, days[civil_extract(CIVIL_DOW, us)], 3); break;
	case 'A': buf_put_text(b, days[civil_extract(CIVIL_DOW, us)]); break;
	case 'b': buf_put(b, months[c->month - 1], 3); break;
	case 'B': buf_put_text(b, months[c->month - 1]); break;
	case 'u': buf_printf(b, "%d", (int)civil_extract(CIVIL_ISODOW, us)); break;
	case 'w': buf_printf(b, "%d", (int)civil_extract(CIVIL_DOW, us)); break;
	case 'V': put2(b, (int)civil_extract(CIVIL_WEEK, us)); break;
	case 's': buf_printf(b, "%lld", (long long)civil_extract(CIVIL_EPOCH, us)); break;
	case 'z': buf_put_text(b, "+0000"); break;
	case 'Z': buf_put_text(b, "UTC"); break;
	case 'F':
		put_year(b, c->year);
		put_two(b, '-', c->month);
		put_two(b, '-', c->day);
		break;
	case 'T':
		put2(b, c->hour);
		put_two(b, ':', c->minute);
		put_two(b, ':', c->second);
		break;
	case 'R':
		put2(b, c->hour);
		put_two(b, ':', c->minute);
		break;
	case 'D':
		put2(b, c->month);
		put_two(b, '/', c->day);
		put_two(b, '/', year2);
		break;
	case 'n': buf_put_byte(b, '\n'); break;
	case 't': buf_put_byte(b, '\t'); break;
	case '%': buf_put_byte(b, '%'); break;
	}
}

/* The letters behind % are all among the known ones. */
static bool format_good(struct text_view f, const char *known, char *bad)
{
	for (size_t i = 0; i < f.len; i++) {
		if (f.text[i] != '%')
			continue;
		*bad = ++i < f.len ? f.text[i] : ' ';
		if (*bad == ' ' || !*bad || !strchr(known, *bad))
			return false;
	}
	return true;
}

static void run_strftime(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view f = arg_text(k, 1, r);
		struct civil c;
		char bad;

		if (out_is_valid(k, r) && !format_good(f, writes, &bad))
			vector_fail(k, r, "a format with unknown letters");
		if (out_is_valid(k, r)) {
			civil_from_us(arg_int(k, 0, r), &c);
			for (size_t i = 0; i < f.len; i++) {
				if (f.text[i] == '%')
					put_field(k->text, f.text[++i], arg_int(k, 0, r), &c);
				else
					buf_put_byte(k->text, (uint8_t)f.text[i]);
			}
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* ---- reading ---- */

struct reading {
	const char *p, *end;
	struct civil c;
	int day_of_year, half; /* 0: none; half: 1 am, 2 pm */
	int64_t offset_us, epoch_us;
	bool is_epoch;
};

static bool read_digits(struct reading *x, int most, int *out)
{
	const char *from = x->p;

	*out = 0;
	while (x->p < x->end && x->p - from < most && *x->p >= '0' && *x->p <= '9')
		*out = *out * 10 + (*x->p++ - '0');
	return x->p > from;
}

static bool read_between(struct reading *x, int most, int low, int high, int *out)
{
	return read_digits(x, most, out) && *out >= low && *out <= high;
}

static bool read_literal(struct reading *x, char c)
{
	if (isspace((unsigned char)c)) {
		while (x->p < x->end && isspace((unsigned char)*x->p))
			x->p++;
		return true;
	}
	return x->p < x->end && *x->p++ == c;
}

static bool read_month(struct reading *x)
{
	for (int m = 0; m < 12; m++) {
		size_t len = strlen(months[m]), left = (size_t)(x->end - x->p);

		if (left < 3 || strncasecmp(x->p, months[m], 3) != 0)
			continue;
		x->p += left >= len && !strncasecmp(x->p, months[m], len) ? len : 3;
		x->c.month = m + 1;
		return true;
	}
	return false;
}

/* Z, +hh, +hhmm, +hh:mm */
static bool read_offset(struct reading *x)
{
	int hours, minutes = 0, sign;

	if (x->p < x->end && (*x->p == 'Z' || *x->p == 'z')) {
		x->p++;
		return true;
	}
	if (x->p == x->end || (*x->p != '+' && *x->p != '-'))
		return false;
	sign = *x->p++ == '-' ? -1 : 1;
	if (!read_between(x, 2, 0, 18, &hours))
		return false;
	if (x->p < x->end && *x->p == ':')
		x->p++;
	if (x->p < x->end && isdigit((unsigned char)*x->p) && !read_between(x, 2, 0, 59, &minutes))
		return false;
	x->offset_us = sign * (hours * 60 + minutes) * 60 * CIVIL_US_SECOND;
	return true;
}

static bool read_fraction(struct reading *x)
{
	const char *from = x->p;

	if (!read_digits(x, 6, &x->c.us))
		return false;
	for (ptrdiff_t n = x->p - from; n < 6; n++)
		x->c.us *= 10;
	while (x->p < x->end && isdigit((unsigned char)*x->p))
		x->p++;
	return true;
}

static bool read_epoch(struct reading *x)
{
	ssize_t n = int_scan(x->p, (size_t)(x->end - x->p), &x->epoch_us);

	if (n <= 0 || __builtin_mul_overflow(x->epoch_us, CIVIL_US_SECOND, &x->epoch_us))
		return false;
	x->p += n;
	x->is_epoch = true;
	return true;
}

static bool read_half(struct reading *x)
{
	if (x->end - x->p < 2 || (x->p[1] | 32) != 'm' ||
		((x->p[0] | 32) != 'a' && (x->p[0] | 32) != 'p'))
		return false;
	x->half = (x->p[0] | 32) == 'a' ? 1 : 2;
	x->p += 2;
	return true;
}

static bool read_all(struct reading *x, const char *format, size_t len);

static bool read_field(struct reading *x, char letter)
{
	struct civil *c = &x->c;
	int n;

	switch (letter) {
	case 'Y':
		if (!read_between(x, 4, 1, 9999, &n))
			return false;
		c->year = n;
		return true;
	case 'y': /* as POSIX: 69..99 are of the last century */
		if (!read_digits(x, 2, &n))
			return false;
		c->year = n + (n < 69 ? 2000 : 1900);
		return true;
	case 'm': return read_between(x, 2, 1, 12, &c->month);
	case 'e': return read_literal(x, ' ') && read_between(x, 2, 1, 31, &c->day);
	case 'd': return read_between(x, 2, 1, 31, &c->day);
	case 'j': return read_between(x, 3, 1, 366, &x->day_of_year);
	case 'H': return read_between(x, 2, 0, 23, &c->hour);
	case 'I': return read_between(x, 2, 1, 12, &c->hour);
	case 'M': return read_between(x, 2, 0, 59, &c->minute);
	case 'S': return read_between(x, 2, 0, 59, &c->second);
	case 'f': return read_fraction(x);
	case 'p': return read_half(x);
	case 'b':
	case 'B': return read_month(x);
	case 's': return read_epoch(x);
	case 'z': return read_offset(x);
	case 'Z': return read_all(x, "UTC", 3);
	case 'F': return read_all(x, "%Y-%m-%d", 8);
	case 'T': return read_all(x, "%H:%M:%S", 8);
	case 'R': return read_all(x, "%H:%M", 5);
	case 'D': return read_all(x, "%m/%d/%y", 8);
	case 'n':
	case 't': return read_literal(x, ' ');
	}
	return read_literal(x, letter);
}

static bool read_all(struct reading *x, const char *format, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (format[i] == '%' ? !read_field(x, format[++i]) : !read_literal(x, format[i]))
			return false;
	}
	return true;
}

static bool read_time(struct text_view v, struct text_view format, int64_t *us)
{
	struct reading x = {.p = v.len ? v.text : "", .c = {.year = 1970, .month = 1, .day = 1}};

	x.end = x.p + v.len;
	if (!read_all(&x, format.text, format.len) || x.p != x.end)
		return false;
	if (x.is_epoch)
		return !__builtin_add_overflow(x.epoch_us, x.c.us, us);
	if (x.half)
		x.c.hour = x.c.hour % 12 + (x.half == 2 ? 12 : 0);
	if (x.c.day > civil_days_in_month(x.c.year, x.c.month) ||
		(x.day_of_year == 366 && !civil_is_leap(x.c.year)))
		return false;
	if (civil_to_us(&x.c, us) != NUMBER_OK)
		return false;
	if (x.day_of_year)
		*us += (x.day_of_year - 1 -
			       (civil_days(x.c.year, x.c.month, x.c.day) -
				       civil_days(x.c.year, 1, 1))) *
		       CIVIL_US_DAY;
	*us -= x.offset_us;
	return true;
}

static void run_strptime(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = arg_text(k, 0, r), f = arg_text(k, 1, r);
		char bad;

		out[r] = 0;
		if (!out_is_valid(k, r))
			continue;
		if (!format_good(f, reads, &bad))
			vector_fail(k, r, "a format with unknown letters");
		else if (!read_time(v, f, &out[r]))
			vector_fail(k, r,
				*k->why ? ""
					: arena_printf(k->arena,
						  "'%.*s' is no time by the format '%.*s'",
						  (int)(v.len > 60 ? 60 : v.len),
						  v.len ? v.text : "",
						  (int)(f.len > 60 ? 60 : f.len),
						  f.len ? f.text : ""));
	}
}

static int resolve_format(struct resolving *r, struct error *e)
{
	const struct vector *f = r->constants[1];
	const char *known = r->function->run == run_strftime ? writes : reads;
	char bad;

	if (!f || f->col.type.kind != TYPE_STRING || !vector_is_valid(f, 0) ||
		format_good(column_text(&f->col, 0), known, &bad))
		return 0;
	error_set(e, ERROR_USAGE, "%%%c has no meaning in a format", bad);
	return error_hint(e, "letters behind %% are %s", known);
}

const struct function functions_strftime[] = {
	{.name = "strftime",
		.signature = "ts",
		.result = 's',
		.run = run_strftime,
		.resolve = resolve_format},
	{.name = "strptime",
		.signature = "ss",
		.result = 't',
		.run = run_strptime,
		.resolve = resolve_format},
	{.name = NULL},
};
