#include "cmd/ssink/connected/postgres_rows.h"

#include "libcore/base/civil.h"
#include "libcore/base/msgpack.h"

#include <endian.h>
#include <string.h>

enum { ARRAY_DIMENSIONS_MAX = 6 }; /* of the server */

bool rows_is_binary(enum postgres_form form)
{
	return form != POSTGRES_ARRAY && form != POSTGRES_OTHER;
}

void rows_put_head(const struct rows_format *f, struct buf *out)
{
	if (!f->is_text)
		buf_put(out, postgres_copy_header, POSTGRES_COPY_HEADER_BYTES);
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
	error_set(e, ERROR_DATA, "column '%s' (there %s): %s, which is %s", name, rc->type,
		buf_cstr(&value), why);
	error_hint(e, "the row: %s", buf_cstr(&all));
	buf_clear(&value);
	buf_clear(&all);
	return -1;
}

static int check_unit(const struct rows_column *rc, const struct batch *b, uint32_t row, int64_t us,
	struct error *e)
{
	if (!rc->unit_us || us % rc->unit_us == 0)
		return 0;
	refuse(rc, b, row, "a time with more digits of a second than the column keeps", e);
	return error_hint(e, "cut them off in front: date_trunc('%s', ...)",
		rc->unit_us == 1000 ? "milliseconds" : "seconds");
}

/* ---- binary ---- */

static int put_field(const struct rows_column *rc, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	const struct column *c = &b->columns[rc->column];
	const char *why;

	if (rc->unit_us && column_is_valid(c, row) && c->type.kind != TYPE_DATE &&
		check_unit(rc, b, row, column_int(c, row), e) < 0)
		return -1;
	if (postgres_put_binary(c, row, rc->form, out, &why) < 0)
		return refuse(rc, b, row, why, e);
	return 0;
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

static void put_digits(struct buf *out, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		buf_put_byte(out, (uint8_t)digits[bytes[i] >> 4]);
		buf_put_byte(out, (uint8_t)digits[bytes[i] & 15]);
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

/* ---- arrays: {1,2,null,{"a b"}} ---- */

static void put_element_text(struct buf *out, const char *text, size_t len)
{
	buf_put_byte(out, '"');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"' || text[i] == '\\')
			buf_put_byte(out, '\\');
		buf_put_byte(out, (uint8_t)text[i]);
	}
	buf_put_byte(out, '"');
}

static int put_element_json(struct msgpack *m, struct buf *out)
{
	const uint8_t *begin = m->at;
	struct buf json = BUF_INIT;
	int status = msgpack_skip(m) < 0 ? -1
					 : msgpack_put_json(begin, (size_t)(m->at - begin), &json);

	if (status == 0)
		put_element_text(out, (const char *)json.data, json.len);
	buf_clear(&json);
	return status;
}

static int put_array_items(const struct rows_column *rc, struct msgpack *m, uint32_t n,
	unsigned depth, struct buf *out);

static int put_element(
	const struct rows_column *rc, struct msgpack *m, unsigned depth, struct buf *out)
{
	bool is_json = rc->element == POSTGRES_JSON || rc->element == POSTGRES_JSONB;
	const uint8_t *begin = m->at;
	struct msgpack_item item;
	char text[FLOAT_TEXT_MAX];

	if (msgpack_next(m, &item) != 0)
		return -1;
	if (item.kind == MSGPACK_NIL) {
		buf_put_text(out, "null");
		return 0;
	}
	if (is_json || item.kind == MSGPACK_MAP || item.kind == MSGPACK_EXT ||
		item.kind == MSGPACK_UINT) {
		m->at = begin;
		return put_element_json(m, out);
	}
	switch (item.kind) {
	case MSGPACK_ARRAY: return put_array_items(rc, m, item.count, depth + 1, out);
	case MSGPACK_BOOL: buf_put_byte(out, item.boolean ? 't' : 'f'); return 0;
	case MSGPACK_INT: buf_put(out, text, int_put(text, item.integer)); return 0;
	case MSGPACK_FLOAT: buf_put(out, text, float_put(text, item.real, 0)); return 0;
	case MSGPACK_STR: put_element_text(out, (const char *)item.bytes, item.bytes_len); return 0;
	case MSGPACK_BIN:
		buf_put_text(out, "\"\\\\x");
		put_digits(out, item.bytes, item.bytes_len);
		buf_put_byte(out, '"');
		return 0;
	case MSGPACK_NIL:
	case MSGPACK_UINT:
	case MSGPACK_MAP:
	case MSGPACK_EXT: break;
	}
	return -1;
}

static int put_array_items(const struct rows_column *rc, struct msgpack *m, uint32_t n,
	unsigned depth, struct buf *out)
{
	if (depth > ARRAY_DIMENSIONS_MAX)
		return -1;
	buf_put_byte(out, '{');
	for (uint32_t i = 0; i < n; i++) {
		if (i)
			buf_put_byte(out, (uint8_t)rc->delimiter);
		if (put_element(rc, m, depth, out) < 0)
			return -1;
	}
	buf_put_byte(out, '}');
	return 0;
}

static int put_array(const struct rows_column *rc, struct text_view t, struct buf *out)
{
	struct msgpack m = {(const uint8_t *)t.text, (const uint8_t *)t.text + t.len};
	struct msgpack_item item;

	if (msgpack_next(&m, &item) != 0 || item.kind != MSGPACK_ARRAY)
		return -1;
	return put_array_items(rc, &m, item.count, 1, out);
}

static int put_any_text(const struct rows_column *rc, const struct batch *b, uint32_t row,
	struct buf *out, struct error *e)
{
	struct text_view t = column_text(&b->columns[rc->column], row);
	bool is_array = rc->form == POSTGRES_ARRAY;
	struct buf text = BUF_INIT;
	int status;

	status = is_array ? put_array(rc, t, &text)
			  : msgpack_put_json((const uint8_t *)t.text, t.len, &text);
	if (status < 0)
		refuse(rc, b, row, is_array ? "no array" : "a value too deep for JSON", e);
	else
		put_escaped(out, (const char *)text.data, text.len);
	buf_clear(&text);
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
	case TYPE_BYTES:
		t = column_text(c, row);
		buf_put_text(out, "\\\\x");
		put_digits(out, (const uint8_t *)t.text, t.len);
		return 0;
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
	uint16_t columns = htobe16((uint16_t)f->columns_len);

	buf_put(out, &columns, sizeof columns);
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
