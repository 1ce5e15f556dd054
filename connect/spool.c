#include "connect/spool.h"

#include "libcore/base/memory.h"
#include "libcore/base/outfile.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	DIRECTORY_MODE = 0700,
	FILE_MODE = 0600,
	PEER_BYTES_MAX = 100,
	BLOCK_BYTES = 4096,
	STAT_BLOCK_BYTES = 512,
	TRIM_LEAST_BYTES = 256 << 10, /* holes are made of so many at a time */
};

struct spool_file {
	struct spool *spool;
	struct spool_file *next;
	char *path;
	int fd;         /* -1: complete */
	uint64_t bytes; /* received */
	uint64_t behind;  /* bytes that won't be read again */
	uint64_t hole_to; /* given back to the file system, but for the head */
	bool dirty, ended, hidden;
};

struct spool {
	char *directory;
	uint64_t bytes_max, held; /* in files, and not behind their readers */
	uint64_t number; /* of the newest file */
	uint64_t opened; /* hidden ones so far */
	int lock_fd;
	bool has_new;    /* names that aren't on disk */
	struct spool_file *files;
	char **left;
	size_t left_len, left_cap;
};

/* ---- a directory ---- */

static int lock(struct spool *s, struct error *e)
{
	char *path = mem_printf("%s/.lock", s->directory);
	int status = 0;

	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
	if (s->lock_fd < 0)
		status = error_errno(e, "%s: can't open", path);
	else if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		status = error_set(e, ERROR_IO, "%s: another process spools there", s->directory);
	mem_free(path);
	return status;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct spool_file *add_file(struct spool *s, char *path, int fd)
{
	struct spool_file *f = mem_zero(sizeof *f);

	*f = (struct spool_file){.spool = s, .next = s->files, .path = path, .fd = fd};
	return s->files = f;
}

/* As far as the hole that an earlier run made reaches. */
static uint64_t hole_end(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t data = fd < 0 ? -1 : lseek(fd, SPOOL_HEAD_BYTES, SEEK_DATA);

	if (fd >= 0)
		close(fd);
	return data < 0 ? 0 : (uint64_t)data;
}

/* Files of earlier runs: what lies behind their holes is held. */
static void take_left(struct spool *s, const char *name)
{
	char *path = mem_printf("%s/%s", s->directory, name);
	uint64_t number = strtoull(name, NULL, 10);
	struct spool_file *f;
	struct stat st;

	if (strncmp(name, ".open-", 6) == 0)
		unlink(path);
	if (!isdigit((unsigned char)*name) || stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
		mem_free(path);
		return;
	}
	s->number = number > s->number ? number : s->number;
	MEM_GROW(s->left, s->left_cap, s->left_len + 1);
	s->left[s->left_len++] = mem_strdup(path);
	f = add_file(s, path, -1);
	f->bytes = (uint64_t)st.st_size;
	f->hole_to = (uint64_t)st.st_blocks * STAT_BLOCK_BYTES < f->bytes ? hole_end(path) : 0;
	f->behind = f->hole_to < f->bytes ? f->hole_to : f->bytes;
	s->held += f->bytes - f->behind;
}

static int list(struct spool *s, struct error *e)
{
	DIR *d = opendir(s->directory);
	struct dirent *entry;

	if (!d)
		return error_errno(e, "%s: can't read", s->directory);
	while ((entry = readdir(d)))
		take_left(s, entry->d_name);
	closedir(d);
	if (s->left_len)
		qsort(s->left, s->left_len, sizeof *s->left, by_name);
	return 0;
}

int spool_open(const char *directory, uint64_t bytes_max, struct spool **out, struct error *e)
{
	struct spool *s = mem_zero(sizeof *s);
	size_t len = strlen(directory);
	int status = 0;

	while (len > 1 && directory[len - 1] == '/')
		len--;
	s->directory = mem_strndup(directory, len);
	s->bytes_max = bytes_max;
	s->lock_fd = -1;
	if (mkdir(s->directory, DIRECTORY_MODE) < 0 && errno != EEXIST)
		status = error_errno(e, "%s: can't make the directory", s->directory);
	if (status == 0)
		status = lock(s, e);
	if (status == 0)
		status = list(s, e);
	if (status < 0)
		spool_close(s);
	else
		*out = s;
	return status;
}

static void free_file(struct spool_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	mem_free(f->path);
	mem_free(f);
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	while (s->files) {
		struct spool_file *f = s->files;

		s->files = f->next;
		free_file(f);
	}
	for (size_t i = 0; i < s->left_len; i++)
		mem_free(s->left[i]);
	mem_free(s->left);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	mem_free(s->directory);
	mem_free(s);
}

bool spool_has_room(const struct spool *s)
{
	return s->held < s->bytes_max;
}

uint64_t spool_room(const struct spool *s)
{
	return s->held < s->bytes_max ? s->bytes_max - s->held : 0;
}

void spool_number_after(struct spool *s, uint64_t number)
{
	s->number = number > s->number ? number : s->number;
}

uint64_t spool_number(const struct spool *s)
{
	return s->number;
}

const char *spool_left(const struct spool *s, size_t i)
{
	return i < s->left_len ? s->left[i] : NULL;
}

/* ---- files ---- */

static char *next_name(struct spool *s, const char *peer)
{
	char name[PEER_BYTES_MAX + 1];

	snprintf(name, sizeof name, "%s", peer);
	for (char *c = name; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr(".:-_[]", *c))
			*c = '_';
	}
	return mem_printf("%s/%012" PRIu64 "-%s", s->directory, ++s->number, name);
}

/* Takes path. */
static int create(struct spool *s, char *path, struct spool_file **out, struct error *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, FILE_MODE);

	if (fd < 0) {
		error_errno(e, "%s: can't create", path);
		mem_free(path);
		return -1;
	}
	*out = add_file(s, path, fd);
	return 0;
}

int spool_begin(struct spool *s, const char *peer, struct spool_file **out, struct error *e)
{
	s->has_new = true;
	return create(s, next_name(s, peer), out, e);
}

int spool_begin_hidden(struct spool *s, struct spool_file **out, struct error *e)
{
	if (create(s, mem_printf("%s/.open-%" PRIu64, s->directory, ++s->opened), out, e) < 0)
		return -1;
	(*out)->hidden = true;
	return 0;
}

const char *spool_path(const struct spool_file *f)
{
	return f->path;
}

int spool_append(struct spool_file *f, const void *bytes, size_t len, struct error *e)
{
	if (fd_write_all(f->fd, f->path, bytes, len, e) < 0)
		return -1;
	f->bytes += len;
	f->spool->held += len;
	f->dirty = true;
	return 0;
}

void spool_end(struct spool_file *f)
{
	f->ended = true;
	if (f->dirty)
		return; /* closed once it is synced */
	close(f->fd);
	f->fd = -1;
}

int spool_seal(struct spool_file *f, const char *peer, struct error *e)
{
	struct spool *s = f->spool;
	char *path = next_name(s, peer);

	if (fdatasync(f->fd) < 0 || rename(f->path, path) < 0) {
		error_errno(e, "%s: can't be kept", path);
		mem_free(path);
		s->number--; /* numbers have no gaps */
		return -1;
	}
	mem_free(f->path);
	f->path = path;
	f->dirty = f->hidden = false;
	spool_end(f);
	return outfile_sync_directory(path, e);
}

int spool_sync(struct spool *s, struct error *e)
{
	for (struct spool_file *f = s->files; f; f = f->next) {
		if (!f->dirty || f->hidden)
			continue;
		if (fdatasync(f->fd) < 0)
			return error_errno(e, "%s: can't sync", f->path);
		f->dirty = false;
		if (f->ended)
			spool_end(f);
	}
	if (s->has_new && s->files && outfile_sync_directory(s->files->path, e) < 0)
		return -1;
	s->has_new = false;
	return 0;
}

/* ---- giving back ---- */

static struct spool_file **find(struct spool *s, const char *path)
{
	struct spool_file **at = &s->files;

	while (*at && strcmp((*at)->path, path) != 0)
		at = &(*at)->next;
	return at;
}

/* What is behind the reader; a file system that has no holes gives nothing back before the end. */
static void punch(struct spool_file *f)
{
	uint64_t from = f->hole_to > SPOOL_HEAD_BYTES ? f->hole_to : SPOOL_HEAD_BYTES;
	uint64_t to = f->behind / BLOCK_BYTES * BLOCK_BYTES;
	int fd;

	if (to < from + TRIM_LEAST_BYTES)
		return;
	fd = open(f->path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
			(off_t)(to - from));
		close(fd);
	}
	f->hole_to = to;
}

void spool_trim(struct spool *s, const char *path, uint64_t offset)
{
	struct spool_file *f = *find(s, path);
	uint64_t behind;

	if (!f)
		return;
	behind = offset < f->bytes ? offset : f->bytes;
	if (behind <= f->behind)
		return;
	s->held -= behind - f->behind;
	f->behind = behind;
	punch(f);
}

/* What find found: forgotten. */
static void forget(struct spool *s, struct spool_file **at)
{
	struct spool_file *f = *at;

	s->held -= f->bytes - f->behind;
	*at = f->next;
	free_file(f);
}

void spool_drop(struct spool_file *f)
{
	unlink(f->path);
	forget(f->spool, find(f->spool, f->path));
}

int spool_remove(struct spool *s, const char *path, struct error *e)
{
	struct spool_file **at = find(s, path);

	if (*at)
		forget(s, at);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_errno(e, "%s: can't remove", path);
	return 0;
}
