#include "connect/heavy/avro_registry.h"

#include "connect/url.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"

#include <curl/curl.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

enum {
	TRIES = 4,
	FIRST_PAUSE_US = 200000, /* doubled each time */
	CONNECT_MS = 5000,
	ANSWER_MS = 15000,
	ANSWER_BYTES_MAX = 16 << 20,
};

struct avro_registry {
	char *where; /* without a slash at its end */
	char *safe;  /* for messages */
	bool is_directory;
	CURL *curl;
	char why[CURL_ERROR_SIZE];
};

int avro_registry_open(const char *where, struct avro_registry **out, struct error *e)
{
	struct avro_registry *r = mem_zero(sizeof *r);
	struct buf safe = BUF_INIT;
	size_t len = strlen(where);

	while (len > 1 && where[len - 1] == '/')
		len--;
	r->where = mem_strndup(where, len);
	url_put_safe(where, &safe);
	r->safe = mem_strdup(buf_cstr(&safe));
	buf_clear(&safe);
	r->is_directory = !url_has_scheme(where, "http") && !url_has_scheme(where, "https");
	*out = NULL;
	if (r->is_directory && access(r->where, R_OK | X_OK) < 0) {
		error_errno(e, "--registry %s: neither http:// nor a directory that can be read",
			r->safe);
	} else if (!r->is_directory) {
		r->curl = curl_easy_init();
		if (!r->curl)
			error_set(e, ERROR_IO, "curl can't be used");
	}
	if (e->code != ERROR_NONE) {
		avro_registry_close(r);
		return -1;
	}
	*out = r;
	return 0;
}

void avro_registry_close(struct avro_registry *r)
{
	if (!r)
		return;
	if (r->curl)
		curl_easy_cleanup(r->curl);
	mem_free(r->where);
	mem_free(r->safe);
	mem_free(r);
}

/* ---- a directory ---- */

static int read_file(const char *path, struct buf *out, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	if (fd < 0)
		return error_errno(e, "%s", path);
	while (n > 0 && out->len < ANSWER_BYTES_MAX) {
		n = read(fd, buf_reserve(out, 1 << 14), 1 << 14);
		if (n > 0)
			out->len += (size_t)n;
	}
	close(fd);
	return n < 0 ? error_errno(e, "%s", path) : 0;
}

static bool same_json(const char *a, size_t a_len, json_t *b)
{
	json_t *parsed = json_loadb(a, a_len, JSON_DECODE_ANY, NULL);
	bool same = parsed && json_equal(parsed, b);

	json_decref(parsed);
	return same;
}

/* The greatest id of all files that hold it. */
static int find_file(struct avro_registry *r, const char *json, uint32_t *id, struct error *e)
{
	json_t *wanted = json_loads(json, JSON_DECODE_ANY, NULL);
	DIR *dir = opendir(r->where);
	struct dirent *entry;
	bool found = false;

	while (dir && (entry = readdir(dir))) {
		const char *dot = strrchr(entry->d_name, '.');
		struct buf text = BUF_INIT;
		struct error ignored = ERROR_INIT;
		char *path;
		uint64_t n;

		if (!dot || strcmp(dot, ".avsc") != 0 ||
			uint_parse(entry->d_name, (size_t)(dot - entry->d_name), &n) != NUMBER_OK ||
			n > UINT32_MAX || (found && n < *id))
			continue;
		path = mem_printf("%s/%s", r->where, entry->d_name);
		if (read_file(path, &text, &ignored) == 0 && text.len &&
			same_json((const char *)text.data, text.len, wanted)) {
			*id = (uint32_t)n;
			found = true;
		}
		mem_free(path);
		buf_clear(&text);
	}
	if (dir)
		closedir(dir);
	json_decref(wanted);
	if (found)
		return 0;
	error_set(e, ERROR_USAGE, "%s has no file <number>.avsc with the schema of these columns",
		r->safe);
	return error_hint(e, "it is: %s", json);
}

/* ---- the REST interface ---- */

static size_t take_answer(char *bytes, size_t size, size_t n, void *context)
{
	struct buf *out = context;

	if (out->len + size * n > ANSWER_BYTES_MAX)
		return 0;
	buf_put(out, bytes, size * n);
	return size * n;
}

/* One try: the HTTP status, or 0 with r->why. */
static long ask(struct avro_registry *r, const char *url, const char *body, struct buf *answer)
{
	struct curl_slist *headers = NULL;
	long status = 0;

	curl_easy_reset(r->curl);
	buf_reset(answer);
	headers = curl_slist_append(
		headers, "Accept: application/vnd.schemaregistry.v1+json, application/json");
	if (body) {
		headers = curl_slist_append(
			headers, "Content-Type: application/vnd.schemaregistry.v1+json");
		curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, body);
	}
	curl_easy_setopt(r->curl, CURLOPT_URL, url);
	curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, take_answer);
	curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, answer);
	curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, r->why);
	curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS, (long)ANSWER_MS);
	curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	r->why[0] = '\0';
	if (curl_easy_perform(r->curl) == CURLE_OK)
		curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	return status;
}

/* What the registry says of an error, as far as it says anything. */
static void put_reason(const struct buf *answer, struct buf *out)
{
	json_t *j = json_loadb(answer->len ? (const char *)answer->data : "", answer->len, 0, NULL);
	const char *message = json_string_value(json_object_get(j, "message"));

	if (message)
		buf_printf(out, ": %s", message);
	json_decref(j);
}

static int request(struct avro_registry *r, const char *path, const char *body, struct buf *answer,
	struct error *e)
{
	char *url = mem_printf("%s/%s", r->where, path);
	struct buf reason = BUF_INIT;
	long status = 0;

	for (unsigned i = 0; i < TRIES; i++) {
		if (i)
			usleep(FIRST_PAUSE_US << (i - 1));
		status = ask(r, url, body, answer);
		if (status && status != 429 && status < 500)
			break;
	}
	mem_free(url);
	if (status >= 200 && status < 300)
		return 0;
	if (status)
		put_reason(answer, &reason);
	error_set(e, status == 404 || status == 409 || status == 422 ? ERROR_DATA : ERROR_IO,
		status ? "schema registry %s: status %ld%s" : "schema registry %s doesn't answer",
		r->safe, status, buf_cstr(&reason));
	buf_clear(&reason);
	if (!status && *r->why)
		return error_hint(e, "%s", r->why);
	return status == 401 || status == 403
		       ? error_hint(e,
				 "user and password stand in the URL: https://user:password@host")
		       : -1;
}

static int bad_answer(const struct avro_registry *r, struct error *e)
{
	return error_set(e, ERROR_IO, "schema registry %s: no answer of a registry", r->safe);
}

int avro_registry_get(struct avro_registry *r, uint32_t id, struct buf *json, struct error *e)
{
	struct buf answer = BUF_INIT;
	const char *schema;
	char path[64];
	json_t *j;
	int status;

	if (r->is_directory) {
		char *name = mem_printf("%s/%u.avsc", r->where, id);

		status = read_file(name, json, e);
		mem_free(name);
		if (status < 0)
			e->code = ERROR_DATA;
		return status;
	}
	snprintf(path, sizeof path, "schemas/ids/%u", id);
	status = request(r, path, NULL, &answer, e);
	if (status == 0) {
		j = json_loadb((const char *)answer.data, answer.len, 0, NULL);
		schema = json_string_value(json_object_get(j, "schema"));
		if (schema)
			buf_put_text(json, schema);
		else
			status = bad_answer(r, e);
		json_decref(j);
	} else {
		error_context(e, "schema %u", id);
	}
	buf_clear(&answer);
	return status;
}

int avro_registry_put(struct avro_registry *r, const char *subject, const char *json, uint32_t *id,
	struct error *e)
{
	struct buf answer = BUF_INIT;
	json_t *body, *j, *number;
	char *text, *path, *escaped;
	int status;

	if (r->is_directory)
		return find_file(r, json, id, e);
	body = json_pack("{s:s}", "schema", json);
	text = json_dumps(body, JSON_COMPACT);
	escaped = curl_easy_escape(r->curl, subject, 0);
	path = mem_printf("subjects/%s/versions", escaped);
	status = request(r, path, text, &answer, e);
	if (status == 0) {
		j = json_loadb((const char *)answer.data, answer.len, 0, NULL);
		number = json_object_get(j, "id");
		if (json_is_integer(number))
			*id = (uint32_t)json_integer_value(number);
		else
			status = bad_answer(r, e);
		json_decref(j);
	} else {
		error_context(e, "subject %s", subject);
	}
	mem_free(path);
	curl_free(escaped);
	free(text);
	json_decref(body);
	buf_clear(&answer);
	return status;
}
