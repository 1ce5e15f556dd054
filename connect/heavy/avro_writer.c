/* Columns to Avro, in the three forms in which avro_reader.c takes it:
 *
 *   container  the schema of the columns, then a block for every batch: whoever reads a file that
 *              grows has whole rows, and nothing is kept back from a checkpoint
 *   bare       records one after another, by a schema that is given
 *   registry   a zero byte, the schema's number in four, the record, for each row
 *
 * A container's marker is a hash of its schema and codec, where others take it from the dice: a file
 * that was begun by a process that is gone goes on with the same one. */
#include "connect/heavy/avro_put.h"
#include "connect/heavy/avro_registry.h"
#include "connect/heavy/avro_value.h"
#include "formats/writer_impl.h"
#include "libcore/base/memory.h"

#include <fcntl.h>
#include <snappy-c.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

enum {
	SCHEMA_BYTES_MAX = 16 << 20,
	SYNC_BYTES = 16,
	WIRE_BYTES = 5,
	SNAPPY_CHECK_BYTES = 4,
	ZSTD_LEVEL = 3,
	MARK_MASK = 0x7fffffff,
};

enum avro_codec { CODEC_NULL, CODEC_DEFLATE, CODEC_SNAPPY, CODEC_ZSTANDARD };

static const char *const codec_names[] = {"null", "deflate", "snappy", "zstandard"};

enum { CODECS = sizeof codec_names / sizeof *codec_names };

struct avro_file {
	enum avro_codec codec;
	struct arena arena; /* of the schema's nodes */
	struct avro_put *put;
	struct avro_registry *registry;
	uint8_t wire[WIRE_BYTES];
	uint8_t sync[SYNC_BYTES];
	uint32_t mark;
	struct buf json, block, packed;
	ZSTD_CCtx *zstd;
};

static void avro_clear(struct writer *w)
{
	struct avro_file *a = w->avro;

	if (!a)
		return;
	avro_put_free(a->put);
	avro_registry_close(a->registry);
	ZSTD_freeCCtx(a->zstd);
	arena_clear(&a->arena);
	buf_clear(&a->json);
	buf_clear(&a->block);
	buf_clear(&a->packed);
	mem_free(a);
	w->avro = NULL;
}

/* ---- the schema ---- */

static int read_schema(const char *path, struct buf *out, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	if (fd < 0) {
		error_errno(e, "--avro-schema %s", path);
		e->code = ERROR_USAGE;
		return -1;
	}
	while (n > 0 && out->len < SCHEMA_BYTES_MAX) {
		n = read(fd, buf_reserve(out, 1 << 14), 1 << 14);
		out->len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	return n < 0 ? error_errno(e, "--avro-schema %s", path) : 0;
}

static int find_codec(struct avro_file *a, const char *name, struct error *e)
{
	for (unsigned i = 0; name && i < CODECS; i++) {
		if (strcmp(codec_names[i], name) == 0) {
			a->codec = (enum avro_codec)i;
			return 0;
		}
	}
	return name ? error_set(e, ERROR_USAGE, "--avro-codec %s: there are null, deflate, snappy "
						"and zstandard", name)
		    : 0;
}

/* What must stay as it is while a file grows. */
static void take_marks(struct avro_file *a, const struct writer_options *o)
{
	XXH3_state_t *state = XXH3_createState();
	XXH128_canonical_t sum;

	XXH3_128bits_reset(state);
	XXH3_128bits_update(state, a->json.data, a->json.len);
	XXH3_128bits_update(state, codec_names[a->codec], strlen(codec_names[a->codec]));
	XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(state));
	XXH3_freeState(state);
	memcpy(a->sync, sum.digest, SYNC_BYTES);
	/* Every message tells its own schema. */
	memcpy(&a->mark, sum.digest, sizeof a->mark);
	a->mark = o->registry ? 0 : (a->mark & MARK_MASK) | 1;
}

static void put_text(struct buf *out, const char *text, size_t len)
{
	avro_put_long(out, (int64_t)len);
	buf_put(out, text, len);
}

static void put_header(const struct avro_file *a, struct buf *out)
{
	const char *codec = codec_names[a->codec];

	buf_put(out, "Obj\1", 4);
	avro_put_long(out, 2);
	put_text(out, "avro.schema", strlen("avro.schema"));
	put_text(out, (const char *)a->json.data, a->json.len);
	put_text(out, "avro.codec", strlen("avro.codec"));
	put_text(out, codec, strlen(codec));
	avro_put_long(out, 0);
	buf_put(out, a->sync, SYNC_BYTES);
}

static int take_number(struct avro_file *a, const struct writer_options *o, struct error *e)
{
	const char *subject = o->avro_subject ? o->avro_subject : "rows-value";
	uint32_t id;

	if (!a->registry && avro_registry_open(o->registry, &a->registry, e) < 0)
		return -1;
	if (avro_registry_put(a->registry, subject, buf_cstr(&a->json), &id, e) < 0)
		return -1;
	for (unsigned i = 0; i < 4; i++)
		a->wire[1 + i] = (uint8_t)(id >> (24 - 8 * i));
	return 0;
}

static bool has_column(const struct schema *s, const char *name)
{
	for (size_t i = 0; i < s->fields_len; i++) {
		if (strcmp(s->fields[i].name, name) == 0)
			return true;
	}
	return false;
}

static int put_schema(const struct writer *w, const struct schema *s, struct buf *json, struct error *e)
{
	if (s->changelog && has_column(s, "op"))
		return error_set(e, ERROR_USAGE, "a changelog's op is the field 'op', and so is a column\n"
			"smap renames it: '* rename (op as ...)'");
	return w->o.avro_schema ? read_schema(w->o.avro_schema, json, e) : avro_schema_of(s, json, e);
}

/* Into a new plan, while the old one may still be needed. */
static int make_plan(struct writer *w, const struct schema *s, struct buf *json, struct error *e)
{
	struct avro_file *a = w->avro;
	struct arena arena = ARENA_INIT;
	const struct avro_node *node;
	struct avro_put *put;

	if (put_schema(w, s, json, e) < 0)
		return -1;
	if (avro_schema_parse(buf_cstr(json), json->len, &arena, &node, e) < 0 ||
		avro_put_new(node, s, &put, e) < 0) {
		arena_clear(&arena);
		return w->o.avro_schema ? error_context(e, "%s", w->o.avro_schema) : -1;
	}
	avro_put_free(a->put);
	arena_clear(&a->arena);
	a->arena = arena;
	a->put = put;
	return 0;
}

static int avro_schema(struct writer *w, const struct schema *s, struct buf *out, struct error *e)
{
	bool is_container = !w->o.avro_schema && !w->o.registry;
	struct buf json = BUF_INIT;
	struct avro_file *a;
	int status = 0;

	if (!w->avro)
		w->avro = mem_zero(sizeof *w->avro);
	a = w->avro;
	if (find_codec(a, w->o.avro_codec, e) < 0)
		return -1;
	status = make_plan(w, s, &json, e);
	if (status == 0 && is_container && a->json.len &&
		(a->json.len != json.len || memcmp(a->json.data, json.data, json.len) != 0)) {
		error_set(e, ERROR_DATA, "the columns change, and an Avro file has one schema");
		status = -1;
	}
	if (status == 0) {
		bool is_new = !a->json.len;

		buf_clear(&a->json);
		a->json = json;
		json = (struct buf)BUF_INIT;
		take_marks(a, &w->o);
		if (w->o.registry)
			status = take_number(a, &w->o, e);
		else if (is_container && is_new)
			put_header(a, out);
	}
	buf_clear(&json);
	return status;
}

static uint32_t avro_mark(const struct writer *w)
{
	return w->avro ? w->avro->mark : 0;
}

/* ---- blocks ---- */

static int pack_deflate(struct avro_file *a, struct error *e)
{
	z_stream z = {.next_in = a->block.data, .avail_in = (uInt)a->block.len};
	uLong room;
	int status;

	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
		    Z_DEFAULT_STRATEGY) != Z_OK)
		return error_set(e, ERROR_IO, "deflate can't be used");
	room = deflateBound(&z, a->block.len);
	z.next_out = buf_reserve(&a->packed, room);
	z.avail_out = (uInt)room;
	status = deflate(&z, Z_FINISH);
	a->packed.len = room - z.avail_out;
	deflateEnd(&z);
	return status == Z_STREAM_END ? 0 : error_set(e, ERROR_IO, "deflate: status %d", status);
}

/* The CRC-32 of what is in it stands behind it, big endian. */
static int pack_snappy(struct avro_file *a, struct error *e)
{
	size_t len = snappy_max_compressed_length(a->block.len);
	uint32_t sum = (uint32_t)crc32(0, a->block.data, (uInt)a->block.len);

	buf_reserve(&a->packed, len + SNAPPY_CHECK_BYTES);
	if (snappy_compress((const char *)a->block.data, a->block.len, (char *)a->packed.data,
		    &len) != SNAPPY_OK)
		return error_set(e, ERROR_IO, "snappy: a block can't be compressed");
	a->packed.len = len;
	for (unsigned i = 0; i < SNAPPY_CHECK_BYTES; i++)
		buf_put_byte(&a->packed, (uint8_t)(sum >> (24 - 8 * i)));
	return 0;
}

static int pack_zstandard(struct avro_file *a, struct error *e)
{
	size_t room = ZSTD_compressBound(a->block.len), len;

	if (!a->zstd)
		a->zstd = ZSTD_createCCtx();
	buf_reserve(&a->packed, room);
	len = a->zstd ? ZSTD_compressCCtx(a->zstd, a->packed.data, room, a->block.data, a->block.len,
				ZSTD_LEVEL)
		      : 0;
	if (!a->zstd || ZSTD_isError(len))
		return error_set(e, ERROR_IO, "zstd: a block can't be compressed");
	a->packed.len = len;
	return 0;
}

/* What of the block is to be written. */
static int pack(struct avro_file *a, const struct buf **out, struct error *e)
{
	buf_reset(&a->packed);
	*out = a->codec == CODEC_NULL ? &a->block : &a->packed;
	switch (a->codec) {
	case CODEC_NULL: return 0;
	case CODEC_DEFLATE: return pack_deflate(a, e);
	case CODEC_SNAPPY: return pack_snappy(a, e);
	case CODEC_ZSTANDARD: return pack_zstandard(a, e);
	}
	return 0;
}

static int put_block(struct avro_file *a, const struct batch *b, struct buf *out, struct error *e)
{
	const struct buf *packed;

	buf_reset(&a->block);
	buf_reserve(&a->block, 1);
	for (uint32_t r = 0; r < b->rows; r++) {
		if (avro_put_row(a->put, b, r, &a->block, e) < 0)
			return -1;
	}
	if (pack(a, &packed, e) < 0)
		return -1;
	avro_put_long(out, b->rows);
	put_text(out, (const char *)packed->data, packed->len);
	buf_put(out, a->sync, SYNC_BYTES);
	return 0;
}

static int avro_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e)
{
	struct avro_file *a = w->avro;

	if (!w->o.registry && !w->o.avro_schema)
		return put_block(a, b, out, e);
	for (uint32_t r = 0; r < b->rows; r++) {
		if (w->o.registry)
			buf_put(out, a->wire, WIRE_BYTES);
		if (avro_put_row(a->put, b, r, out, e) < 0)
			return -1;
	}
	return 0;
}

const struct writer_ops writer_avro = {
	.name = "avro",
	.clear = avro_clear,
	.schema = avro_schema,
	.rows = avro_rows,
	.mark = avro_mark,
};
