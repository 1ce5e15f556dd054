/* Inside the aggregates: what aggregate.c, which checks and hands on, asks of each kind.
 *
 * A kind is a struct that starts with struct aggregate and keeps flat arrays of base.cap elements.
 * Not for use outside aggregate*.c. */
#ifndef RUNNEL_EXPR_AGGREGATE_IMPL_H
#define RUNNEL_EXPR_AGGREGATE_IMPL_H

#include "libcore/expr/aggregate.h"
#include "libcore/expr/aggregate_runs.h"

enum aggregate_function {
	AGGREGATE_COUNT,
	AGGREGATE_SUM,
	AGGREGATE_AVG,
	AGGREGATE_MIN,
	AGGREGATE_MAX,
	AGGREGATE_FIRST,
	AGGREGATE_LAST,
	AGGREGATE_ANY_VALUE,
	AGGREGATE_ARG_MIN,
	AGGREGATE_ARG_MAX,
	AGGREGATE_VARIANCE,
	AGGREGATE_VARIANCE_POP,
	AGGREGATE_STDDEV,
	AGGREGATE_STDDEV_POP,
	AGGREGATE_QUANTILE,
	AGGREGATE_APPROX_QUANTILE,
	AGGREGATE_APPROX_COUNT_DISTINCT,
	AGGREGATE_STRING_AGG,
	AGGREGATE_ARRAY_AGG,
};

enum { AGGREGATE_ARGS = 2 };

struct aggregate_function_row {
	const char *name;
	enum aggregate_function function;
	uint8_t args; /* columns */
	enum {
		AGGREGATE_ALL,
		AGGREGATE_BOOL,
		AGGREGATE_ADDS,    /* what can be added */
		AGGREGATE_NUMBERS, /* ... and squared */
		AGGREGATE_BETWEEN, /* what has values between any two */
		AGGREGATE_SCALE,   /* ... and a zero */
		AGGREGATE_TEXT,
		AGGREGATE_ANY,
		AGGREGATE_HASHED,
	} values;
	enum {
		AGGREGATE_NO_PARAMETER,
		AGGREGATE_FRACTION,
		AGGREGATE_SEPARATOR, /* may be left out */
	} parameter;
};

const struct aggregate_function_row *aggregate_function_find(const char *name); /* or NULL */

struct aggregate_ops {
	bool retracts;
	size_t state_columns;
	void (*free)(struct aggregate *a);                  /* what the kind holds, not a itself */
	void (*reserve)(struct aggregate *a, uint32_t cap); /* arrays of cap groups */
	void (*start)(struct aggregate *a, uint32_t first, uint32_t end); /* groups become empty */
	void (*clear)(struct aggregate *a, uint32_t group); /* NULL: start is enough */
	void (*reset)(struct aggregate *a);                 /* NULL: nothing to do */
	int (*update)(struct aggregate *a, const struct column *args,
		const struct aggregate_rows *rows, struct error *e);
	int (*combine)(struct aggregate *to, const uint32_t *to_groups,
		const struct aggregate *from, const uint32_t *from_groups, uint32_t n,
		struct error *e);
	int (*finalize)(const struct aggregate *a, const uint32_t *pick, uint32_t n,
		struct column_builder *out, struct error *e);
	void (*state_field)(
		const struct aggregate *a, size_t i, const char **name, struct type *type);
	void (*save)(const struct aggregate *a, const uint32_t *pick, uint32_t n,
		struct column_builder *builders);
	int (*load)(struct aggregate *a, const struct column *columns, const uint32_t *groups,
		uint32_t n, struct error *e);
	size_t (*bytes)(const struct aggregate *a);
};

struct aggregate {
	const struct aggregate_ops *ops;
	enum aggregate_function function;
	bool distinct, star, retracting;
	double fraction;      /* of quantiles */
	struct buf separator; /* of string_agg */
	struct type args[AGGREGATE_ARGS];
	size_t args_len;
	struct type result;
	uint32_t groups, cap;
	struct buf scratch; /* bytes per row of the batch at hand */
};

/* The kinds: a new object without groups for a checked function and argument types. */
struct aggregate *aggregate_count_new(void);
struct aggregate *aggregate_sum_new(enum aggregate_function f, struct type arg);
struct aggregate *aggregate_extreme_new(enum aggregate_function f, struct type arg);
struct aggregate *aggregate_pick_new(enum aggregate_function f, struct type arg, struct type by);
struct aggregate *aggregate_distinct_new(
	struct aggregate *inner, struct type arg, bool retracting); /* takes inner */
struct aggregate *aggregate_moments_new(enum aggregate_function f, struct type arg);
struct aggregate *aggregate_quantile_new(struct type arg);
struct aggregate *aggregate_sketch_new(struct type arg);
struct aggregate *aggregate_hll_new(struct type arg);
struct aggregate *aggregate_list_new(enum aggregate_function f, struct type arg);

/* min, max, first, last, any_value, arg_*, quantile and *_agg of rows that may be taken back. */
struct aggregate *aggregate_retract_new(enum aggregate_function f, struct type arg, struct type by);

/* A group has more values than fit: ERROR_DATA. */
int aggregate_too_large(struct error *e);

/* Appends a text to a result column, or ERROR_DATA where that gets too long. */
int aggregate_put_text(struct column_builder *out, const struct buf *text, struct error *e);

/* ---- string_agg and array_agg ---- */

/* A null among the values of array_agg: nil of msgpack. */
#define AGGREGATE_NIL ((struct text_view){"\xc0", 1})

/* Appends the i-th value to a result. */
void aggregate_join_value(const struct aggregate *a, struct text_view v, size_t i, struct buf *out);

/* Whether these bytes can be a value: UTF-8, or one object of msgpack. */
bool aggregate_is_value(const struct aggregate *a, struct text_view v);

/* ---- quantiles ---- */

struct type quantile_result(struct type arg);

/* Where the quantile of n sorted values lies: so much of the way from value `low` to the next. */
struct quantile_place {
	int64_t low;
	double part; /* 0: low itself */
};

struct quantile_place quantile_place(double fraction, int64_t n);

/* The value between two neighbours, as column_order gives them, or decimals. */
int quantile_put(struct type arg, __int128 low, __int128 high, double part,
	struct column_builder *out, struct error *e);

/* How a row counts: NULL if all rows count once, else a byte per row, +1, -1 or 0 (null in arg, or
 * not picked).  arg NULL: no argument.  Valid until the next call for the same aggregate. */
const int8_t *aggregate_weights(
	struct aggregate *a, const struct column *arg, const struct aggregate_rows *rows);

/* args[0] with the nulls of both arguments; scratch holds them. */
struct column aggregate_both_valid(const struct column *args, uint32_t rows, struct buf *scratch);

/* Reallocates *array to cap elements. */
#define AGGREGATE_RESERVE(array, cap) \
	((array) = mem_resize((array), (size_t)(cap) * sizeof *(array)))

static inline uint32_t aggregate_picked(const uint32_t *pick, uint32_t i)
{
	return pick ? pick[i] : i;
}

/* Doubles as integers of the same order: NaN greatest, -0 as 0. */
static inline int64_t float_to_order(double v)
{
	int64_t bits;

	if (v != v)
		return INT64_C(0x7ff8000000000000);
	v += 0.0;
	memcpy(&bits, &v, sizeof bits);
	return bits ^ (int64_t)((uint64_t)(bits >> 63) >> 1);
}

static inline double float_from_order(int64_t order)
{
	int64_t bits = order ^ (int64_t)((uint64_t)(order >> 63) >> 1);
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

/* Whether values of the type compare as 64-bit integers: bool, int, float (as above), times. */
static inline bool type_is_ordered_int(struct type t)
{
	return t.kind != TYPE_DECIMAL && !type_is_text(t);
}

/* Such a value of one row. */
static inline int64_t column_order(const struct column *c, uint32_t row)
{
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: return column_bool(c, row);
	case TYPE_DATE: return column_date(c, row);
	case TYPE_FLOAT: return float_to_order(column_float(c, row));
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: return column_int(c, row);
	case TYPE_DECIMAL:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return 0;
}

/* ---- one value of any type per group ---- */

struct cells {
	struct type type;
	uint32_t cap;
	int64_t *ints; /* type_is_ordered_int: the value as column_order gives it */
	__int128 *decimals;
	struct runs texts;
};

void cells_init(struct cells *c, struct type type);
void cells_clear(struct cells *c);
void cells_reserve(struct cells *c, uint32_t cap);
void cells_set(struct cells *c, uint32_t at, const struct column *from, uint32_t row);
void cells_set_text(struct cells *c, uint32_t at, struct text_view v);
void cells_copy(struct cells *c, uint32_t at, const struct cells *from, uint32_t from_at);
int cells_compare_row(const struct cells *c, uint32_t at, const struct column *with, uint32_t row);
int cells_compare(const struct cells *c, uint32_t at, const struct cells *with, uint32_t with_at);
void cells_drop(struct cells *c, uint32_t at); /* gives its memory back */
struct text_view cells_text(const struct cells *c, uint32_t at);
void cells_put(const struct cells *c, uint32_t at, struct column_builder *out);
size_t cells_bytes(const struct cells *c);

#endif
