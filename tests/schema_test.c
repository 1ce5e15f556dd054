/* Schemas and the names of types. */
#include "libcore/base/memory.h"
#include "libcore/table/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct type_case {
	const char *text;
	const char *name; /* NULL: refused */
	const char *says;
};

static const struct type_case type_cases[] = {
	{"", NULL, "unknown type ''"},
	{"itn", NULL, "did you mean int?"},
	{"zzzzzz", NULL, "types: bool int float decimal(p,s)"},
	{"int(4)", NULL, "unknown type 'int(4)'"},
	{"int ", NULL, "unknown type 'int '"},
	{" int", NULL, "unknown type ' int'"},
	{"decimal", NULL, "needs precision and scale, like decimal(10,2)"},
	{"decimal()", NULL, "needs precision and scale"},
	{"decimal(0,0)", NULL, "precision goes from 1 to 38"},
	{"decimal(39,1)", NULL, "precision goes from 1 to 38"},
	{"decimal(5,6)", NULL, "scale from 0 to precision"},
	{"decimal(5,2", NULL, "decimal"},
	{"decimal(5,2)x", NULL, "expected decimal(p,s)"},
	{"decimal(-5,2)", NULL, "decimal"},
	{"decimal(5,-2)", NULL, "decimal"},
	{"decimal(999,2)", NULL, "precision goes from 1 to 38"},
	{"decimal(1000,2)", NULL, "decimal"},
	{"decimal(5,2)                                        ", NULL, "decimal"},
	{"decimal(10,2)", "decimal(10,2)", NULL},
	{"NUMERIC( 38 , 38 )", "decimal(38,38)", NULL},
	{"decimal(7)", "decimal(7,0)", NULL},
	{"BigInt", "int", NULL},
	{"double", "float", NULL},
	{"varchar", "string", NULL},
	{"json", "any", NULL},
	{"interval", "duration", NULL},
	{"boolean", "bool", NULL},
	{"bytea", "bytes", NULL},
	{"timestamp", "timestamp", NULL},
	{"date", "date", NULL},
};

static void types_are_named_as_documented(void **state)
{
	for (size_t i = 0; i < COUNT(type_cases); i++) {
		const struct type_case *c = &type_cases[i];
		size_t len = strlen(c->text);
		char *exact = mem_alloc(len + !len);
		struct error e = ERROR_INIT;
		struct type t;

		memcpy(exact, c->text, len);
		if (c->name) {
			assert_int_equal(type_parse(exact, len, &t, &e), 0);
			assert_string_equal(type_name(t), c->name);
		} else {
			assert_int_equal(type_parse(exact, len, &t, &e), -1);
			assert_int_equal(e.code, ERROR_USAGE);
			if (!strstr(e.text, c->says))
				fail_msg("'%s' instead of '%s'", e.text, c->says);
		}
		mem_free(exact);
	}
}

static void types_that_meet_widen(void **state)
{
	static const struct {
		const char *a, *b, *common;
	} cases[] = {
		{"int", "int", "int"},
		{"int", "float", "float"},
		{"decimal(5,2)", "float", "float"},
		{"date", "timestamp", "timestamp"},
		{"decimal(5,2)", "decimal(6,1)", "decimal(7,2)"},
		{"int", "string", NULL},
		{"bool", "int", NULL},
		{"string", "bytes", NULL},
		{"any", "string", NULL},
		{"timestamp", "duration", NULL},
	};

	for (size_t i = 0; i < 2 * COUNT(cases); i++) {
		const char *a = i & 1 ? cases[i / 2].b : cases[i / 2].a;
		const char *b = i & 1 ? cases[i / 2].a : cases[i / 2].b;
		struct error e = ERROR_INIT;
		struct type x, y, common;
		bool meets;

		assert_int_equal(type_parse(a, strlen(a), &x, &e), 0);
		assert_int_equal(type_parse(b, strlen(b), &y, &e), 0);
		meets = type_common(x, y, &common);
		assert_int_equal(meets, cases[i / 2].common != NULL);
		if (meets)
			assert_string_equal(type_name(common), cases[i / 2].common);
	}
}

static void a_missing_column_is_told_with_what_was_meant(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct error e = ERROR_INIT;

	assert_int_equal(schema_require(&s, "x", 1, "input", &e), -1);
	assert_non_null(strstr(e.text, "its columns: none"));
	schema_add(&s, "origin", 6, TYPE_OF(TYPE_STRING));
	schema_add(&s, "dest", 4, TYPE_OF(TYPE_STRING));
	assert_int_equal(schema_require(&s, "dest", 4, "input", &e), 1);
	assert_int_equal(schema_require(&s, "orgin", 5, "RIGHT", &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_non_null(strstr(e.text, "RIGHT"));
	assert_non_null(strstr(e.text, "did you mean 'origin'?"));
	assert_non_null(strstr(e.text, "origin, dest"));
	schema_clear(&s);
}

static void names_are_found_whole_and_by_length(void **state)
{
	static const char with_nul[] = "ab\0cdefghijklmnopqrstuvwxyz";
	struct schema s = SCHEMA_INIT;

	schema_add(&s, "abc", 2, TYPE_OF(TYPE_INT)); /* "ab" */
	schema_add(&s, "", 0, TYPE_OF(TYPE_INT));
	assert_int_equal(schema_find(&s, "ab", 2), 0);
	assert_int_equal(schema_find(&s, "", 0), 1);
	assert_int_equal(schema_find(&s, "a", 1), -1);
	assert_int_equal(schema_find(&s, "abc", 3), -1);
	assert_int_equal(schema_find(&s, "AB", 2), -1);
	assert_int_equal(schema_find(&s, with_nul, sizeof with_nul - 1), -1);
	schema_clear(&s);
}

static void schemas_are_equal_by_value(void **state)
{
	struct schema a = SCHEMA_INIT, b = SCHEMA_INIT;
	int key = 1;

	schema_add(&a, "at", 2, TYPE_OF(TYPE_TIMESTAMP));
	schema_add(&a, "k", 1, (struct type){TYPE_DECIMAL, 5, 2});
	a.time_column = 0;
	a.time_offset_us = -1;
	schema_set_keys(&a, &key, 1);
	schema_set_name(&a, "section");
	schema_copy(&b, &a);
	assert_true(schema_equal(&a, &b) && schema_equal(&b, &a));
	b.time_offset_us = 0;
	assert_false(schema_equal(&a, &b));
	b.time_offset_us = -1;
	b.changelog = true;
	assert_false(schema_equal(&a, &b));
	b.changelog = false;
	b.fields[1].type.scale = 1;
	assert_false(schema_equal(&a, &b));
	b.fields[1].type.scale = 2;
	schema_set_name(&b, NULL);
	assert_false(schema_equal(&a, &b));
	schema_set_name(&b, "section");
	assert_true(schema_equal(&a, &b));
	schema_set_keys(&b, NULL, 0);
	assert_false(schema_equal(&a, &b));
	schema_clear(&a);
	schema_clear(&b);
}

static void names_are_quoted_where_they_need_it(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct buf b = BUF_INIT;

	schema_add(&s, "a_1", 3, TYPE_OF(TYPE_INT));
	schema_add(&s, "1a", 2, TYPE_OF(TYPE_STRING));
	schema_add(&s, "a\"b c", 5, (struct type){TYPE_DECIMAL, 5, 2});
	schema_add(&s, "", 0, TYPE_OF(TYPE_ANY));
	schema_put(&s, &b);
	assert_string_equal(buf_cstr(&b),
		"a_1 int, \"1a\" string, \"a\"\"b c\" decimal(5,2), \"\" any");
	buf_clear(&b);
	schema_clear(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_are_named_as_documented),
		cmocka_unit_test(a_missing_column_is_told_with_what_was_meant),
		cmocka_unit_test(types_that_meet_widen),
		cmocka_unit_test(names_are_found_whole_and_by_length),
		cmocka_unit_test(schemas_are_equal_by_value),
		cmocka_unit_test(names_are_quoted_where_they_need_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
