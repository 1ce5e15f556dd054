/* The operator of ssink under a supervisor: its state, restored; headers that come once; ends. */
#include "cmd/common/sink.h"
#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"
#include "libcore/table/builder.h"
#include "tests/support/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define JOB8 "01234567"
#define OTHER "fedcba98765432100123456789abcdef"

/* ---- a stage with one channel, which is a sink ---- */

struct start {
	const char *path, *format, *job; /* job NULL: JOB */
	uint64_t attempt;
	bool finished;
};

struct bench {
	struct kept kept;
	struct stage *st;
	struct schema schema;
	struct buf frame, warnings;
	uint64_t rows;
	struct error e;
};

static void warn(void *context, const char *text)
{
	struct bench *x = context;

	buf_put_text(&x->warnings, text);
	buf_put_byte(&x->warnings, '\n');
}

/* from: the bench whose last checkpoint it starts with; its handle is committed. */
static int try_start(struct bench *x, struct start how, const struct bench *from)
{
	static const unsigned input[] = {0};
	struct sink_options o = {.output = how.path,
		.format = how.format,
		.supervised = true,
		.spool = ".",
		.writer = {.header = true}};
	struct stage_plan plan = {.name = "take",
		.subtasks = 1,
		.channel_inputs = input,
		.channels_len = 1,
		.supervised = true,
		.job = how.job ? how.job : JOB,
		.attempt = how.attempt,
		.finished = how.finished,
		.hooks = {.context = x, .checkpoint = kept_take, .warn = warn}};
	struct hello h = {.version = FRAME_VERSION, .stage = "front", .bounded = true};
	struct operator* op;
	struct frame f;
	int status = 0;

	*x = (struct bench){.e = ERROR_INIT};
	schema_init(&x->schema);
	schema_add(&x->schema, "a", 1, TYPE_OF(TYPE_INT));
	assert_int_equal(sink_operator_new(&o, &op, &x->e), 0);
	x->st = stage_new(&plan, op);
	if (from) {
		struct channel_reader *r = channel_reader_new_memory(
			from->kept.state.data, from->kept.state.len, "state");

		status = stage_restore(x->st, &r, 1, &x->e);
		channel_reader_free(r);
		if (status == 0 && (!how.job || !strcmp(how.job, JOB)))
			status = stage_commit(x->st, 1, from->kept.handle.data, from->kept.handle.len, &x->e);
	}
	if (status < 0)
		return -1;
	frame_put_hello(&x->frame, &h);
	f = (struct frame){.kind = x->frame.data[5],
		.body = x->frame.data + FRAME_HEADER_BYTES,
		.body_bytes = (uint32_t)x->frame.len - FRAME_HEADER_BYTES};
	status = stage_take(x->st, 0, &f, &x->e);
	buf_reset(&x->frame);
	return status;
}

static void start(struct bench *x, struct start how, const struct bench *from)
{
	if (try_start(x, how, from) < 0)
		fail_msg("%s", x->e.text);
}

static void stop(struct bench *x)
{
	stage_free(x->st);
	x->st = NULL;
}

static void clear(struct bench *x)
{
	if (x->st)
		stop(x);
	schema_clear(&x->schema);
	buf_clear(&x->frame);
	files_kept_clear(&x->kept);
	buf_clear(&x->warnings);
}

static int try_give(struct bench *x)
{
	struct frame f = {.kind = x->frame.data[5],
		.body = x->frame.data + FRAME_HEADER_BYTES,
		.body_bytes = (uint32_t)x->frame.len - FRAME_HEADER_BYTES};
	int status = stage_take(x->st, 0, &f, &x->e);

	buf_reset(&x->frame);
	return status;
}

static void give(struct bench *x)
{
	if (try_give(x) < 0)
		fail_msg("%s", x->e.text);
}

static int try_rows(struct bench *x, int64_t begin, int64_t end)
{
	struct batch_builder b;
	int status;

	frame_put_schema(&x->frame, 1, &x->schema);
	if (try_give(x) < 0)
		return -1;
	batch_builder_init(&b, &x->schema);
	for (int64_t i = begin; i < end; i++)
		builder_put_int(&b.columns[0], i);
	frame_put_batch(&x->frame, 1, batch_builder_view(&b));
	x->rows += batch_builder_rows(&b);
	batch_builder_clear(&b);
	status = try_give(x);
	return status;
}

static void rows(struct bench *x, int64_t begin, int64_t end)
{
	if (try_rows(x, begin, end) < 0)
		fail_msg("%s", x->e.text);
}

static void checkpoint(struct bench *x, uint64_t id)
{
	struct barrier b = {.checkpoint = id};

	if (stage_has_ended(x->st)) {
		if (stage_checkpoint(x->st, &b, &x->e) < 0)
			fail_msg("%s", x->e.text);
		return;
	}
	frame_put_barrier(&x->frame, &b);
	give(x);
}

static void commit(struct bench *x)
{
	if (stage_commit(x->st, 1, x->kept.handle.data, x->kept.handle.len, &x->e) < 0)
		fail_msg("%s", x->e.text);
}

static void finish(struct bench *x)
{
	frame_put_watermark(&x->frame, INT64_MAX);
	give(x);
	frame_put_end(&x->frame, x->rows);
	give(x);
	assert_true(stage_has_ended(x->st));
}

/* ---- what is refused ---- */

static void rows_in_a_part_are_not_left_behind_for_a_directory(void **state)
{
	struct bench a, b;

	start(&a, (struct start){.path = "a.csv", .attempt = 1}, NULL);
	rows(&a, 0, 3);
	checkpoint(&a, 1);
	stop(&a);
	assert_int_equal(
		try_start(&b, (struct start){.path = "dir/", .format = "csv", .attempt = 2}, &a),
		-1);
	assert_int_equal(b.e.code, ERROR_STATE);
	assert_non_null(strstr(b.e.text, "--drop-state take"));
	clear(&b);
	assert_int_equal(try_start(&b, (struct start){.path = "b.csv", .attempt = 2}, &a), -1);
	assert_int_equal(b.e.code, ERROR_STATE);
	assert_non_null(strstr(b.e.text, "were in .b.csv." JOB8 ".part, which is gone\n"
					 "to begin a new file: --drop-state take"));
	clear(&a);
	clear(&b);
	unlink(".a.csv." JOB8 ".part");
}

/* ---- restored ---- */

static void a_header_comes_once(void **state)
{
	struct bench a, b, c;

	start(&a, (struct start){.path = "a.csv", .attempt = 1}, NULL);
	rows(&a, 0, 2);
	checkpoint(&a, 1);
	rows(&a, 2, 100); /* lost */
	stop(&a);
	start(&b, (struct start){.path = "a.csv", .attempt = 2}, &a);
	rows(&b, 2, 3);
	checkpoint(&b, 3);
	stop(&b);
	start(&c, (struct start){.path = "a.csv", .attempt = 3}, &b);
	finish(&c);
	checkpoint(&c, 4);
	commit(&c);
	assert_holds("a.csv", "a\n0\n1\n2\n");
	unlink("a.csv");
	clear(&a);
	clear(&b);
	clear(&c);
}

static void parts_have_a_header_each_and_directories_go_on_as_another_job(void **state)
{
	struct bench a, b;

	start(&a, (struct start){.path = "dir/", .format = "csv", .attempt = 1}, NULL);
	rows(&a, 0, 2);
	checkpoint(&a, 1);
	commit(&a);
	rows(&a, 2, 3);
	checkpoint(&a, 2);
	stop(&a);
	buf_reset(&a.kept.handle); /* a savepoint carries none */
	start(&b, (struct start){.path = "dir/", .format = "csv", .job = OTHER, .attempt = 1}, &a);
	rows(&b, 3, 4);
	finish(&b);
	checkpoint(&b, 1);
	commit(&b);
	assert_holds("dir/part-" JOB8 "-0-1.csv", "a\n0\n1\n");
	assert_holds("dir/.part-" JOB8 "-1-0-2.csv", "a\n2\n");
	assert_holds("dir/part-fedcba98-0-1.csv", "a\n3\n");
	unlink("dir/part-" JOB8 "-0-1.csv");
	unlink("dir/.part-" JOB8 "-1-0-2.csv");
	unlink("dir/part-fedcba98-0-1.csv");
	assert_int_equal(rmdir("dir"), 0);
	clear(&a);
	clear(&b);
}

static void a_savepoint_takes_the_rows_of_a_file_along(void **state)
{
	struct bench a, b, c;

	start(&a, (struct start){.path = "a.csv", .attempt = 1}, NULL);
	rows(&a, 0, 2);
	checkpoint(&a, 1);
	rows(&a, 2, 50);
	stop(&a);
	start(&b, (struct start){.path = "a.csv", .job = OTHER, .attempt = 1}, &a);
	rows(&b, 2, 3);
	checkpoint(&b, 1);
	stop(&b);
	/* From here on it is a checkpoint of its own. */
	unlink(".a.csv." JOB8 ".part");
	start(&c, (struct start){.path = "a.csv", .job = OTHER, .attempt = 2}, &b);
	finish(&c);
	checkpoint(&c, 2);
	commit(&c);
	assert_holds("a.csv", "a\n0\n1\n2\n");
	unlink("a.csv");
	clear(&a);
	clear(&b);
	clear(&c);
}

static void a_finished_sink_says_the_same_again(void **state)
{
	static const char *const paths[] = {"a.csv", "dir/", "null:", "a.csv.gz"};

	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		struct bench a, b;
		struct buf first = BUF_INIT;

		start(&a, (struct start){.path = paths[i], .format = "csv", .attempt = 1}, NULL);
		rows(&a, 0, 2);
		checkpoint(&a, 1);
		commit(&a);
		rows(&a, 2, 3);
		finish(&a);
		checkpoint(&a, 2);
		commit(&a);
		for (uint64_t id = 3; id < 6; id++) {
			buf_reset(&first);
			buf_put(&first, a.kept.state.data, a.kept.state.len);
			checkpoint(&a, id);
			assert_int_equal(a.kept.handle.len, 0);
			assert_int_equal(a.kept.state.len, first.len);
			assert_memory_equal(a.kept.state.data, first.data, first.len);
		}
		stop(&a);
		start(&b,
			(struct start){
				.path = paths[i], .format = "csv", .attempt = 2, .finished = true},
			&a);
		finish(&b);
		for (uint64_t id = 6; id < 8; id++) {
			checkpoint(&b, id);
			assert_int_equal(b.kept.handle.len, 0);
			commit(&b);
		}
		stop(&b);
		clear(&a);
		/* ... and once more from what that says. */
		start(&a,
			(struct start){
				.path = paths[i], .format = "csv", .attempt = 3, .finished = true},
			&b);
		finish(&a);
		checkpoint(&a, 8);
		assert_int_equal(a.kept.handle.len, 0);
		clear(&a);
		clear(&b);
		buf_clear(&first);
	}
	assert_holds("a.csv", "a\n0\n1\n2\n");
	assert_holds("dir/part-" JOB8 "-0-1.csv", "a\n0\n1\n");
	assert_holds("dir/part-" JOB8 "-0-2.csv", "a\n2\n");
	unlink("a.csv");
	unlink("a.csv.gz");
	unlink("dir/part-" JOB8 "-0-1.csv");
	unlink("dir/part-" JOB8 "-0-2.csv");
	assert_int_equal(rmdir("dir"), 0);
}

/* The last checkpoint exists, its commit didn't come. */
static void a_finished_sink_commits_what_its_manifest_names(void **state)
{
	struct bench a, b;

	start(&a, (struct start){.path = "a.csv", .attempt = 1}, NULL);
	rows(&a, 0, 2);
	finish(&a);
	checkpoint(&a, 1); /* given up */
	checkpoint(&a, 2);
	stop(&a);
	assert_int_equal(access("a.csv", F_OK), -1);
	start(&b, (struct start){.path = "a.csv", .attempt = 2, .finished = true}, &a);
	assert_holds("a.csv", "a\n0\n1\n");
	assert_int_equal(b.warnings.len, 0);
	clear(&b);
	unlink("a.csv"); /* by a consumer; the supervisor hadn't heard of the commit */
	start(&b, (struct start){.path = "a.csv", .attempt = 3, .finished = true}, &a);
	assert_string_equal(buf_cstr(&b.warnings),
		"a.csv was committed before, and has been taken away since\n");
	assert_int_equal(access("a.csv", F_OK), -1);
	clear(&a);
	clear(&b);
}

static void a_table_shows_every_epoch_whole(void **state)
{
	struct bench a, b;

	start(&a, (struct start){.path = "a.txt", .format = "table", .attempt = 1}, NULL);
	rows(&a, 0, 2);
	checkpoint(&a, 1);
	rows(&a, 2, 9);
	stop(&a);
	start(&b, (struct start){.path = "a.txt", .format = "table", .attempt = 2}, &a);
	rows(&b, 2, 3);
	finish(&b);
	checkpoint(&b, 2);
	commit(&b);
	assert_holds("a.txt", "a\n─\n0\n1\na\n─\n2\n");
	unlink("a.txt");
	clear(&a);
	clear(&b);
}

/* ---- a random walk ---- */

static uint32_t seed;

static bool chance(int in)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 16) % (uint32_t)in == 0;
}

/* A source's position is part of the checkpoint: rows from `at` on come again. */
static void walk(const char *path, const char *format, int64_t n)
{
	struct bench benches[2] = {{.st = NULL}}, *x = &benches[0], *last = NULL;
	int64_t at = 0, checkpointed = 0;
	uint64_t attempt = 1, id = 0, sent_before = 0;

	start(x, (struct start){.path = path, .format = format, .attempt = attempt}, NULL);
	while (at < n) {
		int64_t end = at + 1 + (seed >> 20) % 7;

		end = end < n ? end : n;
		rows(x, at, end);
		at = end;
		if (chance(3)) {
			checkpoint(x, ++id);
			checkpointed = at;
			sent_before = x->rows;
			last = x;
			if (!chance(3))
				commit(x);
		}
		/* Only a checkpoint of this very process is kept here: die right after it, or go
		 * on. */
		if (last == x && chance(2)) {
			struct bench *next = x == &benches[0] ? &benches[1] : &benches[0];

			if (at < n && chance(2))
				rows(x, at, at + 1); /* lost */
			stop(x);
			start(next,
				(struct start){
					.path = path, .format = format, .attempt = ++attempt},
				x);
			clear(x);
			x = next;
			last = NULL;
			at = checkpointed;
		}
	}
	assert_true(sent_before <= (uint64_t)n);
	finish(x);
	checkpoint(x, ++id);
	commit(x);
	clear(x);
}

static void killed_and_restored_a_file_is_the_same_to_the_byte(void **state)
{
	static const char *const formats[] = {"csv", "ndjson", "frames", "tsv"};
	const char *given = getenv("SEED");
	uint32_t begin = given ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)time(NULL);

	print_message("SEED=%u\n", begin);
	for (uint32_t i = 0; i < 40; i++) {
		const char *format = formats[i % 4];
		size_t wanted_len, len;
		char *wanted, *got;
		struct bench x;

		seed = begin + i;
		start(&x, (struct start){.path = "w", .format = format, .attempt = 1}, NULL);
		rows(&x, 0, 1);
		for (int64_t at = 1; at < 60; at++)
			rows(&x, at, at + 1);
		finish(&x);
		checkpoint(&x, 1);
		commit(&x);
		clear(&x);
		wanted = file_read("w", &wanted_len);
		unlink("w");
		walk("w", format, 60);
		got = file_read("w", &len);
		/* Frames are batches as they came: their number differs, the first bytes and END
		 * don't. */
		if (strcmp(format, "frames") != 0) {
			assert_int_equal(len, wanted_len);
			assert_memory_equal(got, wanted, len);
		} else {
			assert_memory_equal(got, wanted, 40);
			assert_memory_equal(got + len - 9, wanted + wanted_len - 9, 9);
		}
		unlink("w");
		mem_free(wanted);
		mem_free(got);
	}
}

/* A file of frames is one stream: a schema comes once, and END counts all rows. */
static void a_restored_file_of_frames_is_one_stream(void **state)
{
	struct channel_reader *r;
	struct error e = ERROR_INIT;
	struct buf kinds = BUF_INIT;
	struct bench a, b;
	struct frame f;
	uint64_t count = 0;
	char *bytes;
	size_t len;

	start(&a, (struct start){.path = "a.frames", .attempt = 1}, NULL);
	rows(&a, 0, 2);
	checkpoint(&a, 1);
	stop(&a);
	start(&b, (struct start){.path = "a.frames", .attempt = 2}, &a);
	rows(&b, 2, 5);
	schema_add(&b.schema, "b", 1, TYPE_OF(TYPE_INT)); /* a second one */
	frame_put_schema(&b.frame, 2, &b.schema);
	give(&b);
	finish(&b);
	checkpoint(&b, 2);
	commit(&b);
	bytes = file_read("a.frames", &len);
	r = channel_reader_new_memory(bytes, len, "a.frames");
	while (channel_read(r, false, &f, &e) == CHANNEL_FRAME) {
		buf_printf(&kinds, "%s ", frame_kind_name(f.kind));
		if (!strcmp(frame_kind_name(f.kind), "END"))
			assert_int_equal(frame_read_end(&f, &count, &e), 0);
	}
	assert_string_equal(buf_cstr(&kinds), "HELLO SCHEMA BATCH BATCH SCHEMA WATERMARK END ");
	assert_int_equal(count, 5);
	channel_reader_free(r);
	buf_clear(&kinds);
	mem_free(bytes);
	unlink("a.frames");
	clear(&a);
	clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_in_a_part_are_not_left_behind_for_a_directory),
		cmocka_unit_test(a_header_comes_once),
		cmocka_unit_test(parts_have_a_header_each_and_directories_go_on_as_another_job),
		cmocka_unit_test(a_savepoint_takes_the_rows_of_a_file_along),
		cmocka_unit_test(a_finished_sink_says_the_same_again),
		cmocka_unit_test(a_finished_sink_commits_what_its_manifest_names),
		cmocka_unit_test(a_table_shows_every_epoch_whole),
		cmocka_unit_test(a_restored_file_of_frames_is_one_stream),
		cmocka_unit_test(killed_and_restored_a_file_is_the_same_to_the_byte),
	};

	return cmocka_run_group_tests(tests, rooms_open, rooms_close);
}
