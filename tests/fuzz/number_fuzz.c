/* The readers of numbers and times: the first byte chooses one, the rest is its text.  What is read
 * must be put and read back as the same, and nothing behind the text may be touched. */
#include "libcore/base/civil.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"
#include "libcore/base/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_int(const char *text, size_t len)
{
	char out[INT_TEXT_MAX];
	int64_t value, back;
	ssize_t taken = int_scan(text, len, &value);
	enum number_status status = int_parse(text, len, &back);

	if (taken < 0) {
		MUST(status);
		return;
	}
	MUST((size_t)taken <= len);
	MUST(((size_t)taken == len) == (status == NUMBER_OK));
	status = int_parse(out, int_put(out, value), &back);
	MUST(status == NUMBER_OK && back == value);
}

static void try_float(const char *text, size_t len, unsigned flags)
{
	char out[FLOAT_TEXT_MAX], *copy;
	double value, back, expected;
	ssize_t taken = float_scan(text, len, flags, &value);
	enum number_status status;

	if (taken < 0)
		return;
	MUST((size_t)taken <= len);
	copy = calloc(1, (size_t)taken + 1);
	MUST(copy);
	memcpy(copy, text, (size_t)taken);
	expected = strtod(copy, NULL);
	free(copy);
	MUST(value != value ? expected != expected : !memcmp(&value, &expected, sizeof(value)));
	status = float_parse(out, float_put(out, value, 0), FLOAT_WORDS, &back);
	MUST(status == NUMBER_OK && (value != value || !memcmp(&value, &back, sizeof(value))));
}

static void try_decimal(const char *text, size_t len, bool round)
{
	static const struct decimal_shape shapes[] = {{38, 0}, {18, 2}, {38, 38}, {1, 1}};
	char out[DECIMAL_TEXT_MAX];
	enum number_status status;
	struct decimal_shape shape;
	__int128 value, back;

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		if (decimal_parse(text, len, shapes[i], round, &value))
			continue;
		status = decimal_parse(
			out, decimal_put(out, value, shapes[i].scale), shapes[i], false, &back);
		MUST(status == NUMBER_OK && back == value);
	}
	if (decimal_parse_any(text, len, &value, &shape))
		return;
	MUST(shape.precision <= DECIMAL_DIGITS_MAX && shape.scale <= shape.precision);
	status = decimal_parse(text, len, shape, false, &back);
	MUST(status == NUMBER_OK && back == value);
}

static void try_time(const char *text, size_t len)
{
	char out[TIMESTAMP_TEXT_MAX];
	enum number_status status;
	int64_t us, back;
	int32_t days, days_back;

	if (timestamp_scan(text, len, &us) > 0) {
		status = timestamp_parse(out, timestamp_put(out, us), &back);
		MUST(status == NUMBER_OK && back == us);
	}
	if (date_scan(text, len, &days) > 0) {
		status = date_parse(out, date_put(out, days), &days_back);
		MUST(status == NUMBER_OK && days_back == days);
	}
}

static void try_span(const char *text, size_t len)
{
	char out[DURATION_TEXT_MAX];
	enum number_status status;
	struct interval interval;
	enum civil_field field;
	uint64_t bytes;
	int64_t us, back;

	if (duration_scan(text, len, &us) > 0) {
		status = duration_parse(out, duration_put(out, us), &back);
		MUST(status == NUMBER_OK && back == us);
	}
	interval_parse(text, len, &interval);
	size_parse(text, len, &bytes);
	civil_field_parse(text, len, &field);
}

static void try_utf8(const char *text, size_t len)
{
	char *out = malloc(len + 1);

	MUST(out);
	MUST(utf8_valid_len(text, len) <= len);
	MUST(utf8_count(text, len) <= len && utf8_offset(text, len, len / 2) <= len);
	MUST(utf8_put_upper(out, text, len) <= len);
	MUST(utf8_put_lower(out, text, len) <= len);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = size ? size - 1 : 0;
	char *text = malloc(len ? len : 1); /* its own block, so that reading on is seen */

	MUST(text);
	if (len)
		memcpy(text, data + 1, len);
	switch (size ? data[0] % 8 : 0) {
	case 0: try_int(text, len); break;
	case 1: try_float(text, len, FLOAT_WORDS); break;
	case 2: try_float(text, len, FLOAT_JSON); break;
	case 3: try_decimal(text, len, false); break;
	case 4: try_decimal(text, len, true); break;
	case 5: try_time(text, len); break;
	case 6: try_span(text, len); break;
	case 7: try_utf8(text, len); break;
	}
	free(text);
	return 0;
}
