/* For --plan: what of a savepoint, or of the job's own last checkpoint, fits the plan, found out by
 * restoring it: every stage is started, takes its state, says what it thinks of it, and leaves. */
#ifndef RUNNEL_CMD_RUNNEL_EXPLAIN_H
#define RUNNEL_CMD_RUNNEL_EXPLAIN_H

#include "cmd/runnel/restore.h"

struct explain_options {
	const struct plan *plan;
	const char *from;        /* a savepoint; NULL: the job's own last checkpoint */
	const char *directory;   /* the job's state, if it has any */
	const char *const *drop;
	size_t drop_len;
};

/* Appends what is found; nothing if there is no state.  ERROR_STATE if it doesn't fit. */
int explain(const struct explain_options *o, struct buf *out, struct error *e);

#endif
