/* Dividing a list of things to read among subtasks: a pure function, so that every subtask finds
 * its own share by itself, and all of them together find everything once.
 *
 * The shares are as even as may be, in bytes.  Items that can't be cut go whole, the largest first,
 * to whoever has least; those that can be cut fill up what is missing, in their order, so that a
 * subtask reads neighbouring bytes. */
#ifndef RUNNEL_CMD_SSOURCE_SPLIT_H
#define RUNNEL_CMD_SSOURCE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPLIT_CUT_MIN_BYTES = 1 << 20 }; /* a smaller piece isn't worth opening a file for */

struct split_item {
	uint64_t bytes;
	bool can_cut;
};

/* Bytes [from, to) of an item; a whole one is from 0 to its bytes. */
struct split_piece {
	size_t item;
	uint64_t from, to;
};

struct split_way {
	uint32_t subtask, subtasks;
	uint64_t cut_min_bytes; /* no piece is smaller, unless its item is */
};

/* The pieces of way.subtask in the order of the items; room for n of them (a subtask has at most
 * one of each item).  Returns how many. */
size_t split_share(const struct split_item *items, size_t n, struct split_way way,
	struct split_piece *out);

#endif
