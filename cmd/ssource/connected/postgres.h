/* PostgreSQL as a source: what its URL asks for, and which columns are taken.
 *
 *   ?table=[SCHEMA.]NAME or ?query=SELECT...   the rows that are there, once: postgres_query.c
 *   ?table=...&slot=NAME, or --follow          and what changes from then on: postgres_changes.c */
#ifndef RUNNEL_CMD_SSOURCE_CONNECTED_POSTGRES_H
#define RUNNEL_CMD_SSOURCE_CONNECTED_POSTGRES_H

#include "cmd/ssource/source.h"
#include "connect/heavy/postgres_catalog.h"

struct postgres_input {
	struct url url;                 /* what is ours is taken out of it */
	char *shown;                    /* the URL as it may be shown */
	struct postgres_table table;    /* name NULL: a query */
	const char *query;              /* without a semicolon; NULL: a table */
	const char *slot, *publication; /* NULL: not said */
};

int postgres_input_parse(const char *text, struct postgres_input *out, struct error *e);
void postgres_input_clear(struct postgres_input *in);

/* Connects; waits are shown to the stage's supervisor. */
int postgres_input_connect(const struct postgres_input *in, struct stage *st, bool replicates,
	struct postgres **out, struct error *e);

/* ---- which columns ---- */

struct planned_column {
	const char *from; /* in the table or query */
	const char *name; /* in the stream */
	struct postgres_type type;
	struct postgres_codec codec;
	uint32_t declared_oid;
	int32_t declared_modifier;
};

struct postgres_plan {
	struct arena arena; /* names */
	struct planned_column *columns;
	size_t len, cap;
	bool takes_all;       /* -s has a *, or isn't there: columns that are added come, too */
	struct schema schema; /* of the columns; no event time yet */
	const char **keys;    /* columns of the primary key, as the table has them */
	size_t keys_len, keys_cap;
};

/* Applies -s (NULL: all) to what there is.  Types stay as they are but for string, which everything
 * can be, and decimal, which every numeric can be. */
int postgres_plan_choose(struct postgres_plan *p, const struct postgres_column *columns, size_t n,
	const char *spec, struct error *e);
void postgres_plan_clear(struct postgres_plan *p);

/* Another column behind them; name: in the stream, NULL: as in the table. */
int postgres_plan_add(struct postgres_plan *p, const struct postgres_column *c, const char *name,
	struct error *e);

/* Column number `place` (from 0) of the primary key. */
void postgres_plan_set_key(struct postgres_plan *p, size_t place, const char *column);

/* The select list that gives the columns as their codecs read them. */
void postgres_plan_put_select(const struct postgres_plan *p, struct buf *out);

/* ---- the operators ---- */

/* They take the input over. */
int source_new_postgres_query(const struct source_options *o, struct postgres_input *in,
	struct operator** out, struct error *e);
int source_new_postgres_changes(const struct source_options *o, struct postgres_input *in,
	struct operator** out, struct error *e);

#endif
