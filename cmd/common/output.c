#include "cmd/common/output.h"

#include "cmd/common/growing.h"
#include "cmd/common/leftovers.h"
#include "formats/compress.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/outfile.h"
#include "libcore/stage/operator.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	OUTPUT_CHUNK_BYTES = 128 << 10, /* what one write takes: fits a pipe, amortises the call */
	DIRECTORY_MODE = 0777,
};

/* Prepared, and not yet committed. */
struct prepared {
	char *from, *to;
};

struct output {
	struct output_options o;
	enum output_kind kind;
	char *path;
	char *word; /* begins the names of parts */
	char *room; /* where parts lie, with its slash; NULL: not in parts */
	char job8[JOB8_BYTES];
	char from_job8[JOB8_BYTES];
	struct outfile file;    /* a file alone, the present part; fd -1: none open */
	struct growing growing; /* a file under a supervisor */
	int stream_fd;          /* a pipe or a device, once something was committed to it */
	struct compressor *compressor;
	struct buf pending; /* bytes as they will stand in the file */
	uint64_t written;   /* to the present file or part, before pending */
	uint64_t offset;    /* of the last prepare; a stream's counts on over its parts */
	bool started;       /* something has been put into the present file, this stream */
	bool dirty;         /* ... since the last prepare */
	bool done;          /* the last prepare has been */
	bool swept;         /* no leftovers of earlier attempts are there */
	struct prepared *prepared;
	size_t prepared_len, prepared_cap;
};

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

	if (!strcmp(path, "-"))
		return OUTPUT_STREAM;
	if (!strcmp(path, "null:"))
		return OUTPUT_NULL;
	if (ends_in_slash(path) || (exists && S_ISDIR(st.st_mode)))
		return OUTPUT_DIRECTORY;
	return exists && !S_ISREG(st.st_mode) ? OUTPUT_STREAM : OUTPUT_FILE;
}

static bool is_stdout(const struct output *o)
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
		return outfile_open(&o->file, o->path, e);
	/* Renamed already, or the restored handles' to rename: a new one would take its place. */
	if (o->done)
		return 0;
	o->written = o->o.offset;
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

static void choose_compression(struct output *o)
{
	enum compression compression = compression_of(o->path);

	if ((o->kind == OUTPUT_DIRECTORY || !compression) && o->o.extension)
		compression = compression_of(o->o.extension);
	if (o->kind != OUTPUT_NULL && compression)
		o->compressor = compressor_new(compression);
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
	/* Alone, what is no regular file is left to outfile. */
	if (o->kind == OUTPUT_STREAM && !options->supervised && !is_stdout(o))
		o->kind = OUTPUT_FILE;
	o->file = (struct outfile)OUTFILE_INIT;
	o->growing = (struct growing)GROWING_INIT;
	o->stream_fd = -1;
	o->offset = options->offset;
	o->started = options->offset > 0;
	o->done = options->finished;
	name_job(o->job8, options->job);
	name_job(o->from_job8, options->from_job ? options->from_job : options->job);
	choose_room(o);
	choose_compression(o);
	if (o->kind == OUTPUT_FILE)
		status = open_file(o, e);
	else if (o->kind == OUTPUT_DIRECTORY)
		status = open_directory(o, e);
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

/* ---- parts ---- */

/* Begins the name of a part until it is prepared. */
static char *part_base(const struct output *o)
{
	char *name;

	if (!o->o.supervised)
		name = mem_printf("%spart", o->room);
	else
		name = mem_printf("%s%s-%s-%llu-%u", o->room, o->word, o->job8,
			     (unsigned long long)o->o.attempt, o->o.subtask);
	return name;
}

/* Names are of mem_printf. */
static struct prepared part_names(const struct output *o, uint64_t epoch)
{
	const char *extension = o->o.extension ? o->o.extension : "ndjson";
	unsigned long long number = epoch, attempt = o->o.attempt;
	struct prepared p;

	if (o->kind == OUTPUT_STREAM) {
		p.from = mem_printf("%s%s-%s-%llu-%u-%llu", o->room, o->word, o->job8, attempt,
			     o->o.subtask, number);
		p.to = mem_strdup("-");
	} else if (!o->o.supervised) {
		p.from = mem_printf("%s.part-%u-%llu.%s", o->room, o->o.subtask, number,
			     extension);
		p.to = mem_printf("%spart-%u-%llu.%s", o->room, o->o.subtask, number,
			     extension);
	} else {
		p.from = mem_printf("%s.part-%s-%llu-%u-%llu.%s", o->room, o->job8, attempt,
			     o->o.subtask, number, extension);
		p.to = mem_printf("%spart-%s-%u-%llu.%s", o->room, o->job8, o->o.subtask, number,
			     extension);
	}
	return p;
}

static void prepared_clear(struct prepared *p)
{
	mem_free(p->from);
	mem_free(p->to);
}

static void remember(struct output *o, struct prepared p)
{
	MEM_GROW(o->prepared, o->prepared_cap, o->prepared_len + 1);
	o->prepared[o->prepared_len++] = p;
}

static void forget(struct output *o, const char *from)
{
	for (size_t i = 0; i < o->prepared_len; i++) {
		if (strcmp(o->prepared[i].from, from) != 0)
			continue;
		prepared_clear(&o->prepared[i]);
		memmove(&o->prepared[i], &o->prepared[i + 1],
			(o->prepared_len - i - 1) * sizeof *o->prepared);
		o->prepared_len--;
		return;
	}
}

/* Parts are opened with their first byte, so that an epoch without rows leaves no file. */
static int open_part(struct output *o, struct error *e)
{
	char *base;
	int status;

	if (!o->room || o->file.fd >= 0)
		return 0;
	base = part_base(o);
	status = outfile_open(&o->file, base, e);
	mem_free(base);
	o->written = 0;
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

static int write_pending(struct output *o, struct error *e)
{
	const uint8_t *bytes = o->pending.data;
	size_t len = o->pending.len;

	if (o->room)
		return open_part(o, e) < 0 ? -1 : outfile_write(&o->file, bytes, len, e);
	if (o->kind == OUTPUT_STREAM)
		return fd_write_all(STDOUT_FILENO, "standard output", bytes, len, e);
	if (o->o.supervised)
		return fd_write_all(o->growing.fd, o->growing.path, bytes, len, e);
	return outfile_write(&o->file, bytes, len, e);
}

int output_flush(struct output *o, struct error *e)
{
	int status;

	if (!o->pending.len)
		return 0;
	status = write_pending(o, e);
	o->written += o->pending.len;
	buf_reset(&o->pending);
	return status;
}

int output_put(struct output *o, const struct buf *bytes, struct error *e)
{
	if (!bytes->len || o->kind == OUTPUT_NULL)
		return 0;
	MUST(!o->done);
	sweep(o);
	o->started = o->dirty = true;
	if (!o->compressor && bytes->len >= OUTPUT_CHUNK_BYTES && !o->pending.len) {
		/* Large enough as it is: borrowed for one write instead of copied. */
		struct buf own = o->pending;
		int status;

		o->pending = *bytes;
		status = output_flush(o, e);
		o->pending = own;
		return status;
	}
	if (!o->compressor)
		buf_put(&o->pending, bytes->data, bytes->len);
	else if (compressor_put(o->compressor, bytes->data, bytes->len, false, &o->pending, e) < 0)
		return -1;
	return o->pending.len >= OUTPUT_CHUNK_BYTES ? output_flush(o, e) : 0;
}

/* ---- prepare ---- */

/* No checkpoint's number comes twice: what has this name now is another sink's of the same job. */
static int check_part_is_new(const struct output *o, const struct prepared *p, struct error *e)
{
	if (!o->o.supervised || access(p->from, F_OK) < 0)
		return 0;
	return error_set(e, ERROR_USAGE,
		"%s: two sinks of this job write to it\n"
		"give each its own directory",
		is_stdout(o) ? "standard output" : o->path);
}

static int prepare_part(struct output *o, uint64_t epoch, struct error *e)
{
	struct prepared p;

	if (o->file.fd < 0)
		return 0; /* an epoch without rows */
	p = part_names(o, epoch);
	if (check_part_is_new(o, &p, e) < 0 || outfile_prepare(&o->file, p.from, e) < 0) {
		prepared_clear(&p);
		return -1;
	}
	remember(o, p);
	outfile_abort(&o->file); /* it has its name: only closed */
	if (o->kind == OUTPUT_STREAM)
		o->offset += o->written;
	else
		o->started = false;
	o->written = 0;
	return 0;
}

static int prepare_growing(struct output *o, bool last, struct error *e)
{
	struct prepared p;

	if (growing_sync(&o->growing, e) < 0)
		return -1;
	o->offset = o->written;
	if (!last)
		return 0;
	p.from = mem_strdup(o->growing.path);
	p.to = mem_strdup(o->path);
	remember(o, p);
	return 0;
}

static int prepare_bytes(struct output *o, uint64_t epoch, bool last, struct error *e)
{
	/* A file without rows is still a file its tool can read. */
	bool empty = last && o->kind != OUTPUT_DIRECTORY && !o->written && !o->offset;

	if (o->compressor && (o->dirty || empty) &&
		compressor_put(o->compressor, NULL, 0, true, &o->pending, e) < 0)
		return -1;
	o->dirty = false;
	if (output_flush(o, e) < 0)
		return -1;
	if (o->room)
		return prepare_part(o, epoch, e);
	return o->kind == OUTPUT_FILE && o->o.supervised ? prepare_growing(o, last, e) : 0;
}

int output_prepare(struct output *o, uint64_t epoch, bool last, struct buf *handle, struct error *e)
{
	sweep(o);
	if (!o->done && prepare_bytes(o, epoch, last, e) < 0)
		return -1;
	o->done |= last;
	for (size_t i = 0; i < o->prepared_len; i++) {
		const struct prepared *p = &o->prepared[i];

		buf_put(handle, p->from, strlen(p->from) + 1);
		buf_put(handle, p->to, strlen(p->to) + 1);
	}
	return 0;
}

/* ---- commit ---- */

/* Prepared means that it was there: if it no longer is, it has been committed before, and if it
 * isn't under its own name either, somebody has taken it from there. */
static int commit_rename(const struct output *o, const char *from, const char *to, struct error *e)
{
	if (rename(from, to) == 0)
		return 0;
	if (errno != ENOENT)
		return error_errno(e, "%s: can't rename to %s", from, to);
	if (access(to, F_OK) < 0 && o->o.stage)
		stage_warn(
			o->o.stage, "%s was committed before, and has been taken away since", to);
	return 0;
}

/* In pieces that a pipe with room for one takes at once: its reader may be a pager. */
static int write_patiently(const struct output *o, int to, const char *to_path,
	const uint8_t *bytes, size_t len, struct error *e)
{
	int status = 0;

	for (size_t at = 0; at < len && status == 0; at += PIPE_BUF) {
		size_t n = len - at < PIPE_BUF ? len - at : PIPE_BUF;

		status = o->o.stage ? stage_wait_writable(o->o.stage, to, e) : 0;
		if (status == 0)
			status = fd_write_all(to, to_path, bytes + at, n, e);
	}
	return status;
}

static int copy_out(const struct output *o, int from, const char *from_path, int to,
	const char *to_path, struct error *e)
{
	uint8_t *piece = mem_alloc(OUTPUT_CHUNK_BYTES);
	int status = 0;

	while (status == 0) {
		ssize_t n = read(from, piece, OUTPUT_CHUNK_BYTES);

		if (n == 0)
			break;
		if (n > 0)
			status = write_patiently(o, to, to_path, piece, (size_t)n, e);
		else if (errno != EINTR)
			status = error_errno(e, "%s: can't read", from_path);
	}
	mem_free(piece);
	return status;
}

static int open_stream(struct output *o, struct error *e)
{
	if (is_stdout(o) || o->kind != OUTPUT_STREAM)
		return STDOUT_FILENO;
	if (o->stream_fd < 0)
		o->stream_fd = open(o->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
	if (o->stream_fd < 0)
		error_errno(e, "%s: can't open for writing", o->path);
	return o->stream_fd;
}

/* Removed only when all of it is out: at least once. */
static int commit_stream(struct output *o, const char *from, struct error *e)
{
	int fd = open(from, O_RDONLY | O_CLOEXEC), to, status;

	if (fd < 0)
		return errno == ENOENT ? 0 : error_errno(e, "%s: can't open", from);
	to = open_stream(o, e);
	status = to < 0 ? -1
			: copy_out(o, fd, from, to,
				  to == STDOUT_FILENO ? "standard output" : o->path, e);
	close(fd);
	if (status == 0 && unlink(from) < 0 && errno != ENOENT)
		status = error_errno(e, "%s: can't remove", from);
	return status;
}

/* The end of the name at `at`, NULL if the handle has none. */
static const char *name_end(const char *at, const char *end)
{
	return at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
}

int output_commit(struct output *o, const uint8_t *handle, size_t len, struct error *e)
{
	const char *at = (const char *)handle, *end = at + len, *renamed = NULL;

	if (o->kind == OUTPUT_FILE && !o->o.supervised)
		return outfile_commit(&o->file, false, e);
	while (at < end) {
		const char *from = at, *to = name_end(from, end),
			   *next = to ? name_end(to + 1, end) : NULL;
		int status;

		if (!next)
			return error_set(e, ERROR_STATE, "a prepared handle is damaged");
		to++;
		at = next + 1;
		status = !strcmp(to, "-") ? commit_stream(o, from, e)
					  : commit_rename(o, from, to, e);
		if (status < 0)
			return -1;
		if (strcmp(to, "-") != 0)
			renamed = to;
		forget(o, from);
	}
	/* What one sink prepares lies in one directory. */
	return renamed ? outfile_sync_directory(renamed, e) : 0;
}

void output_close(struct output *o)
{
	if (!o)
		return;
	outfile_abort(&o->file);
	growing_close(&o->growing);
	if (o->stream_fd >= 0)
		close(o->stream_fd);
	for (size_t i = 0; i < o->prepared_len; i++)
		prepared_clear(&o->prepared[i]);
	mem_free(o->prepared);
	compressor_free(o->compressor);
	buf_clear(&o->pending);
	mem_free(o->room);
	mem_free(o->word);
	mem_free(o->path);
	mem_free(o);
}
