/* `--metrics [host:]port`: Prometheus text over HTTP (libmicrohttpd), GET /metrics; loopback unless
 * a host is given.  No thread: the supervisor's loop polls metrics_fd and calls metrics_turn. */
#ifndef RUNNEL_CMD_RUNNEL_METRICS_H
#define RUNNEL_CMD_RUNNEL_METRICS_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

struct metrics;

/* The address: "9090", "localhost:9090", "0.0.0.0:9090", "[::]:9090"; port 0 takes a free one.
 * ERROR_USAGE if it is none, ERROR_IO if it can't be listened at. put appends the text of the
 * moment. */
int metrics_open(const char *address, void (*put)(void *context, struct buf *out), void *context,
	struct metrics **out, struct error *e);
void metrics_close(struct metrics *m);
unsigned metrics_port(const struct metrics *m);

/* To be polled for reading; turn also when a second or so has passed, for clients that are slow. */
int metrics_fd(const struct metrics *m);
void metrics_turn(struct metrics *m);

#endif
