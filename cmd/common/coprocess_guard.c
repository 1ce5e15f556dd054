#include "cmd/common/coprocess_guard.h"

#include "libcore/base/buf.h"
#include "libcore/stage/line.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	TURN_MS = 50,            /* a command may end while a child of its holds its standard error */
	LINE_BYTES_MAX = 16 << 10, /* of standard error, before it is written without its end */
};

/* ---- in the guard ---- */

/* The stage has died, or wants this to end: the group with the guard in it. */
static void on_death(int signo)
{
	(void)signo;
	kill(0, SIGKILL);
}

/* Edges, the line to the supervisor, files: whoever held one open would keep others from seeing
 * their end. */
static void close_others(int keep, int also)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		int fd = (int)strtol(entry->d_name, NULL, 10);

		if (fd > STDERR_FILENO && fd != keep && fd != also && fd != dirfd(d))
			close(fd);
	}
	if (d)
		closedir(d);
}

static void default_signals(void)
{
	static const int changed[] = {SIGINT, SIGTERM, SIGPIPE, SIGUSR1, SIGXFSZ, SIGCHLD, SIGHUP};
	sigset_t none;

	for (size_t i = 0; i < sizeof changed / sizeof *changed; i++)
		signal(changed[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void run_command(const struct coprocess_guard *g, int err)
{
	char number[16];

	dup2(err, STDERR_FILENO);
	close(err);
	signal(SIGTERM, SIG_DFL);
	unsetenv(LINE_ENVIRONMENT);
	snprintf(number, sizeof number, "%u", g->subtask);
	setenv("RUNNEL_STAGE", g->name, 1);
	setenv("RUNNEL_SUBTASK", number, 1);
	execl("/bin/sh", "sh", "-c", g->command, (char *)NULL);
	_exit(127);
}

static void put_out(struct buf *out)
{
	size_t at = 0;

	while (at < out->len) {
		ssize_t n = write(STDERR_FILENO, out->data + at, out->len - at);

		if (n < 0 && errno != EINTR)
			break; /* nobody reads it: then it is lost, as it would be without the guard */
		at += n > 0 ? (size_t)n : 0;
	}
	buf_reset(out);
}

struct relay {
	const char *name;
	struct buf line; /* begun */
};

static void relay_take(struct relay *r, const char *bytes, size_t len)
{
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < len; i++) {
		buf_put_byte(&r->line, (uint8_t)bytes[i]);
		if (bytes[i] != '\n' && r->line.len < LINE_BYTES_MAX)
			continue;
		buf_printf(&out, "%s: exec: ", r->name);
		buf_put(&out, r->line.data, r->line.len);
		buf_reset(&r->line);
	}
	put_out(&out);
	buf_clear(&out);
}

/* Hands on what is there now.  1: it was the end. */
static int relay_turn(struct relay *r, int err, int wait_ms)
{
	struct pollfd p = {.fd = err, .events = POLLIN};
	char bytes[4096];
	ssize_t n;

	if (poll(&p, 1, wait_ms) <= 0)
		return 0;
	n = read(err, bytes, sizeof bytes);
	if (n > 0)
		relay_take(r, bytes, (size_t)n);
	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

static int status_of(int raw)
{
	return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
}

static int watch(pid_t command, int err, const char *name)
{
	struct relay r = {.name = name, .line = BUF_INIT};
	struct pollfd left = {.fd = err, .events = POLLIN};
	bool over = false;
	int raw = 0;

	for (;;) {
		pid_t ended = waitpid(command, &raw, over ? 0 : WNOHANG);

		if (ended == command)
			break;
		if (ended < 0 && errno != EINTR)
			return 127;
		if (!over)
			over = relay_turn(&r, err, TURN_MS);
	}
	while (!over && poll(&left, 1, 0) > 0)
		over = relay_turn(&r, err, 0);
	if (r.line.len)
		relay_take(&r, "\n", 1);
	return status_of(raw);
}

static void guard(const struct coprocess_guard *g, pid_t stage, int in, int out)
{
	int err[2], null;
	pid_t command;

	setpgid(0, 0);
	default_signals();
	signal(SIGTERM, on_death);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != stage)
		_exit(127);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	if (pipe2(err, O_CLOEXEC) < 0)
		_exit(127);
	close_others(err[0], err[1]);
	command = fork();
	if (command == 0)
		run_command(g, err[1]);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	close(err[1]);
	_exit(command < 0 ? 127 : watch(command, err[0], g->name));
}

/* ---- in the stage ---- */

static int make_pipe(int ends[2], int ours)
{
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	/* Ours alone: the other end is the command's, which expects it to block. */
	return fcntl(ends[ours], F_SETFL, O_NONBLOCK);
}

int coprocess_guard_start(struct coprocess_guard *g, struct error *e)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1};
	pid_t stage = getpid();

	if (make_pipe(in, 1) < 0 || make_pipe(out, 0) < 0) {
		error_errno(e, "--exec: can't make a pipe");
		goto failed;
	}
	g->pid = fork();
	if (g->pid == 0)
		guard(g, stage, in[0], out[1]);
	if (g->pid < 0) {
		error_errno(e, "--exec: can't start '%s'", g->command);
		goto failed;
	}
	setpgid(g->pid, g->pid); /* whoever comes first */
	close(in[0]);
	close(out[1]);
	g->to = in[1];
	g->from = out[0];
	return 0;
failed:
	for (size_t i = 0; i < 2; i++) {
		if (in[i] >= 0)
			close(in[i]);
		if (out[i] >= 0)
			close(out[i]);
	}
	return -1;
}

int coprocess_guard_reap(pid_t pid, int *status)
{
	siginfo_t info = {.si_pid = 0};
	int raw;

	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return -1;
	if (!info.si_pid)
		return 1;
	kill(-pid, SIGKILL); /* while the number is still ours */
	if (waitpid(pid, &raw, 0) != pid)
		return -1;
	*status = status_of(raw);
	return 0;
}

void coprocess_guard_kill(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}
