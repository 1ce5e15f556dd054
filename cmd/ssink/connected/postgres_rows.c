#include "cmd/ssink/connected/postgres_rows.h"

#include "libcore/base/civil.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"

#include <endian.h>
#include <math.h>
#include <string.h>

enum {
	FIELD_BYTES = 4 + 16,    /* of a value of fixed width: its length and at most a uuid */
	DAYS_2000 = 10957,       /* where PostgreSQL's calendar begins */
	NUMERIC_GROUPS_MAX = 12, /* of 4 digits: 38 digits that begin and end within one */
	NUMERIC_POSITIVE = 0,
	NUMERIC_NEGATIVE = 0x4000,
	JSONB_VERSION = 1,
	UUID_BYTES = 16,
};

static const int64_t us_2000 = DAYS_2000 * CIVIL_US_DAY;
static const uint8_t head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* and the last NUL */

bool rows_is_binary(struct type t, enum postgres_form form)
{
	switch (form) {
	case POSTGRES_ARRAY:
	case POSTGRES_OTHER: return false;
	case POSTGRES_BOOL:
	case POSTGRES_INT2:
	case POSTGRES_INT4:
	case POSTGRES_INT8:
	case POSTGRES_OID:
	case POSTGRES_FLOAT4:
	case POSTGRES_FLOAT8:
	case POSTGRES_DATE:
	case POSTGRES_TIMESTAMP:
	case POSTGRES_INTERVAL:
	case POSTGRES_TEXT:
	case POSTGRES_BYTEA:
	case POSTGRES_JSON:
	case POSTGRES_JSONB:
	case POSTGRES_UUID: return true;
	case POSTGRES_NUMERIC: return t.kind != TYPE_STRING;
	}
	return false;
}

void rows_put_head(const struct rows_format *f, struct buf *out)
{
	if (!f->is_text)
		buf_put(out, head, sizeof head);
}

void rows_put_tail(const struct rows_format *f, struct buf *out)
{
	if (!f->is_text)
		buf_put(out, "\377\377", 2);
}

/* ---- what can't be said there ---- */

static int refuse(const struct rows_column *rc, const struct batch *b, uint32_t row,
	const char *why, struct error *e)
{
	const char *name = b->schema->fields[rc->column].name;
	struct buf value = BUF_INIT, all = BUF_INIT;

	column_put_text(&b->columns[rc->column], row, 80, &value);
	batch_put_row(b, row, &all);
	error_set(e, ERROR_DATA, "column '%s': %s %s (%s)", name, buf_cstr(&value), why, rc->type);
	error_hint(e, "the row: %s", buf_cstr(&all));
	buf_clear(&value);
	buf_clear(&all);
	return -1;
}

/* Microseconds since 2000.  The ends of int64 are its infinities. */
static bool to_2000(int64_t us, int64_t *out)
{
	return !__builtin_sub_overflow(us, us_2000, out) && *out != INT64_MIN && *out != INT64_MAX;
}

static int check_unit(const struct rows_column *rc, const struct batch *b, uint32_t row, int64_t us,
	struct error *e)
{
	if (!rc->unit_us || us % rc->unit_us == 0)
		return 0;
	refuse(rc, b, row, "has more digits of a second than the table's column keeps", e);
	return error_hint(e, "cut them off in front: date_trunc('%s', ...)",
		rc->unit_us == 1000 ? "milliseconds" : "seconds");
}

/* ---- binary ---- */

static uint8_t *put16(uint8_t *to, uint16_t v)
{
	v = htobe16(v);
	memcpy(to, &v, sizeof v);
	return to + sizeof v;
}

static uint8_t *put32(uint8_t *to, uint32_t v)
{
	v = htobe32(v);
	memcpy(to, &v, sizeof v);
	return to + sizeof v;
}

static uint8_t *put64(uint8_t *to, uint64_t v)
{
	v = htobe64(v);
	memcpy(to, &v, sizeof v);
	return to + sizeof v;
}

static void put_bytes(struct buf *out, const void *bytes, size_t len)
{
	uint8_t *to = buf_reserve(out, 4 + len);

	put32(to, (uint32_t)len);
	if (len)
		memcpy(to + 4, bytes, len);
	out->len += 4 + len;
}

static void put_fixed64(struct buf *out, uint64_t v)
{
	put64(put32(buf_reserve(out, FIELD_BYTES), 8), v);
	out->len += 12;
}

static void put_fixed32(struct buf *out, uint32_t v)
{
	put32(put32(buf_reserve(out, FIELD_BYTES), 4), v);
	out->len += 8;
}

/* Groups of four digits from the last to the first of an unsigned number. */
static int split_groups(unsigned __int128 v, uint16_t *groups, int n)
{
	while (v >> 64) {
		groups[n++] = (uint16_t)(v % 10000);
		v /= 10000;
	}
	for (uint64_t low = (uint64_t)v; low; low /= 10000)
		groups[n++] = (uint16_t)(low % 10000);
	return n;
}

/* Groups lie on both sides of the point, so the digits behind it are filled up to whole ones. */
static void put_numeric(struct buf *out, __int128 value, unsigned scale)
{
	static const uint16_t pow10[] = {1, 10, 100, 1000};
	uint16_t groups[NUMERIC_GROUPS_MAX];
	unsigned __int128 v = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
	unsigned odd = scale % 4, behind = (scale + 3) / 4;
	uint8_t *to;
	int n = 0;

	if (odd) {
		groups[n++] = (uint16_t)((uint16_t)(v % pow10[odd]) * pow10[4 - odd]);
		v /= pow10[odd];
	}
	n = split_groups(v, groups, n);
	if (!value)
		n = 0;
	to = buf_reserve(out, 12 + 2 * NUMERIC_GROUPS_MAX);
	to = put32(to, 8 + 2 * (uint32_t)n);
	to = put16(to, (uint16_t)n);
	to = put16(to, (uint16_t)(n - 1 - (int)behind));
	to = put16(to, value < 0 ? NUMERIC_NEGATIVE : NUMERIC_POSITIVE);
	to = put16(to, (uint16_t)scale);
	for (int i = n; i-- > 0;)
		to = put16(to, groups[i]);
	out->len += 12 + 2 * (size_t)n;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* 32 digits, with hyphens behind any four of them, in braces or not, as the server reads it. */
static bool read_uuid(struct text_view t, uint8_t out[UUID_BYTES])
{
	size_t digits = 0;

	if (t.len >= 2 && t.text[0] == '{' && t.text[t.len - 1] == '}') {
		t.text++;
		t.len -= 2;
	}
	for (size_t i = 0; i < t.len; i++) {
		int digit = hex_digit(t.text[i]);

		if (t.text[i] == '-' && digits && digits % 4 == 0 && t.text[i - 1] != '-')
			continue;
		if (digit < 0 || digits == 2 * UUID_BYTES)
			return false;
		out[digits / 2] = (uint8_t)(digits % 2 ? out[digits / 2] | digit : digit << 4);
		digits++;
	}
	return digits == 2 * UUID_BYTES && t.text[t.len - 1] != '-';
}

/* An `any` as the JSON text it is, a string as it stands. */
static int put_json(const struct rows_column *rc, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	struct text_view t = column_text(&b->columns[rc->column], row);
	size_t at = out->len;

	buf_reserve(out, 5);
	out->len += 4;
	if (rc->form == POSTGRES_JSONB)
		buf_put_byte(out, JSONB_VERSION);
	if (b->columns[rc->column].type.kind == TYPE_STRING)
		buf_put(out, t.text, t.len);
	else if (msgpack_put_json((const uint8_t *)t.text, t.len, out) < 0)
		return refuse(rc, b, row, "is no value that JSON has", e);
	put32(out->data + at, (uint32_t)(out->len - at - 4));
	return 0;
}

static int put_int(const struct rows_column *rc, const struct batch *b, uint32_t row, int64_t v,
	struct buf *out, struct error *e)
{
	bool fits = rc->form == POSTGRES_INT2  ? v >= INT16_MIN && v <= INT16_MAX
		    : rc->form == POSTGRES_OID ? v >= 0 && v <= UINT32_MAX
					       : v >= INT32_MIN && v <= INT32_MAX;

	if (!fits)
		return refuse(rc, b, row, "is too large for the table's column", e);
	if (rc->form == POSTGRES_INT2) {
		put16(put32(buf_reserve(out, FIELD_BYTES), 2), (uint16_t)v);
		out->len += 6;
	} else {
		put_fixed32(out, (uint32_t)v);
	}
	return 0;
}

static int put_timestamp(const struct rows_column *rc, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	const struct column *c = &b->columns[rc->column];
	int64_t us, there;

	bool in_reach = true;

	if (c->type.kind == TYPE_DATE)
		in_reach = !__builtin_mul_overflow((int64_t)column_date(c, row), CIVIL_US_DAY, &us);
	else
		us = column_int(c, row);
	if (!in_reach || !to_2000(us, &there))
		return refuse(rc, b, row, "is beyond the times that PostgreSQL has", e);
	if (check_unit(rc, b, row, us, e) < 0)
		return -1;
	put_fixed64(out, (uint64_t)there);
	return 0;
}

static int put_date(const struct rows_column *rc, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	int32_t there;

	if (__builtin_sub_overflow(column_date(&b->columns[rc->column], row), DAYS_2000, &there) ||
		there == INT32_MAX || there == INT32_MIN)
		return refuse(rc, b, row, "is beyond the days that PostgreSQL has", e);
	put_fixed32(out, (uint32_t)there);
	return 0;
}

static int put_float4(const struct rows_column *rc, const struct batch *b, uint32_t row, double v,
	struct buf *out, struct error *e)
{
	float there = (float)v;
	uint32_t bits;

	if (isinf(there) && !isinf(v))
		return refuse(rc, b, row, "is too large for the table's column", e);
	memcpy(&bits, &there, sizeof bits);
	put_fixed32(out, bits);
	return 0;
}

static void put_float8(double v, struct buf *out)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof bits);
	put_fixed64(out, bits);
}

static void put_interval(int64_t us, struct buf *out)
{
	put64(put64(put32(buf_reserve(out, FIELD_BYTES), 16), (uint64_t)us), 0);
	out->len += 20;
}

static void put_decimal(const struct column *c, uint32_t row, struct buf *out)
{
	if (c->type.kind == TYPE_INT)
		put_numeric(out, column_int(c, row), 0);
	else
		put_numeric(out, column_decimal(c, row), c->type.scale);
}

static int put_uuid(const struct rows_column *rc, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	uint8_t bytes[UUID_BYTES];

	if (!read_uuid(column_text(&b->columns[rc->column], row), bytes))
		return refuse(rc, b, row, "is no uuid", e);
	put_bytes(out, bytes, sizeof bytes);
	return 0;
}

static int put_field(const struct rows_column *rc, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	const struct column *c = &b->columns[rc->column];
	struct text_view t;

	if (!column_is_valid(c, row)) {
		put32(buf_reserve(out, FIELD_BYTES), UINT32_MAX);
		out->len += 4;
		return 0;
	}
	switch (rc->form) {
	case POSTGRES_BOOL: {
		uint8_t v = column_bool(c, row);

		put_bytes(out, &v, 1);
		return 0;
	}
	case POSTGRES_INT8: put_fixed64(out, (uint64_t)column_int(c, row)); return 0;
	case POSTGRES_INT2:
	case POSTGRES_INT4:
	case POSTGRES_OID: return put_int(rc, b, row, column_int(c, row), out, e);
	case POSTGRES_FLOAT4: return put_float4(rc, b, row, column_float(c, row), out, e);
	case POSTGRES_FLOAT8: put_float8(column_float(c, row), out); return 0;
	case POSTGRES_NUMERIC: put_decimal(c, row, out); return 0;
	case POSTGRES_DATE: return put_date(rc, b, row, out, e);
	case POSTGRES_TIMESTAMP: return put_timestamp(rc, b, row, out, e);
	case POSTGRES_INTERVAL:
		if (check_unit(rc, b, row, column_int(c, row), e) < 0)
			return -1;
		put_interval(column_int(c, row), out);
		return 0;
	case POSTGRES_TEXT:
	case POSTGRES_BYTEA:
		t = column_text(c, row);
		put_bytes(out, t.text, t.len);
		return 0;
	case POSTGRES_UUID: return put_uuid(rc, b, row, out, e);
	case POSTGRES_JSON:
	case POSTGRES_JSONB: return put_json(rc, b, row, out, e);
	case POSTGRES_ARRAY:
	case POSTGRES_OTHER: break;
	}
	MUST(!"a form that has no binary value here");
	return -1;
}

/* ---- text ---- */

static void put_escaped(struct buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const char *special = text[i] ? strchr("\b\f\n\r\t\v\\", text[i]) : NULL;

		if (!special) {
			buf_put_byte(out, (uint8_t)text[i]);
			continue;
		}
		buf_put_byte(out, '\\');
		buf_put_byte(out, (uint8_t) "bfnrtv\\"[special - "\b\f\n\r\t\v\\"]);
	}
}

static void put_hex(struct buf *out, struct text_view t)
{
	static const char digits[] = "0123456789abcdef";

	buf_put_text(out, "\\\\x");
	for (size_t i = 0; i < t.len; i++) {
		buf_put_byte(out, (uint8_t)digits[(uint8_t)t.text[i] >> 4]);
		buf_put_byte(out, (uint8_t)digits[(uint8_t)t.text[i] & 15]);
	}
}

/* ISO 8601 with the era behind, as the server reads years before the first. */
static void put_civil(struct buf *out, const struct civil *c, bool has_time)
{
	long long year = (long long)(c->year > 0 ? c->year : 1 - c->year);

	buf_printf(out, "%04lld-%02d-%02d", year, c->month, c->day);
	if (has_time)
		buf_printf(out, " %02d:%02d:%02d.%06d+00", c->hour, c->minute, c->second, c->us);
	if (c->year <= 0)
		buf_put_text(out, " BC");
}

static int put_any_text(const struct rows_column *rc, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	struct text_view t = column_text(&b->columns[rc->column], row);
	struct buf json = BUF_INIT;
	int status = 0;

	if (msgpack_put_json((const uint8_t *)t.text, t.len, &json) < 0)
		status = refuse(rc, b, row, "is no value that JSON has", e);
	else
		put_escaped(out, (const char *)json.data, json.len);
	buf_clear(&json);
	return status;
}

static int put_text_field(const struct rows_column *rc, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	const struct column *c = &b->columns[rc->column];
	struct text_view t;
	struct civil civil;
	char text[64];

	if (!column_is_valid(c, row)) {
		buf_put_text(out, "\\N");
		return 0;
	}
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: buf_put_byte(out, column_bool(c, row) ? 't' : 'f'); return 0;
	case TYPE_INT: buf_put(out, text, int_put(text, column_int(c, row))); return 0;
	case TYPE_FLOAT: buf_put(out, text, float_put(text, column_float(c, row), 0)); return 0;
	case TYPE_DECIMAL:
		buf_put(out, text, decimal_put(text, column_decimal(c, row), c->type.scale));
		return 0;
	case TYPE_DATE:
		civil_from_days(column_date(c, row), &civil);
		put_civil(out, &civil, false);
		return 0;
	case TYPE_TIMESTAMP:
		if (check_unit(rc, b, row, column_int(c, row), e) < 0)
			return -1;
		civil_from_us(column_int(c, row), &civil);
		put_civil(out, &civil, true);
		return 0;
	case TYPE_DURATION:
		if (check_unit(rc, b, row, column_int(c, row), e) < 0)
			return -1;
		buf_printf(out, "%lld us", (long long)column_int(c, row));
		return 0;
	case TYPE_STRING:
		t = column_text(c, row);
		put_escaped(out, t.text, t.len);
		return 0;
	case TYPE_BYTES: put_hex(out, column_text(c, row)); return 0;
	case TYPE_ANY: return put_any_text(rc, b, row, out, e);
	}
	return 0;
}

static int put_text_row(const struct rows_format *f, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	for (size_t c = 0; c < f->columns_len; c++) {
		if (c)
			buf_put_byte(out, '\t');
		if (put_text_field(&f->columns[c], b, row, out, e) < 0)
			return -1;
	}
	buf_put_byte(out, '\n');
	return 0;
}

static int put_binary_row(const struct rows_format *f, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	put16(buf_reserve(out, 2), (uint16_t)f->columns_len);
	out->len += 2;
	for (size_t c = 0; c < f->columns_len; c++) {
		if (put_field(&f->columns[c], b, row, out, e) < 0)
			return -1;
	}
	return 0;
}

int rows_put(const struct rows_format *f, const struct batch *b, const uint32_t *pick, uint32_t n,
	struct buf *out, struct error *e)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t row = pick ? pick[i] : i;

		if ((f->is_text ? put_text_row(f, b, row, out, e)
				: put_binary_row(f, b, row, out, e)) < 0)
			return -1;
	}
	return 0;
}
