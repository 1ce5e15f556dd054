/* The parts of a directory that are being written: one, or one per directory of a partition.  It
 * says which rows go where and when a part is complete; output.h keeps the files.
 *
 * No more are open at once than the limit: the one that has gone longest without rows is finished,
 * and what comes for it later begins another.  A part also is complete when it has so many bytes
 * (as they lie on disk, and at most a batch of rows more) or is so old. */
#ifndef RUNNEL_CMD_COMMON_PARTS_H
#define RUNNEL_CMD_COMMON_PARTS_H

#include "cmd/common/output.h"
#include "cmd/common/partition.h"
#include "cmd/common/sheet.h"

enum { PARTS_OPEN_DEFAULT = 100 };

/* When a part is complete before its epoch is; 0: never by this. */
struct roll {
	uint64_t bytes;
	int64_t age_us;
};

struct parts_options {
	const char *format;
	struct writer_options writer;
	struct partition *partition; /* borrowed; NULL: all rows belong to the directory itself */
	struct roll roll;  /* with any of it, alone, a part shows as soon as it is complete */
	uint32_t open_max; /* 0: PARTS_OPEN_DEFAULT */
};

struct parts;

struct parts *parts_new(const struct parts_options *o, struct output *output);
void parts_free(struct parts *p); /* what isn't finished is gone */

/* Parts take it with their next rows. */
int parts_schema(struct parts *p, const struct schema *s, struct error *e);

/* now_us: of any clock that doesn't fall, for the age. */
int parts_rows(struct parts *p, const struct batch *b, int64_t now_us, struct error *e);
int parts_watermark(struct parts *p, int64_t us, struct error *e);

/* Whether so many had to give way that it should be told. */
bool parts_are_scattered(const struct parts *p);

/* Finishes what is old enough.  Returns how long until the next one is, -1 none. */
int parts_tick(struct parts *p, int64_t now_us, int64_t *next_us, struct error *e);

/* Finishes all: an epoch ends. */
int parts_finish(struct parts *p, struct error *e);

/* "128M", "10m", "128M,10m", "10m,128M"; ERROR_USAGE. */
int roll_parse(const char *text, struct roll *out, struct error *e);

#endif
