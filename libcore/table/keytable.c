#include "libcore/table/keytable.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

/* A slot is one u32, so that a cache line holds sixteen and 10 k keys take 128 KiB:
 *
 *   31            bits          0
 *   [ tag          | number + 1 ]      0: free
 *
 * With 2^bits slots, at most half of them taken, a number needs no more than `bits` bits; the tag
 * is what that leaves, and comes from the hash bits right below those that address the slot.  So
 * small tables have long tags (18 bits at 10 k keys) and a lookup rarely reads a key in vain.
 * Hashes are not kept: growing computes them again, which costs about 2 ns a key once per doubling,
 * where keeping them would cost 8 bytes a key for ever.
 *
 * At most half full rather than 3/4: a missed branch costs more than the four bytes. */
enum {
	BITS_MIN = 4,
	BITS_MAX = 31,
	KEYS_MIN = 8,             /* first room for keys: there may be thousands of small tables */
	REHASH_ROWS = 1024,       /* a multiple of 8: validity is cut at bytes */
	PREFETCH_SLOTS = 1 << 15, /* from this size on slots lie outside the inner cache */
	PREFETCH_FAR = 24,        /* rows ahead: the slot, then the key it points at */
	PREFETCH_NEAR = 12,
	PART_BITS = 17, /* slots that fit the inner cache: half a megabyte */
};

enum shape {
	SHAPE_NOTHING, /* no column: one key */
	SHAPE_INT,     /* one column of 64-bit integers */
	SHAPE_TEXT,    /* one column of strings or bytes */
	SHAPE_OTHER,
};

struct keytable {
	enum shape shape;
	unsigned bits;
	uint32_t len, limit; /* keys; how many the slots take */
	uint32_t null_id;    /* SHAPE_INT and SHAPE_TEXT: the number of the null key */
	uint32_t *slots;
	size_t columns_len;
	struct column_builder *columns;
};

static bool is_int_like(struct type t)
{
	return t.kind == TYPE_INT || t.kind == TYPE_TIMESTAMP || t.kind == TYPE_DURATION;
}

static enum shape shape_of(const struct type *types, size_t n)
{
	if (n == 0)
		return SHAPE_NOTHING;
	if (n == 1 && is_int_like(types[0]))
		return SHAPE_INT;
	if (n == 1 && type_is_text(types[0]))
		return SHAPE_TEXT;
	return SHAPE_OTHER;
}

static void slots_free(struct keytable *t)
{
	mem_unforked_free(t->slots, sizeof *t->slots << t->bits);
}

static void slots_new(struct keytable *t, unsigned bits)
{
	MUST(bits <= BITS_MAX);
	slots_free(t);
	t->slots = mem_unforked_zero(sizeof *t->slots << bits);
	t->bits = bits;
	t->limit = UINT32_C(1) << (bits - 1);
}

struct keytable *keytable_new(const struct type *types, size_t types_len)
{
	struct keytable *t = mem_zero(sizeof *t);

	t->shape = shape_of(types, types_len);
	t->columns_len = types_len;
	t->columns = mem_zero(types_len * sizeof *t->columns);
	for (size_t i = 0; i < types_len; i++)
		builder_init(&t->columns[i], types[i]);
	t->null_id = KEY_NONE;
	slots_new(t, BITS_MIN);
	return t;
}

void keytable_free(struct keytable *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->columns_len; i++)
		builder_clear(&t->columns[i]);
	mem_free(t->columns);
	slots_free(t);
	mem_free(t);
}

void keytable_reset(struct keytable *t)
{
	for (size_t i = 0; i < t->columns_len; i++)
		builder_reset(&t->columns[i]);
	memset(t->slots, 0, sizeof *t->slots << t->bits);
	t->len = 0;
	t->null_id = KEY_NONE;
}

/* ---- slots ---- */

static inline uint32_t tag_of(uint64_t hash, unsigned bits)
{
	return (uint32_t)(hash >> 32) << bits;
}

static inline uint64_t home_of(uint64_t hash, unsigned bits)
{
	return hash >> (64 - bits);
}

static inline void slot_take(struct keytable *t, uint64_t hash, uint32_t id)
{
	uint64_t at = home_of(hash, t->bits), mask = (UINT64_C(1) << t->bits) - 1;

	while (t->slots[at])
		at = (at + 1) & mask;
	t->slots[at] = tag_of(hash, t->bits) | (id + 1);
}

/* Some keys from `first` on, a multiple of 8, as columns. */
static void columns_at(const struct keytable *t, uint32_t first, struct column *out)
{
	for (size_t i = 0; i < t->columns_len; i++) {
		out[i] = builder_column(&t->columns[i]);
		if (out[i].valid)
			out[i].valid += first / 8;
		if (out[i].offsets)
			out[i].offsets += first;
		else
			out[i].data = (const uint8_t *)out[i].data +
				      (size_t)first * t->columns[i].width;
	}
}

static void hash_range(const struct keytable *t, uint32_t first, uint32_t rows, uint64_t *hashes)
{
	struct column *views = mem_alloc(t->columns_len * sizeof *views);
	const struct column **pointers = mem_alloc(t->columns_len * sizeof *pointers);

	columns_at(t, first, views);
	for (size_t i = 0; i < t->columns_len; i++)
		pointers[i] = &views[i];
	keys_hash(pointers, t->columns_len, rows, hashes);
	mem_free(pointers);
	mem_free(views);
}

static void slots_fill_simply(struct keytable *t)
{
	uint64_t hashes[REHASH_ROWS];

	for (uint32_t first = 0; first < t->len; first += REHASH_ROWS) {
		uint32_t rows = t->len - first < REHASH_ROWS ? t->len - first : REHASH_ROWS;

		hash_range(t, first, rows, hashes);
		for (uint32_t r = 0; r < rows; r++) {
			if (first + r != t->null_id) /* found without a slot */
				slot_take(t, hashes[r], first + r);
		}
	}
}

/* A key on its way to its slot: the upper half of a hash addresses and tags it. */
struct placing {
	uint32_t upper, id;
};

static void placings_make(const struct keytable *t, unsigned shift, uint32_t *from,
	struct placing *out)
{
	uint64_t hashes[REHASH_ROWS];

	for (uint32_t first = 0; first < t->len; first += REHASH_ROWS) {
		uint32_t rows = t->len - first < REHASH_ROWS ? t->len - first : REHASH_ROWS;

		hash_range(t, first, rows, hashes);
		for (uint32_t r = 0; r < rows; r++) {
			if (out)
				out[from[hashes[r] >> shift]++] =
					(struct placing){(uint32_t)(hashes[r] >> 32), first + r};
			else
				from[(hashes[r] >> shift) + 1]++;
		}
	}
}

/* Slots that lie outside the cache are filled a part after another that fits: a miss a key otherwise,
 * 50 ns where this takes 12. */
static void slots_fill_by_parts(struct keytable *t)
{
	unsigned shift = 64 - (t->bits - PART_BITS);
	uint32_t parts = UINT32_C(1) << (t->bits - PART_BITS);
	uint32_t *from = mem_zero(((size_t)parts + 1) * sizeof *from);
	struct placing *placings = mem_alloc(t->len * sizeof *placings);

	placings_make(t, shift, from, NULL);
	for (uint32_t p = 0; p < parts; p++)
		from[p + 1] += from[p];
	placings_make(t, shift, from, placings);
	for (uint32_t i = 0; i < t->len; i++) {
		if (placings[i].id != t->null_id)
			slot_take(t, (uint64_t)placings[i].upper << 32, placings[i].id);
	}
	mem_free(placings);
	mem_free(from);
}

static void slots_fill(struct keytable *t)
{
	if (t->bits > PART_BITS + 1)
		slots_fill_by_parts(t);
	else
		slots_fill_simply(t);
}

static void grow(struct keytable *t)
{
	slots_new(t, t->bits + 1);
	slots_fill(t);
}

/* Room for one more key, in columns and slots. */
static inline void make_room(struct keytable *t)
{
	if (t->len == t->limit)
		grow(t);
	for (size_t i = 0; i < t->columns_len; i++) {
		struct column_builder *b = &t->columns[i];

		if (b->rows == b->rows_cap)
			builder_reserve(b, b->rows < KEYS_MIN ? KEYS_MIN : b->rows);
	}
}

static uint32_t null_insert(struct keytable *t)
{
	if (t->null_id == KEY_NONE) {
		make_room(t);
		builder_put_null(&t->columns[0]);
		t->null_id = t->len++;
	}
	return t->null_id;
}

/* ---- one int ---- */

/* The int's number, or KEY_NONE. */
static inline uint32_t int_probe(
	const uint32_t *slots, const int64_t *keys, unsigned bits, uint64_t hash, int64_t key)
{
	uint64_t at = home_of(hash, bits), mask = (UINT64_C(1) << bits) - 1;
	uint32_t tag = tag_of(hash, bits), slot;

	for (; (slot = slots[at]); at = (at + 1) & mask) {
		uint32_t number = slot ^ tag; /* + 1, if the tag fits */

		if (number <= mask && keys[number - 1] == key)
			return number - 1;
	}
	return KEY_NONE;
}

/* Not inlined: the loop around the probe must keep its registers. */
static __attribute__((noinline)) uint32_t int_add(struct keytable *t, uint64_t hash, int64_t key)
{
	make_room(t);
	builder_put_int(&t->columns[0], key);
	slot_take(t, hash, t->len);
	return t->len++;
}

static inline void int_prefetch(const struct keytable *t, const int64_t *keys,
	const uint64_t *hashes, uint32_t r, uint32_t rows)
{
	if (r + PREFETCH_FAR < rows)
		__builtin_prefetch(&t->slots[home_of(hashes[r + PREFETCH_FAR], t->bits)]);
	if (r + PREFETCH_NEAR < rows) {
		uint32_t slot = t->slots[home_of(hashes[r + PREFETCH_NEAR], t->bits)];
		uint32_t number = slot & ((UINT32_C(1) << t->bits) - 1);

		__builtin_prefetch(&keys[number ? number - 1 : 0]);
	}
}

static inline bool is_large(const struct keytable *t)
{
	return (UINT64_C(1) << t->bits) > PREFETCH_SLOTS;
}

static inline const int64_t *int_keys(const struct keytable *t)
{
	return (const int64_t *)(const void *)t->columns[0].data;
}

static void int_insert(struct keytable *t, const struct column *c, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids)
{
	const int64_t *values = c->data, *keys = int_keys(t);

	for (uint32_t r = 0; r < rows; r++) {
		if (is_large(t))
			int_prefetch(t, keys, hashes, r, rows);
		if (c->valid && !column_is_valid(c, r)) {
			ids[r] = null_insert(t);
			keys = int_keys(t);
			continue;
		}
		ids[r] = int_probe(t->slots, keys, t->bits, hashes[r], values[r]);
		if (ids[r] == KEY_NONE) {
			ids[r] = int_add(t, hashes[r], values[r]);
			keys = int_keys(t);
		}
	}
}

static void int_find(const struct keytable *t, const struct column *c, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids)
{
	const int64_t *values = c->data, *keys = int_keys(t);

	for (uint32_t r = 0; r < rows; r++) {
		if (is_large(t))
			int_prefetch(t, keys, hashes, r, rows);
		if (c->valid && !column_is_valid(c, r))
			ids[r] = t->null_id;
		else
			ids[r] = int_probe(t->slots, keys, t->bits, hashes[r], values[r]);
	}
}

/* ---- one string ---- */

static inline bool text_equal(const struct column_builder *b, uint32_t id, struct text_view v)
{
	uint32_t at = b->offsets[id], len = b->offsets[id + 1] - at;

	return len == v.len && (len == 0 || memcmp(b->bytes.data + at, v.text, len) == 0);
}

static inline uint32_t text_probe(const struct keytable *t, uint64_t hash, struct text_view v)
{
	uint64_t at = home_of(hash, t->bits), mask = (UINT64_C(1) << t->bits) - 1;
	uint32_t tag = tag_of(hash, t->bits), slot;

	for (; (slot = t->slots[at]); at = (at + 1) & mask) {
		uint32_t number = slot ^ tag;

		if (number <= mask && text_equal(&t->columns[0], number - 1, v))
			return number - 1;
	}
	return KEY_NONE;
}

static uint32_t text_add(struct keytable *t, uint64_t hash, struct text_view v)
{
	make_room(t);
	builder_put_text(&t->columns[0], v.text, v.len);
	slot_take(t, hash, t->len);
	return t->len++;
}

static inline void slot_prefetch(
	const struct keytable *t, const uint64_t *hashes, uint32_t r, uint32_t rows)
{
	if (is_large(t) && r + PREFETCH_NEAR < rows)
		__builtin_prefetch(&t->slots[home_of(hashes[r + PREFETCH_NEAR], t->bits)]);
}

static void text_insert(struct keytable *t, const struct column *c, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids)
{
	for (uint32_t r = 0; r < rows; r++) {
		slot_prefetch(t, hashes, r, rows);
		if (!column_is_valid(c, r)) {
			ids[r] = null_insert(t);
			continue;
		}
		ids[r] = text_probe(t, hashes[r], column_text(c, r));
		if (ids[r] == KEY_NONE)
			ids[r] = text_add(t, hashes[r], column_text(c, r));
	}
}

static void text_find(const struct keytable *t, const struct column *c, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids)
{
	for (uint32_t r = 0; r < rows; r++) {
		slot_prefetch(t, hashes, r, rows);
		if (!column_is_valid(c, r))
			ids[r] = t->null_id;
		else
			ids[r] = text_probe(t, hashes[r], column_text(c, r));
	}
}

/* ---- any columns ----
 *
 * In three passes, so that the usual row (its key is there, the first slot with its tag is the one)
 * costs one loop over slots and one loop per column: a candidate by tag alone; the candidates
 * compared a column at a time; what is left (new keys, equal tags of other keys) one by one. */

/* -0 is 0 and every NaN the same, as in the canonical bytes. */
static inline uint64_t float_bits(double v)
{
	uint64_t bits;

	if (v != v)
		return UINT64_C(0x7ff8000000000000);
	v += 0.0; /* -0 + 0 is 0 */
	memcpy(&bits, &v, sizeof bits);
	return bits;
}

static inline bool value_equal(
	const struct column_builder *b, uint32_t id, const struct column *c, uint32_t row)
{
	uint64_t stored;

	switch ((enum type_kind)b->type.kind) {
	case TYPE_FLOAT:
		memcpy(&stored, b->data + (size_t)id * 8, 8);
		return stored == float_bits(column_float(c, row));
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION:
		return ((const int64_t *)(const void *)b->data)[id] == column_int(c, row);
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: return text_equal(b, id, column_text(c, row));
	case TYPE_BOOL:
	case TYPE_DATE:
	case TYPE_DECIMAL: break;
	}
	return memcmp(b->data + (size_t)id * b->width,
		       (const uint8_t *)c->data + (size_t)row * b->width, b->width) == 0;
}

static inline bool cell_equal(
	const struct column_builder *b, uint32_t id, const struct column *c, uint32_t row)
{
	bool stored = !b->nulls || (b->valid[id >> 3] >> (id & 7) & 1);
	bool given = column_is_valid(c, row);

	return stored == given && (!given || value_equal(b, id, c, row));
}

static bool row_equal(
	const struct keytable *t, uint32_t id, const struct column *const *columns, uint32_t row)
{
	for (size_t i = 0; i < t->columns_len; i++) {
		if (!cell_equal(&t->columns[i], id, columns[i], row))
			return false;
	}
	return true;
}

static void candidates(
	const struct keytable *t, const uint64_t *hashes, uint32_t rows, uint32_t *ids)
{
	uint64_t mask = (UINT64_C(1) << t->bits) - 1;

	for (uint32_t r = 0; r < rows; r++) {
		uint64_t at = home_of(hashes[r], t->bits);
		uint32_t tag = tag_of(hashes[r], t->bits), slot;

		slot_prefetch(t, hashes, r, rows);
		while ((slot = t->slots[at]) && (slot ^ tag) > mask)
			at = (at + 1) & mask;
		ids[r] = slot ? (slot ^ tag) - 1 : KEY_NONE;
	}
}

/* Unsets the candidates whose column differs. */
static void refute(
	const struct column_builder *b, const struct column *c, uint32_t rows, uint32_t *ids)
{
	if (b->width == 8 && b->type.kind != TYPE_FLOAT && !b->nulls && !c->valid) {
		const int64_t *stored = (const int64_t *)(const void *)b->data, *given = c->data;

		for (uint32_t r = 0; r < rows; r++) {
			if (ids[r] != KEY_NONE && stored[ids[r]] != given[r])
				ids[r] = KEY_NONE;
		}
		return;
	}
	for (uint32_t r = 0; r < rows; r++) {
		if (ids[r] != KEY_NONE && !cell_equal(b, ids[r], c, r))
			ids[r] = KEY_NONE;
	}
}

static uint32_t row_probe(
	const struct keytable *t, uint64_t hash, const struct column *const *columns, uint32_t row)
{
	uint64_t at = home_of(hash, t->bits), mask = (UINT64_C(1) << t->bits) - 1;
	uint32_t tag = tag_of(hash, t->bits), slot;

	for (; (slot = t->slots[at]); at = (at + 1) & mask) {
		uint32_t number = slot ^ tag;

		if (number <= mask && row_equal(t, number - 1, columns, row))
			return number - 1;
	}
	return KEY_NONE;
}

static uint32_t row_add(
	struct keytable *t, uint64_t hash, const struct column *const *columns, uint32_t row)
{
	make_room(t);
	for (size_t i = 0; i < t->columns_len; i++) {
		struct column_builder *b = &t->columns[i];

		if (b->type.kind == TYPE_FLOAT && column_is_valid(columns[i], row)) {
			uint64_t bits = float_bits(column_float(columns[i], row));
			double canonical;

			memcpy(&canonical, &bits, sizeof canonical);
			builder_put_float(b, canonical);
		} else {
			builder_put_from(b, columns[i], row);
		}
	}
	slot_take(t, hash, t->len);
	return t->len++;
}

static void other_find(const struct keytable *t, const struct column *const *columns, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids)
{
	candidates(t, hashes, rows, ids);
	for (size_t i = 0; i < t->columns_len; i++)
		refute(&t->columns[i], columns[i], rows, ids);
	for (uint32_t r = 0; r < rows; r++) {
		if (ids[r] == KEY_NONE)
			ids[r] = row_probe(t, hashes[r], columns, r);
	}
}

static void other_insert(struct keytable *t, const struct column *const *columns, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids)
{
	candidates(t, hashes, rows, ids);
	for (size_t i = 0; i < t->columns_len; i++)
		refute(&t->columns[i], columns[i], rows, ids);
	for (uint32_t r = 0; r < rows; r++) {
		if (ids[r] != KEY_NONE)
			continue;
		ids[r] = row_probe(t, hashes[r], columns, r);
		if (ids[r] == KEY_NONE)
			ids[r] = row_add(t, hashes[r], columns, r);
	}
}

/* ---- the table ---- */

void keytable_insert(struct keytable *t, const struct column *const *columns, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids)
{
	switch (t->shape) {
	case SHAPE_NOTHING:
		if (rows == 0)
			return;
		t->len = 1;
		memset(ids, 0, rows * sizeof *ids);
		return;
	case SHAPE_INT: int_insert(t, columns[0], rows, hashes, ids); return;
	case SHAPE_TEXT: text_insert(t, columns[0], rows, hashes, ids); return;
	case SHAPE_OTHER: other_insert(t, columns, rows, hashes, ids); return;
	}
}

void keytable_find(const struct keytable *t, const struct column *const *columns, uint32_t rows,
	const uint64_t *hashes, uint32_t *ids)
{
	switch (t->shape) {
	case SHAPE_NOTHING:
		for (uint32_t r = 0; r < rows; r++)
			ids[r] = t->len ? 0 : KEY_NONE;
		return;
	case SHAPE_INT: int_find(t, columns[0], rows, hashes, ids); return;
	case SHAPE_TEXT: text_find(t, columns[0], rows, hashes, ids); return;
	case SHAPE_OTHER: other_find(t, columns, rows, hashes, ids); return;
	}
}

void keytable_reserve(struct keytable *t, uint32_t keys)
{
	unsigned bits = t->bits;

	MUST(t->len == 0);
	while (bits < BITS_MAX && (UINT32_C(1) << (bits - 1)) < keys)
		bits++;
	if (bits > t->bits)
		slots_new(t, bits);
	for (size_t i = 0; i < t->columns_len; i++) {
		if (t->columns[i].rows_cap < keys)
			builder_reserve(&t->columns[i], keys);
	}
}

void keytable_copy(struct keytable *t, const struct keytable *from)
{
	MUST(t->len == 0 && t->columns_len == from->columns_len);
	if (t->bits != from->bits)
		slots_new(t, from->bits);
	memcpy(t->slots, from->slots, sizeof *t->slots << t->bits);
	for (size_t i = 0; i < t->columns_len; i++) {
		struct column c = builder_column(&from->columns[i]);

		if (from->len)
			builder_put_rows(&t->columns[i], &c, 0, from->len);
	}
	t->len = from->len;
	t->null_id = from->null_id;
}

void keytable_append(struct keytable *t, const struct column *const *columns, uint32_t rows)
{
	MUST(t->columns_len && rows <= UINT32_MAX - t->len);
	for (uint32_t r = 0; t->columns_len == 1 && t->null_id == KEY_NONE && r < rows; r++) {
		if (columns[0]->valid && !column_is_valid(columns[0], r))
			t->null_id = t->shape == SHAPE_OTHER ? KEY_NONE : t->len + r;
	}
	for (size_t i = 0; i < t->columns_len; i++)
		builder_put_rows(&t->columns[i], columns[i], 0, rows);
	t->len += rows;
}

void keytable_index(struct keytable *t)
{
	unsigned bits = t->bits;

	while (bits < BITS_MAX && (UINT32_C(1) << (bits - 1)) < t->len)
		bits++;
	slots_new(t, bits);
	slots_fill(t);
}

uint32_t keytable_len(const struct keytable *t)
{
	return t->len;
}

struct column keytable_column(const struct keytable *t, size_t i)
{
	MUST(i < t->columns_len);
	return builder_column(&t->columns[i]);
}

void keytable_hashes(const struct keytable *t, uint32_t first, uint32_t n, uint64_t *hashes)
{
	MUST(first % 8 == 0 && first + n <= t->len);
	hash_range(t, first, n, hashes);
}

uint64_t keytable_hash(const struct keytable *t, uint32_t id)
{
	uint64_t hashes[8];

	MUST(id < t->len);
	hash_range(t, id & ~UINT32_C(7), (id & 7) + 1, hashes);
	return hashes[id & 7];
}

size_t keytable_bytes(const struct keytable *t)
{
	size_t bytes = sizeof *t + (sizeof *t->slots << t->bits);

	for (size_t i = 0; i < t->columns_len; i++) {
		const struct column_builder *b = &t->columns[i];

		bytes += sizeof *b + (size_t)b->rows_cap * b->width + b->bytes.cap;
		bytes += b->offsets ? ((size_t)b->rows_cap + 1) * sizeof *b->offsets : 0;
		bytes += b->valid ? b->rows_cap / 8 : 0;
	}
	return bytes;
}
