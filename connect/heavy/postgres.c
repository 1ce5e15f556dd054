#include "connect/heavy/postgres.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"
#include "libcore/base/suggest.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
	CONNECT_US = 30000000,
	STATE_BYTES = 6, /* five characters and a NUL */
	WORDS_MAX = URL_PROPERTIES_MAX + 16,
};

static const char session_options[] =
	"-c DateStyle=ISO -c IntervalStyle=iso_8601 -c TimeZone=UTC -c bytea_output=hex "
	"-c extra_float_digits=1";

struct postgres {
	PGconn *conn;
	char *server;
	char *piece; /* of COPY, until the next */
	struct postgres_wait wait;
	char state[STATE_BYTES];
	bool lost;
};

/* ---- errors ---- */

static bool starts(const char *state, const char *with)
{
	return strncmp(state, with, strlen(with)) == 0;
}

/* Whether starting again may help, by the class of an SQLSTATE. */
static enum error_code code_of(const char *state)
{
	static const char *const passing[] = {
		"08", "40", "53", "55006", "55P03", "57", "58", "XX", NULL};
	static const char *const usage[] = {
		"0A", "25", "26", "28", "34", "3D", "3F", "42", "55", "F0", NULL};

	if (!*state)
		return ERROR_IO;
	for (size_t i = 0; passing[i]; i++) {
		if (starts(state, passing[i]))
			return ERROR_IO;
	}
	for (size_t i = 0; usage[i]; i++) {
		if (starts(state, usage[i]))
			return ERROR_USAGE;
	}
	return ERROR_DATA;
}

/* One line of what libpq and the server say in several. */
static void put_line(struct buf *out, const char *text)
{
	size_t n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' ' || text[n - 1] == '.'))
		n--;
	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\n' || text[i] == '\t') {
			if (out->len && out->data[out->len - 1] != ' ')
				buf_put_byte(out, ' ');
		} else {
			buf_put_byte(out, (uint8_t)text[i]);
		}
	}
}

static bool is_state(const char *s)
{
	for (int i = 0; i < STATE_BYTES - 1; i++) {
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'A' && s[i] <= 'Z')))
			return false;
	}
	return s[STATE_BYTES - 1] == ':' && s[STATE_BYTES] == ' ';
}

/* libpq keeps the SQLSTATE of a connection that failed to itself, but says it when it is verbose:
 * "FATAL:  28P01: password ...\nLOCATION:  ...".  The code is taken out of the text. */
static void take_state(struct postgres *p, char *text)
{
	char *location = strstr(text, "\nLOCATION:");

	p->state[0] = '\0';
	if (location)
		*location = '\0';
	for (char *s = strstr(text, ":  "); s; s = strstr(s + 1, ":  ")) {
		char *code = s + strlen(":  ");

		if (strlen(code) <= STATE_BYTES || !is_state(code))
			continue;
		memcpy(p->state, code, STATE_BYTES - 1);
		p->state[STATE_BYTES - 1] = '\0';
		memmove(code, code + STATE_BYTES + 1, strlen(code + STATE_BYTES + 1) + 1);
		return;
	}
}

static int connection_error(struct postgres *p, struct error *e)
{
	char *text = mem_strdup(p->conn ? PQerrorMessage(p->conn) : "out of memory");
	struct buf line = BUF_INIT;

	take_state(p, text);
	put_line(&line, text);
	if (!line.len)
		buf_put_text(&line, "the connection is lost");
	error_set(e, code_of(p->state), "%s: %s%s%s%s", p->server, buf_cstr(&line),
		*p->state ? " (" : "", p->state, *p->state ? ")" : "");
	buf_clear(&line);
	mem_free(text);
	if (!p->conn || !PQconnectionNeedsPassword(p->conn))
		return -1;
	e->code = ERROR_USAGE; /* asking again would not help */
	return error_hint(e, "PGPASSWORD or a file named by PGPASSFILE can have it");
}

int postgres_error(struct postgres *p, const PGresult *failed, struct error *e)
{
	const char *state = failed ? PQresultErrorField(failed, PG_DIAG_SQLSTATE) : NULL;
	const char *message, *detail, *hint, *context;
	struct buf line = BUF_INIT;

	if (PQstatus(p->conn) == CONNECTION_BAD)
		p->lost = true;
	if (!state) {
		p->lost |= !failed;
		return connection_error(p, e);
	}
	message = PQresultErrorField(failed, PG_DIAG_MESSAGE_PRIMARY);
	detail = PQresultErrorField(failed, PG_DIAG_MESSAGE_DETAIL);
	hint = PQresultErrorField(failed, PG_DIAG_MESSAGE_HINT);
	context = PQresultErrorField(failed, PG_DIAG_CONTEXT);
	snprintf(p->state, sizeof p->state, "%s", state);
	put_line(&line, message ? message : "failed");
	if (detail) {
		buf_put_text(&line, ": ");
		put_line(&line, detail);
	}
	/* Which row, and which column of it: "COPY t, line 5, column price". */
	if (context && starts(context, "COPY ")) {
		buf_put_text(&line, ": ");
		put_line(&line, context);
	}
	error_set(e, code_of(p->state), "%s: %s (%s)", p->server, buf_cstr(&line), p->state);
	buf_clear(&line);
	if (hint)
		error_hint(e, "%s", hint);
	return -1;
}

const char *postgres_state(const struct postgres *p)
{
	return p->state;
}

static void ignore_notice(void *context, const PGresult *notice)
{
}

/* ---- waiting ---- */

/* Until one of the events, or deadline_us (0: none): 0, 1 too late, -1. */
static int wait_for(struct postgres *p, int fd, short events, int64_t deadline_us, struct error *e)
{
	for (;;) {
		struct pollfd f = {.fd = fd, .events = events};
		int n = poll(&f, 1, POSTGRES_SLICE_MS);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return error_errno(e, "%s: can't wait", p->server);
		if (p->wait.alive && p->wait.alive(p->wait.context, e) < 0)
			return -1;
		if (deadline_us && clock_mono_us() >= deadline_us)
			return 1;
	}
}

int postgres_pause(struct postgres *p, int ms, struct error *e)
{
	for (; ms > 0; ms -= POSTGRES_SLICE_MS) {
		poll(NULL, 0, ms < POSTGRES_SLICE_MS ? ms : POSTGRES_SLICE_MS);
		if (p->wait.alive && p->wait.alive(p->wait.context, e) < 0)
			return -1;
	}
	return 0;
}

/* What was to be sent is sent; reads meanwhile, since a server that writes doesn't read. */
static int flush(struct postgres *p, struct error *e)
{
	int left;

	while ((left = PQflush(p->conn)) == 1) {
		if (wait_for(p, PQsocket(p->conn), POLLIN | POLLOUT, 0, e) < 0)
			return -1;
		if (!PQconsumeInput(p->conn))
			return postgres_error(p, NULL, e);
	}
	return left < 0 ? postgres_error(p, NULL, e) : 0;
}

/* The next result, NULL after the last. */
static int next_result(struct postgres *p, PGresult **out, struct error *e)
{
	if (flush(p, e) < 0)
		return -1;
	while (PQisBusy(p->conn)) {
		if (wait_for(p, PQsocket(p->conn), POLLIN, 0, e) < 0)
			return -1;
		if (!PQconsumeInput(p->conn))
			return postgres_error(p, NULL, e);
	}
	*out = PQgetResult(p->conn);
	return 0;
}

/* ---- connecting ---- */

struct words {
	const char *names[WORDS_MAX + 1], *values[WORDS_MAX + 1];
	size_t len;
};

static void add_word(struct words *w, const char *name, const char *value)
{
	MUST(w->len < WORDS_MAX);
	w->names[w->len] = name;
	w->values[w->len++] = value;
}

static const char *find_word(const struct words *w, const char *name)
{
	for (size_t i = w->len; i-- > 0;) {
		if (strcmp(w->names[i], name) == 0)
			return w->values[i];
	}
	return NULL;
}

static void put_hosts(const struct url *u, struct buf *names, struct buf *ports)
{
	for (size_t i = 0; i < u->hosts_len; i++) {
		buf_printf(names, "%s%s", i ? "," : "", u->hosts[i].name);
		if (i)
			buf_put_text(ports, ",");
		if (u->hosts[i].port >= 0)
			buf_printf(ports, "%d", u->hosts[i].port);
	}
}

/* host:port/database; without a host the socket's directory. */
static char *name_server(const struct url *u, const struct words *w)
{
	const char *host = find_word(w, "host"), *port = find_word(w, "port");
	const char *database = find_word(w, "dbname");

	return mem_printf("%s%s%s%s%s", host && *host ? host : "postgresql",
		port && *port ? ":" : "", port ? port : "", database ? "/" : "",
		database ? database : "");
}

static bool is_libpq_word(const PQconninfoOption *known, const char *name)
{
	for (; known->keyword; known++) {
		if (strcmp(known->keyword, name) == 0)
			return true;
	}
	return false;
}

/* What is left of the URL's properties is libpq's. */
static int add_properties(const struct url *u, struct words *w, struct error *e)
{
	PQconninfoOption *known = PQconndefaults();
	const char *names[64];
	size_t n = 0;
	int status = 0;

	MUST(known);
	for (size_t i = 0; known[i].keyword && n < 64; i++)
		names[n++] = known[i].keyword;
	for (size_t i = 0; !status && i < u->properties_len; i++) {
		const struct url_property *x = &u->properties[i];

		if (x->taken)
			continue;
		if (is_libpq_word(known, x->name)) {
			add_word(w, x->name, x->value);
		} else {
			int like = suggest(x->name, strlen(x->name), names, n);

			status = error_set(
				e, ERROR_USAGE, "postgresql: there is no property '%s'", x->name);
			if (like >= 0)
				error_hint(e, "did you mean '%s'?", names[like]);
		}
	}
	PQconninfoFree(known);
	return status;
}

static int connect_now(
	struct postgres *p, const struct words *w, int64_t timeout_us, struct error *e)
{
	int64_t deadline_us = clock_mono_us() + timeout_us;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	p->conn = PQconnectStartParams(w->names, w->values, 0);
	if (!p->conn || PQstatus(p->conn) == CONNECTION_BAD)
		return connection_error(p, e);
	PQsetErrorVerbosity(p->conn, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(p->conn, ignore_notice, NULL);
	while (status != PGRES_POLLING_OK) {
		int waited = wait_for(p, PQsocket(p->conn),
			status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_us, e);

		if (waited < 0)
			return -1;
		if (waited)
			return error_set(e, ERROR_IO, "%s: doesn't answer within %g s", p->server,
				(double)timeout_us / 1e6);
		status = PQconnectPoll(p->conn);
		if (status == PGRES_POLLING_FAILED)
			return connection_error(p, e);
	}
	PQsetErrorVerbosity(p->conn, PQERRORS_DEFAULT);
	if (PQsetnonblocking(p->conn, 1) < 0)
		return connection_error(p, e);
	return 0;
}

static int64_t timeout_of(const struct postgres_setup *s, const struct words *w)
{
	const char *text = find_word(w, "connect_timeout");
	int64_t seconds;

	if (text && int_parse(text, strlen(text), &seconds) == NUMBER_OK && seconds > 0 &&
		seconds < 1000000)
		return seconds * 1000000;
	return s->timeout_us ? s->timeout_us : CONNECT_US;
}

int postgres_open(const struct postgres_setup *s, struct postgres **out, struct error *e)
{
	struct buf hosts = BUF_INIT, ports = BUF_INIT, options = BUF_INIT;
	struct postgres *p = mem_zero(sizeof *p);
	struct words w = {.len = 0};
	const struct url *u = s->url;
	int status = -1;

	p->wait = s->wait;
	if (s->await)
		p->wait.alive = s->await;
	p->server = mem_strdup("postgresql");
	put_hosts(u, &hosts, &ports);
	if (hosts.len)
		add_word(&w, "host", buf_cstr(&hosts));
	if (ports.len)
		add_word(&w, "port", buf_cstr(&ports));
	if (u->user && *u->user)
		add_word(&w, "user", u->user);
	if (u->password)
		add_word(&w, "password", u->password);
	if (u->path && *u->path)
		add_word(&w, "dbname", u->path);
	add_word(&w, "fallback_application_name", s->program);
	/* A server whose machine is gone is noticed within a minute; the URL may say otherwise. */
	add_word(&w, "keepalives_idle", "20");
	add_word(&w, "keepalives_interval", "10");
	add_word(&w, "keepalives_count", "4");
	add_word(&w, "tcp_user_timeout", "60000");
	if (add_properties(u, &w, e) < 0)
		goto out;
	buf_put_text(&options, session_options);
	if (find_word(&w, "options"))
		buf_printf(&options, " %s", find_word(&w, "options"));
	/* The last of equal words counts. */
	add_word(&w, "options", buf_cstr(&options));
	add_word(&w, "client_encoding", "UTF8");
	if (s->replicates)
		add_word(&w, "replication", "database");
	mem_free(p->server);
	p->server = name_server(u, &w);
	status = connect_now(p, &w, timeout_of(s, &w), e);
	p->wait = s->wait;
out:
	buf_clear(&hosts);
	buf_clear(&ports);
	buf_clear(&options);
	if (status < 0)
		postgres_close(p);
	else
		*out = p;
	return status;
}

void postgres_close(struct postgres *p)
{
	if (!p)
		return;
	PQfreemem(p->piece);
	PQfinish(p->conn);
	mem_free(p->server);
	mem_free(p);
}

PGconn *postgres_connection(struct postgres *p)
{
	return p->conn;
}

const char *postgres_server(const struct postgres *p)
{
	return p->server;
}

int postgres_version(const struct postgres *p)
{
	return PQserverVersion(p->conn);
}

bool postgres_is_lost(const struct postgres *p)
{
	return p->lost || PQstatus(p->conn) == CONNECTION_BAD;
}

int postgres_fd(const struct postgres *p)
{
	return PQsocket(p->conn);
}

/* ---- statements ---- */

static bool opens_copy(const PGresult *r)
{
	ExecStatusType s = PQresultStatus(r);

	return s == PGRES_COPY_IN || s == PGRES_COPY_OUT || s == PGRES_COPY_BOTH;
}

static bool is_good(const PGresult *r)
{
	ExecStatusType s = PQresultStatus(r);

	return s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK || s == PGRES_EMPTY_QUERY ||
	       opens_copy(r);
}

/* All results up to the end or to a COPY; the last one, or the first that failed. */
int postgres_finish(struct postgres *p, PGresult **out, struct error *e)
{
	PGresult *last = NULL, *r = NULL;
	int status = 0;

	for (;;) {
		if (next_result(p, &r, e) < 0) {
			PQclear(last);
			return -1;
		}
		if (!r)
			break;
		if (status < 0) {
			PQclear(r);
			continue;
		}
		PQclear(last);
		last = r;
		if (!is_good(r))
			status = postgres_error(p, r, e);
		else if (opens_copy(r))
			break;
	}
	if (status < 0 || !out) {
		PQclear(last);
		return status;
	}
	*out = last;
	return last ? 0 : postgres_error(p, NULL, e);
}

int postgres_run(struct postgres *p, const char *sql, PGresult **out, struct error *e)
{
	if (!PQsendQuery(p->conn, sql))
		return postgres_error(p, NULL, e);
	return postgres_finish(p, out, e);
}

int postgres_run_with(struct postgres *p, const char *sql, const char *const *values, size_t n,
	bool binary, PGresult **out, struct error *e)
{
	if (!PQsendQueryParams(p->conn, sql, (int)n, NULL, values, NULL, NULL, binary))
		return postgres_error(p, NULL, e);
	return postgres_finish(p, out, e);
}

int postgres_ask(struct postgres *p, const char *sql, const char *const *values, size_t n,
	char **out, struct error *e)
{
	PGresult *r;

	*out = NULL;
	if (postgres_run_with(p, sql, values, n, false, &r, e) < 0)
		return -1;
	if (PQntuples(r) && PQnfields(r) && !PQgetisnull(r, 0, 0))
		*out = mem_strdup(PQgetvalue(r, 0, 0));
	PQclear(r);
	return 0;
}

/* ---- COPY ---- */

/* After the last piece: what the statement came to. */
static int end_of_copy(struct postgres *p, struct error *e)
{
	PGresult *r;
	int status = 0;

	for (;;) {
		if (next_result(p, &r, e) < 0)
			return -1;
		if (!r)
			return status < 0 ? -1 : 1;
		if (!is_good(r) && status == 0)
			status = postgres_error(p, r, e);
		PQclear(r);
	}
}

int postgres_take_copy(
	struct postgres *p, bool may_block, const uint8_t **bytes, size_t *len, struct error *e)
{
	bool has_read = false;

	PQfreemem(p->piece);
	p->piece = NULL;
	for (;;) {
		int n = PQgetCopyData(p->conn, &p->piece, 1);

		if (n > 0) {
			*bytes = (const uint8_t *)p->piece;
			*len = (size_t)n;
			return 0;
		}
		if (n == -1)
			return end_of_copy(p, e);
		if (n < -1)
			return postgres_error(p, NULL, e);
		if (has_read && !may_block)
			return 2;
		if (has_read && wait_for(p, PQsocket(p->conn), POLLIN, 0, e) < 0)
			return -1;
		if (!PQconsumeInput(p->conn))
			return postgres_error(p, NULL, e);
		has_read = true;
	}
}

int postgres_put_copy(struct postgres *p, const void *bytes, size_t len, struct error *e)
{
	enum { PIECE_BYTES = 1 << 20 }; /* libpq's lengths are ints, and it keeps a copy */
	const char *at = bytes;

	while (len) {
		int n = len > PIECE_BYTES ? PIECE_BYTES : (int)len;
		int status = PQputCopyData(p->conn, at, n);

		if (status < 0)
			return postgres_error(p, NULL, e);
		if (flush(p, e) < 0)
			return -1;
		if (status == 0)
			continue;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int end_copy(struct postgres *p, const char *why, struct error *e)
{
	int status;

	while ((status = PQputCopyEnd(p->conn, why)) == 0) {
		if (flush(p, e) < 0)
			return -1;
	}
	return status < 0 ? postgres_error(p, NULL, e) : 0;
}

int postgres_end_copy(struct postgres *p, uint64_t *rows, struct error *e)
{
	const char *count;
	PGresult *r;

	*rows = 0;
	if (end_copy(p, NULL, e) < 0 || postgres_finish(p, &r, e) < 0)
		return -1;
	count = PQcmdTuples(r);
	uint_parse(count, strlen(count), rows);
	PQclear(r);
	return 0;
}

void postgres_abort_copy(struct postgres *p)
{
	struct error ignored = ERROR_INIT;

	if (end_copy(p, "given up", &ignored) == 0)
		postgres_finish(p, NULL, &ignored);
}

/* ---- names ---- */

void postgres_put_name(struct buf *out, const char *name)
{
	buf_put_byte(out, '"');
	for (; *name; name++) {
		if (*name == '"')
			buf_put_byte(out, '"');
		buf_put_byte(out, (uint8_t)*name);
	}
	buf_put_byte(out, '"');
}

void postgres_put_literal(struct buf *out, const char *text)
{
	if (strchr(text, '\\'))
		buf_put_byte(out, 'E');
	buf_put_byte(out, '\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			buf_put_byte(out, (uint8_t)*text);
		buf_put_byte(out, (uint8_t)*text);
	}
	buf_put_byte(out, '\'');
}

/* One name at *at, which moves behind it; NULL: none. */
static char *one_name(const char **at)
{
	struct buf name = BUF_INIT;
	const char *s = *at;
	char *out = NULL;

	if (*s == '"') {
		for (s++; *s && (*s != '"' || s[1] == '"'); s++) {
			s += *s == '"';
			buf_put_byte(&name, (uint8_t)*s);
		}
		if (*s != '"')
			goto out;
		s++;
	} else {
		/* Without quotes letters are folded, as SQL does. */
		for (; *s && *s != '.' && *s != '"'; s++)
			buf_put_byte(&name, (uint8_t)(*s >= 'A' && *s <= 'Z' ? *s + 32 : *s));
	}
	if (name.len && name.len <= POSTGRES_NAME_MAX)
		out = mem_strndup((const char *)name.data, name.len);
	*at = s;
out:
	buf_clear(&name);
	return out;
}

int postgres_table_parse(const char *text, struct postgres_table *out, struct error *e)
{
	const char *at = text;

	*out = (struct postgres_table){.name = one_name(&at)};
	if (out->name && *at == '.') {
		at++;
		out->schema = out->name;
		out->name = one_name(&at);
	}
	if (out->name && !*at)
		return 0;
	postgres_table_clear(out);
	return error_set(e, ERROR_USAGE,
		"table '%s': a name, or schema.name; others in double quotes", text);
}

void postgres_table_clear(struct postgres_table *t)
{
	mem_free(t->schema);
	mem_free(t->name);
	*t = (struct postgres_table){.name = NULL};
}

void postgres_table_put(const struct postgres_table *t, struct buf *out)
{
	if (t->schema) {
		postgres_put_name(out, t->schema);
		buf_put_byte(out, '.');
	}
	postgres_put_name(out, t->name);
}
