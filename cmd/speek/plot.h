/* A numeric column over event time or over the rows' numbers, drawn with braille dots.
 *
 * Values fall into at most PLOT_BUCKETS buckets of equal width along x, each with its least,
 * greatest and mean value.  Where a value lies outside of them all, buckets become twice as wide,
 * two and two are taken together, until it fits: any number of rows in any order takes the same
 * memory, and no range has to be known before. */
#ifndef RUNNEL_CMD_SPEEK_PLOT_H
#define RUNNEL_CMD_SPEEK_PLOT_H

#include "libcore/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	PLOT_BUCKETS = 1024, /* more than a terminal has dots across */
	PLOT_HEIGHT = 12,    /* characters */
	PLOT_WIDTH_LEAST = 20,
	PLOT_LINES = PLOT_HEIGHT + 3, /* that plot_draw gives */
};

struct plot_bucket {
	double least, greatest, sum;
	uint64_t count; /* 0: nothing in it */
};

struct plot {
	struct plot_bucket buckets[PLOT_BUCKETS];
	int64_t first;  /* x >> shift of the first bucket */
	size_t len;     /* buckets from the first to the last that has something */
	unsigned shift; /* a bucket is 2^shift wide */
	int64_t least_x, greatest_x;
	uint64_t values, skipped; /* skipped: null, NaN, infinite */
};

void plot_init(struct plot *p);
void plot_put(struct plot *p, int64_t x, double y); /* what isn't finite is counted as skipped */

struct plot_labels {
	const char *y, *x; /* names of the axes */
	bool is_time;      /* x is microseconds since 1970 */
};

/* Appends PLOT_LINES lines of at most `width` characters; one line if there are no values. */
void plot_draw(
	const struct plot *p, const struct plot_labels *labels, unsigned width, struct buf *out);

#endif
