#include "cmd/common/process.h"

#include "libcore/base/memory.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The programs in cmd/ that are stages, from the Makefile: a new one needs no line in here. */
static const char stage_programs[] = " " STAGE_PROGRAMS " ";

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

int process_find(const char *own, const char *word, struct arena *a, const char **path)
{
	char place[4096];
	const char *prefix = "", *name = last_part(word);
	size_t prefix_len, dir = own_place(own, place, sizeof place, &prefix, &prefix_len);

	if (prefix_len && strncmp(name, prefix, prefix_len) != 0)
		return 1;
	if (!is_stage_name(name + prefix_len))
		return 1;
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
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	redirect(open("/dev/null", O_RDONLY), STDIN_FILENO);
	redirect(open(log, O_WRONLY | O_APPEND | O_CREAT, 0600), STDERR_FILENO);
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

static int hear_description(
	struct process *x, struct arena *a, struct process_question *q, struct error *e)
{
	struct line_message m;

	switch (line_read(x->line, true, &m, e)) {
	case LINE_MESSAGE: break;
	case LINE_ERROR: return -1;
	case LINE_AGAIN:
	case LINE_CLOSED:
		return error_set(e, ERROR_IO,
			"%s ended without a word: is it installed, and of this version?",
			q->program);
	}
	if (m.kind == LINE_FAILED)
		return error_set(e, (enum error_code)m.status, "%s", m.text);
	if (m.kind != LINE_DESCRIPTION)
		return error_set(e, ERROR_IO, "%s doesn't speak as a stage of this version does",
			q->program);
	keep_description(a, &m.description, &q->answer);
	return 0;
}

int process_ask(struct process_question *questions, size_t n, struct arena *a, size_t *failed,
	struct error *e)
{
	struct process *processes = mem_zero(n * sizeof *processes);
	size_t started = 0;
	int status = 0;

	/* All at once: they start while the first is being heard. */
	for (; started < n && status == 0; started++) {
		struct process_question *q = &questions[started];
		struct process_options o = {
			.variables = q->variables, .variables_len = q->variables_len};

		status = process_start(q->program, q->argv, &o, &processes[started], e);
		*failed = started;
	}
	if (status < 0)
		started--;
	for (size_t i = 0; i < started; i++) {
		if (status == 0) {
			*failed = i;
			status = hear_description(&processes[i], a, &questions[i], e);
		}
		line_free(processes[i].line);
	}
	for (size_t i = 0; i < started; i++)
		waitpid(processes[i].pid, NULL, 0);
	mem_free(processes);
	return status;
}
