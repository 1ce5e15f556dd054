/* systemd's notification protocol, sd_notify(3), without its library: a datagram to the socket named
 * by $NOTIFY_SOCKET. */
#ifndef RUNNEL_CMD_RUNNEL_NOTIFY_H
#define RUNNEL_CMD_RUNNEL_NOTIFY_H

/* state: "READY=1", "STOPPING=1", "STATUS=...".  Nothing happens where nobody listens; never blocks. */
void notify_systemd(const char *state);

#endif
