/* A client of Kafka, for what reads from it and what writes to it.
 *
 *   kafka://[user:password@]broker[:port][,broker[:port]...]/topic[?property=value...]
 *
 * Properties of our own are taken out of the URL first (url_take); every other one is librdkafka's,
 * as its CONFIGURATION.md lists them, and stands above the defaults that a caller gives.  user and
 * password are sasl.username and sasl.password, with security.protocol=sasl_ssl and
 * sasl.mechanism=PLAIN unless the URL says otherwise.
 *
 * librdkafka has threads of its own; nothing here calls back from them.  What it has to say is heard
 * in kafka_poll.  Its log is silent, and on standard error with debug=... in the URL.
 *
 * Errors name the brokers and the topic as they may be shown, never a property's value that is a
 * secret.  What may go away by itself is ERROR_IO (no broker answers, a time-out, a leader that is
 * missing); what is wrong with a name, a password, a permission or a property is ERROR_USAGE. */
#ifndef RUNNEL_CONNECT_HEAVY_KAFKA_H
#define RUNNEL_CONNECT_HEAVY_KAFKA_H

#include "connect/url.h"
#include "libcore/base/error.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

enum {
	KAFKA_SLICE_MS = 250,        /* of every wait, between which `alive` is called */
	KAFKA_PATIENCE_MS = 30000,   /* for one answer */
	KAFKA_ALL_DOWN_MS = 5000,    /* at the start, with every broker refusing: no reason to wait on */
};

/* ---- where ---- */

struct kafka_target {
	struct url url;    /* what is ours is taken out of it */
	char *shown;       /* the URL as it may be shown */
	char *brokers;     /* "host:port,host" */
	const char *topic; /* of the URL's arena */
};

/* ERROR_USAGE: no broker, no topic, a topic's name that can't be one.  *out needs kafka_target_clear
 * only after success. */
int kafka_target_parse(const char *text, struct kafka_target *out, struct error *e);
void kafka_target_clear(struct kafka_target *t);

/* ---- a client ---- */

struct kafka_property {
	const char *name, *value;
	bool fixed; /* the URL may not say otherwise: ERROR_USAGE */
};

/* Called at least every KAFKA_SLICE_MS while something is waited for; -1 gives up with its error.
 * NULL: nobody. */
struct kafka_wait {
	int (*alive)(void *context, struct error *e);
	void *context;
};

struct kafka_setup {
	const struct kafka_target *target;        /* outlives the client */
	rd_kafka_type_t type;
	const struct kafka_property *properties;  /* ends with name NULL */
	/* NULL: nothing to add.  May set callbacks; the opaque is the struct kafka. */
	void (*configure)(rd_kafka_conf_t *conf, void *context);
	void *context;
	struct kafka_wait wait;
};

struct kafka;

/* Whether the properties are such as there are, as far as that shows without a client. */
int kafka_check(const struct kafka_setup *s, struct error *e);

/* Connects in the background: a wrong property fails here, a broker that isn't there doesn't. */
int kafka_open(const struct kafka_setup *s, struct kafka **out, struct error *e);
void kafka_close(struct kafka *k); /* NULL: nothing.  Messages and topics of it are gone before */

rd_kafka_t *kafka_handle(struct kafka *k);
const char *kafka_brokers(const struct kafka *k); /* for messages */
void *kafka_context(const struct kafka *k);       /* of the setup: for callbacks, whose opaque is k */

/* What the URL or the defaults say for a property that is a number; 0 if it isn't one. */
int64_t kafka_property_int(const struct kafka *k, const char *name);

/* Hears what librdkafka has to say, without waiting.  -1: what won't go away by itself (a wrong
 * password, a certificate that isn't trusted, a fatal error). */
int kafka_poll(struct kafka *k, struct error *e);

/* Whether no broker can be reached, as far as was heard, and why.  Whoever gets an answer says so. */
bool kafka_is_away(const struct kafka *k);
const char *kafka_trouble(const struct kafka *k); /* "" : none */
void kafka_heard(struct kafka *k);

/* One turn of waiting for something that is repeated until it succeeds: polls, calls alive, and gives
 * up (-1) when `since_us` (of clock_mono_us) is too long ago, or every broker refuses. */
int kafka_wait(struct kafka *k, int64_t since_us, struct error *e);

/* ---- topics ---- */

/* The number of partitions, waiting for a broker.  A topic that isn't there is ERROR_USAGE with one
 * that is called alike. */
int kafka_partitions(struct kafka *k, const char *topic, int32_t *out, struct error *e);

/* The same without waiting longer than so many milliseconds: 1 if there was no answer. */
int kafka_look_partitions(
	struct kafka *k, const char *topic, int timeout_ms, int32_t *out, struct error *e);

/* The topic's max.message.bytes; 0 where the brokers don't tell. */
int kafka_topic_limit(struct kafka *k, const char *topic, int64_t *out_bytes, struct error *e);

/* ---- errors ---- */

/* "BROKERS: WHAT: Broker: Not leader for partition", with the code of its kind; what NULL: without.
 * Returns -1. */
int kafka_error(
	const struct kafka *k, rd_kafka_resp_err_t err, const char *what, struct error *e);

/* Whether trying again may help. */
bool kafka_may_pass(rd_kafka_resp_err_t err);

#endif
