/* Joins by equal keys with a bounded RIGHT, which is read first and kept; left rows then stream
 * through in order.  A changelog on the right is worked off as it comes: what is left at its end is
 * the table.  One on the left streams through with its ops.  Where RIGHT doesn't fit in memory,
 * rows of both go to disk (grace.h), which then uses what is here part by part.
 *
 *   key id            0        1     2  ...
 *   starts            0        2     3           rows of key 1: order[2 .. 3)
 *   order             5   9    4     ...         row numbers of RIGHT, by key, in order of arrival
 *
 * Where no key repeats (a dimension table: the usual case) row and key have the same number, and a
 * batch is one lookup and one gather per column. */
#include "cmd/sjoin/equal.h"

#include "cmd/sjoin/emit.h"
#include "cmd/sjoin/grace.h"
#include "libcore/state/rowindex.h"

#include "libcore/base/memory.h"

#include <stdlib.h>
#include <string.h>

struct equal {
	uint32_t *starts, *order;
	bool indexed;          /* starts and order are up to date */
	bool unique;           /* row r has key r */
	struct rowindex index; /* of RIGHT, while it takes rows back */
	bool has_index;
	struct grace *grace; /* NULL: all is in memory */
	bool done;           /* all was emitted, from disk */
};

/* A left row of a batch, and what it looked up. */
struct probed {
	const struct batch *b;
	const uint32_t *ids;
	const uint8_t *ops; /* NULL: all are inserts */
	uint8_t *met;       /* see equal_probe */
};

static void equal_start(struct join *j)
{
	if (!j->state)
		j->state = mem_zero(sizeof(struct equal));
}

static void equal_free(struct join *j)
{
	struct equal *q = j->state;

	if (!q)
		return;
	mem_free(q->starts);
	mem_free(q->order);
	rowindex_clear(&q->index);
	grace_free(q->grace);
	mem_free(q);
}

void equal_finish(struct join *j)
{
	struct equal *q = j->state;

	rowindex_clear(&q->index);
	q->has_index = false;
	if (j->kept.sides[RIGHT].dead)
		join_compact_now(j);
}

static void index_rows(struct join *j)
{
	struct equal *q = j->state;
	const struct rowstore *s = &j->kept.sides[RIGHT];
	uint32_t keys;

	equal_finish(j);
	keys = keytable_len(j->kept.table);
	q->indexed = q->unique = true;
	for (uint32_t r = 0; r < s->len && q->unique; r++)
		q->unique = s->key[r] == r;
	if (q->unique)
		return;
	q->starts = mem_resize(q->starts, (keys + (size_t)2) * sizeof *q->starts);
	q->order = mem_resize(q->order, (s->len + (size_t)1) * sizeof *q->order);
	memset(q->starts, 0, (keys + (size_t)2) * sizeof *q->starts);
	for (uint32_t r = 0; r < s->len; r++) {
		if (s->key[r] != KEY_NONE)
			q->starts[s->key[r] + 2]++;
	}
	for (uint32_t k = 2; k < keys + 2; k++)
		q->starts[k] += q->starts[k - 1];
	for (uint32_t r = 0; r < s->len; r++) { /* starts[k + 1] runs from k's start to its end */
		if (s->key[r] != KEY_NONE)
			q->order[q->starts[s->key[r] + 1]++] = r;
	}
}

static int probe_general(struct join *j, const struct probed *l, struct error *e)
{
	struct equal *q = j->state;
	const struct batch *b = l->b;
	const uint32_t *ids = l->ids;
	struct emit_run run = {.source = {.left = b,
				       .right = rowstore_view(&j->kept.sides[RIGHT]),
				       .left_ops = l->ops},
		.positions = b->rows,
		.met = l->met};
	int status = 0;

	run.right_flags = join_keeps_right(j) ? j->kept.sides[RIGHT].flags : NULL;
	run.right_matches = j->kept.matches[RIGHT];
	emit_run_begin(&run, j);
	for (uint32_t r = 0; r < b->rows && status == 0; r++) {
		if (ids[r] == KEY_NONE)
			continue;
		if (q->unique) {
			status = emit_run_pair(&run, r, ids[r], e);
			continue;
		}
		for (uint32_t i = q->starts[ids[r]]; i < q->starts[ids[r] + 1] && status == 0;
			i++) {
			status = emit_run_pair(&run, r, q->order[i], e);
			if (run.first_only)
				break;
		}
	}
	if (status == 0)
		status = emit_run_flush(&run, b->rows, e);
	emit_run_free(&run);
	return status;
}

/* Rows that have a match (or none) pass; RIGHT's columns don't. */
static int probe_filter(struct join *j, const struct probed *l, struct error *e)
{
	bool wanted = j->options.kind == JOIN_SEMI;
	const struct batch *b = l->b;
	const uint32_t *ids = l->ids;
	uint32_t *pick = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *pick);
	struct pairs p = {.left = b, .left_rows = pick, .left_ops = l->ops};

	for (uint32_t r = 0; r < b->rows; r++) {
		pick[p.n] = r;
		p.n += (ids[r] != KEY_NONE) == wanted;
	}
	if (p.n == b->rows)
		p.left_rows = NULL;
	return emit_lefts(j, &p, e);
}

/* Right rows that met somebody. */
static void mark_unique(struct join *j, const struct probed *l)
{
	uint8_t *flags = j->kept.sides[RIGHT].flags;
	uint32_t *matches = j->kept.matches[RIGHT];

	for (uint32_t r = 0; r < l->b->rows; r++) {
		if (l->ids[r] == KEY_NONE)
			continue;
		flags[l->ids[r]] |= ROW_MATCHED;
		if (l->ops)
			matches[l->ids[r]] += op_is_insert(l->ops[r]) ? 1 : -1u;
	}
}

/* Every key once and no condition: what was looked up is what is gathered. */
static int probe_unique(struct join *j, const struct probed *l, struct error *e)
{
	const struct batch *b = l->b;
	const uint32_t *ids = l->ids;
	struct pairs p = {.left = b,
		.right = rowstore_view(&j->kept.sides[RIGHT]),
		.right_rows = ids,
		.n = b->rows,
		.left_ops = l->ops};
	uint32_t *left, *right, n = 0;

	if (join_keeps_right(j))
		mark_unique(j, l);
	if (join_keeps_left(j)) /* KEY_NONE is ROW_NONE: nulls */
		return emit_lefts(j, &p, e);
	left = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *left);
	right = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *right);
	for (uint32_t r = 0; r < b->rows; r++) {
		left[n] = r;
		right[n] = ids[r];
		n += ids[r] != KEY_NONE;
	}
	if (n < b->rows) {
		p.left_rows = left;
		p.right_rows = right;
		p.n = n;
	}
	return emit_lefts(j, &p, e);
}

int equal_probe(struct join *j, const struct batch *b, uint8_t *met, struct error *e)
{
	struct equal *q = j->state;
	struct plan_keys keys;
	struct probed l = {.b = b, .met = met};
	uint32_t *ids;

	if (!q->indexed)
		index_rows(j);
	if (plan_find_keys(&j->plan, LEFT, b, &j->arena, &keys, e) < 0)
		return -1;
	l.ids = ids = arena_alloc(&j->arena, b->rows * sizeof *ids);
	l.ops = emit_left_ops(b, keys.hashes, &j->arena);
	/* A null key is not found: none was put in. */
	keytable_find(j->kept.table, keys.columns, b->rows, keys.hashes, ids);
	if (join_is_filter(j) && !j->plan.where && !met)
		return probe_filter(j, &l, e);
	if (q->unique && !j->plan.where && !met)
		return probe_unique(j, &l, e);
	return probe_general(j, &l, e);
}

/* ---- RIGHT as a changelog ---- */

static int take_back(
	struct join *j, const struct batch *b, uint32_t row, uint64_t hash, struct error *e)
{
	struct equal *q = j->state;
	struct rowstore *s = &j->kept.sides[RIGHT];
	uint32_t found = rowindex_take(&q->index, s, b, row, hash);

	if (found == ROW_NONE)
		return join_missing(j, RIGHT, b, row, e);
	rowstore_kill(s, found);
	return 0;
}

int equal_change(struct join *j, const struct batch *b, const int64_t *times, struct error *e)
{
	struct equal *q = j->state;
	struct rowstore *s = &j->kept.sides[RIGHT];
	uint32_t *pick = arena_alloc(&j->arena, b->rows * sizeof *pick), *ids, *keys, n = 0, next;
	uint64_t *hashes = arena_alloc(&j->arena, b->rows * sizeof *hashes);
	int64_t *kept_times = arena_alloc(&j->arena, b->rows * sizeof *kept_times);
	struct plan_keys found;

	if (plan_find_keys(&j->plan, RIGHT, b, &j->arena, &found, e) < 0)
		return -1;
	ids = kept_keys(&j->kept, &found, b->rows, &j->arena, NULL);
	keys = arena_alloc(&j->arena, b->rows * sizeof *keys);
	if (!q->has_index)
		rowindex_build(&q->index, s);
	q->has_index = true;
	rowindex_hash(b, &j->arena, hashes);
	for (uint32_t r = 0; r < b->rows; r++) {
		pick[n] = r;
		keys[n] = ids[r];
		kept_times[n] = times ? times[r] : 0;
		n += op_is_insert(b->ops[r]) && (ids[r] != KEY_NONE || join_keeps_right(j));
	}
	q->indexed = false;
	next = kept_put(&j->kept, RIGHT, b, pick, n, kept_times, keys);
	for (uint32_t r = 0; r < b->rows; r++) {
		if (ids[r] == KEY_NONE && !join_keeps_right(j))
			continue;
		if (op_is_insert(b->ops[r]))
			rowindex_add(&q->index, next++, hashes[r]);
		else if (take_back(j, b, r, hashes[r], e) < 0)
			return -1;
	}
	join_compact(j);
	return 0;
}

void equal_forget(struct join *j)
{
	struct equal *q = j->state;

	rowindex_clear(&q->index);
	q->has_index = q->indexed = false;
}

static void equal_renumber(struct join *j, uint32_t *const remap[2])
{
	struct equal *q = j->state;

	if (q->has_index)
		rowindex_build(&q->index, &j->kept.sides[RIGHT]);
}

static size_t equal_bytes(const struct join *j)
{
	const struct equal *q = j->state;

	return rowindex_bytes(&q->index);
}

/* Beyond --memory the join goes on on disk, where it can. */
static int check_memory(struct join *j, struct error *e)
{
	struct equal *q = j->state;

	if (!join_is_over_memory(j))
		return 0;
	return join_can_spill(j) ? grace_new(j, &q->grace, e) : join_check_memory(j, e);
}

static int equal_rows(
	struct join *j, unsigned side, const struct batch *b, const int64_t *times, struct error *e)
{
	struct equal *q = j->state;
	uint32_t first;

	if (q->grace)
		return grace_add(q->grace, side, b, NULL, NULL, e);
	if (side == LEFT)
		return equal_probe(j, b, NULL, e);
	if (b->ops) {
		if (equal_change(j, b, NULL, e) < 0)
			return -1;
		return check_memory(j, e);
	}
	q->indexed = false;
	if (kept_add(&j->kept, RIGHT, b, NULL, join_keeps_right(j), &j->arena, &first, e) < 0)
		return -1;
	return check_memory(j, e);
}

/* Rows that lie in the order of their numbers stay as they are. */
static int compare_numbers(const void *a, const void *b, void *context)
{
	const int64_t *numbers = context;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	if (numbers[x] != numbers[y])
		return numbers[x] < numbers[y] ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* The right rows that met nobody: how many. */
static uint32_t find_rest(struct join *j, uint32_t *rows)
{
	const struct rowstore *s = &j->kept.sides[RIGHT];
	const uint32_t *matches = j->kept.matches[RIGHT];
	bool counted = j->kept.counted >> RIGHT & 1;
	uint32_t n = 0;

	for (uint32_t r = 0; r < s->len; r++) {
		rows[n] = r;
		n += counted ? !matches[r] : !(s->flags[r] & ROW_MATCHED);
	}
	if (j->sink && n)
		qsort_r(rows, n, sizeof *rows, compare_numbers, s->time_us);
	return n;
}

int equal_rest(struct join *j, struct error *e)
{
	struct rowstore *s = &j->kept.sides[RIGHT];
	struct pairs p = {.n = 0};
	uint32_t *rows, n;
	int status = 0;

	if (!join_keeps_right(j))
		return 0;
	equal_finish(j);
	p.right = rowstore_view(s);
	rows = mem_alloc((s->len + (size_t)1) * sizeof *rows);
	n = find_rest(j, rows);
	for (uint32_t done = 0; done < n && status == 0; done += p.n) {
		p.right_rows = rows + done;
		p.n = n - done < BATCH_ROWS ? n - done : BATCH_ROWS;
		status = emit_rights(j, &p, e);
	}
	mem_free(rows);
	return status;
}

static int equal_end(struct join *j, struct error *e)
{
	return ((struct equal *)j->state)->done ? 0 : equal_rest(j, e);
}

/* ---- on disk ---- */

static int equal_watermark(struct join *j, int64_t in_us, int64_t *out_us, struct error *e)
{
	if (((struct equal *)j->state)->grace) /* left rows wait */
		*out_us = WATERMARK_NONE;
	return 0;
}

static int equal_complete(struct join *j, struct error *e)
{
	struct equal *q = j->state;

	if (!q->grace)
		return 0;
	if (grace_join(q->grace, e) < 0)
		return -1;
	grace_free(q->grace);
	q->grace = NULL;
	q->done = true;
	return stage_emit_watermark(j->op.stage, j->watermark_us, e);
}

static int equal_save(struct join *j, unsigned side, struct snapshot_writer *w, struct error *e)
{
	struct equal *q = j->state;

	return q->grace ? grace_save(q->grace, side, w, e) : kept_save(&j->kept, side, w, e);
}

struct loading {
	struct grace *grace;
	unsigned side;
};

static int load_rows(void *context, const struct batch *b, struct error *e)
{
	const struct loading *l = context;

	return grace_load(l->grace, l->side, b, e);
}

/* Left rows are only there if the join was on disk; so is it if RIGHT is too large. */
static int equal_load(struct join *j, unsigned side, struct held *h, struct error *e)
{
	struct loading l = {.side = side};
	struct equal *q;
	bool on_disk = h->run || h->schema.changelog;

	equal_start(j);
	q = j->state;
	if (side == LEFT)
		on_disk = on_disk || batch_builder_rows(&h->rows) > 0;
	if (!q->grace && !on_disk) {
		if (kept_load(&j->kept, side, batch_builder_view(&h->rows), &j->arena, e) < 0)
			return -1;
		return check_memory(j, e);
	}
	if (!join_can_spill(j))
		return error_set(e, ERROR_STATE,
			"the state was written by a join on disk, of inputs "
			"that end: LEFT (from %s) doesn't",
			stage_input_from(j->op.stage, LEFT));
	if (!q->grace && grace_new(j, &q->grace, e) < 0)
		return -1;
	l.grace = q->grace;
	return held_each(h, load_rows, &l, e);
}

const struct join_family equal_family = {
	.name = "key",
	.start = equal_start,
	.rows = equal_rows,
	.watermark = equal_watermark,
	.complete = equal_complete,
	.end = equal_end,
	.save = equal_save,
	.load = equal_load,
	.renumber = equal_renumber,
	.bytes = equal_bytes,
	.free = equal_free,
};
