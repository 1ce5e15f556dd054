#include "tests/support/coordinator.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct job_process *process_at(struct job *j, size_t stage, uint32_t subtask)
{
	return &j->processes[stage][subtask];
}

static void pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* ---- starting ---- */

static void inherit(int fd)
{
	fcntl(fd, F_SETFD, 0);
}

/* Only the descriptors of the plan survive the exec. */
static void exec_stage(const struct job_stage *s, const struct line_plan *p, int line_fd)
{
	const char *bin = getenv("BIN") ? getenv("BIN") : "build/bin";
	char path[512], number[16], *argv[JOB_ARGUMENTS_MAX];

	for (size_t i = 0; i < p->inputs_len; i++)
		inherit(p->inputs[i].fd);
	for (size_t o = 0; o < p->outputs_len; o++) {
		for (size_t i = 0; i < p->outputs[o].fds_len; i++)
			inherit(p->outputs[o].fds[i]);
	}
	inherit(line_fd);
	snprintf(number, sizeof number, "%d", line_fd);
	setenv(LINE_ENVIRONMENT, number, 1);
	snprintf(path, sizeof path, "%s/%s", bin, s->argv[0]);
	for (size_t i = 0; i < JOB_ARGUMENTS_MAX; i++)
		argv[i] = (char *)(uintptr_t)s->argv[i];
	execv(path, argv);
	_exit(127);
}

static void start_process(struct job *j, size_t stage, const struct line_plan *p)
{
	struct job_process *x = process_at(j, stage, p->subtask);
	struct error e = ERROR_INIT;
	int fds[2];

	*x = (struct job_process){.pid = 0};
	pair(fds);
	x->pid = fork();
	assert_true(x->pid >= 0);
	if (x->pid == 0)
		exec_stage(&j->stages[stage], p, fds[1]);
	close(fds[1]);
	x->line = line_new(fds[0]);
	if (line_send_plan(x->line, p, &e) < 0)
		fail_msg("%s: %s", p->name, e.text);
}

static void add_restore(struct line_plan *p, size_t stage, bool is_sink,
	const struct job_checkpoint *from)
{
	for (uint32_t s = 0; s < from->subtasks[stage]; s++) {
		if (from->paths[stage][s])
			p->restore[p->restore_len++] = from->paths[stage][s];
	}
	if (is_sink && from->handle.len)
		p->commits[p->commits_len++] = (struct line_handle){from->id, from->handle.data,
			from->handle.len};
}

void job_start(struct job *j, const struct job_checkpoint *from)
{
	static int edges[JOB_STAGES_MAX][JOB_SUBTASKS_MAX][JOB_SUBTASKS_MAX][2];

	for (size_t n = 0; n + 1 < j->stages_len; n++) {
		for (uint32_t f = 0; f < j->stages[n].subtasks; f++) {
			for (uint32_t t = 0; t < j->stages[n + 1].subtasks; t++)
				pair(edges[n][f][t]);
		}
	}
	for (size_t n = 0; n < j->stages_len; n++) {
		for (uint32_t s = 0; s < j->stages[n].subtasks; s++) {
			struct line_plan *p = mem_zero(sizeof *p);

			p->name = j->stages[n].name;
			p->subtask = s;
			p->subtasks = j->stages[n].subtasks;
			p->snapshots = j->snapshots;
			p->lock_fd = -1;
			for (uint32_t f = 0; n && f < j->stages[n - 1].subtasks; f++)
				p->inputs[p->inputs_len++] = (struct line_input){0,
					edges[n - 1][f][s][1], j->stages[n - 1].name};
			if (n + 1 < j->stages_len) {
				p->outputs_len = 1;
				p->outputs[0].fds_len = j->stages[n + 1].subtasks;
				for (uint32_t t = 0; t < j->stages[n + 1].subtasks; t++)
					p->outputs[0].fds[t] = edges[n][s][t][0];
				p->outputs[0].keys[0] = j->stages[n].key;
				p->outputs[0].keys_len = j->stages[n].key != NULL;
			}
			if (from)
				add_restore(p, n, n + 1 == j->stages_len, from);
			start_process(j, n, p);
			mem_free(p);
		}
	}
	for (size_t n = 0; n + 1 < j->stages_len; n++) {
		for (uint32_t f = 0; f < j->stages[n].subtasks; f++) {
			for (uint32_t t = 0; t < j->stages[n + 1].subtasks; t++) {
				close(edges[n][f][t][0]);
				close(edges[n][f][t][1]);
			}
		}
	}
}

/* ---- listening ---- */

static void take_message(struct job_process *x, const struct line_message *m)
{
	switch (m->kind) {
	case LINE_READY: x->ready = true; break;
	case LINE_ACK:
		x->acked = m->number;
		mem_free(x->path);
		x->path = mem_strdup(m->text);
		x->bytes = m->bytes;
		x->hash = m->hash;
		buf_reset(&x->handle);
		buf_put(&x->handle, m->handle, m->handle_len);
		break;
	case LINE_COMMITTED: x->committed = m->number; break;
	case LINE_FINISHED: x->finished = true; break;
	case LINE_FAILED:
		mem_free(x->failure);
		x->failure = mem_strdup(m->text);
		break;
	case LINE_DECLINED:
		mem_free(x->failure);
		x->failure = mem_strdup(m->text);
		break;
	case LINE_DESCRIPTION:
	case LINE_PONG:
	case LINE_PLAN:
	case LINE_CHECKPOINT:
	case LINE_COMMIT:
	case LINE_DRAIN:
	case LINE_STOP:
	case LINE_PING: break;
	}
}

static void process_gone(struct job_process *x)
{
	int status;

	x->gone = true;
	waitpid(x->pid, &status, 0);
	x->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void listen_to(struct job_process *x)
{
	struct error e = ERROR_INIT;

	for (;;) {
		struct line_message m;

		switch (line_read(x->line, false, &m, &e)) {
		case LINE_MESSAGE: take_message(x, &m); break;
		case LINE_AGAIN: return;
		case LINE_CLOSED: process_gone(x); return;
		case LINE_ERROR: fail_msg("%s", e.text);
		}
	}
}

/* Waits until something has come from somebody. */
static void job_listen(struct job *j)
{
	struct pollfd fds[JOB_STAGES_MAX * JOB_SUBTASKS_MAX];
	struct job_process *who[JOB_STAGES_MAX * JOB_SUBTASKS_MAX];
	nfds_t n = 0;

	for (size_t s = 0; s < j->stages_len; s++) {
		for (uint32_t t = 0; t < j->stages[s].subtasks; t++) {
			struct job_process *x = process_at(j, s, t);

			if (x->gone)
				continue;
			who[n] = x;
			fds[n++] = (struct pollfd){.fd = line_fd(x->line), .events = POLLIN};
		}
	}
	assert_true(n > 0);
	if (poll(fds, n, 60000) == 0)
		fail_msg("nothing heard for a minute");
	for (nfds_t i = 0; i < n; i++) {
		if (fds[i].revents)
			listen_to(who[i]);
	}
}

static void check_alive(struct job *j)
{
	for (size_t s = 0; s < j->stages_len; s++) {
		for (uint32_t t = 0; t < j->stages[s].subtasks; t++) {
			struct job_process *x = process_at(j, s, t);

			if (x->failure || (x->gone && x->status))
				fail_msg("%s: status %d: %s", j->stages[s].name, x->status,
					x->failure ? x->failure : "died without a word");
		}
	}
}

static void order(struct job_process *x, enum line_kind kind, uint64_t number,
	enum barrier_kind barrier)
{
	struct line_message m = {.kind = kind, .number = number,
		.checkpoint = {.checkpoint = number, .kind = barrier},
		.handle = x->handle.data, .handle_len = x->handle.len};
	struct error e = ERROR_INIT;

	line_send(x->line, &m, &e); /* one that has just gone is seen by the next listen */
}

static struct job_process *sink_of(struct job *j)
{
	return process_at(j, j->stages_len - 1, 0);
}

bool job_checkpoint(struct job *j, uint64_t id, enum barrier_kind kind,
	struct job_checkpoint *out)
{
	for (uint32_t t = 0; t < j->stages[0].subtasks; t++) {
		while (!process_at(j, 0, t)->ready)
			job_listen(j);
		order(process_at(j, 0, t), LINE_CHECKPOINT, id, kind);
	}
	for (size_t s = 0; s < j->stages_len; s++) {
		for (uint32_t t = 0; t < j->stages[s].subtasks; t++) {
			while (process_at(j, s, t)->acked != id) {
				if (sink_of(j)->finished)
					return false;
				job_listen(j);
				check_alive(j);
			}
		}
	}
	job_checkpoint_clear(out);
	out->id = id;
	for (size_t s = 0; s < j->stages_len; s++) {
		out->subtasks[s] = j->stages[s].subtasks;
		for (uint32_t t = 0; t < j->stages[s].subtasks; t++)
			out->paths[s][t] = mem_strdup(process_at(j, s, t)->path);
	}
	buf_put(&out->handle, sink_of(j)->handle.data, sink_of(j)->handle.len);
	order(sink_of(j), LINE_COMMIT, id, kind);
	return true;
}

void job_checkpoint_clear(struct job_checkpoint *c)
{
	for (size_t s = 0; s < JOB_STAGES_MAX; s++) {
		for (uint32_t t = 0; t < JOB_SUBTASKS_MAX; t++)
			mem_free(c->paths[s][t]);
	}
	buf_clear(&c->handle);
	*c = (struct job_checkpoint){.id = 0};
}

static void forget(struct job_process *x)
{
	line_free(x->line);
	mem_free(x->path);
	mem_free(x->failure);
	buf_clear(&x->handle);
	*x = (struct job_process){.pid = 0};
}

void job_kill(struct job *j)
{
	for (size_t s = 0; s < j->stages_len; s++) {
		for (uint32_t t = 0; t < j->stages[s].subtasks; t++)
			kill(process_at(j, s, t)->pid, SIGKILL);
	}
	for (size_t s = 0; s < j->stages_len; s++) {
		for (uint32_t t = 0; t < j->stages[s].subtasks; t++) {
			struct job_process *x = process_at(j, s, t);

			if (!x->gone)
				waitpid(x->pid, NULL, 0);
			forget(x);
		}
	}
}

static bool all_gone(struct job *j)
{
	for (size_t s = 0; s < j->stages_len; s++) {
		for (uint32_t t = 0; t < j->stages[s].subtasks; t++) {
			if (!process_at(j, s, t)->gone)
				return false;
		}
	}
	return true;
}

void job_finish(struct job *j, uint64_t final_id)
{
	struct job_process *sink = sink_of(j);

	while (!sink->finished) {
		job_listen(j);
		check_alive(j);
	}
	order(sink, LINE_CHECKPOINT, final_id, BARRIER_FINAL);
	while (sink->acked != final_id) {
		job_listen(j);
		check_alive(j);
	}
	order(sink, LINE_COMMIT, final_id, BARRIER_FINAL);
	while (!all_gone(j)) {
		job_listen(j);
		check_alive(j);
	}
	assert_int_equal(sink->committed, final_id);
	job_kill(j);
}
