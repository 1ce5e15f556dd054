/* Key tables against a list that is searched from the front. */
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/table/keytable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { ROWS = 700, BATCHES = 12, COLUMNS_MAX = 4 };

static uint64_t seed, state;

static uint64_t draw(uint64_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (state >> 33) % below;
}

struct model { /* canonical bytes of the keys, by number */
	struct buf *keys;
	size_t len, cap;
};

static uint32_t model_find(const struct model *m, const struct buf *key)
{
	for (size_t i = 0; i < m->len; i++) {
		if (m->keys[i].len == key->len && memcmp(m->keys[i].data, key->data, key->len) == 0)
			return (uint32_t)i;
	}
	return KEY_NONE;
}

static uint32_t model_insert(struct model *m, const struct buf *key)
{
	uint32_t at = model_find(m, key);

	if (at != KEY_NONE)
		return at;
	MEM_GROW(m->keys, m->cap, m->len + 1);
	m->keys[m->len] = (struct buf)BUF_INIT;
	buf_put(&m->keys[m->len], key->data, key->len);
	return (uint32_t)m->len++;
}

static void model_clear(struct model *m)
{
	for (size_t i = 0; i < m->len; i++)
		buf_clear(&m->keys[i]);
	mem_free(m->keys);
	*m = (struct model){.keys = NULL};
}

static void put_random(struct column_builder *b, uint64_t spread)
{
	static const double floats[] = {0.0, -0.0, 1.5, -1.5, __builtin_nan(""), __builtin_inf()};
	char text[40];

	if (draw(10) == 0) {
		builder_put_null(b);
		return;
	}
	switch ((enum type_kind)b->type.kind) {
	case TYPE_BOOL: builder_put_bool(b, draw(2)); break;
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: builder_put_int(b, (int64_t)draw(spread) - 3); break;
	case TYPE_DATE: builder_put_date(b, (int32_t)draw(spread)); break;
	case TYPE_FLOAT:
		builder_put_float(b, draw(3) ? floats[draw(6)] : (double)draw(spread));
		break;
	case TYPE_DECIMAL: builder_put_decimal(b, (__int128)draw(spread) << 70); break;
	case TYPE_STRING:
	case TYPE_BYTES:
		snprintf(text, sizeof text, "%.*s%llu", (int)draw(20), "a long common prefix",
			(unsigned long long)draw(spread));
		builder_put_text(b, text, draw(8) ? strlen(text) : 0);
		break;
	case TYPE_ANY: fail();
	}
}

static void batch_fill(struct column_builder *b, const struct type *types, size_t n,
	uint64_t spread, struct column *views)
{
	for (size_t i = 0; i < n; i++) {
		builder_init(&b[i], types[i]);
		for (unsigned r = 0; r < ROWS; r++)
			put_random(&b[i], spread);
		views[i] = builder_column(&b[i]);
	}
}

static void check_keys(const struct keytable *t, const struct model *m, size_t columns_len)
{
	struct column columns[COLUMNS_MAX];
	const struct column *pointers[COLUMNS_MAX];
	struct buf key = BUF_INIT;
	uint64_t hash;

	assert_int_equal(keytable_len(t), m->len);
	for (size_t i = 0; i < columns_len; i++) {
		columns[i] = keytable_column(t, i);
		pointers[i] = &columns[i];
	}
	for (uint32_t k = 0; k < m->len; k += 7) {
		buf_reset(&key);
		keys_put(pointers, columns_len, k, &key);
		assert_int_equal(model_find(m, &key), k);
		if (columns_len == 0)
			continue;
		keytable_hashes(t, k & ~7u, (k & 7) + 1, (uint64_t[8]){0});
		hash = keytable_hash(t, k);
		assert_true(hash != 0);
	}
	buf_clear(&key);
}

static void one_batch(
	struct keytable *t, struct model *m, const struct type *types, size_t n, bool insert)
{
	struct column_builder builders[COLUMNS_MAX];
	struct column views[COLUMNS_MAX];
	const struct column *columns[COLUMNS_MAX];
	uint64_t hashes[ROWS], spread = 1 + draw(3000);
	uint32_t ids[ROWS];
	struct buf key = BUF_INIT;

	batch_fill(builders, types, n, spread, views);
	for (size_t i = 0; i < n; i++)
		columns[i] = &views[i];
	keys_hash(columns, n, ROWS, hashes);
	if (insert)
		keytable_insert(t, columns, ROWS, hashes, ids);
	else
		keytable_find(t, columns, ROWS, hashes, ids);
	for (uint32_t r = 0; r < ROWS; r++) {
		uint32_t expected;

		buf_reset(&key);
		keys_put(columns, n, r, &key);
		expected = insert ? model_insert(m, &key) : model_find(m, &key);
		if (ids[r] != expected)
			fail_msg("seed %llu: %s: row %u has number %u, expected %u",
				(unsigned long long)seed, type_name(types[0]), r, ids[r], expected);
	}
	for (size_t i = 0; i < n; i++)
		builder_clear(&builders[i]);
	buf_clear(&key);
}

static void check_types(const struct type *types, size_t n)
{
	struct keytable *t = keytable_new(types, n);
	struct model m = {.keys = NULL};

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned b = 0; b < BATCHES; b++) {
			one_batch(t, &m, types, n, false);
			one_batch(t, &m, types, n, true);
		}
		check_keys(t, &m, n);
		keytable_reset(t);
		model_clear(&m);
		assert_int_equal(keytable_len(t), 0);
	}
	keytable_free(t);
}

static void every_kind_of_key_gets_numbers_in_order_of_first_appearance(void **unused)
{
	static const struct type decimal = {TYPE_DECIMAL, 30, 2};

	for (unsigned kind = TYPE_BOOL; kind <= TYPE_BYTES; kind++) {
		struct type one = kind == TYPE_DECIMAL ? decimal : TYPE_OF((uint8_t)kind);

		check_types(&one, 1);
	}
}

static void a_recycled_table_forgets_which_keys_were_null(void **unused)
{
	struct type type = TYPE_OF(TYPE_BOOL);
	struct keytable *t = keytable_new(&type, 1);
	struct column_builder b;
	uint64_t hashes[2];
	uint32_t ids[2];

	builder_init(&b, type);
	for (int round = 0; round < 2; round++) {
		struct column c;
		const struct column *columns[] = {&c};

		builder_reset(&b);
		if (round == 0)
			builder_put_null(&b);
		else
			builder_put_bool(&b, true);
		builder_put_bool(&b, true);
		c = builder_column(&b);
		keys_hash(columns, 1, 2, hashes);
		keytable_reset(t);
		keytable_insert(t, columns, 2, hashes, ids);
		assert_int_equal(ids[0], 0);
		assert_int_equal(ids[1], round == 0);
	}
	builder_clear(&b);
	keytable_free(t);
}

static void keys_of_several_columns_are_told_apart(void **unused)
{
	static const struct type shapes[][COLUMNS_MAX] = {
		{{.kind = TYPE_INT}, {.kind = TYPE_INT}},
		{{.kind = TYPE_STRING}, {.kind = TYPE_INT}},
		{{.kind = TYPE_BOOL}, {.kind = TYPE_FLOAT}},
		{{.kind = TYPE_STRING}, {.kind = TYPE_STRING}},
	};

	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		check_types(shapes[i], 2);
}

static void no_column_is_one_key(void **unused)
{
	struct keytable *t = keytable_new(NULL, 0);
	uint64_t hashes[3];
	uint32_t ids[3] = {7, 7, 7};

	keys_hash(NULL, 0, 3, hashes);
	keytable_find(t, NULL, 3, hashes, ids);
	assert_int_equal(ids[2], KEY_NONE);
	keytable_insert(t, NULL, 0, hashes, ids);
	assert_int_equal(keytable_len(t), 0);
	keytable_insert(t, NULL, 3, hashes, ids);
	assert_int_equal(keytable_len(t), 1);
	assert_int_equal(ids[0] + ids[1] + ids[2], 0);
	keytable_free(t);
}

static void equal_tags_of_other_keys_are_not_taken_for_hits(void **unused)
{
	enum { N = 64 };
	struct type one = TYPE_OF(TYPE_INT);
	struct keytable *t = keytable_new(&one, 1);
	int64_t values[N];
	uint64_t hashes[N];
	uint32_t ids[N];
	struct column c = {.type = one, .data = values};
	const struct column *columns[1] = {&c};

	for (int i = 0; i < N; i++)
		values[i] = i;
	keys_hash(columns, 1, N, hashes);
	for (int i = 0; i < N; i++)
		hashes[i] =
			hashes[i % 2]; /* two homes, two tags; growing hashes anew and mends it */
	keytable_insert(t, columns, 8, hashes, ids);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(ids[i], i);
	keytable_find(t, columns, 9, hashes, ids);
	assert_int_equal(ids[7], 7);
	assert_int_equal(ids[8], KEY_NONE);
	keytable_free(t);
}

static void an_int_key_costs_at_most_40_bytes(void **unused)
{
	enum { N = 200000, STEP = 1000 };
	struct type one = TYPE_OF(TYPE_INT);
	struct keytable *t = keytable_new(&one, 1);
	int64_t values[STEP];
	uint64_t hashes[STEP];
	uint32_t ids[STEP];
	struct column c = {.type = one, .data = values};
	const struct column *columns[1] = {&c};

	for (int64_t first = 0; first < N; first += STEP) {
		for (int64_t i = 0; i < STEP; i++)
			values[i] = first + i;
		keys_hash(columns, 1, STEP, hashes);
		keytable_insert(t, columns, STEP, hashes, ids);
		assert_int_equal(ids[STEP - 1], first + STEP - 1);
		if (first > 10 * STEP)
			assert_true(keytable_bytes(t) <= 40 * (uint64_t)(first + STEP));
	}
	assert_true(keytable_bytes(t) < 64 << 20);
	keytable_free(t);
}

/* Keys appended to another table must be found there under the numbers they had. */
static void check_appended(const struct keytable *from, const struct type *types, size_t types_len)
{
	struct keytable *t = keytable_new(types, types_len);
	struct column views[COLUMNS_MAX];
	const struct column *columns[COLUMNS_MAX];
	uint32_t len = keytable_len(from), *ids = mem_alloc((size_t)len * sizeof *ids);
	uint64_t *hashes = mem_alloc((size_t)len * sizeof *hashes);

	for (size_t i = 0; i < types_len; i++) {
		views[i] = keytable_column(from, i);
		columns[i] = &views[i];
	}
	keytable_hashes(from, 0, len, hashes);
	keytable_append(t, columns, len);
	keytable_index(t);
	assert_int_equal(keytable_len(t), len);
	keytable_find(t, columns, len, hashes, ids);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(ids[i], i);
	keytable_insert(t, columns, len, hashes, ids); /* nothing new */
	assert_int_equal(keytable_len(t), len);
	mem_free(hashes);
	mem_free(ids);
	keytable_free(t);
}

static void keys_appended_at_once_are_found_as_if_inserted(void **unused)
{
	static const struct {
		size_t types_len;
		struct type types[2];
		uint64_t spread;
		unsigned batches;
	} cases[] = {
		{1, {TYPE_OF(TYPE_INT)}, 50, 2},
		{1, {TYPE_OF(TYPE_INT)}, UINT64_C(1) << 30, 500}, /* more than fit a part */
		{1, {TYPE_OF(TYPE_STRING)}, 5000, 12},
		{1, {TYPE_OF(TYPE_FLOAT)}, 5000, 12},
		{2, {TYPE_OF(TYPE_INT), TYPE_OF(TYPE_STRING)}, 300, 12},
	};

	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		struct keytable *t = keytable_new(cases[c].types, cases[c].types_len);

		for (unsigned round = 0; round < cases[c].batches; round++) {
			struct column_builder builders[2];
			struct column views[2];
			const struct column *columns[2];
			uint64_t hashes[ROWS];
			uint32_t ids[ROWS];

			for (size_t i = 0; i < cases[c].types_len; i++) {
				builder_init(&builders[i], cases[c].types[i]);
				for (int r = 0; r < ROWS; r++)
					put_random(&builders[i], cases[c].spread);
				views[i] = builder_column(&builders[i]);
				columns[i] = &views[i];
			}
			keys_hash(columns, cases[c].types_len, ROWS, hashes);
			keytable_insert(t, columns, ROWS, hashes, ids);
			for (size_t i = 0; i < cases[c].types_len; i++)
				builder_clear(&builders[i]);
		}
		check_appended(t, cases[c].types, cases[c].types_len);
		keytable_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_column_is_one_key),
		cmocka_unit_test(equal_tags_of_other_keys_are_not_taken_for_hits),
		cmocka_unit_test(every_kind_of_key_gets_numbers_in_order_of_first_appearance),
		cmocka_unit_test(a_recycled_table_forgets_which_keys_were_null),
		cmocka_unit_test(keys_of_several_columns_are_told_apart),
		cmocka_unit_test(an_int_key_costs_at_most_40_bytes),
		cmocka_unit_test(keys_appended_at_once_are_found_as_if_inserted),
	};
	const char *given = getenv("SEED");

	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	state = seed;
	printf("SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
