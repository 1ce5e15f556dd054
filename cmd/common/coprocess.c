#include "cmd/common/coprocess.h"

#include "cmd/common/coprocess_guard.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	TURN_MS = 200,             /* how often a supervisor is heard while waiting */
	READ_BYTES = 256 << 10,
	SHOWN_BYTES = 400,         /* of a question or an answer in a message */
	AFTER_END_US = 2000000,    /* what a command may take to go once its output has ended */
};

struct question {
	size_t end;  /* in out.data */
	uint8_t tag;
};

struct coprocess {
	struct coprocess_options o;
	char *command, *name, *what;
	pid_t guard;               /* 0: not running */
	int to, from;              /* its standard input and output; -1: closed */
	bool input_closed;         /* nothing more is to be asked */
	bool output_ended;
	bool ending;               /* every question has its answer */

	/* out.data: | answered | sent, not answered | to be sent |
	 *           0        first               sent            len */
	struct buf out;
	size_t first, sent;
	struct question *questions; /* in flight: a ring */
	size_t questions_at, questions_len;
	uint64_t asked, answered;

	struct buf in;             /* what it said; taken up to in_at */
	size_t in_at, in_seen;     /* no newline lies between in_at and in_seen */
	int64_t heard_us;          /* when it last said something, or was first given something to say */

	struct buf last_question, last_answer; /* for messages, cut */
};

struct coprocess *coprocess_new(const struct coprocess_options *o)
{
	struct coprocess *c = mem_zero(sizeof *c);

	c->o = *o;
	c->o.command = c->command = mem_strdup(o->command);
	c->o.name = c->name = mem_strdup(o->name);
	c->o.what = c->what = mem_strdup(o->what);
	c->to = c->from = -1;
	c->questions = mem_alloc(COPROCESS_QUESTIONS_MAX * sizeof *c->questions);
	return c;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void coprocess_free(struct coprocess *c)
{
	if (!c)
		return;
	if (c->guard)
		coprocess_guard_kill(c->guard);
	close_fd(&c->to);
	close_fd(&c->from);
	buf_clear(&c->out);
	buf_clear(&c->in);
	buf_clear(&c->last_question);
	buf_clear(&c->last_answer);
	mem_free(c->questions);
	mem_free(c->command);
	mem_free(c->name);
	mem_free(c->what);
	mem_free(c);
}

/* ---- messages ---- */

static int fail(struct coprocess *c, struct error *e, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct coprocess *c, struct error *e, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return error_set(e, ERROR_IO, "--exec '%.200s': %s", c->command, text);
}

/* As text: msgpack as the JSON it would be, what is neither as it is without control characters. */
static void put_shown(struct buf *out, enum coprocess_format format, const uint8_t *bytes, size_t len)
{
	size_t start = out->len, most;

	if (format == COPROCESS_MSGPACK && msgpack_put_json(bytes, len, out) == 0)
		len = 0;
	most = len < SHOWN_BYTES ? len : SHOWN_BYTES;
	for (size_t i = 0; i < most; i++)
		buf_put_byte(out, bytes[i] < 0x20 || bytes[i] == 0x7f ? ' ' : bytes[i]);
	if (out->len - start >= SHOWN_BYTES || most < len) {
		out->len = start + SHOWN_BYTES < out->len ? start + SHOWN_BYTES : out->len;
		buf_put_text(out, "...");
	}
}

static struct question *question_at(const struct coprocess *c, size_t i)
{
	return &c->questions[(c->questions_at + i) % COPROCESS_QUESTIONS_MAX];
}

/* Shows the oldest question without an answer, if there is one. */
static int hint_waiting(struct coprocess *c, struct error *e)
{
	struct buf shown = BUF_INIT;

	if (!c->questions_len)
		return -1;
	put_shown(&shown, c->o.format, c->out.data + c->first, question_at(c, 0)->end - c->first);
	error_hint(e, "  the first %s without an answer: %s", c->what, buf_cstr(&shown));
	buf_clear(&shown);
	return -1;
}

int coprocess_refuse(struct coprocess *c, struct error *e, const char *format, ...)
{
	struct buf shown = BUF_INIT;
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	fail(c, e, "%s", text);
	put_shown(&shown, c->o.format, c->last_question.data, c->last_question.len);
	error_hint(e, "  the %s:    %s", c->what, buf_cstr(&shown));
	buf_reset(&shown);
	put_shown(&shown, c->o.format, c->last_answer.data, c->last_answer.len);
	error_hint(e, "  its answer: %s", buf_cstr(&shown));
	buf_clear(&shown);
	return -1;
}

/* ---- questions ---- */

uint64_t coprocess_asked(const struct coprocess *c)
{
	return c->asked;
}

uint64_t coprocess_answered(const struct coprocess *c)
{
	return c->answered;
}

bool coprocess_has_room(const struct coprocess *c)
{
	return !c->questions_len || (c->questions_len < COPROCESS_QUESTIONS_MAX &&
		c->out.len - c->first < COPROCESS_BYTES_MAX);
}

static int start(struct coprocess *c, struct error *e)
{
	struct coprocess_guard g = {.command = c->command, .name = c->name,
		.subtask = c->o.subtask};

	if (coprocess_guard_start(&g, e) < 0)
		return -1;
	c->guard = g.pid;
	c->to = g.to;
	c->from = g.from;
	return 0;
}

/* Answered bytes leave once they are the larger part. */
static void compact(struct coprocess *c)
{
	size_t gone = c->first;

	if (gone < c->out.len - gone || gone < (64 << 10))
		return;
	memmove(c->out.data, c->out.data + gone, c->out.len - gone);
	c->out.len -= gone;
	c->sent -= gone;
	c->first = 0;
	for (size_t i = 0; i < c->questions_len; i++)
		question_at(c, i)->end -= gone;
}

int coprocess_ask(struct coprocess *c, const void *question, size_t len, uint8_t tag,
	struct error *e)
{
	MUST(!c->input_closed && coprocess_has_room(c));
	if (!c->guard && start(c, e) < 0)
		return -1;
	compact(c);
	buf_put(&c->out, question, len);
	c->questions_len++;
	*question_at(c, c->questions_len - 1) = (struct question){c->out.len, tag};
	c->asked++;
	return 0;
}

void coprocess_close_input(struct coprocess *c)
{
	c->input_closed = true;
	if (c->sent == c->out.len)
		close_fd(&c->to);
}

/* ---- moving bytes ---- */

static int send_some(struct coprocess *c, struct error *e)
{
	while (c->to >= 0 && c->sent < c->out.len) {
		ssize_t n = write(c->to, c->out.data + c->sent, c->out.len - c->sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == EPIPE) { /* it reads no more: what it says last tells why */
			close_fd(&c->to);
			return 0;
		}
		if (n < 0)
			return error_errno(e, "--exec '%.200s': can't write to it", c->command);
		if (c->sent <= c->first) /* the oldest question was not out yet */
			c->heard_us = clock_mono_us();
		c->sent += (size_t)n;
	}
	if (c->input_closed)
		close_fd(&c->to);
	return 0;
}

/* Bytes that have been taken leave before more are read, so that views of them live until then. */
static int hear_some(struct coprocess *c, struct error *e)
{
	if (c->in_at) {
		memmove(c->in.data, c->in.data + c->in_at, c->in.len - c->in_at);
		c->in.len -= c->in_at;
		c->in_seen -= c->in_at;
		c->in_at = 0;
	}
	while (c->from >= 0 && !c->output_ended && c->in.len <= COPROCESS_ANSWER_MAX) {
		ssize_t n = read(c->from, buf_reserve(&c->in, READ_BYTES), READ_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return error_errno(e, "--exec '%.200s': can't read from it", c->command);
		c->output_ended = n == 0;
		c->in.len += (size_t)n;
		c->heard_us = clock_mono_us();
		if (n < READ_BYTES) /* there may be more, but first this is made use of */
			return 0;
	}
	return 0;
}

static int64_t left_us(const struct coprocess *c)
{
	int64_t left;

	if (!c->o.timeout_us || (c->sent <= c->first && !c->ending))
		return -1;
	left = c->o.timeout_us - (clock_mono_us() - c->heard_us);
	return left > 0 ? left : 0;
}

static int doesnt_end(struct coprocess *c, struct error *e)
{
	return fail(c, e, "it doesn't end, though its input has for %.3g s",
		(double)c->o.timeout_us / 1e6);
}

static int timed_out(struct coprocess *c, struct error *e)
{
	if (c->ending)
		return doesnt_end(c, e);
	fail(c, e, "no answer for %.3g s, and %llu %ss wait for one", (double)c->o.timeout_us / 1e6,
		(unsigned long long)c->questions_len, c->what);
	hint_waiting(c, e);
	return error_hint(e, "a command has to write each answer out at once: print(..., flush=True), "
		"python3 -u, stdbuf -oL; --exec-timeout gives it more time");
}

static int wait_some(struct coprocess *c, struct error *e)
{
	struct pollfd fds[] = {
		{.fd = c->from, .events = POLLIN},
		{.fd = c->sent < c->out.len ? c->to : -1, .events = POLLOUT},
	};
	int64_t left = left_us(c);
	int ms = left >= 0 && left < TURN_MS * INT64_C(1000) ? (int)((left + 999) / 1000) : TURN_MS;
	int n = poll(fds, 2, ms);

	if (n < 0 && errno != EINTR)
		return error_errno(e, "--exec '%.200s': can't wait for it", c->command);
	if (n == 0 && left_us(c) == 0)
		return timed_out(c, e);
	return n == 0 && c->o.alive ? c->o.alive(c->o.context, e) : 0;
}

/* The length of the answer that begins at in_at, newline included; 0: it isn't whole. */
static int measure(struct coprocess *c, size_t *bytes, struct error *e)
{
	const uint8_t *at = c->in.data + c->in_at, *newline;
	size_t len = c->in.len - c->in_at, size;

	*bytes = 0;
	if (!len)
		return 0;
	if (c->o.format == COPROCESS_MSGPACK) {
		switch (msgpack_measure(at, len, &size)) {
		case 0: *bytes = size; return 0;
		case 1: break;
		default:
			fail(c, e, "what it writes is no msgpack, after %llu answers",
				(unsigned long long)c->answered);
			return hint_waiting(c, e);
		}
	} else {
		newline = memchr(c->in.data + c->in_seen, '\n', c->in.len - c->in_seen);
		if (newline) {
			*bytes = (size_t)(newline - at) + 1;
			return 0;
		}
		c->in_seen = c->in.len;
		/* A last line without a newline counts, but not what one that was killed had begun. */
		if (c->output_ended && c->input_closed) {
			*bytes = len;
			return 0;
		}
	}
	if (len > COPROCESS_ANSWER_MAX) {
		fail(c, e, "an answer longer than %d MiB", COPROCESS_ANSWER_MAX >> 20);
		return hint_waiting(c, e);
	}
	return 0;
}

/* The command's exit status by its guard; 1: it is still there. */
static int reap(struct coprocess *c, int64_t until_us, int *status, struct error *e)
{
	for (;;) {
		switch (coprocess_guard_reap(c->guard, status)) {
		case 0: c->guard = 0; return 0;
		case 1: break;
		default: return error_errno(e, "--exec '%.200s': can't wait for its end", c->command);
		}
		if (until_us >= 0 && clock_mono_us() >= until_us)
			return 1;
		poll(NULL, 0, 5);
		if (c->o.alive && c->o.alive(c->o.context, e) < 0)
			return -1;
	}
}

static void put_status(int status, char *out, size_t cap)
{
	if (status > 128)
		snprintf(out, cap, "was killed by signal %d", status - 128);
	else
		snprintf(out, cap, "ended with status %d", status);
}

/* Its output has ended though answers are missing. */
static int gone(struct coprocess *c, struct error *e)
{
	char how[64] = "closed its output";
	int status, reaped = reap(c, clock_mono_us() + AFTER_END_US, &status, e);

	if (reaped < 0)
		return -1;
	if (reaped == 0)
		put_status(status, how, sizeof how);
	fail(c, e, "it %s after %llu answers to %llu %ss", how, (unsigned long long)c->answered,
		(unsigned long long)c->asked, c->what);
	if (reaped == 0 && status == 127)
		error_hint(e, "127 is what a shell says of a command that it can't find");
	return hint_waiting(c, e);
}

int coprocess_pump(struct coprocess *c, bool may_block, struct error *e)
{
	size_t bytes;

	if (!c->guard)
		return 0;
	for (;;) {
		if (send_some(c, e) < 0 || hear_some(c, e) < 0 || measure(c, &bytes, e) < 0)
			return -1;
		if (bytes)
			return 0;
		if (c->output_ended && c->questions_len)
			return gone(c, e);
		if (!may_block || !c->questions_len)
			return left_us(c) == 0 ? timed_out(c, e) : 0;
		if (wait_some(c, e) < 0)
			return -1;
	}
}

/* ---- answers ---- */

static void remember(struct buf *to, const void *bytes, size_t len)
{
	buf_reset(to);
	buf_put(to, bytes, len);
}

static int unasked(struct coprocess *c, size_t bytes, struct error *e)
{
	struct buf shown = BUF_INIT;

	put_shown(&shown, c->o.format, c->in.data + c->in_at, bytes);
	fail(c, e, "more answers than %ss: there must be exactly one for each", c->what);
	error_hint(e, "  after %llu answers to %llu %ss it says: %s",
		(unsigned long long)c->answered, (unsigned long long)c->asked, c->what,
		buf_cstr(&shown));
	buf_clear(&shown);
	return error_hint(e, "several rows for one are an array of them in one answer");
}

int coprocess_answer(struct coprocess *c, struct coprocess_answer *out, struct error *e)
{
	const struct question *q = question_at(c, 0);
	size_t bytes;

	if (measure(c, &bytes, e) < 0)
		return -1;
	if (!bytes)
		return 1;
	/* What it hasn't been given whole it can't have answered. */
	if (!c->questions_len || c->sent < q->end)
		return unasked(c, bytes, e);
	*out = (struct coprocess_answer){.bytes = c->in.data + c->in_at, .len = bytes, .tag = q->tag};
	if (c->o.format == COPROCESS_NDJSON && out->bytes[bytes - 1] == '\n')
		out->len--;
	c->in_at += bytes;
	c->in_seen = c->in_at;
	remember(&c->last_question, c->out.data + c->first, q->end - c->first);
	remember(&c->last_answer, out->bytes, out->len);
	c->first = q->end;
	c->questions_at = (c->questions_at + 1) % COPROCESS_QUESTIONS_MAX;
	c->questions_len--;
	c->answered++;
	return 0;
}

/* ---- the end ---- */

int coprocess_end(struct coprocess *c, struct error *e)
{
	char how[64];
	int status;

	MUST(!c->questions_len);
	if (!c->guard)
		return 0;
	coprocess_close_input(c);
	c->ending = true;
	c->heard_us = clock_mono_us();
	while (!c->output_ended) {
		if (hear_some(c, e) < 0)
			return -1;
		if (c->in.len > c->in_at)
			return unasked(c, c->in.len - c->in_at, e);
		if (!c->output_ended && wait_some(c, e) < 0)
			return -1;
	}
	status = 0;
	switch (reap(c, c->o.timeout_us ? clock_mono_us() + c->o.timeout_us : -1, &status, e)) {
	case 0: break;
	case 1: return doesnt_end(c, e);
	default: return -1;
	}
	if (!status)
		return 0;
	put_status(status, how, sizeof how);
	return fail(c, e, "it %s after all %llu answers: it has to end with 0", how,
		(unsigned long long)c->answered);
}

void coprocess_waits(const struct coprocess *c, int *readable_fd, int *writable_fd,
	int64_t *left)
{
	bool waits = c->guard && c->questions_len;

	*readable_fd = waits ? c->from : -1;
	*writable_fd = waits && c->sent < c->out.len ? c->to : -1;
	*left = waits ? left_us(c) : -1;
}
