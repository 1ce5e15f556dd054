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
	runs_clear(&c->texts);
	mem_free(c->ints);
	mem_free(c->decimals);
	cells_init(c, c->type);
}

void cells_reserve(struct cells *c, uint32_t cap)
{
	if (type_is_text(c->type))
		runs_reserve(&c->texts, cap);
	else if (c->type.kind == TYPE_DECIMAL)
		AGGREGATE_RESERVE(c->decimals, cap);
	else
		AGGREGATE_RESERVE(c->ints, cap);
	c->cap = cap;
}

/* Room for the text of a cell, in place of what it held. */
static uint8_t *text_room(struct cells *c, uint32_t at, size_t len)
{
	struct run *r = &c->texts.runs[at];
	uint8_t *to;

	r->len = 0;
	if (len == 0)
		return NULL;
	if (r->cap < len)
		runs_drop(&c->texts, at);
	to = runs_room(&c->texts, at, len);
	MUST(to); /* one value of a batch, which is smaller than what a run holds */
	c->texts.runs[at].len = (uint32_t)len;
	return to;
}

void cells_set_text(struct cells *c, uint32_t at, struct text_view v)
{
	uint8_t *to = text_room(c, at, v.len);

	if (v.len)
		memcpy(to, v.text, v.len);
}

void cells_set(struct cells *c, uint32_t at, const struct column *from, uint32_t row)
{
	if (type_is_text(c->type)) {
		cells_set_text(c, at, column_text(from, row));
	} else if (c->type.kind == TYPE_DECIMAL) {
		c->decimals[at] = column_decimal(from, row);
	} else {
		c->ints[at] = column_order(from, row);
	}
}

void cells_copy(struct cells *c, uint32_t at, const struct cells *from, uint32_t from_at)
{
	if (type_is_text(c->type)) {
		uint32_t len = runs_len(&from->texts, from_at);
		uint8_t *to = text_room(c, at, len);

		if (len) /* from may be c, whose texts may have moved just now */
			memcpy(to, runs_data(&from->texts, from_at), len);
	} else if (c->type.kind == TYPE_DECIMAL) {
		c->decimals[at] = from->decimals[from_at];
	} else {
		c->ints[at] = from->ints[from_at];
	}
}

void cells_drop(struct cells *c, uint32_t at)
{
	if (type_is_text(c->type))
		runs_drop(&c->texts, at);
}

struct text_view cells_text(const struct cells *c, uint32_t at)
{
	return (struct text_view){(const char *)runs_data(&c->texts, at), runs_len(&c->texts, at)};
}

static int text_compare(struct text_view a, struct text_view b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = a.text && b.text ? memcmp(a.text, b.text, len) : 0; /* NULL: empty */

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

int cells_compare_row(const struct cells *c, uint32_t at, const struct column *with, uint32_t row)
{
	if (type_is_text(c->type))
		return text_compare(cells_text(c, at), column_text(with, row));
	if (c->type.kind == TYPE_DECIMAL) {
		__int128 v = column_decimal(with, row);

		return (c->decimals[at] > v) - (c->decimals[at] < v);
	}
	int64_t v = column_order(with, row);

	return (c->ints[at] > v) - (c->ints[at] < v);
}

int cells_compare(const struct cells *c, uint32_t at, const struct cells *with, uint32_t with_at)
{
	if (type_is_text(c->type))
		return text_compare(cells_text(c, at), cells_text(with, with_at));
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
	case TYPE_ANY: {
		struct text_view v = cells_text(c, at);

		builder_put_text(out, v.text, v.len);
		break;
	}
	}
}

size_t cells_bytes(const struct cells *c)
{
	if (type_is_text(c->type))
		return runs_bytes(&c->texts);
	return c->cap * (c->type.kind == TYPE_DECIMAL ? sizeof *c->decimals : sizeof *c->ints);
}
