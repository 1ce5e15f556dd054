#include "libcore/table/column.h"

#include "libcore/base/arena.h"
#include "libcore/base/civil.h"
#include "libcore/base/error.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

#include <math.h>

char *column_strdup(const struct column *c, uint32_t row)
{
	struct text_view t;

	if (!column_is_valid(c, row))
		return NULL;
	t = column_text(c, row);
	return mem_strndup(t.len ? t.text : "", t.len);
}

uint32_t column_nulls(const struct column *c, uint32_t rows)
{
	uint32_t valid = 0, whole = rows / 8;

	if (!c->valid)
		return 0;
	for (uint32_t i = 0; i < whole; i++)
		valid += (uint32_t)__builtin_popcount(c->valid[i]);
	if (rows & 7)
		valid += (uint32_t)__builtin_popcount(c->valid[whole] & ((1u << (rows & 7)) - 1));
	return rows - valid;
}

size_t batch_bytes(const struct batch *b)
{
	size_t bytes = b->ops ? b->rows : 0;

	for (size_t i = 0; i < b->schema->fields_len; i++) {
		const struct column *c = &b->columns[i];

		if (type_is_text(c->type))
			bytes += c->offsets[b->rows] + ((size_t)b->rows + 1) * sizeof *c->offsets;
		else
			bytes += b->rows * type_width(c->type);
	}
	return bytes;
}

static const uint8_t *slice_bits(const uint8_t *bits, uint32_t first, uint32_t rows, struct arena *a)
{
	size_t bytes = ((size_t)rows + 7) / 8;
	unsigned shift = first & 7;
	uint8_t *out;

	if (!bits || !shift)
		return bits ? bits + first / 8 : NULL;
	out = arena_alloc(a, bytes + 1);
	for (size_t i = 0; i < bytes; i++) {
		/* The byte behind the last one is read only where one of its bits is wanted. */
		bool more = i * 8 + 8 - shift < rows;
		unsigned next = more ? bits[first / 8 + i + 1] : 0;

		out[i] = (uint8_t)(bits[first / 8 + i] >> shift | next << (8 - shift));
	}
	return out;
}

static void column_slice(const struct column *c, uint32_t first, uint32_t rows, struct arena *a,
	struct column *out)
{
	uint32_t *offsets;

	*out = *c;
	out->valid = slice_bits(c->valid, first, rows, a);
	if (!type_is_text(c->type)) {
		out->data = (const uint8_t *)c->data + (size_t)first * type_width(c->type);
		return;
	}
	offsets = arena_alloc(a, ((size_t)rows + 1) * sizeof *offsets);
	for (uint32_t r = 0; r <= rows; r++)
		offsets[r] = c->offsets[first + r] - c->offsets[first];
	out->offsets = offsets;
	if (c->bytes)
		out->bytes = c->bytes + c->offsets[first];
}

void batch_slice(const struct batch *b, uint32_t first, uint32_t rows, struct arena *a,
	struct batch *out)
{
	size_t n = b->schema->fields_len;
	struct column *columns = arena_alloc(a, n * sizeof *columns);

	MUST(first <= b->rows && rows <= b->rows - first);
	for (size_t i = 0; i < n; i++)
		column_slice(&b->columns[i], first, rows, a, &columns[i]);
	*out = (struct batch){.schema = b->schema, .rows = rows, .columns = columns,
		.ops = b->ops ? b->ops + first : NULL};
}

/* ---- gather ---- */

#define GATHER(ctype, any_none) \
	do { \
		ctype *to_ = arena_alloc(a, (size_t)n * sizeof *to_); \
		const ctype *from_ = c->data; \
		if (any_none) \
			for (uint32_t i = 0; i < n; i++) \
				to_[i] = pick[i] == ROW_NONE ? 0 : from_[pick[i]]; \
		else \
			for (uint32_t i = 0; i < n; i++) \
				to_[i] = from_[pick[i]]; \
		out->data = to_; \
	} while (0)

static void gather_wide(const struct column *c, const uint32_t *pick, uint32_t n, struct arena *a,
	struct column *out)
{
	uint8_t *to = arena_alloc(a, (size_t)n * 16);
	const uint8_t *from = c->data;

	for (uint32_t i = 0; i < n; i++) {
		if (pick[i] == ROW_NONE)
			memset(to + (size_t)i * 16, 0, 16);
		else
			memcpy(to + (size_t)i * 16, from + (size_t)pick[i] * 16, 16);
	}
	out->data = to;
}

static void gather_text(const struct column *c, const uint32_t *pick, uint32_t n, struct arena *a,
	struct column *out)
{
	uint32_t *offsets = arena_alloc(a, ((size_t)n + 1) * sizeof *offsets);
	uint64_t total = 0;
	uint8_t *bytes;

	for (uint32_t i = 0; i < n; i++) {
		offsets[i] = (uint32_t)total;
		if (pick[i] != ROW_NONE)
			total += c->offsets[pick[i] + 1] - c->offsets[pick[i]];
	}
	MUST(total <= UINT32_MAX);
	offsets[n] = (uint32_t)total;
	bytes = arena_alloc(a, total);
	for (uint32_t i = 0; i < n; i++) {
		if (offsets[i + 1] > offsets[i])
			memcpy(bytes + offsets[i], c->bytes + c->offsets[pick[i]],
				offsets[i + 1] - offsets[i]);
	}
	out->offsets = offsets;
	out->bytes = bytes;
}

static const uint8_t *gather_valid(const struct column *c, const uint32_t *pick, uint32_t n,
	struct arena *a, bool any_none)
{
	uint8_t *valid;

	if (!c->valid && !any_none)
		return NULL;
	valid = arena_zero(a, ((size_t)n + 7) / 8);
	for (uint32_t i = 0; i < n; i++) {
		unsigned bit = pick[i] != ROW_NONE && column_is_valid(c, pick[i]);

		valid[i >> 3] |= (uint8_t)(bit << (i & 7));
	}
	return valid;
}

void column_gather(const struct column *c, const uint32_t *pick, uint32_t n, struct arena *a,
	struct column *out)
{
	bool any_none = false;

	for (uint32_t i = 0; i < n; i++)
		any_none |= pick[i] == ROW_NONE;
	*out = (struct column){.type = c->type};
	out->valid = gather_valid(c, pick, n, a, any_none);
	switch (type_width(c->type)) {
	case 0: gather_text(c, pick, n, a, out); break;
	case 1: GATHER(uint8_t, any_none); break;
	case 4: GATHER(uint32_t, any_none); break;
	case 8: GATHER(uint64_t, any_none); break;
	case 16: gather_wide(c, pick, n, a, out); break;
	}
}

void batch_gather(const struct batch *b, const uint32_t *pick, uint32_t n, struct arena *a,
	struct batch *out)
{
	size_t fields = b->schema->fields_len;
	struct column *columns = arena_alloc(a, fields * sizeof *columns);
	uint8_t *ops = NULL;

	for (size_t i = 0; i < fields; i++)
		column_gather(&b->columns[i], pick, n, a, &columns[i]);
	if (b->ops) {
		ops = arena_alloc(a, n);
		for (uint32_t i = 0; i < n; i++)
			ops[i] = b->ops[pick[i]];
	}
	*out = (struct batch){.schema = b->schema, .rows = n, .columns = columns, .ops = ops};
}

/* ---- text for messages ---- */

static void put_cut(const uint8_t *text, size_t len, size_t bytes_max, struct buf *b)
{
	if (len <= bytes_max) {
		buf_put(b, text, len);
		return;
	}
	while (bytes_max && (text[bytes_max] & 0xc0) == 0x80)
		bytes_max--; /* not through the middle of a character */
	buf_put(b, text, bytes_max);
	buf_put_text(b, "...");
}

static void put_any(struct text_view v, size_t bytes_max, struct buf *b)
{
	struct buf json = BUF_INIT;

	if (msgpack_put_json((const uint8_t *)v.text, v.len, &json) < 0)
		buf_put_text(b, "<malformed>");
	else
		put_cut(json.data, json.len, bytes_max, b);
	buf_clear(&json);
}

static void put_bytes(struct text_view v, size_t bytes_max, struct buf *b)
{
	size_t n = v.len < bytes_max / 2 ? v.len : bytes_max / 2;

	buf_put_text(b, "\\x");
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "%02x", (uint8_t)v.text[i]);
	if (n < v.len)
		buf_put_text(b, "...");
}

static size_t put_fixed(const struct column *c, uint32_t row, char out[64])
{
	switch ((enum type_kind)c->type.kind) {
	case TYPE_INT: return int_put(out, column_int(c, row));
	case TYPE_FLOAT: return float_put(out, column_float(c, row), 0);
	case TYPE_DECIMAL: return decimal_put(out, column_decimal(c, row), c->type.scale);
	case TYPE_DATE: return date_put(out, column_date(c, row));
	case TYPE_TIMESTAMP: return timestamp_put(out, column_int(c, row));
	case TYPE_DURATION: return duration_put(out, column_int(c, row));
	case TYPE_BOOL:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return 0;
}

int batch_times(const struct batch *b, struct arena *a, const int64_t **out, struct error *e)
{
	const struct schema *s = b->schema;
	const struct column *c = &b->columns[s->time_column];
	int64_t *times;

	for (uint32_t r = 0; c->valid && r < b->rows; r++) {
		if (!column_is_valid(c, r))
			return error_set(e, ERROR_DATA, "the event time '%s' of a row is null",
				s->fields[s->time_column].name);
	}
	*out = c->data;
	if (s->time_offset_us == 0)
		return 0;
	times = arena_alloc(a, ((size_t)b->rows + 1) * sizeof *times);
	for (uint32_t r = 0; r < b->rows; r++) {
		if (__builtin_add_overflow(column_int(c, r), s->time_offset_us, &times[r]))
			times[r] = s->time_offset_us < 0 ? INT64_MIN : INT64_MAX;
	}
	*out = times;
	return 0;
}

void column_put_text(const struct column *c, uint32_t row, size_t bytes_max, struct buf *b)
{
	char fixed[64];

	if (!column_is_valid(c, row)) {
		buf_put_text(b, "null");
		return;
	}
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: buf_put_text(b, column_bool(c, row) ? "true" : "false"); break;
	case TYPE_STRING:
		put_cut((const uint8_t *)column_text(c, row).text, column_text(c, row).len,
			bytes_max, b);
		break;
	case TYPE_BYTES: put_bytes(column_text(c, row), bytes_max, b); break;
	case TYPE_ANY: put_any(column_text(c, row), bytes_max, b); break;
	case TYPE_INT:
	case TYPE_FLOAT:
	case TYPE_DECIMAL:
	case TYPE_DATE:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: buf_put(b, fixed, put_fixed(c, row, fixed)); break;
	}
}

enum { SHOWN_VALUE_BYTES = 40, SHOWN_COLUMNS = 20 };

void batch_put_row(const struct batch *b, uint32_t row, struct buf *out)
{
	for (size_t i = 0; i < b->schema->fields_len; i++) {
		if (i)
			buf_put_text(out, ", ");
		if (i == SHOWN_COLUMNS) {
			buf_put_text(out, "...");
			return;
		}
		schema_put_name(b->schema->fields[i].name, out);
		buf_put_byte(out, '=');
		column_put_text(&b->columns[i], row, SHOWN_VALUE_BYTES, out);
	}
}
