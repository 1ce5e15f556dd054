/* Expressions over three rows: an ordinary one, one of nulls, one of extremes.  Results are compared
 * as text, "a|b|c"; "!" is a row that failed. */
#include "libcore/base/arena.h"
#include "libcore/base/json.h"
#include "libcore/expr/kernel.h"
#include "libcore/table/builder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { COLUMNS = 10, ROWS = 3 };

static struct schema schema;
static struct column_builder builders[COLUMNS];
static struct column columns[COLUMNS];
static struct batch batch;

static void put_json(struct column_builder *b, const char *json)
{
	struct buf value = BUF_INIT;
	const char *why;
	size_t at;

	assert_int_equal(json_parse(json, strlen(json), &value, &at, &why), 0);
	builder_put_text(b, value.data, value.len);
	buf_clear(&value);
}

static int make_batch(void **unused)
{
	static const struct {
		const char *name;
		struct type type;
	} fields[COLUMNS] = {{"i", {TYPE_INT, 0, 0}}, {"f", {TYPE_FLOAT, 0, 0}},
		{"n", {TYPE_DECIMAL, 5, 2}}, {"s", {TYPE_STRING, 0, 0}}, {"b", {TYPE_BOOL, 0, 0}},
		{"t", {TYPE_TIMESTAMP, 0, 0}}, {"day", {TYPE_DATE, 0, 0}},
		{"u", {TYPE_DURATION, 0, 0}}, {"a", {TYPE_ANY, 0, 0}}, {"x.y", {TYPE_INT, 0, 0}}};

	schema_init(&schema);
	for (size_t c = 0; c < COLUMNS; c++) {
		schema_add(&schema, fields[c].name, strlen(fields[c].name), fields[c].type);
		builder_init(&builders[c], fields[c].type);
	}
	builder_put_int(&builders[0], 7);
	builder_put_float(&builders[1], 2.5);
	builder_put_decimal(&builders[2], 150);
	builder_put_text(&builders[3], "Grüße", strlen("Grüße"));
	builder_put_bool(&builders[4], true);
	builder_put_int(&builders[5], INT64_C(1357035630500000));
	builder_put_date(&builders[6], 15399);
	builder_put_int(&builders[7], INT64_C(5400000000));
	put_json(&builders[8], "{\"k\":[1,null,{\"x\":\"y\"}],\"n\":2.5,\"s\":\"q\\\"\"}");
	builder_put_int(&builders[9], 42);
	for (size_t c = 0; c < COLUMNS; c++)
		builder_put_null(&builders[c]);
	builder_put_int(&builders[0], INT64_MIN);
	builder_put_float(&builders[1], NAN);
	builder_put_decimal(&builders[2], -99999);
	builder_put_text(&builders[3], "", 0);
	builder_put_bool(&builders[4], false);
	builder_put_int(&builders[5], -1);
	builder_put_date(&builders[6], 0);
	builder_put_int(&builders[7], -1);
	put_json(&builders[8], "[3]");
	builder_put_int(&builders[9], -1);
	for (size_t c = 0; c < COLUMNS; c++)
		columns[c] = builder_column(&builders[c]);
	batch = (struct batch){.schema = &schema, .rows = ROWS, .columns = columns};
	return 0;
}

static int drop_batch(void **unused)
{
	for (size_t c = 0; c < COLUMNS; c++)
		builder_clear(&builders[c]);
	schema_clear(&schema);
	return 0;
}

/* The value in the rows, or the error that parsing or compiling ended with. */
static void evaluate(const char *text, struct buf *out, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct program *p = program_new();
	uint8_t failed[1];
	struct column result;
	struct expr *x;
	size_t index;

	buf_reset(out);
	if (expr_parse(text, "test", &arena, &x, e) < 0 ||
		program_add(p, x, &schema, &index, e) < 0) {
		assert_int_equal(e->code, ERROR_USAGE);
		goto out;
	}
	assert_int_equal(program_run(p, &batch, &result, failed, e), 0);
	for (uint32_t r = 0; r < ROWS; r++) {
		if (r)
			buf_put_byte(out, '|');
		if (failed[0] >> r & 1)
			buf_put_byte(out, '!');
		else
			column_put_text(&result, r, SIZE_MAX, out);
	}
	if (!failed[0])
		error_clear(e);
out:
	program_free(p);
	arena_clear(&arena);
}

struct test {
	const char *text, *expected;
};

static void check_values(const struct test *tests, size_t n)
{
	struct buf out = BUF_INIT;
	int bad = 0;

	for (size_t i = 0; i < n; i++) {
		struct error e = ERROR_INIT;

		evaluate(tests[i].text, &out, &e);
		if (strcmp(buf_cstr(&out), tests[i].expected) != 0) {
			print_message("%s\n   is %s\n  not %s (%s)\n", tests[i].text, buf_cstr(&out),
				tests[i].expected, e.text);
			bad++;
		}
	}
	buf_clear(&out);
	assert_int_equal(bad, 0);
}

static void check_errors(const struct test *tests, size_t n)
{
	struct buf out = BUF_INIT;
	int bad = 0;

	for (size_t i = 0; i < n; i++) {
		struct error e = ERROR_INIT;

		evaluate(tests[i].text, &out, &e);
		if (!strstr(e.text, tests[i].expected)) {
			print_message("%s\n   says %s (%s)\n  lacks %s\n", tests[i].text, e.text,
				buf_cstr(&out), tests[i].expected);
			bad++;
		}
	}
	buf_clear(&out);
	assert_int_equal(bad, 0);
}

#define CHECK(how, tests) how(tests, sizeof(tests) / sizeof *(tests))

static void what_is_no_expression_is_refused_with_its_place(void **unused)
{
	static const struct test tests[] = {
		{"", "test:1:1: expected a value"},
		{"1 +", "test:1:4: expected a value"},
		{"1 2", "test:1:3: expected an operator or the end"},
		{"(1", "test:1:3: expected ')'"},
		{"'abc", "test:1:1"},
		{"\"abc", "test:1:1"},
		{"i in ()", "expected a value"},
		{"i not 5", "expected between, in, like or ilike"},
		{"case when b then 1", "expected end"},
		{"case end", "when"},
		{"i is 5", "distinct"},
		{"cast(i as nothing)", "nothing"},
		{"i::decimal", "decimal"},
		{"timestamp 'yesterday'", "a timestamp like"},
		{"trim(both i", "expected from"},
		{"substring(s from 1", "expected ')'"},
		{"t at time 'UTC'", "expected zone"},
		{"position(", "expected a value"},
		{"abs(i", "expected ')'"},
		{"i @ 2", "test:1:3"},
		{"and", "quote it"},
	};

	CHECK(check_errors, tests);
}

static void what_does_not_compile_says_why(void **unused)
{
	static const struct test tests[] = {
		{"z", "z"},
		{"absx(i)", "did you mean abs()?"},
		{"nosuchfunction(i)", "man runnel-expr lists the functions"},
		{"sum(i)", "is an aggregate"},
		{"count(*)", "is an aggregate"},
		{"s + 1", "texts are joined with ||"},
		{"b + b", "bool + bool has no meaning"},
		{"-s", "-string has no meaning"},
		{"t::int", "can't be cast"},
		{"length(5)", "length does not take (int)"},
		{"upper(s, s)", "it takes: upper(string)"},
		{"case when i then 1 end", "not a bool"},
		{"date_trunc('howr', t)", "did you mean 'hour'?"},
		{"date_trunc('dow', t)", "can't be cut down"},
		{"extract(nothing from t)", "is no field of a time"},
		{"strftime(t, '%Q')", "%Q has no meaning in a format"},
		{"format('%n', i)", "no conversion"},
		{"format('%', i)", "no conversion"},
		{"format('%999d', i)", "no conversion"},
		{"format('%d')", "1 conversions for 0 values"},
		{"format(s)", "a text in quotes"},
		{"strptime(s, '%')", "has no meaning"},
		{"s ~ '(a'", "missing closing parenthesis at offset 2"},
		{"regexp_replace(s, 'a', 'b', 'x')", "flags of regexp_replace"},
		{"n.k", "[] does not take (decimal(5,2), string)"},
		{"interval '1 month'", "no fixed length"},
		{"interval '1 month' * 2", "no fixed length"},
		{"a is distinct from a", "any can't be compared"},
		{"t at time zone 'Mars/Olympus'", "there is no time zone 'Mars/Olympus'"},
		{"s at time zone 'UTC'", "does not take (string, string)"},
	};

	CHECK(check_errors, tests);
}

static void numbers_are_computed_without_silent_loss(void **unused)
{
	static const struct test tests[] = {
		{"i + 1", "8|null|-9223372036854775807"},
		{"i - 1", "6|null|!"},
		{"i * 2", "14|null|!"},
		{"-i", "-7|null|!"},
		{"abs(i)", "7|null|!"},
		{"i / 0", "!|null|!"},
		{"i / -1", "-7|null|!"},
		{"i % -1", "0|null|0"},
		{"mod(i, 4)", "3|null|0"},
		{"mod(-i, 4)", "-3|null|!"},
		{"7 / 2", "3|3|3"},
		{"-7 / 2", "-3|-3|-3"},
		{"-9223372036854775808", "-9223372036854775808|-9223372036854775808|"
			"-9223372036854775808"},
		{"-1::float", "-1.0|-1.0|-1.0"},
		{"- - 5", "5|5|5"},
		{"f / 0", "!|null|!"},
		{"f * 2", "5.0|null|nan"},
		{"n + 0.005", "1.505|null|-999.985"},
		{"n + -1.5", "0.00|null|-1001.49"},
		{"n * n", "2.2500|null|999980.0001"},
		{"n / 3", "0.500000|null|-333.330000"},
		{"n + f", "4.0|null|nan"},
		{"sign(i)", "1|null|-1"},
		{"sign(f)", "1.0|null|nan"},
		{"sign(n)", "1|null|-1"},
		{"abs(n)", "1.50|null|999.99"},
		{"ceil(f)", "3.0|null|nan"},
		{"floor(-f)", "-3.0|null|nan"},
		{"round(f)", "3.0|null|nan"},
		{"trunc(f)", "2.0|null|nan"},
		{"round(n)", "2|null|-1000"},
		{"ceil(n)", "2|null|-999"},
		{"floor(n)", "1|null|-1000"},
		{"trunc(n)", "1|null|-999"},
		{"round(n, 1)", "1.5|null|-1000.0"},
		{"round(n, -2)", "0|null|-1000"},
		{"round(i, -1)", "10|null|!"},
		{"trunc(i, -1)", "0|null|-9223372036854775800"},
		{"round(i, -30)", "0|null|0"},
		{"round(0.285, 2)", "0.29|0.29|0.29"},
		{"round(-1.005, 2)", "-1.01|-1.01|-1.01"},
		{"round(1234.5, -2)", "1200.0|1200.0|1200.0"},
		{"round(2.5, '1')", "2.5|2.5|2.5"},
		{"trunc(-1.29, 1)", "-1.2|-1.2|-1.2"},
		{"sqrt(i + 2)", "3.0|null|!"},
		{"ABS(-1) + Mod(5, 3)", "3|3|3"},
		{"sqrt(n)", "1.224744871391589|null|!"},
		{"ln(0)", "!|!|!"},
		{"log(100)", "2.0|2.0|2.0"},
		{"log(2, 8)", "3.0|3.0|3.0"},
		{"log2(8)", "3.0|3.0|3.0"},
		{"exp(0)", "1.0|1.0|1.0"},
		{"power(2, 10)", "1024.0|1024.0|1024.0"},
		{"pow(0, -1)", "!|!|!"},
		{"power(-8, 0.5)", "!|!|!"},
	};

	CHECK(check_values, tests);
}

static void logic_has_three_values_and_failures_stay_where_they_are_taken(void **unused)
{
	static const struct test tests[] = {
		{"b and null", "null|null|false"},
		{"b or null", "true|null|null"},
		{"not b", "false|null|true"},
		{"b is null", "false|true|false"},
		{"b is not true", "false|true|true"},
		{"null = null", "null|null|null"},
		{"i is distinct from null", "true|false|true"},
		{"i = i", "true|null|true"},
		{"f = f", "true|null|true"},
		{"f > 1e308", "false|null|true"},
		{"n = 1.5", "true|null|false"},
		{"i in (1, 7)", "true|null|false"},
		{"i in (1, null)", "null|null|null"},
		{"i not in (7, null)", "false|null|null"},
		{"i between 1 and 7", "true|null|false"},
		{"i not between 1 and 7", "false|null|true"},
		{"s like 'Gr__e'", "true|null|false"},
		{"s like '%ü%'", "true|null|false"},
		{"s ilike 'gR%'", "true|null|false"},
		{"s not like '%'", "false|null|false"},
		{"'a%b' like 'a!%b' escape '!'", "true|true|true"},
		{"case when i > 0 then 'p' when i < 0 then 'm' else '0' end", "p|0|m"},
		{"case i when 7 then 1.5 end", "1.5|null|null"},
		{"case when i > 0 then i - 1 end", "6|null|null"},
		{"if(b, i, 0)", "7|0|0"},
		{"coalesce(i, 0)", "7|0|-9223372036854775808"},
		{"nullif(i, 7)", "null|null|-9223372036854775808"},
		{"greatest(i, 5)", "7|5|5"},
		{"least(i, 5)", "5|5|-9223372036854775808"},
		{"try(i - 1)", "6|null|null"},
		{"try(1 / 0)", "null|null|null"},
		{"b or 1 / 0 > 1", "true|!|!"},
		{"not b and i - 1 < 0", "false|null|!"},
		{"coalesce(try(i - 1), 0)", "6|0|0"},
		{"1 / 0 is null", "!|!|!"},
	};

	CHECK(check_values, tests);
}

static void casts_take_what_fits(void **unused)
{
	static const struct test tests[] = {
		{"'5'::int", "5|5|5"},
		{"'5x'::int", "!|!|!"},
		{"try_cast('5x' as int)", "null|null|null"},
		{"f::int", "2|null|!"},
		{"i::float", "7.0|null|-9.223372036854776e18"},
		{"i::decimal(5,1)", "7.0|null|!"},
		{"n::int", "1|null|-999"},
		{"n::string", "1.50|null|-999.99"},
		{"1.005::decimal(5,2)", "1.01|1.01|1.01"},
		{"b::int", "1|null|0"},
		{"t::date", "2013-01-01|null|1969-12-31"},
		{"day::timestamp", "2012-02-29T00:00:00Z|null|1970-01-01T00:00:00Z"},
		{"'2013-01-01'::date + 1", "2013-01-02|2013-01-02|2013-01-02"},
		{"a.n::decimal(4,2)", "2.50|null|null"},
		{"a::string", "{\"k\":[1,null,{\"x\":\"y\"}],\"n\":2.5,\"s\":\"q\\\"\"}|null|[3]"},
		{"a::int", "!|null|!"},
		{"i::any::int", "7|null|-9223372036854775808"},
	};

	CHECK(check_values, tests);
}

static void texts_are_counted_in_characters(void **unused)
{
	static const struct test tests[] = {
		{"s || '!'", "Grüße!|null|!"},
		{"s || i || n", "Grüße71.50|null|-9223372036854775808-999.99"},
		{"concat(s, i)", "Grüße7||-9223372036854775808"},
		{"concat_ws('-', s, null, i)", "Grüße-7||--9223372036854775808"},
		{"concat(i - 1)", "6||!"},
		{"length(s)", "5|null|0"},
		{"octet_length(s)", "7|null|0"},
		{"upper(s)", "GRÜßE|null|"},
		{"lower('ÄX')", "äx|äx|äx"},
		{"reverse(s)", "eßürG|null|"},
		{"trim('  a b ')", "a b|a b|a b"},
		{"trim(s, 'Geü')", "rüß|null|"},
		{"ltrim(s, 'Gr')", "üße|null|"},
		{"rtrim('aé', 'é')", "a|a|a"},
		{"substr(s, 2, 3)", "rüß|null|"},
		{"substr(s, 3)", "üße|null|"},
		{"substr(s, 0, 2)", "G|null|"},
		{"substr(s, -2)", "ße|null|"},
		{"substring(s, 2, -1)", "!|null|!"},
		{"substr(s, 4, 9223372036854775807)", "ße|null|"},
		{"substr(s, i)", "|null|"},
		{"left(s, 3)", "Grü|null|"},
		{"left(s, -4)", "G|null|"},
		{"right(s, 2)", "ße|null|"},
		{"right(s, -1)", "rüße|null|"},
		{"lpad(s, 7, 'äb')", "äbGrüße|null|äbäbäbä"},
		{"rpad(s, 2)", "Gr|null|  "},
		{"lpad(s, 2, '')", "Gr|null|"},
		{"lpad('a', 9223372036854775807)", "!|!|!"},
		{"repeat('ab', 3)", "ababab|ababab|ababab"},
		{"repeat('ab', i)", "ababababababab|null|"},
		{"repeat('ab', 9223372036854775807)", "!|!|!"},
		{"replace(s, 'ü', 'ue')", "Grueße|null|"},
		{"replace('aaa', 'a', '')", "||"},
		{"replace('aaa', '', 'x')", "aaa|aaa|aaa"},
		{"split_part('a,b,c', ',', 2)", "b|b|b"},
		{"split_part('a,b,c', ',', 4)", "null|null|null"},
		{"split_part('a,b,c', ',', -1)", "c|c|c"},
		{"split_part('a,b,', ',', 3)", "||"},
		{"split_part('abc', '', 1)", "abc|abc|abc"},
		{"position('ß' in s)", "4|null|0"},
		{"position(lower(s) || '' in s)", "0|null|1"},
		{"format('%.2f|%05d|%-6s|%x %%', f, 42, s, 255)", "2.50|00042|Grüße |ff %|null|"
			"nan|00042|      |ff %"},
		{"format('%7.2s<', s)", "     Gr<|null|       <"},
		{"format('%s', n)", "1.50|null|-999.99"},
		{"format('%.3f', 1e308) = format('%.3f', 1e308)", "true|true|true"},
		{"length(format('%200.100f', -1e308))", "411|411|411"},
		{"format('%d', i)", "7|null|-9223372036854775808"},
		{"format('100%%')", "100%|100%|100%"},
		{"md5(s)", "49c5f675b49037b6044b803ac9d1a6d7|null|d41d8cd98f00b204e9800998ecf8427e"},
		{"sha256(s)", "f83e039796c6453a10f5519e39fd113901572316a1a8ea07cb525d2801dfd074|null|"
			"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"md5(repeat('ab', 60)) || sha256(repeat('ab', 31))", "4b3e921ec1c4ebd31f2de82fa9027ec5"
			"cf696841dde2e468783850b8160122ac722f368422453e52e8b635093d2f0d52|4b3e921ec1c4ebd31f2de82fa9027ec5"
			"cf696841dde2e468783850b8160122ac722f368422453e52e8b635093d2f0d52|4b3e921ec1c4ebd31f2de82fa9027ec5"
			"cf696841dde2e468783850b8160122ac722f368422453e52e8b635093d2f0d52"},
		{"to_hex(xxh64('abc'))", "44bc2cf5ad770999|44bc2cf5ad770999|44bc2cf5ad770999"},
		{"to_hex(i)", "7|null|8000000000000000"},
		{"to_hex('aé')", "61c3a9|61c3a9|61c3a9"},
		{"position('r', s)", "2|null|0"},
		{"position('' in s)", "1|null|1"},
		{"strpos(s, 'e')", "5|null|0"},
		{"starts_with(s, 'Gr')", "true|null|false"},
		{"ends_with(s, 'e')", "true|null|false"},
		{"contains(s, '')", "true|null|true"},
		{"contains(s, 'rü')", "true|null|false"},
	};

	CHECK(check_values, tests);
}

static void times_are_cut_and_taken_apart(void **unused)
{
	static const struct test tests[] = {
		{"t at time zone 'Asia/Kolkata'", "2013-01-01T15:50:30.500Z|null|1970-01-01T05:29:59.999999Z"},
		{"t + interval '1 month'", "2013-02-01T10:20:30.500Z|null|1970-01-31T23:59:59.999999Z"},
		{"interval '1 month' + day", "2012-03-29|null|1970-02-01"},
		{"trim(both 'Ge' from s)", "rüß|null|"},
		{"trim(trailing from s)", "Grüße|null|"},
		{"substring(s from 2 for 2)", "rü|null|"},
		{"a is distinct from null", "true|false|true"},
		{"date_trunc('hour', t)", "2013-01-01T10:00:00Z|null|1969-12-31T23:00:00Z"},
		{"date_trunc('month', day)", "2012-02-01T00:00:00Z|null|1970-01-01T00:00:00Z"},
		{"date_trunc(s, t)", "!|null|!"},
		{"extract(year from t)", "2013|null|1969"},
		{"date_part('doy', day)", "60|null|1"},
		{"date_part(if(b, 'day', 'hour'), t)", "1|null|23"},
		{"epoch(t)", "1357035630.5|null|-1e-6"},
		{"epoch_ms(t)", "1357035630500|null|-1"},
		{"epoch_us(t)", "1357035630500000|null|-1"},
		{"epoch_ms(u)", "5400000|null|-1"},
		{"to_timestamp(1.5)", "1970-01-01T00:00:01.500Z|1970-01-01T00:00:01.500Z|"
			"1970-01-01T00:00:01.500Z"},
		{"to_timestamp(i)", "1970-01-01T00:00:07Z|null|!"},
		{"to_timestamp(f)", "1970-01-01T00:00:02.500Z|null|!"},
		{"make_date(2012, 2, 29)", "2012-02-29|2012-02-29|2012-02-29"},
		{"make_date(2013, 2, 29)", "!|!|!"},
		{"make_timestamp(2013, 1, 1, 10, 0, f)", "2013-01-01T10:00:02.500Z|null|!"},
		{"strftime(t, '%Y-%m-%d %H:%M:%S.%f %a %B %j %%')", "2013-01-01 10:20:30.500000 Tue "
			"January 001 %|null|1969-12-31 23:59:59.999999 Wed December 365 %"},
		{"strftime(t, '%R|%T|%e')", "10:20|10:20:30| 1|null|23:59|23:59:59|31"},
		{"strftime(day, '%D %I%p %u %V')", "02/29/12 12AM 3 09|null|01/01/70 12AM 4 01"},
		{"strptime('29/Feb/2012:13:05:06 +0200', '%d/%b/%Y:%T %z')",
			"2012-02-29T11:05:06Z|2012-02-29T11:05:06Z|2012-02-29T11:05:06Z"},
		{"strptime(strftime(t, '%F %T.%f'), '%F %T.%f') = t", "true|null|true"},
		{"strptime(strftime(t, '%F %I:%M:%S.%f %p'), '%F %I:%M:%S.%f %p') = t",
			"true|null|true"},
		{"strptime('2012 366', '%Y %j')::date", "2012-12-31|2012-12-31|2012-12-31"},
		{"strptime('2013 366', '%Y %j')", "!|!|!"},
		{"strptime('30.2.2012', '%d.%m.%Y')", "!|!|!"},
		{"strptime('1.2.2012 ', '%d.%m.%Y')", "!|!|!"},
		{"strptime(s, '%d')", "!|null|!"},
		{"strptime('1.5', '%s.%f')", "1970-01-01T00:00:01.500Z|1970-01-01T00:00:01.500Z|"
			"1970-01-01T00:00:01.500Z"},
		{"strftime(t, s)", "Grüße|null|"},
		{"now()", "null|null|null"},
		{"t - interval '30 seconds'", "2013-01-01T10:20:00.500Z|null|"
			"1969-12-31T23:59:29.999999Z"},
		{"u / interval '1 hour'", "1.5|null|-2.7777777777777777e-10"},
		{"t > '2013-01-01'", "true|null|false"},
	};

	CHECK(check_values, tests);
}

static void paths_lead_into_any_and_what_is_not_there_is_null(void **unused)
{
	static const struct test tests[] = {
		{"a.n", "2.5|null|null"},
		{"a.k[0]", "1|null|null"},
		{"a.k[1]", "null|null|null"},
		{"a.k[-1].x::string", "y|null|null"},
		{"a['k'][9]", "null|null|null"},
		{"a[0]", "null|null|3"},
		{"a.nothing.there", "null|null|null"},
		{"x.y", "42|null|-1"},
		{"\"x.y\" + 1", "43|null|0"},
		{"array_length(a.k)", "3|null|null"},
		{"json_array_length(a)", "null|null|1"},
		{"to_json(json_keys(a))", "[\"k\",\"n\",\"s\"]|null|null"},
		{"typeof(a)", "object|null|array"},
		{"typeof(n)", "decimal(5,2)|null|decimal(5,2)"},
		{"typeof(null)", "null|null|null"},
		{"to_json(s)", "\"Grüße\"|null|\"\""},
		{"to_json(n)", "1.50|null|-999.99"},
		{"to_json(i)", "7|null|-9223372036854775808"},
		{"parse_json('{\"a\": [1e2, \"\\ud83d\\ude00\"]}').a[1]::string", "😀|😀|😀"},
		{"parse_json('[1,]')", "!|!|!"},
		{"parse_json('01')", "!|!|!"},
		{"parse_json('\"\\ud800\"')", "!|!|!"},
		{"parse_json('1 2')", "!|!|!"},
		{"parse_json('')", "!|!|!"},
		{"parse_json(repeat('[', 200))", "!|!|!"},
		{"try(parse_json('nul'))", "null|null|null"},
		{"parse_json('null') is null", "true|true|true"},
	};

	CHECK(check_values, tests);
}

static void regular_expressions_match_or_fail_but_never_hang(void **unused)
{
	static const struct test tests[] = {
		{"s ~ '^Gr.ße$'", "true|null|false"},
		{"s !~ 'x'", "true|null|true"},
		{"regexp_matches(s, 'GRÜ', 'i')", "true|null|false"},
		{"regexp_matches(s, s)", "true|null|true"},
		{"regexp_extract(s, 'r(.)')", "rü|null|null"},
		{"regexp_extract(s, 'r(.)', 1)", "ü|null|null"},
		{"regexp_extract(s, '(x)?r', 1)", "null|null|null"},
		{"regexp_extract(s, 'r', 1)", "!|null|!"},
		{"regexp_replace('aba', 'a', 'x')", "xba|xba|xba"},
		{"regexp_replace('aba', 'a', '<\\0>', 'g')", "<a>b<a>|<a>b<a>|<a>b<a>"},
		{"regexp_replace(s, '', '-', 'g')", "-G-r-ü-ß-e-|null|-"},
		{"regexp_replace('x1', '([a-z])(\\d)', '\\2\\1\\\\')", "1x\\|1x\\|1x\\"},
		{"s ~ if(b, '(', ')')", "!|null|!"},
		{"repeat('a', 60) || s ~ '^(a+)+$'", "!|null|true"},
	};

	CHECK(check_values, tests);
}

static void a_hundred_signs_and_long_lists_are_no_nesting(void **unused)
{
	struct buf text = BUF_INIT, out = BUF_INIT;
	struct error e = ERROR_INIT;

	buf_put_text(&text, "i in (7");
	for (int i = 1; i < 900; i++)
		buf_printf(&text, ", -%d", i);
	buf_put_text(&text, ")");
	evaluate(buf_cstr(&text), &out, &e);
	assert_string_equal(buf_cstr(&out), "true|null|false");
	buf_clear(&text);
	buf_clear(&out);
}

/* ---- the manual ---- */

struct page {
	char *text;
	int missing;
};

/* Functions head an item as ".It Fn name args", operators stand in one of ".It Cm". */
static bool names_function(const char *text, const char *name)
{
	size_t len = strlen(name);
	const char *line = text;

	while (line) {
		const char *end = strchr(line, '\n');
		size_t size = end ? (size_t)(end - line) : strlen(line);

		if (!strncmp(line, ".It Fn ", 7) && size >= 7 + len &&
			!strncmp(line + 7, name, len) && (size == 7 + len || line[7 + len] == ' '))
			return true;
		if ((!strncmp(line, ".It Cm ", 7) || !strncmp(line, ".Cm ", 4)) &&
			memmem(line, size, name, len))
			return true;
		line = end ? end + 1 : NULL;
	}
	return false;
}

static void look_up(const struct function *f, void *context)
{
	const char *name = strcmp(f->name, "negate") ? f->name : "- x";
	struct page *page = context;

	if (!names_function(page->text, name)) {
		print_message("man/runnel-expr.7 does not name %s\n", f->name);
		page->missing++;
	}
}

static void the_manual_names_every_function(void **unused)
{
	FILE *file = fopen("man/runnel-expr.7", "r");
	struct page page = {.text = calloc(1, 1 << 17)};

	assert_non_null(file);
	assert_true(fread(page.text, 1, (1 << 17) - 1, file) > 1000);
	fclose(file);
	function_each(look_up, &page);
	free(page.text);
	assert_int_equal(page.missing, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_expression_is_refused_with_its_place),
		cmocka_unit_test(what_does_not_compile_says_why),
		cmocka_unit_test(numbers_are_computed_without_silent_loss),
		cmocka_unit_test(logic_has_three_values_and_failures_stay_where_they_are_taken),
		cmocka_unit_test(casts_take_what_fits),
		cmocka_unit_test(texts_are_counted_in_characters),
		cmocka_unit_test(times_are_cut_and_taken_apart),
		cmocka_unit_test(paths_lead_into_any_and_what_is_not_there_is_null),
		cmocka_unit_test(regular_expressions_match_or_fail_but_never_hang),
		cmocka_unit_test(a_hundred_signs_and_long_lists_are_no_nesting),
		cmocka_unit_test(the_manual_names_every_function),
	};

	return cmocka_run_group_tests(tests, make_batch, drop_batch);
}
