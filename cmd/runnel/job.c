#include "cmd/runnel/job.h"

#include "cmd/common/state_directory.h"
#include "cmd/runnel/attempt.h"
#include "cmd/runnel/backoff.h"
#include "cmd/runnel/metrics.h"
#include "cmd/runnel/notify.h"
#include "cmd/runnel/savepoint.h"
#include "cmd/runnel/server.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	TURN_US = 1000000,       /* pings, the view */
	LEAVE_US = 10000000,     /* stages that were told to leave and haven't are killed */
	STOP_US = 60000000,      /* a stop whose checkpoint takes longer stops without one */
	REQUESTS_MAX = SERVER_CLIENTS_MAX,
	EXTRA_FDS = SERVER_FDS_MAX + 2,
};

/* Somebody who waits for an answer. */
struct waiting {
	enum { WAIT_CHECKPOINT, WAIT_SAVEPOINT, WAIT_STOP, WAIT_DRAIN } kind;
	struct request *request;
	uint64_t after;  /* a checkpoint greater than this */
	char *path;      /* of the savepoint */
	pid_t writer;    /* its archive is being written; 0 */
	uint64_t id;
};

struct job {
	const struct job_options *o;
	struct state *state;
	char *root;                    /* of checkpoints */
	struct checkpoint restored;    /* what the attempt started from */
	bool has_restored;
	uint64_t next_id;
	const char **drop;             /* of --drop-state, what hasn't been dropped yet */
	size_t drop_len;

	struct attempt attempt;
	bool running;
	struct backoff backoff;
	int64_t restart_us;            /* when the next attempt starts, if none runs */
	uint64_t restarts;
	char *failure;                 /* of the last attempt */

	int signals;                   /* signalfd */
	struct server *server;
	struct metrics *metrics;
	struct waiting waiting[REQUESTS_MAX];
	size_t waiting_len;

	int stop_signal;               /* that asked to stop; 0 */
	int64_t stop_us;               /* when a stop was asked for; 0: none */
	bool drain;
	bool over;
	bool worthless;                /* its state is: nothing to go on from */
	int status;
	struct error error;            /* why, if status isn't 0 */

	int64_t turn_us;               /* of the next turn */
	int64_t leave_us;              /* when those that were told to leave are killed; 0 */
	int64_t started_us;
	struct status_checkpoint last;
	uint64_t checkpoints, declined;
	unsigned view_lines;           /* on the screen */
	bool notified;                 /* systemd, that all stages run */
	off_t *log_offsets;            /* per task, of what has been shown */
};

/* ---- saying ---- */

static void clear_view(struct job *j)
{
	if (j->view_lines)
		fprintf(stderr, "\r\033[%uA\033[J", j->view_lines);
	j->view_lines = 0;
}

static void say(struct job *j, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct job *j, const char *format, ...)
{
	va_list args;

	if (j->o->quiet)
		return;
	clear_view(j);
	fputs("runnel: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* What stages have written to standard error since. */
static void show_log(struct job *j, size_t task)
{
	const char *path = j->attempt.tasks[task].log;
	char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while (fd >= 0 && (n = pread(fd, text, sizeof text, j->log_offsets[task])) > 0) {
		clear_view(j);
		fwrite(text, 1, (size_t)n, stderr);
		j->log_offsets[task] += n;
	}
	if (fd >= 0)
		close(fd);
}

static void show_logs(struct job *j)
{
	/* What follows from a failure or a stop, stages say too; here the cause is said once. */
	if (!j->running || j->o->quiet || j->attempt.failure.failed ||
		coordinator_phase(j->attempt.coordinator) == COORDINATOR_STOPPED)
		return;
	for (size_t i = 0; i < j->attempt.tasks_len; i++)
		show_log(j, i);
}

/* Logs go on from attempt to attempt; what an earlier one wrote isn't shown again. */
static void skip_logs(struct job *j)
{
	j->log_offsets = mem_resize(j->log_offsets, j->attempt.tasks_len * sizeof *j->log_offsets);
	for (size_t i = 0; i < j->attempt.tasks_len; i++)
		j->log_offsets[i] = j->attempt.tasks[i].log_start;
}

static const char *kind_name(enum barrier_kind kind)
{
	switch (kind) {
	case BARRIER_CHECKPOINT: return "checkpoint";
	case BARRIER_SAVEPOINT: return "savepoint";
	case BARRIER_FINAL: return "final";
	}
	return "?";
}

/* ---- status ---- */

static void with_status(struct job *j, void (*put)(const struct status *s, void *context),
	void *context)
{
	struct status_task *tasks = mem_zero((j->attempt.tasks_len + 1) * sizeof *tasks);
	struct coordinator *c = j->attempt.coordinator;
	struct status s = {.name = j->o->name, .pipeline = j->state->pipeline,
		.directory = j->state->directory, .job = j->state->job, .pid = (int)getpid(),
		.parallelism = j->o->parallelism, .now_us = clock_wall_us(), .started_us = j->started_us,
		.attempt = j->state->attempt, .restarts = j->restarts, .failure = j->failure,
		.checkpoints = j->checkpoints, .declined = j->declined, .last = j->last, .tasks = tasks,
		.tasks_len = j->attempt.tasks_len};

	s.state = j->over ? "ended" : !j->running ? "restarting" : j->stop_us || j->drain ? "stopping" :
		coordinator_phase(c) == COORDINATOR_STARTING ? "starting" : "running";
	if (j->running)
		attempt_status(&j->attempt, tasks);
	if (j->running && coordinator_pending(c)) {
		s.checkpoint_pending = true;
		s.pending_us = (uint64_t)(clock_mono_us() - coordinator_pending_since_us(c));
	}
	put(&s, context);
	mem_free(tasks);
}

static void put_view(const struct status *s, void *context)
{
	struct job *j = context;
	struct winsize size = {.ws_col = 80};
	struct buf text = BUF_INIT;

	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	status_put_table(s, &(struct status_form){.columns = size.ws_col,
		.color = !getenv("NO_COLOR")}, &text);
	clear_view(j);
	fwrite(text.data, 1, text.len, stderr);
	for (size_t i = 0; i < text.len; i++)
		j->view_lines += text.data[i] == '\n';
	buf_clear(&text);
}

static void put_prometheus(const struct status *s, void *context)
{
	status_put_prometheus(s, context);
}

static void metrics_put(void *context, struct buf *out)
{
	with_status(context, put_prometheus, out);
}

/* ---- checkpoints: what the coordinator wants kept ---- */

static int keep_begin(void *context, enum barrier_kind kind, uint64_t *id, char **directory,
	struct error *e)
{
	struct job *j = context;
	char name[24];

	*id = j->next_id++;
	if (checkpoints_begin(j->root, *id, e) < 0)
		return -1;
	snprintf(name, sizeof name, "/%" PRIu64, *id);
	*directory = mem_alloc(strlen(j->root) + strlen(name) + 1);
	memcpy(*directory, j->root, strlen(j->root));
	memcpy(*directory + strlen(j->root), name, strlen(name) + 1);
	return 0;
}

static int keep_complete(void *context, const struct checkpoint *c, struct error *e)
{
	struct job *j = context;

	if (checkpoints_complete(c, e) < 0)
		return -1;
	j->checkpoints++;
	j->last = (struct status_checkpoint){.id = c->id, .kind = kind_name(c->kind),
		.at_us = clock_wall_us(), .bytes = checkpoint_bytes(c),
		.duration_us = (uint64_t)(clock_mono_us() -
			coordinator_pending_since_us(j->attempt.coordinator))};
	for (size_t i = 0; i < j->attempt.tasks_len; i++) {
		uint64_t us = j->attempt.tasks[i].alignment_us;

		j->last.alignment_us = us > j->last.alignment_us ? us : j->last.alignment_us;
	}
	if (j->o->verbose)
		say(j, "%s %" PRIu64 ": %" PRIu64 " bytes in %.1f ms", kind_name(c->kind), c->id,
			j->last.bytes, (double)j->last.duration_us / 1e3);
	return 0;
}

static void reply(struct job *j, size_t waiting, int status, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void reply(struct job *j, size_t waiting, int status, const char *format, ...)
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
			reply(j, i, status, "%s", text);
	}
}

/* In a process of its own: an archive of gigabytes must not stop the loop. */
static int write_savepoint(const struct checkpoint *c, const char *path, struct error *e)
{
	struct savepoint_file *files = mem_zero((c->tasks_len + 1) * sizeof *files);
	char **paths = mem_zero((c->tasks_len + 1) * sizeof *paths);
	struct buf manifest = BUF_INIT;
	size_t n = 1;

	checkpoint_put_manifest(c, &manifest);
	files[0] = (struct savepoint_file){.name = checkpoint_manifest_name(&manifest),
		.bytes = manifest.data, .len = manifest.len};
	for (size_t i = 0; i < c->tasks_len; i++) {
		const char *name = c->tasks[i].file;

		if (!name)
			continue;
		paths[n] = mem_alloc(strlen(c->directory) + strlen(name) + 2);
		snprintf(paths[n], strlen(c->directory) + strlen(name) + 2, "%s/%s", c->directory, name);
		files[n] = (struct savepoint_file){.name = name, .path = paths[n]};
		n++;
	}
	return savepoint_write(path, files, n, e); /* the process ends here: nothing is freed */
}

static void start_savepoint(struct job *j, struct waiting *w, const struct checkpoint *c)
{
	struct error e = ERROR_INIT;
	pid_t parent = getpid();

	w->id = c->id;
	w->writer = fork();
	if (w->writer != 0)
		return;
	/* Committed by now: who starts from it has nothing to commit. */
	for (size_t i = 0; i < c->tasks_len; i++)
		buf_reset(&c->tasks[i].handle);
	if (getppid() != parent || write_savepoint(c, w->path, &e) < 0) {
		dprintf(STDERR_FILENO, "runnel: error: %s\n", e.text);
		_exit(e.code);
	}
	_exit(0);
}

/* The checkpoint whose files an archive is being made of stays. */
static uint64_t pinned(const struct job *j)
{
	for (size_t i = 0; i < j->waiting_len; i++) {
		if (j->waiting[i].writer > 0)
			return j->waiting[i].id;
	}
	return 0;
}

static void mark_committed(const struct checkpoint *c)
{
	char *path;

	if (asprintf(&path, "%s/committed", c->directory) >= 0) {
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

		if (fd >= 0)
			close(fd);
		free(path);
	}
}

static bool was_committed(const struct checkpoint *c)
{
	char *path;
	bool is;

	MUST(asprintf(&path, "%s/committed", c->directory) >= 0);
	is = access(path, F_OK) == 0;
	free(path);
	return is;
}

static void remove_restored_savepoint(struct job *j)
{
	struct error ignored = ERROR_INIT;
	char *path = state_path(j->state, "restored");

	directory_remove(path, &ignored);
	mem_free(path);
}

/* ---- --drop-state: once.  The file "dropped" has the names of what has been let go, so that a start
 * with the same options (a service's) doesn't let go what has grown since. ---- */

static bool was_dropped(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = text; (at = strstr(at, name)); at++) {
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return true;
	}
	return false;
}

static void read_dropped(struct job *j)
{
	char *path = state_path(j->state, "dropped"), text[8192] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

	text[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	mem_free(path);
	j->drop = mem_alloc((j->o->drop_len + 1) * sizeof *j->drop);
	for (size_t i = 0; i < j->o->drop_len; i++) {
		if (was_dropped(text, j->o->drop[i]))
			say(j, "--drop-state %s: done at an earlier start", j->o->drop[i]);
		else
			j->drop[j->drop_len++] = j->o->drop[i];
	}
}

/* The first checkpoint without it exists. */
static void remember_dropped(struct job *j)
{
	char *path = state_path(j->state, "dropped");
	int fd = j->drop_len ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;

	for (size_t i = 0; fd >= 0 && i < j->drop_len; i++)
		dprintf(fd, "%s\n", j->drop[i]);
	if (fd >= 0)
		close(fd);
	j->drop_len = 0;
	mem_free(path);
}

static void keep_done(void *context, const struct checkpoint *c)
{
	struct job *j = context;
	bool own = !strncmp(c->directory, j->root, strlen(j->root));

	if (!own)
		return; /* a savepoint that was restored: nothing of it was to be committed */
	mark_committed(c);
	if (!j->has_restored || c->id != j->restored.id)
		remember_dropped(j);
	for (size_t i = j->waiting_len; i-- > 0;) {
		struct waiting *w = &j->waiting[i];

		if (w->kind == WAIT_CHECKPOINT && c->id > w->after)
			reply(j, i, 0, "checkpoint %" PRIu64 "\n", c->id);
		else if (w->kind == WAIT_SAVEPOINT && c->kind == BARRIER_SAVEPOINT && !w->writer &&
			c->id > w->after)
			start_savepoint(j, w, c);
	}
	checkpoints_remove_older(j->root, c->id, pinned(j));
	remove_restored_savepoint(j);
}

static void keep_given_up(void *context, uint64_t id, const char *why)
{
	struct job *j = context;

	j->declined++;
	say(j, "warning: checkpoint %" PRIu64 " is given up: %s", id, why);
}

/* ---- attempts ---- */

/* What there is to go on from: 0, 1 nothing. */
static int find_checkpoint(struct job *j, struct error *e)
{
	uint64_t greatest;
	int status;

	checkpoint_clear(&j->restored);
	status = checkpoints_newest(j->root, &j->restored, &greatest, e);
	if (greatest >= j->next_id)
		j->next_id = greatest + 1;
	if (status == 1) {
		char *path = state_path(j->state, "restored");

		status = checkpoint_read(path, &j->restored, e);
		mem_free(path);
	}
	if (status == 0)
		status = checkpoint_verify(&j->restored, e);
	j->has_restored = status == 0;
	return status;
}

static struct restore restore_of(struct job *j)
{
	return (struct restore){.plan = j->o->plan, .from = &j->restored, .drop = j->drop,
		.drop_len = j->drop_len, .commit = !was_committed(&j->restored)};
}

static int start_attempt(struct job *j, struct error *e)
{
	struct attempt_options o = {.plan = j->o->plan, .state = j->state,
		.interval_us = j->o->interval_us, .heartbeat_us = j->o->heartbeat_us,
		.keep = {.context = j, .begin = keep_begin, .complete = keep_complete,
			.done = keep_done, .given_up = keep_given_up}};
	struct restore restore;
	struct buf report = BUF_INIT;

	if (find_checkpoint(j, e) < 0 || state_next_attempt(j->state, e) < 0)
		return -1;
	if (j->has_restored) {
		restore = restore_of(j);
		o.restore = &restore;
		if (restore_fit(&restore, &report, e) < 0) {
			buf_clear(&report);
			return -1;
		}
		say(j, "going on from %s %" PRIu64, kind_name(j->restored.kind), j->restored.id);
		for (char *line = strtok((char *)(uintptr_t)buf_cstr(&report), "\n"); line; line = strtok(NULL, "\n"))
			say(j, "%s", line);
		buf_clear(&report);
	}
	if (attempt_start(&j->attempt, &o, e) < 0)
		return -1;
	j->attempt.o.restore = NULL; /* it was of use for starting only */
	j->running = true;
	j->leave_us = 0;
	skip_logs(j);
	if (j->drain)
		coordinator_want_drain(j->attempt.coordinator);
	if (j->stop_us)
		coordinator_want_stop(j->attempt.coordinator);
	return 0;
}

static void finish(struct job *j, int status)
{
	j->over = true;
	j->status = status;
}

static void end_attempt(struct job *j)
{
	show_logs(j);
	attempt_end(&j->attempt);
	j->running = false;
}

/* Exit statuses of a stage that another attempt wouldn't change. */
static bool is_hopeless(int status)
{
	return status == ERROR_DATA || status == ERROR_USAGE || status == ERROR_STATE;
}

static void give_up(struct job *j, const struct attempt_failure *f, const char *how)
{
	struct error *e = &j->error;
	char *hint = strchr(f->text, '\n');

	error_set(e, (enum error_code)f->status, "%s%s: %.*s", f->stage, how,
		hint ? (int)(hint - f->text) : (int)strlen(f->text), f->text);
	if (hint)
		error_hint(e, "%s", hint + 1);
	/* A job that never came to a checkpoint has nothing to go on from, and has said everything. */
	j->worthless = is_hopeless(f->status) && !j->last.id && !j->has_restored;
	if (!j->worthless)
		error_hint(e, "its log: %s", f->log);
	finish(j, f->status == ERROR_UPSTREAM || f->status > ERROR_IO ? ERROR_IO : f->status);
}

static void take_failure(struct job *j, int64_t now_us)
{
	struct attempt_failure f = j->attempt.failure;
	int64_t wait_us;

	end_attempt(j);
	mem_free(j->failure);
	j->failure = mem_alloc(strlen(f.stage) + strlen(f.text) + 3);
	snprintf(j->failure, strlen(f.stage) + strlen(f.text) + 3, "%s: %s", f.stage, f.text);
	j->failure[strcspn(j->failure, "\n")] = '\0';
	if (is_hopeless(f.status)) {
		give_up(j, &f, "");
		return;
	}
	wait_us = backoff_failed(&j->backoff, now_us);
	if (wait_us < 0) {
		char how[80];

		snprintf(how, sizeof how, " failed too often (--restart %s)", j->o->restart);
		give_up(j, &f, how);
		return;
	}
	if (j->stop_us) {
		say(j, "%s; stopped without a new checkpoint", j->failure);
		finish(j, j->stop_signal ? 128 + j->stop_signal : 0);
		return;
	}
	j->restarts++;
	j->restart_us = now_us + wait_us;
	say(j, "%s; starting again in %.1f s", j->failure, (double)wait_us / 1e6);
}

static void restart(struct job *j, int64_t now_us)
{
	struct error e = ERROR_INIT;

	if (start_attempt(j, &e) == 0)
		return;
	if (e.code == ERROR_IO) {
		int64_t wait_us = backoff_failed(&j->backoff, now_us);

		say(j, "%s", e.text);
		j->restart_us = now_us + wait_us;
		if (wait_us >= 0)
			return;
	}
	j->error = e;
	finish(j, (int)e.code);
}

/* ---- what users ask for ---- */

static void ask_stop(struct job *j, int64_t now_us)
{
	if (j->stop_us)
		return;
	j->stop_us = now_us;
	notify_systemd("STOPPING=1");
	if (j->running)
		coordinator_want_stop(j->attempt.coordinator);
	else
		finish(j, j->stop_signal ? 128 + j->stop_signal : 0);
}

/* What a start would begin with. */
static void say_stopped(struct job *j, const char *how)
{
	if (j->last.id)
		say(j, "%s; started again, it goes on from checkpoint %" PRIu64, how, j->last.id);
	else if (j->has_restored)
		say(j, "%s; started again, it goes on from %s %" PRIu64, how,
			kind_name(j->restored.kind), j->restored.id);
	else
		say(j, "%s; started again, it begins anew: there is no checkpoint yet", how);
}

static void take_signal(struct job *j, int signo, int64_t now_us)
{
	if (signo == SIGCHLD)
		return;
	if (j->stop_signal) {
		say_stopped(j, "stopped at once");
		finish(j, 128 + signo);
		return;
	}
	j->stop_signal = signo;
	say(j, "stopping: a checkpoint first (again to stop at once)");
	ask_stop(j, now_us);
}

static void take_signals(struct job *j, int64_t now_us)
{
	struct signalfd_siginfo info;

	while (read(j->signals, &info, sizeof info) == (ssize_t)sizeof info)
		take_signal(j, (int)info.ssi_signo, now_us);
}

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
		ask_stop(j, now_us);
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
		ask_stop(j, now_us);
	} else if (!strcmp(word, "stop-savepoint") && path) {
		wait_for(j, r, WAIT_SAVEPOINT, path);
		coordinator_want(c, BARRIER_SAVEPOINT);
		ask_stop(j, now_us);
	} else if (!strcmp(word, "drain")) {
		wait_for(j, r, WAIT_DRAIN, NULL);
		j->drain = true;
		coordinator_want_drain(c);
	} else {
		static const char text[] = "no such request\n";

		server_reply(j->server, r, ERROR_USAGE, text, sizeof text - 1);
	}
}

static void take_request(void *context, struct request *r)
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
	with_status(j, put_table, &(struct put_context){r, &out});
	server_reply(j->server, r, 0, out.data, out.len);
	buf_clear(&out);
}

static void reap_writers(struct job *j)
{
	for (size_t i = j->waiting_len; i-- > 0;) {
		struct waiting *w = &j->waiting[i];
		int status;

		if (w->writer <= 0 || waitpid(w->writer, &status, WNOHANG) != w->writer)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			reply(j, i, 0, "savepoint %" PRIu64 " in %s\n", w->id, w->path);
		else
			reply(j, i, ERROR_IO, "%s: the savepoint could not be written\n", w->path);
	}
}

/* ---- the loop ---- */

static void turn_coordinator(struct job *j, int64_t now_us)
{
	struct coordinator *c = j->attempt.coordinator;

	coordinator_tick(c, now_us, clock_wall_us());
	if (!j->notified && coordinator_phase(c) == COORDINATOR_RUNNING)
		j->notified = notify_systemd("READY=1") >= 0;
	if (coordinator_phase(c) >= COORDINATOR_STOPPED && !j->leave_us)
		j->leave_us = now_us + LEAVE_US;
	if (coordinator_phase(c) >= COORDINATOR_STOPPED && attempt_is_over(&j->attempt)) {
		bool ended = coordinator_phase(c) == COORDINATOR_ENDED;

		end_attempt(j);
		finish(j, ended || !j->stop_signal ? 0 : 128 + j->stop_signal);
		if (ended && !pinned(j))
			state_remove(j->state);
		else if (!ended)
			say_stopped(j, "stopped");
	}
}

/* Signs of life are asked for several times before their absence means something. */
static int64_t turn_length_us(const struct job *j)
{
	int64_t quarter = j->o->heartbeat_us / 4;

	return quarter && quarter < TURN_US ? quarter : TURN_US;
}

static void take_time(struct job *j, int64_t now_us)
{
	if (!j->running) {
		if (now_us >= j->restart_us)
			restart(j, now_us);
		return;
	}
	turn_coordinator(j, now_us);
	if (!j->running)
		return;
	if (attempt_has_failed(&j->attempt, now_us)) {
		take_failure(j, now_us);
		return;
	}
	if (j->stop_us && now_us > j->stop_us + STOP_US &&
		coordinator_phase(j->attempt.coordinator) == COORDINATOR_RUNNING) {
		say(j, "stopped without a new checkpoint: that took longer than %d s", STOP_US / 1000000);
		finish(j, j->stop_signal ? 128 + j->stop_signal : ERROR_IO);
	}
	if (j->leave_us && now_us > j->leave_us) {
		for (size_t i = 0; i < j->attempt.tasks_len; i++) {
			if (j->attempt.tasks[i].alive)
				kill(j->attempt.tasks[i].process.pid, SIGKILL);
		}
	}
	if (now_us < j->turn_us)
		return;
	j->turn_us = now_us + turn_length_us(j);
	attempt_ping(&j->attempt, now_us);
	notify_systemd("WATCHDOG=1");
	show_logs(j);
	if (j->o->view && !j->o->quiet)
		with_status(j, put_view, j);
}

static int64_t next_us(const struct job *j)
{
	int64_t next = j->running ? j->turn_us : j->restart_us, c;

	if (j->running) {
		c = coordinator_next_us(j->attempt.coordinator);
		next = c < next ? c : next;
		if (j->attempt.failure.failed)
			next = clock_mono_us() + 50000;
	}
	return next;
}

static int wait_turn(struct job *j, struct error *e)
{
	size_t tasks = j->running ? j->attempt.tasks_len : 0, n = 0;
	struct pollfd *fds = mem_zero((tasks + EXTRA_FDS) * sizeof *fds);
	int64_t wait_us = next_us(j) - clock_mono_us();
	int status = 0;

	if (j->running)
		n = attempt_fds(&j->attempt, fds);
	fds[n++] = (struct pollfd){.fd = j->signals, .events = POLLIN};
	if (j->metrics)
		fds[n++] = (struct pollfd){.fd = metrics_fd(j->metrics), .events = POLLIN};
	n += server_fds(j->server, fds + n);
	if (poll(fds, n, wait_us <= 0 ? 0 : (int)((wait_us + 999) / 1000)) < 0 && errno != EINTR)
		status = error_errno(e, "can't wait");
	mem_free(fds);
	return status;
}

static int run_loop(struct job *j, struct error *e)
{
	while (!j->over) {
		int64_t now_us;

		if (wait_turn(j, e) < 0)
			return -1;
		now_us = clock_mono_us();
		take_signals(j, now_us);
		if (j->running) {
			attempt_hear(&j->attempt, now_us);
			attempt_reap(&j->attempt, now_us);
		}
		reap_writers(j);
		server_turn(j->server, take_request, j);
		if (j->metrics)
			metrics_turn(j->metrics);
		if (!j->over)
			take_time(j, clock_mono_us());
	}
	return 0;
}

/* Those who wait for the end hear of it; archives are finished. */
static void answer_rest(struct job *j)
{
	while (pinned(j)) {
		reap_writers(j);
		poll(NULL, 0, 10);
	}
	reply_all(j, WAIT_STOP, j->error.code, j->error.code ? j->error.text : "stopped\n");
	reply_all(j, WAIT_DRAIN, j->status, j->status ? j->error.text : "drained\n");
	reply_all(j, WAIT_CHECKPOINT, ERROR_IO, "the job ended first\n");
	reply_all(j, WAIT_SAVEPOINT, ERROR_IO, "the job ended first\n");
	for (int i = 0; i < 10; i++) {
		server_turn(j->server, take_request, j);
		poll(NULL, 0, 1);
	}
}

static int open_signals(struct job *j, struct error *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	j->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return j->signals < 0 ? error_errno(e, "can't hear signals") : 0;
}

static int unpack_savepoint(struct job *j, struct error *e)
{
	char *path;
	uint64_t greatest;
	struct checkpoint own = {.id = 0};
	int status = checkpoints_newest(j->root, &own, &greatest, e);

	checkpoint_clear(&own);
	if (status < 0 || !j->o->from)
		return status < 0 ? -1 : 0;
	if (status == 0) {
		say(j, "the job has checkpoints of its own: %s was for its first start", j->o->from);
		return 0;
	}
	path = state_path(j->state, "restored");
	directory_remove(path, e);
	*e = (struct error)ERROR_INIT;
	status = mkdir(path, 0700) < 0 ? error_errno(e, "%s: can't make the directory", path) :
		savepoint_read(j->o->from, path, e);
	mem_free(path);
	return status;
}

static int open_job(struct job *j, struct error *e)
{
	char *socket = state_path(j->state, STATE_SOCKET);
	int status = -1;

	if (backoff_parse(j->o->restart, &j->backoff, e) == 0 && open_signals(j, e) == 0 &&
		checkpoints_open(j->root, e) == 0 && unpack_savepoint(j, e) == 0 &&
		server_open(socket, &j->server, e) == 0)
		status = j->o->metrics ?
			metrics_open(j->o->metrics, metrics_put, j, &j->metrics, e) : 0;
	if (j->metrics)
		say(j, "metrics at port %u", metrics_port(j->metrics));
	mem_free(socket);
	return status;
}

static void close_job(struct job *j)
{
	if (j->running)
		end_attempt(j);
	metrics_close(j->metrics);
	server_close(j->server);
	if (j->signals >= 0)
		close(j->signals);
	checkpoint_clear(&j->restored);
	mem_free(j->drop);
	mem_free(j->log_offsets);
	mem_free(j->failure);
	mem_free(j->root);
}

int job_run(const struct job_options *o, struct state *state, struct error *e)
{
	struct job j = {.o = o, .state = state, .root = state_path(state, "checkpoints"),
		.signals = -1, .next_id = 1, .started_us = clock_wall_us(), .error = ERROR_INIT};
	int status = -1;

	read_dropped(&j);
	if (open_job(&j, e) == 0 && start_attempt(&j, e) == 0) {
		status = run_loop(&j, e);
		answer_rest(&j);
	}
	if (status == 0 && j.error.code) {
		*e = j.error;
		status = -1;
	}
	if (status == 0)
		status = j.status;
	clear_view(&j);
	close_job(&j);
	if (j.worthless)
		state_remove(state);
	return status;
}
