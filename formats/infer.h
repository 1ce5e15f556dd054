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
 * Formats whose values carry types of their own (ndjson) say the kinds themselves. */
#ifndef RUNNEL_FORMATS_INFER_H
#define RUNNEL_FORMATS_INFER_H

#include "libcore/table/type.h"

enum infer_kinds { /* what a column can still be */
	INFER_BOOL = 1,
	INFER_INT = 2,
	INFER_FLOAT = 4,
	INFER_DATE = 8,
	INFER_TIMESTAMP = 16,
	INFER_ANY = 32, /* nested values; never narrowed by text */
	INFER_NUMBER = INFER_INT | INFER_FLOAT,
	INFER_TEXT = 0, /* nothing but a string */
	INFER_ALL = INFER_BOOL | INFER_NUMBER | INFER_DATE | INFER_TIMESTAMP,
};

struct infer {
	unsigned kinds; /* intersection of what the values so far could be */
	bool seen;      /* a value that says something; nulls say nothing */
	bool any;       /* a nested value was among them */
};

#define INFER_INIT                 \
	{                          \
		.kinds = INFER_ALL \
	}

/* What a text can be.  *says_much is false for nan and inf. */
unsigned infer_text_kinds(const char *text, size_t len, bool *says_much);

/* As above, but only the kinds that text in quotes of a typed format can mean: dates and times. */
unsigned infer_time_kinds(const char *text, size_t len);

void infer_text(struct infer *i, const char *text, size_t len);
void infer_kinds(struct infer *i, unsigned kinds); /* INFER_ANY: nested */
void infer_merge(struct infer *i, const struct infer *other);
struct type infer_type(const struct infer *i);

#endif
