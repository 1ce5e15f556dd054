#include "connect/net.h"

#include "connect/net_tls.h"
#include "connect/url.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	FIRST_PAUSE_US = 100000, /* doubled up to the longest */
	LONGEST_PAUSE_US = 5000000,
	LOOK_MS = 100,           /* between two signs of life */
	GOODBYE_US = 2000000,    /* for the peer to close, once it has all */
	CONNECT_US = 10000000,   /* of one try */
	BACKLOG = 128,
	DESCRIPTORS = 8192, /* of a listening process: clients have up to four each */
	KEEP_IDLE_S = 20,
	KEEP_INTERVAL_S = 10,
	KEEP_COUNT = 3,
	PORT_TEXT_BYTES = 8,
};

/* ---- addresses ---- */

enum net_kind { NET_NONE, NET_TCP, NET_UNIX, NET_TLS };

static enum net_kind kind_of(const char *text, bool *listens)
{
	static const struct {
		const char *scheme;
		enum net_kind kind;
		bool listens;
	} schemes[] = {{"tcp", NET_TCP, false}, {"tcp-listen", NET_TCP, true}, {"unix", NET_UNIX, false},
		{"unix-listen", NET_UNIX, true}, {"tls", NET_TLS, false}, {"tls-listen", NET_TLS, true}};

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		if (url_has_scheme(text, schemes[i].scheme)) {
			*listens = schemes[i].listens;
			return schemes[i].kind;
		}
	}
	return NET_NONE;
}

bool net_is(const char *text)
{
	bool listens;

	return kind_of(text, &listens) != NET_NONE;
}

bool net_listens(const char *text)
{
	bool listens = false;

	return kind_of(text, &listens) != NET_NONE && listens;
}

static int check_unix(const struct url *u, const char *text, struct error *e)
{
	struct sockaddr_un address;

	if (!*u->path)
		return error_set(e, ERROR_USAGE, "%s: a path is missing", text);
	if (strlen(u->path) >= sizeof address.sun_path)
		return error_set(e, ERROR_USAGE, "%s: a socket's path has up to %zu bytes", text,
			sizeof address.sun_path - 1);
	return 0;
}

static int check_host(const struct url *u, const char *text, bool listens, struct error *e)
{
	const char *example = listens ? "tcp-listen://:9000" : "tcp://localhost:9000";

	if (u->hosts_len != 1 || u->hosts[0].port < 0 || *u->path || u->user || url_left(u)) {
		error_set(e, ERROR_USAGE, "%s: an address is a host and a port", text);
		return error_hint(e, "for example: %s", example);
	}
	if (!listens && !*u->hosts[0].name)
		return error_set(e, ERROR_USAGE, "%s: whom to connect to is missing", text);
	if (!listens && !u->hosts[0].port)
		return error_set(e, ERROR_USAGE, "%s: port 0 is none to connect to", text);
	return 0;
}

static int check_tls(const struct net_options *o, enum net_kind kind, bool listens, struct error *e)
{
	if (kind != NET_TLS && (o->cert || o->key || o->ca))
		return error_set(e, ERROR_USAGE, "--%s is for tls:// and tls-listen://",
			o->cert ? "cert" : o->key ? "key" : "ca");
	if (kind == NET_TLS && listens && !(o->cert && o->key))
		return error_set(e, ERROR_USAGE, "tls-listen:// needs --cert and --key, who it is");
	if (!o->cert != !o->key)
		return error_set(e, ERROR_USAGE, "--cert and --key belong together");
	return 0;
}

/* Parses, too; *u needs url_clear also on error. */
static int check(const char *text, const struct net_options *o, struct url *u, struct error *e)
{
	bool listens = false;
	enum net_kind kind = kind_of(text, &listens);

	if (url_parse(text, u, e) < 0)
		return -1;
	if ((kind == NET_UNIX ? check_unix(u, text, e) : check_host(u, text, listens, e)) < 0)
		return -1;
	return check_tls(o, kind, listens, e);
}

int net_check(const char *url, const struct net_options *o, struct error *e)
{
	struct url u;
	int status = check(url, o, &u, e);

	url_clear(&u);
	return status;
}

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	memcpy(a.sun_path, path, strlen(path));
	return a;
}

/* ---- descriptors ---- */

static void set_option(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof value);
}

static void set_up_tcp(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
	/* What was sent and nobody acknowledges: as long as keepalive takes. */
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
		(KEEP_IDLE_S + KEEP_COUNT * KEEP_INTERVAL_S) * 1000);
}

static void set_blocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

static int alive(const struct net_options *o, struct error *e)
{
	return o->alive ? o->alive(o->context, e) : 0;
}

/* ---- connecting ---- */

/* Waits for a connect under way.  0; 1: it failed, errno tells why; -1. */
static int wait_connected(int fd, const struct net_options *o, struct error *e)
{
	int64_t until = clock_mono_us() + CONNECT_US;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int cause = 0;

	while (poll(&p, 1, LOOK_MS) <= 0) {
		if (alive(o, e) < 0)
			return -1;
		if (clock_mono_us() > until) {
			errno = ETIMEDOUT;
			return 1;
		}
	}
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &len);
	errno = cause;
	return cause != 0;
}

/* One try with one address.  0; 1: errno; -1. */
static int try_address(const struct sockaddr *address, socklen_t len, const struct net_options *o,
	int *out, struct error *e)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), status;

	if (fd < 0)
		return 1;
	status = connect(fd, address, len) == 0 ? 0 : errno == EINPROGRESS ? wait_connected(fd, o, e) : 1;
	if (status) {
		int cause = errno;

		close(fd);
		errno = cause;
		return status;
	}
	set_blocking(fd);
	if (address->sa_family != AF_UNIX)
		set_up_tcp(fd);
	*out = fd;
	return 0;
}

static int lookup(const struct url_host *host, bool listens, struct addrinfo **out)
{
	const char *name = *host->name ? host->name : "127.0.0.1";
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV |
		(listens ? AI_PASSIVE : AI_ADDRCONFIG)};
	char port[PORT_TEXT_BYTES];

	snprintf(port, sizeof port, "%d", host->port);
	return getaddrinfo(name, port, &hints, out);
}

/* One try with all addresses.  why: of the last failure. */
static int try_host(const struct url *u, const struct net_options *o, int *fd, const char **why,
	struct error *e)
{
	struct addrinfo *list = NULL;
	int status = lookup(&u->hosts[0], false, &list);

	if (status) {
		*why = status == EAI_SYSTEM ? strerror(errno) : gai_strerror(status);
		return 1;
	}
	status = 1;
	for (const struct addrinfo *a = list; a && status == 1; a = a->ai_next) {
		status = try_address(a->ai_addr, a->ai_addrlen, o, fd, e);
		*why = strerror(errno);
	}
	freeaddrinfo(list);
	return status;
}

static int try_once(const struct url *u, const struct net_options *o, int *fd, const char **why,
	struct error *e)
{
	struct sockaddr_un address;
	int status;

	if (u->hosts_len)
		return try_host(u, o, fd, why, e);
	address = unix_address(u->path);
	status = try_address((const struct sockaddr *)&address, sizeof address, o, fd, e);
	*why = strerror(errno);
	return status;
}

static int pause_for(int64_t us, const struct net_options *o, struct error *e)
{
	for (int64_t until = clock_mono_us() + us, left; (left = until - clock_mono_us()) > 0;) {
		poll(NULL, 0, left < LOOK_MS * 1000 ? (int)(left / 1000) + 1 : LOOK_MS);
		if (alive(o, e) < 0)
			return -1;
	}
	return 0;
}

/* Half as much again or half as little, so that many who wait don't come at once. */
static int64_t jitter(int64_t us)
{
	return us / 2 + (int64_t)((uint64_t)clock_mono_us() * 2654435761u % (uint64_t)us);
}

static void warn(const struct net_options *o, const char *text, const char *why)
{
	struct buf b = BUF_INIT;

	if (o->warn) {
		buf_printf(&b, "%s: can't connect: %s; trying again", text, why);
		o->warn(o->context, buf_cstr(&b));
	}
	buf_clear(&b);
}

int net_connect(const char *url, const struct net_options *o, int *fd, struct error *e)
{
	int64_t pause = FIRST_PAUSE_US, until = clock_mono_us() + o->patience_us;
	const char *why = "";
	bool listens, has_warned = false;
	struct url u;
	int status = check(url, o, &u, e);

	while (status == 0 && (status = try_once(&u, o, fd, &why, e)) == 1) {
		if (clock_mono_us() + pause > until) {
			status = error_set(e, ERROR_IO, "%s: can't connect: %s", url, why);
			break;
		}
		if (!has_warned)
			warn(o, url, why);
		has_warned = true;
		status = pause_for(jitter(pause), o, e);
		pause = pause * 2 > LONGEST_PAUSE_US ? LONGEST_PAUSE_US : pause * 2;
	}
	if (status == 0 && kind_of(url, &listens) == NET_TLS)
		status = net_tls_wrap(url, u.hosts[0].name, o, fd, e);
	url_clear(&u);
	return status;
}

/* ---- listening ---- */

struct net_listener {
	struct net_options o;
	enum net_kind kind;
	int fd;
	char *url, *address;
	char *path;        /* of a unix socket, removed at the end */
	struct stat made;  /* ... if it is still this one */
	uint64_t accepted;
	int spare;         /* given up for a moment to turn a peer away when there are no more */
};

static int refuse(const struct net_listener *l, struct error *e)
{
	return error_errno(e, "%s: can't listen", l->url);
}

static int bind_tcp(struct net_listener *l, const struct url *u, struct error *e)
{
	struct addrinfo *list = NULL;
	int status = lookup(&u->hosts[0], true, &list);

	if (status)
		return error_set(e, ERROR_IO, "%s: can't listen: %s", l->url,
			status == EAI_SYSTEM ? strerror(errno) : gai_strerror(status));
	l->fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	status = l->fd < 0 ? -1 : 0;
	if (status == 0) {
		set_option(l->fd, SOL_SOCKET, SO_REUSEADDR, 1);
		status = bind(l->fd, list->ai_addr, list->ai_addrlen);
	}
	if (status < 0)
		refuse(l, e);
	freeaddrinfo(list);
	return status;
}

/* Whether nobody listens behind the file any more.  Asked with a socket of another kind, which who
 * listens would not take for a client: EPROTOTYPE says that somebody is there. */
static bool is_dead(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 &&
		errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return dead;
}

static int bind_unix(struct net_listener *l, const struct url *u, struct error *e)
{
	struct sockaddr_un address = unix_address(u->path);
	struct stat st;

	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return refuse(l, e);
	if (lstat(u->path, &st) == 0 && S_ISSOCK(st.st_mode) && is_dead(&address))
		unlink(u->path);
	if (bind(l->fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return refuse(l, e);
	l->path = mem_strdup(u->path);
	return lstat(u->path, &l->made) < 0 ? refuse(l, e) : 0;
}

static void put_address(int fd, bool peer, struct buf *out)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof a;
	char host[INET6_ADDRSTRLEN] = "", port[PORT_TEXT_BYTES] = "";

	if ((peer ? getpeername(fd, (struct sockaddr *)&a, &len)
		  : getsockname(fd, (struct sockaddr *)&a, &len)) < 0 ||
		getnameinfo((const struct sockaddr *)&a, len, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		buf_put_text(out, "somebody");
	else
		buf_printf(out, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static void name_listener(struct net_listener *l)
{
	struct buf b = BUF_INIT;

	if (l->kind == NET_UNIX) {
		l->address = mem_strdup(l->url);
		return;
	}
	buf_put_text(&b, l->kind == NET_TLS ? "tls-listen://" : "tcp-listen://");
	put_address(l->fd, false, &b);
	l->address = mem_strdup(buf_cstr(&b));
	buf_clear(&b);
}

/* Some systems allow 1024, which clients that only connect would soon use up. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int net_listen(const char *url, const struct net_options *o, struct net_listener **out,
	struct error *e)
{
	struct net_listener *l = mem_zero(sizeof *l);
	bool listens;
	struct url u;
	int status = check(url, o, &u, e);

	l->o = *o;
	l->fd = -1;
	allow_descriptors();
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	l->url = mem_strdup(url);
	l->kind = kind_of(url, &listens);
	if (status == 0)
		status = l->kind == NET_UNIX ? bind_unix(l, &u, e) : bind_tcp(l, &u, e);
	if (status == 0 && listen(l->fd, BACKLOG) < 0)
		status = refuse(l, e);
	if (status == 0 && l->kind == NET_TLS)
		status = net_tls_check(url, o, e);
	url_clear(&u);
	if (status < 0) {
		net_listener_close(l);
		return -1;
	}
	name_listener(l);
	*out = l;
	return 0;
}

void net_listener_close(struct net_listener *l)
{
	struct stat st;

	if (!l)
		return;
	if (l->path && lstat(l->path, &st) == 0 && st.st_ino == l->made.st_ino &&
		st.st_dev == l->made.st_dev)
		unlink(l->path);
	if (l->fd >= 0)
		close(l->fd);
	if (l->spare >= 0)
		close(l->spare);
	mem_free(l->url);
	mem_free(l->address);
	mem_free(l->path);
	mem_free(l);
}

int net_listener_fd(const struct net_listener *l)
{
	return l->fd;
}

const char *net_address(const struct net_listener *l)
{
	return l->address;
}

/* Left in the queue, the peer would make the listener readable for ever.  -1; 1: there is none. */
static int turn_away(struct net_listener *l, struct buf *peer, struct error *e)
{
	int cause = errno, fd;

	close(l->spare);
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		buf_put_text(peer, l->url);
		close(fd);
	}
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 1; /* it is said also when nobody waits */
	errno = cause;
	return error_errno(e, "a client is turned away");
}

/* Half of them are for those who are in already: a client takes more once its bytes come. */
static rlim_t descriptors_max(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? DESCRIPTORS : limit.rlim_cur;
}

int net_accept(struct net_listener *l, int *out, struct buf *peer, struct error *e)
{
	int fd;

	for (;;) {
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			break;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return 1;
		if ((errno == EMFILE || errno == ENFILE) && l->spare >= 0) {
			*out = -1;
			return turn_away(l, peer, e);
		}
		/* The peer has gone again, or a signal came. */
		if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO && errno != EPERM)
			return error_errno(e, "%s: can't accept", l->url);
	}
	if ((rlim_t)fd >= descriptors_max() / 2) {
		close(fd);
		*out = -1;
		buf_put_text(peer, l->url);
		return error_set(e, ERROR_IO, "a client is turned away: too many open files");
	}
	l->accepted++;
	if (l->kind == NET_UNIX) {
		buf_printf(peer, "%s #%llu", l->url, (unsigned long long)l->accepted);
	} else {
		set_up_tcp(fd);
		put_address(fd, true, peer);
	}
	*out = fd;
	return l->kind == NET_TLS ? net_tls_wrap(l->url, NULL, &l->o, out, e) : 0;
}

/* ---- the end ---- */

/* Whether the peer closes, and doesn't reset. */
static int wait_closed(int fd, const struct net_options *o, struct error *e)
{
	int64_t until = clock_mono_us() + GOODBYE_US;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char bytes[4096];

	while (clock_mono_us() < until) {
		ssize_t n;

		if (poll(&p, 1, LOOK_MS) == 0) {
			if (alive(o, e) < 0)
				return -1;
			continue;
		}
		n = read(fd, bytes, sizeof bytes);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return error_errno(e, "the peer has not taken all");
	}
	return 0;
}

int net_finish(int fd, bool wrote, const struct net_options *o, struct error *e)
{
	int status = 0;

	if (wrote && shutdown(fd, SHUT_WR) < 0 && errno != ENOTCONN)
		status = error_errno(e, "the peer has not taken all");
	if (status == 0 && wrote)
		status = wait_closed(fd, o, e);
	if (!wrote)
		shutdown(fd, SHUT_RDWR);
	if (net_tls_finish(fd, o, e) < 0)
		status = -1;
	close(fd);
	return status;
}

int net_drop(int fd, struct error *e)
{
	int status = net_tls_drop(fd, e);

	close(fd);
	return status;
}
