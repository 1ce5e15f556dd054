#include "cmd/smap/explode.h"

#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/table/builder.h"

int explode_column(const struct schema *s, const char *name, struct error *e)
{
	int column = schema_require(s, name, strlen(name), "--explode: the input", e);

	if (column >= 0 && s->fields[column].type.kind != TYPE_ANY)
		return error_set(e, ERROR_USAGE, "--explode: '%s' is of type %s, not any (an array)", name,
			type_name(s->fields[column].type));
	return column;
}

struct exploding {
	struct column_builder values;
	uint32_t *pick;
	size_t len, cap;
};

static int explode_value(struct exploding *x, struct text_view v, uint32_t row)
{
	struct msgpack m = {(const uint8_t *)v.text, (const uint8_t *)v.text + v.len};
	struct msgpack_item item;

	if (msgpack_next(&m, &item) != 0 ||
		(item.kind != MSGPACK_ARRAY && item.kind != MSGPACK_NIL))
		return -1;
	for (uint32_t i = 0; item.kind == MSGPACK_ARRAY && i < item.count; i++) {
		const uint8_t *from = m.at;

		if (msgpack_skip(&m) < 0)
			return -1;
		MEM_GROW(x->pick, x->cap, x->len + 1);
		x->pick[x->len++] = row;
		builder_put_text(&x->values, from, (size_t)(m.at - from));
	}
	return 0;
}

static int bad_value(const struct batch *in, int column, uint32_t row, struct error *e)
{
	struct buf value = BUF_INIT;

	column_put_text(&in->columns[column], row, 80, &value);
	error_set(e, ERROR_DATA, "--explode: '%s' is no array: %s",
		in->schema->fields[column].name, buf_cstr(&value));
	buf_clear(&value);
	return -1;
}

int explode_rows(const struct batch *in, int column, struct arena *a, struct batch *out,
	struct error *e)
{
	struct exploding x = {.pick = NULL};
	const struct column *c = &in->columns[column];
	struct column values, *columns;
	uint32_t *all;
	int status = 0;

	builder_init(&x.values, c->type);
	for (uint32_t r = 0; r < in->rows && status == 0; r++) {
		if (column_is_valid(c, r) && explode_value(&x, column_text(c, r), r) < 0)
			status = bad_value(in, column, r, e);
	}
	if (status == 0) {
		batch_gather(in, x.pick, (uint32_t)x.len, a, out);
		columns = arena_alloc(a, in->schema->fields_len * sizeof *columns);
		memcpy(columns, out->columns, in->schema->fields_len * sizeof *columns);
		all = arena_alloc(a, x.len * sizeof *all);
		for (uint32_t i = 0; i < x.len; i++)
			all[i] = i;
		values = builder_column(&x.values);
		column_gather(&values, all, (uint32_t)x.len, a, &columns[column]);
		out->columns = columns;
	}
	builder_clear(&x.values);
	mem_free(x.pick);
	return status;
}
