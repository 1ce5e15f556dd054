/* A file that appears under its final name only when it is complete.
 *
 * Until outfile_commit the bytes lie in a file without a name in the same directory (O_TMPFILE), so
 * that not even kill -9 leaves anything; where the file system can't, in ".NAME.XXXXXX.part" beside
 * it.  A path that exists and is no regular file (a pipe, a terminal, /dev/null) is opened as it is.
 * Does no buffering.  Compression and formats are others' business. */
#ifndef RUNNEL_BASE_OUTFILE_H
#define RUNNEL_BASE_OUTFILE_H

#include "libcore/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct outfile {
	int fd;       /* -1: not open */
	char *path;   /* the final name */
	char *part;   /* the name it has now; NULL: none */
	bool direct;  /* not a regular file: nothing to rename */
};

#define OUTFILE_INIT {.fd = -1}

int outfile_open(struct outfile *f, const char *path, struct error *e);

/* Writes all of it, in spite of EINTR and short writes.  A reader that has gone is ERROR_CLOSED. */
int outfile_write(struct outfile *f, const void *bytes, size_t len, struct error *e);
int fd_write_all(int fd, const char *name, const void *bytes, size_t len, struct error *e);

/* Gives it the name `name` (in the same directory) before its end, and keeps it open.  An older file
 * of that name is replaced. */
int outfile_name(struct outfile *f, const char *name, struct error *e);

/* Makes the bytes durable, and gives the file the name `prepared` (in the same directory), under
 * which a later process finds it: the first half of a commit that can be repeated.  The second is a
 * rename of whoever commits; of this outfile only outfile_abort is left, which closes it. */
int outfile_prepare(struct outfile *f, const char *prepared, struct error *e);

/* The final name, at once and whole; an older file of that name is replaced.  Closes.  durable: the
 * bytes and the name are on disk when it returns. */
int outfile_commit(struct outfile *f, bool durable, struct error *e);

/* Closes and removes what was written, unless it was prepared.  Nothing if it is not open. */
void outfile_abort(struct outfile *f);

/* How long "dir/" in front of the name is; 0 where there is none. */
int outfile_directory_len(const char *path);

/* Syncs the directory that holds path. */
int outfile_sync_directory(const char *path, struct error *e);

#endif
