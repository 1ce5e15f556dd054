#include "cmd/smerge/merge.h"

#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/expr/expr.h"
#include "libcore/stage/description.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES_MAX = 160 };

struct input {
	struct schema schema; /* as last announced */
	bool known;
	int *from; /* the input's column of every output column */
	bool same; /* those are its columns as they stand */
	struct program
		*casts; /* all columns, in the output's order and types; NULL: none differs */
	struct column *columns; /* of the output */
};

struct merge {
	struct operator op;
	struct merge_options o;
	struct input inputs[DESCRIPTION_INPUTS_MAX];
	struct schema out;
	bool planned; /* the output's columns stand */
	bool declared;
	struct arena texts; /* of casts */
	struct arena arena; /* of one batch */
};

static struct merge *merge_of(struct operator* op)
{
	return (struct merge *)op;
}

static const char *input_name(struct merge *m, unsigned input, char out[NAME_BYTES_MAX])
{
	const char *name = m->o.names ? m->o.names[input] : NULL;

	if (name)
		return name;
	if (input)
		snprintf(out, NAME_BYTES_MAX, "argument %u (%s)", input,
			stage_input_from(m->op.stage, input));
	else
		snprintf(out, NAME_BYTES_MAX, "the stage in front (%s)",
			stage_input_from(m->op.stage, input));
	return out;
}

/* ---- the columns of all ---- */

static int refuse_column(
	struct merge *m, const char *column, unsigned has, unsigned lacks, struct error *e)
{
	char a[NAME_BYTES_MAX], b[NAME_BYTES_MAX];

	error_set(e, ERROR_USAGE, "%s has a column '%s', which %s lacks", input_name(m, has, a),
		column, input_name(m, lacks, b));
	return error_hint(e, "streams that are merged have the same columns: choose those that all"
			     " have, smap 'a, b', or add one, smap '*, null::int as c'");
}

static int check_columns(struct merge *m, unsigned first, unsigned input, struct error *e)
{
	const struct schema *a = &m->inputs[first].schema, *b = &m->inputs[input].schema;

	for (size_t i = 0; i < a->fields_len; i++) {
		if (schema_find(b, a->fields[i].name, strlen(a->fields[i].name)) < 0)
			return refuse_column(m, a->fields[i].name, first, input, e);
	}
	for (size_t i = 0; i < b->fields_len; i++) {
		if (schema_find(a, b->fields[i].name, strlen(b->fields[i].name)) < 0)
			return refuse_column(m, b->fields[i].name, input, first, e);
	}
	return 0;
}

static int widen_column(
	struct merge *m, unsigned first, unsigned input, size_t column, struct error *e)
{
	struct field *f = &m->out.fields[column];
	const struct schema *s = &m->inputs[input].schema;
	struct type type = s->fields[schema_find(s, f->name, strlen(f->name))].type, common;
	char a[NAME_BYTES_MAX], b[NAME_BYTES_MAX];

	if (type_common(f->type, type, &common)) {
		f->type = common;
		return 0;
	}
	error_set(e, ERROR_USAGE, "the column '%s' is %s in %s and %s in %s", f->name,
		type_name(f->type), input_name(m, first, a), type_name(type),
		input_name(m, input, b));
	return error_hint(e, "cast one of them in front: smap '*, cast(%s as %s) as %s'", f->name,
		type_name(f->type), f->name);
}

static const char *time_name(const struct schema *s)
{
	return s->time_column < 0 ? NULL : s->fields[s->time_column].name;
}

static int check_time(struct merge *m, unsigned first, unsigned input, struct error *e)
{
	const struct schema *x = &m->inputs[first].schema, *y = &m->inputs[input].schema;
	const char *tx = time_name(x), *ty = time_name(y);
	char a[NAME_BYTES_MAX], b[NAME_BYTES_MAX];

	if (!tx && !ty)
		return 0;
	if (!tx || !ty) {
		error_set(e, ERROR_USAGE, "%s has the event time '%s', and %s has none",
			input_name(m, tx ? first : input, a), tx ? tx : ty,
			input_name(m, tx ? input : first, b));
		return error_hint(e, "give its source -t %s, or, behind it, smap --assign-time %s",
			tx ? tx : ty, tx ? tx : ty);
	}
	if (!strcmp(tx, ty) && x->time_offset_us == y->time_offset_us)
		return 0;
	if (!strcmp(tx, ty))
		error_set(e, ERROR_USAGE,
			"'%s' is the end of a window in one of %s and %s, and a"
			" row's own time in the other",
			tx, input_name(m, first, a), input_name(m, input, b));
	else
		error_set(e, ERROR_USAGE, "the event time of %s is '%s', that of %s is '%s'",
			input_name(m, first, a), tx, input_name(m, input, b), ty);
	return error_hint(e, "streams that are merged have one event time: smap --assign-time"
			     " COLUMN in front of one of them");
}

/* The output's columns, from those of all inputs that are known. */
static int plan_output(struct merge *m, struct error *e)
{
	unsigned first = 0;

	while (!m->inputs[first].known)
		first++;
	schema_copy(&m->out, &m->inputs[first].schema);
	schema_set_keys(&m->out, NULL, 0);
	for (unsigned i = first + 1; i < m->o.inputs; i++) {
		if (!m->inputs[i].known)
			continue;
		if (check_columns(m, first, i, e) < 0 || check_time(m, first, i, e) < 0)
			return -1;
		for (size_t c = 0; c < m->out.fields_len; c++) {
			if (widen_column(m, first, i, c, e) < 0)
				return -1;
		}
		m->out.changelog |= m->inputs[i].schema.changelog;
	}
	m->planned = true;
	return 0;
}

/* ---- an input's way into them ---- */

static int refuse_later(struct merge *m, unsigned input, const char *what, struct error *e)
{
	struct buf out = BUF_INIT;
	char name[NAME_BYTES_MAX];

	schema_put(&m->out, &out);
	error_set(e, ERROR_DATA, "%s: %s; the merged stream has begun with: %s",
		input_name(m, input, name), what, buf_cstr(&out));
	buf_clear(&out);
	return -1;
}

static bool same_time(const struct schema *a, const struct schema *b)
{
	const char *x = time_name(a), *y = time_name(b);

	return x && y ? !strcmp(x, y) && a->time_offset_us == b->time_offset_us : !x && !y;
}

/* Once rows have gone out, or were in a snapshot, what comes has to fit them. */
static int check_fits(struct merge *m, unsigned input, struct error *e)
{
	const struct schema *s = &m->inputs[input].schema;

	if (s->fields_len != m->out.fields_len)
		return refuse_later(m, input, "other columns", e);
	if (!same_time(s, &m->out))
		return refuse_later(m, input, "another event time", e);
	if (s->changelog && !m->out.changelog)
		return refuse_later(m, input, "a changelog", e);
	for (size_t i = 0; i < m->out.fields_len; i++) {
		const struct field *f = &m->out.fields[i];
		int column = schema_find(s, f->name, strlen(f->name));
		struct type common;

		if (column < 0)
			return refuse_later(m, input, "other columns", e);
		if (!type_common(f->type, s->fields[column].type, &common) ||
			!type_equal(common, f->type))
			return refuse_later(m, input, "a column of another type", e);
	}
	return 0;
}

static int add_column(struct merge *m, struct input *in, size_t column, struct error *e)
{
	const struct schema *s = &in->schema;
	struct buf name = BUF_INIT;
	struct expr *x;
	size_t index;
	int status;

	if (type_equal(s->fields[in->from[column]].type, m->out.fields[column].type)) {
		program_add_column(in->casts, in->from[column], s);
		return 0;
	}
	schema_put_name(m->out.fields[column].name, &name);
	status = expr_parse(buf_cstr(&name), "a column", &m->texts, &x, e);
	if (status == 0)
		status = program_add_as(in->casts, x, s, m->out.fields[column].type, &index, e);
	buf_clear(&name);
	return status;
}

static void forget_way(struct input *in)
{
	mem_free(in->from);
	mem_free(in->columns);
	program_free(in->casts);
	in->from = NULL;
	in->columns = NULL;
	in->casts = NULL;
}

static int find_way(struct merge *m, unsigned input, struct error *e)
{
	struct input *in = &m->inputs[input];
	bool differs = false;

	if (check_fits(m, input, e) < 0)
		return -1;
	forget_way(in);
	in->from = mem_zero(m->out.fields_len * sizeof *in->from);
	in->columns = mem_zero(m->out.fields_len * sizeof *in->columns);
	in->same = true;
	for (size_t i = 0; i < m->out.fields_len; i++) {
		const struct field *f = &m->out.fields[i];

		in->from[i] = schema_find(&in->schema, f->name, strlen(f->name));
		in->same &= in->from[i] == (int)i;
		differs |= !type_equal(in->schema.fields[in->from[i]].type, f->type);
	}
	if (!differs)
		return 0;
	in->casts = program_new();
	for (size_t i = 0; i < m->out.fields_len; i++) {
		if (add_column(m, in, i, e) < 0)
			return -1;
	}
	return 0;
}

static bool all_known(const struct merge *m)
{
	for (unsigned i = 0; i < m->o.inputs; i++) {
		if (!m->inputs[i].known && !stage_input_has_ended(m->op.stage, i))
			return false;
	}
	return true;
}

/* From now on rows may go out. */
static int begin(struct merge *m, struct error *e)
{
	if (m->declared)
		return 0;
	if (!m->planned && plan_output(m, e) < 0)
		return -1;
	for (unsigned i = 0; i < m->o.inputs; i++) {
		if (m->inputs[i].known && find_way(m, i, e) < 0)
			return -1;
	}
	m->declared = true;
	return stage_declare(m->op.stage, 0, &m->out, e);
}

/* ---- the operator ---- */

static int merge_schema(
	struct operator* op, unsigned input, const struct schema *s, struct error *e)
{
	struct merge *m = merge_of(op);
	struct input *in = &m->inputs[input];

	schema_clear(&in->schema);
	schema_copy(&in->schema, s);
	in->known = true;
	if (m->declared)
		return find_way(m, input, e);
	return m->planned || all_known(m) ? begin(m, e) : 0;
}

/* One that had no columns to tell was the last that was waited for. */
static int merge_input_end(struct operator* op, unsigned input, struct error *e)
{
	struct merge *m = merge_of(op);
	bool any = false;

	for (unsigned i = 0; i < m->o.inputs; i++)
		any |= m->inputs[i].known;
	return any && all_known(m) ? begin(m, e) : 0;
}

static int merge_batch(struct operator* op, unsigned input, const struct batch *b, struct error *e)
{
	struct merge *m = merge_of(op);
	struct input *in = &m->inputs[input];
	struct batch out = *b;

	/* A barrier lets rows through before all columns are known: those that are count. */
	if (begin(m, e) < 0)
		return -1;
	arena_reset(&m->arena);
	out.schema = &m->out;
	if (in->casts) {
		if (program_run(in->casts, b, in->columns, NULL, e) < 0)
			return -1;
		out.columns = in->columns;
	} else if (!in->same) {
		for (size_t i = 0; i < m->out.fields_len; i++)
			in->columns[i] = b->columns[in->from[i]];
		out.columns = in->columns;
	}
	if (m->out.changelog && !b->ops) {
		uint8_t *ops = arena_alloc(&m->arena, b->rows);

		memset(ops, ROW_INSERT, b->rows);
		out.ops = ops;
	}
	return stage_emit(op->stage, 0, &out, e);
}

/* ---- state: the output's columns, so that they are the same after a restart ---- */

static const char section[] = "columns";

static int merge_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct merge *m = merge_of(op);
	struct schema named;
	int status;

	if (!m->planned)
		return 0;
	schema_init(&named);
	schema_copy(&named, &m->out);
	schema_set_name(&named, section);
	status = snapshot_section(w, &named, e);
	schema_clear(&named);
	return status;
}

static int merge_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	struct merge *m = merge_of(op);
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (strcmp(b->schema->name, section) != 0)
			return error_set(e, ERROR_STATE, "unknown section %s", b->schema->name);
		if (m->planned)
			continue;
		schema_copy(&m->out, b->schema);
		schema_set_name(&m->out, NULL);
		m->planned = true;
	}
	return status < 0 ? -1 : 0;
}

static void merge_free(struct operator* op)
{
	struct merge *m = merge_of(op);

	for (unsigned i = 0; i < m->o.inputs; i++) {
		forget_way(&m->inputs[i]);
		schema_clear(&m->inputs[i].schema);
	}
	schema_clear(&m->out);
	arena_clear(&m->texts);
	arena_clear(&m->arena);
	mem_free(m);
}

static const struct operator_ops merge_ops = {
	.type = "smerge",
	.free = merge_free,
	.schema = merge_schema,
	.batch = merge_batch,
	.input_end = merge_input_end,
	.snapshot = merge_snapshot,
	.restore = merge_restore,
};

int merge_operator_new(const struct merge_options *o, struct operator** out, struct error *e)
{
	struct merge *m = mem_zero(sizeof *m);

	MUST(o->inputs >= 1 && o->inputs <= DESCRIPTION_INPUTS_MAX);
	m->o = *o;
	m->op = (struct operator){
		.ops = &merge_ops, .inputs = o->inputs, .outputs = 1, .schemas_first = true};
	schema_init(&m->out);
	for (unsigned i = 0; i < o->inputs; i++)
		schema_init(&m->inputs[i].schema);
	*out = &m->op;
	return 0;
}
