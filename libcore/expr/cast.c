/* Casts between all types.  Strict; a value that doesn't fit fails its row.
 *
 *   float -> int        truncates; NaN and what is out of range fails
 *   number -> decimal   halves away from zero; what is out of the precision fails
 *   text -> anything    the whole text, spaces around it aside
 *   any -> text         the text itself if it is one, else its JSON; any -> others: scalars only
 *   timestamp -> date   the day in UTC; date -> timestamp: midnight
 *   bool <-> int        0 and 1; any other int is true
 */
#include "libcore/expr/kernel.h"

#include "libcore/base/civil.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

enum { ROUNDED = true };

bool cast_exists(struct type from, struct type to)
{
	bool from_number = from.kind <= TYPE_DECIMAL, to_number = to.kind <= TYPE_DECIMAL;

	if (from.kind == to.kind)
		return true;
	if (from.kind == TYPE_ANY || to.kind == TYPE_ANY || from.kind == TYPE_STRING ||
		to.kind == TYPE_STRING)
		return true;
	if (from_number && to_number)
		return true;
	/* A timestamp as a number is somebody's guess of a unit: epoch_ms and its like say it. */
	return (from.kind == TYPE_DATE && to.kind == TYPE_TIMESTAMP) ||
		(from.kind == TYPE_TIMESTAMP && to.kind == TYPE_DATE);
}

/* "'abc' is not an int", kept for as long as the program's run: the first failure only. */
static void fail_value(struct kernel *k, uint32_t r, struct text_view v, const char *what)
{
	const char *why = "";

	if (!*k->why)
		why = arena_printf(k->arena, "'%.*s'%s %s%s", (int)(v.len > 60 ? 60 : v.len),
			v.len ? v.text : "", v.len > 60 ? "..." : "", what,
			type_name(k->out->col.type));
	vector_fail(k, r, why);
}

static const char out_of_range[] = "a value out of range";

/* ---- numbers ---- */

static void int_to_float(struct kernel *k)
{
	KERNEL_LOOP1(k, int64_t, double, a);
}

static void int_to_bool(struct kernel *k)
{
	KERNEL_LOOP1(k, int64_t, uint8_t, a != 0);
}

static void bool_to_int(struct kernel *k)
{
	KERNEL_LOOP1(k, uint8_t, int64_t, a);
}

static void bool_to_float(struct kernel *k)
{
	KERNEL_LOOP1(k, uint8_t, double, a);
}

static void float_to_bool(struct kernel *k)
{
	KERNEL_LOOP1(k, double, uint8_t, a != 0);
}

static void float_to_int(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		double v = arg_float(k, 0, r);
		bool good = v >= -9223372036854775808.0 && v < 9223372036854775808.0;

		out[r] = good ? (int64_t)v : 0;
		if (!good && out_is_valid(k, r))
			vector_fail(k, r, out_of_range);
	}
}

static struct decimal_shape shape_of(struct type t)
{
	return (struct decimal_shape){t.precision, t.scale};
}

static enum number_status number_to_decimal(const struct kernel *k, uint32_t r, __int128 *v)
{
	const struct column *c = &k->args[0].col;
	struct decimal_shape to = shape_of(k->out->col.type);

	switch ((enum type_kind)c->type.kind) {
	case TYPE_INT: return decimal_from_int(arg_int(k, 0, r), to, v);
	case TYPE_FLOAT: return decimal_from_float(arg_float(k, 0, r), to, v);
	case TYPE_BOOL: return decimal_from_int(column_bool(c, vector_row(&k->args[0], r)), to, v);
	case TYPE_DECIMAL:
		return decimal_rescale(arg_decimal(k, 0, r), c->type.scale, to, ROUNDED, v);
	case TYPE_DATE:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return NUMBER_MALFORMED;
}

static void to_decimal(struct kernel *k)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		__int128 v = 0;

		if (out_is_valid(k, r) && number_to_decimal(k, r, &v) != NUMBER_OK) {
			v = 0;
			vector_fail(k, r, out_of_range);
		}
		memcpy(out + (size_t)r * 16, &v, 16);
	}
}

static void from_decimal(struct kernel *k)
{
	unsigned scale = k->args[0].col.type.scale;
	uint8_t to = k->out->col.type.kind;
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		bool valid = out_is_valid(k, r);
		__int128 v = valid ? arg_decimal(k, 0, r) : 0;
		int64_t whole = 0;

		if (to == TYPE_BOOL)
			out[r] = v != 0;
		else if (to == TYPE_FLOAT)
			((double *)(void *)out)[r] = decimal_to_float(v, scale);
		else if (decimal_to_int(v, scale, &whole) != NUMBER_OK)
			vector_fail(k, r, out_of_range);
		if (to == TYPE_INT)
			((int64_t *)(void *)out)[r] = whole;
	}
}

/* ---- times ---- */

static void date_to_timestamp(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		int64_t days = column_date(&k->args[0].col, vector_row(&k->args[0], r));

		if (__builtin_mul_overflow(days, CIVIL_US_DAY, &out[r])) {
			out[r] = 0;
			if (out_is_valid(k, r))
				vector_fail(k, r, out_of_range);
		}
	}
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static void timestamp_to_date(struct kernel *k)
{
	KERNEL_LOOP1(k, int64_t, int32_t, floor_div(a, CIVIL_US_DAY));
}

/* ---- from text ---- */

static struct text_view trimmed(struct text_view v)
{
	while (v.len && isspace((unsigned char)v.text[0])) {
		v.text++;
		v.len--;
	}
	while (v.len && isspace((unsigned char)v.text[v.len - 1]))
		v.len--;
	return v;
}

static bool parse_bool(struct text_view v, uint8_t *out)
{
	static const char *const words[2][5] = {{"false", "f", "no", "n", "0"},
		{"true", "t", "yes", "y", "1"}};

	for (int truth = 0; truth < 2; truth++) {
		for (int i = 0; i < 5; i++) {
			if (strlen(words[truth][i]) == v.len &&
				!strncasecmp(words[truth][i], v.text, v.len)) {
				*out = (uint8_t)truth;
				return true;
			}
		}
	}
	return false;
}

/* "1.0" and "1e3" are ints where they are whole, as in other engines' casts. */
static bool parse_int(struct text_view v, int64_t *out)
{
	double real;

	if (int_parse(v.text, v.len, out) == NUMBER_OK)
		return true;
	if (float_parse(v.text, v.len, 0, &real) != NUMBER_OK ||
		!(fabs(real) < 9007199254740992.0) || real != trunc(real))
		return false;
	*out = (int64_t)real;
	return true;
}

static bool parse_duration(struct text_view v, int64_t *out)
{
	struct interval i;

	if (duration_parse(v.text, v.len, out) == NUMBER_OK)
		return true;
	if (interval_parse(v.text, v.len, &i) != NUMBER_OK || i.months)
		return false;
	*out = i.us;
	return true;
}

/* The value of a text into 16 bytes; false if it is none. */
static bool parse_text(struct type to, struct text_view v, void *out)
{
	switch ((enum type_kind)to.kind) {
	case TYPE_BOOL: return parse_bool(v, out);
	case TYPE_INT: return parse_int(v, out);
	case TYPE_FLOAT: return float_parse(v.text, v.len, FLOAT_WORDS, out) == NUMBER_OK;
	case TYPE_DECIMAL:
		return decimal_parse(v.text, v.len, shape_of(to), ROUNDED, out) == NUMBER_OK;
	case TYPE_DATE: return date_parse(v.text, v.len, out) == NUMBER_OK;
	case TYPE_TIMESTAMP: return timestamp_parse(v.text, v.len, out) == NUMBER_OK;
	case TYPE_DURATION: return parse_duration(v, out);
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return false;
}

static void text_to_fixed(struct kernel *k)
{
	struct type to = k->out->col.type;
	size_t width = type_width(to);
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		__int128 value = 0;

		if (out_is_valid(k, r) && !parse_text(to, trimmed(arg_text(k, 0, r)), &value)) {
			value = 0;
			fail_value(k, r, arg_text(k, 0, r), "is not a valid ");
		}
		memcpy(out + r * width, &value, width);
	}
}

/* string <-> bytes: the same bytes, where they are UTF-8. */
static void text_to_text(struct kernel *k)
{
	k->out->col.offsets = k->args[0].col.offsets;
	k->out->col.bytes = k->args[0].col.bytes;
	for (uint32_t r = 0; k->out->col.type.kind == TYPE_STRING && r < k->rows; r++) {
		struct text_view v = arg_text(k, 0, r);

		if (out_is_valid(k, r) && !utf8_valid(v.text, v.len))
			vector_fail(k, r, "bytes that are not UTF-8");
	}
}

static void text_to_any(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);
	bool bytes = k->args[0].col.type.kind == TYPE_BYTES;

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = arg_text(k, 0, r);

		if (out_is_valid(k, r) && bytes)
			msgpack_put_bin(k->text, v.text, v.len);
		else if (out_is_valid(k, r))
			msgpack_put_str(k->text, v.text, v.len);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* ---- to text ---- */

static void fixed_to_text(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r))
			column_put_text(&k->args[0].col, vector_row(&k->args[0], r), SIZE_MAX, k->text);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* ---- any ---- */

static void fixed_to_any(struct kernel *k)
{
	const struct column *c = &k->args[0].col;
	uint32_t *offsets = vector_offsets(k);
	struct buf text = BUF_INIT;

	for (uint32_t r = 0; r < k->rows; r++) {
		uint32_t row = vector_row(&k->args[0], r);

		if (!out_is_valid(k, r)) {
			vector_text_end(k, offsets, r);
			continue;
		}
		buf_reset(&text);
		if (c->type.kind == TYPE_BOOL) {
			msgpack_put_bool(k->text, column_bool(c, row));
		} else if (c->type.kind == TYPE_INT) {
			msgpack_put_int(k->text, column_int(c, row));
		} else if (c->type.kind == TYPE_FLOAT) {
			msgpack_put_float(k->text, column_float(c, row));
		} else { /* the others have no msgpack type of their own: their text */
			column_put_text(c, row, SIZE_MAX, &text);
			msgpack_put_str(k->text, (const char *)text.data, text.len);
		}
		vector_text_end(k, offsets, r);
	}
	buf_clear(&text);
	vector_text_finish(k);
}

static bool any_item(struct text_view v, struct msgpack_item *out)
{
	struct msgpack m = {(const uint8_t *)v.text, (const uint8_t *)v.text + v.len};

	return msgpack_next(&m, out) == 0;
}

/* A scalar in any as a value of the type. */
static bool any_value(struct type to, const struct msgpack_item *item, void *out)
{
	struct text_view text = {(const char *)item->bytes, item->bytes_len};
	double real = item->kind == MSGPACK_FLOAT ? item->real :
		item->kind == MSGPACK_UINT ? (double)item->uint : (double)item->integer;
	int64_t whole = item->integer;

	if (item->kind == MSGPACK_STR)
		return parse_text(to, trimmed(text), out);
	if (item->kind == MSGPACK_BOOL && to.kind == TYPE_BOOL) {
		*(uint8_t *)out = item->boolean;
		return true;
	}
	if (item->kind != MSGPACK_INT && item->kind != MSGPACK_UINT && item->kind != MSGPACK_FLOAT)
		return false;
	switch ((enum type_kind)to.kind) {
	case TYPE_BOOL: *(uint8_t *)out = real != 0; return true;
	case TYPE_INT:
		if (item->kind == MSGPACK_INT) {
			*(int64_t *)out = whole;
			return true;
		}
		*(int64_t *)out = fabs(real) < 9.2e18 ? (int64_t)real : 0;
		return fabs(real) < 9.2e18;
	case TYPE_FLOAT: *(double *)out = real; return true;
	case TYPE_DECIMAL:
		return (item->kind == MSGPACK_INT ? decimal_from_int(whole, shape_of(to), out) :
			decimal_from_float(real, shape_of(to), out)) == NUMBER_OK;
	case TYPE_DATE:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return false;
}

static void fail_any(struct kernel *k, uint32_t r)
{
	struct buf json = BUF_INIT;
	struct text_view v = arg_text(k, 0, r);

	if (!*k->why)
		msgpack_put_json((const uint8_t *)v.text, v.len, &json);
	fail_value(k, r, (struct text_view){(const char *)json.data, json.len}, "is not a valid ");
	buf_clear(&json);
}

/* A null inside any is null. */
static void any_to_fixed(struct kernel *k)
{
	struct type to = k->out->col.type;
	size_t width = type_width(to);
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct msgpack_item item = {.kind = MSGPACK_NIL};
		__int128 value = 0;

		if (out_is_valid(k, r) && any_item(arg_text(k, 0, r), &item)) {
			if (item.kind == MSGPACK_NIL)
				vector_null(k, r);
			else if (!any_value(to, &item, &value)) {
				value = 0;
				fail_any(k, r);
			}
		}
		memcpy(out + r * width, &value, width);
	}
}

static void any_to_text(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);
	bool bytes = k->out->col.type.kind == TYPE_BYTES;

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = arg_text(k, 0, r);
		struct msgpack_item item;

		if (out_is_valid(k, r) && any_item(v, &item)) {
			if (item.kind == MSGPACK_NIL)
				vector_null(k, r);
			else if (item.kind == MSGPACK_STR || (bytes && item.kind == MSGPACK_BIN))
				buf_put(k->text, item.bytes, item.bytes_len);
			else
				msgpack_put_json((const uint8_t *)v.text, v.len, k->text);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* ---- which ---- */

static kernel_run number_cast(uint8_t from, uint8_t to)
{
	if (to == TYPE_DECIMAL)
		return to_decimal;
	if (from == TYPE_DECIMAL)
		return from_decimal;
	if (from == TYPE_INT)
		return to == TYPE_FLOAT ? int_to_float : int_to_bool;
	if (from == TYPE_BOOL)
		return to == TYPE_INT ? bool_to_int : bool_to_float;
	return to == TYPE_INT ? float_to_int : float_to_bool;
}

static kernel_run cast_kernel(struct type from, struct type to)
{
	if (from.kind == TYPE_ANY)
		return type_is_text(to) ? any_to_text : any_to_fixed;
	if (to.kind == TYPE_ANY)
		return type_is_text(from) ? text_to_any : fixed_to_any;
	if (type_is_text(from))
		return type_is_text(to) ? text_to_text : text_to_fixed;
	if (type_is_text(to))
		return fixed_to_text;
	if (from.kind == TYPE_DATE)
		return date_to_timestamp;
	if (from.kind == TYPE_TIMESTAMP)
		return timestamp_to_date;
	return number_cast(from.kind, to.kind);
}

void cast_run(struct kernel *k)
{
	struct type from = k->args[0].col.type, to = k->out->col.type;

	MUST(cast_exists(from, to));
	cast_kernel(from, to)(k);
}
