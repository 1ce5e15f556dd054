/* Functions of dates, timestamps and durations; all in UTC. */
#include "libcore/expr/kernel.h"

#include "libcore/base/civil.h"
#include "libcore/base/suggest.h"

#include <math.h>

static const char no_field[] = "no such field of a time";
static const char no_unit[] = "a time can't be cut down to that";
static const char out_of_range[] = "a time out of range";

/* ---- fields ---- */

/* The field of a row: the one found while compiling, or the text's. */
static bool field_of(const struct kernel *k, uint32_t r, enum civil_field *out)
{
	struct text_view v = arg_text(k, 0, r);

	if (k->state) {
		*out = *(const enum civil_field *)k->state;
		return true;
	}
	return civil_field_parse(v.len ? v.text : "", v.len, out);
}

static void run_trunc(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		enum civil_field field;

		out[r] = 0;
		if (!out_is_valid(k, r))
			continue;
		if (!field_of(k, r, &field))
			vector_fail(k, r, no_field);
		else if (timestamp_trunc(field, arg_int(k, 1, r), &out[r]) != NUMBER_OK)
			vector_fail(k, r, no_unit);
	}
}

static void run_part(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		enum civil_field field;

		out[r] = 0;
		if (!out_is_valid(k, r))
			continue;
		if (field_of(k, r, &field))
			out[r] = civil_extract(field, arg_int(k, 1, r));
		else
			vector_fail(k, r, no_field);
	}
}

static int unknown_field(struct text_view v, struct error *e)
{
	static const char *const names[] = {"year", "quarter", "month", "week", "day", "hour",
		"minute", "second", "millisecond", "microsecond", "dow", "isodow", "doy", "epoch",
		"isoyear", "decade", "century"};
	int near = suggest(v.len ? v.text : "", v.len, names, sizeof names / sizeof *names);

	error_set(e, ERROR_USAGE, "'%.*s' is no field of a time", (int)(v.len > 60 ? 60 : v.len),
		v.len ? v.text : "");
	if (near >= 0)
		return error_hint(e, "did you mean '%s'?", names[near]);
	return error_hint(e,
		"there are year, quarter, month, week, day, hour, minute, second, "
		"millisecond, microsecond, dow, isodow, doy, epoch, isoyear, decade, century");
}

static int resolve_field(struct resolving *r, struct error *e)
{
	const struct vector *v = r->constants[0];
	enum civil_field *field = ARENA_NEW(r->arena, enum civil_field);
	struct text_view text;

	if (!v || !r->args[0].kind || !vector_is_valid(v, 0))
		return 0;
	text = column_text(&v->col, 0);
	if (!civil_field_parse(text.len ? text.text : "", text.len, field))
		return unknown_field(text, e);
	r->state = field;
	return 0;
}

static int resolve_unit(struct resolving *r, struct error *e)
{
	int64_t cut;

	if (resolve_field(r, e) < 0)
		return -1;
	if (r->state && timestamp_trunc(*(enum civil_field *)r->state, 0, &cut) != NUMBER_OK)
		return error_set(e, ERROR_USAGE, "%s", no_unit);
	return 0;
}

/* ---- to and from numbers ---- */

static void run_epoch(struct kernel *k)
{
	KERNEL_LOOP1(k, int64_t, double, (double)a / 1e6);
}

static void run_epoch_ms(struct kernel *k)
{
	KERNEL_LOOP1(k, int64_t, int64_t, a / 1000 - (a % 1000 < 0));
}

static void run_epoch_us(struct kernel *k)
{
	KERNEL_LOOP1(k, int64_t, int64_t, a);
}

static void run_from_seconds(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		out[r] = 0;
		if (__builtin_mul_overflow(arg_int(k, 0, r), CIVIL_US_SECOND, &out[r]) &&
			out_is_valid(k, r))
			vector_fail(k, r, out_of_range);
	}
}

static void run_from_float(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		double us = nearbyint(arg_float(k, 0, r) * 1e6);
		bool good = fabs(us) < 9.2e18;

		out[r] = good ? (int64_t)us : 0;
		if (!good && out_is_valid(k, r))
			vector_fail(k, r, out_of_range);
	}
}

/* ---- made of parts ---- */

static bool day_of(const struct kernel *k, uint32_t r, int64_t *days)
{
	int64_t year = arg_int(k, 0, r), month = arg_int(k, 1, r), day = arg_int(k, 2, r);

	if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 ||
		day > civil_days_in_month(year, (int)month))
		return false;
	*days = civil_days(year, (int)month, (int)day);
	return true;
}

static void run_make_date(struct kernel *k)
{
	int32_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		int64_t days = 0;

		if (out_is_valid(k, r) && !day_of(k, r, &days))
			vector_fail(k, r, "no such day");
		out[r] = (int32_t)days;
	}
}

static void run_make_timestamp(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		int64_t days, hour, minute;
		double second;

		out[r] = 0;
		if (!out_is_valid(k, r))
			continue;
		hour = arg_int(k, 3, r);
		minute = arg_int(k, 4, r);
		second = arg_float(k, 5, r);
		if (!day_of(k, r, &days) || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
			!(second >= 0 && second < 60))
			vector_fail(k, r, "no such time");
		else
			out[r] = days * CIVIL_US_DAY + (hour * 60 + minute) * 60 * CIVIL_US_SECOND +
				 (int64_t)nearbyint(second * 1e6);
	}
}

/* ---- months, by the calendar ---- */

static void run_add_months(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		out[r] = 0;
		if (out_is_valid(k, r) &&
			timestamp_add_months(arg_int(k, 0, r), arg_int(k, 1, r), &out[r]))
			vector_fail(k, r, out_of_range);
	}
}

static void run_add_months_to_date(struct kernel *k)
{
	int32_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		out[r] = 0;
		if (out_is_valid(k, r) &&
			date_add_months(column_date(&k->args[0].col, vector_row(&k->args[0], r)),
				arg_int(k, 1, r), &out[r]))
			vector_fail(k, r, out_of_range);
	}
}

static void run_now(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		out[r] = k->now_us;
		if (k->now_us == INT64_MIN)
			vector_null(k, r);
	}
}

const struct function functions_time[] = {
	{.name = "date_trunc",
		.signature = "st",
		.result = 't',
		.run = run_trunc,
		.resolve = resolve_unit},
	{.name = "date_part",
		.signature = "st",
		.result = 'i',
		.run = run_part,
		.resolve = resolve_field},
	{.name = "epoch", .signature = "t", .result = 'f', .run = run_epoch},
	{.name = "epoch", .signature = "u", .result = 'f', .run = run_epoch},
	{.name = "epoch_ms", .signature = "t", .result = 'i', .run = run_epoch_ms},
	{.name = "epoch_ms", .signature = "u", .result = 'i', .run = run_epoch_ms},
	{.name = "epoch_us", .signature = "t", .result = 'i', .run = run_epoch_us},
	{.name = "epoch_us", .signature = "u", .result = 'i', .run = run_epoch_us},
	{.name = "to_timestamp", .signature = "i", .result = 't', .run = run_from_seconds},
	{.name = "to_timestamp", .signature = "f", .result = 't', .run = run_from_float},
	{.name = "make_date", .signature = "iii", .result = 'd', .run = run_make_date},
	{.name = "make_timestamp", .signature = "iiiiif", .result = 't', .run = run_make_timestamp},
	{.name = "add_months", .signature = "di", .result = 'd', .run = run_add_months_to_date},
	{.name = "add_months", .signature = "ti", .result = 't', .run = run_add_months},
	{.name = "now", .signature = "", .result = 't', .run = run_now, .flags = FUNCTION_IMPURE},
	{.name = NULL},
};
