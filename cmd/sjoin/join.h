/* sjoin's operator: what all families of joins share.
 *
 *   input 0 LEFT  --+--> on time? --> family->rows --> emit
 *   input 1 RIGHT --+        \-> late: counted, side output 1
 *
 * A family (equal.c, stream.c, window.c, interval.c, asof.c, lookup.c) decides which rows meet and when; the
 * plan (plan.h) knows names, keys and types; kept (kept.h) holds rows; emit (emit.h) makes output
 * of pairs of row numbers.  Rows that come before the other side's schema is known wait, because
 * the common type of the keys depends on both.
 *
 * Event time is the combined watermark as the operator was told it.  A row at or below it is late,
 * in a window join once its last window has closed. */
#ifndef RUNNEL_SJOIN_JOIN_H
#define RUNNEL_SJOIN_JOIN_H

#include "cmd/sjoin/kept.h"
#include "cmd/sjoin/plan.h"
#include "libcore/stage/operator.h"
#include "libcore/state/spill.h"

enum { LEFT = 0, RIGHT = 1 };
enum { LATE_OUTPUT = 1 };
enum { RUN_ARRAYS = 5 }; /* see struct emit_run */

struct join;

/* Rows of one schema that wait: for the other side's schema, or since a restore.  Where a join may
 * use the disk the older ones do so there. */
struct held {
	struct schema schema;
	struct batch_builder rows;
	struct spill_run *run;
	bool used;
};

struct join_family {
	const char *name;
	bool timed;     /* rows have an event time and may be late */
	unsigned lists; /* sides (bits) whose kept rows are listed by key and time */

	/* Both schemas are known; kept rows of a restored snapshot are there. */
	void (*start)(struct join *j);

	/* Rows that are on time; times is NULL unless the family is timed. */
	int (*rows)(struct join *j, unsigned side, const struct batch *b, const int64_t *times,
		struct error *e);

	/* A row of this time is late once the watermark has reached what this returns.  NULL: its
	 * time. */
	int64_t (*last_chance)(const struct join *j, int64_t time_us);
	int (*watermark)(struct join *j, int64_t in_us, int64_t *out_us, struct error *e);
	int (*tick)(struct join *j, struct error *e);
	int (*end)(struct join *j, struct error *e);

	/* Kept rows were renumbered: row r of a side is remap[side][r] now, ROW_NONE is gone. */
	void (*renumber)(struct join *j, uint32_t *const remap[2]);
	size_t (*bytes)(const struct join *j); /* held beside the kept rows */
	void (*free)(struct join *j);

	/* Both inputs are complete; the final watermark has not been handed on. */
	int (*complete)(struct join *j, struct error *e);

	/* A side's section of a snapshot; NULL: what is kept.  Rows to load come before start. */
	int (*save)(struct join *j, unsigned side, struct snapshot_writer *w, struct error *e);
	int (*load)(struct join *j, unsigned side, struct held *h, struct error *e);
};

/* Where output goes instead of the stage's: rows of the output and the pairs they come from.  Ops
 * are not settled (emit.h). */
struct pairs;
struct join_sink {
	int (*put)(
		struct join_sink *k, const struct batch *b, const struct pairs *p, struct error *e);
};

struct join {
	struct operator op;
	struct join_options options;
	const struct join_family *family;
	void *state; /* the family's */
	struct plan plan;
	struct kept kept;
	bool restored_streams; /* a snapshot says that both inputs were kept as streams */
	bool ready;            /* both schemas are known and the output is declared */
	int64_t watermark_us;  /* the greatest the family was told */
	struct held waiting[2], restored[2];
	struct join_sink *sink;  /* NULL: the stage's output */
	struct arena arena;      /* reset at every call of the runtime */
	struct arena emit_arena; /* reset at every emit */
	uint32_t *run_rows;      /* RUN_ARRAYS * BATCH_ROWS, for the run under way */
	uint32_t *filter_pick;   /* BATCH_ROWS, for emit_filter */
};

extern const struct join_family equal_family, stream_family, window_family, interval_family,
	asof_family, lookup_family;

/* Copies the options; their texts are borrowed for the operator's life.  ERROR_USAGE for a -k that
 * doesn't parse and for combinations that make no sense. */
int join_new(const struct join_options *options, struct operator** out, struct error *e);

/* The names of a side's key columns, at most max; they live as long as the operator. */
size_t join_keys(const struct operator* op, unsigned side, const char **names, size_t max);

/* The event times of a batch's rows, in the arena. */
int join_times(
	struct join *j, unsigned side, const struct batch *b, const int64_t **out, struct error *e);

/* Whether a side's rows have an event time. */
bool join_is_timed(const struct join *j, unsigned side);

/* ERROR_USAGE if the kept rows have outgrown --memory. */
int join_check_memory(struct join *j, struct error *e);
bool join_is_over_memory(const struct join *j);

/* Whether rows beyond --memory may go to disk: of joins by keys of inputs that end. */
bool join_can_spill(const struct join *j);

/* Throws away what is kept. */
void join_reset_kept(struct join *j);

/* Calls take with every batch of rows that wait, in order. */
int held_each(struct held *h, int (*take)(void *context, const struct batch *b, struct error *e),
	void *context, struct error *e);

/* ERROR_DATA: a side takes back row `row` of b, which isn't kept. */
int join_missing(
	struct join *j, unsigned side, const struct batch *b, uint32_t row, struct error *e);

/* Copies the live rows together: if enough have died; at once. */
void join_compact(struct join *j);
void join_compact_now(struct join *j);

/* Which rows of which side a kind gives out though they met nobody. */
static inline bool join_keeps_left(const struct join *j)
{
	return j->options.kind == JOIN_LEFT || j->options.kind == JOIN_FULL ||
	       j->options.kind == JOIN_ANTI;
}

static inline bool join_keeps_right(const struct join *j)
{
	return j->options.kind == JOIN_RIGHT || j->options.kind == JOIN_FULL;
}

/* Whether a left row goes out at most once, alone. */
static inline bool join_is_filter(const struct join *j)
{
	return j->options.kind == JOIN_SEMI || j->options.kind == JOIN_ANTI;
}

#endif
