/* What is spilled comes back: against a batch that was kept, random, from a printed seed. */
#include "libcore/base/memory.h"
#include "libcore/state/spill.h"
#include "tests/support/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 60, PUTS = 20, COLUMNS = 6 };

static void a_missing_directory_is_named(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct spill_run *r = NULL;
	struct error e = ERROR_INIT;

	assert_int_equal(spill_run_new("/nowhere/at/all", &s, &r, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, "/nowhere/at/all"));
	error_clear(&e);
}

/* Appends what a reader gives to *out. */
static void read_all(struct spill_reader *r, struct batch_builder *out)
{
	const struct batch *b;
	struct error e = ERROR_INIT;
	int status;

	while ((status = spill_reader_next(r, &b, &e)) == 0)
		batch_builder_put_rows(out, b, 0, b->rows);
	assert_int_equal(status, 1);
	assert_int_equal(spill_reader_next(r, &b, &e), 1);
	spill_reader_free(r);
}

static void assert_part(const struct spill_run *run, const struct schema *s, uint64_t from, uint64_t to,
	struct batch_builder *expected)
{
	struct batch_builder got;

	batch_builder_init(&got, s);
	read_all(spill_reader_new(run, from, to), &got);
	assert_null(batches_differ(batch_builder_view(&got), batch_builder_view(expected)));
	batch_builder_clear(&got);
}

/* As a snapshot does it. */
static void assert_child_reads(const struct spill_run *run, const struct schema *s,
	struct batch_builder *expected)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct batch_builder got;

		batch_builder_init(&got, s);
		read_all(spill_reader_new(run, 0, SPILL_TO_END), &got);
		_exit(batches_differ(batch_builder_view(&got), batch_builder_view(expected)) != NULL);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

static void random_rows_come_back_from_any_place_while_more_are_put(void **state)
{
	random_seed(20261123);
	for (int round = 0; round < ROUNDS; round++) {
		struct schema s = SCHEMA_INIT;
		struct batch_builder all, since, some;
		struct spill_run *run;
		struct error e = ERROR_INIT;
		uint64_t place = 0;
		uint32_t mark = random_below(PUTS);

		random_schema(&s, COLUMNS);
		batch_builder_init(&all, &s);
		batch_builder_init(&since, &s);
		batch_builder_init(&some, &s);
		assert_int_equal(spill_run_new("/tmp", &s, &run, &e), 0);
		for (uint32_t put = 0; put < PUTS; put++) {
			batch_builder_reset(&some);
			random_rows(&some, random_below(3) ? random_below(100) : 0);
			if (put == mark)
				place = spill_run_place(run);
			if (put >= mark)
				batch_builder_put_rows(&since, batch_builder_view(&some), 0,
					batch_builder_rows(&some));
			batch_builder_put_rows(&all, batch_builder_view(&some), 0,
				batch_builder_rows(&some));
			assert_int_equal(spill_run_put(run, batch_builder_view(&some), &e), 0);
			if (put == PUTS / 2)
				assert_part(run, &s, 0, SPILL_TO_END, &all);
		}
		assert_int_equal(spill_run_rows(run), batch_builder_rows(&all));
		assert_part(run, &s, 0, SPILL_TO_END, &all);
		assert_part(run, &s, place, spill_run_place(run), &since);
		assert_child_reads(run, &s, &all);
		spill_run_free(run);
		batch_builder_clear(&all);
		batch_builder_clear(&since);
		batch_builder_clear(&some);
		schema_clear(&s);
	}
}

static void a_batch_larger_than_the_buffer_comes_back(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;
	struct spill_run *run;
	struct error e = ERROR_INIT;
	char *text = mem_zero(300000);

	memset(text, 'x', 300000);
	schema_add(&s, "a", 1, TYPE_OF(TYPE_STRING));
	batch_builder_init(&b, &s);
	builder_put_text(&b.columns[0], text, 300000);
	assert_int_equal(spill_run_new("/tmp", &s, &run, &e), 0);
	assert_int_equal(spill_run_put(run, batch_builder_view(&b), &e), 0);
	assert_part(run, &s, 0, SPILL_TO_END, &b);
	spill_run_free(run);
	batch_builder_clear(&b);
	schema_clear(&s);
	mem_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_missing_directory_is_named),
		cmocka_unit_test(random_rows_come_back_from_any_place_while_more_are_put),
		cmocka_unit_test(a_batch_larger_than_the_buffer_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
