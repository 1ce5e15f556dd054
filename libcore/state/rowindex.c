#include "libcore/state/rowindex.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/table/keys.h"

#include <string.h>

enum { BUCKETS_MIN = 64 };

void rowindex_clear(struct rowindex *x)
{
	mem_free(x->buckets);
	mem_free(x->chain);
	mem_free(x->hashes);
	*x = (struct rowindex){.buckets = NULL};
}

/* Columns as parts of a key: `any` goes by its bytes. */
static const struct column **as_keys(const struct batch *b, struct arena *a)
{
	size_t n = b->schema->fields_len;
	const struct column **columns = ARENA_ARRAY(a, const struct column *, n);

	for (size_t i = 0; i < n; i++) {
		columns[i] = &b->columns[i];
		if (b->columns[i].type.kind == TYPE_ANY) {
			struct column *bytes = ARENA_NEW(a, struct column);

			*bytes = b->columns[i];
			bytes->type = TYPE_OF(TYPE_BYTES);
			columns[i] = bytes;
		}
	}
	return columns;
}

void rowindex_hash(const struct batch *b, struct arena *a, uint64_t *hashes)
{
	keys_hash(as_keys(b, a), b->schema->fields_len, b->rows, hashes);
}

static void put_in_bucket(struct rowindex *x, uint32_t row)
{
	uint32_t *bucket = &x->buckets[x->hashes[row] >> 32 & x->mask];

	x->chain[row] = *bucket;
	*bucket = row;
}

static void grow(struct rowindex *x)
{
	uint32_t *old = x->buckets, old_len = old ? x->mask + 1 : 0;
	uint32_t len = old_len ? old_len * 2 : BUCKETS_MIN;

	x->buckets = mem_alloc(len * sizeof *x->buckets);
	memset(x->buckets, 0xff, len * sizeof *x->buckets);
	x->mask = len - 1;
	for (uint32_t i = 0; i < old_len; i++) {
		uint32_t newest_first = old[i], oldest_first = ROW_NONE, next;

		for (uint32_t r = newest_first; r != ROW_NONE; r = next) {
			next = x->chain[r];
			x->chain[r] = oldest_first;
			oldest_first = r;
		}
		for (uint32_t r = oldest_first; r != ROW_NONE; r = next) {
			next = x->chain[r];
			put_in_bucket(x, r);
		}
	}
	mem_free(old);
}

void rowindex_add(struct rowindex *x, uint32_t row, uint64_t hash)
{
	if (!x->buckets || x->live > x->mask)
		grow(x);
	MEM_GROW(x->chain, x->chain_cap, row + (size_t)1);
	MEM_GROW(x->hashes, x->hashes_cap, row + (size_t)1);
	x->hashes[row] = hash;
	put_in_bucket(x, row);
	x->live++;
}

static bool rows_equal(const struct batch *a, uint32_t row_a, const struct batch *b, uint32_t row_b)
{
	struct arena arena = ARENA_INIT;
	struct buf bytes_a = BUF_INIT, bytes_b = BUF_INIT;
	size_t n = a->schema->fields_len;
	bool equal;

	keys_put(as_keys(a, &arena), n, row_a, &bytes_a);
	keys_put(as_keys(b, &arena), n, row_b, &bytes_b);
	equal = bytes_a.len == bytes_b.len &&
		(bytes_a.len == 0 || !memcmp(bytes_a.data, bytes_b.data, bytes_a.len));
	buf_clear(&bytes_a);
	buf_clear(&bytes_b);
	arena_clear(&arena);
	return equal;
}

uint32_t rowindex_take(
	struct rowindex *x, struct rowstore *s, const struct batch *b, uint32_t row, uint64_t hash)
{
	const struct batch *kept = rowstore_view(s);
	uint32_t *link;

	if (!x->buckets)
		return ROW_NONE;
	for (link = &x->buckets[hash >> 32 & x->mask]; *link != ROW_NONE; link = &x->chain[*link]) {
		uint32_t found = *link;

		if (x->hashes[found] != hash || !rows_equal(kept, found, b, row))
			continue;
		*link = x->chain[found];
		x->live--;
		return found;
	}
	return ROW_NONE;
}

void rowindex_drop(struct rowindex *x, uint32_t row)
{
	uint32_t *link = &x->buckets[x->hashes[row] >> 32 & x->mask];

	while (*link != row) {
		MUST(*link != ROW_NONE);
		link = &x->chain[*link];
	}
	*link = x->chain[row];
	x->live--;
}

void rowindex_build(struct rowindex *x, struct rowstore *s)
{
	const struct batch *all = rowstore_view(s);
	struct arena arena = ARENA_INIT;
	uint64_t *hashes = mem_alloc((s->len + (size_t)1) * sizeof *hashes);

	rowindex_clear(x);
	rowindex_hash(all, &arena, hashes);
	for (uint32_t r = 0; r < s->len; r++) {
		if (!(s->flags[r] & ROW_DEAD))
			rowindex_add(x, r, hashes[r]);
	}
	mem_free(hashes);
	arena_clear(&arena);
}

size_t rowindex_bytes(const struct rowindex *x)
{
	return (x->buckets ? (x->mask + (size_t)1) * sizeof *x->buckets : 0) +
	       x->chain_cap * sizeof *x->chain + x->hashes_cap * sizeof *x->hashes;
}
