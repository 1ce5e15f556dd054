#include "cmd/runnel/state.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/outfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	/* Stages die with their supervisor; one that is being killed while it writes a large page to a
	 * slow disk may take seconds. */
	LOCK_TRIES = 1000,
	LOCK_TRY_NS = 10000000,
	JOB_FILE_BYTES_MAX = 8192,
};

char *state_path(const struct state *s, const char *name)
{
	return mem_printf("%s/%s", s->directory, name);
}

/* As mkdir -p; only the last one is private. */
static int make_directories(const char *path, struct error *e)
{
	char *copy = mem_strdup(path);
	int status = 0;

	for (char *slash = strchr(copy + 1, '/'); slash && !status; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0777) < 0 && errno != EEXIST)
			status = error_errno(e, "%s: can't make the directory", copy);
		*slash = '/';
	}
	if (!status && mkdir(path, 0700) < 0 && errno != EEXIST)
		status = error_errno(e, "%s: can't make the directory", path);
	mem_free(copy);
	return status;
}

static int make_room(const struct state *s, const char *name, struct error *e)
{
	char *path = state_path(s, name);
	int status = mkdir(path, 0700) < 0 && errno != EEXIST ?
		error_errno(e, "%s: can't make the directory", path) : 0;

	mem_free(path);
	return status;
}

/* ---- the lock ---- */

/* Whether a process of this number lives and is one: numbers are used again. */
static bool is_supervisor(long pid)
{
	char path[40], name[32] = "";
	int fd;

	snprintf(path, sizeof path, "/proc/%ld/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, name, sizeof name - 1) < 0)
		name[0] = '\0';
	close(fd);
	return strstr(name, "runnel") != NULL;
}

/* The supervisor that holds it, if that lives. */
static long owner(int fd)
{
	char text[24] = "";
	long pid;

	if (pread(fd, text, sizeof text - 1, 0) <= 0)
		return 0;
	pid = strtol(text, NULL, 10);
	/* Its own number, in a container that counts from the start again, is an earlier one's. */
	return pid > 0 && pid != getpid() && is_supervisor(pid) ? pid : 0;
}

/* Whether the file that is locked still has its name: the last owner may have removed it. */
static bool is_in_place(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
		a.st_dev == b.st_dev;
}

static int write_pid(int fd, const char *path, struct error *e)
{
	char text[24];
	int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len)
		return error_errno(e, "%s: can't write", path);
	return 0;
}

/* Whether there is nothing in the directory but a lock. */
static bool is_empty(const char *directory)
{
	DIR *d = opendir(directory);
	struct dirent *entry;
	bool empty = true;

	while (d && empty && (entry = readdir(d)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
			!strcmp(entry->d_name, "lock");
	if (d)
		closedir(d);
	return empty;
}

/* What a job has owned has its job file or, if that has been removed, a supervisor's number in the
 * lock.  Anything else is somebody's: its checkpoints/ or spool/ are not to be cleared away. */
static int check_is_ours(const struct state *s, int fd, const char *lock, struct error *e)
{
	char *job = state_path(s, "job");
	struct stat st;
	bool owned = access(job, F_OK) == 0 || (fstat(fd, &st) == 0 && st.st_size > 0);

	mem_free(job);
	if (owned || is_empty(s->directory))
		return 0;
	unlink(lock);
	error_set(e, ERROR_USAGE, "%s is neither empty nor the state of a job", s->directory);
	return error_hint(e, "give the state a directory of its own: --state DIR");
}

/* 0: locked; 1: try again; -1. */
static int try_lock(struct state *s, const char *path, struct error *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	long pid;

	if (fd < 0)
		return error_errno(e, "%s: can't open", path);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && is_in_place(fd, path)) {
		s->lock_fd = fd;
		return check_is_ours(s, fd, path, e) < 0 ? -1 : write_pid(fd, path, e);
	}
	pid = owner(fd);
	close(fd);
	if (!pid)
		return 1;
	error_set(e, ERROR_USAGE, "the job is running already (process %ld, state in %s)", pid,
		s->directory);
	error_hint(e, "another of the same pipeline needs a name of its own: --name NAME");
	return -1;
}

static int lock(struct state *s, struct error *e)
{
	char *path = state_path(s, "lock");
	int status = 1;

	for (int i = 0; i < LOCK_TRIES && status == 1; i++) {
		status = try_lock(s, path, e);
		if (status == 1)
			nanosleep(&(struct timespec){.tv_nsec = LOCK_TRY_NS}, NULL);
	}
	if (status == 1)
		status = error_set(e, ERROR_IO, "%s: a stage of an earlier supervisor is still alive", path);
	mem_free(path);
	return status;
}

/* ---- removing ---- */

static void remove_room(const struct state *s, const char *name)
{
	struct error ignored = ERROR_INIT;
	char *path = state_path(s, name);

	directory_remove(path, &ignored);
	mem_free(path);
}

static void remove_checkpoints(const struct state *s)
{
	char *path = state_path(s, "checkpoints");

	checkpoints_remove_older(path, UINT64_MAX);
	mem_free(path);
	remove_room(s, "checkpoints");
}

static void empty_rooms(const struct state *s)
{
	remove_checkpoints(s);
	remove_room(s, "restored");
	remove_room(s, "spool");
}

static void unlink_file(const struct state *s, const char *name)
{
	char *path = state_path(s, name);

	unlink(path);
	mem_free(path);
}

/* ---- the identity ---- */

static int write_job(const struct state *s, struct error *e)
{
	struct outfile file = OUTFILE_INIT;
	char *path = state_path(s, "job"), *here = getcwd(NULL, 0);
	struct buf text = BUF_INIT;
	int status = -1;

	buf_printf(&text, "id %s\nattempt %" PRIu64 "\npipeline %s\n", s->job, s->attempt, s->pipeline);
	if (here)
		buf_printf(&text, "directory %s\n", here);
	if (outfile_open(&file, path, e) == 0 && outfile_write(&file, text.data, text.len, e) == 0)
		status = outfile_commit(&file, true, e);
	outfile_abort(&file);
	buf_clear(&text);
	free(here);
	mem_free(path);
	return status;
}

static void make_id(char *out)
{
	uint8_t bytes[JOB_ID_LEN / 2];

	MUST(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* Handles to commit are relative paths: elsewhere they would be missed, and taken for committed. */
static int check_directory(const char *line, struct error *e)
{
	char *here = getcwd(NULL, 0);
	size_t len = strcspn(line, "\n");
	int status = 0;

	if (here && (strlen(here) != len || memcmp(here, line, len) != 0)) {
		status = error_set(e, ERROR_USAGE, "the job was started in %.*s: here its paths "
			"would be other files", (int)len, line);
		error_hint(e, "start it from there; another job needs a name of its own: --name NAME");
	}
	free(here);
	return status;
}

static int parse_job(struct state *s, const char *text, const char *path, const char *pipeline,
	struct error *e)
{
	int at = 0;

	if (sscanf(text, "id %32[0-9a-f]\nattempt %" SCNu64 "\npipeline %n", s->job, &s->attempt, &at) != 2 ||
		!at || strlen(s->job) != JOB_ID_LEN)
		return error_set(e, ERROR_STATE, "%s: damaged", path);
	s->pipeline = mem_strndup(text + at, strcspn(text + at, "\n"));
	text += at + strlen(s->pipeline);
	if (!strcmp(s->pipeline, pipeline))
		return strncmp(text, "\ndirectory ", 11) ? 0 : check_directory(text + 11, e);
	error_set(e, ERROR_USAGE, "the state in %s belongs to %s", s->directory, s->pipeline);
	error_hint(e, "give this job a name of its own, --name NAME, or another place, --state DIR");
	return -1;
}

static bool has_file(const struct state *s, const char *name)
{
	char *path = state_path(s, name);
	bool has = access(path, F_OK) == 0;

	mem_free(path);
	return has;
}

static int read_job(struct state *s, const char *pipeline, struct error *e)
{
	char *path = state_path(s, "job"), text[JOB_FILE_BYTES_MAX];
	int fd = open(path, O_RDONLY | O_CLOEXEC), status;
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

	if (fd < 0 && errno == ENOENT) {
		s->ended = has_file(s, "ended");
		empty_rooms(s); /* what a job that ended was about to remove */
		make_id(s->job);
		s->pipeline = mem_strdup(pipeline);
		status = 0; /* written with the first attempt's number, before anything starts */
	} else if (fd < 0 || n < 0) {
		status = error_errno(e, "%s: can't read", path);
	} else {
		text[n] = '\0';
		status = parse_job(s, text, path, pipeline, e);
	}
	if (fd >= 0)
		close(fd);
	mem_free(path);
	return status;
}

int state_open(const char *directory, const char *pipeline, struct state *out, struct error *e)
{
	*out = (struct state){.directory = mem_strdup(directory), .lock_fd = -1};
	if (make_directories(directory, e) == 0 && lock(out, e) == 0 &&
		read_job(out, pipeline, e) == 0 && make_room(out, "checkpoints", e) == 0 &&
		make_room(out, "logs", e) == 0 && make_room(out, "spool", e) == 0)
		return 0;
	state_close(out);
	return -1;
}

void state_close(struct state *s)
{
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	mem_free(s->directory);
	mem_free(s->pipeline);
	*s = (struct state){.lock_fd = -1};
}

int state_next_attempt(struct state *s, struct error *e)
{
	s->attempt++;
	return write_job(s, e);
}

/* ---- the end ---- */

void state_remove(struct state *s)
{
	static const char *const files[] = {"socket", "dropped", "ended", "lock"};

	/* The identity first: with it, a start goes on from the last checkpoint; without, it is a new job,
	 * unless this one has ended. */
	unlink_file(s, "job");
	empty_rooms(s);
	remove_room(s, "logs");
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		unlink_file(s, files[i]);
	rmdir(s->directory);
}

void state_end(struct state *s)
{
	char *job = state_path(s, "job"), *ended = state_path(s, "ended");

	rename(job, ended);
	mem_free(job);
	mem_free(ended);
	state_remove(s);
}
