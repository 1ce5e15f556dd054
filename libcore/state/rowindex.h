/* Kept rows by their content: which of them a retraction takes back.
 *
 *   buckets   [ row | ROW_NONE ]     chain   row -> the next older row of its bucket
 *   hashes    of whole rows, by row
 *
 * Of several equal rows the one that was added last is taken.  It knows neither keys nor the order
 * of output; the rows are a rowstore's. */
#ifndef RUNNEL_STATE_ROWINDEX_H
#define RUNNEL_STATE_ROWINDEX_H

#include "libcore/base/arena.h"
#include "libcore/state/rowstore.h"

struct rowindex { /* all zero bytes: empty */
	uint32_t *buckets, *chain;
	uint64_t *hashes;
	uint32_t mask; /* buckets - 1 */
	uint32_t live;
	size_t chain_cap, hashes_cap;
};

void rowindex_clear(struct rowindex *x);

/* Hashes of whole rows. */
void rowindex_hash(const struct batch *b, struct arena *a, uint64_t *hashes);

/* Row `row` of a store, which is not in the index. */
void rowindex_add(struct rowindex *x, uint32_t row, uint64_t hash);

/* Finds a row of s equal to row `row` of b and takes it out; ROW_NONE if there is none. */
uint32_t rowindex_take(
	struct rowindex *x, struct rowstore *s, const struct batch *b, uint32_t row, uint64_t hash);

/* Takes out a row that is in the index. */
void rowindex_drop(struct rowindex *x, uint32_t row);

/* All live rows of a store anew: after a restore, or when they have been renumbered. */
void rowindex_build(struct rowindex *x, struct rowstore *s);

size_t rowindex_bytes(const struct rowindex *x);

#endif
