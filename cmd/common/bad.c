#include "cmd/common/bad.h"

#include "libcore/base/utf8.h"

#include <inttypes.h>

enum { FLUSH_BYTES = 64 << 10 };

enum { B_INPUT, B_LINE, B_COLUMN, B_REASON, B_RECORD };

bool bad_is_path(const char *where)
{
	return strcmp(where, "stop") != 0 && strcmp(where, "skip") != 0;
}

void bad_records_init(struct bad_records *b, const char *where, unsigned output)
{
	*b = (struct bad_records){.where = where, .output = output, .file = OUTFILE_INIT};
}

static void add_columns(struct schema *s)
{
	schema_init(s);
	schema_add(s, "input", strlen("input"), TYPE_OF(TYPE_STRING));
	schema_add(s, "line", strlen("line"), TYPE_OF(TYPE_INT));
	schema_add(s, "column", strlen("column"), TYPE_OF(TYPE_INT));
	schema_add(s, "reason", strlen("reason"), TYPE_OF(TYPE_STRING));
	schema_add(s, "record", strlen("record"), TYPE_OF(TYPE_STRING));
}

static int open_file(struct bad_records *b, struct error *e)
{
	struct writer_options plain = {.header = false};

	if (outfile_open(&b->file, b->where, e) < 0 ||
		writer_new("ndjson", &plain, &b->writer, e) < 0)
		return -1;
	return writer_schema(b->writer, &b->schema, &b->text, e);
}

int bad_records_open(struct bad_records *b, struct stage *st, struct error *e)
{
	if (b->is_open)
		return 0;
	b->stage = st;
	b->is_open = true;
	if (!bad_is_path(b->where))
		return 0;
	add_columns(&b->schema);
	batch_builder_init(&b->row, &b->schema);
	return b->output ? stage_declare(st, b->output, &b->schema, e) : open_file(b, e);
}

/* Bytes that aren't UTF-8 become U+FFFD. */
static void put_text(struct column_builder *c, struct buf *scratch, const char *text, size_t len)
{
	buf_reset(scratch);
	for (size_t at = 0; at < len;) {
		uint32_t code;
		size_t n = utf8_decode(text + at, len - at, &code);

		if (n)
			buf_put(scratch, text + at, n);
		else
			buf_put_text(scratch, "\xef\xbf\xbd");
		at += n ? n : 1;
	}
	builder_put_text(c, scratch->data, scratch->len);
}

static void put_row(struct bad_records *b, const struct bad_record *bad)
{
	struct column_builder *c = b->row.columns;
	struct buf scratch = BUF_INIT;

	batch_builder_reset(&b->row);
	put_text(&c[B_INPUT], &scratch, bad->input, strlen(bad->input));
	builder_put_int(&c[B_LINE], (int64_t)bad->line);
	builder_put_int(&c[B_COLUMN], bad->column);
	put_text(&c[B_REASON], &scratch, bad->reason, strlen(bad->reason));
	put_text(&c[B_RECORD], &scratch, bad->record, bad->record_len);
	buf_clear(&scratch);
}

static int flush(struct bad_records *b, struct error *e)
{
	int status = outfile_write(&b->file, b->text.data, b->text.len, e);

	buf_reset(&b->text);
	return status;
}

static int take(void *context, const struct bad_record *bad, struct error *e)
{
	struct bad_records *b = context;

	b->count++;
	stage_count_bad(b->stage, 1);
	if (!bad_is_path(b->where))
		return 0;
	put_row(b, bad);
	if (b->output)
		return stage_emit(b->stage, b->output, batch_builder_view(&b->row), e);
	if (writer_rows(b->writer, batch_builder_view(&b->row), &b->text, e) < 0)
		return -1;
	return b->text.len >= FLUSH_BYTES ? flush(b, e) : 0;
}

struct bad_sink bad_records_sink(struct bad_records *b)
{
	return (struct bad_sink){.take = strcmp(b->where, "stop") == 0 ? NULL : take, .context = b};
}

int bad_records_commit(struct bad_records *b, struct error *e)
{
	if (b->count)
		stage_warn(b->stage, "%" PRIu64 " malformed record%s %s%s", b->count,
			b->count == 1 ? "" : "s", bad_is_path(b->where) ? "written to " : "skipped",
			bad_is_path(b->where) ? b->where : "");
	if (!bad_is_path(b->where) || b->output)
		return 0;
	if (writer_end(b->writer, &b->text, e) < 0 || flush(b, e) < 0)
		return -1;
	return outfile_commit(&b->file, false, e);
}

void bad_records_clear(struct bad_records *b)
{
	outfile_abort(&b->file);
	writer_free(b->writer);
	if (b->is_open && bad_is_path(b->where)) {
		batch_builder_clear(&b->row);
		schema_clear(&b->schema);
	}
	buf_clear(&b->text);
}
