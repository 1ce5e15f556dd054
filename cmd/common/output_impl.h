/* What an output is inside: private to cmd/common/output*.c.
 *
 *   output.c         its life, bytes, parts, prepare
 *   output_name.c    what files are called, before and after their commit
 *   output_commit.c  renaming, and copying to a stream
 *   output_socket.c  a stream that is a socket */
#ifndef RUNNEL_CMD_COMMON_OUTPUT_IMPL_H
#define RUNNEL_CMD_COMMON_OUTPUT_IMPL_H

#include "cmd/common/growing.h"
#include "cmd/common/output.h"
#include "cmd/common/prepared.h"
#include "libcore/base/outfile.h"

enum { OUTPUT_CHUNK_BYTES = 128 << 10 }; /* what one write takes: fits a pipe, amortises the call */

struct compressor;

/* A file as it is being written: a stream's epoch, a file alone, a part. */
struct output_part {
	char *sub; /* of a directory: where below it the part will lie, "day=1/"; else NULL */
	struct outfile file; /* fd -1: none open */
	struct compressor *compressor;
	struct buf pending; /* bytes as they will stand in the file */
	uint64_t written;   /* to the file, before pending */
	bool dirty;         /* something came since the compressor ended a frame */
};

struct output {
	struct output_options o;
	enum output_kind kind;
	char *path;
	char *word; /* begins the names of parts */
	char *room; /* where parts lie, with its slash; NULL: not in parts */
	char job8[JOB8_BYTES];
	char from_job8[JOB8_BYTES];
	struct output_part main; /* what output_put writes to */
	struct growing growing;  /* a file under a supervisor */
	int stream_fd;           /* a socket, once it is connected; under a supervisor also a pipe or a
	                          * device, once something was committed to it */
	bool is_socket;
	uint64_t offset;         /* of the last prepare; a stream's counts on over its parts */
	bool started;            /* something has been put into the present file, this stream */
	bool done;               /* the last prepare has been */
	bool swept;              /* no leftovers of earlier attempts are there */
	uint64_t hidden;         /* the number of the last name given to a finished part */
	uint64_t shown;          /* ... to a part of an output that appends */
	struct prepared_list finished; /* parts whose epoch isn't known yet; `to`: their sub */
	struct prepared_list prepared;
};

bool output_is_stdout(const struct output *o);

/* ---- output_socket.c ---- */

/* Connects, or waits for the one client; *o->stream_fd. */
int output_socket_open(struct output *o, struct error *e);

/* What was written is to be read to its end.  Closes. */
int output_socket_finish(struct output *o, struct error *e);

/* A socket's error in writing. */
int output_socket_failed(struct output *o, struct error *e);

/* ---- names: of mem_alloc ---- */

/* Begins the name of a part while it is written. */
char *output_name_open(const struct output *o);

/* Of a part that is complete, before its epoch is: no process that lives has it. */
char *output_name_finished(struct output *o);

/* Of the nth part of an epoch that is prepared, and when it is committed; "-": a stream. */
char *output_name_hidden(const struct output *o, uint64_t epoch, uint64_t nth);
char *output_name_final(struct output *o, const char *sub, uint64_t epoch, uint64_t nth);

/* The next one for a part of an output that appends, in the directory of path. */
char *output_name_next(struct output *o, const char *path);

int output_rename(const char *from, const char *to, struct error *e);

#endif
