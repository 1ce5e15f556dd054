#include "cmd/ssort/ranks.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

enum { BLOCK_FIRST = 4, BLOCK_MAX = 512 };

struct rank_block {
	uint32_t len, cap;
	uint32_t rows[];
};

struct rank_blocks {
	uint32_t len, cap;
	struct rank_block *blocks[];
};

static size_t block_bytes(uint32_t cap)
{
	return sizeof(struct rank_block) + cap * sizeof(uint32_t);
}

static size_t blocks_bytes(uint32_t cap)
{
	return sizeof(struct rank_blocks) + cap * sizeof(struct rank_block *);
}

void ranks_clear(struct ranks *l)
{
	for (uint32_t i = 0; l->more && i < l->more->len; i++)
		mem_free(l->more->blocks[i]);
	mem_free(l->more);
	*l = (struct ranks){.len = 0};
}

size_t ranks_bytes(const struct ranks *l)
{
	size_t bytes = l->more ? blocks_bytes(l->more->cap) : 0;

	for (uint32_t i = 0; l->more && i < l->more->len; i++)
		bytes += block_bytes(l->more->blocks[i]->cap);
	return bytes;
}

/* The block of a position, which becomes one within it; the end belongs to the last block. */
static uint32_t block_at(const struct rank_blocks *b, uint32_t *position)
{
	uint32_t i = 0;

	while (i + 1 < b->len && *position > b->blocks[i]->len)
		*position -= b->blocks[i++]->len;
	return i;
}

/* As block_at, of a row that is there. */
static uint32_t block_of(const struct rank_blocks *b, uint32_t *position)
{
	uint32_t i = 0;

	while (*position >= b->blocks[i]->len)
		*position -= b->blocks[i++]->len;
	return i;
}

uint32_t ranks_at(const struct ranks *l, uint32_t position)
{
	uint32_t block;

	MUST(position < l->len);
	if (!l->more)
		return l->only;
	block = block_of(l->more, &position);
	return l->more->blocks[block]->rows[position];
}

static bool row_before(const struct held *k, uint32_t row, const struct rank_key *key)
{
	uint64_t prefix = held_prefix(k, row);
	struct rank_key own;

	if (prefix != key->prefix)
		return prefix < key->prefix;
	own = held_key(k, row);
	return rank_compare(&own, key) < 0;
}

uint32_t ranks_find(const struct ranks *l, const struct held *k, const struct rank_key *key)
{
	const struct rank_blocks *b = l->more;
	const struct rank_block *block;
	uint32_t low = 0, high, before = 0;

	if (!b)
		return l->len && row_before(k, l->only, key);
	high = b->len; /* the first block whose last row does not come before the key */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		block = b->blocks[middle];
		if (row_before(k, block->rows[block->len - 1], key))
			low = middle + 1;
		else
			high = middle;
	}
	for (uint32_t i = 0; i < low; i++)
		before += b->blocks[i]->len;
	if (low == b->len)
		return before;
	block = b->blocks[low];
	low = 0;
	high = block->len;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (row_before(k, block->rows[middle], key))
			low = middle + 1;
		else
			high = middle;
	}
	return before + low;
}

static struct rank_block *block_new(uint32_t cap)
{
	struct rank_block *b = mem_alloc(block_bytes(cap));

	b->len = 0;
	b->cap = cap;
	return b;
}

static void make_blocks(struct ranks *l)
{
	l->more = mem_alloc(blocks_bytes(1));
	l->more->len = l->more->cap = 1;
	l->more->blocks[0] = block_new(BLOCK_FIRST);
	if (l->len)
		l->more->blocks[0]->rows[l->more->blocks[0]->len++] = l->only;
}

/* A full block of the greatest size becomes two. */
static void split(struct ranks *l, uint32_t at)
{
	struct rank_blocks *b = l->more;
	struct rank_block *left, *right = block_new(BLOCK_MAX);

	if (b->len == b->cap) {
		b->cap *= 2;
		l->more = b = mem_resize(b, blocks_bytes(b->cap));
	}
	left = b->blocks[at];
	memmove(b->blocks + at + 2, b->blocks + at + 1, (b->len - at - 1) * sizeof *b->blocks);
	b->blocks[at + 1] = right;
	b->len++;
	left->len = right->len = BLOCK_MAX / 2;
	memcpy(right->rows, left->rows + BLOCK_MAX / 2, BLOCK_MAX / 2 * sizeof *right->rows);
}

void ranks_insert(struct ranks *l, uint32_t position, uint32_t row)
{
	struct rank_block *block;
	uint32_t at;

	MUST(position <= l->len);
	if (!l->more && !l->len) {
		l->only = row;
		l->len = 1;
		return;
	}
	if (!l->more)
		make_blocks(l);
	at = block_at(l->more, &position);
	block = l->more->blocks[at];
	if (block->len == BLOCK_MAX) {
		split(l, at);
		block = l->more->blocks[at];
		if (position > block->len) {
			position -= block->len;
			block = l->more->blocks[at + 1];
		}
	} else if (block->len == block->cap) {
		block->cap *= 2;
		block = l->more->blocks[at] = mem_resize(block, block_bytes(block->cap));
	}
	memmove(block->rows + position + 1, block->rows + position,
		(block->len - position) * sizeof *block->rows);
	block->rows[position] = row;
	block->len++;
	l->len++;
}

void ranks_remove(struct ranks *l, uint32_t position)
{
	struct rank_blocks *b = l->more;
	struct rank_block *block;
	uint32_t at;

	MUST(position < l->len);
	l->len--;
	if (!b)
		return;
	at = block_of(b, &position);
	block = b->blocks[at];
	block->len--;
	memmove(block->rows + position, block->rows + position + 1,
		(block->len - position) * sizeof *block->rows);
	if (block->len)
		return;
	mem_free(block);
	b->len--;
	memmove(b->blocks + at, b->blocks + at + 1, (b->len - at) * sizeof *b->blocks);
	if (!b->len) {
		mem_free(b);
		l->more = NULL;
	}
}

void ranks_copy(const struct ranks *l, uint32_t position, uint32_t n, uint32_t *rows)
{
	uint32_t at;

	MUST(position + n <= l->len);
	if (!n)
		return;
	if (!l->more) {
		rows[0] = l->only;
		return;
	}
	for (at = block_of(l->more, &position); n; at++, position = 0) {
		const struct rank_block *block = l->more->blocks[at];
		uint32_t part = block->len - position < n ? block->len - position : n;

		memcpy(rows, block->rows + position, part * sizeof *rows);
		rows += part;
		n -= part;
	}
}

void ranks_remap(struct ranks *l, const uint32_t *remap)
{
	if (!l->more) {
		if (l->len)
			l->only = remap[l->only];
		return;
	}
	for (uint32_t i = 0; i < l->more->len; i++) {
		struct rank_block *block = l->more->blocks[i];

		for (uint32_t r = 0; r < block->len; r++)
			block->rows[r] = remap[block->rows[r]];
	}
}
