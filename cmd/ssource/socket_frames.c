/* Frame streams from sockets: each connection is one, with a watermark of its own; the least of those
 * that haven't ended is the source's.  All have the columns of the first.
 *
 * A connection whose frames are wrong, that breaks off before END, or has other columns is told of and
 * let go; what came of it counts.  With a spool what counts is what has been kept there, and can be
 * read again. */
#include "cmd/ssource/socket_frames.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/table/builder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { FRAMES_A_TURN = 16 }; /* of one connection before the others' turn */

static struct socket_frames *self(struct operator* op)
{
	return (struct socket_frames *)op;
}

static int keep_alive(void *context, struct error *e)
{
	return stage_alive(((struct socket_frames *)context)->base.stage, e);
}

static void warn(void *context, const char *text)
{
	stage_warn(((struct socket_frames *)context)->base.stage, "%s", text);
}

/* ---- senders ---- */

struct frame_sender *frame_sender_add(struct socket_frames *s)
{
	struct frame_sender *x = mem_zero(sizeof *x);
	size_t kept = 0;

	/* Connections that have gone; of a job's subtasks it is kept in mind how far they were. */
	for (size_t i = 0; i < s->senders_len; i++) {
		if (s->senders[i]->is_over && (!s->epochs || !s->senders[i]->who.count))
			mem_free(s->senders[i]);
		else
			s->senders[kept++] = s->senders[i];
	}
	s->senders_len = kept;
	*x = (struct frame_sender){.watermark_us = WATERMARK_NONE, .active_us = s->now_us};
	MEM_GROW(s->senders, s->senders_cap, s->senders_len + 1);
	return s->senders[s->senders_len++] = x;
}

static struct frame_sender *find_sender(struct socket_frames *s, const struct epoch_note *who)
{
	for (size_t i = 0; i < s->senders_len; i++) {
		struct frame_sender *x = s->senders[i];

		if (x->who.subtask == who->subtask && strcmp(x->who.job, who->job) == 0 &&
			strcmp(x->who.stage, who->stage) == 0)
			return x;
	}
	return NULL;
}

/* The sender of an epoch, and with it all others of its stage: none's rows are late because another was
 * first to be heard.  A start of the job in more or fewer subtasks deals its rows out anew, so that what
 * a subtask of the start before had come to says nothing of the one that has its number now; those that
 * are left over hold nothing. */
static struct frame_sender *know_senders(struct socket_frames *s, const struct epoch_note *n)
{
	struct frame_sender *own = find_sender(s, n);

	if (own && own->who.count == n->count)
		return own;
	for (size_t i = 0; i < s->senders_len && n->count; i++) { /* 0: a stream of no job's */
		struct frame_sender *x = s->senders[i];

		if (strcmp(x->who.job, n->job) != 0 || strcmp(x->who.stage, n->stage) != 0)
			continue;
		x->who.count = n->count;
		x->watermark_us = WATERMARK_NONE;
		x->active_us = s->now_us;
		x->is_over = x->who.subtask >= n->count;
	}
	for (uint64_t i = 0; i <= n->count; i++) {
		struct epoch_note who = *n;

		who.subtask = i < n->count ? i : n->subtask;
		if (!find_sender(s, &who))
			frame_sender_add(s)->who = who;
	}
	return find_sender(s, n);
}

/* ---- frames ---- */

int frame_schema_check(const struct socket_frames *s, const struct schema *in, struct error *e)
{
	return !s->has_schema || schema_equal(&s->schema, in) ? 0 : error_set(e, ERROR_DATA,
		"it has other columns than the streams before");
}

static int take_schema(struct socket_frames *s, const struct schema *in, struct error *e)
{
	if (s->has_schema)
		return frame_schema_check(s, in, e);
	schema_copy(&s->schema, in);
	s->has_schema = true;
	if (clockwork_set_schema(&s->clockwork, &s->schema, e) < 0)
		return -1;
	return stage_declare(s->base.stage, 0, &s->schema, e);
}

/* 1: the limit is reached. */
static int send_rows(struct socket_frames *s, struct batch *b, struct error *e)
{
	b->schema = &s->schema;
	while (b->rows) {
		uint32_t n = clockwork_rows_max(&s->clockwork);
		struct batch part;

		if (!n)
			return 1;
		n = n < b->rows ? n : b->rows;
		batch_slice(b, 0, n, &s->arena, &part);
		if (clockwork_send(&s->clockwork, s->base.stage, &part, e) < 0)
			return -1;
		batch_slice(b, n, b->rows - n, &s->arena, &part);
		*b = part;
	}
	return 0;
}

/* 1: the limit is reached. */
static int take_rows(struct socket_frames *s, struct frame_link *l, const struct frame *f,
	struct error *e)
{
	const struct schema *in;
	struct batch b, rest;
	uint32_t id, skip;

	if (frame_read_schema_id(f, &id, e) < 0)
		return -1;
	in = schema_set_find(&l->schemas, id);
	if (!in)
		return error_set(e, ERROR_DATA, "rows of schema %u, which was not declared", id);
	if (in != l->current && take_schema(s, in, e) < 0)
		return -1;
	l->current = in;
	arena_reset(&s->arena);
	if (frame_read_batch(f, in, !s->epochs, &s->arena, &b, e) < 0)
		return -1;
	l->rows += b.rows;
	skip = l->skip < b.rows ? (uint32_t)l->skip : b.rows;
	l->skip -= skip;
	batch_slice(&b, skip, b.rows - skip, &s->arena, &rest);
	return send_rows(s, &rest, e);
}

static int take_end(struct frame_link *l, const struct frame *f, struct error *e)
{
	uint64_t rows;

	if (frame_read_end(f, &rows, e) < 0)
		return -1;
	if (rows != l->rows)
		return error_set(e, ERROR_DATA, "END tells of %llu rows, but %llu came",
			(unsigned long long)rows, (unsigned long long)l->rows);
	l->has_ended = true;
	return 0;
}

int frame_take_failure(const struct frame *f, struct error *e)
{
	struct buf stage = BUF_INIT, message = BUF_INIT;
	int status = frame_read_error(f, &stage, &message, e);

	if (!status)
		status = error_set(e, ERROR_UPSTREAM, "%s failed: %s", buf_cstr(&stage), buf_cstr(&message));
	buf_clear(&stage);
	buf_clear(&message);
	return status;
}

static int take_tick(struct socket_frames *s, const struct frame *f, struct error *e)
{
	int64_t us;

	if (frame_read_int(f, &us, e) < 0)
		return -1;
	if (us <= s->tick_us)
		return 0;
	s->tick_us = us;
	return stage_emit_tick(s->base.stage, us, e);
}

static int take_watermark(struct socket_frames *s, struct frame_link *l, const struct frame *f,
	struct error *e)
{
	int64_t us;

	if (frame_read_int(f, &us, e) < 0)
		return -1;
	if (l->sender && us == WATERMARK_FINAL)
		l->sender->is_over = true;
	else if (l->sender && us > l->sender->watermark_us)
		l->sender->watermark_us = us;
	return 0;
}

/* Of a file: whose it is. */
static int take_note(struct socket_frames *s, struct frame_link *l, const struct frame *f,
	struct error *e)
{
	struct epoch_note n;

	l->is_job = true;
	if (!s->epochs)
		return error_set(e, ERROR_DATA, "the sink of a supervised job wants its epochs kept, and "
			"this ssource has no --spool DIR");
	if (frame_read_epoch(f, &n, e) < 0)
		return -1;
	if (n.verb != EPOCH_BEGIN)
		return 0;
	l->sender = know_senders(s, &n);
	l->sender->is_over = n.count && n.subtask >= n.count;
	return 0;
}

/* 1: the limit is reached. */
static int take_frame(struct socket_frames *s, struct frame_link *l, const struct frame *f,
	struct error *e)
{
	const struct schema *declared;

	if (l->has_ended)
		return error_set(e, ERROR_DATA, "a frame behind END");
	if (l->sender)
		l->sender->active_us = s->now_us;
	switch ((enum frame_kind)f->kind) {
	case FRAME_SCHEMA:
		if (schema_set_declare(&l->schemas, f, &declared, e) < 0)
			return -1;
		return take_schema(s, declared, e);
	case FRAME_BATCH:
	case FRAME_ROWS: return take_rows(s, l, f, e);
	case FRAME_WATERMARK: return take_watermark(s, l, f, e);
	case FRAME_TICK: return take_tick(s, f, e);
	case FRAME_END: return take_end(l, f, e);
	case FRAME_ERROR: return frame_take_failure(f, e);
	case FRAME_EPOCH: return take_note(s, l, f, e);
	case FRAME_HELLO:
	case FRAME_BARRIER:
	case FRAME_STATUS:
	case FRAME_MARKER:
	case FRAME_PACKED:
	case FRAME_SKIP_FIRST:
	case FRAME_SKIP_LAST: break;
	}
	return 0;
}

/* ---- connections ---- */

/* What is wrong with its frames, or with itself, is a connection's own end, not the source's. */
static int end_link(struct socket_frames *s, struct frame_link *l, struct error *why, struct error *e)
{
	if (s->epochs && frame_spool_end(s, l, e) < 0)
		return -1;
	frame_link_end(s, l, why);
	return 0;
}

static bool is_its_own(const struct socket_frames *s, const struct error *why)
{
	return why->code == ERROR_DATA || why->code == ERROR_UPSTREAM;
}

/* Some frames of a connection.  -1 is of what stands behind.  1: the limit is reached. */
static int read_link(struct socket_frames *s, struct frame_link *l, struct error *e)
{
	struct error why = ERROR_INIT;

	for (int i = 0; i < FRAMES_A_TURN; i++) {
		struct frame f;
		int status;

		switch (channel_read(l->reader, false, &f, &why)) {
		case CHANNEL_ERROR:
		case CHANNEL_EOF: return end_link(s, l, &why, e);
		case CHANNEL_AGAIN: l->ready = false; return 0;
		case CHANNEL_FRAME: break;
		}
		status = s->epochs ? frame_spool(s, l, &f, &why) : take_frame(s, l, &f, &why);
		if (status > 0)
			return 1;
		if (status < 0 && is_its_own(s, &why))
			return end_link(s, l, &why, e);
		if (status < 0) {
			*e = why;
			return -1;
		}
	}
	return 0;
}

/* While there is no room nothing is received, and nobody is told of what there is. */
static void pause_link(struct socket_frames *s, struct frame_link *l)
{
	bool has_room = !s->epochs || epochs_has_room(s->epochs, l->receipt);

	if (l->is_paused == !has_room)
		return;
	l->is_paused = !has_room;
	frame_link_watch(s, l, has_room);
	l->ready = true;
	if (!has_room && !s->told_full)
		stage_warn(s->base.stage, "%s is full: its clients wait until there is a checkpoint, or "
			"what it holds has been read", s->o->sockets.spool);
	s->told_full |= !has_room;
}

/* 1: the limit is reached; *more: there may be something at once. */
static int read_links(struct socket_frames *s, bool *more, int64_t *wait_us, struct error *e)
{
	for (size_t i = 0; i < s->links_len; i++) {
		struct frame_link *l = s->links[i];
		int64_t us = -1;
		int status;

		if (l->is_over)
			continue;
		pause_link(s, l);
		status = l->ready && !l->is_paused ? read_link(s, l, e) : 0;
		if (status)
			return status;
		if (s->epochs && !l->is_over && frame_spool_rest(s, l, &us, e) < 0)
			return -1;
		if (us >= 0 && (*wait_us < 0 || us < *wait_us))
			*wait_us = us;
		*more |= l->is_over || (l->ready && !l->is_paused);
	}
	return 0;
}

/* ---- files ---- */

/* Nobody's connections of the process before can't come again; killed, it couldn't say that they were over. */
static void end_earlier(struct socket_frames *s)
{
	for (size_t i = 0; i < s->senders_len; i++)
		s->senders[i]->is_over |= !s->senders[i]->who.count;
	s->own_number = 0;
}

/* The next file.  0; 1: there is none by now. */
static int open_file(struct socket_frames *s, struct error *e)
{
	const char *path;
	int fd;

	if (!s->number)
		s->number = epochs_first(s->epochs);
	if (s->own_number && s->number >= s->own_number)
		end_earlier(s);
	if (s->number >= epochs_next(s->epochs))
		return 1;
	path = epochs_path(s->epochs, s->number);
	if (!path)
		return error_set(e, ERROR_STATE, "%s no longer has file %llu, from which to go on",
			s->o->sockets.spool, (unsigned long long)s->number);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "%s: can't open", path);
	s->file = frame_link_new(fd, path);
	s->file->skip = s->restored_rows;
	s->restored_rows = 0;
	return 0;
}

static int end_file(struct socket_frames *s, struct error *e)
{
	if (!s->file->has_ended)
		return error_set(e, ERROR_STATE, "%s: it is cut off", s->file->peer);
	frame_link_free(s->file);
	s->file = NULL;
	s->number++;
	return s->o->supervised ? 0 : epochs_remove_before(s->epochs, s->number, e);
}

/* Some frames of the files.  As read_links. */
static int read_files(struct socket_frames *s, bool *more, struct error *e)
{
	for (int i = 0; i < FRAMES_A_TURN; i++) {
		struct frame f;
		int status = s->file ? 0 : open_file(s, e);

		if (status)
			return status < 0 ? -1 : 0;
		switch (channel_read(s->file->reader, true, &f, e)) {
		case CHANNEL_ERROR: return -1;
		case CHANNEL_AGAIN: break;
		case CHANNEL_EOF:
			if (end_file(s, e) < 0)
				return -1;
			break;
		case CHANNEL_FRAME:
			status = take_frame(s, s->file, &f, e);
			if (status)
				return status < 0 ? channel_context(s->file->reader, e) : 1;
			break;
		}
	}
	*more = true;
	return 0;
}

/* ---- time ---- */

static int place_watermark(struct socket_frames *s, struct error *e)
{
	int64_t least = INT64_MAX, farthest = WATERMARK_NONE, idle_us = s->o->idle_us;
	bool is_idle = true;

	for (size_t i = 0; i < s->senders_len; i++) {
		const struct frame_sender *x = s->senders[i];

		farthest = x->watermark_us > farthest ? x->watermark_us : farthest;
		if (x->is_over || (idle_us && s->now_us - x->active_us >= idle_us))
			continue;
		is_idle = false;
		if (x->watermark_us < least)
			least = x->watermark_us;
	}
	/* Nobody holds it: as far as anybody was.  It isn't final, another may come. */
	if (is_idle)
		least = farthest;
	if (least > s->watermark_us) {
		if (stage_emit_watermark(s->base.stage, least, e) < 0)
			return -1;
		s->watermark_us = least;
		s->is_idle = false;
	}
	if (!idle_us || is_idle == s->is_idle)
		return 0;
	s->is_idle = is_idle;
	return stage_emit_idle(s->base.stage, is_idle, e);
}

static int64_t until_idle(const struct socket_frames *s)
{
	int64_t least = -1;

	for (size_t i = 0; i < s->senders_len && s->o->idle_us; i++) {
		const struct frame_sender *x = s->senders[i];
		int64_t left = x->active_us + s->o->idle_us - s->now_us;

		if (!x->is_over && left > 0 && (least < 0 || left < least))
			least = left;
	}
	return least;
}

/* ---- the operator ---- */

static int64_t lesser(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static int open_all(struct socket_frames *s, struct error *e)
{
	const struct sockets_options *o = &s->o->sockets;

	if (s->is_open)
		return 0;
	s->is_open = true;
	if (o->spool && epochs_open(o->spool, o->spool_bytes, &s->epochs, e) < 0)
		return -1;
	s->own_number = s->epochs ? epochs_next(s->epochs) : 0;
	if (s->epochs && s->number > epochs_next(s->epochs))
		return error_set(e, ERROR_STATE, "%s has been emptied: it holds files up to %llu, and %llu is to be "
			"read next\nput it back, or begin anew: another --state", o->spool,
			(unsigned long long)epochs_next(s->epochs) - 1, (unsigned long long)s->number);
	if (s->epochs && s->number && s->number < epochs_first(s->epochs))
		return error_set(e, ERROR_STATE, "%s: what was to be read again has been removed: a later "
			"checkpoint was complete", o->spool);
	return frame_links_open(s, e);
}

static int begin_turn(struct socket_frames *s, struct error *e)
{
	s->now_us = clock_mono_us();
	if (open_all(s, e) < 0 || (s->epochs && clockwork_tick(&s->clockwork, s->base.stage, e) < 0))
		return -1;
	if (s->draining) {
		for (size_t i = 0; i < s->links_len && s->epochs; i++) {
			if (!s->links[i]->is_over && frame_spool_end(s, s->links[i], e) < 0)
				return -1;
		}
		frame_links_close(s);
	}
	return frame_links_turn(s, e);
}

static enum produce_status frames_produce(struct operator* op, struct error *e)
{
	struct socket_frames *s = self(op);
	int64_t wait_us = -1;
	bool more = false;
	int status;

	op->wait_fd = -1;
	if ((op->wait_us = clockwork_wait_us(&s->clockwork)))
		return PRODUCE_WAIT;
	if (begin_turn(s, e) < 0)
		return PRODUCE_ERROR;
	status = read_links(s, &more, &wait_us, e);
	if (status == 0 && s->epochs)
		status = read_files(s, &more, e);
	if (status)
		return status < 0 ? PRODUCE_ERROR : PRODUCE_END;
	if (place_watermark(s, e) < 0)
		return PRODUCE_ERROR;
	if (more)
		return PRODUCE_MORE;
	if (frame_links_are_over(s))
		return PRODUCE_END;
	wait_us = lesser(lesser(wait_us, frame_links_wait_us(s)), until_idle(s));
	if (s->epochs)
		wait_us = lesser(wait_us, clockwork_until_tick(&s->clockwork));
	op->wait_fd = s->epoll;
	op->wait_us = wait_us;
	return PRODUCE_WAIT;
}

static void frames_drain(struct operator* op)
{
	self(op)->draining = true;
}

static void frames_free(struct operator* op)
{
	struct socket_frames *s = self(op);

	frame_links_close(s);
	frame_link_free(s->file);
	epochs_close(s->epochs);
	if (s->epoll >= 0)
		close(s->epoll);
	for (size_t i = 0; i < s->senders_len; i++)
		mem_free(s->senders[i]);
	schema_clear(&s->schema);
	arena_clear(&s->arena);
	mem_free(s->senders);
	mem_free(s->links);
	mem_free(s->ports);
	mem_free(s);
}

/* ---- what is spooled ---- */

static int frames_prepare(struct operator* op, uint64_t epoch, struct buf *handle, struct error *e)
{
	const struct socket_frames *s = self(op);

	buf_put(handle, &s->number, sizeof s->number);
	return 0;
}

static int frames_commit(struct operator* op, uint64_t epoch, const uint8_t *handle, size_t len,
	struct error *e)
{
	struct socket_frames *s = self(op);
	uint64_t number;

	if (len != sizeof number)
		return error_set(e, ERROR_STATE, "a damaged handle of spooled frames");
	memcpy(&number, handle, sizeof number);
	s->now_us = clock_mono_us();
	return open_all(s, e) < 0 ? -1 : epochs_remove_before(s->epochs, number, e);
}

static const char *const position_names[] = {"number", "rows", "emitted"};
enum { POSITION_NUMBER, POSITION_ROWS, POSITION_EMITTED, POSITION_LEN };

static void senders_schema(struct schema *s)
{
	schema_add(s, "job", 3, TYPE_OF(TYPE_STRING));
	schema_add(s, "stage", 5, TYPE_OF(TYPE_STRING));
	schema_add(s, "subtask", 7, TYPE_OF(TYPE_INT));
	schema_add(s, "watermark", 9, TYPE_OF(TYPE_INT));
	schema_add(s, "over", 4, TYPE_OF(TYPE_BOOL));
	schema_add(s, "subtasks", 8, TYPE_OF(TYPE_INT));
	schema_set_name(s, "senders");
}

static int frames_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	const struct socket_frames *s = self(op);
	const int64_t position[POSITION_LEN] = {
		[POSITION_NUMBER] = (int64_t)s->number,
		[POSITION_ROWS] = (int64_t)(s->file ? s->file->rows + s->file->skip : s->restored_rows),
		[POSITION_EMITTED] = (int64_t)s->clockwork.rows};
	struct schema schema = SCHEMA_INIT;
	struct batch_builder b;
	int status;

	senders_schema(&schema);
	batch_builder_init(&b, &schema);
	for (size_t i = 0; i < s->senders_len; i++) {
		const struct frame_sender *x = s->senders[i];

		builder_put_text(&b.columns[0], x->who.job, strlen(x->who.job));
		builder_put_text(&b.columns[1], x->who.stage, strlen(x->who.stage));
		builder_put_int(&b.columns[2], (int64_t)x->who.subtask);
		builder_put_int(&b.columns[3], x->watermark_us);
		builder_put_bool(&b.columns[4], x->is_over);
		builder_put_int(&b.columns[5], (int64_t)x->who.count);
	}
	status = snapshot_put_ints(w, "spooled", position_names, position, POSITION_LEN, e);
	if (status == 0)
		status = snapshot_section(w, &schema, e);
	if (status == 0 && s->senders_len)
		status = snapshot_put(w, batch_builder_view(&b), e);
	batch_builder_clear(&b);
	schema_clear(&schema);
	return status;
}

static void copy_text(char *to, size_t room, struct text_view t)
{
	size_t n = t.len < room ? t.len : room - 1;

	if (n)
		memcpy(to, t.text, n);
	to[n] = 0;
}

static int take_senders(struct socket_frames *s, const struct batch *b, struct error *e)
{
	const struct column *job, *stage, *subtask, *watermark, *over, *subtasks;

	if (snapshot_column(b, "job", TYPE_OF(TYPE_STRING), &job, e) < 0 ||
		snapshot_column(b, "stage", TYPE_OF(TYPE_STRING), &stage, e) < 0 ||
		snapshot_column(b, "subtask", TYPE_OF(TYPE_INT), &subtask, e) < 0 ||
		snapshot_column(b, "watermark", TYPE_OF(TYPE_INT), &watermark, e) < 0 ||
		snapshot_column(b, "over", TYPE_OF(TYPE_BOOL), &over, e) < 0 ||
		snapshot_column(b, "subtasks", TYPE_OF(TYPE_INT), &subtasks, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		struct frame_sender *x = frame_sender_add(s);

		copy_text(x->who.job, sizeof x->who.job, column_text(job, r));
		copy_text(x->who.stage, sizeof x->who.stage, column_text(stage, r));
		x->who.subtask = (uint64_t)column_int(subtask, r);
		x->watermark_us = column_int(watermark, r);
		x->is_over = column_bool(over, r);
		x->who.count = (uint64_t)column_int(subtasks, r);
	}
	return 0;
}

static int take_section(struct socket_frames *s, const struct batch *b, struct error *e)
{
	int64_t position[POSITION_LEN];
	bool found;

	if (b->schema->name && strcmp(b->schema->name, "senders") == 0)
		return take_senders(s, b, e);
	if (source_check_section(b, "spooled", e) < 0 || snapshot_read_ints(b, "spooled",
			position_names, position, POSITION_LEN, &found, e) < 0)
		return -1;
	if (!found)
		return 0;
	s->number = (uint64_t)position[POSITION_NUMBER];
	s->restored_rows = (uint64_t)position[POSITION_ROWS];
	s->clockwork.rows = (uint64_t)position[POSITION_EMITTED];
	return 0;
}

static int frames_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	struct socket_frames *s = self(op);
	const struct batch *b;
	int status;

	s->now_us = clock_mono_us();
	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (take_section(s, b, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}

static const struct operator_ops frames_ops = {
	.type = SOURCE_TYPE,
	.free = frames_free,
	.produce = frames_produce,
	.drain = frames_drain,
};

static const struct operator_ops spooled_ops = {
	.type = SOURCE_TYPE,
	.free = frames_free,
	.produce = frames_produce,
	.drain = frames_drain,
	.snapshot = frames_snapshot,
	.restore = frames_restore,
	.prepare = frames_prepare,
	.commit = frames_commit,
};

int source_new_socket_frames(const struct source_options *o, struct operator** out, struct error *e)
{
	struct socket_frames *s;

	if (o->time_column || o->has_delay || o->records.schema_text)
		return error_set(e, ERROR_USAGE, "-t, -d and -s are for records; frames bring their columns and "
			"time with them\nsmap --assign-time gives another");
	s = mem_zero(sizeof *s);
	s->base = (struct operator){.ops = o->sockets.spool ? &spooled_ops : &frames_ops,
		.outputs = 1, .wait_fd = -1, .wait_us = -1};
	s->o = o;
	s->epoll = -1;
	s->net = o->sockets.net;
	s->net.alive = keep_alive;
	s->net.warn = warn;
	s->net.context = s;
	s->ports = mem_zero((o->records.inputs_len + 1) * sizeof *s->ports);
	s->watermark_us = s->tick_us = WATERMARK_NONE;
	schema_init(&s->schema);
	clockwork_init(&s->clockwork, o);
	*out = &s->base;
	return 0;
}
