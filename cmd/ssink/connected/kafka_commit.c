/* Epochs of Kafka's sink: transactions, their numbers, and what earlier starts have left.
 *
 * What a restored manifest names: first every transactional id in it is taken, which fences whoever
 * is left of an earlier start and settles what it had begun; then the numbers are read; then what
 * is missing is sent.  Ids whose transactions may be open although no manifest names them are known
 * by the traces that their subtasks left beside the files. */
#include "cmd/ssink/connected/kafka_sink.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <string.h>
#include <time.h>

enum {
	AGAIN_US = 200000, /* before a transaction is sent again; doubled up to */
	AGAIN_MOST_US = 5000000,
	MS_US = 1000,
};

static int sink_alive(void *context, struct error *e)
{
	struct kafka_sink *s = context;

	return s->op.stage ? stage_alive(s->op.stage, e) : 0;
}

static int sink_await(void *context, struct error *e)
{
	struct kafka_sink *s = context;

	return s->op.stage ? stage_await(s->op.stage, e) : 0;
}

static void sink_warn(void *context, const char *text)
{
	struct kafka_sink *s = context;

	stage_warn(s->op.stage, "%s", text);
}

/* ---- producers ---- */

static size_t find_id(const struct kafka_sink *s, const char *id)
{
	size_t i = 0;

	while (i < s->producers_len && id && strcmp(producer_id(s->producers[i]), id) != 0)
		i++;
	return i;
}

/* What can be wrong with the topic is said before anything else is begun. */
static int look_at_topic(struct kafka_sink *s, struct error *e)
{
	struct kafka_setup setup = {.target = &s->target,
		.type = RD_KAFKA_PRODUCER,
		.properties = (const struct kafka_property[]){{NULL, NULL, false}},
		.wait = {sink_await, s}};
	int32_t partitions;
	struct kafka *k;
	int status;

	if (s->has_topic)
		return 0;
	if (kafka_open(&setup, &k, e) < 0)
		return -1;
	status = kafka_partitions(k, s->target.topic, &partitions, e);
	if (status == 0)
		status = kafka_topic_limit(k, s->target.topic, &s->message_bytes, e);
	kafka_close(k);
	s->has_topic = status == 0;
	return status;
}

/* The producer of a transactional id, which is taken; NULL: without one. */
static struct kafka_producer *find_producer(struct kafka_sink *s, const char *id, struct error *e)
{
	struct producer_options o = {.target = &s->target,
		.id = id,
		.wait = {sink_alive, s},
		.warn = sink_warn,
		.context = s};
	size_t i = find_id(s, id);
	struct kafka_producer *p;

	if (i < s->producers_len)
		return s->producers[i];
	if (look_at_topic(s, e) < 0)
		return NULL;
	o.message_bytes = s->message_bytes;
	if (producer_open(&o, &p, e) < 0)
		return NULL;
	s->has_read = false; /* whoever had it until now may have committed */
	MEM_GROW(s->producers, s->producers_cap, s->producers_len + 1);
	return s->producers[s->producers_len++] = p;
}

static char *id_of(const struct kafka_sink *s, const char *stage, uint64_t subtask)
{
	return mem_printf(
		"runnel-%s-%s-%llu", stage_job(s->op.stage), stage, (unsigned long long)subtask);
}

static struct kafka_producer *producer_of(
	struct kafka_sink *s, const char *stage, uint64_t subtask, struct error *e)
{
	char *id = id_of(s, stage, subtask);
	struct kafka_producer *p = find_producer(s, id, e);

	mem_free(id);
	return p;
}

struct kafka_producer *kafka_sink_producer(struct kafka_sink *s, struct error *e)
{
	if (!s->o.supervised)
		return find_producer(s, NULL, e);
	return producer_of(s, stage_name(s->op.stage), stage_subtask(s->op.stage), e);
}

/* All but `own` (closes it, too, where that is false). */
static void close_producers(struct kafka_sink *s, bool own)
{
	char *id = id_of(s, stage_name(s->op.stage), stage_subtask(s->op.stage));
	size_t kept = 0;

	for (size_t i = 0; i < s->producers_len; i++) {
		if ((strcmp(producer_id(s->producers[i]), id) == 0) == own)
			s->producers[kept++] = s->producers[i];
		else
			producer_close(s->producers[i]);
	}
	s->producers_len = kept;
	mem_free(id);
}

/* ---- rows ---- */

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
	struct producer_header headers[KAFKA_HEADERS_MAX];

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
	if (kafka_messages_rows(x->s->messages, b, &take, e) < 0)
		return -1;
	/* What became of messages is heard, else it piles up. */
	x->status = producer_hear(x->p, e);
	return x->status == PRODUCER_OK ? 0 : -1;
}

static int take_schema(void *context, const struct schema *in, struct error *e)
{
	struct sending *x = context;

	return kafka_messages_schema(x->s->messages, in, e);
}

int kafka_sink_send(struct kafka_sink *s, const struct batch *b, struct error *e)
{
	struct sending x = {.s = s, .p = kafka_sink_producer(s, e)};

	return x.p ? send_rows(&x, b, e) : -1;
}

/* ---- numbers ---- */

static enum producer_status send_mark(
	struct sending *x, const char *stage, uint64_t subtask, uint64_t epoch, struct error *e)
{
	char *key = kafka_epochs_key(stage_job(x->s->op.stage), stage, subtask);
	char *value = mem_printf("%llu", (unsigned long long)epoch);
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

/* What was committed before, by whoever is to have been: a number that is missing is no reason to
 * send anything twice. */
static int unknown_epoch(const struct kafka_sink *s, const char *stage, uint64_t subtask,
	uint64_t epoch, struct error *e)
{
	error_set(e, ERROR_STATE, "%s: epoch %llu of %s/%llu was committed, and %s doesn't know it",
		s->target.shown, (unsigned long long)epoch, stage, (unsigned long long)subtask,
		s->epochs_topic);
	return error_hint(e,
		"it has been emptied, or these are other brokers; --drop-state %s begins "
		"anew, and may send rows twice",
		stage_name(s->op.stage));
}

static int check_restored(const struct kafka_sink *s, struct error *e)
{
	for (size_t i = 0; i < s->restored.len; i++) {
		const struct kafka_epoch *x = &s->restored.items[i];

		if (kafka_epochs_has(&s->committed, x->stage, x->subtask) &&
			kafka_epochs_find(&s->committed, x->stage, x->subtask) >= x->epoch)
			continue;
		return unknown_epoch(s, x->stage, x->subtask, x->epoch, e);
	}
	return 0;
}

static int read_numbers(struct kafka_sink *s, struct error *e)
{
	struct kafka_wait wait = {sink_alive, s};

	if (s->has_read)
		return 0;
	if (kafka_epochs_read(&s->committed, &s->target, s->epochs_topic, stage_job(s->op.stage),
		    &wait, e) < 0)
		return -1;
	s->has_read = true;
	return check_restored(s, e);
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

/* One transaction with all of a file's rows (f NULL: with none), and a number. */
static enum producer_status try_file(struct sending *x, const struct epoch_file *f, struct error *e)
{
	struct epoch_file_take take = {.schema = take_schema, .rows = send_rows, .context = x};

	x->status = producer_begin(x->p, e);
	if (x->status != PRODUCER_OK)
		return x->status;
	if (f && epoch_file_read(f, &take, e) < 0) {
		if (x->status == PRODUCER_AGAIN)
			return PRODUCER_AGAIN;
		producer_abort(x->p);
		return PRODUCER_ERROR;
	}
	x->status = f ? send_mark(x, f->stage, f->subtask, f->epoch, e)
		      : send_mark(
				x, stage_name(x->s->op.stage), stage_subtask(x->s->op.stage), 0, e);
	return x->status == PRODUCER_OK ? producer_commit(x->p, e) : x->status;
}

static int send_file(struct sending *x, const struct epoch_file *f, struct error *e)
{
	enum producer_status status = PRODUCER_AGAIN;
	int64_t pause_us = AGAIN_US;

	while (status == PRODUCER_AGAIN) {
		error_clear(e);
		status = try_file(x, f, e);
		if (status == PRODUCER_AGAIN && pause_for(x->s, pause_us, e) < 0)
			return -1;
		pause_us = pause_us * 2 < AGAIN_MOST_US ? pause_us * 2 : AGAIN_MOST_US;
	}
	return status == PRODUCER_OK ? 0 : -1;
}

/* ---- a start ---- */

static int take_trace(void *context, uint64_t subtask, struct error *e)
{
	struct kafka_sink *s = context;

	return producer_of(s, stage_name(s->op.stage), subtask, e) ? 0 : -1;
}

/* Epoch 0, before there is any: from now on the subtask has to be known. */
static int say_zero(struct kafka_sink *s, struct error *e)
{
	struct sending x = {.s = s, .p = kafka_sink_producer(s, e)};
	const char *stage = stage_name(s->op.stage);
	uint64_t subtask = stage_subtask(s->op.stage);

	if (!x.p)
		return -1;
	if (kafka_epochs_has(&s->committed, stage, subtask))
		return 0;
	if (send_file(&x, NULL, e) < 0)
		return -1;
	kafka_epochs_set(&s->committed, stage, subtask, 0);
	return 0;
}

int kafka_sink_begin(struct kafka_sink *s, struct error *e)
{
	struct leftovers_take traces = {take_trace, s};
	struct kafka_producer *own;

	if (s->is_ready)
		return 0;
	own = kafka_sink_producer(s, e);
	if (!own || kafka_epochs_make(producer_client(own), s->epochs_topic, e) < 0 ||
		epoch_files_traces(s->files, &traces, e) < 0)
		return -1;
	/* Before the first start nobody can have committed anything. */
	if ((stage_attempt(s->op.stage) > 1 || s->restored.len) && read_numbers(s, e) < 0)
		return -1;
	if (say_zero(s, e) < 0 || epoch_files_trace(s->files, e) < 0)
		return -1;
	s->live = LIVE_NEXT;
	s->is_ready = true;
	return 0;
}

/* ---- the open transaction ---- */

/* 0 also if it is gone: then the epoch is sent at its commit. */
static int live_status(struct kafka_sink *s, enum producer_status status, struct error *e)
{
	if (status == PRODUCER_ERROR)
		return -1;
	if (status == PRODUCER_AGAIN) {
		error_clear(e);
		s->live = LIVE_OFF;
	}
	return 0;
}

static int live_begin(
	struct kafka_sink *s, struct sending *x, const struct batch *b, struct error *e)
{
	struct epoch_file_take take = {.schema = take_schema, .rows = send_rows, .context = x};

	s->live_us = clock_mono_us();
	s->live = LIVE_OPEN;
	x->status = producer_begin(x->p, e);
	if (x->status != PRODUCER_OK)
		return -1;
	return epoch_files_count(s->files) == b->rows ? send_rows(x, b, e)
						      : epoch_files_replay(s->files, &take, e);
}

static int64_t live_limit_us(struct kafka_producer *p)
{
	return kafka_property_int(producer_client(p), "transaction.timeout.ms") * MS_US;
}

/* From now on the epoch is in its file only.  p is gone after, if the brokers have ended its
 * transaction, which ends the producer, too. */
static void give_up_live(struct kafka_sink *s, struct kafka_producer *p)
{
	s->live = LIVE_OFF;
	if (clock_mono_us() - s->live_us < live_limit_us(p))
		producer_abort(p);
	else
		close_producers(s, false);
}

int kafka_live_rows(struct kafka_sink *s, const struct batch *b, struct error *e)
{
	struct sending x = {.s = s, .p = kafka_sink_producer(s, e)};
	int status;

	if (!x.p)
		return -1;
	/* One that is nearly as old as the brokers allow is given up, before they do it. */
	if (s->live == LIVE_OPEN && clock_mono_us() - s->live_us > live_limit_us(x.p) / 4 * 3)
		give_up_live(s, x.p);
	if (s->live != LIVE_NEXT && s->live != LIVE_OPEN)
		return 0;
	status = s->live == LIVE_NEXT ? live_begin(s, &x, b, e) : send_rows(&x, b, e);
	if (status < 0 && x.status == PRODUCER_OK)
		return -1; /* of the file, or of what can't be written */
	return live_status(s, x.status, e);
}

int kafka_live_prepare(struct kafka_sink *s, uint64_t epoch, struct error *e)
{
	struct sending x = {.s = s};

	if (s->live == LIVE_NEXT && epoch_files_waits(s->files))
		s->live = LIVE_OFF;
	if (s->live != LIVE_OPEN)
		return 0;
	x.p = kafka_sink_producer(s, e);
	if (!x.p)
		return -1;
	s->live = LIVE_PREPARED;
	s->through = epoch;
	return live_status(
		s, send_mark(&x, stage_name(s->op.stage), stage_subtask(s->op.stage), epoch, e), e);
}

/* ---- commits ---- */

/* The open transaction, if it is what f is about: 1 if f has to be sent from its file. */
static int commit_live(struct kafka_sink *s, const struct epoch_file *f, struct error *e)
{
	struct kafka_producer *p;
	enum producer_status status;

	if (s->live != LIVE_PREPARED && s->live != LIVE_OPEN)
		return 1;
	p = kafka_sink_producer(s, e);
	if (!p)
		return -1;
	if (s->live != LIVE_PREPARED || f->epoch != s->through || !epoch_files_has(s->files, f) ||
		clock_mono_us() - s->live_us >= live_limit_us(p)) {
		give_up_live(s, p);
		return 1;
	}
	s->live = LIVE_OFF;
	status = producer_commit(p, e);
	if (status == PRODUCER_AGAIN)
		error_clear(e);
	return (int)status;
}

static int commit_file(struct kafka_sink *s, const struct epoch_file *f, struct error *e)
{
	int status = commit_live(s, f, e);
	struct sending x = {.s = s};

	if (status == 1) {
		x.p = producer_of(s, f->stage, f->subtask, e);
		status = x.p ? send_file(&x, f, e) : -1;
	}
	if (status == 0)
		kafka_epochs_set(&s->committed, f->stage, f->subtask, f->epoch);
	else if (e->code != ERROR_IO && e->code != ERROR_STATE)
		error_hint(e, "nothing is lost: the rows wait in %s", f->path);
	return status;
}

/* Takes all ids that are named, then reads the numbers. */
static int catch_up(struct kafka_sink *s, const uint8_t *handle, size_t len, struct error *e)
{
	const char *at = (const char *)handle, *end = at + len;
	struct epoch_file f;
	int status;

	if (kafka_sink_begin(s, e) < 0)
		return -1;
	while ((status = epoch_file_next(&at, end, &f, e)) == 0) {
		if (!epoch_files_has(s->files, &f) && !producer_of(s, f.stage, f.subtask, e))
			return -1;
	}
	if (status < 0)
		return -1;
	at = (const char *)handle;
	while (epoch_file_next(&at, end, &f, e) == 0) {
		if (epoch_files_has(s->files, &f))
			continue; /* nobody but this process can have committed it */
		if (read_numbers(s, e) < 0)
			return -1;
		if (!kafka_epochs_has(&s->committed, f.stage, f.subtask))
			return unknown_epoch(s, f.stage, f.subtask, 0, e);
	}
	return 0;
}

int kafka_sink_commit(struct kafka_sink *s, const uint8_t *handle, size_t len, struct error *e)
{
	const char *at = (const char *)handle, *end = at + len;
	struct epoch_file f;
	int status;

	if (catch_up(s, handle, len, e) < 0)
		return -1;
	while ((status = epoch_file_next(&at, end, &f, e)) == 0) {
		if (kafka_epochs_find(&s->committed, f.stage, f.subtask) < f.epoch &&
			commit_file(s, &f, e) < 0)
			return -1;
		epoch_files_done(s->files, &f);
	}
	close_producers(s, true);
	if (s->live == LIVE_OFF && !epoch_files_waits(s->files))
		s->live = LIVE_NEXT;
	/* Commits have used it; rows that come go on with their own. */
	if (status >= 0 && s->has_schema && kafka_messages_schema(s->messages, &s->schema, e) < 0)
		return -1;
	return status < 0 ? -1 : 0;
}
