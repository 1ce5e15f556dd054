/* Joins by equal keys with a bounded RIGHT, which is read first and kept; left rows then stream
 * through in order.  A changelog on the right is worked off as it comes: what is left at its end is
 * the table.  One on the left streams through with its ops.
 *
 *   key id            0        1     2  ...
 *   starts            0        2     3           rows of key 1: order[2 .. 3)
 *   order             5   9    4     ...         row numbers of RIGHT, by key, in order of arrival
 *
 * Where no key repeats (a dimension table: the usual case) row and key have the same number, and a
 * batch is one lookup and one gather per column. */
#include "cmd/sjoin/emit.h"
#include "cmd/sjoin/rowindex.h"

#include "libcore/base/memory.h"

#include <string.h>

struct equal {
	uint32_t *starts, *order;
	bool indexed; /* starts and order are up to date */
	bool unique;  /* row r has key r */
	struct rowindex index; /* of RIGHT, while it takes rows back */
	bool has_index;
};

/* A left row of a batch, and what it looked up. */
struct probed {
	const struct batch *b;
	const uint32_t *ids;
	const uint8_t *ops; /* NULL: all are inserts */
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
	mem_free(q);
}

/* RIGHT is there: rows that were taken back go. */
static void finish_right(struct join *j)
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

	finish_right(j);
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
		.positions = b->rows};
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

static int probe(struct join *j, const struct batch *b, struct error *e)
{
	struct equal *q = j->state;
	struct plan_keys keys;
	struct probed l = {.b = b};
	uint32_t *ids;

	if (!q->indexed)
		index_rows(j);
	if (plan_find_keys(&j->plan, LEFT, b, &j->arena, &keys, e) < 0)
		return -1;
	l.ids = ids = arena_alloc(&j->arena, b->rows * sizeof *ids);
	l.ops = emit_left_ops(b, keys.hashes, &j->arena);
	/* A null key is not found: none was put in. */
	keytable_find(j->kept.table, keys.columns, b->rows, keys.hashes, ids);
	if (join_is_filter(j) && !j->plan.where)
		return probe_filter(j, &l, e);
	if (q->unique && !j->plan.where)
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

static int change_right(struct join *j, const struct batch *b, struct error *e)
{
	struct equal *q = j->state;
	struct rowstore *s = &j->kept.sides[RIGHT];
	uint32_t *pick = arena_alloc(&j->arena, b->rows * sizeof *pick), *ids, *keys, n = 0, next;
	uint64_t *hashes = arena_alloc(&j->arena, b->rows * sizeof *hashes);
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
		n += op_is_insert(b->ops[r]) && (ids[r] != KEY_NONE || join_keeps_right(j));
	}
	next = kept_put(&j->kept, RIGHT, b, pick, n, NULL, keys);
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

static int equal_rows(
	struct join *j, unsigned side, const struct batch *b, const int64_t *times, struct error *e)
{
	struct equal *q = j->state;
	uint32_t first;

	if (side == LEFT)
		return probe(j, b, e);
	q->indexed = false;
	if (b->ops)
		return change_right(j, b, e) < 0 ? -1 : join_check_memory(j, e);
	if (kept_add(&j->kept, RIGHT, b, NULL, join_keeps_right(j), &j->arena, &first, e) < 0)
		return -1;
	return join_check_memory(j, e);
}

static int equal_end(struct join *j, struct error *e)
{
	struct rowstore *s = &j->kept.sides[RIGHT];
	const uint32_t *matches = j->kept.matches[RIGHT];
	uint32_t *rows;
	struct pairs p = {.n = 0};
	int status = 0;

	if (!join_keeps_right(j))
		return 0;
	finish_right(j);
	p.right = rowstore_view(s);
	p.right_rows = rows = mem_alloc(BATCH_ROWS * sizeof *rows);
	for (uint32_t r = 0; r < s->len && status == 0; r++) {
		if (j->plan.in[LEFT].changelog ? matches[r] > 0 : s->flags[r] & ROW_MATCHED)
			continue;
		rows[p.n++] = r;
		if (p.n == BATCH_ROWS) {
			status = emit_rights(j, &p, e);
			p.n = 0;
		}
	}
	if (status == 0)
		status = emit_rights(j, &p, e);
	mem_free(rows);
	return status;
}

const struct join_family equal_family = {
	.name = "key",
	.start = equal_start,
	.rows = equal_rows,
	.end = equal_end,
	.renumber = equal_renumber,
	.bytes = equal_bytes,
	.free = equal_free,
};
