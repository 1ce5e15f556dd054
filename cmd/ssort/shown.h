/* What a change of one group's list does to the rows that are shown: the first N of it, with --ties
 * also those equal to the N-th.
 *
 *   shown_begin(list, from)  ... the list changes, from a position on ...  shown_end
 *
 * makes the rows of a changelog (or plain rows, with shown_show): numbers of kept rows with an op
 * and a number, gathered until somebody emits them. */
#ifndef RUNNEL_SSORT_SHOWN_H
#define RUNNEL_SSORT_SHOWN_H

#include "cmd/ssort/ranks.h"

struct shown_row {
	uint32_t row;
	int64_t number;
};

struct shown {
	const struct held *held;
	int64_t limit;
	bool ties, numbered;
	/* The rows to emit: */
	uint32_t *rows;
	uint8_t *ops;
	int64_t *numbers;
	size_t len, rows_cap, ops_cap, numbers_cap;
	/* Of the group that is changing: */
	uint32_t from;
	struct shown_row *before, *after, *left, *entered;
	uint32_t before_len, after_len, left_len, entered_len;
	size_t before_cap, after_cap, left_cap, entered_cap;
	uint32_t *scratch;
	size_t scratch_cap;
};

void shown_clear(struct shown *c);
void shown_reset(struct shown *c); /* forgets the rows to emit */

/* How many rows of a list are shown. */
uint32_t shown_visible(const struct shown *c, const struct ranks *l);

/* Positions before `from` will keep their rows. */
void shown_begin(struct shown *c, const struct ranks *l, uint32_t from);

/* update: it was one row that got other values. */
void shown_end(struct shown *c, const struct ranks *l, bool update);

/* One change, told straight: a row in the place of another, or alone (old ROW_NONE). */
void shown_replace(struct shown *c, uint32_t old, uint32_t new, int64_t number);

/* All shown rows as they are, inserted. */
void shown_show(struct shown *c, const struct ranks *l);

#endif
