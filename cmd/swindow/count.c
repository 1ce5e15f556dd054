/* Windows of so many rows: --count N[,SLIDE].
 *
 *   rows of a key    0 1 2 3 4 5 6 7 8 ...       N = 4, SLIDE = 2: a window has two panes
 *   window 0         [-----]
 *   window 1             [-----]
 *   panes            |---|---|---|---            cut where a window starts or ends
 *
 * A row goes into the groups of all windows that are open for its key, at most N / SLIDE of them,
 * rounded up; window w of a key has the group key * slots + w % slots.  A batch is worked off pane by
 * pane of each key, so that a group is handed out before the next window needs its number.  Results
 * come in the order of the rows that complete them. */
#include "cmd/swindow/window.h"

#include "libcore/base/memory.h"

#include <stdlib.h>
#include <string.h>

struct count_done { /* a result in the parts, and the row of the batch that completed it */
	uint32_t row, part;
};

struct count {
	int64_t size, slide;
	uint32_t slots; /* windows that may be open at once */
	struct keytable *keys;
	int64_t *seen;  /* per key: rows so far */
	size_t seen_cap;
	uint32_t seen_len;
	struct aggregate **aggregates; /* slots for every key */
	struct count_done *done; /* of the batch at hand */
	size_t done_cap;
	uint32_t done_len;
};

static struct count *count_of(const struct window *w)
{
	return w->state;
}

static void count_init(struct window *w)
{
	struct count *c = mem_zero(sizeof *c);

	c->size = w->options.size_us;
	c->slide = w->options.step_us;
	c->slots = (uint32_t)((c->size + c->slide - 1) / c->slide);
	c->keys = keytable_new(w->plan->key_types, w->plan->keys_len);
	c->aggregates = mem_zero((w->plan->calls_len + 1) * sizeof *c->aggregates);
	for (size_t i = 0; i < w->plan->calls_len; i++)
		c->aggregates[i] = aggregate_new_like(w->plan->calls[i].like);
	w->state = c;
}

static void count_clear(struct window *w)
{
	struct count *c = count_of(w);

	for (size_t i = 0; i < w->plan->calls_len; i++)
		aggregate_free(c->aggregates[i]);
	mem_free(c->aggregates);
	keytable_free(c->keys);
	mem_free(c->seen);
	mem_free(c->done);
	mem_free(c);
}

/* ---- geometry, in rows of a key ---- */

/* The first row behind the pane that row n is in. */
static int64_t pane_end(const struct count *c, int64_t n)
{
	int64_t at = n % c->slide, cut = c->size % c->slide;

	return n - at + (at < cut ? cut : c->slide);
}

/* The windows that row n is in are [*first, *last]. */
static void windows_of(const struct count *c, int64_t n, int64_t *first, int64_t *last)
{
	*last = n / c->slide;
	*first = n < c->size ? 0 : (n - c->size) / c->slide + 1;
}

static uint32_t group_of(const struct count *c, uint32_t key, int64_t window)
{
	return key * c->slots + (uint32_t)(window % c->slots);
}

/* ---- rows ---- */

static int keys_grow(struct window *w, struct error *e)
{
	struct count *c = count_of(w);
	uint32_t len = keytable_len(c->keys);

	if (len > UINT32_MAX / c->slots)
		return error_set(e, ERROR_DATA, "%u keys with up to %u open windows each are too many",
			len, c->slots);
	MEM_GROW(c->seen, c->seen_cap, len);
	for (; c->seen_len < len; c->seen_len++)
		c->seen[c->seen_len] = 0;
	for (size_t i = 0; i < w->plan->calls_len; i++)
		aggregate_resize(c->aggregates[i], len * c->slots);
	return 0;
}

/* The rows of a batch by round: the n-th pane of a key that the batch touches is its n-th round. */
struct deal {
	const uint32_t *ids;
	int64_t *numbers;  /* of each row in its key */
	uint32_t *order;   /* rows by round, in order */
	uint32_t *ends;    /* of the rounds, in order */
	uint32_t rounds;
};

static void deal_rows(struct window *w, const uint32_t *ids, uint32_t n, struct deal *d)
{
	struct count *c = count_of(w);
	struct arena *a = &w->batch_arena;
	uint32_t keys = keytable_len(c->keys), *round = arena_alloc(a, (n + (size_t)1) * sizeof *round);
	uint32_t *rounds = arena_zero(a, (keys + (size_t)1) * sizeof *rounds);
	int64_t *ends = arena_alloc(a, (keys + (size_t)1) * sizeof *ends);

	*d = (struct deal){.ids = ids, .numbers = arena_alloc(a, (n + (size_t)1) * sizeof *d->numbers),
		.order = arena_alloc(a, (n + (size_t)1) * sizeof *d->order)};
	for (uint32_t r = 0; r < n; r++) {
		uint32_t k = ids[r];
		int64_t number = c->seen[k]++;

		d->numbers[r] = number;
		if (!rounds[k] || number == ends[k]) {
			rounds[k]++;
			ends[k] = pane_end(c, number);
		}
		round[r] = rounds[k] - 1;
		d->rounds = rounds[k] > d->rounds ? rounds[k] : d->rounds;
	}
	d->ends = arena_zero(a, (d->rounds + (size_t)2) * sizeof *d->ends);
	for (uint32_t r = 0; r < n; r++)
		d->ends[round[r] + 1]++;
	for (uint32_t k = 1; k <= d->rounds; k++)
		d->ends[k] += d->ends[k - 1];
	for (uint32_t r = 0; r < n; r++)
		d->order[d->ends[round[r]]++] = r;
}

/* Rows picked of a round into the windows `back` before their newest. */
static int add_back(struct window *w, const struct rows *rows, const struct deal *d, const uint32_t *pick,
	uint32_t n, uint32_t back, struct error *e)
{
	struct count *c = count_of(w);
	uint32_t *in = arena_alloc(&w->batch_arena, (n + (size_t)1) * sizeof *in), len = 0;
	uint32_t *groups = arena_alloc(&w->batch_arena, (n + (size_t)1) * sizeof *groups);
	struct rows some;

	for (uint32_t i = 0; i < n; i++) {
		int64_t first, last;

		windows_of(c, d->numbers[pick[i]], &first, &last);
		if (last - back < first)
			continue;
		in[len] = pick[i];
		groups[len++] = group_of(c, d->ids[pick[i]], last - back);
	}
	if (!len)
		return 0;
	rows_gather(rows, in, len, &w->batch_arena, &some);
	return aggregates_add(c->aggregates, w->plan, &some, groups, &w->batch_arena, e);
}

/* Results of windows that these groups hold; the groups are empty after. */
static int hand_out(struct window *w, const uint32_t *keys, const uint32_t *groups, uint32_t n,
	struct error *e)
{
	struct count *c = count_of(w);
	struct results r = {.keys = c->keys, .key_pick = keys, .aggregates = c->aggregates,
		.group_pick = groups, .n = n};

	if (results_put(w, &r, e))
		return -1;
	for (size_t i = 0; i < w->plan->calls_len; i++) {
		for (uint32_t k = 0; k < n; k++)
			aggregate_clear_group(c->aggregates[i], groups[k]);
	}
	return 0;
}

/* The windows that rows of a round have completed: at most one a row. */
static int complete(struct window *w, const struct deal *d, const uint32_t *pick, uint32_t n,
	struct error *e)
{
	struct count *c = count_of(w);
	uint32_t *keys = arena_alloc(&w->batch_arena, (n + (size_t)1) * sizeof *keys), len = 0;
	uint32_t *groups = arena_alloc(&w->batch_arena, (n + (size_t)1) * sizeof *groups);

	for (uint32_t i = 0; i < n; i++) {
		int64_t past = d->numbers[pick[i]] + 1 - c->size;

		if (past < 0 || past % c->slide)
			continue;
		MEM_GROW(c->done, c->done_cap, c->done_len + (size_t)1);
		c->done[c->done_len] = (struct count_done){pick[i], c->done_len};
		c->done_len++;
		keys[len] = d->ids[pick[i]];
		groups[len++] = group_of(c, d->ids[pick[i]], past / c->slide);
	}
	return len ? hand_out(w, keys, groups, len, e) : 0;
}

static int compare_done(const void *a, const void *b)
{
	const struct count_done *x = a, *y = b;

	return (x->row > y->row) - (x->row < y->row);
}

/* The parts lie by round: out they go by row. */
static int emit_done(struct window *w, struct error *e)
{
	struct count *c = count_of(w);
	uint32_t *pick;
	struct batch sorted;

	if (!c->done_len)
		return 0;
	qsort(c->done, c->done_len, sizeof *c->done, compare_done);
	pick = arena_alloc(&w->batch_arena, c->done_len * sizeof *pick);
	for (uint32_t i = 0; i < c->done_len; i++)
		pick[i] = c->done[i].part;
	batch_gather(batch_builder_view(&w->parts), pick, c->done_len, &w->batch_arena, &sorted);
	batch_builder_reset(&w->parts);
	batch_builder_put_rows(&w->parts, &sorted, 0, sorted.rows);
	c->done_len = 0;
	return results_flush(w, e);
}

static int add_some(struct window *w, const struct rows *rows, struct error *e)
{
	struct count *c = count_of(w);
	uint32_t *ids = arena_alloc(&w->batch_arena, (rows->n + (size_t)1) * sizeof *ids), first = 0;
	const struct column **keys = arena_alloc(
		&w->batch_arena, (w->plan->keys_len + 1) * sizeof *keys);
	struct deal d;

	for (size_t i = 0; i < w->plan->keys_len; i++)
		keys[i] = &rows->columns[i];
	keytable_insert(c->keys, keys, rows->n, rows->hashes, ids);
	if (keys_grow(w, e))
		return -1;
	deal_rows(w, ids, rows->n, &d);
	for (uint32_t k = 0; k < d.rounds; k++) {
		const uint32_t *pick = d.order + first;
		uint32_t n = d.ends[k] - first;

		first = d.ends[k];
		for (uint32_t back = 0; back < c->slots; back++) {
			if (add_back(w, rows, &d, pick, n, back, e))
				return -1;
		}
		if (complete(w, &d, pick, n, e))
			return -1;
	}
	return emit_done(w, e);
}

/* Results of a batch are sorted before they go out, so they must fit the parts. */
static int count_add(struct window *w, const struct rows *rows, struct error *e)
{
	enum { SOME = BATCH_ROWS / 2 };
	uint32_t *pick = arena_alloc(&w->batch_arena, (rows->n + (size_t)1) * sizeof *pick);

	for (uint32_t r = 0; r < rows->n; r++)
		pick[r] = r;
	for (uint32_t first = 0; first < rows->n; first += SOME) {
		uint32_t n = rows->n - first < SOME ? rows->n - first : SOME;
		struct rows some;

		rows_take(rows, pick + first, n, &w->batch_arena, &some);
		if (add_some(w, &some, e))
			return -1;
	}
	return 0;
}

/* ---- the end ---- */

/* Windows that have rows and aren't complete: --partial.  By key, then window. */
static int count_fire(struct window *w, int64_t watermark_us, struct error *e)
{
	struct count *c = count_of(w);

	if (watermark_us != WATERMARK_FINAL || !w->options.partial)
		return 0;
	for (uint32_t k = 0; k < c->seen_len; k++) {
		int64_t first, last;

		if (c->seen[k] == 0)
			continue;
		windows_of(c, c->seen[k] - 1, &first, &last);
		for (int64_t window = first; window <= last; window++) {
			uint32_t group = group_of(c, k, window);

			if (window * c->slide + c->size > c->seen[k] && hand_out(w, &k, &group, 1, e))
				return -1;
		}
	}
	return 0;
}

/* ---- state: a row per open window; first is its number, last how many rows its key has had ---- */

static size_t count_bytes(const struct window *w)
{
	const struct count *c = count_of(w);
	size_t bytes = keytable_bytes(c->keys) + c->seen_cap * sizeof *c->seen;

	for (size_t i = 0; i < w->plan->calls_len; i++)
		bytes += aggregate_bytes(c->aggregates[i]);
	return bytes;
}

static int count_save(struct window *w, struct snapshot_writer *writer, struct error *e)
{
	struct count *c = count_of(w);
	struct state_rows all = {.keys = c->keys, .aggregates = c->aggregates,
		.rows = mem_alloc(((size_t)c->seen_len * c->slots + 1) * sizeof *all.rows)};
	uint8_t *key_groups = state_key_groups(c->keys);
	int status;

	for (uint32_t k = 0; k < c->seen_len; k++) {
		int64_t first, last;

		if (c->seen[k] == 0)
			continue;
		windows_of(c, c->seen[k] - 1, &first, &last);
		for (int64_t window = first; window <= last; window++) {
			/* The last one may be complete: its group is empty, but its key's rows count. */
			all.rows[all.n++] = (struct state_row){.place = k, .first_us = window,
				.last_us = c->seen[k], .key = k, .group = group_of(c, k, window),
				.key_group = key_groups[k]};
		}
	}
	status = state_put_rows(w, writer, &all, e);
	mem_free(key_groups);
	mem_free(all.rows);
	return status;
}

static int count_load(struct window *w, const struct batch *b, struct error *e)
{
	struct count *c = count_of(w);
	struct arena arena = ARENA_INIT;
	struct state_batch in;
	uint32_t *ids = arena_alloc(&arena, ((size_t)b->rows + 1) * sizeof *ids);
	int status;

	state_batch_read(w->plan, b, &arena, &in);
	keytable_insert(c->keys, in.keys, in.rows, in.hashes, ids);
	status = keys_grow(w, e);
	for (uint32_t r = 0; r < in.rows && status == 0; r++) {
		if (in.first_us[r] < 0 || in.last_us[r] <= 0)
			status = error_set(e, ERROR_STATE, "a saved window has a number below 0");
		else
			c->seen[ids[r]] = in.last_us[r];
		ids[r] = group_of(c, ids[r], in.first_us[r] < 0 ? 0 : in.first_us[r]);
	}
	if (status == 0)
		status = state_aggregates_load(w->plan, c->aggregates, &in, ids, e);
	arena_clear(&arena);
	return status;
}

const struct window_ops count_ops = {
	.init = count_init,
	.clear = count_clear,
	.add = count_add,
	.fire = count_fire,
	.bytes = count_bytes,
	.save = count_save,
	.load = count_load,
};
