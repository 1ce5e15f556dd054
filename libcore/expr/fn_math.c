/* Functions of numbers.  What has no result (the root of a negative number, the logarithm of zero)
 * fails its row; what is too large for a float is infinite, as in the operators.  Rounding is to
 * the nearest, halves away from zero. */
#include "libcore/expr/kernel.h"

#include "libcore/base/number.h"

#include <math.h>

static const char overflow[] = "integer overflow";
static const char too_large[] = "decimal overflow";

/* ---- abs, sign ---- */

static void abs_ints(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		int64_t v = arg_int(k, 0, r);

		out[r] = v < 0 ? (int64_t)(0 - (uint64_t)v) : v;
		if (v == INT64_MIN && out_is_valid(k, r))
			vector_fail(k, r, overflow);
	}
}

static void abs_floats(struct kernel *k)
{
	KERNEL_LOOP1(k, double, double, fabs(a));
}

static __int128 decimal_at(const struct kernel *k, uint32_t r)
{
	return out_is_valid(k, r) ? arg_decimal(k, 0, r) : 0;
}

static void abs_decimals(struct kernel *k)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		__int128 v = decimal_at(k, r);

		v = v < 0 ? -v : v;
		memcpy(out + (size_t)r * 16, &v, 16);
	}
}

static void sign_ints(struct kernel *k)
{
	KERNEL_LOOP1(k, int64_t, int64_t, (a > 0) - (a < 0));
}

static void sign_floats(struct kernel *k)
{
	KERNEL_LOOP1(k, double, double, isnan(a) ? a : (double)((a > 0) - (a < 0)));
}

static void sign_decimals(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		__int128 v = decimal_at(k, r);

		out[r] = (v > 0) - (v < 0);
	}
}

/* ---- rounding ---- */

enum rounding { NEAREST, UP, DOWN, TO_ZERO };

static enum rounding rounding_of(const struct kernel *k)
{
	const char *name = k->state;

	switch (name[0]) {
	case 'c': return UP;
	case 'f': return DOWN;
	case 't': return TO_ZERO;
	}
	return NEAREST;
}

static double round_whole(enum rounding how, double v)
{
	switch (how) {
	case NEAREST: return round(v);
	case UP: return ceil(v);
	case DOWN: return floor(v);
	case TO_ZERO: return trunc(v);
	}
	return v;
}

static void same(struct kernel *k)
{
	KERNEL_LOOP1(k, int64_t, int64_t, a);
}

static void round_floats(struct kernel *k)
{
	enum rounding how = rounding_of(k);

	KERNEL_LOOP1(k, double, double, round_whole(how, a));
}

/* v / step to a whole number; step is a power of ten above 1. */
static __int128 whole_steps(enum rounding how, __int128 v, __int128 step)
{
	__int128 whole = v / step, rest = v % step, far = rest < 0 ? -rest : rest;

	switch (how) {
	case NEAREST: return whole + (far >= step - far ? (v < 0 ? -1 : 1) : 0);
	case UP: return whole + (rest > 0);
	case DOWN: return whole - (rest < 0);
	case TO_ZERO: return whole;
	}
	return whole;
}

static bool decimal_fits(__int128 v, struct type t)
{
	return v < decimal_pow10[t.precision] && v > -decimal_pow10[t.precision];
}

/* To `digits` behind the point, then as the result's scale writes it. */
static bool round_decimal(
	enum rounding how, __int128 *v, unsigned scale, int64_t digits, unsigned out_scale)
{
	if (digits < (int64_t)scale) {
		int64_t cut = (int64_t)scale - digits;

		if (cut > 38) {
			*v = 0;
			return true;
		}
		*v = whole_steps(how, *v, decimal_pow10[cut]);
		cut = (int64_t)out_scale - digits;
		return cut <= 38 && !__builtin_mul_overflow(*v, decimal_pow10[cut], v);
	}
	return !__builtin_mul_overflow(*v, decimal_pow10[out_scale - scale], v);
}

static void round_decimals(struct kernel *k)
{
	enum rounding how = rounding_of(k);
	unsigned scale = k->args[0].col.type.scale;
	struct type to = k->out->col.type;
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		__int128 v = decimal_at(k, r);
		int64_t digits = k->args_len > 1 && out_is_valid(k, r) ? arg_int(k, 1, r) : 0;

		if (digits > to.scale)
			digits = to.scale;
		if (digits < -100)
			digits = -100;
		if (!round_decimal(how, &v, scale, digits, to.scale) || !decimal_fits(v, to)) {
			v = 0;
			if (out_is_valid(k, r))
				vector_fail(k, r, too_large);
		}
		memcpy(out + (size_t)r * 16, &v, 16);
	}
}

static void round_ints_to(struct kernel *k)
{
	enum rounding how = rounding_of(k);
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		int64_t v = arg_int(k, 0, r), digits = arg_int(k, 1, r);
		__int128 wide = v;

		out[r] = v;
		if (digits >= 0)
			continue;
		out[r] = 0;
		if (digits < -19)
			continue;
		wide = whole_steps(how, wide, decimal_pow10[-digits]) * decimal_pow10[-digits];
		out[r] = (int64_t)wide;
		if (wide != out[r] && out_is_valid(k, r))
			vector_fail(k, r, overflow);
	}
}

/* Decides by the shortest decimal text, as a reader expects: round(0.285, 2) is 0.29, though the
 * double is a little below.  Only near a tie does it take the way through decimals. */
static double round_float_to(enum rounding how, double v, int64_t digits)
{
	double step, scaled, whole;
	__int128 exact;

	if (!isfinite(v) || digits > 300)
		return v;
	if (digits < 0) {
		step = digits < -308 ? INFINITY : pow(10, (double)-digits);
		whole = isinf(step) ? 0 : round_whole(how, v / step) * step;
		return whole;
	}
	if (digits > 22 || fabs(v) >= 9007199254740992.0)
		return v;
	step = pow(10, (double)digits);
	scaled = v * step;
	if (fabs(scaled) < 1e12 && fabs(fabs(scaled - trunc(scaled)) - 0.5) > 1e-3 &&
		fabs(scaled - round(scaled)) > 1e-3)
		return round_whole(how, scaled) / step;
	if (decimal_from_float(v, (struct decimal_shape){38, (unsigned)digits + 1}, &exact) !=
			NUMBER_OK ||
		fabs(scaled) >= 9007199254740992.0)
		return v;
	if (how == NEAREST && decimal_from_float(v, (struct decimal_shape){38, (unsigned)digits},
				      &exact) == NUMBER_OK)
		return copysign(decimal_to_float(exact, (unsigned)digits), v);
	return copysign(decimal_to_float(whole_steps(how, exact, 10), (unsigned)digits), v);
}

static void round_floats_to(struct kernel *k)
{
	enum rounding how = rounding_of(k);
	double *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++)
		out[r] = round_float_to(how, arg_float(k, 0, r), arg_int(k, 1, r));
}

/* decimal(p,s) to d digits: one digit more before the point, for 9.9 becomes 10. */
static int resolve_round(struct resolving *r, struct error *e)
{
	struct type t = r->args[0];
	unsigned scale = t.scale, whole;

	r->state = (void *)(uintptr_t)r->function->name;
	if (t.kind != TYPE_DECIMAL)
		return 0;
	if (r->args_len == 1) {
		scale = 0;
	} else if (r->constants[1] && r->constants[1]->col.type.kind == TYPE_INT &&
		   vector_is_valid(r->constants[1], 0)) {
		int64_t digits = column_int(&r->constants[1]->col, 0);

		scale = digits < 0 ? 0 : digits < t.scale ? (unsigned)digits : t.scale;
	}
	whole = (unsigned)(t.precision - t.scale) + (scale < t.scale || r->args_len > 1);
	whole = whole ? whole : 1;
	whole += scale;
	r->result = (struct type){TYPE_DECIMAL, (uint8_t)(whole > 38 ? 38 : whole), (uint8_t)scale};
	return 0;
}

/* ---- floats ---- */

/* The function of all rows, then a failure for those in which its argument is outside `domain`. */
#define FLOAT_FUNCTION(name, domain, computed, message)                     \
	static void name(struct kernel *k)                                  \
	{                                                                   \
		KERNEL_LOOP1(k, double, double, (domain) ? (computed) : 0); \
		for (uint32_t r = 0; r < k->rows; r++) {                    \
			double a = arg_float(k, 0, r);                      \
			if (!(domain) && out_is_valid(k, r))                \
				vector_fail(k, r, message);                 \
		}                                                           \
	}

static const char no_root[] = "square root of a negative number";
static const char no_log[] = "logarithm of a number that is not above zero";

FLOAT_FUNCTION(run_sqrt, !(a < 0), sqrt(a), no_root)
FLOAT_FUNCTION(run_ln, !(a <= 0), log(a), no_log)
FLOAT_FUNCTION(run_log10, !(a <= 0), log10(a), no_log)
FLOAT_FUNCTION(run_log2, !(a <= 0), log2(a), no_log)

static void run_log_base(struct kernel *k)
{
	double *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		double base = arg_float(k, 0, r), v = arg_float(k, 1, r);
		bool bad = base <= 0 || base == 1 || v <= 0;

		out[r] = bad ? 0 : log(v) / log(base);
		if (bad && out_is_valid(k, r))
			vector_fail(k, r, base == 1 ? "logarithm to base 1" : no_log);
	}
}

static void run_exp(struct kernel *k)
{
	KERNEL_LOOP1(k, double, double, exp(a));
}

static void run_power(struct kernel *k)
{
	double *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		double a = arg_float(k, 0, r), b = arg_float(k, 1, r);

		out[r] = pow(a, b);
		if (!out_is_valid(k, r))
			continue;
		if (a == 0 && b < 0)
			vector_fail(k, r, "zero to a negative power");
		else if (isnan(out[r]) && !isnan(a) && !isnan(b))
			vector_fail(k, r, "a negative number to a broken power");
	}
}

#define ROUNDING(word)                                                                          \
	{.name = word, .signature = "i", .result = 'i', .run = same, .resolve = resolve_round}, \
		{.name = word,                                                                  \
			.signature = "f",                                                       \
			.result = 'f',                                                          \
			.run = round_floats,                                                    \
			.resolve = resolve_round},                                              \
	{                                                                                       \
		.name = word, .signature = "n", .result = '=', .run = round_decimals,           \
		.resolve = resolve_round                                                        \
	}

#define ROUNDING_TO(word)                                                              \
	{.name = word,                                                                 \
		.signature = "ii",                                                     \
		.result = 'i',                                                         \
		.run = round_ints_to,                                                  \
		.resolve = resolve_round},                                             \
		{.name = word,                                                         \
			.signature = "fi",                                             \
			.result = 'f',                                                 \
			.run = round_floats_to,                                        \
			.resolve = resolve_round},                                     \
	{                                                                              \
		.name = word, .signature = "ni", .result = '=', .run = round_decimals, \
		.resolve = resolve_round                                               \
	}

const struct function functions_math[] = {
	{.name = "abs", .signature = "i", .result = 'i', .run = abs_ints},
	{.name = "abs", .signature = "f", .result = 'f', .run = abs_floats},
	{.name = "abs", .signature = "n", .result = '=', .run = abs_decimals},
	{.name = "abs", .signature = "u", .result = 'u', .run = abs_ints},
	{.name = "sign", .signature = "i", .result = 'i', .run = sign_ints},
	{.name = "sign", .signature = "f", .result = 'f', .run = sign_floats},
	{.name = "sign", .signature = "n", .result = 'i', .run = sign_decimals},
	ROUNDING("round"),
	ROUNDING_TO("round"),
	ROUNDING("trunc"),
	ROUNDING_TO("trunc"),
	ROUNDING("ceil"),
	ROUNDING("ceiling"),
	ROUNDING("floor"),
	{.name = "sqrt", .signature = "f", .result = 'f', .run = run_sqrt},
	{.name = "ln", .signature = "f", .result = 'f', .run = run_ln},
	{.name = "log", .signature = "f", .result = 'f', .run = run_log10},
	{.name = "log", .signature = "ff", .result = 'f', .run = run_log_base},
	{.name = "log10", .signature = "f", .result = 'f', .run = run_log10},
	{.name = "log2", .signature = "f", .result = 'f', .run = run_log2},
	{.name = "exp", .signature = "f", .result = 'f', .run = run_exp},
	{.name = "power", .signature = "ff", .result = 'f', .run = run_power},
	{.name = "pow", .signature = "ff", .result = 'f', .run = run_power},
	{.name = NULL},
};
