/* Groups that don't fit in memory.
 *
 *   run     [ window 1: key group 0 | 1 | .. 127 ][ window 2: ... ]      rows of section "groups"
 *
 * When the groups outgrow --memory they are all written out as a run, and keys start anew: so a key
 * may be in several runs and in memory.  A row's place counts over all of them, so that the least
 * of a key's is where it first appeared.  A window fires partition by partition: of some key
 * groups, what all runs and the memory have is combined, and results are merged by place.  So they,
 * and their order, are those of a table that fits.
 *
 * Runs are read in the order in which they were written, so that of ties the earlier row wins.
 * A run is let go with the last of its windows. */
#ifndef RUNNEL_SWINDOW_SPILLED_H
#define RUNNEL_SWINDOW_SPILLED_H

#include "cmd/swindow/window.h"

#include "libcore/state/spill.h"

struct spilled;

struct spilled *spilled_new(const char *directory);
void spilled_free(struct spilled *s);

/* What is written from now on has places from here on. */
uint64_t spilled_next_place(const struct spilled *s);

/* Writes tables as a run, the least window first. */
int spilled_put_tables(
	struct window *w, const struct state_table *tables, size_t n, struct error *e);
/* Writes rows of any order as they came from a snapshot. */
int spilled_put_saved(struct window *w, const struct batch *all, struct error *e);

bool spilled_has(const struct spilled *s, int64_t first_us);
/* A window, told by its first time, is over. */
void spilled_forget(struct spilled *s, int64_t first_us);
/* The first times of all windows there are, in no order and some several times. */
void spilled_windows(const struct spilled *s, struct buf *out);

/* The rows of a key group, all windows. */
int spilled_each(struct spilled *s, unsigned key_group,
	int (*put)(void *to, const struct batch *b, struct error *e), void *to, struct error *e);

/* Reads what runs have of a window in key groups [first_group, end_group), run by run. */
int spilled_read(struct spilled *s, int64_t first_us, unsigned first_group, unsigned end_group,
	int (*put)(void *to, const struct batch *b, struct error *e), void *to, struct error *e);

/* Sessions, as rows that are sorted in place; they count as one window, of time 0. */
int spilled_put_sessions(
	struct window *w, const struct state_rows *from, uint64_t next_place, struct error *e);

/* ---- firing partition by partition ---- */

enum { SPILLED_RESULTS_MAX = 512 }; /* put at once: so many of each partition are merged */

struct spilled_results;

struct spilled_firing {
	int (*load)(struct spilled_firing *f, unsigned first_group, unsigned end_group,
		struct error *e);
	/* Puts all results of what was loaded in their order. */
	int (*put)(struct spilled_firing *f, struct spilled_results *to, struct error *e);
};

/* So many partitions that what runs have of a window fits, each with `more` bytes in all. */
unsigned spilled_partitions(const struct window *w, const int64_t *first_us, size_t n, double more);

/* An error if a partition of so many bytes doesn't fit. */
int spilled_fits(const struct window *w, size_t bytes, struct error *e);

/* Puts out the results of all partitions in the order of their ranks. */
int spilled_run(struct window *w, unsigned partitions, struct spilled_firing *f, struct error *e);
int spilled_results_put(struct window *w, struct spilled_results *to, const struct results *r,
	const int64_t *ranks, const int64_t *ranks_after, struct error *e);

/* ---- windows of slices, and of the whole stream ---- */

/* A part of a window: what runs have of it, and groups in memory. */
struct spilled_part {
	int64_t first_us;
	const struct groups *groups;
};

/* Puts out the results of parts, which lie one after another in time, as one window. */
int spilled_fire(struct window *w, const struct spilled_part *parts, size_t n, int64_t start_us,
	int64_t end_us, struct error *e);

#endif
