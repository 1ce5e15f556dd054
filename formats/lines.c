/* Lines as records of one string column.  The name and path of the column don't matter: whoever asks
 * gets the line. */
#include "formats/line_reader.h"

#include "libcore/base/memory.h"

#include <string.h>

struct lines {
	struct line_reader lines;
	size_t columns;
};

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
	((struct lines *)reader)->columns = n;
	return 0;
}

static int take(struct line_reader *r, struct text_view text, struct column_builder *builders,
	const struct bad_sink *bad, struct error *e)
{
	const struct lines *l = (const struct lines *)r;

	for (size_t i = 0; i < l->columns; i++) {
		if (line_reader_is_null(r, text))
			builder_put_null(&builders[i]);
		else
			builder_put_text(&builders[i], text.text, text.len);
	}
	return 1;
}

static void lines_free(struct reader *reader)
{
	line_reader_clear((struct line_reader *)reader);
	mem_free(reader);
}

static const struct reader_ops ops = {
	.name = "lines",
	.free = lines_free,
	.infer = infer,
	.want = want,
	.start = line_reader_start,
	.parse = line_reader_parse,
	.line = line_reader_line,
	.resume = line_reader_resume,
};

struct reader *lines_reader_new(const struct reader_options *o)
{
	struct lines *l = mem_zero(sizeof *l);

	line_reader_init(&l->lines, o);
	l->lines.reader.ops = &ops;
	l->lines.take = take;
	return &l->lines.reader;
}
