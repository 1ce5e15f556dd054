#include "connect/net_tls.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	LOOK_MS = 100,
	HANDSHAKE_US = 15000000,
	FINISH_US = 30000000,
	STATUS_BYTES_MAX = 512,
	ARGUMENTS_MAX = 12,
};

/* Relays that run, by their plain end.  The descriptors are the process's, and so is this list. */
struct relay {
	struct relay *next;
	int fd, status_fd;
	pid_t pid;
	bool has_met;             /* the handshake's line has been read */
	char said[STATUS_BYTES_MAX];
	size_t said_len;
};

static struct relay *relays;

/* Beside the programs that reach brokers and databases. */
static char *relay_path(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	char *slash;

	if (n < 0)
		return NULL;
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	slash = strrchr(self, '/');
	return slash && strcmp(slash, "/runnel") == 0 ? mem_printf("%s/tls", self)
						      : mem_printf("%s/../libexec/runnel/tls", self);
}

static int start(const char *host, const struct net_options *o, const int fds[3], pid_t *pid,
	struct error *e)
{
	char *path = relay_path();
	const char *argv[ARGUMENTS_MAX] = {"tls", host ? "client" : "server"};
	size_t n = 2;
	pid_t parent = getpid();

	if (host)
		argv[n++] = host;
	if (o->cert) {
		argv[n++] = "--cert";
		argv[n++] = o->cert;
		argv[n++] = "--key";
		argv[n++] = o->key;
	}
	if (o->ca) {
		argv[n++] = "--ca";
		argv[n++] = o->ca;
	}
	*pid = fork();
	if (*pid == 0) {
		/* Above the targets first, so that none is overwritten before it is placed. */
		int high[3];

		for (int i = 0; i < 3; i++)
			high[i] = fcntl(fds[i], F_DUPFD, TLS_STATUS_FD + 1);
		for (int i = 0; i < 3; i++)
			dup2(high[i], TLS_NETWORK_FD + i);
		close_range(TLS_STATUS_FD + 1, UINT_MAX, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
		execv(path, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	mem_free(path);
	return *pid < 0 ? error_errno(e, "TLS: can't start a process") : 0;
}

/* The next line the relay says, without its end.  1: nothing more; -1: waited too long, or ended by
 * alive. */
static int read_line(struct relay *r, int64_t patience_us, const struct net_options *o, char *out,
	struct error *e)
{
	int64_t until = clock_mono_us() + patience_us;

	for (;;) {
		struct pollfd p = {.fd = r->status_fd, .events = POLLIN};
		char *newline = memchr(r->said, '\n', r->said_len);
		ssize_t n;

		if (newline) {
			size_t len = (size_t)(newline - r->said);

			memcpy(out, r->said, len);
			out[len] = '\0';
			r->said_len -= len + 1;
			memmove(r->said, newline + 1, r->said_len);
			return 0;
		}
		if (poll(&p, 1, patience_us ? LOOK_MS : 0) <= 0) { /* or a signal came */
			if (patience_us && o->alive && o->alive(o->context, e) < 0)
				return -1;
			if (clock_mono_us() > until)
				return error_set(e, ERROR_IO, "the peer doesn't answer");
			continue;
		}
		n = r->said_len == sizeof r->said ? 0
			: read(r->status_fd, r->said + r->said_len, sizeof r->said - r->said_len);
		if (n == 0)
			return 1;
		if (n > 0)
			r->said_len += (size_t)n;
	}
}

static void forget(struct relay *r, bool kill_it)
{
	struct relay **at = &relays;

	while (*at && *at != r)
		at = &(*at)->next;
	if (*at)
		*at = r->next;
	if (kill_it)
		kill(r->pid, SIGKILL);
	close(r->status_fd);
	waitpid(r->pid, NULL, 0);
	mem_free(r);
}

/* The handshake's line.  0, or -1 with what failed. */
static int meet(struct relay *r, const struct net_options *o, struct error *e)
{
	char line[STATUS_BYTES_MAX + 1];
	int status = read_line(r, HANDSHAKE_US, o, line, e);

	r->has_met = true;
	if (status < 0)
		return -1;
	if (status)
		return error_set(e, ERROR_IO, "the TLS relay can't be started; it is installed with "
			"runnel, in libexec/runnel/tls");
	return strcmp(line, "ok") == 0 ? 0 : error_set(e, ERROR_IO, "%s", line);
}

int net_tls_wrap(const char *url, const char *host, const struct net_options *o, int *fd,
	struct error *e)
{
	struct relay *r = mem_zero(sizeof *r);
	int pair[2] = {-1, -1}, said[2] = {-1, -1}, network = *fd, status;

	*fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 || pipe2(said, O_CLOEXEC) < 0) {
		error_errno(e, "%s", url);
		close(network);
		if (pair[0] >= 0) {
			close(pair[0]);
			close(pair[1]);
		}
		mem_free(r);
		return -1;
	}
	status = start(host, o, (int[]){network, pair[1], said[1]}, &r->pid, e);
	close(network);
	close(pair[1]);
	close(said[1]);
	if (status < 0) {
		close(pair[0]);
		close(said[0]);
		mem_free(r);
		return -1;
	}
	r->fd = pair[0];
	r->status_fd = said[0];
	r->next = relays;
	relays = r;
	if (host && meet(r, o, e) < 0) {
		forget(r, true);
		close(pair[0]);
		return error_context(e, "%s", url);
	}
	*fd = pair[0];
	return 0;
}

int net_tls_finish(int fd, const struct net_options *o, struct error *e)
{
	char line[STATUS_BYTES_MAX + 1];
	struct relay *r = relays;
	int status = 0;

	while (r && r->fd != fd)
		r = r->next;
	if (!r)
		return 1;
	if (!r->has_met)
		status = meet(r, o, e);
	if (status == 0) {
		status = read_line(r, FINISH_US, o, line, e);
		if (status > 0)
			status = error_set(e, ERROR_IO, "the TLS relay died");
		else if (status == 0 && strcmp(line, "end") != 0)
			status = error_set(e, ERROR_IO, "%s", line);
	}
	forget(r, status < 0);
	return status;
}

int net_tls_drop(int fd, struct error *e)
{
	static const struct net_options none = {.cert = NULL};
	char line[STATUS_BYTES_MAX + 1];
	struct error nothing = ERROR_INIT;
	struct relay *r = relays;
	int status = 0;

	while (r && r->fd != fd)
		r = r->next;
	if (!r)
		return 0;
	while (status == 0 && read_line(r, 0, &none, line, &nothing) == 0) {
		if (strcmp(line, "ok") != 0 && strcmp(line, "end") != 0)
			status = error_set(e, ERROR_IO, "%s", line);
	}
	error_clear(&nothing);
	forget(r, true);
	return status;
}

int net_tls_check(const char *url, const struct net_options *o, struct error *e)
{
	const char *files[] = {o->cert, o->key, o->ca};

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		if (files[i] && access(files[i], R_OK) < 0)
			return error_errno(e, "%s: %s", url, files[i]);
	}
	return 0;
}
