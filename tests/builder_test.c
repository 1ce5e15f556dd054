/* Builders against a plain list of values, under random operations; slices and gathers of what they
 * made against the same list. */
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/table/builder.h"
#include "tests/support/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MODEL_MAX = 6000, VALUE_MAX = 200 };

/* A column as a list: -1 for null, else the length of the bytes. */
struct model {
	struct {
		int len;
		uint8_t bytes[VALUE_MAX];
	} rows[MODEL_MAX];
	uint32_t len;
};

static void take_value(struct model *m, uint32_t at, const struct column *c, uint32_t row)
{
	size_t width = type_width(c->type);
	struct text_view v = {NULL, 0};

	m->rows[at].len = -1;
	if (row == ROW_NONE || !column_is_valid(c, row))
		return;
	if (width)
		v = (struct text_view){(const char *)c->data + row * width, width};
	else
		v = column_text(c, row);
	assert_true(v.len <= VALUE_MAX);
	m->rows[at].len = (int)v.len;
	if (v.len)
		memcpy(m->rows[at].bytes, v.text, v.len);
}

static void assert_row(const struct model *m, uint32_t at, const struct column *c, uint32_t row)
{
	static struct model one;

	take_value(&one, 0, c, row);
	if (one.rows[0].len != m->rows[at].len ||
		(one.rows[0].len > 0 &&
			memcmp(one.rows[0].bytes, m->rows[at].bytes, (size_t)one.rows[0].len) != 0))
		fail_msg("row %u is not row %u of the model", row, at);
}

static void assert_column(const struct model *m, const struct column_builder *b)
{
	struct column c = builder_column(b);
	uint32_t nulls = 0;

	assert_int_equal(b->rows, m->len);
	for (uint32_t r = 0; r < m->len; r++) {
		assert_row(m, r, &c, r);
		nulls += m->rows[r].len < 0;
	}
	assert_int_equal(b->nulls, nulls);
	assert_int_equal(column_nulls(&c, m->len), nulls);
	assert_int_equal((uintptr_t)c.data & 63, 0);
	if (c.valid && (m->len & 7))
		assert_int_equal(c.valid[m->len / 8] >> (m->len & 7), 0);
}

/* One random operation on both. */
static void step(struct column_builder *b, struct model *m, const struct column *from, uint32_t from_rows)
{
	uint32_t n = random_below(from_rows), first = random_below(from_rows - n), pick[400];
	struct column last;

	switch (random_below(10)) {
	case 0:
	case 1:
	case 2:
		random_value(b);
		last = builder_column(b);
		take_value(m, m->len++, &last, b->rows - 1);
		break;
	case 3:
		n = random_below(20);
		builder_put_nulls(b, n);
		for (uint32_t i = 0; i < n; i++)
			m->rows[m->len++].len = -1;
		break;
	case 4:
		builder_put_rows(b, from, first, n);
		for (uint32_t i = 0; i < n; i++)
			take_value(m, m->len++, from, first + i);
		break;
	case 5:
	case 6:
		for (uint32_t i = 0; i < n; i++)
			pick[i] = random_below(8) ? random_below(from_rows) : first & 1 ? ROW_NONE : 0;
		builder_put_picked(b, from, pick, n);
		for (uint32_t i = 0; i < n; i++)
			take_value(m, m->len++, from, pick[i]);
		break;
	case 7:
		if (b->width) {
			builder_put_values(b, from->data, n);
			for (uint32_t i = 0; i < n; i++) {
				struct column values = {.type = b->type, .data = from->data};

				take_value(m, m->len++, &values, i);
			}
		}
		break;
	case 8:
		m->len = random_below(m->len + 1);
		builder_truncate(b, m->len);
		break;
	case 9:
		builder_reserve(b, random_below(100));
		if (random_below(10) == 0) {
			builder_reset(b);
			m->len = 0;
		} else if (random_below(20) == 0) {
			builder_clear(b);
			m->len = 0;
		}
		break;
	}
}

static void a_builder_holds_what_a_list_would(void **state)
{
	static struct model m;

	random_seed(8);
	for (int round = 0; round < 300; round++) {
		struct type t = random_type();
		struct column_builder b, from;
		struct column c;
		uint32_t rows = 1 + random_below(100);

		builder_init(&b, t);
		builder_init(&from, t);
		m.len = 0;
		if (round & 1) { /* without a null */
			while (from.rows < rows) {
				random_value(&from);
				builder_truncate(&from, from.rows - from.nulls);
			}
		}
		while (from.rows < rows)
			random_value(&from);
		c = builder_column(&from);
		for (int i = 0; i < 40; i++) {
			step(&b, &m, &c, rows);
			assert_column(&m, &b);
		}
		builder_clear(&b);
		builder_clear(&from);
	}
}

static void slices_and_gathers_are_rows_of_the_list(void **state)
{
	random_seed(9);
	for (int round = 0; round < 300; round++) {
		struct arena a = ARENA_INIT;
		struct batch_builder b, again;
		const struct batch *whole;
		struct batch slice, deeper, gathered;
		uint32_t pick[500], n = random_below(500), first, rows;
		struct schema s;

		random_schema(&s, 5);
		batch_builder_init(&b, &s);
		random_rows(&b, 1 + random_below(300));
		whole = batch_builder_view(&b);
		first = random_below(whole->rows);
		rows = random_below(whole->rows - first + 1);
		batch_slice(whole, first, rows, &a, &slice);
		for (uint32_t i = 0; i < rows; i++)
			pick[i] = first + i;
		batch_gather(whole, pick, rows, &a, &gathered);
		assert_null(batches_differ(&slice, &gathered));
		batch_slice(&slice, rows / 3, rows - rows / 3, &a, &deeper);
		batch_gather(whole, pick + rows / 3, rows - rows / 3, &a, &gathered);
		assert_null(batches_differ(&deeper, &gathered));

		for (uint32_t i = 0; i < n; i++)
			pick[i] = random_below(whole->rows);
		batch_gather(whole, pick, n, &a, &gathered);
		batch_builder_init(&again, &s);
		batch_builder_put_picked(&again, whole, pick, n / 2);
		for (uint32_t i = n / 2; i < n; i++)
			batch_builder_put_rows(&again, whole, pick[i], 1);
		assert_int_equal(batch_builder_rows(&again), n);
		assert_null(batches_differ(batch_builder_view(&again), &gathered));
		batch_builder_clear(&again);
		batch_builder_clear(&b);
		schema_clear(&s);
		arena_clear(&a);
	}
}

static void missing_rows_are_gathered_as_null(void **state)
{
	static struct model m;

	random_seed(10);
	for (int round = 0; round < 200; round++) {
		struct arena a = ARENA_INIT;
		struct column_builder b;
		struct column c, out;
		uint32_t pick[100], rows = random_below(50), n = random_below(100);

		builder_init(&b, random_type());
		for (uint32_t i = 0; i < rows; i++)
			random_value(&b);
		c = builder_column(&b);
		for (uint32_t i = 0; i < n; i++) {
			pick[i] = rows && random_below(4) ? random_below(rows) : ROW_NONE;
			take_value(&m, i, &c, pick[i]);
		}
		column_gather(&c, pick, n, &a, &out);
		for (uint32_t i = 0; i < n; i++)
			assert_row(&m, i, &out, i);
		builder_clear(&b);
		arena_clear(&a);
	}
}

static void rows_without_columns_are_counted(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct batch from = {.schema = &s, .rows = 9};
	struct batch_builder b;

	batch_builder_init(&b, &s);
	batch_builder_put_rows(&b, &from, 2, 5);
	batch_builder_put_rows(&b, &from, 0, 4);
	assert_int_equal(batch_builder_view(&b)->rows, 9);
	assert_false(batch_builder_is_full(&b));
	batch_builder_reset(&b);
	assert_int_equal(batch_builder_view(&b)->rows, 0);
	batch_builder_clear(&b);
}

static void a_batch_is_full_by_rows_or_by_bytes(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;
	char text[1024] = {0};

	schema_add(&s, "s", 1, TYPE_OF(TYPE_STRING));
	batch_builder_init(&b, &s);
	builder_put_nulls(&b.columns[0], BATCH_ROWS - 1);
	assert_false(batch_builder_is_full(&b));
	builder_put_null(&b.columns[0]);
	assert_true(batch_builder_is_full(&b));
	batch_builder_reset(&b);
	for (int i = 0; i < BATCH_BYTES / 1024; i++) {
		assert_false(batch_builder_is_full(&b));
		builder_put_text(&b.columns[0], text, sizeof text);
	}
	assert_true(batch_builder_is_full(&b));
	batch_builder_clear(&b);
	schema_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_builder_holds_what_a_list_would),
		cmocka_unit_test(slices_and_gathers_are_rows_of_the_list),
		cmocka_unit_test(missing_rows_are_gathered_as_null),
		cmocka_unit_test(rows_without_columns_are_counted),
		cmocka_unit_test(a_batch_is_full_by_rows_or_by_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
