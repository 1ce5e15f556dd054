/* Replication slots and publications: what keeps a table's changes for a reader, and which.
 *
 * A slot is made for a job in two steps, so that one that is left behind can be told from one that
 * is somebody's: while the table's first rows are read it has a name of the job's own, and only
 * once a checkpoint holds them does it get the name that was asked for (slot_rename, which can be
 * repeated). */
#ifndef RUNNEL_CMD_SSOURCE_CONNECTED_POSTGRES_SLOT_H
#define RUNNEL_CMD_SSOURCE_CONNECTED_POSTGRES_SLOT_H

#include "cmd/ssource/connected/postgres.h"

enum { SLOT_NAME_MAX = 46 }; /* behind it, in a job's own name: _ and 16 digits, 63 together */

int slot_check_name(const char *name, struct error *e);

struct slot_facts {
	bool exists;
	bool is_lost;           /* it holds back the log no longer: max_slot_wal_keep_size */
	int64_t pid;            /* of who reads from it; 0: nobody */
	uint64_t confirmed_lsn; /* where it stands */
};

/* ERROR_USAGE if the name is that of a slot of another kind. */
int slot_look(struct postgres *db, const char *name, struct slot_facts *out, struct error *e);

/* Makes one over a replication connection.  snapshot: exported for the first rows, until the
 * connection's next statement; of mem_alloc; NULL: not wanted. */
int slot_create(struct postgres *wal, const char *name, bool temporary, char **snapshot,
	uint64_t *lsn, struct error *e);

/* Drops it if it is there; waits for a reader that is about to go. */
int slot_drop(struct postgres *db, const char *name, struct error *e);

/* A second slot that stands where the first does; if it is there already that is fine. */
int slot_copy(struct postgres *db, const char *from, const char *to, struct error *e);

/* Waits until the slot has moved on to lsn; gives up after some seconds without an error. */
int slot_await(struct postgres *db, const char *name, uint64_t lsn, struct error *e);

/* ---- publications ---- */

struct publication {
	bool appends;  /* only inserts are published: the stream is no changelog */
	char *filter;  /* of its rows, as SQL; NULL: all */
	char *columns; /* of the table, as an array's text; NULL: all */
};

/* Looks at the publication, makes it if it isn't there and is ours to make.  What it doesn't
 * publish and a changelog needs is ERROR_USAGE with the statement that mends it. */
int publication_settle(struct postgres *db, const struct postgres_relation *table, const char *name,
	bool may_make, struct publication *out, struct error *e);
void publication_clear(struct publication *p);

/* Whether updates and deletes tell whole old rows: ERROR_USAGE with the statement that mends it. */
int identity_check(struct postgres *db, const struct postgres_relation *table, struct error *e);

#endif
