/* Values of type any: paths into them, JSON in and out.  What isn't there is null: a missing key,
 * an index beyond the end, a path into what is no object.  A null inside is null, too. */
#include "libcore/expr/kernel.h"

#include "libcore/base/json.h"
#include "libcore/base/msgpack.h"

static struct msgpack cursor(struct text_view v)
{
	const uint8_t *bytes = v.len ? (const uint8_t *)v.text : (const uint8_t *)"";

	return (struct msgpack){bytes, bytes + v.len};
}

static bool head(struct text_view v, struct msgpack *m, struct msgpack_item *out)
{
	*m = cursor(v);
	return msgpack_next(m, out) == 0;
}

/* ---- paths ---- */

/* The value the cursor stands at; false for nil. */
static bool value_at(struct msgpack *m, struct text_view *out)
{
	const uint8_t *from = m->at;
	struct msgpack look = *m;
	struct msgpack_item item;

	if (msgpack_next(&look, &item) != 0 || item.kind == MSGPACK_NIL || msgpack_skip(m) < 0)
		return false;
	*out = (struct text_view){(const char *)from, (size_t)(m->at - from)};
	return true;
}

static bool find_key(struct text_view in, struct text_view key, struct text_view *out)
{
	struct msgpack_item item, name;
	struct msgpack m;

	if (!head(in, &m, &item) || item.kind != MSGPACK_MAP)
		return false;
	for (uint32_t i = 0; i < item.count; i++) {
		struct msgpack at_name = m;

		if (msgpack_next(&at_name, &name) != 0 || msgpack_skip(&m) != 0)
			return false;
		if (name.kind == MSGPACK_STR && name.bytes_len == key.len &&
			(!key.len || !memcmp(name.bytes, key.text, key.len)))
			return value_at(&m, out);
		if (msgpack_skip(&m) != 0)
			return false;
	}
	return false;
}

/* Below 0 counts from the end. */
static bool find_index(struct text_view in, int64_t index, struct text_view *out)
{
	struct msgpack_item item;
	struct msgpack m;

	if (!head(in, &m, &item) || item.kind != MSGPACK_ARRAY)
		return false;
	if (index < 0)
		index += item.count;
	if (index < 0 || index >= item.count)
		return false;
	for (int64_t i = 0; i < index; i++) {
		if (msgpack_skip(&m) != 0)
			return false;
	}
	return value_at(&m, out);
}

static void find_rows(struct kernel *k, bool by_key)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view in = arg_text(k, 0, r), found;

		if (out_is_valid(k, r)) {
			if (by_key ? find_key(in, arg_text(k, 1, r), &found)
				   : find_index(in, arg_int(k, 1, r), &found))
				buf_put(k->text, found.text, found.len);
			else
				vector_null(k, r);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static void run_key(struct kernel *k)
{
	find_rows(k, true);
}

static void run_index(struct kernel *k)
{
	find_rows(k, false);
}

/* ---- JSON ---- */

static void run_parse_json(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = arg_text(k, 0, r);
		const char *why;
		size_t at;

		if (!out_is_valid(k, r)) {
			vector_text_end(k, offsets, r);
			continue;
		}
		if (json_parse(v.text, v.len, k->text, &at, &why) < 0) {
			vector_fail(k, r,
				*k->why ? ""
					: arena_printf(k->arena, "not JSON at byte %zu: %s", at + 1,
						  why));
		} else if (k->text->data[offsets[r]] == 0xc0) { /* nil */
			k->text->len = offsets[r];
			vector_null(k, r);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static void run_to_json(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v;

		if (out_is_valid(k, r)) {
			v = arg_text(k, 0, r);
			msgpack_put_json((const uint8_t *)v.text, v.len, k->text);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* Decimals are JSON numbers with all their digits, others what they are as any. */
static int resolve_to_json(struct resolving *r, struct error *e)
{
	r->result = TYPE_OF(TYPE_STRING);
	r->run = run_to_json;
	if (r->args[0].kind == TYPE_DECIMAL) {
		r->run = cast_run;
		return 0;
	}
	r->args[0] = TYPE_OF(TYPE_ANY);
	return 0;
}

/* ---- what is in it ---- */

static void run_array_length(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct msgpack_item item;
		struct msgpack m;

		out[r] = 0;
		if (!out_is_valid(k, r))
			continue;
		if (head(arg_text(k, 0, r), &m, &item) && item.kind == MSGPACK_ARRAY)
			out[r] = item.count;
		else
			vector_null(k, r);
	}
}

static void put_keys(struct kernel *k, struct msgpack *m, uint32_t pairs)
{
	msgpack_put_array(k->text, pairs);
	for (uint32_t i = 0; i < pairs; i++) {
		const uint8_t *from = m->at;

		if (msgpack_skip(m) != 0)
			return;
		buf_put(k->text, from, (size_t)(m->at - from));
		if (msgpack_skip(m) != 0)
			return;
	}
}

static void run_json_keys(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct msgpack_item item;
		struct msgpack m;

		if (out_is_valid(k, r)) {
			if (head(arg_text(k, 0, r), &m, &item) && item.kind == MSGPACK_MAP)
				put_keys(k, &m, item.count);
			else
				vector_null(k, r);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static const char *kind_name(struct text_view v)
{
	struct msgpack_item item;
	struct msgpack m;

	if (!head(v, &m, &item))
		return "null";
	switch (item.kind) {
	case MSGPACK_NIL: return "null";
	case MSGPACK_BOOL: return "bool";
	case MSGPACK_INT: return "int";
	case MSGPACK_UINT:
	case MSGPACK_FLOAT: return "float";
	case MSGPACK_STR: return "string";
	case MSGPACK_BIN:
	case MSGPACK_EXT: return "bytes";
	case MSGPACK_ARRAY: return "array";
	case MSGPACK_MAP: return "object";
	}
	return "null";
}

/* Of any: what the value is; of others: the column's type.  A null is "null". */
static void run_typeof(struct kernel *k)
{
	struct type t = k->args[0].col.type;
	const char *name = t.kind ? arena_strdup(k->arena, type_name(t)) : "null";
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (vector_has_failed(&k->args[0], r))
			vector_fail(k, r, "");
		else if (!vector_is_valid(&k->args[0], r))
			buf_put_text(k->text, "null");
		else
			buf_put_text(
				k->text, t.kind == TYPE_ANY ? kind_name(arg_text(k, 0, r)) : name);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

const struct function functions_any[] = {
	{.name = "[]", .signature = "as", .result = 'a', .run = run_key},
	{.name = "[]", .signature = "ai", .result = 'a', .run = run_index},
	{.name = "parse_json", .signature = "s", .result = 'a', .run = run_parse_json},
	{.name = "to_json", .args_min = 1, .args_max = 1, .resolve = resolve_to_json},
	{.name = "array_length", .signature = "a", .result = 'i', .run = run_array_length},
	{.name = "json_array_length", .signature = "a", .result = 'i', .run = run_array_length},
	{.name = "json_keys", .signature = "a", .result = 'a', .run = run_json_keys},
	{.name = "typeof",
		.signature = "?",
		.result = 's',
		.run = run_typeof,
		.flags = FUNCTION_OWN_NULLS},
	{.name = NULL},
};
