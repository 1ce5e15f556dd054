#include "cmd/common/output_impl.h"

#include "cmd/common/leftovers.h"
#include "formats/compress.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/stage/operator.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIRECTORY_MODE = 0777 };

static bool ends_in_slash(const char *path)
{
	size_t len = strlen(path);

	return len && path[len - 1] == '/';
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

enum output_kind output_kind_of(const char *path)
{
	struct stat st;
	bool exists = stat(path, &st) == 0;

	if (!strcmp(path, "-") || net_is(path))
		return OUTPUT_STREAM;
	if (!strcmp(path, "null:"))
		return OUTPUT_NULL;
	if (ends_in_slash(path) || (exists && S_ISDIR(st.st_mode)))
		return OUTPUT_DIRECTORY;
	return exists && !S_ISREG(st.st_mode) ? OUTPUT_STREAM : OUTPUT_FILE;
}

bool output_is_stdout(const struct output *o)
{
	return !strcmp(o->path, "-");
}

/* ---- life ---- */

static int open_file(struct output *o, struct error *e)
{
	struct growing_options g = {.final = o->path,
		.job8 = o->job8,
		.offset = o->o.offset,
		.from_job8 = o->from_job8,
		.stage = o->o.stage ? stage_name(o->o.stage) : "NAME"};

	if (!o->o.supervised)
		return outfile_open(&o->main.file, o->path, e);
	/* Renamed already, or the restored handles' to rename: a new one would take its place. */
	if (o->done)
		return 0;
	o->main.written = o->o.offset;
	return growing_open(&o->growing, &g, e);
}

static int sync_parent(const char *directory, struct error *e)
{
	size_t len = strlen(directory);
	char *name;
	int status;

	while (len > 1 && directory[len - 1] == '/')
		len--;
	name = mem_strndup(directory, len);
	status = outfile_sync_directory(name, e);
	mem_free(name);
	return status;
}

static int open_directory(const struct output *o, struct error *e)
{
	if (mkdir(o->path, DIRECTORY_MODE) == 0)
		return o->o.supervised ? sync_parent(o->path, e) : 0;
	if (errno != EEXIST || !is_directory(o->path))
		return error_errno(e, "%s: can't make the directory", o->path);
	return 0;
}

/* Several streams of a job wait in one room, every one under its stage's name. */
static void choose_room(struct output *o)
{
	bool is_named = o->kind == OUTPUT_STREAM && o->o.stage;
	const char *room = o->kind == OUTPUT_DIRECTORY                    ? o->path
			   : o->kind != OUTPUT_STREAM || !o->o.supervised ? NULL
			   : o->o.spool                                   ? o->o.spool
									  : "/tmp";

	o->word = mem_printf("%s%s%s", o->kind == OUTPUT_STREAM ? "stdout" : "part",
		     is_named ? "-" : "", is_named ? stage_name(o->o.stage) : "");
	if (room)
		o->room = mem_printf("%s%s", room, ends_in_slash(room) ? "" : "/");
}

static struct compressor *new_compressor(const struct output *o)
{
	enum compression compression = compression_of(o->path);

	if ((o->kind == OUTPUT_DIRECTORY || !compression) && o->o.extension)
		compression = compression_of(o->o.extension);
	return o->kind != OUTPUT_NULL && compression ? compressor_new(compression) : NULL;
}

static void name_job(char out[JOB8_BYTES], const char *job)
{
	snprintf(out, JOB8_BYTES, "%.8s", job && *job ? job : "00000000");
}

int output_open(const struct output_options *options, struct output **out, struct error *e)
{
	struct output *o = mem_zero(sizeof *o);
	int status = 0;

	o->o = *options;
	o->path = mem_strdup(options->path);
	o->kind = output_kind_of(options->path);
	o->is_socket = net_is(options->path);
	/* Alone, what is no regular file is left to outfile. */
	if (o->kind == OUTPUT_STREAM && !options->supervised && !output_is_stdout(o) && !o->is_socket)
		o->kind = OUTPUT_FILE;
	o->main.file = (struct outfile)OUTFILE_INIT;
	o->growing = (struct growing)GROWING_INIT;
	o->stream_fd = -1;
	o->offset = options->offset;
	o->started = options->offset > 0;
	o->done = options->finished;
	name_job(o->job8, options->job);
	name_job(o->from_job8, options->from_job ? options->from_job : options->job);
	choose_room(o);
	o->main.compressor = new_compressor(o);
	if (o->kind == OUTPUT_FILE)
		status = open_file(o, e);
	else if (o->kind == OUTPUT_DIRECTORY)
		status = open_directory(o, e);
	else if (o->is_socket && !options->supervised)
		status = output_socket_open(o, e);
	if (status < 0)
		output_close(o);
	else
		*out = o;
	return status;
}

enum output_kind output_kind(const struct output *o)
{
	return o->kind;
}

bool output_is_at_start(const struct output *o)
{
	return !o->started;
}

uint64_t output_offset(const struct output *o)
{
	return o->offset;
}

const char *output_job8(const struct output *o)
{
	return o->job8;
}

/* ---- before the first byte ---- */

/* Files are opened with their first byte, so that an epoch without rows leaves none. */
static int open_part(struct output *o, struct output_part *p, struct error *e)
{
	char *base;
	int status;

	if (!o->room || p->file.fd >= 0)
		return 0;
	base = output_name_open(o);
	status = outfile_open(&p->file, base, e);
	mem_free(base);
	p->written = 0;
	return status;
}

static void sweep_names(const struct output *o, const char *dot)
{
	char *prefix;
	struct leftovers l = {.directory = o->room,
		.attempt = o->o.attempt,
		.subtask = o->o.subtask,
		.subtasks = o->o.subtasks ? o->o.subtasks : 1};

	prefix = mem_printf("%s%s-%s-", dot, o->word, o->job8);
	l.prefix = prefix;
	leftovers_remove(&l);
	mem_free(prefix);
}

static void sweep(struct output *o)
{
	if (o->swept || !o->o.supervised || !o->room)
		return;
	o->swept = true;
	sweep_names(o, ".");
	if (o->kind == OUTPUT_STREAM) /* hidden with a dot only while they are being made */
		sweep_names(o, "");
}

/* ---- bytes ---- */

static int write_pending(struct output *o, struct output_part *p, struct error *e)
{
	const uint8_t *bytes = p->pending.data;
	size_t len = p->pending.len;

	if (o->room)
		return open_part(o, p, e) < 0 ? -1 : outfile_write(&p->file, bytes, len, e);
	if (o->is_socket)
		return fd_write_all(o->stream_fd, o->path, bytes, len, e) < 0 ?
			output_socket_failed(o, e) : 0;
	if (o->kind == OUTPUT_STREAM)
		return fd_write_all(STDOUT_FILENO, "standard output", bytes, len, e);
	if (o->o.supervised)
		return fd_write_all(o->growing.fd, o->growing.path, bytes, len, e);
	return outfile_write(&p->file, bytes, len, e);
}

static int flush_part(struct output *o, struct output_part *p, struct error *e)
{
	int status;

	if (!p->pending.len)
		return 0;
	status = write_pending(o, p, e);
	p->written += p->pending.len;
	buf_reset(&p->pending);
	return status;
}

int output_flush(struct output *o, struct error *e)
{
	return flush_part(o, &o->main, e);
}

int output_part_put(struct output *o, struct output_part *p, const struct buf *bytes,
	struct error *e)
{
	MUST(!o->done);
	sweep(o);
	p->dirty = true;
	if (!p->compressor && bytes->len >= OUTPUT_CHUNK_BYTES && !p->pending.len) {
		/* Large enough as it is: borrowed for one write instead of copied. */
		struct buf own = p->pending;
		int status;

		p->pending = *bytes;
		status = flush_part(o, p, e);
		p->pending = own;
		return status;
	}
	if (!p->compressor)
		buf_put(&p->pending, bytes->data, bytes->len);
	else if (compressor_put(p->compressor, bytes->data, bytes->len, false, &p->pending, e) < 0)
		return -1;
	return p->pending.len >= OUTPUT_CHUNK_BYTES ? flush_part(o, p, e) : 0;
}

int output_put(struct output *o, const struct buf *bytes, struct error *e)
{
	if (!bytes->len || o->kind == OUTPUT_NULL)
		return 0;
	o->started = true;
	return output_part_put(o, &o->main, bytes, e);
}

/* What the compressor holds back is written, too. */
static int end_part(struct output *o, struct output_part *p, bool empty, struct error *e)
{
	if (p->compressor && (p->dirty || empty) &&
		compressor_put(p->compressor, NULL, 0, true, &p->pending, e) < 0)
		return -1;
	p->dirty = false;
	return flush_part(o, p, e);
}

/* ---- parts ---- */

struct output_part *output_part_new(struct output *o, const char *sub)
{
	struct output_part *p = mem_zero(sizeof *p);

	MUST(o->kind == OUTPUT_DIRECTORY);
	p->sub = mem_strdup(sub);
	p->file = (struct outfile)OUTFILE_INIT;
	p->compressor = new_compressor(o);
	return p;
}

uint64_t output_part_bytes(const struct output_part *p)
{
	return p->written + p->pending.len;
}

static void part_clear(struct output_part *p)
{
	outfile_abort(&p->file);
	compressor_free(p->compressor);
	buf_clear(&p->pending);
	mem_free(p->sub);
}

void output_part_free(struct output_part *p)
{
	if (!p)
		return;
	part_clear(p);
	mem_free(p);
}

/* No checkpoint's number comes twice: what has this name now is another sink's of the same job. */
static int check_part_is_new(const struct output *o, const char *name, struct error *e)
{
	if (!o->o.supervised || access(name, F_OK) < 0)
		return 0;
	return error_set(e, ERROR_USAGE,
		"%s: two sinks of this job write to it\n"
		"give each its own directory",
		output_is_stdout(o) ? "standard output" : o->path);
}

static int sync_file(const struct output *o, const struct outfile *f, struct error *e)
{
	return o->o.supervised && fsync(f->fd) < 0 ? error_errno(e, "%s: can't sync", f->path) : 0;
}

/* Hides a complete part until its epoch is prepared. */
static int finish_part(struct output *o, struct output_part *p, struct error *e)
{
	char *name;

	if (end_part(o, p, false, e) < 0)
		return -1;
	if (p->file.fd < 0)
		return 0; /* nothing was put */
	name = output_name_finished(o);
	if (sync_file(o, &p->file, e) < 0 || check_part_is_new(o, name, e) < 0 ||
		outfile_name(&p->file, name, e) < 0) {
		mem_free(name);
		return -1;
	}
	prepared_add(&o->finished, name, p->sub);
	p->sub = NULL;
	return 0;
}

static int show_finished(struct output *o, struct error *e);

int output_part_finish(struct output *o, struct output_part *p, bool show, struct error *e)
{
	int status = finish_part(o, p, e);

	output_part_free(p);
	if (status == 0 && show && !o->o.supervised)
		status = show_finished(o, e);
	return status;
}

/* ---- prepare ---- */

static int prepare_main(struct output *o, uint64_t epoch, struct error *e)
{
	char *from;

	if (o->main.file.fd < 0)
		return 0; /* an epoch without rows */
	from = output_name_hidden(o, epoch, o->finished.len + 1);
	if (check_part_is_new(o, from, e) < 0 || outfile_prepare(&o->main.file, from, e) < 0) {
		mem_free(from);
		return -1;
	}
	prepared_add(&o->prepared, from, output_name_final(o, "", epoch, o->finished.len + 1));
	outfile_abort(&o->main.file); /* it has its name: only closed */
	if (o->kind == OUTPUT_STREAM)
		o->offset += o->main.written;
	else
		o->started = false;
	o->main.written = 0;
	return 0;
}

/* The finished parts get names of their epoch. */
static int prepare_finished(struct output *o, uint64_t epoch, struct error *e)
{
	struct prepared_list *l = &o->finished;

	for (size_t i = 0; i < l->len; i++) {
		char *from = output_name_hidden(o, epoch, i + 1);

		if (check_part_is_new(o, from, e) < 0 || output_rename(l->items[i].from, from, e) < 0) {
			mem_free(from);
			return -1;
		}
		/* In case a later one fails, it is remembered by the name it has. */
		mem_free(l->items[i].from);
		l->items[i].from = from;
	}
	for (size_t i = 0; i < l->len; i++)
		prepared_add(&o->prepared, mem_strdup(l->items[i].from),
			output_name_final(o, l->items[i].to, epoch, i + 1));
	if (l->len && o->o.supervised && outfile_sync_directory(l->items[0].from, e) < 0)
		return -1;
	prepared_clear(l);
	return 0;
}

static int prepare_growing(struct output *o, bool last, struct error *e)
{
	if (growing_sync(&o->growing, e) < 0)
		return -1;
	o->offset = o->main.written;
	if (last)
		prepared_add(&o->prepared, mem_strdup(o->growing.path), mem_strdup(o->path));
	return 0;
}

static int prepare_bytes(struct output *o, uint64_t epoch, bool last, struct error *e)
{
	/* A file without rows is still a file its tool can read. */
	bool empty = last && o->kind != OUTPUT_DIRECTORY && !o->main.written && !o->offset;

	if (end_part(o, &o->main, empty, e) < 0)
		return -1;
	if (o->room)
		return prepare_main(o, epoch, e) < 0 ? -1 : prepare_finished(o, epoch, e);
	return o->kind == OUTPUT_FILE && o->o.supervised ? prepare_growing(o, last, e) : 0;
}

int output_prepare(struct output *o, uint64_t epoch, bool last, struct buf *handle, struct error *e)
{
	sweep(o);
	if (!o->done && prepare_bytes(o, epoch, last, e) < 0)
		return -1;
	o->done |= last;
	prepared_put(&o->prepared, handle);
	return 0;
}

/* ---- the end ---- */

/* Alone there is nobody to wait for. */
static int show_finished(struct output *o, struct error *e)
{
	struct buf handle = BUF_INIT;
	int status = prepare_finished(o, 1, e);

	prepared_put(&o->prepared, &handle);
	if (status == 0)
		status = output_commit(o, handle.data, handle.len, e);
	buf_clear(&handle);
	return status;
}

static void remove_hidden(const struct prepared_list *l)
{
	for (size_t i = 0; i < l->len; i++)
		unlink(l->items[i].from);
}

void output_close(struct output *o)
{
	if (!o)
		return;
	remove_hidden(&o->finished);
	if (!o->o.supervised) /* nobody else will come for them */
		remove_hidden(&o->prepared);
	prepared_clear(&o->finished);
	prepared_clear(&o->prepared);
	part_clear(&o->main);
	growing_close(&o->growing);
	if (o->stream_fd >= 0)
		close(o->stream_fd);
	mem_free(o->room);
	mem_free(o->word);
	mem_free(o->path);
	mem_free(o);
}
