/* What a PostgreSQL server sends.  The first byte chooses: a COPY stream, a replication message,
 * one value in its binary form or in its text.  A stream in pieces gives what it gives whole; a
 * value that was taken and is put back is taken as the same again. */
#include "connect/heavy/postgres_copy.h"
#include "connect/heavy/postgres_pgoutput.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { COLUMNS = 4, SHOWN = 1000 };

static const struct postgres_type types[] = {
	{.oid = OID_BOOL, .modifier = -1, .kind = 'b'},
	{.oid = OID_INT2, .modifier = -1, .kind = 'b'},
	{.oid = OID_INT4, .modifier = -1, .kind = 'b'},
	{.oid = OID_INT8, .modifier = -1, .kind = 'b'},
	{.oid = OID_OID, .modifier = -1, .kind = 'b'},
	{.oid = OID_FLOAT4, .modifier = -1, .kind = 'b'},
	{.oid = OID_FLOAT8, .modifier = -1, .kind = 'b'},
	{.oid = OID_NUMERIC, .modifier = (12 << 16 | 4) + 4, .kind = 'b'},
	{.oid = OID_NUMERIC, .modifier = -1, .kind = 'b'},
	{.oid = OID_DATE, .modifier = -1, .kind = 'b'},
	{.oid = OID_TIMESTAMPTZ, .modifier = -1, .kind = 'b'},
	{.oid = OID_INTERVAL, .modifier = -1, .kind = 'b'},
	{.oid = OID_TEXT, .modifier = -1, .kind = 'b'},
	{.oid = OID_UUID, .modifier = -1, .kind = 'b'},
	{.oid = OID_BYTEA, .modifier = -1, .kind = 'b'},
	{.oid = OID_JSONB, .modifier = -1, .kind = 'b'},
	{.oid = 1007,
		.modifier = -1,
		.kind = 'b',
		.element = OID_INT4,
		.element_kind = 'b',
		.delimiter = ','},
	{.oid = 1009,
		.modifier = -1,
		.kind = 'b',
		.element = OID_TEXT,
		.element_kind = 'b',
		.delimiter = ','},
	{.oid = 3807,
		.modifier = -1,
		.kind = 'b',
		.element = OID_JSONB,
		.element_kind = 'b',
		.delimiter = ','},
	{.oid = 1020,
		.modifier = -1,
		.kind = 'b',
		.element = 603,
		.element_kind = 'b',
		.delimiter = ';'},
	{.oid = 869, .modifier = -1, .kind = 'b'},
};

enum { TYPES = sizeof types / sizeof *types };

static void check_any(const struct column *c, uint32_t row)
{
	if (c->type.kind == TYPE_ANY && column_is_valid(c, row)) {
		struct text_view t = column_text(c, row);

		MUST(msgpack_is_valid((const uint8_t *)t.text, t.len));
	}
}

static void show(struct column_builder *b, struct buf *out)
{
	struct column c = builder_column(b);

	for (uint32_t r = 0; r < b->rows; r++) {
		check_any(&c, r);
		column_put_text(&c, r, SHOWN, out);
		buf_put_byte(out, '\n');
	}
}

/* ---- COPY ---- */

static void copy(uint8_t choice, const uint8_t *bytes, size_t len, size_t piece, struct buf *out)
{
	struct postgres_codec codecs[COLUMNS];
	struct column_builder builders[COLUMNS];
	struct schema schema = SCHEMA_INIT;
	struct postgres_copy c = {
		.codecs = codecs, .schema = &schema, .columns_len = COLUMNS, .required = -1};
	struct error e = ERROR_INIT;
	uint32_t rows;
	int status = 0;

	for (int i = 0; i < COLUMNS; i++) {
		codecs[i] = postgres_codec_of(&types[(choice + i * 5) % TYPES]);
		builder_init(&builders[i], codecs[i].type);
		schema_add(&schema, "c", 1, codecs[i].type);
	}
	for (size_t at = 0; at < len && status >= 0; at += piece) {
		size_t n = len - at < piece ? len - at : piece;

		status = postgres_copy_take(&c, bytes + at, n, builders, &e);
		while (status == 1) {
			buf_printf(out, "%s\n", e.text);
			status = postgres_copy_take(&c, NULL, 0, builders, &e);
		}
	}
	rows = builders[0].rows;
	for (int i = 0; i < COLUMNS; i++) {
		MUST(builders[i].rows == rows);
		show(&builders[i], out);
		builder_clear(&builders[i]);
	}
	buf_printf(
		out, "%d %d %llu", status, postgres_copy_end(&c, &e), (unsigned long long)c.rows);
	postgres_copy_clear(&c);
	schema_clear(&schema);
}

static void fuzz_copy(const uint8_t *bytes, size_t len)
{
	struct buf whole = BUF_INIT, pieces = BUF_INIT;

	if (len < 2)
		return;
	copy(bytes[0], bytes + 2, len - 2, len, &whole);
	copy(bytes[0], bytes + 2, len - 2, 1 + bytes[1] % 16, &pieces);
	MUST(whole.len == pieces.len && memcmp(whole.data, pieces.data, whole.len) == 0);
	buf_clear(&whole);
	buf_clear(&pieces);
}

/* ---- replication ---- */

static void take_fields(const struct pgoutput_row *row)
{
	const char *why;

	for (size_t i = 0; i < row->len; i++) {
		struct postgres_codec codec = postgres_codec_of(&types[i % TYPES]);
		struct column_builder b;
		struct buf out = BUF_INIT;

		builder_init(&b, codec.type);
		if (row->fields[i].kind == 't')
			postgres_take_text(
				&codec, row->fields[i].text, row->fields[i].len, &b, &why);
		show(&b, &out);
		buf_clear(&out);
		builder_clear(&b);
	}
}

static void fuzz_message(const uint8_t *bytes, size_t len)
{
	struct pgoutput_envelope envelope;
	struct pgoutput message = {.kind = PGOUTPUT_OTHER};
	struct error e = ERROR_INIT;

	if (pgoutput_parse_envelope(bytes, len, &envelope, &e) < 0 || !envelope.has_message)
		return;
	if (pgoutput_parse(envelope.message, envelope.message_len, &message, &e) == 0) {
		size_t names = 0;

		for (size_t i = 0; i < message.columns_len; i++)
			names += strlen(message.columns[i].name);
		MUST(names <= len);
		take_fields(&message.before);
		take_fields(&message.after);
	}
	pgoutput_clear(&message);
}

/* ---- values ---- */

static void fuzz_value(bool is_text, const uint8_t *bytes, size_t len)
{
	struct postgres_codec codec;
	struct column_builder b;
	struct buf back = BUF_INIT, first = BUF_INIT, second = BUF_INIT;
	const char *why;
	struct column c;
	int status;

	if (!len)
		return;
	codec = postgres_codec_of(&types[*bytes % TYPES]);
	builder_init(&b, codec.type);
	status = is_text ? postgres_take_text(&codec, (const char *)bytes + 1, len - 1, &b, &why)
			 : postgres_take_binary(&codec, bytes + 1, len - 1, &b, &why);
	MUST(b.rows == (status == 0));
	show(&b, &first);
	c = builder_column(&b);
	if (status == 0 && postgres_takes(codec.type, codec.form) &&
		postgres_put_binary(&c, 0, codec.form, &back, &why) == 0) {
		builder_reset(&b);
		MUST(postgres_take_binary(&codec, back.data + 4, back.len - 4, &b, &why) == 0 ||
			codec.type.kind == TYPE_ANY);
		show(&b, &second);
		/* JSON has no bytes; a numeric's text may have been written otherwise ("01"). */
		MUST(codec.type.kind == TYPE_ANY || codec.type.kind == TYPE_STRING ||
			(first.len == second.len &&
				memcmp(first.data, second.data, first.len) == 0));
	}
	buf_clear(&back);
	buf_clear(&first);
	buf_clear(&second);
	builder_clear(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (!len)
		return 0;
	switch (*bytes % 4) {
	case 0: fuzz_copy(bytes + 1, len - 1); break;
	case 1: fuzz_message(bytes + 1, len - 1); break;
	case 2: fuzz_value(false, bytes + 1, len - 1); break;
	case 3: fuzz_value(true, bytes + 1, len - 1); break;
	}
	return 0;
}
