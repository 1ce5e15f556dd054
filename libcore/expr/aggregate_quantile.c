/* quantile and median: exact, all values of a group side by side, selected at the end.
 *
 * A result is quantile_cont of SQL: of n sorted values the one at place fraction * (n - 1) from 0,
 * between two of them so much of the way. */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

#include <math.h>

struct quantile {
	struct aggregate base;
	struct runs values; /* per group: i64 as column_order gives them, or i128 */
};

static struct quantile *quantile_of(struct aggregate *a)
{
	return (struct quantile *)a;
}

static const struct quantile *quantile_in(const struct aggregate *a)
{
	return (const struct quantile *)a;
}

static size_t width_of(const struct aggregate *a)
{
	return a->args[0].kind == TYPE_DECIMAL ? sizeof(__int128) : sizeof(int64_t);
}

static void quantile_free(struct aggregate *a)
{
	runs_clear(&quantile_of(a)->values);
}

static void quantile_reserve(struct aggregate *a, uint32_t cap)
{
	runs_reserve(&quantile_of(a)->values, cap);
}

static void quantile_start(struct aggregate *a, uint32_t first, uint32_t end)
{
}

static void quantile_clear(struct aggregate *a, uint32_t group)
{
	runs_drop(&quantile_of(a)->values, group);
}

static void quantile_reset(struct aggregate *a)
{
	runs_reset(&quantile_of(a)->values);
}

static int quantile_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	const int8_t *weights = aggregate_weights(a, args, rows);
	struct runs *values = &quantile_of(a)->values;
	size_t width = width_of(a);

	for (uint32_t r = 0; r < rows->rows; r++) {
		uint32_t g = rows->groups ? rows->groups[r] : 0;
		uint8_t *to;

		if (weights && !weights[r])
			continue;
		to = runs_room(values, g, width);
		if (!to)
			return aggregate_too_large(e);
		if (width == sizeof(int64_t)) {
			int64_t v = column_order(args, r);

			memcpy(to, &v, sizeof v);
		} else {
			__int128 v = column_decimal(args, r);

			memcpy(to, &v, sizeof v);
		}
		values->runs[g].len += (uint32_t)width;
	}
	return 0;
}

static int quantile_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	return runs_append(&quantile_of(to)->values, to_groups, &quantile_in(from)->values, from_groups, n)
		? 0 : aggregate_too_large(e);
}

/* ---- selection (Hoare 1961): the k-th least comes to place k, the lesser ones before it ---- */

#define LESSER(a, b) ((a) < (b) ? (a) : (b))
#define GREATER(a, b) ((a) < (b) ? (b) : (a))

#define SELECT(name, ctype)                                                                    \
	static void name(ctype *v, size_t n, size_t k)                                         \
	{                                                                                      \
		size_t low = 0, high = n - 1;                                                  \
		uint64_t random = n;                                                           \
		while (low < high) {                                                           \
			size_t i = low, j = high;                                              \
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407; \
			ctype a = v[low], b = v[low + (size_t)(random >> 33) % (high - low)];  \
			/* Of three; never the greatest alone, so that j ends below high. */   \
			ctype pivot = a < b ? LESSER(b, GREATER(a, v[high]))                   \
					    : LESSER(a, GREATER(b, v[high]));                  \
			for (;;) {                                                             \
				while (v[i] < pivot)                                           \
					i++;                                                   \
				while (v[j] > pivot)                                           \
					j--;                                                   \
				if (i >= j)                                                    \
					break;                                                 \
				ctype swap = v[i];                                             \
				v[i++] = v[j];                                                 \
				v[j--] = swap;                                                 \
			}                                                                      \
			/* low..j are at most, j + 1..high at least the pivot. */              \
			if (k <= j)                                                            \
				high = j;                                                      \
			else                                                                   \
				low = j + 1;                                                   \
		}                                                                              \
	}

SELECT(ints_select, int64_t)
SELECT(decimals_select, __int128)

struct quantile_place quantile_place(double fraction, int64_t n)
{
	double place = fraction * (double)(n - 1), low = floor(place);
	struct quantile_place p = {(int64_t)low, place - low};

	if (p.low >= n - 1)
		p = (struct quantile_place){n - 1, 0};
	return p;
}

struct type quantile_result(struct type arg)
{
	enum { SCALE_MIN = 6 }; /* as averages have */

	if (arg.kind == TYPE_DECIMAL)
		return (struct type){TYPE_DECIMAL, DECIMAL_PRECISION_MAX,
			arg.scale < SCALE_MIN ? SCALE_MIN : arg.scale};
	return arg.kind == TYPE_INT ? TYPE_OF(TYPE_FLOAT) : arg;
}

static int decimal_between(
	struct type arg, __int128 low, __int128 high, double part, __int128 *out, struct error *e)
{
	__int128 scale = decimal_pow10[quantile_result(arg).scale - arg.scale], step;

	if (__builtin_mul_overflow(low, scale, &low) ||
		__builtin_mul_overflow(high, scale, &high) ||
		__builtin_sub_overflow(high, low, &step))
		return error_set(e, ERROR_DATA, "the quantile of decimals has more than 38 digits");
	*out = low + (__int128)floorl((long double)step * part + 0.5L);
	return 0;
}

int quantile_put(struct type arg, __int128 low, __int128 high, double part,
	struct column_builder *out, struct error *e)
{
	double a, b;

	if (arg.kind == TYPE_DECIMAL) {
		__int128 v = 0;

		if (decimal_between(arg, low, high, part, &v, e))
			return -1;
		if (v >= decimal_pow10[38] || v <= -decimal_pow10[38])
			return error_set(
				e, ERROR_DATA, "the quantile of decimals has more than 38 digits");
		builder_put_decimal(out, v);
		return 0;
	}
	if (arg.kind == TYPE_TIMESTAMP || arg.kind == TYPE_DURATION) {
		builder_put_int(
			out, (int64_t)(low + (__int128)floor((double)(high - low) * part + 0.5)));
		return 0;
	}
	a = arg.kind == TYPE_INT ? (double)(int64_t)low : float_from_order((int64_t)low);
	b = arg.kind == TYPE_INT ? (double)(int64_t)high : float_from_order((int64_t)high);
	builder_put_float(out, part == 0 || a == b ? a : a * (1 - part) + b * part);
	return 0;
}

static int ints_put(const struct aggregate *a, int64_t *v, size_t n, struct column_builder *out,
	struct error *e)
{
	struct quantile_place p = quantile_place(a->fraction, (int64_t)n);
	size_t low = (size_t)p.low;
	int64_t next;

	ints_select(v, n, low);
	next = v[low];
	if (p.part > 0) {
		next = v[low + 1];
		for (size_t i = low + 2; i < n; i++)
			next = v[i] < next ? v[i] : next;
	}
	return quantile_put(a->args[0], v[low], next, p.part, out, e);
}

static int decimals_put(const struct aggregate *a, __int128 *v, size_t n,
	struct column_builder *out, struct error *e)
{
	struct quantile_place p = quantile_place(a->fraction, (int64_t)n);
	size_t low = (size_t)p.low;
	__int128 next;

	decimals_select(v, n, low);
	next = v[low];
	if (p.part > 0) {
		next = v[low + 1];
		for (size_t i = low + 2; i < n; i++)
			next = v[i] < next ? v[i] : next;
	}
	return quantile_put(a->args[0], v[low], next, p.part, out, e);
}

/* Selection moves a group's values about in place, which nobody sees: a copy would double what a
 * large group takes.  Decimals lie at multiples of 8 only and are copied. */
static int quantile_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	const struct runs *values = &quantile_in(a)->values;
	struct buf copy = BUF_INIT;
	int status = 0;

	for (uint32_t i = 0; i < n && status == 0; i++) {
		uint32_t g = aggregate_picked(pick, i), len = runs_len(values, g);
		void *v = runs_data(values, g);

		if (len == 0) {
			builder_put_null(out);
		} else if (a->args[0].kind == TYPE_DECIMAL) {
			buf_reset(&copy);
			buf_put(&copy, v, len);
			v = copy.data;
			status = decimals_put(a, v, len / sizeof(__int128), out, e);
		} else {
			status = ints_put(a, v, len / sizeof(int64_t), out, e);
		}
	}
	buf_clear(&copy);
	return status;
}

/* ---- snapshots: a group's values one after another, little endian ---- */

static void quantile_field(
	const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	*name = "values";
	*type = TYPE_OF(TYPE_BYTES);
}

static void quantile_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	const struct runs *values = &quantile_in(a)->values;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		builder_put_text(builders, runs_data(values, g), runs_len(values, g));
	}
}

static int quantile_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	struct runs *values = &quantile_of(a)->values;

	for (uint32_t i = 0; i < n; i++) {
		struct text_view v = column_is_valid(columns, i) ? column_text(columns, i)
								 : (struct text_view){NULL, 1};
		uint8_t *to;

		if (v.len % width_of(a))
			return error_set(
				e, ERROR_STATE, "the saved values of a quantile are cut short");
		runs_drop(values, groups[i]);
		if (v.len == 0)
			continue;
		to = runs_room(values, groups[i], v.len);
		if (!to)
			return aggregate_too_large(e);
		memcpy(to, v.text, v.len);
		values->runs[groups[i]].len = (uint32_t)v.len;
	}
	return 0;
}

static size_t quantile_bytes(const struct aggregate *a)
{
	return sizeof(struct quantile) + runs_bytes(&quantile_in(a)->values);
}

static const struct aggregate_ops quantile_ops = {
	.state_columns = 1,
	.free = quantile_free,
	.reserve = quantile_reserve,
	.start = quantile_start,
	.clear = quantile_clear,
	.reset = quantile_reset,
	.update = quantile_update,
	.combine = quantile_combine,
	.finalize = quantile_finalize,
	.state_field = quantile_field,
	.save = quantile_save,
	.load = quantile_load,
	.bytes = quantile_bytes,
};

struct aggregate *aggregate_quantile_new(struct type arg)
{
	struct quantile *q = mem_zero(sizeof *q);

	q->base.ops = &quantile_ops;
	q->base.args[0] = arg;
	q->base.result = quantile_result(arg);
	return &q->base;
}
