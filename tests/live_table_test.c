/* The table of a changelog against a plain list of rows, and how it is drawn. */
#include "cmd/common/live_table.h"
#include "formats/writer.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/table/builder.h"
#include "tests/support/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static const struct live_screen unlimited = {.rows = 0};

/* Columns k int, v string, x any. */
static void make_schema(struct schema *s, bool keyed)
{
	schema_init(s);
	schema_add(s, "k", 1, TYPE_OF(TYPE_INT));
	schema_add(s, "v", 1, TYPE_OF(TYPE_STRING));
	schema_add(s, "x", 1, TYPE_OF(TYPE_ANY));
	s->changelog = true;
	if (keyed)
		schema_set_keys(s, (const int[]){0}, 1);
}

struct row {
	int k, v;
};

static void put_row(struct batch_builder *b, struct row r, int op)
{
	struct buf any = BUF_INIT;
	char text[16];

	builder_put_int(&b->columns[0], r.k);
	snprintf(text, sizeof text, "v%d", r.v);
	if (r.v)
		builder_put_text(&b->columns[1], text, strlen(text));
	else
		builder_put_null(&b->columns[1]);
	msgpack_put_array(&any, 1);
	msgpack_put_int(&any, r.v);
	builder_put_text(&b->columns[2], any.data, any.len);
	buf_clear(&any);
	if (op >= 0)
		buf_put_byte(&b->ops, (uint8_t)op);
}

/* The rows as an ordinary table. */
static void put_model(const struct row *rows, uint32_t n, struct buf *out)
{
	struct writer_options o = {0};
	struct error e = ERROR_INIT;
	struct batch_builder b;
	struct schema s;
	struct writer *w;

	make_schema(&s, false);
	s.changelog = false;
	batch_builder_init(&b, &s);
	for (uint32_t i = 0; i < n; i++)
		put_row(&b, rows[i], -1);
	assert_int_equal(writer_new("table", &o, &w, &e), 0);
	assert_int_equal(writer_schema(w, &s, out, &e), 0);
	assert_int_equal(writer_rows(w, batch_builder_view(&b), out, &e), 0);
	assert_int_equal(writer_end(w, out, &e), 0);
	writer_free(w);
	batch_builder_clear(&b);
	schema_clear(&s);
}

static void assert_shows(struct live_table *t, const struct row *rows, uint32_t n)
{
	struct buf got = BUF_INIT, want = BUF_INIT;

	assert_int_equal(live_table_rows(t), n);
	live_table_finish(t, &unlimited, &got);
	put_model(rows, n, &want);
	assert_string_equal(buf_cstr(&got), buf_cstr(&want));
	buf_clear(&got);
	buf_clear(&want);
}

/* ---- the table ---- */

static void an_update_keeps_its_place(void **state)
{
	for (int keyed = 0; keyed < 2; keyed++) {
		const struct row want[] = {{1, 11}, {3, 30}, {2, 21}};
		struct batch_builder b;
		struct live_table *t;
		struct schema s;

		make_schema(&s, keyed);
		batch_builder_init(&b, &s);
		t = live_table_new(&s);
		put_row(&b, (struct row){1, 10}, ROW_INSERT);
		put_row(&b, (struct row){2, 20}, ROW_INSERT);
		put_row(&b, (struct row){3, 30}, ROW_INSERT);
		put_row(&b, (struct row){1, 10}, ROW_UPDATE_BEFORE);
		put_row(&b, (struct row){1, 11}, ROW_UPDATE_AFTER);
		put_row(&b, (struct row){2, 20}, ROW_DELETE);
		put_row(&b, (struct row){9, 90}, ROW_DELETE); /* of nothing */
		put_row(&b, (struct row){2, 21}, ROW_INSERT);
		live_table_take(t, batch_builder_view(&b));
		assert_shows(t, want, 3);
		live_table_free(t);
		batch_builder_clear(&b);
		schema_clear(&s);
	}
}

static void of_equal_rows_a_retraction_takes_one(void **state)
{
	const struct row want[] = {{1, 0}, {1, 0}};
	struct batch_builder b;
	struct live_table *t;
	struct schema s;

	make_schema(&s, false);
	batch_builder_init(&b, &s);
	t = live_table_new(&s);
	for (int i = 0; i < 3; i++)
		put_row(&b, (struct row){1, 0}, ROW_INSERT);
	put_row(&b, (struct row){1, 0}, ROW_DELETE);
	live_table_take(t, batch_builder_view(&b));
	assert_shows(t, want, 2);
	live_table_free(t);
	batch_builder_clear(&b);
	schema_clear(&s);
}

struct model {
	struct row rows[600];
	uint32_t len;
};

/* One change of the table, and of the model. */
static void change(struct model *m, struct batch_builder *b, int *next_key)
{
	uint32_t at = m->len ? random_below(m->len) : 0;

	if (!m->len || (m->len < 600 && random_below(3) == 0)) {
		m->rows[m->len] = (struct row){(*next_key)++, (int)random_below(5)};
		put_row(b, m->rows[m->len++], ROW_INSERT);
	} else if (random_below(3)) {
		put_row(b, m->rows[at], ROW_UPDATE_BEFORE);
		m->rows[at].v++;
		put_row(b, m->rows[at], ROW_UPDATE_AFTER);
	} else {
		put_row(b, m->rows[at], ROW_DELETE);
		memmove(&m->rows[at], &m->rows[at + 1], (--m->len - at) * sizeof *m->rows);
	}
}

/* Long enough for dead rows and free places to be forgotten many times. */
static void random_changes_make_the_table_of_a_plain_list(void **state)
{
	const char *given = getenv("SEED");

	random_seed(given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL));
	for (int keyed = 0; keyed < 2; keyed++) {
		struct model m = {.len = 0};
		struct batch_builder b;
		struct live_table *t;
		struct schema s;
		int next_key = 0;

		make_schema(&s, keyed);
		batch_builder_init(&b, &s);
		t = live_table_new(&s);
		for (int round = 0; round < 400; round++) {
			uint32_t n = random_below(300);

			batch_builder_reset(&b);
			for (uint32_t i = 0; i < n; i++)
				change(&m, &b, &next_key);
			live_table_take(t, batch_builder_view(&b));
			if (round % 20 == 0)
				assert_shows(t, m.rows, m.len);
		}
		assert_shows(t, m.rows, m.len);
		live_table_free(t);
		batch_builder_clear(&b);
		schema_clear(&s);
	}
}

/* ---- drawing ---- */

static uint32_t count(const struct buf *text, char c)
{
	uint32_t n = 0;

	for (size_t i = 0; i < text->len; i++)
		n += text->data[i] == (uint8_t)c;
	return n;
}

static void a_drawing_fits_the_screen_whatever_its_size(void **state)
{
	struct batch_builder b;
	struct live_table *t;
	struct schema s;

	make_schema(&s, true);
	batch_builder_init(&b, &s);
	t = live_table_new(&s);
	for (int i = 0; i < 20; i++)
		put_row(&b, (struct row){i, 1}, ROW_INSERT);
	live_table_take(t, batch_builder_view(&b));
	for (int rows = 4; rows < 30; rows++) {
		struct live_screen screen = {.rows = rows, .columns = 20};
		struct buf out = BUF_INIT;
		char more[32];

		assert_true(live_table_is_stale(t, &screen));
		live_table_draw(t, &screen, &out);
		assert_false(live_table_is_stale(t, &screen));
		assert_true(count(&out, '\n') < (uint32_t)rows);
		snprintf(more, sizeof more, "%d more\033[K\n", rows < 23 ? 24 - rows : 0);
		assert_int_equal(strstr(buf_cstr(&out), more) != NULL, rows < 23);
		assert_int_equal(strstr(buf_cstr(&out), "\033[H\033[2J") != NULL, rows > 4);
		buf_clear(&out);
	}
	live_table_free(t);
	batch_builder_clear(&b);
	schema_clear(&s);
}

static void the_next_drawing_begins_where_the_last_did(void **state)
{
	static const struct live_screen screen = {.rows = 24, .columns = 80};
	struct buf out = BUF_INIT;
	struct batch_builder b;
	struct live_table *t;
	struct schema s;

	make_schema(&s, true);
	batch_builder_init(&b, &s);
	t = live_table_new(&s);
	put_row(&b, (struct row){1, 1}, ROW_INSERT);
	live_table_take(t, batch_builder_view(&b));
	live_table_draw(t, &screen, &out);
	assert_non_null(strstr(buf_cstr(&out), "1  v1  [1]\033[K\n"));
	assert_null(strstr(buf_cstr(&out), "A\r"));
	for (int i = 0; i < 2; i++) {
		buf_reset(&out);
		live_table_draw(t, &screen, &out);
		assert_memory_equal(out.data, "\033[3A\r\033[?7l", 10);
	}
	buf_reset(&out);
	live_table_finish(t, &screen, &out);
	assert_memory_equal(out.data, "\033[3A\r\033[J", 8);
	assert_null(strstr(buf_cstr(&out), "\033[K"));
	live_table_free(t);
	batch_builder_clear(&b);
	schema_clear(&s);
	buf_clear(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_update_keeps_its_place),
		cmocka_unit_test(of_equal_rows_a_retraction_takes_one),
		cmocka_unit_test(random_changes_make_the_table_of_a_plain_list),
		cmocka_unit_test(a_drawing_fits_the_screen_whatever_its_size),
		cmocka_unit_test(the_next_drawing_begins_where_the_last_did),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
