/* Kept rows against a plain array, waiting rows against a sort: random, from a printed seed. */
#include "libcore/base/memory.h"
#include "libcore/table/keytable.h"
#include "libcore/state/rowstore.h"
#include "libcore/state/timequeue.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { KEYS = 7, MODEL_MAX = 4000 };

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 11) % n);
}

static void seed(uint64_t s)
{
	random_state = s * 2654435761u + 88172645463325252u;
	print_message("seed %llu\n", (unsigned long long)s);
}

/* ---- rowstore and rowlists ---- */

struct model_row {
	int64_t time;
	uint32_t key, text; /* the text is this number */
	bool dead;
};

struct model {
	struct model_row rows[MODEL_MAX];
	uint32_t len;
};

static void add_rows(
	struct rowstore *s, struct rowlists *l, struct model *m, const struct schema *schema)
{
	uint32_t n = 1 + random_below(20), keys[20], first;
	int64_t times[20];
	struct batch_builder b;

	batch_builder_init(&b, schema);
	for (uint32_t i = 0; i < n; i++) {
		struct model_row *row = &m->rows[m->len++];
		char text[16];

		*row = (struct model_row){.time = random_below(100),
			.text = random_below(1000000),
			.key = random_below(10) ? random_below(KEYS) : KEY_NONE};
		times[i] = row->time;
		keys[i] = row->key;
		builder_put_text(
			&b.columns[0], text, (size_t)snprintf(text, sizeof text, "%u", row->text));
	}
	first = rowstore_add(s, batch_builder_view(&b), NULL, n, times, keys);
	assert_int_equal(first, m->len - n);
	for (uint32_t r = first; r < s->len; r++) {
		if (s->key[r] != KEY_NONE)
			rowlists_add(l, s, r);
	}
	batch_builder_clear(&b);
}

static void compact(struct rowstore *s, struct rowlists *l, struct model *m)
{
	uint32_t keys[KEYS], n = 0, *remap = mem_alloc((s->len + (size_t)1) * sizeof *remap);

	for (uint32_t k = 0; k < KEYS; k++)
		keys[k] = k;
	rowstore_compact(s, remap);
	rowlists_compact(l, keys, remap);
	for (uint32_t i = 0; i < m->len; i++) {
		assert_int_equal(remap[i], m->rows[i].dead ? ROW_NONE : n);
		if (!m->rows[i].dead)
			m->rows[n++] = m->rows[i];
	}
	m->len = n;
	mem_free(remap);
}

static void check_rows(struct rowstore *s, const struct model *m)
{
	const struct batch *b = rowstore_view(s);

	assert_int_equal(s->len, m->len);
	for (uint32_t r = 0; r < m->len; r++) {
		char text[16];
		struct text_view found = column_text(&b->columns[0], r);
		size_t len = (size_t)snprintf(text, sizeof text, "%u", m->rows[r].text);

		assert_int_equal(s->time_us[r], m->rows[r].time);
		assert_int_equal(s->key[r], m->rows[r].key);
		assert_int_equal(found.len, len);
		assert_memory_equal(found.text, text, len);
	}
}

/* Every list holds its key's rows, sorted by time and, within it, by arrival. */
static void check_lists(const struct rowstore *s, const struct rowlists *l, const struct model *m)
{
	for (uint32_t k = 0; k < KEYS; k++) {
		uint32_t rows = 0, until = 0, bound = random_below(100);

		for (uint32_t r = 0; r < m->len; r++) {
			rows += m->rows[r].key == k;
			until += m->rows[r].key == k && m->rows[r].time <= bound;
		}
		assert_int_equal(l->lists[k].len, rows);
		assert_int_equal(rowlists_until(l, s, k, bound), until);
		for (uint32_t i = 1; i < rows; i++) {
			uint32_t a = l->lists[k].rows[i - 1], b = l->lists[k].rows[i];

			assert_true(s->time_us[a] < s->time_us[b] ||
				    (s->time_us[a] == s->time_us[b] && a < b));
		}
	}
	assert_int_equal(rowlists_until(l, s, KEYS + 1, 50), 0);
}

static void kept_rows_are_what_a_plain_array_holds(void **state)
{
	struct schema schema = SCHEMA_INIT;
	struct model *m = mem_zero(sizeof *m);
	struct rowlists lists = {.lists = NULL};
	struct rowstore s;

	seed(1);
	schema_add(&schema, "text", 4, TYPE_OF(TYPE_STRING));
	rowstore_init(&s, &schema);
	s.slack_rows = 10;
	rowlists_resize(&lists, KEYS);
	for (int step = 0; step < 600; step++) {
		if (m->len < MODEL_MAX - 20)
			add_rows(&s, &lists, m, &schema);
		for (uint32_t i = 0; i < m->len; i++) {
			if (random_below(20) == 0) {
				m->rows[i].dead = true;
				rowstore_kill(&s, i);
			}
		}
		if (rowstore_wants_compact(&s, 0)) {
			assert_true(s.dead > 10 && s.dead * 2 > s.len);
			compact(&s, &lists, m);
		}
		check_rows(&s, m);
		check_lists(&s, &lists, m);
	}
	assert_true(rowstore_bytes(&s) > 0 && rowlists_bytes(&lists) > 0);
	rowlists_clear(&lists);
	rowstore_clear(&s);
	schema_clear(&schema);
	mem_free(m);
}

static void keys_without_rows_leave_the_lists(void **state)
{
	static const uint32_t keys[] = {UINT32_MAX, 0, UINT32_MAX, 1}, rows[] = {ROW_NONE, 0, 1};
	struct schema schema = SCHEMA_INIT;
	struct rowlists l = {.lists = NULL};
	struct rowstore s;
	struct batch_builder b;

	schema_add(&schema, "v", 1, TYPE_OF(TYPE_INT));
	batch_builder_init(&b, &schema);
	for (int i = 0; i < 3; i++)
		builder_put_int(&b.columns[0], i);
	rowstore_init(&s, &schema);
	rowstore_add(&s, batch_builder_view(&b), NULL, 3, NULL, (const uint32_t[]){0, 3, 3});
	rowlists_resize(&l, 4);
	for (uint32_t r = 0; r < 3; r++)
		rowlists_add(&l, &s, r);
	rowlists_compact(&l, keys, rows);
	assert_int_equal(l.len, 2);
	assert_int_equal(l.lists[0].len, 0);
	assert_int_equal(l.lists[1].len, 2);
	assert_int_equal(l.lists[1].rows[0], 0);
	assert_int_equal(l.lists[1].rows[1], 1);
	rowlists_clear(&l);
	rowstore_clear(&s);
	batch_builder_clear(&b);
	schema_clear(&schema);
}

/* ---- timequeue ---- */

static int compare_entries(const void *a, const void *b)
{
	const struct timequeue_entry *x = a, *y = b;

	if (x->time_us != y->time_us)
		return x->time_us < y->time_us ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

static void waiting_rows_leave_in_order_of_time(void **state)
{
	enum { ROWS = 20000 };
	struct timequeue_entry *model = mem_alloc(ROWS * sizeof *model), out;
	struct timequeue q = {.run = NULL};
	uint32_t n = 0, row = 0;

	seed(2);
	while (row < ROWS) {
		uint32_t more = 1 + random_below(300);
		int64_t until = row / 2 + random_below(300);

		for (uint32_t i = 0; i < more && row < ROWS; i++, row++) {
			/* mostly in order */
			int64_t time = random_below(5) ? row : row - random_below(200);

			model[n++] = (struct timequeue_entry){time, row};
			timequeue_push(&q, time, row);
		}
		qsort(model, n, sizeof *model, compare_entries);
		uint32_t left = 0;

		for (; left < n && model[left].time_us <= until; left++) {
			assert_true(timequeue_pop(&q, until, &out));
			assert_int_equal(out.time_us, model[left].time_us);
			assert_int_equal(out.row, model[left].row);
		}
		assert_false(timequeue_pop(&q, until, &out));
		memmove(model, model + left, (n - left) * sizeof *model);
		n -= left;
		assert_int_equal(timequeue_len(&q), n);
	}
	timequeue_clear(&q);
	mem_free(model);
}

static void renumbered_rows_stay_in_order_and_the_dead_go(void **state)
{
	struct timequeue q = {.run = NULL};
	struct timequeue_entry out;
	uint32_t remap[100], rows = 0;

	for (uint32_t i = 0; i < 100; i++) {
		timequeue_push(&q, (i * 37) % 100, i); /* most of them into the heap */
		remap[i] = i % 3 ? rows++ : UINT32_MAX;
	}
	timequeue_remap(&q, remap);
	assert_int_equal(timequeue_len(&q), rows);
	for (int64_t time = 0; time < 100; time++) {
		uint32_t i = (uint32_t)(time * 73) % 100; /* 37 * 73 is 1 more than 27 * 100 */

		if (remap[i] == UINT32_MAX)
			continue;
		assert_true(timequeue_pop(&q, INT64_MAX, &out));
		assert_int_equal(out.time_us, time);
		assert_int_equal(out.row, remap[i]);
	}
	assert_false(timequeue_pop(&q, INT64_MAX, &out));
	timequeue_clear(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kept_rows_are_what_a_plain_array_holds),
		cmocka_unit_test(keys_without_rows_leave_the_lists),
		cmocka_unit_test(waiting_rows_leave_in_order_of_time),
		cmocka_unit_test(renumbered_rows_stay_in_order_and_the_dead_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
