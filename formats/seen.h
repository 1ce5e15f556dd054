/* What the values of a column have been, where values carry types of their own (ndjson, msgpack), and
 * the type that all of them fit.  Not for formats of text alone: infer.h. */
#ifndef RUNNEL_FORMATS_SEEN_H
#define RUNNEL_FORMATS_SEEN_H

#include "libcore/table/type.h"

#include <stddef.h>

enum seen { /* one bit a kind; a byte holds them all; nulls have none */
	SEEN_INT = 1,
	SEEN_FLOAT = 2,
	SEEN_BOOL = 4,
	SEEN_DATE = 8,
	SEEN_TIMESTAMP = 16,
	SEEN_STRING = 32,
	SEEN_BYTES = 64,
	SEEN_NESTED = 128,
};

/* A text may be a date or a time; len may be 0. */
enum seen seen_text(const char *text, size_t len);

/* The type of a column whose values were all of these kinds. */
enum type_kind seen_kind(unsigned seen);

#endif
