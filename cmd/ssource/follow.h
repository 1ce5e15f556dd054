/* Which files there are to read, in which order, and what becomes of them: files that grow, are
 * renamed, cut to nothing, deleted; directories in which they appear; pipes.  It opens files and
 * watches them; reading is live.c's.
 *
 *   input            files of it                             partition of event time
 *   a path           its generations, one after another      the input's
 *   a directory      what is in it, by order of appearance   the input's; with --merge each its own
 *   a pipe, -        itself                                   the input's
 *   a socket         its connections (sockets.h), or what     each its own
 *                    they spooled
 *   without --follow and --merge: the inputs one after another, all in one partition
 *
 * A path whose file was renamed goes on with the old one to its end, then with the generations
 * between (app.log.2, app.log.1), then with the new one.  Writers may be slow to notice: the old
 * one is still read for FOLLOW_LINGER_US; a last line without its newline is waited for that long.
 */
#ifndef RUNNEL_CMD_SSOURCE_FOLLOW_H
#define RUNNEL_CMD_SSOURCE_FOLLOW_H

#include "cmd/ssource/identity.h"
#include "cmd/ssource/timeline.h"
#include "cmd/ssource/watch.h"
#include "formats/records.h"

struct stage;

enum {
	FOLLOW_LINGER_US = 1000000,
	FOLLOW_LOOK_US = 1000000, /* what nothing tells of is looked for so often, */
	FOLLOW_POLL_US = 100000,  /* and so often where nothing tells of anything */
	FOLLOW_OPEN_MAX = 64,     /* files of directories that are held open */
	FOLLOW_READY_MAX = 16,    /* files that keep the memory they are read into while at rest */
};

struct followed {
	uint32_t input;
	char *path; /* where it is, as far as is known */
	char *name; /* what it is called: the path it had first */
	struct file_identity identity;
	struct partition *partition; /* borrowed from the timeline */

	int fd;                  /* -1: closed; what it has is read from its path again */
	int watch;               /* -1: none */
	struct records *records; /* NULL: not open; then range tells where it stands */
	struct records *opening; /* of a connection that has not brought enough yet; NULL: none */
	struct records_source source;
	struct records_range range;

	uint64_t bytes;     /* its size when it was last looked at */
	int64_t changed_us; /* its modification time then */
	int64_t content_us; /* monotonic: when it was first seen to hold something; 0: not yet */
	int64_t due_us;     /* monotonic: to be looked at then, whatever is told; 0: no need */
	int64_t replaced_us;
	uint64_t turn; /* when it was read last */
	uint64_t scan; /* of its directory, in which it was seen last */

	bool is_stream;
	bool is_packed;   /* known once it is open: read whole */
	bool dirty;       /* there may be something to read */
	bool closed;      /* by its writer */
	bool replaced;    /* another has its name, or it has none: it is over at its end */
	bool is_old;      /* replaced, and nobody writes to it any more */
	bool is_cut;      /* its bytes are gone: what was read of it is all */
	bool is_restored; /* known from a snapshot, not seen yet; then its partition is to have: */
	int64_t greatest_us, silent_us;
	bool over;
	bool removed; /* and not to be kept in mind */
	bool is_drained; /* a connection that a drain cut off within a record: that has been said */
	bool is_spooled; /* kept in mind until its file is removed */
};

enum follow_kind {
	FOLLOW_UNKNOWN,
	FOLLOW_FILE,
	FOLLOW_STREAM,
	FOLLOW_DIRECTORY,
	FOLLOW_SOCKET,
	FOLLOW_FOREIGN,
};

struct follow_input {
	enum follow_kind kind; /* UNKNOWN: nothing is there yet; FOREIGN: another subtask's */
	bool is_over;          /* a socket: nobody will come any more */
	int watch;             /* of the directory, or of the one the path is in */
	struct file_identity directory;
	struct partition *partition;
	size_t files_len; /* that aren't over */
	bool look;        /* something may have changed */
	int64_t looked_us;
};

struct follow_options {
	const char *const *inputs; /* borrowed */
	size_t inputs_len;
	bool follows, merges, from_end;
	bool polls; /* doesn't use inotify */
	uint32_t subtask, subtasks;
	struct stage *stage; /* for warnings */
};

struct follow {
	struct follow_options o;
	struct timeline *timeline; /* borrowed */
	struct watch watch;
	struct follow_input *inputs;
	struct followed **files; /* in the order in which they appeared */
	size_t files_len, files_cap;
	size_t open_len; /* of directories, that have records */
	uint64_t scans, turns;
	int64_t look_us;
	bool is_open;
	bool is_restored; /* files were put: none was begun at its end by mistake */
	int64_t now_us;   /* monotonic, of the last look */
};

void follow_clear(struct follow *f);

/* A file of a snapshot; before follow_start.  It is found again by its identity. */
struct followed *follow_put(struct follow *f, uint32_t input, const char *path, const char *name);

/* Looks for the first time.  ERROR_STATE: bytes that a snapshot says are to be read are gone. */
int follow_start(struct follow *f, const struct follow_options *o, struct timeline *t,
	int64_t mono_us, struct error *e);

/* Hears what has changed since, and looks where that is due. */
int follow_collect(struct follow *f, int64_t mono_us, struct error *e);

/* The next follow_collect looks at everything. */
void follow_look(struct follow *f);

/* The file to read from next: of the partition that is farthest behind in event time, else whose
 * turn it is.  NULL: nothing has anything by now. */
struct followed *follow_next(struct follow *f);

/* Opens its descriptor if it is closed.  1: it is there no more. */
int follow_open(struct follow *f, struct followed *x, struct error *e);

/* Its records were opened. */
void follow_opened(struct follow *f, struct followed *x);

/* It has nothing more by now.  true: nor will it: records_finish. */
bool follow_rest(struct follow *f, struct followed *x);

/* It was read to its end. */
int follow_end(struct follow *f, struct followed *x, struct error *e);

/* Lets go of what it takes to read it; its range tells where it stands. */
void follow_close(struct follow *f, struct followed *x);

/* Nothing more is to be read, ever: every input is over. */
bool follow_is_over(const struct follow *f);

/* What to wait on, and for how long at most; -1: for ever. */
int follow_fd(const struct follow *f);
int64_t follow_wait_us(const struct follow *f, int64_t mono_us);

#endif
