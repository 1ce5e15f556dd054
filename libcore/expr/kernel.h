/* Kernels: what a compiled expression consists of.  Private to expr/.
 *
 * A vector is a column of one batch's rows with two additions: it may be constant (one row stands
 * for all), and rows may have failed (see expr.h).  A kernel computes one vector from others.
 *
 * Most functions are strict: null in, null out.  For those the runner has joined the arguments'
 * nulls and failures before the kernel is called; the kernel computes values for all rows, whatever
 * lies under nulls, and reports failures with vector_fail only for rows that are valid.  Others
 * (and, case, coalesce, try, ...) are FUNCTION_OWN_NULLS and do it all themselves.
 *
 * Functions are registered in tables, one per module (fn_text.c, ...), found by name and number of
 * arguments.  Signatures spell types with one letter each:
 *
 *   b bool   i int   f float   n decimal   s string   y bytes   d date   t timestamp   u duration
 *   a any    ? whatever   * (last) the one before, any number of times more
 *
 * and are tried in order: first exact, then with implicit casts (int to float or decimal, decimal to
 * float, date to timestamp, a null or a string literal to anything). */
#ifndef RUNNEL_EXPR_KERNEL_H
#define RUNNEL_EXPR_KERNEL_H

#include "libcore/expr/tree.h"

struct vector {
	struct column col;       /* constant: one row */
	const uint8_t *failed;   /* bitmap like validity, 1 = failed; NULL: none */
	bool constant;
	bool owns_valid, owns_failed; /* this vector's bitmaps may be written */
};

/* What a kernel works with during one run. */
struct kernel {
	struct arena *arena;     /* until the next run */
	uint32_t rows;           /* to compute: 1 if every argument is constant */
	int64_t now_us;
	void *state;             /* what resolve left for this call */
	struct buf *text;        /* emptied before the call: bytes of a text result */
	const char **why;        /* set by vector_fail */
	const struct vector *args;
	size_t args_len;
	struct vector *out;      /* type set; valid and failed set if strict; data to be made */
};

typedef void (*kernel_run)(struct kernel *k);

enum function_flags {
	FUNCTION_OWN_NULLS = 1,
	FUNCTION_IMPURE = 2,      /* never folded: now() */
};

/* One call being compiled. */
struct resolving {
	const struct function *function;
	const struct expr *call;
	struct arena *arena;      /* as long as the program */
	struct type *args;        /* in: what they are (kind 0: null); out: what they shall be cast to */
	const struct vector *const *constants; /* per argument: its value if it is constant, else NULL */
	size_t args_len;
	struct type result;
	kernel_run run;
	void *state;
	void (*free_state)(void *state);
};

struct function {
	const char *name;
	const char *signature;    /* NULL: resolve decides */
	char result;              /* letter; '=': the type of the first argument */
	kernel_run run;
	unsigned flags;
	uint8_t args_min, args_max; /* where there is no signature; 255: any number */
	/* Decides on types, kernel and state; with a signature called after it matched.  Error:
	 * -1 with ERROR_USAGE set, without place. */
	int (*resolve)(struct resolving *r, struct error *e);
};

/* Tables end with a NULL name. */
extern const struct function functions_operators[], functions_compare[], functions_logic[],
	functions_math[], functions_text[], functions_search[], functions_strftime[], functions_hash[],
	functions_format[],
	functions_regex[], functions_time[], functions_zone[], functions_any[];

/* Calls visit for every registered function (tests and manuals). */
void function_each(void (*visit)(const struct function *f, void *context), void *context);

/* ---- casts (cast.c) ---- */

/* Whether there is a cast at all; casts of equal types are none. */
bool cast_exists(struct type from, struct type to);
/* Strict; k->out has the wanted type; failures for values that don't fit. */
void cast_run(struct kernel *k);

/* ---- for kernels ---- */

static inline uint32_t vector_row(const struct vector *v, uint32_t row)
{
	return v->constant ? 0 : row;
}

static inline bool vector_is_valid(const struct vector *v, uint32_t row)
{
	return column_is_valid(&v->col, vector_row(v, row));
}

static inline bool vector_has_failed(const struct vector *v, uint32_t row)
{
	row = vector_row(v, row);
	return v->failed && (v->failed[row >> 3] >> (row & 7) & 1);
}

/* Room for k->rows values of the result's width, made the result's data. */
void *vector_data(struct kernel *k);

/* Bytes of text that one column of a batch may have while it is computed: a thousand times what a
 * batch aims at, and far from what offsets can say.  The row that goes beyond fails. */
#ifndef KERNEL_TEXT_MAX
#define KERNEL_TEXT_MAX ((size_t)256 << 20)
#endif
void vector_text_overflow(struct kernel *k, uint32_t from, uint32_t row);
/* For kernels whose rows may multiply their arguments: whether so much more is still allowed. */
static inline bool vector_text_fits(const struct kernel *k, size_t more)
{
	return more <= KERNEL_TEXT_MAX && k->text->len + more <= KERNEL_TEXT_MAX;
}

/* Rows of text: offsets are made the result's; call vector_text_end for each row in order. */
uint32_t *vector_offsets(struct kernel *k);
static inline void vector_text_end(struct kernel *k, uint32_t *offsets, uint32_t row)
{
	if (k->text->len > KERNEL_TEXT_MAX)
		vector_text_overflow(k, offsets[row], row);
	offsets[row + 1] = (uint32_t)k->text->len;
}
/* After the last row: the result's bytes. */
void vector_text_finish(struct kernel *k);

/* The row has failed (it becomes null too), and why: a text that lives as long as the program. */
void vector_fail(struct kernel *k, uint32_t row, const char *why);
/* The row is null after all. */
void vector_null(struct kernel *k, uint32_t row);

/* Bitmaps of k->rows rows, made the result's own so that they can be written. */
uint8_t *vector_own_valid(struct kernel *k);
uint8_t *vector_own_failed(struct kernel *k);

/* Copies a column into the run's arena as the result's values and nulls: for kernels that build
 * theirs row by row.  Failures set so far stay. */
void kernel_keep(struct kernel *k, const struct column *c);

/* Gives arguments first, first + step, ... their common type; literals take the others'. */
int resolve_common(struct resolving *r, size_t first, size_t step, struct type *out,
	struct error *e);

/* Loops over two arguments of one width with a constant on either side, without a branch per row. */
#define KERNEL_LOOP2(k, TA, TB, TR, expression) \
	do { \
		TR *restrict out_ = vector_data(k); \
		const TA *restrict a_ = (k)->args[0].col.data; \
		const TB *restrict b_ = (k)->args[1].col.data; \
		uint32_t rows_ = (k)->rows; \
		if ((k)->args[0].constant) { \
			const TA a = a_[0]; \
			for (uint32_t r_ = 0; r_ < rows_; r_++) { \
				const TB b = b_[(k)->args[1].constant ? 0 : r_]; \
				out_[r_] = (TR)(expression); \
			} \
		} else if ((k)->args[1].constant) { \
			const TB b = b_[0]; \
			for (uint32_t r_ = 0; r_ < rows_; r_++) { \
				const TA a = a_[r_]; \
				out_[r_] = (TR)(expression); \
			} \
		} else { \
			for (uint32_t r_ = 0; r_ < rows_; r_++) { \
				const TA a = a_[r_]; \
				const TB b = b_[r_]; \
				out_[r_] = (TR)(expression); \
			} \
		} \
	} while (0)

#define KERNEL_LOOP1(k, TA, TR, expression) \
	do { \
		TR *restrict out_ = vector_data(k); \
		const TA *restrict a_ = (k)->args[0].col.data; \
		for (uint32_t r_ = 0; r_ < (k)->rows; r_++) { \
			const TA a = a_[r_]; \
			out_[r_] = (TR)(expression); \
		} \
	} while (0)

/* For kernels that aren't loops over plain values: the value of argument i in a row. */
static inline int64_t arg_int(const struct kernel *k, size_t i, uint32_t row)
{
	return column_int(&k->args[i].col, vector_row(&k->args[i], row));
}

static inline double arg_float(const struct kernel *k, size_t i, uint32_t row)
{
	return column_float(&k->args[i].col, vector_row(&k->args[i], row));
}

static inline __int128 arg_decimal(const struct kernel *k, size_t i, uint32_t row)
{
	return column_decimal(&k->args[i].col, vector_row(&k->args[i], row));
}

static inline struct text_view arg_text(const struct kernel *k, size_t i, uint32_t row)
{
	return column_text(&k->args[i].col, vector_row(&k->args[i], row));
}

static inline bool out_is_valid(const struct kernel *k, uint32_t row)
{
	return column_is_valid(&k->out->col, row);
}

#endif
