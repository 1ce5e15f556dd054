/* From the texts of a column to its narrowest type.
 *
 *   bool       true, false in any case
 *   int        -12; not +12, not 007: digits with a leading zero are text
 *   float      1.5, 1e9, .5, and ints beside them; nan and inf only beside other numbers
 *   date       2013-01-01
 *   timestamp  ISO 8601 text, and dates beside it
 *   string     everything else, and what had no value at all
 *
 * An int that doesn't fit 64 bits makes its column a string: as a float it would lose digits.
 * Not for formats whose values carry types of their own (ndjson, msgpack): seen.h. */
#ifndef RUNNEL_FORMATS_INFER_H
#define RUNNEL_FORMATS_INFER_H

#include "libcore/table/type.h"

enum infer_kinds { /* what a column can still be */
	INFER_BOOL = 1,
	INFER_INT = 2,
	INFER_FLOAT = 4,
	INFER_DATE = 8,
	INFER_TIMESTAMP = 16,
	INFER_NUMBER = INFER_INT | INFER_FLOAT,
	INFER_TEXT = 0, /* nothing but a string */
	INFER_ALL = INFER_BOOL | INFER_NUMBER | INFER_DATE | INFER_TIMESTAMP,
};

struct infer {
	unsigned kinds; /* intersection of what the values so far could be */
	bool seen;      /* a value that says something; nulls say nothing */
};

#define INFER_INIT                 \
	{                          \
		.kinds = INFER_ALL \
	}

/* What a text can be.  *says_much is false for nan and inf. */
unsigned infer_text_kinds(const char *text, size_t len, bool *says_much);

void infer_text(struct infer *i, const char *text, size_t len);
struct type infer_type(const struct infer *i);

#endif
