/* A table or query as a bounded source: COPY BINARY out of one read-only transaction, so that all
 * rows are of one moment, streamed.
 *
 * A view of the past can't be had again after a crash, so no checkpoint may hold a part of it: at
 * the first barrier behind the first row the rest goes out in front of the barrier.  What is
 * restored has all rows, or none and begins anew. */
#include "cmd/ssource/connected/postgres.h"

#include "cmd/common/bad.h"
#include "cmd/ssource/clockwork.h"
#include "cmd/ssource/progress.h"
#include "connect/heavy/postgres_copy.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <poll.h>

enum query_phase {
	QUERY_NEW,
	QUERY_RUNNING,
	QUERY_OVER,
};

struct query {
	struct operator base;
	const struct source_options *o;
	struct postgres_input in;
	struct clockwork clockwork;
	struct progress progress;
	struct bad_records bad;
	struct postgres_plan plan;
	struct postgres_codec *codecs;
	struct schema schema;
	struct postgres *db;
	struct postgres_copy copy;
	struct batch_builder batch;
	bool has_batch;
	enum query_phase phase;
	uint64_t bytes;
};

static struct query *query_of(struct operator* op)
{
	return (struct query *)op;
}

/* ---- opening ---- */

static void put_from(const struct query *q, struct buf *sql)
{
	if (q->in.query) {
		buf_printf(sql, "(%s\n) as \"query\"", q->in.query);
		return;
	}
	postgres_table_put(&q->in.table, sql);
}

/* What there is: the columns of the statement itself. */
static int look(struct query *q, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct postgres_column *columns;
	struct postgres_relation found;
	struct buf sql = BUF_INIT;
	size_t n = 0;
	int status;

	if (q->in.query) {
		buf_put_text(&sql, q->in.query);
	} else {
		if (postgres_find_table(q->db, &q->in.table, &found, e) < 0)
			return -1;
		postgres_relation_clear(&found);
		buf_put_text(&sql, "select * from ");
		put_from(q, &sql);
	}
	status = postgres_describe(q->db, buf_cstr(&sql), &arena, &columns, &n, e);
	if (status == 0)
		status = postgres_plan_choose(&q->plan, columns, n, q->o->records.schema_text, e);
	buf_clear(&sql);
	arena_clear(&arena);
	return status;
}

static int start_copy(struct query *q, struct error *e)
{
	struct buf sql = BUF_INIT;
	int status;

	buf_put_text(&sql, "copy (select ");
	postgres_plan_put_select(&q->plan, &sql);
	buf_put_text(&sql, " from ");
	put_from(q, &sql);
	buf_put_text(&sql, ") to stdout (format binary)");
	status = postgres_run(q->db, buf_cstr(&sql), NULL, e);
	buf_clear(&sql);
	return status;
}

static int settle_schema(struct query *q, struct error *e)
{
	schema_copy(&q->schema, &q->plan.schema);
	if (clockwork_set_schema(&q->clockwork, &q->schema, e) < 0 ||
		stage_declare(q->base.stage, 0, &q->schema, e) < 0)
		return -1;
	batch_builder_init(&q->batch, &q->schema);
	q->has_batch = true;
	q->codecs = mem_zero(q->plan.len * sizeof *q->codecs);
	for (size_t i = 0; i < q->plan.len; i++)
		q->codecs[i] = q->plan.columns[i].codec;
	q->copy = (struct postgres_copy){.codecs = q->codecs,
		.schema = &q->schema,
		.columns_len = q->plan.len,
		.required = q->clockwork.time_column};
	return 0;
}

static int query_open(struct query *q, struct error *e)
{
	if (postgres_input_connect(&q->in, q->base.stage, false, &q->db, e) < 0 ||
		bad_records_open(&q->bad, q->base.stage, e) < 0 ||
		postgres_run(q->db, "begin isolation level repeatable read, read only", NULL, e) <
			0 ||
		look(q, e) < 0 || settle_schema(q, e) < 0 || start_copy(q, e) < 0)
		return -1;
	q->phase = QUERY_RUNNING;
	return 0;
}

/* ---- rows ---- */

static int refuse(struct query *q, struct error *e)
{
	struct bad_sink sink = bad_records_sink(&q->bad);
	struct bad_record bad = {.input = postgres_server(q->db),
		.line = q->copy.rows,
		.reason = e->text,
		.record = ""};

	if (!sink.take)
		return error_context(e, "%s", postgres_server(q->db));
	if (sink.take(sink.context, &bad, e) < 0)
		return -1;
	error_clear(e);
	return 0;
}

static int take_piece(struct query *q, const uint8_t *bytes, size_t len, struct error *e)
{
	int status;

	q->bytes += len;
	while ((status = postgres_copy_take(&q->copy, bytes, len, q->batch.columns, e)) == 1) {
		if (refuse(q, e) < 0)
			return -1;
		len = 0;
	}
	return status;
}

/* Rows for one batch.  0; 1: that was all; 2: no more for now. */
static int fill(struct query *q, bool may_block, struct error *e)
{
	uint32_t rows_max = clockwork_rows_max(&q->clockwork);

	while (q->batch.columns[0].rows < rows_max && !batch_builder_is_full(&q->batch)) {
		const uint8_t *bytes;
		size_t len;
		int status = postgres_take_copy(q->db, may_block, &bytes, &len, e);

		if (status < 0 || status == 2)
			return status;
		if (status == 1)
			return postgres_copy_end(&q->copy, e) < 0 ? -1 : 1;
		if (take_piece(q, bytes, len, e) < 0)
			return -1;
	}
	return rows_max ? 0 : 1;
}

static int query_end(struct query *q, struct error *e)
{
	postgres_close(q->db);
	q->db = NULL;
	q->phase = QUERY_OVER;
	progress_show(&q->progress, q->clockwork.rows, q->bytes, true);
	return bad_records_commit(&q->bad, e);
}

static int emit(struct query *q, struct error *e)
{
	/* A piece may hold several rows: those beyond the limit aren't wanted. */
	const struct batch *all = batch_builder_view(&q->batch);
	uint32_t rows_max = clockwork_rows_max(&q->clockwork);
	struct arena arena = ARENA_INIT;
	struct batch part;
	int status = 0;

	for (uint32_t first = 0; status == 0 && first < all->rows && rows_max;
		rows_max = clockwork_rows_max(&q->clockwork)) {
		uint32_t n = all->rows - first < rows_max ? all->rows - first : rows_max;

		if (n == all->rows) {
			status = clockwork_emit(&q->clockwork, q->base.stage, all, e);
			break;
		}
		batch_slice(all, first, n, &arena, &part);
		status = clockwork_emit(&q->clockwork, q->base.stage, &part, e);
		first += n;
	}
	arena_clear(&arena);
	batch_builder_reset(&q->batch);
	progress_show(&q->progress, q->clockwork.rows, q->bytes, false);
	return status;
}

static enum produce_status step(struct query *q, bool may_block, struct error *e)
{
	int status;

	if (q->phase == QUERY_OVER)
		return PRODUCE_END;
	if (clockwork_tick(&q->clockwork, q->base.stage, e) < 0 ||
		(q->phase == QUERY_NEW && query_open(q, e) < 0))
		return PRODUCE_ERROR;
	q->base.wait_fd = -1;
	if ((q->base.wait_us = clockwork_wait_us(&q->clockwork)))
		return PRODUCE_WAIT;
	status = fill(q, may_block, e);
	if (status < 0 || emit(q, e) < 0 || (status == 1 && query_end(q, e) < 0))
		return PRODUCE_ERROR;
	if (status == 2) {
		q->base.wait_fd = postgres_fd(q->db);
		q->base.wait_us = clockwork_until_tick(&q->clockwork);
		return PRODUCE_WAIT;
	}
	return status == 1 ? PRODUCE_END : PRODUCE_MORE;
}

static enum produce_status query_produce(struct operator* op, struct error *e)
{
	return step(query_of(op), false, e);
}

/* A barrier: the rest goes out in front of it. */
static int query_settle(struct operator* op, struct error *e)
{
	struct query *q = query_of(op);

	while (q->phase == QUERY_RUNNING) {
		enum produce_status status = step(q, true, e);

		if (status == PRODUCE_ERROR || stage_alive(op->stage, e) < 0)
			return -1;
		if (status == PRODUCE_WAIT && q->base.wait_us > 0)
			poll(NULL, 0,
				q->base.wait_us < POSTGRES_SLICE_MS * 1000
					? (int)(q->base.wait_us / 1000) + 1
					: POSTGRES_SLICE_MS);
	}
	return 0;
}

/* ---- snapshots ---- */

static const char *const state_names[] = {"over", "rows"};

static int query_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct query *q = query_of(op);
	int64_t values[] = {q->phase == QUERY_OVER, (int64_t)q->clockwork.rows};

	MUST(q->phase != QUERY_RUNNING);
	return snapshot_put_ints(w, "query", state_names, values, 2, e);
}

static int query_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	struct query *q = query_of(op);
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		int64_t values[2];
		bool found;

		if (source_check_section(b, "query", e) < 0 ||
			snapshot_read_ints(b, "query", state_names, values, 2, &found, e) < 0)
			return -1;
		if (found && values[0]) {
			q->phase = QUERY_OVER;
			q->clockwork.rows = (uint64_t)values[1];
		}
	}
	return status < 0 ? -1 : 0;
}

static void query_free(struct operator* op)
{
	struct query *q = query_of(op);

	postgres_close(q->db);
	postgres_copy_clear(&q->copy);
	bad_records_clear(&q->bad);
	if (q->has_batch)
		batch_builder_clear(&q->batch);
	postgres_plan_clear(&q->plan);
	mem_free(q->codecs);
	schema_clear(&q->schema);
	postgres_input_clear(&q->in);
	mem_free(q);
}

static const struct operator_ops query_ops = {
	.type = SOURCE_TYPE,
	.free = query_free,
	.produce = query_produce,
	.settle = query_settle,
	.snapshot = query_snapshot,
	.restore = query_restore,
};

int source_new_postgres_query(const struct source_options *o, struct postgres_input *in,
	struct operator** out, struct error *e)
{
	struct query *q = mem_zero(sizeof *q);

	q->base = (struct operator){.ops = &query_ops,
		.outputs = o->bad_output ? SOURCE_BAD_OUTPUT + 1 : 1,
		.bounded = true,
		.wait_fd = -1,
		.wait_us = -1};
	q->o = o;
	q->in = *in;
	schema_init(&q->schema);
	schema_init(&q->plan.schema);
	clockwork_init(&q->clockwork, o);
	progress_init(&q->progress, o);
	bad_records_init(&q->bad, o->bad, o->bad_output ? SOURCE_BAD_OUTPUT : 0);
	*out = &q->base;
	return 0;
}
