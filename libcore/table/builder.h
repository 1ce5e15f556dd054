/* Columns that grow row by row or by copying rows of others: what readers, joins and windows write
 * their output into.
 *
 * A column_builder owns its buffers.  Its view (builder_column) borrows them until the next append,
 * reset or clear.  All columns of a batch_builder have the same number of rows whenever a view is
 * taken (MUST). */
#ifndef RUNNEL_TABLE_BUILDER_H
#define RUNNEL_TABLE_BUILDER_H

#include "libcore/table/column.h"

struct column_builder {
	struct type type;
	uint32_t rows;
	uint32_t nulls;
	uint32_t width;       /* type_width(type), 0 behind offsets */
	uint32_t rows_cap;    /* rows that data, offsets and valid have room for */
	uint8_t *valid;       /* where nulls is not 0: right up to rows.  Else of no meaning, and perhaps
	                       * not NULL: a reset keeps the memory */
	uint8_t *data;        /* 64-byte aligned; fixed width only */
	uint32_t *offsets;    /* rows_cap + 1 */
	struct buf bytes;
};

void builder_init(struct column_builder *b, struct type type);
void builder_clear(struct column_builder *b);
void builder_reset(struct column_builder *b); /* no rows, keeps the memory */

/* Room for `more` rows, so that the _unsafe appends below need not look. */
void builder_reserve(struct column_builder *b, uint32_t more);

/* Appends one row.  The kind must fit (MUST): int for INT, TIMESTAMP, DURATION. */
void builder_put_null(struct column_builder *b);
void builder_put_int(struct column_builder *b, int64_t v);
void builder_put_float(struct column_builder *b, double v);
void builder_put_bool(struct column_builder *b, bool v);
void builder_put_date(struct column_builder *b, int32_t days);
void builder_put_decimal(struct column_builder *b, __int128 unscaled);
void builder_put_text(struct column_builder *b, const void *text, size_t len);

/* ... or null: of no text; where the number has no meaning. */
void builder_put_string(struct column_builder *b, const char *text_or_null);
void builder_put_int_unless(struct column_builder *b, bool unknown, int64_t v);

/* Appends row `row` of c, or null; c has the builder's type. */
void builder_put_from(struct column_builder *b, const struct column *c, uint32_t row);

/* Appends rows [first, first + n) of c. */
void builder_put_rows(struct column_builder *b, const struct column *c, uint32_t first, uint32_t n);

/* Appends the picked rows of c (ROW_NONE: null). */
void builder_put_picked(struct column_builder *b, const struct column *c, const uint32_t *pick,
	uint32_t n);

/* Appends n values of fixed width whose bytes lie at data, none of them null. */
void builder_put_values(struct column_builder *b, const void *data, uint32_t n);

/* Appends n nulls. */
void builder_put_nulls(struct column_builder *b, uint32_t n);

/* Takes back the rows from `rows` on: a record that turned out malformed after half its columns. */
void builder_truncate(struct column_builder *b, uint32_t rows);

struct column builder_column(const struct column_builder *b);

struct batch_builder {
	const struct schema *schema;  /* borrowed; outlives the builder */
	struct column_builder *columns;
	struct column *views;
	struct buf ops;               /* one byte per row, in changelogs */
	struct batch batch;
};

void batch_builder_init(struct batch_builder *b, const struct schema *schema);
void batch_builder_clear(struct batch_builder *b);
void batch_builder_reset(struct batch_builder *b);
uint32_t batch_builder_rows(const struct batch_builder *b);
bool batch_builder_is_full(const struct batch_builder *b); /* BATCH_ROWS or BATCH_BYTES reached */

/* Appends whole rows of a batch of the same column types. */
void batch_builder_put_rows(struct batch_builder *b, const struct batch *from, uint32_t first,
	uint32_t n);
void batch_builder_put_picked(struct batch_builder *b, const struct batch *from,
	const uint32_t *pick, uint32_t n);

/* The rows so far; borrowed until the next append, reset or clear. */
const struct batch *batch_builder_view(struct batch_builder *b);

#endif
