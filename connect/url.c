#include "connect/url.h"

#include "libcore/base/memory.h"
#include "libcore/base/number.h"
#include "libcore/base/suggest.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { PORT_MAX = 65535 };

static const char *const plain_schemes[] = {"unix", "unix-listen"};

/* The scheme's length, 0 if the text begins with none that a URL could have. */
static size_t scheme_len(const char *text)
{
	size_t n = 0;

	while (isalnum((unsigned char)text[n]) || (n && strchr("+-.", text[n]) && text[n]))
		n++;
	return n >= 2 && text[n] == ':' && isalpha((unsigned char)*text) ? n : 0;
}

/* unix:path has no authority. */
static bool is_plain(const char *text, size_t scheme)
{
	for (size_t i = 0; i < sizeof plain_schemes / sizeof *plain_schemes; i++) {
		if (strlen(plain_schemes[i]) == scheme &&
			strncasecmp(text, plain_schemes[i], scheme) == 0)
			return true;
	}
	return false;
}

bool url_is(const char *text)
{
	size_t n = scheme_len(text);

	return n && (is_plain(text, n) || strncmp(text + n, "://", 3) == 0);
}

bool url_has_scheme(const char *text, const char *scheme)
{
	size_t n = strlen(scheme);

	return url_is(text) && scheme_len(text) == n && strncasecmp(text, scheme, n) == 0;
}

/* ---- reading ---- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* NULL: a % that isn't one, or a NUL. */
static const char *decode(struct url *u, const char *text, size_t len, struct error *e)
{
	char *out = arena_alloc(&u->arena, len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int high, low;

		if (text[i] != '%') {
			out[n++] = text[i];
			continue;
		}
		high = i + 1 < len ? hex_digit(text[i + 1]) : -1;
		low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
		if (high < 0 || low < 0 || high + low == 0) {
			error_set(e, ERROR_USAGE,
				"a %% in a URL stands before two hexadecimal digits; itself it is %%25");
			return NULL;
		}
		out[n++] = (char)(high << 4 | low);
		i += 2;
	}
	out[n] = '\0';
	return out;
}

static int read_port(const char *text, size_t len, int *out, struct error *e)
{
	uint64_t port;

	if (uint_parse(text, len, &port) != NUMBER_OK || port > PORT_MAX)
		return error_set(e, ERROR_USAGE, "port '%.*s': a number up to %d", (int)len, text,
			PORT_MAX);
	*out = (int)port;
	return 0;
}

/* name, name:port, [address]:port; one of several. */
static int read_host(struct url *u, const char *text, size_t len, struct error *e)
{
	struct url_host *h = &u->hosts[u->hosts_len];
	const char *name = text, *end = text + len, *name_end;

	if (u->hosts_len == URL_HOSTS_MAX)
		return error_set(e, ERROR_USAGE, "a URL has up to %d hosts", URL_HOSTS_MAX);
	if (len && *text == '[') {
		name_end = memchr(text, ']', len);
		if (!name_end || (name_end + 1 < end && name_end[1] != ':'))
			return error_set(e, ERROR_USAGE,
				"an IPv6 address stands in brackets: [::1]:9000");
		name++;
		text = name_end + 1;
	} else {
		name_end = memchr(text, ':', len);
		if (!name_end)
			name_end = end;
		text = name_end;
	}
	h->port = -1;
	h->name = decode(u, name, (size_t)(name_end - name), e);
	if (!h->name)
		return -1;
	u->hosts_len++;
	return text < end ? read_port(text + 1, (size_t)(end - text - 1), &h->port, e) : 0;
}

static int read_hosts(struct url *u, const char *text, const char *end, struct error *e)
{
	for (;;) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *stop = comma ? comma : end;

		if (read_host(u, text, (size_t)(stop - text), e) < 0)
			return -1;
		if (!comma)
			return 0;
		text = comma + 1;
	}
}

/* What stands before the last @ of the authority. */
static int read_user(struct url *u, const char *text, const char *end, struct error *e)
{
	const char *colon = memchr(text, ':', (size_t)(end - text));

	u->user = decode(u, text, (size_t)((colon ? colon : end) - text), e);
	if (u->user && colon)
		u->password = decode(u, colon + 1, (size_t)(end - colon - 1), e);
	return u->user && (!colon || u->password) ? 0 : -1;
}

static int read_property(struct url *u, const char *text, size_t len, struct error *e)
{
	struct url_property *p = &u->properties[u->properties_len];
	const char *equals = memchr(text, '=', len);
	const char *name_end = equals ? equals : text + len;

	if (!len)
		return 0;
	if (u->properties_len == URL_PROPERTIES_MAX)
		return error_set(e, ERROR_USAGE, "a URL has up to %d properties", URL_PROPERTIES_MAX);
	p->name = decode(u, text, (size_t)(name_end - text), e);
	p->value = !p->name ? NULL
		   : equals ? decode(u, equals + 1, (size_t)(text + len - equals - 1), e)
			    : "";
	if (!p->value)
		return -1;
	u->properties_len++;
	return 0;
}

static int read_query(struct url *u, const char *text, struct error *e)
{
	while (text) {
		const char *and = strchr(text, '&');

		if (read_property(u, text, and ? (size_t)(and - text) : strlen(text), e) < 0)
			return -1;
		text = and ? and + 1 : NULL;
	}
	return 0;
}

static int read_authority(struct url *u, const char *text, const char *end, struct error *e)
{
	const char *at = memrchr(text, '@', (size_t)(end - text));

	if (at && read_user(u, text, at, e) < 0)
		return -1;
	return read_hosts(u, at ? at + 1 : text, end, e);
}

static int read_parts(struct url *u, const char *text, struct error *e)
{
	const char *question = strchr(text, '?');
	const char *end = question ? question : text + strlen(text);
	const char *slash = memchr(text, '/', (size_t)(end - text));
	const char *hosts_end = slash ? slash : end;

	if (read_authority(u, text, hosts_end, e) < 0)
		return -1;
	if (slash) {
		u->path = decode(u, slash + 1, (size_t)(end - slash - 1), e);
		if (!u->path)
			return -1;
	}
	return question ? read_query(u, question + 1, e) : 0;
}

int url_parse(const char *text, struct url *out, struct error *e)
{
	struct buf safe = BUF_INIT;
	size_t scheme = scheme_len(text);
	char *name;
	int status;

	*out = (struct url){.path = "", .scheme = "", .arena = ARENA_INIT};
	if (!url_is(text) || strlen(text) > URL_BYTES_MAX)
		return error_set(e, ERROR_USAGE, "not a URL, which looks like scheme://host:port/path");
	name = arena_strndup(&out->arena, text, scheme);
	for (size_t i = 0; i < scheme; i++)
		name[i] = (char)tolower((unsigned char)name[i]);
	out->scheme = name;
	if (is_plain(text, scheme)) {
		out->path = arena_strdup(&out->arena, text + scheme + 1);
		return 0;
	}
	status = read_parts(out, text + scheme + 3, e);
	if (status < 0) {
		url_put_safe(text, &safe);
		error_context(e, "%s", buf_cstr(&safe));
		buf_clear(&safe);
	}
	return status;
}

void url_clear(struct url *u)
{
	arena_clear(&u->arena);
	*u = (struct url){.path = "", .scheme = "", .arena = ARENA_INIT};
}

/* ---- properties ---- */

const char *url_take(struct url *u, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < u->properties_len; i++) {
		if (strcmp(u->properties[i].name, name) != 0)
			continue;
		value = u->properties[i].value;
		u->properties[i].taken = true;
	}
	return value;
}

const struct url_property *url_left(const struct url *u)
{
	for (size_t i = 0; i < u->properties_len; i++) {
		if (!u->properties[i].taken)
			return &u->properties[i];
	}
	return NULL;
}

int url_check_taken(const struct url *u, const char *const *known, struct error *e)
{
	const struct url_property *left = url_left(u);
	size_t n = 0;
	int near;

	if (!left)
		return 0;
	while (known[n])
		n++;
	near = suggest(left->name, strlen(left->name), known, n);
	error_set(e, ERROR_USAGE, "%s has no property '%s'", u->scheme, left->name);
	return near < 0 ? -1 : error_hint(e, "did you mean %s?", known[near]);
}

/* ---- showing ---- */

bool url_name_is_secret(const char *name)
{
	static const char *const words[] = {"password", "passwd", "secret", "token", "passphrase",
		"credential", "private", "pem", "jaas", "auth"};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strcasestr(name, words[i]))
			return true;
	}
	return false;
}

static void put_query_safe(const char *text, struct buf *out)
{
	while (*text) {
		size_t len = strcspn(text, "&");
		const char *equals = memchr(text, '=', len);
		char *name = mem_strndup(text, equals ? (size_t)(equals - text) : len);

		/* A % could hide what the name says. */
		if (equals && (url_name_is_secret(name) || strchr(name, '%')))
			buf_printf(out, "%s=***", name);
		else
			buf_put(out, text, len);
		mem_free(name);
		text += len;
		if (*text)
			buf_put_byte(out, (uint8_t)*text++);
	}
}

void url_put_safe(const char *text, struct buf *out)
{
	size_t scheme = scheme_len(text);
	const char *begin = text, *end, *at, *colon;

	if (!url_is(text) || is_plain(text, scheme)) {
		buf_put_text(out, text);
		return;
	}
	begin += scheme + 3;
	end = begin + strcspn(begin, "?");
	/* A password with a / in it, which should have been written as %2F, is one all the same. */
	at = memrchr(begin, '@', (size_t)(end - begin));
	colon = at ? memchr(begin, ':', (size_t)(at - begin)) : NULL;
	buf_put(out, text, (size_t)((colon ? colon : begin) - text));
	if (colon)
		buf_put_text(out, ":***");
	buf_put(out, colon ? at : begin, (size_t)(end - (colon ? at : begin)));
	if (*end) {
		buf_put_byte(out, '?');
		put_query_safe(end + 1, out);
	}
}

static void hide_properties(char *at, char *end)
{
	while (at < end) {
		char *next = memchr(at, '&', (size_t)(end - at));
		char *equals, *name;

		next = next ? next : end;
		equals = memchr(at, '=', (size_t)(next - at));
		name = mem_strndup(at, (size_t)((equals ? equals : next) - at));
		if (equals && (url_name_is_secret(name) || strchr(name, '%')))
			memset(equals + 1, '*', (size_t)(next - equals - 1));
		mem_free(name);
		at = next + 1;
	}
}

void url_hide(char *text)
{
	for (char *at = strstr(text, "://"); at; at = strstr(at, "://")) {
		char *begin = at + 3, *end = begin + strcspn(begin, " \t\n'\"|<>()");
		char *query = memchr(begin, '?', (size_t)(end - begin)), *host, *colon;

		query = query ? query : end;
		host = memrchr(begin, '@', (size_t)(query - begin));
		colon = host ? memchr(begin, ':', (size_t)(host - begin)) : NULL;
		if (colon)
			memset(colon + 1, '*', (size_t)(host - colon - 1));
		if (query < end)
			hide_properties(query + 1, end);
		at = end;
	}
}
