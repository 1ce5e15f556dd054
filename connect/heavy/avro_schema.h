/* Avro schemas (specification 1.11): from their JSON to a tree, and to the types of columns.
 *
 *   null boolean int long float double bytes string      as they are named
 *   enum            string                 record array map, other unions    any
 *   fixed           bytes                  ["null", T]                       T, with nulls
 *   date            date                   timestamp-millis -micros -nanos (also local-)  timestamp
 *   decimal         decimal(p,s), p <= 38, else bytes      time-millis -micros            duration
 *   uuid            string                 duration (12 bytes)               bytes
 *
 * avro-c checks a schema by the letter of the specification; it leaves out logical types, so the
 * tree is built from the JSON itself. */
#ifndef RUNNEL_CONNECT_HEAVY_AVRO_SCHEMA_H
#define RUNNEL_CONNECT_HEAVY_AVRO_SCHEMA_H

#include "libcore/base/arena.h"
#include "libcore/table/schema.h"

enum avro_kind {
	AVRO_KIND_NULL,
	AVRO_KIND_BOOLEAN,
	AVRO_KIND_INT,
	AVRO_KIND_LONG,
	AVRO_KIND_FLOAT,
	AVRO_KIND_DOUBLE,
	AVRO_KIND_BYTES,
	AVRO_KIND_STRING,
	AVRO_KIND_RECORD,
	AVRO_KIND_ENUM,
	AVRO_KIND_ARRAY,
	AVRO_KIND_MAP,
	AVRO_KIND_UNION,
	AVRO_KIND_FIXED,
};

enum avro_logical {
	AVRO_PLAIN,
	AVRO_DATE,
	AVRO_TIME_MILLIS,
	AVRO_TIME_MICROS,
	AVRO_TIMESTAMP_MILLIS,
	AVRO_TIMESTAMP_MICROS,
	AVRO_TIMESTAMP_NANOS,
	AVRO_DECIMAL,
};

struct avro_node;

struct avro_field {
	const char *name;
	const struct avro_node *node; /* NULL: an enum's symbol */
};

struct avro_node {
	enum avro_kind kind;
	enum avro_logical logical;
	uint8_t precision, scale;  /* DECIMAL */
	const char *name;          /* full, of record, enum, fixed */
	struct avro_field *fields; /* of a record; a union's branches; an enum's symbols */
	size_t fields_len;
	const struct avro_node *items; /* of array and map */
	uint32_t size;                 /* of fixed */
	uint32_t least_bytes; /* that a value takes: 0 for null and what holds nothing else */
};

/* The tree lives as long as the arena.  ERROR_DATA says what is wrong, without context. */
int avro_schema_parse(const char *json, size_t len, struct arena *a, const struct avro_node **out,
	struct error *e);

/* What a value is apart from being null: the one other branch of a union with null, else itself. */
const struct avro_node *avro_plain(const struct avro_node *n, bool *nullable);
struct type avro_type(const struct avro_node *n);

/* "long", "timestamp-millis", "union of string and long". */
void avro_put_name(const struct avro_node *n, struct buf *out);

/* The schema of these columns: a record whose fields are all unions with null; op, a changelog's,
 * the first.  Names that Avro doesn't allow are ERROR_USAGE.  any is a string of JSON. */
int avro_schema_of(const struct schema *s, struct buf *json, struct error *e);

#endif
