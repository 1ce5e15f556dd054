/* What swindow costs alone: rows per second of cpu from frames in memory to frames thrown away,
 * through the real stage core.  Three int columns: key, value, event time.
 *
 *   window_bench [ROWS_IN_MILLIONS] */
#include "cmd/swindow/window.h"

#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void stream_make(
	struct buf *out, uint64_t rows, uint64_t keys, bool in_order, const struct schema *s)
{
	struct hello h = {.version = FRAME_VERSION, .stage = "bench", .bounded = true};
	struct batch_builder b;
	uint64_t x = 1;

	buf_reset(out);
	frame_put_hello(out, &h);
	frame_put_schema(out, 1, s);
	batch_builder_init(&b, s);
	for (uint64_t r = 0; r < rows; r++) {
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		builder_put_int(&b.columns[0], (int64_t)((x >> 33) % keys));
		builder_put_int(&b.columns[1], (int64_t)((x >> 20) % 10000));
		/* 10 k rows a second of event time, as Nexmark has them by default */
		builder_put_int(&b.columns[2], (int64_t)((in_order ? r : (x >> 17) % rows) * 100));
		if (batch_builder_rows(&b) == BATCH_ROWS || r + 1 == rows) {
			frame_put_batch(out, 1, batch_builder_view(&b));
			batch_builder_reset(&b);
		}
	}
	frame_put_end(out, rows);
	batch_builder_clear(&b);
}

static double stage_run(
	const struct buf *stream, const struct window_options *o, uint64_t *rows_out)
{
	static const unsigned inputs[1] = {0};
	struct error e = ERROR_INIT;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct channel_writer *w = channel_writer_new(null, "null");
	struct stage_output_plan output = {&w, 1, NULL, 0};
	struct stage_plan plan = {.name = "swindow",
		.subtasks = 1,
		.channel_inputs = inputs,
		.channels_len = 1,
		.outputs = &output};
	struct channel_reader *r = channel_reader_new_memory(stream->data, stream->len, "bench");
	double start = cpu_seconds();
	struct operator* op;
	struct stage *st;
	struct frame f;
	int status = window_operator_new(o, &op, &e);

	if (status) {
		fprintf(stderr, "%s\n", e.text);
		exit(1);
	}
	st = stage_new(&plan, op);
	while (status == 0 && channel_read(r, false, &f, &e) == CHANNEL_FRAME)
		status = stage_take(st, 0, &f, &e);
	if (status) {
		fprintf(stderr, "%s\n", e.text);
		exit(1);
	}
	start = cpu_seconds() - start;
	*rows_out = stage_metrics(st).rows_out;
	stage_free(st);
	channel_reader_free(r);
	channel_writer_free(w);
	close(null);
	return start;
}

#define S INT64_C(1000000)
#define TWO "count(*) as n, max(v) as m"

static const struct {
	const char *name;
	uint64_t keys;
	bool in_order;
	struct window_options o;
} cases[] = {
	{"global, no key", 1, true, {.list = "count(*) as n, sum(v) as s, max(v) as m"}},
	{"global, 10 k keys", 10000, true,
		{.keys = "k", .list = "count(*) as n, sum(v) as s, max(v) as m"}},
	{"tumble 10 s, 10 k keys", 10000, true,
		{.shape = WINDOW_TUMBLE,
			.size_us = 10 * S,
			.step_us = 10 * S,
			.keys = "k",
			.list = TWO}},
	{"tumble 10 s, 100 keys", 100, true,
		{.shape = WINDOW_TUMBLE,
			.size_us = 10 * S,
			.step_us = 10 * S,
			.keys = "k",
			.list = TWO}},
	{"tumble 10 s, any order", 10000, false,
		{.shape = WINDOW_TUMBLE,
			.size_us = 10 * S,
			.step_us = 10 * S,
			.keys = "k",
			.list = TWO}},
	{"tumble 1 s, any order", 1000, false,
		{.shape = WINDOW_TUMBLE, .size_us = S, .step_us = S, .keys = "k", .list = TWO}},
	{"hop 60 s, 12 s, 1 k keys", 1000, true,
		{.shape = WINDOW_HOP,
			.size_us = 60 * S,
			.step_us = 12 * S,
			.keys = "k",
			.list = TWO}},
	{"hop 60 s, 1 s, 1 k keys", 1000, true,
		{.shape = WINDOW_HOP, .size_us = 60 * S, .step_us = S, .keys = "k", .list = TWO}},
	{"hop 60 s, 12 s, 100 keys", 100, true,
		{.shape = WINDOW_HOP,
			.size_us = 60 * S,
			.step_us = 12 * S,
			.keys = "k",
			.list = TWO}},
	{"hop 60 s, 1 s, 100 keys", 100, true,
		{.shape = WINDOW_HOP, .size_us = 60 * S, .step_us = S, .keys = "k", .list = TWO}},
	{"hop 10 s, 2 s, 10 k keys", 10000, true,
		{.shape = WINDOW_HOP,
			.size_us = 10 * S,
			.step_us = 2 * S,
			.keys = "k",
			.list = TWO}},
	{"session 1 s, 100 k keys", 100000, true,
		{.shape = WINDOW_SESSION, .size_us = S, .step_us = S, .keys = "k", .list = TWO}},
	{"session 10 s, 100 k keys", 100000, true,
		{.shape = WINDOW_SESSION,
			.size_us = 10 * S,
			.step_us = 10 * S,
			.keys = "k",
			.list = TWO}},
	{"session 10 s, any order", 100000, false,
		{.shape = WINDOW_SESSION,
			.size_us = 10 * S,
			.step_us = 10 * S,
			.keys = "k",
			.list = TWO}},
	{"count distinct, 10 k keys", 10000, true, {.keys = "k", .list = "count(distinct v) as n"}},
	{"stddev, 10 k keys", 10000, true, {.keys = "k", .list = "stddev(v) as s"}},
	{"median, 10 k keys", 10000, true, {.keys = "k", .list = "median(v) as m"}},
	{"approx_quantile, 10 k keys", 10000, true,
		{.keys = "k", .list = "approx_quantile(v, 0.9) as q"}},
	{"approx_count_distinct", 10000, true,
		{.keys = "k", .list = "approx_count_distinct(v) as n"}},
	{"string_agg, 10 k keys", 10000, true, {.keys = "k", .list = "string_agg(v::string) as s"}},
};

int main(int argc, char **argv)
{
	uint64_t rows = (argc > 1 ? strtoull(argv[1], NULL, 10) : 4) * 1000000;
	struct schema s = SCHEMA_INIT;
	struct buf stream = BUF_INIT;

	schema_add(&s, "k", 1, TYPE_OF(TYPE_INT));
	schema_add(&s, "v", 1, TYPE_OF(TYPE_INT));
	schema_add(&s, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
	s.time_column = 2;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t rows_out = 0;
		double best = 1e9;

		if (argc > 2 && !strstr(cases[i].name, argv[2]))
			continue;
		stream_make(&stream, rows, cases[i].keys, cases[i].in_order, &s);
		for (int k = 0; k < 3; k++) {
			double t = stage_run(&stream, &cases[i].o, &rows_out);

			best = t < best ? t : best;
		}
		printf("%-28s %7.1f M rows/s %10llu results\n", cases[i].name,
			(double)rows / best / 1e6, (unsigned long long)rows_out);
	}
	buf_clear(&stream);
	schema_clear(&s);
	return 0;
}
