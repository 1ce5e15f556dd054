/* The rows a join keeps: both sides' rows, the table of their keys, and their place in snapshots.
 *
 *   table   key -> number, for both sides          lists[side]   number -> rows by time, if wanted
 *   sides   rows, with time, key number and flags
 *
 * A section of a snapshot: key_group, seq (order of arrival), time, matched, row.<column> ... */
#ifndef RUNNEL_SJOIN_KEPT_H
#define RUNNEL_SJOIN_KEPT_H

#include "cmd/sjoin/plan.h"
#include "libcore/table/keytable.h"
#include "libcore/state/rowstore.h"
#include "libcore/state/snapshot.h"

struct kept {
	struct plan *plan;
	unsigned listed; /* sides (bits) that have lists */
	struct keytable *table;
	struct rowstore sides[2];
	struct rowlists lists[2];
};

/* The plan is compiled and outlives it. */
void kept_init(struct kept *k, struct plan *plan, unsigned listed);
void kept_clear(struct kept *k);

/* Keeps rows; those with a null key only if with_null.  times may be NULL.  *first: the number of
 * the first one; they are numbered one after another. */
int kept_add(struct kept *k, unsigned side, const struct batch *b, const int64_t *times,
	bool with_null, struct arena *a, uint32_t *first, struct error *e);

/* Copies live rows together, forgets keys without rows.  remap[side]: room for every row. */
void kept_compact(struct kept *k, uint32_t *const remap[2]);

int kept_save(struct kept *k, unsigned side, struct snapshot_writer *w, struct error *e);

/* Takes rows of a section as they were saved, in the order of their seq. */
int kept_load(
	struct kept *k, unsigned side, const struct batch *saved, struct arena *a, struct error *e);

size_t kept_bytes(const struct kept *k);

#endif
