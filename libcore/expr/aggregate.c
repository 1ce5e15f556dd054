#include "libcore/expr/aggregate_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/suggest.h"

static const struct {
	const char *name;
	enum aggregate_function function;
	uint8_t args;
} functions[] = {
	{"count", AGGREGATE_COUNT, 1},
	{"sum", AGGREGATE_SUM, 1},
	{"avg", AGGREGATE_AVG, 1},
	{"min", AGGREGATE_MIN, 1},
	{"max", AGGREGATE_MAX, 1},
	{"first", AGGREGATE_FIRST, 1},
	{"last", AGGREGATE_LAST, 1},
	{"any_value", AGGREGATE_ANY_VALUE, 1},
	{"arg_min", AGGREGATE_ARG_MIN, 2},
	{"arg_max", AGGREGATE_ARG_MAX, 2},
};

enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* ---- making ---- */

static int unknown_function(const char *name, struct error *e)
{
	const char *names[FUNCTIONS];
	int near;

	for (size_t i = 0; i < FUNCTIONS; i++)
		names[i] = functions[i].name;
	near = suggest(name, strlen(name), names, FUNCTIONS);
	error_set(e, ERROR_USAGE, "unknown aggregate '%s'", name);
	if (near >= 0)
		return error_hint(e, "did you mean '%s'?", names[near]);
	return error_hint(e,
		"the aggregates are count, sum, avg, min, max, first, last, any_value, "
		"arg_min and arg_max");
}

static bool can_sum(struct type t)
{
	return t.kind == TYPE_BOOL || t.kind == TYPE_INT || t.kind == TYPE_FLOAT ||
	       t.kind == TYPE_DECIMAL || t.kind == TYPE_DURATION;
}

static int check(const struct aggregate_spec *s, size_t f, struct error *e)
{
	enum aggregate_function function = functions[f].function;
	bool sums = function == AGGREGATE_SUM || function == AGGREGATE_AVG;
	size_t ordered; /* the argument that is compared */

	if (s->star && function != AGGREGATE_COUNT)
		return error_set(e, ERROR_USAGE, "only count takes *, not %s", s->function);
	if (s->star && s->distinct)
		return error_set(
			e, ERROR_USAGE, "count(distinct *) is not possible; name a column");
	if (s->star)
		return 0;
	if (s->args_len != functions[f].args)
		return error_set(e, ERROR_USAGE, "%s takes %s, not %zu", s->function,
			functions[f].args == 1 ? "one argument" : "two arguments", s->args_len);
	if (s->distinct && !sums && function != AGGREGATE_COUNT)
		return error_set(e, ERROR_USAGE,
			"distinct goes with count, sum and avg, not with %s", s->function);
	if (sums && !can_sum(s->args[0]))
		return error_set(e, ERROR_USAGE, "%s can't add values of type %s", s->function,
			type_name(s->args[0]));
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

static struct aggregate *make(enum aggregate_function f, bool distinct, const struct type *args)
{
	struct aggregate *a = NULL;

	switch (f) {
	case AGGREGATE_COUNT: a = aggregate_count_new(); break;
	case AGGREGATE_SUM:
	case AGGREGATE_AVG: a = aggregate_sum_new(f, args[0]); break;
	case AGGREGATE_MIN:
	case AGGREGATE_MAX: a = aggregate_extreme_new(f, args[0]); break;
	case AGGREGATE_FIRST:
	case AGGREGATE_LAST:
	case AGGREGATE_ANY_VALUE: a = aggregate_pick_new(f, args[0], TYPE_OF(TYPE_INT)); break;
	case AGGREGATE_ARG_MIN:
	case AGGREGATE_ARG_MAX: a = aggregate_pick_new(f, args[0], args[1]); break;
	}
	MUST(a);
	if (distinct)
		a = aggregate_distinct_new(a, args[0]);
	return a;
}

static struct aggregate *make_described(const struct aggregate *like)
{
	struct aggregate *a = make(like->function, like->distinct, like->args);

	a->function = like->function;
	a->distinct = like->distinct;
	a->star = like->star;
	a->args_len = like->args_len;
	memcpy(a->args, like->args, sizeof a->args);
	return a;
}

int aggregate_new(const struct aggregate_spec *spec, struct aggregate **out, struct error *e)
{
	struct aggregate like = {.distinct = spec->distinct, .star = spec->star};
	size_t f = 0;

	*out = NULL;
	while (f < FUNCTIONS && strcmp(functions[f].name, spec->function) != 0)
		f++;
	if (f == FUNCTIONS)
		return unknown_function(spec->function, e);
	if (check(spec, f, e))
		return -1;
	like.function = functions[f].function;
	like.args_len = spec->star ? 0 : spec->args_len;
	for (size_t i = 0; i < like.args_len; i++)
		like.args[i] = spec->args[i];
	*out = make_described(&like);
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
