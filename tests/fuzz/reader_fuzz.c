/* The msgpack and regex readers: the first byte chooses one and its columns, the second where the
 * document is cut in two windows.  In one window and in two, rows and bad records are the same. */
#include "formats/reader.h"
#include "libcore/base/must.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLUMNS = 8, DOCUMENT_MAX = 1 << 14 };

static const char *const path_a[] = {"a"}, *const path_b[] = {"b"}, *const path_n[] = {"n", "x"};

static const struct wanted_column all[COLUMNS] = {
	{.name = "a", .path = path_a, .path_len = 1, .type = {.kind = TYPE_INT}},
	{.name = "b", .path = path_b, .path_len = 1, .type = {.kind = TYPE_STRING}},
	{.name = "f", .path = path_a, .path_len = 1, .type = {.kind = TYPE_FLOAT}},
	{.name = "t", .path = path_b, .path_len = 1, .type = {.kind = TYPE_TIMESTAMP}},
	{.name = "y", .path = path_a, .path_len = 1, .type = {.kind = TYPE_BYTES}},
	{.name = "m", .path = path_b, .path_len = 1, .type = {TYPE_DECIMAL, 10, 2}},
	{.name = "v", .path = path_n, .path_len = 2, .type = {.kind = TYPE_ANY}},
	{.name = "o", .path = path_n, .path_len = 1, .type = {.kind = TYPE_ANY}},
};

struct run {
	struct wanted_column columns[COLUMNS];
	struct column_builder builders[COLUMNS];
	size_t len;
	struct buf bad;
	int status;
};

static int take_bad(void *context, const struct bad_record *b, struct error *e)
{
	struct run *r = context;

	buf_printf(&r->bad, "%llu:%u: %s\n", (unsigned long long)b->line, b->column, b->reason);
	return 0;
}

static void run_init(struct run *r, uint8_t choice, bool regex)
{
	*r = (struct run){.bad = BUF_INIT};
	for (size_t i = 0; i < COLUMNS; i++) {
		if ((i == 0 || choice >> i & 1) && (!regex || i < 6))
			r->columns[r->len++] = all[i];
	}
	for (size_t i = 0; i < r->len; i++)
		builder_init(&r->builders[i], r->columns[i].type);
}

static void run_clear(struct run *r)
{
	for (size_t i = 0; i < r->len; i++)
		builder_clear(&r->builders[i]);
	buf_clear(&r->bad);
}

static struct reader *reader_for(const struct run *r, bool regex)
{
	struct reader_options o = {.input = "fuzz",
		.regex = "^(?<b>[^ ]*)(?: (?<a>-?[0-9]+))?(?: .*)?$"};
	struct reader *reader;
	struct error e = ERROR_INIT;
	int status = 0;

	if (regex)
		status = regex_reader_new(&o, &reader, &e);
	else
		reader = msgpack_reader_new(&o);
	MUST(!status);
	status = reader->ops->want(reader, r->columns, r->len, &e);
	MUST(!status);
	return reader;
}

static void feed(struct run *r, bool regex, const uint8_t *doc, size_t len, size_t cut)
{
	struct reader *reader = reader_for(r, regex);
	struct bad_sink bad = {take_bad, r};
	size_t at = 0, shown = cut < len ? cut : len, consumed = 0;
	struct error e = ERROR_INIT;

	for (;;) {
		uint8_t *window = malloc(shown - at + 1); /* reading past it shows */

		MUST(window);
		memcpy(window, doc + at, shown - at);
		r->status = reader->ops->parse(reader, window, shown - at, shown == len, 1 << 20,
			r->builders, &bad, &consumed, &e);
		free(window);
		MUST(consumed <= shown - at);
		at += consumed;
		if (shown == len || r->status)
			break;
		shown = len;
	}
	error_clear(&e);
	reader->ops->free(reader);
}

static void check_same(const struct run *a, const struct run *b)
{
	MUST(a->status == b->status && a->bad.len == b->bad.len);
	MUST(!a->bad.len || memcmp(a->bad.data, b->bad.data, a->bad.len) == 0);
	for (size_t i = 0; i < a->len; i++)
		MUST(a->builders[i].rows == b->builders[i].rows &&
			a->builders[i].nulls == b->builders[i].nulls &&
			a->builders[i].rows == a->builders[0].rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct schema names = SCHEMA_INIT;
	struct error e = ERROR_INIT;
	struct run whole, cut;
	struct reader *reader;
	bool regex;

	if (size < 2 || size > DOCUMENT_MAX)
		return 0;
	regex = data[0] & 1;
	run_init(&whole, data[0], regex);
	run_init(&cut, data[0], regex);
	feed(&whole, regex, data + 2, size - 2, size);
	feed(&cut, regex, data + 2, size - 2, data[1]);
	check_same(&whole, &cut);
	reader = reader_for(&whole, regex);
	if (reader->ops->infer(reader, data + 2, size - 2, true, 100, &names, &e) < 0)
		error_clear(&e);
	reader->ops->free(reader);
	schema_clear(&names);
	run_clear(&whole);
	run_clear(&cut);
	return 0;
}
