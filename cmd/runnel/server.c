#include "cmd/runnel/server.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum client_state {
	CLIENT_FREE,
	CLIENT_ASKING,  /* its request comes in */
	CLIENT_WAITING, /* whoever takes requests has it */
	CLIENT_TOLD,    /* its reply goes out */
};

struct client {
	struct request request; /* first: a request is its client */
	enum client_state state;
	int fd;           /* -1 while WAITING: it has gone */
	int64_t since_us; /* in this state */
	struct buf in, out;
	size_t sent;
};

struct server {
	int fd;
	char *path;
	struct client clients[SERVER_CLIENTS_MAX];
};

/* ---- addresses ---- */

struct address {
	struct sockaddr_un name;
	int directory; /* -1, or open while the name is in use: it goes through it */
};

/* A socket's address has room for 107 bytes; a longer path is reached from its directory. */
static int address_open(const char *path, struct address *out, struct error *e)
{
	const char *slash = strrchr(path, '/');
	char *directory;

	*out = (struct address){.name = {.sun_family = AF_UNIX}, .directory = -1};
	if (strlen(path) < sizeof out->name.sun_path) {
		memcpy(out->name.sun_path, path, strlen(path));
		return 0;
	}
	if (!slash || strlen(slash) > 64)
		return error_set(e, ERROR_IO, "%s: too long for a socket's name", path);
	directory = mem_strndup(path, (size_t)(slash - path) + 1);
	out->directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	mem_free(directory);
	if (out->directory < 0)
		return error_errno(e, "%s", path);
	snprintf(out->name.sun_path, sizeof out->name.sun_path, "/proc/self/fd/%d%s",
		out->directory, slash);
	return 0;
}

static void address_close(struct address *a)
{
	if (a->directory >= 0)
		close(a->directory);
}

static const struct sockaddr *address_name(const struct address *a)
{
	return (const struct sockaddr *)(const void *)&a->name;
}

/* ---- opening and closing ---- */

static int listen_at(struct server *s, const struct address *a, struct error *e)
{
	struct stat st;
	mode_t mask;
	int bound;

	if (lstat(s->path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return error_set(e, ERROR_IO, "%s: it is there and no socket", s->path);
		unlink(s->path);
	}
	mask = umask(0177);
	bound = bind(s->fd, address_name(a), sizeof a->name);
	umask(mask);
	if (bound < 0 || listen(s->fd, SERVER_CLIENTS_MAX) < 0)
		return error_errno(e, "%s: can't listen", s->path);
	return 0;
}

int server_open(const char *path, struct server **out, struct error *e)
{
	struct server *s;
	struct address a;
	int status = -1;

	if (address_open(path, &a, e) < 0)
		return -1;
	s = mem_zero(sizeof *s);
	s->path = mem_strdup(path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		error_errno(e, "%s: no socket", path);
	else
		status = listen_at(s, &a, e);
	address_close(&a);
	if (status == 0) {
		*out = s;
		return 0;
	}
	if (s->fd >= 0)
		close(s->fd);
	mem_free(s->path);
	mem_free(s);
	return -1;
}

/* The end of the stream is told, not left to the last close: a child that writes a savepoint may
 * have been forked meanwhile and still holds the descriptor. */
static void client_drop(struct client *c)
{
	if (c->fd >= 0) {
		shutdown(c->fd, SHUT_RDWR);
		close(c->fd);
	}
	buf_clear(&c->in);
	buf_clear(&c->out);
	*c = (struct client){.state = CLIENT_FREE, .fd = -1};
}

void server_close(struct server *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		if (s->clients[i].state != CLIENT_FREE)
			client_drop(&s->clients[i]);
	unlink(s->path);
	close(s->fd);
	mem_free(s->path);
	mem_free(s);
}

/* ---- replies ---- */

static void client_send(struct client *c)
{
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0)
			break;
		c->sent += (size_t)n;
	}
	client_drop(c);
}

static void client_tell(struct client *c, int status, const void *text, size_t len)
{
	if (c->fd < 0) {
		client_drop(c);
		return;
	}
	c->state = CLIENT_TOLD;
	c->since_us = clock_mono_us();
	buf_printf(&c->out, "%d\n", status);
	buf_put(&c->out, text, len);
	client_send(c);
}

void server_reply(struct server *s, struct request *r, int status, const void *text, size_t len)
{
	struct client *c = (struct client *)(void *)r;

	MUST(c >= s->clients && c < s->clients + SERVER_CLIENTS_MAX);
	MUST(c->state == CLIENT_WAITING);
	client_tell(c, status, text, len);
}

/* ---- requests ---- */

static void client_refuse(struct client *c, const char *why)
{
	client_tell(c, ERROR_USAGE, why, strlen(why));
}

/* The words point into the bytes, which stay where they are from now on. */
static void take_words(struct client *c, void (*take)(void *, struct request *), void *context)
{
	const char *at = (const char *)c->in.data, *end = at + c->in.len;
	struct request *r = &c->request;

	if (!c->in.len) {
		client_drop(c);
		return;
	}
	if (end[-1] != '\0') {
		client_refuse(c, "the request breaks off\n");
		return;
	}
	for (; at < end; at += strlen(at) + 1) {
		if (r->words_len == SERVER_WORDS_MAX) {
			client_refuse(c, "a request of too many words\n");
			return;
		}
		r->words[r->words_len++] = at;
	}
	c->state = CLIENT_WAITING;
	take(context, r);
}

static void client_read(struct client *c, void (*take)(void *, struct request *), void *context)
{
	for (;;) {
		size_t room = SERVER_REQUEST_BYTES_MAX + 1 - c->in.len;
		size_t want = room < 4096 ? room : 4096;
		ssize_t n = recv(c->fd, buf_reserve(&c->in, want), want, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n < 0) {
			client_drop(c);
			return;
		}
		if (n == 0) {
			take_words(c, take, context);
			return;
		}
		c->in.len += (size_t)n;
		if (c->in.len > SERVER_REQUEST_BYTES_MAX) {
			client_refuse(c, "a request of too many bytes\n");
			return;
		}
	}
}

/* ---- a turn ---- */

static bool has_room(const struct server *s)
{
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		if (s->clients[i].state == CLIENT_FREE)
			return true;
	return false;
}

static struct pollfd client_poll(const struct client *c)
{
	switch (c->state) {
	case CLIENT_FREE: break;
	case CLIENT_ASKING: return (struct pollfd){.fd = c->fd, .events = POLLIN};
	/* Nothing to read any more; that it has gone is told without being asked for. */
	case CLIENT_WAITING: return (struct pollfd){.fd = c->fd};
	case CLIENT_TOLD: return (struct pollfd){.fd = c->fd, .events = POLLOUT};
	}
	return (struct pollfd){.fd = -1};
}

size_t server_fds(const struct server *s, struct pollfd *fds)
{
	size_t n = 0;

	if (has_room(s))
		fds[n++] = (struct pollfd){.fd = s->fd, .events = POLLIN};
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
		fds[n] = client_poll(&s->clients[i]);
		n += fds[n].fd >= 0;
	}
	return n;
}

static void client_turn(
	struct client *c, short revents, void (*take)(void *, struct request *), void *context)
{
	switch (c->state) {
	case CLIENT_FREE: break;
	case CLIENT_ASKING: client_read(c, take, context); break;
	case CLIENT_WAITING:
		if (revents & (POLLHUP | POLLERR)) {
			close(c->fd);
			c->fd = -1;
		}
		break;
	case CLIENT_TOLD: client_send(c); break;
	}
}

static void clients_turn(struct server *s, void (*take)(void *, struct request *), void *context)
{
	struct pollfd fds[SERVER_CLIENTS_MAX];

	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
		fds[i] = client_poll(&s->clients[i]);
		fds[i].revents = 0;
	}
	if (poll(fds, SERVER_CLIENTS_MAX, 0) <= 0)
		return;
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		if (fds[i].revents)
			client_turn(&s->clients[i], fds[i].revents, take, context);
}

static void drop_slow(struct server *s)
{
	int64_t now_us = clock_mono_us();

	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *c = &s->clients[i];

		if ((c->state == CLIENT_ASKING || c->state == CLIENT_TOLD) &&
			now_us - c->since_us > SERVER_PATIENCE_MS * INT64_C(1000))
			client_drop(c);
	}
}

/* Accepts one if there is a place and somebody waits for it. */
static struct client *accept_one(struct server *s)
{
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *c = &s->clients[i];
		int fd;

		if (c->state != CLIENT_FREE)
			continue;
		fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return NULL;
		*c = (struct client){.state = CLIENT_ASKING, .fd = fd, .since_us = clock_mono_us()};
		return c;
	}
	return NULL;
}

void server_turn(struct server *s, void (*take)(void *, struct request *), void *context)
{
	struct client *c;

	clients_turn(s, take, context);
	if (!has_room(s))
		drop_slow(s);
	/* A bounded number: clients that come as fast as they are answered would keep it here. */
	for (int i = 0; i < SERVER_CLIENTS_MAX && (c = accept_one(s)); i++)
		client_read(c, take, context);
}

/* ---- the client ---- */

static int reach(const char *path, int fd, bool *gone, struct error *e)
{
	struct address a;
	int status;

	errno = 0;
	if (address_open(path, &a, e) < 0) {
		*gone = errno == ENOENT;
		return -1;
	}
	do
		status = connect(fd, address_name(&a), sizeof a.name);
	while (status < 0 && errno == EINTR);
	if (status < 0) {
		*gone = errno == ECONNREFUSED || errno == ENOENT;
		if (errno == EAGAIN)
			error_set(e, ERROR_IO, "the supervisor doesn't answer");
		else
			error_errno(e, "%s", path);
	}
	address_close(&a);
	return status;
}

/* A server that refuses closes before it has read all: its reply still tells why. */
static int send_words(int fd, const char *const *words, size_t words_len, struct error *e)
{
	struct buf all = BUF_INIT;
	size_t sent = 0;
	int status = 0;

	for (size_t i = 0; i < words_len; i++)
		buf_put(&all, words[i], strlen(words[i]) + 1);
	while (sent < all.len) {
		ssize_t n = send(fd, all.data + sent, all.len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EPIPE && errno != ECONNRESET)
			status = error_errno(e, "the supervisor doesn't listen");
		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	buf_clear(&all);
	shutdown(fd, SHUT_WR);
	return status;
}

static int read_all(int fd, struct buf *out, struct error *e)
{
	for (;;) {
		ssize_t n = recv(fd, buf_reserve(out, 4096), 4096, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return error_set(e, ERROR_IO, "the supervisor doesn't answer");
		if (n < 0 && errno != ECONNRESET)
			return error_errno(e, "the supervisor's answer can't be read");
		if (n <= 0)
			return 0;
		out->len += (size_t)n;
	}
}

static int take_reply(const struct buf *all, int *status, struct buf *text, struct error *e)
{
	const char *newline = all->len ? memchr(all->data, '\n', all->len) : NULL;
	size_t head = newline ? (size_t)(newline - (const char *)all->data) : 0;
	uint64_t number;

	if (!all->len)
		return error_set(e, ERROR_IO, "the supervisor has ended without an answer");
	if (!newline || uint_parse((const char *)all->data, head, &number) != NUMBER_OK ||
		number > 255)
		return error_set(e, ERROR_IO, "the supervisor's answer makes no sense");
	*status = (int)number;
	buf_put(text, all->data + head + 1, all->len - head - 1);
	return 0;
}

int server_ask(const char *path, const char *const *words, size_t words_len, unsigned timeout_ms,
	int *status, struct buf *text, bool *gone, struct error *e)
{
	struct timeval patience = {
		.tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
	struct buf all = BUF_INIT;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), done = -1;

	*gone = false;
	if (fd < 0)
		return error_errno(e, "no socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (reach(path, fd, gone, e) == 0 && send_words(fd, words, words_len, e) == 0 &&
		read_all(fd, &all, e) == 0) {
		*gone = !all.len;
		done = take_reply(&all, status, text, e);
	}
	buf_clear(&all);
	close(fd);
	return done;
}
