#include "cmd/ssource/identity.h"

#include "libcore/base/memory.h"

#define XXH_INLINE_ALL
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define DIGITS "0123456789"

enum { LIST_TRIES = 100, DATE_DIGITS = 6 };

void identity_take(const struct stat *st, struct file_identity *out)
{
	*out = (struct file_identity){.device = st->st_dev, .inode = st->st_ino};
}

bool identity_is_inode(const struct file_identity *id, const struct stat *st)
{
	return id->device == st->st_dev && id->inode == st->st_ino;
}

static size_t read_head(int fd, uint8_t head[IDENTITY_HEAD_MAX])
{
	ssize_t n;

	do {
		n = pread(fd, head, IDENTITY_HEAD_MAX, 0);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? 0 : (size_t)n;
}

bool identity_has_head(const struct file_identity *id, int fd)
{
	uint8_t head[IDENTITY_HEAD_MAX];
	size_t len;

	if (!id->head_len)
		return true;
	len = read_head(fd, head);
	return len >= id->head_len && XXH64(head, id->head_len, 0) == id->head_hash;
}

void identity_extend(struct file_identity *id, int fd)
{
	uint8_t head[IDENTITY_HEAD_MAX];
	size_t len;

	if (id->head_len == IDENTITY_HEAD_MAX)
		return;
	len = read_head(fd, head);
	if (len <= id->head_len)
		return;
	id->head_len = (uint32_t)len;
	id->head_hash = XXH64(head, len, 0);
}

/* ---- beside it ---- */

static bool is_separator(char c)
{
	return c == '.' || c == '-' || c == '_';
}

static size_t drop_packed_extension(const char *text, size_t len)
{
	static const char *const packed[] = {".gz", ".zst", ".xz", ".bz2", ".lz4"};

	for (size_t i = 0; i < sizeof packed / sizeof *packed; i++) {
		size_t n = strlen(packed[i]);

		if (len > n && memcmp(text + len - n, packed[i], n) == 0)
			return len - n;
	}
	return len;
}

/* app.log.1, app.log-20261123-1402.gz, but not app.log.bak or app.log-errors. */
static bool is_generation(const char *name, const char *base)
{
	size_t base_len = strlen(base), len;

	if (strncmp(name, base, base_len) != 0 || !is_separator(name[base_len]))
		return false;
	name += base_len + 1;
	len = drop_packed_extension(name, strlen(name));
	return *name >= '0' && *name <= '9' && strspn(name, "0123456789-_.:T") >= len;
}

static int number_of(const char *name, const char *base)
{
	const char *digits = name + strlen(base) + 1;
	size_t len = strspn(digits, DIGITS);

	if (digits[-1] != '.' || !len || len > 4)
		return -1;
	return drop_packed_extension(digits, strlen(digits)) == len ? (int)strtol(digits, NULL, 10)
								    : -1;
}

/* Also app-1.log beside app.log. */
static bool is_relative(const char *name, const char *base)
{
	const char *dot = strrchr(base, '.');
	size_t base_len = strlen(base), stem = dot && dot > base ? (size_t)(dot - base) : base_len;
	size_t len = strlen(name);

	if (strncmp(name, base, base_len) == 0)
		return !base_len || !name[base_len] || is_separator(name[base_len]);
	return stem < base_len && strncmp(name, base, stem) == 0 && is_separator(name[stem]) &&
	       len > base_len - stem && strcmp(name + len - (base_len - stem), dot) == 0;
}

/* 2026-11-24.log beside 2026-11-23.log: alike but for their digits, as many as a date has. */
static bool has_other_date(const char *name, const char *base)
{
	size_t digits = 0;

	while (*name && *base) {
		size_t n = strspn(name, DIGITS), m = strspn(base, DIGITS);

		if (!n != !m || (!n && *name != *base))
			return false;
		digits += n;
		name += n ? n : 1;
		base += m ? m : 1;
	}
	return !*name && !*base && digits >= DATE_DIGITS;
}

/* Names in a directory, beside one of them. */
struct place {
	DIR *directory;
	char *prefix; /* of paths in it */
	const char *base;
	bool is_target; /* a link leads here, perhaps to another file from day to day */
};

static void add_sibling(struct siblings *s, const struct place *at, const char *name)
{
	bool is_rotated = is_generation(name, at->base);
	struct stat st;

	if (fstatat(dirfd(at->directory), name, &st, 0) < 0 || !S_ISREG(st.st_mode))
		return;
	MEM_GROW(s->items, s->cap, s->len + 1);
	s->items[s->len++] = (struct sibling){.path = mem_printf("%s%s", at->prefix, name),
		.device = st.st_dev,
		.inode = st.st_ino,
		.bytes = (uint64_t)st.st_size,
		.changed_us = st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000,
		.is_generation = is_rotated || (at->is_target && has_other_date(name, at->base)),
		.number = is_rotated ? number_of(name, at->base) : -1};
}

static void list_beside(struct siblings *s, const char *path, bool is_target)
{
	const char *slash = strrchr(path, '/');
	struct place at = {.base = slash ? slash + 1 : path, .is_target = is_target};
	struct dirent *entry;

	at.prefix = mem_strndup(path, (size_t)(at.base - path));
	at.directory = opendir(*at.prefix ? at.prefix : ".");
	while (at.directory && (entry = readdir(at.directory))) {
		if (is_relative(entry->d_name, at.base) ||
			(is_target && has_other_date(entry->d_name, at.base)))
			add_sibling(s, &at, entry->d_name);
	}
	if (at.directory)
		closedir(at.directory);
	mem_free(at.prefix);
}

static void list_once(struct siblings *s, const char *path)
{
	struct stat st;
	char *target;

	*s = (struct siblings){.items = NULL};
	list_beside(s, path, false);
	if (lstat(path, &st) < 0 || !S_ISLNK(st.st_mode) || !(target = realpath(path, NULL)))
		return;
	list_beside(s, target, true);
	free(target);
}

void siblings_clear(struct siblings *s)
{
	for (size_t i = 0; i < s->len; i++)
		mem_free(s->items[i].path);
	mem_free(s->items);
	*s = (struct siblings){.items = NULL};
}

static bool is_same_file(const struct sibling *x, const struct sibling *y)
{
	return x->device == y->device && x->inode == y->inode;
}

static int by_path(const void *a, const void *b)
{
	const struct sibling *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static void sort_by(struct siblings *s, int (*order)(const void *, const void *))
{
	if (s->len)
		qsort(s->items, s->len, sizeof *s->items, order);
}

static bool are_alike(const struct siblings *s, const struct siblings *t)
{
	bool are = s->len == t->len;

	for (size_t i = 0; are && i < s->len; i++)
		are = strcmp(s->items[i].path, t->items[i].path) == 0 &&
		      is_same_file(&s->items[i], &t->items[i]);
	return are;
}

/* A file may have several names, and may be listed beside the path and beside what it leads to; one will
 * do, best that of a generation. */
static void drop_other_names(struct siblings *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->len; i++) {
		struct sibling x = s->items[i], *known = s->items;

		while (known < s->items + kept && !is_same_file(known, &x))
			known++;
		if (known == s->items + kept) {
			s->items[kept++] = x;
		} else if (x.is_generation && !known->is_generation) {
			mem_free(known->path);
			*known = x;
		} else {
			mem_free(x.path);
		}
	}
	s->len = kept;
}

/* A directory isn't read in one moment: what is renamed meanwhile is met twice, or not at all.  Read
 * twice with the same result, it was as it says. */
void siblings_list(struct siblings *s, const char *path)
{
	struct siblings again;
	bool is_steady = false;

	list_once(s, path);
	sort_by(s, by_path);
	for (int i = 0; i < LIST_TRIES && !is_steady; i++) {
		list_once(&again, path);
		sort_by(&again, by_path);
		is_steady = are_alike(s, &again);
		siblings_clear(s);
		*s = again;
	}
	drop_other_names(s);
}

int sibling_open(const struct sibling *x)
{
	int fd = open(x->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || (fstat(fd, &st) == 0 && st.st_dev == x->device && st.st_ino == x->inode))
		return fd;
	close(fd);
	errno = ESTALE;
	return -1;
}

enum likeness { UNLIKE, ALIKE, RENAMED };

static enum likeness begins_alike(const struct sibling *x, const struct file_identity *id)
{
	int fd = sibling_open(x);
	bool is;

	if (fd < 0)
		return errno == ESTALE || errno == ENOENT ? RENAMED : UNLIKE;
	is = identity_has_head(id, fd);
	close(fd);
	return is ? ALIKE : UNLIKE;
}

const struct sibling *siblings_find(const struct siblings *s, const struct file_identity *id)
{
	for (size_t i = 0; i < s->len; i++) {
		const struct sibling *x = &s->items[i];

		if (x->device == id->device && x->inode == id->inode && begins_alike(x, id) != UNLIKE)
			return x;
	}
	return NULL;
}

const struct sibling *siblings_find_copy(
	const struct siblings *s, const struct file_identity *id, struct copied of)
{
	for (size_t i = 0; i < s->len && id->head_len >= IDENTITY_COPY_MIN; i++) {
		const struct sibling *x = &s->items[i];

		if (x->inode != id->inode && x->bytes >= of.bytes_min &&
			x->changed_us >= of.changed_us && begins_alike(x, id) == ALIKE)
			return x;
	}
	return NULL;
}

static int by_age(const void *a, const void *b)
{
	const struct sibling *x = a, *y = b;

	if (x->number >= 0 && y->number >= 0 && x->number != y->number)
		return x->number > y->number ? -1 : 1;
	if (x->changed_us != y->changed_us)
		return x->changed_us < y->changed_us ? -1 : 1;
	return strverscmp(x->path, y->path);
}

static bool is_younger(const struct sibling *x, const struct sibling *than)
{
	if (x->number >= 0 && than->number >= 0)
		return x->number < than->number;
	if (x->changed_us != than->changed_us)
		return x->changed_us > than->changed_us;
	return than->path && strverscmp(x->path, than->path) > 0; /* within one tick of the kernel's clock */
}

/* Whether it is next, or came after it: while the others were listed, the path may have been rotated
 * again. */
static bool is_from(const struct sibling *x, const struct sibling *next)
{
	return is_same_file(x, next) || (next->is_generation && is_younger(x, next));
}

void siblings_between(struct siblings *s, struct sibling old, const struct stat *next)
{
	struct sibling end = {.number = -1};
	size_t kept = 0;

	if (next) {
		end.device = next->st_dev;
		end.inode = next->st_ino;
	}
	for (size_t i = 0; i < s->len; i++) {
		if (is_same_file(&s->items[i], &end))
			end = s->items[i];
	}
	for (size_t i = 0; i < s->len; i++) {
		struct sibling *x = &s->items[i];

		x->is_generation &= is_younger(x, &old) && !is_same_file(x, &old) && !(next && is_from(x, &end));
	}
	for (size_t i = 0; i < s->len; i++) {
		if (s->items[i].is_generation)
			s->items[kept++] = s->items[i];
		else
			mem_free(s->items[i].path);
	}
	s->len = kept;
	sort_by(s, by_age);
}
