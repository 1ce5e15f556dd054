/* For LD_PRELOAD: makes the n-th call of something fail.
 *
 *   FAULT=write:5:ENOSPC    the 5th write or writev to a descriptor above 2 fails so
 *   FAULT=write:5:short     ... takes one byte only, and so do all later ones
 *   FAULT=write:5:EINTR     ... is interrupted, once
 *   FAULT=malloc:5          the 5th malloc, calloc or realloc gives nothing */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static long fail_at = -1, calls;
static int fail_with;
static int is_short, of_memory, ready;

static void setup(void)
{
	const char *text = getenv("FAULT"), *how;

	ready = 1;
	if (!text)
		return;
	of_memory = !strncmp(text, "malloc:", 7);
	fail_at = strtol(strchr(text, ':') + 1, NULL, 10);
	how = strrchr(text, ':') + 1;
	is_short = !strcmp(how, "short");
	fail_with = !strcmp(how, "ENOSPC") ? ENOSPC : !strcmp(how, "EIO") ? EIO : EINTR;
}

static int is_due(int memory)
{
	if (!ready)
		setup();
	return memory == of_memory && fail_at > 0 && ++calls == fail_at;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");

	if (fd > 2 || getenv("FAULT_STDOUT")) {
		if (is_due(0) && !is_short) {
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

	if (is_due(0) && !is_short) {
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
	return ready && is_due(1) ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
	return ready && is_due(1) ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
	return ready && is_due(1) ? NULL : __libc_realloc(p, bytes);
}

/* Counting starts with main: what the loader allocates is not the program's. */
__attribute__((constructor)) static void begin(void)
{
	setup();
}
