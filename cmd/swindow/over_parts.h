/* What the files of --over share:
 *
 *   over_plan.c     options and a schema: programs, calls, the output
 *   over_frames.c   ordered rows in, a column per call out; what frames keep per key
 *   over.c          the operator: rows by time, windows, output
 *   over_state.c    snapshots */
#ifndef RUNNEL_SWINDOW_OVER_PARTS_H
#define RUNNEL_SWINDOW_OVER_PARTS_H

#include "cmd/swindow/over.h"

/* ---- the plan ---- */

enum over_call_kind {
	CALL_AGGREGATE,
	CALL_ROW_NUMBER,
	CALL_RANK,
	CALL_DENSE_RANK,
	CALL_LAG,
	CALL_LEAD,
};

struct over_call {
	enum over_call_kind kind;
	const char *text;
	struct type type;
	size_t aggregate;   /* CALL_AGGREGATE: of window->calls */
	size_t argument;    /* LAG, LEAD: result of window->inputs, and the default's */
	size_t fallback;
	bool has_fallback;
	uint32_t distance;
};

struct over_plan {
	struct window_plan *window; /* keys, condition, aggregates; parts: the input's columns,
	                             * window_start and window_end with windows, then #0, #1 ... */
	struct over_call *calls;
	size_t calls_len;
	uint32_t lag_most; /* 0: no lag */
	bool has_lead;
	struct schema inputs; /* of the results of window->inputs */
};

int over_plan_new(const struct over_options *o, const struct schema *in, const char *from,
	struct over_plan **out, struct error *e);
void over_plan_free(struct over_plan *p);

/* ---- frames ---- */

/* What a key has come to.  items[head .. head + len) are numbers of kept rows, the oldest first; the
 * first `out` of them have left the frame and are there for lag.  Aggregates go by the number of a row
 * in its key, 1, 2 ..., not by its time: rows of equal time have an order, too, that taking one of
 * them back and in again (--exclude-current) must not change. */
struct over_key {
	int64_t last_us, rows, rank, dense;
	int64_t left; /* rows that have left the frame; OVER_GROUP: that have been loaded */
	uint32_t *items;
	uint32_t head, len, cap, out;
};

struct frames {
	const struct over_options *options;
	const struct over_plan *plan;
	struct keytable *keys;
	struct aggregate **aggregates;
	struct over_key *per_key;
	size_t per_key_cap;
	uint32_t per_key_len;
	bool keeps; /* rows are kept at all */
	struct rowstore kept; /* of plan->inputs */
	struct column_builder *results; /* per call: of the batch at hand */
	struct column *columns;         /* of window->inputs */
	uint32_t *evicted, *evicted_keys; /* of the round at hand: kept rows and their keys */
	int64_t *evicted_orders; /* their numbers in their keys */
	uint32_t evicted_len;
	uint32_t swept; /* rows kept after the last sweep */
	size_t evicted_cap, evicted_keys_cap, evicted_orders_cap;
	uint32_t *remap;
	size_t remap_cap;
};

void frames_init(struct frames *f, const struct over_options *o, const struct over_plan *p);
void frames_clear(struct frames *f);
void frames_reset(struct frames *f); /* no keys */
size_t frames_bytes(const struct frames *f);

/* Rows in order, all of equal time together (OVER_TIME). */
struct ordered {
	const struct batch *rows;  /* as the input has them */
	const int64_t *times;      /* without event time: running numbers */
	const struct column *leads; /* per call the results of CALL_LEAD, by row; NULL: none */
};

/* OVER_GROUP: takes rows into their groups, before frames_run over all of them. */
int frames_load(struct frames *f, const struct ordered *in, struct arena *a, struct error *e);

/* One column per call, borrowed until the next run. */
int frames_run(struct frames *f, const struct ordered *in, struct arena *a, struct column *out,
	struct error *e);

/* OVER_TIME: no row comes any more at or before a time.  Lets go of what keys keep that fall silent, now
 * and then: when twice as much is kept as after the last time. */
int frames_sweep(struct frames *f, int64_t until_us, struct arena *a, struct error *e);

/* The keys of rows, found or inserted; in the arena. */
uint32_t *frames_keys(struct frames *f, uint32_t rows, uint64_t **hashes, struct arena *a);
void frames_grow(struct frames *f);
void frames_push(struct frames *f, uint32_t key, uint32_t kept_row);
int frames_rebuild(struct frames *f, struct arena *a, struct error *e); /* aggregates, of kept rows */

#endif
