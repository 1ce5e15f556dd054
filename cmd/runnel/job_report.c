#include "cmd/runnel/job_private.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- saying ---- */

void job_clear_view(struct job *j)
{
	if (j->view_lines)
		fprintf(stderr, "\r\033[%uA\033[J", j->view_lines);
	j->view_lines = 0;
}

void job_say(struct job *j, const char *format, ...)
{
	va_list args;

	if (j->o->quiet)
		return;
	job_clear_view(j);
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
		job_clear_view(j);
		fwrite(text, 1, (size_t)n, stderr);
		j->log_offsets[task] += n;
	}
	if (fd >= 0)
		close(fd);
}

void job_show_logs(struct job *j)
{
	/* What follows from a failure or a stop, stages say too; here the cause is said once. */
	if (!j->running || j->o->quiet || j->attempt.failure.failed ||
		coordinator_phase(j->attempt.coordinator) == COORDINATOR_STOPPED)
		return;
	for (size_t i = 0; i < j->attempt.tasks_len; i++)
		show_log(j, i);
}

/* Logs go on from attempt to attempt; what an earlier one wrote isn't shown again. */
void job_skip_logs(struct job *j)
{
	j->log_offsets = mem_resize(j->log_offsets, j->attempt.tasks_len * sizeof *j->log_offsets);
	for (size_t i = 0; i < j->attempt.tasks_len; i++)
		j->log_offsets[i] = j->attempt.tasks[i].log_start;
}

/* ---- status ---- */

void job_with_status(struct job *j, void (*put)(const struct status *s, void *context),
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

void job_put_view(const struct status *s, void *context)
{
	struct job *j = context;
	struct winsize size = {.ws_col = 0};
	struct buf text = BUF_INIT;
	unsigned lines_max;
	size_t end = 0;

	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	if (!size.ws_col)
		size.ws_col = 80;
	lines_max = size.ws_row > 1 ? size.ws_row - 1u : 24; /* what scrolls away can't be cleared */
	status_put_table(s, &(struct status_form){.columns = size.ws_col,
		.color = !getenv("NO_COLOR")}, &text);
	job_clear_view(j);
	for (; end < text.len && j->view_lines < lines_max; end++)
		j->view_lines += text.data[end] == '\n';
	fwrite(text.data, 1, end, stderr);
	buf_clear(&text);
}

static void put_prometheus(const struct status *s, void *context)
{
	status_put_prometheus(s, context);
}

void job_put_metrics(void *context, struct buf *out)
{
	job_with_status(context, put_prometheus, out);
}
