#include "cmd/runnel/metrics.h"

#include "libcore/base/memory.h"
#include "libcore/base/number.h"

#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CONNECTIONS_MAX = 16,        /* a few scrapers and a curious person */
	CONNECTION_BYTES = 16 << 10, /* headers of a request; the reply isn't counted */
	TIMEOUT_S = 10,
	HOST_MAX = 256,
};

struct metrics {
	struct MHD_Daemon *daemon;
	void (*put)(void *context, struct buf *out);
	void *context;
	unsigned port;
	int fd;
};

/* ---- the address ---- */

struct place {
	char host[HOST_MAX];
	char port[8];
};

static int place_parse(const char *text, struct place *out, struct error *e)
{
	const char *colon = strrchr(text, ':'), *host = text, *port = colon ? colon + 1 : text;
	size_t len = colon ? (size_t)(colon - text) : 0;
	uint64_t number;

	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	} else if (memchr(host, ':', len)) {
		return error_set(e, ERROR_USAGE,
			"--metrics '%s': an IPv6 address stands in brackets, "
			"[::1]:9090",
			text);
	}
	if (uint_parse(port, strlen(port), &number) != NUMBER_OK || number > 65535 ||
		strlen(port) >= sizeof out->port || len >= sizeof out->host)
		return error_set(
			e, ERROR_USAGE, "--metrics '%s' is not a port, or host:port", text);
	memcpy(out->port, port, strlen(port) + 1);
	memcpy(out->host, host, len);
	out->host[len] = '\0';
	if (!len)
		memcpy(out->host, "127.0.0.1", sizeof "127.0.0.1");
	return 0;
}

static int listen_at(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, CONNECTIONS_MAX) == 0)
		return fd;
	close(fd);
	return -1;
}

/* The first of the host's addresses that works. */
static int listen_any(const char *address, const struct place *place, struct error *e)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *all;
	int wrong = getaddrinfo(place->host, place->port, &hints, &all), fd = -1;

	if (wrong)
		return error_set(
			e, ERROR_USAGE, "--metrics '%s': %s", address, gai_strerror(wrong));
	for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next)
		fd = listen_at(a);
	if (fd < 0)
		error_errno(e, "--metrics '%s': can't listen", address);
	freeaddrinfo(all);
	return fd;
}

static unsigned bound_port(int fd)
{
	struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof name;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (getsockname(fd, (struct sockaddr *)(void *)&name, &len) < 0)
		return 0;
	memcpy(&in, &name, sizeof in);
	memcpy(&in6, &name, sizeof in6);
	return ntohs(name.ss_family == AF_INET6 ? in6.sin6_port : in.sin_port);
}

/* ---- requests ---- */

static enum MHD_Result answer(
	struct MHD_Connection *to, unsigned status, const char *type, struct buf *text)
{
	struct MHD_Response *r;
	enum MHD_Result done;

	buf_cstr(text); /* so that there is something to point to */
	r = MHD_create_response_from_buffer(text->len, text->data, MHD_RESPMEM_MUST_COPY);
	buf_clear(text);
	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	done = MHD_queue_response(to, status, r);
	MHD_destroy_response(r);
	return done;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *body, size_t *body_len, void **own)
{
	static const char plain[] = "text/plain; charset=utf-8";
	const struct metrics *m = context;
	struct buf text = BUF_INIT;

	/* The first call has the headers only: an answer to it would end the connection.  Then
	 * comes the body, which is dropped. */
	if (!*own || *body_len) {
		*own = connection;
		*body_len = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
		buf_put_text(&text, "only GET and HEAD\n");
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, plain, &text);
	}
	if (strcmp(url, "/metrics") != 0) {
		buf_put_text(&text, "nothing here; the metrics are at /metrics\n");
		return answer(connection, MHD_HTTP_NOT_FOUND, plain, &text);
	}
	m->put(m->context, &text);
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &text);
}

/* ---- life ---- */

int metrics_open(const char *address, void (*put)(void *context, struct buf *out), void *context,
	struct metrics **out, struct error *e)
{
	const union MHD_DaemonInfo *info;
	struct metrics *m;
	struct place place;
	int fd;

	if (place_parse(address, &place, e) < 0 || (fd = listen_any(address, &place, e)) < 0)
		return -1;
	m = mem_zero(sizeof *m);
	m->put = put;
	m->context = context;
	m->port = bound_port(fd);
	m->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, handle, m,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
		MHD_OPTION_END);
	info = m->daemon ? MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (info) {
		m->fd = info->epoll_fd;
		*out = m;
		return 0;
	}
	if (m->daemon)
		MHD_stop_daemon(m->daemon);
	else
		close(fd);
	mem_free(m);
	return error_set(e, ERROR_IO, "--metrics '%s': the HTTP server can't be started", address);
}

void metrics_close(struct metrics *m)
{
	if (!m)
		return;
	MHD_stop_daemon(m->daemon);
	mem_free(m);
}

unsigned metrics_port(const struct metrics *m)
{
	return m->port;
}

int metrics_fd(const struct metrics *m)
{
	return m->fd;
}

void metrics_turn(struct metrics *m)
{
	MHD_run(m->daemon);
}
