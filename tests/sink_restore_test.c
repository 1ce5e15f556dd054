/* What stands in a sink's files after checkpoints, deaths and restores, format by format; frames are
 * read by ssource.  Epochs of bytes are output_test.c's, the sink's state sink_test.c's. */
#include "cmd/common/bad.h"
#include "cmd/common/sink.h"
#include "cmd/ssource/source.h"
#include "formats/input.h"
#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"
#include "tests/support/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define JOB8 "01234567"
#define LINE "\xe2\x94\x80" /* under a table's name of one letter */
#define OTHER "fedcba98765432100123456789abcdef"

/* Processes die here, not machines: nothing has to reach a disk. */
int fsync(int fd)
{
	return 0;
}

/* ---- a stage with a sink ---- */

struct bench {
	struct kept kept;         /* of the last checkpoint */
	struct stage *st;
	struct sink_options o;
	const char *job, *name;
	uint64_t attempt, epoch;
	bool finished;            /* as the coordinator knew at the last checkpoint */
	uint64_t sent;            /* rows on the present stream */
	uint32_t schema_id;
	struct schema schema;
	struct error e;
};

static int take(struct bench *x, struct buf *frame)
{
	struct channel_reader *r = channel_reader_new_memory(frame->data, frame->len, "in");
	struct frame f;
	int status = 0;

	/* The reader wants HELLO first: what has none is taken from behind one. */
	assert_int_equal(channel_read(r, true, &f, &x->e), CHANNEL_FRAME);
	if (x->sent != UINT64_MAX)
		assert_int_equal(channel_read(r, true, &f, &x->e), CHANNEL_FRAME);
	status = stage_take(x->st, 0, &f, &x->e);
	channel_reader_free(r);
	buf_clear(frame);
	return status;
}

static struct buf frame_begin(void)
{
	struct hello hello = {.version = FRAME_VERSION, .stage = "test", .bounded = true};
	struct buf b = BUF_INIT;

	frame_put_hello(&b, &hello);
	return b;
}

static void taken(struct bench *x, int status)
{
	if (status < 0)
		fail_msg("%s", x->e.text);
}

/* Starts the stage, from the last checkpoint if there was one; its handle is committed first. */
static void start(struct bench *x)
{
	static const unsigned inputs[] = {0};
	struct stage_plan plan = {.name = x->name ? x->name : "out", .subtasks = 1, .channel_inputs = inputs,
		.channels_len = 1, .supervised = x->o.supervised, .job = x->job,
		.attempt = ++x->attempt, .finished = x->finished,
		.hooks = {.context = x, .checkpoint = kept_take}};
	struct buf hello = frame_begin();
	struct operator *op;

	x->e = (struct error)ERROR_INIT;
	taken(x, sink_operator_new(&x->o, &op, &x->e));
	x->st = stage_new(&plan, op);
	x->schema_id = 0;
	if (x->kept.state.len) {
		struct channel_reader *r = channel_reader_new_memory(x->kept.state.data, x->kept.state.len, "state");

		taken(x, stage_restore(x->st, &r, 1, &x->e));
		channel_reader_free(r);
		if (x->kept.handle.len)
			taken(x, stage_commit(x->st, x->epoch, x->kept.handle.data, x->kept.handle.len, &x->e));
	}
	x->sent = UINT64_MAX; /* HELLO is to come */
	taken(x, take(x, &hello));
	x->sent = 0;
}

static void bench_open(struct bench *x, const char *path, const char *format)
{
	*x = (struct bench){.o = {.output = path, .format = format, .supervised = true,
		.spool = "spool", .writer = {.header = true}}, .job = JOB};
	schema_init(&x->schema);
	start(x);
}

static void die(struct bench *x)
{
	stage_free(x->st);
	x->st = NULL;
}

static void restart(struct bench *x)
{
	die(x);
	start(x);
}

static void bench_close(struct bench *x)
{
	stage_free(x->st);
	schema_clear(&x->schema);
	files_kept_clear(&x->kept);
}

/* Columns named by letters, all int. */
static int try_schema(struct bench *x, const char *letters, bool changelog)
{
	struct buf b = frame_begin();

	schema_clear(&x->schema);
	schema_init(&x->schema);
	for (const char *c = letters; *c; c++)
		schema_add(&x->schema, c, 1, TYPE_OF(TYPE_INT));
	x->schema.changelog = changelog;
	frame_put_schema(&b, ++x->schema_id, &x->schema);
	return take(x, &b);
}

static void schema(struct bench *x, const char *letters)
{
	taken(x, try_schema(x, letters, false));
}

/* Rows first .. first + n - 1: that number in every column; ops go round in changelogs. */
static void rows(struct bench *x, int64_t first, int64_t n)
{
	struct batch_builder rows;
	struct buf b = frame_begin();

	batch_builder_init(&rows, &x->schema);
	for (int64_t i = first; i < first + n; i++) {
		for (size_t c = 0; c < x->schema.fields_len; c++)
			builder_put_int(&rows.columns[c], i);
		if (x->schema.changelog)
			buf_put_byte(&rows.ops, (uint8_t)(i & 3));
	}
	frame_put_batch(&b, x->schema_id, batch_builder_view(&rows));
	batch_builder_clear(&rows);
	x->sent += (uint64_t)n;
	taken(x, take(x, &b));
}

static void tick(struct bench *x, int64_t us)
{
	struct buf b = frame_begin();

	frame_put_tick(&b, us);
	taken(x, take(x, &b));
}

static void watermark(struct bench *x, int64_t us)
{
	struct buf b = frame_begin();

	frame_put_watermark(&b, us);
	taken(x, take(x, &b));
}

/* A barrier; at the end, the supervisor's order.  What it keeps is not committed. */
static void checkpoint(struct bench *x)
{
	struct barrier barrier = {.checkpoint = ++x->epoch};
	struct buf b = frame_begin();

	x->finished = stage_has_ended(x->st);
	if (x->finished) {
		buf_clear(&b);
		taken(x, stage_checkpoint(x->st, &barrier, &x->e));
		return;
	}
	frame_put_barrier(&b, &barrier);
	taken(x, take(x, &b));
}

static void commit(struct bench *x)
{
	taken(x, stage_commit(x->st, x->epoch, x->kept.handle.data, x->kept.handle.len, &x->e));
}

static void end(struct bench *x)
{
	struct buf b = frame_begin();

	frame_put_end(&b, x->sent);
	taken(x, take(x, &b));
}

static void finish(struct bench *x)
{
	end(x);
	checkpoint(x);
	commit(x);
}

/* ---- reading frames as ssource does ---- */

/* The text of all rows ssource takes out of a recording; it checks HELLO, schemas and END's count. */
static void replay(const char *path, struct buf *text)
{
	const char *inputs[] = {path};
	struct source_options o = {.records = {.inputs = inputs, .inputs_len = 1}, .limit = -1,
		.bad = "stop"};
	struct buf out = BUF_INIT;
	struct channel_writer *w = channel_writer_new_memory(&out);
	struct stage_output_plan output = {.writers = &w, .writers_len = 1};
	struct stage_plan plan = {.name = "ssource", .subtasks = 1, .outputs = &output};
	struct schema_set schemas = {.len = 0};
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	enum produce_status status;
	struct channel_reader *r;
	const struct schema *s = NULL;
	struct operator *op = NULL;
	struct stage *st;
	struct frame f;
	struct batch b;
	uint32_t id;

	assert_int_equal(source_new_replay(&o, &op, &e), 0);
	st = stage_new(&plan, op);
	while ((status = stage_produce(st, &e)) == PRODUCE_MORE) {
	}
	if (status != PRODUCE_END)
		fail_msg("%s", e.text);
	stage_free(st);
	channel_writer_free(w);
	r = channel_reader_new_memory(out.data, out.len, "out");
	while (channel_read(r, true, &f, &e) == CHANNEL_FRAME) {
		if (f.kind == FRAME_SCHEMA)
			assert_int_equal(schema_set_declare(&schemas, &f, &s, &e), 0);
		if (f.kind != FRAME_BATCH)
			continue;
		assert_int_equal(frame_read_schema_id(&f, &id, &e), 0);
		s = schema_set_find(&schemas, id);
		assert_int_equal(frame_read_batch(&f, s, true, &arena, &b, &e), 0);
		for (uint32_t i = 0; i < b.rows; i++) {
			for (size_t c = 0; c < s->fields_len; c++)
				buf_printf(text, "%s%s=%lld", c ? " " : "", s->fields[c].name,
					(long long)column_int(&b.columns[c], i));
			buf_put_byte(text, '\n');
		}
	}
	assert_string_equal(e.text, "");
	channel_reader_free(r);
	schema_set_clear(&schemas);
	arena_clear(&arena);
	buf_clear(&out);
}

static void assert_replays(const char *path, const char *want)
{
	struct buf text = BUF_INIT;

	replay(path, &text);
	assert_string_equal(buf_cstr(&text), want);
	buf_clear(&text);
}

/* ---- frames in a file ---- */

static void frames_go_on_over_restores_as_one_readable_stream(void **state)
{
	struct bench x;

	bench_open(&x, "x.frames", NULL);
	schema(&x, "a");
	rows(&x, 1, 2);
	watermark(&x, 5);
	checkpoint(&x);
	rows(&x, 90, 2); /* lost */
	restart(&x);
	schema(&x, "a"); /* said again by the stream, not again in the file */
	rows(&x, 3, 1);
	schema(&x, "ab");
	rows(&x, 4, 1);
	checkpoint(&x);
	restart(&x);
	schema(&x, "ab");
	rows(&x, 5, 1);
	schema(&x, "abc");
	rows(&x, 6, 1);
	finish(&x);
	bench_close(&x);
	assert_replays("x.frames", "a=1\na=2\na=3\na=4 b=4\na=5 b=5\na=6 b=6 c=6\n");
}

static void frames_of_a_restored_stream_whose_schema_is_another_take_a_new_id(void **state)
{
	struct bench x;

	bench_open(&x, "x.frames", NULL);
	schema(&x, "a");
	schema(&x, "ab");
	rows(&x, 1, 1);
	checkpoint(&x);
	restart(&x);
	schema(&x, "abc"); /* where the file's ids are 1 and 2 */
	rows(&x, 2, 1);
	schema(&x, "a");
	rows(&x, 3, 1);
	finish(&x);
	bench_close(&x);
	assert_replays("x.frames", "a=1 b=1\na=2 b=2 c=2\na=3\n");
}

/* Two streams with other columns that come together: schemas in turn, more often than there are
 * ids. */
static void schemas_that_alternate_keep_their_ids(void **state)
{
	enum { TURNS = SCHEMA_ID_MAX + 10 };
	struct buf text = BUF_INIT;
	struct bench x;
	size_t lines = 0;

	bench_open(&x, "x.frames", NULL);
	for (uint32_t i = 0; i < TURNS; i++) {
		x.schema_id = i % 2;
		schema(&x, i % 2 ? "ab" : "a");
		rows(&x, i, 1);
	}
	finish(&x);
	bench_close(&x);
	replay("x.frames", &text);
	for (size_t i = 0; i < text.len; i++)
		lines += text.data[i] == '\n';
	assert_int_equal(lines, TURNS);
	buf_clear(&text);
}

static void frames_of_a_finished_stream_without_rows_can_be_read(void **state)
{
	struct bench x;

	bench_open(&x, "x.frames", NULL);
	checkpoint(&x);
	restart(&x);
	finish(&x);
	bench_close(&x);
	assert_replays("x.frames", "");
	bench_open(&x, "y.frames", NULL);
	schema(&x, "a");
	checkpoint(&x);
	restart(&x);
	schema(&x, "a");
	finish(&x);
	bench_close(&x);
	assert_replays("y.frames", "");
}

static void every_part_of_frames_is_a_stream_of_its_own(void **state)
{
	struct bench x;

	bench_open(&x, "out/", "frames");
	schema(&x, "a");
	rows(&x, 1, 2);
	watermark(&x, 7);
	checkpoint(&x);
	commit(&x);
	watermark(&x, 8);
	checkpoint(&x); /* a watermark makes no part */
	restart(&x);
	schema(&x, "ab");
	rows(&x, 3, 1);
	schema(&x, "a");
	rows(&x, 4, 1);
	finish(&x);
	bench_close(&x);
	assert_replays("out/part-" JOB8 "-0-1.frames", "a=1\na=2\n");
	assert_gone("out/part-" JOB8 "-0-2.frames");
	assert_replays("out/part-" JOB8 "-0-3.frames", "a=3 b=3\na=4\n");
}

static void a_savepoint_of_frames_goes_on_in_another_job(void **state)
{
	struct bench x;

	bench_open(&x, "x.frames", NULL);
	schema(&x, "a");
	rows(&x, 1, 2);
	checkpoint(&x);
	die(&x);
	x.job = OTHER;
	x.attempt = 0;
	start(&x);
	schema(&x, "a");
	rows(&x, 3, 1);
	checkpoint(&x);
	restart(&x);
	finish(&x);
	bench_close(&x);
	assert_replays("x.frames", "a=1\na=2\na=3\n");
}

/* ---- tables ---- */

static void a_table_whose_columns_change_after_a_restore_loses_no_row(void **state)
{
	struct bench x;

	bench_open(&x, "t.txt", "table");
	schema(&x, "a");
	rows(&x, 1, 1);
	checkpoint(&x);
	restart(&x);
	schema(&x, "a");
	rows(&x, 2, 1); /* held back when the columns change */
	schema(&x, "ab");
	rows(&x, 3, 1);
	finish(&x);
	bench_close(&x);
	assert_holds("t.txt", "a\n" LINE "\n1\na\n" LINE "\n2\n\na  b\n" LINE "  " LINE "\n3  3\n");
}

/* ---- text ---- */

static void csv_refuses_other_columns_also_after_a_restore(void **state)
{
	for (int restored = 0; restored < 2; restored++) {
		struct bench x;

		bench_open(&x, "a.csv", NULL);
		schema(&x, "a");
		rows(&x, 1, 1);
		if (restored) {
			checkpoint(&x);
			restart(&x);
		}
		assert_int_equal(try_schema(&x, "ab", false), -1);
		assert_int_equal(x.e.code, ERROR_DATA);
		bench_close(&x);
		assert_gone("a.csv");
	}
}

static void ndjson_takes_other_columns(void **state)
{
	struct bench x;

	bench_open(&x, "a.ndjson", NULL);
	schema(&x, "a");
	rows(&x, 1, 1);
	checkpoint(&x);
	restart(&x);
	schema(&x, "ab");
	rows(&x, 2, 1);
	finish(&x);
	bench_close(&x);
	assert_holds("a.ndjson", "{\"a\":1}\n{\"a\":2,\"b\":2}\n");
}

/* What ssource would read of it. */
static void unpack(const char *path, struct buf *text)
{
	struct error e = ERROR_INIT;
	struct input *in;
	char piece[512];
	size_t got;

	if (input_open(path, &in, &e) < 0)
		fail_msg("%s", e.text);
	while (input_read(in, piece, sizeof piece, &got, &e) == 0)
		buf_put(text, piece, got);
	assert_string_equal(e.text, "");
	input_close(in);
}

static void compressed_files_go_on_over_restores(void **state)
{
	static const char *const names[] = {"a.csv.gz", "a.csv.zst", "a.csv.lz4"};

	for (size_t i = 0; i < 3; i++) {
		struct buf text = BUF_INIT;
		struct bench x;

		bench_open(&x, names[i], NULL);
		schema(&x, "a");
		for (int k = 1; k < 6; k++) {
			rows(&x, k, 1);
			checkpoint(&x);
			checkpoint(&x); /* of nothing */
			rows(&x, 100, 5000);
			restart(&x);
			schema(&x, "a");
		}
		finish(&x);
		bench_close(&x);
		unpack(names[i], &text);
		assert_string_equal(buf_cstr(&text), "a\n1\n2\n3\n4\n5\n");
		buf_clear(&text);
	}
}

static void compressed_parts_are_whole_each(void **state)
{
	static const char *const kinds[] = {"gz", "zst", "lz4"};

	for (size_t i = 0; i < 3; i++) {
		struct bench x = {.o = {.output = "out/", .format = "csv", .compress = kinds[i],
			.supervised = true, .writer = {.header = true}}, .job = JOB};
		struct buf text = BUF_INIT;
		char path[64];

		schema_init(&x.schema);
		start(&x);
		schema(&x, "a");
		rows(&x, 1, 1);
		checkpoint(&x);
		restart(&x);
		schema(&x, "a");
		rows(&x, 2, 1);
		finish(&x);
		bench_close(&x);
		for (int epoch = 1; epoch < 3; epoch++) {
			snprintf(path, sizeof path, "out/part-" JOB8 "-0-%d.csv.%s", epoch, kinds[i]);
			unpack(path, &text);
		}
		assert_string_equal(buf_cstr(&text), "a\n1\na\n2\n");
		buf_clear(&text);
	}
}

static void changelogs_keep_their_ops_over_a_restore(void **state)
{
	static const char *const names[] = {"a.csv", "a.ndjson"};
	static const char *const wanted[] = {"op,a\n-U,1\n+U,2\n-D,3\n+I,4\n",
		"{\"op\":\"-U\",\"a\":1}\n{\"op\":\"+U\",\"a\":2}\n{\"op\":\"-D\",\"a\":3}\n"
		"{\"op\":\"+I\",\"a\":4}\n"};

	for (size_t i = 0; i < 2; i++) {
		struct bench x;

		bench_open(&x, names[i], NULL);
		taken(&x, try_schema(&x, "a", true));
		rows(&x, 1, 2);
		checkpoint(&x);
		restart(&x);
		taken(&x, try_schema(&x, "a", true));
		rows(&x, 3, 2);
		finish(&x);
		bench_close(&x);
		assert_holds(names[i], wanted[i]);
	}
}

static void names_are_taken_as_they_are(void **state)
{
	static const char *const names[] = {" a b.csv", "[x]*.csv", "-dash.csv", "*.csv", "?.csv",
		"'\"$(x).csv", "spool/in here.csv", "./-.csv"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct bench x;

		bench_open(&x, names[i], NULL);
		schema(&x, "a");
		rows(&x, 1, 1);
		checkpoint(&x);
		rows(&x, 9, 1);
		restart(&x);
		schema(&x, "a");
		rows(&x, 2, 1);
		finish(&x);
		bench_close(&x);
		assert_holds(names[i], "a\n1\n2\n");
		unlink(names[i]);
	}
	assert_int_equal(rmdir("spool"), 0); /* nothing else came there */
}

/* ---- nothing came ---- */

static void an_empty_input_leaves_what_its_tool_can_read(void **state)
{
	static const struct {
		const char *path, *format, *want;
	} cases[] = {
		{"a.csv", NULL, "a,b\n"},
		{"a.ndjson", NULL, ""},
		{"t.txt", "table", "a  b\n" LINE "  " LINE "\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (int supervised = 0; supervised < 2; supervised++) {
			struct bench x = {.o = {.output = cases[i].path, .format = cases[i].format,
				.supervised = supervised, .writer = {.header = true}}, .job = JOB};

			schema_init(&x.schema);
			start(&x);
			schema(&x, "ab");
			if (supervised) {
				checkpoint(&x);
				restart(&x);
				finish(&x);
			} else {
				end(&x);
			}
			bench_close(&x);
			assert_holds(cases[i].path, cases[i].want);
			unlink(cases[i].path);
		}
	}
}

static void null_keeps_nothing_and_hands_out_nothing(void **state)
{
	struct bench x;

	bench_open(&x, "null:", "frames");
	schema(&x, "a");
	rows(&x, 1, 5);
	watermark(&x, 1);
	checkpoint(&x);
	assert_int_equal(x.kept.handle.len, 0);
	restart(&x);
	schema(&x, "a");
	rows(&x, 6, 1);
	finish(&x);
	assert_int_equal(x.kept.handle.len, 0);
	bench_close(&x);
	assert_gone("null:");
}

/* ---- the output is another one than before ---- */

static void a_file_that_follows_standard_output_begins_anew(void **state)
{
	static const char *const before[] = {"-", "out/"};

	for (size_t i = 0; i < 2; i++) {
		struct bench x;

		bench_open(&x, before[i], "csv");
		schema(&x, "a");
		rows(&x, 1, 1);
		checkpoint(&x);
		die(&x);
		buf_reset(&x.kept.handle); /* committed before */
		x.o.output = "a.csv";
		start(&x);
		schema(&x, "a");
		rows(&x, 2, 1);
		finish(&x);
		bench_close(&x);
		assert_holds("a.csv", "a\n2\n");
	}
}

static void frames_that_follow_a_directory_are_counted_anew(void **state)
{
	struct bench x;

	bench_open(&x, "out/", "frames");
	schema(&x, "a");
	rows(&x, 1, 3);
	checkpoint(&x);
	commit(&x);
	die(&x);
	x.o.output = "a.frames";
	start(&x);
	schema(&x, "a");
	rows(&x, 4, 1);
	finish(&x);
	bench_close(&x);
	assert_replays("a.frames", "a=4\n");
}

/* ---- standard output ---- */

static void standard_output_has_one_header_over_a_restore(void **state)
{
	struct bench x;

	stdout_catch();
	bench_open(&x, "-", "csv");
	schema(&x, "a");
	rows(&x, 1, 1);
	checkpoint(&x);
	rows(&x, 9, 1);
	restart(&x); /* commits */
	schema(&x, "a");
	rows(&x, 2, 1);
	finish(&x);
	bench_close(&x);
	stdout_release();
	assert_holds("stdout", "a\n1\n2\n");
	assert_int_equal(rmdir("spool"), 0);
}

/* They wait in one spool.  The first has rows, and sweeps, before the second has committed. */
static void two_streams_of_a_job_leave_each_other_alone(void **state)
{
	struct bench a, b;

	stdout_catch();
	bench_open(&a, "-", "ndjson");
	bench_open(&b, "-", "ndjson");
	die(&b);
	b.name = "out2";
	b.attempt = 0;
	start(&b);
	schema(&a, "a");
	rows(&a, 1, 1);
	schema(&b, "b");
	rows(&b, 1, 1);
	checkpoint(&a);
	checkpoint(&b);
	die(&b);
	restart(&a);
	schema(&a, "a");
	rows(&a, 2, 1);
	start(&b);
	schema(&b, "b");
	rows(&b, 2, 1);
	finish(&b);
	finish(&a);
	bench_close(&a);
	bench_close(&b);
	stdout_release();
	assert_holds("stdout", "{\"a\":1}\n{\"b\":1}\n{\"b\":2}\n{\"a\":2}\n");
	assert_int_equal(rmdir("spool"), 0);
}

/* ---- malformed records ---- */

/* A source of nothing but malformed records. */
struct bad_source {
	struct operator op;
	struct bad_records bad;
};

static void bad_free(struct operator *op)
{
	bad_records_clear(&((struct bad_source *)op)->bad);
	mem_free(op);
}

static const struct bad_record malformed[] = {
	{.input = "a.csv", .line = 3, .column = 7, .reason = "an unterminated \"quote\"",
		.record = "1,\"x\n", .record_len = 5},
	{.input = "b \xff.csv", .line = UINT32_MAX, .column = 0, .reason = "not an int: 'x'",
		.record = "\xc3\x28\0\xe2\x82", .record_len = 5},
	{.input = "", .line = 1, .column = 1, .reason = "", .record = "", .record_len = 0},
};

static enum produce_status bad_produce(struct operator *op, struct error *e)
{
	struct bad_source *s = (struct bad_source *)op;
	struct bad_sink sink;

	if (bad_records_open(&s->bad, op->stage, e) < 0)
		return PRODUCE_ERROR;
	sink = bad_records_sink(&s->bad);
	for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
		if (sink.take(sink.context, &malformed[i], e) < 0)
			return PRODUCE_ERROR;
	}
	return bad_records_commit(&s->bad, e) < 0 ? PRODUCE_ERROR : PRODUCE_END;
}

static void run_bad_source(const char *path, unsigned output, struct buf *out)
{
	static const struct operator_ops ops = {.type = "bad", .free = bad_free,
		.produce = bad_produce};
	struct buf nowhere = BUF_INIT;
	struct bad_source *s = mem_zero(sizeof *s);
	struct channel_writer *w[] = {channel_writer_new_memory(&nowhere),
		channel_writer_new_memory(out)};
	struct stage_output_plan outputs[] = {{.writers = &w[0], .writers_len = 1},
		{.writers = &w[1], .writers_len = 1}};
	struct stage_plan plan = {.name = "bad", .subtasks = 1, .outputs = outputs};
	struct error e = ERROR_INIT;
	struct stage *st;

	s->op = (struct operator){.ops = &ops, .outputs = 2, .bounded = true};
	bad_records_init(&s->bad, path, output);
	st = stage_new(&plan, &s->op);
	if (stage_produce(st, &e) != PRODUCE_END)
		fail_msg("%s", e.text);
	assert_int_equal(stage_metrics(st).bad, sizeof malformed / sizeof *malformed);
	stage_free(st);
	for (int i = 0; i < 2; i++)
		channel_writer_free(w[i]);
	buf_clear(&nowhere);
}

static void malformed_records_are_the_same_text_alone_and_as_rows(void **state)
{
	struct buf side = BUF_INIT, none = BUF_INIT;
	struct channel_reader *r;
	struct bench x;
	struct frame f;
	char *alone;

	run_bad_source("alone.ndjson", 0, &none);
	run_bad_source("side.ndjson", 1, &side);
	assert_gone("side.ndjson");
	bench_open(&x, "side.ndjson", "ndjson");
	r = channel_reader_new_memory(side.data, side.len, "side");
	assert_int_equal(channel_read(r, true, &f, &x.e), CHANNEL_FRAME); /* its HELLO */
	while (channel_read(r, true, &f, &x.e) == CHANNEL_FRAME)
		taken(&x, stage_take(x.st, 0, &f, &x.e));
	channel_reader_free(r);
	assert_true(stage_has_ended(x.st));
	checkpoint(&x);
	commit(&x);
	bench_close(&x);
	alone = file_read("alone.ndjson", NULL);
	assert_non_null(strstr(alone, "\"line\":4294967295"));
	assert_holds("side.ndjson", alone);
	mem_free(alone);
	buf_clear(&side);
	buf_clear(&none);
}

/* ---- a random walk over restores ---- */

static uint32_t seed;

static uint32_t draw(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 16) % n;
}

/* Rows 0 .. ROWS - 1 of a stream whose columns change at fixed rows, stopped anywhere. */
static void walk(const char *path, const char *format)
{
	enum { ROWS = 40, CHANGE_AT = 13 };
	int64_t at = 0, kept = 0;
	struct bench x;

	bench_open(&x, path, format);
	while (at < ROWS) {
		const char *letters = at / CHANGE_AT % 2 && strcmp(format, "csv") != 0 ? "ab" : "a";
		int64_t n = 1 + draw(4);

		if (n > CHANGE_AT - at % CHANGE_AT)
			n = CHANGE_AT - at % CHANGE_AT;
		if (n > ROWS - at)
			n = ROWS - at;
		schema(&x, letters);
		rows(&x, at, n);
		at += n;
		if (draw(3) == 0) {
			checkpoint(&x);
			kept = at;
			if (draw(2))
				commit(&x);
		}
		if (draw(6) == 0) {
			restart(&x);
			at = kept;
		}
	}
	end(&x);
	checkpoint(&x);
	if (draw(2))
		restart(&x);
	else
		commit(&x);
	bench_close(&x);
}

static void walk_check(const char *path, const char *format)
{
	struct buf want = BUF_INIT, got = BUF_INIT;

	if (!strcmp(format, "csv"))
		buf_put_text(&want, "a\n");
	if (!strcmp(format, "json"))
		buf_put_text(&want, "[\n");
	for (int i = 0; i < 40; i++) {
		bool both = i / 13 % 2;

		if (!strcmp(format, "csv"))
			buf_printf(&want, "%d\n", i);
		else if (!strcmp(format, "ndjson"))
			buf_printf(&want, both ? "{\"a\":%d,\"b\":%d}\n" : "{\"a\":%d}\n", i, i);
		else if (!strcmp(format, "json"))
			buf_printf(&want, both ? "{\"a\":%d,\"b\":%d}" : "{\"a\":%d}", i, i);
		else
			buf_printf(&want, both ? "a=%d b=%d\n" : "a=%d\n", i, i);
		if (!strcmp(format, "json"))
			buf_put_text(&want, i < 39 ? ",\n" : "\n]\n");
	}
	if (!strcmp(format, "frames")) {
		replay(path, &got);
		assert_string_equal(buf_cstr(&got), buf_cstr(&want));
	} else {
		assert_holds(path, buf_cstr(&want));
	}
	buf_clear(&want);
	buf_clear(&got);
	unlink(path);
}

/* Directories, by partition, by size, by age, by any two of them: every row comes once. */
static void walk_parts(const char *partition, struct roll roll)
{
	enum { ROWS = 40 };
	int64_t at = 0, kept = 0, tick_us = 0;
	struct bench x = {.o = {.output = "out/", .format = "csv", .supervised = true,
		.partition = partition, .roll = roll, .parts_open_max = 3}, .job = JOB};

	schema_init(&x.schema);
	start(&x);
	while (at < ROWS) {
		int64_t n = 1 + draw(4);

		schema(&x, "ab");
		n = n < ROWS - at ? n : ROWS - at;
		rows(&x, at, n);
		at += n;
		if (draw(3) == 0)
			tick(&x, tick_us += 1 + draw(200));
		if (draw(3) == 0) {
			checkpoint(&x);
			kept = at;
			if (draw(2))
				commit(&x);
		}
		if (draw(5) == 0) {
			restart(&x);
			at = kept;
		}
	}
	end(&x);
	checkpoint(&x);
	if (draw(2))
		restart(&x);
	else
		commit(&x);
	bench_close(&x);
}

static void walk_parts_check(bool partitioned)
{
	char *names = files_below("out"), *name, *rest = names;
	uint8_t seen[40] = {0};

	while ((name = strsep(&rest, " ")) && *name) {
		char *path = mem_printf("out/%s", name), *text = file_read(path, NULL), *at = text;

		if (strchr(name, '.') != strrchr(name, '.') || *name == '.')
			fail_msg("%s is left over", name);
		while (*at) {
			long a = strtol(at, &at, 10);

			if (partitioned)
				assert_int_equal(a, strtol(name + 2, NULL, 10));
			else
				assert_int_equal(a, strtol(at + 1, &at, 10));
			assert_int_equal(*at++, '\n');
			seen[a]++;
		}
		mem_free(text);
		mem_free(path);
	}
	for (int i = 0; i < 40; i++)
		assert_int_equal(seen[i], 1);
	mem_free(names);
	remove_tree("out");
}

static void wherever_it_is_restored_parts_have_every_row_once(void **state)
{
	static const struct {
		const char *partition;
		struct roll roll;
	} cases[] = {
		{"b", {0}},
		{NULL, {.bytes = 10}},
		{NULL, {.age_us = 100}},
		{"b", {.bytes = 1, .age_us = 100}},
	};
	const char *given = getenv("SEED");
	uint32_t first = given ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)getpid();

	print_message("SEED=%u\n", first);
	for (uint32_t i = 0; i < 100; i++) {
		for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
			seed = first + i;
			walk_parts(cases[k].partition, cases[k].roll);
			walk_parts_check(cases[k].partition != NULL);
		}
	}
}

static void wherever_it_is_restored_the_file_is_the_same(void **state)
{
	static const char *const formats[] = {"csv", "ndjson", "frames", "json"};
	const char *given = getenv("SEED");
	uint32_t first = given ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)getpid();

	print_message("SEED=%u\n", first);
	for (uint32_t i = 0; i < 300; i++) {
		for (size_t k = 0; k < 4; k++) {
			seed = first + i;
			walk("walk", formats[k]);
			walk_check("walk", formats[k]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROOM_TEST(csv_refuses_other_columns_also_after_a_restore),
		ROOM_TEST(a_file_that_follows_standard_output_begins_anew),
		ROOM_TEST(frames_that_follow_a_directory_are_counted_anew),
		ROOM_TEST(frames_go_on_over_restores_as_one_readable_stream),
		ROOM_TEST(frames_of_a_restored_stream_whose_schema_is_another_take_a_new_id),
		ROOM_TEST(schemas_that_alternate_keep_their_ids),
		ROOM_TEST(frames_of_a_finished_stream_without_rows_can_be_read),
		ROOM_TEST(every_part_of_frames_is_a_stream_of_its_own),
		ROOM_TEST(a_savepoint_of_frames_goes_on_in_another_job),
		ROOM_TEST(a_table_whose_columns_change_after_a_restore_loses_no_row),
		ROOM_TEST(ndjson_takes_other_columns),
		ROOM_TEST(compressed_files_go_on_over_restores),
		ROOM_TEST(compressed_parts_are_whole_each),
		ROOM_TEST(changelogs_keep_their_ops_over_a_restore),
		ROOM_TEST(names_are_taken_as_they_are),
		ROOM_TEST(an_empty_input_leaves_what_its_tool_can_read),
		ROOM_TEST(null_keeps_nothing_and_hands_out_nothing),
		ROOM_TEST(standard_output_has_one_header_over_a_restore),
		ROOM_TEST(two_streams_of_a_job_leave_each_other_alone),
		ROOM_TEST(malformed_records_are_the_same_text_alone_and_as_rows),
		ROOM_TEST(wherever_it_is_restored_the_file_is_the_same),
		ROOM_TEST(wherever_it_is_restored_parts_have_every_row_once),
	};

	return cmocka_run_group_tests(tests, rooms_open, rooms_close);
}
