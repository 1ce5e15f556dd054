/* Row numbers of one group in the order of their keys.
 *
 *   one row    only
 *   more       blocks of up to 512 row numbers, every block sorted, the blocks one after another
 *
 * Most groups are small, some hold a million: a place is found by bisection over the blocks, then
 * in one; what has to move is a part of a block, and rarely the list of blocks. */
#ifndef RUNNEL_SSORT_RANKS_H
#define RUNNEL_SSORT_RANKS_H

#include "cmd/ssort/held.h"

struct rank_blocks;

struct ranks {
	uint32_t len;
	uint32_t only; /* of one row without blocks */
	struct rank_blocks *more;
};

void ranks_clear(struct ranks *l); /* frees; all zero bytes are empty */

uint32_t ranks_at(const struct ranks *l, uint32_t position);

/* How many rows come before a key. */
uint32_t ranks_find(const struct ranks *l, const struct held *k, const struct rank_key *key);

void ranks_insert(struct ranks *l, uint32_t position, uint32_t row);
void ranks_remove(struct ranks *l, uint32_t position);

/* The rows from a position on, n of them. */
void ranks_copy(const struct ranks *l, uint32_t position, uint32_t n, uint32_t *rows);

void ranks_remap(struct ranks *l, const uint32_t *remap); /* row r is remap[r] now */
size_t ranks_bytes(const struct ranks *l);                /* beside the struct */

#endif
