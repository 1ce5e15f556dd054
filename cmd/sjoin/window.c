/* Window joins: rows of one key in one window.
 *
 * Rows lie in slices, the pieces that the windows' ends and starts cut time into; a row is in one
 * slice whatever the number of windows over it.
 *
 *   slices    | s0 | s1 | s2 | s3 |          step (or gcd(step, size)) long; only those with rows
 *   windows   [---------]                    end e0
 *                  [---------]               end e0 + step
 *
 * Window ends are phase + n * step; a window starts size before its end, a cumulating one at the
 * last multiple of size before it.  When the watermark reaches a window's last microsecond it
 * fires: rows of both sides are grouped by key, in order of the key's first left row; pairs and
 * left rows that met nobody come key by key, then right rows that met nobody. */
#include "cmd/sjoin/emit.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

struct row_numbers {
	uint32_t *rows;
	size_t len, cap;
};

struct slice {
	int64_t start_us;
	struct row_numbers sides[2];
};

struct window_join {
	int64_t slice_us;
	struct slice **slices; /* by start */
	size_t slices_len, slices_cap;
	uint32_t *group_of_key; /* by key number; KEY_NONE between firings */
	size_t group_of_key_cap, group_of_key_len;
};

struct grouped {          /* one side's rows of a window, group by group */
	uint32_t *rows;   /* sorted by group; those without a key last */
	uint32_t *starts; /* groups + 1 */
	uint32_t len;
};

/* ---- arithmetic of windows ---- */

static int64_t floor_to(int64_t time_us, int64_t step_us, int64_t phase_us)
{
	int64_t rest = (time_us - phase_us) % step_us;

	return time_us - (rest < 0 ? rest + step_us : rest);
}

static int64_t gcd(int64_t a, int64_t b)
{
	while (b) {
		int64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static int64_t end_phase(const struct join_options *o)
{
	return o->cumulate ? o->offset_us : o->offset_us + o->size_us % o->step_us;
}

/* The first window end after a time. */
static int64_t end_after(const struct join_options *o, int64_t time_us)
{
	return floor_to(time_us, o->step_us, end_phase(o)) + o->step_us;
}

static int64_t start_of(const struct join_options *o, int64_t end_us)
{
	if (o->cumulate)
		return floor_to(end_us - 1, o->size_us, o->offset_us);
	return end_us - o->size_us;
}

/* The end of the last window over a time. */
static int64_t last_end(const struct join_options *o, int64_t time_us)
{
	if (o->cumulate)
		return floor_to(time_us, o->size_us, o->offset_us) + o->size_us;
	return floor_to(time_us, o->step_us, o->offset_us) + o->size_us;
}

/* ---- slices ---- */

static size_t slice_at_or_after(const struct window_join *w, int64_t start_us)
{
	size_t low = 0, high = w->slices_len;

	if (high && w->slices[high - 1]->start_us < start_us)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (w->slices[middle]->start_us < start_us)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct slice *slice_of(struct join *j, int64_t time_us)
{
	struct window_join *w = j->state;
	int64_t start_us = floor_to(time_us, w->slice_us, j->options.offset_us);
	size_t at = slice_at_or_after(w, start_us);
	struct slice *slice;

	if (at < w->slices_len && w->slices[at]->start_us == start_us)
		return w->slices[at];
	slice = mem_zero(sizeof *slice);
	slice->start_us = start_us;
	MEM_GROW(w->slices, w->slices_cap, w->slices_len + 1);
	memmove(w->slices + at + 1, w->slices + at, (w->slices_len - at) * sizeof *w->slices);
	w->slices[at] = slice;
	w->slices_len++;
	return slice;
}

static void slice_free(struct slice *slice)
{
	mem_free(slice->sides[LEFT].rows);
	mem_free(slice->sides[RIGHT].rows);
	mem_free(slice);
}

static void add_to_slices(struct join *j, unsigned side, uint32_t first)
{
	struct window_join *w = j->state;
	const struct rowstore *s = &j->kept.sides[side];
	struct slice *slice = NULL;

	for (uint32_t r = first; r < s->len; r++) {
		struct row_numbers *to;

		if (!slice || s->time_us[r] < slice->start_us ||
			s->time_us[r] - slice->start_us >= w->slice_us)
			slice = slice_of(j, s->time_us[r]);
		to = &slice->sides[side];
		MEM_GROW(to->rows, to->cap, to->len + 1);
		to->rows[to->len++] = r;
	}
}

/* ---- life ---- */

static void window_start(struct join *j)
{
	const struct join_options *o = &j->options;
	struct window_join *w = j->state = mem_zero(sizeof *w);

	w->slice_us = gcd(o->size_us, o->step_us);
	add_to_slices(j, LEFT, 0);
	add_to_slices(j, RIGHT, 0);
}

static void window_free(struct join *j)
{
	struct window_join *w = j->state;

	if (!w)
		return;
	for (size_t i = 0; i < w->slices_len; i++)
		slice_free(w->slices[i]);
	mem_free(w->slices);
	mem_free(w->group_of_key);
	mem_free(w);
}

static int64_t window_last_chance(const struct join *j, int64_t time_us)
{
	return last_end(&j->options, time_us) - 1;
}

static int window_rows(
	struct join *j, unsigned side, const struct batch *b, const int64_t *times, struct error *e)
{
	bool with_null = side == LEFT ? join_keeps_left(j) : join_keeps_right(j);
	uint32_t first;

	if (kept_add(&j->kept, side, b, times, with_null, &j->arena, &first, e) < 0)
		return -1;
	add_to_slices(j, side, first);
	return join_check_memory(j, e);
}

/* ---- firing ---- */

static uint32_t group_of(struct window_join *w, uint32_t key, uint32_t *groups)
{
	if (w->group_of_key[key] == KEY_NONE)
		w->group_of_key[key] = (*groups)++;
	return w->group_of_key[key];
}

/* Rows of slices [first, end) of a side, unsorted, and the group of each. */
static uint32_t *collect(struct join *j, unsigned side, size_t first, size_t end,
	struct grouped *out, uint32_t *groups)
{
	struct window_join *w = j->state;
	const uint32_t *keys = j->kept.sides[side].key;
	uint32_t *row_groups, n = 0;

	for (size_t i = first; i < end; i++)
		out->len += (uint32_t)w->slices[i]->sides[side].len;
	out->rows = mem_alloc((out->len + (size_t)1) * sizeof *out->rows);
	row_groups = mem_alloc((out->len + (size_t)1) * sizeof *row_groups);
	for (size_t i = first; i < end; i++) {
		const struct row_numbers *from = &w->slices[i]->sides[side];

		for (size_t r = 0; r < from->len; r++, n++) {
			uint32_t key = keys[from->rows[r]];

			out->rows[n] = from->rows[r];
			row_groups[n] = key == KEY_NONE ? KEY_NONE : group_of(w, key, groups);
		}
	}
	return row_groups;
}

/* Sorts the rows by group, stably; those without a key form a last group. */
static void sort_groups(struct grouped *g, const uint32_t *row_groups, uint32_t groups)
{
	uint32_t *starts = mem_zero((groups + (size_t)3) * sizeof *starts);
	uint32_t *sorted = mem_alloc((g->len + (size_t)1) * sizeof *sorted);

	for (uint32_t i = 0; i < g->len; i++)
		starts[(row_groups[i] == KEY_NONE ? groups : row_groups[i]) + 2]++;
	for (uint32_t i = 2; i < groups + 3; i++)
		starts[i] += starts[i - 1];
	for (uint32_t i = 0; i < g->len; i++)
		sorted[starts[(row_groups[i] == KEY_NONE ? groups : row_groups[i]) + 1]++] =
			g->rows[i];
	mem_free(g->rows);
	g->rows = sorted;
	g->starts = starts;
}

static int emit_groups(struct join *j, const struct grouped *sides, uint32_t groups,
	struct pairs source, struct error *e)
{
	const struct grouped *left = &sides[LEFT], *right = &sides[RIGHT];
	struct emit_run run = {.source = source, .positions = left->len};
	int status = 0;

	run.source.left_rows = left->rows;
	run.right_flags = join_keeps_right(j) ? j->kept.sides[RIGHT].flags : NULL;
	emit_run_begin(&run, j);
	for (uint32_t g = 0; g < groups; g++) {
		for (uint32_t l = left->starts[g]; l < left->starts[g + 1]; l++) {
			for (uint32_t r = right->starts[g]; r < right->starts[g + 1]; r++) {
				status = emit_run_pair(&run, l, right->rows[r], e);
				if (status < 0)
					goto out;
				if (run.first_only)
					break;
			}
		}
	}
	status = emit_run_flush(&run, left->len, e);
out:
	emit_run_free(&run);
	return status;
}

static int emit_unmatched_right(
	struct join *j, const struct grouped *right, struct pairs source, struct error *e)
{
	const uint8_t *flags = j->kept.sides[RIGHT].flags;
	uint32_t *rows = arena_alloc(&j->arena, BATCH_ROWS * sizeof *rows);

	source.right_rows = rows;
	source.n = 0;
	for (uint32_t i = 0; i < right->len; i++) {
		if (flags[right->rows[i]] & ROW_MATCHED)
			continue;
		rows[source.n++] = right->rows[i];
		if (source.n < BATCH_ROWS)
			continue;
		if (emit_rights(j, &source, e) < 0)
			return -1;
		source.n = 0;
	}
	return emit_rights(j, &source, e);
}

static void prepare_groups(struct join *j)
{
	struct window_join *w = j->state;
	size_t keys = keytable_len(j->kept.table);

	if (keys <= w->group_of_key_len)
		return;
	MEM_GROW(w->group_of_key, w->group_of_key_cap, keys);
	memset(w->group_of_key + w->group_of_key_len, 0xff,
		(keys - w->group_of_key_len) * sizeof *w->group_of_key);
	w->group_of_key_len = keys;
}

static void forget_groups(struct join *j, unsigned side, const struct grouped *g)
{
	struct window_join *w = j->state;
	const uint32_t *keys = j->kept.sides[side].key;

	for (uint32_t i = 0; i < g->len; i++) {
		if (keys[g->rows[i]] != KEY_NONE)
			w->group_of_key[keys[g->rows[i]]] = KEY_NONE;
	}
}

static int fire(struct join *j, int64_t start_us, int64_t end_us, struct error *e)
{
	struct window_join *w = j->state;
	size_t first = slice_at_or_after(w, start_us), end = slice_at_or_after(w, end_us);
	struct grouped sides[2] = {{.len = 0}, {.len = 0}};
	uint32_t *row_groups[2], groups = 0;
	struct pairs source = {.left = rowstore_view(&j->kept.sides[LEFT]),
		.right = rowstore_view(&j->kept.sides[RIGHT]),
		.window_start_us = start_us,
		.window_end_us = end_us};
	int status;

	prepare_groups(j);
	for (unsigned side = 0; side < 2; side++)
		row_groups[side] = collect(j, side, first, end, &sides[side], &groups);
	for (unsigned side = 0; side < 2; side++)
		sort_groups(&sides[side], row_groups[side], groups);
	if (join_keeps_right(j)) { /* who met somebody in an earlier window may be alone in this */
		for (uint32_t i = 0; i < sides[RIGHT].len; i++)
			j->kept.sides[RIGHT].flags[sides[RIGHT].rows[i]] &= (uint8_t)~ROW_MATCHED;
	}
	status = emit_groups(j, sides, groups, source, e);
	if (status == 0 && join_keeps_right(j))
		status = emit_unmatched_right(j, &sides[RIGHT], source, e);
	for (unsigned side = 0; side < 2; side++) {
		forget_groups(j, side, &sides[side]);
		mem_free(sides[side].rows);
		mem_free(sides[side].starts);
		mem_free(row_groups[side]);
	}
	return status;
}

/* Slices whose last window has closed. */
static void drop_slices(struct join *j, int64_t closed_end_us)
{
	struct window_join *w = j->state;
	size_t n = 0;

	while (n < w->slices_len &&
		last_end(&j->options, w->slices[n]->start_us) <= closed_end_us) {
		for (unsigned side = 0; side < 2; side++) {
			const struct row_numbers *rows = &w->slices[n]->sides[side];

			for (size_t i = 0; i < rows->len; i++)
				rowstore_kill(&j->kept.sides[side], rows->rows[i]);
		}
		slice_free(w->slices[n++]);
	}
	w->slices_len -= n;
	memmove(w->slices, w->slices + n, w->slices_len * sizeof *w->slices);
}

static int window_watermark(struct join *j, int64_t in_us, int64_t *out_us, struct error *e)
{
	const struct join_options *o = &j->options;
	struct window_join *w = j->state;
	int64_t closed_us =
		j->watermark_us; /* windows whose last microsecond is not later have fired */

	while (w->slices_len) {
		int64_t from_us = w->slices[0]->start_us, end_us;

		if (closed_us != WATERMARK_NONE && closed_us + 1 > from_us)
			from_us = closed_us + 1;
		end_us = end_after(o, from_us);
		if (end_us - 1 > in_us)
			break;
		arena_reset(&j->arena);
		if (fire(j, start_of(o, end_us), end_us, e) < 0)
			return -1;
		closed_us = end_us - 1;
		drop_slices(j, end_us);
	}
	join_compact(j);
	return 0;
}

static void window_renumber(struct join *j, uint32_t *const remap[2])
{
	struct window_join *w = j->state;

	for (size_t i = 0; i < w->slices_len; i++) {
		for (unsigned side = 0; side < 2; side++) {
			struct row_numbers *rows = &w->slices[i]->sides[side];

			for (size_t r = 0; r < rows->len; r++)
				rows->rows[r] = remap[side][rows->rows[r]];
		}
	}
}

const struct join_family window_family = {
	.name = "window",
	.timed = true,
	.start = window_start,
	.rows = window_rows,
	.last_chance = window_last_chance,
	.watermark = window_watermark,
	.renumber = window_renumber,
	.free = window_free,
};
