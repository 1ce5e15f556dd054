#include "connect/heavy/avro_value.h"

#include "formats/value.h"
#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/utf8.h"

#include <string.h>

enum {
	EMPTY_ITEMS_MAX = 1 << 16, /* of an array whose items take no bytes */
	DEPTH_MAX = 64,
	DECIMAL_BYTES = 16,
};

/* What becomes of a record's field. */
struct step {
	const struct avro_node *node;
	int column;                 /* -1: none */
	struct record_plan *inside; /* columns of a record within; NULL: none */
};

struct record_plan {
	struct step *steps;
	size_t len;
};

struct avro_plan {
	struct arena arena;
	const struct wanted_column *columns;
	size_t columns_len;
	const struct avro_node *root;
	struct record_plan *top;
	int *next; /* per column: another one of the same field, or -1 */
	bool *is_there;
	struct buf scratch;
};

struct cursor {
	const uint8_t *p, *end;
	struct buf *reason;
	struct buf *scratch;
	struct column_builder *builders;
	const struct avro_plan *plan;
	bool is_bad; /* a value doesn't fit its column; decoding goes on to find the end */
	unsigned depth;
};

/* ---- bytes ---- */

bool avro_read_long(const uint8_t **at, const uint8_t *end, int64_t *out)
{
	const uint8_t *p = *at;
	uint64_t v = 0;

	for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
		uint64_t byte = *p++;

		if (shift == 63 && byte > 1)
			return false;
		v |= (byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		*out = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
		*at = p;
		return true;
	}
	return false;
}

void avro_put_long(struct buf *out, int64_t v)
{
	uint64_t u = (uint64_t)v << 1 ^ (uint64_t)(v >> 63);

	for (; u > 0x7f; u >>= 7)
		buf_put_byte(out, (uint8_t)(u | 0x80));
	buf_put_byte(out, (uint8_t)u);
}

static bool read_long(struct cursor *c, int64_t *out)
{
	return avro_read_long(&c->p, c->end, out);
}

/* len bytes in place. */
static bool read_run(struct cursor *c, int64_t len, const uint8_t **out)
{
	if (len < 0 || len > c->end - c->p)
		return false;
	*out = c->p;
	c->p += len;
	return true;
}

static bool read_text(struct cursor *c, const uint8_t **out, int64_t *len)
{
	return read_long(c, len) && read_run(c, *len, out);
}

static double read_real(const uint8_t *p, enum avro_kind kind)
{
	double d;
	float f;

	if (kind == AVRO_KIND_DOUBLE) {
		memcpy(&d, p, sizeof d);
		return d;
	}
	memcpy(&f, p, sizeof f);
	return (double)f;
}

/* Big endian two's complement; false: it has more than 38 digits. */
static bool read_decimal(const uint8_t *p, int64_t len, __int128 *out)
{
	unsigned __int128 v = len && (*p & 0x80) ? ~(unsigned __int128)0 : 0;
	uint8_t sign = (uint8_t)v;

	for (; len > DECIMAL_BYTES; p++, len--) {
		if (*p != sign)
			return false;
	}
	for (int64_t i = 0; i < len; i++)
		v = v << 8 | p[i];
	*out = (__int128)v;
	return (*out < 0) == (sign != 0) && *out < decimal_pow10[DECIMAL_PRECISION_MAX] &&
	       *out > -decimal_pow10[DECIMAL_PRECISION_MAX];
}

/* The branch of a union that comes; NULL: broken. */
static const struct avro_node *read_branch(struct cursor *c, const struct avro_node *n)
{
	int64_t branch;

	while (n && n->kind == AVRO_KIND_UNION) {
		if (!read_long(c, &branch) || branch < 0 || (uint64_t)branch >= n->fields_len)
			return NULL;
		n = n->fields[branch].node;
	}
	return n;
}

/* A block of items: their number, 0 at the end, -1 broken.  *bytes: of the block, -1 not told. */
static int64_t read_block(
	struct cursor *c, const struct avro_node *items, bool is_map, int64_t *bytes)
{
	int64_t count, least = (int64_t)items->least_bytes + is_map;

	*bytes = -1;
	if (!read_long(c, &count) || count == INT64_MIN)
		return -1;
	if (count < 0) {
		count = -count;
		if (!read_long(c, bytes) || *bytes < 0 || *bytes > c->end - c->p)
			return -1;
	}
	return count > (least ? (c->end - c->p) / least : EMPTY_ITEMS_MAX) ? -1 : count;
}

/* ---- passing over ---- */

static bool skip(struct cursor *c, const struct avro_node *n);

static bool skip_items(struct cursor *c, const struct avro_node *n)
{
	bool is_map = n->kind == AVRO_KIND_MAP;
	int64_t count, bytes, len;
	const uint8_t *text;

	while ((count = read_block(c, n->items, is_map, &bytes)) > 0) {
		if (bytes >= 0) {
			c->p += bytes;
			continue;
		}
		for (int64_t i = 0; i < count; i++) {
			if ((is_map && !read_text(c, &text, &len)) || !skip(c, n->items))
				return false;
		}
	}
	return count == 0;
}

static bool skip(struct cursor *c, const struct avro_node *n)
{
	const uint8_t *run;
	int64_t v;
	bool is_good = true;

	n = read_branch(c, n);
	if (!n || c->depth == DEPTH_MAX)
		return false;
	c->depth++;
	switch (n->kind) {
	case AVRO_KIND_NULL: break;
	case AVRO_KIND_BOOLEAN: is_good = read_run(c, 1, &run); break;
	case AVRO_KIND_INT:
	case AVRO_KIND_LONG:
	case AVRO_KIND_ENUM: is_good = read_long(c, &v); break;
	case AVRO_KIND_FLOAT: is_good = read_run(c, 4, &run); break;
	case AVRO_KIND_DOUBLE: is_good = read_run(c, 8, &run); break;
	case AVRO_KIND_FIXED: is_good = read_run(c, n->size, &run); break;
	case AVRO_KIND_BYTES:
	case AVRO_KIND_STRING: is_good = read_text(c, &run, &v); break;
	case AVRO_KIND_RECORD:
		for (size_t i = 0; is_good && i < n->fields_len; i++)
			is_good = skip(c, n->fields[i].node);
		break;
	case AVRO_KIND_ARRAY:
	case AVRO_KIND_MAP: is_good = skip_items(c, n); break;
	case AVRO_KIND_UNION: is_good = false; break;
	}
	c->depth--;
	return is_good;
}

/* ---- any ---- */

static bool put_any(struct cursor *c, const struct avro_node *n, struct buf *out);

static bool to_us(const struct avro_node *n, int64_t v, int64_t *us)
{
	if (n->logical == AVRO_TIMESTAMP_MILLIS || n->logical == AVRO_TIME_MILLIS)
		return !__builtin_mul_overflow(v, 1000, us);
	*us = n->logical == AVRO_TIMESTAMP_NANOS ? (v >= 0 ? v : v - 999) / 1000 : v;
	return true;
}

static void put_whole(const struct avro_node *n, int64_t v, struct buf *out)
{
	char text[DATE_TEXT_MAX];
	int64_t us;

	switch (n->logical) {
	case AVRO_DATE: msgpack_put_str(out, text, date_put(text, (int32_t)v)); return;
	case AVRO_TIMESTAMP_MILLIS:
	case AVRO_TIMESTAMP_MICROS:
	case AVRO_TIMESTAMP_NANOS:
		if (to_us(n, v, &us)) {
			msgpack_put_timestamp(out, us);
			return;
		}
		break;
	case AVRO_TIME_MILLIS:
	case AVRO_TIME_MICROS:
	case AVRO_DECIMAL:
	case AVRO_PLAIN: break;
	}
	msgpack_put_int(out, v);
}

static void put_bytes_any(const struct avro_node *n, const uint8_t *p, int64_t len, struct buf *out)
{
	char text[DECIMAL_TEXT_MAX];
	__int128 v;

	if (n->logical == AVRO_DECIMAL && read_decimal(p, len, &v))
		msgpack_put_str(out, text, decimal_put(text, v, n->scale));
	else if (n->kind == AVRO_KIND_STRING && utf8_valid((const char *)p, (size_t)len))
		msgpack_put_str(out, (const char *)p, (size_t)len);
	else
		msgpack_put_bin(out, p, (size_t)len);
}

/* Its number is known at the end: the head has always 32 bits for it. */
static bool put_items(struct cursor *c, const struct avro_node *n, struct buf *out)
{
	bool is_map = n->kind == AVRO_KIND_MAP;
	size_t head = out->len;
	int64_t count, bytes, len;
	const uint8_t *text;
	uint64_t items = 0;

	buf_put(out, is_map ? "\xdf\0\0\0\0" : "\xdd\0\0\0\0", 5);
	while ((count = read_block(c, n->items, is_map, &bytes)) > 0) {
		items += (uint64_t)count;
		for (int64_t i = 0; i < count; i++) {
			if (is_map) {
				if (!read_text(c, &text, &len) ||
					!utf8_valid((const char *)text, (size_t)len))
					return false;
				msgpack_put_str(out, (const char *)text, (size_t)len);
			}
			if (!put_any(c, n->items, out))
				return false;
		}
	}
	for (unsigned i = 0; i < 4; i++)
		out->data[head + 1 + i] = (uint8_t)(items >> (24 - 8 * i));
	return count == 0 && items <= UINT32_MAX;
}

static bool put_record(struct cursor *c, const struct avro_node *n, struct buf *out)
{
	msgpack_put_map(out, (uint32_t)n->fields_len);
	for (size_t i = 0; i < n->fields_len; i++) {
		msgpack_put_str(out, n->fields[i].name, strlen(n->fields[i].name));
		if (!put_any(c, n->fields[i].node, out))
			return false;
	}
	return true;
}

static bool put_plain_any(struct cursor *c, const struct avro_node *n, struct buf *out)
{
	const uint8_t *run;
	int64_t v;

	switch (n->kind) {
	case AVRO_KIND_NULL: msgpack_put_nil(out); return true;
	case AVRO_KIND_BOOLEAN:
		if (!read_run(c, 1, &run))
			return false;
		msgpack_put_bool(out, *run != 0);
		return true;
	case AVRO_KIND_INT:
	case AVRO_KIND_LONG:
		if (!read_long(c, &v))
			return false;
		put_whole(n, v, out);
		return true;
	case AVRO_KIND_ENUM:
		if (!read_long(c, &v) || v < 0 || (uint64_t)v >= n->fields_len)
			return false;
		msgpack_put_str(out, n->fields[v].name, strlen(n->fields[v].name));
		return true;
	case AVRO_KIND_FLOAT:
	case AVRO_KIND_DOUBLE:
		if (!read_run(c, n->kind == AVRO_KIND_FLOAT ? 4 : 8, &run))
			return false;
		msgpack_put_float(out, read_real(run, n->kind));
		return true;
	case AVRO_KIND_FIXED:
		if (!read_run(c, n->size, &run))
			return false;
		put_bytes_any(n, run, n->size, out);
		return true;
	case AVRO_KIND_BYTES:
	case AVRO_KIND_STRING:
		if (!read_text(c, &run, &v))
			return false;
		put_bytes_any(n, run, v, out);
		return true;
	case AVRO_KIND_RECORD: return put_record(c, n, out);
	case AVRO_KIND_ARRAY:
	case AVRO_KIND_MAP: return put_items(c, n, out);
	case AVRO_KIND_UNION: return false;
	}
	return false;
}

static bool put_any(struct cursor *c, const struct avro_node *n, struct buf *out)
{
	bool is_good;

	n = read_branch(c, n);
	if (!n || c->depth == DEPTH_MAX)
		return false;
	c->depth++;
	is_good = put_plain_any(c, n, out);
	c->depth--;
	return is_good;
}

bool avro_to_msgpack(
	const struct avro_node *n, const uint8_t **at, const uint8_t *end, struct buf *out)
{
	struct cursor c = {.p = *at, .end = end};
	bool is_good = put_any(&c, n, out);

	*at = c.p;
	return is_good;
}

/* ---- into columns ---- */

/* The value can't be in this column: the record is bad, and its end is looked for. */
static bool refuse(struct cursor *c, const struct wanted_column *w, const struct avro_node *n)
{
	if (!c->is_bad) {
		avro_put_name(n, c->reason);
		buf_printf(c->reason, " is no %s (column %s)", type_name(w->type), w->name);
	}
	c->is_bad = true;
	return true;
}

static void put_null(struct cursor *c, const struct wanted_column *w, struct column_builder *b)
{
	if (w->required && !c->is_bad) {
		buf_printf(c->reason, "'%s' is null, and it is the event time", w->name);
		c->is_bad = true;
	}
	builder_put_null(b);
}

/* From its text, as csv would take it. */
static void put_by_text(struct cursor *c, const struct wanted_column *w, const char *text,
	size_t len, struct column_builder *b)
{
	enum number_status status = value_put(b, w->unit, len ? text : "", len);

	if (status == NUMBER_OK)
		return;
	if (!c->is_bad)
		value_explain(c->reason, w, len ? text : "", len, status);
	c->is_bad = true;
	builder_put_null(b);
}

static bool put_number(struct cursor *c, const struct wanted_column *w, const struct avro_node *n,
	int64_t v, struct column_builder *b)
{
	struct decimal_shape shape = {w->type.precision, w->type.scale};
	__int128 decimal;
	int64_t us;
	bool is_plain = n->logical == AVRO_PLAIN, fits;

	switch ((enum type_kind)w->type.kind) {
	case TYPE_INT: builder_put_int(b, v); return true;
	case TYPE_FLOAT: builder_put_float(b, (double)v); return true;
	case TYPE_DATE:
		fits = (is_plain || n->logical == AVRO_DATE) && v == (int32_t)v;
		builder_put_date(b, fits ? (int32_t)v : 0);
		return fits || refuse(c, w, n);
	case TYPE_DURATION:
		fits = n->logical != AVRO_DATE && to_us(n, v, &us);
		builder_put_int(b, fits ? us : 0);
		return fits || refuse(c, w, n);
	case TYPE_TIMESTAMP:
		fits = is_plain && w->unit != TIME_ISO
			       ? timestamp_from_ticks(v, time_unit_ticks(w->unit), &us) == NUMBER_OK
			       : n->logical >= AVRO_TIMESTAMP_MILLIS &&
					 n->logical <= AVRO_TIMESTAMP_NANOS && to_us(n, v, &us);
		builder_put_int(b, fits ? us : 0);
		return fits || refuse(c, w, n);
	case TYPE_DECIMAL:
		fits = decimal_from_int(v, shape, &decimal) == NUMBER_OK;
		builder_put_decimal(b, fits ? decimal : 0);
		return fits || refuse(c, w, n);
	case TYPE_BOOL:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	builder_put_null(b);
	return refuse(c, w, n);
}

static bool put_real(struct cursor *c, const struct wanted_column *w, const struct avro_node *n,
	double v, struct column_builder *b)
{
	if (w->type.kind == TYPE_FLOAT) {
		builder_put_float(b, v);
		return true;
	}
	builder_put_null(b);
	return refuse(c, w, n);
}

static bool put_decimal(struct cursor *c, const struct wanted_column *w, const struct avro_node *n,
	const uint8_t *p, int64_t len, struct column_builder *b)
{
	struct decimal_shape shape = {w->type.precision, w->type.scale};
	__int128 v = 0, out = 0;
	bool fits = read_decimal(p, len, &v);

	if (w->type.kind == TYPE_FLOAT && fits) {
		builder_put_float(b, decimal_to_float(v, n->scale));
		return true;
	}
	fits = fits && w->type.kind == TYPE_DECIMAL &&
	       decimal_rescale(v, n->scale, shape, false, &out) == NUMBER_OK;
	if (fits)
		builder_put_decimal(b, out);
	else
		builder_put_null(b);
	return fits || refuse(c, w, n);
}

static bool put_run(struct cursor *c, const struct wanted_column *w, const struct avro_node *n,
	const uint8_t *p, int64_t len, struct column_builder *b)
{
	bool is_text = n->kind == AVRO_KIND_STRING;

	if (w->type.kind == TYPE_BYTES) {
		builder_put_text(b, p, (size_t)len);
		return true;
	}
	if (n->logical == AVRO_DECIMAL)
		return put_decimal(c, w, n, p, len, b);
	if (is_text && w->type.kind != TYPE_ANY) {
		put_by_text(c, w, (const char *)p, (size_t)len, b);
		return true;
	}
	builder_put_null(b);
	return refuse(c, w, n);
}

static bool put_enum(struct cursor *c, const struct wanted_column *w, const struct avro_node *n,
	struct column_builder *b)
{
	const char *symbol;
	int64_t v;

	if (!read_long(c, &v) || v < 0 || (uint64_t)v >= n->fields_len)
		return false;
	symbol = n->fields[v].name;
	put_by_text(c, w, symbol, strlen(symbol), b);
	return true;
}

/* The value of a node that is no union, into a column of any type but any.  False: broken. */
static bool put_typed(struct cursor *c, const struct wanted_column *w, const struct avro_node *n,
	struct column_builder *b)
{
	const uint8_t *run;
	int64_t v;

	switch (n->kind) {
	case AVRO_KIND_NULL: put_null(c, w, b); return true;
	case AVRO_KIND_BOOLEAN:
		if (!read_run(c, 1, &run))
			return false;
		if (w->type.kind == TYPE_BOOL) {
			builder_put_bool(b, *run != 0);
			return true;
		}
		builder_put_null(b);
		return refuse(c, w, n);
	case AVRO_KIND_INT:
	case AVRO_KIND_LONG: return read_long(c, &v) && put_number(c, w, n, v, b);
	case AVRO_KIND_FLOAT:
	case AVRO_KIND_DOUBLE:
		return read_run(c, n->kind == AVRO_KIND_FLOAT ? 4 : 8, &run) &&
		       put_real(c, w, n, read_real(run, n->kind), b);
	case AVRO_KIND_ENUM: return put_enum(c, w, n, b);
	case AVRO_KIND_FIXED:
		return read_run(c, n->size, &run) && put_run(c, w, n, run, n->size, b);
	case AVRO_KIND_BYTES:
	case AVRO_KIND_STRING: return read_text(c, &run, &v) && put_run(c, w, n, run, v, b);
	case AVRO_KIND_RECORD:
	case AVRO_KIND_ARRAY:
	case AVRO_KIND_MAP: builder_put_null(b); return skip(c, n) && refuse(c, w, n);
	case AVRO_KIND_UNION: break;
	}
	return false;
}

static bool put_value(struct cursor *c, const struct wanted_column *w, const struct avro_node *n,
	struct column_builder *b)
{
	n = read_branch(c, n);
	if (!n)
		return false;
	if (w->type.kind != TYPE_ANY || n->kind == AVRO_KIND_NULL)
		return put_typed(c, w, n, b);
	buf_reset(c->scratch);
	if (!put_any(c, n, c->scratch))
		return false;
	builder_put_text(b, c->scratch->data, c->scratch->len);
	return true;
}

static void put_nulls(struct cursor *c, const struct record_plan *r)
{
	for (size_t i = 0; i < r->len; i++) {
		const struct step *s = &r->steps[i];

		for (int k = s->column; k >= 0; k = c->plan->next[k])
			put_null(c, &c->plan->columns[k], &c->builders[k]);
		if (s->inside)
			put_nulls(c, s->inside);
	}
}

static bool take_record(struct cursor *c, const struct record_plan *r);

/* A field that is a record with columns of its own, or null. */
static bool take_inside(struct cursor *c, const struct step *s)
{
	const struct avro_node *n = read_branch(c, s->node);

	if (!n)
		return false;
	if (n->kind == AVRO_KIND_RECORD)
		return take_record(c, s->inside);
	put_nulls(c, s->inside);
	return skip(c, n);
}

static bool take_record(struct cursor *c, const struct record_plan *r)
{
	for (size_t i = 0; i < r->len; i++) {
		const struct step *s = &r->steps[i];
		const uint8_t *from = c->p;
		bool is_good = true;

		/* Of several columns each takes it in its own way. */
		for (int k = s->column; is_good && k >= 0; k = c->plan->next[k]) {
			c->p = from;
			is_good = put_value(c, &c->plan->columns[k], s->node, &c->builders[k]);
		}
		if (is_good && s->inside) {
			c->p = from;
			is_good = take_inside(c, s);
		} else if (is_good && s->column < 0) {
			is_good = skip(c, s->node);
		}
		if (!is_good)
			return false;
	}
	return true;
}

/* Columns that the schema lacks. */
static void fill(struct cursor *c, const struct avro_plan *p)
{
	for (size_t i = 0; i < p->columns_len; i++) {
		if (!p->is_there[i])
			put_null(c, &p->columns[i], &c->builders[i]);
	}
}

enum avro_status avro_take(struct avro_plan *p, const uint8_t **at, const uint8_t *end,
	struct column_builder *builders, struct buf *reason)
{
	struct cursor c = {.p = *at,
		.end = end,
		.reason = reason,
		.scratch = &p->scratch,
		.builders = builders,
		.plan = p};
	uint32_t before = builders[0].rows;
	bool is_good;

	buf_reset(reason);
	is_good = p->root->kind == AVRO_KIND_RECORD
			  ? take_record(&c, p->top)
			  : put_value(&c, &p->columns[0], p->root, &builders[0]);
	*at = c.p;
	if (is_good) {
		fill(&c, p);
		if (!c.is_bad)
			return AVRO_ROW;
	}
	for (size_t i = 0; i < p->columns_len; i++)
		builder_truncate(&builders[i], before);
	if (is_good)
		return AVRO_BAD_VALUE;
	buf_reset(reason);
	buf_put_text(reason, "no value of the schema stands here");
	return AVRO_BROKEN;
}

/* ---- plans ---- */

static bool fits(const struct wanted_column *w, const struct avro_node *n)
{
	struct type own;

	if (n->kind == AVRO_KIND_UNION) {
		for (size_t i = 0; i < n->fields_len; i++) {
			if (fits(w, n->fields[i].node))
				return true;
		}
		return false;
	}
	own = avro_type(n);
	switch ((enum type_kind)w->type.kind) {
	case TYPE_ANY: return true;
	case TYPE_BOOL: return own.kind == TYPE_BOOL || own.kind == TYPE_STRING;
	case TYPE_INT:
		return n->kind == AVRO_KIND_INT || n->kind == AVRO_KIND_LONG ||
		       own.kind == TYPE_STRING;
	case TYPE_FLOAT:
		return n->kind == AVRO_KIND_INT || n->kind == AVRO_KIND_LONG ||
		       own.kind == TYPE_FLOAT || own.kind == TYPE_DECIMAL ||
		       own.kind == TYPE_STRING;
	case TYPE_DECIMAL:
		return own.kind == TYPE_INT || own.kind == TYPE_DECIMAL || own.kind == TYPE_STRING;
	case TYPE_DATE:
		return own.kind == TYPE_DATE || own.kind == TYPE_STRING || own.kind == TYPE_INT;
	case TYPE_TIMESTAMP:
		return own.kind == TYPE_TIMESTAMP || own.kind == TYPE_STRING ||
		       (own.kind == TYPE_INT && w->unit != TIME_ISO);
	case TYPE_DURATION:
		return own.kind == TYPE_DURATION || own.kind == TYPE_STRING || own.kind == TYPE_INT;
	case TYPE_STRING: return own.kind == TYPE_STRING;
	case TYPE_BYTES:
		return own.kind == TYPE_BYTES || own.kind == TYPE_STRING ||
		       own.kind == TYPE_DECIMAL;
	}
	return false;
}

static int check_fit(const struct wanted_column *w, const struct avro_node *n, struct error *e)
{
	struct buf name = BUF_INIT;

	if (fits(w, n))
		return 0;
	avro_put_name(n, &name);
	error_set(e, ERROR_USAGE, "'%s' is %s in the Avro schema, and can't be taken as %s",
		w->name, buf_cstr(&name), type_name(w->type));
	buf_clear(&name);
	if (w->type.kind == TYPE_TIMESTAMP && avro_type(n).kind == TYPE_INT)
		return error_hint(e, "if it holds milliseconds since 1970, say timestamp(ms)");
	return error_hint(e, "take it as %s, and let smap make of it what it should be",
		type_name(avro_type(n)));
}

/* The record within a field, null aside; NULL: it holds none. */
static const struct avro_node *record_of(const struct avro_node *n)
{
	bool nullable;

	n = avro_plain(n, &nullable);
	return n->kind == AVRO_KIND_RECORD ? n : NULL;
}

static struct record_plan *new_record_plan(struct avro_plan *p, const struct avro_node *n)
{
	struct record_plan *r = ARENA_NEW(&p->arena, struct record_plan);

	r->len = n->fields_len;
	r->steps = ARENA_ARRAY(&p->arena, struct step, n->fields_len + 1);
	for (size_t i = 0; i < n->fields_len; i++)
		r->steps[i] = (struct step){.node = n->fields[i].node, .column = -1};
	return r;
}

static int place_column(struct avro_plan *p, size_t column, struct error *e)
{
	const struct wanted_column *w = &p->columns[column];
	const struct avro_node *n = p->root;
	struct record_plan *r = p->top;

	for (size_t k = 0; k < w->path_len && n; k++) {
		bool last = k + 1 == w->path_len;
		struct step *s = NULL;

		for (size_t i = 0; i < n->fields_len && !s; i++) {
			if (strcmp(n->fields[i].name, w->path[k]) == 0)
				s = &r->steps[i];
		}
		if (!s)
			return 0;
		if (last) {
			p->is_there[column] = true;
			if (s->column < 0) {
				s->column = (int)column;
			} else {
				p->next[column] = p->next[s->column];
				p->next[s->column] = (int)column;
			}
			return check_fit(w, s->node, e);
		}
		n = record_of(s->node);
		if (n && !s->inside)
			s->inside = new_record_plan(p, n);
		r = s->inside;
	}
	return 0;
}

int avro_plan_new(const struct avro_node *schema, const struct wanted_column *columns, size_t n,
	struct avro_plan **out, struct error *e)
{
	struct avro_plan *p = mem_zero(sizeof *p);
	int status = 0;

	p->columns = columns;
	p->columns_len = n;
	p->root = schema;
	p->next = ARENA_ARRAY(&p->arena, int, n + 1);
	p->is_there = ARENA_ARRAY(&p->arena, bool, n + 1);
	for (size_t i = 0; i < n; i++)
		p->next[i] = -1;
	if (schema->kind == AVRO_KIND_RECORD) {
		p->top = new_record_plan(p, schema);
		for (size_t i = 0; i < n && status == 0; i++)
			status = place_column(p, i, e);
	} else {
		p->is_there[0] = true;
		status = check_fit(&columns[0], schema, e);
	}
	if (status < 0)
		avro_plan_free(p);
	else
		*out = p;
	return status;
}

void avro_plan_free(struct avro_plan *p)
{
	if (!p)
		return;
	arena_clear(&p->arena);
	buf_clear(&p->scratch);
	mem_free(p);
}
