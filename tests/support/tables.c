#include "tests/support/tables.h"

#include "libcore/base/msgpack.h"

#include <stdio.h>

static uint64_t state = 88172645463325252u;

uint64_t random_word(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

uint32_t random_below(uint32_t n)
{
	return (uint32_t)((random_word() >> 11) % n);
}

void random_seed(uint64_t seed)
{
	state = seed * 2654435761u + 88172645463325252u;
	printf("seed %llu\n", (unsigned long long)seed);
}

struct type random_type(void)
{
	struct type t = TYPE_OF((uint8_t)(TYPE_BOOL + random_below(TYPE_ANY)));

	if (t.kind == TYPE_DECIMAL) {
		t.precision = (uint8_t)(1 + random_below(DECIMAL_PRECISION_MAX));
		t.scale = (uint8_t)random_below(t.precision + 1u);
	}
	return t;
}

void random_schema(struct schema *s, uint32_t columns_max)
{
	uint32_t columns = random_below(columns_max + 1);

	schema_init(s);
	for (uint32_t i = 0; i < columns; i++) {
		char name[16];

		schema_add(s, name, (size_t)snprintf(name, sizeof name, "c%u", i), random_type());
		if (s->fields[i].type.kind == TYPE_TIMESTAMP && random_below(2)) {
			s->time_column = (int)i;
			s->time_offset_us = -(int64_t)random_below(3);
		}
	}
	s->changelog = random_below(4) == 0;
	if (columns && random_below(2)) {
		int keys[2] = {(int)random_below(columns), (int)random_below(columns)};

		schema_set_keys(s, keys, 1 + random_below(2));
	}
}

static void random_text(struct column_builder *b)
{
	static const char *const pieces[] = {"a", "é", "日本", "😀", "\"", "\\", "\n", " ", "0123456789",
		"the quick brown fox jumps over the lazy dog"};
	struct buf text = BUF_INIT;

	for (uint32_t i = random_below(4); i; i--)
		buf_put_text(&text, pieces[random_below(sizeof pieces / sizeof *pieces)]);
	builder_put_text(b, text.data, text.len);
	buf_clear(&text);
}

static void random_any(struct column_builder *b)
{
	struct buf v = BUF_INIT;

	switch (random_below(4)) {
	case 0: msgpack_put_nil(&v); break;
	case 1: msgpack_put_int(&v, (int64_t)random_word() >> random_below(64)); break;
	case 2: msgpack_put_str(&v, "text", random_below(5)); break;
	case 3:
		msgpack_put_map(&v, 1);
		msgpack_put_str(&v, "k", 1);
		msgpack_put_array(&v, 2);
		msgpack_put_bool(&v, true);
		msgpack_put_float(&v, 0.5);
		break;
	}
	builder_put_text(b, v.data, v.len);
	buf_clear(&v);
}

void random_value(struct column_builder *b)
{
	uint64_t word = random_word(), bytes[2] = {random_word(), random_word()};
	int64_t v = (int64_t)word >> random_below(64);
	__int128 limit = 1;

	if (random_below(5) == 0) {
		builder_put_null(b);
		return;
	}
	switch ((enum type_kind)b->type.kind) {
	case TYPE_BOOL: builder_put_bool(b, word & 1); break;
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: builder_put_int(b, v); break;
	case TYPE_FLOAT: builder_put_float(b, (double)v / 8); break;
	case TYPE_DECIMAL:
		for (int i = 0; i < b->type.precision; i++)
			limit *= 10;
		builder_put_decimal(b, v % limit);
		break;
	case TYPE_DATE: builder_put_date(b, (int32_t)v); break;
	case TYPE_STRING: random_text(b); break;
	case TYPE_BYTES: builder_put_text(b, bytes, random_below(sizeof bytes)); break;
	case TYPE_ANY: random_any(b); break;
	}
}

void random_rows(struct batch_builder *b, uint32_t rows)
{
	for (size_t i = 0; i < b->schema->fields_len; i++) {
		for (uint32_t r = 0; r < rows; r++)
			random_value(&b->columns[i]);
	}
	for (uint32_t r = 0; b->schema->changelog && r < rows; r++)
		buf_put_byte(&b->ops, (uint8_t)random_below(4));
	if (!b->schema->fields_len)
		b->batch.rows += rows;
}

static bool values_differ(const struct column *a, const struct column *b, uint32_t row)
{
	size_t width = type_width(a->type);
	struct text_view x, y;

	if (column_is_valid(a, row) != column_is_valid(b, row))
		return true;
	if (!column_is_valid(a, row))
		return false;
	if (width)
		return memcmp((const uint8_t *)a->data + row * width,
			(const uint8_t *)b->data + row * width, width) != 0;
	x = column_text(a, row);
	y = column_text(b, row);
	return x.len != y.len || (x.len && memcmp(x.text, y.text, x.len) != 0);
}

const char *batches_differ(const struct batch *a, const struct batch *b)
{
	static char what[64];

	if (!schema_equal(a->schema, b->schema))
		return "the schemas differ";
	if (a->rows != b->rows)
		return "the numbers of rows differ";
	if (!a->ops != !b->ops || (a->rows && a->ops && memcmp(a->ops, b->ops, a->rows) != 0))
		return "the ops differ";
	for (size_t i = 0; i < a->schema->fields_len; i++) {
		for (uint32_t r = 0; r < a->rows; r++) {
			if (!values_differ(&a->columns[i], &b->columns[i], r))
				continue;
			snprintf(what, sizeof what, "row %u of column %zu differs", r, i);
			return what;
		}
	}
	return NULL;
}
