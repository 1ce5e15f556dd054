#include "formats/extension.h"
#include "formats/input.h"
#include "formats/records.h"
#include "libcore/base/memory.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROWS = 30000 };

static char directory[] = "/tmp/input_test.XXXXXX";

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", directory, name);
	return path;
}

static void put_table(struct buf *b, int first, int rows)
{
	buf_put_text(b, "id,text\n");
	for (int i = first; i < first + rows; i++)
		buf_printf(b, "%d,\"text\n%d\"\n", i, i * 7);
}

static void write_file(const char *name, const struct buf *b)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, b->data, b->len), b->len);
	close(fd);
}

/* format: a function of libarchive that sets format and filter. */
static void write_archive(const char *name, void (*set)(struct archive *a), bool entries)
{
	struct archive *a = archive_write_new();
	struct archive_entry *entry = archive_entry_new();

	set(a);
	assert_int_equal(archive_write_open_filename(a, path_of(name)), ARCHIVE_OK);
	for (int i = 0; i < (entries ? 3 : 1); i++) {
		struct buf b = BUF_INIT;
		char entry_name[32];

		put_table(&b, i * ROWS, ROWS);
		snprintf(entry_name, sizeof entry_name, "part-%d.csv", i);
		archive_entry_clear(entry);
		archive_entry_set_pathname(entry, entry_name);
		archive_entry_set_filetype(entry, AE_IFREG);
		archive_entry_set_perm(entry, 0600);
		archive_entry_set_size(entry, (la_int64_t)b.len);
		archive_write_header(a, entry);
		assert_int_equal(archive_write_data(a, b.data, b.len), b.len);
		buf_clear(&b);
	}
	archive_entry_free(entry);
	archive_write_close(a);
	archive_write_free(a);
}

static void set_gzip(struct archive *a)
{
	archive_write_set_format_raw(a);
	archive_write_add_filter_gzip(a);
}

static void set_zstd(struct archive *a)
{
	archive_write_set_format_raw(a);
	archive_write_add_filter_zstd(a);
}

static void set_tar(struct archive *a)
{
	archive_write_set_format_pax_restricted(a);
}

static void set_tar_gzip(struct archive *a)
{
	archive_write_set_format_pax_restricted(a);
	archive_write_add_filter_gzip(a);
}

static void set_zip(struct archive *a)
{
	archive_write_set_format_zip(a);
}

static int make_files(void **state)
{
	struct buf b = BUF_INIT;

	if (!mkdtemp(directory))
		return -1;
	put_table(&b, 0, ROWS);
	write_file("plain.csv", &b);
	buf_reset(&b);
	put_table(&b, ROWS, ROWS);
	write_file("more.csv", &b);
	buf_clear(&b);
	write_archive("one.gz", set_gzip, false);
	write_archive("one.zst", set_zstd, false);
	write_archive("all.tar", set_tar, true);
	write_archive("all.tgz", set_tar_gzip, true);
	write_archive("all.zip", set_zip, true);
	return 0;
}

static int remove_files(void **state)
{
	static const char *const names[] = {"plain.csv", "more.csv", "one.gz", "one.zst", "all.tar",
		"all.tgz", "all.zip", "cut.gz"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlink(path_of(names[i]));
	return rmdir(directory);
}

static void a_missing_file_and_a_directory_are_errors_with_their_names(void **state)
{
	struct error e = ERROR_INIT;
	struct input *in;

	assert_int_equal(input_open(path_of("none"), &in, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, "none: No such file"));
	assert_int_equal(input_open(directory, &in, &e), -1);
	assert_non_null(strstr(e.text, "is a directory"));
}

static void a_cut_file_is_damaged_at_its_offset(void **state)
{
	struct error e = ERROR_INIT;
	struct buf b = BUF_INIT;
	struct input *in;
	uint8_t bytes[4096];
	size_t got;
	int fd = open(path_of("one.gz"), O_RDONLY), status;

	b.len = (size_t)read(fd, buf_reserve(&b, 100000), 20000);
	close(fd);
	write_file("cut.gz", &b);
	buf_clear(&b);
	assert_int_equal(input_open(path_of("cut.gz"), &in, &e), 0);
	while ((status = input_read(in, bytes, sizeof bytes, &got, &e)) == 0)
		;
	assert_int_equal(status, -1);
	assert_int_equal(e.code, ERROR_DATA);
	assert_non_null(strstr(e.text, "cut.gz: damaged at byte "));
	assert_non_null(strstr(e.text, "truncated"));
	input_close(in);
}

static void extensions_are_those_behind_a_compression(void **state)
{
	static const char *const cases[][2] = {{"a.csv", "csv"}, {"a/b.csv.gz", "csv"},
		{"a.d/b", ""}, {"x.NDJSON.tar.zst", "NDJSON"}, {".csv", ""}, {"a.gz", ""},
		{"-", ""}};
	char extension[16];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		format_extension(cases[i][0], extension, sizeof extension);
		assert_string_equal(extension, cases[i][1]);
	}
}

/* Reads all of the inputs; with stop_at > 0 it closes after so many rows or a little more, opens
 * again with what a snapshot would hold, and goes on. */
static void read_all(const char *const *paths, size_t n, uint64_t stop_at, uint64_t expected)
{
	struct records_options o = {.inputs = paths,
		.inputs_len = n,
		.filename_column = "file",
		.reader = {.quoted_newlines = true}};
	struct error e = ERROR_INIT;
	struct buf spec = BUF_INIT;
	struct records *r;
	struct batch_builder b;
	uint64_t rows = 0;
	int status = 0;

	assert_int_equal(records_open(&o, &r, &e), 0);
	batch_builder_init(&b, records_schema(r));
	while (!status) {
		if (stop_at && rows >= stop_at) {
			struct records_range left[4];
			size_t left_len = 0;

			stop_at = 0;
			for (size_t i = 0; i < n; i++)
				left_len += records_left(r, i, &left[left_len]);
			records_put_spec(r, &spec);
			batch_builder_clear(&b);
			records_close(r);
			o.schema_text = buf_cstr(&spec);
			assert_int_equal(records_open(&o, &r, &e), 0);
			assert_int_equal(records_read(r, left, left_len, &e), 0);
			batch_builder_init(&b, records_schema(r));
		}
		status = records_next(r, true, 1000, &b, &e);
		if (status < 0)
			fail_msg("%s", e.text);
		for (uint32_t i = 0; i < b.columns[0].rows; i++, rows++) {
			const struct batch *view = batch_builder_view(&b);

			assert_int_equal(column_int(&view->columns[0], i), rows);
		}
		batch_builder_reset(&b);
	}
	assert_int_equal(rows, expected);
	batch_builder_clear(&b);
	records_close(r);
	buf_clear(&spec);
}

static void a_stream_goes_on_where_it_was_left(void **state)
{
	static const char *const singles[] = {"plain.csv", "one.gz", "one.zst"};
	static const char *const archives[] = {"all.tar", "all.tgz", "all.zip"};
	static const uint64_t stops[] = {
		0, 1, 999, 10000, ROWS, ROWS + 1, 2 * ROWS - 1, 2 * ROWS, 3 * ROWS - 500};

	for (size_t s = 0; s < sizeof stops / sizeof *stops; s++) {
		for (size_t i = 0; i < 3; i++) {
			const char *path[] = {path_of(singles[i]), path_of("more.csv")};

			read_all(path, 1, stops[s], ROWS);
			read_all(path, 2, stops[s], 2 * ROWS);
			path[0] = path_of(archives[i]);
			read_all(path, 1, stops[s], 3 * ROWS);
		}
	}
}

static void a_position_behind_the_end_is_refused(void **state)
{
	const char *path[] = {path_of("plain.csv")};
	struct records_options o = {.inputs = path, .inputs_len = 1};
	struct records_range range = {
		.is_begun = true, .start = 1 << 30, .end = RECORDS_TO_END, .line = 1};
	struct error e = ERROR_INIT;
	struct records *r;

	assert_int_equal(records_open(&o, &r, &e), 0);
	assert_int_equal(records_read(r, &range, 1, &e), -1);
	assert_int_equal(e.code, ERROR_STATE);
	assert_non_null(strstr(e.text, "is shorter than when it was left"));
	records_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_missing_file_and_a_directory_are_errors_with_their_names),
		cmocka_unit_test(a_cut_file_is_damaged_at_its_offset),
		cmocka_unit_test(extensions_are_those_behind_a_compression),
		cmocka_unit_test(a_stream_goes_on_where_it_was_left),
		cmocka_unit_test(a_position_behind_the_end_is_refused),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
