#include "formats/ndjson_parts.h"
#include "formats/seen.h"
#include "libcore/base/number.h"

/* What the value at c->p is; c->p goes behind it. */
static int look_at_value(const struct ndjson *r, struct ndjson_cursor *c, unsigned *seen)
{
	const uint8_t *from = c->p;
	struct text_view t;
	int64_t v;

	*seen = 0;
	if (c->p < c->end && *c->p == '"') {
		if (ndjson_string(c, &t))
			return -1;
		*seen = ndjson_is_null_text(&r->options, t) ? 0 : seen_text(t.text, t.len);
		return 0;
	}
	if (ndjson_skip(c))
		return -1;
	if (*from == '{' || *from == '[')
		*seen = SEEN_NESTED;
	else if (*from == 't' || *from == 'f')
		*seen = SEEN_BOOL;
	else if (*from != 'n')
		*seen = int_parse((const char *)from, (size_t)(c->p - from), &v) == NUMBER_OK
				? SEEN_INT
				: SEEN_FLOAT;
	return 0;
}

struct sample {
	struct schema *names; /* the kinds hold no type yet */
	struct buf seen;      /* a byte per column of names */
	const char *reason;
	uint64_t records;
	int next; /* the column that follows the last one: usually the right guess */
};

static int column_of(struct sample *s, struct text_view key)
{
	int n = (int)s->names->fields_len, i = s->next;

	if (i >= n || strlen(s->names->fields[i].name) != key.len ||
		(key.len && memcmp(s->names->fields[i].name, key.text, key.len)))
		i = schema_find(s->names, key.text, key.len);
	if (i < 0 && n < SCHEMA_FIELDS_MAX && (!key.len || !memchr(key.text, 0, key.len))) {
		i = schema_add(s->names, key.text ? key.text : "", key.len, TYPE_OF(TYPE_STRING));
		buf_put_byte(&s->seen, 0);
	}
	s->next = i + 1;
	return i;
}

/* A malformed record ends where it is wrong: parsing will say so.  What came before counts. */
static int sample_record(const struct ndjson *r, struct ndjson_cursor *c, struct sample *s)
{
	struct text_view key;
	unsigned seen;
	int column;

	s->next = 0;
	if (*c->p != '{')
		return ndjson_fail(c, "a record must be an object");
	do {
		c->p++;
		ndjson_space(c);
		if (c->p < c->end && *c->p == '}' && c->p[-1] != ',')
			return 0;
		if (c->p == c->end || *c->p != '"')
			return ndjson_fail(c, "a key in double quotes should be here");
		if (ndjson_string(c, &key))
			return -1;
		column = column_of(s, key);
		ndjson_space(c);
		if (c->p == c->end || *c->p != ':')
			return ndjson_fail(c, "a colon should follow the key");
		c->p++;
		ndjson_space(c);
		if (look_at_value(r, c, &seen))
			return -1;
		if (column >= 0)
			s->seen.data[column] |= (uint8_t)seen;
		ndjson_space(c);
	} while (c->p < c->end && *c->p == ',');
	if (c->p == c->end || *c->p != '}')
		return ndjson_fail(c, "a comma or } should follow the value");
	return 0;
}

int ndjson_infer(struct ndjson *r, const uint8_t *bytes, size_t len, bool last, uint32_t rows_max,
	struct schema *out, struct error *e)
{
	struct sample s = {.names = out, .seen = BUF_INIT};
	const uint8_t *p = len ? bytes : (const uint8_t *)"", *end = p + len;
	size_t before = out->fields_len;
	int failed = 0;

	for (size_t i = 0; i < before; i++)
		buf_put_byte(&s.seen, 0);
	if (len >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	for (uint64_t line = 1; p < end && s.records < rows_max; line++) {
		const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
		struct ndjson_cursor c = {.p = p,
			.end = newline ? newline : end,
			.reason = r->reason,
			.options = &r->options,
			.scratch = &r->text};

		if (!newline && !last)
			break;
		ndjson_space(&c);
		if (c.p < c.end) {
			s.records++;
			if (sample_record(r, &c, &s) && out->fields_len == before && !failed)
				failed = error_set(e, ERROR_DATA, "%s:%llu:%zu: %s", r->input,
					(unsigned long long)line, (size_t)(c.p - p) + 1, r->reason);
		}
		p = newline ? newline + 1 : end;
	}
	for (size_t i = before; i < out->fields_len; i++)
		out->fields[i].type = TYPE_OF(seen_kind(s.seen.data[i]));
	buf_clear(&s.seen);
	if (out->fields_len > before) {
		error_clear(e);
		return 0;
	}
	return failed;
}
