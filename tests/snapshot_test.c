/* Snapshots: sections out and in, key ranges, and what is damaged. */
#include "libcore/base/memory.h"
#include "libcore/state/snapshot.h"
#include "libcore/table/builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROWS = 1000 };

static void section_init(struct schema *s, const char *name, bool keyed)
{
	schema_init(s);
	schema_set_name(s, name);
	schema_add(s, keyed ? "key_group" : "n", keyed ? 9 : 1, TYPE_OF(TYPE_INT));
	schema_add(s, "v", 1, TYPE_OF(TYPE_STRING));
}

/* A snapshot with the runtime's section, an unkeyed one, and a keyed one in which row r has the key
 * group r * 128 / rows. */
static void snapshot_make(struct buf *out, uint32_t rows)
{
	static const char *const names[] = {"@stage", "window", "groups"};
	struct channel_writer *c = channel_writer_new_memory(out);
	struct snapshot_writer *w = snapshot_writer_new(c, "swindow");
	struct error e = ERROR_INIT;

	for (int i = 0; i < 3; i++) {
		struct schema s;
		struct batch_builder b;
		uint32_t n = i == 2 ? rows : 1;

		section_init(&s, names[i], i == 2);
		batch_builder_init(&b, &s);
		for (uint32_t r = 0; r < n; r++) {
			builder_put_int(&b.columns[0], (int64_t)r * KEY_GROUPS / n);
			builder_put_text(&b.columns[1], names[i], 3);
		}
		assert_int_equal(snapshot_section(w, &s, &e), 0);
		assert_int_equal(snapshot_put(w, batch_builder_view(&b), &e), 0);
		batch_builder_clear(&b);
		schema_clear(&s);
	}
	assert_int_equal(snapshot_end(w, &e), 0);
	snapshot_writer_free(w);
	channel_writer_free(c);
}

struct counts {
	uint32_t window, groups, intercepted, others;
};

static int take_runtime(void *context, const struct batch *b, struct error *e)
{
	struct counts *c = context;

	assert_int_equal(b->schema->name[0], '@');
	c->intercepted += 1 + b->rows; /* the section once, then its batch */
	return 0;
}

static bool is_keyed(const struct schema *s)
{
	return s->fields_len && strcmp(s->fields[0].name, "key_group") == 0;
}

static int snapshot_count(const struct buf *file, size_t files, const char *type,
	struct key_range range, struct counts *out, struct error *e)
{
	struct channel_reader *readers[3];
	struct snapshot_reader *r;
	const struct batch *b;
	int status;

	*out = (struct counts){0};
	for (size_t i = 0; i < files; i++)
		readers[i] = channel_reader_new_memory(file->data, file->len, "state");
	r = snapshot_reader_new(readers, files, type, range);
	snapshot_reader_intercept(r, take_runtime, out);
	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (strcmp(b->schema->name, "window") == 0)
			out->window += b->rows;
		else if (strcmp(b->schema->name, "groups") == 0)
			out->groups += b->rows;
		else
			out->others++;
		for (uint32_t i = 0; is_keyed(b->schema) && i < b->rows; i++)
			assert_true(key_range_has(range, (uint8_t)column_int(&b->columns[0], i)));
	}
	snapshot_reader_free(r);
	for (size_t i = 0; i < files; i++)
		channel_reader_free(readers[i]);
	return status;
}

static void another_stages_state_is_refused(void **unused)
{
	struct buf file = BUF_INIT;
	struct counts c;
	struct error e = ERROR_INIT;

	snapshot_make(&file, ROWS);
	assert_int_equal(snapshot_count(&file, 1, "sjoin", KEY_RANGE_ALL, &c, &e), -1);
	assert_int_equal(e.code, ERROR_STATE);
	assert_non_null(strstr(e.text, "the state of a swindow doesn't fit a sjoin"));
	buf_clear(&file);
}

static void a_snapshot_cut_anywhere_is_refused(void **unused)
{
	struct buf file = BUF_INIT;

	snapshot_make(&file, 50);
	for (size_t len = 0; len < file.len; len++) {
		struct buf cut = {.data = mem_alloc(len), .len = len};
		struct counts c;
		struct error e = ERROR_INIT;

		if (len)
			memcpy(cut.data, file.data, len);
		assert_int_equal(snapshot_count(&cut, 1, "swindow", KEY_RANGE_ALL, &c, &e), -1);
		assert_int_equal(e.code, ERROR_STATE);
		mem_free(cut.data);
	}
	buf_clear(&file);
}

static void a_damaged_byte_never_crashes(void **unused)
{
	struct buf file = BUF_INIT;

	snapshot_make(&file, 20);
	for (size_t at = 0; at < file.len; at++) {
		struct counts c;
		struct error e = ERROR_INIT;

		file.data[at] ^= 0x41;
		if (snapshot_count(&file, 1, "swindow", (struct key_range){0, 128}, &c, &e) < 0)
			assert_int_equal(e.code, ERROR_STATE);
		file.data[at] ^= 0x41;
	}
	buf_clear(&file);
}

static void subtasks_share_the_keyed_rows_and_each_gets_the_unkeyed_ones(void **unused)
{
	static const uint8_t cuts[] = {0, 37, 38, 128};
	struct buf file = BUF_INIT;
	uint32_t groups = 0;

	snapshot_make(&file, ROWS);
	for (size_t i = 0; i + 1 < sizeof cuts; i++) {
		struct key_range range = {cuts[i], cuts[i + 1]};
		struct counts c;
		struct error e = ERROR_INIT;

		assert_int_equal(snapshot_count(&file, 2, "swindow", range, &c, &e), 1);
		assert_int_equal(c.window, 2);
		assert_int_equal(c.intercepted, 6);
		assert_int_equal(c.others, 0);
		groups += c.groups;
	}
	assert_int_equal(groups, 2 * ROWS);
	buf_clear(&file);
}

static void order_sorts_by_key_group_and_keeps_the_order_within(void **unused)
{
	uint64_t hashes[ROWS];
	uint32_t order[ROWS];

	for (uint32_t i = 0; i < ROWS; i++)
		hashes[i] = i * UINT64_C(0x9e3779b97f4a7c15) >> 20;
	snapshot_order(hashes, ROWS, order);
	for (uint32_t i = 1; i < ROWS; i++) {
		uint8_t before = key_group(hashes[order[i - 1]]), now = key_group(hashes[order[i]]);

		assert_true(before < now || (before == now && order[i - 1] < order[i]));
	}
}

static void a_column_is_asked_for_by_name_and_type(void **unused)
{
	struct schema s;
	struct column columns[2] = {{.valid = NULL}};
	struct batch b = {.schema = &s, .columns = columns};
	const struct column *c;
	struct error e = ERROR_INIT;

	section_init(&s, "groups", true);
	assert_int_equal(snapshot_column(&b, "v", TYPE_OF(TYPE_STRING), &c, &e), 0);
	assert_ptr_equal(c, &columns[1]);
	assert_int_equal(snapshot_column(&b, "w", TYPE_OF(TYPE_STRING), &c, &e), -1);
	assert_int_equal(e.code, ERROR_STATE);
	assert_int_equal(snapshot_column(&b, "v", TYPE_OF(TYPE_INT), &c, &e), -1);
	assert_non_null(strstr(e.text, "is string, not int"));
	schema_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_stages_state_is_refused),
		cmocka_unit_test(a_snapshot_cut_anywhere_is_refused),
		cmocka_unit_test(a_damaged_byte_never_crashes),
		cmocka_unit_test(a_column_is_asked_for_by_name_and_type),
		cmocka_unit_test(order_sorts_by_key_group_and_keeps_the_order_within),
		cmocka_unit_test(subtasks_share_the_keyed_rows_and_each_gets_the_unkeyed_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
