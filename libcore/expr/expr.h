/* SQL scalar expressions: text -> tree -> a short program over whole columns.
 *
 *   expr_parse            text to tree: syntax only; errors carry line, column and a caret
 *   program_add           tree + schema to typed, checked instructions: unknown columns, functions,
 *                         types are ERROR_USAGE, with suggestions
 *   program_run           one batch in, one column per added expression out
 *
 * runnel-expr(7) is the language.  Three-valued logic throughout.
 *
 * Failing values.  Beside valid and null a row of an intermediate column can have *failed*
 * (overflow, division by zero, a cast that doesn't fit).  Kernels run over all rows without regard
 * to branches; a failure travels with its row like a null does, `case`, `and`, `or`, coalesce drop
 * the failures of what they don't take (false and <failed> is false), try() turns it to null.  Only
 * a failure that reaches a result is an error.  So columns are evaluated whole, without masks, and
 * `case when x <> 0 then 1 / x end` still never fails. */
#ifndef RUNNEL_EXPR_EXPR_H
#define RUNNEL_EXPR_EXPR_H

#include "libcore/base/arena.h"
#include "libcore/table/column.h"

struct expr; /* a node of the tree; lives in the arena it was parsed into */

/* One item of a select list. */
struct select_item {
	enum {
		SELECT_EXPR,
		SELECT_STAR,
	} kind;
	struct expr *expr;       /* SELECT_EXPR */
	const char *name;        /* its `as` name, or its text, whitespace folded */
	bool named;              /* there was an `as` */
	const char **except;     /* SELECT_STAR: names left out */
	size_t except_len;
	const char **rename_from, **rename_to;
	size_t rename_len;
	uint32_t at;             /* byte in the text, for messages */
};

struct select_list {
	struct select_item *items;
	size_t len;
	const char *text;        /* what was parsed, in the arena: errors show it */
};

/* One item of an order: `expr [asc|desc] [nulls first|last]`. */
struct order_item {
	struct expr *expr;
	bool descending;
	bool nulls_first;        /* in the order as asked for; unless said nulls are lowest, as in Flink */
};

struct order_list {
	struct order_item *items;
	size_t len;
};

/* Parses one expression, or a list of `expr [as name]`, `*`, `* except (a)`, `* rename (a as b)`.
 * Everything lives in the arena, the text is copied.  what names the text in errors ("-w", "select
 * list", a file's name).  Errors: ERROR_USAGE "<what>:1:7: ...", source line and caret. */
int expr_parse(const char *text, const char *what, struct arena *a, struct expr **out,
	struct error *e);
int select_parse(const char *text, const char *what, struct arena *a, struct select_list *out,
	struct error *e);

/* A list of order items, as above.  The item's kind of mistake has its place shown likewise. */
int order_parse(const char *text, const char *what, struct arena *a, struct order_list *out,
	struct error *e);

/* An error about a tree that was parsed: "<what>:line:column: <message>", its line and a caret. */
int expr_refuse(const struct expr *x, struct error *e, const char *message);

/* Replaces every * by its columns, lets a later item of an existing name take the earlier one's
 * place, and refuses names in except and rename that the schema lacks. */
int select_expand(const struct select_list *in, const struct schema *s, struct arena *a,
	struct select_list *out, struct error *e);

/* If the tree is just a column of the schema: its index, else -1. */
int expr_column(const struct expr *x, const struct schema *s);

/* Sets used[i] for every column of the schema that the tree names; leaves the others. */
void expr_mark_columns(const struct expr *x, const struct schema *s, bool *used);

/* The tree as text again on one line: whitespace outside of quotes folded, comments left out. */
void expr_put(const struct expr *x, struct buf *b);

/* ---- aggregates inside expressions: swindow's list is a select list whose expressions may call
 * aggregate functions.  Split, each call becomes a column of a virtual schema. ---- */

enum { AGGREGATE_ARGS_MAX = 3 };

struct aggregate_call {
	const char *function;          /* "sum", "count", ... lower case */
	bool distinct;
	bool star;                     /* count(*) */
	struct expr *args[AGGREGATE_ARGS_MAX];
	size_t args_len;
	struct expr *parameter;        /* of quantile, string_agg, ...: the constant behind, or NULL */
	struct expr *filter;           /* filter (where ...), or NULL */
	uint32_t at;
	const char *text;              /* the call as text: names its column in snapshots */
};

struct aggregate_calls {
	struct aggregate_call *calls;
	size_t len;
};

/* Finds the aggregate calls in the items (equal calls once), and replaces each in the trees by a
 * reference to column "#<i>" (its index in calls).  Nested aggregates are ERROR_USAGE. */
int expr_split_aggregates(struct select_list *list, struct arena *a, struct aggregate_calls *out,
	struct error *e);

/* As above; the functions of an order of rows are calls, too: row_number(), rank(), dense_rank(),
 * lag(x[, n[, default]]), lead(...). */
int expr_split_over(struct select_list *list, struct arena *a, struct aggregate_calls *out,
	struct error *e);
bool expr_is_order_name(const char *name, size_t len);
bool expr_is_aggregate_name(const char *name, size_t len);

/* ---- patterns of rows: expressions over a match, after SQL's MATCH_RECOGNIZE ----
 *
 *   A.x                the last row that is an A               first(A.x, n)   n rows behind the first
 *   x                  the row at hand; of a whole match the last   last(A.x, n)    n rows before the last
 *   prev(x, n)         n rows before, whatever they are        next(A.x, n)    n rows behind that one
 *   count(A.*) sum(A.x) ...   over the rows that are A; without A over all
 *   classifier()  match_number()  match_time()
 *   final(f(...))      of the whole match, where others go by the rows so far */

struct match_names { /* variables, and names for several of them */
	const char *const *names;
	const uint64_t *masks; /* a bit for each variable that is meant */
	size_t len;
};

#define MATCH_ALL UINT64_MAX

struct match_call {
	enum match_call_kind {
		MATCH_ROW,        /* arg at one row of the match */
		MATCH_AGGREGATE,
		MATCH_CLASSIFIER,
		MATCH_NUMBER,
		MATCH_TIME,
	} kind;
	uint64_t of;              /* rows of these variables */
	bool from_first;          /* ROW: counted from the first of them, else from the last */
	int64_t offset;           /* ROW: so many of them further in, at least 0 */
	int64_t shift;            /* ROW: and then so many rows on (or back), of whatever variable */
	bool final;
	struct expr *arg;         /* ROW: an expression over a row */
	struct aggregate_call aggregate; /* AGGREGATE: likewise */
	const char *text;
};

struct match_calls {
	struct match_call *calls;
	size_t len, cap;
};

/* Puts a reference to column "#<i>" in the place of every such part of x (equal ones once), i its
 * index in out, to which they are added.
 *
 * self: the bit of the variable whose condition x is; its own last row is then the row at hand, and
 * columns of that stay as they are.  0: x is a measure, and x means the match's last row. */
int expr_split_match(struct expr *x, const struct match_names *names, uint64_t self, struct arena *a,
	struct match_calls *out, struct error *e);

/* The parts that are joined by `and`: at most max of them, the last has the rest. */
size_t expr_conjuncts(struct expr *x, struct expr **out, size_t max);

/* ... and joined again; NULL: of none. */
struct expr *expr_join(struct expr *const *parts, size_t n, struct arena *a);

/* ---- programs ---- */

struct program;

struct program *program_new(void);
void program_free(struct program *p);

/* Compiles x against the schema (the same for all adds; borrowed until free).  Common
 * subexpressions are computed once.  *index is the number of the result column.  Constant parts are
 * folded; one that fails is reported here. */
int program_add(struct program *p, const struct expr *x, const struct schema *s, size_t *index,
	struct error *e);

/* As program_add, then cast to the type as `cast` would (keys of joins), or ERROR_USAGE. */
int program_add_as(struct program *p, const struct expr *x, const struct schema *s, struct type t,
	size_t *index, struct error *e);

/* As program_add for a column by index. */
size_t program_add_column(struct program *p, int column, const struct schema *s);

struct type program_type(const struct program *p, size_t index);
size_t program_results(const struct program *p);

/* Warnings found while compiling, one a line ("int / int is integer division between aggregates"),
 * "" if none. */
const char *program_warnings(const struct program *p);

/* The TICK for now(); WATERMARK_NONE until one came: then now() is null. */
void program_set_now(struct program *p, int64_t now_us);

/* The value of an expression without columns, one row in the arena.  ERROR_USAGE if it has some. */
int expr_constant(const struct expr *x, struct arena *a, struct column *out, struct error *e);

/* Runs over a batch.  results[i] is the column of the i-th add; it borrows the batch or the
 * program's memory until the next run.
 * failed NULL: a failed row is ERROR_DATA, "overflow in 'a * b' for row a=..., b=...".
 * failed given: its bitmap (at least (rows + 7) / 8 bytes, zeroed here) gets a 1 for every row in
 * which some result failed, and the first failure's text goes to e without being an error: for
 * --bad.  Returns 0 or -1. */
int program_run(struct program *p, const struct batch *in, struct column *results, uint8_t *failed,
	struct error *e);

/* Runs a program whose only result is a bool and picks the rows that are true: the numbers of those
 * rows go to pick (room for in->rows), their count to *picked. */
int program_filter(struct program *p, const struct batch *in, uint32_t *pick, uint32_t *picked,
	uint8_t *failed, struct error *e);

#endif
