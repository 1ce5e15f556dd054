/* Avro from outside.  The first byte chooses: a container file, which in pieces gives what it gives
 * whole; or a schema's JSON up to a newline and records of it, which are taken as rows, put again by
 * the same schema, and are the same rows then. */
#include "connect/heavy/avro_put.h"
#include "connect/heavy/avro_value.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { COLUMNS_MAX = 64, ROWS_MAX = 200, SHOWN = 1000 };

struct columns {
	struct schema schema;
	struct wanted_column wanted[COLUMNS_MAX];
	const char *paths[COLUMNS_MAX];
	size_t len;
	struct batch_builder rows;
};

/* Every column as it is. */
static void want_all(struct columns *c)
{
	c->len = c->schema.fields_len < COLUMNS_MAX ? c->schema.fields_len : COLUMNS_MAX;
	for (size_t i = 0; i < c->len; i++) {
		const struct field *f = &c->schema.fields[i];

		c->paths[i] = f->name;
		c->wanted[i] = (struct wanted_column){.name = f->name,
			.path = &c->paths[i],
			.path_len = 1,
			.position = -1,
			.type = f->type};
	}
	batch_builder_init(&c->rows, &c->schema);
}

static void show(struct columns *c, struct buf *out)
{
	const struct batch *b = batch_builder_view(&c->rows);

	for (uint32_t r = 0; r < b->rows; r++) {
		for (size_t i = 0; i < c->len; i++) {
			const struct column *column = &b->columns[i];

			if (column->type.kind == TYPE_ANY && column_is_valid(column, r)) {
				struct text_view t = column_text(column, r);

				MUST(msgpack_is_valid((const uint8_t *)t.text, t.len));
			}
			column_put_text(column, r, SHOWN, out);
			buf_put_byte(out, '\t');
		}
		buf_put_byte(out, '\n');
	}
}

static int take_bad(void *context, const struct bad_record *bad, struct error *e)
{
	buf_printf(context, "%llu: %s\n", (unsigned long long)bad->line, bad->reason);
	return 0;
}

/* ---- a file ---- */

static void read_file(const uint8_t *bytes, size_t len, size_t piece, struct buf *out)
{
	struct reader_options o = {.input = "input"};
	struct reader *r = avro_reader_new(&o);
	struct columns c = {.schema = SCHEMA_INIT};
	struct bad_sink bad = {take_bad, out};
	struct error e = ERROR_INIT;
	size_t from = 0, to = 0, consumed;
	int status = r->ops->infer(r, bytes, len, true, ROWS_MAX, &c.schema, &e);

	if (status < 0 || c.schema.fields_len > COLUMNS_MAX || !c.schema.fields_len) {
		schema_clear(&c.schema);
		r->ops->free(r);
		return;
	}
	want_all(&c);
	r->ops->start(r, "input");
	status = r->ops->want(r, c.wanted, c.len, &e);
	while (status == 0 && (to < len || !to)) {
		to = len - to < piece ? len : to + piece;
		status = r->ops->parse(r, bytes + from, to - from, to == len, UINT32_MAX,
			c.rows.columns, &bad, &consumed, &e);
		MUST(consumed <= to - from);
		from += consumed;
	}
	show(&c, out);
	buf_printf(out, "%d", status);
	batch_builder_clear(&c.rows);
	schema_clear(&c.schema);
	r->ops->free(r);
}

static void fuzz_file(const uint8_t *bytes, size_t len)
{
	struct buf whole = BUF_INIT, pieces = BUF_INIT;

	if (!len)
		return;
	read_file(bytes + 1, len - 1, len, &whole);
	read_file(bytes + 1, len - 1, 1 + (size_t)bytes[0] * 7, &pieces);
	MUST(whole.len == pieces.len && (!whole.len || memcmp(whole.data, pieces.data, whole.len) == 0));
	buf_clear(&whole);
	buf_clear(&pieces);
}

/* ---- records ---- */

static void take_rows(struct columns *c, const struct avro_node *n, const uint8_t *at,
	const uint8_t *end)
{
	struct buf reason = BUF_INIT;
	struct error e = ERROR_INIT;
	struct avro_plan *plan;

	if (avro_plan_new(n, c->wanted, c->len, &plan, &e) < 0)
		return;
	for (int i = 0; i < ROWS_MAX && at < end; i++) {
		const uint8_t *before = at;
		uint32_t rows = batch_builder_rows(&c->rows);
		enum avro_status status = avro_take(plan, &at, end, c->rows.columns, &reason);

		MUST(batch_builder_rows(&c->rows) == rows + (status == AVRO_ROW) && at <= end);
		if (status == AVRO_BROKEN || at == before)
			break;
	}
	avro_plan_free(plan);
	buf_clear(&reason);
}

/* What doesn't go back (an int in a union of several, say) is an error and no more. */
static void put_rows(struct columns *c, const struct avro_node *n)
{
	const struct batch *b = batch_builder_view(&c->rows);
	struct columns again = {.schema = SCHEMA_INIT};
	struct buf records = BUF_INIT, first = BUF_INIT, second = BUF_INIT;
	struct error e = ERROR_INIT;
	struct avro_put *put;
	uint32_t r = 0;

	if (avro_put_new(n, &c->schema, &put, &e) < 0)
		return;
	while (r < b->rows && avro_put_row(put, b, r, &records, &e) == 0)
		r++;
	schema_copy(&again.schema, &c->schema);
	want_all(&again);
	if (r == b->rows && records.len) {
		take_rows(&again, n, records.data, records.data + records.len);
		show(c, &first);
		show(&again, &second);
		MUST(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	}
	batch_builder_clear(&again.rows);
	schema_clear(&again.schema);
	avro_put_free(put);
	buf_clear(&records);
	buf_clear(&first);
	buf_clear(&second);
}

static void fuzz_records(const uint8_t *bytes, size_t len)
{
	const uint8_t *newline = len ? memchr(bytes, '\n', len) : NULL;
	struct columns c = {.schema = SCHEMA_INIT};
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	const struct avro_node *n;

	if (!newline || avro_schema_parse((const char *)bytes, (size_t)(newline - bytes), &arena,
				&n, &e) < 0) {
		arena_clear(&arena);
		return;
	}
	for (size_t i = 0; n->kind == AVRO_KIND_RECORD && i < n->fields_len; i++)
		schema_add(&c.schema, n->fields[i].name, strlen(n->fields[i].name),
			avro_type(n->fields[i].node));
	if (c.schema.fields_len && c.schema.fields_len <= COLUMNS_MAX) {
		want_all(&c);
		take_rows(&c, n, newline + 1, bytes + len);
		put_rows(&c, n);
		batch_builder_clear(&c.rows);
	}
	schema_clear(&c.schema);
	arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (!len)
		return 0;
	if (*bytes % 2)
		fuzz_records(bytes + 1, len - 1);
	else
		fuzz_file(bytes + 1, len - 1);
	return 0;
}
