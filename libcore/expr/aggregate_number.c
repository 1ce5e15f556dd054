/* count, sum and avg: accumulators that add up, so rows can be taken back. */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

/* ---- count ---- */

struct count {
	struct aggregate base;
	int64_t *n;
};

static struct count *count_of(struct aggregate *a)
{
	return (struct count *)a;
}

static const struct count *count_in(const struct aggregate *a)
{
	return (const struct count *)a;
}

static void count_free(struct aggregate *a)
{
	mem_free(count_of(a)->n);
}

static void count_reserve(struct aggregate *a, uint32_t cap)
{
	AGGREGATE_RESERVE(count_of(a)->n, cap);
}

static void count_start(struct aggregate *a, uint32_t first, uint32_t end)
{
	memset(count_of(a)->n + first, 0, (end - first) * sizeof(int64_t));
}

static int count_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	const int8_t *weights = aggregate_weights(a, a->star ? NULL : args, rows);
	const uint32_t *groups = rows->groups;
	int64_t *n = count_of(a)->n, all = 0;

	if (!weights && !groups) {
		n[0] += rows->rows;
	} else if (!weights) {
		for (uint32_t r = 0; r < rows->rows; r++)
			n[groups[r]]++;
	} else if (!groups) {
		for (uint32_t r = 0; r < rows->rows; r++)
			all += weights[r];
		n[0] += all;
	} else {
		for (uint32_t r = 0; r < rows->rows; r++)
			n[groups[r]] += weights[r];
	}
	return 0;
}

static int count_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	for (uint32_t i = 0; i < n; i++)
		count_of(to)->n[to_groups[i]] += count_in(from)->n[from_groups[i]];
	return 0;
}

static void ints_put(
	const int64_t *values, const uint32_t *pick, uint32_t n, struct column_builder *out)
{
	int64_t some[512];

	if (!pick) {
		if (n)
			builder_put_values(out, values, n);
		return;
	}
	for (uint32_t i = 0; i < n;) {
		uint32_t len = 0;

		while (len < 512 && i < n)
			some[len++] = values[pick[i++]];
		builder_put_values(out, some, len);
	}
}

static int count_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	ints_put(count_in(a)->n, pick, n, out);
	return 0;
}

static void count_field(const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	*name = "count";
	*type = TYPE_OF(TYPE_INT);
}

static void count_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	ints_put(count_in(a)->n, pick, n, builders);
}

static int count_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!column_is_valid(columns, i))
			return error_set(e, ERROR_STATE, "a saved count is null");
		count_of(a)->n[groups[i]] = column_int(columns, i);
	}
	return 0;
}

static size_t count_bytes(const struct aggregate *a)
{
	return sizeof(struct count) + a->cap * sizeof(int64_t);
}

static const struct aggregate_ops count_ops = {
	.retracts = true,
	.state_columns = 1,
	.free = count_free,
	.reserve = count_reserve,
	.start = count_start,
	.update = count_update,
	.combine = count_combine,
	.finalize = count_finalize,
	.state_field = count_field,
	.save = count_save,
	.load = count_load,
	.bytes = count_bytes,
};

struct aggregate *aggregate_count_new(void)
{
	struct count *c = mem_zero(sizeof *c);

	c->base.ops = &count_ops;
	c->base.result = TYPE_OF(TYPE_INT);
	return &c->base;
}

/* ---- sum and avg ---- */

/* Sum and count side by side, so that a row touches one place.  128 bits as two words: an array of
 * __int128 would be padded to 32 bytes an element. */
struct exact {
	uint64_t low;
	int64_t high;
	int64_t n; /* values in the sum */
};

struct inexact {
	double sum;
	int64_t n;
};

struct sum {
	struct aggregate base;
	struct exact *exact;     /* bool, int, duration, decimal */
	struct inexact *inexact; /* float */
};

static struct sum *sum_of(struct aggregate *a)
{
	return (struct sum *)a;
}

static const struct sum *sum_in(const struct aggregate *a)
{
	return (const struct sum *)a;
}

static bool is_inexact(const struct aggregate *a)
{
	return a->args[0].kind == TYPE_FLOAT;
}

static inline __int128 exact_sum(const struct exact *x)
{
	return (__int128)((unsigned __int128)(uint64_t)x->high << 64 | x->low);
}

static inline void exact_set(struct exact *x, __int128 v)
{
	x->low = (uint64_t)v;
	x->high = (int64_t)(v >> 64);
}

/* Cannot overflow before 2^63 rows. */
static inline void exact_add(struct exact *x, __int128 v)
{
	exact_set(x, exact_sum(x) + v);
}

static void sum_free(struct aggregate *a)
{
	mem_free(sum_of(a)->exact);
	mem_free(sum_of(a)->inexact);
}

static void sum_reserve(struct aggregate *a, uint32_t cap)
{
	if (is_inexact(a))
		AGGREGATE_RESERVE(sum_of(a)->inexact, cap);
	else
		AGGREGATE_RESERVE(sum_of(a)->exact, cap);
}

static void sum_start(struct aggregate *a, uint32_t first, uint32_t end)
{
	if (is_inexact(a))
		memset(sum_of(a)->inexact + first, 0, (end - first) * sizeof(struct inexact));
	else
		memset(sum_of(a)->exact + first, 0, (end - first) * sizeof(struct exact));
}

/* The loops below are inlined into every combination of "all of one group" and "all count once",
 * where the tests on groups and weights vanish. */

static inline __attribute__((always_inline)) void ints_add(struct exact *sums, const int64_t *v,
	const uint32_t *groups, const int8_t *weights, uint32_t rows)
{
	for (uint32_t r = 0; r < rows; r++) {
		struct exact *x = &sums[groups[r]];
		int64_t weight = weights ? weights[r] : 1;

		exact_add(x, weights ? (__int128)v[r] * weight : v[r]);
		x->n += weight;
	}
}

/* One group: the low and the high halves add up apart, in 64 bits without overflow, as vectors. */
static inline __attribute__((always_inline)) void ints_add_all(
	struct exact *x, const int64_t *v, const int8_t *weights, uint32_t rows)
{
	int64_t low = 0, high = 0, n = 0;

	for (uint32_t r = 0; r < rows; r++) {
		int64_t weight = weights ? weights[r] : 1;

		low += (int64_t)(uint32_t)v[r] * weight;
		high += (v[r] >> 32) * weight;
		n += weight;
	}
	exact_add(x, (__int128)high * (INT64_C(1) << 32) + low);
	x->n += n;
}

static void ints_update(struct exact *sums, const int64_t *v, const uint32_t *groups,
	const int8_t *weights, uint32_t rows)
{
	enum { ROWS_MAX = 1 << 20 }; /* of which halves can't overflow */

	if (groups && weights) {
		ints_add(sums, v, groups, weights, rows);
	} else if (groups) {
		ints_add(sums, v, groups, NULL, rows);
	} else {
		for (uint32_t r = 0; r < rows; r += ROWS_MAX) {
			uint32_t some = rows - r < ROWS_MAX ? rows - r : ROWS_MAX;

			if (weights)
				ints_add_all(sums, v + r, weights + r, some);
			else
				ints_add_all(sums, v + r, NULL, some);
		}
	}
}

static void bools_update(struct exact *sums, const uint8_t *v, const uint32_t *groups,
	const int8_t *weights, uint32_t rows)
{
	for (uint32_t r = 0; r < rows; r++) {
		struct exact *x = &sums[groups ? groups[r] : 0];
		int64_t weight = weights ? weights[r] : 1;

		exact_add(x, v[r] ? weight : 0);
		x->n += weight;
	}
}

static inline __attribute__((always_inline)) void floats_add(struct inexact *sums, const double *v,
	const uint32_t *groups, const int8_t *weights, uint32_t rows)
{
	for (uint32_t r = 0; r < rows; r++) {
		struct inexact *x = &sums[groups ? groups[r] : 0];

		if (!weights || weights[r] > 0)
			x->sum += v[r];
		else if (weights[r] < 0)
			x->sum -= v[r];
		x->n += weights ? weights[r] : 1;
	}
}

static void floats_update(struct inexact *sums, const double *v, const uint32_t *groups,
	const int8_t *weights, uint32_t rows)
{
	if (groups && weights)
		floats_add(sums, v, groups, weights, rows);
	else if (groups)
		floats_add(sums, v, groups, NULL, rows);
	else if (weights)
		floats_add(sums, v, NULL, weights, rows);
	else
		floats_add(sums, v, NULL, NULL, rows);
}

static int decimal_overflow(struct error *e)
{
	return error_set(e, ERROR_DATA, "the sum of decimals has more than 38 digits");
}

static int decimals_update(struct exact *sums, const struct column *c, const uint32_t *groups,
	const int8_t *weights, uint32_t rows, struct error *e)
{
	for (uint32_t r = 0; r < rows; r++) {
		struct exact *x = &sums[groups ? groups[r] : 0];
		int64_t weight = weights ? weights[r] : 1;
		__int128 v = column_decimal(c, r), sum = exact_sum(x);

		if (weight == 0)
			continue;
		if (weight < 0 ? __builtin_sub_overflow(sum, v, &sum)
			       : __builtin_add_overflow(sum, v, &sum))
			return decimal_overflow(e);
		exact_set(x, sum);
		x->n += weight;
	}
	return 0;
}

static int sum_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	const int8_t *weights = aggregate_weights(a, args, rows);
	struct sum *s = sum_of(a);

	switch ((enum type_kind)a->args[0].kind) {
	case TYPE_FLOAT:
		floats_update(s->inexact, args->data, rows->groups, weights, rows->rows);
		break;
	case TYPE_BOOL:
		bools_update(s->exact, args->data, rows->groups, weights, rows->rows);
		break;
	case TYPE_DECIMAL:
		return decimals_update(s->exact, args, rows->groups, weights, rows->rows, e);
	case TYPE_INT:
	case TYPE_DURATION:
		ints_update(s->exact, args->data, rows->groups, weights, rows->rows);
		break;
	case TYPE_DATE:
	case TYPE_TIMESTAMP:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: MUST(false);
	}
	return 0;
}

static int sum_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	struct sum *t = sum_of(to);
	const struct sum *f = sum_in(from);

	if (is_inexact(to)) {
		for (uint32_t i = 0; i < n; i++) {
			t->inexact[to_groups[i]].sum += f->inexact[from_groups[i]].sum;
			t->inexact[to_groups[i]].n += f->inexact[from_groups[i]].n;
		}
		return 0;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct exact *x = &t->exact[to_groups[i]];
		const struct exact *y = &f->exact[from_groups[i]];
		__int128 sum;

		if (__builtin_add_overflow(exact_sum(x), exact_sum(y), &sum))
			return decimal_overflow(e);
		exact_set(x, sum);
		x->n += y->n;
	}
	return 0;
}

/* Halves away from zero. */
static __int128 divide(__int128 sum, int64_t n)
{
	__int128 q = sum / n, r = sum % n;

	if (r < 0)
		r = -r;
	return r >= n - r ? q + (sum < 0 ? -1 : 1) : q;
}

static int exact_put(const struct aggregate *a, const struct exact *x, struct column_builder *out,
	struct error *e)
{
	__int128 sum = exact_sum(x), scaled = sum;

	if (a->function == AGGREGATE_AVG && a->result.kind == TYPE_FLOAT) {
		builder_put_float(out, (double)sum / (double)x->n);
		return 0;
	}
	if (a->result.kind == TYPE_DECIMAL) {
		__int128 limit = decimal_pow10[38];

		if (a->function == AGGREGATE_AVG &&
			(__builtin_mul_overflow(
				sum, decimal_pow10[a->result.scale - a->args[0].scale], &scaled)))
			return decimal_overflow(e);
		if (a->function == AGGREGATE_AVG)
			scaled = divide(scaled, x->n);
		if (scaled >= limit || scaled <= -limit)
			return decimal_overflow(e);
		builder_put_decimal(out, scaled);
		return 0;
	}
	if (a->function == AGGREGATE_AVG)
		scaled = divide(sum, x->n);
	if (scaled != (int64_t)scaled) {
		error_set(e, ERROR_DATA, "the sum doesn't fit %s", type_name(a->result));
		return error_hint(e, "sum(x::decimal(38,0)) holds 38 digits");
	}
	builder_put_int(out, (int64_t)scaled);
	return 0;
}

static int sum_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		if (is_inexact(a)) {
			const struct inexact *x = &sum_in(a)->inexact[g];

			if (x->n == 0)
				builder_put_null(out);
			else
				builder_put_float(out, a->function == AGGREGATE_AVG
							       ? x->sum / (double)x->n
							       : x->sum);
			continue;
		}
		if (sum_in(a)->exact[g].n == 0)
			builder_put_null(out);
		else if (exact_put(a, &sum_in(a)->exact[g], out, e))
			return -1;
	}
	return 0;
}

static void sum_field(const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	uint8_t scale = a->args[0].kind == TYPE_DECIMAL ? a->args[0].scale : 0;

	*name = i == 0 ? "sum" : "count";
	*type = TYPE_OF(i == 0 && is_inexact(a) ? TYPE_FLOAT : TYPE_INT);
	if (i == 0 && !is_inexact(a))
		*type = (struct type){TYPE_DECIMAL, DECIMAL_PRECISION_MAX, scale};
}

static void sum_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		if (is_inexact(a)) {
			builder_put_float(&builders[0], sum_in(a)->inexact[g].sum);
			builder_put_int(&builders[1], sum_in(a)->inexact[g].n);
		} else {
			builder_put_decimal(&builders[0], exact_sum(&sum_in(a)->exact[g]));
			builder_put_int(&builders[1], sum_in(a)->exact[g].n);
		}
	}
}

static int sum_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!column_is_valid(&columns[0], i) || !column_is_valid(&columns[1], i))
			return error_set(e, ERROR_STATE, "a saved sum is null");
		if (is_inexact(a)) {
			sum_of(a)->inexact[groups[i]] = (struct inexact){
				column_float(&columns[0], i), column_int(&columns[1], i)};
		} else {
			exact_set(&sum_of(a)->exact[groups[i]], column_decimal(&columns[0], i));
			sum_of(a)->exact[groups[i]].n = column_int(&columns[1], i);
		}
	}
	return 0;
}

static size_t sum_bytes(const struct aggregate *a)
{
	return sizeof(struct sum) +
	       a->cap * (is_inexact(a) ? sizeof(struct inexact) : sizeof(struct exact));
}

static const struct aggregate_ops sum_ops = {
	.retracts = true,
	.state_columns = 2,
	.free = sum_free,
	.reserve = sum_reserve,
	.start = sum_start,
	.update = sum_update,
	.combine = sum_combine,
	.finalize = sum_finalize,
	.state_field = sum_field,
	.save = sum_save,
	.load = sum_load,
	.bytes = sum_bytes,
};

static struct type sum_result(enum aggregate_function f, struct type arg)
{
	enum { AVG_SCALE_MIN = 6 }; /* as Flink: an average of whole cents shows more than cents */
	uint8_t scale = arg.scale;

	if (arg.kind == TYPE_DURATION || arg.kind == TYPE_FLOAT)
		return arg;
	if (arg.kind == TYPE_DECIMAL) {
		if (f == AGGREGATE_AVG && scale < AVG_SCALE_MIN)
			scale = AVG_SCALE_MIN;
		return (struct type){TYPE_DECIMAL, DECIMAL_PRECISION_MAX, scale};
	}
	return TYPE_OF(f == AGGREGATE_AVG ? TYPE_FLOAT : TYPE_INT);
}

struct aggregate *aggregate_sum_new(enum aggregate_function f, struct type arg)
{
	struct sum *s = mem_zero(sizeof *s);

	s->base.ops = &sum_ops;
	s->base.function = f;
	s->base.args[0] = arg;
	s->base.result = sum_result(f, arg);
	return &s->base;
}
