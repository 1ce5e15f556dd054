/* Sorted runs as one: a k-way merge. */
#ifndef RUNNEL_SSORT_MERGE_H
#define RUNNEL_SSORT_MERGE_H

#include "cmd/ssort/order.h"
#include "libcore/state/spill.h"

struct merge;

/* Runs in the order of what came first; borrowed, like the order. */
struct merge *merge_new(const struct schema *s, struct order *order, struct spill_run *const *runs,
	size_t runs_len);
void merge_free(struct merge *m);

/* The next rows, some or many; 0, 1 at the end, -1.  Borrowed until the next call. */
int merge_next(struct merge *m, const struct batch **out, struct error *e);

#endif
