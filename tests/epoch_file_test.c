/* An epoch's rows in a file of their own: what comes back, what is damaged, what is left over. */
#include "cmd/common/epoch_file.h"
#include "libcore/base/memory.h"
#include "tests/support/files.h"
#include "tests/support/tables.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define JOB "0123456789abcdef0123456789abcdef"

static const struct operator_ops no_ops = {.type = "ssink"};

static struct stage *open_stage(
	uint32_t subtask, uint32_t subtasks, uint64_t attempt, struct operator* op)
{
	static const unsigned input;
	struct stage_plan plan = {.name = "out",
		.subtask = subtask,
		.subtasks = subtasks,
		.channel_inputs = &input,
		.channels_len = 1,
		.supervised = true,
		.job = JOB,
		.attempt = attempt};

	*op = (struct operator){.ops = &no_ops, .inputs = 1};
	return stage_new(&plan, op);
}

static struct epoch_files *open_files(struct stage *st)
{
	return epoch_files_new(
		&(struct epoch_files_options){.room = "spool", .word = "there", .stage = st});
}

static void put_rows(struct epoch_files *f, int64_t first, uint32_t n)
{
	struct error e = ERROR_INIT;
	struct batch_builder b;
	struct schema s;

	schema_init(&s);
	schema_add(&s, "n", 1, TYPE_OF(TYPE_INT));
	batch_builder_init(&b, &s);
	for (uint32_t i = 0; i < n; i++)
		builder_put_int(&b.columns[0], first + i);
	assert_int_equal(epoch_files_schema(f, &s, &e), 0);
	assert_int_equal(epoch_files_rows(f, batch_builder_view(&b), &e), 0);
	batch_builder_clear(&b);
	schema_clear(&s);
}

static void prepare(struct epoch_files *f, uint64_t epoch, struct buf *handle)
{
	struct error e = ERROR_INIT;

	buf_reset(handle);
	assert_int_equal(epoch_files_prepare(f, epoch, handle, &e), 0);
}

struct seen {
	int64_t next;
	unsigned schemas;
	bool refuses;
};

static int see_schema(void *context, const struct schema *s, struct error *e)
{
	struct seen *x = context;

	x->schemas++;
	return 0;
}

static int see_rows(void *context, const struct batch *b, struct error *e)
{
	struct seen *x = context;

	for (uint32_t r = 0; r < b->rows; r++)
		assert_int_equal(column_int(&b->columns[0], r), x->next++);
	return x->refuses ? error_set(e, ERROR_USAGE, "no") : 0;
}

static int read_file(const struct epoch_file *x, struct seen *seen, struct error *e)
{
	struct epoch_file_take take = {.schema = see_schema, .rows = see_rows, .context = seen};

	return epoch_file_read(x, &take, e);
}

static void an_epochs_rows_come_back_and_are_gone_when_done(void **state)
{
	struct operator op;
	struct stage *st = open_stage(1, 3, 7, &op);
	struct epoch_files *f = open_files(st);
	struct buf handle = BUF_INIT;
	struct error e = ERROR_INIT;
	struct epoch_file x, y, none;
	struct seen seen = {.next = 10};
	const char *at, *end;

	prepare(f, 1, &handle);
	assert_int_equal(handle.len, 0); /* nothing came */
	put_rows(f, 10, 5);
	put_rows(f, 15, 20000);
	prepare(f, 2, &handle); /* is given up: */
	put_rows(f, 20015, 1);
	prepare(f, 3, &handle);
	at = (const char *)handle.data;
	end = at + handle.len;
	assert_int_equal(epoch_file_next(&at, end, &x, &e), 0);
	assert_string_equal(x.path, "spool/there-out-01234567-7-1-2");
	assert_string_equal(x.stage, "out");
	assert_int_equal(x.subtask, 1);
	assert_int_equal(x.epoch, 2);
	assert_int_equal(x.rows, 20005);
	assert_int_equal(epoch_file_next(&at, end, &y, &e), 0);
	assert_int_equal(y.epoch, 3);
	assert_int_equal(epoch_file_next(&at, end, &none, &e), 1);
	assert_int_equal(read_file(&x, &seen, &e), 0);
	assert_int_equal(read_file(&y, &seen, &e), 0);
	assert_int_equal(seen.next, 20016);
	epoch_files_done(f, &x);
	assert_gone(x.path);
	epoch_files_done(f, &y);
	epoch_files_done(f, &y);
	prepare(f, 4, &handle);
	assert_int_equal(handle.len, 0);
	buf_clear(&handle);
	epoch_files_free(f);
	stage_free(st);
}

static void what_isnt_prepared_leaves_nothing(void **state)
{
	struct operator op;
	struct stage *st = open_stage(0, 1, 1, &op);
	struct epoch_files *f = open_files(st);
	char *below;

	put_rows(f, 0, 100);
	epoch_files_free(f);
	stage_free(st);
	below = files_below("spool");
	assert_string_equal(below, "");
	mem_free(below);
}

/* Former subtask 2's are present subtask 0's where there are 2 now. */
static void leftovers_of_earlier_attempts_go_with_the_first_prepare(void **state)
{
	struct operator op;
	struct stage *st = open_stage(0, 2, 5, &op);
	struct epoch_files *f = open_files(st);
	struct buf handle = BUF_INIT;
	char *below;

	file_make("spool/there-out-01234567-4-0-9", "x");
	file_make("spool/there-out-01234567-3-2-8", "x");
	file_make("spool/there-out-01234567-4-1-9", "another subtask's");
	file_make("spool/there-out-01234567-5-0-10", "this attempt's");
	file_make("spool/there-out-89abcdef-4-0-9", "another job's");
	file_make("spool/there-out2-01234567-4-0-9", "another stage's");
	prepare(f, 11, &handle);
	below = files_below("spool");
	assert_string_equal(below,
		"there-out-01234567-4-1-9 there-out-01234567-5-0-10 there-out-89abcdef-4-0-9 "
		"there-out2-01234567-4-0-9 ");
	mem_free(below);
	buf_clear(&handle);
	epoch_files_free(f);
	stage_free(st);
}

static int ignore_rows(void *context, const struct batch *b, struct error *e)
{
	return 0;
}

static int read_blindly(const struct epoch_file *x, struct error *e)
{
	struct seen seen = {.next = 0};
	struct epoch_file_take take = {.schema = see_schema, .rows = ignore_rows, .context = &seen};

	error_clear(e);
	return epoch_file_read(x, &take, e);
}

static void a_damaged_file_is_told_whatever_byte_it_is(void **state)
{
	struct operator op;
	struct stage *st = open_stage(0, 1, 1, &op);
	struct epoch_files *f = open_files(st);
	struct buf handle = BUF_INIT;
	struct error e = ERROR_INIT;
	struct epoch_file x;
	const char *at;
	struct stat info;
	int fd;

	put_rows(f, 0, 3);
	prepare(f, 1, &handle);
	at = (const char *)handle.data;
	assert_int_equal(epoch_file_next(&at, at + handle.len, &x, &e), 0);
	fd = open(x.path, O_RDWR);
	assert_true(fd >= 0 && fstat(fd, &info) == 0 && info.st_size > 50);
	for (off_t i = 0; i < info.st_size; i++) {
		uint8_t byte, wrong;

		assert_int_equal(pread(fd, &byte, 1, i), 1);
		wrong = byte ^ 1;
		assert_int_equal(pwrite(fd, &wrong, 1, i), 1);
		assert_int_equal(read_blindly(&x, &e), -1);
		assert_int_equal(e.code, ERROR_STATE);
		assert_int_equal(pwrite(fd, &byte, 1, i), 1);
	}
	assert_int_equal(read_blindly(&x, &e), 0);
	for (off_t len = info.st_size; len-- > 0;) {
		assert_int_equal(ftruncate(fd, len), 0);
		assert_int_equal(read_blindly(&x, &e), -1);
		assert_int_equal(e.code, ERROR_STATE);
	}
	close(fd);
	unlink(x.path);
	assert_int_equal(read_blindly(&x, &e), -1);
	assert_int_equal(e.code, ERROR_STATE);
	assert_non_null(
		strstr(e.text, "spool/there-out-01234567-1-0-1: prepared rows can't be read"));
	buf_clear(&handle);
	epoch_files_free(f);
	stage_free(st);
}

static void who_refuses_the_rows_says_why(void **state)
{
	struct operator op;
	struct stage *st = open_stage(0, 1, 1, &op);
	struct epoch_files *f = open_files(st);
	struct buf handle = BUF_INIT;
	struct error e = ERROR_INIT;
	struct seen seen = {.refuses = true};
	struct epoch_file x;
	const char *at;

	put_rows(f, 0, 3);
	prepare(f, 1, &handle);
	at = (const char *)handle.data;
	assert_int_equal(epoch_file_next(&at, at + handle.len, &x, &e), 0);
	assert_int_equal(read_file(&x, &seen, &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_string_equal(e.text, "no");
	buf_clear(&handle);
	epoch_files_free(f);
	stage_free(st);
}

static void a_damaged_handle_is_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} wrong[] = {{"x", 1}, {"path\0", 5},
		{"path\0"
		 "1 2 3 s\0",
			13},
		{"path\0"
		 "1 2 3 x s\0",
			15},
		{"path\0\0", 6}};

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct error e = ERROR_INIT;
		const char *at = wrong[i].bytes;
		struct epoch_file x;

		assert_int_equal(epoch_file_next(&at, at + wrong[i].len, &x, &e), -1);
		assert_int_equal(e.code, ERROR_STATE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROOM_TEST(a_damaged_handle_is_refused),
		ROOM_TEST(a_damaged_file_is_told_whatever_byte_it_is),
		ROOM_TEST(who_refuses_the_rows_says_why),
		ROOM_TEST(what_isnt_prepared_leaves_nothing),
		ROOM_TEST(leftovers_of_earlier_attempts_go_with_the_first_prepare),
		ROOM_TEST(an_epochs_rows_come_back_and_are_gone_when_done),
	};

	return cmocka_run_group_tests(tests, rooms_open, rooms_close);
}
