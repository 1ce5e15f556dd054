/* Nexmark events as a source, in lanes: a subtask generates the blocks of its own. */
#include "cmd/ssource/clockwork.h"
#include "cmd/ssource/lanes.h"
#include "cmd/ssource/nexmark.h"
#include "cmd/ssource/progress.h"

#include "libcore/base/arena.h"
#include "libcore/base/memory.h"

struct nexmark_source {
	struct operator base;
	const struct source_options *o;
	struct nexmark_options nexmark;
	struct nexmark generator;
	struct clockwork clockwork;
	struct source_options own; /* *o, with the delay that disorder asks for */
	struct progress progress;
	struct schema schema;
	int *columns;
	struct batch_builder batch;
	bool is_open, draining;
	struct lanes lanes; /* of all subtasks when restored, of this one once settled */
	bool is_restored, is_settled;
};

static struct nexmark_source *source_of(struct operator* op)
{
	return (struct nexmark_source *)op;
}

/* -s chooses columns; types can't be changed. */
static int choose_columns(struct nexmark_source *s, const struct schema *all, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct schema_spec spec = {.star = true};
	int status = 0;

	if (s->o->records.schema_text)
		status = schema_spec_parse(s->o->records.schema_text, &arena, &spec, e);
	s->columns = mem_zero((all->fields_len + spec.len) * sizeof *s->columns);
	for (size_t i = 0; spec.star && i < all->fields_len; i++)
		s->columns[schema_add_field(&s->schema, &all->fields[i])] = (int)i;
	for (size_t i = 0; !status && !spec.star && i < spec.len; i++) {
		const struct wanted_column *w = &spec.columns[i];
		int field = schema_require(all, w->path[0], strlen(w->path[0]), "nexmark", e);

		if (field < 0 || w->path_len > 1)
			status = -1;
		else if (w->type.kind && !type_equal(w->type, all->fields[field].type))
			status = error_set(
				e, ERROR_USAGE, "-s: nexmark's %s has another type", w->name);
		else
			s->columns[schema_add(&s->schema, w->name, strlen(w->name),
				all->fields[field].type)] = field;
	}
	arena_clear(&arena);
	return status;
}

static int nexmark_open(struct nexmark_source *s, struct error *e)
{
	struct schema all = SCHEMA_INIT;
	int status;

	nexmark_schema(s->nexmark.kind, &all);
	status = choose_columns(s, &all, e);
	schema_clear(&all);
	if (status < 0)
		return -1;
	s->schema.time_column = schema_find(&s->schema, "dateTime", strlen("dateTime"));
	if (clockwork_set_schema(&s->clockwork, &s->schema, e) < 0 ||
		stage_declare(s->base.stage, 0, &s->schema, e) < 0)
		return -1;
	nexmark_init(&s->generator, &s->nexmark);
	batch_builder_init(&s->batch, &s->schema);
	s->is_open = true;
	return 0;
}

/* Which lanes are this subtask's. */
static void settle_lanes(struct nexmark_source *s)
{
	uint32_t subtasks = stage_subtasks(s->base.stage);

	if (s->is_settled)
		return;
	if (!s->is_restored)
		lanes_begin(&s->lanes, subtasks);
	if (!stage_restored_own(s->base.stage))
		lanes_share(&s->lanes, stage_subtask(s->base.stage), subtasks);
	for (size_t i = 0; i < s->lanes.len; i++)
		s->clockwork.rows += s->lanes.items[i].rows;
	s->clockwork.subtasks = subtasks;
	s->is_settled = true;
}

/* Appends the lanes' events in their order.  Every later event has a greater number than all of
 * these, so their times are what a watermark may go by. */
static void generate(struct nexmark_source *s, uint64_t end, uint32_t rows_max)
{
	struct lane *lane;
	uint32_t rows = 0;

	s->clockwork.greatest_us = WATERMARK_NONE;
	while (rows < rows_max && (lane = lanes_least(&s->lanes)) && lane->event < end) {
		uint64_t until = lane_until(lane), event = lane->event;
		uint32_t n = nexmark_generate(&s->generator, &event, until < end ? until : end,
			rows_max - rows, s->columns, &s->batch);

		lane_advance(lane, event);
		lane->rows += n;
		if (clockwork_places(&s->clockwork)) {
			lane->greatest_us = clockwork_greatest(&s->clockwork,
				batch_builder_view(&s->batch), rows, n, lane->greatest_us);
			if (lane->greatest_us > s->clockwork.greatest_us)
				s->clockwork.greatest_us = lane->greatest_us;
		}
		rows += n;
	}
}

static bool is_over(struct nexmark_source *s, uint64_t end)
{
	const struct lane *lane = lanes_least(&s->lanes);

	return s->draining || !lane || lane->event >= end || !clockwork_rows_max(&s->clockwork);
}

static enum produce_status nexmark_produce(struct operator* op, struct error *e)
{
	struct nexmark_source *s = source_of(op);
	uint64_t end = s->nexmark.events ? s->nexmark.events : UINT64_MAX;

	settle_lanes(s);
	if (clockwork_tick(&s->clockwork, op->stage, e) < 0 ||
		(!s->is_open && nexmark_open(s, e) < 0))
		return PRODUCE_ERROR;
	if ((op->wait_us = clockwork_wait_us(&s->clockwork)) && !s->draining)
		return PRODUCE_WAIT;
	if (is_over(s, end)) {
		progress_show(&s->progress, s->clockwork.rows, 0, true);
		return PRODUCE_END;
	}
	generate(s, end, clockwork_rows_max(&s->clockwork));
	if (clockwork_emit(&s->clockwork, op->stage, batch_builder_view(&s->batch), e) < 0)
		return PRODUCE_ERROR;
	batch_builder_reset(&s->batch);
	progress_show(&s->progress, s->clockwork.rows, 0, false);
	return PRODUCE_MORE;
}

static void nexmark_drain(struct operator* op)
{
	source_of(op)->draining = true;
}

static int nexmark_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct nexmark_source *s = source_of(op);

	settle_lanes(s);
	return lanes_put(&s->lanes, w, e);
}

static int nexmark_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (source_check_section(b, "lanes", e) < 0 ||
			lanes_take(&source_of(op)->lanes, b, e) < 0)
			return -1;
	}
	source_of(op)->is_restored = true;
	return status < 0 ? -1 : 0;
}

static void nexmark_free(struct operator* op)
{
	struct nexmark_source *s = source_of(op);

	if (s->is_open)
		batch_builder_clear(&s->batch);
	schema_clear(&s->schema);
	lanes_clear(&s->lanes);
	mem_free(s->columns);
	mem_free(s);
}

static const struct operator_ops nexmark_ops = {
	.type = SOURCE_TYPE,
	.free = nexmark_free,
	.produce = nexmark_produce,
	.drain = nexmark_drain,
	.snapshot = nexmark_snapshot,
	.restore = nexmark_restore,
};

int source_new_nexmark(
	const struct source_options *o, const char *url, struct operator** out, struct error *e)
{
	struct nexmark_source *s = mem_zero(sizeof *s);

	if (nexmark_parse_url(url, &s->nexmark, e) < 0) {
		mem_free(s);
		return -1;
	}
	s->o = o;
	s->own = *o;
	if (!s->nexmark.events && !o->has_delay) { /* unbounded: windows close as time passes */
		s->own.has_delay = true;
		s->own.delay_us = s->nexmark.disorder_us;
	}
	s->base = (struct operator){.ops = &nexmark_ops,
		.outputs = 1,
		.bounded = s->nexmark.events != 0,
		.wait_fd = -1,
		.wait_us = -1};
	schema_init(&s->schema);
	clockwork_init(&s->clockwork, &s->own);
	progress_init(&s->progress, o);
	*out = &s->base;
	return 0;
}
