/* Rows of a stream that are kept for a while, by column: the state of joins.
 *
 *   row       0      1      2    ...
 *   rows      [ one builder per column of the stream ]
 *   time_us   event time            key   number of the row's key, KEY_NONE: it matches nothing
 *   flags     ROW_MATCHED | ROW_DEAD
 *
 * Rows are appended and keep their number, in order of arrival, until rowstore_compact renumbers
 * them: a dead row stays where it is until enough have died, then the live ones are copied together
 * in one go.  So text needs no free list, a gather by row number works on plain columns, and a row
 * costs O(1) amortised.  At most twice the live rows (and ROWSTORE_SLACK) are held.
 *
 * rowlists keep, for every key, the numbers of its rows sorted by (time, arrival).
 *
 * It knows neither tables of keys nor snapshots beyond the columns it hands out. */
#ifndef RUNNEL_STATE_ROWSTORE_H
#define RUNNEL_STATE_ROWSTORE_H

#include "libcore/table/builder.h"

enum row_flag {
	ROW_MATCHED = 1,
	ROW_DEAD = 2,
};

enum { ROWSTORE_SLACK = 16384 };

struct rowstore {
	const struct schema *schema; /* borrowed */
	struct batch_builder rows;
	int64_t *time_us;
	uint32_t *key;
	uint8_t *flags;
	uint32_t len, dead;
	uint32_t
		slack_rows; /* may lie dead before a copy is worth it: ROWSTORE_SLACK, tests less */
	size_t time_cap, key_cap, flags_cap;
};

void rowstore_init(struct rowstore *s, const struct schema *schema);
void rowstore_clear(struct rowstore *s);

/* Appends the picked rows of b (pick NULL: rows 0..n).  times and keys are by position in the n,
 * and may be NULL: time 0, key KEY_NONE.  Returns the number of the first. */
uint32_t rowstore_add(struct rowstore *s, const struct batch *b, const uint32_t *pick, uint32_t n,
	const int64_t *time_us, const uint32_t *keys);

/* All rows, dead ones too; borrowed until the next add or compact. */
const struct batch *rowstore_view(struct rowstore *s);

void rowstore_kill(struct rowstore *s, uint32_t row); /* a dead row may be killed again */

/* Whether so many rows have died that a copy of what lives pays: the live rows of this store and
 * those of others that are copied along. */
bool rowstore_wants_compact(const struct rowstore *s, uint32_t others);

/* Copies the live rows together.  remap (room for len) gets every row's new number, ROW_NONE for
 * the dead.  The order stays. */
void rowstore_compact(struct rowstore *s, uint32_t *remap);

size_t rowstore_bytes(const struct rowstore *s);

/* Whether a text column is close to the 4 GB that its offsets reach: no more may be added. */
bool rowstore_is_full(const struct rowstore *s);

struct rowlist {
	uint32_t *rows;
	uint32_t len, cap;
};

struct rowlists {
	struct rowlist *lists; /* by key */
	size_t len, cap;
	size_t held; /* row numbers there is room for, over all lists */
};

void rowlists_clear(struct rowlists *l);               /* frees; all zero bytes are empty */
void rowlists_resize(struct rowlists *l, size_t keys); /* more keys, each without rows */

/* Adds a row of s to the list of its key, behind all of the same or an earlier time. */
void rowlists_add(struct rowlists *l, const struct rowstore *s, uint32_t row);

/* How many rows of the key's list have a time of at most until_us.  An unknown key has none. */
uint32_t rowlists_until(
	const struct rowlists *l, const struct rowstore *s, uint32_t key, int64_t until_us);

/* After rowstore_compact: key k is keys[k] now, row r is rows[r].  What is UINT32_MAX in them is
 * gone; neither changes the order of what stays. */
void rowlists_compact(struct rowlists *l, const uint32_t *keys, const uint32_t *rows);

size_t rowlists_bytes(const struct rowlists *l);

#endif
