/* The coordinator of one attempt: when checkpoints are taken, when they are complete, when epochs are
 * committed, and how a job ends.  Aligned snapshots after Chandy and Lamport as Flink takes them
 * (Carbone et al., "Lightweight Asynchronous Snapshots for Distributed Dataflows", 2015), finished
 * tasks after FLIP-147.
 *
 * A state machine: it knows no process, no descriptor, no clock, no file.  What it hears is told to
 * it, what it wants goes through its actions, so that tests run ten thousands of schedules in a
 * second (tests/coordinator_test.c).
 *
 *   STARTING --all READY--> RUNNING --every task FINISHED--> (final checkpoint) --> ENDED
 *                              |
 *                              +--stop asked--> (checkpoint) --------------------> STOPPED
 *
 *   a checkpoint:  begin -> CHECKPOINT to sources and to sinks that have FINISHED -> every task has
 *   acknowledged, or FINISHED without (a sink then gets CHECKPOINT itself) -> complete (the manifest)
 *   -> COMMIT to sinks and sources -> all COMMITTED -> done.  One at a time. */
#ifndef RUNNEL_CMD_RUNNEL_COORDINATOR_H
#define RUNNEL_CMD_RUNNEL_COORDINATOR_H

#include "cmd/runnel/checkpoint.h"

/* One subtask, as the plan has it. */
struct coordinator_task {
	const char *stage, *type;
	const char *keeps; /* what state it has, for a person; NULL: none */
	uint32_t subtask, subtasks;
	bool source, sink;
	bool finished; /* before it was restored: it takes part in nothing but commits */
};

struct coordinator_ack {
	uint64_t id;
	const char *file;   /* in the checkpoint's directory */
	uint64_t bytes, hash;
	const uint8_t *handle;
	size_t handle_len;
};

/* What it wants done.  The first three may be refused: -1 gives the checkpoint up. */
struct coordinator_actions {
	void *context;
	/* A new number, greater than any before, made durable; the checkpoint's directory. */
	int (*begin)(void *context, enum barrier_kind kind, uint64_t *id, char **directory,
		struct error *e);
	int (*complete)(void *context, const struct checkpoint *c, struct error *e);
	/* All have committed it: older ones may go; a savepoint's archive may be made.  Called for the
	 * restored checkpoint, too, once all are READY. */
	void (*done)(void *context, const struct checkpoint *c);
	void (*given_up)(void *context, uint64_t id, const char *why);

	void (*checkpoint)(void *context, size_t task, const struct barrier *b);
	void (*commit)(void *context, size_t task, uint64_t epoch, const struct buf *handle);
	void (*drain)(void *context, size_t task);
	void (*stop)(void *context, size_t task);
};

enum coordinator_phase {
	COORDINATOR_STARTING,
	COORDINATOR_RUNNING,
	COORDINATOR_STOPPED, /* a checkpoint is committed, every task was told to leave */
	COORDINATOR_ENDED,   /* all input is done and committed */
};

struct coordinator_options {
	int64_t interval_us;  /* between the ends and the starts of checkpoints; 0: none by itself */
	const char *job;
	const struct checkpoint *restored; /* borrowed until all are READY; NULL: from nothing */
};

struct coordinator;

struct coordinator *coordinator_new(const struct coordinator_options *o,
	const struct coordinator_task *tasks, size_t tasks_len,
	const struct coordinator_actions *actions);
void coordinator_free(struct coordinator *c);

/* ---- what tasks say; of one task in the order in which it said it ---- */

void coordinator_ready(struct coordinator *c, size_t task);
void coordinator_ack(struct coordinator *c, size_t task, const struct coordinator_ack *ack);
void coordinator_declined(struct coordinator *c, size_t task, uint64_t id, const char *why);
void coordinator_committed(struct coordinator *c, size_t task, uint64_t epoch);
void coordinator_finished(struct coordinator *c, size_t task);

/* ---- what the time and the user say ---- */

/* The time, which never falls; starts what is due.  wall_us stands in barriers and manifests. */
void coordinator_tick(struct coordinator *c, int64_t now_us, int64_t wall_us);

/* When the next tick is of use; INT64_MAX: not before something is heard. */
int64_t coordinator_next_us(const struct coordinator *c);

/* A checkpoint as soon as can be: at once, or when the one under way is done. */
void coordinator_want(struct coordinator *c, enum barrier_kind kind);
/* Whether such a one has been asked for and not begun. */
bool coordinator_wants(const struct coordinator *c, enum barrier_kind kind);

/* A checkpoint, its commit, and the end of every task without END. */
void coordinator_want_stop(struct coordinator *c);

/* Unbounded sources end; then as any job that comes to its end. */
void coordinator_want_drain(struct coordinator *c);

/* ---- what is so ---- */

enum coordinator_phase coordinator_phase(const struct coordinator *c);
bool coordinator_is_stopping(const struct coordinator *c);
/* The number of the checkpoint under way (not complete yet); 0: none. */
uint64_t coordinator_pending(const struct coordinator *c);
int64_t coordinator_pending_since_us(const struct coordinator *c);
bool coordinator_has_finished(const struct coordinator *c, size_t task);
/* Whether it has nothing more to do, so that its process may have left with status 0. */
bool coordinator_may_leave(const struct coordinator *c, size_t task);

#endif
