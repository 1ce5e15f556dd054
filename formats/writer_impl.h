/* What the writers share: private to formats/writer*.c and connect/heavy/avro_writer.c. */
#ifndef RUNNEL_FORMATS_WRITER_IMPL_H
#define RUNNEL_FORMATS_WRITER_IMPL_H

#include "formats/writer.h"

struct writer_ops {
	const char *name;
	void (*clear)(struct writer *w);
	int (*schema)(struct writer *w, const struct schema *s, struct buf *out, struct error *e);
	int (*rows)(struct writer *w, const struct batch *b, struct buf *out, struct error *e);
	int (*end)(struct writer *w, struct buf *out, struct error *e);
	uint32_t (*mark)(const struct writer *w); /* NULL: 0 */
	bool ends_without_schema; /* there is something to say even if nothing came */
};

struct table_sample;
struct avro_file;

/* The text of the day last seen, "2013-01-01T": neighbours tend to be of one day. */
struct day_text {
	int64_t day;
	bool known;
	char text[11];
};

struct writer {
	const struct writer_ops *ops;
	struct writer_options o;
	struct schema schema;
	bool has_schema;
	bool has_rows;               /* json: a row stands in front of the next */
	struct buf prefixes;         /* ndjson: `{"a":` `,"b":` ... one after another; msgpack: names */
	uint32_t *prefix_at;         /* fields + 1 offsets into prefixes */
	struct day_text day;
	struct table_sample *sample; /* table */
	struct avro_file *avro;
};

extern const struct writer_ops writer_csv, writer_tsv, writer_ndjson, writer_lines, writer_table,
	writer_json, writer_msgpack, writer_debezium;

/* connect/heavy/avro_writer.c, where that is linked. */
extern const struct writer_ops writer_avro __attribute__((weak));

/* The most bytes a value of fixed width takes as text, quotes included. */
enum { VALUE_TEXT_MAX = 64 };

/* Writes the text of a valid value of fixed width; returns its length.  quoted: times and durations
 * in quotes, non-finite floats as null, as JSON wants it. */
size_t writer_put_value(const struct column *c, uint32_t row, bool quoted, struct day_text *day,
	char *out);

/* "+I", "-U", "+U", "-D". */
const char *writer_op_name(uint8_t op);

/* Text with JSON's escapes, in quotes; out has room for 6 * len + 2 + 32.  readable: bytes behind
 * text that may be read (not less than len), which lets short texts be copied 32 bytes at once. */
size_t writer_put_json_text(const char *text, size_t len, size_t readable, char *out);

/* The length of the front part of text without any of the four bytes. */
size_t writer_plain_len(const char *text, size_t len, size_t readable, const char special[4]);

#endif
