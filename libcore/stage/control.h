/* A stage under a supervisor: answers the line (line.h), takes snapshots in child processes, commits,
 * and decides when to leave.  run.c calls it from its loop; alone in a shell there is none. */
#ifndef RUNNEL_STAGE_CONTROL_H
#define RUNNEL_STAGE_CONTROL_H

#include "libcore/stage/line.h"

#include <poll.h>

struct control;

/* Whether this process has been started by a supervisor. */
bool control_is_wanted(void);

/* Takes the line from the environment. */
int control_open(struct control **out, struct error *e);

/* Describes the stage (its operator is not running yet) and waits for the plan.  0; 1: nobody wants
 * more than the description; -1. */
int control_describe(struct control *c, const struct operator *op,
	const struct stage_description *about, struct error *e);
void control_close(struct control *c);
const struct line_plan *control_plan(const struct control *c);

/* For the stage's plan: called at an aligned barrier. */
int control_checkpoint(void *context, struct stage *st, const struct barrier *b,
	const struct buf *handle, struct error *e);

/* Restores the stage, commits the plan's handles, says READY.  0; 1: that was all; -1. */
int control_start(struct control *c, struct stage *st, struct error *e);

/* Answers what has come, acknowledges snapshots that are done.  0; 1: leave now, without END; -1. */
int control_turn(struct control *c, struct stage *st, struct error *e);

/* For writers that would block: answers PING meanwhile, sees the line close, and keeps all other
 * orders for control_turn.  A descriptor of -1: doesn't wait, only looks. */
struct channel_wait control_wait(struct control *c);

/* Counts time spent waiting for input. */
void control_idled(struct control *c, int64_t us);

/* What to wait for beside the inputs; room for 2. */
size_t control_fds(const struct control *c, struct pollfd *fds);

/* The stage has ended: FINISHED, and for a sink the wait for its last commit. */
int control_finish(struct control *c, struct stage *st, struct error *e);

/* Says why the stage leaves; errors of the line itself are ignored. */
void control_fail(struct control *c, const struct error *cause);

#endif
