/* What the catalog tells of a statement's columns and of a table. */
#ifndef RUNNEL_CONNECT_HEAVY_POSTGRES_CATALOG_H
#define RUNNEL_CONNECT_HEAVY_POSTGRES_CATALOG_H

#include "connect/heavy/postgres.h"
#include "connect/heavy/postgres_types.h"
#include "libcore/base/arena.h"

struct postgres_column {
	const char *name;
	struct postgres_type type;
	uint32_t declared_oid; /* as the table has it: perhaps a domain */
	int32_t declared_modifier;
};

/* The columns of a statement's result, in the arena; runs nothing.  ERROR_USAGE if it has none. */
int postgres_describe(struct postgres *p, const char *sql, struct arena *a,
	struct postgres_column **out, size_t *n, struct error *e);

/* Follows the types that stand in the columns (oid and modifier) to what they are made of. */
int postgres_resolve(
	struct postgres *p, struct postgres_column *columns, size_t n, struct error *e);

/* A table as the session sees it: its oid, its schema and name as they are.  ERROR_USAGE if there
 * is none, with a suggestion. */
struct postgres_relation {
	char *oid; /* as text */
	char *schema, *name;
	char kind;     /* pg_class.relkind: 'r', 'p' partitioned, 'v' view, ... */
	char identity; /* pg_class.relreplident: 'd', 'n', 'f', 'i' */
};
int postgres_find_table(struct postgres *p, const struct postgres_table *t,
	struct postgres_relation *out, struct error *e);
void postgres_relation_clear(struct postgres_relation *r);

#endif
