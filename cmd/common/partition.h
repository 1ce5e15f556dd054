/* Rows by the directory they belong to: "day=2013-01-01/hour=3/", as Hive lays out a table and as
 * DuckDB, Spark and others read it.
 *
 * The columns that say it are not in the files: their values are in the path.  Values are text as
 * in csv, with what may not or should not be in a name as %XX (Hive's list); null is
 * __HIVE_DEFAULT_PARTITION__, the empty string stays empty.  Knows neither files nor formats. */
#ifndef RUNNEL_CMD_COMMON_PARTITION_H
#define RUNNEL_CMD_COMMON_PARTITION_H

#include "libcore/table/column.h"

struct partition;

/* names: "day,hour"; a name with a comma is in double quotes.  What looks like an expression is
 * ERROR_USAGE with a hint at smap. */
int partition_new(const char *names, struct partition **out, struct error *e);
void partition_free(struct partition *p);

/* Finds the columns, checks their types, and that others are left. */
int partition_schema(struct partition *p, const struct schema *s, struct error *e);

/* The columns that are left; until the next partition_schema. */
const struct schema *partition_rest(const struct partition *p);

/* Divides a batch; the number of its parts, in the order in which they first appear; -1. */
int partition_split(struct partition *p, const struct batch *b, struct error *e);

/* The rows of part i, in their order, and where they belong.  Valid until the next split. */
void partition_part(struct partition *p, uint32_t i, struct batch *rows, const char **sub);

#endif
