/* Live inputs: event time of several partitions against a naive model, files that are written,
 * rotated and cut at random while the source is stopped and restored, merged inputs. */
#include "cmd/ssource/follow.h"
#include "cmd/ssource/source.h"
#include "libcore/base/memory.h"
#include "libcore/frame/frame.h"
#include "libcore/stage/stage.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/live_test.XXXXXX";
static unsigned long seed_of_run;

/* ---- event time ---- */

static void the_least_of_the_partitions_that_are_not_silent_counts(void **state)
{
	struct timeline t = {.delay_us = 100, .idle_us = 1000};
	struct partition *a = timeline_add(&t, 0), *b = timeline_add(&t, 0);
	bool idle;

	assert_int_equal(timeline_watermark(&t, 10, &idle), WATERMARK_NONE);
	assert_false(idle);
	a->greatest_us = 50000;
	assert_int_equal(timeline_watermark(&t, 20, &idle), WATERMARK_NONE); /* b may be behind */
	b->greatest_us = 20000;
	assert_int_equal(timeline_watermark(&t, 30, &idle), 20000 - 101);
	a->active_us = 900;
	assert_int_equal(timeline_until_idle(&t, 900), 100);
	assert_int_equal(timeline_watermark(&t, 1000, &idle), 50000 - 101); /* b is silent */
	assert_false(idle);
	b->active_us = 1500;
	assert_int_equal(timeline_watermark(&t, 1600, &idle), 20000 - 101); /* and speaks again */
	a->over = true;
	b->over = true;
	assert_int_equal(timeline_watermark(&t, 1600, &idle), WATERMARK_NONE);
	timeline_clear(&t);
}

static void when_all_are_silent_time_goes_on_from_the_farthest(void **state)
{
	struct timeline t = {.delay_us = 0, .idle_us = 1000};
	struct partition *a = timeline_add(&t, 0), *b = timeline_add(&t, 0);
	bool idle;

	a->greatest_us = 5000000;
	a->active_us = 100;
	b->greatest_us = 1000000;
	b->active_us = 4000;
	assert_int_equal(timeline_watermark(&t, 5000, &idle), 5000000 + 4900 - 1);
	assert_true(idle);
	assert_int_equal(timeline_watermark(&t, 6000, &idle), 5000000 + 5900 - 1);
	a->greatest_us = INT64_MAX; /* no overflow */
	timeline_watermark(&t, 6000, &idle);
	timeline_remove(&t, a);
	assert_int_equal(timeline_watermark(&t, 6000, &idle), 1000000 + 2000 - 1);
	timeline_clear(&t);
}

/* ---- names ---- */

static void write_text(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void generations_are_told_from_neighbours(void **state)
{
	static const struct {
		const char *name;
		bool is_generation;
		int number;
	} cases[] = {{"n.log", false, -1}, {"n.log.1", true, 1}, {"n.log.12.gz", true, 12},
		{"n.log-20261123", true, -1}, {"n.log-20261123-1402.zst", true, -1},
		{"n.log.bak", false, -1}, {"n.log-errors", false, -1}, {"n.log.1x", false, -1},
		{"n-1.log", false, -1}};
	enum { N = sizeof cases / sizeof *cases };
	struct siblings s;

	for (size_t i = 0; i < N; i++)
		write_text(cases[i].name, "x\n");
	write_text("n.lo", "x\n");
	write_text("nn.log.1", "x\n");
	siblings_list(&s, "n.log");
	assert_int_equal(s.len, N);
	for (size_t i = 0; i < s.len; i++) {
		size_t k = 0;

		while (k < N && strcmp(cases[k].name, s.items[i].path) != 0)
			k++;
		assert_true(k < N);
		assert_int_equal(s.items[i].is_generation, cases[k].is_generation);
		assert_int_equal(s.items[i].number, cases[k].number);
	}
	siblings_clear(&s);
	for (size_t i = 0; i < N; i++)
		unlink(cases[i].name);
	unlink("n.lo");
	unlink("nn.log.1");
}

/* ---- a source ---- */

enum { SUBTASKS_MAX = 3 };

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

static void open_bench(struct bench *x, const struct source_options *o, uint32_t subtask,
	uint32_t subtasks)
{
	struct stage_output_plan output = {.writers = &x->writer, .writers_len = 1};
	struct stage_plan plan = {.name = "ssource",
		.subtask = subtask,
		.subtasks = subtasks,
		.outputs = &output,
		.hooks = {.context = x, .checkpoint = keep_state}};
	struct operator* op = NULL;
	struct error e = ERROR_INIT;

	*x = (struct bench){.st = NULL};
	x->writer = channel_writer_new_memory(&x->out);
	assert_int_equal(source_new_live(o, &op, &e), 0);
	x->st = stage_new(&plan, op);
}

static struct buf take(struct buf *b)
{
	struct buf taken = *b;

	*b = (struct buf)BUF_INIT;
	return taken;
}

static void close_bench(struct bench *x)
{
	stage_free(x->st);
	channel_writer_free(x->writer);
	buf_clear(&x->out);
	buf_clear(&x->state);
}

/* Appends the ids of the rows, one a line. */
static void put_ids(const struct buf *stream, struct buf *text)
{
	struct channel_reader *r = channel_reader_new_memory(stream->data, stream->len, "out");
	struct schema_set schemas = {.len = 0};
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	const struct schema *s = NULL;
	struct frame f;
	struct batch b;

	while (channel_read(r, true, &f, &e) == CHANNEL_FRAME) {
		if (f.kind == FRAME_SCHEMA)
			assert_int_equal(schema_set_declare(&schemas, &f, &s, &e), 0);
		if (f.kind != FRAME_BATCH)
			continue;
		assert_int_equal(frame_read_batch(&f, s, true, &arena, &b, &e), 0);
		for (uint32_t i = 0; i < b.rows; i++)
			buf_printf(text, "%lld\n", (long long)column_int(&b.columns[0], i));
	}
	assert_string_equal(e.text, "");
	schema_set_clear(&schemas);
	arena_clear(&arena);
	channel_reader_free(r);
}

/* Until it waits for something other than its own pace; true: it has ended. */
static bool run_until_rest(struct bench *x)
{
	struct error e = ERROR_INIT;

	for (;;) {
		enum produce_status status = stage_produce(x->st, &e);
		const struct operator* op = stage_operator(x->st);

		if (status == PRODUCE_ERROR)
			fail_msg("seed %lu: %s", seed_of_run, e.text);
		if (status == PRODUCE_END)
			return true;
		if (status == PRODUCE_WAIT && op->wait_fd >= 0)
			return false;
	}
}

static void checkpoint(struct bench *x)
{
	struct barrier barrier = {.checkpoint = 1};
	struct error e = ERROR_INIT;

	buf_reset(&x->state);
	if (stage_checkpoint(x->st, &barrier, &e) < 0 || stage_idle(x->st, &e) < 0)
		fail_msg("%s", e.text);
}

static void restore(struct bench *x, const struct buf *states, size_t n)
{
	struct channel_reader *files[SUBTASKS_MAX] = {NULL};
	struct error e = ERROR_INIT;

	for (size_t i = 0; i < n; i++)
		files[i] = channel_reader_new_memory(states[i].data, states[i].len, "state");
	if (stage_restore(x->st, files, n, &e) < 0)
		fail_msg("seed %lu: %s", seed_of_run, e.text);
	for (size_t i = 0; i < n; i++)
		channel_reader_free(files[i]);
}

/* ---- a log that is written and rotated ---- */

enum { GENERATIONS = 40, LIVES = 60 };

struct writer {
	int id;
	unsigned rotations;
	bool holds_part; /* half a line stands at the end */
	char part[32];
};

static void append(const char *text)
{
	int fd = open("app.log", O_WRONLY | O_APPEND | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void write_lines(struct writer *w)
{
	int n = rand() % 5;
	char line[64];

	if (w->holds_part)
		append(w->part);
	w->holds_part = false;
	for (int i = 0; i < n; i++) {
		snprintf(line, sizeof line, "{\"id\":%d,\"pad\":\"%*s\"}\n", w->id++, rand() % 30, "");
		append(line);
	}
	if (rand() % 3)
		return;
	snprintf(line, sizeof line, "{\"id\":%d", w->id++);
	append(line);
	snprintf(w->part, sizeof w->part, "}\n");
	w->holds_part = true;
}

/* app.log.1 becomes app.log.2 and so on. */
static void rotate(struct writer *w)
{
	char from[32], to[32];

	if (w->holds_part)
		append(w->part);
	w->holds_part = false;
	if (access("app.log", F_OK) < 0)
		return;
	for (unsigned i = w->rotations; i > 0; i--) {
		snprintf(from, sizeof from, "app.log.%u", i);
		snprintf(to, sizeof to, "app.log.%u", i + 1);
		rename(from, to);
	}
	assert_int_equal(rename("app.log", "app.log.1"), 0);
	w->rotations++;
	if (rand() % 2)
		append("");
}

static void remove_logs(void)
{
	char name[32];

	for (int i = 1; i <= GENERATIONS; i++) {
		snprintf(name, sizeof name, "app.log.%d", i);
		unlink(name);
	}
	unlink("app.log");
}

static const char *const log_inputs[] = {"app.log"};

static struct source_options follow_options(bool polls)
{
	return (struct source_options){.records = {.inputs = log_inputs,
					       .inputs_len = 1,
					       .format = "ndjson",
					       .schema_text = "id int"},
		.limit = -1,
		.bad = "stop",
		.polls = polls,
		.follows = true};
}

/* Each once, and in order. */
static void compare_ids(struct buf *got, int n)
{
	const char *at = buf_cstr(got);
	char *end;

	for (int i = 0; i < n; i++, at = end) {
		long id = strtol(at, &end, 10);

		if (end == at)
			fail_msg("seed %lu: %d lines instead of %d", seed_of_run, i, n);
		if (id != i)
			fail_msg("seed %lu: line %d is %ld: %.400s", seed_of_run, i, id, at);
	}
	if (*at && strcmp(at, "\n") != 0)
		fail_msg("seed %lu: more than %d lines:%s", seed_of_run, n, at);
}

/* One life of a log: whatever happens in whatever order, every line comes once, in order. */
static void live_through(unsigned long seed, bool polls)
{
	struct source_options o = follow_options(polls);
	struct writer w = {.id = 0};
	struct buf got = BUF_INIT, kept = BUF_INIT;
	struct bench x;

	seed_of_run = seed;
	srand((unsigned)seed);
	open_bench(&x, &o, 0, 1);
	append("{\"id\":0}\n"); /* it is seen before it is rotated for the first time */
	w.id = 1;
	run_until_rest(&x);
	checkpoint(&x);
	put_ids(&x.out, &got);
	kept = take(&x.state);
	close_bench(&x);
	open_bench(&x, &o, 0, 1);
	restore(&x, &kept, 1);
	for (int step = 0; step < 60; step++) {
		switch (rand() % 6) {
		case 0:
		case 1:
		case 2: write_lines(&w); break;
		case 3: w.rotations < GENERATIONS - 1 ? rotate(&w) : (void)0; break;
		case 4: run_until_rest(&x); break;
		case 5: /* killed: what came since the checkpoint never was */
			if (rand() % 2) {
				checkpoint(&x);
				put_ids(&x.out, &got);
				buf_clear(&kept);
				kept = take(&x.state);
			}
			close_bench(&x);
			while (rand() % 2) {
				write_lines(&w);
				if (rand() % 2 && w.rotations < GENERATIONS - 1)
					rotate(&w);
			}
			open_bench(&x, &o, 0, 1);
			restore(&x, &kept, 1);
			break;
		}
	}
	if (w.holds_part)
		append("}");
	run_until_rest(&x);
	assert_true(stage_drain(x.st));
	assert_true(run_until_rest(&x));
	put_ids(&x.out, &got);
	compare_ids(&got, w.id);
	close_bench(&x);
	remove_logs();
	buf_clear(&got);
	buf_clear(&kept);
}

static void every_line_of_a_rotated_log_comes_once_and_in_order(void **state)
{
	unsigned long seed = getenv("SEED") ? strtoul(getenv("SEED"), NULL, 10) : (unsigned long)time(NULL);

	print_message("seed %lu\n", seed);
	for (unsigned long i = 0; i < LIVES; i++)
		live_through(seed + i, i % 4 == 0);
}

/* Another process writes and rotates, as fast as it can; the number of lines is told at the end. */
static pid_t start_writer(unsigned long seed, int *told)
{
	struct writer w = {.id = 1};
	int ends[2];
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child) {
		close(ends[1]);
		*told = ends[0];
		return child;
	}
	srand((unsigned)~seed);
	while (w.rotations < GENERATIONS - 1) {
		write_lines(&w);
		if (rand() % 3 == 0)
			rotate(&w);
		if (rand() % 4 == 0)
			usleep((useconds_t)(rand() % 1000));
	}
	if (w.holds_part)
		append(w.part);
	_exit(write(ends[1], &w.id, sizeof w.id) == sizeof w.id ? 0 : 1);
}

static void restart(struct bench *x, const struct source_options *o, struct buf *got)
{
	struct buf kept;

	checkpoint(x);
	put_ids(&x->out, got);
	kept = take(&x->state);
	close_bench(x);
	open_bench(x, o, 0, 1);
	restore(x, &kept, 1);
	buf_clear(&kept);
}

/* Files of a directory are read in no order among them. */
static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return x < y ? -1 : x > y;
}

static void sort_ids(struct buf *text)
{
	int *ids = NULL, n = 0;
	size_t cap = 0;
	char *end;

	buf_cstr(text);
	for (char *at = (char *)text->data; at && *at; at = end + 1) {
		MEM_GROW(ids, cap, (size_t)n + 1);
		ids[n++] = (int)strtol(at, &end, 10);
	}
	if (n)
		qsort(ids, (size_t)n, sizeof *ids, by_number);
	buf_reset(text);
	for (int i = 0; i < n; i++)
		buf_printf(text, "%d\n", ids[i]);
	mem_free(ids);
}

static void live_beside_writer(unsigned long seed, const char *input)
{
	struct source_options o = follow_options(false);
	struct pollfd told = {.events = POLLIN};
	struct buf got = BUF_INIT;
	struct bench x;
	int lines;
	pid_t child;

	seed_of_run = seed;
	srand((unsigned)seed);
	o.records.inputs = &input;
	append("{\"id\":0}\n");
	open_bench(&x, &o, 0, 1);
	run_until_rest(&x);
	child = start_writer(seed, &told.fd);
	while (poll(&told, 1, rand() % 2) == 0) {
		run_until_rest(&x);
		if (rand() % 4 == 0)
			restart(&x, &o, &got);
	}
	assert_int_equal(read(told.fd, &lines, sizeof lines), sizeof lines);
	close(told.fd);
	assert_int_equal(waitpid(child, NULL, 0), child);
	run_until_rest(&x);
	assert_true(stage_drain(x.st));
	assert_true(run_until_rest(&x));
	put_ids(&x.out, &got);
	if (strcmp(input, ".") == 0)
		sort_ids(&got);
	compare_ids(&got, lines);
	close_bench(&x);
	remove_logs();
	buf_clear(&got);
}

static void a_log_may_be_rotated_while_it_is_looked_for(void **state)
{
	unsigned long seed = getenv("SEED") ? strtoul(getenv("SEED"), NULL, 10) : (unsigned long)time(NULL);

	print_message("seed %lu\n", seed);
	for (unsigned long i = 0; i < LIVES; i++)
		live_beside_writer(seed + i, i % 2 ? "." : "app.log");
}

/* ---- cut to nothing ---- */

static void lines(int from, int n)
{
	char line[64];

	for (int i = from; i < from + n; i++) {
		snprintf(line, sizeof line, "{\"id\":%d}\n", i);
		append(line);
	}
}

static void copy_log(const char *to)
{
	char command[64];

	snprintf(command, sizeof command, "cp app.log %s", to);
	assert_int_equal(system(command), 0);
}

static void a_log_that_was_copied_and_cut_goes_on_in_the_copy(void **state)
{
	struct source_options o = follow_options(false);
	struct buf got = BUF_INIT;
	struct bench x, y;

	open_bench(&x, &o, 0, 1);
	lines(0, 20);
	run_until_rest(&x);
	lines(20, 20); /* not read yet */
	copy_log("app.log.1");
	assert_int_equal(truncate("app.log", 0), 0);
	lines(40, 5);
	run_until_rest(&x);
	checkpoint(&x);
	lines(45, 20);
	copy_log("app.log.1");
	assert_int_equal(truncate("app.log", 0), 0);
	lines(65, 40); /* longer than it was: only its first bytes tell */
	put_ids(&x.out, &got);
	open_bench(&y, &o, 0, 1);
	restore(&y, &x.state, 1);
	run_until_rest(&y);
	append("{\"id\":105}"); /* the last line, without its newline */
	assert_true(stage_drain(y.st));
	assert_true(run_until_rest(&y));
	put_ids(&y.out, &got);
	compare_ids(&got, 106);
	close_bench(&x);
	close_bench(&y);
	remove_logs();
	buf_clear(&got);
}

/* All that was written, whatever happened to the log meanwhile. */
static void end_with(struct bench *x, int n)
{
	struct buf got = BUF_INIT;

	run_until_rest(x);
	assert_true(stage_drain(x->st));
	assert_true(run_until_rest(x));
	put_ids(&x->out, &got);
	compare_ids(&got, n);
	close_bench(x);
	buf_clear(&got);
}

static void what_came_and_went_between_two_looks_is_read(void **state)
{
	struct source_options o = follow_options(false);
	struct bench x;
	int late;

	open_bench(&x, &o, 0, 1); /* copied and cut twice */
	lines(0, 10);
	run_until_rest(&x);
	copy_log("app.log.2");
	assert_int_equal(truncate("app.log", 0), 0);
	lines(10, 10);
	copy_log("app.log.1");
	assert_int_equal(truncate("app.log", 0), 0);
	lines(20, 10);
	end_with(&x, 30);
	remove_logs();

	open_bench(&x, &o, 0, 1); /* renamed twice, and still written to under its last name */
	lines(0, 10);
	run_until_rest(&x);
	assert_int_equal(rename("app.log", "app.log.2"), 0);
	lines(10, 10);
	late = open("app.log", O_WRONLY | O_APPEND);
	assert_int_equal(rename("app.log", "app.log.1"), 0);
	append("");
	run_until_rest(&x);
	assert_int_equal(write(late, "{\"id\":20}\n", 10), 10);
	close(late);
	run_until_rest(&x);
	lines(21, 10);
	end_with(&x, 31);
	remove_logs();
}

static void the_days_between_of_a_link_are_read(void **state)
{
	static const char *const days[] = {"app-2026-11-23.log", "app-2026-11-24.log", "app-2026-11-25.log"};
	struct source_options o = follow_options(false);
	struct bench x;

	for (int i = 0; i < 3; i++) {
		if (i)
			unlink("app.log");
		assert_int_equal(symlink(days[i], "app.log"), 0);
		lines(i * 10, 10);
		if (i)
			continue;
		open_bench(&x, &o, 0, 1);
		run_until_rest(&x);
	}
	end_with(&x, 30);
	for (int i = 0; i < 3; i++)
		unlink(days[i]);
	remove_logs();
}

static void bytes_that_are_gone_are_an_error(void **state)
{
	struct source_options o = follow_options(false);
	struct error e = ERROR_INIT;
	struct bench x, y;

	lines(0, 3000);
	o.rate = 50; /* one row at first */
	open_bench(&x, &o, 0, 1);
	assert_int_not_equal(stage_produce(x.st, &e), PRODUCE_ERROR);
	checkpoint(&x);
	unlink("app.log");
	lines(3000, 3);
	open_bench(&y, &o, 0, 1);
	restore(&y, &x.state, 1);
	assert_int_equal(stage_produce(y.st, &e), PRODUCE_ERROR);
	assert_int_equal(e.code, ERROR_STATE);
	assert_non_null(strstr(e.text, "app.log as it was left is gone"));
	close_bench(&x);
	close_bench(&y);
	remove_logs();
}

/* ---- several subtasks ---- */

static void files_of_a_directory_are_shared_by_however_many_subtasks(void **state)
{
	static const char *const inputs[] = {"in", "a.ndjson", "b.ndjson"};
	static const uint32_t counts[] = {2, 3, 1, 2, 2};
	struct source_options o = follow_options(false);
	struct buf got = BUF_INIT, states[SUBTASKS_MAX] = {0};
	size_t states_len = 0;
	int id = 0;

	o.records.inputs = inputs;
	o.records.inputs_len = 3;
	o.merges = true;
	mkdir("in", 0700);
	for (size_t round = 0; round < 5; round++) {
		struct bench x[SUBTASKS_MAX];
		char name[32], text[64], renamed[72];

		for (int i = 0; i < 12; i++) { /* some grow, some appear, some are renamed */
			snprintf(name, sizeof name, i == 10 ? "a.ndjson" : i == 11 ? "b.ndjson" :
				i % 2 ? "in/f%d" : "in/f%d.%zu", i, round);
			FILE *f = fopen(name, "a");
			fprintf(f, "{\"id\":%d}\n", id++);
			fclose(f);
			snprintf(text, sizeof text, "in/f%d.%zu", i, round);
			snprintf(renamed, sizeof renamed, "%sz", text);
			if (i % 4 == 0)
				assert_int_equal(rename(text, renamed), 0);
		}
		for (uint32_t k = 0; k < counts[round]; k++) {
			open_bench(&x[k], &o, k, counts[round]);
			if (states_len)
				restore(&x[k], states, states_len);
			run_until_rest(&x[k]);
		}
		for (size_t i = 0; i < states_len; i++)
			buf_clear(&states[i]);
		states_len = counts[round];
		for (uint32_t k = 0; k < states_len; k++) {
			checkpoint(&x[k]);
			put_ids(&x[k].out, &got);
			states[k] = take(&x[k].state);
			close_bench(&x[k]);
		}
	}
	sort_ids(&got);
	compare_ids(&got, id);
	for (size_t i = 0; i < states_len; i++)
		buf_clear(&states[i]);
	buf_clear(&got);
	assert_int_equal(system("rm -r in a.ndjson b.ndjson"), 0);
}

/* ---- merged ---- */

static void merged_files_have_the_same_rows_and_watermarks_after_a_restart(void **state)
{
	static const char *const inputs[] = {"m0.csv", "m1.csv", "m2.csv"};
	struct source_options o = {.records = {.inputs = inputs, .inputs_len = 3,
					       .schema_text = "id int, at timestamp(ms)"},
		.time_column = "at",
		.has_delay = true,
		.merges = true,
		.limit = -1,
		.bad = "stop"};
	struct buf whole = BUF_INIT, rest = BUF_INIT;
	struct bench x, y;

	for (int i = 0; i < 3; i++) {
		FILE *f = fopen(inputs[i], "w");

		fprintf(f, "id,at\n");
		for (int k = 0; k < 10000 * (i + 1); k++)
			fprintf(f, "%d,%d\n", k * 3 + i, k * (30 / (i + 1)));
		fclose(f);
	}
	open_bench(&x, &o, 0, 1);
	while (!run_until_rest(&x))
		;
	put_ids(&x.out, &whole);
	for (unsigned cut = 1; cut < 8; cut++) {
		struct error e = ERROR_INIT;
		struct bench first;

		buf_reset(&rest);
		open_bench(&first, &o, 0, 1);
		for (unsigned i = 0; i < cut; i++)
			assert_int_not_equal(stage_produce(first.st, &e), PRODUCE_ERROR);
		checkpoint(&first);
		put_ids(&first.out, &rest);
		open_bench(&y, &o, 0, 1);
		restore(&y, &first.state, 1);
		while (!run_until_rest(&y))
			;
		put_ids(&y.out, &rest);
		assert_int_equal(rest.len, whole.len);
		assert_memory_equal(rest.data, whole.data, whole.len);
		close_bench(&first);
		close_bench(&y);
	}
	close_bench(&x);
	buf_clear(&whole);
	buf_clear(&rest);
	for (int i = 0; i < 3; i++)
		unlink(inputs[i]);
}

static int enter(void **state)
{
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int leave(void **state)
{
	return chdir("/") == 0 ? rmdir(directory) : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_of_the_partitions_that_are_not_silent_counts),
		cmocka_unit_test(when_all_are_silent_time_goes_on_from_the_farthest),
		cmocka_unit_test(generations_are_told_from_neighbours),
		cmocka_unit_test(a_log_that_was_copied_and_cut_goes_on_in_the_copy),
		cmocka_unit_test(what_came_and_went_between_two_looks_is_read),
		cmocka_unit_test(the_days_between_of_a_link_are_read),
		cmocka_unit_test(bytes_that_are_gone_are_an_error),
		cmocka_unit_test(every_line_of_a_rotated_log_comes_once_and_in_order),
		cmocka_unit_test(a_log_may_be_rotated_while_it_is_looked_for),
		cmocka_unit_test(files_of_a_directory_are_shared_by_however_many_subtasks),
		cmocka_unit_test(merged_files_have_the_same_rows_and_watermarks_after_a_restart),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
