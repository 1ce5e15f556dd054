#include "formats/value.h"

#include "libcore/base/civil.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"

#include <strings.h>

enum { SHOWN_BYTES = 60 };

int64_t time_unit_ticks(enum time_unit unit)
{
	switch (unit) {
	case TIME_ISO: return 0;
	case TIME_S: return 1;
	case TIME_MS: return 1000;
	case TIME_US: return 1000000;
	case TIME_NS: return 1000000000;
	}
	return 0;
}

static enum number_status parse_bool(const char *text, size_t len, bool *out)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"true", true}, {"false", false}, {"t", true}, {"f", false}, {"1", true},
		{"0", false}};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strlen(words[i].word) == len && strncasecmp(words[i].word, text, len) == 0) {
			*out = words[i].value;
			return NUMBER_OK;
		}
	}
	return NUMBER_MALFORMED;
}

static enum number_status parse_time(const char *text, size_t len, enum time_unit unit, int64_t *us)
{
	enum number_status status;
	int64_t ticks;

	if (unit == TIME_ISO)
		return timestamp_parse(text, len, us);
	status = int_parse(text, len, &ticks);
	return status ? status : timestamp_from_ticks(ticks, time_unit_ticks(unit), us);
}

static enum number_status put_decimal(struct column_builder *b, const char *text, size_t len)
{
	struct decimal_shape shape = {b->type.precision, b->type.scale};
	enum number_status status;
	__int128 v;

	status = decimal_parse(text, len, shape, false, &v);
	if (!status)
		builder_put_decimal(b, v);
	return status;
}

static enum number_status put_whole(
	struct column_builder *b, enum time_unit unit, const char *text, size_t len)
{
	enum number_status status;
	int64_t v = 0;

	if (b->type.kind == TYPE_INT)
		status = int_parse(text, len, &v);
	else if (b->type.kind == TYPE_TIMESTAMP)
		status = parse_time(text, len, unit, &v);
	else
		status = duration_parse(text, len, &v);
	if (!status)
		builder_put_int(b, v);
	return status;
}

enum number_status value_put(
	struct column_builder *b, enum time_unit unit, const char *text, size_t len)
{
	enum number_status status = NUMBER_OK;
	int32_t days;
	double real;
	bool truth;

	switch ((enum type_kind)b->type.kind) {
	case TYPE_BOOL:
		if (!(status = parse_bool(text, len, &truth)))
			builder_put_bool(b, truth);
		return status;
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: return put_whole(b, unit, text, len);
	case TYPE_FLOAT:
		if (!(status = float_parse(text, len, FLOAT_WORDS, &real)))
			builder_put_float(b, real);
		return status;
	case TYPE_DECIMAL: return put_decimal(b, text, len);
	case TYPE_DATE:
		if (!(status = date_parse(text, len, &days)))
			builder_put_date(b, days);
		return status;
	case TYPE_STRING:
		if (!utf8_valid(text, len))
			return NUMBER_MALFORMED;
		builder_put_text(b, text, len);
		return NUMBER_OK;
	case TYPE_BYTES: builder_put_text(b, text, len); return NUMBER_OK;
	case TYPE_ANY: break;
	}
	MUST(!"any is no value of text");
	return NUMBER_MALFORMED;
}

/* In quotes, cut, and nothing in it that could upset a terminal. */
static void put_shown(struct buf *out, const char *text, size_t len)
{
	size_t cut = len > SHOWN_BYTES ? SHOWN_BYTES : len;
	size_t good = utf8_valid_len(text, cut);

	buf_put_byte(out, '\'');
	for (size_t i = 0; i < cut; i++) {
		uint8_t byte = (uint8_t)text[i];

		if (byte < 0x20 || byte == 0x7f || i >= good)
			buf_printf(out, "\\x%02x", byte);
		else
			buf_put_byte(out, byte);
	}
	buf_put_text(out, cut < len ? "...'" : "'");
}

static const char *expected(struct type t, enum time_unit unit)
{
	switch ((enum type_kind)t.kind) {
	case TYPE_BOOL: return "a bool";
	case TYPE_INT: return "an int";
	case TYPE_FLOAT: return "a float";
	case TYPE_DECIMAL: return "a decimal";
	case TYPE_DATE: return "a date (2013-01-31)";
	case TYPE_TIMESTAMP:
		return unit == TIME_ISO ? "a timestamp (2013-01-31T10:00:00Z)"
					: "an integer, as its timestamp unit asks for";
	case TYPE_DURATION: return "a duration (1h30m)";
	case TYPE_STRING: return "UTF-8 text";
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return "a value";
}

void value_explain(struct buf *out, const struct wanted_column *w, const char *text, size_t len,
	enum number_status status)
{
	put_shown(out, text, len);
	switch (status) {
	case NUMBER_OK:
	case NUMBER_MALFORMED: buf_printf(out, " is not %s", expected(w->type, w->unit)); break;
	case NUMBER_RANGE:
		buf_put_text(out, " is out of range for ");
		type_put(w->type, out);
		break;
	case NUMBER_INEXACT:
		buf_put_text(out, " has more digits than ");
		type_put(w->type, out);
		break;
	}
	buf_printf(out, " (column %s", w->name);
	buf_put_text(out,
		w->inferred ? ", whose type was inferred: see --infer, or give it with -s)" : ")");
}
