#include "cmd/ssort/shown.h"

#include "libcore/base/memory.h"

void shown_clear(struct shown *c)
{
	mem_free(c->rows);
	mem_free(c->ops);
	mem_free(c->numbers);
	mem_free(c->before);
	mem_free(c->after);
	mem_free(c->left);
	mem_free(c->entered);
	mem_free(c->scratch);
	*c = (struct shown){.held = NULL};
}

void shown_reset(struct shown *c)
{
	c->len = 0;
}

static void put(struct shown *c, struct shown_row x, enum row_op op)
{
	MEM_GROW(c->rows, c->rows_cap, c->len + 1);
	MEM_GROW(c->ops, c->ops_cap, c->len + 1);
	MEM_GROW(c->numbers, c->numbers_cap, c->len + 1);
	c->rows[c->len] = x.row;
	c->numbers[c->len] = x.number;
	c->ops[c->len++] = (uint8_t)op;
}

static void put_update(struct shown *c, struct shown_row old, struct shown_row new)
{
	put(c, old, ROW_UPDATE_BEFORE);
	put(c, new, ROW_UPDATE_AFTER);
}

void shown_replace(struct shown *c, uint32_t old, uint32_t new, int64_t number)
{
	if (old == ROW_NONE)
		put(c, (struct shown_row){new, number}, ROW_INSERT);
	else
		put_update(c, (struct shown_row){old, number}, (struct shown_row){new, number});
}

uint32_t shown_visible(const struct shown *c, const struct ranks *l)
{
	struct rank_key last;

	if (l->len <= c->limit)
		return l->len;
	if (!c->ties)
		return (uint32_t)c->limit;
	last = held_key(c->held, ranks_at(l, (uint32_t)c->limit - 1));
	last.seq = INT64_MAX;
	return ranks_find(l, c->held, &last);
}

static bool same_rank(const struct shown *c, uint32_t a, uint32_t b)
{
	struct rank_key x = held_key(c->held, a), y = held_key(c->held, b);

	return rank_compare_order(&x, &y) == 0;
}

/* The shown rows from a position on, with their numbers; with ranks that is the first. */
static uint32_t look(
	struct shown *c, const struct ranks *l, uint32_t from, struct shown_row **out, size_t *cap)
{
	uint32_t visible = shown_visible(c, l), n = visible > from ? visible - from : 0;

	MEM_GROW(*out, *cap, n + (size_t)1);
	MEM_GROW(c->scratch, c->scratch_cap, n + (size_t)1);
	ranks_copy(l, from, n, c->scratch);
	for (uint32_t i = 0; i < n; i++) {
		struct shown_row *x = &(*out)[i];

		*x = (struct shown_row){c->scratch[i], from + (int64_t)i + 1};
		if (c->ties && c->numbered && i && same_rank(c, x->row, x[-1].row))
			x->number = x[-1].number;
	}
	return n;
}

void shown_show(struct shown *c, const struct ranks *l)
{
	uint32_t n = look(c, l, 0, &c->after, &c->after_cap);

	for (uint32_t i = 0; i < n; i++)
		put(c, c->after[i], ROW_INSERT);
}

void shown_begin(struct shown *c, const struct ranks *l, uint32_t from)
{
	c->from = c->ties && c->numbered ? 0 : from; /* ranks are counted from the first on */
	c->before_len = look(c, l, c->from, &c->before, &c->before_cap);
}

/* Numbers are places: what stood at one, against what stands there now. */
static void compare_places(struct shown *c)
{
	for (uint32_t i = 0; i < c->before_len || i < c->after_len; i++) {
		const struct shown_row *old = &c->before[i], *new = &c->after[i];

		if (i >= c->after_len)
			put(c, *old, ROW_DELETE);
		else if (i >= c->before_len)
			put(c, *new, ROW_INSERT);
		else if (old->row != new->row && !held_equal(c->held, old->row, new->row))
			put_update(c, *old, *new);
	}
}

static void note(struct shown_row **list, uint32_t *len, size_t *cap, struct shown_row x)
{
	MEM_GROW(*list, *cap, *len + (size_t)1);
	(*list)[(*len)++] = x;
}

/* Both in one order: what is only in one of them has left or entered. */
static void compare_rows(struct shown *c)
{
	uint32_t i = 0, j = 0;

	c->left_len = c->entered_len = 0;
	while (i < c->before_len || j < c->after_len) {
		const struct shown_row *old = &c->before[i], *new = &c->after[j];
		bool both = i < c->before_len && j < c->after_len;
		struct rank_key x, y;

		if (both && old->row == new->row) {
			if (c->numbered && old->number != new->number)
				put_update(c, *old, *new);
			i++;
			j++;
			continue;
		}
		if (both) {
			x = held_key(c->held, old->row);
			y = held_key(c->held, new->row);
		}
		if (j == c->after_len || (both && rank_compare(&x, &y) <= 0))
			note(&c->left, &c->left_len, &c->left_cap, c->before[i++]);
		else
			note(&c->entered, &c->entered_len, &c->entered_cap, c->after[j++]);
	}
}

static bool is_same(const struct shown *c, struct shown_row a, struct shown_row b)
{
	return (!c->numbered || a.number == b.number) && held_equal(c->held, a.row, b.row);
}

/* A row that leaves and an equal one that enters are no change. */
static void cancel_equal(struct shown *c)
{
	enum { PAIRS_MAX = 64 }; /* few change at once, but for a whole rank of ties */

	for (uint32_t i = 0; i < c->left_len && c->left_len * (uint64_t)c->entered_len <= PAIRS_MAX;
		i++) {
		for (uint32_t j = 0; j < c->entered_len; j++) {
			if (!is_same(c, c->left[i], c->entered[j]))
				continue;
			c->left[i--] = c->left[--c->left_len];
			c->entered[j] = c->entered[--c->entered_len];
			break;
		}
	}
}

void shown_end(struct shown *c, const struct ranks *l, bool update)
{
	c->after_len = look(c, l, c->from, &c->after, &c->after_cap);
	if (c->numbered && !c->ties) {
		compare_places(c);
		return;
	}
	compare_rows(c);
	cancel_equal(c);
	/* A single shown row is replaced, as the changelog's key says; so is an updated one. */
	if (c->left_len == 1 && c->entered_len == 1 && (update || (c->limit == 1 && !c->ties))) {
		put_update(c, c->left[0], c->entered[0]);
		return;
	}
	for (uint32_t i = 0; i < c->left_len; i++)
		put(c, c->left[i], ROW_DELETE);
	for (uint32_t i = 0; i < c->entered_len; i++)
		put(c, c->entered[i], ROW_INSERT);
}
