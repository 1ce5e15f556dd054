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

#endif
