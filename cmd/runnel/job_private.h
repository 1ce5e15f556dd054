/* What the parts of a job's life share: job.c starts attempts and waits, job_keep.c keeps checkpoints,
 * job_orders.c follows sctl, job_report.c says what happens.  Nothing outside of these includes it. */
#ifndef RUNNEL_CMD_RUNNEL_JOB_PRIVATE_H
#define RUNNEL_CMD_RUNNEL_JOB_PRIVATE_H

#include "cmd/runnel/attempt.h"
#include "cmd/runnel/backoff.h"
#include "cmd/runnel/job.h"
#include "cmd/runnel/metrics.h"
#include "cmd/runnel/server.h"

enum { REQUESTS_MAX = SERVER_CLIENTS_MAX };

/* Somebody who waits for an answer. */
struct waiting {
	enum { WAIT_CHECKPOINT, WAIT_SAVEPOINT, WAIT_STOP, WAIT_DRAIN } kind;
	struct request *request;
	uint64_t after;  /* a checkpoint greater than this */
	char *path;      /* of the savepoint */
	pid_t writer;    /* its archive is being written; 0 */
	uint64_t id;
};

struct job {
	const struct job_options *o;
	struct state *state;
	char *root;                    /* of checkpoints */
	struct checkpoint restored;    /* what the attempt started from */
	bool has_restored;
	uint64_t next_id;
	const char **drop;             /* of --drop-state, what hasn't been dropped yet */
	size_t drop_len;

	struct attempt attempt;
	bool running;
	struct backoff backoff;
	int64_t restart_us;            /* when the next attempt starts, if none runs */
	uint64_t restarts;
	char *failure;                 /* of the last attempt */

	int signals;                   /* signalfd */
	struct server *server;
	struct metrics *metrics;
	struct waiting waiting[REQUESTS_MAX];
	size_t waiting_len;

	int stop_signal;               /* that asked to stop; 0 */
	int64_t stop_us;               /* when a stop was asked for; 0: none */
	bool drain;
	bool over;
	bool worthless;                /* its state is: nothing to go on from, or nothing left to do */
	int status;
	struct error error;            /* why, if status isn't 0 */

	int64_t turn_us;               /* of the next turn */
	int64_t leave_us;              /* when those that were told to leave are killed; 0 */
	int64_t started_us;
	struct status_checkpoint last;
	uint64_t checkpoints, declined;
	unsigned view_lines;           /* on the screen */
	bool notified;                 /* systemd, that all stages run */
	off_t *log_offsets;            /* per task, of what has been shown */
};

/* ---- saying (job_report.c) ---- */

void job_say(struct job *j, const char *format, ...) __attribute__((format(printf, 2, 3)));
void job_clear_view(struct job *j);

/* What stages have written to standard error since; what an earlier attempt wrote isn't shown. */
void job_show_logs(struct job *j);
void job_skip_logs(struct job *j);

/* The job as it looks from outside, for as long as put runs. */
void job_with_status(struct job *j, void (*put)(const struct status *s, void *context),
	void *context);
void job_put_view(const struct status *s, void *context);    /* context: the job */
void job_put_metrics(void *context, struct buf *out);        /* likewise */

/* ---- keeping (job_keep.c) ---- */

/* begin, complete, done, given_up. */
struct coordinator_actions job_keeper(struct job *j);
/* What of --drop-state is still to be let go of what has been restored. */
void job_read_dropped(struct job *j);

/* ---- following orders (job_orders.c) ---- */

void job_take_request(void *context, struct request *r); /* context: the job */
void job_reply(struct job *j, size_t waiting, int status, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void job_start_savepoint(struct job *j, size_t waiting, const struct checkpoint *c);
void job_reap_writers(struct job *j);

/* The oldest checkpoint of whose files an archive is being made: it stays, and those behind; 0: none. */
uint64_t job_pinned(const struct job *j);

/* Those who wait for the end hear of it; archives are finished. */
void job_answer_rest(struct job *j);

/* A checkpoint, its commit, and the end (job.c). */
void job_ask_stop(struct job *j, int64_t now_us);

#endif
