#include "cmd/common/pipeline.h"
#include "libcore/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *variable(void *context, const char *name)
{
	static const char *const pairs[][2] = {{"spaced", " a  b "}, {"star", "*.csv"},
		{"escape", "a\\b"}, {"empty", ""}, {"word", "w"}, {"given", "old"}};

	assert_string_equal(context, "the environment");
	for (size_t i = 0; i < COUNT(pairs); i++) {
		if (!strcmp(name, pairs[i][0]))
			return pairs[i][1];
	}
	return NULL;
}

static char context[] = "the environment";

static struct pipeline_source source_of(const char *text, size_t len)
{
	return (struct pipeline_source){
		.name = "p.sh", .text = text, .len = len, .variable = variable, .context = context};
}

static struct pipeline parse(struct arena *arena, const char *text)
{
	struct pipeline_source source = source_of(text, strlen(text));
	struct error e = ERROR_INIT;
	struct pipeline p;

	if (pipeline_parse(&source, arena, &p, &e))
		fail_msg("%s", e.text);
	return p;
}

static void refuse(const char *text, size_t len, struct error *e)
{
	struct pipeline_source source = source_of(text, len);
	struct arena arena = ARENA_INIT;
	struct pipeline p;

	error_clear(e);
	if (!pipeline_parse(&source, &arena, &p, e))
		fail_msg("accepted: %s", text);
	assert_int_equal(e->code, ERROR_USAGE);
	arena_clear(&arena);
}

static void expect(const char *text, const struct error *e, const char *part)
{
	if (!strstr(e->text, part))
		fail_msg("%s\nsaid %s\nnot  %s", text, e->text, part);
}

struct refusal {
	const char *text, *place, *message, *hint;
};

static void expect_refusals(const struct refusal *cases, size_t n)
{
	struct error e;

	for (size_t i = 0; i < n; i++) {
		char place[32];

		refuse(cases[i].text, strlen(cases[i].text), &e);
		snprintf(place, sizeof place, "p.sh:%s: ", cases[i].place);
		if (strncmp(e.text, place, strlen(place)) != 0)
			fail_msg("%s\nexpected at %s: %s", cases[i].text, place, e.text);
		expect(cases[i].text, &e, cases[i].message);
		expect(cases[i].text, &e, cases[i].hint);
	}
}

static void words_a_shell_would_change_are_refused(void **state)
{
	static const struct refusal cases[] = {
		{"ssource a* | ssink", "1:10", "match * with file names", "quote it"},
		{"ssource a?", "1:10", "match ? with", "quote it"},
		{"ssource [a]", "1:9", "match [ with", "quote it"},
		{"a=*\nssource", "1:3", "match * with", "quote it"},
		{"ssource {a,b}", "1:9", "lists like {a,b}", "quote it"},
		{"ssource a}", "1:10", "lists like {a,b}", "quote it"},
		{"ssource ~/a.csv", "1:9", "home directory", "$HOME"},
		{"ssource --x=~", "1:13", "home directory", "$HOME"},
		{"ssource a:\\\n~", "2:1", "home directory", "$HOME"},
		{"ssource `ls`", "1:9", "`...` runs a command", "name=$(...) runnel"},
		{"ssource \"`ls`\"", "1:10", "`...` runs a command", "name=$(...) runnel"},
		{"ssource $(ls)", "1:9", "$(...) runs a command", "name=$(...) runnel"},
		{"ssource \"a $(ls)\"", "1:12", "$(...) runs a command", "name=$(...) runnel"},
		{"ssource $((1+1))", "1:9", "$((...)) is arithmetic", "name=$(...) runnel"},
		{"ssource $[1]", "1:9", "arithmetic", "\\$"},
		{"ssource $1", "1:9", "$1 is of the shell", "name=value runnel"},
		{"ssource \"$@\"", "1:10", "$@ is of the shell", "name=value runnel"},
		{"ssource $?", "1:9", "$? is of the shell", "\\$"},
		{"ssource $'a\\tb'", "1:9", "$'...' can't be used", "without the $"},
		{"ssource $\"a\"", "1:9", "$\"...\" can't be used", "without the $"},
		{"ssource a$ b", "1:10", "a $ without a name", "write \\$"},
		{"ssource 'a\nb", "1:9", "this ' has no end", "'it'\\''s'"},
		{"ssource \"a", "1:9", "this \" has no end", "\\\""},
		{"ssource a\\", "1:10", "ends with a backslash", "newline"},
		{"ssource $word\\\nx", "1:9", "continued on the next line", "${name}"},
		{"ssource a\r\n", "1:10", "carriage return", "Unix line ends"},
		{"\xef\xbb\xbfssource a", "1:1", "byte order mark", "without BOM"},
		{"ssource '\x01'", "1:10", "control character (0x01)", "hand it in"},
		{"ssource a\xff", "1:10", "not UTF-8 (0xff)", "as UTF-8"},
	};

	(void)state;
	expect_refusals(cases, COUNT(cases));
}

static void expansions_that_are_not_understood_are_refused(void **state)
{
	static const struct refusal cases[] = {
		{"ssource ${x", "1:9", "this ${ has no end", "next }"},
		{"ssource ${x:-a", "1:9", "this ${ has no end", "next }"},
		{"ssource \"${x:-a", "1:10", "this ${ has no end", "next }"},
		{"ssource ${x-a}", "1:12", "only :- or } can follow", "${name:-default}"},
		{"ssource ${x:=a}", "1:12", "only :- or } can follow", "${name:-default}"},
		{"ssource ${x[1]}", "1:12", "only :- or } can follow", "${name:-default}"},
		{"ssource ${#x}", "1:9", "doesn't go on with a name", "${name:-default}"},
		{"ssource ${}", "1:9", "doesn't go on with a name", "${name:-default}"},
		{"ssource ${x:-a*}", "1:15", "* in a default", "quote it"},
		{"ssource ${x:-~}", "1:14", "~ in a default", "quote it"},
		{"ssource ${x:-<(a)}", "1:14", "< in a default", "quote it"},
		{"ssource \"${x:-'a'}\"", "1:15", "' can't stand in a default", "line of its own"},
		{"ssource $star", "1:9", "the value of $star has one of *", "\"$star\""},
		{"ssource ${star:-a}", "1:9", "the value of $star has one of *", "\"$star\""},
		{"ssource ${x:-$star}", "1:14", "the value of $star has one of *", "\"$star\""},
		{"ssource $escape", "1:9", "the value of $escape", "\"$escape\""},
		{"a='[x]'\nssource a$a", "2:10", "the value of $a", "\"$a\""},
		{"ssource $PWD", "1:10", "PWD belongs to the shell", "another name"},
		{"PATH=a\nssource", "1:1", "PATH belongs to the shell", "another name"},
		{"export LC_ALL=C\nssource", "1:8", "LC_ALL belongs to the shell", "another name"},
		{"set -u\nssource $worm", "2:9", "worm is not set", "${worm:-}"},
		{"set -u\nfirst=$worm\nssource", "2:7", "worm is not set", "${worm:-}"},
		{"work=a\nset -u\nssource $wrok", "3:9", "wrok is not set", "did you mean $work?"},
		{"set -euo pipefail\nssource a |\n\tsmap \"b ${x}\"", "3:10", "x is not set",
			"${x:-}"},
	};

	(void)state;
	expect_refusals(cases, COUNT(cases));
}

static void what_is_not_one_pipeline_is_refused(void **state)
{
	static const struct refusal cases[] = {
		{"", "1:1", "there is no pipeline", "ssource FILE"},
		{"\n# a\n", "3:1", "there is no pipeline", "ssource FILE"},
		{"a=b", "1:4", "there is no pipeline", "ssource FILE"},
		{"ssource |", "1:10", "missing behind |", "ssink"},
		{"ssource | # why\n\n", "3:1", "missing behind |", "ssink"},
		{"ssource | | ssink", "1:11", "missing behind |", "ssink"},
		{"| ssink", "1:1", "missing in front of |", "ssource"},
		{"ssource\n| ssink", "2:1", "can't start with |", "end of the line before"},
		{"ssource\nssink", "2:1", "holds one pipeline", "end a line with |"},
		{"ssource\na=b", "2:1", "before the pipeline", "move the line up"},
		{"a=b ssource", "1:5", "must end before this", "lines of their own"},
		{"a=b; ssource", "1:4", "; can't be used", "lines of their own"},
		{"a=(b)", "1:3", "no lists", "quote it"},
		{"a+=b\nssource", "1:1", "an assignment can't", "lines of their own"},
		{"ssource | a=b smap", "1:11", "an assignment can't", "lines of their own"},
		{"ssource && ssink", "1:9", "&& can't be used", "script that calls runnel"},
		{"ssource || ssink", "1:9", "|| can't be used", "script that calls runnel"},
		{"ssource |\\\n| ssink", "1:9", "| can't stand here", "script that calls runnel"},
		{"ssource & ssink", "1:9", "& can't be used", "runnel FILE &"},
		{"ssource |& ssink", "1:9", "|& can't be used", "standard error"},
		{"ssource; ssink", "1:8", "; can't be used", "one pipeline"},
		{"ssource (a)", "1:9", "( can't be used", "must be quoted"},
		{"ssource a)", "1:10", ") can't be used", "must be quoted"},
		{"if true\nthen ssource\nfi", "1:1", "if can't be used", "without loops"},
		{"! ssource", "1:1", "! can't be used", "negate"},
		{"ssource | tee a", "1:11", "tee can't be used", "stee passes rows on"},
		{"$empty tee a", "1:8", "tee can't be used", "stee passes rows on"},
		{"\"\" a", "1:1", "an empty word is no program", "starts with a program"},
		{"'%\n1' a", "1:1", "starts with % is no program", "starts with a program"},
		{"$empty | ssink", "1:1", "stage without a program", "$empty"},
		{"set\nssource", "1:1", "set takes flags", "set -euo pipefail"},
		{"set -ex\nssource", "1:5", "set can't take this", "set -euo pipefail"},
		{"set +u\nssource", "1:5", "set can't take this", "set -euo pipefail"},
		{"set -o posix\nssource", "1:8", "set -o can't take this", "set -euo pipefail"},
		{"set -euo\nssource", "1:1", "set -o takes a name", "set -euo pipefail"},
		{"set -e; ssource", "1:7", "; can't be used", "one pipeline"},
		{"export\nssource", "1:1", "export takes a name", "export name=value"},
		{"export a b\nssource", "1:10", "must end before this", "line of its own"},
		{"export a-b\nssource", "1:9", "this is no name", "export name=value"},
	};

	(void)state;
	expect_refusals(cases, COUNT(cases));
}

static void substitutions_and_redirections_stand_in_their_places(void **state)
{
	static const struct refusal cases[] = {
		{"ssource | sjoin <(ssource a", "1:17", "this <( has no end", ")"},
		{"ssource | sjoin <(", "1:19", "a pipeline is missing", "ssource"},
		{"ssource | sjoin <()", "1:19", "a pipeline is missing", "ssource"},
		{"ssource | sjoin <(ssource a; b)", "1:28", "; can't be used", "one pipeline"},
		{"ssource | sjoin <(ssource a\nb)", "2:1", "a second command", "with )"},
		{"ssource | sjoin <(a=b)", "1:19", "an assignment can't", "lines of their own"},
		{"ssource | sjoin x<(ssource a)", "1:18", "argument of its own", "in front of"},
		{"ssource | sjoin <(ssource a)x", "1:29", "argument of its own", "behind"},
		{"ssource | smerge <(a)<(b)", "1:22", "argument of its own", "in front of"},
		{"ssource | sjoin < (ssource a)", "1:17", "a blank between < and (", "<(...)"},
		{"ssource | sjoin >(a)", "1:17", ">( can't be used", "stee passes"},
		{"<(ssource a)", "1:1", "can't be a stage", "ssource"},
		{"ssource | smap < a", "1:16", "only at the first stage", "<(ssource FILE)"},
		{"ssource > a | smap", "1:11", "only at the end", "last stage"},
		{"ssource | sjoin <(ssource > a)", "1:27", "only at the end", "reads it"},
		{"ssource 2> a", "1:9", "numbers of descriptors", "log"},
		{"ssource 2\\\n>&1", "1:9", "numbers of descriptors", "log"},
		{"ssource >> a", "1:9", ">> can't be used", "ssink out/"},
		{"ssource >& a", "1:9", ">& can't be used", "log"},
		{"ssource << a", "1:9", "<< can't be used", "ssource FILE"},
		{"ssource <<< a", "1:9", "<< can't be used", "ssource FILE"},
		{"ssource >", "1:10", "a path is missing", "ssink FILE"},
		{"ssource > a/", "1:11", "not a directory", "part files"},
		{"ssource > a/..", "1:11", "not a directory", "part files"},
		{"ssource < .", "1:11", "not a directory", "--follow"},
		{"ssource < ''", "1:11", "is empty", "''"},
		{"ssource > $spaced", "1:9", "2 words, not one path", "quote it"},
		{"ssource > $empty", "1:9", "0 words, not one path", "quote it"},
		{"ssource > /dev/stderr", "1:11", "something else to a shell", "tcp://"},
		{"ssource > 'a.csv'", "1:11", "bash would get ndjson", "ssink -f csv >"},
		{"ssource > a.json.gz -f csv", "1:11", "uncompressed", "ssink PATH"},
		{"ssource < a.log", "1:11", "by its contents", "ssource -f lines <"},
		{"ssource < a < b", "1:13", "a second <", "as arguments"},
	};

	(void)state;
	expect_refusals(cases, COUNT(cases));
}

static void the_caret_stands_under_the_place(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"ssource a.csv | tee copy | ssink",
			"p.sh:1:17: tee can't be used in a pipeline file\n"
			"  ssource a.csv | tee copy | ssink\n"
			"                  ^\n"
			"stee passes rows on to several pipelines: ... | stee 'ssink all.csv' | ..."},
		{"ssource |\n\tsmap\t'gr\xc3\xb6\xc3\x9f"
		 "e' *\n| ssink",
			"p.sh:2:17: a shell would match * with file names\n"
			"  \tsmap\t'gr\xc3\xb6\xc3\x9f"
			"e' *\n"
			"  \t    \t        ^\n"
			"quote it: in '...' everything stands for itself"},
		{"ssource \x1b[31m", "p.sh:1:9: a control character (0x1b)\n"
				     "  ssource ?[31m\n"
				     "          ^\n"
				     "hand it in: name=$'\\x01' runnel ..."},
	};
	struct error e;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		refuse(cases[i].text, strlen(cases[i].text), &e);
		assert_string_equal(e.text, cases[i].error);
	}
}

static void of_a_long_line_the_part_around_the_place_is_shown(void **state)
{
	struct buf text = BUF_INIT;
	struct error e;
	const char *shown, *caret;

	(void)state;
	buf_put_text(&text, "ssource '");
	for (int i = 0; i < 1000; i++)
		buf_put_text(&text, "\xc3\xb6");
	buf_put_text(&text, "' ; ");
	for (int i = 0; i < 1000; i++)
		buf_put_byte(&text, 'x');
	refuse(buf_cstr(&text), text.len, &e);
	expect("a long line", &e, "p.sh:1:2012: ; can't");
	shown = strstr(e.text, "\n  ...\xc3\xb6");
	assert_non_null(shown);
	caret = strchr(shown + 1, '\n');
	assert_non_null(caret);
	assert_true(caret - shown < 180);
	/* Characters of two bytes stand in front of it. */
	assert_int_equal(strchr(caret, '^') - caret, 3 + 3 + 78 / 2 + 2);
	buf_clear(&text);
}

static void an_error_of_several_lines_keeps_them_behind_the_caret(void **state)
{
	struct pipeline_source source = source_of("ssource a |\n smap 'x +'", 23);
	struct error e = ERROR_INIT;

	(void)state;
	assert_int_equal(pipeline_error(&source, (struct pipeline_place){2, 7}, "a hint", &e,
				 "smap: list:1:4: %s", "the end\n  x +\n     ^"),
		-1);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_string_equal(e.text, "p.sh:2:7: smap: list:1:4: the end\n"
				    "   smap 'x +'\n"
				    "        ^\n"
				    "  x +\n"
				    "     ^\n"
				    "a hint");
}

static void put_repeated(struct buf *out, const char *text, size_t n)
{
	while (n--)
		buf_put_text(out, text);
}

static void every_size_has_a_limit(void **state)
{
	static const struct {
		const char *front, *repeated, *behind;
		size_t limit;
		const char *message;
	} cases[] = {
		{"ssource", "|smap", "", PIPELINE_STAGES_MAX - 1, "more than 256 stages"},
		{"ssource", " a", "", PIPELINE_ARGUMENTS_MAX - 1, "more than 4096 arguments"},
		{"ssource ", "a", "", PIPELINE_BYTES_MAX - 8, "at most 1 MiB"},
		{"a=12345678\n", "a=$a$a\n", "ssource $a", 17, "more than 4 MiB"},
	};
	struct buf text = BUF_INIT;
	struct error e;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct arena arena = ARENA_INIT;

		for (size_t more = 0; more < 2; more++) {
			buf_reset(&text);
			buf_put_text(&text, cases[i].front);
			put_repeated(&text, cases[i].repeated, cases[i].limit + more);
			buf_put_text(&text, cases[i].behind);
			if (!more)
				parse(&arena, buf_cstr(&text));
		}
		refuse(buf_cstr(&text), text.len, &e);
		expect(cases[i].front, &e, cases[i].message);
		arena_clear(&arena);
	}
	buf_clear(&text);
}

static void nesting_has_a_limit(void **state)
{
	static const struct {
		const char *front, *open, *close;
	} cases[] = {{"ssource", " <(ssource", ")"}, {"ssource ", "${x:-", "}"},
		{"ssource \"", "${x:-", "}"}, {"a=", "${x:-", "}"}};
	struct error e;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct arena arena = ARENA_INIT;
		struct buf text = BUF_INIT;

		for (size_t n = PIPELINE_DEPTH_MAX; n < 100000;
			n += 1 + 10 * (n - PIPELINE_DEPTH_MAX)) {
			buf_reset(&text);
			buf_put_text(&text, cases[i].front);
			put_repeated(&text, cases[i].open, n);
			put_repeated(&text, cases[i].close, n);
			buf_put_text(&text, i == 2 ? "\"" : i == 3 ? "\nssource" : "");
			if (n == PIPELINE_DEPTH_MAX) {
				parse(&arena, buf_cstr(&text));
				continue;
			}
			refuse(buf_cstr(&text), text.len, &e);
			expect(cases[i].front, &e, "nested deeper than 16");
		}
		buf_clear(&text);
		arena_clear(&arena);
	}
}

static void variables_have_a_limit(void **state)
{
	struct arena arena = ARENA_INIT;
	struct buf text = BUF_INIT;
	struct error e;

	(void)state;
	for (int i = 0; i < PIPELINE_VARIABLES_MAX; i++)
		buf_printf(&text, "a%d=%d\n", i, i);
	buf_put_text(&text, "ssource $a7$a1023");
	assert_string_equal(parse(&arena, buf_cstr(&text)).stages[0].arguments[1].text, "71023");
	text.len -= strlen("ssource $a7$a1023");
	buf_put_text(&text, "b=c\nssource");
	refuse(buf_cstr(&text), text.len, &e);
	expect("variables", &e, "p.sh:1025:1: more than 1024 variables");
	buf_clear(&text);
	arena_clear(&arena);
}

/* The arguments, each in (), stages apart by |, substitutions as their tree in <>. */
static void put_tree(struct buf *out, const struct pipeline *p)
{
	for (size_t i = 0; i < p->stages_len; i++) {
		const struct pipeline_stage *s = &p->stages[i];

		if (i)
			buf_put_byte(out, '|');
		for (size_t k = 0; k < s->arguments_len; k++) {
			const struct pipeline_argument *a = &s->arguments[k];

			if (a->redirect)
				buf_put_byte(out, (uint8_t)a->redirect);
			if (!a->source) {
				buf_printf(out, "(%s)", a->text);
				continue;
			}
			buf_put_byte(out, '<');
			put_tree(out, a->source);
			buf_put_byte(out, '>');
		}
	}
}

static void words_are_what_they_are_to_bash(void **state)
{
	static const struct {
		const char *text, *tree;
	} cases[] = {
		{"ssource a|ssink", "(ssource)(a)|(ssink)"},
		{"#!/usr/bin/env runnel\n\nssource a | # b\n\n\tssink -f table # c\n# d",
			"(ssource)(a)|(ssink)(-f)(table)"},
		{"ssource a \\\n  b\\\nc |\\\nssink", "(ssource)(a)(bc)|(ssink)"},
		{"ssource 'a b' \"c d\" e\\ f '' \"\"", "(ssource)(a b)(c d)(e f)()()"},
		{"ssource a\"b\"'c'$word\\d#e", "(ssource)(abcwd#e)"},
		{"ssource \"\\$x \\a \\\\ \\\" \\`\" '\\'", "(ssource)($x \\a \\ \" `)(\\)"},
		{"ssource \"^a$\" \"x$'\" a!b !", "(ssource)(^a$)(x$')(a!b)(!)"},
		{"ssource $spaced \"$spaced\" x${spaced}y", "(ssource)(a)(b)( a  b )(x)(a)(b)(y)"},
		{"ssource $empty \"$empty\" $unset ''$unset", "(ssource)()()"},
		{"ssource ''$spaced''", "(ssource)()(a)(b)()"},
		{"ssource \"$star\" '*'", "(ssource)(*.csv)(*)"},
		{"ssource ${x:-a b} \"${x:-a b}\" ${x:-'a b'}", "(ssource)(a)(b)(a b)(a b)"},
		{"ssource ${empty:-${x:-\"a }\"}} ${word:-$star}", "(ssource)(a })(w)"},
		{"a='x y'\nb=$a\nssource $b \"$b\"", "(ssource)(x)(y)(x y)"},
		{"set -u\nword=${word:-x}$word\nssource ${q:-$word}", "(ssource)(ww)"},
		{"set -eu -o pipefail\nssource", "(ssource)"},
		{"$word a", "(w)(a)"},
		{"ssource | sjoin <( # in\n ssource b | smap c\n) d",
			"(ssource)|(sjoin)<(ssource)(b)|(smap)(c)>(d)"},
		{"ssource <\\\na --null NA|ssink>b", "(ssource)(--null)(NA)<(a)|(ssink)>(b)"},
		{"ssource <a.csv|ssink -f csv >b.csv",
			"(ssource)<(a.csv)|(ssink)(-f)(csv)>(b.csv)"},
		{"ssource < -a > b:c", "(ssource)<(./-a)>(./b:c)"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct arena arena = ARENA_INIT;
		struct pipeline p = parse(&arena, cases[i].text);
		struct buf tree = BUF_INIT;

		put_tree(&tree, &p);
		assert_string_equal(buf_cstr(&tree), cases[i].tree);
		buf_clear(&tree);
		arena_clear(&arena);
	}
}

static void assert_place(struct pipeline_place place, unsigned line, unsigned column)
{
	assert_int_equal(place.line, line);
	assert_int_equal(place.column, column);
}

static void stages_and_arguments_know_their_place(void **state)
{
	struct arena arena = ARENA_INIT;
	struct pipeline p = parse(
		&arena, "# a\nssource a |\n\tsjoin -k \\\n x <(ssource 'b\nc' d) $spaced e > f");
	const struct pipeline_stage *join = &p.stages[1];
	const struct pipeline *inner;

	(void)state;
	assert_int_equal(p.stages_len, 2);
	assert_place(p.stages[0].place, 2, 1);
	assert_place(join->place, 3, 2);
	assert_int_equal(join->arguments_len, 8);
	assert_place(join->arguments[0].place, 3, 2);
	assert_place(join->arguments[2].place, 4, 2);
	assert_place(join->arguments[3].place, 4, 4);
	assert_string_equal(join->arguments[3].text, "<(ssource 'b\nc' d)");
	inner = join->arguments[3].source;
	assert_non_null(inner);
	assert_int_equal(inner->stages_len, 1);
	assert_place(inner->stages[0].place, 4, 6);
	assert_place(inner->stages[0].arguments[1].place, 4, 14);
	assert_place(inner->stages[0].arguments[2].place, 5, 4);
	assert_place(join->arguments[4].place, 5, 7);
	assert_place(join->arguments[5].place, 5, 7);
	assert_place(join->arguments[6].place, 5, 15);
	assert_place(join->arguments[7].place, 5, 19);
	assert_int_equal(join->arguments[7].redirect, '>');
	arena_clear(&arena);
}

static void stages_get_what_is_exported_or_was_in_the_environment(void **state)
{
	struct arena arena = ARENA_INIT;
	struct pipeline p = parse(&arena,
		"a=1\ngiven=new\ngiven=$given$a\nexport b=2\nexport c\nc=3\nexport word\nssource");
	static const char *const expected[][2] = {{"given", "new1"}, {"b", "2"}, {"c", "3"}};

	(void)state;
	assert_int_equal(p.variables_len, COUNT(expected));
	for (size_t i = 0; i < COUNT(expected); i++) {
		assert_string_equal(p.variables[i].name, expected[i][0]);
		assert_string_equal(p.variables[i].value, expected[i][1]);
	}
	arena_clear(&arena);
}

static void without_an_environment_nothing_is_set(void **state)
{
	struct pipeline_source source = {.name = "-c", .text = "ssource \"${word:-x}\"", .len = 20};
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	struct pipeline p;

	(void)state;
	assert_int_equal(pipeline_parse(&source, &arena, &p, &e), 0);
	assert_string_equal(p.stages[0].arguments[1].text, "x");
	assert_int_equal(p.variables_len, 0);
	arena_clear(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_a_shell_would_change_are_refused),
		cmocka_unit_test(expansions_that_are_not_understood_are_refused),
		cmocka_unit_test(what_is_not_one_pipeline_is_refused),
		cmocka_unit_test(substitutions_and_redirections_stand_in_their_places),
		cmocka_unit_test(the_caret_stands_under_the_place),
		cmocka_unit_test(of_a_long_line_the_part_around_the_place_is_shown),
		cmocka_unit_test(an_error_of_several_lines_keeps_them_behind_the_caret),
		cmocka_unit_test(every_size_has_a_limit),
		cmocka_unit_test(nesting_has_a_limit),
		cmocka_unit_test(variables_have_a_limit),
		cmocka_unit_test(words_are_what_they_are_to_bash),
		cmocka_unit_test(stages_and_arguments_know_their_place),
		cmocka_unit_test(stages_get_what_is_exported_or_was_in_the_environment),
		cmocka_unit_test(without_an_environment_nothing_is_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
