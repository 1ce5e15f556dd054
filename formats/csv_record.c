#include "formats/csv_record.h"

#include "libcore/base/memory.h"
#include "libcore/base/utf8.h"

#include <stdio.h>
#include <string.h>

struct cursor {
	struct csv_record *r;
	const uint8_t *bytes;
	size_t len, at;
	bool last;
	struct csv_dialect d;
};

enum field_end { /* what stands behind a field */
	FIELD_DELIMITER,
	FIELD_RECORD_END,
	FIELD_MORE,
	FIELD_BAD,
};

static void add_field(struct csv_record *r, struct csv_field f)
{
	if (r->len < CSV_FIELDS_MAX) {
		MEM_GROW(r->fields, r->cap, r->len + 1);
		r->fields[r->len] = f;
	}
	r->len++;
}

/* Malformed at `at`; the next record is behind the first newline from `resume` on. */
static enum field_end broken(struct cursor *c, const char *reason, size_t at, size_t resume)
{
	const uint8_t *newline = memchr(c->bytes + resume, '\n', c->len - resume);

	if (!newline && !c->last)
		return FIELD_MORE;
	c->r->reason = reason;
	c->r->reason_at = at;
	c->r->next = newline ? (size_t)(newline - c->bytes) + 1 : c->len;
	return FIELD_BAD;
}

/* Behind a field's last byte; a CR that belongs to the newline is passed over. */
static enum field_end end_of_quoted(struct cursor *c)
{
	size_t at = c->at;

	if (at < c->len && c->bytes[at] == '\r') {
		at++;
		if (at < c->len && c->bytes[at] != '\n')
			at = c->at;
	}
	if (at == c->len) {
		c->at = at;
		return c->last ? FIELD_RECORD_END : FIELD_MORE;
	}
	if (c->bytes[at] == '\n') {
		c->at = at + 1;
		return FIELD_RECORD_END;
	}
	if (c->bytes[at] == (uint8_t)c->d.delimiter) {
		c->at = at + 1;
		return FIELD_DELIMITER;
	}
	return broken(c,
		"text after the closing quote; a quote inside a quoted field is written \"\"", at,
		at);
}

static enum field_end quoted_field(struct cursor *c)
{
	struct csv_field f = {.at = c->at, .begin = c->at + 1, .quoted = true};
	size_t at = f.begin;

	for (;;) {
		const uint8_t *quote = memchr(c->bytes + at, '"', c->len - at);
		size_t end = quote ? (size_t)(quote - c->bytes) : c->len;

		if (!c->d.quoted_newlines && memchr(c->bytes + at, '\n', end - at))
			return broken(c,
				"a quoted field isn't closed on its line "
				"(--quoted-newlines no)",
				f.at, at);
		if (!quote && !c->last)
			return FIELD_MORE;
		if (!quote)
			return broken(
				c, "unterminated quote: opened here and never closed", f.at, f.at);
		at = end + 1;
		if (at == c->len && !c->last)
			return FIELD_MORE; /* it may be the first of two */
		if (at == c->len || c->bytes[at] != '"') {
			f.end = end;
			break;
		}
		f.escaped = true;
		at++;
	}
	c->at = at;
	add_field(c->r, f);
	return end_of_quoted(c);
}

static enum field_end plain_field(struct cursor *c)
{
	struct csv_field f = {.at = c->at, .begin = c->at};
	size_t at = c->at;

	while (at < c->len && c->bytes[at] != (uint8_t)c->d.delimiter && c->bytes[at] != '\n' &&
		c->bytes[at] != '"')
		at++;
	if (at == c->len && !c->last)
		return FIELD_MORE;
	if (at < c->len && c->bytes[at] == '"')
		return broken(c,
			"a quote inside an unquoted field; quote the whole field and "
			"write the quote twice",
			at, at);
	f.end = at;
	c->at = at < c->len ? at + 1 : at;
	if (at < c->len && c->bytes[at] == (uint8_t)c->d.delimiter) {
		add_field(c->r, f);
		return FIELD_DELIMITER;
	}
	if (f.end > f.begin && c->bytes[f.end - 1] == '\r')
		f.end--;
	add_field(c->r, f);
	return FIELD_RECORD_END;
}

enum csv_record_status csv_record_scan(struct csv_record *r, const uint8_t *bytes, size_t len,
	size_t from, bool last, struct csv_dialect d)
{
	struct cursor c = {r, bytes, len, from, last, d};

	r->len = 0;
	for (;;) {
		bool quoted = c.at < len && bytes[c.at] == '"';

		switch (quoted ? quoted_field(&c) : plain_field(&c)) {
		case FIELD_DELIMITER: break;
		case FIELD_RECORD_END: r->next = c.at; return CSV_RECORD_OK;
		case FIELD_MORE: return CSV_RECORD_MORE;
		case FIELD_BAD: return CSV_RECORD_BAD;
		}
	}
}

void csv_record_clear(struct csv_record *r)
{
	mem_free(r->fields);
	*r = (struct csv_record){.fields = NULL};
}

const char *csv_field_text(
	const struct csv_field *f, const uint8_t *bytes, struct buf *scratch, size_t *len)
{
	size_t at = f->begin;

	if (!f->escaped) {
		*len = f->end - f->begin;
		return (const char *)bytes + f->begin;
	}
	buf_reset(scratch);
	while (at < f->end) {
		const uint8_t *quote = memchr(bytes + at, '"', f->end - at);
		size_t stop = quote ? (size_t)(quote - bytes) + 1 : f->end;

		buf_put(scratch, bytes + at, stop - at);
		at = quote ? stop + 1 : stop;
	}
	*len = scratch->len;
	return (const char *)scratch->data;
}

int csv_names_find(const struct csv_names *n, const char *name)
{
	for (size_t i = 0; i < n->len; i++) {
		if (strcmp(n->items[i], name) == 0)
			return (int)i;
	}
	return -1;
}

static void add_name(struct csv_names *n, const char *text, size_t len)
{
	struct buf name = BUF_INIT;

	if (len)
		buf_put(&name, text, len);
	else
		buf_printf(&name, "c%zu", n->len + 1);
	for (unsigned k = 2; csv_names_find(n, buf_cstr(&name)) >= 0; k++) {
		buf_reset(&name);
		buf_put(&name, text, len);
		if (!len)
			buf_printf(&name, "c%zu", n->len + 1);
		buf_printf(&name, "_%u", k);
	}
	MEM_GROW(n->items, n->cap, n->len + 1);
	n->items[n->len++] = mem_strdup(buf_cstr(&name));
	buf_clear(&name);
}

static bool name_is_text(const char *text, size_t len)
{
	return utf8_valid(text, len) && (!len || !memchr(text, 0, len));
}

int csv_names_set(struct csv_names *n, const struct csv_record *r, const uint8_t *bytes,
	bool header, struct error *e)
{
	struct buf scratch = BUF_INIT;
	int status = 0;

	csv_names_clear(n);
	if (r->len > CSV_FIELDS_MAX)
		return error_set(e, ERROR_DATA, "%zu columns; at most %d are possible", r->len,
			CSV_FIELDS_MAX);
	for (size_t i = 0; i < r->len && !status; i++) {
		size_t len = 0;
		const char *text = header ? csv_field_text(&r->fields[i], bytes, &scratch, &len)
					  : "";

		if (name_is_text(text, len))
			add_name(n, text, len);
		else
			status = error_set(e, ERROR_DATA,
				"the name of column %zu in the header is not UTF-8 text", i + 1);
	}
	buf_clear(&scratch);
	return status;
}

void csv_names_clear(struct csv_names *n)
{
	for (size_t i = 0; i < n->len; i++)
		mem_free(n->items[i]);
	mem_free(n->items);
	*n = (struct csv_names){.items = NULL};
}
