/* Values out of their binary form and out of their text. */
#include "connect/heavy/postgres_binary.h"
#include "connect/heavy/postgres_types.h"

#include "libcore/base/civil.h"
#include "libcore/base/json.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

enum {
	UUID_BYTES = 16,
	UUID_TEXT_BYTES = 36,
	INTERVAL_BYTES = 16,
	ARRAY_DIMENSIONS_MAX = 6, /* PostgreSQL's */
	JSONB_VERSION = 1,
};

static const char *const malformed = "a value that isn't of the column's type";

static int fail(const char **why, const char *text)
{
	*why = text;
	return -1;
}

/* ---- texts ---- */

static int take_string(const char *text, size_t len, struct column_builder *out, const char **why)
{
	if (!utf8_valid(text, len))
		return fail(why, "text that isn't UTF-8 (take the column as bytes: convert_to)");
	builder_put_text(out, text, len);
	return 0;
}

static void put_uuid(const uint8_t *bytes, char text[UUID_TEXT_BYTES])
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (int i = 0; i < UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[n++] = '-';
		text[n++] = hex[bytes[i] >> 4];
		text[n++] = hex[bytes[i] & 15];
	}
}

static int take_json(const char *text, size_t len, struct buf *out, const char **why)
{
	const char *reason;
	size_t at;

	return json_parse(text, len, out, &at, &reason) < 0
		       ? fail(why, "JSON that can't be taken (take the column as string)")
		       : 0;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static int take_hex(const char *text, size_t len, struct buf *out)
{
	if (len < 2 || text[0] != '\\' || text[1] != 'x' || len % 2)
		return -1;
	for (size_t i = 2; i < len; i += 2) {
		int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);

		if (high < 0 || low < 0)
			return -1;
		buf_put_byte(out, (uint8_t)(high << 4 | low));
	}
	return 0;
}

/* ---- floats ---- */

static double float4_of(const uint8_t *bytes)
{
	uint32_t bits = take_u32(bytes);
	float v;

	memcpy(&v, &bits, sizeof v);
	return (double)v;
}

static double float8_of(const uint8_t *bytes)
{
	uint64_t bits = take_u64(bytes);
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

/* The shortest text of a float is nearer to it than to any other: reading it as a double and
 * rounding that gives it back. */
static int read_float(enum postgres_form form, const char *text, size_t len, double *out)
{
	if (float_parse(text, len, FLOAT_WORDS, out) != NUMBER_OK)
		return -1;
	if (form == POSTGRES_FLOAT4 && isfinite(*out)) {
		if (fabs(*out) > (double)FLT_MAX)
			return -1;
		*out = (double)(float)*out;
	}
	return 0;
}

/* ---- times ---- */

static const char *const no_infinity = "infinity, which is no time";
static const char *const no_range = "a time out of range";

static int put_date(int64_t days, struct column_builder *out, const char **why)
{
	if (days < INT32_MIN || days > INT32_MAX)
		return fail(why, no_range);
	builder_put_date(out, (int32_t)days);
	return 0;
}

static int put_duration(
	int64_t us, int64_t days, int64_t months, struct column_builder *out, const char **why)
{
	int64_t of_days;

	if (months)
		return fail(why, "an interval with months, which is no duration (take the column "
				 "as string)");
	if (__builtin_mul_overflow(days, CIVIL_US_DAY, &of_days) ||
		__builtin_add_overflow(us, of_days, &us))
		return fail(why, "an interval out of range");
	builder_put_int(out, us);
	return 0;
}

struct cursor {
	const char *at, *end;
};

static bool take_char(struct cursor *c, char ch)
{
	if (c->at == c->end || *c->at != ch)
		return false;
	c->at++;
	return true;
}

static int take_number(struct cursor *c, int64_t *out)
{
	const char *start = c->at;

	*out = 0;
	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - start < 9; c->at++)
		*out = *out * 10 + (*c->at - '0');
	return c->at > start ? 0 : -1;
}

/* Up to six digits, as microseconds. */
static int take_fraction(struct cursor *c, int64_t *us)
{
	int digits = 0;

	for (*us = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++, digits++)
		*us = digits < 6 ? *us * 10 + (*c->at - '0') : *us;
	for (int i = digits; i < 6; i++)
		*us *= 10;
	return digits && digits <= 6 ? 0 : -1;
}

static int take_day(struct cursor *c, struct civil *out)
{
	int64_t month, day;

	if (take_number(c, &out->year) < 0 || !take_char(c, '-') || take_number(c, &month) < 0 ||
		!take_char(c, '-') || take_number(c, &day) < 0 || month < 1 || month > 12 ||
		day < 1 || day > 31)
		return -1;
	out->month = (int)month;
	out->day = (int)day;
	return 0;
}

/* Behind everything else: " BC", where year 1 is year 0. */
static int take_era(struct cursor *c, struct civil *out)
{
	if (take_char(c, ' ')) {
		if (!take_char(c, 'B') || !take_char(c, 'C'))
			return -1;
		out->year = 1 - out->year;
	}
	return c->at == c->end ? 0 : -1;
}

static bool is_infinity(const char *text, size_t len)
{
	return (len == 8 && !memcmp(text, "infinity", 8)) ||
	       (len == 9 && !memcmp(text, "-infinity", 9));
}

/* 2026-01-31, 12345-01-31, 0044-03-15 BC */
static int take_date_text(
	const char *text, size_t len, struct column_builder *out, const char **why)
{
	struct cursor c = {text, text + len};
	struct civil day = {0};

	if (is_infinity(text, len))
		return fail(why, no_infinity);
	if (take_day(&c, &day) < 0 || take_era(&c, &day) < 0)
		return fail(why, malformed);
	return put_date(civil_days(day.year, day.month, day.day), out, why);
}

/* 10:00:00[.25][+00[:30[:15]]] */
static int take_clock(struct cursor *c, struct civil *out, int64_t *offset_us)
{
	int64_t hour, minute, second, us = 0, part;
	int sign;

	*offset_us = 0;
	if (take_number(c, &hour) < 0 || !take_char(c, ':') || take_number(c, &minute) < 0 ||
		!take_char(c, ':') || take_number(c, &second) < 0 || hour > 24 || minute > 59 ||
		second > 60)
		return -1;
	if (take_char(c, '.') && take_fraction(c, &us) < 0)
		return -1;
	*out = (struct civil){.year = out->year,
		.month = out->month,
		.day = out->day,
		.hour = (int)hour,
		.minute = (int)minute,
		.second = (int)second,
		.us = (int)us};
	sign = take_char(c, '+') ? 1 : take_char(c, '-') ? -1 : 0;
	for (int64_t unit = 3600; sign && unit; unit /= 60) {
		if (take_number(c, &part) < 0 || part > 59)
			return -1;
		*offset_us += sign * part * unit * CIVIL_US_SECOND;
		if (!take_char(c, ':'))
			break;
	}
	return 0;
}

static int take_timestamp_text(
	const char *text, size_t len, struct column_builder *out, const char **why)
{
	struct cursor c = {text, text + len};
	struct civil t = {0};
	int64_t us, offset_us;

	if (is_infinity(text, len))
		return fail(why, no_infinity);
	if (take_day(&c, &t) < 0 || !take_char(&c, ' ') || take_clock(&c, &t, &offset_us) < 0 ||
		take_era(&c, &t) < 0)
		return fail(why, malformed);
	if (civil_to_us(&t, &us) != NUMBER_OK || __builtin_sub_overflow(us, offset_us, &us))
		return fail(why, no_range);
	builder_put_int(out, us);
	return 0;
}

/* One part of an interval added up: P1Y2M-3DT4H-5M6.789S. */
struct span {
	int64_t months, days, us;
};

static int take_part(struct cursor *c, bool is_time, struct span *out)
{
	bool negative = take_char(c, '-');
	int64_t whole = 0, us = 0, unit = 0, part;
	bool has_fraction = false;
	char name;

	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
		if (__builtin_mul_overflow(whole, 10, &whole) ||
			__builtin_add_overflow(whole, *c->at - '0', &whole))
			return -1;
	}
	if (take_char(c, '.')) {
		has_fraction = true;
		if (take_fraction(c, &us) < 0)
			return -1;
	}
	if (c->at == c->end)
		return -1;
	name = *c->at++;
	if (has_fraction && (!is_time || name != 'S'))
		return -1;
	if (is_time) {
		unit = name == 'H' ? 3600 : name == 'M' ? 60 : name == 'S' ? 1 : 0;
		if (!unit || __builtin_mul_overflow(whole, unit * CIVIL_US_SECOND, &part) ||
			__builtin_add_overflow(part, us, &part))
			return -1;
		return __builtin_add_overflow(out->us, negative ? -part : part, &out->us) ? -1 : 0;
	}
	if (whole > INT32_MAX)
		return -1;
	whole = negative ? -whole : whole;
	if (name != 'Y' && name != 'M' && name != 'W' && name != 'D')
		return -1;
	out->months += name == 'Y' ? whole * 12 : name == 'M' ? whole : 0;
	out->days += name == 'W' ? whole * 7 : name == 'D' ? whole : 0;
	return 0;
}

static int take_interval_text(
	const char *text, size_t len, struct column_builder *out, const char **why)
{
	struct cursor c = {text, text + len};
	struct span v = {0};
	bool is_time = false;

	if (!take_char(&c, 'P') || c.at == c.end)
		return fail(why, malformed);
	while (c.at < c.end) {
		if (!is_time && take_char(&c, 'T'))
			is_time = true;
		if (take_part(&c, is_time, &v) < 0)
			return fail(why, malformed);
	}
	return put_duration(v.us, v.days, v.months, out, why);
}

/* ---- arrays to msgpack ---- */

/* One element from its binary form. */
static int put_element(
	enum postgres_form form, const uint8_t *b, size_t len, struct buf *out, const char **why)
{
	static const size_t widths[] = {[POSTGRES_BOOL] = 1,
		[POSTGRES_INT2] = 2,
		[POSTGRES_INT4] = 4,
		[POSTGRES_INT8] = 8,
		[POSTGRES_OID] = 4,
		[POSTGRES_FLOAT4] = 4,
		[POSTGRES_FLOAT8] = 8,
		[POSTGRES_UUID] = UUID_BYTES};
	char uuid[UUID_TEXT_BYTES];
	struct buf text = BUF_INIT;

	if (form < sizeof widths / sizeof *widths && widths[form] && widths[form] != len)
		return fail(why, malformed);
	switch (form) {
	case POSTGRES_BOOL: msgpack_put_bool(out, *b != 0); return 0;
	case POSTGRES_INT2: msgpack_put_int(out, (int16_t)take_u16(b)); return 0;
	case POSTGRES_INT4: msgpack_put_int(out, (int32_t)take_u32(b)); return 0;
	case POSTGRES_INT8: msgpack_put_int(out, (int64_t)take_u64(b)); return 0;
	case POSTGRES_OID: msgpack_put_int(out, take_u32(b)); return 0;
	case POSTGRES_FLOAT4: msgpack_put_float(out, float4_of(b)); return 0;
	case POSTGRES_FLOAT8: msgpack_put_float(out, float8_of(b)); return 0;
	case POSTGRES_NUMERIC:
		if (numeric_put_text(b, len, &text) < 0) {
			buf_clear(&text);
			return fail(why, malformed);
		}
		msgpack_put_str(out, (const char *)text.data, text.len);
		buf_clear(&text);
		return 0;
	case POSTGRES_UUID:
		put_uuid(b, uuid);
		msgpack_put_str(out, uuid, sizeof uuid);
		return 0;
	case POSTGRES_BYTEA: msgpack_put_bin(out, b, len); return 0;
	case POSTGRES_JSON: return take_json((const char *)b, len, out, why);
	case POSTGRES_JSONB:
		if (!len || *b != JSONB_VERSION)
			return fail(why, "a jsonb of a version that isn't known");
		return take_json((const char *)b + 1, len - 1, out, why);
	case POSTGRES_TEXT:
	case POSTGRES_OTHER:
	case POSTGRES_DATE:
	case POSTGRES_TIMESTAMP:
	case POSTGRES_INTERVAL:
	case POSTGRES_ARRAY: break;
	}
	if (!utf8_valid((const char *)b, len))
		return fail(why, "text that isn't UTF-8");
	msgpack_put_str(out, (const char *)b, len);
	return 0;
}

struct array {
	enum postgres_form element;
	uint32_t lengths[ARRAY_DIMENSIONS_MAX];
	uint32_t dimensions;
	const uint8_t *at, *end;
};

static int put_dimension(struct array *a, uint32_t dimension, struct buf *out, const char **why)
{
	msgpack_put_array(out, a->lengths[dimension]);
	for (uint32_t i = 0; i < a->lengths[dimension]; i++) {
		uint32_t len;

		if (dimension + 1 < a->dimensions) {
			if (put_dimension(a, dimension + 1, out, why) < 0)
				return -1;
			continue;
		}
		if (a->end - a->at < 4)
			return fail(why, malformed);
		len = take_u32(a->at);
		a->at += 4;
		if (len == UINT32_MAX) {
			msgpack_put_nil(out);
			continue;
		}
		if (len > (size_t)(a->end - a->at) ||
			put_element(a->element, a->at, len, out, why) < 0)
			return *why ? -1 : fail(why, malformed);
		a->at += len;
	}
	return 0;
}

/* dimensions i32, flags i32, element oid u32; of each dimension length i32, lower bound i32; then
 * the elements, each with its length. */
static int put_array(
	enum postgres_form element, const uint8_t *b, size_t len, struct buf *out, const char **why)
{
	enum { HEAD_BYTES = 12, DIMENSION_BYTES = 8 };
	struct array a = {.element = element, .end = b + len};
	uint64_t elements = 1;

	*why = NULL;
	if (len < HEAD_BYTES || take_u32(b) > ARRAY_DIMENSIONS_MAX)
		return fail(why, malformed);
	a.dimensions = take_u32(b);
	a.at = b + HEAD_BYTES;
	if (!a.dimensions) {
		msgpack_put_array(out, 0);
		return a.at == a.end ? 0 : fail(why, malformed);
	}
	if ((size_t)(a.end - a.at) < a.dimensions * (size_t)DIMENSION_BYTES)
		return fail(why, malformed);
	for (uint32_t i = 0; i < a.dimensions; i++, a.at += DIMENSION_BYTES) {
		a.lengths[i] = take_u32(a.at);
		elements *= a.lengths[i];
		/* Each takes four bytes at least; none of a dimension means none at all. */
		if (!elements || elements > len / 4)
			return fail(why, malformed);
	}
	if (put_dimension(&a, 0, out, why) < 0)
		return -1;
	return a.at == a.end ? 0 : fail(why, malformed);
}

/* ---- arrays' text: [2:3]={1,NULL,"a \"b\"",{...}} ---- */

static int put_text_element(
	enum postgres_form form, const char *text, size_t len, struct buf *out, const char **why)
{
	struct buf bytes = BUF_INIT;
	int64_t whole;
	double real;
	int status = 0;

	switch (form) {
	case POSTGRES_BOOL:
		if (len != 1 || (*text != 't' && *text != 'f'))
			return fail(why, malformed);
		msgpack_put_bool(out, *text == 't');
		return 0;
	case POSTGRES_INT2:
	case POSTGRES_INT4:
	case POSTGRES_INT8:
	case POSTGRES_OID:
		if (int_parse(text, len, &whole) != NUMBER_OK)
			return fail(why, malformed);
		msgpack_put_int(out, whole);
		return 0;
	case POSTGRES_FLOAT4:
	case POSTGRES_FLOAT8:
		if (read_float(form, text, len, &real) < 0)
			return fail(why, malformed);
		msgpack_put_float(out, real);
		return 0;
	case POSTGRES_BYTEA:
		status = take_hex(text, len, &bytes);
		if (status == 0)
			msgpack_put_bin(out, bytes.data, bytes.len);
		buf_clear(&bytes);
		return status < 0 ? fail(why, malformed) : 0;
	case POSTGRES_JSON:
	case POSTGRES_JSONB: return take_json(text, len, out, why);
	case POSTGRES_NUMERIC:
	case POSTGRES_UUID:
	case POSTGRES_TEXT:
	case POSTGRES_OTHER:
	case POSTGRES_DATE:
	case POSTGRES_TIMESTAMP:
	case POSTGRES_INTERVAL:
	case POSTGRES_ARRAY: break;
	}
	if (!utf8_valid(text, len))
		return fail(why, "text that isn't UTF-8");
	msgpack_put_str(out, text, len);
	return 0;
}

struct array_text {
	struct cursor c;
	const struct postgres_codec *codec;
	struct buf *out;
	struct buf element; /* without its quotes */
	const char **why;
};

static int take_element(struct array_text *a)
{
	bool quoted = take_char(&a->c, '"');

	buf_reset(&a->element);
	while (a->c.at < a->c.end) {
		char ch = *a->c.at;

		if (quoted ? ch == '"' : ch == a->codec->delimiter || ch == '}')
			break;
		if (ch == '\\' && ++a->c.at == a->c.end)
			return -1;
		buf_put_byte(&a->element, (uint8_t)*a->c.at++);
	}
	if (quoted && !take_char(&a->c, '"'))
		return -1;
	if (!quoted && a->element.len == 4 && !memcmp(a->element.data, "NULL", 4)) {
		msgpack_put_nil(a->out);
		return 0;
	}
	if (!quoted && !a->element.len)
		return -1;
	return put_text_element(
		a->codec->element, (const char *)a->element.data, a->element.len, a->out, a->why);
}

/* An array's head stands before its elements, whose number is known behind them: five bytes are
 * kept for it. */
static void set_array_head(struct buf *out, size_t at, uint32_t count)
{
	uint8_t head[5] = {0xdd, (uint8_t)(count >> 24), (uint8_t)(count >> 16),
		(uint8_t)(count >> 8), (uint8_t)count};

	memcpy(out->data + at, head, sizeof head);
}

static int take_braces(struct array_text *a, int depth)
{
	size_t head = a->out->len;
	uint32_t count = 0;

	if (depth > ARRAY_DIMENSIONS_MAX || !take_char(&a->c, '{'))
		return -1;
	buf_put(a->out, "\xdd\0\0\0\0", 5);
	if (take_char(&a->c, '}')) {
		set_array_head(a->out, head, 0);
		return 0;
	}
	do {
		bool nested = a->c.at < a->c.end && *a->c.at == '{';

		if ((nested ? take_braces(a, depth + 1) : take_element(a)) < 0)
			return -1;
		count++;
	} while (take_char(&a->c, a->codec->delimiter));
	if (!take_char(&a->c, '}'))
		return -1;
	set_array_head(a->out, head, count);
	return 0;
}

/* Containers in their shortest form, as the binary way writes them. */
static int copy_shortest(struct msgpack *in, struct buf *out)
{
	const uint8_t *start = in->at;
	struct msgpack_item item;

	if (msgpack_next(in, &item) != 0)
		return -1;
	if (item.kind != MSGPACK_ARRAY) {
		*in = (struct msgpack){start, in->end};
		if (msgpack_skip(in) < 0)
			return -1;
		buf_put(out, start, (size_t)(in->at - start));
		return 0;
	}
	msgpack_put_array(out, item.count);
	for (uint32_t i = 0; i < item.count; i++) {
		if (copy_shortest(in, out) < 0)
			return -1;
	}
	return 0;
}

static int put_array_text(const struct postgres_codec *codec, const char *text, size_t len,
	struct buf *out, const char **why)
{
	struct buf wide = BUF_INIT;
	struct array_text a = {.c = {text, text + len}, .codec = codec, .out = &wide, .why = why};
	struct msgpack whole;
	int status;

	*why = NULL;
	if (len && *text == '[') { /* bounds, where they aren't 1 */
		const char *equals = memchr(text, '=', len);

		a.c.at = equals ? equals + 1 : a.c.end;
	}
	status = take_braces(&a, 1) < 0 || a.c.at != a.c.end ? -1 : 0;
	if (status == 0) {
		whole = (struct msgpack){wide.data, wide.data + wide.len};
		status = copy_shortest(&whole, out);
	}
	buf_clear(&a.element);
	buf_clear(&wide);
	return status < 0 && !*why ? fail(why, malformed) : status;
}

/* ---- values ---- */

static int take_any(const struct postgres_codec *c, bool is_text, const uint8_t *b, size_t len,
	struct column_builder *out, const char **why)
{
	struct buf value = BUF_INIT;
	int status;

	if (c->form != POSTGRES_ARRAY)
		status = is_text ? take_json((const char *)b, len, &value, why)
				 : put_element(c->form, b, len, &value, why);
	else if (is_text)
		status = put_array_text(c, (const char *)b, len, &value, why);
	else
		status = put_array(c->element, b, len, &value, why);
	if (status == 0)
		builder_put_text(out, value.data, value.len);
	buf_clear(&value);
	return status;
}

/* A column that was asked for as string: what can't be cast by the server to the same text. */
static int take_as_string(const struct postgres_codec *c, const uint8_t *b, size_t len,
	struct column_builder *out, const char **why)
{
	struct buf text = BUF_INIT;
	char uuid[UUID_TEXT_BYTES];
	int status = 0;

	if (c->form == POSTGRES_UUID) {
		if (len != UUID_BYTES)
			return fail(why, malformed);
		put_uuid(b, uuid);
		builder_put_text(out, uuid, sizeof uuid);
	} else if (c->form == POSTGRES_NUMERIC) {
		status = numeric_put_text(b, len, &text);
		if (status == 0)
			builder_put_text(out, text.data, text.len);
		buf_clear(&text);
	} else if (c->form == POSTGRES_BOOL) {
		if (len != 1)
			return fail(why, malformed);
		builder_put_text(out, *b ? "true" : "false", *b ? 4 : 5);
	} else {
		return take_string((const char *)b, len, out, why);
	}
	return status < 0 ? fail(why, malformed) : 0;
}

static int take_decimal(
	struct type t, const uint8_t *b, size_t len, struct column_builder *out, const char **why)
{
	__int128 v, limit = decimal_pow10[t.precision];

	if (numeric_take(b, len, t.scale, &v, why) < 0)
		return -1;
	if (v >= limit || v <= -limit)
		return fail(why, "a number too large for the decimal");
	builder_put_decimal(out, v);
	return 0;
}

/* Of fixed width: the length is checked before. */
static int take_fixed(
	enum postgres_form form, const uint8_t *b, struct column_builder *out, const char **why)
{
	int64_t us;

	switch (form) {
	case POSTGRES_BOOL: builder_put_bool(out, *b != 0); return 0;
	case POSTGRES_INT2: builder_put_int(out, (int16_t)take_u16(b)); return 0;
	case POSTGRES_INT4: builder_put_int(out, (int32_t)take_u32(b)); return 0;
	case POSTGRES_INT8: builder_put_int(out, (int64_t)take_u64(b)); return 0;
	case POSTGRES_OID: builder_put_int(out, take_u32(b)); return 0;
	case POSTGRES_FLOAT4: builder_put_float(out, float4_of(b)); return 0;
	case POSTGRES_FLOAT8: builder_put_float(out, float8_of(b)); return 0;
	case POSTGRES_DATE:
		us = (int32_t)take_u32(b);
		if (us == INT32_MAX || us == INT32_MIN)
			return fail(why, no_infinity);
		return put_date(us + POSTGRES_EPOCH_DAYS, out, why);
	case POSTGRES_TIMESTAMP:
		us = (int64_t)take_u64(b);
		if (us == INT64_MAX || us == INT64_MIN)
			return fail(why, no_infinity);
		if (__builtin_add_overflow(us, POSTGRES_EPOCH_US, &us))
			return fail(why, no_range);
		builder_put_int(out, us);
		return 0;
	case POSTGRES_INTERVAL:
		return put_duration((int64_t)take_u64(b), (int32_t)take_u32(b + 8),
			(int32_t)take_u32(b + 12), out, why);
	case POSTGRES_NUMERIC:
	case POSTGRES_TEXT:
	case POSTGRES_UUID:
	case POSTGRES_BYTEA:
	case POSTGRES_JSON:
	case POSTGRES_JSONB:
	case POSTGRES_ARRAY:
	case POSTGRES_OTHER: break;
	}
	MUST(!"a form of fixed width");
}

static const uint8_t fixed_widths[] = {[POSTGRES_BOOL] = 1,
	[POSTGRES_INT2] = 2,
	[POSTGRES_INT4] = 4,
	[POSTGRES_INT8] = 8,
	[POSTGRES_OID] = 4,
	[POSTGRES_FLOAT4] = 4,
	[POSTGRES_FLOAT8] = 8,
	[POSTGRES_DATE] = 4,
	[POSTGRES_TIMESTAMP] = 8,
	[POSTGRES_INTERVAL] = INTERVAL_BYTES,
	[POSTGRES_OTHER] = 0};

int postgres_take_binary(const struct postgres_codec *c, const uint8_t *bytes, size_t len,
	struct column_builder *out, const char **why)
{
	size_t width = fixed_widths[c->form];

	if (c->type.kind == TYPE_STRING)
		return take_as_string(c, bytes, len, out, why);
	if (c->type.kind == TYPE_ANY)
		return take_any(c, postgres_comes_as_text(c), bytes, len, out, why);
	if (width)
		return len == width ? take_fixed(c->form, bytes, out, why) : fail(why, malformed);
	if (c->form == POSTGRES_NUMERIC)
		return take_decimal(c->type, bytes, len, out, why);
	MUST(c->form == POSTGRES_BYTEA);
	builder_put_text(out, bytes, len);
	return 0;
}

static int take_decimal_text(
	struct type t, const char *text, size_t len, struct column_builder *out, const char **why)
{
	struct decimal_shape shape = {.precision = t.precision, .scale = t.scale};
	__int128 v;

	switch (decimal_parse(text, len, shape, false, &v)) {
	case NUMBER_OK: builder_put_decimal(out, v); return 0;
	case NUMBER_INEXACT:
		return fail(why, "a number with more digits behind the point than the decimal has");
	case NUMBER_RANGE: return fail(why, "a number too large for the decimal");
	case NUMBER_MALFORMED: break;
	}
	if (len == 3 && memcmp(text, "NaN", 3) == 0)
		return fail(why, "NaN, which a decimal can't be");
	return fail(why, memchr(text, 'I', len) ? "infinity, which a decimal can't be" : malformed);
}

static int take_text_as_string(const struct postgres_codec *c, const char *text, size_t len,
	struct column_builder *out, const char **why)
{
	if (c->form != POSTGRES_BOOL)
		return take_string(text, len, out, why);
	if (len != 1)
		return fail(why, malformed);
	builder_put_text(out, *text == 't' ? "true" : "false", *text == 't' ? 4 : 5);
	return 0;
}

int postgres_take_text(const struct postgres_codec *c, const char *text, size_t len,
	struct column_builder *out, const char **why)
{
	struct buf bytes = BUF_INIT;
	int64_t whole;
	double real;
	int status;

	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL:
		if (len != 1 || (*text != 't' && *text != 'f'))
			return fail(why, malformed);
		builder_put_bool(out, *text == 't');
		return 0;
	case TYPE_INT:
		if (int_parse(text, len, &whole) != NUMBER_OK)
			return fail(why, malformed);
		builder_put_int(out, whole);
		return 0;
	case TYPE_FLOAT:
		if (read_float(c->form, text, len, &real) < 0)
			return fail(why, malformed);
		builder_put_float(out, real);
		return 0;
	case TYPE_DECIMAL: return take_decimal_text(c->type, text, len, out, why);
	case TYPE_DATE: return take_date_text(text, len, out, why);
	case TYPE_TIMESTAMP: return take_timestamp_text(text, len, out, why);
	case TYPE_DURATION: return take_interval_text(text, len, out, why);
	case TYPE_STRING: return take_text_as_string(c, text, len, out, why);
	case TYPE_BYTES:
		status = take_hex(text, len, &bytes);
		if (status == 0)
			builder_put_text(out, bytes.data, bytes.len);
		buf_clear(&bytes);
		return status < 0 ? fail(why, malformed) : 0;
	case TYPE_ANY: return take_any(c, true, (const uint8_t *)text, len, out, why);
	}
	MUST(!"a type");
}
