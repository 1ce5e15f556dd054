#include "cmd/ssource/split.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdlib.h>
#include <string.h>

/* Largest first; of equals the earlier. */
static int by_size(const void *a, const void *b, void *context)
{
	const struct split_item *items = context;
	size_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	if (items[x].bytes != items[y].bytes)
		return items[x].bytes < items[y].bytes ? 1 : -1;
	return x < y ? -1 : x > y;
}

/* The subtask of every item that can't be cut; adds to their loads. */
static void place_whole(const struct split_item *items, size_t n, uint32_t subtasks,
	uint64_t *loads, uint32_t *owners)
{
	size_t *order = mem_alloc((n + 1) * sizeof *order);

	for (size_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order, n, sizeof *order, by_size, (void *)(uintptr_t)items);
	for (size_t i = 0; i < n; i++) {
		const struct split_item *item = &items[order[i]];
		uint32_t least = 0;

		if (item->can_cut)
			continue;
		for (uint32_t k = 1; k < subtasks; k++) {
			if (loads[k] < loads[least])
				least = k;
		}
		owners[order[i]] = least;
		/* Empty files, too, are spread. */
		loads[least] += item->bytes ? item->bytes : 1;
	}
	mem_free(order);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return x < y ? -1 : x > y;
}

/* Turns loads into the room up to the level at which `bytes` more fill all that lies below it. */
static void loads_to_room(uint64_t *loads, uint32_t subtasks, uint64_t bytes)
{
	uint64_t *sorted = mem_alloc(subtasks * sizeof *sorted), below = 0, level = 0;

	memcpy(sorted, loads, subtasks * sizeof *sorted);
	qsort(sorted, subtasks, sizeof *sorted, by_value);
	for (uint32_t k = 0; k < subtasks; k++) {
		below += sorted[k];
		level = (below + bytes + k) / (k + 1); /* rounded up: no byte stays behind */
		if (k + 1 == subtasks || level <= sorted[k + 1])
			break;
	}
	for (uint32_t k = 0; k < subtasks; k++)
		loads[k] = loads[k] < level ? level - loads[k] : 0;
	mem_free(sorted);
}

struct filling {
	struct split_way way;
	uint64_t *room;
	uint32_t subtask; /* being filled */
	struct split_piece *out;
	size_t out_len;
};

static void put_piece(struct filling *f, uint32_t subtask, struct split_piece p)
{
	if (subtask == f->way.subtask)
		f->out[f->out_len++] = p;
}

/* An item that can be cut: to one subtask after another as far as they have room. */
static void fill(struct filling *f, size_t item, uint64_t bytes)
{
	uint64_t from = 0, min = f->way.cut_min_bytes ? f->way.cut_min_bytes : 1;

	for (; f->subtask + 1 < f->way.subtasks; f->subtask++) {
		uint64_t room = f->room[f->subtask], left = bytes - from;

		if (!room)
			continue;
		if (left <= room || left - room < min) {
			put_piece(f, f->subtask, (struct split_piece){item, from, bytes});
			f->room[f->subtask] -= left < room ? left : room;
			return;
		}
		if (room < min)
			continue;
		put_piece(f, f->subtask, (struct split_piece){item, from, from + room});
		f->room[f->subtask] = 0;
		from += room;
	}
	put_piece(f, f->subtask, (struct split_piece){item, from, bytes});
}

size_t split_share(
	const struct split_item *items, size_t n, struct split_way way, struct split_piece *out)
{
	uint64_t *loads = mem_zero(way.subtasks * sizeof *loads), bytes = 0;
	uint32_t *owners = mem_zero((n + 1) * sizeof *owners);
	struct filling f = {.way = way, .room = loads, .out = out};

	MUST(way.subtask < way.subtasks);
	place_whole(items, n, way.subtasks, loads, owners);
	for (size_t i = 0; i < n; i++)
		bytes += items[i].can_cut ? items[i].bytes : 0;
	loads_to_room(loads, way.subtasks, bytes);
	for (size_t i = 0; i < n; i++) {
		if (items[i].can_cut)
			fill(&f, i, items[i].bytes);
		else
			put_piece(&f, owners[i], (struct split_piece){i, 0, items[i].bytes});
	}
	mem_free(loads);
	mem_free(owners);
	return f.out_len;
}
