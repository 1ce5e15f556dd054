/* Frame streams from sockets: each connection is one, with a watermark of its own; the least of those
 * that haven't ended is the source's.  All have the columns of the first.
 *
 * A connection whose frames are wrong, that breaks off before END, or has other columns is told of and
 * let go; what came of it counts.  Nothing here can be read again. */
#include "cmd/ssource/clockwork.h"

#include "connect/net.h"
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/frame/channel.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	LINKS_MAX = 1000,
	FRAMES_A_TURN = 16, /* of one connection before the others' turn */
	EVENTS_AT_ONCE = 64,
};

/* A connection. */
struct link {
	int fd;
	char *peer;
	uint32_t input;
	struct channel_reader *reader;
	struct schema_set schemas;
	const struct schema *current; /* of the last batch; checked */
	int64_t watermark_us;
	uint64_t rows;
	bool ready, has_ended, is_over;
};

struct port {
	struct net_listener *listener; /* NULL: it connects */
	bool ready, is_done, is_connected;
};

struct socket_frames {
	struct operator base;
	const struct source_options *o;
	struct clockwork clockwork;
	struct net_options net;
	struct port *ports;
	struct link **links;
	size_t links_len, links_cap;
	struct schema schema;
	struct arena arena;
	int epoll;
	int64_t watermark_us, tick_us;
	bool has_schema, is_open, draining, told_many;
};

static struct socket_frames *self(struct operator* op)
{
	return (struct socket_frames *)op;
}

static int keep_alive(void *context, struct error *e)
{
	return stage_alive(((struct socket_frames *)context)->base.stage, e);
}

static void warn(void *context, const char *text)
{
	stage_warn(((struct socket_frames *)context)->base.stage, "%s", text);
}

/* ---- connections ---- */

static void watch(struct socket_frames *s, int fd, bool *ready)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = ready};

	epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev);
}

static void add_link(struct socket_frames *s, uint32_t input, int fd, const char *peer)
{
	struct link *l = mem_zero(sizeof *l);

	*l = (struct link){.fd = fd, .input = input, .peer = mem_strdup(peer),
		.watermark_us = WATERMARK_NONE, .ready = true};
	l->reader = channel_reader_new(fd, peer);
	MEM_GROW(s->links, s->links_cap, s->links_len + 1);
	s->links[s->links_len++] = l;
	watch(s, fd, &l->ready);
}

static void free_link(struct link *l)
{
	channel_reader_free(l->reader);
	schema_set_clear(&l->schemas);
	if (l->fd >= 0)
		close(l->fd);
	mem_free(l->peer);
	mem_free(l);
}

/* why->code: it is let go for that. */
static void end_link(struct socket_frames *s, struct link *l, struct error *why)
{
	struct error cut = ERROR_INIT;
	int status;

	epoll_ctl(s->epoll, EPOLL_CTL_DEL, l->fd, NULL);
	/* Who sends garbage isn't waited for, with all others. */
	status = why->code ? net_drop(l->fd, &cut) : net_finish(l->fd, false, &s->net, &cut);
	if (status < 0 && !l->has_ended) {
		error_clear(why);
		*why = cut;
	} else if (why->code == ERROR_NONE && !l->has_ended) {
		error_set(why, ERROR_IO, "the connection ended without END, after %llu rows",
			(unsigned long long)l->rows);
	}
	l->fd = -1;
	l->is_over = true;
	if (why->code && strncmp(why->text, l->peer, strlen(l->peer)) == 0)
		stage_warn(s->base.stage, "%s", why->text);
	else if (why->code)
		stage_warn(s->base.stage, "%s: %s", l->peer, why->text);
	error_clear(why);
	if (!s->ports[l->input].listener) {
		s->ports[l->input].is_done = true;
		s->ports[l->input].is_connected = false;
	}
}

static void forget_links(struct socket_frames *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->links_len; i++) {
		if (s->links[i]->is_over)
			free_link(s->links[i]);
		else
			s->links[kept++] = s->links[i];
	}
	s->links_len = kept;
}

static int accept_all(struct socket_frames *s, uint32_t input, struct error *e)
{
	struct port *p = &s->ports[input];
	int status = 0;

	while (status == 0) {
		struct buf peer = BUF_INIT;
		int fd = -1;

		status = net_accept(p->listener, &fd, &peer, e);
		if (status < 0 && fd < 0 && peer.len) {
			stage_warn(s->base.stage, "%s: %s", buf_cstr(&peer), e->text);
			error_clear(e);
			status = 0;
		} else if (status == 0 && s->links_len >= LINKS_MAX) {
			if (!s->told_many)
				stage_warn(s->base.stage, "more than %d clients; more are turned away", LINKS_MAX);
			s->told_many = true;
			net_drop(fd, e);
			error_clear(e);
		} else if (status == 0) {
			add_link(s, input, fd, buf_cstr(&peer));
		}
		buf_clear(&peer);
	}
	p->ready = false;
	return status < 0 ? -1 : 0;
}

static int open_ports(struct socket_frames *s, struct error *e)
{
	const struct records_options *r = &s->o->records;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return error_errno(e, "can't wait for input");
	for (uint32_t i = 0; i < r->inputs_len; i++) {
		struct port *p = &s->ports[i];
		int fd;

		if (net_listens(r->inputs[i])) {
			if (net_listen(r->inputs[i], &s->net, &p->listener, e) < 0)
				return -1;
			if (strstr(r->inputs[i], ":0"))
				stage_warn(s->base.stage, "listening at %s", net_address(p->listener));
			watch(s, net_listener_fd(p->listener), &p->ready);
		} else {
			if (net_connect(r->inputs[i], &s->net, &fd, e) < 0)
				return -1;
			p->is_connected = true;
			add_link(s, i, fd, r->inputs[i]);
		}
	}
	return 0;
}

/* ---- frames ---- */

static int take_schema(struct socket_frames *s, const struct schema *in, struct error *e)
{
	if (!s->has_schema) {
		schema_copy(&s->schema, in);
		s->has_schema = true;
		if (clockwork_set_schema(&s->clockwork, &s->schema, e) < 0)
			return -1;
		return stage_declare(s->base.stage, 0, &s->schema, e);
	}
	return schema_equal(&s->schema, in) ? 0 : error_set(e, ERROR_DATA,
		"it has other columns than the streams before");
}

/* 1: the limit is reached. */
static int take_rows(struct socket_frames *s, struct link *l, const struct frame *f, struct error *e)
{
	const struct schema *in;
	struct batch b;
	uint32_t id;

	if (frame_read_schema_id(f, &id, e) < 0)
		return -1;
	in = schema_set_find(&l->schemas, id);
	if (!in)
		return error_set(e, ERROR_DATA, "rows of schema %u, which was not declared", id);
	if (in != l->current && take_schema(s, in, e) < 0)
		return -1;
	l->current = in;
	arena_reset(&s->arena);
	if (frame_read_batch(f, in, true, &s->arena, &b, e) < 0)
		return -1;
	l->rows += b.rows;
	b.schema = &s->schema;
	while (b.rows) {
		uint32_t n = clockwork_rows_max(&s->clockwork);
		struct batch part;

		if (!n)
			return 1;
		n = n < b.rows ? n : b.rows;
		batch_slice(&b, 0, n, &s->arena, &part);
		if (clockwork_send(&s->clockwork, s->base.stage, &part, e) < 0)
			return -1;
		batch_slice(&b, n, b.rows - n, &s->arena, &part);
		b = part;
	}
	return 0;
}

static int take_end(struct link *l, const struct frame *f, struct error *e)
{
	uint64_t rows;

	if (frame_read_end(f, &rows, e) < 0)
		return -1;
	if (rows != l->rows)
		return error_set(e, ERROR_DATA, "END tells of %llu rows, but %llu came",
			(unsigned long long)rows, (unsigned long long)l->rows);
	l->has_ended = true;
	return 0;
}

static int take_failure(const struct frame *f, struct error *e)
{
	struct buf stage = BUF_INIT, message = BUF_INIT;
	int status = frame_read_error(f, &stage, &message, e);

	if (!status)
		status = error_set(e, ERROR_UPSTREAM, "%s failed: %s", buf_cstr(&stage), buf_cstr(&message));
	buf_clear(&stage);
	buf_clear(&message);
	return status;
}

static int take_tick(struct socket_frames *s, const struct frame *f, struct error *e)
{
	int64_t us;

	if (frame_read_int(f, &us, e) < 0)
		return -1;
	if (us <= s->tick_us)
		return 0;
	s->tick_us = us;
	return stage_emit_tick(s->base.stage, us, e);
}

static int take_frame(struct socket_frames *s, struct link *l, const struct frame *f, struct error *e)
{
	const struct schema *declared;

	if (l->has_ended)
		return error_set(e, ERROR_DATA, "a frame behind END");
	switch ((enum frame_kind)f->kind) {
	case FRAME_SCHEMA:
		if (schema_set_declare(&l->schemas, f, &declared, e) < 0)
			return -1;
		return take_schema(s, declared, e);
	case FRAME_BATCH:
	case FRAME_ROWS: return take_rows(s, l, f, e);
	case FRAME_WATERMARK: return frame_read_int(f, &l->watermark_us, e);
	case FRAME_TICK: return take_tick(s, f, e);
	case FRAME_END: return take_end(l, f, e);
	case FRAME_ERROR: return take_failure(f, e);
	case FRAME_HELLO:
	case FRAME_BARRIER:
	case FRAME_STATUS:
	case FRAME_MARKER:
	case FRAME_PACKED:
	case FRAME_SKIP_FIRST:
	case FRAME_SKIP_LAST: break;
	}
	return 0;
}

/* Some frames of a connection.  What is wrong with them is its own end, not the source's: -1 is of what
 * stands behind.  1: the limit is reached. */
static int read_link(struct socket_frames *s, struct link *l, struct error *e)
{
	struct error why = ERROR_INIT;

	for (int i = 0; i < FRAMES_A_TURN; i++) {
		struct frame f;
		int status;

		switch (channel_read(l->reader, false, &f, &why)) {
		case CHANNEL_ERROR:
		case CHANNEL_EOF: end_link(s, l, &why); return 0;
		case CHANNEL_AGAIN: l->ready = false; return 0;
		case CHANNEL_FRAME: break;
		}
		status = take_frame(s, l, &f, &why);
		if (status > 0)
			return 1;
		if (status < 0 && (why.code == ERROR_DATA || why.code == ERROR_UPSTREAM)) {
			end_link(s, l, &why);
			return 0;
		}
		if (status < 0) {
			*e = why;
			return -1;
		}
	}
	return 0;
}

/* ---- time ---- */

static int place_watermark(struct socket_frames *s, struct error *e)
{
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < s->links_len; i++) {
		const struct link *l = s->links[i];

		if (!l->has_ended && !l->is_over && l->watermark_us < least)
			least = l->watermark_us;
	}
	if (least == INT64_MAX || least == WATERMARK_NONE || least <= s->watermark_us)
		return 0;
	s->watermark_us = least;
	return stage_emit_watermark(s->base.stage, least, e);
}

/* ---- the operator ---- */

static void collect(struct socket_frames *s)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int n = epoll_wait(s->epoll, events, EVENTS_AT_ONCE, 0);

	for (int i = 0; i < n; i++)
		*(bool *)events[i].data.ptr = true;
}

static bool is_over(const struct socket_frames *s)
{
	if (s->draining)
		return true;
	for (uint32_t i = 0; i < s->o->records.inputs_len; i++) {
		if (!s->ports[i].is_done)
			return false;
	}
	return true;
}

static enum produce_status frames_produce(struct operator* op, struct error *e)
{
	struct socket_frames *s = self(op);
	bool more = false;

	op->wait_fd = -1;
	if ((op->wait_us = clockwork_wait_us(&s->clockwork)))
		return PRODUCE_WAIT;
	if (!s->is_open && open_ports(s, e) < 0)
		return PRODUCE_ERROR;
	s->is_open = true;
	collect(s);
	for (uint32_t i = 0; i < s->o->records.inputs_len; i++) {
		if (s->ports[i].ready && accept_all(s, i, e) < 0)
			return PRODUCE_ERROR;
	}
	for (size_t i = 0; i < s->links_len; i++) {
		struct link *l = s->links[i];
		int status = l->ready ? read_link(s, l, e) : 0;

		if (status)
			return status < 0 ? PRODUCE_ERROR : PRODUCE_END;
		more |= l->ready && !l->is_over;
	}
	if (place_watermark(s, e) < 0)
		return PRODUCE_ERROR;
	forget_links(s);
	if (more)
		return PRODUCE_MORE;
	if (is_over(s))
		return PRODUCE_END;
	op->wait_fd = s->epoll;
	op->wait_us = -1;
	return PRODUCE_WAIT;
}

static void frames_drain(struct operator* op)
{
	self(op)->draining = true;
}

static void frames_free(struct operator* op)
{
	struct socket_frames *s = self(op);

	for (size_t i = 0; i < s->links_len; i++)
		free_link(s->links[i]);
	for (uint32_t i = 0; i < s->o->records.inputs_len; i++)
		net_listener_close(s->ports[i].listener);
	if (s->epoll >= 0)
		close(s->epoll);
	schema_clear(&s->schema);
	arena_clear(&s->arena);
	mem_free(s->links);
	mem_free(s->ports);
	mem_free(s);
}

static const struct operator_ops frames_ops = {
	.type = SOURCE_TYPE,
	.free = frames_free,
	.produce = frames_produce,
	.drain = frames_drain,
};

int source_new_socket_frames(const struct source_options *o, struct operator** out, struct error *e)
{
	struct socket_frames *s;

	if (o->time_column || o->has_delay || o->records.schema_text)
		return error_set(e, ERROR_USAGE, "-t, -d and -s are for records; frames bring their columns and "
			"time with them\nsmap --assign-time gives another");
	if (o->sockets.spool)
		return error_set(e, ERROR_USAGE, "--spool keeps records; frames from sockets can't be spooled yet");
	s = mem_zero(sizeof *s);
	s->base = (struct operator){.ops = &frames_ops, .outputs = 1, .wait_fd = -1, .wait_us = -1};
	s->o = o;
	s->epoll = -1;
	s->net = o->sockets.net;
	s->net.alive = keep_alive;
	s->net.warn = warn;
	s->net.context = s;
	s->ports = mem_zero((o->records.inputs_len + 1) * sizeof *s->ports);
	s->watermark_us = s->tick_us = WATERMARK_NONE;
	schema_init(&s->schema);
	clockwork_init(&s->clockwork, o);
	*out = &s->base;
	return 0;
}
