/* smatch - find patterns over time.  See smatch(1). */
#include "cmd/smatch/match.h"

#include "cmd/common/keyed.h"
#include "cmd/common/terminal.h"
#include "cmd/common/text_argument.h"
#include "libcore/stage/program.h"

#include <string.h>

enum { MEMORY_DEFAULT = 1 << 30 };

static struct {
	const char *keys, *where, *pattern, *define, *subset, *after, *late;
	int64_t within, partials;
	bool within_given, all_rows;
} opt = {.partials = PARTIALS_DEFAULT};

static struct arena texts;

static const struct option_spec options[] = {
	{.name = "key", .letter = 'k', .kind = OPTION_TEXT, .argument = "COLUMNS", .value = &opt.keys,
		.help = "match rows of each key by themselves: columns, or expr as name"},
	{.name = "pattern", .kind = OPTION_TEXT, .argument = "PATTERN", .value = &opt.pattern,
		.help = "variables in order: 'A B+ (C | D)?'"},
	{.name = "define", .kind = OPTION_TEXT, .argument = "DEFINITIONS", .value = &opt.define,
		.help = "what rows they are: 'A: x < 1; B: x > A.x'"},
	{.name = "within", .kind = OPTION_DURATION, .argument = "DURATION", .value = &opt.within,
		.given = &opt.within_given,
		.help = "a match's last row is no later behind its first"},
	{.name = "after-match", .kind = OPTION_TEXT, .argument = "WHERE", .value = &opt.after,
		.help = "look on behind a match's last row, its first (next), or at VAR"},
	{.name = "all-rows", .kind = OPTION_FLAG, .value = &opt.all_rows,
		.help = "every row of a match with its columns, not one row a match"},
	{.name = "subset", .kind = OPTION_TEXT, .argument = "NAMES", .value = &opt.subset,
		.help = "names for several variables: 'U = (A, B)'"},
	{.name = "where", .letter = 'w', .kind = OPTION_TEXT, .argument = "COND", .value = &opt.where,
		.help = "only rows for which it is true"},
	{.name = "partials", .kind = OPTION_INT, .argument = "N", .value = &opt.partials,
		.help = "partial matches of a key at once, at most; 10000"},
	{.name = "late", .kind = OPTION_TEXT, .argument = "PATH", .value = &opt.late,
		.help = "write rows that come behind the watermark to PATH, as frames"},
	{.name = NULL},
};

static int read_texts(struct match_options *o, const char *list_argument, struct error *e)
{
	struct text_argument keys, where, pattern, define, list;

	if (text_argument_read(opt.keys, "-k", &texts, &keys, e) < 0 ||
		text_argument_read(opt.where, "-w", &texts, &where, e) < 0 ||
		text_argument_read(opt.pattern, "--pattern", &texts, &pattern, e) < 0 ||
		text_argument_read(opt.define, "--define", &texts, &define, e) < 0 ||
		text_argument_read(list_argument, "measures", &texts, &list, e) < 0)
		return -1;
	o->keys = keys.text;
	o->keys_from = keys.what ? keys.what : "-k";
	o->where = where.text;
	o->where_from = where.what ? where.what : "-w";
	o->pattern = pattern.text;
	o->pattern_from = pattern.what;
	o->define = define.text;
	o->define_from = define.what ? define.what : "--define";
	o->list = list.text;
	o->list_from = list.what ? list.what : "measures";
	return 0;
}

static void read_after(struct match_options *o)
{
	const char *after = opt.after ? opt.after : "last";

	if (strcmp(after, "last") == 0) {
		o->after = AFTER_LAST_ROW;
	} else if (strcmp(after, "next") == 0) {
		o->after = AFTER_NEXT_ROW;
	} else {
		bool first = strncmp(after, "first:", 6) == 0, last = strncmp(after, "last:", 5) == 0;

		o->after = first ? AFTER_FIRST_OF : AFTER_LAST_OF;
		o->after_variable = after + (first ? 6 : last ? 5 : 0);
	}
}

static int describe(const struct match_options *o, struct stage_description *about, struct error *e)
{
	about->sides[0].path = opt.late;
	about->keeps = arena_printf(&texts, "rows of matches of %s that have begun%s%s", o->pattern,
		o->keys ? ", per " : "", o->keys ? o->keys : "");
	return keyed_describe(o->keys, o->keys_from, &texts, about, e);
}

static int create(struct stage_setup *setup, struct operator** out, struct error *e)
{
	struct match_options o = {.all_rows = opt.all_rows, .has_within = opt.within_given,
		.within_us = opt.within, .late_output = opt.late != NULL,
		.memory_bytes = setup->memory_bytes, .subset = opt.subset};

	if (setup->arguments_len > 1) {
		error_set(e, ERROR_USAGE, "one list of measures, not %d; the second is '%s'",
			setup->arguments_len, setup->arguments[1]);
		return error_hint(e, "is there a * that the shell expanded?  Quote it: 'count(*) as n'");
	}
	if (!opt.pattern) {
		error_set(e, ERROR_USAGE, "which pattern?");
		return error_hint(e, "smatch -k card --pattern 'SMALL BIG+' --define 'SMALL: amount < 1; "
			"BIG: amount > 500' 'count(BIG.*) as n'");
	}
	if (!setup->arguments_len && !opt.all_rows) {
		error_set(e, ERROR_USAGE, "what of a match?");
		return error_hint(e, "measures, as in 'first(A.at) as begun, count(*) as n', or --all-rows");
	}
	if (opt.within_given && opt.within < 0)
		return error_set(e, ERROR_USAGE, "--within: a time that is not negative");
	if (opt.partials < 1 || opt.partials > 100000000)
		return error_set(e, ERROR_USAGE, "--partials is 1 to 100000000");
	o.partials_max = (uint32_t)opt.partials;
	read_after(&o);
	if (read_texts(&o, setup->arguments_len ? setup->arguments[0] : NULL, e) < 0 ||
		describe(&o, &setup->about, e) < 0)
		return -1;
	return match_operator_new(&o, out, e);
}

static const struct stage_program program = {
	.info = {
		.name = "smatch",
		.summary = "find patterns over time",
		.usage = "[options] ['first(A.at) as at, count(B.*) as n, ...']",
		.examples =
			"  smatch -k card --pattern 'SMALL BIG+' --within 10m \\\n"
			"    --define 'SMALL: amount < 1; BIG: amount > 500' \\\n"
			"    'first(SMALL.at) as at, count(BIG.*) as n, last(BIG.amount) as amount'\n"
			"  smatch -k stock --pattern 'DOWN{2,} UP+' --define \\\n"
			"    'DOWN: price < prev(price); UP: price > prev(price)' 'last(DOWN.price) as low'\n",
	},
	.options = options,
	.memory_default_bytes = MEMORY_DEFAULT,
	.create = create,
	.terminal_sink = terminal_sink,
};

int main(int argc, char **argv)
{
	int status = stage_main(argc, argv, &program);

	arena_clear(&texts);
	return status;
}
