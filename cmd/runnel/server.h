/* The socket over which sctl talks to a supervisor, and its client side.  A Unix stream socket with
 * mode 0600; one request per connection:
 *
 *   client: word NUL word NUL ... then shuts down its sending side
 *   server: exit status in decimal, newline, text to the end of the stream
 *
 * The server never blocks and trusts nobody: requests are limited, slow clients wait alone.  While
 * all places are taken, further clients wait to be accepted, and one that has neither sent a whole
 * request nor taken its reply for SERVER_PATIENCE_MS makes room. */
#ifndef RUNNEL_CMD_RUNNEL_SERVER_H
#define RUNNEL_CMD_RUNNEL_SERVER_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	SERVER_CLIENTS_MAX = 32,
	SERVER_REQUEST_BYTES_MAX = 64 << 10,
	SERVER_WORDS_MAX = 16,
	SERVER_FDS_MAX = SERVER_CLIENTS_MAX + 1,
	SERVER_PATIENCE_MS = 3000,
};

struct server;

/* A request of at least one word; words live until it is replied to.  Every request is replied to
 * exactly once, now or later, also if its client has gone by then: it keeps its place, so that no
 * more than SERVER_CLIENTS_MAX are ever open. */
struct request {
	const char *words[SERVER_WORDS_MAX];
	size_t words_len;
};

/* A socket left at path by a process that is gone is replaced (the caller holds the job's lock).
 * The path may be longer than a socket's address. */
int server_open(const char *path, struct server **out, struct error *e);
void server_close(struct server *s); /* removes the socket, forgets clients and their requests */

/* What to poll for; room for SERVER_FDS_MAX. */
size_t server_fds(const struct server *s, struct pollfd *fds);

/* Accepts, reads, writes what can be without blocking; take is called for each whole request, and
 * may reply.  To be called when a descriptor is ready, and every second or so. */
void server_turn(struct server *s, void (*take)(void *context, struct request *r), void *context);
void server_reply(struct server *s, struct request *r, int status, const void *text, size_t len);

/* ---- the client ---- */

/* Sends the words and waits for the reply: its exit status to *status, its text appended.  A socket
 * nobody listens at, or a server that ends without a word, is ERROR_IO with *gone set; a server
 * that stays silent for timeout_ms (0: for ever) is ERROR_IO, too. */
int server_ask(const char *path, const char *const *words, size_t words_len, unsigned timeout_ms,
	int *status, struct buf *text, bool *gone, struct error *e);

#endif
