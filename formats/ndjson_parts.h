/* What the files of the ndjson reader share, and debezium.c, whose lines are objects too; nobody else
 * includes it.
 *
 *   ndjson.c           the reader: lines, windows, messages
 *   ndjson_record.c    one record by the letter of RFC 8259, learning its shape
 *   ndjson_value.c     one value into a column; passing over one value
 *   ndjson_fast.inc      records of a learnt shape; compiled twice:
 *   ndjson_avx2.c        with AVX2
 *   ndjson_portable.c    with eight bytes in a register
 *   ndjson_infer.c     names and types from a sample
 *
 * A shape is what stays the same from record to record: the bytes between the values.  For
 * {"a":{"b":1},"c":"x"} with a.b and c wanted these are  {"a":{"b":   },"c":   and the rest of the
 * line.  A record is first taken by the shapes of earlier ones, comparing these bytes and parsing
 * what lies between by the column's type; where that fails it goes through ndjson_record, which
 * takes every record, and the shape it had is kept.  Both ways accept the same records with the
 * same values: which one a record took never shows.
 *
 * What is checked: everything up to the last wanted value, strictly; text that isn't wanted only
 * for escapes and control characters, not for UTF-8.  Once all wanted columns are found and
 * a comma follows, the rest of the line only has to end in '}'.  Of a key that comes twice the first counts. */
#ifndef RUNNEL_FORMATS_NDJSON_PARTS_H
#define RUNNEL_FORMATS_NDJSON_PARTS_H

#include "formats/reader.h"
#include "libcore/base/arena.h"

enum {
	NDJSON_DEPTH_MAX = 128,       /* nested arrays and objects in a value; as msgpack's */
	NDJSON_RECORD_MAX = 64 << 20, /* bytes */
	NDJSON_MARGIN = 64,           /* bytes the fast path may look ahead */
	NDJSON_SHAPES = 4,
	NDJSON_SHAPE_DEPTH_MAX = 32,  /* less than the margin: so many } are looked at at once */
	NDJSON_STEPS_MAX = 512,   /* values in a shape; records with more aren't learnt */
	NDJSON_LITERAL_MAX = 512, /* bytes between two values */
	NDJSON_REASON_MAX = 320,
};

enum ndjson_step_kind {
	STEP_SKIP,
	STEP_INT,
	STEP_FLOAT,
	STEP_BOOL,
	STEP_STRING,
	STEP_TIMESTAMP, /* ISO text */
	STEP_TICKS,     /* a timestamp from integers of a unit */
	STEP_OTHER,
};

/* Bytes that must come next, then a value. */
struct ndjson_step {
	uint8_t literal[32]; /* the first of them, padded with 0 */
	uint32_t mask;       /* a bit for each byte of literal that counts */
	uint32_t literal_len;
	const uint8_t *rest;          /* those behind the first 32 */
	struct ndjson_column *column; /* NULL for STEP_SKIP */
	enum ndjson_step_kind kind;
};

struct ndjson_shape {
	struct ndjson_step *steps; /* NULL: none learnt */
	size_t steps_len;
	struct ndjson_step tail; /* if columns are missing: up to and with the newline */
	struct ndjson_column **missing;
	size_t missing_len;
	unsigned depth; /* of the object in which the last value stands, if none is missing */
	struct arena arena;
};

struct ndjson_column {
	struct wanted_column wanted; /* its name is ours, its path is in the tree */
	enum ndjson_step_kind kind;
	int64_t ticks;                  /* of a second, in a timestamp's integers */
	struct column_builder *builder; /* during a parse */
	struct ndjson_column *same_path;
	/* The last day seen in a timestamp: its text and its midnight. */
	char day[10];
	int64_t day_us;
};

/* The wanted paths as a tree: children by name, a column at the end of a path. */
struct ndjson_node {
	const char *name;
	size_t name_len;
	struct ndjson_node *next; /* its sibling */
	struct ndjson_node *children;
	struct ndjson_column *column;
};

/* A place in a line, and what was wrong there. */
struct ndjson_cursor {
	const uint8_t *p, *end;
	char *reason; /* NDJSON_REASON_MAX; written on failure, with p at the byte */
	const struct reader_options *options;
	struct buf *scratch; /* decoded text that isn't a column's own */
};

struct ndjson {
	struct reader reader;
	struct reader_options options;
	struct arena own; /* copies of what options and wanted columns point to */
	char *input;
	uint64_t line; /* of the next record */
	bool too_long; /* inside a record that was refused for its length */

	struct arena wanted;
	struct ndjson_column *columns;
	size_t columns_len;
	struct ndjson_node root;
	struct ndjson_column **missing; /* of the record being read; room for all */
	bool learns;                    /* shapes can tell where the columns are */

	struct ndjson_shape shapes[NDJSON_SHAPES];
	size_t shape_now, shape_next;

	struct buf padded; /* a record near the end of a window, with margin behind it */
	struct buf text;   /* scratch of the cursor */
	struct buf steps;  /* of the record being read: struct ndjson_mark */
	char reason[NDJSON_REASON_MAX];
};

/* A value of the record being read: where it starts and where the one before it ended. */
struct ndjson_mark {
	const uint8_t *from, *value;
	struct ndjson_column *column;
};

/* ---- ndjson_value.c ---- */

/* Appends the value at c->p to the column; -1 with the reason.  Either way c->p has moved there. */
int ndjson_take(struct ndjson_cursor *c, struct ndjson_column *column);
/* Passes over a value. */
int ndjson_skip(struct ndjson_cursor *c);
void ndjson_space(struct ndjson_cursor *c);
/* The text of the string at c->p: a view of the line, or of scratch if it had escapes. */
int ndjson_string(struct ndjson_cursor *c, struct text_view *out);
int ndjson_fail(struct ndjson_cursor *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool ndjson_is_null_text(const struct reader_options *o, struct text_view t);

/* ---- ndjson_record.c ---- */

/* Takes the record [p, end), without its newline; -1: *fail_at is the byte and r->reason says why,
 * and the builders are as before. */
int ndjson_record(struct ndjson *r, const uint8_t *p, const uint8_t *end, const uint8_t **fail_at);
void ndjson_forget(struct ndjson *r);
void ndjson_undo(struct ndjson *r, uint32_t rows);

/* ---- ndjson_avx2.c, ndjson_portable.c ---- */

/* Takes records of known shapes from p on while there are any and at most *rows, and counts both
 * down and r->line up.  Returns where the first other record starts.  Reads nothing behind end and
 * takes only records whose newline lies NDJSON_MARGIN before it. */
const uint8_t *ndjson_fast_avx2(
	struct ndjson *r, const uint8_t *p, const uint8_t *end, uint32_t *rows);
const uint8_t *ndjson_fast_portable(
	struct ndjson *r, const uint8_t *p, const uint8_t *end, uint32_t *rows);

/* ---- ndjson_infer.c ---- */

int ndjson_infer(struct ndjson *r, const uint8_t *bytes, size_t len, bool last, uint32_t rows_max,
	struct schema *out, struct error *e);

#endif
