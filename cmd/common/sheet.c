#include "cmd/common/sheet.h"

#include "libcore/base/memory.h"
#include "libcore/frame/channel.h"

static void forget_declared(struct sheet *s)
{
	for (size_t i = 0; i < s->declared_len; i++)
		schema_clear(&s->declared[i].schema);
	s->declared_len = 0;
}

int sheet_open(struct sheet *s, const char *format, const struct writer_options *o, struct error *e)
{
	*s = (struct sheet){.writer = NULL};
	return strcmp(format, "frames") != 0 ? writer_new(format, o, &s->writer, e) : 0;
}

int sheet_pack(struct sheet *s, const char *codec, struct error *e)
{
	s->packer = channel_writer_new_memory(&s->packed);
	return channel_writer_pack(s->packer, codec, e);
}

void sheet_close(struct sheet *s)
{
	if (s->packer)
		channel_writer_free(s->packer);
	buf_clear(&s->packed);
	forget_declared(s);
	mem_free(s->declared);
	writer_free(s->writer);
	*s = (struct sheet){.writer = NULL};
}

static void remember_declared(struct sheet *s, const struct schema *schema)
{
	struct sheet_schema *to;

	MEM_GROW(s->declared, s->declared_cap, s->declared_len + 1);
	to = &s->declared[s->declared_len++];
	to->id = s->schema_id;
	schema_init(&to->schema);
	schema_copy(&to->schema, schema);
}

/* What the file has keeps its id: streams that come together bring theirs in turn. */
static int declare(struct sheet *s, const struct schema *schema, struct buf *out, struct error *e)
{
	for (size_t i = 0; i < s->declared_len; i++) {
		s->schema_id = s->declared[i].id;
		if (schema_equal(&s->declared[i].schema, schema))
			return 0;
	}
	if (s->schema_ids + 1 >= SCHEMA_ID_MAX)
		return error_set(e, ERROR_DATA, "more than %d different schemas in one stream",
			SCHEMA_ID_MAX - 1);
	s->schema_id = ++s->schema_ids;
	remember_declared(s, schema);
	frame_put_schema(out, s->schema_id, schema);
	return 0;
}

static void put_hello(struct sheet *s, struct buf *out)
{
	struct hello hello = {.version = FRAME_VERSION, .stage = "ssink", .bounded = true};

	if (!s->begun)
		frame_put_hello(out, &hello);
	s->begun = true;
}

int sheet_begin(struct sheet *s, const struct schema *schema, struct buf *out, struct error *e)
{
	if (!s->writer) {
		put_hello(s, out);
		return declare(s, schema, out, e);
	}
	s->begun = true;
	if (writer_schema(s->writer, schema, out, e) < 0)
		return -1;
	s->schema_id = writer_mark(s->writer);
	return 0;
}

int sheet_resume(struct sheet *s, const struct schema *schema, struct error *e)
{
	s->begun = true;
	if (s->writer) {
		if (writer_resume(s->writer, schema, s->rows > 0, e) < 0)
			return -1;
		if (s->schema_id == writer_mark(s->writer))
			return 0;
		return error_set(e, ERROR_STATE, "begun with other columns, or another codec or schema, "
			"than it would go on with");
	}
	remember_declared(s, schema);
	return 0;
}

int sheet_rows(struct sheet *s, const struct batch *b, struct buf *out, struct error *e)
{
	s->rows += b->rows;
	if (s->writer)
		return writer_rows(s->writer, b, out, e);
	if (!s->packer) {
		frame_put_batch(out, s->schema_id, b);
		return 0;
	}
	buf_reset(&s->packed);
	if (channel_write_batch(s->packer, s->schema_id, b, e) < 0)
		return -1;
	buf_put(out, s->packed.data, s->packed.len);
	return 0;
}

void sheet_watermark(struct sheet *s, int64_t us, struct buf *out)
{
	if (!s->writer && s->begun)
		frame_put_watermark(out, us);
}

int sheet_end(struct sheet *s, struct buf *out, struct error *e)
{
	if (s->writer)
		return writer_end(s->writer, out, e);
	put_hello(s, out);
	frame_put_end(out, s->rows);
	return 0;
}
