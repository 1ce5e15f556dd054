#include "connect/heavy/postgres_types.h"

#include "libcore/base/must.h"

enum {
	MODIFIER_HEADER = 4, /* a numeric's modifier counts from here */
	SCALE_BITS = 11,     /* since PostgreSQL 15: signed; before, never above 1000 */
};

bool postgres_numeric_shape(int32_t modifier, struct type *out)
{
	int32_t bits = modifier - MODIFIER_HEADER, precision, scale;

	if (modifier < MODIFIER_HEADER)
		return false;
	precision = bits >> 16 & 0xffff;
	scale = bits & ((1 << SCALE_BITS) - 1);
	if (scale >> (SCALE_BITS - 1))
		scale -= 1 << SCALE_BITS;
	/* Digits in front of a point that lies behind them, or zeros behind one that lies in front.
	 */
	if (scale < 0) {
		precision -= scale;
		scale = 0;
	}
	if (precision < scale)
		precision = scale;
	if (precision < 1 || precision > DECIMAL_PRECISION_MAX)
		return false;
	*out = (struct type){
		.kind = TYPE_DECIMAL, .precision = (uint8_t)precision, .scale = (uint8_t)scale};
	return true;
}

static enum postgres_form form_of(uint32_t oid, char kind)
{
	if (kind == 'e')
		return POSTGRES_TEXT;
	switch ((enum postgres_oid)oid) {
	case OID_BOOL: return POSTGRES_BOOL;
	case OID_INT2: return POSTGRES_INT2;
	case OID_INT4: return POSTGRES_INT4;
	case OID_INT8: return POSTGRES_INT8;
	case OID_OID: return POSTGRES_OID;
	case OID_FLOAT4: return POSTGRES_FLOAT4;
	case OID_FLOAT8: return POSTGRES_FLOAT8;
	case OID_NUMERIC: return POSTGRES_NUMERIC;
	case OID_DATE: return POSTGRES_DATE;
	case OID_TIMESTAMP:
	case OID_TIMESTAMPTZ: return POSTGRES_TIMESTAMP;
	case OID_INTERVAL: return POSTGRES_INTERVAL;
	case OID_TEXT:
	case OID_VARCHAR:
	case OID_BPCHAR:
	case OID_NAME:
	case OID_XML: return POSTGRES_TEXT;
	case OID_UUID: return POSTGRES_UUID;
	case OID_BYTEA: return POSTGRES_BYTEA;
	case OID_JSON: return POSTGRES_JSON;
	case OID_JSONB: return POSTGRES_JSONB;
	}
	return POSTGRES_OTHER;
}

/* Elements whose binary form is read; all others come as their text. */
static enum postgres_form element_form_of(uint32_t oid, char kind)
{
	enum postgres_form form = form_of(oid, kind);

	switch (form) {
	case POSTGRES_BOOL:
	case POSTGRES_INT2:
	case POSTGRES_INT4:
	case POSTGRES_INT8:
	case POSTGRES_OID:
	case POSTGRES_FLOAT4:
	case POSTGRES_FLOAT8:
	case POSTGRES_NUMERIC:
	case POSTGRES_TEXT:
	case POSTGRES_UUID:
	case POSTGRES_BYTEA:
	case POSTGRES_JSON:
	case POSTGRES_JSONB: return form;
	case POSTGRES_DATE:
	case POSTGRES_TIMESTAMP:
	case POSTGRES_INTERVAL:
	case POSTGRES_ARRAY:
	case POSTGRES_OTHER: break;
	}
	return POSTGRES_OTHER;
}

static struct type type_of(enum postgres_form form, int32_t modifier)
{
	struct type decimal;

	switch (form) {
	case POSTGRES_BOOL: return TYPE_OF(TYPE_BOOL);
	case POSTGRES_INT2:
	case POSTGRES_INT4:
	case POSTGRES_INT8:
	case POSTGRES_OID: return TYPE_OF(TYPE_INT);
	case POSTGRES_FLOAT4:
	case POSTGRES_FLOAT8: return TYPE_OF(TYPE_FLOAT);
	case POSTGRES_NUMERIC:
		return postgres_numeric_shape(modifier, &decimal) ? decimal : TYPE_OF(TYPE_STRING);
	case POSTGRES_DATE: return TYPE_OF(TYPE_DATE);
	case POSTGRES_TIMESTAMP: return TYPE_OF(TYPE_TIMESTAMP);
	case POSTGRES_INTERVAL: return TYPE_OF(TYPE_DURATION);
	case POSTGRES_BYTEA: return TYPE_OF(TYPE_BYTES);
	case POSTGRES_JSON:
	case POSTGRES_JSONB:
	case POSTGRES_ARRAY: return TYPE_OF(TYPE_ANY);
	case POSTGRES_TEXT:
	case POSTGRES_UUID:
	case POSTGRES_OTHER: break;
	}
	return TYPE_OF(TYPE_STRING);
}

struct postgres_codec postgres_codec_of(const struct postgres_type *t)
{
	struct postgres_codec c = {.form = form_of(t->oid, t->kind), .delimiter = ','};

	if (t->element) {
		c.form = POSTGRES_ARRAY;
		c.element = element_form_of(t->element, t->element_kind);
		c.delimiter = t->delimiter ? t->delimiter : ',';
	}
	c.type = type_of(c.form, t->modifier);
	return c;
}

bool postgres_comes_as_text(const struct postgres_codec *c)
{
	return c->form == POSTGRES_OTHER ||
	       (c->form == POSTGRES_ARRAY && c->element == POSTGRES_OTHER);
}

void postgres_put_type(struct type t, struct buf *out)
{
	switch ((enum type_kind)t.kind) {
	case TYPE_BOOL: buf_put_text(out, "boolean"); return;
	case TYPE_INT: buf_put_text(out, "bigint"); return;
	case TYPE_FLOAT: buf_put_text(out, "double precision"); return;
	case TYPE_DECIMAL: buf_printf(out, "numeric(%u,%u)", t.precision, t.scale); return;
	case TYPE_DATE: buf_put_text(out, "date"); return;
	case TYPE_TIMESTAMP: buf_put_text(out, "timestamptz"); return;
	case TYPE_DURATION: buf_put_text(out, "interval"); return;
	case TYPE_STRING: buf_put_text(out, "text"); return;
	case TYPE_BYTES: buf_put_text(out, "bytea"); return;
	case TYPE_ANY: buf_put_text(out, "jsonb"); return;
	}
	MUST(!"a type");
}

static bool is_whole(enum postgres_form f)
{
	return f == POSTGRES_INT2 || f == POSTGRES_INT4 || f == POSTGRES_INT8 || f == POSTGRES_OID;
}

bool postgres_takes(struct type t, enum postgres_form form)
{
	switch ((enum type_kind)t.kind) {
	case TYPE_BOOL: return form == POSTGRES_BOOL;
	case TYPE_INT: return is_whole(form) || form == POSTGRES_NUMERIC;
	case TYPE_FLOAT: return form == POSTGRES_FLOAT8 || form == POSTGRES_FLOAT4;
	case TYPE_DECIMAL: return form == POSTGRES_NUMERIC;
	case TYPE_DATE: return form == POSTGRES_DATE || form == POSTGRES_TIMESTAMP;
	case TYPE_TIMESTAMP: return form == POSTGRES_TIMESTAMP;
	case TYPE_DURATION: return form == POSTGRES_INTERVAL;
	case TYPE_STRING:
		return form == POSTGRES_TEXT || form == POSTGRES_UUID || form == POSTGRES_NUMERIC ||
		       form == POSTGRES_JSON || form == POSTGRES_JSONB || form == POSTGRES_OTHER;
	case TYPE_BYTES: return form == POSTGRES_BYTEA;
	case TYPE_ANY: return form == POSTGRES_JSON || form == POSTGRES_JSONB;
	}
	return false;
}
