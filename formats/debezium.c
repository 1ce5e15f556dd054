/* Debezium's change events to a changelog: a JSON object a line (or a message) with what a row was
 * and what it is,
 *
 *   {"before": {...} or null, "after": {...} or null, "op": "c", ...}
 *
 * alone or as the "payload" beside a "schema".  c and r insert `after`, d deletes `before`, u does
 * both (-U, +U, neighbours).  t, m, and a null alone (the tombstone behind a delete) change no row
 * that could be told, and are passed over; t, a truncation, is malformed, because it does.  Columns
 * are those of the rows; everything else of an event is not looked at.
 *
 * The images of a window's events are put one after another, a line each, and go through the ndjson
 * reader in one call; only if one of them is malformed they go event by event. */
#include "formats/ndjson_parts.h"
#include "libcore/base/memory.h"
#include "libcore/table/column.h"

enum { BAD_RECORD_BYTES = 64 << 10 };

/* What an event says, as parts of its line. */
struct event {
	const uint8_t *line, *line_end;
	struct text_view before, after; /* text NULL: null, or not there */
	char op;                        /* 0: no row changes */
};

/* One row image among those of a parse. */
struct image {
	uint8_t op;
	struct text_view text; /* in the event's line */
};

struct debezium {
	struct reader reader;
	struct reader *rows; /* the reader of images */
	struct reader_options options;
	char *input;
	uint64_t line;
	size_t columns_len;

	struct buf text;     /* images, a line each */
	struct image *images;
	size_t images_len, images_cap;
	struct buf scratch, reason_text;
	char reason[NDJSON_REASON_MAX];
};

static struct debezium *self(struct reader *reader)
{
	return (struct debezium *)reader; /* its first member */
}

/* ---- one event ---- */

static bool is_key(struct text_view key, const char *name)
{
	return key.len == strlen(name) && memcmp(key.text, name, key.len) == 0;
}

static int read_member(struct ndjson_cursor *c, struct text_view key, struct event *out);

/* The members of the object at c->p. */
static int read_object(struct ndjson_cursor *c, struct event *out)
{
	struct text_view key;

	do {
		c->p++;
		ndjson_space(c);
		if (c->p < c->end && *c->p == '}' && c->p[-1] != ',')
			break;
		if (c->p == c->end || *c->p != '"')
			return ndjson_fail(c, "a key in double quotes should be here");
		if (ndjson_string(c, &key) < 0)
			return -1;
		ndjson_space(c);
		if (c->p == c->end || *c->p != ':')
			return ndjson_fail(c, "a colon should follow the key");
		c->p++;
		ndjson_space(c);
		if (read_member(c, key, out) < 0)
			return -1;
		ndjson_space(c);
	} while (c->p < c->end && *c->p == ',');
	if (c->p == c->end || *c->p != '}')
		return ndjson_fail(c, "a comma or } should follow the value");
	c->p++;
	return 0;
}

static int read_op(struct ndjson_cursor *c, char *out)
{
	struct text_view op;

	if (c->p == c->end || *c->p != '"' || ndjson_string(c, &op) < 0 || op.len != 1)
		return ndjson_fail(c, "op is one of c, r, u, d");
	*out = *op.text;
	return 0;
}

static int read_member(struct ndjson_cursor *c, struct text_view key, struct event *out)
{
	const uint8_t *from = c->p;
	bool is_before = is_key(key, "before"), is_after = is_key(key, "after");
	struct text_view *image = is_before ? &out->before : &out->after;

	if (is_key(key, "payload") && c->p < c->end && *c->p == '{')
		return read_object(c, out);
	if (is_key(key, "op"))
		return read_op(c, &out->op);
	if (ndjson_skip(c) < 0)
		return -1;
	if ((is_before || is_after) && *from == '{')
		*image = (struct text_view){(const char *)from, (size_t)(c->p - from)};
	else if ((is_before || is_after) && *from != 'n')
		return ndjson_fail(c, "%s is neither an object nor null", is_before ? "before" : "after");
	return 0;
}

static int check_event(struct ndjson_cursor *c, struct event *out)
{
	switch (out->op) {
	case 'c':
	case 'r':
		return out->after.text ? 0 : ndjson_fail(c, "an insert without 'after'");
	case 'u':
		if (!out->after.text)
			return ndjson_fail(c, "an update without 'after'");
		if (!out->before.text)
			return ndjson_fail(c, "an update without 'before', the row as it was (PostgreSQL "
				"tells it after ALTER TABLE ... REPLICA IDENTITY FULL)");
		return 0;
	case 'd':
		return out->before.text ? 0
			: ndjson_fail(c, "a delete without 'before', the row as it was (PostgreSQL tells "
				"it after ALTER TABLE ... REPLICA IDENTITY FULL)");
	case 'm':
		out->op = 0;
		return 0;
	case 't': return ndjson_fail(c, "a truncation: the rows it takes away aren't told");
	case 0: return ndjson_fail(c, "no 'op': this is no change event of Debezium");
	default: return ndjson_fail(c, "op is '%c', not one of c, r, u, d", out->op);
	}
}

/* The event on [out->line, out->line_end).  -1: *fail_at and d->reason tell. */
static int read_event(struct debezium *d, struct event *out, const uint8_t **fail_at)
{
	struct ndjson_cursor c = {.p = out->line, .end = out->line_end, .reason = d->reason,
		.options = &d->options, .scratch = &d->scratch};
	int status;

	out->op = 0;
	out->before = out->after = (struct text_view){NULL, 0};
	ndjson_space(&c);
	if (c.p == c.end || (c.end - c.p >= 4 && memcmp(c.p, "null", 4) == 0))
		return 0;
	status = *c.p != '{' ? ndjson_fail(&c, "a change event is an object") : read_object(&c, out);
	ndjson_space(&c);
	if (status == 0 && c.p < c.end)
		status = ndjson_fail(&c, "the record should end here");
	if (status == 0) {
		status = check_event(&c, out);
		*fail_at = out->line;
	} else {
		*fail_at = c.p;
	}
	return status;
}

/* ---- what was malformed ---- */

static int refuse(struct debezium *d, const struct bad_sink *bad, const struct event *event,
	const uint8_t *at, const char *reason, struct error *e)
{
	size_t len = (size_t)(event->line_end - event->line);
	struct bad_record b = {.input = d->input, .line = d->line,
		.column = at ? (uint32_t)(at - event->line) + 1 : 0, .reason = reason,
		.record = (const char *)event->line,
		.record_len = len < BAD_RECORD_BYTES ? len : BAD_RECORD_BYTES};

	if (bad && bad->take)
		return bad->take(bad->context, &b, e);
	return error_set(e, ERROR_DATA, "%s:%llu:%u: %s", b.input, (unsigned long long)b.line,
		b.column, b.reason);
}

static int ignore_bad(void *context, const struct bad_record *bad, struct error *e)
{
	return 0;
}

struct bad_image {
	struct buf *reason;
	uint32_t column;
};

static int keep_bad(void *context, const struct bad_record *bad, struct error *e)
{
	struct bad_image *b = context;

	buf_reset(b->reason);
	buf_put_text(b->reason, bad->reason);
	b->column = bad->column;
	return 0;
}

/* ---- rows ---- */

static void put_image(struct debezium *d, struct text_view text, enum row_op op)
{
	if (d->images_len == d->images_cap) {
		d->images_cap = d->images_cap ? 2 * d->images_cap : 64;
		d->images = mem_resize(d->images, d->images_cap * sizeof *d->images);
	}
	d->images[d->images_len++] = (struct image){(uint8_t)op, text};
	buf_put(&d->text, text.text, text.len);
	buf_put_byte(&d->text, '\n');
}

static void put_images(struct debezium *d, const struct event *event)
{
	bool is_update = event->op == 'u';

	if (event->op == 'd' || is_update)
		put_image(d, event->before, is_update ? ROW_UPDATE_BEFORE : ROW_DELETE);
	if (event->op && event->op != 'd')
		put_image(d, event->after, is_update ? ROW_UPDATE_AFTER : ROW_INSERT);
}

static void take_back(struct debezium *d, struct column_builder *builders, uint32_t rows)
{
	for (size_t i = 0; i < d->columns_len; i++)
		builder_truncate(&builders[i], rows);
}

/* Rows of all images at once.  False: one of them is malformed, and there are none. */
static bool take_all(struct debezium *d, struct column_builder *builders)
{
	const struct bad_sink quiet = {.take = ignore_bad};
	uint32_t before = builders[0].rows;
	struct error ignored = ERROR_INIT;
	size_t consumed;

	d->rows->ops->resume(d->rows, 2);
	if (d->rows->ops->parse(d->rows, d->text.data, d->text.len, true, UINT32_MAX, builders,
		    &quiet, &consumed, &ignored) == 0 &&
		builders[0].rows - before == d->images_len)
		return true;
	take_back(d, builders, before);
	return false;
}

/* Rows of the images of one event, or none and what was wrong. */
static int take_event(struct debezium *d, struct column_builder *builders,
	const struct bad_sink *bad, const struct event *event, struct error *e)
{
	struct bad_image kept = {.reason = &d->reason_text};
	const struct bad_sink keep = {.take = keep_bad, .context = &kept};
	uint32_t before = builders[0].rows;

	for (size_t i = 0; i < d->images_len; i++) {
		struct text_view t = d->images[i].text;
		size_t consumed;

		d->rows->ops->resume(d->rows, 2);
		if (d->rows->ops->parse(d->rows, (const uint8_t *)t.text, t.len, true, 1, builders,
			    &keep, &consumed, e) < 0)
			return -1;
		if (builders[0].rows - before == i + 1)
			continue;
		take_back(d, builders, before);
		d->images_len = 0;
		return refuse(d, bad, event, (const uint8_t *)t.text + kept.column - !!kept.column,
			buf_cstr(&d->reason_text), e);
	}
	return 0;
}

static void put_ops(struct debezium *d)
{
	for (size_t i = 0; d->reader.changes && i < d->images_len; i++)
		buf_put_byte(d->reader.changes, d->images[i].op);
}

/* The next line of the window; false: there is no whole one. */
static bool next_line(const uint8_t *p, const uint8_t *end, bool last, struct event *out)
{
	const uint8_t *newline = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;

	out->line = p;
	out->line_end = newline ? newline : end;
	return newline || (last && p < end);
}

static const uint8_t *behind(const struct event *event, const uint8_t *end)
{
	return event->line_end < end ? event->line_end + 1 : end;
}

/* Events one by one, telling which are malformed. */
static int parse_slowly(struct debezium *d, const uint8_t **p, const uint8_t *end, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	struct error *e)
{
	uint32_t before = builders[0].rows;
	struct event event;

	while (builders[0].rows - before < rows_max && next_line(*p, end, last, &event)) {
		const uint8_t *at;
		int status;

		d->images_len = 0;
		buf_reset(&d->text);
		if (read_event(d, &event, &at) < 0) {
			status = refuse(d, bad, &event, at, d->reason, e);
		} else {
			put_images(d, &event);
			status = take_event(d, builders, bad, &event, e);
		}
		if (status < 0)
			return -1;
		put_ops(d);
		d->line++;
		*p = behind(&event, end);
	}
	return 0;
}

static int debezium_parse(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	size_t *consumed, struct error *e)
{
	struct debezium *d = self(reader);
	const uint8_t *p = bytes, *end = bytes + len, *at;
	uint64_t line = d->line;
	struct event event;
	bool good = true;
	int status = 0;

	if (line == 1 && len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	bytes = p;
	d->images_len = 0;
	buf_reset(&d->text);
	while (good && d->images_len < rows_max && next_line(p, end, last, &event)) {
		good = read_event(d, &event, &at) == 0;
		put_images(d, &event);
		d->line++;
		p = behind(&event, end);
	}
	if (good && d->images_len)
		good = take_all(d, builders);
	if (good) {
		put_ops(d);
	} else {
		d->line = line;
		p = bytes;
		status = parse_slowly(d, &p, end, last, rows_max, builders, bad, e);
	}
	if (status == 0 && p < end && !last && (size_t)(end - p) > NDJSON_RECORD_MAX)
		return error_set(e, ERROR_DATA, "%s:%llu: a record longer than %d MiB", d->input,
			(unsigned long long)d->line, NDJSON_RECORD_MAX >> 20);
	*consumed = len - (size_t)(end - p);
	return status;
}

/* ---- the reader ---- */

static int debezium_infer(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct schema *names_types, struct error *e)
{
	struct debezium *d = self(reader);
	const uint8_t *p = bytes, *end = bytes + len, *at = NULL;
	struct event event;
	uint64_t line = 1;

	if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	d->images_len = 0;
	buf_reset(&d->text);
	for (; d->images_len < rows_max && next_line(p, end, last, &event); line++) {
		if (read_event(d, &event, &at) == 0)
			put_images(d, &event);
		else if (!d->images_len)
			error_set(e, ERROR_DATA, "%s:%llu:%zu: %s", d->input, (unsigned long long)line,
				(size_t)(at - event.line) + 1, d->reason);
		p = behind(&event, end);
	}
	if (!d->images_len && e->code)
		return -1;
	error_clear(e);
	return d->rows->ops->infer(d->rows, d->text.data, d->text.len, true, rows_max, names_types, e);
}

static int debezium_want(
	struct reader *reader, const struct wanted_column *columns, size_t n, struct error *e)
{
	struct debezium *d = self(reader);

	d->columns_len = n;
	return d->rows->ops->want(d->rows, columns, n, e);
}

static void debezium_start(struct reader *reader, const char *input_name)
{
	struct debezium *d = self(reader);

	mem_free(d->input);
	d->input = mem_strdup(input_name ? input_name : "input");
	d->line = 1;
	d->rows->ops->start(d->rows, d->input);
}

static uint64_t debezium_line(const struct reader *reader)
{
	const struct debezium *d = (const struct debezium *)reader;

	return d->line;
}

static void debezium_resume(struct reader *reader, uint64_t line)
{
	self(reader)->line = line;
}

static void debezium_free(struct reader *reader)
{
	struct debezium *d = self(reader);

	d->rows->ops->free(d->rows);
	buf_clear(&d->text);
	buf_clear(&d->scratch);
	buf_clear(&d->reason_text);
	mem_free(d->images);
	mem_free(d->input);
	mem_free(d);
}

static const struct reader_ops ops = {
	.name = "debezium-json",
	.changes = true,
	.free = debezium_free,
	.infer = debezium_infer,
	.want = debezium_want,
	.start = debezium_start,
	.parse = debezium_parse,
	.line = debezium_line,
	.resume = debezium_resume,
};

struct reader *debezium_reader_new(const struct reader_options *o)
{
	struct debezium *d = mem_zero(sizeof *d);

	d->reader.ops = &ops;
	d->options = *o;
	d->rows = ndjson_reader_new(o);
	debezium_start(&d->reader, o->input);
	return &d->reader;
}
