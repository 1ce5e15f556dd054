/* TLS by a process of its own: see net.h.  Private to connect/net*.c.
 *
 * The relay (connect/tls/main.c) gets three descriptors: the network's, its end of a socket pair, and a
 * pipe on which it says one line after the handshake ("ok", or what failed) and one at its end ("end",
 * or what broke off). */
#ifndef RUNNEL_CONNECT_NET_TLS_H
#define RUNNEL_CONNECT_NET_TLS_H

#include "connect/net.h"

enum { TLS_NETWORK_FD = 3, TLS_PLAIN_FD = 4, TLS_STATUS_FD = 5 };

/* Puts a relay in front of *fd, which it takes over, also on error; *fd is the plain end then.  host:
 * whom to connect to, and waits for the handshake; NULL: as a server, without waiting. */
int net_tls_wrap(const char *url, const char *host, const struct net_options *o, int *fd,
	struct error *e);

/* Whether the files can be used; said before the first client comes. */
int net_tls_check(const char *url, const struct net_options *o, struct error *e);

/* A plain end's relay, which is forgotten: waits until it is through.  0; -1: the stream was cut off,
 * or the handshake failed; 1: the descriptor has none. */
int net_tls_finish(int fd, const struct net_options *o, struct error *e);

/* The same without waiting: the relay is killed.  -1: it has told before what went wrong; 0. */
int net_tls_drop(int fd, struct error *e);

#endif
