#include "libcore/stage/run.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/outfile.h"
#include "libcore/frame/channel.h"
#include "libcore/stage/control.h"
#include "libcore/stage/feed.h"
#include "libcore/stage/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	RUN_FEEDS_MAX = LINE_INPUTS_MAX,
	RUN_SIDES_MAX = LINE_OUTPUTS_MAX,
	/* Frames taken from one channel before the others are looked at: enough that switching costs
	 * nothing, few enough that no channel waits. */
	RUN_FRAMES_PER_TURN = 16,
};

struct side {
	struct outfile file;
	struct channel_writer *writer;
};

struct branch {
	struct channel_writer *writer;
	int fd;                        /* -1: closed */
	int over;                      /* end of file once its processes have gone; -1: waited for */
};

struct run {
	const struct run_options *options;
	struct stage *st;
	struct feed feeds[RUN_FEEDS_MAX];
	size_t feeds_len;
	struct channel_writer *main_writer;
	struct side sides[RUN_SIDES_MAX];
	size_t sides_len;
	struct branch branches[DESCRIPTION_BRANCHES_MAX];
	size_t branches_len;
	struct neighbour terminal;     /* behind this stage, when standard output is a terminal */
	bool has_terminal;
	struct control *control;       /* under a supervisor */
	struct channel_writer **writers; /* of the plan's outputs */
	size_t writers_len;
	int64_t began_us, report_us;   /* when it started, when the next report is due */
	sig_atomic_t heard;            /* interrupts that were acted on */
	uint64_t idle_us;
};

static volatile sig_atomic_t interrupts, progress_asked;
static bool silent;

bool run_error_is_silent(const struct error *e)
{
	return silent || e->code == ERROR_CLOSED;
}

/* ---- signals ---- */

static void on_interrupt(int signo)
{
	(void)signo;
	if (++interrupts > 1)
		_exit(ERROR_INTERRUPTED);
}

static void on_progress(int signo)
{
	(void)signo;
	progress_asked = 1;
}

/* No SA_RESTART: a wait has to return. */
static void catch_signals(void)
{
	struct sigaction interrupt = {.sa_handler = on_interrupt};
	struct sigaction progress = {.sa_handler = on_progress};

	sigaction(SIGINT, &interrupt, NULL);
	sigaction(SIGTERM, &interrupt, NULL);
	sigaction(SIGUSR1, &progress, NULL);
}

/* Waits, but not for a signal that has come since it was looked for last: between the look and the
 * wait it would be lost, and a source that nobody sends anything to never ends. */
static int wait_or_signal(const struct run *r, struct pollfd *fds, nfds_t n, int64_t timeout_us)
{
	struct timespec timeout = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
	sigset_t waking, before;
	int status = 0;

	sigemptyset(&waking);
	sigaddset(&waking, SIGINT);
	sigaddset(&waking, SIGTERM);
	sigaddset(&waking, SIGUSR1);
	sigprocmask(SIG_BLOCK, &waking, &before);
	if (interrupts == r->heard && !progress_asked)
		status = ppoll(fds, n, timeout_us < 0 ? NULL : &timeout, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status < 0 && errno != EINTR ? -1 : 0;
}

static void print_progress(struct run *r)
{
	struct stage_metrics m = stage_metrics(r->st);

	progress_asked = 0;
	fprintf(stderr, "%s: %llu rows in, %llu rows out, %llu late, %llu bad\n", r->options->name,
		(unsigned long long)m.rows_in, (unsigned long long)m.rows_out,
		(unsigned long long)m.late, (unsigned long long)m.bad);
}

/* ---- reports ---- */

static bool run_reports(const struct run *r)
{
	return stage_operator(r->st)->ops->report != NULL;
}

static int run_report(struct run *r, bool asked, bool last, struct error *e)
{
	const struct operator *op = stage_operator(r->st);
	struct stage_metrics m = stage_metrics(r->st);
	struct stage_report report = {.now_us = clock_wall_us(), .asked = asked, .last = last,
		.elapsed_us = clock_mono_us() - r->began_us, .rows = m.rows_in,
		.idle_us = r->idle_us, .blocked_us = m.blocked_us};

	r->report_us = report.elapsed_us + op->report_us;
	return stage_report(r->st, &report, e);
}

/* Milliseconds until the next report; -1: none is due ever. */
static int report_timeout(const struct run *r)
{
	int64_t left_us;

	if (!run_reports(r) || !stage_operator(r->st)->report_us)
		return -1;
	left_us = r->report_us - (clock_mono_us() - r->began_us);
	return left_us <= 0 ? 0 : left_us > 60000000 ? 60000 : (int)((left_us + 999) / 1000);
}

static int run_report_if_due(struct run *r, struct error *e)
{
	bool asked = progress_asked;

	if (!run_reports(r)) {
		if (asked)
			print_progress(r);
		return 0;
	}
	progress_asked = 0;
	return asked || report_timeout(r) == 0 ? run_report(r, asked, false, e) : 0;
}

static int run_checkpoint(void *context, struct stage *st, const struct barrier *b,
	const struct buf *handle, struct error *e)
{
	const struct run *r = context;

	return control_checkpoint(r->control, st, b, handle, e);
}

static int run_wait_writable(void *context, int fd, struct error *e)
{
	const struct run *r = context;
	struct channel_wait wait = control_wait(r->control);

	return wait.wait(wait.context, fd, e);
}

static bool run_interrupted(void *context)
{
	(void)context;
	return interrupts > 0;
}

static void print_warning(void *context, const char *text)
{
	const struct run *r = context;

	if (!r->options->quiet)
		fprintf(stderr, "%s: warning: %s\n", r->options->name, text);
}

/* ---- setting up ---- */

/* A stage in front, or a recorded edge: what else a program's standard input is, is not meant. */
static bool standard_input_is_stream(void)
{
	struct stat st;

	return fstat(STDIN_FILENO, &st) == 0 &&
		(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISREG(st.st_mode));
}

static int open_standard_input(struct run *r, struct error *e)
{
	if (isatty(STDIN_FILENO))
		return error_set(e, ERROR_USAGE, "standard input is a terminal, not a frame stream\n"
			"put ssource in front: ssource FILE | %s ...", r->options->program->info.name);
	channel_size_pipe(STDIN_FILENO);
	feed_open_fd(&r->feeds[r->feeds_len++], 0, STDIN_FILENO, false, "standard input");
	return 0;
}

static bool file_is_frames(int fd)
{
	uint8_t head[16];
	ssize_t n = pread(fd, head, sizeof head, 0);

	return n >= FRAME_HEADER_BYTES && feed_looks_like_frames(head, (size_t)n);
}

/* An input given as a path: a pipe or a recorded edge, or a file that is opened in this process. */
static int open_path(struct run *r, unsigned input, const char *path, struct error *e)
{
	struct feed *f = &r->feeds[r->feeds_len];
	struct operator *source;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(e, "%s: can't open", path);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !file_is_frames(fd) &&
		r->options->setup->open_input) {
		close(fd);
		if (r->options->setup->open_input(path, &source, e) < 0)
			return -1;
		feed_open_neighbour(f, input, source, path);
	} else {
		channel_size_pipe(fd);
		feed_open_fd(f, input, fd, true, path);
	}
	r->feeds_len++;
	return 0;
}

/* Descriptors of the plan instead of standard input and paths. */
static int open_planned_inputs(struct run *r, const struct operator *op, struct error *e)
{
	const struct line_plan *p = control_plan(r->control);

	for (size_t i = 0; i < p->inputs_len; i++) {
		const struct line_input *in = &p->inputs[i];

		if (in->input >= op->inputs)
			return error_set(e, ERROR_USAGE, "the plan feeds input %u of %u", in->input,
				op->inputs);
		feed_open_fd(&r->feeds[r->feeds_len++], in->input, in->fd, true, in->name);
	}
	return 0;
}

static struct channel_writer *planned_writer(struct run *r, int fd)
{
	struct channel_writer *w = channel_writer_new(fd, "the next stage");
	struct channel_wait wait = control_wait(r->control);

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	channel_writer_on_block(w, &wait);
	return w;
}

static void open_planned_outputs(struct run *r, const struct operator *op,
	struct stage_output_plan *plans)
{
	const struct line_plan *p = control_plan(r->control);
	size_t writers = 0;

	for (size_t o = 0; o < p->outputs_len; o++)
		writers += p->outputs[o].fds_len;
	r->writers = mem_zero(writers * sizeof(struct channel_writer *));
	for (size_t o = 0; o < p->outputs_len && o < op->outputs; o++) {
		const struct line_output *out = &p->outputs[o];
		size_t first = r->writers_len;

		for (size_t i = 0; i < out->fds_len; i++)
			r->writers[r->writers_len++] = planned_writer(r, out->fds[i]);
		plans[o] = (struct stage_output_plan){.writers = r->writers + first,
			.writers_len = out->fds_len, .keys = out->keys, .keys_len = out->keys_len};
	}
}

static int open_inputs(struct run *r, const struct operator *op, struct error *e)
{
	const struct stage_description *about = &r->options->setup->about;

	MUST(op->inputs <= DESCRIPTION_INPUTS_MAX);
	if (r->control)
		return open_planned_inputs(r, op, e);
	for (unsigned i = 0; i < op->inputs; i++) {
		const char *path = about->inputs[i];

		if (!path && about->pipe_optional && !standard_input_is_stream())
			continue;
		if (path ? open_path(r, i, path, e) : open_standard_input(r, e))
			return -1;
	}
	return 0;
}

static int open_main_output(struct run *r, struct stage_output_plan *plan, struct error *e)
{
	int (*terminal_sink)(struct operator **out, struct error *e) =
		r->options->program->terminal_sink;
	struct operator *sink;

	if (!isatty(STDOUT_FILENO)) {
		channel_size_pipe(STDOUT_FILENO);
		r->main_writer = channel_writer_new(STDOUT_FILENO, "standard output");
	} else if (!terminal_sink) {
		return error_set(e, ERROR_USAGE,
			"standard output is a terminal, and frames are not for reading\n"
			"put ssink behind: ... | ssink");
	} else {
		if (terminal_sink(&sink, e) < 0)
			return -1;
		neighbour_open_sink(&r->terminal, sink, r->options->name);
		r->has_terminal = true;
		r->main_writer = r->terminal.writer;
	}
	plan->writers = &r->main_writer;
	plan->writers_len = 1;
	return 0;
}

static int open_side(struct run *r, const char *path, struct stage_output_plan *plan,
	struct error *e)
{
	struct side *s = &r->sides[r->sides_len];

	if (!path)
		return 0;
	if (outfile_open(&s->file, path, e) < 0)
		return -1;
	s->writer = channel_writer_new(s->file.fd, path);
	r->sides_len++;
	plan->writers = &s->writer;
	plan->writers_len = 1;
	return 0;
}

static int open_branch(struct run *r, size_t index, struct stage_output_plan *plan, struct error *e)
{
	struct branch *b = &r->branches[index];

	if (r->options->setup->branches->open(index, &b->fd, &b->over, e) < 0)
		return -1;
	r->branches_len++;
	channel_size_pipe(b->fd);
	b->writer = channel_writer_new(b->fd, "a pipeline");
	plan->writers = &b->writer;
	plan->writers_len = 1;
	return 0;
}

static int open_other_output(struct run *r, unsigned output, struct stage_output_plan *plan,
	struct error *e)
{
	const struct stage_description *about = &r->options->setup->about;

	return output <= about->branches_len ? open_branch(r, output - 1, plan, e) :
		open_side(r, about->sides[output - 1].path, plan, e);
}

static int open_outputs(struct run *r, const struct operator *op, struct stage_output_plan *plans,
	struct error *e)
{
	MUST(op->outputs <= RUN_SIDES_MAX);
	if (r->control) {
		open_planned_outputs(r, op, plans);
		return 0;
	}
	for (unsigned i = 0; i < op->outputs; i++) {
		int status = i == 0 ? open_main_output(r, &plans[0], e) :
			open_other_output(r, i, &plans[i], e);

		if (status < 0)
			return -1;
	}
	return 0;
}

/* ---- branches ---- */

static int wait_branch(struct run *r, size_t index, struct error *e)
{
	struct branch *b = &r->branches[index];

	if (b->over < 0)
		return 0;
	close(b->over);
	b->over = -1;
	return r->options->setup->branches->wait(index, e);
}

/* Nothing is written to any of them any more.  Waits for all; the error is the first's. */
static int wait_branches(struct run *r, struct error *e)
{
	int status = 0;

	for (size_t i = 0; i < r->branches_len; i++) {
		if (r->branches[i].fd >= 0)
			close(r->branches[i].fd);
		r->branches[i].fd = -1;
	}
	for (size_t i = 0; i < r->branches_len; i++) {
		struct error ignored = ERROR_INIT;

		if (wait_branch(r, i, status ? &ignored : e) < 0)
			status = -1;
	}
	return status;
}

static int run_others_ended(void *context, struct error *e)
{
	return wait_branches(context, e);
}

/* What has gone before its END had enough, or failed: then so does this stage. */
static int check_branches(struct run *r, struct error *e)
{
	for (size_t i = 0; i < r->branches_len; i++) {
		struct pollfd over = {.fd = r->branches[i].over, .events = POLLIN};

		if (over.fd >= 0 && poll(&over, 1, 0) > 0 && wait_branch(r, i, e) < 0)
			return -1;
	}
	return 0;
}

static void close_planned(struct run *r)
{
	const struct line_plan *p = r->control ? control_plan(r->control) : NULL;

	for (size_t i = 0; i < r->writers_len; i++)
		channel_writer_free(r->writers[i]);
	mem_free(r->writers);
	for (size_t o = 0; p && o < p->outputs_len; o++) {
		for (size_t i = 0; i < p->outputs[o].fds_len; i++)
			close(p->outputs[o].fds[i]);
	}
	control_close(r->control);
}

static void run_close(struct run *r)
{
	struct error ignored = ERROR_INIT;

	stage_free(r->st);
	wait_branches(r, &ignored);
	close_planned(r);
	for (size_t i = 0; i < r->feeds_len; i++)
		feed_close(&r->feeds[i]);
	if (r->has_terminal)
		neighbour_close(&r->terminal);
	else
		channel_writer_free(r->main_writer);
	for (size_t i = 0; i < r->sides_len; i++) {
		channel_writer_free(r->sides[i].writer);
		outfile_abort(&r->sides[i].file);
	}
	for (size_t i = 0; i < r->branches_len; i++)
		channel_writer_free(r->branches[i].writer);
}

/* ---- the loop ---- */

/* 0; 1: leave without END; -1. */
static int interrupted(struct run *r, struct error *e)
{
	r->heard = interrupts;
	if (run_report_if_due(r, e) < 0)
		return -1;
	if (r->control)
		return control_turn(r->control, r->st, e);
	if (!interrupts || stage_operator(r->st)->inputs)
		return 0; /* stages behind the source ignore the first: the source's END will come */
	if (stage_drain(r->st))
		return 0;
	return error_set(e, ERROR_INTERRUPTED, "interrupted before the input was complete");
}

/* What a terminal behind this stage has been given. */
static int run_terminal(struct run *r, struct error *e)
{
	return r->has_terminal ? neighbour_take(&r->terminal, e) : 0;
}

/* Nothing more to read at the moment. */
static int run_idle(struct run *r, struct error *e)
{
	if (stage_idle(r->st, e) < 0)
		return -1;
	return r->has_terminal ? neighbour_idle(&r->terminal, e) : 0;
}

/* Of two times to wait; -1: for ever. */
static int64_t earlier(int64_t a_us, int64_t b_us)
{
	return a_us < 0 || (b_us >= 0 && b_us < a_us) ? b_us : a_us;
}

static int64_t operator_idle_us(const struct operator *op)
{
	return (op->outputs == 0 || op->hears) && op->inputs && op->wait_us > 0 ? op->wait_us : -1;
}

/* How long a sink or who hears others, this stage or its terminal, wants to be left idle; -1: for
 * ever. */
static int64_t run_idle_us(const struct run *r)
{
	int64_t own_us = operator_idle_us(stage_operator(r->st));

	return r->has_terminal ?
		earlier(own_us, operator_idle_us(stage_operator(r->terminal.st))) : own_us;
}

/* Takes what feed i has, up to a turn's frames.  1 if there was any, 0 if it would block. */
static int run_turn(struct run *r, size_t i, bool may_block, struct error *e)
{
	struct feed *f = &r->feeds[i];
	int taken = 0;

	while (taken < RUN_FRAMES_PER_TURN && stage_wants(r->st, i)) {
		struct frame frame;

		switch (feed_read(f, may_block && !taken, &frame, e)) {
		case CHANNEL_FRAME:
			if (stage_take(r->st, i, &frame, e) < 0)
				return feed_context(f, r->st, e);
			break;
		case CHANNEL_EOF:
			if (stage_take_eof(r->st, i, feed_name(f), e) < 0)
				return -1;
			break;
		case CHANNEL_AGAIN: return taken > 0;
		case CHANNEL_ERROR: return -1;
		}
		taken++;
	}
	return taken > 0;
}

static bool run_counts_idle(const struct run *r)
{
	return r->control || run_reports(r);
}

static void run_idled(struct run *r, int64_t since)
{
	int64_t us = run_counts_idle(r) ? clock_mono_us() - since : 0;

	r->idle_us += (uint64_t)us;
	if (r->control)
		control_idled(r->control, us);
}

/* Waits until one of the channels that may be read has something. */
static int run_wait(struct run *r, struct error *e)
{
	struct pollfd fds[RUN_FEEDS_MAX + DESCRIPTION_BRANCHES_MAX + 4];
	nfds_t n = r->control ? control_fds(r->control, fds) : 0;
	const struct operator *op = stage_operator(r->st);
	int report_ms = report_timeout(r);
	int64_t since, timeout_us = earlier(
		report_ms < 0 ? -1 : report_ms * (int64_t)1000, run_idle_us(r));

	for (size_t i = 0; i < r->feeds_len; i++) {
		if (stage_wants(r->st, i))
			fds[n++] = (struct pollfd){.fd = feed_fd(&r->feeds[i]), .events = POLLIN};
	}
	MUST(n > 0);
	if (op->hears) {
		fds[n++] = (struct pollfd){.fd = op->wait_fd, .events = POLLIN};
		fds[n++] = (struct pollfd){.fd = op->tell_fd, .events = POLLOUT};
	}
	for (size_t i = 0; i < r->branches_len; i++)
		fds[n++] = (struct pollfd){.fd = r->branches[i].over, .events = POLLIN};
	since = run_counts_idle(r) ? clock_mono_us() : 0;
	if (wait_or_signal(r, fds, n, timeout_us) < 0)
		return error_errno(e, "can't wait for input");
	run_idled(r, since);
	return 0;
}

static bool run_is_complete(const struct run *r)
{
	for (size_t i = 0; i < r->feeds_len; i++) {
		if (!feed_is_over(&r->feeds[i]))
			return false;
	}
	return stage_has_ended(r->st);
}

static int run_inputs(struct run *r, struct error *e)
{
	while (!run_is_complete(r)) {
		int any = 0, told;

		for (size_t i = 0; i < r->feeds_len; i++) {
			int status = run_turn(r, i, false, e);

			if (status < 0)
				return -1;
			any |= status;
		}
		told = interrupted(r, e);
		if (told < 0 || run_terminal(r, e) < 0 || check_branches(r, e) < 0)
			return -1;
		if (told || stage_outputs_closed(r->st))
			return 0;
		if (!r->control && stage_is_done(r->st))
			return stage_end_early(r->st, e) < 0 ? -1 : run_terminal(r, e);
		if (!any && (run_idle(r, e) < 0 ||
			(!run_is_complete(r) && run_wait(r, e) < 0)))
			return -1;
	}
	return 0;
}

static int source_wait(struct run *r, struct error *e)
{
	const struct operator *op = stage_operator(r->st);
	struct pollfd fds[3] = {{.fd = op->wait_fd, .events = POLLIN}};
	nfds_t n = 1 + (r->control ? control_fds(r->control, fds + 1) : 0);
	int64_t since, wait_us;

	if (run_idle(r, e) < 0)
		return -1;
	wait_us = earlier(op->wait_us, run_idle_us(r));
	since = run_counts_idle(r) ? clock_mono_us() : 0;
	if (wait_or_signal(r, fds, n, wait_us) < 0)
		return error_errno(e, "can't wait for input");
	run_idled(r, since);
	return 0;
}

static int run_source(struct run *r, struct error *e)
{
	for (;;) {
		enum produce_status status;
		int told = interrupted(r, e);

		if (told)
			return told < 0 ? -1 : 0;
		status = stage_produce(r->st, e);
		if (status == PRODUCE_ERROR || run_terminal(r, e) < 0)
			return -1;
		if (status == PRODUCE_END || stage_outputs_closed(r->st))
			return 0;
		if (status == PRODUCE_WAIT && source_wait(r, e) < 0)
			return -1;
	}
}

static int commit_sides(struct run *r, struct error *e)
{
	for (size_t i = 0; i < r->sides_len; i++) {
		if (channel_flush(r->sides[i].writer, e) < 0 ||
			outfile_commit(&r->sides[i].file, false, e) < 0)
			return -1;
	}
	return 0;
}

/* A stage that fails tells those behind; the error stays as it was. */
static void run_fail(struct run *r, const struct error *cause)
{
	struct error ignored = ERROR_INIT;

	stage_fail(r->st, cause);
	if (r->has_terminal) {
		neighbour_take(&r->terminal, &ignored);
		neighbour_abort(&r->terminal, cause);
	}
	/* The last stage of the pipeline repeats the first cause: one message is enough. */
	silent = stage_was_told_nothing(r->st) ||
		(stage_was_told(r->st) && stage_operator(r->st)->outputs && !r->has_terminal);
}

/* To the end of the input, and under a supervisor to the last commit. */
static int run_loop(struct run *r, struct error *e)
{
	const struct operator *op = stage_operator(r->st);
	int status = 0;

	if (r->control)
		status = control_start(r->control, r->st, e);
	if (status == 1)
		return 0;
	if (status == 0)
		status = op->inputs ? run_inputs(r, e) : run_source(r, e);
	if (status == 0 && r->control && stage_has_ended(r->st))
		status = control_finish(r->control, r->st, e);
	if (status == 0)
		status = stage_has_ended(r->st) ? commit_sides(r, e) : wait_branches(r, e);
	if (status < 0 && r->control)
		control_fail(r->control, e);
	return status;
}

int run_stage(const struct run_options *o, struct operator *op, struct control *control,
	struct error *e)
{
	struct run *r = mem_zero(sizeof *r);
	struct stage_output_plan outputs[RUN_SIDES_MAX] = {0};
	unsigned channel_inputs[RUN_FEEDS_MAX];
	struct stage_plan plan = {.name = o->name, .subtasks = 1, .channel_inputs = channel_inputs,
		.outputs = outputs, .supervised = control != NULL,
		.hooks = {.context = r, .warn = print_warning, .others_ended = run_others_ended}};
	struct error ignored = ERROR_INIT;
	int status = -1;

	r->options = o;
	r->control = control;
	if (control) {
		plan.name = control_plan(control)->name;
		plan.subtask = control_plan(control)->subtask;
		plan.subtasks = control_plan(control)->subtasks;
		plan.job = control_plan(control)->job;
		plan.attempt = control_plan(control)->attempt;
		plan.finished = control_plan(control)->finished;
		plan.drops = control_plan(control)->drops;
		plan.drops_len = control_plan(control)->drops_len;
		plan.hooks.checkpoint = run_checkpoint;
		plan.hooks.wait = run_wait_writable;
	} else {
		plan.hooks.interrupted = run_interrupted;
		catch_signals();
	}
	if (open_inputs(r, op, e) < 0 || open_outputs(r, op, outputs, e) < 0) {
		if (op->ops->free)
			op->ops->free(op);
		goto out;
	}
	for (size_t i = 0; i < r->feeds_len; i++)
		channel_inputs[i] = r->feeds[i].input;
	plan.channels_len = r->feeds_len;
	r->st = stage_new(&plan, op);
	r->began_us = clock_mono_us();
	r->report_us = op->report_us;
	status = run_loop(r, e);
	if (run_reports(r) && run_report(r, false, true, status < 0 ? &ignored : e) < 0)
		status = -1;
	if (status < 0)
		run_fail(r, e);
out:
	run_close(r);
	mem_free(r);
	return status;
}
