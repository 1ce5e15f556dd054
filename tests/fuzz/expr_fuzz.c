/* Expressions: the text is parsed as one, as a select list and as an order, compiled and run over a
 * fixed batch of three rows.  Run again over the same batch, and over its rows in another order, the
 * results must be the same row for row. */
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/expr/expr.h"
#include "libcore/table/builder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COLUMNS = 9, ROWS = 3, TEXT_MAX = 2000 };

static struct schema schema;
static struct column_builder builders[COLUMNS];
static struct column columns[COLUMNS];
static struct batch batch;

static void make_batch(void)
{
	static const struct {
		const char *name;
		struct type type;
	} fields[COLUMNS] = {{"i", {TYPE_INT, 0, 0}}, {"f", {TYPE_FLOAT, 0, 0}},
		{"n", {TYPE_DECIMAL, 5, 2}}, {"s", {TYPE_STRING, 0, 0}}, {"b", {TYPE_BOOL, 0, 0}},
		{"t", {TYPE_TIMESTAMP, 0, 0}}, {"d", {TYPE_DATE, 0, 0}},
		{"u", {TYPE_DURATION, 0, 0}}, {"a", {TYPE_ANY, 0, 0}}};
	static const char map[] = "\x82\xa1k\x93\x01\xc0\xa1x\xa1n\xcb\x40\x04\0\0\0\0\0\0";

	schema_init(&schema);
	for (size_t c = 0; c < COLUMNS; c++) {
		schema_add(&schema, fields[c].name, 1, fields[c].type);
		builder_init(&builders[c], fields[c].type);
	}
	for (int r = 0; r < ROWS; r++) {
		if (r == 1) {
			for (size_t c = 0; c < COLUMNS; c++)
				builder_put_null(&builders[c]);
			continue;
		}
		builder_put_int(&builders[0], r ? INT64_MIN : 7);
		builder_put_float(&builders[1], r ? NAN : 2.5);
		builder_put_decimal(&builders[2], r ? -99999 : 150);
		builder_put_text(&builders[3],
			"Gr\xc3\xbc\xc3\x9f"
			"e",
			r ? 0 : 7);
		builder_put_bool(&builders[4], !r);
		builder_put_int(&builders[5], r ? INT64_MAX : INT64_C(1357035630500000));
		builder_put_date(&builders[6], r ? INT32_MIN : 15399);
		builder_put_int(&builders[7], r ? INT64_MIN : 5400000000);
		builder_put_text(&builders[8], r ? "\x91\x03" : map, r ? 2 : sizeof map - 1);
	}
	for (size_t c = 0; c < COLUMNS; c++)
		columns[c] = builder_column(&builders[c]);
	batch = (struct batch){.schema = &schema, .rows = ROWS, .columns = columns};
}

/* Every value is read, and its text kept: "!" for a failed row. */
static void run(struct program *p, const struct batch *b, uint32_t row, struct buf *out)
{
	struct column *results = mem_zero((program_results(p) + 1) * sizeof *results);
	struct error e = ERROR_INIT;
	uint8_t failed[1];

	MUST(program_run(p, b, results, failed, &e) == 0);
	MUST(!failed[0] || *e.text);
	for (size_t i = 0; i < program_results(p); i++) {
		for (uint32_t r = 0; r < b->rows; r++) {
			struct buf *to = out;
			struct buf ignored = BUF_INIT;

			if (row != ROW_NONE && r != row)
				to = &ignored;
			if (failed[0] >> r & 1)
				buf_put_byte(to, '!');
			else
				column_put_text(&results[i], r, SIZE_MAX, to);
			buf_put_byte(to, '\n');
			buf_clear(&ignored);
		}
	}
	mem_free(results);
}

static void run_all(struct program *p)
{
	static const uint32_t turned[ROWS] = {2, 0, 1};
	struct buf first = BUF_INIT, again = BUF_INIT, there = BUF_INIT;
	struct arena arena = ARENA_INIT;
	struct batch other;

	run(p, &batch, ROW_NONE, &first);
	run(p, &batch, ROW_NONE, &again);
	MUST(first.len == again.len && (!first.len || !memcmp(first.data, again.data, first.len)));
	batch_gather(&batch, turned, ROWS, &arena, &other);
	for (uint32_t r = 0; r < ROWS; r++) {
		buf_reset(&again);
		run(p, &other, r, &again);
		run(p, &batch, turned[r], &there);
		MUST(again.len == there.len &&
			(!again.len || !memcmp(again.data, there.data, again.len)));
		buf_reset(&there);
	}
	arena_clear(&arena);
	buf_clear(&first);
	buf_clear(&again);
	buf_clear(&there);
}

static void take_expression(const char *text)
{
	struct arena arena = ARENA_INIT;
	struct program *p = program_new();
	struct error e = ERROR_INIT;
	struct expr *x;
	size_t index;

	if (expr_parse(text, "fuzz", &arena, &x, &e) < 0 ||
		program_add(p, x, &schema, &index, &e) < 0)
		MUST(e.code == ERROR_USAGE && *e.text);
	else
		run_all(p);
	program_free(p);
	arena_clear(&arena);
}

static void take_list(const char *text)
{
	struct arena arena = ARENA_INIT;
	struct program *p = program_new();
	struct select_list list, items;
	struct error e = ERROR_INIT;
	bool good = select_parse(text, "fuzz", &arena, &list, &e) == 0 &&
		    select_expand(&list, &schema, &arena, &items, &e) == 0;
	size_t index;

	for (size_t i = 0; good && i < items.len; i++)
		good = program_add(p, items.items[i].expr, &schema, &index, &e) == 0;
	if (good)
		run_all(p);
	else
		MUST(e.code == ERROR_USAGE && *e.text);
	program_free(p);
	arena_clear(&arena);
}

static void take_order(const char *text)
{
	struct arena arena = ARENA_INIT;
	struct program *p = program_new();
	struct order_list list;
	struct error e = ERROR_INIT;
	bool good = order_parse(text, "fuzz", &arena, &list, &e) == 0;
	size_t index;

	MUST(!good || list.len > 0);
	for (size_t i = 0; good && i < list.len; i++)
		good = program_add(p, list.items[i].expr, &schema, &index, &e) == 0;
	if (good)
		run_all(p);
	else
		MUST(e.code == ERROR_USAGE && *e.text);
	program_free(p);
	arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[TEXT_MAX + 1];

	if (!batch.rows)
		make_batch();
	if (size > TEXT_MAX)
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	/* Texts of megabytes only cost the fuzzer its time. */
	if (!strstr(text, "repeat") && !strstr(text, "pad")) {
		take_expression(text);
		take_list(text);
		take_order(text);
	}
	return 0;
}
