/* Stages as processes: finds their programs, asks what they are, starts them on their end of a line.
 * It knows neither plans' exchanges nor checkpoints. */
#ifndef RUNNEL_CMD_RUNNEL_LAUNCH_H
#define RUNNEL_CMD_RUNNEL_LAUNCH_H

#include "cmd/runnel/plan.h"

#include <sys/types.h>

/* plan_programs.find: a name from the list of stages, with the prefix this program was installed
 * under, beside this program; a path by its last part. */
int launch_find(void *context, const char *word, struct arena *a, const char **path);

/* plan_programs.describe: starts each, hears its DESCRIPTION, lets it go. */
int launch_describe(void *context, struct plan *p, size_t first, size_t *failed, struct error *e);

/* What every stage gets over this process's own environment; borrowed. */
void launch_environment(const struct pipeline_variable *variables, size_t len);

struct launch_options {
	const char *log;           /* standard error is appended to it; NULL: dropped */
	const char *spool;         /* RUNNEL_SPOOL */
	const int *fds;            /* to be inherited, beside the line; the lock among them */
	size_t fds_len;
};

struct process {
	pid_t pid;
	struct line *line;
};

/* Standard input is empty, standard output this process's.  In a process group of its own: a
 * terminal's signals are for the supervisor. */
int launch(const struct plan_stage *s, const struct launch_options *o, struct process *out,
	struct error *e);

/* Room for the descriptors of large exchanges. */
void launch_raise_limits(void);

#endif
