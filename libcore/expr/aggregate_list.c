/* string_agg and array_agg: the values of a group, in the end put into their order and joined.
 *
 *   a group's run   [ order i64 | len u32 | bytes ] ...   as the rows came */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"

#include <stdlib.h>

enum { HEAD_BYTES = 12 };

struct list {
	struct aggregate base;
	struct runs values;
};

static struct list *list_of(struct aggregate *a)
{
	return (struct list *)a;
}

static const struct list *list_in(const struct aggregate *a)
{
	return (const struct list *)a;
}

static void list_free(struct aggregate *a)
{
	runs_clear(&list_of(a)->values);
}

static void list_reserve(struct aggregate *a, uint32_t cap)
{
	runs_reserve(&list_of(a)->values, cap);
}

static void list_start(struct aggregate *a, uint32_t first, uint32_t end)
{
}

static void list_clear(struct aggregate *a, uint32_t group)
{
	runs_drop(&list_of(a)->values, group);
}

static void list_reset(struct aggregate *a)
{
	runs_reset(&list_of(a)->values);
}

static int list_add(
	struct runs *values, uint32_t group, int64_t order, struct text_view v, struct error *e)
{
	uint8_t *to = runs_room(values, group, HEAD_BYTES + v.len);
	uint32_t len = (uint32_t)v.len;

	if (!to)
		return aggregate_too_large(e);
	memcpy(to, &order, sizeof order);
	memcpy(to + sizeof order, &len, sizeof len);
	if (len)
		memcpy(to + HEAD_BYTES, v.text, len);
	values->runs[group].len += HEAD_BYTES + len;
	return 0;
}

static int list_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	bool strings = a->function == AGGREGATE_STRING_AGG; /* which leave nulls out */
	const int8_t *weights = aggregate_weights(a, strings ? args : NULL, rows);
	struct runs *values = &list_of(a)->values;

	MUST(rows->order);
	for (uint32_t r = 0; r < rows->rows; r++) {
		struct text_view v = column_text(args, r);

		if (weights && !weights[r])
			continue;
		if (!column_is_valid(args, r))
			v = AGGREGATE_NIL;
		if (list_add(values, rows->groups ? rows->groups[r] : 0, rows->order[r], v, e))
			return -1;
	}
	return 0;
}

/* Of equal orders, what to has comes before what from has. */
static int list_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	return runs_append(&list_of(to)->values, to_groups, &list_in(from)->values, from_groups, n)
		? 0 : aggregate_too_large(e);
}

/* ---- results ---- */

struct place {
	int64_t order;
	uint32_t at;
};

static int places_compare(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

/* Where a group's values begin, in their order; returns their number. */
static size_t places_find(const uint8_t *bytes, uint32_t len, struct buf *out)
{
	struct place *places;
	bool sorted = true;
	size_t n = 0;

	buf_reset(out);
	for (uint32_t at = 0, some; at < len; at += HEAD_BYTES + some) {
		struct place p = {.at = at};

		memcpy(&p.order, bytes + at, sizeof p.order);
		memcpy(&some, bytes + at + sizeof p.order, sizeof some);
		buf_put(out, &p, sizeof p);
		n++;
	}
	places = (struct place *)(void *)out->data;
	for (size_t i = 1; i < n && sorted; i++)
		sorted = places[i - 1].order <= places[i].order;
	if (!sorted)
		qsort(places, n, sizeof *places, places_compare);
	return n;
}

void aggregate_join_value(const struct aggregate *a, struct text_view v, size_t i, struct buf *out)
{
	if (i && a->function == AGGREGATE_STRING_AGG)
		buf_put(out, a->separator.data, a->separator.len);
	buf_put(out, v.text, v.len);
}

bool aggregate_is_value(const struct aggregate *a, struct text_view v)
{
	if (a->function == AGGREGATE_ARRAY_AGG)
		return msgpack_is_valid((const uint8_t *)v.text, v.len);
	return utf8_valid(v.text, v.len);
}

static void values_join(const struct aggregate *a, const uint8_t *bytes, const struct place *places,
	size_t n, struct buf *out)
{
	buf_reset(out);
	if (a->function == AGGREGATE_ARRAY_AGG)
		msgpack_put_array(out, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *at = bytes + places[i].at;
		uint32_t len;

		memcpy(&len, at + sizeof(int64_t), sizeof len);
		aggregate_join_value(
			a, (struct text_view){(const char *)at + HEAD_BYTES, len}, i, out);
	}
}

static int list_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	const struct runs *values = &list_in(a)->values;
	struct buf places = BUF_INIT, text = BUF_INIT;
	int status = 0;

	for (uint32_t i = 0; i < n && status == 0; i++) {
		uint32_t g = aggregate_picked(pick, i);
		const uint8_t *bytes = runs_data(values, g);
		size_t len = places_find(bytes, runs_len(values, g), &places);

		if (len == 0) {
			builder_put_null(out);
			continue;
		}
		values_join(a, bytes, (const struct place *)(void *)places.data, len, &text);
		status = aggregate_put_text(out, &text, e);
	}
	buf_clear(&places);
	buf_clear(&text);
	return status;
}

/* ---- snapshots: a group's run ---- */

static void list_field(const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	*name = "values";
	*type = TYPE_OF(TYPE_BYTES);
}

static void list_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	const struct runs *values = &list_in(a)->values;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		builder_put_text(builders, runs_data(values, g), runs_len(values, g));
	}
}

static int group_load(struct aggregate *a, uint32_t group, struct text_view v, struct error *e)
{
	for (size_t at = 0; at < v.len;) {
		int64_t order;
		uint32_t len;
		struct text_view value;

		if (v.len - at < HEAD_BYTES)
			return error_set(e, ERROR_STATE, "a saved list of values is cut short");
		memcpy(&order, v.text + at, sizeof order);
		memcpy(&len, v.text + at + sizeof order, sizeof len);
		at += HEAD_BYTES;
		if (v.len - at < len)
			return error_set(e, ERROR_STATE, "a saved list of values is cut short");
		value = (struct text_view){v.text + at, len};
		if (!aggregate_is_value(a, value))
			return error_set(e, ERROR_STATE, "a saved list has a value that is none");
		if (list_add(&list_of(a)->values, group, order, value, e))
			return -1;
		at += len;
	}
	return 0;
}

static int list_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!column_is_valid(columns, i))
			return error_set(e, ERROR_STATE, "a saved list of values is null");
		runs_drop(&list_of(a)->values, groups[i]);
		if (group_load(a, groups[i], column_text(columns, i), e))
			return -1;
	}
	return 0;
}

static size_t list_bytes(const struct aggregate *a)
{
	return sizeof(struct list) + runs_bytes(&list_in(a)->values);
}

static const struct aggregate_ops list_ops = {
	.state_columns = 1,
	.free = list_free,
	.reserve = list_reserve,
	.start = list_start,
	.clear = list_clear,
	.reset = list_reset,
	.update = list_update,
	.combine = list_combine,
	.finalize = list_finalize,
	.state_field = list_field,
	.save = list_save,
	.load = list_load,
	.bytes = list_bytes,
};

struct aggregate *aggregate_list_new(enum aggregate_function f, struct type arg)
{
	struct list *l = mem_zero(sizeof *l);

	l->base.ops = &list_ops;
	l->base.function = f;
	l->base.args[0] = arg;
	l->base.result = arg;
	return &l->base;
}
