/* Columns and batches, as views.
 *
 *   struct column (rows are known from the batch)
 *     valid    ->  bitmap, bit r of byte r/8, LSB first, 1 = has a value; NULL: no row is null
 *     data     ->  rows values of type_width(type) bytes           (kinds of fixed width)
 *     offsets  ->  rows + 1 of u32, from 0, never falling           (string, bytes, any)
 *     bytes    ->  value r is bytes[offsets[r] .. offsets[r+1])
 *
 * A column borrows all of its buffers: from a frame, an arena, a builder.  The function that hands
 * one out says how long it lives.  A value under a 0 bit is unspecified: it may be read (it is
 * initialised memory) but must never show.  Bits behind the last row are unspecified.
 * Buffers of fixed width are aligned for their type; valid needs no alignment. */
#ifndef RUNNEL_TABLE_COLUMN_H
#define RUNNEL_TABLE_COLUMN_H

#include "libcore/table/schema.h"

enum {
	BATCH_ROWS = 8192,            /* what a batch aims at; also its limit inside a stage */
	BATCH_BYTES = 256 << 10,      /* ... or about so many bytes, whichever comes first */
};

/* How a row of a changelog changes the table behind it. */
enum row_op {
	ROW_INSERT = 0,
	ROW_UPDATE_BEFORE = 1,
	ROW_UPDATE_AFTER = 2,
	ROW_DELETE = 3,
};

struct column {
	struct type type;
	const uint8_t *valid;
	const void *data;
	const uint32_t *offsets;
	const uint8_t *bytes;
};

struct batch {
	const struct schema *schema;
	uint32_t rows;
	const struct column *columns; /* schema->fields_len of them */
	const uint8_t *ops;           /* enum row_op per row; NULL unless schema->changelog */
};

struct text_view {
	const char *text; /* not terminated; NULL only if len is 0 */
	size_t len;
};

static inline bool column_is_valid(const struct column *c, uint32_t row)
{
	return !c->valid || (c->valid[row >> 3] >> (row & 7) & 1);
}

static inline int64_t column_int(const struct column *c, uint32_t row) /* INT TIMESTAMP DURATION */
{
	return ((const int64_t *)c->data)[row];
}

static inline double column_float(const struct column *c, uint32_t row)
{
	return ((const double *)c->data)[row];
}

static inline bool column_bool(const struct column *c, uint32_t row)
{
	return ((const uint8_t *)c->data)[row];
}

static inline int32_t column_date(const struct column *c, uint32_t row)
{
	return ((const int32_t *)c->data)[row];
}

static inline __int128 column_decimal(const struct column *c, uint32_t row)
{
	__int128 v; /* buffers are aligned to 8 only in frames written by others */

	__builtin_memcpy(&v, (const uint8_t *)c->data + (size_t)row * sizeof v, sizeof v);
	return v;
}

static inline struct text_view column_text(const struct column *c, uint32_t row)
{
	return (struct text_view){(const char *)c->bytes + c->offsets[row],
		c->offsets[row + 1] - c->offsets[row]};
}

/* Where null means something else. */
static inline int64_t column_int_or(const struct column *c, uint32_t row, int64_t otherwise)
{
	return column_is_valid(c, row) ? column_int(c, row) : otherwise;
}

static inline bool column_is_true(const struct column *c, uint32_t row)
{
	return column_is_valid(c, row) && column_bool(c, row);
}

/* A copy of a text, terminated, to be freed; NULL of null. */
char *column_strdup(const struct column *c, uint32_t row);

/* Number of null rows. */
uint32_t column_nulls(const struct column *c, uint32_t rows);

/* Payload of the rows in bytes, as it would lie in a frame: how large a batch is. */
size_t batch_bytes(const struct batch *b);

/* The first rows or a later part of a batch as views: fixed-width columns are borrowed, validity
 * that is not at a byte boundary and offsets are rebuilt in the arena. */
struct arena;
void batch_slice(const struct batch *b, uint32_t first, uint32_t rows, struct arena *a,
	struct batch *out);

/* The rows whose numbers stand in pick[0..n), as a new batch in the arena; b's rows may repeat and
 * come in any order.  The kernel of every filter and join. */
void batch_gather(const struct batch *b, const uint32_t *pick, uint32_t n, struct arena *a,
	struct batch *out);

/* As batch_gather for one column.  ROW_NONE in pick gives null (the missing side of a join). */
#define ROW_NONE UINT32_MAX
void column_gather(const struct column *c, const uint32_t *pick, uint32_t n, struct arena *a,
	struct column *out);

/* The event times of the rows of a schema that has them (time_column), offset included, cut at the
 * ends of int64: the column itself where there is no offset, else in the arena.  ERROR_DATA: one is
 * null. */
struct error;
int batch_times(const struct batch *b, struct arena *a, const int64_t **out, struct error *e);

/* A value as a person would read it (null as "null"), for messages; cut at max bytes with "...". */
void column_put_text(const struct column *c, uint32_t row, size_t bytes_max, struct buf *b);

/* "name=value, name=value": the row an error shows. */
void batch_put_row(const struct batch *b, uint32_t row, struct buf *out);

#endif
