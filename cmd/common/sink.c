#include "cmd/common/sink.h"

#include "cmd/common/output.h"
#include "formats/compress.h"
#include "formats/extension.h"
#include "libcore/base/memory.h"
#include "libcore/table/builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct sink {
	struct operator op;
	struct sink_options o;
	char format[16];
	char extension[32];
	struct writer *writer;     /* NULL: frames, or null: */
	struct output *output;     /* opened with the first schema */
	struct schema schema;
	bool has_schema;
	struct buf text;
	uint64_t rows, part_rows;  /* all; those of the present part */
	bool in_part;              /* directories: a part has begun (its text may be held back) */
	uint64_t restored_offset;
	uint32_t restored_job;     /* the first 8 digits of its uuid, as a number */
	enum output_kind restored_kind;
	int restored_text;         /* see text_number */
	bool has_restored;
	bool has_restored_schema;  /* frames: the file has it, as schema_id */
	bool finished;             /* all rows have come; also before it was restored */
	bool finished_before;
	bool interactive;          /* on a terminal: what is there is shown when nothing more comes */

	/* Frames: */
	uint32_t schema_id;        /* of schema */
	uint32_t schema_ids;       /* all that the present file has */
	struct declared *declared; /* those that this process has put there */
	size_t declared_len, declared_cap;
};

struct declared {
	uint32_t id;
	struct schema schema;
};

static struct sink *sink_of(struct operator *op)
{
	return (struct sink *)op;
}

static void forget_declared(struct sink *s)
{
	for (size_t i = 0; i < s->declared_len; i++)
		schema_clear(&s->declared[i].schema);
	s->declared_len = 0;
	s->schema_ids = 0;
}

static void sink_free(struct operator *op)
{
	struct sink *s = sink_of(op);

	forget_declared(s);
	mem_free(s->declared);
	writer_free(s->writer);
	output_close(s->output);
	schema_clear(&s->schema);
	buf_clear(&s->text);
	mem_free(s);
}

static bool is_frames(const struct sink *s)
{
	return !strcmp(s->format, "frames");
}

/* ---- format ---- */

static const char *const format_names[] = {"csv", "tsv", "ndjson", "lines", "table", "frames",
	"json", "msgpack"}; /* their places stand in snapshots */

enum { FORMATS = sizeof format_names / sizeof *format_names, FORMAT_BITS = 4 };

/* Its number in snapshots; -1: there is none. */
static int format_number(const char *name)
{
	for (int i = 0; i < FORMATS; i++) {
		if (!strcmp(format_names[i], name))
			return i;
	}
	return -1;
}

static bool is_format(const char *name)
{
	return format_number(name) >= 0;
}

/* Format and compression as one number, for snapshots. */
static int text_number(const struct sink *s)
{
	enum compression c = compression_of(s->o.output);

	return format_number(s->format) | (int)(c ? c : compression_of(s->extension)) << FORMAT_BITS;
}

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
	unsigned then = (unsigned)s->restored_text & ((1u << FORMAT_BITS) - 1);

	if (!s->restored_offset || s->restored_kind == OUTPUT_DIRECTORY || s->finished_before ||
		s->restored_text == text_number(s) || then >= FORMATS)
		return 0;
	error_set(e, ERROR_STATE, "%s: begun as %s%s, and now it would go on as %s%s", s->o.output,
		format_names[then], s->restored_text >> FORMAT_BITS ? ", compressed," : "", s->format,
		text_number(s) >> FORMAT_BITS ? ", compressed" : "");
	return error_hint(e, "say -f %s, or begin a new file: --drop-state %s", format_names[then],
		stage_name(s->op.stage));
}

static int sink_open(struct sink *s, struct error *e)
{
	char job[9];
	struct output_options o = {.path = s->o.output, .extension = s->extension,
		.subtask = stage_subtask(s->op.stage), .subtasks = stage_subtasks(s->op.stage),
		.supervised = s->o.supervised, .job = stage_job(s->op.stage),
		.attempt = stage_attempt(s->op.stage), .spool = s->o.spool, .stage = s->op.stage,
		.finished = s->finished_before};

	if (s->output)
		return 0;
	if (check_restored_kind(s, e) < 0 || check_restored_text(s, e) < 0)
		return -1;
	/* Parts begin anew; a file goes on, and a stream has had its header. */
	if (s->has_restored && s->restored_kind == output_kind_of(s->o.output)) {
		snprintf(job, sizeof job, "%08x", s->restored_job);
		o.from_job = job;
		o.offset = s->restored_offset;
	} else {
		s->has_restored_schema = false;
		s->rows = s->schema_id = s->schema_ids = 0;
	}
	return output_open(&o, &s->output, e);
}

static int sink_write(struct sink *s, struct error *e)
{
	int status = output_put(s->output, &s->text, e);

	buf_reset(&s->text);
	return status;
}

static void remember_declared(struct sink *s)
{
	MEM_GROW(s->declared, s->declared_cap, s->declared_len + 1);
	s->declared[s->declared_len].id = s->schema_id;
	schema_init(&s->declared[s->declared_len].schema);
	schema_copy(&s->declared[s->declared_len++].schema, &s->schema);
}

/* What the file has keeps its id: streams that come together bring theirs in turn. */
static int sink_declare(struct sink *s, struct error *e)
{
	for (size_t i = 0; i < s->declared_len; i++) {
		s->schema_id = s->declared[i].id;
		if (schema_equal(&s->declared[i].schema, &s->schema))
			return 0;
	}
	if (s->schema_ids + 1 >= SCHEMA_ID_MAX)
		return error_set(e, ERROR_DATA, "%s: more than %d different schemas in one stream",
			s->o.output, SCHEMA_ID_MAX - 1);
	s->schema_id = ++s->schema_ids;
	remember_declared(s);
	frame_put_schema(&s->text, s->schema_id, &s->schema);
	return 0;
}

/* What every new file starts with: a header, HELLO and SCHEMA. */
static int sink_begin(struct sink *s, struct error *e)
{
	struct hello hello = {.version = FRAME_VERSION, .stage = "ssink", .bounded = true};

	if (!is_frames(s))
		return writer_schema(s->writer, &s->schema, &s->text, e);
	if (output_is_at_start(s->output)) {
		frame_put_hello(&s->text, &hello);
		forget_declared(s);
	}
	return sink_declare(s, e);
}

static int sink_new_writer(struct sink *s, struct error *e)
{
	writer_free(s->writer);
	s->writer = NULL;
	return is_frames(s) ? 0 : writer_new(s->format, &s->o.writer, &s->writer, e);
}

/* Whether every epoch is whole by itself: part files, and tables, whose rows wait for their end. */
static bool has_parts(const struct sink *s)
{
	return output_kind(s->output) == OUTPUT_DIRECTORY ||
		(s->o.supervised && !strcmp(s->format, "table"));
}

/* A part begins with its first row: an epoch without rows leaves no file. */
static bool is_between_parts(const struct sink *s)
{
	return has_parts(s) && !s->in_part;
}

/* A restored file has its header already; the first schema after a restore is the one it was written
 * with. */
static int sink_resume(struct sink *s, struct error *e)
{
	if (!is_frames(s))
		return writer_resume(s->writer, &s->schema, s->rows > 0, e);
	remember_declared(s);
	return 0;
}

static int sink_schema(struct operator *op, unsigned input, const struct schema *in,
	struct error *e)
{
	struct sink *s = sink_of(op);
	bool resumes;

	if (s->has_schema && schema_equal(&s->schema, in))
		return 0;
	if (sink_open(s, e) < 0)
		return -1;
	schema_clear(&s->schema);
	schema_copy(&s->schema, in);
	s->has_schema = true;
	resumes = s->has_restored_schema;
	s->has_restored_schema = false;
	if (is_between_parts(s))
		return 0;
	if (resumes)
		return sink_resume(s, e);
	return sink_begin(s, e) < 0 ? -1 : sink_write(s, e);
}

static int sink_batch(struct operator *op, unsigned input, const struct batch *in, struct error *e)
{
	struct sink *s = sink_of(op);

	s->rows += in->rows;
	if (output_kind(s->output) == OUTPUT_NULL)
		return 0;
	if (is_between_parts(s)) {
		s->part_rows = 0;
		s->in_part = true;
		if (sink_new_writer(s, e) < 0 || sink_begin(s, e) < 0)
			return -1;
	}
	s->part_rows += in->rows;
	if (is_frames(s))
		frame_put_batch(&s->text, s->schema_id, in);
	else if (writer_rows(s->writer, in, &s->text, e) < 0)
		return -1;
	return sink_write(s, e);
}

static int sink_watermark(struct operator *op, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct sink *s = sink_of(op);

	if (!s->output || !is_frames(s) || output_is_at_start(s->output))
		return 0;
	frame_put_watermark(&s->text, in_us);
	return sink_write(s, e);
}

/* Without any row a table still shows its columns, as it does alone. */
static bool is_empty_table(const struct sink *s)
{
	return output_kind(s->output) != OUTPUT_DIRECTORY && s->finished && s->has_schema && !s->rows;
}

static int sink_finish_text(struct sink *s, struct error *e)
{
	struct hello hello = {.version = FRAME_VERSION, .stage = "ssink", .bounded = true};

	if (is_between_parts(s) && !is_empty_table(s))
		return 0;
	if (is_between_parts(s) && (sink_new_writer(s, e) < 0 || sink_begin(s, e) < 0))
		return -1;
	if (is_frames(s) && !s->has_schema)
		frame_put_hello(&s->text, &hello);
	if (is_frames(s))
		frame_put_end(&s->text, output_kind(s->output) == OUTPUT_DIRECTORY ? s->part_rows :
			s->rows);
	else if (writer_end(s->writer, &s->text, e) < 0)
		return -1;
	return sink_write(s, e);
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

	if (s->finished_before)
		return 0; /* what it had prepared has been committed */
	if (sink_open(s, e) < 0)
		return -1;
	if (has_parts(s) && !s->finished && sink_finish_text(s, e) < 0)
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

static void sink_abort(struct operator *op)
{
	struct sink *s = sink_of(op);
	struct error ignored = ERROR_INIT;

	/* What a person has been shown half of is shown whole. */
	if (s->interactive && s->output && s->writer && s->has_schema &&
		writer_end(s->writer, &s->text, &ignored) == 0 && sink_write(s, &ignored) == 0)
		output_flush(s->output, &ignored);
	output_close(s->output);
	s->output = NULL;
}

/* A slow stream is written as it comes. */
static int sink_idle(struct operator *op, struct error *e)
{
	struct sink *s = sink_of(op);

	if (!s->output || output_kind(s->output) != OUTPUT_STREAM || s->o.supervised)
		return 0;
	if (s->interactive && s->rows && s->has_schema && !stage_is_bounded(op->stage) &&
		s->writer && (writer_end(s->writer, &s->text, e) < 0 || sink_write(s, e) < 0))
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
		s->restored_job, s->finished, s->restored_kind, s->schema_id, s->schema_ids,
		s->output || !s->has_restored ? text_number(s) : s->restored_text};

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
		s->rows = (uint64_t)values[1];
		s->restored_job = (uint32_t)values[2];
		/* Of several former subtasks all must have been. */
		s->finished = values[3] && (s->finished || !s->has_restored);
		s->finished_before = s->finished;
		s->restored_kind = (enum output_kind)values[4];
		s->schema_id = (uint32_t)values[5];
		s->schema_ids = (uint32_t)values[6];
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
	.end = sink_end,
	.snapshot = sink_snapshot,
	.restore = sink_restore,
	.prepare = sink_prepare,
	.commit = sink_commit,
	.abort = sink_abort,
	.idle = sink_idle,
};

/* ---- making one ---- */

static void choose_format(struct sink *s)
{
	char extension[16] = "";

	if (s->o.format) {
		snprintf(s->format, sizeof s->format, "%s", s->o.format);
	} else {
		format_extension(s->o.output, extension, sizeof extension);
		snprintf(s->format, sizeof s->format, "%s", is_format(extension) ? extension :
			!strcmp(extension, "jsonl") ? "ndjson" :
			!strcmp(s->o.output, "-") && isatty(STDOUT_FILENO) ? "table" : "ndjson");
	}
	snprintf(s->extension, sizeof s->extension, "%s%s%s", s->format,
		s->o.compress ? "." : "", s->o.compress ? s->o.compress : "");
}

static void look_at_terminal(struct sink *s)
{
	struct winsize size;

	s->interactive = !s->o.supervised && !strcmp(s->o.output, "-") && isatty(STDOUT_FILENO);
	if (s->interactive && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		s->o.writer.columns_max = size.ws_col;
}

static int check_output(const char *output, struct error *e)
{
	const char *scheme = strstr(output, "://");

	if (scheme)
		return error_set(e, ERROR_USAGE, "can't write to %.*s://\n"
			"an output is -, a path, a directory with its slash (out/) or null:",
			(int)(scheme - output), output);
	if (!strncmp(output, "unix:", 5) || !strncmp(output, "unix-listen:", 12))
		return error_set(e, ERROR_USAGE, "can't write to a socket: %s\n"
			"an output is -, a path, a directory with its slash (out/) or null:", output);
	return 0;
}

/* A name that promises what wouldn't be in the file. */
static int check_name(const struct sink_options *o, struct error *e)
{
	static const char *const packings[] = {"bz2", "xz", "z", "br", "zip", "7z", "tar", "tgz", NULL};
	static const char *const others[] = {"parquet", "arrow", "feather", "avro", "orc", "xlsx", "xls",
		"xml", "yaml", "html", "md", "db", "sqlite", "duckdb", NULL};
	const char *slash = strrchr(o->output, '/');
	const char *dot = strrchr(slash ? slash + 1 : o->output, '.');
	char extension[16];

	for (size_t i = 0; dot && packings[i]; i++) {
		if (!strcasecmp(dot + 1, packings[i]))
			return error_set(e, ERROR_USAGE, "%s: can't compress to %s\n"
				"a name may end in .gz, .zst or .lz4", o->output, dot);
	}
	format_extension(o->output, extension, sizeof extension);
	for (size_t i = 0; !o->format && others[i]; i++) {
		if (!strcasecmp(extension, others[i]))
			return error_set(e, ERROR_USAGE, "%s: there is no format %s\n"
				"-f csv, for example, says what to write", o->output, extension);
	}
	return 0;
}

int sink_operator_new(const struct sink_options *o, struct operator **out, struct error *e)
{
	struct sink *s;

	if (check_output(o->output, e) < 0 || check_name(o, e) < 0)
		return -1;
	s = mem_zero(sizeof *s);
	s->o = *o;
	s->op = (struct operator){.ops = &sink_ops, .inputs = 1, .outputs = 0};
	schema_init(&s->schema);
	choose_format(s);
	look_at_terminal(s);
	if (sink_new_writer(s, e) < 0) {
		sink_free(&s->op);
		return -1;
	}
	*out = &s->op;
	return 0;
}
