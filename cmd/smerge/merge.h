/* The operator of smerge: the rows of several streams as one.
 *
 * The output has the first input's columns in its order; the others have the same names.  A
 * column's type is what those of all inputs widen to.  Nothing is kept but the output's columns. */
#ifndef RUNNEL_CMD_SMERGE_MERGE_H
#define RUNNEL_CMD_SMERGE_MERGE_H

#include "libcore/stage/operator.h"

struct merge_options {
	unsigned inputs; /* up to DESCRIPTION_INPUTS_MAX; 0 is the stage in front */
	const char *const
		*names; /* of each, for messages; borrowed; NULL: by its number and stage */
};

int merge_operator_new(const struct merge_options *o, struct operator** out, struct error *e);

#endif
