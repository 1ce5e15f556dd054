/* A file that grows over many epochs beside its final name: ".<name>.<job8>.part".
 *
 * It is held by a lock (flock) while its sink lives, so that two jobs never write to the same name.
 * An earlier start's file is cut back to the offset of the snapshot; the bytes in front of a
 * savepoint that became another job are copied from the file of the job it was taken from.  Buffers
 * nothing and renames nothing. */
#ifndef RUNNEL_CMD_COMMON_GROWING_H
#define RUNNEL_CMD_COMMON_GROWING_H

#include "libcore/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JOB8_BYTES = 9 }; /* the first 8 digits of a job's uuid, and a NUL */

struct growing {
	int fd;     /* -1: not open */
	char *path; /* its name until the end */
};

#define GROWING_INIT {.fd = -1}

struct growing_options {
	const char *final;     /* the name it will get */
	const char *job8;
	uint64_t offset;       /* so many bytes stay */
	const char *from_job8; /* whose file has them */
	const char *stage;     /* for the hint: the stage's name */
};

/* Of another job whose process lives: ERROR_USAGE.  Bytes that are not there: ERROR_STATE. */
int growing_open(struct growing *g, const struct growing_options *o, struct error *e);
int growing_sync(const struct growing *g, struct error *e);
void growing_close(struct growing *g); /* the file stays */

#endif
