/* systemd's notification protocol (sd_notify(3)) without its library: one datagram to the socket
 * that $NOTIFY_SOCKET names, an absolute path or "@name" of an abstract one.  Says nothing to the
 * user and never blocks: a supervisor works as well if nobody listens. */
#ifndef RUNNEL_CMD_RUNNEL_NOTIFY_H
#define RUNNEL_CMD_RUNNEL_NOTIFY_H

#include <stdint.h>

/* state: "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=..."; several by newlines, so a status's
 * own text must hold none.  1: sent; 0: there is no $NOTIFY_SOCKET; -1: it couldn't be sent (errno;
 * EAGAIN if its queue is full), which a caller may well ignore. */
int notify_systemd(const char *state);

/* How often "WATCHDOG=1" is expected at least, in microseconds ($WATCHDOG_USEC; send it twice as
 * often); 0: not at all, also if $WATCHDOG_PID means another process, or either is no number. */
uint64_t notify_watchdog_us(void);

#endif
