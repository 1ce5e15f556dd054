/* PostgreSQL's types and ours.
 *
 *   PostgreSQL                              here            back (what --create makes)
 *   boolean                                 bool            boolean
 *   smallint, integer, bigint, oid          int             bigint
 *   real, double precision                  float           double precision
 *   numeric(p,s), p <= 38                   decimal(p,s)    numeric(p,s)
 *   numeric, and numeric(p,s) beyond that   string          text
 *   date                                    date            date
 *   timestamptz; timestamp (as UTC)         timestamp       timestamptz
 *   interval without months                 duration        interval
 *   text, varchar, char(n), name, uuid,     string          text
 *     enums, and every other type as its text
 *   bytea                                   bytes           bytea
 *   json, jsonb, arrays                     any             jsonb
 *
 * Domains are what they are made of.  An array is an array of its elements (ints, floats, bools,
 * text, json; bytea as bin; dates, times, numerics and all others as text), one inside the other
 * where it has several dimensions; its lower bounds are lost. What has no value on the other side
 * is an error, never another value: NaN in a numeric(p,s), infinity as a date or time, an interval
 * with months, a time beyond the years -290307..294247.
 *
 * Values come in two ways: binary (COPY BINARY, binary results) and text (logical replication),
 * which give the same. */
#ifndef RUNNEL_CONNECT_HEAVY_POSTGRES_TYPES_H
#define RUNNEL_CONNECT_HEAVY_POSTGRES_TYPES_H

#include "libcore/table/builder.h"

/* How a value lies in its binary form. */
enum postgres_form {
	POSTGRES_BOOL,
	POSTGRES_INT2,
	POSTGRES_INT4,
	POSTGRES_INT8,
	POSTGRES_OID,
	POSTGRES_FLOAT4,
	POSTGRES_FLOAT8,
	POSTGRES_NUMERIC,
	POSTGRES_DATE,
	POSTGRES_TIMESTAMP, /* both kinds */
	POSTGRES_INTERVAL,
	POSTGRES_TEXT, /* the text itself: text, varchar, bpchar, name, enums, xml, json */
	POSTGRES_UUID,
	POSTGRES_BYTEA,
	POSTGRES_JSON,
	POSTGRES_JSONB,
	POSTGRES_ARRAY,
	POSTGRES_OTHER, /* none that is read: has to be asked for as text */
};

enum postgres_oid {
	OID_BOOL = 16,
	OID_BYTEA = 17,
	OID_NAME = 19,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_TEXT = 25,
	OID_OID = 26,
	OID_JSON = 114,
	OID_XML = 142,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_BPCHAR = 1042,
	OID_VARCHAR = 1043,
	OID_DATE = 1082,
	OID_TIMESTAMP = 1114,
	OID_TIMESTAMPTZ = 1184,
	OID_INTERVAL = 1186,
	OID_NUMERIC = 1700,
	OID_UUID = 2950,
	OID_JSONB = 3802,
};

/* A type as the catalog tells it, domains followed to what they are made of. */
struct postgres_type {
	uint32_t oid;
	int32_t modifier; /* -1: none */
	char kind;        /* pg_type.typtype: 'e' an enum */
	uint32_t element; /* of an array: its elements' type; 0: no array */
	char element_kind;
	char delimiter; /* between elements in an array's text */
};

/* How a column of that type is read. */
struct postgres_codec {
	struct type type;
	enum postgres_form form;
	enum postgres_form element; /* ARRAY */
	char delimiter;
};

struct postgres_codec postgres_codec_of(const struct postgres_type *t);

/* Whether a statement has to ask for the column's text, by its output function (format('%s',
 * column)), because its binary form isn't read: postgres_take_binary then takes that. */
bool postgres_comes_as_text(const struct postgres_codec *c);

/* The shape of a numeric's modifier: numeric(7,2), numeric(3,5), numeric(5,-2).  False: none, or
 * more than 38 digits. */
bool postgres_numeric_shape(int32_t modifier, struct type *out);

/* Appends a value.  0, or -1 with nothing appended and *why a static text: "NaN, which a decimal
 * can't be". */
int postgres_take_binary(const struct postgres_codec *c, const uint8_t *bytes, size_t len,
	struct column_builder *out, const char **why);
int postgres_take_text(const struct postgres_codec *c, const char *text, size_t len,
	struct column_builder *out, const char **why);

/* ---- back ---- */

/* The SQL type that a column of ours gets in a new table. */
void postgres_put_type(struct type t, struct buf *out);

/* Whether values of a column go to a table's column of that type without loss (an int may still be
 * too large for a smallint: that is an error of its value).  OTHER takes strings only, through a
 * cast. */
bool postgres_takes(struct type t, enum postgres_form form);

/* Appends a field of COPY BINARY, its length in front: row `row` of a column as the form says, null
 * as -1.  modifier is the target's (numerics are checked against it by the server).  -1 with
 * nothing appended: *why a static text. */
int postgres_put_binary(const struct column *c, uint32_t row, enum postgres_form form,
	struct buf *out, const char **why);

enum { POSTGRES_COPY_HEADER_BYTES = 19 };
extern const uint8_t postgres_copy_header[POSTGRES_COPY_HEADER_BYTES]; /* before the first row */

#endif
