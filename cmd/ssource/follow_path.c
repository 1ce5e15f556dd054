#include "cmd/ssource/follow_parts.h"

#include "libcore/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Those that came and went between the old one and what has the path now, oldest first, and open.
 * false: they were renamed meanwhile. */
static bool open_generations(struct followed *old, const char *path, const struct stat *next,
	struct siblings *beside, int **fds)
{
	struct sibling was = {.device = old->identity.device,
		.inode = old->identity.inode,
		.changed_us = old->changed_us,
		.number = -1};
	const struct sibling *found;
	bool are_open = true;
	struct stat st;

	if (old->fd >= 0 && fstat(old->fd, &st) == 0)
		was.changed_us = follow_changed_us(&st); /* what it was compressed to isn't younger */
	siblings_list(beside, path);
	found = siblings_find(beside, &old->identity);
	if (found) {
		was = *found;
		mem_free(old->path);
		old->path = mem_strdup(found->path);
	}
	siblings_between(beside, was, next);
	*fds = mem_zero(beside->len * sizeof **fds);
	for (size_t i = 0; i < beside->len; i++) {
		(*fds)[i] = sibling_open(&beside->items[i]);
		are_open &= (*fds)[i] >= 0 || (errno != ESTALE && errno != ENOENT);
	}
	return are_open;
}

static void close_generations(struct siblings *beside, int *fds)
{
	for (size_t i = 0; i < beside->len; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	mem_free(fds);
	siblings_clear(beside);
}

/* Reads the generations between, too; the last of them, or NULL.  next: what has the path now, or
 * NULL. */
static struct followed *take_generations(
	struct follow *f, struct followed *old, const char *path, const struct stat *next)
{
	struct followed *last = NULL;
	struct siblings beside;
	int *fds;

	for (int i = 0; !open_generations(old, path, next, &beside, &fds) && i < FOLLOW_RENAMED_TRIES; i++)
		close_generations(&beside, fds);
	for (size_t i = 0; i < beside.len; i++) {
		struct stat st;

		if (fds[i] < 0 || fstat(fds[i], &st) < 0)
			continue;
		last = follow_add_file(f, old->input, beside.items[i].path, fds[i], &st);
		fds[i] = -1; /* it has it */
		mem_free(last->name);
		last->name = mem_strdup(path);
		follow_replace(f, last);
		last->is_old = true;
	}
	close_generations(&beside, fds);
	return last;
}

/* Nothing has the path: it was renamed, and so may others have been since.  The last of them may
 * still be written to. */
static void miss_path(struct follow *f, uint32_t input)
{
	struct followed *newest = follow_newest(f, input), *last;

	if (!newest || newest->is_stream)
		return;
	last = take_generations(f, newest, f->o.inputs[input], NULL);
	if (!last)
		return;
	follow_replace(f, newest);
	newest->is_old = true;
	last->replaced = last->is_old = false;
}

/* Another file has the path.  old: what had it before, or a copy of it; NULL: nothing that is still
 * there. */
static void take_successor(
	struct follow *f, uint32_t input, struct followed *old, int fd, const struct stat *st)
{
	const char *path = f->o.inputs[input];

	for (size_t i = 0; i < f->files_len; i++) {
		if (f->files[i]->input == input && f->files[i]->replaced)
			f->files[i]->is_old = true;
	}
	if (old) {
		struct followed *last;

		follow_replace(f, old);
		last = take_generations(f, old, path, st);
		if (last) { /* it may still be written to */
			old->is_old = true;
			last->is_old = false;
		}
		if (old->over)
			follow_drop(f, old);
	}
	follow_add_file(f, input, path, fd, st);
	f->inputs[input].kind = FOLLOW_FILE;
}

static int look_at_stream(struct follow *f, uint32_t input, int fd, const struct stat *st)
{
	const struct followed *newest = follow_newest(f, input);

	if (newest && !newest->over) {
		close(fd);
		return 0;
	}
	f->inputs[input].kind = FOLLOW_STREAM;
	follow_add_stream(f, input, f->o.inputs[input], fd, st);
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
	struct followed *newest = follow_newest(f, input);
	struct stat st;

	if (fstat(fd, &st) < 0) {
		close(fd);
		return error_errno(e, "can't read %s", path);
	}
	if (S_ISDIR(st.st_mode)) {
		close(fd);
		if (!f->o.follows)
			return refuse_directory(f, path, e);
		f->inputs[input].kind = FOLLOW_DIRECTORY;
		return follow_look_at_directory(f, input, e);
	}
	if (!S_ISREG(st.st_mode))
		return look_at_stream(f, input, fd, &st);
	if (newest && newest->replaced)
		newest = NULL;
	if (newest && identity_is_inode(&newest->identity, &st)) {
		if (!follow_look_at_file(f, newest, fd, &st)) {
			close(fd);
			return 0;
		}
		if (newest->is_cut || newest->removed)
			newest = NULL;
	}
	take_successor(f, input, newest, fd, &st);
	return 0;
}

int follow_look_at_path(struct follow *f, uint32_t input, struct error *e)
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
