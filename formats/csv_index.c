#include "formats/csv_index.h"

#include "libcore/base/cpu.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <endian.h>
#include <string.h>

#if defined(__x86_64__)
#	include <immintrin.h>
#	define KERNEL_TARGET __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))
#endif

enum {
	BLOCK_BYTES = 64,
	GROUP_BLOCKS = 32, /* masks of 2 KiB are made, then used: both loops stay small */
	ROWS_ROOM = CSV_INDEX_ROWS + BLOCK_BYTES,
	ENDS_ROOM = CSV_INDEX_ENDS + 2 * BLOCK_BYTES,
	SENTINEL = 4, /* of which the last is ends[-1]; keeps ends aligned */
};

struct block_masks { /* bit i: byte i of the block is one */
	uint64_t delimiter, newline, quote, high;
};

struct scan {
	struct csv_index *x;
	const uint8_t *bytes;
	size_t len;
	bool last;
	struct csv_dialect d;
	uint32_t rows_max;
	uint32_t ends_len;  /* also of the record that isn't whole yet */
	uint64_t in_quotes; /* all ones: the next byte lies inside quotes */
	uint64_t
		opens_before; /* bit 0: a quote at the next byte opens a field or is a second one */
	uint64_t closed_before; /* bit 0: the byte before was a closing quote */
	uint32_t newlines_inside;
};

void csv_index_init(struct csv_index *x)
{
	*x = (struct csv_index){.ends_len = 0};
	x->ends = (uint32_t *)mem_alloc((SENTINEL + ENDS_ROOM) * sizeof *x->ends) + SENTINEL;
	x->rows = mem_alloc(ROWS_ROOM * sizeof *x->rows);
	x->ends[-1] = UINT32_MAX; /* + 1 is 0 */
}

void csv_index_clear(struct csv_index *x)
{
	if (x->ends)
		mem_free(x->ends - SENTINEL);
	mem_free(x->rows);
	*x = (struct csv_index){.ends = NULL};
}

/* Eight bytes at a time: 0x80 in each byte of w that equals c, then one bit of each gathered. */
static uint64_t equal_bits(uint64_t w, uint8_t c)
{
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t x = w ^ (UINT64_C(0x0101010101010101) * c);
	uint64_t zero = ~(((x & low) + low) | x | low);

	return ((zero >> 7) * UINT64_C(0x0102040810204080)) >> 56;
}

static void masks_portable(
	const uint8_t *bytes, size_t blocks, char delimiter, struct block_masks *out)
{
	for (size_t b = 0; b < blocks; b++) {
		struct block_masks m = {0, 0, 0, 0};

		for (unsigned i = 0; i < BLOCK_BYTES; i += 8) {
			uint64_t w;

			memcpy(&w, bytes + b * BLOCK_BYTES + i, 8);
			w = le64toh(w);
			m.delimiter |= equal_bits(w, (uint8_t)delimiter) << i;
			m.newline |= equal_bits(w, '\n') << i;
			m.quote |= equal_bits(w, '"') << i;
			m.high |= w & UINT64_C(0x8080808080808080);
		}
		out[b] = m;
	}
}

#if defined(__x86_64__)
KERNEL_TARGET
static inline uint64_t equal_mask(__m256i low, __m256i high, __m256i c)
{
	uint32_t l = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, c));
	uint32_t h = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, c));

	return l | (uint64_t)h << 32;
}

KERNEL_TARGET
static void masks_avx2(const uint8_t *bytes, size_t blocks, char delimiter, struct block_masks *out)
{
	const __m256i delimiters = _mm256_set1_epi8(delimiter);
	const __m256i newlines = _mm256_set1_epi8('\n');
	const __m256i quotes = _mm256_set1_epi8('"');

	for (size_t b = 0; b < blocks; b++) {
		const void *at = bytes + b * BLOCK_BYTES;
		__m256i low = _mm256_loadu_si256((const __m256i *)at);
		__m256i high = _mm256_loadu_si256((const __m256i *)at + 1);

		out[b].delimiter = equal_mask(low, high, delimiters);
		out[b].newline = equal_mask(low, high, newlines);
		out[b].quote = equal_mask(low, high, quotes);
		out[b].high = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(low, high));
	}
}
#endif

/* Bit i of the result: the xor of bits 0..i. */
static inline uint64_t prefix_xor(uint64_t bits)
{
	bits ^= bits << 1;
	bits ^= bits << 2;
	bits ^= bits << 4;
	bits ^= bits << 8;
	bits ^= bits << 16;
	return bits ^ bits << 32;
}

static inline uint64_t bits_below(unsigned n) /* n <= 64 */
{
	return n < 64 ? (UINT64_C(1) << n) - 1 : ~UINT64_C(0);
}

/* Positions of the bits.  Eight are written whether there are so many or not: most blocks have
 * fewer, and a branch per bit would be mispredicted once per block. */
static inline void put_ends(uint32_t *out, uint64_t bits, unsigned count, uint32_t base)
{
	for (unsigned i = 0; i < count; i += 8) {
		for (unsigned k = 0; k < 8; k++) {
			out[i + k] = base + (unsigned)__builtin_ctzll(bits | UINT64_C(1) << 63);
			bits &= bits - 1;
		}
	}
}

static inline void put_block(struct scan *s, uint64_t ends, uint64_t newlines, uint32_t base)
{
	struct csv_index *x = s->x;
	unsigned count = (unsigned)__builtin_popcountll(ends);

	put_ends(x->ends + s->ends_len, ends, count, base);
	while (newlines) {
		uint64_t up_to = newlines ^ (newlines - 1);

		x->rows[x->rows_len++] = s->ends_len + (unsigned)__builtin_popcountll(ends & up_to);
		newlines &= newlines - 1;
	}
	s->ends_len += count;
}

/* A closing quote may be followed by a separator, a newline, a second quote, or CR LF. */
static bool follows_well(const struct scan *s, size_t at)
{
	return at >= s->len ||
	       (s->bytes[at] == '\r' && (at + 1 >= s->len || s->bytes[at + 1] == '\n'));
}

/* A block with quotes, or behind an open or just closed one.  False: broken. */
static inline bool put_quoted_block(
	struct scan *s, const struct block_masks *m, uint64_t within, size_t base)
{
	struct csv_index *x = s->x;
	uint64_t inside = prefix_xor(m->quote) ^ s->in_quotes;
	uint64_t opening = m->quote & inside, closing = m->quote & ~inside;
	uint64_t ends = (m->delimiter | m->newline) & ~inside;
	uint64_t wrong = opening & ~((ends | closing) << 1 | s->opens_before);
	uint64_t odd = (closing << 1 | s->closed_before) & ~(ends | m->quote) & within;
	uint64_t good;

	for (; odd; odd &= odd - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(odd);

		if (!follows_well(s, base + bit))
			wrong |= UINT64_C(1) << bit;
	}
	if (!s->d.quoted_newlines)
		wrong |= m->newline & inside;
	good = wrong ? bits_below((unsigned)__builtin_ctzll(wrong)) : ~UINT64_C(0);
	put_block(s, ends & good, m->newline & ends & good, (uint32_t)base);
	x->quotes = true;
	s->newlines_inside += (unsigned)__builtin_popcountll(m->newline & inside & good);
	s->in_quotes = (uint64_t)((int64_t)inside >> 63);
	s->opens_before = (ends | closing) >> 63;
	s->closed_before = closing >> 63;
	return !wrong;
}

/* Uses the masks of up to GROUP_BLOCKS blocks.  False: enough, or broken. */
static inline __attribute__((always_inline)) bool use_masks(struct scan *s,
	const struct block_masks *masks, size_t blocks, size_t base, uint64_t last_within)
{
	struct csv_index *x = s->x;

	for (size_t b = 0; b < blocks; b++, base += BLOCK_BYTES) {
		const struct block_masks *m = &masks[b];
		uint64_t within = b + 1 < blocks ? ~UINT64_C(0) : last_within;
		uint64_t ends = m->delimiter | m->newline;

		x->ascii &= !m->high;
		if (!(m->quote | s->in_quotes | s->closed_before)) {
			put_block(s, ends, m->newline, (uint32_t)base);
			s->opens_before = ends >> 63;
		} else if (!put_quoted_block(s, m, within, base)) {
			x->broken = true;
			return false;
		}
		if (x->rows_len >= s->rows_max || s->ends_len >= CSV_INDEX_ENDS)
			return false;
	}
	return true;
}

static bool use_masks_portable(struct scan *s, const struct block_masks *masks, size_t blocks,
	size_t base, uint64_t last_within)
{
	return use_masks(s, masks, blocks, base, last_within);
}

#if defined(__x86_64__)
KERNEL_TARGET
static bool use_masks_avx2(struct scan *s, const struct block_masks *masks, size_t blocks,
	size_t base, uint64_t last_within)
{
	return use_masks(s, masks, blocks, base, last_within);
}
#endif

/* Blocks that start at `from`: whole ones from the bytes themselves, the rest from a padded copy.
 */
static bool scan_blocks(struct scan *s, size_t from, size_t n, bool avx2)
{
	struct block_masks masks[GROUP_BLOCKS];
	uint8_t padded[BLOCK_BYTES] = {0};
	const uint8_t *at = s->bytes + from;
	size_t blocks = (n + BLOCK_BYTES - 1) / BLOCK_BYTES;
	uint64_t within = ~UINT64_C(0);

	if (n % BLOCK_BYTES) {
		memcpy(padded, at, n);
		at = padded;
		within = bits_below((unsigned)n);
	}
#if defined(__x86_64__)
	if (avx2) {
		masks_avx2(at, blocks, s->d.delimiter, masks);
		if (n % BLOCK_BYTES) /* a delimiter may be the padding's byte */
			masks[0].delimiter &= within;
		return use_masks_avx2(s, masks, blocks, from, within);
	}
#endif
	masks_portable(at, blocks, s->d.delimiter, masks);
	if (n % BLOCK_BYTES)
		masks[0].delimiter &= within;
	return use_masks_portable(s, masks, blocks, from, within);
}

/* The bytes are over: what is left is a record without a newline, or an open quote. */
static void scan_end(struct scan *s)
{
	struct csv_index *x = s->x;
	uint32_t done = x->rows_len ? x->ends[x->rows[x->rows_len - 1] - 1] + 1 : 0;

	if (s->in_quotes) {
		x->broken = true;
		return;
	}
	if (done == s->len)
		return;
	x->ends[s->ends_len++] = (uint32_t)s->len;
	x->rows[x->rows_len++] = s->ends_len;
}

void csv_index_scan(struct csv_index *x, const uint8_t *bytes, size_t len, bool last,
	struct csv_dialect d, uint32_t rows_max)
{
	struct scan s = {.x = x,
		.bytes = bytes,
		.len = len,
		.last = last,
		.d = d,
		.rows_max = rows_max < CSV_INDEX_ROWS ? rows_max : CSV_INDEX_ROWS,
		.opens_before = 1};
	bool avx2 = cpu_has_avx2();
	size_t at = 0;
	bool more = true;

	MUST(len < UINT32_MAX && rows_max);
	x->ends_len = x->rows_len = x->inner_newlines = 0;
	x->quotes = x->broken = false;
	x->ascii = true;
	while (more && at < len) {
		size_t n = len - at;

		if (n >= GROUP_BLOCKS * BLOCK_BYTES)
			n = GROUP_BLOCKS * BLOCK_BYTES;
		else if (n >= BLOCK_BYTES)
			n -= n % BLOCK_BYTES;
		more = scan_blocks(&s, at, n, avx2);
		at += n;
	}
	if (more && last)
		scan_end(&s);
	if (x->rows_len > s.rows_max)
		x->rows_len = s.rows_max;
	if (!x->rows_len && s.ends_len >= CSV_INDEX_ENDS)
		x->broken = true;
	x->ends_len = x->rows_len ? x->rows[x->rows_len - 1] : 0;
	x->inner_newlines = s.newlines_inside;
}
