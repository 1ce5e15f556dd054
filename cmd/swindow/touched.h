/* Changes of results, for --emit: which groups have changed, and what was last said of them.
 *
 *   list     one entry per touched group, in the order in which they were touched
 *   rows     what the output last had of them, as it was before the first change
 *
 *            note --> before --> (the aggregates change) ... --> flush
 *
 * A flush compares those rows with what the groups give now and emits the difference as a
 * changelog: +I for what is new, -U +U where the row differs, -D for what is gone; -D +I where its
 * key differs, which only sessions do as their bounds move.  Nothing where both are equal.
 *
 * Between two flushes there is one net change, however often rows came; before a snapshot all is
 * flushed, which then needs to hold nothing of this.
 *
 * Groups are numbers in aggregates.  It doesn't know windows: a source tells how to show a group.
 */
#ifndef RUNNEL_SWINDOW_TOUCHED_H
#define RUNNEL_SWINDOW_TOUCHED_H

#include "cmd/swindow/window.h"

enum {
	CHANGE_GONE = UINT32_MAX,    /* group: there is none any more */
	CHANGE_NEW = UINT32_MAX,     /* before: the output has no row of it */
	CHANGE_OLD = UINT32_MAX - 1, /* before: it has, which touched_before fetches */
};

struct change {
	uint32_t group;
	uint32_t before;          /* a row of `rows`, or the above */
	int64_t start_us, end_us; /* sessions: of the row before */
};

struct touched {
	struct change *list;
	size_t len, cap;
	size_t fetched;  /* so many have their row */
	uint32_t *marks; /* per group: its place in the list, +1 */
	size_t marks_cap;
	uint32_t marks_len;
	struct schema schema;      /* of the rows: the output's, no changelog */
	struct batch_builder rows; /* no schema: not made yet */
};

/* How to show groups. */
struct change_source {
	/* The results of some changes, as they are now, or were before; what it allocates lives in
	 * w->change_arena. */
	void (*show)(struct window *w, const struct change_source *s,
		const struct change *const *list, uint32_t n, bool before, struct results *r);
	const struct groups *groups; /* touched_show_groups: */
	int64_t start_us, end_us;
};

void touched_show_groups(struct window *w, const struct change_source *s,
	const struct change *const *list, uint32_t n, bool before, struct results *r);

void touched_clear(struct touched *c);
void touched_reset(struct touched *c); /* forgets what is gathered */
size_t touched_bytes(const struct touched *c);

/* These groups are about to change.  Of those from `known` on the output has no row yet. */
void touched_note(
	struct touched *c, const uint32_t *groups, uint32_t n, uint32_t known, uint32_t groups_len);
/* One, with the bounds of its row. */
void touched_note_session(
	struct touched *c, uint32_t group, bool known, int64_t start_us, int64_t end_us);
/* A group is gone and its number can be another's; after touched_before. */
void touched_gone(struct touched *c, uint32_t group);

/* Fetches the rows of what was touched since the last call, while the aggregates are as they were.
 */
int touched_before(
	struct window *w, struct touched *c, const struct change_source *s, struct error *e);

int touched_flush(
	struct window *w, struct touched *c, const struct change_source *s, struct error *e);

/* Rows of a table into its groups, noting what they change. */
int touched_add(struct window *w, struct touched *c, struct groups *g,
	const struct change_source *s, const struct rows *rows, struct error *e);

#endif
