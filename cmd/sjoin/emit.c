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

/* The rows' common end: an output that is a changelog has ops. */
static int emit_rows(struct join *j, struct batch *b, const struct pairs *p, struct error *e)
{
	b->schema = &j->plan.out;
	if (j->sink)
		return j->sink->put(j->sink, b, p, e);
	if (j->plan.out.changelog)
		b->ops = p->ops ? p->ops : arena_zero(&j->emit_arena, b->rows);
	return stage_emit(j->op.stage, 0, b, e);
}

static bool is_lone_right(const struct pairs *p, uint32_t i)
{
	return p->left_rows && p->left_rows[i] == ROW_NONE;
}

/* A key column shows the left key, or the right one where there is no left row. */
static void merge_key(const struct pairs *p, const struct column *left, const struct column *right,
	struct arena *a, struct column *out)
{
	struct column_builder b;
	struct column merged;
	uint32_t *all = arena_alloc(a, p->n * sizeof *all);

	builder_init(&b, left->type);
	for (uint32_t i = 0; i < p->n; i++) {
		builder_put_from(&b, is_lone_right(p, i) ? right : left, i);
		all[i] = i;
	}
	merged = builder_column(&b);
	column_gather(&merged, all, p->n, a, out); /* into the arena */
	builder_clear(&b);
}

static int fill_keys(struct join *j, const struct pairs *p, struct column *columns, struct error *e)
{
	struct plan *plan = &j->plan;
	struct arena *a = &j->emit_arena;
	struct batch rights = {.schema = &plan->in[RIGHT], .rows = p->n};
	struct column *right = ARENA_ARRAY(a, struct column, plan->in[RIGHT].fields_len);
	struct plan_keys keys;

	rights.columns = right;
	for (size_t i = 0; i < plan->in[RIGHT].fields_len; i++)
		column_gather(&p->right->columns[i], p->right_rows, p->n, a, &right[i]);
	if (plan_find_keys(plan, RIGHT, &rights, a, &keys, e) < 0)
		return -1;
	for (size_t k = 0; k < plan->keys_len; k++) {
		int out = plan->key_outs[k];

		if (out >= 0)
			merge_key(p, &columns[out], keys.columns[k], a, &columns[out]);
	}
	return 0;
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
		b.columns = columns = wide;
	}
	if (p->lone_rights && fill_keys(j, p, columns, e) < 0)
		return -1;
	return emit_rows(j, &b, p, e);
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
	return emit_rows(j, &b, p, e);
}

/* ---- a changelog on the left ---- */

static const uint8_t split_op[] = {
	[ROW_INSERT] = ROW_INSERT,
	[ROW_UPDATE_BEFORE] = ROW_DELETE,
	[ROW_UPDATE_AFTER] = ROW_INSERT,
	[ROW_DELETE] = ROW_DELETE,
};

const uint8_t *emit_left_ops(const struct batch *b, const uint64_t *hashes, struct arena *a)
{
	uint8_t *ops;

	if (!b->ops)
		return NULL;
	ops = arena_alloc(a, b->rows + (size_t)1);
	for (uint32_t r = 0; r < b->rows; r++) {
		bool is_pair = b->ops[r] == ROW_UPDATE_BEFORE && r + 1 < b->rows &&
			       b->ops[r + 1] == ROW_UPDATE_AFTER && hashes[r] == hashes[r + 1];

		ops[r] = is_pair ? b->ops[r] : split_op[b->ops[r] & 3];
		if (is_pair) {
			ops[r + 1] = b->ops[r + 1];
			r++;
		}
	}
	return ops;
}

/* The end of the rows from i on that come from one left row, or from both halves of an update;
 * *one_each: each half gives one. */
static uint32_t unit_end(const struct emit_changes *c, uint32_t i, bool *one_each)
{
	uint32_t middle = i, end;

	while (middle < c->n && c->numbers[middle] == c->numbers[i])
		middle++;
	end = middle;
	if (c->left_ops[i] == ROW_UPDATE_BEFORE) {
		while (end < c->n && c->numbers[end] == c->numbers[i] + 1)
			end++;
	}
	*one_each = middle == i + 1 && end == middle + 1;
	return end;
}

uint32_t emit_settle(const struct join *j, const struct emit_changes *c)
{
	bool keyed = j->plan.partner_in_key[RIGHT];

	for (uint32_t i = 0, end; i < c->n; i = end) {
		bool one_each, open;

		end = unit_end(c, i, &one_each);
		open = c->more && end == c->n;
		if (open && i > 0)
			return i;
		if (open || c->numbers[i] == *c->broken ||
			(one_each && keyed && c->partners[i] != c->partners[i + 1]))
			one_each = false;
		for (uint32_t k = i; k < end; k++)
			c->ops[k] = one_each ? c->left_ops[k] : split_op[c->left_ops[k]];
		if (open)
			*c->broken = c->numbers[end - 1];
	}
	return c->n;
}

/* Settles pairs whose left rows are numbered as they lie. */
static uint32_t settle_pairs(
	struct join *j, struct pairs *p, bool more, int64_t *broken, struct arena *a)
{
	int64_t *numbers = arena_alloc(a, (p->n + (size_t)1) * sizeof *numbers);
	int64_t *partners = arena_alloc(a, (p->n + (size_t)1) * sizeof *partners);
	uint8_t *left_ops = arena_alloc(a, p->n + (size_t)1), *ops;

	p->ops = ops = arena_alloc(a, p->n + (size_t)1);
	for (uint32_t i = 0; i < p->n; i++) {
		numbers[i] = p->left_rows ? p->left_rows[i] : i;
		partners[i] = -1;
		if (p->right_rows && p->right_rows[i] != ROW_NONE)
			partners[i] = p->right_rows[i];
		left_ops[i] = p->left_ops[numbers[i]];
	}
	return p->n = emit_settle(j, &(struct emit_changes){.numbers = numbers,
					     .partners = partners,
					     .left_ops = left_ops,
					     .ops = ops,
					     .n = p->n,
					     .more = more,
					     .broken = broken});
}

int emit_lefts(struct join *j, const struct pairs *p, struct error *e)
{
	struct pairs out = *p;
	int64_t broken = -1;

	if (p->left_ops && !j->sink)
		settle_pairs(j, &out, false, &broken, &j->arena);
	return emit_pairs(j, &out, e);
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
	run->broken = -1;
}

void emit_run_free(struct emit_run *run)
{
	mem_free(run->matched);
	run->matched = NULL;
}

/* more: the last left row may not be done. */
static int run_out(struct emit_run *run, bool more, struct error *e)
{
	struct pairs p = run->source;
	struct arena arena = ARENA_INIT;
	int status;

	p.left_rows = run->out_left;
	p.right_rows = run->out_right;
	p.n = run->out_n;
	if (p.left_ops && !run->j->sink)
		settle_pairs(run->j, &p, more, &run->broken, &arena);
	status = emit_pairs(run->j, &p, e);
	arena_clear(&arena);
	run->out_n -= p.n;
	memmove(run->out_left, run->out_left + p.n, run->out_n * sizeof *run->out_left);
	memmove(run->out_right, run->out_right + p.n, run->out_n * sizeof *run->out_right);
	return status;
}

static int run_put(struct emit_run *run, uint32_t position, uint32_t right_row, struct error *e)
{
	const uint32_t *rows = run->source.left_rows;

	run->out_left[run->out_n] = rows ? rows[position] : position;
	run->out_right[run->out_n++] = right_row;
	return run->out_n < BATCH_ROWS ? 0 : run_out(run, true, e);
}

/* Left rows before `upto` have met all they will meet. */
static int run_pass(struct emit_run *run, uint32_t upto, struct error *e)
{
	if (!join_keeps_left(run->j) || run->met) {
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
	if (run->met)
		run->met[position] = 1;
	if (run->right_flags)
		run->right_flags[right_row] |= ROW_MATCHED;
	if (run->right_matches)
		run->right_matches[right_row] += op_is_insert(run->source.left_ops[position]) ? 1
											      : -1u;
	if (kind == JOIN_ANTI || (kind == JOIN_SEMI && (again || run->met)))
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
	return upto == run->positions ? run_out(run, false, e) : 0;
}
