#include "cmd/ssource/lanes.h"

#include "libcore/base/memory.h"
#include "libcore/state/named_section.h"

#include <stdlib.h>

void lanes_clear(struct lanes *l)
{
	mem_free(l->items);
	*l = (struct lanes)LANES_INIT;
}

void lanes_add(struct lanes *l, struct lane lane)
{
	MEM_GROW(l->items, l->cap, l->len + 1);
	l->items[l->len++] = lane;
}

void lanes_begin(struct lanes *l, uint32_t lanes)
{
	for (uint32_t i = 0; i < lanes; i++)
		lanes_add(l, (struct lane){.lane = i,
				     .lanes = lanes,
				     .event = (uint64_t)i * LANE_BLOCK_EVENTS,
				     .greatest_us = WATERMARK_NONE});
}

/* The first event at `event` or behind that belongs to the lane. */
static uint64_t first_event(const struct lane *l, uint64_t event)
{
	uint64_t block = event / LANE_BLOCK_EVENTS;
	uint64_t behind = (l->lane + l->lanes - block % l->lanes) % l->lanes;

	return behind ? (block + behind) * LANE_BLOCK_EVENTS : event;
}

/* Both go on from where the one was. */
static void split_lane(struct lane *l, struct lane *other)
{
	*other = *l;
	other->lane += l->lanes;
	l->lanes *= 2;
	other->lanes *= 2;
	other->rows = 0;
	l->event = first_event(l, l->event);
	other->event = first_event(other, other->event);
}

static int by_lane(const void *a, const void *b)
{
	const struct lane *x = a, *y = b;

	if (x->lane != y->lane)
		return x->lane < y->lane ? -1 : 1;
	return x->lanes < y->lanes ? -1 : x->lanes > y->lanes;
}

void lanes_share(struct lanes *l, uint32_t subtask, uint32_t subtasks)
{
	size_t kept = 0;

	while (l->len && l->len < subtasks) {
		for (size_t i = 0, n = l->len; i < n; i++) {
			struct lane other;

			split_lane(&l->items[i], &other);
			lanes_add(l, other);
		}
	}
	if (l->len)
		qsort(l->items, l->len, sizeof *l->items, by_lane);
	for (size_t i = 0; i < l->len; i++) {
		if (i % subtasks == subtask)
			l->items[kept++] = l->items[i];
	}
	l->len = kept;
}

struct lane *lanes_least(struct lanes *l)
{
	struct lane *least = l->items;

	for (size_t i = 1; i < l->len; i++) {
		if (l->items[i].event < least->event)
			least = &l->items[i];
	}
	return l->len ? least : NULL;
}

uint64_t lane_until(const struct lane *l)
{
	if (l->lanes == 1)
		return UINT64_MAX;
	return (l->event / LANE_BLOCK_EVENTS + 1) * LANE_BLOCK_EVENTS;
}

void lane_advance(struct lane *l, uint64_t event)
{
	l->event = first_event(l, event);
}

/* ---- snapshots ---- */

enum { L_LANE, L_LANES, L_EVENT, L_ROWS, L_GREATEST, L_COLUMNS };

static const struct named_column columns[L_COLUMNS] = {
	[L_LANE] = {"lane", TYPE_INT},
	[L_LANES] = {"lanes", TYPE_INT},
	[L_EVENT] = {"event", TYPE_INT},
	[L_ROWS] = {"rows", TYPE_INT},
	[L_GREATEST] = {"greatest_time", TYPE_TIMESTAMP},
};

int lanes_put(const struct lanes *l, struct snapshot_writer *w, struct error *e)
{
	struct named_section s;

	named_section_begin(&s, w, "lanes", columns, L_COLUMNS, e);
	for (size_t i = 0; i < l->len; i++) {
		const struct lane *x = &l->items[i];

		builder_put_int(&s.columns[L_LANE], (int64_t)x->lane);
		builder_put_int(&s.columns[L_LANES], (int64_t)x->lanes);
		builder_put_int(&s.columns[L_EVENT], (int64_t)x->event);
		builder_put_int(&s.columns[L_ROWS], (int64_t)x->rows);
		builder_put_int_unless(&s.columns[L_GREATEST], x->greatest_us == WATERMARK_NONE,
			x->greatest_us);
		named_section_row(&s);
	}
	return named_section_end(&s);
}

int lanes_take(struct lanes *l, const struct batch *b, struct error *e)
{
	const struct column *c[L_COLUMNS];

	if (named_section_find(b, columns, L_COLUMNS, c, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		struct lane lane = {.lane = (uint64_t)column_int(c[L_LANE], r),
			.lanes = (uint64_t)column_int(c[L_LANES], r),
			.event = (uint64_t)column_int(c[L_EVENT], r),
			.rows = (uint64_t)column_int(c[L_ROWS], r),
			.greatest_us = column_int_or(c[L_GREATEST], r, WATERMARK_NONE)};

		if (lane.lane >= lane.lanes || lane.lanes > UINT32_MAX)
			return error_set(e, ERROR_STATE,
				"section lanes: there is no lane %llu of %llu",
				(unsigned long long)lane.lane, (unsigned long long)lane.lanes);
		lanes_add(l, lane);
	}
	return 0;
}
