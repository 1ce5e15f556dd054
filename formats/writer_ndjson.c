/* One JSON object a line, alone (ndjson), as the elements of one array (json), or as what a row was
 * and is (debezium-json).  Room for a whole batch at its worst is reserved before the first row, so
 * that nothing is checked per value; pages that are not written to cost nothing. */
#include "formats/writer_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"

enum {
	SPARE_BYTES = 64,
	ESCAPED_MAX = 6,
	OP_BYTES = 48, /* {"before":null,"after":null,"op":"c"} */
};

static void put_prefix(struct writer *w, size_t i, const char *name)
{
	size_t len = strlen(name);
	char *quoted = mem_alloc(ESCAPED_MAX * len + SPARE_BYTES);

	buf_put_byte(&w->prefixes, i ? ',' : '{');
	buf_put(&w->prefixes, quoted, writer_put_json_text(name, len, len, quoted));
	buf_put_byte(&w->prefixes, ':');
	mem_free(quoted);
}

static void put_prefixes(struct writer *w, const struct schema *s, bool has_op)
{
	w->prefix_at = mem_resize(w->prefix_at, (s->fields_len + 1) * sizeof *w->prefix_at);
	buf_reset(&w->prefixes);
	for (size_t i = 0; i < s->fields_len; i++) {
		w->prefix_at[i] = (uint32_t)w->prefixes.len;
		put_prefix(w, i + has_op, s->fields[i].name);
	}
	w->prefix_at[s->fields_len] = (uint32_t)w->prefixes.len;
}

/* A changelog's op is the first member. */
static int ndjson_schema(struct writer *w, const struct schema *s, struct buf *out, struct error *e)
{
	put_prefixes(w, s, s->changelog);
	return 0;
}

static size_t put_any(struct text_view v, char *at)
{
	struct buf json = BUF_INIT;
	size_t len;

	msgpack_put_json((const uint8_t *)v.text, v.len, &json);
	len = json.len;
	if (len)
		memcpy(at, json.data, len);
	buf_clear(&json);
	return len;
}

static size_t put_bytes(struct text_view v, char *at)
{
	struct buf bin = BUF_INIT;
	size_t len;

	msgpack_put_bin(&bin, v.text, v.len);
	len = put_any((struct text_view){(const char *)bin.data, bin.len}, at);
	buf_clear(&bin);
	return len;
}

static size_t put_value(struct writer *w, const struct column *c, uint32_t row, uint32_t rows,
	char *at)
{
	struct text_view v;

	if (!column_is_valid(c, row)) {
		memcpy(at, "null", 4);
		return 4;
	}
	if (!type_is_text(c->type))
		return writer_put_value(c, row, true, &w->day, at);
	v = column_text(c, row);
	if (c->type.kind == TYPE_STRING)
		return writer_put_json_text(v.text, v.len, c->offsets[rows] - c->offsets[row], at);
	return c->type.kind == TYPE_ANY ? put_any(v, at) : put_bytes(v, at);
}

/* What one row takes at most, its texts aside, and what the texts of all rows take. */
static size_t worst_bytes(const struct writer *w, const struct batch *b)
{
	size_t row = w->prefixes.len + OP_BYTES + SPARE_BYTES, texts = 0;

	for (size_t i = 0; i < b->schema->fields_len; i++) {
		row += VALUE_TEXT_MAX;
		if (!type_is_text(b->columns[i].type))
			continue;
		texts += (size_t)b->columns[i].offsets[b->rows] *
			(b->columns[i].type.kind == TYPE_ANY ? MSGPACK_JSON_FACTOR : ESCAPED_MAX);
	}
	return row * b->rows + texts + SPARE_BYTES;
}

/* The members of a row, and the end of its object. */
static inline char *put_fields(struct writer *w, const struct batch *b, uint32_t r, char *at)
{
	for (size_t i = 0; i < b->schema->fields_len; i++) {
		size_t len = w->prefix_at[i + 1] - w->prefix_at[i];

		memcpy(at, w->prefixes.data + w->prefix_at[i], len);
		at += len;
		at += put_value(w, &b->columns[i], r, b->rows, at);
	}
	*at++ = '}';
	return at;
}

static inline char *put_object(struct writer *w, const struct batch *b, uint32_t r, char *at)
{
	if (b->ops) {
		memcpy(at, "{\"op\":\"", 7);
		memcpy(at + 7, writer_op_name(b->ops[r]), 2);
		at[9] = '"';
		at += 10;
	} else if (!b->schema->fields_len) {
		*at++ = '{';
	}
	return put_fields(w, b, r, at);
}

static int ndjson_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e)
{
	char *at = (char *)buf_reserve(out, worst_bytes(w, b)), *start = at;

	for (uint32_t r = 0; r < b->rows; r++) {
		at = put_object(w, b, r, at);
		*at++ = '\n';
	}
	out->len += (size_t)(at - start);
	return 0;
}

/* ---- an array of them ---- */

static int json_schema(struct writer *w, const struct schema *s, struct buf *out, struct error *e)
{
	if (!w->has_schema)
		buf_put_text(out, "[\n");
	return ndjson_schema(w, s, out, e);
}

/* The comma stands in front: nobody knows which row is the last. */
static int json_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e)
{
	char *at = (char *)buf_reserve(out, worst_bytes(w, b)), *start = at;

	for (uint32_t r = 0; r < b->rows; r++) {
		if (w->has_rows) {
			*at++ = ',';
			*at++ = '\n';
		}
		w->has_rows = true;
		at = put_object(w, b, r, at);
	}
	out->len += (size_t)(at - start);
	return 0;
}

static int json_end(struct writer *w, struct buf *out, struct error *e)
{
	buf_put_text(out, !w->has_schema ? "[\n]\n" : w->has_rows ? "\n]\n" : "]\n");
	return 0;
}

/* ---- change events, as Debezium has them ---- */

static int debezium_schema(struct writer *w, const struct schema *s, struct buf *out, struct error *e)
{
	put_prefixes(w, s, false);
	return 0;
}

static char *put_text(const char *text, char *at)
{
	size_t len = strlen(text);

	memcpy(at, text, len);
	return at + len;
}

/* A row, or null. */
static char *put_image(struct writer *w, const struct batch *b, uint32_t r, bool is_there, char *at)
{
	if (!is_there)
		return put_text("null", at);
	if (!b->schema->fields_len)
		*at++ = '{';
	return put_fields(w, b, r, at);
}

/* An update's two rows are one event; each half alone is a delete or an insert. */
static int debezium_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e)
{
	char *at = (char *)buf_reserve(out, worst_bytes(w, b)), *start = at;

	for (uint32_t r = 0; r < b->rows; r++) {
		uint8_t op = b->ops ? b->ops[r] : ROW_INSERT;
		bool was = op == ROW_DELETE || op == ROW_UPDATE_BEFORE;
		bool is_update = op == ROW_UPDATE_BEFORE && r + 1 < b->rows &&
			b->ops[r + 1] == ROW_UPDATE_AFTER;

		at = put_text("{\"before\":", at);
		at = put_image(w, b, r, was, at);
		r += is_update;
		at = put_text(",\"after\":", at);
		at = put_image(w, b, r, !was || is_update, at);
		at = put_text(is_update ? ",\"op\":\"u\"}\n" : was ? ",\"op\":\"d\"}\n" : ",\"op\":\"c\"}\n",
			at);
	}
	out->len += (size_t)(at - start);
	return 0;
}

const struct writer_ops writer_debezium = {
	.name = "debezium-json",
	.schema = debezium_schema,
	.rows = debezium_rows,
};

const struct writer_ops writer_ndjson = {
	.name = "ndjson",
	.schema = ndjson_schema,
	.rows = ndjson_rows,
};

const struct writer_ops writer_json = {
	.name = "json",
	.schema = json_schema,
	.rows = json_rows,
	.end = json_end,
	.ends_without_schema = true,
};
