/* smatch: patterns over time, after MATCH_RECOGNIZE of SQL:2016.
 *
 *   batch -> stored, by time --watermark--> rows of a key in order -> threads -> matches -> out
 *                                           (at once where there is no event time)
 *
 *   pattern.c   the pattern's text to steps
 *   plan.c      options and a schema: what is stored of a row, conditions, measures, the output
 *   threads.c   ordered rows in, matches out: what a key has come to
 *   links.c     the lists of rows that threads share, and what conditions ask of them
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
 * match (A.x, first, sum ...) is evaluated for each thread, for all threads of a row at once.
 *
 * A thread holds its rows as a list that it shares with those it parted from.  With each list is kept
 * what conditions ask of it: the last and the first row of a kind, how many there are, sums and means;
 * so a condition costs the same for a match of three rows and of a million.
 *
 * Threads at the same step have the same future if whatever a condition still asks of their lists is
 * the same: only the preferred one goes on.  Where no condition looks inside, that is every other
 * thread at the step, and there are never more threads than steps.
 *
 * A row that was looked at in vain from an earlier one is looked at from many rows at once: threads of
 * later rows are less preferred ones, and end where they have the future of an earlier one's. */
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

	/* Of a condition's call that looks into the match: */
	size_t mask, front; /* of the plan's; front: first(...) */
	bool is_kept;  /* an aggregate with a group for every list */
	bool is_count; /* count(A.*) */
};

/* The row that is so many of a mask's behind the first. */
struct match_front {
	size_t mask;
	uint64_t offset;
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
	struct program *by_row_alone[PATTERN_VARIABLES_MAX]; /* what by_row has of each */
	bool looks_inside;  /* some by_thread is there */
	uint64_t *masks;    /* of variables whose rows by_thread asks for */
	size_t masks_len;
	struct match_front *fronts;
	size_t fronts_len;
	uint64_t *needs;    /* by step: a bit for each call that will be asked for from there on */
	size_t asked[64];   /* and the calls of those bits */
	uint64_t start_mask; /* variables that a match may begin with */
	uint32_t kept_rows; /* before a match: as far as prev reaches */
	uint32_t ahead;     /* rows that a key must have behind one that is looked at: as far as next reaches */
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

/* As ARENA_ARRAY, of what is written before it is read. */
#define ARENA_ROOM(arena, type, n) ((type *)arena_alloc((arena), (size_t)(n) * sizeof(type)))

/* Masks of rows: a bit for each variable that a row can be. */
#define MATCH_FAILS (UINT64_C(1) << 63) /* some condition failed on it */
#define MATCH_ANY (MATCH_FAILS - 1)

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
	uint64_t tried;  /* of the first from which none has been looked for */
	uint64_t again;  /* rows before it were looked at before, from an earlier start */
	struct match_thread *threads; /* in the order of preference */
	uint32_t threads_len, threads_cap;
	uint32_t best;     /* a whole match that is given out unless a preferred one comes; LINK_NONE */
	bool is_listed;
	int64_t matches;
};

/* A list of rows by its last one, as threads share them. */
struct match_link {
	uint32_t prev, refs;
	uint64_t row; /* its number in its key */
	uint8_t variable;
	bool excluded;
	bool holds;          /* the condition, for the row at hand */
	uint32_t kids;       /* lists that were made of it for the row at hand, if kids_stamp is that */
	uint32_t kids_stamp;
	uint32_t sibling;    /* another one made of the same */
};

/* The rows of a mask in a list. */
struct match_seen {
	uint32_t near;     /* the list that ends with the last of them; LINK_NONE */
	uint32_t count;
	uint64_t sequence; /* of which they are: a number that equal sequences share; 0: none */
};

/* What was met for the row at hand, in a table by hash: a sequence that became longer by it, or a
 * thread. */
struct match_known {
	uint64_t hash;
	uint64_t before, sequence;
	uint32_t stamp;
	uint32_t which; /* of a sequence the mask, of a thread the step */
	uint32_t tail;
	bool is_sequence;
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
	uint32_t *listed; /* keys in which a match may have begun, or rows wait for those behind */
	uint32_t listed_len;
	size_t listed_cap;

	struct match_link *links;
	struct match_seen *seen; /* by link and mask */
	uint32_t *fronts;        /* by link and front: a link */
	uint32_t links_len, links_free;
	size_t links_cap, links_checked;
	uint32_t *made, made_len, first_kid; /* for the row at hand; first_kid: of no rows before */
	size_t made_cap;
	uint64_t sequences; /* numbers given */
	struct match_known *known;
	size_t known_len, known_cap;
	struct match_thread *next; /* threads after the row at hand */
	size_t next_cap;
	uint32_t *stamps, stamp; /* by step: the row for which it was last taken */
	uint32_t *first_tails;   /* ... and by which list first */
	bool *is_first;          /* ... and none but that */
	uint32_t *candidates;    /* by thread: its list with the row at hand */
	size_t candidates_cap;
	size_t key_bytes;        /* of rows and threads of keys */
	uint64_t *numbers;      /* of rows that are fed, in their keys */
	size_t numbers_cap;
	uint32_t *ready;        /* with ahead: the rows that they let be looked at */
	size_t ready_cap;
	bool is_finishing;      /* no more rows come */
	struct match_row *path; /* of the match at hand */
	size_t path_cap;

	struct found found;
	struct column *columns; /* scratch: of inputs, conditions, measures */
	struct aggregate **running; /* of defines: a group a list, or one at a time */
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
uint32_t match_key_beside(const struct match_key *k, uint64_t row, int64_t shift); /* likewise */
void match_key_push(struct smatch *m, struct match_key *k, uint32_t stored);
void threads_forget(struct smatch *m, struct match_key *k); /* lets go of links */
void threads_clear(struct smatch *m);

/* ---- links.c ---- */

/* Lists are counted by who holds them.  A row's lists are made between one links_next_row and the
 * next, and m->made holds each until then. */
void links_next_row(struct smatch *m);

/* The list `prev` (LINK_NONE: none) with a row as the step's variable: one that was made before for
 * this row, or a new one.  Not held for the caller. */
uint32_t link_make(struct smatch *m, uint32_t prev, uint64_t row, const struct pattern_step *s);
void link_drop(struct smatch *m, uint32_t list);

/* Adds the row at hand to the aggregates of all lists that were made for it. */
int links_add_row(struct smatch *m, uint32_t stored_row, struct error *e);

/* Appends a call's value for each of n lists to m->values[call]. */
int links_put_call(struct smatch *m, const struct match_key *k, size_t call, const uint32_t *lists,
	uint32_t n, struct error *e);

/* Whether a thread at the step with a list of the same future has been shown for this row. */
bool links_is_known(struct smatch *m, uint16_t step, uint32_t tail);

/* The rows of a list in order, into m->path; their number. */
uint32_t links_unfold(struct smatch *m, uint32_t tail);
size_t links_bytes(const struct smatch *m);
void links_clear(struct smatch *m);

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
/* Whether --memory allows what lists have come to; looks only where they have grown. */
int match_check_growth(struct smatch *m, struct error *e);
/* The keys of rows by their stored columns, found or inserted; in the arena. */
uint32_t *match_find_keys(struct smatch *m, const struct column *stored, uint32_t rows);

#endif
