/* A savepoint: a checkpoint's directory as one archive (pax, zstd), which tar lists and any state
 * file of which ssource reads.  It knows files, not what is in them. */
#ifndef RUNNEL_CMD_RUNNEL_SAVEPOINT_H
#define RUNNEL_CMD_RUNNEL_SAVEPOINT_H

#include "libcore/base/error.h"

#include <stddef.h>

struct savepoint_file {
	const char *name;     /* in the archive: a plain file name */
	const char *path;     /* where its bytes lie; NULL: bytes */
	const void *bytes;
	size_t len;
};

/* Writes the archive under its final name only once it is complete and durable.  The first file is
 * first in the archive. */
int savepoint_write(const char *path, const struct savepoint_file *files, size_t files_len,
	struct error *e);

/* Unpacks it into a directory (which must exist and be empty), durable.  Only plain files with plain
 * names (no slash, no ..) are taken: anything else is ERROR_STATE, as is an archive that ends early
 * or isn't one ("not a savepoint"). */
int savepoint_read(const char *path, const char *directory, struct error *e);

#endif
