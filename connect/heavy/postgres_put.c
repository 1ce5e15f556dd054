/* Values into their binary form, as COPY BINARY takes them. */
#include "connect/heavy/postgres_binary.h"
#include "connect/heavy/postgres_types.h"

#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"

#include <float.h>
#include <math.h>

const uint8_t postgres_copy_header[POSTGRES_COPY_HEADER_BYTES] = {'P', 'G', 'C', 'O', 'P', 'Y',
	'\n', 0xff, '\r', '\n', 0, /* flags, extension */ 0, 0, 0, 0, 0, 0, 0, 0};

enum { UUID_BYTES = 16, UUID_DIGITS = 32, JSONB_VERSION = 1 };

static int fail(const char **why, const char *text)
{
	*why = text;
	return -1;
}

static int put_whole(int64_t v, enum postgres_form form, struct buf *out, const char **why)
{
	switch (form) {
	case POSTGRES_INT2:
		if (v < INT16_MIN || v > INT16_MAX)
			return fail(why, "an int too large for a smallint");
		put_u16(out, (uint16_t)v);
		return 0;
	case POSTGRES_INT4:
		if (v < INT32_MIN || v > INT32_MAX)
			return fail(why, "an int too large for an integer");
		put_u32(out, (uint32_t)v);
		return 0;
	case POSTGRES_INT8: put_u64(out, (uint64_t)v); return 0;
	case POSTGRES_OID:
		if (v < 0 || v > UINT32_MAX)
			return fail(why, "an int that is no oid");
		put_u32(out, (uint32_t)v);
		return 0;
	case POSTGRES_NUMERIC: numeric_put(v, 0, out); return 0;
	case POSTGRES_BOOL:
	case POSTGRES_FLOAT4:
	case POSTGRES_FLOAT8:
	case POSTGRES_DATE:
	case POSTGRES_TIMESTAMP:
	case POSTGRES_INTERVAL:
	case POSTGRES_TEXT:
	case POSTGRES_UUID:
	case POSTGRES_BYTEA:
	case POSTGRES_JSON:
	case POSTGRES_JSONB:
	case POSTGRES_ARRAY:
	case POSTGRES_OTHER: break;
	}
	MUST(!"a form that takes ints");
}

static int put_float(double v, enum postgres_form form, struct buf *out, const char **why)
{
	uint64_t bits;
	uint32_t short_bits;
	float narrow = 0;

	if (form == POSTGRES_FLOAT8) {
		memcpy(&bits, &v, sizeof bits);
		put_u64(out, bits);
		return 0;
	}
	if (isfinite(v) && fabs(v) > (double)FLT_MAX)
		return fail(why, "a float too large for a real");
	narrow = (float)v;
	memcpy(&short_bits, &narrow, sizeof short_bits);
	put_u32(out, short_bits);
	return 0;
}

static int put_uuid(struct text_view t, struct buf *out, const char **why)
{
	uint8_t bytes[UUID_BYTES] = {0};
	size_t n = 0;

	for (size_t i = 0; i < t.len; i++) {
		char ch = t.text[i];
		int digit = ch >= '0' && ch <= '9'   ? ch - '0'
			    : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
			    : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
						     : -1;

		if (digit < 0 && (ch == '-' || ch == '{' || ch == '}'))
			continue;
		if (digit < 0 || n == UUID_DIGITS)
			return fail(why, "text that is no uuid");
		bytes[n / 2] = (uint8_t)(bytes[n / 2] << 4 | digit);
		n++;
	}
	if (n != UUID_DIGITS)
		return fail(why, "text that is no uuid");
	buf_put(out, bytes, sizeof bytes);
	return 0;
}

static int put_string(
	struct text_view t, enum postgres_form form, struct buf *out, const char **why)
{
	if (form == POSTGRES_UUID)
		return put_uuid(t, out, why);
	if (form == POSTGRES_NUMERIC)
		return numeric_put_from_text(t.text, t.len, out) < 0
			       ? fail(why, "text that is no numeric")
			       : 0;
	if (t.len && memchr(t.text, 0, t.len))
		return fail(why, "text with a NUL, which PostgreSQL can't hold");
	if (form == POSTGRES_JSONB)
		buf_put_byte(out, JSONB_VERSION);
	buf_put(out, t.text, t.len);
	return 0;
}

static int put_any(struct text_view t, enum postgres_form form, struct buf *out, const char **why)
{
	if (form == POSTGRES_JSONB)
		buf_put_byte(out, JSONB_VERSION);
	return msgpack_put_json((const uint8_t *)t.text, t.len, out) < 0
		       ? fail(why, "a value too deep for JSON")
		       : 0;
}

static int put_time(int64_t us, struct buf *out, const char **why)
{
	/* The ends of int64 are its infinities. */
	if (__builtin_sub_overflow(us, POSTGRES_EPOCH_US, &us) || us == INT64_MIN)
		return fail(why, "a time out of PostgreSQL's range");
	put_u64(out, (uint64_t)us);
	return 0;
}

static int put_date(int32_t days, enum postgres_form form, struct buf *out, const char **why)
{
	int64_t us;

	if (form == POSTGRES_TIMESTAMP)
		return __builtin_mul_overflow((int64_t)days, INT64_C(86400000000), &us)
			       ? fail(why, "a date out of a timestamp's range")
			       : put_time(us, out, why);
	if (days <= INT32_MIN + POSTGRES_EPOCH_DAYS)
		return fail(why, "a date out of PostgreSQL's range");
	put_u32(out, (uint32_t)(days - POSTGRES_EPOCH_DAYS));
	return 0;
}

static int put_value(const struct column *c, uint32_t row, enum postgres_form form, struct buf *out,
	const char **why)
{
	struct text_view text;

	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: buf_put_byte(out, column_bool(c, row)); return 0;
	case TYPE_INT: return put_whole(column_int(c, row), form, out, why);
	case TYPE_FLOAT: return put_float(column_float(c, row), form, out, why);
	case TYPE_DECIMAL: numeric_put(column_decimal(c, row), c->type.scale, out); return 0;
	case TYPE_DATE: return put_date(column_date(c, row), form, out, why);
	case TYPE_TIMESTAMP: return put_time(column_int(c, row), out, why);
	case TYPE_DURATION:
		put_u64(out, (uint64_t)column_int(c, row));
		put_u64(out, 0); /* neither days nor months */
		return 0;
	case TYPE_STRING: return put_string(column_text(c, row), form, out, why);
	case TYPE_BYTES:
		text = column_text(c, row);
		buf_put(out, text.text, text.len);
		return 0;
	case TYPE_ANY: return put_any(column_text(c, row), form, out, why);
	}
	MUST(!"a type");
}

int postgres_put_binary(const struct column *c, uint32_t row, enum postgres_form form,
	struct buf *out, const char **why)
{
	size_t start = out->len;
	uint32_t len;

	if (!column_is_valid(c, row)) {
		put_u32(out, UINT32_MAX);
		return 0;
	}
	put_u32(out, 0);
	if (put_value(c, row, form, out, why) < 0) {
		out->len = start;
		return -1;
	}
	len = htobe32((uint32_t)(out->len - start - sizeof len));
	memcpy(out->data + start, &len, sizeof len);
	return 0;
}
