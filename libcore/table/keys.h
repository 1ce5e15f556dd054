/* Keys: the canonical bytes of some columns of a row, their hash, and the key group.
 *
 * Canonical bytes, version 1, are what every process, restart and parallelism agrees on.  A key is
 * the concatenation, column by column, of
 *
 *   null       00
 *   bool       01  u8
 *   int        02  i64 little endian
 *   float      03  f64 little endian bits; -0 as 0, every NaN as 0x7ff8000000000000
 *   decimal    04  s:u8  i128 little endian unscaled, scale s of the column
 *   date       05  i32 little endian
 *   timestamp  06  i64 little endian
 *   duration   07  i64 little endian
 *   string     08  len:u32 little endian, bytes
 *   bytes      09  len:u32 little endian, bytes
 *   any        refused at schema time
 *
 * The hash is XXH64 with seed 0 of these bytes; the low 7 bits are the key group, hash tables use
 * the high ones.  Where two streams meet (joins) both sides are cast to their common type first. */
#ifndef RUNNEL_TABLE_KEYS_H
#define RUNNEL_TABLE_KEYS_H

#include "libcore/table/column.h"

enum {
	KEY_GROUPS = 128,
	KEYS_VERSION = 1,
};

/* The half-open range [first, end) of key groups a subtask owns. */
struct key_range {
	uint8_t first;
	uint8_t end; /* up to KEY_GROUPS */
};

#define KEY_RANGE_ALL ((struct key_range){0, KEY_GROUPS})

static inline uint8_t key_group(uint64_t hash)
{
	return hash & (KEY_GROUPS - 1);
}

static inline bool key_range_has(struct key_range r, uint8_t group)
{
	return group >= r.first && group < r.end;
}

/* The subtask of `subtasks` that owns a group, and the range a subtask owns: as even as it goes, in
 * order, every group in exactly one range. */
static inline uint32_t key_group_subtask(uint8_t group, uint32_t subtasks)
{
	return group * subtasks / KEY_GROUPS;
}

static inline struct key_range key_range_of(uint32_t subtask, uint32_t subtasks)
{
	return (struct key_range){(uint8_t)((subtask * KEY_GROUPS + subtasks - 1) / subtasks),
		(uint8_t)(((subtask + 1) * KEY_GROUPS + subtasks - 1) / subtasks)};
}

/* Hashes the key of every row into hashes[0..rows).  columns_len may be 0: the hash of nothing. */
void keys_hash(const struct column *const *columns, size_t columns_len, uint32_t rows,
	uint64_t *hashes);

/* Appends the canonical bytes of one row's key. */
void keys_put(const struct column *const *columns, size_t columns_len, uint32_t row, struct buf *b);

/* Whether any key column of the row is null (joins: such a key matches nothing). */
bool keys_has_null(const struct column *const *columns, size_t columns_len, uint32_t row);

/* ERROR_USAGE if a column's type can't be a key (any). */
int keys_check(const struct schema *s, const int *columns, size_t n, struct error *e);

#endif
