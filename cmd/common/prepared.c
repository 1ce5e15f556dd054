#include "cmd/common/prepared.h"

#include "libcore/base/memory.h"
#include "libcore/base/outfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DIRECTORY_MODE = 0777 };

void prepared_clear(struct prepared_list *l)
{
	for (size_t i = 0; i < l->len; i++) {
		mem_free(l->items[i].from);
		mem_free(l->items[i].to);
	}
	mem_free(l->items);
	*l = (struct prepared_list){.len = 0};
}

void prepared_add(struct prepared_list *l, char *from, char *to)
{
	MEM_GROW(l->items, l->cap, l->len + 1);
	l->items[l->len++] = (struct prepared){from, to};
}

void prepared_forget(struct prepared_list *l, const char *from)
{
	for (size_t i = 0; i < l->len; i++) {
		struct prepared *p = &l->items[i];

		if (strcmp(p->from, from) != 0)
			continue;
		mem_free(p->from);
		mem_free(p->to);
		memmove(p, p + 1, (l->len - i - 1) * sizeof *p);
		l->len--;
		return;
	}
}

void prepared_put(const struct prepared_list *l, struct buf *handle)
{
	for (size_t i = 0; i < l->len; i++) {
		const struct prepared *p = &l->items[i];

		buf_put(handle, p->from, strlen(p->from) + 1);
		buf_put(handle, p->to, strlen(p->to) + 1);
	}
}

/* The end of the name at `at`, NULL if the handle has none. */
static const char *name_end(const char *at, const char *end)
{
	return at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
}

int prepared_next(
	const char **at, const char *end, const char **from, const char **to, struct error *e)
{
	const char *middle, *last;

	if (*at >= end)
		return 1;
	middle = name_end(*at, end);
	last = middle ? name_end(middle + 1, end) : NULL;
	if (!last)
		return error_set(e, ERROR_STATE, "a prepared handle is damaged");
	*from = *at;
	*to = middle + 1;
	*at = last + 1;
	return 0;
}

/* ---- directories ---- */

static void add_once(struct directory_list *l, const char *path, size_t len)
{
	/* Neighbours in a handle share theirs, so the latest are looked at first. */
	for (size_t i = l->len; i-- > 0;) {
		if (strlen(l->items[i]) == len && !memcmp(l->items[i], path, len))
			return;
	}
	MEM_GROW(l->items, l->cap, l->len + 1);
	l->items[l->len++] = mem_strndup(path, len);
}

void directories_add(struct directory_list *l, const char *path, const char *below)
{
	size_t len = (size_t)outfile_directory_len(path);
	size_t least = (size_t)outfile_directory_len(below);

	while (len > least) {
		add_once(l, path, len--);
		while (len > least && path[len - 1] != '/')
			len--;
	}
	add_once(l, below, least);
}

int directories_sync(struct directory_list *l, struct error *e)
{
	int status = 0;

	for (size_t i = 0; i < l->len; i++) {
		if (status == 0)
			status = outfile_sync_directory(l->items[i], e);
		mem_free(l->items[i]);
	}
	mem_free(l->items);
	*l = (struct directory_list){.len = 0};
	return status;
}

int directories_make(const char *path, const char *below, struct error *e)
{
	size_t least = (size_t)outfile_directory_len(below);

	for (const char *slash = path + least; (slash = strchr(slash, '/')); slash++) {
		char *directory = mem_strndup(path, (size_t)(slash - path));
		int status = 0;

		if (slash > path && mkdir(directory, DIRECTORY_MODE) < 0 && errno != EEXIST)
			status = error_errno(e, "%s: can't make the directory", directory);
		mem_free(directory);
		if (status < 0)
			return -1;
	}
	return 0;
}
