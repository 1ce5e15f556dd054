#include "cmd/ssource/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
	EVENTS_BYTES = 64 << 10,
	STREAMS_AT_ONCE = 64,
};

int watch_open(struct watch *w, bool polls, struct error *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	w->inotify = -1;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll < 0)
		return error_errno(e, "can't wait for input");
	if (!polls)
		w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->inotify >= 0 && epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->inotify, &ev) < 0)
		return error_errno(e, "can't wait for files to change");
	return 0;
}

void watch_close(struct watch *w)
{
	if (w->inotify >= 0)
		close(w->inotify);
	if (w->epoll >= 0)
		close(w->epoll);
	w->inotify = w->epoll = -1;
}

int watch_file(struct watch *w, int fd)
{
	char path[64];

	if (w->inotify < 0)
		return -1;
	/* By the descriptor: the name may be another file's by now. */
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return inotify_add_watch(w->inotify, path, IN_MODIFY | IN_CLOSE_WRITE | IN_MASK_ADD);
}

int watch_directory(struct watch *w, const char *path, bool with_contents)
{
	uint32_t mask = IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR |
			IN_MASK_ADD;

	if (with_contents)
		mask |= IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_DELETE;
	return w->inotify < 0 ? -1 : inotify_add_watch(w->inotify, path, mask);
}

void watch_remove(struct watch *w, int number)
{
	if (w->inotify >= 0 && number >= 0)
		inotify_rm_watch(w->inotify, number);
}

bool watch_stream(struct watch *w, int fd, bool *ready)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = ready};

	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) == 0;
}

void watch_remove_stream(struct watch *w, int fd)
{
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static struct watch_event event_of(const struct inotify_event *i)
{
	return (struct watch_event){.number = i->mask & IN_Q_OVERFLOW ? -1 : i->wd,
		.name = i->len ? i->name : "",
		.appeared = i->mask & (IN_CREATE | IN_MOVED_TO),
		.gone = i->mask & (IN_DELETE | IN_MOVED_FROM | IN_IGNORED | IN_MOVE_SELF),
		.closed = i->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)};
}

int watch_collect(struct watch *w,
	int (*take)(void *context, const struct watch_event *event, struct error *e), void *context,
	struct error *e)
{
	struct epoll_event streams[STREAMS_AT_ONCE];
	char bytes[EVENTS_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
	int ready = epoll_wait(w->epoll, streams, STREAMS_AT_ONCE, 0);
	ssize_t n = 0;

	for (int i = 0; i < ready; i++) {
		struct watch_event event = {.ready = streams[i].data.ptr, .name = ""};

		if (event.ready && take(context, &event, e) < 0)
			return -1;
	}
	while (w->inotify >= 0 && ready > 0 && (n = read(w->inotify, bytes, sizeof bytes)) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *i = (const void *)(bytes + at);
			struct watch_event event = event_of(i);

			if (take(context, &event, e) < 0)
				return -1;
			at += (ssize_t)(sizeof *i + i->len);
		}
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return error_errno(e, "can't hear of files that change");
	return 0;
}
