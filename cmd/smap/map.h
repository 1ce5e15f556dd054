/* The operator of smap: rows chosen by a condition, columns computed by a select list.
 *
 * With --exec what comes out of that passes through a co-process, whose answers are the output.
 *
 * Stateless, but for the greatest event time under --assign-time.  Columns that pass unchanged are
 * passed on as views; a filter gathers only the columns that the list uses. */
#ifndef RUNNEL_CMD_SMAP_MAP_H
#define RUNNEL_CMD_SMAP_MAP_H

#include "cmd/common/exec.h"
#include "libcore/stage/operator.h"

struct map_options {
	const char *where, *where_what; /* NULL: all rows */
	const char *list, *list_what;   /* NULL: * */
	const char *explode;            /* an any column, one row per element; NULL: none */
	const char *assign_time;        /* an output column; NULL: time stays as it is */
	bool has_delay;
	int64_t delay_us;
	const char *bad;                /* "stop", "skip" or a path */
	bool bad_output;                /* bad rows go to MAP_BAD_OUTPUT instead */
	struct exec_options exec;
	bool has_else;                  /* MAP_ELSE_OUTPUT takes the rows for which where isn't true */
};

enum { MAP_ELSE_OUTPUT = 1, MAP_BAD_OUTPUT = 2 };

/* Texts are borrowed for as long as the operator lives. */
int map_operator_new(const struct map_options *o, struct operator **out, struct error *e);

#endif
