/* swindow's operator, run by the real stage core over frames in memory, against a model that keeps
 * all rows and looks at each of them for every window.  Random windows, rows out of order, late
 * rows, watermarks, and restarts from snapshots into one or two subtasks at random points. */
#include "cmd/swindow/window.h"

#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { ROWS_MAX = 400, KEYS = 6, LINE = 160, WINDOWS_MAX = 4000 };

static uint64_t seed, state;

enum { TINY = 12000 }; /* memory: spills every few batches */
static int64_t memory_bytes; /* of the cases */

static uint64_t draw(uint64_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (state >> 33) % below;
}

/* ---- lines of results ---- */

struct lines {
	char (*items)[LINE];
	size_t len, cap;
};

static char *lines_add(struct lines *l)
{
	MEM_GROW(l->items, l->cap, l->len + 1);
	l->items[l->len][0] = '\0';
	return l->items[l->len++];
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void cell_put(char *line, bool valid, int64_t v)
{
	size_t len = strlen(line);

	if (valid)
		snprintf(line + len, LINE - len, "%lld ", (long long)v);
	else
		snprintf(line + len, LINE - len, "- ");
}

/* ---- the model ---- */

struct row {
	bool has_key, has_value;
	int64_t key, value, time;
	bool late;
};

struct model {
	struct window_options o;
	struct row rows[ROWS_MAX];
	size_t len;
	int64_t watermark;
	size_t late;
	struct lines out;
};

static bool passed(const struct model *m, int64_t time, int64_t watermark)
{
	return watermark == WATERMARK_FINAL ||
	       (watermark != WATERMARK_NONE && time + m->o.lateness_us <= watermark);
}

static bool same_key(const struct row *a, const struct row *b)
{
	return a->has_key == b->has_key && (!a->has_key || a->key == b->key);
}

/* Rows of one key and window, arrival order: count, sum, max, distinct, first by time. */
static void group_line(
	struct model *m, const struct row *const *rows, size_t n, int64_t start, int64_t end)
{
	char *line = lines_add(&m->out);
	int64_t values = 0, sum = 0, max = INT64_MIN, distinct = 0;
	const struct row *first = NULL;

	for (size_t i = 0; i < n; i++) {
		bool seen = false;

		if (!rows[i]->has_value)
			continue;
		values++;
		sum += rows[i]->value;
		max = rows[i]->value > max ? rows[i]->value : max;
		for (size_t k = 0; k < i; k++)
			seen |= rows[k]->has_value && rows[k]->value == rows[i]->value;
		distinct += !seen;
		if (!first || rows[i]->time < first->time)
			first = rows[i];
	}
	if (m->o.shape != WINDOW_NONE) {
		snprintf(line, LINE, "%08lld ", (long long)end + 1000000); /* sorts by the end */
		cell_put(line, true, start);
	}
	cell_put(line, rows[0]->has_key, rows[0]->key);
	cell_put(line, true, (int64_t)n);
	cell_put(line, values > 0, sum);
	cell_put(line, values > 0, max);
	cell_put(line, true, distinct);
	cell_put(line, first != NULL, first ? first->value : 0);
}

static bool in_window(const struct row *r, int64_t start, int64_t end)
{
	return !r->late && r->time >= start && r->time < end;
}

static void window_lines(struct model *m, int64_t start, int64_t end)
{
	bool done[ROWS_MAX] = {false};

	for (size_t i = 0; i < m->len; i++) {
		const struct row *rows[ROWS_MAX];
		size_t n = 0;

		if (done[i] || !in_window(&m->rows[i], start, end))
			continue;
		for (size_t k = i; k < m->len; k++) {
			if (!in_window(&m->rows[k], start, end) ||
				!same_key(&m->rows[k], &m->rows[i]))
				continue;
			rows[n++] = &m->rows[k];
			done[k] = true;
		}
		group_line(m, rows, n, start, end);
	}
}

/* Every window that could hold a time of [lo, hi], from the definition. */
static size_t windows_all(const struct model *m, int64_t lo, int64_t hi, int64_t (*out)[2])
{
	const struct window_options *o = &m->o;
	size_t n = 0;

	for (int64_t start =
			o->offset_us - 300 * (o->shape == WINDOW_HOP ? o->step_us : o->size_us);
		start <= hi + o->size_us; start += o->step_us) {
		int64_t end = start + o->size_us, from = start;

		if (o->shape == WINDOW_CUMULATE) {
			end = start + o->step_us;
			while ((from - o->offset_us) % o->size_us)
				from -= o->step_us;
		}
		if (end <= lo)
			continue;
		assert_true(n < WINDOWS_MAX);
		out[n][0] = from;
		out[n++][1] = end;
	}
	return n;
}

static void model_sessions(struct model *m, int64_t watermark)
{
	bool done[ROWS_MAX] = {false};

	for (size_t i = 0; i < m->len; i++) {
		int64_t first = m->rows[i].time, last = first;
		bool member[ROWS_MAX] = {false}, grown = true;
		const struct row *rows[ROWS_MAX];
		size_t n = 0;

		if (done[i] || m->rows[i].late)
			continue;
		while (grown) {
			grown = false;
			for (size_t k = 0; k < m->len; k++) {
				const struct row *r = &m->rows[k];

				if (member[k] || done[k] || r->late || !same_key(r, &m->rows[i]) ||
					r->time > last + m->o.size_us ||
					r->time < first - m->o.size_us)
					continue;
				member[k] = grown = true;
				first = r->time < first ? r->time : first;
				last = r->time > last ? r->time : last;
			}
		}
		for (size_t k = 0; k < m->len; k++) {
			if (member[k]) {
				done[k] = true;
				rows[n++] = &m->rows[k];
			}
		}
		if (!passed(m, last + m->o.size_us, watermark))
			continue;
		group_line(m, rows, n, first, last + m->o.size_us);
		for (size_t k = 0; k < m->len; k++) {
			if (member[k])
				m->rows[k].late = true; /* out of the way */
		}
	}
}

static void model_watermark(struct model *m, int64_t watermark)
{
	static int64_t windows[WINDOWS_MAX][2];
	size_t n;

	if (m->o.shape == WINDOW_NONE) {
		if (watermark == WATERMARK_FINAL)
			window_lines(m, INT64_MIN, INT64_MAX);
	} else if (m->o.shape == WINDOW_SESSION) {
		model_sessions(m, watermark);
	} else {
		n = windows_all(m, -100, 2000, windows);
		for (size_t i = 0; i < n; i++) {
			if (passed(m, windows[i][1] - 1, watermark) &&
				!passed(m, windows[i][1] - 1, m->watermark))
				window_lines(m, windows[i][0], windows[i][1]);
		}
	}
	m->watermark = watermark;
}

static bool joins_session(const struct model *m, const struct row *row)
{
	for (size_t i = 0; i < m->len; i++) {
		const struct row *r = &m->rows[i];

		if (!r->late && same_key(r, row) && row->time <= r->time + m->o.size_us &&
			r->time <= row->time + m->o.size_us)
			return true;
	}
	return false;
}

static void model_add(struct model *m, struct row row)
{
	static int64_t windows[WINDOWS_MAX][2];

	if (m->o.shape == WINDOW_SESSION) {
		row.late = !joins_session(m, &row) &&
			   passed(m, row.time + m->o.size_us, m->watermark);
	} else if (m->o.shape != WINDOW_NONE) {
		size_t n = windows_all(m, row.time, row.time, windows);

		row.late = true;
		for (size_t i = 0; i < n; i++)
			row.late &= row.time < windows[i][0] || row.time >= windows[i][1] ||
				    passed(m, windows[i][1] - 1, m->watermark);
	}
	m->late += row.late;
	m->rows[m->len++] = row;
}

/* ---- the operator in its stage ---- */

struct run {
	struct window_options o;
	struct schema in;
	struct stage *stages[2];
	struct channel_writer *writers[2], *late_writers[2];
	struct buf outs[2], lates[2];
	size_t len; /* subtasks */
	struct lines lines;
	size_t late;
	int64_t last_end; /* in the stream at hand */
	struct operator* ops[2];
};

/* A reader wants a HELLO; the stage gets it only if it is its first. */
static void frames_give(struct stage *st, const struct buf *frames, bool first)
{
	struct buf stream = BUF_INIT;
	struct hello h = {.version = FRAME_VERSION, .stage = "test", .bounded = true};
	struct channel_reader *r;
	struct frame f;
	struct error e = ERROR_INIT;
	enum channel_status status;

	frame_put_hello(&stream, &h);
	buf_put(&stream, frames->data, frames->len);
	r = channel_reader_new_memory(stream.data, stream.len, "test");
	while ((status = channel_read(r, false, &f, &e)) == CHANNEL_FRAME) {
		if (f.kind == FRAME_HELLO && !first)
			continue;
		if (stage_take(st, 0, &f, &e))
			fail_msg("seed %llu: %s", (unsigned long long)seed, e.text);
	}
	assert_int_equal(status, CHANNEL_EOF);
	channel_reader_free(r);
	buf_clear(&stream);
}

static void stage_start(struct run *run, size_t i)
{
	static const unsigned inputs[1] = {0};
	struct stage_output_plan outputs[2] = {
		{&run->writers[i], 1, NULL, 0}, {&run->late_writers[i], 1, NULL, 0}};
	struct stage_plan plan = {.name = "swindow",
		.subtask = (uint32_t)i,
		.subtasks = (uint32_t)run->len,
		.channel_inputs = inputs,
		.channels_len = 1,
		.outputs = outputs};
	struct operator* op;
	struct error e = ERROR_INIT;

	buf_reset(&run->outs[i]);
	buf_reset(&run->lates[i]);
	run->writers[i] = channel_writer_new_memory(&run->outs[i]);
	run->late_writers[i] = channel_writer_new_memory(&run->lates[i]);
	if (window_operator_new(&run->o, &op, &e))
		fail_msg("%s", e.text);
	run->stages[i] = stage_new(&plan, op);
	run->ops[i] = op;
}

static void schema_give(struct run *run, size_t i)
{
	struct buf frames = BUF_INIT;

	frame_put_schema(&frames, 1, &run->in);
	frames_give(run->stages[i], &frames, true);
	buf_clear(&frames);
}

static int64_t int_at(const struct batch *b, const char *name, uint32_t row, bool *valid)
{
	int i = schema_find(b->schema, name, strlen(name));

	assert_true(i >= 0);
	*valid = column_is_valid(&b->columns[i], row);
	return *valid ? column_int(&b->columns[i], row) : 0;
}

/* The last line takes back an equal one. */
static void line_take_back(struct run *run)
{
	struct lines *l = &run->lines;
	const char *line = l->items[--l->len];

	for (size_t i = 0; i < l->len; i++) {
		if (strcmp(l->items[i], line) != 0)
			continue;
		memmove(l->items[i], l->items[--l->len], LINE);
		return;
	}
	fail_msg("seed %llu: '%s' is taken back and was not there", (unsigned long long)seed, line);
}

/* -U is followed by its +U, which differs from it and has its key. */
static void expect_pair(struct run *run, const struct batch *b, uint32_t r)
{
	bool differs = false;

	assert_true(r + 1 < b->rows);
	assert_int_equal(b->ops[r + 1], ROW_UPDATE_AFTER);
	for (size_t i = 0; i < b->schema->fields_len; i++) {
		const struct column *c = &b->columns[i];
		bool same = column_is_valid(c, r) == column_is_valid(c, r + 1) &&
			    (!column_is_valid(c, r) || column_int(c, r) == column_int(c, r + 1));

		assert_true(same || i >= b->schema->keys_len); /* keys come first */
		differs |= !same;
	}
	assert_true(differs);
}

static void ops_check(struct run *run, const struct batch *b, uint32_t r)
{
	if (b->ops[r] == ROW_UPDATE_BEFORE)
		expect_pair(run, b, r);
	if (b->ops[r] == ROW_UPDATE_AFTER)
		assert_true(r > 0 && b->ops[r - 1] == ROW_UPDATE_BEFORE);
	if (b->ops[r] == ROW_UPDATE_BEFORE || b->ops[r] == ROW_DELETE)
		line_take_back(run);
}

static void batch_lines(struct run *run, const struct batch *b, int64_t watermark)
{
	static const char *const names[] = {"k", "n", "s", "m", "d", "f"};

	assert_int_equal(b->ops != NULL, run->o.emit != EMIT_CLOSE);
	for (uint32_t r = 0; r < b->rows; r++) {
		char *line = lines_add(&run->lines);
		bool valid;

		if (run->o.shape != WINDOW_NONE) {
			int64_t end = int_at(b, "window_end", r, &valid);

			snprintf(line, LINE, "%08lld ", (long long)end + 1000000);
			cell_put(line, true, int_at(b, "window_start", r, &valid));
			if (end < run->last_end && !b->ops)
				fail_msg("seed %llu: window ends fall", (unsigned long long)seed);
			run->last_end = end;
			if (end - 1 <= watermark)
				fail_msg("seed %llu: a result of %lld behind the watermark %lld",
					(unsigned long long)seed, (long long)end,
					(long long)watermark);
		}
		for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
			int64_t v = int_at(b, names[i], r, &valid);

			cell_put(line, valid, v);
		}
		if (b->ops)
			ops_check(run, b, r);
	}
}

static size_t stream_read(struct run *run, const struct buf *stream, bool is_main)
{
	struct channel_reader *r = channel_reader_new_memory(stream->data, stream->len, "out");
	struct schema_set schemas = {.schemas = NULL};
	struct arena arena = ARENA_INIT;
	int64_t watermark = WATERMARK_NONE;
	struct error e = ERROR_INIT;
	size_t rows = 0;
	struct frame f;

	run->last_end = INT64_MIN;
	while (stream->len && channel_read(r, false, &f, &e) == CHANNEL_FRAME) {
		const struct schema *s;
		struct batch b;
		uint32_t id;

		if (f.kind == FRAME_SCHEMA)
			assert_int_equal(schema_set_declare(&schemas, &f, &s, &e), 0);
		if (f.kind == FRAME_WATERMARK)
			assert_int_equal(frame_read_int(&f, &watermark, &e), 0);
		if (f.kind != FRAME_BATCH)
			continue;
		assert_int_equal(frame_read_schema_id(&f, &id, &e), 0);
		s = schema_set_find(&schemas, id);
		assert_int_equal(frame_read_batch(&f, s, true, &arena, &b, &e), 0);
		rows += b.rows;
		if (is_main)
			batch_lines(run, &b, watermark);
	}
	schema_set_clear(&schemas);
	arena_clear(&arena);
	channel_reader_free(r);
	return rows;
}

static void stage_stop(struct run *run, size_t i)
{
	struct error e = ERROR_INIT;

	stage_idle(run->stages[i], &e);
	stage_free(run->stages[i]);
	channel_flush(run->writers[i], &e);
	channel_flush(run->late_writers[i], &e);
	channel_writer_free(run->writers[i]);
	channel_writer_free(run->late_writers[i]);
	stream_read(run, &run->outs[i], true);
	run->late += stream_read(run, &run->lates[i], false);
}

static void run_restart(struct run *run, size_t subtasks)
{
	struct buf files[2] = {BUF_INIT, BUF_INIT};
	struct channel_reader *readers[2];
	struct error e = ERROR_INIT;
	size_t old = run->len;

	for (size_t i = 0; i < old; i++) {
		struct channel_writer *w = channel_writer_new_memory(&files[i]);

		if (run->ops[i]->ops->settle(run->ops[i], &e)) /* as before a barrier */
			fail_msg("seed %llu: %s", (unsigned long long)seed, e.text);
		if (stage_snapshot(run->stages[i], w, &e))
			fail_msg("seed %llu: snapshot: %s", (unsigned long long)seed, e.text);
		channel_writer_free(w);
		stage_stop(run, i);
	}
	run->len = subtasks;
	for (size_t i = 0; i < subtasks; i++) {
		stage_start(run, i);
		for (size_t k = 0; k < old; k++)
			readers[k] = channel_reader_new_memory(
				files[k].data, files[k].len, "state");
		if (stage_restore(run->stages[i], readers, old, &e))
			fail_msg("seed %llu: restore: %s", (unsigned long long)seed, e.text);
		for (size_t k = 0; k < old; k++)
			channel_reader_free(readers[k]);
		schema_give(run, i);
	}
	buf_clear(&files[0]);
	buf_clear(&files[1]);
}

static size_t subtask_of(const struct run *run, const struct row *row)
{
	struct column_builder b;
	struct column c;
	const struct column *columns[1] = {&c};
	uint64_t hash;
	size_t subtask = 0;

	builder_init(&b, TYPE_OF(TYPE_INT));
	if (row->has_key)
		builder_put_int(&b, row->key);
	else
		builder_put_null(&b);
	c = builder_column(&b);
	keys_hash(columns, 1, 1, &hash);
	for (size_t i = 0; i < run->len; i++) {
		if (key_range_has(stage_key_range(run->stages[i]), key_group(hash)))
			subtask = i;
	}
	builder_clear(&b);
	return subtask;
}

static void run_rows(struct run *run, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < run->len; i++) {
		struct batch_builder b;
		struct buf frames = BUF_INIT;

		batch_builder_init(&b, &run->in);
		for (size_t r = 0; r < n; r++) {
			if (run->len > 1 && subtask_of(run, &rows[r]) != i)
				continue;
			if (rows[r].has_key)
				builder_put_int(&b.columns[0], rows[r].key);
			else
				builder_put_null(&b.columns[0]);
			if (rows[r].has_value)
				builder_put_int(&b.columns[1], rows[r].value);
			else
				builder_put_null(&b.columns[1]);
			builder_put_int(&b.columns[2], rows[r].time);
		}
		if (batch_builder_rows(&b)) {
			frame_put_batch(&frames, 1, batch_builder_view(&b));
			frames_give(run->stages[i], &frames, false);
		}
		batch_builder_clear(&b);
		buf_clear(&frames);
	}
}

static void run_watermark(struct run *run, int64_t watermark)
{
	for (size_t i = 0; i < run->len; i++) {
		struct buf frames = BUF_INIT;

		frame_put_watermark(&frames, watermark);
		frames_give(run->stages[i], &frames, false);
		buf_clear(&frames);
	}
}

static void run_tick(struct run *run, int64_t now_us)
{
	for (size_t i = 0; i < run->len; i++) {
		struct buf frames = BUF_INIT;

		frame_put_tick(&frames, now_us);
		frames_give(run->stages[i], &frames, false);
		buf_clear(&frames);
	}
}

static void run_init(struct run *run, const struct window_options *o)
{
	*run = (struct run){.o = *o, .len = 1};
	schema_init(&run->in);
	schema_add(&run->in, "k", 1, TYPE_OF(TYPE_INT));
	schema_add(&run->in, "v", 1, TYPE_OF(TYPE_INT));
	schema_add(&run->in, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
	run->in.time_column = 2;
	stage_start(run, 0);
	schema_give(run, 0);
}

static void run_end(struct run *run)
{
	run_watermark(run, WATERMARK_FINAL);
	for (size_t i = 0; i < run->len; i++)
		stage_stop(run, i);
	schema_clear(&run->in);
	buf_clear(&run->outs[0]);
	buf_clear(&run->outs[1]);
	buf_clear(&run->lates[0]);
	buf_clear(&run->lates[1]);
}

/* ---- one random case ---- */

static struct window_options options_draw(enum window_shape shape, enum window_emit emit)
{
	struct window_options o = {.shape = shape,
		.keys = "k",
		.late_output = true,
		.list = "count(*) as n, sum(v) as s, max(v) as m, count(distinct v) as d, first(v) "
			"as f"};

	o.emit = emit;
	o.memory_bytes = memory_bytes;
	o.temporary = "/tmp";
	o.emit_us = emit == EMIT_EVERY ? 3 : 0;
	o.step_us = 1 + (int64_t)draw(12);
	o.size_us = o.step_us;
	if (shape == WINDOW_HOP)
		o.size_us = o.step_us * (1 + (int64_t)draw(9)) + (int64_t)draw((uint64_t)o.step_us);
	if (shape == WINDOW_CUMULATE)
		o.size_us = o.step_us * (1 + (int64_t)draw(6));
	if (shape != WINDOW_SESSION && shape != WINDOW_NONE)
		o.offset_us = (int64_t)draw((uint64_t)o.step_us);
	o.lateness_us = draw(2) ? 0 : (int64_t)draw(20);
	return o;
}

static void expect_same(const struct model *m, struct run *run)
{
	struct lines *got = &run->lines;
	const struct lines *expected = &m->out;

	if (got->len)
		qsort(got->items, got->len, LINE, compare_lines);
	if (expected->len)
		qsort(expected->items, expected->len, LINE, compare_lines);
	for (size_t i = 0; i < got->len || i < expected->len; i++) {
		const char *a = i < got->len ? got->items[i] : "nothing";
		const char *b = i < expected->len ? expected->items[i] : "nothing";

		if (strcmp(a, b) != 0)
			fail_msg("seed %llu, shape %d size %lld step %lld offset %lld lateness "
				 "%lld: "
				 "line %zu is '%s', expected '%s'",
				(unsigned long long)seed, (int)m->o.shape, (long long)m->o.size_us,
				(long long)m->o.step_us, (long long)m->o.offset_us,
				(long long)m->o.lateness_us, i, a, b);
	}
	if (run->late != m->late)
		fail_msg("seed %llu, shape %d: %zu late rows, expected %zu",
			(unsigned long long)seed, (int)m->o.shape, run->late, m->late);
}

static void one_case(enum window_shape shape, enum window_emit emit, bool restarts)
{
	struct model *m = mem_zero(sizeof *m);
	struct run run;
	int64_t now = 0, watermark = WATERMARK_NONE, spread = 1 + (int64_t)draw(60);
	size_t n = draw(ROWS_MAX);

	m->o = options_draw(shape, emit);
	m->watermark = WATERMARK_NONE;
	run_init(&run, &m->o);
	while (m->len < n) {
		struct row rows[20];
		size_t some = 1 + draw(20), len = 0;

		for (; len < some && m->len < n; len++) {
			now += (int64_t)draw(3) * (draw(40) ? 1 : 20);
			if (now > 1500)
				now = 1500;
			rows[len] = (struct row){draw(9) != 0, draw(9) != 0, (int64_t)draw(KEYS),
				(int64_t)draw(9) - 4, now - (int64_t)draw((uint64_t)spread), false};
			model_add(m, rows[len]);
		}
		run_rows(&run, rows, len);
		/* Sessions are on disk only as long as there is no watermark. */
		if (draw(3) == 0 && (shape != WINDOW_SESSION || m->o.memory_bytes != TINY)) {
			int64_t next = now - (int64_t)draw(30);

			if (next > watermark) {
				watermark = next;
				run_watermark(&run, watermark);
				model_watermark(m, watermark);
			}
		}
		if (emit == EMIT_EVERY && draw(2))
			run_tick(&run, (int64_t)m->len);
		if (restarts && draw(6) == 0)
			run_restart(&run, 1 + draw(2));
	}
	run_end(&run);
	model_watermark(m, WATERMARK_FINAL);
	expect_same(m, &run);
	mem_free(m->out.items);
	mem_free(run.lines.items);
	mem_free(m);
}

static void cases_of(enum window_shape shape, enum window_emit emit)
{
	uint64_t given = seed;
	const char *rounds = getenv("ROUNDS");

	for (int i = 0; i < (rounds ? atoi(rounds) : 60); i++) {
		seed = state = given + (uint64_t)i * 1000;
		one_case(shape, emit, i % 2);
	}
	seed = given;
}

static void cases(enum window_shape shape)
{
	cases_of(shape, EMIT_CLOSE);
}

static void groups_on_disk_give_the_same_results(void **unused)
{
	static const enum window_shape shapes[] = {
		WINDOW_NONE, WINDOW_TUMBLE, WINDOW_HOP, WINDOW_CUMULATE, WINDOW_SESSION};

	memory_bytes = TINY;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		cases(shapes[i]);
	memory_bytes = 0;
}

/* A session in memory that makes two on disk one, and has a row at the same time as the later one:
 * that one's row was there first. */
static void parts_of_sessions_come_together_in_order(void **unused)
{
	memory_bytes = TINY;
	seed = state = UINT64_C(1795516178);
	one_case(WINDOW_SESSION, EMIT_CLOSE, false);
	memory_bytes = 0;
}

static void changes_add_up_to_the_results_in_every_shape(void **unused)
{
	for (int shape = WINDOW_NONE; shape <= WINDOW_SESSION; shape++) {
		if (shape == WINDOW_GIVEN)
			continue;
		cases_of((enum window_shape)shape, EMIT_CHANGES);
		cases_of((enum window_shape)shape, EMIT_EVERY);
	}
}

static void tumbling_windows_agree_with_the_model(void **unused)
{
	cases(WINDOW_TUMBLE);
}

static void hops_agree_with_the_model(void **unused)
{
	cases(WINDOW_HOP);
}

static void cumulating_windows_agree_with_the_model(void **unused)
{
	cases(WINDOW_CUMULATE);
}

static void sessions_agree_with_the_model(void **unused)
{
	cases(WINDOW_SESSION);
}

static void global_groups_agree_with_the_model(void **unused)
{
	cases(WINDOW_NONE);
}

/* ---- single cases ---- */

static const struct row some_rows[] = {
	{true, true, 1, 5, 3, false}, {true, true, 2, 6, 4, false}, {true, true, 1, 7, 12, false}};

/* HELLO and a schema, and what they are answered with. */
static int schema_take(struct stage *st, const struct schema *s, struct error *e)
{
	struct buf frames = BUF_INIT;
	struct hello h = {.version = FRAME_VERSION, .stage = "ssort", .bounded = true};
	struct channel_reader *r;
	struct frame f;
	int status = 0;

	frame_put_hello(&frames, &h);
	frame_put_schema(&frames, 1, s);
	r = channel_reader_new_memory(frames.data, frames.len, "test");
	while (status == 0 && channel_read(r, false, &f, e) == CHANNEL_FRAME)
		status = stage_take(st, 0, &f, e);
	channel_reader_free(r);
	buf_clear(&frames);
	return status;
}

/* Restores the state of one operator into another of other options: the error, or nothing. */
static void restore_other(
	const struct window_options *before, const struct window_options *after, struct error *e)
{
	struct run old, new;
	struct buf file = BUF_INIT;
	struct channel_writer *w = channel_writer_new_memory(&file);
	struct channel_reader *r;

	run_init(&old, before);
	run_rows(&old, some_rows, 3);
	assert_int_equal(stage_snapshot(old.stages[0], w, e), 0);
	channel_writer_free(w);
	new = (struct run){.o = *after, .len = 1};
	stage_start(&new, 0);
	r = channel_reader_new_memory(file.data, file.len, "state");
	assert_int_equal(stage_restore(new.stages[0], &r, 1, e), 0);
	channel_reader_free(r);
	schema_take(new.stages[0], &old.in, e);
	stage_stop(&new, 0);
	run_end(&old);
	buf_clear(&new.outs[0]);
	buf_clear(&new.lates[0]);
	buf_clear(&file);
	mem_free(old.lines.items);
	mem_free(new.lines.items);
}

static void a_state_that_does_not_fit_is_refused_and_names_what_differs(void **unused)
{
	static const char fits[] =
		"count(*) as n, sum(v) as s, max(v) as m, count(distinct v) as d, "
		"first(v) as f";
	const struct window_options before = {
		.shape = WINDOW_TUMBLE, .size_us = 10, .step_us = 10, .keys = "k", .list = fits};
	struct {
		struct window_options after;
		const char *text; /* NULL: it fits */
	} cases[] = {{before, NULL}, {before, NULL}, {before, "of other windows"},
		{before, "of other windows"}, {before, "lacks the key 'u'"},
		{before, NULL /* starts empty, with a warning */}, {before, "also has the aggregate"}};

	cases[1].after.lateness_us = 5;
	cases[2].after.size_us = cases[2].after.step_us = 20;
	cases[3].after.shape = WINDOW_SESSION;
	cases[4].after.keys = "k as u";
	cases[5].after.list = "count(*) as n, sum(v) as s, max(v) as m, count(distinct v) as d, "
			      "first(v) as f, min(v) as lo";
	cases[6].after.list = "count(*) as n, sum(v) as s, max(v) as m, count(distinct v) as d, "
			      "1 as f";
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct error e = ERROR_INIT;

		restore_other(&before, &cases[i].after, &e);
		assert_int_equal(e.code, cases[i].text ? ERROR_STATE : ERROR_NONE);
		if (cases[i].text && !strstr(e.text, cases[i].text))
			fail_msg("case %zu: '%s' lacks '%s'", i, e.text, cases[i].text);
	}
}

static int schema_try(const struct window_options *o, const struct schema *s, struct error *e)
{
	struct run run = {.o = *o, .len = 1};
	int status;

	stage_start(&run, 0);
	status = schema_take(run.stages[0], s, e);
	stage_stop(&run, 0);
	buf_clear(&run.outs[0]);
	buf_clear(&run.lates[0]);
	mem_free(run.lines.items);
	return status;
}

static void a_changelog_is_taken_only_where_rows_can_be_taken_back(void **unused)
{
	struct schema s = SCHEMA_INIT;
	struct window_options o = {.keys = "k", .list = "count(*) as n, sum(v) as s, avg(v) as a"};
	struct error e = ERROR_INIT;

	schema_add(&s, "k", 1, TYPE_OF(TYPE_INT));
	schema_add(&s, "v", 1, TYPE_OF(TYPE_INT));
	schema_add(&s, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
	s.time_column = 2;
	s.changelog = true;
	assert_int_equal(schema_try(&o, &s, &e), 0);
	o.list = "max(v) as m, median(v) as q, last(v) as l, count(distinct v) as d";
	assert_int_equal(schema_try(&o, &s, &e), 0);
	o.list = "approx_count_distinct(v) as m";
	assert_int_equal(schema_try(&o, &s, &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_non_null(strstr(e.text,
		"approx_count_distinct(v) can't take rows back, but ssort sends a changelog"));
	o = (struct window_options){
		.shape = WINDOW_TUMBLE, .size_us = 1, .step_us = 1, .keys = "k"};
	assert_int_equal(schema_try(&o, &s, &e), -1);
	assert_non_null(strstr(e.text, "but ssort sends a changelog"));
	schema_clear(&s);
}

static void what_a_changelog_takes_back_is_gone(void **unused)
{
	static const uint8_t ops[] = {ROW_INSERT, ROW_INSERT, ROW_UPDATE_BEFORE, ROW_UPDATE_AFTER,
		ROW_DELETE, ROW_INSERT};
	static const int64_t keys[] = {1, 2, 1, 1, 2, 3}, values[] = {5, 6, 5, 9, 6, 7};
	struct window_options o = {.keys = "k",
		.late_output = true,
		.list = "count(*) as n, sum(v) as s, "
			"sum(v) as m, count(v) as d, sum(v) - 1 as f"};
	struct run run = {.o = o, .len = 1};
	struct batch_builder b;
	struct buf frames = BUF_INIT;

	schema_add(&run.in, "k", 1, TYPE_OF(TYPE_INT));
	schema_add(&run.in, "v", 1, TYPE_OF(TYPE_INT));
	run.in.time_column = -1;
	run.in.changelog = true;
	stage_start(&run, 0);
	schema_give(&run, 0);
	run_restart(&run, 1);
	batch_builder_init(&b, &run.in);
	for (size_t i = 0; i < sizeof ops; i++) {
		builder_put_int(&b.columns[0], keys[i]);
		builder_put_int(&b.columns[1], values[i]);
	}
	buf_put(&b.ops, ops, sizeof ops);
	frame_put_batch(&frames, 1, batch_builder_view(&b));
	frames_give(run.stages[0], &frames, false);
	batch_builder_clear(&b);
	run_restart(&run, 1);
	run_end(&run);
	assert_int_equal(run.lines.len, 2);
	assert_string_equal(run.lines.items[0], "1 1 9 9 1 8 ");
	assert_string_equal(run.lines.items[1], "3 1 7 7 1 6 ");
	buf_clear(&frames);
	mem_free(run.lines.items);
}

static void a_later_schema_may_move_columns_but_not_change_types(void **unused)
{
	struct window_options o = {.shape = WINDOW_TUMBLE,
		.size_us = 10,
		.step_us = 10,
		.keys = "k",
		.late_output = true,
		.list = "count(*) as n, sum(v) as s, max(v) as m, "
			"count(distinct v) as d, first(v) as f"};
	struct run run;
	struct schema moved = SCHEMA_INIT;
	struct buf frames = BUF_INIT;
	struct batch_builder b;

	run_init(&run, &o);
	run_rows(&run, some_rows, 3);
	schema_add(&moved, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
	schema_add(&moved, "v", 1, TYPE_OF(TYPE_INT));
	schema_add(&moved, "more", 4, TYPE_OF(TYPE_STRING));
	schema_add(&moved, "k", 1, TYPE_OF(TYPE_INT));
	moved.time_column = 0;
	frame_put_schema(&frames, 2, &moved);
	frames_give(run.stages[0], &frames, false);
	batch_builder_init(&b, &moved);
	builder_put_int(&b.columns[0], 5);
	builder_put_int(&b.columns[1], 100);
	builder_put_null(&b.columns[2]);
	builder_put_int(&b.columns[3], 2);
	buf_reset(&frames);
	frame_put_batch(&frames, 2, batch_builder_view(&b));
	frames_give(run.stages[0], &frames, false);
	run_end(&run);
	assert_int_equal(run.lines.len, 3);
	assert_string_equal(run.lines.items[1], "01000010 0 2 2 106 100 2 6 ");
	batch_builder_clear(&b);
	schema_clear(&moved);
	buf_clear(&frames);
	mem_free(run.lines.items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_state_that_does_not_fit_is_refused_and_names_what_differs),
		cmocka_unit_test(a_changelog_is_taken_only_where_rows_can_be_taken_back),
		cmocka_unit_test(what_a_changelog_takes_back_is_gone),
		cmocka_unit_test(a_later_schema_may_move_columns_but_not_change_types),
		cmocka_unit_test(global_groups_agree_with_the_model),
		cmocka_unit_test(tumbling_windows_agree_with_the_model),
		cmocka_unit_test(cumulating_windows_agree_with_the_model),
		cmocka_unit_test(hops_agree_with_the_model),
		cmocka_unit_test(sessions_agree_with_the_model),
		cmocka_unit_test(groups_on_disk_give_the_same_results),
		cmocka_unit_test(parts_of_sessions_come_together_in_order),
		cmocka_unit_test(changes_add_up_to_the_results_in_every_shape),
	};
	const char *given = getenv("SEED");

	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
