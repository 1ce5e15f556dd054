/* Select lists: * expanded over a schema; aggregate calls cut out of expressions. */
#include "libcore/expr/aggregate.h"
#include "libcore/expr/tree.h"

#include "libcore/base/memory.h"

/* a.b.c as one name; false if that is not what the tree says. */
static bool put_path(const struct expr *x, struct buf *b)
{
	if (x->kind == NODE_COLUMN) {
		buf_put_text(b, x->name);
		return true;
	}
	if (x->kind != NODE_FIELD || !put_path(x->args[0], b))
		return false;
	buf_put_byte(b, '.');
	buf_put_text(b, x->name);
	return true;
}

/* a.b is the column "a.b" where there is no a. */
int expr_column(const struct expr *x, const struct schema *s)
{
	const struct expr *root = x;
	struct buf name = BUF_INIT;
	int column = -1;

	if (x->kind == NODE_COLUMN)
		return schema_find(s, x->name, strlen(x->name));
	if (x->kind != NODE_FIELD)
		return -1;
	while (root->kind == NODE_FIELD)
		root = root->args[0];
	if (expr_column(root, s) < 0 && put_path(x, &name))
		column = schema_find(s, (const char *)name.data, name.len);
	buf_clear(&name);
	return column;
}

void expr_mark_columns(const struct expr *x, const struct schema *s, bool *used)
{
	int column = expr_column(x, s);

	if (column >= 0)
		used[column] = true;
	for (size_t i = 0; i < x->args_len; i++)
		expr_mark_columns(x->args[i], s, used);
	if (x->filter)
		expr_mark_columns(x->filter, s, used);
}

void expr_put(const struct expr *x, struct buf *b)
{
	bool space = false;
	char quote = 0; /* inside a text or a quoted name: taken as it is */

	for (uint32_t i = x->at; i < x->end; i++) {
		char c = x->source[i];

		if (!quote && c == '-' && i + 1 < x->end && x->source[i + 1] == '-') {
			while (i < x->end && x->source[i] != '\n')
				i++;
			space = true;
			continue;
		}
		if (!quote && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
			space = true;
			continue;
		}
		if (space)
			buf_put_byte(b, ' ');
		space = false;
		if (quote ? c == quote : c == '\'' || c == '"')
			quote = quote ? 0 : c;
		buf_put_byte(b, (uint8_t)c);
	}
}

/* ---- * ---- */

static struct expr *column_node(struct arena *a, const char *name, const struct select_list *list,
	uint32_t at)
{
	struct expr *x = ARENA_NEW(a, struct expr);

	x->kind = NODE_COLUMN;
	x->name = name;
	x->quoted = true;
	x->source = list->text;
	x->what = "select list";
	x->at = at;
	x->end = at + 1;
	return x;
}

static int index_of(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(names[i], name))
			return (int)i;
	}
	return -1;
}

static int check_names(const char *const *names, size_t n, const struct schema *s, const char *what,
	struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		if (schema_require(s, names[i], strlen(names[i]), "the input", e) < 0)
			return error_context(e, "%s", what);
	}
	return 0;
}

struct expanding {
	struct select_item *items;
	size_t len, cap;
	struct arena *arena;
};

/* A later item of an existing name takes the earlier one's place. */
static void place(struct expanding *x, const struct select_item *item)
{
	for (size_t i = 0; i < x->len; i++) {
		if (!strcmp(x->items[i].name, item->name)) {
			x->items[i] = *item;
			return;
		}
	}
	MEM_GROW(x->items, x->cap, x->len + 1);
	x->items[x->len++] = *item;
}

static int expand_star(struct expanding *x, const struct select_item *star,
	const struct select_list *list, const struct schema *s, struct error *e)
{
	if (check_names(star->except, star->except_len, s, "except", e) < 0 ||
		check_names(star->rename_from, star->rename_len, s, "rename", e) < 0)
		return -1;
	for (size_t i = 0; i < s->fields_len; i++) {
		const char *name = arena_strdup(x->arena, s->fields[i].name);
		struct select_item item = {.kind = SELECT_EXPR, .at = star->at, .name = name};
		int renamed = index_of(star->rename_from, star->rename_len, name);

		if (index_of(star->except, star->except_len, name) >= 0)
			continue;
		item.expr = column_node(x->arena, name, list, star->at);
		if (renamed >= 0)
			item.name = star->rename_to[renamed];
		place(x, &item);
	}
	return 0;
}

int select_expand(const struct select_list *in, const struct schema *s, struct arena *a,
	struct select_list *out, struct error *e)
{
	struct expanding x = {.arena = a};
	int status = 0;

	for (size_t i = 0; i < in->len && status == 0; i++) {
		if (in->items[i].kind == SELECT_STAR)
			status = expand_star(&x, &in->items[i], in, s, e);
		else
			place(&x, &in->items[i]);
	}
	if (status == 0 && x.len > SCHEMA_FIELDS_MAX)
		status = error_set(e, ERROR_USAGE, "more than %d columns", SCHEMA_FIELDS_MAX);
	if (status == 0) {
		*out = (struct select_list){.len = x.len, .text = in->text};
		out->items = ARENA_ARRAY(a, struct select_item, x.len);
		if (x.len)
			memcpy(out->items, x.items, x.len * sizeof *x.items);
	}
	mem_free(x.items);
	return status;
}

/* ---- aggregates ---- */

size_t expr_aggregate_names(const char *const **out)
{
	return aggregate_names(out);
}

bool expr_is_aggregate_name(const char *name, size_t len)
{
	const char *const *names;
	size_t n = aggregate_names(&names);

	for (size_t i = 0; i < n; i++) {
		if (strlen(names[i]) == len && !memcmp(names[i], name, len))
			return true;
	}
	return false;
}

bool expr_is_order_name(const char *name, size_t len)
{
	static const char *const names[] = {"row_number", "rank", "dense_rank", "lag", "lead"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strlen(names[i]) == len && !memcmp(names[i], name, len))
			return true;
	}
	return false;
}

struct splitting {
	struct aggregate_calls *calls;
	bool over; /* calls of expr_is_order_name are taken, too */
	size_t cap;
	struct arena *arena;
	struct error *e;
};

static bool is_aggregate(const struct expr *x)
{
	return x->kind == NODE_CALL && (expr_is_aggregate_name(x->name, strlen(x->name)) ||
					       expr_is_order_name(x->name, strlen(x->name)));
}

static bool is_split(const struct splitting *s, const struct expr *x)
{
	return is_aggregate(x) && (s->over || expr_is_aggregate_name(x->name, strlen(x->name)));
}

static bool has_aggregate(const struct expr *x)
{
	if (is_aggregate(x) || (x->filter && has_aggregate(x->filter)))
		return true;
	for (size_t i = 0; i < x->args_len; i++) {
		if (has_aggregate(x->args[i]))
			return true;
	}
	return false;
}

static const char *call_text(struct arena *a, const struct expr *x)
{
	struct buf b = BUF_INIT;
	const char *text;

	expr_put(x, &b);
	text = arena_strndup(a, (const char *)b.data, b.len);
	buf_clear(&b);
	return text;
}

/* What the function wants of its arguments: the last one is a constant of its own; array_agg's
 * values go into one array as any. */
static void arguments_arrange(struct splitting *s, const struct expr *x, struct aggregate_call *call)
{
	if (aggregate_has_parameter(call->function) && call->args_len == 2)
		call->parameter = call->args[--call->args_len];
	if (!strcmp(call->function, "array_agg") && call->args_len == 1) {
		struct expr *cast = ARENA_NEW(s->arena, struct expr);

		*cast = *x;
		cast->kind = NODE_CAST;
		cast->name = "cast";
		cast->type = TYPE_OF(TYPE_ANY);
		cast->args = ARENA_ARRAY(s->arena, struct expr *, 1);
		cast->args[0] = call->args[0];
		cast->args_len = 1;
		cast->filter = NULL;
		cast->distinct = cast->star = false;
		call->args[0] = cast;
	}
}

/* The number of the call, which is added if no equal one is there. */
static int call_index(struct splitting *s, struct expr *x)
{
	struct aggregate_call call = {.function = x->name, .distinct = x->distinct, .star = x->star,
		.args_len = x->args_len, .filter = x->filter, .at = x->at,
		.text = call_text(s->arena, x)};
	struct aggregate_calls *calls = s->calls;

	for (size_t i = 0; i < x->args_len; i++) {
		if (i >= AGGREGATE_ARGS_MAX)
			return expr_error(x, s->e, "%s takes at most %d arguments", x->name,
				AGGREGATE_ARGS_MAX);
		if (has_aggregate(x->args[i]))
			return expr_error(x->args[i], s->e, "an aggregate inside an aggregate");
		call.args[i] = x->args[i];
	}
	arguments_arrange(s, x, &call);
	if (x->filter && has_aggregate(x->filter))
		return expr_error(x->filter, s->e, "an aggregate inside an aggregate's filter");
	for (size_t i = 0; i < calls->len; i++) {
		if (!strcmp(calls->calls[i].text, call.text))
			return (int)i;
	}
	if (calls->len == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 8;
		struct aggregate_call *grown = ARENA_ARRAY(s->arena, struct aggregate_call, cap);

		if (calls->len)
			memcpy(grown, calls->calls, calls->len * sizeof *grown);
		calls->calls = grown;
		s->cap = cap;
	}
	calls->calls[calls->len] = call;
	return (int)calls->len++;
}

/* Puts a reference to its column in the place of every aggregate call. */
static int split(struct splitting *s, struct expr *x)
{
	int index;

	if (!is_split(s, x)) {
		for (size_t i = 0; i < x->args_len; i++) {
			if (split(s, x->args[i]) < 0)
				return -1;
		}
		return 0;
	}
	index = call_index(s, x);
	if (index < 0)
		return -1;
	x->kind = NODE_COLUMN;
	x->name = arena_printf(s->arena, "#%d", index);
	x->quoted = true;
	x->args_len = 0;
	x->filter = NULL;
	x->distinct = x->star = false;
	return 0;
}

static int split_list(struct select_list *list, struct splitting *s)
{
	*s->calls = (struct aggregate_calls){.calls = NULL};
	for (size_t i = 0; i < list->len; i++) {
		if (list->items[i].kind == SELECT_EXPR && split(s, list->items[i].expr) < 0)
			return -1;
	}
	return 0;
}

int expr_split_aggregates(struct select_list *list, struct arena *a, struct aggregate_calls *out,
	struct error *e)
{
	return split_list(list, &(struct splitting){.calls = out, .arena = a, .e = e});
}

int expr_split_over(struct select_list *list, struct arena *a, struct aggregate_calls *out,
	struct error *e)
{
	return split_list(list, &(struct splitting){.calls = out, .over = true, .arena = a, .e = e});
}
