#include "libcore/table/builder.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

enum { ROWS_FIRST = 64 };

void builder_init(struct column_builder *b, struct type type)
{
	*b = (struct column_builder){.type = type, .width = (uint32_t)type_width(type)};
}

static size_t data_bytes(const struct column_builder *b, uint32_t rows)
{
	return (size_t)rows * b->width;
}

void builder_clear(struct column_builder *b)
{
	mem_free(b->valid);
	mem_column_free(b->data, data_bytes(b, b->rows_cap));
	mem_free(b->offsets);
	buf_clear(&b->bytes);
	builder_init(b, b->type);
}

void builder_reset(struct column_builder *b)
{
	b->rows = b->nulls = 0;
	buf_reset(&b->bytes);
}

static size_t bitmap_bytes(uint32_t rows)
{
	return ((size_t)rows + 7) / 8;
}

static void grow(struct column_builder *b, uint32_t more)
{
	uint64_t needed = (uint64_t)b->rows + more;
	uint64_t cap = b->rows_cap ? (uint64_t)b->rows_cap * 2 : ROWS_FIRST;

	if (cap < needed)
		cap = needed;
	MUST(cap <= UINT32_MAX / 2);
	if (b->width) {
		b->data = mem_column_resize(b->data, data_bytes(b, b->rows_cap),
			data_bytes(b, (uint32_t)cap));
	} else {
		b->offsets = mem_resize(b->offsets, (cap + 1) * sizeof *b->offsets);
		b->offsets[0] = 0;
	}
	if (b->valid)
		b->valid = mem_resize(b->valid, bitmap_bytes((uint32_t)cap));
	b->rows_cap = (uint32_t)cap;
}

void builder_reserve(struct column_builder *b, uint32_t more)
{
	if (b->rows_cap - b->rows < more)
		grow(b, more);
}

/* ---- validity ---- */

/* Sets bits [first, first + n) to value. */
static void bits_fill(uint8_t *bits, uint32_t first, uint32_t n, bool value)
{
	uint32_t r = first, end = first + n;

	for (; r < end && (r & 7); r++)
		bits[r >> 3] = (uint8_t)((bits[r >> 3] & ~(1u << (r & 7))) | (unsigned)value << (r & 7));
	if (end - r >= 8)
		memset(bits + (r >> 3), value ? 0xff : 0, (end - r) / 8);
	for (r += (end - r) & ~7u; r < end; r++)
		bits[r >> 3] = (uint8_t)((bits[r >> 3] & ~(1u << (r & 7))) | (unsigned)value << (r & 7));
}

/* From now on there is a bitmap: all rows so far have values.  With no nulls since the last reset
 * an old bitmap is out of date. */
static void need_bitmap(struct column_builder *b)
{
	if (b->nulls)
		return;
	if (!b->valid)
		b->valid = mem_alloc(bitmap_bytes(b->rows_cap));
	bits_fill(b->valid, 0, b->rows, true);
}

static void mark_valid(struct column_builder *b, uint32_t n)
{
	if (b->nulls)
		bits_fill(b->valid, b->rows, n, true);
}

/* ---- one row ---- */

static void *next_value(struct column_builder *b)
{
	builder_reserve(b, 1);
	if (b->nulls)
		b->valid[b->rows >> 3] |= (uint8_t)(1u << (b->rows & 7));
	return b->data + (size_t)b->rows++ * b->width;
}

void builder_put_nulls(struct column_builder *b, uint32_t n)
{
	if (!n)
		return;
	builder_reserve(b, n);
	need_bitmap(b);
	bits_fill(b->valid, b->rows, n, false);
	b->nulls += n;
	if (b->width)
		memset(b->data + (size_t)b->rows * b->width, 0, (size_t)n * b->width);
	else
		for (uint32_t r = 0; r < n; r++)
			b->offsets[b->rows + r + 1] = (uint32_t)b->bytes.len;
	b->rows += n;
}

void builder_put_null(struct column_builder *b)
{
	builder_put_nulls(b, 1);
}

void builder_put_int(struct column_builder *b, int64_t v)
{
	MUST(b->type.kind == TYPE_INT || b->type.kind == TYPE_TIMESTAMP ||
		b->type.kind == TYPE_DURATION);
	*(int64_t *)next_value(b) = v;
}

void builder_put_float(struct column_builder *b, double v)
{
	MUST(b->type.kind == TYPE_FLOAT);
	*(double *)next_value(b) = v;
}

void builder_put_bool(struct column_builder *b, bool v)
{
	MUST(b->type.kind == TYPE_BOOL);
	*(uint8_t *)next_value(b) = v;
}

void builder_put_date(struct column_builder *b, int32_t days)
{
	MUST(b->type.kind == TYPE_DATE);
	*(int32_t *)next_value(b) = days;
}

void builder_put_decimal(struct column_builder *b, __int128 unscaled)
{
	MUST(b->type.kind == TYPE_DECIMAL);
	memcpy(next_value(b), &unscaled, sizeof unscaled);
}

void builder_put_text(struct column_builder *b, const void *text, size_t len)
{
	MUST(!b->width);
	builder_reserve(b, 1);
	mark_valid(b, 1);
	buf_put(&b->bytes, text, len);
	MUST(b->bytes.len <= UINT32_MAX);
	b->offsets[++b->rows] = (uint32_t)b->bytes.len;
}

void builder_put_string(struct column_builder *b, const char *text_or_null)
{
	if (text_or_null)
		builder_put_text(b, text_or_null, strlen(text_or_null));
	else
		builder_put_null(b);
}

void builder_put_int_unless(struct column_builder *b, bool unknown, int64_t v)
{
	if (unknown)
		builder_put_null(b);
	else
		builder_put_int(b, v);
}

/* ---- rows of other columns ---- */

void builder_put_from(struct column_builder *b, const struct column *c, uint32_t row)
{
	builder_put_rows(b, c, row, 1);
}

/* Validity of n rows of c from `first` on, behind the builder's rows (room is there). */
static void copy_valid(struct column_builder *b, const struct column *c, uint32_t first, uint32_t n)
{
	uint32_t nulls = 0;

	if (!c->valid) {
		mark_valid(b, n);
		return;
	}
	for (uint32_t r = 0; r < n; r++)
		nulls += !(c->valid[(first + r) >> 3] >> ((first + r) & 7) & 1);
	if (!nulls) {
		mark_valid(b, n);
		return;
	}
	need_bitmap(b);
	for (uint32_t r = 0; r < n; r++) {
		uint32_t from = first + r, to = b->rows + r;
		unsigned bit = c->valid[from >> 3] >> (from & 7) & 1;

		b->valid[to >> 3] = (uint8_t)((b->valid[to >> 3] & ~(1u << (to & 7))) |
			bit << (to & 7));
	}
	b->nulls += nulls;
}

void builder_put_rows(struct column_builder *b, const struct column *c, uint32_t first, uint32_t n)
{
	MUST(type_width(c->type) == b->width);
	if (!n)
		return;
	builder_reserve(b, n);
	copy_valid(b, c, first, n);
	if (b->width) {
		memcpy(b->data + (size_t)b->rows * b->width,
			(const uint8_t *)c->data + (size_t)first * b->width, (size_t)n * b->width);
	} else {
		uint32_t from = c->offsets[first], shift = (uint32_t)b->bytes.len - from;

		buf_put(&b->bytes, c->bytes + from, c->offsets[first + n] - from);
		MUST(b->bytes.len <= UINT32_MAX);
		for (uint32_t r = 1; r <= n; r++)
			b->offsets[b->rows + r] = c->offsets[first + r] + shift;
	}
	b->rows += n;
}

#define PICK_VALUES(ctype) \
	do { \
		ctype *to_ = (ctype *)(void *)b->data + b->rows; \
		const ctype *from_ = c->data; \
		for (uint32_t i = 0; i < n; i++) \
			to_[i] = from_[pick[i]]; \
	} while (0)

/* The missing rows of an outer join are 0, and marked null. */
#define PICK_VALUES_OR_NONE(ctype) \
	do { \
		ctype *to_ = (ctype *)(void *)b->data + b->rows; \
		const ctype *from_ = c->data; \
		for (uint32_t i = 0; i < n; i++) \
			to_[i] = pick[i] == ROW_NONE ? (ctype)0 : from_[pick[i]]; \
	} while (0)

static void pick_wide(struct column_builder *b, const struct column *c, const uint32_t *pick,
	uint32_t n)
{
	uint8_t *to = b->data + (size_t)b->rows * 16;
	const uint8_t *from = c->data;

	for (uint32_t i = 0; i < n; i++) {
		if (pick[i] == ROW_NONE)
			memset(to + (size_t)i * 16, 0, 16);
		else
			memcpy(to + (size_t)i * 16, from + (size_t)pick[i] * 16, 16);
	}
}

static void pick_fixed(struct column_builder *b, const struct column *c, const uint32_t *pick,
	uint32_t n, bool any_none)
{
	switch (b->width) {
	case 1:
		if (any_none)
			PICK_VALUES_OR_NONE(uint8_t);
		else
			PICK_VALUES(uint8_t);
		break;
	case 4:
		if (any_none)
			PICK_VALUES_OR_NONE(uint32_t);
		else
			PICK_VALUES(uint32_t);
		break;
	case 8:
		if (any_none)
			PICK_VALUES_OR_NONE(uint64_t);
		else
			PICK_VALUES(uint64_t);
		break;
	case 16:
		pick_wide(b, c, pick, n);
		break;
	}
}

static void pick_text(struct column_builder *b, const struct column *c, const uint32_t *pick,
	uint32_t n)
{
	size_t total = 0, at = b->bytes.len;
	uint32_t *to = b->offsets + b->rows + 1;
	uint8_t *bytes;

	for (uint32_t i = 0; i < n; i++) {
		if (pick[i] != ROW_NONE)
			total += c->offsets[pick[i] + 1] - c->offsets[pick[i]];
	}
	bytes = buf_reserve(&b->bytes, total + 1) - at;
	MUST(at + total <= UINT32_MAX);
	for (uint32_t i = 0; i < n; i++) {
		if (pick[i] != ROW_NONE) {
			uint32_t from = c->offsets[pick[i]], len = c->offsets[pick[i] + 1] - from;

			if (len)
				memcpy(bytes + at, c->bytes + from, len);
			at += len;
		}
		to[i] = (uint32_t)at;
	}
	b->bytes.len = at;
}

static void pick_valid(struct column_builder *b, const struct column *c, const uint32_t *pick,
	uint32_t n, bool any_none)
{
	uint32_t nulls = 0;

	if (!c->valid && !any_none) {
		mark_valid(b, n);
		return;
	}
	need_bitmap(b);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t to = b->rows + i;
		unsigned bit = pick[i] != ROW_NONE && column_is_valid(c, pick[i]);

		b->valid[to >> 3] = (uint8_t)((b->valid[to >> 3] & ~(1u << (to & 7))) |
			bit << (to & 7));
		nulls += !bit;
	}
	b->nulls += nulls;
}

void builder_put_picked(struct column_builder *b, const struct column *c, const uint32_t *pick,
	uint32_t n)
{
	bool any_none = false;

	MUST(type_width(c->type) == b->width);
	if (!n)
		return;
	for (uint32_t i = 0; i < n; i++)
		any_none |= pick[i] == ROW_NONE;
	builder_reserve(b, n);
	pick_valid(b, c, pick, n, any_none);
	if (b->width)
		pick_fixed(b, c, pick, n, any_none);
	else
		pick_text(b, c, pick, n);
	b->rows += n;
}

void builder_put_values(struct column_builder *b, const void *data, uint32_t n)
{
	MUST(b->width);
	if (!n)
		return;
	builder_reserve(b, n);
	mark_valid(b, n);
	memcpy(b->data + (size_t)b->rows * b->width, data, (size_t)n * b->width);
	b->rows += n;
}

void builder_truncate(struct column_builder *b, uint32_t rows)
{
	MUST(rows <= b->rows);
	if (b->nulls) {
		for (uint32_t r = rows; r < b->rows; r++)
			b->nulls -= !(b->valid[r >> 3] >> (r & 7) & 1);
	}
	b->rows = rows;
	if (!b->width)
		b->bytes.len = b->rows_cap ? b->offsets[rows] : 0;
}

struct column builder_column(const struct column_builder *b)
{
	static const uint32_t no_offsets[1];

	/* The bits behind the last row travel with it: the same rows give the same frame. */
	if (b->nulls && (b->rows & 7))
		b->valid[b->rows >> 3] &= (uint8_t)((1u << (b->rows & 7)) - 1);
	return (struct column){
		.type = b->type,
		.valid = b->nulls ? b->valid : NULL,
		.data = b->data,
		.offsets = b->width ? NULL : b->rows_cap ? b->offsets : no_offsets,
		.bytes = b->bytes.data ? b->bytes.data : (const uint8_t *)"",
	};
}

/* ---- batches ---- */

void batch_builder_init(struct batch_builder *b, const struct schema *schema)
{
	*b = (struct batch_builder){.schema = schema};
	b->columns = mem_zero(schema->fields_len * sizeof *b->columns);
	b->views = mem_zero(schema->fields_len * sizeof *b->views);
	for (size_t i = 0; i < schema->fields_len; i++)
		builder_init(&b->columns[i], schema->fields[i].type);
}

void batch_builder_clear(struct batch_builder *b)
{
	if (!b->schema)
		return;
	for (size_t i = 0; i < b->schema->fields_len; i++)
		builder_clear(&b->columns[i]);
	mem_free(b->columns);
	mem_free(b->views);
	buf_clear(&b->ops);
	*b = (struct batch_builder){.schema = NULL};
}

void batch_builder_reset(struct batch_builder *b)
{
	for (size_t i = 0; i < b->schema->fields_len; i++)
		builder_reset(&b->columns[i]);
	buf_reset(&b->ops);
	b->batch.rows = 0;
}

uint32_t batch_builder_rows(const struct batch_builder *b)
{
	if (b->schema->fields_len)
		return b->columns[0].rows;
	return b->batch.rows; /* rows without columns are only counted */
}

bool batch_builder_is_full(const struct batch_builder *b)
{
	size_t bytes = 0;

	if (batch_builder_rows(b) >= BATCH_ROWS)
		return true;
	for (size_t i = 0; i < b->schema->fields_len; i++)
		bytes += b->columns[i].bytes.len + (size_t)b->columns[i].rows * b->columns[i].width;
	return bytes >= BATCH_BYTES;
}

void batch_builder_put_rows(struct batch_builder *b, const struct batch *from, uint32_t first,
	uint32_t n)
{
	for (size_t i = 0; i < b->schema->fields_len; i++)
		builder_put_rows(&b->columns[i], &from->columns[i], first, n);
	if (b->schema->changelog)
		buf_put(&b->ops, from->ops + first, n);
	b->batch.rows += n;
}

void batch_builder_put_picked(struct batch_builder *b, const struct batch *from,
	const uint32_t *pick, uint32_t n)
{
	for (size_t i = 0; i < b->schema->fields_len; i++)
		builder_put_picked(&b->columns[i], &from->columns[i], pick, n);
	if (b->schema->changelog) {
		uint8_t *ops = buf_reserve(&b->ops, n);

		for (uint32_t i = 0; i < n; i++)
			ops[i] = from->ops[pick[i]];
		b->ops.len += n;
	}
	b->batch.rows += n;
}

const struct batch *batch_builder_view(struct batch_builder *b)
{
	uint32_t rows = batch_builder_rows(b);

	for (size_t i = 0; i < b->schema->fields_len; i++) {
		MUST(b->columns[i].rows == rows);
		b->views[i] = builder_column(&b->columns[i]);
	}
	MUST(!b->schema->changelog || b->ops.len == rows);
	b->batch = (struct batch){.schema = b->schema, .rows = rows, .columns = b->views,
		.ops = !b->schema->changelog ? NULL :
			b->ops.data ? b->ops.data : (const uint8_t *)""};
	return &b->batch;
}
