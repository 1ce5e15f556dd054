/* The wire: what a frame is.  runnel-frames(5) is the specification; this header is its constants
 * and the two directions between frames and values.  Reading and writing descriptors is channel.h.
 *
 *   0xc9  length:u32 big endian  kind:u8  body[length]        (msgpack ext 32)
 *
 * Frames come from outside: every count, length, offset, type byte and UTF-8 text is checked before
 * use, and an error names what was wrong with the body; the channel adds stream, frame and byte. */
#ifndef RUNNEL_FRAME_FRAME_H
#define RUNNEL_FRAME_FRAME_H

#include "libcore/base/arena.h"
#include "libcore/base/buf.h"
#include "libcore/table/column.h"

enum frame_kind {
	FRAME_HELLO = 0,
	FRAME_SCHEMA = 1,
	FRAME_BATCH = 2,
	FRAME_ROWS = 3,
	FRAME_WATERMARK = 4,
	FRAME_BARRIER = 5,
	FRAME_END = 6,
	FRAME_STATUS = 7,
	FRAME_MARKER = 8,
	FRAME_ERROR = 9,
	FRAME_TICK = 10,
	FRAME_PACKED = 11,
	FRAME_EPOCH = 12, /* between two jobs only, never on an edge */
	FRAME_SKIP_FIRST = 0x40, /* unknown kinds from here to 0x7f are skipped */
	FRAME_SKIP_LAST = 0x7f,
};

enum {
	FRAME_VERSION = 1,
	FRAME_VERSION_OLDEST = 1,
	FRAME_HEADER_BYTES = 6,
	FRAME_BODY_MAX = 64 << 20,  /* a corrupt length must not allocate the machine */
	FRAME_ALIGN = 16,
	FRAME_ROWS_MAX = 1 << 24,   /* rows of one BATCH: offsets and picks stay in u32 */
};

#define WATERMARK_NONE INT64_MIN  /* nothing known yet; never on the wire */
#define WATERMARK_FINAL INT64_MAX

enum barrier_kind {
	BARRIER_CHECKPOINT = 0,
	BARRIER_SAVEPOINT = 1,
	BARRIER_FINAL = 2,
};

struct frame { /* a view of one frame; borrowed from whoever read it */
	uint8_t kind;
	const uint8_t *body;
	uint32_t body_bytes;
};

struct barrier {
	uint64_t checkpoint;
	enum barrier_kind kind;
	int64_t started_us;
};

struct hello {
	uint32_t version;
	char stage[64];
	bool bounded;
};

/* What the sink of one job and the source of another say to each other over a socket, so that each
 * epoch arrives once (runnel-frames(5), EPOCHS). */
enum epoch_verb {
	EPOCH_ASK = 0,      /* sink: which epochs of this stage and subtask are there? */
	EPOCH_HAVE = 1,     /* source: all up to this number are kept */
	EPOCH_BEGIN = 2,    /* sink: the frames of this epoch follow */
	EPOCH_COMPLETE = 3, /* sink: they have come, so many rows */
};

enum { EPOCH_JOB_BYTES = 33, EPOCH_STAGE_BYTES = 64 }; /* with their NUL */
enum { EPOCH_SUBTASKS_MAX = 1024 };

struct epoch_note {
	enum epoch_verb verb;
	char job[EPOCH_JOB_BYTES]; /* its uuid, 32 hex digits */
	char stage[EPOCH_STAGE_BYTES];
	uint64_t subtask;
	uint64_t number;           /* of the epoch; 0: none */
	uint64_t count;            /* BEGIN: subtasks of the stage; COMPLETE: rows */
};

/* ---- encoding: each appends one whole frame to b.  BATCH lies in frame_batch_put (channel.h has
 * the way that copies no columns). ---- */
void frame_put(struct buf *b, const struct frame *f); /* as it was read */
void frame_put_hello(struct buf *b, const struct hello *h);
void frame_put_schema(struct buf *b, uint32_t id, const struct schema *s);
void frame_put_batch(struct buf *b, uint32_t schema_id, const struct batch *batch);
void frame_put_watermark(struct buf *b, int64_t event_us);
void frame_put_barrier(struct buf *b, const struct barrier *barrier);
void frame_put_end(struct buf *b, uint64_t rows);
void frame_put_status(struct buf *b, bool idle);
void frame_put_marker(struct buf *b, const char *source, int64_t sent_us);
void frame_put_error(struct buf *b, const char *stage, const char *message);
void frame_put_tick(struct buf *b, int64_t now_us);
void frame_put_epoch(struct buf *b, const struct epoch_note *n);

/* Wraps the whole frames in raw (at most FRAME_BODY_MAX) into one PACKED frame.  codec "lz4" or
 * "zstd". */
int frame_put_packed(struct buf *b, const char *codec, const struct buf *raw, struct error *e);

/* ---- decoding: 0, or -1 with ERROR_DATA and what is wrong with the body ---- */
int frame_read_hello(const struct frame *f, struct hello *out, struct error *e);
int frame_read_schema(const struct frame *f, uint32_t *id, struct schema *out, struct error *e);

/* BATCH or ROWS of schema s.  Columns point into the body where they are aligned for their type,
 * into the arena otherwise: they live as long as the shorter of both.  check_text: also verify that
 * string columns are UTF-8 (wanted where text came from strangers). */
int frame_read_batch(const struct frame *f, const struct schema *s, bool check_text,
	struct arena *a, struct batch *out, struct error *e);

/* The schema id of a BATCH or ROWS frame, without reading more. */
int frame_read_schema_id(const struct frame *f, uint32_t *id, struct error *e);

/* ... and the number of rows. */
int frame_read_rows(const struct frame *f, uint32_t *id, uint32_t *rows, struct error *e);
int frame_read_int(const struct frame *f, int64_t *out, struct error *e); /* WATERMARK, TICK */
int frame_read_barrier(const struct frame *f, struct barrier *out, struct error *e);
int frame_read_end(const struct frame *f, uint64_t *rows, struct error *e);
int frame_read_status(const struct frame *f, bool *idle, struct error *e);
int frame_read_marker(const struct frame *f, char source[64], int64_t *sent_us, struct error *e);
int frame_read_error(const struct frame *f, struct buf *stage, struct buf *message, struct error *e);

int frame_read_epoch(const struct frame *f, struct epoch_note *out, struct error *e);

/* Decompresses a PACKED frame; raw is replaced. */
int frame_read_packed(const struct frame *f, struct buf *raw, struct error *e);

const char *frame_kind_name(uint8_t kind); /* "BATCH"; "unknown" */
const char *barrier_kind_name(enum barrier_kind kind);

#endif
