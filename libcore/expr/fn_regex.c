/* Regular expressions: PCRE2, compiled once where the pattern is constant, with its JIT where there
 * is one.  A pattern that goes astray on a text fails the row instead of holding up the stream. */
#include "libcore/expr/kernel.h"

#include "libcore/base/memory.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>

/* Backtracking steps a match may take, some 10 ms; JIT stack as PCRE2's documentation advises. */
enum { STEPS_MAX = 1000000, STACK_LEAST = 32 << 10, STACK_MOST = 1 << 20, HEAP_MAX_KB = 16 << 10 };

enum { CASELESS = 1, ALL = 2 };

struct regex {
	pcre2_code *code;
	pcre2_match_data *match;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	char *pattern; /* what code was compiled from */
	size_t pattern_len;
	unsigned flags;
	char why[300]; /* that it didn't compile */
};

static void drop_code(struct regex *x)
{
	pcre2_match_data_free(x->match);
	pcre2_code_free(x->code);
	mem_free(x->pattern);
	x->match = NULL;
	x->code = NULL;
	x->pattern = NULL;
}

static void regex_free(void *state)
{
	struct regex *x = state;

	drop_code(x);
	pcre2_match_context_free(x->context);
	pcre2_jit_stack_free(x->stack);
	mem_free(x);
}

static struct regex *regex_new(void)
{
	struct regex *x = mem_zero(sizeof *x);

	x->context = pcre2_match_context_create(NULL);
	x->stack = pcre2_jit_stack_create(STACK_LEAST, STACK_MOST, NULL);
	pcre2_set_match_limit(x->context, STEPS_MAX);
	pcre2_set_heap_limit(x->context, HEAP_MAX_KB);
	pcre2_jit_stack_assign(x->context, NULL, x->stack);
	return x;
}

/* Texts come from outside: MATCH_INVALID_UTF makes none of them undefined. */
static bool regex_compile(struct regex *x, struct text_view pattern, unsigned flags)
{
	uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
	char text[200];
	PCRE2_SIZE at;
	int code;

	drop_code(x);
	x->pattern = mem_strndup(pattern.len ? pattern.text : "", pattern.len);
	x->pattern_len = pattern.len;
	x->flags = flags;
	x->code = pcre2_compile((PCRE2_SPTR)x->pattern, pattern.len,
		options | (flags & CASELESS ? PCRE2_CASELESS : 0), &code, &at, NULL);
	if (!x->code) {
		pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
		snprintf(x->why, sizeof x->why, "regular expression: %s at offset %zu", text,
			(size_t)at);
		return false;
	}
	pcre2_jit_compile(x->code, PCRE2_JIT_COMPLETE);
	x->match = pcre2_match_data_create_from_pattern(x->code, NULL);
	return true;
}

static bool parse_flags(struct text_view v, unsigned *flags)
{
	*flags = 0;
	for (size_t i = 0; i < v.len; i++) {
		if (v.text[i] == 'g')
			*flags |= ALL;
		else if (v.text[i] == 'i')
			*flags |= CASELESS;
		else
			return false;
	}
	return true;
}

/* Which argument is the flags; 0 if none. */
static size_t flags_arg(const struct function *f)
{
	size_t last = strlen(f->signature) - 1;

	return last >= 2 && f->signature[last] == 's' &&
			       (last == 3 || !strcmp(f->name, "regexp_matches"))
		       ? last
		       : 0;
}

struct call_state {
	struct regex *regex;
	size_t flags_at;
};

static void call_free(void *state)
{
	struct call_state *s = state;

	regex_free(s->regex);
	mem_free(s);
}

static const struct vector *constant_arg(const struct resolving *r, size_t i)
{
	const struct vector *v = r->constants[i];

	return v && v->col.type.kind && vector_is_valid(v, 0) ? v : NULL;
}

/* Whether what is constant is good: pattern, flags, group. */
static int check_constants(struct resolving *r, struct call_state *s, struct error *e)
{
	const struct vector *pattern = constant_arg(r, 1), *other;
	unsigned flags = 0;

	other = s->flags_at ? constant_arg(r, s->flags_at) : NULL;
	if (other && !parse_flags(column_text(&other->col, 0), &flags))
		return error_set(e, ERROR_USAGE, "the flags of %s are 'g' (all) and 'i' (any case)",
			r->function->name);
	if (!pattern || (s->flags_at && !other))
		return 0;
	if (!regex_compile(s->regex, column_text(&pattern->col, 0), flags))
		return error_set(e, ERROR_USAGE, "%s", s->regex->why);
	return 0;
}

static int resolve_regex(struct resolving *r, struct error *e)
{
	struct call_state *s = mem_zero(sizeof *s);

	s->regex = regex_new();
	s->flags_at = flags_arg(r->function);
	if (check_constants(r, s, e) < 0) {
		call_free(s);
		return -1;
	}
	r->state = s;
	r->free_state = call_free;
	return 0;
}

/* ---- rows ---- */

/* The row's pattern, compiled; only for another than the last row's. */
static struct regex *regex_of(struct kernel *k, uint32_t r)
{
	struct call_state *s = k->state;
	struct text_view pattern = arg_text(k, 1, r);
	unsigned flags = 0;

	if (s->flags_at && !parse_flags(arg_text(k, s->flags_at, r), &flags)) {
		vector_fail(k, r, "flags of a regular expression are g and i");
		return NULL;
	}
	if (s->regex->code && s->regex->pattern_len == pattern.len && s->regex->flags == flags &&
		(!pattern.len || !memcmp(s->regex->pattern, pattern.text, pattern.len)))
		return s->regex;
	if (regex_compile(s->regex, pattern, flags))
		return s->regex;
	vector_fail(k, r, *k->why ? "" : arena_strdup(k->arena, s->regex->why));
	return NULL;
}

/* How many groups matched, 0 for no match; negative: the row has failed. */
static int match(struct kernel *k, uint32_t r, struct regex *x, struct text_view in, size_t from,
	uint32_t options)
{
	int n = pcre2_match(x->code, (PCRE2_SPTR)(in.len ? in.text : ""), in.len, from, options,
		x->match, x->context);

	if (n > 0)
		return n;
	if (n == PCRE2_ERROR_NOMATCH)
		return 0;
	vector_fail(k, r,
		n == PCRE2_ERROR_MATCHLIMIT || n == PCRE2_ERROR_JIT_STACKLIMIT ||
				n == PCRE2_ERROR_HEAPLIMIT || n == PCRE2_ERROR_DEPTHLIMIT
			? "the regular expression backtracks too much on the text"
			: "the regular expression can't be matched with the text");
	return -1;
}

static void run_matches(struct kernel *k)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct regex *x;

		out[r] = 0;
		if (out_is_valid(k, r) && (x = regex_of(k, r)))
			out[r] = match(k, r, x, arg_text(k, 0, r), 0, 0) > 0;
	}
}

/* Group n of the last match; false if it took no part. */
static bool group(
	const struct regex *x, struct text_view in, int matched, int64_t n, struct text_view *out)
{
	const PCRE2_SIZE *at = pcre2_get_ovector_pointer(x->match);

	if (n >= matched || at[2 * n] == PCRE2_UNSET || at[2 * n + 1] < at[2 * n])
		return false;
	*out = (struct text_view){in.len ? in.text + at[2 * n] : "", at[2 * n + 1] - at[2 * n]};
	return true;
}

static void extract(struct kernel *k, uint32_t r)
{
	struct text_view in = arg_text(k, 0, r), found;
	int64_t n = k->args_len > 2 ? arg_int(k, 2, r) : 0;
	struct regex *x = regex_of(k, r);
	uint32_t groups = 0;
	int matched;

	if (!x)
		return;
	pcre2_pattern_info(x->code, PCRE2_INFO_CAPTURECOUNT, &groups);
	if (n < 0 || n > groups) {
		vector_fail(k, r, "the regular expression has no such group");
		return;
	}
	matched = match(k, r, x, in, 0, 0);
	if (matched < 0)
		return;
	if (matched && group(x, in, matched, n, &found))
		buf_put(k->text, found.text, found.len);
	else
		vector_null(k, r);
}

static void run_extract(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r))
			extract(k, r);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* \1..\9 are groups, \0 the match, \\ a backslash. */
static void put_replacement(struct kernel *k, const struct regex *x, struct text_view in,
	int matched, struct text_view to)
{
	for (size_t i = 0; i < to.len; i++) {
		char c = to.text[i], next = i + 1 < to.len ? to.text[i + 1] : '\0';
		struct text_view found;

		if (c != '\\' || !((next >= '0' && next <= '9') || next == '\\')) {
			buf_put_byte(k->text, (uint8_t)c);
			continue;
		}
		i++;
		if (next == '\\')
			buf_put_byte(k->text, '\\');
		else if (group(x, in, matched, next - '0', &found) &&
			 vector_text_fits(k, found.len))
			buf_put(k->text, found.text, found.len);
	}
}

static size_t next_character(struct text_view in, size_t at)
{
	at++;
	while (at < in.len && ((uint8_t)in.text[at] & 0xc0) == 0x80)
		at++;
	return at;
}

/* An empty match is followed by one character as it is, and isn't found again there. */
static void replace(struct kernel *k, uint32_t r)
{
	struct text_view in = arg_text(k, 0, r), to = arg_text(k, 2, r);
	struct regex *x = regex_of(k, r);
	size_t done = 0, from = 0;
	int matched;

	while (x && from <= in.len && (matched = match(k, r, x, in, from, 0)) > 0) {
		const PCRE2_SIZE *at = pcre2_get_ovector_pointer(x->match);
		size_t start = at[0], end = at[1];

		if (start < done || end < start) /* \K in a lookaround */
			break;
		buf_put(k->text, in.text + done, start - done);
		put_replacement(k, x, in, matched, to);
		done = end;
		from = end > start ? end : next_character(in, end);
		if (!(x->flags & ALL) || k->text->len > KERNEL_TEXT_MAX)
			break;
	}
	if (done < in.len)
		buf_put(k->text, in.text + done, in.len - done);
}

static void run_replace(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r))
			replace(k, r);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

const struct function functions_regex[] = {
	{.name = "~",
		.signature = "ss",
		.result = 'b',
		.run = run_matches,
		.resolve = resolve_regex},
	{.name = "regexp_matches",
		.signature = "ss",
		.result = 'b',
		.run = run_matches,
		.resolve = resolve_regex},
	{.name = "regexp_matches",
		.signature = "sss",
		.result = 'b',
		.run = run_matches,
		.resolve = resolve_regex},
	{.name = "regexp_extract",
		.signature = "ss",
		.result = 's',
		.run = run_extract,
		.resolve = resolve_regex},
	{.name = "regexp_extract",
		.signature = "ssi",
		.result = 's',
		.run = run_extract,
		.resolve = resolve_regex},
	{.name = "regexp_replace",
		.signature = "sss",
		.result = 's',
		.run = run_replace,
		.resolve = resolve_regex},
	{.name = "regexp_replace",
		.signature = "ssss",
		.result = 's',
		.run = run_replace,
		.resolve = resolve_regex},
	{.name = NULL},
};
