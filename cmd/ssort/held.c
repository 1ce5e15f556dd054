#include "cmd/ssort/held.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/table/keys.h"

#include <string.h>

enum { SLOTS_FIRST = 1024 };

void held_init(struct held *k, const struct schema *in, bool indexed)
{
	*k = (struct held){.in = in, .fields = in->fields_len, .indexed = indexed};
	schema_init(&k->schema);
	for (size_t i = 0; i < in->fields_len; i++)
		schema_add_field(&k->schema, &in->fields[i]);
	schema_add(&k->schema, "prefix", 6, TYPE_OF(TYPE_INT));
	schema_add(&k->schema, "rest", 4, TYPE_OF(TYPE_BYTES));
	schema_add(&k->schema, "hash", 4, TYPE_OF(TYPE_INT));
	rowstore_init(&k->store, &k->schema);
}

void held_clear(struct held *k)
{
	if (!k->in)
		return;
	rowstore_clear(&k->store);
	schema_clear(&k->schema);
	mem_free(k->slots);
	mem_free(k->next);
	arena_clear(&k->arena);
	*k = (struct held){.in = NULL};
}

/* ---- adding ---- */

static void rest_column(
	struct held *k, const struct order_keys *keys, uint32_t rows, struct column *out)
{
	if (keys->has_rest) {
		*out = builder_column(&keys->rest);
		return;
	}
	*out = (struct column){.type = TYPE_OF(TYPE_BYTES),
		.bytes = (const uint8_t *)"",
		.offsets = arena_zero(&k->arena, (rows + (size_t)1) * sizeof *out->offsets)};
}

uint32_t held_add(struct held *k, const struct batch *b, const struct order_keys *keys,
	const uint32_t *pick, uint32_t n, const int64_t *seqs, const uint32_t *groups)
{
	struct column *columns;
	struct batch all = {.schema = &k->schema, .rows = b->rows};
	uint64_t *hashes;

	arena_reset(&k->arena);
	columns = ARENA_ARRAY(&k->arena, struct column, k->fields + 3);
	hashes = ARENA_ARRAY(&k->arena, uint64_t, b->rows);
	if (k->fields)
		memcpy(columns, b->columns, k->fields * sizeof *columns);
	if (k->indexed)
		held_hash(k, b, hashes);
	columns[k->fields] = (struct column){.type = TYPE_OF(TYPE_INT), .data = keys->prefix};
	rest_column(k, keys, b->rows, &columns[k->fields + 1]);
	columns[k->fields + 2] = (struct column){.type = TYPE_OF(TYPE_INT), .data = hashes};
	all.columns = columns;
	return rowstore_add(&k->store, &all, pick, n, seqs, groups);
}

/* ---- the index ---- */

/* As keys hash them, and what can't be a key by its bytes. */
void held_hash(const struct held *k, const struct batch *b, uint64_t *hashes)
{
	size_t n = k->in->keys_len ? k->in->keys_len : k->fields;
	struct column *columns = mem_alloc((n + 1) * sizeof *columns);
	const struct column **pointers = mem_alloc((n + 1) * sizeof *pointers);

	for (size_t i = 0; i < n; i++) {
		columns[i] = b->columns[k->in->keys_len ? (size_t)k->in->keys[i] : i];
		if (columns[i].type.kind == TYPE_ANY)
			columns[i].type = TYPE_OF(TYPE_BYTES);
		pointers[i] = &columns[i];
	}
	keys_hash(pointers, n, b->rows, hashes);
	mem_free(pointers);
	mem_free(columns);
}

static uint64_t hash_of(const struct held *k, uint32_t row)
{
	return ((const uint64_t *)(const void *)k->store.rows.columns[k->fields + 2].data)[row];
}

static void put_slot(struct held *k, uint32_t row)
{
	size_t at = hash_of(k, row) >> 7 & (k->slots_len - 1);

	while (k->slots[at] != ROW_NONE)
		at = (at + 1) & (k->slots_len - 1);
	k->slots[at] = row;
	k->slots_used++;
}

static void grow_slots(struct held *k)
{
	uint32_t *old = k->slots;
	size_t old_len = k->slots_len;

	k->slots_len = old_len ? old_len * 2 : SLOTS_FIRST;
	k->slots = mem_alloc(k->slots_len * sizeof *k->slots);
	memset(k->slots, 0xff, k->slots_len * sizeof *k->slots);
	k->slots_used = 0;
	for (size_t i = 0; i < old_len; i++) {
		if (old[i] != ROW_NONE)
			put_slot(k, old[i]);
	}
	mem_free(old);
}

/* What lies behind a hole moves up, unless its own place is behind the hole (Knuth, 6.4 R). */
static void clear_slot(struct held *k, size_t hole)
{
	size_t mask = k->slots_len - 1;

	for (size_t at = (hole + 1) & mask; k->slots[at] != ROW_NONE; at = (at + 1) & mask) {
		size_t home = hash_of(k, k->slots[at]) >> 7 & mask;

		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		k->slots[hole] = k->slots[at];
		hole = at;
	}
	k->slots[hole] = ROW_NONE;
	k->slots_used--;
}

/* To the bit: what was sent as -0 is taken back as -0. */
static bool cell_equal(const struct column *a, uint32_t row, const struct column *b, uint32_t other)
{
	bool valid = column_is_valid(a, row);
	size_t width = type_width(a->type);

	if (valid != column_is_valid(b, other))
		return false;
	if (!valid)
		return true;
	if (type_is_text(a->type)) {
		struct text_view x = column_text(a, row), y = column_text(b, other);

		return x.len == y.len && (!x.len || !memcmp(x.text, y.text, x.len));
	}
	return !memcmp((const uint8_t *)a->data + row * width,
		(const uint8_t *)b->data + other * width, width);
}

/* The slot of rows that equal row `row` of columns, where they lie by their number in the
 * stream. */
static size_t find_slot(
	const struct held *k, const struct column *columns, uint32_t row, uint64_t hash)
{
	size_t mask = k->slots_len - 1, n = k->in->keys_len ? k->in->keys_len : k->fields;
	size_t at = hash >> 7 & mask;

	for (; k->slots_len && k->slots[at] != ROW_NONE; at = (at + 1) & mask) {
		uint32_t found = k->slots[at];
		bool equal = hash_of(k, found) == hash;

		for (size_t i = 0; i < n && equal; i++) {
			size_t c = k->in->keys_len ? (size_t)k->in->keys[i] : i;
			struct column own = builder_column(&k->store.rows.columns[c]);

			equal = cell_equal(&columns[c], row, &own, found);
		}
		if (equal)
			return at;
	}
	return SIZE_MAX;
}

/* Equal rows are a list, the one that came last first: mostly that is the new one. */
void held_index(struct held *k, uint32_t row)
{
	const struct batch *all = rowstore_view(&k->store);
	uint32_t *to;
	size_t at;

	MUST(k->indexed);
	if (k->slots_used >= k->slots_len / 2)
		grow_slots(k);
	MEM_GROW(k->next, k->next_cap, k->store.len);
	k->next[row] = ROW_NONE;
	at = find_slot(k, all->columns, row, hash_of(k, row));
	if (at == SIZE_MAX) {
		put_slot(k, row);
		return;
	}
	for (to = &k->slots[at]; *to != ROW_NONE && k->store.time_us[*to] > k->store.time_us[row];)
		to = &k->next[*to];
	k->next[row] = *to;
	*to = row;
}

uint32_t held_take(struct held *k, const struct batch *b, uint32_t row, uint64_t hash)
{
	size_t at = find_slot(k, b->columns, row, hash);
	uint32_t found;

	if (at == SIZE_MAX)
		return ROW_NONE;
	found = k->slots[at];
	if (k->next[found] == ROW_NONE)
		clear_slot(k, at);
	else
		k->slots[at] = k->next[found];
	return found;
}

bool held_equal(const struct held *k, uint32_t a, uint32_t b)
{
	for (size_t i = 0; i < k->fields; i++) {
		struct column c = builder_column(&k->store.rows.columns[i]);

		if (!cell_equal(&c, a, &c, b))
			return false;
	}
	return true;
}

/* ---- compaction ---- */

void held_compact(struct held *k, uint32_t *remap)
{
	rowstore_compact(&k->store, remap);
	if (!k->indexed)
		return;
	for (size_t i = 0; i < k->slots_len; i++)
		k->slots[i] = ROW_NONE;
	k->slots_used = 0;
	for (uint32_t r = 0; r < k->store.len; r++)
		held_index(k, r);
}

size_t held_bytes(const struct held *k)
{
	return rowstore_bytes(&k->store) + k->slots_len * sizeof *k->slots +
	       k->next_cap * sizeof *k->next;
}
