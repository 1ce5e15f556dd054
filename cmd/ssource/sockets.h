/* Connections as inputs of a live source (live.c, follow.h): each is a partition of its own.
 *
 *   listening      clients come and go; the source never ends by itself
 *   connecting     to one peer.  That it closes is the end of the input; a connection that breaks is
 *                  made again, with growing pauses, and what was on its way is lost
 *
 * With a spool (connect/spool.h) what a connection brings goes to a file of its own first, and the
 * source follows that file: its position can be restored.  Files that were read to their end are
 * removed, and what is behind the reader is given back, once no restored checkpoint can need it. */
#ifndef RUNNEL_CMD_SSOURCE_SOCKETS_H
#define RUNNEL_CMD_SSOURCE_SOCKETS_H

#include "cmd/ssource/follow.h"
#include "connect/net.h"

enum { SOCKETS_CLIENTS_MAX = 1000 };

struct sockets_options {
	struct net_options net;
	const char *spool; /* a directory; NULL: none */
	uint64_t spool_bytes;
	bool lets_go; /* --bad isn't stop: a client whose bytes can't be read any further is let go */
};

struct sockets;

/* After follow_start.  Listens and connects; spooled files that nobody follows yet are followed. */
int sockets_open(const struct sockets_options *o, struct follow *f, struct sockets **out,
	struct error *e);
void sockets_close(struct sockets *s); /* NULL is nothing */

/* Lets in who has come, and spools what there is, about a batch a turn. */
int sockets_turn(struct sockets *s, struct error *e);

/* How long until something is due that no descriptor tells; -1: nothing is. */
int64_t sockets_wait_us(const struct sockets *s, int64_t mono_us);

/* Nobody is let in any more, nothing more is received. */
void sockets_drain(struct sockets *s);

/* A connection's bytes are over, or can't be read; *e, if it is set, says why, and is cleared where the
 * source goes on without it.  Called before follow_end. */
int sockets_ended(struct sockets *s, struct followed *x, struct error *e);

/* Before a snapshot: what it will stand on is on disk; the handle tells what isn't needed behind it. */
int sockets_prepare(struct sockets *s, struct buf *handle, struct error *e);
int sockets_commit(struct sockets *s, const uint8_t *handle, size_t len, struct error *e);

/* Alone nothing is restored: what has been read can go. */
int sockets_tidy(struct sockets *s, struct error *e);

#endif
