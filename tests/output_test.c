#include "cmd/common/output.h"
#include "libcore/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct output *open_at(const char *path, uint64_t offset)
{
	struct output_options o = {.path = path, .extension = "csv", .supervised = true,
		.job = "0123456789abcdef0123456789abcdef", .attempt = 1, .offset = offset};
	struct error e = ERROR_INIT;
	struct output *out;

	if (output_open(&o, &out, &e) < 0)
		fail_msg("%s", e.text);
	return out;
}

static struct output *open_done(const char *path, uint64_t offset)
{
	struct output_options o = {.path = path, .supervised = true, .offset = offset,
		.finished = true, .job = "0123456789abcdef0123456789abcdef", .attempt = 2};
	struct error e = ERROR_INIT;
	struct output *out;

	assert_int_equal(output_open(&o, &out, &e), 0);
	return out;
}

static struct output *open_output(const char *path)
{
	return open_at(path, 0);
}

static void put(struct output *o, const char *text)
{
	struct error e = ERROR_INIT;
	struct buf b = BUF_INIT;

	buf_put_text(&b, text);
	if (output_put(o, &b, &e) < 0 || output_flush(o, &e) < 0)
		fail_msg("%s", e.text);
	buf_clear(&b);
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

static void assert_holds(const char *path, const char *want)
{
	FILE *f = fopen(path, "r");
	char got[64] = "";

	assert_non_null(f);
	got[fread(got, 1, sizeof got - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(got, want);
}

static void a_restored_file_goes_on_where_the_snapshot_was(void **state)
{
	struct output *o = open_output("a.csv");
	struct buf handle = BUF_INIT;
	uint64_t offset;

	put(o, "abc");
	prepare(o, 1, false, &handle);
	commit(o, &handle);
	offset = output_offset(o);
	put(o, "lost");
	output_close(o);
	assert_int_equal(access("a.csv", F_OK), -1);
	o = open_at("a.csv", offset);
	put(o, "xyz");
	prepare(o, 2, true, &handle);
	assert_int_equal(access("a.csv", F_OK), -1);
	commit(o, &handle);
	output_close(o);
	assert_holds("a.csv", "abcxyz");
	buf_clear(&handle);
}

static void a_commit_by_a_later_process_changes_nothing(void **state)
{
	struct output *o = open_output("b.csv");
	struct buf handle = BUF_INIT;

	put(o, "abc");
	prepare(o, 1, true, &handle);
	commit(o, &handle);
	output_close(o);
	o = open_done("b.csv", 3);
	commit(o, &handle);
	output_close(o);
	assert_holds("b.csv", "abc");
	buf_clear(&handle);
}

static void a_part_that_lost_bytes_is_refused(void **state)
{
	struct output *o = open_output("c.csv");
	struct error e = ERROR_INIT;
	struct buf handle = BUF_INIT;
	struct output_options options = {.supervised = true, .offset = 3,
		.job = "0123456789abcdef0123456789abcdef"};

	put(o, "abc");
	prepare(o, 1, false, &handle);
	output_close(o);
	assert_int_equal(truncate(".c.csv.01234567.part", 2), 0);
	options.path = "c.csv";
	assert_int_equal(output_open(&options, &o, &e), -1);
	assert_int_equal(e.code, ERROR_STATE);
	error_clear(&e);
	buf_clear(&handle);
}

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
	assert_int_equal(access("dir/part-01234567-0-2.csv", F_OK), -1);
	commit(o, &handle);
	commit(o, &handle);
	output_close(o);
	assert_holds("dir/part-01234567-0-2.csv", "abc");
	assert_int_equal(unlink("dir/part-01234567-0-2.csv"), 0);
	assert_int_equal(rmdir("dir"), 0); /* nothing else lies there */
	buf_clear(&handle);
}

static char directory[] = "/tmp/output_test.XXXXXX";

static int enter_directory(void **state)
{
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int leave_directory(void **state)
{
	static const char *const files[] = {"a.csv", "b.csv", ".c.csv.01234567.part"};

	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		unlink(files[i]);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_part_that_lost_bytes_is_refused),
		cmocka_unit_test(a_restored_file_goes_on_where_the_snapshot_was),
		cmocka_unit_test(a_commit_by_a_later_process_changes_nothing),
		cmocka_unit_test(parts_show_when_they_are_committed_and_not_before),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
