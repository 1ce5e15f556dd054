/* One value of any type per group, for aggregates that keep a value instead of adding it. */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

void cells_init(struct cells *c, struct type type)
{
	*c = (struct cells){.type = type};
}

void cells_clear(struct cells *c)
{
	for (uint32_t i = 0; c->texts && i < c->cap; i++)
		mem_free(c->texts[i].bytes);
	mem_free(c->texts);
	mem_free(c->ints);
	mem_free(c->decimals);
	cells_init(c, c->type);
}

void cells_reserve(struct cells *c, uint32_t cap)
{
	if (type_is_text(c->type)) {
		AGGREGATE_RESERVE(c->texts, cap);
		memset(c->texts + c->cap, 0, (size_t)(cap - c->cap) * sizeof *c->texts);
	} else if (c->type.kind == TYPE_DECIMAL) {
		AGGREGATE_RESERVE(c->decimals, cap);
	} else {
		AGGREGATE_RESERVE(c->ints, cap);
	}
	c->cap = cap;
}

static void text_set(struct cells *c, struct text_cell *cell, const void *bytes, size_t len)
{
	if (len > cell->cap) {
		uint32_t cap = len < 16 ? 16 : (uint32_t)len;

		cell->bytes = mem_resize(cell->bytes, cap);
		c->text_bytes += cap - cell->cap;
		cell->cap = cap;
	}
	if (len)
		memcpy(cell->bytes, bytes, len);
	cell->len = (uint32_t)len;
}

void cells_set(struct cells *c, uint32_t at, const struct column *from, uint32_t row)
{
	if (type_is_text(c->type)) {
		struct text_view v = column_text(from, row);

		text_set(c, &c->texts[at], v.text, v.len);
	} else if (c->type.kind == TYPE_DECIMAL) {
		c->decimals[at] = column_decimal(from, row);
	} else {
		c->ints[at] = column_order(from, row);
	}
}

void cells_copy(struct cells *c, uint32_t at, const struct cells *from, uint32_t from_at)
{
	if (type_is_text(c->type))
		text_set(c, &c->texts[at], from->texts[from_at].bytes, from->texts[from_at].len);
	else if (c->type.kind == TYPE_DECIMAL)
		c->decimals[at] = from->decimals[from_at];
	else
		c->ints[at] = from->ints[from_at];
}

static int text_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	size_t len = a_len < b_len ? a_len : b_len;
	int order = len ? memcmp(a, b, len) : 0;

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

int cells_compare_row(const struct cells *c, uint32_t at, const struct column *with, uint32_t row)
{
	if (type_is_text(c->type)) {
		struct text_view v = column_text(with, row);

		return text_compare(c->texts[at].bytes, c->texts[at].len, v.text, v.len);
	}
	if (c->type.kind == TYPE_DECIMAL) {
		__int128 v = column_decimal(with, row);

		return (c->decimals[at] > v) - (c->decimals[at] < v);
	}
	int64_t v = column_order(with, row);

	return (c->ints[at] > v) - (c->ints[at] < v);
}

int cells_compare(const struct cells *c, uint32_t at, const struct cells *with, uint32_t with_at)
{
	if (type_is_text(c->type)) {
		const struct text_cell *a = &c->texts[at], *b = &with->texts[with_at];

		return text_compare(a->bytes, a->len, b->bytes, b->len);
	}
	if (c->type.kind == TYPE_DECIMAL) {
		__int128 a = c->decimals[at], b = with->decimals[with_at];

		return (a > b) - (a < b);
	}
	int64_t a = c->ints[at], b = with->ints[with_at];

	return (a > b) - (a < b);
}

void cells_put(const struct cells *c, uint32_t at, struct column_builder *out)
{
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: builder_put_bool(out, c->ints[at] != 0); break;
	case TYPE_DATE: builder_put_date(out, (int32_t)c->ints[at]); break;
	case TYPE_FLOAT: builder_put_float(out, float_from_order(c->ints[at])); break;
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: builder_put_int(out, c->ints[at]); break;
	case TYPE_DECIMAL: builder_put_decimal(out, c->decimals[at]); break;
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: builder_put_text(out, c->texts[at].bytes, c->texts[at].len); break;
	}
}

size_t cells_bytes(const struct cells *c)
{
	size_t each = type_is_text(c->type)          ? sizeof *c->texts
		      : c->type.kind == TYPE_DECIMAL ? sizeof *c->decimals
						     : sizeof *c->ints;

	return c->cap * each + c->text_bytes;
}
