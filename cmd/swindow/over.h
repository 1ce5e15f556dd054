/* swindow --over: every row with its columns, and aggregates over the rows around it.
 *
 *   batch --> held, by time --watermark--> rows in order --> frames --> list --> out
 *                                          (at once where there is no event time)
 *
 *   all         the rows of the key so far                  aggregates grow
 *   N           the last N of them                          rows that leave are taken back, so
 * these DURATION    those of the last DURATION, peers included  aggregates keep what they need for
 * it group       all rows of the key, or of key and window   rows wait for the end, or the window's
 *
 * Rows of a batch are worked off in rounds: in each, a key comes once at most, so that a round is
 * one update and one result of many groups.  Ordered by event time, ties by arrival. */
#ifndef RUNNEL_SWINDOW_OVER_H
#define RUNNEL_SWINDOW_OVER_H

#include "cmd/swindow/window.h"

#include "libcore/state/rowstore.h"
#include "libcore/state/timequeue.h"

enum over_frame {
	OVER_ALL,
	OVER_ROWS,
	OVER_TIME,
	OVER_GROUP,
};

struct over_options {
	struct window_options window; /* keys, where, list, memory; a shape with OVER_GROUP only */
	enum over_frame frame;
	int64_t rows;    /* OVER_ROWS */
	int64_t span_us; /* OVER_TIME */
	bool exclude_current;
};

/* The texts are borrowed for the operator's life. */
int over_operator_new(const struct over_options *o, struct operator** out, struct error *e);

#endif
