/* Compression of what is written: gz, zst, lz4, chosen by a name's extension.  Bytes in, bytes
 * appended to a buffer.  Reading is input.h's. */
#ifndef RUNNEL_FORMATS_COMPRESS_H
#define RUNNEL_FORMATS_COMPRESS_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>

enum compression { COMPRESS_NONE, COMPRESS_GZIP, COMPRESS_ZSTD, COMPRESS_LZ4 };

/* "a/b.csv.gz" is GZIP. */
enum compression compression_of(const char *path);

struct compressor;

struct compressor *compressor_new(enum compression kind); /* not NONE */
void compressor_free(struct compressor *c);

/* finish: ends a frame (a member, in gz), so that what was appended so far can be read by itself; the
 * next bytes begin a new one. */
int compressor_put(struct compressor *c, const void *bytes, size_t len, bool finish,
	struct buf *out, struct error *e);

#endif
