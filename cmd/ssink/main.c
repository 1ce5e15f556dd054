/* ssink - take results out.  See ssink(1). */
#include "cmd/common/connected.h"
#include "cmd/common/output.h"
#include "cmd/common/sink.h"
#include "cmd/common/sink_format.h"
#include "cmd/ssink/sinks.h"
#include "connect/url.h"
#include "libcore/base/clock.h"
#include "libcore/stage/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER_CHOICE_YES, HEADER_CHOICE_NO };

enum {
	OPEN_PARTS_MAX = 10000,
	CONNECT_US = 30000000, /* tried again for so long: the other side may be about to start */
};

static const char *const yes_no[] = {"yes", "no", NULL};
static const char *const formats[] = {"auto", "csv", "tsv", "ndjson", "json", "msgpack", "table",
	"lines", "frames", "debezium-json", "avro", NULL};
static const char *const avro_codecs[] = {"null", "deflate", "snappy", "zstandard", NULL};

static const char *const packs[] = {"none", "lz4", "zstd", NULL};
static const char *const compressions[] = {"auto", "gz", "zst", "lz4", NULL};

static struct {
	int format, header, compress;
	const char *cert, *key, *ca;
	int pack, avro_codec;
	const char *avro_schema, *registry;
	const char *delimiter, *partition, *roll, *upsert, *message_key, *message_headers;
	int64_t open_parts;
	bool create;
} opt = {.open_parts = PARTS_OPEN_DEFAULT};

static const struct option_spec ssink_options[] = {
	{.name = "format", .letter = 'f', .kind = OPTION_CHOICE, .choices = formats,
		.argument = "FORMAT", .value = &opt.format,
		.help = "by OUTPUT's name, else table on a terminal, else ndjson"},
	{.name = "header", .kind = OPTION_CHOICE, .choices = yes_no, .argument = "yes|no",
		.value = &opt.header, .help = "csv, tsv: a line of names first"},
	{.name = "delimiter", .kind = OPTION_TEXT, .argument = "C", .value = &opt.delimiter,
		.help = "csv: one byte between fields; \\t is a tab"},
	{.name = "compress", .kind = OPTION_CHOICE, .choices = compressions,
		.argument = "auto|gz|zst|lz4",
		.value = &opt.compress, .help = "by OUTPUT's name, else not; part files get the ending"},
	{.name = "pack", .kind = OPTION_CHOICE, .choices = packs, .argument = "none|lz4|zstd",
		.value = &opt.pack, .help = "frames: compress them"},
	{.name = "cert", .kind = OPTION_TEXT, .argument = "FILE", .value = &opt.cert,
		.help = "tls: who this is, a certificate in PEM"},
	{.name = "key", .kind = OPTION_TEXT, .argument = "FILE", .value = &opt.key,
		.help = "tls: the certificate's key"},
	{.name = "ca", .kind = OPTION_TEXT, .argument = "FILE", .value = &opt.ca,
		.help = "tls: whom to trust; of clients: demand a certificate"},
	{.name = "avro-codec", .kind = OPTION_CHOICE, .choices = avro_codecs, .argument = "CODEC",
		.value = &opt.avro_codec, .help = "avro: blocks by null, deflate, snappy or zstandard"},
	{.name = "avro-schema", .kind = OPTION_TEXT, .argument = "FILE", .value = &opt.avro_schema,
		.help = "avro: bare records, by this schema"},
	{.name = "registry", .kind = OPTION_TEXT, .argument = "URL|DIR", .value = &opt.registry,
		.help = "avro: Confluent's messages, schemas registered there"},
	{.name = "partition", .kind = OPTION_TEXT, .argument = "COLUMNS", .value = &opt.partition,
		.help = "directory: parts by these, out/day=2013-01-01/hour=3/"},
	{.name = "roll", .kind = OPTION_TEXT, .argument = "SIZE,AGE", .value = &opt.roll,
		.help = "directory: a new part by 128M, by 10m, or both"},
	{.name = "open-parts", .kind = OPTION_INT, .argument = "N", .value = &opt.open_parts,
		.help = "--partition: at most so many parts at once; 100"},
	{.name = "message-key", .kind = OPTION_TEXT, .argument = "COLUMNS", .value = &opt.message_key,
		.help = "kafka: what a message's key is made of"},
	{.name = "message-headers", .kind = OPTION_TEXT, .argument = "COLUMNS",
		.value = &opt.message_headers, .help = "kafka: columns that are headers, too"},
	{.name = "upsert", .kind = OPTION_TEXT, .argument = "COLUMNS", .value = &opt.upsert,
		.help = "a table: rows replace those with the same; deletes delete"},
	{.name = "create", .kind = OPTION_FLAG, .value = &opt.create,
		.help = "a table: make it if there is none, with the stream's columns"},
	{.name = NULL},
};

static int read_delimiter(char *out, struct error *e)
{
	const char *text = opt.delimiter;

	if (!text)
		return 0;
	if (!strcmp(text, "\\t"))
		text = "\t";
	if (strlen(text) != 1 || strchr("\"\n\r", *text) || (*text & 0x80))
		return error_set(e, ERROR_USAGE,
			"--delimiter '%s': it is one byte, and neither a quote nor a newline",
			opt.delimiter);
	*out = *text;
	return 0;
}

/* What is promised under a supervisor. */
static void describe(const char *output, struct stage_description *about)
{
	static char text[512];
	enum output_kind kind = output_kind_of(output);

	about->guarantee = text;
	about->spread = kind == OUTPUT_DIRECTORY || kind == OUTPUT_NULL ? STAGE_ANY : STAGE_SINGLE;
	about->whole_file = kind == OUTPUT_FILE;
	about->writes = kind == OUTPUT_FILE || kind == OUTPUT_DIRECTORY ? output : NULL;
	about->standard_output = !strcmp(output, "-");
	switch (kind) {
	case OUTPUT_STREAM:
		snprintf(text, sizeof text, "%s: at least once, at each checkpoint",
			strcmp(output, "-") ? output : "standard output");
		break;
	case OUTPUT_FILE:
		snprintf(text, sizeof text, "file %s: exactly once, appears at the end", output);
		break;
	case OUTPUT_DIRECTORY:
		snprintf(text, sizeof text,
			"directory %s%s%s: exactly once, part files appear at each checkpoint", output,
			opt.partition ? " by " : "", opt.partition ? opt.partition : "");
		break;
	case OUTPUT_NULL: snprintf(text, sizeof text, "null: nothing is kept"); break;
	}
}

/* Where an epoch of standard output waits for its commit. */
static const char *spool(void)
{
	const char *own = getenv("RUNNEL_SPOOL"), *any = getenv("TMPDIR");

	return own && *own ? own : any && *any ? any : "/tmp";
}

/* Checked here, because a supervisor only asks for the description. */
static int read_parts(struct sink_options *o, struct error *e)
{
	if (opt.open_parts < 1 || opt.open_parts > OPEN_PARTS_MAX)
		return error_set(e, ERROR_USAGE, "--open-parts is 1 to %d", OPEN_PARTS_MAX);
	o->parts_open_max = (uint32_t)opt.open_parts;
	o->partition = opt.partition;
	return opt.roll ? roll_parse(opt.roll, &o->roll, e) : 0;
}

/* ---- brokers and databases ---- */

static bool is_kafka(const char *output)
{
	return url_has_scheme(output, "kafka");
}

static bool is_postgres(const char *output)
{
	return url_has_scheme(output, "postgresql") || url_has_scheme(output, "postgres");
}

/* Options that only some outputs know. */
static int check_output(const struct sink_options *o, struct error *e)
{
	if ((o->net.cert || o->net.key || o->net.ca) && !net_is(o->output))
		return error_set(e, ERROR_USAGE, "--cert, --key and --ca are for tls:// and tls-listen://");
	if ((o->message_key || o->message_headers) && !is_kafka(o->output))
		return error_set(e, ERROR_USAGE, "--%s is for kafka://broker/topic",
			o->message_key ? "message-key" : "message-headers");
	if ((o->upsert && !is_kafka(o->output) && !is_postgres(o->output)) ||
		(o->create && !is_postgres(o->output)))
		return error_set(e, ERROR_USAGE, "--%s is for tables: postgresql://host/database?table=t",
			o->upsert ? "upsert" : "create");
	if (is_postgres(o->output) && (o->format || o->compress || o->partition || opt.roll))
		return error_set(e, ERROR_USAGE, "--%s: a table has columns, neither a format nor parts",
			o->format ? "format" : o->compress ? "compress" : o->partition ? "partition" : "roll");
	return 0;
}

/* ---- avro ---- */

static bool is_avro(const char *output)
{
	struct sink_options o = {.output = output, .format = opt.format ? formats[opt.format] : NULL};
	struct sink_format chosen;

	if (is_kafka(output) || is_postgres(output))
		return o.format && strcmp(o.format, "avro") == 0;
	sink_format_choose(&o, &chosen);
	return strcmp(chosen.name, "avro") == 0;
}

/* Under which a registry keeps the schemas of an output: its name without directory and endings. */
static void name_subject(const char *output, char *out, size_t room)
{
	const char *slash = strrchr(output, '/'), *name = slash ? slash + 1 : output;
	size_t len = strcspn(name, ".");

	if (!len || strcmp(output, "-") == 0 || net_is(output))
		snprintf(out, room, "rows-value");
	else
		snprintf(out, room, "%.*s-value", (int)(len < room / 2 ? len : room / 2), name);
}

static int read_avro(struct writer_options *w, const char *output, struct error *e)
{
	static char subject[512];

	if (!is_avro(output)) {
		if (opt.avro_codec || opt.avro_schema || opt.registry)
			return error_set(e, ERROR_USAGE, "--%s is for -f avro",
				opt.avro_codec ? "avro-codec" : opt.avro_schema ? "avro-schema" : "registry");
		return 0;
	}
	name_subject(output, subject, sizeof subject);
	w->avro_subject = subject;
	w->avro_codec = opt.avro_codec ? avro_codecs[opt.avro_codec] : NULL;
	w->avro_schema = opt.avro_schema;
	w->registry = opt.registry;
	if (w->avro_schema && w->registry)
		return error_set(e, ERROR_USAGE,
			"--avro-schema is for bare records, --registry for messages whose schemas are there");
	if (w->avro_codec && (w->avro_schema || w->registry))
		return error_set(e, ERROR_USAGE, "--avro-codec is for the blocks of a file, and %s makes none",
			w->registry ? "--registry" : "--avro-schema");
	return 0;
}

/* Frames, to a socket. */
static bool hands_on_epochs(const struct sink_options *o)
{
	struct sink_format chosen;

	sink_format_choose(o, &chosen);
	return net_is(o->output) && strcmp(chosen.name, "frames") == 0;
}

static bool wants_twin(const struct stage_setup *setup)
{
	const char *output = setup->arguments_len ? setup->arguments[0] : "-";

	return (is_avro(output) && !writer_has_avro()) ||
		(is_kafka(output) && !sink_new_kafka) || (is_postgres(output) && !sink_new_postgres);
}

static int create(struct stage_setup *setup, struct operator **out, struct error *e)
{
	const char *no_color = getenv("NO_COLOR");
	struct sink_options o = {.output = "-", .supervised = setup->supervised,
		.verbose = setup->verbose, .spool = spool(),
		.writer = {.header = opt.header == HEADER_CHOICE_YES}};

	if (setup->arguments_len > 1)
		return error_set(e, ERROR_USAGE, "one OUTPUT, not %d; the second is '%s'\n"
			"stee passes rows on to several: ... | stee 'ssink a.csv' | ssink b.csv",
			setup->arguments_len, setup->arguments[1]);
	if (setup->arguments_len)
		o.output = setup->arguments[0];
	if (opt.format)
		o.format = formats[opt.format];
	if (opt.compress)
		o.compress = compressions[opt.compress];
	o.net = (struct net_options){.cert = opt.cert, .key = opt.key, .ca = opt.ca,
		.patience_us = CONNECT_US};
	o.pack = opt.pack ? packs[opt.pack] : NULL;
	o.upsert = opt.upsert;
	o.message_key = opt.message_key;
	o.message_headers = opt.message_headers;
	o.create = opt.create;
	o.memory_bytes = setup->memory_bytes;
	o.writer.color = !strcmp(o.output, "-") && isatty(1) && (!no_color || !*no_color);
	if (!setup->supervised)
		o.clock_us = clock_mono_us;
	if (read_delimiter(&o.writer.delimiter, e) < 0 || read_parts(&o, e) < 0 ||
		check_output(&o, e) < 0 || read_avro(&o.writer, o.output, e) < 0)
		return -1;
	if (is_kafka(o.output))
		return sink_new_kafka(&o, &setup->about, out, e);
	if (is_postgres(o.output))
		return sink_new_postgres(&o, &setup->about, out, e);
	if (setup->supervised && hands_on_epochs(&o))
		return sink_new_epochs(&o, &setup->about, out, e);
	describe(o.output, &setup->about);
	return sink_operator_new(&o, out, e);
}

static const struct stage_program ssink_program = {
	.info = {
		.name = "ssink",
		.summary = "take results out",
		.usage = "[options] [OUTPUT]",
		.examples =
			"  ssource a.csv | ssink                    a table on a terminal, else ndjson\n"
			"  ssource a.csv | ssink a.ndjson.zst       appears when it is complete\n"
			"  ssource a.csv | ssink -f csv out/        a directory of part files\n"
			"  ssource a.csv | ssink -f csv --partition day out/\n"
			"  ssource a.csv | ssink --create 'postgresql://user@host/db?table=a'\n",
	},
	.options = ssink_options,
	.create = create,
	.wants_twin = wants_twin,
	.become_twin = connected_exec,
};

int main(int argc, char **argv)
{
	return stage_main(argc, connected_arguments(argc, argv), &ssink_program);
}
