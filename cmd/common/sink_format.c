#include "cmd/common/sink_format.h"

#include "cmd/common/output.h"
#include "formats/compress.h"
#include "formats/extension.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Their places stand in snapshots. */
static const char *const names[] = {
	"csv", "tsv", "ndjson", "lines", "table", "frames", "json", "msgpack", "debezium-json",
	"avro"};

enum { NAMES = sizeof names / sizeof *names, NAME_BITS = 4 };

/* Its place; -1: it is none. */
static int find(const char *name)
{
	for (int i = 0; i < NAMES; i++) {
		if (!strcmp(names[i], name))
			return i;
	}
	return -1;
}

int sink_format_number(const struct sink_format *f, const char *output)
{
	enum compression c = compression_of(output);

	return find(f->name) | (int)(c ? c : compression_of(f->extension)) << NAME_BITS;
}

const char *sink_format_of_number(int number)
{
	unsigned at = (unsigned)number & ((1u << NAME_BITS) - 1);

	return at < NAMES ? names[at] : NULL;
}

bool sink_format_is_compressed(int number)
{
	return number >> NAME_BITS;
}

void sink_format_choose(const struct sink_options *o, struct sink_format *out)
{
	char extension[16] = "";
	const char *name = o->format;

	if (!net_is(o->output))
		format_extension(o->output, extension, sizeof extension);
	if (!name && find(extension) >= 0)
		name = extension;
	else if (!name && !strcmp(o->output, "-") && isatty(STDOUT_FILENO))
		name = "table";
	else if (!name) /* .jsonl too */
		name = "ndjson";
	snprintf(out->name, sizeof out->name, "%s", name);
	snprintf(out->extension, sizeof out->extension, "%s%s%s", name, o->compress ? "." : "",
		o->compress ? o->compress : "");
}

/* ---- what can't be written ---- */

static int check_output(const struct sink_options *o, struct error *e)
{
	const char *output = o->output;
	const char *scheme = strstr(output, "://");

	if (net_is(output))
		return net_check(output, &o->net, e);
	if (scheme)
		return error_set(e, ERROR_USAGE,
			"can't write to %.*s://\n"
			"an output is -, a path, a directory with its slash (out/), null:, a socket "
			"(tcp://host:port), kafka:// or postgresql://",
			(int)(scheme - output), output);
	return 0;
}

/* A name that promises what wouldn't be in the file. */
static int check_name(const struct sink_options *o, struct error *e)
{
	static const char *const packings[] = {
		"bz2", "xz", "z", "br", "zip", "7z", "tar", "tgz", NULL};
	static const char *const others[] = {"parquet", "arrow", "feather", "orc", "xlsx",
		"xls", "xml", "yaml", "html", "md", "db", "sqlite", "duckdb", NULL};
	const char *slash = strrchr(o->output, '/');
	const char *dot = strrchr(slash ? slash + 1 : o->output, '.');
	char extension[16];

	if (net_is(o->output))
		return 0;
	for (size_t i = 0; dot && packings[i]; i++) {
		if (!strcasecmp(dot + 1, packings[i]))
			return error_set(e, ERROR_USAGE,
				"%s: can't compress to %s\n"
				"a name may end in .gz, .zst or .lz4",
				o->output, dot);
	}
	format_extension(o->output, extension, sizeof extension);
	for (size_t i = 0; !o->format && others[i]; i++) {
		if (!strcasecmp(extension, others[i]))
			return error_set(e, ERROR_USAGE,
				"%s: there is no format %s\n"
				"-f csv, for example, says what to write",
				o->output, extension);
	}
	return 0;
}

static int check_parts(const struct sink_options *o, struct error *e)
{
	bool rolls = o->roll.bytes || o->roll.age_us;

	if ((!o->partition && !rolls) || output_kind_of(o->output) == OUTPUT_DIRECTORY)
		return 0;
	error_set(e, ERROR_USAGE, "%s writes to a directory, not to %s",
		o->partition ? "--partition" : "--roll",
		strcmp(o->output, "-") ? o->output : "standard output");
	return error_hint(e, "a directory has a slash at its end: out/");
}

int sink_format_check(const struct sink_options *o, struct error *e)
{
	return check_output(o, e) < 0 || check_name(o, e) < 0 || check_parts(o, e) < 0 ? -1
											       : 0;
}
