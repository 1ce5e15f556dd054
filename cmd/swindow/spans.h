/* Where windows of a fixed length lie: tumble, hop, cumulate, and one per event time (WINDOW_GIVEN).
 *
 *   hop 4,2       k      |------- k -------|              numbered by their start
 *                 k + 1           |----- k + 1 -----|
 *   cumulate 4,2  2j     |-- 2j --|                       numbered by their last step, so that
 *                 2j + 1 |----- 2j + 1 ----|              later ones have larger numbers here, too
 *
 * Numbers only: what windows hold is slices.c's, updates.c's and over.c's; how time is cut into
 * slices is slices.c's.  Times are microseconds from the epoch and must not be far (span_is_far):
 * then nothing here overflows.  Ends are exclusive. */
#ifndef RUNNEL_SWINDOW_SPANS_H
#define RUNNEL_SWINDOW_SPANS_H

#include "cmd/swindow/window.h"

/* Times further out than this can't be windowed without overflow; it is the year 148113. */
#define SPAN_TIME_MOST (INT64_C(1) << 62)

struct spans {
	enum window_shape shape;
	int64_t size_us, step_us, offset_us;
};

static inline struct spans spans_of(const struct window_options *o)
{
	struct spans s = {o->shape, o->size_us, o->step_us, o->offset_us};

	if (o->shape == WINDOW_GIVEN)
		s.size_us = s.step_us = 1;
	return s;
}

static inline bool span_is_far(int64_t time_us)
{
	return time_us >= SPAN_TIME_MOST || time_us <= -SPAN_TIME_MOST;
}

/* ERROR_DATA: the event time of a row is far. */
static inline int span_refuse(int64_t time_us, struct error *e)
{
	return error_set(e, ERROR_DATA, "an event time of %lld us is out of range",
		(long long)time_us);
}

/* The first and the last window that a time is in; it is in all between, too. */
static inline int64_t span_first(const struct spans *s, int64_t time_us)
{
	int64_t t = time_us - s->offset_us;

	if (s->shape == WINDOW_HOP)
		return floor_div(t - s->size_us, s->step_us) + 1;
	return floor_div(t, s->step_us);
}

static inline int64_t span_last(const struct spans *s, int64_t time_us)
{
	int64_t t = time_us - s->offset_us;

	if (s->shape == WINDOW_CUMULATE)
		return (floor_div(t, s->size_us) + 1) * (s->size_us / s->step_us) - 1;
	return floor_div(t, s->step_us);
}

static inline void span_bounds(const struct spans *s, int64_t k, int64_t *start_us, int64_t *end_us)
{
	*start_us = k * s->step_us + s->offset_us;
	*end_us = *start_us + s->size_us;
	if (s->shape == WINDOW_CUMULATE) {
		*end_us = *start_us + s->step_us;
		*start_us = floor_div(k * s->step_us, s->size_us) * s->size_us + s->offset_us;
	}
}

/* The last window that ends at this time or before. */
static inline int64_t span_ended(const struct spans *s, int64_t time_us)
{
	int64_t length_us = s->shape == WINDOW_CUMULATE ? s->step_us : s->size_us;

	return floor_div(time_add(time_us, -length_us - s->offset_us), s->step_us);
}

#endif
