#include "cmd/runnel/notify.h"

#include "libcore/base/number.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The length of the address; 0 with errno if there is no such address. */
static socklen_t address_of(const char *name, struct sockaddr_un *out)
{
	size_t len = strlen(name);

	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	/* "vsock:..." is for virtual machines' init; a relative path would mean another place for
	 * every working directory. */
	if ((*name != '/' && *name != '@') || len < 2) {
		errno = EAFNOSUPPORT;
		return 0;
	}
	if (len >= sizeof out->sun_path) {
		errno = ENAMETOOLONG;
		return 0;
	}
	memcpy(out->sun_path, name, len);
	if (*name == '@')
		out->sun_path[0] = 0;
	/* A path's NUL belongs to it; an abstract name ends where the address does. */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (*name == '/'));
}

int notify_systemd(const char *state)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to;
	size_t len = strlen(state);
	socklen_t to_len;
	ssize_t sent;
	int fd, saved;

	if (!name || !*name)
		return 0;
	to_len = address_of(name, &to);
	if (!to_len)
		return -1;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	do {
		sent = sendto(fd, state, len, MSG_NOSIGNAL | MSG_DONTWAIT,
			(const struct sockaddr *)&to, to_len);
	} while (sent < 0 && errno == EINTR);
	saved = errno;
	close(fd);
	errno = saved;
	return sent == (ssize_t)len ? 1 : -1;
}

static uint64_t number_in(const char *variable)
{
	const char *text = getenv(variable);
	uint64_t n;

	if (!text || uint_parse(text, strlen(text), &n) != NUMBER_OK)
		return 0;
	return n;
}

uint64_t notify_watchdog_us(void)
{
	if (getenv("WATCHDOG_PID") && number_in("WATCHDOG_PID") != (uint64_t)getpid())
		return 0;
	return number_in("WATCHDOG_USEC");
}
