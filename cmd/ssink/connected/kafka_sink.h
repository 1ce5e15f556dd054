/* What the parts of Kafka's sink share: kafka.c, the operator; kafka_commit.c, its epochs.
 *
 * Under a supervisor a row is written to its epoch's file (epoch_file.h) and, if it can be, sent at
 * once in a transaction that stays open until the epoch is committed:
 *
 *   LIVE_NEXT      nothing waits for a commit: the next rows begin a transaction, which gets all
 * that the epoch has by now LIVE_OPEN      the epoch's rows go into it as they come LIVE_PREPARED
 * it has the whole of epoch `through`, and its number; rows of the next one only go to their file
 *   LIVE_OFF       the transaction is gone, or never was: until its commit the epoch is in its file
 * only
 *
 * So a commit has little to do, and rows hardly wait for it.  The file is what counts: whatever
 * happens to the transaction, the epoch is sent again from there. */
#ifndef RUNNEL_SSINK_KAFKA_SINK_H
#define RUNNEL_SSINK_KAFKA_SINK_H

#include "cmd/common/epoch_file.h"
#include "cmd/common/sink.h"
#include "cmd/ssink/connected/kafka_epochs.h"
#include "cmd/ssink/connected/kafka_producer.h"
#include "libcore/stage/operator.h"

enum { KAFKA_HEADERS_MAX = 64 };

enum kafka_live { LIVE_OFF, LIVE_NEXT, LIVE_OPEN, LIVE_PREPARED };

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
	bool has_schema, has_topic, is_ready;
	enum kafka_live live;
	uint64_t through;
	int64_t live_us;       /* since when the transaction is open */
	int64_t message_bytes; /* that the topic takes at most; 0: unknown */
	uint64_t rows;
	struct buf header_text[KAFKA_HEADERS_MAX];
};

/* The producer of this subtask. */
struct kafka_producer *kafka_sink_producer(struct kafka_sink *s, struct error *e);

/* Rows without a transaction. */
int kafka_sink_send(struct kafka_sink *s, const struct batch *b, struct error *e);

/* ---- under a supervisor ---- */

/* Once: takes the transactional ids that earlier starts have left, and reads what they committed.
 */
int kafka_sink_begin(struct kafka_sink *s, struct error *e);

/* Rows that are in the epoch's file by now; the epoch whose file is prepared. */
int kafka_live_rows(struct kafka_sink *s, const struct batch *b, struct error *e);
int kafka_live_prepare(struct kafka_sink *s, uint64_t epoch, struct error *e);

int kafka_sink_commit(struct kafka_sink *s, const uint8_t *handle, size_t len, struct error *e);

#endif
