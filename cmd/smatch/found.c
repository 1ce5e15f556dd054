/* Matches to rows. */
#include "cmd/smatch/match.h"

#include "libcore/base/memory.h"

#include <string.h>

/* ---- life ---- */

void found_init(struct smatch *m)
{
	const struct match_plan *p = m->plan;
	struct found *r = &m->found;

	r->front_len = m->options.all_rows ? p->in.fields_len : p->keys_len;
	r->front = mem_alloc((r->front_len + 1) * sizeof *r->front);
	for (size_t i = 0; i < r->front_len; i++)
		builder_init(&r->front[i], p->out.fields[i].type);
	r->calls = mem_alloc((p->measures.len + 1) * sizeof *r->calls);
	r->aggregates = mem_zero((p->measures.len + 1) * sizeof *r->aggregates);
	r->picks = mem_zero((p->measures.len + 1) * sizeof *r->picks);
	r->groups = mem_zero((p->measures.len + 1) * sizeof *r->groups);
	for (size_t i = 0; i < p->measures.len; i++) {
		builder_init(&r->calls[i], p->measures.items[i].type);
		if (p->measures.items[i].like)
			r->aggregates[i] = aggregate_new_like(p->measures.items[i].like);
	}
	r->columns = mem_zero((p->out.fields_len + p->measures.len + 1) * sizeof *r->columns);
}

void found_clear(struct smatch *m)
{
	struct found *r = &m->found;

	for (size_t i = 0; r->front && i < r->front_len; i++)
		builder_clear(&r->front[i]);
	for (size_t i = 0; r->calls && i < m->plan->measures.len; i++) {
		builder_clear(&r->calls[i]);
		aggregate_free(r->aggregates[i]);
		buf_clear(&r->picks[i]);
		buf_clear(&r->groups[i]);
	}
	mem_free(r->front);
	mem_free(r->calls);
	mem_free(r->aggregates);
	mem_free(r->picks);
	mem_free(r->groups);
	mem_free(r->columns);
}

/* ---- the row that a call means ---- */

static const struct match_row *find_row(const struct match_view *v, const struct match_call *c)
{
	int64_t left = c->offset;

	for (uint32_t i = 0; i < v->len; i++) {
		const struct match_row *row = &v->path[c->from_first ? i : v->len - 1 - i];

		if (row->row <= v->last && (c->of >> row->variable & 1) && left-- == 0)
			return row;
	}
	return NULL;
}

uint32_t match_view_row(const struct match_view *v, const struct match_call *c)
{
	const struct match_row *row = find_row(v, c);
	uint64_t to;

	if (!row || (c->shift < 0 && row->row < (uint64_t)-c->shift))
		return ROW_NONE;
	to = row->row + (uint64_t)c->shift;
	return to > v->path[v->len - 1].row ? ROW_NONE : match_key_row(v->key, to);
}

/* ---- one row of the output ---- */

static void put_number(struct buf *b, uint32_t v)
{
	buf_put(b, &v, sizeof v);
}

/* The rows of an aggregate are noted, and added for many matches at once. */
static void note_rows(struct smatch *m, size_t call, const struct match_view *v)
{
	const struct plan_call *c = &m->plan->measures.items[call];
	const struct column *filter = &rowstore_view(&m->store)->columns[c->filter];

	for (uint32_t i = 0; i < v->len && (v->path[i].row <= v->last || c->call.final); i++) {
		uint32_t row = match_key_row(v->key, v->path[i].row);

		if (!(c->call.of >> v->path[i].variable & 1) ||
			(c->filtered && !(column_is_valid(filter, row) && column_bool(filter, row))))
			continue;
		put_number(&m->found.picks[call], row);
		put_number(&m->found.groups[call], m->found.rows);
	}
}

static void put_call(struct smatch *m, size_t call, const struct match_view *v, uint32_t at)
{
	const struct plan_call *c = &m->plan->measures.items[call];
	struct column_builder *b = &m->found.calls[call];
	struct match_view whole = *v;
	const char *name;
	uint32_t row;

	whole.last = v->path[v->len - 1].row;
	switch (c->call.kind) {
	case MATCH_ROW:
		row = match_view_row(c->call.final ? &whole : v, &c->call);
		if (row == ROW_NONE)
			builder_put_null(b);
		else
			builder_put_from(b, &rowstore_view(&m->store)->columns[c->arg], row);
		return;
	case MATCH_AGGREGATE: note_rows(m, call, v); return;
	case MATCH_CLASSIFIER:
		name = m->plan->pattern.variables[v->path[c->call.final ? v->len - 1 : at].variable];
		builder_put_text(b, name, strlen(name));
		return;
	case MATCH_NUMBER: builder_put_int(b, v->key->matches); return;
	case MATCH_TIME: builder_put_int(b, m->store.time_us[match_key_row(v->key, whole.last)]); return;
	}
}

/* The row at position `at` of the path, which sees the match up to there. */
static void put_row(struct smatch *m, uint32_t key, uint32_t n, uint32_t at)
{
	const struct match_key *k = &m->keys[key];
	struct match_view v = {.key = k, .path = m->path, .len = n, .last = m->path[at].row};
	uint32_t stored = match_key_row(k, v.last);

	for (size_t i = 0; i < m->found.front_len; i++) {
		struct column of_key;

		if (m->options.all_rows) {
			builder_put_from(&m->found.front[i],
				&rowstore_view(&m->store)->columns[m->plan->row_columns[i]], stored);
			continue;
		}
		of_key = keytable_column(m->table, i);
		builder_put_from(&m->found.front[i], &of_key, key);
	}
	for (size_t i = 0; i < m->plan->measures.len; i++)
		put_call(m, i, &v, at);
	m->found.rows++;
}

int found_put(struct smatch *m, uint32_t key, uint32_t n, struct error *e)
{
	for (uint32_t at = m->options.all_rows ? 0 : n - 1; at < n; at++) {
		if (m->options.all_rows && m->path[at].excluded)
			continue;
		put_row(m, key, n, at);
		if (m->found.rows >= BATCH_ROWS && found_flush(m, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- out ---- */

static int add_noted(struct smatch *m, size_t call, struct error *e)
{
	const struct plan_call *c = &m->plan->measures.items[call];
	struct found *r = &m->found;
	uint32_t n = (uint32_t)(r->picks[call].len / sizeof(uint32_t));
	const uint32_t *picks = (const uint32_t *)(const void *)r->picks[call].data;
	const struct batch *stored = rowstore_view(&m->store);
	struct arena arena = ARENA_INIT;
	struct column args[AGGREGATE_ARGS_MAX];
	int64_t *order = ARENA_ARRAY(&arena, int64_t, n + (size_t)1);
	struct aggregate_rows rows = {.groups = (const uint32_t *)(const void *)r->groups[call].data,
		.order = order, .rows = n};
	int status;

	for (uint32_t i = 0; i < n; i++)
		order[i] = i; /* rows of a match stand in their order */
	for (size_t i = 0; i < c->args_len; i++)
		column_gather(&stored->columns[c->args[i]], picks, n, &arena, &args[i]);
	aggregate_resize(r->aggregates[call], r->rows);
	status = n ? aggregate_update(r->aggregates[call], args, &rows, e) : 0;
	if (status == 0)
		status = aggregate_finalize(r->aggregates[call], NULL, r->rows, &r->calls[call], e);
	aggregate_reset(r->aggregates[call]);
	buf_reset(&r->picks[call]);
	buf_reset(&r->groups[call]);
	arena_clear(&arena);
	return status;
}

int found_flush(struct smatch *m, struct error *e)
{
	const struct match_plan *p = m->plan;
	struct found *r = &m->found;
	struct column *calls = r->columns + p->out.fields_len;
	struct batch in = {.schema = &p->measure_schema, .rows = r->rows, .columns = calls};
	struct batch out = {.schema = &p->out, .rows = r->rows, .columns = r->columns};
	int status = 0;

	if (!r->rows)
		return 0;
	for (size_t i = 0; i < p->measures.len && status == 0; i++) {
		if (r->aggregates[i])
			status = add_noted(m, i, e);
	}
	for (size_t i = 0; i < p->measures.len && status == 0; i++)
		calls[i] = builder_column(&r->calls[i]);
	for (size_t i = 0; i < r->front_len && status == 0; i++)
		r->columns[i] = builder_column(&r->front[i]);
	if (status == 0)
		status = program_run(p->results, &in, r->columns + r->front_len, NULL, e);
	if (status == 0)
		status = stage_emit(m->op.stage, 0, &out, e);
	for (size_t i = 0; i < p->measures.len; i++)
		builder_reset(&r->calls[i]);
	for (size_t i = 0; i < r->front_len; i++)
		builder_reset(&r->front[i]);
	r->rows = 0;
	return status;
}
