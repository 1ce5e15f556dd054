/* A source that stamps its rows and a sink that looks at the stamps: what the way between them
 * takes. Started as `ssource` (a link of that name), it makes RATE rows a second for SECONDS; as
 * `ssink` it reads them and writes to FILE what it saw, so that a pipeline between links of both
 * names runs in a shell and under runnel alike:
 *
 *     DIR/ssource RATE SECONDS | smap ... | DIR/ssink FILE SKIP
 *
 * As itself, `latency FILE SECONDS`, one process does both without any way between: what the
 * machine adds by itself.
 *
 * A row's column `at` is the moment when it was due, not when the source came round to making it: a
 * source that is held up must not hide what it holds up.  `k` counts.  Rows of the first SKIP
 * seconds are left out.  FILE gets one line: rows, then in microseconds the 50th, 99th and 99.9th
 * percentile and the greatest of the ways, and the longest time between two arrivals of rows. */
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/stage/program.h"
#include "libcore/table/builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	WAYS_MAX_US = 10000000, /* one counter a microsecond; what is longer counts as this */
	TURN_US = 500,          /* the source wakes so often */
	ALONE_US = 10,          /* ... and alone a row is due */
};

/* ---- the source ---- */

struct maker {
	struct operator op;
	int64_t rate, end; /* rows a second, rows in all */
	int64_t from_us, made;
	struct schema schema;
	struct batch_builder batch;
};

static int maker_begin(struct maker *m, struct error *e)
{
	schema_add(&m->schema, "at", 2, TYPE_OF(TYPE_INT));
	schema_add(&m->schema, "k", 1, TYPE_OF(TYPE_INT));
	batch_builder_init(&m->batch, &m->schema);
	m->from_us = clock_mono_us();
	return stage_declare(m->op.stage, 0, &m->schema, e);
}

static enum produce_status maker_produce(struct operator* op, struct error *e)
{
	struct maker *m = (struct maker *)op;
	int64_t due;

	if (!m->from_us && maker_begin(m, e) < 0)
		return PRODUCE_ERROR;
	due = (int64_t)((double)(clock_mono_us() - m->from_us) * (double)m->rate / 1e6);
	if (m->made == m->end)
		return PRODUCE_END;
	/* A turn's rows together: one by one, as they fall due, there would always be another, and what
	 * gathers is sent when nothing comes. */
	if (due < m->made + m->rate * TURN_US / 1000000 && due < m->end) {
		op->wait_us = TURN_US;
		return PRODUCE_WAIT;
	}
	for (int i = 0; m->made < due && m->made < m->end && i < BATCH_ROWS; i++, m->made++) {
		builder_put_int(&m->batch.columns[0],
			m->from_us + (int64_t)((double)m->made * 1e6 / (double)m->rate));
		builder_put_int(&m->batch.columns[1], m->made);
	}
	if (stage_emit(op->stage, 0, batch_builder_view(&m->batch), e) < 0)
		return PRODUCE_ERROR;
	batch_builder_reset(&m->batch);
	return PRODUCE_MORE;
}

static const struct operator_ops maker_ops = {.type = "ssource", .produce = maker_produce};

/* ---- the sink ---- */

struct looker {
	struct operator op;
	const char *path;
	int64_t skip_us, from_us, last_us, gap_us, greatest_us;
	uint64_t rows, *ways;
};

static void look(struct looker *l, int64_t made, int64_t now)
{
	int64_t way = now - made;

	l->rows++;
	l->ways[way < 0 ? 0 : way < WAYS_MAX_US ? way : WAYS_MAX_US]++;
	l->greatest_us = way > l->greatest_us ? way : l->greatest_us;
	if (l->last_us && now - l->last_us > l->gap_us)
		l->gap_us = now - l->last_us;
	l->last_us = now;
}

static int looker_batch(struct operator* op, unsigned input, const struct batch *b, struct error *e)
{
	struct looker *l = (struct looker *)op;
	int at = schema_require(b->schema, "at", 2, "the input", e);
	int64_t now = clock_mono_us();

	if (at < 0)
		return -1;
	if (!l->from_us && b->rows)
		l->from_us = column_int(&b->columns[at], 0) + l->skip_us;
	for (uint32_t r = 0; r < b->rows; r++) {
		int64_t made = column_int(&b->columns[at], r);

		if (made >= l->from_us)
			look(l, made, now);
	}
	return 0;
}

static int64_t percentile(const struct looker *l, double part)
{
	uint64_t seen = 0;

	for (int64_t us = 0; us <= WAYS_MAX_US; us++) {
		seen += l->ways[us];
		if ((double)seen >= part * (double)l->rows)
			return us;
	}
	return WAYS_MAX_US;
}

static int looker_end(struct operator* op, struct error *e)
{
	struct looker *l = (struct looker *)op;
	FILE *f = fopen(l->path, "w");

	if (!f)
		return error_errno(e, "%s", l->path);
	fprintf(f, "%llu %lld %lld %lld %lld %lld\n", (unsigned long long)l->rows,
		(long long)percentile(l, .5), (long long)percentile(l, .99),
		(long long)percentile(l, .999), (long long)l->greatest_us, (long long)l->gap_us);
	return fclose(f) == 0 ? 0 : error_errno(e, "%s", l->path);
}

static int looker_prepare(struct operator* op, uint64_t epoch, struct buf *handle, struct error *e)
{
	return 0;
}

static int looker_commit(
	struct operator* op, uint64_t epoch, const uint8_t *handle, size_t len, struct error *e)
{
	return 0;
}

static const struct operator_ops looker_ops = {.type = "ssink",
	.batch = looker_batch,
	.end = looker_end,
	.prepare = looker_prepare,
	.commit = looker_commit};

/* ---- the programs ---- */

static int create(struct stage_setup *setup, struct operator** out, struct error *e)
{
	static struct maker maker;

	if (setup->arguments_len != 2)
		return error_set(e, ERROR_USAGE, "two arguments");
	maker = (struct maker){.rate = atoll(setup->arguments[0]),
		.op = {.ops = &maker_ops, .outputs = 1, .bounded = true, .wait_fd = -1}};
	maker.end = maker.rate * atoll(setup->arguments[1]);
	schema_init(&maker.schema);
	*out = &maker.op;
	return 0;
}

static int create_sink(struct stage_setup *setup, struct operator** out, struct error *e)
{
	static struct looker looker;

	if (setup->arguments_len != 2)
		return error_set(e, ERROR_USAGE, "two arguments");
	looker = (struct looker){.path = setup->arguments[0],
		.skip_us = atoll(setup->arguments[1]) * 1000000,
		.ways = mem_zero((WAYS_MAX_US + 1) * sizeof *looker.ways),
		.op = {.ops = &looker_ops, .inputs = 1}};
	*out = &looker.op;
	return 0;
}

static const struct option_spec none[] = {{.name = NULL}};

static const struct stage_program source_program = {.info = {.name = "ssource",
							    .summary = "stamps rows",
							    .usage = "RATE SECONDS",
							    .examples = ""},
	.options = none,
	.create = create};

static const struct stage_program sink_program = {.info = {.name = "ssink",
							  .summary = "looks at stamps",
							  .usage = "FILE SKIP",
							  .examples = ""},
	.options = none,
	.create = create_sink};

static int alone(const char *path, const char *seconds)
{
	struct looker l = {.path = path, .ways = mem_zero((WAYS_MAX_US + 1) * sizeof *l.ways)};
	int64_t from_us = clock_mono_us(), now = from_us, end = from_us + atoll(seconds) * 1000000;
	struct error e = ERROR_INIT;

	for (int64_t due = from_us; due < end; now = clock_mono_us()) {
		for (; due <= now && due < end; due += ALONE_US)
			look(&l, due, now);
		usleep(TURN_US);
	}
	return looker_end(&l.op, &e) < 0;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];

	if (!strcmp(name, "latency"))
		return argc == 3 ? alone(argv[1], argv[2]) : 2;
	return stage_main(argc, argv, !strcmp(name, "ssink") ? &sink_program : &source_program);
}
