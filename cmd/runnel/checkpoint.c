#include "cmd/runnel/checkpoint.h"

#include "libcore/base/infile.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/outfile.h"
#include "libcore/state/snapshot.h"
#include "libcore/table/builder.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char manifest_prefix[] = "manifest-";
static const char manifest_suffix[] = ".frames";
static const char committed_name[] = "committed";

enum { MANIFEST_BYTES_MAX = 64 << 20 };

void checkpoint_clear(struct checkpoint *c)
{
	for (size_t i = 0; i < c->tasks_len; i++) {
		mem_free(c->tasks[i].stage);
		mem_free(c->tasks[i].type);
		mem_free(c->tasks[i].keeps);
		mem_free(c->tasks[i].file);
		buf_clear(&c->tasks[i].handle);
	}
	mem_free(c->tasks);
	mem_free(c->directory);
	*c = (struct checkpoint){.id = 0};
}

static struct checkpoint_task *add_task(struct checkpoint *c)
{
	struct checkpoint_task *t;

	c->tasks = mem_resize(c->tasks, (c->tasks_len + 1) * sizeof *c->tasks);
	t = &c->tasks[c->tasks_len++];
	*t = (struct checkpoint_task){.stage = NULL};
	return t;
}

struct checkpoint_task *checkpoint_add(struct checkpoint *c, const char *stage, const char *type,
	const char *keeps, uint32_t subtask, uint32_t subtasks)
{
	struct checkpoint_task *t = add_task(c);

	*t = (struct checkpoint_task){.stage = mem_strdup(stage), .type = mem_strdup(type),
		.keeps = keeps ? mem_strdup(keeps) : NULL, .subtask = subtask, .subtasks = subtasks};
	return t;
}

uint64_t checkpoint_bytes(const struct checkpoint *c)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->tasks_len; i++)
		bytes += c->tasks[i].bytes;
	return bytes;
}

/* ---- the manifest: section "checkpoint", one row; section "tasks", one row each ---- */

enum { C_ID, C_KIND, C_JOB, C_CREATED };
enum { T_STAGE, T_TYPE, T_KEEPS, T_SUBTASK, T_SUBTASKS, T_FINISHED, T_FILE, T_BYTES, T_HASH, T_HANDLE };

struct manifest_column {
	const char *name;
	enum type_kind kind;
};

static const struct manifest_column checkpoint_columns[] = {
	[C_ID] = {"id", TYPE_INT}, [C_KIND] = {"kind", TYPE_INT}, [C_JOB] = {"job", TYPE_STRING},
	[C_CREATED] = {"created", TYPE_TIMESTAMP}, {NULL, TYPE_INT}};

static const struct manifest_column task_columns[] = {
	[T_STAGE] = {"stage", TYPE_STRING}, [T_TYPE] = {"type", TYPE_STRING},
	[T_KEEPS] = {"keeps", TYPE_STRING},
	[T_SUBTASK] = {"subtask", TYPE_INT}, [T_SUBTASKS] = {"subtasks", TYPE_INT},
	[T_FINISHED] = {"finished", TYPE_BOOL}, [T_FILE] = {"file", TYPE_STRING},
	[T_BYTES] = {"bytes", TYPE_INT}, [T_HASH] = {"xxh64", TYPE_INT},
	[T_HANDLE] = {"handle", TYPE_BYTES}, {NULL, TYPE_INT}};

static void manifest_schema(struct schema *s, const char *name, const struct manifest_column *columns)
{
	schema_init(s);
	schema_set_name(s, name);
	for (; columns->name; columns++)
		schema_add(s, columns->name, strlen(columns->name), TYPE_OF(columns->kind));
}

static void put_text(struct batch_builder *b, size_t column, const char *text)
{
	builder_put_text(&b->columns[column], text, strlen(text));
}

static void put_text_or_null(struct batch_builder *b, size_t column, const char *text)
{
	if (text)
		put_text(b, column, text);
	else
		builder_put_null(&b->columns[column]);
}

static void put_task(struct batch_builder *b, const struct checkpoint_task *t)
{
	put_text(b, T_STAGE, t->stage);
	put_text(b, T_TYPE, t->type);
	put_text_or_null(b, T_KEEPS, t->keeps);
	builder_put_int(&b->columns[T_SUBTASK], t->subtask);
	builder_put_int(&b->columns[T_SUBTASKS], t->subtasks);
	builder_put_bool(&b->columns[T_FINISHED], t->finished);
	put_text_or_null(b, T_FILE, t->file);
	builder_put_int(&b->columns[T_BYTES], (int64_t)t->bytes);
	builder_put_int(&b->columns[T_HASH], (int64_t)t->hash);
	builder_put_text(&b->columns[T_HANDLE], t->handle.data, t->handle.len);
}

static void put_checkpoint(struct batch_builder *b, const struct checkpoint *c)
{
	builder_put_int(&b->columns[C_ID], (int64_t)c->id);
	builder_put_int(&b->columns[C_KIND], c->kind);
	put_text(b, C_JOB, c->job);
	builder_put_int(&b->columns[C_CREATED], c->created_us);
}

/* Into memory, which can't fail. */
static void put_section(struct snapshot_writer *w, const char *name,
	const struct manifest_column *columns, const struct checkpoint *c)
{
	struct error e = ERROR_INIT;
	struct batch_builder rows;
	struct schema s;

	manifest_schema(&s, name, columns);
	MUST(snapshot_section(w, &s, &e) == 0);
	batch_builder_init(&rows, &s);
	if (columns == checkpoint_columns) {
		put_checkpoint(&rows, c);
		MUST(snapshot_put(w, batch_builder_view(&rows), &e) == 0);
	}
	for (size_t i = 0; columns == task_columns && i < c->tasks_len; i++) {
		put_task(&rows, &c->tasks[i]);
		if (!batch_builder_is_full(&rows) && i + 1 < c->tasks_len)
			continue;
		MUST(snapshot_put(w, batch_builder_view(&rows), &e) == 0);
		batch_builder_reset(&rows);
	}
	batch_builder_clear(&rows);
	schema_clear(&s);
}

void checkpoint_put_manifest(const struct checkpoint *c, struct buf *out)
{
	struct channel_writer *channel = channel_writer_new_memory(out);
	struct snapshot_writer *w = snapshot_writer_new(channel, "runnel");
	struct error e = ERROR_INIT;

	put_section(w, "checkpoint", checkpoint_columns, c);
	put_section(w, "tasks", task_columns, c);
	MUST(snapshot_end(w, &e) == 0);
	snapshot_writer_free(w);
	channel_writer_free(channel);
}

char *checkpoint_manifest_name(const struct buf *manifest)
{
	return mem_printf("%s%016" PRIx64 "%s", manifest_prefix,
		XXH64(manifest->data, manifest->len, 0), manifest_suffix);
}

/* ---- reading it ---- */

static int take_columns(const struct batch *b, const struct manifest_column *columns,
	const struct column **out, struct error *e)
{
	for (size_t i = 0; columns[i].name; i++) {
		if (snapshot_column(b, columns[i].name, TYPE_OF(columns[i].kind), &out[i], e) < 0)
			return -1;
	}
	return 0;
}

/* NULL for a null. */
static char *dup_text(const struct column *c, uint32_t row)
{
	struct text_view t;

	if (!column_is_valid(c, row))
		return NULL;
	t = column_text(c, row);
	return mem_strndup(t.len ? t.text : "", t.len);
}

static int take_checkpoint(struct checkpoint *c, const struct batch *b, struct error *e)
{
	const struct column *columns[C_CREATED + 1];
	struct text_view job;

	if (take_columns(b, checkpoint_columns, columns, e) < 0 || !b->rows)
		return b->rows ? -1 : 0;
	job = column_text(columns[C_JOB], 0);
	if (job.len != JOB_ID_LEN)
		return error_set(e, ERROR_STATE, "a job's id has %d digits", JOB_ID_LEN);
	c->id = (uint64_t)column_int(columns[C_ID], 0);
	c->kind = (enum barrier_kind)column_int(columns[C_KIND], 0);
	memcpy(c->job, job.text, JOB_ID_LEN);
	c->created_us = column_int(columns[C_CREATED], 0);
	return 0;
}

static int take_tasks(struct checkpoint *c, const struct batch *b, struct error *e)
{
	const struct column *columns[T_HANDLE + 1];

	if (take_columns(b, task_columns, columns, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		struct text_view handle = column_text(columns[T_HANDLE], r);
		struct checkpoint_task *t = add_task(c);

		t->stage = dup_text(columns[T_STAGE], r);
		t->type = dup_text(columns[T_TYPE], r);
		t->keeps = dup_text(columns[T_KEEPS], r);
		t->subtask = (uint32_t)column_int(columns[T_SUBTASK], r);
		t->subtasks = (uint32_t)column_int(columns[T_SUBTASKS], r);
		if (!t->stage || !t->type)
			return error_set(e, ERROR_STATE, "a task without a name or a type");
		t->finished = column_bool(columns[T_FINISHED], r);
		t->file = dup_text(columns[T_FILE], r);
		t->bytes = (uint64_t)column_int(columns[T_BYTES], r);
		t->hash = (uint64_t)column_int(columns[T_HASH], r);
		buf_put(&t->handle, handle.text, handle.len);
		if (t->file && strchr(t->file, '/'))
			return error_set(e, ERROR_STATE, "a state file is in another directory: %s",
				t->file);
	}
	return 0;
}

static int take_section(struct checkpoint *c, const struct batch *b, struct error *e)
{
	if (!strcmp(b->schema->name, "checkpoint"))
		return take_checkpoint(c, b, e);
	if (!strcmp(b->schema->name, "tasks"))
		return take_tasks(c, b, e);
	return error_set(e, ERROR_STATE, "unknown section %s", b->schema->name);
}

static int parse_manifest(const struct buf *bytes, const char *path, struct checkpoint *c,
	struct error *e)
{
	struct channel_reader *channel = channel_reader_new_memory(bytes->data, bytes->len, path);
	struct snapshot_reader *r = snapshot_reader_new(&channel, 1, "runnel", KEY_RANGE_ALL);
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (take_section(c, b, e) < 0) {
			status = -1;
			break;
		}
	}
	snapshot_reader_free(r);
	channel_reader_free(channel);
	return status < 0 ? -1 : 0;
}

static bool is_manifest(const char *name)
{
	size_t len = strlen(name), prefix = sizeof manifest_prefix - 1, suffix = sizeof manifest_suffix - 1;

	return len > prefix + suffix && !strncmp(name, manifest_prefix, prefix) &&
		!strcmp(name + len - suffix, manifest_suffix);
}

/* The manifest's path, NULL if there is none; an absent directory has none.  One that can't be read
 * (no more descriptors, no permission) may have one: -1. */
static int find_manifest(const char *directory, char **out, struct error *e)
{
	DIR *d = opendir(directory);
	struct dirent *entry;
	int status;

	*out = NULL;
	if (!d)
		return errno == ENOENT || errno == ENOTDIR ? 0 :
			error_errno(e, "%s: can't open", directory);
	errno = 0;
	while (!*out && (entry = readdir(d))) {
		if (is_manifest(entry->d_name))
			*out = mem_printf("%s/%s", directory, entry->d_name);
	}
	status = !*out && errno ? error_errno(e, "%s: can't read", directory) : 0;
	closedir(d);
	return status;
}

int checkpoint_read(const char *directory, struct checkpoint *out, struct error *e)
{
	char *path, *name = NULL;
	struct buf bytes = BUF_INIT;
	int status = -1;

	*out = (struct checkpoint){.id = 0};
	if (find_manifest(directory, &path, e) < 0)
		return -1;
	if (!path)
		return 1;
	out->directory = mem_strdup(directory);
	if (infile_read(path, MANIFEST_BYTES_MAX, &bytes, e) < 0)
		goto out;
	name = checkpoint_manifest_name(&bytes);
	if (strcmp(name, strrchr(path, '/') + 1) != 0) {
		error_set(e, ERROR_STATE, "%s: the manifest is damaged", path);
		error_hint(e, "its bytes are not those that were written; restore the directory from a copy");
		goto out;
	}
	status = parse_manifest(&bytes, path, out, e);
	if (status < 0)
		e->code = ERROR_STATE;
out:
	if (status < 0)
		checkpoint_clear(out);
	buf_clear(&bytes);
	mem_free(name);
	mem_free(path);
	return status;
}

int checkpoint_hash_file(const char *path, uint64_t *bytes, uint64_t *hash, struct error *e)
{
	enum { PIECE_BYTES = 1 << 20 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *piece;
	XXH64_state_t state;
	ssize_t n;

	*bytes = 0;
	if (fd < 0) {
		error_errno(e, "%s: can't open", path);
		if (errno == ENOENT)
			e->code = ERROR_STATE;
		return -1;
	}
	piece = mem_alloc(PIECE_BYTES);
	XXH64_reset(&state, 0);
	while ((n = read(fd, piece, PIECE_BYTES)) > 0) {
		XXH64_update(&state, piece, (size_t)n);
		*bytes += (uint64_t)n;
	}
	mem_free(piece);
	close(fd);
	*hash = XXH64_digest(&state);
	return n < 0 ? error_errno(e, "%s: can't read", path) : 0;
}

static int verify_file(const char *path, const struct checkpoint_task *t, struct error *e)
{
	uint64_t bytes, hash;

	if (checkpoint_hash_file(path, &bytes, &hash, e) < 0)
		return -1;
	if (bytes != t->bytes || hash != t->hash)
		return error_set(e, ERROR_STATE, "%s: the state is damaged: %" PRIu64 " bytes instead of %"
			PRIu64 ", or others than were written", path, bytes, t->bytes);
	return 0;
}

char *checkpoint_path(const struct checkpoint *c, const char *name)
{
	return mem_printf("%s/%s", c->directory, name);
}

void checkpoint_mark_committed(const struct checkpoint *c)
{
	char *path = checkpoint_path(c, committed_name);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	mem_free(path);
}

bool checkpoint_is_committed(const struct checkpoint *c)
{
	char *path = checkpoint_path(c, committed_name);
	bool is = access(path, F_OK) == 0;

	mem_free(path);
	return is;
}

int checkpoint_verify(const struct checkpoint *c, struct error *e)
{
	for (size_t i = 0; i < c->tasks_len; i++) {
		char *path;
		int status;

		if (!c->tasks[i].file)
			continue;
		path = checkpoint_path(c, c->tasks[i].file);
		status = verify_file(path, &c->tasks[i], e);
		mem_free(path);
		if (status < 0)
			return -1;
	}
	return 0;
}

/* ---- all of a job's ---- */

int checkpoints_open(const char *root, struct error *e)
{
	if (mkdir(root, 0700) < 0 && errno != EEXIST)
		return error_errno(e, "%s: can't make the directory", root);
	return outfile_sync_directory(root, e);
}

static char *directory_of(const char *root, uint64_t id)
{
	return mem_printf("%s/%" PRIu64, root, id);
}

/* The number a directory is named by; 0: none. */
static uint64_t number_of(const char *name)
{
	char *end;
	uint64_t n = strtoull(name, &end, 10);

	return *name >= '1' && *name <= '9' && !*end && n <= INT64_MAX ? n : 0;
}

static int by_number_falling(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* All numbers, the greatest first. */
static int list(const char *root, uint64_t **out, size_t *len, struct error *e)
{
	DIR *d = opendir(root);
	struct dirent *entry;
	size_t cap = 0;

	*out = NULL;
	*len = 0;
	if (!d)
		return error_errno(e, "%s: can't open", root);
	while ((entry = readdir(d))) {
		uint64_t id = number_of(entry->d_name);

		if (!id)
			continue;
		MEM_GROW(*out, cap, *len + 1);
		(*out)[(*len)++] = id;
	}
	closedir(d);
	if (*len)
		qsort(*out, *len, sizeof **out, by_number_falling);
	return 0;
}

int checkpoints_newest(const char *root, struct checkpoint *out, uint64_t *greatest,
	struct error *e)
{
	uint64_t *ids;
	size_t n;
	int status = 1;

	*greatest = 0;
	if (list(root, &ids, &n, e) < 0)
		return -1;
	if (n)
		*greatest = ids[0];
	for (size_t i = 0; i < n && status == 1; i++) {
		char *directory = directory_of(root, ids[i]);

		status = checkpoint_read(directory, out, e);
		mem_free(directory);
	}
	mem_free(ids);
	return status;
}

int checkpoints_begin(const char *root, uint64_t id, char **directory, struct error *e)
{
	char *path = directory_of(root, id);
	int status = mkdir(path, 0700) < 0 ?
		error_errno(e, "%s: can't make the directory", path) : outfile_sync_directory(path, e);

	if (status == 0)
		*directory = path;
	else
		mem_free(path);
	return status;
}

int checkpoints_complete(const struct checkpoint *c, struct error *e)
{
	struct outfile file = OUTFILE_INIT;
	struct buf bytes = BUF_INIT;
	char *name, *path;
	int status = -1;

	checkpoint_put_manifest(c, &bytes);
	name = checkpoint_manifest_name(&bytes);
	path = checkpoint_path(c, name);
	if (outfile_open(&file, path, e) == 0 &&
		outfile_write(&file, bytes.data, bytes.len, e) == 0)
		status = outfile_commit(&file, true, e);
	outfile_abort(&file);
	mem_free(path);
	mem_free(name);
	buf_clear(&bytes);
	return status;
}

/* The manifest goes first: what is half removed must not look like a checkpoint. */
static int empty_directory(const char *path, struct error *e)
{
	char *manifest;
	DIR *d;
	struct dirent *entry;
	int status;

	if (find_manifest(path, &manifest, e) < 0)
		return -1;
	status = manifest && unlink(manifest) < 0 && errno != ENOENT ?
		error_errno(e, "%s: can't remove", manifest) : 0;
	mem_free(manifest);
	d = status == 0 ? opendir(path) : NULL;
	while (d && (entry = readdir(d)))
		unlinkat(dirfd(d), entry->d_name, 0);
	if (d)
		closedir(d);
	return status;
}

int directory_remove(const char *path, struct error *e)
{
	if (empty_directory(path, e) < 0)
		return -1;
	if (rmdir(path) < 0 && errno != ENOENT)
		return error_errno(e, "%s: can't remove", path);
	return 0;
}

/* Does it to the directories with numbers from `first` to `last`; what can't be done is left. */
static void each_directory(const char *root, uint64_t first, uint64_t last,
	int (*act)(const char *path, struct error *e))
{
	struct error ignored = ERROR_INIT;
	uint64_t *ids;
	size_t n;

	if (list(root, &ids, &n, &ignored) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		char *directory;

		if (ids[i] < first || ids[i] > last)
			continue;
		directory = directory_of(root, ids[i]);
		act(directory, &ignored);
		mem_free(directory);
	}
	mem_free(ids);
}

/* Their directories stay: they keep the numbers. */
void checkpoints_empty_newer(const char *root, uint64_t id, uint64_t until)
{
	each_directory(root, id + 1, until, empty_directory);
}

void checkpoints_remove_older(const char *root, uint64_t id)
{
	each_directory(root, 0, id - 1, directory_remove);
}
