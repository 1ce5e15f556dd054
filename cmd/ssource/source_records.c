#include "cmd/common/bad.h"
#include "cmd/ssource/clockwork.h"
#include "cmd/ssource/positions.h"
#include "cmd/ssource/progress.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

struct source {
	struct operator base;
	const struct source_options *o;
	struct records_options records_options;
	struct clockwork clockwork;
	struct bad_records bad;
	struct progress progress;
	struct records *records; /* NULL: not open */
	struct schema schema;
	struct batch_builder batch;
	bool has_batch; /* and has declared its schema */

	/* What there was to read at the start: of all subtasks when restored, of this one once it
	 * is settled. */
	struct positions positions;
	bool is_restored, is_settled;
	int64_t flushed_us; /* monotonic: when what was read last went out for sure */
	size_t at; /* the range whose rows were last emitted */
};

static struct source *source_of(struct operator* op)
{
	return (struct source *)op;
}

/* Opens the inputs, as far as it takes to know the schema. */
static int source_open_records(struct source *s, struct error *e)
{
	if (s->records)
		return 0;
	if (bad_records_open(&s->bad, s->base.stage, e) < 0)
		return -1;
	s->records_options = s->o->records;
	s->records_options.bad = bad_records_sink(&s->bad);
	s->records_options.required_column = s->o->time_column;
	if (s->positions.spec)
		s->records_options.schema_text = s->positions.spec;
	return records_open(&s->records_options, &s->records, e);
}

/* What this subtask has to read.  Only a division has to look at the inputs for it. */
static int source_settle(struct source *s, struct error *e)
{
	const struct records_options *o = &s->o->records;
	struct positions_way way = {.subtask = stage_subtask(s->base.stage),
		.subtasks = stage_subtasks(s->base.stage),
		.cut_min_bytes = s->o->cut_min_bytes};

	if (s->is_settled)
		return 0;
	if (!s->is_restored)
		positions_begin(&s->positions, o->inputs_len);
	if (way.subtasks > 1 && s->positions.len && !stage_restored_own(s->base.stage) &&
		(source_open_records(s, e) < 0 ||
			positions_share(&s->positions, way, s->records, o->inputs, e) < 0))
		return -1;
	for (size_t i = 0; i < s->positions.len; i++)
		s->clockwork.rows += s->positions.items[i].rows;
	if (s->positions.len)
		s->clockwork.greatest_us = s->positions.items[0].greatest_us;
	s->clockwork.subtasks = way.subtasks;
	s->is_settled = true;
	return 0;
}

static int source_open(struct source *s, struct error *e)
{
	struct records_range *ranges;
	int status;

	if (source_open_records(s, e) < 0)
		return -1;
	schema_init(&s->schema);
	schema_copy(&s->schema, records_schema(s->records));
	if (clockwork_set_schema(&s->clockwork, &s->schema, e) < 0 ||
		stage_declare(s->base.stage, 0, &s->schema, e) < 0)
		return -1;
	ranges = mem_alloc((s->positions.len + 1) * sizeof *ranges);
	for (size_t i = 0; i < s->positions.len; i++)
		ranges[i] = s->positions.items[i].range;
	status = records_read(s->records, ranges, s->positions.len, e);
	mem_free(ranges);
	if (status < 0)
		return -1;
	batch_builder_init(&s->batch, &s->schema);
	s->has_batch = true;
	return 0;
}

/* Whether the next rows are of another partition than those before. */
static bool source_has_moved(const struct source *s)
{
	return s->positions.is_divided && records_ranges_over(s->records) != s->at;
}

/* A partition's watermarks go by its own rows: the runtime holds back what would fall. */
static void source_follow(struct source *s)
{
	bool moved = source_has_moved(s);

	s->at = records_ranges_over(s->records);
	if (moved && s->at < s->positions.len)
		s->clockwork.greatest_us = s->positions.items[s->at].greatest_us;
}

/* Rows of a pipe aren't held up for long by there always being one more. */
static bool source_is_due(const struct source *s)
{
	struct stat st;
	int fd = records_fd(s->records);

	return fd >= 0 && clock_mono_us() - s->flushed_us >= SOURCE_FLUSH_US &&
	       fstat(fd, &st) == 0 && !S_ISREG(st.st_mode);
}

/* Fills a batch as far as watermarks, limit and what is there allow.  1: at the end of the input or
 * the limit, 2: nothing more at the moment. */
static int source_fill(struct source *s, struct error *e)
{
	uint32_t rows_max = clockwork_rows_max(&s->clockwork);
	int status = rows_max ? 0 : 1;

	while (!status && !batch_builder_is_full(&s->batch)) {
		uint32_t rows = batch_builder_rows(&s->batch);

		if (rows >= rows_max || source_has_moved(s) || source_is_due(s))
			break;
		status = records_next(s->records, false, rows_max - rows, &s->batch, e);
	}
	return status;
}

/* Opening an input reads from it.  As long as nothing has come the runtime waits instead: it hears
 * signals. */
static bool is_silent(const char *input)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return strcmp(input, "-") == 0 && poll(&p, 1, 0) == 0;
}

static enum produce_status source_produce(struct operator* op, struct error *e)
{
	struct source *s = source_of(op);
	int status;

	if (clockwork_tick(&s->clockwork, op->stage, e) < 0)
		return PRODUCE_ERROR;
	if (s->is_restored && !s->is_settled && !s->positions.len)
		return PRODUCE_END; /* all of it was read before */
	if (!s->records && is_silent(s->o->records.inputs[0])) {
		op->wait_fd = STDIN_FILENO;
		op->wait_us = -1;
		return PRODUCE_WAIT;
	}
	if (!s->has_batch && (source_settle(s, e) < 0 || source_open(s, e) < 0))
		return PRODUCE_ERROR;
	op->wait_fd = -1;
	if ((op->wait_us = clockwork_wait_us(&s->clockwork)))
		return PRODUCE_WAIT;
	status = source_fill(s, e);
	if (status < 0 ||
		clockwork_emit(&s->clockwork, op->stage, batch_builder_view(&s->batch), e) < 0)
		return PRODUCE_ERROR;
	batch_builder_reset(&s->batch);
	source_follow(s);
	progress_show(&s->progress, s->clockwork.rows, records_bytes(s->records), false);
	if (status == 2) {
		s->flushed_us = clock_mono_us();
		op->wait_fd = records_fd(s->records);
		op->wait_us = -1;
		return PRODUCE_WAIT;
	}
	if (!status) {
		if (!source_is_due(s))
			return PRODUCE_MORE;
		s->flushed_us = clock_mono_us();
		op->wait_us = 0;
		return PRODUCE_WAIT;
	}
	progress_show(&s->progress, s->clockwork.rows, records_bytes(s->records), true);
	return bad_records_commit(&s->bad, e) < 0 ? PRODUCE_ERROR : PRODUCE_END;
}

/* ---- snapshots ---- */

/* What is left to read now. */
static void positions_now(const struct source *s, struct positions *out)
{
	out->is_divided = s->positions.is_divided;
	for (size_t i = 0; i < s->positions.len; i++) {
		struct position p = s->positions.items[i];
		bool is_first = !out->len;

		if (s->has_batch && !records_left(s->records, i, &p.range))
			continue;
		p.rows = is_first ? s->clockwork.rows : 0;
		if (i == s->at || (is_first && !out->is_divided))
			p.greatest_us = s->clockwork.greatest_us;
		positions_add(out, p);
	}
}

static int source_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct source *s = source_of(op);
	struct positions now = POSITIONS_INIT;
	struct buf spec = BUF_INIT;
	int status;

	if (source_settle(s, e) < 0)
		return -1;
	positions_now(s, &now);
	if (s->records)
		records_put_spec(s->records, &spec);
	else if (s->positions.spec)
		buf_put_text(&spec, s->positions.spec);
	now.spec = spec.len ? mem_strdup(buf_cstr(&spec)) : NULL;
	status = inputs_put(s->o->records.inputs, s->o->records.inputs_len, w, e);
	if (status == 0)
		status = positions_put(&now, w, e);
	buf_clear(&spec);
	positions_clear(&now);
	return status;
}

static int source_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	struct source *s = source_of(op);
	const struct records_options *o = &s->o->records;
	const struct batch *b;
	size_t known = 0;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (b->schema->name && !strcmp(b->schema->name, "inputs")) {
			if (inputs_check(b, o->inputs, o->inputs_len, &known, e) < 0)
				return -1;
			continue;
		}
		if (source_check_section(b, "position", e) < 0 ||
			positions_take(&s->positions, b, e) < 0)
			return -1;
	}
	s->is_restored = true;
	if (status < 0)
		return -1;
	if (inputs_check_known(o->inputs, o->inputs_len, known, e) < 0)
		return -1;
	return positions_check(&s->positions, o->inputs_len, e);
}

static void source_free(struct operator* op)
{
	struct source *s = source_of(op);

	records_close(s->records);
	bad_records_clear(&s->bad);
	if (s->has_batch)
		batch_builder_clear(&s->batch);
	schema_clear(&s->schema);
	positions_clear(&s->positions);
	mem_free(s);
}

static const struct operator_ops source_ops = {
	.type = SOURCE_TYPE,
	.free = source_free,
	.produce = source_produce,
	.snapshot = source_snapshot,
	.restore = source_restore,
};

int source_check_section(const struct batch *b, const char *own, struct error *e)
{
	static const struct {
		const char *section, *what;
	} kinds[] = {
		{"position", "files of records"},
		{"lanes", "nexmark events"},
		{"recording", "a recorded stream"},
		{"live", "live or merged inputs"},
		{"kafka", "a topic of Kafka"},
		{"query", "a table or query"},
		{"changes", "the changes of a table"},
	};
	const char *section = b->schema->name ? b->schema->name : "", *is = NULL, *wanted = own;

	if (strcmp(section, own) == 0)
		return 0;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(section, kinds[i].section) == 0)
			is = kinds[i].what;
		if (strcmp(own, kinds[i].section) == 0)
			wanted = kinds[i].what;
	}
	if (!is)
		return error_set(
			e, ERROR_STATE, "an unknown section '%s' in a source's state", section);
	return error_set(
		e, ERROR_STATE, "the state is that of a source of %s, not of %s", is, wanted);
}

int source_new_records(const struct source_options *o, struct operator** out, struct error *e)
{
	struct source *s = mem_zero(sizeof *s);

	s->base = (struct operator){
		.ops = &source_ops, .outputs = 1, .bounded = true, .wait_fd = -1, .wait_us = -1};
	s->o = o;
	schema_init(&s->schema);
	clockwork_init(&s->clockwork, o);
	if (o->bad_output)
		s->base.outputs = SOURCE_BAD_OUTPUT + 1;
	bad_records_init(&s->bad, o->bad, o->bad_output ? SOURCE_BAD_OUTPUT : 0);
	progress_init(&s->progress, o);
	*out = &s->base;
	return 0;
}
