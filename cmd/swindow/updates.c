/* Windows that tell every change (--emit): all but sessions; without a window, there is one.
 *
 *   row --> all windows that cover it --> groups of each --> changes of each
 *
 * Here windows share no slices: a row changes a result in every window that covers it, so that what
 * comes out is as many rows as windows, and slices would only save the lesser half.  A window whose
 * time has passed has said all there is to say and is forgotten. */
#include "cmd/swindow/spans.h"
#include "cmd/swindow/touched.h"

#include "libcore/base/memory.h"

struct open_window {
	int64_t k;
	struct groups *groups;
	struct touched changes;
	struct change_source source;
	uint32_t rows, at; /* of the batch at hand: how many, and where they stand in its pick */
};

struct updates {
	struct spans spans;
	struct open_window **windows; /* by k */
	size_t len, cap;
};

static struct updates *updates_of(const struct window *w)
{
	return w->state;
}

static void updates_init(struct window *w)
{
	struct updates *u = mem_zero(sizeof *u);

	u->spans = spans_of(&w->options);
	w->state = u;
}

static void window_free(struct window *w, struct open_window *o)
{
	groups_free(o->groups, w->plan);
	touched_clear(&o->changes);
	mem_free(o);
}

static void updates_clear(struct window *w)
{
	struct updates *u = updates_of(w);

	for (size_t i = 0; i < u->len; i++)
		window_free(w, u->windows[i]);
	mem_free(u->windows);
	mem_free(u);
}

/* ---- windows by number ---- */

static void bounds(const struct window *w, int64_t k, int64_t *start, int64_t *end)
{
	*start = *end = 0;
	if (w->options.shape != WINDOW_NONE)
		span_bounds(&updates_of(w)->spans, k, start, end);
}

/* The windows that cover a time, and between which times they are the same. */
struct cover {
	int64_t first, last;       /* windows */
	int64_t from_us, until_us; /* not reached */
};

static struct cover cover_of(const struct spans *s, int64_t time_us)
{
	int64_t step = floor_div(time_us - s->offset_us, s->step_us), start, ended;
	struct cover c = {span_first(s, time_us), span_last(s, time_us),
		step * s->step_us + s->offset_us, (step + 1) * s->step_us + s->offset_us};

	if (s->shape != WINDOW_HOP)
		return c;
	/* Windows also change where one ends. */
	span_bounds(s, c.first, &start, &ended);
	if (ended < c.until_us)
		c.until_us = ended;
	if (ended - s->step_us > c.from_us)
		c.from_us = ended - s->step_us;
	return c;
}

/* How many of the windows come before k. */
static size_t windows_before(const struct updates *u, int64_t k)
{
	size_t low = 0, high = u->len;

	if (u->len && u->windows[u->len - 1]->k < k)
		return u->len;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (u->windows[middle]->k < k)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct open_window *window_at(struct window *w, int64_t k)
{
	struct updates *u = updates_of(w);
	size_t at = windows_before(u, k);
	struct open_window *o;

	if (at < u->len && u->windows[at]->k == k)
		return u->windows[at];
	o = mem_zero(sizeof *o);
	o->k = k;
	o->groups = groups_new(w->plan);
	o->source = (struct change_source){.show = touched_show_groups, .groups = o->groups};
	bounds(w, k, &o->source.start_us, &o->source.end_us);
	MEM_GROW(u->windows, u->cap, u->len + 1);
	memmove(u->windows + at + 1, u->windows + at, (u->len - at) * sizeof *u->windows);
	u->windows[at] = o;
	u->len++;
	return o;
}

/* ---- rows ---- */

struct cover_set { /* the windows of a row that are open */
	struct open_window **windows;
	uint32_t len;
};

static struct cover_set *set_new(struct window *w, const struct cover *c)
{
	struct arena *a = &w->batch_arena;
	struct cover_set *set = arena_alloc(a, sizeof *set);
	int64_t start, end, first = c->first;

	for (; first <= c->last && w->watermark_us != WATERMARK_NONE; first++) {
		bounds(w, first, &start, &end);
		if (!window_has_passed(w, end - 1, w->watermark_us))
			break;
	}
	set->len = (uint32_t)(c->last - first + 1);
	set->windows = arena_alloc(a, ((size_t)set->len + 1) * sizeof(struct open_window *));
	for (uint32_t i = 0; i < set->len; i++)
		set->windows[i] = window_at(w, first + i);
	return set;
}

/* Every row's windows; their number in all. */
static int cover_rows(struct window *w, const struct rows *rows, struct cover_set **sets,
	size_t *total, struct error *e)
{
	struct cover c = {.until_us = INT64_MIN};
	struct cover_set *set = NULL;

	*total = 0;
	for (uint32_t r = 0; r < rows->n; r++) {
		int64_t t = rows->times[r];

		if (!set || t < c.from_us || t >= c.until_us) {
			if (span_is_far(t))
				return span_refuse(t, e);
			c = cover_of(&updates_of(w)->spans, t);
			set = set_new(w, &c);
		}
		sets[r] = set;
		for (uint32_t i = 0; i < set->len; i++)
			set->windows[i]->rows++;
		*total += set->len;
	}
	return 0;
}

static int late_put(
	struct window *w, struct cover_set *const *sets, uint32_t rows, struct error *e)
{
	uint32_t *late = arena_alloc(&w->batch_arena, ((size_t)rows + 1) * sizeof *late), n = 0;

	for (uint32_t r = 0; r < rows; r++) {
		late[n] = r;
		n += sets[r]->len == 0;
	}
	return window_put_late(w, late, n, e);
}

/* The rows of each window, in their order, one window's after another's. */
static uint32_t *rows_by_window(
	struct window *w, struct cover_set *const *sets, uint32_t rows, size_t total)
{
	struct updates *u = updates_of(w);
	uint32_t *pick = arena_alloc(&w->batch_arena, (total + 1) * sizeof *pick), at = 0;

	for (size_t i = 0; i < u->len; i++) {
		u->windows[i]->at = at;
		at += u->windows[i]->rows;
	}
	for (uint32_t r = 0; r < rows; r++) {
		for (uint32_t i = 0; i < sets[r]->len; i++)
			pick[sets[r]->windows[i]->at++] = r;
	}
	return pick;
}

static int updates_add(struct window *w, const struct rows *rows, struct error *e)
{
	struct updates *u = updates_of(w);
	struct cover_set **sets = arena_alloc(
		&w->batch_arena, ((size_t)rows->n + 1) * sizeof(struct cover_set *));
	struct open_window *all;
	uint32_t *pick;
	size_t total;
	int status = 0;

	if (w->options.shape == WINDOW_NONE) {
		all = window_at(w, 0);
		return touched_add(w, &all->changes, all->groups, &all->source, rows, e);
	}
	if (cover_rows(w, rows, sets, &total, e) || late_put(w, sets, rows->n, e))
		return -1;
	pick = rows_by_window(w, sets, rows->n, total);
	for (size_t i = 0; i < u->len && status == 0; i++) {
		struct open_window *o = u->windows[i];
		struct rows some = *rows;

		if (o->rows == 0)
			continue;
		if (o->rows < rows->n)
			rows_take(rows, pick + o->at - o->rows, o->rows, &w->batch_arena, &some);
		status = touched_add(w, &o->changes, o->groups, &o->source, &some, e);
		o->rows = 0;
	}
	return status;
}

/* ---- changes, time ---- */

static int updates_emit(struct window *w, struct error *e)
{
	struct updates *u = updates_of(w);

	for (size_t i = 0; i < u->len; i++) {
		struct open_window *o = u->windows[i];

		if (o->changes.len && touched_flush(w, &o->changes, &o->source, e))
			return -1;
	}
	return 0;
}

/* The one window of a whole stream: without keys it has a result, also of nothing. */
static int all_end(struct window *w, struct error *e)
{
	struct open_window *o = window_at(w, 0);
	struct rows none = {.n = 1, .hashes = (const uint64_t[]){0}};

	if (w->plan->keys_len == 0 && groups_len(o->groups) == 0)
		touched_note(&o->changes,
			groups_insert(o->groups, w->plan, &none, &w->change_arena), 1, 0, 1);
	return touched_flush(w, &o->changes, &o->source, e);
}

static int updates_fire(struct window *w, int64_t watermark_us, struct error *e)
{
	struct updates *u = updates_of(w);
	size_t n = 0;
	int status = 0;

	if (w->options.shape == WINDOW_NONE)
		return watermark_us == WATERMARK_FINAL ? all_end(w, e) : 0;
	while (n < u->len && status == 0) {
		struct open_window *o = u->windows[n];

		if (!window_has_passed(w, o->source.end_us - 1, watermark_us))
			break;
		status = touched_flush(w, &o->changes, &o->source, e);
		window_free(w, o);
		n++;
	}
	u->len -= n;
	if (n)
		memmove(u->windows, u->windows + n, u->len * sizeof *u->windows);
	return status;
}

/* ---- state: a window is the last time in it, which no two have in common ---- */

static size_t updates_bytes(const struct window *w)
{
	const struct updates *u = updates_of(w);
	size_t bytes = u->cap * sizeof *u->windows;

	for (size_t i = 0; i < u->len; i++)
		bytes += sizeof **u->windows + groups_bytes(u->windows[i]->groups, w->plan) +
			 touched_bytes(&u->windows[i]->changes);
	return bytes;
}

static int64_t window_last(const struct open_window *o)
{
	return o->source.end_us - 1;
}

static int updates_save(struct window *w, struct snapshot_writer *writer, struct error *e)
{
	struct updates *u = updates_of(w);
	struct state_table *tables = mem_alloc((u->len + 1) * sizeof *tables);
	int status;

	for (size_t i = 0; i < u->len; i++)
		tables[i] = (struct state_table){.first_us = window_last(u->windows[i]),
			.last_us = window_last(u->windows[i]),
			.keys = u->windows[i]->groups->keys,
			.aggregates = u->windows[i]->groups->aggregates};
	status = state_put_tables(w, writer, tables, u->len, e);
	mem_free(tables);
	return status;
}

static int64_t window_of_last(const struct window *w, int64_t last_us)
{
	if (w->options.shape == WINDOW_NONE)
		return 0;
	return span_ended(&updates_of(w)->spans, last_us + 1);
}

static int updates_load(struct window *w, const struct batch *b, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct state_batch in;
	struct open_window *o;
	uint32_t *ids;
	int status;

	state_batch_read(w->plan, b, &arena, &in);
	if (span_is_far(in.first_us[0])) {
		arena_clear(&arena);
		return error_set(e, ERROR_STATE, "a saved window starts out of range");
	}
	o = window_at(w, window_of_last(w, in.first_us[0]));
	status = state_groups_load(w, o->groups, &in, &arena, &ids, e);
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
	.by_window = true,
};
