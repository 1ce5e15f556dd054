/* ssort - order, top-N, latest.  See ssort(1). */
#include "cmd/common/keyed.h"
#include "cmd/common/terminal.h"
#include "cmd/common/text_argument.h"
#include "cmd/ssort/ssort.h"
#include "libcore/stage/program.h"

#include <string.h>

static struct {
	const char *keys, *number, *late;
	int64_t limit;
	bool limit_given, ties, by_time;
} opt;

static const struct option_spec ssort_options[] = {
	{.name = "first",
		.letter = 'n',
		.kind = OPTION_INT,
		.argument = "N",
		.value = &opt.limit,
		.given = &opt.limit_given,
		.help = "only the first N rows, of every key with -k"},
	{.name = "keys",
		.letter = 'k',
		.kind = OPTION_TEXT,
		.argument = "COLUMNS",
		.value = &opt.keys,
		.help = "with -n: per value of these columns or expressions"},
	{.name = "ties",
		.kind = OPTION_FLAG,
		.value = &opt.ties,
		.help = "with -n: also the rows that are equal to the N-th"},
	{.name = "number",
		.kind = OPTION_TEXT,
		.argument = "NAME",
		.value = &opt.number,
		.help = "add the row's number in the order; with --ties its rank"},
	{.name = "by-time",
		.kind = OPTION_FLAG,
		.value = &opt.by_time,
		.help = "in the order of the event time, as the watermark passes"},
	{.name = "late",
		.kind = OPTION_TEXT,
		.argument = "PATH",
		.value = &opt.late,
		.help = "write rows that come behind the watermark to PATH, as frames"},
	{.name = NULL},
};

static struct arena texts;

/* Of a sort of everything, which goes on on disk: what can't has no cap unless it is given one. */
enum { SORT_MEMORY_BYTES = 256 << 20 };

static int check(const struct sort_options *o, int arguments, struct error *e)
{
	if (opt.limit_given && !opt.limit)
		return error_set(e, ERROR_USAGE, "-n: at least one row");
	if (o->by_time && (arguments || o->limit || o->keys || o->number))
		return error_set(e, ERROR_USAGE,
			"--by-time orders all rows by the event time: "
			"no order, -n, -k or --number");
	if (o->by_time)
		return 0;
	if (!arguments && !o->limit)
		return error_set(e, ERROR_USAGE,
			"nothing to do: neither an order nor -n was given\n"
			"sort by a column: ssort 'price desc'; by event time: ssort --by-time");
	if (o->keys && !o->limit)
		return error_set(e, ERROR_USAGE,
			"-k needs -n: the first N rows of every key\n"
			"to sort by a key, put it into the order");
	if (o->ties && (!o->limit || !arguments))
		return error_set(e, ERROR_USAGE, "--ties needs -n and an order");
	if (opt.late && !o->keys)
		return error_set(e, ERROR_USAGE,
			"--late belongs to --by-time, and to -n per window (-k window_end)");
	return 0;
}

/* What it keeps, for a person. */
static const char *kept(const struct sort_options *o)
{
	const char *rows = o->order ? o->order : "arrival";

	if (o->by_time)
		return "rows the watermark has not passed";
	if (!o->limit)
		return arena_printf(&texts, "all rows, by %s (on disk beyond --memory)", rows);
	if (!o->order)
		return o->keys ? arena_printf(&texts, "a count per %s", o->keys) : "a count";
	return arena_printf(&texts, "the first %lld rows by %s%s%s", (long long)o->limit, rows,
		o->keys ? " per " : "", o->keys ? o->keys : "");
}

static int describe(const struct sort_options *o, struct stage_description *about, struct error *e)
{
	about->sides[0].path = opt.late;
	about->keeps = kept(o);
	return keyed_describe(o->keys, o->keys_what, &texts, about, e);
}

static int create(struct stage_setup *setup, struct operator** out, struct error *e)
{
	struct text_argument order, keys;
	struct sort_options o = {.limit = opt.limit,
		.ties = opt.ties,
		.number = opt.number,
		.by_time = opt.by_time,
		.late_output = opt.late != NULL,
		.keys = opt.keys,
		.memory_bytes = setup->memory_bytes,
		.temporary = setup->temporary};

	if (setup->arguments_len > 1)
		return error_set(e, ERROR_USAGE,
			"one order, not %d; the second is '%s'\n"
			"items are separated by commas, in one argument: ssort 'price desc, name'",
			setup->arguments_len, setup->arguments[1]);
	if (check(&o, setup->arguments_len, e) < 0 ||
		text_argument_read(setup->arguments_len ? setup->arguments[0] : NULL, "order",
			&texts, &order, e) < 0 ||
		text_argument_read(opt.keys, "-k", &texts, &keys, e) < 0)
		return -1;
	o.sort_bytes = o.memory_bytes ? o.memory_bytes : SORT_MEMORY_BYTES;
	o.order = order.text;
	o.order_what = order.what;
	o.keys = keys.text;
	o.keys_what = keys.what;
	if (describe(&o, &setup->about, e) < 0)
		return -1;
	return sort_operator_new(&o, out, e);
}

static const struct stage_program ssort_program = {
	.info =
		{
			.name = "ssort",
			.summary = "order, top-N, latest",
			.usage = "[options] ['expr [asc|desc] [nulls first|last], ...']",
			.examples =
				"  ssort 'price desc nulls last, name'\n"
				"  ssort -n 10 'price desc'                      the ten dearest\n"
				"  ssort -k id -n 1 'at desc'                    the latest row "
				"per id\n"
				"  ssort -k window_end -n 3 --number rank 'n desc'\n"
				"  ssort -n 100                                  the first 100 "
				"rows\n"
				"  ssort --by-time                               a stream in "
				"order\n",
		},
	.options = ssort_options,
	.create = create,
	.terminal_sink = terminal_sink,
};

int main(int argc, char **argv)
{
	int status = stage_main(argc, argv, &ssort_program);

	arena_clear(&texts);
	return status;
}
