/* Frame streams: everything a stage would read of one, whole and from a pipe's pieces, is read.  What
 * is taken as rows must show, slice, and come back from a frame of our own. */
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/frame/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { ROWS_SHOWN = 100 };

static void check_rows(const struct batch *b, struct arena *a)
{
	uint32_t shown = b->rows < ROWS_SHOWN ? b->rows : ROWS_SHOWN;
	struct buf text = BUF_INIT, again = BUF_INIT, frame = BUF_INIT;
	struct error e = ERROR_INIT;
	struct batch part, back;
	struct frame f;

	if (b->rows > 1 << 20)
		return;
	batch_slice(b, b->rows - shown, shown, a, &part);
	for (uint32_t r = 0; r < shown; r++)
		batch_put_row(&part, r, &text);
	frame_put_batch(&frame, 1, &part);
	f = (struct frame){FRAME_BATCH, frame.data + FRAME_HEADER_BYTES,
		(uint32_t)(frame.len - FRAME_HEADER_BYTES)};
	MUST(frame_read_batch(&f, b->schema, true, a, &back, &e) == 0);
	for (uint32_t r = 0; r < shown; r++)
		batch_put_row(&back, r, &again);
	MUST(text.len == again.len && (!text.len || !memcmp(text.data, again.data, text.len)));
	buf_clear(&text);
	buf_clear(&again);
	buf_clear(&frame);
}

static void read_rows(const struct frame *f, const struct schema_set *set, struct arena *a)
{
	struct error e = ERROR_INIT;
	const struct schema *s;
	struct batch b;
	uint32_t id;

	if (frame_read_schema_id(f, &id, &e) < 0 || !(s = schema_set_find(set, id)))
		return;
	if (frame_read_batch(f, s, true, a, &b, &e) == 0)
		check_rows(&b, a);
	else
		MUST(e.code == ERROR_DATA && *e.text);
}

static void read_frame(const struct frame *f, struct schema_set *set, struct arena *a)
{
	struct buf stage = BUF_INIT, message = BUF_INIT;
	struct error e = ERROR_INIT;
	const struct schema *s;
	struct barrier barrier;
	struct hello hello;
	char source[64];
	uint64_t rows;
	struct epoch_note note;
	int64_t v;
	bool idle;

	switch ((enum frame_kind)f->kind) {
	case FRAME_HELLO: frame_read_hello(f, &hello, &e); break;
	case FRAME_SCHEMA: schema_set_declare(set, f, &s, &e); break;
	case FRAME_BATCH:
	case FRAME_ROWS: read_rows(f, set, a); break;
	case FRAME_WATERMARK:
	case FRAME_TICK: frame_read_int(f, &v, &e); break;
	case FRAME_BARRIER: frame_read_barrier(f, &barrier, &e); break;
	case FRAME_END: frame_read_end(f, &rows, &e); break;
	case FRAME_STATUS: frame_read_status(f, &idle, &e); break;
	case FRAME_MARKER: frame_read_marker(f, source, &v, &e); break;
	case FRAME_ERROR: frame_read_error(f, &stage, &message, &e); break;
	case FRAME_EPOCH: frame_read_epoch(f, &note, &e); break;
	case FRAME_PACKED:
	case FRAME_SKIP_FIRST:
	case FRAME_SKIP_LAST: MUST(!"never handed out");
	}
	buf_clear(&stage);
	buf_clear(&message);
	arena_reset(a);
}

static void read_stream(const uint8_t *bytes, size_t len)
{
	struct channel_reader *r = channel_reader_new_memory(bytes, len, "f");
	struct schema_set set = {.schemas = NULL};
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	enum channel_status status;
	struct frame f;

	while ((status = channel_read(r, true, &f, &e)) == CHANNEL_FRAME)
		read_frame(&f, &set, &arena);
	MUST(status == CHANNEL_EOF || (status == CHANNEL_ERROR && e.code && *e.text));
	arena_clear(&arena);
	schema_set_clear(&set);
	channel_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const uint8_t hello[] = "\xc7\x09\x00\x92\xa6runnel\x01";
	struct buf stream = BUF_INIT;

	read_stream(bytes, len);
	buf_put(&stream, hello, sizeof hello - 1); /* most of what is random gets no further */
	buf_put(&stream, bytes, len);
	read_stream(stream.data, stream.len);
	buf_clear(&stream);
	return 0;
}
