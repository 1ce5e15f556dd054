/* Where jobs keep their state: one directory a job. */
#ifndef RUNNEL_CMD_COMMON_STATE_DIRECTORY_H
#define RUNNEL_CMD_COMMON_STATE_DIRECTORY_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

/* The directory of all jobs, $XDG_STATE_HOME/runnel or ~/.local/state/runnel, with a NUL; ERROR_USAGE
 * if there is no home. */
int state_root(struct buf *out, struct error *e);

/* A job's: what contains a slash is a directory by itself, anything else a name under state_root.
 * Makes nothing. */
int state_directory(const char *job, struct buf *out, struct error *e);

#define STATE_SOCKET "socket" /* in the job's directory: server.h */

#endif
