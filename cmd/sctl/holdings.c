#include "cmd/sctl/holdings.h"

#include "cmd/common/human.h"
#include "cmd/common/json_put.h"
#include "cmd/common/state_directory.h"
#include "cmd/runnel/checkpoint.h"
#include "cmd/sctl/jobs.h"
#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/outfile.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	CHUNK_BYTES = 64 << 10,
	MANIFEST_BYTES_MAX = 64 << 20,
};

/* ---- a savepoint's manifest, out of the archive into a directory of its own ---- */

static bool is_manifest(const char *name)
{
	return !strncmp(name, "manifest-", 9) && !strchr(name, '/');
}

static int not_a_savepoint(const char *path, const char *why, struct error *e)
{
	error_set(e, ERROR_STATE, "%s: neither a savepoint nor a checkpoint's directory", path);
	return why ? error_hint(e, "%s", why) : -1;
}

static int read_entry(struct archive *a, const char *path, struct buf *out, struct error *e)
{
	for (;;) {
		la_ssize_t n = archive_read_data(a, buf_reserve(out, CHUNK_BYTES), CHUNK_BYTES);

		if (n < 0)
			return error_set(
				e, ERROR_STATE, "%s: damaged: %s", path, archive_error_string(a));
		if (n == 0)
			return 0;
		out->len += (size_t)n;
		if (out->len > MANIFEST_BYTES_MAX)
			return error_set(e, ERROR_STATE, "%s: no manifest is so long", path);
	}
}

/* The manifest stands first, so that nothing else has to be unpacked. */
static int read_manifest(
	struct archive *a, const char *path, char **name, struct buf *out, struct error *e)
{
	struct archive_entry *entry;
	const char *found;

	if (archive_read_open_filename(a, path, CHUNK_BYTES) != ARCHIVE_OK ||
		archive_read_next_header(a, &entry) != ARCHIVE_OK)
		return not_a_savepoint(path, archive_error_string(a), e);
	found = archive_entry_pathname(entry);
	if (!found || !is_manifest(found))
		return not_a_savepoint(path, "an archive, but its first file is no manifest", e);
	*name = mem_strdup(found);
	return read_entry(a, path, out, e);
}

static int write_file(const char *path, const struct buf *bytes, struct error *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int status;

	if (fd < 0)
		return error_errno(e, "%s", path);
	status = fd_write_all(fd, path, bytes->data, bytes->len, e);
	close(fd);
	return status;
}

/* checkpoint_read wants a directory: the name of the file proves the bytes. */
static int read_through_directory(
	const char *name, const struct buf *manifest, struct checkpoint *out, struct error *e)
{
	const char *tmp = getenv("TMPDIR");
	struct buf directory = BUF_INIT, file = BUF_INIT;
	int status = -1;

	buf_printf(&directory, "%s/sctl-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	buf_cstr(&directory);
	if (!mkdtemp((char *)directory.data)) {
		error_errno(e, "%s", (char *)directory.data);
	} else {
		buf_printf(&file, "%s/%s", (char *)directory.data, name);
		status = write_file(buf_cstr(&file), manifest, e);
		if (status == 0)
			status = checkpoint_read((char *)directory.data, out, e);
		unlink(buf_cstr(&file));
		rmdir((char *)directory.data);
	}
	buf_clear(&directory);
	buf_clear(&file);
	return status;
}

static int read_archive(const char *path, struct checkpoint *out, struct error *e)
{
	struct archive *a = archive_read_new();
	struct buf manifest = BUF_INIT;
	struct error why = ERROR_INIT;
	char *name = NULL;
	int status;

	archive_read_support_filter_zstd(a);
	archive_read_support_format_tar(a);
	status = read_manifest(a, path, &name, &manifest, e);
	if (status == 0) {
		status = read_through_directory(name, &manifest, out, &why);
		if (status < 0)
			error_set(e, why.code, "%s: the manifest %s is damaged", path, name);
	}
	archive_read_free(a);
	buf_clear(&manifest);
	mem_free(name);
	return status;
}

/* ---- directories ---- */

static int read_directory(const char *path, struct checkpoint *out, struct error *e)
{
	uint64_t last = job_last_checkpoint(path);
	struct buf inner = BUF_INIT;
	int status;

	buf_put_text(&inner, path);
	if (last)
		buf_printf(&inner, "/checkpoints/%" PRIu64, last);
	status = checkpoint_read(buf_cstr(&inner), out, e);
	if (status == 1)
		status = not_a_savepoint(
			path, "a directory without a manifest holds nothing that is complete", e);
	buf_clear(&inner);
	return status;
}

/* A path, else the name of a job. */
static int read_any(const char *path, struct checkpoint *out, struct error *e)
{
	struct error ignored = ERROR_INIT;
	struct buf directory = BUF_INIT;
	struct stat st;
	int status;

	if (stat(path, &st) < 0 && errno == ENOENT && !strchr(path, '/') &&
		job_directory(path, &directory, &ignored) == 0)
		status = read_directory((const char *)directory.data, out, e);
	else if (stat(path, &st) < 0)
		status = error_errno(e, "%s", path);
	else if (S_ISDIR(st.st_mode))
		status = read_directory(path, out, e);
	else
		status = read_archive(path, out, e);
	buf_clear(&directory);
	return status;
}

/* ---- showing them ---- */

/* They acknowledged in no order. */
static int by_place(const void *a, const void *b)
{
	const struct checkpoint_task *x = a, *y = b;
	int order = strcmp(x->stage, y->stage);

	return order ? order : (x->subtask > y->subtask) - (x->subtask < y->subtask);
}

static void put_head(const struct checkpoint *c, struct buf *out)
{
	char time[TIMESTAMP_TEXT_MAX], size[HUMAN_TEXT_MAX];
	size_t time_len = timestamp_put(time, c->created_us);

	buf_printf(out, "%s %" PRIu64 " of job %s, %.*s, %zu subtasks, %s\n\n", barrier_kind_name(c->kind),
		c->id, c->job, (int)time_len, time, c->tasks_len,
		human_bytes(size, checkpoint_bytes(c)));
}

static void put_task(const struct checkpoint_task *t, int width, struct buf *out)
{
	char size[HUMAN_TEXT_MAX], subtask[32];

	snprintf(subtask, sizeof subtask, "%" PRIu32 "/%" PRIu32, t->subtask, t->subtasks);
	buf_printf(out, "%-*s  %7s  %-8s  %8s  %s%s%s%s\n", width, t->stage, subtask, t->type,
		t->file ? human_bytes(size, t->bytes) : "-", t->file ? t->file : "-",
		t->finished ? "  finished" : "", t->keeps ? "  " : "", t->keeps ? t->keeps : "");
}

static void put_table(const struct checkpoint *c, struct buf *out)
{
	int width = 5;

	for (size_t i = 0; i < c->tasks_len; i++)
		if ((int)strlen(c->tasks[i].stage) > width)
			width = (int)strlen(c->tasks[i].stage);
	put_head(c, out);
	buf_printf(out, "%-*s  %7s  %-8s  %8s  %s\n", width, "STAGE", "SUBTASK", "PROGRAM", "SIZE",
		"FILE");
	for (size_t i = 0; i < c->tasks_len; i++)
		put_task(&c->tasks[i], width, out);
}

static void put_json(const struct checkpoint *c, const char *path, struct buf *out)
{
	buf_put_byte(out, '{');
	json_put_text(out, "path", path);
	json_put_text(out, "kind", barrier_kind_name(c->kind));
	json_put_uint(out, "id", c->id);
	json_put_text(out, "job", c->job);
	json_put_time(out, "created", c->created_us);
	json_put_uint(out, "bytes", checkpoint_bytes(c));
	json_put_key(out, "tasks");
	buf_put_byte(out, '[');
	for (size_t i = 0; i < c->tasks_len; i++) {
		const struct checkpoint_task *t = &c->tasks[i];

		buf_put_text(out, i ? ",{" : "{");
		json_put_text(out, "stage", t->stage);
		json_put_text(out, "program", t->type);
		json_put_uint(out, "subtask", t->subtask);
		json_put_uint(out, "subtasks", t->subtasks);
		json_put_bool(out, "finished", t->finished);
		json_put_text(out, "file", t->file);
		json_put_uint(out, "bytes", t->bytes);
		json_put_text(out, "keeps", t->keeps);
		buf_put_byte(out, '}');
	}
	buf_put_text(out, "]}\n");
}

int holdings_put(const char *path, bool json, struct buf *out, struct error *e)
{
	struct checkpoint c = {.id = 0};

	if (read_any(path, &c, e) < 0)
		return -1;
	if (c.tasks_len)
		qsort(c.tasks, c.tasks_len, sizeof *c.tasks, by_place);
	if (json)
		put_json(&c, path, out);
	else
		put_table(&c, out);
	checkpoint_clear(&c);
	return 0;
}
