/* min, max, first, last, any_value, arg_min, arg_max, quantile, string_agg and array_agg of rows
 * that may be taken back: every row is kept (aggregate_bag.h), and a result is looked up. */
#include "libcore/expr/aggregate_bag.h"

#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"
#include "libcore/base/utf8.h"

struct retract {
	struct aggregate base;
	struct bag bag;
	struct buf both; /* validity of both arguments */
};

static struct retract *retract_of(struct aggregate *a)
{
	return (struct retract *)a;
}

static const struct bag *bag_in(const struct aggregate *a)
{
	return &((const struct retract *)a)->bag;
}

static void retract_free(struct aggregate *a)
{
	bag_clear(&retract_of(a)->bag);
	buf_clear(&retract_of(a)->both);
}

static void retract_reserve(struct aggregate *a, uint32_t cap)
{
	bag_reserve(&retract_of(a)->bag, cap);
}

static void retract_start(struct aggregate *a, uint32_t first, uint32_t end)
{
	bag_start(&retract_of(a)->bag, first, end);
}

static void retract_clear(struct aggregate *a, uint32_t group)
{
	bag_drop(&retract_of(a)->bag, group);
}

static void retract_reset(struct aggregate *a)
{
	bag_reset(&retract_of(a)->bag);
}

static int retract_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	struct bag *b = &retract_of(a)->bag;
	bool nulls = a->function == AGGREGATE_ARRAY_AGG;
	struct column value = b->kind == BAG_BY
				      ? aggregate_both_valid(args, rows->rows, &retract_of(a)->both)
				      : *args;
	const int8_t *weights = aggregate_weights(a, nulls ? NULL : &value, rows);

	MUST(rows->order || b->kind == BAG_VALUES);
	for (uint32_t r = 0; r < rows->rows; r++) {
		int weight = weights ? weights[r] : 1;
		uint32_t node;

		if (!weight)
			continue;
		node = bag_node(b);
		if (nulls && !column_is_valid(args, r))
			cells_set_text(&b->value, node, AGGREGATE_NIL);
		else
			cells_set(&b->value, node, args, r);
		if (b->kind == BAG_BY)
			cells_set(&b->by, node, &args[1], r);
		if (b->kind != BAG_VALUES)
			b->order[node] = rows->order[r];
		bag_add(b, rows->groups ? rows->groups[r] : 0, node, weight);
	}
	return 0;
}

static int retract_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	for (uint32_t i = 0; i < n; i++)
		bag_combine(&retract_of(to)->bag, to_groups[i], bag_in(from), from_groups[i]);
	return 0;
}

/* ---- results ---- */

static int quantile_result_put(
	const struct aggregate *a, uint32_t g, struct column_builder *out, struct error *e)
{
	const struct bag *b = bag_in(a);
	const struct cells *v = &b->value;
	int64_t n = bag_total(b, g);
	struct quantile_place p;
	uint32_t low, high;

	if (n <= 0) {
		builder_put_null(out);
		return 0;
	}
	p = quantile_place(a->fraction, n);
	low = high = bag_at(b, g, p.low);
	if (p.part > 0)
		high = bag_at(b, g, p.low + 1);
	if (v->decimals)
		return quantile_put(
			a->args[0], v->decimals[low], v->decimals[high], p.part, out, e);
	return quantile_put(a->args[0], v->ints[low], v->ints[high], p.part, out, e);
}

struct joining {
	const struct aggregate *a;
	size_t n;
	struct buf *out;
};

static bool count_value(const struct bag *b, uint32_t node, void *context)
{
	*(uint32_t *)context += b->count[node] > 0;
	return false;
}

static bool join_value(const struct bag *b, uint32_t node, void *context)
{
	struct joining *j = context;

	if (b->count[node] > 0)
		aggregate_join_value(j->a, cells_text(&b->value, node), j->n++, j->out);
	return false;
}

static int list_result_put(
	const struct aggregate *a, uint32_t g, struct column_builder *out, struct error *e)
{
	struct buf text = BUF_INIT;
	struct joining j = {a, 0, &text};
	uint32_t n = 0;
	int status = 0;

	bag_each(bag_in(a), g, false, count_value, &n);
	if (n == 0) {
		builder_put_null(out);
		return 0;
	}
	if (a->function == AGGREGATE_ARRAY_AGG)
		msgpack_put_array(&text, n);
	bag_each(bag_in(a), g, false, join_value, &j);
	status = aggregate_put_text(out, &text, e);
	buf_clear(&text);
	return status;
}

static int retract_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	bool last = a->function == AGGREGATE_LAST || a->function == AGGREGATE_MAX;
	bool list = a->function == AGGREGATE_STRING_AGG || a->function == AGGREGATE_ARRAY_AGG;
	int status = 0;

	for (uint32_t i = 0; i < n && status == 0; i++) {
		uint32_t g = aggregate_picked(pick, i), node;

		if (a->function == AGGREGATE_QUANTILE) {
			status = quantile_result_put(a, g, out, e);
		} else if (list) {
			status = list_result_put(a, g, out, e);
		} else {
			node = bag_first(bag_in(a), g, last);
			if (node)
				cells_put(&bag_in(a)->value, node, out);
			else
				builder_put_null(out);
		}
	}
	return status;
}

/* ---- snapshots: a group's rows in their order, each its count (i64), its order (i64) where that
 * counts, by if there is one, and the value; values are little endian, text behind a u32 length
 * ---- */

static void retract_field(const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	*name = "rows";
	*type = TYPE_OF(TYPE_BYTES);
}

static void cell_save(const struct cells *c, uint32_t at, struct buf *out)
{
	if (type_is_text(c->type)) {
		struct text_view v = cells_text(c, at);
		uint32_t len = (uint32_t)v.len;

		buf_put(out, &len, sizeof len);
		buf_put(out, v.text, v.len);
	} else if (c->type.kind == TYPE_DECIMAL) {
		buf_put(out, &c->decimals[at], sizeof c->decimals[at]);
	} else {
		buf_put(out, &c->ints[at], sizeof c->ints[at]);
	}
}

static bool node_save(const struct bag *b, uint32_t node, void *context)
{
	struct buf *out = context;

	buf_put(out, &b->count[node], sizeof b->count[node]);
	if (b->kind != BAG_VALUES)
		buf_put(out, &b->order[node], sizeof b->order[node]);
	if (b->kind == BAG_BY)
		cell_save(&b->by, node, out);
	cell_save(&b->value, node, out);
	return false;
}

static void retract_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	struct buf rows = BUF_INIT;

	for (uint32_t i = 0; i < n; i++) {
		buf_reset(&rows);
		bag_each(bag_in(a), aggregate_picked(pick, i), false, node_save, &rows);
		builder_put_text(builders, rows.data, rows.len);
	}
	buf_clear(&rows);
}

static bool take(struct text_view *from, void *to, size_t len)
{
	if (from->len < len)
		return false;
	memcpy(to, from->text, len);
	from->text += len;
	from->len -= len;
	return true;
}

static bool is_text(struct type type, struct text_view v)
{
	if (type.kind == TYPE_STRING)
		return utf8_valid(v.text, v.len);
	return type.kind != TYPE_ANY || msgpack_is_valid((const uint8_t *)v.text, v.len);
}

static bool is_int(struct type type, int64_t v)
{
	if (type.kind == TYPE_BOOL)
		return v == 0 || v == 1;
	return type.kind != TYPE_DATE || v == (int32_t)v;
}

/* False for what can't be a value of the type. */
static bool cell_load(struct cells *c, uint32_t at, struct text_view *from)
{
	struct text_view v;
	uint32_t len;

	if (!type_is_text(c->type)) {
		__int128 limit = decimal_pow10[38];

		if (c->type.kind != TYPE_DECIMAL)
			return take(from, &c->ints[at], sizeof c->ints[at]) &&
			       is_int(c->type, c->ints[at]);
		return take(from, &c->decimals[at], sizeof c->decimals[at]) &&
		       c->decimals[at] < limit && c->decimals[at] > -limit;
	}
	if (!take(from, &len, sizeof len) || from->len < len)
		return false;
	v = (struct text_view){from->text, len};
	from->text += len;
	from->len -= len;
	if (!is_text(c->type, v))
		return false;
	cells_set_text(c, at, v);
	return true;
}

static int group_load(struct bag *b, uint32_t group, struct text_view from, struct error *e)
{
	while (from.len) {
		uint32_t node = bag_node(b);
		int64_t count;
		bool good = take(&from, &count, sizeof count) &&
			    (count == 1 || count == -1 || (b->kind == BAG_VALUES && count));

		if (good && b->kind != BAG_VALUES)
			good = take(&from, &b->order[node], sizeof b->order[node]);
		if (good && b->kind == BAG_BY)
			good = cell_load(&b->by, node, &from);
		if (!good || !cell_load(&b->value, node, &from))
			return error_set(e, ERROR_STATE, "saved rows of an aggregate are damaged");
		bag_add(b, group, node, count);
	}
	return 0;
}

static int retract_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	struct bag *b = &retract_of(a)->bag;

	for (uint32_t i = 0; i < n; i++) {
		if (!column_is_valid(columns, i))
			return error_set(e, ERROR_STATE, "saved rows of an aggregate are null");
		bag_drop(b, groups[i]);
		if (group_load(b, groups[i], column_text(columns, i), e))
			return -1;
	}
	return 0;
}

static size_t retract_bytes(const struct aggregate *a)
{
	return sizeof(struct retract) + ((const struct retract *)a)->both.cap +
	       bag_bytes(bag_in(a), a->cap);
}

static const struct aggregate_ops retract_ops = {
	.retracts = true,
	.state_columns = 1,
	.free = retract_free,
	.reserve = retract_reserve,
	.start = retract_start,
	.clear = retract_clear,
	.reset = retract_reset,
	.update = retract_update,
	.combine = retract_combine,
	.finalize = retract_finalize,
	.state_field = retract_field,
	.save = retract_save,
	.load = retract_load,
	.bytes = retract_bytes,
};

static enum bag_kind kind_of(enum aggregate_function f)
{
	if (f == AGGREGATE_ARG_MIN || f == AGGREGATE_ARG_MAX)
		return BAG_BY;
	if (f == AGGREGATE_FIRST || f == AGGREGATE_LAST || f == AGGREGATE_STRING_AGG ||
		f == AGGREGATE_ARRAY_AGG)
		return BAG_ROWS;
	return BAG_VALUES;
}

struct aggregate *aggregate_retract_new(enum aggregate_function f, struct type arg, struct type by)
{
	struct retract *r = mem_zero(sizeof *r);

	r->base.ops = &retract_ops;
	r->base.function = f;
	r->base.args[0] = arg;
	r->base.result = f == AGGREGATE_QUANTILE ? quantile_result(arg) : arg;
	bag_init(&r->bag, kind_of(f), arg, by);
	r->bag.descending = f == AGGREGATE_ARG_MAX;
	return &r->base;
}
