#include "cmd/runnel/job_private.h"

#include "cmd/runnel/savepoint.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- answers ---- */

void job_reply(struct job *j, size_t waiting, int status, const char *format, ...)
{
	struct waiting *w = &j->waiting[waiting];
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	server_reply(j->server, w->request, status, text, strlen(text));
	mem_free(w->path);
	*w = j->waiting[--j->waiting_len];
}

static void reply_all(struct job *j, int kind, int status, const char *text)
{
	for (size_t i = j->waiting_len; i-- > 0;) {
		if ((int)j->waiting[i].kind == kind)
			job_reply(j, i, status, "%s", text);
	}
}

/* ---- savepoints ---- */

/* In a process of its own: an archive of gigabytes must not stop the loop. */
static int write_savepoint(const struct checkpoint *c, const char *path, struct error *e)
{
	struct savepoint_file *files = mem_zero((c->tasks_len + 1) * sizeof *files);
	struct buf manifest = BUF_INIT;
	size_t n = 1;

	checkpoint_put_manifest(c, &manifest);
	files[0] = (struct savepoint_file){.name = checkpoint_manifest_name(&manifest),
		.bytes = manifest.data, .len = manifest.len};
	for (size_t i = 0; i < c->tasks_len; i++) {
		const char *name = c->tasks[i].file;

		if (!name)
			continue;
		files[n++] = (struct savepoint_file){.name = name, .path = checkpoint_path(c, name)};
	}
	return savepoint_write(path, files, n, e); /* the process ends here: nothing is freed */
}

void job_start_savepoint(struct job *j, size_t waiting, const struct checkpoint *c)
{
	struct waiting *w = &j->waiting[waiting];
	struct error e = ERROR_INIT;
	pid_t parent = getpid();

	w->id = c->id;
	w->writer = fork();
	if (w->writer > 0)
		return;
	if (w->writer < 0) {
		job_reply(j, waiting, ERROR_IO, "%s: the savepoint could not be written: %s\n",
			w->path, strerror(errno));
		return;
	}
	/* It holds the lock: alone, it would keep the next supervisor waiting. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Committed by now: who starts from it has nothing to commit. */
	for (size_t i = 0; i < c->tasks_len; i++)
		buf_reset(&c->tasks[i].handle);
	if (getppid() != parent || write_savepoint(c, w->path, &e) < 0) {
		dprintf(STDERR_FILENO, "runnel: error: %s\n", e.text);
		_exit(e.code);
	}
	_exit(0);
}

uint64_t job_pinned(const struct job *j)
{
	uint64_t oldest = 0;

	for (size_t i = 0; i < j->waiting_len; i++) {
		const struct waiting *w = &j->waiting[i];

		if (w->writer > 0 && (!oldest || w->id < oldest))
			oldest = w->id;
	}
	return oldest;
}

/* ---- requests ---- */

static void wait_for(struct job *j, struct request *r, int kind, const char *path)
{
	struct coordinator *c = j->attempt.coordinator;
	struct waiting *w = &j->waiting[j->waiting_len];

	MUST(j->waiting_len < REQUESTS_MAX);
	*w = (struct waiting){.kind = kind, .request = r, .path = path ? mem_strdup(path) : NULL,
		.after = j->running && coordinator_pending(c) ? coordinator_pending(c) :
			j->next_id ? j->next_id - 1 : 0};
	j->waiting_len++;
}

struct put_context {
	const struct request *request;
	struct buf *out;
};

static void put_table(const struct status *s, void *context)
{
	const struct put_context *p = context;
	const struct request *r = p->request;
	struct status_form form = {.columns = r->words_len > 1 ? (unsigned)atoi(r->words[1]) : 80,
		.color = r->words_len > 2 && *r->words[2] == '1',
		.per_subtask = r->words_len > 3 && *r->words[3] == '1'};

	if (!strcmp(r->words[0], "status"))
		status_put_table(s, &form, p->out);
	else if (!strcmp(r->words[0], "status-json"))
		status_put_json(s, p->out);
	else
		status_put_line(s, p->out);
}

static bool is_status(const char *word)
{
	return !strcmp(word, "status") || !strcmp(word, "status-json") || !strcmp(word, "line");
}

/* What needs a running attempt. */
static bool refuse_while_down(struct job *j, struct request *r)
{
	static const char text[] = "the job is being started again; try in a moment\n";

	if (j->running && coordinator_phase(j->attempt.coordinator) == COORDINATOR_RUNNING)
		return false;
	server_reply(j->server, r, ERROR_IO, text, sizeof text - 1);
	return true;
}

static void take_order(struct job *j, struct request *r)
{
	const char *word = r->words[0], *path = r->words_len > 1 ? r->words[1] : NULL;
	struct coordinator *c = j->attempt.coordinator;
	int64_t now_us = clock_mono_us();

	if (!strcmp(word, "stop") && !j->running) {
		wait_for(j, r, WAIT_STOP, NULL);
		job_ask_stop(j, now_us);
		return;
	}
	if (refuse_while_down(j, r))
		return;
	if (!strcmp(word, "checkpoint")) {
		wait_for(j, r, WAIT_CHECKPOINT, NULL);
		coordinator_want(c, BARRIER_CHECKPOINT);
	} else if (!strcmp(word, "savepoint") && path) {
		wait_for(j, r, WAIT_SAVEPOINT, path);
		coordinator_want(c, BARRIER_SAVEPOINT);
	} else if (!strcmp(word, "stop")) {
		wait_for(j, r, WAIT_STOP, NULL);
		job_ask_stop(j, now_us);
	} else if (!strcmp(word, "stop-savepoint") && path) {
		wait_for(j, r, WAIT_SAVEPOINT, path);
		coordinator_want(c, BARRIER_SAVEPOINT);
		job_ask_stop(j, now_us);
	} else if (!strcmp(word, "drain")) {
		wait_for(j, r, WAIT_DRAIN, NULL);
		j->drain = true;
		coordinator_want_drain(c);
	} else {
		static const char text[] = "no such request\n";

		server_reply(j->server, r, ERROR_USAGE, text, sizeof text - 1);
	}
}

void job_take_request(void *context, struct request *r)
{
	struct job *j = context;
	struct buf out = BUF_INIT;

	if (!r->words_len || !is_status(r->words[0])) {
		if (r->words_len)
			take_order(j, r);
		else
			server_reply(j->server, r, ERROR_USAGE, "", 0);
		return;
	}
	job_with_status(j, put_table, &(struct put_context){r, &out});
	server_reply(j->server, r, 0, out.data, out.len);
	buf_clear(&out);
}

void job_reap_writers(struct job *j)
{
	for (size_t i = j->waiting_len; i-- > 0;) {
		struct waiting *w = &j->waiting[i];
		int status;

		if (w->writer <= 0 || waitpid(w->writer, &status, WNOHANG) != w->writer)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			job_reply(j, i, 0, "savepoint %" PRIu64 " in %s\n", w->id, w->path);
		else
			job_reply(j, i, ERROR_IO, "%s: the savepoint could not be written\n", w->path);
	}
}

/* ---- the end ---- */

/* Those who wait for the end hear of it; archives are finished. */
void job_answer_rest(struct job *j)
{
	while (job_pinned(j)) {
		job_reap_writers(j);
		poll(NULL, 0, 10);
	}
	reply_all(j, WAIT_STOP, j->error.code, j->error.code ? j->error.text : "stopped\n");
	reply_all(j, WAIT_DRAIN, j->status, j->status ? j->error.text : "drained\n");
	reply_all(j, WAIT_CHECKPOINT, ERROR_IO, "the job ended first\n");
	reply_all(j, WAIT_SAVEPOINT, ERROR_IO, "the job ended first\n");
	for (int i = 0; i < 10; i++) {
		server_turn(j->server, job_take_request, j);
		poll(NULL, 0, 1);
	}
}
