/* No window: one set of groups, handed out at the end of the stream. */
#include "cmd/swindow/spilled.h"

#include "libcore/base/memory.h"

struct global {
	struct groups *groups;
};

static struct global *global_of(const struct window *w)
{
	return w->state;
}

static void global_init(struct window *w)
{
	struct global *g = mem_zero(sizeof *g);

	g->groups = groups_new(w->plan);
	w->state = g;
}

static void global_clear(struct window *w)
{
	groups_free(global_of(w)->groups, w->plan);
	mem_free(w->state);
}

static int global_add(struct window *w, const struct rows *rows, struct error *e)
{
	return groups_add(global_of(w)->groups, w->plan, rows, &w->batch_arena, e);
}

static int spilled_end(struct window *w, struct error *e)
{
	struct spilled_part all = {.groups = global_of(w)->groups};
	int status = spilled_fire(w, &all, 1, 0, 0, e);

	spilled_forget(w->spilled, 0);
	return status;
}

static int global_end(struct window *w, struct error *e)
{
	const struct groups *g = global_of(w)->groups;
	struct results r = {.keys = g->keys, .aggregates = g->aggregates, .n = groups_len(g)};
	uint32_t *pick = NULL;
	int status;

	if (w->plan->retracts)
		r.key_pick = r.group_pick = pick = groups_living(g, w->plan, &r.n, e);
	/* Without keys there is one result, also of nothing: count 0. */
	if (w->plan->keys_len == 0 && r.n == 0) {
		for (size_t i = 0; i < w->plan->calls_len; i++)
			aggregate_resize(g->aggregates[i], 1);
		r.n = 1;
		r.key_pick = r.group_pick = NULL;
	}
	status = results_put(w, &r, e);
	mem_free(pick);
	return status;
}

static int global_fire(struct window *w, int64_t watermark_us, struct error *e)
{
	int status;

	if (watermark_us != WATERMARK_FINAL)
		return 0;
	status = spilled_has(w->spilled, 0) ? spilled_end(w, e) : global_end(w, e);
	groups_reset(global_of(w)->groups, w->plan);
	return status;
}

static int global_spill(struct window *w, struct error *e)
{
	struct global *g = global_of(w);
	struct state_table table = {.first_place = spilled_next_place(w->spilled),
		.keys = g->groups->keys,
		.aggregates = g->groups->aggregates};

	if (spilled_put_tables(w, &table, 1, e))
		return -1;
	groups_free(g->groups, w->plan);
	g->groups = groups_new(w->plan);
	return 0;
}

static size_t global_bytes(const struct window *w)
{
	return groups_bytes(global_of(w)->groups, w->plan);
}

static int global_save(struct window *w, struct snapshot_writer *s, struct error *e)
{
	const struct groups *g = global_of(w)->groups;
	struct state_table table = {.first_place = spilled_next_place(w->spilled),
		.keys = g->keys,
		.aggregates = g->aggregates};

	return state_put_tables(w, s, &table, 1, e);
}

static int global_load(struct window *w, const struct batch *b, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct state_batch in;
	uint32_t *ids;
	int status;

	state_batch_read(w->plan, b, &arena, &in);
	status = state_groups_load(w, global_of(w)->groups, &in, &arena, &ids, e);
	arena_clear(&arena);
	return status;
}

static int global_load_new(struct window *w, const struct batch *b, struct error *e)
{
	struct groups *g = global_of(w)->groups;
	struct arena arena = ARENA_INIT;
	struct state_batch in;
	uint32_t *ids;
	int status;

	if (w->plan->keys_len == 0)
		return global_load(w, b, e);
	ids = arena_alloc(&arena, ((size_t)b->rows + 1) * sizeof *ids);
	state_batch_read(w->plan, b, &arena, &in);
	for (uint32_t r = 0; r < in.rows; r++)
		ids[r] = groups_len(g) + r;
	keytable_append(g->keys, in.keys, in.rows);
	groups_resize(g, w->plan);
	status = state_aggregates_load(w->plan, g->aggregates, &in, ids, e);
	arena_clear(&arena);
	return status;
}

static void global_load_end(struct window *w)
{
	if (w->plan->keys_len)
		keytable_index(global_of(w)->groups->keys);
}

const struct window_ops global_ops = {
	.init = global_init,
	.clear = global_clear,
	.add = global_add,
	.fire = global_fire,
	.bytes = global_bytes,
	.spill = global_spill,
	.save = global_save,
	.load = global_load,
	.load_new = global_load_new,
	.load_end = global_load_end,
};
