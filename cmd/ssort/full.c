/* Everything in order, at the end of a bounded stream. */
#include "cmd/ssort/sorter.h"
#include "cmd/ssort/ssort.h"
#include "cmd/ssort/table.h"
#include "libcore/base/memory.h"

struct way {
	struct sorter *sorter;
	struct table *table; /* of a changelog: the rows that are left so far */
	struct schema rows;  /* of the sorter */
	struct arena arena;
};

static int refuse_unbounded(const struct ssort *s, struct error *e)
{
	return error_set(e, ERROR_USAGE,
		"%s has no end, so its rows can't all be sorted\n"
		"-n N keeps the first N, --by-time puts rows in order as the watermark allows",
		stage_input_from(s->op.stage, 0));
}

static int full_open(struct ssort *s, struct error *e)
{
	struct way *w;
	struct sorter_options o = {.order = &s->order,
		.temporary = s->o.temporary,
		.memory_bytes = (size_t)s->o.sort_bytes,
		.stage = s->op.stage};

	if (!stage_is_bounded(s->op.stage)) {
		s->way = NULL;
		return refuse_unbounded(s, e);
	}
	w = s->state = mem_zero(sizeof *w);
	schema_init(&w->rows);
	schema_copy(&w->rows, &s->in);
	w->rows.changelog = false;
	o.schema = &w->rows;
	w->sorter = sorter_new(&o);
	if (s->in.changelog)
		w->table = table_new(s);
	return stage_declare(s->op.stage, 0, &s->out, e);
}

static void full_close(struct ssort *s)
{
	struct way *w = s->state;

	sorter_free(w->sorter);
	table_free(w->table);
	schema_clear(&w->rows);
	arena_clear(&w->arena);
	mem_free(w);
}

static int full_batch(struct ssort *s, const struct batch *b, struct error *e)
{
	struct way *w = s->state;

	return w->table ? table_apply(w->table, b, e) : sorter_put(w->sorter, b, e);
}

static int put_all(struct ssort *s, struct error *e)
{
	struct way *w = s->state;
	const struct batch *rows;
	int64_t number = 0, *numbers;
	int status;

	while ((status = sorter_next(w->sorter, &rows, e)) == 0) {
		arena_reset(&w->arena);
		numbers = arena_alloc(&w->arena, rows->rows * sizeof *numbers);
		for (uint32_t r = 0; r < rows->rows; r++)
			numbers[r] = ++number;
		if (ssort_emit(s, rows, numbers, e) < 0 || stage_alive(s->op.stage, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}

/* The event time stays: all rows come before the only watermark. */
static int full_watermark(struct ssort *s, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct way *w = s->state;
	int status;

	if (in_us != WATERMARK_FINAL) {
		*out_us = WATERMARK_NONE;
		return 0;
	}
	if (w->table && table_drain(w->table, w->sorter, e) < 0)
		return -1;
	status = put_all(s, e);
	/* A snapshot may still follow: of nothing. */
	sorter_free(w->sorter);
	w->sorter = NULL;
	return status;
}

static int full_save(struct ssort *s, struct snapshot_writer *out, struct error *e)
{
	struct way *w = s->state;

	if (!w->sorter)
		return 0;
	return w->table ? table_save(w->table, out, e) : sorter_save(w->sorter, out, e);
}

static int full_load(struct ssort *s, const struct batch *saved, struct error *e)
{
	struct way *w = s->state;

	return w->table ? table_load(w->table, saved, e) : sorter_load(w->sorter, saved, e);
}

const struct way_ops full_way = {
	.open = full_open,
	.close = full_close,
	.batch = full_batch,
	.watermark = full_watermark,
	.save = full_save,
	.load = full_load,
};
