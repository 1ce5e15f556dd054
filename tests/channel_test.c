/* Streams of frames: what is none is refused at once, what breaks off is told by its place, and the
 * bytes are the same however reads and writes cut them. */
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/frame/channel.h"
#include "tests/support/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(text) text, sizeof(text) - 1
#define HELLO "\xc7\x09\x00\x92\xa6runnel\x01" /* ext 8: 12 bytes */

/* Reads all; the kinds as letters a to l, the error's text behind '!'. */
static void read_kinds(struct channel_reader *r, struct buf *out, struct error *e)
{
	enum channel_status status;
	struct frame f;

	while ((status = channel_read(r, true, &f, e)) == CHANNEL_FRAME)
		buf_put_byte(out, (uint8_t)('a' + f.kind));
	if (status == CHANNEL_ERROR)
		buf_printf(out, "!%s", e->text);
	else
		assert_int_equal(status, CHANNEL_EOF);
}

static void assert_stream(const void *bytes, size_t len, const char *want, enum error_code code)
{
	struct channel_reader *r = channel_reader_new_memory(bytes, len, "in");
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;

	read_kinds(r, &out, &e);
	if (!strstr(buf_cstr(&out), want))
		fail_msg("'%s' instead of '%s'", buf_cstr(&out), want);
	assert_int_equal(e.code, code);
	buf_clear(&out);
	channel_reader_free(r);
}

struct stream_case {
	const char *bytes;
	size_t len;
	const char *want;
	enum error_code code;
};

static const char no_stream[] = "!in is not a frame stream\nput ssource in front";

static const struct stream_case stream_cases[] = {
	{BYTES("a,b\n1,2\n"), no_stream, ERROR_USAGE},
	{BYTES("{"), no_stream, ERROR_USAGE},
	{BYTES("\x1f\x8b\x08\0\0\0"), no_stream, ERROR_USAGE},
	{BYTES("\0"), no_stream, ERROR_USAGE},
	{BYTES("\xc9"), no_stream, ERROR_USAGE},
	{BYTES("\xc9\0\0\0\x02\x04\x01\x01"), no_stream, ERROR_USAGE},
	{BYTES("\xd4\x04\x05"), no_stream, ERROR_USAGE},
	{BYTES("\xd4\x00\x05"), no_stream, ERROR_USAGE},
	{BYTES("\xc7\x09\x00\x92\xa6" "bunnel\x01"), no_stream, ERROR_USAGE},
	{BYTES("\xc7\x09\x00\x92\xa6" "bun"), no_stream, ERROR_USAGE},
	{BYTES(""), "", ERROR_NONE},
	{BYTES(HELLO), "a", ERROR_NONE},
	{BYTES("\xc8\0\x09\x00\x92\xa6runnel\x01"), "a", ERROR_NONE},
	{BYTES("\xc9\0\0\0\x09\x00\x92\xa6runnel\x01"), "a", ERROR_NONE},
	/* every form of ext */
	{BYTES(HELLO "\xd4\x04\x05\xd5\x06\x91\x05\xd6\x08\x92\xa1x\x01\xd7\x0a\xd3\0\0\0\0\0\0"),
		"aegi!in ends in the middle of frame 5", ERROR_UPSTREAM},
	{BYTES(HELLO "\xd4\x04\x05\xd5\x06\x91\x05\xd6\x08\x92\xa1x\x01"), "aegi", ERROR_NONE},
	{BYTES(HELLO "\xd7\x01\x92\x01\x91\x92\xa1x\xa0\xa0\xc7\x01\x07\xc3\xc8\0\x01\x07\xc2"), "abhh",
		ERROR_NONE},
	{BYTES(HELLO "\xd8\x02\x9e\x01\x00\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xc0\xd4\x04\x01"),
		"ace", ERROR_NONE},
	{BYTES(HELLO "\xc7\x00\x04\xd4\x04\x01"), "aee", ERROR_NONE},
	/* kinds: c, then 0x40 to 0x7f skipped */
	{BYTES(HELLO "\xd4\x0d\x01"), "a!in: frame 2 at byte 12: unknown kind of frame 0x0d", ERROR_DATA},
	{BYTES(HELLO "\xd4\x3f\x01"), "a!in: frame 2 at byte 12: unknown kind of frame 0x3f", ERROR_DATA},
	{BYTES(HELLO "\xd4\x80\x01"), "a!in: frame 2 at byte 12: unknown kind of frame 0x80", ERROR_DATA},
	{BYTES(HELLO "\xd4\xff\x01"), "a!in: frame 2 at byte 12: unknown kind of frame 0xff", ERROR_DATA},
	{BYTES(HELLO "\xd4\x40\x01\xd4\x7f\x01\xd4\x04\x01"), "ae", ERROR_NONE},
	{BYTES(HELLO "\xd4\x40\x01\xd4\x04\x01\xd4\x30\x01"),
		"ae!in: frame 4 at byte 18: unknown kind of frame 0x30", ERROR_DATA},
	/* what is no frame, what is too long, what breaks off */
	{BYTES(HELLO "\x93"), "a!in: frame 2 at byte 12: byte 0x93 starts no frame", ERROR_DATA},
	{BYTES(HELLO "\xd4\x04\x01\n"), "ae!in: frame 3 at byte 15: byte 0x0a starts no frame", ERROR_DATA},
	{BYTES(HELLO "\xc9\x04\0\0\x01\x04"),
		"a!in: frame 2 at byte 12: a frame of 67108865 bytes; the limit is 67108864", ERROR_DATA},
	{BYTES(HELLO "\xc9\xff\xff\xff\xff\x40"), "a frame of 4294967295 bytes", ERROR_DATA},
	{BYTES(HELLO "\xc9\x04\0\0\0\x04"), "a!in ends in the middle of frame 2, at byte 18", ERROR_UPSTREAM},
	{BYTES("\xc7\x09\x00\x92\xa6run"), "!in ends in the middle of frame 1, at byte 8", ERROR_UPSTREAM},
};

static void what_is_no_stream_is_refused_and_what_is_one_is_read(void **state)
{
	for (size_t i = 0; i < COUNT(stream_cases); i++) {
		const struct stream_case *c = &stream_cases[i];

		assert_stream(c->bytes, c->len, c->want, c->code);
	}
}

static void what_is_no_stream_is_refused_before_it_ends(void **state)
{
	struct error e = ERROR_INIT;
	struct channel_reader *r;
	struct frame f;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	r = channel_reader_new(fds[0], "standard input");
	assert_int_equal(channel_read(r, false, &f, &e), CHANNEL_AGAIN);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(channel_read(r, true, &f, &e), CHANNEL_ERROR);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_non_null(strstr(e.text, "standard input is not a frame stream"));
	channel_reader_free(r);
	close(fds[0]);
	close(fds[1]);
}

/* ---- PACKED ---- */

static void put_packed_of(struct buf *out, const char *codec, const void *raw, size_t len)
{
	struct buf frames = BUF_INIT;
	struct error e = ERROR_INIT;

	buf_put(&frames, raw, len);
	assert_int_equal(frame_put_packed(out, codec, &frames, &e), 0);
	buf_clear(&frames);
}

static const struct stream_case packed_cases[] = {
	{BYTES(""), "ae", ERROR_NONE},
	{BYTES("\xd4\x04\x01"), "aee", ERROR_NONE},
	{BYTES("\xd4\x04\x01\xd4\x0a\x01\xd4\x41\x01\xd4\x04\x01"), "aekee", ERROR_NONE},
	{BYTES("\xd4\x41\x01"), "ae", ERROR_NONE},
	{BYTES("\xd6\x05\x93\x01\x00\x00"), "a!in: frame 2 at byte 12: malformed frame: PACKED: holds a frame",
		ERROR_DATA},
	{BYTES("\xd5\x06\x91\x00"), "must not be packed", ERROR_DATA},
	{BYTES("\xd4\x04\x01\xd4\x0b\x93"), "ae!in: frame 2 at byte 12: malformed frame: PACKED: holds",
		ERROR_DATA},
	{BYTES("\xd4\x04\x01\xd4\x04"), "ae!in: frame 2 at byte 12: malformed frame: PACKED: ends in the middle",
		ERROR_DATA},
	{BYTES("\xd4\x04\x01\x01"), "ae!in: frame 2 at byte 12: byte 0x01 starts no frame", ERROR_DATA},
	{BYTES("\xd4\x33\x01"), "unknown kind of frame 0x33", ERROR_DATA},
	{BYTES("\xc9\x7f\xff\xff\xff\x04"), "a frame of 2147483647 bytes", ERROR_DATA},
};

static void packed_frames_are_opened_but_not_nested_nor_barriers_nor_ends(void **state)
{
	static const char *const codecs[] = {"lz4", "zstd"};

	for (size_t i = 0; i < COUNT(packed_cases) * 2; i++) {
		const struct stream_case *c = &packed_cases[i / 2];
		struct buf stream = BUF_INIT;

		buf_put(&stream, BYTES(HELLO));
		put_packed_of(&stream, codecs[i % 2], c->bytes, c->len);
		buf_put(&stream, BYTES("\xd4\x04\x01"));
		assert_stream(stream.data, stream.len, c->want, c->code);
		buf_clear(&stream);
	}
}

static void damaged_packing_is_told_by_its_place(void **state)
{
	assert_stream(BYTES(HELLO "\xd4\x0b\xc0"), "a!in: frame 2 at byte 12: malformed frame: PACKED", ERROR_DATA);
	assert_stream(BYTES(HELLO "\xc7\x09\x0b\x93\xa3lz4\x05\xc4\x01\xff"), "don't decompress", ERROR_DATA);
}

/* ---- a whole stream ---- */

struct stream {
	struct schema schema;
	struct batch_builder *batches;
	uint32_t len;
	struct buf bytes;
	size_t ends[64]; /* of every frame */
	uint32_t frames;
};

static void put_stream(struct stream *s, struct channel_writer *w, bool remember)
{
	struct hello hello = {.version = FRAME_VERSION, .stage = "test"};
	struct error e = ERROR_INIT;
	struct buf b = BUF_INIT;

	frame_put_hello(&b, &hello);
	assert_int_equal(channel_write(w, &b, &e), 0);
	for (uint32_t i = 0; i <= s->len; i++) {
		if (remember)
			s->ends[s->frames++] = s->bytes.len;
		buf_reset(&b);
		if (i == 0)
			frame_put_schema(&b, 1, &s->schema);
		else
			frame_put_watermark(&b, i);
		assert_int_equal(channel_write(w, &b, &e), 0);
		if (i == s->len)
			break;
		if (remember)
			s->ends[s->frames++] = s->bytes.len;
		if (channel_write_batch(w, 1, batch_builder_view(&s->batches[i]), &e) < 0)
			fail_msg("%s", e.text);
	}
	if (remember)
		s->ends[s->frames++] = s->bytes.len;
	assert_int_equal(channel_flush(w, &e), 0);
	buf_clear(&b);
}

static void stream_init(struct stream *s, uint32_t batches, uint32_t rows_max, const char *codec)
{
	struct channel_writer *w;
	struct error e = ERROR_INIT;

	*s = (struct stream){.len = batches};
	random_schema(&s->schema, 5);
	s->batches = mem_zero(batches * sizeof *s->batches);
	for (uint32_t i = 0; i < batches; i++) {
		batch_builder_init(&s->batches[i], &s->schema);
		random_rows(&s->batches[i], random_below(rows_max + 1));
	}
	w = channel_writer_new_memory(&s->bytes);
	assert_int_equal(channel_writer_pack(w, codec, &e), 0);
	put_stream(s, w, true);
	channel_writer_free(w);
}

static void stream_clear(struct stream *s)
{
	for (uint32_t i = 0; i < s->len; i++)
		batch_builder_clear(&s->batches[i]);
	mem_free(s->batches);
	buf_clear(&s->bytes);
	schema_clear(&s->schema);
}

/* Takes a frame that was read and compares it with what went in. */
static void check_frame(struct stream *s, const struct frame *f, struct schema_set *set, uint32_t *n)
{
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	const struct schema *schema;
	struct batch batch;
	const char *what;
	uint32_t id;
	int64_t v;

	switch (f->kind) {
	case FRAME_HELLO: assert_int_equal(*n, 0); break;
	case FRAME_SCHEMA:
		assert_int_equal(schema_set_declare(set, f, &schema, &e), 0);
		assert_true(schema_equal(schema, &s->schema));
		break;
	case FRAME_BATCH:
		assert_int_equal(frame_read_schema_id(f, &id, &e), 0);
		schema = schema_set_find(set, id);
		assert_non_null(schema);
		assert_int_equal(frame_read_batch(f, schema, true, &arena, &batch, &e), 0);
		what = batches_differ(&batch, batch_builder_view(&s->batches[*n]));
		if (what)
			fail_msg("batch %u: %s", *n, what);
		++*n;
		break;
	case FRAME_WATERMARK:
		assert_int_equal(frame_read_int(f, &v, &e), 0);
		assert_int_equal(v, *n);
		break;
	default: fail_msg("kind %u", f->kind);
	}
	arena_clear(&arena);
}

static void a_stream_cut_at_any_byte_says_so_unless_between_frames(void **state)
{
	struct stream s;

	random_seed(3);
	stream_init(&s, 3, 6, NULL);
	for (size_t len = 1; len < s.bytes.len; len++) {
		struct channel_reader *r = channel_reader_new_memory(s.bytes.data, len, "in");
		struct error e = ERROR_INIT;
		struct buf out = BUF_INIT;
		char want[80];
		bool whole = false;

		for (uint32_t i = 0; i < s.frames; i++)
			whole |= s.ends[i] == len;
		read_kinds(r, &out, &e);
		snprintf(want, sizeof want, ", at byte %zu", len);
		if (whole)
			assert_null(strchr(buf_cstr(&out), '!'));
		else if (len < FRAME_HEADER_BYTES)
			assert_int_equal(e.code, ERROR_USAGE);
		else if (e.code != ERROR_UPSTREAM || !strstr(e.text, want))
			fail_msg("cut at %zu: '%s'", len, e.text);
		buf_clear(&out);
		channel_reader_free(r);
	}
	stream_clear(&s);
}

static void a_stream_reads_the_same_in_any_chunks(void **state)
{
	static const char *const codecs[] = {NULL, "lz4", "zstd"};

	random_seed(4);
	for (uint32_t round = 0; round < 60; round++) {
		struct schema_set set = {.schemas = NULL};
		struct channel_reader *r;
		struct error e = ERROR_INIT;
		struct stream s;
		struct frame f;
		uint32_t n = 0, chunk_max = round % 3 ? 1 + random_below(200) : 40000;
		int fds[2];

		stream_init(&s, 1 + random_below(8), round % 5 ? 30 : 2000, codecs[round % 3]);
		assert_int_equal(pipe(fds), 0);
		fcntl(fds[0], F_SETFL, round & 1 ? O_NONBLOCK : 0);
		r = channel_reader_new(fds[0], "in");
		for (size_t at = 0; at < s.bytes.len;) {
			size_t chunk = 1 + random_below(chunk_max);
			enum channel_status status;

			chunk = chunk < s.bytes.len - at ? chunk : s.bytes.len - at;
			assert_int_equal(write(fds[1], s.bytes.data + at, chunk), chunk);
			at += chunk;
			do {
				bool buffered = channel_has_buffered(r);

				status = channel_read(r, false, &f, &e);
				if (status == CHANNEL_FRAME)
					check_frame(&s, &f, &set, &n);
				else
					assert_false(buffered);
			} while (status == CHANNEL_FRAME);
			assert_int_equal(status, CHANNEL_AGAIN);
		}
		assert_int_equal(n, s.len);
		assert_int_equal(channel_reader_bytes(r), s.bytes.len);
		close(fds[1]);
		assert_int_equal(channel_read(r, true, &f, &e), CHANNEL_EOF);
		assert_int_equal(channel_read(r, true, &f, &e), CHANNEL_EOF);
		channel_reader_free(r);
		close(fds[0]);
		schema_set_clear(&set);
		stream_clear(&s);
	}
}

struct drain {
	int fd;
	struct buf bytes;
};

static void *drain_slowly(void *context)
{
	struct drain *d = context;
	ssize_t n;

	do {
		size_t room = 1 + d->bytes.len * 7919 % 3000;

		n = read(d->fd, buf_reserve(&d->bytes, room), room);
		d->bytes.len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	return NULL;
}

static void short_writes_lose_nothing(void **state)
{
	random_seed(5);
	for (uint32_t round = 0; round < 12; round++) {
		struct channel_writer *w;
		struct drain d = {.fd = -1};
		struct stream s;
		pthread_t thread;
		int fds[2];

		stream_init(&s, 6, round % 2 ? 9000 : 300, NULL);
		assert_int_equal(pipe(fds), 0);
		fcntl(fds[1], F_SETPIPE_SZ, 4096);
		fcntl(fds[1], F_SETFL, round % 3 ? O_NONBLOCK : 0);
		d.fd = fds[0];
		assert_int_equal(pthread_create(&thread, NULL, drain_slowly, &d), 0);
		w = channel_writer_new(fds[1], "out");
		put_stream(&s, w, false);
		assert_int_equal(channel_writer_bytes(w), s.bytes.len);
		assert_false(channel_is_closed(w));
		close(fds[1]);
		pthread_join(thread, NULL);
		assert_int_equal(d.bytes.len, s.bytes.len);
		assert_memory_equal(d.bytes.data, s.bytes.data, s.bytes.len);
		channel_writer_free(w);
		close(fds[0]);
		buf_clear(&d.bytes);
		stream_clear(&s);
	}
}

static void a_reader_that_has_gone_is_no_error(void **state)
{
	struct channel_writer *w;
	struct stream s;
	int fds[2];

	signal(SIGPIPE, SIG_IGN);
	stream_init(&s, 3, 100, NULL);
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	w = channel_writer_new(fds[1], "out");
	put_stream(&s, w, false);
	assert_true(channel_is_closed(w));
	channel_writer_free(w);
	close(fds[1]);
	stream_clear(&s);
}

static void a_full_disk_is_an_error_that_names_the_stream(void **state)
{
	struct error e = ERROR_INIT;
	struct buf b = BUF_INIT;
	int fd = open("/dev/full", O_WRONLY);
	struct channel_writer *w = channel_writer_new(fd, "out");

	frame_put_tick(&b, 1);
	assert_int_equal(channel_write(w, &b, &e), 0);
	assert_int_equal(channel_flush(w, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, "out: can't write: No space left"));
	channel_writer_free(w);
	buf_clear(&b);
	close(fd);
}

/* ---- limits ---- */

static void only_lz4_and_zstd_pack(void **state)
{
	struct error e = ERROR_INIT;
	struct buf b = BUF_INIT;
	struct channel_writer *w = channel_writer_new_memory(&b);

	assert_int_equal(channel_writer_pack(w, "gzip", &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	channel_writer_free(w);
}

/* Reads the BATCH frames in b; returns their number. */
static uint32_t count_batches(const struct buf *b, const struct schema *s, uint64_t *rows)
{
	struct buf stream = BUF_INIT;
	struct channel_reader *r;
	struct error e = ERROR_INIT;
	struct frame f;
	uint32_t n = 0;

	buf_put(&stream, BYTES(HELLO));
	buf_put(&stream, b->data, b->len);
	r = channel_reader_new_memory(stream.data, stream.len, "in");
	buf_clear(&stream);
	*rows = 0;
	while (channel_read(r, true, &f, &e) == CHANNEL_FRAME) {
		struct arena arena = ARENA_INIT;
		struct batch batch;

		if (f.kind != FRAME_BATCH)
			continue;
		if (frame_read_batch(&f, s, false, &arena, &batch, &e) < 0)
			fail_msg("%s", e.text);
		*rows += batch.rows;
		n++;
		arena_clear(&arena);
	}
	if (e.code)
		fail_msg("%s", e.text);
	channel_reader_free(r);
	return n;
}

static void too_large_a_batch_is_split_and_too_large_a_row_refused(void **state)
{
	enum { ROW = 1 << 20 };
	uint8_t *row = mem_alloc(FRAME_BODY_MAX);
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;
	struct channel_writer *w;
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;
	uint64_t rows;

	for (size_t i = 0; i < FRAME_BODY_MAX; i += 8) {
		uint64_t word = random_word();

		memcpy(row + i, &word, 8);
	}
	schema_add(&s, "y", 1, TYPE_OF(TYPE_BYTES));
	batch_builder_init(&b, &s);
	w = channel_writer_new_memory(&out);
	for (int i = 0; i < 70; i++)
		builder_put_text(&b.columns[0], row, ROW);
	assert_int_equal(channel_write_batch(w, 1, batch_builder_view(&b), &e), 0);
	assert_int_equal(count_batches(&out, &s, &rows), 2);
	assert_int_equal(rows, 70);

	/* One that just fits a frame, but not a packed one. */
	batch_builder_reset(&b);
	builder_put_text(&b.columns[0], row, FRAME_BODY_MAX - 100);
	buf_reset(&out);
	assert_int_equal(channel_writer_pack(w, "lz4", &e), 0);
	assert_int_equal(channel_write_batch(w, 1, batch_builder_view(&b), &e), 0);
	assert_int_equal(count_batches(&out, &s, &rows), 1);

	batch_builder_reset(&b);
	builder_put_text(&b.columns[0], "x", 1);
	builder_put_text(&b.columns[0], row, FRAME_BODY_MAX);
	buf_reset(&out);
	assert_int_equal(channel_write_batch(w, 1, batch_builder_view(&b), &e), -1);
	assert_int_equal(e.code, ERROR_DATA);
	assert_non_null(strstr(e.text, "a row of more than 64 MiB"));
	channel_writer_free(w);
	batch_builder_clear(&b);
	schema_clear(&s);
	buf_clear(&out);
	mem_free(row);
}

static void more_rows_than_a_frame_may_have_are_split(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct batch batch = {.schema = &s, .rows = FRAME_ROWS_MAX + 1};
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;
	struct channel_writer *w = channel_writer_new_memory(&out);
	uint64_t rows;

	assert_int_equal(channel_write_batch(w, 1, &batch, &e), 0);
	assert_int_equal(count_batches(&out, &s, &rows), 2);
	assert_int_equal(rows, FRAME_ROWS_MAX + 1);
	channel_writer_free(w);
	buf_clear(&out);
}

/* ---- golden streams: read for ever, and the first is what is written today ---- */

static void put_golden(struct buf *out)
{
	static const char *const types[] = {"bool", "int", "float", "decimal(10,2)", "date", "timestamp",
		"duration", "string", "bytes", "any"};
	struct hello hello = {.version = FRAME_VERSION, .stage = "golden", .bounded = true};
	struct barrier barrier = {3, BARRIER_CHECKPOINT, 1700000000000000};
	struct channel_writer *w = channel_writer_new_memory(out);
	struct schema s = SCHEMA_INIT;
	struct error e = ERROR_INIT;
	struct column_builder *c;
	struct batch_builder b;
	int key = 1;

	for (size_t i = 0; i < COUNT(types); i++) {
		struct type t;

		assert_int_equal(type_parse(types[i], strlen(types[i]), &t, &e), 0);
		schema_add(&s, types[i], strcspn(types[i], "("), t);
	}
	s.time_column = 5;
	s.time_offset_us = -1;
	s.changelog = true;
	schema_set_keys(&s, &key, 1);
	batch_builder_init(&b, &s);
	c = b.columns;
	builder_put_bool(&c[0], true);
	builder_put_int(&c[1], -2);
	builder_put_float(&c[2], 0.5);
	builder_put_decimal(&c[3], -12345);
	builder_put_date(&c[4], 15706);
	builder_put_int(&c[5], 1357034400123456);
	builder_put_int(&c[6], 90000000);
	builder_put_text(&c[7], "h\xc3\xa9", 3);
	builder_put_text(&c[8], "\xff\x00", 2);
	builder_put_text(&c[9], "\x81\xa1k\x92\x01\xc0", 6);
	for (size_t i = 0; i < COUNT(types); i++)
		builder_put_null(&c[i]);
	buf_put(&b.ops, "\0\3", 2);
	frame_put_hello(out, &hello);
	frame_put_tick(out, 1700000000000000);
	frame_put_schema(out, 1, &s);
	assert_int_equal(channel_write_batch(w, 1, batch_builder_view(&b), &e), 0);
	frame_put_watermark(out, 1357034400123455);
	frame_put_status(out, true);
	frame_put_barrier(out, &barrier);
	frame_put_marker(out, "source", 1700000000000001);
	frame_put_error(out, "smap", "no such thing");
	frame_put_end(out, 2);
	channel_writer_free(w);
	batch_builder_clear(&b);
	schema_clear(&s);
}

static void read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	while ((n = fread(buf_reserve(out, 4096), 1, 4096, f)))
		out->len += n;
	fclose(f);
}

static void show_rows(const struct frame *f, const struct schema_set *set, struct buf *out)
{
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	struct batch b;
	uint32_t id;

	assert_int_equal(frame_read_schema_id(f, &id, &e), 0);
	assert_non_null(schema_set_find(set, id));
	if (frame_read_batch(f, schema_set_find(set, id), true, &arena, &b, &e) < 0)
		fail_msg("%s", e.text);
	for (uint32_t r = 0; r < b.rows; r++) {
		buf_printf(out, "%u ", b.ops ? b.ops[r] : 0);
		batch_put_row(&b, r, out);
		buf_put_byte(out, '\n');
	}
	arena_clear(&arena);
}

/* What a stream holds, as text. */
static void show_stream(const char *path, struct buf *out)
{
	struct schema_set set = {.schemas = NULL};
	struct buf bytes = BUF_INIT;
	struct channel_reader *r;
	struct error e = ERROR_INIT;
	const struct schema *s;
	struct frame f;
	int64_t v;

	read_file(path, &bytes);
	r = channel_reader_new_memory(bytes.data, bytes.len, path);
	while (channel_read(r, true, &f, &e) == CHANNEL_FRAME) {
		buf_printf(out, "%s ", frame_kind_name(f.kind));
		if (f.kind == FRAME_SCHEMA) {
			assert_int_equal(schema_set_declare(&set, &f, &s, &e), 0);
			schema_put(s, out);
		} else if (f.kind == FRAME_BATCH || f.kind == FRAME_ROWS) {
			show_rows(&f, &set, out);
		} else if (f.kind == FRAME_WATERMARK || f.kind == FRAME_TICK) {
			assert_int_equal(frame_read_int(&f, &v, &e), 0);
			buf_printf(out, "%lld", (long long)v);
		}
		buf_put_byte(out, '\n');
	}
	buf_put_text(out, e.text);
	channel_reader_free(r);
	schema_set_clear(&set);
	buf_clear(&bytes);
}

static void golden_streams_are_read(void **state)
{
	static const char *const names[] = {"v1", "v1-script", "v1-zstd", "v1-lz4"};

	for (size_t i = 0; i < COUNT(names); i++) {
		struct buf want = BUF_INIT, got = BUF_INIT;
		char path[64];

		snprintf(path, sizeof path, "tests/data/frames/%s.txt", names[i]);
		read_file(path, &want);
		snprintf(path, sizeof path, "tests/data/frames/%s.frames", names[i]);
		show_stream(path, &got);
		assert_string_equal(buf_cstr(&got), buf_cstr(&want));
		buf_clear(&want);
		buf_clear(&got);
	}
}

/* A change here is another version of the frames.  RENEW=1 writes the file where there is none. */
static void a_golden_stream_is_what_the_writer_makes(void **state)
{
	static const char path[] = "tests/data/frames/v1.frames";
	struct buf want = BUF_INIT, got = BUF_INIT;

	put_golden(&got);
	if (getenv("RENEW") && access(path, F_OK) < 0) {
		FILE *f = fopen(path, "wb");

		assert_non_null(f);
		assert_int_equal(fwrite(got.data, 1, got.len, f), got.len);
		fclose(f);
	}
	read_file(path, &want);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.data, want.data, want.len);
	buf_clear(&want);
	buf_clear(&got);
}

/* ---- schemas ---- */

static int declare(struct schema_set *set, const char *body, size_t len, struct error *e)
{
	struct frame f = {FRAME_SCHEMA, (const uint8_t *)body, (uint32_t)len};
	const struct schema *s;

	return schema_set_declare(set, &f, &s, e);
}

static void a_schema_id_is_declared_once_or_alike(void **state)
{
	struct schema_set set = {.schemas = NULL};
	struct error e = ERROR_INIT;
	const struct schema *first;

	assert_null(schema_set_find(&set, 0));
	assert_int_equal(declare(&set, BYTES("\x92\x03\x91\x92\xa1x\xa3int"), &e), 0);
	first = schema_set_find(&set, 3);
	assert_non_null(first);
	assert_null(schema_set_find(&set, 2));
	assert_null(schema_set_find(&set, 4));
	assert_int_equal(declare(&set, BYTES("\x92\x03\x91\x92\xa1x\xa3int"), &e), 0);
	assert_int_equal(declare(&set, BYTES("\x92\xcd\xff\xff\x91\x92\xa1x\xa3int"), &e), 0);
	assert_ptr_equal(schema_set_find(&set, 3), first);
	assert_int_equal(declare(&set, BYTES("\x92\x03\x91\x92\xa1y\xa3int"), &e), -1);
	assert_non_null(strstr(e.text, "id 3 is declared again, differently"));
	assert_int_equal(declare(&set, BYTES("\x92\xce\0\1\0\0\x90"), &e), -1);
	assert_non_null(strstr(e.text, "id 65536, the limit is"));
	assert_int_equal(e.code, ERROR_DATA);
	schema_set_clear(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_stream_is_refused_and_what_is_one_is_read),
		cmocka_unit_test(what_is_no_stream_is_refused_before_it_ends),
		cmocka_unit_test(packed_frames_are_opened_but_not_nested_nor_barriers_nor_ends),
		cmocka_unit_test(damaged_packing_is_told_by_its_place),
		cmocka_unit_test(a_schema_id_is_declared_once_or_alike),
		cmocka_unit_test(a_golden_stream_is_what_the_writer_makes),
		cmocka_unit_test(golden_streams_are_read),
		cmocka_unit_test(only_lz4_and_zstd_pack),
		cmocka_unit_test(a_stream_cut_at_any_byte_says_so_unless_between_frames),
		cmocka_unit_test(a_stream_reads_the_same_in_any_chunks),
		cmocka_unit_test(short_writes_lose_nothing),
		cmocka_unit_test(a_reader_that_has_gone_is_no_error),
		cmocka_unit_test(a_full_disk_is_an_error_that_names_the_stream),
		cmocka_unit_test(more_rows_than_a_frame_may_have_are_split),
		cmocka_unit_test(too_large_a_batch_is_split_and_too_large_a_row_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
