/* Rows as COPY ... FROM STDIN takes them: binary where every column has a binary form that is ours
 * to write, else text, which the server reads by each type's own rules.
 *
 *   binary   "PGCOPY\n" ...  | i16 columns | i32 bytes, value | i32 -1 (null) | ... | i16 -1
 *   text     value TAB value NEWLINE, \N for null
 *
 * It knows neither connections nor tables: which column goes to which type, somebody else has found
 * out. */
#ifndef RUNNEL_SSINK_POSTGRES_ROWS_H
#define RUNNEL_SSINK_POSTGRES_ROWS_H

#include "connect/heavy/postgres_types.h"
#include "libcore/table/column.h"

struct rows_column {
	int column;                 /* of the batch */
	enum postgres_form form;    /* of the table's column */
	enum postgres_form element; /* ARRAY: of its elements */
	char delimiter;             /* ... what stands between them */
	/* What the table's column keeps of a second: 1 microsecond, 1000, ... ; a time with more is
	 * an error, not rounded.  0: all. */
	int64_t unit_us;
	const char *type; /* the table's type as SQL has it, for messages */
};

struct rows_format {
	const struct rows_column *columns;
	size_t columns_len;
	bool is_text;
};

/* Whether values of this form are binary; if not, the whole row is text. */
bool rows_is_binary(enum postgres_form form);

/* What comes before the first row, and behind the last. */
void rows_put_head(const struct rows_format *f, struct buf *out);
void rows_put_tail(const struct rows_format *f, struct buf *out);

/* Appends the picked rows (pick NULL: rows 0..n).  ERROR_DATA shows the row. */
int rows_put(const struct rows_format *f, const struct batch *b, const uint32_t *pick, uint32_t n,
	struct buf *out, struct error *e);

#endif
