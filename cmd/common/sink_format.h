/* What a sink's options come to: its format, its compression, and what can't be written at all.
 * Looks at names, at what is there, and at whether standard output is a terminal. */
#ifndef RUNNEL_CMD_COMMON_SINK_FORMAT_H
#define RUNNEL_CMD_COMMON_SINK_FORMAT_H

#include "cmd/common/sink.h"

struct sink_format {
	char name[16];      /* "csv" */
	char extension[32]; /* "csv.zst": of part files */
};

/* Outputs that don't exist, names that promise what wouldn't be in the file, parts without a
 * directory: ERROR_USAGE. */
int sink_format_check(const struct sink_options *o, struct error *e);

void sink_format_choose(const struct sink_options *o, struct sink_format *out);

/* Format and compression as one number, for snapshots, and the format's name in such a number;
 * NULL: none that this program knows. */
int sink_format_number(const struct sink_format *f, const char *output);
const char *sink_format_of_number(int number);
bool sink_format_is_compressed(int number);

#endif
