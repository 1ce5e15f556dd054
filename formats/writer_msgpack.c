/* A msgpack map a row, one after another: what libraries' unpackers read as a stream. */
#include "formats/writer_impl.h"

#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

static int msgpack_schema(
	struct writer *w, const struct schema *s, struct buf *out, struct error *e)
{
	w->prefix_at = mem_resize(w->prefix_at, (s->fields_len + 1) * sizeof *w->prefix_at);
	buf_reset(&w->prefixes);
	for (size_t i = 0; i < s->fields_len; i++) {
		w->prefix_at[i] = (uint32_t)w->prefixes.len;
		msgpack_put_str(&w->prefixes, s->fields[i].name, strlen(s->fields[i].name));
	}
	w->prefix_at[s->fields_len] = (uint32_t)w->prefixes.len;
	return 0;
}

static void put_value(const struct column *c, uint32_t row, struct buf *out)
{
	char text[VALUE_TEXT_MAX];
	struct text_view v;

	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: msgpack_put_bool(out, column_bool(c, row)); return;
	case TYPE_INT:
	case TYPE_DURATION: msgpack_put_int(out, column_int(c, row)); return;
	case TYPE_FLOAT: msgpack_put_float(out, column_float(c, row)); return;
	case TYPE_DECIMAL:
		msgpack_put_str(
			out, text, decimal_put(text, column_decimal(c, row), c->type.scale));
		return;
	case TYPE_DATE: msgpack_put_str(out, text, date_put(text, column_date(c, row))); return;
	case TYPE_TIMESTAMP: msgpack_put_timestamp(out, column_int(c, row)); return;
	case TYPE_STRING:
		v = column_text(c, row);
		msgpack_put_str(out, v.text, v.len);
		return;
	case TYPE_BYTES:
		v = column_text(c, row);
		msgpack_put_bin(out, v.text, v.len);
		return;
	case TYPE_ANY:
		v = column_text(c, row);
		buf_put(out, v.text, v.len);
		return;
	}
	MUST(!"a type");
}

static int msgpack_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e)
{
	size_t fields = b->schema->fields_len;

	for (uint32_t r = 0; r < b->rows; r++) {
		msgpack_put_map(out, (uint32_t)fields + (b->ops != NULL));
		if (b->ops) {
			msgpack_put_str(out, "op", 2);
			msgpack_put_str(out, writer_op_name(b->ops[r]), 2);
		}
		for (size_t i = 0; i < fields; i++) {
			buf_put(out, w->prefixes.data + w->prefix_at[i],
				w->prefix_at[i + 1] - w->prefix_at[i]);
			if (column_is_valid(&b->columns[i], r))
				put_value(&b->columns[i], r, out);
			else
				msgpack_put_nil(out);
		}
	}
	return 0;
}

const struct writer_ops writer_msgpack = {
	.name = "msgpack",
	.schema = msgpack_schema,
	.rows = msgpack_rows,
};
