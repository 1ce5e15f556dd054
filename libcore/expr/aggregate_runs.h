/* Bytes of varying length per group: what aggregates keep that must remember many values.
 *
 *   runs   [ at | len | cap ]  [ at | len | cap ]  ...        by slot (a group, or a node)
 *   pool   [ block 16 ][ block 48 ][ free 24 ] ...            one piece of memory for all
 *
 * A run is contiguous, and grows by moving to a block of the next size (16, 24, 32, 48, 64, ...);
 * the old one goes to a list of its size for the next run that wants it.  So a row costs no
 * allocation and a group of few values a few bytes.  From RUN_LARGE_BYTES on a run has memory of
 * its own, which the heap can grow in place.
 *
 * A pointer into a run is valid until the next call that gives room to any run of the same object.
 * Blocks are aligned to 8.  Not for use outside aggregate*.c. */
#ifndef RUNNEL_EXPR_AGGREGATE_RUNS_H
#define RUNNEL_EXPR_AGGREGATE_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RUN_LARGE_BYTES = 32 << 10,
	RUN_SIZES = 24,
};

#define RUN_BYTES_MAX ((uint32_t)1 << 31) /* of one group: lengths are u32 */

struct run {
	union {
		uint64_t at; /* in the pool; cap < RUN_LARGE_BYTES */
		uint8_t *large;
	};
	uint32_t len, cap;
};

struct runs {
	struct run *runs;
	uint32_t slots;
	uint8_t *pool;
	size_t pool_len, pool_cap;
	uint64_t free[RUN_SIZES]; /* 1 + place of the first free block of the size; 0: none */
	size_t large_bytes;
};

void runs_clear(struct runs *s);
void runs_reserve(struct runs *s, uint32_t slots); /* new ones are empty */
size_t runs_bytes(const struct runs *s);

/* Makes a run empty and gives its memory to others. */
void runs_drop(struct runs *s, uint32_t slot);

/* All of them, which are then as after runs_reserve. */
void runs_reset(struct runs *s);

/* Moves the run to where `more` further bytes fit.  NULL if it would exceed RUN_BYTES_MAX. */
uint8_t *runs_grow(struct runs *s, uint32_t slot, size_t more);

/* Puts what each of from's runs has behind the run it belongs to; false if one would exceed
 * RUN_BYTES_MAX. */
bool runs_append(struct runs *to, const uint32_t *to_slots, const struct runs *from,
	const uint32_t *from_slots, uint32_t n);

static inline uint8_t *runs_data(const struct runs *s, uint32_t slot)
{
	const struct run *r = &s->runs[slot];

	if (r->cap == 0)
		return NULL;
	return r->cap < RUN_LARGE_BYTES ? s->pool + r->at : r->large;
}

static inline uint32_t runs_len(const struct runs *s, uint32_t slot)
{
	return s->runs[slot].len;
}

/* Where the run's next bytes go, with room for `more`; the caller adds to its len what it wrote. */
static inline uint8_t *runs_room(struct runs *s, uint32_t slot, size_t more)
{
	const struct run *r = &s->runs[slot];

	if (r->cap - r->len < more)
		return runs_grow(s, slot, more);
	return runs_data(s, slot) + r->len;
}

#endif
