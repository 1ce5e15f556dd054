#include "cmd/common/output_impl.h"

#include "libcore/base/memory.h"
#include "libcore/stage/operator.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where the next free name is taken, it is never one that somebody else just took. */
static int rename_to_new(struct output *o, const char *from, const char *to, struct error *e)
{
	char *name = mem_strdup(to);
	int status;

	while ((status = renameat2(AT_FDCWD, from, AT_FDCWD, name, RENAME_NOREPLACE)) < 0) {
		char *next;

		if (errno == EINVAL || errno == ENOSYS) { /* a file system that can't */
			if (access(name, F_OK) < 0) {
				status = output_rename(from, name, e);
				break;
			}
		} else if (errno != EEXIST) {
			status = error_errno(e, "%s: can't rename to %s", from, name);
			break;
		}
		next = output_name_next(o, name);
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
	if (output_is_stdout(o) || o->kind != OUTPUT_STREAM)
		return STDOUT_FILENO;
	if (o->is_socket && o->stream_fd < 0 && output_socket_open(o, e) < 0)
		return -1;
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
	if (status < 0 && o->is_socket && to >= 0)
		output_socket_failed(o, e);
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
	if (o->is_socket && !o->o.supervised)
		return output_socket_finish(o, e);
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
