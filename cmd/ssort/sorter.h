/* A stable external merge sort of rows.
 *
 *   put -> chunks (copied rows) + entries (prefix, place) -> sorted -> run, once over the budget
 *   runs of one level, when there are many -> one run of the next level -> ... -> merge -> next
 *
 * Entries are sorted by their prefix (LSD radix sort), ties by the eight bytes behind, and so on;
 * the columns of a row are touched twice, when it is copied in and when it is gathered into the
 * output.  A run is a spill file of small batches, so that a merge holds little of each of many;
 * its keys are computed again when it is read.  Adjacent runs only are merged: what came first
 * stays first.
 *
 * It keeps to its budget but for one batch of output and a batch per merged run. */
#ifndef RUNNEL_SSORT_SORTER_H
#define RUNNEL_SSORT_SORTER_H

#include "cmd/ssort/order.h"
#include "libcore/stage/operator.h"
#include "libcore/state/spill.h"

struct sorter;

/* Borrowed for as long as the sorter lives; the order is compiled for the schema. */
struct sorter_options {
	const struct schema *schema;
	struct order *order;
	const char *temporary;
	size_t memory_bytes; /* 0: no budget, nothing is spilled */
	struct stage *stage; /* told that it is alive, as a merge takes its time */
};

struct sorter *sorter_new(const struct sorter_options *o);
void sorter_free(struct sorter *s);

/* Copies rows. */
int sorter_put(struct sorter *s, const struct batch *b, struct error *e);

/* All rows in order, from the first call on: nothing may be put or saved any more.  0, 1 at the
 * end, -1.  Borrowed until the next call; ops are NULL. */
int sorter_next(struct sorter *s, const struct batch **out, struct error *e);

/* The rows as a section "rows" of a snapshot: the int column "run", -1 for rows as they came, else
 * the number of a sorted run; then the columns.  Loaded back batch by batch; the runs come
 * first. */
int sorter_save(struct sorter *s, struct snapshot_writer *w, struct error *e);
int sorter_load(struct sorter *s, const struct batch *saved, struct error *e);

#endif
