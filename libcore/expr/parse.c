/* SQL text to a tree, by recursive descent, one function a level of precedence:
 *
 *   or | and | not | = <> < <= > >= is | between in like ~ | || | + - | * / % | unary - | :: | . []
 *
 * What can be said by others is: `x between a and b` is `x >= a and x <= b`, `case x when v`
 * compares x with v, nullif(a, b) is a case. */
#include "libcore/expr/lex.h"

#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"
#include "libcore/base/utf8.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

struct parser {
	struct lexer lex;
	int depth;
};

static struct expr *parse_or(struct parser *p, struct error *e);
static struct expr *parse_concat(struct parser *p, struct error *e);

bool expr_is_null_literal(const struct expr *x)
{
	return x->kind == NODE_LITERAL && !x->type.kind;
}

bool expr_is_string_literal(const struct expr *x)
{
	return x->kind == NODE_LITERAL && x->type.kind == TYPE_STRING;
}

int expr_error(const struct expr *x, struct error *e, const char *format, ...)
{
	struct source_place p = {x->what, x->source, x->at};
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return source_error(&p, e, "%s", text);
}

/* ---- making nodes ---- */

static struct expr *node(struct parser *p, enum node_kind kind, uint32_t at)
{
	struct expr *x = ARENA_NEW(p->lex.arena, struct expr);

	x->kind = kind;
	x->at = at;
	x->end = p->lex.token.at;
	x->source = p->lex.source;
	x->what = p->lex.what;
	return x;
}

/* The text of a node ends where the last token taken ended, without the space behind it. */
static struct expr *close_node(struct parser *p, struct expr *x)
{
	uint32_t end = p->lex.token.at;

	while (end > x->at && isspace((unsigned char)p->lex.source[end - 1]))
		end--;
	x->end = end;
	return x;
}

static void add_arg(struct parser *p, struct expr *x, struct expr *arg)
{
	/* Doubles where the length is a power of two: no capacity to keep. */
	if (!(x->args_len & (x->args_len - 1))) {
		size_t cap = x->args_len ? x->args_len * 2 : 2;
		struct expr **args = ARENA_ARRAY(p->lex.arena, struct expr *, cap);

		if (x->args_len)
			memcpy(args, x->args, x->args_len * sizeof *args);
		x->args = args;
	}
	x->args[x->args_len++] = arg;
}

static struct expr *call(struct parser *p, const char *name, uint32_t at, size_t n, ...)
{
	struct expr *x = node(p, NODE_CALL, at);
	va_list args;

	x->name = name;
	va_start(args, n);
	for (size_t i = 0; i < n; i++)
		add_arg(p, x, va_arg(args, struct expr *));
	va_end(args);
	return close_node(p, x);
}

static struct expr *literal(struct parser *p, enum type_kind kind, uint32_t at)
{
	struct expr *x = node(p, NODE_LITERAL, at);

	x->type = kind ? TYPE_OF(kind) : (struct type){0};
	return x;
}

/* ---- tokens ---- */

static bool next(struct parser *p, struct error *e)
{
	return lexer_next(&p->lex, e) == 0;
}

static bool take_symbol(struct parser *p, const char *symbol, bool *taken, struct error *e)
{
	*taken = lexer_is_symbol(&p->lex, symbol);
	return !*taken || next(p, e);
}

static bool expect_symbol(struct parser *p, const char *symbol, struct error *e)
{
	char expected[16];

	if (lexer_is_symbol(&p->lex, symbol))
		return next(p, e);
	snprintf(expected, sizeof expected, "'%s'", symbol);
	lexer_error(&p->lex, e, expected);
	return false;
}

static bool expect_word(struct parser *p, const char *word, struct error *e)
{
	if (lexer_is_word(&p->lex, word))
		return next(p, e);
	lexer_error(&p->lex, e, word);
	return false;
}

static bool is_word(const struct parser *p, const char *word)
{
	return lexer_is_word(&p->lex, word);
}

static bool is_symbol(const struct parser *p, const char *symbol)
{
	return lexer_is_symbol(&p->lex, symbol);
}

/* The token behind the present one, without taking either. */
static struct token peek(const struct parser *p)
{
	struct lexer look = p->lex;
	struct error ignored;

	if (lexer_next(&look, &ignored) < 0)
		return (struct token){.kind = TOKEN_END, .text = ""};
	return look.token;
}

/* ---- primary ---- */

static struct expr *number_literal(struct parser *p, struct error *e)
{
	const struct token t = p->lex.token;
	struct expr *x = literal(p, t.kind == TOKEN_INT ? TYPE_INT : TYPE_FLOAT, t.at);

	x->text = t.text;
	x->text_len = t.len;
	if (t.kind == TOKEN_INT && int_parse(t.text, t.len, &x->integer) != NUMBER_OK)
		x->type = TYPE_OF(TYPE_FLOAT); /* beyond 64 bits: as other engines do */
	if (float_parse(t.text, t.len, 0, &x->real) != NUMBER_OK) {
		lexer_error(&p->lex, e, "a number that fits a float");
		return NULL;
	}
	return next(p, e) ? close_node(p, x) : NULL;
}

static struct expr *string_literal(struct parser *p, struct error *e)
{
	struct expr *x = literal(p, TYPE_STRING, p->lex.token.at);

	x->text = p->lex.token.text;
	x->text_len = p->lex.token.len;
	return next(p, e) ? close_node(p, x) : NULL;
}

/* timestamp '...', date '...', interval '...' and duration '...': the word has been seen. */
static struct expr *time_literal(struct parser *p, enum type_kind kind, struct error *e)
{
	uint32_t at = p->lex.token.at;
	struct interval interval;
	struct expr *x;
	int32_t days = 0;
	bool good;

	if (!next(p, e))
		return NULL;
	x = literal(p, kind, at);
	x->text = p->lex.token.text;
	x->text_len = p->lex.token.len;
	if (kind == TYPE_TIMESTAMP) {
		good = timestamp_parse(x->text, x->text_len, &x->integer) == NUMBER_OK;
	} else if (kind == TYPE_DATE) {
		good = date_parse(x->text, x->text_len, &days) == NUMBER_OK;
		x->integer = days;
	} else {
		good = interval_parse(x->text, x->text_len, &interval) == NUMBER_OK;
		x->integer = good ? interval.us : 0;
		x->months = good ? interval.months : 0;
	}
	if (!good) {
		lexer_error(&p->lex, e, kind == TYPE_TIMESTAMP ?
			"a timestamp like '2013-01-01 10:00:00'" : kind == TYPE_DATE ?
			"a date like '2013-01-01'" : "an interval like '5 minutes'");
		return NULL;
	}
	return next(p, e) ? close_node(p, x) : NULL;
}

/* case [x] when a then b ... [else c] end: args are cond, value, ..., else. */
static struct expr *parse_case(struct parser *p, struct error *e)
{
	uint32_t at = p->lex.token.at;
	struct expr *x = node(p, NODE_CALL, at), *operand = NULL, *part;

	x->name = "case";
	if (!next(p, e))
		return NULL;
	if (!is_word(p, "when") && !(operand = parse_or(p, e)))
		return NULL;
	while (is_word(p, "when")) {
		uint32_t when_at = p->lex.token.at;

		if (!next(p, e) || !(part = parse_or(p, e)))
			return NULL;
		add_arg(p, x, operand ? call(p, "=", when_at, 2, operand, part) : part);
		if (!expect_word(p, "then", e) || !(part = parse_or(p, e)))
			return NULL;
		add_arg(p, x, part);
	}
	if (!x->args_len) {
		lexer_error(&p->lex, e, "when");
		return NULL;
	}
	if (is_word(p, "else")) {
		if (!next(p, e) || !(part = parse_or(p, e)))
			return NULL;
	} else {
		part = literal(p, 0, p->lex.token.at);
	}
	add_arg(p, x, part);
	return expect_word(p, "end", e) ? close_node(p, x) : NULL;
}

/* A type behind :: or as: a word, with (p,s) behind decimal. */
static bool parse_type(struct parser *p, struct type *out, struct error *e)
{
	struct source_place place = {p->lex.what, p->lex.source, p->lex.token.at};
	uint32_t from = p->lex.token.at, to = p->lex.token.end;

	if (p->lex.token.kind != TOKEN_NAME) {
		lexer_error(&p->lex, e, "a type");
		return false;
	}
	if (!next(p, e))
		return false;
	if (is_symbol(p, "(")) {
		while (!is_symbol(p, ")")) {
			if (p->lex.token.kind == TOKEN_END) {
				lexer_error(&p->lex, e, "')'");
				return false;
			}
			if (!next(p, e))
				return false;
		}
		to = p->lex.token.end;
		if (!next(p, e))
			return false;
	}
	if (type_parse(p->lex.source + from, to - from, out, e) == 0)
		return true;
	source_context(&place, e);
	return false;
}

static struct expr *parse_cast(struct parser *p, const char *name, struct error *e)
{
	struct expr *x = node(p, NODE_CAST, p->lex.token.at), *arg;

	x->name = name;
	if (!next(p, e) || !expect_symbol(p, "(", e) || !(arg = parse_or(p, e)) ||
		!expect_word(p, "as", e) || !parse_type(p, &x->type, e) || !expect_symbol(p, ")", e))
		return NULL;
	add_arg(p, x, arg);
	return close_node(p, x);
}

/* extract(field from x): a call with the field's name as text. */
static struct expr *parse_extract(struct parser *p, struct error *e)
{
	uint32_t at = p->lex.token.at;
	struct expr *field, *arg;

	if (!next(p, e) || !expect_symbol(p, "(", e))
		return NULL;
	field = literal(p, TYPE_STRING, p->lex.token.at);
	field->text = p->lex.token.text;
	field->text_len = p->lex.token.len;
	if (p->lex.token.kind != TOKEN_NAME && p->lex.token.kind != TOKEN_STRING) {
		lexer_error(&p->lex, e, "a field like hour");
		return NULL;
	}
	if (!next(p, e) || !expect_word(p, "from", e) || !(arg = parse_or(p, e)) ||
		!expect_symbol(p, ")", e))
		return NULL;
	return call(p, "date_part", at, 2, field, arg);
}

/* position(needle in text), or with a comma. */
static struct expr *parse_position(struct parser *p, struct error *e)
{
	uint32_t at = p->lex.token.at;
	struct expr *needle, *text;

	if (!next(p, e) || !expect_symbol(p, "(", e) || !(needle = parse_concat(p, e)))
		return NULL;
	if (is_symbol(p, ",") ? !next(p, e) : !expect_word(p, "in", e))
		return NULL;
	if (!(text = parse_or(p, e)) || !expect_symbol(p, ")", e))
		return NULL;
	return call(p, "position", at, 2, needle, text);
}

/* trim([both|leading|trailing] [characters] from text), or with commas. */
static struct expr *parse_trim(struct parser *p, struct error *e)
{
	static const char *const sides[] = {"both", "leading", "trailing"},
		*const names[] = {"trim", "ltrim", "rtrim"};
	uint32_t at = p->lex.token.at;
	const char *name = NULL;
	struct expr *set = NULL, *text;

	if (!next(p, e) || !expect_symbol(p, "(", e))
		return NULL;
	for (size_t i = 0; i < 3; i++) {
		struct token after = peek(p);

		/* A column may be named both. */
		if (!name && is_word(p, sides[i]) && (after.kind != TOKEN_SYMBOL || after.text[0] == '(')) {
			name = names[i];
			if (!next(p, e))
				return NULL;
		}
	}
	if (!is_word(p, "from") && !(set = parse_or(p, e)))
		return NULL;
	if (!name && !is_word(p, "from")) { /* trim(text[, characters]) */
		text = set;
		if (!is_symbol(p, ","))
			return expect_symbol(p, ")", e) ? call(p, "trim", at, 1, text) : NULL;
		if (!next(p, e) || !(set = parse_or(p, e)) || !expect_symbol(p, ")", e))
			return NULL;
		return call(p, "trim", at, 2, text, set);
	}
	if (!expect_word(p, "from", e) || !(text = parse_or(p, e)) || !expect_symbol(p, ")", e))
		return NULL;
	name = name ? name : "trim";
	return set ? call(p, name, at, 2, text, set) : call(p, name, at, 1, text);
}

/* substring(text from start [for count]), or with commas. */
static struct expr *parse_substring(struct parser *p, struct error *e)
{
	uint32_t at = p->lex.token.at;
	struct expr *text, *start, *count;
	bool words;

	if (!next(p, e) || !expect_symbol(p, "(", e) || !(text = parse_or(p, e)))
		return NULL;
	words = is_word(p, "from");
	if (words ? !next(p, e) : !expect_symbol(p, ",", e))
		return NULL;
	if (!(start = parse_or(p, e)))
		return NULL;
	if (words ? !is_word(p, "for") : !is_symbol(p, ","))
		return expect_symbol(p, ")", e) ? call(p, "substr", at, 2, text, start) : NULL;
	if (!next(p, e) || !(count = parse_or(p, e)) || !expect_symbol(p, ")", e))
		return NULL;
	return call(p, "substr", at, 3, text, start, count);
}

static bool parse_filter(struct parser *p, struct expr *x, struct error *e)
{
	if (!is_word(p, "filter") || peek(p).kind != TOKEN_SYMBOL)
		return true;
	if (!next(p, e) || !expect_symbol(p, "(", e) || !expect_word(p, "where", e) ||
		!(x->filter = parse_or(p, e)))
		return false;
	return expect_symbol(p, ")", e);
}

/* name(...): the present token is the name, a '(' follows. */
static struct expr *parse_call(struct parser *p, struct error *e)
{
	struct expr *x = node(p, NODE_CALL, p->lex.token.at), *arg;
	char *name = arena_strndup(p->lex.arena, p->lex.token.text, p->lex.token.len);
	bool more = true;

	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	x->name = name;
	if (!next(p, e) || !next(p, e))
		return NULL;
	if (is_symbol(p, "*") && !strcmp(name, "count")) {
		x->star = true;
		if (!next(p, e))
			return NULL;
		more = false;
	} else if (is_word(p, "distinct")) {
		x->distinct = true;
		if (!next(p, e))
			return NULL;
	}
	more = more && !is_symbol(p, ")");
	while (more) {
		if (!(arg = parse_or(p, e)))
			return NULL;
		if (x->args_len >= EXPR_ARGS_MAX) {
			lexer_error(&p->lex, e, "at most 1000 arguments");
			return NULL;
		}
		add_arg(p, x, arg);
		if (!take_symbol(p, ",", &more, e))
			return NULL;
	}
	if (!expect_symbol(p, ")", e) || !parse_filter(p, x, e))
		return NULL;
	if (!strcmp(name, "nullif") && x->args_len == 2) /* case when a = b then null else a end */
		return call(p, "case", x->at, 3, call(p, "=", x->at, 2, x->args[0], x->args[1]),
			literal(p, 0, x->at), x->args[0]);
	return close_node(p, x);
}

static struct expr *parse_column(struct parser *p, struct error *e)
{
	struct expr *x = node(p, NODE_COLUMN, p->lex.token.at);

	x->name = p->lex.token.text;
	x->quoted = p->lex.token.kind == TOKEN_QUOTED;
	return next(p, e) ? close_node(p, x) : NULL;
}

static const char *const reserved[] = {"and", "or", "not", "when", "then", "else", "in", "between",
	"like", "ilike", "is", "as", "from", "distinct", "where"};

static bool is_reserved(const struct token *t)
{
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
		if (!strcasecmp(t->text, reserved[i]))
			return true;
	}
	return false;
}

static struct expr *word_literal(struct parser *p, enum type_kind kind, int64_t value,
	struct error *e)
{
	struct expr *x = literal(p, kind, p->lex.token.at);

	x->integer = value;
	return next(p, e) ? close_node(p, x) : NULL;
}

/* A word with a meaning of its own only where what follows fits, so that timestamp, date, interval,
 * end, key, ... remain names of columns. */
static struct expr *parse_word(struct parser *p, struct error *e)
{
	struct token after = peek(p);
	bool text_follows = after.kind == TOKEN_STRING;
	bool call_follows = after.kind == TOKEN_SYMBOL && !strcmp(after.text, "(");

	if (text_follows && is_word(p, "timestamp"))
		return time_literal(p, TYPE_TIMESTAMP, e);
	if (text_follows && is_word(p, "date"))
		return time_literal(p, TYPE_DATE, e);
	if (text_follows && (is_word(p, "interval") || is_word(p, "duration")))
		return time_literal(p, TYPE_DURATION, e);
	if (is_word(p, "null"))
		return word_literal(p, 0, 0, e);
	if (is_word(p, "true"))
		return word_literal(p, TYPE_BOOL, 1, e);
	if (is_word(p, "false"))
		return word_literal(p, TYPE_BOOL, 0, e);
	if (is_word(p, "case") && !call_follows && after.kind != TOKEN_SYMBOL &&
		after.kind != TOKEN_END)
		return parse_case(p, e);
	if (is_word(p, "case") && call_follows)
		return parse_case(p, e);
	if (!call_follows) {
		if (!is_reserved(&p->lex.token))
			return parse_column(p, e);
		lexer_error(&p->lex, e, "a value");
		error_hint(e, "if it is a column's name, quote it: \"%s\"", p->lex.token.text);
		return NULL;
	}
	if (is_word(p, "cast"))
		return parse_cast(p, "cast", e);
	if (is_word(p, "try_cast"))
		return parse_cast(p, "try_cast", e);
	if (is_word(p, "extract"))
		return parse_extract(p, e);
	if (is_word(p, "position"))
		return parse_position(p, e);
	if (is_word(p, "trim"))
		return parse_trim(p, e);
	if (is_word(p, "substring"))
		return parse_substring(p, e);
	return parse_call(p, e);
}

static struct expr *parse_primary(struct parser *p, struct error *e)
{
	struct expr *x;

	switch (p->lex.token.kind) {
	case TOKEN_INT:
	case TOKEN_NUMBER: return number_literal(p, e);
	case TOKEN_STRING: return string_literal(p, e);
	case TOKEN_QUOTED: return parse_column(p, e);
	case TOKEN_NAME: return parse_word(p, e);
	case TOKEN_SYMBOL:
		if (!is_symbol(p, "("))
			break;
		if (!next(p, e) || !(x = parse_or(p, e)) || !expect_symbol(p, ")", e))
			return NULL;
		return x;
	case TOKEN_END: break;
	}
	lexer_error(&p->lex, e, "a value");
	return NULL;
}

/* ---- operators, from the tightest ---- */

static struct expr *parse_field(struct parser *p, struct expr *of, struct error *e)
{
	struct expr *x = node(p, NODE_FIELD, of->at);

	if (!next(p, e))
		return NULL;
	if (is_symbol(p, "*") && peek(p).kind == TOKEN_SYMBOL && *peek(p).text == ')') {
		x->name = "*"; /* count(A.*) */
	} else if (p->lex.token.kind == TOKEN_NAME || p->lex.token.kind == TOKEN_QUOTED) {
		x->name = p->lex.token.text;
	} else {
		lexer_error(&p->lex, e, "a name");
		return NULL;
	}
	add_arg(p, x, of);
	return next(p, e) ? close_node(p, x) : NULL;
}

static bool is_at_time_zone(struct parser *p)
{
	struct token after;

	if (!is_word(p, "at"))
		return false;
	after = peek(p);
	return after.kind == TOKEN_NAME && !strcasecmp(after.text, "time");
}

static struct expr *parse_zone(struct parser *p, struct expr *x, struct error *e)
{
	struct expr *zone;

	if (!next(p, e) || !expect_word(p, "time", e) || !expect_word(p, "zone", e) ||
		!(zone = parse_primary(p, e)))
		return NULL;
	return call(p, "at time zone", x->at, 2, x, zone);
}

static struct expr *parse_postfix(struct parser *p, struct error *e)
{
	struct expr *x = parse_primary(p, e), *arg;
	uint32_t at;
	int links = 0;

	while (x && (is_symbol(p, ".") || is_symbol(p, "[") || is_symbol(p, "::") ||
			    is_at_time_zone(p))) {
		at = x->at;
		if (++links > EXPR_DEPTH_MAX) {
			lexer_error(&p->lex, e, "a shorter chain");
			return NULL;
		}
		if (is_symbol(p, ".")) {
			x = parse_field(p, x, e);
		} else if (is_word(p, "at")) {
			x = parse_zone(p, x, e);
		} else if (is_symbol(p, "[")) {
			if (!next(p, e) || !(arg = parse_or(p, e)) || !expect_symbol(p, "]", e))
				return NULL;
			x = call(p, "[]", at, 2, x, arg);
		} else {
			arg = x;
			x = node(p, NODE_CAST, at);
			x->name = "cast";
			add_arg(p, x, arg);
			if (!next(p, e) || !parse_type(p, &x->type, e))
				return NULL;
			close_node(p, x);
		}
	}
	return x;
}

/* -1.5 is a literal as 1.5 is one, exact beside a decimal; and the least int has no positive
 * counterpart to negate. */
static struct expr *negated_number(struct parser *p, uint32_t at, struct expr *x)
{
	bool number = x->kind == NODE_LITERAL && x->text && x->text[0] != '-' &&
		(x->type.kind == TYPE_INT || x->type.kind == TYPE_FLOAT);

	if (!number)
		return call(p, "negate", at, 1, x);
	x->text = arena_printf(p->lex.arena, "-%s", x->text);
	x->text_len++;
	x->at = at;
	x->real = -x->real;
	if (int_parse(x->text, x->text_len, &x->integer) == NUMBER_OK)
		x->type = TYPE_OF(TYPE_INT);
	return x;
}

static struct expr *parse_unary(struct parser *p, struct error *e)
{
	uint32_t at = p->lex.token.at;
	struct expr *x;

	if (is_symbol(p, "+")) {
		if (!next(p, e))
			return NULL;
		return parse_unary(p, e);
	}
	if (!is_symbol(p, "-"))
		return parse_postfix(p, e);
	if (++p->depth > EXPR_DEPTH_MAX) {
		lexer_error(&p->lex, e, "less nesting");
		return NULL;
	}
	if (!next(p, e))
		return NULL;
	x = parse_unary(p, e);
	p->depth--;
	return x ? negated_number(p, at, x) : NULL;
}

struct binary_level {
	const char *symbols[4];
	struct expr *(*tighter)(struct parser *p, struct error *e);
	struct expr *(*join)(struct parser *p, const char *symbol, struct expr *x,
		struct expr *right);
};

static struct expr *plain_binary(struct parser *p, const char *symbol, struct expr *x,
	struct expr *right)
{
	return call(p, symbol, x->at, 2, x, right);
}

static struct expr *parse_binary(struct parser *p, const struct binary_level *level,
	struct error *e)
{
	struct expr *x = level->tighter(p, e), *right;

	while (x) {
		const char *symbol = NULL;

		for (size_t i = 0; i < 4 && level->symbols[i]; i++) {
			if (is_symbol(p, level->symbols[i]))
				symbol = level->symbols[i];
		}
		if (!symbol)
			return x;
		if (!next(p, e) || !(right = level->tighter(p, e)))
			return NULL;
		x = level->join(p, symbol, x, right);
	}
	return NULL;
}

static struct expr *parse_product(struct parser *p, struct error *e)
{
	static const struct binary_level level = {{"*", "/", "%"}, parse_unary, plain_binary};

	return parse_binary(p, &level, e);
}

/* t + interval '1 month 3 days': the months by the calendar, then what has a length. */
static struct expr *add_interval(struct parser *p, const char *symbol, struct expr *x,
	struct expr *interval)
{
	struct expr *months = node(p, NODE_LITERAL, interval->at), *rest = interval;

	months->type = TYPE_OF(TYPE_INT);
	months->integer = *symbol == '-' ? -interval->months : interval->months;
	x = call(p, "add_months", x->at, 2, x, close_node(p, months));
	if (!interval->integer)
		return x;
	rest->months = 0;
	return call(p, symbol, x->at, 2, x, rest);
}

static struct expr *sum(struct parser *p, const char *symbol, struct expr *x, struct expr *right)
{
	if (right->months)
		return add_interval(p, symbol, x, right);
	if (x->months && *symbol == '+')
		return add_interval(p, symbol, right, x);
	return call(p, symbol, x->at, 2, x, right);
}

static struct expr *parse_sum(struct parser *p, struct error *e)
{
	static const struct binary_level level = {{"+", "-"}, parse_product, sum};

	return parse_binary(p, &level, e);
}

static struct expr *parse_concat(struct parser *p, struct error *e)
{
	static const struct binary_level level = {{"||"}, parse_sum, plain_binary};

	return parse_binary(p, &level, e);
}

static struct expr *negated(struct parser *p, struct expr *x, bool no)
{
	return x && no ? call(p, "not", x->at, 1, x) : x;
}

/* x in (a, b): a call of "in" with x first. */
static struct expr *parse_in(struct parser *p, struct expr *x, struct error *e)
{
	struct expr *in = node(p, NODE_CALL, x->at), *item;
	bool more = true;

	in->name = "in";
	add_arg(p, in, x);
	if (!next(p, e) || !expect_symbol(p, "(", e))
		return NULL;
	while (more) {
		if (!(item = parse_or(p, e)))
			return NULL;
		if (in->args_len > 100000) {
			lexer_error(&p->lex, e, "a shorter list (join with a file instead)");
			return NULL;
		}
		add_arg(p, in, item);
		if (!take_symbol(p, ",", &more, e))
			return NULL;
	}
	return expect_symbol(p, ")", e) ? close_node(p, in) : NULL;
}

static struct expr *parse_between(struct parser *p, struct expr *x, struct error *e)
{
	struct expr *low, *high;

	if (!next(p, e) || !(low = parse_concat(p, e)) || !expect_word(p, "and", e) ||
		!(high = parse_concat(p, e)))
		return NULL;
	return call(p, "and", x->at, 2, call(p, ">=", x->at, 2, x, low),
		call(p, "<=", x->at, 2, x, high));
}

static struct expr *parse_like(struct parser *p, struct expr *x, const char *name, struct error *e)
{
	struct expr *pattern, *escape;

	if (!next(p, e) || !(pattern = parse_concat(p, e)))
		return NULL;
	if (!is_word(p, "escape"))
		return call(p, name, x->at, 2, x, pattern);
	if (!next(p, e) || !(escape = parse_concat(p, e)))
		return NULL;
	return call(p, name, x->at, 3, x, pattern, escape);
}

static struct expr *parse_is(struct parser *p, struct expr *x, struct error *e)
{
	struct expr *other;
	bool no;

	if (!next(p, e))
		return NULL;
	no = is_word(p, "not");
	if (no && !next(p, e))
		return NULL;
	if (is_word(p, "null"))
		return next(p, e) ? call(p, no ? "is not null" : "is null", x->at, 1, x) : NULL;
	if (is_word(p, "true") || is_word(p, "false")) {
		other = word_literal(p, TYPE_BOOL, is_word(p, "true"), e);
		return other ? call(p, no ? "is distinct from" : "is not distinct from", x->at, 2,
			x, other) : NULL;
	}
	if (!expect_word(p, "distinct", e) || !expect_word(p, "from", e) ||
		!(other = parse_concat(p, e)))
		return NULL;
	return call(p, no ? "is not distinct from" : "is distinct from", x->at, 2, x, other);
}

static struct expr *parse_comparison(struct parser *p, struct error *e)
{
	static const char *const symbols[] = {"=", "<>", "!=", "<=", ">=", "<", ">", "~", "!~"};
	struct expr *x = parse_concat(p, e), *right;

	while (x) {
		const char *symbol = NULL;
		bool no = false;

		for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
			if (is_symbol(p, symbols[i]))
				symbol = symbols[i];
		}
		if (symbol) {
			if (!next(p, e) || !(right = parse_concat(p, e)))
				return NULL;
			if (!strcmp(symbol, "!~"))
				x = negated(p, call(p, "~", x->at, 2, x, right), true);
			else
				x = call(p, !strcmp(symbol, "!=") ? "<>" : symbol, x->at, 2, x, right);
			continue;
		}
		if (is_word(p, "is")) {
			x = parse_is(p, x, e);
			continue;
		}
		if (is_word(p, "not")) {
			no = true;
			if (!next(p, e))
				return NULL;
		}
		if (is_word(p, "between"))
			x = negated(p, parse_between(p, x, e), no);
		else if (is_word(p, "in"))
			x = negated(p, parse_in(p, x, e), no);
		else if (is_word(p, "like"))
			x = negated(p, parse_like(p, x, "like", e), no);
		else if (is_word(p, "ilike"))
			x = negated(p, parse_like(p, x, "ilike", e), no);
		else if (no) {
			lexer_error(&p->lex, e, "between, in, like or ilike");
			return NULL;
		} else {
			return x;
		}
	}
	return NULL;
}

static struct expr *parse_not(struct parser *p, struct error *e)
{
	uint32_t at = p->lex.token.at;
	struct expr *x;

	if (!is_word(p, "not"))
		return parse_comparison(p, e);
	if (++p->depth > EXPR_DEPTH_MAX) {
		lexer_error(&p->lex, e, "less nesting");
		return NULL;
	}
	if (!next(p, e))
		return NULL;
	x = parse_not(p, e);
	p->depth--;
	return x ? call(p, "not", at, 1, x) : NULL;
}

static struct expr *parse_logic(struct parser *p, const char *word,
	struct expr *(*tighter)(struct parser *p, struct error *e), struct error *e)
{
	struct expr *x = tighter(p, e), *right;

	while (x && is_word(p, word)) {
		if (!next(p, e) || !(right = tighter(p, e)))
			return NULL;
		x = call(p, word, x->at, 2, x, right);
	}
	return x;
}

static struct expr *parse_and(struct parser *p, struct error *e)
{
	return parse_logic(p, "and", parse_not, e);
}

static struct expr *parse_or(struct parser *p, struct error *e)
{
	struct expr *x;

	if (++p->depth > EXPR_DEPTH_MAX) {
		lexer_error(&p->lex, e, "less nesting");
		return NULL;
	}
	x = parse_logic(p, "or", parse_and, e);
	p->depth--;
	return x;
}

/* ---- whole texts ---- */

static int parser_init(struct parser *p, const char *text, const char *what, struct arena *a,
	struct error *e)
{
	size_t len = strlen(text);

	if (len > EXPR_TEXT_MAX)
		return error_set(e, ERROR_USAGE, "%s: longer than a megabyte", what);
	if (!utf8_valid(text, len))
		return error_set(e, ERROR_USAGE, "%s: the text is not UTF-8 (byte %zu)", what,
			utf8_valid_len(text, len) + 1);
	*p = (struct parser){.depth = 0};
	lexer_init(&p->lex, arena_strdup(a, what), arena_strndup(a, text, len), a);
	return lexer_next(&p->lex, e);
}

int expr_parse(const char *text, const char *what, struct arena *a, struct expr **out,
	struct error *e)
{
	struct parser p;

	if (parser_init(&p, text, what, a, e) < 0 || !(*out = parse_or(&p, e)))
		return -1;
	return p.lex.token.kind == TOKEN_END ? 0 : lexer_error(&p.lex, e, "an operator or the end");
}

/* ---- select lists ---- */

static bool parse_name(struct parser *p, const char **out, struct error *e)
{
	if (p->lex.token.kind != TOKEN_NAME && p->lex.token.kind != TOKEN_QUOTED) {
		lexer_error(&p->lex, e, "a name");
		return false;
	}
	*out = p->lex.token.text;
	return next(p, e);
}

/* (a, b) behind except; (a as b, c as d) behind rename, with `to` given. */
static bool parse_names(struct parser *p, const char ***from, const char ***to, size_t *n,
	struct error *e)
{
	bool more = true;
	size_t cap = 0;

	if (!expect_symbol(p, "(", e))
		return false;
	while (more) {
		if (*n == cap) {
			size_t old = cap;

			cap = cap ? cap * 2 : 8;
			const char **grown = ARENA_ARRAY(p->lex.arena, const char *, cap);
			const char **grown_to = ARENA_ARRAY(p->lex.arena, const char *, cap);

			if (old) {
				memcpy(grown, *from, old * sizeof *grown);
				if (to)
					memcpy(grown_to, *to, old * sizeof *grown_to);
			}
			*from = grown;
			if (to)
				*to = grown_to;
		}
		if (!parse_name(p, &(*from)[*n], e))
			return false;
		if (to && (!expect_word(p, "as", e) || !parse_name(p, &(*to)[*n], e)))
			return false;
		(*n)++;
		if (!take_symbol(p, ",", &more, e))
			return false;
	}
	return expect_symbol(p, ")", e);
}

static int parse_star(struct parser *p, struct select_item *item, struct error *e)
{
	item->kind = SELECT_STAR;
	if (!next(p, e))
		return -1;
	if (is_word(p, "except") || is_word(p, "exclude")) {
		if (!next(p, e) || !parse_names(p, &item->except, NULL, &item->except_len, e))
			return -1;
	}
	if (is_word(p, "rename")) {
		if (!next(p, e) || !parse_names(p, &item->rename_from, &item->rename_to,
			&item->rename_len, e))
			return -1;
	}
	return 0;
}

/* An item's own text, white space folded to single spaces. */
static const char *folded_text(struct parser *p, uint32_t from, uint32_t to)
{
	char *text = arena_alloc(p->lex.arena, to - from + 1);
	size_t len = 0;

	for (uint32_t i = from; i < to; i++) {
		char c = p->lex.source[i];

		if (!isspace((unsigned char)c))
			text[len++] = c;
		else if (len && text[len - 1] != ' ')
			text[len++] = ' ';
	}
	while (len && text[len - 1] == ' ')
		len--;
	text[len] = '\0';
	return text;
}

/* A column's plain name names the result; a.b is b's text a.b. */
static const char *default_name(struct parser *p, const struct expr *x, uint32_t from, uint32_t to)
{
	return x->kind == NODE_COLUMN ? x->name : folded_text(p, from, to);
}

static int parse_item(struct parser *p, struct select_item *item, struct error *e)
{
	uint32_t from = p->lex.token.at;

	item->at = from;
	if (is_symbol(p, "*"))
		return parse_star(p, item, e);
	item->kind = SELECT_EXPR;
	if (!(item->expr = parse_or(p, e)))
		return -1;
	item->name = default_name(p, item->expr, from, p->lex.token.at);
	if (!is_word(p, "as"))
		return 0;
	item->named = true;
	return next(p, e) && parse_name(p, &item->name, e) ? 0 : -1;
}

int select_parse(const char *text, const char *what, struct arena *a, struct select_list *out,
	struct error *e)
{
	struct select_item *items = NULL;
	size_t cap = 0;
	struct parser p;
	bool more = true;
	int status = -1;

	*out = (struct select_list){.items = NULL};
	if (parser_init(&p, text, what, a, e) < 0)
		return -1;
	out->text = p.lex.source;
	while (more) {
		MEM_GROW(items, cap, out->len + 1);
		items[out->len] = (struct select_item){.kind = SELECT_EXPR};
		if (parse_item(&p, &items[out->len++], e) < 0 || !take_symbol(&p, ",", &more, e))
			goto out;
	}
	if (p.lex.token.kind != TOKEN_END) {
		lexer_error(&p.lex, e, "',', 'as' or the end");
		goto out;
	}
	out->items = ARENA_ARRAY(a, struct select_item, out->len);
	memcpy(out->items, items, out->len * sizeof *items);
	status = 0;
out:
	mem_free(items);
	return status;
}

/* ---- orders ---- */

static int parse_order_item(struct parser *p, struct order_item *item, struct error *e)
{
	if (!(item->expr = parse_or(p, e)))
		return -1;
	item->descending = is_word(p, "desc");
	if ((item->descending || is_word(p, "asc")) && !next(p, e))
		return -1;
	item->nulls_first = !item->descending;
	if (!is_word(p, "nulls"))
		return 0;
	if (!next(p, e))
		return -1;
	item->nulls_first = is_word(p, "first");
	if (!item->nulls_first && !is_word(p, "last"))
		return lexer_error(&p->lex, e, "first or last");
	return next(p, e) ? 0 : -1;
}

int order_parse(const char *text, const char *what, struct arena *a, struct order_list *out,
	struct error *e)
{
	struct order_item *items = NULL;
	size_t cap = 0;
	struct parser p;
	bool more = true;
	int status = -1;

	*out = (struct order_list){.items = NULL};
	if (parser_init(&p, text, what, a, e) < 0)
		return -1;
	while (more) {
		MEM_GROW(items, cap, out->len + 1);
		if (parse_order_item(&p, &items[out->len++], e) < 0 ||
			!take_symbol(&p, ",", &more, e))
			goto out;
	}
	if (p.lex.token.kind != TOKEN_END) {
		lexer_error(&p.lex, e, "',', asc, desc, nulls or the end");
		goto out;
	}
	out->items = ARENA_ARRAY(a, struct order_item, out->len);
	memcpy(out->items, items, out->len * sizeof *items);
	status = 0;
out:
	mem_free(items);
	return status;
}

int expr_refuse(const struct expr *x, struct error *e, const char *message)
{
	return expr_error(x, e, "%s", message);
}
