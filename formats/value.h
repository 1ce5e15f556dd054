/* One value from its text, of whatever type: what formats without types of their own (csv, text in
 * ndjson under an explicit schema) share.  The whole text must be the value; nothing is trimmed.
 *
 *   bool       true false t f 1 0, any case       date       2013-01-01
 *   int        [+-]digits                         timestamp  ISO 8601, or an integer in its unit
 *   float      also nan, inf                      duration   1h30m
 *   decimal    digits behind the scale must be 0  string     UTF-8; bytes: anything
 *
 * `any` is not a value of text: MUST. */
#ifndef RUNNEL_FORMATS_VALUE_H
#define RUNNEL_FORMATS_VALUE_H

#include "formats/reader.h"
#include "libcore/base/number.h"

/* Appends to b, whose type says how to read; on a failure nothing is appended.  Malformed UTF-8 in
 * a string is NUMBER_MALFORMED. */
enum number_status value_put(
	struct column_builder *b, enum time_unit unit, const char *text, size_t len);

/* Appends why value_put failed: "'abc' is not an int (column dep_delay)".  Any bytes are fine. */
void value_explain(struct buf *out, const struct wanted_column *w, const char *text, size_t len,
	enum number_status status);

/* Ticks of one second; 0 for ISO text. */
int64_t time_unit_ticks(enum time_unit unit);

#endif
