#include "cmd/common/process.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The programs in cmd/ that are stages, from the Makefile: a new one needs no line in here. */
static const char stage_programs[] = " " STAGE_PROGRAMS " ";

enum {
	ANSWER_US = 10000000, /* an interpreter may take its time on a busy machine */
	LEAVE_US = 1000000,
};

/* ---- programs ---- */

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Where this program lies, with its name cut off: "/usr/bin/" and, if it is installed as
 * rn-runnel, the prefix "rn-". */
static size_t own_place(
	const char *own, char *out, size_t cap, const char **prefix, size_t *prefix_len)
{
	ssize_t n = readlink("/proc/self/exe", out, cap - 1);
	size_t len, own_len = strlen(own);
	char *name;

	*prefix_len = 0;
	if (n <= 0)
		return 0;
	out[n] = '\0';
	name = strrchr(out, '/') + 1;
	len = strlen(name);
	if (len > own_len && !strcmp(name + len - own_len, own)) {
		*prefix = name;
		*prefix_len = len - own_len;
	}
	return (size_t)(name - out);
}

static bool is_stage_name(const char *name)
{
	char word[80];

	return *name && !strchr(name, ' ') &&
	       snprintf(word, sizeof word, " %s ", name) < (int)sizeof word &&
	       strstr(stage_programs, word);
}

/* A stage of somebody else's. */
static int find_other(const char *word, struct arena *a, const char **path)
{
	struct stat st;

	if (!strchr(word, '/') || stat(word, &st) < 0 || !S_ISREG(st.st_mode) || access(word, X_OK) < 0)
		return 1;
	*path = arena_strdup(a, word);
	return 2;
}

int process_find(const char *own, const char *word, struct arena *a, const char **path)
{
	char place[4096];
	const char *prefix = "", *name = last_part(word);
	size_t prefix_len, dir = own_place(own, place, sizeof place, &prefix, &prefix_len);

	if ((prefix_len && strncmp(name, prefix, prefix_len) != 0) ||
		!is_stage_name(name + prefix_len))
		return find_other(word, a, path);
	*path = name != word ? arena_strndup(a, word, strlen(word))
			     : arena_printf(a, "%.*s%s", (int)dir, place, word);
	return 0;
}

/* ---- processes ---- */

static void inherit(int fd)
{
	fcntl(fd, F_SETFD, 0);
}

static void redirect(int fd, int to)
{
	if (fd >= 0 && fd != to) {
		dup2(fd, to);
		close(fd);
	}
}

static void become(
	const char *program, const char *const *argv, const struct process_options *o, int line_fd)
{
	const char *log = o->log ? o->log : "/dev/null";
	char number[16];
	sigset_t none;

	setpgid(0, 0);
	/* Runnel's own ask for it themselves; another's may not notice that the line has closed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	redirect(open("/dev/null", O_RDONLY), STDIN_FILENO);
	if (o->mute)
		redirect(open("/dev/null", O_WRONLY), STDOUT_FILENO);
	redirect(o->errors_fd ? o->errors_fd : open(log, O_WRONLY | O_APPEND | O_CREAT, 0600),
		STDERR_FILENO);
	for (size_t i = 0; i < o->fds_len; i++)
		inherit(o->fds[i]);
	inherit(line_fd);
	for (size_t i = 0; i < o->variables_len; i++)
		setenv(o->variables[i].name, o->variables[i].value, 1);
	snprintf(number, sizeof number, "%d", line_fd);
	setenv(LINE_ENVIRONMENT, number, 1);
	if (o->spool)
		setenv("RUNNEL_SPOOL", o->spool, 1);
	execv(program, (char *const *)(uintptr_t)argv);
	_exit(127);
}

int process_start(const char *program, const char *const *argv, const struct process_options *o,
	struct process *out, struct error *e)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return error_errno(e, "can't make a socket pair");
	pid = fork();
	if (pid == 0)
		become(program, argv, o, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return error_errno(e, "can't start %s", program);
	}
	*out = (struct process){.pid = pid, .line = line_new(fds[0])};
	return 0;
}

/* ---- what they are ---- */

static const char *kept(struct arena *a, const char *text)
{
	return text ? arena_strndup(a, text, strlen(text)) : NULL;
}

static void keep_description(
	struct arena *a, const struct line_description *from, struct line_description *to)
{
	struct stage_description *about = &to->about;

	*to = *from;
	to->type = kept(a, from->type);
	about->name = kept(a, about->name);
	about->keeps = kept(a, about->keeps);
	about->guarantee = kept(a, about->guarantee);
	about->writes = kept(a, about->writes);
	for (size_t i = 0; i < DESCRIPTION_INPUTS_MAX; i++) {
		about->inputs[i] = kept(a, about->inputs[i]);
		for (size_t k = 0; k < about->keys_len[i]; k++)
			about->keys[i][k] = kept(a, about->keys[i][k]);
	}
	for (size_t i = 0; i < DESCRIPTION_SIDES_MAX; i++) {
		about->sides[i].path = kept(a, about->sides[i].path);
		about->sides[i].format = kept(a, about->sides[i].format);
	}
	for (size_t i = 0; i < about->branches_len; i++)
		about->branches[i] = kept(a, about->branches[i]);
}

/* Waits until the line has something, or is closed.  False: nothing for too long. */
static bool await(const struct process *x, int64_t until_us)
{
	struct pollfd p = {.fd = line_fd(x->line), .events = POLLIN};
	int64_t left_us;

	do {
		left_us = until_us - clock_mono_us();
		if (poll(&p, 1, left_us > 0 ? (int)(left_us / 1000) + 1 : 0) > 0)
			return true;
	} while (left_us > 0);
	return false;
}

static int no_stage(const struct process_question *q, struct error *e, const char *why)
{
	return error_set(e, ERROR_USAGE, "it is no stage: %s\n"
		"a program that speaks frames says what it is on the line in RUNNEL_LINE, see runnel-stage(5)",
		why);
}

/* A program that is being asked. */
struct asked {
	struct process process;
	int errors;        /* what it writes to standard error */
	int status;        /* as of waitpid, once ended */
	bool ended;
};

/* It leaves because the line is closed, or has gone already; else, after a while, it is made to. */
static void let_go(struct asked *x)
{
	int64_t until_us = clock_mono_us() + LEAVE_US;
	pid_t pid = x->process.pid;

	while (!x->ended && !(x->ended = waitpid(pid, &x->status, WNOHANG) == pid) &&
		clock_mono_us() < until_us)
		poll(NULL, 0, 1);
	if (x->ended)
		return;
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	waitpid(pid, &x->status, 0);
	x->ended = true;
}

/* The last line of what it wrote to standard error. */
static void last_line(const struct asked *x, char *out, size_t cap)
{
	char bytes[4096], *line;
	ssize_t n, len = 0;

	while ((n = read(x->errors, bytes + len, sizeof bytes - 1 - (size_t)len)) > 0)
		len += n;
	bytes[len] = '\0';
	while (len && bytes[len - 1] == '\n')
		bytes[--len] = '\0';
	line = strrchr(bytes, '\n');
	snprintf(out, cap, "%.300s", line ? line + 1 : bytes);
}

/* It closed the line before it said anything: because it was killed, couldn't be started, or is none. */
static int gone(struct asked *x, const struct process_question *q, struct error *e)
{
	char words[320], why[400];

	let_go(x);
	if (WIFSIGNALED(x->status))
		return error_set(e, ERROR_IO, "%s was killed by signal %d before it said what it is",
			q->program, WTERMSIG(x->status));
	if (WEXITSTATUS(x->status) == 127)
		return error_set(e, ERROR_IO, "%s can't be started: is it installed, and what it needs?",
			q->program);
	last_line(x, words, sizeof words);
	snprintf(why, sizeof why, "it ended without saying what it is, with status %d%s%s",
		WEXITSTATUS(x->status), *words ? ": " : "", words);
	return no_stage(q, e, why);
}

/* 0: what it said is in *m; -1: it said nothing that a stage would. */
static int hear_first(struct asked *x, const struct process_question *q, int64_t until_us,
	struct line_message *m, struct error *e)
{
	for (;;) {
		struct error why = ERROR_INIT;

		if (!await(&x->process, until_us))
			return no_stage(q, e, "it didn't say for 10 s what it is");
		switch (line_read(x->process.line, false, m, &why)) {
		case LINE_MESSAGE: return 0;
		case LINE_AGAIN: break;
		case LINE_ERROR: return no_stage(q, e, why.text);
		case LINE_CLOSED: return gone(x, q, e);
		}
	}
}

static int hear_description(struct asked *x, struct arena *a, struct process_question *q,
	int64_t until_us, struct error *e)
{
	struct line_message m;

	if (hear_first(x, q, until_us, &m, e) < 0)
		return -1;
	if (m.kind == LINE_FAILED)
		return error_set(e, (enum error_code)m.status, "%s", m.text);
	if (m.kind != LINE_DESCRIPTION)
		return no_stage(q, e, "its first message is no DESCRIPTION");
	if (m.description.version != LINE_VERSION)
		return error_set(e, ERROR_USAGE, "it speaks version %llu of the line, this program version %d",
			(unsigned long long)m.description.version, LINE_VERSION);
	keep_description(a, &m.description, &q->answer);
	return 0;
}

static int ask(struct process_question *q, struct asked *x, struct error *e)
{
	struct process_options o = {
		.variables = q->variables, .variables_len = q->variables_len, .mute = true};
	int ends[2], status;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(e, "can't make a pipe");
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	o.errors_fd = ends[1];
	*x = (struct asked){.errors = ends[0]};
	status = process_start(q->program, q->argv, &o, &x->process, e);
	close(ends[1]);
	if (status < 0)
		close(ends[0]);
	return status;
}

int process_ask(struct process_question *questions, size_t n, struct arena *a, size_t *failed,
	struct error *e)
{
	struct asked *asked = mem_zero(n * sizeof *asked);
	int64_t until_us = clock_mono_us() + ANSWER_US;
	size_t started = 0;
	int status = 0;

	/* All at once: they start while the first is being heard. */
	for (; started < n && status == 0; started++) {
		status = ask(&questions[started], &asked[started], e);
		*failed = started;
	}
	if (status < 0)
		started--;
	for (size_t i = 0; i < started; i++) {
		if (status == 0) {
			*failed = i;
			status = hear_description(&asked[i], a, &questions[i], until_us, e);
		}
		line_free(asked[i].process.line);
	}
	for (size_t i = 0; i < started; i++) {
		let_go(&asked[i]);
		close(asked[i].errors);
	}
	mem_free(asked);
	return status;
}
