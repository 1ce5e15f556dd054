/* How a BATCH frame is laid out: the small pieces between the columns, and where each column's
 * buffer goes, so that one function serves both the copy into memory and writev.  Private to
 * frame/. */
#ifndef RUNNEL_FRAME_BATCH_LAYOUT_H
#define RUNNEL_FRAME_BATCH_LAYOUT_H

#include "libcore/frame/frame.h"

/* heads[head_at .. head_at + head_len), then data. */
struct batch_piece {
	size_t head_at, head_len;
	const void *data;
	size_t data_len;
};

struct batch_layout {
	struct buf heads;
	struct batch_piece *pieces;
	size_t pieces_len, pieces_cap;
	uint64_t frame_bytes;
};

/* Replaces what the layout held.  May be larger than FRAME_BODY_MAX: the caller looks. */
void batch_layout_make(struct batch_layout *l, uint32_t schema_id, const struct batch *b);
void batch_layout_clear(struct batch_layout *l);

#endif
