/* A hash table from key to a small number: the group (swindow) or the list of rows (sjoin) that
 * belongs to it.  Numbers are given in order of first appearance from 0, so that what belongs to a
 * key lies in flat arrays elsewhere (aggregate.h) and the order of results is theirs.
 *
 *   slots   [ hash tag | number ]   u32, open addressing, linear probing, at most half full
 *   keys    columns of the distinct keys, by number
 *
 * Hashes are those of table/keys.h (the high bits address slots; the low 7 are the key group).  The
 * common shapes (no column, one int-like column, one string) have loops of their own; a batch is
 * looked up in one call with prefetching, not row by row. */
#ifndef RUNNEL_TABLE_KEYTABLE_H
#define RUNNEL_TABLE_KEYTABLE_H

#include "libcore/table/builder.h"
#include "libcore/table/keys.h"

struct keytable;

struct keytable *keytable_new(const struct type *types, size_t types_len);
void keytable_free(struct keytable *t);
void keytable_reset(struct keytable *t); /* no keys, keeps the memory */

/* Looks up the keys of all rows and inserts the missing ones; ids[r] is the number of row r's key.
 * hashes: from keys_hash over the same columns. */
void keytable_insert(struct keytable *t, const struct column *const *columns, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids);

/* As keytable_insert, but a missing key gives KEY_NONE and is not inserted. */
#define KEY_NONE UINT32_MAX
void keytable_find(const struct keytable *t, const struct column *const *columns, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids);

/* Room in an empty table for so many keys, where it is known that about so many will come: it then
 * grows to them without hashing again. */
void keytable_reserve(struct keytable *t, uint32_t keys);

/* Many keys at once, from a snapshot: different from each other and from those that are there, and
 * as a table gives them out (-0 and NaNs are canonical).  They get the next numbers; from the first
 * of them on nothing may be looked up or inserted until keytable_index.  For tables with columns. */
void keytable_append(struct keytable *t, const struct column *const *columns, uint32_t rows);
void keytable_index(struct keytable *t);

/* Makes an empty table hold from's keys under the same numbers, without hashing them again. */
void keytable_copy(struct keytable *t, const struct keytable *from);

/* A child of fork, which writes a snapshot, has the keys and their hashes but can't look any up. */
uint32_t keytable_len(const struct keytable *t);

/* The i-th key column of all keys, keytable_len rows; borrowed until the next insert. */
struct column keytable_column(const struct keytable *t, size_t i);
uint64_t keytable_hash(const struct keytable *t, uint32_t id);

/* The hashes of keys first .. first + n; first is a multiple of 8. */
void keytable_hashes(const struct keytable *t, uint32_t first, uint32_t n, uint64_t *hashes);
size_t keytable_bytes(const struct keytable *t); /* held: charged to --memory */

#endif
