#include "libcore/base/number.h"
#include "libcore/base/digits.h"

const char digits_pairs[200] = "0001020304050607080910111213141516171819"
			       "2021222324252627282930313233343536373839"
			       "4041424344454647484950515253545556575859"
			       "6061626364656667686970717273747576777879"
			       "8081828384858687888990919293949596979899";

static const uint32_t pow10_small[9] = {
	1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* Reads a run of digits at text.  *taken is its length also when the value doesn't fit, so that
 * "too large" and "not a number" can be told apart. */
static inline bool run_of_digits(const char *text, size_t len, size_t *taken, uint64_t *out)
{
	size_t i = 0, first;
	uint64_t value = 0;
	bool fits = true;

	while (i < len && text[i] == '0')
		i++;
	first = i;
	while (i - first <= 11) { /* 11 + 8 digits always fit 64 bits */
		uint64_t w = len - i >= 8 ? digits_load8(text + i)
					  : digits_load_few(text + i, len - i);
		unsigned n = digits_leading(w);

		if (n)
			value = value * pow10_small[n] + digits_value(w, n);
		i += n;
		if (n < 8) {
			*taken = i;
			*out = value;
			return true;
		}
	}
	for (; i < len && digits_is(text[i]); i++) {
		unsigned digit = (unsigned)(text[i] - '0');

		if (i - first < 19)
			value = value * 10 + digit;
		else if (__builtin_mul_overflow(value, 10, &value) ||
			 __builtin_add_overflow(value, digit, &value))
			fits = false;
	}
	*taken = i;
	*out = value;
	return fits;
}

/* The shared half of scan and parse: the bytes taken, and whether the value fits. */
static inline size_t read_int(const char *text, size_t len, int64_t *out, bool *fits)
{
	size_t sign = len && (text[0] == '-' || text[0] == '+');
	bool negative = sign && text[0] == '-';
	uint64_t magnitude;
	size_t taken;

	*fits = run_of_digits(text + sign, len - sign, &taken, &magnitude);
	if (!taken)
		return 0;
	*fits = *fits && magnitude <= (uint64_t)INT64_MAX + negative;
	*out = (int64_t)(negative ? 0 - magnitude : magnitude);
	return sign + taken;
}

ssize_t int_scan(const char *text, size_t len, int64_t *out)
{
	int64_t value;
	bool fits;
	size_t taken = len ? read_int(text, len, &value, &fits) : 0;

	if (!taken)
		return NUMBER_MALFORMED;
	if (!fits)
		return NUMBER_RANGE;
	*out = value;
	return (ssize_t)taken;
}

enum number_status int_parse(const char *text, size_t len, int64_t *out)
{
	int64_t value;
	bool fits;

	if (!len || read_int(text, len, &value, &fits) != len)
		return NUMBER_MALFORMED;
	if (!fits)
		return NUMBER_RANGE;
	*out = value;
	return NUMBER_OK;
}

ssize_t uint_scan(const char *text, size_t len, uint64_t *out)
{
	uint64_t value;
	size_t taken;
	bool fits = run_of_digits(text, len, &taken, &value);

	if (!taken)
		return NUMBER_MALFORMED;
	if (!fits)
		return NUMBER_RANGE;
	*out = value;
	return (ssize_t)taken;
}

enum number_status uint_parse(const char *text, size_t len, uint64_t *out)
{
	uint64_t value;
	size_t taken;
	bool fits = run_of_digits(text, len, &taken, &value);

	if (!taken || taken != len)
		return NUMBER_MALFORMED;
	if (!fits)
		return NUMBER_RANGE;
	*out = value;
	return NUMBER_OK;
}

/* Below 10^8, without leading zeros.  Writes 8 bytes whatever it returns. */
static inline size_t put_head(char *out, uint32_t value)
{
	uint64_t w = digits_split8(value);
	unsigned zeros = (unsigned)__builtin_ctzll(w | UINT64_C(1) << 56) >> 3;

	digits_store8(out, (w | DIGITS_EACH(0x30)) >> 8 * zeros);
	return 8 - zeros;
}

size_t uint_put(char *out, uint64_t value)
{
	const uint32_t part = 100000000;
	size_t n;

	if (value < part)
		return put_head(out, (uint32_t)value);
	if (value < (uint64_t)part * part) {
		n = put_head(out, (uint32_t)(value / part));
		digits_put8(out + n, (uint32_t)(value % part));
		return n + 8;
	}
	n = put_head(out, (uint32_t)(value / part / part));
	digits_put8(out + n, (uint32_t)(value / part % part));
	digits_put8(out + n + 8, (uint32_t)(value % part));
	return n + 16;
}

size_t int_put(char out[INT_TEXT_MAX], int64_t value)
{
	if (value >= 0)
		return uint_put(out, (uint64_t)value);
	out[0] = '-';
	/* The greatest magnitude has 19 digits, so sign and digits fit. */
	return 1 + uint_put(out + 1, 0 - (uint64_t)value);
}
