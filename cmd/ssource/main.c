/* ssource - bring records in.  See ssource(1). */
#include "cmd/ssource/source.h"

#include "cmd/common/bad.h"
#include "cmd/common/connected.h"
#include "cmd/common/terminal.h"
#include "connect/url.h"
#include "libcore/base/number.h"
#include "libcore/stage/program.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	FORMAT_AUTO,
	FORMAT_CSV,
	FORMAT_TSV,
	FORMAT_NDJSON,
	FORMAT_MSGPACK,
	FORMAT_LINES,
	FORMAT_REGEX,
	FORMAT_FRAMES,
	FORMAT_DEBEZIUM,
	FORMAT_AVRO,
};
enum { CHOICE_AUTO, CHOICE_YES, CHOICE_NO };
enum {
	LIMIT_NONE = -1,
	NAMES_MAX = 3,
	SPOOL_BYTES = 1 << 30,
	CONNECT_US = 30000000, /* tried again for so long: the other side may be about to start */
};

static const char *const format_choices[] = {
	"auto", "csv", "tsv", "ndjson", "msgpack", "lines", "regex", "frames",
	"debezium-json", "avro", NULL};
static const char *const header_choices[] = {"auto", "yes", "no", NULL};
static const char *const yes_no[] = {"yes", "no", NULL};
static const char *const until_choices[] = {"never", "end", NULL};
enum { UNTIL_NEVER, UNTIL_END };

static struct {
	int format, header, quoted_newlines;
	const char *schema, *time, *delimiter, *regex, *filename, *bad, *infer;
	const char *avro_schema, *registry, *meta, *spool;
	struct net_options net;
	int64_t spool_bytes;
	struct option_list nulls;
	int64_t delay, limit, rate, idle, max_ahead;
	bool delay_given, progress, follow, merge, poll, from_given, idle_given, max_ahead_given;
	const char *from;
	int until, snapshot;
	bool snapshot_given;
} opt = {.bad = "stop", .limit = LIMIT_NONE, .spool_bytes = SPOOL_BYTES};

static const struct option_spec ssource_options[] = {
	{.name = "format",
		.letter = 'f',
		.kind = OPTION_CHOICE,
		.argument = "FORMAT",
		.choices = format_choices,
		.value = &opt.format,
		.help = "of the inputs; by name, else by content"},
	{.name = "schema",
		.letter = 's',
		.kind = OPTION_TEXT,
		.argument = "COLUMNS",
		.value = &opt.schema,
		.help = "columns to take: 'id int, at timestamp(ms)'; '*, ...' infers the rest"},
	{.name = "time",
		.letter = 't',
		.kind = OPTION_TEXT,
		.argument = "COLUMN",
		.value = &opt.time,
		.help = "the column that holds the event time; now: the moment of reading"},
	{.name = "delay",
		.letter = 'd',
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &opt.delay,
		.given = &opt.delay_given,
		.help = "watermarks: how far rows may be out of order"},
	{.name = "idle",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &opt.idle,
		.given = &opt.idle_given,
		.help = "an input silent so long doesn't hold the watermark"},
	{.name = "max-ahead",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &opt.max_ahead,
		.given = &opt.max_ahead_given,
		.help = "an event time further ahead of the clock is malformed"},
	{.name = "cert", .kind = OPTION_TEXT, .argument = "FILE", .value = &opt.net.cert,
		.help = "tls: who this is, a certificate in PEM"},
	{.name = "key", .kind = OPTION_TEXT, .argument = "FILE", .value = &opt.net.key,
		.help = "tls: the certificate's key"},
	{.name = "ca", .kind = OPTION_TEXT, .argument = "FILE", .value = &opt.net.ca,
		.help = "tls: whom to trust; of clients: demand a certificate"},
	{.name = "spool", .kind = OPTION_TEXT, .argument = "DIR", .value = &opt.spool,
		.help = "sockets: keep what comes here until it isn't needed"},
	{.name = "spool-size", .kind = OPTION_SIZE, .argument = "SIZE", .value = &opt.spool_bytes,
		.help = "... so much at most; then clients wait; 1G"},
	{.name = "avro-schema",
		.kind = OPTION_TEXT,
		.argument = "FILE",
		.value = &opt.avro_schema,
		.help = "avro: bare records, whose schema this is"},
	{.name = "registry",
		.kind = OPTION_TEXT,
		.argument = "URL|DIR",
		.value = &opt.registry,
		.help = "avro: Confluent's messages, whose schemas are there"},
	{.name = "follow",
		.kind = OPTION_FLAG,
		.value = &opt.follow,
		.help = "go on as files grow, are rotated, appear in a directory"},
	{.name = "from",
		.kind = OPTION_TEXT,
		.argument = "WHERE",
		.value = &opt.from,
		.given = &opt.from_given,
		.help = "start, end; a broker: committed, a time, -1h (start)"},
	{.name = "until",
		.kind = OPTION_CHOICE,
		.argument = "never|end",
		.choices = until_choices,
		.value = &opt.until,
		.help = "a broker: what is there now, then it is over"},
	{.name = "merge",
		.kind = OPTION_FLAG,
		.value = &opt.merge,
		.help = "read inputs side by side, each with its own watermark"},
	{.name = "snapshot",
		.kind = OPTION_CHOICE,
		.argument = "yes|no",
		.choices = yes_no,
		.value = &opt.snapshot,
		.given = &opt.snapshot_given,
		.help = "changes of a table: its rows so far first"},
	{.name = "meta",
		.kind = OPTION_TEXT,
		.argument = "COLUMNS",
		.value = &opt.meta,
		.help = "columns of what came with a record: 'key, offset'; 'lsn'"},
	{.name = "poll", .kind = OPTION_FLAG, .value = &opt.poll, .hidden = true},
	{.name = "null",
		.kind = OPTION_LIST,
		.argument = "TEXT",
		.value = &opt.nulls,
		.help = "a further spelling of null; repeatable"},
	{.name = "header",
		.kind = OPTION_CHOICE,
		.argument = "WHEN",
		.choices = header_choices,
		.value = &opt.header,
		.help = "csv: whether the first record holds the names"},
	{.name = "delimiter",
		.kind = OPTION_TEXT,
		.argument = "C",
		.value = &opt.delimiter,
		.help = "csv: one byte between fields; \\t is a tab"},
	{.name = "quoted-newlines",
		.kind = OPTION_CHOICE,
		.argument = "yes|no",
		.choices = yes_no,
		.value = &opt.quoted_newlines,
		.help = "csv: whether fields in quotes may hold newlines"},
	{.name = "regex",
		.kind = OPTION_TEXT,
		.argument = "PATTERN",
		.value = &opt.regex,
		.help = "take lines apart: '(?<ip>\\S+) ...'; named groups are columns"},
	{.name = "filename",
		.kind = OPTION_TEXT,
		.argument = "NAME",
		.value = &opt.filename,
		.help = "adds the input's name as a column"},
	{.name = "bad",
		.kind = OPTION_TEXT,
		.argument = "stop|skip|PATH",
		.value = &opt.bad,
		.help = "malformed records: stop, skip and count, or write them to PATH"},
	{.name = "infer",
		.kind = OPTION_TEXT,
		.argument = "N|all",
		.value = &opt.infer,
		.help = "records to infer types from (10000)"},
	{.name = "limit",
		.kind = OPTION_INT,
		.argument = "N",
		.value = &opt.limit,
		.help = "at most N records"},
	{.name = "rate",
		.kind = OPTION_INT,
		.argument = "N",
		.value = &opt.rate,
		.help = "at most N records a second"},
	{.name = "progress",
		.kind = OPTION_FLAG,
		.value = &opt.progress,
		.help = "tell on standard error how far it is"},
	{.name = NULL},
};

static struct source_options source;
static const char *standard_input[] = {"-"};

static int read_delimiter(char *out, struct error *e)
{
	const char *text = opt.delimiter;

	if (!text)
		return 0;
	if (strcmp(text, "\\t") == 0)
		text = "\t";
	if (strlen(text) != 1 || strchr("\"\n\r", *text) || (*text & 0x80))
		return error_set(e, ERROR_USAGE,
			"--delimiter '%s': it is one byte, and neither a quote nor a newline",
			opt.delimiter);
	*out = *text;
	return 0;
}

static int read_infer(uint32_t *out, struct error *e)
{
	uint64_t n;

	if (!opt.infer)
		return 0;
	if (strcmp(opt.infer, "all") == 0) {
		*out = UINT32_MAX;
		return 0;
	}
	if (uint_parse(opt.infer, strlen(opt.infer), &n) != NUMBER_OK || !n || n > UINT32_MAX)
		return error_set(
			e, ERROR_USAGE, "--infer '%s': a number of records, or all", opt.infer);
	*out = (uint32_t)n;
	return 0;
}

/* Whether a file (or a redirection from one) holds frames; pipes can't be looked into, and of a
 * compressed file the name tells. */
static bool holds_frames(const char *path)
{
	char extension[16];

	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	off_t at = fd < 0 ? -1 : lseek(fd, 0, SEEK_CUR);
	uint8_t head[32];
	ssize_t n = at < 0 ? -1 : pread(fd, head, sizeof head, at);

	if (fd >= 0 && !is_stdin)
		close(fd);
	format_extension(path, extension, sizeof extension);
	return n > 0 && (records_is_frames(head, (size_t)n) || !strcmp(extension, "frames"));
}

static int check_inputs(const char *const *inputs, size_t n, bool *nexmark, struct error *e)
{
	*nexmark = false;
	for (size_t i = 0; i < n; i++) {
		const char *scheme = strstr(inputs[i], "://");

		if (strncmp(inputs[i], "nexmark:", 8) == 0) {
			if (n > 1)
				return error_set(e, ERROR_USAGE, "nexmark: is an input by itself");
			*nexmark = true;
		} else if (net_is(inputs[i])) {
			if (net_check(inputs[i], &source.sockets.net, e) < 0)
				return -1;
		} else if (scheme && access(inputs[i], F_OK) < 0) {
			return error_set(e, ERROR_USAGE, "%s: inputs are files, -, nexmark:, sockets "
				"(tcp://host:port, tcp-listen://:port, unix:, tls:// ...), kafka:// and "
				"postgresql://", inputs[i]);
		}
	}
	return 0;
}

/* Of the inputs of one kind: " a.csv, b.csv and 7 more". */
static size_t put_names(
	struct buf *out, const struct records_options *r, bool packed, bool recorded)
{
	size_t n = 0;

	for (size_t i = 0; i < r->inputs_len; i++) {
		struct input_facts facts;
		struct error ignored = ERROR_INIT;

		if (input_look(r->inputs[i], &facts, &ignored) < 0)
			facts = (struct input_facts){.regular = true}; /* opening it will tell */
		if (facts.packed != packed && !recorded)
			continue;
		if (n++ < NAMES_MAX)
			buf_printf(out, "%s %s", n > 1 ? "," : "", r->inputs[i]);
	}
	if (n > NAMES_MAX)
		buf_printf(out, " and %zu more", n - NAMES_MAX);
	return n;
}

static void put_guarantee(struct buf *out, const struct records_options *r, bool recorded)
{
	struct buf plain = BUF_INIT, packed = BUF_INIT;
	size_t n = put_names(&plain, r, false, recorded);
	size_t packed_n = recorded ? 0 : put_names(&packed, r, true, false);

	if (n)
		buf_printf(out, "file%s%s: goes back to a %s", n > 1 ? "s" : "", buf_cstr(&plain),
			recorded ? "frame" : "byte");
	if (packed_n)
		buf_printf(out, "%scompressed file%s%s: reads again from the start up to a byte",
			n ? "; " : "", packed_n > 1 ? "s" : "", buf_cstr(&packed));
	buf_clear(&plain);
	buf_clear(&packed);
}

static bool has_socket(const struct records_options *r)
{
	for (size_t i = 0; i < r->inputs_len; i++) {
		if (net_is(r->inputs[i]))
			return true;
	}
	return false;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Whole files go to one subtask each, if all come to the same types by themselves.  A directory's
 * files share a watermark, and so a subtask, unless they are merged. */
static enum stage_spread live_spread(void)
{
	const struct records_options *r = &source.records;
	bool can = (source.follows || source.merges) && source_knows_types(&source);
	size_t parts = 0;

	for (size_t i = 0; i < r->inputs_len; i++) {
		bool is_shared = source.follows && is_directory(r->inputs[i]);

		can &= !is_shared || source.merges;
		parts += is_shared ? 2 : 1;
	}
	return can && parts > 1 ? STAGE_ANY : STAGE_SINGLE;
}

/* What can't be read a second time, or NULL. */
static const char *find_stream(const struct records_options *r)
{
	for (size_t i = 0; i < r->inputs_len; i++) {
		struct input_facts facts;
		struct error ignored = ERROR_INIT;

		if (source.follows && is_directory(r->inputs[i]))
			continue;
		if (input_look(r->inputs[i], &facts, &ignored) == 0 && !facts.regular)
			return strcmp(r->inputs[i], "-") == 0 ? "standard input" : r->inputs[i];
	}
	return NULL;
}

static void put_followed(struct buf *out, const struct records_options *r)
{
	bool can_spread = live_spread() == STAGE_ANY;

	buf_put_text(out, "follows");
	for (size_t i = 0; i < r->inputs_len && i < NAMES_MAX; i++)
		buf_printf(out, "%s %s", i ? "," : "", r->inputs[i]);
	if (r->inputs_len > NAMES_MAX)
		buf_printf(out, " and %zu more", r->inputs_len - NAMES_MAX);
	buf_put_text(out, ": goes back to a byte, also of a file that was renamed since");
	if (!can_spread && opt.limit < 0 && !source_knows_types(&source))
		buf_put_text(out, "; one subtask: types are inferred");
}

static void put_sockets(struct buf *out, const struct records_options *r)
{
	for (size_t i = 0; i < r->inputs_len && i < NAMES_MAX; i++)
		buf_printf(out, "%s%s", i ? ", " : "", r->inputs[i]);
	if (opt.spool)
		buf_printf(out, ": spooled to %s, and goes back to a byte of what has come there",
			opt.spool);
	else
		buf_put_text(out, ": can't be read again; --spool DIR keeps what comes");
}

static void describe(struct stage_description *about, bool nexmark, bool recorded)
{
	static struct buf guarantee; /* lives as long as the process */
	const struct records_options *r = &source.records;
	bool sockets = has_socket(r);
	const char *stream = nexmark || sockets ? NULL : find_stream(r);
	bool is_live = !nexmark && !recorded && source_is_live(&source);

	buf_reset(&guarantee);
	if (nexmark)
		buf_put_text(&guarantee, "nexmark: goes back to an event");
	else if (stream)
		buf_printf(&guarantee, "%s: can't be read again", stream);
	else if (sockets)
		put_sockets(&guarantee, r);
	else if (is_live && source.follows)
		put_followed(&guarantee, r);
	else
		put_guarantee(&guarantee, r, recorded);
	about->guarantee = buf_cstr(&guarantee);
	about->cannot_replay = stream != NULL || (sockets && !opt.spool);
	about->spread = stream || recorded || sockets || opt.limit >= 0 ? STAGE_SINGLE
			: is_live			     ? live_spread()
							     : STAGE_ANY;
}

/* What the options of live inputs need, and exclude. */
static int check_live(bool nexmark, bool recorded, struct error *e)
{
	/* A stream brings its times and watermarks with it. */
	bool idle = opt.idle_given && !(recorded && has_socket(&source.records));
	const char *which = opt.follow			? "--follow"
			    : opt.merge			? "--merge"
			    : source.time_is_now	? "-t now"
			    : idle			? "--idle"
			    : opt.max_ahead_given	? "--max-ahead"
							: NULL;

	if (has_socket(&source.records)) {
		for (size_t i = 0; i < source.records.inputs_len; i++) {
			if (!net_is(source.records.inputs[i]))
				return error_set(e, ERROR_USAGE, "sockets and files don't go together\n"
					"smerge brings two sources together");
		}
	} else if (opt.spool || opt.net.cert || opt.net.key || opt.net.ca) {
		return error_set(e, ERROR_USAGE, "--%s is for sockets", opt.spool ? "spool"
			: opt.net.cert ? "cert" : opt.net.key ? "key" : "ca");
	}
	if (opt.meta)
		return error_set(e, ERROR_USAGE, "--meta is for brokers and databases");
	if (opt.snapshot_given)
		return error_set(e, ERROR_USAGE, "--snapshot is for the changes of a database's table");
	if (opt.spool_bytes < 1 << 20)
		return error_set(e, ERROR_USAGE, "--spool-size: at least 1M");
	if (opt.until == UNTIL_END)
		return error_set(e, ERROR_USAGE, "--until is for a broker; files end by themselves");
	if (opt.from_given && !opt.follow)
		return error_set(e, ERROR_USAGE, "--from is for --follow");
	if (opt.from_given && strcmp(opt.from, "start") != 0 && !source.from_end)
		return error_set(e, ERROR_USAGE, "--from: '%s' is none of start, end", opt.from);
	if (opt.filename && !*opt.filename)
		return error_set(e, ERROR_USAGE, "--filename: a column's name is missing");
	if (opt.idle_given && opt.idle <= 0)
		return error_set(e, ERROR_USAGE, "--idle: a time longer than none");
	if (opt.max_ahead_given && opt.max_ahead < 0)
		return error_set(e, ERROR_USAGE, "--max-ahead: a time that is not negative");
	if (which && (nexmark || recorded))
		return error_set(e, ERROR_USAGE, "%s is for inputs of records, not for %s", which,
			nexmark ? "nexmark:" : "a recorded stream");
	if ((idle || opt.max_ahead_given) && !opt.time)
		return error_set(e, ERROR_USAGE, "%s needs the column of the event time: -t COLUMN",
			idle ? "--idle" : "--max-ahead");
	if (opt.max_ahead_given && source.time_is_now)
		return error_set(e, ERROR_USAGE, "--max-ahead: with -t now no time is ahead");
	if (idle && !opt.delay_given && !opt.follow && !source.time_is_now)
		return error_set(e, ERROR_USAGE,
			"--idle needs watermarks, which a bounded input has with -d DURATION");
	for (size_t i = 0; source.from_end && i < source.records.inputs_len; i++) {
		if (strcmp(source.records.inputs[i], "-") == 0)
			return error_set(e, ERROR_USAGE, "--from end: standard input has no end to begin at");
	}
	return 0;
}

static void take_options(const struct stage_setup *setup)
{
	struct records_options r = {
		.inputs = setup->arguments_len ? (const char *const *)setup->arguments
					       : standard_input,
		.inputs_len = setup->arguments_len ? (size_t)setup->arguments_len : 1,
		.format = opt.format == FORMAT_AUTO ? NULL : format_choices[opt.format],
		.schema_text = opt.schema,
		.filename_column = opt.filename,
		.reader = {.header = opt.header == CHOICE_YES  ? HEADER_YES
				     : opt.header == CHOICE_NO ? HEADER_NO
							       : HEADER_AUTO,
			.quoted_newlines = opt.quoted_newlines == 0,
			.nulls = opt.nulls.items,
			.nulls_len = opt.nulls.len,
			.regex = opt.regex,
			.avro_schema = opt.avro_schema,
			.registry = opt.registry},
	};
	source = (struct source_options){.records = r,
		.time_column = opt.time,
		.has_delay = opt.delay_given,
		.delay_us = opt.delay,
		.limit = opt.limit,
		.rate = opt.rate,
		.bad = opt.bad,
		.bad_output = setup->supervised && bad_is_path(opt.bad),
		.sockets = {.net = opt.net, .spool = opt.spool, .spool_bytes = (uint64_t)opt.spool_bytes,
			.lets_go = strcmp(opt.bad, "stop") != 0},
		.supervised = setup->supervised,
		.follows = opt.follow || has_socket(&r),
		.from = opt.from,
		.until_end = opt.until == UNTIL_END,
		.from_end = opt.from && strcmp(opt.from, "end") == 0,
		.polls = opt.poll,
		.merges = opt.merge,
		.time_is_now = opt.time && strcmp(opt.time, "now") == 0,
		.idle_us = opt.idle,
		.meta = opt.meta,
		.snapshot = !opt.snapshot_given ? SOURCE_SNAPSHOT_AUTO
			    : opt.snapshot	? SOURCE_SNAPSHOT_NO
						: SOURCE_SNAPSHOT_YES,
		.has_ahead = opt.max_ahead_given,
		.ahead_us = opt.max_ahead,
		.progress = opt.progress && !setup->quiet};
}

/* ---- brokers and databases ---- */

static bool is_kafka(const char *input)
{
	return url_has_scheme(input, "kafka");
}

static bool is_postgres(const char *input)
{
	return url_has_scheme(input, "postgresql") || url_has_scheme(input, "postgres");
}

static bool is_avro(const char *input)
{
	char extension[16];

	format_extension(input, extension, sizeof extension);
	return opt.format == FORMAT_AVRO || (opt.format == FORMAT_AUTO && !strcmp(extension, "avro"));
}

static bool wants_twin(const struct stage_setup *setup)
{
	if (opt.format == FORMAT_AVRO && !avro_reader_new)
		return true;
	for (int i = 0; i < setup->arguments_len; i++) {
		const char *input = setup->arguments[i];

		if ((is_kafka(input) && !source_new_kafka) ||
			(is_postgres(input) && !source_new_postgres) ||
			(is_avro(input) && !avro_reader_new))
			return true;
	}
	return false;
}

/* A source that isn't files, by its URL; 1: there is none. */
static int make_connected(struct stage_setup *setup, struct operator** out, struct error *e)
{
	const struct records_options *r = &source.records;

	for (size_t i = 0; i < r->inputs_len; i++) {
		bool kafka = is_kafka(r->inputs[i]);

		if (!kafka && !is_postgres(r->inputs[i]))
			continue;
		if (r->inputs_len > 1)
			return error_set(e, ERROR_USAGE, "%s: is an input by itself",
				kafka ? "kafka:" : "postgresql:");
		return kafka ? source_new_kafka(&source, r->inputs[i], &setup->about, out, e)
			     : source_new_postgres(&source, r->inputs[i], &setup->about, out, e);
	}
	return 1;
}

static int make_source(struct stage_setup *setup, struct operator** out, struct error *e)
{
	struct records_options *r = &source.records;
	bool nexmark, recorded;
	int status;

	opt.net.patience_us = CONNECT_US;
	take_options(setup);
	if (opt.delay < 0)
		return error_set(e, ERROR_USAGE, "-d: a delay is not negative");
	if (opt.avro_schema && opt.registry)
		return error_set(e, ERROR_USAGE, "--avro-schema is for bare records, --registry for "
			"messages that tell their schema's number: one of them");
	if (opt.regex && opt.format != FORMAT_AUTO && opt.format != FORMAT_REGEX)
		return error_set(e, ERROR_USAGE, "--regex takes lines apart; -f %s doesn't go with it",
			format_choices[opt.format]);
	if (read_delimiter(&r->reader.delimiter, e) < 0 || read_infer(&r->infer_rows, e) < 0)
		return -1;
	status = make_connected(setup, out, e);
	if (status <= 0)
		return status;
	if (check_inputs(r->inputs, r->inputs_len, &nexmark, e) < 0)
		return -1;
	source.progress_late = !nexmark && !setup->quiet && isatty(STDERR_FILENO) &&
			       !isatty(STDOUT_FILENO);
	recorded = !nexmark && (opt.format == FORMAT_FRAMES ||
				       (opt.format == FORMAT_AUTO && holds_frames(r->inputs[0])));
	if (check_live(nexmark, recorded, e) < 0)
		return -1;
	describe(&setup->about, nexmark, recorded);
	if (nexmark)
		return source_new_nexmark(&source, r->inputs[0], out, e);
	if (recorded && has_socket(r))
		return source_new_socket_frames(&source, out, e);
	if (recorded)
		return source_new_replay(&source, out, e);
	if (opt.delay_given && !opt.time && !holds_frames(r->inputs[0]))
		return error_set(
			e, ERROR_USAGE, "-d needs the column of the event time: -t COLUMN");
	if (source.bad_output)
		setup->about.sides[SOURCE_BAD_OUTPUT - 1] = (struct stage_side){opt.bad, "ndjson"};
	return source_is_live(&source) ? source_new_live(&source, out, e)
				       : source_new_records(&source, out, e);
}

static const struct stage_program ssource_program = {
	.info =
		{
			.name = "ssource",
			.summary = "bring records in",
			.usage = "[options] [INPUT...]",
			.examples = "  ssource flights.csv --null NA -t time_hour | ...\n"
				    "  ssource -s 'station string, celsius float' --header no "
				    "--delimiter ';' big.txt | ...\n"
				    "  zcat *.json.gz | ssource -f ndjson -s '*, at timestamp(ms)' "
				    "-t at | ...\n"
				    "  ssource --follow app.ndjson -t at --idle 5s | ...\n"
				    "  ssource 'nexmark:bid?events=1000000' | ...\n",
		},
	.options = ssource_options,
	.create = make_source,
	.wants_twin = wants_twin,
	.become_twin = connected_exec,
	.terminal_sink = terminal_sink,
};

int main(int argc, char **argv)
{
	return stage_main(argc, connected_arguments(argc, argv), &ssource_program);
}
