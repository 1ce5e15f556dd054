/* The ndjson reader: the first byte chooses the columns, the second where the document is cut in
 * two windows.  With AVX2, without, and with a fresh reader for every line (which has learnt
 * nothing) the rows and the bad records must be the same. */
#include "formats/reader.h"
#include "libcore/base/cpu.h"
#include "libcore/base/must.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLUMNS = 10, DOCUMENT_MAX = 1 << 16 };

static const char *const path_a[] = {"a"}, *const path_b[] = {"b"}, *const path_c[] = {"c"},
			 *const path_d[] = {"d"}, *const path_m[] = {"m"},
			 *const path_n[] = {"n", "x"}, *const path_s[] = {"s"},
			 *const path_t[] = {"t"}, *const path_u[] = {"u"}, *const path_v[] = {"v"};

static const struct wanted_column all[COLUMNS] = {
	{.name = "a", .path = path_a, .path_len = 1, .type = {.kind = TYPE_INT}},
	{.name = "s", .path = path_s, .path_len = 1, .type = {.kind = TYPE_STRING}},
	{.name = "t", .path = path_t, .path_len = 1, .type = {.kind = TYPE_TIMESTAMP}},
	{.name = "n.x", .path = path_n, .path_len = 2, .type = {.kind = TYPE_INT}},
	{.name = "b", .path = path_b, .path_len = 1, .type = {.kind = TYPE_FLOAT}},
	{.name = "c", .path = path_c, .path_len = 1, .type = {.kind = TYPE_BOOL}},
	{.name = "d", .path = path_d, .path_len = 1, .type = {.kind = TYPE_DATE}},
	{.name = "u",
		.path = path_u,
		.path_len = 1,
		.type = {.kind = TYPE_TIMESTAMP},
		.unit = TIME_MS},
	{.name = "m", .path = path_m, .path_len = 1, .type = {TYPE_DECIMAL, 10, 2}},
	{.name = "v", .path = path_v, .path_len = 1, .type = {.kind = TYPE_ANY}},
};

struct run {
	struct wanted_column columns[COLUMNS];
	struct column_builder builders[COLUMNS];
	size_t len;
	struct buf bad;
};

static int take_bad(void *context, const struct bad_record *b, struct error *e)
{
	struct run *r = context;

	(void)e;
	buf_printf(&r->bad, "%llu:%u: %s\n", (unsigned long long)b->line, b->column, b->reason);
	return 0;
}

static void run_init(struct run *r, uint8_t choice)
{
	*r = (struct run){.bad = BUF_INIT};
	for (size_t i = 0; i < COLUMNS; i++)
		if (i < 2 ? (choice >> i & 1) || i == 0 : choice >> (2 + i / 2) & 1)
			r->columns[r->len++] = all[i];
	for (size_t i = 0; i < r->len; i++)
		builder_init(&r->builders[i], r->columns[i].type);
}

static void run_clear(struct run *r)
{
	for (size_t i = 0; i < r->len; i++)
		builder_clear(&r->builders[i]);
	buf_clear(&r->bad);
}

static struct reader *reader_for(const struct run *r)
{
	struct reader_options o = {.input = "fuzz"};
	struct reader *reader = ndjson_reader_new(&o);
	struct error e;

	MUST(!reader->ops->want(reader, r->columns, r->len, &e));
	return reader;
}

static void feed(struct run *r, struct reader *reader, const uint8_t *doc, size_t len, size_t cut)
{
	struct bad_sink bad = {take_bad, r};
	size_t at = 0, shown = cut < len ? cut : len, consumed;
	struct error e;

	for (;;) {
		uint8_t *window = malloc(
			shown - at + 1); /* its own, so that reading past it shows */

		MUST(window);
		memcpy(window, doc + at, shown - at);
		MUST(!reader->ops->parse(reader, window, shown - at, shown == len, 1 << 20,
			r->builders, &bad, &consumed, &e));
		free(window);
		MUST(consumed <= shown - at);
		at += consumed;
		if (shown == len)
			break;
		shown = len;
	}
	MUST(at == len);
}

static void feed_fresh(struct run *r, const uint8_t *doc, size_t len)
{
	uint64_t line = 1;

	for (const uint8_t *p = doc, *end = doc + len; p < end; line++) {
		const uint8_t *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = newline ? (size_t)(newline - p) + 1 : (size_t)(end - p);
		struct reader *reader = reader_for(r);

		reader->ops->resume(reader, line);
		feed(r, reader, p, n, n);
		reader->ops->free(reader);
		p += n;
	}
}

static void check_same(struct run *a, struct run *b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;

	MUST(a->bad.len == b->bad.len);
	MUST(!a->bad.len || !memcmp(a->bad.data, b->bad.data, a->bad.len));
	for (size_t i = 0; i < a->len; i++) {
		struct column left = builder_column(&a->builders[i]);
		struct column right = builder_column(&b->builders[i]);

		MUST(a->builders[i].rows == a->builders[0].rows);
		MUST(a->builders[i].rows == b->builders[i].rows);
		for (uint32_t row = 0; row < a->builders[i].rows; row++) {
			MUST(column_is_valid(&left, row) == column_is_valid(&right, row));
			buf_reset(&x);
			buf_reset(&y);
			column_put_text(&left, row, DOCUMENT_MAX, &x);
			column_put_text(&right, row, DOCUMENT_MAX, &y);
			MUST(x.len == y.len && (!x.len || !memcmp(x.data, y.data, x.len)));
		}
	}
	buf_clear(&x);
	buf_clear(&y);
}

static void try_infer(const uint8_t *doc, size_t len)
{
	struct reader_options o = {.input = "fuzz"};
	struct reader *reader = ndjson_reader_new(&o);
	struct schema s = SCHEMA_INIT;
	struct error e;

	reader->ops->infer(reader, doc, len, true, 100, &s, &e);
	schema_clear(&s);
	reader->ops->free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run runs[3];

	if (size < 2 || size > DOCUMENT_MAX)
		return 0;
	for (int i = 0; i < 3; i++) {
		run_init(&runs[i], data[0]);
		cpu_force_portable(i == 1);
		if (i < 2) {
			struct reader *reader = reader_for(&runs[i]);

			feed(&runs[i], reader, data + 2, size - 2, data[1] * (i ? 2 : 1));
			reader->ops->free(reader);
		} else {
			feed_fresh(&runs[i], data + 2, size - 2);
		}
	}
	cpu_force_portable(false);
	check_same(&runs[0], &runs[1]);
	check_same(&runs[0], &runs[2]);
	for (int i = 0; i < 3; i++)
		run_clear(&runs[i]);
	try_infer(data + 2, size - 2);
	return 0;
}
