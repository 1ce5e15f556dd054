#include "cmd/ssource/follow.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/stage/operator.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	SCAN_US = 10000000, /* a directory that is watched is read again so often, to be sure */
	END_BYTES = 16 << 10,
};

static void free_file(struct followed *x)
{
	records_close(x->records);
	if (x->fd > STDIN_FILENO)
		close(x->fd);
	mem_free(x->path);
	mem_free(x->name);
	mem_free(x);
}

void follow_clear(struct follow *f)
{
	for (size_t i = 0; i < f->files_len; i++)
		free_file(f->files[i]);
	mem_free(f->files);
	mem_free(f->inputs);
	if (f->is_open)
		watch_close(&f->watch);
	*f = (struct follow){.files = NULL};
}

struct followed *follow_put(struct follow *f, uint32_t input, const char *path, const char *name)
{
	struct followed *x = mem_zero(sizeof *x);

	x->input = input;
	x->path = mem_strdup(path);
	x->name = mem_strdup(name);
	x->fd = x->watch = -1;
	x->range.end = RECORDS_TO_END;
	x->is_restored = true;
	x->greatest_us = WATERMARK_NONE;
	f->is_restored = true;
	MEM_GROW(f->files, f->files_cap, f->files_len + 1);
	return f->files[f->files_len++] = x;
}

/* ---- files come ---- */

static struct follow_input *input_of(struct follow *f, const struct followed *x)
{
	return &f->inputs[x->input];
}

static bool has_own_partition(const struct follow *f, const struct followed *x)
{
	return f->o.merges && f->inputs[x->input].kind == FOLLOW_DIRECTORY;
}

static void restore_time(const struct follow *f, struct partition *p, const struct followed *x)
{
	if (x->greatest_us == WATERMARK_NONE)
		return;
	if (x->greatest_us > p->greatest_us)
		p->greatest_us = x->greatest_us;
	p->turn = x->turn;
	p->active_us = f->now_us - x->silent_us;
}

/* It is one of those that are read. */
static void take_up(struct follow *f, struct followed *x)
{
	x->partition = has_own_partition(f, x) ? timeline_add(f->timeline, f->now_us)
					       : input_of(f, x)->partition;
	restore_time(f, x->partition, x);
	x->is_restored = false;
	x->dirty = !x->over;
	input_of(f, x)->files_len += !x->over;
}

static int64_t changed_us(const struct stat *st)
{
	return st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
}

static struct followed *add_file(
	struct follow *f, uint32_t input, const char *path, int fd, const struct stat *st)
{
	bool was_restored = f->is_restored;
	struct followed *x = follow_put(f, input, path, path);

	f->is_restored = was_restored;
	x->fd = fd;
	x->is_stream = !S_ISREG(st->st_mode);
	identity_take(st, &x->identity);
	if (!x->is_stream) {
		x->bytes = (uint64_t)st->st_size;
		x->changed_us = changed_us(st);
	}
	take_up(f, x);
	if (fd >= 0 && !x->is_stream) {
		identity_extend(&x->identity, fd);
		x->watch = f->o.follows ? watch_file(&f->watch, fd) : -1;
	}
	return x;
}

static void add_stream(struct follow *f, uint32_t input, int fd, const struct stat *st)
{
	struct followed *x = add_file(f, input, f->o.inputs[input], fd, st);

	x->is_stream = true; /* also standard input from a file */
	x->dirty = !watch_stream(&f->watch, fd, x);
}

/* Where the last record that is whole ends. */
static uint64_t last_end(int fd, uint64_t bytes)
{
	uint8_t chunk[END_BYTES];
	uint64_t at = bytes;
	const uint8_t *newline = NULL;

	while (at && !newline) {
		size_t len = at < END_BYTES ? (size_t)at : END_BYTES;
		ssize_t n = pread(fd, chunk, len, (off_t)(at - len));

		if (n <= 0)
			break;
		at -= len;
		newline = memrchr(chunk, '\n', (size_t)n);
	}
	return newline ? at + (uint64_t)(newline - chunk) + 1 : 0;
}

/* --from end: what is there at the start doesn't count. */
static int begin_at_end(struct followed *x, struct error *e)
{
	struct input_facts facts;
	int fd = x->fd < 0 ? open(x->path, O_RDONLY | O_CLOEXEC) : x->fd;

	if (fd < 0)
		return 0;
	if (input_look_fd(fd, x->path, &facts, e) < 0)
		return -1;
	identity_extend(&x->identity, fd);
	x->over = facts.packed;
	x->range.start = last_end(fd, x->bytes);
	x->range.is_begun = true;
	if (fd != x->fd)
		close(fd);
	return 0;
}

static struct followed *newest_of(const struct follow *f, uint32_t input)
{
	for (size_t i = f->files_len; i-- > 0;) {
		if (f->files[i]->input == input && !f->files[i]->removed)
			return f->files[i];
	}
	return NULL;
}

/* ---- files go ---- */

/* A file has one watch, whatever number of generations it was. */
static void unwatch(struct follow *f, struct followed *x)
{
	int number = x->watch;

	x->watch = -1;
	for (size_t i = 0; i < f->files_len; i++) {
		if (f->files[i]->watch == number)
			return;
	}
	watch_remove(&f->watch, number);
}

static void close_file(struct follow *f, struct followed *x)
{
	follow_close(f, x);
	if (x->fd >= 0 && x->is_stream)
		watch_remove_stream(&f->watch, x->fd);
	if (x->watch >= 0)
		unwatch(f, x);
	if (x->fd > STDIN_FILENO)
		close(x->fd);
	x->fd = -1;
}

static void drop(struct follow *f, struct followed *x)
{
	close_file(f, x);
	if (!x->over && x->partition)
		input_of(f, x)->files_len--;
	x->over = x->removed = true;
	x->dirty = false;
}

/* The list without those that were dropped. */
static void forget_dropped(struct follow *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];

		if (!x->removed) {
			f->files[kept++] = x;
			continue;
		}
		if (x->partition && x->partition != input_of(f, x)->partition)
			timeline_remove(f->timeline, x->partition);
		free_file(x);
	}
	f->files_len = kept;
}

static void replace(struct follow *f, struct followed *x)
{
	x->replaced_us = x->replaced ? x->replaced_us : f->now_us;
	x->replaced = true;
	x->dirty = !x->over;
}

/* What was to be read and isn't there. */
static int lose(struct follow *f, struct followed *x, struct error *e)
{
	if (x->bytes > x->range.start && !x->is_packed && !x->over) {
		error_set(e, ERROR_STATE,
			"%s as it was left is gone, and %llu bytes of it were not read yet",
			x->name, (unsigned long long)(x->bytes - x->range.start));
		return error_hint(e,
			"put it back beside %s under any name, or begin anew: "
			"--drop-state and this stage's name",
			x->name);
	}
	if (f->inputs[x->input].kind != FOLLOW_DIRECTORY)
		stage_warn(f->o.stage,
			"%s as it was left is gone; what was written to it since is "
			"not read",
			x->name);
	drop(f, x);
	return 0;
}

static uint64_t bytes_read(const struct followed *x)
{
	return x->records ? records_read_bytes(x->records) : x->range.start;
}

/* The file was cut to nothing and begun anew: what it held may go on in a copy (copytruncate). */
static void begin_anew(struct follow *f, struct followed *x)
{
	bool is_in_directory = input_of(f, x)->kind ==
			       FOLLOW_DIRECTORY; /* there a copy is a new file */
	struct siblings beside = {.items = NULL};
	const struct sibling *copy;

	if (!is_in_directory)
		siblings_list(&beside, x->path);
	copy = siblings_find_copy(
		&beside, &x->identity, (struct copied){bytes_read(x), x->changed_us});
	replace(f, x);
	x->is_old = true;
	if (copy) {
		close_file(f, x);
		mem_free(x->path);
		x->path = mem_strdup(copy->path);
		x->identity.device = copy->device;
		x->identity.inode = copy->inode;
	} else if (x->records) {
		x->is_cut = true;
	} else {
		drop(f, x);
	}
	siblings_clear(&beside);
}

/* The same file again.  1: it has begun anew. */
static int look_at_file(struct follow *f, struct followed *x, int fd, const struct stat *st)
{
	uint64_t bytes = (uint64_t)st->st_size;
	bool is_less = !x->is_packed && bytes < bytes_read(x);

	if (is_less || !identity_has_head(&x->identity, fd)) {
		if (!x->records && !x->range.start && !x->over) {
			identity_take(st, &x->identity); /* nothing of it was taken yet */
		} else {
			begin_anew(f, x);
			return 1;
		}
	}
	identity_extend(&x->identity, fd);
	x->dirty |= !x->over && !x->is_packed && bytes > bytes_read(x);
	x->bytes = bytes;
	x->changed_us = changed_us(st);
	return 0;
}

/* ---- a path ---- */

/* Those that came and went between the old one and what has the path now; the last of them, or
 * NULL. */
static struct followed *take_generations(struct follow *f, struct followed *old, const char *path)
{
	struct siblings beside;
	const struct sibling *found;
	struct followed *last = NULL;

	siblings_list(&beside, path);
	found = siblings_find(&beside, &old->identity);
	if (found) {
		mem_free(old->path);
		old->path = mem_strdup(found->path);
	}
	siblings_between(&beside, path, found, old->changed_us);
	for (size_t i = 0; i < beside.len; i++) {
		int fd = open(beside.items[i].path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		struct followed *x;
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
			if (fd >= 0)
				close(fd);
			continue;
		}
		x = add_file(f, old->input, beside.items[i].path, fd, &st);
		mem_free(x->name);
		x->name = mem_strdup(path);
		replace(f, x);
		x->is_old = true;
		last = x;
	}
	siblings_clear(&beside);
	return last;
}

/* Nothing has the path: it was renamed, and so may others have been since.  The last of them may
 * still be written to. */
static void miss_path(struct follow *f, uint32_t input)
{
	struct followed *newest = newest_of(f, input), *last;

	if (!newest || newest->is_stream)
		return;
	last = take_generations(f, newest, f->o.inputs[input]);
	if (!last)
		return;
	replace(f, newest);
	newest->is_old = true;
	last->replaced = last->is_old = false;
}

/* Another file has the path. */
static void take_successor(struct follow *f, uint32_t input, int fd, const struct stat *st)
{
	const char *path = f->o.inputs[input];
	struct followed *newest = newest_of(f, input);

	for (size_t i = 0; i < f->files_len; i++) {
		if (f->files[i]->input == input && f->files[i]->replaced)
			f->files[i]->is_old = true;
	}
	if (newest && !newest->replaced) {
		replace(f, newest);
		take_generations(f, newest, path);
		if (newest->over)
			drop(f, newest);
	}
	add_file(f, input, path, fd, st);
	f->inputs[input].kind = FOLLOW_FILE;
}

static int look_at_directory(struct follow *f, uint32_t input, struct error *e);

static int look_at_stream(struct follow *f, uint32_t input, int fd, const struct stat *st)
{
	const struct followed *newest = newest_of(f, input);

	if (newest && !newest->over) {
		close(fd);
		return 0;
	}
	f->inputs[input].kind = FOLLOW_STREAM;
	add_stream(f, input, fd, st);
	return 0;
}

static int refuse_directory(const struct follow *f, const char *path, struct error *e)
{
	error_set(e, ERROR_IO, "%s is a directory", path);
	return error_hint(
		e, "name the files in it: %s/*, or follow it: ssource --follow %s", path, path);
}

static int look_at_open(struct follow *f, uint32_t input, int fd, struct error *e)
{
	const char *path = f->o.inputs[input];
	struct followed *newest = newest_of(f, input);
	struct stat st;
	int status;

	if (fstat(fd, &st) < 0) {
		close(fd);
		return error_errno(e, "can't read %s", path);
	}
	if (S_ISDIR(st.st_mode)) {
		close(fd);
		if (!f->o.follows)
			return refuse_directory(f, path, e);
		f->inputs[input].kind = FOLLOW_DIRECTORY;
		return look_at_directory(f, input, e);
	}
	if (!S_ISREG(st.st_mode))
		return look_at_stream(f, input, fd, &st);
	status = !newest || newest->replaced || !identity_is_inode(&newest->identity, &st)
			 ? 1
			 : look_at_file(f, newest, fd, &st);
	if (status)
		take_successor(f, input, fd, &st);
	else
		close(fd);
	return 0;
}

static int look_at_path(struct follow *f, uint32_t input, struct error *e)
{
	const char *path = f->o.inputs[input];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return look_at_open(f, input, fd, e);
	if (!f->o.follows || (errno != ENOENT && errno != ENOTDIR))
		return error_errno(e, "can't open %s", path);
	miss_path(f, input);
	return 0;
}

/* ---- a directory ---- */

static bool ends_with(const char *name, const char *end)
{
	size_t len = strlen(name), n = strlen(end);

	return len >= n && strcmp(name + len - n, end) == 0;
}

/* What editors, downloads and careful writers call a file that isn't done. */
static bool is_temporary(const char *name)
{
	static const char *const ends[] = {"~", ".tmp", ".temp", ".part", ".partial", ".swp",
		".swx", ".crdownload", ".filepart"};

	if (*name == '.' || *name == '#')
		return true;
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		if (ends_with(name, ends[i]))
			return true;
	}
	return false;
}

static bool is_own(const struct follow *f, const struct stat *st)
{
	uint64_t mixed = (st->st_ino ^ st->st_dev << 32) * 0x9e3779b97f4a7c15u;

	return (mixed >> 32) % f->o.subtasks == f->o.subtask;
}

/* A directory's files when its reading began, by inode: so that reading it takes no longer than
 * n log n. */
struct directory_index {
	struct followed **files;
	size_t len;
	size_t known; /* all of follow's at that time */
};

static int by_inode(const void *a, const void *b)
{
	const struct file_identity *x = &(*(struct followed *const *)a)->identity;
	const struct file_identity *y = &(*(struct followed *const *)b)->identity;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	return x->device < y->device ? -1 : x->device > y->device;
}

static void index_directory(const struct follow *f, uint32_t input, struct directory_index *out)
{
	*out = (struct directory_index){.known = f->files_len};
	out->files = mem_alloc((f->files_len + 1) * sizeof *out->files);
	for (size_t i = 0; i < f->files_len; i++) {
		if (f->files[i]->input == input && !f->files[i]->replaced && !f->files[i]->removed)
			out->files[out->len++] = f->files[i];
	}
	if (out->len)
		qsort(out->files, out->len, sizeof *out->files, by_inode);
}

/* index NULL: one name was told of. */
static struct followed *find_in_directory(const struct follow *f,
	const struct directory_index *index, uint32_t input, const struct stat *st)
{
	struct followed wanted = {.input = input}, *key = &wanted, **found;

	identity_take(st, &wanted.identity);
	if (index) {
		found = index->len ? bsearch(&key, index->files, index->len, sizeof *index->files,
					     by_inode)
				   : NULL;
		return found && !(*found)->replaced && !(*found)->removed ? *found : NULL;
	}
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];

		if (x->input == input && !x->replaced && !x->removed &&
			identity_is_inode(&x->identity, st))
			return x;
	}
	return NULL;
}

/* Among the first n. */
static struct followed *find_path(
	const struct follow *f, size_t n, uint32_t input, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		struct followed *x = f->files[i];

		if (x->input == input && !x->replaced && !x->removed && strcmp(x->path, path) == 0)
			return x;
	}
	return NULL;
}

/* A file that is known, perhaps under another name.  1: it has begun anew. */
static int meet_again(struct follow *f, struct followed *x, const char *path, const struct stat *st)
{
	int fd, status;

	x->scan = f->scans;
	if (strcmp(x->path, path) != 0) {
		mem_free(x->path);
		x->path = mem_strdup(path);
	}
	if (x->is_restored)
		take_up(f, x);
	else if (x->bytes == (uint64_t)st->st_size && x->changed_us == changed_us(st))
		return 0;
	fd = x->fd < 0 ? open(path, O_RDONLY | O_CLOEXEC) : x->fd;
	if (fd < 0)
		return 0;
	status = look_at_file(f, x, fd, st);
	if (fd != x->fd)
		close(fd);
	return status;
}

static int look_at_entry(struct follow *f, const struct directory_index *index, uint32_t input,
	const char *path, struct error *e)
{
	bool is_first = !f->is_restored && !f->inputs[input].looked_us;
	struct followed *x, *other;
	struct stat st;
	int status;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || !is_own(f, &st))
		return 0;
	x = find_in_directory(f, index, input, &st);
	status = x ? meet_again(f, x, path, &st) : 1;
	if (!status)
		return status;
	other = find_path(f, index ? index->known : f->files_len, input, path);
	if (other) {
		replace(f, other);
		other->is_old = true;
	}
	x = add_file(f, input, path, -1, &st);
	x->scan = f->scans;
	if (!is_first || !f->o.from_end)
		return 0;
	status = begin_at_end(x, e);
	x->dirty = !x->over;
	f->inputs[input].files_len -= x->over;
	return status;
}

struct entry {
	char *path;
	int64_t changed_us;
};

static int by_appearance(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->changed_us != y->changed_us)
		return x->changed_us < y->changed_us ? -1 : 1;
	return strverscmp(x->path, y->path); /* written within one tick of the kernel's clock */
}

static struct entry *list_directory(DIR *d, const char *path, size_t *len)
{
	bool has_slash = ends_with(path, "/");
	struct entry *entries = NULL;
	struct dirent *entry;
	size_t cap = 0;

	*len = 0;
	while ((entry = readdir(d))) {
		struct stat st;

		if (is_temporary(entry->d_name) || fstatat(dirfd(d), entry->d_name, &st, 0) < 0)
			continue;
		MEM_GROW(entries, cap, *len + 1);
		entries[(*len)++] = (struct entry){
			mem_printf("%s%s%s", path, has_slash ? "" : "/", entry->d_name),
			changed_us(&st)};
	}
	if (*len)
		qsort(entries, *len, sizeof *entries, by_appearance);
	return entries;
}

/* Those that weren't seen are no longer in it. */
static void miss_others(struct follow *f, uint32_t input)
{
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];

		if (x->input != input || x->scan == f->scans || x->replaced || x->is_restored)
			continue;
		replace(f, x);
		x->is_old = true;
		if (x->over)
			drop(f, x);
	}
}

static int look_at_directory(struct follow *f, uint32_t input, struct error *e)
{
	struct follow_input *in = &f->inputs[input];
	const char *path = f->o.inputs[input];
	DIR *d = opendir(path);
	struct directory_index index;
	struct entry *entries;
	struct stat st;
	size_t len;
	int status = 0;

	if (!d && errno != ENOENT && errno != ENOTDIR)
		return error_errno(e, "can't read %s", path);
	if (d && fstat(dirfd(d), &st) == 0 && !identity_is_inode(&in->directory, &st)) {
		identity_take(&st, &in->directory);
		in->watch = watch_directory(&f->watch, path, true);
		if (f->o.merges)
			in->partition->over = true; /* each of its files has its own */
	}
	f->scans++;
	index_directory(f, input, &index);
	entries = d ? list_directory(d, path, &len) : NULL;
	for (size_t i = 0; d && i < len; i++) {
		if (!status)
			status = look_at_entry(f, &index, input, entries[i].path, e);
		mem_free(entries[i].path);
	}
	mem_free(entries);
	mem_free(index.files);
	if (d)
		closedir(d);
	if (!status)
		miss_others(f, input);
	return status;
}

/* ---- looking ---- */

static int64_t look_every_us(const struct follow *f, const struct follow_input *in)
{
	return in->kind == FOLLOW_DIRECTORY && in->watch >= 0 ? SCAN_US : f->look_us;
}

static int look(struct follow *f, uint32_t input, struct error *e)
{
	struct follow_input *in = &f->inputs[input];
	int status = 0;

	in->look = false;
	switch (in->kind) {
	case FOLLOW_FOREIGN:
	case FOLLOW_STREAM: break;
	case FOLLOW_UNKNOWN:
	case FOLLOW_FILE: status = look_at_path(f, input, e); break;
	case FOLLOW_DIRECTORY: status = look_at_directory(f, input, e); break;
	}
	in->looked_us = f->now_us;
	return status;
}

/* Where the path's name comes and goes. */
static void watch_parent(struct follow *f, uint32_t input)
{
	const char *path = f->o.inputs[input], *slash = strrchr(path, '/');
	char *parent = slash ? mem_strndup(path, slash == path ? 1 : (size_t)(slash - path))
			     : mem_strdup(".");

	f->inputs[input].watch = watch_directory(&f->watch, parent, false);
	mem_free(parent);
}

static bool is_name_of(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, name) == 0;
}

static int hear_of_entry(
	struct follow *f, uint32_t input, const struct watch_event *event, struct error *e)
{
	const char *directory = f->o.inputs[input];
	struct followed *x;
	int status = 0;
	char *path;

	if (!*event->name || is_temporary(event->name)) {
		f->inputs[input].look |= event->gone || event->appeared;
		return 0;
	}
	path = mem_printf("%s%s%s", directory, ends_with(directory, "/") ? "" : "/", event->name);
	if (event->gone)
		f->inputs[input].look = true; /* moved within it, or away */
	else
		status = look_at_entry(f, NULL, input, path, e);
	x = event->closed && !status ? find_path(f, f->files_len, input, path) : NULL;
	if (x) {
		x->closed = true;
		x->dirty = !x->over;
	}
	mem_free(path);
	return status;
}

static int hear(void *context, const struct watch_event *event, struct error *e)
{
	struct follow *f = context;
	bool lost = event->number < 0 && !event->stream;

	if (event->stream) {
		((struct followed *)event->stream)->dirty = true;
		return 0;
	}
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];

		if (!lost && (x->watch != event->number || *event->name))
			continue;
		x->dirty |= !x->over && !x->is_stream;
		x->closed |= event->closed;
		f->inputs[x->input].look = true; /* it may have been cut to nothing */
	}
	for (uint32_t i = 0; i < f->o.inputs_len; i++) {
		struct follow_input *in = &f->inputs[i];

		if (lost)
			in->look = true;
		if (in->watch != event->number)
			continue;
		if (in->kind != FOLLOW_DIRECTORY)
			in->look |= is_name_of(f->o.inputs[i], event->name);
		else if (hear_of_entry(f, i, event, e) < 0)
			return -1;
		if (event->gone && !*event->name)
			in->watch = -1;
	}
	return 0;
}

/* Of what is looked for by polling: whether the open file has grown. */
static void look_for_growth(struct follow *f)
{
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];
		struct stat st;

		if (x->due_us && x->due_us <= f->now_us) {
			x->dirty = !x->over;
			x->due_us = 0;
		}
		if (x->dirty || x->over || x->is_stream || x->fd < 0 || x->watch >= 0)
			continue;
		if (f->inputs[x->input].kind == FOLLOW_DIRECTORY && f->inputs[x->input].watch >= 0)
			continue;
		x->dirty = fstat(x->fd, &st) == 0 && (uint64_t)st.st_size > bytes_read(x);
	}
}

int follow_collect(struct follow *f, int64_t mono_us, struct error *e)
{
	f->now_us = mono_us;
	forget_dropped(f);
	if (watch_collect(&f->watch, hear, f, e) < 0)
		return -1;
	for (uint32_t i = 0; f->o.follows && i < f->o.inputs_len; i++) {
		struct follow_input *in = &f->inputs[i];

		if ((in->look || mono_us - in->looked_us >= look_every_us(f, in)) &&
			look(f, i, e) < 0)
			return -1;
	}
	look_for_growth(f);
	return 0;
}

void follow_look(struct follow *f)
{
	for (uint32_t i = 0; i < f->o.inputs_len; i++)
		f->inputs[i].look = true;
}

/* ---- starting ---- */

/* Every input may be a file that is open. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* A generation of a path that a snapshot tells of: it may be called otherwise by now. */
static int find_again(struct follow *f, struct followed *x, struct error *e)
{
	struct siblings beside;
	const struct sibling *found;
	struct stat st;

	siblings_list(&beside, f->o.inputs[x->input]);
	found = siblings_find(&beside, &x->identity);
	if (!found)
		found = siblings_find_copy(
			&beside, &x->identity, (struct copied){x->range.start, x->changed_us});
	if (found) {
		mem_free(x->path);
		x->path = mem_strdup(found->path);
		x->fd = open(found->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	}
	siblings_clear(&beside);
	if (x->fd < 0 || fstat(x->fd, &st) < 0)
		return lose(f, x, e);
	x->identity.device = st.st_dev;
	x->identity.inode = st.st_ino;
	x->bytes = (uint64_t)st.st_size;
	x->changed_us = changed_us(&st);
	if (x->bytes < x->range.start)
		return lose(f, x, e);
	take_up(f, x);
	x->watch = watch_file(&f->watch, x->fd);
	return 0;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Files of a snapshot, before anything new is looked at. */
static int start_restored(struct follow *f, struct error *e)
{
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];
		struct follow_input *in = input_of(f, x);

		if (in->kind == FOLLOW_FOREIGN) {
			x->removed = true;
			continue;
		}
		if (f->o.follows && is_directory(f->o.inputs[x->input]))
			continue; /* it is met when the directory is read */
		if (f->o.follows && !x->is_stream) {
			if (find_again(f, x, e) < 0)
				return -1;
		} else if (x->over) {
			take_up(f, x);
		}
	}
	for (size_t i = 0; i < f->files_len; i++) { /* all but the newest were replaced */
		struct followed *x = f->files[i];

		if (f->o.follows && !x->is_restored && newest_of(f, x->input) != x) {
			replace(f, x);
			x->is_old = true;
		}
	}
	forget_dropped(f);
	return 0;
}

/* Without --follow a path is the same file as ever: what was over stays so, what wasn't goes on. */
static int start_bounded(struct follow *f, uint32_t input, struct error *e)
{
	struct followed *known = newest_of(f, input);
	struct records_range range = {.input = input, .end = RECORDS_TO_END};

	if (known && known->over)
		return 0;
	if (known) {
		range = known->range;
		restore_time(f, f->inputs[input].partition, known);
		known->over = known->removed = true;
	}
	if (look(f, input, e) < 0)
		return -1;
	known = newest_of(f, input);
	if (known && !known->is_stream)
		known->range = range;
	return 0;
}

static int start_input(struct follow *f, uint32_t input, struct error *e)
{
	struct follow_input *in = &f->inputs[input];
	const char *path = f->o.inputs[input];
	struct followed *known = newest_of(f, input), *x;
	struct stat st;

	if (in->kind == FOLLOW_FOREIGN)
		return 0;
	if (strcmp(path, "-") == 0) {
		if (known)
			drop(f, known);
		if (fstat(STDIN_FILENO, &st) < 0)
			return error_errno(e, "can't read standard input");
		in->kind = FOLLOW_STREAM;
		add_stream(f, input, STDIN_FILENO, &st);
		return 0;
	}
	if (!f->o.follows)
		return start_bounded(f, input, e);
	watch_parent(f, input);
	if (look(f, input, e) < 0)
		return -1;
	x = newest_of(f, input);
	if (f->is_restored || !f->o.from_end || !x || x->is_stream || in->kind == FOLLOW_DIRECTORY)
		return 0;
	if (begin_at_end(x, e) < 0)
		return -1;
	in->files_len -= x->over;
	return 0;
}

/* Of a directory's files that a snapshot tells of, those that nobody met: with several subtasks,
 * others' too. */
static int settle_restored(struct follow *f, struct error *e)
{
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];
		struct stat st = {.st_dev = x->identity.device, .st_ino = x->identity.inode};

		if (!x->is_restored || x->removed)
			continue;
		if (!is_own(f, &st))
			x->removed = true;
		else if (lose(f, x, e) < 0)
			return -1;
	}
	forget_dropped(f);
	return 0;
}

int follow_start(struct follow *f, const struct follow_options *o, struct timeline *t,
	int64_t mono_us, struct error *e)
{
	f->o = *o;
	f->timeline = t;
	f->now_us = mono_us;
	f->inputs = mem_zero(o->inputs_len * sizeof *f->inputs);
	raise_descriptors();
	if (watch_open(&f->watch, o->polls || !o->follows, e) < 0)
		return -1;
	f->is_open = true;
	f->look_us = f->watch.inotify < 0 ? FOLLOW_POLL_US : FOLLOW_LOOK_US;
	for (uint32_t i = 0; i < o->inputs_len; i++) {
		struct follow_input *in = &f->inputs[i];
		bool is_shared = o->follows && is_directory(o->inputs[i]);

		in->watch = -1;
		if (!is_shared && i % o->subtasks != o->subtask)
			in->kind = FOLLOW_FOREIGN;
		else if (i && !o->follows && !o->merges)
			in->partition = f->inputs[0].partition;
		else
			in->partition = timeline_add(t, mono_us);
	}
	if (start_restored(f, e) < 0)
		return -1;
	for (uint32_t i = 0; i < o->inputs_len; i++) {
		if (start_input(f, i, e) < 0)
			return -1;
	}
	return settle_restored(f, e);
}

/* ---- reading ---- */

/* At its end, with nothing held back: what comes behind it needn't wait. */
static bool lingers(const struct followed *x)
{
	return x->replaced && !x->is_old && !x->dirty &&
	       !(x->records && records_holds_part(x->records));
}

static bool may_read(const struct follow *f, size_t i)
{
	const struct followed *x = f->files[i];
	bool in_order = !f->o.follows && !f->o.merges;

	if (x->over || !x->dirty)
		return false;
	if (!in_order &&
		(f->inputs[x->input].kind == FOLLOW_DIRECTORY || f->inputs[x->input].files_len < 2))
		return true;
	for (size_t k = 0; k < i; k++) {
		const struct followed *y = f->files[k];

		if ((in_order || y->input == x->input) && !y->over && !lingers(y))
			return false;
	}
	return true;
}

static bool is_before(const struct partition *a, const struct partition *b)
{
	return a->greatest_us != b->greatest_us ? a->greatest_us < b->greatest_us
						: a->turn < b->turn;
}

struct followed *follow_next(struct follow *f)
{
	struct followed *next = NULL;

	for (size_t i = 0; i < f->files_len; i++) {
		if ((!next || is_before(f->files[i]->partition, next->partition)) && may_read(f, i))
			next = f->files[i];
	}
	if (next)
		next->turn = next->partition->turn = ++f->turns;
	return next;
}

int follow_open(struct follow *f, struct followed *x, struct error *e)
{
	struct stat st;

	if (x->fd >= 0)
		return 0;
	x->fd = open(x->path, O_RDONLY | O_CLOEXEC);
	if (x->fd < 0 && errno != ENOENT)
		return error_errno(e, "can't open %s", x->path);
	if (x->fd >= 0 && (fstat(x->fd, &st) < 0 || !identity_is_inode(&x->identity, &st))) {
		close(x->fd);
		x->fd = -1;
	}
	if (x->fd >= 0) {
		identity_extend(&x->identity, x->fd);
		return 0;
	}
	if (x->replaced) { /* deleted before it was read */
		if (x->bytes > x->range.start)
			stage_warn(f->o.stage, "%s is gone before it was read to its end", x->name);
		drop(f, x);
	} else {
		x->dirty = false;
		f->inputs[x->input].look = true; /* renamed */
	}
	return 1;
}

/* Of the files of directories only so many stay open: those that had something last. */
static void close_eldest(struct follow *f)
{
	struct followed *eldest = NULL;

	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];

		if (x->records && !x->dirty && !x->replaced &&
			f->inputs[x->input].kind == FOLLOW_DIRECTORY &&
			(!eldest || x->turn < eldest->turn))
			eldest = x;
	}
	if (eldest)
		close_file(f, eldest);
}

void follow_opened(struct follow *f, struct followed *x)
{
	f->open_len += f->inputs[x->input].kind == FOLLOW_DIRECTORY;
}

bool follow_rest(struct follow *f, struct followed *x)
{
	const struct followed *newest = newest_of(f, x->input);
	int64_t linger_us = x->replaced_us + FOLLOW_LINGER_US;

	x->dirty = false;
	if (f->open_len > FOLLOW_OPEN_MAX)
		close_eldest(f);
	if (x->is_cut)
		return true;
	if (!x->replaced || x->is_stream)
		return false;
	if (x->is_old)
		return true;
	if (newest->bytes && f->now_us >= linger_us)
		return true;
	x->due_us = f->now_us < linger_us ? linger_us : f->now_us + FOLLOW_LINGER_US;
	return false;
}

void follow_close(struct follow *f, struct followed *x)
{
	if (!x->records)
		return;
	if (!records_left(x->records, 0, &x->range))
		x->range.start = x->range.end = x->bytes;
	records_close(x->records);
	x->records = NULL;
	if (f->inputs[x->input].kind == FOLLOW_DIRECTORY)
		f->open_len--;
}

/* A named pipe may get another writer. */
static bool opens_again(const struct follow *f, const struct followed *x)
{
	struct stat st;

	return f->o.follows && x->is_stream && lstat(x->path, &st) == 0 && S_ISFIFO(st.st_mode);
}

int follow_end(struct follow *f, struct followed *x, struct error *e)
{
	struct follow_input *in = input_of(f, x);

	close_file(f, x);
	x->range.end = RECORDS_TO_END;
	x->over = true;
	x->dirty = false;
	in->files_len--;
	if (opens_again(f, x)) {
		x->removed = true;
		return look_at_path(f, x->input, e);
	}
	x->removed = x->replaced;
	if (has_own_partition(f, x) || (f->o.follows ? x->is_stream : f->o.merges))
		x->partition->over = true;
	return 0;
}

bool follow_is_over(const struct follow *f)
{
	for (uint32_t i = 0; i < f->o.inputs_len; i++) {
		const struct follow_input *in = &f->inputs[i];

		if (in->kind == FOLLOW_FOREIGN)
			continue;
		if (in->files_len || (f->o.follows && in->kind != FOLLOW_STREAM))
			return false;
	}
	return true;
}

int follow_fd(const struct follow *f)
{
	return f->watch.epoll;
}

int64_t follow_wait_us(const struct follow *f, int64_t mono_us)
{
	int64_t least = -1;

	for (size_t i = 0; i < f->files_len; i++) {
		int64_t left = f->files[i]->due_us > mono_us ? f->files[i]->due_us - mono_us : 0;

		if (f->files[i]->due_us && (least < 0 || left < least))
			least = left;
	}
	for (uint32_t i = 0; f->o.follows && i < f->o.inputs_len; i++) {
		int64_t left = f->inputs[i].looked_us + look_every_us(f, &f->inputs[i]) - mono_us;

		left = left < 0 ? 0 : left;
		if (f->inputs[i].kind != FOLLOW_FOREIGN && (least < 0 || left < least))
			least = left;
	}
	return least;
}
