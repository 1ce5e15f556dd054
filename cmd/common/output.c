#include "cmd/common/output.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/stage/operator.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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
	char job[9];               /* the job's first digits; "" alone */
	struct outfile file;       /* FILE, DIRECTORY, spool; fd -1: none open */
	char *part;                /* FILE under a supervisor: its name until the end */
	int part_fd;
	struct compressor *compressor;
	struct buf pending;        /* bytes as they will stand in the file */
	uint64_t written;          /* to the present file, before pending */
	uint64_t prepared;         /* offset of the last prepare */
	uint32_t restored_job;     /* that wrote the first `prepared` bytes */
	bool started;              /* something has been put into the present file */
	bool complete;             /* the last prepare has been */
	bool swept;                /* leftovers of earlier attempts are gone */
	struct buf uncommitted;    /* pairs of names, as in a handle */
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
	if (!strcmp(path, "-"))
		return OUTPUT_STDOUT;
	if (!strcmp(path, "null:"))
		return OUTPUT_NULL;
	return ends_in_slash(path) || is_directory(path) ? OUTPUT_DIRECTORY : OUTPUT_FILE;
}

/* "<dir>/.<name>.<job>.part" */
static char *part_name(const struct output *o, const char *job)
{
	const char *slash = strrchr(o->path, '/');
	int dir = slash ? (int)(slash - o->path) + 1 : 0;
	char *name;

	MUST(asprintf(&name, "%.*s.%s.%s.part", dir, o->path, o->path + dir, job) >= 0);
	return name;
}

static bool spools(const struct output *o)
{
	return o->kind == OUTPUT_STDOUT && o->o.supervised;
}

/* ---- one living job a file ---- */

static bool is_locked(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return locked;
}

/* Calls take for every name in a directory that begins and ends so, until it says -1. */
static int each_name(const char *directory, const char *begin, const char *end,
	int (*take)(struct output *o, const char *path, const char *name, struct error *e),
	struct output *o, struct error *e)
{
	DIR *d = opendir(*directory ? directory : ".");
	struct dirent *entry;
	int status = 0;

	while (d && !status && (entry = readdir(d))) {
		size_t len = strlen(entry->d_name), begin_len = strlen(begin), end_len = strlen(end);
		char *path;

		if (len < begin_len + end_len || strncmp(entry->d_name, begin, begin_len) != 0 ||
			strcmp(entry->d_name + len - end_len, end) != 0)
			continue;
		MUST(asprintf(&path, "%s%s%s", directory, !*directory || ends_in_slash(directory) ? "" : "/",
			entry->d_name) >= 0);
		status = take(o, path, entry->d_name, e);
		free(path);
	}
	if (d)
		closedir(d);
	return status;
}

static int refuse_rival(struct output *o, const char *path, const char *name, struct error *e)
{
	if (strlen(path) != strlen(o->part) || !strcmp(path, o->part) || !is_locked(path))
		return 0;
	return error_set(e, ERROR_USAGE, "%s: another job is writing it (%s)\n"
		"stop that one, or name another file", o->path, path);
}

/* Another job that is writing this very file has a part of its own, and holds a lock on it. */
static int refuse_rivals(struct output *o, struct error *e)
{
	const char *slash = strrchr(o->path, '/');
	char *directory = mem_strndup(o->path, slash ? (size_t)(slash - o->path) + 1 : 0), *begin;
	int status;

	MUST(asprintf(&begin, ".%s.", slash ? slash + 1 : o->path) >= 0);
	status = each_name(directory, begin, ".part", refuse_rival, o, e);
	free(begin);
	mem_free(directory);
	return status;
}

/* ---- a growing file ---- */

/* The rows before a savepoint lie in the part file of the job it was taken from. */
static int copy_from_job(struct output *o, struct error *e)
{
	char digits[9], *path;
	off_t at = 0;
	int fd, status = 0;

	snprintf(digits, sizeof digits, "%08x", o->restored_job);
	path = part_name(o, digits);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ftruncate(o->part_fd, 0) < 0)
		status = error_errno(e, "%s: can't be cut back", o->part);
	while (fd >= 0 && !status && (uint64_t)at < o->prepared) {
		ssize_t n = copy_file_range(fd, &at, o->part_fd, NULL, o->prepared - (uint64_t)at, 0);

		if (n < 0)
			status = error_errno(e, "%s: can't copy from %s", o->part, path);
		else if (n == 0)
			break;
	}
	if (!status && (uint64_t)at < o->prepared)
		status = error_set(e, ERROR_STATE, "%s: the rows before the savepoint were in %s, which is %s\n"
			"a new file with only the rows that come now: --drop-state and the stage's name",
			o->path, path, fd < 0 ? "gone" : "shorter now");
	if (fd >= 0)
		close(fd);
	free(path);
	return status;
}

static int cut_back(struct output *o, struct error *e)
{
	struct stat st;

	if (fstat(o->part_fd, &st) < 0)
		return error_errno(e, "%s: can't look at it", o->part);
	if ((uint64_t)st.st_size < o->prepared)
		return error_set(e, ERROR_STATE, "%s is shorter than it was at the snapshot", o->part);
	if (ftruncate(o->part_fd, (off_t)o->prepared) < 0 ||
		lseek(o->part_fd, (off_t)o->prepared, SEEK_SET) < 0)
		return error_errno(e, "%s: can't be cut back to the snapshot", o->part);
	return 0;
}

/* A growing file is opened with its first byte: what only commits again must not make a new one,
 * which would take the place of the file that is complete. */
static int open_growing(struct output *o, struct error *e)
{
	bool foreign = o->prepared && o->restored_job != output_job(o);

	if (!o->part || o->part_fd >= 0)
		return 0;
	if (refuse_rivals(o, e) < 0)
		return -1;
	o->part_fd = open(o->part, O_WRONLY | O_CLOEXEC | (o->prepared && !foreign ? 0 : O_CREAT),
		0666);
	if (o->part_fd < 0)
		return error_errno(e, "%s: can't open", o->part);
	if (flock(o->part_fd, LOCK_EX | LOCK_NB) < 0)
		return error_errno(e, "%s: a stage of an earlier attempt still writes it", o->part);
	return foreign ? copy_from_job(o, e) : cut_back(o, e);
}

static int open_file(struct output *o, struct error *e)
{
	if (!o->o.supervised)
		return outfile_open(&o->file, o->path, e);
	o->part = part_name(o, o->job);
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
	o->kind = output_kind_of(options->path);
	snprintf(o->job, sizeof o->job, "%.8s", options->job ? options->job : "");
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

/* "<dir>/[.]part-[<job>-[<attempt>-]]<subtask>", the beginning of a part's name; hidden ones carry
 * the attempt. */
static char *part_path(const struct output *o, bool hidden)
{
	const char *slash = ends_in_slash(o->path) ? "" : "/";
	char *path;

	if (!*o->job)
		MUST(asprintf(&path, "%s%s%spart-%u", o->path, slash, hidden ? "." : "",
			o->o.subtask) >= 0);
	else if (hidden)
		MUST(asprintf(&path, "%s%s.part-%s-%llu-%u", o->path, slash, o->job,
			(unsigned long long)o->o.attempt, o->o.subtask) >= 0);
	else
		MUST(asprintf(&path, "%s%spart-%s-%u", o->path, slash, o->job, o->o.subtask) >= 0);
	return path;
}

/* "<spool>/stdout-<attempt>-<subtask>" */
static char *spool_path(const struct output *o)
{
	char *path;

	MUST(asprintf(&path, "%s/stdout-%llu-%u", o->o.spool ? o->o.spool : "/tmp",
		(unsigned long long)o->o.attempt, o->o.subtask) >= 0);
	return path;
}

/* Where the next part's bytes go; parts are opened with their first byte, so that an epoch without
 * rows leaves no file. */
static int open_part(struct output *o, struct error *e)
{
	char *path;
	int status;

	if ((o->kind != OUTPUT_DIRECTORY && !spools(o)) || o->file.fd >= 0)
		return 0;
	path = spools(o) ? spool_path(o) : part_path(o, false);
	status = outfile_open(&o->file, path, e);
	free(path);
	if (!spools(o))
		o->written = 0;
	return status;
}

int output_flush(struct output *o, struct error *e)
{
	int status = 0;

	if (!o->pending.len)
		return 0;
	if (o->kind == OUTPUT_STDOUT && !spools(o))
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

/* A handle is pairs of names, each terminated: where it lies, and where it belongs ("-": standard
 * output).  Empty: nothing to do. */
static void put_pair(struct output *o, const char *from, const char *to)
{
	buf_put(&o->uncommitted, from, strlen(from) + 1);
	buf_put(&o->uncommitted, to, strlen(to) + 1);
}

/* The present part becomes <from>-<epoch>..., and belongs to <to>-<epoch>.... */
static int prepare_part(struct output *o, uint64_t epoch, struct error *e)
{
	const char *extension = o->o.extension ? o->o.extension : "ndjson";
	char *from = spools(o) ? spool_path(o) : part_path(o, true), *to = part_path(o, false);
	char *hidden, *final;
	int status;

	MUST(asprintf(&hidden, "%s-%llu%s%s", from, (unsigned long long)epoch, spools(o) ? "" : ".",
		spools(o) ? "" : extension) >= 0);
	MUST(asprintf(&final, "%s-%llu.%s", to, (unsigned long long)epoch, extension) >= 0);
	status = outfile_prepare(&o->file, hidden, e);
	if (status == 0) {
		put_pair(o, hidden, spools(o) ? "-" : final);
		outfile_abort(&o->file); /* it has its name: only closed */
		if (o->kind == OUTPUT_DIRECTORY)
			o->started = false;
	}
	free(from);
	free(to);
	free(hidden);
	free(final);
	return status;
}

static int prepare_growing(struct output *o, bool last, struct error *e)
{
	if (open_growing(o, e) < 0)
		return -1;
	if (fsync(o->part_fd) < 0)
		return error_errno(e, "%s: can't sync", o->part);
	if (last)
		put_pair(o, o->part, o->path);
	return 0;
}

static int sweep_one(struct output *o, const char *path, const char *name, struct error *e)
{
	const char *attempt = name + strlen(".part-") + strlen(o->job) + 1;

	if (strtoull(attempt, NULL, 10) < o->o.attempt)
		unlink(path);
	return 0;
}

/* What earlier attempts of this job have left under hidden names is nobody's any more: when the first
 * epoch of this one is prepared, every handle that was restored has been committed. */
static void sweep(struct output *o)
{
	struct error ignored = ERROR_INIT;
	char begin[24];

	if (o->swept || o->kind != OUTPUT_DIRECTORY || !*o->job || o->o.subtask)
		return;
	o->swept = true;
	snprintf(begin, sizeof begin, ".part-%s-", o->job);
	each_name(o->path, begin, "", sweep_one, o, &ignored);
}

int output_prepare(struct output *o, uint64_t epoch, bool last, struct buf *handle, struct error *e)
{
	/* A file without rows is still a file its tool can read. */
	bool empty = last && o->kind != OUTPUT_DIRECTORY && !o->written;
	int status = 0;

	if (!o->complete) {
		sweep(o);
		if (o->compressor && (o->started || empty) &&
			compressor_put(o->compressor, NULL, 0, true, &o->pending, e) < 0)
			return -1;
		if (output_flush(o, e) < 0)
			return -1;
		if (o->file.fd >= 0 && (o->kind == OUTPUT_DIRECTORY || spools(o)))
			status = prepare_part(o, epoch, e);
		else if (o->part)
			status = prepare_growing(o, last, e);
		if (o->part || spools(o))
			o->prepared = o->written;
		o->complete = last;
	}
	if (status == 0 && o->uncommitted.len)
		buf_put(handle, o->uncommitted.data, o->uncommitted.len);
	return status;
}

/* Prepared durably before anybody was told to commit it: what is gone has been committed. */
static int commit_rename(struct output *o, const char *from, const char *to, struct error *e)
{
	if (rename(from, to) == 0)
		return outfile_sync_directory(to, e);
	if (errno != ENOENT)
		return error_errno(e, "%s: can't rename to %s", from, to);
	if (access(to, F_OK) < 0 && o->o.stage)
		stage_warn(o->o.stage, "%s was committed before, and somebody has taken it away", to);
	return 0;
}

/* An epoch of standard output; gone: it has been written. */
static int commit_spooled(const char *from, struct error *e)
{
	enum { PIECE_BYTES = 64 << 10 };
	int fd = open(from, O_RDONLY | O_CLOEXEC), status = 0;
	uint8_t *piece;
	ssize_t n = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : error_errno(e, "%s: can't open", from);
	piece = mem_alloc(PIECE_BYTES);
	while (!status && (n = read(fd, piece, PIECE_BYTES)) > 0)
		status = fd_write_all(STDOUT_FILENO, "standard output", piece, (size_t)n, e);
	if (n < 0)
		status = error_errno(e, "%s: can't read", from);
	mem_free(piece);
	close(fd);
	if (!status && unlink(from) < 0)
		status = error_errno(e, "%s: can't remove", from);
	return status;
}

static int commit_pair(struct output *o, const char *from, const char *to, struct error *e)
{
	return strcmp(to, "-") == 0 ? commit_spooled(from, e) : commit_rename(o, from, to, e);
}

/* What a handle names is committed from now on. */
static void forget(struct output *o, const uint8_t *handle, size_t len)
{
	struct buf *u = &o->uncommitted;

	if (len > u->len || memcmp(u->data, handle, len) != 0)
		return; /* of another process */
	memmove(u->data, u->data + len, u->len - len);
	u->len -= len;
}

int output_commit(struct output *o, const uint8_t *handle, size_t len, struct error *e)
{
	const char *at = (const char *)handle, *end = at + len;

	if (o->kind == OUTPUT_FILE && !o->o.supervised)
		return outfile_commit(&o->file, false, e);
	while (at < end) {
		const char *to = memchr(at, '\0', (size_t)(end - at)), *next;

		next = to ? memchr(to + 1, '\0', (size_t)(end - to - 1)) : NULL;
		if (!next)
			return error_set(e, ERROR_STATE, "a prepared handle is damaged");
		if (commit_pair(o, at, to + 1, e) < 0)
			return -1;
		at = next + 1;
	}
	if (len)
		forget(o, handle, len);
	return 0;
}

uint32_t output_job(const struct output *o)
{
	return (uint32_t)strtoul(o->job, NULL, 16);
}

void output_cut(struct output *o, uint64_t offset, uint32_t job)
{
	if (!o->part && !spools(o))
		return;
	MUST(o->part_fd < 0);
	o->written = o->prepared = offset;
	o->restored_job = job;
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
	buf_clear(&o->uncommitted);
	free(o->part);
	mem_free(o->path);
	mem_free(o);
}
