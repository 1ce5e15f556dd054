#include "cmd/speek/plot.h"

#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
	DOTS_ACROSS = 2, /* of a braille character */
	DOTS_DOWN = 4,
	LABEL_WIDTH = 10,
};

/* ---- buckets ---- */

void plot_init(struct plot *p)
{
	*p = (struct plot){.shift = 0};
}

static void bucket_merge(struct plot_bucket *to, const struct plot_bucket *from)
{
	if (!from->count)
		return;
	if (!to->count || from->least < to->least)
		to->least = from->least;
	if (!to->count || from->greatest > to->greatest)
		to->greatest = from->greatest;
	to->sum += from->sum;
	to->count += from->count;
}

/* Two and two become one. */
static void plot_coarsen(struct plot *p)
{
	struct plot_bucket *old = mem_alloc(sizeof p->buckets);
	int64_t first = p->first >> 1;
	size_t len = 0;

	memcpy(old, p->buckets, sizeof p->buckets);
	memset(p->buckets, 0, sizeof p->buckets);
	for (size_t i = 0; i < p->len; i++) {
		size_t to = (size_t)(((p->first + (int64_t)i) >> 1) - first);

		bucket_merge(&p->buckets[to], &old[i]);
		len = to + 1;
	}
	p->first = first;
	p->len = len;
	p->shift++;
	mem_free(old);
}

/* Buckets from the lower to the higher of these and what there is. */
static uint64_t span_with(const struct plot *p, int64_t index)
{
	int64_t last = p->first + ((int64_t)p->len - 1);
	int64_t low = index < p->first ? index : p->first, high = index > last ? index : last;

	return (uint64_t)high - (uint64_t)low;
}

static struct plot_bucket *plot_bucket(struct plot *p, int64_t x)
{
	size_t before;

	if (!p->len) {
		p->first = x >> p->shift;
		p->len = 1;
	}
	while (span_with(p, x >> p->shift) >= PLOT_BUCKETS)
		plot_coarsen(p);
	x >>= p->shift;
	if (x < p->first) {
		before = (size_t)(p->first - x);
		memmove(p->buckets + before, p->buckets, p->len * sizeof *p->buckets);
		memset(p->buckets, 0, before * sizeof *p->buckets);
		p->first = x;
		p->len += before;
	}
	if ((size_t)(x - p->first) >= p->len)
		p->len = (size_t)(x - p->first) + 1;
	return &p->buckets[x - p->first];
}

void plot_put(struct plot *p, int64_t x, double y)
{
	struct plot_bucket one = {.least = y, .greatest = y, .sum = y, .count = 1};

	if (!isfinite(y)) {
		p->skipped++;
		return;
	}
	if (!p->values || x < p->least_x)
		p->least_x = x;
	if (!p->values || x > p->greatest_x)
		p->greatest_x = x;
	p->values++;
	bucket_merge(plot_bucket(p, x), &one);
}

/* ---- dots ---- */

struct canvas {
	unsigned width, across, down; /* characters, dots */
	uint8_t *cells;               /* braille patterns, row by row */
	double low, high;
};

static void dot(struct canvas *c, unsigned x, unsigned y)
{
	static const uint8_t bits[DOTS_DOWN][DOTS_ACROSS] = {
		{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};

	MUST(x < c->across && y < c->down);
	c->cells[y / DOTS_DOWN * c->width + x / DOTS_ACROSS] |=
		bits[y % DOTS_DOWN][x % DOTS_ACROSS];
}

/* From the top. */
static unsigned dot_y(const struct canvas *c, double value)
{
	/* Halved, so that the range of all doubles is none too far. */
	double share = (value / 2 - c->low / 2) / (c->high / 2 - c->low / 2);

	return c->down - 1 - (unsigned)lround(share * (c->down - 1));
}

static void dots_down(struct canvas *c, unsigned x, double a, double b)
{
	unsigned top = dot_y(c, a > b ? a : b), bottom = dot_y(c, a > b ? b : a);

	for (unsigned y = top; y <= bottom; y++)
		dot(c, x, y);
}

static double between(double a, double b, double share)
{
	return a * (1 - share) + b * share;
}

/* Columns between two that have something: a straight line. */
static void dots_between(struct canvas *c, unsigned from, double a, unsigned to, double b)
{
	for (unsigned x = from + 1; x < to; x++)
		dot(c, x, dot_y(c, between(a, b, (double)(x - from) / (to - from))));
}

static unsigned bucket_x(const struct plot *p, const struct canvas *c, size_t bucket)
{
	return p->len == 1 ? c->across / 2 : (unsigned)(bucket * (c->across - 1) / (p->len - 1));
}

static double bucket_mean(const struct plot_bucket *b)
{
	double mean = b->sum / (double)b->count;

	return isfinite(mean) ? mean : between(b->least, b->greatest, 0.5);
}

static void draw_dots(const struct plot *p, struct canvas *c)
{
	bool any = false;
	unsigned before_x = 0;
	double before = 0;

	for (size_t i = 0; i < p->len; i++) {
		const struct plot_bucket *b = &p->buckets[i];
		unsigned x = bucket_x(p, c, i);
		double mean;

		if (!b->count)
			continue;
		mean = bucket_mean(b);
		dots_down(c, x, b->least, b->greatest);
		if (any)
			dots_between(c, before_x, before, x, mean);
		any = true;
		before_x = x;
		before = mean;
	}
}

static void find_range(const struct plot *p, double *low, double *high)
{
	struct plot_bucket all = {.count = 0};
	double room;

	for (size_t i = 0; i < p->len; i++)
		bucket_merge(&all, &p->buckets[i]);
	*low = all.least;
	*high = all.greatest;
	if (*low < *high)
		return;
	/* One value: in the middle. */
	room = fabs(*low) * 0.1 + (*low == 0 ? 1 : 0);
	*low = fmax(all.least - room, -DBL_MAX);
	*high = fmin(all.greatest + room, DBL_MAX);
}

/* ---- text ---- */

static void put_cell(struct buf *out, uint8_t dots)
{
	const uint8_t text[3] = {
		0xe2, (uint8_t)(0xa0 | dots >> 6), (uint8_t)(0x80 | (dots & 0x3f))};

	if (dots)
		buf_put(out, text, sizeof text);
	else
		buf_put_byte(out, ' ');
}

static void put_row(const struct canvas *c, unsigned row, const char *label, struct buf *out)
{
	const uint8_t *cells = c->cells + (size_t)row * c->width;
	unsigned len = c->width;

	while (len && !cells[len - 1])
		len--;
	buf_printf(out, "%*s %s", LABEL_WIDTH, label, *label ? "┤" : "│");
	for (unsigned i = 0; i < len; i++)
		put_cell(out, cells[i]);
	buf_put_byte(out, '\n');
}

static void put_rows(const struct canvas *c, struct buf *out)
{
	for (unsigned row = 0; row < PLOT_HEIGHT; row++) {
		bool labelled = row == 0 || row == PLOT_HEIGHT / 2 || row + 1 == PLOT_HEIGHT;
		double share = 1 - (double)row / (PLOT_HEIGHT - 1);
		char label[32] = "";

		if (labelled)
			snprintf(label, sizeof label, "%.4g", between(c->low, c->high, share));
		put_row(c, row, label, out);
	}
}

static size_t put_x(char out[TIMESTAMP_TEXT_MAX + 1], int64_t x, bool is_time)
{
	size_t len = is_time ? timestamp_put(out, x) : int_put(out, x);

	out[len] = '\0';
	return len;
}

static void put_axis(
	const struct plot *p, const struct plot_labels *labels, unsigned width, struct buf *out)
{
	char from[TIMESTAMP_TEXT_MAX + 1], to[TIMESTAMP_TEXT_MAX + 1];
	size_t n = put_x(from, p->least_x, labels->is_time);
	size_t m = put_x(to, p->greatest_x, labels->is_time);

	buf_printf(out, "%*s └", LABEL_WIDTH, "");
	for (unsigned i = 0; i < width; i++)
		buf_put_text(out, "─");
	buf_printf(out, "\n%*s  %s", LABEL_WIDTH, "", from);
	if (n + m + 1 <= width)
		buf_printf(out, "%*s", (int)(width - n), to);
	buf_put_byte(out, '\n');
}

void plot_draw(
	const struct plot *p, const struct plot_labels *labels, unsigned width, struct buf *out)
{
	struct canvas c = {.width = PLOT_WIDTH_LEAST};

	buf_printf(out, "%s over %s, %" PRIu64 " values", labels->y, labels->x, p->values);
	if (p->skipped)
		buf_printf(out, ", %" PRIu64 " without", p->skipped);
	buf_put_byte(out, '\n');
	if (!p->values)
		return;
	if (width > LABEL_WIDTH + 2 + PLOT_WIDTH_LEAST)
		c.width = width - LABEL_WIDTH - 2;
	c.across = c.width * DOTS_ACROSS;
	c.down = PLOT_HEIGHT * DOTS_DOWN;
	c.cells = mem_zero((size_t)c.width * PLOT_HEIGHT);
	find_range(p, &c.low, &c.high);
	draw_dots(p, &c);
	put_rows(&c, out);
	put_axis(p, labels, c.width, out);
	mem_free(c.cells);
}
