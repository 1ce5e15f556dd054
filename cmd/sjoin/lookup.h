/* Joins with rows that lie elsewhere and are asked for by key: sjoin --lookup.
 *
 *   LEFT batch -> distinct keys -> in the cache? --> rows, in order
 *                                      \-> asked for, a query for many keys --> cache
 *
 * What is found depends on the moment of asking, so nothing of it is kept in snapshots, and a
 * changelog is refused: what it takes back might have met other rows.
 *
 * The cache is two generations of keys and their rows.  Once the young one holds half of what is
 * allowed it becomes the old one, and what was old goes; a key found in the old one moves to the
 * young.  So what is used stays, at no cost per hit but a copy now and then. */
#ifndef RUNNEL_SJOIN_LOOKUP_H
#define RUNNEL_SJOIN_LOOKUP_H

#include "cmd/sjoin/join.h"
#include "libcore/table/builder.h"

enum { LOOKUP_KEYS_MAX = 4096 }; /* in one query */

/* Keys are columns without nulls; rows of key k, in any order, are rows[first[k] .. first[k + 1]).
 */
struct lookup_found {
	struct batch_builder *rows; /* are appended, those of a key together */
	uint32_t *counts;           /* by key: how many */
};

struct lookup;
struct lookup_ops {
	void (*free)(struct lookup *l);

	/* The columns of what is looked up, before anything is asked. */
	int (*schema)(struct lookup *l, struct stage *st, struct schema *out, struct error *e);

	/* The columns that keys are compared with, by their place in the schema, and the types that
	 * the keys have; once. */
	int (*keys)(struct lookup *l, const int *columns, const struct type *types, size_t n,
		struct error *e);

	/* The rows of n keys (at most LOOKUP_KEYS_MAX), in the order of the keys.  Comes back from
	 * a lost connection by itself. */
	int (*ask)(struct lookup *l, const struct column *keys, uint32_t n,
		const struct lookup_found *out, struct error *e);
};

struct lookup {
	const struct lookup_ops *ops;
};

/* The right side's columns, once the left side's are known; then what keys are compared with. */
int lookup_schema(struct join *j, struct error *e);
int lookup_keys(struct join *j, struct error *e);

struct lookup_options {
	const char *url;
	bool supervised;
};

/* In the twin only (cmd/common/connected.h). */
int lookup_new_postgres(const struct lookup_options *o, struct lookup **out, struct error *e)
	__attribute__((weak));

#endif
