/* Event time of several partitions: each has its own greatest time, the least of those that aren't
 * silent counts.
 *
 *   watermark = least over partitions that are neither over nor idle of (greatest - delay - 1 us)
 *
 * A partition of which nothing has come yet holds it where it is.  One that has been silent for
 * idle_us holds nothing; when all are, the watermark goes on from the farthest by the time that
 * passes.  Clocks are handed in: event_us is event time, mono_us the monotonic clock. */
#ifndef RUNNEL_CMD_SSOURCE_TIMELINE_H
#define RUNNEL_CMD_SSOURCE_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct partition {
	int64_t greatest_us; /* WATERMARK_NONE: no row yet */
	int64_t active_us;   /* monotonic: when it last had something */
	uint64_t turn;       /* of whoever reads: the order in which they had theirs */
	bool over;
};

struct timeline {
	struct partition **items;
	size_t len, cap;
	int64_t delay_us;
	int64_t idle_us; /* 0: a silent partition holds the watermark for ever */
};

void timeline_clear(struct timeline *t);
struct partition *timeline_add(struct timeline *t, int64_t mono_us);
void timeline_remove(struct timeline *t, struct partition *p); /* frees it; NULL: nothing */

/* Where the watermark is, WATERMARK_NONE if that can't be said; *all_idle: nobody holds it. */
int64_t timeline_watermark(const struct timeline *t, int64_t mono_us, bool *all_idle);

/* Microseconds until the next partition falls idle; -1: none will. */
int64_t timeline_until_idle(const struct timeline *t, int64_t mono_us);

#endif
