/* sjoin: bring two streams together.  Manual: sjoin(1). */
#include "cmd/common/connected.h"
#include "cmd/common/terminal.h"
#include "cmd/common/text_argument.h"
#include "cmd/sjoin/join.h"
#include "cmd/sjoin/lookup.h"
#include "cmd/ssource/source.h"
#include "connect/url.h"

#include "libcore/base/clock.h"
#include "libcore/base/civil.h"
#include "libcore/stage/program.h"

#include <string.h>

enum {
	TIME_MAX_DAYS = 36500, /* a century: bounds stay far from the ends of int64 */
	LOOKUP_CACHE = 100000,
	LOOKUP_TTL_US = 60000000,
};

static const char *const kinds[] = {"inner", "left", "right", "full", "semi", "anti", NULL};

static struct {
	const char *keys, *where, *prefix, *late, *lookup;
	const char *tumble, *hop, *cumulate, *within;
	int64_t offset_us, tolerance_us, ttl_us, lookup_ttl_us, lookup_cache;
	int kind;
	bool is_static, as_of, cross, has_tolerance, has_offset, has_ttl, has_lookup_ttl, has_cache;
} given = {.prefix = "right_", .lookup_ttl_us = LOOKUP_TTL_US, .lookup_cache = LOOKUP_CACHE};

static const struct option_spec options[] = {
	{.name = "key",
		.letter = 'k',
		.kind = OPTION_TEXT,
		.argument = "'A = B, C'",
		.value = &given.keys,
		.help = "columns that have to be equal: A left, B right; C on both sides"},
	{.name = "where",
		.letter = 'w',
		.kind = OPTION_TEXT,
		.argument = "COND",
		.value = &given.where,
		.help = "a further condition, by the names in the output"},
	{.name = "kind",
		.kind = OPTION_CHOICE,
		.argument = "KIND",
		.value = &given.kind,
		.choices = kinds,
		.help = "inner (default), left, right, full, semi or anti"},
	{.name = "static",
		.kind = OPTION_FLAG,
		.value = &given.is_static,
		.help = "read RIGHT to its end first, then let LEFT stream through"},
	{.name = "tumble",
		.kind = OPTION_TEXT,
		.argument = "SIZE",
		.value = &given.tumble,
		.help = "rows of the same window of this size"},
	{.name = "hop",
		.kind = OPTION_TEXT,
		.argument = "SIZE,SLIDE",
		.value = &given.hop,
		.help = "rows of the same window, a new one every SLIDE"},
	{.name = "cumulate",
		.kind = OPTION_TEXT,
		.argument = "SIZE,STEP",
		.value = &given.cumulate,
		.help = "rows of the same window, which grows by STEP up to SIZE"},
	{.name = "offset",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &given.offset_us,
		.given = &given.has_offset,
		.help = "move the windows by this"},
	{.name = "within",
		.kind = OPTION_TEXT,
		.argument = "LO,HI",
		.value = &given.within,
		.help = "right time between left time + LO and left time + HI: -5s,10s"},
	{.name = "as-of",
		.kind = OPTION_FLAG,
		.value = &given.as_of,
		.help = "the latest right row at or before the left row's time"},
	{.name = "tolerance",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &given.tolerance_us,
		.given = &given.has_tolerance,
		.help = "with --as-of: not if it is older than this"},
	{.name = "ttl",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &given.ttl_us,
		.given = &given.has_ttl,
		.help = "streams: forget rows this long after their event time"},
	{.name = "lookup",
		.kind = OPTION_TEXT,
		.argument = "URL",
		.value = &given.lookup,
		.help = "no RIGHT: ask a database for the rows of the keys that come"},
	{.name = "lookup-cache",
		.kind = OPTION_INT,
		.argument = "N",
		.value = &given.lookup_cache,
		.given = &given.has_cache,
		.help = "--lookup: keep so many keys and rows (100000); 0: none"},
	{.name = "lookup-ttl",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &given.lookup_ttl_us,
		.given = &given.has_lookup_ttl,
		.help = "--lookup: for so long (1m); 0s: for ever"},
	{.name = "cross",
		.kind = OPTION_FLAG,
		.value = &given.cross,
		.help = "no keys: every left row meets every right row"},
	{.name = "prefix",
		.kind = OPTION_TEXT,
		.argument = "TEXT",
		.value = &given.prefix,
		.help = "in front of a right column whose name is on both sides (right_)"},
	{.name = "late",
		.kind = OPTION_TEXT,
		.argument = "PATH",
		.value = &given.late,
		.help = "write late rows to PATH, as frames; otherwise only count them"},
	{.name = NULL},
};

static int bad_duration(const char *option, const char *text, struct error *e)
{
	return error_set(e, ERROR_USAGE, "--%s: '%s' is no duration; for example 10s, 5m, 1h30m",
		option, text);
}

static int parse_duration(
	const char *option, const char *text, size_t len, int64_t *out, struct error *e)
{
	while (len && *text == ' ') {
		text++;
		len--;
	}
	if (duration_parse(text, len, out) != NUMBER_OK)
		return bad_duration(option, text, e);
	if (*out > TIME_MAX_DAYS * CIVIL_US_DAY || *out < -TIME_MAX_DAYS * CIVIL_US_DAY)
		return error_set(
			e, ERROR_USAGE, "--%s: '%s' is more than a hundred years", option, text);
	return 0;
}

static int parse_two(
	const char *option, const char *text, int64_t *first, int64_t *second, struct error *e)
{
	const char *comma = strchr(text, ',');

	if (!comma)
		return error_set(e, ERROR_USAGE,
			"--%s takes two durations with a comma between, "
			"not '%s'",
			option, text);
	if (parse_duration(option, text, (size_t)(comma - text), first, e) < 0)
		return -1;
	return parse_duration(option, comma + 1, strlen(comma + 1), second, e);
}

static int check_window(const char *option, const struct join_options *o, struct error *e)
{
	if (o->size_us <= 0 || o->step_us <= 0)
		return error_set(e, ERROR_USAGE, "--%s: a window needs a length", option);
	if (o->step_us > o->size_us)
		return error_set(e, ERROR_USAGE,
			"--%s: the step is longer than the window; SIZE comes "
			"first",
			option);
	if (o->cumulate && o->size_us % o->step_us)
		return error_set(e, ERROR_USAGE, "--cumulate: SIZE is no multiple of STEP");
	return 0;
}

static int parse_window(struct join_options *o, struct error *e)
{
	int status;

	o->by = JOIN_BY_WINDOW;
	o->offset_us = given.offset_us;
	o->cumulate = given.cumulate;
	if (given.hop)
		status = parse_two("hop", given.hop, &o->size_us, &o->step_us, e);
	else if (given.cumulate)
		status = parse_two("cumulate", given.cumulate, &o->size_us, &o->step_us, e);
	else
		status = parse_duration(
			"tumble", given.tumble, strlen(given.tumble), &o->size_us, e);
	if (given.tumble)
		o->step_us = o->size_us;
	if (status < 0)
		return -1;
	return check_window(given.hop ? "hop" : given.cumulate ? "cumulate" : "tumble", o, e);
}

static int parse_family(struct join_options *o, struct error *e)
{
	int families = given.is_static + given.as_of + !!given.tumble + !!given.hop +
		       !!given.cumulate + !!given.within + !!given.lookup;

	if (families > 1)
		return error_set(e, ERROR_USAGE,
			"only one of --static, --tumble, --hop, --cumulate, "
			"--within, --as-of and --lookup");
	if ((given.has_cache || given.has_lookup_ttl) && !given.lookup)
		return error_set(e, ERROR_USAGE, "--lookup-%s belongs to --lookup",
			given.has_cache ? "cache" : "ttl");
	if (given.has_tolerance && !given.as_of)
		return error_set(e, ERROR_USAGE, "--tolerance belongs to --as-of");
	if (given.has_offset && !given.tumble && !given.hop && !given.cumulate)
		return error_set(
			e, ERROR_USAGE, "--offset belongs to --tumble, --hop and --cumulate");
	if (given.has_ttl && (given.ttl_us <= 0 || given.ttl_us > TIME_MAX_DAYS * CIVIL_US_DAY))
		return error_set(e, ERROR_USAGE,
			"--ttl: rows have to live for some time, of at most a "
			"hundred years");
	if (given.within) {
		o->by = JOIN_BY_INTERVAL;
		return parse_two("within", given.within, &o->low_us, &o->high_us, e);
	}
	if (given.tumble || given.hop || given.cumulate)
		return parse_window(o, e);
	if (given.late && !given.as_of)
		return error_set(e, ERROR_USAGE, "--late: a join by keys alone has no late rows");
	o->by = given.as_of ? JOIN_BY_LATEST : given.lookup ? JOIN_BY_LOOKUP : JOIN_BY_KEY;
	return 0;
}

static struct arena texts = ARENA_INIT; /* of arguments; lives as long as the program */

/* A column's name as an expression: quoted, whatever is in it. */
static const char *quoted(const char *name)
{
	struct buf b = BUF_INIT;
	const char *text;

	buf_put_byte(&b, '"');
	for (; *name; name++) {
		if (*name == '"')
			buf_put_byte(&b, '"');
		buf_put_byte(&b, (uint8_t)*name);
	}
	buf_put_byte(&b, '"');
	text = arena_strndup(&texts, (const char *)b.data, b.len);
	buf_clear(&b);
	return text;
}

static void describe(
	const struct operator* op, const struct join_options *o, struct stage_description *about)
{
	static const char *const keeps[] = {
		[JOIN_BY_KEY] = "the right side, or both if that is a stream without an end",
		[JOIN_BY_WINDOW] = "both sides' rows until their window closes",
		[JOIN_BY_INTERVAL] = "both sides' rows as long as a partner may come",
		[JOIN_BY_LATEST] =
			"left rows until their time has come, right rows that may be the latest",
		[JOIN_BY_LOOKUP] = NULL,
	};

	about->keeps = keeps[o->by];
	if (o->by == JOIN_BY_KEY && o->ttl_us)
		about->keeps =
			"the right side, or both for --ttl if that is a stream without an end";
	if (o->by == JOIN_BY_LOOKUP) {
		about->spread = STAGE_ANY;
		return;
	}
	if (!o->keys)
		return;
	about->spread = STAGE_KEYED;
	for (unsigned side = 0; side < 2; side++) {
		about->keys_len[side] = join_keys(
			op, side, about->keys[side], DESCRIPTION_KEYS_MAX);
		for (size_t k = 0; k < about->keys_len[side]; k++)
			about->keys[side][k] = quoted(about->keys[side][k]);
	}
}

/* ---- databases ---- */

static bool wants_twin(const struct stage_setup *setup)
{
	return given.lookup && !lookup_new_postgres;
}

static int check_arguments(const struct stage_setup *setup, struct error *e)
{
	if (given.lookup && setup->arguments_len)
		return error_set(e, ERROR_USAGE,
			"--lookup joins with what it asks for, and takes no RIGHT: '%s'",
			setup->arguments[0]);
	if (given.lookup && !url_has_scheme(given.lookup, "postgresql") &&
		!url_has_scheme(given.lookup, "postgres"))
		return error_set(e, ERROR_USAGE,
			"--lookup takes a URL of a database: postgresql://user@host/database?table=t");
	if (given.lookup || setup->arguments_len == 1)
		return 0;
	return error_set(e, ERROR_USAGE,
		"%s\nfor example: ssource orders.csv | sjoin -k customer "
		"customers.csv | ssink",
		setup->arguments_len ? "more than one RIGHT"
				     : "no RIGHT: a file, or <(ssource ...)");
}

static int open_lookup(const struct stage_setup *setup, struct join_options *o, struct error *e)
{
	struct lookup_options l = {.url = given.lookup, .supervised = setup->supervised};

	if (!given.lookup)
		return 0;
	o->lookup_cache = (size_t)given.lookup_cache;
	o->lookup_ttl_us = given.lookup_ttl_us;
	o->clock_us = clock_mono_us;
	return lookup_new_postgres(&l, &o->lookup, e);
}

static int create(struct stage_setup *setup, struct operator** out, struct error *e)
{
	struct text_argument keys, where;
	struct join_options o = {.kind = (enum join_kind)given.kind,
		.keys = given.keys,
		.where = given.where,
		.prefix = given.prefix,
		.is_static = given.is_static,
		.cross = given.cross,
		.has_late = given.late,
		.has_tolerance = given.has_tolerance,
		.tolerance_us = given.tolerance_us,
		.ttl_us = given.ttl_us,
		.memory_bytes = setup->memory_bytes,
		.temporary = setup->temporary};

	if (check_arguments(setup, e) < 0 || parse_family(&o, e) < 0)
		return -1;
	if (text_argument_read(given.keys, "-k", &texts, &keys, e) < 0 ||
		text_argument_read(given.where, "-w", &texts, &where, e) < 0)
		return -1;
	o.keys = keys.text;
	o.where = where.text;
	o.where_what = where.what;
	setup->about.inputs[1] = given.lookup ? NULL : setup->arguments[0];
	setup->open_input = source_open_file;
	setup->about.sides[LATE_OUTPUT - 1].path = given.late;
	if (open_lookup(setup, &o, e) < 0 || join_new(&o, out, e) < 0)
		return -1;
	describe(*out, &o, &setup->about);
	return 0;
}

static const struct stage_program sjoin_program = {
	.info =
		{
			.name = "sjoin",
			.summary = "bring two streams together",
			.usage = "[options] -k 'A = B, C' RIGHT",
			.examples =
				"  ssource flights.csv | sjoin -k carrier airlines.csv | ssink\n"
				"  ... | sjoin -k 'dest = faa' --kind left -w 'alt > 1000' "
				"<(ssource airports.csv)\n"
				"  ... | sjoin -k auction --tumble 10s <(ssource bids.ndjson -t "
				"at)\n"
				"  ... | sjoin -k 'id = order' --within 0s,1h <(ssource "
				"payments.csv -t at)\n"
				"  ... | sjoin -k symbol --as-of --tolerance 5s <(ssource "
				"quotes.csv -t at)\n"
				"  ... | sjoin -k 'customer = id' --lookup "
				"'postgresql://user@host/db?table=customers'\n",
		},
	.options = options,
	.create = create,
	.terminal_sink = terminal_sink,
	.wants_twin = wants_twin,
	.become_twin = connected_exec,
};

int main(int argc, char **argv)
{
	return stage_main(argc, connected_arguments(argc, argv), &sjoin_program);
}
