/* Files of tests: a directory of their own, what stands in a file, standard output caught; and what a
 * stage keeps at a checkpoint. */
#ifndef RUNNEL_TESTS_FILES_H
#define RUNNEL_TESTS_FILES_H

#include "libcore/stage/stage.h"

/* Group setup and teardown: a new directory under /tmp, where the tests are run.  With room_enter and
 * room_leave each test begins in an empty one, with a directory spool/, and leaves nothing. */
int rooms_open(void **state);
int rooms_close(void **state);
int room_enter(void **state);
int room_leave(void **state);

#define ROOM_TEST(f) cmocka_unit_test_setup_teardown(f, room_enter, room_leave)

void remove_tree(const char *path);

/* All of it, with a NUL behind (mem_free); NULL: it isn't there.  len may be NULL. */
char *file_read(const char *path, size_t *len);
void file_make(const char *path, const char *text);
void assert_holds(const char *path, const char *want);
void assert_gone(const char *path);

/* The files below path, hidden ones too, sorted: "a/b c " and so on (mem_free). */
char *files_below(const char *path);

/* Standard output goes to the end of ./stdout in between. */
void stdout_catch(void);
void stdout_release(void);

/* The hook of a checkpoint: what the stage keeps, and the handle of its sink.  The context is a struct
 * that begins with this one. */
struct kept {
	struct buf state, handle;
};
int kept_take(void *context, struct stage *st, const struct barrier *b, const struct buf *handle,
	struct error *e);
void files_kept_clear(struct kept *k);

#endif
