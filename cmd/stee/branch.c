#include "cmd/stee/branch.h"

#include "cmd/common/process.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct task {
	pid_t pid;
	const char *name; /* as it was written */
};

struct branch {
	struct pipeline_source source;
	struct pipeline text;
	struct task *tasks;
	size_t tasks_len, tasks_cap;
	int alive; /* the end that every process of it holds */
};

static struct branch *branches;
static size_t branches_len;
static struct arena arena = ARENA_INIT;

static const char *environment(void *context, const char *name)
{
	return getenv(name);
}

/* ---- what they are ---- */

/* A stage in the text, and what it says of itself. */
struct asked {
	const struct branch *branch;
	const struct pipeline_stage *stage;
	bool first, last; /* of its pipeline */
	bool inner;       /* that pipeline is one in <(...) */
};

struct questions {
	struct asked *asked;
	struct process_question *items;
	size_t len, asked_cap, items_cap;
};

static int refuse(const struct asked *x, const char *hint, struct error *e, const char *what)
{
	return pipeline_error(&x->branch->source, x->stage->place, hint, e, "%s %s",
		x->stage->arguments[0].text, what);
}

static int add_question(struct questions *q, const struct asked *x, struct error *e)
{
	const struct pipeline_stage *s = x->stage;
	const char **argv = ARENA_ARRAY(&arena, const char *, s->arguments_len + 1), *program;

	if (process_find("stee", s->arguments[0].text, &arena, &program) == 1)
		return refuse(x, "what is in a stee's argument consists of Runnel's stages only", e,
			"is no stage");
	for (size_t i = 0; i < s->arguments_len; i++)
		argv[i] = s->arguments[i].text;
	MEM_GROW(q->asked, q->asked_cap, q->len + 1);
	MEM_GROW(q->items, q->items_cap, q->len + 1);
	q->asked[q->len] = *x;
	q->items[q->len++] = (struct process_question){.program = program,
		.argv = argv,
		.variables = x->branch->text.variables,
		.variables_len = x->branch->text.variables_len};
	return 0;
}

static int add_questions(struct questions *q, const struct branch *b, const struct pipeline *p,
	bool inner, struct error *e)
{
	for (size_t i = 0; i < p->stages_len; i++) {
		const struct pipeline_stage *s = &p->stages[i];
		struct asked x = {.branch = b,
			.stage = s,
			.first = i == 0,
			.last = i + 1 == p->stages_len,
			.inner = inner};

		if (add_question(q, &x, e) < 0)
			return -1;
		for (size_t k = 1; k < s->arguments_len; k++) {
			if (s->arguments[k].source &&
				add_questions(q, b, s->arguments[k].source, true, e) < 0)
				return -1;
		}
	}
	return 0;
}

/* Whether it stands where it can: as a supervisor's plan has it. */
static int check_place(const struct asked *x, const struct line_description *d, struct error *e)
{
	bool in_front = !x->first || !x->inner;

	if (!d->inputs && in_front)
		return refuse(x, "the rows come from stee", e,
			"is a source: it reads nothing from a pipe");
	if (d->inputs && !in_front && !d->about.pipe_optional)
		return refuse(x, "put ssource in front: ssource FILE | ...", e, "has no input");
	if (!d->outputs && !x->last)
		return refuse(x, "to go on behind it: stee '... | ssink FILE'", e,
			"is a sink: nothing comes out of it");
	if (!d->outputs && x->inner)
		return refuse(x, NULL, e, "is a sink: nothing can be read from it");
	if (d->outputs && x->last && !x->inner)
		return refuse(x, "put ssink behind: ... | ssink FILE", e,
			"ends the pipeline: its rows go nowhere");
	if (x->last && d->about.standard_output)
		return refuse(x, "name one: ssink FILE", e,
			"has no OUTPUT: standard output belongs to the pipeline around this one");
	return 0;
}

/* Each would take the other's hidden files for its own. */
static int check_writes(const struct questions *q, size_t sink, struct error *e)
{
	const char *own = q->items[sink].answer.about.writes;

	for (size_t i = 0; own && i < sink; i++) {
		const char *other = q->items[i].answer.about.writes;

		if (other && !strcmp(other, own))
			return pipeline_error(&q->asked[sink].branch->source,
				q->asked[sink].stage->place, "give each its own", e,
				"%s is written to twice", own);
	}
	return 0;
}

static int ask(struct questions *q, struct error *e)
{
	size_t failed = 0;

	if (process_ask(q->items, q->len, &arena, &failed, e) < 0) {
		const struct asked *x = &q->asked[failed];
		struct error cause = *e;
		char *hint = strchr(cause.text, '\n');

		if (cause.code != ERROR_USAGE)
			return -1;
		if (hint)
			*hint++ = '\0';
		*e = (struct error)ERROR_INIT;
		return pipeline_error(&x->branch->source, x->stage->place, hint, e, "%s: %s",
			x->stage->arguments[0].text, cause.text);
	}
	for (size_t i = 0; i < q->len; i++) {
		if (check_place(&q->asked[i], &q->items[i].answer, e) < 0 ||
			check_writes(q, i, e) < 0)
			return -1;
	}
	return 0;
}

int branches_read(const char *const *texts, size_t n, struct error *e)
{
	struct questions q = {.len = 0};
	int status = 0;

	branches = mem_zero(n * sizeof *branches);
	branches_len = n;
	for (size_t i = 0; i < n && status == 0; i++) {
		struct branch *b = &branches[i];

		b->source = (struct pipeline_source){.text = texts[i],
			.len = strlen(texts[i]),
			.name = arena_printf(&arena, "pipeline %zu", i + 1),
			.reads_stage = true,
			.variable = environment};
		status = pipeline_parse(&b->source, &arena, &b->text, e);
		if (status == 0)
			status = add_questions(&q, b, &b->text, false, e);
	}
	if (status == 0)
		status = ask(&q, e);
	mem_free(q.asked);
	mem_free(q.items);
	return status;
}

/* ---- processes ---- */

struct start {
	struct branch *branch;
	int in, out; /* its standard input and output */
	bool is_source;
	int fds[PIPELINE_STAGES_MAX]; /* ... and what stands in its <(...) */
	size_t fds_len;
};

static void become(const struct start *s, const char *program, const char *const *argv)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* An interrupt that comes before it catches them: who reads drains, as it would after. */
	if (!s->is_source)
		signal(SIGINT, SIG_IGN);
	dup2(s->in, STDIN_FILENO);
	dup2(s->out, STDOUT_FILENO);
	fcntl(s->branch->alive, F_SETFD, 0);
	for (size_t i = 0; i < s->fds_len; i++)
		fcntl(s->fds[i], F_SETFD, 0);
	for (size_t i = 0; i < s->branch->text.variables_len; i++)
		setenv(s->branch->text.variables[i].name, s->branch->text.variables[i].value, 1);
	execv(program, (char *const *)(uintptr_t)argv);
	fprintf(stderr, "stee: error: can't start %s: %s\n", program, strerror(errno));
	_exit(127);
}

static int start_pipeline(
	struct branch *b, const struct pipeline *p, int in, int out, struct error *e);

/* The pipeline of an argument, which becomes the path that it is read by. */
static int start_substitution(struct start *s, const struct pipeline_argument *from,
	const char **argument, struct error *e)
{
	int ends[2], nothing, status;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(e, "can't make a pipe");
	s->fds[s->fds_len++] = ends[0];
	*argument = arena_printf(&arena, "/dev/fd/%d", ends[0]);
	nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	status = nothing < 0 ? error_errno(e, "/dev/null: can't open")
			     : start_pipeline(s->branch, from->source, nothing, ends[1], e);
	if (nothing >= 0)
		close(nothing);
	close(ends[1]);
	return status;
}

static int start_stage(struct start *s, const struct pipeline_stage *stage, struct error *e)
{
	const char **argv = ARENA_ARRAY(&arena, const char *, stage->arguments_len + 1), *program;
	struct branch *b = s->branch;
	pid_t pid;

	for (size_t i = 0; i < stage->arguments_len; i++) {
		argv[i] = stage->arguments[i].text;
		if (stage->arguments[i].source &&
			start_substitution(s, &stage->arguments[i], &argv[i], e) < 0)
			return -1;
	}
	MUST(process_find("stee", argv[0], &arena, &program) != 1);
	pid = fork();
	if (pid == 0)
		become(s, program, argv);
	if (pid < 0)
		return error_errno(e, "can't start %s", program);
	MEM_GROW(b->tasks, b->tasks_cap, b->tasks_len + 1);
	b->tasks[b->tasks_len++] = (struct task){pid, stage->arguments[0].text};
	return 0;
}

/* Neither in nor out is closed here. */
static int start_pipeline(
	struct branch *b, const struct pipeline *p, int in, int out, struct error *e)
{
	int from = in, status = 0;

	for (size_t i = 0; i < p->stages_len && status == 0; i++) {
		struct start s = {
			.branch = b, .in = from, .out = out, .is_source = i == 0 && p != &b->text};
		bool last = i + 1 == p->stages_len;
		int ends[2] = {-1, -1};

		if (!last && pipe2(ends, O_CLOEXEC) < 0)
			status = error_errno(e, "can't make a pipe");
		s.out = last ? out : ends[1];
		if (status == 0)
			status = start_stage(&s, &p->stages[i], e);
		for (size_t k = 0; k < s.fds_len; k++)
			close(s.fds[k]);
		if (from != in)
			close(from);
		if (!last)
			close(ends[1]);
		from = ends[0];
	}
	if (status < 0 && from >= 0 && from != in)
		close(from);
	return status;
}

int branch_open(size_t branch, int *fd, int *over, struct error *e)
{
	struct branch *b = &branches[branch];
	int ends[2], life[2], nothing = open("/dev/null", O_WRONLY | O_CLOEXEC), status;

	if (nothing < 0)
		return error_errno(e, "/dev/null: can't open");
	if (pipe2(ends, O_CLOEXEC) < 0 || pipe2(life, O_CLOEXEC) < 0)
		return error_errno(e, "can't make a pipe");
	b->alive = life[1];
	status = start_pipeline(b, &b->text, ends[0], nothing, e);
	close(nothing);
	close(ends[0]);
	close(life[1]);
	*fd = ends[1];
	*over = life[0];
	return status;
}

/* 0, or as a shell would say: the status, or 128 and the signal. */
static int wait_task(const struct task *t)
{
	int status;

	while (waitpid(t->pid, &status, 0) < 0) {
		if (errno != EINTR)
			return ERROR_IO;
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int fail(size_t branch, const char *stage, int status, struct error *e)
{
	enum error_code code = ERROR_IO;

	if ((status >= ERROR_DATA && status <= ERROR_IO) || status == ERROR_INTERRUPTED)
		code = (enum error_code)status;
	error_set(
		e, code, "pipeline %zu failed: %s ended with status %d", branch + 1, stage, status);
	return error_hint(e, "  %s", branches[branch].source.text);
}

int branch_wait(size_t branch, struct error *e)
{
	struct branch *b = &branches[branch];
	const char *stage = NULL;
	int status = 0;

	/* The cause is who did not fail because of the stage in front; else the last, as for
	 * pipefail. */
	for (size_t i = 0; i < b->tasks_len; i++) {
		int own = wait_task(&b->tasks[i]);

		if (own && (!status || status == ERROR_UPSTREAM || own != ERROR_UPSTREAM)) {
			status = own;
			stage = b->tasks[i].name;
		}
	}
	b->tasks_len = 0;
	return status ? fail(branch, stage, status, e) : 0;
}

void branches_clear(void)
{
	for (size_t i = 0; i < branches_len; i++)
		mem_free(branches[i].tasks);
	mem_free(branches);
	arena_clear(&arena);
}
