/* The text of one file: what it begins with, its rows, what it ends with.  In any format that there
 * is a writer for (formats/writer.h), or frames.
 *
 * Appends to a buffer; where the bytes go, and when a file is complete, is its owner's business. */
#ifndef RUNNEL_CMD_COMMON_SHEET_H
#define RUNNEL_CMD_COMMON_SHEET_H

#include "formats/writer.h"

struct sheet_schema {
	uint32_t id;
	struct schema schema;
};

struct sheet {
	struct writer *writer; /* NULL: frames */
	bool begun;            /* HELLO, a header is there */
	uint64_t rows;

	uint32_t schema_id;    /* frames: of what follows; else the writer's mark */

	/* Frames: */
	uint32_t schema_ids;           /* all that the file has */
	struct sheet_schema *declared; /* those that this process has put there */
	size_t declared_len, declared_cap;
	struct channel_writer *packer; /* writes to packed; NULL: frames aren't compressed */
	struct buf packed;
};

int sheet_open(
	struct sheet *s, const char *format, const struct writer_options *o, struct error *e);
/* Frames of rows are compressed from now on: "lz4", "zstd". */
int sheet_pack(struct sheet *s, const char *codec, struct error *e);

void sheet_close(struct sheet *s); /* of zero bytes: nothing */

/* What rows will have: the header, or HELLO and SCHEMA; again when it changes, or comes again. */
int sheet_begin(struct sheet *s, const struct schema *schema, struct buf *out, struct error *e);

/* Instead, once: the file has been begun, with this schema as schema_id, and goes on. */
int sheet_resume(struct sheet *s, const struct schema *schema, struct error *e);

int sheet_rows(struct sheet *s, const struct batch *b, struct buf *out, struct error *e);
void sheet_watermark(struct sheet *s, int64_t us, struct buf *out); /* kept by frames */
int sheet_end(struct sheet *s, struct buf *out, struct error *e);

#endif
