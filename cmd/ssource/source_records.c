#include "cmd/common/bad.h"
#include "cmd/ssource/clockwork.h"
#include "cmd/ssource/progress.h"

#include "libcore/base/memory.h"

#include <poll.h>
#include <unistd.h>

struct source {
	struct operator base;
	const struct source_options *o;
	struct records_options records_options;
	struct clockwork clockwork;
	struct bad_records bad;
	struct progress progress;
	struct records *records; /* NULL before the first produce */
	struct schema schema;
	struct batch_builder batch;
	bool has_batch;
	bool at_end;

	struct records_position restored;
	bool is_restored;
	char *spec; /* the schema as text, from a snapshot */
};

static struct source *source_of(struct operator* op)
{
	return (struct source *)op;
}

static int source_open(struct source *s, struct error *e)
{
	if (bad_records_open(&s->bad, s->base.stage, e) < 0)
		return -1;
	s->records_options = s->o->records;
	s->records_options.bad = bad_records_sink(&s->bad);
	s->records_options.required_column = s->o->time_column;
	if (s->spec)
		s->records_options.schema_text = s->spec;
	if (records_open(&s->records_options, &s->records, e) < 0)
		return -1;
	schema_init(&s->schema);
	schema_copy(&s->schema, records_schema(s->records));
	if (clockwork_set_schema(&s->clockwork, &s->schema, e) < 0 ||
		stage_declare(s->base.stage, 0, &s->schema, e) < 0)
		return -1;
	if (s->is_restored && records_seek(s->records, &s->restored, e) < 0)
		return -1;
	batch_builder_init(&s->batch, &s->schema);
	s->has_batch = true;
	return 0;
}

/* Fills a batch as far as watermarks, limit and what is there allow.  1: at the end of the input or
 * the limit, 2: nothing more at the moment. */
static int source_fill(struct source *s, struct error *e)
{
	uint32_t rows_max = clockwork_rows_max(&s->clockwork);
	int status = rows_max ? 0 : 1;

	while (!status && !batch_builder_is_full(&s->batch)) {
		uint32_t rows = batch_builder_rows(&s->batch);

		if (rows == rows_max)
			break;
		status = records_next(s->records, false, rows_max - rows, &s->batch, e);
	}
	return status;
}

/* Opening an input reads from it.  As long as nothing has come the runtime waits instead: it hears
 * signals. */
static bool is_silent(const char *input)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return strcmp(input, "-") == 0 && poll(&p, 1, 0) == 0;
}

static enum produce_status source_produce(struct operator* op, struct error *e)
{
	struct source *s = source_of(op);
	int status;

	if (clockwork_tick(&s->clockwork, op->stage, e) < 0)
		return PRODUCE_ERROR;
	if (!s->records && is_silent(s->o->records.inputs[0])) {
		op->wait_fd = STDIN_FILENO;
		op->wait_us = -1;
		return PRODUCE_WAIT;
	}
	if (!s->records && source_open(s, e) < 0)
		return PRODUCE_ERROR;
	op->wait_fd = -1;
	if ((op->wait_us = clockwork_wait_us(&s->clockwork)))
		return PRODUCE_WAIT;
	status = source_fill(s, e);
	if (status < 0 ||
		clockwork_emit(&s->clockwork, op->stage, batch_builder_view(&s->batch), e) < 0)
		return PRODUCE_ERROR;
	batch_builder_reset(&s->batch);
	progress_show(&s->progress, s->clockwork.rows, records_bytes(s->records), false);
	if (status == 2) {
		op->wait_fd = records_fd(s->records);
		op->wait_us = -1;
		return PRODUCE_WAIT;
	}
	if (!status)
		return PRODUCE_MORE;
	progress_show(&s->progress, s->clockwork.rows, records_bytes(s->records), true);
	return bad_records_commit(&s->bad, e) < 0 ? PRODUCE_ERROR : PRODUCE_END;
}

/* ---- snapshots: one row ---- */

enum { S_INPUT, S_ENTRY, S_OFFSET, S_LINE, S_ROWS, S_ROWS_READ, S_GREATEST, S_SPEC };

static void snapshot_schema(struct schema *s)
{
	static const struct {
		const char *name;
		enum type_kind kind;
	} columns[] = {
		[S_INPUT] = {"input", TYPE_INT},
		[S_ENTRY] = {"entry", TYPE_INT},
		[S_OFFSET] = {"offset", TYPE_INT},
		[S_LINE] = {"line", TYPE_INT},
		[S_ROWS] = {"rows", TYPE_INT},
		[S_ROWS_READ] = {"rows_read", TYPE_INT},
		[S_GREATEST] = {"greatest_time", TYPE_TIMESTAMP},
		[S_SPEC] = {"schema", TYPE_STRING},
	};

	schema_set_name(s, "position");
	for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
		schema_add(s, columns[i].name, strlen(columns[i].name), TYPE_OF(columns[i].kind));
}

static void put_position(const struct source *s, struct batch_builder *b)
{
	struct records_position p = s->records ? records_position(s->records) : s->restored;
	struct buf spec = BUF_INIT;

	builder_put_int(&b->columns[S_INPUT], p.input);
	builder_put_int(&b->columns[S_ENTRY], p.at.entry);
	builder_put_int(&b->columns[S_OFFSET], (int64_t)p.at.offset);
	builder_put_int(&b->columns[S_LINE], (int64_t)p.line);
	builder_put_int(&b->columns[S_ROWS], (int64_t)s->clockwork.rows);
	builder_put_int(&b->columns[S_ROWS_READ], (int64_t)p.rows);
	builder_put_int(&b->columns[S_GREATEST], s->clockwork.greatest_us);
	if (s->records)
		records_put_spec(s->records, &spec);
	else
		buf_put_text(&spec, s->spec);
	builder_put_text(&b->columns[S_SPEC], spec.data, spec.len);
	buf_clear(&spec);
}

static int source_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct source *s = source_of(op);
	struct schema schema = SCHEMA_INIT;
	struct batch_builder row;
	int status;

	if (!s->records && !s->is_restored)
		return 0; /* nothing was read: it starts at the start */
	snapshot_schema(&schema);
	batch_builder_init(&row, &schema);
	put_position(s, &row);
	status = snapshot_section(w, &schema, e);
	if (!status)
		status = snapshot_put(w, batch_builder_view(&row), e);
	batch_builder_clear(&row);
	schema_clear(&schema);
	return status;
}

static int take_position(struct source *s, const struct batch *b, struct error *e)
{
	struct schema schema = SCHEMA_INIT;
	const struct column *columns[S_SPEC + 1];
	struct text_view spec;
	int status = 0;

	snapshot_schema(&schema);
	for (size_t i = 0; i < schema.fields_len && !status; i++)
		status = snapshot_column(
			b, schema.fields[i].name, schema.fields[i].type, &columns[i], e);
	schema_clear(&schema);
	if (status < 0)
		return -1;
	if (b->rows != 1)
		return error_set(e, ERROR_STATE, "a source has one position, not %u", b->rows);
	s->restored.input = (uint32_t)column_int(columns[S_INPUT], 0);
	s->restored.at.entry = (uint32_t)column_int(columns[S_ENTRY], 0);
	s->restored.at.offset = (uint64_t)column_int(columns[S_OFFSET], 0);
	s->restored.line = (uint64_t)column_int(columns[S_LINE], 0);
	s->restored.rows = (uint64_t)column_int(columns[S_ROWS_READ], 0);
	s->clockwork.rows = (uint64_t)column_int(columns[S_ROWS], 0);
	s->clockwork.greatest_us = column_int(columns[S_GREATEST], 0);
	spec = column_text(columns[S_SPEC], 0);
	mem_free(s->spec);
	s->spec = mem_strndup(spec.len ? spec.text : "", spec.len);
	s->is_restored = true;
	return 0;
}

static int source_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (!b->schema->name || strcmp(b->schema->name, "position") != 0)
			return error_set(e, ERROR_STATE,
				"an unknown section '%s' in a source's state",
				b->schema->name ? b->schema->name : "");
		if (take_position(source_of(op), b, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}

static void source_free(struct operator* op)
{
	struct source *s = source_of(op);

	records_close(s->records);
	bad_records_clear(&s->bad);
	if (s->has_batch)
		batch_builder_clear(&s->batch);
	schema_clear(&s->schema);
	mem_free(s->spec);
	mem_free(s);
}

static const struct operator_ops source_ops = {
	.type = "ssource",
	.free = source_free,
	.produce = source_produce,
	.snapshot = source_snapshot,
	.restore = source_restore,
};

int source_new_records(const struct source_options *o, struct operator** out, struct error *e)
{
	struct source *s = mem_zero(sizeof *s);

	s->base = (struct operator){
		.ops = &source_ops, .outputs = 1, .bounded = true, .wait_fd = -1, .wait_us = -1};
	s->o = o;
	schema_init(&s->schema);
	clockwork_init(&s->clockwork, o);
	bad_records_init(&s->bad, o->bad);
	progress_init(&s->progress, o);
	*out = &s->base;
	return 0;
}
