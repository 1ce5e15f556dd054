/* swindow's operator: what the runtime calls, handed to the plan and to the window's shape. */
#include "cmd/swindow/intake.h"
#include "cmd/swindow/spilled.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

static struct window *window_of(struct operator* op)
{
	return (struct window *)(void *)op;
}

/* ---- schemas ---- */

static const struct window_ops *ops_of(const struct window *w)
{
	if (w->options.shape == WINDOW_SESSION)
		return &sessions_ops;
	if (w->options.shape == WINDOW_COUNT)
		return &count_ops;
	if (w->options.emit != EMIT_CLOSE)
		return &updates_ops;
	if (w->options.shape == WINDOW_NONE)
		return &global_ops;
	return &slices_ops;
}

static const struct schema *late_schema(const struct window *w)
{
	return w->exec ? &w->bare : &w->plan->in;
}

/* With --exec the output is its answers. */
static int declare_answers(struct window *w, struct error *e)
{
	struct schema out = SCHEMA_INIT;
	int status = exec_schema(w->exec, &w->op, &w->plan->out, &out, e);

	if (status == 0)
		status = stage_declare(w->op.stage, 0, &out, e);
	schema_clear(&out);
	return status;
}

static int window_declare(struct window *w, struct error *e)
{
	if (w->exec ? declare_answers(w, e) : stage_declare(w->op.stage, 0, &w->plan->out, e))
		return -1;
	return w->options.late_output ? stage_declare(w->op.stage, 1, late_schema(w), e) : 0;
}

static void columns_resize(struct window *w)
{
	size_t inputs = program_results(w->plan->inputs),
	       results = program_results(w->plan->results);

	w->input_columns = mem_resize(w->input_columns, inputs * sizeof *w->input_columns);
	w->result_columns = mem_resize(w->result_columns, results * sizeof *w->result_columns);
}

static int emit(struct window *w, struct error *e)
{
	int status = w->ops->emit(w, e);

	arena_reset(&w->change_arena);
	return status;
}

static int window_tick(struct operator* op, int64_t now_us, struct error *e)
{
	struct window *w = window_of(op);

	if (!w->plan)
		return 0;
	plan_set_now(w->plan, now_us);
	if (w->options.emit != EMIT_EVERY ||
		(w->emitted_us != WATERMARK_NONE && now_us - w->emitted_us < w->options.emit_us))
		return 0;
	w->emitted_us = now_us;
	return emit(w, e);
}

/* So that a snapshot needn't hold what has been handed out and has changed since. */
static int window_settle(struct operator* op, struct error *e)
{
	struct window *w = window_of(op);

	if (w->plan && w->options.emit != EMIT_CLOSE && emit(w, e))
		return -1;
	return w->exec ? exec_settle(w->exec, e) : 0;
}

static int window_idle(struct operator* op, struct error *e)
{
	struct window *w = window_of(op);

	return w->exec ? exec_idle(w->exec, e) : 0;
}

static int window_end(struct operator* op, struct error *e)
{
	struct window *w = window_of(op);

	return w->exec ? exec_end(w->exec, e) : 0;
}

/* One window for the whole stream closes with it. */
static int check_end(const struct window *w, unsigned input, const char *from, struct error *e)
{
	if (w->options.shape != WINDOW_NONE || w->options.emit != EMIT_CLOSE ||
		w->plan->time_key >= 0 || stage_input_is_bounded(w->op.stage, input))
		return 0;
	error_set(e, ERROR_USAGE,
		"the stream from %s never ends, and without a window there is no result before", from);
	return error_hint(e, "say --emit changes for a changelog of updates, or a window: --tumble 1m");
}

static int take_schema(
	struct operator* op, unsigned input, const struct schema *in, struct error *e)
{
	struct window *w = window_of(op);
	const char *from = stage_input_from(op->stage, input);

	if (w->plan) {
		if (plan_change_input(w->plan, &w->options, in, from, e))
			return -1;
		columns_resize(w);
		plan_set_now(w->plan, stage_now(op->stage));
		return w->options.late_output ? stage_declare(op->stage, 1, late_schema(w), e) : 0;
	}
	if (plan_new(&w->options, in, from, &w->plan, e))
		return -1;
	if (check_end(w, input, from, e))
		return -1;
	if (w->options.shape == WINDOW_NONE && w->plan->time_key >= 0)
		w->options.shape = WINDOW_GIVEN;
	w->ops = ops_of(w);
	w->ops->init(w);
	batch_builder_init(&w->parts, &w->plan->parts);
	columns_resize(w);
	plan_set_now(w->plan, stage_now(op->stage)); /* the TICK may have come before the schema */
	plan_warn(w->plan, op->stage);
	if (window_load(w, e))
		return -1;
	return window_declare(w, e);
}

static int window_schema(
	struct operator* op, unsigned input, const struct schema *in, struct error *e)
{
	struct window *w = window_of(op);
	struct schema whole = SCHEMA_INIT;
	int status;

	if (!w->exec)
		return take_schema(op, input, in, e);
	status = window_exec_input(w, in, &whole, e);
	if (status == 0)
		status = take_schema(op, input, &whole, e);
	schema_clear(&whole);
	return status;
}

/* ---- rows ---- */

static const int8_t *signs_of(struct window *w, const struct batch *b)
{
	int8_t *signs;

	if (!w->plan->retracts)
		return NULL;
	signs = arena_alloc(&w->batch_arena, (size_t)b->rows + 1);
	for (uint32_t r = 0; r < b->rows; r++)
		signs[r] = b->ops[r] == ROW_UPDATE_BEFORE || b->ops[r] == ROW_DELETE ? -1 : 1;
	return signs;
}

static const uint64_t *hashes_of(struct window *w, uint32_t rows)
{
	size_t n = w->plan->keys_len;
	uint64_t *hashes = arena_alloc(&w->batch_arena, ((size_t)rows + 1) * sizeof *hashes);
	const struct column **keys = arena_alloc(&w->batch_arena, (n + 1) * sizeof *keys);

	for (size_t i = 0; i < n; i++)
		keys[i] = &w->input_columns[i];
	keys_hash(keys, n, rows, hashes);
	return hashes;
}

int window_fits(const struct window *w, size_t bytes, struct error *e)
{
	if (w->options.memory_bytes == 0 || bytes <= (size_t)w->options.memory_bytes)
		return 0;
	error_set(e, ERROR_DATA, "the groups take %zu MB, more than --memory allows", bytes >> 20);
	return error_hint(
		e, "a larger --memory, fewer keys, or windows that close sooner (ssource -d)");
}

/* Half of the memory is for groups as they come: they need the other half as tables double, and as
 * they are combined again. */
static int memory_check(struct window *w, struct error *e)
{
	size_t bytes;

	if (w->options.memory_bytes == 0)
		return 0;
	bytes = w->ops->bytes(w);
	if (!w->ops->spill || !w->options.temporary ||
		(w->ops->can_spill && !w->ops->can_spill(w)))
		return window_fits(w, bytes, e);
	if (bytes <= (size_t)w->options.memory_bytes / 2)
		return 0;
	if (!w->spilled)
		w->spilled = spilled_new(w->options.temporary);
	return w->ops->spill(w, e);
}

static int window_batch(
	struct operator* op, unsigned input, const struct batch *in, struct error *e)
{
	struct window *w = window_of(op);
	struct rows rows = {
		.columns = w->input_columns, .columns_len = program_results(w->plan->inputs)};
	struct batch b = *in;

	arena_reset(&w->batch_arena);
	if (plan_filter(w->plan, in, &w->batch_arena, &b, e))
		return -1;
	if (b.rows == 0)
		return 0;
	if (w->exec && window_exec_rows(w, &b, &b, e))
		return -1;
	if (program_run(w->plan->inputs, &b, w->input_columns, NULL, e) ||
		plan_times(w->plan, &b, &w->next_row, &w->batch_arena, &rows.times, e))
		return -1;
	rows.n = b.rows;
	rows.hashes = hashes_of(w, b.rows);
	rows.signs = signs_of(w, &b);
	w->batch = &b;
	if (w->ops->add(w, &rows, e))
		return -1;
	w->batch = NULL;
	if (w->options.emit == EMIT_CHANGES && emit(w, e))
		return -1;
	return memory_check(w, e);
}

int window_put_late(struct window *w, const uint32_t *pick, uint32_t n, struct error *e)
{
	struct batch rows = *w->batch;

	rows.schema = late_schema(w);
	return stage_put_late(w->op.stage, w->options.late_output ? 1 : 0, &rows, pick, n,
		&w->batch_arena, e);
}

/* ---- time ---- */

static int window_watermark(struct operator* op, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct window *w = window_of(op);

	w->watermark_us = in_us;
	*out_us = in_us;
	if (!w->plan)
		return 0;
	if (w->ops->fire(w, in_us, e) ||
		(w->options.emit == EMIT_CLOSE && results_flush(w, e)))
		return -1;
	arena_reset(&w->change_arena);
	w->fired_us = in_us;
	if (in_us != WATERMARK_FINAL && w->options.shape != WINDOW_NONE &&
		w->options.shape != WINDOW_COUNT) {
		*out_us = time_add(time_add(in_us, -w->options.lateness_us), -w->ops->hold_us);
		if (*out_us == WATERMARK_NONE)
			*out_us = WATERMARK_NONE + 1;
	}
	if (w->exec && in_us != WATERMARK_FINAL && exec_holds_watermark(w->exec, *out_us))
		*out_us = WATERMARK_NONE;
	return 0;
}

/* ---- life ---- */

static void window_free(struct operator* op)
{
	struct window *w = window_of(op);

	if (w->ops) {
		w->ops->clear(w);
		batch_builder_clear(&w->parts);
	}
	window_exec_close(w);
	saved_free(w->saved);
	spilled_free(w->spilled);
	if (w->loading)
		groups_free(w->loading, w->plan);
	plan_free(w->plan);
	arena_clear(&w->batch_arena);
	arena_clear(&w->change_arena);
	mem_free(w->input_columns);
	mem_free(w->result_columns);
	mem_free(w);
}

static const struct operator_ops window_operator_ops = {
	.type = "swindow",
	.free = window_free,
	.schema = window_schema,
	.batch = window_batch,
	.watermark = window_watermark,
	.tick = window_tick,
	.settle = window_settle,
	.idle = window_idle,
	.end = window_end,
	.snapshot = window_snapshot,
	.restore = window_restore,
};

int window_operator_new(const struct window_options *o, struct operator** out, struct error *e)
{
	struct window *w;

	if (window_texts_check(o, e))
		return -1;
	w = mem_zero(sizeof *w);
	w->op.ops = &window_operator_ops;
	w->op.inputs = 1;
	w->op.outputs = o->late_output ? 2 : 1;
	w->op.wait_fd = -1;
	w->options = *o;
	w->watermark_us = w->fired_us = w->emitted_us = WATERMARK_NONE;
	*out = &w->op;
	return o->exec.command ? window_exec_open(w, e) : 0;
}
