#include "cmd/swindow/over_parts.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

/* ---- life ---- */

static const struct window_plan *plan_of(const struct frames *f)
{
	return f->plan->window;
}

void frames_init(struct frames *f, const struct over_options *o, const struct over_plan *p)
{
	const struct window_plan *w = p->window;

	*f = (struct frames){.options = o, .plan = p};
	f->keys = keytable_new(w->key_types, w->keys_len);
	f->aggregates = mem_zero((w->calls_len + 1) * sizeof *f->aggregates);
	for (size_t i = 0; i < w->calls_len; i++)
		f->aggregates[i] = aggregate_new_like(w->calls[i].like);
	f->keeps = o->frame == OVER_ROWS || o->frame == OVER_TIME || p->lag_most;
	rowstore_init(&f->kept, &p->inputs);
	f->results = mem_alloc((p->calls_len + 1) * sizeof *f->results);
	for (size_t i = 0; i < p->calls_len; i++)
		builder_init(&f->results[i], p->calls[i].type);
	f->columns = mem_zero((p->inputs.fields_len + 1) * sizeof *f->columns);
}

static void per_key_clear(struct frames *f)
{
	for (uint32_t k = 0; k < f->per_key_len; k++)
		mem_free(f->per_key[k].items);
	f->per_key_len = 0;
}

void frames_clear(struct frames *f)
{
	if (!f->plan)
		return;
	per_key_clear(f);
	keytable_free(f->keys);
	for (size_t i = 0; i < plan_of(f)->calls_len; i++)
		aggregate_free(f->aggregates[i]);
	for (size_t i = 0; i < f->plan->calls_len; i++)
		builder_clear(&f->results[i]);
	rowstore_clear(&f->kept);
	mem_free(f->aggregates);
	mem_free(f->results);
	mem_free(f->columns);
	mem_free(f->per_key);
	mem_free(f->remap);
	mem_free(f->evicted);
	mem_free(f->evicted_keys);
	mem_free(f->evicted_orders);
}

void frames_reset(struct frames *f)
{
	per_key_clear(f);
	keytable_reset(f->keys);
	for (size_t i = 0; i < plan_of(f)->calls_len; i++)
		aggregate_reset(f->aggregates[i]);
	rowstore_clear(&f->kept);
	rowstore_init(&f->kept, &f->plan->inputs);
}

size_t frames_bytes(const struct frames *f)
{
	size_t bytes = keytable_bytes(f->keys) + f->per_key_cap * sizeof *f->per_key +
		rowstore_bytes(&f->kept) + f->kept.len * 2 * sizeof(uint32_t);

	for (size_t i = 0; i < plan_of(f)->calls_len; i++)
		bytes += aggregate_bytes(f->aggregates[i]);
	return bytes;
}

/* ---- keys ---- */

uint32_t *frames_keys(struct frames *f, uint32_t rows, uint64_t **hashes, struct arena *a)
{
	size_t n = plan_of(f)->keys_len;
	const struct column **keys = arena_alloc(a, (n + 1) * sizeof *keys);
	uint32_t *ids = arena_alloc(a, (rows + (size_t)1) * sizeof *ids);

	*hashes = arena_alloc(a, (rows + (size_t)1) * sizeof **hashes);
	for (size_t i = 0; i < n; i++)
		keys[i] = &f->columns[i];
	keys_hash(keys, n, rows, *hashes);
	keytable_insert(f->keys, keys, rows, *hashes, ids);
	return ids;
}

void frames_grow(struct frames *f)
{
	uint32_t len = keytable_len(f->keys);

	MEM_GROW(f->per_key, f->per_key_cap, len);
	for (; f->per_key_len < len; f->per_key_len++)
		f->per_key[f->per_key_len] = (struct over_key){.last_us = INT64_MIN};
	for (size_t i = 0; i < plan_of(f)->calls_len; i++)
		aggregate_resize(f->aggregates[i], len);
}

/* ---- kept rows ---- */

void frames_push(struct frames *f, uint32_t key, uint32_t kept_row)
{
	struct over_key *k = &f->per_key[key];

	if (k->head + k->len == k->cap) {
		if (k->head && k->head >= k->cap / 2) {
			memmove(k->items, k->items + k->head, k->len * sizeof *k->items);
		} else {
			uint32_t cap = k->cap ? k->cap * 2 : 4, *items = mem_alloc(cap * sizeof *items);

			if (k->len)
				memcpy(items, k->items + k->head, k->len * sizeof *items);
			mem_free(k->items);
			k->items = items;
			k->cap = cap;
		}
		k->head = 0;
	}
	k->items[k->head + k->len++] = kept_row;
}

/* Rows that neither a frame nor lag will ask for again. */
static void trim(struct frames *f, struct over_key *k)
{
	while (k->out > 0 && k->len > f->plan->lag_most) {
		rowstore_kill(&f->kept, k->items[k->head++]);
		k->len--;
		k->out--;
	}
}

static void compact(struct frames *f)
{
	if (!rowstore_wants_compact(&f->kept, 0))
		return;
	MEM_GROW(f->remap, f->remap_cap, f->kept.len);
	rowstore_compact(&f->kept, f->remap);
	for (uint32_t k = 0; k < f->per_key_len; k++) {
		struct over_key *key = &f->per_key[k];

		for (uint32_t i = key->head; i < key->head + key->len; i++)
			key->items[i] = f->remap[key->items[i]];
	}
}

/* ---- aggregates ---- */

static int update(struct frames *f, const struct rows *rows, const uint32_t *ids, struct arena *a,
	struct error *e)
{
	return aggregates_add(f->aggregates, plan_of(f), rows, ids, a, e);
}

/* Kept rows, into or out of the groups of the same places; orders: their numbers in their keys. */
static int update_kept(struct frames *f, const uint32_t *numbers, const uint32_t *ids,
	const int64_t *orders, uint32_t n, int8_t sign, struct arena *a, struct error *e)
{
	const struct batch *all = rowstore_view(&f->kept);
	struct rows rows = {.n = n, .columns_len = f->plan->inputs.fields_len};
	struct column *columns = ARENA_ARRAY(a, struct column, rows.columns_len + 1);
	int8_t *signs = arena_alloc(a, n);

	for (size_t i = plan_of(f)->keys_len; i < rows.columns_len; i++)
		column_gather(&all->columns[i], numbers, n, a, &columns[i]);
	memset(signs, sign, n);
	rows.columns = columns;
	rows.times = orders;
	rows.signs = sign < 0 ? signs : NULL;
	return update(f, &rows, ids, a, e);
}

int frames_rebuild(struct frames *f, struct arena *a, struct error *e)
{
	uint32_t *numbers = arena_alloc(a, (f->kept.len + (size_t)1) * sizeof *numbers), n = 0;
	uint32_t *ids = arena_alloc(a, (f->kept.len + (size_t)1) * sizeof *ids);
	int64_t *orders = arena_alloc(a, (f->kept.len + (size_t)1) * sizeof *orders);

	for (uint32_t k = 0; k < f->per_key_len; k++) {
		const struct over_key *key = &f->per_key[k];

		for (uint32_t i = key->out; i < key->len; i++) {
			numbers[n] = key->items[key->head + i];
			orders[n] = key->rows - key->len + i + 1;
			ids[n++] = k;
		}
	}
	return n ? update_kept(f, numbers, ids, orders, n, 1, a, e) : 0;
}

static int values_put(struct frames *f, const uint32_t *ids, uint32_t n, struct error *e)
{
	for (size_t i = 0; i < f->plan->calls_len; i++) {
		const struct over_call *c = &f->plan->calls[i];

		if (c->kind == CALL_AGGREGATE &&
			aggregate_finalize(f->aggregates[c->aggregate], ids, n, &f->results[i], e))
			return error_context(e, "%s", c->text);
	}
	return 0;
}

/* ---- rounds ---- */

/* A batch on its way.  A unit is what a result is for: a row, or rows of equal time of a key. */
struct run {
	struct frames *f;
	struct arena *a;
	struct rows rows;     /* their times are their numbers in their keys: see over_key */
	const int64_t *times;
	const uint32_t *ids;
	uint32_t first_kept;
	uint32_t *order;      /* rows by round, those of a unit together */
	uint32_t *round_ends; /* in order */
	uint32_t rounds;
	uint32_t *value_of;   /* row -> its result's place in f->results */
	uint32_t values;
};

static bool by_peers(const struct run *r)
{
	return r->f->options->frame == OVER_TIME;
}

/* The n-th unit of a key goes into round n: a counting sort, in which rows keep their order. */
static void rounds_make(struct run *r)
{
	uint32_t n = r->rows.n, keys = keytable_len(r->f->keys);
	uint32_t *seen = arena_zero(r->a, (keys + (size_t)1) * sizeof *seen);
	int64_t *last_us = by_peers(r) ? arena_alloc(r->a, (keys + (size_t)1) * sizeof *last_us) : NULL;
	uint32_t *round = arena_alloc(r->a, (n + (size_t)1) * sizeof *round);

	r->rounds = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = r->ids[i];

		if (!seen[k] || !last_us || last_us[k] != r->times[i])
			seen[k]++;
		if (last_us)
			last_us[k] = r->times[i];
		round[i] = seen[k] - 1;
		if (seen[k] > r->rounds)
			r->rounds = seen[k];
	}
	r->round_ends = arena_zero(r->a, (r->rounds + (size_t)2) * sizeof *r->round_ends);
	for (uint32_t i = 0; i < n; i++)
		r->round_ends[round[i] + 1]++;
	for (uint32_t k = 1; k <= r->rounds; k++)
		r->round_ends[k] += r->round_ends[k - 1];
	r->order = arena_alloc(r->a, (n + (size_t)1) * sizeof *r->order);
	for (uint32_t i = 0; i < n; i++)
		r->order[r->round_ends[round[i]]++] = i; /* ends[k] is where round k ends now */
}

/* What leaves the frame of a unit's key before the unit comes. */
static void evict(struct frames *f, uint32_t key, int64_t until_us)
{
	const struct over_options *o = f->options;
	struct over_key *k = &f->per_key[key];

	while (k->out < k->len) {
		uint32_t number = k->items[k->head + k->out];

		if (o->frame == OVER_ROWS ? k->len - k->out < o->rows :
			f->kept.time_us[number] >= time_add(until_us, -o->span_us))
			break;
		MEM_GROW(f->evicted, f->evicted_cap, f->evicted_len + 1);
		MEM_GROW(f->evicted_keys, f->evicted_keys_cap, f->evicted_len + 1);
		MEM_GROW(f->evicted_orders, f->evicted_orders_cap, f->evicted_len + 1);
		f->evicted_orders[f->evicted_len] = ++k->left;
		f->evicted[f->evicted_len] = number;
		f->evicted_keys[f->evicted_len++] = key;
		k->out++;
	}
}

/* Takes what was evicted out of the aggregates. */
static int evicted_forget(struct frames *f, struct arena *a, struct error *e)
{
	return f->evicted_len ? update_kept(f, f->evicted, f->evicted_keys, f->evicted_orders,
		f->evicted_len, -1, a, e) : 0;
}

int frames_sweep(struct frames *f, int64_t until_us, struct arena *a, struct error *e)
{
	enum { SLACK = 65536 };

	if (f->options->frame != OVER_TIME || f->kept.len - f->kept.dead < 2 * f->swept + SLACK)
		return 0;
	f->evicted_len = 0;
	for (uint32_t k = 0; k < f->per_key_len; k++)
		evict(f, k, until_us);
	if (evicted_forget(f, a, e))
		return -1;
	for (uint32_t k = 0; k < f->per_key_len; k++)
		trim(f, &f->per_key[k]);
	compact(f);
	f->swept = f->kept.len - f->kept.dead;
	return 0;
}

static int evict_round(struct run *r, const uint32_t *rows, uint32_t n, struct error *e)
{
	struct frames *f = r->f;

	if (f->options->frame != OVER_ROWS && f->options->frame != OVER_TIME)
		return 0;
	f->evicted_len = 0;
	for (uint32_t i = 0; i < n; i++)
		evict(f, r->ids[rows[i]], r->times[rows[i]]);
	if (evicted_forget(f, r->a, e))
		return -1;
	for (uint32_t i = 0; i < n; i++)
		trim(f, &f->per_key[r->ids[rows[i]]]);
	return 0;
}

static int add_round(struct run *r, const uint32_t *rows, uint32_t n, struct error *e)
{
	uint32_t *ids = arena_alloc(r->a, (n + (size_t)1) * sizeof *ids);
	struct rows some;

	for (uint32_t i = 0; i < n; i++) {
		ids[i] = r->ids[rows[i]];
		if (r->f->keeps)
			frames_push(r->f, ids[i], r->first_kept + rows[i]);
		/* Without a frame all that is kept is there for lag. */
		if (r->f->keeps && r->f->options->frame != OVER_ROWS &&
			r->f->options->frame != OVER_TIME) {
			r->f->per_key[ids[i]].out++;
			trim(r->f, &r->f->per_key[ids[i]]);
		}
	}
	if (r->f->options->frame == OVER_GROUP)
		return 0; /* frames_load has */
	rows_gather(&r->rows, rows, n, r->a, &some);
	return update(r->f, &some, ids, r->a, e);
}

/* One result per unit; rows of a unit share it. */
static int value_round(struct run *r, const uint32_t *rows, uint32_t n, struct error *e)
{
	uint32_t *ids = arena_alloc(r->a, (n + (size_t)1) * sizeof *ids), units = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (i == 0 || !by_peers(r) || r->ids[rows[i]] != r->ids[rows[i - 1]])
			ids[units++] = r->ids[rows[i]];
		r->value_of[rows[i]] = r->values + units - 1;
	}
	r->values += units;
	return values_put(r->f, ids, units, e);
}

/* The row itself out, its result, and in again. */
static int value_without(struct run *r, uint32_t row, struct error *e)
{
	struct rows self;
	int8_t sign = -1;

	rows_gather(&r->rows, &row, 1, r->a, &self);
	self.signs = &sign;
	if (update(r->f, &self, &r->ids[row], r->a, e))
		return -1;
	r->value_of[row] = r->values++;
	if (values_put(r->f, &r->ids[row], 1, e))
		return -1;
	sign = 1;
	return update(r->f, &self, &r->ids[row], r->a, e);
}

static bool has_peers(const struct run *r, const uint32_t *rows, uint32_t n)
{
	for (uint32_t i = 1; by_peers(r) && i < n; i++) {
		if (r->ids[rows[i]] == r->ids[rows[i - 1]])
			return true;
	}
	return false;
}

static int round_run(struct run *r, const uint32_t *rows, uint32_t n, struct error *e)
{
	bool exclude = r->f->options->exclude_current;

	if (evict_round(r, rows, n, e))
		return -1;
	if (exclude && r->f->options->frame != OVER_GROUP && !has_peers(r, rows, n))
		return value_round(r, rows, n, e) || add_round(r, rows, n, e) ? -1 : 0;
	if (add_round(r, rows, n, e))
		return -1;
	if (!exclude)
		return value_round(r, rows, n, e);
	for (uint32_t i = 0; i < n; i++) {
		if (value_without(r, rows[i], e))
			return -1;
	}
	return 0;
}

/* Peers of a key must lie together in a round: rows sorted by key, stably, where there are any. */
static void peers_together(struct run *r, uint32_t *rows, uint32_t n)
{
	uint32_t *place, *next, *first, len = 0;

	if (!by_peers(r) || n < 2)
		return;
	first = mem_alloc(keytable_len(r->f->keys) * sizeof *first);
	for (uint32_t i = 0; i < n; i++)
		first[r->ids[rows[i]]] = UINT32_MAX;
	place = mem_alloc(n * sizeof *place);
	next = mem_alloc(n * sizeof *next);
	for (uint32_t i = n; i-- > 0;) { /* chains of a key's rows, in order */
		next[i] = first[r->ids[rows[i]]];
		first[r->ids[rows[i]]] = i;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (first[r->ids[rows[i]]] != i)
			continue;
		for (uint32_t at = i; at != UINT32_MAX; at = next[at])
			place[len++] = rows[at];
	}
	memcpy(rows, place, n * sizeof *rows);
	mem_free(place);
	mem_free(next);
	mem_free(first);
}

static int rounds_run(struct run *r, struct error *e)
{
	struct arena scratch = ARENA_INIT; /* of a round: there may be as many as rows */
	int status = 0;

	r->a = &scratch;
	for (uint32_t k = 0, first = 0; k < r->rounds && status == 0; k++) {
		uint32_t n = r->round_ends[k] - first;

		peers_together(r, r->order + first, n);
		status = round_run(r, r->order + first, n, e);
		first = r->round_ends[k];
		arena_reset(&scratch);
	}
	arena_clear(&scratch);
	return status;
}

/* ---- what goes by the place of a row in its key ---- */

static void places_put(struct run *r)
{
	struct frames *f = r->f;
	int64_t *numbers = arena_alloc(r->a, (r->rows.n + (size_t)1) * sizeof *numbers);

	for (uint32_t i = 0; i < r->rows.n; i++) {
		struct over_key *k = &f->per_key[r->ids[i]];
		bool later = k->rows == 0 || r->times[i] != k->last_us;

		k->rows++;
		k->dense += later;
		k->rank = later ? k->rows : k->rank;
		k->last_us = r->times[i];
		numbers[i] = k->rows;
		for (size_t c = 0; c < f->plan->calls_len; c++) {
			switch (f->plan->calls[c].kind) {
			case CALL_ROW_NUMBER: builder_put_int(&f->results[c], k->rows); break;
			case CALL_RANK: builder_put_int(&f->results[c], k->rank); break;
			case CALL_DENSE_RANK: builder_put_int(&f->results[c], k->dense); break;
			case CALL_AGGREGATE:
			case CALL_LAG:
			case CALL_LEAD: break;
			}
		}
	}
	r->rows.times = numbers;
}

/* A kept row is `distance` before row i of the batch: in the key's list as it was before the batch, or
 * among the rows of the batch before. */
static void lags_find(struct run *r, uint32_t distance, uint32_t *pick)
{
	struct frames *f = r->f;
	uint32_t keys = keytable_len(f->keys), n = r->rows.n;
	uint32_t *count = arena_zero(r->a, (keys + (size_t)2) * sizeof *count);
	uint32_t *starts = arena_zero(r->a, (keys + (size_t)2) * sizeof *starts);
	uint32_t *of_key = arena_alloc(r->a, (n + (size_t)1) * sizeof *of_key);

	for (uint32_t i = 0; i < n; i++)
		starts[r->ids[i] + 1]++;
	for (uint32_t k = 0; k < keys; k++)
		starts[k + 1] += starts[k];
	for (uint32_t i = 0; i < n; i++) {
		uint32_t key = r->ids[i], before = count[key]++;
		const struct over_key *k = &f->per_key[key];

		of_key[starts[key] + before] = r->first_kept + i;
		if (distance <= before)
			pick[i] = of_key[starts[key] + before - distance];
		else if (distance - before <= k->len)
			pick[i] = k->items[k->head + k->len - (distance - before)];
		else
			pick[i] = ROW_NONE;
	}
}

/* Values by row, the default's where there is none. */
static void shifted_put(struct frames *f, const struct over_call *c, const struct column *values,
	const uint32_t *pick, uint32_t n, struct column_builder *out)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!pick || pick[i] != ROW_NONE)
			builder_put_from(out, values, pick ? pick[i] : i);
		else if (c->has_fallback)
			builder_put_from(out, &f->columns[c->fallback], i);
		else
			builder_put_null(out);
	}
}

static void lags_put(struct run *r)
{
	struct frames *f = r->f;
	uint32_t *pick = arena_alloc(r->a, (r->rows.n + (size_t)1) * sizeof *pick);

	for (size_t i = 0; i < f->plan->calls_len; i++) {
		const struct over_call *c = &f->plan->calls[i];

		if (c->kind != CALL_LAG)
			continue;
		lags_find(r, c->distance, pick);
		shifted_put(f, c, &rowstore_view(&f->kept)->columns[c->argument], pick, r->rows.n,
			&f->results[i]);
	}
}

/* ---- the whole ---- */

static int begin(struct frames *f, const struct ordered *in, struct arena *a, struct run *r,
	struct error *e)
{
	uint64_t *hashes;

	if (program_run(plan_of(f)->inputs, in->rows, f->columns, NULL, e))
		return -1;
	*r = (struct run){.f = f, .a = a, .times = in->times};
	r->ids = frames_keys(f, in->rows->rows, &hashes, a);
	r->rows = (struct rows){.n = in->rows->rows, .columns = f->columns,
		.columns_len = f->plan->inputs.fields_len, .hashes = hashes};
	frames_grow(f);
	return 0;
}

int frames_load(struct frames *f, const struct ordered *in, struct arena *a, struct error *e)
{
	int64_t *numbers = arena_alloc(a, (in->rows->rows + (size_t)1) * sizeof *numbers);
	struct run r;

	if (begin(f, in, a, &r, e))
		return -1;
	for (uint32_t i = 0; i < r.rows.n; i++)
		numbers[i] = ++f->per_key[r.ids[i]].left;
	r.rows.times = numbers;
	return update(f, &r.rows, r.ids, a, e);
}

/* The default of lead, where the row that it reaches isn't there, is in leads already. */
static void leads_put(struct frames *f, const struct ordered *in)
{
	for (size_t i = 0; i < f->plan->calls_len; i++) {
		if (f->plan->calls[i].kind == CALL_LEAD)
			builder_put_rows(&f->results[i], &in->leads[i], 0, in->rows->rows);
	}
}

int frames_run(struct frames *f, const struct ordered *in, struct arena *a, struct column *out,
	struct error *e)
{
	struct batch inputs = {.schema = &f->plan->inputs, .rows = in->rows->rows};
	struct run r;

	for (size_t i = 0; i < f->plan->calls_len; i++)
		builder_reset(&f->results[i]);
	if (begin(f, in, a, &r, e))
		return -1;
	inputs.columns = f->columns;
	compact(f);
	if (f->keeps)
		r.first_kept = rowstore_add(&f->kept, &inputs, NULL, inputs.rows, in->times, r.ids);
	r.value_of = arena_alloc(a, (inputs.rows + (size_t)1) * sizeof *r.value_of);
	lags_put(&r);
	places_put(&r);
	leads_put(f, in);
	rounds_make(&r);
	if (rounds_run(&r, e))
		return -1;
	for (size_t i = 0; i < f->plan->calls_len; i++) {
		struct column c = builder_column(&f->results[i]);

		if (f->plan->calls[i].kind == CALL_AGGREGATE)
			column_gather(&c, r.value_of, inputs.rows, a, &out[i]);
		else
			out[i] = c;
	}
	return 0;
}
