/* Snapshots: an operator's state as a frame stream, so that the tools read their own state
 * (`ssource state.frames | ssink -f table`).
 *
 *   HELLO  {"stage": type, ...}
 *   SCHEMA (name "@stage") BATCH ...      the runtime's own sections start with @: watermarks, ...
 *   SCHEMA (name "groups") BATCH ...      the operator's sections
 *   END
 *
 * A keyed section has the int column "key_group" first and its rows sorted by it; on restore rows
 * outside the subtask's range are dropped by the reader, so several files written at another
 * parallelism may be read one after another.  An unkeyed section comes whole from every file.
 * Sections and columns are addressed by name: what an operator doesn't know it must refuse
 * (ERROR_STATE), what it misses starts empty only where that is right. */
#ifndef RUNNEL_STATE_SNAPSHOT_H
#define RUNNEL_STATE_SNAPSHOT_H

#include "libcore/frame/channel.h"
#include "libcore/table/keys.h"

/* ---- writing ---- */

struct snapshot_writer;

/* Begins a stream on w (borrowed): HELLO. */
struct snapshot_writer *snapshot_writer_new(struct channel_writer *w, const char *stage_type);
void snapshot_writer_free(struct snapshot_writer *s);

/* Starts a section: rows of this schema (with its name set) follow. */
int snapshot_section(struct snapshot_writer *s, const struct schema *schema, struct error *e);
int snapshot_put(struct snapshot_writer *s, const struct batch *b, struct error *e);
int snapshot_end(struct snapshot_writer *s, struct error *e); /* END, flushed */

/* Numbers 0..n sorted by the key group of their hash, stably: the order in which a keyed section
 * writes what belongs to them.  order has room for n. */
void snapshot_order(const uint64_t *hashes, uint32_t n, uint32_t *order);

/* ---- reading ---- */

struct snapshot_reader;

/* Reads the streams one after another; readers are borrowed.  Another stage's type is ERROR_STATE. */
struct snapshot_reader *snapshot_reader_new(struct channel_reader *const *streams,
	size_t streams_len, const char *stage_type, struct key_range range);
void snapshot_reader_free(struct snapshot_reader *s);

/* The next batch, which belongs to the section b->schema->name; rows outside the range are gone.
 * 0, 1 at the end, -1.  Borrowed until the next call. */
int snapshot_next(struct snapshot_reader *s, const struct batch **b, struct error *e);

/* Sections whose name starts with @ are the runtime's: snapshot_next never returns them, but gives
 * each of their batches to take, and before those, once, the section itself with no rows. */
void snapshot_reader_intercept(struct snapshot_reader *s,
	int (*take)(void *context, const struct batch *b, struct error *e), void *context);

/* A column of a section by name and type, or ERROR_STATE. */
int snapshot_column(const struct batch *b, const char *name, struct type type,
	const struct column **out, struct error *e);

/* ---- sections of one row of ints: positions, offsets, counters ---- */

enum { SNAPSHOT_INTS_MAX = 16 };

/* Starts the section and writes its row; as many names as values, the column names. */
int snapshot_put_ints(struct snapshot_writer *w, const char *section, const char *const *names,
	const int64_t *values, size_t n, struct error *e);

/* The row back; *found false if the batch is only the section's start.  Another section's name, a
 * missing column is ERROR_STATE. */
int snapshot_read_ints(const struct batch *b, const char *section, const char *const *names,
	int64_t *values, size_t n, bool *found, struct error *e);

#endif
