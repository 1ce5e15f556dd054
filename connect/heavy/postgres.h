/* A connection to PostgreSQL, for what reads from it and what writes to it.
 *
 *   postgresql://user:password@host:port/database?table=t&connect_timeout=10
 *
 * Properties of our own (table, slot, ...) are taken out of the URL first (url_take); what is left
 * is libpq's: sslmode, connect_timeout, options, target_session_attrs, passfile, ...; several hosts
 * are tried in turn.  An empty host is a Unix socket, of which host=/directory tells the place.
 *
 * Nothing here blocks without a word to the supervisor: every wait is cut into slices, between
 * which `alive` is called.  One thread, one connection, no threads behind it.
 *
 * Errors name the server (host:port/database), never a password or the URL, and end with the
 * SQLSTATE: "localhost:5432/shop: relation "t" does not exist (42P01)".  What may go away by itself
 * is ERROR_IO: a lost connection, a server that starts or is full, a serialization failure, a
 * deadlock.  What is wrong with a password, permission, name or statement is ERROR_USAGE, what is
 * wrong with a value ERROR_DATA.
 *
 * Every session: client_encoding UTF8, DateStyle ISO, IntervalStyle iso_8601, TimeZone UTC,
 * bytea_output hex, extra_float_digits 1; so that text says the same everywhere. */
#ifndef RUNNEL_CONNECT_HEAVY_POSTGRES_H
#define RUNNEL_CONNECT_HEAVY_POSTGRES_H

#include "connect/url.h"
#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <libpq-fe.h>
#include <stdbool.h>

/* Called at least every POSTGRES_SLICE_MS while something is waited for; -1 gives up with its
 * error.  NULL: nobody. */
struct postgres_wait {
	int (*alive)(void *context, struct error *e);
	void *context;
};

enum { POSTGRES_SLICE_MS = 100, POSTGRES_NAME_MAX = 63 };

struct postgres_setup {
	const struct url *url; /* properties that are taken are not handed on */
	const char *program;   /* application_name unless the URL has one */
	bool replicates;       /* a walsender: replication=database; takes simple statements only */
	int64_t timeout_us;    /* to connect, unless the URL has connect_timeout; 0: 30 s */
	struct postgres_wait wait;
	int (*await)(void *context, struct error *e); /* instead of wait's until it is connected; or NULL */
};

struct postgres;

int postgres_open(const struct postgres_setup *s, struct postgres **out, struct error *e);
void postgres_close(struct postgres *p); /* NULL: nothing */

PGconn *postgres_connection(struct postgres *p);
const char *postgres_server(const struct postgres *p); /* "host:port/database", for messages */
int postgres_version(const struct postgres *p);        /* 150020 */
bool postgres_is_lost(const struct postgres *p);       /* nothing but postgres_close helps */

/* ---- statements ----
 *
 * Run a statement to its end; of several the result is the last one's.  *out (NULL: not wanted) is
 * the caller's, who calls PQclear.  COPY statements return with the stream open. */
int postgres_run(struct postgres *p, const char *sql, PGresult **out, struct error *e);

/* With text parameters $1... (NULL: null); binary asks for binary results. */
int postgres_run_with(struct postgres *p, const char *sql, const char *const *values, size_t n,
	bool binary, PGresult **out, struct error *e);

/* The result of what was sent with a PQsend function of libpq's. */
int postgres_finish(struct postgres *p, PGresult **out, struct error *e);

/* The one value of the first row, of mem_alloc; NULL in *out: null, or no row. */
int postgres_ask(struct postgres *p, const char *sql, const char *const *values, size_t n,
	char **out, struct error *e);

/* Some time during which nobody is asked anything. */
int postgres_pause(struct postgres *p, int ms, struct error *e);

/* ---- COPY ---- */

/* A piece of COPY OUT or of a replication stream.  0: *bytes (until the next call); 1: the end,
 * with the statement's status checked; 2 (may_block false): nothing now, wait for postgres_fd. */
int postgres_take_copy(
	struct postgres *p, bool may_block, const uint8_t **bytes, size_t *len, struct error *e);
int postgres_fd(const struct postgres *p);

/* Hands bytes to COPY IN (or a replication stream's other direction), waiting while the server
 * doesn't read; end tells whether the rows were taken: *rows. */
int postgres_put_copy(struct postgres *p, const void *bytes, size_t len, struct error *e);
int postgres_end_copy(struct postgres *p, uint64_t *rows, struct error *e);
/* Gives it up: the server forgets the rows. */
void postgres_abort_copy(struct postgres *p);

/* ---- errors ---- */

/* Sets the error from a failed result, or (NULL) from the connection.  Returns -1. */
int postgres_error(struct postgres *p, const PGresult *failed, struct error *e);
/* The SQLSTATE of the last error that was set, "" if it had none. */
const char *postgres_state(const struct postgres *p);

/* ---- names ---- */

void postgres_put_name(struct buf *out, const char *name);    /* "a ""b""" */
void postgres_put_literal(struct buf *out, const char *text); /* 'it''s', E'\\' */

/* A table's name as a user writes it: t, schema.t, "Odd.name", schema."T"; without quotes folded to
 * lower case as SQL does.  *schema is NULL where none is said.  ERROR_USAGE. */
struct postgres_table {
	char *schema, *name;
};
int postgres_table_parse(const char *text, struct postgres_table *out, struct error *e);
void postgres_table_clear(struct postgres_table *t);
void postgres_table_put(const struct postgres_table *t, struct buf *out); /* quoted, for SQL */

#endif
