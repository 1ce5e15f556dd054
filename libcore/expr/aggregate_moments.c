/* variance and stddev; and sum and avg of floats that may be taken back.
 *
 * Kept are n, the sum and the sum of squares: of ints exactly (128 and 192 bits), of others in
 * three doubles (about 159 bits).  That adds up in any order and comes apart again: a value that is
 * taken back leaves nothing, though it was 1e15 times as large as the others, where the running
 * mean of Welford and Chan would keep its rounding for ever.  The subtraction at the end, in two
 * doubles, loses as many digits as the square of mean / deviation has: deviations down to 1e-8 of
 * the mean keep all digits of a double.
 *
 * The additions are those of Dekker (1971) and Knuth; nothing here may be compiled with
 * -ffast-math. */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

#include <math.h>

/* ---- numbers of two doubles, hi + lo, and sums of three ---- */

struct pair {
	double hi, lo;
};

static inline struct pair sum_exactly(double a, double b)
{
	double s = a + b, t = s - a;

	return (struct pair){s, (a - (s - t)) + (b - t)};
}

static inline struct pair product_exactly(double a, double b)
{
	const double split = 134217729; /* 2^27 + 1 */
	double p = a * b, x = split * a, y = split * b;
	double a_hi = x - (x - a), b_hi = y - (y - b), a_lo = a - a_hi, b_lo = b - b_hi;

	return (struct pair){p, ((a_hi * b_hi - p) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo};
}

struct total {
	double hi, mid, lo;
};

static inline void total_add(struct total *to, struct pair v)
{
	struct pair s = sum_exactly(to->hi, v.hi), rest = sum_exactly(s.lo, v.lo);
	struct pair m = sum_exactly(to->mid, rest.hi);

	to->hi = s.hi;
	to->mid = m.hi;
	to->lo += m.lo + rest.lo;
}

static void total_combine(struct total *to, const struct total *from)
{
	total_add(to, (struct pair){from->hi, from->mid});
	to->lo += from->lo;
}

/* What cancelled in hi may have left all of it in the others. */
static struct pair total_pair(const struct total *t)
{
	struct pair rest = sum_exactly(t->mid, t->lo), all = sum_exactly(t->hi, rest.hi);

	all.lo += rest.lo;
	return sum_exactly(all.hi, all.lo);
}

static struct pair pair_subtract(struct pair a, struct pair b)
{
	struct pair s = sum_exactly(a.hi, -b.hi);

	s.lo += a.lo - b.lo;
	return s;
}

static inline struct pair pair_minus(struct pair v)
{
	return (struct pair){-v.hi, -v.lo};
}

static double pair_value(struct pair v)
{
	return isfinite(v.hi) ? v.hi + v.lo : v.hi;
}

static struct pair pair_square(struct pair v)
{
	struct pair p = product_exactly(v.hi, v.hi);

	p.lo += 2 * v.hi * v.lo;
	return p;
}

static struct pair pair_divide(struct pair v, double by)
{
	double hi = v.hi / by;
	struct pair back = product_exactly(hi, by);

	return (struct pair){hi, (((v.hi - back.hi) - back.lo) + v.lo) / by};
}

/* ---- the state ---- */

struct whole { /* of ints */
	int64_t n;
	uint64_t sum_low;
	int64_t sum_high;
	uint64_t squares[3]; /* little end first */
};

struct real {                      /* of floats and decimals */
	int64_t n;                 /* all of them */
	struct total sum, squares; /* of those that are finite */
	int64_t nans, ups, downs;  /* not a number, too large, too small */
};

struct moments {
	struct aggregate base;
	struct whole *whole;
	struct real *real;
};

static struct moments *moments_of(struct aggregate *a)
{
	return (struct moments *)a;
}

static const struct moments *moments_in(const struct aggregate *a)
{
	return (const struct moments *)a;
}

static bool is_whole(const struct aggregate *a)
{
	return a->args[0].kind == TYPE_INT || a->args[0].kind == TYPE_BOOL;
}

static bool needs_squares(const struct aggregate *a)
{
	return a->function != AGGREGATE_SUM && a->function != AGGREGATE_AVG;
}

static void moments_free(struct aggregate *a)
{
	mem_free(moments_of(a)->whole);
	mem_free(moments_of(a)->real);
}

static void moments_reserve(struct aggregate *a, uint32_t cap)
{
	if (is_whole(a))
		AGGREGATE_RESERVE(moments_of(a)->whole, cap);
	else
		AGGREGATE_RESERVE(moments_of(a)->real, cap);
}

static void moments_start(struct aggregate *a, uint32_t first, uint32_t end)
{
	if (is_whole(a))
		memset(moments_of(a)->whole + first, 0, (end - first) * sizeof(struct whole));
	else
		memset(moments_of(a)->real + first, 0, (end - first) * sizeof(struct real));
}

/* ---- ints ---- */

static inline __int128 whole_sum(const struct whole *w)
{
	return (__int128)((unsigned __int128)(uint64_t)w->sum_high << 64 | w->sum_low);
}

static inline void whole_sum_add(struct whole *w, __int128 v)
{
	unsigned __int128 sum = (unsigned __int128)whole_sum(w) + (unsigned __int128)v;

	w->sum_low = (uint64_t)sum;
	w->sum_high = (int64_t)(uint64_t)(sum >> 64);
}

/* Modulo 2^192: what is taken back before it came is right in the end. */
static inline void squares_add(uint64_t *to, uint64_t v0, uint64_t v1, uint64_t v2)
{
	unsigned __int128 sum = (unsigned __int128)to[0] + v0;

	to[0] = (uint64_t)sum;
	sum = (sum >> 64) + to[1] + v1;
	to[1] = (uint64_t)sum;
	to[2] += v2 + (uint64_t)(sum >> 64);
}

static inline void squares_subtract(uint64_t *from, uint64_t v0, uint64_t v1)
{
	bool borrow = __builtin_sub_overflow(from[0], v0, &from[0]);
	bool more = __builtin_sub_overflow(from[1], v1, &from[1]);

	more |= __builtin_sub_overflow(from[1], (uint64_t)borrow, &from[1]);
	from[2] -= more;
}

static inline void whole_add(struct whole *w, int64_t v, int weight)
{
	uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
	unsigned __int128 square = (unsigned __int128)size * size;

	w->n += weight;
	if (weight > 0) {
		whole_sum_add(w, v);
		squares_add(w->squares, (uint64_t)square, (uint64_t)(square >> 64), 0);
	} else {
		whole_sum_add(w, -(__int128)v);
		squares_subtract(w->squares, (uint64_t)square, (uint64_t)(square >> 64));
	}
}

/* to[4] = a[0..len) * b, little end first. */
static void multiply(uint64_t to[4], const uint64_t *a, unsigned len, uint64_t b)
{
	unsigned __int128 carry = 0;

	for (unsigned i = 0; i < 4; i++) {
		carry += i < len ? (unsigned __int128)a[i] * b : 0;
		to[i] = (uint64_t)carry;
		carry >>= 64;
	}
}

/* n * (sum of squares) - (sum)^2, which is n^2 times the variance: exact, then rounded once. */
static double whole_spread(const struct whole *w)
{
	__int128 sum = whole_sum(w);
	unsigned __int128 size = sum < 0 ? -(unsigned __int128)sum : (unsigned __int128)sum;
	uint64_t parts[2] = {(uint64_t)size, (uint64_t)(size >> 64)};
	uint64_t all[4], low[4], high[4];
	unsigned __int128 carry = 0;
	bool borrow = false;
	double value = 0;

	multiply(all, w->squares, 3, (uint64_t)w->n);
	multiply(low, parts, 2, parts[0]);
	multiply(high, parts, 2, parts[1]);
	for (unsigned i = 0; i < 4; i++) {
		carry += (unsigned __int128)low[i] + (i ? high[i - 1] : 0);
		low[i] = (uint64_t)carry;
		carry >>= 64;
	}
	for (unsigned i = 0; i < 4; i++) {
		bool next = __builtin_sub_overflow(all[i], low[i], &all[i]);

		next |= __builtin_sub_overflow(all[i], (uint64_t)borrow, &all[i]);
		borrow = next;
	}
	if (borrow) /* more was taken back than had come */
		return 0;
	for (int i = 3; i >= 0; i--)
		value = value * 18446744073709551616.0 + (double)all[i];
	return value;
}

/* ---- floats ---- */

/* Values whose square is no double count as infinite where squares are needed. */
static inline void real_add(struct real *r, double v, int weight, bool squares)
{
	double size = squares ? 1e154 : 1.7976931348623157e308;

	r->n += weight;
	if (v != v) {
		r->nans += weight;
	} else if (v > size) {
		r->ups += weight;
	} else if (v < -size) {
		r->downs += weight;
	} else {
		struct pair square = squares ? product_exactly(v, v) : (struct pair){0, 0};

		total_add(&r->sum, (struct pair){weight < 0 ? -v : v, 0});
		total_add(&r->squares, weight < 0 ? pair_minus(square) : square);
	}
}

/* The sum of (v - mean)^2; NaN if some value isn't finite. */
static double real_spread(const struct real *r)
{
	struct pair squares = total_pair(&r->squares), square = pair_square(total_pair(&r->sum));
	double value;

	if (r->nans || r->ups || r->downs)
		return NAN;
	value = pair_value(pair_subtract(squares, pair_divide(square, (double)r->n)));
	/* Equal values: what is left is the rounding of the last of 106 bits. */
	return value <= squares.hi * 0x1p-98 ? 0 : value;
}

static double real_sum(const struct real *r)
{
	if (r->nans || (r->ups && r->downs))
		return NAN;
	if (r->ups || r->downs)
		return r->ups ? INFINITY : -INFINITY;
	return isfinite(r->sum.hi) ? pair_value(total_pair(&r->sum)) : r->sum.hi;
}

/* ---- rows ---- */

static double number(const struct column *c, uint32_t row)
{
	return c->type.kind == TYPE_DECIMAL
		       ? decimal_to_float(column_decimal(c, row), c->type.scale)
		       : column_float(c, row);
}

static int moments_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	const int8_t *weights = aggregate_weights(a, args, rows);
	struct moments *m = moments_of(a);
	bool whole = is_whole(a), squares = needs_squares(a);

	for (uint32_t r = 0; r < rows->rows; r++) {
		uint32_t g = rows->groups ? rows->groups[r] : 0;
		int weight = weights ? weights[r] : 1;

		if (weight && whole)
			whole_add(&m->whole[g], column_order(args, r), weight);
		else if (weight)
			real_add(&m->real[g], number(args, r), weight, squares);
	}
	return 0;
}

static void whole_combine(struct whole *to, const struct whole *from)
{
	to->n += from->n;
	whole_sum_add(to, whole_sum(from));
	squares_add(to->squares, from->squares[0], from->squares[1], from->squares[2]);
}

static void real_combine(struct real *to, const struct real *from)
{
	to->n += from->n;
	total_combine(&to->sum, &from->sum);
	total_combine(&to->squares, &from->squares);
	to->nans += from->nans;
	to->ups += from->ups;
	to->downs += from->downs;
}

static int moments_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	struct moments *t = moments_of(to);
	const struct moments *f = moments_in(from);

	for (uint32_t i = 0; i < n; i++) {
		if (is_whole(to))
			whole_combine(&t->whole[to_groups[i]], &f->whole[from_groups[i]]);
		else
			real_combine(&t->real[to_groups[i]], &f->real[from_groups[i]]);
	}
	return 0;
}

/* ---- results ---- */

static double variance(const struct moments *m, uint32_t g, int64_t n, bool sample)
{
	double below = (double)(sample ? n - 1 : n);

	if (is_whole(&m->base))
		return whole_spread(&m->whole[g]) / (double)n / below;
	return real_spread(&m->real[g]) / below;
}

static void result_put(const struct moments *m, uint32_t g, struct column_builder *out)
{
	enum aggregate_function f = m->base.function;
	int64_t n = is_whole(&m->base) ? m->whole[g].n : m->real[g].n;
	bool sample = f == AGGREGATE_VARIANCE || f == AGGREGATE_STDDEV;
	double v;

	if (n == 0 || (needs_squares(&m->base) && n <= (sample ? 1 : 0))) {
		builder_put_null(out);
		return;
	}
	if (!needs_squares(&m->base)) {
		v = real_sum(&m->real[g]);
		builder_put_float(out, f == AGGREGATE_AVG ? v / (double)n : v);
		return;
	}
	v = variance(m, g, n, sample);
	if (f == AGGREGATE_STDDEV || f == AGGREGATE_STDDEV_POP)
		v = sqrt(v);
	builder_put_float(out, v);
}

static int moments_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	for (uint32_t i = 0; i < n; i++)
		result_put(moments_in(a), aggregate_picked(pick, i), out);
	return 0;
}

/* ---- snapshots: count, sum, and the rest of the state as it lies in memory ---- */

enum { WHOLE_REST = 3 * 8, REAL_REST = 8 * 8 };

static void moments_field(const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	static const char *const names[] = {"count", "sum", "rest"};

	*name = names[i];
	*type = TYPE_OF(i == 0 ? TYPE_INT : i == 1 ? TYPE_FLOAT : TYPE_BYTES);
	if (i == 1 && is_whole(a))
		*type = (struct type){TYPE_DECIMAL, DECIMAL_PRECISION_MAX, 0};
}

static void moments_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		if (is_whole(a)) {
			const struct whole *w = &moments_in(a)->whole[g];

			builder_put_int(&builders[0], w->n);
			builder_put_decimal(&builders[1], whole_sum(w));
			builder_put_text(&builders[2], w->squares, WHOLE_REST);
		} else {
			const struct real *r = &moments_in(a)->real[g];

			builder_put_int(&builders[0], r->n);
			builder_put_float(&builders[1], r->sum.hi);
			builder_put_text(&builders[2], &r->sum.mid, REAL_REST);
		}
	}
}

static int moments_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	size_t rest = is_whole(a) ? WHOLE_REST : REAL_REST;

	for (uint32_t i = 0; i < n; i++) {
		for (size_t k = 0; k < 3; k++) {
			if (!column_is_valid(&columns[k], i))
				return error_set(e, ERROR_STATE, "a saved sum is null");
		}
		struct text_view v = column_text(&columns[2], i);

		if (v.len != rest)
			return error_set(e, ERROR_STATE,
				"a saved sum of squares has %zu bytes, not %zu", v.len, rest);
		if (is_whole(a)) {
			struct whole *w = &moments_of(a)->whole[groups[i]];

			*w = (struct whole){.n = column_int(&columns[0], i)};
			whole_sum_add(w, column_decimal(&columns[1], i));
			memcpy(w->squares, v.text, rest);
		} else {
			struct real *r = &moments_of(a)->real[groups[i]];

			r->n = column_int(&columns[0], i);
			r->sum.hi = column_float(&columns[1], i);
			memcpy(&r->sum.mid, v.text, rest);
		}
	}
	return 0;
}

static size_t moments_bytes(const struct aggregate *a)
{
	return sizeof(struct moments) +
	       a->cap * (is_whole(a) ? sizeof(struct whole) : sizeof(struct real));
}

static const struct aggregate_ops moments_ops = {
	.retracts = true,
	.state_columns = 3,
	.free = moments_free,
	.reserve = moments_reserve,
	.start = moments_start,
	.update = moments_update,
	.combine = moments_combine,
	.finalize = moments_finalize,
	.state_field = moments_field,
	.save = moments_save,
	.load = moments_load,
	.bytes = moments_bytes,
};

struct aggregate *aggregate_moments_new(enum aggregate_function f, struct type arg)
{
	struct moments *m = mem_zero(sizeof *m);

	_Static_assert(sizeof(struct real) == 2 * 8 + REAL_REST, "the rest of it without gaps");
	m->base.ops = &moments_ops;
	m->base.function = f;
	m->base.args[0] = arg;
	m->base.result = TYPE_OF(TYPE_FLOAT);
	return &m->base;
}
