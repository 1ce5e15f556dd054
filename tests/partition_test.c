/* Which rows go to which directory, against a plain model; how paths are spelt; when a part is
 * complete. */
#include "cmd/common/parts.h"
#include "cmd/common/partition.h"
#include "libcore/base/memory.h"
#include "libcore/table/builder.h"
#include "tests/support/files.h"
#include "tests/support/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct partition *new_partition(const char *names)
{
	struct error e = ERROR_INIT;
	struct partition *p;

	if (partition_new(names, &p, &e) < 0)
		fail_msg("%s", e.text);
	return p;
}

/* ---- what is refused ---- */

static void wrong_columns_are_refused(void **state)
{
	static const struct {
		const char *names, *text;
	} cases[] = {
		{"", "a column's name is missing"},
		{"a,", NULL},
		{"a,,b", "a column's name is missing"},
		{"a,b,a", "twice the column a"},
		{"date_trunc('day', t)", "it takes columns, not expressions"},
		{"a as b", "ssink --partition day out/"},
		{"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "more than 16 columns"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct partition *p = NULL;
		struct error e = ERROR_INIT;
		int status = partition_new(cases[i].names, &p, &e);

		assert_int_equal(status, cases[i].text ? -1 : 0);
		if (cases[i].text && (e.code != ERROR_USAGE || !strstr(e.text, cases[i].text)))
			fail_msg("%s: %s", cases[i].names, e.text);
		if (status == 0)
			partition_free(p);
	}
}

static void columns_that_no_directory_can_be_named_by_are_refused(void **state)
{
	static const struct {
		const char *names, *text;
	} cases[] = {
		{"x", "no column 'x'"},
		{"any", "column any is any, which is no name for a directory"},
		{"bytes", "make it text first: smap '*, bytes::string as bytes'"},
		{"any,bytes,int", "column any is any"},
	};
	struct schema s = SCHEMA_INIT;
	struct error e = ERROR_INIT;
	struct partition *p;

	schema_add(&s, "int", 3, TYPE_OF(TYPE_INT));
	schema_add(&s, "any", 3, TYPE_OF(TYPE_ANY));
	schema_add(&s, "bytes", 5, TYPE_OF(TYPE_BYTES));
	for (size_t i = 0; i < COUNT(cases); i++) {
		p = new_partition(cases[i].names);
		assert_int_equal(partition_schema(p, &s, &e), -1);
		assert_int_equal(e.code, ERROR_USAGE);
		if (!strstr(e.text, cases[i].text))
			fail_msg("%s", e.text);
		partition_free(p);
	}
	schema_clear(&s);
	schema_init(&s);
	schema_add(&s, "a", 1, TYPE_OF(TYPE_INT));
	p = new_partition("a");
	assert_int_equal(partition_schema(p, &s, &e), -1);
	assert_non_null(strstr(e.text, "none is left for the files"));
	partition_free(p);
	schema_clear(&s);
}

static void wrong_rolls_are_refused(void **state)
{
	static const char *const bad[] = {"", ",", "1x", "10m,", "10m,5m", "1M,2M", "-1M", "-5m", "0",
		"0s", "1M,10m,1G", "M", "10m;1M"};
	static const struct {
		const char *text;
		struct roll want;
	} good[] = {
		{"128M", {.bytes = 128 << 20}},
		{"10m", {.age_us = 600000000}},
		{"128M,10m", {.bytes = 128 << 20, .age_us = 600000000}},
		{"1h30m,64k", {.bytes = 64 << 10, .age_us = 5400000000}},
		{"1000", {.bytes = 1000}},
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct error e = ERROR_INIT;
		struct roll roll;

		if (roll_parse(bad[i], &roll, &e) == 0)
			fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(e.code, ERROR_USAGE);
	}
	for (size_t i = 0; i < COUNT(good); i++) {
		struct error e = ERROR_INIT;
		struct roll roll;

		assert_int_equal(roll_parse(good[i].text, &roll, &e), 0);
		assert_int_equal(roll.bytes, good[i].want.bytes);
		assert_int_equal(roll.age_us, good[i].want.age_us);
	}
}

/* ---- paths ---- */

static void text_is_spelt_as_hive_spells_it(void **state)
{
	static const struct {
		const char *value, *path;
	} cases[] = {
		{"plain", "plain"},
		{"", ""},
		{"two words", "two words"},
		{"a/b", "a%2Fb"},
		{"..", ".."},
		{"\x01\x1f\x7f\n", "%01%1F%7F%0A"},
		{"\"#%'*/:=?\\{[]^", "%22%23%25%27%2A%2F%3A%3D%3F%5C%7B%5B%5D%5E"},
		{"}<>|&;$~`!@()+,-._", "}<>|&;$~`!@()+,-._"},
		{"日本é", "日本é"},
	};
	struct partition *p = new_partition("\"s=/\"\"\"");
	struct schema s = SCHEMA_INIT;
	struct error e = ERROR_INIT;
	struct batch_builder b;

	schema_add(&s, "s=/\"", 4, TYPE_OF(TYPE_STRING));
	schema_add(&s, "n", 1, TYPE_OF(TYPE_INT));
	assert_int_equal(partition_schema(p, &s, &e), 0);
	batch_builder_init(&b, &s);
	for (size_t i = 0; i <= COUNT(cases); i++) {
		if (i < COUNT(cases))
			builder_put_text(&b.columns[0], cases[i].value, strlen(cases[i].value));
		else
			builder_put_null(&b.columns[0]);
		builder_put_int(&b.columns[1], (int64_t)i);
	}
	assert_int_equal(partition_split(p, batch_builder_view(&b), &e), COUNT(cases) + 1);
	for (size_t i = 0; i <= COUNT(cases); i++) {
		const char *sub;
		struct batch rows;
		char want[200];

		partition_part(p, (uint32_t)i, &rows, &sub);
		snprintf(want, sizeof want, "s%%3D%%2F%%22=%s/",
			i < COUNT(cases) ? cases[i].path : "__HIVE_DEFAULT_PARTITION__");
		assert_string_equal(sub, want);
		assert_int_equal(rows.rows, 1);
		assert_int_equal(rows.schema->fields_len, 1);
		assert_int_equal(column_int(&rows.columns[0], 0), i);
	}
	batch_builder_reset(&b);
	builder_put_text(&b.columns[0], "////////////////////////////////////////////////////////"
		"/////////////////////////////", 85);
	builder_put_int(&b.columns[1], 0);
	assert_int_equal(partition_split(p, batch_builder_view(&b), &e), -1);
	assert_int_equal(e.code, ERROR_DATA);
	assert_non_null(strstr(e.text, "is too long for a directory's name"));
	batch_builder_clear(&b);
	partition_free(p);
	schema_clear(&s);
}

static void other_types_are_their_text(void **state)
{
	struct partition *p = new_partition("b,f,d,t,m");
	struct schema s = SCHEMA_INIT;
	struct error e = ERROR_INIT;
	struct batch_builder b;
	struct batch rows;
	const char *sub;

	schema_add(&s, "x", 1, TYPE_OF(TYPE_INT));
	schema_add(&s, "b", 1, TYPE_OF(TYPE_BOOL));
	schema_add(&s, "f", 1, TYPE_OF(TYPE_FLOAT));
	schema_add(&s, "d", 1, TYPE_OF(TYPE_DATE));
	schema_add(&s, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
	schema_add(&s, "m", 1, (struct type){.kind = TYPE_DECIMAL, .precision = 5, .scale = 2});
	s.time_column = 4;
	schema_set_keys(&s, (const int[]){0, 3}, 2);
	assert_int_equal(partition_schema(p, &s, &e), 0);
	assert_int_equal(partition_rest(p)->time_column, -1);
	assert_int_equal(partition_rest(p)->keys_len, 1);
	batch_builder_init(&b, &s);
	for (int i = 0; i < 2; i++) {
		builder_put_int(&b.columns[0], i);
		builder_put_bool(&b.columns[1], true);
		builder_put_float(&b.columns[2], i ? 0.0 : -0.0); /* equal, so one directory */
		builder_put_date(&b.columns[3], 15706);
		builder_put_int(&b.columns[4], 0);
		builder_put_decimal(&b.columns[5], -5);
	}
	assert_int_equal(partition_split(p, batch_builder_view(&b), &e), 1);
	partition_part(p, 0, &rows, &sub);
	assert_string_equal(sub, "b=true/f=0.0/d=2013-01-01/t=1970-01-01T00%3A00%3A00Z/m=-0.05/");
	assert_int_equal(rows.rows, 2);
	batch_builder_clear(&b);
	partition_free(p);
	schema_clear(&s);
}

/* ---- random rows ---- */

/* Every row of the batch is in the part that its own values say, once, in its order, whole. */
static void check_split(struct partition *p, const struct schema *s, const struct batch *b)
{
	struct error e = ERROR_INIT;
	uint32_t total = 0;
	int n = partition_split(p, b, &e);

	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		struct batch rows;
		const char *sub;
		int64_t before = -1;

		partition_part(p, (uint32_t)i, &rows, &sub);
		assert_int_equal(rows.schema->fields_len, s->fields_len - 2);
		for (uint32_t r = 0; r < rows.rows; r++, total++) {
			int64_t id = column_int(&rows.columns[0], r);
			char want[100];
			int len;

			assert_true(id > before);
			before = id;
			len = column_is_valid(&b->columns[1], (uint32_t)id) ?
				snprintf(want, sizeof want, "k=%lld/",
					(long long)column_int(&b->columns[1], (uint32_t)id)) :
				snprintf(want, sizeof want, "k=__HIVE_DEFAULT_PARTITION__/");
			if (column_is_valid(&b->columns[3], (uint32_t)id))
				snprintf(want + len, sizeof want - (size_t)len, "s=%c/",
					*column_text(&b->columns[3], (uint32_t)id).text);
			else
				snprintf(want + len, sizeof want - (size_t)len,
					"s=__HIVE_DEFAULT_PARTITION__/");
			assert_string_equal(sub, want);
			assert_int_equal(column_float(&rows.columns[1], r), (double)id / 2);
			if (b->ops)
				assert_int_equal(rows.ops[r], b->ops[id]);
		}
	}
	assert_int_equal(total, b->rows);
}

static void random_rows_are_divided_as_a_plain_model_does(void **state)
{
	const char *given = getenv("SEED");

	random_seed(given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL));
	for (int round = 0; round < 200; round++) {
		struct partition *p = new_partition("k,s");
		uint32_t rows = random_below(300), kinds = 1 + random_below(20);
		struct schema s = SCHEMA_INIT;
		struct error e = ERROR_INIT;
		struct batch_builder b;

		schema_add(&s, "id", 2, TYPE_OF(TYPE_INT));
		schema_add(&s, "k", 1, TYPE_OF(TYPE_INT));
		schema_add(&s, "v", 1, TYPE_OF(TYPE_FLOAT));
		schema_add(&s, "s", 1, TYPE_OF(TYPE_STRING));
		s.changelog = random_below(2);
		assert_int_equal(partition_schema(p, &s, &e), 0);
		batch_builder_init(&b, &s);
		for (uint32_t r = 0; r < rows; r++) {
			char letter = (char)('a' + random_below(kinds));

			builder_put_int(&b.columns[0], r);
			if (random_below(10))
				builder_put_int(&b.columns[1], random_below(kinds));
			else
				builder_put_null(&b.columns[1]);
			builder_put_float(&b.columns[2], r / 2.0);
			if (random_below(10))
				builder_put_text(&b.columns[3], &letter, 1);
			else
				builder_put_null(&b.columns[3]);
			if (s.changelog)
				buf_put_byte(&b.ops, (uint8_t)random_below(4));
		}
		check_split(p, &s, batch_builder_view(&b));
		batch_builder_clear(&b);
		partition_free(p);
		schema_clear(&s);
	}
}

/* ---- when a part is complete ---- */

struct bench {
	struct output *output;
	struct partition *partition;
	struct parts *parts;
	struct schema schema;
	struct error e;
};

/* Alone, into dir/; columns k and v. */
static void bench_open(struct bench *x, struct parts_options o, const char *partition)
{
	struct output_options output = {.path = "dir/", .extension = "csv", .subtasks = 1,
		.appends = true};

	*x = (struct bench){.e = ERROR_INIT};
	assert_int_equal(output_open(&output, &x->output, &x->e), 0);
	if (partition)
		x->partition = new_partition(partition);
	o.format = "csv";
	o.partition = x->partition;
	x->parts = parts_new(&o, x->output);
	schema_init(&x->schema);
	schema_add(&x->schema, "k", 1, TYPE_OF(TYPE_INT));
	schema_add(&x->schema, "v", 1, TYPE_OF(TYPE_INT));
	assert_int_equal(parts_schema(x->parts, &x->schema, &x->e), 0);
}

static void row(struct bench *x, int64_t k, int64_t v, int64_t now_us)
{
	struct batch_builder b;

	batch_builder_init(&b, &x->schema);
	builder_put_int(&b.columns[0], k);
	builder_put_int(&b.columns[1], v);
	assert_int_equal(parts_rows(x->parts, batch_builder_view(&b), now_us, &x->e), 0);
	batch_builder_clear(&b);
}

static void bench_end(struct bench *x)
{
	struct buf handle = BUF_INIT;

	assert_int_equal(parts_finish(x->parts, &x->e), 0);
	assert_int_equal(output_prepare(x->output, 1, true, &handle, &x->e), 0);
	assert_int_equal(output_commit(x->output, handle.data, handle.len, &x->e), 0);
	parts_free(x->parts);
	output_close(x->output);
	partition_free(x->partition);
	schema_clear(&x->schema);
	buf_clear(&handle);
}

static void assert_files(const char *want)
{
	char *got = files_below("dir");

	assert_string_equal(got, want);
	mem_free(got);
}

static void a_part_is_complete_when_it_is_large_or_old(void **state)
{
	struct bench x;
	int64_t next_us;

	bench_open(&x, (struct parts_options){.roll = {.bytes = 10, .age_us = 1000}}, NULL);
	row(&x, 1, 1, 0);
	row(&x, 1, 2, 500);
	assert_files("");
	row(&x, 1, 3, 600); /* 12 bytes */
	assert_files("part-0-1.csv ");
	assert_holds("dir/part-0-1.csv", "1,1\n1,2\n1,3\n");
	assert_int_equal(parts_tick(x.parts, 5000, &next_us, &x.e), 0);
	assert_int_equal(next_us, -1);
	row(&x, 2, 1, 6000);
	assert_int_equal(parts_tick(x.parts, 6400, &next_us, &x.e), 0);
	assert_int_equal(next_us, 600);
	assert_files("part-0-1.csv ");
	assert_int_equal(parts_tick(x.parts, 7000, &next_us, &x.e), 0);
	assert_int_equal(next_us, -1);
	assert_holds("dir/part-0-2.csv", "2,1\n");
	row(&x, 3, 1, 8000);
	bench_end(&x);
	assert_files("part-0-1.csv part-0-2.csv part-0-3.csv ");
}

static void the_one_that_was_idle_longest_gives_way(void **state)
{
	struct bench x;

	bench_open(&x, (struct parts_options){.open_max = 2, .writer = {.header = true}}, "k");
	row(&x, 1, 10, 0);
	row(&x, 2, 20, 0);
	row(&x, 1, 11, 0);
	row(&x, 3, 30, 0); /* for 2 */
	row(&x, 1, 12, 0);
	row(&x, 2, 21, 0); /* for 3 */
	bench_end(&x);
	assert_files("k=1/part-0-3.csv k=2/part-0-1.csv k=2/part-0-4.csv k=3/part-0-2.csv ");
	assert_holds("dir/k=1/part-0-3.csv", "v\n10\n11\n12\n");
	assert_holds("dir/k=2/part-0-1.csv", "v\n20\n");
	assert_holds("dir/k=2/part-0-4.csv", "v\n21\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_columns_are_refused),
		cmocka_unit_test(columns_that_no_directory_can_be_named_by_are_refused),
		cmocka_unit_test(wrong_rolls_are_refused),
		cmocka_unit_test(text_is_spelt_as_hive_spells_it),
		cmocka_unit_test(other_types_are_their_text),
		cmocka_unit_test(random_rows_are_divided_as_a_plain_model_does),
		ROOM_TEST(a_part_is_complete_when_it_is_large_or_old),
		ROOM_TEST(the_one_that_was_idle_longest_gives_way),
	};

	return cmocka_run_group_tests(tests, rooms_open, rooms_close);
}
