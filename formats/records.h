/* Records of a list of inputs as one stream of batches: opens one after another, finds the format,
 * infers or applies the schema, parses, and knows its position.  ssource is this plus time; sjoin
 * opens a RIGHT file with it. */
#ifndef RUNNEL_FORMATS_RECORDS_H
#define RUNNEL_FORMATS_RECORDS_H

#include "formats/input.h"
#include "formats/reader.h"

struct records_options {
	const char *const *inputs; /* paths or "-" */
	size_t inputs_len;
	const char *format;          /* "csv" "tsv" "ndjson" "lines"; NULL: extension, content */
	const char *schema_text;     /* -s; NULL: infer all */
	uint32_t infer_rows;         /* 0: the default */
	const char *filename_column; /* NULL: none */
	const char *required_column; /* a null there is a malformed record; NULL: none */
	struct reader_options reader;
	struct bad_sink bad; /* take NULL: the first bad record is an error */
};

struct records;

/* Opens the first input, reads a sample, settles format and schema.  frames as a format is refused
 * here: those need the frame layer (see records_is_frames). */
int records_open(const struct records_options *o, struct records **out, struct error *e);
void records_close(struct records *r);
const struct schema *records_schema(const struct records *r); /* valid until close */

/* Appends up to rows_max rows to b (which has records_schema).  0: some may follow; 1: that was
 * all; 2: reading on would block (only with may_block false).  May append nothing. */
int records_next(struct records *r, bool may_block, uint32_t rows_max, struct batch_builder *b,
	struct error *e);
int records_fd(const struct records *r);

/* A snapshot's position: after the last row handed out. */
struct records_position {
	uint32_t input;
	struct input_position at;
	uint64_t line;
	uint64_t rows;
};
struct records_position records_position(const struct records *r);
int records_seek(struct records *r, const struct records_position *p, struct error *e);

/* Appends the schema as a -s text that infers nothing: paths, types with their units, names. Opened
 * with it, an input has the same columns again. */
void records_put_spec(const struct records *r, struct buf *out);

uint64_t records_bad(const struct records *r);   /* skipped so far */
uint64_t records_bytes(const struct records *r); /* read so far, decompressed */

/* Whether the first bytes of a file are a frame stream's. */
bool records_is_frames(const uint8_t *bytes, size_t len);

/* Parses a -s text: 'auction int, at timestamp(ms), "src.ip" string, a.b int as ab', '*, ...'.
 * star: a * stood in it. */
struct schema_spec {
	struct wanted_column *columns; /* type.kind 0: none was given, it is inferred */
	size_t len;
	bool star;
};
struct arena;
int schema_spec_parse(const char *text, struct arena *a, struct schema_spec *out, struct error *e);

#endif
