/* Waiting for files to change and pipes to bring something, as one descriptor: inotify behind
 * epoll. Where the kernel gives no inotify, or was told not to, everything is as if nothing had
 * been told: whoever watches has to look by himself now and then, which he does anyway (network
 * file systems tell only of what this machine does). */
#ifndef RUNNEL_CMD_SSOURCE_WATCH_H
#define RUNNEL_CMD_SSOURCE_WATCH_H

#include "libcore/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct watch {
	int epoll;
	int inotify; /* -1: none, changes aren't told */
};

/* What was told. */
struct watch_event {
	bool *ready; /* of a pipe or socket that may be read; else NULL, and of a file or directory: */
	int number; /* as watch_file and watch_directory gave it; -1: of anything, events were lost
		     */
	const char *name; /* in a directory; "" for what is watched itself.  Until the next event */
	bool appeared;    /* created or moved to this name */
	bool gone;        /* deleted or moved from it; of itself: the watch is over */
	bool closed;      /* by one who wrote */
};

int watch_open(struct watch *w, bool polls, struct error *e);
void watch_close(struct watch *w);

/* A number, -1 if it can't be watched.  The same file or directory has the same number again. */
int watch_file(struct watch *w, int fd);
int watch_directory(struct watch *w, const char *path, bool with_contents);
void watch_remove(struct watch *w, int number);

/* *ready is told when it may be read.  False: it always may. */
bool watch_stream(struct watch *w, int fd, bool *ready);
void watch_remove_stream(struct watch *w, int fd);

/* Calls take for everything told since, without waiting. */
int watch_collect(struct watch *w,
	int (*take)(void *context, const struct watch_event *event, struct error *e), void *context,
	struct error *e);

#endif
