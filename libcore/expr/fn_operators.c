/* Arithmetic.
 *
 * int: 64 bits, overflow fails.  int / int truncates, as in SQL.  float: IEEE; division by zero
 * fails, as it does in SQL.  decimal, with p1,s1 and p2,s2 (precision cut to 38, as in Flink):
 *   a + b, a - b   scale max(s1, s2), precision for one digit more before the point
 *   a * b          scale s1 + s2, precision p1 + p2
 *   a / b          scale max(6, s1 + p2 + 1), cut so that the whole digits fit, not below 6
 *   a % b          scale max(s1, s2)
 * A literal with a point beside a decimal is exact. */
#include "libcore/expr/kernel.h"

#include "libcore/base/number.h"

#include <math.h>

static const char overflow[] = "integer overflow";
static const char by_zero[] = "division by zero";
static const char too_large[] = "decimal overflow";
static const char time_overflow[] = "time overflow";

/* ---- int ---- */

/* A loop that notes whether any row overflowed, and only then a second that marks which. */
#define CHECKED_INT(name, builtin, message) \
	static void name(struct kernel *k) \
	{ \
		bool any = false; \
		KERNEL_LOOP2(k, int64_t, int64_t, int64_t, \
			({ int64_t v_; any |= builtin(a, b, &v_); v_; })); \
		for (uint32_t r = 0; any && r < k->rows; r++) { \
			int64_t v; \
			if (builtin(arg_int(k, 0, r), arg_int(k, 1, r), &v) && out_is_valid(k, r)) \
				vector_fail(k, r, message); \
		} \
	}

CHECKED_INT(add_ints, __builtin_add_overflow, overflow)
CHECKED_INT(subtract_ints, __builtin_sub_overflow, overflow)
CHECKED_INT(multiply_ints, __builtin_mul_overflow, overflow)
CHECKED_INT(add_times, __builtin_add_overflow, time_overflow)
CHECKED_INT(subtract_times, __builtin_sub_overflow, time_overflow)
CHECKED_INT(multiply_times, __builtin_mul_overflow, time_overflow)

static void divide(struct kernel *k, bool remainder)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		int64_t a = arg_int(k, 0, r), b = arg_int(k, 1, r);

		out[r] = 0;
		if (b != 0 && b != -1)
			out[r] = remainder ? a % b : a / b;
		else if (b == -1 && a != INT64_MIN)
			out[r] = remainder ? 0 : -a;
		else if (out_is_valid(k, r) && (b == 0 || !remainder))
			vector_fail(k, r, b == 0 ? by_zero : overflow);
	}
}

static void divide_ints(struct kernel *k)
{
	divide(k, false);
}

static void remainder_ints(struct kernel *k)
{
	divide(k, true);
}

static void negate_ints(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		int64_t a = arg_int(k, 0, r);

		out[r] = (int64_t)(0 - (uint64_t)a);
		if (a == INT64_MIN && out_is_valid(k, r))
			vector_fail(k, r, overflow);
	}
}

/* ---- float ---- */

static void add_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, double, a + b);
}

static void subtract_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, double, a - b);
}

static void multiply_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, double, a * b);
}

static void negate_floats(struct kernel *k)
{
	KERNEL_LOOP1(k, double, double, -a);
}

static void fail_zero_floats(struct kernel *k)
{
	for (uint32_t r = 0; r < k->rows; r++) {
		if (arg_float(k, 1, r) == 0 && out_is_valid(k, r))
			vector_fail(k, r, by_zero);
	}
}

static void divide_floats(struct kernel *k)
{
	bool any = false;

	/* The division itself is by one where it would be by zero: no trap, no sanitizer's report. */
	KERNEL_LOOP2(k, double, double, double, (any |= b == 0, a / (b == 0 ? 1.0 : b)));
	if (any)
		fail_zero_floats(k);
}

static void remainder_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, double, fmod(a, b == 0 ? 1.0 : b));
	fail_zero_floats(k);
}

/* ---- decimal ---- */

static unsigned arg_scale(const struct kernel *k, size_t i)
{
	return k->args[i].col.type.scale;
}

enum decimal_op { DECIMAL_ADD, DECIMAL_SUB, DECIMAL_MUL, DECIMAL_DIV, DECIMAL_MOD };

static enum number_status decimal_op(const struct kernel *k, enum decimal_op op, __int128 a,
	__int128 b, __int128 *out)
{
	unsigned scale = k->out->col.type.scale;

	switch (op) {
	case DECIMAL_ADD: return decimal_add(a, b, out); /* the arguments were cast to one scale */
	case DECIMAL_SUB: return decimal_sub(a, b, out);
	case DECIMAL_MUL: return decimal_mul(a, arg_scale(k, 0), b, arg_scale(k, 1), scale, out);
	case DECIMAL_DIV: return decimal_div(a, arg_scale(k, 0), b, arg_scale(k, 1), scale, out);
	case DECIMAL_MOD: return decimal_mod(a, arg_scale(k, 0), b, arg_scale(k, 1), out);
	}
	return NUMBER_MALFORMED;
}

static bool fits(__int128 v, struct type t)
{
	__int128 limit = decimal_pow10[t.precision];

	return v < limit && v > -limit;
}

static void decimals(struct kernel *k, enum decimal_op op)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		__int128 v = 0;
		enum number_status status;

		if (out_is_valid(k, r)) {
			status = decimal_op(k, op, arg_decimal(k, 0, r), arg_decimal(k, 1, r), &v);
			if (status == NUMBER_MALFORMED)
				vector_fail(k, r, by_zero);
			else if (status != NUMBER_OK || !fits(v, k->out->col.type))
				vector_fail(k, r, too_large);
		}
		memcpy(out + (size_t)r * 16, &v, 16);
	}
}

static void add_decimals(struct kernel *k)
{
	decimals(k, DECIMAL_ADD);
}

static void subtract_decimals(struct kernel *k)
{
	decimals(k, DECIMAL_SUB);
}

static void multiply_decimals(struct kernel *k)
{
	decimals(k, DECIMAL_MUL);
}

static void divide_decimals(struct kernel *k)
{
	decimals(k, DECIMAL_DIV);
}

static void remainder_decimals(struct kernel *k)
{
	decimals(k, DECIMAL_MOD);
}

static void negate_decimals(struct kernel *k)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		__int128 v = out_is_valid(k, r) ? -arg_decimal(k, 0, r) : 0;

		memcpy(out + (size_t)r * 16, &v, 16);
	}
}

static unsigned at_most(unsigned v, unsigned most)
{
	return v < most ? v : most;
}

static unsigned greater(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

static struct type decimal_type(unsigned precision, unsigned scale)
{
	return (struct type){TYPE_DECIMAL, (uint8_t)at_most(precision, 38), (uint8_t)scale};
}

/* An int is a decimal(19,0); an int literal only as wide as it is written. */
static struct type as_decimal(const struct resolving *r, size_t i)
{
	const struct expr *x = r->call->args[i];
	struct decimal_shape shape;
	__int128 v;

	if (r->args[i].kind == TYPE_DECIMAL)
		return r->args[i];
	if (x->kind == NODE_LITERAL && x->text && (r->args[i].kind == TYPE_INT ||
		r->args[i].kind == TYPE_FLOAT) &&
		decimal_parse_any(x->text, x->text_len, &v, &shape) == NUMBER_OK)
		return decimal_type(shape.precision, shape.scale);
	return decimal_type(19, 0);
}

static int resolve_sum(struct resolving *r, kernel_run run)
{
	struct type a = as_decimal(r, 0), b = as_decimal(r, 1);
	unsigned scale = greater(a.scale, b.scale);
	unsigned whole = greater(a.precision - a.scale, b.precision - b.scale);

	r->result = decimal_type(whole + scale + 1, scale);
	r->args[0] = r->args[1] = decimal_type(whole + scale, scale);
	r->run = run;
	return 0;
}

static int resolve_product(struct resolving *r, struct error *e)
{
	struct type a = as_decimal(r, 0), b = as_decimal(r, 1);

	if (a.scale + b.scale > 38)
		return error_set(e, ERROR_USAGE, "%s * %s has more than 38 digits behind the point\n"
			"cast one of them to a smaller scale, or to float", type_name(a), type_name(b));
	r->result = decimal_type(a.precision + b.precision, a.scale + b.scale);
	r->args[0] = a;
	r->args[1] = b;
	r->run = multiply_decimals;
	return 0;
}

static int resolve_quotient(struct resolving *r)
{
	struct type a = as_decimal(r, 0), b = as_decimal(r, 1);
	unsigned scale = greater(6, a.scale + b.precision + 1u);
	unsigned whole = (unsigned)(a.precision - a.scale) + b.scale;

	if (whole + scale > 38) {
		whole = at_most(whole, 32);
		scale = greater(at_most(scale, 38 - whole), 6);
	}
	r->result = decimal_type(whole + scale, scale);
	r->args[0] = a;
	r->args[1] = b;
	r->run = divide_decimals;
	return 0;
}

static int resolve_remainder(struct resolving *r)
{
	struct type a = as_decimal(r, 0), b = as_decimal(r, 1);

	r->result = decimal_type(38, greater(a.scale, b.scale));
	r->args[0] = a;
	r->args[1] = b;
	r->run = remainder_decimals;
	return 0;
}

/* ---- which of them ---- */

enum arithmetic { ADD, SUBTRACT, MULTIPLY, DIVIDE, REMAINDER };

static int resolve_decimals(struct resolving *r, enum arithmetic op, struct error *e)
{
	switch (op) {
	case ADD: return resolve_sum(r, add_decimals);
	case SUBTRACT: return resolve_sum(r, subtract_decimals);
	case MULTIPLY: return resolve_product(r, e);
	case DIVIDE: return resolve_quotient(r);
	case REMAINDER: return resolve_remainder(r);
	}
	return -1;
}

static bool is_literal(const struct resolving *r, size_t i)
{
	return r->call->args[i]->kind == NODE_LITERAL;
}

static bool is_number(struct type t)
{
	return t.kind == TYPE_INT || t.kind == TYPE_FLOAT || t.kind == TYPE_DECIMAL;
}

/* Times: result and kernel by the kinds; 0 if the operator has no meaning for them. */
struct time_rule {
	enum arithmetic op;
	uint8_t left, right;         /* as given */
	uint8_t as_left, as_right;   /* cast to */
	uint8_t result;
	kernel_run run;
};

static void divide_durations(struct kernel *k)
{
	double *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		double b = (double)arg_int(k, 1, r);

		out[r] = b == 0 ? 0 : (double)arg_int(k, 0, r) / b;
		if (b == 0 && out_is_valid(k, r))
			vector_fail(k, r, by_zero);
	}
}

static void scale_duration(struct kernel *k, bool division)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		double a = (double)arg_int(k, 0, r), b = arg_float(k, 1, r);
		double v = division ? a / (b == 0 ? 1 : b) : a * b;

		out[r] = 0;
		if (fabs(v) < 9.2e18 && !(division && b == 0))
			out[r] = (int64_t)nearbyint(v);
		else if (out_is_valid(k, r))
			vector_fail(k, r, division && b == 0 ? by_zero : time_overflow);
	}
}

static void multiply_duration(struct kernel *k)
{
	scale_duration(k, false);
}

static void divide_duration(struct kernel *k)
{
	scale_duration(k, true);
}

static void move_date(struct kernel *k, int sign)
{
	int32_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		int64_t days = column_date(&k->args[0].col, vector_row(&k->args[0], r)), v;
		bool bad = __builtin_mul_overflow(arg_int(k, 1, r), sign, &v) ||
			__builtin_add_overflow(days, v, &v) || v < INT32_MIN || v > INT32_MAX;

		out[r] = bad ? 0 : (int32_t)v;
		if (bad && out_is_valid(k, r))
			vector_fail(k, r, time_overflow);
	}
}

static void add_days(struct kernel *k)
{
	move_date(k, 1);
}

static void subtract_days(struct kernel *k)
{
	move_date(k, -1);
}

static void subtract_dates(struct kernel *k)
{
	KERNEL_LOOP2(k, int32_t, int32_t, int64_t, (int64_t)a - b);
}

#define T TYPE_TIMESTAMP
#define U TYPE_DURATION
#define D TYPE_DATE
#define I TYPE_INT
#define F TYPE_FLOAT
static const struct time_rule time_rules[] = {
	{SUBTRACT, D, D, D, D, I, subtract_dates}, /* days, as in SQL */
	{SUBTRACT, T, T, T, T, U, subtract_times},
	{SUBTRACT, T, D, T, T, U, subtract_times},
	{SUBTRACT, D, T, T, T, U, subtract_times},
	{ADD, T, U, T, U, T, add_times},
	{ADD, U, T, U, T, T, add_times},
	{ADD, D, U, T, U, T, add_times},
	{ADD, U, D, U, T, T, add_times},
	{ADD, U, U, U, U, U, add_times},
	{SUBTRACT, T, U, T, U, T, subtract_times},
	{SUBTRACT, D, U, T, U, T, subtract_times},
	{SUBTRACT, U, U, U, U, U, subtract_times},
	{ADD, D, I, D, I, D, add_days},
	{SUBTRACT, D, I, D, I, D, subtract_days},
	{MULTIPLY, U, I, U, I, U, multiply_times},
	{MULTIPLY, I, U, I, U, U, multiply_times},
	{MULTIPLY, U, F, U, F, U, multiply_duration},
	{DIVIDE, U, I, U, F, U, divide_duration},
	{DIVIDE, U, F, U, F, U, divide_duration},
	{DIVIDE, U, U, U, U, F, divide_durations},
	{REMAINDER, U, U, U, U, U, remainder_ints},
};
#undef T
#undef U
#undef D
#undef I
#undef F

static bool resolve_times(struct resolving *r, enum arithmetic op)
{
	for (size_t i = 0; i < sizeof time_rules / sizeof *time_rules; i++) {
		const struct time_rule *rule = &time_rules[i];

		if (rule->op != op || rule->left != r->args[0].kind || rule->right != r->args[1].kind)
			continue;
		r->args[0] = TYPE_OF(rule->as_left);
		r->args[1] = TYPE_OF(rule->as_right);
		r->result = TYPE_OF(rule->result);
		r->run = rule->run;
		return true;
	}
	return false;
}

static int refuse(const struct resolving *r, struct error *e)
{
	const char *name = r->call->name;

	error_set(e, ERROR_USAGE, "%s %s %s has no meaning", r->args[0].kind ? type_name(r->args[0]) :
		"null", name, r->args[1].kind ? type_name(r->args[1]) : "null");
	if (!strcmp(name, "+") && (r->args[0].kind == TYPE_STRING || r->args[1].kind == TYPE_STRING))
		return error_hint(e, "texts are joined with ||");
	return -1;
}

/* A null takes the other side's type; a text literal beside a number or time is read as that. */
static void settle_unknown(struct resolving *r)
{
	for (size_t i = 0; i < 2; i++) {
		struct type other = r->args[1 - i];

		if (!r->args[i].kind)
			r->args[i] = other.kind ? other : TYPE_OF(TYPE_INT);
		else if (expr_is_string_literal(r->call->args[i]) && other.kind != TYPE_STRING &&
			other.kind != TYPE_BOOL)
			r->args[i] = other.kind == TYPE_DATE ? TYPE_OF(TYPE_DURATION) : other;
	}
}

static int resolve_arithmetic(struct resolving *r, struct error *e)
{
	static const kernel_run ints[] = {add_ints, subtract_ints, multiply_ints, divide_ints,
		remainder_ints};
	static const kernel_run floats[] = {add_floats, subtract_floats, multiply_floats,
		divide_floats, remainder_floats};
	static const char symbols[] = "+-*/%";
	const char *at = strchr(symbols, r->call->name[0]);
	enum arithmetic op = at ? (enum arithmetic)(at - symbols) : REMAINDER; /* mod() */
	uint8_t a, b;

	settle_unknown(r);
	a = r->args[0].kind;
	b = r->args[1].kind;
	if (!is_number(r->args[0]) || !is_number(r->args[1]))
		return resolve_times(r, op) ? 0 : refuse(r, e);
	if ((a == TYPE_DECIMAL && (b != TYPE_FLOAT || is_literal(r, 1))) ||
		(b == TYPE_DECIMAL && (a != TYPE_FLOAT || is_literal(r, 0))))
		return resolve_decimals(r, op, e);
	r->result = TYPE_OF(a == TYPE_INT && b == TYPE_INT ? TYPE_INT : TYPE_FLOAT);
	r->run = (r->result.kind == TYPE_INT ? ints : floats)[op];
	r->args[0] = r->args[1] = r->result;
	return 0;
}

static int resolve_negate(struct resolving *r, struct error *e)
{
	r->result = r->args[0].kind ? r->args[0] : TYPE_OF(TYPE_INT);
	r->args[0] = r->result;
	switch (r->result.kind) {
	case TYPE_INT:
	case TYPE_DURATION: r->run = negate_ints; return 0;
	case TYPE_FLOAT: r->run = negate_floats; return 0;
	case TYPE_DECIMAL: r->run = negate_decimals; return 0;
	}
	return error_set(e, ERROR_USAGE, "-%s has no meaning", type_name(r->result));
}

const struct function functions_operators[] = {
	{.name = "+", .args_min = 2, .args_max = 2, .resolve = resolve_arithmetic},
	{.name = "-", .args_min = 2, .args_max = 2, .resolve = resolve_arithmetic},
	{.name = "*", .args_min = 2, .args_max = 2, .resolve = resolve_arithmetic},
	{.name = "/", .args_min = 2, .args_max = 2, .resolve = resolve_arithmetic},
	{.name = "%", .args_min = 2, .args_max = 2, .resolve = resolve_arithmetic},
	{.name = "mod", .args_min = 2, .args_max = 2, .resolve = resolve_arithmetic},
	{.name = "negate", .args_min = 1, .args_max = 1, .resolve = resolve_negate},
	{.name = NULL},
};
