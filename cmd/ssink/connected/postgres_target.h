/* The table that rows go to, and how a stream's columns fit it.
 *
 * A target is what the catalog says at one moment; whoever has the table locked (any mode) may rely
 * on it.  Columns are matched by name: a stream's column that the table lacks, a column that needs
 * a value and gets none, a type that doesn't take the other without loss are ERROR_USAGE, with both
 * lists. */
#ifndef RUNNEL_SSINK_POSTGRES_TARGET_H
#define RUNNEL_SSINK_POSTGRES_TARGET_H

#include "cmd/ssink/connected/postgres_rows.h"
#include "connect/heavy/postgres.h"

struct target_column {
	char *name;
	char *type; /* as SQL has it: "numeric(7,2)" */
	struct postgres_type of;
	bool not_null, has_default, is_generated,
		is_fuzzy; /* fuzzy: equal values may look different */
};

struct target {
	char *table; /* quoted, for SQL */
	struct target_column *columns;
	size_t columns_len, columns_cap;
	char **unique; /* sets of columns that identify a row: names, sorted, \1 between */
	size_t unique_len, unique_cap;
};

/* Reads what the catalog says.  1: there is no such table. */
int target_read(
	struct postgres *p, const struct postgres_table *t, struct target *out, struct error *e);
void target_clear(struct target *t);

/* CREATE TABLE IF NOT EXISTS with a schema's columns; keys_len: its primary key. */
void target_put_create(const struct postgres_table *t, const struct schema *s,
	const char *const *keys, size_t keys_len, struct buf *out);

/* How a schema's columns go there: *columns (of mem_alloc) by their place in the schema; *is_text.
 */
int target_match(const struct target *t, const struct schema *s, struct rows_column **columns,
	bool *is_text, struct error *e);

/* Whether rows may be told apart by these columns of the stream: a unique index has exactly them,
 * and equal values look the same. */
int target_check_keys(
	const struct target *t, const char *const *keys, size_t keys_len, struct error *e);

#endif
