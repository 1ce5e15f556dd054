#include "cmd/ssink/connected/kafka_producer.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <stdio.h>
#include <string.h>

enum {
	FULL_MS = 20,
	CLOSE_MS = 2000,
	MESSAGE_BYTES = 1000000, /* librdkafka's own, of a message and of a batch */
};

struct kafka_producer {
	struct producer_options o;
	struct kafka *k;
	char *id;
	bool in_transaction;
	bool has_warned;
	rd_kafka_resp_err_t failed; /* the first message that wasn't delivered */
	size_t failed_bytes;
};

/* ---- life ---- */

static void hear_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct kafka_producer *p = kafka_context(opaque);

	if (message->err && !p->failed) {
		p->failed = message->err;
		p->failed_bytes = message->len + message->key_len;
	}
}

static void configure(rd_kafka_conf_t *conf, void *context)
{
	rd_kafka_conf_set_dr_msg_cb(conf, hear_delivery);
}

static int alive(struct kafka_producer *p, struct error *e)
{
	return kafka_poll(p->k, e) < 0 ||
			       (p->o.wait.alive && p->o.wait.alive(p->o.wait.context, e) < 0)
		       ? -1
		       : 0;
}

static void warn_once(struct kafka_producer *p, const char *what)
{
	struct buf b = BUF_INIT;

	if (!p->has_warned && p->o.warn) {
		buf_printf(&b, "%s: %s; tried again until it works", kafka_brokers(p->k), what);
		p->o.warn(p->o.context, buf_cstr(&b));
		buf_clear(&b);
	}
	p->has_warned = true;
}

/* What a transactional call gave.  AGAIN: the transaction is to be aborted; 2: call again. */
enum { CALL_AGAIN = 2 };

static int settle_call(
	struct kafka_producer *p, rd_kafka_error_t *error, const char *what, struct error *e)
{
	rd_kafka_resp_err_t err = rd_kafka_error_code(error);
	bool fatal = rd_kafka_error_is_fatal(error), again = rd_kafka_error_is_retriable(error);
	bool aborts = rd_kafka_error_txn_requires_abort(error);
	int status;

	if (fatal &&
		(err == RD_KAFKA_RESP_ERR__FENCED || err == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
			err == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH))
		status = error_set(e, ERROR_IO, "%s: a later start of this job has taken over",
			kafka_brokers(p->k));
	else if (again || err == RD_KAFKA_RESP_ERR__TIMED_OUT) {
		if (err != RD_KAFKA_RESP_ERR__TIMED_OUT || kafka_is_away(p->k))
			warn_once(p, kafka_is_away(p->k) && *kafka_trouble(p->k)
					     ? kafka_trouble(p->k)
					     : rd_kafka_error_string(error));
		status = CALL_AGAIN;
	} else if (aborts && kafka_may_pass(err)) {
		warn_once(p, rd_kafka_error_string(error));
		status = PRODUCER_AGAIN;
	} else {
		kafka_error(p->k, err, what, e);
		if (err == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT)
			error_hint(e, "the broker's transaction.max.timeout.ms is less than "
				      "transaction.timeout.ms; say ?transaction.timeout.ms=60000");
		status = -1;
	}
	rd_kafka_error_destroy(error);
	return status;
}

static int take_id(struct kafka_producer *p, struct error *e)
{
	int status = CALL_AGAIN;

	while (status == CALL_AGAIN) {
		rd_kafka_error_t *error = rd_kafka_init_transactions(
			kafka_handle(p->k), KAFKA_SLICE_MS);

		if (!error) {
			kafka_heard(p->k);
			return 0;
		}
		status = settle_call(p, error, "transactions", e);
		if (status == CALL_AGAIN && alive(p, e) < 0)
			return -1;
	}
	if (status == PRODUCER_AGAIN)
		return error_set(e, ERROR_IO, "%s: the transaction's id can't be taken",
			kafka_brokers(p->k));
	return status;
}

static int64_t limit(int64_t n, int64_t least, int64_t most)
{
	return n < least ? least : n > most ? most : n;
}

int producer_open(const struct producer_options *o, struct kafka_producer **out, struct error *e)
{
	int64_t most = o->message_bytes ? limit(o->message_bytes, 1000, 1000000000) : MESSAGE_BYTES;
	char timeout[16], message[16], batch[16];
	int32_t partitions;
	const struct kafka_property plain[] = {{"enable.idempotence", "true", true},
		{"message.max.bytes", message, false}, {"batch.size", batch, false},
		{"partitioner", "murmur2_random", false}, {"linger.ms", "20", false},
		{"queue.buffering.max.kbytes", "65536", false}, {NULL, NULL, false}};
	const struct kafka_property transactional[] = {{"transactional.id", o->id, true},
		{"message.max.bytes", message, false}, {"batch.size", batch, false},
		{"enable.idempotence", "true", true}, {"partitioner", "murmur2_random", false},
		{"transaction.timeout.ms", timeout, false}, {"linger.ms", "20", false},
		{"queue.buffering.max.kbytes", "65536", false}, {NULL, NULL, false}};
	struct kafka_producer *p = mem_zero(sizeof *p);
	struct kafka_setup setup = {.target = o->target,
		.type = RD_KAFKA_PRODUCER,
		.properties = o->id ? transactional : plain,
		.configure = configure,
		.context = p,
		.wait = o->wait};

	snprintf(timeout, sizeof timeout, "%d", PRODUCER_TIMEOUT_MS);
	snprintf(message, sizeof message, "%d", (int)most);
	/* Several small ones go together, and may then be too large for the topic, too. */
	snprintf(batch, sizeof batch, "%d", (int)limit(most, 1, MESSAGE_BYTES));
	p->o = *o;
	p->id = o->id ? mem_strdup(o->id) : NULL;
	/* A client that is told of a topic only by a message to it looks where it is a second
	 * later. */
	if (kafka_open(&setup, &p->k, e) < 0 || (o->id && take_id(p, e) < 0) ||
		kafka_partitions(p->k, o->target->topic, &partitions, e) < 0) {
		producer_close(p);
		return -1;
	}
	*out = p;
	return 0;
}

/* One that is left open would hide what others write behind it, until it expires. */
static void abort_in_time(struct kafka_producer *p)
{
	rd_kafka_error_t *error;

	if (!p->in_transaction || kafka_is_away(p->k))
		return;
	error = rd_kafka_abort_transaction(kafka_handle(p->k), CLOSE_MS);
	if (error)
		rd_kafka_error_destroy(error);
}

void producer_close(struct kafka_producer *p)
{
	if (!p)
		return;
	if (p->k)
		abort_in_time(p);
	if (p->k)
		rd_kafka_purge(
			kafka_handle(p->k), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	kafka_close(p->k);
	mem_free(p->id);
	mem_free(p);
}

const char *producer_id(const struct kafka_producer *p)
{
	return p->id;
}

struct kafka *producer_client(struct kafka_producer *p)
{
	return p->k;
}

/* ---- transactions ---- */

void producer_abort(struct kafka_producer *p)
{
	struct error ignored = ERROR_INIT;
	int status = CALL_AGAIN;

	while (p->in_transaction && status == CALL_AGAIN) {
		rd_kafka_error_t *error = rd_kafka_abort_transaction(
			kafka_handle(p->k), KAFKA_SLICE_MS);

		status = error ? settle_call(p, error, "abort", &ignored) : 0;
		if (status == CALL_AGAIN && alive(p, &ignored) < 0)
			break;
	}
	p->in_transaction = false;
}

static enum producer_status give_up(struct kafka_producer *p, int status)
{
	if (status == PRODUCER_AGAIN)
		producer_abort(p);
	return (enum producer_status)status;
}

enum producer_status producer_begin(struct kafka_producer *p, struct error *e)
{
	rd_kafka_error_t *error = rd_kafka_begin_transaction(kafka_handle(p->k));

	p->failed = RD_KAFKA_RESP_ERR_NO_ERROR;
	p->in_transaction = !error;
	return error ? (settle_call(p, error, "begin", e) < 0 ? PRODUCER_ERROR : PRODUCER_AGAIN)
		     : PRODUCER_OK;
}

static void too_large(const struct kafka_producer *p, struct error *e)
{
	struct buf limit = BUF_INIT;

	if (p->o.message_bytes)
		buf_printf(&limit, ", which is %lld", (long long)p->o.message_bytes);
	error_set(e, ERROR_DATA, "%s: %s: a row is %zu bytes as a message, too large for the topic",
		kafka_brokers(p->k), p->o.target->topic, p->failed_bytes);
	error_hint(e,
		"its max.message.bytes%s, says how large one may be, and message.max.bytes, "
		"if it is in the URL",
		buf_cstr(&limit));
	buf_clear(&limit);
}

/* A message that can never be delivered ends it all; others the transaction aborts for. */
static enum producer_status check_failed(struct kafka_producer *p, struct error *e)
{
	if (!p->failed)
		return PRODUCER_OK;
	if (p->id && kafka_may_pass(p->failed))
		return give_up(p, PRODUCER_AGAIN);
	kafka_error(p->k, p->failed, p->o.target->topic, e);
	if (p->failed == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
		too_large(p, e);
	return PRODUCER_ERROR;
}

enum producer_status producer_commit(struct kafka_producer *p, struct error *e)
{
	int status = CALL_AGAIN;

	while (status == CALL_AGAIN) {
		rd_kafka_error_t *error = rd_kafka_commit_transaction(
			kafka_handle(p->k), KAFKA_SLICE_MS);

		if (!error) {
			p->in_transaction = p->has_warned = false;
			kafka_heard(p->k);
			return PRODUCER_OK;
		}
		status = settle_call(p, error, "commit", e);
		if (alive(p, e) < 0)
			return PRODUCER_ERROR;
		if (p->failed && !kafka_may_pass(p->failed)) {
			error_clear(e);
			return check_failed(p, e);
		}
	}
	return give_up(p, status);
}

/* ---- messages ---- */

static rd_kafka_headers_t *make_headers(const struct producer_header *headers, size_t n)
{
	rd_kafka_headers_t *out = n ? rd_kafka_headers_new(n) : NULL;

	for (size_t i = 0; i < n; i++)
		rd_kafka_header_add(out, headers[i].name, -1, headers[i].value,
			headers[i].value ? (ssize_t)headers[i].len : -1);
	return out;
}

static rd_kafka_resp_err_t produce(struct kafka_producer *p, const char *topic,
	const struct message_view *v, rd_kafka_headers_t *headers)
{
	rd_kafka_t *rk = kafka_handle(p->k);
	void *value = (void *)(uintptr_t)v->value;

	if (headers)
		return rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			RD_KAFKA_V_KEY(v->has_key ? v->key : NULL, v->has_key ? v->key_len : 0),
			RD_KAFKA_V_VALUE(value, v->value_len), RD_KAFKA_V_HEADERS(headers),
			RD_KAFKA_V_END);
	return rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_KEY(v->has_key ? v->key : NULL, v->has_key ? v->key_len : 0),
		RD_KAFKA_V_VALUE(value, v->value_len), RD_KAFKA_V_END);
}

enum producer_status producer_send(struct kafka_producer *p, const char *topic,
	const struct message_view *v, const struct producer_header *headers, size_t headers_len,
	struct error *e)
{
	static const uint8_t empty[1];
	struct message_view sent = *v;

	/* An empty key, and an empty value, are some. */
	if (sent.has_key && !sent.key)
		sent.key = empty;
	for (;;) {
		rd_kafka_headers_t *made = make_headers(headers, headers_len);
		rd_kafka_resp_err_t err = produce(p, topic, &sent, made);

		if (!err)
			return PRODUCER_OK;
		if (made)
			rd_kafka_headers_destroy(made);
		if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			rd_kafka_poll(kafka_handle(p->k), FULL_MS);
			if (alive(p, e) < 0)
				return PRODUCER_ERROR;
			if (kafka_is_away(p->k))
				warn_once(p, kafka_trouble(p->k));
			continue;
		}
		if (p->id && (err == RD_KAFKA_RESP_ERR__STATE || kafka_may_pass(err)))
			return give_up(p, PRODUCER_AGAIN);
		p->failed = err;
		p->failed_bytes = v->value_len + v->key_len;
		return check_failed(p, e);
	}
}

enum producer_status producer_hear(struct kafka_producer *p, struct error *e)
{
	return alive(p, e) < 0 ? PRODUCER_ERROR : check_failed(p, e);
}

int producer_flush(struct kafka_producer *p, struct error *e)
{
	while (rd_kafka_flush(kafka_handle(p->k), KAFKA_SLICE_MS) == RD_KAFKA_RESP_ERR__TIMED_OUT) {
		if (producer_hear(p, e) != PRODUCER_OK)
			return -1;
		if (kafka_is_away(p->k))
			warn_once(p, kafka_trouble(p->k));
	}
	return producer_hear(p, e) == PRODUCER_OK ? 0 : -1;
}
