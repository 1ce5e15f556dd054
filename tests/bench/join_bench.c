/* Left rows per second of a join by an int key against 10 k right rows that are there, and of the
 * other families, in one process without text or pipes:
 *
 *     build/release/tests/bench/join_bench [million rows] */
#include "cmd/sjoin/join.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/stage/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEYS = 10000, BATCHES = 16 };

struct bench {
	struct stage *stage;
	struct schema schemas[2];
	struct buf left[BATCHES], right[BATCHES];
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void take(struct stage *st, size_t channel, const struct buf *b)
{
	struct error e = ERROR_INIT;
	struct frame f = {.kind = b->data[5],
		.body = b->data + FRAME_HEADER_BYTES,
		.body_bytes = (uint32_t)(b->len - FRAME_HEADER_BYTES)};

	if (stage_take(st, channel, &f, &e) == 0)
		return;
	fprintf(stderr, "join_bench: %s\n", e.text);
	exit(1);
}

static void make_schema(struct schema *s)
{
	schema_init(s);
	schema_add(s, "k", 1, TYPE_OF(TYPE_INT));
	schema_add(s, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
	schema_add(s, "v", 1, TYPE_OF(TYPE_INT));
	s->time_column = 1;
}

/* Batch `index` of a stream: KEYS keys at random, a row every 10 us. */
static void make_batch(const struct schema *s, uint64_t index, struct buf *out)
{
	struct batch_builder b;
	uint64_t x = index * 88172645463325252u + 1;

	batch_builder_init(&b, s);
	for (uint32_t r = 0; r < BATCH_ROWS; r++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		builder_put_int(&b.columns[0], (int64_t)((x >> 33) % KEYS));
		builder_put_int(&b.columns[1], (int64_t)(index * BATCH_ROWS + r) * 10);
		builder_put_int(&b.columns[2], r);
	}
	buf_reset(out);
	frame_put_batch(out, 1, batch_builder_view(&b));
	batch_builder_clear(&b);
}

static void put_dimension(struct bench *bench)
{
	struct batch_builder b;
	struct buf out = BUF_INIT;

	for (int64_t first = 0; first < KEYS; first += BATCH_ROWS) {
		batch_builder_init(&b, &bench->schemas[1]);
		for (int64_t k = first; k < KEYS && k < first + BATCH_ROWS; k++) {
			builder_put_int(&b.columns[0], k);
			builder_put_int(&b.columns[1], k);
			builder_put_int(&b.columns[2], k * 7);
		}
		buf_reset(&out);
		frame_put_batch(&out, 1, batch_builder_view(&b));
		take(bench->stage, RIGHT, &out);
		batch_builder_clear(&b);
	}
	buf_reset(&out);
	frame_put_end(&out, KEYS);
	take(bench->stage, RIGHT, &out);
	buf_clear(&out);
}

static void open_bench(struct bench *bench, const struct join_options *o)
{
	static const unsigned inputs[] = {LEFT, RIGHT};
	static const struct stage_output_plan nowhere = {.writers_len = 0};
	struct stage_plan plan = {.name = "sjoin",
		.subtasks = 1,
		.channel_inputs = inputs,
		.channels_len = 2,
		.outputs = &nowhere};
	struct hello hello = {.version = FRAME_VERSION, .stage = "bench", .bounded = true};
	struct error e = ERROR_INIT;
	struct operator *op;
	struct buf b = BUF_INIT;

	MUST(join_new(o, &op, &e) == 0);
	bench->stage = stage_new(&plan, op);
	for (unsigned side = 0; side < 2; side++) {
		buf_reset(&b);
		frame_put_hello(&b, &hello);
		take(bench->stage, side, &b);
	}
	for (unsigned side = 2; side-- > 0;) {
		make_schema(&bench->schemas[side]);
		buf_reset(&b);
		frame_put_schema(&b, 1, &bench->schemas[side]);
		take(bench->stage, side, &b);
	}
	buf_clear(&b);
}

static void close_bench(struct bench *bench, const char *name, uint64_t rows, double seconds)
{
	printf("%-28s %8.1f M rows/s\n", name, (double)rows / seconds / 1e6);
	stage_free(bench->stage);
	schema_clear(&bench->schemas[0]);
	schema_clear(&bench->schemas[1]);
}

static void bench_keys(const char *name, const struct join_options *o, uint64_t batches)
{
	struct bench bench;
	double start;

	open_bench(&bench, o);
	put_dimension(&bench);
	memset(bench.left, 0, sizeof bench.left);
	for (uint64_t i = 0; i < BATCHES; i++)
		make_batch(&bench.schemas[0], i, &bench.left[i]);
	start = now();
	for (uint64_t i = 0; i < batches; i++)
		take(bench.stage, LEFT, &bench.left[i % BATCHES]);
	close_bench(&bench, name, batches * BATCH_ROWS, now() - start);
	for (uint64_t i = 0; i < BATCHES; i++)
		buf_clear(&bench.left[i]);
}

/* Both sides advance together; rows of both are counted. */
static void bench_timed(const char *name, const struct join_options *o, uint64_t batches)
{
	struct bench bench;
	struct buf b = BUF_INIT;
	double spent = 0;

	open_bench(&bench, o);
	for (uint64_t i = 0; i < batches; i++) {
		double start;

		make_batch(&bench.schemas[0], i, &b);
		start = now();
		for (unsigned side = 0; side < 2; side++)
			take(bench.stage, side, &b);
		for (unsigned side = 0; side < 2; side++) {
			buf_reset(&b);
			frame_put_watermark(&b, (int64_t)((i + 1) * BATCH_ROWS) * 10 - 1);
			take(bench.stage, side, &b);
		}
		spent += now() - start;
	}
	close_bench(&bench, name, 2 * batches * BATCH_ROWS, spent);
	buf_clear(&b);
}

int main(int argc, char **argv)
{
	uint64_t batches = (argc > 1 ? strtoull(argv[1], NULL, 10) : 4) * 1000000 / BATCH_ROWS;
	struct join_options o = {.keys = "k", .prefix = "right_"};

	bench_keys("key, inner", &o, batches);
	o.kind = JOIN_LEFT;
	bench_keys("key, left", &o, batches);
	o.kind = JOIN_SEMI;
	bench_keys("key, semi", &o, batches);
	o.kind = JOIN_INNER;
	o.where = "v < right_v";
	bench_keys("key, inner, -w", &o, batches);
	o.where = NULL;
	o.by = JOIN_BY_WINDOW;
	o.size_us = o.step_us = 100000;
	bench_timed("tumble, 10 k rows a window", &o, batches / 4);
	o.by = JOIN_BY_INTERVAL;
	o.low_us = -10000;
	o.high_us = 10000;
	bench_timed("within +-1000 rows", &o, batches / 4);
	o.by = JOIN_BY_LATEST;
	bench_timed("as-of", &o, batches / 4);
	return 0;
}
