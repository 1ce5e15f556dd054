/* A queue of row numbers by time: what waits for the watermark.
 *
 * Rows leave in the order of (time, number).  Streams are nearly in order, so a row that is not
 * earlier than the newest goes to the end of a run (O(1)); only the others go to a binary heap.
 *
 *   run    [ t0 <= t1 <= t2 ... ]    first .. run_len
 *   heap   [ min ... ]               heap_len
 *
 * It knows nothing of the rows themselves. */
#ifndef RUNNEL_STATE_TIMEQUEUE_H
#define RUNNEL_STATE_TIMEQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timequeue_entry {
	int64_t time_us;
	uint32_t row;
};

struct timequeue {
	struct timequeue_entry *run, *heap;
	size_t run_first, run_len, run_cap;
	size_t heap_len, heap_cap;
};

void timequeue_clear(struct timequeue *q); /* frees; all zero bytes are an empty queue */
size_t timequeue_len(const struct timequeue *q);
void timequeue_push(struct timequeue *q, int64_t time_us, uint32_t row);

/* Takes the first entry if its time is at most until_us. */
bool timequeue_pop(struct timequeue *q, int64_t until_us, struct timequeue_entry *out);

/* Rows were renumbered: row r is remap[r] now, UINT32_MAX is gone.  remap must not change the order
 * of those that stay. */
void timequeue_remap(struct timequeue *q, const uint32_t *remap);

size_t timequeue_bytes(const struct timequeue *q);

#endif
