/* A changelog whose rows are to be found by other columns than its own key: which row is a key's
 * now.
 *
 *   in    +I (a 1, b x)  +I (a 2, b x)  -D (a 2, b x)  -D (a 1, b x)       the changelog's key is a
 *   out   +U (a 1, b x)  +U (a 2, b x)  +U (a 1, b x)  -D (b x)            ours is b
 *
 * Of the rows of a key that are there the one that came last counts; when it is taken back, the one
 * before it does again.  So all that are there are kept (Flink's SinkUpsertMaterializer does the
 * same).  Where the changelog's key is among the columns there is at most one, and nobody needs
 * this: upsert_is_needed. */
#ifndef RUNNEL_CMD_COMMON_UPSERT_H
#define RUNNEL_CMD_COMMON_UPSERT_H

#include "libcore/state/snapshot.h"

struct upsert;

/* Whether a stream's rows have to be kept to be upserted by these columns. */
bool upsert_is_needed(const struct schema *s, const int *keys, size_t keys_len);

struct upsert *upsert_new(const struct schema *s, const int *keys, size_t keys_len);
void upsert_free(struct upsert *u);

/* ERROR_DATA: rows of another schema than those that are kept. */
int upsert_check_schema(const struct upsert *u, const struct schema *s, struct error *e);

/* What a batch of the changelog changes, in order: ROW_UPDATE_AFTER with a key's row, ROW_DELETE of
 * which only the key counts.  Borrowed until the next call.  ERROR_DATA: it takes back a row that
 * isn't there. */
int upsert_take(struct upsert *u, const struct batch *b, const struct batch **out, struct error *e);

size_t upsert_bytes(const struct upsert *u);

/* The section "rows" of a snapshot, keyed. */
int upsert_save(struct upsert *u, struct snapshot_writer *w, struct error *e);

/* A batch of that section: *u is made if it is NULL.  After the last, upsert_settle. */
int upsert_load(struct upsert **u, const struct batch *b, struct error *e);
void upsert_settle(struct upsert *u);

/* The names of the columns, as upsert_load found them. */
bool upsert_has_keys(const struct upsert *u, const char *const *names, size_t n);

#endif
