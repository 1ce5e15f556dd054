#include "cmd/common/epoch_file.h"

#include "cmd/common/prepared.h"
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"
#include "libcore/base/outfile.h"
#include "libcore/frame/channel.h"
#include "libcore/stage/operator.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WRITE_BYTES = 8 << 20 }; /* so much is on its way to the disk before it is synced */

struct epoch_files {
	char *room, *prefix; /* "<word>-<stage>-<job8>-" */
	struct stage *stage;
	struct schema schema;
	bool has_schema, swept;
	struct outfile file;
	struct channel_writer *writer; /* NULL: no row since the last prepare */
	XXH64_state_t hash;
	uint64_t rows;
	bool told; /* the schema is in the file */
	uint32_t schema_id;
	uint64_t writing; /* bytes of the file that the kernel was told to write */
	struct prepared_list prepared; /* `to`: see describe */
};

struct epoch_files *epoch_files_new(const struct epoch_files_options *o)
{
	struct epoch_files *f = mem_zero(sizeof *f);

	f->stage = o->stage;
	f->room = mem_printf("%s/", o->room);
	f->prefix = mem_printf("%s-%s-%.8s-", o->word, stage_name(o->stage), stage_job(o->stage));
	f->file = (struct outfile)OUTFILE_INIT;
	schema_init(&f->schema);
	return f;
}

static void close_file(struct epoch_files *f)
{
	channel_writer_free(f->writer);
	f->writer = NULL;
	outfile_abort(&f->file);
	f->told = false;
	f->rows = f->writing = 0;
}

void epoch_files_free(struct epoch_files *f)
{
	if (!f)
		return;
	close_file(f);
	prepared_clear(&f->prepared);
	schema_clear(&f->schema);
	mem_free(f->room);
	mem_free(f->prefix);
	mem_free(f);
}

/* ---- writing ---- */

int epoch_files_schema(struct epoch_files *f, const struct schema *s, struct error *e)
{
	schema_clear(&f->schema);
	schema_copy(&f->schema, s);
	f->has_schema = true;
	f->told = false;
	return 0;
}

static void hash_bytes(void *context, const void *bytes, size_t len)
{
	XXH64_update(context, bytes, len);
}

static int open_file(struct epoch_files *f, struct error *e)
{
	struct hello hello = {.version = FRAME_VERSION, .bounded = true};
	struct buf b = BUF_INIT;
	char *path = mem_printf("%s%s%llu-%u.open", f->room, f->prefix,
		(unsigned long long)stage_attempt(f->stage), stage_subtask(f->stage));
	int status = outfile_open(&f->file, path, e);

	if (status == 0) {
		XXH64_reset(&f->hash, 0);
		f->writer = channel_writer_new(f->file.fd, path);
		channel_writer_tap(f->writer, &(struct channel_tap){hash_bytes, &f->hash});
		snprintf(hello.stage, sizeof hello.stage, "%s", stage_name(f->stage));
		frame_put_hello(&b, &hello);
		status = channel_write(f->writer, &b, e);
		buf_clear(&b);
		f->schema_id = 0;
	}
	mem_free(path);
	return status;
}

static int tell_schema(struct epoch_files *f, struct error *e)
{
	struct buf b = BUF_INIT;
	int status;

	frame_put_schema(&b, ++f->schema_id, &f->schema);
	status = channel_write(f->writer, &b, e);
	buf_clear(&b);
	f->told = true;
	return status;
}

/* The prepare, for which the pipe stands still, then has little left to write. */
static void write_early(struct epoch_files *f)
{
	uint64_t bytes = channel_writer_bytes(f->writer);

	if (bytes - f->writing < WRITE_BYTES)
		return;
	sync_file_range(f->file.fd, (off_t)f->writing, (off_t)(bytes - f->writing),
		SYNC_FILE_RANGE_WRITE);
	f->writing = bytes;
}

int epoch_files_rows(struct epoch_files *f, const struct batch *b, struct error *e)
{
	if (!b->rows)
		return 0;
	if (!f->writer && open_file(f, e) < 0)
		return -1;
	if (!f->told && tell_schema(f, e) < 0)
		return -1;
	f->rows += b->rows;
	if (channel_write_batch(f->writer, f->schema_id, b, e) < 0)
		return -1;
	write_early(f);
	return 0;
}

uint64_t epoch_files_count(const struct epoch_files *f)
{
	return f->rows;
}

static struct leftovers leftovers_of(const struct epoch_files *f)
{
	return (struct leftovers){.directory = f->room,
		.prefix = f->prefix,
		.attempt = stage_attempt(f->stage),
		.subtask = stage_subtask(f->stage),
		.subtasks = stage_subtasks(f->stage)};
}

int epoch_files_watermark(struct epoch_files *f, int64_t event_us, struct error *e)
{
	struct buf b = BUF_INIT;
	int status = f->writer ? 0 : open_file(f, e);

	if (status == 0 && f->has_schema && !f->told)
		status = tell_schema(f, e);
	frame_put_watermark(&b, event_us);
	if (status == 0)
		status = channel_write(f->writer, &b, e);
	buf_clear(&b);
	return status;
}

static void sweep(struct epoch_files *f)
{
	char *hidden = mem_printf(".%s", f->prefix);
	struct leftovers l = leftovers_of(f);

	if (!f->swept) {
		leftovers_remove(&l);
		l.prefix = hidden;
		leftovers_remove(&l);
	}
	f->swept = true;
	mem_free(hidden);
}

/* "subtask subtasks epoch rows hash stage" */
static char *describe(const struct epoch_files *f, uint64_t epoch)
{
	return mem_printf("%u %u %llu %llu %llu %s", stage_subtask(f->stage), stage_subtasks(f->stage),
		(unsigned long long)epoch, (unsigned long long)f->rows,
		(unsigned long long)XXH64_digest(&f->hash), stage_name(f->stage));
}

static int finish_file(struct epoch_files *f, uint64_t epoch, struct error *e)
{
	char *path = mem_printf("%s%s%llu-%u-%llu", f->room, f->prefix,
		(unsigned long long)stage_attempt(f->stage), stage_subtask(f->stage),
		(unsigned long long)epoch);
	struct buf b = BUF_INIT;
	int status;

	frame_put_end(&b, f->rows);
	status = channel_write(f->writer, &b, e) < 0 ? -1 : channel_flush(f->writer, e);
	if (status == 0)
		status = outfile_prepare(&f->file, path, e);
	if (status == 0)
		prepared_add(&f->prepared, path, describe(f, epoch));
	else
		mem_free(path);
	close_file(f);
	buf_clear(&b);
	return status;
}

int epoch_files_prepare(struct epoch_files *f, uint64_t epoch, struct buf *handle, struct error *e)
{
	sweep(f);
	if (f->writer && finish_file(f, epoch, e) < 0)
		return -1;
	prepared_put(&f->prepared, handle);
	return 0;
}

bool epoch_files_has(const struct epoch_files *f, const struct epoch_file *x)
{
	for (size_t i = 0; i < f->prepared.len; i++) {
		if (strcmp(f->prepared.items[i].from, x->path) == 0)
			return true;
	}
	return false;
}

bool epoch_files_waits(const struct epoch_files *f)
{
	return f->prepared.len > 0;
}

int epoch_files_trace(struct epoch_files *f, struct error *e)
{
	char *path = mem_printf("%s%s%llu-%u.trace", f->room, f->prefix,
		(unsigned long long)stage_attempt(f->stage), stage_subtask(f->stage));
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), status;

	status = fd < 0 ? error_errno(e, "%s: can't create", path) :
			  outfile_sync_directory(path, e);
	if (fd >= 0)
		close(fd);
	mem_free(path);
	return status;
}

int epoch_files_traces(
	struct epoch_files *f, const struct leftovers_take *take, struct error *e)
{
	struct leftovers l = leftovers_of(f);

	return leftovers_read(&l, take, e);
}

void epoch_files_done(struct epoch_files *f, const struct epoch_file *x)
{
	unlink(x->path);
	prepared_forget(&f->prepared, x->path);
}

/* ---- reading ---- */

static bool read_number(const char **text, uint64_t *out)
{
	ssize_t n = uint_scan(*text, strlen(*text), out);

	if (n <= 0 || (*text)[n] != ' ')
		return false;
	*text += n + 1;
	return true;
}

int epoch_file_next(const char **at, const char *end, struct epoch_file *out, struct error *e)
{
	const char *text;
	int status = prepared_next(at, end, &out->path, &text, e);

	if (status)
		return status;
	if (!read_number(&text, &out->subtask) || !read_number(&text, &out->subtasks) ||
		!read_number(&text, &out->epoch) ||
		!read_number(&text, &out->rows) || !read_number(&text, &out->hash))
		return error_set(e, ERROR_STATE, "a prepared handle is damaged");
	out->stage = text;
	return 0;
}

struct bytes {
	int fd;
	const char *path;
	XXH64_state_t hash;
};

static int take_bytes(void *context, void *bytes, size_t cap, size_t *got, struct error *e)
{
	struct bytes *b = context;
	ssize_t n;

	do
		n = read(b->fd, bytes, cap);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_errno(e, "%s: can't read", b->path);
	*got = (size_t)n;
	XXH64_update(&b->hash, bytes, (size_t)n);
	return n == 0;
}

struct reading {
	const struct epoch_file_take *take;
	struct schema_set schemas;
	const struct schema *last;
	struct arena arena;
	uint64_t rows;
	bool ended;
	bool refused; /* by take, not for what is in the file */
};

static int read_rows(struct reading *r, const struct frame *f, struct error *e)
{
	const struct schema *s;
	struct batch b;
	uint32_t id;

	if (frame_read_schema_id(f, &id, e) < 0)
		return -1;
	s = schema_set_find(&r->schemas, id);
	if (!s)
		return error_set(e, ERROR_STATE, "rows of a schema that isn't there");
	arena_reset(&r->arena);
	if (frame_read_batch(f, s, false, &r->arena, &b, e) < 0)
		return -1;
	r->rows += b.rows;
	r->refused = true;
	if (s != r->last && r->take->schema(r->take->context, s, e) < 0)
		return -1;
	r->last = s;
	if (r->take->rows(r->take->context, &b, e) < 0)
		return -1;
	r->refused = false;
	return 0;
}

static int read_schema(struct reading *r, const struct frame *f, struct error *e)
{
	const struct schema *s;

	if (schema_set_declare(&r->schemas, f, &s, e) < 0)
		return -1;
	/* Who wants watermarks hands on a stream; others are told with the first row. */
	if (!r->take->watermark)
		return 0;
	r->refused = true;
	if (r->take->schema(r->take->context, s, e) < 0)
		return -1;
	r->refused = false;
	r->last = s;
	return 0;
}

static int read_watermark(struct reading *r, const struct frame *f, struct error *e)
{
	int64_t us;

	if (!r->take->watermark)
		return 0;
	if (frame_read_int(f, &us, e) < 0)
		return -1;
	r->refused = true;
	if (r->take->watermark(r->take->context, us, e) < 0)
		return -1;
	r->refused = false;
	return 0;
}

static int read_frame(struct reading *r, const struct frame *f, struct error *e)
{
	uint64_t rows;

	if (f->kind == FRAME_SCHEMA)
		return read_schema(r, f, e);
	if (f->kind == FRAME_WATERMARK)
		return read_watermark(r, f, e);
	if (f->kind == FRAME_BATCH)
		return read_rows(r, f, e);
	if (f->kind != FRAME_END)
		return 0;
	r->ended = true;
	return frame_read_end(f, &rows, e);
}

static int read_all(struct reading *r, struct channel_reader *in, struct error *e)
{
	struct frame f;

	for (;;) {
		switch (channel_read(in, true, &f, e)) {
		case CHANNEL_FRAME:
			if (read_frame(r, &f, e) < 0)
				return r->refused ? -1 : channel_context(in, e);
			break;
		case CHANNEL_AGAIN: break;
		case CHANNEL_EOF: return 0;
		case CHANNEL_ERROR: return -1;
		}
	}
}

static int check_whole(
	const struct epoch_file *x, const struct reading *r, struct bytes *b, struct error *e)
{
	if (r->ended && r->rows == x->rows && XXH64_digest(&b->hash) == x->hash)
		return 0;
	return error_set(e, ERROR_STATE, "%s: prepared rows are damaged", x->path);
}

/* x NULL: as far as it has been written. */
static int read_file(const char *path, const struct epoch_file *x,
	const struct epoch_file_take *take, struct error *e)
{
	struct bytes b = {.fd = open(path, O_RDONLY | O_CLOEXEC), .path = path};
	struct channel_source from = {take_bytes, &b};
	struct reading r = {.take = take};
	struct channel_reader *in;
	int status;

	if (b.fd < 0) {
		error_errno(e, "%s: prepared rows can't be read", path);
		e->code = ERROR_STATE;
		return -1;
	}
	XXH64_reset(&b.hash, 0);
	in = channel_reader_new_source(&from, path);
	status = read_all(&r, in, e);
	if (status < 0 && !r.refused)
		e->code = ERROR_STATE;
	if (status == 0 && x)
		status = check_whole(x, &r, &b, e);
	channel_reader_free(in);
	schema_set_clear(&r.schemas);
	arena_clear(&r.arena);
	close(b.fd);
	return status;
}

int epoch_file_read(const struct epoch_file *x, const struct epoch_file_take *take, struct error *e)
{
	return read_file(x->path, x, take, e);
}

int epoch_files_replay(struct epoch_files *f, const struct epoch_file_take *take, struct error *e)
{
	char *path;
	int status;

	if (!f->writer)
		return 0;
	if (channel_flush(f->writer, e) < 0)
		return -1;
	path = mem_printf("/proc/self/fd/%d", f->file.fd); /* it has no name yet */
	status = read_file(path, NULL, take, e);
	mem_free(path);
	return status;
}
