/* Aggregate functions over groups.
 *
 * An aggregate is init, update(batch), combine, finalize (after DuckDB's aggregate_function), held
 * column-wise: one struct aggregate keeps the accumulators of ALL groups of a table in flat arrays
 * indexed by group number, so that an update is one loop over a batch and a snapshot is a copy of
 * columns.  It does not know keys, windows or slices.
 *
 *   group          0      1      2   ...          count: i64
 *   accumulators   [ ]    [ ]    [ ]              sum(int): i128;  max(int): i64 + seen bit; ...
 *
 * Row order: `order` is what first, last and ties of arg_min/arg_max go by: the row's event time if
 * the stream has one, else its running number; equal orders keep the earlier row (last: the later).
 *
 * Retraction (changelogs, frames of --over): update takes a sign per row; what can't retract says
 * so.  Who will take rows back says it when making the aggregate (spec->retracting): min, max,
 * first, quantile and their like then keep all values in trees, 32 to 56 bytes a row beside its
 * values and a logarithm of time, and give a result at any moment for as little (string_agg and
 * array_agg for as much as they are long); otherwise they stay as small as they can be. */
#ifndef RUNNEL_EXPR_AGGREGATE_H
#define RUNNEL_EXPR_AGGREGATE_H

#include "libcore/table/builder.h"

enum { AGGREGATE_STATE_COLUMNS_MAX = 4 };

struct aggregate;

struct aggregate_spec {
	const char *function;       /* see aggregate_names */
	bool distinct;              /* count, sum, avg only */
	bool star;                  /* count(*) */
	const struct type *args;    /* types of the arguments */
	size_t args_len;
	const struct column *parameter; /* its first row: the q of quantile(x, q), the separator of
	                                 * string_agg(x, separator); NULL: not given */
	bool retracting;            /* rows may be taken back, if aggregate_retracts */
};

/* The names of all functions; returns their number. */
size_t aggregate_names(const char *const **out);

/* Whether the last of two arguments is no column but a constant: spec->parameter. */
bool aggregate_has_parameter(const char *function);

/* ERROR_USAGE for an unknown function (with a suggestion), argument types it doesn't take, or a
 * parameter that makes no sense.  array_agg takes values of type any only: cast them before. */
int aggregate_new(const struct aggregate_spec *spec, struct aggregate **out, struct error *e);
void aggregate_free(struct aggregate *a);
struct aggregate *aggregate_new_like(const struct aggregate *a); /* same function, no groups */

struct type aggregate_result(const struct aggregate *a);

/* Whether update takes signs.  Without spec->retracting only what retracts anyway does. */
bool aggregate_retracts(const struct aggregate *a);
bool aggregate_is_distinct(const struct aggregate *a);

/* Groups [old, groups) start empty.  Never shrinks. */
void aggregate_resize(struct aggregate *a, uint32_t groups);

/* Forgets all groups, keeps the memory. */
void aggregate_reset(struct aggregate *a);

/* Makes one group empty, so that its number can be used again. */
void aggregate_clear_group(struct aggregate *a, uint32_t group);

struct aggregate_rows {
	const uint32_t *groups;     /* group of each row; NULL: all rows belong to group 0 */
	const int64_t *order;       /* per row; needed by first, last, arg_*: see above */
	const uint8_t *picked;      /* filter: one byte per row, 0 leaves it out; NULL: all */
	const int8_t *signs;        /* +1 or -1 per row; NULL: all +1 */
	uint32_t rows;
};

/* Adds rows; args are spec->args_len columns.  Errors: none for int sums (128 bits); a failed
 * decimal sum, and a group whose values take gigabytes, are ERROR_DATA.
 *
 * A row of sign -1 takes back an equal one: of the same values and the same order if there is one,
 * else of the same values (streams without an event time number their rows anew), the earliest of
 * them.  It may come before the row that it takes back. */
int aggregate_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e);

/* to's group to_groups[i] takes in from's group from_groups[i], for all i < n.  from is unchanged.
 * Both come from the same spec; they may be the same object if no group is on both sides. */
int aggregate_combine(struct aggregate *to, const uint32_t *to_groups, const struct aggregate *from,
	const uint32_t *from_groups, uint32_t n, struct error *e);

/* Appends the results of the groups in pick[0..n) (NULL: 0, 1, 2, ...).  An int sum that doesn't
 * fit is ERROR_DATA.  Empty groups: count 0, everything else null. */
int aggregate_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e);

/* ---- snapshots: the state of a group is a fixed number of columns ---- */

/* Appends the state's columns to a snapshot's schema, named "<prefix>.count", "<prefix>.sum", ... */
void aggregate_state_schema(const struct aggregate *a, const char *prefix, struct schema *s);
size_t aggregate_state_columns(const struct aggregate *a);

/* Appends the picked groups' state to builders[0 .. state_columns). */
void aggregate_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders);

/* Sets groups[i]'s state from row i of columns[0 .. state_columns), types checked by the caller
 * against aggregate_state_schema; values that can't be are ERROR_STATE. */
int aggregate_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e);

/* Heap bytes held: charged to --memory. */
size_t aggregate_bytes(const struct aggregate *a);

#endif
