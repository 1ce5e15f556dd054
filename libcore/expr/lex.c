#include "libcore/expr/lex.h"

#include "libcore/base/utf8.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

void lexer_init(struct lexer *l, const char *what, const char *source, struct arena *a)
{
	*l = (struct lexer){.what = what, .source = source, .arena = a};
}

int source_context(const struct source_place *p, struct error *e)
{
	uint32_t line = 1, start = 0, end;
	char *hints = strchr(e->text, '\n'), kept[ERROR_TEXT_MAX];
	size_t caret;

	/* What helps further stands behind the caret, not between it and the sentence. */
	snprintf(kept, sizeof kept, "%s", hints ? hints + 1 : "");
	if (hints)
		*hints = '\0';

	for (uint32_t i = 0; i < p->at && p->source[i]; i++) {
		if (p->source[i] == '\n') {
			line++;
			start = i + 1;
		}
	}
	end = start + (uint32_t)strcspn(p->source + start, "\n");
	error_context(e, "%s:%u:%u", p->what, line, p->at - start + 1);
	if (end - start <= 160) { /* a caret far to the right helps nobody */
		caret = utf8_count(p->source + start, p->at - start);
		error_hint(e, "  %.*s", (int)(end - start), p->source + start);
		error_hint(e, "  %*s^", (int)caret, "");
	}
	return *kept ? error_hint(e, "%s", kept) : -1;
}

int source_error(const struct source_place *p, struct error *e, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	error_set(e, ERROR_USAGE, "%s", text);
	return source_context(p, e);
}

static int error_here(const struct lexer *l, uint32_t at, const char *message, struct error *e)
{
	struct source_place p = {l->what, l->source, at};

	return source_error(&p, e, "%s", message);
}

int lexer_error(const struct lexer *l, struct error *e, const char *expected)
{
	struct source_place p = {l->what, l->source, l->token.at};

	if (l->token.kind == TOKEN_END)
		return source_error(&p, e, "expected %s, but the text ends here", expected);
	return source_error(&p, e, "expected %s, not '%.*s'", expected,
		(int)(l->token.end - l->token.at), l->source + l->token.at);
}

/* White space and "--" comments. */
static void skip_space(struct lexer *l)
{
	for (;;) {
		while (isspace((unsigned char)l->source[l->at]))
			l->at++;
		if (l->source[l->at] != '-' || l->source[l->at + 1] != '-')
			return;
		l->at += (uint32_t)strcspn(l->source + l->at, "\n");
	}
}

static bool is_name_start(char c)
{
	return isalpha((unsigned char)c) || c == '_' || c == '#' || (c & 0x80);
}

static bool is_name_part(char c)
{
	return is_name_start(c) || isdigit((unsigned char)c);
}

/* 'text' or "name": the quote doubled stands for itself. */
static int lex_quoted(struct lexer *l, char quote, enum token_kind kind, struct error *e)
{
	const char *p = l->source + l->at + 1;
	char *out = arena_alloc(l->arena, strlen(p) + 1);
	size_t len = 0;

	for (;; p++) {
		if (!*p)
			return error_here(l, l->at, quote == '"' ? "unterminated \"name\"" :
				"unterminated 'text'", e);
		if (*p == quote && *++p != quote)
			break;
		out[len++] = *p;
	}
	out[len] = '\0';
	l->token.kind = kind;
	l->token.text = out;
	l->token.len = len;
	l->at = (uint32_t)(p - l->source);
	if (kind == TOKEN_QUOTED && !len)
		return error_here(l, l->token.at, "an empty name", e);
	return 0;
}

static int lex_number(struct lexer *l, struct error *e)
{
	uint32_t at = l->at;
	const char *s = l->source;
	bool whole = true;

	while (isdigit((unsigned char)s[at]))
		at++;
	if (s[at] == '.' && s[at + 1] != '.') {
		whole = false;
		for (at++; isdigit((unsigned char)s[at]); at++)
			;
	}
	if ((s[at] | 32) == 'e') {
		uint32_t from = at++;

		if (s[at] == '+' || s[at] == '-')
			at++;
		if (!isdigit((unsigned char)s[at]))
			at = from;
		else
			whole = false;
		while (at > from && isdigit((unsigned char)s[at]))
			at++;
	}
	if (is_name_part(s[at]))
		return error_here(l, l->at, "a number with letters in it", e);
	l->token.kind = whole ? TOKEN_INT : TOKEN_NUMBER;
	l->token.len = at - l->at;
	l->token.text = arena_strndup(l->arena, s + l->at, l->token.len);
	l->at = at;
	return 0;
}

/* What other languages write for what SQL calls otherwise. */
static int lex_foreign(const struct lexer *l, struct error *e)
{
	static const struct {
		const char *text, *message;
	} foreign[] = {
		{"==", "equality is written ="},
		{"&&", "'and' is written in letters"},
		{"&", "there is no &; 'and' is written in letters"},
		{"|", "there is no |; 'or' is written in letters, || joins texts"},
		{"!", "'not' is written in letters"},
		{"$", "unexpected $ (did the shell expand something? quote the expression with '...')"},
		{"`", "unexpected ` (did the shell expand something? quote the expression with '...')"},
		{";", "one expression only, without ';'"},
	};
	const char *s = l->source + l->at;

	for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
		if (!strncmp(s, foreign[i].text, strlen(foreign[i].text)))
			return error_here(l, l->at, foreign[i].message, e);
	}
	return error_here(l, l->at, "unexpected character", e);
}

static int lex_symbol(struct lexer *l, struct error *e)
{
	static const char *const symbols[] = {"<>", "!=", "<=", ">=", "||", "::", "!~", "+", "-", "*",
		"/", "%", "(", ")", "[", "]", ",", ".", "<", ">", "=", "~", ":"};

	if (!strncmp(l->source + l->at, "==", 2))
		return lex_foreign(l, e);
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
		size_t len = strlen(symbols[i]);

		if (strncmp(l->source + l->at, symbols[i], len) != 0)
			continue;
		l->token.kind = TOKEN_SYMBOL;
		l->token.text = symbols[i];
		l->token.len = len;
		l->at += (uint32_t)len;
		return 0;
	}
	return lex_foreign(l, e);
}

int lexer_next(struct lexer *l, struct error *e)
{
	char c;
	int status;

	skip_space(l);
	c = l->source[l->at];
	l->token = (struct token){.kind = TOKEN_END, .at = l->at, .end = l->at, .text = ""};
	if (!c)
		return 0;
	if (c == '\'')
		status = lex_quoted(l, c, TOKEN_STRING, e);
	else if (c == '"')
		status = lex_quoted(l, c, TOKEN_QUOTED, e);
	else if (isdigit((unsigned char)c) ||
		(c == '.' && isdigit((unsigned char)l->source[l->at + 1])))
		status = lex_number(l, e);
	else if (is_name_start(c)) {
		uint32_t at = l->at;

		while (is_name_part(l->source[l->at]))
			l->at++;
		l->token.kind = TOKEN_NAME;
		l->token.len = l->at - at;
		l->token.text = arena_strndup(l->arena, l->source + at, l->token.len);
		status = 0;
	} else {
		status = lex_symbol(l, e);
	}
	l->token.end = l->at;
	return status;
}

bool lexer_is_symbol(const struct lexer *l, const char *symbol)
{
	return l->token.kind == TOKEN_SYMBOL && !strcmp(l->token.text, symbol);
}

bool lexer_is_word(const struct lexer *l, const char *keyword)
{
	return l->token.kind == TOKEN_NAME && !strcasecmp(l->token.text, keyword);
}
