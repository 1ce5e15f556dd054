/* Live sources, and inputs side by side: --follow, --merge, -t now, --idle, --max-ahead.  Which
 * files there are follow.c knows; each has records of its own and is read in turns, into one batch.
 */
#include "cmd/common/bad.h"
#include "cmd/ssource/clockwork.h"
#include "cmd/ssource/live_state.h"
#include "cmd/ssource/positions.h"
#include "cmd/ssource/progress.h"

#include "libcore/base/arena.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
	/* Rows of one partition before the others' turn: the stream is nearly in order, and a
	 * turn's own cost (choosing, a call or two) doesn't show. */
	TURN_ROWS = 1024,
	/* After a flush so long nothing is read: at 100,000 lines a second the stages behind are
	 * woken a thousand times a second, not a hundred thousand. */
	PACE_US = 1000,
	PACE_ROWS = 256,     /* ... unless there were as many: then it is a stream at full speed */
	SAMPLE_US = 100000,  /* of a live input's first records, that types are inferred from */
	SETTLE_US = 1000000, /* a compressed file is whole when nobody has written to it so long */
	DRAIN_US = 1000000,  /* a pipe that never runs dry is drained so long */
};

struct live {
	struct operator base;
	const struct source_options *o;
	struct source_options own;      /* *o, with what live inputs default to */
	struct records_options records; /* of the next input that is opened */
	struct clockwork clockwork;
	struct timeline timeline;
	struct follow follow;
	struct sockets *sockets; /* NULL: no input is one */
	struct live_state state; /* spec, format and header settled by the first input */
	char *first_input;       /* that settled them; for messages */
	struct bad_records bad;
	struct progress progress;
	struct schema schema;
	struct batch_builder batch;
	bool has_batch;
	bool is_restored, is_started;
	bool is_timed; /* watermarks go by the clock, not by the count of rows */
	bool is_idle;  /* as was said last */
	bool draining, is_drained;
	int now_column; /* -1: none */
	int64_t now_us; /* -t now: of the last row, or TICK */
	int64_t latest_us;
	int64_t watermark_us; /* sent last */
	int64_t flushed_us;   /* monotonic */
	int64_t drain_us;
	uint64_t flushed_rows;
	uint64_t bytes; /* of inputs that are closed */
};

static struct live *live_of(struct operator* op)
{
	return (struct live *)op;
}

/* ---- what is asked for ---- */

bool source_is_live(const struct source_options *o)
{
	return o->follows || o->merges || o->time_is_now || o->idle_us || o->has_ahead;
}

bool source_knows_types(const struct source_options *o)
{
	struct arena arena = ARENA_INIT;
	struct schema_spec spec = {.star = true};
	struct error ignored = ERROR_INIT;
	bool knows = false;

	if (o->records.schema_text &&
		schema_spec_parse(o->records.schema_text, &arena, &spec, &ignored) == 0) {
		knows = !spec.star;
		for (size_t i = 0; i < spec.len; i++)
			knows &= spec.columns[i].type.kind != 0;
	}
	arena_clear(&arena);
	return knows;
}

static bool has_socket(const struct source_options *o)
{
	for (size_t i = 0; i < o->records.inputs_len; i++) {
		if (net_is(o->records.inputs[i]))
			return true;
	}
	return false;
}

/* ---- opening ---- */

static int live_start(struct live *l, int64_t mono_us, struct error *e)
{
	const struct source_options *o = &l->own;
	struct follow_options f = {.inputs = o->records.inputs,
		.inputs_len = o->records.inputs_len,
		.follows = o->follows,
		.merges = o->merges,
		.from_end = o->from_end,
		.polls = o->polls,
		.subtask = stage_subtask(l->base.stage),
		.subtasks = stage_subtasks(l->base.stage),
		.stage = l->base.stage};

	if (l->is_started)
		return 0;
	l->is_started = true;
	l->clockwork.subtasks = f.subtasks;
	l->clockwork.rows = l->state.rows;
	l->now_us = l->state.now_us;
	l->watermark_us = WATERMARK_NONE;
	if (bad_records_open(&l->bad, l->base.stage, e) < 0)
		return -1;
	l->records = o->records;
	l->records.bad = bad_records_sink(&l->bad);
	l->records.required_column = o->time_is_now ? NULL : o->time_column;
	if (o->has_ahead && l->records.required_column)
		l->records.latest_us = &l->latest_us;
	if (l->state.spec) {
		l->records.schema_text = l->state.spec;
		l->records.format = l->state.format;
		l->records.reader.header = l->state.header;
	}
	if (follow_start(&l->follow, &f, &l->timeline, mono_us, e) < 0)
		return -1;
	return has_socket(o) ? sockets_open(&o->sockets, &l->follow, &l->sockets, e) : 0;
}

/* What later inputs are opened with. */
static void keep_settled(struct live *l, const struct followed *x)
{
	struct buf spec = BUF_INIT;

	records_settled(x->records, &l->records);
	records_put_spec(x->records, &spec);
	l->state.spec = mem_strdup(buf_cstr(&spec));
	l->state.format = mem_strdup(l->records.format);
	l->state.header = (int)l->records.reader.header;
	l->records.schema_text = l->state.spec;
	l->records.format = l->state.format;
	l->records.reader.input = l->first_input = mem_strdup(x->name);
	buf_clear(&spec);
}

/* The first input that is open tells what all have. */
static int settle_schema(struct live *l, const struct followed *x, struct error *e)
{
	const char *name = l->own.time_column;
	struct records_options settled = l->records;

	if (l->has_batch)
		return 0;
	schema_clear(&l->schema); /* of a client that was let go */
	l->now_column = -1;
	schema_copy(&l->schema, records_schema(x->records));
	if (l->own.time_is_now) {
		if (schema_find(&l->schema, name, strlen(name)) >= 0) {
			error_set(e, ERROR_USAGE, "-t now adds a column now, but %s has one",
				x->name);
			return error_hint(e,
				"call it otherwise: -s '*, now as then'; if it is the event "
				"time, say -t 'then'");
		}
		l->now_column = schema_add(&l->schema, name, strlen(name), TYPE_OF(TYPE_TIMESTAMP));
	}
	records_settled(x->records, &settled);
	if (l->own.from_end && !strcmp(settled.format, "msgpack"))
		return error_set(e, ERROR_USAGE,
			"--from end: msgpack has no newlines to tell where a "
			"record ends");
	if (clockwork_set_schema(&l->clockwork, &l->schema, e) < 0 ||
		stage_declare(l->base.stage, 0, &l->schema, e) < 0)
		return -1;
	batch_builder_init(&l->batch, &l->schema);
	l->has_batch = true;
	if (!l->state.spec)
		keep_settled(l, x);
	return 0;
}

/* A pipe that has brought nothing would block whoever opens it.  From now on reads may block: they
 * come when there is something. */
static bool is_stream_ready(const struct followed *x)
{
	struct pollfd p = {.fd = x->fd, .events = POLLIN};

	if (poll(&p, 1, 0) == 0)
		return false;
	channel_size_pipe(x->fd);
	if (x->fd != STDIN_FILENO)
		fcntl(x->fd, F_SETFL, fcntl(x->fd, F_GETFL) & ~O_NONBLOCK);
	return true;
}

static bool knows_types(const struct live *l)
{
	return l->records.schema_text && (l->state.spec || source_knows_types(&l->own));
}

/* Whether it is time to open a followed file: it holds something, there was time for as much as
 * types are inferred from, and a compressed one is whole.  1: not yet. */
static int wait_for_content(struct live *l, struct followed *x, struct error *e)
{
	int64_t now = l->follow.now_us, wait_us = 0;
	struct input_facts facts;

	if (input_look_fd(x->fd, x->name, &facts, e) < 0)
		return -1;
	x->is_packed = facts.packed;
	x->bytes = facts.bytes;
	if (!facts.bytes)
		return 1;
	if (!x->content_us)
		x->content_us = now;
	if (l->draining || x->is_old)
		return 0;
	if (!knows_types(l))
		wait_us = x->content_us + SAMPLE_US - now;
	if (facts.packed && !x->closed && clock_wall_us() - x->changed_us < SETTLE_US)
		wait_us = x->content_us + SETTLE_US - now;
	if (wait_us > 0)
		x->due_us = now + wait_us;
	return wait_us > 0;
}

static bool is_connection(const struct live *l, const struct followed *x)
{
	return x->is_stream && l->follow.inputs[x->input].kind == FOLLOW_SOCKET;
}

/* A connection is never waited for, neither for its first record nor for the end of one: others would
 * wait, too.  As open_records. */
static int open_connection(struct live *l, struct followed *x, struct error *e)
{
	struct records_options o = l->records;
	int64_t now = l->follow.now_us;
	int status;

	if (!x->content_us)
		x->content_us = now;
	x->source = (struct records_source){.fd = x->fd, .is_live = true,
		.settles = l->draining || knows_types(l) || now >= x->content_us + SAMPLE_US};
	o.inputs = (const char *const *)&x->name;
	o.inputs_len = 1;
	o.source = &x->source;
	status = x->opening ? records_open_on(x->opening, &o, e) : records_open(&o, &x->opening, e);
	if (status == 1 && !x->source.settles)
		x->due_us = x->content_us + SAMPLE_US;
	if (status)
		return status;
	x->records = x->opening;
	x->opening = NULL;
	x->range.input = 0;
	follow_opened(&l->follow, x);
	return settle_schema(l, x, e);
}

/* 0; 1: there is nothing to be opened by now; 2: nor will there be. */
static int open_records(struct live *l, struct followed *x, struct error *e)
{
	struct records_options o = l->records;
	bool is_new = x->range.start == 0 && x->range.entry == 0;
	int status = follow_open(&l->follow, x, e);

	if (status)
		return status < 0 ? -1 : 1;
	if (is_connection(l, x))
		return open_connection(l, x, e);
	x->source = (struct records_source){.fd = x->fd};
	if (x->is_stream && !is_stream_ready(x))
		return 1;
	if (l->own.follows && !x->is_stream && (status = wait_for_content(l, x, e))) {
		bool never = status == 1 && !x->bytes && l->draining;

		return never ? 2 : status;
	}
	x->source.grows = l->own.follows && !x->is_stream && !x->is_packed && !x->is_old &&
			  (!l->draining || l->has_batch);
	o.inputs = (const char *const *)&x->name;
	o.inputs_len = 1;
	o.source = &x->source;
	status = records_open(&o, &x->records, e);
	if (status)
		return status;
	x->range.input = 0;
	follow_opened(&l->follow, x);
	if (settle_schema(l, x, e) < 0 ||
		(!is_new && records_read(x->records, &x->range, 1, e) < 0))
		return -1;
	if (l->draining && !x->is_stream && !x->is_packed)
		records_finish(x->records, x->bytes);
	return 0;
}

/* ---- reading ---- */

static void put_now(struct live *l, uint32_t rows)
{
	int64_t now = clock_wall_us();

	if (now > l->now_us)
		l->now_us = now;
	for (uint32_t i = 0; i < rows; i++)
		builder_put_int(&l->batch.columns[l->now_column], l->now_us);
}

/* Up to rows_max rows of one file.  0; 1: it is over; 2: it has no more by now. */
static int read_rows(struct live *l, struct followed *x, uint32_t rows_max, struct error *e)
{
	uint32_t before = l->batch.columns[0].rows, rows = 0;
	int status = 0;

	while (!status && rows < rows_max) {
		status = records_next(x->records, false, rows_max - rows, &l->batch, e);
		rows = l->batch.columns[0].rows - before;
	}
	if (status < 0 || !rows)
		return status;
	if (l->now_column >= 0)
		put_now(l, rows);
	if (l->clockwork.time_column >= 0)
		x->partition->greatest_us = clockwork_greatest(&l->clockwork,
			batch_builder_view(&l->batch), before, rows, x->partition->greatest_us);
	x->partition->active_us = l->follow.now_us;
	return status;
}

static int end_file(struct live *l, struct followed *x, struct error *e)
{
	if (l->sockets && sockets_ended(l->sockets, x, e) < 0)
		return -1;
	if (x->records && records_left_part(x->records))
		stage_warn(l->base.stage, "%s ends in the middle of a record, which is left out",
			x->name);
	if (x->records)
		l->bytes += records_bytes(x->records);
	return follow_end(&l->follow, x, e);
}

/* One partition's turn. */
static int take_turn(struct live *l, struct followed *x, uint32_t rows_max, struct error *e)
{
	int status = x->records ? 0 : open_records(l, x, e);

	if (status < 0)
		return l->sockets ? end_file(l, x, e) : -1;
	if (status) {
		x->dirty = false;
		if (status == 2 || (!x->bytes && !x->is_stream && follow_rest(&l->follow, x)))
			return end_file(l, x, e);
		return 0;
	}
	if (x->is_cut)
		records_finish(x->records, 0);
	status = read_rows(l, x, rows_max, e);
	if (status < 0)
		return l->sockets ? end_file(l, x, e) : -1;
	if (status == 1)
		return end_file(l, x, e);
	if (status == 2 && follow_rest(&l->follow, x)) {
		records_finish(x->records, 0);
		x->dirty = true;
	}
	return 0;
}

/* Rows of whoever's turn it is, until the batch is full, a watermark or the limit is reached, it
 * has taken its time, or nothing has anything more.  1: at the limit, 2: nothing more by now. */
static int fill(struct live *l, struct error *e)
{
	uint32_t rows_max = clockwork_rows_max(&l->clockwork), rows = 0;
	uint32_t turn = l->timeline.len > 1 ? TURN_ROWS : BATCH_ROWS;

	while (rows < rows_max && !(l->has_batch && batch_builder_is_full(&l->batch))) {
		struct followed *x = follow_next(&l->follow);
		uint32_t left = rows_max - rows;

		if (!x)
			return 2;
		if (take_turn(l, x, left < turn ? left : turn, e) < 0)
			return -1;
		rows = l->has_batch ? l->batch.columns[0].rows : 0;
		if (clock_mono_us() - l->follow.now_us >= SOURCE_FLUSH_US)
			break;
	}
	return rows_max ? 0 : 1;
}

/* ---- time ---- */

static bool places_watermarks(const struct live *l)
{
	return l->own.has_delay && l->own.time_column;
}

/* Who has something that wasn't read is not silent, however long that took. */
static void wake_partitions(struct live *l)
{
	for (size_t i = 0; i < l->follow.files_len; i++) {
		const struct followed *x = l->follow.files[i];

		if (x->dirty && x->partition)
			x->partition->active_us = l->follow.now_us;
	}
}

/* The watermark, if it has moved. */
static int place_watermark(struct live *l, struct error *e)
{
	struct stage *st = l->base.stage;
	bool is_idle = false;
	int64_t us;

	if (!places_watermarks(l))
		return 0;
	if (l->own.time_is_now) {
		us = l->now_us == WATERMARK_NONE ? WATERMARK_NONE : l->now_us - l->own.delay_us - 1;
	} else {
		wake_partitions(l);
		us = timeline_watermark(&l->timeline, l->follow.now_us, &is_idle);
	}
	if (us > l->watermark_us) {
		if (stage_emit_watermark(st, us, e) < 0)
			return -1;
		l->watermark_us = us;
		l->is_idle = false;
	}
	if (is_idle == l->is_idle)
		return 0;
	l->is_idle = is_idle;
	return stage_emit_idle(st, is_idle, e);
}

static int tick(struct live *l, struct error *e)
{
	int64_t before = l->clockwork.ticked_us;

	if (l->own.has_ahead)
		l->latest_us = clock_wall_us() + l->own.ahead_us;
	if (clockwork_tick(&l->clockwork, l->base.stage, e) < 0)
		return -1;
	if (l->own.time_is_now && l->clockwork.ticked_us > l->now_us)
		l->now_us = l->clockwork.ticked_us;
	return l->clockwork.ticked_us == before || !l->is_timed ? 0 : place_watermark(l, e);
}

static int64_t lesser(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Waits for more, until the next moment something is due. */
static enum produce_status wait_for_more(struct live *l)
{
	int64_t now = clock_mono_us(), us = clockwork_until_tick(&l->clockwork);

	us = lesser(us, follow_wait_us(&l->follow, now));
	if (l->sockets)
		us = lesser(us, sockets_wait_us(l->sockets, now));
	if (l->is_timed)
		us = lesser(us, timeline_until_idle(&l->timeline, now));
	l->base.wait_fd = follow_fd(&l->follow);
	l->base.wait_us = us < 0 ? 0 : us;
	return PRODUCE_WAIT;
}

/* What has been read goes out at once. */
static enum produce_status flush(struct live *l, int64_t wait_us)
{
	l->base.wait_fd = -1;
	l->base.wait_us = wait_us;
	return PRODUCE_WAIT;
}

/* ---- the end ---- */

/* No further than what is there now. */
static void begin_drain(struct live *l)
{
	l->is_drained = true;
	l->drain_us = l->follow.now_us;
	if (l->sockets)
		sockets_drain(l->sockets);
	for (size_t i = 0; i < l->follow.files_len; i++) {
		struct followed *x = l->follow.files[i];
		struct stat st;

		if (x->over || x->is_stream)
			continue;
		x->is_old |= x->replaced;
		x->dirty = true;
		if (x->records && x->fd >= 0 && !x->is_packed && fstat(x->fd, &st) == 0)
			records_finish(x->records, (uint64_t)st.st_size + !st.st_size);
	}
}

/* Streams' last lines; true: there are some. */
static bool finish_streams(struct live *l)
{
	bool any = false;

	for (size_t i = 0; i < l->follow.files_len; i++) {
		struct followed *x = l->follow.files[i];

		struct records *r = x->records ? x->records : x->opening;

		if (x->over || !x->is_stream || !r || !records_holds_part(r))
			continue;
		if (is_connection(l, x)) { /* whose peer may have written half of it */
			if (!x->is_drained)
				stage_warn(l->base.stage, "%s has sent the start of a record, which is "
					"left out", x->name);
			x->is_drained = true;
			continue;
		}
		records_finish(r, 0);
		any = x->dirty = true;
	}
	return any;
}

static enum produce_status end(struct live *l, struct error *e)
{
	progress_show(&l->progress, l->clockwork.rows, l->bytes, true);
	return bad_records_commit(&l->bad, e) < 0 ? PRODUCE_ERROR : PRODUCE_END;
}

static bool is_over(struct live *l, int status)
{
	if (status == 1 || follow_is_over(&l->follow))
		return true;
	if (!l->draining)
		return false;
	if (status == 2 || l->follow.now_us - l->drain_us > DRAIN_US)
		return !finish_streams(l);
	return false;
}

/* ---- the operator ---- */

static int prepare(struct live *l, struct error *e)
{
	int64_t now = clock_mono_us();

	if (live_start(l, now, e) < 0 || tick(l, e) < 0)
		return -1;
	if (l->draining && !l->is_drained)
		follow_look(&l->follow);
	if (follow_collect(&l->follow, now, e) < 0)
		return -1;
	if (l->sockets && sockets_turn(l->sockets, e) < 0)
		return -1;
	if (l->draining && !l->is_drained)
		begin_drain(l);
	return l->sockets && !l->own.supervised ? sockets_tidy(l->sockets, e) : 0;
}

/* After what fill found. */
static enum produce_status go_on(struct live *l, int status, struct error *e)
{
	bool is_due = clock_mono_us() - l->flushed_us >= SOURCE_FLUSH_US;
	bool is_marked = l->clockwork.rows % SOURCE_WATERMARK_ROWS == 0;

	if ((l->is_timed ? status == 2 || is_due || is_marked : is_marked && l->clockwork.rows) &&
		place_watermark(l, e) < 0)
		return PRODUCE_ERROR;
	if (is_over(l, status))
		return end(l, e);
	if (status != 2 && !is_due)
		return PRODUCE_MORE;
	l->flushed_us = clock_mono_us();
	return status == 2 ? wait_for_more(l) : flush(l, 0);
}

static enum produce_status live_produce(struct operator* op, struct error *e)
{
	struct live *l = live_of(op);
	int64_t wait_us;
	int status;

	if (prepare(l, e) < 0)
		return PRODUCE_ERROR;
	wait_us = l->draining ? 0 : clockwork_wait_us(&l->clockwork);
	if (!wait_us && l->is_timed && l->clockwork.rows > l->flushed_rows &&
		l->clockwork.rows - l->flushed_rows < PACE_ROWS)
		wait_us = l->flushed_us + PACE_US - l->follow.now_us;
	if (wait_us > 0)
		return flush(l, wait_us);
	l->flushed_rows = l->clockwork.rows;
	status = fill(l, e);
	if (status < 0)
		return PRODUCE_ERROR;
	if (l->has_batch) {
		if (clockwork_send(&l->clockwork, op->stage, batch_builder_view(&l->batch), e) < 0)
			return PRODUCE_ERROR;
		batch_builder_reset(&l->batch);
	}
	progress_show(&l->progress, l->clockwork.rows, l->bytes, false);
	return go_on(l, status, e);
}

static void live_drain(struct operator* op)
{
	live_of(op)->draining = true;
}

/* ---- snapshots ---- */

static int live_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct live *l = live_of(op);
	const struct records_options *o = &l->own.records;
	struct live_state now;

	/* --from end: from now on. */
	if (live_start(l, clock_mono_us(), e) < 0)
		return -1;
	now = l->state;
	now.rows = l->clockwork.rows;
	now.now_us = l->own.time_is_now ? l->now_us : WATERMARK_NONE;
	if (live_state_put(&now, w, e) < 0 || inputs_put(o->inputs, o->inputs_len, w, e) < 0)
		return -1;
	return followed_put(&l->follow, clock_mono_us(), w, e);
}

static int live_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	struct live *l = live_of(op);
	const struct records_options *o = &l->own.records;
	const struct batch *b;
	size_t known = 0;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		const char *section = b->schema->name ? b->schema->name : "";
		int taken = !strcmp(section, "inputs")
				    ? inputs_check(b, o->inputs, o->inputs_len, &known, e)
			    : !strcmp(section, "followed")
				    ? followed_take(&l->follow, o->inputs_len, b, e)
			    : source_check_section(b, "live", e) < 0
				    ? -1
				    : live_state_take(&l->state, b, e);

		if (taken < 0)
			return -1;
	}
	l->is_restored = true;
	l->follow.is_restored = true;
	return status < 0 ? -1 : inputs_check_known(o->inputs, o->inputs_len, known, e);
}

static void live_free(struct operator* op)
{
	struct live *l = live_of(op);

	sockets_close(l->sockets);
	follow_clear(&l->follow);
	timeline_clear(&l->timeline);
	live_state_clear(&l->state);
	bad_records_clear(&l->bad);
	if (l->has_batch)
		batch_builder_clear(&l->batch);
	schema_clear(&l->schema);
	mem_free(l->first_input);
	mem_free(l);
}

/* ---- what is spooled ---- */

static int live_prepare(struct operator* op, uint64_t epoch, struct buf *handle, struct error *e)
{
	struct live *l = live_of(op);

	if (live_start(l, clock_mono_us(), e) < 0)
		return -1;
	return l->sockets ? sockets_prepare(l->sockets, handle, e) : 0;
}

static int live_commit(struct operator* op, uint64_t epoch, const uint8_t *handle, size_t len,
	struct error *e)
{
	struct live *l = live_of(op);

	if (live_start(l, clock_mono_us(), e) < 0)
		return -1;
	return l->sockets ? sockets_commit(l->sockets, handle, len, e) : 0;
}

static const struct operator_ops live_ops = {
	.type = SOURCE_TYPE,
	.free = live_free,
	.produce = live_produce,
	.drain = live_drain,
	.snapshot = live_snapshot,
	.restore = live_restore,
};

/* ... and lets go of what no checkpoint needs. */
static const struct operator_ops spooled_ops = {
	.type = SOURCE_TYPE,
	.free = live_free,
	.produce = live_produce,
	.drain = live_drain,
	.snapshot = live_snapshot,
	.restore = live_restore,
	.prepare = live_prepare,
	.commit = live_commit,
};

static bool has_stream(const struct records_options *o)
{
	for (size_t i = 0; i < o->inputs_len; i++) {
		struct stat st;

		if (strcmp(o->inputs[i], "-") == 0 ? fstat(STDIN_FILENO, &st) == 0
						   : stat(o->inputs[i], &st) == 0) {
			if (!S_ISREG(st.st_mode))
				return true;
		}
	}
	return false;
}

int source_new_live(const struct source_options *o, struct operator** out, struct error *e)
{
	struct live *l = mem_zero(sizeof *l);

	l->base = (struct operator){.ops = o->sockets.spool ? &spooled_ops : &live_ops,
		.outputs = o->bad_output ? SOURCE_BAD_OUTPUT + 1 : 1,
		.bounded = !o->follows,
		.wait_fd = -1,
		.wait_us = -1};
	l->o = o;
	l->own = *o;
	l->own.has_delay = o->has_delay || o->follows || o->time_is_now;
	l->is_timed = o->follows || o->time_is_now || o->idle_us || has_stream(&o->records);
	l->now_column = -1;
	l->state.now_us = WATERMARK_NONE;
	l->timeline.delay_us = o->delay_us;
	l->timeline.idle_us = o->idle_us;
	schema_init(&l->schema);
	clockwork_init(&l->clockwork, &l->own);
	bad_records_init(&l->bad, o->bad, o->bad_output ? SOURCE_BAD_OUTPUT : 0);
	progress_init(&l->progress, o);
	*out = &l->base;
	return 0;
}
