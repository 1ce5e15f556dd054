/* CSV: the first bytes choose dialect and cuts, the rest is the document.  AVX2 and portable code,
 * whole and cut, must agree on every value and every refusal. */
#include "formats/reader.h"
#include "libcore/base/cpu.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { HEAD_BYTES = 3, COLUMNS = 3, ROWS_MAX = 50 };

static int take_bad(void *context, const struct bad_record *bad, struct error *e)
{
	buf_printf(context, "{%llu:%u %s %zu}", (unsigned long long)bad->line, bad->column,
		bad->reason, bad->record_len);
	return 0;
}

static void put_rows(struct column_builder *builders, struct buf *out)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		struct column c = builder_column(&builders[i]);

		for (uint32_t r = 0; r < builders[i].rows; r++)
			column_put_text(&c, r, 1000, &out[i + 1]);
		builder_reset(&builders[i]);
	}
}

/* out[0]: refusals, out[1..]: the columns. */
static void parse(
	const uint8_t *head, const uint8_t *bytes, size_t len, size_t piece, struct buf *out)
{
	static const char *const null[] = {"NA"};
	static const char *const names[] = {"c1", "c2", "c3"};
	static const enum type_kind kinds[] = {TYPE_INT, TYPE_STRING, TYPE_TIMESTAMP};
	struct reader_options o = {.input = "f",
		.delimiter = head[0] & 1 ? ',' : ';',
		.header = HEADER_NO,
		.quoted_newlines = head[0] & 2,
		.nulls = null,
		.nulls_len = 1};
	struct reader *r = csv_reader_new(&o);
	struct wanted_column columns[COLUMNS];
	struct column_builder builders[COLUMNS];
	struct bad_sink bad = {take_bad, out};
	struct error e = ERROR_INIT;
	size_t from = 0, to = 0;
	int status;

	for (size_t i = 0; i < COLUMNS; i++) {
		columns[i] = (struct wanted_column){.name = names[i],
			.path = &names[i],
			.path_len = 1,
			.position = (int)i,
			.type = TYPE_OF(i == 2 && head[0] & 8 ? TYPE_FLOAT : kinds[i]),
			.unit = head[0] & 4 ? TIME_MS : TIME_ISO};
		builder_init(&builders[i], columns[i].type);
	}
	status = r->ops->want(r, columns, COLUMNS, &e);
	while (!status) {
		size_t consumed = 0;

		status = r->ops->parse(r, bytes + from, to - from, to == len, ROWS_MAX, builders,
			&bad, &consumed, &e);
		MUST(builders[0].rows == builders[1].rows && builders[0].rows <= ROWS_MAX);
		put_rows(builders, out);
		from += consumed;
		MUST(from <= to);
		if (to == len && from == to)
			break;
		MUST(status || consumed || to < len);
		if (!consumed || from == to)
			to = len - to < piece ? len : to + piece;
	}
	buf_put_text(&out[0], e.text);
	r->ops->free(r);
	for (size_t i = 0; i < COLUMNS; i++)
		builder_clear(&builders[i]);
}

static void same(const struct buf *a, const struct buf *b)
{
	for (size_t i = 0; i <= COLUMNS; i++)
		MUST(a[i].len == b[i].len &&
			(!a[i].len || !memcmp(a[i].data, b[i].data, a[i].len)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct buf out[3][COLUMNS + 1] = {{BUF_INIT}};
	uint8_t *exact;
	size_t cut;

	if (len < HEAD_BYTES)
		return 0;
	cut = 1 + bytes[1] + 256u * bytes[2] % 7;
	exact = mem_alloc(len - HEAD_BYTES);
	if (len > HEAD_BYTES)
		memcpy(exact, bytes + HEAD_BYTES, len - HEAD_BYTES);
	parse(bytes, exact, len - HEAD_BYTES, len, out[0]);
	parse(bytes, exact, len - HEAD_BYTES, cut, out[1]);
	cpu_force_portable(true);
	parse(bytes, exact, len - HEAD_BYTES, len, out[2]);
	cpu_force_portable(false);
	same(out[0], out[1]);
	same(out[0], out[2]);
	for (size_t i = 0; i < 3; i++) {
		for (size_t k = 0; k <= COLUMNS; k++)
			buf_clear(&out[i][k]);
	}
	mem_free(exact);
	return 0;
}
