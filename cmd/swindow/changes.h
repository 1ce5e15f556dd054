/* Results as a changelog: what has become of them since they were last handed out.
 *
 * Whatever has results of its own (a group of a window; a key with its sessions) is an entity with a
 * number.  Before rows change an entity for the first time it is noted, with the results it has; at
 * the next emit these are compared with those it has then:
 *
 *   noted       3        8     1   ...      entities, in the order in which they were touched
 *   before      [r r]    [ ]   [r]          result rows as they were handed out
 *   emit        what is in both: nothing if the row is the same, else -U and +U
 *               only before: -D     only now: +I
 *
 * Rows of an entity are the same row if the columns of plan->out.keys are equal; they come in the
 * order of those.  So between two emits there is one net change, however often rows came. */
#ifndef RUNNEL_SWINDOW_CHANGES_H
#define RUNNEL_SWINDOW_CHANGES_H

#include "cmd/swindow/window.h"

struct changes {
	uint32_t *places; /* by entity: its place among the noted, +1; 0: not noted */
	size_t places_cap, places_len;
	uint32_t *noted; /* in order */
	size_t noted_len, noted_cap;
	uint32_t *counts; /* by place: its rows in before, which follow one another */
	size_t counts_cap;
	struct schema rows; /* plan->out without ops */
	struct batch_builder before;
	struct batch_builder after, both; /* of an emit: the memory is kept */
};

/* Who knows results: appends the rows that entities[0 .. n) have to out, how many each to counts. */
struct changes_source {
	int (*rows)(struct window *w, const void *of, const uint32_t *entities, uint32_t n,
		struct batch_builder *out, uint32_t *counts, struct error *e);
	const void *of;
};

void changes_init(struct changes *c, const struct window_plan *p);
void changes_clear(struct changes *c);
size_t changes_bytes(const struct changes *c);

/* entities[0 .. n), among which some may repeat, are about to change. */
int changes_note(struct changes *c, struct window *w, const struct changes_source *s,
	const uint32_t *entities, uint32_t n, struct error *e);

/* Hands out what is different now, and forgets what was noted. */
int changes_emit(struct changes *c, struct window *w, const struct changes_source *s,
	struct error *e);

#endif
