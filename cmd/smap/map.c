#include "cmd/smap/map.h"

#include "cmd/common/bad.h"
#include "cmd/smap/explode.h"
#include "libcore/base/memory.h"
#include "libcore/expr/expr.h"
#include "libcore/table/builder.h"

#include <stdio.h>

struct map {
	struct operator op;
	struct map_options o;
	struct arena texts;          /* trees, as long as the operator */
	struct expr *where;
	struct select_list list;

	/* Of the present input schema: */
	struct schema in;            /* with the exploded column as any */
	struct schema list_out;      /* what the list makes */
	struct schema out;           /* that, or with --exec what the answers are */
	struct program *filter;      /* NULL: no condition */
	struct program *select;
	bool *used;                  /* per input column: the list reads it */
	int explode;                 /* column, -1 none */
	int time_out;                /* --assign-time's column, -1 none */

	struct arena arena;          /* of one batch */
	struct column *results;
	int64_t greatest_us;         /* of the assigned event time */
	struct bad_records bad;
	struct exec *exec;           /* NULL: none */
};

static struct map *map_of(struct operator *op)
{
	return (struct map *)op; /* op is the first member */
}

static void map_forget_schema(struct map *m)
{
	program_free(m->filter);
	program_free(m->select);
	m->filter = m->select = NULL;
	mem_free(m->used);
	mem_free(m->results);
	m->used = NULL;
	m->results = NULL;
	schema_clear(&m->in);
	schema_clear(&m->list_out);
	schema_clear(&m->out);
}

static void map_free(struct operator *op)
{
	struct map *m = map_of(op);

	map_forget_schema(m);
	exec_free(m->exec);
	bad_records_clear(&m->bad);
	arena_clear(&m->texts);
	arena_clear(&m->arena);
	mem_free(m);
}

/* ---- schema ---- */

/* The output column that is just this input column, -1 if none is. */
static int passed_column(const struct select_list *list, const struct schema *in, int column)
{
	for (size_t i = 0; column >= 0 && i < list->len; i++) {
		if (expr_column(list->items[i].expr, in) == column)
			return (int)i;
	}
	return -1;
}

/* A changelog keeps its key if all of its columns pass. */
static void pass_keys(const struct select_list *list, const struct schema *in, struct schema *out)
{
	int *keys = mem_alloc(in->keys_len * sizeof *keys);
	bool all = in->keys_len > 0;

	for (size_t i = 0; i < in->keys_len; i++) {
		keys[i] = passed_column(list, in, in->keys[i]);
		all &= keys[i] >= 0;
	}
	if (all)
		schema_set_keys(out, keys, in->keys_len);
	mem_free(keys);
}

static int compile_list(struct map *m, struct error *e)
{
	struct select_list list;
	size_t index;

	if (select_expand(&m->list, &m->in, &m->texts, &list, e) < 0)
		return -1;
	m->select = program_new();
	for (size_t i = 0; i < list.len; i++) {
		const struct select_item *item = &list.items[i];

		if (program_add(m->select, item->expr, &m->in, &index, e) < 0)
			return -1;
		schema_add(&m->list_out, item->name, strlen(item->name), program_type(m->select, index));
	}
	m->used = mem_zero(m->in.fields_len * sizeof *m->used);
	for (size_t i = 0; i < list.len; i++)
		expr_mark_columns(list.items[i].expr, &m->in, m->used);
	m->results = mem_zero(list.len * sizeof *m->results);
	m->list_out.changelog = m->in.changelog;
	m->list_out.time_column = passed_column(&list, &m->in, m->in.time_column);
	m->list_out.time_offset_us = m->in.time_offset_us;
	pass_keys(&list, &m->in, &m->list_out);
	return 0;
}

static int assign_time(struct map *m, struct error *e)
{
	const char *name = m->o.assign_time;

	m->time_out = -1;
	if (!name)
		return 0;
	m->time_out = schema_require(&m->out, name, strlen(name), "--assign-time: the output", e);
	if (m->time_out < 0)
		return -1;
	if (m->out.fields[m->time_out].type.kind != TYPE_TIMESTAMP)
		return error_set(e, ERROR_USAGE, "--assign-time: '%s' is of type %s, not a timestamp", name,
			type_name(m->out.fields[m->time_out].type));
	m->out.time_column = m->time_out;
	m->out.time_offset_us = 0;
	return 0;
}

static int compile_where(struct map *m, struct error *e)
{
	size_t index;

	if (!m->where)
		return 0;
	m->filter = program_new();
	if (program_add(m->filter, m->where, &m->in, &index, e) < 0)
		return -1;
	if (program_type(m->filter, 0).kind != TYPE_BOOL)
		return error_set(e, ERROR_USAGE, "%s: the condition is of type %s, not a bool",
			m->o.where_what, type_name(program_type(m->filter, 0)));
	return 0;
}

static int map_schema(struct operator *op, unsigned input, const struct schema *in,
	struct error *e)
{
	struct map *m = map_of(op);

	if (m->exec && exec_settle(m->exec, e) < 0) /* those rows have the columns before */
		return -1;
	map_forget_schema(m);
	schema_copy(&m->in, in);
	m->explode = -1;
	if (m->o.explode) {
		m->explode = explode_column(&m->in, m->o.explode, e);
		if (m->explode < 0)
			return -1;
	}
	if (compile_where(m, e) < 0 || compile_list(m, e) < 0)
		return -1;
	if (!m->exec)
		schema_copy(&m->out, &m->list_out);
	else if (exec_schema(m->exec, op, &m->list_out, &m->out, e) < 0)
		return -1;
	if (assign_time(m, e) < 0)
		return -1;
	if (m->filter && *program_warnings(m->filter))
		stage_warn(op->stage, "%s", program_warnings(m->filter));
	if (m->o.has_else && stage_declare(op->stage, MAP_ELSE_OUTPUT, &m->in, e) < 0)
		return -1;
	return stage_declare(op->stage, 0, &m->out, e);
}

/* ---- rows that fail ---- */

static int take_bad(struct map *m, const struct batch *b, uint32_t row, const char *reason,
	struct error *e)
{
	struct bad_sink sink = bad_records_sink(&m->bad);
	struct buf text = BUF_INIT;
	struct bad_record bad = {.input = stage_input_from(m->op.stage, 0), .reason = reason};
	int status;

	batch_put_row(b, row, &text);
	bad.record = buf_cstr(&text);
	bad.record_len = text.len;
	status = sink.take(sink.context, &bad, e);
	buf_clear(&text);
	return status;
}

/* Gives the rows whose bit is set to --bad; the numbers of the others go to keep. */
static int sort_out_bad(struct map *m, const struct batch *b, const uint8_t *failed,
	const char *reason, uint32_t *keep, uint32_t *kept, struct error *e)
{
	size_t first_line = strcspn(reason, "\n");
	char line[512];

	snprintf(line, sizeof line, "%.*s", (int)(first_line < 500 ? first_line : 500), reason);
	*kept = 0;
	for (uint32_t r = 0; r < b->rows; r++) {
		if (!(failed[r >> 3] >> (r & 7) & 1))
			keep[(*kept)++] = r;
		else if (take_bad(m, b, r, line, e) < 0)
			return -1;
	}
	return 0;
}

static bool any_bit(const uint8_t *bits, uint32_t rows)
{
	for (uint32_t i = 0; i < (rows + 7) / 8; i++) {
		if (bits[i])
			return true;
	}
	return false;
}

/* ---- rows ---- */

/* Rows picked of the columns that are read later; the others stay as they are and must not be. */
static void gather_used(struct map *m, const struct batch *b, const uint32_t *pick, uint32_t n,
	struct batch *out)
{
	size_t fields = m->in.fields_len;
	struct column *columns = arena_alloc(&m->arena, fields * sizeof *columns);

	for (size_t i = 0; i < fields; i++) {
		columns[i] = b->columns[i];
		if (m->used[i])
			column_gather(&b->columns[i], pick, n, &m->arena, &columns[i]);
	}
	*out = (struct batch){.schema = b->schema, .rows = n, .columns = columns};
}

/* Of a -U and its +U only one may pass: it then stands for itself. */
static const uint8_t *pick_ops(struct map *m, const uint8_t *ops, const uint32_t *pick, uint32_t n)
{
	uint8_t *out = arena_alloc(&m->arena, n);

	for (uint32_t i = 0; i < n; i++) {
		uint8_t op = ops[pick[i]];
		bool after = i + 1 < n && pick[i + 1] == pick[i] + 1 &&
			ops[pick[i + 1]] == ROW_UPDATE_AFTER;
		bool before = i && pick[i - 1] + 1 == pick[i] && ops[pick[i - 1]] == ROW_UPDATE_BEFORE;

		if (op == ROW_UPDATE_BEFORE && !after)
			op = ROW_DELETE;
		else if (op == ROW_UPDATE_AFTER && !before)
			op = ROW_INSERT;
		out[i] = op;
	}
	return out;
}

/* Watermarks by what the rows say, after each batch. */
static int advance_time(struct map *m, const struct batch *b, struct error *e)
{
	const struct column *c = &b->columns[m->time_out];
	bool eager = m->o.has_delay || !stage_is_bounded(m->op.stage);
	int64_t watermark;

	for (uint32_t r = 0; r < b->rows; r++) {
		if (!column_is_valid(c, r))
			return error_set(e, ERROR_DATA, "--assign-time: '%s' is null in a row\n"
				"filter such rows: -w '%s is not null'", m->o.assign_time,
				m->o.assign_time);
		if (column_int(c, r) > m->greatest_us)
			m->greatest_us = column_int(c, r);
	}
	if (!eager || !b->rows || m->greatest_us == INT64_MIN)
		return 0;
	if (__builtin_sub_overflow(m->greatest_us - 1, m->o.delay_us, &watermark))
		return 0; /* before all time */
	return stage_emit_watermark(m->op.stage, watermark, e);
}

/* Rows of the output's schema. */
static int map_emit(void *context, const struct batch *b, struct error *e)
{
	struct map *m = context;

	if (stage_emit(m->op.stage, 0, b, e) < 0)
		return -1;
	return m->time_out >= 0 ? advance_time(m, b, e) : 0;
}

/* The list over rows that have passed; whole is what they were picked from, for messages. */
static int map_select(struct map *m, const struct batch *b, const struct batch *whole,
	const uint32_t *pick, struct error *e)
{
	struct batch out = {.schema = &m->list_out, .rows = b->rows, .columns = m->results,
		.ops = b->ops}, again;
	bool stop = !strcmp(m->o.bad, "stop");
	uint8_t *failed = stop ? NULL : arena_alloc(&m->arena, (size_t)b->rows / 8 + 1);
	uint32_t *keep, kept;

	if (program_run(m->select, b, m->results, failed, e) < 0) {
		if (pick) { /* once more with all columns, so that the message shows the row */
			batch_gather(whole, pick, b->rows, &m->arena, &again);
			program_run(m->select, &again, m->results, NULL, e);
		}
		return -1;
	}
	if (failed && any_bit(failed, b->rows)) {
		struct batch rows = *whole;

		if (pick)
			batch_gather(whole, pick, b->rows, &m->arena, &rows);
		keep = arena_alloc(&m->arena, b->rows * sizeof *keep);
		if (sort_out_bad(m, &rows, failed, e->text, keep, &kept, e) < 0)
			return -1;
		error_clear(e);
		batch_gather(&out, keep, kept, &m->arena, &again);
		again.ops = b->ops ? pick_ops(m, b->ops, keep, kept) : NULL;
		out = again;
	}
	return m->exec ? exec_batch(m->exec, &out, e) : map_emit(m, &out, e);
}

/* Everything that is not in pick, to --else. */
static int emit_else(struct map *m, const struct batch *b, const uint32_t *pick, uint32_t n,
	const uint8_t *failed, struct error *e)
{
	uint32_t *rest = arena_alloc(&m->arena, b->rows * sizeof *rest), len = 0, at = 0;
	struct batch out;

	for (uint32_t r = 0; r < b->rows; r++) {
		if (at < n && pick[at] == r)
			at++;
		else if (!failed || !(failed[r >> 3] >> (r & 7) & 1))
			rest[len++] = r;
	}
	batch_gather(b, rest, len, &m->arena, &out);
	out.schema = &m->in;
	out.ops = b->ops ? pick_ops(m, b->ops, rest, len) : NULL;
	return stage_emit(m->op.stage, MAP_ELSE_OUTPUT, &out, e);
}

static int map_filter(struct map *m, const struct batch *b, struct error *e)
{
	uint32_t *pick = arena_alloc(&m->arena, b->rows * sizeof *pick), n, *keep, kept;
	bool stop = !strcmp(m->o.bad, "stop");
	uint8_t *failed = stop ? NULL : arena_alloc(&m->arena, (size_t)b->rows / 8 + 1);
	struct batch passed;

	if (program_filter(m->filter, b, pick, &n, failed, e) < 0)
		return -1;
	if (failed && any_bit(failed, b->rows)) {
		keep = arena_alloc(&m->arena, b->rows * sizeof *keep);
		if (sort_out_bad(m, b, failed, e->text, keep, &kept, e) < 0)
			return -1;
		error_clear(e);
	}
	if (m->o.has_else && n < b->rows && emit_else(m, b, pick, n, failed, e) < 0)
		return -1;
	if (n == b->rows)
		return map_select(m, b, b, NULL, e);
	if (!n)
		return 0;
	gather_used(m, b, pick, n, &passed);
	passed.ops = b->ops ? pick_ops(m, b->ops, pick, n) : NULL;
	return map_select(m, &passed, b, pick, e);
}

static int map_batch(struct operator *op, unsigned input, const struct batch *in, struct error *e)
{
	struct map *m = map_of(op);
	struct batch exploded;

	arena_reset(&m->arena);
	if (bad_records_open(&m->bad, op->stage, e) < 0)
		return -1;
	if (m->explode >= 0) {
		if (explode_rows(in, m->explode, &m->arena, &exploded, e) < 0)
			return -1;
		in = &exploded;
		if (!in->rows)
			return 0;
	}
	return m->filter ? map_filter(m, in, e) : map_select(m, in, in, NULL, e);
}

static int map_watermark(struct operator *op, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct map *m = map_of(op);

	/* The input's event time says nothing of the assigned one. */
	if (m->o.assign_time && in_us != WATERMARK_FINAL)
		*out_us = WATERMARK_NONE;
	else if (m->exec && in_us != WATERMARK_FINAL && exec_holds_watermark(m->exec, in_us))
		*out_us = WATERMARK_NONE;
	return 0;
}

/* ---- --exec: what comes when it likes ---- */

static int map_idle(struct operator *op, struct error *e)
{
	struct map *m = map_of(op);

	return m->exec ? exec_idle(m->exec, e) : 0;
}

static int map_settle(struct operator *op, struct error *e)
{
	struct map *m = map_of(op);

	return m->exec ? exec_settle(m->exec, e) : 0;
}

static int map_tick(struct operator *op, int64_t now_us, struct error *e)
{
	struct map *m = map_of(op);

	if (m->filter)
		program_set_now(m->filter, now_us);
	if (m->select)
		program_set_now(m->select, now_us);
	return 0;
}

static int map_end(struct operator *op, struct error *e)
{
	struct map *m = map_of(op);
	struct bad_records *bad = &m->bad;

	if (m->exec && exec_end(m->exec, e) < 0)
		return -1;
	return bad_records_open(bad, op->stage, e) < 0 ? -1 : bad_records_commit(bad, e);
}

/* ---- state: the greatest assigned time ---- */

static const char *const state_names[] = {"greatest"};

static int map_snapshot(struct operator *op, struct snapshot_writer *w, struct error *e)
{
	return snapshot_put_ints(w, "time", state_names, &map_of(op)->greatest_us, 1, e);
}

static int map_restore(struct operator *op, struct snapshot_reader *r, struct error *e)
{
	struct map *m = map_of(op);
	const struct batch *b;
	int64_t greatest;
	bool found;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (snapshot_read_ints(b, "time", state_names, &greatest, 1, &found, e) < 0)
			return -1;
		if (found && greatest > m->greatest_us)
			m->greatest_us = greatest;
	}
	return status < 0 ? -1 : 0;
}

static const struct operator_ops map_ops = {
	.type = "smap",
	.free = map_free,
	.schema = map_schema,
	.batch = map_batch,
	.watermark = map_watermark,
	.tick = map_tick,
	.end = map_end,
	.settle = map_settle,
	.idle = map_idle,
	.snapshot = map_snapshot,
	.restore = map_restore,
};

int map_operator_new(const struct map_options *o, struct operator **out, struct error *e)
{
	struct map *m = mem_zero(sizeof *m);

	m->o = *o;
	m->op = (struct operator){.ops = &map_ops, .inputs = 1,
		.outputs = o->bad_output ? MAP_BAD_OUTPUT + 1 : o->has_else ? MAP_ELSE_OUTPUT + 1 : 1,
		.hears = o->exec.command != NULL, .wait_fd = -1, .tell_fd = -1};
	if (o->exec.command)
		m->exec = exec_new(&o->exec, map_emit, m);
	schema_init(&m->in);
	schema_init(&m->list_out);
	schema_init(&m->out);
	m->greatest_us = WATERMARK_NONE;
	bad_records_init(&m->bad, o->bad, o->bad_output ? MAP_BAD_OUTPUT : 0);
	if ((o->where && expr_parse(o->where, o->where_what, &m->texts, &m->where, e) < 0) ||
		select_parse(o->list ? o->list : "*", o->list ? o->list_what : "select list",
			&m->texts, &m->list, e) < 0) {
		map_free(&m->op);
		return -1;
	}
	*out = &m->op;
	return 0;
}
