/* Interval joins: pairs of one key whose right time lies within [left + LO, left + HI].
 *
 * A row meets the other side's rows as it comes, by binary search in its key's list of rows sorted
 * by time; then it is kept until the watermark has passed every partner it could still have:
 *
 *   left row    right times up to left + HI      right row    left times up to right - LO
 *
 * A left row can so go out HI after its time: the watermark is held back by HI. */
#include "cmd/sjoin/emit.h"

#include "libcore/base/memory.h"
#include "libcore/state/timequeue.h"

struct interval {
	struct timequeue waiting[2]; /* rows by the time of their last possible partner */
	uint32_t *left, *right;      /* candidates: rows of the two sides */
	uint32_t n;
};

static bool keeps_unmatched(const struct join *j, unsigned side)
{
	return side == LEFT ? join_keeps_left(j) : join_keeps_right(j);
}

static int64_t last_partner(const struct join *j, unsigned side, int64_t time_us)
{
	return side == LEFT ? time_us + j->options.high_us : time_us - j->options.low_us;
}

static void interval_start(struct join *j)
{
	struct interval *v = j->state = mem_zero(sizeof *v);

	v->left = mem_alloc(2 * (size_t)BATCH_ROWS * sizeof *v->left);
	v->right = v->left + BATCH_ROWS;
	for (unsigned side = 0; side < 2; side++) {
		const struct rowstore *s = &j->kept.sides[side];

		for (uint32_t r = 0; r < s->len; r++)
			timequeue_push(&v->waiting[side], last_partner(j, side, s->time_us[r]), r);
	}
}

static void interval_free(struct join *j)
{
	struct interval *v = j->state;

	if (!v)
		return;
	timequeue_clear(&v->waiting[LEFT]);
	timequeue_clear(&v->waiting[RIGHT]);
	mem_free(v->left);
	mem_free(v);
}

/* Marks who has met; of a semi join only the left rows that meet somebody for the first time stay.
 */
static uint32_t mark(struct join *j, const uint32_t *kept, uint32_t n)
{
	struct interval *v = j->state;
	uint8_t *left_flags = j->kept.sides[LEFT].flags, *right_flags = j->kept.sides[RIGHT].flags;
	uint32_t out = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = kept ? kept[i] : i;
		bool again = left_flags[v->left[at]] & ROW_MATCHED;

		left_flags[v->left[at]] |= ROW_MATCHED;
		right_flags[v->right[at]] |= ROW_MATCHED;
		v->left[out] = v->left[at];
		v->right[out] = v->right[at];
		out += j->options.kind != JOIN_SEMI || !again;
	}
	return j->options.kind == JOIN_ANTI ? 0 : out;
}

static int flush(struct join *j, struct error *e)
{
	struct interval *v = j->state;
	struct pairs p = {.left = rowstore_view(&j->kept.sides[LEFT]),
		.right = rowstore_view(&j->kept.sides[RIGHT]),
		.left_rows = v->left,
		.right_rows = v->right,
		.n = v->n};
	uint32_t kept_len = v->n;

	if (!v->n)
		return 0;
	if (j->plan.where && emit_filter(j, &p, j->filter_pick, &kept_len, e) < 0)
		return -1;
	v->n = 0;
	p.n = mark(j, j->plan.where ? j->filter_pick : NULL, kept_len);
	return emit_pairs(j, &p, e);
}

/* Rows [first, end) of a side meet those of the other that are there. */
static int meet(struct join *j, unsigned side, uint32_t first, uint32_t end, struct error *e)
{
	struct interval *v = j->state;
	const struct rowstore *own = &j->kept.sides[side], *other = &j->kept.sides[!side];
	const struct rowlists *lists = &j->kept.lists[!side];
	int64_t low = side == LEFT ? j->options.low_us : -j->options.high_us;
	int64_t high = side == LEFT ? j->options.high_us : -j->options.low_us;
	uint32_t *mine = side == LEFT ? v->left : v->right;
	uint32_t *theirs = side == LEFT ? v->right : v->left;

	for (uint32_t r = first; r < end; r++) {
		uint32_t key = own->key[r], from, to;

		if (key == KEY_NONE)
			continue;
		from = rowlists_until(lists, other, key, own->time_us[r] + low - 1);
		to = rowlists_until(lists, other, key, own->time_us[r] + high);
		for (uint32_t i = from; i < to; i++) {
			mine[v->n] = r;
			theirs[v->n++] = lists->lists[key].rows[i];
			if (v->n == BATCH_ROWS && flush(j, e) < 0)
				return -1;
		}
	}
	return flush(j, e);
}

static int interval_rows(
	struct join *j, unsigned side, const struct batch *b, const int64_t *times, struct error *e)
{
	struct interval *v = j->state;
	const struct rowstore *s = &j->kept.sides[side];
	uint32_t first;

	if (kept_add(&j->kept, side, b, times, keeps_unmatched(j, side), &j->arena, &first, e) < 0)
		return -1;
	for (uint32_t r = first; r < s->len; r++)
		timequeue_push(&v->waiting[side], last_partner(j, side, s->time_us[r]), r);
	if (meet(j, side, first, s->len, e) < 0)
		return -1;
	return join_check_memory(j, e);
}

static int emit_unmatched(struct join *j, unsigned side, struct pairs *p, struct error *e)
{
	struct interval *v = j->state;
	int status;

	for (uint32_t i = 0; i < p->n; i++)
		v->right[i] = ROW_NONE;
	status = side == LEFT ? emit_pairs(j, p, e) : emit_rights(j, p, e);
	p->n = 0;
	return status;
}

/* Rows of a side whose last possible partner has passed go, and out if they met nobody. */
static int expire(struct join *j, unsigned side, int64_t until_us, struct error *e)
{
	struct interval *v = j->state;
	struct rowstore *s = &j->kept.sides[side];
	struct timequeue_entry entry;
	uint32_t *rows = v->left; /* no candidates are left between calls */
	struct pairs p = {.left = rowstore_view(&j->kept.sides[LEFT]),
		.right = rowstore_view(&j->kept.sides[RIGHT])};

	p.left_rows = rows;
	p.right_rows = side == LEFT ? v->right : rows;
	while (timequeue_pop(&v->waiting[side], until_us, &entry)) {
		rowstore_kill(s, entry.row);
		if (s->flags[entry.row] & ROW_MATCHED || !keeps_unmatched(j, side))
			continue;
		rows[p.n++] = entry.row;
		if (p.n == BATCH_ROWS && emit_unmatched(j, side, &p, e) < 0)
			return -1;
	}
	return emit_unmatched(j, side, &p, e);
}

static int interval_watermark(struct join *j, int64_t in_us, int64_t *out_us, struct error *e)
{
	int64_t hold_us = j->options.high_us > 0 ? j->options.high_us : 0;

	if (expire(j, LEFT, in_us, e) < 0 || expire(j, RIGHT, in_us, e) < 0)
		return -1;
	join_compact(j);
	if (in_us == WATERMARK_FINAL)
		return 0;
	*out_us = in_us < WATERMARK_NONE + hold_us ? WATERMARK_NONE : in_us - hold_us;
	return 0;
}

static void interval_renumber(struct join *j, uint32_t *const remap[2])
{
	struct interval *v = j->state;

	timequeue_remap(&v->waiting[LEFT], remap[LEFT]);
	timequeue_remap(&v->waiting[RIGHT], remap[RIGHT]);
}

const struct join_family interval_family = {
	.name = "interval",
	.timed = true,
	.lists = 1u << LEFT | 1u << RIGHT,
	.start = interval_start,
	.rows = interval_rows,
	.watermark = interval_watermark,
	.renumber = interval_renumber,
	.free = interval_free,
};
