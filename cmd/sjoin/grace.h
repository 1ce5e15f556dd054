/* A join by equal keys whose RIGHT is larger than --memory: a hash join on disk (Grace:
 * Kitsuregawa, Tanaka, Moto-Oka 1983).
 *
 *   level 0   share 0 .. 31 of the hashes: a run of right rows, a run of left rows
 *   level 1   a share whose right rows still don't fit, by further bits of the hash; and so on
 *
 * Rows of both inputs go to the run of their share, with a number in order of arrival.  When both
 * have ended, share by share: the right rows are kept in memory, the left ones probe them, results
 * go to a run with the left row's number.  A share that hashes don't divide (one key) is joined
 * block by block. In the end the runs of results are merged by number: the order is that of a join
 * in memory.  Right rows that met nobody have numbers behind all left ones.
 *
 *   run of rows      number, met (matches before it came here), the row
 *   run of results   the output row, number of its left row, of its right row (-1: none)
 *
 * Shares of level 0 are in the order of the key groups, so that a snapshot can be written share by
 * share. */
#ifndef RUNNEL_SJOIN_GRACE_H
#define RUNNEL_SJOIN_GRACE_H

#include "cmd/sjoin/join.h"

struct grace;

/* Takes the rows that are kept of RIGHT with it. */
int grace_new(struct join *j, struct grace **out, struct error *e);
void grace_free(struct grace *g);

/* Rows of a side, with ops where it is a changelog.  numbers NULL: the next ones; met NULL: nobody.
 */
int grace_add(struct grace *g, unsigned side, const struct batch *b, const int64_t *numbers,
	const int64_t *met, struct error *e);

/* Rows of a side's section, as grace_save or kept_save wrote them. */
int grace_load(struct grace *g, unsigned side, const struct batch *saved, struct error *e);
int grace_save(struct grace *g, unsigned side, struct snapshot_writer *w, struct error *e);

/* Both inputs are complete: emits all results. */
int grace_join(struct grace *g, struct error *e);

#endif
