/* Parts of a directory: many at once, in directories of their own, finished before their epoch is; and a
 * job that dies at every step of the file system that it takes, once and twice. */
#include "cmd/common/output.h"
#include "libcore/base/memory.h"
#include "tests/support/files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define JOB8 "01234567"

/* ---- a process that dies ----
 *
 * Before or after one of its calls, of which nothing that follows has any effect: what it would tidy
 * up stays. */

static long steps_left = -1; /* -1: it lives */
static bool dead;

static bool is_over(void)
{
	dead |= steps_left == 0;
	if (steps_left > 0)
		steps_left--;
	return dead;
}

#define STEP(call) \
	do { \
		int status_; \
		if (is_over()) { \
			errno = EIO; \
			return -1; \
		} \
		status_ = (int)(call); \
		if (!is_over()) \
			return status_; \
		errno = EIO; \
		return -1; \
	} while (0)

int rename(const char *from, const char *to)
{
	STEP(syscall(SYS_rename, from, to));
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	STEP(syscall(SYS_renameat2, from_fd, from, to_fd, to, flags));
}

int mkdir(const char *path, mode_t mode)
{
	STEP(syscall(SYS_mkdir, path, mode));
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	STEP(syscall(SYS_linkat, from_fd, from, to_fd, to, flags));
}

int unlink(const char *path)
{
	STEP(syscall(SYS_unlink, path));
}

int unlinkat(int fd, const char *path, int flags)
{
	STEP(syscall(SYS_unlinkat, fd, path, flags));
}

/* Processes die here, not machines: nothing has to reach a disk. */
int fsync(int fd)
{
	STEP(0);
}

/* ---- outputs ---- */

static struct output_options supervised(void)
{
	return (struct output_options){.path = "dir/", .extension = "csv", .subtasks = 1,
		.supervised = true, .job = JOB, .attempt = 1};
}

static struct output *open_output(const struct output_options *o)
{
	struct error e = ERROR_INIT;
	struct output *out;

	if (output_open(o, &out, &e) < 0)
		fail_msg("%s", e.text);
	return out;
}

static int try_put(struct output *o, struct output_part *p, const char *text, struct error *e)
{
	struct buf b = BUF_INIT;
	int status;

	buf_put_text(&b, text);
	status = output_part_put(o, p, &b, e);
	buf_clear(&b);
	return status;
}

/* A part of one text, finished. */
static void part(struct output *o, const char *sub, const char *text, bool show)
{
	struct output_part *p = output_part_new(o, sub);
	struct error e = ERROR_INIT;

	if ((*text && try_put(o, p, text, &e) < 0) || output_part_finish(o, p, show, &e) < 0)
		fail_msg("%s", e.text);
}

static void prepare(struct output *o, uint64_t epoch, bool last, struct buf *handle)
{
	struct error e = ERROR_INIT;

	buf_reset(handle);
	if (output_prepare(o, epoch, last, handle, &e) < 0)
		fail_msg("%s", e.text);
}

static void commit(struct output *o, const struct buf *handle)
{
	struct error e = ERROR_INIT;

	if (output_commit(o, handle->data, handle->len, &e) < 0)
		fail_msg("%s", e.text);
}

static void assert_files(const char *want)
{
	char *got = files_below("dir");

	assert_string_equal(got, want);
	mem_free(got);
}

/* ---- what is refused ---- */

static void two_sinks_of_a_job_are_refused_also_by_their_finished_parts(void **state)
{
	struct output_options o = supervised();
	struct output *a = open_output(&o), *b = open_output(&o);
	struct output_part *p = output_part_new(b, "a=1/");
	struct error e = ERROR_INIT;

	part(a, "a=2/", "x", false);
	assert_int_equal(try_put(b, p, "y", &e), 0);
	assert_int_equal(output_part_finish(b, p, false, &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_non_null(strstr(e.text, "two sinks of this job write to it"));
	output_close(a);
	output_close(b);
}

static void a_place_that_is_a_file_is_told(void **state)
{
	struct output_options o = supervised();
	struct output *out = open_output(&o);
	struct buf handle = BUF_INIT;
	struct error e = ERROR_INIT;

	file_make("dir/a=1", "in the way");
	part(out, "a=1/", "x", false);
	prepare(out, 1, false, &handle);
	assert_int_equal(output_commit(out, handle.data, handle.len, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	if (!strstr(e.text, "dir/a=1/part-" JOB8 "-0-1.csv: Not a directory"))
		fail_msg("%s", e.text);
	unlink("dir/a=1");
	commit(out, &handle); /* again, when it is out of the way */
	output_close(out);
	assert_holds("dir/a=1/part-" JOB8 "-0-1.csv", "x");
	buf_clear(&handle);
}

/* ---- names ---- */

static void directories_appear_with_the_first_part_that_is_committed(void **state)
{
	struct output_options o = supervised();
	struct output *out = open_output(&o);
	struct buf handle = BUF_INIT;

	part(out, "day=1/hour=2/", "a", false);
	part(out, "day=1/hour=3/", "b", false);
	part(out, "day=1/hour=3/", "", false); /* nothing leaves nothing */
	assert_files(".part-" JOB8 "-1-0.1.csv .part-" JOB8 "-1-0.2.csv ");
	prepare(out, 7, false, &handle);
	assert_files(".part-" JOB8 "-1-0-7-2.csv .part-" JOB8 "-1-0-7.csv ");
	assert_gone("dir/day=1");
	commit(out, &handle);
	commit(out, &handle);
	assert_files("day=1/hour=2/part-" JOB8 "-0-7.csv day=1/hour=3/part-" JOB8 "-0-7-2.csv ");
	part(out, "day=1/hour=2/", "lost", false);
	output_close(out);
	assert_files("day=1/hour=2/part-" JOB8 "-0-7.csv day=1/hour=3/part-" JOB8 "-0-7-2.csv ");
	buf_clear(&handle);
}

static void alone_a_part_shows_at_once_or_with_the_end(void **state)
{
	struct output_options o = {.path = "dir/", .extension = "csv", .subtasks = 1};
	struct output *out = open_output(&o);
	struct buf handle = BUF_INIT;

	part(out, "a=1/", "one", true);
	assert_files("a=1/part-0-1.csv ");
	output_close(out);
	out = open_output(&o);
	part(out, "a=2/", "lost", false);
	output_close(out);
	assert_files("a=1/part-0-1.csv ");
	out = open_output(&o);
	part(out, "a=1/", "another", false);
	prepare(out, 1, true, &handle);
	commit(out, &handle);
	output_close(out);
	assert_holds("dir/a=1/part-0-1.csv", "another");
	buf_clear(&handle);
}

static void what_appends_takes_names_that_nothing_has(void **state)
{
	struct output_options o = {.path = "dir/", .extension = "csv", .subtasks = 1,
		.appends = true};
	struct buf handle = BUF_INIT;

	for (int run = 0; run < 2; run++) {
		struct output *out = open_output(&o);

		part(out, "", run ? "c" : "a", true);
		part(out, "a=1/", run ? "d" : "b", true);
		if (run)
			file_make("dir/a=1/part-0-5.csv", "somebody's");
		part(out, "a=1/", "last", false);
		prepare(out, 1, true, &handle);
		commit(out, &handle);
		output_close(out);
	}
	assert_files("a=1/part-0-2.csv a=1/part-0-3.csv a=1/part-0-4.csv a=1/part-0-5.csv "
		"a=1/part-0-6.csv part-0-1.csv part-0-2.csv ");
	assert_holds("dir/part-0-1.csv", "a");
	assert_holds("dir/part-0-2.csv", "c");
	assert_holds("dir/a=1/part-0-2.csv", "b");
	assert_holds("dir/a=1/part-0-4.csv", "d");
	assert_holds("dir/a=1/part-0-5.csv", "somebody's");
	assert_holds("dir/a=1/part-0-6.csv", "last");
	buf_clear(&handle);
}

static void every_part_is_compressed_by_itself(void **state)
{
	static const char *const extensions[] = {"csv.gz", "csv.zst", "csv.lz4"};

	for (size_t i = 0; i < 3; i++) {
		struct output_options o = supervised();
		struct output_part *a, *b;
		struct error e = ERROR_INIT;
		struct output *out;

		o.extension = extensions[i];
		out = open_output(&o);
		a = output_part_new(out, "a=1/");
		b = output_part_new(out, "a=2/");
		for (int n = 0; n < 3; n++) {
			assert_int_equal(try_put(out, a, "abc", &e), 0);
			assert_int_equal(try_put(out, b, "xyz", &e), 0);
		}
		assert_int_equal(output_part_finish(out, a, false, &e), 0);
		output_part_free(b);
		output_close(out);
	}
	assert_files("");
}

/* ---- a death at every step ---- */

enum { EPOCHS = 3, LINES = 7, SUBS = 4 };

static const char *const subs[SUBS] = {"", "a=1/", "a=1/b=2/", "a=2/"};

/* What outlives a process. */
struct job {
	uint64_t attempt, epoch, manifests;
	struct buf handle; /* of the last manifest */
	uint64_t lines;    /* ... in front of it */
	bool finished;
};

static int put_line(struct output *o, struct output_part **parts, uint64_t line, struct error *e)
{
	struct output_part **p = &parts[line % SUBS];
	char text[32];

	snprintf(text, sizeof text, "%llu\n", (unsigned long long)line);
	if (!*p)
		*p = output_part_new(o, subs[line % SUBS]);
	return try_put(o, *p, text, e);
}

static int finish_part(struct output *o, struct output_part **p, struct error *e)
{
	struct output_part *part = *p;

	*p = NULL;
	return part ? output_part_finish(o, part, false, e) : 0;
}

/* One epoch to its commit. */
static int run_epoch(struct job *j, struct output *o, struct output_part **parts, struct error *e)
{
	bool last = j->manifests + 1 >= EPOCHS;
	struct buf handle = BUF_INIT;
	int status = -1;

	j->epoch++;
	for (uint64_t i = 0; i < LINES && !j->finished; i++) {
		if (put_line(o, parts, j->lines + i, e) < 0 ||
			(i == 4 && finish_part(o, &parts[(j->lines + i) % SUBS], e) < 0))
			goto out;
	}
	for (size_t i = 0; i < SUBS; i++) {
		if (finish_part(o, &parts[i], e) < 0)
			goto out;
	}
	if (output_prepare(o, j->epoch, last, &handle, e) < 0)
		goto out;
	if (!j->finished)
		j->lines += LINES;
	buf_reset(&j->handle);
	buf_put(&j->handle, handle.data, handle.len);
	j->manifests++;
	j->finished = last;
	status = output_commit(o, j->handle.data, j->handle.len, e);
out:
	buf_clear(&handle);
	return status;
}

/* One process; whether it came to the end. */
static bool run_process(struct job *j)
{
	struct output_part *parts[SUBS] = {NULL};
	struct output_options o = supervised();
	struct error e = ERROR_INIT;
	struct output *out = NULL;
	int status;

	o.attempt = ++j->attempt;
	o.finished = j->finished;
	status = output_open(&o, &out, &e);
	if (status == 0)
		status = output_commit(out, j->handle.data, j->handle.len, &e);
	while (status == 0) {
		bool was_last = j->finished;

		status = run_epoch(j, out, parts, &e);
		if (was_last)
			break;
	}
	for (size_t i = 0; i < SUBS; i++)
		output_part_free(parts[i]);
	output_close(out);
	if (status < 0 && !dead)
		fail_msg("%s", e.text);
	return status == 0;
}

static void check_lines(uint64_t lines)
{
	uint8_t *seen = mem_zero(lines);
	char *names = files_below("dir"), *name, *rest = names;

	while ((name = strsep(&rest, " ")) && *name) {
		const char *slash = strrchr(name, '/');
		char *path = mem_printf("dir/%s", name), *text = file_read(path, NULL), *at = text;

		if ((slash ? slash[1] : *name) == '.')
			fail_msg("%s is left over", name);
		while (*at) {
			uint64_t line = strtoull(at, &at, 10);

			assert_true(line < lines && *at == '\n');
			assert_int_equal((slash ? slash + 1 - name : 0), strlen(subs[line % SUBS]));
			seen[line]++;
			at++;
		}
		mem_free(text);
		mem_free(path);
	}
	for (uint64_t i = 0; i < lines; i++)
		assert_int_equal(seen[i], 1);
	mem_free(names);
	mem_free(seen);
}

/* Dies at step first of the first process, and at step second of the next one; -1: never.  Whether
 * it died at all. */
static bool run_job(long first, long second)
{
	struct job j = {.attempt = 0};
	bool died = false;

	steps_left = first;
	while (!run_process(&j)) {
		steps_left = died ? -1 : second;
		died = true;
		dead = false;
	}
	died |= dead;
	steps_left = -1;
	dead = false;
	assert_int_equal(j.lines, EPOCHS * LINES);
	check_lines(j.lines);
	remove_tree("dir");
	buf_clear(&j.handle);
	return died;
}

static void wherever_it_dies_every_line_comes_once(void **state)
{
	long steps = 0;

	while (run_job(steps, -1))
		steps++;
	assert_true(steps > 100);
	print_message("%ld steps\n", steps);
}

static void wherever_it_dies_twice_every_line_comes_once(void **state)
{
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);

	print_message("SEED=%u\n", seed);
	for (int i = 0; i < 1000; i++) {
		long first = rand_r(&seed) % 150, second = rand_r(&seed) % 150;

		run_job(first, second);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROOM_TEST(two_sinks_of_a_job_are_refused_also_by_their_finished_parts),
		ROOM_TEST(a_place_that_is_a_file_is_told),
		ROOM_TEST(directories_appear_with_the_first_part_that_is_committed),
		ROOM_TEST(alone_a_part_shows_at_once_or_with_the_end),
		ROOM_TEST(what_appends_takes_names_that_nothing_has),
		ROOM_TEST(every_part_is_compressed_by_itself),
		ROOM_TEST(wherever_it_dies_every_line_comes_once),
		ROOM_TEST(wherever_it_dies_twice_every_line_comes_once),
	};

	return cmocka_run_group_tests(tests, rooms_open, rooms_close);
}
