#include "cmd/ssource/connected/postgres_changes.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <poll.h>
#include <string.h>

enum {
	DRAIN_US = 10000000, /* a server that doesn't say how far it is */
	DRAIN_LOOK_US = 50000,
};

static struct changes *changes_of(struct operator* op)
{
	return (struct changes *)op;
}

/* ---- rows out ---- */

static bool places_watermarks(const struct changes *c)
{
	return c->clockwork.time_column >= 0 && c->phase == CHANGES_STREAM;
}

/* The table's first rows come in no order: watermarks begin behind them. */
static int place_watermark(struct changes *c, struct error *e)
{
	int64_t now = clock_mono_us(), us;
	bool is_idle;

	if (!places_watermarks(c))
		return 0;
	us = timeline_watermark(&c->timeline, now, &is_idle);
	if (us > c->watermark_us) {
		if (stage_emit_watermark(c->base.stage, us, e) < 0)
			return -1;
		c->watermark_us = us;
		c->is_idle = false;
	}
	if (is_idle == c->is_idle)
		return 0;
	c->is_idle = is_idle;
	return stage_emit_idle(c->base.stage, is_idle, e);
}

static int emit(struct changes *c, struct error *e)
{
	const struct batch *b;

	if (!c->has_batch || !c->batch.columns[0].rows)
		return 0;
	b = batch_builder_view(&c->batch);
	if (c->clockwork.time_column >= 0) {
		c->partition->greatest_us = clockwork_greatest(
			&c->clockwork, b, 0, b->rows, c->partition->greatest_us);
		c->partition->active_us = clock_mono_us();
	}
	if (clockwork_send(&c->clockwork, c->base.stage, b, e) < 0)
		return -1;
	batch_builder_reset(&c->batch);
	progress_show(&c->progress, c->clockwork.rows, c->bytes, false);
	return 0;
}

/* ---- the first rows ---- */

static int end_rows(struct changes *c, struct error *e)
{
	if (postgres_copy_end(&c->copy, e) < 0)
		return -1;
	postgres_close(c->db);
	c->db = NULL;
	c->phase = CHANGES_STREAM;
	return 0;
}

/* Rows for one batch.  0; 1: there are no more; 2: not now. */
static int fill_rows(struct changes *c, bool may_block, struct error *e)
{
	struct change_meta meta = {
		.lsn = c->at.lsn, .time_us = c->rows_time_us, .xid = -1, .op = ROW_INSERT};
	uint32_t rows_max = clockwork_rows_max(&c->clockwork);

	while (c->batch.columns[0].rows < rows_max && !batch_builder_is_full(&c->batch)) {
		const struct column_builder *first = &c->batch.columns[c->metas_len];
		uint32_t before = first->rows;
		const uint8_t *bytes;
		size_t len;
		int status = postgres_take_copy(c->db, may_block, &bytes, &len, e);

		if (status)
			return status;
		c->bytes += len;
		if (postgres_copy_take(&c->copy, bytes, len, c->batch.columns + c->metas_len, e))
			return error_context(e, "%s", postgres_server(c->db));
		for (uint32_t i = before; i < first->rows; i++)
			changes_put_meta(c, &meta);
	}
	return 0;
}

static enum produce_status step_rows(struct changes *c, bool may_block, struct error *e)
{
	int status = fill_rows(c, may_block, e);

	if (status < 0 || emit(c, e) < 0 || (status == 1 && end_rows(c, e) < 0))
		return PRODUCE_ERROR;
	if (status != 2)
		return PRODUCE_MORE;
	c->base.wait_fd = postgres_fd(c->db);
	c->base.wait_us = clockwork_until_tick(&c->clockwork);
	return PRODUCE_WAIT;
}

/* ---- the stream ---- */

static int64_t lesser(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static enum produce_status wait_for_more(struct changes *c)
{
	int64_t now = clock_mono_us(), us = clockwork_until_tick(&c->clockwork);

	c->base.wait_fd = c->is_streaming ? postgres_fd(c->wal) : -1;
	if (!c->is_streaming)
		us = lesser(us, c->retry_at_us > now ? c->retry_at_us - now : 0);
	if (c->is_drained)
		us = lesser(us, DRAIN_LOOK_US);
	if (places_watermarks(c))
		us = lesser(us, timeline_until_idle(&c->timeline, now));
	c->base.wait_us = us < 0 ? 0 : us;
	return PRODUCE_WAIT;
}

/* A slot that no checkpoint knows of would hold the server's log for nobody. */
static void drop_made(struct changes *c)
{
	bool is_known = c->prepared_lsn != 0;
	struct error ignored = ERROR_INIT;
	struct postgres *db;

	if (!c->slot_made || c->slot_temporary || is_known || !c->wal || postgres_is_lost(c->wal))
		return;
	changes_close(c);
	if (postgres_input_connect(&c->in, c->base.stage, false, &db, &ignored) < 0)
		return;
	slot_drop(db, c->slot, &ignored);
	postgres_close(db);
	c->slot_made = false;
}

static enum produce_status end(struct changes *c)
{
	drop_made(c);
	c->phase = CHANGES_OVER;
	progress_show(&c->progress, c->clockwork.rows, c->bytes, true);
	return PRODUCE_END;
}

/* To be drained is to read what has been committed by now. */
static int begin_drain(struct changes *c, struct error *e)
{
	struct postgres *db = NULL;
	char *text = NULL;

	c->is_drained = true;
	c->drain_us = clock_mono_us();
	if (postgres_input_connect(&c->in, c->base.stage, false, &db, e) < 0 ||
		postgres_ask(db, "select pg_catalog.pg_current_wal_lsn()", NULL, 0, &text, e) < 0) {
		postgres_close(db);
		if (e->code != ERROR_IO)
			return -1;
		stage_warn(c->base.stage, "%s; the stream ends where it was", e->text);
		error_clear(e);
		return 0;
	}
	if (text)
		pgoutput_parse_lsn(text, &c->drain_lsn);
	mem_free(text);
	postgres_close(db);
	return 0;
}

/* Half a transaction isn't an end. */
static bool is_drained(const struct changes *c, int status)
{
	return c->is_drained && status == 2 && !c->in_txn &&
	       (c->at.lsn >= c->drain_lsn || !c->is_streaming ||
		       clock_mono_us() - c->drain_us > DRAIN_US);
}

static enum produce_status step_stream(struct changes *c, struct error *e)
{
	int status = changes_open(c, e);

	if (status == 0)
		status = changes_fill(c, e);
	else if (status == 1)
		status = 2;
	if (status < 0 || emit(c, e) < 0 || place_watermark(c, e) < 0 ||
		(c->draining && !c->is_drained && begin_drain(c, e) < 0) ||
		changes_tell(c, false, e) < 0)
		return PRODUCE_ERROR;
	if (status == 1 || is_drained(c, status))
		return end(c);
	return status == 2 ? wait_for_more(c) : PRODUCE_MORE;
}

static enum produce_status changes_produce(struct operator* op, struct error *e)
{
	struct changes *c = changes_of(op);

	if (c->phase == CHANGES_OVER)
		return PRODUCE_END;
	if (clockwork_tick(&c->clockwork, op->stage, e) < 0 ||
		(c->phase == CHANGES_NEW && changes_start(c, e) < 0))
		return PRODUCE_ERROR;
	c->base.wait_fd = -1;
	c->base.wait_us = c->draining ? 0 : clockwork_wait_us(&c->clockwork);
	if (c->base.wait_us > 0)
		return PRODUCE_WAIT;
	if (c->o->limit >= 0 && c->clockwork.rows >= (uint64_t)c->o->limit)
		return end(c);
	return c->phase == CHANGES_ROWS ? step_rows(c, false, e) : step_stream(c, e);
}

static void changes_drain(struct operator* op)
{
	changes_of(op)->draining = true;
}

/* ---- checkpoints ---- */

/* The first rows are all in a checkpoint, or none: the rest goes out in front of the barrier. */
static int changes_prepare(struct operator* op, uint64_t epoch, struct buf *handle, struct error *e)
{
	struct changes *c = changes_of(op);

	while (c->phase == CHANGES_ROWS) {
		if (step_rows(c, true, e) == PRODUCE_ERROR || stage_alive(op->stage, e) < 0)
			return -1;
	}
	if (c->phase == CHANGES_NEW)
		return 0;
	c->prepared_lsn = c->at.lsn;
	if (c->slot_made)
		buf_put(handle, c->slot, strlen(c->slot) + 1);
	return 0;
}

/* Alone in a shell this is the end: the server must have heard it before the connection goes. */
static int tell_end(struct changes *c, struct error *e)
{
	struct postgres *db;
	int status = -1;

	if (changes_tell(c, true, e) < 0 ||
		postgres_input_connect(&c->in, c->base.stage, false, &db, e) < 0)
		return -1;
	status = slot_await(db, c->slot, c->confirmed_lsn, e);
	postgres_close(db);
	return status;
}

/* The checkpoint holds everything up to where the barrier stood: the slot may move on to it. */
static int changes_commit(
	struct operator* op, uint64_t epoch, const uint8_t *handle, size_t len, struct error *e)
{
	struct changes *c = changes_of(op);
	bool is_end = c->phase == CHANGES_OVER && !*stage_job(op->stage);

	if (len && handle[len - 1] != '\0')
		return error_set(e, ERROR_STATE, "the handle of an epoch is damaged");
	if (c->prepared_lsn > c->confirmed_lsn)
		c->confirmed_lsn = c->prepared_lsn;
	if (!c->in.slot)
		return 0;
	if (is_end && tell_end(c, e) < 0)
		return -1;
	if (len && changes_name_slot(c, (const char *)handle, e) < 0)
		return -1;
	return is_end ? 0 : changes_tell(c, true, e);
}

static int changes_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	return changes_put(changes_of(op), w, e);
}

static int changes_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	return changes_take(changes_of(op), r, e);
}

static void changes_abort(struct operator* op)
{
	drop_made(changes_of(op));
}

static void changes_free(struct operator* op)
{
	struct changes *c = changes_of(op);

	changes_close(c);
	postgres_close(c->db);
	postgres_copy_clear(&c->copy);
	pgoutput_clear(&c->message);
	if (c->has_batch)
		batch_builder_clear(&c->batch);
	postgres_plan_clear(&c->plan);
	schema_clear(&c->schema);
	timeline_clear(&c->timeline);
	postgres_input_clear(&c->in);
	mem_free(c->codecs);
	mem_free(c->publication);
	mem_free(c->slot);
	mem_free(c->oid);
	mem_free(c);
}

static const struct operator_ops changes_ops = {
	.type = SOURCE_TYPE,
	.free = changes_free,
	.produce = changes_produce,
	.drain = changes_drain,
	.prepare = changes_prepare,
	.commit = changes_commit,
	.abort = changes_abort,
	.snapshot = changes_snapshot,
	.restore = changes_restore,
};

static int check(const struct source_options *o, const struct postgres_input *in, struct error *e)
{
	if (strcmp(o->bad, "stop") != 0)
		return error_set(e, ERROR_USAGE,
			"--bad: a changelog that misses a row is wrong; take the column as string");
	if (o->time_is_now)
		return error_set(
			e, ERROR_USAGE, "-t now: say --meta 'commit_time as at' -t at instead");
	return in->slot ? slot_check_name(in->slot, e) : 0;
}

int source_new_postgres_changes(const struct source_options *o, struct postgres_input *in,
	struct operator** out, struct error *e)
{
	struct changes *c;

	if (check(o, in, e) < 0) {
		postgres_input_clear(in);
		return -1;
	}
	c = mem_zero(sizeof *c);
	c->base = (struct operator){
		.ops = &changes_ops, .outputs = 1, .bounded = false, .wait_fd = -1, .wait_us = -1};
	c->o = o;
	c->own = *o;
	c->own.has_delay = true;
	c->in = *in;
	schema_init(&c->schema);
	schema_init(&c->plan.schema);
	clockwork_init(&c->clockwork, &c->own);
	progress_init(&c->progress, o);
	c->watermark_us = WATERMARK_NONE;
	c->timeline.delay_us = o->delay_us;
	c->timeline.idle_us = o->idle_us;
	c->partition = timeline_add(&c->timeline, clock_mono_us());
	*out = &c->base;
	return 0;
}
