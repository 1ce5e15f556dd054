#include "libcore/state/spill.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/frame/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SPILL_SCHEMA_ID = 1,
	SPILL_READ_BYTES = 64 << 10, /* at once; more where a frame is larger */
};

struct spill_run {
	int fd;
	struct schema schema;
	struct channel_writer *writer;
	uint64_t rows;
};

/* ---- writing ---- */

/* A file without a name; where the file system has none, one whose name is gone at once. */
static int open_nameless(const char *directory, struct error *e)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char *path;

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
		path = mem_printf("%s/runnel-XXXXXX", directory);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
		mem_free(path);
	}
	if (fd >= 0)
		return fd;
	error_errno(e, "%s: can't make a temporary file", directory);
	return error_hint(e, "TMPDIR names another directory");
}

int spill_run_new(
	const char *directory, const struct schema *s, struct spill_run **out, struct error *e)
{
	struct spill_run *r;
	int fd = open_nameless(directory, e);

	if (fd < 0)
		return -1;
	r = mem_zero(sizeof *r);
	r->fd = fd;
	schema_init(&r->schema);
	schema_copy(&r->schema, s);
	r->writer = channel_writer_new(fd, directory);
	*out = r;
	return 0;
}

void spill_run_free(struct spill_run *r)
{
	if (!r)
		return;
	channel_writer_free(r->writer);
	close(r->fd);
	schema_clear(&r->schema);
	mem_free(r);
}

int spill_run_put(struct spill_run *r, const struct batch *b, struct error *e)
{
	struct batch own = *b;

	if (!b->rows)
		return 0;
	own.schema = &r->schema;
	if (channel_write_batch(r->writer, SPILL_SCHEMA_ID, &own, e) < 0 ||
		channel_flush(r->writer, e) < 0)
		return error_hint(e, "TMPDIR names another directory");
	r->rows += b->rows;
	return 0;
}

uint64_t spill_run_place(const struct spill_run *r)
{
	return channel_writer_bytes(r->writer);
}

uint64_t spill_run_bytes(const struct spill_run *r)
{
	return channel_writer_bytes(r->writer);
}

uint64_t spill_run_rows(const struct spill_run *r)
{
	return r->rows;
}

const struct schema *spill_run_schema(const struct spill_run *r)
{
	return &r->schema;
}

/* ---- reading ---- */

struct spill_reader {
	const struct spill_run *run;
	uint64_t at, to;        /* of the file: what was read into bytes, what is to be read */
	uint8_t *bytes;         /* aligned as frames want it: whole frames lie at multiples of 16 */
	size_t first, len, cap; /* bytes[first .. len) are not handed out */
	struct arena arena;
	struct batch batch;
};

struct spill_reader *spill_reader_new(const struct spill_run *run, uint64_t from, uint64_t to)
{
	struct spill_reader *r = mem_zero(sizeof *r);

	r->run = run;
	r->at = from;
	r->to = to == SPILL_TO_END ? spill_run_place(run) : to;
	MUST(r->at <= r->to && r->to <= spill_run_place(run));
	return r;
}

void spill_reader_free(struct spill_reader *r)
{
	if (!r)
		return;
	arena_clear(&r->arena);
	mem_column_free(r->bytes, r->cap);
	mem_free(r);
}

/* Room for `wanted` bytes from first on, which moves to the front. */
static void make_room(struct spill_reader *r, size_t wanted)
{
	size_t left = r->len - r->first;

	if (left)
		memmove(r->bytes, r->bytes + r->first, left);
	if (wanted > r->cap) {
		size_t cap = (wanted + SPILL_READ_BYTES - 1) / SPILL_READ_BYTES * SPILL_READ_BYTES;

		r->bytes = mem_column_resize(r->bytes, r->cap, cap);
		r->cap = cap;
	}
	r->first = 0;
	r->len = left;
}

/* At least `wanted` bytes from first on; pread, as the position is shared over fork. */
static int fill(struct spill_reader *r, size_t wanted, struct error *e)
{
	if (r->len - r->first >= wanted)
		return 0;
	make_room(r, wanted > SPILL_READ_BYTES ? wanted : SPILL_READ_BYTES);
	while (r->len < wanted) {
		uint64_t left = r->to - r->at;
		size_t room = r->cap - r->len;
		ssize_t n = pread(
			r->run->fd, r->bytes + r->len, left < room ? left : room, (off_t)r->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(e, "can't read a temporary file");
		if (n == 0)
			return error_set(e, ERROR_IO, "a temporary file has lost %zu bytes",
				wanted - r->len);
		r->len += (size_t)n;
		r->at += (uint64_t)n;
	}
	return 0;
}

int spill_reader_next(struct spill_reader *r, const struct batch **out, struct error *e)
{
	struct frame f = {.kind = FRAME_BATCH};
	const uint8_t *head;
	size_t bytes;

	if (r->first == r->len && r->at == r->to)
		return 1;
	if (fill(r, FRAME_HEADER_BYTES, e) < 0)
		return -1;
	head = r->bytes + r->first;
	f.body_bytes = (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 |
		       head[4];
	bytes = FRAME_HEADER_BYTES + (size_t)f.body_bytes;
	if (fill(r, bytes, e) < 0)
		return -1;
	f.body = r->bytes + r->first + FRAME_HEADER_BYTES;
	r->first += bytes;
	arena_reset(&r->arena);
	if (frame_read_batch(&f, &r->run->schema, false, &r->arena, &r->batch, e) < 0)
		return error_context(e, "a temporary file");
	*out = &r->batch;
	return 0;
}
