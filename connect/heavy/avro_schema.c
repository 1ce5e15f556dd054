#include "connect/heavy/avro_schema.h"

#include "libcore/base/memory.h"

#include <avro.h>
#include <ctype.h>
#include <jansson.h>
#include <string.h>

enum { NAMES_MAX = 4096, FIELDS_MAX = 4096, DEPTH_MAX = 64 };

/* What has a name, while the tree is built. */
struct builder {
	struct arena *arena;
	struct avro_node *named[NAMES_MAX];
	size_t named_len;
	unsigned depth;
	struct error *e;
};

static const struct avro_node *build(struct builder *b, json_t *j, const char *space);

static const char *const kind_names[] = {[AVRO_KIND_NULL] = "null",
	[AVRO_KIND_BOOLEAN] = "boolean",
	[AVRO_KIND_INT] = "int",
	[AVRO_KIND_LONG] = "long",
	[AVRO_KIND_FLOAT] = "float",
	[AVRO_KIND_DOUBLE] = "double",
	[AVRO_KIND_BYTES] = "bytes",
	[AVRO_KIND_STRING] = "string",
	[AVRO_KIND_RECORD] = "record",
	[AVRO_KIND_ENUM] = "enum",
	[AVRO_KIND_ARRAY] = "array",
	[AVRO_KIND_MAP] = "map",
	[AVRO_KIND_UNION] = "union",
	[AVRO_KIND_FIXED] = "fixed"};

enum { KINDS = sizeof kind_names / sizeof *kind_names };

static const struct {
	const char *name;
	enum avro_logical logical;
	enum avro_kind on;
} logicals[] = {
	{"date", AVRO_DATE, AVRO_KIND_INT},
	{"time-millis", AVRO_TIME_MILLIS, AVRO_KIND_INT},
	{"time-micros", AVRO_TIME_MICROS, AVRO_KIND_LONG},
	{"duration-micros", AVRO_TIME_MICROS, AVRO_KIND_LONG}, /* our own: ignored by others */
	{"timestamp-millis", AVRO_TIMESTAMP_MILLIS, AVRO_KIND_LONG},
	{"timestamp-micros", AVRO_TIMESTAMP_MICROS, AVRO_KIND_LONG},
	{"timestamp-nanos", AVRO_TIMESTAMP_NANOS, AVRO_KIND_LONG},
	{"local-timestamp-millis", AVRO_TIMESTAMP_MILLIS, AVRO_KIND_LONG},
	{"local-timestamp-micros", AVRO_TIMESTAMP_MICROS, AVRO_KIND_LONG},
	{"local-timestamp-nanos", AVRO_TIMESTAMP_NANOS, AVRO_KIND_LONG},
	{"decimal", AVRO_DECIMAL, AVRO_KIND_BYTES},
	{"decimal", AVRO_DECIMAL, AVRO_KIND_FIXED},
};

static const struct avro_node *fail(struct builder *b, const char *what)
{
	error_set(b->e, ERROR_DATA, "the Avro schema %s", what);
	return NULL;
}

static const char *text_of(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* "space.name", unless the name has its space with it. */
static const char *full_name(struct builder *b, const char *name, const char *space)
{
	return !space || !*space || strchr(name, '.')
		       ? arena_strdup(b->arena, name)
		       : arena_printf(b->arena, "%s.%s", space, name);
}

static struct avro_node *find_named(const struct builder *b, const char *name)
{
	for (size_t i = 0; i < b->named_len; i++) {
		if (strcmp(b->named[i]->name, name) == 0)
			return b->named[i];
	}
	return NULL;
}

static int find_kind(const char *name)
{
	for (int i = 0; i < KINDS; i++) {
		if (strcmp(kind_names[i], name) == 0)
			return i;
	}
	return -1;
}

static uint32_t least_bytes(const struct avro_node *n)
{
	uint32_t sum = 0;

	switch (n->kind) {
	case AVRO_KIND_NULL: return 0;
	case AVRO_KIND_FLOAT: return 4;
	case AVRO_KIND_DOUBLE: return 8;
	case AVRO_KIND_FIXED: return n->size;
	case AVRO_KIND_RECORD:
		for (size_t i = 0; i < n->fields_len && sum < 1 << 20; i++)
			sum += n->fields[i].node->least_bytes;
		return sum;
	case AVRO_KIND_BOOLEAN:
	case AVRO_KIND_INT:
	case AVRO_KIND_LONG:
	case AVRO_KIND_BYTES:
	case AVRO_KIND_STRING:
	case AVRO_KIND_ENUM:
	case AVRO_KIND_ARRAY:
	case AVRO_KIND_MAP:
	case AVRO_KIND_UNION: return 1;
	}
	return 0;
}

static const struct avro_node *by_name(struct builder *b, const char *name, const char *space)
{
	int kind = find_kind(name);
	struct avro_node *n = find_named(b, full_name(b, name, space));

	if (!n)
		n = find_named(b, name);
	if (n)
		return n;
	if (kind < 0 || kind == AVRO_KIND_RECORD || kind == AVRO_KIND_ENUM ||
		kind == AVRO_KIND_ARRAY || kind == AVRO_KIND_MAP || kind == AVRO_KIND_FIXED)
		return fail(b, "names a type that isn't there");
	n = ARENA_NEW(b->arena, struct avro_node);
	n->kind = (enum avro_kind)kind;
	n->least_bytes = least_bytes(n);
	return n;
}

static const struct avro_node *build_union(struct builder *b, json_t *j, const char *space)
{
	struct avro_node *n = ARENA_NEW(b->arena, struct avro_node);
	size_t i;
	json_t *branch;

	n->kind = AVRO_KIND_UNION;
	n->least_bytes = 1;
	n->fields_len = json_array_size(j);
	n->fields = ARENA_ARRAY(b->arena, struct avro_field, n->fields_len + 1);
	if (!n->fields_len)
		return fail(b, "has a union of nothing");
	json_array_foreach(j, i, branch)
	{
		n->fields[i].name = "";
		n->fields[i].node = build(b, branch, space);
		if (!n->fields[i].node)
			return NULL;
	}
	return n;
}

static const struct avro_node *build_record(
	struct builder *b, struct avro_node *n, json_t *j, const char *space)
{
	json_t *fields = json_object_get(j, "fields"), *field;
	size_t i;

	if (!json_is_array(fields))
		return fail(b, "has a record without fields");
	n->fields_len = json_array_size(fields);
	if (n->fields_len > FIELDS_MAX)
		return fail(b, "has a record of too many fields");
	n->fields = ARENA_ARRAY(b->arena, struct avro_field, n->fields_len + 1);
	json_array_foreach(fields, i, field)
	{
		const char *name = text_of(field, "name");

		if (!name)
			return fail(b, "has a field without a name");
		for (size_t k = 0; k < i; k++) {
			if (strcmp(n->fields[k].name, name) == 0)
				return fail(b, "names a field twice");
		}
		n->fields[i].name = arena_strdup(b->arena, name);
		n->fields[i].node = build(b, json_object_get(field, "type"), space);
		if (!n->fields[i].node)
			return NULL;
	}
	return n;
}

static const struct avro_node *build_enum(struct builder *b, struct avro_node *n, json_t *j)
{
	json_t *symbols = json_object_get(j, "symbols"), *symbol;
	size_t i;

	if (!json_is_array(symbols))
		return fail(b, "has an enum without symbols");
	n->fields_len = json_array_size(symbols);
	n->fields = ARENA_ARRAY(b->arena, struct avro_field, n->fields_len + 1);
	json_array_foreach(symbols, i, symbol) n->fields[i].name = arena_strdup(
		b->arena, json_is_string(symbol) ? json_string_value(symbol) : "");
	return n;
}

/* What has a name of its own: known before what is in it, which may refer to it. */
static const struct avro_node *build_named(
	struct builder *b, struct avro_node *n, json_t *j, const char *space)
{
	const char *name = text_of(j, "name"), *own = text_of(j, "namespace");
	const char *dot;
	json_int_t size;

	if (!name)
		return fail(b, "has a type without its name");
	if (b->named_len == NAMES_MAX)
		return fail(b, "names too many types");
	n->name = full_name(b, name, own ? own : space);
	if (find_named(b, n->name))
		return fail(b, "names two types alike");
	b->named[b->named_len++] = n;
	dot = strrchr(n->name, '.');
	space = dot ? arena_strndup(b->arena, n->name, (size_t)(dot - n->name)) : "";
	if (n->kind == AVRO_KIND_RECORD)
		return build_record(b, n, j, space);
	if (n->kind == AVRO_KIND_ENUM)
		return build_enum(b, n, j);
	size = json_integer_value(json_object_get(j, "size"));
	if (size < 0 || size > 1 << 24)
		return fail(b, "has a fixed of an impossible size");
	n->size = (uint32_t)size;
	return n;
}

/* An unknown one, or one that doesn't fit, is to be ignored: so the specification. */
static void take_logical(struct avro_node *n, json_t *j)
{
	const char *name = text_of(j, "logicalType");
	json_int_t precision = json_integer_value(json_object_get(j, "precision"));
	json_int_t scale = json_integer_value(json_object_get(j, "scale"));

	for (size_t i = 0; name && i < sizeof logicals / sizeof *logicals; i++) {
		if (strcmp(logicals[i].name, name) == 0 && logicals[i].on == n->kind)
			n->logical = logicals[i].logical;
	}
	if (n->logical != AVRO_DECIMAL)
		return;
	if (precision < 1 || precision > DECIMAL_PRECISION_MAX || scale < 0 || scale > precision) {
		n->logical = AVRO_PLAIN;
		return;
	}
	n->precision = (uint8_t)precision;
	n->scale = (uint8_t)scale;
}

static const struct avro_node *build_object(struct builder *b, json_t *j, const char *space)
{
	json_t *type = json_object_get(j, "type");
	const char *name = json_string_value(type);
	int kind = name ? find_kind(name) : -1;
	const struct avro_node *built;
	struct avro_node *n;

	if (!name)
		return build(b, type, space);
	if (kind < 0)
		return by_name(b, name, space);
	n = ARENA_NEW(b->arena, struct avro_node);
	n->kind = (enum avro_kind)kind;
	if (kind == AVRO_KIND_RECORD || kind == AVRO_KIND_ENUM || kind == AVRO_KIND_FIXED) {
		built = build_named(b, n, j, space);
		if (!built)
			return NULL;
	} else if (kind == AVRO_KIND_ARRAY || kind == AVRO_KIND_MAP) {
		n->items = build(
			b, json_object_get(j, kind == AVRO_KIND_ARRAY ? "items" : "values"), space);
		if (!n->items)
			return NULL;
	}
	take_logical(n, j);
	n->least_bytes = least_bytes(n);
	return n;
}

static const struct avro_node *build(struct builder *b, json_t *j, const char *space)
{
	const struct avro_node *n;

	if (++b->depth > DEPTH_MAX)
		return fail(b, "is nested too deeply");
	if (json_is_string(j))
		n = by_name(b, json_string_value(j), space);
	else if (json_is_array(j))
		n = build_union(b, j, space);
	else if (json_is_object(j))
		n = build_object(b, j, space);
	else
		n = fail(b, "lacks a type");
	b->depth--;
	return n;
}

/* By the letter: avro-c.  It comes last because it loses the memory of many a schema it refuses. */
static int check(const char *json, size_t len, struct error *e)
{
	avro_schema_t schema;

	if (avro_schema_from_json_length(json, len, &schema) != 0)
		return error_set(e, ERROR_DATA, "no Avro schema: %s", avro_strerror());
	avro_schema_decref(schema);
	return 0;
}

int avro_schema_parse(const char *json, size_t len, struct arena *a, const struct avro_node **out,
	struct error *e)
{
	struct builder *b;
	json_error_t why;
	json_t *j = json_loadb(json, len, JSON_DECODE_ANY, &why);

	if (!j)
		return error_set(
			e, ERROR_DATA, "no Avro schema: %d:%d: %s", why.line, why.column, why.text);
	b = mem_zero(sizeof *b);
	b->arena = a;
	b->e = e;
	*out = build(b, j, NULL);
	mem_free(b);
	/* A name alone is a schema too, but avro-c knows only those in containers. */
	if (*out && !json_is_string(j) && check(json, len, e) < 0)
		*out = NULL;
	json_decref(j);
	return *out ? 0 : -1;
}

/* ---- types ---- */

const struct avro_node *avro_plain(const struct avro_node *n, bool *nullable)
{
	bool first;

	*nullable = n->kind == AVRO_KIND_NULL;
	if (n->kind != AVRO_KIND_UNION)
		return n;
	for (size_t i = 0; i < n->fields_len; i++)
		*nullable |= n->fields[i].node->kind == AVRO_KIND_NULL;
	if (n->fields_len == 1)
		return n->fields[0].node;
	if (n->fields_len != 2 || !*nullable)
		return n;
	first = n->fields[0].node->kind == AVRO_KIND_NULL;
	return n->fields[first].node;
}

struct type avro_type(const struct avro_node *n)
{
	bool nullable;

	n = avro_plain(n, &nullable);
	switch (n->logical) {
	case AVRO_DATE: return TYPE_OF(TYPE_DATE);
	case AVRO_TIME_MILLIS:
	case AVRO_TIME_MICROS: return TYPE_OF(TYPE_DURATION);
	case AVRO_TIMESTAMP_MILLIS:
	case AVRO_TIMESTAMP_MICROS:
	case AVRO_TIMESTAMP_NANOS: return TYPE_OF(TYPE_TIMESTAMP);
	case AVRO_DECIMAL: return (struct type){TYPE_DECIMAL, n->precision, n->scale};
	case AVRO_PLAIN: break;
	}
	switch (n->kind) {
	case AVRO_KIND_BOOLEAN: return TYPE_OF(TYPE_BOOL);
	case AVRO_KIND_INT:
	case AVRO_KIND_LONG: return TYPE_OF(TYPE_INT);
	case AVRO_KIND_FLOAT:
	case AVRO_KIND_DOUBLE: return TYPE_OF(TYPE_FLOAT);
	case AVRO_KIND_BYTES:
	case AVRO_KIND_FIXED: return TYPE_OF(TYPE_BYTES);
	case AVRO_KIND_STRING:
	case AVRO_KIND_ENUM:
	case AVRO_KIND_NULL: return TYPE_OF(TYPE_STRING);
	case AVRO_KIND_RECORD:
	case AVRO_KIND_ARRAY:
	case AVRO_KIND_MAP:
	case AVRO_KIND_UNION: return TYPE_OF(TYPE_ANY);
	}
	return TYPE_OF(TYPE_ANY);
}

void avro_put_name(const struct avro_node *n, struct buf *out)
{
	if (n->kind != AVRO_KIND_UNION) {
		for (size_t i = 0; n->logical && i < sizeof logicals / sizeof *logicals; i++) {
			if (logicals[i].logical == n->logical) {
				buf_put_text(out, logicals[i].name);
				return;
			}
		}
		buf_put_text(out, kind_names[n->kind]);
		return;
	}
	buf_put_text(out, "union of ");
	for (size_t i = 0; i < n->fields_len; i++) {
		buf_put_text(out, !i ? "" : i + 1 == n->fields_len ? " and " : ", ");
		if (n->fields[i].node->kind == AVRO_KIND_UNION)
			buf_put_text(out, "a union");
		else
			avro_put_name(n->fields[i].node, out);
	}
}

/* ---- a schema of columns ---- */

static bool is_name(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && *name != '_')
			return false;
	}
	return true;
}

static void put_type(struct type t, struct buf *out)
{
	switch ((enum type_kind)t.kind) {
	case TYPE_BOOL: buf_put_text(out, "\"boolean\""); return;
	case TYPE_INT: buf_put_text(out, "\"long\""); return;
	case TYPE_FLOAT: buf_put_text(out, "\"double\""); return;
	case TYPE_DECIMAL:
		buf_printf(out,
			"{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":%d,"
			"\"scale\":%d}",
			t.precision, t.scale);
		return;
	case TYPE_DATE: buf_put_text(out, "{\"type\":\"int\",\"logicalType\":\"date\"}"); return;
	case TYPE_TIMESTAMP:
		buf_put_text(out, "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}");
		return;
	case TYPE_DURATION:
		buf_put_text(out, "{\"type\":\"long\",\"logicalType\":\"duration-micros\"}");
		return;
	case TYPE_STRING:
	case TYPE_ANY: buf_put_text(out, "\"string\""); return;
	case TYPE_BYTES: buf_put_text(out, "\"bytes\""); return;
	}
}

int avro_schema_of(const struct schema *s, struct buf *json, struct error *e)
{
	buf_put_text(json, "{\"type\":\"record\",\"name\":\"row\",\"fields\":[");
	if (s->changelog)
		buf_put_text(json, "{\"name\":\"op\",\"type\":\"string\"}");
	for (size_t i = 0; i < s->fields_len; i++) {
		const struct field *f = &s->fields[i];

		if (!is_name(f->name))
			return error_set(e, ERROR_USAGE,
				"'%s' is no name in Avro, where one is letters, "
				"digits and _, and begins with no digit",
				f->name);
		buf_printf(json, "%s{\"name\":\"%s\",\"type\":[\"null\",",
			i || s->changelog ? "," : "", f->name);
		put_type(f->type, json);
		buf_put_text(json, "],\"default\":null}");
	}
	buf_put_text(json, "]}");
	return 0;
}
