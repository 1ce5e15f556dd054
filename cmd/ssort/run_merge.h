/* Sorted runs as one: a k-way merge. */
#ifndef RUNNEL_SSORT_RUN_MERGE_H
#define RUNNEL_SSORT_RUN_MERGE_H

#include "cmd/ssort/order.h"
#include "libcore/state/spill.h"

struct run_merge;

/* Runs in the order of what came first; borrowed, like the order. */
struct run_merge *run_merge_new(const struct schema *s, struct order *order,
	struct spill_run *const *runs, size_t runs_len);
void run_merge_free(struct run_merge *m);

/* The next rows, some or many; 0, 1 at the end, -1.  Borrowed until the next call. */
int run_merge_next(struct run_merge *m, const struct batch **out, struct error *e);

#endif
