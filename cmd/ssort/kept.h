/* Rows that are kept for as long as they may be among the first: with their key in the order, their
 * place in the arrival, and their group.
 *
 *   store      row.<columns of the stream> | prefix | rest | hash       time_us: seq, key: group
 *   index      hash of what identifies a row -> row                     (changelogs only)
 *
 * seq is unique and rises; an update takes the place of the row it replaces.  What identifies a row
 * are the changelog's keys, or all of its columns: then a retraction takes back one equal row. */
#ifndef RUNNEL_SSORT_KEPT_H
#define RUNNEL_SSORT_KEPT_H

#include "cmd/ssort/order.h"
#include "libcore/state/rowstore.h"

struct kept {
	const struct schema *in;   /* borrowed */
	size_t fields;             /* of in; behind them prefix, rest, hash */
	struct schema schema;
	struct rowstore store;
	int64_t next_seq;
	bool indexed;
	uint32_t *slots;           /* open addressing, ROW_NONE empty, at most half full */
	size_t slots_len, indexed_len;
	struct arena arena;
};

/* A row's place among others. */
struct rank_key {
	uint64_t prefix;
	struct text_view rest;
	int64_t seq;
};

void kept_init(struct kept *k, const struct schema *in, bool indexed);
void kept_clear(struct kept *k);

/* Appends the picked rows of b (pick NULL: the first n) with their keys; seqs and groups are by
 * position in the n.  Returns the number of the first.  They are not in the index yet. */
uint32_t kept_add(struct kept *k, const struct batch *b, const struct order_keys *keys,
	const uint32_t *pick, uint32_t n, const int64_t *seqs, const uint32_t *groups);

/* Changelogs: makes a row findable; the number of a row that equals row `row` of b (ROW_NONE: there
 * is none), which is out of the index then.  hashes: of kept_hash over b. */
void kept_index(struct kept *k, uint32_t row);
void kept_hash(const struct kept *k, const struct batch *b, uint64_t *hashes);
uint32_t kept_take(struct kept *k, const struct batch *b, uint32_t row, uint64_t hash);

/* Whether two kept rows are equal in all columns of the stream. */
bool kept_equal(const struct kept *k, uint32_t a, uint32_t b);

/* Copies the live rows together; remap as rowstore_compact.  Rows in the index are those alive. */
void kept_compact(struct kept *k, uint32_t *remap);

size_t kept_bytes(const struct kept *k);

static inline uint64_t kept_prefix(const struct kept *k, uint32_t row)
{
	return ((const uint64_t *)(const void *)k->store.rows.columns[k->fields].data)[row];
}

static inline struct rank_key kept_key(const struct kept *k, uint32_t row)
{
	const struct column_builder *rest = &k->store.rows.columns[k->fields + 1];

	return (struct rank_key){kept_prefix(k, row),
		{(const char *)rest->bytes.data + rest->offsets[row],
			rest->offsets[row + 1] - rest->offsets[row]}, k->store.time_us[row]};
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
