/* A stream in the order of its event time: a row waits until the watermark has reached it, rows of
 * one time stay in the order in which they came.  A row behind the watermark is late. */
#include "cmd/ssort/ssort.h"
#include "libcore/base/memory.h"
#include "libcore/state/rowstore.h"
#include "libcore/state/timequeue.h"

struct way {
	struct rowstore store;     /* time_us: the event time */
	struct timequeue queue;
	uint32_t *picks;           /* rows that may go, in order */
	size_t picks_len, picks_cap;
	struct arena arena;
};

static int by_time_open(struct ssort *s, struct error *e)
{
	const char *from = stage_input_from(s->op.stage, 0);
	struct way *w = s->state = mem_zero(sizeof *w);

	if (s->in.changelog)
		return error_set(e, ERROR_USAGE, "--by-time takes no changelog, and %s sends one\n"
			"an order and -n keep the first rows of a changelog", from);
	if (s->in.time_column < 0)
		return error_set(e, ERROR_USAGE, "--by-time: the rows of %s have no event time\n"
			"ssource -t COLUMN or smap --assign-time COLUMN gives one", from);
	rowstore_init(&w->store, &s->in);
	if (s->o.late_output && stage_declare(s->op.stage, 1, &s->in, e) < 0)
		return -1;
	return stage_declare(s->op.stage, 0, &s->out, e);
}

static void by_time_close(struct ssort *s)
{
	struct way *w = s->state;

	rowstore_clear(&w->store);
	timequeue_clear(&w->queue);
	mem_free(w->picks);
	arena_clear(&w->arena);
	mem_free(w);
}

static int check_memory(const struct ssort *s, struct error *e)
{
	const struct way *w = s->state;

	if (rowstore_is_full(&w->store))
		return error_set(e, ERROR_DATA, "the rows the watermark has not passed have more "
			"text than the 4 GB that fit into a column");
	if (!s->o.memory_bytes || rowstore_bytes(&w->store) + timequeue_bytes(&w->queue) <=
		(size_t)s->o.memory_bytes)
		return 0;
	return error_set(e, ERROR_DATA,
		"the rows the watermark has not passed take more than --memory allows\n"
		"a larger --memory, or a smaller delay in front (ssource -d)");
}

static int by_time_batch(struct ssort *s, const struct batch *b, struct error *e)
{
	struct way *w = s->state;
	int64_t passed_us = stage_watermark(s->op.stage), *kept_us;
	const int64_t *times;
	uint32_t *late, *pick, late_len = 0, n = 0, first;

	arena_reset(&w->arena);
	if (batch_times(b, &w->arena, &times, e))
		return -1;
	kept_us = arena_alloc(&w->arena, b->rows * sizeof *kept_us);
	late = arena_alloc(&w->arena, b->rows * sizeof *late);
	pick = arena_alloc(&w->arena, b->rows * sizeof *pick);
	for (uint32_t r = 0; r < b->rows; r++) {
		if (times[r] <= passed_us) {
			late[late_len++] = r;
			continue;
		}
		kept_us[n] = times[r];
		pick[n++] = r;
	}
	first = rowstore_add(&w->store, b, pick, n, kept_us, NULL);
	for (uint32_t i = 0; i < n; i++)
		timequeue_push(&w->queue, kept_us[i], first + i);
	if (stage_put_late(s->op.stage, s->o.late_output ? 1 : 0, b, late, late_len, &w->arena, e))
		return -1;
	return check_memory(s, e);
}

static void compact(struct way *w)
{
	uint32_t *remap;

	if (!rowstore_wants_compact(&w->store, 0))
		return;
	remap = mem_alloc((w->store.len + (size_t)1) * sizeof *remap);
	rowstore_compact(&w->store, remap);
	timequeue_remap(&w->queue, remap);
	mem_free(remap);
}

static int put_picks(struct ssort *s, struct error *e)
{
	struct way *w = s->state;
	const struct batch *all = rowstore_view(&w->store);

	for (size_t done = 0; done < w->picks_len; done += BATCH_ROWS) {
		size_t left = w->picks_len - done;
		struct batch b;

		arena_reset(&w->arena);
		batch_gather(all, w->picks + done, left < BATCH_ROWS ? (uint32_t)left : BATCH_ROWS,
			&w->arena, &b);
		if (ssort_emit(s, &b, NULL, e) < 0)
			return -1;
	}
	w->picks_len = 0;
	return 0;
}

static int by_time_watermark(struct ssort *s, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct way *w = s->state;
	struct timequeue_entry x;

	while (timequeue_pop(&w->queue, in_us, &x)) {
		MEM_GROW(w->picks, w->picks_cap, w->picks_len + 1);
		w->picks[w->picks_len++] = x.row;
		rowstore_kill(&w->store, x.row);
	}
	if (put_picks(s, e) < 0)
		return -1;
	compact(w);
	return 0;
}

/* ---- state: section "waiting": time, row.<column> ..., in order of arrival ---- */

static void saved_schema(const struct ssort *s, struct schema *schema)
{
	struct buf name = BUF_INIT;

	schema_init(schema);
	schema_set_name(schema, "waiting");
	for (size_t i = 0; i < s->in.fields_len; i++) {
		buf_reset(&name);
		buf_printf(&name, "row.%s", s->in.fields[i].name);
		schema_add(schema, (const char *)name.data, name.len, s->in.fields[i].type);
	}
	buf_clear(&name);
}

static int by_time_save(struct ssort *s, struct snapshot_writer *out, struct error *e)
{
	struct way *w = s->state;
	const struct batch *all = rowstore_view(&w->store);
	struct schema schema;
	uint32_t *pick = mem_alloc(BATCH_ROWS * sizeof *pick), n = 0;
	int status;

	saved_schema(s, &schema);
	status = snapshot_section(out, &schema, e);
	for (uint32_t r = 0; r < w->store.len && status == 0; r++) {
		struct batch b;

		if (!(w->store.flags[r] & ROW_DEAD))
			pick[n++] = r;
		if (!n || (n < BATCH_ROWS && r + 1 < w->store.len))
			continue;
		arena_reset(&w->arena);
		batch_gather(all, pick, n, &w->arena, &b);
		b.schema = &schema;
		status = snapshot_put(out, &b, e);
		n = 0;
	}
	schema_clear(&schema);
	mem_free(pick);
	return status;
}

static int by_time_load(struct ssort *s, const struct batch *saved, struct error *e)
{
	struct way *w = s->state;
	const struct column *c = &saved->columns[s->in.time_column];
	struct schema wanted;
	uint32_t first;
	bool fits;

	saved_schema(s, &wanted);
	fits = schema_equal(&wanted, saved->schema);
	schema_clear(&wanted);
	if (!fits)
		return error_set(e, ERROR_STATE,
			"the rows that wait have other columns than the stream has now");
	first = rowstore_add(&w->store, saved, NULL, saved->rows, NULL, NULL);
	for (uint32_t r = 0; r < saved->rows; r++) {
		int64_t *at = &w->store.time_us[first + r];

		if (__builtin_add_overflow(column_int(c, r), s->in.time_offset_us, at))
			*at = column_int(c, r);
		timequeue_push(&w->queue, *at, first + r);
	}
	return 0;
}

const struct way_ops by_time_way = {
	.open = by_time_open,
	.close = by_time_close,
	.batch = by_time_batch,
	.watermark = by_time_watermark,
	.save = by_time_save,
	.load = by_time_load,
};
