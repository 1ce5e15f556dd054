/* Columns to text: what every output format implements (csv, tsv, ndjson, json, msgpack, lines,
 * table, debezium-json, avro).
 *
 * A writer appends to a buffer; who owns it writes it out (sink files, a terminal).  Values: null is
 * empty in csv (the empty string is ""), null in json; floats are the shortest text that reads back
 * the same; timestamps ISO 8601 UTC with Z.  msgpack is a map a row: timestamps are its extension -1,
 * decimals and dates text, durations microseconds, bytes bin, any as it is. */
#ifndef RUNNEL_FORMATS_WRITER_H
#define RUNNEL_FORMATS_WRITER_H

#include "libcore/table/column.h"

struct writer;

struct writer_options {
	bool header;            /* csv, tsv: a line of names first, also without rows */
	char delimiter;         /* 0: the format's own */
	int columns_max;        /* table: the terminal's width, 0 unlimited */
	bool color;

	/* avro: a container file, unless one of the last two says otherwise. */
	const char *avro_codec;    /* of its blocks: "null", "deflate", "snappy", "zstandard"; NULL: null */
	const char *avro_schema;   /* bare records, whose schema is in this file */
	const char *registry;      /* Confluent's messages: where schemas are kept, a URL or a directory */
	const char *avro_subject;  /* ... under what name */
};

/* format: "csv" "tsv" "ndjson" "json" "msgpack" "lines" "table" "debezium-json" "avro".  Unknown:
 * ERROR_USAGE with a suggestion. */
int writer_new(const char *format, const struct writer_options *o, struct writer **out,
	struct error *e);
void writer_free(struct writer *w);

/* avro is linked to programs that reach brokers and databases; in others there is none. */
bool writer_has_avro(void);

/* The stream's schema; before the first rows, and again when it changes (csv: only if the columns
 * are the same, else ERROR_DATA).  Appends the header where there is one. */
int writer_schema(struct writer *w, const struct schema *s, struct buf *out, struct error *e);

/* Instead of the first writer_schema: what is already in the file began with it, and has rows or
 * not. */
int writer_resume(struct writer *w, const struct schema *s, bool has_rows, struct error *e);

/* What a file is begun with and must go on with, in 31 bits: 0 where any will do.  After
 * writer_schema or writer_resume. */
uint32_t writer_mark(const struct writer *w);

/* Appends the rows' text.  table may keep rows back until writer_end to align its columns. */
int writer_rows(struct writer *w, const struct batch *b, struct buf *out, struct error *e);
int writer_end(struct writer *w, struct buf *out, struct error *e);

#endif
