/* smatch: patterns over time, after MATCH_RECOGNIZE of SQL:2016.
 *
 *   batch -> stored, by time --watermark--> rows of a key in order -> threads -> matches -> out
 *                                           (at once where there is no event time)
 *
 *   pattern.c   the pattern's text to steps
 *   plan.c      options and a schema: what is stored of a row, conditions, measures, the output
 *   threads.c   ordered rows in, matches out: what a key has come to
 *   found.c     matches to rows
 *   operator.c  intake, order, watermarks, memory
 *   state.c     snapshots
 *
 * Which match.  From the earliest row on at which one begins; of all that begin there the one that a
 * backtracking matcher finds first: alternatives from the left, as many as possible, reluctant ones as
 * few.  After it the search goes on where --after-match says.  Matches of no rows are none.
 *
 * A condition is taken apart at its `and`s: parts that look at the row, and at rows before it, are
 * evaluated for whole columns as rows come in, one bit a variable and row; only what looks into the
 * match (A.x, first, sum ...) is evaluated for each thread.  A thread holds its rows as a list that it
 * shares with those it parted from.  Where no condition looks into the match, threads at the same step
 * have the same future, and only the preferred one goes on. */
#ifndef RUNNEL_SMATCH_MATCH_H
#define RUNNEL_SMATCH_MATCH_H

#include "cmd/smatch/pattern.h"
#include "libcore/expr/aggregate.h"
#include "libcore/expr/expr.h"
#include "libcore/stage/operator.h"
#include "libcore/state/rowstore.h"
#include "libcore/state/sections.h"
#include "libcore/state/timequeue.h"
#include "libcore/table/keytable.h"

enum { MATCH_LATE_OUTPUT = 1, PARTIALS_DEFAULT = 10000 };

struct match_options { /* texts are borrowed for the operator's life; *_from: what messages call them */
	const char *keys, *keys_from;
	const char *where, *where_from;
	const char *pattern, *pattern_from;
	const char *define, *define_from;
	const char *subset;
	const char *list, *list_from;
	bool all_rows;
	enum after_match { AFTER_LAST_ROW, AFTER_NEXT_ROW, AFTER_FIRST_OF, AFTER_LAST_OF } after;
	const char *after_variable; /* FIRST_OF, LAST_OF */
	bool has_within;
	int64_t within_us; /* from the first row of a match to its last, at most */
	uint32_t partials_max;
	bool late_output;
	int64_t memory_bytes;
};

/* Checks texts as far as that goes without a schema. */
int match_operator_new(const struct match_options *o, struct operator** out, struct error *e);

/* ---- the plan ---- */

struct plan_call {
	struct match_call call;
	struct type type;
	size_t arg; /* ROW: of the stored columns */
	struct aggregate *like;
	size_t args[AGGREGATE_ARGS_MAX], args_len;
	bool filtered;
	size_t filter;
};

struct plan_calls {
	struct plan_call *items;
	size_t len;
};

struct match_plan {
	struct arena arena;
	struct schema in;
	struct pattern pattern;
	struct match_names names;
	struct program *where; /* NULL: all rows */

	/* What is kept of a row: the results of inputs, in this order: keys, columns, arguments. */
	struct program *inputs;
	struct schema stored;
	size_t keys_len;
	const char **key_names;

	/* Conditions, over the columns of the input, and "#0" ... of defines. */
	struct schema condition_schema;
	int *condition_columns; /* stored column of each field of it; -1: unused, or a call's */
	struct plan_calls defines;
	struct program *by_row; /* what looks at rows alone; NULL: nothing does */
	uint8_t *by_row_variable; /* of each of its results */
	struct program *by_thread[PATTERN_VARIABLES_MAX]; /* the rest of each; NULL: there is none */
	bool *thread_uses[PATTERN_VARIABLES_MAX]; /* which fields of condition_schema */
	bool *row_uses;
	bool looks_inside;  /* some by_thread is there */
	uint64_t start_mask; /* variables that a match may begin with */
	uint32_t kept_rows; /* before a match: as far as prev reaches */
	uint64_t after_mask;

	/* Measures, over "#0" ... of measures, behind all of in's columns with --all-rows. */
	struct plan_calls measures;
	struct schema measure_schema;
	int *row_columns; /* --all-rows: stored column of each of in's */
	struct select_list list;
	struct program *results;
	struct schema out;
	bool has_time;      /* rows of out have an event time */
	bool counts_matches; /* match_number() is asked for */
};

int match_plan_new(const struct match_options *o, const struct schema *in, const char *from,
	struct match_plan **out, struct error *e);
void match_plan_free(struct match_plan *p);

/* ---- what a key has come to ---- */

#define LINK_NONE UINT32_MAX

struct match_thread {
	uint32_t tail;  /* its rows, the last first; LINK_NONE: none yet */
	uint16_t step;  /* of the pattern: what the next row has to be */
};

struct match_key {
	uint32_t *rows; /* [head, head + len): stored rows in order */
	uint32_t head, len, cap;
	uint64_t first;  /* the number of rows[head] among all of the key */
	uint64_t start;  /* of the row at which a match is looked for */
	uint64_t at;     /* of the next one to be looked at; start: nothing has begun */
	struct match_thread *threads; /* in the order of preference */
	uint32_t threads_len, threads_cap;
	uint32_t best;     /* a whole match that is given out unless a preferred one comes; LINK_NONE */
	bool is_empty;     /* the best there is so far has no rows */
	bool is_listed;
	int64_t matches;
};

/* A row of a match, as threads share them. */
struct match_link {
	uint32_t prev, refs;
	uint64_t row; /* its number in its key */
	uint8_t variable;
	bool excluded;
};

struct match_row { /* of a whole match, in order */
	uint64_t row;
	uint8_t variable;
	bool excluded;
};

/* Rows of matches that are not given out yet. */
struct found {
	struct column_builder *front;  /* keys, or with --all-rows in's columns */
	size_t front_len;
	struct column_builder *calls;  /* by measure */
	uint32_t rows;
	struct aggregate **aggregates; /* by measure; NULL: it is none.  A group is a row of these */
	struct buf *picks, *groups;    /* by measure: stored rows to aggregate, and for which (uint32_t) */
	struct column *columns;        /* of the output */
};

struct smatch {
	struct operator op;
	struct match_options options;
	struct match_plan *plan; /* NULL until the schema is known */
	struct keytable *table;
	struct match_key *keys; /* by number in table */
	uint32_t keys_len, swept;
	size_t keys_cap;
	struct rowstore store;
	uint64_t *masks; /* by stored row: a bit for each variable that it can be, as far as by_row tells */
	size_t masks_cap;
	struct timequeue queue; /* stored rows that wait for the watermark */
	uint32_t *listed; /* keys in which a match may have begun */
	uint32_t listed_len;
	size_t listed_cap;

	struct match_link *links;
	uint32_t links_len, links_free;
	size_t links_cap;
	struct match_thread *next; /* threads after the row at hand */
	size_t next_cap;
	uint32_t *stamps, stamp; /* by step: when it was last taken, where threads of one step are one */
	uint8_t *holds;  /* by thread: whether its condition does */
	size_t holds_cap;
	uint64_t *numbers;      /* of rows that are fed, in their keys */
	size_t numbers_cap;
	struct match_row *path; /* of the match at hand */
	size_t path_cap;

	struct found found;
	struct column *columns; /* scratch: of inputs, conditions, measures */
	struct aggregate **running; /* of defines: for one thread at a time */
	struct column_builder *values; /* of defines */
	struct arena arena;
	int64_t watermark_us;
	struct sections saved; /* restored, while the schema isn't known */
};

/* ---- threads.c ---- */

/* The stored rows are the next ones of their keys, in this order.  Goes as far as they allow. */
int threads_feed(struct smatch *m, const uint32_t *rows, uint32_t n, struct error *e);

/* No row comes at or before a time any more; what --within ends is over. */
int threads_expire(struct smatch *m, int64_t until_us, struct error *e);

/* No row comes any more. */
int threads_finish(struct smatch *m, struct error *e);

/* After a restore: what had begun begins again. */
int threads_resume(struct smatch *m, struct error *e);

/* The earliest time a match that is still to come could have; INT64_MAX: any behind the watermark. */
int64_t threads_earliest(const struct smatch *m);

uint32_t match_key_row(const struct match_key *k, uint64_t row); /* stored row; ROW_NONE: not kept */
void match_key_push(struct match_key *k, uint32_t stored);
void threads_forget(struct smatch *m, struct match_key *k); /* lets go of links */
void threads_clear(struct smatch *m);

/* ---- found.c ---- */

void found_init(struct smatch *m);
void found_clear(struct smatch *m);

/* The match m->path[0 .. n) of a key. */
int found_put(struct smatch *m, uint32_t key, uint32_t n, struct error *e);
int found_flush(struct smatch *m, struct error *e);

/* The stored row that a call means at position at of path; ROW_NONE: none. */
struct match_view {
	const struct match_key *key;
	const struct match_row *path;
	uint32_t len;
	uint64_t last; /* rows behind this one aren't seen */
};
uint32_t match_view_row(const struct match_view *v, const struct match_call *c);

/* ---- state.c ---- */

int match_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e);
int match_restore(struct operator* op, struct snapshot_reader *r, struct error *e);
int match_load(struct smatch *m, struct error *e);

/* ---- operator.c ---- */

void match_grow_keys(struct smatch *m);
/* The keys of rows by their stored columns, found or inserted; in the arena. */
uint32_t *match_find_keys(struct smatch *m, const struct column *stored, uint32_t rows);

#endif
