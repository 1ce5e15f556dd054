/* Windows made of slices: tumble, hop, cumulate, and a window_end among the keys.
 *
 *   windows   |-------- k ---------|            slide 4, size 10: slices of 2, a window has 5
 *                 |------ k + 1 -------|
 *   slices    | 0 | 1 | 2 | 3 | 4 | 5 | 6 |     a row goes into one slice
 *
 * Time is cut wherever a window starts or ends, which gives at most two slices per slide ("paired
 * windows": Krishnamurthy, Wu, Franklin, SIGMOD 2006).  So what a row costs doesn't depend on how
 * many windows it belongs to, and windows combine the groups of their slices.
 *
 * Hops combine with two stacks (Tangwongsan, Hirzel, Schneider, DEBS 2017), never subtracting,
 * which min and max could not:
 *
 *      head            boundary            combined
 *   ... [ a ] [ b ] [ c ] | [ d ] [ e ] [ f ] | [ g ]       slices by time
 *        abc   bc    c    |      d e f                      suffix[] and back
 *
 * A window is suffix[head] and back.  When its front has run empty all slices move to it.  So each
 * slice is combined a constant number of times, however small the slide.  Cumulating windows only
 * ever need back.  A late row into a slice that has been combined already undoes both; the next
 * window combines anew. */
#include "cmd/swindow/spans.h"
#include "cmd/swindow/spilled.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdlib.h>

enum {
	POOL_MAX = 128, /* sets of groups kept for the next slices, as far as they fit: */
	POOL_BYTES_MAX = 16 << 20,
	MAP_MIN = 64,
	NAIVE_SLICES = 3, /* so few are combined directly */
};

struct slice {
	int64_t index;
	int64_t start_us, end_us;
	struct groups *groups;
	bool combined; /* in suffix or back */
	bool spilled;  /* some of its groups are on disk */
	uint32_t mark; /* place among the slices of the batch at hand, +1 */
};

struct slices {
	struct spans spans;
	int64_t rest_us; /* hop: size modulo step, where windows end between starts */
	double per_step; /* 1 / step_us */

	struct slice **order; /* [head, len) are live; sorted by index if `sorted` */
	size_t head, len, cap;
	bool sorted;
	struct slice **map; /* open addressing by index */
	size_t map_cap;     /* a power of two */
	struct slice *last; /* the one hit last */

	size_t boundary, combined; /* see above; head <= boundary <= combined */
	struct groups **suffix;    /* by place in order; the last one is the slice's own groups */
	size_t suffix_cap;
	struct groups *back; /* NULL: nothing in it */

	struct groups *pool[POOL_MAX];
	size_t pool_len, pool_bytes;
	struct slice **touched; /* slices of the batch at hand */
	size_t touched_cap;
};

static struct slices *slices_of(const struct window *w)
{
	return w->state;
}

static void slices_init(struct window *w)
{
	struct slices *s = mem_zero(sizeof *s);

	s->spans = spans_of(&w->options);
	if (s->spans.shape == WINDOW_HOP)
		s->rest_us = s->spans.size_us % s->spans.step_us;
	s->per_step = 1 / (double)s->spans.step_us;
	s->sorted = true;
	s->map_cap = MAP_MIN;
	s->map = mem_zero(s->map_cap * sizeof *s->map);
	w->state = s;
}

/* ---- where slices lie ---- */

/* The number of the step that holds a time, without dividing: a product that may be one off, then
 * mended; where doubles are too coarse even for that, a division after all. */
static inline int64_t step_of(const struct slices *s, int64_t time_us)
{
	int64_t t = time_us - s->spans.offset_us;
	int64_t k = (int64_t)((double)t * s->per_step);
	int64_t rest = (int64_t)((uint64_t)t - (uint64_t)k * (uint64_t)s->spans.step_us);

	if (rest < 0) {
		rest += s->spans.step_us;
		k--;
	} else if (rest >= s->spans.step_us) {
		rest -= s->spans.step_us;
		k++;
	}
	return rest >= 0 && rest < s->spans.step_us ? k : floor_div(t, s->spans.step_us);
}

static inline int64_t slice_index(const struct slices *s, int64_t time_us)
{
	int64_t k = step_of(s, time_us);

	if (s->rest_us == 0)
		return k;
	return 2 * k + (time_us - s->spans.offset_us - k * s->spans.step_us >= s->rest_us);
}

static void slice_bounds(const struct slices *s, int64_t index, int64_t *start, int64_t *end)
{
	int64_t k = index;

	if (s->rest_us == 0) {
		*start = k * s->spans.step_us + s->spans.offset_us;
		*end = *start + s->spans.step_us;
		return;
	}
	k = floor_div(index, 2);
	*start = k * s->spans.step_us + s->spans.offset_us + (index & 1 ? s->rest_us : 0);
	*end = index & 1 ? (k + 1) * s->spans.step_us + s->spans.offset_us : *start + s->rest_us;
}

/* ---- sets of groups, used again ---- */

static struct groups *groups_take(struct window *w)
{
	struct slices *s = slices_of(w);

	if (s->pool_len == 0)
		return groups_new(w->plan);
	s->pool_len--;
	s->pool_bytes -= groups_bytes(s->pool[s->pool_len], w->plan);
	return s->pool[s->pool_len];
}

static void groups_give(struct window *w, struct groups *g)
{
	struct slices *s = slices_of(w);
	size_t bytes;

	if (!g)
		return;
	bytes = groups_bytes(g, w->plan);
	/* Emptying a table costs its size: one that was hardly used is not worth keeping. */
	if (s->pool_len == POOL_MAX || s->pool_bytes + bytes > POOL_BYTES_MAX ||
		(bytes > 1 << 16 && bytes / 256 > groups_len(g))) {
		groups_free(g, w->plan);
		return;
	}
	groups_reset(g, w->plan);
	s->pool_bytes += groups_bytes(g, w->plan);
	s->pool[s->pool_len++] = g;
}

/* ---- slices by index ---- */

static size_t map_home(const struct slices *s, int64_t index)
{
	return (size_t)(((uint64_t)index * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (s->map_cap - 1);
}

static struct slice **map_at(const struct slices *s, int64_t index)
{
	size_t at = map_home(s, index);

	while (s->map[at] && s->map[at]->index != index)
		at = (at + 1) & (s->map_cap - 1);
	return &s->map[at];
}

/* The map is built anew from the live slices where that is simpler than taking one out. */
static void map_build(struct slices *s, size_t cap)
{
	if (cap != s->map_cap) {
		mem_free(s->map);
		s->map = mem_alloc(cap * sizeof *s->map);
		s->map_cap = cap;
	}
	memset(s->map, 0, cap * sizeof *s->map);
	for (size_t i = s->head; i < s->len; i++)
		*map_at(s, s->order[i]->index) = s->order[i];
}

/* Closes the gap that a slice leaves, moving back what was displaced by it. */
static void map_remove(struct slices *s, int64_t index)
{
	size_t mask = s->map_cap - 1, hole = (size_t)(map_at(s, index) - s->map), at = hole;

	for (;;) {
		at = (at + 1) & mask;
		if (!s->map[at])
			break;
		if (((at - map_home(s, s->map[at]->index)) & mask) >= ((at - hole) & mask)) {
			s->map[hole] = s->map[at];
			hole = at;
		}
	}
	s->map[hole] = NULL;
}

static void slices_undo(struct window *w);

static struct slice *slice_new(struct window *w, int64_t index)
{
	struct slices *s = slices_of(w);
	struct slice *slice = mem_zero(sizeof *slice);

	slice->index = index;
	slice_bounds(s, index, &slice->start_us, &slice->end_us);
	slice->groups = groups_take(w);
	if (s->len > s->head) /* about as many keys as the slice before: no growing step by step */
		keytable_reserve(slice->groups->keys, groups_len(s->order[s->len - 1]->groups));
	if (s->combined > s->head && index < s->order[s->combined - 1]->index)
		slices_undo(w);
	if (s->len > s->head && index < s->order[s->len - 1]->index)
		s->sorted = false;
	MEM_GROW(s->order, s->cap, s->len + 1);
	s->order[s->len++] = slice;
	if ((s->len - s->head) * 2 > s->map_cap)
		map_build(s, s->map_cap * 2);
	else
		*map_at(s, index) = slice;
	return slice;
}

static void slice_free(struct window *w, struct slice *slice)
{
	if (slice->spilled)
		spilled_forget(w->spilled, slice->start_us);
	groups_give(w, slice->groups);
	mem_free(slice);
}

static bool is_late(const struct window *w, int64_t slice_start_us)
{
	const struct spans *spans = &slices_of(w)->spans;
	int64_t start, end;

	if (w->watermark_us == WATERMARK_NONE)
		return false;
	span_bounds(spans, span_last(spans, slice_start_us), &start, &end);
	return window_has_passed(w, end - 1, w->watermark_us);
}

/* The slice of a time, or NULL if all its windows have closed. */
static struct slice *slice_get(struct window *w, int64_t time_us)
{
	struct slices *s = slices_of(w);
	int64_t index = slice_index(s, time_us), start, end;
	struct slice *slice = *map_at(s, index);

	if (slice)
		return slice;
	slice_bounds(s, index, &start, &end);
	return is_late(w, start) ? NULL : slice_new(w, index);
}

/* ---- rows ---- */

struct deal {         /* the rows of a batch dealt out to slices */
	uint32_t *of; /* row -> place in touched, +1; 0: late */
	size_t touched_len;
	uint32_t late;
};

static inline bool slice_has(const struct slice *slice, int64_t time_us)
{
	return slice && time_us >= slice->start_us && time_us < slice->end_us;
}

static uint32_t touch(struct slices *s, struct slice *slice, struct deal *d)
{
	if (!slice)
		return 0;
	if (!slice->mark) {
		MEM_GROW(s->touched, s->touched_cap, d->touched_len + 1);
		s->touched[d->touched_len++] = slice;
		slice->mark = (uint32_t)d->touched_len;
	}
	return slice->mark;
}

static int deal_rows(struct window *w, const struct rows *rows, struct deal *d, struct error *e)
{
	struct slices *s = slices_of(w);
	const int64_t *times = rows->times;
	struct slice *slice = slice_has(s->last, times[0]) ? s->last : NULL;
	uint32_t mark = touch(s, slice, d);

	for (uint32_t r = 0; r < rows->n; r++) {
		if (!slice_has(slice, times[r])) {
			if (span_is_far(times[r]))
				return span_refuse(times[r], e);
			slice = slice_get(w, times[r]);
			mark = touch(s, slice, d);
		}
		d->of[r] = mark;
		d->late += mark == 0;
	}
	s->last = slice;
	return 0;
}

/* Rows in the order of their slices: a counting sort, which keeps rows of a slice in order.
 * starts[m] .. starts[m + 1] are those of mark m. */
static uint32_t *rows_by_slice(
	const struct deal *d, uint32_t rows, uint32_t *starts, struct arena *a)
{
	uint32_t *pick = arena_alloc(a, ((size_t)rows + 1) * sizeof *pick);
	uint32_t *at = arena_alloc(a, (d->touched_len + 2) * sizeof *at);

	for (uint32_t r = 0; r < rows; r++)
		starts[d->of[r] + 1]++;
	for (size_t m = 0; m <= d->touched_len; m++)
		starts[m + 1] += starts[m];
	memcpy(at, starts, (d->touched_len + 1) * sizeof *at);
	for (uint32_t r = 0; r < rows; r++)
		pick[at[d->of[r]]++] = r;
	return pick;
}

static int slice_add(
	struct window *w, struct slice *slice, const struct rows *rows, struct error *e)
{
	if (slice->combined)
		slices_undo(w);
	return groups_add(slice->groups, w->plan, rows, &w->batch_arena, e);
}

static int dealt_add(
	struct window *w, const struct rows *rows, const struct deal *d, struct error *e)
{
	struct slices *s = slices_of(w);
	uint32_t *starts = arena_zero(&w->batch_arena, (d->touched_len + 2) * sizeof *starts);
	uint32_t *pick = rows_by_slice(d, rows->n, starts, &w->batch_arena);

	if (window_put_late(w, pick, d->late, e))
		return -1;
	for (size_t m = 1; m <= d->touched_len; m++) {
		struct rows some;

		if (starts[m] == starts[m + 1])
			continue;
		rows_take(
			rows, pick + starts[m], starts[m + 1] - starts[m], &w->batch_arena, &some);
		if (slice_add(w, s->touched[m - 1], &some, e))
			return -1;
	}
	return 0;
}

static int slices_add(struct window *w, const struct rows *rows, struct error *e)
{
	struct slices *s = slices_of(w);
	struct deal d = {.of = arena_alloc(&w->batch_arena, (rows->n + 1) * sizeof *d.of)};
	int status = deal_rows(w, rows, &d, e);

	if (status == 0 && d.touched_len == 1 && d.late == 0)
		status = slice_add(w, s->touched[0], rows, e);
	else if (status == 0)
		status = dealt_add(w, rows, &d, e);
	for (size_t i = 0; i < d.touched_len; i++)
		s->touched[i]->mark = 0;
	return status;
}

/* ---- combining ---- */

static void suffix_drop(struct window *w, size_t at)
{
	struct slices *s = slices_of(w);

	if (s->suffix[at] != s->order[at]->groups)
		groups_give(w, s->suffix[at]);
	s->suffix[at] = NULL;
}

/* Forgets what was combined: the slices alone hold the rows. */
static void slices_undo(struct window *w)
{
	struct slices *s = slices_of(w);

	for (size_t i = s->head; i < s->boundary; i++)
		suffix_drop(w, i);
	for (size_t i = s->head; i < s->combined; i++)
		s->order[i]->combined = false;
	groups_give(w, s->back);
	s->back = NULL;
	s->boundary = s->combined = s->head;
}

/* Slices [head, end) become the front.  Keys keep the order of the slices they came in first. */
static int front_build(struct window *w, size_t end, struct error *e)
{
	struct slices *s = slices_of(w);

	slices_undo(w);
	MEM_GROW(s->suffix, s->suffix_cap, end);
	s->boundary = s->combined = end;
	for (size_t i = end; i-- > s->head;) {
		s->order[i]->combined = true;
		s->suffix[i] = s->order[i]->groups;
		if (i + 1 == end)
			continue;
		s->suffix[i] = groups_take(w);
		if (groups_combine(s->suffix[i], s->order[i]->groups, w->plan, e) ||
			groups_combine(s->suffix[i], s->suffix[i + 1], w->plan, e))
			return -1;
	}
	return 0;
}

static int back_extend(struct window *w, size_t end, struct error *e)
{
	struct slices *s = slices_of(w);

	for (; s->combined < end; s->combined++) {
		struct slice *slice = s->order[s->combined];

		if (!s->back)
			s->back = groups_take(w);
		slice->combined = true;
		if (groups_combine(s->back, slice->groups, w->plan, e))
			return -1;
	}
	return 0;
}

/* The slices [head, end) as one set of groups.  *temporary: give it back after use. */
static int hop_combine(struct window *w, int64_t k, size_t end, struct groups **out,
	bool *temporary, struct error *e)
{
	struct slices *s = slices_of(w);

	*temporary = false;
	if (end - s->head == 1 && s->combined == s->head) {
		*out = s->order[s->head]->groups;
		return 0;
	}
	*temporary = true;
	if (end - s->head <= NAIVE_SLICES && s->combined == s->head) {
		*out = groups_take(w);
		for (size_t i = s->head; i < end; i++) {
			if (groups_combine(*out, s->order[i]->groups, w->plan, e))
				return -1;
		}
		return 0;
	}
	if (s->boundary == s->head ? front_build(w, end, e) : back_extend(w, end, e))
		return -1;
	if (!s->back) {
		*temporary = false;
		*out = s->suffix[s->head];
		return 0;
	}
	/* What no later window starts with can take the back in where it stands. */
	if (s->suffix[s->head] != s->order[s->head]->groups &&
		span_last(&s->spans, s->order[s->head]->start_us) <= k) {
		*temporary = false;
		*out = s->suffix[s->head];
		return groups_combine(*out, s->back, w->plan, e);
	}
	*out = groups_take(w);
	return groups_combine(*out, s->suffix[s->head], w->plan, e) ||
			       groups_combine(*out, s->back, w->plan, e)
		       ? -1
		       : 0;
}

/* ---- firing ---- */

static int compare_slices(const void *a, const void *b)
{
	const struct slice *x = *(struct slice *const *)a, *y = *(struct slice *const *)b;

	return (x->index > y->index) - (x->index < y->index);
}

static void slices_sort(struct slices *s)
{
	/* What is combined is sorted: an earlier slice would have undone it. */
	if (!s->sorted)
		qsort(s->order + s->combined, s->len - s->combined, sizeof *s->order,
			compare_slices);
	s->sorted = true;
}

/* Removes the slices that no window after k needs. */
static void slices_evict(struct window *w, int64_t k)
{
	struct slices *s = slices_of(w);

	while (s->head < s->len && span_last(&s->spans, s->order[s->head]->start_us) <= k) {
		struct slice *slice = s->order[s->head];

		if (s->head < s->boundary)
			suffix_drop(w, s->head);
		map_remove(s, slice->index);
		if (s->last == slice)
			s->last = NULL;
		slice_free(w, slice);
		s->head++;
	}
	if (s->boundary < s->head)
		s->boundary = s->head;
	if (s->combined <= s->head) {
		s->combined = s->head;
		groups_give(w, s->back);
		s->back = NULL;
	}
	if (s->head == s->len) {
		s->head = s->len = s->boundary = s->combined = 0;
		s->sorted = true;
	}
}

/* Moves what is left to the front of the array, once most of it is behind. */
static void order_compact(struct slices *s)
{
	size_t head = s->head;

	if (head < 64 || head < s->len / 2)
		return;
	memmove(s->order, s->order + head, (s->len - head) * sizeof *s->order);
	if (s->boundary > head)
		memmove(s->suffix, s->suffix + head, (s->boundary - head) * sizeof *s->suffix);
	s->len -= head;
	s->boundary -= head;
	s->combined -= head;
	s->head = 0;
}

static int window_combine(struct window *w, int64_t k, size_t end, struct groups **out,
	bool *temporary, struct error *e)
{
	struct slices *s = slices_of(w);

	*temporary = false;
	switch (w->options.shape) {
	case WINDOW_HOP: return hop_combine(w, k, end, out, temporary, e);
	case WINDOW_CUMULATE:
		if (back_extend(w, end, e))
			return -1;
		*out = s->back;
		return 0;
	case WINDOW_TUMBLE:
	case WINDOW_GIVEN: *out = s->order[s->head]->groups; return 0;
	case WINDOW_NONE:
	case WINDOW_COUNT:
	case WINDOW_SESSION: break;
	}
	MUST(false);
	return -1;
}

/* A window of slices of which some are on disk. */
static int window_fire_spilled(struct window *w, size_t end, int64_t start_us, int64_t end_us,
	struct error *e)
{
	struct slices *s = slices_of(w);
	struct spilled_part *parts = mem_alloc((end - s->head) * sizeof *parts);
	int status;

	for (size_t i = s->head; i < end; i++)
		parts[i - s->head] =
			(struct spilled_part){s->order[i]->start_us, s->order[i]->groups};
	status = spilled_fire(w, parts, end - s->head, start_us, end_us, e);
	mem_free(parts);
	return status;
}

static int window_fire(struct window *w, int64_t k, struct error *e)
{
	struct slices *s = slices_of(w);
	struct results r = {.n = 0};
	struct groups *g = NULL;
	bool temporary;
	size_t end = s->head;
	bool spilled = false;
	int status;

	span_bounds(&s->spans, k, &r.start_us, &r.end_us);
	for (; end < s->len && s->order[end]->start_us < r.end_us; end++)
		spilled |= s->order[end]->spilled;
	if (spilled) {
		slices_undo(w);
		return window_fire_spilled(w, end, r.start_us, r.end_us, e);
	}
	status = window_combine(w, k, end, &g, &temporary, e);
	if (status == 0) {
		r.keys = g->keys;
		r.aggregates = g->aggregates;
		r.n = groups_len(g);
		status = results_put(w, &r, e);
	}
	if (temporary)
		groups_give(w, g);
	return status;
}

/* The first window that the last watermark left open: those before have fired. */
static int64_t window_open(const struct window *w)
{
	int64_t passed_us = time_add(w->fired_us, -w->options.lateness_us);

	if (passed_us <= -SPAN_TIME_MOST)
		return INT64_MIN;
	return span_ended(&slices_of(w)->spans, time_add(passed_us, 1)) + 1;
}

static int slices_fire(struct window *w, int64_t watermark_us, struct error *e)
{
	struct slices *s = slices_of(w);
	int64_t open = window_open(w);

	slices_sort(s);
	while (s->head < s->len) {
		int64_t k = span_first(&s->spans, s->order[s->head]->start_us), start, end;

		if (k < open)
			k = open;
		span_bounds(&s->spans, k, &start, &end);
		if (!window_has_passed(w, end - 1, watermark_us))
			break;
		if (window_fire(w, k, e))
			return -1;
		open = k + 1;
		slices_evict(w, k);
	}
	order_compact(s);
	return 0;
}

/* ---- life ---- */

static void slices_clear(struct window *w)
{
	struct slices *s = slices_of(w);

	slices_undo(w);
	for (size_t i = s->head; i < s->len; i++) {
		groups_free(s->order[i]->groups, w->plan);
		mem_free(s->order[i]);
	}
	for (size_t i = 0; i < s->pool_len; i++)
		groups_free(s->pool[i], w->plan);
	mem_free(s->order);
	mem_free(s->map);
	mem_free(s->suffix);
	mem_free(s->touched);
	mem_free(s);
}

static size_t slices_bytes(const struct window *w)
{
	const struct slices *s = slices_of(w);
	size_t bytes = s->map_cap * sizeof *s->map + s->cap * sizeof *s->order + s->pool_bytes;

	for (size_t i = s->head; i < s->len; i++)
		bytes += sizeof **s->order + groups_bytes(s->order[i]->groups, w->plan);
	for (size_t i = s->head; i < s->boundary; i++) {
		if (s->suffix[i] != s->order[i]->groups)
			bytes += groups_bytes(s->suffix[i], w->plan);
	}
	return bytes + (s->back ? groups_bytes(s->back, w->plan) : 0);
}

static void slices_tables(struct window *w, struct state_table *tables)
{
	struct slices *s = slices_of(w);

	slices_sort(s);
	for (size_t i = s->head; i < s->len; i++)
		tables[i - s->head] = (struct state_table){.first_us = s->order[i]->start_us,
			.last_us = s->order[i]->end_us - 1,
			.first_place = spilled_next_place(w->spilled),
			.keys = s->order[i]->groups->keys,
			.aggregates = s->order[i]->groups->aggregates};
}

static int slices_spill(struct window *w, struct error *e)
{
	struct slices *s = slices_of(w);
	struct state_table *tables = mem_alloc((s->len - s->head + 1) * sizeof *tables);
	int status;

	slices_undo(w);
	slices_tables(w, tables);
	status = spilled_put_tables(w, tables, s->len - s->head, e);
	mem_free(tables);
	for (size_t i = s->head; i < s->len && status == 0; i++) {
		struct slice *slice = s->order[i];

		slice->spilled |= groups_len(slice->groups) > 0;
		groups_free(slice->groups, w->plan);
		slice->groups = groups_new(w->plan);
	}
	while (s->pool_len)
		groups_free(s->pool[--s->pool_len], w->plan);
	s->pool_bytes = 0;
	return status;
}

/* The slices of runs, which a snapshot has brought. */
static void slices_from_disk(struct window *w)
{
	struct slices *s = slices_of(w);
	struct buf times = BUF_INIT;
	const int64_t *first_us;

	spilled_windows(w->spilled, &times);
	first_us = (const int64_t *)(const void *)times.data;
	for (size_t i = 0; i < times.len / sizeof *first_us; i++) {
		struct slice *slice = *map_at(s, slice_index(s, first_us[i]));

		if (!slice)
			slice = slice_new(w, slice_index(s, first_us[i]));
		slice->spilled = true;
	}
	buf_clear(&times);
}

static int slices_save(struct window *w, struct snapshot_writer *writer, struct error *e)
{
	struct slices *s = slices_of(w);
	struct state_table *tables = mem_alloc((s->len - s->head + 1) * sizeof *tables);
	int status;

	slices_tables(w, tables);
	status = state_put_tables(w, writer, tables, s->len - s->head, e);
	mem_free(tables);
	return status;
}

/* Rows come by their slice's start: each run of it goes into one slice. */
static int slices_load(struct window *w, const struct batch *b, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct state_batch in;
	struct slices *s = slices_of(w);
	struct slice *slice;
	uint32_t *ids;
	int status;

	state_batch_read(w->plan, b, &arena, &in);
	if (span_is_far(in.first_us[0])) {
		arena_clear(&arena);
		return error_set(e, ERROR_STATE, "a saved window starts out of range");
	}
	slice = *map_at(s, slice_index(s, in.first_us[0]));
	if (!slice)
		slice = slice_new(w, slice_index(s, in.first_us[0]));
	status = state_groups_load(w, slice->groups, &in, &arena, &ids, e);
	arena_clear(&arena);
	return status;
}

const struct window_ops slices_ops = {
	.init = slices_init,
	.clear = slices_clear,
	.add = slices_add,
	.fire = slices_fire,
	.bytes = slices_bytes,
	.spill = slices_spill,
	.from_disk = slices_from_disk,
	.save = slices_save,
	.load = slices_load,
	.by_window = true,
};
