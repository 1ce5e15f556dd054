/* A schema: the names and types of a stream's columns, and what the stream says of itself.
 *
 * A schema owns its names.  Schemas are compared by value; a batch borrows the one it belongs to. */
#ifndef RUNNEL_TABLE_SCHEMA_H
#define RUNNEL_TABLE_SCHEMA_H

#include "libcore/table/type.h"

struct field {
	char *name;
	struct type type;
};

struct schema {
	char *name;              /* of a section in a snapshot ("groups"); NULL for what flows */
	struct field *fields;
	size_t fields_len, fields_cap;
	int time_column;         /* index of the event-time column, -1: none */
	int64_t time_offset_us;  /* event time of a row = its time column + this */
	int *keys;               /* columns that identify a changelog's rows */
	size_t keys_len;
	bool changelog;          /* batches carry an op per row */
};

#define SCHEMA_INIT {.time_column = -1}

enum { SCHEMA_FIELDS_MAX = 4096 }; /* a header line of a broken file must not allocate the machine */

void schema_init(struct schema *s);
void schema_set_name(struct schema *s, const char *name); /* copied; NULL: none */
void schema_clear(struct schema *s);
void schema_copy(struct schema *to, const struct schema *from); /* to: cleared or initialised */

/* Appends a column and returns its index.  The name is copied; it may stand there already. */
int schema_add(struct schema *s, const char *name, size_t name_len, struct type type);
int schema_add_field(struct schema *s, const struct field *f);

/* Index of the column of that name, -1 if there is none. */
int schema_find(const struct schema *s, const char *name, size_t name_len);

/* As schema_find, but a missing name is ERROR_USAGE: "no column 'x'; did you mean 'y'?  The columns
 * are: ...".  where names the stream ("input", "RIGHT"). */
int schema_require(const struct schema *s, const char *name, size_t name_len, const char *where,
	struct error *e);

void schema_set_keys(struct schema *s, const int *columns, size_t n);
bool schema_equal(const struct schema *a, const struct schema *b);

/* Appends "name type, name type" with names quoted where they need it: messages and --plan. */
void schema_put(const struct schema *s, struct buf *b);

/* Appends a name as the language would take it: quoted if it is not a plain identifier. */
void schema_put_name(const char *name, struct buf *b);

#endif
