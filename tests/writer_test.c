#include "formats/writer.h"
#include "libcore/base/civil.h"
#include "libcore/base/cpu.h"
#include "libcore/base/memory.h"
#include "libcore/table/builder.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* One column of a few values, as every format puts it. */
struct value_case {
	struct type type;
	int64_t number;      /* of kinds of fixed width but float */
	double real;
	const char *text;    /* string, bytes; any: a JSON text's msgpack */
	size_t len;
	const char *json, *csv;
};

#define BYTES(text) text, sizeof(text) - 1
#define NUMBER(k, n, j, c) {.type = {.kind = k}, .number = n, .json = j, .csv = c}
#define DECIMAL(s, n, j) {.type = {.kind = TYPE_DECIMAL, .precision = 38, .scale = s}, .number = n, \
	.json = j, .csv = j}
#define FLOAT(r, j, c) {.type = {.kind = TYPE_FLOAT}, .real = r, .json = j, .csv = c}
#define TEXT(k, t, j, c) {.type = {.kind = k}, .text = t, .len = sizeof(t) - 1, .json = j, .csv = c}

static const struct value_case value_cases[] = {
	NUMBER(TYPE_BOOL, 1, "true", "true"),
	NUMBER(TYPE_BOOL, 0, "false", "false"),
	NUMBER(TYPE_INT, 0, "0", "0"),
	NUMBER(TYPE_INT, INT64_MIN, "-9223372036854775808", "-9223372036854775808"),
	NUMBER(TYPE_INT, INT64_MAX, "9223372036854775807", "9223372036854775807"),
	NUMBER(TYPE_DATE, -1, "\"1969-12-31\"", "1969-12-31"),
	NUMBER(TYPE_TIMESTAMP, 0, "\"1970-01-01T00:00:00Z\"", "1970-01-01T00:00:00Z"),
	NUMBER(TYPE_TIMESTAMP, -250000, "\"1969-12-31T23:59:59.750Z\"", "1969-12-31T23:59:59.750Z"),
	NUMBER(TYPE_DURATION, 90000000, "\"1m30s\"", "1m30s"),
	DECIMAL(2, -5, "-0.05"),
	DECIMAL(0, 7, "7"),
	DECIMAL(38, 1, "0.00000000000000000000000000000000000001"),
	FLOAT(1.0, "1.0", "1.0"),
	FLOAT(0.1, "0.1", "0.1"),
	FLOAT(-2.2250738585072014e-308, "-2.2250738585072014e-308", "-2.2250738585072014e-308"),
	FLOAT(NAN, "null", "nan"),
	FLOAT(-INFINITY, "null", "-inf"),
	TEXT(TYPE_STRING, "", "\"\"", "\"\""),
	TEXT(TYPE_STRING, "plain", "\"plain\"", "plain"),
	TEXT(TYPE_STRING, "a,b", "\"a,b\"", "\"a,b\""),
	TEXT(TYPE_STRING, "a\"b\\", "\"a\\\"b\\\\\"", "\"a\"\"b\\\""),
	TEXT(TYPE_STRING, "a\nb", "\"a\\nb\"", "\"a\nb\""),
	TEXT(TYPE_STRING, "\r", "\"\\r\"", "\"\r\""),
	TEXT(TYPE_STRING, "\0\x1f\x7f\b\f\t", "\"\\u0000\\u001f\x7f\\b\\f\\t\"", NULL),
	TEXT(TYPE_STRING, "é日😀", "\"é日😀\"", "é日😀"),
	TEXT(TYPE_BYTES, "\x00\xff\x10", "\"AP8Q\"", "AP8Q"),
	TEXT(TYPE_BYTES, "", "\"\"", "\"\""),
	TEXT(TYPE_BYTES, "f", "\"Zg==\"", "Zg=="),
	TEXT(TYPE_ANY, "\xc0", "null", "null"),
	TEXT(TYPE_ANY, "\x92\x01\xa1x", "[1,\"x\"]", "\"[1,\"\"x\"\"]\""),
	TEXT(TYPE_ANY, "\x81\xa1k\xc3", "{\"k\":true}", "\"{\"\"k\"\":true}\""),
	/* a key that is a map whose key is a map ...: five deep, of quotes */
	TEXT(TYPE_ANY, "\x81\x81\x81\x81\x81\xa4\"\"\"\"\x01\x01\x01\x01\x01",
		"{\"{\\\"{\\\\\\\"{\\\\\\\\\\\\\\\"gaQiIiIiAQ==\\\\\\\\\\\\\\\":1}\\\\\\\":1}\\\":1}\":1}", NULL),
};

static void put_case(struct column_builder *b, const struct value_case *c)
{
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: builder_put_bool(b, c->number != 0); return;
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: builder_put_int(b, c->number); return;
	case TYPE_FLOAT: builder_put_float(b, c->real); return;
	case TYPE_DECIMAL: builder_put_decimal(b, c->number); return;
	case TYPE_DATE: builder_put_date(b, (int32_t)c->number); return;
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: builder_put_text(b, c->text, c->len); return;
	}
}

/* Everything a writer of this format says to a batch; to be freed. */
static char *written(const char *format, struct writer_options o, const struct batch *b, size_t *len)
{
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;
	struct writer *w;
	char *text;

	assert_int_equal(writer_new(format, &o, &w, &e), 0);
	if (writer_schema(w, b->schema, &out, &e) < 0 || writer_rows(w, b, &out, &e) < 0 ||
		writer_end(w, &out, &e) < 0)
		fail_msg("%s", e.text);
	writer_free(w);
	buf_put_byte(&out, '\0');
	text = (char *)buf_take(&out, len);
	(*len)--;
	return text;
}

static void assert_written(const char *format, struct writer_options o, const struct batch *b,
	const char *want)
{
	size_t len;
	char *got = written(format, o, b, &len);

	assert_string_equal(got, want);
	mem_free(got);
}

static void assert_packed(const struct batch *b, const char *want, size_t want_len)
{
	size_t len;
	char *got = written("msgpack", (struct writer_options){0}, b, &len);

	assert_int_equal(len, want_len);
	assert_memory_equal(got, want, len);
	mem_free(got);
}

static void every_type_has_its_form_in_msgpack(void **state)
{
	static const struct {
		struct value_case value;
		const char *want;
		size_t len;
	} cases[] = {
		{NUMBER(TYPE_BOOL, 1, NULL, NULL), BYTES("\xc3")},
		{NUMBER(TYPE_INT, -1, NULL, NULL), BYTES("\xff")},
		{NUMBER(TYPE_INT, INT64_MIN, NULL, NULL), BYTES("\xd3\x80\0\0\0\0\0\0\0")},
		{FLOAT(1.5, NULL, NULL), BYTES("\xcb\x3f\xf8\0\0\0\0\0\0")},
		{DECIMAL(2, -5, NULL), BYTES("\xa5-0.05")},
		{NUMBER(TYPE_DATE, -1, NULL, NULL), BYTES("\xaa" "1969-12-31")},
		{NUMBER(TYPE_TIMESTAMP, 1000000, NULL, NULL), BYTES("\xd6\xff\0\0\0\1")},
		{NUMBER(TYPE_DURATION, 90000000, NULL, NULL), BYTES("\xce\x05\x5d\x4a\x80")},
		{TEXT(TYPE_STRING, "x", NULL, NULL), BYTES("\xa1x")},
		{TEXT(TYPE_BYTES, "\0\xff", NULL, NULL), BYTES("\xc4\x02\0\xff")},
		{TEXT(TYPE_ANY, "\x92\x01\xa1x", NULL, NULL), BYTES("\x92\x01\xa1x")},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct schema s = SCHEMA_INIT;
		struct buf want = BUF_INIT;
		struct batch_builder b;

		schema_add(&s, "v", 1, cases[i].value.type);
		batch_builder_init(&b, &s);
		put_case(&b.columns[0], &cases[i].value);
		builder_put_null(&b.columns[0]);
		buf_put(&want, "\x81\xa1v", 3);
		buf_put(&want, cases[i].want, cases[i].len);
		buf_put(&want, "\x81\xa1v\xc0", 4);
		assert_packed(batch_builder_view(&b), (const char *)want.data, want.len);
		buf_clear(&want);
		batch_builder_clear(&b);
		schema_clear(&s);
	}
}

/* An array is one even if nothing came, if its rows came in pieces, and over a new start. */
static void json_is_one_array(void **state)
{
	struct writer_options o = {0};
	struct schema s = SCHEMA_INIT;
	struct buf out = BUF_INIT;
	struct error e = ERROR_INIT;
	struct batch_builder b;
	struct writer *w;

	for (int schemas = 0; schemas < 2; schemas++) {
		assert_int_equal(writer_new("json", &o, &w, &e), 0);
		if (schemas)
			assert_int_equal(writer_schema(w, &s, &out, &e), 0);
		assert_int_equal(writer_end(w, &out, &e), 0);
		writer_free(w);
	}
	assert_string_equal(buf_cstr(&out), "[\n]\n[\n]\n");
	buf_reset(&out);
	schema_add(&s, "a", 1, TYPE_OF(TYPE_INT));
	batch_builder_init(&b, &s);
	builder_put_int(&b.columns[0], 1);
	for (int rows = 0; rows < 2; rows++) {
		assert_int_equal(writer_new("json", &o, &w, &e), 0);
		assert_int_equal(writer_resume(w, &s, rows > 0, &e), 0);
		for (int i = 0; i < 2; i++)
			assert_int_equal(writer_rows(w, batch_builder_view(&b), &out, &e), 0);
		assert_int_equal(writer_end(w, &out, &e), 0);
		writer_free(w);
	}
	assert_string_equal(buf_cstr(&out),
		"{\"a\":1},\n{\"a\":1}\n]\n,\n{\"a\":1},\n{\"a\":1}\n]\n");
	buf_clear(&out);
	batch_builder_clear(&b);
	schema_clear(&s);
}

static void every_type_is_put_as_documented(void **state)
{
	for (size_t i = 0; i < COUNT(value_cases); i++) {
		const struct value_case *c = &value_cases[i];
		struct schema s = SCHEMA_INIT;
		struct batch_builder b;
		char want[256];

		schema_add(&s, "v", 1, c->type);
		batch_builder_init(&b, &s);
		put_case(&b.columns[0], c);
		builder_put_null(&b.columns[0]);
		put_case(&b.columns[0], c);
		snprintf(want, sizeof want, "{\"v\":%s}\n{\"v\":null}\n{\"v\":%s}\n", c->json, c->json);
		assert_written("ndjson", (struct writer_options){0}, batch_builder_view(&b), want);
		if (c->csv) {
			snprintf(want, sizeof want, "v\n%s\n\n%s\n", c->csv, c->csv);
			assert_written("csv", (struct writer_options){.header = true},
				batch_builder_view(&b), want);
		}
		batch_builder_clear(&b);
		schema_clear(&s);
	}
}

static void every_type_is_put_by_portable_code_too(void **state)
{
	cpu_force_portable(true);
	every_type_is_put_as_documented(state);
	cpu_force_portable(false);
}

static void an_unknown_format_is_refused_with_a_suggestion(void **state)
{
	struct error e = ERROR_INIT;
	struct writer *w;

	assert_int_equal(writer_new("cvs", &(struct writer_options){0}, &w, &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_non_null(strstr(e.text, "did you mean csv?"));
	error_clear(&e);
	assert_int_equal(writer_new("parquet", &(struct writer_options){0}, &w, &e), -1);
	assert_non_null(strstr(e.text, "there are csv"));
	error_clear(&e);
}

static void csv_refuses_other_columns_in_mid_stream(void **state)
{
	struct schema a = SCHEMA_INIT, b = SCHEMA_INIT, same = SCHEMA_INIT;
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;
	struct writer *w;

	schema_add(&a, "x", 1, TYPE_OF(TYPE_INT));
	schema_add(&same, "x", 1, TYPE_OF(TYPE_FLOAT));
	schema_add(&b, "y", 1, TYPE_OF(TYPE_INT));
	assert_int_equal(writer_new("csv", &(struct writer_options){.header = true}, &w, &e), 0);
	assert_int_equal(writer_schema(w, &a, &out, &e), 0);
	assert_int_equal(writer_schema(w, &same, &out, &e), 0);
	assert_string_equal(buf_cstr(&out), "x\n");
	assert_int_equal(writer_schema(w, &b, &out, &e), -1);
	assert_int_equal(e.code, ERROR_DATA);
	error_clear(&e);
	writer_free(w);
	buf_clear(&out);
	schema_clear(&a);
	schema_clear(&b);
	schema_clear(&same);
}

static void lines_takes_one_string_column_only(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;
	struct batch_builder b;
	struct writer *w;

	schema_add(&s, "x", 1, TYPE_OF(TYPE_INT));
	assert_int_equal(writer_new("lines", &(struct writer_options){0}, &w, &e), 0);
	assert_int_equal(writer_schema(w, &s, &out, &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	error_clear(&e);
	writer_free(w);
	buf_clear(&out);
	schema_clear(&s);
	schema_init(&s);
	schema_add(&s, "x", 1, TYPE_OF(TYPE_STRING));
	batch_builder_init(&b, &s);
	builder_put_text(&b.columns[0], "a \"b\"", 5);
	builder_put_null(&b.columns[0]);
	assert_written("lines", (struct writer_options){0}, batch_builder_view(&b), "a \"b\"\n\n");
	batch_builder_clear(&b);
	schema_clear(&s);
}

static void a_changelog_has_op_first(void **state)
{
	static const uint8_t ops[] = {ROW_INSERT, ROW_UPDATE_BEFORE, ROW_UPDATE_AFTER, ROW_DELETE};
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;

	schema_add(&s, "n", 1, TYPE_OF(TYPE_INT));
	s.changelog = true;
	batch_builder_init(&b, &s);
	for (size_t i = 0; i < COUNT(ops); i++) {
		builder_put_int(&b.columns[0], (int64_t)i);
		buf_put_byte(&b.ops, ops[i]);
	}
	assert_written("ndjson", (struct writer_options){0}, batch_builder_view(&b),
		"{\"op\":\"+I\",\"n\":0}\n{\"op\":\"-U\",\"n\":1}\n"
		"{\"op\":\"+U\",\"n\":2}\n{\"op\":\"-D\",\"n\":3}\n");
	assert_written("json", (struct writer_options){0}, batch_builder_view(&b),
		"[\n{\"op\":\"+I\",\"n\":0},\n{\"op\":\"-U\",\"n\":1},\n"
		"{\"op\":\"+U\",\"n\":2},\n{\"op\":\"-D\",\"n\":3}\n]\n");
	assert_packed(batch_builder_view(&b),
		BYTES("\x82\xa2op\xa2+I\xa1n\x00" "\x82\xa2op\xa2-U\xa1n\x01"
		"\x82\xa2op\xa2+U\xa1n\x02" "\x82\xa2op\xa2-D\xa1n\x03"));
	assert_written("tsv", (struct writer_options){.header = true}, batch_builder_view(&b),
		"op\tn\n+I\t0\n-U\t1\n+U\t2\n-D\t3\n");
	assert_written("table", (struct writer_options){0}, batch_builder_view(&b),
		"op  n\n──  ─\n+I  0\n-U  1\n+U  2\n-D  3\n");
	batch_builder_clear(&b);
	schema_clear(&s);
}

static void names_are_escaped_like_values(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;

	schema_add(&s, "a\"\n", 3, TYPE_OF(TYPE_INT));
	schema_add(&s, "b;", 2, TYPE_OF(TYPE_INT));
	batch_builder_init(&b, &s);
	builder_put_int(&b.columns[0], 1);
	builder_put_int(&b.columns[1], 2);
	assert_written("ndjson", (struct writer_options){0}, batch_builder_view(&b),
		"{\"a\\\"\\n\":1,\"b;\":2}\n");
	assert_written("csv", (struct writer_options){.header = true, .delimiter = ';'},
		batch_builder_view(&b), "\"a\"\"\n\";\"b;\"\n1;2\n");
	assert_written("table", (struct writer_options){0}, batch_builder_view(&b),
		"a\"   b;\n───  ──\n  1   2\n");
	batch_builder_clear(&b);
	schema_clear(&s);
}

static void a_table_fits_the_terminal_and_counts_wide_characters(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;

	schema_add(&s, "a", 1, TYPE_OF(TYPE_STRING));
	schema_add(&s, "b", 1, TYPE_OF(TYPE_INT));
	batch_builder_init(&b, &s);
	builder_put_text(&b.columns[0], "日本語日本語", 18);
	builder_put_int(&b.columns[1], 1);
	builder_put_text(&b.columns[0], "0123456789", 10);
	builder_put_int(&b.columns[1], -20);
	assert_written("table", (struct writer_options){.columns_max = 12}, batch_builder_view(&b),
		"a          b\n───────  ───\n日本語…    1\n012345…  -20\n");
	batch_builder_clear(&b);
	schema_clear(&s);
}

static void a_table_flows_once_its_widths_are_settled(void **state)
{
	struct schema s = SCHEMA_INIT;
	struct error e = ERROR_INIT;
	struct buf out = BUF_INIT;
	struct batch_builder b;
	struct writer *w;
	size_t len;

	schema_add(&s, "n", 1, TYPE_OF(TYPE_INT));
	batch_builder_init(&b, &s);
	for (int64_t i = 0; i < 999; i++)
		builder_put_int(&b.columns[0], i);
	assert_int_equal(writer_new("table", &(struct writer_options){0}, &w, &e), 0);
	assert_int_equal(writer_schema(w, &s, &out, &e), 0);
	assert_int_equal(writer_rows(w, batch_builder_view(&b), &out, &e), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(writer_rows(w, batch_builder_view(&b), &out, &e), 0);
	len = out.len;
	assert_true(len > 0);
	batch_builder_reset(&b);
	builder_put_int(&b.columns[0], 123456);
	assert_int_equal(writer_rows(w, batch_builder_view(&b), &out, &e), 0);
	assert_string_equal(buf_cstr(&out) + len, "12…\n");
	writer_free(w);
	buf_clear(&out);
	batch_builder_clear(&b);
	schema_clear(&s);
}

/* ---- random text against the plainest code there is ---- */

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void plain_json(const uint8_t *text, size_t len, struct buf *out)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";

	buf_put_text(out, "{\"s\":\"");
	for (size_t i = 0; i < len; i++) {
		const char *at = text[i] ? strchr(from, text[i]) : NULL;

		if (at)
			buf_printf(out, "\\%c", to[at - from]);
		else if (text[i] < 0x20)
			buf_printf(out, "\\u%04x", text[i]);
		else
			buf_put_byte(out, text[i]);
	}
	buf_put_text(out, "\"}\n");
}

static void plain_csv(const uint8_t *text, size_t len, struct buf *out)
{
	bool quoted = !len;

	for (size_t i = 0; i < len; i++)
		quoted |= text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r';
	if (quoted)
		buf_put_byte(out, '"');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"')
			buf_put_byte(out, '"');
		buf_put_byte(out, text[i]);
	}
	buf_put_text(out, quoted ? "\"\n" : "\n");
}

static uint8_t random_byte(unsigned dense)
{
	static const uint8_t special[] = {'"', '\\', '\n', '\r', ',', 0, 1, 0x1f, 0x20, 0x7f, 0x80, 0xff};

	return next_random() % 100 < dense ? special[next_random() % sizeof special] :
		(uint8_t)('a' + next_random() % 26);
}

/* The column's bytes end where their allocation does, so that a sanitizer sees a step too far. */
static void check_random_texts(void)
{
	enum { ROWS = 40, LEN_MAX = 100 };
	uint32_t offsets[ROWS + 1] = {0};
	struct buf json = BUF_INIT, csv = BUF_INIT;
	struct schema s = SCHEMA_INIT;
	struct column c = {.type = TYPE_OF(TYPE_STRING), .offsets = offsets};
	struct batch b = {.schema = &s, .rows = ROWS, .columns = &c};
	unsigned dense = (unsigned)(next_random() % 3) * 30;
	uint8_t *bytes;
	char *got;
	size_t len;

	for (size_t i = 0; i < ROWS; i++)
		offsets[i + 1] = offsets[i] + (uint32_t)(next_random() % LEN_MAX);
	bytes = mem_alloc(offsets[ROWS]);
	for (size_t i = 0; i < offsets[ROWS]; i++)
		bytes[i] = random_byte(dense);
	c.bytes = bytes;
	schema_add(&s, "s", 1, c.type);
	for (size_t i = 0; i < ROWS; i++) {
		plain_json(bytes + offsets[i], offsets[i + 1] - offsets[i], &json);
		plain_csv(bytes + offsets[i], offsets[i + 1] - offsets[i], &csv);
	}
	got = written("ndjson", (struct writer_options){0}, &b, &len);
	assert_int_equal(len, json.len);
	assert_memory_equal(got, json.data, len);
	mem_free(got);
	got = written("csv", (struct writer_options){0}, &b, &len);
	assert_int_equal(len, csv.len);
	assert_memory_equal(got, csv.data, len);
	mem_free(got);
	mem_free(bytes);
	buf_clear(&json);
	buf_clear(&csv);
	schema_clear(&s);
}

static int64_t random_time(int64_t before)
{
	switch (next_random() % 5) {
	case 0: return (int64_t)next_random();
	case 1: return before % CIVIL_US_SECOND ? before - before % CIVIL_US_SECOND : before + 1000;
	case 2: return before / CIVIL_US_DAY * CIVIL_US_DAY - (int64_t)(next_random() % 2);
	case 3: return (int64_t)(next_random() % 2000000) * CIVIL_US_DAY - TIMESTAMP_TEXT_MOST / 2;
	default: return before / 1000 * 1000 + (int64_t)(next_random() % 3600000);
	}
}

static void timestamps_of_any_days_equal_timestamp_put(void **state)
{
	enum { ROWS = 5000 };
	struct schema s = SCHEMA_INIT;
	struct buf want = BUF_INIT;
	struct batch_builder b;
	int64_t us = 0;

	random_state = (uint64_t)time(NULL) | 1;
	print_message("SEED=%" PRIu64 "\n", random_state);
	schema_add(&s, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
	batch_builder_init(&b, &s);
	for (int i = 0; i < ROWS; i++) {
		char text[TIMESTAMP_TEXT_MAX];

		us = i ? random_time(us) : INT64_MIN;
		builder_put_int(&b.columns[0], us);
		buf_put(&want, text, timestamp_put(text, us));
		buf_put_byte(&want, '\n');
	}
	assert_written("csv", (struct writer_options){0}, batch_builder_view(&b), buf_cstr(&want));
	batch_builder_clear(&b);
	buf_clear(&want);
	schema_clear(&s);
}

static void random_texts_equal_plain_code(void **state)
{
	const char *given = getenv("SEED");

	random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) | 1;
	print_message("SEED=%" PRIu64 "\n", random_state);
	for (int i = 0; i < 300; i++) {
		cpu_force_portable(i & 1);
		check_random_texts();
	}
	cpu_force_portable(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_format_is_refused_with_a_suggestion),
		cmocka_unit_test(csv_refuses_other_columns_in_mid_stream),
		cmocka_unit_test(lines_takes_one_string_column_only),
		cmocka_unit_test(every_type_is_put_as_documented),
		cmocka_unit_test(every_type_is_put_by_portable_code_too),
		cmocka_unit_test(every_type_has_its_form_in_msgpack),
		cmocka_unit_test(json_is_one_array),
		cmocka_unit_test(a_changelog_has_op_first),
		cmocka_unit_test(names_are_escaped_like_values),
		cmocka_unit_test(a_table_fits_the_terminal_and_counts_wide_characters),
		cmocka_unit_test(a_table_flows_once_its_widths_are_settled),
		cmocka_unit_test(timestamps_of_any_days_equal_timestamp_put),
		cmocka_unit_test(random_texts_equal_plain_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
