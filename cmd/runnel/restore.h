/* What of a checkpoint goes to which task of a plan: state is found by the stage's name and type,
 * and keyed state, positions and handles are dealt out again where the number of subtasks has
 * changed. */
#ifndef RUNNEL_CMD_RUNNEL_RESTORE_H
#define RUNNEL_CMD_RUNNEL_RESTORE_H

#include "cmd/runnel/checkpoint.h"
#include "cmd/runnel/plan.h"

struct restore {
	const struct plan *plan;
	const struct checkpoint *from;
	const char *const *drop; /* "stage": its state is given up; "stage:part": that part may be */
	size_t drop_len;
	bool commit;             /* the handles aren't known to be committed */
};

/* Compares names and types.  Appends a line for a person per stage whose state starts empty or is
 * dropped.  State that would be missed, and that no --drop-state names, is ERROR_STATE. */
int restore_fit(const struct restore *r, struct buf *report, struct error *e);

/* Whether a task has nothing left to do: all that it takes up had ENDed. */
bool restore_finished(const struct restore *r, size_t stage, uint32_t subtask);

/* Fills restore, commits and finished of a task's plan; texts live in the arena. */
int restore_task(const struct restore *r, size_t stage, uint32_t subtask, struct arena *a,
	struct line_plan *out, struct error *e);

#endif
