#include "formats/reader.h"

#include <string.h>

const char *reader_format_of(const uint8_t *bytes, size_t len)
{
	const uint8_t *line_end;
	size_t at = len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	if (len && ((bytes[0] & 0xf0) == 0x80 || bytes[0] == 0xde || bytes[0] == 0xdf))
		return "msgpack"; /* a map; no text begins so */
	if (len >= 4 && memcmp(bytes, "Obj\1", 4) == 0)
		return "avro";
	while (at < len && (bytes[at] == ' ' || bytes[at] == '\n' || bytes[at] == '\r'))
		at++;
	if (at < len && bytes[at] == '{')
		return "ndjson";
	line_end = memchr(bytes + at, '\n', len - at);
	len = line_end ? (size_t)(line_end - bytes) : len;
	return memchr(bytes + at, '\t', len - at) && !memchr(bytes + at, ',', len - at) ? "tsv"
											: "csv";
}

static bool is_format(const char *format, const char *name)
{
	return strcmp(format, name) == 0;
}

int reader_new(const char *format, const struct reader_options *options, struct reader **out,
	struct error *e)
{
	struct reader_options o = *options;

	if (is_format(format, "tsv") && !o.delimiter)
		o.delimiter = '\t';
	if (is_format(format, "regex") && o.regex)
		return regex_reader_new(&o, out, e);
	if (is_format(format, "regex"))
		return error_set(
			e, ERROR_USAGE, "-f regex needs a pattern: --regex '(?<ip>\\S+) ...'");
	if (is_format(format, "csv") || is_format(format, "tsv"))
		*out = csv_reader_new(&o);
	else if (is_format(format, "ndjson"))
		*out = ndjson_reader_new(&o);
	else if (is_format(format, "lines"))
		*out = lines_reader_new(&o);
	else if (is_format(format, "msgpack"))
		*out = msgpack_reader_new(&o);
	else if (is_format(format, "debezium-json"))
		*out = debezium_reader_new(&o);
	else if (is_format(format, "avro") && avro_reader_new)
		*out = avro_reader_new(&o);
	else if (is_format(format, "avro"))
		return error_set(
			e, ERROR_USAGE, "%s: ssource reads avro: <(ssource FILE.avro)", o.input);
	else
		return error_set(e, ERROR_USAGE,
			"no format '%s' for records; there are csv, tsv, ndjson, msgpack, lines, "
			"regex, debezium-json, avro",
			format);
	return 0;
}
