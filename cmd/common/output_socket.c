#include "cmd/common/output_impl.h"

#include "libcore/stage/operator.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_MS = 100 };

static int keep_alive(void *context, struct error *e)
{
	struct output *o = context;

	return o->o.stage && o->o.supervised ? stage_alive(o->o.stage, e) : 0;
}

static int await_peer(void *context, struct error *e)
{
	struct output *o = context;

	return o->o.stage ? stage_await(o->o.stage, e) : 0;
}

static void warn(void *context, const char *text)
{
	struct output *o = context;

	if (o->o.stage)
		stage_warn(o->o.stage, "%s", text);
}

static struct net_options options_of(struct output *o)
{
	struct net_options net = o->o.net;

	net.alive = keep_alive;
	net.warn = warn;
	net.context = o;
	return net;
}

/* The one that comes is served to the end; others aren't waited for. */
static int wait_for_client(struct output *o, const struct net_options *net, struct error *e)
{
	struct net_listener *l = NULL;
	struct buf peer = BUF_INIT;
	int status = net_listen(o->path, net, &l, e);

	if (status == 0 && o->o.stage && strstr(o->path, ":0"))
		stage_warn(o->o.stage, "waiting for a client at %s", net_address(l));
	while (status == 0 && (status = net_accept(l, &o->stream_fd, &peer, e)) == 1) {
		struct pollfd p = {.fd = net_listener_fd(l), .events = POLLIN};

		poll(&p, 1, LOOK_MS);
		status = await_peer(o, e);
	}
	if (status < 0 && e->code == ERROR_INTERRUPTED)
		error_context(e, "%s: waiting for a client", o->path);
	buf_clear(&peer);
	net_listener_close(l);
	return status;
}

int output_socket_open(struct output *o, struct error *e)
{
	struct net_options net = options_of(o);

	net.alive = await_peer;
	return net_listens(o->path) ? wait_for_client(o, &net, e)
				    : net_connect(o->path, &net, &o->stream_fd, e);
}

int output_socket_finish(struct output *o, struct error *e)
{
	struct net_options net = options_of(o);
	int fd = o->stream_fd;

	o->stream_fd = -1;
	return fd < 0 ? 0 : net_finish(fd, true, &net, e) < 0 ? error_context(e, "%s", o->path) : 0;
}

int output_socket_failed(struct output *o, struct error *e)
{
	struct error why = ERROR_INIT;

	if (e->code == ERROR_CLOSED)
		error_set(e, ERROR_IO, "%s: the peer closed the connection before the end", o->path);
	/* A relay knows better. */
	if (net_finish(o->stream_fd, false, &o->o.net, &why) < 0)
		error_hint(e, "%s", why.text);
	o->stream_fd = -1;
	return -1;
}
