/* What the parts of follow.h share and nobody else uses:
 *
 *   follow_files.c      a file comes into the list, changes, goes
 *   follow_path.c       a path and the generations of its file
 *   follow_directory.c  a directory and what is in it
 *   follow_start.c      the first look, and finding again what a snapshot tells of
 *   follow.c            hearing of changes, choosing what to read */
#ifndef RUNNEL_CMD_SSOURCE_FOLLOW_PARTS_H
#define RUNNEL_CMD_SSOURCE_FOLLOW_PARTS_H

#include "cmd/ssource/follow.h"

enum { FOLLOW_RENAMED_TRIES = 100 }; /* while what was listed is called otherwise when it is opened */

/* ---- files ---- */

struct follow_input *follow_input_of(struct follow *f, const struct followed *x);
bool follow_has_own_partition(const struct follow *f, const struct followed *x);
int64_t follow_changed_us(const struct stat *st);

/* The file of an input that appeared last; NULL: none. */
struct followed *follow_newest(const struct follow *f, uint32_t input);

/* A new file, that is read from now on; fd -1: it is opened when its turn comes. */
struct followed *follow_add_file(
	struct follow *f, uint32_t input, const char *path, int fd, const struct stat *st);
struct followed *follow_add_stream(
	struct follow *f, uint32_t input, const char *name, int fd, const struct stat *st);

/* A restored one is read from now on; its partition has the times it had. */
void follow_take_up(struct follow *f, struct followed *x);
void follow_restore_time(const struct follow *f, struct partition *p, const struct followed *x);

/* --from end: what it holds doesn't count. */
int follow_begin_at_end(struct followed *x, struct error *e);

/* Another has its name, or it has none. */
void follow_replace(struct follow *f, struct followed *x);
void follow_close_file(struct follow *f, struct followed *x);
void follow_drop(struct follow *f, struct followed *x);
void follow_forget_dropped(struct follow *f); /* frees them: pointers to them are over */

/* What a snapshot tells of isn't there: ERROR_STATE if bytes of it were still to be read. */
int follow_lose(struct follow *f, struct followed *x, struct error *e);

/* Opens a path's file, or a copy of it, under the name it has by now.  -1: it isn't there. */
int follow_open_renamed(const struct follow *f, struct followed *x, const struct copied *copy);

uint64_t follow_bytes_read(const struct followed *x);

/* The same file again, open as fd.  1: it has begun anew, and this is another generation. */
int follow_look_at_file(struct follow *f, struct followed *x, int fd, const struct stat *st);

/* ---- paths and directories ---- */

int follow_look_at_path(struct follow *f, uint32_t input, struct error *e);
int follow_look_at_directory(struct follow *f, uint32_t input, struct error *e);

/* One name of a directory; index NULL unless all of it is being read. */
struct directory_index;
int follow_look_at_entry(struct follow *f, const struct directory_index *index, uint32_t input,
	const char *path, struct error *e);
struct followed *follow_find_path(
	const struct follow *f, size_t n, uint32_t input, const char *path);
bool follow_is_temporary(const char *name);
char *follow_path_in(const char *directory, const char *name); /* owned */

/* Whether a directory's file is this subtask's. */
bool follow_is_own(const struct follow *f, const struct stat *st);

/* Looks at an input, whatever it is by now. */
int follow_look_at_input(struct follow *f, uint32_t input, struct error *e);
void follow_watch_parent(struct follow *f, uint32_t input);

#endif
