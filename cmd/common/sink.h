/* The operator of ssink: rows to text (or frames) to an output.  Shared, because every program shows
 * its rows with it when its standard output is a terminal. */
#ifndef RUNNEL_CMD_COMMON_SINK_H
#define RUNNEL_CMD_COMMON_SINK_H

#include "cmd/common/parts.h"
#include "connect/net.h"
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

	/* Sockets: */
	struct net_options net;  /* without alive and warn, which are the sink's */
	const char *pack;        /* frames: "lz4", "zstd"; NULL: as they are */

	/* Directories: */
	const char *partition;   /* columns whose values are in the path: "day,hour"; NULL */
	struct roll roll;
	uint32_t parts_open_max; /* 0: PARTS_OPEN_DEFAULT */

	/* Messages: columns, or NULL: */
	const char *message_key, *message_headers;

	/* Tables: */
	const char *upsert;      /* columns whose values tell rows apart: "shop,id"; NULL: rows are added */
	bool create;             /* make the table if there is none */
	int64_t memory_bytes;    /* cap for the rows that an upsert keeps; 0: none */

	/* What a person sees, and when a part alone is old enough to be seen, goes by this clock, in
	 * microseconds; what is written never does.  NULL: by TICKs, as it does under a supervisor. */
	int64_t (*clock_us)(void);
};

int sink_operator_new(const struct sink_options *o, struct operator **out, struct error *e);

#endif
