/* smap - choose, compute, filter.  See smap(1). */
#include "cmd/common/answers.h"
#include "cmd/common/bad.h"
#include "cmd/common/terminal.h"
#include "cmd/common/text_argument.h"
#include "cmd/smap/map.h"
#include "libcore/stage/program.h"

static struct {
	const char *where, *otherwise, *explode, *assign_time, *bad;
	int64_t delay;
	const char *exec, *exec_format, *exec_schema;
	int64_t exec_timeout;
	bool delay_given, format_given, timeout_given;
} opt = {.bad = "stop", .exec_format = "ndjson", .exec_timeout = COPROCESS_TIMEOUT_US};

static const struct option_spec smap_options[] = {
	{.name = "where", .letter = 'w', .kind = OPTION_TEXT, .argument = "COND",
		.value = &opt.where, .help = "only rows for which COND is true"},
	{.name = "else", .kind = OPTION_TEXT, .argument = "PATH", .value = &opt.otherwise,
		.help = "write the other rows to PATH, as frames"},
	{.name = "explode", .kind = OPTION_TEXT, .argument = "COLUMN", .value = &opt.explode,
		.help = "one row per element of the array in COLUMN (any)"},
	{.name = "assign-time", .kind = OPTION_TEXT, .argument = "COLUMN",
		.value = &opt.assign_time, .help = "make an output column the event time"},
	{.name = "delay", .letter = 'd', .kind = OPTION_DURATION, .argument = "DURATION",
		.value = &opt.delay, .given = &opt.delay_given,
		.help = "with --assign-time: how far rows may be out of order"},
	{.name = "bad", .kind = OPTION_TEXT, .argument = "stop|skip|PATH", .value = &opt.bad,
		.help = "rows an expression fails on: stop, skip and count, or write to PATH"},
	{.name = "exec", .kind = OPTION_TEXT, .argument = "COMMAND", .value = &opt.exec,
		.help = "pass the rows through a co-process: a line each, an answer each"},
	{.name = "exec-format", .kind = OPTION_TEXT, .argument = "ndjson|msgpack",
		.value = &opt.exec_format, .given = &opt.format_given,
		.help = "how rows and answers are written (ndjson)"},
	{.name = "exec-schema", .kind = OPTION_TEXT, .argument = "'*, NAME TYPE, ...'",
		.value = &opt.exec_schema, .help = "the answers' columns, where they aren't the rows' own"},
	{.name = "exec-timeout", .kind = OPTION_DURATION, .argument = "DURATION",
		.value = &opt.exec_timeout, .given = &opt.timeout_given,
		.help = "no answer for so long is a failure (1m; 0s: never)"},
	{.name = NULL},
};

static struct arena texts;

static int create(struct stage_setup *setup, struct operator **out, struct error *e)
{
	struct text_argument where, list;
	struct map_options o = {.explode = opt.explode, .assign_time = opt.assign_time,
		.has_delay = opt.delay_given, .delay_us = opt.delay, .bad = opt.bad,
		.has_else = opt.otherwise != NULL};

	if (setup->arguments_len > 1)
		return error_set(e, ERROR_USAGE, "one select list, not %d; the second is '%s'\n"
			"is there a * that the shell expanded?  Quote it: smap '*, a + b as c'",
			setup->arguments_len, setup->arguments[1]);
	if (opt.otherwise && !opt.where)
		return error_set(e, ERROR_USAGE, "--else needs a condition: -w COND");
	if (opt.delay_given && !opt.assign_time)
		return error_set(e, ERROR_USAGE, "-d belongs to --assign-time COLUMN");
	if (!opt.exec && (opt.exec_schema || opt.format_given || opt.timeout_given))
		return error_set(e, ERROR_USAGE, "%s belongs to --exec COMMAND", opt.exec_schema ?
			"--exec-schema" : opt.format_given ? "--exec-format" : "--exec-timeout");
	if (opt.exec_timeout < 0 || (opt.exec && !*opt.exec))
		return error_set(e, ERROR_USAGE, opt.exec_timeout < 0 ?
			"--exec-timeout: a time is not negative" : "--exec: an empty command");
	if (answers_format(opt.exec_format, &o.exec.format, e) < 0)
		return -1;
	o.exec.command = opt.exec;
	o.exec.schema = opt.exec_schema;
	o.exec.timeout_us = opt.exec_timeout;
	if (opt.delay < 0)
		return error_set(e, ERROR_USAGE, "-d: a delay is not negative");
	if (text_argument_read(opt.where, "-w", &texts, &where, e) < 0 ||
		text_argument_read(setup->arguments_len ? setup->arguments[0] : NULL, "select list",
			&texts, &list, e) < 0)
		return -1;
	o.where = where.text;
	o.where_what = where.what;
	o.list = list.text;
	o.list_what = list.what;
	setup->about.sides[MAP_ELSE_OUTPUT - 1].path = opt.otherwise;
	o.bad_output = setup->supervised && bad_is_path(opt.bad);
	if (o.bad_output)
		setup->about.sides[MAP_BAD_OUTPUT - 1] = (struct stage_side){opt.bad, "ndjson"};
	setup->about.spread = STAGE_ANY;
	return map_operator_new(&o, out, e);
}

static const struct stage_program smap_program = {
	.info = {
		.name = "smap",
		.summary = "choose, compute, filter",
		.usage = "[options] ['expr [as name], *, * except (a), * rename (a as b), ...']",
		.examples =
			"  ssource mails.ndjson | smap --exec 'python3 -u score.py' --exec-schema '*, spam float'\n"
			"  ssource bids.csv | smap -w 'price > 100' '*, price * 0.908 as eur' | ssink\n"
			"  ssource log.ndjson | smap 'user.id as user, status >= 500 as failed' | ssink\n",
	},
	.options = smap_options,
	.create = create,
	.terminal_sink = terminal_sink,
};

int main(int argc, char **argv)
{
	int status = stage_main(argc, argv, &smap_program);

	arena_clear(&texts);
	return status;
}
