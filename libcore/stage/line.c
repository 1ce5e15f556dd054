#include "libcore/stage/line.h"

#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/table/keys.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

struct line {
	int fd;
	struct buf in;        /* read, from `at` on not yet handed out */
	size_t at;
	struct buf out;
	struct arena message; /* texts of the last message */
	struct arena plan;
};

struct line *line_new(int fd)
{
	struct line *l = mem_zero(sizeof *l);

	l->fd = fd;
	return l;
}

void line_free(struct line *l)
{
	if (!l)
		return;
	close(l->fd);
	buf_clear(&l->in);
	buf_clear(&l->out);
	arena_clear(&l->message);
	arena_clear(&l->plan);
	mem_free(l);
}

int line_fd(const struct line *l)
{
	return l->fd;
}

/* ---- writing ---- */

static void put_text(struct buf *b, const char *text)
{
	msgpack_put_str(b, text ? text : "", text ? strlen(text) : 0);
}

static void begin(struct line *l)
{
	buf_reset(&l->out);
	buf_reserve(&l->out, FRAME_HEADER_BYTES);
	l->out.len = FRAME_HEADER_BYTES;
}

static int send_out(struct line *l, enum line_kind kind, struct error *e)
{
	size_t body = l->out.len - FRAME_HEADER_BYTES, at = 0;
	uint8_t *p = l->out.data;

	MUST(body <= LINE_MESSAGE_MAX);
	p[0] = 0xc9;
	p[1] = (uint8_t)(body >> 24);
	p[2] = (uint8_t)(body >> 16);
	p[3] = (uint8_t)(body >> 8);
	p[4] = (uint8_t)body;
	p[5] = (uint8_t)kind;
	while (at < l->out.len) {
		ssize_t n = send(l->fd, p + at, l->out.len - at, MSG_NOSIGNAL);

		if (n >= 0)
			at += (size_t)n;
		else if (errno == EAGAIN)
			poll(&(struct pollfd){.fd = l->fd, .events = POLLOUT}, 1, -1);
		else if (errno != EINTR)
			return error_errno(e, "the line to the other side broke");
	}
	return 0;
}

static void put_text_or_nil(struct buf *b, const char *text)
{
	if (text)
		put_text(b, text);
	else
		msgpack_put_nil(b);
}

static void put_pair(struct buf *b, const char *key, const char *text)
{
	put_text(b, key);
	put_text_or_nil(b, text);
}

static void put_flag(struct buf *b, const char *key, bool value)
{
	put_text(b, key);
	msgpack_put_bool(b, value);
}

static void put_number(struct buf *b, const char *key, unsigned value)
{
	put_text(b, key);
	msgpack_put_uint(b, value);
}

static const char *const spreads[] = {"single", "any", "keyed"};

static void put_keys(struct buf *b, const struct stage_description *about, unsigned inputs)
{
	put_text(b, "keys");
	msgpack_put_array(b, inputs);
	for (unsigned i = 0; i < inputs; i++) {
		msgpack_put_array(b, (uint32_t)about->keys_len[i]);
		for (size_t k = 0; k < about->keys_len[i]; k++)
			put_text(b, about->keys[i][k]);
	}
}

/* Paths of inputs, sides of outputs, pipelines behind. */
static void put_ends(struct buf *b, const struct stage_description *about)
{
	put_text(b, "paths");
	msgpack_put_array(b, DESCRIPTION_INPUTS_MAX);
	for (size_t i = 0; i < DESCRIPTION_INPUTS_MAX; i++)
		put_text_or_nil(b, about->inputs[i]);
	put_text(b, "sides");
	msgpack_put_array(b, DESCRIPTION_SIDES_MAX);
	for (size_t i = 0; i < DESCRIPTION_SIDES_MAX; i++) {
		msgpack_put_array(b, 2);
		put_text_or_nil(b, about->sides[i].path);
		put_text_or_nil(b, about->sides[i].format);
	}
	put_text(b, "branches");
	msgpack_put_array(b, (uint32_t)about->branches_len);
	for (size_t i = 0; i < about->branches_len; i++)
		put_text(b, about->branches[i]);
}

static void put_description(struct buf *b, const struct line_description *d)
{
	const struct stage_description *about = &d->about;

	MUST(d->inputs <= DESCRIPTION_INPUTS_MAX);
	msgpack_put_map(b, 19);
	put_number(b, "line", LINE_VERSION);
	put_pair(b, "type", d->type);
	put_pair(b, "name", about->name);
	put_number(b, "inputs", d->inputs);
	put_number(b, "outputs", d->outputs);
	put_flag(b, "bounded", d->bounded);
	put_pair(b, "spread", spreads[about->spread]);
	put_keys(b, about, d->inputs);
	put_ends(b, about);
	put_pair(b, "keeps", about->keeps);
	put_pair(b, "guarantee", about->guarantee);
	put_pair(b, "writes", about->writes);
	put_text(b, "epoch_max_us");
	msgpack_put_int(b, about->epoch_max_us);
	put_flag(b, "cannot_replay", about->cannot_replay);
	put_flag(b, "whole_file", about->whole_file);
	put_flag(b, "standard_output", about->standard_output);
	put_flag(b, "pipe_optional", about->pipe_optional);
}

static void put_body(struct buf *b, const struct line_message *m)
{
	switch (m->kind) {
	case LINE_PLAN: break;
	case LINE_CHECKPOINT:
		msgpack_put_array(b, 3);
		msgpack_put_uint(b, m->checkpoint.checkpoint);
		msgpack_put_uint(b, m->checkpoint.kind);
		msgpack_put_int(b, m->checkpoint.started_us);
		break;
	case LINE_COMMIT:
		msgpack_put_array(b, 2);
		msgpack_put_uint(b, m->number);
		msgpack_put_bin(b, m->handle, m->handle_len);
		break;
	case LINE_DRAIN:
	case LINE_STOP:
	case LINE_READY: msgpack_put_array(b, 0); break;
	case LINE_PING:
	case LINE_COMMITTED:
	case LINE_FINISHED:
		msgpack_put_array(b, 1);
		msgpack_put_uint(b, m->number);
		break;
	case LINE_ACK:
		msgpack_put_array(b, 6);
		msgpack_put_uint(b, m->number);
		put_text(b, m->text);
		msgpack_put_uint(b, m->bytes);
		if (m->hash_unknown)
			msgpack_put_nil(b);
		else
			msgpack_put_uint(b, m->hash);
		msgpack_put_bin(b, m->handle, m->handle_len);
		msgpack_put_uint(b, m->alignment_us);
		break;
	case LINE_DECLINED:
		msgpack_put_array(b, 2);
		msgpack_put_uint(b, m->number);
		put_text(b, m->text);
		break;
	case LINE_FAILED:
		msgpack_put_array(b, 2);
		msgpack_put_int(b, m->status);
		put_text(b, m->text);
		break;
	case LINE_PONG:
		msgpack_put_array(b, 9);
		msgpack_put_uint(b, m->number);
		msgpack_put_uint(b, m->metrics.rows_in);
		msgpack_put_uint(b, m->metrics.rows_out);
		msgpack_put_uint(b, m->metrics.late);
		msgpack_put_uint(b, m->metrics.bad);
		msgpack_put_int(b, m->metrics.watermark_us);
		msgpack_put_uint(b, m->metrics.blocked_us);
		msgpack_put_uint(b, m->metrics.idle_us);
		msgpack_put_uint(b, m->metrics.bytes_out);
		break;
	case LINE_DESCRIPTION: put_description(b, &m->description); break;
	}
}

int line_send(struct line *l, const struct line_message *m, struct error *e)
{
	begin(l);
	put_body(&l->out, m);
	return send_out(l, m->kind, e);
}

static void put_output(struct buf *b, const struct line_output *o)
{
	msgpack_put_array(b, 2);
	msgpack_put_array(b, (uint32_t)o->fds_len);
	for (size_t i = 0; i < o->fds_len; i++)
		msgpack_put_int(b, o->fds[i]);
	msgpack_put_array(b, (uint32_t)o->keys_len);
	for (size_t i = 0; i < o->keys_len; i++)
		put_text(b, o->keys[i]);
}

int line_send_plan(struct line *l, const struct line_plan *p, struct error *e)
{
	struct buf *b = &l->out;

	begin(l);
	msgpack_put_array(b, 14);
	put_text(b, p->name);
	msgpack_put_uint(b, p->subtask);
	msgpack_put_uint(b, p->subtasks);
	msgpack_put_array(b, (uint32_t)p->inputs_len);
	for (size_t i = 0; i < p->inputs_len; i++) {
		msgpack_put_array(b, 3);
		msgpack_put_uint(b, p->inputs[i].input);
		msgpack_put_int(b, p->inputs[i].fd);
		put_text(b, p->inputs[i].name);
	}
	msgpack_put_array(b, (uint32_t)p->outputs_len);
	for (size_t i = 0; i < p->outputs_len; i++)
		put_output(b, &p->outputs[i]);
	msgpack_put_array(b, (uint32_t)p->restore_len);
	for (size_t i = 0; i < p->restore_len; i++)
		put_text(b, p->restore[i]);
	put_text(b, p->snapshots);
	msgpack_put_array(b, (uint32_t)p->commits_len);
	for (size_t i = 0; i < p->commits_len; i++) {
		msgpack_put_array(b, 2);
		msgpack_put_uint(b, p->commits[i].epoch);
		msgpack_put_bin(b, p->commits[i].bytes, p->commits[i].len);
	}
	msgpack_put_int(b, p->lock_fd);
	put_text(b, p->job);
	msgpack_put_uint(b, p->attempt);
	msgpack_put_bool(b, p->finished);
	msgpack_put_array(b, (uint32_t)p->drops_len);
	for (size_t i = 0; i < p->drops_len; i++)
		put_text(b, p->drops[i]);
	msgpack_put_bool(b, p->check);
	return send_out(l, LINE_PLAN, e);
}

/* ---- reading ---- */

/* A cursor that remembers that something was wrong, so that fields are read in one go. */
struct fields {
	struct msgpack m;
	struct arena *arena;
	bool bad;
};

static struct msgpack_item take(struct fields *f, enum msgpack_kind kind)
{
	struct msgpack_item item = {.kind = MSGPACK_NIL};

	if (!f->bad && (msgpack_next(&f->m, &item) != 0 ||
		(item.kind != kind && !(kind == MSGPACK_INT && item.kind == MSGPACK_UINT))))
		f->bad = true;
	if (f->bad)
		memset(&item, 0, sizeof item);
	return item;
}

static uint32_t take_array(struct fields *f, uint32_t most)
{
	uint32_t n = take(f, MSGPACK_ARRAY).count;

	f->bad |= n > most;
	return f->bad ? 0 : n;
}

static uint64_t take_uint(struct fields *f)
{
	return take(f, MSGPACK_INT).uint; /* the same bits for both kinds */
}

static uint64_t take_uint_or_nil(struct fields *f, bool *is_nil)
{
	struct msgpack ahead = f->m;
	struct msgpack_item item;

	*is_nil = !f->bad && msgpack_next(&ahead, &item) == 0 && item.kind == MSGPACK_NIL;
	if (!*is_nil)
		return take_uint(f);
	f->m = ahead;
	return 0;
}

static int64_t take_int(struct fields *f)
{
	return take(f, MSGPACK_INT).integer;
}

static const char *take_text(struct fields *f)
{
	struct msgpack_item item = take(f, MSGPACK_STR);

	return f->bad ? "" : arena_strndup(f->arena, (const char *)item.bytes, item.bytes_len);
}

static const uint8_t *take_bin(struct fields *f, size_t *len)
{
	struct msgpack_item item = take(f, MSGPACK_BIN);

	*len = item.bytes_len;
	return f->bad ? NULL : (const uint8_t *)arena_strndup(f->arena, (const char *)item.bytes,
		item.bytes_len);
}

static const char *take_text_or_nil(struct fields *f)
{
	struct msgpack_item item = {.kind = MSGPACK_NIL};

	if (!f->bad && (msgpack_next(&f->m, &item) != 0 ||
		(item.kind != MSGPACK_STR && item.kind != MSGPACK_NIL)))
		f->bad = true;
	if (f->bad || item.kind == MSGPACK_NIL)
		return NULL;
	return arena_strndup(f->arena, (const char *)item.bytes, item.bytes_len);
}

static bool take_bool(struct fields *f)
{
	return take(f, MSGPACK_BOOL).boolean;
}

static enum stage_spread take_spread(struct fields *f)
{
	const char *text = take_text(f);

	for (int i = 0; i < 3; i++) {
		if (!strcmp(text, spreads[i]))
			return (enum stage_spread)i;
	}
	f->bad = true;
	return STAGE_SINGLE;
}

static void take_keys(struct fields *f, struct stage_description *about)
{
	uint32_t n = take_array(f, DESCRIPTION_INPUTS_MAX);

	for (uint32_t i = 0; i < n; i++) {
		about->keys_len[i] = take_array(f, DESCRIPTION_KEYS_MAX);
		for (size_t k = 0; k < about->keys_len[i]; k++)
			about->keys[i][k] = take_text(f);
	}
}

static void take_paths(struct fields *f, struct stage_description *about)
{
	uint32_t n = take_array(f, DESCRIPTION_INPUTS_MAX);

	for (uint32_t i = 0; i < n; i++)
		about->inputs[i] = take_text_or_nil(f);
}

static void take_sides(struct fields *f, struct stage_description *about)
{
	uint32_t n = take_array(f, DESCRIPTION_SIDES_MAX);

	for (uint32_t i = 0; i < n; i++) {
		f->bad |= take_array(f, 2) != 2;
		about->sides[i].path = take_text_or_nil(f);
		about->sides[i].format = take_text_or_nil(f);
	}
}

static void take_branches(struct fields *f, struct stage_description *about)
{
	about->branches_len = take_array(f, DESCRIPTION_BRANCHES_MAX);
	for (size_t i = 0; i < about->branches_len; i++)
		about->branches[i] = take_text(f);
}

/* The value of one key; false: it isn't one of these. */
static bool take_about(struct fields *f, const char *key, struct stage_description *about)
{
	if (!strcmp(key, "name"))
		about->name = take_text_or_nil(f);
	else if (!strcmp(key, "spread"))
		about->spread = take_spread(f);
	else if (!strcmp(key, "keys"))
		take_keys(f, about);
	else if (!strcmp(key, "paths"))
		take_paths(f, about);
	else if (!strcmp(key, "sides"))
		take_sides(f, about);
	else if (!strcmp(key, "branches"))
		take_branches(f, about);
	else if (!strcmp(key, "keeps"))
		about->keeps = take_text_or_nil(f);
	else if (!strcmp(key, "guarantee"))
		about->guarantee = take_text_or_nil(f);
	else if (!strcmp(key, "writes"))
		about->writes = take_text_or_nil(f);
	else if (!strcmp(key, "epoch_max_us"))
		about->epoch_max_us = take_int(f);
	else if (!strcmp(key, "cannot_replay"))
		about->cannot_replay = take_bool(f);
	else if (!strcmp(key, "whole_file"))
		about->whole_file = take_bool(f);
	else if (!strcmp(key, "standard_output"))
		about->standard_output = take_bool(f);
	else if (!strcmp(key, "pipe_optional"))
		about->pipe_optional = take_bool(f);
	else
		return false;
	return true;
}

static void take_description(struct fields *f, struct line_description *d)
{
	uint32_t pairs = take(f, MSGPACK_MAP).count;

	d->type = "";
	for (uint32_t i = 0; i < pairs && !f->bad; i++) {
		const char *key = take_text(f);

		if (!strcmp(key, "line"))
			d->version = take_uint(f);
		else if (!strcmp(key, "type"))
			d->type = take_text(f);
		else if (!strcmp(key, "inputs"))
			d->inputs = (unsigned)take_uint(f);
		else if (!strcmp(key, "outputs"))
			d->outputs = (unsigned)take_uint(f);
		else if (!strcmp(key, "bounded"))
			d->bounded = take_bool(f);
		else if (!take_about(f, key, &d->about) && !f->bad)
			f->bad |= msgpack_skip(&f->m) != 0;
	}
	f->bad |= d->inputs > DESCRIPTION_INPUTS_MAX || d->outputs > LINE_OUTPUTS_MAX;
}

static void take_body(struct fields *f, struct line_message *m)
{
	if (m->kind != LINE_DESCRIPTION)
		take_array(f, 16);
	switch (m->kind) {
	case LINE_PLAN:
	case LINE_DRAIN:
	case LINE_STOP:
	case LINE_READY: break;
	case LINE_CHECKPOINT:
		m->checkpoint.checkpoint = take_uint(f);
		m->checkpoint.kind = (enum barrier_kind)take_uint(f);
		m->checkpoint.started_us = take_int(f);
		f->bad |= m->checkpoint.kind > BARRIER_FINAL;
		break;
	case LINE_COMMIT:
		m->number = take_uint(f);
		m->handle = take_bin(f, &m->handle_len);
		break;
	case LINE_PING:
	case LINE_COMMITTED:
	case LINE_FINISHED: m->number = take_uint(f); break;
	case LINE_ACK:
		m->number = take_uint(f);
		m->text = take_text(f);
		m->bytes = take_uint(f);
		m->hash = take_uint_or_nil(f, &m->hash_unknown);
		m->handle = take_bin(f, &m->handle_len);
		m->alignment_us = take_uint(f);
		break;
	case LINE_DECLINED:
		m->number = take_uint(f);
		m->text = take_text(f);
		break;
	case LINE_FAILED:
		m->status = (int)take_int(f);
		m->text = take_text(f);
		break;
	case LINE_PONG:
		m->number = take_uint(f);
		m->metrics.rows_in = take_uint(f);
		m->metrics.rows_out = take_uint(f);
		m->metrics.late = take_uint(f);
		m->metrics.bad = take_uint(f);
		m->metrics.watermark_us = take_int(f);
		m->metrics.blocked_us = take_uint(f);
		m->metrics.idle_us = take_uint(f);
		m->metrics.bytes_out = take_uint(f);
		break;
	case LINE_DESCRIPTION: take_description(f, &m->description); break;
	}
}

static bool is_kind(uint8_t kind)
{
	return (kind >= LINE_PLAN && kind <= LINE_PING) || (kind >= LINE_READY && kind <= LINE_DECLINED);
}

/* The body of the next whole message, which is passed over; 0, 1 if it isn't here yet. */
static int next_body(struct line *l, uint8_t *kind, struct msgpack *body, struct error *e)
{
	const uint8_t *p = l->in.data + l->at;
	size_t len = l->in.len - l->at;
	struct msgpack_ext h;
	int status = msgpack_ext_head(p, len, &h);

	if (status < 0 || (status == 0 && (h.body_bytes > LINE_MESSAGE_MAX || !is_kind(h.type))))
		return error_set(e, ERROR_DATA, "the line carries something that is no message");
	if (status || len - h.head_bytes < h.body_bytes)
		return 1;
	*kind = h.type;
	*body = (struct msgpack){p + h.head_bytes, p + h.head_bytes + h.body_bytes};
	l->at += (size_t)h.head_bytes + h.body_bytes;
	return 0;
}

static enum line_status fill(struct line *l, bool may_block, struct error *e)
{
	enum { READ_BYTES = 64 << 10 };
	ssize_t n;

	if (l->at == l->in.len) {
		buf_reset(&l->in);
		l->at = 0;
	}
	do
		n = recv(l->fd, buf_reserve(&l->in, READ_BYTES), READ_BYTES,
			may_block ? 0 : MSG_DONTWAIT);
	while (n < 0 && errno == EINTR && may_block);
	if (n > 0) {
		l->in.len += (size_t)n;
		return LINE_MESSAGE;
	}
	if (n == 0 || errno == ECONNRESET)
		return LINE_CLOSED;
	if (errno == EAGAIN || errno == EINTR)
		return LINE_AGAIN;
	error_errno(e, "the line to the other side broke");
	return LINE_ERROR;
}

static enum line_status read_body(struct line *l, bool may_block, uint8_t *kind,
	struct msgpack *body, struct error *e)
{
	for (;;) {
		int status = next_body(l, kind, body, e);

		if (status <= 0)
			return status < 0 ? LINE_ERROR : LINE_MESSAGE;
		enum line_status filled = fill(l, may_block, e);

		if (filled != LINE_MESSAGE)
			return filled;
	}
}

enum line_status line_read(struct line *l, bool may_block, struct line_message *out,
	struct error *e)
{
	struct fields f = {.arena = &l->message};
	enum line_status status;
	uint8_t kind;

	status = read_body(l, may_block, &kind, &f.m, e);
	if (status != LINE_MESSAGE)
		return status;
	arena_reset(&l->message);
	*out = (struct line_message){.kind = (enum line_kind)kind};
	take_body(&f, out);
	if (!f.bad && kind != LINE_PLAN)
		return LINE_MESSAGE;
	error_set(e, ERROR_DATA, "a malformed message of kind 0x%02x on the line", kind);
	return LINE_ERROR;
}

static void take_output(struct fields *f, struct line_output *o)
{
	f->bad |= take_array(f, 2) != 2;
	o->fds_len = take_array(f, LINE_INPUTS_MAX);
	for (size_t i = 0; i < o->fds_len; i++)
		o->fds[i] = (int)take_int(f);
	o->keys_len = take_array(f, LINE_KEYS_MAX);
	for (size_t i = 0; i < o->keys_len; i++)
		o->keys[i] = take_text(f);
}

static void take_plan(struct fields *f, struct line_plan *p)
{
	take_array(f, 16);
	p->name = take_text(f);
	p->subtask = (uint32_t)take_uint(f);
	p->subtasks = (uint32_t)take_uint(f);
	p->inputs_len = take_array(f, LINE_INPUTS_MAX);
	for (size_t i = 0; i < p->inputs_len; i++) {
		f->bad |= take_array(f, 3) != 3;
		p->inputs[i].input = (unsigned)take_uint(f);
		p->inputs[i].fd = (int)take_int(f);
		p->inputs[i].name = take_text(f);
	}
	p->outputs_len = take_array(f, LINE_OUTPUTS_MAX);
	for (size_t i = 0; i < p->outputs_len; i++)
		take_output(f, &p->outputs[i]);
	p->restore_len = take_array(f, LINE_FILES_MAX);
	for (size_t i = 0; i < p->restore_len; i++)
		p->restore[i] = take_text(f);
	p->snapshots = take_text(f);
	p->commits_len = take_array(f, LINE_FILES_MAX);
	for (size_t i = 0; i < p->commits_len; i++) {
		f->bad |= take_array(f, 2) != 2;
		p->commits[i].epoch = take_uint(f);
		p->commits[i].bytes = take_bin(f, &p->commits[i].len);
	}
	p->lock_fd = (int)take_int(f);
	p->job = take_text(f);
	p->attempt = take_uint(f);
	p->finished = take(f, MSGPACK_BOOL).boolean;
	p->drops_len = take_array(f, LINE_DROPS_MAX);
	for (size_t i = 0; i < p->drops_len; i++)
		p->drops[i] = take_text(f);
	p->check = take(f, MSGPACK_BOOL).boolean;
	f->bad |= p->subtasks < 1 || p->subtask >= p->subtasks || p->subtasks > KEY_GROUPS;
}

int line_read_plan(struct line *l, struct line_plan *out, struct error *e)
{
	struct fields f = {.arena = &l->plan};
	uint8_t kind;

	memset(out, 0, sizeof *out);
	switch (read_body(l, true, &kind, &f.m, e)) {
	case LINE_MESSAGE: break;
	case LINE_ERROR: return -1;
	case LINE_AGAIN:
	case LINE_CLOSED: return 1;
	}
	if (kind == LINE_PLAN)
		take_plan(&f, out);
	if (kind != LINE_PLAN || f.bad)
		return error_set(e, ERROR_DATA, "the line's first message is no plan");
	return 0;
}
