/* Which file a file is, whatever it is called by now: its device and inode, and a hash of its first
 * bytes, because inodes are used again and a file may be emptied and begun anew.
 *
 * And where a file may have gone: a log is rotated by being renamed (app.log to app.log.1), or by
 * being copied and cut to nothing.  Its earlier generations lie beside it. */
#ifndef RUNNEL_CMD_SSOURCE_IDENTITY_H
#define RUNNEL_CMD_SSOURCE_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
	IDENTITY_HEAD_MAX = 1024,
	IDENTITY_COPY_MIN = 16, /* so many bytes alike make a file with another inode a copy */
};

struct file_identity {
	uint64_t device, inode;
	uint32_t head_len;  /* first bytes that were there when it was last looked at */
	uint64_t head_hash; /* XXH64 of them */
};

void identity_take(const struct stat *st, struct file_identity *out); /* nothing of its bytes yet */
bool identity_is_inode(const struct file_identity *id, const struct stat *st);

/* Whether the open file still begins as it did. */
bool identity_has_head(const struct file_identity *id, int fd);

/* Takes in more of the first bytes, where the file has grown.  It must begin as it did. */
void identity_extend(struct file_identity *id, int fd);

/* ---- beside it ---- */

struct sibling {
	char *path;
	uint64_t device, inode, bytes;
	int64_t changed_us;
	int number;         /* of app.log.7, or of app.log.7.gz; -1: none */
	bool is_generation; /* called as rotated files are: app.log.1, app.log-20261123.gz; or, where a
			       link leads, as it but for a date */
};

struct siblings {
	struct sibling *items;
	size_t len, cap;
};

/* Regular files whose names begin or end as this path's does, and the path itself; of
 * a symbolic link, also those beside what it leads to; of "directory/", all in it.  Each once, as they were called at one
 * moment, also where a rotation is just renaming them.  What can't be read isn't there. */
void siblings_list(struct siblings *s, const char *path);
void siblings_clear(struct siblings *s);

/* Opens it to be read: -1 and errno, ESTALE if another has its name by now: list them again. */
int sibling_open(const struct sibling *x);

/* The file itself under whatever name, or NULL.  Renamed since, it is taken to be it. */
const struct sibling *siblings_find(const struct siblings *s, const struct file_identity *id);

/* A copy of it: as long as what was read of it at least, and written no earlier than it was.  NULL:
 * there is none. */
struct copied {
	uint64_t bytes_min;
	int64_t changed_us;
};
const struct sibling *siblings_find_copy(
	const struct siblings *s, const struct file_identity *id, struct copied of);

/* Leaves the generations that came after `old` and before `next`, oldest first.
 *   old   of s, or of a file that is gone: what is known of it, its number -1, its path NULL
 *   next  is or was at the path; NULL: nothing is */
void siblings_between(struct siblings *s, struct sibling old, const struct stat *next);

#endif
