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
	bool is_generation; /* called as rotated files are: app.log.1, app.log-20261123.gz */
};

struct siblings {
	struct sibling *items;
	size_t len, cap;
};

/* Regular files whose names begin or end as this path's does, and the path itself; of
 * a symbolic link, also those beside what it leads to.  What can't be read isn't there. */
void siblings_list(struct siblings *s, const char *path);
void siblings_clear(struct siblings *s);

/* The file itself under whatever name, or NULL. */
const struct sibling *siblings_find(const struct siblings *s, const struct file_identity *id);

/* A copy of it: as long as what was read of it at least, and written no earlier than it was.  NULL:
 * there is none. */
struct copied {
	uint64_t bytes_min;
	int64_t changed_us;
};
const struct sibling *siblings_find_copy(
	const struct siblings *s, const struct file_identity *id, struct copied of);

/* Leaves the generations that were begun after `old` was rotated away and before the one at path,
 * oldest first.  old: its sibling, or NULL where it is gone; then changed_us is when it was last
 * written. */
void siblings_between(
	struct siblings *s, const char *path, const struct sibling *old, int64_t changed_us);

#endif
