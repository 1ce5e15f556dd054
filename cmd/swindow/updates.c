/* Windows whose results go out as a changelog while they are open: --emit changes and --emit DURATION.
 *
 *   windows   a table of groups each, found by number; a row goes into all it belongs to
 *
 * Not sliced as in slices.c: a change of a slice's group would have to be combined anew for every
 * window it is in, which is what adding the row to each of them does at once.  Without a window there
 * is one, which never closes before the end; with the event time among the keys, one for each time. */
#include "cmd/swindow/changes.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdlib.h>

#define TIME_MOST (INT64_C(1) << 62) /* as in slices.c */

struct update_window {
	int64_t number;
	int64_t start_us, end_us; /* both 0 without a window */
	struct groups *groups;
	struct changes changes;
	struct rows *rows; /* of the batch at hand */
	uint32_t *pick, pick_len;
};

struct updates {
	int64_t size_us, step_us, offset_us;
	uint32_t overlap; /* a row is in at most so many */
	struct update_window **windows; /* by number, rising */
	size_t len, cap;
};

static struct updates *updates_of(const struct window *w)
{
	return w->state;
}

static void updates_init(struct window *w)
{
	struct updates *u = mem_zero(sizeof *u);

	u->size_us = w->options.size_us;
	u->step_us = w->options.step_us;
	u->offset_us = w->options.offset_us;
	if (w->options.shape == WINDOW_GIVEN)
		u->size_us = u->step_us = 1;
	u->overlap = 1;
	if (w->options.shape == WINDOW_HOP || w->options.shape == WINDOW_CUMULATE)
		u->overlap = (uint32_t)((u->size_us + u->step_us - 1) / u->step_us);
	w->state = u;
}

static void window_close(struct window *w, struct update_window *x)
{
	groups_free(x->groups, w->plan);
	changes_clear(&x->changes);
	mem_free(x->pick);
	mem_free(x);
}

static void updates_clear(struct window *w)
{
	struct updates *u = updates_of(w);

	for (size_t i = 0; i < u->len; i++)
		window_close(w, u->windows[i]);
	mem_free(u->windows);
	mem_free(u);
}

/* ---- geometry ----
 *
 * Hops are numbered by their start; cumulating windows by their last step. */

static void window_bounds(const struct window *w, int64_t number, int64_t *start, int64_t *end)
{
	const struct updates *u = updates_of(w);

	*start = *end = 0;
	if (w->options.shape == WINDOW_NONE)
		return;
	*start = number * u->step_us + u->offset_us;
	*end = *start + u->size_us;
	if (w->options.shape == WINDOW_CUMULATE) {
		*end = *start + u->step_us;
		*start = floor_div(number * u->step_us, u->size_us) * u->size_us + u->offset_us;
	}
}

/* The windows that a time is in are [*first, *last]. */
static void windows_of(const struct window *w, int64_t time_us, int64_t *first, int64_t *last)
{
	const struct updates *u = updates_of(w);
	int64_t t = time_us - u->offset_us;

	*first = *last = 0;
	if (w->options.shape == WINDOW_NONE)
		return;
	*first = *last = floor_div(t, u->step_us);
	if (w->options.shape == WINDOW_HOP)
		*first = floor_div(t - u->size_us, u->step_us) + 1;
	if (w->options.shape == WINDOW_CUMULATE)
		*last = (floor_div(t, u->size_us) + 1) * (u->size_us / u->step_us) - 1;
}

static bool has_passed(const struct window *w, int64_t number, int64_t watermark_us)
{
	int64_t start, end;

	if (w->options.shape == WINDOW_NONE || watermark_us == WATERMARK_NONE)
		return false;
	window_bounds(w, number, &start, &end);
	return window_has_passed(w, end - 1, watermark_us);
}

/* ---- windows by number ---- */

/* The place of the first window whose number isn't below. */
static size_t window_place(const struct updates *u, int64_t number)
{
	size_t low = 0, high = u->len;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (u->windows[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct update_window *window_get(struct window *w, int64_t number)
{
	struct updates *u = updates_of(w);
	size_t at = window_place(u, number);
	struct update_window *x;

	if (at < u->len && u->windows[at]->number == number)
		return u->windows[at];
	x = mem_zero(sizeof *x);
	x->number = number;
	window_bounds(w, number, &x->start_us, &x->end_us);
	x->groups = groups_new(w->plan);
	changes_init(&x->changes, w->plan);
	MEM_GROW(u->windows, u->cap, u->len + 1);
	memmove(u->windows + at + 1, u->windows + at, (u->len - at) * sizeof *u->windows);
	u->windows[at] = x;
	u->len++;
	return x;
}

/* ---- results ---- */

/* Groups from `known` on are new: they have had no results. */
struct results_of {
	const struct update_window *window;
	uint32_t known;
};

/* Leaves of the groups those that have results: a changelog may have emptied them. */
static uint32_t living_groups(struct window *w, const struct results_of *of, const uint32_t *groups,
	uint32_t n, uint32_t *pick, uint32_t *counts)
{
	const struct aggregate *rows = w->plan->retracts
		? of->window->groups->aggregates[w->plan->calls_len - 1] : NULL;
	struct column_builder living;
	struct error never = ERROR_INIT;
	uint32_t len = 0;

	builder_init(&living, TYPE_OF(TYPE_INT));
	for (uint32_t i = 0; i < n; i++) {
		counts[i] = groups[i] < of->known;
		pick[len] = groups[i];
		len += counts[i];
	}
	if (rows && w->plan->keys_len) {
		int status = aggregate_finalize(rows, pick, len, &living, &never);
		struct column c = builder_column(&living);
		uint32_t at = 0, kept = 0;

		MUST(status == 0); /* a count fits */
		for (uint32_t i = 0; i < n; i++) {
			if (!counts[i])
				continue;
			counts[i] = column_int(&c, at) > 0;
			pick[kept] = pick[at++];
			kept += counts[i];
		}
		len = kept;
	}
	builder_clear(&living);
	return len;
}

static int rows_of(struct window *w, const void *context, const uint32_t *groups, uint32_t n,
	struct batch_builder *out, uint32_t *counts, struct error *e)
{
	const struct results_of *of = context;
	uint32_t *pick = mem_alloc((n + (size_t)1) * sizeof *pick);
	struct results r = {.keys = of->window->groups->keys,
		.key_pick = pick,
		.aggregates = of->window->groups->aggregates,
		.group_pick = pick,
		.start_us = of->window->start_us,
		.end_us = of->window->end_us};
	struct batch b;
	int status = 0;

	r.n = living_groups(w, of, groups, n, pick, counts);
	if (r.n) {
		status = results_rows(w, &r, &b, e);
		if (status == 0)
			batch_builder_put_rows(out, &b, 0, b.rows);
	}
	mem_free(pick);
	return status;
}

static struct changes_source source_of(const struct results_of *of)
{
	return (struct changes_source){rows_of, of};
}

static int window_emit(struct window *w, struct update_window *x, struct error *e)
{
	struct results_of of = {x, groups_len(x->groups)};
	struct changes_source s = source_of(&of);

	return changes_emit(&x->changes, w, &s, e);
}

static int updates_emit(struct window *w, struct error *e)
{
	struct updates *u = updates_of(w);

	for (size_t i = 0; i < u->len; i++) {
		if (window_emit(w, u->windows[i], e))
			return -1;
	}
	return 0;
}

/* ---- rows ---- */

static int window_add(struct window *w, struct update_window *x, const struct rows *rows,
	struct error *e)
{
	struct results_of of = {x, groups_len(x->groups)};
	struct changes_source s = source_of(&of);
	uint32_t *ids = groups_insert(x->groups, w->plan, rows, &w->batch_arena);

	if (changes_note(&x->changes, w, &s, ids, rows->n, e) ||
		aggregates_add(x->groups->aggregates, w->plan, rows, ids, &w->batch_arena, e))
		return -1;
	return w->options.emit_us ? 0 : window_emit(w, x, e);
}

/* Gives row r to window `number`. */
static void deal(struct window *w, const struct rows *rows, int64_t number, uint32_t r,
	struct update_window **last)
{
	struct update_window *x = *last;

	if (!x || x->number != number)
		x = *last = window_get(w, number);
	if (!x->pick)
		x->pick = mem_alloc(BATCH_ROWS * sizeof *x->pick);
	x->pick[x->pick_len++] = r;
}

static int deal_rows(struct window *w, const struct rows *rows, struct error *e)
{
	struct update_window *last = NULL;
	uint32_t *late = arena_alloc(&w->batch_arena, (rows->n + (size_t)1) * sizeof *late), lates = 0;

	for (uint32_t r = 0; r < rows->n; r++) {
		int64_t first, end, time_us = rows->times[r];
		bool any = false;

		if (w->options.shape != WINDOW_NONE &&
			(time_us >= TIME_MOST || time_us <= -TIME_MOST))
			return error_set(e, ERROR_DATA, "an event time of %lld us is out of range",
				(long long)time_us);
		windows_of(w, time_us, &first, &end);
		for (int64_t k = first; k <= end; k++) {
			if (has_passed(w, k, w->watermark_us))
				continue;
			any = true;
			deal(w, rows, k, r, &last);
		}
		late[lates] = r;
		lates += !any;
	}
	return window_put_late(w, late, lates, e);
}

static int updates_add(struct window *w, const struct rows *rows, struct error *e)
{
	struct updates *u = updates_of(w);
	int status;

	if (w->options.shape == WINDOW_NONE)
		return window_add(w, window_get(w, 0), rows, e);
	status = deal_rows(w, rows, e);
	for (size_t i = 0; i < u->len; i++) {
		struct update_window *x = u->windows[i];
		struct rows some;

		if (x->pick_len && status == 0) {
			rows_take(rows, x->pick, x->pick_len, &w->batch_arena, &some);
			status = window_add(w, x, &some, e);
		}
		x->pick_len = 0;
	}
	return status;
}

/* ---- time ---- */

/* Without keys there is one result, also of nothing: count 0. */
static int show_nothing(struct window *w, struct error *e)
{
	struct update_window *x = window_get(w, 0);
	struct results r = {.keys = x->groups->keys, .aggregates = x->groups->aggregates, .n = 1};
	struct batch b;
	static const uint8_t insert[1] = {ROW_INSERT};

	if (groups_len(x->groups))
		return 0;
	for (size_t i = 0; i < w->plan->calls_len; i++)
		aggregate_resize(x->groups->aggregates[i], 1);
	if (results_rows(w, &r, &b, e))
		return -1;
	b.ops = insert;
	return stage_emit(w->op.stage, 0, &b, e);
}

static int updates_fire(struct window *w, int64_t watermark_us, struct error *e)
{
	struct updates *u = updates_of(w);
	size_t passed = 0;

	if (w->options.shape == WINDOW_NONE) {
		if (watermark_us != WATERMARK_FINAL)
			return 0;
		return updates_emit(w, e) || (!w->plan->keys_len && show_nothing(w, e)) ? -1 : 0;
	}
	while (passed < u->len && has_passed(w, u->windows[passed]->number, watermark_us)) {
		if (window_emit(w, u->windows[passed], e))
			return -1;
		passed++;
	}
	for (size_t i = 0; i < passed; i++)
		window_close(w, u->windows[i]);
	u->len -= passed;
	if (passed)
		memmove(u->windows, u->windows + passed, u->len * sizeof *u->windows);
	return 0;
}

/* ---- state: all that was noted has been emitted ---- */

static size_t updates_bytes(const struct window *w)
{
	const struct updates *u = updates_of(w);
	size_t bytes = u->cap * sizeof *u->windows;

	for (size_t i = 0; i < u->len; i++)
		bytes += sizeof **u->windows + groups_bytes(u->windows[i]->groups, w->plan) +
			changes_bytes(&u->windows[i]->changes);
	return bytes;
}

/* By the start of its last step, which no other window has. */
static int updates_save(struct window *w, struct snapshot_writer *s, struct error *e)
{
	struct updates *u = updates_of(w);
	struct state_table *tables = mem_zero((u->len + 1) * sizeof *tables);
	int status;

	for (size_t i = 0; i < u->len; i++) {
		const struct update_window *x = u->windows[i];

		tables[i] = (struct state_table){
			.keys = x->groups->keys, .aggregates = x->groups->aggregates};
		if (w->options.shape == WINDOW_NONE)
			continue;
		tables[i].first_us = x->number * u->step_us + u->offset_us;
		tables[i].last_us = x->end_us - 1;
	}
	status = state_put_tables(w, s, tables, u->len, e);
	mem_free(tables);
	return status;
}

static int updates_load(struct window *w, const struct batch *b, struct error *e)
{
	struct updates *u = updates_of(w);
	struct arena arena = ARENA_INIT;
	struct state_batch in;
	struct update_window *x;
	uint32_t *ids = arena_alloc(&arena, ((size_t)b->rows + 1) * sizeof *ids);
	int64_t number = 0;
	int status;

	state_batch_read(w->plan, b, &arena, &in);
	if (in.first_us[0] >= TIME_MOST || in.first_us[0] <= -TIME_MOST) {
		arena_clear(&arena);
		return error_set(e, ERROR_STATE, "a saved window starts out of range");
	}
	if (w->options.shape != WINDOW_NONE)
		number = floor_div(in.first_us[0] - u->offset_us, u->step_us);
	x = window_get(w, number);
	keytable_insert(x->groups->keys, in.keys, in.rows, in.hashes, ids);
	for (size_t i = 0; i < w->plan->calls_len; i++)
		aggregate_resize(x->groups->aggregates[i], groups_len(x->groups));
	status = state_aggregates_load(w->plan, x->groups->aggregates, &in, ids, e);
	arena_clear(&arena);
	return status;
}

const struct window_ops updates_ops = {
	.init = updates_init,
	.clear = updates_clear,
	.add = updates_add,
	.fire = updates_fire,
	.emit = updates_emit,
	.bytes = updates_bytes,
	.save = updates_save,
	.load = updates_load,
};
