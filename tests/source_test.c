#include "cmd/ssource/source.h"
#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/source_test.XXXXXX";
static char csv[64], recording[64];

/* A stage with one source and its output in memory. */
struct bench {
	struct buf out, state;
	struct channel_writer *writer;
	struct stage *st;
};

static int keep_state(void *context, struct stage *st, const struct barrier *b,
	const struct buf *handle, struct error *e)
{
	struct bench *x = context;
	struct channel_writer *w = channel_writer_new_memory(&x->state);
	int status = stage_snapshot(st, w, e);

	channel_writer_free(w);
	return status;
}

static struct operator* new_source(const struct source_options *o)
{
	const char *input = o->records.inputs[0];
	struct operator* op = NULL;
	struct error e = ERROR_INIT;
	int status;

	if (strncmp(input, "nexmark:", 8) == 0)
		status = source_new_nexmark(o, input, &op, &e);
	else if (strcmp(input, recording) == 0)
		status = source_new_replay(o, &op, &e);
	else
		status = source_new_records(o, &op, &e);
	assert_int_equal(status, 0);
	return op;
}

static void bench_open(struct bench *x, const struct source_options *o)
{
	*x = (struct bench){.st = NULL};
	x->writer = channel_writer_new_memory(&x->out);
	struct stage_output_plan output = {.writers = &x->writer, .writers_len = 1};
	struct stage_plan plan = {.name = "ssource",
		.subtasks = 1,
		.outputs = &output,
		.hooks = {.context = x, .checkpoint = keep_state}};
	x->st = stage_new(&plan, new_source(o));
}

static void bench_close(struct bench *x)
{
	stage_free(x->st);
	channel_writer_free(x->writer);
	buf_clear(&x->out);
	buf_clear(&x->state);
}

/* Appends rows and watermarks as text; a watermark that says nothing new is left out. */
static void show(const struct buf *stream, struct buf *text, int64_t *watermark)
{
	struct channel_reader *r = channel_reader_new_memory(stream->data, stream->len, "out");
	struct schema_set schemas = {.len = 0};
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	const struct schema *s = NULL;
	struct frame f;
	struct batch b;
	int64_t us;

	while (channel_read(r, true, &f, &e) == CHANNEL_FRAME) {
		if (f.kind == FRAME_SCHEMA) {
			assert_int_equal(schema_set_declare(&schemas, &f, &s, &e), 0);
		} else if (f.kind == FRAME_BATCH) {
			assert_int_equal(frame_read_batch(&f, s, true, &arena, &b, &e), 0);
			for (uint32_t i = 0; i < b.rows; i++) {
				batch_put_row(&b, i, text);
				buf_put_byte(text, '\n');
			}
		} else if (f.kind == FRAME_WATERMARK) {
			assert_int_equal(frame_read_int(&f, &us, &e), 0);
			if (us > *watermark)
				buf_printf(text, "watermark %lld\n", (long long)us);
			*watermark = us > *watermark ? us : *watermark;
		}
	}
	assert_string_equal(e.text, "");
	schema_set_clear(&schemas);
	arena_clear(&arena);
	channel_reader_free(r);
}

static bool run_steps(struct bench *x, unsigned steps)
{
	struct error e = ERROR_INIT;
	enum produce_status status = PRODUCE_MORE;

	for (; steps && status != PRODUCE_END; steps--) {
		status = stage_produce(x->st, &e);
		if (status == PRODUCE_ERROR)
			fail_msg("%s", e.text);
	}
	return status == PRODUCE_END;
}

static void compare_with_a_restart(const struct source_options *o)
{
	struct buf expected = BUF_INIT;
	int64_t watermark = INT64_MIN;
	struct bench whole;
	unsigned cuts = 0;

	bench_open(&whole, o);
	assert_true(run_steps(&whole, 1000));
	show(&whole.out, &expected, &watermark);
	bench_close(&whole);
	for (unsigned cut = 0; cut < 12; cut++) {
		struct barrier barrier = {.checkpoint = 1};
		struct buf got = BUF_INIT;
		struct error e = ERROR_INIT;
		struct bench first, second;
		struct channel_reader *state;

		watermark = INT64_MIN;
		bench_open(&first, o);
		if (!run_steps(&first, cut)) {
			assert_int_equal(stage_checkpoint(first.st, &barrier, &e), 0);
			stage_idle(first.st, &e);
			show(&first.out, &got, &watermark);
			bench_open(&second, o);
			state = channel_reader_new_memory(
				first.state.data, first.state.len, "state");
			if (stage_restore(second.st, &state, 1, &e) < 0)
				fail_msg("%s", e.text);
			channel_reader_free(state);
			assert_true(run_steps(&second, 1000));
			show(&second.out, &got, &watermark);
			assert_string_equal(buf_cstr(&got), buf_cstr(&expected));
			bench_close(&second);
			cuts++;
		}
		buf_clear(&got);
		bench_close(&first);
	}
	assert_true(cuts > 2);
	buf_clear(&expected);
}

static int make_files(void **state)
{
	FILE *f;

	if (!mkdtemp(directory))
		return -1;
	snprintf(csv, sizeof csv, "%s/a.csv", directory);
	snprintf(recording, sizeof recording, "%s/a.frames", directory);
	f = fopen(csv, "w");
	fprintf(f, "at,n\n");
	for (int i = 0; i < 40000; i++)
		fprintf(f, "%d,\"%d\"\n", i * 10 + i % 7 * 100, i);
	return fclose(f);
}

static int remove_files(void **state)
{
	unlink(csv);
	unlink(recording);
	return rmdir(directory);
}

static void records_go_on_from_a_snapshot_as_if_nothing_had_been(void **state)
{
	const char *inputs[] = {csv, csv};
	struct source_options o = {.records = {.inputs = inputs,
					   .inputs_len = 2,
					   .schema_text = "*, at timestamp(ms)",
					   .reader = {.quoted_newlines = true}},
		.time_column = "at",
		.has_delay = true,
		.delay_us = 500000,
		.limit = -1,
		.bad = "stop"};

	compare_with_a_restart(&o);
	o.limit = 50000;
	o.has_delay = false;
	compare_with_a_restart(&o);
}

static void events_go_on_from_a_snapshot_as_if_nothing_had_been(void **state)
{
	const char *inputs[] = {"nexmark:bid?events=40000"};
	struct source_options o = {.records = {.inputs = inputs, .inputs_len = 1},
		.has_delay = true,
		.delay_us = 1000000,
		.limit = -1,
		.bad = "stop"};

	compare_with_a_restart(&o);
}

static void a_recording_goes_on_from_a_snapshot_as_if_nothing_had_been(void **state)
{
	const char *inputs[] = {csv};
	struct source_options o = {.records = {.inputs = inputs,
					   .inputs_len = 1,
					   .schema_text = "*, at timestamp(ms)",
					   .reader = {.quoted_newlines = true}},
		.time_column = "at",
		.has_delay = true,
		.delay_us = 500000,
		.limit = -1,
		.bad = "stop"};
	struct bench x;
	int fd;

	bench_open(&x, &o);
	assert_true(run_steps(&x, 1000));
	fd = open(recording, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, x.out.data, x.out.len), x.out.len);
	close(fd);
	bench_close(&x);
	inputs[0] = recording;
	o = (struct source_options){
		.records = {.inputs = inputs, .inputs_len = 1}, .limit = -1, .bad = "stop"};
	compare_with_a_restart(&o);
	o.has_delay = true;
	o.delay_us = 2000000;
	o.records.schema_text = "n, at";
	compare_with_a_restart(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_go_on_from_a_snapshot_as_if_nothing_had_been),
		cmocka_unit_test(events_go_on_from_a_snapshot_as_if_nothing_had_been),
		cmocka_unit_test(a_recording_goes_on_from_a_snapshot_as_if_nothing_had_been),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
