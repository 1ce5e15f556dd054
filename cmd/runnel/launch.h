/* The stages of a plan as processes: cmd/common/process.h, by what the plan knows of them. */
#ifndef RUNNEL_CMD_RUNNEL_LAUNCH_H
#define RUNNEL_CMD_RUNNEL_LAUNCH_H

#include "cmd/common/process.h"
#include "cmd/runnel/plan.h"

/* plan_programs.find */
int launch_find(void *context, const char *word, struct arena *a, const char **path);

/* plan_programs.describe */
int launch_describe(void *context, struct plan *p, size_t first, size_t *failed, struct error *e);

/* Starts a stage, with the variables that its text exports. */
int launch(const struct plan_stage *s, struct process_options *o, struct process *out,
	struct error *e);

/* Room for the descriptors of large exchanges. */
void launch_raise_limits(void);

#endif
