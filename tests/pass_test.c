/* Operators that pass frames on, and inputs that wait for columns or aren't there: the runtime's
 * core, fed by hand. */
#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"
#include "libcore/table/builder.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { OUTPUTS = 2 };

struct bench {
	struct stage *st;
	struct buf out[OUTPUTS];
	struct channel_writer *writers[OUTPUTS];
	struct buf frame, given; /* given: all that came behind HELLO */
	struct schema schema;
	bool others_fail;
	struct error e;
};

static void op_free(struct operator *op)
{
	mem_free(op);
}

static const struct operator_ops ops = {.type = "pass", .free = op_free};

static int others_ended(void *context, struct error *e)
{
	struct bench *x = context;

	return x->others_fail ? error_set(e, ERROR_IO, "the other one failed") : 0;
}

static void bench_open(struct bench *x, const struct operator *like, const unsigned *inputs,
	size_t channels)
{
	struct stage_output_plan outputs[OUTPUTS];
	struct stage_plan plan = {.name = "pass", .subtasks = 1, .channel_inputs = inputs,
		.channels_len = channels, .outputs = outputs,
		.hooks = {.context = x, .others_ended = others_ended}};
	struct operator *op = mem_zero(sizeof *op);

	*op = *like;
	op->ops = &ops;
	op->outputs = OUTPUTS;
	for (size_t i = 0; i < OUTPUTS; i++) {
		if (!x->writers[i])
			x->writers[i] = channel_writer_new_memory(&x->out[i]);
		outputs[i] = (struct stage_output_plan){.writers = &x->writers[i], .writers_len = 1};
	}
	x->st = stage_new(&plan, op);
	schema_init(&x->schema);
	schema_add(&x->schema, "a", 1, TYPE_OF(TYPE_INT));
}

static void bench_close(struct bench *x)
{
	stage_free(x->st);
	for (size_t i = 0; i < OUTPUTS; i++) {
		channel_writer_free(x->writers[i]);
		buf_clear(&x->out[i]);
	}
	buf_clear(&x->frame);
	buf_clear(&x->given);
	schema_clear(&x->schema);
}

static int give(struct bench *x, size_t channel)
{
	struct frame f = {.kind = x->frame.data[5], .body = x->frame.data + FRAME_HEADER_BYTES,
		.body_bytes = (uint32_t)x->frame.len - FRAME_HEADER_BYTES};
	int status = stage_take(x->st, channel, &f, &x->e);

	if (f.kind != FRAME_HELLO)
		buf_put(&x->given, x->frame.data, x->frame.len);
	buf_reset(&x->frame);
	return status;
}

static void hello(struct bench *x, size_t channel)
{
	struct hello h = {.version = FRAME_VERSION, .stage = "front", .bounded = true};

	frame_put_hello(&x->frame, &h);
	assert_int_equal(give(x, channel), 0);
}

static void schema(struct bench *x, size_t channel, uint32_t id)
{
	frame_put_schema(&x->frame, id, &x->schema);
	assert_int_equal(give(x, channel), 0);
}

static void rows(struct bench *x, size_t channel, uint32_t id, int n)
{
	struct batch_builder b;

	batch_builder_init(&b, &x->schema);
	for (int i = 0; i < n; i++)
		builder_put_int(&b.columns[0], i);
	frame_put_batch(&x->frame, id, batch_builder_view(&b));
	assert_int_equal(give(x, channel), 0);
	batch_builder_clear(&b);
}

static int end(struct bench *x, size_t channel, uint64_t n)
{
	frame_put_end(&x->frame, n);
	return give(x, channel);
}

/* The kinds of the frames of an output, and the rows in them, of END the count. */
static void left(struct bench *x, unsigned output, const char *expected)
{
	struct channel_reader *r;
	struct buf text = BUF_INIT;
	struct error e = ERROR_INIT;
	struct frame f;

	stage_idle(x->st, &e);
	r = channel_reader_new_memory(x->out[output].data, x->out[output].len, "out");
	while (channel_read(r, true, &f, &e) == CHANNEL_FRAME) {
		uint32_t id, n;
		uint64_t count;

		buf_printf(&text, "%s%s", text.len ? " " : "", frame_kind_name(f.kind));
		if (f.kind == FRAME_BATCH && frame_read_rows(&f, &id, &n, &e) == 0)
			buf_printf(&text, ":%u/%u", id, n);
		if (f.kind == FRAME_END && frame_read_end(&f, &count, &e) == 0)
			buf_printf(&text, ":%u", (unsigned)count);
	}
	assert_string_equal(buf_cstr(&text), expected);
	buf_clear(&text);
	channel_reader_free(r);
}

static const struct operator passing = {.inputs = 1, .passes = true};
static const unsigned zero[2] = {0, 0}, one_each[2] = {0, 1}, second[1] = {1};

static void a_damaged_batch_is_not_passed_on(void **state)
{
	struct bench x = {.e = ERROR_INIT};
	static const uint8_t damaged[] = {0xc9, 0, 0, 0, 2, FRAME_BATCH, 0x92, 0x07};

	bench_open(&x, &passing, zero, 1);
	hello(&x, 0);
	schema(&x, 0, 7);
	buf_put(&x.frame, damaged, sizeof damaged);
	assert_int_equal(give(&x, 0), -1);
	assert_int_equal(x.e.code, ERROR_DATA);
	left(&x, 0, "HELLO SCHEMA");
	bench_close(&x);
}

static void frames_of_one_channel_leave_as_they_came(void **state)
{
	struct bench x = {.e = ERROR_INIT};

	bench_open(&x, &passing, zero, 1);
	hello(&x, 0);
	schema(&x, 0, 7);
	rows(&x, 0, 7, 3);
	rows(&x, 0, 7, 5000);
	rows(&x, 0, 7, 1);
	for (unsigned o = 0; o < OUTPUTS; o++) {
		left(&x, o, "HELLO SCHEMA BATCH:7/3 BATCH:7/5000 BATCH:7/1");
		assert_memory_equal(x.out[o].data + x.out[o].len - x.given.len, x.given.data,
			x.given.len);
	}
	assert_int_equal(end(&x, 0, 5004), 0);
	assert_true(stage_has_ended(x.st));
	for (unsigned o = 0; o < OUTPUTS; o++)
		left(&x, o, "HELLO SCHEMA BATCH:7/3 BATCH:7/5000 BATCH:7/1 WATERMARK END:5004");
	bench_close(&x);
}

static void two_channels_share_ids_of_the_stages_own(void **state)
{
	struct bench x = {.e = ERROR_INIT};

	bench_open(&x, &passing, zero, 2);
	hello(&x, 0);
	hello(&x, 1);
	schema(&x, 0, 7);
	schema(&x, 1, 9);
	rows(&x, 0, 7, 3);
	rows(&x, 1, 9, 2);
	assert_int_equal(end(&x, 0, 3), 0);
	assert_int_equal(end(&x, 1, 2), 0);
	for (unsigned o = 0; o < OUTPUTS; o++)
		left(&x, o, "HELLO SCHEMA BATCH:1/5 WATERMARK END:5");
	bench_close(&x);
}

static void the_main_output_ends_after_the_others_are_done(void **state)
{
	struct bench x = {.e = ERROR_INIT};

	bench_open(&x, &passing, zero, 1);
	x.others_fail = true;
	hello(&x, 0);
	schema(&x, 0, 1);
	assert_int_equal(end(&x, 0, 0), -1);
	assert_string_equal(x.e.text, "the other one failed");
	stage_fail(x.st, &x.e);
	left(&x, 1, "HELLO SCHEMA WATERMARK END:0");
	left(&x, 0, "HELLO SCHEMA WATERMARK ERROR");
	bench_close(&x);
}

static void the_cause_of_a_failure_goes_to_the_main_output_alone(void **state)
{
	struct bench x = {.e = ERROR_INIT}, behind = {.e = ERROR_INIT};

	bench_open(&x, &passing, zero, 1);
	hello(&x, 0);
	error_set(&x.e, ERROR_DATA, "why");
	stage_fail(x.st, &x.e);
	left(&x, 0, "HELLO ERROR");
	left(&x, 1, "HELLO ERROR");
	bench_open(&behind, &passing, zero, 1);
	hello(&behind, 0);
	frame_put_error(&behind.frame, "", "");
	assert_int_equal(give(&behind, 0), -1);
	assert_int_equal(behind.e.code, ERROR_UPSTREAM);
	assert_true(stage_was_told_nothing(behind.st));
	assert_true(x.out[0].len > x.out[1].len);
	bench_close(&x);
	bench_close(&behind);
}

static void it_goes_on_until_the_last_reader_has_gone(void **state)
{
	struct bench x = {.e = ERROR_INIT};
	int ends[OUTPUTS][2];

	for (unsigned o = 0; o < OUTPUTS; o++) {
		assert_int_equal(pipe(ends[o]), 0);
		x.writers[o] = channel_writer_new(ends[o][1], "a pipe");
	}
	bench_open(&x, &passing, zero, 1);
	close(ends[0][0]);
	hello(&x, 0);
	schema(&x, 0, 1);
	assert_int_equal(stage_idle(x.st, &x.e), 0);
	assert_false(stage_outputs_closed(x.st));
	close(ends[1][0]);
	rows(&x, 0, 1, 1);
	assert_int_equal(stage_idle(x.st, &x.e), 0);
	assert_true(stage_outputs_closed(x.st));
	bench_close(&x);
	close(ends[0][1]);
	close(ends[1][1]);
}

static void rows_wait_until_the_columns_of_all_inputs_are_known(void **state)
{
	static const struct operator op = {.inputs = 2, .schemas_first = true};
	struct barrier b = {.checkpoint = 1};
	struct bench x = {.e = ERROR_INIT};

	bench_open(&x, &op, one_each, 2);
	hello(&x, 0);
	hello(&x, 1);
	schema(&x, 0, 1);
	assert_false(stage_wants(x.st, 0));
	assert_true(stage_wants(x.st, 1));
	/* What brings a barrier first will tell nothing until the others have brought theirs. */
	frame_put_barrier(&x.frame, &b);
	assert_int_equal(give(&x, 1), 0);
	assert_true(stage_wants(x.st, 0));
	frame_put_barrier(&x.frame, &b);
	assert_int_equal(give(&x, 0), 0);
	assert_false(stage_wants(x.st, 0));
	schema(&x, 1, 1);
	assert_true(stage_wants(x.st, 0));
	bench_close(&x);
}

static void an_input_that_ends_without_columns_is_not_waited_for(void **state)
{
	static const struct operator op = {.inputs = 2, .schemas_first = true};
	struct bench x = {.e = ERROR_INIT};

	bench_open(&x, &op, one_each, 2);
	hello(&x, 0);
	hello(&x, 1);
	schema(&x, 0, 1);
	assert_int_equal(end(&x, 1, 0), 0);
	assert_true(stage_wants(x.st, 0));
	bench_close(&x);
}

static void an_input_without_a_channel_is_over(void **state)
{
	static const struct operator op = {.inputs = 2, .schemas_first = true};
	struct bench x = {.e = ERROR_INIT};

	bench_open(&x, &op, second, 1);
	assert_true(stage_input_has_ended(x.st, 0));
	hello(&x, 0);
	schema(&x, 0, 1);
	assert_true(stage_wants(x.st, 0));
	assert_int_equal(end(&x, 0, 0), 0);
	assert_true(stage_has_ended(x.st));
	bench_close(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_damaged_batch_is_not_passed_on),
		cmocka_unit_test(frames_of_one_channel_leave_as_they_came),
		cmocka_unit_test(two_channels_share_ids_of_the_stages_own),
		cmocka_unit_test(the_main_output_ends_after_the_others_are_done),
		cmocka_unit_test(the_cause_of_a_failure_goes_to_the_main_output_alone),
		cmocka_unit_test(it_goes_on_until_the_last_reader_has_gone),
		cmocka_unit_test(rows_wait_until_the_columns_of_all_inputs_are_known),
		cmocka_unit_test(an_input_that_ends_without_columns_is_not_waited_for),
		cmocka_unit_test(an_input_without_a_channel_is_over),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
