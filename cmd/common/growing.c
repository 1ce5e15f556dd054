#include "cmd/common/growing.h"

#include "libcore/base/memory.h"
#include "libcore/base/outfile.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	GROWING_MODE = 0666,
	/* A process of an earlier start may take a moment to die, and another job that looks
	 * whether the file is held holds it for that moment. */
	LOCK_TRIES = 100,
	LOCK_PAUSE_MS = 20,
};

static char *part_name(const char *final, const char *job8)
{
	int dir = outfile_directory_len(final);

	return mem_printf("%.*s.%s.%s.part", dir, final, final + dir, job8);
}

static int lost(const struct growing_options *o, const char *path, const char *how, struct error *e)
{
	error_set(e, ERROR_STATE, "%s: the rows before the %s were in %s, which %s", o->final,
		strcmp(o->job8, o->from_job8) ? "savepoint" : "checkpoint", path, how);
	return error_hint(e, "to begin a new file: --drop-state %s", o->stage);
}

/* ---- who else writes ---- */

/* ".<name>.<8 hex digits>.part", and not this job's. */
static bool is_others_part(const char *entry, const char *name, const char *job8)
{
	size_t len = strlen(name);
	const char *job;

	if (strlen(entry) != len + 15 || entry[0] != '.' || strncmp(entry + 1, name, len) != 0 ||
		entry[len + 1] != '.' || strcmp(entry + len + 10, ".part") != 0)
		return false;
	job = entry + len + 2;
	for (int i = 0; i < 8; i++) {
		if (!isxdigit((unsigned char)job[i]))
			return false;
	}
	return strncmp(job, job8, 8) != 0;
}

static bool is_held(int directory_fd, const char *entry)
{
	int fd = openat(directory_fd, entry, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return held;
}

static int check_others(const struct growing_options *o, struct error *e)
{
	int dir_len = outfile_directory_len(o->final), status = 0;
	char *directory = dir_len ? mem_strndup(o->final, (size_t)dir_len) : mem_strdup(".");
	struct dirent *entry;
	DIR *d;

	d = opendir(directory);
	while (d && status == 0 && (entry = readdir(d))) {
		if (is_others_part(entry->d_name, o->final + dir_len, o->job8) &&
			is_held(dirfd(d), entry->d_name))
			status = error_set(e, ERROR_USAGE, "%s: another job is writing it (%s)",
				o->final, entry->d_name);
	}
	if (d)
		closedir(d);
	mem_free(directory);
	return status;
}

static int hold(const struct growing *g, struct error *e)
{
	for (int i = 0; flock(g->fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK) /* a file system without locks is no reason to stop */
			return 0;
		if (i == LOCK_TRIES)
			return error_set(
				e, ERROR_IO, "%s: held by another process of this job", g->path);
		poll(NULL, 0, LOCK_PAUSE_MS);
	}
	return 0;
}

/* ---- what was written before ---- */

static int cut(const struct growing *g, const struct growing_options *o, struct error *e)
{
	struct stat st;

	if (fstat(g->fd, &st) < 0)
		return error_errno(e, "%s: can't look at it", g->path);
	if ((uint64_t)st.st_size < o->offset)
		return lost(o, g->path, "is shorter than it was", e);
	if (ftruncate(g->fd, (off_t)o->offset) < 0 || lseek(g->fd, (off_t)o->offset, SEEK_SET) < 0)
		return error_errno(e, "%s: can't be cut back to the snapshot", g->path);
	return 0;
}

static int copy_bytes(
	const struct growing *g, int from, const char *from_path, uint64_t len, struct error *e)
{
	enum { PIECE_BYTES = 128 << 10 };
	char *piece = mem_alloc(PIECE_BYTES);
	uint64_t at = 0;
	int status = 0;

	while (at < len && status == 0) {
		size_t want = len - at < PIECE_BYTES ? (size_t)(len - at) : PIECE_BYTES;
		ssize_t n = pread(from, piece, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n < 0 ? errno : EIO;
			status = error_errno(e, "%s: can't read", from_path);
			break;
		}
		status = fd_write_all(g->fd, g->path, piece, (size_t)n, e);
		at += (uint64_t)n;
	}
	mem_free(piece);
	return status;
}

/* What a savepoint's job had written in front of it. */
static int copy_from(const struct growing *g, const struct growing_options *o, struct error *e)
{
	char *path = part_name(o->final, o->from_job8);
	int fd = open(path, O_RDONLY | O_CLOEXEC), status = -1;
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		lost(o, path, "is gone", e);
	else if (fd < 0 || fstat(fd, &st) < 0)
		error_errno(e, "%s: can't open", path);
	else if ((uint64_t)st.st_size < o->offset)
		lost(o, path, "is shorter than it was", e);
	else if (ftruncate(g->fd, 0) < 0)
		error_errno(e, "%s: can't empty it", g->path);
	else if (copy_bytes(g, fd, path, o->offset, e) == 0)
		status = growing_sync(g, e);
	if (fd >= 0)
		close(fd);
	mem_free(path);
	return status;
}

int growing_open(struct growing *g, const struct growing_options *o, struct error *e)
{
	bool is_own = !o->offset || !strcmp(o->job8, o->from_job8), goes_on = is_own && o->offset;
	int status;

	*g = (struct growing){.fd = -1, .path = part_name(o->final, o->job8)};
	g->fd = open(
		g->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | (goes_on ? 0 : O_CREAT), GROWING_MODE);
	if (g->fd < 0) {
		status = goes_on && errno == ENOENT
				 ? lost(o, g->path, "is gone", e)
				 : error_errno(e, "%s: can't create", goes_on ? g->path : o->final);
		growing_close(g);
		return status;
	}
	status = hold(g, e);
	if (status == 0) {
		status = check_others(o, e);
		if (status == 0)
			status = is_own ? cut(g, o, e) : copy_from(g, o, e);
		if (status == 0)
			status = outfile_sync_directory(g->path, e);
		/* Nothing that was needed stands in it. */
		if (status < 0 && !goes_on)
			unlink(g->path);
	}
	if (status < 0)
		growing_close(g);
	return status;
}

int growing_sync(const struct growing *g, struct error *e)
{
	return fsync(g->fd) < 0 ? error_errno(e, "%s: can't sync", g->path) : 0;
}

void growing_close(struct growing *g)
{
	if (g->fd >= 0)
		close(g->fd);
	mem_free(g->path);
	*g = (struct growing)GROWING_INIT;
}
