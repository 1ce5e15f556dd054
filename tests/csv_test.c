#include "formats/csv_index.h"
#include "formats/infer.h"
#include "formats/records.h"
#include "libcore/base/arena.h"
#include "libcore/base/cpu.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"
#include "libcore/table/builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* A document goes in, in pieces; rows and refusals come out as text:  [1|null|'a']  {2:3 reason} */
struct given {
	const char *columns; /* a -s text without '*' */
	char delimiter;
	int header;
	bool no_quoted_newlines;
	const char *null;
	bool stops; /* at the first malformed record */
};

struct taken {
	struct buf text;
	struct error e;
	struct batch_builder batch;
};

static void show_rows(struct taken *t)
{
	const struct batch *b = batch_builder_view(&t->batch);

	for (uint32_t r = 0; r < b->rows; r++) {
		buf_put_byte(&t->text, '[');
		for (size_t i = 0; i < b->schema->fields_len; i++) {
			const struct column *c = &b->columns[i];

			buf_put_text(&t->text, i ? "|" : "");
			if (type_is_text(c->type) && column_is_valid(c, r)) {
				struct text_view v = column_text(c, r);

				buf_put_byte(&t->text, '\'');
				buf_put(&t->text, v.text, v.len);
				buf_put_byte(&t->text, '\'');
			} else {
				column_put_text(c, r, 100, &t->text);
			}
		}
		buf_put_byte(&t->text, ']');
	}
	batch_builder_reset(&t->batch);
}

static int take_bad(void *context, const struct bad_record *bad, struct error *e)
{
	struct taken *t = context;

	show_rows(t); /* those before it */
	buf_printf(
		&t->text, "{%llu:%u %s}", (unsigned long long)bad->line, bad->column, bad->reason);
	return 0;
}

/* Parses bytes as a caller with a window would: never more than `piece` new bytes at a time, and
 * `rows_max` records. */
static const char *parse(struct taken *t, const struct given *g, const char *bytes, size_t len,
	size_t piece, uint32_t rows_max)
{
	const char *const nulls[] = {g->null};
	struct reader_options o = {.input = "in.csv",
		.delimiter = g->delimiter,
		.header = (int)g->header,
		.quoted_newlines = !g->no_quoted_newlines,
		.nulls = nulls,
		.nulls_len = g->null ? 1 : 0};
	struct reader *r = csv_reader_new(&o);
	struct arena arena = ARENA_INIT;
	struct schema schema = SCHEMA_INIT;
	struct schema_spec spec;
	struct bad_sink bad = {g->stops ? NULL : take_bad, t};
	size_t from = 0, to = 0;
	int status;

	assert_int_equal(schema_spec_parse(g->columns, &arena, &spec, &t->e), 0);
	for (size_t i = 0; i < spec.len; i++)
		schema_add(&schema, spec.columns[i].name, strlen(spec.columns[i].name),
			spec.columns[i].type);
	batch_builder_init(&t->batch, &schema);
	status = r->ops->want(r, spec.columns, spec.len, &t->e);
	while (!status) {
		size_t consumed = 0;
		uint8_t *window = mem_alloc(to - from); /* so that ASan sees a read behind it */

		if (to > from)
			memcpy(window, bytes + from, to - from);
		status = r->ops->parse(r, window, to - from, to == len, rows_max, t->batch.columns,
			&bad, &consumed, &t->e);
		show_rows(t);
		mem_free(window);
		from += consumed;
		assert_true(from <= to);
		if (to == len && from == to)
			break;
		if (!consumed || from == to) {
			assert_true(to < len || status);
			to = len - to < piece ? len : to + piece;
		}
	}
	if (status)
		buf_printf(&t->text, "!%d %s", t->e.code, t->e.text);
	r->ops->free(r);
	batch_builder_clear(&t->batch);
	schema_clear(&schema);
	arena_clear(&arena);
	return buf_cstr(&t->text);
}

static void forget(struct taken *t)
{
	buf_clear(&t->text);
	*t = (struct taken){.text = BUF_INIT};
}

/* ---- wrong input ---- */

struct csv_case {
	struct given given;
	const char *document;
	const char *result;
};

static void check_cases(const struct csv_case *cases, size_t n, bool split)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(cases[i].document);
		struct taken t = {.text = BUF_INIT};

		assert_string_equal(
			parse(&t, &cases[i].given, cases[i].document, len, len + 1, 1000),
			cases[i].result);
		forget(&t);
		for (size_t piece = 1; split && piece <= len; piece++) {
			assert_string_equal(
				parse(&t, &cases[i].given, cases[i].document, len, piece, 1000),
				cases[i].result);
			forget(&t);
		}
	}
}

#define CHECK_CASES(cases, split) check_cases(cases, sizeof(cases) / sizeof *(cases), split)

static void a_malformed_record_stops_and_says_where_and_why(void **state)
{
	const struct given ab = {.columns = "a int, b string", .stops = true};
	const struct given unread = {.columns = "a int", .stops = true};
	const struct csv_case cases[] = {
		{ab, "a,b\n1,x\nabc,y\n", "[1|'x']!1 in.csv:3:1: 'abc' is not an int (column a)"},
		{ab, "a,b\n1,x,3\n", "!1 in.csv:2:5: 3 fields where the header has 2"},
		{ab, "a,b\n1,x\n2\n", "[1|'x']!1 in.csv:3:1: 1 field where the header has 2"},
		{ab, "a,b\n1,x\"y\n",
			"!1 in.csv:2:4: a quote inside an unquoted field; quote the whole "
			"field and write the quote twice"},
		{unread, "a,b\n1,x\"y\n",
			"!1 in.csv:2:4: a quote inside an unquoted field; quote the "
			"whole field and write the quote twice"},
		{ab, "a,b\n1,\"x\"y\n",
			"!1 in.csv:2:6: text after the closing quote; a quote inside a "
			"quoted field is written \"\""},
		{unread, "a,b\n1,\"x\"y\n",
			"!1 in.csv:2:6: text after the closing quote; a quote inside "
			"a quoted field is written \"\""},
		{ab, "a,b\n1,\"x\n2,y\n",
			"!1 in.csv:2:3: unterminated quote: opened here and never "
			"closed"},
		{ab, "a,b\n99999999999999999999,x\n",
			"!1 in.csv:2:1: '99999999999999999999' is out of "
			"range for int (column a)"},
		{ab, "a,b\n\"1\n\",x\n", "!1 in.csv:2:1: '1\\x0a' is not an int (column a)"},
		{ab, "a,b\n1,\"x\ny\"\n2,\xff\n",
			"[1|'x\ny']!1 in.csv:4:3: '\\xff' is not UTF-8 text "
			"(column b)"},
		{ab, "a,b\n1,\"p\nq\",z\n", "!1 in.csv:3:4: 3 fields where the header has 2"},
		{ab, "a,\"b\n", "!1 in.csv:1:3: unterminated quote: opened here and never closed"},
		{ab, "a,c\n1,2\n", "!2 in.csv has no column 'b'\nthe columns are: a, c"},
		{{.columns = "a int, b string", .stops = true, .header = HEADER_NO}, "1\n",
			"!2 in.csv has no column 'b'\nwithout a header the columns are c1 to c1"},
		{{.columns = "a int, b string", .stops = true, .no_quoted_newlines = true},
			"a,b\n1,\"x\ny\"\n",
			"!1 in.csv:2:3: a quoted field isn't closed on its line "
			"(--quoted-newlines no)"},
		{{.columns = "a decimal(4,2)", .stops = true}, "a\n1.234\n",
			"!1 in.csv:2:1: '1.234' has more digits than decimal(4,2) (column a)"},
		{{.columns = "a timestamp(ms)", .stops = true}, "a\n2013-01-01\n",
			"!1 in.csv:2:1: "
			"'2013-01-01' is not an integer, as its timestamp unit asks for (column "
			"a)"},
	};

	CHECK_CASES(cases, true);
}

static void a_skipped_record_leaves_its_neighbours_alone(void **state)
{
	const struct given ab = {.columns = "a int, b string"};
	const struct csv_case cases[] = {
		{ab, "a,b\nx,1\n", "{2:1 'x' is not an int (column a)}"},
		{ab, "a,b\n1,\"x\n2,y\n",
			"{2:3 unterminated quote: opened here and never closed}[2|'y']"},
		{ab, "a,b\n1,a\"b\n2,y\n",
			"{2:4 a quote inside an unquoted field; quote the whole field and write "
			"the quote "
			"twice}[2|'y']"},
		{{.columns = "a int, b string", .no_quoted_newlines = true}, "a,b\n1,\"x\n2,y\n",
			"{2:3 a quoted field isn't closed on its line (--quoted-newlines "
			"no)}[2|'y']"},
	};

	CHECK_CASES(cases, false);
}

/* ---- right input ---- */

static void values_nulls_quotes_and_line_ends_are_taken(void **state)
{
	const struct given ab = {.columns = "a int, b string"};
	const struct given na = {.columns = "a int, b string", .null = "NA"};
	const struct csv_case cases[] = {
		{ab, "", ""},
		{ab, "a,b\n", ""},
		{ab, "a,b", ""},
		{ab, "a,b\n1,x", "[1|'x']"},
		{ab, "a,b\r\n1,x\r\n2,\r\n", "[1|'x'][2|null]"},
		{ab, "a,b\r\n1,\"x\"\r\n2,\"\"\r", "[1|'x'][2|'']"},
		{ab,
			"\xef\xbb\xbf"
			"a,b\n1,x\n",
			"[1|'x']"},
		{ab, "\n\r\na,b\n\n1,x\n\r\n\n2,y\n\n", "[1|'x'][2|'y']"},
		{ab, "b,z,a\nx,,1\n,q,\n", "[1|'x'][null|null]"},
		{ab, "\"a\",\"b\"\n\"1\",\"x \"\"y\"\", z\"\n", "[1|'x \"y\", z']"},
		{ab, "a,b\n1,\"\"\"\"\n2,\"p\nq\"\n", "[1|'\"'][2|'p\nq']"},
		{ab, "a,b\n-9223372036854775808,x\n+7,y\n007,z\n",
			"[-9223372036854775808|'x'][7|'y'][7|'z']"},
		{ab, "a,b\n12345678,x\n123456789,x\n1234567890123456,x\n-123456789012345,x\n",
			"[12345678|'x'][123456789|'x'][1234567890123456|'x'][-123456789012345|'x'"
			"]"},
		{na, "a,b\nNA,NA\n\"NA\",\"NA\"\n,\"\"\n", "[null|null][null|'NA'][null|'']"},
		{{.columns = "a int, a_2 int"}, "a,a\n1,2\n", "[1|2]"},
		{{.columns = "c1 int, b string"}, ",b\n1,2\n", "[1|'2']"},
		{{.columns = "c2 int"}, "1,2\n3,4\n", "[2][4]"},
		{{.columns = "x int, y int", .header = HEADER_NO}, "1,2\n3,4\n", "[1|2][3|4]"},
		{{.columns = "a string"}, "a\n\nx\n\n", "[null]['x'][null]"},
		{{.columns = "a int, b string", .delimiter = ';'}, "a;b\n1;x,y\n", "[1|'x,y']"},
		{{.columns = "b bool, f float, d date"}, "b,f,d\ntrue,1.5,2013-01-31\nF,nan,\n",
			"[true|1.5|2013-01-31][false|nan|null]"},
		{{.columns = "t timestamp, u timestamp(s), v timestamp(ns), w decimal(6,2)"},
			"t,u,v,w\n2013-01-01 10:00,1,-1,1.5\n",
			"[2013-01-01T10:00:00Z|1970-01-01T00:00:01Z|1969-12-31T23:59:59.999999Z|1."
			"50]"},
	};

	CHECK_CASES(cases, true);
}

/* ---- random tables, written by the simplest writer there is ---- */

struct table {
	struct buf document, expected;
};

static void put_random_text(struct buf *document, struct buf *expected)
{
	static const char *const pieces[] = {"a", "bc", ",", "\"", "\n", "\r\n", "\xc3\xa9", "",
		"a longer piece of text so that blocks of sixty-four bytes are crossed now and then"};
	struct buf text = BUF_INIT;

	for (int n = rand() % 5; n; n--)
		buf_put_text(&text, pieces[rand() % 9]);
	buf_put_byte(document, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '"')
			buf_put_byte(document, '"');
		buf_put_byte(document, text.data[i]);
	}
	buf_put_byte(document, '"');
	buf_put_byte(expected, '\'');
	buf_put(expected, text.data, text.len);
	buf_put_byte(expected, '\'');
	buf_clear(&text);
}

static void put_random_row(struct table *t, unsigned quoted_percent)
{
	long long number = (long long)rand() * (rand() % 2 ? rand() : 1) * (rand() % 2 ? 1 : -1);

	buf_put_byte(&t->expected, '[');
	if (rand() % 10) {
		buf_printf(&t->document, "%lld,", number);
		buf_printf(&t->expected, "%lld|", number);
	} else {
		buf_put_text(&t->document, ",");
		buf_put_text(&t->expected, "null|");
	}
	if ((unsigned)rand() % 100 < quoted_percent) {
		put_random_text(&t->document, &t->expected);
	} else {
		int len = 1 + rand() % 90;

		buf_put_byte(&t->expected, '\'');
		for (int i = 0; i < len; i++) {
			buf_put_byte(&t->document, (uint8_t)('a' + i % 26));
			buf_put_byte(&t->expected, (uint8_t)('a' + i % 26));
		}
		buf_put_byte(&t->expected, '\'');
	}
	buf_put_text(&t->document, rand() % 2 ? "\n" : "\r\n");
	buf_put_byte(&t->expected, ']');
}

static void random_tables_come_back_however_they_are_cut(void **state)
{
	static const unsigned quoted[] = {0, 1, 30, 100};
	const struct given g = {.columns = "a int, b string"};
	unsigned seed = (unsigned)time(NULL);

	print_message("seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 60; round++) {
		struct table t = {.document = BUF_INIT, .expected = BUF_INIT};

		buf_put_text(&t.document, "a,b\n");
		for (int rows = rand() % 3000; rows; rows--)
			put_random_row(&t, quoted[round % 4]);
		for (int portable = 0; portable < 2; portable++) {
			size_t piece = 1000 + (size_t)rand() % (t.document.len + 1);
			struct taken taken = {.text = BUF_INIT};

			cpu_force_portable(portable);
			parse(&taken, &g, (const char *)t.document.data, t.document.len, piece,
				1 + (uint32_t)rand() % 5000);
			assert_string_equal(buf_cstr(&taken.text), buf_cstr(&t.expected));
			forget(&taken);
		}
		cpu_force_portable(false);
		buf_clear(&t.document);
		buf_clear(&t.expected);
	}
}

/* Two equal rows, or two refusals. */
static void check_number_rows(struct taken *t, bool good, bool has_int, int64_t whole, double real)
{
	struct column_builder f;
	struct column c;
	struct buf row = BUF_INIT;

	if (!good) {
		assert_non_null(strstr(buf_cstr(&t->text), "{2:"));
		assert_non_null(strstr(buf_cstr(&t->text), "{3:"));
		return;
	}
	builder_init(&f, TYPE_OF(TYPE_FLOAT));
	builder_put_float(&f, real);
	c = builder_column(&f);
	for (int i = 0; i < 2; i++) {
		if (has_int)
			buf_printf(&row, "[%lld|", (long long)whole);
		else
			buf_put_text(&row, "[null|");
		column_put_text(&c, 0, 100, &row);
		buf_put_text(&row, "]");
	}
	assert_string_equal(buf_cstr(&t->text), buf_cstr(&row));
	builder_clear(&f);
	buf_clear(&row);
}

/* The short ways against the long one. */
static void numbers_are_what_their_parsers_say(void **state)
{
	static const char alphabet[] = "0123456789012345678901234567890.-+eEn";
	unsigned seed = (unsigned)time(NULL);

	print_message("seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 20000; round++) {
		const struct given g = {.columns = "i int, f float"};
		size_t len = 1 + (size_t)rand() % (round % 2 ? 8 : 20);
		char field[24];
		struct taken t = {.text = BUF_INIT};
		struct buf document = BUF_INIT;
		bool has_float, has_int;
		int64_t whole = 0;
		double real = 0;

		for (size_t i = 0; i < len; i++)
			field[i] =
				alphabet[(size_t)rand() % (rand() % 4 ? 20 : sizeof alphabet - 1)];
		field[len] = 0;
		has_float = float_parse(field, len, FLOAT_WORDS, &real) == NUMBER_OK;
		has_int = int_parse(field, len, &whole) == NUMBER_OK;
		buf_printf(&document, "i,f,t\n%s,%s,\n%s,%s,behind so many bytes as may be read\n",
			has_int ? field : "", field, has_int ? field : "", field);
		parse(&t, &g, (const char *)document.data, document.len, 1000, 1000);
		check_number_rows(&t, has_float, has_int, whole, real);
		forget(&t);
		buf_clear(&document);
	}
}

static void avx2_and_portable_code_find_the_same_structure(void **state)
{
	static const char alphabet[] = "ab,,\"\"\n\r\xc3x";
	struct csv_index a, b;
	unsigned seed = (unsigned)time(NULL);

	print_message("seed %u\n", seed);
	srand(seed);
	csv_index_init(&a);
	csv_index_init(&b);
	for (int round = 0; round < 3000; round++) {
		uint8_t bytes[700];
		size_t len = (size_t)rand() % sizeof bytes;
		struct csv_dialect d = {',', rand() % 2};
		bool last = rand() % 2;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)alphabet[(size_t)rand() % (rand() % 2 ? 3 : 10)];
		csv_index_scan(&a, bytes, len, last, d, 100);
		cpu_force_portable(true);
		csv_index_scan(&b, bytes, len, last, d, 100);
		cpu_force_portable(false);
		assert_int_equal(a.rows_len, b.rows_len);
		assert_int_equal(a.ends_len, b.ends_len);
		assert_int_equal(a.broken, b.broken);
		assert_int_equal(a.ascii, b.ascii);
		assert_memory_equal(a.rows, b.rows, a.rows_len * sizeof *a.rows);
		assert_memory_equal(a.ends - 1, b.ends - 1, (a.ends_len + 1) * sizeof *a.ends);
	}
	csv_index_clear(&a);
	csv_index_clear(&b);
}

static void a_record_over_64_MiB_is_refused_and_passed_over(void **state)
{
	const struct given g = {.columns = "a int, b string"};
	size_t len = (64 << 20) + 100;
	struct buf document = BUF_INIT;
	struct taken t = {.text = BUF_INIT};

	buf_put_text(&document, "a,b\n1,");
	memset(buf_reserve(&document, len), 'x', len);
	document.len += len;
	buf_put_text(&document, "\n2,y\n");
	parse(&t, &g, (const char *)document.data, document.len, document.len, 10);
	assert_string_equal(buf_cstr(&t.text), "{2:1 the record is longer than 64 MiB}[2|'y']");
	forget(&t);
	parse(&t, &g, (const char *)document.data, document.len, (64 << 20) + 50, 10);
	assert_string_equal(buf_cstr(&t.text),
		"{2:1 the record is longer than 64 MiB; is a quote never closed?}[2|'y']");
	forget(&t);
	buf_clear(&document);
}

/* ---- inference ---- */

static void types_are_the_narrowest_that_fit(void **state)
{
	static const struct {
		const char *values; /* separated by spaces */
		const char *type;
	} cases[] = {
		{"", "string"},
		{"1 -2 0", "int"},
		{"1 2.5", "float"},
		{"1e3", "float"},
		{"01", "string"},
		{"-01", "string"},
		{"0.5", "float"},
		{"00.5", "string"},
		{"+1", "string"},
		{"99999999999999999999", "string"},
		{"true FALSE", "bool"},
		{"true 1", "string"},
		{"2013-01-31", "date"},
		{"2013-01-31 2013-01-31T10:00:00Z", "timestamp"},
		{"2013-02-30", "string"},
		{"2013-01-31 5", "string"},
		{"nan", "string"},
		{"nan 1", "float"},
		{"inf 1.5 -nan", "float"},
		{"x 1", "string"},
		{"1 x", "string"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct infer infer = INFER_INIT;
		struct buf name = BUF_INIT;
		const char *at = cases[i].values;

		while (*at) {
			size_t len = strcspn(at, " ");

			infer_text(&infer, at, len);
			at += len + (at[len] == ' ');
		}
		type_put(infer_type(&infer), &name);
		assert_string_equal(buf_cstr(&name), cases[i].type);
		buf_clear(&name);
	}
}

static void a_schema_text_says_where_it_is_wrong(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"", "-s: a column name is expected at byte 1"},
		{"a int,", "-s: a column name is expected at byte 7"},
		{"a int b", NULL},
		{"\"a int", "-s: a quote that is never closed at byte 7"},
		{"a int, b int as a", "-s: two columns are called 'a'; write '... as another'"},
		{"a-b int", NULL},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct arena arena = ARENA_INIT;
		struct error e = ERROR_INIT;
		struct schema_spec spec;

		assert_int_equal(schema_spec_parse(cases[i].text, &arena, &spec, &e), -1);
		assert_int_equal(e.code, ERROR_USAGE);
		if (cases[i].error) {
			e.text[strcspn(e.text, "\n")] = 0;
			assert_string_equal(e.text, cases[i].error);
		}
		arena_clear(&arena);
	}
}

static void a_schema_text_is_columns_in_order(void **state)
{
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	struct schema_spec s;

	assert_int_equal(
		schema_spec_parse(
			"auction int, \"src.ip\" string, a.b float as ab, "
			"at TIMESTAMP(ms), d decimal(10, 2), \"q\"\"q\", last date as \"l st\", *",
			&arena, &s, &e),
		0);
	assert_true(s.star);
	assert_int_equal(s.len, 7);
	assert_string_equal(s.columns[1].name, "src.ip");
	assert_int_equal(s.columns[1].path_len, 1);
	assert_string_equal(s.columns[2].name, "ab");
	assert_int_equal(s.columns[2].path_len, 2);
	assert_int_equal(s.columns[3].unit, TIME_MS);
	assert_int_equal(s.columns[4].type.scale, 2);
	assert_string_equal(s.columns[5].name, "q\"q");
	assert_int_equal(s.columns[5].type.kind, 0);
	assert_string_equal(s.columns[6].name, "l st");
	arena_clear(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_malformed_record_stops_and_says_where_and_why),
		cmocka_unit_test(a_skipped_record_leaves_its_neighbours_alone),
		cmocka_unit_test(values_nulls_quotes_and_line_ends_are_taken),
		cmocka_unit_test(random_tables_come_back_however_they_are_cut),
		cmocka_unit_test(numbers_are_what_their_parsers_say),
		cmocka_unit_test(avx2_and_portable_code_find_the_same_structure),
		cmocka_unit_test(a_record_over_64_MiB_is_refused_and_passed_over),
		cmocka_unit_test(types_are_the_narrowest_that_fit),
		cmocka_unit_test(a_schema_text_says_where_it_is_wrong),
		cmocka_unit_test(a_schema_text_is_columns_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
