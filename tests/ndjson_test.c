#include "formats/reader.h"
#include "libcore/base/civil.h"
#include "libcore/base/cpu.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/utf8.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { COLUMNS_MAX = 16 };

static uint64_t seed;

static uint64_t next_random(void) /* xorshift64* (Marsaglia, Vigna) */
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned below(unsigned bound)
{
	return (unsigned)(next_random() >> 33) % bound;
}

/* ---- columns from a text: "a int, n.x int, t timestamp(ms), e! timestamp" (!: required) ---- */

struct wants {
	struct wanted_column columns[COLUMNS_MAX];
	const char *paths[COLUMNS_MAX][4];
	char text[512];
	size_t len;
};

static void wants_parse(struct wants *w, const char *text)
{
	char *item, *save, *dot;
	struct error e;

	memset(w, 0, sizeof(*w));
	snprintf(w->text, sizeof(w->text), "%s", text);
	for (item = strtok_r(w->text, ";", &save); item; item = strtok_r(NULL, ";", &save)) {
		struct wanted_column *c = &w->columns[w->len];
		char *type, *unit;

		item += strspn(item, " ");
		type = strchr(item, ' ');
		assert_non_null(type);
		*type++ = 0;
		if (type[-2] == '!') {
			type[-2] = 0;
			c->required = true;
		}
		c->name = strdup(item);
		c->position = -1;
		c->path = w->paths[w->len];
		for (dot = item; dot; item = dot) {
			dot = strchr(item, '.');
			if (dot)
				*dot++ = 0;
			w->paths[w->len][c->path_len++] = item;
		}
		unit = strstr(type, "(ms)") ? strstr(type, "(ms)") : strstr(type, "(s)");
		if (unit) {
			c->unit = unit[1] == 's' ? TIME_S : TIME_MS;
			*unit = 0;
		}
		assert_int_equal(type_parse(type, strlen(type), &c->type, &e), 0);
		w->len++;
	}
}

static void wants_clear(struct wants *w)
{
	for (size_t i = 0; i < w->len; i++)
		free((void *)(uintptr_t)w->columns[i].name);
}

/* ---- a document in, text out: "a|b|c\n" a row, "line:column: reason\n" a bad record ---- */

struct result {
	struct buf rows, bad;
};

static int take_bad(void *context, const struct bad_record *b, struct error *e)
{
	struct result *r = context;

	(void)e;
	buf_printf(&r->bad, "%" PRIu64 ":%u: %s\n", b->line, b->column, b->reason);
	return 0;
}

static void put_rows(struct column_builder *builders, size_t n, struct buf *out)
{
	struct column views[COLUMNS_MAX];

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(builders[i].rows, builders[0].rows);
		views[i] = builder_column(&builders[i]);
	}
	for (uint32_t row = 0; row < builders[0].rows; row++) {
		for (size_t i = 0; i < n; i++) {
			if (i)
				buf_put_byte(out, '|');
			column_put_text(&views[i], row, 4096, out);
		}
		buf_put_byte(out, '\n');
	}
}

/* Shows the document in two windows, cut at `cut`, taking rows_max rows at a time.  Every window is
 * its own allocation, so that a sanitizer sees what reads past it. */
static void feed(struct reader *r, const struct wants *w, const char *doc, size_t len, size_t cut,
	uint32_t rows_max, struct result *out)
{
	struct bad_sink bad = {take_bad, out};
	struct column_builder builders[COLUMNS_MAX];
	struct error e = ERROR_INIT;
	size_t at = 0, consumed, shown;

	for (size_t i = 0; i < w->len; i++)
		builder_init(&builders[i], w->columns[i].type);
	for (shown = cut; at < len;) {
		uint8_t *window = malloc(shown - at + 1);
		uint32_t before = builders[0].rows;

		memcpy(window, doc + at, shown - at);
		if (r->ops->parse(r, window, shown - at, shown == len, rows_max, builders, &bad,
			    &consumed, &e))
			fail_msg("%s", e.text);
		assert_true(consumed <= shown - at);
		assert_true(builders[0].rows - before <= rows_max);
		memset(window, 'x', shown - at);
		free(window);
		at += consumed;
		if (builders[0].rows - before < rows_max || !consumed) {
			assert_true(shown < len || at == len);
			shown = len;
		}
		if (builders[0].rows > 20) {
			put_rows(builders, w->len, &out->rows);
			for (size_t i = 0; i < w->len; i++)
				builder_reset(&builders[i]);
		}
	}
	put_rows(builders, w->len, &out->rows);
	for (size_t i = 0; i < w->len; i++)
		builder_clear(&builders[i]);
}

enum mode { MODE_AVX2, MODE_PORTABLE, MODE_FRESH, MODES };

/* A fresh reader for every line knows no shapes: all goes the strict way. */
static void feed_fresh(const struct reader_options *o, const struct wants *w, const char *doc,
	size_t len, struct result *out)
{
	uint64_t line = 1;
	struct error e;

	for (const char *p = doc, *end = doc + len; p < end; line++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = newline ? (size_t)(newline - p) + 1 : (size_t)(end - p);
		struct reader *r = ndjson_reader_new(o);

		assert_int_equal(r->ops->want(r, w->columns, w->len, &e), 0);
		r->ops->resume(r, line);
		feed(r, w, p, n, n, 100, out);
		r->ops->free(r);
		p += n;
	}
}

static struct result parse(
	const char *columns, const char *doc, size_t len, size_t cut, enum mode mode)
{
	struct reader_options o = {.input = "t"};
	struct result out = {BUF_INIT, BUF_INIT};
	struct wants w;
	struct error e;

	wants_parse(&w, columns);
	cpu_force_portable(mode == MODE_PORTABLE);
	if (mode == MODE_FRESH) {
		feed_fresh(&o, &w, doc, len, &out);
	} else {
		struct reader *r = ndjson_reader_new(&o);

		assert_int_equal(r->ops->want(r, w.columns, w.len, &e), 0);
		feed(r, &w, doc, len, cut, 7, &out);
		r->ops->free(r);
	}
	cpu_force_portable(false);
	wants_clear(&w);
	buf_cstr(&out.rows);
	buf_cstr(&out.bad);
	return out;
}

static void result_clear(struct result *r)
{
	buf_clear(&r->rows);
	buf_clear(&r->bad);
}

static void assert_parses(
	const char *columns, const char *doc, size_t len, const char *rows, const char *bad)
{
	for (int mode = 0; mode < MODES; mode++) {
		struct result r = parse(columns, doc, len, len, (enum mode)mode);

		if (strcmp((char *)r.rows.data, rows) != 0 ||
			(bad && strcmp((char *)r.bad.data, bad) != 0))
			fail_msg("mode %d\n%s\ngives\n%s%s\nnot\n%s%s", mode, doc,
				(char *)r.rows.data, (char *)r.bad.data, rows, bad ? bad : "");
		result_clear(&r);
	}
}

/* ---- wrong input ---- */

static void what_is_malformed_is_told_with_line_and_column(void **state)
{
	static const struct {
		const char *record;
		unsigned column;
		const char *reason;
	} cases[] = {
		{"5", 1, "must be an object"},
		{"[{\"a\":1}]", 1, "jq -c"},
		{"{", 2, "must be on one line"},
		{"{\"a\"", 5, "colon"},
		{"{\"a\" 1}", 6, "colon"},
		{"{\"a\":}", 6, "no JSON value"},
		{"{\"a\":", 6, "ends where a value"},
		{"{\"a\":1", 7, "comma or }"},
		{"{\"a\":1 \"b\":2}", 8, "comma or }"},
		{"{\"b\":1 \"a\":2}", 8, "comma or }"},
		{"{\"a\":1}}x", 8, "more behind"},
		{"{\"a\":1}}", 8, "more behind"},
		{"{\"a\":1} ,}", 9, "more behind"},
		{"{\"a\":1,}}x", 11, "end with the record's }"},
		{"{\"b\":1}}", 8, "more behind"},
		{"{\"b\":1,}", 8, "key in double quotes"},
		{"{b:1}", 2, "key in double quotes"},
		{"{'b':1}", 2, "key in double quotes"},
		{"{\"b\":'x'}", 6, "strings have double quotes"},
		{"{\"b\":NaN}", 6, "no NaN"},
		{"{\"b\":True}", 6, "lower case"},
		{"{\"b\":nul}", 6, "no JSON value"},
		{"{\"b\":01}", 6, "leading zeros"},
		{"{\"a\":01}", 6, "leading zeros"},
		{"{\"a\":-01}", 7, "leading zeros"},
		{"{\"b\":-}", 7, "no digit"},
		{"{\"b\":1.}", 8, "point"},
		{"{\"b\":1e}", 8, "exponent"},
		{"{\"b\":.5}", 6, "no JSON value"},
		{"{\"b\":+1}", 6, "no JSON value"},
		{"{\"b\":[1,2}", 10, "comma or ]"},
		{"{\"b\":{\"c\":1]}", 12, "comma or }"},
		{"{\"b\":[1,]}", 9, "no JSON value"},
		{"{\"b\":{\"c\":1,}}", 13, "key in double quotes"},
		{"{\"b\":[", 7, "ends where a value"},
		{"{\"b\":\"x", 8, "within a string"},
		{"{\"b\":\"\t\"}", 7, "control character 0x09"},
		{"{\"s\":\"\t\",\"a\":1}", 7, "control character 0x09"},
		{"{\"b\":\"\\x\"}", 8, "no such escape"},
		{"{\"b\":\"\\u12g4\"}", 8, "hex digits"},
		{"{\"b\":\"\\ud800\"}", 8, "surrogate"},
		{"{\"b\":\"\\ud800\\u0041\"}", 8, "surrogate"},
		{"{\"s\":\"\\udc00\"}", 8, "surrogate"},
		{"{\"s\":\"ab\xff\"}", 9, "not UTF-8: byte 0xff"},
		{"{\"s\":\"ab\xc3\"}", 9, "not UTF-8"},
		{"{\"s\":\"\xed\xa0\x80\"}", 7, "not UTF-8"},
		{"{\"\xff\":1}", 3, "not UTF-8"},
		{"{\"a\":1.5}", 6, "1.5"},
		{"{\"a\":\"abc\"}", 6, "abc"},
		{"{\"a\":9223372036854775808}", 6, "out of range"},
		{"{\"a\":{}}", 6, "take it as any"},
		{"{\"a\":[1]}", 6, "take it as any"},
		{"{\"a\":true}", 6, "true"},
		{"{\"f\":1e999}", 6, "out of range"},
		{"{\"t\":\"2026-13-01T00:00:00Z\"}", 6, "2026-13"},
		{"{\"t\":\"2026-01-01T24:00:00Z\"}", 6, "2026-01"},
		{"{\"t\":\"2026-01-01T00:00:60Z\"}", 6, "2026-01"},
		{"{\"t\":\"soon\"}", 6, "soon"},
		{"{\"t\":1767225600}", 6, "timestamp(s)"},
	};
	static const char good[] =
		"{\"a\":1,\"s\":\"x\",\"f\":0.5,\"t\":\"2026-01-01T00:00:00Z\"}\n";

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (int mode = 0; mode < MODES; mode++) {
			char doc[512], where[32];
			int len = snprintf(
				doc, sizeof(doc), "%s%s\n%s", good, cases[i].record, good);
			/* The cases that need all of the record look at columns which it doesn't
			 * have. */
			const char *columns = strstr(cases[i].record, "\"a\":") &&
							      cases[i].column < 12 &&
							      !strstr(cases[i].record, "\"s\":\"\t")
						      ? "a int"
						      : "a int; s string; f float; t timestamp";
			struct result r = parse(
				columns, doc, (size_t)len, (size_t)len, (enum mode)mode);

			snprintf(where, sizeof(where), "2:%u: ", cases[i].column);
			if (strncmp((char *)r.bad.data, where, strlen(where)) != 0 ||
				!strstr((char *)r.bad.data, cases[i].reason))
				fail_msg("mode %d, '%s' gives '%s', not '%s%s'", mode,
					cases[i].record, (char *)r.bad.data, where,
					cases[i].reason);
			result_clear(&r);
		}
}

/* Also where nothing but the end is left to be read. */
static void an_object_ends_where_its_parts_do(void **state)
{
	static const char doc[] =
		"{\"n\":{\"x\":1}}\n{\"n\":{\"x\":2}}\r\n{\"n\":{\"x\":3}\n{\"n\":{\"x\":4}}}\n"
		"{\"n\":{\"x\":5},}\n{\"n\":{\"x\":6} } \n{\"n\":{\"x\":7},\"y\":1}\n{\"n\":{\"x\":8}},}\n"
		"{\"n\":{\"x\":9,\"y\":1}}\n{\"n\":{\"x\":10}]}\n{\"n\":{\"x\":11}}\n";

	(void)state;
	assert_parses("n.x int", doc, sizeof(doc) - 1, "1\n2\n5\n6\n7\n9\n11\n",
		"3:13: a comma or } should follow the value\n"
		"4:14: more behind the record's end; one record must be on one line\n"
		"8:14: more behind the record's end; one record must be on one line\n"
		"10:14: a comma or } should follow the value\n");
}

static void a_missing_or_null_event_time_is_malformed(void **state)
{
	static const char doc[] = "{\"t\":1,\"a\":1}\n{\"a\":2}\n{\"t\":null,\"a\":3}\n{\"t\":4}\n";

	(void)state;
	assert_parses("t! timestamp(s); a int", doc, sizeof(doc) - 1,
		"1970-01-01T00:00:01Z|1\n1970-01-01T00:00:04Z|null\n",
		"2:8: no event time (column t)\n3:6: no event time (column t)\n");
}

static void without_a_sink_the_first_bad_record_is_an_error(void **state)
{
	static const char doc[] = "{\"a\":1}\n{\"a\":\"x\"}\n";
	struct reader_options o = {.input = "in.ndjson"};
	struct reader *r = ndjson_reader_new(&o);
	struct column_builder b;
	struct wants w;
	struct error e;
	size_t consumed;

	(void)state;
	wants_parse(&w, "a int");
	builder_init(&b, w.columns[0].type);
	assert_int_equal(r->ops->want(r, w.columns, 1, &e), 0);
	assert_int_equal(r->ops->parse(r, (const uint8_t *)doc, sizeof(doc) - 1, true, 10, &b, NULL,
				 &consumed, &e),
		-1);
	assert_non_null(strstr(e.text, "in.ndjson:2:6: "));
	assert_int_equal(e.code, ERROR_DATA);
	assert_int_equal(b.rows, 1);
	builder_clear(&b);
	r->ops->free(r);
	wants_clear(&w);
}

/* ---- right input ---- */

static void values_come_in_many_forms(void **state)
{
	static const struct {
		const char *columns, *doc, *rows;
	} cases[] = {
		{"a int", "{\"a\":1}\n\n  \r\n{\"a\":2}", "1\n2\n"},
		{"a int", "\xef\xbb\xbf{\"a\":1}\r\n{\"a\":2}\r\n", "1\n2\n"},
		{"a int", "{}\n{\"b\":1}\n{\"a\":null}\n{}\n{}\n",
			"null\nnull\nnull\nnull\nnull\n"},
		{"a int", "{\"a\":1,\"a\":2}\n{\"a\":3,\"a\":4}\n", "1\n3\n"},
		{"a int; b int", "{\"a\":1,\"a\":2,\"b\":3}\n{\"a\":4,\"a\":5,\"b\":6}\n",
			"1|3\n4|6\n"},
		{"a int", "{\"a\":1e3}\n{\"a\":2.0}\n{\"a\":\"7\"}\n{\"a\":-0}\n",
			"1000\n2\n7\n0\n"},
		{"a int", "{\"a\":123456789012345678}\n{\"a\":-9223372036854775808}\n",
			"123456789012345678\n-9223372036854775808\n"},
		{"a int", " { \"a\" : 1 , \"b\" : [ ] } \n { \"a\" : 2 , \"b\" : [ ] } \n",
			"1\n2\n"},
		{"a int", "{\"\\u0061\":1}\n{\"\\u0061\":2}\n", "1\n2\n"},
		{"s string", "{\"s\":\"\\u00e9\\ud83d\\ude00\\n\\\"\"}\n{\"s\":\"\xc3\xa9\"}\n",
			"\xc3\xa9\xf0\x9f\x98\x80\n\"\n\xc3\xa9\n"},
		{"s string", "{\"s\":1.50}\n{\"s\":true}\n{\"s\":\"\"}\n", "1.50\ntrue\n\n"},
		{"s string; a int", "{\"s\":\"\",\"a\":1}\n{\"s\":\"\",\"a\":2}\n", "|1\n|2\n"},
		{"n.x int",
			"{\"n\":{\"y\":[1],\"x\":5}}\n{\"n\":{\"y\":[],\"x\":6}}\n{\"n\":3}\n"
			"{\"n\":{\"x\":7}}\n{\"n\":3}\n{\"n\":null}\n{\"n\":{}}\n{\"n\":{\"x\":8}}"
			"\n",
			"5\n6\nnull\n7\nnull\nnull\nnull\n8\n"},
		{"n.x int; n any", "{\"n\":{\"x\":5}}\n{\"n\":{\"x\":6}}\n{\"n\":1}\n",
			"5|{\"x\":5}\n6|{\"x\":6}\nnull|1\n"},
		{"n any",
			"{\"n\":[1,{\"k\":[true,null,\"v\"]},-2.5]}\n{\"n\":\"x\"}\n{\"n\":null}\n",
			"[1,{\"k\":[true,null,\"v\"]},-2.5]\n\"x\"\nnull\n"},
		{"t timestamp",
			"{\"t\":\"2026-01-02T03:04:05.678Z\"}\n{\"t\":\"2026-01-02 03:04:05\"}\n"
			"{\"t\":\"2026-01-02T03:04:05+01:00\"}\n{\"t\":\"2026-01-02\"}\n"
			"{\"t\":\"2026-01-02T03:04:05.123456789Z\"}\n",
			"2026-01-02T03:04:05.678Z\n2026-01-02T03:04:05Z\n2026-01-02T02:04:05Z\n"
			"2026-01-02T00:00:00Z\n2026-01-02T03:04:05.123456Z\n"},
		{"t timestamp(ms)", "{\"t\":1500}\n{\"t\":1.5}\n{\"t\":-1}\n{\"t\":\"2000\"}\n",
			"1970-01-01T00:00:01.500Z\n1970-01-01T00:00:00.001500Z\n"
			"1969-12-31T23:59:59.999Z\n1970-01-01T00:00:02Z\n"},
		{"y bytes; s string", "{\"y\":\"aGk=\",\"s\":\"a\"}\n{\"y\":\"aGk\",\"s\":\"b\"}\n",
			"\\x6869|a\n\\x6869|b\n"},
		{"a int; z int", "{\"a\":1}\n{\"a\":2}\n{\"z\":3,\"a\":4}\n{\"a\":5}\n",
			"1|null\n2|null\n4|3\n5|null\n"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_parses(
			cases[i].columns, cases[i].doc, strlen(cases[i].doc), cases[i].rows, "");
}

static void spellings_of_null_are_null(void **state)
{
	static const char doc[] = "{\"a\":\"NA\",\"s\":\"NA\"}\n{\"a\":1,\"s\":\"x\"}\n";
	static const char *const nulls[] = {"NA"};
	struct reader_options o = {.input = "t", .nulls = nulls, .nulls_len = 1};
	struct reader *r = ndjson_reader_new(&o);
	struct result out = {BUF_INIT, BUF_INIT};
	struct wants w;
	struct error e;

	(void)state;
	wants_parse(&w, "a int; s string");
	assert_int_equal(r->ops->want(r, w.columns, w.len, &e), 0);
	feed(r, &w, doc, sizeof(doc) - 1, sizeof(doc) - 1, 10, &out);
	assert_string_equal(buf_cstr(&out.rows), "null|null\n1|x\n");
	r->ops->free(r);
	wants_clear(&w);
	result_clear(&out);
}

static void a_document_cut_anywhere_gives_the_same_rows(void **state)
{
	static const char doc[] =
		"{\"a\":12345678,\"s\":\"a text that is a little longer than thirty-two bytes\","
		"\"t\":\"2026-01-01T00:00:00.5Z\"}\r\n"
		"{\"a\":1,\"s\":\"\xc3\xa9\\u00e9\",\"t\":null}\n\n{\"s\":\"x\",\"a\":0x1}\n"
		"{\"a\":2,\"s\":\"y\",\"t\":\"2026-01-01\",\"more\":[{\"k\":\"}\\n\"}]}\n{\"a\":3}"
		"\n"
		"{\"a\":12345678,\"s\":\"once more a text longer than those thirty-two bytes\","
		"\"t\":\"2026-01-01T00:00:00.5Z\"}";
	static const char columns[] = "a int; s string; t timestamp";
	struct result whole = parse(columns, doc, sizeof(doc) - 1, sizeof(doc) - 1, MODE_AVX2);

	(void)state;
	assert_non_null(strstr((char *)whole.bad.data, "4:"));
	for (size_t cut = 0; cut < sizeof(doc); cut++)
		for (int mode = 0; mode < MODE_FRESH; mode++) {
			struct result r = parse(
				columns, doc, sizeof(doc) - 1, cut, (enum mode)mode);

			assert_string_equal((char *)r.rows.data, (char *)whole.rows.data);
			assert_string_equal((char *)r.bad.data, (char *)whole.bad.data);
			result_clear(&r);
		}
	result_clear(&whole);
}

/* ---- random documents ---- */

static void put_random_space(struct buf *doc, unsigned spaced)
{
	while (spaced && below(4) == 0)
		buf_put_byte(doc, " \t\r"[below(3)]);
}

/* The JSON of a character, escaped or as it is. */
static void put_json_char(struct buf *doc, uint32_t code)
{
	char text[4];

	if (code < 0x20 || code == '"' || code == '\\' || below(20) == 0) {
		if (code > 0xffff)
			buf_printf(doc, "\\u%04x\\u%04X", 0xd800 + ((code - 0x10000) >> 10),
				0xdc00 + (code & 0x3ff));
		else
			buf_printf(doc, "\\u%04x", code);
		return;
	}
	buf_put(doc, text, utf8_encode(text, code));
}

static void put_random_string(struct buf *doc, struct column_builder *b)
{
	static const uint32_t odd[] = {'"', '\\', '\n', 0, 0xe9, 0x7ff, 0x20ac, 0x1f600, 0x10ffff};
	struct buf text = BUF_INIT;
	unsigned len = below(3) ? below(12) : below(150), strange = below(6) == 0;

	buf_put_byte(doc, '"');
	for (unsigned i = 0; i < len; i++) {
		uint32_t code = strange && below(5) == 0 ? odd[below(COUNT(odd))] : ' ' + below(95);
		char utf8[4];

		put_json_char(doc, code);
		buf_put(&text, utf8, utf8_encode(utf8, code));
	}
	buf_put_byte(doc, '"');
	if (b)
		builder_put_text(b, text.data, text.len);
	buf_clear(&text);
}

static int64_t random_int(void)
{
	int64_t v = (int64_t)(next_random() >> (1 + below(63)));

	return below(3) ? v : -v;
}

/* A value for the column into both the document and, as the oracle, the builder. */
static void put_random_value(struct buf *doc, struct column_builder *b)
{
	char text[FLOAT_TEXT_MAX + TIMESTAMP_TEXT_MAX];
	int64_t v = random_int();
	double d = (double)v / 1024;

	if (below(12) == 0) {
		buf_put_text(doc, "null");
		builder_put_null(b);
		return;
	}
	switch (b->type.kind) {
	case TYPE_INT:
		buf_printf(doc, "%" PRId64 "%s", v, below(30) ? "" : "e0");
		builder_put_int(b, v);
		break;
	case TYPE_FLOAT:
		buf_put(doc, text, float_put(text, d, below(2) ? FLOAT_WHOLE : 0));
		builder_put_float(b, d);
		break;
	case TYPE_BOOL:
		buf_put_text(doc, v & 1 ? "true" : "false");
		builder_put_bool(b, v & 1);
		break;
	case TYPE_TIMESTAMP:
		v %= INT64_C(60000000000000000);
		v -= below(3) ? v % 1000000 : below(2) ? v % 1000 : 0;
		buf_put_byte(doc, '"');
		buf_put(doc, text, timestamp_put(text, v));
		buf_put_byte(doc, '"');
		builder_put_int(b, v);
		break;
	case TYPE_DATE:
		buf_put_byte(doc, '"');
		buf_put(doc, text, date_put(text, (int32_t)(v % 100000)));
		buf_put_byte(doc, '"');
		builder_put_date(b, (int32_t)(v % 100000));
		break;
	default: put_random_string(doc, b);
	}
}

static void put_random_junk(struct buf *doc, unsigned depth)
{
	static const char *const junk[] = {"0", "-12.5e-3", "true", "null", "[]", "{}", "{\"a\":1}",
		"[1,[2,{\"b\":null}]]", "\"x\\\\\"", "{\"k\":[{\"a\":\"}\"}]}"};

	(void)depth;
	if (below(3) == 0)
		put_random_string(doc, NULL);
	else
		buf_put_text(doc, junk[below(COUNT(junk))]);
}

static const char random_columns[] =
	"a int; b float; c bool; s string; t timestamp; d date; n.x int; z string";

/* One record: keys in an order that stays for a while, sometimes missing, with unwanted ones. */
static void put_random_record(struct buf *doc, struct column_builder *b, size_t n,
	const unsigned *order, unsigned spaced, unsigned gaps)
{
	static const char *const keys[] = {"a", "b", "c", "s", "t", "d", "n", "z"};
	bool first = true;

	buf_put_byte(doc, '{');
	for (size_t k = 0; k < n; k++) {
		unsigned i = order[k];
		bool nested = keys[i][0] == 'n';

		if (gaps && below(8) == 0) {
			builder_put_null(&b[i]);
			continue;
		}
		put_random_space(doc, spaced);
		if (!first)
			buf_put_byte(doc, ',');
		first = false;
		if (gaps && below(8) == 0) {
			buf_put_text(doc, "\"junk\":");
			put_random_junk(doc, 0);
			buf_put_byte(doc, ',');
		}
		put_random_space(doc, spaced);
		buf_printf(doc, "\"%s\"", keys[i]);
		put_random_space(doc, spaced);
		buf_put_byte(doc, ':');
		put_random_space(doc, spaced);
		buf_put_text(doc, nested ? "{\"w\":[3],\"x\":" : "");
		put_random_value(doc, &b[i]);
		buf_put_text(doc, nested ? ",\"x\":7}" : "");
	}
	put_random_space(doc, spaced);
	buf_put_text(doc, below(10) ? "}\n" : "}\r\n");
}

static void random_documents_give_the_values_they_were_made_of(void **state)
{
	unsigned order[8] = {0, 1, 2, 3, 4, 5, 6, 7};

	(void)state;
	seed = UINT64_C(0x123456789abcdef);
	print_message("seed %#" PRIx64 "\n", seed);
	for (int round = 0; round < 300; round++) {
		struct column_builder b[8];
		struct buf doc = BUF_INIT, expected = BUF_INIT;
		unsigned spaced = below(4) == 0, gaps = below(3) == 0, records = below(60);
		struct wants w;

		wants_parse(&w, random_columns);
		for (size_t i = 0; i < w.len; i++)
			builder_init(&b[i], w.columns[i].type);
		for (unsigned i = 0; i < records; i++) {
			if (below(20) == 0) {
				unsigned x = below(8), y = below(8), other = order[x];

				order[x] = order[y];
				order[y] = other;
			}
			put_random_record(&doc, b, w.len, order, spaced, gaps);
		}
		put_rows(b, w.len, &expected);
		buf_reserve(&doc, 1);
		assert_parses(random_columns, (char *)doc.data, doc.len, buf_cstr(&expected), "");
		for (size_t i = 0; i < w.len; i++)
			builder_clear(&b[i]);
		wants_clear(&w);
		buf_clear(&doc);
		buf_clear(&expected);
	}
}

/* Bytes of good documents changed: whatever comes of it, all ways agree. */
static void damaged_documents_give_the_same_on_every_path(void **state)
{
	static const char alphabet[] = "{}[]\",:\\0159.eE-+ntfu\n\r \t/a\x01\x80\xc3\xff";
	unsigned order[8] = {0, 1, 2, 3, 4, 5, 6, 7};

	(void)state;
	seed = UINT64_C(0xfeedbeef12345);
	print_message("seed %#" PRIx64 "\n", seed);
	for (int round = 0; round < 3000; round++) {
		struct column_builder b[8];
		struct buf doc = BUF_INIT;
		struct result r[MODES];
		struct wants w;

		wants_parse(&w, random_columns);
		for (size_t i = 0; i < w.len; i++)
			builder_init(&b[i], w.columns[i].type);
		for (unsigned i = 0; i < 6; i++)
			put_random_record(&doc, b, w.len, order, 0, round & 1);
		for (unsigned i = 0, n = 1 + below(4); i < n; i++)
			doc.data[below((unsigned)doc.len)] = (uint8_t)
				alphabet[below(sizeof(alphabet))];
		for (int mode = 0; mode < MODES; mode++)
			r[mode] = parse(round & 2 ? random_columns : "a int; s string; n.x int",
				(char *)doc.data, doc.len, doc.len, (enum mode)mode);
		for (int mode = 1; mode < MODES; mode++)
			if (strcmp((char *)r[0].rows.data, (char *)r[mode].rows.data) != 0 ||
				strcmp((char *)r[0].bad.data, (char *)r[mode].bad.data) != 0)
				fail_msg("round %d, mode %d\n%.*s\ngives\n%s%s\nnot\n%s%s", round,
					mode, (int)doc.len, (char *)doc.data,
					(char *)r[mode].rows.data, (char *)r[mode].bad.data,
					(char *)r[0].rows.data, (char *)r[0].bad.data);
		for (int mode = 0; mode < MODES; mode++)
			result_clear(&r[mode]);
		for (size_t i = 0; i < w.len; i++)
			builder_clear(&b[i]);
		wants_clear(&w);
		buf_clear(&doc);
	}
}

/* ---- inference ---- */

static void types_are_inferred_from_the_sample(void **state)
{
	static const struct {
		const char *doc, *schema;
	} cases[] = {
		{"{\"b\":1,\"a\":\"x\"}\n{\"c\":true,\"a\":\"y\"}\n", "b int, a string, c bool"},
		{"{\"a\":1}\n{\"a\":1.5}\n", "a float"},
		{"{\"a\":1}\n{\"a\":\"x\"}\n", "a string"},
		{"{\"a\":1}\n{\"a\":true}\n", "a string"},
		{"{\"a\":null}\n{\"a\":null}\n", "a string"},
		{"{\"a\":null}\n{\"a\":2}\n", "a int"},
		{"{\"a\":\"2026-01-01\"}\n", "a date"},
		{"{\"a\":\"2026-01-01\"}\n{\"a\":\"2026-01-01T10:00:00Z\"}\n", "a timestamp"},
		{"{\"a\":\"2026-01-01\"}\n{\"a\":\"never\"}\n", "a string"},
		{"{\"a\":{\"b\":1}}\n{\"a\":2}\n", "a any"},
		{"{\"a\":[]}\n", "a any"},
		{"{\"a\":\"\"}\n", "a string"},
		{"\xef\xbb\xbf\n{\"a\":1}\nbroken\n{\"b\":2}", "a int, b int"},
		{"{\"a\":1}\n{\"a\":1.5", "a float"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct reader_options o = {.input = "t"};
		struct reader *r = ndjson_reader_new(&o);
		struct schema s = SCHEMA_INIT;
		struct error e = ERROR_INIT;
		struct buf text = BUF_INIT;

		assert_int_equal(r->ops->infer(r, (const uint8_t *)cases[i].doc,
					 strlen(cases[i].doc), true, 1000, &s, &e),
			0);
		schema_put(&s, &text);
		assert_string_equal(buf_cstr(&text), cases[i].schema);
		buf_clear(&text);
		schema_clear(&s);
		r->ops->free(r);
	}
}

static void a_sample_that_is_no_json_says_where(void **state)
{
	struct reader_options o = {.input = "x.ndjson"};
	struct reader *r = ndjson_reader_new(&o);
	struct schema s = SCHEMA_INIT;
	struct error e = ERROR_INIT;

	(void)state;
	assert_int_equal(
		r->ops->infer(r, (const uint8_t *)"\na,b\n1,2\n", 9, true, 10, &s, &e), -1);
	assert_non_null(strstr(e.text, "x.ndjson:2:1: "));
	schema_clear(&s);
	r->ops->free(r);
}

/* ---- lines ---- */

static void lines_are_rows_of_one_column(void **state)
{
	static const char doc[] = "one\r\n\ntwo \xc3\xa9\nb\xff"
				  "d\nlast";
	struct reader_options o = {.input = "t"};
	struct wants w;
	struct error e;

	(void)state;
	wants_parse(&w, "line string");
	for (size_t cut = 0; cut < sizeof(doc); cut++) {
		struct reader *r = lines_reader_new(&o);
		struct result out = {BUF_INIT, BUF_INIT};

		assert_int_equal(r->ops->want(r, w.columns, w.len, &e), 0);
		feed(r, &w, doc, sizeof(doc) - 1, cut < sizeof(doc) - 1 ? cut : sizeof(doc) - 1, 7,
			&out);
		assert_string_equal(buf_cstr(&out.rows), "one\n\ntwo \xc3\xa9\nlast\n");
		assert_string_equal(buf_cstr(&out.bad), "4:2: not UTF-8: byte 0xff\n");
		assert_int_equal(r->ops->line(r), 6);
		result_clear(&out);
		r->ops->free(r);
	}
	wants_clear(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_malformed_is_told_with_line_and_column),
		cmocka_unit_test(an_object_ends_where_its_parts_do),
		cmocka_unit_test(a_missing_or_null_event_time_is_malformed),
		cmocka_unit_test(without_a_sink_the_first_bad_record_is_an_error),
		cmocka_unit_test(values_come_in_many_forms),
		cmocka_unit_test(spellings_of_null_are_null),
		cmocka_unit_test(a_document_cut_anywhere_gives_the_same_rows),
		cmocka_unit_test(random_documents_give_the_values_they_were_made_of),
		cmocka_unit_test(damaged_documents_give_the_same_on_every_path),
		cmocka_unit_test(types_are_inferred_from_the_sample),
		cmocka_unit_test(a_sample_that_is_no_json_says_where),
		cmocka_unit_test(lines_are_rows_of_one_column),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
