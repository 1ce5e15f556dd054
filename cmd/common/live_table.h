/* The table that a changelog describes, drawn on a terminal again and again in the same place.
 *
 * A row keeps its place for as long as it is only updated; new ones come at the end.  Rows are
 * known by the schema's keys, else as a whole (equal ones: a retraction takes back one).  It holds
 * the whole table.  Appends text and control sequences to a buffer; it asks neither clock nor
 * terminal. */
#ifndef RUNNEL_CMD_COMMON_LIVE_TABLE_H
#define RUNNEL_CMD_COMMON_LIVE_TABLE_H

#include "libcore/table/column.h"

struct live_table;

struct live_screen {
	int rows, columns; /* of the terminal; 0: unlimited */
	bool color;
};

struct live_table *live_table_new(const struct schema *s); /* of a changelog; copied */
void live_table_free(struct live_table *t);

/* A retraction of what isn't there is nothing. */
void live_table_take(struct live_table *t, const struct batch *b);

/* Rows that there are now. */
uint32_t live_table_rows(const struct live_table *t);

/* Whether a drawing would show anything else than the last. */
bool live_table_is_stale(const struct live_table *t, const struct live_screen *screen);

/* In place of the last drawing: the first rows that fit, and how many more there are. */
void live_table_draw(struct live_table *t, const struct live_screen *screen, struct buf *out);

/* In place of the last drawing: all rows, to stay. */
void live_table_finish(struct live_table *t, const struct live_screen *screen, struct buf *out);

#endif
