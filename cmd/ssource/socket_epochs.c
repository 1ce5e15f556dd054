/* What a connection sends, to the spool.
 *
 * A job's sink speaks of epochs: it asks which are here, sends those that aren't, and is told of each
 * once it is on disk.  One that breaks off is dropped, and comes again.  The stream of no job's is cut
 * into such files, too, by size and age; what was on its way when it broke is lost. */
#include "cmd/ssource/socket_frames.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
	CUT_BYTES = 4 << 20, /* a stream of no job's is kept in files of so many bytes, or so old */
	CUT_US = 50000,
};

/* ---- what a job is told ---- */

/* Who doesn't hear it is that connection's end, and no one else's: ERROR_UPSTREAM. */
static int tell(struct frame_link *l, const struct buf *frames, struct error *e)
{
	struct buf all = BUF_INIT;
	ssize_t n;
	size_t len;

	if (!l->has_told) {
		struct hello hello = {.version = FRAME_VERSION, .stage = "ssource"};

		frame_put_hello(&all, &hello);
	}
	buf_put(&all, frames->data, frames->len);
	len = all.len;
	do
		n = send(l->fd, all.data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	buf_clear(&all);
	l->has_told = true;
	if (n == (ssize_t)len)
		return 0;
	return n < 0 && errno != EAGAIN ? error_set(e, ERROR_UPSTREAM, "%s: %s", l->peer, strerror(errno))
		: error_set(e, ERROR_UPSTREAM, "%s doesn't read what it is told", l->peer);
}

static int tell_have(struct socket_frames *s, struct frame_link *l, const struct epoch_note *who, struct error *e)
{
	struct epoch_note have = *who;
	struct buf b = BUF_INIT;
	int status;

	have.verb = EPOCH_HAVE;
	have.number = epochs_have(s->epochs, who);
	have.count = 0;
	frame_put_epoch(&b, &have);
	status = tell(l, &b, e);
	buf_clear(&b);
	return status;
}

void frame_spool_refuse(struct frame_link *l, const struct error *why)
{
	struct error ignored = ERROR_INIT;
	struct buf b = BUF_INIT;

	frame_put_error(&b, "ssource", why->text);
	tell(l, &b, &ignored);
	buf_clear(&b);
	error_clear(&ignored);
}

/* ---- files ---- */

static void drop(struct frame_link *l)
{
	if (l->receipt)
		epochs_drop(l->receipt);
	l->receipt = NULL;
	l->receipt_rows = 0;
	l->receipt_is_final = false;
}

static int keep(struct frame_link *l, struct error *e)
{
	struct epoch_receipt *r = l->receipt;
	uint64_t rows = l->receipt_rows;

	l->receipt = NULL;
	l->receipt_rows = 0;
	if (epochs_complete(r, rows, e) < 0)
		return -1;
	l->is_final |= l->receipt_is_final;
	return 0;
}

static int begin(struct socket_frames *s, struct frame_link *l, struct error *e)
{
	l->receipt_us = s->now_us;
	return epochs_begin(s->epochs, &l->who, &l->receipt, e);
}

/* The next file of a stream of no job's, with the columns it has declared. */
static int begin_cut(struct socket_frames *s, struct frame_link *l, struct error *e)
{
	struct buf b = BUF_INIT;
	int status;

	if (!l->who.number) {
		memcpy(l->who.job, EPOCHS_NO_JOB, sizeof EPOCHS_NO_JOB);
		snprintf(l->who.stage, sizeof l->who.stage, "%s", l->peer);
		l->who.subtask = epochs_next(s->epochs);
	}
	l->who.number++;
	if (begin(s, l, e) < 0)
		return -1;
	for (size_t id = 0; id < l->schemas.len; id++) {
		if (l->schemas.schemas[id])
			frame_put_schema(&b, (uint32_t)id, l->schemas.schemas[id]);
	}
	status = epochs_put_bytes(l->receipt, &b, e);
	buf_clear(&b);
	return status;
}

static int put(struct socket_frames *s, struct frame_link *l, const struct frame *f, struct error *e)
{
	if (!l->receipt && l->is_job)
		return error_set(e, ERROR_DATA, "%s outside an epoch", frame_kind_name(f->kind));
	if (!l->receipt) {
		if (begin_cut(s, l, e) < 0)
			return -1;
		if (f->kind == FRAME_SCHEMA)
			return 0; /* begin_cut has put it */
	}
	if (epochs_put(l->receipt, f, e) < 0)
		return -1;
	return !l->is_job && epochs_receipt_bytes(l->receipt) >= CUT_BYTES ? keep(l, e) : 0;
}

/* ---- frames ---- */

static int take_note(struct socket_frames *s, struct frame_link *l, const struct frame *f,
	struct error *e)
{
	struct epoch_note n;

	if (!l->is_job && l->rows)
		return error_set(e, ERROR_DATA, "an EPOCH in a stream that began without");
	l->is_job = true;
	if (frame_read_epoch(f, &n, e) < 0)
		return -1;
	switch (n.verb) {
	case EPOCH_ASK: return tell_have(s, l, &n, e);
	case EPOCH_BEGIN:
		if (n.count > EPOCH_SUBTASKS_MAX)
			return error_set(e, ERROR_DATA, "EPOCH: a stage of more than %d subtasks",
				EPOCH_SUBTASKS_MAX);
		drop(l);
		schema_set_clear(&l->schemas); /* each epoch declares its own */
		l->schemas = (struct schema_set){.schemas = NULL};
		l->current = NULL;
		l->who = n;
		return begin(s, l, e);
	case EPOCH_COMPLETE:
		if (!l->receipt || n.number != l->who.number)
			return error_set(e, ERROR_DATA, "an epoch is complete that didn't begin");
		if (n.count != l->receipt_rows)
			return error_set(e, ERROR_DATA, "the epoch has %llu rows, but %llu came",
				(unsigned long long)n.count, (unsigned long long)l->receipt_rows);
		return keep(l, e) < 0 ? -1 : tell_have(s, l, &l->who, e);
	case EPOCH_HAVE: break;
	}
	return error_set(e, ERROR_DATA, "an EPOCH that only a source says");
}

/* Whoever reads it later has no one to tell that it is wrong. */
static int check_rows(struct socket_frames *s, struct frame_link *l, const struct frame *f,
	struct error *e)
{
	const struct schema *in;
	struct batch b;
	uint32_t id;

	if (frame_read_schema_id(f, &id, e) < 0)
		return -1;
	in = schema_set_find(&l->schemas, id);
	if (!in)
		return error_set(e, ERROR_DATA, "rows of schema %u, which was not declared", id);
	arena_reset(&s->arena);
	if (frame_read_batch(f, in, true, &s->arena, &b, e) < 0)
		return -1;
	l->rows += b.rows;
	l->receipt_rows += b.rows;
	return 0;
}

static int check_end(struct frame_link *l, const struct frame *f, struct error *e)
{
	uint64_t rows;

	if (frame_read_end(f, &rows, e) < 0)
		return -1;
	if (rows != l->rows && !l->is_job)
		return error_set(e, ERROR_DATA, "END tells of %llu rows, but %llu came",
			(unsigned long long)rows, (unsigned long long)l->rows);
	l->has_ended = true;
	return 0;
}

static int spool_watermark(struct socket_frames *s, struct frame_link *l, const struct frame *f,
	struct error *e)
{
	int64_t us;

	if (frame_read_int(f, &us, e) < 0)
		return -1;
	if (put(s, l, f, e) < 0)
		return -1;
	l->receipt_is_final |= us == WATERMARK_FINAL;
	return 0;
}

int frame_spool(struct socket_frames *s, struct frame_link *l, const struct frame *f, struct error *e)
{
	const struct schema *declared;

	if (l->has_ended)
		return error_set(e, ERROR_DATA, "a frame behind END");
	switch ((enum frame_kind)f->kind) {
	case FRAME_EPOCH: return take_note(s, l, f, e);
	case FRAME_SCHEMA:
		if (schema_set_declare(&l->schemas, f, &declared, e) < 0 ||
			frame_schema_check(s, declared, e) < 0)
			return -1;
		return put(s, l, f, e);
	case FRAME_BATCH:
	case FRAME_ROWS: return check_rows(s, l, f, e) < 0 ? -1 : put(s, l, f, e);
	case FRAME_WATERMARK: return spool_watermark(s, l, f, e);
	case FRAME_END: return check_end(l, f, e);
	case FRAME_ERROR: return frame_take_failure(f, e);
	case FRAME_HELLO:
	case FRAME_BARRIER:
	case FRAME_STATUS:
	case FRAME_MARKER:
	case FRAME_TICK:
	case FRAME_PACKED:
	case FRAME_SKIP_FIRST:
	case FRAME_SKIP_LAST: break;
	}
	return 0;
}

int frame_spool_end(struct socket_frames *s, struct frame_link *l, struct error *e)
{
	struct buf b = BUF_INIT;
	int status = 0;

	if (l->is_job || (!l->receipt && !l->who.number)) {
		drop(l);
		return 0;
	}
	/* It holds nobody's watermark any more. */
	if (!l->receipt && begin_cut(s, l, e) < 0)
		return -1;
	frame_put_watermark(&b, WATERMARK_FINAL);
	status = epochs_put_bytes(l->receipt, &b, e);
	buf_clear(&b);
	return status < 0 ? -1 : keep(l, e);
}

int frame_spool_rest(struct socket_frames *s, struct frame_link *l, int64_t *wait_us, struct error *e)
{
	*wait_us = -1;
	if (l->is_job || !l->receipt)
		return 0;
	*wait_us = l->receipt_us + CUT_US - s->now_us;
	if (*wait_us > 0)
		return 0;
	*wait_us = -1;
	return keep(l, e);
}
