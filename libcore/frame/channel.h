/* A channel: frames over a descriptor, one way.  It knows the framing, PACKED, and the schemas seen;
 * it knows nothing of watermarks, alignment or what rows mean (that is stage/).
 *
 * Errors carry the stream's name, the frame's number (from 1) and its byte offset:
 * "<stream>: frame 12 at byte 40960: string offsets fall". */
#ifndef RUNNEL_FRAME_CHANNEL_H
#define RUNNEL_FRAME_CHANNEL_H

#include "libcore/frame/frame.h"

/* ---- reading ---- */

enum channel_status {
	CHANNEL_ERROR = -1,
	CHANNEL_FRAME = 0,  /* *out is one frame */
	CHANNEL_AGAIN = 1,  /* no whole frame here, and reading on would block; or a signal came */
	CHANNEL_EOF = 2,    /* end of input at a frame's boundary */
};

struct channel_reader;

/* Does not own fd.  name is copied; it stands in every error.  The descriptor may be blocking or
 * not: with may_block false, channel_read polls before it reads and never waits. */
struct channel_reader *channel_reader_new(int fd, const char *name);

/* Reads from memory instead (tests, fuzzing, simulation): the bytes are borrowed. */
struct channel_reader *channel_reader_new_memory(const void *bytes, size_t len, const char *name);

/* Reads from wherever take gives bytes from (a compressed recording): up to cap of them into bytes,
 * their number to *got.  0, 1 at the end, -1 with the error set.  It never waits for anybody. */
struct channel_source {
	int (*take)(void *context, void *bytes, size_t cap, size_t *got, struct error *e);
	void *context;
};
struct channel_reader *channel_reader_new_source(const struct channel_source *s, const char *name);
void channel_reader_free(struct channel_reader *r);

/* The next frame, PACKED ones opened, unknown skippable ones skipped.  *out borrows the reader's
 * buffer until the next call.  The first frame must be HELLO: anything else is ERROR_USAGE "input
 * is not a frame stream; put ssource in front".  EOF inside a frame is ERROR_UPSTREAM.
 * Frames that lie wholly in the buffer already are returned without a system call. */
enum channel_status channel_read(struct channel_reader *r, bool may_block, struct frame *out,
	struct error *e);

/* True if channel_read would return a frame, or refuse one, without a system call. */
bool channel_has_buffered(const struct channel_reader *r);

/* Adds "<stream>: frame N at byte B: " to an error about the frame last returned. */
int channel_context(const struct channel_reader *r, struct error *e);

int channel_reader_fd(const struct channel_reader *r);
const char *channel_reader_name(const struct channel_reader *r);
uint64_t channel_reader_bytes(const struct channel_reader *r);

/* ---- the schemas of one channel ---- */

/* Remembers what SCHEMA frames declared.  A schema stays valid (its address too) until _clear. */
struct schema_set {
	struct schema **schemas; /* by id, NULL where not declared */
	size_t len, cap;
};

enum { SCHEMA_ID_MAX = 1 << 16 };

int schema_set_declare(struct schema_set *set, const struct frame *f, const struct schema **out,
	struct error *e);
const struct schema *schema_set_find(const struct schema_set *set, uint32_t id);
void schema_set_clear(struct schema_set *set);

/* ---- writing ---- */

struct channel_writer;

/* Where bytes go: fd >= 0 is written with writev until all is gone (EINTR and short writes are
 * handled; a descriptor that would block is polled for).  Does not own fd. */
struct channel_writer *channel_writer_new(int fd, const char *name);

/* Collects in memory (tests, simulation, snapshots before they are written). */
struct channel_writer *channel_writer_new_memory(struct buf *b);
void channel_writer_free(struct channel_writer *w);

/* codec NULL (none), "lz4" or "zstd": BATCH frames then travel PACKED, those excepted that come near
 * FRAME_BODY_MAX and might not fit one. */
int channel_writer_pack(struct channel_writer *w, const char *codec, struct error *e);

/* Small frames collect in the writer's buffer; channel_write_batch and channel_flush send them.
 * 0, or -1 with ERROR_IO.  A reader that has gone (EPIPE; SIGPIPE must be ignored) is no error of
 * this stage: from then on everything is dropped, and channel_is_closed says so. */
int channel_write(struct channel_writer *w, const struct buf *frames, struct error *e);

/* One frame as it was read elsewhere, behind those so far; a large one isn't copied. */
int channel_write_frame(struct channel_writer *w, const struct frame *f, struct error *e);

/* One BATCH frame straight from the columns (writev, no copy), padded so that every buffer's data
 * lies at a multiple of 16 in the frame.  Rows are split over several frames if they would not fit
 * FRAME_BODY_MAX or are more than FRAME_ROWS_MAX; one row that doesn't fit is ERROR_DATA. */
int channel_write_batch(struct channel_writer *w, uint32_t schema_id, const struct batch *b,
	struct error *e);
int channel_flush(struct channel_writer *w, struct error *e);

/* What to do instead of waiting for a descriptor that would block (it must not be a blocking one
 * then): returns once it may be written again, or -1.  A stage under a supervisor answers that one
 * meanwhile.  blocked_us then counts these waits only. */
struct channel_wait {
	int (*wait)(void *context, int fd, struct error *e);
	void *context;
};
void channel_writer_on_block(struct channel_writer *w, const struct channel_wait *wait);

/* Sees all bytes as they go out through the descriptor: a hash that needs no reading back. */
struct channel_tap {
	void (*see)(void *context, const void *bytes, size_t len);
	void *context;
};
void channel_writer_tap(struct channel_writer *w, const struct channel_tap *tap);

/* The reader has closed its end: writing on is pointless, and not an error of this stage. */
bool channel_is_closed(const struct channel_writer *w);
uint64_t channel_writer_bytes(const struct channel_writer *w);
uint64_t channel_writer_blocked_us(const struct channel_writer *w); /* time spent in write/poll */

/* Makes a pipe hold a megabyte or what the system allows; silently nothing on anything else. */
void channel_size_pipe(int fd);

#endif
