#include "cmd/common/pipeline_word.h"

#include "libcore/base/must.h"
#include "libcore/base/suggest.h"

#include <string.h>

enum { NAME_BYTES_MAX = 255 };

/* What a word is read into: arguments, or one value. */
struct sink {
	struct reader_words *words; /* NULL: a value, which isn't split */
	struct pipeline_place place;
	bool dead; /* a default that isn't needed: read, not evaluated */
};

static const char quote_it[] = "quote it: in '...' everything stands for itself";

/* ---- bytes ---- */

static int byte_at(const struct reader *r, size_t ahead)
{
	if (r->source->len - r->at <= ahead)
		return READER_END;
	return (unsigned char)r->source->text[r->at + ahead];
}

void reader_step(struct reader *r)
{
	MUST(r->at < r->source->len);
	if (r->source->text[r->at++] == '\n') {
		r->line++;
		r->line_start = r->at;
	}
}

static void step_over(struct reader *r, size_t bytes)
{
	while (bytes--)
		reader_step(r);
}

int reader_peek(struct reader *r)
{
	while (byte_at(r, 0) == '\\' && byte_at(r, 1) == '\n')
		step_over(r, 2);
	return byte_at(r, 0);
}

struct pipeline_place reader_place(const struct reader *r)
{
	return (struct pipeline_place){r->line, (unsigned)(r->at - r->line_start + 1)};
}

bool reader_sees(const struct reader *r, const char *text)
{
	size_t len = strlen(text);

	return r->source->len - r->at >= len && !memcmp(r->source->text + r->at, text, len);
}

static bool is_blank(int byte)
{
	return byte == ' ' || byte == '\t';
}

void reader_skip_blanks(struct reader *r)
{
	while (is_blank(reader_peek(r)))
		reader_step(r);
	if (reader_peek(r) != '#')
		return;
	while (byte_at(r, 0) != READER_END && byte_at(r, 0) != '\n')
		reader_step(r);
}

void reader_skip_lines(struct reader *r)
{
	for (reader_skip_blanks(r); byte_at(r, 0) == '\n'; reader_skip_blanks(r))
		reader_step(r);
}

bool reader_ends_word(int byte)
{
	return byte == READER_END || (byte && strchr(" \t\n|&;()<>", byte));
}

/* ---- names and variables ---- */

static bool is_name_start(int byte)
{
	return byte == '_' || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool is_digit(int byte)
{
	return byte >= '0' && byte <= '9';
}

size_t reader_name_len(const struct reader *r)
{
	size_t len = 0;

	while (is_name_start(byte_at(r, len)) || (len && is_digit(byte_at(r, len))))
		len++;
	return len;
}

/* What bash gives a value of its own, or acts on when it changes: neither can be the same here. */
static bool is_bashs_own(const char *name)
{
	static const char *const names[] = {"_", "CHILD_MAX", "COLUMNS", "COPROC", "DIRSTACK",
		"ENV", "EUID", "EXECIGNORE", "FIGNORE", "FUNCNAME", "FUNCNEST", "GLOBIGNORE",
		"GLOBSORT", "GROUPS", "HOSTNAME", "HOSTTYPE", "IFS", "IGNOREEOF", "INPUTRC", "LANG",
		"LANGUAGE", "LINENO", "LINES", "MACHTYPE", "MAPFILE", "OLDPWD", "OPTARG", "OPTERR",
		"OPTIND", "OSTYPE", "PATH", "PIPESTATUS", "POSIXLY_CORRECT", "PPID", "PS0", "PS1",
		"PS2", "PS3", "PS4", "PWD", "RANDOM", "REPLY", "SECONDS", "SHELL", "SHELLOPTS",
		"SHLVL", "SRANDOM", "TERM", "TIMEFORMAT", "TMOUT", "UID", "auto_resume",
		"histchars"};
	static const char *const prefixes[] = {
		"BASH", "COMP_", "EPOCH", "HIST", "LC_", "MAIL", "PROMPT_", "READLINE_"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (!strcmp(name, names[i]))
			return true;
	}
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	}
	return false;
}

int reader_take_name(struct reader *r, const char **name)
{
	struct pipeline_place place = reader_place(r);
	size_t len = reader_name_len(r);

	MUST(len > 0);
	if (len > NAME_BYTES_MAX)
		return READER_REFUSE(
			r, place, NULL, "a name has at most %d characters", NAME_BYTES_MAX);
	*name = arena_strndup(r->arena, r->source->text + r->at, len);
	if (is_bashs_own(*name))
		return READER_REFUSE(r, place,
			"take another name; to hand its value in, start with other_name=value "
			"runnel ...",
			"%s belongs to the shell and can't be used in a pipeline file", *name);
	step_over(r, len);
	return 0;
}

static struct reader_variable *variable_find(struct reader *r, const char *name)
{
	for (size_t i = 0; i < r->variables_len; i++) {
		if (!strcmp(r->variables[i].name, name))
			return &r->variables[i];
	}
	return NULL;
}

static const char *environment(const struct reader *r, const char *name)
{
	return r->source->variable ? r->source->variable(r->source->context, name) : NULL;
}

static const char *variable_value(struct reader *r, const char *name)
{
	const struct reader_variable *v = variable_find(r, name);

	return v && v->value ? v->value : environment(r, name);
}

/* An array in the arena with room for one more. */
static void *grown(struct reader *r, void *items, size_t len, size_t *cap, size_t item_bytes)
{
	void *larger;

	if (len < *cap)
		return items;
	*cap = *cap ? 2 * *cap : 8;
	larger = arena_zero(r->arena, *cap * item_bytes);
	if (len)
		memcpy(larger, items, len * item_bytes);
	return larger;
}

int reader_assign(struct reader *r, struct pipeline_place place, const char *name,
	const char *value, bool exported)
{
	struct reader_variable *v = variable_find(r, name);

	if (!v) {
		if (r->variables_len == PIPELINE_VARIABLES_MAX)
			return READER_REFUSE(r, place, NULL,
				"more than %d variables in a pipeline file",
				PIPELINE_VARIABLES_MAX);
		r->variables = grown(
			r, r->variables, r->variables_len, &r->variables_cap, sizeof *r->variables);
		v = &r->variables[r->variables_len++];
		*v = (struct reader_variable){.name = name, .exported = environment(r, name)};
	}
	if (value)
		v->value = value;
	v->exported |= exported;
	return 0;
}

/* The variable the file assigns whose name is nearest, as a hint. */
static const char *unset_hint(struct reader *r, const char *name)
{
	const char *names[PIPELINE_VARIABLES_MAX];
	int nearest;

	for (size_t i = 0; i < r->variables_len; i++)
		names[i] = r->variables[i].name;
	nearest = suggest(name, strlen(name), names, r->variables_len);
	if (nearest >= 0)
		return arena_printf(r->arena, "did you mean $%s?", names[nearest]);
	return arena_printf(
		r->arena, "set -u makes that an error: assign it before, or write ${%s:-}", name);
}

/* ---- the word that grows ---- */

static void put_byte(struct reader *r, const struct sink *s, char byte)
{
	struct reader_field *f = &r->field;

	if (s->dead)
		return;
	f->data = grown(r, f->data, f->len, &f->cap, 1);
	f->data[f->len++] = byte;
	f->begun = true;
}

/* A quote was opened: "" is an argument too. */
static void put_begin(struct reader *r, const struct sink *s)
{
	if (!s->dead)
		r->field.begun = true;
}

int reader_add_argument(
	struct reader *r, struct reader_words *words, const struct pipeline_argument *argument)
{
	if (words->len == PIPELINE_ARGUMENTS_MAX)
		return READER_REFUSE(
			r, argument->place, NULL, "more than %d arguments", PIPELINE_ARGUMENTS_MAX);
	words->items = grown(r, words->items, words->len, &words->cap, sizeof *words->items);
	words->items[words->len++] = *argument;
	return 0;
}

static const char *field_take(struct reader *r)
{
	struct reader_field *f = &r->field;
	const char *text = arena_strndup(r->arena, f->data ? f->data : "", f->len);

	f->len = 0;
	f->begun = false;
	return text;
}

/* The end of an argument. */
static int put_end(struct reader *r, const struct sink *s)
{
	struct pipeline_argument a = {.place = s->place};

	if (s->dead || !r->field.begun)
		return 0;
	a.text = field_take(r);
	return reader_add_argument(r, s->words, &a);
}

/* A byte that came of an unquoted expansion: blanks split. */
static int put_split(struct reader *r, const struct sink *s, char byte)
{
	if (s->words && (is_blank(byte) || byte == '\n'))
		return put_end(r, s);
	put_byte(r, s, byte);
	return 0;
}

static int put_value(struct reader *r, const struct sink *s, struct pipeline_place place,
	const char *name, const char *value, bool quoted)
{
	size_t len = strlen(value);

	if (s->dead)
		return 0;
	r->expanded_bytes += len;
	if (len > PIPELINE_EXPANDED_MAX || r->expanded_bytes > PIPELINE_EXPANDED_MAX)
		return READER_REFUSE(r, place, NULL,
			"the variables come to more than %d MiB of text",
			PIPELINE_EXPANDED_MAX >> 20);
	/* A backslash alone was a pattern to some versions of bash. */
	if (s->words && !quoted && strpbrk(value, "*?[\\"))
		return READER_REFUSE(r, place,
			arena_printf(r->arena, "quote it: \"$%s\" takes the value as it is", name),
			"the value of $%s has one of * ? [ \\, which a shell would match with file "
			"names",
			name);
	for (size_t i = 0; i < len; i++) {
		if (quoted)
			put_byte(r, s, value[i]);
		else if (put_split(r, s, value[i]))
			return -1;
	}
	return 0;
}

/* ---- quotes ---- */

static int take_dollar(struct reader *r, const struct sink *s, bool quoted);

static int take_single(struct reader *r, const struct sink *s)
{
	struct pipeline_place place = reader_place(r);

	put_begin(r, s);
	reader_step(r);
	for (int c; (c = byte_at(r, 0)) != '\''; reader_step(r)) {
		if (c == READER_END)
			return READER_REFUSE(r, place,
				"inside '...' no other ' can stand: \"it's\" or 'it'\\''s'",
				"this ' has no end");
		put_byte(r, s, (char)c);
	}
	reader_step(r);
	return 0;
}

static int refuse_command(struct reader *r)
{
	static const char hint[] =
		"hand the result in: name=$(...) runnel ..., and $name in the file";

	if (reader_sees(r, "$(("))
		return READER_REFUSE(r, reader_place(r), hint,
			"$((...)) is arithmetic, which a pipeline file can't do");
	return READER_REFUSE(r, reader_place(r), hint,
		"%s runs a command, which a pipeline file can't do",
		byte_at(r, 0) == '`' ? "`...`" : "$(...)");
}

/* At a backslash inside "...": it quotes only what means something there. */
static void take_double_backslash(struct reader *r, const struct sink *s, const char *special)
{
	int c = byte_at(r, 1);

	reader_step(r);
	if (c == READER_END || (c != '\n' && !strchr(special, c))) {
		put_byte(r, s, '\\');
		return;
	}
	if (c != '\n')
		put_byte(r, s, (char)c);
	reader_step(r);
}

static int take_double(struct reader *r, const struct sink *s)
{
	struct pipeline_place place = reader_place(r);

	put_begin(r, s);
	reader_step(r);
	for (int c; (c = byte_at(r, 0)) != '"';) {
		if (c == READER_END)
			return READER_REFUSE(r, place, "a \" inside \"...\" is written \\\"",
				"this \" has no end");
		if (c == '`')
			return refuse_command(r);
		if (c == '\\') {
			take_double_backslash(r, s, "$`\"\\");
		} else if (c == '$') {
			if (take_dollar(r, s, true))
				return -1;
		} else {
			put_byte(r, s, (char)c);
			reader_step(r);
		}
	}
	reader_step(r);
	return 0;
}

/* At a backslash outside quotes that doesn't join lines. */
static int take_backslash(struct reader *r, const struct sink *s)
{
	if (byte_at(r, 1) == READER_END)
		return READER_REFUSE(r, reader_place(r),
			"end the file with a newline, or drop the \\",
			"the file ends with a backslash");
	reader_step(r);
	put_byte(r, s, (char)byte_at(r, 0));
	reader_step(r);
	return 0;
}

/* ---- expansions ---- */

static int refuse_default_end(struct reader *r, struct pipeline_place place)
{
	return READER_REFUSE(
		r, place, "it goes on to the next } outside quotes", "this ${ has no end");
}

/* ${name:-default} outside quotes: text up to }, which is split like a value; parts may be quoted.
 */
static int take_bare_default(struct reader *r, const struct sink *s, struct pipeline_place place)
{
	for (int c; (c = reader_peek(r)) != '}';) {
		int status = 0;

		if (c == READER_END)
			return refuse_default_end(r, place);
		if (c == '`')
			return refuse_command(r);
		if (strchr("|&;()<>{*?[~", c))
			return READER_REFUSE(r, reader_place(r), quote_it,
				"%c in a default means something to a shell", c);
		if (c == '\'') {
			status = take_single(r, s);
		} else if (c == '"') {
			status = take_double(r, s);
		} else if (c == '\\') {
			status = take_backslash(r, s);
		} else if (c == '$') {
			status = take_dollar(r, s, false);
		} else {
			status = put_split(r, s, (char)c);
			reader_step(r);
		}
		if (status)
			return -1;
	}
	reader_step(r);
	return 0;
}

/* "${name:-default}": shells disagree about quotes in it. */
static int take_quoted_default(struct reader *r, const struct sink *s, struct pipeline_place place)
{
	for (int c; (c = byte_at(r, 0)) != '}';) {
		if (c == READER_END)
			return refuse_default_end(r, place);
		if (c == '`')
			return refuse_command(r);
		if (strchr("'\"{", c))
			return READER_REFUSE(r, reader_place(r),
				"on a line of its own before the pipeline, without the outer "
				"quotes:"
				" name=${name:-'default'}",
				"%c can't stand in a default inside \"...\"", c);
		if (c == '\\') {
			take_double_backslash(r, s, "$`\"\\}");
		} else if (c == '$') {
			if (byte_at(r, 1) == '}')
				return READER_REFUSE(
					r, reader_place(r), "write \\$", "a $ without a name");
			if (take_dollar(r, s, true))
				return -1;
		} else {
			put_byte(r, s, (char)c);
			reader_step(r);
		}
	}
	reader_step(r);
	return 0;
}

static int take_default(
	struct reader *r, const struct sink *s, struct pipeline_place place, bool used, bool quoted)
{
	struct sink inner = *s;
	int status;

	inner.dead |= !used;
	if (r->depth == PIPELINE_DEPTH_MAX)
		return READER_REFUSE(r, place, "assign the inner ones to variables before",
			"defaults and substitutions are nested deeper than %d", PIPELINE_DEPTH_MAX);
	r->depth++;
	status = quoted ? take_quoted_default(r, &inner, place)
			: take_bare_default(r, &inner, place);
	r->depth--;
	return status;
}

static int put_variable(struct reader *r, const struct sink *s, struct pipeline_place place,
	const char *name, bool quoted)
{
	const char *value = variable_value(r, name);

	if (s->dead)
		return 0;
	if (!value && r->unset_refused)
		return READER_REFUSE(r, place, unset_hint(r, name), "%s is not set", name);
	return value ? put_value(r, s, place, name, value, quoted) : 0;
}

/* At ${ */
static int take_braces(struct reader *r, const struct sink *s, bool quoted)
{
	static const char forms[] = "there are $name, ${name} and ${name:-default}; compute "
				    "anything else before, and hand"
				    " it in: name=value runnel ...";
	struct pipeline_place place = reader_place(r);
	const char *name, *value;

	step_over(r, 2);
	if (!reader_name_len(r))
		return READER_REFUSE(r, place, forms, "this ${ doesn't go on with a name");
	if (reader_take_name(r, &name))
		return -1;
	if (byte_at(r, 0) == '}') {
		reader_step(r);
		return put_variable(r, s, place, name, quoted);
	}
	if (byte_at(r, 0) == READER_END)
		return refuse_default_end(r, place);
	if (!reader_sees(r, ":-"))
		return READER_REFUSE(r, reader_place(r), forms,
			"only :- or } can follow the name in ${%s", name);
	step_over(r, 2);
	value = variable_value(r, name);
	if (value && *value && put_value(r, s, place, name, value, quoted))
		return -1;
	return take_default(r, s, place, !value || !*value, quoted);
}

/* At $name: one that goes on behind a backslash-newline would be another name. */
static int take_bare_name(struct reader *r, const struct sink *s, bool quoted)
{
	struct pipeline_place place = reader_place(r);
	const char *name;

	reader_step(r);
	if (reader_take_name(r, &name))
		return -1;
	if (reader_sees(r, "\\\n")) {
		reader_peek(r);
		if (is_name_start(byte_at(r, 0)) || is_digit(byte_at(r, 0)))
			return READER_REFUSE(r, place, "write ${name} where a name ends",
				"the name after this $ is continued on the next line");
	}
	return put_variable(r, s, place, name, quoted);
}

/* At $ */
static int take_dollar(struct reader *r, const struct sink *s, bool quoted)
{
	struct pipeline_place place = reader_place(r);
	int c = byte_at(r, 1);

	if (is_name_start(c))
		return take_bare_name(r, s, quoted);
	if (c == '{')
		return take_braces(r, s, quoted);
	if (c == '(')
		return refuse_command(r);
	if (c == '[')
		return READER_REFUSE(r, place, "a $ that stands for itself is written \\$",
			"$[...] is arithmetic, which a pipeline file can't do");
	if (is_digit(c) || (c > 0 && strchr("@*#?$!-", c)))
		return READER_REFUSE(r, place,
			"give it a name, name=value runnel ..., and write $name; a $ that stands "
			"for"
			" itself is written \\$",
			"$%c is of the shell; a pipeline file has no arguments", c);
	if (!quoted && (c == '\'' || c == '"'))
		return READER_REFUSE(r, place,
			"write it without the $; a tab or newline may stand in"
			" quotes as it is",
			"$%c...%c can't be used in a pipeline file", c, c);
	if (!quoted || (c == '\\' && byte_at(r, 2) == '\n'))
		return READER_REFUSE(r, place, "write \\$", "a $ without a name");
	put_byte(r, s, '$');
	reader_step(r);
	return 0;
}

/* ---- words ---- */

/* A ~ at the start, or where bash takes it for the start of a path. */
static bool is_home(const struct reader *r, size_t start)
{
	size_t before = r->at;

	while (before - start >= 2 && !memcmp(r->source->text + before - 2, "\\\n", 2))
		before -= 2;
	return before == start || strchr(":=", r->source->text[before - 1]);
}

/* A byte outside quotes that ends no word. */
static int take_bare(struct reader *r, const struct sink *s, size_t start)
{
	int c = byte_at(r, 0);

	if (c == '*' || c == '?' || c == '[')
		return READER_REFUSE(
			r, reader_place(r), quote_it, "a shell would match %c with file names", c);
	if (c == '{' || c == '}')
		return READER_REFUSE(r, reader_place(r), quote_it,
			"%c outside quotes is the shell's, for lists like {a,b}", c);
	if (c == '~' && is_home(r, start))
		return READER_REFUSE(r, reader_place(r),
			"write $HOME, or quote it where it stands for itself: '~'",
			"~ is a home directory to a shell");
	put_byte(r, s, (char)c);
	reader_step(r);
	return 0;
}

static int take_word(struct reader *r, const struct sink *s)
{
	size_t start;

	reader_peek(r);
	start = r->at;
	for (int c; !reader_ends_word(c = reader_peek(r));) {
		int status;

		if (c == '\'')
			status = take_single(r, s);
		else if (c == '"')
			status = take_double(r, s);
		else if (c == '\\')
			status = take_backslash(r, s);
		else if (c == '$')
			status = take_dollar(r, s, false);
		else if (c == '`')
			status = refuse_command(r);
		else
			status = take_bare(r, s, start);
		if (status)
			return -1;
	}
	return 0;
}

int reader_take_words(struct reader *r, struct reader_words *words)
{
	struct sink s = {.words = words};

	reader_peek(r);
	s.place = reader_place(r);
	r->field.len = 0;
	r->field.begun = false;
	return take_word(r, &s) ? -1 : put_end(r, &s);
}

int reader_take_value(struct reader *r, const char **value)
{
	struct sink s = {.words = NULL};

	r->field.len = 0;
	r->field.begun = false;
	if (take_word(r, &s))
		return -1;
	*value = field_take(r);
	return 0;
}
