/* The source operators: records of files, Nexmark events, recorded frames, with event time.
 *
 * Watermarks.  A bounded source sends none of its own unless a delay is given: then one after every
 * SOURCE_WATERMARK_ROWS rows, so that they depend on the rows and not on how they were read:
 * greatest event time - delay - 1 us.  Live ones send one whenever all that was there has been read,
 * and at least every SOURCE_FLUSH_US: their lateness can't be repeated.
 *
 * Several subtasks.  Files are divided (split.h, positions.h), Nexmark goes in lanes (lanes.h): all
 * subtasks together send what one would.  Neither --limit nor a recording can be divided. */
#ifndef RUNNEL_CMD_SSOURCE_SOURCE_H
#define RUNNEL_CMD_SSOURCE_SOURCE_H

#include "cmd/ssource/sockets.h"
#include "formats/records.h"
#include "libcore/stage/operator.h"

enum { SOURCE_WATERMARK_ROWS = BATCH_ROWS };

enum { SOURCE_BAD_OUTPUT = 1 };

enum { SOURCE_FLUSH_US = 10000 };

#define SOURCE_TYPE "ssource" /* of them all, in snapshots too: their sections tell them apart */

enum source_snapshot {
	SOURCE_SNAPSHOT_AUTO, /* unless a slot is there that is to be gone on from */
	SOURCE_SNAPSHOT_YES,
	SOURCE_SNAPSHOT_NO,
};

struct source_options { /* borrowed; outlives the operator */
	struct records_options records; /* its bad sink is filled by the source */
	const char *time_column;        /* NULL: none */
	bool has_delay;
	int64_t delay_us;
	int64_t limit;                  /* rows; < 0: all */
	int64_t rate;                   /* rows per second; 0: as fast as it goes */
	const char *bad;                /* "stop", "skip", or a path */
	bool bad_output;                /* bad records are rows of a side output */
	uint64_t cut_min_bytes;         /* of a file's pieces, in several subtasks; 0: the default */
	const char *from;               /* --from; NULL: not given */
	bool until_end;                 /* --until end: of a broker what is there by now */
	bool follows;                   /* --follow: inputs grow, are rotated, appear */
	bool from_end;
	bool polls;                     /* looks at followed files instead of being told */
	bool merges;                    /* inputs side by side, each a partition */
	bool time_is_now;               /* -t now: time_column is one that is added */
	int64_t idle_us;                /* a partition that is silent so long holds nothing; 0: never */
	bool has_ahead;
	int64_t ahead_us;               /* how far times may be ahead of the clock */
	const char *meta;               /* columns of what came with a record; NULL: none */
	enum source_snapshot snapshot;  /* the rows that are there, before their changes */
	struct sockets_options sockets; /* of inputs that are sockets */
	bool supervised;
	bool progress;                  /* a line on standard error, from the start */
	bool progress_late;             /* only when it takes over a second */
};

/* Opens nothing yet: that is done in the first produce. */
int source_new_records(const struct source_options *o, struct operator **out, struct error *e);
int source_new_nexmark(const struct source_options *o, const char *url, struct operator **out,
	struct error *e);

/* Inputs that are live, or read side by side: see follow.h and timeline.h.  What was asked for that
 * only this one does tells source_is_live. */
int source_new_live(const struct source_options *o, struct operator **out, struct error *e);
bool source_is_live(const struct source_options *o);

/* Whether subtasks could not come to different types: -s gives all of them. */
bool source_knows_types(const struct source_options *o);

/* Recorded edges, one after another. */
int source_new_replay(const struct source_options *o, struct operator **out, struct error *e);

/* Frame streams that sockets bring. */
int source_new_socket_frames(const struct source_options *o, struct operator **out, struct error *e);

/* What the twin has (cmd/common/connected.h): NULL in a program that reads files only.  They fill in
 * what is to be said of them before they run. */
struct stage_description;
int source_new_kafka(const struct source_options *o, const char *url, struct stage_description *about,
	struct operator **out, struct error *e) __attribute__((weak));
int source_new_postgres(const struct source_options *o, const char *url,
	struct stage_description *about, struct operator **out, struct error *e)
	__attribute__((weak));

/* A file as `ssource path` would read it, for stages that open their inputs themselves.  path is
 * borrowed. */
int source_open_file(const char *path, struct operator **out, struct error *e);

/* A snapshot's section that isn't this source's own is ERROR_STATE, with what it is. */
int source_check_section(const struct batch *b, const char *own, struct error *e);

#endif
