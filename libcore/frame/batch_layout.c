#include "libcore/frame/batch_layout.h"

#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"

enum {
	BIN_HEAD_BYTES = 5, /* bin 32 */
	NIL = 0xc0,
};

/* The frame's length up to here. */
static uint64_t at(const struct batch_layout *l)
{
	return l->frame_bytes;
}

static void put_head(struct batch_layout *l, const void *bytes, size_t len)
{
	buf_put(&l->heads, bytes, len);
	l->frame_bytes += len;
}

static uint32_t put_nils(struct batch_layout *l, uint32_t n)
{
	static const uint8_t nils[FRAME_ALIGN] = {NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL, NIL,
		NIL, NIL, NIL, NIL, NIL, NIL};

	put_head(l, nils, n);
	return n;
}

static uint32_t pad_to_align(const struct batch_layout *l, uint64_t ahead)
{
	return (uint32_t)(-(at(l) + ahead) & (FRAME_ALIGN - 1));
}

static void put_be32(uint8_t *to, uint32_t v)
{
	to[0] = (uint8_t)(v >> 24);
	to[1] = (uint8_t)(v >> 16);
	to[2] = (uint8_t)(v >> 8);
	to[3] = (uint8_t)v;
}

/* One buffer; returns the array elements it took. */
static uint32_t put_buffer(struct batch_layout *l, const void *data, size_t len)
{
	size_t head_at = l->heads.len;
	uint32_t nils = len ? put_nils(l, pad_to_align(l, BIN_HEAD_BYTES)) : 0;
	uint8_t head[BIN_HEAD_BYTES] = {0xc6};

	put_be32(head + 1, (uint32_t)len);
	put_head(l, head, sizeof head);
	MEM_GROW(l->pieces, l->pieces_cap, l->pieces_len + 1);
	l->pieces[l->pieces_len++] = (struct batch_piece){head_at, l->heads.len - head_at, data, len};
	l->frame_bytes += len;
	return nils + 1;
}

static uint32_t put_column(struct batch_layout *l, const struct column *c, uint32_t rows)
{
	uint32_t n = put_buffer(l, c->valid, c->valid ? ((size_t)rows + 7) / 8 : 0);

	if (!type_is_text(c->type))
		return n + put_buffer(l, c->data, rows * type_width(c->type));
	n += put_buffer(l, c->offsets, ((size_t)rows + 1) * sizeof *c->offsets);
	return n + put_buffer(l, c->bytes, c->offsets[rows]);
}

void batch_layout_make(struct batch_layout *l, uint32_t schema_id, const struct batch *b)
{
	/* ext 32 head, array 32 head: lengths are filled in at the end. */
	static const uint8_t start[] = {0xc9, 0, 0, 0, 0, FRAME_BATCH, 0xdd, 0, 0, 0, 0};
	size_t before;
	uint32_t elements = 2;

	buf_reset(&l->heads);
	l->pieces_len = 0;
	l->frame_bytes = 0;
	put_head(l, start, sizeof start);
	before = l->heads.len;
	msgpack_put_uint(&l->heads, schema_id);
	msgpack_put_uint(&l->heads, b->rows);
	l->frame_bytes += l->heads.len - before;
	for (size_t i = 0; i < b->schema->fields_len; i++)
		elements += put_column(l, &b->columns[i], b->rows);
	if (b->schema->changelog)
		elements += put_buffer(l, b->ops, b->rows);
	before = l->heads.len;
	elements += put_nils(l, pad_to_align(l, 0));
	MEM_GROW(l->pieces, l->pieces_cap, l->pieces_len + 1);
	l->pieces[l->pieces_len++] = (struct batch_piece){before, l->heads.len - before, NULL, 0};
	if (l->pieces_len) { /* the first piece begins with the frame's own head */
		l->pieces[0].head_len += l->pieces[0].head_at;
		l->pieces[0].head_at = 0;
	}
	put_be32(l->heads.data + 1, (uint32_t)(l->frame_bytes - FRAME_HEADER_BYTES));
	put_be32(l->heads.data + 7, elements);
}

void batch_layout_clear(struct batch_layout *l)
{
	buf_clear(&l->heads);
	mem_free(l->pieces);
	*l = (struct batch_layout){.pieces = NULL};
}
