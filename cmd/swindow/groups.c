/* A key table and the aggregates of its keys. */
#include "cmd/swindow/window.h"

#include "libcore/base/memory.h"

struct groups *groups_new(const struct window_plan *p)
{
	struct groups *g = mem_zero(sizeof *g);

	g->keys = keytable_new(p->key_types, p->keys_len);
	g->aggregates = mem_zero(p->calls_len * sizeof *g->aggregates);
	for (size_t i = 0; i < p->calls_len; i++)
		g->aggregates[i] = aggregate_new_like(p->calls[i].like);
	return g;
}

void groups_free(struct groups *g, const struct window_plan *p)
{
	if (!g)
		return;
	for (size_t i = 0; i < p->calls_len; i++)
		aggregate_free(g->aggregates[i]);
	mem_free(g->aggregates);
	keytable_free(g->keys);
	mem_free(g);
}

void groups_reset(struct groups *g, const struct window_plan *p)
{
	keytable_reset(g->keys);
	for (size_t i = 0; i < p->calls_len; i++)
		aggregate_reset(g->aggregates[i]);
}

uint32_t groups_len(const struct groups *g)
{
	return keytable_len(g->keys);
}

size_t groups_bytes(const struct groups *g, const struct window_plan *p)
{
	size_t bytes = sizeof *g + keytable_bytes(g->keys);

	for (size_t i = 0; i < p->calls_len; i++)
		bytes += aggregate_bytes(g->aggregates[i]);
	return bytes;
}

void groups_resize(struct groups *g, const struct window_plan *p)
{
	for (size_t i = 0; i < p->calls_len; i++)
		aggregate_resize(g->aggregates[i], keytable_len(g->keys));
}

/* ---- rows ---- */

/* Whether rows [first, ...) of all columns can be had without copying: validity starts at a byte.
 */
static bool can_view(const struct rows *all, uint32_t first)
{
	if (all->signs)
		return false;
	for (size_t i = 0; i < all->columns_len && first % 8; i++) {
		if (all->columns[i].valid)
			return false;
	}
	return true;
}

static void rows_view(
	const struct rows *all, uint32_t first, uint32_t n, struct arena *a, struct rows *out)
{
	struct column *columns = ARENA_ARRAY(a, struct column, all->columns_len + 1);

	for (size_t i = 0; i < all->columns_len; i++) {
		struct column *c = &columns[i];

		*c = all->columns[i];
		if (c->valid)
			c->valid += first / 8;
		if (type_is_text(c->type))
			c->offsets += first;
		else
			c->data = (const uint8_t *)c->data + (size_t)first * type_width(c->type);
	}
	*out = (struct rows){
		n, columns, all->columns_len, all->hashes + first, all->times + first, NULL};
}

void rows_take(
	const struct rows *all, const uint32_t *pick, uint32_t n, struct arena *a, struct rows *out)
{
	if (pick[n - 1] - pick[0] == n - 1 && can_view(all, pick[0]))
		rows_view(all, pick[0], n, a, out);
	else
		rows_gather(all, pick, n, a, out);
}

void rows_gather(
	const struct rows *all, const uint32_t *pick, uint32_t n, struct arena *a, struct rows *out)
{
	struct column *columns = ARENA_ARRAY(a, struct column, all->columns_len + 1);
	uint64_t *hashes = arena_alloc(a, ((size_t)n + 1) * sizeof *hashes);
	int64_t *times = arena_alloc(a, ((size_t)n + 1) * sizeof *times);
	int8_t *signs = all->signs ? arena_alloc(a, (size_t)n + 1) : NULL;

	for (size_t i = 0; i < all->columns_len; i++)
		column_gather(&all->columns[i], pick, n, a, &columns[i]);
	for (uint32_t r = 0; r < n; r++) {
		hashes[r] = all->hashes[pick[r]];
		times[r] = all->times[pick[r]];
	}
	for (uint32_t r = 0; signs && r < n; r++)
		signs[r] = all->signs[pick[r]];
	*out = (struct rows){n, columns, all->columns_len, hashes, times, signs};
}

/* One byte per row: the filter is true. */
static const uint8_t *filter_bytes(const struct column *c, uint32_t rows, struct arena *a)
{
	const uint8_t *values = c->data;
	uint8_t *picked;

	if (!c->valid)
		return values;
	picked = arena_alloc(a, (size_t)rows + 1);
	for (uint32_t r = 0; r < rows; r++)
		picked[r] = values[r] & (c->valid[r >> 3] >> (r & 7) & 1);
	return picked;
}

int aggregates_add(struct aggregate **aggregates, const struct window_plan *p,
	const struct rows *rows, const uint32_t *ids, struct arena *a, struct error *e)
{
	for (size_t i = 0; i < p->calls_len; i++) {
		const struct window_call *call = &p->calls[i];
		struct column args[AGGREGATE_ARGS_MAX] = {{.valid = NULL}};
		struct aggregate_rows update = {
			.groups = ids, .order = rows->times, .signs = rows->signs, .rows = rows->n};

		for (size_t k = 0; k < call->args_len; k++)
			args[k] = rows->columns[call->args[k]];
		if (call->filtered)
			update.picked = filter_bytes(&rows->columns[call->filter], rows->n, a);
		if (aggregate_update(aggregates[i], args, &update, e))
			return error_context(e, "%s", call->text);
	}
	return 0;
}

static const struct column **key_columns(const struct rows *rows, size_t n, struct arena *a)
{
	const struct column **keys = arena_alloc(a, (n + 1) * sizeof *keys);

	for (size_t i = 0; i < n; i++)
		keys[i] = &rows->columns[i];
	return keys;
}

uint32_t *groups_insert(struct groups *g, const struct window_plan *p, const struct rows *rows,
	struct arena *a)
{
	uint32_t *ids = arena_alloc(a, (rows->n + (size_t)1) * sizeof *ids);

	keytable_insert(g->keys, key_columns(rows, p->keys_len, a), rows->n, rows->hashes, ids);
	groups_resize(g, p);
	return ids;
}

int groups_add(struct groups *g, const struct window_plan *p, const struct rows *rows,
	struct arena *a, struct error *e)
{
	uint32_t *ids = NULL;

	if (rows->n == 0)
		return 0;
	ids = groups_insert(g, p, rows, a);
	/* One group in all: the aggregates add a column up without looking at groups. */
	return aggregates_add(
		g->aggregates, p, rows, keytable_len(g->keys) == 1 ? NULL : ids, a, e);
}

/* Some keys of a table from `first` on, a multiple of 8, as columns that borrow it. */
static void keys_at(const struct keytable *t, size_t n, uint32_t first, struct column *out)
{
	for (size_t i = 0; i < n; i++) {
		out[i] = keytable_column(t, i);
		if (out[i].valid)
			out[i].valid += first / 8;
		if (type_is_text(out[i].type))
			out[i].offsets += first;
		else
			out[i].data = (const uint8_t *)out[i].data +
				      (size_t)first * type_width(out[i].type);
	}
}

/* Into no groups at all: the table is copied as it is, numbers stay. */
static int groups_copy(
	struct groups *to, const struct groups *from, const struct window_plan *p, struct error *e)
{
	uint32_t len = groups_len(from), *same = mem_alloc(len * sizeof *same);
	int status = 0;

	keytable_copy(to->keys, from->keys);
	groups_resize(to, p);
	for (uint32_t i = 0; i < len; i++)
		same[i] = i;
	for (size_t i = 0; i < p->calls_len && status == 0; i++)
		status = aggregate_combine(
			to->aggregates[i], same, from->aggregates[i], same, len, e);
	mem_free(same);
	return status;
}

int groups_combine(
	struct groups *to, const struct groups *from, const struct window_plan *p, struct error *e)
{
	enum { SOME = 1024 };
	uint64_t hashes[SOME];
	uint32_t to_ids[SOME], from_ids[SOME], len = groups_len(from);
	struct column *columns = mem_alloc(p->keys_len * sizeof *columns);
	const struct column **keys = mem_alloc(p->keys_len * sizeof *keys);
	int status = 0;

	if (groups_len(to) == 0) {
		status = groups_copy(to, from, p, e);
		len = 0;
	}
	for (uint32_t first = 0; first < len && status == 0; first += SOME) {
		uint32_t n = len - first < SOME ? len - first : SOME;

		keys_at(from->keys, p->keys_len, first, columns);
		for (size_t i = 0; i < p->keys_len; i++)
			keys[i] = &columns[i];
		keytable_hashes(from->keys, first, n, hashes);
		keytable_insert(to->keys, keys, n, hashes, to_ids);
		groups_resize(to, p);
		for (uint32_t i = 0; i < n; i++)
			from_ids[i] = first + i;
		for (size_t i = 0; i < p->calls_len && status == 0; i++)
			status = aggregate_combine(
				to->aggregates[i], to_ids, from->aggregates[i], from_ids, n, e);
	}
	mem_free(keys);
	mem_free(columns);
	return status;
}

int groups_combine_picked(struct groups *to, const struct groups *from,
	const struct window_plan *p, const uint32_t *pick, uint32_t n, uint32_t *ids,
	struct error *e)
{
	enum { SOME = 1024 };
	struct arena a = ARENA_INIT;
	int status = 0;

	for (uint32_t first = 0, some; first < n && status == 0; first += some) {
		struct column *columns;
		const struct column **keys;
		uint64_t *hashes;

		some = n - first < SOME ? n - first : SOME;
		arena_reset(&a);
		columns = ARENA_ARRAY(&a, struct column, p->keys_len + 1);
		keys = ARENA_ARRAY(&a, const struct column *, p->keys_len + 1);
		hashes = ARENA_ARRAY(&a, uint64_t, some);
		for (size_t i = 0; i < p->keys_len; i++) {
			struct column all = keytable_column(from->keys, i);

			column_gather(&all, pick + first, some, &a, &columns[i]);
			keys[i] = &columns[i];
		}
		for (uint32_t i = 0; i < some; i++)
			hashes[i] = keytable_hash(from->keys, pick[first + i]);
		keytable_insert(to->keys, keys, some, hashes, ids + first);
		groups_resize(to, p);
		for (size_t i = 0; i < p->calls_len && status == 0; i++)
			status = aggregate_combine(to->aggregates[i], ids + first,
				from->aggregates[i], pick + first, some, e);
	}
	arena_clear(&a);
	return status;
}

uint32_t *groups_living(
	const struct groups *g, const struct window_plan *p, uint32_t *n, struct error *e)
{
	uint32_t len = groups_len(g), *pick = mem_alloc(((size_t)len + 1) * sizeof *pick);
	struct column_builder counts;
	struct column c;

	*n = len;
	for (uint32_t i = 0; i < len; i++)
		pick[i] = i;
	if (!p->retracts)
		return pick;
	builder_init(&counts, TYPE_OF(TYPE_INT));
	aggregate_finalize(g->aggregates[p->calls_len - 1], NULL, len, &counts, e);
	c = builder_column(&counts);
	*n = 0;
	for (uint32_t i = 0; i < len; i++) {
		pick[*n] = i;
		*n += column_int(&c, i) > 0;
	}
	builder_clear(&counts);
	return pick;
}
