#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"
#include "libcore/base/suggest.h"

/* ---- making ---- */

static int unknown_function(const char *name, struct error *e)
{
	const char *const *names;
	size_t len = aggregate_names(&names);
	int near = suggest(name, strlen(name), names, len);

	error_set(e, ERROR_USAGE, "unknown aggregate '%s'", name);
	if (near >= 0)
		return error_hint(e, "did you mean '%s'?", names[near]);
	return error_hint(e,
		"the aggregates are count, sum, avg, min, max, first, last, any_value, arg_min, "
		"arg_max, stddev, variance, quantile, median, approx_quantile, "
		"approx_count_distinct, string_agg, array_agg, bool_and and bool_or");
}

static bool can_sum(struct type t)
{
	return t.kind == TYPE_BOOL || t.kind == TYPE_INT || t.kind == TYPE_FLOAT ||
	       t.kind == TYPE_DECIMAL || t.kind == TYPE_DURATION;
}

static bool is_number(struct type t)
{
	return t.kind == TYPE_INT || t.kind == TYPE_FLOAT || t.kind == TYPE_DECIMAL;
}

static bool takes(const struct aggregate_function_row *f, struct type t)
{
	switch (f->values) {
	case AGGREGATE_ALL: return true;
	case AGGREGATE_BOOL: return t.kind == TYPE_BOOL;
	case AGGREGATE_ADDS: return can_sum(t);
	case AGGREGATE_NUMBERS: return is_number(t) || t.kind == TYPE_BOOL;
	case AGGREGATE_BETWEEN:
		return is_number(t) || t.kind == TYPE_DURATION || t.kind == TYPE_TIMESTAMP;
	case AGGREGATE_SCALE: return is_number(t) || t.kind == TYPE_DURATION;
	case AGGREGATE_TEXT: return t.kind == TYPE_STRING;
	case AGGREGATE_ANY: return t.kind == TYPE_ANY;
	case AGGREGATE_HASHED: return t.kind != TYPE_ANY;
	}
	return false;
}

static int check_values(
	const struct aggregate_spec *s, const struct aggregate_function_row *f, struct error *e)
{
	static const struct {
		const char *takes, *cast;
	} words[] = {
		[AGGREGATE_BOOL] = {"bool", "bool"},
		[AGGREGATE_NUMBERS] = {"numbers", "float"},
		[AGGREGATE_BETWEEN] = {"numbers, timestamps and durations", "float"},
		[AGGREGATE_SCALE] = {"numbers and durations", "float"},
		[AGGREGATE_TEXT] = {"strings", "string"},
		[AGGREGATE_ANY] = {"any", "any"},
	};
	static const char *const behind[] = {"", ", 0.5", ", ','"}; /* by kind of parameter */
	struct type t = s->args[0];
	const char *cast;

	if (takes(f, t))
		return 0;
	if (f->values == AGGREGATE_ADDS)
		return error_set(e, ERROR_USAGE, "%s can't add values of type %s", s->function,
			type_name(t));
	if (f->values == AGGREGATE_HASHED)
		return error_set(e, ERROR_USAGE,
			"%s can't compare values of type any; cast it, as in x::string",
			s->function);
	error_set(e, ERROR_USAGE, "%s takes %s, not %s", s->function, words[f->values].takes,
		type_name(t));
	if (f->values == AGGREGATE_SCALE && t.kind == TYPE_TIMESTAMP)
		return error_hint(e, "quantile takes timestamps, too, and is exact");
	cast = words[f->values].cast;
	if (f->values == AGGREGATE_BETWEEN && t.kind == TYPE_DATE)
		cast = "timestamp";
	return error_hint(e, "cast it, as in %s(x::%s%s)", s->function, cast, behind[f->parameter]);
}

static int check_count(
	const struct aggregate_spec *s, const struct aggregate_function_row *f, struct error *e)
{
	size_t given = s->args_len + (s->parameter ? 1 : 0);

	switch (f->parameter) {
	case AGGREGATE_NO_PARAMETER:
		if (given == f->args)
			return 0;
		return error_set(e, ERROR_USAGE, "%s takes %s, not %zu", s->function,
			f->args == 1 ? "one argument" : "two arguments", given);
	case AGGREGATE_FRACTION:
		if (given == 2 && s->parameter)
			return 0;
		return error_set(e, ERROR_USAGE,
			"%s takes a value and a fraction, as in %s(x, 0.9)", s->function,
			s->function);
	case AGGREGATE_SEPARATOR:
		if (given == 1 || (given == 2 && s->parameter))
			return 0;
		return error_set(e, ERROR_USAGE,
			"%s takes a string and a separator, as in %s(x, ', ')", s->function,
			s->function);
	}
	return 0;
}

static int check(
	const struct aggregate_spec *s, const struct aggregate_function_row *f, struct error *e)
{
	enum aggregate_function function = f->function;
	bool sums = function == AGGREGATE_SUM || function == AGGREGATE_AVG;
	size_t ordered; /* the argument that is compared */

	if (s->star && function != AGGREGATE_COUNT)
		return error_set(e, ERROR_USAGE, "only count takes *, not %s", s->function);
	if (s->star && s->distinct)
		return error_set(
			e, ERROR_USAGE, "count(distinct *) is not possible; name a column");
	if (s->star)
		return 0;
	if (check_count(s, f, e))
		return -1;
	if (s->distinct && !sums && function != AGGREGATE_COUNT)
		return error_set(e, ERROR_USAGE,
			"distinct goes with count, sum and avg, not with %s", s->function);
	if (check_values(s, f, e))
		return -1;
	if (s->distinct && s->args[0].kind == TYPE_ANY)
		return error_set(e, ERROR_USAGE,
			"distinct can't compare values of type any; cast it, as in x::string");
	ordered = s->args_len - 1;
	if ((function == AGGREGATE_MIN || function == AGGREGATE_MAX || ordered == 1) &&
		s->args[ordered].kind == TYPE_ANY)
		return error_set(e, ERROR_USAGE,
			"%s can't compare values of type any; cast it, as in x::int", s->function);
	return 0;
}

/* The fraction of a quantile: any number from 0 to 1. */
static int fraction_read(const struct aggregate_spec *s, double *out, struct error *e)
{
	const struct column *c = s->parameter;
	double v = -1;

	if (c->type.kind == TYPE_INT && column_is_valid(c, 0))
		v = (double)column_int(c, 0);
	else if (c->type.kind == TYPE_FLOAT && column_is_valid(c, 0))
		v = column_float(c, 0);
	else if (c->type.kind == TYPE_DECIMAL && column_is_valid(c, 0))
		v = decimal_to_float(column_decimal(c, 0), c->type.scale);
	if (v >= 0 && v <= 1) {
		*out = v;
		return 0;
	}
	error_set(e, ERROR_USAGE, "the fraction of %s is a number from 0 to 1", s->function);
	if (v > 1 && v <= 100)
		return error_hint(e, "did you mean %g?", v / 100);
	return -1;
}

static int separator_read(const struct aggregate_spec *s, struct buf *out, struct error *e)
{
	struct text_view v = {",", 1};

	if (s->parameter &&
		(s->parameter->type.kind != TYPE_STRING || !column_is_valid(s->parameter, 0)))
		return error_set(e, ERROR_USAGE,
			"the separator of %s is a string, as in %s(x, ', ')", s->function,
			s->function);
	if (s->parameter)
		v = column_text(s->parameter, 0);
	buf_put(out, v.text, v.len);
	return 0;
}

static int parameter_read(const struct aggregate_spec *s, const struct aggregate_function_row *f,
	struct aggregate *like, struct error *e)
{
	like->fraction = 0.5;
	switch (f->parameter) {
	case AGGREGATE_NO_PARAMETER: return 0;
	case AGGREGATE_FRACTION: return fraction_read(s, &like->fraction, e);
	case AGGREGATE_SEPARATOR: return separator_read(s, &like->separator, e);
	}
	return 0;
}

static struct aggregate *make_retracting(enum aggregate_function f, const struct type *args)
{
	switch (f) {
	case AGGREGATE_SUM:
	case AGGREGATE_AVG:
		return args[0].kind == TYPE_FLOAT ? aggregate_moments_new(f, args[0]) : NULL;
	case AGGREGATE_MIN:
	case AGGREGATE_MAX:
	case AGGREGATE_FIRST:
	case AGGREGATE_LAST:
	case AGGREGATE_ANY_VALUE:
	case AGGREGATE_ARG_MIN:
	case AGGREGATE_ARG_MAX:
	case AGGREGATE_QUANTILE:
	case AGGREGATE_STRING_AGG:
	case AGGREGATE_ARRAY_AGG: return aggregate_retract_new(f, args[0], args[1]);
	case AGGREGATE_COUNT:
	case AGGREGATE_VARIANCE:
	case AGGREGATE_VARIANCE_POP:
	case AGGREGATE_STDDEV:
	case AGGREGATE_STDDEV_POP:
	case AGGREGATE_APPROX_QUANTILE:
	case AGGREGATE_APPROX_COUNT_DISTINCT: break;
	}
	return NULL; /* as without */
}

static struct aggregate *make(const struct aggregate *like)
{
	enum aggregate_function f = like->function;
	const struct type *args = like->args;
	struct aggregate *a = like->retracting ? make_retracting(f, args) : NULL;

	if (a)
		return a;
	switch (f) {
	case AGGREGATE_COUNT: return aggregate_count_new();
	case AGGREGATE_SUM:
	case AGGREGATE_AVG: return aggregate_sum_new(f, args[0]);
	case AGGREGATE_MIN:
	case AGGREGATE_MAX: return aggregate_extreme_new(f, args[0]);
	case AGGREGATE_FIRST:
	case AGGREGATE_LAST:
	case AGGREGATE_ANY_VALUE: return aggregate_pick_new(f, args[0], TYPE_OF(TYPE_INT));
	case AGGREGATE_ARG_MIN:
	case AGGREGATE_ARG_MAX: return aggregate_pick_new(f, args[0], args[1]);
	case AGGREGATE_VARIANCE:
	case AGGREGATE_VARIANCE_POP:
	case AGGREGATE_STDDEV:
	case AGGREGATE_STDDEV_POP: return aggregate_moments_new(f, args[0]);
	case AGGREGATE_QUANTILE: return aggregate_quantile_new(args[0]);
	case AGGREGATE_APPROX_QUANTILE: return aggregate_sketch_new(args[0]);
	case AGGREGATE_APPROX_COUNT_DISTINCT: return aggregate_hll_new(args[0]);
	case AGGREGATE_STRING_AGG:
	case AGGREGATE_ARRAY_AGG: return aggregate_list_new(f, args[0]);
	}
	MUST(false);
	return NULL;
}

static struct aggregate *make_described(const struct aggregate *like)
{
	struct aggregate *a = make(like);

	if (like->distinct)
		a = aggregate_distinct_new(a, like->args[0], like->retracting);
	a->function = like->function;
	a->distinct = like->distinct;
	a->star = like->star;
	a->retracting = like->retracting;
	a->fraction = like->fraction;
	buf_put(&a->separator, like->separator.data, like->separator.len);
	a->args_len = like->args_len;
	memcpy(a->args, like->args, sizeof a->args);
	return a;
}

int aggregate_new(const struct aggregate_spec *spec, struct aggregate **out, struct error *e)
{
	struct aggregate like = {
		.distinct = spec->distinct, .star = spec->star, .retracting = spec->retracting};
	const struct aggregate_function_row *f = aggregate_function_find(spec->function);

	*out = NULL;
	if (!f)
		return unknown_function(spec->function, e);
	if (check(spec, f, e) || parameter_read(spec, f, &like, e))
		return -1;
	like.function = f->function;
	like.args_len = spec->star ? 0 : spec->args_len;
	MUST(like.args_len <= AGGREGATE_ARGS);
	for (size_t i = 0; i < like.args_len; i++)
		like.args[i] = spec->args[i];
	*out = make_described(&like);
	buf_clear(&like.separator);
	return 0;
}

struct aggregate *aggregate_new_like(const struct aggregate *a)
{
	return make_described(a);
}

void aggregate_free(struct aggregate *a)
{
	if (!a)
		return;
	a->ops->free(a);
	buf_clear(&a->scratch);
	buf_clear(&a->separator);
	mem_free(a);
}

struct type aggregate_result(const struct aggregate *a)
{
	return a->result;
}

bool aggregate_retracts(const struct aggregate *a)
{
	return a->ops->retracts;
}

bool aggregate_is_distinct(const struct aggregate *a)
{
	return a->distinct;
}

/* ---- groups ---- */

enum { GROUPS_MIN = 8 };

void aggregate_resize(struct aggregate *a, uint32_t groups)
{
	if (groups <= a->groups)
		return;
	if (groups > a->cap) {
		uint64_t cap = a->cap ? (uint64_t)a->cap * 2 : GROUPS_MIN;

		if (cap < groups)
			cap = groups;
		MUST(cap < UINT32_MAX);
		a->ops->reserve(a, (uint32_t)cap);
		a->cap = (uint32_t)cap;
	}
	a->ops->start(a, a->groups, groups);
	a->groups = groups;
}

void aggregate_reset(struct aggregate *a)
{
	if (a->ops->reset)
		a->ops->reset(a);
	a->groups = 0;
}

void aggregate_clear_group(struct aggregate *a, uint32_t group)
{
	MUST(group < a->groups);
	if (a->ops->clear)
		a->ops->clear(a, group);
	else
		a->ops->start(a, group, group + 1);
}

/* ---- rows ---- */

static void weigh_valid(int8_t *weights, const uint8_t *valid, uint32_t rows)
{
	for (uint32_t r = 0; r < rows; r++)
		weights[r] &= (int8_t) - (valid[r >> 3] >> (r & 7) & 1);
}

const int8_t *aggregate_weights(
	struct aggregate *a, const struct column *arg, const struct aggregate_rows *rows)
{
	const uint8_t *valid = arg ? arg->valid : NULL;
	int8_t *weights;

	if (!valid && !rows->picked && !rows->signs)
		return NULL;
	buf_reset(&a->scratch);
	weights = (int8_t *)buf_reserve(&a->scratch, rows->rows + 1);
	if (rows->signs)
		memcpy(weights, rows->signs, rows->rows);
	else
		memset(weights, 1, rows->rows);
	if (rows->picked) {
		for (uint32_t r = 0; r < rows->rows; r++)
			weights[r] = rows->picked[r] ? weights[r] : 0;
	}
	if (valid)
		weigh_valid(weights, valid, rows->rows);
	return weights;
}

struct column aggregate_both_valid(const struct column *args, uint32_t rows, struct buf *scratch)
{
	struct column c = args[0];
	size_t bytes = (rows + 7) / 8;
	uint8_t *both;

	if (!args[1].valid)
		return c;
	buf_reset(scratch);
	both = buf_reserve(scratch, bytes + 1);
	for (size_t i = 0; i < bytes; i++)
		both[i] = args[1].valid[i] & (c.valid ? c.valid[i] : 0xff);
	c.valid = both;
	return c;
}

int aggregate_update(struct aggregate *a, const struct column *args,
	const struct aggregate_rows *rows, struct error *e)
{
	MUST(!rows->signs || a->ops->retracts);
	if (rows->rows == 0)
		return 0;
	MUST(a->groups > 0);
	return a->ops->update(a, args, rows, e);
}

int aggregate_combine(struct aggregate *to, const uint32_t *to_groups, const struct aggregate *from,
	const uint32_t *from_groups, uint32_t n, struct error *e)
{
	MUST(to->ops == from->ops);
	return to->ops->combine(to, to_groups, from, from_groups, n, e);
}

int aggregate_finalize(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *out, struct error *e)
{
	MUST(pick || n <= a->groups);
	return a->ops->finalize(a, pick, n, out, e);
}

/* ---- snapshots ---- */

size_t aggregate_state_columns(const struct aggregate *a)
{
	return a->ops->state_columns;
}

void aggregate_state_schema(const struct aggregate *a, const char *prefix, struct schema *s)
{
	struct buf name = BUF_INIT;

	for (size_t i = 0; i < a->ops->state_columns; i++) {
		const char *part;
		struct type type;

		a->ops->state_field(a, i, &part, &type);
		buf_reset(&name);
		buf_printf(&name, "%s.%s", prefix, part);
		schema_add(s, (const char *)name.data, name.len, type);
	}
	buf_clear(&name);
}

void aggregate_save(const struct aggregate *a, const uint32_t *pick, uint32_t n,
	struct column_builder *builders)
{
	a->ops->save(a, pick, n, builders);
}

int aggregate_load(struct aggregate *a, const struct column *columns, const uint32_t *groups,
	uint32_t n, struct error *e)
{
	return a->ops->load(a, columns, groups, n, e);
}

size_t aggregate_bytes(const struct aggregate *a)
{
	return a->scratch.cap + a->ops->bytes(a);
}

/* ---- for the kinds ---- */

int aggregate_too_large(struct error *e)
{
	error_set(e, ERROR_DATA, "the values of one group take more than 2 GiB");
	return error_hint(e, "approx_quantile and approx_count_distinct need little memory");
}

int aggregate_put_text(struct column_builder *out, const struct buf *text, struct error *e)
{
	if (text->len > UINT32_MAX - out->bytes.len)
		return error_set(e, ERROR_DATA, "the results of one batch take more than 4 GiB");
	builder_put_text(out, text->data, text->len);
	return 0;
}
