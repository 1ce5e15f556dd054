/* As-of joins: every left row meets the latest right row of its key at or before its own time; of
 * several at that time the last that came.
 *
 * Left rows wait until the watermark has passed them: then no right row that could be later is
 * missing.  They go out in order of time.  Of the right rows at or before the watermark only the
 * last of every key can still be met (or, with --tolerance, none once it is too old); the others
 * go. With -w any of them may be the one that satisfies it: then only --tolerance lets them go. */
#include "cmd/sjoin/emit.h"

#include "libcore/base/memory.h"
#include "libcore/state/timequeue.h"

struct asof {
	struct timequeue waiting; /* left rows by time */
	uint32_t *left, *right;   /* rows that go out together; ROW_NONE: met nobody */
	uint32_t *place;          /* of a right row in its key's list */
	uint32_t *test_left, *test_right, *test; /* those whose -w is still open */
	uint32_t n;
	uint32_t pruned_len; /* right rows after the last prune */
};

static void asof_start(struct join *j)
{
	enum { ARRAYS = 6 };
	struct asof *a = j->state = mem_zero(sizeof *a);
	const struct rowstore *s = &j->kept.sides[LEFT];

	a->left = mem_alloc((size_t)ARRAYS * BATCH_ROWS * sizeof *a->left);
	a->right = a->left + BATCH_ROWS;
	a->place = a->right + BATCH_ROWS;
	a->test_left = a->place + BATCH_ROWS;
	a->test_right = a->test_left + BATCH_ROWS;
	a->test = a->test_right + BATCH_ROWS;
	for (uint32_t r = 0; r < s->len; r++)
		timequeue_push(&a->waiting, s->time_us[r], r);
}

static void asof_free(struct join *j)
{
	struct asof *a = j->state;

	if (!a)
		return;
	timequeue_clear(&a->waiting);
	mem_free(a->left);
	mem_free(a);
}

static int asof_rows(
	struct join *j, unsigned side, const struct batch *b, const int64_t *times, struct error *e)
{
	struct asof *a = j->state;
	const struct rowstore *s = &j->kept.sides[side];
	bool with_null = side == LEFT && join_keeps_left(j);
	uint32_t first;

	if (kept_add(&j->kept, side, b, times, with_null, &j->arena, &first, e) < 0)
		return -1;
	for (uint32_t r = first; side == LEFT && r < s->len; r++)
		timequeue_push(&a->waiting, s->time_us[r], r);
	return join_check_memory(j, e);
}

/* The right row at position `place` - 1 of the key's list, if it is not too old for the left one.
 */
static uint32_t candidate(const struct join *j, uint32_t left_row, uint32_t place)
{
	const struct rowstore *left = &j->kept.sides[LEFT], *right = &j->kept.sides[RIGHT];
	uint32_t row;

	if (place == 0)
		return ROW_NONE;
	row = j->kept.lists[RIGHT].lists[left->key[left_row]].rows[place - 1];
	if (j->options.has_tolerance &&
		left->time_us[left_row] - right->time_us[row] > j->options.tolerance_us)
		return ROW_NONE;
	return row;
}

static void find_candidates(struct join *j)
{
	struct asof *a = j->state;
	const struct rowstore *left = &j->kept.sides[LEFT], *right = &j->kept.sides[RIGHT];

	for (uint32_t i = 0; i < a->n; i++) {
		uint32_t row = a->left[i];

		a->place[i] = rowlists_until(
			&j->kept.lists[RIGHT], right, left->key[row], left->time_us[row]);
		a->right[i] = candidate(j, row, a->place[i]);
	}
}

/* -w: who fails it tries the row before, all of them at once in rounds. */
static int filter_candidates(struct join *j, struct error *e)
{
	struct asof *a = j->state;
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->n; i++) {
		if (a->right[i] != ROW_NONE)
			a->test[n++] = i;
	}
	while (n) {
		struct pairs p = {.left = rowstore_view(&j->kept.sides[LEFT]),
			.right = rowstore_view(&j->kept.sides[RIGHT]),
			.left_rows = a->test_left,
			.right_rows = a->test_right,
			.n = n};
		uint32_t passed = 0, at = 0, again = 0;

		for (uint32_t i = 0; i < n; i++) {
			a->test_left[i] = a->left[a->test[i]];
			a->test_right[i] = a->right[a->test[i]];
		}
		if (emit_filter(j, &p, j->filter_pick, &passed, e) < 0)
			return -1;
		for (uint32_t i = 0; i < n; i++) {
			uint32_t row = a->test[i];

			if (at < passed && j->filter_pick[at] == i) {
				at++;
				continue;
			}
			a->right[row] = candidate(j, a->left[row], --a->place[row]);
			if (a->right[row] != ROW_NONE)
				a->test[again++] = row;
		}
		n = again;
	}
	return 0;
}

static int put(struct join *j, struct error *e)
{
	struct asof *a = j->state;
	struct pairs p = {.left = rowstore_view(&j->kept.sides[LEFT]),
		.right = rowstore_view(&j->kept.sides[RIGHT]),
		.left_rows = a->left,
		.right_rows = a->right};

	find_candidates(j);
	if (j->plan.where && filter_candidates(j, e) < 0)
		return -1;
	for (uint32_t i = 0; i < a->n; i++) {
		bool met = a->right[i] != ROW_NONE;

		rowstore_kill(&j->kept.sides[LEFT], a->left[i]);
		a->left[p.n] = a->left[i];
		a->right[p.n] = a->right[i];
		p.n += j->options.kind == JOIN_LEFT || met != (j->options.kind == JOIN_ANTI);
	}
	a->n = 0;
	return emit_pairs(j, &p, e);
}

/* Right rows that no later left row can meet.  Looks at all of them, so only once they have
 * doubled. */
static void prune(struct join *j, int64_t until_us)
{
	struct asof *a = j->state;
	struct rowstore *s = &j->kept.sides[RIGHT];
	const struct rowlists *lists = &j->kept.lists[RIGHT];
	int64_t tolerance_us = j->options.has_tolerance ? j->options.tolerance_us : INT64_MAX;

	if (until_us == WATERMARK_FINAL || s->len < a->pruned_len + 2 * s->slack_rows ||
		s->len < 2 * a->pruned_len)
		return;
	for (uint32_t key = 0; key < lists->len; key++) {
		uint32_t past = rowlists_until(lists, s, key, until_us);

		for (uint32_t i = 0; i < past; i++) {
			uint32_t row = lists->lists[key].rows[i];
			bool superseded = i + 1 < past && !j->plan.where;

			if (superseded || (tolerance_us != INT64_MAX &&
						  s->time_us[row] + tolerance_us <= until_us))
				rowstore_kill(s, row);
		}
	}
	a->pruned_len = s->len - s->dead;
}

static int asof_watermark(struct join *j, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct asof *a = j->state;
	struct timequeue_entry entry;

	while (timequeue_pop(&a->waiting, in_us, &entry)) {
		a->left[a->n++] = entry.row;
		if (a->n == BATCH_ROWS && put(j, e) < 0)
			return -1;
	}
	if (put(j, e) < 0)
		return -1;
	prune(j, in_us);
	join_compact(j);
	return 0;
}

static void asof_renumber(struct join *j, uint32_t *const remap[2])
{
	struct asof *a = j->state;

	timequeue_remap(&a->waiting, remap[LEFT]);
	a->pruned_len = j->kept.sides[RIGHT].len - j->kept.sides[RIGHT].dead;
}

const struct join_family asof_family = {
	.name = "as-of",
	.timed = true,
	.lists = 1u << RIGHT,
	.start = asof_start,
	.rows = asof_rows,
	.watermark = asof_watermark,
	.renumber = asof_renumber,
	.free = asof_free,
};
