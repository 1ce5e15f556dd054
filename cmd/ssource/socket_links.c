/* Ports and connections of frame streams. */
#include "cmd/ssource/socket_frames.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	LINKS_MAX = 1000,
	EVENTS_AT_ONCE = 64,
	FIRST_PAUSE_US = 200000,
	LONGEST_PAUSE_US = 10000000,
};

static void watch(struct socket_frames *s, int fd, bool *ready)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = ready};

	epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev);
}

void frame_link_watch(struct socket_frames *s, struct frame_link *l, bool on)
{
	if (on)
		watch(s, l->fd, &l->ready);
	else
		epoll_ctl(s->epoll, EPOLL_CTL_DEL, l->fd, NULL);
}

/* ---- connections ---- */

struct frame_link *frame_link_new(int fd, const char *name)
{
	struct frame_link *l = mem_zero(sizeof *l);

	*l = (struct frame_link){.fd = fd, .peer = mem_strdup(name), .ready = true};
	l->reader = channel_reader_new(fd, name);
	return l;
}

void frame_link_free(struct frame_link *l)
{
	if (!l)
		return;
	channel_reader_free(l->reader);
	schema_set_clear(&l->schemas);
	if (l->fd >= 0)
		close(l->fd);
	mem_free(l->peer);
	mem_free(l);
}

static void add_link(struct socket_frames *s, uint32_t input, int fd, const char *peer)
{
	struct frame_link *l = frame_link_new(fd, peer);

	l->input = input;
	if (!s->epochs)
		l->sender = frame_sender_add(s);
	MEM_GROW(s->links, s->links_cap, s->links_len + 1);
	s->links[s->links_len++] = l;
	frame_link_watch(s, l, true);
}

/* A job that is started again comes again; so may what has brought nothing.  A stream of no job's has
 * said that it is over, or is lost. */
static void settle_port(struct socket_frames *s, const struct frame_link *l)
{
	struct frame_port *p = &s->ports[l->input];

	if (p->listener)
		return;
	p->is_connected = false;
	p->is_done = !s->epochs || l->has_ended || l->is_final || (!l->is_job && l->rows);
	p->due_us = s->now_us + p->pause_us;
}

void frame_link_end(struct socket_frames *s, struct frame_link *l, struct error *why)
{
	struct error cut = ERROR_INIT;
	bool is_broken = why->code == ERROR_IO;
	int status;

	frame_link_watch(s, l, false);
	if (l->is_job && why->code && !is_broken)
		frame_spool_refuse(l, why);
	/* Who sends garbage isn't waited for, with all others. */
	status = why->code ? net_drop(l->fd, &cut) : net_finish(l->fd, false, &s->net, &cut);
	if (status < 0 && !l->has_ended) {
		error_clear(why);
		*why = cut;
	} else if (why->code == ERROR_NONE && !l->has_ended && !l->is_job) {
		error_set(why, ERROR_IO, "the connection ended without END, after %llu rows",
			(unsigned long long)l->rows);
	}
	l->fd = -1;
	l->is_over = true;
	if (l->sender)
		l->sender->is_over = true;
	if (why->code && strncmp(why->text, l->peer, strlen(l->peer)) == 0)
		stage_warn(s->base.stage, "%s", why->text);
	else if (why->code)
		stage_warn(s->base.stage, "%s: %s", l->peer, why->text);
	error_clear(why);
	settle_port(s, l);
}

static void forget_links(struct socket_frames *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->links_len; i++) {
		if (s->links[i]->is_over)
			frame_link_free(s->links[i]);
		else
			s->links[kept++] = s->links[i];
	}
	s->links_len = kept;
}

/* ---- ports ---- */

static int accept_all(struct socket_frames *s, uint32_t input, struct error *e)
{
	struct frame_port *p = &s->ports[input];
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
				stage_warn(s->base.stage, "more than %d clients; more are turned away",
					LINKS_MAX);
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

static int await_peer(void *context, struct error *e)
{
	return stage_await(((struct socket_frames *)context)->base.stage, e);
}

/* The first time with all patience; then once, and again later. */
static int connect_port(struct socket_frames *s, uint32_t input, struct error *e)
{
	const char *url = s->o->records.inputs[input];
	struct frame_port *p = &s->ports[input];
	struct net_options o = s->net;
	int fd;

	o.alive = await_peer;
	if (p->due_us)
		o.patience_us = 0;
	if (net_connect(url, &o, &fd, e) < 0) {
		if (!p->due_us || e->code != ERROR_IO)
			return -1;
		error_clear(e);
		p->due_us = s->now_us + p->pause_us;
		p->pause_us = p->pause_us * 2 < LONGEST_PAUSE_US ? p->pause_us * 2 : LONGEST_PAUSE_US;
		return 0;
	}
	p->is_connected = true;
	p->pause_us = FIRST_PAUSE_US;
	add_link(s, input, fd, url);
	return 0;
}

int frame_links_open(struct socket_frames *s, struct error *e)
{
	const struct records_options *r = &s->o->records;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return error_errno(e, "can't wait for input");
	for (uint32_t i = 0; i < r->inputs_len; i++) {
		struct frame_port *p = &s->ports[i];

		p->pause_us = FIRST_PAUSE_US;
		if (!net_listens(r->inputs[i]))
			continue;
		if (net_listen(r->inputs[i], &s->net, &p->listener, e) < 0)
			return -1;
		if (strstr(r->inputs[i], ":0"))
			stage_warn(s->base.stage, "listening at %s", net_address(p->listener));
		watch(s, net_listener_fd(p->listener), &p->ready);
	}
	return 0;
}

void frame_links_close(struct socket_frames *s)
{
	for (size_t i = 0; i < s->links_len; i++)
		frame_link_free(s->links[i]);
	s->links_len = 0;
	for (uint32_t i = 0; i < s->o->records.inputs_len; i++) {
		net_listener_close(s->ports[i].listener);
		s->ports[i].listener = NULL;
		s->ports[i].is_done = true;
	}
}

int frame_links_turn(struct socket_frames *s, struct error *e)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int n = epoll_wait(s->epoll, events, EVENTS_AT_ONCE, 0);

	for (int i = 0; i < n; i++)
		*(bool *)events[i].data.ptr = true;
	forget_links(s);
	for (uint32_t i = 0; i < s->o->records.inputs_len; i++) {
		struct frame_port *p = &s->ports[i];

		if (p->listener ? p->ready && accept_all(s, i, e) < 0
				: !p->is_connected && !p->is_done && s->now_us >= p->due_us &&
				connect_port(s, i, e) < 0)
			return -1;
	}
	return 0;
}

int64_t frame_links_wait_us(const struct socket_frames *s)
{
	int64_t least = -1;

	for (uint32_t i = 0; i < s->o->records.inputs_len; i++) {
		const struct frame_port *p = &s->ports[i];
		int64_t left = p->due_us > s->now_us ? p->due_us - s->now_us : 0;

		if (!p->listener && !p->is_connected && !p->is_done && (least < 0 || left < least))
			least = left;
	}
	return least;
}

bool frame_links_are_over(const struct socket_frames *s)
{
	for (uint32_t i = 0; i < s->o->records.inputs_len; i++) {
		if (!s->ports[i].is_done)
			return false;
	}
	return s->links_len == 0;
}
