#include "cmd/runnel/launch.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The programs in cmd/ that are stages, from the Makefile: a new one needs no line in here. */
static const char stage_programs[] = " " STAGE_PROGRAMS " ";

void launch_raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* ---- programs ---- */

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Where this program lies, with its name cut off: "/usr/bin/" and, if it is installed as
 * rn-runnel, the prefix "rn-". */
static size_t own_place(char *out, size_t cap, const char **prefix, size_t *prefix_len)
{
	static const char own_name[] = "runnel";
	ssize_t n = readlink("/proc/self/exe", out, cap - 1);
	size_t len;
	char *name;

	*prefix_len = 0;
	if (n <= 0)
		return 0;
	out[n] = '\0';
	name = strrchr(out, '/') + 1;
	len = strlen(name);
	if (len > sizeof own_name - 1 && !strcmp(name + len - (sizeof own_name - 1), own_name)) {
		*prefix = name;
		*prefix_len = len - (sizeof own_name - 1);
	}
	return (size_t)(name - out);
}

static bool is_stage_name(const char *name)
{
	char word[80];

	return *name && !strchr(name, ' ') &&
		snprintf(word, sizeof word, " %s ", name) < (int)sizeof word && strstr(stage_programs, word);
}

int launch_find(void *context, const char *word, struct arena *a, const char **path)
{
	char own[4096];
	const char *prefix = "", *name = last_part(word);
	size_t prefix_len, dir = own_place(own, sizeof own, &prefix, &prefix_len);

	if (prefix_len && strncmp(name, prefix, prefix_len) != 0)
		return 1;
	if (!is_stage_name(name + prefix_len))
		return 1;
	*path = name != word ? arena_strndup(a, word, strlen(word)) :
		arena_printf(a, "%.*s%s", (int)dir, own, word);
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

static const struct pipeline_variable *variables;
static size_t variables_len;

void launch_environment(const struct pipeline_variable *given, size_t len)
{
	variables = given;
	variables_len = len;
}

static void become(const struct plan_stage *s, const struct launch_options *o, int line_fd)
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
	for (size_t i = 0; i < variables_len; i++)
		setenv(variables[i].name, variables[i].value, 1);
	snprintf(number, sizeof number, "%d", line_fd);
	setenv(LINE_ENVIRONMENT, number, 1);
	if (o->spool)
		setenv("RUNNEL_SPOOL", o->spool, 1);
	execv(s->program, (char *const *)(uintptr_t)s->argv);
	_exit(127);
}

int launch(const struct plan_stage *s, const struct launch_options *o, struct process *out,
	struct error *e)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return error_errno(e, "can't make a socket pair");
	pid = fork();
	if (pid == 0)
		become(s, o, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return error_errno(e, "can't start %s", s->program);
	}
	*out = (struct process){.pid = pid, .line = line_new(fds[0])};
	return 0;
}

/* ---- what they are ---- */

static const char *kept(struct arena *a, const char *text)
{
	return text ? arena_strndup(a, text, strlen(text)) : NULL;
}

static void keep_description(struct arena *a, const struct line_description *from,
	struct line_description *to)
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
}

static int hear_description(struct process *x, struct arena *a, struct plan_stage *s,
	struct error *e)
{
	struct line_message m;

	switch (line_read(x->line, true, &m, e)) {
	case LINE_MESSAGE: break;
	case LINE_ERROR: return -1;
	case LINE_AGAIN:
	case LINE_CLOSED:
		return error_set(e, ERROR_IO, "%s ended without a word: is it installed, and of this version?",
			s->program);
	}
	if (m.kind == LINE_FAILED)
		return error_set(e, (enum error_code)m.status, "%s", m.text);
	if (m.kind != LINE_DESCRIPTION)
		return error_set(e, ERROR_IO, "%s doesn't speak as a stage of this version does",
			s->program);
	keep_description(a, &m.description, &s->d);
	s->described = true;
	return 0;
}

int launch_describe(void *context, struct plan *p, size_t first, size_t *failed, struct error *e)
{
	struct launch_options o = {.log = NULL};
	struct process processes[PLAN_STAGES_MAX];
	size_t started = first;
	int status = 0;

	MUST(p->stages_len <= PLAN_STAGES_MAX);
	/* All at once: they start while the first is being heard. */
	for (; started < p->stages_len && status == 0; started++) {
		status = launch(&p->stages[started], &o, &processes[started], e);
		*failed = started;
	}
	if (status < 0)
		started--;
	for (size_t i = first; i < started; i++) {
		if (status == 0) {
			*failed = i;
			status = hear_description(&processes[i], p->arena, &p->stages[i], e);
		}
		line_free(processes[i].line);
	}
	for (size_t i = first; i < started; i++)
		waitpid(processes[i].pid, NULL, 0);
	return status;
}
