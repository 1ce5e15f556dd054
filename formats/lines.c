/* Lines as records of one string column.  A newline ends a record, a carriage return before it is
 * dropped; what isn't UTF-8 is malformed.  The name and path of the column don't matter: whoever
 * asks gets the line. */
#include "formats/reader.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"

#include <stdio.h>

enum { RECORD_MAX = 64 << 20, BAD_RECORD_BYTES = 64 << 10 };

struct lines {
	struct reader reader;
	char *input;
	uint64_t line;
	size_t columns;
	bool too_long; /* inside a line that was refused for its length */
	struct reader_options options;
	char **nulls;
};

static struct lines *self(struct reader *reader)
{
	return (struct lines *)reader; /* its first member */
}

static int infer(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct schema *names_types, struct error *e)
{
	schema_add(names_types, "line", 4, TYPE_OF(TYPE_STRING));
	return 0;
}

static int want(
	struct reader *reader, const struct wanted_column *columns, size_t n, struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		if (columns[i].type.kind != TYPE_STRING)
			return error_set(e, ERROR_USAGE,
				"column '%s': lines are strings, not %s; cast it with smap",
				columns[i].name, type_name(columns[i].type));
		if (columns[i].path_len &&
			(columns[i].path_len > 1 || strcmp(columns[i].path[0], "line") != 0))
			return error_set(e, ERROR_USAGE, "no column '%s'; lines have one, line",
				columns[i].path[0]);
	}
	self(reader)->columns = n;
	return 0;
}

static void start(struct reader *reader, const char *input_name)
{
	struct lines *r = self(reader);

	mem_free(r->input);
	r->input = mem_strdup(input_name ? input_name : "input");
	r->line = 1;
	r->too_long = false;
}

struct bad_line {
	const uint8_t *p, *end;
	uint32_t column;
	const char *reason;
};

static int refuse(
	const struct lines *r, const struct bad_sink *bad, struct bad_line l, struct error *e)
{
	size_t len = (size_t)(l.end - l.p);
	struct bad_record b = {.input = r->input,
		.line = r->line,
		.column = l.column,
		.reason = l.reason,
		.record = (const char *)l.p,
		.record_len = len < BAD_RECORD_BYTES ? len : BAD_RECORD_BYTES};

	if (bad && bad->take)
		return bad->take(bad->context, &b, e);
	return error_set(e, ERROR_DATA, "%s:%llu:%u: %s", b.input, (unsigned long long)b.line,
		b.column, b.reason);
}

static bool is_null(const struct lines *r, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < r->options.nulls_len; i++)
		if (strlen(r->nulls[i]) == len && (!len || !memcmp(r->nulls[i], p, len)))
			return true;
	return false;
}

/* Returns 1 for a row, 0 for a refused line, -1. */
static int take_line(const struct lines *r, const uint8_t *p, const uint8_t *end,
	struct column_builder *builders, const struct bad_sink *bad, struct error *e)
{
	size_t len = (size_t)(end - p), good;
	char reason[64];

	len -= len && p[len - 1] == '\r';
	good = utf8_valid_len((const char *)p, len);
	if (good < len) {
		snprintf(reason, sizeof(reason), "not UTF-8: byte 0x%02x", p[good]);
		return refuse(r, bad, (struct bad_line){p, end, (uint32_t)good + 1, reason}, e);
	}
	for (size_t i = 0; i < r->columns; i++) {
		if (is_null(r, p, len))
			builder_put_null(&builders[i]);
		else
			builder_put_text(&builders[i], p, len);
	}
	return 1;
}

static int parse(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	size_t *consumed, struct error *e)
{
	struct lines *r = self(reader);
	const uint8_t *p = bytes, *end = bytes + len;
	uint32_t rows = 0;
	int got = 0;

	while (rows < rows_max && p < end && got >= 0) {
		const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *stop = newline ? newline : end;
		struct bad_line l = {p, stop, 0, "a line longer than 64 MiB"};

		if (r->too_long || stop - p > RECORD_MAX) {
			got = r->too_long ? 0 : refuse(r, bad, l, e);
			r->too_long = !newline && !last;
			r->line += !r->too_long;
			p = newline ? newline + 1 : end;
			continue;
		}
		if (!newline && !last)
			break;
		got = take_line(r, p, stop, builders, bad, e);
		if (got < 0)
			break;
		rows += (uint32_t)got;
		r->line++;
		p = newline ? newline + 1 : end;
	}
	*consumed = (size_t)(p - bytes);
	return got < 0 ? -1 : 0;
}

static uint64_t line(const struct reader *reader)
{
	return ((const struct lines *)reader)->line;
}

static void resume(struct reader *reader, uint64_t at)
{
	self(reader)->line = at;
}

static void lines_free(struct reader *reader)
{
	struct lines *r = self(reader);

	for (size_t i = 0; i < r->options.nulls_len; i++)
		mem_free(r->nulls[i]);
	mem_free(r->nulls);
	mem_free(r->input);
	mem_free(r);
}

static const struct reader_ops ops = {
	.name = "lines",
	.free = lines_free,
	.infer = infer,
	.want = want,
	.start = start,
	.parse = parse,
	.line = line,
	.resume = resume,
};

struct reader *lines_reader_new(const struct reader_options *o)
{
	struct lines *r = mem_zero(sizeof(*r));

	r->reader.ops = &ops;
	r->options = *o;
	r->nulls = mem_zero((o->nulls_len + 1) * sizeof(*r->nulls));
	for (size_t i = 0; i < o->nulls_len; i++)
		r->nulls[i] = mem_strdup(o->nulls[i]);
	start(&r->reader, o->input);
	return &r->reader;
}
