#include "cmd/common/output.h"

#include "cmd/common/growing.h"
#include "cmd/common/leftovers.h"
#include "cmd/common/prepared.h"
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

/* A file as it is being written: a stream's epoch, a file alone, a part. */
struct output_part {
	char *sub; /* of a directory: where below it the part will lie, "day=1/"; else NULL */
	struct outfile file; /* fd -1: none open */
	struct compressor *compressor;
	struct buf pending; /* bytes as they will stand in the file */
	uint64_t written;   /* to the file, before pending */
	bool dirty;         /* something came since the compressor ended a frame */
};

struct output {
	struct output_options o;
	enum output_kind kind;
	char *path;
	char *word; /* begins the names of parts */
	char *room; /* where parts lie, with its slash; NULL: not in parts */
	char job8[JOB8_BYTES];
	char from_job8[JOB8_BYTES];
	struct output_part main; /* what output_put writes to */
	struct growing growing;  /* a file under a supervisor */
	int stream_fd;           /* a pipe or a device, once something was committed to it */
	uint64_t offset;         /* of the last prepare; a stream's counts on over its parts */
	bool started;            /* something has been put into the present file, this stream */
	bool done;               /* the last prepare has been */
	bool swept;              /* no leftovers of earlier attempts are there */
	uint64_t hidden;         /* the number of the last name given to a finished part */
	uint64_t shown;          /* ... to a part of an output that appends */
	struct prepared_list finished; /* parts whose epoch isn't known yet; `to`: their sub */
	struct prepared_list prepared;
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
	/* Alone, what is no regular file is left to outfile. */
	if (o->kind == OUTPUT_STREAM && !options->supervised && !is_stdout(o))
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

/* ---- names ---- */

static int rename_to(const char *from, const char *to, struct error *e)
{
	return rename(from, to) < 0 ? error_errno(e, "%s: can't rename to %s", from, to) : 0;
}

static const char *extension_of(const struct output *o)
{
	return o->o.extension ? o->o.extension : "ndjson";
}

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

/* "-2" where an epoch has several parts. */
static const char *ordinal(uint64_t nth, char text[24])
{
	text[0] = 0;
	if (nth > 1)
		snprintf(text, 24, "-%llu", (unsigned long long)nth);
	return text;
}

/* Of a part that is complete, before its epoch is: no process that lives has it. */
static char *finished_name(struct output *o)
{
	unsigned long long number = ++o->hidden;

	if (!o->o.supervised)
		return mem_printf("%s.part-%d.%llu.%s", o->room, (int)getpid(), number,
			extension_of(o));
	return mem_printf("%s.part-%s-%llu-%u.%llu.%s", o->room, o->job8,
		(unsigned long long)o->o.attempt, o->o.subtask, number, extension_of(o));
}

static char *hidden_name(const struct output *o, uint64_t epoch, uint64_t nth)
{
	unsigned long long number = epoch, attempt = o->o.attempt;
	char end[24];

	if (o->kind == OUTPUT_STREAM)
		return mem_printf("%s%s-%s-%llu-%u-%llu", o->room, o->word, o->job8, attempt,
			o->o.subtask, number);
	if (!o->o.supervised)
		return mem_printf("%s.part-%u-%llu%s.%s", o->room, o->o.subtask, number,
			ordinal(nth, end), extension_of(o));
	return mem_printf("%s.part-%s-%llu-%u-%llu%s.%s", o->room, o->job8, attempt, o->o.subtask,
		number, ordinal(nth, end), extension_of(o));
}

/* The next name that nothing has.  sub_len: "out/day=1/" of a path. */
static char *appended_name(struct output *o, const char *directory, int directory_len)
{
	return mem_printf("%.*spart-%u-%llu.%s", directory_len, directory, o->o.subtask,
		(unsigned long long)++o->shown, extension_of(o));
}

static char *final_name(struct output *o, const char *sub, uint64_t epoch, uint64_t nth)
{
	char *directory, *name, end[24];

	if (o->kind == OUTPUT_STREAM)
		return mem_strdup("-");
	directory = mem_printf("%s%s", o->room, sub);
	if (!o->o.supervised && o->o.appends)
		name = appended_name(o, directory, (int)strlen(directory));
	else
		name = mem_printf("%spart-%s%s%u-%llu%s.%s", directory,
			o->o.supervised ? o->job8 : "", o->o.supervised ? "-" : "", o->o.subtask,
			(unsigned long long)epoch, ordinal(nth, end), extension_of(o));
	mem_free(directory);
	return name;
}

/* Files are opened with their first byte, so that an epoch without rows leaves none. */
static int open_part(struct output *o, struct output_part *p, struct error *e)
{
	char *base;
	int status;

	if (!o->room || p->file.fd >= 0)
		return 0;
	base = part_base(o);
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
		is_stdout(o) ? "standard output" : o->path);
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
	name = finished_name(o);
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
	from = hidden_name(o, epoch, o->finished.len + 1);
	if (check_part_is_new(o, from, e) < 0 || outfile_prepare(&o->main.file, from, e) < 0) {
		mem_free(from);
		return -1;
	}
	prepared_add(&o->prepared, from, final_name(o, "", epoch, o->finished.len + 1));
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
		char *from = hidden_name(o, epoch, i + 1);

		if (check_part_is_new(o, from, e) < 0 || rename_to(l->items[i].from, from, e) < 0) {
			mem_free(from);
			return -1;
		}
		/* In case a later one fails, it is remembered by the name it has. */
		mem_free(l->items[i].from);
		l->items[i].from = from;
	}
	for (size_t i = 0; i < l->len; i++)
		prepared_add(&o->prepared, mem_strdup(l->items[i].from),
			final_name(o, l->items[i].to, epoch, i + 1));
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

/* ---- commit ---- */

/* Where the next free name is taken, it is never one that somebody else just took. */
static int rename_to_new(struct output *o, const char *from, const char *to, struct error *e)
{
	int directory_len = outfile_directory_len(to);
	char *name = mem_strdup(to);
	int status;

	while ((status = renameat2(AT_FDCWD, from, AT_FDCWD, name, RENAME_NOREPLACE)) < 0) {
		char *next;

		if (errno == EINVAL || errno == ENOSYS) { /* a file system that can't */
			if (access(name, F_OK) < 0) {
				status = rename_to(from, name, e);
				break;
			}
		} else if (errno != EEXIST) {
			status = error_errno(e, "%s: can't rename to %s", from, name);
			break;
		}
		next = appended_name(o, name, directory_len);
		mem_free(name);
		name = next;
	}
	mem_free(name);
	return status;
}

/* Prepared means that it was there: if it no longer is, it has been committed before, and if it
 * isn't under its own name either, somebody has taken it from there. */
static int commit_rename(struct output *o, const char *from, const char *to, struct error *e)
{
	if (directories_make(to, from, e) < 0)
		return -1;
	if (!o->o.supervised && o->o.appends)
		return rename_to_new(o, from, to, e);
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

int output_commit(struct output *o, const uint8_t *handle, size_t len, struct error *e)
{
	const char *at = (const char *)handle, *end = at + len, *from, *to;
	struct directory_list renamed = {.len = 0};
	struct error ignored = ERROR_INIT;
	int status;

	if (o->kind == OUTPUT_FILE && !o->o.supervised)
		return outfile_commit(&o->main.file, false, e);
	while ((status = prepared_next(&at, end, &from, &to, e)) == 0) {
		bool is_stream = !strcmp(to, "-");

		if ((is_stream ? commit_stream(o, from, e) : commit_rename(o, from, to, e)) < 0) {
			status = -1;
			break;
		}
		if (!is_stream && o->o.supervised)
			directories_add(&renamed, to, from);
		prepared_forget(&o->prepared, from);
	}
	/* Also after one that failed: those in front of it aren't renamed again. */
	return directories_sync(&renamed, status < 0 ? &ignored : e) < 0 || status < 0 ? -1 : 0;
}

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
