#include "cmd/swindow/over_parts.h"

#include "libcore/base/memory.h"

#include <stdio.h>
#include <string.h>

enum { DISTANCE_MOST = 1 << 20 };

void over_plan_free(struct over_plan *p)
{
	if (!p)
		return;
	plan_free(p->window);
	schema_clear(&p->inputs);
	mem_free(p);
}

/* ---- calls ---- */

static int call_kind(const char *function)
{
	static const char *const names[] = {[CALL_ROW_NUMBER] = "row_number",
		[CALL_RANK] = "rank",
		[CALL_DENSE_RANK] = "dense_rank",
		[CALL_LAG] = "lag",
		[CALL_LEAD] = "lead"};

	for (int i = CALL_ROW_NUMBER; i <= CALL_LEAD; i++) {
		if (strcmp(names[i], function) == 0)
			return i;
	}
	return CALL_AGGREGATE;
}

static int distance_read(struct window_plan *w, const struct aggregate_call *from,
	struct over_call *to, struct error *e)
{
	struct column c;

	to->distance = 1;
	if (from->args_len < 2)
		return 0;
	if (expr_constant(from->args[1], &w->arena, &c, e))
		return -1;
	if (c.type.kind != TYPE_INT || !column_is_valid(&c, 0) || column_int(&c, 0) < 0 ||
		column_int(&c, 0) > DISTANCE_MOST)
		return error_set(e, ERROR_USAGE, "%s: the distance is a number of rows, 0 to %d",
			from->text, DISTANCE_MOST);
	to->distance = (uint32_t)column_int(&c, 0);
	return 0;
}

/* lag(x[, n[, default]]) */
static int shift_compile(struct window_plan *w, const struct aggregate_call *from,
	struct over_call *to, struct error *e)
{
	if (from->args_len == 0)
		return error_set(e, ERROR_USAGE, "%s: of which column?  %s(x), %s(x, 2, 0)",
			from->text, from->function, from->function);
	if (program_add(w->inputs, from->args[0], &w->in, &to->argument, e) ||
		distance_read(w, from, to, e))
		return -1;
	to->type = program_type(w->inputs, to->argument);
	to->has_fallback = from->args_len > 2;
	return to->has_fallback ? program_add_as(w->inputs, from->args[2], &w->in, to->type,
					  &to->fallback, e)
				: 0;
}

static int call_compile(struct over_plan *p, const struct aggregate_call *from,
	struct over_call *to, struct error *e)
{
	struct window_plan *w = p->window;

	*to = (struct over_call){.kind = (enum over_call_kind)call_kind(from->function),
		.text = from->text,
		.type = TYPE_OF(TYPE_INT)};
	if (to->kind != CALL_AGGREGATE && (from->filter || from->distinct || from->star))
		return error_set(
			e, ERROR_USAGE, "%s takes neither distinct nor a filter nor *", from->text);
	switch (to->kind) {
	case CALL_AGGREGATE:
		to->aggregate = w->calls_len;
		if (plan_compile_call(w, from, &w->calls[w->calls_len], e))
			return -1;
		to->type = aggregate_result(w->calls[w->calls_len++].like);
		return 0;
	case CALL_ROW_NUMBER:
	case CALL_RANK:
	case CALL_DENSE_RANK:
		if (from->args_len)
			return error_set(e, ERROR_USAGE, "%s: %s() has no argument", from->text,
				from->function);
		return 0;
	case CALL_LAG:
		if (shift_compile(w, from, to, e))
			return -1;
		if (to->distance > p->lag_most)
			p->lag_most = to->distance;
		return 0;
	case CALL_LEAD: p->has_lead = true; return shift_compile(w, from, to, e);
	}
	return -1;
}

static int list_compile(struct over_plan *p, const struct over_options *o,
	struct aggregate_calls *calls, struct error *e)
{
	struct window_plan *w = p->window;
	const char *what = o->window.list_from ? o->window.list_from : "list";

	if (select_parse(o->window.list, what, &w->arena, &w->list, e))
		return -1;
	for (size_t i = 0; i < w->list.len; i++) {
		if (w->list.items[i].kind == SELECT_STAR) {
			error_set(e, ERROR_USAGE, "%s: * is not needed", what);
			return error_hint(e, "with --over every column of the input comes first");
		}
	}
	if (expr_split_over(&w->list, &w->arena, calls, e))
		return -1;
	w->calls = ARENA_ARRAY(&w->arena, struct window_call, calls->len + 1);
	p->calls = ARENA_ARRAY(&w->arena, struct over_call, calls->len + 1);
	for (size_t i = 0; i < calls->len; i++, p->calls_len++) {
		if (call_compile(p, &calls->calls[i], &p->calls[i], e))
			return -1;
	}
	return 0;
}

static int retraction_check(const struct over_plan *p, struct error *e)
{
	const struct window_plan *w = p->window;

	for (size_t i = 0; w->retracts && i < w->calls_len; i++) {
		if (aggregate_retracts(w->calls[i].like))
			continue;
		error_set(e, ERROR_USAGE, "%s can't let go of the rows that leave a frame",
			w->calls[i].text);
		return error_hint(e, "--over all and --over group keep all of them");
	}
	return 0;
}

/* ---- the output ---- */

static void parts_describe(struct over_plan *p, bool has_window)
{
	struct window_plan *w = p->window;
	char name[24];

	for (size_t i = 0; i < w->in.fields_len; i++)
		schema_add_field(&w->parts, &w->in.fields[i]);
	w->window_part = w->in.fields_len;
	w->has_window = has_window;
	if (has_window) {
		schema_add(&w->parts, "window_start", 12, TYPE_OF(TYPE_TIMESTAMP));
		schema_add(&w->parts, "window_end", 10, TYPE_OF(TYPE_TIMESTAMP));
	}
	for (size_t i = 0; i < p->calls_len; i++) {
		int len = snprintf(name, sizeof name, "#%zu", i);

		schema_add(&w->parts, name, (size_t)len, p->calls[i].type);
	}
}

/* An item named like a column takes its place; of two of a name the later one counts, as in smap.
 */
static const struct select_item *item_named(const struct select_list *list, const char *name)
{
	for (size_t i = list->len; i-- > 0;) {
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	}
	return NULL;
}

static int out_add(struct window_plan *w, const char *name, const struct select_item *item,
	int column, struct error *e)
{
	size_t index;

	if (!item)
		index = program_add_column(w->results, column, &w->parts);
	else if (program_add(w->results, item->expr, &w->parts, &index, e))
		return -1;
	schema_add(&w->out, name, strlen(name), program_type(w->results, index));
	return 0;
}

static int results_compile(struct over_plan *p, struct error *e)
{
	struct window_plan *w = p->window;
	size_t fixed = w->window_part + (w->has_window ? 2 : 0);
	int time = w->has_window ? (int)w->window_part + 1 : w->in.time_column;

	w->results = program_new();
	for (size_t i = 0; i < fixed; i++) {
		const char *name = w->parts.fields[i].name;
		const struct select_item *item = item_named(&w->list, name);

		if (out_add(w, name, item, (int)i, e))
			return -1;
		if ((int)i == time && (!item || expr_column(item->expr, &w->parts) == time))
			w->out.time_column = time;
	}
	for (size_t i = 0; i < w->list.len; i++) {
		const struct select_item *item = &w->list.items[i];

		if (schema_find(&w->out, item->name, strlen(item->name)) >= 0)
			continue;
		if (out_add(w, item->name, item_named(&w->list, item->name), 0, e))
			return -1;
	}
	if (w->out.time_column >= 0)
		w->out.time_offset_us = w->has_window ? -1 : w->in.time_offset_us;
	return 0;
}

/* ---- the whole ---- */

static int check_input(
	const struct over_options *o, const struct schema *in, const char *from, struct error *e)
{
	if (in->changelog) {
		error_set(e, ERROR_USAGE, "--over can't take rows back, but %s sends a changelog",
			from);
		return error_hint(
			e, "aggregate without --over, or put --over in front of what makes it");
	}
	if (in->time_column >= 0 || (o->frame != OVER_TIME && o->window.shape == WINDOW_NONE))
		return 0;
	error_set(e, ERROR_USAGE, "%s needs an event time, and the stream from %s has none",
		o->frame == OVER_TIME ? "--over DURATION" : "a window", from);
	return error_hint(e, "ssource -t COLUMN sets it; smap must keep that column");
}

static void inputs_describe(struct over_plan *p)
{
	char name[24];

	for (size_t i = 0; i < program_results(p->window->inputs); i++) {
		int len = snprintf(name, sizeof name, "%zu", i);

		schema_add(&p->inputs, name, (size_t)len, program_type(p->window->inputs, i));
	}
}

static bool must_retract(const struct over_options *o)
{
	return o->frame == OVER_ROWS || o->frame == OVER_TIME ||
	       (o->frame == OVER_GROUP && o->exclude_current);
}

int over_plan_new(const struct over_options *o, const struct schema *in, const char *from,
	struct over_plan **out, struct error *e)
{
	struct over_plan *p;
	struct aggregate_calls calls;

	if (check_input(o, in, from, e))
		return -1;
	p = mem_zero(sizeof *p);
	schema_init(&p->inputs);
	if (plan_new_rows(&o->window, in, must_retract(o), &p->window, e))
		goto fail;
	if (list_compile(p, o, &calls, e) || retraction_check(p, e))
		goto fail;
	parts_describe(p, o->window.shape != WINDOW_NONE);
	if (results_compile(p, e))
		goto fail;
	inputs_describe(p);
	*out = p;
	return 0;
fail:
	over_plan_free(p);
	return -1;
}
