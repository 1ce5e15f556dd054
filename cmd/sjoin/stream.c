/* Joins by equal keys of streams: RIGHT never ends, so both sides are kept, and either may be a
 * changelog.
 *
 *   key id   0      1       2  ...
 *   head     4      1       ROW_NONE       the key's oldest row
 *   tail     9      1       ROW_NONE       ... and its newest
 *   next     row -> the key's next newer row; prev: next older
 *   matches  row -> how many rows of the other side it has met (kept.h; where somebody asks)
 *
 * A row that comes meets the other side's rows of its key; one that is taken back meets them again,
 * and the results that were made are taken back.  A row that goes out alone does so as long as it
 * has no matches: the results are a changelog, whatever the inputs are, unless nothing is ever
 * taken back (inner joins of rows that stay).
 *
 * The two halves of an update whose join key stays are one unit: every row of the other side that
 * met the old row and meets the new one gives an update, and nobody else hears of it.
 *
 * With --ttl D a row lives until D after its event time by the watermark; without event time, D
 * after it came by the TICK.  What it has given stays, and it still counts as a match of those it
 * has met: they have results in the output.  Whether a row lives is asked when it could meet; it is
 * swept away later, when enough time has passed. */
#include "cmd/sjoin/emit.h"
#include "libcore/state/rowindex.h"

#include "libcore/base/memory.h"

#include <string.h>

enum { SWEEPS_PER_TTL = 16 };

struct stream_side {
	uint32_t *next, *prev, *head, *tail;
	size_t next_cap, prev_cap, head_cap, tail_cap;
	size_t keys;
	bool retracts; /* is a changelog: index is in use */
	bool counted;
	bool timed;       /* lives by event time, not by TICKs */
	int64_t swept_us; /* the horizon of the last sweep */
	struct rowindex index;
};

/* A row that comes or goes, or an update. */
struct unit {
	uint32_t old_at, new_at;   /* rows of the batch; ROW_NONE */
	uint32_t old_row, new_row; /* rows of the store */
	uint32_t end;              /* of its candidates */
	bool done;                 /* has all of them */
};

struct stream {
	struct stream_side sides[2];
	/* Candidates: the rows of the other side, by unit. */
	uint32_t *others;
	uint8_t *old_true, *new_true;
	uint32_t n;
	struct unit *units;
	uint32_t units_len;
	size_t units_cap;
	/* The first unit's state, if it began in an earlier flush. */
	bool begun, null_gone;
	uint32_t old_matches, new_matches;
	/* Output. */
	uint32_t *own, *other;
	uint8_t *ops;
	uint32_t out_n;
	bool lone_rights;
};

/* The batch under way. */
struct turn {
	struct join *j;
	struct stream *t;
	unsigned side;
	const struct batch *b;
	int64_t gone_us[2]; /* rows of at most this time have gone */
};

/* ---- the rows of a key ---- */

static void resize_keys(struct stream_side *d, size_t keys)
{
	if (keys <= d->keys)
		return;
	MEM_GROW(d->head, d->head_cap, keys);
	MEM_GROW(d->tail, d->tail_cap, keys);
	memset(d->head + d->keys, 0xff, (keys - d->keys) * sizeof *d->head);
	memset(d->tail + d->keys, 0xff, (keys - d->keys) * sizeof *d->tail);
	d->keys = keys;
}

static void link_row(struct stream_side *d, uint32_t key, uint32_t row)
{
	MEM_GROW(d->next, d->next_cap, row + (size_t)1);
	MEM_GROW(d->prev, d->prev_cap, row + (size_t)1);
	d->next[row] = ROW_NONE;
	d->prev[row] = d->tail[key];
	if (d->tail[key] == ROW_NONE)
		d->head[key] = row;
	else
		d->next[d->tail[key]] = row;
	d->tail[key] = row;
}

static void unlink_row(struct stream_side *d, uint32_t key, uint32_t row)
{
	if (d->prev[row] == ROW_NONE)
		d->head[key] = d->next[row];
	else
		d->next[d->prev[row]] = d->next[row];
	if (d->next[row] == ROW_NONE)
		d->tail[key] = d->prev[row];
	else
		d->prev[d->next[row]] = d->prev[row];
}

static void build_lists(struct join *j)
{
	struct stream *t = j->state;

	for (unsigned side = 0; side < 2; side++) {
		struct stream_side *d = &t->sides[side];
		struct rowstore *s = &j->kept.sides[side];

		d->keys = 0;
		resize_keys(d, keytable_len(j->kept.table));
		for (uint32_t r = 0; r < s->len; r++) {
			if (s->key[r] != KEY_NONE && !(s->flags[r] & ROW_DEAD))
				link_row(d, s->key[r], r);
		}
		if (d->retracts)
			rowindex_build(&d->index, s);
	}
}

/* ---- time to live ---- */

/* Rows of at most this time are gone. */
static int64_t horizon(const struct join *j, unsigned side)
{
	const struct stream *t = j->state;
	int64_t now = t->sides[side].timed ? j->watermark_us : stage_now(j->op.stage);

	if (!j->options.ttl_us || now < WATERMARK_NONE + j->options.ttl_us)
		return WATERMARK_NONE;
	return now - j->options.ttl_us;
}

static bool has_gone(const struct turn *u, unsigned side, uint32_t row)
{
	return u->j->options.ttl_us && u->j->kept.sides[side].time_us[row] <= u->gone_us[side];
}

static void forget(struct join *j, unsigned side, uint32_t row)
{
	struct stream_side *d = &((struct stream *)j->state)->sides[side];
	struct rowstore *s = &j->kept.sides[side];

	unlink_row(d, s->key[row], row);
	rowstore_kill(s, row);
}

static void sweep(struct join *j)
{
	struct stream *t = j->state;

	if (!j->options.ttl_us)
		return;
	for (unsigned side = 0; side < 2; side++) {
		struct stream_side *d = &t->sides[side];
		struct rowstore *s = &j->kept.sides[side];
		int64_t until = horizon(j, side);

		if (until == WATERMARK_NONE ||
			(d->swept_us != WATERMARK_NONE &&
				until < d->swept_us + j->options.ttl_us / SWEEPS_PER_TTL))
			continue;
		d->swept_us = until;
		for (uint32_t r = 0; r < s->len; r++) {
			if (s->time_us[r] == WATERMARK_NONE) /* came before the first TICK */
				s->time_us[r] = stage_now(j->op.stage);
			if (s->flags[r] & ROW_DEAD || s->time_us[r] > until)
				continue;
			if (d->retracts)
				rowindex_drop(&d->index, r);
			forget(j, side, r);
		}
	}
	join_compact(j);
}

/* ---- output ---- */

static int put_out(struct turn *u, struct error *e)
{
	struct stream *t = u->t;
	struct rowstore *others = &u->j->kept.sides[!u->side];
	struct pairs p = {.n = t->out_n, .ops = t->ops, .lone_rights = t->lone_rights};

	p.left = u->side == LEFT ? u->b : rowstore_view(others);
	p.right = u->side == LEFT ? rowstore_view(others) : u->b;
	p.left_rows = u->side == LEFT ? t->own : t->other;
	p.right_rows = u->side == LEFT ? t->other : t->own;
	t->out_n = 0;
	t->lone_rights = false;
	return emit_pairs(u->j, &p, e);
}

/* A row of the output: rows of the batch and of the other side, either may be missing. */
static void put(struct turn *u, uint8_t op, uint32_t own, uint32_t other)
{
	struct stream *t = u->t;

	t->own[t->out_n] = own;
	t->other[t->out_n] = other;
	t->ops[t->out_n++] = op;
	t->lone_rights |= (u->side == LEFT ? own : other) == ROW_NONE;
}

static int make_room(struct turn *u, struct error *e)
{
	return u->t->out_n + 2 > BATCH_ROWS ? put_out(u, e) : 0;
}

/* One row takes another's place.  lost: the side on which there is a row only in one of them;
 * anything else if both have both. */
static void replace(struct turn *u, unsigned lost, const uint32_t own[2], const uint32_t other[2])
{
	bool one_key = lost > RIGHT || !u->j->plan.partner_in_key[lost];

	put(u, one_key ? ROW_UPDATE_BEFORE : ROW_DELETE, own[0], other[0]);
	put(u, one_key ? ROW_UPDATE_AFTER : ROW_INSERT, own[1], other[1]);
}

/* Whether a row of this side, which has so many matches, stands in the output by itself. */
static bool stands_alone(const struct join *j, unsigned side, uint32_t matches)
{
	if (side == RIGHT)
		return join_keeps_right(j) && !matches;
	if (j->options.kind == JOIN_SEMI)
		return matches;
	return join_keeps_left(j) && !matches;
}

/* A row of the other side has had and has matches with the unit's old and new row. */
static int pair_with(
	struct turn *u, const struct unit *x, uint32_t other, bool was, bool is, struct error *e)
{
	struct join *j = u->j;
	uint32_t before = 0, after = 0, *matches = j->kept.matches[!u->side];
	bool counted = u->t->sides[!u->side].counted, alone_before, alone_after;

	if (counted) {
		before = matches[other];
		after = matches[other] = before - was + is;
	}
	alone_before = counted && stands_alone(j, !u->side, before);
	alone_after = counted && stands_alone(j, !u->side, after);
	if (make_room(u, e) < 0)
		return -1;
	if (join_is_filter(j)) {
		if (u->side == RIGHT && alone_before != alone_after)
			put(u, alone_after ? ROW_INSERT : ROW_DELETE, ROW_NONE, other);
	} else if (was && is) {
		replace(u, RIGHT + 1, (uint32_t[]){x->old_at, x->new_at},
			(uint32_t[]){other, other});
	} else if (was && alone_after) {
		replace(u, u->side, (uint32_t[]){x->old_at, ROW_NONE}, (uint32_t[]){other, other});
	} else if (is && alone_before) {
		replace(u, u->side, (uint32_t[]){ROW_NONE, x->new_at}, (uint32_t[]){other, other});
	} else {
		put(u, was ? ROW_DELETE : ROW_INSERT, was ? x->old_at : x->new_at, other);
	}
	return 0;
}

/* ---- units ---- */

static void begin(struct turn *u, const struct unit *x)
{
	struct stream *t = u->t;

	if (t->begun)
		return;
	t->begun = true;
	t->null_gone = false;
	t->new_matches = t->old_matches = 0;
	if (x->old_row != ROW_NONE && t->sides[u->side].counted)
		t->old_matches = u->j->kept.matches[u->side][x->old_row];
}

static int finish(struct turn *u, const struct unit *x, struct error *e)
{
	struct stream *t = u->t;
	bool was, is;

	t->begun = false;
	if (!t->sides[u->side].counted)
		return 0;
	if (x->new_row != ROW_NONE)
		u->j->kept.matches[u->side][x->new_row] = t->new_matches;
	was = x->old_at != ROW_NONE && !t->null_gone && stands_alone(u->j, u->side, t->old_matches);
	is = x->new_at != ROW_NONE && stands_alone(u->j, u->side, t->new_matches);
	if (make_room(u, e) < 0)
		return -1;
	if (was && is)
		replace(u, RIGHT + 1, (uint32_t[]){x->old_at, x->new_at},
			(uint32_t[]){ROW_NONE, ROW_NONE});
	else if (was)
		put(u, ROW_DELETE, x->old_at, ROW_NONE);
	else if (is)
		put(u, ROW_INSERT, x->new_at, ROW_NONE);
	return 0;
}

/* The old row stood alone and the new one doesn't: it goes before the first pair comes, which may
 * have its key. */
static int drop_null(struct turn *u, const struct unit *x, struct error *e)
{
	struct stream *t = u->t;

	if (t->null_gone || x->old_at == ROW_NONE || join_is_filter(u->j) ||
		!t->sides[u->side].counted || !stands_alone(u->j, u->side, t->old_matches))
		return 0;
	if (make_room(u, e) < 0)
		return -1;
	t->null_gone = true;
	put(u, ROW_DELETE, x->old_at, ROW_NONE);
	return 0;
}

static int run_unit(struct turn *u, const struct unit *x, uint32_t first, struct error *e)
{
	struct stream *t = u->t;

	begin(u, x);
	for (uint32_t i = first; i < x->end; i++) {
		bool was = t->old_true[i], is = t->new_true[i];

		if (!was && !is)
			continue;
		if (is && !was && drop_null(u, x, e) < 0)
			return -1;
		t->new_matches += is;
		if (pair_with(u, x, t->others[i], was, is, e) < 0)
			return -1;
	}
	return x->done ? finish(u, x, e) : 0;
}

/* ---- candidates ---- */

/* -w of the old rows, or of the new ones, with all candidates. */
static int filter(struct turn *u, bool old, uint8_t *truth, struct error *e)
{
	struct stream *t = u->t;
	struct rowstore *others = &u->j->kept.sides[!u->side];
	uint32_t *own = u->j->run_rows, *other = own + BATCH_ROWS, *at = other + BATCH_ROWS;
	struct pairs p = {.left_rows = own, .right_rows = other};
	uint32_t kept_len, i = 0;

	for (uint32_t k = 0; k < t->units_len; k++) {
		const struct unit *x = &t->units[k];
		uint32_t row = old ? x->old_at : x->new_at;

		for (; i < x->end; i++) {
			truth[i] = 0;
			own[p.n] = row;
			other[p.n] = t->others[i];
			at[p.n] = i;
			p.n += row != ROW_NONE;
		}
	}
	if (!p.n)
		return 0;
	p.left = u->side == LEFT ? u->b : rowstore_view(others);
	p.right = u->side == LEFT ? rowstore_view(others) : u->b;
	if (u->side == RIGHT) {
		p.left_rows = other;
		p.right_rows = own;
	}
	if (emit_filter(u->j, &p, u->j->filter_pick, &kept_len, e) < 0)
		return -1;
	for (uint32_t k = 0; k < kept_len; k++)
		truth[at[u->j->filter_pick[k]]] = 1;
	return 0;
}

static void all_true(struct stream *t)
{
	uint32_t i = 0;

	for (uint32_t k = 0; k < t->units_len; k++) {
		const struct unit *x = &t->units[k];

		for (; i < x->end; i++) {
			t->old_true[i] = x->old_at != ROW_NONE;
			t->new_true[i] = x->new_at != ROW_NONE;
		}
	}
}

/* Works off the units; the last one may have further candidates. */
static int flush(struct turn *u, struct error *e)
{
	struct stream *t = u->t;
	uint32_t first = 0;

	if (!u->j->plan.where)
		all_true(t);
	else if (filter(u, true, t->old_true, e) < 0 || filter(u, false, t->new_true, e) < 0)
		return -1;
	for (uint32_t k = 0; k < t->units_len; k++) {
		if (run_unit(u, &t->units[k], first, e) < 0)
			return -1;
		first = t->units[k].end;
	}
	t->n = 0;
	if (t->units_len && !t->units[t->units_len - 1].done) {
		t->units[0] = t->units[t->units_len - 1];
		t->units[0].end = 0;
		t->units_len = 1;
	} else {
		t->units_len = 0;
	}
	return 0;
}

static int add_unit(struct turn *u, const struct unit *x, uint32_t key, struct error *e)
{
	struct stream *t = u->t;
	const struct stream_side *d = &t->sides[!u->side];
	uint32_t r = key == KEY_NONE ? ROW_NONE : d->head[key];

	MEM_GROW(t->units, t->units_cap, t->units_len + (size_t)1);
	t->units[t->units_len] = *x;
	t->units[t->units_len++].end = t->n;
	for (; r != ROW_NONE; r = d->next[r]) {
		if (has_gone(u, !u->side, r))
			continue;
		if (t->n == BATCH_ROWS && flush(u, e) < 0)
			return -1;
		t->others[t->n++] = r;
		t->units[t->units_len - 1].end = t->n;
	}
	t->units[t->units_len - 1].done = true;
	return t->units_len < BATCH_ROWS ? 0 : flush(u, e);
}

/* ---- rows ---- */

/* The kept row that is taken back; ROW_NONE if it has gone. */
static int take_back(
	struct turn *u, uint32_t at, const uint64_t *hashes, uint32_t *out, struct error *e)
{
	struct stream_side *d = &u->t->sides[u->side];
	struct rowstore *s = &u->j->kept.sides[u->side];
	bool gone;

	*out = rowindex_take(&d->index, s, u->b, at, hashes[at]);
	if (*out == ROW_NONE)
		return u->j->options.ttl_us ? 0 : join_missing(u->j, u->side, u->b, at, e);
	gone = has_gone(u, u->side, *out);
	forget(u->j, u->side, *out);
	if (gone)
		*out = ROW_NONE;
	return 0;
}

/* What a row of the batch is: number of the key, of the row in the store, hash. */
struct incoming {
	const uint8_t *ops; /* NULL: all are inserts */
	uint32_t *keys, *rows;
	uint64_t *hashes;
};

static int unit_of(struct turn *u, const struct incoming *in, uint32_t old_at, uint32_t new_at,
	struct error *e)
{
	struct stream_side *d = &u->t->sides[u->side];
	struct unit x = {old_at, new_at, ROW_NONE, ROW_NONE, 0, false};
	uint32_t key = in->keys[old_at != ROW_NONE ? old_at : new_at];

	if (key == KEY_NONE) /* nothing is kept: it goes out alone, or doesn't */
		return d->counted ? add_unit(u, &x, key, e) : 0;
	if (old_at != ROW_NONE) {
		if (take_back(u, old_at, in->hashes, &x.old_row, e) < 0)
			return -1;
		if (x.old_row == ROW_NONE)
			x.old_at = ROW_NONE;
	}
	if (new_at != ROW_NONE) {
		x.new_row = in->rows[new_at];
		link_row(d, key, x.new_row);
		if (d->retracts)
			rowindex_add(&d->index, x.new_row, in->hashes[new_at]);
	}
	if (x.old_at == ROW_NONE && x.new_at == ROW_NONE)
		return 0;
	return add_unit(u, &x, key, e);
}

static int run_rows(struct turn *u, const struct incoming *in, struct error *e)
{
	for (uint32_t r = 0; r < u->b->rows; r++) {
		enum row_op op = in->ops ? in->ops[r] : ROW_INSERT;
		int status = 0;

		switch (op) {
		case ROW_INSERT:
		case ROW_UPDATE_AFTER: status = unit_of(u, in, ROW_NONE, r, e); break;
		case ROW_DELETE: status = unit_of(u, in, r, ROW_NONE, e); break;
		case ROW_UPDATE_BEFORE:
			status = unit_of(u, in, r, r + 1, e);
			r++;
			break;
		}
		if (status < 0)
			return -1;
	}
	if (flush(u, e) < 0)
		return -1;
	return put_out(u, e);
}

/* The time a row's life is counted from. */
static int find_lives(struct turn *u, const int64_t **out, struct error *e)
{
	struct join *j = u->j;
	int64_t *times, now = stage_now(j->op.stage);

	*out = NULL;
	if (!j->options.ttl_us)
		return 0;
	if (u->t->sides[u->side].timed)
		return join_times(j, u->side, u->b, out, e);
	times = arena_alloc(&j->arena, (u->b->rows + (size_t)1) * sizeof *times);
	for (uint32_t r = 0; r < u->b->rows; r++)
		times[r] = now;
	*out = times;
	return 0;
}

/* Keeps the rows that come (those with a key); they are linked when it's their turn. */
static void keep(struct turn *u, struct incoming *in, const int64_t *lives)
{
	struct arena *a = &u->j->arena;
	size_t rows = u->b->rows;
	uint32_t *pick = arena_alloc(a, rows * sizeof *pick);
	uint32_t *keys = arena_alloc(a, rows * sizeof *keys), n = 0, first;
	int64_t *times = arena_alloc(a, rows * sizeof *times);

	in->rows = arena_alloc(a, rows * sizeof *in->rows);
	for (uint32_t r = 0; r < rows; r++) {
		bool comes = !in->ops || in->ops[r] == ROW_INSERT || in->ops[r] == ROW_UPDATE_AFTER;

		in->rows[r] = n;
		if (!comes || in->keys[r] == KEY_NONE)
			continue;
		pick[n] = r;
		times[n] = lives ? lives[r] : 0;
		keys[n++] = in->keys[r];
	}
	first = kept_put(&u->j->kept, u->side, u->b, pick, n, times, keys);
	for (uint32_t r = 0; r < rows; r++)
		in->rows[r] += first;
	for (unsigned side = 0; side < 2; side++)
		resize_keys(&u->t->sides[side], keytable_len(u->j->kept.table));
}

static int stream_rows(
	struct join *j, unsigned side, const struct batch *b, const int64_t *times, struct error *e)
{
	struct turn u = {.j = j, .t = j->state, .side = side, .b = b};
	struct incoming in = {.ops = NULL};
	struct plan_keys keys;
	const int64_t *lives;

	u.gone_us[LEFT] = horizon(j, LEFT);
	u.gone_us[RIGHT] = horizon(j, RIGHT);
	if (find_lives(&u, &lives, e) < 0)
		return -1;
	if (plan_find_keys(&j->plan, side, b, &j->arena, &keys, e) < 0)
		return -1;
	in.keys = kept_keys(&j->kept, &keys, b->rows, &j->arena, NULL);
	in.ops = emit_left_ops(b, keys.hashes, &j->arena);
	if (u.t->sides[side].retracts) {
		in.hashes = arena_alloc(&j->arena, b->rows * sizeof *in.hashes);
		rowindex_hash(b, &j->arena, in.hashes);
	}
	keep(&u, &in, lives);
	if (run_rows(&u, &in, e) < 0)
		return -1;
	join_compact(j);
	return join_check_memory(j, e);
}

/* ---- time ---- */

static int stream_watermark(struct join *j, int64_t in_us, int64_t *out_us, struct error *e)
{
	int64_t ttl_us = j->options.ttl_us;

	j->watermark_us = in_us;
	sweep(j);
	if (j->plan.out.time_column >= 0 && in_us != WATERMARK_FINAL)
		*out_us = in_us < WATERMARK_NONE + ttl_us ? WATERMARK_NONE : in_us - ttl_us;
	return 0;
}

static int stream_tick(struct join *j, struct error *e)
{
	sweep(j);
	return 0;
}

/* ---- life ---- */

static void stream_start(struct join *j)
{
	struct stream *t = j->state = mem_zero(sizeof *t);

	t->others = mem_alloc(3 * (size_t)BATCH_ROWS * sizeof *t->others);
	t->own = t->others + BATCH_ROWS;
	t->other = t->own + BATCH_ROWS;
	t->old_true = mem_alloc(3 * (size_t)BATCH_ROWS);
	t->new_true = t->old_true + BATCH_ROWS;
	t->ops = t->new_true + BATCH_ROWS;
	for (unsigned side = 0; side < 2; side++) {
		struct stream_side *d = &t->sides[side];

		d->retracts = j->plan.in[side].changelog;
		d->counted = j->kept.counted >> side & 1;
		d->timed = join_is_timed(j, side);
		d->swept_us = WATERMARK_NONE;
	}
	build_lists(j);
	if (!j->options.ttl_us)
		stage_warn(j->op.stage,
			"RIGHT (from %s) never ends, so that the rows of both sides are "
			"kept for ever; --ttl says how long they are of use",
			stage_input_from(j->op.stage, RIGHT));
}

static void stream_free(struct join *j)
{
	struct stream *t = j->state;

	if (!t)
		return;
	for (unsigned side = 0; side < 2; side++) {
		struct stream_side *d = &t->sides[side];

		mem_free(d->next);
		mem_free(d->prev);
		mem_free(d->head);
		mem_free(d->tail);
		rowindex_clear(&d->index);
	}
	mem_free(t->units);
	mem_free(t->others);
	mem_free(t->old_true);
	mem_free(t);
}

static void stream_renumber(struct join *j, uint32_t *const remap[2])
{
	build_lists(j);
}

static size_t stream_bytes(const struct join *j)
{
	const struct stream *t = j->state;
	size_t bytes = 0;

	for (unsigned side = 0; side < 2; side++) {
		const struct stream_side *d = &t->sides[side];

		bytes += (d->next_cap + d->prev_cap + d->head_cap + d->tail_cap) * sizeof *d->next +
			 rowindex_bytes(&d->index);
	}
	return bytes;
}

const struct join_family stream_family = {
	.name = "stream",
	.start = stream_start,
	.rows = stream_rows,
	.watermark = stream_watermark,
	.tick = stream_tick,
	.renumber = stream_renumber,
	.bytes = stream_bytes,
	.free = stream_free,
};
