/* The operator of speek: passes frames on and tells of them.  What it tells it hands to put, as
 * text for standard error. */
#ifndef RUNNEL_CMD_SPEEK_PEEK_H
#define RUNNEL_CMD_SPEEK_PEEK_H

#include "libcore/stage/operator.h"

struct peek_options {
	int64_t rows;     /* to show */
	bool frames;      /* list them */
	const char *plot; /* column; NULL: none */
	int64_t every_us; /* between reports; 0: at the end, and when asked */
	bool quiet;       /* no reports */
	bool terminal;    /* reports are written over */
	bool color;
	unsigned width; /* of the terminal; of a plot that is no terminal's */
	void (*put)(void *context, const void *text, size_t len);
	void *context;
};

int peek_operator_new(const struct peek_options *o, struct operator** out, struct error *e);

#endif
