#include "formats/seen.h"

#include "libcore/base/civil.h"
#include "libcore/base/number.h"

enum seen seen_text(const char *text, size_t len)
{
	int32_t days;
	int64_t us;

	if (len == 0)
		return SEEN_STRING;
	if (date_parse(text, len, &days) == NUMBER_OK)
		return SEEN_DATE;
	return timestamp_parse(text, len, &us) == NUMBER_OK ? SEEN_TIMESTAMP : SEEN_STRING;
}

enum type_kind seen_kind(unsigned seen)
{
	switch (seen) {
	case SEEN_INT: return TYPE_INT;
	case SEEN_FLOAT:
	case SEEN_FLOAT | SEEN_INT: return TYPE_FLOAT;
	case SEEN_BOOL: return TYPE_BOOL;
	case SEEN_DATE: return TYPE_DATE;
	case SEEN_TIMESTAMP:
	case SEEN_TIMESTAMP | SEEN_DATE: return TYPE_TIMESTAMP;
	case SEEN_BYTES: return TYPE_BYTES;
	}
	return seen & (SEEN_NESTED | SEEN_BYTES) ? TYPE_ANY : TYPE_STRING; /* also: all null */
}
