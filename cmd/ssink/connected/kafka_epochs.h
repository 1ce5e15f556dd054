/* Which epochs a topic has: a record for each in a compacted topic of their own, written in the
 * transaction that brings the epoch's messages.
 *
 *   topic   __runnel_epochs (?epochs=NAME), one partition, cleanup.policy=compact
 *   key     job/stage/subtask      value   the epoch's number
 *
 * The first is 0, before there is any epoch: one that isn't there has been lost.
 * Numbers only grow, so the last record of a key tells.  They are read to the end that the topic
 * has at that moment, as a reader of committed transactions sees it: an open one of somebody else
 * in between is waited for. */
#ifndef RUNNEL_SSINK_KAFKA_EPOCHS_H
#define RUNNEL_SSINK_KAFKA_EPOCHS_H

#include "connect/heavy/kafka.h"

struct kafka_epoch {
	char *stage;
	uint64_t subtask, epoch;
};

struct kafka_epochs {
	struct kafka_epoch *items;
	size_t len, cap;
};

void kafka_epochs_clear(struct kafka_epochs *s);

bool kafka_epochs_has(const struct kafka_epochs *s, const char *stage, uint64_t subtask);

/* The last epoch of a stage's subtask; 0: none. */
uint64_t kafka_epochs_find(const struct kafka_epochs *s, const char *stage, uint64_t subtask);
void kafka_epochs_set(struct kafka_epochs *s, const char *stage, uint64_t subtask, uint64_t epoch);

/* Makes the topic if there is none.  k: any client of the brokers. */
int kafka_epochs_make(struct kafka *k, const char *topic, struct error *e);

/* Reads those of a job, instead of what s had. */
int kafka_epochs_read(struct kafka_epochs *s, const struct kafka_target *target, const char *topic,
	const char *job, const struct kafka_wait *wait, struct error *e);

/* "job/stage/subtask", to be freed. */
char *kafka_epochs_key(const char *job, const char *stage, uint64_t subtask);

#endif
