/* The rows a join keeps: both sides' rows, the table of their keys, and their place in snapshots.
 *
 *   table   key -> number, for both sides          lists[side]   number -> rows by time, if wanted
 *   sides   rows, with time, key number and flags
 *
 * A section of a snapshot: key_group, seq (order of arrival), time, matched, row.<column> ... Where
 * matches are counted, that column is an int called matches. */
#ifndef RUNNEL_SJOIN_KEPT_H
#define RUNNEL_SJOIN_KEPT_H

#include "cmd/sjoin/plan.h"
#include "libcore/table/keytable.h"
#include "libcore/state/rowstore.h"
#include "libcore/state/snapshot.h"

struct kept {
	struct plan *plan;
	unsigned listed;  /* sides (bits) that have lists */
	unsigned counted; /* sides (bits) whose rows' matches are counted */
	struct keytable *table;
	struct rowstore sides[2];
	struct rowlists lists[2];
	uint32_t *matches[2]; /* by row, of counted sides */
	size_t matches_cap[2];
};

/* The plan is compiled and outlives it. */
void kept_init(struct kept *k, struct plan *plan, unsigned listed, unsigned counted);
void kept_clear(struct kept *k);

/* The numbers of the rows' keys, which are new if need be; KEY_NONE where a part is null: such a
 * key matches nothing and isn't put into the table.  They lie in the arena.  *nulls may be NULL. */
uint32_t *kept_keys(struct kept *k, const struct plan_keys *keys, uint32_t rows, struct arena *a,
	uint32_t *nulls);

/* Keeps picked rows (NULL: rows 0..n) whose keys are known; times and keys by position in the n.
 * Returns the number of the first; they are numbered one after another. */
uint32_t kept_put(struct kept *k, unsigned side, const struct batch *b, const uint32_t *pick,
	uint32_t n, const int64_t *times, const uint32_t *ids);

/* Keeps rows; those with a null key only if with_null.  times may be NULL.  *first: the number of
 * the first one; they are numbered one after another. */
int kept_add(struct kept *k, unsigned side, const struct batch *b, const int64_t *times,
	bool with_null, struct arena *a, uint32_t *first, struct error *e);

/* Copies live rows together, forgets keys without rows.  remap[side]: room for every row. */
void kept_compact(struct kept *k, uint32_t *const remap[2]);

int kept_save(struct kept *k, unsigned side, struct snapshot_writer *w, struct error *e);

/* A side's section: its columns before those of the row. */
enum { SAVED_GROUP, SAVED_SEQ, SAVED_TIME, SAVED_MATCHED, SAVED_COLUMNS };
void kept_saved_schema(const struct kept *k, unsigned side, struct schema *s);

/* Whether a section's columns are those; ops don't matter. */
int kept_check_saved(
	const struct kept *k, unsigned side, const struct schema *found, struct error *e);

/* Takes rows of a section as they were saved, in the order of their seq. */
int kept_load(
	struct kept *k, unsigned side, const struct batch *saved, struct arena *a, struct error *e);

size_t kept_bytes(const struct kept *k);

#endif
