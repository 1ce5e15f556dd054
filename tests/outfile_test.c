/* Files that appear whole or not at all. */
#include "libcore/base/memory.h"
#include "libcore/base/outfile.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/outfile_test.XXXXXX";

static const char *in_directory(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", directory, name);
	return path;
}

/* The names in the directory, hidden ones too. */
static int count_names(void)
{
	DIR *d = opendir(directory);
	int n = -2; /* . and .. */

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void assert_holds(const char *path, const char *want)
{
	char text[64] = "";
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof text - 1, f), strlen(want));
	assert_string_equal(text, want);
	fclose(f);
}

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void what_cannot_be_written_is_an_error_that_names_it(void **state)
{
	static const char *const paths[] = {"/nonexistent/x", "/dev/null/x", "/tmp", "/proc/x"};

	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		struct outfile f = OUTFILE_INIT;
		struct error e = ERROR_INIT;

		assert_int_equal(outfile_open(&f, paths[i], &e), -1);
		assert_int_equal(e.code, ERROR_IO);
		assert_int_equal(strncmp(e.text, paths[i], strlen(paths[i])), 0);
		outfile_abort(&f);
	}
}

static void an_unwritable_directory_is_refused(void **state)
{
	struct outfile f = OUTFILE_INIT;
	struct error e = ERROR_INIT;

	bool root = geteuid() == 0; /* who may write everywhere */

	chmod(directory, 0500);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	assert_int_equal(outfile_open(&f, in_directory("x"), &e), -1);
	if (root)
		assert_int_equal(seteuid(0), 0);
	assert_non_null(strstr(e.text, "Permission denied"));
	outfile_abort(&f);
	chmod(directory, 0700);
}

static void nothing_shows_before_commit_and_all_after(void **state)
{
	const char *path = in_directory("out.csv");

	for (int durable = 0; durable < 2; durable++) {
		struct outfile f = OUTFILE_INIT;
		struct error e = ERROR_INIT;

		assert_int_equal(outfile_open(&f, path, &e), 0);
		assert_int_equal(outfile_write(&f, "a,b\n", 4, &e), 0);
		assert_int_equal(count_names(), 0);
		if (outfile_commit(&f, durable, &e) < 0)
			fail_msg("%s", e.text);
		assert_int_equal(f.fd, -1);
		assert_int_equal(count_names(), 1);
		assert_holds(path, "a,b\n");
		outfile_abort(&f);
		assert_int_equal(unlink(path), 0);
	}
}

static void an_older_file_stays_until_the_commit(void **state)
{
	const char *path = in_directory("out.csv");
	struct outfile f = OUTFILE_INIT;
	struct error e = ERROR_INIT;

	put_file(path, "old");
	assert_int_equal(outfile_open(&f, path, &e), 0);
	assert_int_equal(outfile_write(&f, "new", 3, &e), 0);
	assert_holds(path, "old");
	outfile_abort(&f);
	assert_holds(path, "old");
	assert_int_equal(outfile_open(&f, path, &e), 0);
	assert_int_equal(outfile_write(&f, "new", 3, &e), 0);
	assert_int_equal(outfile_commit(&f, false, &e), 0);
	assert_holds(path, "new");
	assert_int_equal(count_names(), 1);
	unlink(path);
}

static void nothing_is_left_after_an_abort(void **state)
{
	struct outfile f = OUTFILE_INIT;
	struct error e = ERROR_INIT;

	outfile_abort(&f); /* nothing was opened */
	assert_int_equal(outfile_open(&f, in_directory("x"), &e), 0);
	assert_int_equal(outfile_write(&f, "half", 4, &e), 0);
	outfile_abort(&f);
	assert_int_equal(count_names(), 0);
	outfile_abort(&f);
}

static void a_commit_that_fails_leaves_nothing_after_the_abort(void **state)
{
	const char *path = in_directory("x");
	struct outfile f = OUTFILE_INIT;
	struct error e = ERROR_INIT;

	assert_int_equal(outfile_open(&f, path, &e), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(outfile_commit(&f, false, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	outfile_abort(&f);
	assert_int_equal(count_names(), 1);
	rmdir(path);
}

static void a_prepared_file_keeps_its_name(void **state)
{
	const char *prepared = in_directory(".x.part-1");
	struct outfile f = OUTFILE_INIT;
	struct error e = ERROR_INIT;

	assert_int_equal(outfile_open(&f, in_directory("x"), &e), 0);
	assert_int_equal(outfile_write(&f, "rows", 4, &e), 0);
	if (outfile_prepare(&f, prepared, &e) < 0)
		fail_msg("%s", e.text);
	assert_holds(prepared, "rows");
	outfile_abort(&f);
	assert_holds(prepared, "rows");
	assert_int_equal(count_names(), 1);
	unlink(prepared);
}

static void the_mode_is_what_umask_leaves(void **state)
{
	const char *path = in_directory("x");
	struct outfile f = OUTFILE_INIT;
	struct error e = ERROR_INIT;
	mode_t mask = umask(027);
	struct stat st;

	assert_int_equal(outfile_open(&f, path, &e), 0);
	assert_int_equal(outfile_commit(&f, false, &e), 0);
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	unlink(path);
}

static void devices_and_pipes_are_written_as_they_are(void **state)
{
	const char *path = in_directory("fifo");
	struct outfile f = OUTFILE_INIT;
	struct error e = ERROR_INIT;
	char text[8] = "";
	int fd;

	assert_int_equal(outfile_open(&f, "/dev/null", &e), 0);
	assert_true(f.direct);
	assert_int_equal(outfile_write(&f, "x", 1, &e), 0);
	assert_int_equal(outfile_commit(&f, true, &e), 0);

	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	assert_int_equal(outfile_open(&f, path, &e), 0);
	assert_int_equal(outfile_write(&f, "through", 7, &e), 0);
	assert_int_equal(read(fd, text, sizeof text), 7);
	assert_string_equal(text, "through");
	close(fd);
	assert_int_equal(outfile_write(&f, "x", 1, &e), -1);
	assert_int_equal(e.code, ERROR_CLOSED);
	outfile_abort(&f);
	assert_int_equal(count_names(), 1);
	unlink(path);

	assert_int_equal(outfile_open(&f, "/dev/full", &e), 0);
	assert_int_equal(outfile_write(&f, "x", 1, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, "/dev/full: can't write: No space left"));
	outfile_abort(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_written_is_an_error_that_names_it),
		cmocka_unit_test(an_unwritable_directory_is_refused),
		cmocka_unit_test(nothing_shows_before_commit_and_all_after),
		cmocka_unit_test(an_older_file_stays_until_the_commit),
		cmocka_unit_test(nothing_is_left_after_an_abort),
		cmocka_unit_test(a_commit_that_fails_leaves_nothing_after_the_abort),
		cmocka_unit_test(a_prepared_file_keeps_its_name),
		cmocka_unit_test(the_mode_is_what_umask_leaves),
		cmocka_unit_test(devices_and_pipes_are_written_as_they_are),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(directory))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}
