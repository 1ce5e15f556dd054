#include "libcore/base/outfile.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUTFILE_MODE = 0666 };

/* "dir/" of a path with its slash, "" where there is none: directory and the start of siblings. */
int outfile_directory_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (int)(slash - path) + 1 : 0;
}

static char *sibling(const char *path, const char *format_end)
{
	int dir = outfile_directory_len(path);
	char *name;

	if (asprintf(&name, "%.*s.%s%s", dir, path, path + dir, format_end) < 0)
		abort();
	return name;
}

static mode_t umask_now(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return mask;
}

static int open_part(struct outfile *f, const char *path, struct error *e)
{
	f->part = sibling(path, ".XXXXXX.part");
	f->fd = mkostemps(f->part, 5, O_CLOEXEC);
	if (f->fd < 0) {
		free(f->part);
		f->part = NULL;
		return error_errno(e, "%s: can't create", path);
	}
	fchmod(f->fd, OUTFILE_MODE & ~umask_now());
	return 0;
}

int outfile_open(struct outfile *f, const char *path, struct error *e)
{
	int dir = outfile_directory_len(path);
	char *directory;
	struct stat st;

	*f = (struct outfile)OUTFILE_INIT;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		f->direct = true;
		f->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		if (f->fd < 0)
			return error_errno(e, "%s: can't open for writing", path);
		f->path = mem_strdup(path);
		return 0;
	}
	directory = dir ? mem_strndup(path, (size_t)dir) : mem_strdup(".");
	f->fd = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, OUTFILE_MODE);
	mem_free(directory);
	if (f->fd < 0 && (errno == ENOENT || errno == EACCES || errno == ENOTDIR || errno == EROFS))
		return error_errno(e, "%s: can't create", path);
	if (f->fd < 0 && open_part(f, path, e) < 0)
		return -1;
	f->path = mem_strdup(path);
	return 0;
}

int fd_write_all(int fd, const char *name, const void *bytes, size_t len, struct error *e)
{
	const char *at = bytes;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n >= 0) {
			at += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
		} else if (errno == EPIPE) {
			return error_set(e, ERROR_CLOSED, "%s: its reader has gone", name);
		} else if (errno != EINTR) {
			return error_errno(e, "%s: can't write", name);
		}
	}
	return 0;
}

int outfile_write(struct outfile *f, const void *bytes, size_t len, struct error *e)
{
	MUST(f->fd >= 0);
	return fd_write_all(f->fd, f->path, bytes, len, e);
}

/* Gives the file a name that nothing has yet, if it has none. */
static int name_part(struct outfile *f, struct error *e)
{
	char proc[32];

	if (f->part)
		return 0;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", f->fd);
	for (int attempt = 0;; attempt++) {
		char end[48];

		snprintf(end, sizeof end, ".%d-%d.part", (int)getpid(), attempt);
		f->part = sibling(f->path, end);
		if (linkat(AT_FDCWD, proc, AT_FDCWD, f->part, AT_SYMLINK_FOLLOW) == 0)
			return 0;
		free(f->part);
		f->part = NULL;
		if (errno != EEXIST || attempt > 1000)
			return error_errno(e, "%s: can't name the finished file", f->path);
	}
}

/* A file without a name gets its new one directly, if nothing has that: no crash leaves it under
 * another. */
static int name_at_once(struct outfile *f, const char *to)
{
	char proc[32];

	if (f->part)
		return -1;
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", f->fd);
	return linkat(AT_FDCWD, proc, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
}

static int rename_part(struct outfile *f, const char *to, struct error *e)
{
	if (name_part(f, e) < 0)
		return -1;
	if (rename(f->part, to) < 0)
		return error_errno(e, "%s: can't rename", to);
	free(f->part);
	f->part = NULL;
	return 0;
}

int outfile_sync_directory(const char *path, struct error *e)
{
	int dir = outfile_directory_len(path), fd, status = 0;
	char *directory = dir ? mem_strndup(path, (size_t)dir) : mem_strdup(".");

	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		status = error_errno(e, "%s: can't sync the directory", directory);
	if (fd >= 0)
		close(fd);
	mem_free(directory);
	return status;
}

static void outfile_release(struct outfile *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->part);
	mem_free(f->path);
	*f = (struct outfile)OUTFILE_INIT;
}

int outfile_name(struct outfile *f, const char *name, struct error *e)
{
	return name_at_once(f, name) < 0 ? rename_part(f, name, e) : 0;
}

int outfile_prepare(struct outfile *f, const char *prepared, struct error *e)
{
	MUST(f->fd >= 0 && !f->direct);
	if (fsync(f->fd) < 0)
		return error_errno(e, "%s: can't sync", f->path);
	return outfile_name(f, prepared, e) < 0 ? -1 : outfile_sync_directory(prepared, e);
}

int outfile_commit(struct outfile *f, bool durable, struct error *e)
{
	int status = 0;

	MUST(f->fd >= 0);
	if (!f->direct) {
		if (durable && fsync(f->fd) < 0)
			return error_errno(e, "%s: can't sync", f->path);
		if (rename_part(f, f->path, e) < 0)
			return -1;
		if (durable)
			status = outfile_sync_directory(f->path, e);
	}
	outfile_release(f);
	return status;
}

void outfile_abort(struct outfile *f)
{
	if (f->part)
		unlink(f->part);
	outfile_release(f);
}
