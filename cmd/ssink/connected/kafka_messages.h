/* Rows as messages of Kafka: key, headers, value.
 *
 *   value    the row in the sink's format, without the newline behind it; a changelog's op stands in
 *            it, or an update's two rows are one (debezium-json)
 *   key      one column: its text; several: a JSON object of them; null where the one column is null
 *   headers  named as their columns, with their texts
 *
 * Upserting, the key tells rows apart: +I and +U are the row without an op, -D has no value (a
 * tombstone), -U is no message. */
#ifndef RUNNEL_SSINK_KAFKA_MESSAGES_H
#define RUNNEL_SSINK_KAFKA_MESSAGES_H

#include "formats/writer.h"

struct messages_options {
	const char *format; /* "ndjson", "csv", ... */
	struct writer_options writer;
	const char *key, *headers; /* columns, or NULL */
	bool upserts;
};

struct message_view { /* borrowed until the next call */
	const uint8_t *key, *value; /* value NULL: a tombstone */
	size_t key_len, value_len;
	bool has_key;
	uint32_t row; /* whose headers it has */
};

struct kafka_messages;

/* The list of columns is read; whether there are such, the schema tells. */
int kafka_messages_new(const struct messages_options *o, struct kafka_messages **out, struct error *e);
void kafka_messages_free(struct kafka_messages *m);

int kafka_messages_schema(struct kafka_messages *m, const struct schema *s, struct error *e);

/* Messages of a batch, in order: take returns 0, or -1 to stop. */
struct messages_take {
	int (*take)(void *context, const struct message_view *v, struct error *e);
	void *context;
};
int kafka_messages_rows(struct kafka_messages *m, const struct batch *b, const struct messages_take *take,
	struct error *e);

/* A header of a row: its text to out; false: null. */
size_t kafka_messages_headers(const struct kafka_messages *m);
bool kafka_messages_header(const struct kafka_messages *m, const struct batch *b, uint32_t row, size_t i,
	const char **name, struct buf *out);

#endif
