/* Frames to values and back: what is wrong with a body is told, whatever it is; what is right comes
 * back as it was, from any address. */
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/frame/frame.h"
#include "tests/support/tables.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(text) text, sizeof(text) - 1

/* One letter a column, named like its letter: b bool, i int, f float, d decimal(4,1), D date,
 * t timestamp, u duration, s string, y bytes, a any; ! in front: a changelog. */
static void schema_of(struct schema *s, const char *letters)
{
	static const struct {
		char letter;
		struct type type;
	} types[] = {{'b', {TYPE_BOOL, 0, 0}}, {'i', {TYPE_INT, 0, 0}}, {'f', {TYPE_FLOAT, 0, 0}},
		{'d', {TYPE_DECIMAL, 4, 1}}, {'D', {TYPE_DATE, 0, 0}}, {'t', {TYPE_TIMESTAMP, 0, 0}},
		{'u', {TYPE_DURATION, 0, 0}}, {'s', {TYPE_STRING, 0, 0}}, {'y', {TYPE_BYTES, 0, 0}},
		{'a', {TYPE_ANY, 0, 0}}};

	schema_init(s);
	s->changelog = *letters == '!';
	for (letters += *letters == '!'; *letters; letters++) {
		for (size_t i = 0; i < COUNT(types); i++) {
			if (types[i].letter == *letters)
				schema_add(s, letters, 1, types[i].type);
		}
	}
}

/* A copy that ends where its allocation ends, `shift` bytes off an aligned address. */
static uint8_t *copy_of(const void *bytes, size_t len, size_t shift)
{
	uint8_t *copy = mem_alloc(shift + len + !len);

	if (len)
		memcpy(copy + shift, bytes, len);
	return copy;
}

static int read_any_kind(const struct frame *f, const struct schema *s, struct error *e)
{
	struct buf texts[2] = {BUF_INIT, BUF_INIT};
	struct arena arena = ARENA_INIT;
	struct schema declared;
	struct barrier barrier;
	struct batch batch;
	struct hello hello;
	char source[64];
	struct epoch_note note;
	uint64_t rows;
	uint32_t id;
	int64_t v;
	bool idle;
	int status = -1;

	switch ((enum frame_kind)f->kind) {
	case FRAME_HELLO: status = frame_read_hello(f, &hello, e); break;
	case FRAME_SCHEMA:
		status = frame_read_schema(f, &id, &declared, e);
		if (status == 0)
			schema_clear(&declared);
		break;
	case FRAME_BATCH:
	case FRAME_ROWS:
		status = frame_read_schema_id(f, &id, e) < 0 ? -1 :
			frame_read_batch(f, s, true, &arena, &batch, e);
		break;
	case FRAME_WATERMARK:
	case FRAME_TICK: status = frame_read_int(f, &v, e); break;
	case FRAME_BARRIER: status = frame_read_barrier(f, &barrier, e); break;
	case FRAME_END: status = frame_read_end(f, &rows, e); break;
	case FRAME_STATUS: status = frame_read_status(f, &idle, e); break;
	case FRAME_MARKER: status = frame_read_marker(f, source, &v, e); break;
	case FRAME_ERROR: status = frame_read_error(f, &texts[0], &texts[1], e); break;
	case FRAME_EPOCH: status = frame_read_epoch(f, &note, e); break;
	case FRAME_PACKED: status = frame_read_packed(f, &texts[0], e); break;
	case FRAME_SKIP_FIRST:
	case FRAME_SKIP_LAST: break;
	}
	arena_clear(&arena);
	buf_clear(&texts[0]);
	buf_clear(&texts[1]);
	return status;
}

struct malformed_case {
	uint8_t kind;
	const char *schema;
	const char *body;
	size_t len;
	const char *says;
};

#define BAD(kind, body, says) {FRAME_##kind, "", BYTES(body), says}
#define BAD_ROWS(kind, schema, body, says) {FRAME_##kind, schema, BYTES(body), says}

static const struct malformed_case malformed_cases[] = {
	BAD(HELLO, "", "HELLO is no array"),
	BAD(HELLO, "\xa6runnel", "HELLO is no array"),
	BAD(HELLO, "\x91\xa6runnel", "HELLO is no array"),
	BAD(HELLO, "\x92\x01\x01", "HELLO: no text in front"),
	BAD(HELLO, "\x92\xa6" "runner\x01", "HELLO does not say runnel"),
	BAD(HELLO, "\x92\xa6runnel\xc0", "HELLO: no version"),
	BAD(HELLO, "\x92\xa6runnel\xff", "HELLO: no version"),
	BAD(HELLO, "\x92\xa6runnel\x00", "version 0 of the frames, this program reads 1 to 1"),
	BAD(HELLO, "\x92\xa6runnel\x02", "version 2 of the frames, this program reads 1 to 1"),
	BAD(HELLO, "\x93\xa6runnel\x01\xc0", "HELLO: the third element is no map"),
	BAD(HELLO, "\x93\xa6runnel\x01\x81\x01\x01", "HELLO: a key is no text"),
	BAD(HELLO, "\x93\xa6runnel\x01\x81\xa6" "endian\xa3" "big", "only little endian"),
	BAD(HELLO, "\x93\xa6runnel\x01\x81\xa6" "endian\x92\x01", "HELLO: "),
	BAD(SCHEMA, "", "SCHEMA is no array"),
	BAD(SCHEMA, "\x91\x01", "SCHEMA is no array"),
	BAD(SCHEMA, "\x92\xa1x\x90", "SCHEMA: no id"),
	BAD(SCHEMA, "\x92\x01\x01", "SCHEMA: the columns are no array"),
	BAD(SCHEMA, "\x92\x01\xdd\x00\x01\x00\x01", "SCHEMA: the columns are no array"),
	BAD(SCHEMA, "\x92\x01\x91\x91\xa1x", "SCHEMA: a column is no [name, type]"),
	BAD(SCHEMA, "\x92\x01\x91\x92\x01\xa3int", "SCHEMA: a name is no text"),
	BAD(SCHEMA, "\x92\x01\x91\x92\xa1\xff\xa3int", "SCHEMA: a name is no text"),
	BAD(SCHEMA, "\x92\x01\x91\x92\xa2x\0\xa3int", "SCHEMA: a name is no text"),
	BAD(SCHEMA, "\x92\x01\x91\x92\xa1x\x01", "SCHEMA: a type is no text"),
	BAD(SCHEMA, "\x92\x01\x91\x92\xa1x\xa3inn", "column 1: unknown type 'inn'"),
	BAD(SCHEMA, "\x92\x01\x91\x92\xa1x\xad" "decimal(39,1)", "precision goes from 1 to 38"),
	BAD(SCHEMA, "\x92\x01\x92\x92\xa1x\xa3int\x92\xa1x\xa3int", "two columns are named 'x'"),
	BAD(SCHEMA, "\x93\x01\x90\x01", "SCHEMA: the third element is no map"),
	BAD(SCHEMA, "\x93\x01\x90\x81\x01\x01", "SCHEMA: an option's name is no text"),
	BAD(SCHEMA, "\x93\x01\x90\x81\xa4time\x01", "SCHEMA: time is no [column, offset]"),
	BAD(SCHEMA, "\x93\x01\x90\x81\xa4time\x92\xa1x\x00", "time or key names no column"),
	BAD(SCHEMA, "\x93\x01\x91\x92\xa1x\xa3int\x81\xa4time\x92\xa1x\x00", "is no timestamp"),
	BAD(SCHEMA, "\x93\x01\x91\x92\xa1x\xa9timestamp\x81\xa4time\x92\xa1x\xa1x", "offset is no int"),
	BAD(SCHEMA, "\x93\x01\x91\x92\xa1x\xa3int\x81\xa3key\x01", "SCHEMA: key is no array"),
	BAD(SCHEMA, "\x93\x01\x91\x92\xa1x\xa3int\x81\xa3key\x91\x01", "time or key names no column"),
	BAD(SCHEMA, "\x93\x01\x91\x92\xa1x\xa3int\x81\xa3key\x91\xff", "time or key names no column"),
	BAD(SCHEMA, "\x93\x01\x91\x92\xa1x\xa3int\x81\xa3key\x91\xaax\0zzzzzzzz",
		"time or key names no column"),
	BAD(SCHEMA, "\x93\x01\x90\x81\xa9" "changelog\x01", "SCHEMA: changelog is no bool"),
	BAD(SCHEMA, "\x93\x01\x90\x81\xa4name\x01", "SCHEMA: name is no text"),
	BAD(SCHEMA, "\x93\x01\x90\x82\xa1q\x01\xa1r", "SCHEMA: "),
	BAD(WATERMARK, "", "the body is no int"),
	BAD(WATERMARK, "\xcb\0\0\0\0\0\0\0\0", "the body is no int"),
	BAD(WATERMARK, "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "the body is no int"),
	BAD(WATERMARK, "\xd3\x80\0\0\0\0\0\0", "the body is no int"),
	BAD(WATERMARK, "\x01\x01", "bytes behind the body"),
	BAD(TICK, "\xc0", "the body is no int"),
	BAD(BARRIER, "\x92\x01\x00", "BARRIER is no array of three"),
	BAD(BARRIER, "\x93\xa1x\x00\x00", "BARRIER: no id"),
	BAD(BARRIER, "\x93\x01\xc0\x00", "BARRIER: no kind"),
	BAD(BARRIER, "\x93\x01\x00\xc0", "BARRIER: no time"),
	BAD(BARRIER, "\x93\x00\x00\x00", "an id below 1"),
	BAD(BARRIER, "\x93\x01\x03\x00", "BARRIER: unknown kind"),
	BAD(END, "\x05", "END is no array of one"),
	BAD(END, "\x90", "END is no array of one"),
	BAD(END, "\x91\xc0", "END: no count"),
	BAD(END, "\x91\xff", "END: a negative count"),
	BAD(STATUS, "\x01", "STATUS is no bool"),
	BAD(STATUS, "\xc3\xc3", "bytes behind the body"),
	BAD(MARKER, "\x91\xa1s", "MARKER is no array of two"),
	BAD(MARKER, "\x92\x01\x01", "MARKER: no source"),
	BAD(MARKER, "\x92\xa1s\xa1s", "MARKER: no time"),
	BAD(ERROR, "\x91\xa1s", "ERROR is no array of two"),
	BAD(ERROR, "\x92\x01\xa1s", "ERROR: no stage"),
	BAD(ERROR, "\x92\xa1s\xc0", "ERROR: no message"),
	BAD(EPOCH, "\x91\x01", "EPOCH is no array of six"),
	BAD(EPOCH, "\x96\xc0\xa0\xa0\0\0\0", "EPOCH: no verb"),
	BAD(EPOCH, "\x96\0\xa0\xa0\0\0\xff", "EPOCH: no count"),
	BAD(EPOCH, "\x96\x01\xa1x\xa1y\0\0\0", "a job has 32 hex digits"),
	BAD(EPOCH, "\x96\x04\xd9\x20" "0123456789abcdef0123456789abcdef\xa1y\0\0\0", "unknown verb"),
	BAD(EPOCH, "\x96\x01\xd9\x20" "0123456789abcdef0123456789abcdef\xa0\0\0\0", "a name of up to"),
	BAD(PACKED, "\x92\xa3lz4\x01", "PACKED is no array of three"),
	BAD(PACKED, "\x93\x01\x01\xc4\x00", "PACKED: no codec"),
	BAD(PACKED, "\x93\xa3lz4\xff\xc4\x00", "PACKED: no length"),
	BAD(PACKED, "\x93\xa3lz4\x01\xa1x", "PACKED: no bytes"),
	BAD(PACKED, "\x93\xa4gzip\x01\xc4\x01x", "the codec is neither lz4 nor zstd"),
	BAD(PACKED, "\x93\xa3lz4\xce\x04\0\0\1\xc4\x01x", "larger than 64 MiB"),
	BAD(PACKED, "\x93\xa3lz4\x05\xc4\x02\x10x", "don't decompress to their length"),
	BAD(PACKED, "\x93\xa4zstd\x05\xc4\x02xx", "don't decompress to their length"),

	BAD_ROWS(BATCH, "", "", "no array of two or more"),
	BAD_ROWS(BATCH, "", "\x91\x01", "no array of two or more"),
	BAD_ROWS(BATCH, "", "\x92\xa1x\x00", "no schema id"),
	BAD_ROWS(BATCH, "", "\x92\xff\x00", "no schema id"),
	BAD_ROWS(BATCH, "", "\x92\x01\xff", "BATCH: no number of rows, or too many"),
	BAD_ROWS(BATCH, "", "\x92\x01\xce\x01\0\0\x01", "BATCH: no number of rows, or too many"),
	BAD_ROWS(BATCH, "", "\x93\x01\x00\xc4\x00", "more buffers than the schema has"),
	BAD_ROWS(BATCH, "", "\x92\x01\x00\xc0", "bytes behind the batch"),
	BAD_ROWS(BATCH, "", "\x93\x01\x00\x05", "behind the last column"),
	BAD_ROWS(BATCH, "i", "\x92\x01\x01", "column 'i': no validity buffer"),
	BAD_ROWS(BATCH, "i", "\x94\x01\x01\xa0\xc4\x00", "column 'i': no validity buffer"),
	BAD_ROWS(BATCH, "i", "\x94\x01\x01\xc4\x02\1\1\xc4\x08\0\0\0\0\0\0\0\0", "validity buffer's length"),
	BAD_ROWS(BATCH, "i", "\x94\x01\x09\xc4\x01\1\xc4\x08\0\0\0\0\0\0\0\0", "validity buffer's length"),
	BAD_ROWS(BATCH, "i", "\x93\x01\x01\xc4\x00", "column 'i': no values"),
	BAD_ROWS(BATCH, "i", "\x94\x01\x01\xc4\x00\xc4\x07\0\0\0\0\0\0\0", "values' length is wrong"),
	BAD_ROWS(BATCH, "i", "\x94\x01\x01\xc4\x00\xc4\x09\0\0\0\0\0\0\0\0\0", "values' length is wrong"),
	BAD_ROWS(BATCH, "D", "\x94\x01\x01\xc4\x00\xc4\x08\0\0\0\0\0\0\0\0", "values' length is wrong"),
	BAD_ROWS(BATCH, "b", "\x94\x01\x02\xc4\x00\xc4\x02\0\2", "neither 0 nor 1"),
	BAD_ROWS(BATCH, "b", "\x94\x01\x02\xc4\x01\2\xc4\x02\0\xff", "neither 0 nor 1"),
	BAD_ROWS(BATCH, "d", "\x94\x01\x01\xc4\x00\xc4\x10\x10\x27\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
		"a decimal beyond its precision"),
	BAD_ROWS(BATCH, "d", "\x94\x01\x01\xc4\x00\xc4\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80",
		"a decimal beyond its precision"),
	BAD_ROWS(BATCH, "s", "\x94\x01\x01\xc4\x00\xc4\x08\0\0\0\0\1\0\0\0", "no offsets or no bytes"),
	BAD_ROWS(BATCH, "s", "\x95\x01\x01\xc4\x00\xc4\x04\0\0\0\0\xc4\x00", "offsets' length is wrong"),
	BAD_ROWS(BATCH, "s", "\x95\x01\x00\xc4\x00\xc4\x00\xc4\x00", "offsets' length is wrong"),
	BAD_ROWS(BATCH, "s", "\x95\x01\x01\xc4\x00\xc4\x08\1\0\0\0\1\0\0\0\xc4\x01x", "don't start at 0"),
	BAD_ROWS(BATCH, "s", "\x95\x01\x02\xc4\x00\xc4\x0c\0\0\0\0\1\0\0\0\0\0\0\0\xc4\x00", "offsets fall"),
	BAD_ROWS(BATCH, "s", "\x95\x01\x02\xc4\x01\1\xc4\x0c\0\0\0\0\x02\0\0\0\1\0\0\0\xc4\x01x", "offsets fall"),
	BAD_ROWS(BATCH, "s", "\x95\x01\x01\xc4\x00\xc4\x08\0\0\0\0\2\0\0\0\xc4\x01x", "the last offset"),
	BAD_ROWS(BATCH, "s", "\x95\x01\x01\xc4\x00\xc4\x08\0\0\0\0\1\0\0\0\xc4\x02xy", "the last offset"),
	BAD_ROWS(BATCH, "s", "\x95\x01\x01\xc4\x00\xc4\x08\0\0\0\0\1\0\0\0\xc4\x01\xff", "no UTF-8"),
	BAD_ROWS(BATCH, "s", "\x95\x01\x02\xc4\x00\xc4\x0c\0\0\0\0\1\0\0\0\2\0\0\0\xc4\x02\xc3\xa9", "no UTF-8"),
	BAD_ROWS(BATCH, "a", "\x95\x01\x01\xc4\x00\xc4\x08\0\0\0\0\1\0\0\0\xc4\x01\xc1", "no msgpack object"),
	BAD_ROWS(BATCH, "a", "\x95\x01\x01\xc4\x00\xc4\x08\0\0\0\0\0\0\0\0\xc4\x00", "no msgpack object"),
	BAD_ROWS(BATCH, "a", "\x95\x01\x01\xc4\x00\xc4\x08\0\0\0\0\2\0\0\0\xc4\x02\x01\x02", "no msgpack object"),
	BAD_ROWS(BATCH, "!i", "\x94\x01\x01\xc4\x00\xc4\x08\0\0\0\0\0\0\0\0", "without one op per row"),
	BAD_ROWS(BATCH, "!i", "\x95\x01\x01\xc4\x00\xc4\x08\0\0\0\0\0\0\0\0\xc4\x02\0\0", "without one op"),
	BAD_ROWS(BATCH, "!", "\x93\x01\x02\xc4\x02\3\4", "an op above 3"),
	BAD_ROWS(BATCH, "i", "\x93\x01\x01\xc6\xff\xff\xff\xff", "no validity buffer"),

	BAD_ROWS(ROWS, "i", "\x92\x01\x05", "ROWS: the rows are no array"),
	BAD_ROWS(ROWS, "i", "\x92\x01\x91\x05", "row 1 is no array of 1 values"),
	BAD_ROWS(ROWS, "i", "\x92\x01\x92\x91\x05\x90", "row 2 is no array of 1 values"),
	BAD_ROWS(ROWS, "i", "\x92\x01\x91\x92\x05\x05", "row 1 is no array of 1 values"),
	BAD_ROWS(ROWS, "i", "\x92\x01\x92\x91\x05", "cut short|no array|rows are no array"),
	BAD_ROWS(ROWS, "i", "\x92\x01\x91\x91\x05\x05", "bytes behind the rows"),
	BAD_ROWS(ROWS, "i", "\x92\x01\x91\x91\xa1x", "row 1: column 'i' is no int"),
	BAD_ROWS(ROWS, "i", "\x92\x01\x91\x91\xcb\x3f\xf0\0\0\0\0\0\0", "column 'i' is no int"),
	BAD_ROWS(ROWS, "i", "\x92\x01\x91\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "column 'i' is no int"),
	BAD_ROWS(ROWS, "b", "\x92\x01\x91\x91\x01", "column 'b' is no bool"),
	BAD_ROWS(ROWS, "f", "\x92\x01\x91\x91\xa1x", "column 'f' is no float"),
	BAD_ROWS(ROWS, "d", "\x92\x01\x91\x91\xa1x", "column 'd' is no decimal(4,1)"),
	BAD_ROWS(ROWS, "d", "\x92\x01\x91\x91\xa4" "1.25", "column 'd' is no decimal(4,1)"),
	BAD_ROWS(ROWS, "d", "\x92\x01\x91\x91\xcd\x03\xe8", "column 'd' is no decimal(4,1)"),
	BAD_ROWS(ROWS, "D", "\x92\x01\x91\x91\xce\x80\0\0\0", "column 'D' is no date"),
	BAD_ROWS(ROWS, "t", "\x92\x01\x91\x91\xd6\xff\0\0\0", "cut short|no array|no timestamp"),
	BAD_ROWS(ROWS, "t", "\x92\x01\x91\x91\xd6\x01\0\0\0\0", "column 't' is no timestamp"),
	BAD_ROWS(ROWS, "t", "\x92\x01\x91\x91\xc7\x0c\xff\x3b\x9a\xca\0\0\0\0\0\0\0\0\0", "is no timestamp"),
	BAD_ROWS(ROWS, "t", "\x92\x01\x91\x91\xc7\x0c\xff\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
		"is no timestamp"),
	BAD_ROWS(ROWS, "u", "\x92\x01\x91\x91\xd6\xff\0\0\0\0", "column 'u' is no duration"),
	BAD_ROWS(ROWS, "s", "\x92\x01\x91\x91\xc4\x01x", "column 's' is no string"),
	BAD_ROWS(ROWS, "s", "\x92\x01\x91\x91\xa1\xff", "column 's' is no string"),
	BAD_ROWS(ROWS, "y", "\x92\x01\x91\x91\x01", "column 'y' is no bytes"),
	BAD_ROWS(ROWS, "a", "\x92\x01\x91\x91\x91\xa1\xff", "ROWS: a malformed any value"),
	BAD_ROWS(ROWS, "a", "\x92\x01\x91\x91\xc1", "ROWS: "),
	BAD_ROWS(ROWS, "!i", "\x92\x01\x91\x91\x05", "row 1 is no array of 2 values"),
	BAD_ROWS(ROWS, "!i", "\x92\x01\x91\x92\x05\x04", "row 1 has no op"),
	BAD_ROWS(ROWS, "!i", "\x92\x01\x91\x92\x05\xa1x", "row 1 has no op"),
};

/* says: any one of the texts between |. */
static bool says_one_of(const char *text, const char *says)
{
	char one[128];

	for (; *says; says += strcspn(says, "|"), says += *says == '|') {
		snprintf(one, sizeof one, "%.*s", (int)strcspn(says, "|"), says);
		if (strstr(text, one))
			return true;
	}
	return false;
}

static void every_malformed_body_is_refused_with_its_reason(void **state)
{
	for (size_t i = 0; i < COUNT(malformed_cases); i++) {
		const struct malformed_case *c = &malformed_cases[i];
		uint8_t *body = copy_of(c->body, c->len, 0);
		struct frame f = {c->kind, body, (uint32_t)c->len};
		struct error e = ERROR_INIT;
		struct schema s;

		schema_of(&s, c->schema);
		if (read_any_kind(&f, &s, &e) != -1)
			fail_msg("case %zu (%s) was taken", i, c->says);
		if (e.code != ERROR_DATA || !says_one_of(e.text, c->says))
			fail_msg("case %zu: '%s' (%d) instead of '%s'", i, e.text, e.code, c->says);
		schema_clear(&s);
		mem_free(body);
	}
}

/* ---- what is right ---- */

/* The rows as batch_put_row shows them, one a line, ops in front. */
static void put_rows(const struct batch *b, struct buf *out)
{
	for (uint32_t r = 0; r < b->rows; r++) {
		if (b->ops)
			buf_printf(out, "%u ", b->ops[r]);
		batch_put_row(b, r, out);
		buf_put_byte(out, '\n');
	}
}

struct good_case {
	uint8_t kind;
	const char *schema;
	const char *body;
	size_t len;
	const char *rows;
};

#define GOOD(kind, schema, body, rows) {FRAME_##kind, schema, BYTES(body), rows}

static const struct good_case good_cases[] = {
	GOOD(ROWS, "", "\x92\x01\x90", ""),
	GOOD(ROWS, "", "\x92\x01\x92\x90\x90", "\n\n"),
	GOOD(ROWS, "i", "\x92\x01\x90", ""),
	GOOD(ROWS, "i", "\x92\x01\x94\x91\xc0\x91\x01\x91\xe0\x91\xd3\x80\0\0\0\0\0\0\0",
		"i=null\ni=1\ni=-32\ni=-9223372036854775808\n"),
	GOOD(ROWS, "b", "\x92\x01\x93\x91\xc2\x91\xc3\x91\xc0", "b=false\nb=true\nb=null\n"),
	GOOD(ROWS, "f", "\x92\x01\x94\x91\x07\x91\xcb\x3f\xe0\0\0\0\0\0\0\x91\xca\x3e\x80\0\0"
		"\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "f=7.0\nf=0.5\nf=0.25\nf=1.8446744073709552e19\n"),
	GOOD(ROWS, "d", "\x92\x01\x94\x91\xa5-12.5\x91\x03\x91\xa5" "999.9\x91\xc0",
		"d=-12.5\nd=3.0\nd=999.9\nd=null\n"),
	GOOD(ROWS, "D", "\x92\x01\x92\x91\x00\x91\xff", "D=1970-01-01\nD=1969-12-31\n"),
	GOOD(ROWS, "t", "\x92\x01\x94\x91\x01\x91\xd6\xff\0\0\0\x02\x91\xd7\xff\x3b\x9a\xc9\xfc\0\0\0\x01"
		"\x91\xc7\x0c\xff\x1d\xcd\x65\0\xff\xff\xff\xff\xff\xff\xff\xff",
		"t=1970-01-01T00:00:00.000001Z\nt=1970-01-01T00:00:02Z\n"
		"t=1970-01-01T00:00:01.249999Z\nt=1969-12-31T23:59:59.500Z\n"),
	GOOD(ROWS, "u", "\x92\x01\x91\x91\xce\x05\x5d\x4a\x80", "u=1m30s\n"),
	GOOD(ROWS, "s", "\x92\x01\x93\x91\xa0\x91\xa2\xc3\xa9\x91\xd9\x01x", "s=\ns=é\ns=x\n"),
	GOOD(ROWS, "y", "\x92\x01\x92\x91\xc4\x02\xff\x00\x91\xa1x", "y=\\xff00\ny=\\x78\n"),
	GOOD(ROWS, "a", "\x92\x01\x93\x91\xc0\x91\x05\x91\x81\xa1k\x92\x01\xc0",
		"a=null\na=5\na={\"k\":[1,null]}\n"),
	GOOD(ROWS, "!i", "\x92\x01\x92\x92\x05\x00\x92\xc0\x03", "0 i=5\n3 i=null\n"),
	GOOD(ROWS, "!", "\x92\x01\x91\x91\x02", "2 \n"),
	GOOD(BATCH, "", "\x92\x01\x03", "\n\n\n"),
	GOOD(BATCH, "", "\x95\x01\x01\xc0\xc0\xc0", "\n"),
	GOOD(BATCH, "i", "\x94\x01\x00\xc4\x00\xc4\x00", ""),
	GOOD(BATCH, "s", "\x95\x01\x00\xc4\x00\xc4\x04\0\0\0\0\xc4\x00", ""),
	GOOD(BATCH, "i", "\x95\x01\x01\xc0\xc5\0\0\xc5\0\x08\5\0\0\0\0\0\0\0", "i=5\n"),
	GOOD(BATCH, "is", "\x9a\x01\x02\xc0\xc4\x00\xc4\x10\5\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"
		"\xc0\xc4\x01\x01\xc6\0\0\0\x0c\0\0\0\0\1\0\0\0\1\0\0\0\xc4\x01x\xc0",
		"i=5, s=x\ni=-1, s=null\n"),
	/* what lies under a null may be anything */
	GOOD(BATCH, "b", "\x94\x01\x02\xc4\x01\1\xc4\x02\1\xff", "b=true\nb=null\n"),
	GOOD(BATCH, "d", "\x94\x01\x01\xc4\x01\0\xc4\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80", "d=null\n"),
	GOOD(BATCH, "s", "\x95\x01\x01\xc4\x01\0\xc4\x08\0\0\0\0\1\0\0\0\xc4\x01\xff", "s=null\n"),
	GOOD(BATCH, "a", "\x95\x01\x01\xc4\x01\0\xc4\x08\0\0\0\0\1\0\0\0\xc4\x01\xc1", "a=null\n"),
	GOOD(BATCH, "!", "\x93\x01\x04\xc4\x04\0\1\2\3", "0 \n1 \n2 \n3 \n"),
};

static void rows_and_batches_of_other_writers_are_read(void **state)
{
	for (size_t i = 0; i < COUNT(good_cases); i++) {
		const struct good_case *c = &good_cases[i];
		uint8_t *body = copy_of(c->body, c->len, i % 3);
		struct frame f = {c->kind, body + i % 3, (uint32_t)c->len};
		struct arena arena = ARENA_INIT;
		struct error e = ERROR_INIT;
		struct buf rows = BUF_INIT;
		struct batch batch;
		struct schema s;

		schema_of(&s, c->schema);
		if (frame_read_batch(&f, &s, true, &arena, &batch, &e) < 0)
			fail_msg("case %zu: %s", i, e.text);
		put_rows(&batch, &rows);
		assert_string_equal(buf_cstr(&rows), c->rows);
		buf_clear(&rows);
		arena_clear(&arena);
		schema_clear(&s);
		mem_free(body);
	}
}

static struct frame frame_in(const struct buf *b, size_t from)
{
	struct frame f = {.kind = b->data[from + 5], .body = b->data + from + FRAME_HEADER_BYTES};

	assert_int_equal(b->data[from], 0xc9);
	for (int i = 0; i < 4; i++)
		f.body_bytes = f.body_bytes << 8 | b->data[from + 1 + i];
	assert_int_equal(from + FRAME_HEADER_BYTES + f.body_bytes, b->len);
	return f;
}

static void assert_read_back(const struct batch *b, const struct buf *bytes, size_t shift)
{
	uint8_t *copy = copy_of(bytes->data, bytes->len, shift);
	struct frame f = {FRAME_BATCH, copy + shift + FRAME_HEADER_BYTES,
		(uint32_t)(bytes->len - FRAME_HEADER_BYTES)};
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	struct batch back;
	const char *what;
	uint32_t id = 0;

	if (frame_read_schema_id(&f, &id, &e) < 0 ||
		frame_read_batch(&f, b->schema, true, &arena, &back, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(id, 7);
	what = batches_differ(b, &back);
	if (what)
		fail_msg("%s", what);
	for (size_t i = 0; i < b->schema->fields_len; i++) {
		assert_int_equal((uintptr_t)back.columns[i].data & 7 &
			(type_width(back.columns[i].type) - 1), 0);
		assert_int_equal((uintptr_t)back.columns[i].offsets & 3, 0);
	}
	arena_clear(&arena);
	mem_free(copy);
}

/* Cuts at every length and single flipped bytes: refused or taken, never read beyond. */
static void damage(const struct batch *b, const struct buf *bytes)
{
	size_t len = bytes->len - FRAME_HEADER_BYTES;

	for (int i = 0; i < 40; i++) {
		size_t cut = i < 20 ? random_below((uint32_t)len) : len;
		uint8_t *copy = copy_of(bytes->data + FRAME_HEADER_BYTES, cut, 0);
		struct frame f = {FRAME_BATCH, copy, (uint32_t)cut};
		struct arena arena = ARENA_INIT;
		struct error e = ERROR_INIT;
		struct buf shown = BUF_INIT;
		struct batch back;

		if (cut == len)
			copy[random_below((uint32_t)len)] ^= (uint8_t)(1 + random_below(255));
		if (frame_read_batch(&f, b->schema, true, &arena, &back, &e) == 0) {
			assert_int_equal(cut, len);
			if (back.rows <= 200)
				put_rows(&back, &shown);
		} else {
			assert_int_equal(e.code, ERROR_DATA);
		}
		buf_clear(&shown);
		arena_clear(&arena);
		mem_free(copy);
	}
}

/* Where the data of every bin lies: at multiples of 16, and so does the end. */
static void assert_aligned(const struct buf *bytes)
{
	struct frame f = frame_in(bytes, 0);
	struct msgpack m = {f.body, f.body + f.body_bytes};
	struct msgpack_item item;

	assert_int_equal(bytes->len % FRAME_ALIGN, 0);
	assert_int_equal(f.body[0], 0xdd);
	while (msgpack_next(&m, &item) == 0) {
		if (item.kind == MSGPACK_BIN && item.bytes_len)
			assert_int_equal((item.bytes - bytes->data) % FRAME_ALIGN, 0);
		if (item.kind == MSGPACK_BIN)
			assert_int_equal(item.bytes[-5], 0xc6);
	}
}

static void random_batches_and_their_slices_come_back(void **state)
{
	random_seed(1);
	for (int i = 0; i < 400; i++) {
		struct schema s;
		struct batch_builder b;
		struct arena arena = ARENA_INIT;
		struct buf bytes = BUF_INIT;
		const struct batch *whole;
		struct batch slice;
		uint32_t first;

		random_schema(&s, 6);
		batch_builder_init(&b, &s);
		random_rows(&b, random_below(i < 200 ? 20 : 200));
		whole = batch_builder_view(&b);
		frame_put_batch(&bytes, 7, whole);
		assert_aligned(&bytes);
		assert_read_back(whole, &bytes, 0);
		assert_read_back(whole, &bytes, 1 + random_below(16));
		damage(whole, &bytes);
		first = random_below(whole->rows + 1);
		batch_slice(whole, first, random_below(whole->rows - first + 1), &arena, &slice);
		buf_reset(&bytes);
		frame_put_batch(&bytes, 7, &slice);
		assert_read_back(&slice, &bytes, random_below(16));
		arena_clear(&arena);
		buf_clear(&bytes);
		batch_builder_clear(&b);
		schema_clear(&s);
	}
}

static void random_schemas_come_back(void **state)
{
	random_seed(2);
	for (int i = 0; i < 300; i++) {
		struct buf bytes = BUF_INIT;
		struct error e = ERROR_INIT;
		struct schema s, back;
		struct frame f;
		uint32_t id;

		random_schema(&s, 12);
		if (i % 3 == 0)
			schema_set_name(&s, "@stage");
		frame_put_schema(&bytes, (uint32_t)i, &s);
		f = frame_in(&bytes, 0);
		assert_int_equal(frame_read_schema(&f, &id, &back, &e), 0);
		assert_int_equal(id, i);
		assert_true(schema_equal(&s, &back));
		schema_clear(&back);
		schema_clear(&s);
		buf_clear(&bytes);
	}
}

static void a_schema_takes_columns_by_number_and_ignores_what_it_does_not_know(void **state)
{
	static const char body[] = "\x93\x05\x92\x92\xa1x\xa9timestamp\x92\xa1y\xa6" "BIGINT"
		"\x84\xa3new\x92\x01\x81\x01\x02\xa4time\x92\x00\xff\xa3key\x91\x01\xa9" "changelog\xc2";
	struct frame f = {FRAME_SCHEMA, (const uint8_t *)body, sizeof body - 1};
	struct error e = ERROR_INIT;
	struct schema s;
	uint32_t id;

	if (frame_read_schema(&f, &id, &s, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(id, 5);
	assert_int_equal(s.time_column, 0);
	assert_int_equal(s.time_offset_us, -1);
	assert_int_equal(s.keys_len, 1);
	assert_int_equal(s.keys[0], 1);
	assert_int_equal(s.fields[1].type.kind, TYPE_INT);
	assert_false(s.changelog);
	schema_clear(&s);
}

static void small_frames_come_back(void **state)
{
	static const int64_t ints[] = {0, 1, -1, 127, 128, -32, -33, INT64_MIN, INT64_MAX, 1357034400000000};
	struct buf b = BUF_INIT, stage = BUF_INIT, message = BUF_INIT;
	struct hello hello = {.version = 1, .stage = "smap", .bounded = true}, hello_back;
	struct barrier barrier = {5, BARRIER_SAVEPOINT, 77}, barrier_back;
	struct error e = ERROR_INIT;
	struct frame f;
	char source[64];
	uint64_t rows;
	int64_t v;
	bool idle;

	for (size_t i = 0; i < COUNT(ints); i++) {
		buf_reset(&b);
		frame_put_watermark(&b, ints[i]);
		f = frame_in(&b, 0);
		assert_int_equal(f.kind, FRAME_WATERMARK);
		assert_int_equal(frame_read_int(&f, &v, &e), 0);
		assert_true(v == ints[i]);
		buf_reset(&b);
		frame_put_marker(&b, "src", ints[i]);
		f = frame_in(&b, 0);
		assert_int_equal(frame_read_marker(&f, source, &v, &e), 0);
		assert_true(v == ints[i] && !strcmp(source, "src"));
	}
	buf_reset(&b);
	frame_put_hello(&b, &hello);
	f = frame_in(&b, 0);
	assert_int_equal(frame_read_hello(&f, &hello_back, &e), 0);
	assert_true(hello_back.version == 1 && hello_back.bounded && !strcmp(hello_back.stage, "smap"));
	buf_reset(&b);
	frame_put_barrier(&b, &barrier);
	f = frame_in(&b, 0);
	assert_int_equal(frame_read_barrier(&f, &barrier_back, &e), 0);
	assert_true(barrier_back.checkpoint == 5 && barrier_back.kind == BARRIER_SAVEPOINT &&
		barrier_back.started_us == 77);
	buf_reset(&b);
	frame_put_end(&b, UINT64_C(1) << 40);
	f = frame_in(&b, 0);
	assert_int_equal(frame_read_end(&f, &rows, &e), 0);
	assert_true(rows == UINT64_C(1) << 40);
	buf_reset(&b);
	frame_put_status(&b, true);
	f = frame_in(&b, 0);
	assert_int_equal(frame_read_status(&f, &idle, &e), 0);
	assert_true(idle);
	buf_reset(&b);
	frame_put_error(&b, "smap", "no");
	f = frame_in(&b, 0);
	assert_int_equal(frame_read_error(&f, &stage, &message, &e), 0);
	assert_string_equal(buf_cstr(&stage), "smap");
	assert_string_equal(buf_cstr(&message), "no");
	buf_clear(&b);
	buf_clear(&stage);
	buf_clear(&message);
}

/* A message is cut at its array's size, and shows bytes of files: neither may cost the reader it. */
static void an_error_whose_text_is_no_utf8_is_still_told(void **state)
{
	struct buf b = BUF_INIT, stage = BUF_INIT, message = BUF_INIT;
	struct error e = ERROR_INIT;
	struct frame f;

	frame_put_error(&b, "sm\xc3", "caf\xe9 is \xf0\x9f\x98");
	f = frame_in(&b, 0);
	if (frame_read_error(&f, &stage, &message, &e) < 0)
		fail_msg("%s", e.text);
	assert_string_equal(buf_cstr(&stage), "sm?");
	assert_string_equal(buf_cstr(&message), "caf? is ???");
	buf_clear(&b);
	buf_clear(&stage);
	buf_clear(&message);
}

static void long_names_are_cut_at_a_character(void **state)
{
	struct buf b = BUF_INIT;
	struct error e = ERROR_INIT;
	char name[80], source[64];
	struct frame f;
	int64_t v;

	memset(name, 'x', sizeof name);
	memcpy(name + 62, "é", 2);
	name[70] = '\0';
	frame_put_marker(&b, name, 1);
	f = frame_in(&b, 0);
	assert_int_equal(frame_read_marker(&f, source, &v, &e), 0);
	assert_int_equal(strlen(source), 62);
	buf_clear(&b);
}

static void packed_frames_come_back(void **state)
{
	static const char *const codecs[] = {"lz4", "zstd"};

	for (size_t i = 0; i < COUNT(codecs); i++) {
		for (size_t len = 0; len < 5000; len = len * 3 + 1) {
			struct buf raw = BUF_INIT, packed = BUF_INIT, back = BUF_INIT;
			struct error e = ERROR_INIT;
			struct frame f;

			for (size_t k = 0; k < len; k++)
				buf_put_byte(&raw, (uint8_t)(k * k >> 3));
			assert_int_equal(frame_put_packed(&packed, codecs[i], &raw, &e), 0);
			f = frame_in(&packed, 0);
			assert_int_equal(f.kind, FRAME_PACKED);
			if (frame_read_packed(&f, &back, &e) < 0)
				fail_msg("%s, %zu bytes: %s", codecs[i], len, e.text);
			assert_int_equal(back.len, len);
			assert_true(!len || !memcmp(back.data, raw.data, len));
			buf_clear(&raw);
			buf_clear(&packed);
			buf_clear(&back);
		}
	}
}

static void what_does_not_shrink_below_the_limit_is_not_packed(void **state)
{
	struct buf raw = BUF_INIT, packed = BUF_INIT;
	struct error e = ERROR_INIT;

	buf_reserve(&raw, FRAME_BODY_MAX);
	raw.len = FRAME_BODY_MAX;
	for (size_t i = 0; i < raw.len; i += 8) {
		uint64_t word = random_word();

		memcpy(raw.data + i, &word, 8);
	}
	assert_int_equal(frame_put_packed(&packed, "lz4", &raw, &e), -1);
	assert_int_equal(e.code, ERROR_DATA);
	assert_int_equal(packed.len, 0);
	buf_clear(&raw);
	buf_clear(&packed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_malformed_body_is_refused_with_its_reason),
		cmocka_unit_test(rows_and_batches_of_other_writers_are_read),
		cmocka_unit_test(a_schema_takes_columns_by_number_and_ignores_what_it_does_not_know),
		cmocka_unit_test(small_frames_come_back),
		cmocka_unit_test(an_error_whose_text_is_no_utf8_is_still_told),
		cmocka_unit_test(long_names_are_cut_at_a_character),
		cmocka_unit_test(random_schemas_come_back),
		cmocka_unit_test(random_batches_and_their_slices_come_back),
		cmocka_unit_test(packed_frames_come_back),
		cmocka_unit_test(what_does_not_shrink_below_the_limit_is_not_packed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
