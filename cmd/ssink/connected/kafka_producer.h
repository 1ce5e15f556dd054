/* A producer: idempotent, or transactional under an id.
 *
 * With an id: opening it fences whoever had it, and what that had begun is aborted; then
 * begin -> send* -> commit.  What may go away by itself (a broker that is gone) is waited for,
 * calling alive meanwhile, with one warning.  PRODUCER_AGAIN: the transaction was aborted, and may
 * be sent again from its start. */
#ifndef RUNNEL_SSINK_KAFKA_PRODUCER_H
#define RUNNEL_SSINK_KAFKA_PRODUCER_H

#include "cmd/ssink/connected/kafka_messages.h"
#include "connect/heavy/kafka.h"

/* transaction.timeout.ms, unless the URL says otherwise: below the brokers' own limit of 15
 * minutes. */
enum { PRODUCER_TIMEOUT_MS = 600000 };

struct kafka_producer;

struct producer_options {
	const struct kafka_target *target; /* outlives it */
	const char *id;                    /* transactional; NULL: none */
	int64_t message_bytes;             /* that the topic takes at most; 0: unknown */
	struct kafka_wait wait;
	void (*warn)(void *context, const char *text);
	void *context;
};

enum producer_status { PRODUCER_ERROR = -1, PRODUCER_OK = 0, PRODUCER_AGAIN = 1 };

int producer_open(const struct producer_options *o, struct kafka_producer **out, struct error *e);
void producer_close(
	struct kafka_producer *p); /* NULL is nothing; what isn't committed is aborted */
const char *producer_id(const struct kafka_producer *p);
struct kafka *producer_client(struct kafka_producer *p);

enum producer_status producer_begin(struct kafka_producer *p, struct error *e);
enum producer_status producer_commit(struct kafka_producer *p, struct error *e);
void producer_abort(struct kafka_producer *p);

struct producer_header {
	const char *name;
	const void *value; /* NULL: null */
	size_t len;
};

/* Copied.  Waits while its queue is full. */
enum producer_status producer_send(struct kafka_producer *p, const char *topic,
	const struct message_view *v, const struct producer_header *headers, size_t headers_len,
	struct error *e);

/* Hears what became of messages, without waiting; waits until all are delivered. */
enum producer_status producer_hear(struct kafka_producer *p, struct error *e);
int producer_flush(struct kafka_producer *p, struct error *e);

#endif
