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
	uint64_t entry_device, entry_inode; /* what had the name that is looked at, when it was read */
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
	struct stat opened;
	int fd, status = 0;

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
	if (fstat(fd, &opened) == 0 && identity_is_inode(&x->identity, &opened))
		status = follow_look_at_file(f, x, fd, st);
	else
		f->inputs[x->input].look = true; /* renamed since */
	if (fd != x->fd)
		close(fd);
	return status;
}

char *follow_path_in(const char *directory, const char *name)
{
	return mem_printf("%s%s%s", directory, ends_with(directory, "/") ? "" : "/", name);
}

/* A file that has lost its name to another, or wasn't met: it may be called otherwise by now. */
static bool is_elsewhere(const struct siblings *inside, struct followed *x)
{
	const struct sibling *found = siblings_find(inside, &x->identity);
	const char *slash = found ? strrchr(found->path, '/') : NULL;

	if (!found || follow_is_temporary(slash + 1))
		return false;
	mem_free(x->path);
	x->path = mem_strdup(found->path);
	return true;
}

static void list_inside(const struct follow *f, uint32_t input, struct siblings *out)
{
	char *all = follow_path_in(f->o.inputs[input], "");

	siblings_list(out, all);
	mem_free(all);
}

/* Another has its name. */
static void lose_name(struct follow *f, struct followed *x)
{
	struct siblings inside;

	list_inside(f, x->input, &inside);
	if (!is_elsewhere(&inside, x)) {
		follow_replace(f, x);
		x->is_old = true;
	}
	siblings_clear(&inside);
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
	if (index && (st.st_dev != index->entry_device || st.st_ino != index->entry_inode)) {
		f->inputs[input].look = true; /* renamed since: it may have been looked at already */
		return 0;
	}
	x = find_in_directory(f, index, input, &st);
	status = x ? meet_again(f, x, path, &st) : 1;
	if (!status)
		return status;
	other = follow_find_path(f, index ? index->known : f->files_len, input, path);
	if (other)
		lose_name(f, other);
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
	uint64_t device, inode;
	int64_t changed_us;
	int64_t came_us; /* it was created, renamed, or changed otherwise */
};

static int by_file(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	return x->device < y->device ? -1 : x->device > y->device;
}

/* A file that is renamed meanwhile is met twice. */
static size_t drop_doubles(struct entry *entries, size_t len)
{
	size_t kept = 0;

	if (len)
		qsort(entries, len, sizeof *entries, by_file);
	for (size_t i = 0; i < len; i++) {
		if (kept && by_file(&entries[kept - 1], &entries[i]) == 0)
			mem_free(entries[i].path);
		else
			entries[kept++] = entries[i];
	}
	return kept;
}

static int by_appearance(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->changed_us != y->changed_us)
		return x->changed_us < y->changed_us ? -1 : 1;
	return strverscmp(x->path, y->path); /* written within one tick of the kernel's clock */
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
		entries[(*len)++] = (struct entry){follow_path_in(path, entry->d_name), st.st_dev,
			st.st_ino, follow_changed_us(&st),
			st.st_ctim.tv_sec * 1000000 + st.st_ctim.tv_nsec / 1000};
	}
	*len = drop_doubles(entries, *len);
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

/* Those that weren't met: renamed while the directory was read, or no longer in it.  What a snapshot
 * tells of is settled when all have been looked at. */
static void miss_others(struct follow *f, uint32_t input)
{
	struct siblings inside = {.items = NULL};
	bool is_listed = false;

	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];
		struct stat st = {.st_dev = x->identity.device, .st_ino = x->identity.inode};

		if (x->input != input || x->scan == f->scans || x->replaced || !follow_is_own(f, &st))
			continue;
		if (!is_listed)
			list_inside(f, input, &inside);
		is_listed = true;
		if (is_elsewhere(&inside, x)) {
			x->scan = f->scans;
			if (x->is_restored)
				follow_take_up(f, x);
		} else if (!x->is_restored) {
			follow_replace(f, x);
			x->is_old = true;
			if (x->over)
				follow_drop(f, x);
		}
	}
	siblings_clear(&inside);
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
		index.entry_device = entries[i].device;
		index.entry_inode = entries[i].inode;
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
