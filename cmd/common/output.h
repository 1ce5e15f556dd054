/* Where a sink's bytes go: standard output, a file that appears whole, a directory of part files,
 * nowhere.  It knows epochs and compression, not rows.
 *
 *   standard output   written as it comes
 *   file              one file for the whole stream; under its name at the end, not before
 *   directory         one part per epoch, part-<subtask>-<epoch>.<extension>, hidden until committed
 *   null              counted and dropped
 *
 * Under a supervisor names carry the job (its first 8 digits), so that two jobs can't touch each
 * other's files:
 *
 *   file              grows over many epochs as ".<name>.<job>.part" beside its final name; every
 *                     prepare makes it durable up to an offset, a restore cuts it back to the
 *                     offset of the snapshot, and only the last commit renames it.  It is locked:
 *                     one living job a file
 *   directory         ".part-<job>-<attempt>-<subtask>-<epoch>.<extension>" until committed, then
 *                     "part-<job>-<subtask>-<epoch>.<extension>"
 *   standard output   an epoch's bytes lie in the spool directory until its commit writes them: they
 *                     come at least once
 *
 * An epoch that is prepared and not committed stays in the list that every later handle carries: it
 * may belong to a checkpoint that was given up. */
#ifndef RUNNEL_CMD_COMMON_OUTPUT_H
#define RUNNEL_CMD_COMMON_OUTPUT_H

#include "formats/compress.h"
#include "libcore/base/outfile.h"

#include <stdint.h>

enum output_kind { OUTPUT_STDOUT, OUTPUT_FILE, OUTPUT_DIRECTORY, OUTPUT_NULL };

struct output_options {
	const char *path;          /* "-", a path, a directory with its slash, "null:" */
	const char *extension;     /* "csv.zst": of part files; what path doesn't say itself */
	uint32_t subtask;
	bool supervised;
	const char *job;           /* stage_job */
	uint64_t attempt;
	const char *spool;         /* directory for what standard output is to get */
	struct stage *stage;       /* for warnings; NULL: none */
};

struct output;

/* What a path means. */
enum output_kind output_kind_of(const char *path);

/* Checks what can be checked before the first row (a directory is made, a file opened). */
int output_open(const struct output_options *o, struct output **out, struct error *e);
enum output_kind output_kind(const struct output *o);

/* Appends bytes; sent on when there are enough of them.  A reader that has gone is ERROR_CLOSED. */
int output_put(struct output *o, const struct buf *bytes, struct error *e);
int output_flush(struct output *o, struct error *e);

/* Makes what came since the last prepare durable; the handle is what commit needs.  last: no more
 * will come; after that it may be called again, and does nothing. */
int output_prepare(struct output *o, uint64_t epoch, bool last, struct buf *handle, struct error *e);

/* Makes a prepared epoch visible.  Again, or by a later process: nothing happens twice. */
int output_commit(struct output *o, const uint8_t *handle, size_t len, struct error *e);

/* Whether a new part begins: a header has to be written again. */
bool output_is_at_start(const struct output *o);

/* Bytes of the file (or of standard output) that belong to the last prepared epoch, for the snapshot;
 * and back to them, before anything is put: what lies behind goes when the first bytes come.  job: the
 * first 8 digits of the job that wrote the snapshot, as a number; if it is another one, its bytes are
 * copied. */
uint64_t output_offset(const struct output *o);
void output_cut(struct output *o, uint64_t offset, uint32_t job);
uint32_t output_job(const struct output *o);

/* Without a commit before: what isn't prepared is gone. */
void output_close(struct output *o);

#endif
