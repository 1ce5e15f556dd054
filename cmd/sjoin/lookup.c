#include "cmd/sjoin/lookup.h"

#include "cmd/sjoin/emit.h"
#include "libcore/base/memory.h"

#include <string.h>

struct generation {
	struct keytable *keys;
	struct batch_builder rows; /* of the looked up columns */
	uint32_t *first, *count;   /* by key */
	int64_t *asked_us;
	size_t first_cap, count_cap, asked_cap;
};

struct lookups {
	struct generation young, old;
	struct keytable *wanted; /* of a batch: its keys */
};

/* The keys of a batch, each once, and where in the young generation they are found. */
struct wanted {
	struct column *columns;
	const struct column **keys;
	uint64_t *hashes;
	uint32_t *slots; /* KEY_NONE: not yet */
	uint32_t n;
	int64_t now_us;
};

/* ---- generations ---- */

static void generation_init(struct generation *g, const struct join *j)
{
	g->keys = keytable_new(j->plan.types, j->plan.keys_len);
	batch_builder_init(&g->rows, &j->plan.in[RIGHT]);
}

static void generation_clear(struct generation *g)
{
	keytable_free(g->keys);
	batch_builder_clear(&g->rows);
	mem_free(g->first);
	mem_free(g->count);
	mem_free(g->asked_us);
}

static size_t generation_len(const struct generation *g)
{
	return (size_t)keytable_len(g->keys) + batch_builder_rows(&g->rows);
}

static void put_key(struct generation *g, uint32_t slot, uint32_t first, uint32_t count, int64_t us)
{
	MEM_GROW(g->first, g->first_cap, slot + (size_t)1);
	MEM_GROW(g->count, g->count_cap, slot + (size_t)1);
	MEM_GROW(g->asked_us, g->asked_cap, slot + (size_t)1);
	g->first[slot] = first;
	g->count[slot] = count;
	g->asked_us[slot] = us;
}

/* Room for new keys: what has been used longest ago goes. */
static void make_room(struct join *j, struct lookups *l)
{
	struct generation young = l->young;

	if (generation_len(&l->young) < j->options.lookup_cache / 2 + 1)
		return;
	l->young = l->old;
	l->old = young;
	keytable_reset(l->young.keys);
	batch_builder_reset(&l->young.rows);
	if (!j->options.lookup_cache) {
		keytable_reset(l->old.keys);
		batch_builder_reset(&l->old.rows);
	}
}

/* ---- what a batch wants ---- */

static void find_wanted(struct join *j, const struct plan_keys *keys, uint32_t rows, uint32_t *ids,
	struct wanted *w)
{
	struct lookups *l = j->state;
	size_t k_len = j->plan.keys_len;

	keytable_reset(l->wanted);
	keytable_insert(l->wanted, keys->columns, rows, keys->hashes, ids);
	w->n = keytable_len(l->wanted);
	w->columns = ARENA_ARRAY(&j->arena, struct column, k_len);
	w->keys = ARENA_ARRAY(&j->arena, const struct column *, k_len);
	for (size_t k = 0; k < k_len; k++) {
		w->columns[k] = keytable_column(l->wanted, k);
		w->keys[k] = &w->columns[k];
	}
	w->hashes = arena_alloc(&j->arena, (w->n + (size_t)1) * sizeof *w->hashes);
	for (uint32_t i = 0; i < w->n; i++)
		w->hashes[i] = keytable_hash(l->wanted, i);
	w->slots = arena_alloc(&j->arena, (w->n + (size_t)1) * sizeof *w->slots);
	w->now_us = j->options.clock_us ? j->options.clock_us() : 0;
}

static bool is_fresh(const struct join *j, const struct generation *g, uint32_t id, int64_t now_us)
{
	return id != KEY_NONE &&
	       (!j->options.lookup_ttl_us || now_us - g->asked_us[id] < j->options.lookup_ttl_us);
}

/* Puts the picked keys into the young generation: their slots. */
static void insert_young(struct join *j, struct wanted *w, const uint32_t *pick, uint32_t n)
{
	struct lookups *l = j->state;
	struct column *columns = ARENA_ARRAY(&j->arena, struct column, j->plan.keys_len);
	const struct column **keys = ARENA_ARRAY(
		&j->arena, const struct column *, j->plan.keys_len);
	uint64_t *hashes = arena_alloc(&j->arena, (n + (size_t)1) * sizeof *hashes);
	uint32_t *ids = arena_alloc(&j->arena, (n + (size_t)1) * sizeof *ids);

	for (size_t k = 0; k < j->plan.keys_len; k++) {
		column_gather(w->keys[k], pick, n, &j->arena, &columns[k]);
		keys[k] = &columns[k];
	}
	for (uint32_t i = 0; i < n; i++)
		hashes[i] = w->hashes[pick[i]];
	keytable_insert(l->young.keys, keys, n, hashes, ids);
	for (uint32_t i = 0; i < n; i++)
		w->slots[pick[i]] = ids[i];
}

/* Keys that only the old generation has, and that are still good, move to the young one. */
static void promote(struct join *j, struct wanted *w)
{
	struct lookups *l = j->state;
	uint32_t *ids = arena_alloc(&j->arena, (w->n + (size_t)1) * sizeof *ids), n = 0;
	uint32_t *pick = arena_alloc(&j->arena, (w->n + (size_t)1) * sizeof *pick);
	const struct batch *rows = batch_builder_view(&l->old.rows);

	keytable_find(l->old.keys, w->keys, w->n, w->hashes, ids);
	for (uint32_t i = 0; i < w->n; i++) {
		pick[n] = i;
		n += w->slots[i] == KEY_NONE && is_fresh(j, &l->old, ids[i], w->now_us);
	}
	insert_young(j, w, pick, n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = ids[pick[i]], first = batch_builder_rows(&l->young.rows);

		batch_builder_put_rows(&l->young.rows, rows, l->old.first[id], l->old.count[id]);
		put_key(&l->young, w->slots[pick[i]], first, l->old.count[id], l->old.asked_us[id]);
	}
}

static int ask(struct join *j, struct wanted *w, const uint32_t *pick, uint32_t n, struct error *e)
{
	struct lookups *l = j->state;
	struct lookup *source = j->options.lookup;
	struct column *keys = ARENA_ARRAY(&j->arena, struct column, j->plan.keys_len);
	struct lookup_found found = {.rows = &l->young.rows};
	uint32_t first = batch_builder_rows(&l->young.rows);

	found.counts = arena_zero(&j->arena, (n + (size_t)1) * sizeof *found.counts);
	for (size_t k = 0; k < j->plan.keys_len; k++)
		column_gather(w->keys[k], pick, n, &j->arena, &keys[k]);
	if (source->ops->ask(source, keys, n, &found, e) < 0)
		return -1;
	insert_young(j, w, pick, n);
	for (uint32_t i = 0; i < n; i++) {
		put_key(&l->young, w->slots[pick[i]], first, found.counts[i], w->now_us);
		first += found.counts[i];
	}
	return join_check_memory(j, e);
}

/* Every wanted key without a null gets its slot. */
static int look_up(struct join *j, struct wanted *w, struct error *e)
{
	struct lookups *l = j->state;
	uint32_t *pick, n = 0;

	keytable_find(l->young.keys, w->keys, w->n, w->hashes, w->slots);
	for (uint32_t i = 0; i < w->n; i++) {
		if (!is_fresh(j, &l->young, w->slots[i], w->now_us))
			w->slots[i] = KEY_NONE;
	}
	promote(j, w);
	pick = arena_alloc(&j->arena, (w->n + (size_t)1) * sizeof *pick);
	for (uint32_t i = 0; i < w->n; i++) {
		pick[n] = i;
		n += w->slots[i] == KEY_NONE && !keys_has_null(w->keys, j->plan.keys_len, i);
	}
	for (uint32_t at = 0; at < n; at += LOOKUP_KEYS_MAX) {
		uint32_t some = n - at < LOOKUP_KEYS_MAX ? n - at : LOOKUP_KEYS_MAX;

		if (ask(j, w, pick + at, some, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- the family ---- */

static void lookup_start(struct join *j)
{
	struct lookups *l = mem_zero(sizeof *l);

	j->state = l;
	generation_init(&l->young, j);
	generation_init(&l->old, j);
	l->wanted = keytable_new(j->plan.types, j->plan.keys_len);
}

static void lookup_free(struct join *j)
{
	struct lookups *l = j->state;

	if (j->options.lookup)
		j->options.lookup->ops->free(j->options.lookup);
	if (!l)
		return;
	generation_clear(&l->young);
	generation_clear(&l->old);
	keytable_free(l->wanted);
	mem_free(l);
}

static int emit_found(struct join *j, const struct batch *b, const uint32_t *ids,
	const struct wanted *w, struct error *e)
{
	struct generation *g = &((struct lookups *)j->state)->young;
	struct emit_run run = {
		.source = {.left = b, .right = batch_builder_view(&g->rows)}, .positions = b->rows};
	int status = 0;

	emit_run_begin(&run, j);
	for (uint32_t r = 0; r < b->rows && status == 0; r++) {
		uint32_t slot = w->slots[ids[r]];

		for (uint32_t i = 0; slot != KEY_NONE && i < g->count[slot] && status == 0; i++) {
			status = emit_run_pair(&run, r, g->first[slot] + i, e);
			if (run.first_only)
				break;
		}
	}
	if (status == 0)
		status = emit_run_flush(&run, b->rows, e);
	emit_run_free(&run);
	return status;
}

static int lookup_rows(
	struct join *j, unsigned side, const struct batch *b, const int64_t *times, struct error *e)
{
	struct plan_keys keys;
	struct wanted w;
	uint32_t *ids = arena_alloc(&j->arena, b->rows * sizeof *ids);

	if (plan_find_keys(&j->plan, LEFT, b, &j->arena, &keys, e) < 0)
		return -1;
	make_room(j, j->state);
	find_wanted(j, &keys, b->rows, ids, &w);
	if (look_up(j, &w, e) < 0)
		return -1;
	return emit_found(j, b, ids, &w, e);
}

static size_t lookup_bytes(const struct join *j)
{
	struct lookups *l = j->state;

	return keytable_bytes(l->young.keys) + keytable_bytes(l->old.keys) +
	       batch_bytes(batch_builder_view(&l->young.rows)) +
	       batch_bytes(batch_builder_view(&l->old.rows));
}

/* Nothing of it is kept. */
static int lookup_save(struct join *j, unsigned side, struct snapshot_writer *w, struct error *e)
{
	return 0;
}

int lookup_schema(struct join *j, struct error *e)
{
	struct lookup *source = j->options.lookup;
	struct schema s;
	int status;

	schema_init(&s);
	status = source->ops->schema(source, j->op.stage, &s, e);
	if (status == 0)
		status = plan_set_schema(&j->plan, RIGHT, &s, e);
	schema_clear(&s);
	return status;
}

int lookup_keys(struct join *j, struct error *e)
{
	struct lookup *source = j->options.lookup;

	return source->ops->keys(source, j->plan.keys[RIGHT], j->plan.types, j->plan.keys_len, e);
}

const struct join_family lookup_family = {
	.name = "lookup",
	.start = lookup_start,
	.rows = lookup_rows,
	.bytes = lookup_bytes,
	.free = lookup_free,
	.save = lookup_save,
};
