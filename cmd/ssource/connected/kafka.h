/* Kafka as a source: the parts of kafka.c, which is the operator.
 *
 *   kafka_input.c    what URL and options ask for, and which columns messages themselves give
 *   kafka_reach.c    the client, the topic's partitions, where reading begins
 *   kafka_state.c    snapshots, and the group's committed offsets
 *
 * Partitions are assigned, not balanced by a group: partition p is the subtask's p mod subtasks.  A
 * position is the offset behind the last message whose rows were handed out; bounded, a partition
 * ends where it ended when reading began: at its last stable offset, with read_committed.
 *
 * Snapshot:
 *
 *   section "kafka"       a row a subtask: topic, schema (a -s text, null: not known yet), format,
 *                         rows, now, begun (positions are known)
 *   section "partitions"  a row each: partition, offset, end (null: none), greatest_time (null:
 *                         none), silent
 *
 * silent: for how long nothing had come, in microseconds.  now: with -t now, the time of the last
 * row. */
#ifndef RUNNEL_CMD_SSOURCE_CONNECTED_KAFKA_H
#define RUNNEL_CMD_SSOURCE_CONNECTED_KAFKA_H

#include "cmd/ssource/source.h"
#include "cmd/ssource/timeline.h"
#include "connect/heavy/kafka.h"
#include "libcore/base/arena.h"
#include "libcore/state/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- what is asked for ---- */

enum kafka_meta {
	KAFKA_TOPIC,
	KAFKA_PARTITION,
	KAFKA_OFFSET,
	KAFKA_TIMESTAMP,
	KAFKA_HEADERS, /* all of them, as a map */
	KAFKA_HEADER,  /* one, by its name */
	KAFKA_KEY,     /* formats/messages.h takes it */
};

struct kafka_meta_column {
	enum kafka_meta kind;
	const char *name;
	const char *header; /* KAFKA_HEADER */
	struct type type;
	size_t key; /* KAFKA_KEY: which of the input's keys */
};

enum kafka_from { KAFKA_EARLIEST, KAFKA_LATEST, KAFKA_COMMITTED, KAFKA_TIME };

struct kafka_input {
	struct kafka_target target;
	enum kafka_from from;
	int64_t from_ms; /* KAFKA_TIME */
	bool is_bounded;
	const char *group; /* NULL: none */
	bool is_committed; /* isolation.level */
	struct arena arena;
	struct kafka_meta_column *metas;
	size_t metas_len;
	struct wanted_column *keys; /* of formats/messages.h */
	size_t keys_len;
};

/* *out needs kafka_input_clear only after success. */
int kafka_input_parse(
	const struct source_options *o, const char *url, struct kafka_input *out, struct error *e);
void kafka_input_clear(struct kafka_input *in);

/* Checks the client's properties without reaching for a broker. */
int kafka_input_check(const struct kafka_input *in, struct error *e);

/* Appends a message's value of a column that isn't of its key. */
void kafka_meta_put(const struct kafka_meta_column *c, const rd_kafka_message_t *message,
	struct buf *scratch, struct column_builder *out);

/* ---- partitions ---- */

struct kafka_partition {
	int32_t number;
	bool is_started;
	bool is_at_end; /* nothing more by now */
	int64_t next;   /* offset; OFFSET_UNKNOWN: not known yet */
	int64_t end;    /* OFFSET_UNKNOWN: none */
	struct partition *time;
	int64_t greatest_us; /* restored, until there is time */
	int64_t silent_us;
};

#define OFFSET_UNKNOWN INT64_C(-1)

static inline bool kafka_partition_is_over(const struct kafka_partition *p)
{
	return p->end != OFFSET_UNKNOWN && p->next >= p->end;
}

struct kafka_partitions {
	struct kafka_partition **items; /* this subtask's, by number */
	size_t len, cap;
	int32_t count; /* of the topic, as far as is known */
};

struct kafka_partition *kafka_partitions_find(const struct kafka_partitions *p, int32_t number);
struct kafka_partition *kafka_partitions_add(struct kafka_partitions *p, int32_t number);
void kafka_partitions_clear(struct kafka_partitions *p);

/* ---- reaching it ---- */

enum { KAFKA_NUDGES_MAX = 64 };

struct kafka_reach {
	const struct kafka_input *in;
	struct kafka *client;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue; /* of all partitions' messages */
	int wake_fd;             /* readable when there may be something */
	int look_ms;             /* patience with metadata */
	int64_t looked_us;
	bool was_full;          /* so much was ahead that librdkafka stopped fetching */
	int64_t ahead_max, ahead_bytes_max; /* messages; 0: not asked yet */
	/* The thread that wakes it, and whom it asks. */
	pthread_t nudger;
	bool has_nudger;
	atomic_bool is_asking;
	int32_t nudged[KAFKA_NUDGES_MAX];
	size_t nudged_len;
};

/* Connects and learns how many partitions there are. */
int kafka_reach_open(struct kafka_reach *r, const struct kafka_input *in, struct stage *st,
	struct kafka_partitions *parts, struct error *e);
void kafka_reach_close(struct kafka_reach *r, const struct kafka_partitions *parts);

/* Finds out where those whose position isn't known begin: from, or (is_new) at their start; and of
 * a bounded input where each ends. */
int kafka_reach_settle(
	struct kafka_reach *r, struct kafka_partitions *parts, bool is_new, struct error *e);

/* Begins to fetch what isn't fetched yet. */
int kafka_reach_start(struct kafka_reach *r, struct kafka_partitions *parts, struct error *e);

/* After messages were taken, each of about so many bytes.  A client that has as much ahead as it may
 * sleeps for up to a second, whatever is taken meanwhile: it is woken before it has nothing left. */
void kafka_reach_nudge(struct kafka_reach *r, const struct kafka_partitions *parts, size_t bytes);

/* Looks for new partitions when it is time for that: parts->count grows. */
int kafka_reach_look(
	struct kafka_reach *r, struct kafka_partitions *parts, int64_t mono_us, struct error *e);

/* An offset that the broker hasn't got: ERROR_STATE with the numbers. */
int kafka_reach_fail_range(struct kafka_reach *r, const struct kafka_partition *p, struct error *e);

/* ---- state ---- */

struct kafka_state {
	char *topic, *spec, *format; /* owned; NULL: not known */
	uint64_t rows;
	int64_t now_us; /* WATERMARK_NONE: none */
	bool has_any, begun;
};

void kafka_state_clear(struct kafka_state *s);
int kafka_state_put(const struct kafka_state *s, struct snapshot_writer *w, struct error *e);
int kafka_state_take(struct kafka_state *s, const struct batch *b, struct error *e);
int kafka_partitions_put(const struct kafka_partitions *p, int64_t mono_us,
	struct snapshot_writer *w, struct error *e);
int kafka_partitions_take(struct kafka_partitions *p, const struct batch *b, struct error *e);

/* Positions as an epoch's handle, "partition offset" a line, and what they commit to the group.
 * wait_us 0: not waited for.  What fails is only told: nothing but monitoring depends on it. */
void kafka_handle_put(const struct kafka_partitions *p, struct buf *out);
int kafka_handle_commit(struct kafka_reach *r, const uint8_t *handle, size_t len, int64_t wait_us,
	struct stage *st, struct error *e);

#endif
