/* The operator of ssink: rows to text (or frames) to an output.  Shared, because every program shows
 * its rows with it when its standard output is a terminal. */
#ifndef RUNNEL_CMD_COMMON_SINK_H
#define RUNNEL_CMD_COMMON_SINK_H

#include "formats/writer.h"
#include "libcore/stage/operator.h"

struct sink_options {
	const char *output;      /* "-" , a path, "dir/", "null:" */
	const char *format;      /* NULL: by the name, else table on a terminal, else ndjson */
	const char *compress;    /* "gz" "zst" "lz4"; NULL: a path's extension says */
	struct writer_options writer;
	bool supervised;
	const char *spool;       /* supervised: where an epoch of standard output waits for its commit */
	bool verbose;            /* tell at the end how many rows there were */
};

int sink_operator_new(const struct sink_options *o, struct operator **out, struct error *e);

#endif
