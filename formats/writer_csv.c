/* csv as RFC 4180 has it, with \n; tsv the same with tabs; lines: one column's text.
 *
 * A field is quoted where it holds the delimiter, a quote, CR or LF, and where it is the empty
 * string: the empty field is null. */
#include "formats/writer_impl.h"

#include "libcore/base/msgpack.h"

enum { SPARE_BYTES = 64 };

static char delimiter_of(const struct writer *w)
{
	if (w->o.delimiter)
		return w->o.delimiter;
	return w->ops == &writer_tsv ? '\t' : ',';
}

static size_t put_quoted(const char *text, size_t len, char *at)
{
	char *start = at;

	*at++ = '"';
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			*at++ = '"';
		*at++ = text[i];
	}
	*at++ = '"';
	return (size_t)(at - start);
}

static size_t put_text(const char *text, size_t len, size_t readable, char delimiter, char *at)
{
	const char special[4] = {delimiter, '"', '\r', '\n'};

	if (len && writer_plain_len(text, len, readable, special) == len) {
		memcpy(at, text, len);
		return len;
	}
	return put_quoted(text, len, at);
}

static size_t put_json(const struct column *c, uint32_t row, char delimiter, char *at)
{
	struct text_view v = column_text(c, row);
	struct buf bin = BUF_INIT, json = BUF_INIT;
	size_t len;

	if (c->type.kind == TYPE_BYTES) {
		msgpack_put_bin(&bin, v.text, v.len);
		msgpack_put_json(bin.data, bin.len, &json);
		/* base64 without JSON's quotes */
		len = put_text((const char *)json.data + 1, json.len - 2, json.len - 2, delimiter, at);
	} else {
		msgpack_put_json((const uint8_t *)v.text, v.len, &json);
		len = put_text((const char *)json.data, json.len, json.len, delimiter, at);
	}
	buf_clear(&bin);
	buf_clear(&json);
	return len;
}

static size_t put_field(struct writer *w, const struct column *c, uint32_t row, uint32_t rows,
	char delimiter, char *at)
{
	struct text_view v;

	if (!column_is_valid(c, row))
		return 0;
	if (!type_is_text(c->type))
		return writer_put_value(c, row, false, &w->day, at);
	if (c->type.kind != TYPE_STRING)
		return put_json(c, row, delimiter, at);
	v = column_text(c, row);
	return put_text(v.text, v.len, c->offsets[rows] - c->offsets[row], delimiter, at);
}

static bool same_columns(const struct schema *a, const struct schema *b)
{
	if (a->fields_len != b->fields_len || a->changelog != b->changelog)
		return false;
	for (size_t i = 0; i < a->fields_len; i++) {
		if (strcmp(a->fields[i].name, b->fields[i].name) != 0)
			return false;
	}
	return true;
}

static int csv_schema(struct writer *w, const struct schema *s, struct buf *out, struct error *e)
{
	char delimiter = delimiter_of(w);

	if (w->has_schema && !same_columns(&w->schema, s))
		return error_set(e, ERROR_DATA, "the columns changed in mid-stream, which %s can't show\n"
			"write ndjson instead, or choose columns with smap", w->ops->name);
	if (w->has_schema || !w->o.header)
		return 0;
	if (s->changelog)
		buf_printf(out, "op%s", s->fields_len ? (char[2]){delimiter} : "");
	for (size_t i = 0; i < s->fields_len; i++) {
		size_t len = strlen(s->fields[i].name);
		char *at = (char *)buf_reserve(out, 2 * len + SPARE_BYTES), *start = at;

		if (i)
			*at++ = delimiter;
		at += put_text(s->fields[i].name, len, len, delimiter, at);
		out->len += (size_t)(at - start);
	}
	buf_put_byte(out, '\n');
	return 0;
}

static size_t worst_bytes(const struct batch *b)
{
	size_t texts = 0;

	for (size_t i = 0; i < b->schema->fields_len; i++) {
		if (type_is_text(b->columns[i].type))
			texts += (size_t)b->columns[i].offsets[b->rows] *
				(b->columns[i].type.kind == TYPE_ANY ? 2 * MSGPACK_JSON_FACTOR : 2);
	}
	return b->rows * (b->schema->fields_len * VALUE_TEXT_MAX + SPARE_BYTES) + texts + SPARE_BYTES;
}

static int csv_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e)
{
	char *at = (char *)buf_reserve(out, worst_bytes(b)), *start = at;
	size_t fields = b->schema->fields_len;
	char delimiter = delimiter_of(w);

	for (uint32_t r = 0; r < b->rows; r++) {
		if (b->ops) {
			memcpy(at, writer_op_name(b->ops[r]), 2);
			at[2] = delimiter;
			at += fields ? 3 : 2;
		}
		for (size_t i = 0; i < fields; i++) {
			if (i)
				*at++ = delimiter;
			at += put_field(w, &b->columns[i], r, b->rows, delimiter, at);
		}
		*at++ = '\n';
	}
	out->len += (size_t)(at - start);
	return 0;
}

/* ---- lines ---- */

static int lines_schema(struct writer *w, const struct schema *s, struct buf *out, struct error *e)
{
	if (s->fields_len == 1 && s->fields[0].type.kind == TYPE_STRING)
		return 0;
	if (s->fields_len == 1)
		return error_set(e, ERROR_USAGE, "lines takes one string column, and '%s' is %s\n"
			"cast it: smap '%s::string as line'", s->fields[0].name,
			type_name(s->fields[0].type), s->fields[0].name);
	return error_set(e, ERROR_USAGE, "lines takes one string column, not %zu\n"
		"make one of them: smap '%s::string || '' '' || %s::string as line'", s->fields_len,
		s->fields_len ? s->fields[0].name : "a", s->fields_len ? s->fields[1].name : "b");
}

static int lines_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e)
{
	const struct column *c = &b->columns[0];

	for (uint32_t r = 0; r < b->rows; r++) {
		struct text_view v = column_text(c, r);

		if (column_is_valid(c, r))
			buf_put(out, v.text, v.len);
		buf_put_byte(out, '\n');
	}
	return 0;
}

const struct writer_ops writer_csv = {.name = "csv", .schema = csv_schema, .rows = csv_rows};
const struct writer_ops writer_tsv = {.name = "tsv", .schema = csv_schema, .rows = csv_rows};
const struct writer_ops writer_lines = {.name = "lines", .schema = lines_schema,
	.rows = lines_rows};
