/* Expressions over a match: what refers to other rows than the one at hand is cut out. */
#include "libcore/expr/aggregate.h"
#include "libcore/expr/tree.h"

#include "libcore/base/memory.h"

#include <strings.h>

enum { OFFSET_MAX = 1 << 20 };

struct splitting {
	const struct match_names *names;
	uint64_t self;
	struct arena *arena;
	struct match_calls *calls;
	bool final; /* within final() */
	struct error *e;
};

static int split(struct splitting *s, struct expr *x);

/* ---- names ---- */

static uint64_t mask_of(const struct splitting *s, const char *name)
{
	for (size_t i = 0; i < s->names->len; i++) {
		if (strcmp(s->names->names[i], name) == 0)
			return s->names->masks[i];
	}
	return 0;
}

/* Whether x is A.name: then A's bits. */
static uint64_t qualifier(const struct splitting *s, const struct expr *x)
{
	return x->kind == NODE_FIELD && x->args[0]->kind == NODE_COLUMN
		? mask_of(s, x->args[0]->name) : 0;
}

/* Takes the variable off every column below x; they must all have the same, or none.  *of: 0 before
 * the first column is seen. */
static int strip(struct splitting *s, struct expr *x, uint64_t *of)
{
	uint64_t mask = qualifier(s, x);

	if (mask || x->kind == NODE_COLUMN) {
		uint64_t here = mask ? mask : MATCH_ALL;

		if (mask && strcmp(x->name, "*") == 0)
			return expr_error(x, s->e, "the rows of a variable can only be counted: count(%s.*)",
				x->args[0]->name);
		if (*of && *of != here)
			return expr_error(x, s->e, "columns of different variables in one call");
		*of = here;
		if (mask) {
			x->kind = NODE_COLUMN;
			x->quoted = true;
			x->args_len = 0;
		}
		return 0;
	}
	for (size_t i = 0; i < x->args_len; i++) {
		if (strip(s, x->args[i], of) < 0)
			return -1;
	}
	return x->filter ? strip(s, x->filter, of) : 0;
}

/* ---- calls ---- */

static const char *text_of(struct arena *a, const struct expr *x)
{
	struct buf b = BUF_INIT;
	const char *text;

	expr_put(x, &b);
	text = arena_strndup(a, (const char *)b.data, b.len);
	buf_clear(&b);
	return text;
}

/* Replaces x by a reference to the call, which is added if no equal one is there. */
static void put_call(struct splitting *s, struct expr *x, struct match_call call)
{
	struct match_calls *c = s->calls;
	size_t i = 0;

	call.final = s->final;
	while (i < c->len && (strcmp(c->calls[i].text, call.text) != 0 ||
			c->calls[i].kind != call.kind || c->calls[i].of != call.of ||
			c->calls[i].final != call.final))
		i++;
	if (i == c->len) {
		if (c->len == c->cap) {
			struct match_call *grown;

			c->cap = c->cap ? 2 * c->cap : 8;
			grown = ARENA_ARRAY(s->arena, struct match_call, c->cap);
			if (c->len)
				memcpy(grown, c->calls, c->len * sizeof *grown);
			c->calls = grown;
		}
		c->calls[c->len++] = call;
	}
	x->kind = NODE_COLUMN;
	x->name = arena_printf(s->arena, "#%zu", i);
	x->quoted = true;
	x->args_len = 0;
	x->filter = NULL;
	x->distinct = x->star = false;
}

static struct expr *copy(struct arena *a, const struct expr *x)
{
	struct expr *out = ARENA_NEW(a, struct expr);

	*out = *x;
	return out;
}

static bool is_navigation(const struct expr *x)
{
	static const char *const names[] = {"first", "last", "prev", "next"};

	for (size_t i = 0; x->kind == NODE_CALL && i < sizeof names / sizeof *names; i++) {
		if (strcmp(names[i], x->name) == 0)
			return true;
	}
	return false;
}

static int read_offset(struct splitting *s, struct expr *x, int64_t missing, int64_t *out)
{
	struct column c;

	*out = missing;
	if (x->args_len == 0 || x->args_len > 2)
		return expr_error(x, s->e, "%s takes an expression and a number of rows", x->name);
	if (x->args_len == 1)
		return 0;
	if (expr_constant(x->args[1], s->arena, &c, s->e) < 0)
		return -1;
	if (c.type.kind != TYPE_INT || !column_is_valid(&c, 0) || column_int(&c, 0) < 0 ||
		column_int(&c, 0) > OFFSET_MAX)
		return expr_error(x->args[1], s->e, "%s: a number of rows, 0 to %d", x->name, OFFSET_MAX);
	*out = column_int(&c, 0);
	return 0;
}

/* first, last, prev, next; prev and next may stand around first and last. */
static int split_navigation(struct splitting *s, struct expr *x)
{
	struct match_call call = {.kind = MATCH_ROW, .text = text_of(s->arena, x)};
	struct expr *inner = x;
	bool is_shift = *x->name == 'p' || *x->name == 'n';
	int64_t rows;

	if (is_shift) {
		if (read_offset(s, x, 1, &rows) < 0)
			return -1;
		call.shift = *x->name == 'n' ? rows : -rows;
		inner = x->args[0];
	}
	if (is_navigation(inner)) {
		if (*inner->name == 'p' || *inner->name == 'n')
			return expr_error(inner, s->e, "prev and next don't stand within each other");
		call.from_first = *inner->name == 'f';
		if (read_offset(s, inner, 0, &call.offset) < 0)
			return -1;
		inner = inner->args[0];
	}
	if (strip(s, inner, &call.of) < 0)
		return -1;
	if (!call.of)
		return expr_error(x, s->e, "%s: of which column?", x->name);
	call.arg = copy(s->arena, inner);
	/* prev(x): from the row at hand, whatever it will be. */
	put_call(s, x, call);
	return 0;
}

static int split_aggregate(struct splitting *s, struct expr *x)
{
	struct match_call call = {.kind = MATCH_AGGREGATE, .text = text_of(s->arena, x)};
	struct aggregate_call *a = &call.aggregate;

	*a = (struct aggregate_call){.function = x->name, .distinct = x->distinct, .star = x->star,
		.args_len = x->args_len, .at = x->at, .text = call.text, .filter = x->filter};
	if (x->args_len > AGGREGATE_ARGS_MAX)
		return expr_error(x, s->e, "%s takes at most %d arguments", x->name, AGGREGATE_ARGS_MAX);
	if (x->args_len == 1 && strcmp(x->name, "count") == 0 && qualifier(s, x->args[0]) &&
		strcmp(x->args[0]->name, "*") == 0) {
		call.of = qualifier(s, x->args[0]);
		a->star = true;
		a->args_len = 0;
	}
	for (size_t i = 0; i < a->args_len; i++) {
		a->args[i] = copy(s->arena, x->args[i]);
		if (strip(s, a->args[i], &call.of) < 0)
			return -1;
	}
	if (a->filter && strip(s, a->filter, &call.of) < 0)
		return -1;
	if (aggregate_has_parameter(a->function) && a->args_len == 2)
		a->parameter = a->args[--a->args_len];
	if (!call.of)
		call.of = MATCH_ALL;
	put_call(s, x, call);
	return 0;
}

static int split_about(struct splitting *s, struct expr *x, enum match_call_kind kind)
{
	struct match_call call = {.kind = kind, .of = MATCH_ALL, .text = text_of(s->arena, x)};

	if (x->args_len || x->star)
		return expr_error(x, s->e, "%s() takes no argument", x->name);
	put_call(s, x, call);
	return 0;
}

static int split_final(struct splitting *s, struct expr *x)
{
	bool before = s->final;
	int status;

	if (x->args_len != 1)
		return expr_error(x, s->e, "%s takes one expression", x->name);
	s->final = *x->name == 'f';
	status = split(s, x->args[0]);
	s->final = before;
	if (status == 0)
		*x = *x->args[0];
	return status;
}

static int split_call(struct splitting *s, struct expr *x)
{
	static const struct {
		const char *name;
		enum match_call_kind kind;
	} about[] = {{"classifier", MATCH_CLASSIFIER}, {"match_number", MATCH_NUMBER},
		{"match_time", MATCH_TIME}};

	if (is_navigation(x))
		return split_navigation(s, x);
	if (expr_is_aggregate_name(x->name, strlen(x->name)))
		return split_aggregate(s, x);
	for (size_t i = 0; i < sizeof about / sizeof *about; i++) {
		if (strcmp(about[i].name, x->name) == 0)
			return split_about(s, x, about[i].kind);
	}
	if (strcmp(x->name, "final") == 0 || strcmp(x->name, "running") == 0)
		return split_final(s, x);
	return 1;
}

/* A.x, or x of a measure: the last row of that kind. */
static int split_column(struct splitting *s, struct expr *x)
{
	struct match_call call = {.kind = MATCH_ROW, .of = qualifier(s, x),
		.text = text_of(s->arena, x)};
	bool is_measure = !s->self;

	if (!call.of && !is_measure)
		return 0;
	if (call.of && strcmp(x->name, "*") == 0)
		return expr_error(x, s->e, "the rows of a variable can only be counted: count(%s.*)",
			x->args[0]->name);
	if (!call.of)
		call.of = MATCH_ALL;
	if (x->kind == NODE_FIELD) {
		x->kind = NODE_COLUMN;
		x->quoted = true;
		x->args_len = 0;
	}
	if (call.of & s->self)
		return 0; /* the row at hand is the last of them */
	call.arg = copy(s->arena, x);
	put_call(s, x, call);
	return 0;
}

static int split(struct splitting *s, struct expr *x)
{
	if (x->kind == NODE_CALL) {
		int status = split_call(s, x);

		if (status <= 0)
			return status;
	}
	if (x->kind == NODE_COLUMN || qualifier(s, x))
		return split_column(s, x);
	for (size_t i = 0; i < x->args_len; i++) {
		if (split(s, x->args[i]) < 0)
			return -1;
	}
	return 0;
}

int expr_split_match(struct expr *x, const struct match_names *names, uint64_t self, struct arena *a,
	struct match_calls *out, struct error *e)
{
	struct splitting s = {.names = names, .self = self, .arena = a, .calls = out, .e = e};

	return split(&s, x);
}

size_t expr_conjuncts(struct expr *x, struct expr **out, size_t max)
{
	size_t n;

	if (max < 2 || x->kind != NODE_CALL || strcmp(x->name, "and") != 0) {
		out[0] = x;
		return 1;
	}
	n = expr_conjuncts(x->args[0], out, max - 1);
	return n + expr_conjuncts(x->args[1], out + n, max - n);
}

struct expr *expr_join(struct expr *const *parts, size_t n, struct arena *a)
{
	struct expr *x = n ? parts[0] : NULL;

	for (size_t i = 1; i < n; i++) {
		struct expr *and = ARENA_NEW(a, struct expr);

		*and = (struct expr){.kind = NODE_CALL, .name = "and", .at = x->at, .end = parts[i]->end,
			.source = x->source, .what = x->what, .args_len = 2};
		and->args = ARENA_ARRAY(a, struct expr *, 2);
		and->args[0] = x;
		and->args[1] = parts[i];
		x = and;
	}
	return x;
}
