/* One CSV record at a time, byte by byte: the header, samples, and the closer look at what the
 * index (csv_index.h) can't or won't take.  It is the grammar in its plainest form, and says what
 * is wrong.
 *
 *   record  field (delimiter field)* (LF | CR LF | end)
 *   field   '"' (any | '""')* '"'  |  any but delimiter, '"', LF */
#ifndef RUNNEL_FORMATS_CSV_RECORD_H
#define RUNNEL_FORMATS_CSV_RECORD_H

#include "formats/csv_index.h"
#include "libcore/base/buf.h"
#include "libcore/base/error.h"

enum { CSV_FIELDS_MAX = 4096 }; /* more are counted, not kept */

struct csv_field {
	size_t at;         /* its first byte, a quote's too */
	size_t begin, end; /* what is in it */
	bool quoted;
	bool escaped; /* "" in it stands for one quote */
};

struct csv_record {
	struct csv_field *fields; /* the first CSV_FIELDS_MAX */
	size_t cap;
	size_t len;         /* all fields */
	size_t next;        /* where the next record begins */
	const char *reason; /* of CSV_RECORD_BAD */
	size_t reason_at;
};

enum csv_record_status {
	CSV_RECORD_OK,
	CSV_RECORD_MORE, /* its end isn't in these bytes */
	CSV_RECORD_BAD,  /* reason, reason_at; next is where to go on */
};

/* The record at bytes[from].  last: no bytes follow. */
enum csv_record_status csv_record_scan(struct csv_record *r, const uint8_t *bytes, size_t len,
	size_t from, bool last, struct csv_dialect d);
void csv_record_clear(struct csv_record *r);

/* An empty line. */
static inline bool csv_record_is_blank(const struct csv_record *r)
{
	return r->len == 1 && !r->fields[0].quoted && r->fields[0].begin == r->fields[0].end;
}

/* The field's text with its quotes taken off; in scratch if it had to be unescaped. */
const char *csv_field_text(
	const struct csv_field *f, const uint8_t *bytes, struct buf *scratch, size_t *len);

/* ---- the names of a record's fields ---- */

struct csv_names {
	char **items;
	size_t len, cap;
};

/* header: the record holds them; an empty name is c1, c2, ... by its place, a second x is x_2.
 * Otherwise all are c1, c2, ... */
int csv_names_set(struct csv_names *n, const struct csv_record *r, const uint8_t *bytes,
	bool header, struct error *e);
int csv_names_find(const struct csv_names *n, const char *name); /* -1: none */
void csv_names_clear(struct csv_names *n);

#endif
