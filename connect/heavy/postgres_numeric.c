#include "connect/heavy/postgres_binary.h"

#include "libcore/base/number.h"

#include <strings.h>

struct numeric {
	uint16_t digits_len, sign, scale;
	int16_t weight;
	const uint8_t *digits;
};

static int read_head(const uint8_t *bytes, size_t len, struct numeric *out)
{
	if (len < NUMERIC_HEAD_BYTES)
		return -1;
	*out = (struct numeric){.digits_len = take_u16(bytes),
		.weight = (int16_t)take_u16(bytes + 2),
		.sign = take_u16(bytes + 4),
		.scale = take_u16(bytes + 6),
		.digits = bytes + NUMERIC_HEAD_BYTES};
	if (len != NUMERIC_HEAD_BYTES + (size_t)out->digits_len * 2 ||
		out->scale > NUMERIC_SCALE_MAX)
		return -1;
	for (unsigned i = 0; i < out->digits_len; i++) {
		if (take_u16(out->digits + (size_t)i * 2) >= NUMERIC_BASE)
			return -1;
	}
	return out->sign == 0 || out->sign == NUMERIC_NEGATIVE || out->sign == NUMERIC_NAN ||
			       out->sign == NUMERIC_INFINITY || out->sign == NUMERIC_MINUS_INFINITY
		       ? 0
		       : -1;
}

/* The digit that counts 10,000^power. */
static unsigned digit_at(const struct numeric *n, int power)
{
	int i = n->weight - power;

	return i >= 0 && i < n->digits_len ? take_u16(n->digits + (size_t)i * 2) : 0;
}

int numeric_put_text(const uint8_t *bytes, size_t len, struct buf *out)
{
	struct numeric n;

	if (read_head(bytes, len, &n) < 0)
		return -1;
	if (n.sign == NUMERIC_NAN || n.sign == NUMERIC_INFINITY ||
		n.sign == NUMERIC_MINUS_INFINITY) {
		buf_put_text(out, n.sign == NUMERIC_NAN        ? "NaN"
				  : n.sign == NUMERIC_INFINITY ? "Infinity"
							       : "-Infinity");
		return 0;
	}
	if (n.sign == NUMERIC_NEGATIVE)
		buf_put_byte(out, '-');
	if (n.weight < 0)
		buf_put_byte(out, '0');
	for (int power = n.weight; power >= 0; power--)
		buf_printf(out, power == n.weight ? "%u" : "%04u", digit_at(&n, power));
	if (!n.scale)
		return 0;
	buf_put_byte(out, '.');
	for (int power = -1, left = n.scale; left > 0; power--, left -= NUMERIC_BASE_DIGITS) {
		char four[8];
		unsigned digit = digit_at(&n, power);

		for (int i = NUMERIC_BASE_DIGITS - 1; i >= 0; i--, digit /= 10)
			four[i] = (char)('0' + digit % 10);
		buf_put(out, four,
			left < NUMERIC_BASE_DIGITS ? (size_t)left : (size_t)NUMERIC_BASE_DIGITS);
	}
	return 0;
}

/* digit * 10^exponent added to *sum, if it is whole and fits. */
static int add_digit(__int128 *sum, unsigned digit, int exponent, const char **why)
{
	if (!digit)
		return 0;
	if (exponent < 0) {
		for (; exponent < 0; exponent++, digit /= 10) {
			if (digit % 10) {
				*why = "a number with more digits behind the point than the "
				       "decimal has";
				return -1;
			}
		}
	}
	if (exponent > DECIMAL_DIGITS_MAX ||
		(__int128)digit > decimal_pow10[DECIMAL_DIGITS_MAX] / decimal_pow10[exponent]) {
		*why = "a number too large for the decimal";
		return -1;
	}
	*sum += (__int128)digit * decimal_pow10[exponent];
	return 0;
}

int numeric_take(const uint8_t *bytes, size_t len, unsigned scale, __int128 *out, const char **why)
{
	struct numeric n;
	__int128 sum = 0;

	*why = "a malformed numeric";
	if (read_head(bytes, len, &n) < 0)
		return -1;
	*why = n.sign == NUMERIC_NAN ? "NaN, which a decimal can't be"
				     : "infinity, which a decimal can't be";
	if (n.sign != 0 && n.sign != NUMERIC_NEGATIVE)
		return -1;
	for (int i = 0; i < n.digits_len; i++) {
		int exponent = (n.weight - i) * NUMERIC_BASE_DIGITS + (int)scale;

		if (add_digit(&sum, digit_at(&n, n.weight - i), exponent, why) < 0)
			return -1;
		if (sum >= decimal_pow10[DECIMAL_DIGITS_MAX]) {
			*why = "a number too large for the decimal";
			return -1;
		}
	}
	*out = n.sign ? -sum : sum;
	return 0;
}

/* ---- back ---- */

/* Decimal digits, the last `scale` of them behind the point, as groups of four. */
static void put_digits(
	const char *digits, size_t len, size_t scale, bool negative, size_t shown, struct buf *out)
{
	size_t whole = len - scale;
	size_t groups_whole = (whole + NUMERIC_BASE_DIGITS - 1) / NUMERIC_BASE_DIGITS;
	size_t groups = groups_whole + (scale + NUMERIC_BASE_DIGITS - 1) / NUMERIC_BASE_DIGITS;
	size_t first = groups, last = 0, lead = groups_whole * NUMERIC_BASE_DIGITS - whole;
	size_t start;

	for (size_t i = 0; i < len; i++) {
		size_t group = (i + lead) / NUMERIC_BASE_DIGITS;

		if (digits[i] == '0')
			continue;
		first = group < first ? group : first;
		last = group + 1;
	}
	first = first == groups ? 0 : first;
	put_u16(out, (uint16_t)(last - (last ? first : 0)));
	put_u16(out, last ? (uint16_t)((long)groups_whole - 1 - (long)first) : 0);
	put_u16(out, last && negative ? NUMERIC_NEGATIVE : 0);
	put_u16(out, (uint16_t)shown);
	start = first * NUMERIC_BASE_DIGITS;
	for (size_t group = last ? first : last; group < last; group++) {
		unsigned v = 0;

		for (size_t i = 0; i < NUMERIC_BASE_DIGITS; i++, start++) {
			unsigned d = start >= lead && start - lead < len
					     ? (unsigned)(digits[start - lead] - '0')
					     : 0;

			v = v * 10 + d;
		}
		put_u16(out, (uint16_t)v);
	}
}

void numeric_put(__int128 unscaled, unsigned scale, struct buf *out)
{
	unsigned __int128 v = unscaled < 0 ? -(unsigned __int128)unscaled
					   : (unsigned __int128)unscaled;
	char digits[DECIMAL_DIGITS_MAX + 2];
	size_t n = sizeof digits;

	while (v || sizeof digits - n < scale) {
		digits[--n] = (char)('0' + (unsigned)(v % 10));
		v /= 10;
	}
	put_digits(digits + n, sizeof digits - n, scale, unscaled < 0, scale, out);
}

static int put_special(uint16_t sign, struct buf *out)
{
	put_u32(out, 0);
	put_u16(out, sign);
	put_u16(out, 0);
	return 0;
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

int numeric_put_from_text(const char *text, size_t len, struct buf *out)
{
	enum { WHOLE_DIGITS_MAX = 131072 };
	struct buf digits = BUF_INIT;
	size_t i = 0, scale = 0;
	bool negative = len && *text == '-', point = false, any = false;
	int64_t exponent = 0;
	int status = -1;

	if (is_word(text, len, "nan"))
		return put_special(NUMERIC_NAN, out);
	i += len && (*text == '-' || *text == '+');
	if (is_word(text + i, len - i, "infinity") || is_word(text + i, len - i, "inf"))
		return put_special(negative ? NUMERIC_MINUS_INFINITY : NUMERIC_INFINITY, out);
	for (; i < len && ((text[i] >= '0' && text[i] <= '9') || (text[i] == '.' && !point)); i++) {
		if (text[i] == '.') {
			point = true;
			continue;
		}
		buf_put_byte(&digits, (uint8_t)text[i]);
		scale += point;
		any = true;
	}
	if (any && i < len && (text[i] == 'e' || text[i] == 'E')) {
		if (int_parse(text + i + 1, len - i - 1, &exponent) != NUMBER_OK ||
			exponent > WHOLE_DIGITS_MAX || exponent < -NUMERIC_SCALE_MAX)
			goto out;
		i = len;
	}
	if (!any || i < len)
		goto out;
	for (; exponent > 0; exponent--) {
		if (scale)
			scale--;
		else
			buf_put_byte(&digits, '0');
	}
	scale += (size_t)-exponent;
	if (scale > NUMERIC_SCALE_MAX || digits.len > WHOLE_DIGITS_MAX + NUMERIC_SCALE_MAX)
		goto out;
	if (digits.len < scale) {
		size_t zeros = scale - digits.len;

		buf_reserve(&digits, zeros);
		memmove(digits.data + zeros, digits.data, digits.len);
		memset(digits.data, '0', zeros);
		digits.len += zeros;
	}
	put_digits((const char *)digits.data, digits.len, scale, negative, scale, out);
	status = 0;
out:
	buf_clear(&digits);
	return status;
}
