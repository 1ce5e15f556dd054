/* Runs one stage as a program: the loop around stage.h that moves bytes.
 *
 *   standard input, paths --> channel readers --+
 *   a file opened in this process (feed) -------+--> stage --> channel writers --> standard output
 *   the supervisor's line (line.h) -------------+          \-> side files
 *                                                           \-> a terminal sink in this process
 *
 * It owns descriptors, signals and the wait; what frames mean is stage.c's. */
#ifndef RUNNEL_STAGE_RUN_H
#define RUNNEL_STAGE_RUN_H

#include "libcore/stage/control.h"
#include "libcore/stage/program.h"

struct run_options {
	const struct stage_program *program;
	struct stage_setup *setup;
	const char *name;
	bool quiet;
};

/* Runs the operator (taken over) to its end, alone or under a supervisor (control, taken over; NULL:
 * none).  0, or -1 with what the program ends with. */
int run_stage(const struct run_options *o, struct operator *op, struct control *control,
	struct error *e);

/* Whether this end has been told by somebody else already: the reader of standard output has gone,
 * or the stage in front failed and the last stage of the pipeline will say so. */
bool run_error_is_silent(const struct error *e);

#endif
