#include "formats/ndjson_parts.h"
#include "formats/value.h"
#include "libcore/base/civil.h"
#include "libcore/base/digits.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>

int ndjson_fail(struct ndjson_cursor *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->reason, NDJSON_REASON_MAX, format, args);
	va_end(args);
	return -1;
}

/* A newline ends the record, so it is no space within one. */
void ndjson_space(struct ndjson_cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r'))
		c->p++;
}

/* ---- strings ---- */

static unsigned hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10u : 16;
}

static bool read_hex4(const uint8_t *p, const uint8_t *end, uint32_t *out)
{
	uint32_t v = 0;

	if (end - p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		unsigned digit = hex_digit(p[i]);

		if (digit > 15)
			return false;
		v = v << 4 | digit;
	}
	*out = v;
	return true;
}

/* \uXXXX, c->p at the u; a surrogate pair is one character. */
static int read_unicode(struct ndjson_cursor *c, uint32_t *out)
{
	uint32_t high, low;

	if (!read_hex4(c->p + 1, c->end, &high))
		return ndjson_fail(c, "\\u is not followed by four hex digits");
	if (high < 0xd800 || high > 0xdfff) {
		c->p += 5;
		*out = high;
		return 0;
	}
	if (high > 0xdbff || c->end - c->p < 11 || c->p[5] != '\\' || c->p[6] != 'u' ||
		!read_hex4(c->p + 7, c->end, &low) || low < 0xdc00 || low > 0xdfff)
		return ndjson_fail(
			c, "half a surrogate pair: \\u%04x stands for no character", high);
	c->p += 11;
	*out = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	return 0;
}

/* c->p at the backslash.  Appends to out unless it is NULL. */
static int read_escape(struct ndjson_cursor *c, struct buf *out)
{
	static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *found;
	uint32_t code = 0;
	char text[4];

	if (++c->p == c->end)
		return ndjson_fail(c, "the record ends within a string");
	if (*c->p == 'u') {
		if (read_unicode(c, &code))
			return -1;
		if (out)
			buf_put(out, text, utf8_encode(text, code));
		return 0;
	}
	found = *c->p ? strchr(plain, *c->p) : NULL;
	if (!found)
		return ndjson_fail(c, "no such escape in a string");
	if (out)
		buf_put_byte(out, (uint8_t)meant[found - plain]);
	c->p++;
	return 0;
}

/* Moves over characters that stand for themselves, to a quote, backslash, control character or the
 * end. */
static void pass_plain(struct ndjson_cursor *c)
{
	const uint8_t *p = c->p;

	for (; c->end - p >= 8; p += 8) {
		uint64_t w = digits_load8((const char *)p);
		uint64_t quote = w ^ DIGITS_EACH('"'), backslash = w ^ DIGITS_EACH('\\');
		uint64_t low = DIGITS_EACH(0x7f), stop;

		/* The high bit of a byte is set where the byte was not 0, or not below the space.
		 */
		stop = (((quote & low) + low) | quote) & (((backslash & low) + low) | backslash) &
		       (((w & low) + DIGITS_EACH(0x60)) | w);
		stop = ~stop & DIGITS_EACH(0x80);
		if (stop) {
			c->p = p + (__builtin_ctzll(stop) >> 3);
			return;
		}
	}
	while (p < c->end && *p != '"' && *p != '\\' && *p >= 0x20)
		p++;
	c->p = p;
}

/* What a string stops at that is neither its quote nor an escape. */
static int fail_in_string(struct ndjson_cursor *c)
{
	if (c->p == c->end)
		return ndjson_fail(c, "the record ends within a string");
	return ndjson_fail(c, "control character 0x%02x in a string; JSON has it escaped", *c->p);
}

static int check_utf8(struct ndjson_cursor *c, const uint8_t *from)
{
	size_t len = (size_t)(c->p - from), good = utf8_valid_len((const char *)from, len);

	if (good == len)
		return 0;
	c->p = from + good;
	return ndjson_fail(c, "not UTF-8: byte 0x%02x", *c->p);
}

/* Appends a string with escapes to out; c->p behind its opening quote. */
static int decode_string(struct ndjson_cursor *c, struct buf *out)
{
	for (;;) {
		const uint8_t *from = c->p;

		pass_plain(c);
		if (check_utf8(c, from))
			return -1;
		buf_put(out, from, (size_t)(c->p - from));
		if (c->p < c->end && *c->p == '"') {
			c->p++;
			return 0;
		}
		if (c->p == c->end || *c->p != '\\')
			return fail_in_string(c);
		if (read_escape(c, out))
			return -1;
	}
}

int ndjson_string(struct ndjson_cursor *c, struct text_view *out)
{
	const uint8_t *from = ++c->p;

	pass_plain(c);
	if (c->p < c->end && *c->p == '"') {
		if (check_utf8(c, from))
			return -1;
		*out = (struct text_view){(const char *)from, (size_t)(c->p - from)};
		c->p++;
		return 0;
	}
	c->p = from;
	buf_reset(c->scratch);
	if (decode_string(c, c->scratch))
		return -1;
	*out = (struct text_view){(const char *)c->scratch->data, c->scratch->len};
	return 0;
}

static int skip_string(struct ndjson_cursor *c)
{
	c->p++;
	for (;;) {
		pass_plain(c);
		if (c->p < c->end && *c->p == '"') {
			c->p++;
			return 0;
		}
		if (c->p == c->end || *c->p != '\\')
			return fail_in_string(c);
		if (read_escape(c, NULL))
			return -1;
	}
}

/* ---- numbers and words ---- */

static void pass_digits(struct ndjson_cursor *c)
{
	while (c->p < c->end && digits_is((char)*c->p))
		c->p++;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?  *whole: neither fraction nor exponent. */
static int pass_number(struct ndjson_cursor *c, bool *whole)
{
	const uint8_t *first;

	*whole = true;
	c->p += *c->p == '-';
	first = c->p;
	pass_digits(c);
	if (c->p == first)
		return ndjson_fail(c, "no digit in a number");
	if (*first == '0' && c->p - first > 1) {
		c->p = first;
		return ndjson_fail(c, "a JSON number has no leading zeros");
	}
	if (c->p < c->end && *c->p == '.') {
		*whole = false;
		first = ++c->p;
		pass_digits(c);
		if (c->p == first)
			return ndjson_fail(c, "no digit behind a number's point");
	}
	if (c->p < c->end && (*c->p | 0x20) == 'e') {
		*whole = false;
		c->p++;
		if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
			c->p++;
		first = c->p;
		pass_digits(c);
		if (c->p == first)
			return ndjson_fail(c, "no digit in a number's exponent");
	}
	return 0;
}

static bool is_word(const struct ndjson_cursor *c, const char *word)
{
	size_t len = strlen(word);

	return (size_t)(c->end - c->p) >= len && !memcmp(c->p, word, len);
}

/* What begins no value.  Python and JavaScript write these where JSON has nothing. */
static int fail_value(struct ndjson_cursor *c)
{
	if (c->p == c->end)
		return ndjson_fail(c, "the record ends where a value should be");
	if (is_word(c, "NaN") || is_word(c, "Infinity") || is_word(c, "-Infinity"))
		return ndjson_fail(c, "JSON has no NaN or Infinity; write null or a string");
	if (is_word(c, "None") || is_word(c, "True") || is_word(c, "False"))
		return ndjson_fail(c, "no JSON value: null, true and false are lower case");
	if (*c->p == '\'')
		return ndjson_fail(c, "no JSON value: strings have double quotes");
	return ndjson_fail(c, "no JSON value");
}

static int skip_word(struct ndjson_cursor *c)
{
	static const char *const words[] = {"null", "true", "false"};

	for (size_t i = 0; i < 3; i++)
		if (is_word(c, words[i])) {
			c->p += strlen(words[i]);
			return 0;
		}
	return fail_value(c);
}

static int skip_scalar(struct ndjson_cursor *c)
{
	bool whole;

	if (c->p == c->end)
		return fail_value(c);
	if (*c->p == '"')
		return skip_string(c);
	if (digits_is((char)*c->p) || (*c->p == '-' && !is_word(c, "-Infinity")))
		return pass_number(c, &whole);
	return skip_word(c);
}

/* ---- nested values ---- */

/* "key": with the space around the colon. */
static int skip_key(struct ndjson_cursor *c)
{
	if (c->p == c->end || *c->p != '"')
		return ndjson_fail(c, "a key in double quotes should be here");
	if (skip_string(c))
		return -1;
	ndjson_space(c);
	if (c->p == c->end || *c->p != ':')
		return ndjson_fail(c, "a colon should follow the key");
	c->p++;
	ndjson_space(c);
	return 0;
}

/* Whether something closes here, and then another one, down to what goes on.  *open is the kind of
 * each level, a bit each: 1 object. */
static int close_levels(struct ndjson_cursor *c, unsigned __int128 *open, unsigned *depth)
{
	while (*depth) {
		bool object = *open & 1;

		ndjson_space(c);
		if (c->p == c->end)
			return ndjson_fail(
				c, "the record ends within an %s", object ? "object" : "array");
		if (*c->p == ',') {
			c->p++;
			ndjson_space(c);
			return object ? skip_key(c) : 0;
		}
		if (*c->p != (object ? '}' : ']'))
			return ndjson_fail(
				c, "a comma or %c should follow the value", object ? '}' : ']');
		c->p++;
		*open >>= 1;
		--*depth;
	}
	return 0;
}

int ndjson_skip(struct ndjson_cursor *c)
{
	unsigned __int128 open = 0;
	unsigned depth = 0;

	do {
		if (c->p < c->end && (*c->p == '{' || *c->p == '[')) {
			bool object = *c->p == '{';

			if (depth == NDJSON_DEPTH_MAX)
				return ndjson_fail(c, "nested deeper than %d", NDJSON_DEPTH_MAX);
			c->p++;
			depth++;
			open = open << 1 | object;
			ndjson_space(c);
			if (c->p < c->end && *c->p == (object ? '}' : ']')) {
				c->p++;
				depth--;
				open >>= 1;
			} else {
				if (object && skip_key(c))
					return -1;
				continue;
			}
		} else if (skip_scalar(c)) {
			return -1;
		}
		if (close_levels(c, &open, &depth))
			return -1;
	} while (depth);
	return 0;
}

static int put_nested(struct ndjson_cursor *c, struct buf *out, unsigned depth);

static int put_any_at(struct ndjson_cursor *c, struct buf *out, unsigned depth)
{
	const uint8_t *from = c->p;
	struct text_view text;
	bool whole;
	int64_t v;
	double d;

	if (c->p == c->end)
		return fail_value(c);
	switch (*c->p) {
	case '{':
	case '[': return put_nested(c, out, depth);
	case '"':
		if (ndjson_string(c, &text))
			return -1;
		msgpack_put_str(out, text.text, text.len);
		return 0;
	case 't':
	case 'f':
	case 'n':
		if (skip_word(c))
			return -1;
		if (*from == 'n')
			msgpack_put_nil(out);
		else
			msgpack_put_bool(out, *from == 't');
		return 0;
	}
	if (!digits_is((char)*c->p) && (*c->p != '-' || is_word(c, "-Infinity")))
		return fail_value(c);
	if (pass_number(c, &whole))
		return -1;
	if (whole && int_parse((const char *)from, (size_t)(c->p - from), &v) == NUMBER_OK) {
		msgpack_put_int(out, v);
		return 0;
	}
	if (float_parse((const char *)from, (size_t)(c->p - from), FLOAT_JSON, &d) != NUMBER_OK) {
		c->p = from;
		return ndjson_fail(c, "number too large for a float");
	}
	msgpack_put_float(out, d);
	return 0;
}

static int put_any(struct ndjson_cursor *c, struct buf *out)
{
	return put_any_at(c, out, 0);
}

static int put_element(struct ndjson_cursor *c, struct buf *out, bool object, unsigned depth)
{
	struct text_view key;

	if (object) {
		if (c->p == c->end || *c->p != '"')
			return ndjson_fail(c, "a key in double quotes should be here");
		if (ndjson_string(c, &key))
			return -1;
		msgpack_put_str(out, key.text, key.len);
		ndjson_space(c);
		if (c->p == c->end || *c->p != ':')
			return ndjson_fail(c, "a colon should follow the key");
		c->p++;
		ndjson_space(c);
	}
	return put_any_at(c, out, depth + 1);
}

/* msgpack has the number of elements in front: five bytes are kept free for it and closed up when
 * it is known. */
static int put_nested(struct ndjson_cursor *c, struct buf *out, unsigned depth)
{
	bool object = *c->p == '{';
	uint8_t close = object ? '}' : ']', head[5];
	size_t at = out->len, end, head_len;
	uint32_t count = 0;

	if (depth == NDJSON_DEPTH_MAX)
		return ndjson_fail(c, "nested deeper than %d", NDJSON_DEPTH_MAX);
	buf_reserve(out, 5);
	out->len += 5;
	c->p++;
	ndjson_space(c);
	if (c->p < c->end && *c->p == close) {
		c->p++;
	} else {
		for (;;) {
			if (put_element(c, out, object, depth))
				return -1;
			count++;
			ndjson_space(c);
			if (c->p == c->end)
				return ndjson_fail(c, "the record ends within an %s",
					object ? "object" : "array");
			if (*c->p == close)
				break;
			if (*c->p != ',')
				return ndjson_fail(
					c, "a comma or %c should follow the value", close);
			c->p++;
			ndjson_space(c);
		}
		c->p++;
	}
	end = out->len;
	if (object)
		msgpack_put_map(out, count);
	else
		msgpack_put_array(out, count);
	head_len = out->len - end;
	memcpy(head, out->data + end, head_len);
	memmove(out->data + at + head_len, out->data + at + 5, end - at - 5);
	memcpy(out->data + at, head, head_len);
	out->len = end - 5 + head_len;
	return 0;
}

/* ---- values into columns ---- */

bool ndjson_is_null_text(const struct reader_options *o, struct text_view t)
{
	for (size_t i = 0; i < o->nulls_len; i++)
		if (strlen(o->nulls[i]) == t.len && (!t.len || !memcmp(o->nulls[i], t.text, t.len)))
			return true;
	return false;
}

static int put_status(struct ndjson_cursor *c, const struct ndjson_column *column,
	struct text_view text, enum number_status status)
{
	struct buf why = BUF_INIT;

	if (status == NUMBER_OK)
		return 0;
	value_explain(&why, &column->wanted, text.text, text.len, status);
	ndjson_fail(c, "%s", buf_cstr(&why));
	buf_clear(&why);
	return -1;
}

static int put_null(struct ndjson_cursor *c, struct ndjson_column *column)
{
	if (column->wanted.required)
		return ndjson_fail(c, "no event time (column %s)", column->wanted.name);
	builder_put_null(column->builder);
	return 0;
}

/* 12, 12.0 and 1.2e1 are the same number in JSON. */
static enum number_status parse_whole(struct text_view t, int64_t *out)
{
	enum number_status status = int_parse(t.text, t.len, out);
	__int128 wide;

	if (status != NUMBER_MALFORMED)
		return status;
	status = decimal_parse(
		t.text, t.len, (struct decimal_shape){DECIMAL_DIGITS_MAX, 0}, false, &wide);
	if (status == NUMBER_INEXACT)
		return NUMBER_MALFORMED;
	if (status != NUMBER_OK)
		return status;
	if (wide > INT64_MAX || wide < INT64_MIN)
		return NUMBER_RANGE;
	*out = (int64_t)wide;
	return NUMBER_OK;
}

/* Ticks, also with a fraction: 1700000000.25 s. */
static enum number_status parse_ticks(struct text_view t, enum time_unit unit, int64_t *out)
{
	enum number_status status = parse_whole(t, out);
	unsigned scale = unit == TIME_S ? 6 : unit == TIME_MS ? 3 : 0;
	__int128 us;

	if (status == NUMBER_OK)
		return timestamp_from_ticks(*out, time_unit_ticks(unit), out);
	if (status != NUMBER_MALFORMED || !scale)
		return status;
	status = decimal_parse(
		t.text, t.len, (struct decimal_shape){DECIMAL_DIGITS_MAX, scale}, true, &us);
	if (status != NUMBER_OK)
		return status;
	if (us > INT64_MAX || us < INT64_MIN)
		return NUMBER_RANGE;
	*out = (int64_t)us;
	return NUMBER_OK;
}

static enum number_status parse_bool(struct text_view t, bool *out)
{
	*out = t.len == 4;
	if ((t.len == 4 && !memcmp(t.text, "true", 4)) ||
		(t.len == 5 && !memcmp(t.text, "false", 5)))
		return NUMBER_OK;
	return NUMBER_MALFORMED;
}

static unsigned base64_value(char c)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(letters, c) : NULL;

	return at ? (unsigned)(at - letters) : 64;
}

/* RFC 4648, with or without padding. */
static enum number_status put_base64(struct text_view t, struct column_builder *b)
{
	struct buf bytes = BUF_INIT;
	size_t len = t.len;
	uint32_t word = 0;

	if (len % 4 == 0)
		for (int i = 0; i < 2 && len && t.text[len - 1] == '='; i++)
			len--;
	for (size_t i = 0; i < len; i++) {
		unsigned v = base64_value(t.text[i]);

		if (v == 64 || len % 4 == 1) {
			buf_clear(&bytes);
			return NUMBER_MALFORMED;
		}
		word = word << 6 | v;
		if (i % 4)
			buf_put_byte(&bytes, (uint8_t)(word >> (6 - 2 * (i % 4))));
	}
	builder_put_text(b, bytes.data, bytes.len);
	buf_clear(&bytes);
	return NUMBER_OK;
}

/* A number's digits or a string's content. */
static int put_text(
	struct ndjson_cursor *c, struct ndjson_column *column, struct text_view t, bool quoted)
{
	struct column_builder *b = column->builder;
	struct decimal_shape shape = {column->wanted.type.precision, column->wanted.type.scale};
	enum number_status status = NUMBER_MALFORMED;
	__int128 wide;
	int32_t days;
	int64_t v;
	double d;
	bool is;

	switch ((enum type_kind)column->wanted.type.kind) {
	case TYPE_BOOL:
		status = parse_bool(t, &is);
		if (status == NUMBER_OK)
			builder_put_bool(b, is);
		break;
	case TYPE_INT:
		status = parse_whole(t, &v);
		if (status == NUMBER_OK)
			builder_put_int(b, v);
		break;
	case TYPE_FLOAT:
		status = float_parse(t.text, t.len, quoted ? FLOAT_WORDS : 0, &d);
		if (status == NUMBER_OK)
			builder_put_float(b, d);
		break;
	case TYPE_DECIMAL:
		status = decimal_parse(t.text, t.len, shape, false, &wide);
		if (status == NUMBER_OK)
			builder_put_decimal(b, wide);
		break;
	case TYPE_DATE:
		status = date_parse(t.text, t.len, &days);
		if (status == NUMBER_OK)
			builder_put_date(b, days);
		break;
	case TYPE_TIMESTAMP:
		if (column->wanted.unit != TIME_ISO)
			status = parse_ticks(t, column->wanted.unit, &v);
		else if (quoted)
			status = timestamp_parse(t.text, t.len, &v);
		else
			return ndjson_fail(c,
				"%.*s is a number; say timestamp(s), (ms), (us) or (ns) "
				"(column %s)",
				t.len > 40 ? 40 : (int)t.len, t.text, column->wanted.name);
		if (status == NUMBER_OK)
			builder_put_int(b, v);
		break;
	case TYPE_DURATION: /* a number is microseconds */
		status = quoted ? duration_parse(t.text, t.len, &v) : parse_whole(t, &v);
		if (status == NUMBER_OK)
			builder_put_int(b, v);
		break;
	case TYPE_STRING: builder_put_text(b, t.text, t.len); return 0;
	case TYPE_BYTES: status = quoted ? put_base64(t, b) : NUMBER_MALFORMED; break;
	case TYPE_ANY: MUST(!"any doesn't come as text");
	}
	return put_status(c, column, t, status);
}

static int take_any(struct ndjson_cursor *c, struct ndjson_column *column)
{
	struct buf packed = BUF_INIT;
	int failed = put_any(c, &packed);

	if (!failed)
		builder_put_text(column->builder, packed.data, packed.len);
	buf_clear(&packed);
	return failed;
}

/* A string, without a copy in between where it goes into a string column. */
static int take_string(struct ndjson_cursor *c, struct ndjson_column *column)
{
	const uint8_t *from = c->p;
	struct text_view t;

	if (ndjson_string(c, &t))
		return -1;
	if (ndjson_is_null_text(c->options, t) ? put_null(c, column)
					       : put_text(c, column, t, true)) {
		c->p = from;
		return -1;
	}
	return 0;
}

/* A value of type any: whatever comes, unless it is a spelling of null. */
static int take_any_value(struct ndjson_cursor *c, struct ndjson_column *column)
{
	const uint8_t *from = c->p;
	struct text_view t;

	if (*c->p == '"' && c->options->nulls_len) {
		if (ndjson_string(c, &t))
			return -1;
		if (ndjson_is_null_text(c->options, t))
			return put_null(c, column);
		c->p = from;
	}
	return take_any(c, column);
}

int ndjson_take(struct ndjson_cursor *c, struct ndjson_column *column)
{
	const uint8_t *from = c->p;
	struct text_view t;

	if (c->p == c->end)
		return fail_value(c);
	if (is_word(c, "null")) {
		if (put_null(c, column))
			return -1;
		c->p += 4;
		return 0;
	}
	if (column->wanted.type.kind == TYPE_ANY)
		return take_any_value(c, column);
	if (*c->p == '"')
		return take_string(c, column);
	if (*c->p == '{' || *c->p == '[')
		return ndjson_fail(c, "%s is not %s; take it as any (column %s%s)",
			*c->p == '{' ? "an object" : "an array", type_name(column->wanted.type),
			column->wanted.name,
			column->wanted.inferred ? ", whose type was inferred: see --infer" : "");
	if (skip_scalar(c))
		return -1;
	t = (struct text_view){(const char *)from, (size_t)(c->p - from)};
	if (put_text(c, column, t, false)) {
		c->p = from;
		return -1;
	}
	return 0;
}
