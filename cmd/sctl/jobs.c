#include "cmd/sctl/jobs.h"

#include "cmd/common/state_directory.h"
#include "cmd/runnel/server.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"
#include "libcore/base/suggest.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- the list ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_directory(struct jobs *j, const char *name)
{
	struct buf path = BUF_INIT;

	if (*name == '.')
		return;
	buf_printf(&path, "%s/%s", buf_cstr(&j->root), name);
	if (is_directory(buf_cstr(&path))) {
		MEM_GROW(j->names, j->cap, j->len + 1);
		j->names[j->len++] = mem_strdup(name);
	}
	buf_clear(&path);
}

int jobs_list(struct jobs *out, struct error *e)
{
	struct dirent *entry;
	DIR *all;

	*out = (struct jobs){.names = NULL};
	if (state_root(&out->root, e) < 0)
		return -1;
	all = opendir(buf_cstr(&out->root));
	if (!all && errno == ENOENT)
		return 0;
	if (!all)
		return error_errno(e, "%s", buf_cstr(&out->root));
	while ((entry = readdir(all)))
		add_directory(out, entry->d_name);
	closedir(all);
	if (out->len)
		qsort(out->names, out->len, sizeof *out->names, by_name);
	return 0;
}

void jobs_clear(struct jobs *j)
{
	for (size_t i = 0; i < j->len; i++)
		mem_free(j->names[i]);
	mem_free(j->names);
	buf_clear(&j->root);
	*j = (struct jobs){.names = NULL};
}

/* ---- one of them ---- */

const char *job_name(const char *directory)
{
	const char *slash = strrchr(directory, '/');

	return slash && slash[1] ? slash + 1 : directory;
}

static bool has_manifest(const char *directory)
{
	static const char start[] = "manifest-", end[] = ".frames";
	DIR *all = opendir(directory);
	struct dirent *entry;
	bool found = false;

	while (all && !found && (entry = readdir(all))) {
		size_t len = strlen(entry->d_name);

		found = len > strlen(start) + strlen(end) &&
			!strncmp(entry->d_name, start, strlen(start)) &&
			!strcmp(entry->d_name + len - strlen(end), end);
	}
	if (all)
		closedir(all);
	return found;
}

uint64_t job_last_checkpoint(const char *directory)
{
	struct buf path = BUF_INIT;
	struct dirent *entry;
	uint64_t last = 0;
	size_t root;
	DIR *all;

	buf_printf(&path, "%s/checkpoints", directory);
	root = path.len;
	all = opendir(buf_cstr(&path));
	while (all && (entry = readdir(all))) {
		uint64_t id;

		if (uint_parse(entry->d_name, strlen(entry->d_name), &id) != NUMBER_OK ||
			id <= last)
			continue;
		path.len = root;
		buf_printf(&path, "/%s", entry->d_name);
		if (has_manifest(buf_cstr(&path)))
			last = id;
	}
	if (all)
		closedir(all);
	buf_clear(&path);
	return last;
}

static int unknown_job(const char *given, struct error *e)
{
	struct error ignored = ERROR_INIT;
	struct jobs jobs;
	int near = -1;

	error_set(e, ERROR_USAGE, "there is no job '%s'", given);
	if (strchr(given, '/'))
		return -1;
	if (jobs_list(&jobs, &ignored) == 0)
		near = suggest(given, strlen(given), (const char *const *)jobs.names, jobs.len);
	if (near >= 0)
		error_hint(e, "did you mean %s?", jobs.names[near]);
	else if (jobs.len)
		error_hint(e, "sctl list shows those there are");
	else
		error_hint(e, "there is none in %s", buf_cstr(&jobs.root));
	jobs_clear(&jobs);
	return -1;
}

static bool is_running(const char *directory)
{
	static const char *const words[] = {"line"};
	struct error ignored = ERROR_INIT;
	struct buf text = BUF_INIT;
	bool gone;

	job_ask(directory, words, 1, JOB_ANSWER_MS, &text, &gone, &ignored);
	buf_clear(&text);
	return !gone;
}

static int only_one(struct buf *out, struct error *e)
{
	struct buf path = BUF_INIT, names = BUF_INIT;
	size_t running = 0;
	struct jobs jobs;
	int status = jobs_list(&jobs, e);

	for (size_t i = 0; status == 0 && i < jobs.len; i++) {
		buf_reset(&path);
		buf_printf(&path, "%s/%s", buf_cstr(&jobs.root), jobs.names[i]);
		if (!is_running(buf_cstr(&path)))
			continue;
		buf_printf(&names, "%s%s", running++ ? ", " : "", jobs.names[i]);
		buf_reset(out);
		buf_put_text(out, buf_cstr(&path));
	}
	if (status == 0 && !running)
		status = error_set(
			e, ERROR_USAGE, "no job is running\nsctl list shows all there are");
	else if (status == 0 && running > 1)
		status = error_set(
			e, ERROR_USAGE, "which job? these are running: %s", buf_cstr(&names));
	buf_cstr(out);
	buf_clear(&path);
	buf_clear(&names);
	jobs_clear(&jobs);
	return status;
}

int job_directory(const char *given, struct buf *out, struct error *e)
{
	if (!given)
		return only_one(out, e);
	if (state_directory(given, out, e) < 0)
		return -1;
	while (out->len > 1 && out->data[out->len - 1] == '/')
		out->len--;
	return *given && is_directory(buf_cstr(out)) ? 0 : unknown_job(given, e);
}

/* ---- asking ---- */

static int not_running(const char *directory, struct error *e)
{
	uint64_t last = job_last_checkpoint(directory);

	error_set(e, ERROR_IO, "%s isn't running", job_name(directory));
	if (last)
		error_hint(e, "started again it goes on from checkpoint %" PRIu64, last);
	return -1;
}

int job_ask(const char *directory, const char *const *words, size_t words_len, unsigned timeout_ms,
	struct buf *text, bool *gone, struct error *e)
{
	struct buf path = BUF_INIT, reply = BUF_INIT;
	bool nobody;
	int status = 0, done;

	buf_printf(&path, "%s/" STATE_SOCKET, directory);
	done = server_ask(
		buf_cstr(&path), words, words_len, timeout_ms, &status, &reply, &nobody, e);
	if (gone)
		*gone = done < 0 && nobody;
	if (done < 0 && nobody) {
		not_running(directory, e);
	} else if (done < 0) {
		error_context(e, "%s", job_name(directory));
	} else if (status) {
		while (reply.len && reply.data[reply.len - 1] == '\n')
			reply.len--;
		done = error_set(e, (enum error_code)status, "%s",
			reply.len ? buf_cstr(&reply) : "the supervisor refuses");
	} else {
		buf_put(text, reply.data, reply.len);
	}
	buf_clear(&path);
	buf_clear(&reply);
	return done;
}
