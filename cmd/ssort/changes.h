/* What a change of one group's list does to the rows that are shown: the first N of it, with --ties
 * also those equal to the N-th.
 *
 *   changes_begin(list, from)  ... the list changes, from a position on ...  changes_end
 *
 * makes the rows of a changelog (or plain rows, with changes_show): numbers of kept rows with an op
 * and a number, gathered until somebody emits them. */
#ifndef RUNNEL_SSORT_CHANGES_H
#define RUNNEL_SSORT_CHANGES_H

#include "cmd/ssort/ranks.h"

struct shown {
	uint32_t row;
	int64_t number;
};

struct changes {
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
	struct shown *before, *after, *left, *entered;
	uint32_t before_len, after_len, left_len, entered_len;
	size_t before_cap, after_cap, left_cap, entered_cap;
	uint32_t *scratch;
	size_t scratch_cap;
};

void changes_clear(struct changes *c);
void changes_reset(struct changes *c); /* forgets the rows to emit */

/* How many rows of a list are shown. */
uint32_t changes_visible(const struct changes *c, const struct ranks *l);

/* Positions before `from` will keep their rows. */
void changes_begin(struct changes *c, const struct ranks *l, uint32_t from);

/* update: it was one row that got other values. */
void changes_end(struct changes *c, const struct ranks *l, bool update);

/* One change, told straight: a row in the place of another, or alone (old ROW_NONE). */
void changes_replace(struct changes *c, uint32_t old, uint32_t new, int64_t number);

/* All shown rows as they are, inserted. */
void changes_show(struct changes *c, const struct ranks *l);

#endif
