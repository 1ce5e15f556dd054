/* The runtime's core, frame by frame: an operator that passes rows on, fed by hand, and what it was
 * told and what left it written down as text. */
#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"
#include "libcore/table/builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- an operator that tells what it hears ---- */

struct echo {
	struct operator op;
	struct buf heard;
};

static void echo_free(struct operator *op)
{
	buf_clear(&((struct echo *)op)->heard);
	mem_free(op);
}

static int echo_schema(struct operator *op, unsigned input, const struct schema *in,
	struct error *e)
{
	buf_printf(&((struct echo *)op)->heard, "schema%u ", input);
	return stage_declare(op->stage, 0, in, e);
}

static int echo_batch(struct operator *op, unsigned input, const struct batch *b, struct error *e)
{
	buf_printf(&((struct echo *)op)->heard, "rows%u:%u ", input, b->rows);
	return stage_emit(op->stage, 0, b, e);
}

static int echo_watermark(struct operator *op, int64_t in_us, int64_t *out_us, struct error *e)
{
	if (in_us == WATERMARK_FINAL)
		buf_put_text(&((struct echo *)op)->heard, "final ");
	else
		buf_printf(&((struct echo *)op)->heard, "w%lld ", (long long)in_us);
	return 0;
}

static int echo_input_end(struct operator *op, unsigned input, struct error *e)
{
	buf_printf(&((struct echo *)op)->heard, "end%u ", input);
	return 0;
}

static int echo_end(struct operator *op, struct error *e)
{
	buf_put_text(&((struct echo *)op)->heard, "end ");
	return 0;
}

static const struct operator_ops echo_ops = {.type = "echo", .free = echo_free,
	.schema = echo_schema, .batch = echo_batch, .watermark = echo_watermark,
	.input_end = echo_input_end, .end = echo_end};

/* ---- a stage with two channels ---- */

struct bench {
	struct stage *st;
	struct echo *echo;
	struct buf out;
	struct channel_writer *writer;
	struct buf frame;
	struct schema schema;
	uint64_t barriers; /* aligned so far, as decimal digits of their ids */
	struct error e;
};

static int note_barrier(void *context, struct stage *st, const struct barrier *b,
	const struct buf *handle, struct error *e)
{
	struct bench *x = context;

	x->barriers = x->barriers * 10 + b->checkpoint;
	return 0;
}

static void bench_open(struct bench *x, const unsigned *inputs, uint32_t build_inputs)
{
	struct stage_output_plan output = {.writers = &x->writer, .writers_len = 1};
	struct stage_plan plan = {.name = "echo", .subtasks = 1, .channel_inputs = inputs,
		.channels_len = 2, .outputs = &output,
		.hooks = {.context = x, .checkpoint = note_barrier}};

	memset(x, 0, sizeof *x);
	x->echo = mem_zero(sizeof *x->echo);
	x->echo->op = (struct operator){.ops = &echo_ops, .inputs = inputs[1] + 1, .outputs = 1,
		.build_inputs = build_inputs};
	x->writer = channel_writer_new_memory(&x->out);
	x->st = stage_new(&plan, &x->echo->op);
	schema_init(&x->schema);
	schema_add(&x->schema, "a", 1, TYPE_OF(TYPE_INT));
}

static void bench_close(struct bench *x)
{
	stage_free(x->st);
	channel_writer_free(x->writer);
	buf_clear(&x->out);
	buf_clear(&x->frame);
	schema_clear(&x->schema);
}

/* Gives the frame in x->frame to a channel. */
static int give(struct bench *x, size_t channel)
{
	struct frame f = {.kind = x->frame.data[5], .body = x->frame.data + FRAME_HEADER_BYTES,
		.body_bytes = (uint32_t)x->frame.len - FRAME_HEADER_BYTES};
	int status = stage_take(x->st, channel, &f, &x->e);

	buf_reset(&x->frame);
	return status;
}

static void hello(struct bench *x, size_t channel, bool bounded)
{
	struct hello h = {.version = 1, .stage = "front", .bounded = bounded};

	frame_put_hello(&x->frame, &h);
	assert_int_equal(give(x, channel), 0);
}

static void rows(struct bench *x, size_t channel, int n)
{
	struct batch_builder b;

	frame_put_schema(&x->frame, 1, &x->schema);
	assert_int_equal(give(x, channel), 0);
	batch_builder_init(&b, &x->schema);
	for (int i = 0; i < n; i++)
		builder_put_int(&b.columns[0], i);
	frame_put_batch(&x->frame, 1, batch_builder_view(&b));
	batch_builder_clear(&b);
	assert_int_equal(give(x, channel), 0);
}

static int watermark(struct bench *x, size_t channel, int64_t us)
{
	frame_put_watermark(&x->frame, us);
	return give(x, channel);
}

static int end(struct bench *x, size_t channel, uint64_t count)
{
	frame_put_end(&x->frame, count);
	return give(x, channel);
}

static void idle(struct bench *x, size_t channel, bool is_idle)
{
	frame_put_status(&x->frame, is_idle);
	assert_int_equal(give(x, channel), 0);
}

static void barrier(struct bench *x, size_t channel, uint64_t id)
{
	struct barrier b = {.checkpoint = id};

	frame_put_barrier(&x->frame, &b);
	assert_int_equal(give(x, channel), 0);
}

static void heard(struct bench *x, const char *expected)
{
	assert_string_equal(buf_cstr(&x->echo->heard), expected);
	buf_reset(&x->echo->heard);
}

/* The kinds of the frames that have left, one word each. */
static void left(struct bench *x, const char *expected)
{
	struct channel_reader *r = channel_reader_new_memory(x->out.data, x->out.len, "out");
	struct buf kinds = BUF_INIT;
	struct frame f;
	struct error e = ERROR_INIT;

	while (channel_read(r, false, &f, &e) == CHANNEL_FRAME)
		buf_printf(&kinds, "%s ", frame_kind_name(f.kind));
	assert_string_equal(buf_cstr(&kinds), expected);
	buf_clear(&kinds);
	channel_reader_free(r);
}

static const unsigned one_input[] = {0, 0}, two_inputs[] = {0, 1};

/* ---- wrong streams ---- */

static void a_watermark_that_falls_is_refused(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	hello(&x, 1, true);
	assert_int_equal(watermark(&x, 0, 10), 0);
	assert_int_equal(watermark(&x, 0, 10), 0);
	assert_int_equal(watermark(&x, 0, 9), -1);
	assert_int_equal(x.e.code, ERROR_DATA);
	bench_close(&x);
}

static void an_end_that_counts_other_rows_means_the_stage_in_front_failed(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	hello(&x, 1, true);
	rows(&x, 0, 3);
	assert_int_equal(end(&x, 0, 4), -1);
	assert_int_equal(x.e.code, ERROR_UPSTREAM);
	bench_close(&x);
}

static void eof_without_end_names_the_stage_in_front(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	hello(&x, 1, true);
	rows(&x, 1, 3);
	assert_int_equal(stage_take_eof(x.st, 1, "standard input", &x.e), -1);
	assert_int_equal(x.e.code, ERROR_UPSTREAM);
	assert_non_null(strstr(x.e.text, "after 3 rows: front failed"));
	bench_close(&x);
}

static void the_first_cause_is_told_and_passed_on(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	hello(&x, 1, true);
	frame_put_error(&x.frame, "ssource", "a.csv:3: no\n  here\n  ^");
	assert_int_equal(give(&x, 0), -1);
	assert_int_equal(x.e.code, ERROR_UPSTREAM);
	assert_string_equal(x.e.text, "ssource failed: a.csv:3: no");
	stage_fail(x.st, &x.e);
	left(&x, "HELLO ERROR ");
	bench_close(&x);
}

static void rows_of_an_undeclared_schema_and_frames_after_end_are_refused(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	hello(&x, 1, true);
	rows(&x, 0, 1);
	buf_put(&x.frame, "\xc9\0\0\0\x0c\x02\xdd\0\0\0\x02\x07\0\xc0\xc0\xc0\xc0\xc0", 18);
	assert_int_equal(give(&x, 0), -1);
	assert_non_null(strstr(x.e.text, "never declared"));
	assert_int_equal(end(&x, 1, 0), 0);
	assert_int_equal(watermark(&x, 1, 5), -1);
	assert_non_null(strstr(x.e.text, "after END"));
	bench_close(&x);
}

/* ---- time ---- */

static void the_watermark_is_the_least_of_the_channels(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, false);
	hello(&x, 1, false);
	watermark(&x, 0, 10);
	heard(&x, "");
	watermark(&x, 1, 5);
	heard(&x, "w5 ");
	watermark(&x, 1, 20);
	heard(&x, "w10 ");
	bench_close(&x);
}

static void idle_and_ended_channels_hold_nothing_back(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, false);
	hello(&x, 1, false);
	watermark(&x, 0, 10);
	idle(&x, 1, true);
	heard(&x, "w10 ");
	idle(&x, 0, true); /* none is left: it stays where it is */
	watermark(&x, 1, 3); /* and never falls */
	heard(&x, "");
	watermark(&x, 1, 12);
	heard(&x, "w12 ");
	assert_int_equal(end(&x, 1, 0), 0);
	watermark(&x, 0, 30);
	heard(&x, "w30 ");
	assert_int_equal(end(&x, 0, 0), 0);
	heard(&x, "end0 final end ");
	assert_true(stage_has_ended(x.st));
	/* idle and back; idle again when only the idle channel is left, and back */
	left(&x, "HELLO WATERMARK STATUS STATUS WATERMARK STATUS STATUS WATERMARK WATERMARK END ");
	bench_close(&x);
}

static void hello_waits_for_all_and_tells_whether_all_are_bounded(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	left(&x, "");
	assert_false(stage_wants(x.st, 0)); /* nothing but HELLOs is read before all have come */
	assert_true(stage_wants(x.st, 1));
	hello(&x, 1, false);
	left(&x, "HELLO ");
	assert_false(stage_is_bounded(x.st));
	bench_close(&x);
}

/* ---- barriers ---- */

static void nothing_is_read_behind_a_barrier_until_all_have_brought_it(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	hello(&x, 1, true);
	barrier(&x, 0, 1);
	assert_false(stage_wants(x.st, 0));
	assert_true(stage_wants(x.st, 1));
	rows(&x, 1, 2);
	assert_int_equal(x.barriers, 0);
	barrier(&x, 1, 1);
	assert_int_equal(x.barriers, 1);
	assert_true(stage_wants(x.st, 0));
	left(&x, "HELLO SCHEMA BATCH BARRIER ");
	bench_close(&x);
}

static void a_later_barrier_replaces_one_that_was_given_up(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	hello(&x, 1, true);
	barrier(&x, 0, 1);
	barrier(&x, 1, 2); /* 1 never comes here */
	assert_true(stage_wants(x.st, 0));
	assert_false(stage_wants(x.st, 1));
	barrier(&x, 0, 2);
	assert_int_equal(x.barriers, 2);
	bench_close(&x);
}

static void an_ended_channel_counts_as_having_brought_every_barrier(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	hello(&x, 1, true);
	barrier(&x, 0, 1);
	assert_int_equal(end(&x, 1, 0), 0);
	assert_int_equal(x.barriers, 1);
	barrier(&x, 0, 2);
	assert_int_equal(x.barriers, 12);
	bench_close(&x);
}

static void a_build_side_is_read_to_its_end_first_and_its_barriers_do_not_block_it(void **state)
{
	struct bench x;

	bench_open(&x, two_inputs, 1u << 1);
	hello(&x, 0, true);
	hello(&x, 1, true);
	assert_true(stage_wants(x.st, 0)); /* its columns */
	frame_put_schema(&x.frame, 1, &x.schema);
	assert_int_equal(give(&x, 0), 0);
	assert_false(stage_wants(x.st, 0));
	barrier(&x, 1, 1);
	assert_true(stage_wants(x.st, 1));
	rows(&x, 1, 4);
	assert_int_equal(end(&x, 1, 4), 0);
	heard(&x, "schema0 schema1 rows1:4 end1 ");
	assert_true(stage_wants(x.st, 0));
	barrier(&x, 0, 1);
	assert_int_equal(x.barriers, 1);
	assert_int_equal(end(&x, 0, 0), 0);
	heard(&x, "end0 final end ");
	bench_close(&x);
}

static void a_barrier_before_the_columns_waits_for_the_build_side(void **state)
{
	struct bench x;

	bench_open(&x, two_inputs, 1u << 1);
	hello(&x, 0, true);
	hello(&x, 1, true);
	barrier(&x, 1, 1);
	rows(&x, 1, 4); /* behind the barrier: not to be in the snapshot without its end */
	x.barriers = 0;
	frame_put_barrier(&x.frame, &(struct barrier){.checkpoint = 1});
	assert_int_equal(give(&x, 0), 0);
	assert_int_equal(x.barriers, 0);
	assert_int_equal(end(&x, 1, 4), 0);
	assert_int_equal(x.barriers, 1);
	bench_close(&x);
}

static void an_input_without_an_end_is_no_build_side(void **state)
{
	struct bench x;

	bench_open(&x, two_inputs, 1u << 1);
	hello(&x, 0, true);
	hello(&x, 1, false);
	rows(&x, 0, 1);
	assert_true(stage_wants(x.st, 0));
	bench_close(&x);
}

/* ---- rows ---- */

static void small_batches_are_gathered_and_a_flush_sends_them(void **state)
{
	struct bench x;

	bench_open(&x, one_input, 0);
	hello(&x, 0, true);
	hello(&x, 1, true);
	rows(&x, 0, 3);
	rows(&x, 0, 3);
	left(&x, "HELLO SCHEMA ");
	assert_int_equal(stage_idle(x.st, &x.e), 0);
	left(&x, "HELLO SCHEMA BATCH ");
	rows(&x, 0, 8000); /* large enough as it is */
	left(&x, "HELLO SCHEMA BATCH BATCH ");
	bench_close(&x);
}

static void count_warning(void *context, const char *text)
{
	++*(int *)context;
}

static void a_warning_is_given_once(void **state)
{
	struct echo *op = mem_zero(sizeof *op);
	int warnings = 0;
	struct stage_plan plan = {.name = "echo", .subtasks = 1,
		.hooks = {.context = &warnings, .warn = count_warning}};
	struct stage *st;

	op->op = (struct operator){.ops = &echo_ops, .inputs = 1};
	st = stage_new(&plan, &op->op);
	stage_warn(st, "%d rows", 1);
	stage_warn(st, "%d rows", 2);
	stage_warn(st, "%d rows", 1);
	assert_int_equal(warnings, 2);
	for (int i = 0; i < 1000; i++)
		stage_warn(st, "row %d", i);
	assert_true(warnings < 100);
	stage_free(st);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_warning_is_given_once),
		cmocka_unit_test(a_watermark_that_falls_is_refused),
		cmocka_unit_test(an_end_that_counts_other_rows_means_the_stage_in_front_failed),
		cmocka_unit_test(eof_without_end_names_the_stage_in_front),
		cmocka_unit_test(the_first_cause_is_told_and_passed_on),
		cmocka_unit_test(rows_of_an_undeclared_schema_and_frames_after_end_are_refused),
		cmocka_unit_test(the_watermark_is_the_least_of_the_channels),
		cmocka_unit_test(idle_and_ended_channels_hold_nothing_back),
		cmocka_unit_test(hello_waits_for_all_and_tells_whether_all_are_bounded),
		cmocka_unit_test(nothing_is_read_behind_a_barrier_until_all_have_brought_it),
		cmocka_unit_test(a_later_barrier_replaces_one_that_was_given_up),
		cmocka_unit_test(an_ended_channel_counts_as_having_brought_every_barrier),
		cmocka_unit_test(a_build_side_is_read_to_its_end_first_and_its_barriers_do_not_block_it),
		cmocka_unit_test(a_barrier_before_the_columns_waits_for_the_build_side),
		cmocka_unit_test(an_input_without_an_end_is_no_build_side),
		cmocka_unit_test(small_batches_are_gathered_and_a_flush_sends_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
