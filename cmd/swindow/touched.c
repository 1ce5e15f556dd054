#include "cmd/swindow/touched.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

void touched_clear(struct touched *c)
{
	if (c->rows.schema) {
		batch_builder_clear(&c->rows);
		schema_clear(&c->schema);
	}
	mem_free(c->list);
	mem_free(c->marks);
	*c = (struct touched){.list = NULL};
}

void touched_reset(struct touched *c)
{
	for (size_t i = 0; i < c->len; i++) {
		if (c->list[i].group != CHANGE_GONE)
			c->marks[c->list[i].group] = 0;
	}
	c->len = c->fetched = 0;
	if (c->rows.schema)
		batch_builder_reset(&c->rows);
}

size_t touched_bytes(const struct touched *c)
{
	size_t bytes = c->cap * sizeof *c->list + c->marks_cap * sizeof *c->marks;

	for (size_t i = 0; c->rows.schema && i < c->rows.schema->fields_len; i++) {
		const struct column_builder *b = &c->rows.columns[i];

		bytes += (size_t)b->rows_cap * (b->width ? b->width : sizeof *b->offsets);
		bytes += b->bytes.cap;
	}
	return bytes;
}

/* ---- touched groups ---- */

static void marks_grow(struct touched *c, uint32_t groups_len)
{
	if (groups_len <= c->marks_len)
		return;
	MEM_GROW(c->marks, c->marks_cap, groups_len);
	memset(c->marks + c->marks_len, 0, (groups_len - c->marks_len) * sizeof *c->marks);
	c->marks_len = groups_len;
}

void touched_note(
	struct touched *c, const uint32_t *groups, uint32_t n, uint32_t known, uint32_t groups_len)
{
	size_t len = c->len;

	marks_grow(c, groups_len);
	MEM_GROW(c->list, c->cap, len + n);
	for (uint32_t r = 0; r < n; r++) {
		uint32_t group = groups[r];

		if (c->marks[group])
			continue;
		c->list[len] = (struct change){
			.group = group, .before = group < known ? CHANGE_OLD : CHANGE_NEW};
		c->marks[group] = (uint32_t)++len;
	}
	c->len = len;
}

void touched_note_session(
	struct touched *c, uint32_t group, bool known, int64_t start_us, int64_t end_us)
{
	marks_grow(c, group + 1);
	if (c->marks[group])
		return;
	MEM_GROW(c->list, c->cap, c->len + 1);
	c->list[c->len] = (struct change){.group = group,
		.before = known ? CHANGE_OLD : CHANGE_NEW,
		.start_us = start_us,
		.end_us = end_us};
	c->marks[group] = (uint32_t)++c->len;
}

void touched_gone(struct touched *c, uint32_t group)
{
	struct change *change;

	if (group >= c->marks_len || !c->marks[group])
		return;
	change = &c->list[c->marks[group] - 1];
	MUST(change->before != CHANGE_OLD);
	change->group = CHANGE_GONE;
	c->marks[group] = 0;
}

/* ---- what groups look like ---- */

void touched_show_groups(struct window *w, const struct change_source *s,
	const struct change *const *list, uint32_t n, bool before, struct results *r)
{
	uint32_t *pick = arena_alloc(&w->change_arena, ((size_t)n + 1) * sizeof *pick);

	for (uint32_t i = 0; i < n; i++)
		pick[i] = list[i]->group;
	*r = (struct results){.keys = s->groups->keys,
		.key_pick = pick,
		.aggregates = s->groups->aggregates,
		.group_pick = pick,
		.n = n,
		.start_us = s->start_us,
		.end_us = s->end_us};
}

/* Leaves the groups that have rows: those that a changelog has emptied have no result, but without
 * keys there is always one. */
static uint32_t leave_living(struct window *w, const struct change_source *s,
	const struct change **list, uint32_t n, struct error *e)
{
	struct column_builder counts;
	struct results r;
	struct column c;
	uint32_t left = 0;

	if (!w->plan->retracts || w->plan->keys_len == 0 || n == 0)
		return n;
	s->show(w, s, list, n, false, &r);
	builder_init(&counts, TYPE_OF(TYPE_INT));
	aggregate_finalize(r.aggregates[w->plan->calls_len - 1], r.group_pick, n, &counts, e);
	c = builder_column(&counts);
	for (uint32_t i = 0; i < n; i++) {
		list[left] = list[i];
		left += column_int(&c, i) > 0;
	}
	builder_clear(&counts);
	return left;
}

/* Appends the rows of some changes. */
static int rows_fetch(struct window *w, struct touched *c, const struct change_source *s,
	const struct change *const *list, uint32_t n, bool before, struct error *e)
{
	int status = 0;

	if (n == 0)
		return 0;
	if (!c->rows.schema) {
		schema_copy(&c->schema, &w->plan->out);
		c->schema.changelog = false;
		batch_builder_init(&c->rows, &c->schema);
	}
	for (uint32_t first = 0, some; first < n && status == 0; first += some) {
		struct results r;
		struct batch out;

		some = n - first < BATCH_ROWS ? n - first : BATCH_ROWS;
		s->show(w, s, list + first, some, before, &r);
		status = results_rows(w, &r, &out, e);
		if (status == 0)
			batch_builder_put_rows(&c->rows, &out, 0, some);
	}
	return status;
}

static uint32_t rows_len(struct touched *c)
{
	return c->rows.schema ? batch_builder_rows(&c->rows) : 0;
}

int touched_before(
	struct window *w, struct touched *c, const struct change_source *s, struct error *e)
{
	const struct change **list = arena_alloc(
		&w->change_arena, (c->len - c->fetched + 1) * sizeof *list);
	uint32_t n = 0, row = rows_len(c), known;

	for (; c->fetched < c->len; c->fetched++) {
		if (c->list[c->fetched].before == CHANGE_OLD)
			list[n++] = &c->list[c->fetched];
	}
	known = n;
	for (uint32_t i = 0; w->plan->retracts && w->plan->keys_len && i < known; i++)
		c->list[list[i] - c->list].before = CHANGE_NEW;
	n = leave_living(w, s, list, n, e);
	if (rows_fetch(w, c, s, list, n, true, e))
		return -1;
	for (uint32_t i = 0; i < n; i++)
		c->list[list[i] - c->list].before = row++;
	return 0;
}

/* ---- the difference ---- */

/* Marks the pairs of rows whose values differ; several bytes at once where they are that wide. */
static void differ_mark(
	const struct column *c, const uint32_t *x, const uint32_t *y, uint32_t n, uint8_t *differ)
{
	const uint8_t *data = c->data;
	size_t width = type_is_text(c->type) ? 0 : type_width(c->type);

	for (uint32_t i = 0; c->valid && i < n; i++)
		differ[i] |= column_is_valid(c, x[i]) != column_is_valid(c, y[i]);
	if (width == sizeof(uint64_t) && !c->valid) {
		const uint64_t *values = c->data;

		for (uint32_t i = 0; i < n; i++)
			differ[i] |= values[x[i]] != values[y[i]];
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct text_view a, b;

		if (differ[i] || !column_is_valid(c, x[i]))
			continue;
		if (width) {
			differ[i] = memcmp(data + x[i] * width, data + y[i] * width, width) != 0;
			continue;
		}
		a = column_text(c, x[i]);
		b = column_text(c, y[i]);
		differ[i] = a.len != b.len || (a.len && memcmp(a.text, b.text, a.len) != 0);
	}
}

struct difference { /* the rows to emit */
	uint32_t *pick, n;
	uint8_t *ops;
};

static void put(struct difference *d, uint32_t row, enum row_op op)
{
	d->pick[d->n] = row;
	d->ops[d->n++] = (uint8_t)op;
}

/* Of every change: nothing, one row or two. */
static void difference_make(struct window *w, struct touched *c, const struct batch *rows,
	const uint32_t *after, struct difference *d)
{
	struct arena *a = &w->change_arena;
	size_t keys = w->plan->keys_len + (w->plan->has_window ? 2 : 0);
	uint32_t *x = arena_alloc(a, (c->len + 1) * sizeof *x);
	uint32_t *y = arena_alloc(a, (c->len + 1) * sizeof *y), n = 0;
	uint8_t *other_key = arena_zero(a, c->len + 1), *other = arena_zero(a, c->len + 1);

	d->pick = arena_alloc(a, (2 * c->len + 1) * sizeof *d->pick);
	d->ops = arena_alloc(a, 2 * c->len + 1);
	for (size_t i = 0; i < c->len; i++) {
		if (c->list[i].before == CHANGE_NEW || after[i] == CHANGE_NEW)
			continue;
		x[n] = c->list[i].before;
		y[n++] = after[i];
	}
	for (size_t i = 0; i < rows->schema->fields_len; i++)
		differ_mark(&rows->columns[i], x, y, n, i < keys ? other_key : other);
	n = 0;
	for (size_t i = 0; i < c->len; i++) {
		uint32_t before = c->list[i].before;
		bool pair = before != CHANGE_NEW && after[i] != CHANGE_NEW, moved;

		if (pair && !other_key[n] && !other[n]) {
			n++;
			continue;
		}
		moved = !pair || other_key[n];
		n += pair;
		if (before != CHANGE_NEW)
			put(d, before, moved ? ROW_DELETE : ROW_UPDATE_BEFORE);
		if (after[i] != CHANGE_NEW)
			put(d, after[i], moved ? ROW_INSERT : ROW_UPDATE_AFTER);
	}
}

/* In batches that no update straddles. */
static int difference_emit(
	struct window *w, const struct batch *rows, const struct difference *d, struct error *e)
{
	struct arena arena = ARENA_INIT;
	int status = 0;

	for (uint32_t at = 0, n; at < d->n && status == 0; at += n) {
		struct batch out;

		n = d->n - at < BATCH_ROWS ? d->n - at : BATCH_ROWS;
		n -= at + n < d->n && d->ops[at + n - 1] == ROW_UPDATE_BEFORE;
		arena_reset(&arena);
		batch_gather(rows, d->pick + at, n, &arena, &out);
		out.schema = &w->plan->out;
		out.ops = d->ops + at;
		status = stage_emit(w->op.stage, 0, &out, e);
	}
	arena_clear(&arena);
	return status;
}

int touched_flush(
	struct window *w, struct touched *c, const struct change_source *s, struct error *e)
{
	struct arena *a = &w->change_arena;
	const struct change **list = arena_alloc(a, (c->len + 1) * sizeof *list);
	uint32_t *after = arena_alloc(a, (c->len + 1) * sizeof *after), n = 0, row = rows_len(c);
	struct difference d = {.n = 0};
	const struct batch *rows;

	if (c->len == 0)
		return 0;
	memset(after, 0xff, c->len * sizeof *after);
	for (size_t i = 0; i < c->len; i++) {
		if (c->list[i].group != CHANGE_GONE)
			list[n++] = &c->list[i];
	}
	n = leave_living(w, s, list, n, e);
	if (rows_fetch(w, c, s, list, n, false, e))
		return -1;
	for (uint32_t i = 0; i < n; i++)
		after[list[i] - c->list] = row++;
	if (row) {
		rows = batch_builder_view(&c->rows);
		difference_make(w, c, rows, after, &d);
		if (difference_emit(w, rows, &d, e))
			return -1;
	}
	touched_reset(c);
	return 0;
}

/* ---- tables ---- */

int touched_add(struct window *w, struct touched *c, struct groups *g,
	const struct change_source *s, const struct rows *rows, struct error *e)
{
	uint32_t known = groups_len(g);
	uint32_t *ids = groups_insert(g, w->plan, rows, &w->batch_arena);

	touched_note(c, ids, rows->n, known, groups_len(g));
	return touched_before(w, c, s, e) ||
			       aggregates_add(g->aggregates, w->plan, rows, ids, &w->batch_arena, e)
		       ? -1
		       : 0;
}
