/* Messages of a broker to rows: what a message is in each format, what is malformed and where, keys, tombstones; and
 * that messages come out the same whether they are parsed together or one by one. */
#include "formats/messages.h"
#include "libcore/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { ROUNDS = 300, RANDOM_MAX = 60 };

/* What came out: a line per row, its columns' texts; and a line per bad message. */
struct taken {
	struct buf rows, bad;
	uint32_t rows_of[1024];
	struct error e;
	int status;
};

static struct message text_message(const char *text)
{
	return (struct message){.value = (const uint8_t *)text, .value_len = text ? strlen(text) : 0};
}

static void put_place(void *context, size_t message, struct buf *out)
{
	buf_printf(out, "t[0]@%zu", message + *(const size_t *)context);
}

static int take_bad(void *context, const struct bad_record *bad, struct error *e)
{
	struct taken *t = context;

	buf_printf(&t->bad, "%s:%llu:%u: %s\n", bad->input, (unsigned long long)bad->line,
		bad->column, bad->reason);
	return 0;
}

static void put_rows(struct taken *t, struct batch_builder *b)
{
	const struct batch *rows = batch_builder_view(b);

	for (uint32_t r = 0; r < rows->rows; r++) {
		if (rows->ops)
			buf_printf(&t->rows, "%c ", "+-+-"[rows->ops[r]]);
		batch_put_row(rows, r, &t->rows);
		buf_put_byte(&t->rows, '\n');
	}
	batch_builder_reset(b);
}

/* All messages, so many in one call. */
static void take(const struct messages_options *given, const struct message *items, size_t n,
	size_t at_once, struct taken *t)
{
	struct messages_options o = *given;
	struct messages *m = NULL;
	struct batch_builder b;
	size_t first = 0;

	memset(t, 0, sizeof *t);
	o.reader.input = "topic t";
	o.put_place = put_place;
	o.context = &first;
	o.bad = (struct bad_sink){.take = take_bad, .context = t};
	if (messages_open(&o, items, n, &m, &t->e) < 0) {
		t->status = -1;
		return;
	}
	batch_builder_init(&b, messages_schema(m));
	for (; first < n && t->status == 0; first += at_once) {
		size_t some = n - first < at_once ? n - first : at_once;

		t->status = messages_parse(m, items + first, some, &b, t->rows_of + first, &t->e);
		put_rows(t, &b);
	}
	batch_builder_clear(&b);
	messages_close(m);
}

static void clear(struct taken *t)
{
	buf_clear(&t->rows);
	buf_clear(&t->bad);
}

struct check {
	const char *format, *spec;
	const char *messages[8]; /* "-": a tombstone */
	size_t n;
	const char *rows, *bad;
};

static void check_all(const struct check *checks, size_t n, const struct messages_options *base)
{
	for (size_t i = 0; i < n; i++) {
		const struct check *c = &checks[i];
		struct messages_options o = *base;
		struct message items[8];
		struct taken t;

		o.format = c->format;
		o.schema_text = c->spec;
		for (size_t k = 0; k < c->n; k++)
			items[k] = text_message(strcmp(c->messages[k], "-") ? c->messages[k] : NULL);
		for (size_t at_once = 1; at_once <= c->n; at_once++) {
			take(&o, items, c->n, at_once, &t);
			if (t.status < 0)
				print_error("%s\n", t.e.text);
			assert_int_equal(t.status, 0);
			assert_string_equal(buf_cstr(&t.rows), c->rows);
			assert_string_equal(buf_cstr(&t.bad), c->bad);
			clear(&t);
		}
	}
}

static void what_is_malformed_is_a_message_not_the_stream(void **state)
{
	static const struct check checks[] = {
		{"ndjson", "a int", {"{\"a\":1}", "{\"a\":", "{\"a\":3}"}, 3, "a=1\na=3\n",
			"t[0]@1:1:6: a value should be here\n"},
		{"ndjson", "a int", {"", " \n ", "{\"a\":3}"}, 3, "a=3\n",
			"t[0]@0:1:0: a message that holds no record\n"
			"t[0]@1:1:0: a message that holds no record\n"},
		{"ndjson", "a int", {"{\"a\":1}\n{\"a\":\"x\"}", "{\"a\":2}"}, 2, "a=2\n",
			"t[0]@0:2:6: 'x' is not an int (column a)\n"},
		{"ndjson", "a string", {"{\"a\":\"x\ny\"}"}, 1, "",
			"t[0]@0:1:8: a control character in a string must be escaped\n"},
		{"csv", "a int, b string", {"1,\"x", "2,y", "x,z", "3,w\n4"}, 4, "a=2, b=y\n",
			NULL},
		{"lines", NULL, {"ok", "\xff"}, 2, "line=ok\n", "t[0]@1:1:0: not UTF-8\n"},
	};
	const struct messages_options none = {.reader = {.quoted_newlines = true}};

	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		struct messages_options o = none;
		struct message items[8];
		struct taken t;
		struct buf bad = BUF_INIT;

		if (checks[i].bad && i != 3 && i != 0) {
			check_all(&checks[i], 1, &none);
			continue;
		}
		/* Reasons are the reader's own; the place counts. */
		o.format = checks[i].format;
		o.schema_text = checks[i].spec;
		for (size_t k = 0; k < checks[i].n; k++)
			items[k] = text_message(checks[i].messages[k]);
		for (size_t at_once = 1; at_once <= checks[i].n; at_once++) {
			take(&o, items, checks[i].n, at_once, &t);
			assert_int_equal(t.status, 0);
			assert_string_equal(buf_cstr(&t.rows), checks[i].rows);
			if (at_once == 1)
				buf_put_text(&bad, buf_cstr(&t.bad));
			assert_string_equal(buf_cstr(&t.bad), buf_cstr(&bad));
			assert_true(t.bad.len > 0);
			clear(&t);
		}
		buf_clear(&bad);
	}
}

static void a_message_is_one_or_more_records(void **state)
{
	static const struct check checks[] = {
		{"ndjson", "a int", {"{\"a\":1}", "{\n \"a\" :\n2\n}\n", "{\"a\":3}\n{\"a\":4}\r\n \n{\"a\":5}"}, 3,
			"a=1\na=2\na=3\na=4\na=5\n", ""},
		{"ndjson", "a int, b any", {"{\"a\":1,\"b\":[{\n},\n{}]}", "\xef\xbb\xbf{\"a\":2}"}, 2,
			"a=1, b=[{},{}]\na=2, b=null\n", ""},
		{"csv", "a int, b string", {"1,x", "2,\"y\nz\"", "3,w\n4,v\n"}, 3,
			"a=1, b=x\na=2, b=y\nz\na=3, b=w\na=4, b=v\n", ""},
		{"tsv", NULL, {"1\tx", "2\ty"}, 2, "c1=1, c2=x\nc1=2, c2=y\n", ""},
		{"lines", NULL, {"a", "b\nc", ""}, 3, "line=a\nline=b\nc\nline=\n", ""},
		{NULL, NULL, {"-", "{\"a\":1}", "-"}, 3, "a=1\n", ""},
		{NULL, "a int", {"-", "{\"a\":1}", "-"}, 3, "a=1\n", ""},
	};
	const struct messages_options none = {.reader = {.quoted_newlines = true}};

	check_all(checks, sizeof checks / sizeof *checks, &none);
}

static void change_events_are_any_number_of_rows(void **state)
{
	static const struct check checks[] = {
		{"debezium-json", "a int",
			{"{\"op\":\"c\",\"after\":{\"a\":1}}",
				"{\"op\":\"u\",\"before\":{\"a\":1},\n\"after\":{\"a\":2}}", "-",
				"{\"op\":\"u\",\"after\":{\"a\":2}}",
				"{\"op\":\"d\",\"before\":{\"a\":2}}"},
			5, "+ a=1\n- a=1\n+ a=2\n- a=2\n",
			"t[0]@3:1:1: an update without 'before', the row as it was (PostgreSQL tells it "
			"after ALTER TABLE ... REPLICA IDENTITY FULL)\n"},
	};
	const struct messages_options none = {.reader = {.quoted_newlines = true}};

	check_all(checks, sizeof checks / sizeof *checks, &none);
}

static const char *const plain_path[] = {"key"}, *const nested_path[] = {"key", "id"};
static const struct wanted_column key_columns[] = {
	{.name = "k", .path = plain_path, .path_len = 1, .position = -1, .type = {.kind = TYPE_STRING}},
	{.name = "id", .path = nested_path, .path_len = 2, .position = -1, .type = {.kind = TYPE_INT}},
};

static void a_key_gives_columns_and_makes_a_tombstone_a_row(void **state)
{
	static const char *const keys[] = {"{\"id\":1}", "{\"id\":2}", "nope", "{\"id\":4}", NULL,
		"1,\"id\":5", "{\"id\":\"x\"}"};
	static const char *const values[] = {"{\"a\":1}", NULL, "{\"a\":3}", "{\"a\":4}\n{\"a\":44}",
		"{\"a\":5}", "{\"a\":6}", "{\"a\":7}"};
	const struct messages_options o = {
		.format = "ndjson", .schema_text = "a int", .keys = key_columns, .keys_len = 2};
	struct message items[7];
	struct taken t;

	for (size_t i = 0; i < 7; i++) {
		items[i] = text_message(values[i]);
		items[i].key = (const uint8_t *)keys[i];
		items[i].key_len = keys[i] ? strlen(keys[i]) : 0;
	}
	for (size_t at_once = 1; at_once <= 7; at_once++) {
		static const uint32_t rows_of[] = {1, 1, 0, 2, 1, 0, 0};

		take(&o, items, 7, at_once, &t);
		assert_int_equal(t.status, 0);
		assert_string_equal(buf_cstr(&t.rows),
			"a=1, id=1, k={\"id\":1}\na=null, id=2, k={\"id\":2}\na=4, id=4, k={\"id\":4}\n"
			"a=44, id=4, k={\"id\":4}\na=5, id=null, k=null\n");
		assert_non_null(strstr(buf_cstr(&t.bad), "t[0]@2:1:0: the key isn't JSON\n"));
		assert_non_null(strstr(buf_cstr(&t.bad), "t[0]@5:1:0: the key isn't JSON\n"));
		assert_non_null(strstr(buf_cstr(&t.bad), "t[0]@6:"));
		assert_memory_equal(t.rows_of, rows_of, sizeof rows_of);
		clear(&t);
	}
}

static void an_event_time_has_to_be_there_and_not_far_ahead(void **state)
{
	static const char *const values[] = {"{\"a\":1}", "{\"a\":null}", "{\"a\":9}", NULL, "{\"a\":2}"};
	const int64_t latest_us = 5000000;
	const struct messages_options o = {.format = "ndjson", .schema_text = "a timestamp(s)",
		.required_column = "a", .latest_us = &latest_us, .keys = key_columns, .keys_len = 1};
	struct message items[5];
	struct taken t;

	for (size_t i = 0; i < 5; i++)
		items[i] = text_message(values[i]);
	for (size_t at_once = 1; at_once <= 5; at_once++) {
		take(&o, items, 5, at_once, &t);
		assert_int_equal(t.status, 0);
		assert_string_equal(buf_cstr(&t.rows),
			"a=1970-01-01T00:00:01Z, k=null\na=1970-01-01T00:00:02Z, k=null\n");
		assert_non_null(strstr(buf_cstr(&t.bad), "t[0]@1:"));
		assert_non_null(strstr(buf_cstr(&t.bad), "t[0]@2:1:0: 1970-01-01T00:00:09Z is further ahead"));
		assert_non_null(strstr(buf_cstr(&t.bad), "t[0]@3:1:0: a tombstone has no event time"));
		clear(&t);
	}
}

static void what_cannot_be_is_refused(void **state)
{
	static const struct {
		const char *format, *message, *text;
	} checks[] = {
		{"frames", "x", "messages aren't frame streams"},
		{"avro", "x", "avro messages need --registry"},
		{NULL, "", "no message that types could be inferred from"},
		{"regex", "x", "-f regex needs a pattern"},
		{"nothing", "x", "no format 'nothing'"},
	};

	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		const struct messages_options o = {.format = checks[i].format};
		struct message item = text_message(checks[i].message);
		struct taken t;

		take(&o, &item, 1, 1, &t);
		assert_int_equal(t.status, -1);
		assert_non_null(strstr(t.e.text, checks[i].text));
		clear(&t);
	}
}

/* ---- together as one by one ---- */

static unsigned long long seed;

static uint32_t random_below(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

static char *random_json(void)
{
	static const char *const whole[] = {"{\"a\":%d}", "{\"a\":\n%d}", "{\"a\":%d}\n{\"a\":7}", "{\"a\":%d",
		"{\"a\":\"%d\"}", "[%d]", "{\"b\":%d}", "{\"a\":%d}\n\n", "\n{\"a\":%d}\r\n{\"a\":x}", "%d",
		"{\"a\":%d}{\"a\":1}", "{\"a\":1,\"b\":{\n}\n,\"c\":%d}"};
	uint32_t which = random_below(4) ? random_below(3) : random_below(sizeof whole / sizeof *whole);
	char *text = mem_alloc(64);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, 64, whole[which], (int)random_below(1000));
#pragma GCC diagnostic pop
	return text;
}

static char *random_csv(void)
{
	static const char *const whole[] = {"1,x", "2,\"y\"", "3,\"a\nb\"", "4,\"open", "x,1", "5,a\n6,b", "7,\"q\"\"q\"", "",
		"\n", "8,a,b", "9,\"a\",\"b", "1\"0,c"};
	uint32_t which = random_below(3) ? random_below(2) : random_below(sizeof whole / sizeof *whole);

	return mem_strdup(whole[which]);
}

static void check_round(const struct messages_options *o, char *(*next)(void))
{
	size_t n = 1 + random_below(RANDOM_MAX);
	char *texts[RANDOM_MAX];
	struct message items[RANDOM_MAX];
	struct taken one, all;

	for (size_t i = 0; i < n; i++) {
		texts[i] = random_below(20) ? next() : NULL;
		items[i] = text_message(texts[i]);
		items[i].key = (const uint8_t *)"k";
		items[i].key_len = 1;
	}
	take(o, items, n, 1, &one);
	take(o, items, n, n, &all);
	assert_int_equal(one.status, all.status);
	assert_string_equal(buf_cstr(&one.rows), buf_cstr(&all.rows));
	assert_string_equal(buf_cstr(&one.bad), buf_cstr(&all.bad));
	assert_memory_equal(one.rows_of, all.rows_of, n * sizeof *one.rows_of);
	clear(&one);
	clear(&all);
	for (size_t i = 0; i < n; i++)
		mem_free(texts[i]);
}

static void together_they_give_what_they_give_one_by_one(void **state)
{
	const struct messages_options json = {.format = "ndjson", .schema_text = "a int"};
	const struct messages_options keyed = {
		.format = "ndjson", .schema_text = "a int", .keys = key_columns, .keys_len = 1};
	const struct messages_options csv = {
		.format = "csv", .schema_text = "a int, b string", .reader = {.quoted_newlines = true}};

	for (int i = 0; i < ROUNDS; i++) {
		check_round(&json, random_json);
		check_round(&keyed, random_json);
		check_round(&csv, random_csv);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(what_is_malformed_is_a_message_not_the_stream),
		cmocka_unit_test(a_message_is_one_or_more_records),
		cmocka_unit_test(change_events_are_any_number_of_rows),
		cmocka_unit_test(a_key_gives_columns_and_makes_a_tombstone_a_row),
		cmocka_unit_test(an_event_time_has_to_be_there_and_not_far_ahead),
		cmocka_unit_test(together_they_give_what_they_give_one_by_one),
	};
	const char *given = getenv("SEED");

	seed = given ? strtoull(given, NULL, 10) : (unsigned long long)time(NULL);
	print_message("seed %llu\n", seed);
	seed = seed * 2654435761u + 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
