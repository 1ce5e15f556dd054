#include "libcore/table/keys.h"

#include "libcore/base/must.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <math.h>

static uint64_t float_bits(double v)
{
	uint64_t bits;

	if (v == 0)
		return 0;
	if (isnan(v))
		return UINT64_C(0x7ff8000000000000);
	memcpy(&bits, &v, sizeof bits);
	return bits;
}

static void put_le(struct buf *b, uint8_t tag, const void *value, size_t len)
{
	uint8_t *to = buf_reserve(b, 1 + len);

	to[0] = tag;
	memcpy(to + 1, value, len); /* Linux on a little-endian machine: as it lies */
	b->len += 1 + len;
}

static void put_column(const struct column *c, uint32_t row, struct buf *b)
{
	struct text_view text;
	__int128 decimal;
	uint64_t bits;
	uint32_t len;

	if (!column_is_valid(c, row)) {
		buf_put_byte(b, 0);
		return;
	}
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL:
		put_le(b, c->type.kind, (const uint8_t *)c->data + row, 1);
		break;
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION:
		put_le(b, c->type.kind, (const int64_t *)c->data + row, 8);
		break;
	case TYPE_FLOAT:
		bits = float_bits(column_float(c, row));
		put_le(b, c->type.kind, &bits, 8);
		break;
	case TYPE_DECIMAL:
		decimal = column_decimal(c, row);
		buf_put_byte(b, c->type.kind);
		put_le(b, c->type.scale, &decimal, 16);
		break;
	case TYPE_DATE:
		put_le(b, c->type.kind, (const int32_t *)c->data + row, 4);
		break;
	case TYPE_STRING:
	case TYPE_BYTES:
		text = column_text(c, row);
		len = (uint32_t)text.len;
		put_le(b, c->type.kind, &len, 4);
		buf_put(b, text.text, text.len);
		break;
	case TYPE_ANY:
		MUST(!"any is no key");
	}
}

void keys_put(const struct column *const *columns, size_t columns_len, uint32_t row, struct buf *b)
{
	for (size_t i = 0; i < columns_len; i++)
		put_column(columns[i], row, b);
}

/* ---- hashing ----
 *
 * XXH64 (Yann Collet) written out for the nine canonical bytes of one int-like key: a tag and eight
 * bytes.  Nine bytes take one round of eight and one of one; with the tag in front the eight are
 * the tag and the low seven of the value, and the last byte is its high one.  As a plain loop over
 * a column the compiler can keep many in flight; measured 5x the general way. */
enum { INT_KEY_BYTES = 9 };

static const uint64_t prime1 = UINT64_C(0x9E3779B185EBCA87);
static const uint64_t prime2 = UINT64_C(0xC2B2AE3D27D4EB4F);
static const uint64_t prime3 = UINT64_C(0x165667B19E3779F9);
static const uint64_t prime4 = UINT64_C(0x85EBCA77C2B2AE63);
static const uint64_t prime5 = UINT64_C(0x27D4EB2F165667C5);

static inline uint64_t rotate(uint64_t v, int by)
{
	return v << by | v >> (64 - by);
}

static inline uint64_t hash_int_key(uint8_t tag, uint64_t value)
{
	uint64_t h = prime5 + INT_KEY_BYTES;
	uint64_t word = value << 8 | tag;

	h ^= rotate(word * prime2, 31) * prime1;
	h = rotate(h, 27) * prime1 + prime4;
	h ^= (value >> 56) * prime5;
	h = rotate(h, 11) * prime1;
	h ^= h >> 33;
	h *= prime2;
	h ^= h >> 29;
	h *= prime3;
	return h ^ h >> 32;
}

static void hash_ints(const struct column *c, uint32_t rows, uint64_t *hashes)
{
	const uint64_t *values = c->data;
	uint8_t tag = c->type.kind;

	for (uint32_t r = 0; r < rows; r++)
		hashes[r] = hash_int_key(tag, values[r]);
}

static void hash_nulls(const struct column *c, uint32_t rows, uint64_t *hashes)
{
	static const uint8_t null_key[1];
	uint64_t of_null = XXH64(null_key, sizeof null_key, 0);

	if (!c->valid)
		return;
	for (uint32_t r = 0; r < rows; r++) {
		if (!column_is_valid(c, r))
			hashes[r] = of_null;
	}
}

static inline uint64_t load_word(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, 8);
	return word;
}

static inline uint64_t hash_word(uint64_t h, uint64_t word)
{
	h ^= rotate(word * prime2, 31) * prime1;
	return rotate(h, 27) * prime1 + prime4;
}

/* What is left behind whole words, without a branch, as the lengths of texts can't be predicted; so up
 * to 7 bytes behind the end are read, and dropped. */
static inline uint64_t hash_rest(uint64_t h, const uint8_t *p, size_t len)
{
	uint64_t with;
	uint32_t half;

	memcpy(&half, p, 4);
	with = rotate(h ^ half * prime1, 23) * prime2 + prime3;
	h = len & 4 ? with : h;
	p += len & 4;
	for (size_t i = 0; i < 3; i++) {
		with = rotate(h ^ p[i] * prime5, 11) * prime1;
		h = (len & 3) > i ? with : h;
	}
	h ^= h >> 33;
	h *= prime2;
	h ^= h >> 29;
	h *= prime3;
	return h ^ h >> 32;
}

/* XXH64 of less than 32 bytes. */
static inline uint64_t hash_short(const uint8_t *p, size_t len)
{
	uint64_t h = prime5 + len;

	for (size_t words = len / 8; words; words--, p += 8)
		h = hash_word(h, load_word(p));
	return hash_rest(h, p, len);
}

/* The same of a text's key, tag and length in front, without writing it down: 3 <= len <= 26, and 32
 * bytes may be read. */
static inline uint64_t hash_text(uint8_t tag, const uint8_t *text, uint32_t len)
{
	uint64_t h = prime5 + len + 5, first = load_word(text);
	const uint8_t *p = text + 3;

	h = hash_word(h, first << 40 | (uint64_t)len << 8 | tag);
	for (size_t words = (len - 3) / 8; words; words--, p += 8)
		h = hash_word(h, load_word(p));
	return hash_rest(h, p, len + 5);
}

enum { SHORT_BYTES = 32, TEXT_HEAD_BYTES = 5 };

static void hash_texts(const struct column *c, uint32_t rows, uint64_t *hashes)
{
	struct buf key = BUF_INIT;
	const char *end = (const char *)c->bytes + (rows ? c->offsets[rows] : 0);

	for (uint32_t r = 0; r < rows; r++) {
		struct text_view t = column_text(c, r);

		if (t.len - 3 < SHORT_BYTES - TEXT_HEAD_BYTES - 3 && end - t.text >= SHORT_BYTES &&
			column_is_valid(c, r)) {
			hashes[r] = hash_text(c->type.kind, (const uint8_t *)t.text, (uint32_t)t.len);
			continue;
		}
		buf_reset(&key);
		put_column(c, r, &key);
		hashes[r] = XXH64(key.data, key.len, 0);
	}
	buf_clear(&key);
}

/* Two int-like columns without nulls: 18 bytes, as two words and two bytes. */
static inline uint64_t hash_int_pair(uint8_t tag, uint64_t a, uint8_t tag_b, uint64_t b)
{
	uint64_t h = prime5 + 2 * INT_KEY_BYTES;

	h ^= rotate((a << 8 | tag) * prime2, 31) * prime1;
	h = rotate(h, 27) * prime1 + prime4;
	h ^= rotate((b << 16 | (uint64_t)tag_b << 8 | a >> 56) * prime2, 31) * prime1;
	h = rotate(h, 27) * prime1 + prime4;
	h ^= (b >> 48 & 0xff) * prime5;
	h = rotate(h, 11) * prime1;
	h ^= (b >> 56) * prime5;
	h = rotate(h, 11) * prime1;
	h ^= h >> 33;
	h *= prime2;
	h ^= h >> 29;
	h *= prime3;
	return h ^ h >> 32;
}

static void hash_int_pairs(const struct column *const *c, uint32_t rows, uint64_t *hashes)
{
	const uint64_t *a = c[0]->data, *b = c[1]->data;
	uint8_t tag_a = c[0]->type.kind, tag_b = c[1]->type.kind;

	for (uint32_t r = 0; r < rows; r++)
		hashes[r] = hash_int_pair(tag_a, a[r], tag_b, b[r]);
}

static bool is_int_like(const struct column *c)
{
	return c->type.kind == TYPE_INT || c->type.kind == TYPE_TIMESTAMP ||
		c->type.kind == TYPE_DURATION;
}

enum { ROW_BYTES = 256, VALUE_BYTES = 18 }; /* the longest value that isn't text, and its tag */

/* The canonical bytes of a row where they fit ROW_BYTES, else 0: a buffer that need not grow. */
static inline size_t short_row(const struct column *const *columns, size_t columns_len, uint32_t row,
	uint8_t key[ROW_BYTES + 8])
{
	uint8_t *to = key, *end = key + ROW_BYTES;

	for (size_t i = 0; i < columns_len; i++) {
		const struct column *c = columns[i];
		struct text_view t;
		uint32_t len;

		if (end - to < VALUE_BYTES)
			return 0;
		if (!column_is_valid(c, row)) {
			*to++ = 0;
		} else if (is_int_like(c)) {
			*to++ = c->type.kind;
			memcpy(to, (const int64_t *)c->data + row, 8);
			to += 8;
		} else if (type_is_text(c->type)) {
			t = column_text(c, row);
			len = (uint32_t)t.len;
			if (t.len > (size_t)(end - to) - TEXT_HEAD_BYTES)
				return 0;
			*to++ = c->type.kind;
			memcpy(to, &len, sizeof len);
			to += sizeof len;
			if (len)
				memcpy(to, t.text, len);
			to += len;
		} else {
			return 0;
		}
	}
	return (size_t)(to - key);
}

static void hash_rows(const struct column *const *columns, size_t columns_len, uint32_t rows,
	uint64_t *hashes)
{
	uint8_t key[ROW_BYTES + 8];
	struct buf long_key = BUF_INIT;

	for (uint32_t r = 0; r < rows; r++) {
		size_t len = short_row(columns, columns_len, r, key);

		if (len) {
			hashes[r] = len < SHORT_BYTES ? hash_short(key, len) : XXH64(key, len, 0);
			continue;
		}
		buf_reset(&long_key);
		keys_put(columns, columns_len, r, &long_key);
		hashes[r] = XXH64(long_key.data, long_key.len, 0);
	}
	buf_clear(&long_key);
}

void keys_hash(const struct column *const *columns, size_t columns_len, uint32_t rows,
	uint64_t *hashes)
{
	if (columns_len == 1 && is_int_like(columns[0])) {
		hash_ints(columns[0], rows, hashes);
		hash_nulls(columns[0], rows, hashes);
	} else if (columns_len == 1 && type_is_text(columns[0]->type)) {
		hash_texts(columns[0], rows, hashes);
	} else if (columns_len == 2 && is_int_like(columns[0]) && is_int_like(columns[1]) &&
		!columns[0]->valid && !columns[1]->valid) {
		hash_int_pairs(columns, rows, hashes);
	} else {
		hash_rows(columns, columns_len, rows, hashes);
	}
}

bool keys_has_null(const struct column *const *columns, size_t columns_len, uint32_t row)
{
	for (size_t i = 0; i < columns_len; i++) {
		if (!column_is_valid(columns[i], row))
			return true;
	}
	return false;
}

int keys_check(const struct schema *s, const int *columns, size_t n, struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct field *f = &s->fields[columns[i]];

		if (f->type.kind == TYPE_ANY)
			return error_set(e, ERROR_USAGE, "column '%s' is any, which can't be a key\n"
				"cast it: %s::string", f->name, f->name);
	}
	return 0;
}
