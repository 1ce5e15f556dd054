/* The operator's own, for over.c and over_state.c. */
#ifndef RUNNEL_SWINDOW_OVER_OPERATOR_H
#define RUNNEL_SWINDOW_OVER_OPERATOR_H

#include "cmd/swindow/over_parts.h"

/* What restore read, until the schema is known: sections as they came. */
enum { SAVED_HELD, SAVED_KEYS, SAVED_KEPT, SAVED_SECTIONS };

struct saved_section {
	bool used;
	struct schema schema;
	struct batch_builder rows;
};

struct over {
	struct operator op;
	struct over_options options;
	struct over_plan *plan; /* NULL until the schema is known */
	struct frames frames;
	struct schema held_schema;
	struct rowstore held;   /* rows that wait: for the watermark, the end, or their window's */
	struct timequeue queue; /* of their numbers: by event time, or by the end of their window */
	int64_t watermark_us;
	int64_t next_row;       /* running number, where there is no event time */
	struct arena arena;
	struct column *results;
	struct saved_section saved[SAVED_SECTIONS];
};

int over_snapshot(struct operator *op, struct snapshot_writer *w, struct error *e);
int over_restore(struct operator *op, struct snapshot_reader *r, struct error *e);
/* Puts what restore read where it belongs, once the plan is known. */
int over_load(struct over *v, struct error *e);
void over_saved_clear(struct over *v);

/* ---- the windows of a time, by rising end ---- */

struct window_span {
	int64_t start_us, end_us;
};

static inline struct window_span window_span_first(const struct window_options *o, int64_t time_us)
{
	int64_t t = time_us - o->offset_us, start = floor_div(t, o->step_us) * o->step_us;

	if (o->shape == WINDOW_HOP)
		start = (floor_div(t - o->size_us, o->step_us) + 1) * o->step_us;
	if (o->shape == WINDOW_CUMULATE)
		return (struct window_span){floor_div(t, o->size_us) * o->size_us + o->offset_us,
			start + o->step_us + o->offset_us};
	return (struct window_span){start + o->offset_us, start + o->size_us + o->offset_us};
}

static inline struct window_span window_span_next(const struct window_options *o,
	const struct window_span *s)
{
	if (o->shape == WINDOW_HOP)
		return (struct window_span){s->start_us + o->step_us, s->end_us + o->step_us};
	if (o->shape == WINDOW_CUMULATE && s->end_us - s->start_us < o->size_us)
		return (struct window_span){s->start_us, s->end_us + o->step_us};
	return (struct window_span){INT64_MAX, INT64_MAX}; /* holds nothing */
}

static inline bool window_span_has(const struct window_span *s, int64_t time_us)
{
	return time_us >= s->start_us && time_us < s->end_us;
}

#endif
