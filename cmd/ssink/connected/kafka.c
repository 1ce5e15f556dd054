/* The sink of Kafka: rows as messages of a topic.
 *
 * Alone they are sent as they come, by an idempotent producer.  Under a supervisor they are sent in
 * transactions, each with its epoch's number; see kafka_sink.h. */
#include "cmd/ssink/connected/kafka_sink.h"
#include "cmd/ssink/sinks.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"
#include "libcore/state/named_section.h"

#include <string.h>

static struct kafka_sink *sink_of(struct operator* op)
{
	return (struct kafka_sink *)op;
}

static void sink_free(struct operator* op)
{
	struct kafka_sink *s = sink_of(op);

	for (size_t i = 0; i < s->producers_len; i++)
		producer_close(s->producers[i]);
	mem_free(s->producers);
	epoch_files_free(s->files);
	kafka_messages_free(s->messages);
	kafka_epochs_clear(&s->committed);
	kafka_epochs_clear(&s->restored);
	for (size_t i = 0; i < KAFKA_HEADERS_MAX; i++)
		buf_clear(&s->header_text[i]);
	schema_clear(&s->schema);
	if (s->target.shown)
		kafka_target_clear(&s->target);
	mem_free(s->epochs_topic);
	mem_free(s->subject);
	mem_free(s->guarantee);
	mem_free(s);
}

/* ---- rows ---- */

/* The stage is known with the first call. */
static void open_files(struct kafka_sink *s)
{
	struct epoch_files_options o = {.room = s->o.spool, .word = "kafka", .stage = s->op.stage};

	if (s->o.supervised && !s->files)
		s->files = epoch_files_new(&o);
}

static int check_changelog(struct kafka_sink *s, const struct schema *in, struct error *e)
{
	const char *format = s->o.format ? s->o.format : "ndjson";

	if (!in->changelog || s->o.upsert || strcmp(format, "ndjson") == 0 ||
		strcmp(format, "debezium-json") == 0 || strcmp(format, "csv") == 0 ||
		strcmp(format, "tsv") == 0)
		return 0;
	error_set(e, ERROR_USAGE,
		"a changelog (from %s), and -f %s has no place for what a row does",
		stage_input_from(s->op.stage, 0), format);
	return error_hint(e, "-f debezium-json, or --upsert COLUMNS for a compacted topic");
}

static int sink_schema(
	struct operator* op, unsigned input, const struct schema *in, struct error *e)
{
	struct kafka_sink *s = sink_of(op);

	if (s->has_schema && schema_equal(&s->schema, in))
		return 0;
	if (check_changelog(s, in, e) < 0 || kafka_messages_schema(s->messages, in, e) < 0)
		return -1;
	schema_clear(&s->schema);
	schema_copy(&s->schema, in);
	s->has_schema = true;
	open_files(s);
	if (!s->files)
		return kafka_sink_producer(s, e) ? 0 : -1;
	return kafka_sink_begin(s, e) < 0 ? -1 : epoch_files_schema(s->files, in, e);
}

static int sink_batch(struct operator* op, unsigned input, const struct batch *in, struct error *e)
{
	struct kafka_sink *s = sink_of(op);

	s->rows += in->rows;
	if (!s->files)
		return kafka_sink_send(s, in, e);
	return epoch_files_rows(s->files, in, e) < 0 ? -1 : kafka_live_rows(s, in, e);
}

static int sink_idle(struct operator* op, struct error *e)
{
	struct kafka_sink *s = sink_of(op);

	return s->files || !s->producers_len ? 0 : producer_hear(s->producers[0], e);
}

static int sink_end(struct operator* op, struct error *e)
{
	struct kafka_sink *s = sink_of(op);

	if (!s->files && s->producers_len && producer_flush(s->producers[0], e) < 0)
		return -1;
	if (s->o.verbose)
		stage_warn(op->stage, "%llu rows", (unsigned long long)s->rows);
	return 0;
}

/* ---- epochs ---- */

static int sink_prepare(struct operator* op, uint64_t epoch, struct buf *handle, struct error *e)
{
	struct kafka_sink *s = sink_of(op);

	open_files(s);
	if (!s->files)
		return 0;
	return epoch_files_prepare(s->files, epoch, handle, e) < 0
		       ? -1
		       : kafka_live_prepare(s, epoch, e);
}

static int sink_commit(
	struct operator* op, uint64_t epoch, const uint8_t *handle, size_t len, struct error *e)
{
	struct kafka_sink *s = sink_of(op);

	open_files(s);
	return s->files && len ? kafka_sink_commit(s, handle, len, e) : 0;
}

/* ---- state: what is known to be committed ---- */

enum { C_JOB, C_STAGE, C_SUBTASK, C_EPOCH, C_COLUMNS };

static const struct named_column committed_columns[C_COLUMNS] = {
	[C_JOB] = {"job", TYPE_STRING},
	[C_STAGE] = {"stage", TYPE_STRING},
	[C_SUBTASK] = {"subtask", TYPE_INT},
	[C_EPOCH] = {"epoch", TYPE_INT},
};

static int sink_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct kafka_sink *s = sink_of(op);
	const struct kafka_epochs *all = s->committed.len ? &s->committed : &s->restored;
	struct named_section out;

	named_section_begin(&out, w, "committed", committed_columns, C_COLUMNS, e);
	for (size_t i = 0; i < all->len; i++) {
		builder_put_string(&out.columns[C_JOB], stage_job(op->stage));
		builder_put_string(&out.columns[C_STAGE], all->items[i].stage);
		builder_put_int(&out.columns[C_SUBTASK], (int64_t)all->items[i].subtask);
		builder_put_int(&out.columns[C_EPOCH], (int64_t)all->items[i].epoch);
		named_section_row(&out);
	}
	return named_section_end(&out);
}

/* Another job's numbers are under another name. */
static int take_committed(struct kafka_sink *s, const struct batch *b, struct error *e)
{
	const char *own = stage_job(s->op.stage);
	const struct column *c[C_COLUMNS];

	if (named_section_find(b, committed_columns, C_COLUMNS, c, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		struct text_view job = column_text(c[C_JOB], r);
		uint64_t subtask = (uint64_t)column_int(c[C_SUBTASK], r);
		uint64_t epoch = (uint64_t)column_int(c[C_EPOCH], r);
		char *stage;

		if (job.len != strlen(own) || (job.len && memcmp(job.text, own, job.len) != 0))
			continue;
		stage = column_strdup(c[C_STAGE], r);
		if (epoch > kafka_epochs_find(&s->restored, stage, subtask))
			kafka_epochs_set(&s->restored, stage, subtask, epoch);
		mem_free(stage);
	}
	return 0;
}

static int sink_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (!b->schema->name || strcmp(b->schema->name, "committed") != 0)
			return error_set(e, ERROR_STATE, "a topic keeps no section '%s'",
				b->schema->name ? b->schema->name : "");
		if (take_committed(sink_of(op), b, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}

static const struct operator_ops sink_ops = {
	.type = "ssink",
	.free = sink_free,
	.schema = sink_schema,
	.batch = sink_batch,
	.idle = sink_idle,
	.end = sink_end,
	.snapshot = sink_snapshot,
	.restore = sink_restore,
	.prepare = sink_prepare,
	.commit = sink_commit,
};

/* ---- making one ---- */

static int check_format(const char *format, struct error *e)
{
	static const char *const none[] = {"json", "table", "frames"};

	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		if (strcmp(format, none[i]) == 0)
			return error_set(e, ERROR_USAGE,
				"-f %s is no format of messages; ndjson, csv, msgpack, "
				"lines, debezium-json and avro are",
				format);
	}
	return 0;
}

static int sink_init(struct kafka_sink *s, struct error *e)
{
	struct messages_options m = {.format = s->o.format ? s->o.format : "ndjson",
		.writer = s->o.writer,
		.key = s->o.upsert ? s->o.upsert : s->o.message_key,
		.headers = s->o.message_headers,
		.upserts = s->o.upsert != NULL};
	const char *epochs;

	if (s->o.upsert && s->o.message_key)
		return error_set(e, ERROR_USAGE,
			"--upsert COLUMNS is the message's key; --message-key doesn't "
			"go with it");
	if (check_format(m.format, e) < 0 || kafka_target_parse(s->o.output, &s->target, e) < 0)
		return -1;
	if (strcmp(m.format, "avro") == 0 && !m.writer.registry && !m.writer.avro_schema)
		return error_set(e, ERROR_USAGE, "avro messages need --registry or --avro-schema");
	s->subject = mem_printf("%s-value", s->target.topic);
	m.writer.avro_subject = s->subject;
	epochs = url_take(&s->target.url, "epochs");
	if (url_take(&s->target.url, "transactional.id"))
		return error_set(
			e, ERROR_USAGE, "%s: transactional.id can't be set here", s->target.shown);
	s->epochs_topic = mem_strdup(epochs && *epochs ? epochs : "__runnel_epochs");
	return kafka_messages_new(&m, &s->messages, e);
}

/* An epoch has to fit a transaction, as long as the brokers keep one. */
static int read_timeout(const struct kafka_target *t, int64_t *out_us, struct error *e)
{
	int64_t ms = PRODUCER_TIMEOUT_MS;

	for (size_t i = 0; i < t->url.properties_len; i++) {
		const struct url_property *p = &t->url.properties[i];

		if (strcmp(p->name, "transaction.timeout.ms") == 0 &&
			(int_parse(p->value, strlen(p->value), &ms) != NUMBER_OK || ms <= 0 ||
				ms > INT32_MAX))
			return error_set(e, ERROR_USAGE,
				"%s: transaction.timeout.ms is a number of milliseconds, not %s",
				t->shown, p->value);
	}
	*out_us = ms * 1000;
	return 0;
}

int sink_new_kafka(const struct sink_options *o, struct stage_description *about,
	struct operator** out, struct error *e)
{
	struct kafka_sink *s = mem_zero(sizeof *s);

	s->op = (struct operator){.ops = &sink_ops, .inputs = 1, .in_place = true};
	s->o = *o;
	schema_init(&s->schema);
	if (sink_init(s, e) < 0 || read_timeout(&s->target, &about->epoch_max_us, e) < 0) {
		sink_free(&s->op);
		return -1;
	}
	s->guarantee = mem_printf(
		"%s: exactly once for readers of committed transactions, at each checkpoint",
		s->target.shown);
	about->guarantee = s->guarantee;
	about->spread = STAGE_ANY;
	*out = &s->op;
	return 0;
}
