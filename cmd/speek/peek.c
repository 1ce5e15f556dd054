#include "cmd/speek/peek.h"

#include "cmd/common/human.h"
#include "cmd/speek/plot.h"
#include "formats/writer.h"
#include "libcore/base/arena.h"
#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/frame/frame.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct peek {
	struct operator op;
	struct peek_options o;
	uint64_t frames, bytes;
	struct stage_report before; /* the last one, with what had passed then */
	uint64_t bytes_before;
	unsigned lines; /* on the terminal, to be written over */
	struct buf text;

	struct writer *writer; /* of the rows that are shown */
	uint64_t rows_shown;
	bool rows_held; /* the writer may have kept some back */

	struct plot plot;
	int plot_column;
	uint64_t rows_plotted;
	struct schema schema; /* of the rows so far */
	bool has_schema;
	struct arena arena;
};

static struct peek *peek_of(struct operator* op)
{
	return (struct peek *)op;
}

/* ---- standard error ---- */

/* What is to be written over goes first. */
static void erase(struct peek *p)
{
	struct buf text = BUF_INIT;

	if (!p->lines)
		return;
	buf_put_text(&text, "\r");
	if (p->lines > 1)
		buf_printf(&text, "\033[%uA", p->lines - 1);
	buf_put_text(&text, "\033[J");
	p->o.put(p->o.context, text.data, text.len);
	buf_clear(&text);
	p->lines = 0;
}

static void put_text(struct peek *p)
{
	erase(p);
	if (p->text.len)
		p->o.put(p->o.context, p->text.data, p->text.len);
	buf_reset(&p->text);
}

/* ---- --frames ---- */

static void put_time(struct buf *out, int64_t us)
{
	char text[TIMESTAMP_TEXT_MAX];

	if (us == WATERMARK_FINAL)
		buf_put_text(out, "final");
	else
		buf_put(out, text, timestamp_put(text, us));
}

static void put_schema(const struct frame *f, struct buf *out)
{
	struct error ignored = ERROR_INIT;
	struct schema s;
	uint32_t id;

	schema_init(&s);
	if (frame_read_schema(f, &id, &s, &ignored) == 0) {
		buf_printf(out, "%" PRIu32 ": ", id);
		schema_put(&s, out);
		if (s.changelog)
			buf_put_text(out, ", a changelog");
		schema_clear(&s);
	}
}

/* What a frame says, as far as its kind has more to it. */
static void put_details(const struct frame *f, struct buf *out)
{
	struct error ignored = ERROR_INIT;
	struct buf stage = BUF_INIT, message = BUF_INIT;
	struct barrier barrier;
	struct hello hello;
	uint64_t rows;
	uint32_t id, count;
	int64_t us;
	bool idle;

	switch ((enum frame_kind)f->kind) {
	case FRAME_HELLO:
		if (frame_read_hello(f, &hello, &ignored) == 0)
			buf_printf(out, "%s, %s", hello.stage,
				hello.bounded ? "bounded" : "unbounded");
		break;
	case FRAME_SCHEMA: put_schema(f, out); break;
	case FRAME_BATCH:
	case FRAME_ROWS:
		if (frame_read_rows(f, &id, &count, &ignored) == 0)
			buf_printf(out, "%" PRIu32 " rows of schema %" PRIu32, count, id);
		break;
	case FRAME_WATERMARK:
	case FRAME_TICK:
		if (frame_read_int(f, &us, &ignored) == 0)
			put_time(out, us);
		break;
	case FRAME_BARRIER:
		if (frame_read_barrier(f, &barrier, &ignored) == 0)
			buf_printf(out, "%s %" PRIu64, barrier_kind_name(barrier.kind),
				barrier.checkpoint);
		break;
	case FRAME_END:
		if (frame_read_end(f, &rows, &ignored) == 0)
			buf_printf(out, "%" PRIu64 " rows", rows);
		break;
	case FRAME_STATUS:
		if (frame_read_status(f, &idle, &ignored) == 0)
			buf_put_text(out, idle ? "idle" : "active");
		break;
	case FRAME_ERROR:
		if (frame_read_error(f, &stage, &message, &ignored) == 0)
			buf_printf(out, "%s: %.*s", buf_cstr(&stage),
				(int)strcspn(buf_cstr(&message), "\n"), buf_cstr(&message));
		break;
	case FRAME_MARKER:
	case FRAME_EPOCH:
	case FRAME_PACKED:
	case FRAME_SKIP_FIRST:
	case FRAME_SKIP_LAST: break;
	}
	buf_clear(&stage);
	buf_clear(&message);
}

static int peek_frame(struct operator* op, unsigned input, const struct frame *f, struct error *e)
{
	struct peek *p = peek_of(op);
	struct buf details = BUF_INIT;

	p->frames++;
	if (p->o.frames) {
		put_details(f, &details);
		buf_printf(&p->text, "%8" PRIu64 " %12" PRIu64 "  %-9s %9" PRIu32 "%s%s\n",
			p->frames, p->bytes, frame_kind_name(f->kind),
			f->body_bytes + FRAME_HEADER_BYTES, details.len ? "  " : "",
			buf_cstr(&details));
		put_text(p);
		buf_clear(&details);
	}
	p->bytes += f->body_bytes + FRAME_HEADER_BYTES;
	return 0;
}

/* ---- -n ---- */

static int show_held(struct peek *p, struct error *e)
{
	if (!p->rows_held)
		return 0;
	p->rows_held = false;
	if (writer_end(p->writer, &p->text, e) < 0)
		return -1;
	put_text(p);
	return 0;
}

static int show_rows(struct peek *p, const struct batch *b, struct error *e)
{
	uint64_t left = (uint64_t)p->o.rows - p->rows_shown;
	struct batch part = *b;

	if (!left)
		return 0;
	arena_reset(&p->arena);
	if (b->rows > left)
		batch_slice(b, 0, (uint32_t)left, &p->arena, &part);
	p->rows_shown += part.rows;
	p->rows_held = true;
	if (writer_rows(p->writer, &part, &p->text, e) < 0)
		return -1;
	return p->rows_shown == (uint64_t)p->o.rows ? show_held(p, e) : 0;
}

/* ---- --plot ---- */

static bool is_number(struct type t)
{
	switch ((enum type_kind)t.kind) {
	case TYPE_BOOL:
	case TYPE_INT:
	case TYPE_FLOAT:
	case TYPE_DECIMAL:
	case TYPE_DURATION: return true;
	case TYPE_DATE:
	case TYPE_TIMESTAMP:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return false;
}

static double number_at(const struct column *c, uint32_t row)
{
	if (!column_is_valid(c, row))
		return NAN;
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: return column_bool(c, row);
	case TYPE_INT: return (double)column_int(c, row);
	case TYPE_FLOAT: return column_float(c, row);
	case TYPE_DECIMAL: return (double)column_decimal(c, row) / pow(10, c->type.scale);
	case TYPE_DURATION: return (double)column_int(c, row) / 1e6;
	case TYPE_DATE:
	case TYPE_TIMESTAMP:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return NAN;
}

static bool has_time(const struct schema *s)
{
	return s->time_column >= 0 && s->fields[s->time_column].type.kind == TYPE_TIMESTAMP;
}

static int choose_column(struct peek *p, const struct schema *s, struct error *e)
{
	bool by_time = has_time(&p->schema);
	struct type type;

	p->plot_column = schema_require(s, p->o.plot, strlen(p->o.plot), "the stream", e);
	if (p->plot_column < 0)
		return error_context(e, "--plot");
	type = s->fields[p->plot_column].type;
	if (!is_number(type))
		return error_set(e, ERROR_USAGE, "--plot: '%s' is %s, not a number", p->o.plot,
			type_name(type));
	if (p->plot.values && has_time(s) != by_time)
		return error_set(e, ERROR_DATA, "--plot: a later schema has another event time");
	return 0;
}

static void plot_rows(struct peek *p, const struct batch *b)
{
	const struct column *y = &b->columns[p->plot_column];
	const struct column *x = has_time(b->schema) ? &b->columns[b->schema->time_column] : NULL;

	for (uint32_t r = 0; r < b->rows; r++) {
		int64_t at = (int64_t)++p->rows_plotted;

		if (b->ops && (b->ops[r] == ROW_DELETE || b->ops[r] == ROW_UPDATE_BEFORE))
			continue;
		if (x && !column_is_valid(x, r))
			continue;
		plot_put(&p->plot, x ? column_int(x, r) : at, number_at(y, r));
	}
}

static void put_plot(struct peek *p, struct buf *out)
{
	struct plot_labels labels = {.y = p->o.plot, .x = "the rows"};

	if (has_time(&p->schema)) {
		labels.x = p->schema.fields[p->schema.time_column].name;
		labels.is_time = true;
	}
	plot_draw(&p->plot, &labels, p->o.width, out);
}

/* ---- what passes ---- */

static int peek_schema(struct operator* op, unsigned input, const struct schema *s, struct error *e)
{
	struct peek *p = peek_of(op);

	if (p->o.plot && choose_column(p, s, e) < 0)
		return -1;
	schema_clear(&p->schema);
	schema_copy(&p->schema, s);
	p->has_schema = true;
	if (!p->writer || p->rows_shown >= (uint64_t)p->o.rows)
		return 0;
	p->rows_held = true;
	return writer_schema(p->writer, s, &p->text, e);
}

static int peek_batch(struct operator* op, unsigned input, const struct batch *b, struct error *e)
{
	struct peek *p = peek_of(op);

	if (p->writer && show_rows(p, b, e) < 0)
		return -1;
	if (p->o.plot)
		plot_rows(p, b);
	return 0;
}

static int peek_idle(struct operator* op, struct error *e)
{
	struct peek *p = peek_of(op);

	return p->rows_shown ? show_held(p, e) : 0;
}

/* ---- reports ---- */

static void put_watermark(struct peek *p, const struct stage_report *r, struct buf *out)
{
	int64_t watermark = stage_watermark(p->op.stage), now = stage_now(p->op.stage);
	char span[HUMAN_TEXT_MAX];

	if (watermark == WATERMARK_NONE) {
		buf_put_text(out, "no watermark");
		return;
	}
	buf_put_text(out, "watermark ");
	put_time(out, watermark);
	if (watermark != WATERMARK_FINAL)
		buf_printf(out, " (%s behind)",
			human_span(span, (now == WATERMARK_NONE ? r->now_us : now) - watermark));
}

static int percent(uint64_t us, int64_t of_us)
{
	double share = of_us > 0 ? (double)us / (double)of_us : 0;

	return (int)lround(100 * (share > 1 ? 1 : share));
}

/* Since the one before; the last one: of all. */
static void put_report(struct peek *p, const struct stage_report *r, struct buf *out)
{
	struct stage_report from = p->before;
	uint64_t bytes = p->bytes_before;
	char count[HUMAN_TEXT_MAX], size[HUMAN_TEXT_MAX], span[HUMAN_TEXT_MAX];
	double seconds;

	if (r->last) {
		from = (struct stage_report){.now_us = 0};
		bytes = 0;
	}
	seconds = (double)(r->elapsed_us - from.elapsed_us + 1) / 1e6;
	buf_printf(out, "%s: %s rows/s, ", stage_name(p->op.stage),
		human_count(count, (double)(r->rows - from.rows) / seconds));
	buf_printf(
		out, "%s/s, ", human_bytes(size, (uint64_t)((double)(p->bytes - bytes) / seconds)));
	put_watermark(p, r, out);
	buf_printf(out, ", idle %d%%, backpressured %d%%, ",
		percent(r->idle_us - from.idle_us, r->elapsed_us - from.elapsed_us),
		percent(r->blocked_us - from.blocked_us, r->elapsed_us - from.elapsed_us));
	buf_printf(out, "%" PRIu64 " rows in %" PRIu64 " frames", r->rows, p->frames);
	if (r->last)
		buf_printf(out, ", %s in %s", human_bytes(size, p->bytes),
			human_span(span, r->elapsed_us));
}

static unsigned count_lines(const struct buf *text)
{
	unsigned n = 0;

	for (size_t i = 0; i < text->len; i++)
		n += text->data[i] == '\n';
	return n;
}

/* The plot and the line are left standing to be written over, but for the last. */
static void show_report(struct peek *p, const struct stage_report *r)
{
	bool over = p->o.terminal && !r->last && !r->asked;
	unsigned lines = 1;
	size_t line;

	if (p->has_schema && p->o.plot && (p->o.terminal || r->last || r->asked))
		put_plot(p, &p->text);
	lines += count_lines(&p->text);
	line = p->text.len;
	if (!p->o.quiet)
		put_report(p, r, &p->text);
	/* A line that wraps couldn't be written over. */
	if (over && p->o.width && p->text.len - line >= p->o.width)
		p->text.len = line + p->o.width - 1;
	if (!over && p->text.len > line)
		buf_put_byte(&p->text, '\n');
	put_text(p);
	p->lines = over ? lines : 0;
}

static int peek_report(struct operator* op, const struct stage_report *r, struct error *e)
{
	struct peek *p = peek_of(op);

	if (show_held(p, e) < 0)
		return -1;
	show_report(p, r);
	p->before = *r;
	p->bytes_before = p->bytes;
	return 0;
}

static void peek_free(struct operator* op)
{
	struct peek *p = peek_of(op);

	writer_free(p->writer);
	schema_clear(&p->schema);
	buf_clear(&p->text);
	arena_clear(&p->arena);
	mem_free(p);
}

/* Rows are only decoded where they are looked at. */
static const struct operator_ops counting_ops = {
	.type = "speek",
	.free = peek_free,
	.frame = peek_frame,
	.report = peek_report,
};

static const struct operator_ops looking_ops = {
	.type = "speek",
	.free = peek_free,
	.schema = peek_schema,
	.batch = peek_batch,
	.frame = peek_frame,
	.idle = peek_idle,
	.report = peek_report,
};

int peek_operator_new(const struct peek_options *o, struct operator** out, struct error *e)
{
	struct peek *p = mem_zero(sizeof *p);
	struct writer_options table = {
		.header = true, .color = o->color, .columns_max = o->terminal ? (int)o->width : 0};

	p->o = *o;
	p->op = (struct operator){.ops = o->rows || o->plot ? &looking_ops : &counting_ops,
		.inputs = 1,
		.outputs = 1,
		.passes = true,
		.report_us = o->every_us};
	schema_init(&p->schema);
	plot_init(&p->plot);
	if (o->rows && writer_new("table", &table, &p->writer, e) < 0) {
		peek_free(&p->op);
		return -1;
	}
	*out = &p->op;
	return 0;
}
