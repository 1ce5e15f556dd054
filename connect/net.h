/* Sockets as descriptors.
 *
 *   tcp://host:port        unix:path          tls://host:port           connect
 *   tcp-listen://[host]:port  unix-listen:path  tls-listen://[host]:port   listen
 *
 * A descriptor is blocking, close-on-exec, and holds plain bytes: what TLS does is done by a process
 * of its own at the other end of a socket pair (connect/tls/main.c), so that whoever reads and writes
 * sees descriptors only, and the parser of handshakes from strangers has nothing of the stage's in its
 * memory.  Its end of the pair closes only after the peer has said that it is done; a stream that was
 * cut off is a reset, as with a plain socket.
 *
 * Listeners listen on loopback unless a host is written down.  TCP peers that are gone without a word
 * are noticed within a minute (keepalive). */
#ifndef RUNNEL_CONNECT_NET_H
#define RUNNEL_CONNECT_NET_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct net_options {
	/* TLS: files in PEM.  ca NULL: the system's, and a listener asks no client for a certificate. */
	const char *cert, *key, *ca;
	int64_t patience_us; /* how long connecting is tried again, with growing pauses; 0: once */
	/* While waiting: called at least ten times a second; -1 ends the wait.  NULL: nothing is due. */
	int (*alive)(void *context, struct error *e);
	void (*warn)(void *context, const char *text); /* said once, after the first failure; NULL */
	void *context;
};

/* Whether a text is a socket's address, and whether it listens there. */
bool net_is(const char *text);
bool net_listens(const char *text);

/* What can be said without connecting: ERROR_USAGE for a port that is missing, options that don't
 * belong to it. */
int net_check(const char *url, const struct net_options *o, struct error *e);

/* A connected descriptor.  Errors (ERROR_IO) name the address and the cause of the last try. */
int net_connect(const char *url, const struct net_options *o, int *fd, struct error *e);

struct net_listener;

/* A living listener at the same unix path is an error, a dead one's file is taken over.  Port 0: any,
 * see net_address. */
int net_listen(const char *url, const struct net_options *o, struct net_listener **out,
	struct error *e);
void net_listener_close(struct net_listener *l); /* NULL is nothing */
int net_listener_fd(const struct net_listener *l); /* readable: somebody has come */
const char *net_address(const struct net_listener *l); /* "tcp-listen://127.0.0.1:40123" */

/* The next peer, called "127.0.0.1:51000" or "unix:path #3".  0; 1: there is none now; -1.  A peer
 * that fails right away is passed over; where the process has no descriptors left, the peer is turned
 * away (-1, and the listener goes on). */
int net_accept(struct net_listener *l, int *fd, struct buf *peer, struct error *e);

/* The end of a connection, whose descriptor is closed.  wrote: all has been written to it; the peer is
 * told so, and given some seconds to say that it has closed, too.  Otherwise its end has been read.
 * -1: the peer took or gave less than all, as far as that can be known (TLS knows); with plain sockets
 * a reset. */
int net_finish(int fd, bool wrote, const struct net_options *o, struct error *e);

/* Ends a connection at once and waits for nothing: for a peer that is let go, who could make
 * net_finish wait.  -1: a relay has told before what broke; 0. */
int net_drop(int fd, struct error *e);

#endif
