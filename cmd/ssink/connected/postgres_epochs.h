/* Which epochs a database has: a row per job, stage and subtask, written in the transaction that
 * brings the epoch's rows.
 *
 *   create table runnel_epochs (job uuid, stage text, subtask int, epoch bigint, at timestamptz,
 *                               primary key (job, stage, subtask))
 *
 * Numbers only grow, so one row holds them all.  Whoever commits locks it first: what is left of an
 * earlier attempt, in a server that hasn't noticed yet that it died, has ended before the number is
 * read. */
#ifndef RUNNEL_SSINK_POSTGRES_EPOCHS_H
#define RUNNEL_SSINK_POSTGRES_EPOCHS_H

#include "cmd/common/epoch_file.h"
#include "connect/heavy/postgres.h"

/* Makes the table if there is none, in a transaction of its own. */
int epochs_make(struct postgres *p, const struct postgres_table *t, struct error *e);

/* Within a transaction: locks the row of the file's stage and subtask.  *done: the database has
 * this epoch. */
int epochs_lock(struct postgres *p, const struct postgres_table *t, const char *job,
	const struct epoch_file *x, uint64_t *epoch, struct error *e);

/* The locked row has this epoch when the transaction is committed. */
int epochs_put(struct postgres *p, const struct postgres_table *t, const char *job,
	const struct epoch_file *x, struct error *e);

#endif
