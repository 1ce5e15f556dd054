/* What a running job looks like from outside, and the three ways to say it: a table for a person
 * (the live view, `sctl status`, `sctl top`), JSON for scripts, Prometheus text for machines.  The
 * supervisor fills it; nothing in here asks anybody. */
#ifndef RUNNEL_CMD_RUNNEL_STATUS_H
#define RUNNEL_CMD_RUNNEL_STATUS_H

#include "libcore/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* A time that isn't known. */
#define STATUS_NO_TIME INT64_MIN

struct status_task {
	const char *stage;
	uint32_t subtask, subtasks;
	const char *state; /* "starting" "running" "finished" "stopped" */
	int pid;           /* 0: none */
	bool source, sink;
	uint64_t rows_in, rows_out, late, bad, bytes_out; /* since this start of the job */
	double rows_in_rate, rows_out_rate;               /* per second, over the last seconds */
	double busy, idle, backpressured;                 /* shares of the last seconds, sum 1 */
	int64_t watermark_us;  /* event time; STATUS_NO_TIME: none yet; INT64_MAX: at the end */
	uint64_t state_bytes;  /* of its last snapshot */
	uint64_t alignment_us; /* of its last snapshot */
};

struct status_checkpoint {
	uint64_t id;          /* 0: none yet */
	const char *kind;     /* "checkpoint" "savepoint" "final" */
	int64_t at_us;        /* wall clock when it was complete; STATUS_NO_TIME */
	uint64_t duration_us; /* from the order to the manifest */
	uint64_t bytes;
	uint64_t alignment_us; /* the longest of any task */
};

struct status {
	const char *name, *pipeline, *directory, *job;
	const char *state; /* "starting" "running" "restarting" "stopping" "ended"; to sctl also
			    * "not running", of which only name, directory and last are known */
	int pid;           /* 0: none */
	uint32_t parallelism;
	int64_t now_us, started_us;     /* wall clock; started_us STATUS_NO_TIME: not running */
	uint64_t attempt, restarts;     /* restarts: of this supervisor */
	const char *failure;            /* why the last restart was; NULL */
	uint64_t checkpoints, declined; /* completed, given up */
	struct status_checkpoint last;
	bool checkpoint_pending;
	uint64_t pending_us; /* for how long */
	const struct status_task *tasks;
	size_t tasks_len;
};

struct status_form {
	unsigned columns; /* of the terminal; 0: unlimited */
	bool color;
	bool per_subtask; /* else one line a stage: sums, of busy and backpressured the greatest, of
			   * the watermark the least */
};

/* Lines for a person, each ended by a newline and no wider than the terminal; columns that don't
 * fit are left out, the least telling first. */
void status_put_table(const struct status *s, const struct status_form *form, struct buf *out);

/* One line for `sctl list`: name, state, uptime, rows/s in, last checkpoint, restarts, directory;
 * and the line of titles above those. */
void status_put_line(const struct status *s, struct buf *out);
void status_put_line_head(struct buf *out);

/* One JSON object, and a newline.  Times are ISO 8601, spans seconds; what isn't known is null. */
void status_put_json(const struct status *s, struct buf *out);

/* The text exposition format of Prometheus, version 0.0.4: HELP and TYPE once per metric, labels
 * job, stage, subtask escaped. */
void status_put_prometheus(const struct status *s, struct buf *out);

#endif
