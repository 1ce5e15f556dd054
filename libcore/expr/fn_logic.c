/* Three-valued logic, and what chooses between values: case, if, coalesce.  All of
 * them take the failures only of what they take. */
#include "libcore/expr/kernel.h"

/* ---- and, or ---- */

enum truth { FALSE, TRUE, UNKNOWN, FAILED };

static enum truth truth_of(const struct vector *v, uint32_t r)
{
	if (vector_has_failed(v, r))
		return FAILED;
	if (!vector_is_valid(v, r))
		return UNKNOWN;
	return column_bool(&v->col, vector_row(v, r)) ? TRUE : FALSE;
}

/* What decides (false for and, true for or) wins over everything, then failure over unknown. */
static enum truth combine(enum truth decides, enum truth a, enum truth b)
{
	if (a == decides || b == decides)
		return decides;
	if (a == FAILED || b == FAILED)
		return FAILED;
	if (a == UNKNOWN || b == UNKNOWN)
		return UNKNOWN;
	return decides == FALSE ? TRUE : FALSE;
}

static void logic_rows(struct kernel *k, enum truth decides)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		enum truth t = combine(decides, truth_of(&k->args[0], r), truth_of(&k->args[1], r));

		out[r] = t == TRUE;
		if (t == UNKNOWN)
			vector_null(k, r);
		else if (t == FAILED)
			vector_fail(k, r, "");
	}
}

static bool is_plain(const struct vector *v)
{
	return !v->col.valid && !v->failed;
}

static void run_and(struct kernel *k)
{
	if (is_plain(&k->args[0]) && is_plain(&k->args[1]))
		KERNEL_LOOP2(k, uint8_t, uint8_t, uint8_t, a & b);
	else
		logic_rows(k, FALSE);
}

static void run_or(struct kernel *k)
{
	if (is_plain(&k->args[0]) && is_plain(&k->args[1]))
		KERNEL_LOOP2(k, uint8_t, uint8_t, uint8_t, a | b);
	else
		logic_rows(k, TRUE);
}

static void run_not(struct kernel *k)
{
	KERNEL_LOOP1(k, uint8_t, uint8_t, a ^ 1);
}

/* ---- is null ---- */

static void null_rows(struct kernel *k, bool wanted)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++)
		out[r] = vector_is_valid(&k->args[0], r) != wanted;
	for (uint32_t r = 0; k->args[0].failed && r < k->rows; r++) {
		if (vector_has_failed(&k->args[0], r))
			vector_fail(k, r, "");
	}
}

static void run_is_null(struct kernel *k)
{
	null_rows(k, true);
}

static void run_is_not_null(struct kernel *k)
{
	null_rows(k, false);
}

/* ---- choosing ---- */

/* For each row the number of the argument it takes, CHOSE_NULL or CHOSE_FAILED. */
enum { CHOSE_NULL = -1, CHOSE_FAILED = -2 };

static void choose_text(struct kernel *k, const int *chosen)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (chosen[r] >= 0 && vector_is_valid(&k->args[chosen[r]], r)) {
			struct text_view v = arg_text(k, (size_t)chosen[r], r);

			buf_put(k->text, v.text, v.len);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static void choose_fixed(struct kernel *k, const int *chosen)
{
	size_t width = type_width(k->out->col.type);
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		const struct vector *v = chosen[r] >= 0 ? &k->args[chosen[r]] : NULL;

		if (v)
			memcpy(out + r * width, (const uint8_t *)v->col.data +
				vector_row(v, r) * width, width);
		else
			memset(out + r * width, 0, width);
	}
}

static void choose(struct kernel *k, const int *chosen)
{
	if (type_is_text(k->out->col.type))
		choose_text(k, chosen);
	else
		choose_fixed(k, chosen);
	for (uint32_t r = 0; r < k->rows; r++) {
		const struct vector *v = chosen[r] >= 0 ? &k->args[chosen[r]] : NULL;

		if (chosen[r] == CHOSE_FAILED || (v && vector_has_failed(v, r)))
			vector_fail(k, r, "");
		else if (!v || !vector_is_valid(v, r))
			vector_null(k, r);
	}
}

/* cond, value, cond, value, ..., else: the first condition that is true. */
static int case_choice(const struct kernel *k, uint32_t r)
{
	size_t i = 0;

	for (; i + 1 < k->args_len; i += 2) {
		switch (truth_of(&k->args[i], r)) {
		case TRUE: return (int)i + 1;
		case FAILED: return CHOSE_FAILED;
		case FALSE:
		case UNKNOWN: break;
		}
	}
	return i < k->args_len ? (int)i : CHOSE_NULL;
}

static void run_case(struct kernel *k)
{
	int *chosen = arena_alloc(k->arena, k->rows * sizeof *chosen);

	for (uint32_t r = 0; r < k->rows; r++)
		chosen[r] = case_choice(k, r);
	choose(k, chosen);
}

static int coalesce_choice(const struct kernel *k, uint32_t r)
{
	for (size_t i = 0; i < k->args_len; i++) {
		if (vector_has_failed(&k->args[i], r))
			return CHOSE_FAILED;
		if (vector_is_valid(&k->args[i], r))
			return (int)i;
	}
	return CHOSE_NULL;
}

static void run_coalesce(struct kernel *k)
{
	int *chosen = arena_alloc(k->arena, k->rows * sizeof *chosen);

	for (uint32_t r = 0; r < k->rows; r++)
		chosen[r] = coalesce_choice(k, r);
	choose(k, chosen);
}

static int resolve_case(struct resolving *r, struct error *e)
{
	bool has_else = r->args_len % 2 == 1;
	size_t pairs = r->args_len / 2;
	struct type *kinds = r->args, common = {0};
	struct resolving values = *r;
	struct expr call = *r->call;
	struct type *types = ARENA_ARRAY(r->arena, struct type, pairs + 1);
	struct expr **exprs = ARENA_ARRAY(r->arena, struct expr *, pairs + 1);
	const struct vector **constants = ARENA_ARRAY(r->arena, const struct vector *, pairs + 1);
	size_t n = 0;

	for (size_t i = 0; i < r->args_len; i++) {
		bool is_value = i % 2 == 1 || (has_else && i + 1 == r->args_len);

		if (is_value) {
			types[n] = kinds[i];
			exprs[n] = r->call->args[i];
			constants[n++] = r->constants[i];
		} else if (kinds[i].kind && kinds[i].kind != TYPE_BOOL) {
			return error_set(e, ERROR_USAGE, "a condition is a %s, not a bool",
				type_name(kinds[i]));
		} else {
			kinds[i] = TYPE_OF(TYPE_BOOL);
		}
	}
	call.args = exprs;
	values.call = &call;
	values.args = types;
	values.constants = constants;
	values.args_len = n;
	if (resolve_common(&values, 0, 1, &common, e) < 0)
		return -1;
	for (size_t i = 0; i < r->args_len; i++) {
		if (i % 2 == 1 || (has_else && i + 1 == r->args_len))
			kinds[i] = common;
	}
	r->result = common;
	r->run = run_case;
	return 0;
}

static int resolve_coalesce(struct resolving *r, struct error *e)
{
	r->run = run_coalesce;
	return resolve_common(r, 0, 1, &r->result, e);
}

const struct function functions_logic[] = {
	{.name = "and", .signature = "bb", .result = 'b', .run = run_and, .flags = FUNCTION_OWN_NULLS},
	{.name = "or", .signature = "bb", .result = 'b', .run = run_or, .flags = FUNCTION_OWN_NULLS},
	{.name = "not", .signature = "b", .result = 'b', .run = run_not},
	{.name = "is null", .signature = "?", .result = 'b', .run = run_is_null,
		.flags = FUNCTION_OWN_NULLS},
	{.name = "is not null", .signature = "?", .result = 'b', .run = run_is_not_null,
		.flags = FUNCTION_OWN_NULLS},
	{.name = "case", .args_min = 2, .args_max = 255, .flags = FUNCTION_OWN_NULLS,
		.resolve = resolve_case},
	{.name = "if", .args_min = 2, .args_max = 3, .flags = FUNCTION_OWN_NULLS,
		.resolve = resolve_case},
	{.name = "coalesce", .args_min = 1, .args_max = 255, .flags = FUNCTION_OWN_NULLS,
		.resolve = resolve_coalesce},
	{.name = NULL},
};
