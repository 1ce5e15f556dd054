/* --exec: a user's aggregate, asked per window with its rows. */
#include "cmd/swindow/window.h"

#include "formats/writer.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"

/* No name that a column could have by accident, nor one that could be written without quotes. */
static const char row_column[] = "#row";

int window_exec_check(const struct window_options *o, struct error *e)
{
	if (!o->exec.command)
		return 0;
	if (!o->exec.schema)
		return error_set(e, ERROR_USAGE, "--exec: which columns do its answers have?\n"
			"--exec-schema 'slope float, note string'");
	if (o->emit != EMIT_CLOSE)
		return error_set(e, ERROR_USAGE, "--exec and --emit don't go together: the command is asked once, "
			"when a window closes");
	return 0;
}

const char *window_exec_list(const char *list, struct arena *a)
{
	/* On a line of its own: the list may end with a comment. */
	return arena_printf(a, "%s%sarray_agg(\"%s\") as rows", list ? list : "", list ? "\n," : "",
		row_column);
}

static int take(void *context, const struct batch *b, struct error *e)
{
	struct window *w = context;

	return stage_emit(w->op.stage, 0, b, e);
}

int window_exec_open(struct window *w, struct error *e)
{
	const struct writer_options o = {.header = false};

	schema_init(&w->bare);
	schema_init(&w->shown);
	w->exec = exec_new(&w->options.exec, take, w);
	w->op.hears = true;
	w->op.wait_fd = w->op.tell_fd = -1;
	return writer_new("msgpack", &o, &w->row_writer, e);
}

static void shown_clear(struct window *w)
{
	for (size_t i = 0; w->shown_times && i < w->shown.fields_len; i++)
		builder_clear(&w->shown_times[i]);
	mem_free(w->shown_times);
	w->shown_times = NULL;
	schema_clear(&w->shown);
}

/* JSON has no times, and any has them in a form that only msgpack knows. */
static bool is_shown_as_text(const struct window *w, struct type t)
{
	return w->options.exec.format == COPROCESS_NDJSON &&
		(t.kind == TYPE_TIMESTAMP || t.kind == TYPE_DURATION);
}

static void shown_init(struct window *w)
{
	shown_clear(w);
	w->shown_times = mem_zero((w->bare.fields_len + 1) * sizeof *w->shown_times);
	for (size_t i = 0; i < w->bare.fields_len; i++) {
		const struct field *f = &w->bare.fields[i];
		struct type t = is_shown_as_text(w, f->type) ? TYPE_OF(TYPE_STRING) : f->type;

		schema_add(&w->shown, f->name, strlen(f->name), t);
		builder_init(&w->shown_times[i], t);
	}
}

/* The rows' columns as they are written. */
static const struct column *shown_columns(struct window *w, const struct batch *in)
{
	struct column *columns = arena_alloc(&w->batch_arena,
		(in->schema->fields_len + 1) * sizeof *columns);
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < w->bare.fields_len; i++) {
		struct column_builder *b = &w->shown_times[i];

		columns[i] = in->columns[i];
		if (!is_shown_as_text(w, columns[i].type))
			continue;
		builder_reset(b);
		for (uint32_t r = 0; r < in->rows; r++) {
			buf_reset(&text);
			column_put_text(&in->columns[i], r, SIZE_MAX, &text);
			if (column_is_valid(&in->columns[i], r))
				builder_put_text(b, text.data, text.len);
			else
				builder_put_null(b);
		}
		columns[i] = builder_column(b);
	}
	buf_clear(&text);
	return columns;
}

void window_exec_close(struct window *w)
{
	if (!w->exec)
		return;
	exec_free(w->exec);
	writer_free(w->row_writer);
	shown_clear(w);
	schema_clear(&w->bare);
	buf_clear(&w->row_bytes);
}

int window_exec_input(struct window *w, const struct schema *in, struct schema *out, struct error *e)
{
	schema_clear(&w->bare);
	schema_copy(&w->bare, in);
	shown_init(w);
	schema_copy(out, in);
	schema_add(out, row_column, strlen(row_column), TYPE_OF(TYPE_ANY));
	buf_reset(&w->row_bytes);
	return writer_schema(w->row_writer, &w->shown, &w->row_bytes, e);
}

int window_exec_rows(struct window *w, const struct batch *in, struct batch *out, struct error *e)
{
	size_t fields = w->bare.fields_len, at = 0;
	struct column *columns = arena_alloc(&w->batch_arena, (fields + 1) * sizeof *columns);
	uint32_t *offsets = arena_alloc(&w->batch_arena, ((size_t)in->rows + 1) * sizeof *offsets);
	struct batch plain = {.schema = &w->shown, .rows = in->rows, .columns = shown_columns(w, in)};
	size_t bytes;

	buf_reset(&w->row_bytes);
	if (writer_rows(w->row_writer, &plain, &w->row_bytes, e) < 0)
		return -1;
	if (w->row_bytes.len > UINT32_MAX)
		return error_set(e, ERROR_DATA, "--exec: rows of more than 4 GiB in one batch");
	for (uint32_t r = 0; r < in->rows; r++) {
		offsets[r] = (uint32_t)at;
		MUST(msgpack_measure(w->row_bytes.data + at, w->row_bytes.len - at, &bytes) == 0);
		at += bytes;
	}
	offsets[in->rows] = (uint32_t)at;
	memcpy(columns, in->columns, fields * sizeof *columns);
	columns[fields] = (struct column){.type = TYPE_OF(TYPE_ANY), .offsets = offsets,
		.bytes = w->row_bytes.data};
	*out = *in;
	out->schema = &w->plan->in;
	out->columns = columns;
	return 0;
}
