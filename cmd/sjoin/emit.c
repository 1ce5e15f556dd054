#include "cmd/sjoin/emit.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

static void constant_column(int64_t value, uint32_t n, struct arena *a, struct column *out)
{
	int64_t *data = arena_alloc(a, n * sizeof *data);

	for (uint32_t i = 0; i < n; i++)
		data[i] = value;
	*out = (struct column){.type = TYPE_OF(TYPE_TIMESTAMP), .data = data};
}

static void null_column(struct type type, uint32_t n, struct arena *a, struct column *out)
{
	*out = (struct column){.type = type, .valid = arena_zero(a, n / 8 + 1)};
	if (type_is_text(type)) {
		out->offsets = arena_zero(a, (n + (size_t)1) * sizeof *out->offsets);
		out->bytes = arena_zero(a, 1);
	} else {
		out->data = arena_zero(a, n * type_width(type));
	}
}

static void pair_column(
	struct join *j, const struct pairs *p, const struct plan_column *from, struct column *out)
{
	struct arena *a = &j->emit_arena;

	if (from->column == PLAN_WINDOW_START)
		constant_column(p->window_start_us, p->n, a, out);
	else if (from->column == PLAN_WINDOW_END)
		constant_column(p->window_end_us, p->n, a, out);
	else if (from->side == RIGHT)
		column_gather(&p->right->columns[from->column], p->right_rows, p->n, a, out);
	else if (p->left_rows)
		column_gather(&p->left->columns[from->column], p->left_rows, p->n, a, out);
	else
		*out = p->left->columns[from->column];
}

int emit_filter(
	struct join *j, const struct pairs *p, uint32_t *kept, uint32_t *kept_len, struct error *e)
{
	const struct schema *s = &j->plan.pair;
	struct column *columns;
	struct batch b = {.schema = s, .rows = p->n};

	MUST(p->n <= BATCH_ROWS);
	arena_reset(&j->emit_arena);
	b.columns = columns = ARENA_ARRAY(&j->emit_arena, struct column, s->fields_len);
	for (size_t i = 0; i < s->fields_len; i++)
		pair_column(j, p, &j->plan.columns[i], &columns[i]);
	return program_filter(j->plan.where, &b, kept, kept_len, NULL, e);
}

int emit_pairs(struct join *j, const struct pairs *p, struct error *e)
{
	struct plan *plan = &j->plan;
	const struct schema *s = plan->widen ? &plan->pair : &plan->out;
	struct column *columns;
	struct batch b = {.schema = s, .rows = p->n};

	if (!p->n)
		return 0;
	arena_reset(&j->emit_arena);
	b.columns = columns = ARENA_ARRAY(&j->emit_arena, struct column, plan->pair.fields_len);
	for (size_t i = 0; i < s->fields_len; i++) {
		size_t column = plan->widen ? i : (size_t)plan->out_columns[i];

		pair_column(j, p, &plan->columns[column], &columns[i]);
	}
	if (plan->widen) {
		struct column *wide = ARENA_ARRAY(&j->emit_arena, struct column, s->fields_len);

		if (program_run(plan->widen, &b, wide, NULL, e) < 0)
			return -1;
		b.columns = wide;
		b.schema = &plan->out;
	}
	return stage_emit(j->op.stage, 0, &b, e);
}

int emit_rights(struct join *j, const struct pairs *p, struct error *e)
{
	struct plan *plan = &j->plan;
	struct arena *a = &j->emit_arena;
	size_t n = plan->out.fields_len;
	struct column *columns, *right;
	struct batch b = {.schema = &plan->out, .rows = p->n}, rights = {.schema = &plan->in[1]};
	struct plan_keys keys;

	if (!p->n)
		return 0;
	arena_reset(a);
	rights.rows = p->n;
	rights.columns = right = ARENA_ARRAY(a, struct column, plan->in[1].fields_len);
	for (size_t i = 0; i < plan->in[1].fields_len; i++)
		column_gather(&p->right->columns[i], p->right_rows, p->n, a, &right[i]);
	if (plan_find_keys(plan, RIGHT, &rights, a, &keys, e) < 0)
		return -1;
	b.columns = columns = ARENA_ARRAY(a, struct column, n);
	for (size_t i = 0; i < n; i++) {
		const struct plan_column *from = &plan->columns[plan->out_columns[i]];

		if (from->column < 0)
			pair_column(j, p, from, &columns[i]);
		else if (from->side == RIGHT)
			columns[i] = right[from->column];
		else
			null_column(plan->out.fields[i].type, p->n, a, &columns[i]);
	}
	for (size_t k = 0; k < plan->keys_len; k++) {
		if (plan->key_outs[k] >= 0)
			columns[plan->key_outs[k]] = *keys.columns[k];
	}
	return stage_emit(j->op.stage, 0, &b, e);
}

/* ---- runs ---- */

void emit_run_begin(struct emit_run *run, struct join *j)
{
	run->j = j;
	run->first_only = join_is_filter(j) && !j->plan.where;
	run->matched = mem_zero(run->positions + (size_t)1);
	run->left = j->run_rows;
	run->right = run->left + BATCH_ROWS;
	run->out_left = run->right + BATCH_ROWS;
	run->out_right = run->out_left + BATCH_ROWS;
	run->filter_rows = run->out_right + BATCH_ROWS;
	run->n = run->out_n = run->next = 0;
}

void emit_run_free(struct emit_run *run)
{
	mem_free(run->matched);
	run->matched = NULL;
}

static int run_out(struct emit_run *run, struct error *e)
{
	struct pairs p = run->source;

	p.left_rows = run->out_left;
	p.right_rows = run->out_right;
	p.n = run->out_n;
	run->out_n = 0;
	return emit_pairs(run->j, &p, e);
}

static int run_put(struct emit_run *run, uint32_t position, uint32_t right_row, struct error *e)
{
	const uint32_t *rows = run->source.left_rows;

	run->out_left[run->out_n] = rows ? rows[position] : position;
	run->out_right[run->out_n++] = right_row;
	return run->out_n < BATCH_ROWS ? 0 : run_out(run, e);
}

/* Left rows before `upto` have met all they will meet. */
static int run_pass(struct emit_run *run, uint32_t upto, struct error *e)
{
	if (!join_keeps_left(run->j)) {
		run->next = upto;
		return 0;
	}
	for (; run->next < upto; run->next++) {
		if (!run->matched[run->next] && run_put(run, run->next, ROW_NONE, e) < 0)
			return -1;
	}
	return 0;
}

static int run_take(struct emit_run *run, uint32_t position, uint32_t right_row, struct error *e)
{
	enum join_kind kind = run->j->options.kind;
	bool again = run->matched[position];

	if (run_pass(run, position, e) < 0)
		return -1;
	run->matched[position] = 1;
	if (run->right_flags)
		run->right_flags[right_row] |= ROW_MATCHED;
	if (kind == JOIN_ANTI || (kind == JOIN_SEMI && again))
		return 0;
	return run_put(run, position, right_row, e);
}

/* Candidates' positions as left rows, for -w. */
static int run_filter(struct emit_run *run, uint32_t *kept, uint32_t *kept_len, struct error *e)
{
	struct pairs p = run->source;

	for (uint32_t i = 0; p.left_rows && i < run->n; i++)
		run->filter_rows[i] = p.left_rows[run->left[i]];
	p.left_rows = p.left_rows ? run->filter_rows : run->left;
	p.right_rows = run->right;
	p.n = run->n;
	return emit_filter(run->j, &p, kept, kept_len, e);
}

int emit_run_flush(struct emit_run *run, uint32_t upto, struct error *e)
{
	uint32_t *kept = run->j->filter_pick, kept_len = run->n;

	if (run->j->plan.where && run->n && run_filter(run, kept, &kept_len, e) < 0)
		return -1;
	for (uint32_t i = 0; i < kept_len; i++) {
		uint32_t at = run->j->plan.where ? kept[i] : i;

		if (run_take(run, run->left[at], run->right[at], e) < 0)
			return -1;
	}
	run->n = 0;
	if (run_pass(run, upto, e) < 0)
		return -1;
	return upto == run->positions ? run_out(run, e) : 0;
}
