/* --explode: one row per element of an array in an any column. */
#ifndef RUNNEL_CMD_SMAP_EXPLODE_H
#define RUNNEL_CMD_SMAP_EXPLODE_H

#include "libcore/base/arena.h"
#include "libcore/table/column.h"

/* The column's number; ERROR_USAGE if there is none or it is not any. */
int explode_column(const struct schema *s, const char *name, struct error *e);

/* The other columns repeat; the column holds the elements.  Null and the empty array give no row;
 * what is no array is ERROR_DATA.  out lives in the arena. */
int explode_rows(const struct batch *in, int column, struct arena *a, struct batch *out,
	struct error *e);

#endif
