/* min and max of every type that has an order.
 *
 * Where values compare as 64-bit integers (floats too, by an order-preserving map), an empty group
 * holds the integer that loses every comparison, so that the loop neither branches nor looks at
 * `seen`, which only says whether the group's value is one. */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"

struct extreme {
	struct aggregate base;
	struct cells cells;
	uint8_t *seen;
	struct buf ordered; /* a batch's values as integers, where they aren't */
};

static struct extreme *extreme_of(struct aggregate *a)
{
	return (struct extreme *)a;
}

static const struct extreme *extreme_in(const struct aggregate *a)
{
	return (const struct extreme *)a;
}

static void extreme_free(struct aggregate *a)
{
	cells_clear(&extreme_of(a)->cells);
	mem_free(extreme_of(a)->seen);
	buf_clear(&extreme_of(a)->ordered);
}

static void extreme_reserve(struct aggregate *a, uint32_t cap)
{
	cells_reserve(&extreme_of(a)->cells, cap);
	AGGREGATE_RESERVE(extreme_of(a)->seen, cap);
}

static void extreme_start(struct aggregate *a, uint32_t first, uint32_t end)
{
	struct extreme *x = extreme_of(a);
	int64_t loser = a->function == AGGREGATE_MAX ? INT64_MIN : INT64_MAX;

	memset(x->seen + first, 0, end - first);
	for (uint32_t g = first; x->cells.ints && g < end; g++)
		x->cells.ints[g] = loser;
}

static const int64_t *ordered_values(struct extreme *x, const struct column *c, uint32_t rows)
{
	int64_t *out;

	if (c->type.kind == TYPE_INT || c->type.kind == TYPE_TIMESTAMP ||
		c->type.kind == TYPE_DURATION)
		return c->data;
	buf_reset(&x->ordered);
	out = (int64_t *)(void *)buf_reserve(&x->ordered, rows * sizeof *out);
	if (c->type.kind == TYPE_FLOAT) {
		for (uint32_t r = 0; r < rows; r++)
			out[r] = float_to_order(column_float(c, r));
	} else {
		for (uint32_t r = 0; r < rows; r++)
			out[r] = column_order(c, r);
	}
	return out;
}

/* Inlined into every combination of max or min, one group or many, all rows or some. */
static inline __attribute__((always_inline)) void ints_take(struct extreme *x, bool is_max,
	const int64_t *v, const uint32_t *groups, const int8_t *weights, uint32_t rows)
{
	int64_t *best = x->cells.ints, loser = is_max ? INT64_MIN : INT64_MAX;
	uint8_t *seen = x->seen;

	if (!groups) {
		int64_t one = best[0];
		uint8_t any = weights ? 0 : 1;

		for (uint32_t r = 0; r < rows; r++) {
			int64_t value = weights && !weights[r] ? loser : v[r];

			one = is_max ? (value > one ? value : one) : (value < one ? value : one);
			if (weights)
				any |= (uint8_t)weights[r];
		}
		best[0] = one;
		seen[0] |= any != 0;
		return;
	}
	for (uint32_t r = 0; r < rows; r++) {
		uint32_t g = groups[r];
		int64_t value = weights && !weights[r] ? loser : v[r], old = best[g];

		best[g] = is_max ? (value > old ? value : old) : (value < old ? value : old);
		seen[g] |= weights ? weights[r] != 0 : 1;
	}
}

static void ints_update(struct extreme *x, const int64_t *v, const uint32_t *groups,
	const int8_t *weights, uint32_t rows)
{
	bool is_max = x->base.function == AGGREGATE_MAX;

	if (is_max && weights && groups)
		ints_take(x, true, v, groups, weights, rows);
	else if (is_max && weights)
		ints_take(x, true, v, NULL, weights, rows);
	else if (is_max && groups)
		ints_take(x, true, v, groups, NULL, rows);
	else if (is_max)
		ints_take(x, true, v, NULL, NULL, rows);
	else if (weights && groups)
		ints_take(x, false, v, groups, weights, rows);
	else if (weights)
		ints_take(x, false, v, NULL, weights, rows);
	else if (groups)
		ints_take(x, false, v, groups, NULL, rows);
	else
		ints_take(x, false, v, NULL, NULL, rows);
}

static int order_sign(int order)
{
	return (order > 0) - (order < 0);
}

static int extreme_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	struct extreme *x = extreme_of(a);
	const int8_t *weights = aggregate_weights(a, args, rows);
	int sign = a->function == AGGREGATE_MAX ? -1 : 1; /* of a comparison that the row wins */

	if (x->cells.ints) {
		ints_update(
			x, ordered_values(x, args, rows->rows), rows->groups, weights, rows->rows);
		return 0;
	}
	for (uint32_t r = 0; r < rows->rows; r++) {
		uint32_t g = rows->groups ? rows->groups[r] : 0;

		if (weights && !weights[r])
			continue;
		if (!x->seen[g] || order_sign(cells_compare_row(&x->cells, g, args, r)) == sign)
			cells_set(&x->cells, g, args, r);
		x->seen[g] = 1;
	}
	return 0;
}

/* Empty groups hold what loses, so they need no look. */
static void ints_combine(struct extreme *t, const uint32_t *to_groups, const struct extreme *f,
	const uint32_t *from_groups, uint32_t n)
{
	bool is_max = t->base.function == AGGREGATE_MAX;

	for (uint32_t i = 0; i < n; i++) {
		int64_t *to = &t->cells.ints[to_groups[i]], from = f->cells.ints[from_groups[i]];

		*to = (is_max ? from > *to : from < *to) ? from : *to;
		t->seen[to_groups[i]] |= f->seen[from_groups[i]];
	}
}

static int extreme_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	struct extreme *t = extreme_of(to);
	const struct extreme *f = extreme_in(from);
	int sign = to->function == AGGREGATE_MAX ? -1 : 1;

	if (t->cells.ints) {
		ints_combine(t, to_groups, f, from_groups, n);
		return 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t tg = to_groups[i], fg = from_groups[i];

		if (!f->seen[fg])
			continue;
		if (!t->seen[tg] || order_sign(cells_compare(&t->cells, tg, &f->cells, fg)) == sign)
			cells_copy(&t->cells, tg, &f->cells, fg);
		t->seen[tg] = 1;
	}
	return 0;
}

/* 64-bit values of which none is null go out in runs. */
static bool ints_finalize(
	const struct extreme *x, const uint32_t *pick, uint32_t n, struct column_builder *out)
{
	int64_t some[512];

	if (out->width != sizeof *some || out->type.kind == TYPE_FLOAT)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (!x->seen[aggregate_picked(pick, i)])
			return false;
	}
	for (uint32_t i = 0; i < n;) {
		uint32_t len = 0;

		while (len < 512 && i < n)
			some[len++] = x->cells.ints[aggregate_picked(pick, i++)];
		builder_put_values(out, some, len);
	}
	return true;
}

static int extreme_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	const struct extreme *x = extreme_in(a);

	if (ints_finalize(x, pick, n, out))
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		if (x->seen[g])
			cells_put(&x->cells, g, out);
		else
			builder_put_null(out);
	}
	return 0;
}

static void extreme_field(const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	*name = a->function == AGGREGATE_MAX ? "max" : "min";
	*type = a->result;
}

static void extreme_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	struct error never;

	extreme_finalize(a, pick, n, builders, &never);
}

static int extreme_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	struct extreme *x = extreme_of(a);

	for (uint32_t i = 0; i < n; i++) {
		if (!column_is_valid(columns, i))
			continue;
		cells_set(&x->cells, groups[i], columns, i);
		x->seen[groups[i]] = 1;
	}
	return 0;
}

static size_t extreme_bytes(const struct aggregate *a)
{
	return sizeof(struct extreme) + extreme_in(a)->ordered.cap + a->cap +
	       cells_bytes(&extreme_in(a)->cells);
}

static const struct aggregate_ops extreme_ops = {
	.state_columns = 1,
	.free = extreme_free,
	.reserve = extreme_reserve,
	.start = extreme_start,
	.update = extreme_update,
	.combine = extreme_combine,
	.finalize = extreme_finalize,
	.state_field = extreme_field,
	.save = extreme_save,
	.load = extreme_load,
	.bytes = extreme_bytes,
};

struct aggregate *aggregate_extreme_new(enum aggregate_function f, struct type arg)
{
	struct extreme *x = mem_zero(sizeof *x);

	x->base.ops = &extreme_ops;
	x->base.function = f;
	x->base.result = arg;
	cells_init(&x->cells, arg);
	return &x->base;
}
