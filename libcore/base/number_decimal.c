#include "libcore/base/number.h"

#include "libcore/base/digits.h"
#include "libcore/base/must.h"

typedef unsigned __int128 wide;

#define P19 ((__int128)UINT64_C(10000000000000000000))

const __int128 decimal_pow10[DECIMAL_DIGITS_MAX + 1] = {1, 10, 100, 1000, 10000, 100000, 1000000,
	10000000, 100000000, 1000000000, INT64_C(10000000000), INT64_C(100000000000),
	INT64_C(1000000000000), INT64_C(10000000000000), INT64_C(100000000000000),
	INT64_C(1000000000000000), INT64_C(10000000000000000), INT64_C(100000000000000000),
	INT64_C(1000000000000000000), P19, P19 * 10, P19 * 100, P19 * 1000, P19 * 10000,
	P19 * 100000, P19 * 1000000, P19 * 10000000, P19 * 100000000, P19 * 1000000000,
	P19 *INT64_C(10000000000), P19 *INT64_C(100000000000), P19 *INT64_C(1000000000000),
	P19 *INT64_C(10000000000000), P19 *INT64_C(100000000000000), P19 *INT64_C(1000000000000000),
	P19 *INT64_C(10000000000000000), P19 *INT64_C(100000000000000000),
	P19 *INT64_C(1000000000000000000), P19 *P19};

static inline wide magnitude(__int128 value)
{
	return value < 0 ? 0 - (wide)value : (wide)value;
}

static inline wide pow10_wide(unsigned n)
{
	return (wide)decimal_pow10[n];
}

static inline enum number_status give(wide value, bool negative, wide limit, __int128 *out)
{
	if (value >= limit)
		return NUMBER_RANGE;
	*out = negative ? -(__int128)value : (__int128)value;
	return NUMBER_OK;
}

/* ---- 256 bits, for products and quotients ---- */

struct wide2 {
	wide high, low;
};

static struct wide2 multiply(wide a, wide b)
{
	uint64_t a0 = (uint64_t)a, a1 = (uint64_t)(a >> 64), b0 = (uint64_t)b,
		 b1 = (uint64_t)(b >> 64);
	wide low = (wide)a0 * b0, left = (wide)a1 * b0, right = (wide)a0 * b1;
	wide middle = (low >> 64) + (uint64_t)left + (uint64_t)right;

	return (struct wide2){
		.high = (wide)a1 * b1 + (left >> 64) + (right >> 64) + (middle >> 64),
		.low = middle << 64 | (uint64_t)low,
	};
}

/* x *= 10^n for n <= 76; false if that needs more than 256 bits. */
static bool multiply_pow10(struct wide2 *x, unsigned n)
{
	while (n) {
		unsigned step = n < 38 ? n : 38;
		struct wide2 low = multiply(x->low, pow10_wide(step));
		struct wide2 high = multiply(x->high, pow10_wide(step));

		if (high.high || low.high + high.low < high.low)
			return false;
		*x = (struct wide2){.high = low.high + high.low, .low = low.low};
		n -= step;
	}
	return true;
}

/* x /= divisor; the rest is cut off. */
static void divide_small(struct wide2 *x, uint64_t divisor)
{
	uint64_t limb[4] = {(uint64_t)x->low, (uint64_t)(x->low >> 64), (uint64_t)x->high,
		(uint64_t)(x->high >> 64)};
	uint64_t rest = 0;

	for (int i = 4; i--;) {
		wide part = (wide)rest << 64 | limb[i];

		limb[i] = (uint64_t)(part / divisor);
		rest = (uint64_t)(part % divisor);
	}
	x->high = (wide)limb[3] << 64 | limb[2];
	x->low = (wide)limb[1] << 64 | limb[0];
}

static void divide_pow10(struct wide2 *x, unsigned n)
{
	while (n) {
		unsigned step = n < 19 ? n : 19;

		divide_small(x, (uint64_t)pow10_wide(step));
		n -= step;
	}
}

/* x / divisor with its remainder, for divisor < 2^127: a bit at a time below the part that the
 * processor divides.  The quotient must fit 128 bits: x.high < divisor. */
static wide divide(struct wide2 x, wide divisor, wide *rest)
{
	wide quotient = 0, r = x.high;

	if (!x.high) {
		*rest = x.low % divisor;
		return x.low / divisor;
	}
	for (int i = 127; i >= 0; i--) {
		r = r << 1 | (x.low >> i & 1);
		quotient <<= 1;
		if (r >= divisor) {
			r -= divisor;
			quotient |= 1;
		}
	}
	*rest = r;
	return quotient;
}

/* value / 10^n, halves away from zero: only the first digit that goes decides. */
static wide round_off(wide value, unsigned n)
{
	if (!n)
		return value;
	if (n > DECIMAL_DIGITS_MAX + 1)
		return 0;
	value /= pow10_wide(n - 1);
	return value / 10 + (value % 10 >= 5);
}

/* ---- text ---- */

/* A text taken apart: its significant digits lie in [first, end), with a point among them perhaps;
 * value = those digits as an integer * 10^exponent. */
struct decimal_text {
	const char *first, *end;
	int64_t digits, exponent;
	size_t taken;
	bool negative;
};

enum { EXPONENT_MAX = 1 << 20 };

static const char *read_exponent(const char *p, const char *end, int64_t *exponent)
{
	const char *start = p;
	bool negative = false;
	int64_t value = 0;

	if (p == end || (*p | 0x20) != 'e')
		return start;
	p++;
	if (p < end && (*p == '-' || *p == '+'))
		negative = *p++ == '-';
	if (p == end || !digits_is(*p))
		return start;
	for (; p < end && digits_is(*p); p++)
		if (value < EXPONENT_MAX)
			value = value * 10 + (*p - '0');
	*exponent += negative ? -value : value;
	return p;
}

static bool take_apart(const char *text, size_t len, struct decimal_text *t)
{
	const char *p = text, *end = text + len, *point = NULL;
	int64_t digits = 0;

	*t = (struct decimal_text){.negative = false};
	if (p < end && (*p == '-' || *p == '+'))
		t->negative = *p++ == '-';
	for (; p < end; p++) {
		if (*p == '.' && !point) {
			point = p;
			continue;
		}
		if (!digits_is(*p))
			break;
		digits++;
		if (!t->first && *p != '0')
			t->first = p;
		t->digits += t->first != NULL;
	}
	if (!digits)
		return false;
	t->end = p;
	t->exponent = point ? -(int64_t)(p - point - 1) : 0;
	p = read_exponent(p, end, &t->exponent);
	t->taken = (size_t)(p - text);
	return true;
}

/* The first n <= 38 digits as an integer; *next is the digit behind them, *exact tells that it and
 * all further ones are 0. */
static wide first_digits(const struct decimal_text *t, int64_t n, unsigned *next, bool *exact)
{
	wide value = 0;
	int64_t i = 0;

	*next = 0;
	*exact = true;
	for (const char *p = t->first; p && p < t->end; p++) {
		unsigned digit = (unsigned)(*p - '0');

		if (*p == '.')
			continue;
		if (i < n) {
			value = value * 10 + digit;
		} else {
			*next = i == n ? digit : *next;
			*exact &= !digit;
		}
		i++;
	}
	return value;
}

static enum number_status shaped(
	const struct decimal_text *t, struct decimal_shape shape, bool round, __int128 *out)
{
	int64_t shift = t->exponent + shape.scale, keep = t->digits + shift;
	unsigned next;
	bool exact;
	wide value;

	if (!t->digits)
		return give(0, false, 1, out);
	if (keep > (int64_t)shape.precision)
		return NUMBER_RANGE;
	if (keep < 0)
		return round ? give(0, false, 1, out) : NUMBER_INEXACT;
	value = first_digits(t, keep < t->digits ? keep : t->digits, &next, &exact);
	if (shift > 0)
		value *= pow10_wide((unsigned)shift);
	if (!exact && !round)
		return NUMBER_INEXACT;
	return give(value + (next >= 5), t->negative, pow10_wide(shape.precision), out);
}

ssize_t decimal_scan(
	const char *text, size_t len, struct decimal_shape shape, bool round, __int128 *out)
{
	struct decimal_text t;
	enum number_status status;

	MUST(shape.precision <= DECIMAL_DIGITS_MAX && shape.scale <= shape.precision);
	if (!len || !take_apart(text, len, &t))
		return NUMBER_MALFORMED;
	status = shaped(&t, shape, round, out);
	return status ? (ssize_t)status : (ssize_t)t.taken;
}

enum number_status decimal_parse(
	const char *text, size_t len, struct decimal_shape shape, bool round, __int128 *out)
{
	struct decimal_text t;

	MUST(shape.precision <= DECIMAL_DIGITS_MAX && shape.scale <= shape.precision);
	if (!len || !take_apart(text, len, &t) || t.taken != len)
		return NUMBER_MALFORMED;
	return shaped(&t, shape, round, out);
}

enum number_status decimal_parse_any(
	const char *text, size_t len, __int128 *out, struct decimal_shape *shape)
{
	struct decimal_text t;
	int64_t scale, precision;

	if (!len || !take_apart(text, len, &t) || t.taken != len)
		return NUMBER_MALFORMED;
	scale = t.exponent < 0 ? -t.exponent : 0;
	precision = t.digits + (t.digits && t.exponent > 0 ? t.exponent : 0);
	if (precision < scale)
		precision = scale;
	if (!precision)
		precision = 1;
	if (precision > DECIMAL_DIGITS_MAX)
		return NUMBER_RANGE;
	*shape = (struct decimal_shape){.precision = (unsigned)precision, .scale = (unsigned)scale};
	return shaped(&t, *shape, false, out);
}

/* 39 digits at most, leading zeros down to `least` digits. */
static size_t put_wide(char *out, wide value, size_t least)
{
	char text[40];
	size_t at = sizeof(text);

	while (value > UINT64_MAX) {
		uint64_t low = (uint64_t)(value % UINT64_C(10000000000000000));

		value /= UINT64_C(10000000000000000);
		at -= 16;
		digits_put8(text + at, (uint32_t)(low / 100000000));
		digits_put8(text + at + 8, (uint32_t)(low % 100000000));
	}
	for (uint64_t rest = (uint64_t)value; rest; rest /= 10)
		text[--at] = (char)('0' + rest % 10);
	while (sizeof(text) - at < least)
		text[--at] = '0';
	memcpy(out, text + at, sizeof(text) - at);
	return sizeof(text) - at;
}

size_t decimal_put(char out[DECIMAL_TEXT_MAX], __int128 unscaled, unsigned scale)
{
	wide value = magnitude(unscaled);
	size_t sign = unscaled < 0, n;

	MUST(scale <= DECIMAL_DIGITS_MAX && value < pow10_wide(DECIMAL_DIGITS_MAX));
	out[0] = '-';
	n = sign + put_wide(out + sign, value, scale + 1);
	if (!scale)
		return n;
	memmove(out + n - scale + 1, out + n - scale, scale);
	out[n - scale] = '.';
	return n + 1;
}

/* ---- scales and other types ---- */

enum number_status decimal_rescale(
	__int128 value, unsigned scale, struct decimal_shape to, bool round, __int128 *out)
{
	wide m = magnitude(value), limit = pow10_wide(to.precision);

	if (to.scale >= scale) {
		unsigned up = to.scale - scale;

		if (up > to.precision || m >= pow10_wide(to.precision - up))
			return m ? NUMBER_RANGE : give(0, false, 1, out);
		return give(m * pow10_wide(up), value < 0, limit, out);
	}
	if (!round && m % pow10_wide(scale - to.scale))
		return NUMBER_INEXACT;
	return give(round_off(m, scale - to.scale), value < 0, limit, out);
}

int decimal_compare(__int128 a, unsigned a_scale, __int128 b, unsigned b_scale)
{
	unsigned up;

	if (a_scale > b_scale)
		return -decimal_compare(b, b_scale, a, a_scale);
	up = b_scale - a_scale;
	if (up) { /* a * 10^up against b; beyond 10^38 the sign of a decides */
		wide limit = pow10_wide(DECIMAL_DIGITS_MAX - up);

		if (magnitude(a) >= limit)
			return a < 0 ? -1 : 1;
		a *= decimal_pow10[up];
	}
	return (a > b) - (a < b);
}

enum number_status decimal_from_int(int64_t value, struct decimal_shape to, __int128 *out)
{
	return decimal_rescale(value, 0, to, false, out);
}

enum number_status decimal_to_int(__int128 value, unsigned scale, int64_t *out)
{
	value /= decimal_pow10[scale];
	if (value < INT64_MIN || value > INT64_MAX)
		return NUMBER_RANGE;
	*out = (int64_t)value;
	return NUMBER_OK;
}

enum number_status decimal_from_float(double value, struct decimal_shape to, __int128 *out)
{
	char text[FLOAT_TEXT_MAX];
	size_t len = float_put(text, value, 0);

	/* "nan" and "inf" don't read as decimals. */
	return decimal_parse(text, len, to, true, out) ? NUMBER_RANGE : NUMBER_OK;
}

double decimal_to_float(__int128 value, unsigned scale)
{
	char text[DECIMAL_TEXT_MAX];
	enum number_status status;
	double result;

	/* Both exact, so that one division rounds once. */
	if (magnitude(value) <= (wide)1 << 53 && scale <= 22)
		return (double)(int64_t)value / (double)decimal_pow10[scale];
	status = float_parse(text, decimal_put(text, value, scale), 0, &result);
	MUST(status == NUMBER_OK);
	return result;
}

/* ---- arithmetic ---- */

enum number_status decimal_add(__int128 a, __int128 b, __int128 *out)
{
	__int128 sum;

	if (__builtin_add_overflow(a, b, &sum))
		return NUMBER_RANGE;
	return give(magnitude(sum), sum < 0, pow10_wide(DECIMAL_DIGITS_MAX), out);
}

enum number_status decimal_sub(__int128 a, __int128 b, __int128 *out)
{
	return decimal_add(a, -b, out);
}

enum number_status decimal_mul(__int128 a, unsigned a_scale, __int128 b, unsigned b_scale,
	unsigned out_scale, __int128 *out)
{
	struct wide2 product = multiply(magnitude(a), magnitude(b));
	unsigned scale = a_scale + b_scale;
	bool negative = (a < 0) != (b < 0);

	if (out_scale > scale) {
		if (!multiply_pow10(&product, out_scale - scale))
			return NUMBER_RANGE;
	} else if (!product.high) {
		product.low = round_off(product.low, scale - out_scale);
	} else if (scale > out_scale) {
		unsigned last;

		divide_pow10(&product, scale - out_scale - 1);
		/* 2^128 ends in 6 */
		last = (unsigned)(product.high % 10 * 6 + product.low % 10) % 10;
		divide_small(&product, 10);
		if (product.low < pow10_wide(DECIMAL_DIGITS_MAX))
			product.low += last >= 5;
	}
	if (product.high)
		return NUMBER_RANGE;
	return give(product.low, negative, pow10_wide(DECIMAL_DIGITS_MAX), out);
}

enum number_status decimal_div(__int128 a, unsigned a_scale, __int128 b, unsigned b_scale,
	unsigned out_scale, __int128 *out)
{
	struct wide2 dividend = {.low = magnitude(a)}, divisor = {.low = magnitude(b)};
	bool negative = (a < 0) != (b < 0);
	unsigned up = out_scale + b_scale;
	wide quotient, rest;

	if (!b)
		return NUMBER_MALFORMED;
	if (up >= a_scale) {
		/* Beyond 256 bits, 10^77, the quotient has more than 38 digits whatever b is. */
		if (!multiply_pow10(&dividend, up - a_scale))
			return NUMBER_RANGE;
	} else {
		multiply_pow10(&divisor, a_scale - up);
		if (divisor.high ||
			divisor.low >> 127) /* greater than every a: 0, or 1 if rounded up */
			return give(!divisor.high && dividend.low >= divisor.low - dividend.low,
				negative, 2, out);
	}
	if (dividend.high >= divisor.low)
		return NUMBER_RANGE;
	quotient = divide(dividend, divisor.low, &rest);
	if (quotient >= pow10_wide(DECIMAL_DIGITS_MAX))
		return NUMBER_RANGE;
	quotient += rest >= divisor.low - rest;
	return give(quotient, negative, pow10_wide(DECIMAL_DIGITS_MAX), out);
}

enum number_status decimal_mod(
	__int128 a, unsigned a_scale, __int128 b, unsigned b_scale, __int128 *out)
{
	struct wide2 dividend = {.low = magnitude(a)}, divisor = {.low = magnitude(b)};
	wide rest;

	if (!b)
		return NUMBER_MALFORMED;
	if (b_scale >= a_scale) {
		multiply_pow10(&dividend, b_scale - a_scale);
	} else {
		multiply_pow10(&divisor, a_scale - b_scale);
		if (divisor.high || divisor.low >= pow10_wide(DECIMAL_DIGITS_MAX)) {
			*out = a; /* greater than every a */
			return NUMBER_OK;
		}
	}
	dividend.high %= divisor.low; /* whole multiples of the divisor times 2^128 */
	divide(dividend, divisor.low, &rest);
	return give(rest, a < 0, pow10_wide(DECIMAL_DIGITS_MAX), out);
}
