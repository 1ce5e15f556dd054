#include "cmd/ssort/order.h"

#include "libcore/base/memory.h"

#include <string.h>

enum { PREFIX_BYTES = 8 };

void order_clear(struct order *o)
{
	program_free(o->program);
	mem_free(o->columns);
	*o = (struct order){.list = NULL};
}

static bool fills_prefix(struct type t)
{
	return t.kind == TYPE_INT || t.kind == TYPE_FLOAT || t.kind == TYPE_TIMESTAMP ||
	       t.kind == TYPE_DURATION;
}

int order_compile(
	struct order *o, const struct order_list *list, const struct schema *s, struct error *e)
{
	size_t index;

	order_clear(o);
	o->list = list;
	o->program = program_new();
	for (size_t i = 0; i < list->len; i++) {
		const struct expr *x = list->items[i].expr;

		if (program_add(o->program, x, s, &index, e) < 0)
			return -1;
		if (program_type(o->program, index).kind == TYPE_ANY)
			return expr_refuse(
				x, e, "type any has no order\ncast it: a.b::int, a.b::string");
	}
	o->columns = mem_zero((list->len + 1) * sizeof *o->columns);
	o->narrow = !list->len || (list->len == 1 && fills_prefix(program_type(o->program, 0)));
	return 0;
}

void order_keys_init(struct order_keys *k)
{
	*k = (struct order_keys){.prefix = NULL};
	builder_init(&k->rest, TYPE_OF(TYPE_BYTES));
}

void order_keys_clear(struct order_keys *k)
{
	mem_free(k->prefix);
	builder_clear(&k->rest);
	k->prefix = NULL;
	k->prefix_cap = 0;
}

/* ---- values as numbers whose order is theirs ---- */

static uint64_t int_bits(int64_t v)
{
	return (uint64_t)v ^ 1ull << 63;
}

static uint64_t float_bits(double v)
{
	uint64_t bits;

	if (v == 0)
		v = 0; /* -0 */
	memcpy(&bits, &v, sizeof bits);
	if (v != v)
		bits = 0x7ff8000000000000;
	return bits >> 63 ? ~bits : bits | 1ull << 63;
}

/* ---- one item that fills the prefix ---- */

/* With the nulls at one end of the numbers an int's value at that end needs telling apart: below,
 * by a rest; above, it is the number before with a rest, so that nulls never need one. */
static void put_extreme(struct order_keys *k, uint32_t row, bool nulls_first)
{
	if (!k->has_rest)
		builder_reset(&k->rest);
	k->has_rest = true;
	while (k->rest.rows < row)
		builder_put_text(&k->rest, NULL, 0);
	builder_put_text(&k->rest, "\1", 1);
	k->prefix[row] = nulls_first ? 0 : UINT64_MAX - 1;
}

static void encode_narrow(
	const struct order_item *item, const struct column *c, uint32_t rows, struct order_keys *k)
{
	uint64_t invert = item->descending ? UINT64_MAX : 0;
	uint64_t null = item->nulls_first ? 0 : UINT64_MAX;
	bool any_extreme = false;

	if (c->type.kind == TYPE_FLOAT) {
		for (uint32_t r = 0; r < rows; r++)
			k->prefix[r] = float_bits(column_float(c, r)) ^ invert;
	} else {
		for (uint32_t r = 0; r < rows; r++) {
			k->prefix[r] = int_bits(column_int(c, r)) ^ invert;
			any_extreme |= k->prefix[r] == null;
		}
	}
	for (uint32_t r = 0; any_extreme && r < rows; r++) {
		if (k->prefix[r] == null && column_is_valid(c, r))
			put_extreme(k, r, item->nulls_first);
	}
	while (k->has_rest && k->rest.rows < rows)
		builder_put_text(&k->rest, NULL, 0);
	for (uint32_t r = 0; c->valid && r < rows; r++) {
		if (!column_is_valid(c, r))
			k->prefix[r] = null;
	}
}

/* ---- any items ---- */

static void put_number(struct buf *b, uint64_t high, uint64_t low, size_t bytes, bool nulls_low)
{
	uint8_t *to = buf_reserve(b, bytes + 1);
	uint8_t end = nulls_low ? 0 : 0xff;
	bool at_end = true;

	for (size_t i = 0; i < bytes; i++) {
		size_t shift = (bytes - 1 - i) * 8;

		to[i] = (uint8_t)(shift >= 64 ? high >> (shift - 64) : low >> shift);
		at_end &= to[i] == end;
	}
	if (at_end)
		to[bytes] = nulls_low ? 1 : 0;
	b->len += bytes + at_end;
}

static void put_null(struct buf *b, size_t bytes, bool nulls_low)
{
	memset(buf_reserve(b, bytes + 1), nulls_low ? 0 : 0xff, bytes);
	b->data[b->len + bytes] = nulls_low ? 0 : 1;
	b->len += bytes + 1;
}

static void put_text(struct buf *b, struct text_view v, bool nulls_low)
{
	uint8_t *to = buf_reserve(b, v.len * 2 + 2);
	size_t n = 0;

	for (size_t i = 0; i < v.len; i++) {
		uint8_t byte = (uint8_t)v.text[i];

		to[n++] = byte;
		if (byte == 0)
			to[n++] = 0xff;
		else if (byte == 0xff && !nulls_low)
			to[n++] = 0;
	}
	to[n++] = 0;
	to[n++] = 1;
	b->len += n;
}

static void put_decimal(struct buf *b, __int128 v, bool nulls_low)
{
	unsigned __int128 bits = (unsigned __int128)v ^ (unsigned __int128)1 << 127;

	put_number(b, (uint64_t)(bits >> 64), (uint64_t)bits, 16, nulls_low);
}

static size_t null_bytes(struct type t)
{
	return type_is_text(t) ? 1 : type_width(t);
}

/* nulls_low: before the item is inverted. */
static void put_value(struct buf *b, const struct column *c, uint32_t row, bool nulls_low)
{
	if (!column_is_valid(c, row)) {
		put_null(b, null_bytes(c->type), nulls_low);
		return;
	}
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: put_number(b, 0, column_bool(c, row) + 1u, 1, nulls_low); break;
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: put_number(b, 0, int_bits(column_int(c, row)), 8, nulls_low); break;
	case TYPE_FLOAT: put_number(b, 0, float_bits(column_float(c, row)), 8, nulls_low); break;
	case TYPE_DATE:
		put_number(b, 0, (uint32_t)column_date(c, row) ^ 1u << 31, 4, nulls_low);
		break;
	case TYPE_DECIMAL: put_decimal(b, column_decimal(c, row), nulls_low); break;
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: put_text(b, column_text(c, row), nulls_low); break;
	}
}

static void encode_row(struct order *o, uint32_t row, struct buf *key)
{
	buf_reset(key);
	for (size_t i = 0; i < o->list->len; i++) {
		const struct order_item *item = &o->list->items[i];
		size_t from = key->len;

		put_value(key, &o->columns[i], row, item->nulls_first != item->descending);
		for (size_t at = from; item->descending && at < key->len; at++)
			key->data[at] ^= 0xff;
	}
}

static uint64_t prefix_of(const uint8_t *key, size_t len)
{
	uint8_t bytes[PREFIX_BYTES] = {0};
	uint64_t v;

	memcpy(bytes, key, len < PREFIX_BYTES ? len : PREFIX_BYTES);
	memcpy(&v, bytes, sizeof v);
	return __builtin_bswap64(v);
}

static void encode_wide(struct order *o, uint32_t rows, struct order_keys *k)
{
	struct buf key = BUF_INIT;

	builder_reset(&k->rest);
	k->has_rest = true;
	for (uint32_t r = 0; r < rows; r++) {
		encode_row(o, r, &key);
		k->prefix[r] = prefix_of(key.data, key.len);
		if (key.len > PREFIX_BYTES)
			builder_put_text(&k->rest, key.data + PREFIX_BYTES, key.len - PREFIX_BYTES);
		else
			builder_put_text(&k->rest, NULL, 0);
	}
	buf_clear(&key);
}

int order_keys_of(struct order *o, const struct batch *b, struct order_keys *k, struct error *e)
{
	MEM_GROW(k->prefix, k->prefix_cap, b->rows + (size_t)1);
	k->has_rest = false;
	if (!o->list->len) {
		memset(k->prefix, 0, b->rows * sizeof *k->prefix);
		return 0;
	}
	if (program_run(o->program, b, o->columns, NULL, e) < 0)
		return -1;
	if (o->narrow)
		encode_narrow(&o->list->items[0], &o->columns[0], b->rows, k);
	else
		encode_wide(o, b->rows, k);
	return 0;
}
