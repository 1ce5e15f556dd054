#include "libcore/frame/channel.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/frame/batch_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	/* Frames up to this size are copied behind others and leave together: a system call costs as
	 * much as copying some ten kilobytes. */
	SMALL_FRAME_BYTES = 16 << 10,
	PENDING_BYTES_MAX = 64 << 10,
	IOVECS_MAX = 256, /* well below IOV_MAX */
	PIPE_BYTES = 1 << 20,
	/* What can't be compressed grows by a 255th (lz4), and by its head. */
	PACKED_RAW_MAX = FRAME_BODY_MAX - (512 << 10),
};

struct channel_writer {
	int fd;                /* -1: into memory */
	struct buf *memory;
	char *name;
	struct buf pending;
	bool closed;
	uint64_t bytes;
	uint64_t blocked_us;
	const char *codec;     /* NULL: none */
	struct batch_layout layout;
	struct buf raw;        /* a batch before it is packed */
	struct channel_wait wait;
	struct channel_tap tap;
};

struct channel_writer *channel_writer_new(int fd, const char *name)
{
	struct channel_writer *w = mem_zero(sizeof *w);

	w->fd = fd;
	w->name = mem_strdup(name);
	return w;
}

struct channel_writer *channel_writer_new_memory(struct buf *b)
{
	struct channel_writer *w = channel_writer_new(-1, "memory");

	w->memory = b;
	return w;
}

void channel_writer_free(struct channel_writer *w)
{
	if (!w)
		return;
	mem_free(w->name);
	buf_clear(&w->pending);
	buf_clear(&w->raw);
	batch_layout_clear(&w->layout);
	mem_free(w);
}

int channel_writer_pack(struct channel_writer *w, const char *codec, struct error *e)
{
	if (codec && strcmp(codec, "lz4") != 0 && strcmp(codec, "zstd") != 0)
		return error_set(e, ERROR_USAGE, "unknown codec '%s'\nthere are lz4 and zstd", codec);
	w->codec = !codec ? NULL : !strcmp(codec, "lz4") ? "lz4" : "zstd";
	return 0;
}

void channel_writer_on_block(struct channel_writer *w, const struct channel_wait *wait)
{
	w->wait = *wait;
}

void channel_writer_tap(struct channel_writer *w, const struct channel_tap *tap)
{
	w->tap = *tap;
}

/* ---- bytes out ---- */

static void show_tap(const struct channel_writer *w, const struct iovec *iov, size_t written)
{
	for (; w->tap.see && written; iov++) {
		size_t len = iov->iov_len < written ? iov->iov_len : written;

		w->tap.see(w->tap.context, iov->iov_base, len);
		written -= len;
	}
}

/* What one writev took is struck off the front of the list. */
static void advance(struct iovec **iov, size_t *n, size_t written)
{
	while (*n && written >= (*iov)->iov_len) {
		written -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (*n) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + written;
		(*iov)->iov_len -= written;
	}
}

static int wait_for_room(struct channel_writer *w, struct error *e)
{
	int64_t since;
	int status;

	if (!w->wait.wait) {
		poll(&(struct pollfd){.fd = w->fd, .events = POLLOUT}, 1, -1);
		return 0;
	}
	since = clock_mono_us();
	status = w->wait.wait(w->wait.context, w->fd, e);
	w->blocked_us += (uint64_t)(clock_mono_us() - since);
	return status;
}

static int write_some(struct channel_writer *w, struct iovec **iov, size_t *n, struct error *e)
{
	ssize_t written = writev(w->fd, *iov, (int)(*n < IOVECS_MAX ? *n : IOVECS_MAX));

	if (written >= 0) {
		w->bytes += (uint64_t)written;
		show_tap(w, *iov, (size_t)written);
		advance(iov, n, (size_t)written);
	} else if (errno == EAGAIN) {
		return wait_for_room(w, e);
	} else if (errno == EPIPE || errno == ECONNRESET) {
		w->closed = true;
	} else if (errno != EINTR) {
		return error_errno(e, "%s: can't write", w->name);
	}
	return 0;
}

static int write_all(struct channel_writer *w, struct iovec *iov, size_t n, struct error *e)
{
	int64_t since = w->wait.wait ? 0 : clock_mono_us();
	int status = 0;

	advance(&iov, &n, 0); /* empty ones in front */
	while (n && !w->closed && status == 0)
		status = write_some(w, &iov, &n, e);
	if (!w->wait.wait)
		w->blocked_us += (uint64_t)(clock_mono_us() - since);
	return status;
}

int channel_flush(struct channel_writer *w, struct error *e)
{
	struct iovec iov = {w->pending.data, w->pending.len};
	int status = 0;

	if (w->memory)
		return 0;
	if (iov.iov_len && !w->closed)
		status = write_all(w, &iov, 1, e);
	buf_reset(&w->pending);
	return status;
}

/* Where small frames collect. */
static struct buf *collecting(struct channel_writer *w)
{
	return w->memory ? w->memory : &w->pending;
}

int channel_write(struct channel_writer *w, const struct buf *frames, struct error *e)
{
	if (w->closed)
		return 0;
	buf_put(collecting(w), frames->data, frames->len);
	return !w->memory && w->pending.len >= PENDING_BYTES_MAX ? channel_flush(w, e) : 0;
}

static void put_header(uint8_t *p, const struct frame *f)
{
	p[0] = 0xc9;
	p[1] = (uint8_t)(f->body_bytes >> 24);
	p[2] = (uint8_t)(f->body_bytes >> 16);
	p[3] = (uint8_t)(f->body_bytes >> 8);
	p[4] = (uint8_t)f->body_bytes;
	p[5] = f->kind;
}

int channel_write_frame(struct channel_writer *w, const struct frame *f, struct error *e)
{
	uint8_t header[FRAME_HEADER_BYTES];
	struct iovec iov[3];
	int status;

	if (w->closed)
		return 0;
	put_header(header, f);
	if (w->memory || f->body_bytes <= SMALL_FRAME_BYTES) {
		buf_put(collecting(w), header, sizeof header);
		buf_put(collecting(w), f->body, f->body_bytes);
		return !w->memory && w->pending.len >= PENDING_BYTES_MAX ? channel_flush(w, e) : 0;
	}
	iov[0] = (struct iovec){w->pending.data, w->pending.len};
	iov[1] = (struct iovec){header, sizeof header};
	iov[2] = (struct iovec){(void *)(uintptr_t)f->body, f->body_bytes};
	status = write_all(w, iov, 3, e);
	buf_reset(&w->pending);
	return status;
}

/* ---- batches ---- */

static void copy_pieces(const struct batch_layout *l, struct buf *to)
{
	buf_reserve(to, l->frame_bytes);
	for (size_t i = 0; i < l->pieces_len; i++) {
		buf_put(to, l->heads.data + l->pieces[i].head_at, l->pieces[i].head_len);
		buf_put(to, l->pieces[i].data, l->pieces[i].data_len);
	}
}

static int write_pieces(struct channel_writer *w, struct error *e)
{
	const struct batch_layout *l = &w->layout;
	size_t n = 0, cap = 2 * l->pieces_len + 1;
	struct iovec small[64], *iov = cap <= 64 ? small : mem_alloc(cap * sizeof *iov);
	int status;

	iov[n++] = (struct iovec){w->pending.data, w->pending.len};
	for (size_t i = 0; i < l->pieces_len; i++) {
		const struct batch_piece *p = &l->pieces[i];

		iov[n++] = (struct iovec){l->heads.data + p->head_at, p->head_len};
		if (p->data_len) /* writev takes no const, and doesn't write */
			iov[n++] = (struct iovec){(void *)(uintptr_t)p->data, p->data_len};
	}
	status = write_all(w, iov, n, e);
	buf_reset(&w->pending);
	if (iov != small)
		mem_free(iov);
	return status;
}

static int write_packed(struct channel_writer *w, struct error *e)
{
	buf_reset(&w->raw);
	copy_pieces(&w->layout, &w->raw);
	if (frame_put_packed(collecting(w), w->codec, &w->raw, e) < 0)
		return -1;
	return !w->memory && w->pending.len >= PENDING_BYTES_MAX ? channel_flush(w, e) : 0;
}

static int write_halves(struct channel_writer *w, uint32_t schema_id, const struct batch *b,
	struct error *e)
{
	struct arena arena = ARENA_INIT;
	uint32_t half = b->rows / 2;
	struct batch part;
	int status;

	if (b->rows < 2)
		return error_set(e, ERROR_DATA, "a row of more than 64 MiB fits no frame");
	batch_slice(b, 0, half, &arena, &part);
	status = channel_write_batch(w, schema_id, &part, e);
	if (status == 0) {
		batch_slice(b, half, b->rows - half, &arena, &part);
		status = channel_write_batch(w, schema_id, &part, e);
	}
	arena_clear(&arena);
	return status;
}

int channel_write_batch(struct channel_writer *w, uint32_t schema_id, const struct batch *b,
	struct error *e)
{
	if (w->closed)
		return 0;
	batch_layout_make(&w->layout, schema_id, b);
	if (w->layout.frame_bytes - FRAME_HEADER_BYTES > FRAME_BODY_MAX || b->rows > FRAME_ROWS_MAX)
		return write_halves(w, schema_id, b, e);
	if (w->codec && w->layout.frame_bytes <= PACKED_RAW_MAX)
		return write_packed(w, e);
	if (w->memory || w->layout.frame_bytes <= SMALL_FRAME_BYTES) {
		copy_pieces(&w->layout, collecting(w));
		return !w->memory && w->pending.len >= PENDING_BYTES_MAX ? channel_flush(w, e) : 0;
	}
	return write_pieces(w, e);
}

bool channel_is_closed(const struct channel_writer *w)
{
	return w->closed;
}

uint64_t channel_writer_bytes(const struct channel_writer *w)
{
	return w->bytes;
}

uint64_t channel_writer_blocked_us(const struct channel_writer *w)
{
	return w->blocked_us;
}

void channel_size_pipe(int fd)
{
	fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
}
