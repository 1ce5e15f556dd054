/* Canonical bytes and their hashes, written down: a stored key must find its group for ever. */
#include "libcore/table/builder.h"
#include "libcore/table/keys.h"
#include "tests/support/tables.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <xxhash.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct key_case {
	struct type type;
	int64_t number;
	double real;
	const char *text;
	size_t text_len;
	const char *canonical;
	size_t canonical_len;
	uint64_t hash;
};

#define KEY(k, n, bytes, h) {.type = {k, 0, 0}, .number = n, .canonical = bytes, \
	.canonical_len = sizeof(bytes) - 1, .hash = UINT64_C(h)}
#define REAL(r, bytes, h) {.type = {TYPE_FLOAT, 0, 0}, .real = r, .canonical = bytes, \
	.canonical_len = sizeof(bytes) - 1, .hash = UINT64_C(h)}
#define TEXT(k, t, bytes, h) {.type = {k, 0, 0}, .text = t, .text_len = sizeof(t) - 1, \
	.canonical = bytes, .canonical_len = sizeof(bytes) - 1, .hash = UINT64_C(h)}

static const struct key_case cases[] = {
	KEY(TYPE_BOOL, 0, "\001\000",
		0xdd8f621dbf7f57f1),
	KEY(TYPE_BOOL, 1, "\001\001",
		0x52fc4823a13c997a),
	KEY(TYPE_INT, 0, "\002\000\000\000\000\000\000\000\000",
		0xef03f80c2f2a1026),
	KEY(TYPE_INT, 1, "\002\001\000\000\000\000\000\000\000",
		0x7bc759f3a16fd092),
	KEY(TYPE_INT, -1, "\002\377\377\377\377\377\377\377\377",
		0x0c72a2d6abb7c8ff),
	KEY(TYPE_INT, 9223372036854775807, "\002\377\377\377\377\377\377\377\177",
		0x281c3558d29bfe08),
	KEY(TYPE_INT, INT64_MIN, "\002\000\000\000\000\000\000\000\200",
		0x7b1f4ed8978445b4),
	REAL(0.0, "\003\000\000\000\000\000\000\000\000",
		0x72707b1835bd39c5),
	REAL(-0.0, "\003\000\000\000\000\000\000\000\000",
		0x72707b1835bd39c5),
	REAL(1.5, "\003\000\000\000\000\000\000\370\077",
		0x37decba307c98f65),
	REAL((double)NAN, "\003\000\000\000\000\000\000\370\177",
		0x54977fd7cc44f650),
	REAL(-(double)NAN, "\003\000\000\000\000\000\000\370\177",
		0x54977fd7cc44f650),
	REAL(-(double)INFINITY, "\003\000\000\000\000\000\000\360\377",
		0x57571b0e7080c94c),
	{.type = {TYPE_DECIMAL, 10, 2}, .number = -12345,
		.canonical = "\004\002\307\317\377\377\377\377\377\377\377\377\377\377\377\377\377\377",
		.canonical_len = 18, .hash = UINT64_C(0x36c67172aa9fea30)},
	KEY(TYPE_DATE, 15706, "\005\132\075\000\000",
		0xb85794fdb5060b0a),
	KEY(TYPE_DATE, -1, "\005\377\377\377\377",
		0x74257532ff3e5e7f),
	KEY(TYPE_TIMESTAMP, 1357034400000000, "\006\000\050\134\061\067\322\004\000",
		0x566c0e47ab6bc39a),
	KEY(TYPE_DURATION, -90000000, "\007\200\265\242\372\377\377\377\377",
		0x598339c2e0c9fd0d),
	TEXT(TYPE_STRING, "", "\010\000\000\000\000",
		0xe029702676d69e52),
	TEXT(TYPE_STRING, "\112\106\113", "\010\003\000\000\000\112\106\113",
		0x12e57d0a7bc6a0b2),
	TEXT(TYPE_STRING, "\150\303\251\154\154\157", "\010\006\000\000\000\150\303\251\154\154\157",
		0x071bd363751bda59),
	TEXT(TYPE_STRING, "\060\061\062\063\064" "56789abcdefghijklmnopqrstuvwxyzABCDEF",
		"\010\052\000\000\000" "0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
		0x10698e2719579ca8),
	TEXT(TYPE_BYTES, "", "\011\000\000\000\000",
		0x314f4a14ae277372),
	TEXT(TYPE_BYTES, "\112\106\113", "\011\003\000\000\000\112\106\113",
		0x760953093f95acd1),
	TEXT(TYPE_BYTES, "\150\303\251\154\154\157", "\011\006\000\000\000\150\303\251\154\154\157",
		0xf8f6cd83b621647d),
	TEXT(TYPE_BYTES, "\060\061\062\063\064" "56789abcdefghijklmnopqrstuvwxyzABCDEF",
		"\011\052\000\000\000" "0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
		0xe00991232e82fd7d),
};

static void put(struct column_builder *b, const struct key_case *c)
{
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: builder_put_bool(b, c->number != 0); break;
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: builder_put_int(b, c->number); break;
	case TYPE_FLOAT: builder_put_float(b, c->real); break;
	case TYPE_DECIMAL: builder_put_decimal(b, c->number); break;
	case TYPE_DATE: builder_put_date(b, (int32_t)c->number); break;
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: builder_put_text(b, c->text, c->text_len); break;
	}
}

static void any_is_refused_as_a_key(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct error e = ERROR_INIT;
	int columns[] = {0, 1};

	schema_add(&s, "i", 1, TYPE_OF(TYPE_INT));
	schema_add(&s, "a", 1, TYPE_OF(TYPE_ANY));
	assert_int_equal(keys_check(&s, columns, 1, &e), 0);
	assert_int_equal(keys_check(&s, columns, 2, &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_non_null(strstr(e.text, "column 'a' is any"));
	schema_clear(&s);
}

static void every_type_has_the_bytes_and_the_hash_that_are_written_down(void **state)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct key_case *c = &cases[i];
		struct column_builder b;
		struct column column;
		const struct column *columns[] = {&column};
		struct buf bytes = BUF_INIT;
		uint64_t hashes[3];

		builder_init(&b, c->type);
		put(&b, c);
		builder_put_null(&b);
		put(&b, c);
		column = builder_column(&b);
		keys_put(columns, 1, 0, &bytes);
		assert_int_equal(bytes.len, c->canonical_len);
		assert_memory_equal(bytes.data, c->canonical, c->canonical_len);
		keys_hash(columns, 1, 3, hashes);
		if (hashes[0] != c->hash || hashes[2] != c->hash)
			fail_msg("case %zu: %016llx", i, (unsigned long long)hashes[0]);
		assert_true(hashes[1] == UINT64_C(0xe934a84adb052768)); /* of a zero byte */
		assert_false(keys_has_null(columns, 1, 0));
		assert_true(keys_has_null(columns, 1, 1));
		buf_clear(&bytes);
		builder_clear(&b);
	}
}

static void texts_of_every_length_hash_like_their_bytes(void **state)
{
	enum { LONGEST = 70 };
	char text[LONGEST];
	struct column_builder b;
	struct column c;
	const struct column *columns[2] = {&c, &c};
	uint64_t hashes[LONGEST];

	for (int i = 0; i < LONGEST; i++)
		text[i] = (char)(i * 37 + 11);
	builder_init(&b, TYPE_OF(TYPE_BYTES));
	for (uint32_t len = 0; len < LONGEST; len++)
		builder_put_text(&b, text, len);
	c = builder_column(&b);
	for (size_t n = 1; n <= 2; n++) {
		keys_hash(columns, n, LONGEST, hashes);
		for (uint32_t r = 0; r < LONGEST; r++) {
			struct buf bytes = BUF_INIT;

			keys_put(columns, n, r, &bytes);
			assert_true(hashes[r] == XXH64(bytes.data, bytes.len, 0));
			buf_clear(&bytes);
		}
	}
	builder_clear(&b);
}

static void hashes_are_xxh64_of_the_bytes_for_any_columns(void **state)
{
	random_seed(7);
	for (int round = 0; round < 200; round++) {
		const struct column *columns[4];
		struct column_builder b[4];
		struct column views[4];
		uint32_t n = random_below(5), rows = random_below(100);
		uint64_t hashes[100];

		for (uint32_t i = 0; i < n; i++) {
			struct type t;

			do
				t = random_type();
			while (t.kind == TYPE_ANY);
			builder_init(&b[i], t);
			for (uint32_t r = 0; r < rows; r++)
				random_value(&b[i]);
			views[i] = builder_column(&b[i]);
			columns[i] = &views[i];
		}
		keys_hash(columns, n, rows, hashes);
		for (uint32_t r = 0; r < rows; r++) {
			struct buf bytes = BUF_INIT;

			keys_put(columns, n, r, &bytes);
			assert_true(hashes[r] == XXH64(bytes.data, bytes.len, 0));
			buf_clear(&bytes);
		}
		for (uint32_t i = 0; i < n; i++)
			builder_clear(&b[i]);
	}
}

static void every_group_belongs_to_exactly_one_subtask(void **state)
{
	for (uint32_t subtasks = 1; subtasks <= KEY_GROUPS; subtasks++) {
		uint32_t least = KEY_GROUPS, most = 0;

		for (uint32_t t = 0, next = 0; t < subtasks; t++) {
			struct key_range r = key_range_of(t, subtasks);
			uint32_t width = (uint32_t)r.end - r.first;

			assert_int_equal(r.first, next);
			next = r.end;
			least = width < least ? width : least;
			most = width > most ? width : most;
			for (uint32_t g = 0; g < KEY_GROUPS; g++)
				assert_int_equal(key_range_has(r, (uint8_t)g),
					key_group_subtask((uint8_t)g, subtasks) == t);
		}
		assert_true(most - least <= 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_is_refused_as_a_key),
		cmocka_unit_test(every_type_has_the_bytes_and_the_hash_that_are_written_down),
		cmocka_unit_test(texts_of_every_length_hash_like_their_bytes),
		cmocka_unit_test(hashes_are_xxh64_of_the_bytes_for_any_columns),
		cmocka_unit_test(every_group_belongs_to_exactly_one_subtask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
