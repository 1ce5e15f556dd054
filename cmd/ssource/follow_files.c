#include "cmd/ssource/follow_parts.h"

#include "libcore/base/memory.h"
#include "libcore/stage/operator.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { END_BYTES = 16 << 10 };

static void free_file(struct followed *x)
{
	records_close(x->records);
	records_close(x->opening);
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

struct follow_input *follow_input_of(struct follow *f, const struct followed *x)
{
	return &f->inputs[x->input];
}

bool follow_has_own_partition(const struct follow *f, const struct followed *x)
{
	enum follow_kind kind = f->inputs[x->input].kind;

	return kind == FOLLOW_SOCKET || (f->o.merges && kind == FOLLOW_DIRECTORY);
}

void follow_restore_time(const struct follow *f, struct partition *p, const struct followed *x)
{
	if (x->greatest_us == WATERMARK_NONE)
		return;
	if (x->greatest_us > p->greatest_us)
		p->greatest_us = x->greatest_us;
	p->turn = x->turn;
	p->active_us = f->now_us - x->silent_us;
}

/* It is one of those that are read. */
void follow_take_up(struct follow *f, struct followed *x)
{
	x->partition = follow_has_own_partition(f, x) ? timeline_add(f->timeline, f->now_us)
						      : follow_input_of(f, x)->partition;
	follow_restore_time(f, x->partition, x);
	x->is_restored = false;
	x->dirty = !x->over;
	follow_input_of(f, x)->files_len += !x->over;
}

int64_t follow_changed_us(const struct stat *st)
{
	return st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
}

struct followed *follow_add_file(
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
		x->changed_us = follow_changed_us(st);
	}
	follow_take_up(f, x);
	if (fd >= 0 && !x->is_stream) {
		identity_extend(&x->identity, fd);
		x->watch = f->o.follows ? watch_file(&f->watch, fd) : -1;
	}
	return x;
}

struct followed *follow_add_stream(
	struct follow *f, uint32_t input, const char *name, int fd, const struct stat *st)
{
	struct followed *x = follow_add_file(f, input, name, fd, st);

	x->is_stream = true; /* also standard input from a file */
	x->dirty = !watch_stream(&f->watch, fd, &x->dirty);
	return x;
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
int follow_begin_at_end(struct followed *x, struct error *e)
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

struct followed *follow_newest(const struct follow *f, uint32_t input)
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

void follow_close_file(struct follow *f, struct followed *x)
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

void follow_drop(struct follow *f, struct followed *x)
{
	follow_close_file(f, x);
	if (!x->over && x->partition)
		follow_input_of(f, x)->files_len--;
	x->over = x->removed = true;
	x->dirty = false;
}

/* The list without those that were dropped. */
void follow_forget_dropped(struct follow *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->files_len; i++) {
		struct followed *x = f->files[i];

		if (!x->removed) {
			f->files[kept++] = x;
			continue;
		}
		if (x->partition && x->partition != follow_input_of(f, x)->partition)
			timeline_remove(f->timeline, x->partition);
		free_file(x);
	}
	f->files_len = kept;
}

void follow_replace(struct follow *f, struct followed *x)
{
	x->replaced_us = x->replaced ? x->replaced_us : f->now_us;
	x->replaced = true;
	x->dirty = !x->over;
}

/* What was to be read and isn't there. */
int follow_lose(struct follow *f, struct followed *x, struct error *e)
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
	follow_drop(f, x);
	return 0;
}

uint64_t follow_bytes_read(const struct followed *x)
{
	return x->records ? records_read_bytes(x->records) : x->range.start;
}

int follow_open_renamed(const struct follow *f, struct followed *x, const struct copied *copy)
{
	int fd = -1;

	for (int i = 0; i < FOLLOW_RENAMED_TRIES; i++) {
		const struct sibling *found;
		struct siblings beside;

		siblings_list(&beside, f->o.inputs[x->input]);
		found = siblings_find(&beside, &x->identity);
		if (!found && copy)
			found = siblings_find_copy(&beside, &x->identity, *copy);
		errno = 0;
		if (found) {
			mem_free(x->path);
			x->path = mem_strdup(found->path);
			fd = sibling_open(found);
		}
		siblings_clear(&beside);
		if (fd >= 0 || (errno != ESTALE && errno != ENOENT))
			break;
	}
	return fd;
}

/* The file was cut to nothing and begun anew: what it held may go on in a copy (copytruncate). */
static void begin_anew(struct follow *f, struct followed *x)
{
	bool is_in_directory = follow_input_of(f, x)->kind ==
			       FOLLOW_DIRECTORY; /* there a copy is a new file */
	struct siblings beside = {.items = NULL};
	const struct sibling *copy;

	if (!is_in_directory)
		siblings_list(&beside, x->path);
	copy = siblings_find_copy(
		&beside, &x->identity, (struct copied){follow_bytes_read(x), x->changed_us});
	follow_replace(f, x);
	x->is_old = true;
	if (copy) {
		follow_close_file(f, x);
		mem_free(x->path);
		x->path = mem_strdup(copy->path);
		x->identity.device = copy->device;
		x->identity.inode = copy->inode;
	} else if (x->records) {
		x->is_cut = true;
	} else {
		follow_drop(f, x);
	}
	siblings_clear(&beside);
}

/* The same file again.  1: it has begun anew. */
int follow_look_at_file(struct follow *f, struct followed *x, int fd, const struct stat *st)
{
	uint64_t bytes = (uint64_t)st->st_size;
	bool is_less = !x->is_packed && bytes < follow_bytes_read(x);

	if (is_less || !identity_has_head(&x->identity, fd)) {
		if (!x->records && !x->range.start && !x->over) {
			identity_take(st, &x->identity); /* nothing of it was taken yet */
		} else {
			begin_anew(f, x);
			return 1;
		}
	}
	identity_extend(&x->identity, fd);
	x->dirty |= !x->over && !x->is_packed && bytes > follow_bytes_read(x);
	x->bytes = bytes;
	x->changed_us = follow_changed_us(st);
	return 0;
}
