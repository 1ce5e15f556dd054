/* Where a sink's bytes go: a stream, a file that appears whole, a directory of part files, nowhere.
 * It knows epochs and compression, not rows.
 *
 *   stream       standard output, a pipe, a device, a socket: written as it comes
 *   file         one file for the whole stream; under its name at the end, not before
 *   directory    parts, any number of them at once and per epoch, hidden until committed:
 *                <sub>part-<subtask>-<epoch>.<extension>, the n-th of an epoch <epoch>-<n>
 *   null         dropped
 *
 * Under a supervisor everything is done twice: prepare makes an epoch durable under a hidden name,
 * commit shows it, also when it is repeated, also by a later process.  Names carry the job, so that
 * two jobs never touch each other's; <job8> is the first 8 digits of its uuid.
 *
 *   stream       <spool>/stdout-<stage>-<job8>-<attempt>-<subtask>-<epoch>, copied out by commit
 *   file         .<name>.<job8>.part grows over the epochs; the last commit renames it
 *   directory    .part-<job8>-<attempt>-<subtask>-<epoch>.<extension>, renamed by commit to
 *                <sub>part-<job8>-<subtask>-<epoch>.<extension>; what is finished before its epoch
 *                is .part-<job8>-<attempt>-<subtask>.<number>.<extension>
 *
 * All of a directory's hidden files lie in it itself: <sub> (day=1/hour=2/) comes into being with the
 * first part that is committed to it.
 *
 * A handle is a list of (where it lies, where it belongs), every name with its NUL; "-" is the
 * stream.  It has all that is prepared and not committed: an epoch that was given up is committed
 * with the next.  Leftovers of earlier attempts go with the first put or prepare: by then the handles
 * of the restored checkpoint have been committed. */
#ifndef RUNNEL_CMD_COMMON_OUTPUT_H
#define RUNNEL_CMD_COMMON_OUTPUT_H

#include "connect/net.h"
#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct stage;

/* The numbers stand in snapshots. */
enum output_kind {
	OUTPUT_STREAM = 0,
	OUTPUT_FILE = 1,
	OUTPUT_DIRECTORY = 2,
	OUTPUT_NULL = 3,
};

struct output_options {
	const char *path;          /* "-", a path, a directory with its slash, "null:" */
	const char *extension;     /* "csv.zst": of part files; what path doesn't say itself */
	uint32_t subtask, subtasks;
	bool supervised;
	bool appends;              /* alone, a directory: parts are part-<subtask>-<n>, where n goes on
	                            * behind what is there; else they replace what has their name */

	/* Under a supervisor: */
	const char *job;           /* 32 hex digits */
	uint64_t attempt;
	const char *spool;         /* directory for the stream's epochs; NULL: /tmp */
	struct stage *stage;       /* for warnings and its name; NULL: none */
	struct net_options net;    /* of a socket; alive and warn are the output's */

	/* Restored: */
	bool finished;             /* it was prepared to its end: nothing will be put */
	uint64_t offset;           /* as output_offset was at the snapshot */
	const char *from_job;      /* whose snapshot it was, its first 8 digits; NULL: this job's */
};

struct output;

enum output_kind output_kind_of(const char *path); /* looks at what is there */

/* Checks what can be checked before the first row (a directory is made, a file opened).  Another
 * living job that writes the same file is ERROR_USAGE; a file that lacks restored bytes ERROR_STATE. */
int output_open(const struct output_options *o, struct output **out, struct error *e);
enum output_kind output_kind(const struct output *o);

/* Appends bytes; sent on when there are enough of them.  A reader that has gone is ERROR_CLOSED. */
int output_put(struct output *o, const struct buf *bytes, struct error *e);
int output_flush(struct output *o, struct error *e);

/* ---- parts of a directory ----
 *
 * Besides the one that output_put writes to.  All must be finished, or freed, before prepare. */

struct output_part;

/* sub: "", or where below the directory it will lie, with its slash.  Nothing is opened yet. */
struct output_part *output_part_new(struct output *o, const char *sub);
int output_part_put(struct output *o, struct output_part *p, const struct buf *bytes,
	struct error *e);
uint64_t output_part_bytes(const struct output_part *p); /* so far, as they will lie on disk */

/* It is complete.  show: alone, it gets its name at once; else with the epoch it is in.  Frees it,
 * also on error. */
int output_part_finish(struct output *o, struct output_part *p, bool show, struct error *e);
void output_part_free(struct output_part *p); /* what was put is gone; NULL is nothing */

/* Makes what came since the last prepare durable; the handle is what commit needs.  last: no more
 * will come; later calls only say again what isn't committed. */
int output_prepare(struct output *o, uint64_t epoch, bool last, struct buf *handle, struct error *e);

/* Makes what a handle names visible; again, or by a later process: nothing happens twice.  What had
 * been committed and has been taken away since is a warning. */
int output_commit(struct output *o, const uint8_t *handle, size_t len, struct error *e);

/* Whether a new part begins: a header has to be written again. */
bool output_is_at_start(const struct output *o);

/* Bytes of a file or a stream up to the last prepare, for the snapshot. */
uint64_t output_offset(const struct output *o);
const char *output_job8(const struct output *o);

/* Without a commit before: what isn't prepared is gone. */
void output_close(struct output *o);

#endif
