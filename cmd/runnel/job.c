#include "cmd/runnel/job_private.h"

#include "cmd/common/state_directory.h"
#include "cmd/runnel/notify.h"
#include "cmd/runnel/savepoint.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	TURN_US = 1000000,       /* pings, the view */
	LEAVE_US = 10000000,     /* stages that were told to leave and haven't are killed */
	STOP_US = 60000000,      /* a stop whose checkpoint takes longer stops without one */
	EXTRA_FDS = SERVER_FDS_MAX + 2,
};

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
		.drop_len = j->drop_len, .commit = !checkpoint_is_committed(&j->restored)};
}

/* What is waited for, and what the attempt before has not come to. */
static void want_again(struct job *j)
{
	for (size_t i = 0; i < j->waiting_len; i++) {
		const struct waiting *w = &j->waiting[i];

		if (w->kind == WAIT_CHECKPOINT)
			coordinator_want(j->attempt.coordinator, BARRIER_CHECKPOINT);
		else if (w->kind == WAIT_SAVEPOINT && !w->writer)
			coordinator_want(j->attempt.coordinator, BARRIER_SAVEPOINT);
	}
}

static int start_attempt(struct job *j, struct error *e)
{
	struct attempt_options o = {.plan = j->o->plan, .state = j->state,
		.interval_us = j->o->interval_us, .heartbeat_us = j->o->heartbeat_us,
		.keep = job_keeper(j)};
	struct restore restore;
	struct buf report = BUF_INIT;

	if (find_checkpoint(j, e) < 0 || state_next_attempt(j->state, e) < 0)
		return -1;
	job_read_dropped(j);
	if (j->has_restored) {
		restore = restore_of(j);
		o.restore = &restore;
		if (restore_fit(&restore, &report, e) < 0) {
			buf_clear(&report);
			return -1;
		}
		job_say(j, "going on from %s %" PRIu64, barrier_kind_name(j->restored.kind), j->restored.id);
		for (char *line = strtok((char *)(uintptr_t)buf_cstr(&report), "\n"); line; line = strtok(NULL, "\n"))
			job_say(j, "%s", line);
		buf_clear(&report);
	}
	if (attempt_start(&j->attempt, &o, e) < 0)
		return -1;
	j->attempt.o.restore = NULL; /* it was of use for starting only */
	j->running = true;
	j->leave_us = 0;
	job_skip_logs(j);
	if (j->drain)
		coordinator_want_drain(j->attempt.coordinator);
	if (j->stop_us)
		coordinator_want_stop(j->attempt.coordinator);
	want_again(j);
	return 0;
}

static void finish(struct job *j, int status)
{
	j->over = true;
	j->status = status;
}

static void end_attempt(struct job *j)
{
	job_show_logs(j);
	attempt_end(&j->attempt);
	j->running = false;
}

/* Exit statuses of a stage that another attempt wouldn't change. */
static bool is_hopeless(int status)
{
	return status == ERROR_DATA || status == ERROR_USAGE || status == ERROR_STATE;
}

/* A file that isn't there when the job starts for the first time is a slip of the pen. */
static bool never_ran(const struct job *j, const struct attempt_failure *f)
{
	return f->said && f->status == ERROR_IO && !j->restarts && !j->last.id && !j->has_restored;
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
	j->worthless = (is_hopeless(f->status) || never_ran(j, f)) && !j->last.id && !j->has_restored;
	if (!j->worthless)
		error_hint(e, "its log: %s", f->log);
	finish(j, f->status == ERROR_UPSTREAM || f->status > ERROR_IO ? ERROR_IO : f->status);
}

/* runnel ... | head: nobody will read it another time, unlike a named pipe. */
static bool output_is_closed(void)
{
	struct pollfd p = {.fd = STDOUT_FILENO};

	return poll(&p, 1, 0) == 1 && p.revents & (POLLERR | POLLHUP);
}

static void take_failure(struct job *j, int64_t now_us)
{
	struct attempt_failure f = j->attempt.failure;
	int64_t wait_us;

	end_attempt(j);
	mem_free(j->failure);
	j->failure = mem_printf("%s: %s", f.stage, f.text);
	j->failure[strcspn(j->failure, "\n")] = '\0';
	if (f.status == ERROR_CLOSED && output_is_closed()) {
		finish(j, ERROR_CLOSED);
		return;
	}
	if (is_hopeless(f.status) || never_ran(j, &f)) {
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
		job_say(j, "%s; stopped without a new checkpoint", j->failure);
		finish(j, j->stop_signal ? 128 + j->stop_signal : 0);
		return;
	}
	j->restarts++;
	j->restart_us = now_us + wait_us;
	job_say(j, "%s; starting again in %.1f s", j->failure, (double)wait_us / 1e6);
}

static void restart(struct job *j, int64_t now_us)
{
	struct error e = ERROR_INIT;

	if (start_attempt(j, &e) == 0)
		return;
	if (e.code == ERROR_IO) {
		int64_t wait_us = backoff_failed(&j->backoff, now_us);

		job_say(j, "%s", e.text);
		j->restart_us = now_us + wait_us;
		if (wait_us >= 0)
			return;
	}
	j->error = e;
	finish(j, (int)e.code);
}

/* ---- signals ---- */

void job_ask_stop(struct job *j, int64_t now_us)
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
		job_say(j, "%s; started again, it goes on from checkpoint %" PRIu64, how, j->last.id);
	else if (j->has_restored)
		job_say(j, "%s; started again, it goes on from %s %" PRIu64, how,
			barrier_kind_name(j->restored.kind), j->restored.id);
	else
		job_say(j, "%s; started again, it begins anew: there is no checkpoint yet", how);
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
	job_say(j, "stopping: a checkpoint first (again to stop at once)");
	job_ask_stop(j, now_us);
}

static void take_signals(struct job *j, int64_t now_us)
{
	struct signalfd_siginfo info;

	while (read(j->signals, &info, sizeof info) == (ssize_t)sizeof info)
		take_signal(j, (int)info.ssi_signo, now_us);
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
		j->worthless = ended;
		if (!ended)
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
		job_say(j, "stopped without a new checkpoint: that took longer than %d s", STOP_US / 1000000);
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
	job_show_logs(j);
	if (j->o->view && !j->o->quiet)
		job_with_status(j, job_put_view, j);
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
		job_reap_writers(j);
		server_turn(j->server, job_take_request, j);
		if (j->metrics)
			metrics_turn(j->metrics);
		if (!j->over)
			take_time(j, clock_mono_us());
	}
	return 0;
}

static int open_signals(struct job *j, struct error *e)
{
	sigset_t set;

	signal(SIGCHLD, SIG_DFL); /* who ignores it, as some that start services do, reaps nobody */
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
		job_say(j, "the job has checkpoints of its own: %s was for its first start", j->o->from);
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
			metrics_open(j->o->metrics, job_put_metrics, j, &j->metrics, e) : 0;
	if (j->metrics)
		job_say(j, "metrics at port %u", metrics_port(j->metrics));
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

	if (open_job(&j, e) == 0 && start_attempt(&j, e) == 0) {
		status = run_loop(&j, e);
		job_answer_rest(&j);
	}
	if (status == 0 && j.error.code) {
		*e = j.error;
		status = -1;
	}
	if (status == 0)
		status = j.status;
	job_clear_view(&j);
	close_job(&j);
	if (j.worthless && status == 0)
		state_end(state);
	else if (j.worthless)
		state_remove(state);
	return status;
}
