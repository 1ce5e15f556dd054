/* Epochs of outputs: hidden files and handles, other jobs, earlier attempts, and a random walk over
 * crashes against a model.  A process's death is output_close: nothing it does is of use to the
 * next. */
#include "cmd/common/output.h"
#include "libcore/base/memory.h"
#include "tests/support/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define JOB "0123456789abcdef0123456789abcdef"
#define JOB8 "01234567"
#define OTHER "fedcba98765432100123456789abcdef"
#define OTHER8 "fedcba98"

/* ---- faults ---- */

static int fsync_failure; /* an errno for every fsync; 0: none */

/* Processes die here, not machines: nothing has to reach a disk. */
int fsync(int fd)
{
	errno = fsync_failure;
	return fsync_failure ? -1 : 0;
}

/* ---- outputs ---- */

static struct output_options first(const char *path)
{
	return (struct output_options){.path = path,
		.extension = "csv",
		.subtasks = 1,
		.supervised = true,
		.job = JOB,
		.attempt = 1,
		.spool = "spool"};
}

static struct output *open_with(struct output_options o)
{
	struct error e = ERROR_INIT;
	struct output *out;

	if (output_open(&o, &out, &e) < 0)
		fail_msg("%s", e.text);
	return out;
}

static struct output *open_output(const char *path)
{
	return open_with(first(path));
}

static void refused(struct output_options o, enum error_code code, const char *text)
{
	struct error e = ERROR_INIT;
	struct output *out;

	assert_int_equal(output_open(&o, &out, &e), -1);
	if (e.code != code || !strstr(e.text, text))
		fail_msg("status %d: %s", e.code, e.text);
}

static int try_put(struct output *o, const char *text, struct error *e)
{
	struct buf b = BUF_INIT;
	int status;

	buf_put_text(&b, text);
	status = output_put(o, &b, e);
	buf_clear(&b);
	return status;
}

static void put(struct output *o, const char *text)
{
	struct error e = ERROR_INIT;

	if (try_put(o, text, &e) < 0 || output_flush(o, &e) < 0)
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

/* ---- what is refused ---- */

static void a_part_that_lost_bytes_is_refused(void **state)
{
	struct output *o = open_output("c.csv");
	struct output_options again = first("c.csv");
	struct buf handle = BUF_INIT;

	put(o, "abc");
	prepare(o, 1, false, &handle);
	output_close(o);
	again.offset = 3;
	assert_int_equal(truncate(".c.csv." JOB8 ".part", 2), 0);
	refused(again, ERROR_STATE,
		"c.csv: the rows before the checkpoint were in .c.csv." JOB8
		".part, which is shorter than it was\nto begin a new file: --drop-state");
	assert_int_equal(access(".c.csv." JOB8 ".part", F_OK), 0); /* what is left of it stays */
	unlink(".c.csv." JOB8 ".part");
	refused(again, ERROR_STATE, "which is gone");
	assert_gone(".c.csv." JOB8 ".part");
	buf_clear(&handle);
}

static void a_damaged_handle_is_refused(void **state)
{
	static const char *const bad[] = {"a", "a\0", "a\0b"};
	static const size_t lens[] = {1, 2, 3};
	struct output *o = open_output("out/");

	for (size_t i = 0; i < 3; i++) {
		struct error e = ERROR_INIT;

		assert_int_equal(output_commit(o, (const uint8_t *)bad[i], lens[i], &e), -1);
		assert_int_equal(e.code, ERROR_STATE);
	}
	output_close(o);
}

static void a_file_that_another_job_writes_is_refused(void **state)
{
	struct output *o = open_output("out.csv");
	struct output_options other = first("out.csv");

	other.job = OTHER;
	refused(other, ERROR_USAGE, "out.csv: another job is writing it (.out.csv." JOB8 ".part)");
	assert_gone(".out.csv." OTHER8 ".part");
	other.path = "out.csv.csv"; /* a name that holds the other */
	output_close(open_with(other));
	output_close(o);
	other.path = "out.csv";
	o = open_with(other); /* a leftover that nobody holds */
	put(o, "abc");
	output_close(o);
	assert_int_equal(access(".out.csv." JOB8 ".part", F_OK), 0);
}

/* A snapshot is written by a child, which closes everything. */
static void a_child_that_closed_its_descriptors_holds_no_lock(void **state)
{
	struct output *o = open_output("out.csv");
	struct output_options other = first("out.csv");
	int ends[2];
	pid_t child;
	char byte;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		for (int fd = 3; fd < 100; fd++) {
			if (fd != ends[1])
				close(fd);
		}
		if (write(ends[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	other.job = OTHER;
	refused(other, ERROR_USAGE, "another job is writing it");
	output_close(o);
	output_close(open_with(other));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(ends[0]);
	close(ends[1]);
}

static void two_sinks_of_a_job_in_one_directory_are_refused(void **state)
{
	struct output *a = open_output("out/"), *b = open_output("out");
	struct buf handle = BUF_INIT;
	struct error e = ERROR_INIT;

	put(a, "abc");
	put(b, "xyz");
	prepare(a, 1, false, &handle);
	assert_int_equal(output_prepare(b, 1, false, &handle, &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_non_null(strstr(e.text, "two sinks of this job write to it"));
	output_close(b);
	commit(a, &handle);
	output_close(a);
	assert_holds("out/part-" JOB8 "-0-1.csv", "abc");
	buf_clear(&handle);
}

/* ---- a file ---- */

static void a_restored_file_goes_on_where_the_snapshot_was(void **state)
{
	struct output *o = open_output("a.csv");
	struct output_options again = first("a.csv");
	struct buf handle = BUF_INIT;

	put(o, "abc");
	prepare(o, 1, false, &handle);
	assert_int_equal(handle.len, 0);
	commit(o, &handle);
	again.offset = output_offset(o);
	put(o, "lost");
	output_close(o);
	assert_gone("a.csv");
	again.attempt = 2;
	o = open_with(again);
	assert_false(output_is_at_start(o));
	put(o, "xyz");
	prepare(o, 2, true, &handle);
	assert_gone("a.csv");
	commit(o, &handle);
	output_close(o);
	assert_holds("a.csv", "abcxyz");
	assert_gone(".a.csv." JOB8 ".part");
	buf_clear(&handle);
}

static void a_commit_by_a_later_process_changes_nothing(void **state)
{
	struct output *o = open_output("b.csv");
	struct output_options again = first("b.csv");
	struct buf handle = BUF_INIT, later = BUF_INIT;

	put(o, "abc");
	prepare(o, 1, true, &handle);
	commit(o, &handle);
	output_close(o);
	again.offset = 3;
	again.finished = true;
	for (int i = 0; i < 2; i++) {
		o = open_with(again);
		commit(o, &handle);
		prepare(o, 7, true, &later);
		assert_int_equal(later.len, 0);
		assert_int_equal(output_offset(o), 3);
		output_close(o);
		assert_holds("b.csv", "abc");
		assert_gone(".b.csv." JOB8 ".part");
	}
	/* A consumer has taken it. */
	unlink("b.csv");
	o = open_with(again);
	commit(o, &handle);
	output_close(o);
	assert_gone("b.csv");
	buf_clear(&handle);
	buf_clear(&later);
}

static void after_the_last_epoch_handles_hold_only_what_is_not_committed(void **state)
{
	static const char *const paths[] = {"a.csv", "dir/", "-"};

	for (size_t i = 0; i < 3; i++) {
		struct output *o = open_output(paths[i]);
		struct buf handle = BUF_INIT, again = BUF_INIT;

		put(o, "");
		if (i)
			put(o, "abc\n");
		prepare(o, 1, true, &handle); /* a checkpoint that is given up */
		assert_true(handle.len > 0);
		prepare(o, 2, true, &again);
		assert_int_equal(again.len, handle.len);
		assert_memory_equal(again.data, handle.data, handle.len);
		stdout_catch();
		commit(o, &again);
		stdout_release();
		for (uint64_t epoch = 3; epoch < 6; epoch++) {
			uint64_t offset = output_offset(o);

			prepare(o, epoch, true, &again);
			assert_int_equal(again.len, 0);
			assert_int_equal(output_offset(o), offset);
		}
		output_close(o);
		buf_clear(&handle);
		buf_clear(&again);
	}
	assert_holds("a.csv", "");
	assert_holds("dir/part-" JOB8 "-0-1.csv", "abc\n");
	assert_holds("stdout", "abc\n");
}

static void a_savepoint_started_as_another_job_takes_the_rows_along(void **state)
{
	struct output *o = open_output("s.csv");
	struct output_options other = first("s.csv");
	struct buf handle = BUF_INIT;

	put(o, "abc");
	prepare(o, 1, false, &handle);
	put(o, "of the first job alone");
	other.job = OTHER;
	other.from_job = JOB8;
	other.offset = 3;
	refused(other, ERROR_USAGE, "another job is writing it");
	output_close(o);
	for (int attempt = 1; attempt < 3; attempt++) { /* the second starts there, too */
		other.attempt = (uint64_t)attempt;
		o = open_with(other);
		put(o, attempt == 1 ? "a longer text that is lost" : "xyz");
		if (attempt == 1)
			output_close(o);
	}
	prepare(o, 2, true, &handle);
	commit(o, &handle);
	output_close(o);
	assert_holds("s.csv", "abcxyz");
	assert_holds(".s.csv." JOB8 ".part", "abcof the first job alone");
	other.offset = 26;
	refused(other, ERROR_STATE,
		"s.csv: the rows before the savepoint were in .s.csv." JOB8
		".part, which is shorter than it was");
	unlink(".s.csv." JOB8 ".part");
	refused(other, ERROR_STATE, "which is gone\nto begin a new file: --drop-state");
	assert_gone(".s.csv." OTHER8 ".part");
	buf_clear(&handle);
}

static void a_checkpoint_without_rows_adds_nothing_to_a_compressed_file(void **state)
{
	static const char *const names[] = {"a.csv.gz", "a.csv.zst", "a.csv.lz4"};

	for (size_t i = 0; i < 3; i++) {
		struct output *o = open_output(names[i]);
		struct buf handle = BUF_INIT;
		uint64_t offset;

		prepare(o, 1, false, &handle);
		assert_int_equal(output_offset(o), 0);
		put(o, "abc");
		prepare(o, 2, false, &handle);
		offset = output_offset(o);
		assert_true(offset > 0);
		prepare(o, 3, false, &handle);
		prepare(o, 4, true, &handle);
		assert_int_equal(output_offset(o), offset);
		commit(o, &handle);
		output_close(o);
		buf_clear(&handle);
	}
}

/* ---- a directory ---- */

static void parts_show_when_they_are_committed_and_not_before(void **state)
{
	struct output *o = open_output("dir/");
	struct buf handle = BUF_INIT;

	prepare(o, 1, false, &handle);
	assert_int_equal(handle.len, 0);
	put(o, "abc");
	prepare(o, 2, false, &handle);
	assert_true(output_is_at_start(o));
	put(o, "lost");
	assert_gone("dir/part-" JOB8 "-0-2.csv");
	assert_holds("dir/.part-" JOB8 "-1-0-2.csv", "abc");
	commit(o, &handle);
	commit(o, &handle);
	output_close(o);
	assert_holds("dir/part-" JOB8 "-0-2.csv", "abc");
	assert_int_equal(unlink("dir/part-" JOB8 "-0-2.csv"), 0);
	assert_int_equal(rmdir("dir"), 0); /* nothing else lies there */
	buf_clear(&handle);
}

static void an_epoch_that_was_given_up_is_in_the_next_handle(void **state)
{
	struct output *o = open_output("dir/");
	struct buf second = BUF_INIT, third = BUF_INIT;

	put(o, "one");
	prepare(o, 1, false, &second);
	put(o, "two");
	prepare(o, 2, false, &second);
	put(o, "three");
	prepare(o, 3, false, &third);
	assert_true(third.len > second.len);
	commit(o, &second); /* late: the third stays prepared */
	assert_holds("dir/part-" JOB8 "-0-1.csv", "one");
	assert_holds("dir/part-" JOB8 "-0-2.csv", "two");
	assert_gone("dir/part-" JOB8 "-0-3.csv");
	commit(o, &third); /* holds the first two as well */
	assert_holds("dir/part-" JOB8 "-0-3.csv", "three");
	prepare(o, 4, false, &third);
	assert_int_equal(third.len, 0);
	output_close(o);
	buf_clear(&second);
	buf_clear(&third);
}

static void leftovers_go_and_nothing_else(void **state)
{
	static const struct {
		const char *name;
		int by; /* subtask of 2; -1: stays */
	} files[] = {
		{".part-" JOB8 "-2-0-7.csv", 0},
		{".part-" JOB8 "-1-0-7.csv", 0},
		{".part-" JOB8 "-2-1-7.csv", 1},
		{".part-" JOB8 "-2-2-7.csv", 0}, /* there were more subtasks */
		{".part-" JOB8 "-2-3-7.ndjson", 1},
		{".part-" JOB8 "-2-0.1234-0.part", 0}, /* on the way to its name */
		{".part-" JOB8 "-3-0-7.csv", -1},      /* this attempt's */
		{".part-" JOB8 "-3-1.Ab3d5f.part", -1},
		{".part-" JOB8 "-30-0-7.csv", -1},
		{".part-" OTHER8 "-1-0-7.csv", -1},
		{"part-" JOB8 "-0-7.csv", -1},
		{".part-0-7.csv", -1},
		{".part-" JOB8 "-x-0-7.csv", -1},
		{".part-" JOB8 "-1-0", -1},
	};
	enum { FILES = sizeof files / sizeof *files };
	struct buf handle = BUF_INIT;

	mkdir("dir", 0777);
	for (size_t i = 0; i < FILES; i++) {
		char path[100];

		snprintf(path, sizeof path, "dir/%s", files[i].name);
		file_make(path, "x");
	}
	for (int subtask = 0; subtask < 2; subtask++) {
		struct output_options again = first("dir/");
		struct output *o;

		again.attempt = 3;
		again.subtask = (uint32_t)subtask;
		again.subtasks = 2;
		o = open_with(again);
		commit(o, &handle); /* of nothing: others may follow */
		for (int prepared = 0; prepared < 2; prepared++) {
			for (size_t i = 0; i < FILES; i++) {
				bool stays = files[i].by < 0 || files[i].by + !prepared > subtask;
				char path[100];

				snprintf(path, sizeof path, "dir/%s", files[i].name);
				if ((access(path, F_OK) == 0) != stays)
					fail_msg("%s: %s", path, stays ? "gone" : "there");
			}
			prepare(o, 8, false, &handle);
		}
		output_close(o);
	}
	buf_clear(&handle);
}

/* With less subtasks than before one is given the handles of several, one after the other. */
static void handles_of_others_are_committed_before_leftovers_go(void **state)
{
	struct buf handles[4] = {BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT}, empty = BUF_INIT;
	struct output_options o = first("dir/");
	struct output *out;

	for (uint32_t i = 0; i < 4; i++) {
		o.subtask = i;
		o.subtasks = 4;
		out = open_with(o);
		put(out, "x");
		prepare(out, 1, false, &handles[i]);
		put(out, "lost");
		prepare(out, 2, false, &empty);
		output_close(out);
	}
	o.attempt = 2;
	o.subtasks = 2;
	for (uint32_t i = 0; i < 2; i++) {
		o.subtask = i;
		out = open_with(o);
		commit(out, &handles[i]);
		commit(out, &handles[i + 2]);
		put(out, "y");
		prepare(out, 3, false, &empty);
		commit(out, &empty);
		output_close(out);
	}
	for (int i = 0; i < 6; i++) {
		char path[100];

		snprintf(path, sizeof path, "dir/part-" JOB8 "-%d-%d.csv", i % 4, i < 4 ? 1 : 3);
		assert_holds(path, i < 4 ? "x" : "y");
		unlink(path);
	}
	assert_int_equal(rmdir("dir"), 0);
	for (int i = 0; i < 4; i++)
		buf_clear(&handles[i]);
	buf_clear(&empty);
}

static void two_jobs_share_a_directory(void **state)
{
	struct output *a = open_output("dir/"), *b;
	struct output_options other = first("dir/");
	struct buf of_a = BUF_INIT, of_b = BUF_INIT;

	other.job = OTHER;
	other.attempt = 9;
	b = open_with(other);
	put(a, "abc");
	put(b, "xyz");
	prepare(a, 1, false, &of_a);
	prepare(b, 1, false, &of_b);
	commit(b, &of_b);
	commit(a, &of_a);
	output_close(a);
	output_close(b);
	assert_holds("dir/part-" JOB8 "-0-1.csv", "abc");
	assert_holds("dir/part-" OTHER8 "-0-1.csv", "xyz");
	buf_clear(&of_a);
	buf_clear(&of_b);
}

/* ---- streams ---- */

static void standard_output_gets_an_epoch_at_its_commit(void **state)
{
	struct output *o = open_output("-");
	struct output_options again = first("-");
	struct buf one = BUF_INIT, two = BUF_INIT, three = BUF_INIT;

	file_make("spool/stdout-" OTHER8 "-0-0-1", "not ours");
	put(o, "one\n");
	prepare(o, 1, false, &one);
	put(o, "two\n");
	prepare(o, 2, false, &two);
	put(o, "lost\n");
	stdout_catch();
	commit(o, &one);
	stdout_release();
	assert_holds("stdout", "one\n");
	assert_holds("spool/stdout-" JOB8 "-1-0-2", "two\n");
	assert_int_equal(output_offset(o), 8);
	output_close(o);
	again.attempt = 2;
	again.offset = 8;
	o = open_with(again);
	stdout_catch();
	commit(o, &two);
	commit(o, &two);
	stdout_release();
	assert_holds("stdout", "one\ntwo\n");
	assert_false(output_is_at_start(o)); /* no second header */
	file_make("spool/stdout-" JOB8 "-1-0-3", "left over");
	put(o, "three\n");
	prepare(o, 4, true, &three);
	stdout_catch();
	commit(o, &three);
	stdout_release();
	output_close(o);
	assert_holds("stdout", "one\ntwo\nthree\n");
	assert_gone("spool/stdout-" JOB8 "-1-0-3");
	assert_holds("spool/stdout-" OTHER8 "-0-0-1", "not ours");
	unlink("spool/stdout-" OTHER8 "-0-0-1");
	assert_int_equal(rmdir("spool"), 0);
	buf_clear(&one);
	buf_clear(&two);
	buf_clear(&three);
}

static void pipes_and_devices_are_not_renamed_over(void **state)
{
	struct buf handle = BUF_INIT;
	struct output *o;
	char got[8] = "";
	struct stat st;
	int reader;

	assert_int_equal(mkfifo("pipe", 0666), 0);
	reader = open("pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(output_kind_of("pipe"), OUTPUT_STREAM);
	o = open_output("pipe");
	put(o, "abc");
	prepare(o, 1, false, &handle);
	assert_int_equal(read(reader, got, sizeof got), 0);
	commit(o, &handle);
	assert_int_equal(read(reader, got, sizeof got), 3);
	assert_string_equal(got, "abc");
	put(o, "x");
	prepare(o, 2, true, &handle);
	commit(o, &handle);
	assert_int_equal(read(reader, got, sizeof got), 1);
	output_close(o);
	close(reader);
	assert_true(stat("pipe", &st) == 0 && S_ISFIFO(st.st_mode));
	buf_clear(&handle);
}

/* ---- a failing outside ---- */

static void a_full_device_keeps_the_epoch_for_the_next_start(void **state)
{
	struct output *o = open_output("/dev/full");
	struct buf handle = BUF_INIT;
	struct error e = ERROR_INIT;

	put(o, "abc");
	prepare(o, 1, false, &handle);
	assert_int_equal(output_commit(o, handle.data, handle.len, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_string_equal(e.text, "/dev/full: can't write: No space left on device");
	output_close(o);
	assert_holds("spool/stdout-" JOB8 "-1-0-1", "abc");
	buf_clear(&handle);
}

static const struct {
	const char *path, *names; /* the message has this */
} targets[] = {{"a.csv", ".a.csv." JOB8 ".part: "}, {"dir/", "dir/part-" JOB8},
	{"-", "spool/stdout-" JOB8}};

static void assert_nothing_shows(const char *what)
{
	DIR *d = opendir("dir");
	struct dirent *entry;

	assert_gone("a.csv");
	while (d && (entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			fail_msg("%s: dir/%s", what, entry->d_name);
	}
	if (d)
		closedir(d);
}

static void a_sync_that_fails_is_told_and_shows_nothing(void **state)
{
	for (size_t i = 0; i < 3; i++) {
		struct output *o = open_output(targets[i].path);
		struct buf handle = BUF_INIT;
		struct error e = ERROR_INIT;

		put(o, "abc");
		fsync_failure = EIO;
		assert_int_equal(output_prepare(o, 1, true, &handle, &e), -1);
		fsync_failure = 0;
		assert_int_equal(e.code, ERROR_IO);
		if (!strstr(e.text, targets[i].names))
			fail_msg("%s", e.text);
		output_close(o);
		assert_nothing_shows(targets[i].path);
		buf_clear(&handle);
	}
	assert_int_equal(rmdir("spool"), 0);
}

/* The limit on a file's size first takes a part of the bytes, then none: a short write, and a disk
 * that is full. */
static void a_write_that_fails_is_told_and_shows_nothing(void **state)
{
	static char text[300 << 10];

	memset(text, 'x', sizeof text - 1);
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < 3; i++) {
		struct output *o = open_output(targets[i].path);
		struct rlimit unlimited, limit;
		struct error e = ERROR_INIT;
		int status;

		getrlimit(RLIMIT_FSIZE, &unlimited);
		limit = unlimited;
		limit.rlim_cur = 200 << 10;
		setrlimit(RLIMIT_FSIZE, &limit);
		status = try_put(o, text, &e);
		setrlimit(RLIMIT_FSIZE, &unlimited);
		assert_int_equal(status, -1);
		assert_int_equal(e.code, ERROR_IO);
		if (!strstr(e.text, targets[i].names) || !strstr(e.text, "File too large"))
			fail_msg("%s", e.text);
		output_close(o);
		assert_nothing_shows(targets[i].path);
	}
	assert_int_equal(rmdir("spool"), 0);
}

/* ---- a random walk ----
 *
 * A job of some subtasks puts numbered lines.  It prepares, gives up, writes manifests, commits,
 * and dies between any two of these steps, then starts again from its last manifest, sometimes with
 * another number of subtasks.  At the end the lines 0 .. n must be there once each; in their order
 * where there is one subtask. */

enum { SUBTASKS_MAX = 3, EPOCHS = 12, WALKS = 100 };

struct manifest {
	struct buf handles[SUBTASKS_MAX];
	uint32_t subtasks;
	uint64_t offsets[SUBTASKS_MAX], lines;
	bool finished, exists, committed;
};

struct walk {
	const char *path;
	struct output *outputs[SUBTASKS_MAX];
	uint32_t subtasks;
	uint64_t attempt, epoch, lines;
	bool spread;
	struct manifest last;
};

static uint32_t seed;

static bool chance(int in)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 16) % (uint32_t)in == 0;
}

static void walk_die(struct walk *w)
{
	for (uint32_t i = 0; i < w->subtasks; i++) {
		output_close(w->outputs[i]);
		w->outputs[i] = NULL;
	}
}

static void walk_start(struct walk *w)
{
	struct manifest *m = &w->last;

	w->attempt++;
	w->subtasks = w->spread ? 1 + (seed >> 8) % SUBTASKS_MAX : 1;
	w->lines = m->lines;
	for (uint32_t i = 0; i < w->subtasks; i++) {
		struct output_options o = first(w->path);

		o.attempt = w->attempt;
		o.subtask = i;
		o.subtasks = w->subtasks;
		o.finished = m->finished;
		o.offset = m->exists && !w->spread ? m->offsets[0] : 0;
		w->outputs[i] = open_with(o);
		for (uint32_t k = 0; k < m->subtasks; k++) {
			if (k % w->subtasks == i && !m->committed)
				commit(w->outputs[i], &m->handles[k]);
		}
		if (chance(3)) { /* the others start later */
			struct buf none = BUF_INIT;

			prepare(w->outputs[i], ++w->epoch, m->finished, &none);
			buf_clear(&none);
		}
	}
	m->committed = m->exists;
}

static void walk_put(struct walk *w, int n)
{
	char line[32];

	for (int i = 0; i < n; i++) {
		snprintf(line, sizeof line, "%llu\n", (unsigned long long)w->lines++);
		put(w->outputs[(w->lines * 7) % w->subtasks], line);
	}
}

/* 0; 1: it died. */
static int walk_checkpoint(struct walk *w, bool last)
{
	struct manifest next = {
		.subtasks = w->subtasks, .lines = w->lines, .finished = last, .exists = true};
	bool dies = false, gives_up;

	w->epoch++;
	for (uint32_t i = 0; i < w->subtasks && !dies; i++) {
		prepare(w->outputs[i], w->epoch, last, &next.handles[i]);
		next.offsets[i] = output_offset(w->outputs[i]);
		dies = chance(12);
	}
	gives_up = !dies && chance(4);
	if (dies || gives_up) {
		for (uint32_t i = 0; i < SUBTASKS_MAX; i++)
			buf_clear(&next.handles[i]);
		return dies;
	}
	for (uint32_t i = 0; i < SUBTASKS_MAX; i++)
		buf_clear(&w->last.handles[i]);
	w->last = next;
	if (!last && chance(6))
		return 0; /* no word of a commit before the next checkpoint */
	for (uint32_t i = 0; i < w->subtasks; i++) {
		if (chance(8))
			return 1;
		commit(w->outputs[i], &w->last.handles[i]);
		if (chance(8))
			commit(w->outputs[i], &w->last.handles[i]);
	}
	w->last.committed = !chance(4); /* or the supervisor hasn't heard */
	return chance(8);
}

static void count_lines(const char *path, uint8_t *seen, uint64_t n, bool in_order)
{
	char *text = file_read(path, NULL), *at = text;
	uint64_t expected = 0;

	assert_non_null(text);
	while (*at) {
		char *end;
		uint64_t line = strtoull(at, &end, 10);

		assert_true(*end == '\n' && line < n);
		if (in_order)
			assert_int_equal(line, expected++);
		seen[line]++;
		at = end + 1;
	}
	mem_free(text);
}

static void walk_check(const struct walk *w)
{
	uint8_t *seen = mem_zero(w->lines + 1);

	if (w->spread) {
		DIR *d = opendir("dir");
		struct dirent *entry;

		assert_non_null(d);
		while ((entry = readdir(d))) {
			char path[300];

			if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
				continue;
			if (entry->d_name[0] == '.')
				fail_msg("%s is left over", entry->d_name);
			snprintf(path, sizeof path, "dir/%s", entry->d_name);
			count_lines(path, seen, w->lines, false);
			unlink(path);
		}
		closedir(d);
	} else {
		const char *path = strcmp(w->path, "-") ? w->path : "stdout";

		count_lines(path, seen, w->lines, true);
		unlink(path);
	}
	for (uint64_t i = 0; i < w->lines; i++) {
		if (seen[i] != 1)
			fail_msg("line %llu came %d times", (unsigned long long)i, seen[i]);
	}
	mem_free(seen);
}

static void walk(const char *path, bool spread)
{
	struct walk w = {.path = path, .spread = spread};

	stdout_catch();
	walk_start(&w);
	while (!w.last.finished) {
		bool last = w.epoch >= EPOCHS;
		int dies;

		walk_put(&w, (int)(seed >> 8) % 5);
		dies = chance(10);
		/* An end is for ever: its checkpoint is tried until there is one. */
		do
			dies = dies || walk_checkpoint(&w, last);
		while (last && !dies && !w.last.finished);
		if (dies) {
			walk_die(&w);
			walk_start(&w);
		}
	}
	for (int i = 0; i < 2; i++) { /* the end's commit is heard of at last */
		for (uint32_t k = 0; k < w.subtasks; k++) {
			struct buf none = BUF_INIT;

			if (!w.last.committed && k < w.last.subtasks)
				commit(w.outputs[k], &w.last.handles[k]);
			prepare(w.outputs[k], ++w.epoch, true, &none);
			assert_int_equal(none.len, 0);
			buf_clear(&none);
		}
		walk_die(&w);
		walk_start(&w);
	}
	walk_die(&w);
	stdout_release();
	walk_check(&w);
	for (uint32_t i = 0; i < SUBTASKS_MAX; i++)
		buf_clear(&w.last.handles[i]);
}

static void whatever_dies_every_line_comes_once(void **state)
{
	const char *given = getenv("SEED");
	uint32_t start = given ? (uint32_t)strtoul(given, NULL, 10) : (uint32_t)time(NULL);

	print_message("SEED=%u\n", start);
	for (uint32_t i = 0; i < WALKS; i++) {
		seed = start + i;
		walk("a.csv", false);
		seed = start + i;
		walk("dir/", true);
		seed = start + i;
		walk("-", false);
	}
}

static int leave(void **state)
{
	fsync_failure = 0;
	return room_leave(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, room_enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_part_that_lost_bytes_is_refused),
		TEST(a_damaged_handle_is_refused),
		TEST(a_file_that_another_job_writes_is_refused),
		TEST(a_child_that_closed_its_descriptors_holds_no_lock),
		TEST(two_sinks_of_a_job_in_one_directory_are_refused),
		TEST(a_restored_file_goes_on_where_the_snapshot_was),
		TEST(a_commit_by_a_later_process_changes_nothing),
		TEST(after_the_last_epoch_handles_hold_only_what_is_not_committed),
		TEST(a_savepoint_started_as_another_job_takes_the_rows_along),
		TEST(a_checkpoint_without_rows_adds_nothing_to_a_compressed_file),
		TEST(parts_show_when_they_are_committed_and_not_before),
		TEST(an_epoch_that_was_given_up_is_in_the_next_handle),
		TEST(leftovers_go_and_nothing_else),
		TEST(handles_of_others_are_committed_before_leftovers_go),
		TEST(two_jobs_share_a_directory),
		TEST(standard_output_gets_an_epoch_at_its_commit),
		TEST(pipes_and_devices_are_not_renamed_over),
		TEST(a_full_device_keeps_the_epoch_for_the_next_start),
		TEST(a_sync_that_fails_is_told_and_shows_nothing),
		TEST(a_write_that_fails_is_told_and_shows_nothing),
		TEST(whatever_dies_every_line_comes_once),
	};

	return cmocka_run_group_tests(tests, rooms_open, rooms_close);
}
