/* The jobs there are: the directories under state_root, running or not; and how one is asked. */
#ifndef RUNNEL_CMD_SCTL_JOBS_H
#define RUNNEL_CMD_SCTL_JOBS_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct jobs {
	char **names; /* sorted; each is a directory of root */
	size_t len, cap;
	struct buf root;
};

/* A root that doesn't exist has no jobs. */
int jobs_list(struct jobs *out, struct error *e);
void jobs_clear(struct jobs *j);

/* The directory of the job that the user named, with a NUL; given NULL: the only one that runs. */
int job_directory(const char *given, struct buf *out, struct error *e);

/* The job's name, for messages: the end of its directory. */
const char *job_name(const char *directory);

/* The number of its last complete checkpoint; 0: there is none. */
uint64_t job_last_checkpoint(const char *directory);

enum {
	JOB_ANSWER_MS = 5000, /* a supervisor answers questions at once, or hangs */
	JOB_WORDS_MAX = 4,
};

/* Asks its supervisor; text is appended.  What it answers with another status than 0 is an error of
 * this code.  *gone (may be NULL): nobody listens; the error then says what is left of the job.
 * timeout_ms 0: as long as it takes. */
int job_ask(const char *directory, const char *const *words, size_t words_len, unsigned timeout_ms,
	struct buf *text, bool *gone, struct error *e);

#endif
