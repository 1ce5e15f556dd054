/* Bytes to columns: what every input format implements (csv.c, ndjson.c, lines.c, regex.c, msgpack.c,
 * debezium.c).
 *
 * A reader is pushed windows of bytes and appends whole records to a batch builder.  It holds no
 * descriptor and no copy of the bytes; the caller (records.h) keeps what was not consumed and comes
 * back with more.  It knows nothing of event time beyond parsing timestamps.
 *
 * Hot path: projection happens here.  Columns that were not asked for are skipped unparsed, values
 * go straight to the builders' memory, nothing is allocated per record. */
#ifndef RUNNEL_FORMATS_READER_H
#define RUNNEL_FORMATS_READER_H

#include "libcore/table/builder.h"

enum time_unit { /* how integers become a timestamp */
	TIME_ISO,  /* ISO 8601 text */
	TIME_S,
	TIME_MS,
	TIME_US,
	TIME_NS,
};

/* A column to take.  path has one element for a plain name, more for a nested value (ndjson). */
struct wanted_column {
	const char *name;         /* in the output */
	const char *const *path;
	size_t path_len;
	int position;             /* csv without header: index of the field; else -1 */
	struct type type;
	enum time_unit unit;      /* TIMESTAMP only */
	bool inferred;            /* nobody asked for this type: messages then say --infer */
	bool required;            /* null is malformed: the event time */
};

struct reader_options {
	const char *input;              /* for messages */
	char delimiter;                 /* csv: 0 = ',' */
	enum { HEADER_AUTO, HEADER_YES, HEADER_NO } header;
	bool quoted_newlines;           /* csv: a newline within quotes is data (default) */
	const char *const *nulls;       /* further spellings of null */
	size_t nulls_len;
	const char *regex;              /* regex: the pattern, whose named groups are columns */
	const char *avro_schema;        /* avro: bare records, whose schema is in this file */
	const char *registry;           /* avro: messages whose schemas are there, a URL or a directory */
};

/* A record that can't be taken.  Lives until the callback returns. */
struct bad_record {
	const char *input;
	uint64_t line;                  /* from 1; of the record's first byte or the offending one */
	uint32_t column;                /* byte in the line, from 1; 0: unknown */
	const char *reason;
	const char *record;             /* the record's bytes, cut at 64 KiB */
	size_t record_len;
};

/* Returns 0 to skip the record and go on, -1 to stop (error set). */
struct bad_sink {
	int (*take)(void *context, const struct bad_record *bad, struct error *e);
	void *context;
};

struct reader;

struct reader_ops {
	const char *name; /* "csv" */
	bool changes;     /* rows are a changelog's: see struct reader */
	bool is_binary;   /* no newline stands between records */
	void (*free)(struct reader *r);

	/* Called once with the first bytes (up to the whole sample): finds the names and, for the
	 * columns, types.  Appends to `names_types` every column of the input in its order, inferred
	 * over the sample's whole records (at most rows_max); last says whether the sample is all
	 * there is.  csv consumes its header later by itself, in parse. */
	int (*infer)(struct reader *r, const uint8_t *bytes, size_t len, bool last,
		uint32_t rows_max, struct schema *names_types, struct error *e);

	/* Sets what to take.  Before the first parse, and at the start of every further input. */
	int (*want)(struct reader *r, const struct wanted_column *columns, size_t n,
		struct error *e);

	/* A new input (file, entry): line 1, a header expected again; name for messages. */
	void (*start)(struct reader *r, const char *input_name);

	/* Whether the first bytes of the input are still to be seen, because they tell the names.
	 * NULL: no input's start is special. */
	bool (*needs_start)(const struct reader *r);

	/* Whether the sample holds a whole record.  NULL: a newline ends one. */
	bool (*has_record)(const struct reader *r, const uint8_t *bytes, size_t len);

	/* Parses whole records until rows_max are in the builders, or the bytes have no further
	 * whole record.  A record that is several rows (an update) isn't torn: there may be more.  last: no bytes follow, so what is left is a record (or a malformed one).
	 * *consumed: bytes that need not be shown again.  A record longer than 64 MiB is malformed.
	 * builders: one per wanted column; on a bad record they are as before it. */
	int (*parse)(struct reader *r, const uint8_t *bytes, size_t len, bool last,
		uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
		size_t *consumed, struct error *e);

	/* Where the reader is, for snapshots: restored, parse goes on at the byte after *consumed. */
	uint64_t (*line)(const struct reader *r);
	void (*resume)(struct reader *r, uint64_t line); /* after start and want; header is past */

	/* Whether inputs have a header, as far as that has been settled (enum of reader_options).
	 * NULL: the format knows none. */
	int (*header)(const struct reader *r);
};

struct reader {
	const struct reader_ops *ops;
	/* Of a format of changes: where parse appends an op (enum row_op) for each of its rows.  Set by
	 * the caller before each parse; NULL: nobody wants them. */
	struct buf *changes;
};

/* The reader of a format by its name, "tsv" and "regex" among them.  ERROR_USAGE: there is none, or
 * its options don't do. */
int reader_new(const char *format, const struct reader_options *o, struct reader **out,
	struct error *e);

/* The format that text or bytes are likely in: "msgpack", "avro", "ndjson", "tsv", else "csv". */
const char *reader_format_of(const uint8_t *bytes, size_t len);

struct reader *csv_reader_new(const struct reader_options *o);
struct reader *ndjson_reader_new(const struct reader_options *o);
struct reader *lines_reader_new(const struct reader_options *o);
struct reader *msgpack_reader_new(const struct reader_options *o);
struct reader *debezium_reader_new(const struct reader_options *o);

/* Linked to programs that reach brokers and databases; NULL in others. */
struct reader *avro_reader_new(const struct reader_options *o) __attribute__((weak));

/* A pattern that doesn't compile, or names no group: ERROR_USAGE with a caret. */
int regex_reader_new(const struct reader_options *o, struct reader **out, struct error *e);

#endif
