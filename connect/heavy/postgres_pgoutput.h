/* What a logical replication stream brings: its envelopes, and in them the messages of pgoutput,
 * version 1 of its protocol, values as text.
 *
 *   envelope   'w' start u64, end u64, time i64, message    'k' end u64, time i64, wants an answer
 * u8 message    'B' final lsn u64, time i64, xid u32         'C' flags u8, lsn u64, end u64, time
 * i64 'R' oid u32, schema, name, identity u8, columns i16, each: key u8, name, oid u32, modifier
 * i32 'I' oid u32, 'N' row        'D' oid u32, 'K' or 'O' row 'U' oid u32, ['K' or 'O' row], 'N'
 * row 'T' relations u32, flags u8, oids u32 'Y', 'O', 'M': types, origins, messages: nothing for us
 *   row        fields i16, each: 'n' null, 'u' not sent (TOASTed and unchanged), 't' length u32,
 * text
 *
 * A transaction comes whole and in the order of commits: B, its changes, C.  Names end with a NUL.
 * Times are microseconds since 2000 there and since 1970 here.  Nothing is copied: all that is
 * handed out lies in the bytes that were parsed. */
#ifndef RUNNEL_CONNECT_HEAVY_POSTGRES_PGOUTPUT_H
#define RUNNEL_CONNECT_HEAVY_POSTGRES_PGOUTPUT_H

#include "libcore/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pgoutput_envelope {
	bool has_message; /* 'w'; else a keepalive */
	uint64_t end_lsn; /* of the server's log, as far as it has been sent */
	bool wants_answer;
	const uint8_t *message;
	size_t message_len;
};

int pgoutput_parse_envelope(
	const uint8_t *bytes, size_t len, struct pgoutput_envelope *out, struct error *e);

enum pgoutput_kind {
	PGOUTPUT_OTHER,
	PGOUTPUT_BEGIN,
	PGOUTPUT_COMMIT,
	PGOUTPUT_RELATION,
	PGOUTPUT_INSERT,
	PGOUTPUT_UPDATE,
	PGOUTPUT_DELETE,
	PGOUTPUT_TRUNCATE,
};

struct pgoutput_field {
	char kind; /* 'n', 'u', 't' */
	const char *text;
	uint32_t len;
};

struct pgoutput_row {
	char kind; /* 'K' only the key's values, 'O' an old row, 'N' a new one, 0: there is none */
	struct pgoutput_field *fields;
	size_t len, cap;
};

struct pgoutput_column {
	const char *name;
	bool is_key;
	uint32_t oid;
	int32_t modifier;
};

/* One message; its arrays are used again for the next. */
struct pgoutput {
	enum pgoutput_kind kind;
	uint64_t lsn;     /* of the transaction's commit */
	uint64_t end_lsn; /* COMMIT: behind it */
	int64_t time_us;  /* of the commit */
	uint32_t xid;
	uint32_t relation;
	const char *schema, *name; /* RELATION */
	char identity;             /* RELATION: 'd', 'n', 'f', 'i' */
	struct pgoutput_column *columns;
	size_t columns_len, columns_cap;
	struct pgoutput_row before, after;
	uint32_t *truncated; /* relations */
	size_t truncated_len, truncated_cap;
};

int pgoutput_parse(const uint8_t *bytes, size_t len, struct pgoutput *out, struct error *e);
void pgoutput_clear(struct pgoutput *p);

/* 16/B374D848 */
int pgoutput_parse_lsn(const char *text, uint64_t *out);

enum { PGOUTPUT_STATUS_BYTES = 34, LSN_TEXT_MAX = 18 };
#define LSN_FORMAT "%X/%X"
#define LSN_ARGUMENTS(lsn) (unsigned)((lsn) >> 32), (unsigned)(lsn)

/* The answer: how far the log has been received, and how far the slot may move on. */
struct pgoutput_status {
	uint64_t received_lsn, flushed_lsn;
	int64_t now_us;
};
void pgoutput_put_status(const struct pgoutput_status *s, uint8_t out[PGOUTPUT_STATUS_BYTES]);

#endif
