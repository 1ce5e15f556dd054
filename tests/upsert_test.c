/* Which row is a key's now, against a model: random changelogs over few keys, kept, put into a
 * snapshot and taken up by another number of subtasks in between. */
#include "cmd/common/upsert.h"
#include "libcore/base/memory.h"
#include "tests/support/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEYS = 30, ROWS_MAX = 4000, SUBTASKS_MAX = 3, NONE = -1 };

/* Rows (a, b, v) of which b is the key of ours; a tells them apart. */
struct row {
	int64_t a, b;
	bool there;
};

struct world {
	struct schema schema;
	struct row rows[ROWS_MAX]; /* in the order in which they came */
	uint32_t rows_len;
	int64_t shown[KEYS]; /* a of the row that what came out says is there, NONE */
	struct upsert *subtasks[SUBTASKS_MAX];
	uint32_t subtasks_len;
	struct batch_builder changes[SUBTASKS_MAX];
};

static const int by_b[] = {1}, by_a_and_b[] = {0, 1};

static uint32_t owner(const struct world *w, int64_t b)
{
	struct column c = {.type = TYPE_OF(TYPE_INT), .data = &b};
	const struct column *key = &c;
	uint64_t hash;

	keys_hash(&key, 1, 1, &hash);
	return key_group_subtask(key_group(hash), w->subtasks_len);
}

static void put(struct world *w, const struct row *r, enum row_op op)
{
	struct batch_builder *to = &w->changes[owner(w, r->b)];

	builder_put_int(&to->columns[0], r->a);
	builder_put_int(&to->columns[1], r->b);
	if (r->a % 3)
		builder_put_text(&to->columns[2], "text", (size_t)(r->a % 4));
	else
		builder_put_null(&to->columns[2]);
	buf_put_byte(&to->ops, (uint8_t)op);
}

static void change(struct world *w)
{
	struct row *old = w->rows_len ? &w->rows[random_below(w->rows_len)] : NULL;

	if (old && old->there && random_below(2)) {
		old->there = false;
		put(w, old, random_below(2) ? ROW_DELETE : ROW_UPDATE_BEFORE);
	} else if (w->rows_len < ROWS_MAX) {
		struct row *new = &w->rows[w->rows_len];

		*new = (struct row){w->rows_len++, random_below(KEYS), true};
		put(w, new, random_below(2) ? ROW_INSERT : ROW_UPDATE_AFTER);
	}
}

static void take_changes(struct world *w)
{
	for (uint32_t t = 0; t < w->subtasks_len; t++) {
		struct error e = ERROR_INIT;
		const struct batch *out;

		assert_int_equal(
			upsert_take(w->subtasks[t], batch_builder_view(&w->changes[t]), &out, &e),
			0);
		for (uint32_t r = 0; r < out->rows; r++) {
			int64_t b = column_int(&out->columns[1], r);

			assert_true(out->ops[r] == ROW_UPDATE_AFTER || out->ops[r] == ROW_DELETE);
			w->shown[b] = out->ops[r] == ROW_DELETE ? NONE
								: column_int(&out->columns[0], r);
		}
		batch_builder_reset(&w->changes[t]);
	}
}

static void check(const struct world *w)
{
	int64_t wanted[KEYS];

	for (int b = 0; b < KEYS; b++)
		wanted[b] = NONE;
	for (uint32_t r = 0; r < w->rows_len; r++) {
		if (w->rows[r].there)
			wanted[w->rows[r].b] = w->rows[r].a;
	}
	assert_memory_equal(w->shown, wanted, sizeof wanted);
}

static void start(struct world *w, uint32_t subtasks)
{
	w->subtasks_len = subtasks;
	for (uint32_t t = 0; t < subtasks; t++) {
		w->subtasks[t] = NULL;
		batch_builder_init(&w->changes[t], &w->schema);
	}
}

static void save(struct world *w, struct buf *files)
{
	for (uint32_t t = 0; t < w->subtasks_len; t++) {
		struct channel_writer *c = channel_writer_new_memory(&files[t]);
		struct snapshot_writer *s = snapshot_writer_new(c, "ssink");
		struct error e = ERROR_INIT;

		assert_int_equal(upsert_save(w->subtasks[t], s, &e), 0);
		assert_int_equal(snapshot_end(s, &e), 0);
		snapshot_writer_free(s);
		channel_writer_free(c);
		upsert_free(w->subtasks[t]);
		batch_builder_clear(&w->changes[t]);
	}
}

static void load(struct world *w, const struct buf *files, uint32_t files_len)
{
	for (uint32_t t = 0; t < w->subtasks_len; t++) {
		struct channel_reader *readers[SUBTASKS_MAX];
		struct snapshot_reader *r;
		struct error e = ERROR_INIT;
		const struct batch *b;

		for (uint32_t f = 0; f < files_len; f++)
			readers[f] = channel_reader_new_memory(
				files[f].data, files[f].len, "state");
		r = snapshot_reader_new(
			readers, files_len, "ssink", key_range_of(t, w->subtasks_len));
		while (snapshot_next(r, &b, &e) == 0)
			assert_int_equal(upsert_load(&w->subtasks[t], b, &e), 0);
		assert_int_equal(e.code, ERROR_NONE);
		assert_non_null(w->subtasks[t]);
		assert_true(upsert_has_keys(w->subtasks[t], (const char *const[]){"b"}, 1));
		assert_false(upsert_has_keys(w->subtasks[t], (const char *const[]){"a"}, 1));
		upsert_settle(w->subtasks[t]);
		snapshot_reader_free(r);
		for (uint32_t f = 0; f < files_len; f++)
			channel_reader_free(readers[f]);
	}
}

static void rescale(struct world *w)
{
	struct buf files[SUBTASKS_MAX] = {BUF_INIT, BUF_INIT, BUF_INIT};
	uint32_t before = w->subtasks_len;

	save(w, files);
	start(w, 1 + random_below(SUBTASKS_MAX));
	load(w, files, before);
	for (uint32_t f = 0; f < before; f++)
		buf_clear(&files[f]);
}

static void make_schema(struct schema *s, const int *keys, size_t n)
{
	schema_init(s);
	schema_add(s, "a", 1, TYPE_OF(TYPE_INT));
	schema_add(s, "b", 1, TYPE_OF(TYPE_INT));
	schema_add(s, "v", 1, TYPE_OF(TYPE_STRING));
	schema_set_keys(s, keys, n);
	s->changelog = true;
}

static void rows_are_kept_only_where_the_changelogs_key_is_another(void **state)
{
	static const int a[] = {0};
	struct schema s;

	make_schema(&s, a, 1);
	assert_true(upsert_is_needed(&s, by_b, 1));
	assert_false(upsert_is_needed(&s, by_a_and_b, 2));
	assert_false(upsert_is_needed(&s, a, 1));
	schema_set_keys(&s, by_a_and_b, 2);
	assert_true(upsert_is_needed(&s, by_b, 1));
	schema_set_keys(&s, NULL, 0);
	assert_true(upsert_is_needed(&s, by_a_and_b, 2));
	s.changelog = false;
	assert_false(upsert_is_needed(&s, by_b, 1));
	schema_clear(&s);
}

static void a_row_that_isnt_there_cant_be_taken_back(void **state)
{
	struct world w = {.rows_len = 0};
	struct error e = ERROR_INIT;
	const struct batch *out;

	make_schema(&w.schema, NULL, 0);
	start(&w, 1);
	w.subtasks[0] = upsert_new(&w.schema, by_b, 1);
	/* Alone it was there before rows were kept. */
	put(&w, &(struct row){1, 5, false}, ROW_DELETE);
	assert_int_equal(
		upsert_take(w.subtasks[0], batch_builder_view(&w.changes[0]), &out, &e), 0);
	assert_int_equal(out->rows, 1);
	assert_int_equal(out->ops[0], ROW_DELETE);
	batch_builder_reset(&w.changes[0]);
	put(&w, &(struct row){2, 5, true}, ROW_INSERT);
	put(&w, &(struct row){1, 5, false}, ROW_DELETE);
	assert_int_equal(
		upsert_take(w.subtasks[0], batch_builder_view(&w.changes[0]), &out, &e), -1);
	assert_int_equal(e.code, ERROR_DATA);
	assert_non_null(strstr(e.text, "takes back a row that isn't there: a=1, b=5"));
	upsert_free(w.subtasks[0]);
	batch_builder_clear(&w.changes[0]);
	schema_clear(&w.schema);
}

static void other_columns_than_those_kept_are_refused(void **state)
{
	struct schema s, other;
	struct error e = ERROR_INIT;
	struct upsert *u;

	make_schema(&s, NULL, 0);
	make_schema(&other, NULL, 0);
	u = upsert_new(&s, by_b, 1);
	assert_int_equal(upsert_check_schema(u, &other, &e), 0);
	schema_add(&other, "more", 4, TYPE_OF(TYPE_BOOL));
	assert_int_equal(upsert_check_schema(u, &other, &e), -1);
	assert_int_equal(e.code, ERROR_DATA);
	upsert_free(u);
	schema_clear(&s);
	schema_clear(&other);
}

static void what_came_last_of_what_is_there_is_shown(void **state)
{
	struct world *w = mem_zero(sizeof *w);

	random_seed((uint64_t)(getenv("SEED") ? atoll(getenv("SEED")) : 20261123));
	for (int round = 0; round < 40; round++) {
		uint32_t steps = random_below(400);

		memset(w, 0, sizeof *w);
		make_schema(&w->schema, NULL, 0);
		for (int b = 0; b < KEYS; b++)
			w->shown[b] = NONE;
		start(w, 1 + random_below(SUBTASKS_MAX));
		for (uint32_t t = 0; t < w->subtasks_len; t++)
			w->subtasks[t] = upsert_new(&w->schema, by_b, 1);
		for (uint32_t step = 0; step < steps; step++) {
			uint32_t n = random_below(20);

			for (uint32_t i = 0; i < n; i++)
				change(w);
			take_changes(w);
			check(w);
			if (!random_below(50))
				rescale(w);
		}
		for (uint32_t t = 0; t < w->subtasks_len; t++) {
			upsert_free(w->subtasks[t]);
			batch_builder_clear(&w->changes[t]);
		}
		schema_clear(&w->schema);
	}
	mem_free(w);
}

/* What is gone is let go. */
static void rows_that_come_and_go_take_no_more_and_more_memory(void **state)
{
	struct world w = {.rows_len = 0};
	struct error e = ERROR_INIT;
	const struct batch *out;
	size_t most = 0;

	make_schema(&w.schema, NULL, 0);
	start(&w, 1);
	w.subtasks[0] = upsert_new(&w.schema, by_b, 1);
	for (int64_t n = 0; n < 400; n++) {
		for (int64_t i = 0; i < 1000; i++) {
			put(&w, &(struct row){n * 1000 + i, n * 1000 + i, true}, ROW_INSERT);
			put(&w, &(struct row){n * 1000 + i, n * 1000 + i, true}, ROW_DELETE);
		}
		assert_int_equal(
			upsert_take(w.subtasks[0], batch_builder_view(&w.changes[0]), &out, &e), 0);
		assert_int_equal(out->rows, 2000);
		batch_builder_reset(&w.changes[0]);
		if (n == 100)
			most = upsert_bytes(w.subtasks[0]);
	}
	assert_true(upsert_bytes(w.subtasks[0]) <= most * 2);
	upsert_free(w.subtasks[0]);
	batch_builder_clear(&w.changes[0]);
	schema_clear(&w.schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_kept_only_where_the_changelogs_key_is_another),
		cmocka_unit_test(a_row_that_isnt_there_cant_be_taken_back),
		cmocka_unit_test(other_columns_than_those_kept_are_refused),
		cmocka_unit_test(what_came_last_of_what_is_there_is_shown),
		cmocka_unit_test(rows_that_come_and_go_take_no_more_and_more_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
