#include "formats/compress.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

enum {
	ROOM_BYTES = 64 << 10,
	GZIP_WINDOW_BITS = 15 + 16, /* zlib's way to say: with gzip's header */
	GZIP_MEMORY = 8,
	PIECE_BYTES = 1 << 20, /* of lz4's input at once: its bound is an allocation */
};

struct compressor {
	enum compression kind;
	bool open; /* a frame has begun */
	z_stream gz;
	ZSTD_CCtx *zstd;
	LZ4F_cctx *lz4;
};

enum compression compression_of(const char *path)
{
	static const struct {
		const char *end;
		enum compression kind;
	} ends[] = {{".gz", COMPRESS_GZIP}, {".zst", COMPRESS_ZSTD}, {".lz4", COMPRESS_LZ4}};
	size_t len = strlen(path);

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		size_t n = strlen(ends[i].end);

		if (len > n && !strcmp(path + len - n, ends[i].end))
			return ends[i].kind;
	}
	return COMPRESS_NONE;
}

struct compressor *compressor_new(enum compression kind)
{
	struct compressor *c = mem_zero(sizeof *c);

	MUST(kind != COMPRESS_NONE);
	c->kind = kind;
	if (kind == COMPRESS_ZSTD)
		c->zstd = ZSTD_createCCtx();
	if (kind == COMPRESS_LZ4)
		MUST(!LZ4F_isError(LZ4F_createCompressionContext(&c->lz4, LZ4F_VERSION)));
	if (kind == COMPRESS_GZIP)
		MUST(deflateInit2(&c->gz, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS,
			GZIP_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK);
	return c;
}

void compressor_free(struct compressor *c)
{
	if (!c)
		return;
	if (c->kind == COMPRESS_GZIP)
		deflateEnd(&c->gz);
	ZSTD_freeCCtx(c->zstd);
	if (c->lz4)
		LZ4F_freeCompressionContext(c->lz4);
	mem_free(c);
}

static int put_gzip(struct compressor *c, const void *bytes, size_t len, bool finish,
	struct buf *out, struct error *e)
{
	int status = Z_OK;

	MUST(len <= UINT32_MAX);
	c->gz.next_in = (Bytef *)(uintptr_t)bytes;
	c->gz.avail_in = (uInt)len;
	do {
		c->gz.next_out = buf_reserve(out, ROOM_BYTES);
		c->gz.avail_out = ROOM_BYTES;
		status = deflate(&c->gz, finish ? Z_FINISH : Z_NO_FLUSH);
		out->len += ROOM_BYTES - c->gz.avail_out;
	} while (status == Z_OK && (c->gz.avail_in || (finish && status != Z_STREAM_END)));
	if (status == Z_STREAM_END)
		deflateReset(&c->gz);
	else if (status != Z_OK && status != Z_BUF_ERROR)
		return error_set(e, ERROR_IO, "gzip could not compress");
	return 0;
}

static int put_zstd(struct compressor *c, const void *bytes, size_t len, bool finish,
	struct buf *out, struct error *e)
{
	ZSTD_inBuffer in = {bytes, len, 0};
	size_t left;

	do {
		ZSTD_outBuffer to = {buf_reserve(out, ROOM_BYTES), ROOM_BYTES, 0};

		left = ZSTD_compressStream2(c->zstd, &to, &in, finish ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return error_set(e, ERROR_IO, "zstd: %s", ZSTD_getErrorName(left));
		out->len += to.pos;
	} while (in.pos < in.size || (finish && left));
	return 0;
}

static int lz4_took(size_t n, struct buf *out, struct error *e)
{
	if (LZ4F_isError(n))
		return error_set(e, ERROR_IO, "lz4: %s", LZ4F_getErrorName(n));
	out->len += n;
	return 0;
}

static int put_lz4(struct compressor *c, const uint8_t *bytes, size_t len, bool finish,
	struct buf *out, struct error *e)
{
	if (!c->open && lz4_took(LZ4F_compressBegin(c->lz4, buf_reserve(out, LZ4F_HEADER_SIZE_MAX),
		LZ4F_HEADER_SIZE_MAX, NULL), out, e) < 0)
		return -1;
	c->open = true;
	for (size_t at = 0; at < len; at += PIECE_BYTES) {
		size_t n = len - at < PIECE_BYTES ? len - at : PIECE_BYTES;
		size_t room = LZ4F_compressBound(n, NULL);

		if (lz4_took(LZ4F_compressUpdate(c->lz4, buf_reserve(out, room), room, bytes + at, n,
			NULL), out, e) < 0)
			return -1;
	}
	if (!finish)
		return 0;
	c->open = false;
	return lz4_took(LZ4F_compressEnd(c->lz4, buf_reserve(out, LZ4F_compressBound(0, NULL)),
		LZ4F_compressBound(0, NULL), NULL), out, e);
}

int compressor_put(struct compressor *c, const void *bytes, size_t len, bool finish,
	struct buf *out, struct error *e)
{
	switch (c->kind) {
	case COMPRESS_GZIP: return put_gzip(c, bytes, len, finish, out, e);
	case COMPRESS_ZSTD: return put_zstd(c, bytes, len, finish, out, e);
	case COMPRESS_LZ4: return put_lz4(c, bytes, len, finish, out, e);
	case COMPRESS_NONE: break;
	}
	return 0;
}
