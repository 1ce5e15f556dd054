/* An epoch's rows, durable on this machine before they are committed elsewhere: how a sink prepares
 * that has no hidden place of its own at the other side (a database, a broker).
 *
 * Each is a frame stream, <room>/<word>-<stage>-<job8>-<attempt>-<subtask>-<epoch>, so that rows
 * that nobody could commit can still be read (ssource).  It gets its name when it is complete and
 * synced. Leftovers of earlier attempts go with the first prepare: what the restored checkpoint
 * names has been committed by then.
 *
 * Who begins something at the other side before an epoch is prepared leaves a trace first; a later
 * start is told which subtasks there were, whatever its own number of them is.
 *
 * A handle lists all that is prepared and not committed, the oldest first: an epoch that was given
 * up is committed with the next.  Who commits asks at the other side, by stage, subtask and epoch,
 * whether that has been done before. */
#ifndef RUNNEL_CMD_COMMON_EPOCH_FILE_H
#define RUNNEL_CMD_COMMON_EPOCH_FILE_H

#include "cmd/common/leftovers.h"
#include "libcore/base/buf.h"
#include "libcore/base/error.h"
#include "libcore/table/column.h"

struct stage;
struct epoch_files;

struct epoch_files_options {
	const char *room; /* directory */
	const char *word; /* whose files: "postgres" */
	struct stage *stage;
};

/* Texts are copied. */
struct epoch_files *epoch_files_new(const struct epoch_files_options *o);
void epoch_files_free(struct epoch_files *f); /* what isn't prepared is gone */

/* The rows since the last prepare, and the schema they have. */
int epoch_files_schema(struct epoch_files *f, const struct schema *s, struct error *e);
int epoch_files_rows(struct epoch_files *f, const struct batch *b, struct error *e);

uint64_t epoch_files_count(const struct epoch_files *f); /* of rows since the last prepare */

/* ... and how far event time has come behind them, for who hands that on. */
int epoch_files_watermark(struct epoch_files *f, int64_t event_us, struct error *e);

/* Nothing is written for an epoch without rows or watermarks. */
int epoch_files_prepare(struct epoch_files *f, uint64_t epoch, struct buf *handle, struct error *e);

/* One of a handle. */
struct epoch_file {
	const char *path, *stage; /* borrowed from the handle */
	uint64_t subtask, subtasks; /* of those that its start had */
	uint64_t epoch, rows, hash;
};

/* At *at, which moves behind it; 1 at the end, -1 a damaged handle (ERROR_STATE). */
int epoch_file_next(const char **at, const char *end, struct epoch_file *out, struct error *e);

struct epoch_file_take {
	int (*schema)(void *context, const struct schema *s, struct error *e);
	int (*rows)(void *context, const struct batch *b, struct error *e);
	int (*watermark)(void *context, int64_t event_us, struct error *e); /* NULL: not wanted */
	void *context;
};

/* Its rows, in order.  One that isn't there, or isn't as it was written, is ERROR_STATE; what take
 * got before that has to be undone. */
int epoch_file_read(
	const struct epoch_file *x, const struct epoch_file_take *take, struct error *e);

/* The rows since the last prepare. */
int epoch_files_replay(struct epoch_files *f, const struct epoch_file_take *take, struct error *e);

/* Whether it was this process that prepared it, and anything is prepared that isn't committed. */
bool epoch_files_has(const struct epoch_files *f, const struct epoch_file *x);
bool epoch_files_waits(const struct epoch_files *f);

/* It has been committed: removed, and in no later handle.  It need not be there. */
void epoch_files_done(struct epoch_files *f, const struct epoch_file *x);

/* A trace of this subtask, for a later start; and those of earlier ones that are this subtask's to
 * look after.  They go with the first prepare. */
int epoch_files_trace(struct epoch_files *f, struct error *e);
int epoch_files_traces(
	struct epoch_files *f, const struct leftovers_take *take, struct error *e);

#endif
