/* The types of columns, their names, and how their values lie in memory.
 *
 *   kind       value in a column's data             text name
 *   BOOL       u8, 0 or 1                           bool
 *   INT        i64                                  int
 *   FLOAT      f64                                  float
 *   DECIMAL    i128 unscaled, p <= 38, 0 <= s <= p  decimal(p,s)
 *   DATE       i32 days since 1970-01-01            date
 *   TIMESTAMP  i64 microseconds since 1970, UTC     timestamp
 *   DURATION   i64 microseconds                     duration
 *   STRING     UTF-8 bytes behind u32 offsets       string
 *   BYTES      any bytes behind u32 offsets         bytes
 *   ANY        one msgpack object per value, as BYTES  any
 *
 * Values are explicit: they stand in snapshots and in code generated from tables. */
#ifndef RUNNEL_TABLE_TYPE_H
#define RUNNEL_TABLE_TYPE_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum type_kind {
	TYPE_BOOL = 1,
	TYPE_INT = 2,
	TYPE_FLOAT = 3,
	TYPE_DECIMAL = 4,
	TYPE_DATE = 5,
	TYPE_TIMESTAMP = 6,
	TYPE_DURATION = 7,
	TYPE_STRING = 8,
	TYPE_BYTES = 9,
	TYPE_ANY = 10,
};

enum { DECIMAL_PRECISION_MAX = 38 };

struct type {
	uint8_t kind;      /* enum type_kind */
	uint8_t precision; /* DECIMAL only, else 0 */
	uint8_t scale;     /* DECIMAL only, else 0 */
};

#define TYPE_OF(k) ((struct type){.kind = (k)})

static inline bool type_is_text(struct type t) /* lies behind offsets */
{
	return t.kind >= TYPE_STRING;
}

static inline bool type_equal(struct type a, struct type b)
{
	return a.kind == b.kind && a.precision == b.precision && a.scale == b.scale;
}

/* Bytes of one value in a column's data; 0 for the kinds behind offsets. */
size_t type_width(struct type t);

/* Parses a name as in the table above; also the usual SQL spellings (bigint, double, varchar, text,
 * boolean, numeric(p,s), ...).  "decimal" alone is an error that asks for (p,s).  Returns 0, or -1
 * with ERROR_USAGE and a suggestion. */
int type_parse(const char *text, size_t len, struct type *out, struct error *e);

/* Appends the name. */
void type_put(struct type t, struct buf *b);

/* The name in static memory, valid until the 8th next call: for messages. */
const char *type_name(struct type t);

/* The type both widen to where two meet (join keys, case branches, union): equal types as they
 * are; int, decimal and float to the wider; date to timestamp.  False if there is none. */
bool type_common(struct type a, struct type b, struct type *out);

#endif
