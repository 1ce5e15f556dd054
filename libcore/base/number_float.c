/* Reading: Clinger's fast path ("How to read floating point numbers accurately", PLDI 1990), then
 * Eisel-Lemire (Lemire, "Number parsing at a gigabyte per second", SPE 2021), which needs no
 * fallback for up to 19 digits (Mushtak and Lemire, "Fast number parsing without fallback", SPE
 * 2023); longer text whose cut-off digits matter is compared with the midpoint of the two
 * candidates in big integers.
 * Writing: Schubfach (Giulietti, "The Schubfach way to render doubles", 2020). */
#include "libcore/base/number.h"
#include "libcore/base/digits.h"
#include "libcore/base/must.h"
#include "libcore/base/number_pow10.h"

typedef unsigned __int128 wide; /* a short name for the type that the arithmetic here is in */

enum { DIGITS64_MAX = 19, BITS_SIGNIFICAND = 52, EXPONENT_BIAS = 1075, EXPONENT_INF = 2047 };
enum {
	EXPONENT_TEXT_MAX = 1 << 20
}; /* where exponents saturate: far outside what a text can shift back */

#define HIDDEN_BIT (UINT64_C(1) << BITS_SIGNIFICAND)

static const double exact_pow10[23] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A number's text taken apart: value = significand * 10^exponent. */
struct parts {
	const char *digits; /* the first digit or the point */
	const char *digits_end;
	size_t taken;
	uint64_t significand; /* of the first 19 significant digits */
	int64_t exponent;     /* that belongs to significand */
	bool negative;
	bool cut; /* there are more significant digits, not all of them 0 */
};

static inline uint64_t bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, 8);
	return bits;
}

static inline double of_bits(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, 8);
	return value;
}

/* Appends the run of digits at p to *value, which wraps around above 19; returns the run's end. */
static inline const char *more_digits(const char *p, const char *end, uint64_t *value)
{
	static const uint32_t pow10[9] = {
		1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
	uint64_t v = *value;
	unsigned n;

	do {
		uint64_t w = end - p >= 8 ? digits_load8(p) : digits_load_few(p, (size_t)(end - p));

		n = digits_leading(w);
		if (!n)
			break;
		v = v * pow10[n] + digits_value(w, n);
		p += n;
	} while (n == 8);
	*value = v;
	return p;
}

/* The exponent part at p, if there is one with digits; returns its end. */
static inline const char *exponent_part(const char *p, const char *end, int64_t *exponent)
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
		if (value < EXPONENT_TEXT_MAX)
			value = value * 10 + (*p - '0');
	*exponent += negative ? -value : value;
	return p;
}

/* Over 19 digits: the first 19 significant ones again, and what that makes of the exponent. */
static void cut_significand(struct parts *parts, const char *point)
{
	const char *p = parts->digits;
	unsigned n = 0;
	int64_t left = 0; /* digits between the last one kept and the point */

	while (p < parts->digits_end && (*p == '0' || *p == '.'))
		p++;
	if (parts->digits_end - p - (point && point >= p) <= DIGITS64_MAX)
		return; /* it was leading zeros that made it long */
	parts->significand = 0;
	for (; n < DIGITS64_MAX; p++) {
		if (*p == '.')
			continue;
		parts->significand = parts->significand * 10 + (unsigned)(*p - '0');
		n++;
	}
	for (; p < parts->digits_end; p++) {
		if (*p == '.')
			continue;
		left++;
		parts->cut |= *p != '0';
	}
	parts->exponent += left;
}

static inline bool take_apart(const char *text, size_t len, unsigned flags, struct parts *parts)
{
	const char *p = text, *end = text + len, *whole, *point = NULL;
	size_t digits;

	*parts = (struct parts){.negative = false};
	if (p < end && (*p == '-' || (*p == '+' && !(flags & FLOAT_JSON))))
		parts->negative = *p++ == '-';
	parts->digits = whole = p;
	if (flags & FLOAT_JSON && p < end && *p == '0')
		p++;
	else
		p = more_digits(p, end, &parts->significand);
	digits = (size_t)(p - whole);
	if (flags & FLOAT_JSON && (!digits || p + 1 >= end || (*p == '.' && !digits_is(p[1]))))
		end = p; /* no digit in front of the point, or none behind it */
	if (p < end && *p == '.') {
		point = p++;
		p = more_digits(p, end, &parts->significand);
		parts->exponent = -(int64_t)(p - point - 1);
		digits += (size_t)(p - point - 1);
	}
	if (!digits)
		return false;
	parts->digits_end = p;
	if (p < end)
		p = exponent_part(p, end, &parts->exponent);
	parts->taken = (size_t)(p - text);
	if (digits > DIGITS64_MAX)
		cut_significand(parts, point);
	return true;
}

/* Eisel-Lemire: the bits of the double nearest to significand * 10^q. */
static inline uint64_t nearest(uint64_t significand, int64_t q)
{
	const struct number_pow10 *t;
	unsigned zeros, upper;
	uint64_t high, low, m;
	int64_t power;
	wide product;

	if (!significand || q < NUMBER_POW10_FIRST)
		return 0;
	if (q > 308)
		return (uint64_t)EXPONENT_INF << BITS_SIGNIFICAND;
	t = &number_pow10[q - NUMBER_POW10_FIRST];
	zeros = (unsigned)__builtin_clzll(significand);
	significand <<= zeros;
	product = (wide)significand * t->high;
	/* Nine bits below what rounding looks at all set: a carry out of the low half could matter.
	 */
	if (((uint64_t)(product >> 64) & 0x1ff) == 0x1ff)
		product += (wide)significand * t->low >> 64;
	high = (uint64_t)(product >> 64);
	low = (uint64_t)product;
	upper = (unsigned)(high >> 63);
	m = high >> (upper + 9);
	/* 217706 / 2^16 is log2(10), near enough for every q of the table. */
	power = (217706 * q >> 16) + 63 + upper - zeros + 1023;
	if (power <= 0) {
		if (power <= -63)
			return 0;
		m >>= 1 - power;
		m += m & 1;
		return m >> 1; /* a carry into the hidden bit is the least normal number: right as
				  it is */
	}
	/* Exactly half way, which only small powers of five can be: to even. */
	if (low <= 1 && q >= -4 && q <= 23 && (m & 3) == 1 && m << (upper + 9) == high)
		m &= ~UINT64_C(1);
	m += m & 1;
	m >>= 1;
	if (m >= 2 * HIDDEN_BIT) {
		m = HIDDEN_BIT;
		power++;
	}
	if (power >= EXPONENT_INF)
		return (uint64_t)EXPONENT_INF << BITS_SIGNIFICAND;
	return (uint64_t)power << BITS_SIGNIFICAND | (m & (HIDDEN_BIT - 1));
}

/* ---- the exact comparison ---- */

/* 769 digits decide every case, the rest only as "and more" (the longest midpoint has 767).
 * 780 digits and 5^1130 are under 2,700 bits each, the shifts under 1,100. */
enum { EXACT_DIGITS = 780, LIMBS_MAX = 80 };

struct big {
	unsigned n;
	uint64_t limb[LIMBS_MAX];
};

static void big_mul_add(struct big *b, uint64_t factor, uint64_t carry)
{
	for (unsigned i = 0; i < b->n; i++) {
		wide x = (wide)b->limb[i] * factor + carry;

		b->limb[i] = (uint64_t)x;
		carry = (uint64_t)(x >> 64);
	}
	if (!carry)
		return;
	MUST(b->n < LIMBS_MAX);
	b->limb[b->n++] = carry;
}

static void big_mul_pow5(struct big *b, unsigned n)
{
	for (; n >= 27; n -= 27)
		big_mul_add(b, UINT64_C(7450580596923828125), 0);
	for (; n; n--)
		big_mul_add(b, 5, 0);
}

static void big_shift(struct big *b, unsigned bits)
{
	unsigned limbs = bits / 64;

	if (bits % 64)
		big_mul_add(b, UINT64_C(1) << bits % 64, 0);
	if (!b->n || !limbs)
		return;
	MUST(b->n + limbs <= LIMBS_MAX);
	memmove(b->limb + limbs, b->limb, b->n * sizeof(b->limb[0]));
	memset(b->limb, 0, limbs * sizeof(b->limb[0]));
	b->n += limbs;
}

static int big_compare(const struct big *a, const struct big *b)
{
	if (a->n != b->n)
		return a->n < b->n ? -1 : 1;
	for (unsigned i = a->n; i--;)
		if (a->limb[i] != b->limb[i])
			return a->limb[i] < b->limb[i] ? -1 : 1;
	return 0;
}

/* The digits of the text as an integer, at most EXACT_DIGITS of them; returns the power of ten that
 * belongs to it.  *more tells of nonzero digits behind. */
static int64_t big_digits(const struct parts *parts, struct big *b, bool *more)
{
	int64_t exponent = parts->exponent;
	unsigned n = 0;

	b->n = 0;
	*more = false;
	for (const char *p = parts->digits; p < parts->digits_end; p++) {
		if (*p == '.' || (!n && *p == '0'))
			continue;
		if (n >= EXACT_DIGITS) {
			*more |= *p != '0';
			continue;
		}
		big_mul_add(b, 10, (uint64_t)(*p - '0'));
		exponent -= ++n > DIGITS64_MAX; /* parts->exponent belongs to the first 19 */
	}
	return exponent;
}

/* Which of two neighbours, below and below + 1, is nearest to the text. */
static uint64_t nearest_exact(const struct parts *parts, uint64_t below)
{
	unsigned biased = (unsigned)(below >> BITS_SIGNIFICAND);
	uint64_t fraction = below & (HIDDEN_BIT - 1);
	uint64_t m = biased ? fraction | HIDDEN_BIT : fraction;
	int64_t two = (int64_t)(biased ? biased : 1) - EXPONENT_BIAS -
		      1; /* of the midpoint, 2m + 1 */
	struct big text, middle = {.n = 1, .limb = {2 * m + 1}};
	bool more;
	int64_t ten = big_digits(parts, &text, &more);
	int order;

	if (ten >= 0)
		big_mul_pow5(&text, (unsigned)ten);
	else
		big_mul_pow5(&middle, (unsigned)-ten);
	if (ten > two)
		big_shift(&text, (unsigned)(ten - two));
	else
		big_shift(&middle, (unsigned)(two - ten));
	order = big_compare(&text, &middle);
	if (!order && more)
		order = 1;
	if (!order)
		return below + (below & 1);
	return below + (order > 0);
}

static inline enum number_status value_of(const struct parts *parts, double *out)
{
	uint64_t bits;

	if (parts->significand <= 2 * HIDDEN_BIT && !parts->cut && parts->exponent >= -22 &&
		parts->exponent <= 22) {
		double value = (double)parts->significand;

		value = parts->exponent < 0 ? value / exact_pow10[-parts->exponent]
					    : value * exact_pow10[parts->exponent];
		*out = parts->negative ? -value : value;
		return NUMBER_OK;
	}
	bits = nearest(parts->significand, parts->exponent);
	if (parts->cut && bits != nearest(parts->significand + 1, parts->exponent))
		bits = nearest_exact(parts, bits);
	if (bits == (uint64_t)EXPONENT_INF << BITS_SIGNIFICAND)
		return NUMBER_RANGE;
	*out = of_bits(bits | (uint64_t)parts->negative << 63);
	return NUMBER_OK;
}

/* nan, inf, infinity: bytes taken, or 0. */
static size_t word(const char *text, size_t len, double *out)
{
	static const struct {
		char name[9];
		uint64_t bits;
	} words[] = {
		{"infinity", UINT64_C(0x7ff0000000000000)},
		{"inf", UINT64_C(0x7ff0000000000000)},
		{"nan", UINT64_C(0x7ff8000000000000)},
	};
	size_t sign = len && (text[0] == '-' || text[0] == '+');

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i].name), k = 0;

		if (len - sign < n)
			continue;
		while (k < n && (text[sign + k] | 0x20) == words[i].name[k])
			k++;
		if (k < n)
			continue;
		*out = of_bits(words[i].bits | (uint64_t)(sign && text[0] == '-') << 63);
		return sign + n;
	}
	return 0;
}

ssize_t float_scan(const char *text, size_t len, unsigned flags, double *out)
{
	struct parts parts;
	size_t taken;

	if (!len)
		return NUMBER_MALFORMED;
	if (take_apart(text, len, flags, &parts)) {
		enum number_status status = value_of(&parts, out);

		return status ? (ssize_t)status : (ssize_t)parts.taken;
	}
	taken = flags & FLOAT_WORDS ? word(text, len, out) : 0;
	return taken ? (ssize_t)taken : NUMBER_MALFORMED;
}

enum number_status float_parse(const char *text, size_t len, unsigned flags, double *out)
{
	struct parts parts;
	double value;

	if (!len)
		return NUMBER_MALFORMED;
	if (take_apart(text, len, flags, &parts))
		return parts.taken == len ? value_of(&parts, out) : NUMBER_MALFORMED;
	if (!(flags & FLOAT_WORDS) || word(text, len, &value) != len)
		return NUMBER_MALFORMED;
	*out = value;
	return NUMBER_OK;
}

/* ---- writing ---- */

struct shortest {
	uint64_t digits;
	int exponent; /* value = digits * 10^exponent */
};

static inline uint64_t round_to_odd(wide g, uint64_t cp)
{
	wide x = (wide)(uint64_t)g * cp;
	wide y = (wide)(uint64_t)(g >> 64) * cp + (x >> 64);

	return (uint64_t)(y >> 64) | ((uint64_t)y > 1);
}

/* Of a finite, nonzero, positive double; names as in the paper. */
static inline struct shortest shortest_of(uint64_t bits)
{
	unsigned biased = (unsigned)(bits >> BITS_SIGNIFICAND);
	uint64_t fraction = bits & (HIDDEN_BIT - 1);
	uint64_t c = biased ? fraction | HIDDEN_BIT : fraction;
	int q = (int)(biased ? biased : 1) - EXPONENT_BIAS;
	bool odd = c & 1;
	bool irregular = !fraction && biased > 1; /* the neighbour below is at half the distance */
	int k = (q * 1262611 - (irregular ? 524031 : 0)) >> 22;
	int h = q + (-k * 1741647 >> 19) + 1;
	const struct number_pow10 *t = &number_pow10[-k - NUMBER_POW10_FIRST];
	wide g = ((wide)t->high << 64 | t->low) + (-k > NUMBER_POW10_EXACT);
	uint64_t vbl = round_to_odd(g, (4 * c - 2 + irregular) << h);
	uint64_t vb = round_to_odd(g, 4 * c << h);
	uint64_t vbr = round_to_odd(g, (4 * c + 2) << h);
	uint64_t lower = vbl + odd, upper = vbr - odd;
	uint64_t s = vb / 4, middle = 4 * s + 2;
	bool below, above;

	if (s >= 10) {
		uint64_t sp = s / 10;

		below = lower <= 40 * sp;
		above = 40 * sp + 40 <= upper;
		if (below != above)
			return (struct shortest){sp + above, k + 1};
	}
	below = lower <= 4 * s;
	above = 4 * s + 4 <= upper;
	if (below != above)
		return (struct shortest){s + above, k};
	return (struct shortest){s + (vb > middle || (vb == middle && (s & 1))), k};
}

enum { SHORTEST_MAX = 17 }; /* copied whole, whatever of it counts: a fixed copy is two moves */

/* At most 17 digits at text[0]; returns how many there are without the zeros at the end. */
static inline unsigned put_digits(char text[2 * SHORTEST_MAX], struct shortest *d)
{
	uint32_t high = (uint32_t)(d->digits / 100000000), lead = high / 100000000;
	uint64_t left = digits_split8(high % 100000000);
	uint64_t right = digits_split8((uint32_t)(d->digits % 100000000));
	unsigned first, zeros;
	char all[3 * SHORTEST_MAX];

	/* The digits are all[0..16], right-aligned; zeros behind them for those before `first`. */
	all[0] = (char)('0' + lead);
	digits_store8(all + 1, left | DIGITS_EACH(0x30));
	digits_store8(all + 9, right | DIGITS_EACH(0x30));
	memset(all + SHORTEST_MAX, '0', 2 * SHORTEST_MAX);
	if (lead)
		first = 0;
	else
		first = left ? 1 + ((unsigned)__builtin_ctzll(left) >> 3)
			     : 9 + ((unsigned)__builtin_ctzll(right) >> 3);
	if (right)
		zeros = (unsigned)__builtin_clzll(right) >> 3;
	else
		zeros = left ? 8 + ((unsigned)__builtin_clzll(left) >> 3) : 16;
	d->exponent += (int)zeros;
	memcpy(text, all + first, 2 * SHORTEST_MAX);
	return SHORTEST_MAX - first - zeros;
}

static inline size_t put_plain(char *out, const char *text, unsigned n, int point, unsigned flags)
{
	if (point <= 0) { /* 0.000123 */
		memcpy(out, "0.00000", 7);
		memcpy(out + 2 - point, text, SHORTEST_MAX);
		return n + 2 + (size_t)-point;
	}
	memcpy(out, text, SHORTEST_MAX);
	if ((unsigned)point < n) { /* 12.3 */
		out[point] = '.';
		memcpy(out + point + 1, text + point, SHORTEST_MAX);
		return n + 1;
	}
	if (flags & FLOAT_WHOLE) /* 12300.0; behind the digits of the text there are zeros */
		return (size_t)point;
	memcpy(out + point, ".0", 2);
	return (size_t)point + 2;
}

static inline size_t put_exponent(char *out, const char *text, unsigned n, int exponent)
{
	size_t at = n > 1 ? n + 1 : 1;

	out[0] = text[0];
	out[1] = '.';
	memcpy(out + 2, text + 1, SHORTEST_MAX);
	out[at++] = 'e';
	if (exponent < 0)
		out[at++] = '-';
	return at + uint_put(out + at, (uint64_t)(exponent < 0 ? -exponent : exponent));
}

size_t float_put(char out[FLOAT_TEXT_MAX], double value, unsigned flags)
{
	uint64_t bits = bits_of(value), magnitude = bits & INT64_MAX;
	size_t sign = bits >> 63, n;
	char text[2 * SHORTEST_MAX];
	unsigned digits;
	struct shortest d;
	int point;

	if (magnitude > (uint64_t)EXPONENT_INF << BITS_SIGNIFICAND) {
		memcpy(out, "nan", 3);
		return 3;
	}
	out[0] = '-';
	out += sign;
	if (magnitude == (uint64_t)EXPONENT_INF << BITS_SIGNIFICAND) {
		memcpy(out, "inf", 3);
		return sign + 3;
	}
	value = of_bits(magnitude);
	if (value < 9007199254740992.0 && (double)(uint64_t)value == value) {
		n = uint_put(out, (uint64_t)value);
		if (flags & FLOAT_WHOLE)
			return sign + n;
		memcpy(out + n, ".0", 2);
		return sign + n + 2;
	}
	d = shortest_of(magnitude);
	digits = put_digits(text, &d);
	point = (int)digits + d.exponent; /* where the point stands, from the first digit */
	if (point > -5 && point <= 16)
		return sign + put_plain(out, text, digits, point, flags);
	return sign + put_exponent(out, text, digits, point - 1);
}
