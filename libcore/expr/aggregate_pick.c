/* Aggregates that keep the value of one row: first, last, any_value by the order of rows; arg_min
 * and arg_max by a second argument, ties by the order of rows.
 *
 * Rows whose value is null don't take part, nor do those whose second argument is: so a group that
 * has seen a row has a value, and "no value" is null in snapshots. */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

struct pick {
	struct aggregate base;
	struct cells value;
	struct cells by; /* arg_min, arg_max only */
	int64_t *order;  /* not for any_value */
	uint8_t *seen;
	struct buf both; /* validity of both arguments */
};

static struct pick *pick_of(struct aggregate *a)
{
	return (struct pick *)a;
}

static const struct pick *pick_in(const struct aggregate *a)
{
	return (const struct pick *)a;
}

static bool has_by(const struct aggregate *a)
{
	return a->function == AGGREGATE_ARG_MIN || a->function == AGGREGATE_ARG_MAX;
}

static bool has_order(const struct aggregate *a)
{
	return a->function != AGGREGATE_ANY_VALUE;
}

static void pick_free(struct aggregate *a)
{
	struct pick *p = pick_of(a);

	cells_clear(&p->value);
	cells_clear(&p->by);
	mem_free(p->order);
	mem_free(p->seen);
	buf_clear(&p->both);
}

static void pick_reserve(struct aggregate *a, uint32_t cap)
{
	struct pick *p = pick_of(a);

	cells_reserve(&p->value, cap);
	if (has_by(a))
		cells_reserve(&p->by, cap);
	if (has_order(a))
		AGGREGATE_RESERVE(p->order, cap);
	AGGREGATE_RESERVE(p->seen, cap);
}

static void pick_start(struct aggregate *a, uint32_t first, uint32_t end)
{
	memset(pick_of(a)->seen + first, 0, end - first);
}

/* Whether a row (or a group combined in) of this order replaces what the group has.  by: how the
 * group's second argument compares to the row's. */
static inline bool replaces(enum aggregate_function f, int by, int64_t old_order, int64_t order)
{
	switch (f) {
	case AGGREGATE_FIRST: return order < old_order;
	case AGGREGATE_LAST: return order >= old_order;
	case AGGREGATE_ARG_MIN: return by > 0 || (by == 0 && order < old_order);
	case AGGREGATE_ARG_MAX: return by < 0 || (by == 0 && order < old_order);
	case AGGREGATE_ANY_VALUE:
	case AGGREGATE_COUNT:
	case AGGREGATE_SUM:
	case AGGREGATE_AVG:
	case AGGREGATE_MIN:
	case AGGREGATE_MAX:
	case AGGREGATE_VARIANCE:
	case AGGREGATE_VARIANCE_POP:
	case AGGREGATE_STDDEV:
	case AGGREGATE_STDDEV_POP:
	case AGGREGATE_QUANTILE:
	case AGGREGATE_APPROX_QUANTILE:
	case AGGREGATE_APPROX_COUNT_DISTINCT:
	case AGGREGATE_STRING_AGG:
	case AGGREGATE_ARRAY_AGG: break;
	}
	return false;
}

static int pick_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	struct pick *p = pick_of(a);
	struct column value = has_by(a) ? aggregate_both_valid(args, rows->rows, &p->both) : *args;
	const int8_t *weights = aggregate_weights(a, &value, rows);
	bool by_value = has_by(a);

	MUST(rows->order || !has_order(a));
	for (uint32_t r = 0; r < rows->rows; r++) {
		uint32_t g = rows->groups ? rows->groups[r] : 0;
		int by;

		if (weights && !weights[r])
			continue;
		if (p->seen[g]) {
			if (!has_order(a))
				continue;
			by = by_value ? cells_compare_row(&p->by, g, &args[1], r) : 0;
			if (!replaces(a->function, by, p->order[g], rows->order[r]))
				continue;
		}
		cells_set(&p->value, g, &args[0], r);
		if (by_value)
			cells_set(&p->by, g, &args[1], r);
		if (p->order)
			p->order[g] = rows->order[r];
		p->seen[g] = 1;
	}
	return 0;
}

static int pick_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	struct pick *t = pick_of(to);
	const struct pick *f = pick_in(from);
	bool by_value = has_by(to);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t tg = to_groups[i], fg = from_groups[i];
		int by;

		if (!f->seen[fg])
			continue;
		if (t->seen[tg]) {
			if (!has_order(to))
				continue;
			by = by_value ? cells_compare(&t->by, tg, &f->by, fg) : 0;
			if (!replaces(to->function, by, t->order[tg], f->order[fg]))
				continue;
		}
		cells_copy(&t->value, tg, &f->value, fg);
		if (by_value)
			cells_copy(&t->by, tg, &f->by, fg);
		if (t->order)
			t->order[tg] = f->order[fg];
		t->seen[tg] = 1;
	}
	return 0;
}

static int pick_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	const struct pick *p = pick_in(a);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		if (p->seen[g])
			cells_put(&p->value, g, out);
		else
			builder_put_null(out);
	}
	return 0;
}

/* value; then, by kind, order; then by. */
static void pick_field(const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	static const char *const names[] = {"value", "order", "by"};

	*name = names[i];
	*type = i == 0 ? a->result : i == 1 ? TYPE_OF(TYPE_INT) : a->args[1];
}

static void pick_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	const struct pick *p = pick_in(a);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		if (!p->seen[g]) {
			for (size_t k = 0; k < a->ops->state_columns; k++)
				builder_put_null(&builders[k]);
			continue;
		}
		cells_put(&p->value, g, &builders[0]);
		if (p->order)
			builder_put_int(&builders[1], p->order[g]);
		if (has_by(a))
			cells_put(&p->by, g, &builders[2]);
	}
}

static int pick_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	struct pick *p = pick_of(a);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = groups[i];

		if (!column_is_valid(&columns[0], i))
			continue;
		for (size_t k = 1; k < a->ops->state_columns; k++) {
			if (!column_is_valid(&columns[k], i))
				return error_set(e, ERROR_STATE, "a saved value has no order");
		}
		cells_set(&p->value, g, &columns[0], i);
		if (p->order)
			p->order[g] = column_int(&columns[1], i);
		if (has_by(a))
			cells_set(&p->by, g, &columns[2], i);
		p->seen[g] = 1;
	}
	return 0;
}

static size_t pick_bytes(const struct aggregate *a)
{
	const struct pick *p = pick_in(a);

	return sizeof *p + a->cap * (1 + (p->order ? sizeof *p->order : 0)) + p->both.cap +
	       cells_bytes(&p->value) + (has_by(a) ? cells_bytes(&p->by) : 0);
}

#define PICK_OPS(columns)                                                                \
	{                                                                                \
		.state_columns = (columns), .free = pick_free, .reserve = pick_reserve,  \
		.start = pick_start, .update = pick_update, .combine = pick_combine,     \
		.finalize = pick_finalize, .state_field = pick_field, .save = pick_save, \
		.load = pick_load, .bytes = pick_bytes,                                  \
	}

static const struct aggregate_ops any_ops = PICK_OPS(1), order_ops = PICK_OPS(2),
				  by_ops = PICK_OPS(3);

struct aggregate *aggregate_pick_new(enum aggregate_function f, struct type arg, struct type by)
{
	struct pick *p = mem_zero(sizeof *p);

	p->base.function = f;
	p->base.result = arg;
	p->base.ops = has_by(&p->base) ? &by_ops : has_order(&p->base) ? &order_ops : &any_ops;
	cells_init(&p->value, arg);
	cells_init(&p->by, by);
	return &p->base;
}
