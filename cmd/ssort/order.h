/* An order as bytes: every row of a batch gets a key whose memcmp order is the order asked for.
 *
 *   prefix   first 8 bytes of the key, big endian as a number, zeros behind a shorter one
 *   rest     what is behind them
 *
 * No key is the beginning of another, so equal prefixes and rests are equal rows in the order.
 *
 *   int, timestamp, duration    8 bytes, sign flipped          date    4 bytes, sign flipped
 *   float      8 bytes: negative ones inverted, else sign flipped; -0 as 0, one NaN, greatest
 *   decimal   16 bytes, sign flipped                           bool    1 byte: 1, 2
 *   string, bytes    the bytes, 00 as 00 FF (nulls last: FF as FF 00, too), then 00 01
 *
 * A null is the least of an item, or the greatest: all 00 or all FF of that width; the value that
 * would look the same, and the null, are followed by a byte that tells them apart.  A descending
 * item is inverted.  So one int, float or time leaves the rest empty (int's least and greatest
 * value apart, see encode_narrow), and the prefix alone decides. */
#ifndef RUNNEL_SSORT_ORDER_H
#define RUNNEL_SSORT_ORDER_H

#include "libcore/expr/expr.h"
#include "libcore/table/builder.h"

struct order {
	const struct order_list *list; /* borrowed; len 0: all rows are equal */
	struct program *program;       /* of the present schema; NULL before */
	struct column *columns;
	bool narrow; /* at most one item, and of a kind that fills a prefix */
};

/* Keys of one batch, owned here: one for each stream of batches that is looked at side by side. */
struct order_keys {
	uint64_t *prefix;
	size_t prefix_cap;
	struct column_builder rest;
	bool has_rest; /* some key is longer than its prefix */
};

/* Columns are checked: an unknown one, or any in an order, is ERROR_USAGE with its place. */
int order_compile(
	struct order *o, const struct order_list *list, const struct schema *s, struct error *e);
void order_clear(struct order *o);

void order_keys_init(struct order_keys *k);
void order_keys_clear(struct order_keys *k);
int order_keys_of(struct order *o, const struct batch *b, struct order_keys *k, struct error *e);

static inline struct text_view order_rest(const struct order_keys *k, uint32_t row)
{
	const struct column_builder *b = &k->rest;

	if (!k->has_rest)
		return (struct text_view){.text = NULL};
	return (struct text_view){(const char *)b->bytes.data + b->offsets[row],
		b->offsets[row + 1] - b->offsets[row]};
}

/* < 0, 0, > 0, of two rests behind equal prefixes. */
static inline int order_compare_rest(struct text_view a, struct text_view b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int way = len ? __builtin_memcmp(a.text, b.text, len) : 0;

	return way ? way : a.len < b.len ? -1 : a.len > b.len;
}

#endif
