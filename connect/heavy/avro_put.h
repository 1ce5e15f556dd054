/* Rows to Avro records: a plan made of a schema and of the columns there are, and its run.
 *
 * A column goes to the field of its name.  What a column has and its field can't hold (an int in too
 * few bits, a text that is no symbol, null where there is none) is bad data, told with its value;
 * what no value could is refused with the plan.  any goes where its values fit: into records, arrays
 * and maps, too. */
#ifndef RUNNEL_CONNECT_HEAVY_AVRO_PUT_H
#define RUNNEL_CONNECT_HEAVY_AVRO_PUT_H

#include "connect/heavy/avro_schema.h"
#include "libcore/table/column.h"

struct avro_put;

/* The nodes are borrowed for the plan's life, the columns' schema until this returns.  A changelog's op is a string,
 * in the field op.  Columns without a field, fields without a column that may not be null, and types
 * that don't go together: ERROR_USAGE. */
int avro_put_new(const struct avro_node *schema, const struct schema *columns,
	struct avro_put **out, struct error *e);
void avro_put_free(struct avro_put *p);

/* Appends one row's record.  ERROR_DATA: nothing is appended. */
int avro_put_row(struct avro_put *p, const struct batch *b, uint32_t row, struct buf *out,
	struct error *e);

#endif
