/* Where a sink's bytes go: a stream, a file that appears whole, a directory of part files, nowhere.
 * It knows epochs and compression, not rows.
 *
 *   stream       standard output, a pipe, a device: written as it comes
 *   file         one file for the whole stream; under its name at the end, not before
 *   directory    one part per epoch, part-<subtask>-<epoch>.<extension>, hidden until committed
 *   null         dropped
 *
 * Under a supervisor everything is done twice: prepare makes an epoch durable under a hidden name,
 * commit shows it, also when it is repeated, also by a later process.  Names carry the job, so that
 * two jobs never touch each other's; <job8> is the first 8 digits of its uuid.
 *
 *   stream       <spool>/stdout-<stage>-<job8>-<attempt>-<subtask>-<epoch>, copied out by commit
 *   file         .<name>.<job8>.part grows over the epochs; the last commit renames it
 *   directory    .part-<job8>-<attempt>-<subtask>-<epoch>.<extension>, renamed by commit to
 *                part-<job8>-<subtask>-<epoch>.<extension>
 *
 * A handle is a list of (where it lies, where it belongs), every name with its NUL; "-" is the
 * stream.  It has all that is prepared and not committed: an epoch that was given up is committed
 * with the next.  Leftovers of earlier attempts go with the first put or prepare: by then the handles
 * of the restored checkpoint have been committed. */
#ifndef RUNNEL_CMD_COMMON_OUTPUT_H
#define RUNNEL_CMD_COMMON_OUTPUT_H

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

	/* Under a supervisor: */
	const char *job;           /* 32 hex digits */
	uint64_t attempt;
	const char *spool;         /* directory for the stream's epochs; NULL: /tmp */
	struct stage *stage;       /* for warnings and its name; NULL: none */

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
