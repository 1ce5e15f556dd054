/* A stream of numbered events divided into lanes: blocks of LANE_BLOCK_EVENTS events are dealt to
 * them in turn, block b to the lane b mod lanes.
 *
 * A snapshot holds a row a lane, so that another number of subtasks can go on: they are dealt the
 * lanes in turn, after every lane has been split in two as long as there are fewer lanes than
 * subtasks.  Lanes of different subtasks stand at different events; a subtask goes on with the lane
 * that is farthest behind, so that its events keep their order. */
#ifndef RUNNEL_CMD_SSOURCE_LANES_H
#define RUNNEL_CMD_SSOURCE_LANES_H

#include "libcore/state/snapshot.h"

enum { LANE_BLOCK_EVENTS = 500 }; /* ten of Nexmark's cycles */

struct lane {
	uint64_t lane, lanes;
	uint64_t event; /* the next one, in a block of its own */
	uint64_t rows;  /* sent of it */
	int64_t greatest_us;
};

struct lanes {
	struct lane *items;
	size_t len, cap;
};

#define LANES_INIT {.items = NULL}
void lanes_clear(struct lanes *l);

/* The whole stream, from its start, in so many lanes. */
void lanes_begin(struct lanes *l, uint32_t lanes);
void lanes_add(struct lanes *l, struct lane lane);

/* Leaves of all lanes those of one subtask. */
void lanes_share(struct lanes *l, uint32_t subtask, uint32_t subtasks);

/* The lane that is farthest behind; NULL if there is none. */
struct lane *lanes_least(struct lanes *l);

/* The first event behind those that may be taken of it at once. */
uint64_t lane_until(const struct lane *l);

/* All events before `event` are taken: to the next block, if that was the last of this one. */
void lane_advance(struct lane *l, uint64_t event);

/* The snapshot's section "lanes".  take appends. */
int lanes_put(const struct lanes *l, struct snapshot_writer *w, struct error *e);
int lanes_take(struct lanes *l, const struct batch *b, struct error *e);

#endif
