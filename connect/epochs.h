/* Epochs that other jobs have sent, kept until they have been read: what the receiving end of a
 * connection between two jobs stands on (runnel-frames(5), EPOCHS).
 *
 * A directory of connect/spool.h.  Each epoch is a frame stream of its own, which begins with an EPOCH
 * that tells whose it is; files are numbered in the order in which they were complete, and those
 * numbers never come again.
 *
 *   DIR/000000000012-ssink-0-31     epoch 31 of ssink's subtask 0
 *   DIR/.open-3                     one that is being received
 *   DIR/.epochs                     the newest of each stage and subtask whose files are gone
 *
 * An epoch is received whole or not at all, and said to be there once it is on disk.  Who sends comes in
 * the order of its numbers, so that one number a subtask tells what it has not to send again. */
#ifndef RUNNEL_CONNECT_EPOCHS_H
#define RUNNEL_CONNECT_EPOCHS_H

#include "libcore/frame/frame.h"

struct epochs;
struct epoch_receipt; /* an epoch that is being received */

/* Which job a frame stream belongs to that is no job's. */
#define EPOCHS_NO_JOB "00000000000000000000000000000000"

int epochs_open(const char *directory, uint64_t bytes_max, struct epochs **out, struct error *e);
void epochs_close(struct epochs *s); /* NULL is nothing; all receipts have been ended before */

/* The newest epoch of a note's job, stage and subtask that is, or was, here; 0: none. */
uint64_t epochs_have(const struct epochs *s, const struct epoch_note *n);

/* ---- receiving ---- */

int epochs_begin(struct epochs *s, const struct epoch_note *n, struct epoch_receipt **out,
	struct error *e);
int epochs_put(struct epoch_receipt *r, const struct frame *f, struct error *e);
int epochs_put_bytes(struct epoch_receipt *r, const struct buf *frames, struct error *e);
uint64_t epochs_receipt_bytes(const struct epoch_receipt *r);

/* It is on disk when it returns.  One that came another way meanwhile is dropped.  Frees it. */
int epochs_complete(struct epoch_receipt *r, uint64_t rows, struct error *e);
void epochs_drop(struct epoch_receipt *r);

/* Whether this epoch may be received further: while there is room; the oldest one also when nothing
 * else is there that could make room by being read. */
bool epochs_has_room(const struct epochs *s, const struct epoch_receipt *r);

/* ---- reading ---- */

/* The number of the oldest file that is here, and of the one that comes next. */
uint64_t epochs_first(const struct epochs *s);
uint64_t epochs_next(const struct epochs *s);
const char *epochs_path(const struct epochs *s, uint64_t number); /* NULL: it isn't here */

/* Files before this number won't be read again. */
int epochs_remove_before(struct epochs *s, uint64_t number, struct error *e);

#endif
