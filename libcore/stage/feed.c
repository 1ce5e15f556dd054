#include "libcore/stage/feed.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <unistd.h>

static struct stage *neighbour_stage(struct operator *op, const char *name,
	const struct stage_output_plan *output)
{
	static const unsigned only_input[] = {0};
	struct stage_plan plan = {.name = name, .subtasks = 1, .channel_inputs = only_input,
		.channels_len = op->inputs, .outputs = output};

	return stage_new(&plan, op);
}

void neighbour_open_sink(struct neighbour *n, struct operator *sink, const char *name)
{
	MUST(sink->inputs == 1 && sink->outputs == 0);
	*n = (struct neighbour){.at = 0};
	n->writer = channel_writer_new_memory(&n->frames);
	n->st = neighbour_stage(sink, name, NULL);
}

/* The next whole frame that lies in the buffer.  Our own writer put it there: it is well formed. */
static bool neighbour_frame(struct neighbour *n, struct frame *out)
{
	const uint8_t *p = n->frames.data + n->at;
	uint32_t body_bytes;

	if (n->at == n->frames.len) {
		buf_reset(&n->frames);
		n->at = 0;
		return false;
	}
	MUST(n->frames.len - n->at >= FRAME_HEADER_BYTES && p[0] == 0xc9);
	body_bytes = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	MUST(n->frames.len - n->at - FRAME_HEADER_BYTES >= body_bytes);
	*out = (struct frame){.kind = p[5], .body = p + FRAME_HEADER_BYTES, .body_bytes = body_bytes};
	n->at += FRAME_HEADER_BYTES + body_bytes;
	return true;
}

int neighbour_take(struct neighbour *n, struct error *e)
{
	struct frame f;

	if (channel_flush(n->writer, e) < 0)
		return -1;
	while (neighbour_frame(n, &f)) {
		if (stage_take(n->st, 0, &f, e) < 0)
			return -1;
	}
	return 0;
}

int neighbour_idle(struct neighbour *n, struct error *e)
{
	if (neighbour_take(n, e) < 0)
		return -1;
	return stage_has_ended(n->st) ? 0 : stage_idle(n->st, e);
}

void neighbour_abort(struct neighbour *n, const struct error *cause)
{
	if (!stage_has_ended(n->st))
		stage_fail(n->st, cause);
}

void neighbour_close(struct neighbour *n)
{
	stage_free(n->st);
	channel_writer_free(n->writer);
	buf_clear(&n->frames);
}

void feed_open_fd(struct feed *f, unsigned input, int fd, bool owns_fd, const char *name)
{
	*f = (struct feed){.input = input, .fd = fd, .owns_fd = owns_fd};
	f->name = mem_strdup(name);
	f->reader = channel_reader_new(fd, name);
}

void feed_open_neighbour(struct feed *f, unsigned input, struct operator *source, const char *name)
{
	struct stage_output_plan output;

	MUST(source->inputs == 0 && source->outputs == 1);
	*f = (struct feed){.input = input, .fd = -1};
	f->name = mem_strdup(name);
	f->neighbour.writer = channel_writer_new_memory(&f->neighbour.frames);
	output = (struct stage_output_plan){.writers = &f->neighbour.writer, .writers_len = 1};
	f->neighbour.st = neighbour_stage(source, "ssource", &output);
}

void feed_close(struct feed *f)
{
	if (f->reader)
		channel_reader_free(f->reader);
	else
		neighbour_close(&f->neighbour);
	if (f->owns_fd)
		close(f->fd);
	mem_free(f->name);
}

static enum channel_status feed_produce(struct feed *f, struct frame *out, struct error *e)
{
	struct neighbour *n = &f->neighbour;

	while (!neighbour_frame(n, out)) {
		enum produce_status status;

		if (n->ended)
			return CHANNEL_EOF;
		status = stage_produce(n->st, e);
		if (status == PRODUCE_ERROR)
			return CHANNEL_ERROR;
		n->ended = status == PRODUCE_END;
		if (channel_flush(n->writer, e) < 0)
			return CHANNEL_ERROR;
	}
	return CHANNEL_FRAME;
}

enum channel_status feed_read(struct feed *f, bool may_block, struct frame *out, struct error *e)
{
	enum channel_status status = f->reader ? channel_read(f->reader, may_block, out, e) :
		feed_produce(f, out, e);

	f->over = status == CHANNEL_EOF;
	return status;
}

int feed_fd(const struct feed *f)
{
	return f->fd;
}

const char *feed_name(const struct feed *f)
{
	return f->name;
}

bool feed_is_over(const struct feed *f)
{
	return f->over;
}

int feed_context(const struct feed *f, const struct stage *st, struct error *e)
{
	/* Only what is wrong with the frame itself is told by its place in the stream. */
	if (f->reader && e->code == ERROR_DATA && stage_rejected_frame(st))
		return channel_context(f->reader, e);
	return -1;
}

/* HELLO in any of ext's forms, as channel_read takes it. */
bool feed_looks_like_frames(const uint8_t *bytes, size_t len)
{
	size_t kind_at;

	if (!len || bytes[0] < 0xc7 || bytes[0] > 0xc9)
		return false;
	kind_at = bytes[0] == 0xc7 ? 2 : bytes[0] == 0xc8 ? 3 : 5;
	return len >= kind_at + 9 && bytes[kind_at] == FRAME_HELLO &&
		!memcmp(bytes + kind_at + 3, "runnel", 6);
}
