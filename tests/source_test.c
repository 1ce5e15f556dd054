#include "cmd/ssource/source.h"
#include "libcore/base/civil.h"
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

static void bench_open_subtask(
	struct bench *x, const struct source_options *o, uint32_t subtask, uint32_t subtasks)
{
	*x = (struct bench){.st = NULL};
	x->writer = channel_writer_new_memory(&x->out);
	struct stage_output_plan output = {.writers = &x->writer, .writers_len = 1};
	struct stage_plan plan = {.name = "ssource",
		.subtask = subtask,
		.subtasks = subtasks,
		.outputs = &output,
		.hooks = {.context = x, .checkpoint = keep_state}};
	x->st = stage_new(&plan, new_source(o));
}

static void bench_open(struct bench *x, const struct source_options *o)
{
	bench_open_subtask(x, o, 0, 1);
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

/* ---- several subtasks ---- */

enum { SUBTASKS_MAX = 4 };

static int by_text(const void *a, const void *b)
{
	const char *x, *y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return strcmp(x, y);
}

/* The rows of a text of rows and watermarks, sorted. */
static void sorted_rows(struct buf *text, struct buf *out)
{
	char **lines = NULL, *end;
	size_t n = 0, cap = 0;

	buf_put_byte(text, 0);
	for (char *at = (char *)text->data; (end = strchr(at, '\n')); at = end + 1) {
		*end = 0;
		MEM_GROW(lines, cap, n + 1);
		if (strncmp(at, "watermark ", 10) != 0)
			lines[n++] = at;
	}
	qsort(lines, n, sizeof *lines, by_text);
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s\n", lines[i]);
	mem_free(lines);
}

/* All subtasks of one start: each runs so many steps (steps[] 0: to its end), then leaves its state
 * in states.  Rows are appended to text. */
static void run_subtasks(const struct source_options *o, uint32_t subtasks, const unsigned *steps,
	struct buf *states, size_t *states_len, struct buf *text)
{
	struct buf left[SUBTASKS_MAX] = {0};

	for (uint32_t k = 0; k < subtasks; k++) {
		struct channel_reader *files[SUBTASKS_MAX];
		struct barrier barrier = {.checkpoint = 1};
		struct error e = ERROR_INIT;
		int64_t watermark = INT64_MIN;
		struct bench x;
		bool ended;

		bench_open_subtask(&x, o, k, subtasks);
		for (size_t i = 0; i < *states_len; i++)
			files[i] = channel_reader_new_memory(states[i].data, states[i].len, "state");
		if (*states_len && stage_restore(x.st, files, *states_len, &e) < 0)
			fail_msg("%s", e.text);
		for (size_t i = 0; i < *states_len; i++)
			channel_reader_free(files[i]);
		ended = run_steps(&x, steps ? steps[k] : 1000000);
		assert_true(steps || ended);
		if (stage_checkpoint(x.st, &barrier, &e) < 0)
			fail_msg("%s", e.text);
		stage_idle(x.st, &e);
		show(&x.out, text, &watermark);
		left[k] = x.state;
		x.state = (struct buf)BUF_INIT;
		bench_close(&x);
	}
	for (size_t i = 0; i < *states_len; i++)
		buf_clear(&states[i]);
	memcpy(states, left, sizeof left);
	*states_len = subtasks;
}

static void compare_with_restarts_as_others(const struct source_options *o)
{
	static const struct {
		uint32_t subtasks;
		unsigned steps[SUBTASKS_MAX];
	} starts[] = {{1, {0}}, {2, {0, 0}}, {2, {1, 0}}, {3, {1, 2, 0}}, {1, {2}}, {4, {0, 1, 1, 2}},
		{3, {0, 0, 0}}, {2, {900, 1}}, {3, {1, 900, 0}}};
	enum { STARTS = sizeof starts / sizeof *starts };
	struct buf whole = BUF_INIT, expected = BUF_INIT;
	int64_t watermark = INT64_MIN;
	struct bench x;

	bench_open(&x, o);
	assert_true(run_steps(&x, 1000000));
	show(&x.out, &whole, &watermark);
	bench_close(&x);
	sorted_rows(&whole, &expected);
	for (size_t from = 0; from <= STARTS; from++) {
		for (size_t n = 0; n < 4 && from + n <= STARTS; n++) {
			struct buf states[SUBTASKS_MAX] = {0}, text = BUF_INIT, got = BUF_INIT;
			size_t states_len = 0;

			for (size_t i = from; i < from + n; i++)
				run_subtasks(o, starts[i].subtasks, starts[i].steps, states,
					&states_len, &text);
			run_subtasks(o, 1 + (from + n) % SUBTASKS_MAX, NULL, states, &states_len,
				&text);
			sorted_rows(&text, &got);
			assert_int_equal(got.len, expected.len);
			assert_string_equal(buf_cstr(&got), buf_cstr(&expected));
			/* All is read: as whatever it starts again, it has nothing to send. */
			buf_reset(&text);
			run_subtasks(o, 1 + from % SUBTASKS_MAX, NULL, states, &states_len, &text);
			assert_null(strstr(buf_cstr(&text), ","));
			for (size_t i = 0; i < states_len; i++)
				buf_clear(&states[i]);
			buf_clear(&text);
			buf_clear(&got);
		}
	}
	buf_clear(&whole);
	buf_clear(&expected);
}

static void records_go_on_as_any_number_of_subtasks(void **state)
{
	const char *inputs[] = {csv, csv, csv};
	struct source_options o = {.records = {.inputs = inputs,
					   .inputs_len = 3,
					   .schema_text = "*, at timestamp(ms)"},
		.time_column = "at",
		.has_delay = true,
		.delay_us = 500000,
		.limit = -1,
		.bad = "stop",
		.cut_min_bytes = 1000};

	compare_with_restarts_as_others(&o);
	o.records.reader.quoted_newlines = true; /* files stay whole */
	o.has_delay = false;
	compare_with_restarts_as_others(&o);
}

/* After a division a range's watermarks go by its own rows, also behind another in one subtask. */
static void every_range_has_a_greatest_time_of_its_own(void **state)
{
	const char *inputs[] = {csv, csv};
	struct source_options o = {.records = {.inputs = inputs,
					   .inputs_len = 2,
					   .schema_text = "*, at timestamp(ms)"},
		.time_column = "at",
		.has_delay = true,
		.limit = -1,
		.bad = "stop"};
	static const unsigned steps[] = {2, 1}, all_of_one[] = {4};
	struct buf states[SUBTASKS_MAX] = {0}, text = BUF_INIT;
	size_t states_len = 0;
	int64_t watermark = INT64_MIN;

	run_subtasks(&o, 2, steps, states, &states_len, &text);
	run_subtasks(&o, 1, all_of_one, states, &states_len, &text);
	buf_reset(&text);
	show(&states[0], &text, &watermark);
	/* 8192 rows of the second input were taken as a subtask of its own, some behind the first;
	 * that one's last time is 00:06:40. */
	assert_non_null(strstr(buf_cstr(&text), "input=1"));
	assert_null(strstr(buf_cstr(&text), "input=0"));
	assert_non_null(strstr(buf_cstr(&text), "greatest_time=1970-01-01T00:01:"));
	buf_clear(&states[0]);
	buf_clear(&text);
}

static void events_go_on_as_any_number_of_subtasks(void **state)
{
	const char *inputs[] = {"nexmark:bid?events=30000&disorder=1s"};
	struct source_options o = {.records = {.inputs = inputs,
					   .inputs_len = 1,
					   .schema_text = "auction, price, dateTime"},
		.has_delay = true,
		.delay_us = 1000000,
		.limit = -1,
		.bad = "stop"};

	compare_with_restarts_as_others(&o);
	inputs[0] = "nexmark:person?events=300000";
	o.records.schema_text = "id, name";
	compare_with_restarts_as_others(&o);
}

/* Watermarks hold: nothing comes that is older than one that went before. */
static void no_event_is_late_whatever_lanes_a_subtask_has(void **state)
{
	const char *inputs[] = {"nexmark:bid?events=200000&disorder=2s"};
	struct source_options o = {.records = {.inputs = inputs,
					   .inputs_len = 1,
					   .schema_text = "dateTime"},
		.has_delay = true,
		.delay_us = 2000000,
		.limit = -1,
		.bad = "stop"};
	static const unsigned uneven[] = {12, 1, 3};
	struct buf states[SUBTASKS_MAX] = {0}, text = BUF_INIT;
	size_t states_len = 0, rows = 0, watermarks = 0;
	int64_t watermark = INT64_MIN;

	run_subtasks(&o, 3, uneven, states, &states_len, &text);
	buf_reset(&text);
	run_subtasks(&o, 1, NULL, states, &states_len, &text);
	for (const char *at = buf_cstr(&text); *at; at = strchr(at, '\n') + 1) {
		int64_t us;

		if (strncmp(at, "watermark ", 10) == 0) {
			watermark = strtoll(at + 10, NULL, 10);
			watermarks++;
			continue;
		}
		at += strcspn(at, "=") + 1;
		assert_int_equal(timestamp_parse(at, strcspn(at, "\n"), &us), NUMBER_OK);
		assert_true(us > watermark);
		rows++;
	}
	assert_true(rows > 20000 && watermarks > 2);
	for (size_t i = 0; i < states_len; i++)
		buf_clear(&states[i]);
	buf_clear(&text);
}

static void the_state_of_another_kind_of_source_is_refused(void **state)
{
	const char *file[] = {csv}, *events[] = {"nexmark:bid?events=10000"};
	struct source_options records = {.records = {.inputs = file, .inputs_len = 1},
		.limit = -1, .bad = "stop"};
	struct source_options nexmark = {.records = {.inputs = events, .inputs_len = 1},
		.limit = -1, .bad = "stop"};
	static const unsigned steps[] = {1};
	struct buf states[SUBTASKS_MAX] = {0}, text = BUF_INIT;
	struct error e = ERROR_INIT;
	struct channel_reader *reader;
	size_t states_len = 0;
	struct bench x;

	run_subtasks(&nexmark, 1, steps, states, &states_len, &text);
	bench_open(&x, &records);
	reader = channel_reader_new_memory(states[0].data, states[0].len, "state");
	assert_int_equal(stage_restore(x.st, &reader, 1, &e), -1);
	assert_int_equal(e.code, ERROR_STATE);
	assert_non_null(strstr(e.text, "nexmark events, not of files of records"));
	channel_reader_free(reader);
	bench_close(&x);
	buf_clear(&states[0]);
	buf_clear(&text);
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
		cmocka_unit_test(records_go_on_as_any_number_of_subtasks),
		cmocka_unit_test(every_range_has_a_greatest_time_of_its_own),
		cmocka_unit_test(events_go_on_as_any_number_of_subtasks),
		cmocka_unit_test(no_event_is_late_whatever_lanes_a_subtask_has),
		cmocka_unit_test(the_state_of_another_kind_of_source_is_refused),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
