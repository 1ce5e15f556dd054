#include "cmd/smatch/pattern.h"

#include "libcore/base/memory.h"
#include "libcore/base/number.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
	DEPTH_MAX = 200,
	COUNT_MAX = 1000,
	PERMUTE_MAX = 6, /* 720 orders */
	CODE_MAX = 4 * PATTERN_STEPS_MAX,
};

/* ---- the tree ---- */

enum node_kind { NODE_VARIABLE, NODE_SEQUENCE, NODE_EITHER, NODE_REPEAT, NODE_PERMUTE, NODE_EXCLUDE };

struct node {
	enum node_kind kind;
	uint8_t variable;
	struct node **items; /* of SEQUENCE, EITHER, PERMUTE; of the others the first */
	size_t len, cap;
	int64_t least, most; /* REPEAT; most < 0: any number */
	bool reluctant;
};

struct parser {
	const char *text, *what;
	size_t at;
	unsigned depth;
	struct arena *arena;
	struct pattern *out;
	struct error *e;
};

/* "--pattern:1:7: message", the line and a caret. */
static void *refuse(struct parser *p, size_t at, const char *message)
{
	const char *line = p->text + at, *end;
	unsigned row = 1;

	while (line > p->text && line[-1] != '\n')
		line--;
	for (const char *c = p->text; c < line; c++)
		row += *c == '\n';
	end = line + strcspn(line, "\n");
	error_set(p->e, ERROR_USAGE, "%s:%u:%zu: %s", p->what, row,
		(size_t)(p->text + at - line) + 1, message);
	error_hint(p->e, "  %.*s\n  %*s^", (int)(end - line), line, (int)(p->text + at - line), "");
	return NULL;
}

static void skip_space(struct parser *p)
{
	for (;;) {
		while (isspace((unsigned char)p->text[p->at]))
			p->at++;
		if (p->text[p->at] != '-' || p->text[p->at + 1] != '-' || p->text[p->at + 2] == '}')
			return;
		p->at += strcspn(p->text + p->at, "\n"); /* a comment */
	}
}

static bool is_at(struct parser *p, const char *symbol)
{
	skip_space(p);
	return strncmp(p->text + p->at, symbol, strlen(symbol)) == 0;
}

static bool take(struct parser *p, const char *symbol)
{
	if (!is_at(p, symbol))
		return false;
	p->at += strlen(symbol);
	return true;
}

static struct node *new_node(struct parser *p, enum node_kind kind)
{
	struct node *n = ARENA_NEW(p->arena, struct node);

	n->kind = kind;
	return n;
}

static void add_item(struct parser *p, struct node *n, struct node *item)
{
	if (n->len == n->cap) {
		struct node **grown;

		n->cap = n->cap ? 2 * n->cap : 4;
		grown = ARENA_ARRAY(p->arena, struct node *, n->cap);
		if (n->len)
			memcpy(grown, n->items, n->len * sizeof(*grown));
		n->items = grown;
	}
	n->items[n->len++] = item;
}

/* ---- names ---- */

static bool is_name_byte(char c, bool first)
{
	return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80 ||
		(!first && isdigit((unsigned char)c));
}

/* A name at the present place; NULL: there is none. */
static const char *take_name(struct parser *p)
{
	size_t from;

	skip_space(p);
	from = p->at;
	if (p->text[p->at] == '"') {
		const char *close = strchr(p->text + from + 1, '"');

		if (!close || close == p->text + from + 1)
			return NULL;
		p->at = (size_t)(close - p->text) + 1;
		return arena_strndup(p->arena, p->text + from + 1, (size_t)(close - p->text) - from - 1);
	}
	if (!is_name_byte(p->text[p->at], true))
		return NULL;
	while (is_name_byte(p->text[p->at], false))
		p->at++;
	return arena_strndup(p->arena, p->text + from, p->at - from);
}

int pattern_find(const struct pattern *p, const char *name, size_t len)
{
	for (size_t i = 0; i < p->variables_len; i++) {
		if (strlen(p->variables[i]) == len && memcmp(p->variables[i], name, len) == 0)
			return (int)i;
	}
	return -1;
}

/* ---- syntax ---- */

static struct node *parse_either(struct parser *p);

static struct node *parse_variable(struct parser *p, const char *name, size_t at)
{
	struct node *n = new_node(p, NODE_VARIABLE);
	int known = pattern_find(p->out, name, strlen(name));

	if (known < 0) {
		if (p->out->variables_len == PATTERN_VARIABLES_MAX)
			return refuse(p, at, "a pattern has up to 63 variables");
		known = (int)p->out->variables_len;
		p->out->variables[p->out->variables_len++] = name;
	}
	n->variable = (uint8_t)known;
	return n;
}

static struct node *parse_permute(struct parser *p)
{
	struct node *n = new_node(p, NODE_PERMUTE), *item;
	size_t at = p->at;

	do {
		item = parse_either(p);
		if (!item)
			return NULL;
		add_item(p, n, item);
	} while (take(p, ","));
	if (!take(p, ")"))
		return refuse(p, p->at, "PERMUTE's parts stand between commas, and a ) ends them");
	return n->len > PERMUTE_MAX ? refuse(p, at, "PERMUTE takes up to 6 parts: they are 720 orders") : n;
}

static struct node *parse_enclosed(struct parser *p, const char *close, size_t at)
{
	struct node *n = parse_either(p);

	if (!n || take(p, close))
		return n;
	skip_space(p);
	return refuse(p, p->text[p->at] ? p->at : at, p->text[p->at]
		? "a variable, a quantifier or what closes the group should be here"
		: "the pattern ends before this is closed");
}

static struct node *parse_primary(struct parser *p)
{
	struct node *n;
	const char *name;
	size_t at;

	skip_space(p);
	at = p->at;
	if (take(p, "{-")) {
		struct node *inside = parse_enclosed(p, "-}", at);

		n = new_node(p, NODE_EXCLUDE);
		if (inside)
			add_item(p, n, inside);
		return inside ? n : NULL;
	}
	if (take(p, "("))
		return parse_enclosed(p, ")", at);
	name = take_name(p);
	if (name && p->text[at] != '"' && strcasecmp(name, "permute") == 0 && take(p, "("))
		return parse_permute(p);
	if (name)
		return parse_variable(p, name, at);
	if (p->text[at] == '^' || p->text[at] == '$')
		return refuse(p, at, "anchors need an end of all rows, which a stream hasn't; they can't be used");
	return refuse(p, at, p->text[at] ? "a variable, ( or {- should be here"
					 : "the pattern ends where a variable should be");
}

static bool take_count(struct parser *p, int64_t *out)
{
	size_t from, len = 0;

	skip_space(p);
	from = p->at;
	while (isdigit((unsigned char)p->text[from + len]))
		len++;
	p->at += len;
	return len && len < 10 && int_parse(p->text + from, len, out) == NUMBER_OK;
}

/* {2} {2,} {,3} {2,3} behind its {.  false: it is none. */
static bool parse_counts(struct parser *p, int64_t *least, int64_t *most)
{
	bool has_least = take_count(p, least);

	if (!has_least)
		*least = 0;
	*most = *least;
	if (take(p, ",")) {
		if (!take_count(p, most))
			*most = -1;
	} else if (!has_least) {
		return false;
	}
	return take(p, "}") && (*most < 0 || *most >= *least) && *least <= COUNT_MAX &&
		*most <= COUNT_MAX && (has_least || *most >= 0);
}

static struct node *parse_quantified(struct parser *p)
{
	struct node *n = parse_primary(p), *repeat;
	int64_t least = 0, most = -1;
	size_t at;

	if (!n)
		return NULL;
	skip_space(p);
	at = p->at;
	if (take(p, "*")) {
		least = 0;
	} else if (take(p, "+")) {
		least = 1;
	} else if (take(p, "?")) {
		most = 1;
	} else if (!is_at(p, "{-") && take(p, "{")) {
		if (!parse_counts(p, &least, &most))
			return refuse(p, at, "a count is {2}, {2,}, {,3} or {2,3}, up to 1000");
	} else {
		return n;
	}
	repeat = new_node(p, NODE_REPEAT);
	add_item(p, repeat, n);
	repeat->least = least;
	repeat->most = most;
	repeat->reluctant = take(p, "?");
	skip_space(p);
	if (p->text[p->at] && strchr("*+?", p->text[p->at]))
		return refuse(p, p->at, "a quantifier behind a quantifier: put the first in parentheses");
	return repeat;
}

static struct node *parse_sequence(struct parser *p)
{
	struct node *n = new_node(p, NODE_SEQUENCE), *item;

	do {
		item = parse_quantified(p);
		if (!item)
			return NULL;
		add_item(p, n, item);
		skip_space(p);
	} while (p->text[p->at] && !is_at(p, ")") && !is_at(p, "|") && !is_at(p, "-}") && !is_at(p, ","));
	return n;
}

static struct node *parse_either(struct parser *p)
{
	struct node *n = new_node(p, NODE_EITHER), *item;

	if (++p->depth > DEPTH_MAX)
		return refuse(p, p->at, "groups nested too deeply");
	do {
		item = parse_sequence(p);
		if (!item)
			return NULL;
		add_item(p, n, item);
	} while (take(p, "|"));
	p->depth--;
	return n;
}

/* ---- code: Thompson's construction ---- */

struct code {
	enum { CODE_ROW, CODE_SPLIT, CODE_JUMP, CODE_DONE } kind;
	uint8_t variable;
	bool excluded;
	uint32_t to, or_to; /* SPLIT: rather the first; JUMP of a loop: back, and what lies behind it */
};

struct compiler {
	struct code *code;
	size_t len;
	bool too_long;
};

static size_t put(struct compiler *c, struct code code)
{
	if (c->len == CODE_MAX) {
		c->too_long = true;
		return CODE_MAX - 1;
	}
	c->code[c->len] = code;
	return c->len++;
}

static void compile(struct compiler *c, const struct node *n, bool excluded);

static void compile_either(struct compiler *c, const struct node *const *items, size_t len, bool excluded)
{
	size_t split, jump;

	if (len == 1) {
		compile(c, *items, excluded);
		return;
	}
	split = put(c, (struct code){.kind = CODE_SPLIT});
	c->code[split].to = (uint32_t)c->len;
	compile(c, *items, excluded);
	jump = put(c, (struct code){.kind = CODE_JUMP});
	c->code[split].or_to = (uint32_t)c->len;
	compile_either(c, items + 1, len - 1, excluded);
	c->code[jump].to = (uint32_t)c->len;
}

static void swap(uint8_t *a, uint8_t *b)
{
	uint8_t kept = *a;

	*a = *b;
	*b = kept;
}

/* The next order of places, by their numbers; false: that was the last. */
static bool next_order(uint8_t *places, size_t len)
{
	size_t i = len, k = len;

	while (i > 1 && places[i - 2] > places[i - 1])
		i--;
	if (i < 2)
		return false;
	while (places[k - 1] < places[i - 2])
		k--;
	swap(&places[i - 2], &places[k - 1]);
	for (size_t a = i - 1, b = len - 1; a < b; a++, b--)
		swap(&places[a], &places[b]);
	return true;
}

/* (A B C | A C B | B A C | ...), each whole: what one order does comes before all of the next. */
static void compile_orders(struct compiler *c, struct node *const *items, size_t len, bool excluded)
{
	uint8_t places[PERMUTE_MAX];
	size_t *jumps = NULL, jumps_len = 0, jumps_cap = 0;
	bool more = true;

	for (size_t i = 0; i < len; i++)
		places[i] = (uint8_t)i;
	while (more && !c->too_long) {
		size_t split = put(c, (struct code){.kind = CODE_SPLIT});

		c->code[split].to = (uint32_t)c->len;
		for (size_t i = 0; i < len; i++)
			compile(c, items[places[i]], excluded);
		MEM_GROW(jumps, jumps_cap, jumps_len + 1);
		jumps[jumps_len++] = put(c, (struct code){.kind = CODE_JUMP});
		more = next_order(places, len);
		/* The last has nothing to turn to: a place already seen. */
		c->code[split].or_to = more ? (uint32_t)c->len : c->code[split].to;
	}
	for (size_t i = 0; i < jumps_len; i++)
		c->code[jumps[i]].to = (uint32_t)c->len;
	mem_free(jumps);
}

/* Goes to what follows it; set_exit says where else. */
static size_t put_split(struct compiler *c)
{
	size_t split = put(c, (struct code){.kind = CODE_SPLIT});

	c->code[split].to = (uint32_t)c->len;
	return split;
}

/* Where the split goes if the part behind it isn't taken once more. */
static void set_exit(struct compiler *c, size_t split, bool reluctant)
{
	struct code *s = &c->code[split];
	uint32_t once_more = s->to;

	s->to = reluctant ? (uint32_t)c->len : once_more;
	s->or_to = reluctant ? once_more : (uint32_t)c->len;
}

static void compile_repeat(struct compiler *c, const struct node *n, bool excluded)
{
	size_t more = n->most < 0 ? 1 : (size_t)(n->most - n->least);
	size_t *splits = mem_alloc((more + 1) * sizeof *splits);

	for (int64_t i = 0; i < n->least; i++)
		compile(c, n->items[0], excluded);
	/* X{0,2} is (X (X)?)?: leaving any of them leaves all. */
	for (size_t i = 0; i < more; i++) {
		splits[i] = put_split(c);
		compile(c, n->items[0], excluded);
	}
	if (n->most < 0)
		put(c, (struct code){.kind = CODE_JUMP, .to = (uint32_t)splits[0],
			.or_to = (uint32_t)c->len + 1});
	for (size_t i = 0; i < more; i++)
		set_exit(c, splits[i], n->reluctant);
	mem_free(splits);
}

static void compile(struct compiler *c, const struct node *n, bool excluded)
{
	if (c->too_long)
		return;
	switch (n->kind) {
	case NODE_VARIABLE:
		put(c, (struct code){.kind = CODE_ROW, .variable = n->variable, .excluded = excluded});
		return;
	case NODE_SEQUENCE:
		for (size_t i = 0; i < n->len; i++)
			compile(c, n->items[i], excluded);
		return;
	case NODE_EITHER:
		compile_either(c, (const struct node *const *)n->items, n->len, excluded);
		return;
	case NODE_REPEAT: compile_repeat(c, n, excluded); return;
	case NODE_PERMUTE:
		compile_orders(c, n->items, n->len, excluded);
		return;
	case NODE_EXCLUDE: compile(c, n->items[0], true); return;
	}
}

/* ---- steps: what consumes a row, and where it leads ---- */

struct closure {
	const struct code *code;
	const uint16_t *step_of; /* by code */
	uint32_t *seen;          /* by code: the walk in which it was */
	uint32_t walk;
	uint32_t *stack;
	uint16_t *found;
	uint32_t len;
};

/* Everything that consumes a row and is reached from here without one, in the order of preference.
 * A place that comes a second time is left out; a loop that comes round without a row is left. */
static void walk(struct closure *c, uint32_t from)
{
	size_t depth = 0;

	c->walk++;
	c->len = 0;
	c->stack[depth++] = from;
	while (depth) {
		uint32_t at = c->stack[--depth];
		const struct code *x = &c->code[at];

		if (c->seen[at] == c->walk && x->kind != CODE_JUMP)
			continue;
		c->seen[at] = c->walk;
		if (x->kind == CODE_SPLIT) {
			c->stack[depth++] = x->or_to;
			c->stack[depth++] = x->to;
		} else if (x->kind == CODE_JUMP) {
			bool is_round = x->or_to && c->seen[x->to] == c->walk;

			c->stack[depth++] = is_round ? x->or_to : x->to;
		} else {
			c->found[c->len++] = x->kind == CODE_DONE ? PATTERN_DONE : c->step_of[at];
		}
	}
}

/* What stands behind DONE is never taken. */
static struct pattern_next keep(const struct closure *c, struct arena *a)
{
	uint32_t len = 0;
	uint16_t *steps;

	while (len < c->len && c->found[len] != PATTERN_DONE)
		len++;
	len += len < c->len;
	steps = ARENA_ARRAY(a, uint16_t, len + 1);
	if (len)
		memcpy(steps, c->found, len * sizeof *steps);
	return (struct pattern_next){steps, len};
}

static int link_steps(struct parser *p, const struct compiler *c)
{
	uint16_t *step_of = mem_zero((c->len + 1) * sizeof *step_of);
	struct closure closure = {.code = c->code, .step_of = step_of,
		.seen = mem_zero((c->len + 1) * sizeof(uint32_t)),
		.stack = mem_alloc((2 * c->len + 2) * sizeof(uint32_t)),
		.found = mem_alloc((c->len + 1) * sizeof(uint16_t))};
	struct pattern *out = p->out;
	size_t ways;

	for (size_t i = 0; i < c->len; i++) {
		if (c->code[i].kind == CODE_ROW)
			step_of[i] = (uint16_t)out->steps_len++;
	}
	out->steps = ARENA_ARRAY(p->arena, struct pattern_step, out->steps_len + 1);
	walk(&closure, 0);
	out->start = keep(&closure, p->arena);
	ways = out->start.len;
	for (size_t i = 0; i < c->len && ways <= PATTERN_WAYS_MAX; i++) {
		struct pattern_step *s = &out->steps[step_of[i]];

		if (c->code[i].kind != CODE_ROW)
			continue;
		walk(&closure, (uint32_t)i + 1);
		s->variable = c->code[i].variable;
		s->excluded = c->code[i].excluded;
		s->next = keep(&closure, p->arena);
		ways += s->next.len;
	}
	mem_free(closure.seen);
	mem_free(closure.stack);
	mem_free(closure.found);
	mem_free(step_of);
	return ways <= PATTERN_WAYS_MAX ? 0 : error_set(p->e, ERROR_USAGE, "%s: written out, the pattern has more "
		"than %d ways from a row to the next", p->what, PATTERN_WAYS_MAX);
}

int pattern_parse(const char *text, const char *what, struct arena *a, struct pattern *out,
	struct error *e)
{
	struct parser p = {.text = text, .what = what, .arena = a, .out = out, .e = e};
	struct compiler c = {.code = NULL};
	struct node *n;
	size_t steps = 0;
	int status = 0;

	*out = (struct pattern){.variables = ARENA_ARRAY(a, const char *, PATTERN_VARIABLES_MAX)};
	skip_space(&p);
	if (!text[p.at]) {
		error_set(e, ERROR_USAGE, "%s is empty", what);
		return error_hint(e, "for example: --pattern 'SMALL BIG+'");
	}
	n = parse_either(&p);
	if (!n)
		return -1;
	skip_space(&p);
	if (text[p.at]) {
		refuse(&p, p.at, text[p.at] == ')' ? "this ) closes nothing" : "the pattern should end here");
		return -1;
	}
	c.code = mem_alloc(CODE_MAX * sizeof *c.code);
	compile(&c, n, false);
	put(&c, (struct code){.kind = CODE_DONE});
	for (size_t i = 0; i < c.len; i++)
		steps += c.code[i].kind == CODE_ROW;
	if (c.too_long || steps > PATTERN_STEPS_MAX)
		status = error_set(e, ERROR_USAGE, "%s: written out, the pattern has more than %d steps", what,
			PATTERN_STEPS_MAX);
	else
		status = link_steps(&p, &c);
	mem_free(c.code);
	return status;
}
