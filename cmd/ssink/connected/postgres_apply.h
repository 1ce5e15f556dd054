/* Rows into a table, in one transaction: by COPY as they come, or by key.
 *
 *   apply_begin -> ( apply_schema -> apply_rows* )* -> apply_commit | apply_roll_back
 *
 * Without keys every row is a new one, streamed into COPY.  With keys rows are gathered, of each
 * key only the last counts, and what is left goes through temporary tables: keys that are gone are
 * deleted, rows are inserted or take their key's place.  A row with an op of a changelog that takes
 * it back deletes its key, whatever else is in it.
 *
 * The table is locked as any writer locks it before its columns are looked at, so that what was
 * checked holds until the end of the transaction. */
#ifndef RUNNEL_SSINK_POSTGRES_APPLY_H
#define RUNNEL_SSINK_POSTGRES_APPLY_H

#include "connect/heavy/postgres.h"
#include "libcore/table/column.h"

struct apply_options {
	struct postgres_setup setup; /* of every connection */
	struct postgres_table table;
	const char *const *keys; /* --upsert */
	size_t keys_len;
	bool create;
	/* Statements wait for others' locks for so long, and are then an ERROR_IO: for who begins
	 * again and says so meanwhile.  0: for ever. */
	int lock_timeout_ms;
};

struct apply;

/* Borrows the options.  Connects with the first begin. */
struct apply *apply_new(const struct apply_options *o);
void apply_free(struct apply *a); /* rolls back what is open */

int apply_begin(struct apply *a, struct error *e);

/* Rows of this schema follow.  What doesn't fit the table is ERROR_USAGE. */
int apply_schema(struct apply *a, const struct schema *s, struct error *e);
int apply_rows(struct apply *a, const struct batch *b, struct error *e);

/* All rows are there: the server has taken them.  Statements of the same transaction may follow. */
int apply_finish(struct apply *a, struct error *e);

/* ERROR_IO where it isn't known whether the server has committed: the connection broke meanwhile.
 */
int apply_commit(struct apply *a, struct error *e);

/* As apply_commit, for who can't begin again: where the connection breaks, asks the server what
 * became of it, for some seconds. */
int apply_commit_once(struct apply *a, struct error *e);
void apply_roll_back(struct apply *a);

/* The connection, for statements of others between begin and commit, or to look around; NULL: none
 * is open.  apply_connect opens it if there is none. */
struct postgres *apply_connection(struct apply *a);
int apply_connect(struct apply *a, struct error *e);

/* Looks whether a schema fits, and makes the table if that is asked for; in a transaction of its
 * own. */
int apply_check(struct apply *a, const struct schema *s, struct error *e);

#endif
