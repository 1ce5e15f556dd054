#include "formats/infer.h"

#include "libcore/base/civil.h"
#include "libcore/base/number.h"

#include <strings.h>

static bool text_is(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static unsigned time_kinds(const char *text, size_t len)
{
	int64_t us;
	int32_t days;

	if (len < 10 || !is_digit(text[0]) || text[4] != '-')
		return INFER_TEXT;
	if (len == 10 && date_parse(text, len, &days) == NUMBER_OK)
		return INFER_DATE | INFER_TIMESTAMP;
	return timestamp_parse(text, len, &us) == NUMBER_OK ? INFER_TIMESTAMP : INFER_TEXT;
}

static unsigned number_kinds(const char *text, size_t len)
{
	size_t sign = text[0] == '-';
	int64_t i;
	double f;

	if (text[0] == '+')
		return INFER_TEXT;
	if (len >= sign + 2 && text[sign] == '0' && is_digit(text[sign + 1]))
		return INFER_TEXT;
	switch (int_parse(text, len, &i)) {
	case NUMBER_OK: return INFER_NUMBER;
	case NUMBER_RANGE:
	case NUMBER_INEXACT: return INFER_TEXT;
	case NUMBER_MALFORMED: break;
	}
	return float_parse(text, len, 0, &f) == NUMBER_OK ? INFER_FLOAT : INFER_TEXT;
}

unsigned infer_text_kinds(const char *text, size_t len, bool *says_much)
{
	unsigned kinds;
	double f;

	*says_much = true;
	if (!len)
		return INFER_TEXT;
	if (text_is(text, len, "true") || text_is(text, len, "false"))
		return INFER_BOOL;
	if ((kinds = number_kinds(text, len)) || (kinds = time_kinds(text, len)))
		return kinds;
	if (text[0] == '+' || is_digit(text[0]) || (len > 1 && is_digit(text[1])))
		return INFER_TEXT;
	*says_much = float_parse(text, len, FLOAT_WORDS, &f) != NUMBER_OK;
	return *says_much ? INFER_TEXT : INFER_FLOAT;
}

void infer_text(struct infer *i, const char *text, size_t len)
{
	bool says_much;
	unsigned kinds;

	if (i->kinds == INFER_TEXT && i->seen)
		return;
	kinds = infer_text_kinds(text, len, &says_much);
	i->kinds &= kinds;
	i->seen |= says_much;
}

struct type infer_type(const struct infer *i)
{
	static const struct {
		enum infer_kinds bit;
		enum type_kind kind;
	} narrowest_first[] = {
		{INFER_BOOL, TYPE_BOOL},
		{INFER_INT, TYPE_INT},
		{INFER_FLOAT, TYPE_FLOAT},
		{INFER_DATE, TYPE_DATE},
		{INFER_TIMESTAMP, TYPE_TIMESTAMP},
	};

	if (!i->seen)
		return TYPE_OF(TYPE_STRING);
	for (size_t k = 0; k < sizeof narrowest_first / sizeof *narrowest_first; k++) {
		if (i->kinds & narrowest_first[k].bit)
			return TYPE_OF(narrowest_first[k].kind);
	}
	return TYPE_OF(TYPE_STRING);
}
