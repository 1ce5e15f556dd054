/* Rows that don't fit in memory: temporary files of batches.
 *
 *   run      [ BATCH ][ BATCH ] ...     one schema, appended in order, then sealed
 *   reader   an own position in a run: there may be many, in many processes
 *
 * A run's file has no name (O_TMPFILE): a crash leaves nothing behind, and a child of fork that
 * writes a snapshot keeps it open and reads it like its parent, which may have freed it meanwhile.
 * Batches come back as they were put, ops included, and are not checked as a stranger's are.  It
 * knows neither keys nor order: those are the caller's. */
#ifndef RUNNEL_STATE_SPILL_H
#define RUNNEL_STATE_SPILL_H

#include "libcore/base/error.h"
#include "libcore/table/column.h"

struct spill_run;

/* An empty run in a directory (setup->temporary); the schema is copied.  No space, no permission:
 * ERROR_IO that names the directory and hints at TMPDIR. */
int spill_run_new(const char *directory, const struct schema *s, struct spill_run **out,
	struct error *e);
void spill_run_free(struct spill_run *r); /* and its space, once no process has it open */

/* Appends a batch of the run's columns (the schema may be another object); written at once, so
 * small ones should be gathered first.  Empty ones leave no trace. */
int spill_run_put(struct spill_run *r, const struct batch *b, struct error *e);

/* Where the next batch will begin: a place for spill_reader_new. */
uint64_t spill_run_place(const struct spill_run *r);
uint64_t spill_run_bytes(const struct spill_run *r);
uint64_t spill_run_rows(const struct spill_run *r);
const struct schema *spill_run_schema(const struct spill_run *r);

/* What has been put so far can be read while more is put.  Reads batches from place `from` up to
 * place `to` (SPILL_TO_END: what the run holds now).  Holds memory of about its largest batch. */
#define SPILL_TO_END UINT64_MAX
struct spill_reader;
struct spill_reader *spill_reader_new(const struct spill_run *r, uint64_t from, uint64_t to);
void spill_reader_free(struct spill_reader *r); /* before its run */

/* 0, 1 at the end, -1.  *out is borrowed until the next call. */
int spill_reader_next(struct spill_reader *r, const struct batch **out, struct error *e);

#endif
