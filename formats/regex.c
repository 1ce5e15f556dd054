/* Lines taken apart by a regular expression (PCRE2): its named groups are the columns.  A line that
 * doesn't match is malformed, and so is one on which matching goes astray.
 *
 *   a group that took no part, or whose text is a spelling of null    null
 *   an empty text                                                    "" as a string, else null */
#include "formats/infer.h"
#include "formats/line_reader.h"
#include "formats/value.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

/* Backtracking steps a match may take, some 10 ms; JIT stack as PCRE2's documentation advises. */
enum { STEPS_MAX = 1000000, STACK_LEAST = 32 << 10, STACK_MOST = 1 << 20, HEAP_MAX_KB = 16 << 10 };

struct group_column {
	struct wanted_column wanted; /* its texts are copies */
	uint32_t group;
};

struct regex {
	struct line_reader lines;
	pcre2_code *code;
	pcre2_match_data *match;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	struct schema groups; /* by name, in the order of their numbers */
	uint32_t *numbers;    /* of groups */
	struct group_column *columns;
	size_t columns_len;
	struct buf reason;
};

static struct regex *self(struct reader *reader)
{
	return (struct regex *)reader; /* its first member */
}

/* ---- the pattern ---- */

/* A caret under the place, if the pattern is short enough to be shown. */
static int pattern_error(const char *pattern, int code, size_t at, struct error *e)
{
	enum { SHOWN_MAX = 200 };
	char text[160];

	pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
	if (at > SHOWN_MAX || strlen(pattern) > SHOWN_MAX || strchr(pattern, '\n'))
		return error_set(e, ERROR_USAGE, "--regex: %s at byte %zu", text, at + 1);
	return error_set(e, ERROR_USAGE, "--regex: %s\n  %s\n  %*s^", text, pattern, (int)at, "");
}

/* The table of names is sorted by name; columns come in the order in which groups open. */
static void read_groups(struct regex *r)
{
	uint32_t count, entry_bytes, groups;
	PCRE2_SPTR table;

	pcre2_pattern_info(r->code, PCRE2_INFO_NAMECOUNT, &count);
	pcre2_pattern_info(r->code, PCRE2_INFO_NAMEENTRYSIZE, &entry_bytes);
	pcre2_pattern_info(r->code, PCRE2_INFO_NAMETABLE, &table);
	pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &groups);
	r->numbers = mem_alloc((count + (size_t)1) * sizeof *r->numbers);
	for (uint32_t number = 1; number <= groups; number++) {
		for (uint32_t i = 0; i < count; i++) {
			const uint8_t *entry = table + (size_t)i * entry_bytes;
			const char *name = (const char *)entry + 2;

			if (((uint32_t)entry[0] << 8 | entry[1]) != number)
				continue;
			r->numbers[r->groups.fields_len] = number;
			schema_add(&r->groups, name, strlen(name), TYPE_OF(TYPE_STRING));
		}
	}
}

static int compile_pattern(struct regex *r, const char *pattern, struct error *e)
{
	PCRE2_SIZE at;
	int code;

	r->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
		PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_UCP, &code, &at, NULL);
	if (!r->code)
		return pattern_error(pattern, code, at, e);
	pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE); /* where there is one */
	r->match = pcre2_match_data_create_from_pattern(r->code, NULL);
	r->context = pcre2_match_context_create(NULL);
	r->stack = pcre2_jit_stack_create(STACK_LEAST, STACK_MOST, NULL);
	pcre2_set_match_limit(r->context, STEPS_MAX);
	pcre2_set_heap_limit(r->context, HEAP_MAX_KB);
	pcre2_jit_stack_assign(r->context, NULL, r->stack);
	read_groups(r);
	if (r->groups.fields_len)
		return 0;
	error_set(e, ERROR_USAGE, "--regex: no group has a name, so there are no columns");
	return error_hint(e, "(?<name>...) names a group");
}

/* Where the named groups of the last match lie. */
static bool group_text(
	const struct regex *r, struct text_view line, uint32_t group, struct text_view *out)
{
	const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(r->match);
	PCRE2_SIZE from = ends[2 * group], to = ends[2 * group + 1];

	/* \K may put an end before its start. */
	if (group >= pcre2_get_ovector_count(r->match) || from == PCRE2_UNSET || to < from)
		return false;
	*out = (struct text_view){line.text + from, to - from};
	return true;
}

/* Below 0: no match, or PCRE2's reason.  The line is UTF-8. */
static int match_line(struct regex *r, struct text_view line)
{
	return pcre2_match(r->code, (PCRE2_SPTR)line.text, line.len, 0, PCRE2_NO_UTF_CHECK,
		r->match, r->context);
}

/* ---- the reader ---- */

static int infer(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct schema *names_types, struct error *e)
{
	struct regex *r = self(reader);
	struct line_sample sample = {bytes, bytes + len, last};
	struct text_view line, text;
	size_t n = r->groups.fields_len;
	struct infer *kinds = mem_alloc(n * sizeof *kinds);
	uint32_t rows = 0;

	for (size_t i = 0; i < n; i++)
		kinds[i] = (struct infer)INFER_INIT;
	while (rows < rows_max && line_sample_next(&sample, &line)) {
		if (pcre2_match(r->code, (PCRE2_SPTR)line.text, line.len, 0, 0, r->match,
			    r->context) < 0)
			continue;
		rows++;
		for (size_t i = 0; i < n; i++) {
			if (group_text(r, line, r->numbers[i], &text) && text.len &&
				!line_reader_is_null(&r->lines, text))
				infer_text(&kinds[i], text.text, text.len);
		}
	}
	for (size_t i = 0; i < n; i++)
		schema_add(names_types, r->groups.fields[i].name, strlen(r->groups.fields[i].name),
			infer_type(&kinds[i]));
	mem_free(kinds);
	return 0;
}

static void forget_columns(struct regex *r)
{
	for (size_t i = 0; i < r->columns_len; i++)
		mem_free((void *)(uintptr_t)r->columns[i].wanted.name);
	mem_free(r->columns);
	r->columns = NULL;
	r->columns_len = 0;
}

static int want(
	struct reader *reader, const struct wanted_column *columns, size_t n, struct error *e)
{
	struct regex *r = self(reader);

	forget_columns(r);
	r->columns = mem_zero((n + 1) * sizeof *r->columns);
	for (size_t i = 0; i < n; i++) {
		const struct wanted_column *w = &columns[i];
		int field;

		if (!w->path_len || w->path_len > 1)
			return error_set(e, ERROR_USAGE,
				"column '%s': a regular expression's columns are its named groups",
				w->name);
		if (w->type.kind == TYPE_ANY)
			return error_set(
				e, ERROR_USAGE, "column '%s': text is no value of any", w->name);
		field = schema_require(&r->groups, w->path[0], strlen(w->path[0]), "--regex", e);
		if (field < 0)
			return -1;
		r->columns[i] = (struct group_column){*w, r->numbers[field]};
		r->columns[i].wanted.name = mem_strdup(w->name);
		r->columns_len = i + 1;
	}
	return 0;
}

/* 0 if the value was appended, else r->reason says why not. */
static int take_group(struct regex *r, const struct group_column *c, struct text_view line,
	struct column_builder *b, uint32_t *column)
{
	bool is_text = b->type.kind == TYPE_STRING || b->type.kind == TYPE_BYTES;
	struct text_view text;
	enum number_status status;

	*column = 0;
	if (!group_text(r, line, c->group, &text) || (!text.len && !is_text) ||
		line_reader_is_null(&r->lines, text)) {
		if (c->wanted.required) {
			buf_printf(&r->reason, "'%s' is null, and it is the event time",
				c->wanted.name);
			return -1;
		}
		builder_put_null(b);
		return 0;
	}
	status = value_put(b, c->wanted.unit, text.text, text.len);
	if (status == NUMBER_OK)
		return 0;
	*column = (uint32_t)(text.text - line.text) + 1;
	value_explain(&r->reason, &c->wanted, text.text, text.len, status);
	return -1;
}

static int refuse_match(struct regex *r, struct text_view line, int code,
	const struct bad_sink *bad, struct error *e)
{
	char text[160];
	struct bad_line l = {line, 0, "the line doesn't match --regex"};

	if (code != PCRE2_ERROR_NOMATCH) {
		pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
		buf_printf(&r->reason, "matching --regex: %s", text);
		l.reason = buf_cstr(&r->reason);
	}
	return line_reader_refuse(&r->lines, bad, l, e);
}

static int take(struct line_reader *lines, struct text_view line, struct column_builder *builders,
	const struct bad_sink *bad, struct error *e)
{
	struct regex *r = self(&lines->reader);
	uint32_t column, before = r->columns_len ? builders[0].rows : 0;
	int code = match_line(r, line);

	buf_reset(&r->reason);
	if (code < 0)
		return refuse_match(r, line, code, bad, e);
	for (size_t i = 0; i < r->columns_len; i++) {
		if (take_group(r, &r->columns[i], line, &builders[i], &column) == 0)
			continue;
		for (size_t k = 0; k < i; k++)
			builder_truncate(&builders[k], before);
		return line_reader_refuse(
			lines, bad, (struct bad_line){line, column, buf_cstr(&r->reason)}, e);
	}
	return 1;
}

static void regex_free(struct reader *reader)
{
	struct regex *r = self(reader);

	forget_columns(r);
	pcre2_match_data_free(r->match);
	pcre2_match_context_free(r->context);
	pcre2_jit_stack_free(r->stack);
	pcre2_code_free(r->code);
	schema_clear(&r->groups);
	mem_free(r->numbers);
	buf_clear(&r->reason);
	line_reader_clear(&r->lines);
	mem_free(r);
}

static const struct reader_ops ops = {
	.name = "regex",
	.free = regex_free,
	.infer = infer,
	.want = want,
	.start = line_reader_start,
	.parse = line_reader_parse,
	.line = line_reader_line,
	.resume = line_reader_resume,
};

int regex_reader_new(const struct reader_options *o, struct reader **out, struct error *e)
{
	struct regex *r = mem_zero(sizeof *r);

	MUST(o->regex);
	line_reader_init(&r->lines, o);
	r->lines.reader.ops = &ops;
	r->lines.take = take;
	schema_init(&r->groups);
	if (compile_pattern(r, o->regex, e) < 0) {
		regex_free(&r->lines.reader);
		return -1;
	}
	*out = &r->lines.reader;
	return 0;
}
