#include "cmd/swindow/changes.h"

#include "libcore/base/memory.h"

enum { SOME = BATCH_ROWS / 2 }; /* entities at once: before and after fit a batch */

void changes_init(struct changes *c, const struct window_plan *p)
{
	*c = (struct changes){.rows = SCHEMA_INIT};
	schema_copy(&c->rows, &p->out);
	c->rows.changelog = false;
	batch_builder_init(&c->before, &c->rows);
	batch_builder_init(&c->after, &c->rows);
	batch_builder_init(&c->both, &c->rows);
}

void changes_clear(struct changes *c)
{
	mem_free(c->places);
	mem_free(c->noted);
	mem_free(c->counts);
	batch_builder_clear(&c->before);
	batch_builder_clear(&c->after);
	batch_builder_clear(&c->both);
	schema_clear(&c->rows);
}

size_t changes_bytes(const struct changes *c)
{
	size_t rows = batch_builder_rows(&c->before), bytes = 0;

	for (size_t i = 0; i < c->before.schema->fields_len; i++)
		bytes += c->before.columns[i].bytes.len + rows * type_width(c->before.columns[i].type);
	return bytes + (c->places_cap + c->noted_cap + c->counts_cap) * sizeof *c->noted;
}

/* ---- noting ---- */

static void places_grow(struct changes *c, uint32_t entity)
{
	if (entity < c->places_len)
		return;
	MEM_GROW(c->places, c->places_cap, (size_t)entity + 1);
	memset(c->places + c->places_len, 0, (c->places_cap - c->places_len) * sizeof *c->places);
	c->places_len = c->places_cap;
}

int changes_note(struct changes *c, struct window *w, const struct changes_source *s,
	const uint32_t *entities, uint32_t n, struct error *e)
{
	size_t first = c->noted_len;
	uint32_t last = UINT32_MAX;

	for (uint32_t r = 0; r < n; r++) {
		if (entities[r] == last) /* runs are usual */
			continue;
		last = entities[r];
		places_grow(c, last);
		if (c->places[last])
			continue;
		MEM_GROW(c->noted, c->noted_cap, c->noted_len + 1);
		c->noted[c->noted_len++] = last;
		c->places[last] = (uint32_t)c->noted_len;
	}
	MEM_GROW(c->counts, c->counts_cap, c->noted_len + 1);
	for (; first < c->noted_len; first += SOME) {
		size_t left = c->noted_len - first;

		if (s->rows(w, s->of, c->noted + first, left < SOME ? (uint32_t)left : SOME,
			    &c->before, c->counts + first, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- comparing ---- */

static bool same_value(const struct column *a, uint32_t i, const struct column *b, uint32_t k)
{
	size_t width = type_width(a->type);
	bool valid = column_is_valid(a, i);

	if (valid != column_is_valid(b, k))
		return false;
	if (!valid)
		return true;
	if (type_is_text(a->type)) {
		struct text_view x = column_text(a, i), y = column_text(b, k);

		return x.len == y.len && (!x.len || memcmp(x.text, y.text, x.len) == 0);
	}
	return memcmp((const uint8_t *)a->data + i * width, (const uint8_t *)b->data + k * width,
		       width) == 0;
}

static bool same_row(const struct batch *a, uint32_t i, const struct batch *b, uint32_t k)
{
	for (size_t c = 0; c < a->schema->fields_len; c++) {
		if (!same_value(&a->columns[c], i, &b->columns[c], k))
			return false;
	}
	return true;
}

/* Below 0: the row of a comes first.  Rows of one entity differ in no more than their window. */
static int order_rows(const struct window_plan *p, const struct batch *a, uint32_t i,
	const struct batch *b, uint32_t k)
{
	for (size_t c = p->keys_len; p->has_window && c < p->keys_len + 2; c++) {
		int64_t x = column_int(&a->columns[c], i), y = column_int(&b->columns[c], k);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

/* ---- emitting ---- */

/* Rows on their way out: numbers of both->rows, before and then after. */
struct difference {
	const struct window_plan *plan;
	const struct batch *before, *after;
	uint32_t first; /* of after's rows in both */
	uint32_t *pick;
	uint8_t *ops;
	uint32_t n;
};

static void put(struct difference *d, uint32_t row, enum row_op op)
{
	d->pick[d->n] = row;
	d->ops[d->n++] = (uint8_t)op;
}

/* Rows [i, i_end) before and [k, k_end) now, of one entity. */
static void compare(struct difference *d, uint32_t i, uint32_t i_end, uint32_t k, uint32_t k_end)
{
	while (i < i_end || k < k_end) {
		int order = i == i_end ? 1 : k == k_end ? -1
				       : order_rows(d->plan, d->before, i, d->after, k);

		if (order < 0) {
			put(d, i++, ROW_DELETE);
		} else if (order > 0) {
			put(d, d->first + k++, ROW_INSERT);
		} else {
			if (!same_row(d->before, i, d->after, k)) {
				put(d, i, ROW_UPDATE_BEFORE);
				put(d, d->first + k, ROW_UPDATE_AFTER);
			}
			i++;
			k++;
		}
	}
}

/* A -U and its +U stay together. */
static int emit_picked(struct window *w, const struct batch *both, const struct difference *d,
	struct error *e)
{
	struct arena arena = ARENA_INIT;
	int status = 0;

	for (uint32_t first = 0, n; first < d->n && status == 0; first += n) {
		struct batch out;

		n = d->n - first < BATCH_ROWS ? d->n - first : BATCH_ROWS;
		if (d->ops[first + n - 1] == ROW_UPDATE_BEFORE)
			n--;
		arena_reset(&arena);
		batch_gather(both, d->pick + first, n, &arena, &out);
		out.schema = &w->plan->out;
		out.ops = d->ops + first;
		status = stage_emit(w->op.stage, 0, &out, e);
	}
	arena_clear(&arena);
	return status;
}

/* The entities noted at [first, first + n); before: the rows they had. */
static int emit_some(struct changes *c, struct window *w, const struct changes_source *s,
	size_t first, uint32_t n, const struct batch *before, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct difference d = {.plan = w->plan, .before = before, .first = before->rows};
	uint32_t *counts = arena_alloc(&arena, n * sizeof *counts), k = 0, i = 0;
	int status = s->rows(w, s->of, c->noted + first, n, &c->after, counts, e);

	if (status == 0) {
		d.after = batch_builder_view(&c->after);
		d.pick = arena_alloc(&arena, (before->rows + d.after->rows + (size_t)1) * sizeof *d.pick);
		d.ops = arena_alloc(&arena, before->rows + (size_t)d.after->rows + 1);
		for (uint32_t x = 0; x < n; x++) {
			compare(&d, i, i + c->counts[first + x], k, k + counts[x]);
			i += c->counts[first + x];
			k += counts[x];
		}
		batch_builder_put_rows(&c->both, before, 0, before->rows);
		batch_builder_put_rows(&c->both, d.after, 0, d.after->rows);
		status = emit_picked(w, batch_builder_view(&c->both), &d, e);
	}
	batch_builder_reset(&c->after);
	batch_builder_reset(&c->both);
	arena_clear(&arena);
	return status;
}

int changes_emit(struct changes *c, struct window *w, const struct changes_source *s,
	struct error *e)
{
	struct arena arena = ARENA_INIT;
	uint32_t row = 0;
	int status = 0;

	for (size_t first = 0; first < c->noted_len && status == 0; first += SOME) {
		uint32_t left = (uint32_t)(c->noted_len - first), n = left < SOME ? left : SOME;
		struct batch before;
		uint32_t rows = 0;

		for (uint32_t i = 0; i < n; i++)
			rows += c->counts[first + i];
		arena_reset(&arena);
		batch_slice(batch_builder_view(&c->before), row, rows, &arena, &before);
		row += rows;
		status = emit_some(c, w, s, first, n, &before, e);
	}
	for (size_t i = 0; i < c->noted_len; i++)
		c->places[c->noted[i]] = 0;
	c->noted_len = 0;
	batch_builder_reset(&c->before);
	arena_clear(&arena);
	return status;
}
