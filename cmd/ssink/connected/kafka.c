/* The sink of Kafka: rows as messages of a topic.
 *
 * Alone they are sent as they come, by an idempotent producer.  Under a supervisor an epoch's rows
 * wait in a synced file (epoch_file.h), and its commit sends them in one transaction with the
 * epoch's number (kafka_epochs.h).  What a restored manifest names: first every transactional id in
 * it is taken, which fences whoever is left of an earlier start and settles what it had begun; then
 * the numbers are read; then what is missing is sent. */
#include "cmd/common/epoch_file.h"
#include "cmd/ssink/connected/kafka_epochs.h"
#include "cmd/ssink/connected/kafka_producer.h"
#include "cmd/ssink/sinks.h"
#include "libcore/base/arena.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/table/builder.h"

#include <string.h>
#include <time.h>

enum {
	HEADERS_MAX = 64,
	AGAIN_US = 200000, /* before a transaction is sent again; doubled up to */
	AGAIN_MOST_US = 5000000,
};

struct kafka_sink {
	struct operator op;
	struct sink_options o;
	struct kafka_target target;
	char *epochs_topic, *guarantee, *subject;
	struct kafka_messages *messages;
	struct epoch_files *files;         /* under a supervisor */
	struct kafka_producer **producers; /* alone the one; else by transactional id */
	size_t producers_len, producers_cap;
	struct kafka_epochs committed; /* as far as this process knows */
	struct kafka_epochs restored;  /* what a snapshot says was committed */
	bool has_read;                 /* committed is what the brokers have */
	struct schema schema;
	bool has_schema, has_topic;
	uint64_t rows;
	struct buf header_text[HEADERS_MAX];
};

static struct kafka_sink *sink_of(struct operator* op)
{
	return (struct kafka_sink *)op;
}

static int sink_alive(void *context, struct error *e)
{
	struct kafka_sink *s = context;

	return s->op.stage ? stage_alive(s->op.stage, e) : 0;
}

static void sink_warn(void *context, const char *text)
{
	struct kafka_sink *s = context;

	stage_warn(s->op.stage, "%s", text);
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
	for (size_t i = 0; i < HEADERS_MAX; i++)
		buf_clear(&s->header_text[i]);
	schema_clear(&s->schema);
	if (s->target.shown)
		kafka_target_clear(&s->target);
	mem_free(s->epochs_topic);
	mem_free(s->subject);
	mem_free(s->guarantee);
	mem_free(s);
}

/* ---- producers ---- */

/* The producer of a transactional id, which is taken; NULL: without one. */
static struct kafka_producer *find_producer(struct kafka_sink *s, const char *id, struct error *e)
{
	struct producer_options o = {.target = &s->target,
		.id = id,
		.wait = {sink_alive, s},
		.warn = sink_warn,
		.context = s};
	struct kafka_producer *p;

	for (size_t i = 0; i < s->producers_len; i++) {
		const char *has = producer_id(s->producers[i]);

		if (!id || strcmp(has, id) == 0)
			return s->producers[i];
	}
	if (producer_open(&o, &p, e) < 0)
		return NULL;
	MEM_GROW(s->producers, s->producers_cap, s->producers_len + 1);
	return s->producers[s->producers_len++] = p;
}

static char *id_of(const struct kafka_sink *s, const char *stage, uint64_t subtask)
{
	return mem_printf(
		"runnel-%s-%s-%llu", stage_job(s->op.stage), stage, (unsigned long long)subtask);
}

static struct kafka_producer *own_producer(struct kafka_sink *s, struct error *e)
{
	char *id = s->o.supervised ? id_of(s, stage_name(s->op.stage), stage_subtask(s->op.stage))
				   : NULL;
	struct kafka_producer *p = find_producer(s, id, e);

	mem_free(id);
	return p;
}

/* Others' were only for what they had left. */
static void close_others(struct kafka_sink *s)
{
	char *own = id_of(s, stage_name(s->op.stage), stage_subtask(s->op.stage));
	size_t kept = 0;

	for (size_t i = 0; i < s->producers_len; i++) {
		if (strcmp(producer_id(s->producers[i]), own) == 0)
			s->producers[kept++] = s->producers[i];
		else
			producer_close(s->producers[i]);
	}
	s->producers_len = kept;
	mem_free(own);
}

/* What can be wrong is said before the first row waits for its commit. */
static int check_topic(struct kafka_sink *s, struct error *e)
{
	struct kafka_producer *p;
	int32_t partitions;

	if (s->has_topic)
		return 0;
	p = own_producer(s, e);
	if (!p || kafka_partitions(producer_client(p), s->target.topic, &partitions, e) < 0)
		return -1;
	if (s->o.supervised && kafka_epochs_make(producer_client(p), s->epochs_topic, e) < 0)
		return -1;
	s->has_topic = true;
	return 0;
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
	if (check_topic(s, e) < 0)
		return -1;
	return s->files ? epoch_files_schema(s->files, in, e) : 0;
}

struct sending {
	struct kafka_sink *s;
	struct kafka_producer *p;
	const struct batch *b;
	enum producer_status status;
};

static int send_message(void *context, const struct message_view *v, struct error *e)
{
	struct sending *x = context;
	size_t n = kafka_messages_headers(x->s->messages);
	struct producer_header headers[HEADERS_MAX];

	for (size_t i = 0; i < n; i++) {
		struct buf *text = &x->s->header_text[i];
		bool there = kafka_messages_header(
			x->s->messages, x->b, v->row, i, &headers[i].name, text);

		headers[i].value = there ? buf_cstr(text) : NULL;
		headers[i].len = text->len;
	}
	x->status = producer_send(x->p, x->s->target.topic, v, headers, n, e);
	return x->status == PRODUCER_OK ? 0 : -1;
}

static int send_rows(void *context, const struct batch *b, struct error *e)
{
	struct sending *x = context;
	struct messages_take take = {send_message, x};

	x->b = b;
	return kafka_messages_rows(x->s->messages, b, &take, e);
}

static int sink_batch(struct operator* op, unsigned input, const struct batch *in, struct error *e)
{
	struct kafka_sink *s = sink_of(op);
	struct sending x = {.s = s};

	s->rows += in->rows;
	if (s->files)
		return epoch_files_rows(s->files, in, e);
	x.p = own_producer(s, e);
	if (!x.p || send_rows(&x, in, e) < 0)
		return -1;
	return producer_hear(x.p, e);
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
	return s->files ? epoch_files_prepare(s->files, epoch, handle, e) : 0;
}

static int take_schema(void *context, const struct schema *in, struct error *e)
{
	struct sending *x = context;

	return kafka_messages_schema(x->s->messages, in, e);
}

static enum producer_status send_mark(
	struct sending *x, const struct epoch_file *f, struct error *e)
{
	char *key = kafka_epochs_key(stage_job(x->s->op.stage), f->stage, f->subtask);
	char *value = mem_printf("%llu", (unsigned long long)f->epoch);
	struct message_view v = {.has_key = true,
		.key = (const uint8_t *)key,
		.key_len = strlen(key),
		.value = (const uint8_t *)value,
		.value_len = strlen(value)};
	enum producer_status status = producer_send(x->p, x->s->epochs_topic, &v, NULL, 0, e);

	mem_free(key);
	mem_free(value);
	return status;
}

/* One transaction with all of a file's rows, and its number. */
static enum producer_status try_file(struct sending *x, const struct epoch_file *f, struct error *e)
{
	struct epoch_file_take take = {take_schema, send_rows, x};

	x->status = producer_begin(x->p, e);
	if (x->status != PRODUCER_OK)
		return x->status;
	if (epoch_file_read(f, &take, e) < 0) {
		if (x->status == PRODUCER_AGAIN)
			return PRODUCER_AGAIN;
		producer_abort(x->p);
		return PRODUCER_ERROR;
	}
	x->status = send_mark(x, f, e);
	return x->status == PRODUCER_OK ? producer_commit(x->p, e) : x->status;
}

static int pause_for(struct kafka_sink *s, int64_t us, struct error *e)
{
	for (int64_t until = clock_mono_us() + us; clock_mono_us() < until;) {
		struct timespec t = {.tv_nsec = 50000000};

		nanosleep(&t, NULL);
		if (sink_alive(s, e) < 0)
			return -1;
	}
	return 0;
}

static int commit_file(struct kafka_sink *s, const struct epoch_file *f, struct error *e)
{
	char *id = id_of(s, f->stage, f->subtask);
	struct sending x = {.s = s, .p = find_producer(s, id, e)};
	int64_t pause_us = AGAIN_US;
	enum producer_status status = x.p ? PRODUCER_AGAIN : PRODUCER_ERROR;

	mem_free(id);
	while (status == PRODUCER_AGAIN) {
		error_clear(e);
		status = try_file(&x, f, e);
		if (status == PRODUCER_AGAIN && pause_for(s, pause_us, e) < 0)
			return -1;
		pause_us = pause_us * 2 < AGAIN_MOST_US ? pause_us * 2 : AGAIN_MOST_US;
	}
	if (status == PRODUCER_OK)
		kafka_epochs_set(&s->committed, f->stage, f->subtask, f->epoch);
	else if (e->code != ERROR_IO && e->code != ERROR_STATE)
		error_hint(e, "nothing is lost: the rows wait in %s", f->path);
	return status == PRODUCER_OK ? 0 : -1;
}

/* What was committed before, by whoever is to have been: a number that is missing is no reason to
 * send anything twice. */
static int check_restored(const struct kafka_sink *s, struct error *e)
{
	for (size_t i = 0; i < s->restored.len; i++) {
		const struct kafka_epoch *x = &s->restored.items[i];
		uint64_t has = kafka_epochs_find(&s->committed, x->stage, x->subtask);

		if (has >= x->epoch)
			continue;
		error_set(e, ERROR_STATE,
			"%s: epoch %llu of %s/%llu was committed, and %s doesn't know it",
			s->target.shown, (unsigned long long)x->epoch, x->stage,
			(unsigned long long)x->subtask, s->epochs_topic);
		return error_hint(e,
			"it has been emptied, or these are other brokers; --drop-state %s begins "
			"anew, and may send rows twice",
			stage_name(s->op.stage));
	}
	return 0;
}

/* Takes all ids, then reads the numbers. */
static int catch_up(struct kafka_sink *s, const uint8_t *handle, size_t len, struct error *e)
{
	const char *at = (const char *)handle, *end = at + len;
	struct kafka_wait wait = {sink_alive, s};
	struct kafka_producer *own;
	struct epoch_file f;
	int status;

	if (s->has_read)
		return 0;
	own = own_producer(s, e);
	if (!own || kafka_epochs_make(producer_client(own), s->epochs_topic, e) < 0)
		return -1;
	while ((status = epoch_file_next(&at, end, &f, e)) == 0) {
		char *id = id_of(s, f.stage, f.subtask);
		struct kafka_producer *p = find_producer(s, id, e);

		mem_free(id);
		if (!p)
			return -1;
	}
	if (status < 0 || kafka_epochs_read(&s->committed, &s->target, s->epochs_topic,
				  stage_job(s->op.stage), &wait, e) < 0)
		return -1;
	s->has_read = true;
	return check_restored(s, e);
}

static int sink_commit(
	struct operator* op, uint64_t epoch, const uint8_t *handle, size_t len, struct error *e)
{
	struct kafka_sink *s = sink_of(op);
	const char *at = (const char *)handle, *end = at + len;
	struct epoch_file f;
	int status;

	open_files(s);
	if (!s->files || !len)
		return 0;
	if (catch_up(s, handle, len, e) < 0)
		return -1;
	while ((status = epoch_file_next(&at, end, &f, e)) == 0) {
		if (kafka_epochs_find(&s->committed, f.stage, f.subtask) < f.epoch &&
			commit_file(s, &f, e) < 0)
			return -1;
		epoch_files_done(s->files, &f);
	}
	close_others(s);
	/* Commits have used it; rows that come go on with their own. */
	if (status >= 0 && s->has_schema && kafka_messages_schema(s->messages, &s->schema, e) < 0)
		return -1;
	return status < 0 ? -1 : 0;
}

/* ---- state: what is known to be committed ---- */

static int sink_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct kafka_sink *s = sink_of(op);
	struct schema schema = SCHEMA_INIT;
	struct batch_builder b;
	const struct kafka_epochs *all = s->committed.len ? &s->committed : &s->restored;
	const char *job = stage_job(op->stage);
	int status;

	schema_add(&schema, "job", 3, TYPE_OF(TYPE_STRING));
	schema_add(&schema, "stage", 5, TYPE_OF(TYPE_STRING));
	schema_add(&schema, "subtask", 7, TYPE_OF(TYPE_INT));
	schema_add(&schema, "epoch", 5, TYPE_OF(TYPE_INT));
	schema_set_name(&schema, "committed");
	batch_builder_init(&b, &schema);
	for (size_t i = 0; i < all->len; i++) {
		builder_put_text(&b.columns[0], job, strlen(job));
		builder_put_text(&b.columns[1], all->items[i].stage, strlen(all->items[i].stage));
		builder_put_int(&b.columns[2], (int64_t)all->items[i].subtask);
		builder_put_int(&b.columns[3], (int64_t)all->items[i].epoch);
	}
	status = snapshot_section(w, &schema, e);
	if (status == 0 && all->len)
		status = snapshot_put(w, batch_builder_view(&b), e);
	batch_builder_clear(&b);
	schema_clear(&schema);
	return status;
}

/* Another job's numbers are under another name. */
static int take_committed(struct kafka_sink *s, const struct batch *b, struct error *e)
{
	const struct column *job, *stage, *subtask, *epoch;

	if (snapshot_column(b, "job", TYPE_OF(TYPE_STRING), &job, e) < 0 ||
		snapshot_column(b, "stage", TYPE_OF(TYPE_STRING), &stage, e) < 0 ||
		snapshot_column(b, "subtask", TYPE_OF(TYPE_INT), &subtask, e) < 0 ||
		snapshot_column(b, "epoch", TYPE_OF(TYPE_INT), &epoch, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		struct text_view j = column_text(job, r), t = column_text(stage, r);
		char *name = mem_strndup(t.len ? t.text : "", t.len);
		uint64_t number = (uint64_t)column_int(epoch, r);

		if (j.len == strlen(stage_job(s->op.stage)) &&
			(!j.len || memcmp(j.text, stage_job(s->op.stage), j.len) == 0) &&
			number > kafka_epochs_find(
					 &s->restored, name, (uint64_t)column_int(subtask, r)))
			kafka_epochs_set(
				&s->restored, name, (uint64_t)column_int(subtask, r), number);
		mem_free(name);
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

int sink_new_kafka(const struct sink_options *o, struct stage_description *about,
	struct operator** out, struct error *e)
{
	struct kafka_sink *s = mem_zero(sizeof *s);

	s->op = (struct operator){.ops = &sink_ops, .inputs = 1, .in_place = true};
	s->o = *o;
	schema_init(&s->schema);
	if (sink_init(s, e) < 0) {
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
