/* Messages of a broker to columns, through the readers of reader.h: a message is a value (one or more
 * records in some format) and perhaps a key.
 *
 *   value    ndjson       JSON objects.  One may be spread over lines; several stand on lines of their own
 *            debezium-json  a change event
 *            csv tsv regex  lines, without a header
 *            lines        the whole message is one row, its newlines too
 *            msgpack avro   records one after another
 *   none     a tombstone.  Where columns come from the key it is a row whose value columns are null:
 *            the key is gone.  Else it says nothing, and is passed over.
 *   key      columns whose path begins with "key".  key: its text by the column's type; key as `any`,
 *            and key.a.b: the key is JSON
 *
 * A message is taken whole or not at all: what is malformed in it, also a null event time or a key
 * that doesn't fit, makes the message malformed.  It goes to the bad sink with its place as the
 * input's name, the line in the message and the byte in the line.
 *
 * Messages of text are put one behind the other and parsed in one call; only where one of them is
 * malformed they are parsed in smaller and smaller parts. */
#ifndef RUNNEL_FORMATS_MESSAGES_H
#define RUNNEL_FORMATS_MESSAGES_H

#include "formats/records.h"

struct message {
	const uint8_t *value; /* NULL: none */
	size_t value_len;
	const uint8_t *key;   /* NULL: none */
	size_t key_len;
};

struct messages_options { /* borrowed; outlives the reader of messages */
	const char *format;          /* NULL: by content */
	const char *schema_text;     /* -s, for the value; NULL: infer all */
	const struct wanted_column *keys; /* columns of the key, their path beginning with "key" */
	size_t keys_len;
	uint32_t infer_rows;         /* 0: the default */
	const char *required_column; /* a null there is malformed; NULL: none */
	const int64_t *latest_us;    /* a time in it beyond this, too; NULL: any is good */
	struct reader_options reader; /* input: of all messages together, "topic bids" */
	struct bad_sink bad;         /* take NULL: the first bad message is an error */
	/* Appends where the message of that number in a parse comes from: "bids[3]@1042". */
	void (*put_place)(void *context, size_t message, struct buf *out);
	void *context;
};

enum {
	MESSAGES_SAMPLE_ROWS = 10000,      /* to infer from, unless options say otherwise */
	MESSAGES_SAMPLE_BYTES = 1 << 20,   /* ... and no more than so much, unless they do */
};

struct messages;

/* Whether columns or types come from a sample of messages. */
int messages_need_sample(const struct messages_options *o, bool *out, struct error *e);

/* With a sample, if one is needed: messages that may be malformed, of which one has a value at least. */
int messages_open(const struct messages_options *o, const struct message *sample, size_t n,
	struct messages **out, struct error *e);
void messages_close(struct messages *m);

/* Columns of the value, then of the key; valid until close. */
const struct schema *messages_schema(const struct messages *m);

/* Appends the rows of n messages (or of those that aren't malformed) to b, whose first columns are
 * those of messages_schema.  rows_of, unless it is NULL, gets how many rows each of them was. */
int messages_parse(struct messages *m, const struct message *items, size_t n,
	struct batch_builder *b, uint32_t *rows_of, struct error *e);

/* What was settled, so that others read alike: -s of the value, and the format (NULL: no message has
 * come yet). */
void messages_put_spec(const struct messages *m, struct buf *out);
const char *messages_format(const struct messages *m);

#endif
