/* A small coordinator for tests: starts real programs joined by socket pairs, speaks the line with
 * them, takes checkpoints, kills and restores.  A plan is a straight pipeline; any stage may run as
 * several subtasks, fed by an exchange on the keys of the stage in front. */
#ifndef RUNNEL_TESTS_COORDINATOR_H
#define RUNNEL_TESTS_COORDINATOR_H

#include "libcore/stage/line.h"

#include <sys/types.h>

enum { JOB_STAGES_MAX = 6, JOB_SUBTASKS_MAX = 4, JOB_ARGUMENTS_MAX = 12 };

struct job_stage {
	const char *name;
	const char *argv[JOB_ARGUMENTS_MAX]; /* argv[0] is the program in $BIN */
	const char *key;                     /* of the exchange behind it; NULL: none */
	uint32_t subtasks;
};

struct job_process {
	pid_t pid;
	struct line *line;
	uint64_t acked;      /* the last checkpoint */
	uint64_t committed;  /* the last epoch */
	bool ready, finished, gone;
	int status;          /* once it is gone */
	char *path;          /* of the last snapshot */
	uint64_t bytes, hash;
	struct buf handle;
	char *failure;       /* what FAILED said */
};

struct job {
	const struct job_stage *stages;
	size_t stages_len;
	const char *snapshots;  /* directory */
	struct job_process processes[JOB_STAGES_MAX][JOB_SUBTASKS_MAX];
};

/* A complete checkpoint: what a manifest would hold. */
struct job_checkpoint {
	uint64_t id;
	uint32_t subtasks[JOB_STAGES_MAX];
	char *paths[JOB_STAGES_MAX][JOB_SUBTASKS_MAX]; /* NULL: that subtask had finished */
	struct buf handle;                             /* of the sink */
};

/* Starts every process; from: restored from it, its handle committed first.  NULL: from nothing. */
void job_start(struct job *j, const struct job_checkpoint *from);

/* Asks for checkpoint id and waits until all have acknowledged; then commits it at the sink.  false:
 * the job ended first. */
bool job_checkpoint(struct job *j, uint64_t id, enum barrier_kind kind,
	struct job_checkpoint *out);
void job_checkpoint_clear(struct job_checkpoint *c);

/* kill -9 of all; waits for them. */
void job_kill(struct job *j);

/* Runs to the end with the final checkpoint and the last commit; all must leave with status 0. */
void job_finish(struct job *j, uint64_t final_id);

#endif
