#include "connect/heavy/avro_put.h"

#include "connect/heavy/avro_value.h"
#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

#include <math.h>
#include <string.h>

enum {
	COLUMN_NONE = -1, /* null */
	COLUMN_OP = -2,
	TEXT_BYTES = 64,
	SHOWN_BYTES = 100,
	NOT_THERE = -1,
	DEPTH_MAX = 64,
	DECIMAL_BYTES = 16,
};

/* A field and what goes into it. */
struct slot {
	const char *name;
	int column;
	const struct avro_node *node; /* never a union; NULL: only nulls */
	const struct avro_node *whole; /* as the schema has it, for values of any */
	int branch, null_branch;       /* of a union; NOT_THERE */
};

struct avro_put {
	struct slot *slots;
	size_t len;
};

/* ---- bytes ---- */

static void put_run(struct buf *out, const void *bytes, size_t len)
{
	avro_put_long(out, (int64_t)len);
	buf_put(out, bytes, len);
}

static void put_real(struct buf *out, const struct avro_node *n, double v)
{
	float f = (float)v;

	if (n->kind == AVRO_KIND_DOUBLE)
		buf_put(out, &v, sizeof v);
	else
		buf_put(out, &f, sizeof f);
}

static bool put_whole(struct buf *out, const struct avro_node *n, int64_t v)
{
	if (n->kind == AVRO_KIND_INT && v != (int32_t)v)
		return false;
	avro_put_long(out, v);
	return true;
}

/* Big endian two's complement: the fewest bytes that hold it, or as many as a fixed has. */
static bool put_unscaled(struct buf *out, const struct avro_node *n, __int128 v)
{
	uint8_t bytes[DECIMAL_BYTES], sign = v < 0 ? 0xff : 0;
	unsigned from = 0;

	for (int i = DECIMAL_BYTES - 1; i >= 0; i--, v >>= 8)
		bytes[i] = (uint8_t)v;
	while (from < DECIMAL_BYTES - 1 && bytes[from] == sign &&
		(bytes[from + 1] & 0x80) == (sign & 0x80))
		from++;
	if (n->kind == AVRO_KIND_BYTES) {
		put_run(out, bytes + from, DECIMAL_BYTES - from);
		return true;
	}
	if (DECIMAL_BYTES - from > n->size)
		return false;
	for (uint32_t i = DECIMAL_BYTES; i < n->size; i++)
		buf_put_byte(out, sign);
	from = n->size < DECIMAL_BYTES ? DECIMAL_BYTES - n->size : 0;
	buf_put(out, bytes + from, DECIMAL_BYTES - from);
	return true;
}

static bool put_decimal(struct buf *out, const struct avro_node *n, __int128 v, unsigned scale)
{
	struct decimal_shape shape = {n->precision, n->scale};
	__int128 to;

	return decimal_rescale(v, scale, shape, false, &to) == NUMBER_OK &&
	       put_unscaled(out, n, to);
}

static bool put_moment(struct buf *out, const struct avro_node *n, int64_t us)
{
	int64_t v = us;

	switch (n->logical) {
	case AVRO_TIMESTAMP_MILLIS:
	case AVRO_TIME_MILLIS:
		if (us % 1000)
			return false;
		v = us / 1000;
		break;
	case AVRO_TIMESTAMP_NANOS:
		if (__builtin_mul_overflow(us, 1000, &v))
			return false;
		break;
	case AVRO_PLAIN:
	case AVRO_DATE:
	case AVRO_TIME_MICROS:
	case AVRO_TIMESTAMP_MICROS:
	case AVRO_DECIMAL: break;
	}
	return put_whole(out, n, v);
}

static bool is_moment(const struct avro_node *n)
{
	return n->logical >= AVRO_TIMESTAMP_MILLIS && n->logical <= AVRO_TIMESTAMP_NANOS;
}

static bool put_symbol(struct buf *out, const struct avro_node *n, const char *text, size_t len)
{
	for (size_t i = 0; i < n->fields_len; i++) {
		if (strlen(n->fields[i].name) == len && memcmp(n->fields[i].name, text, len) == 0) {
			avro_put_long(out, (int64_t)i);
			return true;
		}
	}
	return false;
}

/* Into string, bytes, an enum, a fixed. */
static bool put_text(struct buf *out, const struct avro_node *n, const void *text, size_t len)
{
	if (n->kind == AVRO_KIND_ENUM)
		return put_symbol(out, n, text, len);
	if (n->kind != AVRO_KIND_FIXED) {
		put_run(out, text, len);
		return true;
	}
	if (len != n->size)
		return false;
	buf_put(out, text, len);
	return true;
}

/* ---- any ---- */

static bool put_item(struct buf *out, const struct avro_node *n, struct msgpack *m, unsigned depth);

/* Whether the value could be of the node, as far as its head tells; a record's by its names. */
static bool is_record_of(const struct avro_node *n, const struct msgpack *at, uint32_t pairs);

static bool item_fits(const struct avro_node *n, const struct msgpack_item *i,
	const struct msgpack *behind)
{
	bool is_text = i->kind == MSGPACK_STR, is_whole = i->kind == MSGPACK_INT;

	switch (n->kind) {
	case AVRO_KIND_NULL: return i->kind == MSGPACK_NIL;
	case AVRO_KIND_BOOLEAN: return i->kind == MSGPACK_BOOL;
	case AVRO_KIND_INT:
		return n->logical == AVRO_DATE ? is_text || is_whole
					       : is_whole && i->integer == (int32_t)i->integer;
	case AVRO_KIND_LONG: return is_moment(n) ? i->kind == MSGPACK_EXT : is_whole;
	case AVRO_KIND_FLOAT:
	case AVRO_KIND_DOUBLE: return i->kind == MSGPACK_FLOAT || is_whole;
	case AVRO_KIND_BYTES:
		return n->logical == AVRO_DECIMAL ? is_text || is_whole : i->kind == MSGPACK_BIN;
	case AVRO_KIND_FIXED:
		return n->logical == AVRO_DECIMAL ? is_text || is_whole
						  : i->kind == MSGPACK_BIN && i->bytes_len == n->size;
	case AVRO_KIND_STRING: return is_text;
	case AVRO_KIND_ENUM:
		for (size_t k = 0; is_text && k < n->fields_len; k++) {
			if (strlen(n->fields[k].name) == i->bytes_len &&
				memcmp(n->fields[k].name, i->bytes, i->bytes_len) == 0)
				return true;
		}
		return false;
	case AVRO_KIND_ARRAY: return i->kind == MSGPACK_ARRAY;
	case AVRO_KIND_MAP: return i->kind == MSGPACK_MAP;
	case AVRO_KIND_RECORD:
		return i->kind == MSGPACK_MAP && is_record_of(n, behind, i->count);
	case AVRO_KIND_UNION: break;
	}
	return false;
}

static int find_field(const struct avro_node *n, const struct msgpack_item *key)
{
	for (size_t i = 0; key->kind == MSGPACK_STR && i < n->fields_len; i++) {
		if (strlen(n->fields[i].name) == key->bytes_len &&
			memcmp(n->fields[i].name, key->bytes, key->bytes_len) == 0)
			return (int)i;
	}
	return -1;
}

static bool is_record_of(const struct avro_node *n, const struct msgpack *at, uint32_t pairs)
{
	struct msgpack m = *at;
	struct msgpack_item key;

	for (uint32_t i = 0; i < pairs; i++) {
		if (msgpack_next(&m, &key) != 0 || find_field(n, &key) < 0 || msgpack_skip(&m) < 0)
			return false;
	}
	return true;
}

static int null_of(const struct avro_node *n)
{
	for (size_t i = 0; n->kind == AVRO_KIND_UNION && i < n->fields_len; i++) {
		if (n->fields[i].node->kind == AVRO_KIND_NULL)
			return (int)i;
	}
	return NOT_THERE;
}

/* A field that the map lacks. */
static bool put_absent(struct buf *out, const struct avro_node *n)
{
	int branch = null_of(n);

	if (branch >= 0)
		avro_put_long(out, branch);
	return branch >= 0 || n->kind == AVRO_KIND_NULL;
}

/* The map's values in the order of the record's fields. */
static bool put_record(struct buf *out, const struct avro_node *n, struct msgpack *m,
	uint32_t pairs, unsigned depth)
{
	struct msgpack *found = mem_zero((n->fields_len + 1) * sizeof *found);
	struct msgpack_item key;
	bool is_good = true;

	for (uint32_t i = 0; is_good && i < pairs; i++) {
		int field = -1;

		is_good = msgpack_next(m, &key) == 0 && (field = find_field(n, &key)) >= 0;
		if (is_good)
			found[field] = *m;
		is_good = is_good && msgpack_skip(m) == 0;
	}
	for (size_t i = 0; is_good && i < n->fields_len; i++)
		is_good = found[i].at ? put_item(out, n->fields[i].node, &found[i], depth)
				      : put_absent(out, n->fields[i].node);
	mem_free(found);
	return is_good;
}

static bool put_items(struct buf *out, const struct avro_node *n, struct msgpack *m, uint32_t count,
	unsigned depth)
{
	struct msgpack_item key;

	if (count)
		avro_put_long(out, count);
	for (uint32_t i = 0; i < count; i++) {
		if (n->kind == AVRO_KIND_MAP) {
			if (msgpack_next(m, &key) != 0 || key.kind != MSGPACK_STR)
				return false;
			put_run(out, key.bytes, key.bytes_len);
		}
		if (!put_item(out, n->items, m, depth))
			return false;
	}
	avro_put_long(out, 0);
	return true;
}

/* A text where no text is: a date's, a decimal's. */
static bool put_item_text(struct buf *out, const struct avro_node *n, const struct msgpack_item *i)
{
	const char *text = (const char *)i->bytes;
	struct decimal_shape shape = {n->precision, n->scale};
	__int128 decimal;
	int32_t days;

	if (n->logical == AVRO_DATE) {
		if (date_parse(text, i->bytes_len, &days) != NUMBER_OK)
			return false;
		avro_put_long(out, days);
		return true;
	}
	if (n->logical == AVRO_DECIMAL)
		return decimal_parse(text, i->bytes_len, shape, false, &decimal) == NUMBER_OK &&
		       put_unscaled(out, n, decimal);
	return put_text(out, n, text, i->bytes_len);
}

static bool put_item_whole(struct buf *out, const struct avro_node *n, int64_t v)
{
	/* Whole numbers beyond have neighbours that aren't there. */
	int64_t most = INT64_C(1) << (n->kind == AVRO_KIND_FLOAT ? 24 : 53);

	if (n->logical == AVRO_DECIMAL)
		return put_decimal(out, n, v, 0);
	if (n->kind != AVRO_KIND_FLOAT && n->kind != AVRO_KIND_DOUBLE)
		return put_whole(out, n, v);
	put_real(out, n, (double)v);
	return v >= -most && v <= most;
}

/* A whole number comes back as one only from a branch of whole numbers. */
static bool loses_kind(const struct avro_node *n, const struct msgpack_item *i)
{
	return i->kind == MSGPACK_INT && (n->kind == AVRO_KIND_FLOAT || n->kind == AVRO_KIND_DOUBLE);
}

/* The node that takes the value; a union's branch is put.  NULL: none. */
static const struct avro_node *choose_for_item(struct buf *out, const struct avro_node *n,
	const struct msgpack_item *i, const struct msgpack *behind)
{
	size_t chosen = n->fields_len;

	if (n->kind != AVRO_KIND_UNION)
		return item_fits(n, i, behind) ? n : NULL;
	for (size_t k = 0; k < n->fields_len; k++) {
		const struct avro_node *branch = n->fields[k].node;

		if (!item_fits(branch, i, behind) || (loses_kind(branch, i) && chosen < n->fields_len))
			continue;
		chosen = k;
		if (!loses_kind(branch, i))
			break;
	}
	if (chosen == n->fields_len)
		return NULL;
	avro_put_long(out, (int64_t)chosen);
	return n->fields[chosen].node;
}

static bool put_item(struct buf *out, const struct avro_node *n, struct msgpack *m, unsigned depth)
{
	struct msgpack_item i;
	int64_t us;

	if (depth == DEPTH_MAX || msgpack_next(m, &i) != 0)
		return false;
	n = choose_for_item(out, n, &i, m);
	if (!n)
		return false;
	switch (i.kind) {
	case MSGPACK_NIL: return true;
	case MSGPACK_BOOL: buf_put_byte(out, i.boolean); return true;
	case MSGPACK_INT: return put_item_whole(out, n, i.integer);
	case MSGPACK_UINT: return false;
	case MSGPACK_FLOAT: put_real(out, n, i.real); return true;
	case MSGPACK_STR: return put_item_text(out, n, &i);
	case MSGPACK_BIN: return put_text(out, n, i.bytes, i.bytes_len);
	case MSGPACK_EXT: return msgpack_moment(&i, &us) && put_moment(out, n, us);
	case MSGPACK_ARRAY: return put_items(out, n, m, i.count, depth + 1);
	case MSGPACK_MAP:
		return n->kind == AVRO_KIND_RECORD ? put_record(out, n, m, i.count, depth + 1)
						   : put_items(out, n, m, i.count, depth + 1);
	}
	return false;
}

/* ---- values of columns ---- */

/* The text of a value of fixed width, for string and enum. */
static bool put_shown(struct buf *out, const struct avro_node *n, const struct column *c, uint32_t row)
{
	struct buf text = BUF_INIT;
	bool is_good;

	column_put_text(c, row, TEXT_BYTES, &text);
	is_good = put_text(out, n, text.data, text.len);
	buf_clear(&text);
	return is_good;
}

static bool put_any(struct buf *out, const struct slot *s, const struct column *c, uint32_t row)
{
	struct text_view t = column_text(c, row);
	struct msgpack m = {(const uint8_t *)t.text, (const uint8_t *)t.text + t.len};
	struct buf json = BUF_INIT;
	bool is_good;

	if (!s->node || s->node->kind != AVRO_KIND_STRING)
		return put_item(out, s->whole, &m, 0);
	if (s->branch >= 0)
		avro_put_long(out, s->branch);
	is_good = msgpack_put_json((const uint8_t *)t.text, t.len, &json) == 0;
	if (is_good)
		put_run(out, json.data, json.len);
	buf_clear(&json);
	return is_good;
}

static bool put_value(struct buf *out, const struct slot *s, const struct column *c, uint32_t row)
{
	const struct avro_node *n = s->node;
	struct text_view t;
	double real;

	if (c->type.kind == TYPE_ANY)
		return put_any(out, s, c, row);
	if (!n)
		return false;
	if (s->branch >= 0)
		avro_put_long(out, s->branch);
	if (!type_is_text(c->type) && n->kind == AVRO_KIND_STRING)
		return put_shown(out, n, c, row);
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: buf_put_byte(out, column_bool(c, row)); return true;
	case TYPE_INT: return put_item_whole(out, n, column_int(c, row));
	case TYPE_FLOAT:
		real = column_float(c, row);
		put_real(out, n, real);
		return n->kind == AVRO_KIND_DOUBLE || !isfinite(real) || isfinite((float)real);
	case TYPE_DECIMAL:
		return put_decimal(out, n, column_decimal(c, row), c->type.scale);
	case TYPE_DATE: return put_whole(out, n, column_date(c, row));
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: return put_moment(out, n, column_int(c, row));
	case TYPE_STRING:
	case TYPE_BYTES:
		t = column_text(c, row);
		return put_text(out, n, t.text, t.len);
	case TYPE_ANY: break;
	}
	MUST(!"a type");
	return false;
}

static int refuse(const struct slot *s, const struct column *c, uint32_t row, struct error *e)
{
	struct buf shown = BUF_INIT, name = BUF_INIT;

	if (!column_is_valid(c, row)) {
		error_set(e, ERROR_DATA, "column '%s' is null, and its field in Avro may not be", s->name);
		return -1;
	}
	column_put_text(c, row, SHOWN_BYTES, &shown);
	avro_put_name(s->whole, &name);
	error_set(e, ERROR_DATA, "column '%s': %s is no Avro %s", s->name, buf_cstr(&shown),
		buf_cstr(&name));
	buf_clear(&shown);
	buf_clear(&name);
	return -1;
}

static bool put_null(struct buf *out, const struct slot *s)
{
	if (s->null_branch >= 0)
		avro_put_long(out, s->null_branch);
	return s->null_branch >= 0 || s->whole->kind == AVRO_KIND_NULL;
}

static const char *op_name(uint8_t op)
{
	static const char *const names[] = {"+I", "-U", "+U", "-D"};

	return names[op & 3];
}

int avro_put_row(struct avro_put *p, const struct batch *b, uint32_t row, struct buf *out,
	struct error *e)
{
	size_t before = out->len;

	for (size_t i = 0; i < p->len; i++) {
		const struct slot *s = &p->slots[i];
		const struct column *c = s->column >= 0 ? &b->columns[s->column] : NULL;
		bool is_good = true;

		if (s->column == COLUMN_OP) {
			if (s->branch >= 0)
				avro_put_long(out, s->branch);
			is_good = put_text(out, s->node, op_name(b->ops ? b->ops[row] : 0), 2);
			MUST(is_good);
		} else {
			is_good = c && column_is_valid(c, row) ? put_value(out, s, c, row)
							       : put_null(out, s);
		}
		if (!is_good) {
			out->len = before;
			return refuse(s, c, row, e);
		}
	}
	return 0;
}

/* ---- plans ---- */

/* How well values of a type go into a node: 0 not at all, 2 as they are. */
static int fit(struct type t, const struct avro_node *n)
{
	bool is_plain = n->logical == AVRO_PLAIN;

	if (n->kind == AVRO_KIND_NULL)
		return 0;
	if (n->kind == AVRO_KIND_STRING)
		return t.kind == TYPE_STRING ? 2 : t.kind != TYPE_BYTES;
	switch ((enum type_kind)t.kind) {
	case TYPE_BOOL: return 2 * (n->kind == AVRO_KIND_BOOLEAN);
	case TYPE_INT:
		if (n->kind == AVRO_KIND_LONG || n->kind == AVRO_KIND_INT)
			return is_plain ? 2 : 0;
		return n->kind == AVRO_KIND_DOUBLE || n->logical == AVRO_DECIMAL;
	case TYPE_FLOAT: return n->kind == AVRO_KIND_DOUBLE ? 2 : n->kind == AVRO_KIND_FLOAT;
	case TYPE_DECIMAL: return 2 * (n->logical == AVRO_DECIMAL);
	case TYPE_DATE: return 2 * (n->logical == AVRO_DATE);
	case TYPE_TIMESTAMP: return n->logical == AVRO_TIMESTAMP_MICROS ? 2 : is_moment(n);
	case TYPE_DURATION:
		if (n->logical == AVRO_TIME_MILLIS || n->logical == AVRO_TIME_MICROS)
			return 2;
		return is_plain && n->kind == AVRO_KIND_LONG;
	case TYPE_STRING: return n->kind == AVRO_KIND_ENUM ? 2 : is_plain && n->kind == AVRO_KIND_BYTES;
	case TYPE_BYTES:
		return 2 * (is_plain && (n->kind == AVRO_KIND_BYTES || n->kind == AVRO_KIND_FIXED));
	case TYPE_ANY: return 1;
	}
	return 0;
}

/* The branch that the column's values take; of any, each its own, unless there is only a string. */
static void choose_branch(struct slot *s, struct type t)
{
	int best = 0;

	s->null_branch = null_of(s->whole);
	s->branch = NOT_THERE;
	s->node = NULL;
	if (s->whole->kind != AVRO_KIND_UNION) {
		s->node = fit(t, s->whole) ? s->whole : NULL;
		return;
	}
	if (t.kind == TYPE_ANY && s->whole->fields_len - (s->null_branch >= 0) > 1)
		return;
	for (size_t i = 0; i < s->whole->fields_len; i++) {
		int now = fit(t, s->whole->fields[i].node);

		if (now <= best)
			continue;
		best = now;
		s->branch = (int)i;
		s->node = s->whole->fields[i].node;
	}
}

static int refuse_type(const struct slot *s, struct type t, struct error *e)
{
	struct buf name = BUF_INIT;

	avro_put_name(s->whole, &name);
	error_set(e, ERROR_USAGE, "'%s' is %s in the Avro schema, and the column is %s", s->name,
		buf_cstr(&name), type_name(t));
	buf_clear(&name);
	return error_hint(e, "smap makes of it what it should be: '*, %s::... as %s'", s->name,
		s->name);
}

static bool is_only_null(const struct avro_node *n)
{
	return n->kind == AVRO_KIND_NULL || (n->fields_len == 1 && null_of(n) == 0);
}

static int fill_slot(struct slot *s, const struct schema *columns, struct error *e)
{
	struct type t;

	s->column = COLUMN_NONE;
	if (columns->changelog && strcmp(s->name, "op") == 0)
		s->column = COLUMN_OP;
	for (size_t i = 0; s->column == COLUMN_NONE && i < columns->fields_len; i++) {
		if (strcmp(columns->fields[i].name, s->name) == 0)
			s->column = (int)i;
	}
	t = s->column >= 0 ? columns->fields[s->column].type : TYPE_OF(TYPE_STRING);
	choose_branch(s, t);
	if (s->column == COLUMN_NONE) {
		if (s->null_branch >= 0 || s->whole->kind == AVRO_KIND_NULL)
			return 0;
		error_set(e, ERROR_USAGE, "the Avro schema's field '%s' is no column, and may not be null",
			s->name);
		return error_hint(e, "smap adds it: '*, ... as %s'", s->name);
	}
	if (s->column == COLUMN_OP && s->node && s->node->kind == AVRO_KIND_STRING)
		return 0;
	if (s->column >= 0 && (s->node || t.kind == TYPE_ANY || is_only_null(s->whole)))
		return 0;
	return refuse_type(s, t, e);
}

/* No column is left out without a word. */
static int check_columns(const struct avro_put *p, const struct schema *columns, struct error *e)
{
	for (size_t i = 0; i < columns->fields_len; i++) {
		bool found = false;

		for (size_t k = 0; k < p->len && !found; k++)
			found = p->slots[k].column == (int)i;
		if (found)
			continue;
		error_set(e, ERROR_USAGE, "column '%s' has no field in the Avro schema",
			columns->fields[i].name);
		return error_hint(e, "smap leaves it out: '* except (%s)'", columns->fields[i].name);
	}
	return 0;
}

int avro_put_new(const struct avro_node *schema, const struct schema *columns,
	struct avro_put **out, struct error *e)
{
	struct avro_put *p;
	int status = 0;

	if (schema->kind != AVRO_KIND_RECORD)
		return error_set(e, ERROR_USAGE, "the Avro schema is no record's, which rows are");
	p = mem_zero(sizeof *p);
	p->len = schema->fields_len;
	p->slots = mem_zero((p->len + 1) * sizeof *p->slots);
	for (size_t i = 0; i < p->len && status == 0; i++) {
		p->slots[i].name = schema->fields[i].name;
		p->slots[i].whole = schema->fields[i].node;
		status = fill_slot(&p->slots[i], columns, e);
	}
	if (status == 0)
		status = check_columns(p, columns, e);
	if (status < 0)
		avro_put_free(p);
	else
		*out = p;
	return status;
}

void avro_put_free(struct avro_put *p)
{
	if (!p)
		return;
	mem_free(p->slots);
	mem_free(p);
}
