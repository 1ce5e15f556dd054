/* Checkpoints on disk, and what makes one valid.
 *
 *   <state>/checkpoints/<id>/manifest-<xxh64 of its bytes>.frames
 *                            <stage>.<subtask>.frames            one per task that kept state
 *
 * A directory is made, and its name durable, before any stage hears its number: so the greatest
 * number ever used is always there to be seen, and none is used twice.  The manifest is written
 * beside, synced, renamed, and the directory synced: a directory without one is no checkpoint.  A
 * manifest whose bytes don't match its name, or a state file that doesn't match the manifest, is
 * damage, which is never stepped over: its epoch may have been committed.
 *
 * The manifest is a frame stream like every snapshot: ssource shows it. */
#ifndef RUNNEL_CMD_RUNNEL_CHECKPOINT_H
#define RUNNEL_CMD_RUNNEL_CHECKPOINT_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"
#include "libcore/frame/frame.h"

#include <stdbool.h>
#include <stdint.h>

enum { JOB_ID_LEN = 32 };

/* One subtask's part. */
struct checkpoint_task {
	char *stage, *type;
	char *keeps;        /* what state it has, for a person; NULL: none to speak of */
	uint32_t subtask, subtasks;
	bool finished;      /* it had ENDed */
	char *file;         /* within the directory; NULL: it had ENDed and left nothing */
	uint64_t bytes, hash;
	struct buf handle;  /* prepared by a sink, to be committed */
};

struct checkpoint {
	uint64_t id;
	enum barrier_kind kind;
	char job[JOB_ID_LEN + 1];
	int64_t created_us; /* wall clock */
	char *directory;
	struct checkpoint_task *tasks;
	size_t tasks_len;
};

void checkpoint_clear(struct checkpoint *c);
struct checkpoint_task *checkpoint_add(struct checkpoint *c, const char *stage, const char *type,
	const char *keeps, uint32_t subtask, uint32_t subtasks);
uint64_t checkpoint_bytes(const struct checkpoint *c); /* of all state files */

/* The manifest as bytes, and the name that goes with them. */
void checkpoint_put_manifest(const struct checkpoint *c, struct buf *out);
char *checkpoint_manifest_name(const struct buf *manifest); /* to be freed with mem_free */

/* A file in its directory, to be freed with mem_free. */
char *checkpoint_path(const struct checkpoint *c, const char *name);

/* A note that every handle in it has been committed.  Without one they are committed again, which
 * does nothing. */
void checkpoint_mark_committed(const struct checkpoint *c);
bool checkpoint_is_committed(const struct checkpoint *c);

/* Reads the manifest of a directory.  0; 1: there is none; -1: ERROR_STATE, it is damaged. */
int checkpoint_read(const char *directory, struct checkpoint *out, struct error *e);

/* Size and XXH64 of a file; one that isn't there is ERROR_STATE. */
int checkpoint_hash_file(const char *path, uint64_t *bytes, uint64_t *hash, struct error *e);

/* Reads every state file and compares it with the manifest. */
int checkpoint_verify(const struct checkpoint *c, struct error *e);

/* ---- all of a job's, in one directory ---- */

/* Makes root. */
int checkpoints_open(const char *root, struct error *e);

/* The newest valid one; 0; 1: there is none; -1. *greatest is the greatest number there is, valid or
 * not. */
int checkpoints_newest(const char *root, struct checkpoint *out, uint64_t *greatest,
	struct error *e);

/* Makes the directory of a new number, durably; *directory is its path, to be freed with mem_free. */
int checkpoints_begin(const char *root, uint64_t id, char **directory, struct error *e);

/* Writes the manifest: from here on the checkpoint exists. */
int checkpoints_complete(const struct checkpoint *c, struct error *e);

/* Removes all with a number smaller than id, which is greater than 0; what can't be removed stays. */
void checkpoints_remove_older(const char *root, uint64_t id);

/* Empties those with greater numbers, up to `until`: what was given up must not fill the disk. */
void checkpoints_empty_newer(const char *root, uint64_t id, uint64_t until);

/* Removes a directory of files. */
int directory_remove(const char *path, struct error *e);

#endif
