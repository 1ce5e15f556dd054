/* What is durable under a hidden name and waits for its commit, as a list of pairs.
 *
 * A handle is such a list: (where it lies, where it belongs), every name with its NUL; "-" is
 * standard output or another stream.  Knows no epochs, and renames nothing. */
#ifndef RUNNEL_CMD_COMMON_PREPARED_H
#define RUNNEL_CMD_COMMON_PREPARED_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>

struct prepared {
	char *from, *to;
};

struct prepared_list {
	struct prepared *items;
	size_t len, cap;
};

void prepared_clear(struct prepared_list *l);
void prepared_add(struct prepared_list *l, char *from, char *to); /* takes them */

/* It has been committed; nothing if it isn't there. */
void prepared_forget(struct prepared_list *l, const char *from);
void prepared_put(const struct prepared_list *l, struct buf *handle);

/* The pair at *at, which moves behind it; 1 at the end, -1 a damaged handle.  Borrowed from it. */
int prepared_next(
	const char **at, const char *end, const char **from, const char **to, struct error *e);

/* ---- directories to sync: every one once ---- */

struct directory_list {
	char **items;
	size_t len, cap;
};

/* The directory of path, and those between it and the one that `below` lies in, that one too. */
void directories_add(struct directory_list *l, const char *path, const char *below);

/* Syncs, and clears, also on error. */
int directories_sync(struct directory_list *l, struct error *e);

/* Makes what is missing of them for path. */
int directories_make(const char *path, const char *below, struct error *e);

#endif
