/* Rows picked from many batches into one, a column at a time: the output of a sort.
 *
 * A place is a source's number and a row in it; a source is a batch of at most PLACE_ROWS rows. */
#ifndef RUNNEL_SSORT_GATHER_H
#define RUNNEL_SSORT_GATHER_H

#include "libcore/base/arena.h"
#include "libcore/table/column.h"

enum {
	PLACE_ROW_BITS = 13,
	PLACE_ROWS = 1 << PLACE_ROW_BITS,
	PLACE_SOURCES = 1 << (32 - PLACE_ROW_BITS),
};
_Static_assert((int)PLACE_ROWS >= (int)BATCH_ROWS, "a batch is a source");

static inline uint32_t place_of(uint32_t source, uint32_t row)
{
	return source << PLACE_ROW_BITS | row;
}

static inline uint32_t place_source(uint32_t place)
{
	return place >> PLACE_ROW_BITS;
}

static inline uint32_t place_row(uint32_t place)
{
	return place & (PLACE_ROWS - 1);
}

/* Where the values of a column lie, by source: one load away from a place, and small enough for the
 * first-level cache. */
struct gather_column {
	const void **data;     /* of text: the offsets */
	const uint8_t **bytes; /* of text */
	const uint8_t **valid;
	bool has_nulls;
};

struct gathering {
	const struct schema *schema;
	struct gather_column *columns;
	size_t bytes;  /* about so many make a batch */
	uint32_t rows; /* which the last time were so many rows; 0 not known */
};

void gathering_init(struct gathering *g, const struct schema *s, size_t sources, size_t bytes);
void gathering_clear(struct gathering *g); /* also of zero bytes */

/* The columns of a source, borrowed. */
void gathering_set(struct gathering *g, uint32_t source, const struct column *columns);

/* Gathers the first of n places (at most BATCH_ROWS, n > 0): as many as make a batch, at least one;
 * returns how many.  out lives in the arena. */
uint32_t gather_places(struct gathering *g, const uint32_t *places, uint32_t n, struct arena *a,
	struct batch *out);

#endif
