/* What a join by keys in memory lends to one on disk (grace.h). */
#ifndef RUNNEL_SJOIN_EQUAL_H
#define RUNNEL_SJOIN_EQUAL_H

#include "cmd/sjoin/join.h"

/* Left rows meet the kept right ones.  met NULL: all of them are there.  Else these are only some:
 * who met somebody is noted in met (by row, added to what is there), and no left row goes out
 * alone. */
int equal_probe(struct join *j, const struct batch *b, uint8_t *met, struct error *e);

/* Right rows that met nobody, in the order of their numbers (time_us) where there is a sink. */
int equal_rest(struct join *j, struct error *e);

/* Keeps rows of a right changelog, and takes rows back; times as in kept_put, by row. */
int equal_change(struct join *j, const struct batch *b, const int64_t *times, struct error *e);

/* All right rows are there: those that were taken back are gone from the store. */
void equal_finish(struct join *j);

/* Kept rows have been put, or all are gone, without the above. */
void equal_forget(struct join *j);

#endif
