#include "cmd/common/bad.h"

#include "libcore/base/utf8.h"

#include <inttypes.h>

enum { FLUSH_BYTES = 64 << 10 };

void bad_records_init(struct bad_records *b, const char *where)
{
	*b = (struct bad_records){.where = where, .file = OUTFILE_INIT};
}

static bool is_path(const struct bad_records *b)
{
	return strcmp(b->where, "stop") != 0 && strcmp(b->where, "skip") != 0;
}

int bad_records_open(struct bad_records *b, struct stage *st, struct error *e)
{
	b->stage = st;
	return is_path(b) ? outfile_open(&b->file, b->where, e) : 0;
}

/* JSON text; bytes that aren't UTF-8 become U+FFFD. */
static void put_json(struct buf *out, const char *text, size_t len)
{
	buf_put_byte(out, '"');
	for (size_t at = 0; at < len;) {
		uint32_t code;
		size_t n = utf8_decode(text + at, len - at, &code);

		if (!n) {
			buf_put_text(out, "\xef\xbf\xbd");
			n = 1;
		} else if (code == '"' || code == '\\') {
			buf_printf(out, "\\%c", (char)code);
		} else if (code < 0x20) {
			buf_printf(out, "\\u%04x", (unsigned)code);
		} else {
			buf_put(out, text + at, n);
		}
		at += n;
	}
	buf_put_byte(out, '"');
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
	if (!is_path(b))
		return 0;
	buf_put_text(&b->text, "{\"input\":");
	put_json(&b->text, bad->input, strlen(bad->input));
	buf_printf(&b->text, ",\"line\":%" PRIu64 ",\"column\":%" PRIu32 ",\"reason\":", bad->line,
		bad->column);
	put_json(&b->text, bad->reason, strlen(bad->reason));
	buf_put_text(&b->text, ",\"record\":");
	put_json(&b->text, bad->record, bad->record_len);
	buf_put_text(&b->text, "}\n");
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
			b->count == 1 ? "" : "s", is_path(b) ? "written to " : "skipped",
			is_path(b) ? b->where : "");
	if (!is_path(b))
		return 0;
	return flush(b, e) < 0 ? -1 : outfile_commit(&b->file, false, e);
}

void bad_records_clear(struct bad_records *b)
{
	outfile_abort(&b->file);
	buf_clear(&b->text);
}
