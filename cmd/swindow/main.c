/* swindow - group and aggregate.  Its manual is man/swindow.1. */
#include "cmd/common/answers.h"
#include "cmd/common/keyed.h"
#include "cmd/common/terminal.h"
#include "cmd/common/text_argument.h"
#include "cmd/swindow/over.h"

#include "libcore/base/civil.h"
#include "libcore/stage/program.h"

#include <string.h>

static int64_t tumble_us, session_us, offset_us, lateness_us;
static bool has_tumble, has_session, has_offset, has_lateness;
static const char *hop, *cumulate, *keys, *where, *late, *emit, *over, *count;
static bool exclude_current, partial;
static const char *exec_command, *exec_format = "ndjson", *exec_columns;
static int64_t exec_timeout_us = COPROCESS_TIMEOUT_US;
static bool has_exec_format, has_exec_timeout;
static struct arena texts; /* as long as the program */

static const struct option_spec options[] = {
	{.name = "tumble",
		.kind = OPTION_DURATION,
		.argument = "SIZE",
		.value = &tumble_us,
		.given = &has_tumble,
		.help = "windows of SIZE, one after another"},
	{.name = "hop",
		.kind = OPTION_TEXT,
		.argument = "SIZE,SLIDE",
		.value = &hop,
		.help = "windows of SIZE, a new one every SLIDE"},
	{.name = "cumulate",
		.kind = OPTION_TEXT,
		.argument = "SIZE,STEP",
		.value = &cumulate,
		.help = "windows that grow by STEP up to SIZE, then start anew"},
	{.name = "session",
		.kind = OPTION_DURATION,
		.argument = "GAP",
		.value = &session_us,
		.given = &has_session,
		.help = "per key, rows no further than GAP apart"},
	{.name = "count",
		.kind = OPTION_TEXT,
		.argument = "N[,SLIDE]",
		.value = &count,
		.help = "per key, windows of N rows, a new one every SLIDE"},
	{.name = "partial",
		.kind = OPTION_FLAG,
		.value = &partial,
		.help = "--count: windows that the end cuts short, too"},
	{.name = "over",
		.kind = OPTION_TEXT,
		.argument = "all|N|DURATION|group",
		.value = &over,
		.help = "every row, with aggregates over others of its key"},
	{.name = "exclude-current",
		.kind = OPTION_FLAG,
		.value = &exclude_current,
		.help = "--over: the row itself doesn't count"},
	{.name = "keys",
		.letter = 'k',
		.kind = OPTION_TEXT,
		.argument = "COLUMNS",
		.value = &keys,
		.help = "group by these columns, or expressions `expr as name`"},
	{.name = "where",
		.letter = 'w',
		.kind = OPTION_TEXT,
		.argument = "COND",
		.value = &where,
		.help = "only rows for which COND is true"},
	{.name = "offset",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &offset_us,
		.given = &has_offset,
		.help = "windows start at the epoch plus DURATION"},
	{.name = "emit",
		.kind = OPTION_TEXT,
		.argument = "close|changes|DURATION",
		.value = &emit,
		.help = "results when their window closes (close), or a changelog of updates"},
	{.name = "lateness",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &lateness_us,
		.given = &has_lateness,
		.help = "close windows DURATION after their end"},
	{.name = "late",
		.kind = OPTION_TEXT,
		.argument = "PATH",
		.value = &late,
		.help = "write rows that come after their window to PATH, as frames"},
	{.name = "exec",
		.kind = OPTION_TEXT,
		.argument = "COMMAND",
		.value = &exec_command,
		.help = "ask a co-process for each result: its rows in a line, an answer"},
	{.name = "exec-format",
		.kind = OPTION_TEXT,
		.argument = "ndjson|msgpack",
		.value = &exec_format,
		.given = &has_exec_format,
		.help = "how questions and answers are written (ndjson)"},
	{.name = "exec-schema",
		.kind = OPTION_TEXT,
		.argument = "'NAME TYPE, ...'",
		.value = &exec_columns,
		.help = "the answers' columns"},
	{.name = "exec-timeout",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &exec_timeout_us,
		.given = &has_exec_timeout,
		.help = "no answer for so long is a failure (1m; 0s: never)"},
	{.name = NULL},
};

/* Two durations, SIZE,STEP. */
static int pair_parse(const char *text, const char *option, const char *step_name, int64_t *size_us,
	int64_t *step_us, struct error *e)
{
	const char *comma = strchr(text, ',');

	if (comma && duration_parse(text, (size_t)(comma - text), size_us) == NUMBER_OK &&
		duration_parse(comma + 1, strlen(comma + 1), step_us) == NUMBER_OK)
		return 0;
	return error_set(e, ERROR_USAGE, "--%s takes SIZE,%s, as in --%s 10s,2s; not '%s'", option,
		step_name, option, text);
}

static int positive(int64_t us, const char *what, struct error *e)
{
	enum { YEARS_MOST = 100000 };

	if (us <= 0)
		return error_set(e, ERROR_USAGE, "%s must be longer than nothing", what);
	if (us > YEARS_MOST * 365 * CIVIL_US_DAY)
		return error_set(e, ERROR_USAGE, "%s is too long", what);
	return 0;
}

static int hop_check(const struct window_options *o, struct error *e)
{
	if (positive(o->size_us, "--hop's SIZE", e) || positive(o->step_us, "--hop's SLIDE", e))
		return -1;
	if (o->step_us > o->size_us) {
		error_set(e, ERROR_USAGE,
			"--hop: SLIDE is longer than SIZE, so rows would be lost between");
		return error_hint(e, "SIZE comes first: --hop 10s,2s");
	}
	return 0;
}

static int cumulate_check(const struct window_options *o, struct error *e)
{
	if (positive(o->size_us, "--cumulate's SIZE", e) ||
		positive(o->step_us, "--cumulate's STEP", e))
		return -1;
	if (o->size_us % o->step_us) {
		error_set(e, ERROR_USAGE, "--cumulate: SIZE must be a multiple of STEP");
		return error_hint(e, "SIZE comes first: --cumulate 1d,1h");
	}
	return 0;
}

/* Of rows: N or N,SLIDE. */
static int count_parse(struct window_options *o, struct error *e)
{
	enum { OPEN_MOST = 4096 };
	const char *comma = strchr(count, ',');
	size_t len = comma ? (size_t)(comma - count) : strlen(count);

	o->shape = WINDOW_COUNT;
	if (int_parse(count, len, &o->size_us) != NUMBER_OK ||
		(comma && int_parse(comma + 1, strlen(comma + 1), &o->step_us) != NUMBER_OK))
		return error_set(e, ERROR_USAGE, "--count takes N or N,SLIDE, as in --count 100,10; not '%s'",
			count);
	if (!comma)
		o->step_us = o->size_us;
	if (o->size_us < 1 || o->step_us < 1)
		return error_set(e, ERROR_USAGE, "--count takes at least one row");
	if (o->step_us > o->size_us) {
		error_set(e, ERROR_USAGE,
			"--count: SLIDE is more than N, so rows would be lost between");
		return error_hint(e, "N comes first: --count 100,10");
	}
	if (o->size_us / o->step_us > OPEN_MOST) {
		error_set(e, ERROR_USAGE, "--count: a row would be in more than %d windows", OPEN_MOST);
		return error_hint(e, "a longer SLIDE; or --over %lld, which has a result for every row",
			(long long)o->size_us);
	}
	return 0;
}

static int shape_parse(struct window_options *o, struct error *e)
{
	int given = has_tumble + has_session + (hop != NULL) + (cumulate != NULL) + (count != NULL);

	if (given > 1)
		return error_set(e, ERROR_USAGE,
			"one of --tumble, --hop, --cumulate, --session and --count, not several");
	o->shape = WINDOW_NONE;
	if (has_tumble) {
		o->shape = WINDOW_TUMBLE;
		o->size_us = o->step_us = tumble_us;
		return positive(tumble_us, "--tumble's SIZE", e);
	}
	if (has_session) {
		o->shape = WINDOW_SESSION;
		o->size_us = o->step_us = session_us;
		return positive(session_us, "--session's GAP", e);
	}
	if (count)
		return count_parse(o, e);
	if (hop) {
		o->shape = WINDOW_HOP;
		return pair_parse(hop, "hop", "SLIDE", &o->size_us, &o->step_us, e) ||
				       hop_check(o, e)
			       ? -1
			       : 0;
	}
	if (cumulate) {
		o->shape = WINDOW_CUMULATE;
		return pair_parse(cumulate, "cumulate", "STEP", &o->size_us, &o->step_us, e) ||
				       cumulate_check(o, e)
			       ? -1
			       : 0;
	}
	return 0;
}

static int times_check(struct window_options *o, struct error *e)
{
	if (has_offset && (o->shape == WINDOW_NONE || o->shape == WINDOW_SESSION ||
				  o->shape == WINDOW_COUNT))
		return error_set(e, ERROR_USAGE, "--offset moves --tumble, --hop and --cumulate");
	if (o->shape == WINDOW_COUNT && (has_lateness || late))
		return error_set(e, ERROR_USAGE, "--count goes by rows: none is late");
	if (partial && o->shape != WINDOW_COUNT)
		return error_set(e, ERROR_USAGE, "--partial is for --count");
	o->partial = partial;
	if (lateness_us < 0)
		return error_set(e, ERROR_USAGE, "--lateness must not be negative");
	if (o->step_us && o->shape != WINDOW_COUNT)
		o->offset_us = offset_us % (o->shape == WINDOW_CUMULATE ? o->size_us : o->step_us);
	o->lateness_us = lateness_us;
	return 0;
}

static int emit_parse(struct window_options *o, struct error *e)
{
	if (!emit || strcmp(emit, "close") == 0)
		return 0;
	o->emit = EMIT_CHANGES;
	if (strcmp(emit, "changes") == 0)
		return 0;
	o->emit = EMIT_EVERY;
	if (duration_parse(emit, strlen(emit), &o->emit_us) != NUMBER_OK)
		return error_set(e, ERROR_USAGE,
			"--emit takes close, changes or a duration like 10s, not '%s'", emit);
	return positive(o->emit_us, "--emit's DURATION", e);
}

static int emit_check(const struct window_options *o, struct error *e)
{
	if (o->shape == WINDOW_COUNT && o->emit != EMIT_CLOSE)
		return error_set(e, ERROR_USAGE, "--count and --emit don't go together: rows complete a window");
	return 0;
}

static int texts_read(struct window_options *o, const char *list_argument, struct error *e)
{
	struct text_argument k, w, list;

	if (text_argument_read(keys, "-k", &texts, &k, e) ||
		text_argument_read(where, "-w", &texts, &w, e) ||
		text_argument_read(list_argument, "aggregates", &texts, &list, e))
		return -1;
	o->keys = k.text;
	o->keys_from = k.what;
	o->where = w.text;
	o->where_from = w.what;
	o->list = list.text;
	o->list_from = list.what;
	return 0;
}

/* What the state is, for a person: "count(*) as n per auction and window". */
static const char *kept(const struct window_options *o)
{
	struct buf b = BUF_INIT;
	const char *text;

	if (over)
		buf_printf(&b, "rows (--over %s) and ", over);
	buf_put_text(&b, exec_command ? "rows" : o->list ? o->list : "the distinct keys");
	if (o->keys && o->list)
		buf_printf(&b, " per %s", o->keys);
	if (o->shape != WINDOW_NONE)
		buf_put_text(&b, o->keys && o->list ? " and window" : " per window");
	text = arena_strndup(&texts, (const char *)b.data, b.len);
	buf_clear(&b);
	return text;
}

/* By key, if there is one: groups are then spread by key group. */
static int describe(
	const struct window_options *o, struct stage_description *about, struct error *e)
{
	about->keeps = kept(o);
	return keyed_describe(o->keys, o->keys_from ? o->keys_from : "-k", &texts, about, e);
}

static int over_parse(struct over_options *o, struct error *e)
{
	size_t len = strlen(over);

	if (strcmp(over, "all") == 0) {
		o->frame = OVER_ALL;
	} else if (strcmp(over, "group") == 0) {
		o->frame = OVER_GROUP;
	} else if (int_parse(over, len, &o->rows) == NUMBER_OK) {
		o->frame = OVER_ROWS;
		if (o->rows < 1 || o->rows > UINT32_MAX / 2)
			return error_set(e, ERROR_USAGE, "--over N takes %s, not %s", o->rows < 1
				? "at least one row" : "at most 2147483647 rows", over);
	} else if (duration_parse(over, len, &o->span_us) == NUMBER_OK) {
		o->frame = OVER_TIME;
		return positive(o->span_us, "--over's DURATION", e);
	} else {
		return error_set(e, ERROR_USAGE,
			"--over takes all, group, a number of rows or a duration like 1h, not '%s'", over);
	}
	return 0;
}

static int over_create(const struct window_options *w, struct operator** out, struct error *e)
{
	struct over_options o = {.window = *w, .exclude_current = exclude_current};

	if (over_parse(&o, e))
		return -1;
	if (!w->list)
		return error_set(e, ERROR_USAGE, "--over: which aggregates?  --over all 'sum(x) as total'");
	if (w->emit != EMIT_CLOSE)
		return error_set(e, ERROR_USAGE, "--over and --emit don't go together: a row's result is final");
	if (w->lateness_us)
		return error_set(e, ERROR_USAGE, "--over and --lateness don't go together");
	if (w->shape == WINDOW_SESSION || w->shape == WINDOW_COUNT)
		return error_set(e, ERROR_USAGE, "--over group knows --tumble, --hop and --cumulate only");
	if (w->shape != WINDOW_NONE && o.frame != OVER_GROUP) {
		error_set(e, ERROR_USAGE, "--over %s has no windows", over);
		return error_hint(e, "all rows of a window: --over group --tumble 1m");
	}
	return over_operator_new(&o, out, e);
}

static int exec_parse(struct window_options *o, struct error *e)
{
	if (!exec_command && (exec_columns || has_exec_format || has_exec_timeout))
		return error_set(e, ERROR_USAGE, "--exec-%s belongs to --exec COMMAND",
			exec_columns ? "schema" : has_exec_format ? "format" : "timeout");
	if (exec_timeout_us < 0 || (exec_command && !*exec_command))
		return error_set(e, ERROR_USAGE, exec_timeout_us < 0 ?
			"--exec-timeout: a time is not negative" : "--exec: an empty command");
	if (exec_command && over)
		return error_set(e, ERROR_USAGE, "--exec and --over don't go together: smap --exec takes rows");
	if (answers_format(exec_format, &o->exec.format, e) < 0)
		return -1;
	o->exec.command = exec_command;
	o->exec.schema = exec_columns;
	o->exec.timeout_us = exec_timeout_us;
	o->exec.carries = true;
	if (window_exec_check(o, e) < 0)
		return -1;
	if (exec_command)
		o->list = window_exec_list(o->list, &texts);
	return 0;
}

static int create(struct stage_setup *setup, struct operator** out, struct error *e)
{
	struct window_options o = {
		.late_output = late != NULL, .memory_bytes = setup->memory_bytes, .temporary = setup->temporary};

	if (setup->arguments_len > 1) {
		error_set(e, ERROR_USAGE, "one list of aggregates, not %d; the second is '%s'",
			setup->arguments_len, setup->arguments[1]);
		return error_hint(
			e, "is there a * that the shell expanded?  Quote it: 'count(*) as n'");
	}
	if (texts_read(&o, setup->arguments_len ? setup->arguments[0] : NULL, e))
		return -1;
	if (!o.list && !keys && !exec_command) {
		error_set(e, ERROR_USAGE, "nothing to do: neither -k nor aggregates were given");
		return error_hint(e, "count all rows: swindow 'count(*) as n'");
	}
	if (shape_parse(&o, e) || times_check(&o, e) || emit_parse(&o, e) || emit_check(&o, e))
		return -1;
	setup->about.sides[0].path = late;
	if (exec_parse(&o, e) < 0)
		return -1;
	if (describe(&o, &setup->about, e) < 0)
		return -1;
	if (exclude_current && !over)
		return error_set(e, ERROR_USAGE, "--exclude-current is for --over");
	return over ? over_create(&o, out, e) : window_operator_new(&o, out, e);
}

static const struct stage_program program = {
	.info =
		{
			.name = "swindow",
			.summary = "group and aggregate",
			.usage = "[options] ['count(*) as n, sum(a) / count(*) as mean, ...']",
			.examples = "  swindow -k origin 'count(*) as n, avg(delay) as delay'\n"
				    "  swindow --tumble 10s -k auction 'count(*) as bids, "
				    "max(price) as best'\n"
				    "  swindow --hop 10s,2s -k auction 'count(*) as bids'\n"
				    "  swindow --session 30m -k user 'count(*) as clicks, "
				    "first(page) as entry'\n"
				    "  swindow --over all -k account 'sum(amount) as balance'\n"
				    "  swindow --tumble 1m -k level --emit changes 'count(*) as n'\n"
				    "  swindow -k channel,bidder          the distinct pairs\n",
		},
	.options = options,
	.create = create,
	.terminal_sink = terminal_sink,
};

int main(int argc, char **argv)
{
	int status = stage_main(argc, argv, &program);

	arena_clear(&texts);
	return status;
}
