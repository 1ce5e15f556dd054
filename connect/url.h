/* URLs: where something outside lies, and how to speak with it.
 *
 *   scheme://[user[:password]@]host[:port][,host[:port]...][/path][?name=value[&name=value...]]
 *   unix:path  unix-listen:path            a path alone, no query
 *
 * Names and values are percent-decoded; a + is a +.  An IPv6 address stands in brackets.  What a
 * URL says is not checked beyond its form: who opens it knows which parts it needs.
 *
 * Nothing but url_put_safe may show a URL to anybody: messages, --plan, logs, snapshots. */
#ifndef RUNNEL_CONNECT_URL_H
#define RUNNEL_CONNECT_URL_H

#include "libcore/base/arena.h"
#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>

enum {
	URL_BYTES_MAX = 8192,
	URL_HOSTS_MAX = 32,
	URL_PROPERTIES_MAX = 128,
};

struct url_host {
	const char *name; /* "" : none is written down (tcp-listen://:9000) */
	int port;         /* -1: none */
};

struct url_property {
	const char *name, *value; /* value "" also where there is no = */
	bool taken;
};

struct url {
	const char *scheme;          /* in lower case */
	const char *user, *password; /* NULL: none */
	struct url_host hosts[URL_HOSTS_MAX];
	size_t hosts_len;
	const char *path;            /* without the slash in front; of unix: all of it */
	struct url_property properties[URL_PROPERTIES_MAX];
	size_t properties_len;
	struct arena arena;          /* holds all texts */
};

/* Whether a text begins as a URL does: a scheme of two letters at least and "://", or unix: and
 * unix-listen:.  A file of that name may exist all the same. */
bool url_is(const char *text);

/* Whether it does, with this scheme. */
bool url_has_scheme(const char *text, const char *scheme);

/* ERROR_USAGE names the place.  *out needs url_clear also then. */
int url_parse(const char *text, struct url *out, struct error *e);
void url_clear(struct url *u);

/* A property's value, NULL if it isn't there; it counts as taken from then on.  Said twice: the last. */
const char *url_take(struct url *u, const char *name);

/* The first property that nobody has taken, NULL: none.  What isn't handed on to a library is an
 * error that suggests one of `known` (ends with NULL). */
const struct url_property *url_left(const struct url *u);
int url_check_taken(const struct url *u, const char *const *known, struct error *e);

/* The text as it may be shown: no password, and *** for every property whose name sounds like a
 * secret (password, secret, token, passphrase, credential, private, pem, jaas, auth).  Takes any text. */
void url_put_safe(const char *text, struct buf *out);
bool url_name_is_secret(const char *name);

/* Overwrites what may not be shown in a text that has URLs somewhere, a line of a pipeline: a star for
 * every byte, so that places in it stay. */
void url_hide(char *text);

#endif
