#include "formats/line_reader.h"

#include "libcore/base/memory.h"
#include "libcore/base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { RECORD_MAX = 64 << 20, BAD_RECORD_BYTES = 64 << 10 };

static struct line_reader *self(struct reader *reader)
{
	return (struct line_reader *)reader; /* its first member */
}

void line_reader_start(struct reader *reader, const char *input_name)
{
	struct line_reader *r = self(reader);

	mem_free(r->input);
	r->input = mem_strdup(input_name ? input_name : "input");
	r->line = 1;
	r->too_long = false;
}

void line_reader_init(struct line_reader *r, const struct reader_options *o)
{
	char **nulls = mem_zero((o->nulls_len + 1) * sizeof *nulls);

	r->options = *o;
	for (size_t i = 0; i < o->nulls_len; i++)
		nulls[i] = mem_strdup(o->nulls[i]);
	r->options.nulls = (const char *const *)nulls;
	line_reader_start(&r->reader, o->input);
}

void line_reader_clear(struct line_reader *r)
{
	for (size_t i = 0; i < r->options.nulls_len; i++)
		mem_free((void *)(uintptr_t)r->options.nulls[i]);
	mem_free((void *)(uintptr_t)r->options.nulls);
	mem_free(r->input);
}

int line_reader_refuse(
	const struct line_reader *r, const struct bad_sink *bad, struct bad_line l, struct error *e)
{
	size_t len = l.text.len;
	struct bad_record b = {.input = r->input,
		.line = r->line,
		.column = l.column,
		.reason = l.reason,
		.record = l.text.text,
		.record_len = len < BAD_RECORD_BYTES ? len : BAD_RECORD_BYTES};

	if (bad && bad->take)
		return bad->take(bad->context, &b, e);
	if (!b.column)
		return error_set(e, ERROR_DATA, "%s:%llu: %s", b.input, (unsigned long long)b.line,
			b.reason);
	return error_set(e, ERROR_DATA, "%s:%llu:%u: %s", b.input, (unsigned long long)b.line,
		b.column, b.reason);
}

bool line_reader_is_null(const struct line_reader *r, struct text_view t)
{
	for (size_t i = 0; i < r->options.nulls_len; i++) {
		const char *null = r->options.nulls[i];

		if (strlen(null) == t.len && (!t.len || !memcmp(null, t.text, t.len)))
			return true;
	}
	return false;
}

static struct text_view line_text(const uint8_t *p, const uint8_t *end)
{
	size_t len = (size_t)(end - p);

	return (struct text_view){(const char *)p, len - (len && p[len - 1] == '\r')};
}

bool line_sample_next(struct line_sample *s, struct text_view *out)
{
	const uint8_t *newline = s->at < s->end ? memchr(s->at, '\n', (size_t)(s->end - s->at))
						: NULL;

	if (s->at == s->end || (!newline && !s->last))
		return false;
	*out = line_text(s->at, newline ? newline : s->end);
	s->at = newline ? newline + 1 : s->end;
	return true;
}

static int take_line(struct line_reader *r, struct text_view text, struct column_builder *builders,
	const struct bad_sink *bad, struct error *e)
{
	size_t good = utf8_valid_len(text.text, text.len);
	char reason[64];

	if (good == text.len)
		return r->take(r, text, builders, bad, e);
	snprintf(reason, sizeof reason, "not UTF-8: byte 0x%02x", (uint8_t)text.text[good]);
	return line_reader_refuse(r, bad, (struct bad_line){text, (uint32_t)good + 1, reason}, e);
}

int line_reader_parse(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	size_t *consumed, struct error *e)
{
	struct line_reader *r = self(reader);
	const uint8_t *p = bytes, *end = bytes + len;
	uint32_t rows = 0;
	int got = 0;

	while (rows < rows_max && p < end && got >= 0) {
		const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *stop = newline ? newline : end;
		struct bad_line l = {
			{(const char *)p, (size_t)(stop - p)}, 0, "a line longer than 64 MiB"};

		if (r->too_long || stop - p > RECORD_MAX) {
			got = r->too_long ? 0 : line_reader_refuse(r, bad, l, e);
			r->too_long = !newline && !last;
			r->line += !r->too_long;
			p = newline ? newline + 1 : end;
			continue;
		}
		if (!newline && !last)
			break;
		got = take_line(r, line_text(p, stop), builders, bad, e);
		if (got < 0)
			break;
		rows += (uint32_t)got;
		r->line++;
		p = newline ? newline + 1 : end;
	}
	*consumed = (size_t)(p - bytes);
	return got < 0 ? -1 : 0;
}

uint64_t line_reader_line(const struct reader *reader)
{
	return ((const struct line_reader *)reader)->line;
}

void line_reader_resume(struct reader *reader, uint64_t at)
{
	self(reader)->line = at;
}
