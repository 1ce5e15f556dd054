/* The sink that hands rows on to another job, over a socket: each epoch once.
 *
 * An epoch's frames wait in a synced file (epoch_file.h).  Its commit asks the source at the other end
 * which epochs are there, sends it if it isn't among them, and returns when it has been told that it is
 * kept (runnel-frames(5), EPOCHS).  A connection that breaks is made again, and asked again. */
#include "cmd/common/epoch_file.h"
#include "cmd/ssink/sinks.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/frame/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	LOOK_MS = 100,
	AGAIN_US = 200000, /* before a broken connection is made again; doubled up to */
	AGAIN_MOST_US = 5000000,
	SILENCE_US = 10000000, /* of a peer that is asked: then a warning */
};

struct epoch_sink {
	struct operator op;
	struct sink_options o;
	struct epoch_files *files;
	struct net_listener *listener;
	int fd;                        /* -1: not connected */
	struct channel_reader *reader;
	struct channel_writer *writer;
	struct epoch_note *have;       /* what this connection's peer has said */
	size_t have_len, have_cap;
	uint32_t schema_id;            /* in the epoch that is being sent */
	char *guarantee;
	uint64_t rows;
	uint64_t last_epoch;           /* nothing comes behind it; 0: not known yet */
	bool has_ended, is_refused;
};

static struct epoch_sink *sink_of(struct operator* op)
{
	return (struct epoch_sink *)op;
}

static int keep_alive(void *context, struct error *e)
{
	struct epoch_sink *s = context;

	return s->op.stage ? stage_alive(s->op.stage, e) : 0;
}

static void warn(void *context, const char *text)
{
	stage_warn(((struct epoch_sink *)context)->op.stage, "%s", text);
}

/* ---- the connection ---- */

static void disconnect(struct epoch_sink *s)
{
	struct error ignored = ERROR_INIT;

	channel_reader_free(s->reader);
	channel_writer_free(s->writer);
	s->reader = NULL;
	s->writer = NULL;
	if (s->fd >= 0)
		net_drop(s->fd, &ignored);
	s->fd = -1;
	s->have_len = 0;
	error_clear(&ignored);
}

/* Returns when the descriptor may be written, or read. */
static int wait_for(struct epoch_sink *s, int fd, short events, struct error *e)
{
	struct pollfd p = {.fd = fd, .events = events};

	while (poll(&p, 1, LOOK_MS) <= 0) {
		if (keep_alive(s, e) < 0)
			return -1;
	}
	return 0;
}

static int wait_writable(void *context, int fd, struct error *e)
{
	return wait_for(context, fd, POLLOUT, e);
}

static int wait_for_client(struct epoch_sink *s, struct error *e)
{
	struct buf peer = BUF_INIT;
	int status = 0;

	if (!s->listener) {
		status = net_listen(s->o.output, &s->o.net, &s->listener, e);
		if (status == 0 && strstr(s->o.output, ":0"))
			stage_warn(s->op.stage, "waiting for a client at %s", net_address(s->listener));
	}
	while (status == 0 && (status = net_accept(s->listener, &s->fd, &peer, e)) == 1)
		status = wait_for(s, net_listener_fd(s->listener), POLLIN, e);
	buf_clear(&peer);
	return status;
}

static int connect_peer(struct epoch_sink *s, struct error *e)
{
	struct channel_wait wait = {wait_writable, s};
	struct hello hello = {.version = FRAME_VERSION};
	struct buf b = BUF_INIT;
	int status;

	if (s->fd >= 0)
		return 0;
	status = net_listens(s->o.output) ? wait_for_client(s, e)
		: net_connect(s->o.output, &s->o.net, &s->fd, e);
	if (status < 0)
		return -1;
	fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) | O_NONBLOCK);
	s->reader = channel_reader_new(s->fd, s->o.output);
	s->writer = channel_writer_new(s->fd, s->o.output);
	channel_writer_on_block(s->writer, &wait);
	snprintf(hello.stage, sizeof hello.stage, "%s", stage_name(s->op.stage));
	frame_put_hello(&b, &hello);
	if (s->o.pack && channel_writer_pack(s->writer, s->o.pack, e) < 0)
		status = -1;
	if (status == 0)
		status = channel_write(s->writer, &b, e);
	buf_clear(&b);
	return status;
}

/* ---- what the other end says ---- */

static int broken(struct epoch_sink *s, struct error *e)
{
	error_clear(e);
	return error_set(e, ERROR_IO, "%s: the connection broke", s->o.output);
}

/* Why it lets this sink go. */
static int take_refusal(struct epoch_sink *s, const struct frame *f, struct error *e)
{
	struct buf stage = BUF_INIT, message = BUF_INIT;
	int status = frame_read_error(f, &stage, &message, e);

	if (status == 0) {
		s->is_refused = true;
		status = error_set(e, ERROR_DATA, "%s: refused by %s: %s", s->o.output,
			buf_cstr(&stage), buf_cstr(&message));
	}
	buf_clear(&stage);
	buf_clear(&message);
	return status;
}

/* The next EPOCH it says.  What breaks the connection is ERROR_IO. */
static int hear(struct epoch_sink *s, struct epoch_note *out, struct error *e)
{
	int64_t since_us = clock_mono_us();
	struct frame f;

	for (;;) {
		switch (channel_read(s->reader, false, &f, e)) {
		case CHANNEL_AGAIN:
			if (clock_mono_us() - since_us > SILENCE_US)
				stage_warn(s->op.stage, "%s doesn't answer: its spool is full, or it is no "
					"ssource -f frames --spool", s->o.output);
			if (wait_for(s, s->fd, POLLIN, e) < 0)
				return -1;
			break;
		case CHANNEL_EOF: return broken(s, e);
		case CHANNEL_ERROR: e->code = ERROR_IO; return -1;
		case CHANNEL_FRAME:
			if (f.kind == FRAME_ERROR)
				return take_refusal(s, &f, e);
			if (f.kind == FRAME_EPOCH)
				return frame_read_epoch(&f, out, e);
			break;
		}
	}
}

/* The newest epoch it says it has of this subtask's; what it says of others isn't meant. */
static int hear_have(struct epoch_sink *s, const struct epoch_note *of, uint64_t *number, struct error *e)
{
	struct epoch_note answer;

	do {
		if (hear(s, &answer, e) < 0)
			return -1;
	} while (answer.verb != EPOCH_HAVE || answer.subtask != of->subtask ||
		strcmp(answer.job, of->job) != 0 || strcmp(answer.stage, of->stage) != 0);
	*number = answer.number;
	return 0;
}

static int send_note(struct epoch_sink *s, const struct epoch_note *n, struct error *e)
{
	struct buf b = BUF_INIT;
	int status;

	frame_put_epoch(&b, n);
	status = channel_write(s->writer, &b, e);
	buf_clear(&b);
	return status;
}

static struct epoch_note note_of(const struct epoch_sink *s, const struct epoch_file *f)
{
	struct epoch_note n = {.subtask = f->subtask, .number = f->epoch, .count = f->subtasks};

	snprintf(n.job, sizeof n.job, "%s", stage_job(s->op.stage));
	snprintf(n.stage, sizeof n.stage, "%s", f->stage);
	return n;
}

/* The newest epoch that is there of a file's subtask: asked once a connection. */
static int ask(struct epoch_sink *s, const struct epoch_file *f, uint64_t *number, struct error *e)
{
	struct epoch_note n = note_of(s, f);

	for (size_t i = 0; i < s->have_len; i++) {
		const struct epoch_note *x = &s->have[i];

		if (x->subtask == n.subtask && strcmp(x->stage, n.stage) == 0) {
			*number = x->number;
			return 0;
		}
	}
	n.verb = EPOCH_ASK;
	n.number = n.count = 0;
	if (send_note(s, &n, e) < 0 || channel_flush(s->writer, e) < 0 ||
		hear_have(s, &n, number, e) < 0)
		return -1;
	MEM_GROW(s->have, s->have_cap, s->have_len + 1);
	s->have[s->have_len++] = n;
	s->have[s->have_len - 1].number = *number;
	return 0;
}

/* ---- sending ---- */

static int send_schema(void *context, const struct schema *in, struct error *e)
{
	struct epoch_sink *s = context;
	struct buf b = BUF_INIT;
	int status;

	frame_put_schema(&b, ++s->schema_id, in);
	status = channel_write(s->writer, &b, e);
	buf_clear(&b);
	return status;
}

static int send_rows(void *context, const struct batch *b, struct error *e)
{
	struct epoch_sink *s = context;

	if (channel_write_batch(s->writer, s->schema_id, b, e) < 0)
		return -1;
	return channel_is_closed(s->writer) ? broken(s, e) : 0;
}

static int send_watermark(void *context, int64_t event_us, struct error *e)
{
	struct epoch_sink *s = context;
	struct buf b = BUF_INIT;
	int status;

	frame_put_watermark(&b, event_us);
	status = channel_write(s->writer, &b, e);
	buf_clear(&b);
	return status;
}

/* From its beginning to the word that it is kept. */
static int send_epoch(struct epoch_sink *s, const struct epoch_file *f, struct error *e)
{
	struct epoch_file_take take = {.schema = send_schema, .rows = send_rows,
		.watermark = send_watermark, .context = s};
	struct epoch_note n = note_of(s, f);
	uint64_t has;

	s->schema_id = 0;
	n.verb = EPOCH_BEGIN;
	if (send_note(s, &n, e) < 0 || epoch_file_read(f, &take, e) < 0)
		return -1;
	n.verb = EPOCH_COMPLETE;
	n.count = f->rows;
	if (send_note(s, &n, e) < 0 || channel_flush(s->writer, e) < 0)
		return -1;
	do {
		if (hear_have(s, &n, &has, e) < 0)
			return -1;
	} while (has < f->epoch);
	return 0;
}

/* Once.  ERROR_IO: the connection is to be made again. */
static int try_epoch(struct epoch_sink *s, const struct epoch_file *f, struct error *e)
{
	struct error told = ERROR_INIT;
	struct epoch_note ignored;
	uint64_t has;
	int status;

	if (ask(s, f, &has, e) < 0)
		return -1;
	if (has >= f->epoch)
		return 0;
	status = send_epoch(s, f, e);
	/* Who lets a sink go says why, and may do that before it has been heard out. */
	if (status < 0 && !s->is_refused && e->code == ERROR_IO && s->reader &&
		(hear(s, &ignored, &told), s->is_refused)) {
		error_clear(e);
		*e = told;
	} else {
		error_clear(&told);
	}
	return status;
}

static int pause_for(struct epoch_sink *s, int64_t us, struct error *e)
{
	for (int64_t until = clock_mono_us() + us; clock_mono_us() < until;) {
		struct timespec t = {.tv_nsec = LOOK_MS * 1000000};

		nanosleep(&t, NULL);
		if (keep_alive(s, e) < 0)
			return -1;
	}
	return 0;
}

static int commit_file(struct epoch_sink *s, const struct epoch_file *f, struct error *e)
{
	int64_t pause_us = AGAIN_US;

	for (;;) {
		if (connect_peer(s, e) < 0)
			return -1;
		if (try_epoch(s, f, e) == 0) {
			epoch_files_done(s->files, f);
			return 0;
		}
		if (e->code != ERROR_IO || s->is_refused)
			return error_hint(e, "nothing is lost: the rows wait in %s", f->path);
		stage_warn(s->op.stage, "%s; it is made again", e->text);
		error_clear(e);
		disconnect(s);
		if (pause_for(s, pause_us, e) < 0)
			return -1;
		pause_us = pause_us * 2 < AGAIN_MOST_US ? pause_us * 2 : AGAIN_MOST_US;
	}
}

/* Nothing follows: the other end needn't look for this one again. */
static int say_end(struct epoch_sink *s, struct error *e)
{
	struct buf b = BUF_INIT;
	int fd = s->fd, status;

	if (fd < 0)
		return 0;
	frame_put_end(&b, s->rows);
	status = channel_write(s->writer, &b, e) < 0 ? -1 : channel_flush(s->writer, e);
	buf_clear(&b);
	/* All is committed by now: how the connection ends is nobody's trouble. */
	if (status == 0) {
		s->fd = -1;
		net_finish(fd, true, &s->o.net, e);
	}
	error_clear(e);
	disconnect(s);
	return 0;
}

/* ---- the operator ---- */

static void sink_free(struct operator* op)
{
	struct epoch_sink *s = sink_of(op);

	disconnect(s);
	net_listener_close(s->listener);
	epoch_files_free(s->files);
	mem_free(s->have);
	mem_free(s->guarantee);
	mem_free(s);
}

static void open_files(struct epoch_sink *s)
{
	struct epoch_files_options o = {.room = s->o.spool, .word = "socket", .stage = s->op.stage};

	if (!s->files)
		s->files = epoch_files_new(&o);
}

static int sink_schema(struct operator* op, unsigned input, const struct schema *in, struct error *e)
{
	struct epoch_sink *s = sink_of(op);

	if (strlen(stage_name(op->stage)) >= EPOCH_STAGE_BYTES)
		return error_set(e, ERROR_USAGE, "--name: at most %d bytes where an epoch goes by it",
			EPOCH_STAGE_BYTES - 1);
	open_files(s);
	return epoch_files_schema(s->files, in, e);
}

static int sink_batch(struct operator* op, unsigned input, const struct batch *in, struct error *e)
{
	struct epoch_sink *s = sink_of(op);

	s->rows += in->rows;
	return epoch_files_rows(s->files, in, e);
}

static int sink_watermark(struct operator* op, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct epoch_sink *s = sink_of(op);

	open_files(s);
	*out_us = in_us;
	return epoch_files_watermark(s->files, in_us, e);
}

static int sink_end(struct operator* op, struct error *e)
{
	struct epoch_sink *s = sink_of(op);

	s->has_ended = true;
	if (s->o.verbose)
		stage_warn(op->stage, "%llu rows", (unsigned long long)s->rows);
	return 0;
}

static int sink_prepare(struct operator* op, uint64_t epoch, struct buf *handle, struct error *e)
{
	struct epoch_sink *s = sink_of(op);

	/* An epoch may be committed when the end has come already, which is in the next. */
	if (s->has_ended && !s->last_epoch)
		s->last_epoch = epoch;
	open_files(s);
	return epoch_files_prepare(s->files, epoch, handle, e);
}

static int sink_commit(struct operator* op, uint64_t epoch, const uint8_t *handle, size_t len,
	struct error *e)
{
	struct epoch_sink *s = sink_of(op);
	const char *at = (const char *)handle, *end = at + len;
	struct epoch_file f;
	int status = 1;

	open_files(s);
	while (len && (status = epoch_file_next(&at, end, &f, e)) == 0) {
		if (commit_file(s, &f, e) < 0)
			return -1;
	}
	if (status < 0)
		return -1;
	return s->last_epoch && epoch >= s->last_epoch ? say_end(s, e) : 0;
}

static const struct operator_ops sink_ops = {
	.type = "ssink",
	.free = sink_free,
	.schema = sink_schema,
	.batch = sink_batch,
	.watermark = sink_watermark,
	.end = sink_end,
	.prepare = sink_prepare,
	.commit = sink_commit,
};

int sink_new_epochs(const struct sink_options *o, struct stage_description *about,
	struct operator** out, struct error *e)
{
	struct epoch_sink *s = mem_zero(sizeof *s);

	s->op = (struct operator){.ops = &sink_ops, .inputs = 1};
	s->o = *o;
	s->o.net.alive = keep_alive;
	s->o.net.warn = warn;
	s->o.net.context = s;
	s->fd = -1;
	s->guarantee = mem_printf("%s: exactly once, at each checkpoint, for the job at the other end",
		o->output);
	about->guarantee = s->guarantee;
	about->spread = net_listens(o->output) ? STAGE_SINGLE : STAGE_ANY;
	*out = &s->op;
	return net_check(o->output, &o->net, e);
}
