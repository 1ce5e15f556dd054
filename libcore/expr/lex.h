/* SQL text to tokens, private to expr/. */
#ifndef RUNNEL_EXPR_LEX_H
#define RUNNEL_EXPR_LEX_H

#include "libcore/expr/tree.h"

enum token_kind {
	TOKEN_END,
	TOKEN_NAME,    /* identifier or keyword: text, as written */
	TOKEN_QUOTED,  /* "name": text without the quotes, doubled ones undone */
	TOKEN_STRING,  /* 'text', likewise */
	TOKEN_INT,     /* digits */
	TOKEN_NUMBER,  /* with a point or an exponent */
	TOKEN_SYMBOL,  /* an operator or a mark: text */
};

struct token {
	enum token_kind kind;
	uint32_t at, end;
	const char *text;   /* in the arena, terminated */
	size_t len;
};

struct lexer {
	const char *what, *source; /* source: terminated, in the arena */
	uint32_t at;
	struct arena *arena;
	struct token token;        /* the present one */
};

void lexer_init(struct lexer *l, const char *what, const char *source, struct arena *a);
int lexer_next(struct lexer *l, struct error *e);

/* Whether the present token is this symbol, or this keyword in any case. */
bool lexer_is_symbol(const struct lexer *l, const char *symbol);
bool lexer_is_word(const struct lexer *l, const char *keyword);

int lexer_error(const struct lexer *l, struct error *e, const char *expected);

#endif
