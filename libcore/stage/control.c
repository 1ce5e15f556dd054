#include "libcore/stage/control.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/outfile.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a snapshot child tells its parent, in one write to a pipe. */
struct snapshot_result {
	int failed;
	uint64_t bytes, hash;
	struct error error;
};

enum {
	/* A snapshot may take longer; the rows don't wait for it. */
	SNAPSHOT_NICE = 10,
	/* Orders that may come while a stage is blocked: one checkpoint and one commit at a time, a
	 * drain, a stop. */
	DEFERRED_MAX = 16,
};

struct deferred {
	struct line_message message;
	struct buf handle;
};

struct control {
	struct line *line;
	struct stage *st;     /* once it has started */
	struct deferred deferred[DEFERRED_MAX];
	size_t deferred_len, answering; /* those before have been followed, or are */
	uint64_t idle_us;
	uint64_t alignment_us; /* of the snapshot under way */
	struct line_plan plan;
	pid_t child;          /* a snapshot under way; 0: none */
	int child_fd;         /* its result; -1 */
	uint64_t checkpoint;  /* ... of this checkpoint */
	char *path;           /* ... into this file */
	struct buf handle;    /* ... acknowledged with this */
	uint64_t final_epoch; /* a sink leaves once this is committed; 0: not known yet */
	bool left;            /* it has been */
};

bool control_is_wanted(void)
{
	return getenv(LINE_ENVIRONMENT) != NULL;
}

int control_open(struct control **out, struct error *e)
{
	const char *text = getenv(LINE_ENVIRONMENT);
	char *end;
	long fd = strtol(text, &end, 10);
	struct control *c;

	if (end == text || *end || fd < 0 || fcntl((int)fd, F_GETFD) < 0)
		return error_set(e, ERROR_USAGE, LINE_ENVIRONMENT "='%s' names no open descriptor",
			text);
	signal(SIGINT, SIG_IGN); /* the supervisor decides */
	signal(SIGTERM, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	c = mem_zero(sizeof *c);
	c->line = line_new((int)fd);
	c->child_fd = -1;
	*out = c;
	return 0;
}

int control_describe(struct control *c, const struct operator *op,
	const struct stage_description *about, struct error *e)
{
	struct line_message m = {.kind = LINE_DESCRIPTION, .description = {.type = op->ops->type,
		.inputs = op->inputs, .outputs = op->outputs, .bounded = op->bounded,
		.about = *about}};

	if (line_send(c->line, &m, e) < 0)
		return -1;
	return line_read_plan(c->line, &c->plan, e);
}

static void stop_child(struct control *c)
{
	if (c->child > 0) {
		kill(c->child, SIGKILL);
		waitpid(c->child, NULL, 0);
	}
	if (c->child_fd >= 0)
		close(c->child_fd);
	c->child = 0;
	c->child_fd = -1;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	stop_child(c);
	line_free(c->line);
	for (size_t i = 0; i < DEFERRED_MAX; i++)
		buf_clear(&c->deferred[i].handle);
	buf_clear(&c->handle);
	mem_free(c->path);
	mem_free(c);
}

const struct line_plan *control_plan(const struct control *c)
{
	return &c->plan;
}

/* ---- snapshots ---- */

static char *snapshot_path(const struct control *c, uint64_t checkpoint, struct error *e)
{
	char *directory = mem_printf("%s/%llu", c->plan.snapshots, (unsigned long long)checkpoint);
	char *path = NULL;

	if (mkdir(directory, 0777) < 0 && errno != EEXIST)
		error_errno(e, "%s: can't make the directory", directory);
	else
		path = mem_printf("%s/%s.%u.frames", directory, c->plan.name, c->plan.subtask);
	mem_free(directory);
	return path;
}

static void hash_bytes(void *context, const void *bytes, size_t len)
{
	XXH64_update(context, bytes, len);
}

static int write_snapshot(struct stage *st, const char *path, struct snapshot_result *out,
	struct error *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), status = -1;
	struct channel_writer *w;
	XXH64_state_t state;

	if (fd < 0)
		return error_errno(e, "%s: can't create", path);
	XXH64_reset(&state, 0);
	w = channel_writer_new(fd, path);
	channel_writer_tap(w, &(struct channel_tap){hash_bytes, &state});
	if (stage_snapshot(st, w, e) == 0 && channel_flush(w, e) == 0)
		status = fsync(fd) < 0 ? error_errno(e, "%s: can't sync", path) : 0;
	out->bytes = channel_writer_bytes(w);
	out->hash = XXH64_digest(&state);
	channel_writer_free(w);
	close(fd);
	return status < 0 ? -1 : outfile_sync_directory(path, e);
}

static int number_of(const char *name)
{
	char *end;
	long n = strtol(name, &end, 10);

	return end == name || *end ? -1 : (int)n;
}

/* A file without a name is spilled state, which the snapshot takes in. */
static bool is_spilled(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0;
}

/* Everything but the result's pipe, the lock, standard error and spilled state: a child that held an
 * edge open would keep the stage behind from seeing its end. */
static void close_others(int keep, int lock)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		int fd = number_of(entry->d_name);

		if (fd >= 0 && fd != keep && fd != lock && fd != STDERR_FILENO && fd != dirfd(d) &&
			!is_spilled(fd))
			close(fd);
	}
	if (d)
		closedir(d);
}

static void snapshot_child(struct control *c, struct stage *st, pid_t parent, int to)
{
	struct snapshot_result result = {.failed = 0, .error = ERROR_INIT};
	ssize_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1); /* it died before it could take this process along */
	close_others(to, c->plan.lock_fd);
	setpriority(PRIO_PROCESS, 0, SNAPSHOT_NICE);
	result.failed = write_snapshot(st, c->path, &result, &result.error) < 0;
	/* Smaller than PIPE_BUF: one write, whole or not at all. */
	do
		n = write(to, &result, sizeof result);
	while (n < 0 && errno == EINTR);
	_exit(n == (ssize_t)sizeof result ? 0 : 1);
}

static int acknowledge(struct control *c, const struct snapshot_result *r, struct error *e)
{
	struct line_message m = {.kind = LINE_ACK, .number = c->checkpoint, .text = c->path,
		.bytes = r->bytes, .hash = r->hash, .handle = c->handle.data,
		.handle_len = c->handle.len, .alignment_us = c->alignment_us};

	return line_send(c->line, &m, e);
}

/* A snapshot that couldn't be written (a full disk) costs a checkpoint, not the job. */
static int decline(struct control *c, const struct error *why, struct error *e)
{
	struct line_message m = {.kind = LINE_DECLINED, .number = c->checkpoint, .text = why->text};

	return line_send(c->line, &m, e);
}

/* The child is done (or dead): its snapshot is acknowledged or declined. */
static int reap(struct control *c, struct error *e)
{
	struct snapshot_result result = {.error = ERROR_INIT};
	ssize_t n;

	do
		n = read(c->child_fd, &result, sizeof result);
	while (n < 0 && errno == EINTR);
	close(c->child_fd);
	c->child_fd = -1;
	waitpid(c->child, NULL, 0);
	c->child = 0;
	if (n != (ssize_t)sizeof result)
		error_set(&result.error, ERROR_IO, "%s: the process that wrote it died", c->path);
	else if (!result.failed)
		return acknowledge(c, &result, e);
	return decline(c, &result.error, e);
}

/* In this process: where fork fails, or would leave threads behind. */
static int snapshot_here(struct control *c, struct stage *st, struct error *e)
{
	struct snapshot_result result = {.failed = 0, .error = ERROR_INIT};

	return write_snapshot(st, c->path, &result, &result.error) < 0 ?
		decline(c, &result.error, e) : acknowledge(c, &result, e);
}

/* Copy on write keeps the state as it is now for the child, while this process goes on. */
static int snapshot_begin(struct control *c, struct stage *st, struct error *e)
{
	pid_t parent = getpid();
	int ends[2];

	if (stage_operator(st)->in_place || pipe2(ends, O_CLOEXEC) < 0)
		return snapshot_here(c, st, e);
	c->child = fork();
	if (c->child == 0)
		snapshot_child(c, st, parent, ends[1]);
	close(ends[1]);
	if (c->child < 0) {
		close(ends[0]);
		c->child = 0;
		return snapshot_here(c, st, e);
	}
	c->child_fd = ends[0];
	return 0;
}

int control_checkpoint(void *context, struct stage *st, const struct barrier *b,
	const struct buf *handle, struct error *e)
{
	struct control *c = context;
	struct error why = ERROR_INIT;

	stop_child(c); /* one at a time: its checkpoint was given up */
	mem_free(c->path);
	c->checkpoint = b->checkpoint;
	c->alignment_us = stage_alignment_us(st);
	buf_reset(&c->handle);
	buf_put(&c->handle, handle->data, handle->len);
	if (b->kind == BARRIER_FINAL)
		c->final_epoch = b->checkpoint;
	c->path = snapshot_path(c, b->checkpoint, &why);
	if (!c->path)
		return decline(c, &why, e);
	return snapshot_begin(c, st, e);
}

/* ---- the line ---- */

static int commit(struct control *c, struct stage *st, uint64_t epoch, const uint8_t *handle,
	size_t len, struct error *e)
{
	struct line_message m = {.kind = LINE_COMMITTED, .number = epoch};

	if (stage_commit(st, epoch, handle, len, e) < 0)
		return -1;
	c->left |= epoch == c->final_epoch;
	return line_send(c->line, &m, e);
}

static int restore(struct control *c, struct stage *st, struct error *e)
{
	struct channel_reader *files[LINE_FILES_MAX];
	size_t n = 0;
	int status = 0;

	for (; n < c->plan.restore_len && status == 0; n++) {
		int fd = open(c->plan.restore[n], O_RDONLY | O_CLOEXEC);

		if (fd < 0) {
			status = error_errno(e, "%s: can't open", c->plan.restore[n]);
			break;
		}
		files[n] = channel_reader_new(fd, c->plan.restore[n]);
	}
	if (status == 0 && n)
		status = stage_restore(st, files, n, e);
	for (size_t i = 0; i < n; i++) {
		close(channel_reader_fd(files[i]));
		channel_reader_free(files[i]);
	}
	if (status < 0 && (e->code == ERROR_UPSTREAM || e->code == ERROR_DATA))
		error_context(e, "the snapshot is damaged");
	if (status < 0 && e->code != ERROR_IO)
		e->code = ERROR_STATE; /* starting again would not help */
	return status;
}

static int wait_turn(struct control *c, struct stage *st, struct error *e);

/* A stage that was only to be checked. */
static int check(struct control *c, struct stage *st, struct error *e)
{
	struct line_message m = {.kind = LINE_READY};
	int status = stage_check(st, e) < 0 ? -1 : line_send(c->line, &m, e);

	while (status == 0)
		status = wait_turn(c, st, e);
	return status;
}

int control_start(struct control *c, struct stage *st, struct error *e)
{
	struct line_message m = {.kind = LINE_READY};

	c->st = st;
	if (restore(c, st, e) < 0)
		return -1;
	if (c->plan.check)
		return check(c, st, e);
	for (size_t i = 0; i < c->plan.commits_len; i++) {
		const struct line_handle *h = &c->plan.commits[i];

		if (stage_commit(st, h->epoch, h->bytes, h->len, e) < 0)
			return -1;
	}
	return line_send(c->line, &m, e);
}

static int pong(struct control *c, struct stage *st, uint64_t number, struct error *e)
{
	struct line_message m = {.kind = LINE_PONG, .number = number, .metrics = stage_metrics(st)};

	m.metrics.idle_us = c->idle_us;
	return line_send(c->line, &m, e);
}

static int answer(struct control *c, struct stage *st, const struct line_message *m,
	struct error *e)
{
	switch (m->kind) {
	case LINE_CHECKPOINT: return stage_checkpoint(st, &m->checkpoint, e);
	case LINE_COMMIT: return commit(c, st, m->number, m->handle, m->handle_len, e);
	case LINE_DRAIN: stage_drain(st); return 0;
	case LINE_STOP: return 1;
	case LINE_PING: return pong(c, st, m->number, e);
	case LINE_PLAN:
	case LINE_READY:
	case LINE_ACK:
	case LINE_COMMITTED:
	case LINE_FINISHED:
	case LINE_FAILED:
	case LINE_PONG:
	case LINE_DECLINED:
	case LINE_DESCRIPTION: break;
	}
	return error_set(e, ERROR_DATA, "the supervisor sent message 0x%02x, which is no order",
		m->kind);
}

static bool is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static int supervisor_gone(struct error *e)
{
	return error_set(e, ERROR_IO, "the supervisor has gone");
}

/* ---- while a write would block ---- */

/* A CHECKPOINT that hasn't been begun gives way to the next: it was given up.  A stage that is blocked
 * for minutes, while another's disk is full, would be sent any number of them. */
static bool supersede(struct control *c, const struct line_message *m)
{
	for (size_t i = 0; m->kind == LINE_CHECKPOINT && i < c->deferred_len; i++) {
		if (c->deferred[i].message.kind != LINE_CHECKPOINT || i < c->answering)
			continue;
		c->deferred[i].message.checkpoint = m->checkpoint;
		return true;
	}
	return false;
}

static int defer(struct control *c, const struct line_message *m, struct error *e)
{
	struct deferred *d = &c->deferred[c->deferred_len];

	if (supersede(c, m))
		return 0;
	if (c->deferred_len == DEFERRED_MAX)
		return error_set(e, ERROR_DATA, "the supervisor sends orders faster than they can be "
			"followed");
	c->deferred_len++;
	d->message = *m;
	buf_reset(&d->handle);
	buf_put(&d->handle, m->handle, m->handle_len);
	d->message.handle = d->handle.data;
	return 0;
}

static int hear_while_blocked(struct control *c, struct error *e)
{
	for (;;) {
		struct line_message m;
		int status;

		switch (line_read(c->line, false, &m, e)) {
		case LINE_MESSAGE:
			if (m.kind == LINE_STOP)
				return error_set(e, ERROR_CLOSED, "stopped"); /* no word needed */
			status = m.kind == LINE_PING ? pong(c, c->st, m.number, e) : defer(c, &m, e);
			if (status < 0)
				return -1;
			break;
		case LINE_AGAIN: return 0;
		case LINE_CLOSED: return supervisor_gone(e);
		case LINE_ERROR: return -1;
		}
	}
}

static int wait_for_room(void *context, int fd, struct error *e)
{
	struct control *c = context;
	struct pollfd fds[] = {{.fd = fd, .events = POLLOUT},
		{.fd = c->st ? line_fd(c->line) : -1, .events = POLLIN}};

	do {
		if (poll(fds, 2, fd < 0 ? 0 : -1) < 0 && errno != EINTR)
			return error_errno(e, "can't wait for the next stage");
		if (fds[1].revents && hear_while_blocked(c, e) < 0)
			return -1;
	} while (fd >= 0 && !fds[0].revents);
	return 0;
}

struct channel_wait control_wait(struct control *c)
{
	return (struct channel_wait){.wait = wait_for_room, .context = c};
}

void control_idled(struct control *c, int64_t us)
{
	c->idle_us += (uint64_t)us;
}

static int answer_deferred(struct control *c, struct stage *st, struct error *e)
{
	/* An answer may block in turn and defer more: those come behind. */
	while (c->answering < c->deferred_len) {
		int status = answer(c, st, &c->deferred[c->answering++].message, e);

		if (status)
			return status;
	}
	c->answering = c->deferred_len = 0;
	return 0;
}

int control_turn(struct control *c, struct stage *st, struct error *e)
{
	int deferred = answer_deferred(c, st, e);

	if (deferred)
		return deferred;
	if (c->child > 0 && is_readable(c->child_fd) && reap(c, e) < 0)
		return -1;
	for (;;) {
		struct line_message m;
		int status;

		switch (line_read(c->line, false, &m, e)) {
		case LINE_MESSAGE:
			status = answer(c, st, &m, e);
			if (status)
				return status;
			break;
		case LINE_AGAIN: return 0;
		case LINE_CLOSED: return supervisor_gone(e);
		case LINE_ERROR: return -1;
		}
	}
}

size_t control_fds(const struct control *c, struct pollfd *fds)
{
	fds[0] = (struct pollfd){.fd = line_fd(c->line), .events = POLLIN};
	fds[1] = (struct pollfd){.fd = c->child_fd, .events = POLLIN};
	return c->child_fd >= 0 ? 2 : 1;
}

static int wait_turn(struct control *c, struct stage *st, struct error *e)
{
	struct pollfd fds[2];
	size_t n = control_fds(c, fds);

	if (poll(fds, n, -1) < 0 && errno != EINTR)
		return error_errno(e, "can't wait for the supervisor");
	return control_turn(c, st, e);
}

/* A large snapshot takes longer than a sign of life may be missing. */
static int await_child(struct control *c, struct error *e)
{
	while (c->child > 0) {
		struct pollfd fds[] = {{.fd = c->child_fd, .events = POLLIN},
			{.fd = line_fd(c->line), .events = POLLIN}};

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return error_errno(e, "can't wait for the snapshot");
		if (fds[1].revents && hear_while_blocked(c, e) < 0)
			return -1;
		if (fds[0].revents && reap(c, e) < 0)
			return -1;
	}
	return 0;
}

int control_finish(struct control *c, struct stage *st, struct error *e)
{
	struct line_message m = {.kind = LINE_FINISHED, .number = stage_metrics(st).rows_out};
	bool is_sink = stage_operator(st)->ops->prepare && !stage_operator(st)->outputs;
	int status = 0;

	if (await_child(c, e) < 0 || line_send(c->line, &m, e) < 0)
		return -1;
	while (is_sink && !c->left && status == 0)
		status = c->deferred_len ? control_turn(c, st, e) : wait_turn(c, st, e);
	return status < 0 ? -1 : 0;
}

void control_fail(struct control *c, const struct error *cause)
{
	struct line_message m = {.kind = LINE_FAILED, .status = (int)cause->code,
		.text = cause->text};
	struct error ignored = ERROR_INIT;

	line_send(c->line, &m, &ignored);
}
