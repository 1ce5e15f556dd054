/* count, sum and avg of distinct values: a set of (group, value) pairs in front of an ordinary
 * aggregate, which gets each pair's first row only.
 *
 *   pairs    key table over (alias of the group, value); a pair's number is its place in it
 *   next     pair -> the pair before it of the same group
 *   heads    group -> its newest pair
 *
 * Pairs can't be taken out of a key table, so groups stand in it under an alias: a group that
 * starts anew gets a fresh one, and the table is built again once most pairs belong to nobody.
 *
 * Where rows may be taken back each pair has a count; the inner aggregate gets a row as the count
 * comes above 0, and loses it as it falls back. */
#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/table/keytable.h"

enum { DEAD_MIN = 1024 };

struct distinct {
	struct aggregate base;
	struct aggregate *inner;
	struct keytable *pairs;
	size_t next_cap;
	uint32_t *next;
	uint32_t *heads;
	int64_t *aliases;
	int64_t alias; /* the next fresh one */
	uint32_t dead; /* pairs of groups that are gone, or of which no row is left */
	bool retracting;
	size_t counts_cap;
	int64_t *counts;    /* retracting only: pair -> rows */
	struct arena arena; /* for one call */
};

static struct distinct *distinct_of(struct aggregate *a)
{
	return (struct distinct *)a;
}

static const struct distinct *distinct_in(const struct aggregate *a)
{
	return (const struct distinct *)a;
}

static struct keytable *pairs_new(const struct distinct *d)
{
	struct type types[2] = {TYPE_OF(TYPE_INT), d->base.args[0]};

	return keytable_new(types, 2);
}

static void distinct_free(struct aggregate *a)
{
	struct distinct *d = distinct_of(a);

	aggregate_free(d->inner);
	keytable_free(d->pairs);
	mem_free(d->next);
	mem_free(d->counts);
	mem_free(d->heads);
	mem_free(d->aliases);
	arena_clear(&d->arena);
}

static void distinct_reserve(struct aggregate *a, uint32_t cap)
{
	AGGREGATE_RESERVE(distinct_of(a)->heads, cap);
	AGGREGATE_RESERVE(distinct_of(a)->aliases, cap);
}

static void distinct_start(struct aggregate *a, uint32_t first, uint32_t end)
{
	struct distinct *d = distinct_of(a);

	for (uint32_t g = first; g < end; g++) {
		d->heads[g] = KEY_NONE;
		d->aliases[g] = d->alias++;
	}
	aggregate_resize(d->inner, end);
}

static void distinct_reset(struct aggregate *a)
{
	struct distinct *d = distinct_of(a);

	aggregate_reset(d->inner);
	keytable_reset(d->pairs);
	d->alias = 0;
	d->dead = 0;
}

/* The value column of some pairs, copied: the table may grow while it is used. */
static struct column values_of(
	const struct distinct *d, const uint32_t *pairs, uint32_t n, struct arena *a)
{
	struct column all = keytable_column(d->pairs, 1), some;

	column_gather(&all, pairs, n, a, &some);
	return some;
}

/* Whether rows of the pair are left. */
static bool is_alive(const struct distinct *d, uint32_t pair)
{
	return !d->retracting || d->counts[pair] != 0;
}

static uint32_t chain_len(const struct distinct *d, uint32_t group)
{
	uint32_t n = 0;

	for (uint32_t p = d->heads[group]; p != KEY_NONE; p = d->next[p])
		n += is_alive(d, p);
	return n;
}

/* A group's pairs, oldest first. */
static uint32_t *chain_pairs(const struct distinct *d, uint32_t group, struct arena *a, uint32_t *n)
{
	uint32_t *pairs, at = *n = chain_len(d, group);

	pairs = arena_alloc(a, ((size_t)at + 1) * sizeof *pairs);
	for (uint32_t p = d->heads[group]; p != KEY_NONE; p = d->next[p]) {
		if (is_alive(d, p))
			pairs[--at] = p;
	}
	return pairs;
}

/* Their counts; NULL if none are kept. */
static int64_t *chain_counts(
	const struct distinct *d, const uint32_t *pairs, uint32_t n, struct arena *a)
{
	int64_t *counts = d->retracting ? arena_alloc(a, ((size_t)n + 1) * sizeof *counts) : NULL;

	for (uint32_t i = 0; counts && i < n; i++)
		counts[i] = d->counts[pairs[i]];
	return counts;
}

/* What the pair's rows, changed by so many, mean for the inner aggregate. */
static int8_t count_add(struct distinct *d, uint32_t pair, int64_t change)
{
	int64_t before = d->counts[pair], after = before + change;

	d->counts[pair] = after;
	if (before == 0 && after != 0)
		d->dead--;
	else if (before != 0 && after == 0)
		d->dead++;
	return (int8_t)((after > 0) - (before > 0));
}

/* Adds values without nulls, one group each, counts[r] times (NULL: once).  signs[r] is what the
 * inner aggregate is to do with the row: 1 where the pair is new. */
static void pairs_add(struct distinct *d, const uint32_t *groups, const struct column *values,
	const int64_t *counts, uint32_t rows, int8_t *signs)
{
	int64_t *aliases = arena_alloc(&d->arena, (rows + 1) * sizeof *aliases);
	uint64_t *hashes = arena_alloc(&d->arena, (rows + 1) * sizeof *hashes);
	uint32_t *ids = arena_alloc(&d->arena, (rows + 1) * sizeof *ids);
	struct column alias = {.type = TYPE_OF(TYPE_INT), .data = aliases};
	const struct column *key[2] = {&alias, values};
	uint32_t known = keytable_len(d->pairs);

	for (uint32_t r = 0; r < rows; r++)
		aliases[r] = d->aliases[groups[r]];
	keys_hash(key, 2, rows, hashes);
	keytable_insert(d->pairs, key, rows, hashes, ids);
	MEM_GROW(d->next, d->next_cap, keytable_len(d->pairs));
	if (d->retracting)
		MEM_GROW(d->counts, d->counts_cap, keytable_len(d->pairs));
	for (uint32_t r = 0; r < rows; r++) {
		signs[r] = ids[r] == known; /* numbers are given in order */
		if (signs[r]) {
			d->next[known] = d->heads[groups[r]];
			d->heads[groups[r]] = known;
			if (d->retracting) {
				d->counts[known] = 0;
				d->dead++;
			}
			known++;
		}
		if (d->retracting)
			signs[r] = count_add(d, ids[r], counts ? counts[r] : 1);
	}
}

static int values_add(struct distinct *d, const uint32_t *groups, const struct column *values,
	const int64_t *counts, uint32_t rows, struct error *e)
{
	int8_t *signs = arena_alloc(&d->arena, (size_t)rows + 1);
	struct aggregate_rows added = {.groups = groups, .rows = rows};

	pairs_add(d, groups, values, counts, rows, signs);
	if (d->retracting)
		added.signs = signs;
	else
		added.picked = (const uint8_t *)signs;
	return aggregate_update(d->inner, values, &added, e);
}

static void pairs_compact(struct distinct *d);

static void compact_if_dead(struct distinct *d)
{
	if (d->dead > DEAD_MIN && d->dead > keytable_len(d->pairs) / 2)
		pairs_compact(d);
}

static int distinct_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	struct distinct *d = distinct_of(a);
	const int8_t *weights = aggregate_weights(a, args, rows);
	uint32_t *pick, *groups, n = 0;
	int64_t *counts = NULL;
	struct column values;

	arena_reset(&d->arena);
	pick = arena_alloc(&d->arena, ((size_t)rows->rows + 1) * sizeof *pick);
	groups = arena_alloc(&d->arena, ((size_t)rows->rows + 1) * sizeof *groups);
	if (weights && d->retracting)
		counts = arena_alloc(&d->arena, ((size_t)rows->rows + 1) * sizeof *counts);
	for (uint32_t r = 0; r < rows->rows; r++) {
		pick[n] = r;
		groups[n] = rows->groups ? rows->groups[r] : 0;
		if (counts)
			counts[n] = weights[r];
		n += !weights || weights[r];
	}
	if (n == rows->rows)
		values = *args;
	else
		column_gather(args, pick, n, &d->arena, &values);
	values.valid = NULL;
	if (values_add(d, groups, &values, counts, n, e))
		return -1;
	if (d->retracting)
		compact_if_dead(d);
	return 0;
}

static int distinct_combine(struct aggregate *to, const uint32_t *to_groups,
	const struct aggregate *from, const uint32_t *from_groups, uint32_t n, struct error *e)
{
	struct distinct *t = distinct_of(to);
	const struct distinct *f = distinct_in(from);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t len, *pairs, *groups;
		struct column values;

		arena_reset(&t->arena);
		pairs = chain_pairs(f, from_groups[i], &t->arena, &len);
		values = values_of(f, pairs, len, &t->arena);
		groups = arena_alloc(&t->arena, ((size_t)len + 1) * sizeof *groups);
		for (uint32_t k = 0; k < len; k++)
			groups[k] = to_groups[i];
		if (values_add(t, groups, &values, chain_counts(f, pairs, len, &t->arena), len, e))
			return -1;
	}
	return 0;
}

/* Builds the table again without the pairs of groups that are gone. */
static void pairs_compact(struct distinct *d)
{
	struct distinct old = *d;

	d->pairs = pairs_new(d);
	d->next = NULL;
	d->counts = NULL;
	d->next_cap = d->counts_cap = 0;
	d->dead = 0;
	for (uint32_t g = 0; g < d->base.groups; g++) {
		uint32_t len, head = old.heads[g], *pairs, *groups;
		struct column values;

		if (head == KEY_NONE)
			continue;
		arena_reset(&d->arena);
		old.heads = d->heads;
		pairs = chain_pairs(&old, g, &d->arena, &len);
		values = values_of(&old, pairs, len, &d->arena);
		groups = arena_alloc(&d->arena, ((size_t)len + 1) * sizeof *groups);
		for (uint32_t k = 0; k < len; k++)
			groups[k] = g;
		d->heads[g] = KEY_NONE;
		pairs_add(d, groups, &values, chain_counts(&old, pairs, len, &d->arena), len,
			arena_alloc(&d->arena, (size_t)len + 1));
	}
	keytable_free(old.pairs);
	mem_free(old.next);
	mem_free(old.counts);
}

static void distinct_clear(struct aggregate *a, uint32_t group)
{
	struct distinct *d = distinct_of(a);

	d->dead += chain_len(d, group);
	distinct_start(a, group, group + 1);
	aggregate_clear_group(d->inner, group);
	compact_if_dead(d);
}

static int distinct_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	return aggregate_finalize(distinct_in(a)->inner, pick, n, out, e);
}

/* ---- a group's values as bytes: each its little-endian value, text behind a u32 length ---- */

static void distinct_field(
	const struct aggregate *a, size_t i, const char **name, struct type *type)
{
	*name = i == 0 ? "values" : "counts";
	*type = TYPE_OF(TYPE_BYTES);
}

static void values_put(const struct column *values, uint32_t n, struct buf *b)
{
	size_t width = type_width(values->type);

	if (width) {
		buf_put(b, values->data, n * width);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct text_view v = column_text(values, i);
		uint32_t len = (uint32_t)v.len;

		buf_put(b, &len, sizeof len);
		buf_put(b, v.text, len);
	}
}

static int values_take(struct column_builder *out, struct text_view bytes, struct error *e)
{
	size_t width = type_width(out->type);

	if (width) {
		if (bytes.len % width)
			return error_set(e, ERROR_STATE, "a saved set of values is cut short");
		if (bytes.len)
			builder_put_values(out, bytes.text, (uint32_t)(bytes.len / width));
		return 0;
	}
	for (size_t at = 0; at < bytes.len;) {
		uint32_t len;

		if (bytes.len - at < sizeof len)
			return error_set(e, ERROR_STATE, "a saved set of values is cut short");
		memcpy(&len, bytes.text + at, sizeof len);
		at += sizeof len;
		if (bytes.len - at < len)
			return error_set(e, ERROR_STATE, "a saved set of values is cut short");
		builder_put_text(out, bytes.text + at, len);
		at += len;
	}
	return 0;
}

static void distinct_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	const struct distinct *d = distinct_in(a);
	struct arena arena = ARENA_INIT;
	struct buf bytes = BUF_INIT;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t len, *pairs = chain_pairs(d, aggregate_picked(pick, i), &arena, &len);
		struct column values = values_of(d, pairs, len, &arena);

		buf_reset(&bytes);
		values_put(&values, len, &bytes);
		builder_put_text(&builders[0], bytes.data, bytes.len);
		if (d->retracting)
			builder_put_text(&builders[1], chain_counts(d, pairs, len, &arena),
				len * sizeof *d->counts);
		arena_reset(&arena);
	}
	buf_clear(&bytes);
	arena_clear(&arena);
}

/* The counts of so many values, copied; NULL if none are kept. */
static int counts_take(const struct distinct *d, const struct column *columns, uint32_t row,
	uint32_t n, int64_t **out, struct arena *a, struct error *e)
{
	struct text_view v;

	*out = NULL;
	if (!d->retracting)
		return 0;
	v = column_is_valid(&columns[1], row) ? column_text(&columns[1], row)
					      : (struct text_view){NULL, 0};
	if (v.len != n * sizeof **out)
		return error_set(e, ERROR_STATE, "a saved set of values has other counts");
	*out = arena_alloc(a, v.len);
	memcpy(*out, v.text, v.len);
	return 0;
}

static int distinct_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	struct distinct *d = distinct_of(a);
	struct column_builder values;
	int status = 0;

	builder_init(&values, a->args[0]);
	for (uint32_t i = 0; i < n && status == 0; i++) {
		struct column c;
		uint32_t *repeated;
		int64_t *counts;

		if (!column_is_valid(columns, i)) {
			status = error_set(e, ERROR_STATE, "a saved set of values is null");
			break;
		}
		builder_reset(&values);
		status = values_take(&values, column_text(columns, i), e);
		if (status || values.rows == 0)
			continue;
		arena_reset(&d->arena);
		repeated = arena_alloc(&d->arena, values.rows * sizeof *repeated);
		for (uint32_t k = 0; k < values.rows; k++)
			repeated[k] = groups[i];
		c = builder_column(&values);
		status = counts_take(d, columns, i, values.rows, &counts, &d->arena, e);
		if (status == 0)
			status = values_add(d, repeated, &c, counts, values.rows, e);
		if (status)
			e->code =
				ERROR_STATE; /* a sum that doesn't fit: of values that were none */
	}
	builder_clear(&values);
	return status;
}

static size_t distinct_bytes(const struct aggregate *a)
{
	const struct distinct *d = distinct_in(a);

	return sizeof *d + aggregate_bytes(d->inner) + keytable_bytes(d->pairs) +
	       d->next_cap * sizeof *d->next + d->counts_cap * sizeof *d->counts +
	       a->cap * (sizeof *d->heads + sizeof *d->aliases);
}

#define DISTINCT_OPS(columns, takes_back)                                                        \
	{                                                                                        \
		.retracts = (takes_back), .state_columns = (columns), .free = distinct_free,     \
		.reserve = distinct_reserve, .start = distinct_start, .clear = distinct_clear,   \
		.reset = distinct_reset, .update = distinct_update, .combine = distinct_combine, \
		.finalize = distinct_finalize, .state_field = distinct_field,                    \
		.save = distinct_save, .load = distinct_load, .bytes = distinct_bytes,           \
	}

static const struct aggregate_ops distinct_ops = DISTINCT_OPS(1, false),
				  retracting_ops = DISTINCT_OPS(2, true);

struct aggregate *aggregate_distinct_new(struct aggregate *inner, struct type arg, bool retracting)
{
	struct distinct *d = mem_zero(sizeof *d);

	d->base.ops = retracting ? &retracting_ops : &distinct_ops;
	d->base.function = inner->function;
	d->base.args[0] = arg;
	d->base.result = inner->result;
	d->retracting = retracting;
	d->inner = inner;
	inner->args[0] = arg;
	d->pairs = pairs_new(d);
	return &d->base;
}
