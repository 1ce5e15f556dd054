#include "cmd/ssource/follow_parts.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool ends_with(const char *name, const char *end)
{
	size_t len = strlen(name), n = strlen(end);

	return len >= n && strcmp(name + len - n, end) == 0;
}

/* What editors, downloads and careful writers call a file that isn't done. */
bool follow_is_temporary(const char *name)
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

bool follow_is_own(const struct follow *f, const struct stat *st)
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
struct followed *follow_find_path(
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
		follow_take_up(f, x);
	else if (x->bytes == (uint64_t)st->st_size && x->changed_us == follow_changed_us(st))
		return 0;
	fd = x->fd < 0 ? open(path, O_RDONLY | O_CLOEXEC) : x->fd;
	if (fd < 0)
		return 0;
	status = follow_look_at_file(f, x, fd, st);
	if (fd != x->fd)
		close(fd);
	return status;
}

int follow_look_at_entry(struct follow *f, const struct directory_index *index, uint32_t input,
	const char *path, struct error *e)
{
	bool is_first = !f->is_restored && !f->inputs[input].looked_us;
	struct followed *x, *other;
	struct stat st;
	int status;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || !follow_is_own(f, &st))
		return 0;
	x = find_in_directory(f, index, input, &st);
	status = x ? meet_again(f, x, path, &st) : 1;
	if (!status)
		return status;
	other = follow_find_path(f, index ? index->known : f->files_len, input, path);
	if (other) {
		follow_replace(f, other);
		other->is_old = true;
	}
	x = follow_add_file(f, input, path, -1, &st);
	x->scan = f->scans;
	if (!is_first || !f->o.from_end)
		return 0;
	status = follow_begin_at_end(x, e);
	x->dirty = !x->over;
	f->inputs[input].files_len -= x->over;
	return status;
}

struct entry {
	char *path;
	int64_t changed_us;
	int64_t came_us; /* it was created, renamed, or changed otherwise */
};

static int by_appearance(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->changed_us != y->changed_us)
		return x->changed_us < y->changed_us ? -1 : 1;
	return strverscmp(x->path, y->path); /* written within one tick of the kernel's clock */
}

char *follow_path_in(const char *directory, const char *name)
{
	return mem_printf("%s%s%s", directory, ends_with(directory, "/") ? "" : "/", name);
}

static struct entry *list_directory(DIR *d, const char *path, size_t *len)
{
	struct entry *entries = NULL;
	struct dirent *entry;
	size_t cap = 0;

	*len = 0;
	while ((entry = readdir(d))) {
		struct stat st;

		if (follow_is_temporary(entry->d_name) ||
			fstatat(dirfd(d), entry->d_name, &st, 0) < 0)
			continue;
		MEM_GROW(entries, cap, *len + 1);
		entries[(*len)++] = (struct entry){follow_path_in(path, entry->d_name),
			follow_changed_us(&st),
			st.st_ctim.tv_sec * 1000000 + st.st_ctim.tv_nsec / 1000};
	}
	if (*len)
		qsort(entries, *len, sizeof *entries, by_appearance);
	return entries;
}

/* What comes while a directory is read for the first time is read in no order, if at all; but what
 * is told of it is in order.  So that is left for then, or else for a second look. */
static int64_t first_look_until_us(const struct follow *f, const struct follow_input *in)
{
	if (in->looked_us || in->watch < 0 || f->o.from_end || f->is_restored)
		return INT64_MAX;
	return clock_wall_us();
}

/* Those that weren't seen are no longer in it. */
static void miss_others(struct follow *f, uint32_t input)
{
	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];

		if (x->input != input || x->scan == f->scans || x->replaced || x->is_restored)
			continue;
		follow_replace(f, x);
		x->is_old = true;
		if (x->over)
			follow_drop(f, x);
	}
}

/* It may be another directory of the same name than before. */
static void watch_contents(struct follow *f, uint32_t input, int fd)
{
	struct follow_input *in = &f->inputs[input];
	struct stat st;

	if (fstat(fd, &st) < 0 || identity_is_inode(&in->directory, &st))
		return;
	identity_take(&st, &in->directory);
	in->watch = watch_directory(&f->watch, f->o.inputs[input], true);
	if (f->o.merges)
		in->partition->over = true; /* each of its files has its own */
}

int follow_look_at_directory(struct follow *f, uint32_t input, struct error *e)
{
	struct follow_input *in = &f->inputs[input];
	const char *path = f->o.inputs[input];
	DIR *d = opendir(path);
	int64_t until_us;
	struct directory_index index;
	struct entry *entries;
	size_t len = 0;
	int status = 0;

	if (!d && errno != ENOENT && errno != ENOTDIR)
		return error_errno(e, "can't read %s", path);
	if (d)
		watch_contents(f, input, dirfd(d));
	f->scans++;
	index_directory(f, input, &index);
	until_us = first_look_until_us(f, in);
	entries = d ? list_directory(d, path, &len) : NULL;
	for (size_t i = 0; i < len; i++) {
		if (entries[i].came_us > until_us)
			in->look = true;
		else if (!status)
			status = follow_look_at_entry(f, &index, input, entries[i].path, e);
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
