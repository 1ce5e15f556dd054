/* What peers have sent, on disk, so that it can be read again: a directory with a file for every
 * connection, which only grows while somebody reads behind it.
 *
 *   DIR/000000000007-127.0.0.1:51000     bytes as they came
 *   DIR/.open-3                          what gets its name, and number, when it is whole
 *   DIR/.lock                            held by whoever spools there
 *
 * What is behind its reader for good is given back to the file system from the front (holes), but for
 * the first SPOOL_HEAD_BYTES, in which a header may stand, and up to 256 KiB at its end; a file that
 * was read to its end is removed.  Held bytes are those that were received and aren't behind their
 * reader: who spools stops receiving when there are as many as allowed, so that its peers wait.
 *
 * Not synced by itself: what spool_sync was called behind survives the machine, the rest the process. */
#ifndef RUNNEL_CONNECT_SPOOL_H
#define RUNNEL_CONNECT_SPOOL_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { SPOOL_HEAD_BYTES = 64 << 10 };

struct spool;
struct spool_file;

/* The directory is made.  One that another process spools to is ERROR_IO. */
int spool_open(const char *directory, uint64_t bytes_max, struct spool **out, struct error *e);
void spool_close(struct spool *s); /* NULL is nothing; files stay */

/* Whether more may be received; for how much. */
bool spool_has_room(const struct spool *s);
uint64_t spool_room(const struct spool *s);

/* What lies there from before, in the order in which it was begun: i from 0, NULL behind the last. */
const char *spool_left(const struct spool *s, size_t i);

/* A new file; peer is part of its name. */
int spool_begin(struct spool *s, const char *peer, struct spool_file **out, struct error *e);
const char *spool_path(const struct spool_file *f);
int spool_append(struct spool_file *f, const void *bytes, size_t len, struct error *e);
void spool_end(struct spool_file *f); /* nothing more comes; *f is gone, the file stays */

/* A file that is there whole or not at all: spool_seal gives it its number and name, and returns when
 * it is on disk; f stays until it is removed.  spool_drop: it never was.  What was open when a process
 * died is dropped by the next. */
int spool_begin_hidden(struct spool *s, struct spool_file **out, struct error *e);
int spool_seal(struct spool_file *f, const char *peer, struct error *e);
void spool_drop(struct spool_file *f);

/* Numbers go on behind this one, whatever files are there. */
void spool_number_after(struct spool *s, uint64_t number);
uint64_t spool_number(const struct spool *s); /* the newest given */

/* All that was appended so far is on disk when it returns. */
int spool_sync(struct spool *s, struct error *e);

/* Bytes before offset won't be read again; the whole file won't.  Repeatable; what isn't there is fine. */
void spool_trim(struct spool *s, const char *path, uint64_t offset);
int spool_remove(struct spool *s, const char *path, struct error *e);

#endif
