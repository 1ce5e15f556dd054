#include "cmd/common/pipeline.h"

#include "cmd/common/pipeline_word.h"
#include "connect/url.h"
#include "formats/compress.h"
#include "formats/extension.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- errors ---- */

enum {
	EXCERPT_BYTES_MAX = 160, /* of a source line, around the caret: two lines of a terminal */
};

/* The line that a place is in, without its newline. */
static const char *line_of(const struct pipeline_source *source, unsigned line, size_t *len)
{
	const char *at = source->text, *end = at + source->len, *newline = NULL;

	for (; line > 1 && at < end && (newline = memchr(at, '\n', (size_t)(end - at))); line--)
		at = newline + 1;
	newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
	*len = (size_t)((newline ? newline : end) - at);
	return at;
}

/* Copies a line so that a terminal may show it: what isn't text becomes '?'.  marks: only as wide
 * as it, in blanks, with its tabs.  Returns the length. */
static size_t put_shown(char *out, const char *text, size_t len, bool marks)
{
	size_t n = 0, bytes;
	uint32_t code;

	for (size_t i = 0; i < len; i += bytes ? bytes : 1) {
		bytes = utf8_decode(text + i, len - i, &code);
		if (text[i] == '\t')
			out[n++] = '\t';
		else if (marks)
			out[n++] = ' ';
		else if (!bytes || code < 0x20 || (code >= 0x7f && code < 0xa0))
			out[n++] = '?';
		else {
			memcpy(out + n, text + i, bytes);
			n += bytes;
		}
	}
	return n;
}

static void add_excerpt(
	const struct pipeline_source *source, struct pipeline_place place, struct error *e)
{
	char shown[EXCERPT_BYTES_MAX + 1], marks[EXCERPT_BYTES_MAX + 1];
	size_t len, from = 0, column = place.column - 1, n;
	const char *found = line_of(source, place.line, &len);
	char *line = mem_strndup(found, len);
	const char *front = "";

	url_hide(line);

	if (column > len)
		column = len;
	if (column > EXCERPT_BYTES_MAX / 2 && len > EXCERPT_BYTES_MAX) {
		from = column - EXCERPT_BYTES_MAX / 2;
		while (from < column && ((unsigned char)line[from] & 0xc0) == 0x80)
			from++;
		front = "...";
	}
	len = len - from > EXCERPT_BYTES_MAX ? EXCERPT_BYTES_MAX : len - from;
	n = put_shown(shown, line + from, len, false);
	shown[n] = '\0';
	n = put_shown(marks, line + from, column - from, true);
	marks[n] = '\0';
	error_hint(e, "  %s%s", front, shown);
	error_hint(e, "  %*s%s^", (int)strlen(front), "", marks);
	mem_free(line);
}

int pipeline_error(const struct pipeline_source *source, struct pipeline_place place,
	const char *hint, struct error *e, const char *format, ...)
{
	char message[ERROR_TEXT_MAX], *more;
	va_list args;

	MUST(place.line && place.column);
	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);
	more = strchr(message, '\n');
	if (more)
		*more++ = '\0';
	error_set(e, ERROR_USAGE, "%s:%u:%u: %s", source->name, place.line, place.column, message);
	add_excerpt(source, place, e);
	if (more)
		error_hint(e, "%s", more);
	if (hint)
		error_hint(e, "%s", hint);
	return -1;
}

/* ---- what is refused ---- */

/* Bytes that shells drop, warn about or treat each in its own way. */
static int check_bytes(struct reader *r)
{
	const struct pipeline_source *s = r->source;
	struct pipeline_place place = {1, 1};
	size_t valid = utf8_valid_len(s->text, s->len);

	if (s->len > PIPELINE_BYTES_MAX)
		return READER_REFUSE(r, place, NULL, "a pipeline file has at most %d MiB",
			PIPELINE_BYTES_MAX >> 20);
	if (reader_sees(r, "\xef\xbb\xbf"))
		return READER_REFUSE(r, place, "save it as UTF-8 without BOM",
			"the file starts with a byte order mark, a part of the first word");
	for (size_t i = 0; i < s->len; i++, place.column++) {
		unsigned char c = (unsigned char)s->text[i];

		if (c == '\n')
			place = (struct pipeline_place){place.line + 1, 0};
		else if (c == '\r')
			return READER_REFUSE(r, place,
				"save it with Unix line ends: sed -i 's/\\r$//'",
				"a carriage return, which shells take as a part of the word");
		else if ((c < ' ' && c != '\t') || c == 0x7f)
			return READER_REFUSE(r, place, "hand it in: name=$'\\x01' runnel ...",
				"a control character (0x%02x)", c);
		else if (i == valid)
			return READER_REFUSE(r, place, "save the file as UTF-8",
				"this is not UTF-8 (0x%02x)", c);
	}
	return 0;
}

/* At an operator that isn't in the language, or not here. */
static int refuse_operator(struct reader *r)
{
	static const char one[] =
		"a file holds one pipeline; what runs before or after it belongs into"
		" a script that calls runnel";
	static const char log[] =
		"what stages say on standard error goes to runnel's log by itself";
	static const char files[] = "write the rows into a file, and ssource FILE";
	static const struct {
		const char *text, *hint;
	} operators[] = {
		{"&&", one},
		{"||", one},
		{";", "assignments stand on lines of their own, and a file holds one pipeline"},
		{"&>", log},
		{"&", "start runnel itself in the background: runnel FILE &"},
		{"|&", log},
		{"<<", files},
		{"<&", files},
		{"<>", files},
		{">(", "stee passes rows on to several pipelines: ... | stee 'ssink all.csv' | ..."},
		{">>", "a directory gets further part files: ssink out/"},
		{">&", log},
		{">|", "> and ssink FILE replace a file by themselves"},
		{"(", "a ( that belongs to a word must be quoted; a second input is <(...), "
		      "without a blank"},
		{")", "a ) that belongs to a word must be quoted"},
	};

	for (size_t i = 0; i < COUNT(operators); i++) {
		if (reader_sees(r, operators[i].text))
			return READER_REFUSE(r, reader_place(r), operators[i].hint,
				"%s can't be used in a pipeline file", operators[i].text);
	}
	/* An operator in two halves, around a backslash-newline. */
	return READER_REFUSE(r, reader_place(r), one, "%c can't stand here",
		r->at < r->source->len ? r->source->text[r->at] : ' ');
}

/* Is it one of these words, with blanks between? */
static bool is_among(const char *word, const char *words)
{
	size_t len = strlen(word);

	for (const char *at = words; len && (at = strstr(at, word)); at += len) {
		if ((at == words || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	}
	return false;
}

/* What is no stage to any shell, or a habit, and what does its work here.  Any other program that
 * is no stage is found when the plan is drawn. */
static int check_program(struct reader *r, const struct pipeline_argument *program)
{
	static const struct {
		const char *names, *hint;
	} programs[] = {
		{"tee", "stee passes rows on to several pipelines: ... | stee 'ssink all.csv' | ..."},
		{"cat", "ssource reads files, several as one stream"},
		{"zcat gunzip zstdcat", "ssource reads compressed files"},
		{"grep", "smap -w 'COND' chooses rows"},
		{"sort", "sort what ssink has written, or begin with rows in order"},
		{"head", "ssource --limit N takes the first records"},
		{"uniq", "swindow -k COLUMNS gives the distinct rows"},
		{"awk sed jq perl",
			"smap computes and chooses, in the language of runnel-expr(7)"},
		{"gzip bzip2 xz zstd lz4", "ssink compresses by the name: ssink out.csv.zst"},
		{"read mapfile readarray", "ssource brings rows in"},
		{"echo printf", "ssource reads files: write the rows into one before"},
		{"!", "a pipeline's status is runnel's: negate it where runnel is called"},
		{"time coproc exec command builtin env nice nohup sudo timeout cd pushd popd umask"
		 " ulimit",
			"start runnel itself with it"},
		{"set export", "it stands before the pipeline, on a line of its own"},
		{"declare typeset local readonly unset let",
			"there are name=value and export name=value"},
		{"shopt", "set -euo pipefail is all that can be set"},
		{"bash sh", "write its text into the file"},
		{"if then elif else fi for while until do done case esac select in function [[ ]] ["
		 " test : true false trap wait shift getopts source . eval exit return break"
		 " continue alias unalias xargs logout suspend kill jobs fg bg disown hash type"
		 " help enable bind caller compgen complete compopt dirs fc history pwd times",
			"a file is one pipeline, without loops, conditions and functions; what"
			" needs them belongs into a script that calls runnel -c '...'"},
	};

	for (size_t i = 0; i < COUNT(programs); i++) {
		if (is_among(program->text, programs[i].names))
			return READER_REFUSE(r, program->place, programs[i].hint,
				"%s can't be used in a pipeline file", program->text);
	}
	if (!*program->text || *program->text == '%') /* bash's name for a job */
		return READER_REFUSE(r, program->place,
			"a stage starts with a program: smap, ssink, ...",
			*program->text ? "a word that starts with %% is no program"
				       : "an empty word is no program");
	if (strchr(program->text, '='))
		return READER_REFUSE(r, program->place,
			"assignments stand on lines of their own before the pipeline;"
			" export name=value hands one to the stages",
			"an assignment can't stand here");
	return 0;
}

/* ---- pipelines ---- */

/* A stage as it is read. */
struct stage_words {
	struct reader_words words;
	struct pipeline_argument input, output; /* text NULL: none */
};

static int take_pipeline(struct reader *r, struct pipeline *out);

/* Once over: <( with the pipeline, up to ). */
static int take_substitution(struct reader *r, struct reader_words *words)
{
	struct pipeline_argument a = {.place = reader_place(r)};
	struct pipeline *inner = ARENA_NEW(r->arena, struct pipeline);
	size_t start = r->at;

	reader_step(r); /* < */
	reader_peek(r);
	reader_step(r); /* ( */
	if (r->depth == PIPELINE_DEPTH_MAX)
		return READER_REFUSE(r, a.place, "write an inner pipeline's rows into a file first",
			"defaults and substitutions are nested deeper than %d", PIPELINE_DEPTH_MAX);
	r->depth++;
	if (take_pipeline(r, inner))
		return -1;
	reader_skip_lines(r);
	r->depth--;
	if (reader_peek(r) == READER_END)
		return READER_REFUSE(
			r, a.place, "it goes on to a ) of its own", "this <( has no end");
	if (reader_peek(r) != ')') {
		if (reader_ends_word(reader_peek(r)) && reader_peek(r) != '|')
			return refuse_operator(r);
		return READER_REFUSE(r, reader_place(r),
			"end the line before with | or this pipeline with )",
			"a second command in <(...)");
	}
	reader_step(r);
	a.text = arena_strndup(r->arena, r->source->text + start, r->at - start);
	a.source = inner;
	if (!reader_ends_word(reader_peek(r)) || reader_peek(r) == '(')
		return READER_REFUSE(r, reader_place(r), "a blank belongs behind <(...)",
			"<(...) is an argument of its own");
	return reader_add_argument(r, words, &a);
}

/* A path is a file's, also where as an argument it could be an option or a URL. */
static const char *plain_path(struct reader *r, const char *path)
{
	if (*path == '/' || !strncmp(path, "./", 2) || (*path != '-' && !strchr(path, ':')))
		return path;
	return arena_printf(r->arena, "./%s", path);
}

/* By its spelling alone: a/ . .. a/. a/.. */
static bool names_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;

	return !*last || !strcmp(last, ".") || !strcmp(last, "..");
}

static int check_path(struct reader *r, struct pipeline_place place, const char *path, char sign)
{
	static const char *const special[] = {
		"/dev/tcp/", "/dev/udp/", "/dev/fd/", "/dev/stdin", "/dev/stdout", "/dev/stderr"};

	for (size_t i = 0; i < COUNT(special); i++) {
		if (!strncmp(path, special[i], strlen(special[i])))
			return READER_REFUSE(r, place,
				"ssource and ssink take tcp://host:port, and - for runnel's own",
				"%s means something else to a shell", special[i]);
	}
	if (!*path)
		return READER_REFUSE(r, place, NULL, "the path behind %c is empty", sign);
	if (names_directory(path))
		return READER_REFUSE(r, place,
			sign == '>' ? "ssink DIRECTORY/ writes part files"
				    : "ssource DIRECTORY --follow reads its files",
			"%c takes a file, not a directory", sign);
	return 0;
}

static bool says_format(const struct reader_words *words)
{
	for (size_t i = 1; i < words->len; i++) {
		const struct pipeline_argument *a = &words->items[i];

		if (!a->source && (!strncmp(a->text, "-f", 2) || !strncmp(a->text, "--format", 8)))
			return true;
	}
	return false;
}

/* Under bash a stage doesn't see the name behind < and > that as an argument would say the format:
 * such a name would be half-understood. */
static int check_endings(struct reader *r, const struct stage_words *s)
{
	static const char *const written[] = {"csv", "tsv", "lines", "table", "frames"};
	const char *out = s->output.text, *in = s->input.text;
	char ending[16] = "";

	if (out && compression_of(out) != COMPRESS_NONE)
		return READER_REFUSE(r, s->output.place, "ssink PATH compresses by the name",
			"behind > bash would get it uncompressed, whatever the name");
	if (says_format(&s->words))
		return 0;
	if (out)
		format_extension(out, ending, sizeof ending);
	for (size_t i = 0; i < COUNT(written); i++) {
		if (!strcmp(ending, written[i]))
			return READER_REFUSE(r, s->output.place,
				arena_printf(r->arena,
					"ssink PATH goes by the name; or say it: ssink -f %s >",
					ending),
				"behind > bash would get ndjson, whatever the name");
	}
	if (in)
		format_extension(in, ending, sizeof ending);
	if (in && !strcasecmp(ending, "log"))
		return READER_REFUSE(r, s->input.place,
			"ssource PATH goes by the name; or say it: ssource -f lines <",
			"behind < bash would read it by its contents, not as lines");
	return 0;
}

/* At < or >, which are no part of a substitution. */
static int take_redirection(struct reader *r, struct stage_words *s, bool first)
{
	struct pipeline_place place = reader_place(r);
	struct reader_words words = {.len = 0};
	char sign = (char)reader_peek(r);
	struct pipeline_argument *to = sign == '<' ? &s->input : &s->output;
	struct reader ahead = *r;

	reader_step(&ahead);
	reader_skip_blanks(&ahead);
	if (reader_peek(&ahead) == '(')
		return READER_REFUSE(
			r, place, "write <(...) without it", "a blank between %c and (", sign);
	if (sign == '<' && !first)
		return READER_REFUSE(r, place, "a further input is an argument: <(ssource FILE)",
			"< stands only at the first stage of a pipeline");
	if (sign == '<' && r->source->reads_stage && !r->depth)
		return READER_REFUSE(r, place, "a further input is an argument: <(ssource FILE)",
			"< can't be used here: the rows come from the stage around");
	if (sign == '>' && r->depth)
		return READER_REFUSE(r, place, "the rows of <(...) go to the stage that reads it",
			"> stands only at the end of the whole pipeline");
	if (to->text)
		return READER_REFUSE(r, place,
			sign == '<' ? "ssource takes several paths as arguments"
				    : "stee passes rows on to several pipelines",
			"a second %c at the same stage", sign);
	*r = ahead;
	if (reader_ends_word(reader_peek(r)))
		return READER_REFUSE(r, reader_place(r), "ssource FILE and ssink FILE do the same",
			"a path is missing behind %c", sign);
	if (reader_take_words(r, &words))
		return -1;
	if (words.len != 1)
		return READER_REFUSE(r, place, "quote it: \"$name\"",
			"what stands behind %c comes to %zu words, not one path", sign, words.len);
	*to = words.items[0];
	if (check_path(r, to->place, to->text, sign))
		return -1;
	to->text = plain_path(r, to->text);
	to->redirect = sign;
	return 0;
}

/* Digits in front of < or > name a descriptor. */
static int check_descriptor(struct reader *r, size_t start, struct pipeline_place place)
{
	int c = reader_peek(r);

	if (c != '<' && c != '>')
		return 0;
	for (size_t i = start; i < r->at; i++) {
		if (!strchr("0123456789\\\n", r->source->text[i]))
			return 0;
	}
	return READER_REFUSE(r, place,
		c == '>' ? "what stages say on standard error goes to runnel's log by itself"
			 : "a further input is an argument: <(ssource FILE)",
		"numbers of descriptors can't be used in a pipeline file");
}

static int take_word_of_stage(struct reader *r, struct reader_words *words)
{
	struct pipeline_place place = reader_place(r);
	size_t start = r->at, before = words->len;

	if (reader_take_words(r, words) || check_descriptor(r, start, place))
		return -1;
	if (!before && words->len && check_program(r, &words->items[0]))
		return -1;
	return 0;
}

/* At < or > : a word that a substitution touches is one with it. */
static int take_angle(struct reader *r, struct stage_words *s, bool first, bool touches)
{
	struct reader ahead = *r; /* the second byte may stand behind a backslash-newline */
	int c = reader_peek(r), next;

	reader_step(&ahead);
	next = reader_peek(&ahead);
	if (c == '<' && next == '(') {
		if (touches)
			return READER_REFUSE(r, reader_place(r),
				"a blank belongs in front of <(...)",
				"<(...) is an argument of its own");
		if (!s->words.len)
			return READER_REFUSE(r, reader_place(r), "a pipeline starts with ssource",
				"<(...) can't be a stage");
		return take_substitution(r, &s->words);
	}
	if (next > 0 && strchr(c == '<' ? "<&>" : "(>&|", next))
		return refuse_operator(r);
	return take_redirection(r, s, first);
}

static int stage_parts(struct reader *r, struct stage_words *s, bool first)
{
	bool touches = false; /* a word ended just here */

	for (;;) {
		size_t before = r->at;
		int c;

		reader_skip_blanks(r);
		touches &= r->at == before;
		c = reader_peek(r);
		if (c == READER_END || c == '\n' || c == '|' || (c == ')' && r->depth))
			return 0;
		if (c == '<' || c == '>') {
			before = s->words.len;
			if (take_angle(r, s, first, touches))
				return -1;
			touches = s->words.len > before; /* by <(...) */
			continue;
		}
		if (reader_ends_word(c))
			return refuse_operator(r);
		if (take_word_of_stage(r, &s->words))
			return -1;
		touches = true;
	}
}

static int refuse_missing_stage(struct reader *r, bool first)
{
	int c = reader_peek(r);

	if (reader_sees(r, "||") || reader_sees(r, "|&"))
		return refuse_operator(r);
	if (!first)
		return READER_REFUSE(r, reader_place(r), "a stage belongs behind it: ... | ssink",
			"a stage is missing behind |");
	if (c == '|')
		return READER_REFUSE(r, reader_place(r), "a pipeline starts with ssource",
			"a stage is missing in front of |");
	return READER_REFUSE(
		r, reader_place(r), "a pipeline starts with ssource", "a pipeline is missing here");
}

static int take_stage(struct reader *r, struct pipeline_stage *out, bool first)
{
	struct stage_words s = {.input.text = NULL};
	int c = reader_peek(r);

	out->place = reader_place(r);
	if (c == READER_END || c == '|' || (c == ')' && r->depth))
		return refuse_missing_stage(r, first);
	if (r->stages++ == PIPELINE_STAGES_MAX)
		return READER_REFUSE(
			r, out->place, NULL, "more than %d stages", PIPELINE_STAGES_MAX);
	if (stage_parts(r, &s, first))
		return -1;
	if (!s.words.len)
		return READER_REFUSE(r, out->place,
			s.input.text || s.output.text ? "write < and > behind the stage" : NULL,
			"a stage without a program");
	if (s.output.text && reader_peek(r) == '|')
		return READER_REFUSE(r, s.output.place, "write it behind the last stage",
			"> stands only at the end of the whole pipeline");
	if (check_endings(r, &s))
		return -1;
	if ((s.input.text && reader_add_argument(r, &s.words, &s.input)) ||
		(s.output.text && reader_add_argument(r, &s.words, &s.output)))
		return -1;
	out->arguments = s.words.items;
	out->arguments_len = s.words.len;
	return 0;
}

/* At the | behind a stage. */
static int take_bar(struct reader *r)
{
	struct reader ahead = *r;
	int next;

	reader_step(&ahead);
	next = reader_peek(&ahead);
	if (next == '|' || next == '&')
		return refuse_operator(r);
	*r = ahead;
	reader_skip_lines(r);
	return 0;
}

static int take_pipeline(struct reader *r, struct pipeline *out)
{
	struct pipeline_stage *stages = NULL;
	size_t cap = 0;

	reader_skip_lines(r);
	for (;;) {
		if (out->stages_len == cap) {
			cap = cap ? 2 * cap : 8;
			out->stages = ARENA_ARRAY(r->arena, struct pipeline_stage, cap);
			if (out->stages_len)
				memcpy(out->stages, stages, out->stages_len * sizeof *stages);
			stages = out->stages;
		}
		if (take_stage(r, &stages[out->stages_len], !out->stages_len))
			return -1;
		out->stages_len++;
		reader_skip_blanks(r);
		if (reader_peek(r) != '|')
			return 0;
		if (take_bar(r))
			return -1;
	}
}

/* ---- statements ---- */

static bool sees_assignment(const struct reader *r)
{
	size_t len = reader_name_len(r);

	return len && r->source->len - r->at > len && r->source->text[r->at + len] == '=';
}

static bool sees_command(const struct reader *r, const char *command)
{
	size_t end = r->at + strlen(command);

	return reader_sees(r, command) &&
	       reader_ends_word(
		       end < r->source->len ? (unsigned char)r->source->text[end] : READER_END);
}

/* A statement ends with its line. */
static int end_statement(struct reader *r, const char *hint)
{
	int c = reader_peek(r);

	if (c == READER_END || c == '\n')
		return 0;
	if (c == '(')
		return READER_REFUSE(r, reader_place(r), "quote it: name='(...)'",
			"there are no lists in a pipeline file");
	if (reader_ends_word(c))
		return refuse_operator(r);
	return READER_REFUSE(r, reader_place(r), hint, "the line must end before this");
}

/* At name= */
static int take_assignment(struct reader *r, bool exported)
{
	struct pipeline_place place = reader_place(r);
	const char *name, *value;

	if (reader_take_name(r, &name))
		return -1;
	reader_step(r);
	if (reader_take_value(r, &value))
		return -1;
	return reader_assign(r, place, name, value, exported);
}

static int take_assignments(struct reader *r)
{
	while (sees_assignment(r)) {
		if (take_assignment(r, false))
			return -1;
		reader_skip_blanks(r);
	}
	return end_statement(r,
		"assignments stand on lines of their own: quote a value with blanks,"
		" export what stages shall see");
}

/* At "export".  One name: bash computes all values before it assigns the first. */
static int take_export(struct reader *r)
{
	struct pipeline_place place = reader_place(r);
	const char *name;
	int status;

	for (size_t i = 0; i < strlen("export"); i++)
		reader_step(r);
	reader_skip_blanks(r);
	if (!reader_name_len(r))
		return READER_REFUSE(r, place, "export name=value", "export takes a name");
	place = reader_place(r);
	if (sees_assignment(r))
		status = take_assignment(r, true);
	else
		status = reader_take_name(r, &name) || reader_assign(r, place, name, NULL, true);
	if (status)
		return -1;
	if (!reader_ends_word(reader_peek(r)))
		return READER_REFUSE(r, reader_place(r), "export name=value", "this is no name");
	reader_skip_blanks(r);
	return end_statement(r, "every export stands on a line of its own: export name=value");
}

/* One argument of set, flags or the name behind -o; *named: one is due. */
static int take_flags(struct reader *r, const struct pipeline_argument *a, bool *named)
{
	static const char hint[] = "set -euo pipefail is all that can be set";
	bool due = false;

	if (*named) {
		*named = false;
		if (!strcmp(a->text, "nounset"))
			r->unset_refused = true;
		else if (strcmp(a->text, "pipefail") && strcmp(a->text, "errexit"))
			return READER_REFUSE(r, a->place, hint, "set -o can't take this");
		return 0;
	}
	if (a->text[0] != '-' || !a->text[1])
		return READER_REFUSE(r, a->place, hint, "set can't take this");
	for (const char *c = a->text + 1; *c; c++) {
		if (!strchr("euo", *c) || (*c == 'o' && due))
			return READER_REFUSE(r, a->place, hint, "set can't take this");
		due |= *c == 'o';
		r->unset_refused |= *c == 'u';
	}
	*named = due;
	return 0;
}

/* At "set" */
static int take_set(struct reader *r)
{
	static const char hint[] = "set -euo pipefail";
	struct pipeline_place place = reader_place(r);
	struct reader_words words = {.len = 0};
	bool named = false;

	for (size_t i = 0; i < strlen("set"); i++)
		reader_step(r);
	for (reader_skip_blanks(r); !reader_ends_word(reader_peek(r)); reader_skip_blanks(r)) {
		if (reader_take_words(r, &words))
			return -1;
	}
	if (end_statement(r, NULL))
		return -1;
	if (!words.len)
		return READER_REFUSE(r, place, hint, "set takes flags");
	for (size_t i = 0; i < words.len; i++) {
		if (take_flags(r, &words.items[i], &named))
			return -1;
	}
	if (named)
		return READER_REFUSE(r, place, hint, "set -o takes a name");
	return 0;
}

/* Assignments and set, up to the pipeline. */
static int take_statements(struct reader *r)
{
	for (;;) {
		int status;

		reader_skip_lines(r);
		if (reader_peek(r) == READER_END)
			return READER_REFUSE(r, reader_place(r),
				"for example: ssource FILE | ssink -f table",
				"there is no pipeline in it");
		if (sees_assignment(r))
			status = take_assignments(r);
		else if (sees_command(r, "export"))
			status = take_export(r);
		else if (sees_command(r, "set"))
			status = take_set(r);
		else
			return 0;
		if (status)
			return -1;
	}
}

/* ---- the file ---- */

static int take_end(struct reader *r)
{
	reader_skip_lines(r);
	switch (reader_peek(r)) {
	case READER_END: return 0;
	case '|':
		return READER_REFUSE(r, reader_place(r),
			"put the | at the end of the line before, or a \\ behind that line",
			"a line can't start with |");
	case ')': return refuse_operator(r);
	}
	if (sees_assignment(r) || sees_command(r, "set") || sees_command(r, "export"))
		return READER_REFUSE(r, reader_place(r), "move the line up",
			"assignments and set stand before the pipeline");
	return READER_REFUSE(r, reader_place(r),
		"end a line with | to go on with it on the next; another pipeline is another file",
		"a pipeline file holds one pipeline");
}

static void put_variables(struct reader *r, struct pipeline *out)
{
	struct pipeline_variable *all;

	all = ARENA_ARRAY(r->arena, struct pipeline_variable, r->variables_len);
	for (size_t i = 0; i < r->variables_len; i++) {
		const struct reader_variable *v = &r->variables[i];

		if (v->exported && v->value)
			all[out->variables_len++] = (struct pipeline_variable){v->name, v->value};
	}
	out->variables = all;
}

int pipeline_parse(const struct pipeline_source *source, struct arena *arena, struct pipeline *out,
	struct error *e)
{
	struct reader r = {.source = source, .arena = arena, .error = e, .line = 1};

	*out = (struct pipeline){.stages = NULL};
	if (check_bytes(&r) || take_statements(&r) || take_pipeline(&r, out) || take_end(&r))
		return -1;
	put_variables(&r, out);
	return 0;
}
