/* The process around a co-process's command (cmd/common/coprocess.h, the only one that uses it): it
 * leads the process group, relays standard error, hands on the exit status, and kills the group when
 * the stage dies before it. */
#ifndef RUNNEL_CMD_COMMON_COPROCESS_GUARD_H
#define RUNNEL_CMD_COMMON_COPROCESS_GUARD_H

#include "libcore/base/error.h"

#include <stdint.h>
#include <sys/types.h>

struct coprocess_guard {
	const char *command, *name;
	uint32_t subtask;
	/* Filled in: */
	pid_t pid;
	int to, from; /* the command's standard input and output, not blocking */
};

int coprocess_guard_start(struct coprocess_guard *g, struct error *e);

/* 0: it has ended, and what was left of its group is killed; *status as a shell tells it, 128 and the
 * signal's number for a killed one.  1: it runs.  -1 with errno. */
int coprocess_guard_reap(pid_t pid, int *status);

void coprocess_guard_kill(pid_t pid);

#endif
