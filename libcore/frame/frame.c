#include "libcore/frame/frame.h"

#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"
#include "libcore/frame/batch_layout.h"

#include <lz4.h>
#include <stdio.h>
#include <zstd.h>

const char *barrier_kind_name(enum barrier_kind kind)
{
	switch (kind) {
	case BARRIER_CHECKPOINT: return "checkpoint";
	case BARRIER_SAVEPOINT: return "savepoint";
	case BARRIER_FINAL: return "final";
	}
	return "unknown";
}

const char *frame_kind_name(uint8_t kind)
{
	static const char *const names[] = {"HELLO", "SCHEMA", "BATCH", "ROWS", "WATERMARK", "BARRIER",
		"END", "STATUS", "MARKER", "ERROR", "TICK", "PACKED", "EPOCH"};

	return kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

/* ---- writing ---- */

/* Leaves room for the head; returns where the frame starts. */
static size_t frame_begin(struct buf *b)
{
	size_t at = b->len;

	buf_reserve(b, FRAME_HEADER_BYTES);
	b->len += FRAME_HEADER_BYTES;
	return at;
}

static void frame_finish(struct buf *b, size_t at, enum frame_kind kind)
{
	size_t body = b->len - at - FRAME_HEADER_BYTES;
	uint8_t *p = b->data + at;

	MUST(body <= FRAME_BODY_MAX);
	p[0] = 0xc9;
	p[1] = (uint8_t)(body >> 24);
	p[2] = (uint8_t)(body >> 16);
	p[3] = (uint8_t)(body >> 8);
	p[4] = (uint8_t)body;
	p[5] = (uint8_t)kind;
}

static void put_text(struct buf *b, const char *text)
{
	msgpack_put_str(b, text, strlen(text));
}

/* Text that may hold bytes of a file or a character cut in half: what is no UTF-8 becomes '?'. */
static void put_message(struct buf *b, const char *text)
{
	size_t len = strlen(text), good;
	uint8_t *copy;

	msgpack_put_str(b, text, len);
	copy = b->data + b->len - len;
	while ((good = utf8_valid_len((const char *)copy, len)) < len) {
		copy[good] = '?';
		copy += good + 1;
		len -= good + 1;
	}
}

void frame_put(struct buf *b, const struct frame *f)
{
	size_t at = frame_begin(b);

	buf_put(b, f->body, f->body_bytes);
	frame_finish(b, at, (enum frame_kind)f->kind);
}

void frame_put_hello(struct buf *b, const struct hello *h)
{
	size_t at = frame_begin(b);

	msgpack_put_array(b, 3);
	put_text(b, "runnel");
	msgpack_put_uint(b, h->version);
	msgpack_put_map(b, 3);
	put_text(b, "endian");
	put_text(b, "little");
	put_text(b, "stage");
	put_message(b, h->stage);
	put_text(b, "bounded");
	msgpack_put_bool(b, h->bounded);
	frame_finish(b, at, FRAME_HELLO);
}

static void put_schema_options(struct buf *b, const struct schema *s)
{
	msgpack_put_map(b, (s->time_column >= 0) + (s->keys_len > 0) + s->changelog + (s->name != NULL));
	if (s->time_column >= 0) {
		put_text(b, "time");
		msgpack_put_array(b, 2);
		put_text(b, s->fields[s->time_column].name);
		msgpack_put_int(b, s->time_offset_us);
	}
	if (s->keys_len > 0) {
		put_text(b, "key");
		msgpack_put_array(b, (uint32_t)s->keys_len);
		for (size_t i = 0; i < s->keys_len; i++)
			put_text(b, s->fields[s->keys[i]].name);
	}
	if (s->changelog) {
		put_text(b, "changelog");
		msgpack_put_bool(b, true);
	}
	if (s->name) {
		put_text(b, "name");
		put_text(b, s->name);
	}
}

void frame_put_schema(struct buf *b, uint32_t id, const struct schema *s)
{
	size_t at = frame_begin(b);
	struct buf type = BUF_INIT;

	msgpack_put_array(b, 3);
	msgpack_put_uint(b, id);
	msgpack_put_array(b, (uint32_t)s->fields_len);
	for (size_t i = 0; i < s->fields_len; i++) {
		buf_reset(&type);
		type_put(s->fields[i].type, &type);
		msgpack_put_array(b, 2);
		put_text(b, s->fields[i].name);
		msgpack_put_str(b, (const char *)type.data, type.len);
	}
	buf_clear(&type);
	put_schema_options(b, s);
	frame_finish(b, at, FRAME_SCHEMA);
}

void frame_put_batch(struct buf *b, uint32_t schema_id, const struct batch *batch)
{
	struct batch_layout l = {.pieces = NULL};

	batch_layout_make(&l, schema_id, batch);
	MUST(l.frame_bytes - FRAME_HEADER_BYTES <= FRAME_BODY_MAX);
	buf_reserve(b, l.frame_bytes);
	for (size_t i = 0; i < l.pieces_len; i++) {
		buf_put(b, l.heads.data + l.pieces[i].head_at, l.pieces[i].head_len);
		buf_put(b, l.pieces[i].data, l.pieces[i].data_len);
	}
	batch_layout_clear(&l);
}

static void put_int_frame(struct buf *b, enum frame_kind kind, int64_t v)
{
	size_t at = frame_begin(b);

	msgpack_put_int(b, v);
	frame_finish(b, at, kind);
}

void frame_put_watermark(struct buf *b, int64_t event_us)
{
	put_int_frame(b, FRAME_WATERMARK, event_us);
}

void frame_put_tick(struct buf *b, int64_t now_us)
{
	put_int_frame(b, FRAME_TICK, now_us);
}

void frame_put_barrier(struct buf *b, const struct barrier *barrier)
{
	size_t at = frame_begin(b);

	msgpack_put_array(b, 3);
	msgpack_put_uint(b, barrier->checkpoint);
	msgpack_put_uint(b, barrier->kind);
	msgpack_put_int(b, barrier->started_us);
	frame_finish(b, at, FRAME_BARRIER);
}

void frame_put_end(struct buf *b, uint64_t rows)
{
	size_t at = frame_begin(b);

	msgpack_put_array(b, 1);
	msgpack_put_uint(b, rows);
	frame_finish(b, at, FRAME_END);
}

void frame_put_status(struct buf *b, bool idle)
{
	size_t at = frame_begin(b);

	msgpack_put_bool(b, idle);
	frame_finish(b, at, FRAME_STATUS);
}

void frame_put_marker(struct buf *b, const char *source, int64_t sent_us)
{
	size_t at = frame_begin(b);

	msgpack_put_array(b, 2);
	put_message(b, source);
	msgpack_put_int(b, sent_us);
	frame_finish(b, at, FRAME_MARKER);
}

void frame_put_error(struct buf *b, const char *stage, const char *message)
{
	size_t at = frame_begin(b);

	msgpack_put_array(b, 2);
	put_message(b, stage);
	put_message(b, message);
	frame_finish(b, at, FRAME_ERROR);
}

void frame_put_epoch(struct buf *b, const struct epoch_note *n)
{
	size_t at = frame_begin(b);

	msgpack_put_array(b, 6);
	msgpack_put_uint(b, n->verb);
	put_text(b, n->job);
	put_text(b, n->stage);
	msgpack_put_uint(b, n->subtask);
	msgpack_put_uint(b, n->number);
	msgpack_put_uint(b, n->count);
	frame_finish(b, at, FRAME_EPOCH);
}

/* ---- reading ---- */

static int malformed(struct error *e, const char *what)
{
	error_set(e, ERROR_DATA, "malformed frame: %s", what);
	return -1; /* said here, so that compilers see what is set where this isn't returned */
}

static struct msgpack body_of(const struct frame *f)
{
	return (struct msgpack){f->body, f->body + f->body_bytes};
}

static int take_kind(struct msgpack *m, enum msgpack_kind kind, struct msgpack_item *out,
	const char *what, struct error *e)
{
	if (msgpack_next(m, out) != 0 || out->kind != kind)
		return malformed(e, what);
	return 0;
}

static int take_array(struct msgpack *m, uint32_t at_least, uint32_t *count, const char *what,
	struct error *e)
{
	struct msgpack_item item;

	if (take_kind(m, MSGPACK_ARRAY, &item, what, e) < 0 || item.count < at_least)
		return malformed(e, what);
	*count = item.count;
	return 0;
}

static int take_uint32(struct msgpack *m, uint32_t *out, const char *what, struct error *e)
{
	struct msgpack_item item;

	if (take_kind(m, MSGPACK_INT, &item, what, e) < 0)
		return -1;
	if (item.integer < 0 || item.integer > UINT32_MAX)
		return malformed(e, what);
	*out = (uint32_t)item.integer;
	return 0;
}

static int take_text(struct msgpack *m, struct msgpack_item *out, const char *what,
	struct error *e)
{
	if (take_kind(m, MSGPACK_STR, out, what, e) < 0)
		return -1;
	if (!utf8_valid((const char *)out->bytes, out->bytes_len) ||
		memchr(out->bytes, 0, out->bytes_len))
		return malformed(e, what);
	return 0;
}

static bool item_is(const struct msgpack_item *item, const char *text)
{
	return item->kind == MSGPACK_STR && item->bytes_len == strlen(text) &&
		!memcmp(item->bytes, text, item->bytes_len);
}

static void copy_text(char *to, size_t to_bytes, const struct msgpack_item *item)
{
	size_t len = item->bytes_len;

	if (len > to_bytes - 1) { /* not through the middle of a character */
		len = to_bytes - 1;
		while (len && (item->bytes[len] & 0xc0) == 0x80)
			len--;
	}
	memcpy(to, item->bytes, len);
	to[len] = '\0';
}

static int read_hello_map(struct msgpack *m, struct hello *out, struct error *e)
{
	struct msgpack_item map, key, value;

	if (take_kind(m, MSGPACK_MAP, &map, "HELLO: the third element is no map", e) < 0)
		return -1;
	for (uint32_t i = 0; i < map.count; i++) {
		struct msgpack look;

		if (take_text(m, &key, "HELLO: a key is no text", e) < 0)
			return -1;
		look = *m;
		if (msgpack_skip(m) < 0)
			return malformed(e, "HELLO: cut short");
		if (msgpack_next(&look, &value) != 0)
			return malformed(e, "HELLO: cut short");
		if (item_is(&key, "bounded") && value.kind == MSGPACK_BOOL)
			out->bounded = value.boolean;
		else if (item_is(&key, "stage") && value.kind == MSGPACK_STR)
			copy_text(out->stage, sizeof out->stage, &value);
		else if (item_is(&key, "endian") && !item_is(&value, "little"))
			return malformed(e, "HELLO: only little endian streams can be read");
	}
	return 0;
}

int frame_read_hello(const struct frame *f, struct hello *out, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item magic;
	uint32_t count;

	*out = (struct hello){.stage = "unnamed"};
	if (take_array(&m, 2, &count, "HELLO is no array of two or more", e) < 0 ||
		take_text(&m, &magic, "HELLO: no text in front", e) < 0 ||
		take_uint32(&m, &out->version, "HELLO: no version", e) < 0)
		return -1;
	if (!item_is(&magic, "runnel"))
		return malformed(e, "HELLO does not say runnel");
	if (out->version < FRAME_VERSION_OLDEST || out->version > FRAME_VERSION)
		return error_set(e, ERROR_DATA, "the stream has version %u of the frames, "
			"this program reads %d to %d", out->version, FRAME_VERSION_OLDEST, FRAME_VERSION);
	return count > 2 ? read_hello_map(&m, out, e) : 0;
}

static int read_fields(struct msgpack *m, struct schema *out, struct error *e)
{
	uint32_t fields;

	if (take_array(m, 0, &fields, "SCHEMA: the columns are no array", e) < 0)
		return -1;
	if (fields > SCHEMA_FIELDS_MAX)
		return error_set(e, ERROR_DATA, "malformed frame: SCHEMA: %u columns, the limit is %d",
			fields, SCHEMA_FIELDS_MAX);
	for (uint32_t i = 0; i < fields; i++) {
		struct msgpack_item name, type;
		struct type t;
		uint32_t two;

		if (take_array(m, 2, &two, "SCHEMA: a column is no [name, type]", e) < 0 ||
			take_text(m, &name, "SCHEMA: a name is no text", e) < 0 ||
			take_text(m, &type, "SCHEMA: a type is no text", e) < 0)
			return -1;
		if (type_parse((const char *)type.bytes, type.bytes_len, &t, e) < 0) {
			e->code = ERROR_DATA;
			return error_context(e, "malformed frame: SCHEMA: column %u", i + 1);
		}
		if (schema_find(out, (const char *)name.bytes, name.bytes_len) >= 0)
			return error_set(e, ERROR_DATA,
				"malformed frame: SCHEMA: two columns are named '%.*s'",
				(int)name.bytes_len, (const char *)name.bytes);
		schema_add(out, (const char *)name.bytes, name.bytes_len, t);
	}
	return 0;
}

/* A column by name, or by number. */
static int take_column(struct msgpack *m, const struct schema *s, int *out, struct error *e)
{
	struct msgpack_item item;

	*out = -1;
	if (msgpack_next(m, &item) != 0)
		return malformed(e, "SCHEMA: cut short");
	if (item.kind == MSGPACK_STR)
		*out = schema_find(s, (const char *)item.bytes, item.bytes_len);
	else if (item.kind == MSGPACK_INT && item.integer >= 0 &&
		item.integer < (int64_t)s->fields_len)
		*out = (int)item.integer;
	return *out < 0 ? malformed(e, "SCHEMA: time or key names no column") : 0;
}

static int read_time(struct msgpack *m, struct schema *out, struct error *e)
{
	struct msgpack_item offset;
	uint32_t two;

	if (take_array(m, 2, &two, "SCHEMA: time is no [column, offset]", e) < 0 ||
		take_column(m, out, &out->time_column, e) < 0 ||
		take_kind(m, MSGPACK_INT, &offset, "SCHEMA: time offset is no int", e) < 0)
		return -1;
	out->time_offset_us = offset.integer;
	if (out->fields[out->time_column].type.kind != TYPE_TIMESTAMP)
		return malformed(e, "SCHEMA: the time column is no timestamp");
	return 0;
}

static int read_keys(struct msgpack *m, struct schema *out, struct error *e)
{
	int *columns;
	uint32_t n;
	int status = 0;

	if (take_array(m, 0, &n, "SCHEMA: key is no array", e) < 0)
		return -1;
	if (n > SCHEMA_FIELDS_MAX)
		return malformed(e, "SCHEMA: too many key columns");
	columns = mem_alloc(n * sizeof *columns);
	for (uint32_t i = 0; i < n && status == 0; i++)
		status = take_column(m, out, &columns[i], e);
	if (status == 0)
		schema_set_keys(out, columns, n);
	mem_free(columns);
	return status;
}

static int read_schema_option(struct msgpack *m, struct schema *out, struct error *e)
{
	struct msgpack_item key, value;

	if (take_text(m, &key, "SCHEMA: an option's name is no text", e) < 0)
		return -1;
	if (item_is(&key, "time"))
		return read_time(m, out, e);
	if (item_is(&key, "key"))
		return read_keys(m, out, e);
	if (item_is(&key, "changelog")) {
		if (take_kind(m, MSGPACK_BOOL, &value, "SCHEMA: changelog is no bool", e) < 0)
			return -1;
		out->changelog = value.boolean;
		return 0;
	}
	if (item_is(&key, "name")) {
		char name[128];

		if (take_text(m, &value, "SCHEMA: name is no text", e) < 0)
			return -1;
		copy_text(name, sizeof name, &value);
		schema_set_name(out, name);
		return 0;
	}
	return msgpack_skip(m) < 0 ? malformed(e, "SCHEMA: cut short") : 0;
}

int frame_read_schema(const struct frame *f, uint32_t *id, struct schema *out, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item map;
	uint32_t count;

	schema_init(out);
	if (take_array(&m, 2, &count, "SCHEMA is no array of two or more", e) < 0 ||
		take_uint32(&m, id, "SCHEMA: no id", e) < 0 || read_fields(&m, out, e) < 0)
		goto fail;
	if (count == 2)
		return 0;
	if (take_kind(&m, MSGPACK_MAP, &map, "SCHEMA: the third element is no map", e) < 0)
		goto fail;
	for (uint32_t i = 0; i < map.count; i++) {
		if (read_schema_option(&m, out, e) < 0)
			goto fail;
	}
	return 0;
fail:
	schema_clear(out);
	return -1;
}

int frame_read_schema_id(const struct frame *f, uint32_t *id, struct error *e)
{
	struct msgpack m = body_of(f);
	uint32_t count;

	if (take_array(&m, 2, &count, "rows are no array of two or more", e) < 0)
		return -1;
	return take_uint32(&m, id, "rows: no schema id", e);
}

int frame_read_rows(const struct frame *f, uint32_t *id, uint32_t *rows, struct error *e)
{
	struct msgpack m = body_of(f);
	uint32_t count;

	if (take_array(&m, 2, &count, "rows are no array of two or more", e) < 0 ||
		take_uint32(&m, id, "rows: no schema id", e) < 0)
		return -1;
	return f->kind == FRAME_ROWS ? take_array(&m, 0, rows, "ROWS: no array of rows", e) :
		take_uint32(&m, rows, "BATCH: no number of rows", e);
}

int frame_read_int(const struct frame *f, int64_t *out, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item item;

	if (take_kind(&m, MSGPACK_INT, &item, "the body is no int", e) < 0)
		return -1;
	if (m.at != m.end)
		return malformed(e, "bytes behind the body");
	*out = item.integer;
	return 0;
}

int frame_read_barrier(const struct frame *f, struct barrier *out, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item id, started;
	uint32_t count, kind;

	if (take_array(&m, 3, &count, "BARRIER is no array of three", e) < 0 ||
		take_kind(&m, MSGPACK_INT, &id, "BARRIER: no id", e) < 0 ||
		take_uint32(&m, &kind, "BARRIER: no kind", e) < 0 ||
		take_kind(&m, MSGPACK_INT, &started, "BARRIER: no time", e) < 0)
		return -1;
	if (id.integer < 1 || kind > BARRIER_FINAL)
		return malformed(e, "BARRIER: unknown kind, or an id below 1");
	*out = (struct barrier){(uint64_t)id.integer, (enum barrier_kind)kind, started.integer};
	return 0;
}

int frame_read_end(const struct frame *f, uint64_t *rows, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item item;
	uint32_t count;

	if (take_array(&m, 1, &count, "END is no array of one", e) < 0 ||
		take_kind(&m, MSGPACK_INT, &item, "END: no count", e) < 0)
		return -1;
	if (item.integer < 0)
		return malformed(e, "END: a negative count");
	*rows = (uint64_t)item.integer;
	return 0;
}

int frame_read_status(const struct frame *f, bool *idle, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item item;

	if (take_kind(&m, MSGPACK_BOOL, &item, "STATUS is no bool", e) < 0)
		return -1;
	if (m.at != m.end)
		return malformed(e, "bytes behind the body");
	*idle = item.boolean;
	return 0;
}

int frame_read_marker(const struct frame *f, char source[64], int64_t *sent_us, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item name, sent;
	uint32_t count;

	if (take_array(&m, 2, &count, "MARKER is no array of two", e) < 0 ||
		take_text(&m, &name, "MARKER: no source", e) < 0 ||
		take_kind(&m, MSGPACK_INT, &sent, "MARKER: no time", e) < 0)
		return -1;
	copy_text(source, 64, &name);
	*sent_us = sent.integer;
	return 0;
}

int frame_read_error(const struct frame *f, struct buf *stage, struct buf *message, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item name, text;
	uint32_t count;

	if (take_array(&m, 2, &count, "ERROR is no array of two", e) < 0 ||
		take_text(&m, &name, "ERROR: no stage", e) < 0 ||
		take_text(&m, &text, "ERROR: no message", e) < 0)
		return -1;
	buf_put(stage, name.bytes, name.bytes_len);
	buf_put(message, text.bytes, text.bytes_len);
	return 0;
}

static int take_count(struct msgpack *m, uint64_t *out, const char *what, struct error *e)
{
	struct msgpack_item item;

	if (take_kind(m, MSGPACK_INT, &item, what, e) < 0)
		return -1;
	if (item.integer < 0)
		return malformed(e, what);
	*out = (uint64_t)item.integer;
	return 0;
}

/* Both are written into lines, and become part of a file's name. */
static bool is_plain(const struct msgpack_item *text, bool digits_only)
{
	for (uint32_t i = 0; i < text->bytes_len; i++) {
		uint8_t c = text->bytes[i];

		if (c < ' ' || c == 0x7f || (digits_only && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')))
			return false;
	}
	return true;
}

int frame_read_epoch(const struct frame *f, struct epoch_note *out, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item job, stage;
	uint64_t verb;
	uint32_t count;

	if (take_array(&m, 6, &count, "EPOCH is no array of six", e) < 0 ||
		take_count(&m, &verb, "EPOCH: no verb", e) < 0 ||
		take_text(&m, &job, "EPOCH: no job", e) < 0 ||
		take_text(&m, &stage, "EPOCH: no stage", e) < 0 ||
		take_count(&m, &out->subtask, "EPOCH: no subtask", e) < 0 ||
		take_count(&m, &out->number, "EPOCH: no number", e) < 0 ||
		take_count(&m, &out->count, "EPOCH: no count", e) < 0)
		return -1;
	if (verb > EPOCH_COMPLETE)
		return malformed(e, "EPOCH: an unknown verb");
	if (job.bytes_len != EPOCH_JOB_BYTES - 1 || !is_plain(&job, true) || !stage.bytes_len ||
		stage.bytes_len >= EPOCH_STAGE_BYTES || !is_plain(&stage, false))
		return malformed(e, "EPOCH: a job has 32 hex digits, a stage a name of up to 63 bytes");
	out->verb = (enum epoch_verb)verb;
	copy_text(out->job, sizeof out->job, &job);
	copy_text(out->stage, sizeof out->stage, &stage);
	return 0;
}

/* ---- PACKED ---- */

enum { PACKED_HEAD_BYTES = 16 }; /* array, codec, length, the head of the bin: at most */

static int pack_lz4(struct buf *out, const struct buf *raw, struct error *e)
{
	int bound = LZ4_compressBound((int)raw->len), n;

	n = LZ4_compress_default((const char *)raw->data, (char *)buf_reserve(out, (size_t)bound),
		(int)raw->len, bound);
	if (n <= 0)
		return error_set(e, ERROR_IO, "lz4 could not compress a frame");
	out->len += (size_t)n;
	return 0;
}

static int pack_zstd(struct buf *out, const struct buf *raw, struct error *e)
{
	size_t bound = ZSTD_compressBound(raw->len);
	size_t n = ZSTD_compress(buf_reserve(out, bound), bound, raw->data, raw->len, 1);

	if (ZSTD_isError(n))
		return error_set(e, ERROR_IO, "zstd: %s", ZSTD_getErrorName(n));
	out->len += n;
	return 0;
}

int frame_put_packed(struct buf *b, const char *codec, const struct buf *raw, struct error *e)
{
	struct buf packed = BUF_INIT;
	bool lz4 = !strcmp(codec, "lz4");
	size_t at;
	int status;

	MUST(raw->len <= FRAME_BODY_MAX);
	status = lz4 ? pack_lz4(&packed, raw, e) : pack_zstd(&packed, raw, e);
	if (status == 0 && packed.len > FRAME_BODY_MAX - PACKED_HEAD_BYTES)
		status = error_set(e, ERROR_DATA, "%zu bytes don't pack into one frame", raw->len);
	if (status == 0) {
		at = frame_begin(b);
		msgpack_put_array(b, 3);
		put_text(b, lz4 ? "lz4" : "zstd");
		msgpack_put_uint(b, raw->len);
		msgpack_put_bin(b, packed.data, packed.len);
		frame_finish(b, at, FRAME_PACKED);
	}
	buf_clear(&packed);
	return status;
}

int frame_read_packed(const struct frame *f, struct buf *raw, struct error *e)
{
	struct msgpack m = body_of(f);
	struct msgpack_item codec, bin;
	uint32_t count, raw_len;
	size_t n;

	if (take_array(&m, 3, &count, "PACKED is no array of three", e) < 0 ||
		take_text(&m, &codec, "PACKED: no codec", e) < 0 ||
		take_uint32(&m, &raw_len, "PACKED: no length", e) < 0 ||
		take_kind(&m, MSGPACK_BIN, &bin, "PACKED: no bytes", e) < 0)
		return -1;
	if (raw_len > FRAME_BODY_MAX)
		return malformed(e, "PACKED: larger than 64 MiB");
	buf_reset(raw);
	buf_reserve(raw, raw_len + 1);
	if (item_is(&codec, "lz4")) {
		int got = LZ4_decompress_safe((const char *)bin.bytes, (char *)raw->data,
			(int)bin.bytes_len, (int)raw_len);

		n = got < 0 ? SIZE_MAX : (size_t)got;
	} else if (item_is(&codec, "zstd")) {
		n = ZSTD_decompress(raw->data, raw_len, bin.bytes, bin.bytes_len);
	} else {
		return malformed(e, "PACKED: the codec is neither lz4 nor zstd");
	}
	if (n != raw_len)
		return malformed(e, "PACKED: the bytes don't decompress to their length");
	raw->len = raw_len;
	return 0;
}
