#include "libcore/frame/channel.h"

#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum {
	/* What one read takes at most: half of what a pipe is asked to hold, so that the writer goes on
	 * while this side works, and small enough to stay in a core's second cache. */
	READER_BYTES = 512 << 10,
	HEADER_PEEK_BYTES = FRAME_HEADER_BYTES,
};

/*   data      start          end          cap
 *   | consumed | frames       | room       |      start is moved down to data (which is aligned)
 *                                                 whenever room is made, so most frames start
 *                                                 aligned; the others' columns are copied
 */
struct channel_reader {
	int fd;              /* -1: from memory, or from source */
	struct channel_source source; /* take NULL: none */
	char *name;
	uint8_t *data;       /* owned, unless from memory */
	size_t start, end, cap;
	bool eof;
	bool hello;          /* the first frame has been seen */
	uint64_t frames;     /* handed out */
	uint64_t bytes;      /* of whole frames passed, this side of start */
	uint64_t frame_at;   /* byte offset of the last frame */
	uint64_t bytes_read;
	struct buf unpacked; /* of the last PACKED frame */
	size_t unpacked_at;
	bool memory;
};

struct channel_reader *channel_reader_new(int fd, const char *name)
{
	struct channel_reader *r = mem_zero(sizeof *r);

	r->fd = fd;
	r->name = mem_strdup(name);
	r->cap = READER_BYTES;
	r->data = mem_alloc(r->cap);
	return r;
}

struct channel_reader *channel_reader_new_source(const struct channel_source *s, const char *name)
{
	struct channel_reader *r = channel_reader_new(-1, name);

	r->source = *s;
	return r;
}

struct channel_reader *channel_reader_new_memory(const void *bytes, size_t len, const char *name)
{
	struct channel_reader *r = mem_zero(sizeof *r);

	r->fd = -1;
	r->name = mem_strdup(name);
	r->data = mem_alloc(len); /* aligned, and never written through a const pointer */
	if (len)
		memcpy(r->data, bytes, len);
	r->end = r->cap = len;
	r->eof = r->memory = true;
	return r;
}

void channel_reader_free(struct channel_reader *r)
{
	if (!r)
		return;
	mem_free(r->data);
	mem_free(r->name);
	buf_clear(&r->unpacked);
	mem_free(r);
}

int channel_reader_fd(const struct channel_reader *r)
{
	return r->fd;
}

const char *channel_reader_name(const struct channel_reader *r)
{
	return r->name;
}

uint64_t channel_reader_bytes(const struct channel_reader *r)
{
	return r->bytes_read;
}

int channel_context(const struct channel_reader *r, struct error *e)
{
	return error_context(e, "%s: frame %llu at byte %llu", r->name,
		(unsigned long long)r->frames, (unsigned long long)r->frame_at);
}

/* ---- framing ---- */

static int not_a_stream(const struct channel_reader *r, struct error *e)
{
	return error_set(e, ERROR_USAGE, "%s is not a frame stream\n"
		"put ssource in front: ssource FILE | ...", r->name);
}

static int check_header(struct channel_reader *r, const struct msgpack_ext *h, struct error *e)
{
	if (!r->hello && h->type != FRAME_HELLO)
		return not_a_stream(r, e);
	if (h->body_bytes > FRAME_BODY_MAX) {
		error_set(e, ERROR_DATA, "a frame of %u bytes; the limit is %d", h->body_bytes,
			FRAME_BODY_MAX);
		return channel_context(r, e);
	}
	return 0;
}

/* The frame that starts at p, if it is whole.  *needed: its length as far as it is known. */
static enum channel_status frame_at(struct channel_reader *r, const uint8_t *p, size_t len,
	struct frame *out, size_t *needed, struct error *e)
{
	struct msgpack_ext h;
	int status = msgpack_ext_head(p, len, &h);

	if (status > 0) {
		*needed = HEADER_PEEK_BYTES;
		return CHANNEL_AGAIN;
	}
	if (status < 0 && !r->hello) {
		not_a_stream(r, e);
		return CHANNEL_ERROR;
	}
	if (status < 0) {
		error_set(e, ERROR_DATA, "byte 0x%02x starts no frame", p[0]);
		channel_context(r, e);
		return CHANNEL_ERROR;
	}
	if (check_header(r, &h, e) < 0)
		return CHANNEL_ERROR;
	*needed = (size_t)h.head_bytes + h.body_bytes;
	if (len < *needed)
		return CHANNEL_AGAIN;
	/* "runnel" behind the array's head: a file that happens to start like an ext isn't ours. */
	if (!r->hello && (h.body_bytes < 8 || memcmp(p + h.head_bytes + 2, "runnel", 6) != 0)) {
		not_a_stream(r, e);
		return CHANNEL_ERROR;
	}
	r->hello = true;
	*out = (struct frame){h.type, p + h.head_bytes, h.body_bytes};
	return CHANNEL_FRAME;
}

static bool is_known(uint8_t kind)
{
	return kind <= FRAME_EPOCH;
}

/* ---- filling the buffer ---- */

static void make_room(struct channel_reader *r, size_t needed)
{
	size_t have = r->end - r->start;

	if (r->start && (have == 0 || r->cap - r->start < needed || r->end == r->cap)) {
		memmove(r->data, r->data + r->start, have);
		r->start = 0;
		r->end = have;
	}
	if (r->cap < needed) {
		size_t cap = needed + READER_BYTES / 4;

		r->data = mem_resize(r->data, cap);
		r->cap = cap;
	}
}

static bool is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static enum channel_status fill_from_source(struct channel_reader *r, struct error *e)
{
	size_t got = 0;
	int status = r->source.take(r->source.context, r->data + r->end, r->cap - r->end, &got, e);

	if (status < 0)
		return CHANNEL_ERROR;
	r->eof = status == 1;
	r->end += got;
	r->bytes_read += got;
	return CHANNEL_FRAME;
}

static enum channel_status fill(struct channel_reader *r, bool may_block, size_t needed,
	struct error *e)
{
	ssize_t n;

	make_room(r, needed);
	if (r->source.take)
		return fill_from_source(r, e);
	if (!may_block && !is_readable(r->fd))
		return CHANNEL_AGAIN;
	n = read(r->fd, r->data + r->end, r->cap - r->end);
	if (n < 0 && errno == EAGAIN && may_block && poll(&(struct pollfd){.fd = r->fd,
		.events = POLLIN}, 1, -1) > 0)
		n = read(r->fd, r->data + r->end, r->cap - r->end);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return CHANNEL_AGAIN;
	if (n < 0) {
		error_errno(e, "%s: can't read", r->name);
		return CHANNEL_ERROR;
	}
	r->eof = n == 0;
	r->end += (size_t)n;
	r->bytes_read += (uint64_t)n;
	return CHANNEL_FRAME;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Whether what is there could go on to be a HELLO: six bytes at least, and those of the body. */
static bool begins_a_hello(const uint8_t *p, size_t len)
{
	static const char magic[] = "runnel";
	struct msgpack_ext h;
	size_t at;

	if (msgpack_ext_head(p, len, &h) != 0 || h.type != FRAME_HELLO)
		return false;
	at = h.head_bytes + 2;
	return len <= at || !memcmp(p + at, magic, least(len - at, sizeof magic - 1));
}

static enum channel_status at_eof(struct channel_reader *r, struct error *e)
{
	if (r->start == r->end)
		return CHANNEL_EOF;
	if (!r->hello && !begins_a_hello(r->data + r->start, r->end - r->start)) {
		not_a_stream(r, e);
		return CHANNEL_ERROR;
	}
	error_set(e, ERROR_UPSTREAM, "%s ends in the middle of frame %llu, at byte %llu", r->name, (unsigned long long)r->frames + 1,
		(unsigned long long)(r->bytes + (r->end - r->start)));
	return CHANNEL_ERROR;
}

/* The next frame as it stands in the stream. */
static enum channel_status read_outer(struct channel_reader *r, bool may_block, struct frame *out,
	struct error *e)
{
	for (;;) {
		size_t needed = HEADER_PEEK_BYTES;
		enum channel_status status;

		r->frames++; /* so that an error about the head names this frame */
		r->frame_at = r->bytes;
		status = frame_at(r, r->data + r->start, r->end - r->start, out, &needed, e);
		if (status == CHANNEL_FRAME) {
			r->start += needed;
			r->bytes += needed;
			return CHANNEL_FRAME;
		}
		if (status == CHANNEL_ERROR)
			return CHANNEL_ERROR;
		r->frames--;
		if (r->eof)
			return at_eof(r, e);
		status = fill(r, may_block, needed, e);
		if (status != CHANNEL_FRAME)
			return status;
	}
}

/* ---- PACKED ---- */

static enum channel_status unpack(struct channel_reader *r, const struct frame *f, struct error *e)
{
	r->unpacked_at = 0;
	if (frame_read_packed(f, &r->unpacked, e) == 0)
		return CHANNEL_FRAME;
	buf_reset(&r->unpacked);
	channel_context(r, e);
	return CHANNEL_ERROR;
}

static enum channel_status read_inner(struct channel_reader *r, struct frame *out, struct error *e)
{
	size_t needed;
	enum channel_status status = frame_at(r, r->unpacked.data + r->unpacked_at,
		r->unpacked.len - r->unpacked_at, out, &needed, e);

	if (status == CHANNEL_ERROR)
		return CHANNEL_ERROR;
	r->unpacked_at += status == CHANNEL_FRAME ? needed : 0;
	if (status == CHANNEL_FRAME && out->kind != FRAME_PACKED && out->kind != FRAME_BARRIER &&
		out->kind != FRAME_END)
		return CHANNEL_FRAME;
	error_set(e, ERROR_DATA, status == CHANNEL_FRAME ?
		"malformed frame: PACKED: holds a frame that must not be packed" :
		"malformed frame: PACKED: ends in the middle of a frame");
	channel_context(r, e);
	return CHANNEL_ERROR;
}

enum channel_status channel_read(struct channel_reader *r, bool may_block, struct frame *out,
	struct error *e)
{
	for (;;) {
		enum channel_status status;

		if (r->unpacked_at < r->unpacked.len) {
			status = read_inner(r, out, e);
		} else {
			status = read_outer(r, may_block, out, e);
			if (status == CHANNEL_FRAME && out->kind == FRAME_PACKED) {
				if (unpack(r, out, e) == CHANNEL_ERROR)
					return CHANNEL_ERROR;
				continue;
			}
		}
		if (status != CHANNEL_FRAME || is_known(out->kind))
			return status;
		if (out->kind < FRAME_SKIP_FIRST || out->kind > FRAME_SKIP_LAST) {
			error_set(e, ERROR_DATA, "unknown kind of frame 0x%02x", out->kind);
			channel_context(r, e);
			return CHANNEL_ERROR;
		}
	}
}

bool channel_has_buffered(const struct channel_reader *r)
{
	size_t len = r->end - r->start;
	struct msgpack_ext h;

	if (r->unpacked_at < r->unpacked.len)
		return true;
	switch (msgpack_ext_head(r->data + r->start, len, &h)) {
	case 0: return h.body_bytes > FRAME_BODY_MAX || len >= (size_t)h.head_bytes + h.body_bytes;
	case 1: return false;
	}
	return true; /* an error: channel_read says it without reading on */
}

/* ---- schemas ---- */

static void schema_free(struct schema *s)
{
	schema_clear(s);
	mem_free(s);
}

int schema_set_declare(struct schema_set *set, const struct frame *f, const struct schema **out,
	struct error *e)
{
	struct schema *s = mem_zero(sizeof *s);
	uint32_t id;

	if (frame_read_schema(f, &id, s, e) < 0) {
		mem_free(s);
		return -1;
	}
	if (id >= SCHEMA_ID_MAX) {
		schema_free(s);
		return error_set(e, ERROR_DATA, "malformed frame: SCHEMA: id %u, the limit is %d", id,
			SCHEMA_ID_MAX);
	}
	if (id < set->len && set->schemas[id] && !schema_equal(set->schemas[id], s)) {
		schema_free(s);
		return error_set(e, ERROR_DATA,
			"malformed frame: SCHEMA: id %u is declared again, differently", id);
	}
	if (id >= set->len) {
		size_t old = set->len;

		MEM_GROW(set->schemas, set->cap, id + 1);
		set->len = id + 1;
		memset(set->schemas + old, 0, (set->len - old) * sizeof *set->schemas);
	}
	if (set->schemas[id])
		schema_free(s);
	else
		set->schemas[id] = s;
	*out = set->schemas[id];
	return 0;
}

const struct schema *schema_set_find(const struct schema_set *set, uint32_t id)
{
	return id < set->len ? set->schemas[id] : NULL;
}

void schema_set_clear(struct schema_set *set)
{
	for (size_t i = 0; i < set->len; i++) {
		if (set->schemas[i])
			schema_free(set->schemas[i]);
	}
	mem_free(set->schemas);
	*set = (struct schema_set){.schemas = NULL};
}
