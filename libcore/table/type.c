#include "libcore/table/type.h"

#include "libcore/base/must.h"
#include "libcore/base/suggest.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

struct type_word {
	const char *name;
	enum type_kind kind;
};

/* The names of ours first: messages suggest any of them. */
static const struct type_word words[] = {
	{"bool", TYPE_BOOL},         {"int", TYPE_INT},
	{"float", TYPE_FLOAT},       {"decimal", TYPE_DECIMAL},
	{"date", TYPE_DATE},         {"timestamp", TYPE_TIMESTAMP},
	{"duration", TYPE_DURATION}, {"string", TYPE_STRING},
	{"bytes", TYPE_BYTES},       {"any", TYPE_ANY},
	{"boolean", TYPE_BOOL},      {"integer", TYPE_INT},
	{"bigint", TYPE_INT},        {"int8", TYPE_INT},
	{"int64", TYPE_INT},         {"smallint", TYPE_INT},
	{"long", TYPE_INT},          {"double", TYPE_FLOAT},
	{"real", TYPE_FLOAT},        {"float8", TYPE_FLOAT},
	{"float64", TYPE_FLOAT},     {"numeric", TYPE_DECIMAL},
	{"interval", TYPE_DURATION}, {"varchar", TYPE_STRING},
	{"text", TYPE_STRING},       {"char", TYPE_STRING},
	{"bytea", TYPE_BYTES},       {"binary", TYPE_BYTES},
	{"blob", TYPE_BYTES},        {"json", TYPE_ANY},
};

enum { WORDS = sizeof words / sizeof *words };

size_t type_width(struct type t)
{
	static const uint8_t widths[] = {[TYPE_BOOL] = 1, [TYPE_INT] = 8, [TYPE_FLOAT] = 8,
		[TYPE_DECIMAL] = 16, [TYPE_DATE] = 4, [TYPE_TIMESTAMP] = 8, [TYPE_DURATION] = 8,
		[TYPE_STRING] = 0, [TYPE_BYTES] = 0, [TYPE_ANY] = 0};

	MUST(t.kind < sizeof widths);
	return widths[t.kind];
}

static int type_unknown(const char *text, size_t len, struct error *e)
{
	const char *names[WORDS];
	int near;

	for (size_t i = 0; i < WORDS; i++)
		names[i] = words[i].name;
	near = suggest(text, len, names, WORDS);
	error_set(e, ERROR_USAGE, "unknown type '%.*s'", (int)(len < 64 ? len : 64), text);
	if (near >= 0)
		return error_hint(e, "did you mean %s?", names[near]);
	return error_hint(e, "types: bool int float decimal(p,s) string bytes date timestamp duration any");
}

/* "(10,2)" or "(10)" behind decimal; spaces allowed. */
static int decimal_shape_parse(const char *text, size_t len, struct type *t, struct error *e)
{
	unsigned precision = 0, scale = 0;
	char copy[32];
	int end = -1;

	if (len >= sizeof copy)
		return error_set(e, ERROR_USAGE, "decimal%.*s...: expected decimal(p,s)",
			(int)sizeof copy, text);
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (sscanf(copy, " ( %3u , %3u ) %n", &precision, &scale, &end) != 2 || end < 0) {
		scale = 0;
		end = -1;
		if (sscanf(copy, " ( %3u ) %n", &precision, &end) != 1 || end < 0)
			return error_set(e, ERROR_USAGE,
				"decimal needs precision and scale, like decimal(10,2)");
	}
	if ((size_t)end != len)
		return error_set(e, ERROR_USAGE, "decimal%s: expected decimal(p,s)", copy);
	if (precision < 1 || precision > DECIMAL_PRECISION_MAX || scale > precision)
		return error_set(e, ERROR_USAGE,
			"decimal(%u,%u): precision goes from 1 to 38, scale from 0 to precision",
			precision, scale);
	t->precision = (uint8_t)precision;
	t->scale = (uint8_t)scale;
	return 0;
}

int type_parse(const char *text, size_t len, struct type *out, struct error *e)
{
	size_t word = 0;

	while (word < len && (isalnum((unsigned char)text[word]) || text[word] == '_'))
		word++;
	for (size_t i = 0; i < WORDS; i++) {
		if (strlen(words[i].name) != word || strncasecmp(words[i].name, text, word) != 0)
			continue;
		*out = TYPE_OF(words[i].kind);
		if (words[i].kind == TYPE_DECIMAL)
			return decimal_shape_parse(text + word, len - word, out, e);
		return word == len ? 0 : type_unknown(text, len, e);
	}
	return type_unknown(text, len, e);
}

void type_put(struct type t, struct buf *b)
{
	MUST(t.kind >= TYPE_BOOL && t.kind <= TYPE_ANY);
	for (size_t i = 0; i < WORDS; i++) {
		if (words[i].kind == t.kind) {
			buf_put_text(b, words[i].name);
			break;
		}
	}
	if (t.kind == TYPE_DECIMAL)
		buf_printf(b, "(%u,%u)", t.precision, t.scale);
}

const char *type_name(struct type t)
{
	static char names[8][24];
	static unsigned next;
	char *name = names[next++ % 8];
	struct buf b = BUF_INIT;

	type_put(t, &b);
	snprintf(name, sizeof names[0], "%s", buf_cstr(&b));
	buf_clear(&b);
	return name;
}

static bool is_number(struct type t)
{
	return t.kind == TYPE_INT || t.kind == TYPE_FLOAT || t.kind == TYPE_DECIMAL;
}

/* Room for the digits of both before the point and behind it; what is over 38 is cut before the
 * point, where an overflow is an error and not a silent rounding. */
static struct type decimal_common(struct type a, struct type b)
{
	unsigned whole_a = a.kind == TYPE_INT ? 19 : (unsigned)(a.precision - a.scale);
	unsigned whole_b = b.kind == TYPE_INT ? 19 : (unsigned)(b.precision - b.scale);
	unsigned scale = a.scale > b.scale ? a.scale : b.scale;
	unsigned precision = (whole_a > whole_b ? whole_a : whole_b) + scale;

	if (precision > DECIMAL_PRECISION_MAX)
		precision = DECIMAL_PRECISION_MAX;
	return (struct type){TYPE_DECIMAL, (uint8_t)precision, (uint8_t)scale};
}

bool type_common(struct type a, struct type b, struct type *out)
{
	*out = a;
	if (type_equal(a, b))
		return true;
	if (is_number(a) && is_number(b)) {
		*out = a.kind == TYPE_FLOAT || b.kind == TYPE_FLOAT ? TYPE_OF(TYPE_FLOAT) :
			decimal_common(a, b);
		return true;
	}
	*out = TYPE_OF(TYPE_TIMESTAMP);
	return (a.kind == TYPE_DATE && b.kind == TYPE_TIMESTAMP) ||
		(a.kind == TYPE_TIMESTAMP && b.kind == TYPE_DATE);
}
