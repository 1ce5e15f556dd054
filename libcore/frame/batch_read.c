/* BATCH and ROWS to columns. */
#include "libcore/frame/frame.h"

#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"
#include "libcore/base/utf8.h"
#include "libcore/table/builder.h"

struct batch_body {
	struct msgpack m;
	uint32_t elements; /* of the array, still to come */
	uint32_t rows;
	bool check_text;
	struct arena *arena;
};

static int malformed(struct error *e, const char *what)
{
	return error_set(e, ERROR_DATA, "malformed frame: %s", what);
}

static int bad_column(struct error *e, const struct field *f, const char *what)
{
	return error_set(e, ERROR_DATA, "malformed frame: column '%s': %s", f->name, what);
}

/* ---- BATCH ---- */

/* The next buffer: nils are padding.  0, 1 if only padding is left, -1 for anything else. */
static int next_buffer(struct batch_body *in, const uint8_t **data, uint32_t *len)
{
	struct msgpack_item item;

	while (in->elements) {
		in->elements--;
		if (msgpack_next(&in->m, &item) != 0)
			return -1;
		if (item.kind == MSGPACK_NIL)
			continue;
		if (item.kind != MSGPACK_BIN)
			return -1;
		*data = item.bytes;
		*len = item.bytes_len;
		return 0;
	}
	return 1;
}

/* In place where it is aligned, else a copy. */
static const void *aligned(struct batch_body *in, const uint8_t *data, size_t len, size_t align)
{
	void *copy;

	if (((uintptr_t)data & (align - 1)) == 0)
		return data;
	copy = arena_alloc(in->arena, len);
	memcpy(copy, data, len);
	return copy;
}

static int read_valid(struct batch_body *in, const struct field *f, struct column *out,
	struct error *e)
{
	const uint8_t *data;
	uint32_t len;

	if (next_buffer(in, &data, &len) != 0)
		return bad_column(e, f, "no validity buffer");
	if (len != 0 && len != (in->rows + 7) / 8)
		return bad_column(e, f, "the validity buffer's length is wrong");
	out->valid = len ? data : NULL;
	return 0;
}

/* Kernels compute with the bytes under nulls too, so those become bools where they aren't. */
static int check_bools(struct batch_body *in, const uint8_t *data, const struct field *f,
	struct column *out, struct error *e)
{
	uint8_t all = 0, *clean;

	for (uint32_t r = 0; r < in->rows; r++)
		all |= data[r];
	if (all <= 1)
		return 0;
	clean = arena_alloc(in->arena, in->rows);
	for (uint32_t r = 0; r < in->rows; r++) {
		if (data[r] > 1 && column_is_valid(out, r))
			return bad_column(e, f, "a bool that is neither 0 nor 1");
		clean[r] = data[r] & 1;
	}
	out->data = clean;
	return 0;
}

/* A value out of the precision would overflow where the arithmetic trusts it. */
static int check_decimals(const struct column *c, uint32_t rows, const struct field *f,
	struct error *e)
{
	__int128 limit = decimal_pow10[f->type.precision > 37 ? 37 : f->type.precision];

	if (f->type.precision == 38)
		limit *= 10;
	for (uint32_t r = 0; r < rows; r++) {
		__int128 v = column_decimal(c, r);

		if ((v >= limit || v <= -limit) && column_is_valid(c, r))
			return bad_column(e, f, "a decimal beyond its precision");
	}
	return 0;
}

static int read_fixed(struct batch_body *in, const struct field *f, struct column *out,
	struct error *e)
{
	size_t width = type_width(f->type);
	const uint8_t *data;
	uint32_t len;

	if (next_buffer(in, &data, &len) != 0)
		return bad_column(e, f, "no values");
	if (len != in->rows * width)
		return bad_column(e, f, "the values' length is wrong");
	out->data = aligned(in, data, len, width > 8 ? 8 : width);
	if (f->type.kind == TYPE_BOOL)
		return check_bools(in, data, f, out, e);
	if (f->type.kind == TYPE_DECIMAL)
		return check_decimals(out, in->rows, f, e);
	return 0;
}

static int check_texts(const struct column *c, uint32_t rows, const struct field *f,
	struct error *e)
{
	const char *bytes = (const char *)c->bytes;

	/* One pass finds the usual case: all of it ASCII, so every value is. */
	if (c->offsets[rows] == 0 || utf8_is_ascii(bytes, c->offsets[rows]))
		return 0;
	for (uint32_t r = 0; r < rows; r++) {
		struct text_view v = column_text(c, r);

		if (column_is_valid(c, r) && !utf8_valid(v.text, v.len))
			return bad_column(e, f, "a string that is no UTF-8");
	}
	return 0;
}

static int check_anys(const struct column *c, uint32_t rows, const struct field *f,
	struct error *e)
{
	for (uint32_t r = 0; r < rows; r++) {
		struct text_view v = column_text(c, r);

		if (column_is_valid(c, r) && !msgpack_is_valid((const uint8_t *)v.text, v.len))
			return bad_column(e, f, "an any value that is no msgpack object");
	}
	return 0;
}

static int read_text(struct batch_body *in, const struct field *f, struct column *out,
	struct error *e)
{
	const uint8_t *data, *bytes;
	uint32_t len, bytes_len, falls = 0;
	const uint32_t *offsets;

	if (next_buffer(in, &data, &len) != 0 || next_buffer(in, &bytes, &bytes_len) != 0)
		return bad_column(e, f, "no offsets or no bytes");
	if (len != ((uint64_t)in->rows + 1) * sizeof *offsets)
		return bad_column(e, f, "the offsets' length is wrong");
	offsets = aligned(in, data, len, sizeof *offsets);
	for (uint32_t r = 0; r < in->rows; r++)
		falls |= offsets[r + 1] < offsets[r];
	if (falls || offsets[0] != 0)
		return bad_column(e, f, "offsets fall, or don't start at 0");
	if (offsets[in->rows] != bytes_len)
		return bad_column(e, f, "the last offset is not the bytes' length");
	out->offsets = offsets;
	out->bytes = bytes;
	if (in->check_text && f->type.kind == TYPE_STRING)
		return check_texts(out, in->rows, f, e);
	return f->type.kind == TYPE_ANY ? check_anys(out, in->rows, f, e) : 0;
}

static int read_ops(struct batch_body *in, struct batch *out, struct error *e)
{
	const uint8_t *data;
	uint32_t len;

	if (next_buffer(in, &data, &len) != 0 || len != in->rows)
		return malformed(e, "a changelog's batch without one op per row");
	for (uint32_t r = 0; r < in->rows; r++) {
		if (data[r] > ROW_DELETE)
			return malformed(e, "an op above 3");
	}
	out->ops = data;
	return 0;
}

static int read_columns(struct batch_body *in, const struct schema *s, struct batch *out,
	struct error *e)
{
	struct column *columns = arena_alloc(in->arena, s->fields_len * sizeof *columns);
	const uint8_t *data;
	uint32_t len;

	for (size_t i = 0; i < s->fields_len; i++) {
		const struct field *f = &s->fields[i];

		columns[i] = (struct column){.type = f->type};
		if (read_valid(in, f, &columns[i], e) < 0)
			return -1;
		if (type_is_text(f->type) ? read_text(in, f, &columns[i], e) :
			read_fixed(in, f, &columns[i], e))
			return -1;
	}
	*out = (struct batch){.schema = s, .rows = in->rows, .columns = columns};
	if (s->changelog && read_ops(in, out, e) < 0)
		return -1;
	switch (next_buffer(in, &data, &len)) {
	case 0: return malformed(e, "more buffers than the schema has");
	case 1: break;
	default: return malformed(e, "something that is no buffer behind the last column");
	}
	return in->m.at != in->m.end ? malformed(e, "bytes behind the batch") : 0;
}

/* ---- ROWS ---- */

static bool item_int(const struct msgpack_item *item, int64_t *out)
{
	*out = item->integer;
	return item->kind == MSGPACK_INT;
}

static uint64_t be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

/* msgpack's own timestamp: ext -1 of 4, 8 or 12 bytes. */
static bool item_timestamp(const struct msgpack_item *item, int64_t *us)
{
	uint64_t word;
	int64_t seconds, ns;

	if (item->kind == MSGPACK_INT)
		return item_int(item, us);
	if (item->kind != MSGPACK_EXT || item->ext_type != -1)
		return false;
	if (item->bytes_len == 4) {
		seconds = (int64_t)be(item->bytes, 4);
		ns = 0;
	} else if (item->bytes_len == 8) {
		word = be(item->bytes, 8);
		seconds = (int64_t)(word & ((UINT64_C(1) << 34) - 1));
		ns = (int64_t)(word >> 34);
	} else if (item->bytes_len == 12) {
		ns = (int64_t)be(item->bytes, 4);
		seconds = (int64_t)be(item->bytes + 4, 8);
	} else {
		return false;
	}
	return ns < 1000000000 && !__builtin_mul_overflow(seconds, 1000000, us) &&
		!__builtin_add_overflow(*us, ns / 1000, us);
}

static bool put_decimal(struct column_builder *b, const struct msgpack_item *item)
{
	struct decimal_shape shape = {b->type.precision, b->type.scale};
	__int128 v;

	if (item->kind == MSGPACK_INT) {
		if (decimal_from_int(item->integer, shape, &v) != NUMBER_OK)
			return false;
	} else if (item->kind != MSGPACK_STR || decimal_parse((const char *)item->bytes,
		item->bytes_len, shape, false, &v) != NUMBER_OK) {
		return false;
	}
	builder_put_decimal(b, v);
	return true;
}

static bool put_float(struct column_builder *b, const struct msgpack_item *item)
{
	if (item->kind == MSGPACK_FLOAT)
		builder_put_float(b, item->real);
	else if (item->kind == MSGPACK_INT)
		builder_put_float(b, (double)item->integer);
	else if (item->kind == MSGPACK_UINT)
		builder_put_float(b, (double)item->uint);
	else
		return false;
	return true;
}

static bool put_text(struct column_builder *b, const struct msgpack_item *item)
{
	bool is_text = item->kind == MSGPACK_STR &&
		utf8_valid((const char *)item->bytes, item->bytes_len);

	if (b->type.kind == TYPE_STRING ? !is_text :
		item->kind != MSGPACK_BIN && item->kind != MSGPACK_STR)
		return false;
	builder_put_text(b, item->bytes, item->bytes_len);
	return true;
}

/* One scalar of ROWS; false if it is not of the column's type. */
static bool put_value(struct column_builder *b, const struct msgpack_item *item)
{
	int64_t v;

	switch ((enum type_kind)b->type.kind) {
	case TYPE_BOOL:
		if (item->kind != MSGPACK_BOOL)
			return false;
		builder_put_bool(b, item->boolean);
		return true;
	case TYPE_INT:
	case TYPE_DURATION:
		if (!item_int(item, &v))
			return false;
		builder_put_int(b, v);
		return true;
	case TYPE_TIMESTAMP:
		if (!item_timestamp(item, &v))
			return false;
		builder_put_int(b, v);
		return true;
	case TYPE_DATE:
		if (!item_int(item, &v) || v < INT32_MIN || v > INT32_MAX)
			return false;
		builder_put_date(b, (int32_t)v);
		return true;
	case TYPE_FLOAT: return put_float(b, item);
	case TYPE_DECIMAL: return put_decimal(b, item);
	case TYPE_STRING:
	case TYPE_BYTES: return put_text(b, item);
	case TYPE_ANY: break;
	}
	return false;
}

static int read_row_value(struct batch_body *in, const struct field *f, struct column_builder *b,
	uint32_t row, struct error *e)
{
	const uint8_t *from = in->m.at;
	struct msgpack whole = in->m;
	struct msgpack_item item;

	if (msgpack_next(&in->m, &item) != 0)
		return malformed(e, "ROWS: cut short");
	if (item.kind == MSGPACK_NIL) {
		builder_put_null(b);
		return 0;
	}
	if (f->type.kind != TYPE_ANY) {
		if (put_value(b, &item))
			return 0;
		return error_set(e, ERROR_DATA, "malformed frame: ROWS: row %u: column '%s' is no %s",
			row + 1, f->name, type_name(f->type));
	}
	if (msgpack_skip(&whole) < 0 || !msgpack_is_valid(from, (size_t)(whole.at - from)))
		return malformed(e, "ROWS: a malformed any value");
	in->m = whole;
	builder_put_text(b, from, (size_t)(whole.at - from));
	return 0;
}

static int read_row(struct batch_body *in, const struct schema *s, struct batch_builder *rows,
	uint32_t row, struct error *e)
{
	struct msgpack_item item;
	uint32_t values = (uint32_t)s->fields_len + s->changelog;

	if (msgpack_next(&in->m, &item) != 0 || item.kind != MSGPACK_ARRAY || item.count != values)
		return error_set(e, ERROR_DATA,
			"malformed frame: ROWS: row %u is no array of %u values", row + 1, values);
	for (size_t i = 0; i < s->fields_len; i++) {
		if (read_row_value(in, &s->fields[i], &rows->columns[i], row, e) < 0)
			return -1;
	}
	if (!s->changelog)
		return 0;
	if (msgpack_next(&in->m, &item) != 0 || item.kind != MSGPACK_INT || item.integer < 0 ||
		item.integer > ROW_DELETE)
		return error_set(e, ERROR_DATA, "malformed frame: ROWS: row %u has no op", row + 1);
	buf_put_byte(&rows->ops, (uint8_t)item.integer);
	return 0;
}

static int read_rows(struct batch_body *in, const struct schema *s, struct batch *out,
	struct error *e)
{
	struct msgpack_item array;
	struct batch_builder rows;
	struct batch whole;
	int status = 0;

	if (msgpack_next(&in->m, &array) != 0 || array.kind != MSGPACK_ARRAY)
		return malformed(e, "ROWS: the rows are no array");
	if (array.count > FRAME_ROWS_MAX || (uint64_t)array.count * s->fields_len > FRAME_BODY_MAX)
		return malformed(e, "ROWS: too many rows");
	batch_builder_init(&rows, s);
	for (uint32_t r = 0; r < array.count && status == 0; r++)
		status = read_row(in, s, &rows, r, e);
	if (status == 0 && in->m.at != in->m.end)
		status = malformed(e, "bytes behind the rows");
	if (status == 0) { /* the builders go, the arena stays */
		uint32_t *all = arena_alloc(in->arena, array.count * sizeof *all);

		rows.batch.rows = array.count;
		for (uint32_t r = 0; r < array.count; r++)
			all[r] = r;
		whole = *batch_builder_view(&rows);
		batch_gather(&whole, all, array.count, in->arena, out);
	}
	batch_builder_clear(&rows);
	return status;
}

int frame_read_batch(const struct frame *f, const struct schema *s, bool check_text,
	struct arena *a, struct batch *out, struct error *e)
{
	struct batch_body in = {.m = {f->body, f->body + f->body_bytes}, .check_text = check_text,
		.arena = a};
	struct msgpack_item item;

	if (msgpack_next(&in.m, &item) != 0 || item.kind != MSGPACK_ARRAY || item.count < 2)
		return malformed(e, "rows are no array of two or more");
	in.elements = item.count - 2;
	if (msgpack_next(&in.m, &item) != 0 || item.kind != MSGPACK_INT)
		return malformed(e, "rows: no schema id");
	if (f->kind == FRAME_ROWS)
		return read_rows(&in, s, out, e);
	if (msgpack_next(&in.m, &item) != 0 || item.kind != MSGPACK_INT || item.integer < 0 ||
		item.integer > FRAME_ROWS_MAX)
		return malformed(e, "BATCH: no number of rows, or too many");
	in.rows = (uint32_t)item.integer;
	return read_columns(&in, s, out, e);
}
