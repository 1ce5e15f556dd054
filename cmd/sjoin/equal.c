/* Joins by equal keys with a bounded RIGHT, which is read first and kept; left rows then stream
 * through in order.
 *
 *   key id            0        1     2  ...
 *   starts            0        2     3           rows of key 1: order[2 .. 3)
 *   order             5   9    4     ...         row numbers of RIGHT, by key, in order of arrival
 *
 * Where no key repeats (a dimension table: the usual case) row and key have the same number, and a
 * batch is one lookup and one gather per column. */
#include "cmd/sjoin/emit.h"

#include "libcore/base/memory.h"

#include <string.h>

struct equal {
	uint32_t *starts, *order;
	bool indexed; /* starts and order are up to date */
	bool unique;  /* row r has key r */
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
	mem_free(q);
}

static void index_rows(struct join *j)
{
	struct equal *q = j->state;
	const struct rowstore *s = &j->kept.sides[RIGHT];
	uint32_t keys = keytable_len(j->kept.table);

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

static int probe_general(
	struct join *j, const struct batch *b, const uint32_t *ids, struct error *e)
{
	struct equal *q = j->state;
	struct emit_run run = {.source = {.left = b, .right = rowstore_view(&j->kept.sides[RIGHT])},
		.positions = b->rows};
	int status = 0;

	run.right_flags = join_keeps_right(j) ? j->kept.sides[RIGHT].flags : NULL;
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
static int probe_filter(struct join *j, const struct batch *b, const uint32_t *ids, struct error *e)
{
	bool wanted = j->options.kind == JOIN_SEMI;
	uint32_t *pick = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *pick);
	struct pairs p = {.left = b, .left_rows = pick};

	for (uint32_t r = 0; r < b->rows; r++) {
		pick[p.n] = r;
		p.n += (ids[r] != KEY_NONE) == wanted;
	}
	if (p.n == b->rows)
		p.left_rows = NULL;
	return emit_pairs(j, &p, e);
}

/* Every key once and no condition: what was looked up is what is gathered. */
static int probe_unique(struct join *j, const struct batch *b, const uint32_t *ids, struct error *e)
{
	struct rowstore *s = &j->kept.sides[RIGHT];
	struct pairs p = {.left = b, .right = rowstore_view(s), .right_rows = ids, .n = b->rows};
	uint32_t *left, *right, n = 0;

	if (join_keeps_right(j)) {
		for (uint32_t r = 0; r < b->rows; r++) {
			if (ids[r] != KEY_NONE)
				s->flags[ids[r]] |= ROW_MATCHED;
		}
	}
	if (join_keeps_left(j)) /* KEY_NONE is ROW_NONE: nulls */
		return emit_pairs(j, &p, e);
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
	return emit_pairs(j, &p, e);
}

static int probe(struct join *j, const struct batch *b, struct error *e)
{
	struct equal *q = j->state;
	struct plan_keys keys;
	uint32_t *ids;

	if (!q->indexed)
		index_rows(j);
	if (plan_find_keys(&j->plan, LEFT, b, &j->arena, &keys, e) < 0)
		return -1;
	ids = arena_alloc(&j->arena, b->rows * sizeof *ids);
	/* A null key is not found: none was put in. */
	keytable_find(j->kept.table, keys.columns, b->rows, keys.hashes, ids);
	if (join_is_filter(j) && !j->plan.where)
		return probe_filter(j, b, ids, e);
	if (q->unique && !j->plan.where)
		return probe_unique(j, b, ids, e);
	return probe_general(j, b, ids, e);
}

static int equal_rows(
	struct join *j, unsigned side, const struct batch *b, const int64_t *times, struct error *e)
{
	struct equal *q = j->state;
	uint32_t first;

	if (side == LEFT)
		return probe(j, b, e);
	q->indexed = false;
	if (kept_add(&j->kept, RIGHT, b, NULL, join_keeps_right(j), &j->arena, &first, e) < 0)
		return -1;
	return join_check_memory(j, e);
}

static int equal_end(struct join *j, struct error *e)
{
	struct rowstore *s = &j->kept.sides[RIGHT];
	uint32_t *rows;
	struct pairs p = {.right = rowstore_view(s)};
	int status = 0;

	if (!join_keeps_right(j))
		return 0;
	p.right_rows = rows = mem_alloc(BATCH_ROWS * sizeof *rows);
	for (uint32_t r = 0; r < s->len && status == 0; r++) {
		if (s->flags[r] & ROW_MATCHED)
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
	.free = equal_free,
};
