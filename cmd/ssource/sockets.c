#include "cmd/ssource/sockets.h"

#include "cmd/ssource/follow_parts.h"
#include "connect/spool.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/stage/operator.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CHUNK_BYTES = 256 << 10,
	FIRST_PAUSE_US = 200000,
	LONGEST_PAUSE_US = 10000000,
};

/* An input: who listens, or connects again. */
struct port {
	struct net_listener *listener; /* NULL: it connects */
	bool ready;
	bool is_done;     /* the peer has closed, or nobody is let in any more */
	bool is_connected;
	int64_t due_us;   /* connect again then */
	int64_t pause_us;
};

/* A connection that is spooled; others are read as they are. */
struct client {
	int fd;
	uint32_t input;
	bool ready, is_watched;
	char *peer;
	struct spool_file *file;
	char *path; /* of the followed file */
};

struct sockets {
	struct sockets_options o;
	struct follow *f;
	struct port *ports;
	struct client **clients;
	size_t clients_len, clients_cap, streams;
	struct spool *spool;
	uint8_t *chunk;
	bool is_draining, told_full, told_many;
};

/* ---- opening ---- */

static int keep_alive(void *context, struct error *e)
{
	struct sockets *s = context;

	return stage_alive(s->f->o.stage, e);
}

static void warn(void *context, const char *text)
{
	struct sockets *s = context;

	stage_warn(s->f->o.stage, "%s", text);
}

static const char *url_of(const struct sockets *s, uint32_t input)
{
	return s->f->o.inputs[input];
}

static struct followed *find_followed(const struct sockets *s, const char *path)
{
	for (size_t i = 0; i < s->f->files_len; i++) {
		if (!s->f->files[i]->removed && strcmp(s->f->files[i]->path, path) == 0)
			return s->f->files[i];
	}
	return NULL;
}

static struct followed *follow_spooled(struct sockets *s, uint32_t input, const char *path,
	const char *name, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct followed *x;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		error_errno(e, "%s: can't open", path);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	x = follow_add_file(s->f, input, path, fd, &st);
	mem_free(x->name);
	x->name = mem_strdup(name);
	x->is_spooled = true;
	return x;
}

/* Of runs that ended before all had been read, and of which no snapshot tells. */
static int follow_left(struct sockets *s, struct error *e)
{
	const char *path;

	for (size_t i = 0; (path = spool_left(s->spool, i)); i++) {
		const char *name = strrchr(path, '/') + 1;
		struct followed *x = find_followed(s, path);

		if (!x)
			x = follow_spooled(s, 0, path, name, e);
		if (!x)
			return -1;
		x->is_spooled = x->replaced = x->is_old = true;
		x->dirty = !x->over;
	}
	return 0;
}

static int open_port(struct sockets *s, uint32_t input, struct error *e)
{
	struct port *p = &s->ports[input];
	const char *url = url_of(s, input);

	p->pause_us = FIRST_PAUSE_US;
	if (!net_listens(url))
		return 0;
	if (net_listen(url, &s->o.net, &p->listener, e) < 0)
		return -1;
	if (strstr(url, ":0"))
		stage_warn(s->f->o.stage, "listening at %s", net_address(p->listener));
	watch_stream(&s->f->watch, net_listener_fd(p->listener), &p->ready);
	return 0;
}

int sockets_open(const struct sockets_options *o, struct follow *f, struct sockets **out,
	struct error *e)
{
	struct sockets *s = mem_zero(sizeof *s);
	int status = 0;

	s->o = *o;
	s->o.net.alive = keep_alive;
	s->o.net.warn = warn;
	s->o.net.context = s;
	s->f = f;
	s->ports = mem_zero((f->o.inputs_len + 1) * sizeof *s->ports);
	s->chunk = mem_alloc(CHUNK_BYTES);
	*out = s;
	if (o->spool) {
		status = spool_open(o->spool, o->spool_bytes, &s->spool, e);
		if (status == 0)
			status = follow_left(s, e);
	}
	for (uint32_t i = 0; i < f->o.inputs_len && status == 0; i++) {
		if (net_is(url_of(s, i)))
			status = open_port(s, i, e);
	}
	return status;
}

static void free_client(struct sockets *s, struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->file)
		spool_end(c->file);
	mem_free(c->peer);
	mem_free(c->path);
	mem_free(c);
}

void sockets_close(struct sockets *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->clients_len; i++)
		free_client(s, s->clients[i]);
	for (uint32_t i = 0; i < s->f->o.inputs_len; i++)
		net_listener_close(s->ports[i].listener);
	spool_close(s->spool);
	mem_free(s->clients);
	mem_free(s->ports);
	mem_free(s->chunk);
	mem_free(s);
}

/* ---- connections come ---- */

static int add_spooled(struct sockets *s, uint32_t input, int fd, const char *peer, struct error *e)
{
	struct client *c = mem_zero(sizeof *c);

	*c = (struct client){.fd = fd, .input = input, .peer = mem_strdup(peer)};
	MEM_GROW(s->clients, s->clients_cap, s->clients_len + 1);
	s->clients[s->clients_len++] = c;
	if (spool_begin(s->spool, peer, &c->file, e) < 0)
		return -1;
	c->path = mem_strdup(spool_path(c->file));
	if (!follow_spooled(s, input, c->path, peer, e))
		return -1;
	c->is_watched = watch_stream(&s->f->watch, fd, &c->ready);
	return 0;
}

static int add_connection(struct sockets *s, uint32_t input, int fd, const char *peer,
	struct error *e)
{
	struct stat st;

	if (s->spool)
		return add_spooled(s, input, fd, peer, e);
	if (fstat(fd, &st) < 0)
		return error_errno(e, "%s", peer);
	follow_add_stream(s->f, input, peer, fd, &st);
	s->streams++;
	return 0;
}

/* A peer that fails is no failure of the source. */
static int accept_all(struct sockets *s, uint32_t input, struct error *e)
{
	struct port *p = &s->ports[input];
	int status = 0;

	while (status == 0) {
		struct buf peer = BUF_INIT;
		int fd = -1;

		status = net_accept(p->listener, &fd, &peer, e);
		if (status < 0 && fd < 0 && e->code == ERROR_IO && peer.len) {
			stage_warn(s->f->o.stage, "%s: %s", buf_cstr(&peer), e->text);
			error_clear(e);
			status = 0;
		} else if (status == 0 && s->clients_len + s->streams >= SOCKETS_CLIENTS_MAX) {
			if (!s->told_many)
				stage_warn(s->f->o.stage, "%s: more than %d clients; more are turned away",
					url_of(s, input), SOCKETS_CLIENTS_MAX);
			s->told_many = true;
			net_drop(fd, e);
			error_clear(e);
		} else if (status == 0) {
			status = add_connection(s, input, fd, buf_cstr(&peer), e);
		}
		buf_clear(&peer);
	}
	p->ready = false;
	return status < 0 ? -1 : 0;
}

static int await_peer(void *context, struct error *e)
{
	return stage_await(((struct sockets *)context)->f->o.stage, e);
}

/* The first time with all patience; then once, and again later. */
static int connect_port(struct sockets *s, uint32_t input, struct error *e)
{
	struct port *p = &s->ports[input];
	struct net_options o = s->o.net;
	int fd;

	o.alive = await_peer;
	if (p->due_us)
		o.patience_us = 0;
	if (net_connect(url_of(s, input), &o, &fd, e) < 0) {
		if (!p->due_us || e->code != ERROR_IO)
			return -1;
		error_clear(e);
		p->due_us = s->f->now_us + p->pause_us;
		p->pause_us = p->pause_us * 2 < LONGEST_PAUSE_US ? p->pause_us * 2 : LONGEST_PAUSE_US;
		return 0;
	}
	p->is_connected = true;
	p->pause_us = FIRST_PAUSE_US;
	return add_connection(s, input, fd, url_of(s, input), e);
}

/* ---- connections go ---- */

/* The input of a connection that has ended: whether another one is made. */
static void settle_port(struct sockets *s, uint32_t input, bool broke)
{
	struct port *p = &s->ports[input];

	if (p->listener)
		return;
	p->is_connected = false;
	p->is_done = !broke || s->is_draining;
	p->due_us = s->f->now_us + p->pause_us;
	s->f->inputs[input].is_over = p->is_done;
}

static void warn_lost(struct sockets *s, const char *peer, const struct error *e)
{
	if (strncmp(e->text, peer, strlen(peer)) == 0)
		stage_warn(s->f->o.stage, "%s", e->text);
	else
		stage_warn(s->f->o.stage, "%s: %s", peer, e->text);
}

static void drop_client(struct sockets *s, size_t i)
{
	s->clients[i] = s->clients[--s->clients_len];
}

/* A spooled connection whose records can't be read any further: nothing more is received. */
static void let_go(struct sockets *s, const struct followed *x, struct error *e)
{
	warn_lost(s, x->name, e);
	error_clear(e);
	for (size_t i = 0; i < s->clients_len; i++) {
		struct client *c = s->clients[i];

		if (strcmp(c->path, x->path) != 0)
			continue;
		if (c->is_watched)
			watch_remove_stream(&s->f->watch, c->fd);
		net_drop(c->fd, e);
		error_clear(e);
		c->fd = -1;
		free_client(s, c);
		drop_client(s, i);
		return;
	}
}

/* A client's bytes, which others must not suffer from; without --bad the first one ends all.  That the
 * first one has none of the columns that are asked for may be the user's mistake, but as well its own. */
static bool is_own_end(const struct sockets *s, const struct followed *x, const struct error *e)
{
	return e->code == ERROR_IO || ((e->code == ERROR_DATA || e->code == ERROR_USAGE) && s->o.lets_go &&
		net_listens(url_of(s, x->input)));
}

int sockets_ended(struct sockets *s, struct followed *x, struct error *e)
{
	bool broke = e->code != ERROR_NONE;

	if (s->f->inputs[x->input].kind != FOLLOW_SOCKET)
		return broke ? -1 : 0;
	if (broke && !is_own_end(s, x, e))
		return -1;
	if (x->is_spooled) {
		if (broke && e->code == ERROR_IO)
			return -1;
		if (broke)
			let_go(s, x, e);
		return 0;
	}
	s->streams -= s->streams > 0;
	watch_remove_stream(&s->f->watch, x->fd);
	if ((broke ? net_drop(x->fd, e) : net_finish(x->fd, false, &s->o.net, e)) < 0)
		broke = true; /* a relay knows whether that was all */
	x->fd = -1;
	if (broke)
		warn_lost(s, x->name, e);
	error_clear(e);
	settle_port(s, x->input, broke);
	return 0;
}

/* ---- spooling ---- */

/* Its file is complete, and is read to its end. */
static int end_client(struct sockets *s, struct client *c, bool broke, struct error *e)
{
	struct followed *x = find_followed(s, c->path);

	if (c->is_watched)
		watch_remove_stream(&s->f->watch, c->fd);
	if ((broke || s->is_draining ? net_drop(c->fd, e) : net_finish(c->fd, false, &s->o.net, e)) < 0)
		broke = true;
	c->fd = -1;
	if (broke)
		warn_lost(s, c->peer, e);
	error_clear(e);
	if (x) {
		x->replaced = x->is_old = true;
		x->dirty = !x->over;
	}
	settle_port(s, c->input, broke);
	free_client(s, c);
	return 0;
}

/* Some of what a client has sent.  0; 1: it has ended. */
static int receive(struct sockets *s, struct client *c, struct error *e)
{
	ssize_t n = recv(c->fd, s->chunk, CHUNK_BYTES, MSG_DONTWAIT);
	struct followed *x;

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		c->ready = false;
		return 0;
	}
	if (n <= 0) {
		if (n < 0)
			error_errno(e, "the connection broke");
		return end_client(s, c, n < 0, e) < 0 ? -1 : 1;
	}
	c->ready = n == CHUNK_BYTES;
	if (spool_append(c->file, s->chunk, (size_t)n, e) < 0)
		return -1;
	x = find_followed(s, c->path);
	if (x) {
		x->bytes += (uint64_t)n;
		x->dirty = !x->over;
	}
	return 0;
}

/* Nothing is received while the spool is full: then nobody is told of it either. */
static void watch_clients(struct sockets *s, bool has_room)
{
	for (size_t i = 0; i < s->clients_len; i++) {
		struct client *c = s->clients[i];

		if (has_room && !c->is_watched)
			c->is_watched = c->ready = watch_stream(&s->f->watch, c->fd, &c->ready);
		else if (!has_room && c->is_watched) {
			watch_remove_stream(&s->f->watch, c->fd);
			c->is_watched = false;
		}
	}
}

static int spool_all(struct sockets *s, struct error *e)
{
	bool has_room = spool_has_room(s->spool);

	if (!has_room && !s->told_full)
		stage_warn(s->f->o.stage, "%s is full: its clients wait until there is a checkpoint, or "
			"what it holds has been read", s->o.spool);
	s->told_full |= !has_room;
	watch_clients(s, has_room);
	for (size_t i = 0; i < s->clients_len && has_room;) {
		struct client *c = s->clients[i];
		int status = c->ready ? receive(s, c, e) : 0;

		if (status < 0)
			return -1;
		if (status)
			drop_client(s, i);
		else
			i++;
		has_room = spool_has_room(s->spool);
	}
	return 0;
}

/* ---- every turn ---- */

int sockets_turn(struct sockets *s, struct error *e)
{
	for (uint32_t i = 0; i < s->f->o.inputs_len && !s->is_draining; i++) {
		struct port *p = &s->ports[i];

		if (s->f->inputs[i].kind != FOLLOW_SOCKET)
			continue;
		if (p->listener ? p->ready && accept_all(s, i, e) < 0
				: !p->is_connected && !p->is_done && s->f->now_us >= p->due_us &&
				connect_port(s, i, e) < 0)
			return -1;
	}
	return s->spool && !s->is_draining ? spool_all(s, e) : 0;
}

int64_t sockets_wait_us(const struct sockets *s, int64_t mono_us)
{
	int64_t least = -1;

	for (uint32_t i = 0; i < s->f->o.inputs_len; i++) {
		const struct port *p = &s->ports[i];
		int64_t left = p->due_us > mono_us ? p->due_us - mono_us : 0;

		if (s->f->inputs[i].kind == FOLLOW_SOCKET && !p->listener && !p->is_connected &&
			!p->is_done && (least < 0 || left < least))
			least = left;
	}
	for (size_t i = 0; i < s->clients_len; i++) {
		const struct client *c = s->clients[i];

		/* Who waited for room is watched again in the next turn. */
		if (c->is_watched ? c->ready : spool_has_room(s->spool))
			least = 0;
	}
	return least;
}

void sockets_drain(struct sockets *s)
{
	struct error ignored = ERROR_INIT;

	s->is_draining = true;
	for (uint32_t i = 0; i < s->f->o.inputs_len; i++) {
		s->f->inputs[i].is_over |= s->f->inputs[i].kind == FOLLOW_SOCKET;
		net_listener_close(s->ports[i].listener);
		s->ports[i].listener = NULL;
		s->ports[i].is_done = true;
	}
	for (size_t i = 0; i < s->clients_len; i++)
		end_client(s, s->clients[i], false, &ignored);
	s->clients_len = 0;
}

/* ---- what can go ---- */

enum { HANDLE_OVER = 1, HANDLE_PART = 0 };

int sockets_prepare(struct sockets *s, struct buf *handle, struct error *e)
{
	if (!s->spool)
		return 0;
	if (spool_sync(s->spool, e) < 0)
		return -1;
	for (size_t i = 0; i < s->f->files_len; i++) {
		const struct followed *x = s->f->files[i];
		struct records_range left = x->range;
		uint64_t offset;

		if (!x->is_spooled || x->removed)
			continue;
		if (x->records && !records_left(x->records, 0, &left))
			left.start = x->bytes;
		offset = left.start;
		buf_put_byte(handle, x->over ? HANDLE_OVER : HANDLE_PART);
		buf_put(handle, &offset, sizeof offset);
		buf_put(handle, x->path, strlen(x->path) + 1);
	}
	return 0;
}

int sockets_commit(struct sockets *s, const uint8_t *handle, size_t len, struct error *e)
{
	const uint8_t *at = handle, *end = handle + len;

	while (at < end) {
		bool over = *at++ == HANDLE_OVER;
		struct followed *x;
		uint64_t offset;
		const char *path;

		if ((size_t)(end - at) <= sizeof offset || !memchr(at + sizeof offset, 0,
				(size_t)(end - at) - sizeof offset))
			return error_set(e, ERROR_STATE, "a damaged handle of spooled files");
		memcpy(&offset, at, sizeof offset);
		path = (const char *)at + sizeof offset;
		at += sizeof offset + strlen(path) + 1;
		x = find_followed(s, path);
		if (!over) {
			spool_trim(s->spool, path, offset);
			continue;
		}
		if (spool_remove(s->spool, path, e) < 0)
			return -1;
		if (x)
			x->removed = true;
	}
	return 0;
}

int sockets_tidy(struct sockets *s, struct error *e)
{
	int status = 0;

	for (size_t i = 0; i < s->f->files_len && s->spool && status == 0; i++) {
		struct followed *x = s->f->files[i];
		struct records_range left;

		if (!x->is_spooled || x->removed)
			continue;
		if (x->over) {
			status = spool_remove(s->spool, x->path, e);
			x->removed = true;
		} else if (x->records && records_left(x->records, 0, &left)) {
			spool_trim(s->spool, x->path, left.start);
		}
	}
	return status;
}
