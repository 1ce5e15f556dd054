#include "cmd/common/sink.h"

#include "cmd/common/live_table.h"
#include "cmd/common/output.h"
#include "cmd/common/sink_format.h"
#include "libcore/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	DRAW_LEAST_US = 80000,   /* between two drawings of a table: 12 a second */
	LOOK_US = 250000,        /* ... between two looks at the size of its terminal; for so long a
	                          * table holds rows back to learn their widths */
};

struct sink {
	struct operator op;
	struct sink_options o;
	struct sink_format format;
	struct output *output;       /* opened with the first schema */
	struct sheet sheet;          /* of a stream, a file, null: */
	struct parts *parts;         /* of a directory, once it is open */
	struct partition *partition; /* NULL: none */
	bool told_scattered;
	struct schema schema;
	bool has_schema;
	struct buf text;
	uint64_t rows;
	bool in_part;              /* tables of a stream's epochs: one has begun */
	uint64_t restored_offset;
	uint32_t restored_job;     /* the first 8 digits of its uuid, as a number */
	enum output_kind restored_kind;
	int restored_text;         /* see text_number */
	bool has_restored;
	bool has_restored_schema;  /* the file has it; frames: as sheet.schema_id */
	bool finished;             /* all rows have come; also before it was restored */
	bool finished_before;
	bool interactive;          /* on a terminal: what is there is shown when nothing more comes */
	struct live_table *live;   /* ... a changelog's table */
	int64_t drawn_us;          /* when it was last drawn; of other tables: when rows were held back */
};

static struct sink *sink_of(struct operator *op)
{
	return (struct sink *)op;
}

static void sink_free(struct operator *op)
{
	struct sink *s = sink_of(op);

	parts_free(s->parts);
	partition_free(s->partition);
	sheet_close(&s->sheet);
	output_close(s->output);
	live_table_free(s->live);
	schema_clear(&s->schema);
	buf_clear(&s->text);
	mem_free(s);
}

/* Processing time. */
static int64_t sink_now(const struct sink *s)
{
	int64_t tick_us = stage_now(s->op.stage);

	return s->o.clock_us ? s->o.clock_us() : tick_us < 0 ? 0 : tick_us;
}

/* ---- where it goes on ---- */

static int check_restored_kind(const struct sink *s, struct error *e)
{
	if (!s->restored_offset || s->restored_kind != OUTPUT_FILE || s->finished_before ||
		output_kind_of(s->o.output) == OUTPUT_FILE)
		return 0;
	error_set(e, ERROR_STATE, "%s: the rows before the checkpoint went to a single file, and were "
		"not yet under its name", s->o.output);
	return error_hint(e, "to go on without them: --drop-state %s", stage_name(s->op.stage));
}

/* A file goes on as it was begun. */
static int check_restored_text(const struct sink *s, struct error *e)
{
	int now = sink_format_number(&s->format, s->o.output);
	const char *then = sink_format_of_number(s->restored_text);

	if (!s->restored_offset || s->restored_kind == OUTPUT_DIRECTORY || s->finished_before ||
		s->restored_text == now || !then)
		return 0;
	error_set(e, ERROR_STATE, "%s: begun as %s%s, and now it would go on as %s%s", s->o.output,
		then, sink_format_is_compressed(s->restored_text) ? ", compressed," : "",
		s->format.name, sink_format_is_compressed(now) ? ", compressed" : "");
	return error_hint(e, "say -f %s, or begin a new file: --drop-state %s", then,
		stage_name(s->op.stage));
}

static int sink_open(struct sink *s, struct error *e)
{
	char job[9];
	struct output_options o = {.path = s->o.output, .extension = s->format.extension,
		.subtask = stage_subtask(s->op.stage), .subtasks = stage_subtasks(s->op.stage),
		.supervised = s->o.supervised, .job = stage_job(s->op.stage),
		.attempt = stage_attempt(s->op.stage), .spool = s->o.spool, .stage = s->op.stage,
		.appends = s->partition || s->o.roll.bytes || s->o.roll.age_us, .net = s->o.net,
		.finished = s->finished_before};
	struct parts_options parts = {.format = s->format.name, .writer = s->o.writer,
		.partition = s->partition, .roll = s->o.roll, .open_max = s->o.parts_open_max};

	if (s->output)
		return 0;
	if (check_restored_kind(s, e) < 0 || check_restored_text(s, e) < 0)
		return -1;
	/* Parts begin anew; a file goes on, and a stream has had its header. */
	if (s->has_restored && s->restored_kind == output_kind_of(s->o.output)) {
		snprintf(job, sizeof job, "%08x", s->restored_job);
		o.from_job = job;
		o.offset = s->restored_offset;
		s->sheet.begun = s->restored_offset > 0;
	} else {
		s->has_restored_schema = false;
		s->rows = s->sheet.rows = s->sheet.schema_id = s->sheet.schema_ids = 0;
	}
	if (output_open(&o, &s->output, e) < 0)
		return -1;
	if (output_kind(s->output) == OUTPUT_DIRECTORY)
		s->parts = parts_new(&parts, s->output);
	return 0;
}

static int sink_write(struct sink *s, struct error *e)
{
	int status = output_put(s->output, &s->text, e);

	buf_reset(&s->text);
	return status;
}

static int sink_begin(struct sink *s, struct error *e)
{
	if (sheet_begin(&s->sheet, &s->schema, &s->text, e) < 0)
		return error_context(e, "%s", s->o.output);
	return sink_write(s, e);
}

/* Whether every epoch of a stream is whole by itself: tables, whose rows wait for their end.  Such a
 * table begins with its first row. */
static bool is_between_tables(const struct sink *s)
{
	return s->o.supervised && !strcmp(s->format.name, "table") && !s->in_part;
}

static int sink_begin_table(struct sink *s, struct error *e)
{
	sheet_close(&s->sheet);
	s->in_part = true;
	if (sheet_open(&s->sheet, s->format.name, &s->o.writer, e) < 0)
		return -1;
	return sink_begin(s, e);
}

/* ---- a table on a terminal ---- */

static struct live_screen screen_now(const struct sink *s)
{
	/* One that doesn't tell its size has the usual one. */
	struct live_screen screen = {.rows = 24, .columns = 80, .color = s->o.writer.color};
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
		screen.rows = size.ws_row;
		screen.columns = size.ws_col;
	}
	return screen;
}

/* Now, or as soon as the last drawing is old enough. */
static int sink_draw(struct sink *s, struct error *e)
{
	struct live_screen screen = screen_now(s);
	int64_t now_us = sink_now(s), left_us = s->drawn_us + DRAW_LEAST_US - now_us;

	s->op.wait_us = LOOK_US;
	if (!live_table_is_stale(s->live, &screen))
		return 0;
	if (left_us > 0) {
		s->op.wait_us = left_us;
		return 0;
	}
	s->drawn_us = now_us;
	live_table_draw(s->live, &screen, &s->text);
	return sink_write(s, e) < 0 ? -1 : output_flush(s->output, e);
}

/* The last drawing stays, and has all rows. */
static int sink_leave_table(struct sink *s, struct error *e)
{
	struct live_screen screen = screen_now(s);

	live_table_finish(s->live, &screen, &s->text);
	live_table_free(s->live);
	s->live = NULL;
	s->op.wait_us = 0;
	return sink_write(s, e);
}

static bool can_redraw(void)
{
	const char *term = getenv("TERM");

	return term && *term && strcmp(term, "dumb") != 0;
}

/* ---- rows ---- */

static int sink_schema_text(struct sink *s, struct error *e)
{
	bool resumes = s->has_restored_schema;

	s->has_restored_schema = false;
	if (s->live && sink_leave_table(s, e) < 0)
		return -1;
	if (s->interactive && s->schema.changelog && !strcmp(s->format.name, "table") && can_redraw() &&
		s->o.clock_us) {
		s->live = live_table_new(&s->schema);
		return 0;
	}
	if (is_between_tables(s))
		return 0;
	return resumes ? sheet_resume(&s->sheet, &s->schema, e) : sink_begin(s, e);
}

static int sink_schema(struct operator *op, unsigned input, const struct schema *in,
	struct error *e)
{
	struct sink *s = sink_of(op);

	if (s->has_schema && schema_equal(&s->schema, in))
		return 0;
	if (sink_open(s, e) < 0)
		return -1;
	schema_clear(&s->schema);
	schema_copy(&s->schema, in);
	s->has_schema = true;
	return s->parts ? parts_schema(s->parts, in, e) : sink_schema_text(s, e);
}

static int sink_roll(struct sink *s, struct error *e)
{
	int64_t next_us;

	if (!s->o.roll.age_us || !s->parts)
		return 0;
	if (parts_tick(s->parts, sink_now(s), &next_us, e) < 0)
		return -1;
	s->op.wait_us = s->o.clock_us && next_us > 0 ? next_us : 0;
	return 0;
}

static int sink_put_parts(struct sink *s, const struct batch *in, struct error *e)
{
	if (parts_rows(s->parts, in, sink_now(s), e) < 0)
		return -1;
	if (!s->told_scattered && parts_are_scattered(s->parts)) {
		s->told_scattered = true;
		stage_warn(s->op.stage, "rows go to more directories at a time than parts may be open, "
			"so there are many small ones\n"
			"--open-parts N allows more, and input in order of the columns needs few");
	}
	return sink_roll(s, e);
}

static int sink_batch(struct operator *op, unsigned input, const struct batch *in, struct error *e)
{
	struct sink *s = sink_of(op);

	s->rows += in->rows;
	if (output_kind(s->output) == OUTPUT_NULL)
		return 0;
	if (s->parts)
		return sink_put_parts(s, in, e);
	if (s->live) {
		live_table_take(s->live, in);
		return sink_draw(s, e);
	}
	if (is_between_tables(s) && sink_begin_table(s, e) < 0)
		return -1;
	return sheet_rows(&s->sheet, in, &s->text, e) < 0 ? -1 : sink_write(s, e);
}

static int sink_watermark(struct operator *op, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct sink *s = sink_of(op);

	if (s->parts)
		return parts_watermark(s->parts, in_us, e);
	if (!s->output)
		return 0;
	sheet_watermark(&s->sheet, in_us, &s->text);
	return sink_write(s, e);
}

static int sink_tick(struct operator *op, int64_t now_us, struct error *e)
{
	return sink_roll(sink_of(op), e);
}

static int sink_finish_text(struct sink *s, struct error *e)
{
	if (s->parts)
		return parts_finish(s->parts, e);
	if (s->live)
		return sink_leave_table(s, e);
	/* Without any row a table still shows its columns, as it does alone. */
	if (is_between_tables(s) && !(s->finished && s->has_schema && !s->rows))
		return 0;
	if (is_between_tables(s) && sink_begin_table(s, e) < 0)
		return -1;
	return sheet_end(&s->sheet, &s->text, e) < 0 ? -1 : sink_write(s, e);
}

static int sink_end(struct operator *op, struct error *e)
{
	struct sink *s = sink_of(op);

	s->finished = true;
	if (sink_open(s, e) < 0 || sink_finish_text(s, e) < 0)
		return -1;
	if (s->o.verbose)
		stage_warn(op->stage, "%llu rows", (unsigned long long)s->rows);
	return output_flush(s->output, e);
}

static int sink_prepare(struct operator *op, uint64_t epoch, struct buf *handle, struct error *e)
{
	struct sink *s = sink_of(op);
	bool epoch_is_whole;

	if (s->finished_before)
		return 0; /* what it had prepared has been committed */
	if (sink_open(s, e) < 0)
		return -1;
	epoch_is_whole = s->parts || (s->o.supervised && !strcmp(s->format.name, "table"));
	if (epoch_is_whole && !s->finished && sink_finish_text(s, e) < 0)
		return -1;
	s->in_part = false;
	return output_prepare(s->output, epoch, s->finished, handle, e);
}

static int sink_commit(struct operator *op, uint64_t epoch, const uint8_t *handle, size_t len,
	struct error *e)
{
	struct sink *s = sink_of(op);

	if (sink_open(s, e) < 0)
		return -1;
	return output_commit(s->output, handle, len, e);
}

/* What a person has been shown half of is shown whole. */
static void show_rest(struct sink *s)
{
	struct error ignored = ERROR_INIT;
	int status = 0;

	if (s->live)
		status = sink_leave_table(s, &ignored);
	else if (s->sheet.begun)
		status = sheet_end(&s->sheet, &s->text, &ignored) < 0 ? -1 : sink_write(s, &ignored);
	if (status == 0)
		output_flush(s->output, &ignored);
}

static void sink_abort(struct operator *op)
{
	struct sink *s = sink_of(op);

	if (s->interactive && s->output)
		show_rest(s);
	parts_free(s->parts);
	s->parts = NULL;
	output_close(s->output);
	s->output = NULL;
}

/* A table that holds rows back to learn their widths knows enough, if no more may come, or if what
 * comes from a file comes slowly. */
static int sink_settle(struct sink *s, struct error *e)
{
	int64_t now_us = sink_now(s), left_us;

	if (!s->drawn_us)
		s->drawn_us = now_us;
	left_us = s->drawn_us + LOOK_US - now_us;
	s->op.wait_us = 0;
	if (stage_is_bounded(s->op.stage) && left_us > 0) {
		s->op.wait_us = left_us;
		return 0;
	}
	return sheet_end(&s->sheet, &s->text, e) < 0 ? -1 : sink_write(s, e);
}

/* A slow stream is written as it comes. */
static int sink_idle(struct operator *op, struct error *e)
{
	struct sink *s = sink_of(op);

	if (!s->output || s->o.supervised)
		return 0;
	if (s->parts)
		return sink_roll(s, e);
	if (s->live)
		return sink_draw(s, e);
	if (output_kind(s->output) != OUTPUT_STREAM)
		return 0;
	if (s->interactive && s->rows && s->has_schema && !strcmp(s->format.name, "table") &&
		sink_settle(s, e) < 0)
		return -1;
	return output_flush(s->output, e);
}

/* ---- state: how much of the file is prepared ---- */

static const char *const state_names[] = {"offset", "rows", "job", "finished", "kind", "schema",
	"schemas", "text"};

enum { STATE_COLUMNS = 8 };

static int sink_snapshot(struct operator *op, struct snapshot_writer *w, struct error *e)
{
	struct sink *s = sink_of(op);
	int64_t values[STATE_COLUMNS] = {(int64_t)s->restored_offset, (int64_t)s->rows,
		s->restored_job, s->finished, s->restored_kind, s->sheet.schema_id,
		s->sheet.schema_ids,
		s->output || !s->has_restored ? sink_format_number(&s->format, s->o.output) : s->restored_text};

	if (s->output) {
		values[0] = (int64_t)output_offset(s->output);
		values[2] = (int64_t)strtoul(output_job8(s->output), NULL, 16);
		values[4] = output_kind(s->output);
	}
	return snapshot_put_ints(w, "file", state_names, values, STATE_COLUMNS, e);
}

static int sink_restore(struct operator *op, struct snapshot_reader *r, struct error *e)
{
	struct sink *s = sink_of(op);
	int64_t values[STATE_COLUMNS];
	const struct batch *b;
	bool found;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (snapshot_read_ints(b, "file", state_names, values, STATE_COLUMNS, &found, e) < 0)
			return -1;
		if (!found)
			continue;
		s->restored_offset = (uint64_t)values[0];
		s->rows = s->sheet.rows = (uint64_t)values[1];
		s->restored_job = (uint32_t)values[2];
		/* Of several former subtasks all must have been. */
		s->finished = values[3] && (s->finished || !s->has_restored);
		s->finished_before = s->finished;
		s->restored_kind = (enum output_kind)values[4];
		s->sheet.schema_id = (uint32_t)values[5];
		s->sheet.schema_ids = (uint32_t)values[6];
		s->restored_text = (int)values[7];
		s->has_restored = true;
		s->has_restored_schema = s->restored_offset > 0;
	}
	return status < 0 ? -1 : 0;
}

static const struct operator_ops sink_ops = {
	.type = "ssink",
	.free = sink_free,
	.schema = sink_schema,
	.batch = sink_batch,
	.watermark = sink_watermark,
	.tick = sink_tick,
	.end = sink_end,
	.snapshot = sink_snapshot,
	.restore = sink_restore,
	.prepare = sink_prepare,
	.commit = sink_commit,
	.abort = sink_abort,
	.idle = sink_idle,
};

/* ---- making one ---- */

static void look_at_terminal(struct sink *s)
{
	struct winsize size;

	s->interactive = !s->o.supervised && !strcmp(s->o.output, "-") && isatty(STDOUT_FILENO);
	if (s->interactive && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		s->o.writer.columns_max = size.ws_col;
}

static int sink_init(struct sink *s, const struct sink_options *o, struct error *e)
{
	if (sink_format_check(o, e) < 0)
		return -1;
	if (o->partition && partition_new(o->partition, &s->partition, e) < 0)
		return -1;
	s->o = *o;
	sink_format_choose(o, &s->format);
	look_at_terminal(s);
	if (sheet_open(&s->sheet, s->format.name, &s->o.writer, e) < 0)
		return -1;
	if (o->pack && s->sheet.writer)
		return error_set(e, ERROR_USAGE, "--pack compresses frames: -f frames");
	return o->pack ? sheet_pack(&s->sheet, o->pack, e) : 0;
}

int sink_operator_new(const struct sink_options *o, struct operator **out, struct error *e)
{
	struct sink *s = mem_zero(sizeof *s);

	s->op = (struct operator){.ops = &sink_ops, .inputs = 1, .outputs = 0};
	schema_init(&s->schema);
	if (sink_init(s, o, e) < 0) {
		sink_free(&s->op);
		return -1;
	}
	*out = &s->op;
	return 0;
}
