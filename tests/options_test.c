/* Options: what is wrong is told with what was meant; the environment gives defaults; the completion
 * is a script that bash takes. */
#include "libcore/base/memory.h"
#include "libcore/base/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { ARGUMENTS_MAX = 8 };

static struct {
	bool quiet, given;
	const char *format;
	struct option_list nulls;
	int64_t limit, memory, delay;
	int from;
} v;

static const char *const from_choices[] = {"start", "end", NULL};

static const struct option_spec table[] = {
	{.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .value = &v.quiet, .help = "say less"},
	{.name = "format", .letter = 'f', .kind = OPTION_TEXT, .argument = "NAME", .value = &v.format,
		.given = &v.given, .help = "the format"},
	{.name = "null", .kind = OPTION_LIST, .argument = "TEXT", .value = &v.nulls, .help = "a null"},
	{.name = "limit", .letter = 'n', .kind = OPTION_INT, .argument = "N", .value = &v.limit,
		.help = "how many"},
	{.name = "memory", .kind = OPTION_SIZE, .argument = "SIZE", .value = &v.memory, .help = "its cap"},
	{.name = "delay", .letter = 'd', .kind = OPTION_DURATION, .argument = "DURATION",
		.value = &v.delay, .help = "how late rows may be"},
	{.name = "from", .kind = OPTION_CHOICE, .choices = from_choices, .value = &v.from,
		.help = "where to begin"},
	{.name = "bad-rows", .kind = OPTION_TEXT, .argument = "PATH", .value = &v.format, .help = "where to"},
	{.name = "secret", .kind = OPTION_FLAG, .value = &v.quiet, .hidden = true, .help = "not shown"},
	{.name = NULL},
};

static const struct option_spec *const tables[] = {table};
static const struct program_info program = {.name = "stest", .summary = "test options",
	.usage = "[options] [X...]", .examples = "  stest -f csv\n"};

static int parse(const char *const *words, struct options_result *out, struct error *e)
{
	static char *argv[ARGUMENTS_MAX + 2];
	int argc = 1;

	mem_free(v.nulls.items);
	memset(&v, 0, sizeof v);
	argv[0] = (char *)(uintptr_t)"stest";
	for (; *words; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	argv[argc] = NULL;
	*out = (struct options_result){.help = false};
	return options_parse(&program, tables, COUNT(tables), argc, argv, out, e);
}

struct wrong_case {
	const char *words[ARGUMENTS_MAX];
	const char *says;
};

static const struct wrong_case wrong_cases[] = {
	{{"--formt", "csv"}, "unknown option --formt\ndid you mean --format?"},
	{{"--formt=csv"}, "unknown option --formt\ndid you mean --format?"},
	{{"--xyzzy"}, "unknown option --xyzzy\n--help lists the options"},
	{{"-x"}, "unknown option -x"},
	{{"-qx"}, "unknown option -x"},
	{{"--format"}, "--format needs an argument: NAME"},
	{{"-f"}, "--format needs an argument: NAME"},
	{{"--quiet=yes"}, "--quiet takes no argument"},
	{{"-n", "-1"}, "--limit: '-1' is not a whole number from 0"},
	{{"-n", "1x"}, "--limit: '1x' is not"},
	{{"-n", ""}, "--limit: '' is not"},
	{{"-n", "9223372036854775808"}, "is not a whole number"},
	{{"--memory", "lots"}, "--memory: 'lots' is not a size like"},
	{{"--memory", "9999999999G"}, "is not a size like"},
	{{"--delay", "soon"}, "--delay: 'soon' is not a duration like"},
	{{"-d", ","}, "for the field separator: --delimiter ','"},
	{{"-d", "\t"}, "for the field separator: --delimiter '\t'"},
	{{"-d;"}, "for the field separator: --delimiter ';'"},
	{{"--from", "middle"}, "--from: 'middle' is none of start, end"},
	{{"--from", ""}, "is none of start, end"},
};

static void what_is_wrong_is_told_with_what_was_meant(void **state)
{
	for (size_t i = 0; i < COUNT(wrong_cases); i++) {
		struct options_result out;
		struct error e = ERROR_INIT;

		assert_int_equal(parse(wrong_cases[i].words, &out, &e), -1);
		assert_int_equal(e.code, ERROR_USAGE);
		if (!strstr(e.text, wrong_cases[i].says))
			fail_msg("'%s' instead of '%s'", e.text, wrong_cases[i].says);
	}
}

static void every_kind_is_parsed_and_arguments_stand_between(void **state)
{
	static const char *const words[] = {"one", "-qf", "csv", "--null=NA", "--null", "", "two", NULL};
	static const char *const more[] = {"-n5", "--memory=256M", "-d", "1h30m", "--from", "end", "--", "-x",
		NULL};
	struct options_result out;
	struct error e = ERROR_INIT;

	assert_int_equal(parse(words, &out, &e), 0);
	assert_true(v.quiet && v.given);
	assert_string_equal(v.format, "csv");
	assert_int_equal(v.nulls.len, 2);
	assert_string_equal(v.nulls.items[0], "NA");
	assert_string_equal(v.nulls.items[1], "");
	assert_int_equal(out.arguments_len, 2);
	assert_string_equal(out.arguments[0], "one");
	assert_string_equal(out.arguments[1], "two");

	assert_int_equal(parse(more, &out, &e), 0);
	assert_int_equal(v.limit, 5);
	assert_int_equal(v.memory, 256 << 20);
	assert_int_equal(v.delay, 5400000000);
	assert_int_equal(v.from, 1);
	assert_int_equal(out.arguments_len, 1);
	assert_string_equal(out.arguments[0], "-x");
}

static void the_environment_gives_defaults_that_the_line_overrides(void **state)
{
	static const char *const none[] = {NULL}, *const line[] = {"-f", "json", NULL};
	struct options_result out;
	struct error e = ERROR_INIT;

	setenv("RUNNEL_STEST_FORMAT", "csv", 1);
	setenv("RUNNEL_STEST_QUIET", "no", 1);
	setenv("RUNNEL_STEST_SECRET", "1", 1);
	setenv("RUNNEL_STEST_VERSION", "1.2", 1);
	setenv("RUNNEL_STEST_HELP", "1", 1);
	assert_int_equal(parse(none, &out, &e), 0);
	assert_string_equal(v.format, "csv");
	assert_true(v.given);
	assert_false(v.quiet || out.version || out.help);
	assert_int_equal(parse(line, &out, &e), 0);
	assert_string_equal(v.format, "json");
	setenv("RUNNEL_STEST_LIMIT", "many", 1);
	assert_int_equal(parse(none, &out, &e), -1);
	assert_non_null(strstr(e.text, "RUNNEL_STEST_LIMIT: --limit: 'many' is not"));
	unsetenv("RUNNEL_STEST_LIMIT");
	unsetenv("RUNNEL_STEST_FORMAT");
	unsetenv("RUNNEL_STEST_QUIET");
	unsetenv("RUNNEL_STEST_SECRET");
	unsetenv("RUNNEL_STEST_VERSION");
	unsetenv("RUNNEL_STEST_HELP");
}

static void help_names_all_but_the_hidden(void **state)
{
	struct buf help = BUF_INIT;
	const char *text;

	options_put_help(&program, tables, COUNT(tables), &help);
	text = buf_cstr(&help);
	assert_non_null(strstr(text, "usage: stest [options] [X...]"));
	assert_non_null(strstr(text, "  -f, --format NAME"));
	assert_non_null(strstr(text, "      --from start|end"));
	assert_non_null(strstr(text, "  -h, --help"));
	assert_null(strstr(text, "secret"));
	assert_null(strstr(text, "--complete"));
	buf_clear(&help);
}

/* The completion of these words by bash itself, spaces between. */
static void complete(const char *words, const char *previous, const char *current, struct buf *out)
{
	struct buf script = BUF_INIT;
	char path[] = "/tmp/options_test.XXXXXX", command[64];
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w"), *p;
	size_t n;

	assert_int_equal(options_put_completion(&program, tables, COUNT(tables), "bash", &script), 0);
	fwrite(script.data, 1, script.len, f);
	fprintf(f, "COMP_WORDS=(%s '%s' '%s'); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); set -u\n"
		"_stest; echo \"${COMPREPLY[*]}\"; complete -p stest\n", words, previous, current);
	fclose(f);
	snprintf(command, sizeof command, "bash %s 2>&1", path);
	p = popen(command, "r");
	while ((n = fread(buf_reserve(out, 4096), 1, 4096, p)))
		out->len += n;
	assert_int_equal(pclose(p), 0);
	remove(path);
	buf_clear(&script);
}

static void bash_takes_the_completion_and_completes(void **state)
{
	static const struct {
		const char *previous, *current, *want;
	} cases[] = {
		{"stest", "--f", "--format --from\ncomplete -o filenames -F _stest stest\n"},
		{"--from", "", "start end\ncomplete"},
		{"--from", "e", "end\ncomplete"},
		{"-q", "--se", "\ncomplete"},
		{"--bad-rows", "/de", "/dev\ncomplete"},
		{"stest", "/de", "/dev\ncomplete"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct buf out = BUF_INIT;

		complete("stest", cases[i].previous, cases[i].current, &out);
		if (strncmp(buf_cstr(&out), cases[i].want, strlen(cases[i].want)) != 0)
			fail_msg("case %zu: '%s'", i, buf_cstr(&out));
		buf_clear(&out);
	}
}

static void other_shells_are_unknown(void **state)
{
	struct buf out = BUF_INIT;

	assert_int_equal(options_put_completion(&program, tables, COUNT(tables), "tcsh", &out), -1);
	assert_int_equal(out.len, 0);
	buf_clear(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_wrong_is_told_with_what_was_meant),
		cmocka_unit_test(other_shells_are_unknown),
		cmocka_unit_test(every_kind_is_parsed_and_arguments_stand_between),
		cmocka_unit_test(the_environment_gives_defaults_that_the_line_overrides),
		cmocka_unit_test(help_names_all_but_the_hidden),
		cmocka_unit_test(bash_takes_the_completion_and_completes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
