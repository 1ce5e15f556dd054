/* Results on their way out: keys, window and aggregates become a batch of "parts", over which the
 * list's expressions run.  Parts collect over windows, so that many small ones cost no more than a
 * few large ones. */
#include "cmd/swindow/window.h"

#include "libcore/base/memory.h"

static void times_put(struct column_builder *b, const int64_t *times, int64_t time, uint32_t n)
{
	int64_t same[BATCH_ROWS];

	if (times) {
		builder_put_values(b, times, n);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		same[i] = time;
	builder_put_values(b, same, n);
}

static void keys_put_out(struct window *w, const struct results *r, uint32_t first, uint32_t n,
	struct column_builder *out)
{
	for (size_t i = 0; i < w->plan->keys_len; i++) {
		struct column keys = keytable_column(r->keys, i);

		if (r->key_pick)
			builder_put_picked(&out[i], &keys, r->key_pick + first, n);
		else
			builder_put_rows(&out[i], &keys, first, n);
	}
}

static int some_put(struct window *w, const struct results *r, uint32_t first, uint32_t n,
	struct column_builder *out, struct error *e)
{
	const struct window_plan *p = w->plan;
	size_t part = p->window_part;
	uint32_t counted[BATCH_ROWS]; /* aggregates take numbers, or all from 0 on */

	keys_put_out(w, r, first, n, out);
	if (p->has_window) {
		times_put(&out[part++], r->starts ? r->starts + first : NULL,
			r->start_us, n);
		times_put(
			&out[part++], r->ends ? r->ends + first : NULL, r->end_us, n);
	}
	for (uint32_t i = 0; first && !r->group_pick && i < n; i++)
		counted[i] = first + i;
	for (size_t i = 0; part + i < p->parts.fields_len; i++) {
		const uint32_t *pick = r->group_pick ? r->group_pick + first
				       : first       ? counted
						     : NULL;

		if (aggregate_finalize(r->aggregates[i], pick, n, &out[part + i], e))
			return error_context(e, "%s", p->calls[i].text);
	}
	return 0;
}

int results_parts(
	struct window *w, const struct results *r, struct column_builder *out, struct error *e)
{
	return some_put(w, r, 0, r->n, out, e);
}

int results_put(struct window *w, const struct results *r, struct error *e)
{
	for (uint32_t first = 0; first < r->n;) {
		uint32_t room = BATCH_ROWS - batch_builder_rows(&w->parts);
		uint32_t n = r->n - first < room ? r->n - first : room;

		if (some_put(w, r, first, n, w->parts.columns, e))
			return -1;
		first += n;
		if (batch_builder_rows(&w->parts) == BATCH_ROWS && results_flush(w, e))
			return -1;
	}
	return 0;
}

/* The list's expressions over the parts. */
static int parts_run(struct window *w, struct batch *out, struct error *e)
{
	const struct batch *parts = batch_builder_view(&w->parts);

	*out = (struct batch){
		.schema = &w->plan->out, .rows = parts->rows, .columns = w->result_columns};
	return program_run(w->plan->results, parts, w->result_columns, NULL, e);
}

int results_flush(struct window *w, struct error *e)
{
	struct batch out;
	int status = 0;

	if (batch_builder_rows(&w->parts) == 0)
		return 0;
	if (parts_run(w, &out, e) ||
		(w->exec ? exec_batch(w->exec, &out, e) : stage_emit(w->op.stage, 0, &out, e)))
		status = -1;
	batch_builder_reset(&w->parts);
	return status;
}

int results_rows(struct window *w, const struct results *r, struct batch *out, struct error *e)
{
	batch_builder_reset(&w->parts); /* nothing is queued where changes go out */
	return some_put(w, r, 0, r->n, w->parts.columns, e) || parts_run(w, out, e) ? -1 : 0;
}
