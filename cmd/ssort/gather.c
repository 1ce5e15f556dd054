#include "cmd/ssort/gather.h"

#include "libcore/base/memory.h"

#include <string.h>

void gathering_init(struct gathering *g, const struct schema *s, size_t sources, size_t bytes)
{
	*g = (struct gathering){.schema = s, .bytes = bytes};
	g->columns = mem_zero((s->fields_len + 1) * sizeof *g->columns);
	for (size_t c = 0; c < s->fields_len; c++) {
		g->columns[c].data = mem_zero((sources + 1) * sizeof(void *));
		g->columns[c].bytes = mem_zero((sources + 1) * sizeof(void *));
		g->columns[c].valid = mem_zero((sources + 1) * sizeof(void *));
	}
}

void gathering_clear(struct gathering *g)
{
	for (size_t c = 0; g->columns && c < g->schema->fields_len; c++) {
		mem_free(g->columns[c].data);
		mem_free(g->columns[c].bytes);
		mem_free(g->columns[c].valid);
	}
	mem_free(g->columns);
	*g = (struct gathering){.schema = NULL};
}

void gathering_set(struct gathering *g, uint32_t source, const struct column *columns)
{
	for (size_t c = 0; c < g->schema->fields_len; c++) {
		struct gather_column *to = &g->columns[c];

		to->data[source] = type_is_text(columns[c].type) ? columns[c].offsets
								 : columns[c].data;
		to->bytes[source] = columns[c].bytes;
		to->valid[source] = columns[c].valid;
		to->has_nulls |= columns[c].valid != NULL;
	}
}

/* Where the value of a text column lies. */
struct piece {
	const uint8_t *bytes;
	uint32_t len;
};

/* One call. */
struct gather {
	struct gathering *what;
	const uint32_t *places;
	struct arena *arena;
};

/* A row of the input is a miss of the cache for every column: what comes is asked for early, here
 * by reading all offsets (independent loads) and fetching the first line of every value. */
static uint64_t find_pieces(const struct gather *g, size_t c, uint32_t n, struct piece *out)
{
	const struct gather_column *from = &g->what->columns[c];
	uint64_t total = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t source = place_source(g->places[i]);
		const uint32_t *offset = (const uint32_t *)from->data[source] +
					 place_row(g->places[i]);

		out[i].bytes = from->bytes[source] + offset[0];
		out[i].len = offset[1] - offset[0];
		__builtin_prefetch(out[i].bytes);
		total += out[i].len;
	}
	return total;
}

static void copy_pieces(const struct piece *pieces, uint32_t n, uint8_t *to, uint32_t *offsets)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		offsets[i] = at;
		if (pieces[i].len)
			memcpy(to + at, pieces[i].bytes, pieces[i].len);
		at += pieces[i].len;
	}
	offsets[n] = at;
}

static void gather_text(const struct gather *g, size_t c, uint32_t n, const struct piece *pieces,
	uint64_t total, struct column *out)
{
	uint8_t *bytes = arena_alloc(g->arena, total + 1);
	uint32_t *offsets = arena_alloc(g->arena, (n + (size_t)1) * sizeof *offsets);

	copy_pieces(pieces, n, bytes, offsets);
	out->bytes = bytes;
	out->offsets = offsets;
}

#define GATHER_VALUES(ctype)                                                                  \
	do {                                                                                  \
		ctype *to_ = data;                                                            \
		for (uint32_t i = 0; i < n; i++)                                              \
			to_[i] = ((const ctype *)from[place_source(g->places[i])])[place_row( \
				g->places[i])];                                               \
	} while (0)

static void gather_fixed(const struct gather *g, size_t c, uint32_t n, struct column *out)
{
	const void *const *from = g->what->columns[c].data;
	size_t width = type_width(out->type);
	void *data = arena_alloc(g->arena, n * width);

	switch (width) {
	case 1: GATHER_VALUES(uint8_t); break;
	case 4: GATHER_VALUES(uint32_t); break;
	case 8: GATHER_VALUES(uint64_t); break;
	case 16:
		for (uint32_t i = 0; i < n; i++)
			memcpy((uint8_t *)data + i * width,
				(const uint8_t *)from[place_source(g->places[i])] +
					place_row(g->places[i]) * width,
				width);
		break;
	}
	out->data = data;
}

static void gather_valid(const struct gather *g, size_t c, uint32_t n, struct column *out)
{
	const uint8_t *const *from = g->what->columns[c].valid;
	size_t bytes = (n + (size_t)7) / 8;
	uint8_t *valid = NULL;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *bits = from[place_source(g->places[i])];
		uint32_t row = place_row(g->places[i]);

		if (!bits || (bits[row >> 3] >> (row & 7) & 1))
			continue;
		if (!valid) {
			valid = arena_alloc(g->arena, bytes);
			memset(valid, 0xff, bytes);
		}
		valid[i >> 3] &= (uint8_t) ~(1u << (i & 7));
	}
	out->valid = valid;
}

/* How many of n rows make up a batch; the pieces of text columns are found on the way.  Looking at
 * more rows than fit is most of the time of a sort: it begins with what fitted the last time. */
static uint32_t measure(const struct gather *g, uint32_t n, struct piece **pieces, uint64_t *totals)
{
	const struct schema *s = g->what->schema;
	size_t fixed = 1, bytes = g->what->bytes;

	for (size_t c = 0; c < s->fields_len; c++)
		fixed += type_width(s->fields[c].type) + type_is_text(s->fields[c].type) * 4;
	if (n > bytes / fixed + 1)
		n = (uint32_t)(bytes / fixed + 1);
	if (g->what->rows && n > g->what->rows)
		n = g->what->rows;
	for (;;) {
		uint64_t sum = n * (uint64_t)fixed;

		for (size_t c = 0; c < s->fields_len; c++) {
			if (type_is_text(s->fields[c].type))
				sum += totals[c] = find_pieces(g, c, n, pieces[c]);
		}
		g->what->rows = (uint32_t)((uint64_t)n * bytes / sum) + 1;
		if (sum <= 2 * bytes || n == 1)
			return n;
		/* By the average; always fewer, as one value may be most of it. */
		n = (uint32_t)((uint64_t)n * bytes / sum);
		n += !n;
	}
}

uint32_t gather_places(struct gathering *what, const uint32_t *places, uint32_t n, struct arena *a,
	struct batch *out)
{
	struct gather g = {.what = what, .places = places, .arena = a};
	const struct schema *s = what->schema;
	struct column *columns = ARENA_ARRAY(a, struct column, s->fields_len);
	struct piece **pieces = ARENA_ARRAY(a, struct piece *, s->fields_len);
	uint64_t *totals = ARENA_ARRAY(a, uint64_t, s->fields_len);

	for (size_t c = 0; c < s->fields_len; c++) {
		if (type_is_text(s->fields[c].type))
			pieces[c] = arena_alloc(a, n * sizeof **pieces);
	}
	n = measure(&g, n, pieces, totals);
	for (size_t c = 0; c < s->fields_len; c++) {
		columns[c].type = s->fields[c].type;
		if (what->columns[c].has_nulls)
			gather_valid(&g, c, n, &columns[c]);
		if (type_is_text(columns[c].type))
			gather_text(&g, c, n, pieces[c], totals[c], &columns[c]);
		else
			gather_fixed(&g, c, n, &columns[c]);
	}
	*out = (struct batch){.schema = s, .rows = n, .columns = columns};
	return n;
}
