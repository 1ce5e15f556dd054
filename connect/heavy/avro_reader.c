/* Avro to columns, in the three forms in which it comes:
 *
 *   container  a file of its own: the schema, then blocks of records, compressed or not (null,
 *              deflate, snappy, zstandard).  A block is one piece: all of its rows come at once.
 *   bare       records one after another, whose schema is in a file (--avro-schema)
 *   registry   as Confluent's serialisers write messages: a zero byte, the schema's number in four,
 *              the record (--registry)
 *
 * The line of a malformed record is its number, from 1. */
#include "connect/heavy/avro_registry.h"
#include "connect/heavy/avro_value.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"

#include <fcntl.h>
#include <snappy-c.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum {
	BLOCK_BYTES_MAX = 256 << 20, /* of a block, packed or not */
	HEADER_BYTES_MAX = 64 << 20,
	SCHEMA_BYTES_MAX = 16 << 20,
	BAD_RECORD_BYTES = 64 << 10,
	EMPTY_RECORDS_MAX = 1 << 20, /* of a block: records of nulls take no bytes, but rows do */
	SYNC_BYTES = 16,
	NAME_BYTES_SHOWN = 32,
	SNAPPY_CHECK_BYTES = 4,
	WIRE_BYTES = 5,
};

enum avro_form { FORM_CONTAINER, FORM_BARE, FORM_REGISTRY };
enum avro_codec { CODEC_NULL, CODEC_DEFLATE, CODEC_SNAPPY, CODEC_ZSTANDARD };

/* A schema that has come, and what is made of it. */
struct known {
	uint32_t id;
	struct arena arena;
	const struct avro_node *node;
	struct avro_plan *plan; /* NULL: nothing is wanted yet */
};

struct avro_reader {
	struct reader reader;
	struct reader_options options;
	enum avro_form form;
	char *input;
	uint64_t record; /* the number of the next, from 1 */

	struct wanted_column *columns; /* copies; their texts are the caller's */
	size_t columns_len;
	struct known **known;
	size_t known_len, known_cap;
	struct known *last; /* the one that came last */
	struct avro_registry *registry;

	bool has_header; /* of a container: what it says */
	enum avro_codec codec;
	uint8_t sync[SYNC_BYTES];
	struct buf unpacked, reason, shown;
};

static struct avro_reader *self(struct reader *reader)
{
	return (struct avro_reader *)reader; /* its first member */
}

static int fail(const struct avro_reader *r, struct error *e, const char *what)
{
	return error_set(e, ERROR_DATA, "%s: record %llu: %s", r->input,
		(unsigned long long)r->record, what);
}

/* ---- schemas ---- */

static void known_free(struct known *k)
{
	avro_plan_free(k->plan);
	arena_clear(&k->arena);
	mem_free(k);
}

static void forget(struct avro_reader *r)
{
	for (size_t i = 0; i < r->known_len; i++)
		known_free(r->known[i]);
	r->known_len = 0;
	r->last = NULL;
}

static int make_plan(struct avro_reader *r, struct known *k, struct error *e)
{
	if (k->plan || !r->columns_len)
		return 0;
	return avro_plan_new(k->node, r->columns, r->columns_len, &k->plan, e);
}

static int learn(struct avro_reader *r, uint32_t id, const char *json, size_t len, struct error *e)
{
	struct known *k = mem_zero(sizeof *k);

	k->id = id;
	if (avro_schema_parse(json, len, &k->arena, &k->node, e) < 0 || make_plan(r, k, e) < 0) {
		known_free(k);
		return -1;
	}
	MEM_GROW(r->known, r->known_cap, r->known_len + 1);
	r->known[r->known_len++] = r->last = k;
	return 0;
}

static int learn_file(struct avro_reader *r, struct error *e)
{
	const char *path = r->options.avro_schema;
	int fd = open(path, O_RDONLY | O_CLOEXEC), status;
	struct buf text = BUF_INIT;
	ssize_t n = 1;

	if (fd < 0)
		return error_errno(e, "--avro-schema %s", path);
	while (n > 0 && text.len < SCHEMA_BYTES_MAX) {
		n = read(fd, buf_reserve(&text, 1 << 14), 1 << 14);
		text.len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	status = n < 0 ? error_errno(e, "%s", path) : learn(r, 0, buf_cstr(&text), text.len, e);
	if (status < 0 && n >= 0)
		error_context(e, "%s", path);
	buf_clear(&text);
	return status;
}

/* The schema of this number, asked for once. */
static int learn_number(struct avro_reader *r, uint32_t id, struct error *e)
{
	struct buf json = BUF_INIT;
	int status;

	if (r->last && r->last->id == id)
		return 0;
	for (size_t i = 0; i < r->known_len; i++) {
		if (r->known[i]->id == id) {
			r->last = r->known[i];
			return 0;
		}
	}
	if (!r->registry && avro_registry_open(r->options.registry, &r->registry, e) < 0)
		return -1;
	status = avro_registry_get(r->registry, id, &json, e);
	if (status == 0)
		status = learn(r, id, buf_cstr(&json), json.len, e);
	if (status < 0 && e->code == ERROR_DATA)
		error_context(e, "schema %u", id);
	buf_clear(&json);
	return status;
}

/* ---- the container ---- */

static bool read_text(const uint8_t **at, const uint8_t *end, struct text_view *out)
{
	int64_t len;

	if (!avro_read_long(at, end, &len) || len < 0 || len > end - *at)
		return false;
	*out = (struct text_view){(const char *)*at, (size_t)len};
	*at += len;
	return true;
}

static bool is_text(struct text_view t, const char *text)
{
	return t.len == strlen(text) && memcmp(t.text, text, t.len) == 0;
}

static int find_codec(struct avro_reader *r, struct text_view name, struct error *e)
{
	static const char *const names[] = {[CODEC_NULL] = "null",
		[CODEC_DEFLATE] = "deflate",
		[CODEC_SNAPPY] = "snappy",
		[CODEC_ZSTANDARD] = "zstandard"};

	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		if (is_text(name, names[i])) {
			r->codec = (enum avro_codec)i;
			return 0;
		}
	}
	return error_set(e, ERROR_DATA,
		"%s: its blocks are compressed as '%.*s'; null, deflate, snappy and zstandard can be "
		"read",
		r->input, (int)(name.len < NAME_BYTES_SHOWN ? name.len : NAME_BYTES_SHOWN), name.text);
}

/* The pairs of the header, a block of a map at a time.  False: they aren't all here. */
static bool read_meta(
	const uint8_t **at, const uint8_t *end, struct text_view *schema, struct text_view *codec)
{
	int64_t count, bytes;

	while (avro_read_long(at, end, &count)) {
		struct text_view key, value;

		if (!count)
			return true;
		if (count == INT64_MIN || (count < 0 && !avro_read_long(at, end, &bytes)))
			return false;
		for (count = count < 0 ? -count : count; count > 0; count--) {
			if (!read_text(at, end, &key) || !read_text(at, end, &value))
				return false;
			if (is_text(key, "avro.schema"))
				*schema = value;
			else if (is_text(key, "avro.codec"))
				*codec = value;
		}
	}
	return false;
}

/* 0, *at behind it; 1: it isn't whole here. */
static int read_header(
	struct avro_reader *r, const uint8_t **at, const uint8_t *end, struct error *e)
{
	struct text_view schema = {NULL, 0}, codec = {"null", 4};
	const uint8_t *p = *at;
	size_t known = end - p < 4 ? (size_t)(end - p) : 4;

	if (known && memcmp(p, "Obj\1", known) != 0) {
		error_set(e, ERROR_DATA, "%s is no Avro container file", r->input);
		return error_hint(e, "bare records need --avro-schema FILE, Confluent's messages "
				     "--registry URL");
	}
	p += known;
	if (known < 4 || !read_meta(&p, end, &schema, &codec) || end - p < SYNC_BYTES) {
		if (end - *at > HEADER_BYTES_MAX)
			return error_set(e, ERROR_DATA, "%s: a header without end", r->input);
		return 1;
	}
	if (!schema.text)
		return error_set(e, ERROR_DATA, "%s: its header has no avro.schema", r->input);
	memcpy(r->sync, p, SYNC_BYTES);
	*at = p + SYNC_BYTES;
	forget(r);
	if (find_codec(r, codec, e) < 0)
		return -1;
	if (learn(r, 0, schema.text, schema.len, e) < 0)
		return error_context(e, "%s", r->input);
	r->has_header = true;
	return 0;
}

static int unpack_deflate(struct buf *out, const uint8_t *p, size_t len)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)len};
	int status = inflateInit2(&z, -MAX_WBITS);

	while (status == Z_OK && out->len < BLOCK_BYTES_MAX) {
		size_t room = out->len < 1 << 16 ? 1 << 16 : out->len;

		z.next_out = buf_reserve(out, room);
		z.avail_out = (uInt)room;
		status = inflate(&z, Z_NO_FLUSH);
		out->len += room - z.avail_out;
		if (status == Z_BUF_ERROR || (status == Z_OK && !z.avail_in && z.avail_out))
			break;
	}
	inflateEnd(&z);
	return status == Z_STREAM_END ? 0 : -1;
}

/* Snappy's block has the CRC-32 of what is in it behind it, big endian. */
static int unpack_snappy(struct buf *out, const uint8_t *p, size_t len)
{
	size_t room;
	uint32_t sum;

	if (len < SNAPPY_CHECK_BYTES)
		return -1;
	len -= SNAPPY_CHECK_BYTES;
	if (snappy_uncompressed_length((const char *)p, len, &room) != SNAPPY_OK ||
		room > BLOCK_BYTES_MAX)
		return -1;
	buf_reserve(out, room + 1);
	if (snappy_uncompress((const char *)p, len, (char *)out->data, &room) != SNAPPY_OK)
		return -1;
	out->len = room;
	sum = (uint32_t)p[len] << 24 | (uint32_t)p[len + 1] << 16 | (uint32_t)p[len + 2] << 8 |
	      p[len + 3];
	return crc32(0, out->data, (uInt)out->len) == sum ? 0 : -1;
}

static int unpack_zstandard(struct buf *out, const uint8_t *p, size_t len)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer in = {p, len, 0};
	size_t left = 1;

	while (left && !ZSTD_isError(left) && out->len < BLOCK_BYTES_MAX) {
		size_t room = ZSTD_DStreamOutSize();
		ZSTD_outBuffer to = {buf_reserve(out, room), room, 0};
		size_t before = in.pos;

		left = ZSTD_decompressStream(z, &to, &in);
		out->len += to.pos;
		if (in.pos == before && !to.pos)
			break;
	}
	ZSTD_freeDStream(z);
	return left ? -1 : 0;
}

/* What is in a block: in place, or in r->unpacked. */
static int unpack(struct avro_reader *r, const uint8_t **p, const uint8_t **end)
{
	size_t len = (size_t)(*end - *p);
	int status = 0;

	if (r->codec == CODEC_NULL)
		return 0;
	buf_reset(&r->unpacked);
	buf_reserve(&r->unpacked, 1);
	switch (r->codec) {
	case CODEC_NULL: break;
	case CODEC_DEFLATE: status = unpack_deflate(&r->unpacked, *p, len); break;
	case CODEC_SNAPPY: status = unpack_snappy(&r->unpacked, *p, len); break;
	case CODEC_ZSTANDARD: status = unpack_zstandard(&r->unpacked, *p, len); break;
	}
	*p = r->unpacked.data;
	*end = *p + r->unpacked.len;
	return status;
}

/* ---- records ---- */

/* Shown as JSON where the record can be read at all. */
static int refuse(struct avro_reader *r, const uint8_t *from, const uint8_t *end,
	const struct bad_sink *bad, struct error *e)
{
	struct bad_record b = {
		.input = r->input, .line = r->record, .reason = buf_cstr(&r->reason)};
	struct buf packed = BUF_INIT;
	int status;

	if (!bad || !bad->take)
		return fail(r, e, b.reason);
	buf_reset(&r->shown);
	if (r->last && avro_to_msgpack(r->last->node, &from, end, &packed))
		msgpack_put_json(packed.data, packed.len, &r->shown);
	b.record = buf_cstr(&r->shown);
	b.record_len = r->shown.len < BAD_RECORD_BYTES ? r->shown.len : BAD_RECORD_BYTES;
	status = bad->take(bad->context, &b, e);
	buf_clear(&packed);
	return status;
}

/* One record of the last schema.  0; 1: broken, what lies behind it can't be told; -1. */
static int take_record(struct avro_reader *r, const uint8_t **p, const uint8_t *end,
	struct column_builder *builders, const struct bad_sink *bad, struct error *e)
{
	const uint8_t *from = *p;
	enum avro_status status = avro_take(r->last->plan, p, end, builders, &r->reason);

	if (status != AVRO_ROW && refuse(r, from, end, bad, e) < 0)
		return -1;
	r->record++;
	return status == AVRO_BROKEN;
}

/* A block that is whole in the window. */
static int take_block(struct avro_reader *r, int64_t count, const uint8_t *p, const uint8_t *end,
	struct column_builder *builders, const struct bad_sink *bad, struct error *e)
{
	int status = 0;

	if (unpack(r, &p, &end) < 0) {
		buf_reset(&r->reason);
		buf_put_text(&r->reason, "a block that can't be decompressed");
		if (refuse(r, end, end, bad, e) < 0)
			return -1;
		r->record += (uint64_t)count;
		return 0;
	}
	if (count > end - p + EMPTY_RECORDS_MAX)
		return fail(r, e, "a block of more records than it has bytes");
	for (; count && status == 0; count--)
		status = take_record(r, &p, end, builders, bad, e);
	r->record += status == 1 ? (uint64_t)count : 0; /* lost with the one that broke */
	if (status == 0 && p != end)
		return fail(r, e, "a block that is longer than its records");
	return status < 0 ? -1 : 0;
}

/* 0, *p behind it; 1: it isn't whole here; -1. */
static int next_block(struct avro_reader *r, const uint8_t **p, const uint8_t *end,
	struct column_builder *builders, const struct bad_sink *bad, struct error *e)
{
	const uint8_t *at = *p;
	int64_t count, bytes;

	if (!avro_read_long(&at, end, &count) || !avro_read_long(&at, end, &bytes))
		return end - *p < 20 ? 1 : fail(r, e, "no block of a container begins here");
	if (count < 0 || bytes < 0 || bytes > BLOCK_BYTES_MAX || count > (int64_t)BLOCK_BYTES_MAX)
		return fail(r, e, "no block of a container begins here");
	if (end - at < bytes + SYNC_BYTES)
		return 1;
	if (memcmp(at + bytes, r->sync, SYNC_BYTES) != 0)
		return fail(r, e, "the block isn't followed by the file's marker: it is damaged");
	*p = at + bytes + SYNC_BYTES;
	return take_block(r, count, at, at + bytes, builders, bad, e);
}

static int parse_container(struct avro_reader *r, const uint8_t **p, const uint8_t *end, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	struct error *e)
{
	uint32_t before;
	int status = 0;

	if (!r->has_header) {
		if (*p == end)
			return last ? error_set(e, ERROR_DATA, "%s is empty, which no Avro file is",
					      r->input)
				    : 0;
		status = read_header(r, p, end, e);
	}
	if (status > 0 && last)
		return error_set(e, ERROR_DATA, "%s ends in the middle of its header", r->input);
	if (status || !rows_max)
		return status < 0 ? -1 : 0;
	before = builders[0].rows;
	while (status == 0 && *p < end && builders[0].rows - before < rows_max)
		status = next_block(r, p, end, builders, bad, e);
	if (status > 0 && last)
		return fail(r, e, "the file ends in the middle of a block");
	return status < 0 ? -1 : 0;
}

/* The head of a message.  1: it isn't whole here. */
static int read_wire(struct avro_reader *r, const uint8_t **p, const uint8_t *end, struct error *e)
{
	const uint8_t *at = *p;
	uint32_t id;

	if (*at != 0) {
		fail(r, e,
			"no message as Confluent's serialisers write them: its first byte isn't 0");
		return error_hint(e, "bare records need --avro-schema FILE instead of --registry");
	}
	if (end - at < WIRE_BYTES)
		return 1;
	id = (uint32_t)at[1] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 8 | at[4];
	*p = at + WIRE_BYTES;
	return learn_number(r, id, e);
}

/* Records without a length of their own: one that isn't whole here may only be cut short. */
static int parse_bare(struct avro_reader *r, const uint8_t **p, const uint8_t *end, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	struct error *e)
{
	uint32_t before = rows_max ? builders[0].rows : 0;

	while (*p < end && rows_max && builders[0].rows - before < rows_max) {
		const uint8_t *from = *p;
		enum avro_status taken;
		int status = r->form == FORM_REGISTRY ? read_wire(r, p, end, e) : 0;

		if (status < 0) {
			if (e->code != ERROR_DATA || !bad || !bad->take || !last)
				return -1;
			buf_reset(&r->reason);
			buf_put_text(&r->reason, e->text);
			error_clear(e);
			*p = end;
			status = refuse(r, end, end, bad, e);
			r->record++;
			return status;
		}
		taken = status ? AVRO_BROKEN
			       : avro_take(r->last->plan, p, end, builders, &r->reason);
		if (taken == AVRO_BROKEN && !last) {
			*p = from;
			return end - from > BLOCK_BYTES_MAX ? fail(r, e, "a record without end")
							    : 0;
		}
		if (status) {
			buf_reset(&r->reason);
			buf_put_text(&r->reason, "the message ends before its record begins");
		}
		if (taken != AVRO_ROW &&
			refuse(r, r->form == FORM_REGISTRY && !status ? from + WIRE_BYTES : from,
				end, bad, e) < 0)
			return -1;
		r->record++;
		if (taken == AVRO_BROKEN)
			*p = end;
	}
	return 0;
}

static int avro_parse(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	size_t *consumed, struct error *e)
{
	struct avro_reader *r = self(reader);
	const uint8_t *p = bytes, *end = bytes + len;
	int status;

	if (r->form == FORM_BARE && !r->last && learn_file(r, e) < 0)
		return -1;
	status = r->form == FORM_CONTAINER
			 ? parse_container(r, &p, end, last, rows_max, builders, bad, e)
			 : parse_bare(r, &p, end, last, rows_max, builders, bad, e);
	*consumed = (size_t)(p - bytes);
	return status;
}

/* ---- the reader ---- */

static int avro_infer(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct schema *names_types, struct error *e)
{
	struct avro_reader *r = self(reader);
	const uint8_t *p = bytes, *end = bytes + len;
	const struct avro_node *n;
	int status = 0;

	if (!len && r->form != FORM_BARE)
		return error_set(e, ERROR_DATA, "%s is empty: nothing tells its schema", r->input);
	switch (r->form) {
	case FORM_CONTAINER:
		status = read_header(r, &p, end, e);
		r->has_header = false; /* parse takes it again */
		break;
	case FORM_BARE: status = learn_file(r, e); break;
	case FORM_REGISTRY: status = read_wire(r, &p, end, e); break;
	}
	if (status)
		return status < 0 ? -1
				  : error_set(e, ERROR_DATA, "%s ends in the middle of its header",
					    r->input);
	n = r->last->node;
	if (n->kind != AVRO_KIND_RECORD)
		schema_add(names_types, "value", 5, avro_type(n));
	for (size_t i = 0; n->kind == AVRO_KIND_RECORD && i < n->fields_len; i++)
		schema_add(names_types, n->fields[i].name, strlen(n->fields[i].name),
			avro_type(n->fields[i].node));
	return 0;
}

static int avro_want(
	struct reader *reader, const struct wanted_column *columns, size_t n, struct error *e)
{
	struct avro_reader *r = self(reader);

	for (size_t i = 0; i < n; i++) {
		if (!columns[i].path_len)
			return error_set(e, ERROR_USAGE,
				"column '%s' is taken by position; avro has names only",
				columns[i].name);
	}
	mem_free(r->columns);
	r->columns = mem_alloc((n + 1) * sizeof *r->columns);
	if (n)
		memcpy(r->columns, columns, n * sizeof *columns);
	r->columns_len = n;
	for (size_t i = 0; i < r->known_len; i++) {
		avro_plan_free(r->known[i]->plan);
		r->known[i]->plan = NULL;
		if (make_plan(r, r->known[i], e) < 0)
			return -1;
	}
	return 0;
}

static void avro_start(struct reader *reader, const char *input_name)
{
	struct avro_reader *r = self(reader);

	mem_free(r->input);
	r->input = mem_strdup(input_name ? input_name : "input");
	r->record = 1;
	r->has_header = false;
}

static bool avro_needs_start(const struct reader *reader)
{
	const struct avro_reader *r = (const struct avro_reader *)reader;

	return r->form == FORM_CONTAINER && !r->has_header;
}

static bool avro_has_record(const struct reader *reader, const uint8_t *bytes, size_t len)
{
	const struct avro_reader *r = (const struct avro_reader *)reader;
	struct text_view schema = {NULL, 0}, codec;
	const uint8_t *p = bytes + 4;

	if (r->form != FORM_CONTAINER)
		return len > 0;
	return len > 4 && read_meta(&p, bytes + len, &schema, &codec) &&
	       bytes + len - p >= SYNC_BYTES;
}

static uint64_t avro_line(const struct reader *reader)
{
	const struct avro_reader *r = (const struct avro_reader *)reader;

	return r->record;
}

static void avro_resume(struct reader *reader, uint64_t line)
{
	self(reader)->record = line;
}

static void avro_free(struct reader *reader)
{
	struct avro_reader *r = self(reader);

	forget(r);
	avro_registry_close(r->registry);
	mem_free(r->known);
	mem_free(r->columns);
	mem_free(r->input);
	buf_clear(&r->unpacked);
	buf_clear(&r->reason);
	buf_clear(&r->shown);
	mem_free(r);
}

static const struct reader_ops ops = {
	.name = "avro",
	.is_binary = true,
	.free = avro_free,
	.infer = avro_infer,
	.want = avro_want,
	.start = avro_start,
	.needs_start = avro_needs_start,
	.has_record = avro_has_record,
	.parse = avro_parse,
	.line = avro_line,
	.resume = avro_resume,
};

struct reader *avro_reader_new(const struct reader_options *o)
{
	struct avro_reader *r = mem_zero(sizeof *r);

	r->reader.ops = &ops;
	r->options = *o;
	r->form = o->registry ? FORM_REGISTRY : o->avro_schema ? FORM_BARE : FORM_CONTAINER;
	avro_start(&r->reader, o->input);
	return &r->reader;
}
