/* A job's life: attempt after attempt, each from the last complete checkpoint, until its input is
 * done, somebody stops it, or it isn't worth trying again.  One loop waits for the stages' lines,
 * signals, sctl, metrics and the time. */
#ifndef RUNNEL_CMD_RUNNEL_JOB_H
#define RUNNEL_CMD_RUNNEL_JOB_H

#include "cmd/runnel/plan.h"
#include "cmd/runnel/state.h"

struct job_options {
	const char *name;
	const struct plan *plan;
	uint32_t parallelism;
	int64_t interval_us;        /* between checkpoints */
	int64_t heartbeat_us;
	const char *restart;        /* backoff.h: "10/10m" */
	const char *from;           /* a savepoint; NULL: none */
	const char *const *drop;    /* --drop-state */
	size_t drop_len;
	const char *metrics;        /* address; NULL: none */
	bool quiet, verbose;
	bool view;                  /* on a terminal: what every stage does, once a second */
};

/* Runs it to its end; the exit status.  Says on standard error what happens to it. */
int job_run(const struct job_options *o, struct state *state, struct error *e);

#endif
