/* Options and a schema become programs, calls and the output's schema. */
#include "cmd/smatch/match.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/suggest.h"
#include "libcore/stage/description.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct making {
	struct match_plan *p;
	const struct match_options *o;
	const struct schema *in;
	struct expr *conditions[PATTERN_VARIABLES_MAX]; /* NULL: any row is one */
	struct match_calls define_calls, measure_calls;
	uint32_t before[PATTERN_VARIABLES_MAX]; /* rows of a match before each, at least */
	bool *used;    /* of in's columns, by conditions */
	int *place;    /* of in's columns: where they are stored; -1: not yet */
	struct error *e;
};

/* ---- names ---- */

static int refuse_variable(struct making *m, const char *what, const char *name, size_t len)
{
	const struct pattern *p = &m->p->pattern;
	int near = suggest(name, len, p->variables, p->variables_len);

	error_set(m->e, ERROR_USAGE, "%s: the pattern has no variable '%.*s'", what, (int)len, name);
	return near < 0 ? -1 : error_hint(m->e, "did you mean %s?", p->variables[near]);
}

static size_t trim(const char **text, size_t len)
{
	while (len && isspace((unsigned char)**text))
		(*text)++, len--;
	while (len && isspace((unsigned char)(*text)[len - 1]))
		len--;
	return len;
}

static void add_name(struct making *m, const char *name, uint64_t mask)
{
	struct match_names *n = &m->p->names;
	const char **names = ARENA_ARRAY(&m->p->arena, const char *, n->len + 1);
	uint64_t *masks = ARENA_ARRAY(&m->p->arena, uint64_t, n->len + 1);

	if (n->len) {
		memcpy(names, n->names, n->len * sizeof(*names));
		memcpy(masks, n->masks, n->len * sizeof(*masks));
	}
	names[n->len] = name;
	masks[n->len] = mask;
	n->names = names;
	n->masks = masks;
	n->len++;
}

/* U = (A, B) */
static int read_subset(struct making *m, const char *text, size_t len)
{
	const char *equals = memchr(text, '=', len), *open, *name = text, *member;
	size_t name_len;
	uint64_t mask = 0;

	open = equals ? memchr(equals, '(', len - (size_t)(equals - text)) : NULL;
	if (!open || text[len - 1] != ')')
		return error_set(m->e, ERROR_USAGE, "--subset '%.*s': it looks like U = (A, B)", (int)len, text);
	name_len = trim(&name, (size_t)(equals - text));
	for (member = open + 1; member < text + len;) {
		size_t member_len = strcspn(member, ",)");
		const char *one = member;
		size_t one_len = trim(&one, member_len);
		int variable = pattern_find(&m->p->pattern, one, one_len);

		if (variable < 0)
			return refuse_variable(m, "--subset", one, one_len);
		mask |= UINT64_C(1) << variable;
		member += member_len + 1;
	}
	if (!name_len || pattern_find(&m->p->pattern, name, name_len) >= 0)
		return error_set(m->e, ERROR_USAGE, "--subset: '%.*s' is the pattern's own", (int)name_len, name);
	add_name(m, arena_strndup(&m->p->arena, name, name_len), mask);
	return 0;
}

static int read_names(struct making *m)
{
	const char *at = m->o->subset;

	for (size_t i = 0; i < m->p->pattern.variables_len; i++)
		add_name(m, m->p->pattern.variables[i], UINT64_C(1) << i);
	while (at && *at) {
		const char *one = at;
		size_t len = strcspn(at, ";"), trimmed = trim(&one, len);

		if (trimmed && read_subset(m, one, trimmed) < 0)
			return -1;
		at += len + (at[len] == ';');
	}
	return 0;
}

static int read_after(struct making *m)
{
	const char *name = m->o->after_variable;

	if (m->o->after == AFTER_LAST_ROW || m->o->after == AFTER_NEXT_ROW)
		return 0;
	for (size_t i = 0; i < m->p->names.len; i++) {
		if (strcmp(m->p->names.names[i], name) == 0)
			m->p->after_mask = m->p->names.masks[i];
	}
	return m->p->after_mask ? 0 : refuse_variable(m, "--after-match", name, strlen(name));
}

/* ---- conditions ---- */

/* To the next ; outside of quotes, and of comments. */
static size_t definition_len(const char *text)
{
	char quote = 0;
	size_t n = 0;

	for (; text[n] && (quote || text[n] != ';'); n++) {
		if (quote)
			quote = text[n] == quote ? 0 : quote;
		else if (text[n] == '\'' || text[n] == '"')
			quote = text[n];
		else if (text[n] == '-' && text[n + 1] == '-')
			n += strcspn(text + n, "\n") - 1;
	}
	return n;
}

/* NAME: condition */
static int read_definition(struct making *m, const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len), *name = text;
	size_t name_len;
	int variable;
	char *condition, *what;

	if (!colon)
		return error_set(m->e, ERROR_USAGE, "%s '%.*s': a definition is NAME: condition",
			m->o->define_from, (int)len, text);
	name_len = trim(&name, (size_t)(colon - text));
	if (name_len > 1 && *name == '"' && name[name_len - 1] == '"') {
		name++;
		name_len -= 2;
	}
	variable = pattern_find(&m->p->pattern, name, name_len);
	if (variable < 0)
		return refuse_variable(m, m->o->define_from, name, name_len);
	if (m->conditions[variable])
		return error_set(m->e, ERROR_USAGE, "%s: %.*s is defined twice", m->o->define_from,
			(int)name_len, name);
	condition = arena_strndup(&m->p->arena, colon + 1, len - (size_t)(colon + 1 - text));
	what = arena_printf(&m->p->arena, "%s %.*s", m->o->define_from, (int)name_len, name);
	return expr_parse(condition, what, &m->p->arena, &m->conditions[variable], m->e);
}

static int read_definitions(struct making *m)
{
	const char *at = m->o->define;

	while (at && *at) {
		const char *one = at;
		size_t len = definition_len(at), trimmed = trim(&one, len);

		if (trimmed && read_definition(m, one, trimmed) < 0)
			return -1;
		at += len + (at[len] == ';');
	}
	for (size_t i = 0; i < m->p->pattern.variables_len; i++) {
		if (m->conditions[i] && expr_split_match(m->conditions[i], &m->p->names, UINT64_C(1) << i,
				&m->p->arena, &m->define_calls, m->e) < 0)
			return -1;
	}
	return 0;
}

/* ---- what is stored ---- */

static void store(struct match_plan *p, const char *kind, const char *name, struct type type)
{
	char full[300];
	int len = snprintf(full, sizeof full, "%s.%s", kind, name);

	schema_add(&p->stored, full, len < (int)sizeof full ? (size_t)len : sizeof full - 1, type);
}

/* A column of the input, stored once. */
static size_t store_column(struct making *m, int column)
{
	struct match_plan *p = m->p;

	if (m->place[column] < 0) {
		m->place[column] = (int)program_add_column(p->inputs, column, m->in);
		store(p, "row", m->in->fields[column].name, m->in->fields[column].type);
	}
	return (size_t)m->place[column];
}

static int store_expr(struct making *m, struct expr *x, const char *kind, const char *name, size_t *at)
{
	struct match_plan *p = m->p;
	int column = expr_column(x, m->in);

	if (column >= 0 && *kind != 'k') {
		*at = store_column(m, column);
		return 0;
	}
	if (program_add(p->inputs, x, m->in, at, m->e) < 0)
		return -1;
	MUST(*at == p->stored.fields_len);
	store(p, kind, name, program_type(p->inputs, *at));
	if (column >= 0 && m->place[column] < 0)
		m->place[column] = (int)*at;
	return 0;
}

static int compile_keys(struct making *m)
{
	struct match_plan *p = m->p;
	struct select_list list, keys = {.len = 0};

	if (m->o->keys && (select_parse(m->o->keys, m->o->keys_from, &p->arena, &list, m->e) < 0 ||
			select_expand(&list, m->in, &p->arena, &keys, m->e) < 0))
		return -1;
	if (keys.len > DESCRIPTION_KEYS_MAX)
		return error_set(m->e, ERROR_USAGE, "-k: up to %d columns", DESCRIPTION_KEYS_MAX);
	p->keys_len = keys.len;
	p->key_names = ARENA_ARRAY(&p->arena, const char *, keys.len + 1);
	for (size_t i = 0; i < keys.len; i++) {
		size_t at;

		p->key_names[i] = keys.items[i].name;
		if (store_expr(m, keys.items[i].expr, "key", keys.items[i].name, &at) < 0)
			return -1;
		if (p->stored.fields[i].type.kind == TYPE_ANY)
			return error_set(m->e, ERROR_USAGE, "-k: '%s' has type any, which can't be a key; cast "
				"it, as in %s::string", keys.items[i].name, keys.items[i].name);
	}
	return 0;
}

static int compile_aggregate(struct making *m, struct plan_call *c)
{
	const struct aggregate_call *from = &c->call.aggregate;
	struct match_plan *p = m->p;
	struct type types[AGGREGATE_ARGS_MAX];
	struct column parameter;
	struct aggregate_spec spec = {.function = from->function, .distinct = from->distinct,
		.star = from->star, .args = types, .args_len = from->args_len,
		.parameter = from->parameter ? &parameter : NULL};

	c->args_len = from->args_len;
	for (size_t i = 0; i < from->args_len; i++) {
		if (store_expr(m, from->args[i], "argument", from->text, &c->args[i]) < 0)
			return -1;
		types[i] = p->stored.fields[c->args[i]].type;
	}
	c->filtered = from->filter != NULL;
	if (from->filter) {
		if (store_expr(m, from->filter, "filter", from->text, &c->filter) < 0)
			return -1;
		if (p->stored.fields[c->filter].type.kind != TYPE_BOOL)
			return error_set(m->e, ERROR_USAGE, "%s: the filter is %s, not bool", from->text,
				type_name(p->stored.fields[c->filter].type));
	}
	if (from->parameter && expr_constant(from->parameter, &p->arena, &parameter, m->e) < 0)
		return -1;
	if (aggregate_new(&spec, &c->like, m->e) < 0)
		return error_context(m->e, "%s", from->text);
	c->type = aggregate_result(c->like);
	return 0;
}

static int compile_call(struct making *m, struct plan_call *c)
{
	switch (c->call.kind) {
	case MATCH_ROW:
		if (store_expr(m, c->call.arg, "argument", c->call.text, &c->arg) < 0)
			return -1;
		c->type = m->p->stored.fields[c->arg].type;
		return 0;
	case MATCH_AGGREGATE: return compile_aggregate(m, c);
	case MATCH_CLASSIFIER: c->type = TYPE_OF(TYPE_STRING); return 0;
	case MATCH_NUMBER: c->type = TYPE_OF(TYPE_INT); return 0;
	case MATCH_TIME: c->type = TYPE_OF(TYPE_TIMESTAMP); return 0;
	}
	return -1;
}

static int compile_calls(struct making *m, const struct match_calls *from, struct plan_calls *to)
{
	to->items = ARENA_ARRAY(&m->p->arena, struct plan_call, from->len + 1);
	for (; to->len < from->len; to->len++) {
		struct plan_call *c = &to->items[to->len];

		c->call = from->calls[to->len];
		if (compile_call(m, c) < 0)
			return -1;
	}
	return 0;
}

/* How many rows of a match come before one of these variables, at least. */
static uint32_t least_before(const struct making *m, uint64_t variables)
{
	uint32_t least = UINT32_MAX;

	for (size_t i = 0; i < m->p->pattern.variables_len; i++) {
		if (variables >> i & 1 && m->before[i] < least)
			least = m->before[i];
	}
	return least;
}

/* Rows before a match that a call may mean, counted from a row of these variables, are kept. */
static void keep_rows(struct making *m, const struct match_call *c, uint64_t variables)
{
	uint32_t before = least_before(m, variables);

	if (c->shift < 0 && -c->shift > (int64_t)before && (uint64_t)-c->shift - before > m->p->kept_rows)
		m->p->kept_rows = (uint32_t)(-c->shift - before);
}

/* The least number of rows before each variable: steps by their distance from the start. */
static void measure_distances(struct making *m)
{
	const struct pattern *p = &m->p->pattern;
	uint32_t *distance = ARENA_ARRAY(&m->p->arena, uint32_t, p->steps_len + 1);
	uint16_t *queue = ARENA_ARRAY(&m->p->arena, uint16_t, p->steps_len + 1);
	size_t first = 0, end = 0;
	struct pattern_next next = p->start;

	memset(m->before, 0xff, sizeof m->before);
	memset(distance, 0xff, (p->steps_len + 1) * sizeof *distance);
	for (uint32_t rows = 0;; rows = distance[queue[first++]] + 1) {
		for (uint32_t i = 0; i < next.len; i++) {
			uint16_t step = next.steps[i];

			if (step == PATTERN_DONE || distance[step] != UINT32_MAX)
				continue;
			distance[step] = rows;
			queue[end++] = step;
		}
		if (first == end)
			break;
		next = p->steps[queue[first]].next;
	}
	for (size_t i = 0; i < p->steps_len; i++) {
		uint32_t *before = &m->before[p->steps[i].variable];

		*before = distance[i] < *before ? distance[i] : *before;
	}
}

static int check_defines(struct making *m)
{
	for (size_t i = 0; i < m->p->defines.len; i++) {
		const struct match_call *c = &m->p->defines.items[i].call;

		if (c->kind == MATCH_ROW && c->shift > (int64_t)m->p->ahead)
			m->p->ahead = (uint32_t)c->shift;
		if (c->kind != MATCH_ROW && c->kind != MATCH_AGGREGATE)
			return error_set(m->e, ERROR_USAGE, "%s: %s is for results: it is known with the match",
				m->o->define_from, c->text);
		if (c->final)
			return error_set(m->e, ERROR_USAGE, "%s: final() is for results", m->o->define_from);
	}
	return 0;
}

/* ---- conditions' programs ---- */

static void describe_conditions(struct making *m)
{
	struct match_plan *p = m->p;

	p->condition_columns = ARENA_ARRAY(&p->arena, int, m->in->fields_len + p->defines.len + 1);
	schema_init(&p->condition_schema);
	for (size_t i = 0; i < m->in->fields_len; i++) {
		p->condition_columns[i] = m->used[i] ? (int)store_column(m, (int)i) : -1;
		schema_add(&p->condition_schema, m->in->fields[i].name, strlen(m->in->fields[i].name),
			m->in->fields[i].type);
	}
	for (size_t i = 0; i < p->defines.len; i++) {
		char name[24];
		int len = snprintf(name, sizeof name, "#%zu", i);

		p->condition_columns[p->condition_schema.fields_len] = -1;
		schema_add(&p->condition_schema, name, (size_t)len, p->defines.items[i].type);
	}
}

/* Whether a call is settled by the row at hand and those before it, whatever the match. */
static bool is_of_row(const struct match_call *c, uint64_t self)
{
	return c->kind == MATCH_ROW && !c->from_first && !c->offset && (c->of & self);
}

/* Whether a condition's part looks at rows alone; sets the fields that it uses. */
static bool looks_at_rows(const struct match_plan *p, const struct expr *x, uint64_t self, bool *uses)
{
	size_t columns = p->condition_schema.fields_len - p->defines.len;

	memset(uses, 0, p->condition_schema.fields_len * sizeof *uses);
	expr_mark_columns(x, &p->condition_schema, uses);
	for (size_t i = 0; i < p->defines.len; i++) {
		if (uses[columns + i] && !is_of_row(&p->defines.items[i].call, self))
			return false;
	}
	return true;
}

static int add_part(struct making *m, struct program **program, struct expr *x, size_t variable)
{
	size_t at;

	if (!*program)
		*program = program_new();
	if (program_add(*program, x, &m->p->condition_schema, &at, m->e) < 0)
		return -1;
	if (program_type(*program, at).kind == TYPE_BOOL)
		return 0;
	return error_set(m->e, ERROR_USAGE, "%s %s: a condition is true or false, not %s",
		m->o->define_from, m->p->pattern.variables[variable],
		type_name(program_type(*program, at)));
}

static void keep_rows_of(struct making *m, size_t variable, const bool *uses)
{
	const struct match_plan *p = m->p;
	uint64_t self = UINT64_C(1) << variable;

	for (size_t i = 0; i < p->defines.len; i++) {
		const struct match_call *c = &p->defines.items[i].call;

		if (uses[p->condition_schema.fields_len - p->defines.len + i])
			keep_rows(m, c, is_of_row(c, self) ? self : c->of);
	}
}

enum { PARTS_MAX = 64 };

/* What can be said of a row by itself is asked first, and of whole columns. */
static int compile_condition(struct making *m, size_t variable, bool *uses)
{
	struct match_plan *p = m->p;
	struct expr *parts[PARTS_MAX], *by_row[PARTS_MAX], *by_thread[PARTS_MAX];
	size_t n = m->conditions[variable] ? expr_conjuncts(m->conditions[variable], parts, PARTS_MAX) : 0;
	size_t by_row_len = 0, by_thread_len = 0;

	for (size_t i = 0; i < n; i++) {
		bool is_of_rows = looks_at_rows(p, parts[i], UINT64_C(1) << variable, uses);
		bool *all = is_of_rows ? p->row_uses : p->thread_uses[variable];

		if (is_of_rows)
			by_row[by_row_len++] = parts[i];
		else
			by_thread[by_thread_len++] = parts[i];
		for (size_t k = 0; k < p->condition_schema.fields_len; k++)
			all[k] |= uses[k];
		keep_rows_of(m, variable, uses);
	}
	if (by_row_len) {
		if (add_part(m, &p->by_row, expr_join(by_row, by_row_len, &p->arena), variable) < 0)
			return -1;
		p->by_row_variable[program_results(p->by_row) - 1] = (uint8_t)variable;
		if (add_part(m, &p->by_row_alone[variable], expr_join(by_row, by_row_len, &p->arena),
				variable) < 0)
			return -1;
	}
	p->looks_inside |= by_thread_len > 0;
	return by_thread_len ? add_part(m, &p->by_thread[variable],
		expr_join(by_thread, by_thread_len, &p->arena), variable) : 0;
}

static int compile_conditions(struct making *m)
{
	struct match_plan *p = m->p;
	size_t fields = p->condition_schema.fields_len;
	bool *uses = ARENA_ARRAY(&p->arena, bool, fields + 1);

	p->row_uses = ARENA_ARRAY(&p->arena, bool, fields + 1);
	p->by_row_variable = ARENA_ARRAY(&p->arena, uint8_t, p->pattern.variables_len + 1);
	for (size_t i = 0; i < p->pattern.variables_len; i++) {
		p->thread_uses[i] = ARENA_ARRAY(&p->arena, bool, fields + 1);
		if (compile_condition(m, i, uses) < 0)
			return -1;
	}
	return 0;
}

/* ---- what is kept with the lists of threads ---- */

/* Whether an aggregate is small, and has all it needs of that of one row less. */
static bool is_small(const struct aggregate_call *a)
{
	static const char *const names[] = {"count", "sum", "avg", "min", "max", "bool_and", "bool_or",
		"stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcmp(names[i], a->function) == 0)
			return !a->distinct;
	}
	return false;
}

static size_t add_mask(struct match_plan *p, uint64_t mask)
{
	size_t i = 0;

	while (i < p->masks_len && p->masks[i] != mask)
		i++;
	if (i == p->masks_len)
		p->masks[p->masks_len++] = mask;
	return i;
}

static size_t add_front(struct match_plan *p, size_t mask, uint64_t offset)
{
	size_t i = 0;

	while (i < p->fronts_len && (p->fronts[i].mask != mask || p->fronts[i].offset != offset))
		i++;
	if (i == p->fronts_len)
		p->fronts[p->fronts_len++] = (struct match_front){mask, offset};
	return i;
}

/* The bits of the calls that a variable's condition asks for of lists; adds what isn't there yet. */
static int ask_calls(struct making *m, size_t variable, size_t *asked_len, uint64_t *bits)
{
	struct match_plan *p = m->p;
	size_t first = p->condition_schema.fields_len - p->defines.len;

	*bits = 0;
	for (size_t i = 0; i < p->defines.len; i++) {
		struct plan_call *c = &p->defines.items[i];
		const struct match_call *call = &c->call;
		size_t at = 0;

		if (!p->thread_uses[variable][first + i])
			continue;
		while (at < *asked_len && p->asked[at] != i)
			at++;
		if (at == sizeof p->asked / sizeof *p->asked)
			return error_set(m->e, ERROR_USAGE, "%s: conditions ask for more than %zu things of other "
				"rows", m->o->define_from, at);
		if (at == *asked_len) {
			p->asked[(*asked_len)++] = i;
			c->mask = add_mask(p, call->of);
			c->front = call->from_first ? add_front(p, c->mask, (uint64_t)call->offset) : 0;
			c->is_kept = call->kind == MATCH_AGGREGATE && is_small(&call->aggregate);
			c->is_count = c->is_kept && call->aggregate.star && !c->filtered;
		}
		*bits |= UINT64_C(1) << at;
	}
	return 0;
}

/* What is asked for at a step, or at any that it leads to. */
static void spread_needs(struct match_plan *p)
{
	bool changed = true;

	while (changed) {
		changed = false;
		for (size_t i = p->pattern.steps_len; i-- > 0;) {
			struct pattern_next next = p->pattern.steps[i].next;
			uint64_t before = p->needs[i];

			for (uint32_t k = 0; k < next.len; k++) {
				if (next.steps[k] != PATTERN_DONE)
					p->needs[i] |= p->needs[next.steps[k]];
			}
			changed |= p->needs[i] != before;
		}
	}
}

static int plan_lists(struct making *m)
{
	struct match_plan *p = m->p;
	uint64_t bits[PATTERN_VARIABLES_MAX];
	size_t asked_len = 0;

	p->masks = ARENA_ARRAY(&p->arena, uint64_t, p->defines.len + 1);
	p->fronts = ARENA_ARRAY(&p->arena, struct match_front, p->defines.len + 1);
	p->needs = ARENA_ARRAY(&p->arena, uint64_t, p->pattern.steps_len + 1);
	for (size_t i = 0; i < p->pattern.variables_len; i++) {
		if (ask_calls(m, i, &asked_len, &bits[i]) < 0)
			return -1;
	}
	for (size_t i = 0; i < p->pattern.steps_len; i++)
		p->needs[i] = bits[p->pattern.steps[i].variable];
	if (asked_len)
		spread_needs(p);
	return 0;
}

/* ---- measures ---- */

static int parse_list(struct making *m)
{
	struct match_plan *p = m->p;

	if (!m->o->list)
		return 0;
	if (select_parse(m->o->list, m->o->list_from, &p->arena, &p->list, m->e) < 0)
		return -1;
	for (size_t i = 0; i < p->list.len; i++) {
		struct select_item *item = &p->list.items[i];

		if (item->kind == SELECT_STAR) {
			error_set(m->e, ERROR_USAGE, "%s: * can't be used here", m->o->list_from);
			return error_hint(m->e, "--all-rows gives every row of a match, with its columns");
		}
		item->name = arena_strdup(&p->arena, item->name);
		if (expr_split_match(item->expr, &p->names, 0, &p->arena, &m->measure_calls, m->e) < 0)
			return -1;
	}
	return 0;
}

static int out_add(struct making *m, const char *name, struct type type)
{
	if (schema_find(&m->p->out, name, strlen(name)) >= 0) {
		error_set(m->e, ERROR_USAGE, "two columns would be called '%s'", name);
		return error_hint(m->e, "call one otherwise: ... as other_name");
	}
	schema_add(&m->p->out, name, strlen(name), type);
	return 0;
}

/* The columns in front of the measures: keys, or a whole row. */
static int describe_front(struct making *m)
{
	struct match_plan *p = m->p;

	schema_init(&p->out);
	schema_init(&p->measure_schema);
	if (!m->o->all_rows) {
		for (size_t i = 0; i < p->keys_len; i++) {
			if (out_add(m, p->key_names[i], p->stored.fields[i].type) < 0)
				return -1;
		}
		return 0;
	}
	p->row_columns = ARENA_ARRAY(&p->arena, int, m->in->fields_len + 1);
	for (size_t i = 0; i < m->in->fields_len; i++) {
		const struct field *f = &m->in->fields[i];

		p->row_columns[i] = (int)store_column(m, (int)i);
		if (out_add(m, f->name, f->type) < 0)
			return -1;
	}
	p->out.time_column = m->in->time_column;
	p->out.time_offset_us = m->in->time_offset_us;
	return 0;
}

static void find_time(struct match_plan *p, const struct select_item *item, int column)
{
	int call = expr_column(item->expr, &p->measure_schema);

	if (call >= 0 && p->measures.items[call].call.kind == MATCH_TIME && p->out.time_column < 0)
		p->out.time_column = column;
}

static int compile_measures(struct making *m)
{
	struct match_plan *p = m->p;

	for (size_t i = 0; i < p->measures.len; i++) {
		const struct match_call *c = &p->measures.items[i].call;
		char name[24];
		int len = snprintf(name, sizeof name, "#%zu", i);

		if (c->kind == MATCH_TIME && m->in->time_column < 0)
			return error_set(m->e, ERROR_USAGE, "match_time(): the rows have no event time");
		p->counts_matches |= c->kind == MATCH_NUMBER;
		keep_rows(m, c, c->of);
		schema_add(&p->measure_schema, name, (size_t)len, p->measures.items[i].type);
	}
	p->results = program_new();
	for (size_t i = 0; i < p->list.len; i++) {
		const struct select_item *item = &p->list.items[i];
		size_t at;

		if (program_add(p->results, item->expr, &p->measure_schema, &at, m->e) < 0 ||
			out_add(m, item->name, program_type(p->results, at)) < 0)
			return -1;
		MUST(at == i);
		find_time(p, item, (int)p->out.fields_len - 1);
	}
	p->has_time = p->out.time_column >= 0;
	return 0;
}

/* ---- all of it ---- */

static int compile_where(struct making *m)
{
	struct match_plan *p = m->p;
	struct expr *x;
	size_t at;

	if (!m->o->where)
		return 0;
	p->where = program_new();
	if (expr_parse(m->o->where, m->o->where_from, &p->arena, &x, m->e) < 0 ||
		program_add(p->where, x, m->in, &at, m->e) < 0)
		return -1;
	if (program_type(p->where, at).kind == TYPE_BOOL)
		return 0;
	return error_set(m->e, ERROR_USAGE, "%s: a condition is true or false, not %s", m->o->where_from,
		type_name(program_type(p->where, at)));
}

static int make(struct making *m)
{
	struct match_plan *p = m->p;

	m->place = ARENA_ARRAY(&p->arena, int, m->in->fields_len + 1);
	for (size_t i = 0; i < m->in->fields_len; i++)
		m->place[i] = -1;
	if (pattern_parse(m->o->pattern, m->o->pattern_from, &p->arena, &p->pattern, m->e) < 0 ||
		read_names(m) < 0 || read_after(m) < 0 || compile_where(m) < 0 || compile_keys(m) < 0 ||
		read_definitions(m) < 0 || parse_list(m) < 0)
		return -1;
	measure_distances(m);
	m->used = ARENA_ARRAY(&p->arena, bool, m->in->fields_len + 1);
	for (size_t i = 0; i < p->pattern.variables_len; i++) {
		if (m->conditions[i])
			expr_mark_columns(m->conditions[i], m->in, m->used);
	}
	if (compile_calls(m, &m->define_calls, &p->defines) < 0 || check_defines(m) < 0)
		return -1;
	describe_conditions(m);
	if (compile_conditions(m) < 0 || plan_lists(m) < 0 || describe_front(m) < 0 ||
		compile_calls(m, &m->measure_calls, &p->measures) < 0 || compile_measures(m) < 0)
		return -1;
	for (uint32_t i = 0; i < p->pattern.start.len; i++) {
		uint16_t step = p->pattern.start.steps[i];

		if (step != PATTERN_DONE)
			p->start_mask |= UINT64_C(1) << p->pattern.steps[step].variable;
	}
	return 0;
}

int match_plan_new(const struct match_options *o, const struct schema *in, const char *from,
	struct match_plan **out, struct error *e)
{
	struct match_plan *p = mem_zero(sizeof *p);
	struct making m = {.p = p, .o = o, .in = in, .e = e};

	schema_init(&p->in);
	schema_init(&p->stored);
	schema_copy(&p->in, in);
	p->inputs = program_new();
	if (in->changelog) {
		error_set(e, ERROR_USAGE, "a pattern over rows that may be taken back: the stream from %s is a "
			"changelog", from);
		error_hint(e, "match before it is made one");
	} else if (o->has_within && in->time_column < 0) {
		error_set(e, ERROR_USAGE, "--within needs an event time, and the stream from %s has none", from);
		error_hint(e, "ssource -t COLUMN names it");
	} else if (make(&m) == 0) {
		*out = p;
		return 0;
	}
	match_plan_free(p);
	return -1;
}

static void calls_free(struct plan_calls *c)
{
	for (size_t i = 0; i < c->len; i++)
		aggregate_free(c->items[i].like);
}

void match_plan_free(struct match_plan *p)
{
	if (!p)
		return;
	program_free(p->where);
	program_free(p->inputs);
	program_free(p->by_row);
	program_free(p->results);
	for (size_t i = 0; i < PATTERN_VARIABLES_MAX; i++) {
		program_free(p->by_thread[i]);
		program_free(p->by_row_alone[i]);
	}
	calls_free(&p->defines);
	calls_free(&p->measures);
	schema_clear(&p->in);
	schema_clear(&p->stored);
	schema_clear(&p->condition_schema);
	schema_clear(&p->measure_schema);
	schema_clear(&p->out);
	arena_clear(&p->arena);
	mem_free(p);
}
