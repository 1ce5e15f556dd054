/* The pipelines in stee's arguments, when no supervisor makes them stages of its plan: read,
 * checked, and started as a shell would start them.
 *
 *   stee --- pipe ---> stage | stage <(stage) | ssink OUTPUT
 *
 * Their processes are in stee's process group, so that a terminal's interrupt reaches them with all
 * the others; the last one's standard output is /dev/null.  Every process holds the writing end of
 * a pipe that nobody writes to: its end of file tells that all have gone. */
#ifndef RUNNEL_CMD_STEE_BRANCH_H
#define RUNNEL_CMD_STEE_BRANCH_H

#include "cmd/common/pipeline.h"

/* Reads the texts (borrowed) and asks their stages what they are: ERROR_USAGE with a caret for what
 * isn't the language, no stage, or doesn't end in an ssink with an OUTPUT. */
int branches_read(const char *const *texts, size_t n, struct error *e);

/* As struct stage_branches has it. */
int branch_open(size_t branch, int *fd, int *over, struct error *e);
int branch_wait(size_t branch, struct error *e);

void branches_clear(void);

#endif
