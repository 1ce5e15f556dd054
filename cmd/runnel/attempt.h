/* One attempt at a job: its processes, the edges between them, their lines, and the coordinator that
 * hears them.  It ends well (the coordinator's phase says how) or with a failure; then everything is
 * killed, and whether there is another attempt is job.c's matter. */
#ifndef RUNNEL_CMD_RUNNEL_ATTEMPT_H
#define RUNNEL_CMD_RUNNEL_ATTEMPT_H

#include "cmd/runnel/coordinator.h"
#include "cmd/runnel/launch.h"
#include "cmd/runnel/restore.h"
#include "cmd/runnel/state.h"
#include "cmd/runnel/status.h"

#include <poll.h>

struct attempt_task {
	size_t stage;
	uint32_t subtask;
	struct process process;
	bool alive, ready;
	bool closed;                   /* its end of the line: it is about to be gone */
	uint64_t ping, pong;           /* numbers of the last ones */
	int64_t heard_us;
	uint64_t cpu_ticks;            /* when it was last heard or seen to work */
	struct stage_metrics metrics, before;
	int64_t metrics_us, before_us; /* when they were taken */
	uint64_t state_bytes, alignment_us;
	char *words;                   /* what its FAILED said; NULL */
	int words_status;
	char *log;
	int64_t log_start;             /* its length when this attempt began */
};

struct attempt_failure {
	bool failed;
	bool said;            /* the stage said so itself */
	int status;           /* an exit status: 1, 2, 4 are not worth another attempt */
	char stage[80];
	char text[2048];
	char log[512];
	int64_t at_us;
};

struct attempt_options {
	const struct plan *plan;
	const struct state *state;
	const struct restore *restore;  /* NULL: from nothing */
	int64_t interval_us;            /* of checkpoints */
	int64_t heartbeat_us;           /* silence after which a stage is taken for hung; 0: never */
	struct coordinator_actions keep; /* begin, complete, done, given_up and their context */
};

struct attempt {
	struct attempt_options o;
	struct coordinator *coordinator;
	struct attempt_task *tasks;
	size_t tasks_len;
	struct attempt_failure failure;
	struct arena arena;
};

/* Starts everything.  -1: nothing runs. */
int attempt_start(struct attempt *a, const struct attempt_options *o, struct error *e);

/* What to poll for: the lines; room for tasks_len. */
size_t attempt_fds(const struct attempt *a, struct pollfd *fds);

/* Hears the lines that have something. */
void attempt_hear(struct attempt *a, int64_t now_us);

/* Looks who has left (after SIGCHLD). */
void attempt_reap(struct attempt *a, int64_t now_us);

/* Asks everybody for a sign of life and metrics, kills whoever gave none for too long. */
void attempt_ping(struct attempt *a, int64_t now_us);

/* True once it is clear what failed: the first cause, not what followed from it. */
bool attempt_has_failed(const struct attempt *a, int64_t now_us);
bool attempt_is_over(const struct attempt *a); /* nobody lives */

/* kill -9 of all, waits for them, frees. */
void attempt_end(struct attempt *a);

/* The state of every task; out has room for tasks_len, texts borrow the attempt. */
void attempt_status(const struct attempt *a, struct status_task *out);

#endif
