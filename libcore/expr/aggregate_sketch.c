/* approx_quantile: a histogram whose buckets are as wide as their values are large, after DDSketch
 * (Masson, Rim, Lee, VLDB 2019) with its linear mapping: a double's sign, exponent and first six
 * bits of mantissa are its bucket, so that a row costs a shift and a search.
 *
 *   buckets of [64, 128):   [64, 65) [65, 66) ...      of [128, 256):   [128, 130) [130, 132) ...
 *
 * A bucket is answered with its middle, which is within 1/128 of every value in it.  Counts add up
 * and can be taken back, so a result doesn't depend on how rows were split: no other sketch would
 * retract.  Memory: 64 buckets of 12 bytes for every doubling that the values span, those that are
 * empty left out. */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

#include <math.h>

enum {
	MANTISSA_BITS = 6,
	SHIFT = 52 - MANTISSA_BITS,
	KEY_INFINITE = 0x7ff << MANTISSA_BITS,
	KEY_NAN = INT32_MAX, /* greatest, as everywhere */
};

/* Sorted by key: 1 + the leading bits of a positive value, -1 - those of a negative one, 0. */
struct bucket {
	int32_t key;
	uint32_t count[2]; /* i64, little end first: 12 bytes a bucket */
};

struct sketch {
	struct aggregate base;
	struct runs buckets; /* per group */
};

static struct sketch *sketch_of(struct aggregate *a)
{
	return (struct sketch *)a;
}

static const struct sketch *sketch_in(const struct aggregate *a)
{
	return (const struct sketch *)a;
}

static inline int64_t bucket_count(const struct bucket *b)
{
	return (int64_t)((uint64_t)b->count[1] << 32 | b->count[0]);
}

static inline void bucket_set(struct bucket *b, int64_t count)
{
	b->count[0] = (uint32_t)(uint64_t)count;
	b->count[1] = (uint32_t)((uint64_t)count >> 32);
}

static struct bucket *buckets_of(const struct runs *r, uint32_t group)
{
	return (struct bucket *)(void *)runs_data(r, group);
}

static uint32_t buckets_len(const struct runs *r, uint32_t group)
{
	return runs_len(r, group) / (uint32_t)sizeof(struct bucket);
}

/* ---- values and keys ---- */

static inline int32_t key_of(double v)
{
	uint64_t bits;
	int32_t size;

	if (v != v)
		return KEY_NAN;
	if (v == 0)
		return 0;
	memcpy(&bits, &v, sizeof bits);
	size = (int32_t)(bits << 1 >> (SHIFT + 1)) + 1;
	return bits >> 63 ? -size : size;
}

static double bucket_edge(int32_t size)
{
	uint64_t bits = (uint64_t)size << SHIFT;
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

/* Of ints only those in the bucket count: below 128 there is just one. */
static double value_of(int32_t key, bool whole)
{
	int32_t size = (key < 0 ? -key : key) - 1;
	double low, high, middle;

	if (key == 0)
		return 0;
	if (key == KEY_NAN)
		return NAN;
	low = bucket_edge(size);
	if (size >= KEY_INFINITE)
		return copysign(low, key);
	high = size + 1 < KEY_INFINITE ? bucket_edge(size + 1) : 0x1.fffffffffffffp1023;
	middle = whole ? (ceil(low) + ceil(high) - 1) / 2 : low + (high - low) / 2;
	return copysign(middle, key);
}

/* ---- groups ---- */

static void sketch_free(struct aggregate *a)
{
	runs_clear(&sketch_of(a)->buckets);
}

static void sketch_reserve(struct aggregate *a, uint32_t cap)
{
	runs_reserve(&sketch_of(a)->buckets, cap);
}

static void sketch_start(struct aggregate *a, uint32_t first, uint32_t end)
{
}

static void sketch_clear(struct aggregate *a, uint32_t group)
{
	runs_drop(&sketch_of(a)->buckets, group);
}

static void sketch_reset(struct aggregate *a)
{
	runs_reset(&sketch_of(a)->buckets);
}

/* The first bucket whose key is not less. */
static uint32_t bucket_find(const struct bucket *b, uint32_t n, int32_t key)
{
	uint32_t at = 0;

	while (n > 1) {
		uint32_t half = n / 2;

		at += b[at + half - 1].key < key ? half : 0;
		n -= half;
	}
	return at + (n == 1 && b[at].key < key);
}

static void bucket_remove(struct runs *r, uint32_t group, uint32_t at)
{
	struct bucket *b = buckets_of(r, group);
	uint32_t n = buckets_len(r, group);

	memmove(b + at, b + at + 1, (n - at - 1) * sizeof *b);
	r->runs[group].len -= (uint32_t)sizeof *b;
	if (n == 1)
		runs_drop(r, group);
}

static void bucket_add(struct runs *r, uint32_t group, int32_t key, int64_t count)
{
	struct bucket *b = buckets_of(r, group);
	uint32_t n = buckets_len(r, group), at = n ? bucket_find(b, n, key) : 0;

	if (at < n && b[at].key == key) {
		count += bucket_count(&b[at]);
		bucket_set(&b[at], count);
		if (count == 0)
			bucket_remove(r, group, at);
		return;
	}
	MUST(runs_room(r, group, sizeof *b)); /* there are 2^18 keys at most */
	b = buckets_of(r, group);
	memmove(b + at + 1, b + at, (n - at) * sizeof *b);
	b[at].key = key;
	bucket_set(&b[at], count);
	r->runs[group].len += (uint32_t)sizeof *b;
}

static double number(const struct column *c, uint32_t row)
{
	if (c->type.kind == TYPE_FLOAT)
		return column_float(c, row);
	if (c->type.kind == TYPE_DECIMAL)
		return decimal_to_float(column_decimal(c, row), c->type.scale);
	return (double)column_int(c, row);
}

static int sketch_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	const int8_t *weights = aggregate_weights(a, args, rows);
	struct runs *buckets = &sketch_of(a)->buckets;

	for (uint32_t r = 0; r < rows->rows; r++) {
		int weight = weights ? weights[r] : 1;

		if (weight)
			bucket_add(buckets, rows->groups ? rows->groups[r] : 0,
				key_of(number(args, r)), weight);
	}
	return 0;
}

static int sketch_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	struct runs *t = &sketch_of(to)->buckets;
	const struct runs *f = &sketch_in(from)->buckets;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = buckets_len(f, from_groups[i]);

		for (uint32_t k = 0; k < len; k++) { /* from may be to, whose runs move */
			struct bucket b = buckets_of(f, from_groups[i])[k];

			bucket_add(t, to_groups[i], b.key, bucket_count(&b));
		}
	}
	return 0;
}

/* ---- results ---- */

/* The key of the value at a place among all that are sorted. */
static int32_t key_at(const struct bucket *b, uint32_t n, int64_t place)
{
	uint32_t k = 0;

	for (int64_t seen = bucket_count(&b[0]); seen <= place && k + 1 < n;)
		seen += bucket_count(&b[++k]);
	return b[k].key;
}

static void result_put(
	const struct aggregate *a, const struct bucket *b, uint32_t n, struct column_builder *out)
{
	bool whole = a->args[0].kind == TYPE_INT || a->args[0].kind == TYPE_DURATION;
	struct quantile_place p;
	int64_t count = 0;
	double low, high, v;

	for (uint32_t k = 0; k < n; k++)
		count += bucket_count(&b[k]);
	if (count <= 0) {
		builder_put_null(out);
		return;
	}
	p = quantile_place(a->fraction, count);
	v = low = value_of(key_at(b, n, p.low), whole);
	if (p.part > 0) {
		high = value_of(key_at(b, n, p.low + 1), whole);
		v = low == high ? low : low * (1 - p.part) + high * p.part;
	}
	if (a->result.kind == TYPE_FLOAT)
		builder_put_float(out, v);
	else
		builder_put_int(out, v >= 0x1p63    ? INT64_MAX
				     : v <= -0x1p63 ? INT64_MIN
						    : llround(v));
}

static int sketch_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	const struct runs *buckets = &sketch_in(a)->buckets;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		result_put(a, buckets_of(buckets, g), buckets_len(buckets, g), out);
	}
	return 0;
}

/* ---- snapshots: a group's buckets as they lie in memory ---- */

static void sketch_field(const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	*name = "buckets";
	*type = TYPE_OF(TYPE_BYTES);
}

static void sketch_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	const struct runs *buckets = &sketch_in(a)->buckets;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		builder_put_text(builders, runs_data(buckets, g), runs_len(buckets, g));
	}
}

static bool is_key(int32_t key)
{
	return key == KEY_NAN || (key >= -KEY_INFINITE - 1 && key <= KEY_INFINITE + 1);
}

static int sketch_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	struct runs *buckets = &sketch_of(a)->buckets;

	for (uint32_t i = 0; i < n; i++) {
		struct text_view v = column_is_valid(columns, i) ? column_text(columns, i)
								 : (struct text_view){NULL, 1};

		if (v.len % sizeof(struct bucket))
			return error_set(e, ERROR_STATE, "a saved histogram is cut short");
		runs_drop(buckets, groups[i]);
		for (size_t at = 0; at < v.len; at += sizeof(struct bucket)) {
			struct bucket b;

			memcpy(&b, v.text + at, sizeof b);
			if (!is_key(b.key))
				return error_set(e, ERROR_STATE,
					"a saved histogram has no bucket %d", b.key);
			bucket_add(buckets, groups[i], b.key, bucket_count(&b));
		}
	}
	return 0;
}

static size_t sketch_bytes(const struct aggregate *a)
{
	return sizeof(struct sketch) + runs_bytes(&sketch_in(a)->buckets);
}

static const struct aggregate_ops sketch_ops = {
	.retracts = true,
	.state_columns = 1,
	.free = sketch_free,
	.reserve = sketch_reserve,
	.start = sketch_start,
	.clear = sketch_clear,
	.reset = sketch_reset,
	.update = sketch_update,
	.combine = sketch_combine,
	.finalize = sketch_finalize,
	.state_field = sketch_field,
	.save = sketch_save,
	.load = sketch_load,
	.bytes = sketch_bytes,
};

struct aggregate *aggregate_sketch_new(struct type arg)
{
	struct sketch *s = mem_zero(sizeof *s);

	_Static_assert(sizeof(struct bucket) == 12, "three words");
	s->base.ops = &sketch_ops;
	s->base.args[0] = arg;
	s->base.result = TYPE_OF(arg.kind == TYPE_DURATION ? TYPE_DURATION : TYPE_FLOAT);
	return &s->base;
}
