/* COPY BINARY's stream to columns.
 *
 *   "PGCOPY\n\377\r\n\0"  flags u32  extension's length u32, extension
 *   of each row: fields i16, then of each field its length i32 (-1: null) and bytes
 *   -1 i16
 *
 * Pieces may be cut anywhere.  Values are read from where they lie; only a row that isn't whole in
 * a piece is copied. */
#ifndef RUNNEL_CONNECT_HEAVY_POSTGRES_COPY_H
#define RUNNEL_CONNECT_HEAVY_POSTGRES_COPY_H

#include "connect/heavy/postgres_types.h"
#include "libcore/base/buf.h"

enum { POSTGRES_ROW_MAX = 64 << 20 }; /* as large as a frame */

struct postgres_copy {
	const struct postgres_codec *codecs; /* borrowed; of each field */
	const struct schema *schema;         /* borrowed; for messages */
	size_t columns_len;
	int required;  /* a field that can't be null (the event time); -1: none */
	uint64_t rows; /* taken so far */
	bool has_header, is_over;
	struct buf held; /* of a row that isn't whole */
};

void postgres_copy_clear(struct postgres_copy *c);

/* Appends the rows that are whole now.  0; 1: a row holds a value that can't be taken: *e tells
 * which and why, the builders are as before that row, and another call goes on behind it (with the
 * next piece, or none); -1: it is no such stream. */
int postgres_copy_take(struct postgres_copy *c, const uint8_t *bytes, size_t len,
	struct column_builder *out, struct error *e);

/* After the last piece: whether the stream was whole. */
int postgres_copy_end(const struct postgres_copy *c, struct error *e);

#endif
