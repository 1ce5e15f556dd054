/* approx_count_distinct: HyperLogLog with 2^12 registers, standard error 1.04 / 64 = 1.6 %.
 *
 * As in HyperLogLog++ (Heule, Nunkesser, Hall, EDBT 2013) a group starts sparse: a sorted list of
 * 26 bits of the hash with the run of zeros behind them, which counts nearly exactly, and only as
 * its list would be as large as the registers are becomes dense.
 *
 *   sparse   [ index 26 bits | rank 6 bits ] u32 ...   fewer than 1024
 *   dense    [ rank ] u8 x 4096                        by the first 12 bits of the index
 *
 * The estimate from the registers is Ertl's (New cardinality estimation algorithms for HyperLogLog
 * sketches, 2017), which is right at every size without tables of corrections. */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/table/keys.h"

#include <math.h>

enum {
	INDEX_BITS = 26,
	RANK_BITS = 6,
	REGISTER_BITS = 12,
	REGISTERS = 1 << REGISTER_BITS,
	RANK_MAX = 64 - REGISTER_BITS + 1,
	SPARSE_RANK_MAX = 64 - INDEX_BITS + 1,
	REST_BITS = INDEX_BITS - REGISTER_BITS,
};

struct hll {
	struct aggregate base;
	struct runs sets; /* per group; of REGISTERS bytes: dense */
	struct buf hashes;
};

static struct hll *hll_of(struct aggregate *a)
{
	return (struct hll *)a;
}

static const struct hll *hll_in(const struct aggregate *a)
{
	return (const struct hll *)a;
}

static void hll_free(struct aggregate *a)
{
	runs_clear(&hll_of(a)->sets);
	buf_clear(&hll_of(a)->hashes);
}

static void hll_reserve(struct aggregate *a, uint32_t cap)
{
	runs_reserve(&hll_of(a)->sets, cap);
}

static void hll_start(struct aggregate *a, uint32_t first, uint32_t end)
{
}

static void hll_clear(struct aggregate *a, uint32_t group)
{
	runs_drop(&hll_of(a)->sets, group);
}

static void hll_reset(struct aggregate *a)
{
	runs_reset(&hll_of(a)->sets);
}

/* ---- adding ---- */

static inline uint32_t entry_of(uint64_t hash)
{
	uint64_t rest = hash << INDEX_BITS;
	unsigned rank = rest ? (unsigned)__builtin_clzll(rest) + 1 : SPARSE_RANK_MAX;

	return (uint32_t)(hash >> (64 - INDEX_BITS)) << RANK_BITS | rank;
}

static inline void register_add(uint8_t *registers, uint32_t entry)
{
	uint32_t index = entry >> RANK_BITS, rest = index & ((1u << REST_BITS) - 1);
	unsigned rank = rest ? (unsigned)__builtin_clz(rest) - (32 - REST_BITS) + 1
			     : REST_BITS + (entry & ((1u << RANK_BITS) - 1));
	uint8_t *to = &registers[index >> REST_BITS];

	if (rank > *to)
		*to = (uint8_t)rank;
}

static bool is_dense(const struct runs *r, uint32_t group)
{
	return runs_len(r, group) == REGISTERS;
}

static void make_dense(struct runs *r, uint32_t group)
{
	uint8_t registers[REGISTERS] = {0}, *to;
	uint32_t n = runs_len(r, group) / (uint32_t)sizeof(uint32_t);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t entry;

		memcpy(&entry, runs_data(r, group) + i * sizeof entry, sizeof entry);
		register_add(registers, entry);
	}
	runs_drop(r, group);
	to = runs_room(r, group, REGISTERS);
	MUST(to);
	memcpy(to, registers, REGISTERS);
	r->runs[group].len = REGISTERS;
}

/* The first entry that is not less. */
static uint32_t entry_find(const uint32_t *v, uint32_t n, uint32_t entry)
{
	uint32_t at = 0;

	while (n > 1) {
		uint32_t half = n / 2;

		at += v[at + half - 1] < entry ? half : 0;
		n -= half;
	}
	return at + (n == 1 && v[at] < entry);
}

static void sparse_add(struct runs *r, uint32_t group, uint32_t entry)
{
	uint32_t *v = (uint32_t *)(void *)runs_data(r, group);
	uint32_t n = runs_len(r, group) / (uint32_t)sizeof *v;
	uint32_t at = n ? entry_find(v, n, entry >> RANK_BITS << RANK_BITS) : 0;

	if (at < n && v[at] >> RANK_BITS == entry >> RANK_BITS) {
		v[at] = entry > v[at] ? entry : v[at];
		return;
	}
	if ((n + 1) * sizeof *v >= REGISTERS) {
		make_dense(r, group);
		register_add(runs_data(r, group), entry);
		return;
	}
	MUST(runs_room(r, group, sizeof *v));
	v = (uint32_t *)(void *)runs_data(r, group);
	memmove(v + at + 1, v + at, (n - at) * sizeof *v);
	v[at] = entry;
	r->runs[group].len += (uint32_t)sizeof *v;
}

static inline void entry_add(struct runs *r, uint32_t group, uint32_t entry)
{
	if (is_dense(r, group))
		register_add(runs_data(r, group), entry);
	else
		sparse_add(r, group, entry);
}

static int hll_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	const int8_t *weights = aggregate_weights(a, args, rows);
	struct hll *h = hll_of(a);
	uint64_t *hashes;

	buf_reset(&h->hashes);
	hashes = (uint64_t *)(void *)buf_reserve(&h->hashes, rows->rows * sizeof *hashes);
	keys_hash(&args, 1, rows->rows, hashes);
	for (uint32_t r = 0; r < rows->rows; r++) {
		if (!weights || weights[r])
			entry_add(
				&h->sets, rows->groups ? rows->groups[r] : 0, entry_of(hashes[r]));
	}
	return 0;
}

static void registers_combine(struct runs *t, uint32_t to, const struct runs *f, uint32_t from)
{
	uint8_t *x;
	const uint8_t *y;

	if (!is_dense(t, to))
		make_dense(t, to);
	x = runs_data(t, to);
	y = runs_data(f, from);
	for (unsigned i = 0; i < REGISTERS; i++)
		x[i] = x[i] > y[i] ? x[i] : y[i];
}

static int hll_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	struct runs *t = &hll_of(to)->sets;
	const struct runs *f = &hll_in(from)->sets;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = runs_len(f, from_groups[i]), entry;

		if (is_dense(f, from_groups[i])) {
			registers_combine(t, to_groups[i], f, from_groups[i]);
			continue;
		}
		for (uint32_t at = 0; at < len; at += (uint32_t)sizeof entry) {
			memcpy(&entry, runs_data(f, from_groups[i]) + at, sizeof entry);
			entry_add(t, to_groups[i], entry);
		}
	}
	return 0;
}

/* ---- the estimate ---- */

static double sigma(double x)
{
	double y = 1, z = x, before;

	if (x == 1)
		return INFINITY;
	do {
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (z != before);
	return z;
}

static double tau(double x)
{
	double y = 1, z = 1 - x, before;

	if (x == 0 || x == 1)
		return 0;
	do {
		x = sqrt(x);
		before = z;
		y *= 0.5;
		z -= (1 - x) * (1 - x) * y;
	} while (z != before);
	return z / 3;
}

static int64_t registers_estimate(const uint8_t *registers)
{
	uint32_t counts[RANK_MAX + 1] = {0};
	double m = REGISTERS, z;

	for (unsigned i = 0; i < REGISTERS; i++)
		counts[registers[i]]++;
	z = m * tau(1 - counts[RANK_MAX] / m);
	for (unsigned k = RANK_MAX - 1; k >= 1; k--)
		z = 0.5 * (z + counts[k]);
	z += m * sigma(counts[0] / m);
	return llround(m * m / (2 * M_LN2 * z));
}

static int hll_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	const struct runs *sets = &hll_in(a)->sets;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		/* Of a thousand entries among 2^26 hardly any fell together. */
		builder_put_int(out, is_dense(sets, g)
					     ? registers_estimate(runs_data(sets, g))
					     : runs_len(sets, g) / (int64_t)sizeof(uint32_t));
	}
	return 0;
}

/* ---- snapshots: a group's list or registers as they lie in memory ---- */

static void hll_field(const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	*name = "registers";
	*type = TYPE_OF(TYPE_BYTES);
}

static void hll_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	const struct runs *sets = &hll_in(a)->sets;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t g = aggregate_picked(pick, i);

		builder_put_text(builders, runs_data(sets, g), runs_len(sets, g));
	}
}

static int damaged(struct error *e)
{
	return error_set(
		e, ERROR_STATE, "the saved registers of approx_count_distinct are damaged");
}

static int dense_load(struct runs *sets, uint32_t group, struct text_view v, struct error *e)
{
	for (size_t i = 0; i < v.len; i++) {
		if ((uint8_t)v.text[i] > RANK_MAX)
			return damaged(e);
	}
	make_dense(sets, group);
	memcpy(runs_data(sets, group), v.text, v.len);
	return 0;
}

static int hll_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	struct runs *sets = &hll_of(a)->sets;

	for (uint32_t i = 0; i < n; i++) {
		struct text_view v = column_is_valid(columns, i) ? column_text(columns, i)
								 : (struct text_view){NULL, 1};

		if (v.len % sizeof(uint32_t) || v.len > REGISTERS)
			return damaged(e);
		runs_drop(sets, groups[i]);
		if (v.len == REGISTERS) {
			if (dense_load(sets, groups[i], v, e))
				return -1;
			continue;
		}
		for (size_t at = 0; at < v.len; at += sizeof(uint32_t)) {
			uint32_t entry, rank;

			memcpy(&entry, v.text + at, sizeof entry);
			rank = entry & ((1u << RANK_BITS) - 1);
			if (rank == 0 || rank > SPARSE_RANK_MAX)
				return damaged(e);
			entry_add(sets, groups[i], entry);
		}
	}
	return 0;
}

static size_t hll_bytes(const struct aggregate *a)
{
	return sizeof(struct hll) + hll_in(a)->hashes.cap + runs_bytes(&hll_in(a)->sets);
}

static const struct aggregate_ops hll_ops = {
	.state_columns = 1,
	.free = hll_free,
	.reserve = hll_reserve,
	.start = hll_start,
	.clear = hll_clear,
	.reset = hll_reset,
	.update = hll_update,
	.combine = hll_combine,
	.finalize = hll_finalize,
	.state_field = hll_field,
	.save = hll_save,
	.load = hll_load,
	.bytes = hll_bytes,
};

struct aggregate *aggregate_hll_new(struct type arg)
{
	struct hll *h = mem_zero(sizeof *h);

	h->base.ops = &hll_ops;
	h->base.args[0] = arg;
	h->base.result = TYPE_OF(TYPE_INT);
	return &h->base;
}
