/* For LD_PRELOAD: makes the n-th call of something fail.
 *
 *   FAULT=write:5:ENOSPC    the 5th write or writev to a descriptor above 2 fails so
 *   FAULT=write:5:short     ... takes one byte only, and so do all later ones
 *   FAULT=write:5:EINTR     ... is interrupted, once
 *   FAULT=malloc:5          the 5th malloc, calloc or realloc gives nothing
 *   FAULT=fsync:5:EIO       the 5th fsync fails so
 *   FAULT=before:5:TEXT     the process kills itself (-9) before the 5th rename to a name with TEXT
 *   FAULT=after:5:TEXT      ... and after it
 *
 * FAULT_PROGRAM=NAME: only in programs of this name; others that it starts inherit both. */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static long fail_at = -1, calls;
static int fail_with;
static int is_short, of_memory, ready;
static enum { OF_WRITE, OF_MEMORY, OF_FSYNC, BEFORE_RENAME, AFTER_RENAME } what;
static const char *name_part;

static void setup(void)
{
	const char *text = getenv("FAULT"), *how;

	const char *program = getenv("FAULT_PROGRAM");

	ready = 1;
	if (!text || (program && strcmp(program, program_invocation_short_name) != 0))
		return;
	of_memory = !strncmp(text, "malloc:", 7);
	what = of_memory ? OF_MEMORY : !strncmp(text, "fsync:", 6) ? OF_FSYNC :
		!strncmp(text, "before:", 7) ? BEFORE_RENAME :
		!strncmp(text, "after:", 6) ? AFTER_RENAME : OF_WRITE;
	name_part = strrchr(text, ':') + 1;
	fail_at = strtol(strchr(text, ':') + 1, NULL, 10);
	how = strrchr(text, ':') + 1;
	is_short = !strcmp(how, "short");
	fail_with = !strcmp(how, "ENOSPC") ? ENOSPC : !strcmp(how, "EIO") ? EIO : EINTR;
}

static int is_due(int kind)
{
	if (!ready)
		setup();
	return kind == (int)what && fail_at > 0 && ++calls == fail_at;
}

int fsync(int fd)
{
	int (*real)(int) = dlsym(RTLD_NEXT, "fsync");

	if (is_due(OF_FSYNC)) {
		errno = fail_with;
		return -1;
	}
	return real(fd);
}

int rename(const char *from, const char *to)
{
	int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
	int due, status;

	if (!ready)
		setup();
	due = what >= BEFORE_RENAME && strstr(to, name_part) && is_due(what);
	if (due && what == BEFORE_RENAME)
		raise(SIGKILL);
	status = real(from, to);
	if (due)
		raise(SIGKILL);
	return status;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");

	if (fd > 2 || getenv("FAULT_STDOUT")) {
		if (is_due(OF_WRITE) && !is_short) {
			errno = fail_with;
			return -1;
		}
		if (is_short && !of_memory && calls >= fail_at && len > 1)
			len = 1;
	}
	return real(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "writev");

	if (is_due(OF_WRITE) && !is_short) {
		errno = fail_with;
		return -1;
	}
	if (is_short && !of_memory && calls >= fail_at) {
		while (n > 1 && !iov->iov_len) {
			iov++;
			n--;
		}
		return write(fd, iov->iov_base, iov->iov_len > 1 ? iov->iov_len / 2 : iov->iov_len);
	}
	return real(fd, iov, n);
}

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *malloc(size_t bytes);
void *calloc(size_t n, size_t bytes);
void *realloc(void *p, size_t bytes);

void *malloc(size_t bytes)
{
	return ready && is_due(OF_MEMORY) ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
	return ready && is_due(OF_MEMORY) ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
	return ready && is_due(OF_MEMORY) ? NULL : __libc_realloc(p, bytes);
}

/* Counting starts with main: what the loader allocates is not the program's. */
__attribute__((constructor)) static void begin(void)
{
	setup();
}
