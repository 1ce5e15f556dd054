#include "libcore/base/json.h"

#include "libcore/base/digits.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/number.h"
#include "libcore/base/utf8.h"

struct json {
	const char *p, *end;
	struct buf *out;
	struct buf string; /* the one being read, escapes resolved */
	const char *why;
};

static bool fail(struct json *j, const char *why)
{
	j->why = why;
	return false;
}

static void pass_space(struct json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
		j->p++;
}

static bool at_char(const struct json *j, char c)
{
	return j->p < j->end && *j->p == c;
}

/* ---- strings ---- */

static bool hex4(struct json *j, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++, j->p++) {
		char c = j->p < j->end ? *j->p : 'x', low = c | 0x20;

		if (digits_is(c))
			*out = *out << 4 | (uint32_t)(c - '0');
		else if (low >= 'a' && low <= 'f')
			*out = *out << 4 | (uint32_t)(low - 'a' + 10);
		else
			return fail(j, "\\u wants four hex digits");
	}
	return true;
}

static bool unicode(struct json *j)
{
	static const char half[] = "half a surrogate pair";
	uint32_t code, low;
	char text[4];

	if (!hex4(j, &code))
		return false;
	if (code >= 0xdc00 && code < 0xe000)
		return fail(j, half);
	if (code >= 0xd800 && code < 0xdc00) {
		if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u')
			return fail(j, half);
		j->p += 2;
		if (!hex4(j, &low))
			return false;
		if (low < 0xdc00 || low > 0xdfff)
			return fail(j, half);
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	buf_put(&j->string, text, utf8_encode(text, code));
	return true;
}

/* Behind a backslash. */
static bool escape(struct json *j)
{
	char c = j->p < j->end ? *j->p++ : '\0';

	switch (c) {
	case '"':
	case '\\':
	case '/': break;
	case 'b': c = '\b'; break;
	case 'f': c = '\f'; break;
	case 'n': c = '\n'; break;
	case 'r': c = '\r'; break;
	case 't': c = '\t'; break;
	case 'u': return unicode(j);
	default: return fail(j, "no such escape");
	}
	buf_put_byte(&j->string, (uint8_t)c);
	return true;
}

static bool string(struct json *j)
{
	buf_reset(&j->string);
	j->p++;
	for (;;) {
		const char *from = j->p;
		size_t good;

		while (j->p < j->end && *j->p != '"' && *j->p != '\\' && (uint8_t)*j->p >= 0x20)
			j->p++;
		good = utf8_valid_len(from, (size_t)(j->p - from));
		if (good != (size_t)(j->p - from)) {
			j->p = from + good;
			return fail(j, "not UTF-8");
		}
		buf_put(&j->string, from, good);
		if (j->p == j->end)
			return fail(j, "it ends within a string");
		if (*j->p == '"')
			break;
		if (*j->p != '\\')
			return fail(j, "a control character in a string");
		j->p++;
		if (!escape(j))
			return false;
	}
	j->p++;
	msgpack_put_str(j->out, (const char *)j->string.data, j->string.len);
	return true;
}

/* ---- numbers and words ---- */

static bool number(struct json *j)
{
	size_t left = (size_t)(j->end - j->p);
	double real;
	int64_t whole;
	ssize_t n = float_scan(j->p, left, FLOAT_JSON, &real);

	if (n == NUMBER_RANGE)
		return fail(j, "a number too large for a float");
	if (n <= 0)
		return fail(j, "no JSON number");
	if (!memchr(j->p, '.', (size_t)n) && !memchr(j->p, 'e', (size_t)n) &&
		!memchr(j->p, 'E', (size_t)n) && int_parse(j->p, (size_t)n, &whole) == NUMBER_OK)
		msgpack_put_int(j->out, whole);
	else
		msgpack_put_float(j->out, real);
	j->p += n;
	if (j->p < j->end && (digits_is(*j->p) || *j->p == '.'))
		return fail(j, "no JSON number");
	return true;
}

static bool is_word(struct json *j, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(j->end - j->p) < len || memcmp(j->p, word, len) != 0)
		return false;
	j->p += len;
	return true;
}

static bool word(struct json *j)
{
	if (is_word(j, "null"))
		msgpack_put_nil(j->out);
	else if (is_word(j, "true"))
		msgpack_put_bool(j->out, true);
	else if (is_word(j, "false"))
		msgpack_put_bool(j->out, false);
	else
		return fail(
			j, j->p == j->end ? "it ends where a value should be" : "no JSON value");
	return true;
}

/* ---- values ---- */

static bool value(struct json *j, int depth);

static bool key(struct json *j)
{
	if (!at_char(j, '"'))
		return fail(j, "a key in double quotes should be here");
	if (!string(j))
		return false;
	pass_space(j);
	if (!at_char(j, ':'))
		return fail(j, "a colon should follow the key");
	j->p++;
	return true;
}

static bool elements(struct json *j, bool object, uint32_t *count, int depth)
{
	char close = object ? '}' : ']';

	j->p++;
	pass_space(j);
	if (at_char(j, close)) {
		j->p++;
		return true;
	}
	for (;;) {
		pass_space(j);
		if ((object && !key(j)) || !value(j, depth))
			return false;
		++*count;
		pass_space(j);
		if (at_char(j, close))
			break;
		if (!at_char(j, ','))
			return fail(j, object ? "a comma or } should be here"
					      : "a comma or ] should be here");
		j->p++;
	}
	j->p++;
	return true;
}

/* The head, which says how many there are, is known last: the largest is left free for it and the
 * elements move up to the one it gets. */
static bool nested(struct json *j, int depth)
{
	bool object = *j->p == '{';
	size_t at = j->out->len;
	struct buf head = BUF_INIT;
	uint32_t count = 0;
	bool good;

	if (depth == MSGPACK_DEPTH_MAX)
		return fail(j, "nested too deeply");
	buf_reserve(j->out, 5);
	j->out->len += 5;
	good = elements(j, object, &count, depth + 1);
	if (object)
		msgpack_put_map(&head, count);
	else
		msgpack_put_array(&head, count);
	memcpy(j->out->data + at, head.data, head.len);
	memmove(j->out->data + at + head.len, j->out->data + at + 5, j->out->len - at - 5);
	j->out->len -= 5 - head.len;
	buf_clear(&head);
	return good;
}

static bool value(struct json *j, int depth)
{
	pass_space(j);
	if (at_char(j, '{') || at_char(j, '['))
		return nested(j, depth);
	if (at_char(j, '"'))
		return string(j);
	if (j->p < j->end && (*j->p == '-' || digits_is(*j->p)))
		return number(j);
	return word(j);
}

int json_parse(const char *text, size_t len, struct buf *out, size_t *at, const char **why)
{
	struct json j = {.p = len ? text : "", .out = out};
	const char *start = j.p;
	size_t before = out->len;
	bool good;

	j.end = j.p + len;
	good = value(&j, 0);
	pass_space(&j);
	if (good && j.p != j.end)
		good = fail(&j, "something follows the value");
	buf_clear(&j.string);
	if (good)
		return 0;
	out->len = before;
	*at = (size_t)(j.p - start);
	*why = j.why;
	return -1;
}
