/* Rows that are kept for as long as they may be among the first: with their key in the order, their
 * place in the arrival, and their group.
 *
 *   store      row.<columns of the stream> | prefix | rest | hash       time_us: seq, key: group
 *   index      hash of what identifies a row -> row                     (changelogs only)
 *
 * seq is unique and rises; an update takes the place of the row it replaces.  What identifies a row
 * are the changelog's keys, or all of its columns: then a retraction takes back one equal row, that
 * of the greatest seq. */
#ifndef RUNNEL_SSORT_HELD_H
#define RUNNEL_SSORT_HELD_H

#include "cmd/ssort/order.h"
#include "libcore/state/rowstore.h"

struct held {
	const struct schema *in; /* borrowed */
	size_t fields;           /* of in; behind them prefix, rest, hash */
	struct schema schema;
	struct rowstore store;
	int64_t next_seq;
	bool indexed;
	uint32_t *slots; /* open addressing, ROW_NONE empty, at most half full */
	size_t slots_len, slots_used;
	uint32_t *next; /* by row: the equal row that came before it, ROW_NONE */
	size_t next_cap;
	struct arena arena;
};

/* A row's place among others. */
struct rank_key {
	uint64_t prefix;
	struct text_view rest;
	int64_t seq;
};

void held_init(struct held *k, const struct schema *in, bool indexed);
void held_clear(struct held *k);

/* Appends the picked rows of b (pick NULL: the first n) with their keys; seqs and groups are by
 * position in the n.  Returns the number of the first.  They are not in the index yet. */
uint32_t held_add(struct held *k, const struct batch *b, const struct order_keys *keys,
	const uint32_t *pick, uint32_t n, const int64_t *seqs, const uint32_t *groups);

/* Changelogs: makes a row findable; the number of a row that equals row `row` of b (ROW_NONE: there
 * is none), which is out of the index then.  hashes: of held_hash over b. */
void held_index(struct held *k, uint32_t row);
void held_hash(const struct held *k, const struct batch *b, uint64_t *hashes);
uint32_t held_take(struct held *k, const struct batch *b, uint32_t row, uint64_t hash);

/* Whether two kept rows are equal in all columns of the stream. */
bool held_equal(const struct held *k, uint32_t a, uint32_t b);

/* Copies the live rows together; remap as rowstore_compact.  Rows in the index are those alive. */
void held_compact(struct held *k, uint32_t *remap);

size_t held_bytes(const struct held *k);

static inline uint64_t held_prefix(const struct held *k, uint32_t row)
{
	return ((const uint64_t *)(const void *)k->store.rows.columns[k->fields].data)[row];
}

static inline struct rank_key held_key(const struct held *k, uint32_t row)
{
	const struct column_builder *rest = &k->store.rows.columns[k->fields + 1];

	return (struct rank_key){held_prefix(k, row),
		{(const char *)rest->bytes.data + rest->offsets[row],
			rest->offsets[row + 1] - rest->offsets[row]},
		k->store.time_us[row]};
}

/* < 0, 0, > 0 by the order alone; then by arrival, too. */
static inline int rank_compare_order(const struct rank_key *a, const struct rank_key *b)
{
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	return order_compare_rest(a->rest, b->rest);
}

static inline int rank_compare(const struct rank_key *a, const struct rank_key *b)
{
	int way = rank_compare_order(a, b);

	return way ? way : a->seq < b->seq ? -1 : a->seq > b->seq;
}

#endif
