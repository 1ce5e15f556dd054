/* The operator: see over.h. */
#include "cmd/swindow/intake.h"
#include "cmd/swindow/over_operator.h"
#include "cmd/swindow/spans.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdlib.h>
#include <string.h>

static struct over *over_of(struct operator *op)
{
	return (struct over *)(void *)op;
}

/* Whether a row's results need rows behind it: then all wait, for the end or for their window. */
static bool waits(const struct over *v)
{
	return v->options.frame == OVER_GROUP || v->plan->has_lead;
}

static bool has_windows(const struct over *v)
{
	return v->options.window.shape != WINDOW_NONE;
}

/* ---- schemas ---- */

static int check_end(const struct over *v, unsigned input, const char *from, struct error *e)
{
	bool lead = v->plan->has_lead && !has_windows(v);

	if (!waits(v) || has_windows(v) || stage_input_is_bounded(v->op.stage, input))
		return 0;
	error_set(e, ERROR_USAGE, "%s needs rows that are still to come, and the stream from %s never "
		"ends", lead ? "lead()" : "--over group", from);
	return error_hint(e, "%s", lead ? "lag() looks back instead; or a window: --over group --tumble 1m"
					: "give it a window: --over group --tumble 1m");
}

/* Rows that wait have the window they are for behind their columns. */
static void held_describe(struct over *v)
{
	schema_init(&v->held_schema);
	for (size_t i = 0; i < v->plan->window->in.fields_len; i++)
		schema_add_field(&v->held_schema, &v->plan->window->in.fields[i]);
	if (has_windows(v)) {
		schema_add(&v->held_schema, "window_start", 12, TYPE_OF(TYPE_TIMESTAMP));
		schema_add(&v->held_schema, "window_end", 10, TYPE_OF(TYPE_TIMESTAMP));
	}
	rowstore_init(&v->held, &v->held_schema);
}

static int declare(struct over *v, struct error *e)
{
	if (stage_declare(v->op.stage, 0, &v->plan->window->out, e))
		return -1;
	return v->options.window.late_output
		? stage_declare(v->op.stage, 1, &v->plan->window->in, e) : 0;
}

static int over_schema(struct operator *op, unsigned input, const struct schema *in, struct error *e)
{
	struct over *v = over_of(op);
	const char *from = stage_input_from(op->stage, input);

	if (v->plan) {
		if (schema_equal(&v->plan->window->in, in))
			return 0;
		return error_set(e, ERROR_DATA, "the columns from %s changed, and rows of both kinds "
			"would stand in one frame", from);
	}
	if (over_plan_new(&v->options, in, from, &v->plan, e) || check_end(v, input, from, e))
		return -1;
	frames_init(&v->frames, &v->options, v->plan);
	held_describe(v);
	v->results = mem_zero((v->plan->window->out.fields_len + 1) * sizeof *v->results);
	plan_set_now(v->plan->window, stage_now(op->stage));
	plan_warn(v->plan->window, op->stage);
	return over_load(v, e) || declare(v, e) ? -1 : 0;
}

static int over_tick(struct operator *op, int64_t now_us, struct error *e)
{
	if (over_of(op)->plan)
		plan_set_now(over_of(op)->plan->window, now_us);
	return 0;
}

/* ---- out ---- */

/* The list over rows with their calls' results; b has windows behind its columns, if any. */
static int emit(struct over *v, const struct batch *b, const struct column *calls, struct error *e)
{
	const struct window_plan *w = v->plan->window;
	size_t fixed = w->window_part + (w->has_window ? 2 : 0);
	struct column *columns = ARENA_ARRAY(&v->arena, struct column, w->parts.fields_len + 1);
	struct batch parts = {.schema = &w->parts, .rows = b->rows, .columns = columns};
	struct batch out = {.schema = &w->out, .rows = b->rows, .columns = v->results};

	memcpy(columns, b->columns, fixed * sizeof *columns);
	if (v->plan->calls_len)
		memcpy(columns + fixed, calls, v->plan->calls_len * sizeof *columns);
	return program_run(w->results, &parts, v->results, NULL, e) ||
		stage_emit(v->op.stage, 0, &out, e) ? -1 : 0;
}

static int run(struct over *v, const struct batch *b, const int64_t *times, const struct column *leads,
	struct error *e)
{
	struct ordered in = {b, times, leads};
	struct column *calls = ARENA_ARRAY(&v->arena, struct column, v->plan->calls_len + 1);

	return frames_run(&v->frames, &in, &v->arena, calls, e) || emit(v, b, calls, e) ? -1 : 0;
}

/* ---- rows that are at their turn ---- */

/* Numbers of held rows, in order; the scratch arena lives for a chunk of them. */
struct turn {
	const uint32_t *rows;
	uint32_t n;
};

static void gather(struct over *v, const uint32_t *rows, uint32_t n, struct batch *b, int64_t **times)
{
	batch_gather(rowstore_view(&v->held), rows, n, &v->arena, b);
	*times = arena_alloc(&v->arena, (n + (size_t)1) * sizeof **times);
	for (uint32_t i = 0; i < n; i++)
		(*times)[i] = v->held.time_us[rows[i]];
}

/* So many of the next rows that those of one time stay together. */
static uint32_t chunk(const struct over *v, const struct turn *t, uint32_t first)
{
	uint32_t end = t->n - first > BATCH_ROWS ? first + BATCH_ROWS : t->n;

	while (end < t->n && v->held.time_us[t->rows[end]] == v->held.time_us[t->rows[end - 1]])
		end++;
	return end - first;
}

/* Of each row of the turn, the number of the row that is `distance` further in its key. */
static void leads_find(const struct turn *t, const uint32_t *ids, uint32_t keys, uint32_t distance,
	uint32_t *pick)
{
	uint32_t *starts = mem_zero((keys + (size_t)2) * sizeof *starts);
	uint32_t *of_key = mem_alloc((t->n + (size_t)1) * sizeof *of_key);
	uint32_t *at = mem_alloc((keys + (size_t)2) * sizeof *at);

	for (uint32_t i = 0; i < t->n; i++)
		starts[ids[i] + 1]++;
	for (uint32_t k = 0; k < keys; k++)
		starts[k + 1] += starts[k];
	memcpy(at, starts, (keys + (size_t)1) * sizeof *at);
	for (uint32_t i = 0; i < t->n; i++)
		of_key[at[ids[i]]++] = i;
	for (uint32_t p = 0; p < t->n; p++) {
		uint32_t key = ids[of_key[p]];

		pick[of_key[p]] = starts[key + 1] - p > distance ? t->rows[of_key[p + distance]] : ROW_NONE;
	}
	mem_free(starts);
	mem_free(of_key);
	mem_free(at);
}

/* The column of one call for rows [first, first + n) of a turn: the argument of the rows reached. */
static int lead_column(struct over *v, const struct over_call *c, const struct batch *b,
	const uint32_t *pick, struct column *out, struct error *e)
{
	struct window_plan *w = v->plan->window;
	uint32_t *rows = arena_alloc(&v->arena, (b->rows + (size_t)1) * sizeof *rows);
	struct column_builder values;
	struct column own;
	struct batch reached;
	int status;

	builder_init(&values, c->type);
	for (uint32_t i = 0; i < b->rows; i++)
		rows[i] = pick[i] == ROW_NONE ? 0 : pick[i];
	batch_gather(rowstore_view(&v->held), rows, b->rows, &v->arena, &reached);
	status = program_run(w->inputs, &reached, v->frames.columns, NULL, e);
	if (status == 0) {
		builder_put_rows(&values, &v->frames.columns[c->argument], 0, b->rows);
		own = builder_column(&values);
		for (uint32_t i = 0; i < b->rows; i++)
			rows[i] = pick[i] == ROW_NONE ? ROW_NONE : i;
		column_gather(&own, rows, b->rows, &v->arena, out);
	}
	if (status == 0 && c->has_fallback && (status = program_run(w->inputs, b, v->frames.columns, NULL,
		e)) == 0) {
		builder_reset(&values);
		for (uint32_t i = 0; i < b->rows; i++)
			builder_put_from(&values, pick[i] == ROW_NONE ? &v->frames.columns[c->fallback] : out,
				i);
		own = builder_column(&values);
		for (uint32_t i = 0; i < b->rows; i++)
			rows[i] = i;
		column_gather(&own, rows, b->rows, &v->arena, out);
	}
	builder_clear(&values);
	return status;
}

/* Per call the rows that it reaches; NULL for other calls. */
static int leads_prepare(struct over *v, const struct turn *t, uint32_t **picks, struct error *e)
{
	uint32_t *ids = mem_alloc((t->n + (size_t)1) * sizeof *ids);
	struct frames keys;
	int status = 0;

	frames_init(&keys, &v->options, v->plan);
	for (uint32_t first = 0, n; first < t->n && status == 0; first += n) {
		struct batch b;
		int64_t *times;
		uint64_t *hashes;

		arena_reset(&v->arena);
		n = chunk(v, t, first);
		gather(v, t->rows + first, n, &b, &times);
		status = program_run(v->plan->window->inputs, &b, keys.columns, NULL, e);
		if (status == 0)
			memcpy(ids + first, frames_keys(&keys, n, &hashes, &v->arena), n * sizeof *ids);
	}
	for (size_t i = 0; i < v->plan->calls_len && status == 0; i++) {
		if (v->plan->calls[i].kind != CALL_LEAD)
			continue;
		picks[i] = mem_alloc((t->n + (size_t)1) * sizeof *picks[i]);
		leads_find(t, ids, keytable_len(keys.keys), v->plan->calls[i].distance, picks[i]);
	}
	frames_clear(&keys);
	mem_free(ids);
	return status;
}

static int turn_load(struct over *v, const struct turn *t, struct error *e)
{
	int status = 0;

	for (uint32_t first = 0, n; first < t->n && status == 0; first += n) {
		struct ordered in = {.rows = NULL};
		struct batch b;
		int64_t *times;

		arena_reset(&v->arena);
		n = chunk(v, t, first);
		gather(v, t->rows + first, n, &b, &times);
		in.rows = &b;
		in.times = times;
		status = frames_load(&v->frames, &in, &v->arena, e);
	}
	return status;
}

static int turn_run(struct over *v, const struct turn *t, struct error *e)
{
	size_t calls = v->plan->calls_len;
	uint32_t **picks = mem_zero((calls + 1) * sizeof *picks);
	int status = v->plan->has_lead ? leads_prepare(v, t, picks, e) : 0;

	if (status == 0 && v->options.frame == OVER_GROUP)
		status = turn_load(v, t, e);
	for (uint32_t first = 0, n; first < t->n && status == 0; first += n) {
		struct column *leads;
		struct batch b;
		int64_t *times;

		arena_reset(&v->arena);
		n = chunk(v, t, first);
		gather(v, t->rows + first, n, &b, &times);
		leads = ARENA_ARRAY(&v->arena, struct column, calls + 1);
		for (size_t i = 0; i < calls && status == 0; i++) {
			if (picks[i])
				status = lead_column(v, &v->plan->calls[i], &b, picks[i] + first, &leads[i], e);
		}
		if (status == 0)
			status = run(v, &b, times, leads, e);
	}
	for (size_t i = 0; i < calls; i++)
		mem_free(picks[i]);
	mem_free(picks);
	if (v->options.frame == OVER_GROUP)
		frames_reset(&v->frames);
	return status;
}

/* ---- held rows ---- */

struct place {
	int64_t time_us;
	uint32_t row;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->time_us != y->time_us)
		return x->time_us < y->time_us ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

/* Rows of one window were queued by its end: now by their own time. */
static void by_own_time(const struct over *v, uint32_t *rows, uint32_t n)
{
	struct place *places = mem_alloc((n + (size_t)1) * sizeof *places);

	for (uint32_t i = 0; i < n; i++)
		places[i] = (struct place){v->held.time_us[rows[i]], rows[i]};
	qsort(places, n, sizeof *places, compare_places);
	for (uint32_t i = 0; i < n; i++)
		rows[i] = places[i].row;
	mem_free(places);
}

static void held_forget(struct over *v, const struct turn *t)
{
	uint32_t *remap;

	for (uint32_t i = 0; i < t->n; i++)
		rowstore_kill(&v->held, t->rows[i]);
	if (!rowstore_wants_compact(&v->held, 0))
		return;
	remap = mem_alloc((v->held.len + (size_t)1) * sizeof *remap);
	rowstore_compact(&v->held, remap);
	timequeue_remap(&v->queue, remap);
	mem_free(remap);
}

/* Takes from the queue what has come to its turn; with windows those of the first one only. */
static bool next_turn(struct over *v, int64_t until_us, struct turn *t, uint32_t **rows, size_t *cap)
{
	struct timequeue_entry entry;
	int64_t last_us = until_us;

	t->n = 0;
	while (timequeue_pop(&v->queue, last_us, &entry)) {
		MEM_GROW(*rows, *cap, t->n + (size_t)1);
		(*rows)[t->n++] = entry.row;
		if (has_windows(v))
			last_us = entry.time_us;
	}
	t->rows = *rows;
	if (has_windows(v))
		by_own_time(v, *rows, t->n);
	return t->n > 0;
}

static int advance(struct over *v, int64_t until_us, struct error *e)
{
	struct turn t;
	uint32_t *rows = NULL;
	size_t cap = 0;
	int status = 0;

	while (status == 0 && next_turn(v, until_us, &t, &rows, &cap)) {
		status = turn_run(v, &t, e);
		held_forget(v, &t);
	}
	mem_free(rows);
	return status;
}

/* ---- rows ---- */

/* Rows once for every window they are in. */
struct windowed {
	uint32_t n;
	uint32_t *pick;
	int64_t *times, *starts, *ends;
};

static int windowed_init(struct windowed *out, const struct spans *s, const int64_t *times,
	uint32_t rows, struct arena *a, struct error *e)
{
	size_t most = 1;

	for (uint32_t r = 0; r < rows; r++) {
		if (span_is_far(times[r]))
			return span_refuse(times[r], e);
		most += (size_t)(span_last(s, times[r]) - span_first(s, times[r]) + 1);
	}
	*out = (struct windowed){.pick = ARENA_ARRAY(a, uint32_t, most),
		.times = ARENA_ARRAY(a, int64_t, most),
		.starts = ARENA_ARRAY(a, int64_t, most),
		.ends = ARENA_ARRAY(a, int64_t, most)};
	return 0;
}

/* Whether any of the row's windows is still open. */
static bool windowed_put(struct windowed *out, const struct spans *s, uint32_t row, int64_t time_us,
	int64_t watermark_us)
{
	uint32_t before = out->n;

	for (int64_t k = span_first(s, time_us), last = span_last(s, time_us); k <= last; k++) {
		int64_t *end = &out->ends[out->n];

		span_bounds(s, k, &out->starts[out->n], end);
		if (watermark_us != WATERMARK_NONE && *end - 1 <= watermark_us)
			continue;
		out->pick[out->n] = row;
		out->times[out->n++] = time_us;
	}
	return out->n > before;
}

static void windowed_hold(struct over *v, const struct windowed *from, const struct batch *b)
{
	size_t fields = b->schema->fields_len;
	struct column *columns = ARENA_ARRAY(&v->arena, struct column, fields + 2);
	struct batch wide = {.schema = &v->held_schema, .rows = from->n, .columns = columns};
	struct batch picked;
	uint32_t first;

	batch_gather(b, from->pick, from->n, &v->arena, &picked);
	memcpy(columns, picked.columns, fields * sizeof *columns);
	columns[fields] =
		(struct column){.type = TYPE_OF(TYPE_TIMESTAMP), .data = from->starts};
	columns[fields + 1] =
		(struct column){.type = TYPE_OF(TYPE_TIMESTAMP), .data = from->ends};
	first = rowstore_add(&v->held, &wide, NULL, from->n, from->times, NULL);
	for (uint32_t i = 0; i < from->n; i++)
		timequeue_push(&v->queue, from->ends[i] - 1, first + i);
}

static int hold_windows(struct over *v, const struct batch *b, const int64_t *times, uint32_t *late,
	uint32_t *lates, struct error *e)
{
	struct spans spans = spans_of(&v->options.window);
	struct windowed rows = {.n = 0};

	if (windowed_init(&rows, &spans, times, b->rows, &v->arena, e))
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		if (!windowed_put(&rows, &spans, r, times[r], v->watermark_us))
			late[(*lates)++] = r;
	}
	windowed_hold(v, &rows, b);
	return 0;
}

static int hold_rows(struct over *v, const struct batch *b, const int64_t *times, uint32_t *late,
	uint32_t *lates, struct error *e)
{
	uint32_t *good = arena_alloc(&v->arena, (b->rows + (size_t)1) * sizeof *good), n = 0, first;
	int64_t *good_times = arena_alloc(&v->arena, (b->rows + (size_t)1) * sizeof *good_times);
	bool timed = v->plan->window->in.time_column >= 0;

	if (has_windows(v))
		return hold_windows(v, b, times, late, lates, e);
	for (uint32_t r = 0; r < b->rows; r++) {
		bool is_late = timed && v->watermark_us != WATERMARK_NONE && times[r] <= v->watermark_us;

		late[*lates] = r;
		*lates += is_late;
		good[n] = r;
		good_times[n] = times[r];
		n += !is_late;
	}
	first = rowstore_add(&v->held, b, good, n, good_times, NULL);
	for (uint32_t i = 0; i < n; i++)
		timequeue_push(&v->queue, good_times[i], first + i);
	return 0;
}

static int memory_check(const struct over *v, struct error *e)
{
	size_t bytes, most = (size_t)v->options.window.memory_bytes;

	if (!most)
		return 0;
	bytes = rowstore_bytes(&v->held) + frames_bytes(&v->frames);
	if (bytes <= most)
		return 0;
	error_set(e, ERROR_DATA, "the rows of the frames take %zu MB, more than --memory allows",
		bytes >> 20);
	return error_hint(e, "a larger --memory, fewer columns, a shorter frame; rows also wait for the "
		"watermark (ssource -d)");
}

static int over_batch(struct operator *op, unsigned input, const struct batch *in, struct error *e)
{
	struct over *v = over_of(op);
	const int64_t *times = NULL;
	uint32_t *late, lates = 0;
	struct batch b;

	arena_reset(&v->arena);
	if (plan_filter(v->plan->window, in, &v->arena, &b, e))
		return -1;
	if (!b.rows)
		return 0;
	if (plan_times(v->plan->window, &b, &v->next_row, &v->arena, &times, e))
		return -1;
	if (v->plan->window->in.time_column < 0 && !waits(v))
		return run(v, &b, times, NULL, e) || memory_check(v, e) ? -1 : 0;
	late = arena_alloc(&v->arena, (b.rows + (size_t)1) * sizeof *late);
	if (hold_rows(v, &b, times, late, &lates, e) ||
		stage_put_late(v->op.stage, v->options.window.late_output ? 1 : 0, &b, late, lates,
			&v->arena, e))
		return -1;
	return memory_check(v, e);
}

static int over_watermark(struct operator *op, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct over *v = over_of(op);

	*out_us = in_us;
	v->watermark_us = in_us;
	if (!v->plan)
		return 0;
	if (waits(v) && !has_windows(v) && in_us != WATERMARK_FINAL) {
		*out_us = WATERMARK_NONE; /* all rows are still to come */
		return 0;
	}
	if (advance(v, in_us, e))
		return -1;
	arena_reset(&v->arena);
	return in_us == WATERMARK_FINAL ? 0 : frames_sweep(&v->frames, in_us, &v->arena, e);
}

/* ---- life ---- */

static void over_free(struct operator *op)
{
	struct over *v = over_of(op);

	frames_clear(&v->frames);
	rowstore_clear(&v->held);
	timequeue_clear(&v->queue);
	over_saved_clear(v);
	if (v->plan)
		schema_clear(&v->held_schema);
	over_plan_free(v->plan);
	arena_clear(&v->arena);
	mem_free(v->results);
	mem_free(v);
}

static const struct operator_ops over_ops = {
	.type = "swindow",
	.free = over_free,
	.schema = over_schema,
	.batch = over_batch,
	.watermark = over_watermark,
	.tick = over_tick,
	.snapshot = over_snapshot,
	.restore = over_restore,
};

int over_operator_new(const struct over_options *o, struct operator **out, struct error *e)
{
	struct over *v;

	if (window_texts_check(&o->window, e))
		return -1;
	v = mem_zero(sizeof *v);
	v->op.ops = &over_ops;
	v->op.inputs = 1;
	v->op.outputs = o->window.late_output ? 2 : 1;
	v->op.wait_fd = -1;
	v->options = *o;
	v->watermark_us = WATERMARK_NONE;
	*out = &v->op;
	return 0;
}
