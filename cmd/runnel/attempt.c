#include "cmd/runnel/attempt.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/frame/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	/* All pipes of a job together: an ordinary user may have 64 MiB before the kernel shrinks new
	 * ones to a page. */
	PIPE_BYTES_ALL = 32 << 20,
	PIPE_BYTES_MAX = 1 << 20,
	PIPE_BYTES_MIN = 64 << 10,
	PIPES_MAX = PIPE_BYTES_ALL / PIPE_BYTES_MIN, /* more edges are socket pairs */
	/* After a stage has failed because of the one in front, so long is waited for that one's own
	 * words. */
	CAUSE_WAIT_US = 500000,
	/* A stage that gives no sign but uses the processor is working; so many times the heartbeat. */
	BUSY_PATIENCE = 20,
	LAST_WORDS_BYTES = 1024,
};

/* ---- edges ---- */

struct edges {
	int *fds;         /* [2 * edge]: read end, write end; edges of all inputs one after another */
	size_t len;
	/* First edge of every (stage, input): subtasks in front times subtasks behind, row by row. */
	size_t *first;
};

static size_t edge_slot(size_t stage, unsigned input)
{
	return stage * DESCRIPTION_INPUTS_MAX + input;
}

static size_t count_edges(const struct plan *p, struct edges *out)
{
	size_t n = 0;

	out->first = mem_zero(p->stages_len * DESCRIPTION_INPUTS_MAX * sizeof *out->first);
	for (size_t s = 0; s < p->stages_len; s++) {
		for (unsigned i = 0; i < DESCRIPTION_INPUTS_MAX; i++) {
			out->first[edge_slot(s, i)] = n;
			if (p->stages[s].inputs[i].stage >= 0)
				n += (size_t)p->stages[p->stages[s].inputs[i].stage].subtasks *
					p->stages[s].subtasks;
		}
	}
	return n;
}

static int open_edge(int fds[2], size_t edges, struct error *e)
{
	int bytes = edges ? PIPE_BYTES_ALL / (int)edges : 0;

	if (edges > PIPES_MAX) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
			return error_errno(e, "can't make a socket pair for an edge");
		return 0;
	}
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_errno(e, "can't make a pipe for an edge");
	bytes = bytes > PIPE_BYTES_MAX ? PIPE_BYTES_MAX : bytes;
	fcntl(fds[1], F_SETPIPE_SZ, bytes); /* what the system doesn't allow stays as it is */
	return 0;
}

static void close_edges(struct edges *x)
{
	for (size_t i = 0; i < 2 * x->len; i++)
		close(x->fds[i]);
	mem_free(x->fds);
	mem_free(x->first);
}

static int open_edges(const struct plan *p, struct edges *out, struct error *e)
{
	size_t n = count_edges(p, out);

	out->len = 0;
	out->fds = mem_alloc((2 * n + 1) * sizeof *out->fds);
	for (size_t i = 0; i < n; i++) {
		if (open_edge(out->fds + 2 * i, n, e) < 0) {
			close_edges(out);
			return -1;
		}
		out->len++;
	}
	return 0;
}

/* ---- a task's plan ---- */

static const char *input_name(struct attempt *a, const struct plan_stage *front, uint32_t subtask)
{
	return front->subtasks == 1 ? front->name :
		arena_printf(&a->arena, "%s (subtask %u)", front->name, subtask);
}

static void plan_inputs(struct attempt *a, const struct edges *x, const struct attempt_task *t,
	struct line_plan *out)
{
	const struct plan *p = a->o.plan;
	const struct plan_stage *s = &p->stages[t->stage];

	for (unsigned i = 0; i < s->d.inputs; i++) {
		const struct plan_stage *front;
		bool forward;

		if (s->inputs[i].stage < 0)
			continue;
		front = &p->stages[s->inputs[i].stage];
		forward = plan_exchange(p, t->stage, i) == PLAN_FORWARD;
		for (uint32_t f = 0; f < front->subtasks; f++) {
			size_t edge = x->first[edge_slot(t->stage, i)] + f * s->subtasks + t->subtask;

			if (forward && f != t->subtask)
				continue;
			out->inputs[out->inputs_len++] = (struct line_input){.input = i,
				.fd = x->fds[2 * edge], .name = input_name(a, front, f)};
		}
	}
}

/* The stage and its input that reads this output; false: nobody. */
static bool find_reader(const struct plan *p, size_t stage, unsigned output, size_t *reader,
	unsigned *input)
{
	for (size_t s = 0; s < p->stages_len; s++) {
		for (unsigned i = 0; i < DESCRIPTION_INPUTS_MAX; i++) {
			if (p->stages[s].inputs[i].stage == (int)stage &&
				p->stages[s].inputs[i].output == output) {
				*reader = s;
				*input = i;
				return true;
			}
		}
	}
	return false;
}

static void plan_output(struct attempt *a, const struct edges *x, const struct attempt_task *t,
	unsigned output, struct line_output *out)
{
	const struct plan *p = a->o.plan;
	const struct plan_stage *behind;
	enum plan_exchange exchange;
	unsigned input;
	size_t reader;

	if (!find_reader(p, t->stage, output, &reader, &input))
		return;
	behind = &p->stages[reader];
	exchange = plan_exchange(p, reader, input);
	for (uint32_t b = 0; b < behind->subtasks; b++) {
		size_t edge = x->first[edge_slot(reader, input)] + t->subtask * behind->subtasks + b;

		if (exchange != PLAN_FORWARD || b == t->subtask)
			out->fds[out->fds_len++] = x->fds[2 * edge + 1];
	}
	if (exchange != PLAN_BY_KEY)
		return;
	out->keys_len = behind->d.about.keys_len[input];
	for (size_t k = 0; k < out->keys_len; k++)
		out->keys[k] = behind->d.about.keys[input][k];
}

static int make_plan(struct attempt *a, const struct edges *x, const struct attempt_task *t,
	const char *snapshots, struct line_plan *out, struct error *e)
{
	const struct plan_stage *s = &a->o.plan->stages[t->stage];

	*out = (struct line_plan){.name = s->name, .subtask = t->subtask, .subtasks = s->subtasks,
		.job = a->o.state->job, .attempt = a->o.state->attempt, .snapshots = snapshots,
		.lock_fd = a->o.state->lock_fd, .outputs_len = s->d.outputs};
	plan_inputs(a, x, t, out);
	for (unsigned o = 0; o < s->d.outputs; o++)
		plan_output(a, x, t, o, &out->outputs[o]);
	return a->o.restore ? restore_task(a->o.restore, t->stage, t->subtask, &a->arena, out, e) : 0;
}

/* ---- starting ---- */

static char *log_path(const struct state *state, const struct plan_stage *s, uint32_t subtask)
{
	return mem_printf("%s/logs/%s.%u.log", state->directory, s->name, subtask);
}

static int start_task(struct attempt *a, const struct edges *x, struct attempt_task *t,
	const char *spool, const struct line_plan *p, struct error *e)
{
	const struct plan_stage *s = &a->o.plan->stages[t->stage];
	size_t fds_max = p->inputs_len + 1;
	struct process_options o = {.spool = spool};
	int *fds, status;
	struct stat st;

	t->log = log_path(a->o.state, s, t->subtask);
	t->log_start = stat(t->log, &st) == 0 ? st.st_size : 0;
	o.log = t->log;
	for (size_t i = 0; i < p->outputs_len; i++)
		fds_max += p->outputs[i].fds_len;
	o.fds = fds = mem_alloc(fds_max * sizeof *fds);
	for (size_t i = 0; i < p->inputs_len; i++)
		fds[o.fds_len++] = p->inputs[i].fd;
	for (size_t i = 0; i < p->outputs_len; i++) {
		for (size_t k = 0; k < p->outputs[i].fds_len; k++)
			fds[o.fds_len++] = p->outputs[i].fds[k];
	}
	fds[o.fds_len++] = p->lock_fd;
	status = launch(s, &o, &t->process, e);
	mem_free(fds);
	if (status < 0)
		return -1;
	t->alive = true;
	t->heard_us = clock_mono_us();
	return line_send_plan(t->process.line, p, e);
}

static int start_tasks(struct attempt *a, const struct edges *x, struct error *e)
{
	struct line_plan *p = mem_alloc(sizeof *p);
	char *snapshots = state_path(a->o.state, "checkpoints");
	char *spool = state_path(a->o.state, "spool");
	int status = 0;

	for (size_t i = 0; i < a->tasks_len && status == 0; i++) {
		status = make_plan(a, x, &a->tasks[i], snapshots, p, e);
		if (status == 0)
			status = start_task(a, x, &a->tasks[i], spool, p, e);
	}
	mem_free(p);
	mem_free(snapshots);
	mem_free(spool);
	return status;
}

/* ---- what the coordinator wants of tasks ---- */

/* A task that has just gone is noticed when it is reaped. */
static void order(struct attempt *a, size_t task, const struct line_message *m)
{
	struct error ignored = ERROR_INIT;

	if (a->tasks[task].alive)
		line_send(a->tasks[task].process.line, m, &ignored);
}

static void order_checkpoint(void *context, size_t task, const struct barrier *b)
{
	order(context, task, &(struct line_message){.kind = LINE_CHECKPOINT, .checkpoint = *b});
}

static void order_commit(void *context, size_t task, uint64_t epoch, const struct buf *handle)
{
	order(context, task, &(struct line_message){.kind = LINE_COMMIT, .number = epoch,
		.handle = handle->data, .handle_len = handle->len});
}

static void order_drain(void *context, size_t task)
{
	order(context, task, &(struct line_message){.kind = LINE_DRAIN});
}

static void order_stop(void *context, size_t task)
{
	order(context, task, &(struct line_message){.kind = LINE_STOP});
}

static int keep_begin(void *context, enum barrier_kind kind, uint64_t *id, char **directory,
	struct error *e)
{
	struct attempt *a = context;

	return a->o.keep.begin(a->o.keep.context, kind, id, directory, e);
}

static int keep_complete(void *context, const struct checkpoint *c, struct error *e)
{
	struct attempt *a = context;

	return a->o.keep.complete(a->o.keep.context, c, e);
}

static void keep_done(void *context, const struct checkpoint *c)
{
	struct attempt *a = context;

	a->o.keep.done(a->o.keep.context, c);
}

static void keep_given_up(void *context, uint64_t id, const char *why)
{
	struct attempt *a = context;

	a->o.keep.given_up(a->o.keep.context, id, why);
}

static void make_coordinator(struct attempt *a)
{
	struct coordinator_task *tasks = mem_zero(a->tasks_len * sizeof *tasks);
	struct coordinator_options o = {.interval_us = a->o.interval_us, .job = a->o.state->job,
		.restored = a->o.restore ? a->o.restore->from : NULL};
	struct coordinator_actions actions = {.context = a, .begin = keep_begin,
		.complete = keep_complete, .done = keep_done, .given_up = keep_given_up,
		.checkpoint = order_checkpoint, .commit = order_commit, .drain = order_drain,
		.stop = order_stop};

	for (size_t i = 0; i < a->tasks_len; i++) {
		const struct plan_stage *s = &a->o.plan->stages[a->tasks[i].stage];

		tasks[i] = (struct coordinator_task){.stage = s->name, .type = s->d.type,
			.keeps = plan_keeps(s), .subtask = a->tasks[i].subtask, .subtasks = s->subtasks,
			.source = plan_is_source(s), .sink = plan_is_sink(s),
			.finished = a->o.restore && restore_finished(a->o.restore, a->tasks[i].stage,
				a->tasks[i].subtask)};
	}
	a->coordinator = coordinator_new(&o, tasks, a->tasks_len, &actions);
	mem_free(tasks);
}

int attempt_start(struct attempt *a, const struct attempt_options *o, struct error *e)
{
	struct edges edges;
	int status;

	*a = (struct attempt){.o = *o};
	for (size_t s = 0; s < o->plan->stages_len; s++)
		a->tasks_len += o->plan->stages[s].subtasks;
	a->tasks = mem_zero(a->tasks_len * sizeof *a->tasks);
	for (size_t s = 0, n = 0; s < o->plan->stages_len; s++) {
		for (uint32_t t = 0; t < o->plan->stages[s].subtasks; t++, n++) {
			a->tasks[n].stage = s;
			a->tasks[n].subtask = t;
		}
	}
	make_coordinator(a);
	if (open_edges(o->plan, &edges, e) < 0) {
		attempt_end(a);
		return -1;
	}
	status = start_tasks(a, &edges, e);
	close_edges(&edges);
	if (status < 0)
		attempt_end(a);
	return status;
}

/* ---- failure ---- */

/* The end of what a stage wrote to its log in this attempt. */
static void last_words(const struct attempt_task *t, char *out, size_t cap)
{
	int fd = open(t->log, O_RDONLY | O_CLOEXEC);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t from = end - t->log_start > (off_t)cap - 1 ? end - ((off_t)cap - 1) : t->log_start;
	ssize_t n = fd < 0 ? 0 : pread(fd, out, cap - 1, from);

	out[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	while (*out && out[strlen(out) - 1] == '\n')
		out[strlen(out) - 1] = '\0';
}

/* The cause is whoever did not fail because of another one. */
static void fail(struct attempt *a, const struct attempt_task *t, int status, const char *text,
	int64_t now_us)
{
	struct attempt_failure *f = &a->failure;
	const struct plan_stage *s = &a->o.plan->stages[t->stage];

	if (f->failed && (f->status != ERROR_UPSTREAM || status == ERROR_UPSTREAM))
		return;
	*f = (struct attempt_failure){.failed = true, .status = status, .at_us = now_us,
		.said = text == t->words};
	if (s->subtasks > 1)
		snprintf(f->stage, sizeof f->stage, "%s (subtask %u)", s->name, t->subtask);
	else
		snprintf(f->stage, sizeof f->stage, "%s", s->name);
	snprintf(f->text, sizeof f->text, "%s", text);
	snprintf(f->log, sizeof f->log, "%s", t->log);
}

static void fail_gone(struct attempt *a, const struct attempt_task *t, int wait_status,
	int64_t now_us)
{
	char words[LAST_WORDS_BYTES], text[LAST_WORDS_BYTES + 128];

	if (t->words) {
		fail(a, t, t->words_status, t->words, now_us);
		return;
	}
	last_words(t, words, sizeof words);
	if (WIFSIGNALED(wait_status))
		snprintf(text, sizeof text, "killed by signal %d (%s)%s%s", WTERMSIG(wait_status),
			strsignal(WTERMSIG(wait_status)), *words ? "; its last words: " : "", words);
	else if (WEXITSTATUS(wait_status) == 0)
		snprintf(text, sizeof text, "left: nobody reads it any more");
	else
		snprintf(text, sizeof text, "ended with status %d%s%s", WEXITSTATUS(wait_status),
			*words ? "; its last words: " : "", words);
	/* Who leaves quietly does so because the stage behind has gone. */
	fail(a, t, WIFSIGNALED(wait_status) ? ERROR_IO : WEXITSTATUS(wait_status) ?
		WEXITSTATUS(wait_status) : ERROR_UPSTREAM, text, now_us);
}

bool attempt_has_failed(const struct attempt *a, int64_t now_us)
{
	if (!a->failure.failed)
		return false;
	return a->failure.status != ERROR_UPSTREAM || now_us > a->failure.at_us + CAUSE_WAIT_US ||
		attempt_is_over(a);
}

/* ---- hearing ---- */

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* What a stage says of its snapshot is believed only as far as it can be seen at no cost: one in
 * another language may have it wrong, and a checkpoint with a file that isn't there is damage.
 * *hash: as it says, or computed if it leaves that to us. */
static int check_snapshot(const struct attempt *a, const struct attempt_task *t,
	const struct line_message *m, uint64_t *hash, struct error *e)
{
	const struct plan_stage *s = &a->o.plan->stages[t->stage];
	char *path = mem_printf("%s/checkpoints/%llu/%s.%u.frames", a->o.state->directory,
		(unsigned long long)m->number, s->name, t->subtask);
	struct stat st;
	uint64_t bytes;
	int status = 0;

	*hash = m->hash;
	if (strcmp(last_part(m->text), last_part(path)) != 0)
		status = error_set(e, ERROR_DATA, "it acknowledges '%s', its snapshot is %s", m->text, path);
	else if (stat(path, &st) < 0)
		status = error_errno(e, "%s: it acknowledges this, which can't be seen", path);
	else if ((uint64_t)st.st_size != m->bytes)
		status = error_set(e, ERROR_DATA, "%s: it acknowledges %llu bytes, there are %llu", path,
			(unsigned long long)m->bytes, (unsigned long long)st.st_size);
	else if (m->hash_unknown)
		status = checkpoint_hash_file(path, &bytes, hash, e);
	mem_free(path);
	return status;
}

static void take_ack(struct attempt *a, size_t task, const struct line_message *m, int64_t now_us)
{
	struct coordinator_ack ack = {.id = m->number, .file = last_part(m->text),
		.bytes = m->bytes, .handle = m->handle, .handle_len = m->handle_len};
	struct error e = ERROR_INIT;

	if (coordinator_pending(a->coordinator) != m->number)
		return; /* that checkpoint was given up, and may be gone */
	if (check_snapshot(a, &a->tasks[task], m, &ack.hash, &e) < 0) {
		fail(a, &a->tasks[task], (int)e.code, e.text, now_us);
		return;
	}
	a->tasks[task].state_bytes = m->bytes;
	a->tasks[task].alignment_us = m->alignment_us;
	coordinator_ack(a->coordinator, task, &ack);
}

static void take_pong(struct attempt_task *t, const struct line_message *m, int64_t now_us)
{
	t->pong = m->number;
	t->before = t->metrics;
	t->before_us = t->metrics_us;
	t->metrics = m->metrics;
	t->metrics_us = now_us;
}

static void take_message(struct attempt *a, size_t task, const struct line_message *m,
	int64_t now_us)
{
	struct attempt_task *t = &a->tasks[task];

	switch (m->kind) {
	case LINE_READY:
		t->ready = true;
		coordinator_ready(a->coordinator, task);
		break;
	case LINE_ACK: take_ack(a, task, m, now_us); break;
	case LINE_DECLINED: coordinator_declined(a->coordinator, task, m->number, m->text); break;
	case LINE_COMMITTED: coordinator_committed(a->coordinator, task, m->number); break;
	case LINE_FINISHED: coordinator_finished(a->coordinator, task); break;
	case LINE_FAILED:
		mem_free(t->words);
		t->words = mem_strdup(m->text);
		t->words_status = m->status;
		break;
	case LINE_PONG: take_pong(t, m, now_us); break;
	case LINE_DESCRIPTION:
	case LINE_PLAN:
	case LINE_CHECKPOINT:
	case LINE_COMMIT:
	case LINE_DRAIN:
	case LINE_STOP:
	case LINE_PING: break;
	}
}

/* What has come from one task; false: its end has closed. */
static bool hear(struct attempt *a, size_t task, int64_t now_us)
{
	struct attempt_task *t = &a->tasks[task];
	struct error e = ERROR_INIT;

	for (;;) {
		struct line_message m;

		switch (line_read(t->process.line, false, &m, &e)) {
		case LINE_MESSAGE:
			t->heard_us = now_us;
			take_message(a, task, &m, now_us);
			break;
		case LINE_AGAIN: return true;
		case LINE_CLOSED: return false;
		case LINE_ERROR:
			fail(a, t, ERROR_IO, e.text, now_us);
			return false;
		}
	}
}

size_t attempt_fds(const struct attempt *a, struct pollfd *fds)
{
	for (size_t i = 0; i < a->tasks_len; i++)
		fds[i] = (struct pollfd){.events = POLLIN, .fd = a->tasks[i].alive &&
			!a->tasks[i].closed ? line_fd(a->tasks[i].process.line) : -1};
	return a->tasks_len;
}

static void reap(struct attempt *a, size_t task, int64_t now_us)
{
	struct attempt_task *t = &a->tasks[task];
	int status;
	pid_t pid;

	do
		pid = waitpid(t->process.pid, &status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return;
	MUST(pid == t->process.pid);
	hear(a, task, now_us); /* what it said last may not have been heard yet */
	t->alive = false;
	if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
		coordinator_may_leave(a->coordinator, task)) &&
		coordinator_phase(a->coordinator) < COORDINATOR_STOPPED)
		fail_gone(a, t, status, now_us);
}

void attempt_hear(struct attempt *a, int64_t now_us)
{
	for (size_t i = 0; i < a->tasks_len; i++) {
		struct attempt_task *t = &a->tasks[i];

		if (t->alive && !t->closed)
			t->closed = !hear(a, i, now_us);
	}
}

void attempt_reap(struct attempt *a, int64_t now_us)
{
	for (size_t i = 0; i < a->tasks_len; i++) {
		if (a->tasks[i].alive)
			reap(a, i, now_us);
	}
}

/* ---- signs of life ---- */

/* User and system time so far, in ticks, and whether it waits for a disk: fields 14, 15 and 3 of
 * /proc/PID/stat. */
static uint64_t cpu_ticks(pid_t pid, bool *waits_for_disk)
{
	char path[32], text[1024], *field, state = 0;
	unsigned long user = 0, sys = 0;
	int fd;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	field = strrchr(text, ')'); /* the name may hold anything */
	if (!field || sscanf(field + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &state,
		&user, &sys) != 3)
		user = sys = 0;
	*waits_for_disk = state == 'D';
	return user + sys;
}

static bool is_hung(const struct attempt *a, struct attempt_task *t, int64_t now_us)
{
	int64_t silent_us = now_us - t->heard_us;
	bool waits_for_disk;
	uint64_t ticks;

	if (!a->o.heartbeat_us || silent_us < a->o.heartbeat_us)
		return false;
	ticks = cpu_ticks(t->process.pid, &waits_for_disk);
	if ((ticks != t->cpu_ticks || waits_for_disk) && silent_us < BUSY_PATIENCE * a->o.heartbeat_us) {
		t->cpu_ticks = ticks;
		return false;
	}
	return true;
}

void attempt_ping(struct attempt *a, int64_t now_us)
{
	for (size_t i = 0; i < a->tasks_len; i++) {
		struct attempt_task *t = &a->tasks[i];
		bool waits_for_disk;
		char text[96];

		if (!t->alive)
			continue;
		if (is_hung(a, t, now_us)) {
			snprintf(text, sizeof text, "gave no sign of life for %.1f s",
				(double)(now_us - t->heard_us) / 1e6);
			fail(a, t, ERROR_IO, text, now_us);
			kill(t->process.pid, SIGKILL);
		} else if (t->ready && !t->closed && t->ping == t->pong) {
			order(a, i, &(struct line_message){.kind = LINE_PING, .number = ++t->ping});
		} else if (!t->cpu_ticks || now_us - t->heard_us < a->o.heartbeat_us / 2) {
			t->cpu_ticks = cpu_ticks(t->process.pid, &waits_for_disk);
		}
	}
}

bool attempt_is_over(const struct attempt *a)
{
	for (size_t i = 0; i < a->tasks_len; i++) {
		if (a->tasks[i].alive)
			return false;
	}
	return true;
}

void attempt_end(struct attempt *a)
{
	for (size_t i = 0; i < a->tasks_len; i++) {
		if (!a->tasks[i].alive)
			continue;
		kill(-a->tasks[i].process.pid, SIGKILL); /* a script's children, too */
		kill(a->tasks[i].process.pid, SIGKILL);
	}
	for (size_t i = 0; i < a->tasks_len; i++) {
		struct attempt_task *t = &a->tasks[i];

		if (t->alive)
			waitpid(t->process.pid, NULL, 0);
		line_free(t->process.line);
		mem_free(t->words);
		mem_free(t->log);
	}
	coordinator_free(a->coordinator);
	arena_clear(&a->arena);
	mem_free(a->tasks);
	*a = (struct attempt){.tasks = NULL};
}

/* ---- status ---- */

static double share(uint64_t now, uint64_t before, double seconds)
{
	double x = seconds > 0 ? (double)(now - before) / 1e6 / seconds : 0;

	return x > 1 ? 1 : x;
}

static void task_rates(const struct attempt_task *t, struct status_task *out)
{
	double seconds = t->before_us ? (double)(t->metrics_us - t->before_us) / 1e6 : 0;

	if (seconds <= 0)
		return;
	out->rows_in_rate = (double)(t->metrics.rows_in - t->before.rows_in) / seconds;
	out->rows_out_rate = (double)(t->metrics.rows_out - t->before.rows_out) / seconds;
	out->idle = share(t->metrics.idle_us, t->before.idle_us, seconds);
	out->backpressured = share(t->metrics.blocked_us, t->before.blocked_us, seconds);
	out->busy = 1 - out->idle - out->backpressured;
	if (out->busy < 0)
		out->busy = 0;
}

void attempt_status(const struct attempt *a, struct status_task *out)
{
	for (size_t i = 0; i < a->tasks_len; i++) {
		const struct attempt_task *t = &a->tasks[i];
		const struct plan_stage *s = &a->o.plan->stages[t->stage];
		bool finished = coordinator_has_finished(a->coordinator, i);

		out[i] = (struct status_task){.stage = s->name, .subtask = t->subtask,
			.subtasks = s->subtasks, .pid = t->alive ? (int)t->process.pid : 0,
			.source = plan_is_source(s), .sink = plan_is_sink(s),
			.state = finished ? "finished" : !t->alive ? "stopped" : t->ready ? "running" : "starting",
			.rows_in = t->metrics.rows_in, .rows_out = t->metrics.rows_out,
			.late = t->metrics.late, .bad = t->metrics.bad, .bytes_out = t->metrics.bytes_out,
			.watermark_us = t->metrics_us ? t->metrics.watermark_us : STATUS_NO_TIME,
			.state_bytes = t->state_bytes, .alignment_us = t->alignment_us};
		task_rates(t, &out[i]);
	}
}
