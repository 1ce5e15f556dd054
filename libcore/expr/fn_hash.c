/* Digests and hashes of texts, and numbers as hexadecimal digits. */
#include "libcore/expr/kernel.h"

#include "libcore/base/digest.h"

#include <xxhash.h>

static void put_hex(struct buf *b, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		buf_put_byte(b, (uint8_t)digits[bytes[i] >> 4]);
		buf_put_byte(b, (uint8_t)digits[bytes[i] & 15]);
	}
}

static struct text_view bytes_at(const struct kernel *k, uint32_t r)
{
	struct text_view v = arg_text(k, 0, r);

	return v.len ? v : (struct text_view){"", 0};
}

static void run_md5(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);
	uint8_t digest[DIGEST_MD5_BYTES];

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r)) {
			digest_md5(bytes_at(k, r).text, bytes_at(k, r).len, digest);
			put_hex(k->text, digest, sizeof digest);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static void run_sha256(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);
	uint8_t digest[DIGEST_SHA256_BYTES];

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r)) {
			digest_sha256(bytes_at(k, r).text, bytes_at(k, r).len, digest);
			put_hex(k->text, digest, sizeof digest);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* XXH64 with seed 0, its 64 bits as an int. */
static void run_xxh64(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = bytes_at(k, r);

		out[r] = out_is_valid(k, r) ? (int64_t)XXH64(v.text, v.len, 0) : 0;
	}
}

/* An int without leading zeros, below zero as two's complement; bytes two digits each. */
static void run_hex_int(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r))
			buf_printf(k->text, "%llx", (unsigned long long)arg_int(k, 0, r));
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static void run_hex_text(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = bytes_at(k, r);

		if (out_is_valid(k, r))
			put_hex(k->text, (const uint8_t *)v.text, v.len);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

const struct function functions_hash[] = {
	{.name = "md5", .signature = "s", .result = 's', .run = run_md5},
	{.name = "md5", .signature = "y", .result = 's', .run = run_md5},
	{.name = "sha256", .signature = "s", .result = 's', .run = run_sha256},
	{.name = "sha256", .signature = "y", .result = 's', .run = run_sha256},
	{.name = "xxh64", .signature = "s", .result = 'i', .run = run_xxh64},
	{.name = "xxh64", .signature = "y", .result = 'i', .run = run_xxh64},
	{.name = "to_hex", .signature = "i", .result = 's', .run = run_hex_int},
	{.name = "to_hex", .signature = "s", .result = 's', .run = run_hex_text},
	{.name = "to_hex", .signature = "y", .result = 's', .run = run_hex_text},
	{.name = NULL},
};
