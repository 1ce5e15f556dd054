#include "cmd/sjoin/plan.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

static const char *const side_names[2] = {"LEFT", "RIGHT"};

/* ---- -k 'a = b, c' ---- */

struct scan {
	const char *at, *text;
	struct arena *arena;
};

static void skip_space(struct scan *s)
{
	while (*s->at == ' ' || *s->at == '\t' || *s->at == '\n')
		s->at++;
}

static int scan_failed(const struct scan *s, struct error *e)
{
	error_set(e, ERROR_USAGE, "-k:1:%td: expected columns as in -k 'a = b, c'",
		s->at - s->text + 1);
	return error_hint(e, "%s\n%*s^", s->text, (int)(s->at - s->text), "");
}

static bool is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '.' || (c & 0x80);
}

/* "a ""quoted"" name" */
static const char *scan_quoted(struct scan *s, struct error *e)
{
	const char *from = ++s->at;
	char *name = arena_alloc(s->arena, strlen(from) + 1);
	size_t len = 0;

	for (;; s->at++) {
		if (!*s->at) {
			scan_failed(s, e);
			return NULL;
		}
		if (*s->at == '"' && *++s->at != '"')
			break;
		name[len++] = *s->at;
	}
	name[len] = 0;
	return name;
}

static const char *scan_name(struct scan *s, struct error *e)
{
	const char *from;

	skip_space(s);
	if (*s->at == '"')
		return scan_quoted(s, e);
	from = s->at;
	while (is_name_byte(*s->at))
		s->at++;
	if (s->at == from) {
		scan_failed(s, e);
		return NULL;
	}
	return arena_strndup(s->arena, from, (size_t)(s->at - from));
}

static int parse_keys(struct plan *p, struct error *e)
{
	struct scan s = {.at = p->options->keys, .text = p->options->keys, .arena = &p->arena};
	size_t max = 1;

	for (const char *c = s.text; *c; c++)
		max += *c == ',';
	p->names = ARENA_ARRAY(&p->arena, struct key_names, max);
	for (;;) {
		struct key_names *names = &p->names[p->keys_len];

		names->left = names->right = scan_name(&s, e);
		if (!names->left)
			return -1;
		skip_space(&s);
		if (*s.at == '=') {
			s.at += s.at[1] == '=' ? 2 : 1;
			names->right = scan_name(&s, e);
			if (!names->right)
				return -1;
			skip_space(&s);
		}
		p->keys_len++;
		if (!*s.at)
			return 0;
		if (*s.at++ != ',' || p->keys_len == max) {
			s.at--;
			return scan_failed(&s, e);
		}
	}
}

int plan_init(struct plan *p, const struct join_options *options, struct error *e)
{
	*p = (struct plan){.options = options};
	for (unsigned side = 0; side < 2; side++) {
		schema_init(&p->in[side]);
		schema_init(&p->rows[side]);
		schema_init(&p->adapt_from[side]);
	}
	schema_init(&p->pair);
	schema_init(&p->out);
	return options->keys ? parse_keys(p, e) : 0;
}

void plan_clear(struct plan *p)
{
	for (unsigned side = 0; side < 2; side++) {
		program_free(p->adapt[side]);
		program_free(p->casts[side]);
		mem_free(p->adapt_columns[side]);
		schema_clear(&p->in[side]);
		schema_clear(&p->rows[side]);
		schema_clear(&p->adapt_from[side]);
	}
	program_free(p->where);
	program_free(p->widen);
	schema_clear(&p->pair);
	schema_clear(&p->out);
	arena_clear(&p->arena);
	*p = (struct plan){.options = NULL};
}

/* ---- a side's schema, and a later one ---- */

static int check_time(const struct plan *p, unsigned side, const struct schema *s, struct error *e)
{
	if (p->options->by == JOIN_BY_KEY || p->options->by == JOIN_BY_LOOKUP)
		return 0;
	if (s->time_column < 0)
		return error_set(e, ERROR_USAGE,
			"%s has no event time, and this join goes by time; "
			"give its ssource -t COLUMN",
			side_names[side]);
	if (s->fields[s->time_column].type.kind == TYPE_TIMESTAMP)
		return 0;
	return error_set(e, ERROR_USAGE, "%s: the event time '%s' is %s, not a timestamp",
		side_names[side], s->fields[s->time_column].name,
		type_name(s->fields[s->time_column].type));
}

/* An expression that is just this column, cast to the type if that is another. */
static int add_column(struct program *program, const struct schema *s, int column, struct type type,
	struct arena *arena, size_t *index, struct error *e)
{
	struct buf name = BUF_INIT;
	struct expr *x;
	int status;

	if (type_equal(s->fields[column].type, type)) {
		*index = program_add_column(program, column, s);
		return 0;
	}
	schema_put_name(s->fields[column].name, &name);
	status = expr_parse(buf_cstr(&name), "a column", arena, &x, e);
	if (status == 0)
		status = program_add_as(program, x, s, type, index, e);
	buf_clear(&name);
	return status;
}

static int add_adapted(struct plan *p, unsigned side, const struct field *f, struct error *e)
{
	const struct schema *s = &p->adapt_from[side];
	int column = schema_find(s, f->name, strlen(f->name));
	struct type common;
	size_t index;

	if (column < 0)
		return error_set(e, ERROR_DATA, "%s: a later schema lacks the column '%s'",
			side_names[side], f->name);
	if (!type_common(f->type, s->fields[column].type, &common) || !type_equal(common, f->type))
		return error_set(e, ERROR_DATA, "%s: '%s' was %s and is %s in a later schema",
			side_names[side], f->name, type_name(f->type),
			type_name(s->fields[column].type));
	return add_column(p->adapt[side], s, column, f->type, &p->arena, &index, e);
}

static bool same_time(const struct schema *a, const struct schema *b)
{
	if (a->time_column < 0 || b->time_column < 0)
		return a->time_column < 0 && b->time_column < 0;
	return a->time_offset_us == b->time_offset_us &&
	       !strcmp(a->fields[a->time_column].name, b->fields[b->time_column].name);
}

static int set_later_schema(struct plan *p, unsigned side, const struct schema *s, struct error *e)
{
	const struct schema *first = &p->in[side];

	program_free(p->adapt[side]);
	p->adapt[side] = NULL;
	if (schema_equal(first, s))
		return 0;
	if (!same_time(first, s))
		return error_set(e, ERROR_DATA, "%s: a later schema has another event time",
			side_names[side]);
	if (first->changelog != s->changelog)
		return error_set(e, ERROR_DATA, "%s: a later schema is %s", side_names[side],
			s->changelog ? "a changelog" : "no changelog any more");
	schema_clear(&p->adapt_from[side]);
	schema_copy(&p->adapt_from[side], s);
	p->adapt[side] = program_new();
	for (size_t i = 0; i < first->fields_len; i++) {
		if (add_adapted(p, side, &first->fields[i], e) < 0)
			return -1;
	}
	mem_free(p->adapt_columns[side]);
	p->adapt_columns[side] = mem_zero(first->fields_len * sizeof *p->adapt_columns[side]);
	return 0;
}

int plan_set_schema(struct plan *p, unsigned side, const struct schema *s, struct error *e)
{
	if (p->has[side])
		return set_later_schema(p, side, s, e);
	if (check_time(p, side, s, e) < 0)
		return -1;
	schema_copy(&p->in[side], s);
	schema_copy(&p->rows[side], s);
	p->rows[side].changelog = false;
	schema_set_keys(&p->rows[side], NULL, 0);
	p->has[side] = true;
	return 0;
}

int plan_adapt(
	struct plan *p, unsigned side, const struct batch *b, struct batch *out, struct error *e)
{
	*out = *b;
	out->schema = &p->in[side];
	if (!p->adapt[side])
		return 0;
	out->columns = p->adapt_columns[side];
	return program_run(p->adapt[side], b, p->adapt_columns[side], NULL, e);
}

/* ---- keys ---- */

static int resolve_key(struct plan *p, size_t k, struct error *e)
{
	const char *names[2] = {p->names[k].left, p->names[k].right};
	struct type types[2];

	for (unsigned side = 0; side < 2; side++) {
		int column = schema_require(
			&p->in[side], names[side], strlen(names[side]), side_names[side], e);

		if (column < 0)
			return error_context(e, "-k");
		p->keys[side][k] = column;
		types[side] = p->in[side].fields[column].type;
	}
	if (type_common(types[0], types[1], &p->types[k]))
		return 0;
	error_set(e, ERROR_USAGE, "-k: '%s' is %s, but '%s' is %s", names[0], type_name(types[0]),
		names[1], type_name(types[1]));
	return error_hint(e, "cast one of them in front: smap '*, cast(%s as %s) as %s'",
		p->names[k].right, type_name(types[0]), p->names[k].right);
}

static int compile_casts(struct plan *p, unsigned side, struct error *e)
{
	const struct schema *s = &p->in[side];
	bool same = true;

	for (size_t k = 0; k < p->keys_len; k++)
		same = same && type_equal(s->fields[p->keys[side][k]].type, p->types[k]);
	if (same)
		return 0;
	p->casts[side] = program_new();
	for (size_t k = 0; k < p->keys_len; k++) {
		size_t index;

		if (add_column(p->casts[side], s, p->keys[side][k], p->types[k], &p->arena, &index,
			    e) < 0)
			return error_context(e, "-k");
		MUST(index == k);
	}
	return 0;
}

static int compile_keys(struct plan *p, struct error *e)
{
	p->types = ARENA_ARRAY(&p->arena, struct type, p->keys_len);
	for (unsigned side = 0; side < 2; side++)
		p->keys[side] = ARENA_ARRAY(&p->arena, int, p->keys_len);
	for (size_t k = 0; k < p->keys_len; k++) {
		if (resolve_key(p, k, e) < 0)
			return -1;
	}
	for (unsigned side = 0; side < 2; side++) {
		if (keys_check(&p->in[side], p->keys[side], p->keys_len, e) < 0 ||
			compile_casts(p, side, e) < 0)
			return -1;
	}
	return 0;
}

int plan_find_keys(struct plan *p, unsigned side, const struct batch *b, struct arena *a,
	struct plan_keys *out, struct error *e)
{
	out->columns = ARENA_ARRAY(a, const struct column *, p->keys_len);
	out->hashes = arena_alloc(a, b->rows * sizeof *out->hashes);
	out->has_null = false;
	if (p->casts[side]) {
		struct column *cast = ARENA_ARRAY(a, struct column, p->keys_len);

		if (program_run(p->casts[side], b, cast, NULL, e) < 0)
			return -1;
		for (size_t k = 0; k < p->keys_len; k++)
			out->columns[k] = &cast[k];
	} else {
		for (size_t k = 0; k < p->keys_len; k++)
			out->columns[k] = &b->columns[p->keys[side][k]];
	}
	for (size_t k = 0; k < p->keys_len; k++)
		out->has_null = out->has_null || out->columns[k]->valid;
	keys_hash(out->columns, p->keys_len, b->rows, out->hashes);
	return 0;
}

/* ---- the columns of a pair and of the output ---- */

static bool is_right_key(const struct plan *p, int column)
{
	for (size_t k = 0; k < p->keys_len; k++) {
		if (p->keys[1][k] == column)
			return true;
	}
	return false;
}

static bool is_window_name(const struct plan *p, const char *name)
{
	return p->options->by == JOIN_BY_WINDOW &&
	       (!strcmp(name, "window_start") || !strcmp(name, "window_end"));
}

static void add_pair_column(
	struct plan *p, const char *name, struct type type, struct plan_column from)
{
	int index = schema_add(&p->pair, name, strlen(name), type);

	p->columns[index] = from;
}

static int add_right_column(struct plan *p, int column, struct error *e)
{
	const struct field *f = &p->in[1].fields[column];
	const char *name = f->name;

	if (schema_find(&p->pair, name, strlen(name)) >= 0)
		name = arena_printf(&p->arena, "%s%s", p->options->prefix, name);
	if (schema_find(&p->pair, name, strlen(name)) >= 0)
		return error_set(e, ERROR_USAGE,
			"the output would have two columns '%s'; "
			"give --prefix another text than '%s'",
			name, p->options->prefix);
	add_pair_column(p, name, f->type, (struct plan_column){1, column});
	return 0;
}

static int compile_pair(struct plan *p, struct error *e)
{
	const struct schema *left = &p->in[0], *right = &p->in[1];

	p->columns = ARENA_ARRAY(
		&p->arena, struct plan_column, left->fields_len + right->fields_len + 2);
	for (size_t i = 0; i < left->fields_len; i++) {
		if (!is_window_name(p, left->fields[i].name))
			add_pair_column(p, left->fields[i].name, left->fields[i].type,
				(struct plan_column){0, (int)i});
	}
	for (size_t i = 0; i < right->fields_len; i++) {
		if (is_right_key(p, (int)i) || is_window_name(p, right->fields[i].name))
			continue;
		if (add_right_column(p, (int)i, e) < 0)
			return -1;
	}
	if (p->options->by == JOIN_BY_WINDOW) {
		struct type type = TYPE_OF(TYPE_TIMESTAMP);

		add_pair_column(
			p, "window_start", type, (struct plan_column){0, PLAN_WINDOW_START});
		add_pair_column(p, "window_end", type, (struct plan_column){0, PLAN_WINDOW_END});
	}
	return 0;
}

/* The left key column that stands at a pair's column, -1 if none does. */
static int key_at(const struct plan *p, size_t column)
{
	const struct plan_column *from = &p->columns[column];

	for (size_t k = 0; k < p->keys_len; k++) {
		if (from->side == 0 && from->column == p->keys[0][k])
			return (int)k;
	}
	return -1;
}

static void set_out_time(struct plan *p)
{
	enum join_kind kind = p->options->kind;

	p->out.time_column = -1;
	for (size_t i = 0; i < p->out.fields_len; i++) {
		const struct plan_column *from = &p->columns[p->out_columns[i]];

		if (p->options->by == JOIN_BY_WINDOW) {
			if (from->column == PLAN_WINDOW_END) {
				p->out.time_column = (int)i;
				p->out.time_offset_us = -1;
			}
		} else if (kind != JOIN_RIGHT && kind != JOIN_FULL && from->side == 0 &&
			   (!p->streams || p->options->ttl_us) &&
			   from->column == p->in[0].time_column) {
			p->out.time_column = (int)i;
			p->out.time_offset_us = p->in[0].time_offset_us;
		}
	}
}

/* Whether the output column that shows an input's is there; keys show the left one. */
static int find_out(const struct plan *p, unsigned side, int column)
{
	for (size_t k = 0; side == 1 && k < p->keys_len; k++) {
		if (p->keys[1][k] == column)
			return p->key_outs[k];
	}
	for (size_t i = 0; i < p->out.fields_len; i++) {
		const struct plan_column *from = &p->columns[p->out_columns[i]];

		if (from->side == side && from->column == column)
			return (int)i;
	}
	return -1;
}

static bool is_join_key(const struct plan *p, unsigned side, int column)
{
	for (size_t k = 0; k < p->keys_len; k++) {
		if (p->keys[side][k] == column)
			return true;
	}
	return false;
}

/* Adds a side's key; without one every equal row counts, and the output has none. */
static bool add_out_keys(struct plan *p, unsigned side, int *keys, size_t *n)
{
	const struct schema *in = &p->in[side];

	if (!in->changelog || !in->keys_len)
		return false;
	for (size_t i = 0; i < in->keys_len; i++) {
		int out = find_out(p, side, in->keys[i]);
		bool known = false;

		for (size_t k = 0; k < *n; k++)
			known = known || keys[k] == out;
		if (!known)
			keys[(*n)++] = out;
		if (!is_join_key(p, side, in->keys[i]))
			p->partner_in_key[side] = true;
	}
	return true;
}

/* A full join has no key: a left and a right row that met nobody may show the same. */
static void set_out_keys(struct plan *p)
{
	enum join_kind kind = p->options->kind;
	int *keys = ARENA_ARRAY(&p->arena, int, p->in[0].keys_len + p->in[1].keys_len + 1);
	size_t n = 0;

	p->out.changelog = p->in[0].changelog ||
			   (p->streams && (kind != JOIN_INNER || p->in[1].changelog));
	if (!p->out.changelog || kind == JOIN_FULL || !add_out_keys(p, 0, keys, &n))
		return;
	if (kind == JOIN_SEMI || kind == JOIN_ANTI || add_out_keys(p, 1, keys, &n))
		schema_set_keys(&p->out, keys, n);
	else
		p->partner_in_key[0] = false;
}

static int compile_out(struct plan *p, struct error *e)
{
	enum join_kind kind = p->options->kind;
	bool only_left = kind == JOIN_SEMI || kind == JOIN_ANTI;
	bool widens = kind == JOIN_RIGHT || kind == JOIN_FULL;
	bool widened = false;

	p->out_columns = ARENA_ARRAY(&p->arena, int, p->pair.fields_len);
	p->key_outs = ARENA_ARRAY(&p->arena, int, p->keys_len);
	for (size_t k = 0; k < p->keys_len; k++)
		p->key_outs[k] = -1;
	if (widens)
		p->widen = program_new();
	for (size_t i = 0; i < p->pair.fields_len; i++) {
		const struct field *f = &p->pair.fields[i];
		struct type type = f->type;
		int key = key_at(p, i), out;
		size_t index;

		if (only_left && p->columns[i].side == 1)
			continue;
		if (widens && key >= 0)
			type = p->types[key];
		widened = widened || !type_equal(type, f->type);
		out = schema_add(&p->out, f->name, strlen(f->name), type);
		p->out_columns[out] = (int)i;
		for (size_t k = 0; k < p->keys_len; k++) {
			if (p->columns[i].side == 0 && p->columns[i].column == p->keys[0][k])
				p->key_outs[k] = out;
		}
		if (widens &&
			add_column(p->widen, &p->pair, (int)i, type, &p->arena, &index, e) < 0)
			return -1;
	}
	set_out_time(p);
	set_out_keys(p);
	if (widens && !widened) { /* the usual case: nothing to convert */
		program_free(p->widen);
		p->widen = NULL;
	}
	return 0;
}

static int compile_where(struct plan *p, struct error *e)
{
	struct expr *x;
	size_t index;

	if (!p->options->where)
		return 0;
	if (expr_parse(p->options->where, p->options->where_what ? p->options->where_what : "-w",
		    &p->arena, &x, e) < 0)
		return -1;
	p->where = program_new();
	if (program_add(p->where, x, &p->pair, &index, e) < 0)
		return -1;
	if (program_type(p->where, index).kind == TYPE_BOOL)
		return 0;
	return error_set(e, ERROR_USAGE, "-w: a condition is bool, this is %s",
		type_name(program_type(p->where, index)));
}

int plan_compile(struct plan *p, struct error *e)
{
	MUST(p->has[0] && p->has[1]);
	if (compile_keys(p, e) < 0 || compile_pair(p, e) < 0 || compile_out(p, e) < 0)
		return -1;
	return compile_where(p, e);
}
