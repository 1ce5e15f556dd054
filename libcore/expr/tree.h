/* The tree of an expression, private to expr/.  Operators are calls by a name that no identifier has
 * ("+", "and", "is null"), so that compiling knows one shape. */
#ifndef RUNNEL_EXPR_TREE_H
#define RUNNEL_EXPR_TREE_H

#include "libcore/expr/expr.h"

enum node_kind {
	NODE_LITERAL,  /* type, and value as below; a null literal has type kind 0 */
	NODE_COLUMN,   /* name */
	NODE_FIELD,    /* args[0] . name: a path into any, or a column named so */
	NODE_CALL,     /* name(args) */
	NODE_CAST,     /* args[0] to type; name "cast" or "try_cast" */
};

struct expr {
	enum node_kind kind;
	uint32_t at, end;        /* bytes of the text it came from */
	const char *source;      /* the whole text, for messages */
	const char *what;        /* what the text is called in messages */
	const char *name;
	bool quoted;             /* COLUMN: "name", never a keyword or path */
	struct type type;        /* LITERAL, CAST */
	struct expr **args;
	size_t args_len;

	/* LITERAL */
	int64_t integer;         /* int, bool, date, timestamp, duration */
	int64_t months;          /* duration: interval '1 month', which only + and - of a time take */
	double real;
	const char *text;        /* string; of numbers: as written */
	size_t text_len;

	/* CALL of an aggregate */
	bool distinct, star;
	struct expr *filter;
};

enum { EXPR_DEPTH_MAX = 400, EXPR_TEXT_MAX = 1 << 20, EXPR_ARGS_MAX = 1000 };

bool expr_is_null_literal(const struct expr *x);
bool expr_is_string_literal(const struct expr *x);

/* The names of the aggregates, for suggestions; returns their number. */
size_t expr_aggregate_names(const char *const **out);

/* "<what>:line:column: <message>", the source line and a caret. */
int expr_error(const struct expr *x, struct error *e, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As expr_error for a place in a text that is no node yet. */
struct source_place {
	const char *what, *source;
	uint32_t at;
};
int source_error(const struct source_place *p, struct error *e, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds the place and the caret to an error that is set already. */
int source_context(const struct source_place *p, struct error *e);

#endif
