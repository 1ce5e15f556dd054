#include "cmd/common/output.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	OUTPUT_CHUNK_BYTES = 128 << 10, /* what one write takes: fits a pipe, amortises the call */
	DIRECTORY_MODE = 0777,
};

struct output {
	struct output_options o;
	enum output_kind kind;
	char *path;
	struct outfile file;       /* FILE, DIRECTORY; fd -1: none open */
	char *part;                /* FILE under a supervisor: its name until the end */
	int part_fd;
	struct compressor *compressor;
	struct buf pending;        /* bytes as they will stand in the file */
	uint64_t written;          /* to the present file, before pending */
	uint64_t prepared;         /* offset of the last prepare */
	bool started;              /* something has been put into the present file */
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

static enum output_kind kind_of(const char *path)
{
	if (!strcmp(path, "-"))
		return OUTPUT_STDOUT;
	if (!strcmp(path, "null:"))
		return OUTPUT_NULL;
	return ends_in_slash(path) || is_directory(path) ? OUTPUT_DIRECTORY : OUTPUT_FILE;
}

/* "<dir>/.<name>.<subtask>.part" */
static char *part_name(const struct output *o)
{
	const char *slash = strrchr(o->path, '/');
	int dir = slash ? (int)(slash - o->path) + 1 : 0;
	char *name;

	MUST(asprintf(&name, "%.*s.%s.%u.part", dir, o->path, o->path + dir, o->o.subtask) >= 0);
	return name;
}

/* A growing file is opened with its first byte: what only commits again must not make a new one,
 * which would take the place of the file that is complete. */
static int open_growing(struct output *o, struct error *e)
{
	struct stat st;

	if (!o->part || o->part_fd >= 0)
		return 0;
	o->part_fd = open(o->part, O_WRONLY | O_CLOEXEC | (o->prepared ? 0 : O_CREAT), 0666);
	if (o->part_fd < 0 || fstat(o->part_fd, &st) < 0)
		return error_errno(e, "%s: can't open", o->part);
	if ((uint64_t)st.st_size < o->prepared)
		return error_set(e, ERROR_STATE, "%s is shorter than it was at the snapshot", o->part);
	if (ftruncate(o->part_fd, (off_t)o->prepared) < 0 ||
		lseek(o->part_fd, (off_t)o->prepared, SEEK_SET) < 0)
		return error_errno(e, "%s: can't be cut back to the snapshot", o->part);
	return 0;
}

static int open_file(struct output *o, struct error *e)
{
	if (!o->o.supervised)
		return outfile_open(&o->file, o->path, e);
	o->part = part_name(o);
	return 0;
}

static int open_directory(const struct output *o, struct error *e)
{
	if (mkdir(o->path, DIRECTORY_MODE) < 0 && (errno != EEXIST || !is_directory(o->path)))
		return error_errno(e, "%s: can't make the directory", o->path);
	return 0;
}

int output_open(const struct output_options *options, struct output **out, struct error *e)
{
	struct output *o = mem_zero(sizeof *o);
	enum compression compression = compression_of(options->path);
	int status = 0;

	o->o = *options;
	o->path = mem_strdup(options->path);
	o->kind = kind_of(options->path);
	o->file = (struct outfile)OUTFILE_INIT;
	o->part_fd = -1;
	if ((o->kind == OUTPUT_DIRECTORY || !compression) && options->extension)
		compression = compression_of(options->extension);
	if (o->kind != OUTPUT_NULL && compression)
		o->compressor = compressor_new(compression);
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
	return o->prepared;
}

/* ---- bytes ---- */

/* Where the next part's bytes go; parts are opened with their first byte, so that an epoch without
 * rows leaves no file. */
static int open_part(struct output *o, struct error *e)
{
	char *path;
	int status;

	if (o->kind != OUTPUT_DIRECTORY || o->file.fd >= 0)
		return 0;
	MUST(asprintf(&path, "%s%spart", o->path, ends_in_slash(o->path) ? "" : "/") >= 0);
	status = outfile_open(&o->file, path, e);
	free(path);
	o->written = 0;
	return status;
}

int output_flush(struct output *o, struct error *e)
{
	int status = 0;

	if (!o->pending.len)
		return 0;
	if (o->kind == OUTPUT_STDOUT)
		status = fd_write_all(STDOUT_FILENO, "standard output", o->pending.data,
			o->pending.len, e);
	else if (o->part)
		status = open_growing(o, e) < 0 ? -1 : fd_write_all(o->part_fd, o->part,
			o->pending.data, o->pending.len, e);
	else if (open_part(o, e) < 0)
		status = -1;
	else
		status = outfile_write(&o->file, o->pending.data, o->pending.len, e);
	o->written += o->pending.len;
	buf_reset(&o->pending);
	return status;
}

int output_put(struct output *o, const struct buf *bytes, struct error *e)
{
	if (!bytes->len || o->kind == OUTPUT_NULL)
		return 0;
	o->started = true;
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

/* ---- epochs ---- */

/* A handle is the two names, each terminated: where it lies, and where it belongs.  Empty: nothing
 * to rename. */
static void put_handle(struct buf *handle, const char *from, const char *to)
{
	buf_put(handle, from, strlen(from) + 1);
	buf_put(handle, to, strlen(to) + 1);
}

static int prepare_part(struct output *o, uint64_t epoch, struct buf *handle, struct error *e)
{
	const char *slash = ends_in_slash(o->path) ? "" : "/";
	const char *extension = o->o.extension ? o->o.extension : "ndjson";
	char *hidden, *final;
	int status;

	if (o->file.fd < 0)
		return 0; /* an epoch without rows */
	MUST(asprintf(&hidden, "%s%s.part-%u-%llu.%s", o->path, slash, o->o.subtask,
		(unsigned long long)epoch, extension) >= 0);
	MUST(asprintf(&final, "%s%spart-%u-%llu.%s", o->path, slash, o->o.subtask,
		(unsigned long long)epoch, extension) >= 0);
	status = outfile_prepare(&o->file, hidden, e);
	if (status == 0) {
		put_handle(handle, hidden, final);
		outfile_abort(&o->file); /* it has its name: only closed */
		o->started = false;
	}
	free(hidden);
	free(final);
	return status;
}

int output_prepare(struct output *o, uint64_t epoch, bool last, struct buf *handle, struct error *e)
{
	/* A file without rows is still a file its tool can read. */
	bool empty = last && o->kind != OUTPUT_DIRECTORY && !o->written;

	if (o->compressor && (o->started || empty) &&
		compressor_put(o->compressor, NULL, 0, true, &o->pending, e) < 0)
		return -1;
	if (output_flush(o, e) < 0)
		return -1;
	if (o->kind == OUTPUT_DIRECTORY)
		return prepare_part(o, epoch, handle, e);
	if (!o->part)
		return 0; /* nothing, standard output, or a file that is committed at once */
	if (open_growing(o, e) < 0)
		return -1;
	if (fsync(o->part_fd) < 0)
		return error_errno(e, "%s: can't sync", o->part);
	o->prepared = o->written;
	if (last)
		put_handle(handle, o->part, o->path);
	return 0;
}

static int commit_rename(const char *from, const char *to, struct error *e)
{
	if (rename(from, to) < 0 && (errno != ENOENT || access(to, F_OK) < 0))
		return error_errno(e, "%s: can't rename to %s", from, to);
	return outfile_sync_directory(to, e);
}

int output_commit(struct output *o, const uint8_t *handle, size_t len, struct error *e)
{
	const char *from = (const char *)handle, *to;

	if (o->kind == OUTPUT_FILE && !o->o.supervised)
		return outfile_commit(&o->file, false, e);
	if (!len)
		return 0;
	to = memchr(from, '\0', len - 1);
	if (!to || handle[len - 1] != '\0')
		return error_set(e, ERROR_STATE, "a prepared handle is damaged");
	return commit_rename(from, to + 1, e);
}

void output_cut(struct output *o, uint64_t offset)
{
	if (!o->part)
		return;
	MUST(o->part_fd < 0);
	o->written = o->prepared = offset;
	o->started = offset > 0;
}

void output_close(struct output *o)
{
	if (!o)
		return;
	outfile_abort(&o->file);
	if (o->part_fd >= 0)
		close(o->part_fd);
	compressor_free(o->compressor);
	buf_clear(&o->pending);
	free(o->part);
	mem_free(o->path);
	mem_free(o);
}
