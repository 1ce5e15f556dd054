#include "cmd/ssink/connected/kafka_messages.h"

#include "libcore/base/arena.h"
#include "libcore/base/memory.h"

#include <ctype.h>
#include <string.h>

enum { COLUMNS_MAX = 64, TEXT_MAX = 1 << 20 };

struct named {
	char *names[COLUMNS_MAX];
	int columns[COLUMNS_MAX];
	size_t len;
};

struct kafka_messages {
	struct messages_options o;
	struct writer *values;
	struct writer *keys; /* of several columns: JSON; NULL: none, or one */
	struct named key, headers;
	bool is_binary; /* a newline at the end is data */
	struct schema schema, value_schema, key_schema;
	struct arena arena;
	struct buf text, key_text;
	uint32_t *key_ends;
	size_t key_ends_cap;
};

/* ---- columns ---- */

static int read_names(const char *text, const char *option, struct named *out, struct error *e)
{
	while (text && *text) {
		size_t len = strcspn(text, ",");
		const char *name = text, *end = text + len;

		while (name < end && isspace((unsigned char)*name))
			name++;
		while (end > name && isspace((unsigned char)end[-1]))
			end--;
		if (end == name || out->len == COLUMNS_MAX)
			return error_set(e, ERROR_USAGE,
				"%s: columns with a comma between, as in 'shop, id'", option);
		out->names[out->len++] = mem_strndup(name, (size_t)(end - name));
		text += len + (text[len] == ',');
	}
	return 0;
}

static int find_columns(
	struct named *n, const struct schema *s, const char *option, struct error *e)
{
	for (size_t i = 0; i < n->len; i++) {
		n->columns[i] = schema_require(s, n->names[i], strlen(n->names[i]), "input", e);
		if (n->columns[i] < 0)
			return error_context(e, "%s", option);
	}
	return 0;
}

int kafka_messages_new(
	const struct messages_options *o, struct kafka_messages **out, struct error *e)
{
	struct kafka_messages *m = mem_zero(sizeof *m);
	struct writer_options json = {.header = false};
	int status;

	m->o = *o;
	schema_init(&m->schema);
	schema_init(&m->value_schema);
	schema_init(&m->key_schema);
	m->o.writer.header = false;
	m->is_binary = strcmp(o->format, "msgpack") == 0 || strcmp(o->format, "avro") == 0;
	status = writer_new(o->format, &m->o.writer, &m->values, e);
	if (status == 0)
		status = read_names(o->key, o->upserts ? "--upsert" : "--message-key", &m->key, e);
	if (status == 0)
		status = read_names(o->headers, "--message-headers", &m->headers, e);
	if (status == 0 && m->key.len > 1)
		status = writer_new("ndjson", &json, &m->keys, e);
	if (status < 0)
		kafka_messages_free(m);
	else
		*out = m;
	return status;
}

static void named_clear(struct named *n)
{
	for (size_t i = 0; i < n->len; i++)
		mem_free(n->names[i]);
}

void kafka_messages_free(struct kafka_messages *m)
{
	if (!m)
		return;
	writer_free(m->values);
	writer_free(m->keys);
	named_clear(&m->key);
	named_clear(&m->headers);
	schema_clear(&m->schema);
	schema_clear(&m->value_schema);
	schema_clear(&m->key_schema);
	arena_clear(&m->arena);
	buf_clear(&m->text);
	buf_clear(&m->key_text);
	mem_free(m->key_ends);
	mem_free(m);
}

int kafka_messages_schema(struct kafka_messages *m, const struct schema *s, struct error *e)
{
	struct buf header = BUF_INIT;
	int status;

	if (find_columns(&m->key, s, m->o.upserts ? "--upsert" : "--message-key", e) < 0 ||
		find_columns(&m->headers, s, "--message-headers", e) < 0)
		return -1;
	schema_clear(&m->schema);
	schema_copy(&m->schema, s);
	schema_clear(&m->value_schema);
	schema_copy(&m->value_schema, s);
	if (m->o.upserts)
		m->value_schema.changelog = false;
	schema_clear(&m->key_schema);
	schema_init(&m->key_schema);
	for (size_t i = 0; i < m->key.len; i++)
		schema_add_field(&m->key_schema, &s->fields[m->key.columns[i]]);
	/* What a format puts in front of rows is no message. */
	status = writer_schema(m->values, &m->value_schema, &header, e);
	if (status == 0 && m->keys)
		status = writer_schema(m->keys, &m->key_schema, &header, e);
	buf_clear(&header);
	return status;
}

/* ---- keys ---- */

static void put_text(const struct column *c, uint32_t row, struct buf *out)
{
	struct text_view t;

	if (c->type.kind == TYPE_STRING || c->type.kind == TYPE_BYTES) {
		t = column_text(c, row);
		buf_put(out, t.text, t.len);
	} else {
		column_put_text(c, row, TEXT_MAX, out);
	}
}

/* The keys of all rows, one after another; where each ends. */
static int put_keys(struct kafka_messages *m, const struct batch *b, struct error *e)
{
	struct batch keys = {.schema = &m->key_schema, .rows = b->rows};
	struct column *columns;

	buf_reset(&m->key_text);
	MEM_GROW(m->key_ends, m->key_ends_cap, b->rows + (size_t)1);
	if (!m->keys) {
		const struct column *c = m->key.len ? &b->columns[m->key.columns[0]] : NULL;

		for (uint32_t r = 0; r < b->rows; r++) {
			if (c && column_is_valid(c, r))
				put_text(c, r, &m->key_text);
			m->key_ends[r] = (uint32_t)m->key_text.len;
		}
		return 0;
	}
	columns = ARENA_ARRAY(&m->arena, struct column, m->key.len);
	for (size_t i = 0; i < m->key.len; i++)
		columns[i] = b->columns[m->key.columns[i]];
	keys.columns = columns;
	if (writer_rows(m->keys, &keys, &m->key_text, e) < 0)
		return -1;
	for (uint32_t r = 0, at = 0; r < b->rows; r++) {
		const uint8_t *newline = memchr(m->key_text.data + at, '\n', m->key_text.len - at);

		m->key_ends[r] = at = (uint32_t)(newline - m->key_text.data) + 1;
	}
	return 0;
}

static void find_key(
	const struct kafka_messages *m, const struct batch *b, uint32_t row, struct message_view *v)
{
	uint32_t from = row ? m->key_ends[row - 1] : 0;

	v->has_key = m->key.len > 1 ||
		     (m->key.len == 1 && column_is_valid(&b->columns[m->key.columns[0]], row));
	v->key = m->key_text.data + from;
	v->key_len = m->key_ends[row] - from - (m->keys != NULL);
}

/* ---- values ---- */

/* One row's message; nothing for a format that makes one of it and the next. */
static int take_row(struct kafka_messages *m, const struct batch *b, uint32_t row, uint32_t n,
	const struct messages_take *take, struct error *e)
{
	struct message_view v = {.row = row + n - 1};
	struct batch one;

	batch_slice(b, row, n, &m->arena, &one);
	one.schema = &m->value_schema;
	if (!m->value_schema.changelog)
		one.ops = NULL;
	buf_reset(&m->text);
	if (writer_rows(m->values, &one, &m->text, e) < 0)
		return -1;
	v.value = m->text.data ? m->text.data : (const uint8_t *)"";
	v.value_len = m->text.len;
	if (!m->is_binary && v.value_len && v.value[v.value_len - 1] == '\n')
		v.value_len--;
	find_key(m, b, v.row, &v);
	return take->take(take->context, &v, e);
}

/* A tombstone. */
static int take_delete(struct kafka_messages *m, const struct batch *b, uint32_t row,
	const struct messages_take *take, struct error *e)
{
	struct message_view v = {.row = row};

	find_key(m, b, row, &v);
	return take->take(take->context, &v, e);
}

static bool is_update(const struct batch *b, uint32_t row)
{
	return b->ops && b->ops[row] == ROW_UPDATE_BEFORE && row + 1 < b->rows &&
	       b->ops[row + 1] == ROW_UPDATE_AFTER;
}

/* ndjson: a line a row, and no newline in it. */
static int take_lines(struct kafka_messages *m, const struct batch *b,
	const struct messages_take *take, struct error *e)
{
	struct batch values = *b;
	const uint8_t *at;

	values.schema = &m->value_schema;
	buf_reset(&m->text);
	if (writer_rows(m->values, &values, &m->text, e) < 0)
		return -1;
	at = m->text.data;
	for (uint32_t r = 0; r < b->rows; r++) {
		const uint8_t *newline = memchr(
			at, '\n', (size_t)(m->text.data + m->text.len - at));
		struct message_view v = {
			.row = r, .value = at, .value_len = (size_t)(newline - at)};

		find_key(m, b, r, &v);
		if (take->take(take->context, &v, e) < 0)
			return -1;
		at = newline + 1;
	}
	return 0;
}

int kafka_messages_rows(struct kafka_messages *m, const struct batch *b,
	const struct messages_take *take, struct error *e)
{
	bool is_debezium = strcmp(m->o.format, "debezium-json") == 0;
	int status = 0;

	arena_reset(&m->arena);
	if (put_keys(m, b, e) < 0)
		return -1;
	if (strcmp(m->o.format, "ndjson") == 0 && !(m->o.upserts && b->ops))
		return take_lines(m, b, take, e);
	for (uint32_t r = 0; r < b->rows && status == 0; r++) {
		uint8_t op = b->ops ? b->ops[r] : ROW_INSERT;
		uint32_t n = is_debezium && is_update(b, r) ? 2 : 1;

		if (m->o.upserts && op == ROW_UPDATE_BEFORE && is_update(b, r))
			continue;
		if (m->o.upserts && (op == ROW_DELETE || op == ROW_UPDATE_BEFORE))
			status = take_delete(m, b, r, take, e);
		else
			status = take_row(m, b, r, n, take, e);
		r += n - 1;
	}
	return status;
}

/* ---- headers ---- */

size_t kafka_messages_headers(const struct kafka_messages *m)
{
	return m->headers.len;
}

bool kafka_messages_header(const struct kafka_messages *m, const struct batch *b, uint32_t row,
	size_t i, const char **name, struct buf *out)
{
	const struct column *c = &b->columns[m->headers.columns[i]];

	*name = m->headers.names[i];
	buf_reset(out);
	if (!column_is_valid(c, row))
		return false;
	put_text(c, row, out);
	return true;
}
