/* No window: one set of groups, handed out at the end of the stream. */
#include "cmd/swindow/window.h"

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

/* Groups that a changelog has emptied again are no groups. */
static uint32_t *living_groups(struct window *w, uint32_t *n, struct error *e)
{
	const struct groups *g = global_of(w)->groups;
	uint32_t *pick = mem_alloc(groups_len(g) * sizeof *pick);
	struct column_builder counts;
	struct column c;

	builder_init(&counts, TYPE_OF(TYPE_INT));
	aggregate_finalize(g->aggregates[w->plan->calls_len - 1], NULL, groups_len(g), &counts, e);
	c = builder_column(&counts);
	*n = 0;
	for (uint32_t i = 0; i < groups_len(g); i++) {
		pick[*n] = i;
		*n += column_int(&c, i) > 0;
	}
	builder_clear(&counts);
	return pick;
}

static int global_fire(struct window *w, int64_t watermark_us, struct error *e)
{
	const struct groups *g = global_of(w)->groups;
	struct results r = {.keys = g->keys, .aggregates = g->aggregates, .n = groups_len(g)};
	uint32_t *pick = NULL;
	int status;

	if (watermark_us != WATERMARK_FINAL)
		return 0;
	if (w->plan->retracts)
		r.key_pick = r.group_pick = pick = living_groups(w, &r.n, e);
	/* Without keys there is one result, also of nothing: count 0. */
	if (w->plan->keys_len == 0 && r.n == 0) {
		for (size_t i = 0; i < w->plan->calls_len; i++)
			aggregate_resize(g->aggregates[i], 1);
		r.n = 1;
		r.key_pick = r.group_pick = NULL;
	}
	status = results_put(w, &r, e);
	mem_free(pick);
	groups_reset(global_of(w)->groups, w->plan);
	return status;
}

static size_t global_bytes(const struct window *w)
{
	return groups_bytes(global_of(w)->groups, w->plan);
}

static int global_save(struct window *w, struct snapshot_writer *s, struct error *e)
{
	const struct groups *g = global_of(w)->groups;
	struct state_table table = {.keys = g->keys, .aggregates = g->aggregates};

	return state_put_tables(w, s, &table, 1, e);
}

static int load(struct window *w, const struct batch *b, bool all_new, struct error *e)
{
	struct groups *g = global_of(w)->groups;
	struct arena arena = ARENA_INIT;
	struct state_batch in;
	uint32_t *ids = arena_alloc(&arena, ((size_t)b->rows + 1) * sizeof *ids);
	int status;

	state_batch_read(w->plan, b, &arena, &in);
	if (all_new && w->plan->keys_len) {
		for (uint32_t r = 0; r < in.rows; r++)
			ids[r] = groups_len(g) + r;
		keytable_append(g->keys, in.keys, in.rows);
	} else {
		keytable_insert(g->keys, in.keys, in.rows, in.hashes, ids);
	}
	for (size_t i = 0; i < w->plan->calls_len; i++)
		aggregate_resize(g->aggregates[i], groups_len(g));
	status = state_aggregates_load(w->plan, g->aggregates, &in, ids, e);
	arena_clear(&arena);
	return status;
}

static int global_load(struct window *w, const struct batch *b, struct error *e)
{
	return load(w, b, false, e);
}

static int global_load_new(struct window *w, const struct batch *b, struct error *e)
{
	return load(w, b, true, e);
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
	.save = global_save,
	.load = global_load,
	.load_new = global_load_new,
	.load_end = global_load_end,
};
