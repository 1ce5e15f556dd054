/* What rows and options go through before windows (operator.c) and --over (over.c) part ways: the
 * texts' syntax, -w, event times.  It knows the plan, not the operators. */
#ifndef RUNNEL_SWINDOW_INTAKE_H
#define RUNNEL_SWINDOW_INTAKE_H

#include "cmd/swindow/window.h"

/* ERROR_USAGE for a text that doesn't parse, before any schema is known. */
int window_texts_check(const struct window_options *o, struct error *e);

/* What now() is, and what the programs have to say once they are made. */
void plan_set_now(struct window_plan *p, int64_t now_us);
void plan_warn(const struct window_plan *p, struct stage *stage);

/* The rows that -w lets through: all of them as they are, or in the arena. */
int plan_filter(const struct window_plan *p, const struct batch *in, struct arena *a,
	struct batch *out, struct error *e);

/* Event times, or running numbers where there are none; borrowed from the batch or in the arena. */
int plan_times(const struct window_plan *p, const struct batch *b, int64_t *next_row,
	struct arena *a, const int64_t **out, struct error *e);

#endif
