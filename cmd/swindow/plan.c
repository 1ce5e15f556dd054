/* Options and a schema become programs, aggregates and the output's schema. */
#include "cmd/swindow/window.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdio.h>
#include <string.h>

/* ---- keys ---- */

static int keys_parse(struct window_plan *p, const struct window_options *o,
	const struct schema *in, struct select_list *out, struct error *e)
{
	struct select_list list;

	*out = (struct select_list){.items = NULL};
	if (!o->keys)
		return 0;
	if (select_parse(o->keys, o->keys_from ? o->keys_from : "-k", &p->arena, &list, e))
		return -1;
	return select_expand(&list, in, &p->arena, out, e);
}

/* types NULL: whatever the expressions give; else they must give that. */
static int keys_compile(struct window_plan *p, const struct select_list *keys,
	const struct schema *in, const struct type *types, struct program *program, struct error *e)
{
	for (size_t i = 0; i < keys->len; i++) {
		const struct select_item *item = &keys->items[i];
		size_t index;
		int status = types ? program_add_as(program, item->expr, in, types[i], &index, e)
				   : program_add(program, item->expr, in, &index, e);

		if (status)
			return -1;
		MUST(index == i);
	}
	return 0;
}

static int keys_describe(struct window_plan *p, const struct select_list *keys,
	const struct schema *in, struct error *e)
{
	p->keys_len = keys->len;
	p->key_names = ARENA_ARRAY(&p->arena, const char *, keys->len + 1);
	p->key_types = ARENA_ARRAY(&p->arena, struct type, keys->len + 1);
	p->time_key = -1;
	for (size_t i = 0; i < keys->len; i++) {
		const struct select_item *item = &keys->items[i];

		p->key_names[i] = arena_strdup(&p->arena, item->name);
		p->key_types[i] = program_type(p->inputs, i);
		if (p->key_types[i].kind == TYPE_ANY)
			return error_set(e, ERROR_USAGE,
				"-k: '%s' has type any, which can't be a key; cast it, as in "
				"%s::string",
				item->name, item->name);
		if (in->time_column >= 0 && expr_column(item->expr, in) == in->time_column &&
			p->time_key < 0)
			p->time_key = (int)i;
	}
	return 0;
}

/* ---- aggregates ---- */

static int list_parse(struct window_plan *p, const struct window_options *o,
	struct aggregate_calls *calls, struct error *e)
{
	*calls = (struct aggregate_calls){.calls = NULL};
	if (!o->list)
		return 0;
	if (select_parse(
		    o->list, o->list_from ? o->list_from : "aggregates", &p->arena, &p->list, e))
		return -1;
	for (size_t i = 0; i < p->list.len; i++) {
		if (p->list.items[i].kind == SELECT_STAR) {
			error_set(e, ERROR_USAGE, "aggregates: * is not an aggregate");
			return error_hint(e, "count(*) counts rows; -k chooses columns");
		}
	}
	return expr_split_aggregates(&p->list, &p->arena, calls, e);
}

static int filter_compile(const struct aggregate_call *from, const struct schema *in,
	struct program *program, struct window_call *to, struct error *e)
{
	to->filtered = from->filter != NULL;
	if (!to->filtered)
		return 0;
	if (program_add(program, from->filter, in, &to->filter, e))
		return -1;
	if (program_type(program, to->filter).kind != TYPE_BOOL)
		return error_set(e, ERROR_USAGE, "%s: the filter is %s, not bool", from->text,
			type_name(program_type(program, to->filter)));
	return 0;
}

/* like: of an earlier schema, whose argument types must come again, or NULL. */
static int call_compile(struct window_plan *p, const struct aggregate_call *from,
	const struct schema *in, struct program *program, const struct window_call *like,
	struct window_call *to, struct error *e)
{
	struct type types[AGGREGATE_ARGS_MAX];
	struct column parameter;
	struct aggregate_spec spec = {.function = from->function,
		.distinct = from->distinct,
		.star = from->star,
		.args = types,
		.args_len = from->args_len,
		.parameter = from->parameter ? &parameter : NULL,
		.retracting = p->retracts};

	*to = (struct window_call){.text = from->text, .args_len = from->args_len};
	for (size_t i = 0; i < from->args_len; i++) {
		if (program_add(program, from->args[i], in, &to->args[i], e))
			return -1;
		types[i] = program_type(program, to->args[i]);
	}
	if (filter_compile(from, in, program, to, e) ||
		(from->parameter && expr_constant(from->parameter, &p->arena, &parameter, e)))
		return -1;
	if (aggregate_new(&spec, &to->like, e))
		return error_context(e, "%s", from->text);
	if (like && !type_equal(aggregate_result(like->like), aggregate_result(to->like)))
		return error_set(e, ERROR_DATA, "the columns changed: %s is %s now and was %s",
			from->text, type_name(aggregate_result(to->like)),
			type_name(aggregate_result(like->like)));
	return 0;
}

static void calls_free(struct window_call *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		aggregate_free(calls[i].like);
}

/* Behind the calls of the list stands, in changelogs, one that says which groups are left. */
static int calls_compile(struct window_plan *p, const struct aggregate_calls *from,
	const struct schema *in, struct program *program, const struct window_call *likes,
	struct window_call **out, struct error *e)
{
	static const struct aggregate_call rows = {
		.function = "count", .star = true, .text = "rows"};
	struct window_call *calls = ARENA_ARRAY(&p->arena, struct window_call, from->len + 1);

	*out = calls;
	for (size_t i = 0; i < from->len + (p->retracts ? 1 : 0); i++) {
		const struct aggregate_call *call = i < from->len ? &from->calls[i] : &rows;

		if (call_compile(p, call, in, program, likes ? &likes[i] : NULL, &calls[i], e)) {
			calls_free(calls, i + 1);
			*out = NULL;
			return -1;
		}
	}
	return 0;
}

static int retraction_check(const struct window_plan *p, const char *from, struct error *e)
{
	for (size_t i = 0; p->retracts && i < p->calls_len; i++) {
		if (aggregate_retracts(p->calls[i].like))
			continue;
		error_set(e, ERROR_USAGE, "%s can't take rows back, but %s sends a changelog",
			p->calls[i].text, from);
		return error_hint(e, "count(distinct x) can, and is exact");
	}
	return 0;
}

/* ---- programs over rows ---- */

struct compiled {
	struct program *where, *inputs;
	struct window_call *calls;
	size_t calls_len;
};

static void compiled_clear(struct compiled *c)
{
	program_free(c->where);
	program_free(c->inputs);
	if (c->calls)
		calls_free(c->calls, c->calls_len);
}

static int where_compile(struct window_plan *p, const struct window_options *o,
	const struct schema *in, struct program **out, struct error *e)
{
	struct expr *x;
	size_t index;

	if (!o->where)
		return 0;
	if (expr_parse(o->where, o->where_from ? o->where_from : "-w", &p->arena, &x, e))
		return -1;
	*out = program_new();
	if (program_add(*out, x, in, &index, e))
		return -1;
	if (program_type(*out, index).kind != TYPE_BOOL)
		return error_set(e, ERROR_USAGE, "-w: the condition is %s, not bool",
			type_name(program_type(*out, index)));
	return 0;
}

/* ---- results ---- */

static int parts_describe(
	struct window_plan *p, const struct aggregate_calls *calls, struct error *e)
{
	struct schema *s = &p->parts;

	for (size_t i = 0; i < p->keys_len; i++) {
		if (schema_find(s, p->key_names[i], strlen(p->key_names[i])) >= 0)
			return error_set(
				e, ERROR_USAGE, "-k: two keys are named '%s'", p->key_names[i]);
		schema_add(s, p->key_names[i], strlen(p->key_names[i]), p->key_types[i]);
	}
	p->window_part = p->keys_len;
	for (int i = 0; p->has_window && i < 2; i++) {
		const char *name = i == 0 ? "window_start" : "window_end";

		if (schema_find(s, name, strlen(name)) >= 0) {
			error_set(e, ERROR_USAGE, "-k: the windows have a column %s of their own",
				name);
			return error_hint(e, "another name: -k '%s as earlier_%s'", name, name);
		}
		schema_add(s, name, strlen(name), TYPE_OF(TYPE_TIMESTAMP));
	}
	for (size_t i = 0; i < calls->len; i++) {
		char name[24];
		int len = snprintf(name, sizeof name, "#%zu", i);

		schema_add(s, name, (size_t)len, aggregate_result(p->calls[i].like));
	}
	return 0;
}

static int out_add(struct window_plan *p, const char *name, struct type type, struct error *e)
{
	if (schema_find(&p->out, name, strlen(name)) >= 0) {
		error_set(e, ERROR_USAGE, "two columns of the result are named '%s'", name);
		return error_hint(e, "give one of them another name with 'as'");
	}
	schema_add(&p->out, name, strlen(name), type);
	return 0;
}

/* A list that doesn't compile over the results: said in terms of the input, of which it perhaps
 * takes a column that is neither a key nor inside an aggregate. */
static int explain(
	const struct window_plan *p, const struct expr *x, const struct schema *in, struct error *e)
{
	struct schema all = {.time_column = -1};
	struct program *program = program_new();
	const char *stray = NULL;
	bool *used = mem_zero((in->fields_len + 1) * sizeof *used);
	size_t index;

	expr_mark_columns(x, in, used);
	for (size_t i = 0; i < in->fields_len; i++) {
		const char *name = in->fields[i].name;

		if (used[i] && !stray && schema_find(&p->parts, name, strlen(name)) < 0)
			stray = name;
		schema_add(&all, name, strlen(name), in->fields[i].type);
	}
	for (size_t i = 0; i < p->parts.fields_len; i++) {
		const char *name = p->parts.fields[i].name;

		if (schema_find(&all, name, strlen(name)) < 0)
			schema_add(&all, name, strlen(name), p->parts.fields[i].type);
	}
	if (program_add(program, x, &all, &index, e) == 0 && stray) {
		error_set(e, ERROR_USAGE, "'%s' is neither a key nor inside an aggregate", stray);
		error_hint(e, "one value per group: -k %s, or any_value(%s)", stray, stray);
	}
	program_free(program);
	schema_clear(&all);
	mem_free(used);
	return -1;
}

static int results_compile(struct window_plan *p, const struct window_options *o,
	const struct schema *in, struct error *e)
{
	size_t fixed = p->keys_len + (p->has_window ? 2 : 0), index;

	p->results = program_new();
	for (size_t i = 0; i < fixed; i++) {
		program_add_column(p->results, (int)i, &p->parts);
		if (out_add(p, p->parts.fields[i].name, p->parts.fields[i].type, e))
			return -1;
	}
	for (size_t i = 0; i < p->list.len; i++) {
		const struct select_item *item = &p->list.items[i];

		if (program_add(p->results, item->expr, &p->parts, &index, e))
			return explain(p, item->expr, in, e);
		if (out_add(p, item->name, program_type(p->results, index), e))
			return -1;
	}
	if (o->emit != EMIT_CLOSE) {
		int *keys = ARENA_ARRAY(&p->arena, int, fixed + 1);

		for (size_t i = 0; i < fixed; i++)
			keys[i] = (int)i;
		p->out.changelog = true;
		schema_set_keys(&p->out, keys, fixed);
	}
	if (p->has_window) {
		p->out.time_column = (int)p->window_part + 1;
		p->out.time_offset_us = -1;
	} else if (p->time_key >= 0) {
		p->out.time_column = p->time_key;
		p->out.time_offset_us = in->time_offset_us;
	}
	return 0;
}

/* ---- the plan ---- */

static int time_check(
	const struct window_options *o, const struct schema *in, const char *from, struct error *e)
{
	if (o->shape == WINDOW_NONE)
		return 0;
	if (o->shape == WINDOW_COUNT && in->changelog)
		return error_set(e, ERROR_USAGE,
			"--count can't take rows back, but %s sends a changelog", from);
	if (o->shape == WINDOW_COUNT)
		return 0;
	if (in->time_column < 0) {
		error_set(e, ERROR_USAGE,
			"windows need an event time, and the stream from %s has none", from);
		return error_hint(e, "ssource -t COLUMN sets it; smap must keep that column");
	}
	if (in->changelog)
		return error_set(e, ERROR_USAGE,
			"windows over time can't take rows back, but %s sends a changelog", from);
	return 0;
}

static int plan_compile(struct window_plan *p, const struct window_options *o,
	const struct schema *in, const char *from, struct error *e)
{
	struct select_list keys;
	struct aggregate_calls calls;

	if (time_check(o, in, from, e) || where_compile(p, o, in, &p->where, e))
		return -1;
	p->retracts = in->changelog;
	p->inputs = program_new();
	if (keys_parse(p, o, in, &keys, e) || keys_compile(p, &keys, in, NULL, p->inputs, e) ||
		keys_describe(p, &keys, in, e))
		return -1;
	p->has_window = o->shape != WINDOW_NONE && o->shape != WINDOW_COUNT;
	if (o->shape != WINDOW_NONE || in->changelog)
		p->time_key = -1;
	if (list_parse(p, o, &calls, e))
		return -1;
	if (calls_compile(p, &calls, in, p->inputs, NULL, &p->calls, e))
		return -1;
	p->calls_len = calls.len + (p->retracts ? 1 : 0);
	if (retraction_check(p, from, e) || parts_describe(p, &calls, e))
		return -1;
	return results_compile(p, o, in, e);
}

int plan_new(const struct window_options *o, const struct schema *in, const char *from,
	struct window_plan **out, struct error *e)
{
	struct window_plan *p = mem_zero(sizeof *p);

	schema_init(&p->in);
	schema_init(&p->parts);
	schema_init(&p->out);
	schema_copy(&p->in, in);
	if (plan_compile(p, o, &p->in, from, e)) {
		plan_free(p);
		return -1;
	}
	*out = p;
	return 0;
}

void plan_free(struct window_plan *p)
{
	if (!p)
		return;
	calls_free(p->calls, p->calls_len);
	program_free(p->where);
	program_free(p->inputs);
	program_free(p->results);
	schema_clear(&p->in);
	schema_clear(&p->parts);
	schema_clear(&p->out);
	arena_clear(&p->arena);
	mem_free(p);
}

static int change_check(
	const struct window_plan *p, const struct schema *in, const char *from, struct error *e)
{
	if (p->retracts != in->changelog)
		return error_set(e, ERROR_DATA, "the stream from %s %s a changelog now", from,
			in->changelog ? "is" : "is no longer");
	if ((p->in.time_column < 0) != (in->time_column < 0))
		return error_set(e, ERROR_DATA, "the stream from %s %s its event time", from,
			in->time_column < 0 ? "has lost" : "has got");
	return 0;
}

int plan_change_input(struct window_plan *p, const struct window_options *o,
	const struct schema *in, const char *from, struct error *e)
{
	struct compiled c = {.where = NULL};
	struct select_list keys, list = p->list;
	struct aggregate_calls calls;
	int status = -1;

	schema_clear(&p->in); /* the old programs borrow it, and are not run again */
	schema_init(&p->in);
	schema_copy(&p->in, in);
	c.inputs = program_new();
	if (change_check(p, in, from, e) || where_compile(p, o, &p->in, &c.where, e))
		goto out;
	if (keys_parse(p, o, &p->in, &keys, e) ||
		keys_compile(p, &keys, &p->in, p->key_types, c.inputs, e))
		goto out;
	status = list_parse(p, o, &calls, e);
	p->list = list; /* its texts are in the results' program already */
	if (status)
		goto out;
	status = calls_compile(p, &calls, &p->in, c.inputs, p->calls, &c.calls, e);
	if (status)
		goto out;
	c.calls_len = p->calls_len;
	struct compiled old = {p->where, p->inputs, p->calls, p->calls_len};

	p->where = c.where;
	p->inputs = c.inputs;
	p->calls = c.calls;
	c = old;
out:
	compiled_clear(&c);
	return status;
}

/* ---- plans of --over ---- */

int plan_new_rows(const struct window_options *o, const struct schema *in, bool retracting,
	struct window_plan **out, struct error *e)
{
	struct window_plan *p = mem_zero(sizeof *p);
	struct select_list keys;

	schema_init(&p->in);
	schema_init(&p->parts);
	schema_init(&p->out);
	schema_copy(&p->in, in);
	p->retracts = retracting;
	p->time_key = -1;
	p->inputs = program_new();
	if (where_compile(p, o, &p->in, &p->where, e) || keys_parse(p, o, &p->in, &keys, e) ||
		keys_compile(p, &keys, &p->in, NULL, p->inputs, e) ||
		keys_describe(p, &keys, &p->in, e)) {
		plan_free(p);
		return -1;
	}
	*out = p;
	return 0;
}

int plan_compile_call(struct window_plan *p, const struct aggregate_call *from,
	struct window_call *to, struct error *e)
{
	return call_compile(p, from, &p->in, p->inputs, NULL, to, e);
}
