#include "cmd/ssort/ssort.h"

#include "libcore/base/memory.h"
#include "libcore/state/spill.h"

#include <string.h>

static struct ssort *ssort_of(struct operator* op)
{
	return (struct ssort *)op; /* op is the first member */
}

/* ---- keys ---- */

int sort_keys_compile(struct sort_keys *k, const struct ssort *s, struct error *e)
{
	const struct select_list *list = &s->key_list;
	size_t index;

	k->program = program_new();
	k->len = list->len;
	k->types = mem_zero((k->len + 1) * sizeof *k->types);
	k->columns = mem_zero((k->len + 1) * sizeof *k->columns);
	k->pointers = mem_zero((k->len + 1) * sizeof *k->pointers);
	for (size_t i = 0; i < list->len; i++) {
		if (list->items[i].kind == SELECT_STAR)
			return error_set(e, ERROR_USAGE, "-k: name the columns, not *");
		if (program_add(k->program, list->items[i].expr, &s->in, &index, e) < 0)
			return -1;
		k->types[i] = program_type(k->program, index);
		if (k->types[i].kind == TYPE_ANY)
			return expr_refuse(list->items[i].expr, e,
				"type any can't be a key\ncast it: a.b::int, a.b::string");
		k->pointers[i] = &k->columns[i];
	}
	return 0;
}

void sort_keys_clear(struct sort_keys *k)
{
	program_free(k->program);
	mem_free(k->types);
	mem_free(k->columns);
	mem_free(k->pointers);
	*k = (struct sort_keys){.program = NULL};
}

int sort_keys_run(struct sort_keys *k, const struct batch *b, uint64_t *hashes, struct error *e)
{
	if (k->len && program_run(k->program, b, k->columns, NULL, e) < 0)
		return -1;
	keys_hash(k->pointers, k->len, b->rows, hashes);
	return 0;
}

/* ---- rows that leave ---- */

int ssort_emit(struct ssort *s, const struct batch *rows, const int64_t *numbers, struct error *e)
{
	size_t fields = s->in.fields_len;
	struct batch out = {.schema = &s->out, .rows = rows->rows, .ops = rows->ops};
	struct column *columns;
	int status;

	if (!s->o.number) {
		out.columns = rows->columns;
		return stage_emit(s->op.stage, 0, &out, e);
	}
	columns = mem_alloc((fields + 1) * sizeof *columns);
	if (fields)
		memcpy(columns, rows->columns, fields * sizeof *columns);
	columns[fields] = (struct column){.type = TYPE_OF(TYPE_INT), .data = numbers};
	out.columns = columns;
	status = stage_emit(s->op.stage, 0, &out, e);
	mem_free(columns);
	return status;
}

/* ---- schemas ---- */

static const struct way_ops *way_for(const struct ssort *s)
{
	if (s->o.by_time)
		return &by_time_way;
	if (!s->o.limit)
		return &full_way;
	return s->order_list.len || s->in.changelog ? &top_way : &head_way;
}

/* What goes out has the columns of what comes in, and perhaps a number; ways add what they know. */
static int make_out(struct ssort *s, struct error *e)
{
	const char *number = s->o.number;

	schema_clear(&s->out);
	schema_init(&s->out);
	schema_copy(&s->out, &s->in);
	s->out.changelog = false;
	schema_set_keys(&s->out, NULL, 0);
	if (!number)
		return 0;
	if (schema_find(&s->in, number, strlen(number)) >= 0)
		return error_set(e, ERROR_USAGE,
			"--number: the input has a column '%s' already\ngive another name", number);
	schema_add(&s->out, number, strlen(number), TYPE_OF(TYPE_INT));
	return 0;
}

static bool same_columns(const struct schema *a, const struct schema *b)
{
	if (a->fields_len != b->fields_len || a->changelog != b->changelog ||
		a->time_column != b->time_column || a->time_offset_us != b->time_offset_us)
		return false;
	for (size_t i = 0; i < a->fields_len; i++) {
		if (strcmp(a->fields[i].name, b->fields[i].name) != 0 ||
			!type_equal(a->fields[i].type, b->fields[i].type))
			return false;
	}
	return true;
}

static void forget_saved(struct ssort *s)
{
	for (size_t i = 0; i < s->saved_len; i++)
		spill_run_free(s->saved[i]);
	s->saved_len = 0;
}

static int load_run(struct ssort *s, const struct spill_run *run, struct error *e)
{
	struct spill_reader *r = spill_reader_new(run, 0, SPILL_TO_END);
	const struct batch *b;
	int status;

	while ((status = spill_reader_next(r, &b, e)) == 0) {
		status = s->way->load(s, b, e);
		if (status < 0)
			break;
	}
	spill_reader_free(r);
	return status < 0 ? -1 : 0;
}

static int load_saved(struct ssort *s, struct error *e)
{
	for (size_t i = 0; i < s->saved_len; i++) {
		if (load_run(s, s->saved[i], e) < 0)
			return -1;
	}
	if (s->saved_len && s->way->load_end && s->way->load_end(s, e) < 0)
		return -1;
	forget_saved(s);
	return 0;
}

static int ssort_schema(
	struct operator* op, unsigned input, const struct schema *in, struct error *e)
{
	struct ssort *s = ssort_of(op);

	if (s->way && same_columns(&s->in, in))
		return 0;
	if (s->way)
		return error_set(e, ERROR_DATA, "the columns of the stream from %s have changed",
			stage_input_from(op->stage, input));
	schema_copy(&s->in, in);
	if (order_compile(&s->order, &s->order_list, &s->in, e) < 0 || make_out(s, e) < 0)
		return -1;
	s->way = way_for(s);
	return s->way->open(s, e) < 0 ? -1 : load_saved(s, e);
}

/* ---- life ---- */

static int ssort_batch(struct operator* op, unsigned input, const struct batch *in, struct error *e)
{
	struct ssort *s = ssort_of(op);

	return s->way->batch(s, in, e);
}

static int ssort_watermark(struct operator* op, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct ssort *s = ssort_of(op);

	return s->way ? s->way->watermark(s, in_us, out_us, e) : 0;
}

static int ssort_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct ssort *s = ssort_of(op);

	return s->way ? s->way->save(s, w, e) : 0;
}

static int restore_batch(struct ssort *s, const struct batch *b, struct error *e)
{
	struct spill_run **last = s->saved_len ? &s->saved[s->saved_len - 1] : NULL;

	if (!last || !schema_equal(spill_run_schema(*last), b->schema)) {
		MEM_GROW(s->saved, s->saved_cap, s->saved_len + 1);
		last = &s->saved[s->saved_len];
		if (spill_run_new(s->o.temporary, b->schema, last, e) < 0)
			return -1;
		s->saved_len++;
	}
	return spill_run_put(*last, b, e);
}

/* Nothing can be made of the rows before the schema is known: they wait in a file. */
static int ssort_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (restore_batch(ssort_of(op), b, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}

static void ssort_free(struct operator* op)
{
	struct ssort *s = ssort_of(op);

	if (s->way)
		s->way->close(s);
	forget_saved(s);
	mem_free(s->saved);
	order_clear(&s->order);
	schema_clear(&s->in);
	schema_clear(&s->out);
	arena_clear(&s->texts);
	mem_free(s);
}

static const struct operator_ops ssort_ops = {
	.type = "ssort",
	.free = ssort_free,
	.schema = ssort_schema,
	.batch = ssort_batch,
	.watermark = ssort_watermark,
	.snapshot = ssort_snapshot,
	.restore = ssort_restore,
};

int sort_operator_new(const struct sort_options *o, struct operator** out, struct error *e)
{
	struct ssort *s = mem_zero(sizeof *s);

	s->o = *o;
	s->op = (struct operator){
		.ops = &ssort_ops, .inputs = 1, .wait_fd = -1, .outputs = o->late_output ? 2 : 1};
	schema_init(&s->in);
	schema_init(&s->out);
	if ((o->order && order_parse(o->order, o->order_what, &s->texts, &s->order_list, e) < 0) ||
		(o->keys && select_parse(o->keys, o->keys_what, &s->texts, &s->key_list, e) < 0)) {
		ssort_free(&s->op);
		return -1;
	}
	*out = &s->op;
	return 0;
}
