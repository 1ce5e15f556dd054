/* Numbers and their text: int, float, decimal.
 *
 * No locale, no allocation, no NUL needed: text is (pointer, length) and nothing behind it is read.
 * Every kind has
 *
 *   X_scan   a number at the start of a buffer: bytes it takes (> 0), or a negative number_status
 *   X_parse  the whole text must be the number: NUMBER_OK, or a negative number_status
 *   X_put    writes to the caller's array of X_TEXT_MAX bytes, no NUL; returns the length.  Bytes
 *            of the array behind that are written, too
 *
 * Space around a number is malformed; *out is written only on success.
 *
 * Grammar: int is [+-]digits; leading zeros are taken.  float and decimal are
 * [+-](digits[.digits*] | .digits)[(e|E)[+-]digits].  Callers that are stricter (JSON allows
 * neither
 * "+1", ".5", "1." nor "01") check the first bytes themselves, or pass FLOAT_JSON. */
#ifndef RUNNEL_BASE_NUMBER_H
#define RUNNEL_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum number_status {
	NUMBER_OK = 0,
	NUMBER_MALFORMED = -1, /* not such a text at all */
	NUMBER_RANGE = -2,     /* well formed, but the value doesn't fit */
	NUMBER_INEXACT = -3, /* decimals: nonzero digits behind the scale, and no rounding asked */
};

/* ---- int: a signed 64-bit integer ---- */

enum { INT_TEXT_MAX = 20, UINT_TEXT_MAX = 20 };

ssize_t int_scan(const char *text, size_t len, int64_t *out);
enum number_status int_parse(const char *text, size_t len, int64_t *out);
size_t int_put(char out[INT_TEXT_MAX], int64_t value);

/* Digits only, no sign. */
ssize_t uint_scan(const char *text, size_t len, uint64_t *out);
enum number_status uint_parse(const char *text, size_t len, uint64_t *out);
size_t uint_put(char *out, uint64_t value); /* at most UINT_TEXT_MAX */

/* ---- float: IEEE 754 double ---- */

enum float_flags {
	FLOAT_WORDS = 1, /* scan, parse: also nan, inf, infinity with a sign, in any case */
	FLOAT_JSON = 2,  /* scan, parse: JSON's grammar only */
	FLOAT_WHOLE = 4, /* put: whole numbers without ".0" */
};

enum { FLOAT_TEXT_MAX = 40 }; /* 24 count; copies of fixed size need the rest */

/* Correctly rounded (to nearest, ties to even) for every input.  What is larger than the largest
 * finite double is NUMBER_RANGE; what is less than the smallest becomes 0 with its sign. */
ssize_t float_scan(const char *text, size_t len, unsigned flags, double *out);
enum number_status float_parse(const char *text, size_t len, unsigned flags, double *out);

/* The shortest text that reads back as the same double; of several such, the nearest to it.
 * A reader sees a float again: 1.0, -0.0, 0.1, 1e300, 1.5e-7; nan, inf, -inf.  Plain digits from
 * 1e-5 up to below 1e16, an exponent otherwise.  FLOAT_WHOLE prints 1 and -0 for 1.0 and -0.0. */
size_t float_put(char out[FLOAT_TEXT_MAX], double value, unsigned flags);

/* ---- decimal: value = unscaled / 10^scale, |unscaled| < 10^precision, precision <= 38 ----
 *
 * Two's complement 128 bits, as in a batch.  "Fits" below means |unscaled| < 10^38, or
 * < 10^precision where one is given. */

enum { DECIMAL_DIGITS_MAX = 38, DECIMAL_TEXT_MAX = 41 };

/* 10^n for 0 <= n <= 38. */
extern const __int128 decimal_pow10[DECIMAL_DIGITS_MAX + 1];

struct decimal_shape {
	unsigned precision; /* 1..38 */
	unsigned scale;     /* 0..precision */
};

/* Reads to the given shape.  Nonzero digits behind the scale are NUMBER_INEXACT, unless round asks
 * for the nearest, halves away from zero. */
ssize_t decimal_scan(
	const char *text, size_t len, struct decimal_shape shape, bool round, __int128 *out);
enum number_status decimal_parse(
	const char *text, size_t len, struct decimal_shape shape, bool round, __int128 *out);

/* The shape that holds the text exactly, for literals: "1.50" has precision 3, scale 2.  Text with
 * an exponent is fine ("1e3": 4, 0).  NUMBER_RANGE if more than 38 digits are needed. */
enum number_status decimal_parse_any(
	const char *text, size_t len, __int128 *out, struct decimal_shape *shape);

/* Exactly `scale` digits behind the point: -0.05, 12.30, 7.  |unscaled| < 10^38, scale <= 38. */
size_t decimal_put(char out[DECIMAL_TEXT_MAX], __int128 unscaled, unsigned scale);

/* From one scale to another shape; as decimal_parse for digits that are lost. */
enum number_status decimal_rescale(
	__int128 value, unsigned scale, struct decimal_shape to, bool round, __int128 *out);

/* -1, 0, 1; exact across scales. */
int decimal_compare(__int128 a, unsigned a_scale, __int128 b, unsigned b_scale);

enum number_status decimal_from_int(int64_t value, struct decimal_shape to, __int128 *out);
/* Truncates toward zero; NUMBER_RANGE if the whole part isn't an int. */
enum number_status decimal_to_int(__int128 value, unsigned scale, int64_t *out);
/* The shortest decimal text of the double, then halves away from zero: 0.15 becomes 0.2 at scale 1,
 * as a reader of the text expects.  nan and inf are NUMBER_RANGE. */
enum number_status decimal_from_float(double value, struct decimal_shape to, __int128 *out);
/* Correctly rounded. */
double decimal_to_float(__int128 value, unsigned scale);

/* a and b of one scale, checked against 10^38. */
enum number_status decimal_add(__int128 a, __int128 b, __int128 *out);
enum number_status decimal_sub(__int128 a, __int128 b, __int128 *out);
/* a * b rounded (halves away from zero) to out_scale; the product in between has 256 bits.
 * out_scale <= 38. */
enum number_status decimal_mul(__int128 a, unsigned a_scale, __int128 b, unsigned b_scale,
	unsigned out_scale, __int128 *out);
/* a / b rounded (halves away from zero) to out_scale.  b = 0 is NUMBER_MALFORMED. */
enum number_status decimal_div(__int128 a, unsigned a_scale, __int128 b, unsigned b_scale,
	unsigned out_scale, __int128 *out);
/* The remainder of truncating division, with the sign of a, at the greater of the two scales.
 * b = 0 is NUMBER_MALFORMED. */
enum number_status decimal_mod(
	__int128 a, unsigned a_scale, __int128 b, unsigned b_scale, __int128 *out);

#endif
