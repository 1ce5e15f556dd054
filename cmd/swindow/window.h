/* swindow's operator: rows are put into groups by key, groups into windows by event time.
 *
 *                       plan.c: programs for -w, keys, arguments, filters, results
 *   batch --> rows ---> slices.c    tumble, hop, cumulate, and window_end among the keys
 *                       sessions.c  --session
 *                       global.c    no window
 *                       count.c     --count
 *                       updates.c   any of these but sessions, as a changelog: --emit
 *                                 |
 *             results <-----------+   results.c: finalize, the list's expressions, emit
 *
 * intake.c is what rows pass before, here and in --over (over.h): -w and their times.  spans.h
 * numbers windows.  groups.c is what all of them keep rows in: a key table and the aggregates of its keys.  state.c
 * writes it to snapshots and reads it back, spilled.c to disk where it doesn't fit in memory.  Times
 * are microseconds of event time throughout. */
#ifndef RUNNEL_SWINDOW_WINDOW_H
#define RUNNEL_SWINDOW_WINDOW_H

#include "cmd/common/exec.h"
#include "libcore/base/arena.h"
#include "libcore/expr/aggregate.h"
#include "libcore/expr/expr.h"
#include "libcore/frame/frame.h"
#include "libcore/stage/operator.h"
#include "libcore/table/keytable.h"

/* ---- what the user asked for ---- */

enum window_shape {
	WINDOW_NONE,  /* the whole stream */
	WINDOW_GIVEN, /* ... but the event time is among the keys: found when the schema is known */
	WINDOW_TUMBLE,
	WINDOW_HOP,
	WINDOW_CUMULATE,
	WINDOW_SESSION,
	WINDOW_COUNT, /* of so many rows of a key; times don't matter */
};

/* When results go out. */
enum window_emit {
	EMIT_CLOSE,   /* once, when their window closes */
	EMIT_CHANGES, /* a changelog, after every batch; or by the clock of the stream (TICK): */
	EMIT_EVERY,
};

struct window_options {
	enum window_shape shape;
	enum window_emit emit;
	int64_t emit_us; /* EMIT_EVERY */
	const char *temporary; /* directory for groups that don't fit; NULL: they must */
	int64_t size_us; /* the gap of sessions; a number of rows */
	int64_t step_us; /* hop, count: slide; cumulate: step; tumble: size */
	int64_t offset_us;
	int64_t lateness_us;
	bool partial; /* count: windows that the end of the stream cuts, too */
	const char *keys;  /* -k, or NULL */
	const char *where; /* -w, or NULL */
	const char *list;  /* the aggregates, or NULL */
	const char *keys_from, *where_from,
		*list_from;   /* what messages call them; NULL: as above */
	bool late_output;     /* output 1 takes late rows */
	struct exec_options exec; /* --exec: results are questions, with their rows */
	int64_t memory_bytes; /* 0: no cap */
};

/* The texts are borrowed for the operator's life.  ERROR_USAGE for texts that don't parse. */
int window_operator_new(const struct window_options *o, struct operator** out, struct error *e);

/* ---- the plan: options compiled against the input's schema ---- */

struct window_call {
	struct aggregate *like;          /* no groups: the mould of all others */
	const char *text;                /* "sum(price)": names its state */
	size_t args[AGGREGATE_ARGS_MAX]; /* results of plan->inputs */
	size_t args_len;
	bool filtered;
	size_t filter; /* result of plan->inputs */
};

struct window_plan {
	struct arena arena;
	struct schema in;
	bool retracts;          /* the input is a changelog */
	struct program *where;  /* NULL: all rows */
	struct program *inputs; /* keys_len keys, then arguments and filters */
	size_t keys_len;
	const char **key_names;
	struct type *key_types;
	int time_key;            /* the key that is the event time (WINDOW_GIVEN), else -1 */
	struct select_list list; /* what is left of it: expressions over calls */
	struct window_call *calls;
	size_t calls_len;        /* the last one counts rows if the plan retracts */
	struct schema parts;     /* keys, window_start, window_end, #0 .. of one result row */
	size_t window_part;      /* where window_start lies in parts */
	bool has_window;         /* window_start and window_end are there */
	struct program *results; /* over parts: the output's columns */
	struct schema out;
};

/* The first schema makes the plan; a later one must give the same key, argument and output types
 * and only replaces the programs that read rows. */
int plan_new(const struct window_options *o, const struct schema *in, const char *from,
	struct window_plan **out, struct error *e);
int plan_change_input(struct window_plan *p, const struct window_options *o,
	const struct schema *in, const char *from, struct error *e);
void plan_free(struct window_plan *p);

/* The beginning of a plan, for rows that stay rows (over.h): conditions and keys. */
int plan_new_rows(const struct window_options *o, const struct schema *in, bool retracting,
	struct window_plan **out, struct error *e);
/* An aggregate over the input's rows, of a plan that is being made. */
int plan_compile_call(struct window_plan *p, const struct aggregate_call *from,
	struct window_call *to, struct error *e);

/* ---- rows on their way into groups ---- */

struct rows {
	uint32_t n;
	const struct column *columns; /* the results of plan->inputs: keys first */
	size_t columns_len;
	const uint64_t *hashes; /* of the keys */
	const int64_t *times;   /* event time; without one, running numbers */
	const int8_t *signs;    /* changelogs, else NULL */
};

/* As rows_gather for rising picks (at least one); a run of rows is borrowed where it can be. */
void rows_take(const struct rows *all, const uint32_t *pick, uint32_t n, struct arena *a,
	struct rows *out);

/* The picked rows, in the arena. */
void rows_gather(const struct rows *all, const uint32_t *pick, uint32_t n, struct arena *a,
	struct rows *out);

/* ---- groups ---- */

struct groups {
	struct keytable *keys;
	struct aggregate **aggregates; /* plan->calls_len of them */
};

struct groups *groups_new(const struct window_plan *p);
void groups_free(struct groups *g, const struct window_plan *p);
void groups_reset(struct groups *g, const struct window_plan *p);
uint32_t groups_len(const struct groups *g);
size_t groups_bytes(const struct groups *g, const struct window_plan *p);

/* The group of each row, new ones inserted; in the arena, as all scratch memory. */
void groups_resize(struct groups *g, const struct window_plan *p);
uint32_t *groups_insert(struct groups *g, const struct window_plan *p, const struct rows *rows,
	struct arena *a);
int groups_add(struct groups *g, const struct window_plan *p, const struct rows *rows,
	struct arena *a, struct error *e);
/* ids: the group of each row, in aggregates that are large enough. */
int aggregates_add(struct aggregate **aggregates, const struct window_plan *p,
	const struct rows *rows, const uint32_t *ids, struct arena *a, struct error *e);
/* Takes in all groups of from, which stays as it is. */
int groups_combine(
	struct groups *to, const struct groups *from, const struct window_plan *p, struct error *e);

/* The picked ones; ids takes the numbers that they have in to. */
int groups_combine_picked(struct groups *to, const struct groups *from,
	const struct window_plan *p, const uint32_t *pick, uint32_t n, uint32_t *ids,
	struct error *e);
/* Those that have a result: a changelog may have emptied them.  The caller frees it. */
uint32_t *groups_living(
	const struct groups *g, const struct window_plan *p, uint32_t *n, struct error *e);

/* ---- the operator ---- */

struct window;

/* What the shapes differ in. */
struct window_ops {
	void (*init)(struct window *w);
	void (*clear)(struct window *w);
	int (*add)(struct window *w, const struct rows *rows, struct error *e);
	/* Fires what the watermark has passed. */
	int (*fire)(struct window *w, int64_t watermark_us, struct error *e);
	/* --emit: hands out what has changed. */
	int (*emit)(struct window *w, struct error *e);
	int64_t hold_us; /* the output's watermark lags by this, and by the lateness */
	size_t (*bytes)(const struct window *w);
	/* Writes all groups out (spilled.c).  NULL: they must fit. */
	int (*spill)(struct window *w, struct error *e);
	bool (*can_spill)(const struct window *w); /* NULL: always */
	/* Runs have come from a snapshot: takes note of their windows. */
	void (*from_disk)(struct window *w);
	/* Appends this shape's columns to the state's schema; all rows in the order to be written
	 * in (by key group); and one row's way back. */
	int (*save)(struct window *w, struct snapshot_writer *s, struct error *e);
	int (*load)(struct window *w, const struct batch *b, struct error *e);
	/* The same for batches in which no group comes twice, and that are all there is; then
	 * load_end.  NULL: load does. */
	int (*load_new)(struct window *w, const struct batch *b, struct error *e);
	void (*load_end)(struct window *w);
	bool by_window; /* load takes rows of one window at a time */
	bool by_place;  /* ... rows by place alone */
};

extern const struct window_ops slices_ops, sessions_ops, global_ops, updates_ops, count_ops;

struct window {
	struct operator op;
	struct window_options options;
	const struct window_ops *ops;
	struct window_plan *plan;   /* NULL until the first schema */
	void *state;                /* of ops */
	int64_t watermark_us;       /* as it came in */
	int64_t fired_us;           /* the last one that windows have fired for */
	int64_t emitted_us;         /* EMIT_EVERY: when, by the TICK */
	int64_t next_row;           /* running number of rows, where there is no event time */
	struct batch_builder parts; /* results on their way out */
	struct arena batch_arena;   /* lives for one batch */
	struct arena change_arena;  /* until changes have gone out */
	const struct batch *batch;  /* the rows at hand, after -w: where late ones come from */
	struct column *input_columns, *result_columns; /* of the programs */
	size_t bytes;                                  /* held, as far as counted */
	struct spilled *spilled; /* NULL: all fits so far */
	struct groups *loading;  /* scratch of state_groups_load */
	struct saved *saved; /* what restore read, until the schema is known */
	struct exec *exec;   /* --exec, else NULL: */
	struct schema bare;  /* the input's columns, without the one with whole rows */
	struct schema shown; /* them as they are written: where that is JSON, times are texts */
	struct column_builder *shown_times; /* of these columns */
	struct writer *row_writer;
	struct buf row_bytes;
};

static inline int64_t time_add(int64_t a, int64_t b) /* saturating */
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

static inline int64_t floor_div(int64_t a, int64_t b) /* b > 0 */
{
	return a / b - (a % b < 0);
}

/* Whether an event that is complete at this time has passed, lateness included. */
static inline bool window_has_passed(const struct window *w, int64_t time_us, int64_t watermark_us)
{
	return watermark_us == WATERMARK_FINAL ||
	       time_add(time_us, w->options.lateness_us) <= watermark_us;
}

/* An error if so many bytes are more than --memory allows. */
int window_fits(const struct window *w, size_t bytes, struct error *e);

/* Rows of w->batch that came after their window: counted, and sent to the late output. */
int window_put_late(struct window *w, const uint32_t *pick, uint32_t n, struct error *e);

/* ---- exec.c: --exec, whose questions are results with the rows of their group ----
 *
 * Whole rows are one more column of the input, of type any, which array_agg gathers: so they are kept,
 * spilled, written to snapshots and divided like every aggregate's values. */

int window_exec_check(const struct window_options *o, struct error *e);

/* The list with that aggregate behind it. */
const char *window_exec_list(const char *list, struct arena *a);
int window_exec_open(struct window *w, struct error *e);
void window_exec_close(struct window *w);

/* The input's schema with that column; the rows with it, in the batch's arena. */
int window_exec_input(struct window *w, const struct schema *in, struct schema *out, struct error *e);
int window_exec_rows(struct window *w, const struct batch *in, struct batch *out, struct error *e);

/* ---- results.c ---- */

struct results {
	const struct keytable *keys;
	const uint32_t *key_pick; /* NULL: the first n keys */
	struct aggregate *const *aggregates;
	const uint32_t *group_pick; /* NULL: the first n groups */
	uint32_t n;
	const int64_t *starts, *ends; /* per row, or NULL: */
	int64_t start_us, end_us;
};

/* Appends the parts of results, at most BATCH_ROWS: keys, window, aggregates. */
int results_parts(
	struct window *w, const struct results *r, struct column_builder *out, struct error *e);

/* Queues results; full batches go out. */
int results_put(struct window *w, const struct results *r, struct error *e);
int results_flush(struct window *w, struct error *e);

/* At most BATCH_ROWS results as rows of the output; borrowed until the next results. */
int results_rows(struct window *w, const struct results *r, struct batch *out, struct error *e);

/* ---- state.c ---- */

int window_snapshot(struct operator* op, struct snapshot_writer *s, struct error *e);
int window_restore(struct operator* op, struct snapshot_reader *r, struct error *e);
/* Puts what restore read into the shape's state, once the plan is known. */
int window_load(struct window *w, struct error *e);
void saved_free(struct saved *s);

enum { STATE_FIXED_COLUMNS = 4 };

/* The schema of section "groups": key_group, place, two times named by the shape, keys, aggregates.
 */
void state_schema(const struct window_plan *p, struct schema *s);

/* The key group of every key; the caller frees it. */
uint8_t *state_key_groups(const struct keytable *t);

/* Rows of section "groups" to be written: whole tables, one per window and in order of first time,
 * whose keys have the groups of the same numbers, ... */
struct state_table {
	int64_t first_us, last_us;
	uint64_t first_place; /* of key 0, where earlier ones have been spilled */
	const struct keytable *keys;
	struct aggregate *const *aggregates;
};

/* A table's keys by key group. */
struct table_order {
	uint32_t *ids;                 /* each group's in their order */
	uint32_t from[KEY_GROUPS + 1]; /* where a key group's begin */
};

void table_order_init(struct table_order *o, const struct keytable *t);
void table_order_clear(struct table_order *o);

/* Appends rows of one key group to a builder of the section's schema. */
void state_rows_put(const struct window_plan *p, struct batch_builder *b,
	const struct state_table *t, uint8_t key_group, const uint32_t *ids, uint32_t n);

int state_put_tables(struct window *w, struct snapshot_writer *s, const struct state_table *tables,
	size_t n, struct error *e);

/* ... or single rows of one table in any order; they are sorted in place. */
struct state_row {
	uint64_t place; /* in the order of first appearance within its window */
	int64_t first_us, last_us;
	uint32_t key, group;
	uint8_t key_group;
};

struct state_rows {
	const struct keytable *keys;
	struct aggregate *const *aggregates;
	struct state_row *rows;
	size_t n;
};

/* By key group. */
void state_rows_sort(const struct state_rows *from);
/* Appends some of them to a builder of the section's schema. */
void state_sessions_put(const struct window_plan *p, struct batch_builder *b,
	const struct state_rows *from, const struct state_row *rows, uint32_t n);

int state_put_rows(struct window *w, struct snapshot_writer *s, const struct state_rows *from,
	struct error *e);

/* A batch of section "groups", in order of first time, then place. */
struct state_batch {
	uint32_t rows;
	const int64_t *places, *first_us, *last_us;
	const struct column *const *keys;
	const uint64_t *hashes;
	const struct column *columns; /* of all aggregates, one after another */
	const bool *missing; /* per column: the state didn't have it, its aggregate is new */
};

void state_batch_read(const struct window_plan *p, const struct batch *b, struct arena *a,
	struct state_batch *out);
/* Rows into groups, which may have them already: then both are combined.  *ids: the group of each
 * row, in the arena. */
int state_groups_load(struct window *w, struct groups *g, const struct state_batch *in,
	struct arena *a, uint32_t **ids, struct error *e);
/* Rows of groups that have some already: combined with what those have. */
int state_groups_load_again(struct window *w, struct aggregate **aggregates,
	const struct state_batch *in, const uint32_t *to, struct arena *a, struct error *e);
/* Some rows as a batch of their own, in the arena, but for their keys. */
void state_batch_pick(const struct window_plan *p, const struct state_batch *from,
	const uint32_t *pick, uint32_t n, struct arena *a, struct state_batch *out);
int state_aggregates_load(const struct window_plan *p, struct aggregate **aggregates,
	const struct state_batch *b, const uint32_t *groups, struct error *e);

#endif
