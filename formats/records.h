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
	const char *format;          /* "csv" ...; NULL: extension, content */
	const char *schema_text;     /* -s; NULL: infer all */
	uint32_t infer_rows;         /* 0: the default */
	const char *filename_column; /* NULL: none */
	const char *required_column; /* a null there is a malformed record; NULL: none */
	const int64_t *latest_us;    /* a time in it beyond this is one, too; may change between calls of
	                              * records_next; NULL: any is good */
	const struct records_source *source; /* of the first input, instead of its path; NULL: none */
	struct reader_options reader;
	struct bad_sink bad; /* take NULL: the first bad record is an error */
};

/* An input whose descriptor is open already, and which may grow. */
struct records_source {
	int fd;    /* borrowed: duplicated */
	bool grows; /* a plain file's end is only where it ends by now; see records_finish */
	bool is_live; /* a peer, who may be slow or silent: never waited for, also by records_open, which
	               * then gives 1 with *out: records_open_on.  Not decompressed */
	bool settles; /* of a live one: what has come is enough to infer from; looked at by each call */
};

struct records;

/* Opens the first input, reads a sample, settles format and schema.  frames as a format is refused
 * here: those need the frame layer (see records_is_frames).  1: a growing input doesn't hold enough
 * yet to tell format and types; nothing is open. */
int records_open(const struct records_options *o, struct records **out, struct error *e);

/* Of a live input: goes on with what has come since.  o: as for records_open; another input may have
 * settled format and columns by now.  0: it is open; 1: not yet; 2: it ended before it began.  1 and 2
 * leave r to be closed; so does an error. */
int records_open_on(struct records *r, const struct records_options *o, struct error *e);
void records_close(struct records *r);
const struct schema *records_schema(const struct records *r); /* valid until close */

/* Appends up to rows_max rows (or one more, where an update is two) to b (which has records_schema, and perhaps columns behind those, that
 * are left alone).  0: some may follow; 1: that was all; 2: reading on would block (only with
 * may_block false), or a growing input has no more by now.  May append nothing. */
int records_next(struct records *r, bool may_block, uint32_t rows_max, struct batch_builder *b,
	struct error *e);
int records_fd(const struct records *r);

/* A growing input grows no further: what is there counts up to the end, also a last line without a
 * newline.  Of what lies behind byte `end` only the rest of a record is read; 0: no byte more.
 * Unless that is 0 it may be written on: then a last line that can't be parsed isn't malformed but not
 * whole, and left out. */
void records_finish(struct records *r, uint64_t end);
bool records_left_part(const struct records *r); /* that was so */
/* Of a growing input: whether the start of a record is held that isn't whole. */
bool records_holds_part(const struct records *r);
/* Of a growing input that has no more by now: gives back the memory it is read into. */
void records_rest(struct records *r);
/* Of the plain input that is read: bytes read so far, parsed or not. */
uint64_t records_read_bytes(const struct records *r);

/* A part of an input: the records that begin in its bytes [start, end).  Where it isn't a whole
 * input a newline must always end a record (records_is_divisible), and the input be a plain file. */
#define RECORDS_TO_END UINT64_MAX
struct records_range {
	uint32_t input;
	uint32_t entry; /* of an archive: from this one on, which start counts in */
	bool is_begun;  /* a record begins at start; else the first line that begins at it or behind
	                 * is the first record */
	uint64_t start;
	uint64_t end;  /* RECORDS_TO_END: all of it, however long it is by then */
	uint64_t line; /* of start, from 1; 0: unknown, and counted when a message needs it */
};

/* Reads these one after another instead of every input whole.  Before the first records_next. */
int records_read(struct records *r, const struct records_range *ranges, size_t n, struct error *e);

/* The number of ranges that are over (without records_read: of inputs); records_next takes rows of
 * one range a call. */
size_t records_ranges_over(const struct records *r);

/* What is left of range i: a snapshot's position, after the last row handed out, and what
 * records_read goes on with.  False: nothing is. */
bool records_left(const struct records *r, size_t i, struct records_range *out);

/* Whether a newline ends a record of this format wherever it stands. */
bool records_is_divisible(const struct records *r);

/* Appends the schema as a -s text that infers nothing: paths, types with their units, names. Opened
 * with it, an input has the same columns again. */
void records_put_spec(const struct records *r, struct buf *out);

/* What was left open and is settled by now, format and header, so that another input is read alike. */
void records_settled(const struct records *r, struct records_options *o);

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

/* Whether it takes columns or types from the input; and doing so, from what was found there, whose
 * texts are copied to the arena. */
bool schema_spec_is_open(const struct schema_spec *s);
int schema_spec_settle(struct schema_spec *s, const struct schema *found, const char *input,
	struct arena *a, struct error *e);

/* Appends it as a -s text that is not open. */
void schema_spec_put(const struct schema_spec *s, struct buf *out);

#endif
