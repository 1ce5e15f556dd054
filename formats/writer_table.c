/* A table for reading: aligned columns, a rule below the names, numbers to the right.
 *
 * The first rows are kept back to learn how wide the columns are; from then on rows flow, and what
 * is wider is cut with "…".  So memory does not grow with the stream. */
#include "formats/writer_impl.h"

#include "libcore/base/memory.h"
#include "libcore/base/utf8.h"
#include "libcore/table/builder.h"

enum {
	SAMPLE_ROWS = 1000,
	CELL_WIDTH_MAX = 60,
	CELL_WIDTH_LEAST = 3,
	CELL_BYTES_MAX = 4096,
	GAP = 2,
};

struct table_sample {
	struct batch_builder rows; /* held back */
	bool has_rows;             /* the builder is in use */
	bool settled;
	uint32_t *widths;          /* per column, in characters; the op in front is not one */
};

static bool is_right(struct type t)
{
	return t.kind == TYPE_INT || t.kind == TYPE_FLOAT || t.kind == TYPE_DECIMAL ||
		t.kind == TYPE_DURATION;
}

/* Characters of a terminal: wide ones (CJK, emoji) count two, combining ones none. */
static uint32_t code_width(uint32_t c)
{
	if (c >= 0x300 && c <= 0x36f)
		return 0;
	if ((c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
		(c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
		(c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
		(c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd))
		return 2;
	return 1;
}

static uint32_t text_width(const char *text, size_t len)
{
	uint32_t width = 0;

	for (size_t i = 0; i < len;) {
		uint32_t code;

		i += utf8_decode(text + i, len - i, &code);
		width += code_width(code);
	}
	return width;
}

/* Bytes of the front part that is at most `width` characters wide. */
static size_t cut_at(const char *text, size_t len, uint32_t width)
{
	size_t i = 0;
	uint32_t used = 0;

	while (i < len) {
		uint32_t code;
		size_t n = utf8_decode(text + i, len - i, &code);

		used += code_width(code);
		if (used > width)
			break;
		i += n;
	}
	return i;
}

/* Nothing that moves the cursor may come through: neither C0 nor C1 (U+0080..U+009F). */
static void tame(struct buf *text)
{
	for (size_t i = 0; i < text->len; i++) {
		uint8_t *c = text->data + i;

		if (*c < 0x20 || *c == 0x7f)
			*c = ' ';
		else if (*c == 0xc2 && i + 1 < text->len && c[1] < 0xa0)
			c[0] = c[1] = ' ';
	}
}

static void cell_text(const struct column *c, uint32_t row, struct buf *cell)
{
	buf_reset(cell);
	if (!column_is_valid(c, row))
		return;
	column_put_text(c, row, CELL_BYTES_MAX, cell);
	tame(cell);
}

static void put_spaces(struct buf *out, uint32_t n)
{
	memset(buf_reserve(out, n + 1), ' ', n);
	out->len += n;
}

static void put_cell(const char *text, size_t len, uint32_t width, bool right, bool last,
	struct buf *out)
{
	uint32_t own = text_width(text, len);

	if (own > width) {
		len = cut_at(text, len, width - 1);
		own = text_width(text, len) + 1;
	}
	if (right && own < width)
		put_spaces(out, width - own);
	buf_put(out, text, len);
	if (text_width(text, len) < own)
		buf_put_text(out, "…");
	if (!right && own < width && !last)
		put_spaces(out, width - own);
	if (!last)
		put_spaces(out, GAP);
}

/* Where the terminal is too narrow the widest columns give way. */
static void fit_terminal(struct writer *w)
{
	struct table_sample *t = w->sample;
	size_t n = w->schema.fields_len;

	for (;;) {
		uint32_t total = w->schema.changelog ? 2 + GAP : 0;
		size_t widest = 0;

		for (size_t i = 0; i < n; i++) {
			total += t->widths[i] + (i + 1 < n ? GAP : 0);
			if (t->widths[i] > t->widths[widest])
				widest = i;
		}
		if (!n || !w->o.columns_max || total <= (uint32_t)w->o.columns_max ||
			t->widths[widest] <= CELL_WIDTH_LEAST)
			return;
		t->widths[widest]--;
	}
}

static void learn_widths(struct writer *w, const struct batch *b)
{
	struct table_sample *t = w->sample;
	struct buf cell = BUF_INIT;

	for (size_t i = 0; i < w->schema.fields_len; i++) {
		const char *name = w->schema.fields[i].name;

		t->widths[i] = text_width(name, strlen(name));
		for (uint32_t r = 0; r < b->rows; r++) {
			uint32_t width;

			cell_text(&b->columns[i], r, &cell);
			width = text_width((const char *)cell.data, cell.len);
			if (width > t->widths[i])
				t->widths[i] = width;
		}
		if (t->widths[i] > CELL_WIDTH_MAX)
			t->widths[i] = CELL_WIDTH_MAX;
	}
	buf_clear(&cell);
	fit_terminal(w);
}

static void put_names(struct writer *w, struct buf *out)
{
	size_t n = w->schema.fields_len;
	struct buf name = BUF_INIT;

	if (w->o.color)
		buf_put_text(out, "\033[1m");
	if (w->schema.changelog)
		put_cell("op", 2, 2, false, n == 0, out);
	for (size_t i = 0; i < n; i++) {
		buf_reset(&name);
		buf_put_text(&name, w->schema.fields[i].name);
		tame(&name);
		put_cell((const char *)name.data, name.len, w->sample->widths[i],
			is_right(w->schema.fields[i].type), i + 1 == n, out);
	}
	buf_clear(&name);
	buf_put_text(out, w->o.color ? "\033[0m\n" : "\n");
	if (w->schema.changelog)
		buf_put_text(out, "──  ");
	for (size_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < w->sample->widths[i]; k++)
			buf_put_text(out, "─");
		if (i + 1 < n)
			put_spaces(out, GAP);
	}
	buf_put_byte(out, '\n');
}

static void put_rows(struct writer *w, const struct batch *b, struct buf *out)
{
	size_t n = w->schema.fields_len;
	struct buf cell = BUF_INIT;

	for (uint32_t r = 0; r < b->rows; r++) {
		if (b->ops)
			put_cell(writer_op_name(b->ops[r]), 2, 2, false, n == 0, out);
		for (size_t i = 0; i < n; i++) {
			cell_text(&b->columns[i], r, &cell);
			put_cell((const char *)cell.data, cell.len, w->sample->widths[i],
				is_right(w->schema.fields[i].type), i + 1 == n, out);
		}
		buf_put_byte(out, '\n');
	}
	buf_clear(&cell);
}

/* The rows held back, under their names. */
static void settle(struct writer *w, struct buf *out)
{
	struct table_sample *t = w->sample;
	const struct batch *b = batch_builder_view(&t->rows);

	learn_widths(w, b);
	put_names(w, out);
	put_rows(w, b, out);
	batch_builder_clear(&t->rows);
	t->has_rows = false;
	t->settled = true;
}

static void table_clear(struct writer *w)
{
	if (!w->sample)
		return;
	if (w->sample->has_rows)
		batch_builder_clear(&w->sample->rows);
	mem_free(w->sample->widths);
	mem_free(w->sample);
	w->sample = NULL;
}

/* Other columns: a new table below. */
static int table_schema(struct writer *w, const struct schema *s, struct buf *out, struct error *e)
{
	if (w->sample && !w->sample->settled)
		settle(w, out);
	if (w->sample)
		buf_put_byte(out, '\n');
	table_clear(w);
	w->sample = mem_zero(sizeof *w->sample);
	w->sample->widths = mem_zero(s->fields_len * sizeof *w->sample->widths);
	return 0;
}

static int table_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e)
{
	struct table_sample *t = w->sample;

	if (t->settled) {
		put_rows(w, b, out);
		return 0;
	}
	if (!t->has_rows)
		batch_builder_init(&t->rows, &w->schema);
	t->has_rows = true;
	batch_builder_put_rows(&t->rows, b, 0, b->rows);
	if (batch_builder_rows(&t->rows) >= SAMPLE_ROWS)
		settle(w, out);
	return 0;
}

/* Also when a stream pauses: what is there is shown. */
static int table_end(struct writer *w, struct buf *out, struct error *e)
{
	struct table_sample *t = w->sample;

	if (t->settled)
		return 0;
	if (!t->has_rows)
		batch_builder_init(&t->rows, &w->schema);
	t->has_rows = true;
	settle(w, out);
	return 0;
}

const struct writer_ops writer_table = {
	.name = "table",
	.clear = table_clear,
	.schema = table_schema,
	.rows = table_rows,
	.end = table_end,
};
