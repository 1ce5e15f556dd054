/* Recorded edges as a source: rows, schemas, watermarks and ticks are replayed, barriers dropped.
 * -t and -d place watermarks anew.  A position is a number of frames. */
#include "cmd/ssource/clockwork.h"
#include "cmd/ssource/progress.h"

#include "libcore/base/arena.h"
#include "libcore/base/memory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct replay {
	struct operator base;
	const struct source_options *o;
	struct clockwork clockwork;
	struct progress progress;
	struct schema_spec spec; /* star: all columns */
	struct arena spec_arena;

	uint32_t input;
	int fd;
	struct input *packed;          /* a compressed recording instead of fd; NULL: none */
	struct channel_reader *reader; /* NULL: no input is open */
	struct schema_set schemas;
	const struct schema *current; /* of the last batch */
	struct schema out;
	struct arena arena;
	uint64_t frames;         /* of this input, taken */
	uint64_t frames_to_skip; /* restored: their rows have been sent */
	uint64_t rows;           /* of this input */
	bool has_ended;
};

static struct replay *replay_of(struct operator* op)
{
	return (struct replay *)op;
}

static void close_input(struct replay *r)
{
	channel_reader_free(r->reader);
	r->reader = NULL;
	schema_set_clear(&r->schemas);
	r->current = NULL;
	if (r->fd > STDIN_FILENO)
		close(r->fd);
	r->fd = -1;
	input_close(r->packed);
	r->packed = NULL;
}

/* An archive's entries would be streams of their own: only compression is undone. */
static int take_packed(void *context, void *bytes, size_t cap, size_t *got, struct error *e)
{
	struct input *in = context;
	int status = input_read(in, bytes, cap, got, e);

	if (status == 2)
		return error_set(e, ERROR_USAGE, "%s: a recording is one file, not an archive of several",
			input_name(in));
	return status;
}

/* Files that don't start like frames may be compressed; pipes are taken as they are. */
static bool is_packed(int fd)
{
	uint8_t head[32];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	n = pread(fd, head, sizeof head, 0);
	return n > 0 && !records_is_frames(head, (size_t)n);
}

static int open_input(struct replay *r, struct error *e)
{
	const char *path = r->o->records.inputs[r->input];
	bool is_stdin = strcmp(path, "-") == 0;

	r->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0)
		return error_errno(e, "can't open %s", path);
	if (!is_stdin && is_packed(r->fd)) {
		struct channel_source source = {.take = take_packed};

		if (input_open(path, &r->packed, e) < 0)
			return -1;
		source.context = r->packed;
		r->reader = channel_reader_new_source(&source, path);
	} else {
		r->reader = channel_reader_new(r->fd, is_stdin ? "standard input" : path);
	}
	r->frames = r->rows = 0;
	r->has_ended = false;
	return 0;
}

/* The output's schema: all columns, or those of -s. */
static int choose_columns(struct replay *r, const struct schema *in, struct error *e)
{
	schema_clear(&r->out);
	schema_init(&r->out);
	if (r->spec.star) {
		schema_copy(&r->out, in);
	} else {
		for (size_t i = 0; i < r->spec.len; i++) {
			const struct wanted_column *w = &r->spec.columns[i];
			int field = schema_require(
				in, w->path[0], strlen(w->path[0]), "the recording", e);

			if (field < 0)
				return -1;
			if (w->path_len > 1 ||
				(w->type.kind && !type_equal(w->type, in->fields[field].type)))
				return error_set(e, ERROR_USAGE,
					"-s: '%s' has a type already, which only smap "
					"can change",
					w->name);
			r->spec.columns[i].position = field;
			schema_add(&r->out, w->name, strlen(w->name), in->fields[field].type);
			if (field == in->time_column)
				r->out.time_column = (int)i;
		}
		r->out.time_offset_us = r->out.time_column >= 0 ? in->time_offset_us : 0;
		r->out.changelog = in->changelog;
	}
	if (clockwork_set_schema(&r->clockwork, &r->out, e) < 0)
		return -1;
	return stage_declare(r->base.stage, 0, &r->out, e);
}

/* Rows in the slices between which watermarks fall.  1: the limit is reached. */
static int emit_slices(struct replay *r, const struct batch *b, struct error *e)
{
	for (uint32_t first = 0; first < b->rows;) {
		uint32_t n = clockwork_rows_max(&r->clockwork);
		struct batch part;

		if (!n)
			return 1;
		if (n > b->rows - first)
			n = b->rows - first;
		batch_slice(b, first, n, &r->arena, &part);
		if (clockwork_emit(&r->clockwork, r->base.stage, &part, e) < 0)
			return -1;
		first += n;
	}
	return clockwork_rows_max(&r->clockwork) ? 0 : 1;
}

static int take_batch(struct replay *r, const struct frame *f, struct error *e)
{
	const struct schema *in;
	struct batch b, out;
	struct column *columns;
	uint32_t id;

	if (frame_read_schema_id(f, &id, e) < 0)
		return -1;
	in = schema_set_find(&r->schemas, id);
	if (!in)
		return error_set(e, ERROR_DATA, "rows of schema %u, which was not declared", id);
	arena_reset(&r->arena);
	if (frame_read_batch(f, in, true, &r->arena, &b, e) < 0)
		return -1;
	r->rows += b.rows;
	if (r->frames <= r->frames_to_skip)
		return 0;
	if (in != r->current && choose_columns(r, in, e) < 0)
		return -1;
	r->current = in;
	out = b;
	out.schema = &r->out;
	if (!r->spec.star) {
		columns = ARENA_ARRAY(&r->arena, struct column, r->spec.len);
		for (size_t i = 0; i < r->spec.len; i++)
			columns[i] = b.columns[r->spec.columns[i].position];
		out.columns = columns;
	}
	return emit_slices(r, &out, e);
}

static int take_schema(struct replay *r, const struct frame *f, struct error *e)
{
	const struct schema *s;

	if (schema_set_declare(&r->schemas, f, &s, e) < 0)
		return -1;
	r->current = s;
	return choose_columns(r, s, e);
}

static int take_time(struct replay *r, const struct frame *f, struct error *e)
{
	int64_t us;

	if (frame_read_int(f, &us, e) < 0)
		return -1;
	if (r->frames <= r->frames_to_skip)
		return 0;
	if (f->kind == FRAME_TICK)
		return stage_emit_tick(r->base.stage, us, e);
	/* The final watermark comes by itself, when the last input has ended. */
	if (r->o->time_column || r->o->has_delay || us == WATERMARK_FINAL)
		return 0;
	return stage_emit_watermark(r->base.stage, us, e);
}

static int take_end(struct replay *r, const struct frame *f, struct error *e)
{
	uint64_t rows;

	if (frame_read_end(f, &rows, e) < 0)
		return -1;
	if (rows != r->rows)
		return error_set(e, ERROR_UPSTREAM, "END tells of %llu rows, but %llu came",
			(unsigned long long)rows, (unsigned long long)r->rows);
	r->has_ended = true;
	return 0;
}

static int take_error(const struct frame *f, struct error *e)
{
	struct buf stage = BUF_INIT, message = BUF_INIT;
	int status = frame_read_error(f, &stage, &message, e);

	if (!status)
		status = error_set(e, ERROR_UPSTREAM, "%s failed when this was recorded: %s",
			buf_cstr(&stage), buf_cstr(&message));
	buf_clear(&stage);
	buf_clear(&message);
	return status;
}

static int take_frame(struct replay *r, const struct frame *f, struct error *e)
{
	r->frames++;
	if (r->has_ended)
		return error_set(e, ERROR_DATA, "a frame behind END");
	switch ((enum frame_kind)f->kind) {
	case FRAME_SCHEMA: return take_schema(r, f, e);
	case FRAME_BATCH:
	case FRAME_ROWS: return take_batch(r, f, e);
	case FRAME_WATERMARK:
	case FRAME_TICK: return take_time(r, f, e);
	case FRAME_END: return take_end(r, f, e);
	case FRAME_ERROR: return take_error(f, e);
	case FRAME_HELLO:
	case FRAME_BARRIER:
	case FRAME_STATUS:
	case FRAME_MARKER:
	case FRAME_EPOCH:
	case FRAME_PACKED:
	case FRAME_SKIP_FIRST:
	case FRAME_SKIP_LAST: break;
	}
	return 0;
}

static enum produce_status end_input(struct replay *r, struct error *e)
{
	const char *name = r->o->records.inputs[r->input];

	if (!r->has_ended) {
		error_set(e, ERROR_UPSTREAM,
			"%s ends without END after %llu rows: the recording is cut "
			"short",
			name, (unsigned long long)r->rows);
		return PRODUCE_ERROR;
	}
	close_input(r);
	r->frames_to_skip = 0;
	return ++r->input == r->o->records.inputs_len ? PRODUCE_END : PRODUCE_MORE;
}

static enum produce_status replay_produce(struct operator* op, struct error *e)
{
	struct replay *r = replay_of(op);
	struct frame f;
	int status;

	op->wait_fd = -1;
	if ((op->wait_us = clockwork_wait_us(&r->clockwork)))
		return PRODUCE_WAIT;
	if (r->input == r->o->records.inputs_len)
		return PRODUCE_END;
	if (!r->reader && open_input(r, e) < 0)
		return PRODUCE_ERROR;
	switch (channel_read(r->reader, false, &f, e)) {
	case CHANNEL_ERROR: return PRODUCE_ERROR;
	case CHANNEL_EOF: return end_input(r, e);
	case CHANNEL_AGAIN:
		op->wait_fd = r->fd;
		op->wait_us = -1;
		return PRODUCE_WAIT;
	case CHANNEL_FRAME: break;
	}
	status = take_frame(r, &f, e);
	if (status < 0 && e->code == ERROR_DATA)
		channel_context(r->reader, e);
	if (status < 0)
		return PRODUCE_ERROR;
	progress_show(&r->progress, r->clockwork.rows, channel_reader_bytes(r->reader), status);
	return status ? PRODUCE_END : PRODUCE_MORE;
}

/* ---- snapshots ---- */

static const char *const state_names[] = {"input", "frames", "rows", "greatest_time"};
enum { STATE_COLUMNS = 4 };

static int replay_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct replay *r = replay_of(op);
	int64_t values[STATE_COLUMNS] = {r->input, (int64_t)(r->reader ? r->frames : 0),
		(int64_t)r->clockwork.rows, r->clockwork.greatest_us};

	return snapshot_put_ints(w, "recording", state_names, values, STATE_COLUMNS, e);
}

static int replay_restore(struct operator* op, struct snapshot_reader *reader, struct error *e)
{
	struct replay *r = replay_of(op);
	int64_t values[STATE_COLUMNS];
	const struct batch *b;
	bool found;
	int status;

	while ((status = snapshot_next(reader, &b, e)) == 0) {
		if (source_check_section(b, "recording", e) < 0 ||
			snapshot_read_ints(b, "recording", state_names, values, STATE_COLUMNS, &found, e) < 0)
			return -1;
		if (!found)
			continue;
		r->input = (uint32_t)values[0];
		r->frames_to_skip = (uint64_t)values[1];
		r->clockwork.rows = (uint64_t)values[2];
		r->clockwork.greatest_us = values[3];
	}
	return status < 0 ? -1 : 0;
}

static void replay_free(struct operator* op)
{
	struct replay *r = replay_of(op);

	close_input(r);
	schema_clear(&r->out);
	arena_clear(&r->arena);
	arena_clear(&r->spec_arena);
	mem_free(r);
}

static const struct operator_ops replay_ops = {
	.type = SOURCE_TYPE,
	.free = replay_free,
	.produce = replay_produce,
	.snapshot = replay_snapshot,
	.restore = replay_restore,
};

int source_new_replay(const struct source_options *o, struct operator** out, struct error *e)
{
	struct replay *r = mem_zero(sizeof *r);

	r->base = (struct operator){
		.ops = &replay_ops, .outputs = 1, .bounded = true, .wait_fd = -1, .wait_us = -1};
	r->o = o;
	r->fd = -1;
	r->spec.star = true;
	schema_init(&r->out);
	clockwork_init(&r->clockwork, o);
	progress_init(&r->progress, o);
	if (o->records.schema_text &&
		schema_spec_parse(o->records.schema_text, &r->spec_arena, &r->spec, e) < 0) {
		replay_free(&r->base);
		return -1;
	}
	*out = &r->base;
	return 0;
}
