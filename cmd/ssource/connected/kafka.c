/* Kafka as a source: messages of a topic's partitions, in the order in which they come, with event
 * time per partition.  What was read is told by offsets, and nothing else; see kafka.h. */
#include "cmd/ssource/connected/kafka.h"

#include "cmd/common/bad.h"
#include "cmd/ssource/clockwork.h"
#include "cmd/ssource/progress.h"
#include "formats/messages.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/stage/description.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum {
	TURN_MESSAGES = 1024, /* taken at once: they are parsed in one call, and hold memory */
	SAMPLE_US = 100000,   /* of a live topic's first messages, that types are inferred from */
	SAMPLE_BYTES_MAX = 1 << 30,
	PACE_US = 1000, /* after a flush of few rows nothing is read: see live.c */
	PACE_ROWS = 256,
	LAST_COMMIT_US = 5000000,
	AWAY_WARN_US = 1000000, /* one that is back by then isn't worth a word */
	AWAY_LOOK_US = 500000,  /* librdkafka is asked so often whether it has news */
};

/* Where a column of the stream comes from. */
struct source_column {
	bool is_meta; /* of input.metas; else of the messages' own columns */
	size_t index;
};

struct kafka_source {
	struct operator base;
	const struct source_options *o;
	struct source_options own;
	struct kafka_input in;
	struct clockwork clockwork;
	struct timeline timeline;
	struct progress progress;
	struct bad_records bad;
	struct kafka_state state;
	struct kafka_partitions restored; /* of all subtasks, until it has started */
	struct kafka_partitions parts;    /* this one's */
	struct kafka_reach reach;
	bool is_restored, is_started, is_over, draining;

	/* Messages that were taken and aren't parsed: a sample, then what is left of it. */
	rd_kafka_message_t **held;
	size_t held_len, held_cap, held_at;
	size_t held_bytes;
	uint64_t held_values;
	int64_t held_us; /* when the first value came; 0: none has */

	char *shown; /* "topic bids": for messages */
	struct messages_options options;
	struct messages *messages;
	/* The builder's columns: those of the messages, of each other meta, now.  The stream's are
	 * the same, the metas first, in the order in which they were asked for. */
	struct schema built, schema;
	struct batch_builder batch;
	size_t *order;        /* of each column of the stream: which of the builder's it is */
	struct column *views; /* in the stream's order */
	int now_column;       /* of the builder; -1: none */
	int time_meta;        /* of in.metas: the event time; -1: it isn't there */
	int64_t now_us, latest_us;
	int64_t watermark_us, flushed_us;
	int64_t away_us; /* since when no broker can be reached; 0: some can */
	uint64_t flushed_rows, bytes;
	bool is_idle, is_warned;
	struct buf scratch;

	/* The messages of one turn, those of one partition one after the other. */
	rd_kafka_message_t *turn[TURN_MESSAGES];
	struct message items[TURN_MESSAGES];
	uint32_t rows_of[TURN_MESSAGES];
	rd_kafka_message_t *const *parsing; /* those that messages_parse is called with */
};

static struct kafka_source *source_of(struct operator* op)
{
	return (struct kafka_source *)op;
}

/* ---- what is asked for ---- */

static void put_place(void *context, size_t message, struct buf *out)
{
	const struct kafka_source *s = context;
	const rd_kafka_message_t *m = s->parsing[message];

	buf_printf(out, "%s[%" PRId32 "]@%" PRId64, s->in.target.topic, m->partition, m->offset);
}

static void fill_options(struct kafka_source *s)
{
	const struct records_options *r = &s->o->records;

	s->options = (struct messages_options){.format = r->format,
		.schema_text = r->schema_text,
		.keys = s->in.keys,
		.keys_len = s->in.keys_len,
		.infer_rows = r->infer_rows,
		.required_column = s->own.time_is_now ? NULL : s->own.time_column,
		.latest_us = s->own.has_ahead ? &s->latest_us : NULL,
		.reader = r->reader,
		.put_place = put_place,
		.context = s};
	s->options.reader.input = s->shown;
	if (s->state.spec)
		s->options.schema_text = s->state.spec;
	if (s->state.format)
		s->options.format = s->state.format;
}

static bool maps_rows(const struct kafka_source *s)
{
	return s->in.metas_len > s->in.keys_len;
}

/* ---- columns ---- */

static int find_time_meta(struct kafka_source *s)
{
	for (size_t i = 0; i < s->in.metas_len && s->options.required_column; i++) {
		if (s->in.metas[i].kind == KAFKA_TIMESTAMP &&
			strcmp(s->in.metas[i].name, s->options.required_column) == 0)
			return (int)i;
	}
	return -1;
}

static int add_column(struct kafka_source *s, size_t built, struct error *e)
{
	const struct field *f = &s->built.fields[built];

	if (schema_find(&s->schema, f->name, strlen(f->name)) >= 0)
		return error_set(e, ERROR_USAGE,
			"two columns are called '%s'; say --meta '... as "
			"another', or -s '*, %s as another'",
			f->name, f->name);
	s->order[s->schema.fields_len] = built;
	schema_add_field(&s->schema, f);
	return 0;
}

/* The builder's column of a meta. */
static size_t built_column(const struct kafka_source *s, size_t meta)
{
	const struct schema *own = messages_schema(s->messages);
	size_t at = own->fields_len;

	if (s->in.metas[meta].kind == KAFKA_KEY)
		return (size_t)schema_find(
			own, s->in.metas[meta].name, strlen(s->in.metas[meta].name));
	for (size_t i = 0; i < meta; i++)
		at += s->in.metas[i].kind != KAFKA_KEY;
	return at;
}

static void build_schema(struct kafka_source *s)
{
	schema_copy(&s->built, messages_schema(s->messages));
	for (size_t i = 0; i < s->in.metas_len; i++) {
		const struct kafka_meta_column *c = &s->in.metas[i];

		if (c->kind != KAFKA_KEY)
			schema_add(&s->built, c->name, strlen(c->name), c->type);
	}
	if (s->own.time_is_now)
		s->now_column = schema_add(&s->built, "now", 3, TYPE_OF(TYPE_TIMESTAMP));
}

static int order_columns(struct kafka_source *s, struct error *e)
{
	size_t values = messages_schema(s->messages)->fields_len - s->in.keys_len;

	s->order = mem_alloc(s->built.fields_len * sizeof *s->order);
	s->views = mem_zero(s->built.fields_len * sizeof *s->views);
	s->schema.changelog = s->built.changelog;
	for (size_t i = 0; i < s->in.metas_len; i++) {
		if (add_column(s, built_column(s, i), e) < 0)
			return -1;
	}
	for (size_t i = 0; i < values; i++) {
		if (add_column(s, i, e) < 0)
			return -1;
	}
	return s->now_column < 0 ? 0 : add_column(s, (size_t)s->now_column, e);
}

/* The columns are known: rows may come. */
static int open_messages(
	struct kafka_source *s, const struct message *sample, size_t n, struct error *e)
{
	if (messages_open(&s->options, sample, n, &s->messages, e) < 0)
		return -1;
	build_schema(s);
	if (order_columns(s, e) < 0 || clockwork_set_schema(&s->clockwork, &s->schema, e) < 0 ||
		stage_declare(s->base.stage, 0, &s->schema, e) < 0)
		return -1;
	batch_builder_init(&s->batch, &s->built);
	return 0;
}

/* The rows so far, in the stream's order. */
static struct batch view(struct kafka_source *s)
{
	struct batch b = *batch_builder_view(&s->batch);

	for (size_t i = 0; i < s->schema.fields_len; i++)
		s->views[i] = b.columns[s->order[i]];
	b.schema = &s->schema;
	b.columns = s->views;
	return b;
}

/* ---- starting ---- */

static bool is_mine(const struct kafka_source *s, int32_t number)
{
	return (uint32_t)number % stage_subtasks(s->base.stage) == stage_subtask(s->base.stage);
}

/* What was restored, and what nobody has begun yet. */
static int share(struct kafka_source *s, struct error *e)
{
	for (size_t i = 0; i < s->restored.len; i++) {
		const struct kafka_partition *p = s->restored.items[i];

		if (p->number >= s->parts.count)
			return error_set(e, ERROR_STATE,
				"%s: the topic has %" PRId32 " partitions, "
				"but the state knows a partition %" PRId32,
				s->in.target.shown, s->parts.count, p->number);
		if (is_mine(s, p->number))
			*kafka_partitions_add(&s->parts, p->number) = *p;
	}
	kafka_partitions_clear(&s->restored);
	return 0;
}

static void add_new(struct kafka_source *s)
{
	for (int32_t i = 0; i < s->parts.count; i++) {
		if (is_mine(s, i) && !kafka_partitions_find(&s->parts, i))
			kafka_partitions_add(&s->parts, i);
	}
}

static void add_times(struct kafka_source *s, int64_t mono_us)
{
	for (size_t i = 0; i < s->parts.len; i++) {
		struct kafka_partition *p = s->parts.items[i];

		if (p->time)
			continue;
		p->time = timeline_add(&s->timeline, mono_us - p->silent_us);
		p->time->greatest_us = p->greatest_us;
		p->time->over = kafka_partition_is_over(p);
	}
}

/* Partitions that are there since: from their start. */
static int begin_new(struct kafka_source *s, bool is_new, struct error *e)
{
	if (!s->in.is_bounded || !is_new)
		add_new(s);
	if (kafka_reach_settle(&s->reach, &s->parts, is_new, e) < 0)
		return -1;
	add_times(s, clock_mono_us());
	return kafka_reach_start(&s->reach, &s->parts, e);
}

static int check_state(struct kafka_source *s, struct error *e)
{
	if (!s->is_restored || !s->state.topic || !strcmp(s->state.topic, s->in.target.topic))
		return 0;
	return error_set(e, ERROR_STATE, "the state is that of topic %s, not of %s", s->state.topic,
		s->in.target.topic);
}

static int start(struct kafka_source *s, struct error *e)
{
	bool needs_sample;

	if (s->is_started)
		return 0;
	fill_options(s);
	if (check_state(s, e) < 0 || messages_need_sample(&s->options, &needs_sample, e) < 0 ||
		bad_records_open(&s->bad, s->base.stage, e) < 0)
		return -1;
	s->options.bad = bad_records_sink(&s->bad);
	s->time_meta = find_time_meta(s);
	s->clockwork.subtasks = stage_subtasks(s->base.stage);
	s->clockwork.rows = s->state.rows;
	s->now_us = s->state.now_us;
	if (!needs_sample && open_messages(s, NULL, 0, e) < 0)
		return -1;
	if (!s->reach.client &&
		kafka_reach_open(&s->reach, &s->in, s->base.stage, &s->parts, e) < 0)
		return -1;
	if (share(s, e) < 0 || begin_new(s, s->is_restored && s->state.begun, e) < 0)
		return -1;
	s->is_started = true;
	return 0;
}

static int look_for_new(struct kafka_source *s, struct error *e)
{
	int32_t before = s->parts.count;

	if (s->in.is_bounded)
		return 0;
	if (kafka_reach_look(&s->reach, &s->parts, clock_mono_us(), e) < 0)
		return -1;
	return s->parts.count > before ? begin_new(s, true, e) : 0;
}

/* ---- messages ---- */

static void release(rd_kafka_message_t **messages, size_t n)
{
	for (size_t i = 0; i < n; i++)
		rd_kafka_message_destroy(messages[i]);
}

static void clear_wake(const struct kafka_source *s)
{
	uint64_t count;

	/* Nothing to read is as good. */
	if (read(s->reach.wake_fd, &count, sizeof count) < 0 && errno == EAGAIN)
		return;
}

/* Up to max messages (or words that are no message), without waiting. */
static size_t take_messages(struct kafka_source *s, size_t max)
{
	size_t left = s->held_len - s->held_at, n = left < max ? left : max, bytes = 0;
	ssize_t got;

	if (n) {
		memcpy(s->turn, s->held + s->held_at, n * sizeof *s->turn);
		s->held_at += n;
		return n;
	}
	got = rd_kafka_consume_batch_queue(s->reach.queue, 0, s->turn, max);
	if (got <= 0)
		return 0;
	for (size_t i = 0; i < (size_t)got; i++)
		bytes += s->turn[i]->len + s->turn[i]->key_len;
	kafka_reach_nudge(&s->reach, &s->parts, bytes / (size_t)got);
	return (size_t)got;
}

/* The end of what is there by now. */
static void take_end(struct kafka_source *s, struct kafka_partition *p, int64_t offset)
{
	p->is_at_end = true;
	if (offset > p->next)
		p->next = offset;
	p->time->over = kafka_partition_is_over(p);
}

/* Something that is no message. */
static int take_word(struct kafka_source *s, const rd_kafka_message_t *m, struct error *e)
{
	struct kafka_partition *p = kafka_partitions_find(&s->parts, m->partition);

	if (!p || m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return 0;
	if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		kafka_heard(s->reach.client);
		take_end(s, p, m->offset);
		return 0;
	}
	if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
		m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
		return kafka_reach_fail_range(&s->reach, p, e);
	if (kafka_may_pass(m->err))
		return 0;
	return error_set(e, ERROR_DATA, "%s: %s[%" PRId32 "]: %s", kafka_brokers(s->reach.client),
		s->in.target.topic, m->partition, rd_kafka_message_errstr(m));
}

/* Whether a message counts.  Its time may be the event time, and then has to be one. */
static int check_message(struct kafka_source *s, struct kafka_partition *p,
	rd_kafka_message_t *const *m, struct error *e)
{
	struct bad_record bad = {.line = 1, .record = (*m)->payload, .record_len = (*m)->len};
	rd_kafka_timestamp_type_t kind;
	struct buf place = BUF_INIT;
	int64_t ms;
	int status;

	if (!p || (*m)->offset < p->next)
		return 0;
	if (p->end != OFFSET_UNKNOWN && (*m)->offset >= p->end) {
		take_end(s, p, p->end); /* what stands before the end is no message */
		return 0;
	}
	if (s->time_meta < 0)
		return 1;
	ms = rd_kafka_message_timestamp(*m, &kind);
	if (kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
		bad.reason = "a message without a timestamp";
	else if (s->own.has_ahead && ms > s->latest_us / 1000)
		bad.reason = "its timestamp is further ahead of the clock than --max-ahead allows";
	else
		return 1;
	s->parsing = m;
	put_place(s, 0, &place);
	bad.input = buf_cstr(&place);
	status = s->options.bad.take ? s->options.bad.take(s->options.bad.context, &bad, e)
				     : error_set(e, ERROR_DATA, "%s: %s", bad.input, bad.reason);
	buf_clear(&place);
	return status;
}

static void put_metas(struct kafka_source *s, rd_kafka_message_t *const *messages, size_t n)
{
	for (size_t c = 0; c < s->in.metas_len; c++) {
		struct column_builder *out;

		if (s->in.metas[c].kind == KAFKA_KEY)
			continue;
		out = &s->batch.columns[built_column(s, c)];
		for (size_t i = 0; i < n; i++) {
			for (uint32_t row = 0; row < s->rows_of[i]; row++)
				kafka_meta_put(&s->in.metas[c], messages[i], &s->scratch, out);
		}
	}
}

static void put_now(struct kafka_source *s, uint32_t rows)
{
	int64_t now = clock_wall_us();

	if (now > s->now_us)
		s->now_us = now;
	for (uint32_t i = 0; i < rows; i++)
		builder_put_int(&s->batch.columns[s->now_column], s->now_us);
}

/* Messages of one partition, that all count, to rows. */
static int take_run(struct kafka_source *s, struct kafka_partition *p,
	rd_kafka_message_t *const *messages, size_t n, struct error *e)
{
	uint32_t before = s->batch.columns[0].rows, rows;

	for (size_t i = 0; i < n; i++) {
		const rd_kafka_message_t *m = messages[i];

		/* Of an empty value librdkafka gives an address, of none it gives NULL. */
		s->items[i] = (struct message){m->payload, m->len, m->key, m->key_len};
		s->bytes += m->len + m->key_len;
	}
	s->parsing = messages;
	if (messages_parse(
		    s->messages, s->items, n, &s->batch, maps_rows(s) ? s->rows_of : NULL, e) < 0)
		return -1;
	if (maps_rows(s))
		put_metas(s, messages, n);
	rows = s->batch.columns[0].rows - before;
	if (s->now_column >= 0)
		put_now(s, rows);
	kafka_heard(s->reach.client);
	p->next = messages[n - 1]->offset + 1;
	p->is_at_end = false;
	p->time->active_us = clock_mono_us();
	p->time->over = kafka_partition_is_over(p);
	if (rows && s->clockwork.time_column >= 0) {
		struct batch b = view(s);

		p->time->greatest_us = clockwork_greatest(
			&s->clockwork, &b, before, rows, p->time->greatest_us);
	}
	return 0;
}

/* More rows than the limit allows may have come of one message. */
static int emit(struct kafka_source *s, struct error *e)
{
	struct batch all = view(s), part = all;
	struct arena arena = ARENA_INIT;
	uint64_t left = s->own.limit < 0 ? UINT64_MAX : (uint64_t)s->own.limit - s->clockwork.rows;
	int status = 0;

	if (all.rows > left)
		batch_slice(&all, 0, (uint32_t)left, &arena, &part);
	if (part.rows && left)
		status = clockwork_send(&s->clockwork, s->base.stage, &part, e);
	arena_clear(&arena);
	batch_builder_reset(&s->batch);
	progress_show(&s->progress, s->clockwork.rows, s->bytes, false);
	return status;
}

/* What was taken: runs of messages of one partition, and words in between. */
static int take_turn(struct kafka_source *s, size_t n, struct error *e)
{
	for (size_t i = 0; i < n;) {
		struct kafka_partition *p = kafka_partitions_find(&s->parts, s->turn[i]->partition);
		size_t first = i, bytes = 0;
		int counts = 1;

		if (s->turn[i]->err) {
			if (take_word(s, s->turn[i++], e) < 0)
				return -1;
			continue;
		}
		while (i < n && bytes < BATCH_BYTES && !s->turn[i]->err && p &&
			s->turn[i]->partition == p->number &&
			(counts = check_message(s, p, &s->turn[i], e)) > 0)
			bytes += s->turn[i++]->len;
		if (counts < 0 || (i > first && take_run(s, p, &s->turn[first], i - first, e) < 0))
			return -1;
		if (i == first || counts == 0)
			i++; /* one that doesn't count */
		if (batch_builder_is_full(&s->batch) && emit(s, e) < 0)
			return -1;
	}
	return 0;
}

/* Rows for one batch.  0; 1: at the limit; 2: nothing more by now. */
static int fill(struct kafka_source *s, struct error *e)
{
	uint32_t rows_max = clockwork_rows_max(&s->clockwork);
	int64_t from_us = clock_mono_us();

	if (!rows_max)
		return 1;
	clear_wake(s);
	while (s->batch.columns[0].rows < rows_max && !batch_builder_is_full(&s->batch)) {
		uint32_t left = rows_max - s->batch.columns[0].rows;
		size_t n = take_messages(s, left < TURN_MESSAGES ? left : TURN_MESSAGES);
		int status;

		if (!n)
			return 2;
		status = take_turn(s, n, e);
		release(s->turn, n);
		if (status < 0)
			return -1;
		if (clock_mono_us() - from_us >= SOURCE_FLUSH_US)
			break;
	}
	return 0;
}

/* ---- the sample ---- */

static bool is_all_at_end(const struct kafka_source *s)
{
	for (size_t i = 0; i < s->parts.len; i++) {
		const struct kafka_partition *p = s->parts.items[i];

		if (!kafka_partition_is_over(p) && !p->is_at_end)
			return false;
	}
	return true;
}

static int hold(struct kafka_source *s, rd_kafka_message_t *m, struct error *e)
{
	struct kafka_partition *p = kafka_partitions_find(&s->parts, m->partition);

	MEM_GROW(s->held, s->held_cap, s->held_len + 1);
	s->held[s->held_len++] = m;
	if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return take_word(s, m, e);
	if (p)
		p->is_at_end = m->err != 0 || (p->end != OFFSET_UNKNOWN && m->offset + 1 >= p->end);
	if (m->err || !m->payload || !m->len)
		return 0;
	s->held_values++;
	s->held_bytes += m->len;
	if (!s->held_us)
		s->held_us = clock_mono_us();
	return 0;
}

static bool is_sample_whole(const struct kafka_source *s)
{
	uint32_t rows_max = s->o->records.infer_rows ? s->o->records.infer_rows
						     : MESSAGES_SAMPLE_ROWS;
	size_t bytes_max = s->o->records.infer_rows ? SAMPLE_BYTES_MAX : MESSAGES_SAMPLE_BYTES;

	if (s->held_values >= rows_max || s->held_bytes >= bytes_max || is_all_at_end(s))
		return s->held_us != 0;
	return s->held_us && !s->in.is_bounded && clock_mono_us() - s->held_us >= SAMPLE_US;
}

static int infer(struct kafka_source *s, struct error *e)
{
	struct message *sample = mem_alloc(s->held_len * sizeof *sample);
	size_t n = 0;
	int status;

	for (size_t i = 0; i < s->held_len; i++) {
		const rd_kafka_message_t *m = s->held[i];

		if (!m->err)
			sample[n++] = (struct message){m->payload, m->len, m->key, m->key_len};
	}
	status = open_messages(s, sample, n, e);
	mem_free(sample);
	for (size_t i = 0; i < s->parts.len; i++)
		s->parts.items[i]->is_at_end = false; /* what is held will tell again */
	return status;
}

/* 0: the columns are known; 1: not yet; 2: nor will they be. */
static int gather_sample(struct kafka_source *s, struct error *e)
{
	size_t n;

	if (s->messages)
		return 0;
	clear_wake(s);
	while (!is_sample_whole(s) && (n = take_messages(s, TURN_MESSAGES))) {
		for (size_t i = 0; i < n; i++) {
			if (hold(s, s->turn[i], e) < 0) {
				release(s->turn + i + 1, n - i - 1);
				return -1;
			}
		}
		s->held_at = s->held_len;
	}
	if (is_sample_whole(s)) {
		s->held_at = 0;
		return infer(s, e);
	}
	return s->in.is_bounded && is_all_at_end(s) ? 2 : 1;
}

/* ---- time ---- */

static bool places_watermarks(const struct kafka_source *s)
{
	return s->own.has_delay && s->own.time_column;
}

/* Who has something that wasn't read isn't silent, nor who can't be reached. */
static void wake_partitions(struct kafka_source *s, int64_t mono_us)
{
	for (size_t i = 0; i < s->parts.len; i++) {
		struct kafka_partition *p = s->parts.items[i];

		if (!p->is_at_end || kafka_is_away(s->reach.client))
			p->time->active_us = mono_us;
	}
}

static int place_watermark(struct kafka_source *s, struct error *e)
{
	struct stage *st = s->base.stage;
	int64_t mono_us = clock_mono_us(), us;
	bool is_idle = false;

	if (!places_watermarks(s) || !s->messages)
		return 0;
	if (s->own.time_is_now) {
		us = s->now_us == WATERMARK_NONE ? WATERMARK_NONE : s->now_us - s->own.delay_us - 1;
	} else {
		wake_partitions(s, mono_us);
		us = timeline_watermark(&s->timeline, mono_us, &is_idle);
	}
	if (us > s->watermark_us) {
		if (stage_emit_watermark(st, us, e) < 0)
			return -1;
		s->watermark_us = us;
		s->is_idle = false;
	}
	if (is_idle == s->is_idle)
		return 0;
	s->is_idle = is_idle;
	return stage_emit_idle(st, is_idle, e);
}

static int tick(struct kafka_source *s, struct error *e)
{
	int64_t before = s->clockwork.ticked_us;

	if (s->own.has_ahead)
		s->latest_us = clock_wall_us() + s->own.ahead_us;
	if (clockwork_tick(&s->clockwork, s->base.stage, e) < 0)
		return -1;
	if (s->own.time_is_now && s->clockwork.ticked_us > s->now_us)
		s->now_us = s->clockwork.ticked_us;
	return s->clockwork.ticked_us == before ? 0 : place_watermark(s, e);
}

static int64_t lesser(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static enum produce_status wait_for_more(struct kafka_source *s)
{
	int64_t mono_us = clock_mono_us(), us = clockwork_until_tick(&s->clockwork);

	us = lesser(us, timeline_until_idle(&s->timeline, mono_us));
	us = lesser(us, AWAY_LOOK_US);
	if (s->held_us && !s->messages)
		us = lesser(us, s->held_us + SAMPLE_US - mono_us);
	s->base.wait_fd = s->reach.wake_fd;
	s->base.wait_us = us < 0 ? 0 : us;
	return PRODUCE_WAIT;
}

static enum produce_status pause_for(struct kafka_source *s, int64_t us)
{
	s->base.wait_fd = -1;
	s->base.wait_us = us;
	return PRODUCE_WAIT;
}

/* ---- the operator ---- */

static int hear(struct kafka_source *s, struct error *e)
{
	if (kafka_poll(s->reach.client, e) < 0)
		return -1;
	if (!kafka_is_away(s->reach.client)) {
		s->is_warned = false;
		s->away_us = 0;
	} else if (!s->away_us) {
		s->away_us = clock_mono_us();
	} else if (!s->is_warned && clock_mono_us() - s->away_us >= AWAY_WARN_US) {
		stage_warn(s->base.stage, "%s: no broker can be reached (%s); trying on",
			kafka_brokers(s->reach.client), kafka_trouble(s->reach.client));
		s->is_warned = true;
	}
	return look_for_new(s, e);
}

static enum produce_status end(struct kafka_source *s, struct error *e)
{
	s->is_over = true;
	if (!s->messages && s->in.is_bounded)
		stage_warn(
			s->base.stage, "%s: no message to take columns from", s->in.target.shown);
	progress_show(&s->progress, s->clockwork.rows, s->bytes, true);
	return bad_records_commit(&s->bad, e) < 0 ? PRODUCE_ERROR : PRODUCE_END;
}

static bool is_complete(const struct kafka_source *s)
{
	for (size_t i = 0; i < s->parts.len; i++) {
		if (!kafka_partition_is_over(s->parts.items[i]))
			return false;
	}
	return s->in.is_bounded;
}

/* After what fill found. */
static enum produce_status go_on(struct kafka_source *s, int status, struct error *e)
{
	bool is_due = clock_mono_us() - s->flushed_us >= SOURCE_FLUSH_US;

	if ((status || is_due) && place_watermark(s, e) < 0)
		return PRODUCE_ERROR;
	if (status == 1 || is_complete(s))
		return end(s, e);
	if (status != 2 && !is_due)
		return PRODUCE_MORE;
	s->flushed_us = clock_mono_us();
	return status == 2 ? wait_for_more(s) : pause_for(s, 0);
}

static int64_t pace_us(struct kafka_source *s)
{
	int64_t us = clockwork_wait_us(&s->clockwork);

	if (!us && s->clockwork.rows > s->flushed_rows &&
		s->clockwork.rows - s->flushed_rows < PACE_ROWS)
		us = s->flushed_us + PACE_US - clock_mono_us();
	return us;
}

static enum produce_status kafka_produce(struct operator* op, struct error *e)
{
	struct kafka_source *s = source_of(op);
	int64_t wait_us;
	int status;

	if (s->is_over)
		return PRODUCE_END;
	if (s->draining)
		return end(s, e);
	if (start(s, e) < 0 || tick(s, e) < 0 || hear(s, e) < 0)
		return PRODUCE_ERROR;
	status = gather_sample(s, e);
	if (status)
		return status < 0 ? PRODUCE_ERROR : status == 2 ? end(s, e) : wait_for_more(s);
	wait_us = pace_us(s);
	if (wait_us > 0)
		return pause_for(s, wait_us);
	s->flushed_rows = s->clockwork.rows;
	status = fill(s, e);
	if (status < 0 || emit(s, e) < 0)
		return PRODUCE_ERROR;
	return go_on(s, status, e);
}

static void kafka_drain(struct operator* op)
{
	source_of(op)->draining = true;
}

/* ---- snapshots ---- */

static int kafka_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct kafka_source *s = source_of(op);
	const struct kafka_partitions *parts = s->is_started ? &s->parts : &s->restored;
	struct kafka_state now = s->state;
	struct buf spec = BUF_INIT;
	int status;

	now.topic = (char *)(uintptr_t)s->in.target.topic;
	now.begun = s->is_started || s->state.begun;
	if (s->is_started)
		now.rows = s->clockwork.rows;
	now.now_us = s->own.time_is_now ? s->now_us : WATERMARK_NONE;
	if (s->messages) {
		messages_put_spec(s->messages, &spec);
		now.spec = (char *)(uintptr_t)buf_cstr(&spec);
		now.format = (char *)(uintptr_t)messages_format(s->messages);
	}
	status = kafka_state_put(&now, w, e);
	if (status == 0)
		status = kafka_partitions_put(parts, clock_mono_us(), w, e);
	buf_clear(&spec);
	return status;
}

static int kafka_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	struct kafka_source *s = source_of(op);
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		bool is_partitions = b->schema->name && !strcmp(b->schema->name, "partitions");

		if (is_partitions ? kafka_partitions_take(&s->restored, b, e) < 0
				  : source_check_section(b, "kafka", e) < 0 ||
					    kafka_state_take(&s->state, b, e) < 0)
			return -1;
	}
	s->is_restored = true;
	return status < 0 ? -1 : 0;
}

/* ---- a group's offsets ---- */

static int kafka_prepare(struct operator* op, uint64_t epoch, struct buf *handle, struct error *e)
{
	kafka_handle_put(&source_of(op)->parts, handle);
	return 0;
}

/* An epoch of an earlier attempt may come before this one has started. */
static int kafka_commit(
	struct operator* op, uint64_t epoch, const uint8_t *handle, size_t len, struct error *e)
{
	struct kafka_source *s = source_of(op);
	bool waits = s->is_over || !s->is_started;

	if (!len)
		return 0;
	if (!s->reach.client &&
		kafka_reach_open(&s->reach, &s->in, s->base.stage, &s->parts, e) < 0)
		return -1;
	return kafka_handle_commit(
		&s->reach, handle, len, waits ? LAST_COMMIT_US : 0, op->stage, e);
}

static void kafka_free(struct operator* op)
{
	struct kafka_source *s = source_of(op);

	if (!s->messages)
		s->held_at = 0; /* nothing of the sample was handed on */
	release(s->held + s->held_at, s->held_len - s->held_at);
	mem_free(s->held);
	kafka_reach_close(&s->reach, &s->parts);
	messages_close(s->messages);
	if (s->built.fields_len)
		batch_builder_clear(&s->batch);
	schema_clear(&s->built);
	schema_clear(&s->schema);
	mem_free(s->order);
	mem_free(s->views);
	bad_records_clear(&s->bad);
	timeline_clear(&s->timeline);
	kafka_partitions_clear(&s->parts);
	kafka_partitions_clear(&s->restored);
	kafka_state_clear(&s->state);
	kafka_input_clear(&s->in);
	buf_clear(&s->scratch);
	mem_free(s->shown);
	mem_free(s);
}

static const struct operator_ops kafka_ops = {
	.type = SOURCE_TYPE,
	.free = kafka_free,
	.produce = kafka_produce,
	.drain = kafka_drain,
	.snapshot = kafka_snapshot,
	.restore = kafka_restore,
};

/* With a group, whose offsets follow the checkpoints. */
static const struct operator_ops kafka_group_ops = {
	.type = SOURCE_TYPE,
	.free = kafka_free,
	.produce = kafka_produce,
	.drain = kafka_drain,
	.snapshot = kafka_snapshot,
	.restore = kafka_restore,
	.prepare = kafka_prepare,
	.commit = kafka_commit,
};

static bool knows_columns(const struct source_options *o)
{
	const char *format = o->records.format ? o->records.format : "";

	return source_knows_types(o) || strcmp(format, "lines") == 0 ||
	       (strcmp(format, "avro") == 0 && o->records.reader.avro_schema);
}

static void describe(const struct source_options *o, const struct kafka_input *in,
	struct stage_description *about)
{
	static struct buf guarantee; /* lives as long as the process */
	bool can_spread = o->limit < 0 && knows_columns(o);

	buf_reset(&guarantee);
	buf_printf(&guarantee, "%s: goes back to an offset of each partition", in->target.shown);
	buf_put_text(&guarantee, in->is_committed ? "; committed messages only"
						  : "; messages of open transactions, too");
	if (in->group)
		buf_printf(&guarantee, "; group %s is told what checkpoints hold", in->group);
	if (!can_spread && o->limit < 0)
		buf_put_text(&guarantee, "; one subtask: types are inferred");
	about->guarantee = buf_cstr(&guarantee);
	about->spread = can_spread ? STAGE_ANY : STAGE_SINGLE;
	if (o->bad_output)
		about->sides[SOURCE_BAD_OUTPUT - 1] = (struct stage_side){o->bad, "ndjson"};
}

int source_new_kafka(const struct source_options *o, const char *url,
	struct stage_description *about, struct operator** out, struct error *e)
{
	struct kafka_source *s = mem_zero(sizeof *s);

	if (kafka_input_parse(o, url, &s->in, e) < 0) {
		mem_free(s);
		return -1;
	}
	if (kafka_input_check(&s->in, e) < 0) {
		kafka_input_clear(&s->in);
		mem_free(s);
		return -1;
	}
	s->base = (struct operator){.ops = s->in.group ? &kafka_group_ops : &kafka_ops,
		.outputs = o->bad_output ? SOURCE_BAD_OUTPUT + 1 : 1,
		.bounded = s->in.is_bounded,
		.in_place = true,
		.wait_fd = -1,
		.wait_us = -1};
	s->o = o;
	s->own = *o;
	s->own.has_delay = o->has_delay || !s->in.is_bounded || o->time_is_now;
	s->shown = mem_printf("topic %s", s->in.target.topic);
	s->state.now_us = s->now_us = s->watermark_us = WATERMARK_NONE;
	s->now_column = s->time_meta = -1;
	s->reach.wake_fd = -1;
	s->timeline.delay_us = o->delay_us;
	s->timeline.idle_us = o->idle_us;
	schema_init(&s->schema);
	schema_init(&s->built);
	clockwork_init(&s->clockwork, &s->own);
	bad_records_init(&s->bad, o->bad, o->bad_output ? SOURCE_BAD_OUTPUT : 0);
	progress_init(&s->progress, o);
	describe(o, &s->in, about);
	*out = &s->base;
	return 0;
}
