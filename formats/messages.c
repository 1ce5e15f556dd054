#include "formats/messages.h"

#include "formats/ndjson_parts.h"
#include "formats/value.h"
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"

#include <strings.h>

enum {
	PARTS = 8,       /* messages of which one is malformed are parsed in so many parts */
	RESUME_LINE = 2, /* readers look for a byte order mark on line 1 */
	BAD_RECORD_BYTES = 64 << 10,
	ROW_BYTES_MIN = 3, /* no reader makes more rows of fewer bytes than {} and a newline */
};

/* How messages of a format are put one behind the other. */
enum shape {
	SHAPE_OBJECTS, /* a line each, newlines between objects kept */
	SHAPE_EVENTS,  /* a line each, with any number of rows */
	SHAPE_CSV,     /* lines, but not where quotes may hide a newline */
	SHAPE_LINES,   /* lines */
	SHAPE_WHOLE,   /* not at all: the message is a row */
	SHAPE_BINARY,  /* not at all: nothing would tell where a malformed one ends */
};

struct messages {
	struct messages_options o;
	struct arena arena;
	struct schema_spec spec;
	const char *format; /* NULL: no message has come yet */
	enum shape shape;
	struct reader *reader;     /* of values; NULL: SHAPE_WHOLE, or no message has come */
	struct reader *key_reader; /* of keys in JSON; NULL: there are none */
	struct schema schema;
	struct wanted_column *keys; /* those in JSON first */
	size_t keys_len, json_keys_len;
	int latest_column;
	struct buf text, key_text;
	uint32_t *lines_of; /* of each message in text */
	size_t lines_cap;

	/* What was found wrong while messages were parsed. */
	bool is_bad;
	bool stops;      /* at the first: it isn't told, but where the parts are tried */
	bool is_foreign; /* an error that no message is to blame for */
	uint64_t bad_line;
	uint32_t bad_column;
	struct buf bad_reason, bad_record;
};

/* ---- columns ---- */

static bool is_json_key(const struct wanted_column *w)
{
	return w->path_len > 1 || w->type.kind == TYPE_ANY;
}

static bool is_required(const struct messages *m, const char *name)
{
	return m->o.required_column && strcmp(m->o.required_column, name) == 0;
}

static int add_column(struct messages *m, const struct wanted_column *w, struct error *e)
{
	if (schema_find(&m->schema, w->name, strlen(w->name)) >= 0)
		return error_set(e, ERROR_USAGE,
			"two columns are called '%s'; say '... as another'", w->name);
	if (is_required(m, w->name) && m->o.latest_us && w->type.kind == TYPE_TIMESTAMP)
		m->latest_column = (int)m->schema.fields_len;
	schema_add(&m->schema, w->name, strlen(w->name), w->type);
	return 0;
}

/* Columns of the key, those that a JSON reader takes first. */
static void sort_keys(struct messages *m)
{
	m->keys = ARENA_ARRAY(&m->arena, struct wanted_column, m->o.keys_len + 1);
	for (int json = 1; json >= 0; json--) {
		for (size_t i = 0; i < m->o.keys_len; i++) {
			struct wanted_column *w = &m->keys[m->keys_len];

			if (is_json_key(&m->o.keys[i]) != json)
				continue;
			*w = m->o.keys[i];
			w->required = is_required(m, w->name);
			m->keys_len++;
			m->json_keys_len += (size_t)json;
		}
	}
}

static int open_key_reader(struct messages *m, struct error *e)
{
	struct reader_options o = {.input = "key"};

	if (!m->json_keys_len)
		return 0;
	m->key_reader = ndjson_reader_new(&o);
	return m->key_reader->ops->want(m->key_reader, m->keys, m->json_keys_len, e);
}

static int settle_schema(struct messages *m, struct error *e)
{
	for (size_t i = 0; i < m->spec.len; i++) {
		struct wanted_column *w = &m->spec.columns[i];

		w->required = is_required(m, w->name);
		if (add_column(m, w, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < m->keys_len; i++) {
		if (add_column(m, &m->keys[i], e) < 0)
			return -1;
	}
	return 0;
}

/* ---- the reader ---- */

static enum shape shape_of(const struct reader *r)
{
	if (r->ops->changes)
		return SHAPE_EVENTS;
	if (r->ops->is_binary)
		return SHAPE_BINARY;
	if (strcmp(r->ops->name, "csv") == 0)
		return SHAPE_CSV;
	return strcmp(r->ops->name, "ndjson") == 0 ? SHAPE_OBJECTS : SHAPE_LINES;
}

static int check_format(const struct messages *m, const char *format, struct error *e)
{
	bool is_csv = strcmp(format, "csv") == 0 || strcmp(format, "tsv") == 0;

	if (strcmp(format, "frames") == 0)
		return error_set(e, ERROR_USAGE, "-f frames: messages aren't frame streams");
	if (is_csv && m->o.reader.header == HEADER_YES)
		return error_set(e, ERROR_USAGE, "--header yes: messages have no header");
	if (strcmp(format, "avro") == 0 && !m->o.reader.avro_schema && !m->o.reader.registry)
		return error_set(e, ERROR_USAGE,
			"avro messages need --registry URL (Confluent's) or --avro-schema FILE");
	return 0;
}

static int open_reader(struct messages *m, const char *format, struct error *e)
{
	struct reader_options o = m->o.reader;

	if (check_format(m, format, e) < 0)
		return -1;
	o.header = HEADER_NO;
	if (reader_new(format, &o, &m->reader, e) < 0)
		return -1;
	m->reader->ops->start(m->reader, o.input);
	m->format = arena_strdup(&m->arena, format);
	m->shape = strcmp(format, "lines") == 0 ? SHAPE_WHOLE : shape_of(m->reader);
	return 0;
}

/* The columns, once they and the reader are there. */
static int tell_reader(struct messages *m, struct error *e)
{
	return m->reader->ops->want(m->reader, m->spec.columns, m->spec.len, e);
}

/* The first message that has a value, or NULL. */
static const struct message *first_value(const struct message *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (items[i].value && items[i].value_len)
			return &items[i];
	}
	return NULL;
}

static int settle_format(struct messages *m, const struct message *items, size_t n, struct error *e)
{
	const struct message *first = first_value(items, n);
	const char *format = m->o.format ? m->o.format : m->o.reader.regex ? "regex" : NULL;

	if (m->reader || (!format && !first))
		return 0;
	if (!format && *first->value == 0)
		return error_set(e, ERROR_USAGE,
			"%s: messages that begin with a zero byte; are they avro of Confluent's "
			"serialisers?  -f avro --registry URL",
			m->o.reader.input);
	return open_reader(
		m, format ? format : reader_format_of(first->value, first->value_len), e);
}

/* ---- putting messages one behind the other ---- */

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Byte order marks say nothing; a reader would take one for such only at the start of all. */
static void trim_mark(const uint8_t **p, const uint8_t *end)
{
	while (end - *p >= 3 && memcmp(*p, "\xef\xbb\xbf", 3) == 0)
		*p += 3;
}

/* Nor does space around an object. */
static void trim(const uint8_t **p, const uint8_t **end)
{
	trim_mark(p, *end);
	while (*p < *end && is_space((*end)[-1]))
		(*end)--;
	while (*p < *end && is_space(**p))
		(*p)++;
}

/* Newlines become tabs: both are space between JSON's values, and neither may stand in a string.
 * One between } and { stays: no JSON value has that, so it parts two of them.  Returns the lines.
 */
static uint32_t put_objects(struct buf *out, const uint8_t *p, const uint8_t *end)
{
	uint32_t lines = 1;
	const uint8_t *newline;

	while ((newline = memchr(p, '\n', (size_t)(end - p)))) {
		const uint8_t *before = newline;
		bool parts;

		/* The text neither begins nor ends with a space. */
		while (is_space(before[-1]))
			before--;
		buf_put(out, p, (size_t)(newline - p));
		for (p = newline; is_space(*p); p++)
			;
		parts = before[-1] == '}' && *p == '{';
		buf_put_byte(out, parts ? '\n' : '\t');
		lines += parts;
	}
	buf_put(out, p, (size_t)(end - p));
	buf_put_byte(out, '\n');
	return lines;
}

static uint32_t put_lines(struct buf *out, const uint8_t *p, const uint8_t *end)
{
	uint32_t lines = 1;

	buf_put(out, p, (size_t)(end - p));
	buf_put_byte(out, '\n');
	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		p++;
		lines++;
	}
	return lines;
}

static void trim_end(const uint8_t *p, const uint8_t **end)
{
	if (*end > p && (*end)[-1] == '\n')
		(*end)--;
	if (*end > p && (*end)[-1] == '\r')
		(*end)--;
}

/* Appends one message as lines of the text.  0: it has none. */
static uint32_t put_message(const struct messages *m, struct buf *out, const struct message *item)
{
	const uint8_t *p = item->value, *end = p + item->value_len;

	switch (m->shape) {
	case SHAPE_OBJECTS:
	case SHAPE_EVENTS: trim(&p, &end); return p == end ? 0 : put_objects(out, p, end);
	case SHAPE_CSV:
	case SHAPE_LINES:
		trim_mark(&p, end);
		trim_end(p, &end);
		/* A reader takes no empty lines for records before the first that isn't. */
		while (m->shape == SHAPE_CSV && p < end && (*p == '\r' || *p == '\n'))
			p++;
		return p == end ? 0 : put_lines(out, p, end);
	case SHAPE_WHOLE:
	case SHAPE_BINARY: break;
	}
	buf_put(out, p, (size_t)(end - p));
	return 1;
}

/* Whether every newline behind it ends a record. */
static bool has_even_quotes(const struct message *item)
{
	const uint8_t *p = item->value, *end = p + item->value_len;
	bool even = true;

	while ((p = memchr(p, '"', (size_t)(end - p)))) {
		p++;
		even = !even;
	}
	return even && !memchr(item->value, '\n', item->value_len);
}

/* ---- what was wrong ---- */

static int take_bad(void *context, const struct bad_record *bad, struct error *e)
{
	struct messages *m = context;

	if (!m->is_bad) {
		m->bad_line = bad->line;
		m->bad_column = bad->column;
		buf_reset(&m->bad_reason);
		buf_put_text(&m->bad_reason, bad->reason);
		buf_reset(&m->bad_record);
		buf_put(&m->bad_record, bad->record, bad->record_len);
	}
	m->is_bad = true;
	return m->stops ? error_set(e, ERROR_DATA, "a message is malformed") : 0;
}

static void blame(struct messages *m, const char *reason)
{
	const struct bad_record bad = {.line = RESUME_LINE, .reason = reason, .record = ""};
	struct error ignored = ERROR_INIT;

	take_bad(m, &bad, &ignored);
}

/* Hands on what take_bad has kept. */
static int refuse(struct messages *m, const struct message *item, size_t number, struct error *e)
{
	struct buf place = BUF_INIT;
	bool is_shown = m->shape == SHAPE_BINARY && m->bad_record.len;
	const uint8_t *record = is_shown ? m->bad_record.data : item->value;
	size_t len = is_shown ? m->bad_record.len : item->value_len;
	bool is_counted = m->bad_line >= RESUME_LINE && m->shape != SHAPE_BINARY;
	struct bad_record bad = {.line = is_counted ? m->bad_line - RESUME_LINE + 1 : 1,
		.column = m->bad_column,
		.reason = buf_cstr(&m->bad_reason),
		.record = record ? (const char *)record : "",
		.record_len = len < BAD_RECORD_BYTES ? len : BAD_RECORD_BYTES};
	int status;

	m->o.put_place(m->o.context, number, &place);
	bad.input = buf_cstr(&place);
	if (m->o.bad.take)
		status = m->o.bad.take(m->o.bad.context, &bad, e);
	else if (bad.column)
		status = error_set(e, ERROR_DATA, "%s:%llu:%u: %s", bad.input,
			(unsigned long long)bad.line, bad.column, bad.reason);
	else
		status = error_set(e, ERROR_DATA, "%s: %s", bad.input, bad.reason);
	buf_clear(&place);
	return status;
}

/* ---- values ---- */

static bool is_null_text(const struct messages *m, const struct message *item)
{
	for (size_t i = 0; i < m->o.reader.nulls_len; i++) {
		const char *null = m->o.reader.nulls[i];

		if (strlen(null) == item->value_len &&
			(!item->value_len || memcmp(null, item->value, item->value_len) == 0))
			return true;
	}
	return false;
}

/* The message is a row. */
static void take_whole(
	struct messages *m, const struct message *item, struct column_builder *columns)
{
	bool is_null = is_null_text(m, item);

	if (!utf8_valid((const char *)item->value, item->value_len)) {
		blame(m, "not UTF-8");
		return;
	}
	for (size_t i = 0; i < m->spec.len; i++) {
		if (is_null)
			builder_put_null(&columns[i]);
		else
			builder_put_text(&columns[i], item->value, item->value_len);
		if (is_null && m->spec.columns[i].required)
			blame(m, "null, where the event time should be");
	}
}

/* All of the text.  What a reader can't blame a message for is an error. */
static int parse_text(struct messages *m, const uint8_t *text, size_t len,
	struct column_builder *columns, struct error *e)
{
	const struct bad_sink keep = {.take = take_bad, .context = m};

	if (!m->reader->ops->needs_start || !m->reader->ops->needs_start(m->reader))
		m->reader->ops->resume(m->reader, RESUME_LINE);
	for (size_t at = 0, n; at < len; at += n) {
		uint32_t before = columns[0].rows;

		if (m->reader->ops->parse(m->reader, text + at, len - at, true,
			    (uint32_t)(len / ROW_BYTES_MIN + 2), columns, &keep, &n, e) < 0) {
			if (e->code == ERROR_DATA) {
				if (!m->is_bad)
					blame(m, e->text);
				error_clear(e);
				return 0;
			}
			m->is_foreign = !m->is_bad;
			return -1;
		}
		if (!n && columns[0].rows == before)
			break;
	}
	return 0;
}

static void put_nulls(struct messages *m, struct column_builder *columns)
{
	for (size_t i = 0; i < m->spec.len; i++) {
		builder_put_null(&columns[i]);
		if (m->spec.columns[i].required)
			blame(m, "a tombstone has no event time; take it from the message: "
				 "--meta 'timestamp as at' -t at");
	}
}

/* ---- keys ---- */

/* Whether the text is one JSON value, so that it may stand inside of another. */
static bool is_json(const struct messages *m, const uint8_t *p, const uint8_t *end, char *reason)
{
	const struct reader_options none = {.input = "key"};
	struct buf scratch = BUF_INIT;
	struct ndjson_cursor c = {
		.p = p, .end = end, .reason = reason, .options = &none, .scratch = &scratch};
	bool good;

	ndjson_space(&c);
	good = ndjson_skip(&c) == 0;
	ndjson_space(&c);
	buf_clear(&scratch);
	return good && c.p == c.end;
}

/* {"key":KEY} */
static bool put_json_key(struct messages *m, const struct message *item)
{
	char reason[NDJSON_REASON_MAX];
	const uint8_t *p = item->key, *end = p + item->key_len;

	if (!p) {
		buf_put_text(&m->key_text, "{}\n");
		return true;
	}
	trim(&p, &end);
	if (!is_json(m, p, end, reason)) {
		blame(m, "the key isn't JSON");
		return false;
	}
	buf_put_text(&m->key_text, "{\"key\":");
	put_objects(&m->key_text, p, end);
	m->key_text.data[m->key_text.len - 1] = '}';
	buf_put_byte(&m->key_text, '\n');
	return true;
}

static void take_plain_key(struct messages *m, const struct wanted_column *w,
	const struct message *item, struct column_builder *column)
{
	struct buf reason = BUF_INIT;
	enum number_status status;

	if (!item->key && w->required)
		blame(m, "a message without a key, where the event time should be");
	if (!item->key) {
		builder_put_null(column);
		return;
	}
	status = value_put(column, w->unit, (const char *)item->key, item->key_len);
	if (status == NUMBER_OK)
		return;
	buf_put_text(&reason, "its key: ");
	value_explain(&reason, w, (const char *)item->key, item->key_len, status);
	blame(m, buf_cstr(&reason));
	buf_clear(&reason);
}

/* A key for each row of the messages. */
static int take_keys(struct messages *m, const struct message *items, size_t n,
	const uint32_t *rows_of, struct column_builder *columns, struct error *e)
{
	const struct bad_sink keep = {.take = take_bad, .context = m};
	size_t consumed;

	buf_reset(&m->key_text);
	for (size_t i = 0; i < n && !m->is_bad; i++) {
		for (uint32_t row = 0; row < rows_of[i] && !m->is_bad; row++) {
			if (m->json_keys_len)
				put_json_key(m, &items[i]);
			for (size_t k = m->json_keys_len; k < m->keys_len; k++)
				take_plain_key(m, &m->keys[k], &items[i], &columns[k]);
		}
	}
	if (m->is_bad || !m->key_text.len)
		return 0;
	m->key_reader->ops->resume(m->key_reader, RESUME_LINE);
	if (m->key_reader->ops->parse(m->key_reader, m->key_text.data, m->key_text.len, true,
		    UINT32_MAX, columns, &keep, &consumed, e) < 0) {
		m->is_foreign = !m->is_bad;
		return -1;
	}
	return 0;
}

/* ---- messages to rows ---- */

struct pass {
	struct messages *m;
	struct batch_builder *b;
	const struct message *items;
	uint32_t *rows_of;
	struct error *e;
};

static void take_back(const struct pass *p, uint32_t rows)
{
	for (size_t i = 0; i < p->m->schema.fields_len; i++)
		builder_truncate(&p->b->columns[i], rows);
	if (p->m->schema.changelog)
		p->b->ops.len = rows;
}

static bool is_row(const struct messages *m, const struct message *item)
{
	return item->value || (m->keys_len && m->shape != SHAPE_EVENTS);
}

/* Whether a time is further ahead than it may be. */
static void check_times(struct messages *m, const struct batch_builder *b, uint32_t from)
{
	struct column times;
	struct buf reason = BUF_INIT;

	if (m->latest_column < 0)
		return;
	times = builder_column(&b->columns[m->latest_column]);
	for (uint32_t row = from; row < b->columns[0].rows && !m->is_bad; row++) {
		if (!column_is_valid(&times, row) || column_int(&times, row) <= *m->o.latest_us)
			continue;
		column_put_text(&times, row, 64, &reason);
		buf_put_text(&reason, " is further ahead of the clock than --max-ahead allows");
		blame(m, buf_cstr(&reason));
	}
	buf_clear(&reason);
}

/* The values of messages that can be parsed in one call.  1: they can't. */
static int gather(struct messages *m, const struct message *items, size_t n)
{
	buf_reset(&m->text);
	MEM_GROW(m->lines_of, m->lines_cap, n);
	for (size_t i = 0; i < n; i++) {
		m->lines_of[i] = 0;
		if (!items[i].value && !is_row(m, &items[i]))
			continue;
		if (!items[i].value && m->shape != SHAPE_OBJECTS)
			return 1;
		if (!items[i].value) {
			buf_put_text(&m->text, "{}\n");
			m->lines_of[i] = 1;
			continue;
		}
		if (m->shape == SHAPE_CSV && !has_even_quotes(&items[i]))
			return 1;
		m->lines_of[i] = put_message(m, &m->text, &items[i]);
		if (!m->lines_of[i])
			return 1;
	}
	return 0;
}

/* All of them in one call.  0; 1: one of them is malformed, or that can't be told; -1. */
static int take_at_once(const struct pass *p, size_t first, size_t n)
{
	struct messages *m = p->m;
	uint32_t before = p->b->columns[0].rows, lines = 0;
	bool is_mapped = p->rows_of || m->keys_len;
	int status;

	if (!m->reader || m->shape == SHAPE_WHOLE || m->shape == SHAPE_BINARY ||
		(m->shape == SHAPE_EVENTS && is_mapped) || gather(m, p->items + first, n))
		return 1;
	m->is_bad = m->is_foreign = false;
	m->stops = true;
	status = parse_text(m, m->text.data, m->text.len, p->b->columns, p->e);
	for (size_t i = 0; i < n; i++)
		lines += m->lines_of[i];
	if (status == 0 && !m->is_bad && m->shape != SHAPE_EVENTS &&
		p->b->columns[0].rows - before != lines)
		m->is_bad = true;
	if (status == 0 && !m->is_bad && m->keys_len)
		status = take_keys(
			m, p->items + first, n, m->lines_of, p->b->columns + m->spec.len, p->e);
	if (status == 0 && !m->is_bad)
		check_times(m, p->b, before);
	if (status < 0 && m->is_foreign)
		return -1;
	if (status < 0)
		error_clear(p->e);
	if (status < 0 || m->is_bad) {
		take_back(p, before);
		return 1;
	}
	for (size_t i = 0; p->rows_of && i < n; i++)
		p->rows_of[first + i] = m->lines_of[i];
	return 0;
}

static int take_value(struct messages *m, const struct message *item,
	struct column_builder *columns, struct error *e)
{
	const uint8_t *text = item->value;
	size_t len = item->value_len;

	if (!item->value) {
		put_nulls(m, columns);
		return 0;
	}
	if (!m->reader)
		return 0;
	if (m->shape == SHAPE_WHOLE) {
		take_whole(m, item, columns);
		return 0;
	}
	if (m->shape != SHAPE_BINARY) {
		buf_reset(&m->text);
		put_message(m, &m->text, item);
		text = m->text.data;
		len = m->text.len;
	}
	return len ? parse_text(m, text, len, columns, e) : 0;
}

static int take_one(const struct pass *p, size_t number)
{
	struct messages *m = p->m;
	const struct message *item = &p->items[number];
	uint32_t before = p->b->columns[0].rows, rows;
	int status;

	if (p->rows_of)
		p->rows_of[number] = 0;
	if (!is_row(m, item))
		return 0;
	m->is_bad = m->stops = m->is_foreign = false;
	status = take_value(m, item, p->b->columns, p->e);
	rows = p->b->columns[0].rows - before;
	if (status == 0 && !rows && !m->is_bad && m->shape != SHAPE_EVENTS)
		blame(m, "a message that holds no record");
	if (status == 0 && !m->is_bad && m->keys_len)
		status = take_keys(m, item, 1, &rows, p->b->columns + m->spec.len, p->e);
	if (status == 0 && !m->is_bad)
		check_times(m, p->b, before);
	if (status < 0)
		return -1;
	if (m->is_bad) {
		take_back(p, before);
		return refuse(m, item, number, p->e);
	}
	if (p->rows_of)
		p->rows_of[number] = rows;
	return 0;
}

/* Parts of parts, down to single messages: one malformed among a thousand costs the others a second
 * look, not a call for each. */
static int take(const struct pass *p, size_t first, size_t n)
{
	size_t part = (n + PARTS - 1) / PARTS;
	int status = n > 1 ? take_at_once(p, first, n) : take_one(p, first);

	if (status <= 0)
		return status;
	for (size_t at = 0; at < n; at += part) {
		if (take(p, first + at, n - at < part ? n - at : part) < 0)
			return -1;
	}
	return 0;
}

int messages_parse(struct messages *m, const struct message *items, size_t n,
	struct batch_builder *b, uint32_t *rows_of, struct error *e)
{
	const struct pass p = {m, b, items, rows_of, e};

	if (!n)
		return 0;
	if (!m->reader &&
		(settle_format(m, items, n, e) < 0 || (m->reader && tell_reader(m, e) < 0)))
		return -1;
	if (m->reader)
		m->reader->changes = m->schema.changelog ? &b->ops : NULL;
	return take(&p, 0, n);
}

/* ---- life ---- */

int messages_need_sample(const struct messages_options *o, bool *out, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct schema_spec spec = {.star = true};
	int status = 0;

	if (o->schema_text)
		status = schema_spec_parse(o->schema_text, &arena, &spec, e);
	*out = schema_spec_is_open(&spec);
	arena_clear(&arena);
	return status;
}

static int infer_text(
	struct messages *m, const struct buf *text, struct schema *found, struct error *e)
{
	uint32_t rows = m->o.infer_rows ? m->o.infer_rows : MESSAGES_SAMPLE_ROWS;

	schema_clear(found);
	schema_init(found);
	return m->reader->ops->infer(m->reader, text->data, text->len, true, rows, found, e);
}

/* Of the messages alone that make sense each by itself: what is wrong with others is told when they are
 * parsed.  1: there is none. */
static int infer_apart(struct messages *m, const struct message *sample, size_t n,
	struct schema *found, struct error *e)
{
	struct buf good = BUF_INIT;
	int status = 1;

	for (size_t i = 0; i < n; i++) {
		struct error ignored = ERROR_INIT;

		buf_reset(&m->text);
		if (!sample[i].value || !sample[i].value_len)
			continue;
		put_message(m, &m->text, &sample[i]);
		if (infer_text(m, &m->text, found, &ignored) == 0 && found->fields_len)
			buf_put(&good, m->text.data, m->text.len);
	}
	if (good.len) {
		error_clear(e);
		status = infer_text(m, &good, found, e);
	}
	buf_clear(&good);
	return status;
}

static int infer(struct messages *m, const struct message *sample, size_t n, struct error *e)
{
	struct schema found = SCHEMA_INIT;
	int status;

	buf_reset(&m->text);
	buf_reserve(&m->text, 1);
	for (size_t i = 0; i < n; i++) {
		if (sample[i].value)
			put_message(m, &m->text, &sample[i]);
	}
	status = infer_text(m, &m->text, &found, e);
	if (status < 0 && e->code == ERROR_DATA && infer_apart(m, sample, n, &found, e) == 0)
		status = 0;
	if (status == 0)
		status = schema_spec_settle(&m->spec, &found, m->o.reader.input, &m->arena, e);
	schema_clear(&found);
	return status;
}

static int settle(struct messages *m, const struct message *sample, size_t n, struct error *e)
{
	m->spec.star = true;
	sort_keys(m);
	if (m->o.schema_text && schema_spec_parse(m->o.schema_text, &m->arena, &m->spec, e) < 0)
		return -1;
	if (settle_format(m, sample, n, e) < 0)
		return -1;
	if (schema_spec_is_open(&m->spec) && !m->reader)
		return error_set(e, ERROR_DATA, "%s: no message that types could be inferred from",
			m->o.reader.input);
	if (schema_spec_is_open(&m->spec) && infer(m, sample, n, e) < 0)
		return -1;
	if (!m->spec.len)
		return error_set(e, ERROR_USAGE, "%s: no columns", m->o.reader.input);
	m->schema.changelog = m->reader && m->reader->ops->changes;
	if (m->schema.changelog && m->o.latest_us)
		return error_set(e, ERROR_USAGE, "--max-ahead is for rows, not for changes (-f %s)",
			m->format);
	if (settle_schema(m, e) < 0 || open_key_reader(m, e) < 0)
		return -1;
	return m->reader ? tell_reader(m, e) : 0;
}

int messages_open(const struct messages_options *o, const struct message *sample, size_t n,
	struct messages **out, struct error *e)
{
	struct messages *m = mem_zero(sizeof *m);

	m->o = *o;
	m->latest_column = -1;
	schema_init(&m->schema);
	if (settle(m, sample, n, e) < 0) {
		messages_close(m);
		return -1;
	}
	*out = m;
	return 0;
}

void messages_close(struct messages *m)
{
	if (!m)
		return;
	if (m->reader)
		m->reader->ops->free(m->reader);
	if (m->key_reader)
		m->key_reader->ops->free(m->key_reader);
	schema_clear(&m->schema);
	buf_clear(&m->text);
	buf_clear(&m->key_text);
	buf_clear(&m->bad_reason);
	buf_clear(&m->bad_record);
	mem_free(m->lines_of);
	arena_clear(&m->arena);
	mem_free(m);
}

const struct schema *messages_schema(const struct messages *m)
{
	return &m->schema;
}

void messages_put_spec(const struct messages *m, struct buf *out)
{
	schema_spec_put(&m->spec, out);
}

const char *messages_format(const struct messages *m)
{
	return m->format;
}
