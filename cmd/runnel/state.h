/* A job's state directory: who owns it, the job's identity, and where things lie in it.
 *
 *   lock           flock: held by the supervisor and every stage it started, so that it is free only
 *                  when all of them are gone; holds the supervisor's pid
 *   job            id (for life), attempts so far, the pipeline's path, where it was started
 *   checkpoints/   checkpoint.h
 *   dropped        what --drop-state has let go, and by which checkpoint
 *   restored/      a savepoint the job was started from, until its first own checkpoint
 *   spool/         what sinks keep until a commit
 *   logs/          <stage>.<subtask>.log, what stages wrote to standard error
 *   ended          instead of job: all is committed, the rest is being removed
 *   socket         server.h */
#ifndef RUNNEL_CMD_RUNNEL_STATE_H
#define RUNNEL_CMD_RUNNEL_STATE_H

#include "cmd/runnel/checkpoint.h"

struct state {
	char *directory;
	char job[JOB_ID_LEN + 1];
	char *pipeline;
	uint64_t attempt;
	bool ended; /* what was left of a job that had come to its end: there is nothing to run */
	int lock_fd;
};

/* Makes the directory if need be, takes the lock (waiting for stages of a supervisor that died to be
 * gone), reads or makes the identity.  ERROR_USAGE if another supervisor runs it, if it belongs to
 * another pipeline or was started in another directory, or if what lies in it isn't a job's. */
int state_open(const char *directory, const char *pipeline, struct state *out, struct error *e);
void state_close(struct state *s);

/* "<directory>/<name>", to be freed with mem_free. */
char *state_path(const struct state *s, const char *name);

/* Counts a start of the job, durably: the number is never the same twice. */
int state_next_attempt(struct state *s, struct error *e);

/* The job has ended, its output is committed: nothing is left to go on from. */
void state_remove(struct state *s);

/* The same of a job that has come to its end.  A supervisor that is killed meanwhile, and started again
 * because it was, must not begin anew: a directory would get every row a second time. */
void state_end(struct state *s);

#endif
