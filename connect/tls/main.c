/* The TLS relay: bytes of a network socket in TLS on one side, plain on the other (connect/net_tls.h).
 *
 *   tls client HOST [--cert FILE --key FILE] [--ca FILE]
 *   tls server      --cert FILE --key FILE  [--ca FILE]
 *
 * One connection a process.  It says on its status pipe how the handshake went, and how it ended:
 * "end" only if the peer has said that it is done (close_notify), so that a stream that somebody cut
 * off isn't taken for a whole one. */
#include "connect/net_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	CHUNK_BYTES = 256 << 10,
	HANDSHAKE_MS = 10000,
	GOODBYE_MS = 5000, /* for the peer's close_notify, once ours is out */
};

struct flow { /* bytes on their way */
	unsigned char *bytes;
	size_t from, to;
	bool is_over; /* no more come */
};

struct relay {
	SSL *ssl;
	struct flow in, out;   /* network to plain, plain to network */
	bool sent_goodbye;     /* close_notify is out */
	bool plain_is_closed;  /* nobody reads what we hand over */
	int wants;             /* POLLIN | POLLOUT that TLS waits for */
};

static void say(const char *text)
{
	char line[480];
	int n = snprintf(line, sizeof line, "%.400s\n", text);

	for (int i = 0; i < n - 1; i++) {
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	}
	if (write(TLS_STATUS_FD, line, (size_t)n) < 0)
		_exit(1);
}

/* What OpenSSL knows of the last error, in words a user can act on. */
static void say_cause(const struct relay *r, const char *what)
{
	long verify = r && r->ssl ? SSL_get_verify_result(r->ssl) : X509_V_OK;
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	char text[400];

	if (verify != X509_V_OK)
		snprintf(text, sizeof text, "%s: the peer's certificate: %s", what,
			X509_verify_cert_error_string(verify));
	else if (code && ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
		snprintf(text, sizeof text, "%s: the peer doesn't speak TLS", what);
	else if (code && ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST)
		snprintf(text, sizeof text, "%s: the peer speaks HTTP, not TLS", what);
	else if (code && (ERR_GET_REASON(code) == SSL_R_UNSUPPORTED_PROTOCOL ||
				 ERR_GET_REASON(code) == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION))
		snprintf(text, sizeof text, "%s: the peer speaks no TLS from 1.2 on", what);
	else if (reason)
		snprintf(text, sizeof text, "%s: %s", what, reason);
	else
		snprintf(text, sizeof text, "%s: %s", what, errno ? strerror(errno) : "the peer hung up");
	say(text);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ---- setting up ---- */

struct options {
	bool is_server;
	const char *host, *cert, *key, *ca;
};

static bool read_options(int argc, char **argv, struct options *o)
{
	int i = 2;

	if (argc < 2)
		return false;
	o->is_server = strcmp(argv[1], "server") == 0;
	if (!o->is_server && i < argc)
		o->host = argv[i++];
	for (; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--cert") == 0)
			o->cert = argv[i + 1];
		else if (strcmp(argv[i], "--key") == 0)
			o->key = argv[i + 1];
		else if (strcmp(argv[i], "--ca") == 0)
			o->ca = argv[i + 1];
	}
	return o->is_server ? o->cert && o->key : o->host != NULL;
}

static bool load_files(SSL_CTX *ctx, const struct options *o)
{
	char text[400];

	if (o->cert && SSL_CTX_use_certificate_chain_file(ctx, o->cert) != 1) {
		snprintf(text, sizeof text, "--cert %.200s", o->cert);
		say_cause(NULL, text);
		return false;
	}
	if (o->key && (SSL_CTX_use_PrivateKey_file(ctx, o->key, SSL_FILETYPE_PEM) != 1 ||
			SSL_CTX_check_private_key(ctx) != 1)) {
		snprintf(text, sizeof text, "--key %.200s", o->key);
		say_cause(NULL, text);
		return false;
	}
	if (o->ca ? SSL_CTX_load_verify_locations(ctx, o->ca, NULL) == 1
		  : SSL_CTX_set_default_verify_paths(ctx) == 1)
		return true;
	snprintf(text, sizeof text, "--ca %.200s", o->ca ? o->ca : "(the system's)");
	say_cause(NULL, text);
	return false;
}

static SSL *set_up(const struct options *o)
{
	SSL_CTX *ctx = SSL_CTX_new(o->is_server ? TLS_server_method() : TLS_client_method());
	unsigned char address[16];
	SSL *ssl;

	if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 || !load_files(ctx, o))
		return NULL;
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (o->is_server && o->ca) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(o->ca));
	} else if (!o->is_server) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	}
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (!ssl || SSL_set_fd(ssl, TLS_NETWORK_FD) != 1)
		return NULL;
	if (o->is_server)
		return ssl;
	if (inet_pton(AF_INET, o->host, address) == 1 || inet_pton(AF_INET6, o->host, address) == 1) {
		X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), o->host);
	} else {
		SSL_set1_host(ssl, o->host);
		SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
			(void *)(uintptr_t)o->host);
	}
	return ssl;
}

/* What TLS waits for after a call that didn't get on; false: it failed. */
static bool may_wait(struct relay *r, int result)
{
	switch (SSL_get_error(r->ssl, result)) {
	case SSL_ERROR_WANT_READ: r->wants |= POLLIN; return true;
	case SSL_ERROR_WANT_WRITE: r->wants |= POLLOUT; return true;
	default: return false;
	}
}

static bool shake_hands(struct relay *r, bool is_server)
{
	int64_t until = now_ms() + HANDSHAKE_MS;

	for (;;) {
		struct pollfd p = {.fd = TLS_NETWORK_FD};
		int result;

		ERR_clear_error();
		errno = 0;
		r->wants = 0;
		result = is_server ? SSL_accept(r->ssl) : SSL_connect(r->ssl);
		if (result == 1)
			return true;
		if (!may_wait(r, result)) {
			say_cause(r, "TLS handshake");
			return false;
		}
		p.events = (short)r->wants;
		if (until - now_ms() <= 0 || poll(&p, 1, (int)(until - now_ms())) == 0) {
			say("TLS handshake: the peer doesn't answer");
			return false;
		}
	}
}

/* ---- bytes ---- */

static bool has_room(const struct flow *f)
{
	return !f->is_over && f->from == f->to;
}

/* From the network.  false: the stream broke off. */
static bool read_network(struct relay *r)
{
	int n;

	if (!has_room(&r->in))
		return true;
	ERR_clear_error();
	errno = 0;
	n = SSL_read(r->ssl, r->in.bytes, CHUNK_BYTES);
	if (n > 0) {
		r->in.from = 0;
		r->in.to = (size_t)n;
		return true;
	}
	if (may_wait(r, n))
		return true;
	/* Nothing more is expected of a peer that has got all: many just hang up. */
	if (SSL_get_error(r->ssl, n) == SSL_ERROR_ZERO_RETURN || r->sent_goodbye) {
		r->in.is_over = true;
		return true;
	}
	if (ERR_peek_error() && ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		say("the connection was cut off: TLS didn't end it");
	else
		say_cause(r, "TLS");
	return false;
}

static bool write_network(struct relay *r)
{
	int n;

	if (r->out.from < r->out.to) {
		ERR_clear_error();
		errno = 0;
		n = SSL_write(r->ssl, r->out.bytes + r->out.from, (int)(r->out.to - r->out.from));
		if (n > 0) {
			r->out.from += (size_t)n;
			/* It takes a record at a time: the rest goes when the network takes it. */
			if (r->out.from < r->out.to)
				r->wants |= POLLOUT;
		} else if (!may_wait(r, n)) {
			say_cause(r, "TLS");
			return false;
		}
	}
	if (r->out.is_over && r->out.from == r->out.to && !r->sent_goodbye) {
		n = SSL_shutdown(r->ssl);
		r->sent_goodbye = n >= 0 || !may_wait(r, n);
	}
	return true;
}

static void read_plain(struct relay *r)
{
	ssize_t n;

	if (!has_room(&r->out))
		return;
	n = read(TLS_PLAIN_FD, r->out.bytes, CHUNK_BYTES);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		r->out.is_over = true;
	if (n > 0) {
		r->out.from = 0;
		r->out.to = (size_t)n;
	}
}

static void write_plain(struct relay *r)
{
	while (r->in.from < r->in.to) {
		ssize_t n = r->plain_is_closed ? (ssize_t)(r->in.to - r->in.from)
			: write(TLS_PLAIN_FD, r->in.bytes + r->in.from, r->in.to - r->in.from);

		if (n > 0) {
			r->in.from += (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			return;
		} else if (n < 0 && errno != EINTR) {
			r->plain_is_closed = true;
		}
	}
	if (r->in.is_over)
		shutdown(TLS_PLAIN_FD, SHUT_WR);
}

/* Until something may go on.  false: the peer has had its time to say goodbye. */
static bool wait_for_some(struct relay *r)
{
	/* A descriptor that isn't asked for anything still tells that it is reset, again and again. */
	struct pollfd p[2] = {{.fd = r->wants ? TLS_NETWORK_FD : -1, .events = (short)r->wants},
		{.fd = TLS_PLAIN_FD, .events = (short)((has_room(&r->out) ? POLLIN : 0) |
			(r->in.from < r->in.to ? POLLOUT : 0))}};

	if (!p[1].events)
		p[1].fd = -1;
	return poll(p, 2, r->sent_goodbye ? GOODBYE_MS : -1) != 0;
}

/* 0: both sides are through; 1: it broke off. */
static int pass_on(struct relay *r)
{
	for (;;) {
		r->wants = 0;
		if (!read_network(r))
			return 1;
		write_plain(r);
		read_plain(r);
		if (!write_network(r))
			return 1;
		if (r->in.is_over && r->in.from == r->in.to && (r->sent_goodbye || r->plain_is_closed))
			return 0;
		if (SSL_pending(r->ssl) > 0 && has_room(&r->in))
			continue;
		if (has_room(&r->in))
			r->wants |= POLLIN;
		if (!wait_for_some(r))
			return 0;
	}
}

int main(int argc, char **argv)
{
	static unsigned char in[CHUNK_BYTES], out[CHUNK_BYTES];
	struct relay r = {.in = {.bytes = in}, .out = {.bytes = out}};
	struct options o = {.host = NULL};
	int status;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	if (!read_options(argc, argv, &o)) {
		fprintf(stderr, "tls: started by ssource and ssink for tls:// and tls-listen://\n");
		return 2;
	}
	set_nonblocking(TLS_NETWORK_FD);
	set_nonblocking(TLS_PLAIN_FD);
	r.ssl = set_up(&o);
	if (!r.ssl) {
		say_cause(NULL, "TLS");
		return 1;
	}
	if (!shake_hands(&r, o.is_server))
		return 1;
	say("ok");
	status = pass_on(&r);
	if (status == 0)
		say("end");
	SSL_free(r.ssl);
	return status;
}
