/* A program is a list of steps, each of which computes one vector from earlier ones: columns of the
 * input, constants, casts, calls.  Equal steps are one step, so common subexpressions are computed
 * once; steps whose arguments are all constant are run while compiling. */
#include "libcore/expr/kernel.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/suggest.h"

#include <stdio.h>

enum step_kind { STEP_COLUMN, STEP_CONSTANT, STEP_CALL, STEP_CAST, STEP_TRY };

struct step {
	enum step_kind kind;
	const struct expr *expr;    /* for messages; of the arena of whoever parsed: copied text below */
	const char *text;           /* the expression's text */
	struct type type;           /* kind 0: a null without type */
	int column;                 /* COLUMN */
	struct vector constant;     /* CONSTANT */
	const struct function *function; /* CALL */
	kernel_run run;
	void *state;
	void (*free_state)(void *state);
	unsigned flags;
	uint32_t *args;             /* steps */
	size_t args_len;
	struct buf bytes;           /* text results live here until the next run */
	const char *why;
};

struct program {
	struct arena arena;         /* as long as the program */
	struct arena run;           /* of one run */
	struct step *steps;
	size_t steps_len, steps_cap;
	uint32_t *results;          /* steps */
	size_t results_len, results_cap;
	struct vector *vectors;     /* of the present run, per step */
	size_t vectors_cap;
	int64_t now_us;
	struct buf warnings;
};

/* While compiling. */
struct compiling {
	struct program *p;
	const struct schema *schema;
	struct error *e;
	int depth;
};

#define NO_STEP UINT32_MAX

struct program *program_new(void)
{
	struct program *p = mem_zero(sizeof *p);

	p->now_us = INT64_MIN;
	return p;
}

void program_free(struct program *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->steps_len; i++) {
		if (p->steps[i].free_state && p->steps[i].state)
			p->steps[i].free_state(p->steps[i].state);
		buf_clear(&p->steps[i].bytes);
	}
	mem_free(p->steps);
	mem_free(p->results);
	mem_free(p->vectors);
	arena_clear(&p->arena);
	arena_clear(&p->run);
	buf_clear(&p->warnings);
	mem_free(p);
}

struct type program_type(const struct program *p, size_t index)
{
	return p->steps[p->results[index]].type;
}

size_t program_results(const struct program *p)
{
	return p->results_len;
}

const char *program_warnings(const struct program *p)
{
	return p->warnings.len ? (const char *)p->warnings.data : "";
}

void program_set_now(struct program *p, int64_t now_us)
{
	p->now_us = now_us;
}

/* ---- running ---- */

static uint8_t *join_bitmaps(struct arena *a, uint32_t rows, const uint8_t *x, const uint8_t *y,
	bool both)
{
	size_t n = ((size_t)rows + 7) / 8;
	uint8_t *out = arena_alloc(a, n);

	for (size_t i = 0; i < n; i++)
		out[i] = both ? x[i] & y[i] : x[i] | y[i];
	return out;
}

static const uint8_t *all_bits(struct arena *a, uint32_t rows, bool value)
{
	size_t n = ((size_t)rows + 7) / 8;

	return memset(arena_alloc(a, n), value ? 0xff : 0, n);
}

/* Nulls and failures of a strict call's arguments. */
static void join_arguments(struct kernel *k)
{
	struct vector *out = k->out;
	bool spread = false; /* an argument's one row stands for many */

	for (size_t i = 0; i < k->args_len; i++) {
		const struct vector *v = &k->args[i];

		spread = v->constant && k->rows != 1;
		if (v->col.valid && spread && !column_is_valid(&v->col, 0))
			out->col.valid = all_bits(k->arena, k->rows, false);
		else if (v->col.valid && !spread)
			out->col.valid = out->col.valid ? join_bitmaps(k->arena, k->rows,
				out->col.valid, v->col.valid, true) : v->col.valid;
		if (v->failed && spread && vector_has_failed(v, 0))
			out->failed = all_bits(k->arena, k->rows, true);
		else if (v->failed && !spread)
			out->failed = out->failed ? join_bitmaps(k->arena, k->rows, out->failed,
				v->failed, false) : v->failed;
	}
}

/* try(): failures are forgotten; their rows are null already. */
static void run_try(struct kernel *k)
{
	*k->out = k->args[0];
	k->out->failed = NULL;
	k->out->owns_failed = k->out->owns_valid = false;
}

static void run_step(struct program *p, struct step *s, uint32_t rows)
{
	struct vector *out = &p->vectors[s - p->steps];
	struct vector *args = arena_alloc(&p->run, s->args_len * sizeof *args);
	struct kernel k = {.arena = &p->run, .now_us = p->now_us, .state = s->state,
		.text = &s->bytes, .why = &s->why, .args = args, .args_len = s->args_len, .out = out};
	bool constant = true;

	for (size_t i = 0; i < s->args_len; i++) {
		args[i] = p->vectors[s->args[i]];
		constant &= args[i].constant;
	}
	k.rows = constant ? 1 : rows;
	*out = (struct vector){.col = {.type = s->type}, .constant = constant};
	buf_reset(&s->bytes);
	if (s->kind == STEP_TRY) {
		run_try(&k);
		return;
	}
	if (!(s->flags & FUNCTION_OWN_NULLS))
		join_arguments(&k);
	s->run(&k);
}

static void run_steps(struct program *p, const struct batch *in)
{
	MEM_GROW(p->vectors, p->vectors_cap, p->steps_len);
	arena_reset(&p->run);
	for (size_t i = 0; i < p->steps_len; i++) {
		struct step *s = &p->steps[i];

		switch (s->kind) {
		case STEP_COLUMN:
			p->vectors[i] = (struct vector){.col = in->columns[s->column]};
			break;
		case STEP_CONSTANT: p->vectors[i] = s->constant; break;
		case STEP_CALL:
		case STEP_CAST:
		case STEP_TRY: run_step(p, s, in->rows); break;
		}
	}
}

/* One row for all: results are columns like any other. */
static void spread_constant(struct program *p, const struct vector *v, uint32_t rows,
	struct column *out)
{
	uint32_t *pick = ARENA_ARRAY(&p->run, uint32_t, rows);

	column_gather(&v->col, pick, rows, &p->run, out);
}

/* The step that failed first on the way to this one's failure in the row. */
static const struct step *culprit(const struct program *p, uint32_t step, uint32_t row)
{
	const struct step *s = &p->steps[step];

	for (size_t i = 0; i < s->args_len; i++) {
		if (vector_has_failed(&p->vectors[s->args[i]], row))
			return culprit(p, s->args[i], row);
	}
	return s;
}

static void describe_failure(const struct program *p, const struct batch *in, uint32_t step,
	uint32_t row, struct error *e)
{
	const struct step *s = culprit(p, step, row);
	struct buf shown = BUF_INIT;

	batch_put_row(in, row, &shown);
	error_set(e, ERROR_DATA, "%s in %s\nfor the row %s", s->why ? s->why : "a value failed",
		s->text, buf_cstr(&shown));
	buf_clear(&shown);
}

static uint32_t first_failed(const struct vector *v, uint32_t rows)
{
	if (!v->failed)
		return rows;
	for (uint32_t r = 0; r < rows; r++) {
		if (vector_has_failed(v, r))
			return r;
	}
	return rows;
}

int program_run(struct program *p, const struct batch *in, struct column *results, uint8_t *failed,
	struct error *e)
{
	size_t bitmap = ((size_t)in->rows + 7) / 8;
	uint32_t first = in->rows, step = 0;

	if (failed)
		memset(failed, 0, bitmap);
	if (!in->rows) {
		for (size_t i = 0; i < p->results_len; i++)
			results[i] = (struct column){.type = program_type(p, i),
				.offsets = ARENA_ARRAY(&p->run, uint32_t, 1)};
		return 0;
	}
	for (size_t i = 0; i < p->steps_len; i++)
		p->steps[i].why = NULL;
	run_steps(p, in);
	for (size_t i = 0; i < p->results_len; i++) {
		const struct vector *v = &p->vectors[p->results[i]];
		uint32_t row = first_failed(v, in->rows);

		if (row < first) {
			first = row;
			step = p->results[i];
		}
		for (uint32_t r = row; failed && r < in->rows; r++)
			failed[r >> 3] |= (uint8_t)(vector_has_failed(v, r) << (r & 7));
		if (v->constant)
			spread_constant(p, v, in->rows, &results[i]);
		else
			results[i] = v->col;
	}
	if (first == in->rows)
		return 0;
	describe_failure(p, in, step, first, e);
	return failed ? 0 : -1;
}

int program_filter(struct program *p, const struct batch *in, uint32_t *pick, uint32_t *picked,
	uint8_t *failed, struct error *e)
{
	struct column result;
	const uint8_t *truth;
	uint32_t n = 0;

	MUST(p->results_len == 1 && program_type(p, 0).kind == TYPE_BOOL);
	*picked = 0;
	if (program_run(p, in, &result, failed, e) < 0)
		return -1;
	truth = result.data;
	if (!in->rows)
		return 0;
	if (!result.valid) {
		for (uint32_t r = 0; r < in->rows; r++) {
			pick[n] = r;
			n += truth[r];
		}
	} else {
		for (uint32_t r = 0; r < in->rows; r++) {
			pick[n] = r;
			n += truth[r] & (result.valid[r >> 3] >> (r & 7) & 1);
		}
	}
	*picked = n;
	return 0;
}

/* ---- compiling ---- */

static uint32_t compile(struct compiling *c, const struct expr *x);

static bool same_constant(const struct step *a, const struct step *b)
{
	const struct column *x = &a->constant.col, *y = &b->constant.col;
	size_t width = a->type.kind ? type_width(a->type) : 0;

	if (column_is_valid(x, 0) != column_is_valid(y, 0))
		return false;
	if (!column_is_valid(x, 0))
		return true;
	if (width)
		return !memcmp(x->data, y->data, width);
	return x->offsets[1] == y->offsets[1] && !memcmp(x->bytes, y->bytes, x->offsets[1]);
}

static bool same_step(const struct step *a, const struct step *b)
{
	if (a->kind != b->kind || !type_equal(a->type, b->type) || a->column != b->column ||
		a->function != b->function || a->run != b->run || a->args_len != b->args_len ||
		(a->flags & FUNCTION_IMPURE))
		return false;
	if (a->kind == STEP_CONSTANT && !same_constant(a, b))
		return false;
	return !a->args_len || !memcmp(a->args, b->args, a->args_len * sizeof *a->args);
}

/* The step, or the equal one that is there already. */
static uint32_t add_step(struct compiling *c, struct step *s)
{
	struct program *p = c->p;

	for (size_t i = 0; i < p->steps_len; i++) {
		if (same_step(&p->steps[i], s)) {
			if (s->free_state && s->state)
				s->free_state(s->state);
			return (uint32_t)i;
		}
	}
	MEM_GROW(p->steps, p->steps_cap, p->steps_len + 1);
	p->steps[p->steps_len] = *s;
	return (uint32_t)p->steps_len++;
}

static const char *step_text(struct compiling *c, const struct expr *x)
{
	uint32_t len = x->end > x->at ? x->end - x->at : 0;

	return arena_printf(&c->p->arena, "'%.*s'%s", (int)(len > 80 ? 80 : len), x->source + x->at,
		len > 80 ? "..." : "");
}

static uint32_t compile_failed(struct compiling *c, const struct expr *x)
{
	struct source_place place = {x->what, x->source, x->at};

	source_context(&place, c->e);
	return NO_STEP;
}

static uint32_t add_constant(struct compiling *c, const struct expr *x, struct type t,
	const void *value, size_t len)
{
	struct step s = {.kind = STEP_CONSTANT, .expr = x, .type = t, .column = -1};
	struct column *col = &s.constant.col;
	static const uint8_t no_bits[1];

	s.text = step_text(c, x);
	s.constant.constant = true;
	col->type = t;
	if (!t.kind || !value) {
		col->valid = no_bits;
		value = NULL;
	}
	if (!t.kind || !type_is_text(t)) {
		col->data = arena_zero(&c->p->arena, 16);
		if (value)
			memcpy((void *)(uintptr_t)col->data, value, type_width(t));
	} else {
		uint32_t *offsets = ARENA_ARRAY(&c->p->arena, uint32_t, 2);

		col->offsets = offsets;
		col->bytes = (const uint8_t *)"";
		if (value) {
			offsets[1] = (uint32_t)len;
			col->bytes = (const uint8_t *)arena_strndup(&c->p->arena, value, len);
		}
	}
	return add_step(c, &s);
}

static uint32_t compile_literal(struct compiling *c, const struct expr *x)
{
	uint8_t truth = x->integer != 0;
	int32_t days = (int32_t)x->integer;

	if (x->months) {
		expr_error(x, c->e, "months and years have no fixed length: "
			"they can only be added to a timestamp or a date");
		return NO_STEP;
	}
	switch (x->type.kind) {
	case 0: return add_constant(c, x, x->type, NULL, 0);
	case TYPE_BOOL: return add_constant(c, x, x->type, &truth, 1);
	case TYPE_DATE: return add_constant(c, x, x->type, &days, 4);
	case TYPE_FLOAT: return add_constant(c, x, x->type, &x->real, 8);
	case TYPE_STRING: return add_constant(c, x, x->type, x->text, x->text_len);
	default: return add_constant(c, x, x->type, &x->integer, 8);
	}
}

static uint32_t add_column(struct compiling *c, int column, const struct expr *x)
{
	struct step s = {.kind = STEP_COLUMN, .expr = x, .column = column,
		.type = c->schema->fields[column].type};

	if (x)
		s.text = step_text(c, x);
	return add_step(c, &s);
}

static uint32_t compile_column(struct compiling *c, const struct expr *x)
{
	int column = schema_require(c->schema, x->name, strlen(x->name), "the input", c->e);

	if (column < 0 && x->quoted)
		error_hint(c->e, "\"...\" is a name; a text is written '%s'", x->name);
	return column < 0 ? compile_failed(c, x) : add_column(c, column, x);
}

/* Computes now what will never change. */
static uint32_t fold(struct compiling *c, uint32_t step)
{
	struct program *p = c->p;
	struct step *s = &p->steps[step];
	struct column kept;
	uint32_t zero = 0;

	if (s->kind == STEP_COLUMN || s->kind == STEP_CONSTANT || (s->flags & FUNCTION_IMPURE))
		return step;
	for (size_t i = 0; i < s->args_len; i++) {
		if (p->steps[s->args[i]].kind != STEP_CONSTANT)
			return step;
	}
	MEM_GROW(p->vectors, p->vectors_cap, p->steps_len);
	arena_reset(&p->run);
	for (size_t i = 0; i < s->args_len; i++)
		p->vectors[s->args[i]] = p->steps[s->args[i]].constant;
	s->why = NULL;
	run_step(p, s, 1);
	if (vector_has_failed(&p->vectors[step], 0))
		return step; /* fails when a row gets there, if one does */
	column_gather(&p->vectors[step].col, &zero, 1, &p->arena, &kept);
	s->kind = STEP_CONSTANT;
	s->constant = (struct vector){.col = kept, .constant = true};
	if (s->free_state && s->state)
		s->free_state(s->state);
	s->state = NULL;
	s->free_state = NULL;
	s->function = NULL;
	s->run = NULL;
	s->args = NULL;
	s->args_len = 0;
	return step;
}

static uint32_t add_cast(struct compiling *c, uint32_t arg, struct type to, const struct expr *x)
{
	struct step s = {.kind = STEP_CAST, .expr = x, .column = -1, .type = to, .run = cast_run};
	const struct step *from = &c->p->steps[arg];

	if (type_equal(from->type, to))
		return arg;
	if (!from->type.kind)
		return add_constant(c, x, to, NULL, 0);
	if (!cast_exists(from->type, to)) {
		error_set(c->e, ERROR_USAGE, "%s can't be cast to %s", type_name(from->type),
			type_name(to));
		return compile_failed(c, x);
	}
	s.text = step_text(c, x);
	s.args = ARENA_ARRAY(&c->p->arena, uint32_t, 1);
	s.args[0] = arg;
	s.args_len = 1;
	return fold(c, add_step(c, &s));
}

static uint32_t add_try(struct compiling *c, uint32_t arg, const struct expr *x)
{
	struct step s = {.kind = STEP_TRY, .expr = x, .column = -1, .type = c->p->steps[arg].type,
		.text = step_text(c, x)};

	s.args = ARENA_ARRAY(&c->p->arena, uint32_t, 1);
	s.args[0] = arg;
	s.args_len = 1;
	return add_step(c, &s);
}

/* A literal that a value of another type stands beside is read as that type, as in SQL: a string as
 * a timestamp, 1.5 as the exact decimal. */
static uint32_t cast_literal(struct compiling *c, const struct expr *x, struct type to)
{
	struct expr text = *x;
	uint32_t step;

	if (x->kind != NODE_LITERAL || !x->text || x->type.kind != TYPE_FLOAT ||
		to.kind != TYPE_DECIMAL)
		return NO_STEP;
	text.type = TYPE_OF(TYPE_STRING);
	step = compile_literal(c, &text);
	return step == NO_STEP ? NO_STEP : add_cast(c, step, to, x);
}

static uint32_t compile_cast(struct compiling *c, const struct expr *x)
{
	uint32_t arg = compile(c, x->args[0]), step;

	if (arg == NO_STEP)
		return NO_STEP;
	step = cast_literal(c, x->args[0], x->type);
	if (step == NO_STEP)
		step = add_cast(c, arg, x->type, x);
	if (step == NO_STEP || strcmp(x->name, "try_cast") != 0)
		return step;
	return add_try(c, step, x);
}

/* ---- calls ---- */

static const struct function *const tables[] = {functions_operators, functions_compare,
	functions_logic, functions_math, functions_text, functions_search, functions_time, functions_zone, functions_any,
	functions_regex, functions_strftime, functions_hash,
	functions_format};

enum { TABLES = sizeof tables / sizeof *tables };

void function_each(void (*visit)(const struct function *f, void *context), void *context)
{
	for (size_t t = 0; t < TABLES; t++) {
		for (const struct function *f = tables[t]; f->name; f++)
			visit(f, context);
	}
}

static bool letter_type(char letter, struct type *out)
{
	static const char letters[] = "bifndtusya";
	static const uint8_t kinds[] = {TYPE_BOOL, TYPE_INT, TYPE_FLOAT, TYPE_DECIMAL, TYPE_DATE,
		TYPE_TIMESTAMP, TYPE_DURATION, TYPE_STRING, TYPE_BYTES, TYPE_ANY};
	const char *at = strchr(letters, letter);

	if (!at || !letter)
		return false;
	*out = TYPE_OF(kinds[at - letters]);
	return true;
}

/* The letter for argument i, 0 if there are too many. */
static char signature_letter(const char *signature, size_t i)
{
	size_t len = strlen(signature);

	if (len && signature[len - 1] == '*')
		return signature[i < len - 2 ? i : len - 2];
	return i < len ? signature[i] : '\0';
}

static bool signature_counts(const char *signature, size_t args)
{
	size_t len = strlen(signature);

	if (len && signature[len - 1] == '*')
		return args >= len - 1;
	return args == len;
}

static bool implicit_cast(struct type from, bool literal, char letter)
{
	switch (letter) {
	case '?': return true;
	case 'f': return from.kind == TYPE_INT || from.kind == TYPE_DECIMAL || literal;
	case 'n': return from.kind == TYPE_INT;
	case 't': return from.kind == TYPE_DATE || literal;
	case 'a': return false;
	default: return literal;
	}
}

static bool argument_matches(const struct resolving *r, size_t i, char letter, bool exact)
{
	const struct expr *x = r->call->args[i];
	struct type wanted, is = r->args[i];
	bool literal;

	if (letter == '?' || !is.kind)
		return true;
	if (!letter_type(letter, &wanted))
		return false;
	if (wanted.kind == is.kind)
		return true;
	literal = expr_is_string_literal(x) && letter != 's' && letter != 'y' && letter != 'a';
	return !exact && implicit_cast(is, literal, letter);
}

static bool signature_matches(const struct resolving *r, bool exact)
{
	const char *signature = r->function->signature;

	if (!signature_counts(signature, r->args_len))
		return false;
	for (size_t i = 0; i < r->args_len; i++) {
		if (!argument_matches(r, i, signature_letter(signature, i), exact))
			return false;
	}
	return true;
}

static void apply_signature(struct resolving *r)
{
	const struct function *f = r->function;

	for (size_t i = 0; i < r->args_len; i++) {
		char letter = signature_letter(f->signature, i);
		struct type wanted;

		if (letter == '?' || !letter_type(letter, &wanted) || wanted.kind == r->args[i].kind)
			continue;
		if (wanted.kind == TYPE_DECIMAL)
			wanted = (struct type){TYPE_DECIMAL, 19, 0};
		r->args[i] = wanted;
	}
	if (f->result == '=')
		r->result = r->args[0];
	else
		letter_type(f->result, &r->result);
	r->run = f->run;
}

static bool takes_count(const struct function *f, size_t n)
{
	if (f->signature)
		return signature_counts(f->signature, n);
	return n >= f->args_min && (f->args_max == 255 || n <= f->args_max);
}

/* The overload for the types: exact ones first. */
static const struct function *find_overload(struct resolving *r)
{
	for (int exact = 1; exact >= 0; exact--) {
		for (size_t t = 0; t < TABLES; t++) {
			for (const struct function *f = tables[t]; f->name; f++) {
				if (strcmp(f->name, r->call->name) != 0)
					continue;
				r->function = f;
				if (f->signature ? signature_matches(r, exact) :
					takes_count(f, r->args_len))
					return f;
			}
		}
	}
	return NULL;
}

struct names {
	const char *wanted;
	const char *all[1024];
	size_t len;
	bool known;
	struct buf shapes;
};

static const char *letter_name(char letter)
{
	struct type t;

	if (letter == 'n')
		return "decimal";
	return letter_type(letter, &t) ? type_name(t) : "any type";
}

static void put_shape(const struct function *f, struct buf *b)
{
	if (b->len > 400)
		return;
	buf_printf(b, "%s%s(", b->len ? ", " : "", f->name);
	for (size_t i = 0; f->signature && f->signature[i]; i++) {
		if (f->signature[i] == '*')
			buf_put_text(b, ", ...");
		else
			buf_printf(b, "%s%s", i ? ", " : "", letter_name(f->signature[i]));
	}
	buf_put_text(b, f->signature ? ")" : "...)");
}

static void collect_name(const struct function *f, void *context)
{
	struct names *n = context;

	if (n->len < sizeof n->all / sizeof *n->all)
		n->all[n->len++] = f->name;
	if (strcmp(f->name, n->wanted) != 0)
		return;
	n->known = true;
	put_shape(f, &n->shapes);
}

static uint32_t no_function(struct compiling *c, const struct resolving *r)
{
	const struct expr *x = r->call;
	struct names names = {.wanted = x->name};
	const char *const *aggregates;
	size_t aggregates_len = expr_aggregate_names(&aggregates);
	struct buf types = BUF_INIT;
	int near;

	function_each(collect_name, &names);
	for (size_t i = 0; i < aggregates_len && names.len < sizeof names.all / sizeof *names.all; i++)
		names.all[names.len++] = aggregates[i];
	for (size_t i = 0; i < r->args_len; i++)
		buf_printf(&types, "%s%s", i ? ", " : "",
			r->args[i].kind ? type_name(r->args[i]) : "null");
	near = suggest(x->name, strlen(x->name), names.all, names.len);
	if (expr_is_aggregate_name(x->name, strlen(x->name)) && !names.known) {
		expr_error(x, c->e, "%s() is an aggregate: it belongs into swindow's list", x->name);
	} else if (expr_is_order_name(x->name, strlen(x->name))) {
		expr_error(x, c->e, "%s() needs rows in an order: swindow --over", x->name);
	} else if (names.known) {
		expr_error(x, c->e, "%s does not take (%s)", x->name, buf_cstr(&types));
		error_hint(c->e, "it takes: %s", buf_cstr(&names.shapes));
	} else {
		expr_error(x, c->e, "unknown function %s()", x->name);
		if (near >= 0)
			error_hint(c->e, "did you mean %s()?", names.all[near]);
		else
			error_hint(c->e, "man runnel-expr lists the functions");
	}
	buf_clear(&types);
	buf_clear(&names.shapes);
	return NO_STEP;
}

/* Arguments as the call wants them: cast, or a literal read as that type. */
static bool cast_arguments(struct compiling *c, const struct resolving *r, uint32_t *args)
{
	for (size_t i = 0; i < r->args_len; i++) {
		uint32_t literal;

		if (!r->args[i].kind || type_equal(c->p->steps[args[i]].type, r->args[i]))
			continue;
		literal = cast_literal(c, r->call->args[i], r->args[i]);
		args[i] = literal != NO_STEP ? literal :
			add_cast(c, args[i], r->args[i], r->call->args[i]);
		if (args[i] == NO_STEP)
			return false;
	}
	return true;
}

static uint32_t finish_call(struct compiling *c, struct resolving *r, uint32_t *args)
{
	const struct expr *x = r->call;
	struct step s = {.kind = STEP_CALL, .expr = x, .column = -1};

	if (r->function->signature)
		apply_signature(r);
	if (r->function->resolve && r->function->resolve(r, c->e) < 0)
		return compile_failed(c, x);
	if (!cast_arguments(c, r, args)) {
		if (r->free_state && r->state)
			r->free_state(r->state);
		return NO_STEP;
	}
	s.text = step_text(c, x);
	s.type = r->result;
	s.function = r->function;
	s.run = r->run;
	s.state = r->state;
	s.free_state = r->free_state;
	s.flags = r->function->flags;
	s.args = args;
	s.args_len = r->args_len;
	return fold(c, add_step(c, &s));
}

static void check_integer_division(struct compiling *c, const struct resolving *r)
{
	const char *name = r->call->args_len == 2 ? r->call->args[0]->name : NULL;

	/* Columns "#i" are aggregates: sum(a) / count(*) hardly means to lose the rest. */
	if (strcmp(r->call->name, "/") != 0 || r->result.kind != TYPE_INT || c->p->warnings.len ||
		r->call->args[0]->kind != NODE_COLUMN || !name || name[0] != '#')
		return;
	buf_printf(&c->p->warnings,
		"int / int is integer division; for a fraction write 1.0 * a / b");
	buf_cstr(&c->p->warnings);
}

static uint32_t compile_call(struct compiling *c, const struct expr *x)
{
	struct resolving r = {.call = x, .arena = &c->p->arena, .args_len = x->args_len};
	uint32_t *args = ARENA_ARRAY(&c->p->arena, uint32_t, x->args_len);
	const struct vector **constants = ARENA_ARRAY(&c->p->arena, const struct vector *,
		x->args_len), *kept;
	uint32_t step;

	if (x->distinct || x->star || x->filter) {
		expr_error(x, c->e, "%s with distinct, * or filter is an aggregate: "
			"it belongs into swindow's list", x->name);
		return NO_STEP;
	}
	r.args = ARENA_ARRAY(&c->p->arena, struct type, x->args_len);
	for (size_t i = 0; i < x->args_len; i++) {
		args[i] = compile(c, x->args[i]);
		if (args[i] == NO_STEP)
			return NO_STEP;
		r.args[i] = c->p->steps[args[i]].type;
		if (c->p->steps[args[i]].kind != STEP_CONSTANT)
			continue;
		/* Steps move when the list grows: a copy stays. */
		struct vector *copy = ARENA_NEW(&c->p->arena, struct vector);

		*copy = c->p->steps[args[i]].constant;
		kept = copy;
		constants[i] = kept;
	}
	r.constants = constants;
	if (!strcmp(x->name, "try") && x->args_len == 1)
		return add_try(c, args[0], x);
	if (!find_overload(&r))
		return no_function(c, &r);
	step = finish_call(c, &r, args);
	if (step != NO_STEP)
		check_integer_division(c, &r);
	return step;
}

/* a.b: a column of that name where a is none, else a path into any. */
static uint32_t compile_field(struct compiling *c, const struct expr *x)
{
	struct expr key = *x, path = *x;
	struct expr *args[2];
	int column = expr_column(x, c->schema);

	if (column >= 0)
		return add_column(c, column, x);

	key.kind = NODE_LITERAL;
	key.type = TYPE_OF(TYPE_STRING);
	key.text = x->name;
	key.text_len = strlen(x->name);
	key.args_len = 0;
	args[0] = x->args[0];
	args[1] = &key;
	path.kind = NODE_CALL;
	path.name = "[]";
	path.args = args;
	path.args_len = 2;
	return compile_call(c, &path);
}

static uint32_t compile(struct compiling *c, const struct expr *x)
{
	uint32_t step = NO_STEP;

	if (++c->depth > 4 * EXPR_DEPTH_MAX) {
		expr_error(x, c->e, "nested too deeply");
		return NO_STEP;
	}
	switch (x->kind) {
	case NODE_LITERAL: step = compile_literal(c, x); break;
	case NODE_COLUMN: step = compile_column(c, x); break;
	case NODE_FIELD: step = compile_field(c, x); break;
	case NODE_CALL: step = compile_call(c, x); break;
	case NODE_CAST: step = compile_cast(c, x); break;
	}
	c->depth--;
	return step;
}

static void add_result(struct program *p, uint32_t step, size_t *index)
{
	MEM_GROW(p->results, p->results_cap, p->results_len + 1);
	p->results[p->results_len] = step;
	*index = p->results_len++;
}

int program_add(struct program *p, const struct expr *x, const struct schema *s, size_t *index,
	struct error *e)
{
	struct compiling c = {.p = p, .schema = s, .e = e};
	uint32_t step = compile(&c, x);

	if (step == NO_STEP)
		return -1;
	if (!p->steps[step].type.kind) /* null alone: a string that is never there */
		step = add_cast(&c, step, TYPE_OF(TYPE_STRING), x);
	add_result(p, step, index);
	return 0;
}

int program_add_as(struct program *p, const struct expr *x, const struct schema *s, struct type t,
	size_t *index, struct error *e)
{
	struct compiling c = {.p = p, .schema = s, .e = e};
	uint32_t step = compile(&c, x);

	if (step != NO_STEP)
		step = add_cast(&c, step, t, x);
	if (step == NO_STEP)
		return -1;
	add_result(p, step, index);
	return 0;
}

size_t program_add_column(struct program *p, int column, const struct schema *s)
{
	struct compiling c = {.p = p, .schema = s};
	size_t index;

	add_result(p, add_column(&c, column, NULL), &index);
	return index;
}
