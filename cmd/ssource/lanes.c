#include "cmd/ssource/lanes.h"

#include "libcore/base/memory.h"
#include "libcore/table/builder.h"

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

static const struct {
	const char *name;
	enum type_kind kind;
} columns[L_COLUMNS] = {
	[L_LANE] = {"lane", TYPE_INT},
	[L_LANES] = {"lanes", TYPE_INT},
	[L_EVENT] = {"event", TYPE_INT},
	[L_ROWS] = {"rows", TYPE_INT},
	[L_GREATEST] = {"greatest_time", TYPE_TIMESTAMP},
};

static void put_row(struct batch_builder *b, const struct lane *l)
{
	builder_put_int(&b->columns[L_LANE], (int64_t)l->lane);
	builder_put_int(&b->columns[L_LANES], (int64_t)l->lanes);
	builder_put_int(&b->columns[L_EVENT], (int64_t)l->event);
	builder_put_int(&b->columns[L_ROWS], (int64_t)l->rows);
	if (l->greatest_us == WATERMARK_NONE)
		builder_put_null(&b->columns[L_GREATEST]);
	else
		builder_put_int(&b->columns[L_GREATEST], l->greatest_us);
}

int lanes_put(const struct lanes *l, struct snapshot_writer *w, struct error *e)
{
	struct schema schema = SCHEMA_INIT;
	struct batch_builder b;
	int status;

	schema_set_name(&schema, "lanes");
	for (size_t i = 0; i < L_COLUMNS; i++)
		schema_add(&schema, columns[i].name, strlen(columns[i].name),
			TYPE_OF(columns[i].kind));
	batch_builder_init(&b, &schema);
	for (size_t i = 0; i < l->len; i++)
		put_row(&b, &l->items[i]);
	status = snapshot_section(w, &schema, e);
	if (!status)
		status = snapshot_put(w, batch_builder_view(&b), e);
	batch_builder_clear(&b);
	schema_clear(&schema);
	return status;
}

int lanes_take(struct lanes *l, const struct batch *b, struct error *e)
{
	const struct column *c[L_COLUMNS];

	for (size_t i = 0; i < L_COLUMNS; i++) {
		if (snapshot_column(b, columns[i].name, TYPE_OF(columns[i].kind), &c[i], e) < 0)
			return -1;
	}
	for (uint32_t r = 0; r < b->rows; r++) {
		struct lane lane = {.lane = (uint64_t)column_int(c[L_LANE], r),
			.lanes = (uint64_t)column_int(c[L_LANES], r),
			.event = (uint64_t)column_int(c[L_EVENT], r),
			.rows = (uint64_t)column_int(c[L_ROWS], r),
			.greatest_us = WATERMARK_NONE};

		if (column_is_valid(c[L_GREATEST], r))
			lane.greatest_us = column_int(c[L_GREATEST], r);
		if (lane.lane >= lane.lanes || lane.lanes > UINT32_MAX)
			return error_set(e, ERROR_STATE,
				"section lanes: there is no lane %llu of %llu",
				(unsigned long long)lane.lane, (unsigned long long)lane.lanes);
		lanes_add(l, lane);
	}
	return 0;
}
