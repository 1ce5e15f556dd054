/* JSON as programs answer it (status, listings), member by member, straight into a buffer.
 *
 *   buf_put_byte(out, '{');
 *   json_put_text(out, "name", name);       {"name":"flights"
 *   json_put_uint(out, "bytes", bytes);     {"name":"flights","bytes":12
 *   buf_put_byte(out, '}');
 *
 * A comma is put where the last byte isn't an opening bracket.  Rows have formats/writer.h. */
#ifndef RUNNEL_CMD_COMMON_JSON_PUT_H
#define RUNNEL_CMD_COMMON_JSON_PUT_H

#include "libcore/base/buf.h"

#include <stdbool.h>

/* Keys are plain words that need no escapes. */
void json_put_key(struct buf *out, const char *key);

void json_put_text(struct buf *out, const char *key, const char *text); /* NULL: null */
void json_put_uint(struct buf *out, const char *key, uint64_t value);
void json_put_bool(struct buf *out, const char *key, bool value);
void json_put_number(struct buf *out, const char *key, double value); /* not finite: null */
/* ISO 8601; null where a timestamp has no text (INT64_MIN, INT64_MAX). */
void json_put_time(struct buf *out, const char *key, int64_t us);

/* ---- without a key ---- */

void json_put_real(struct buf *out, double value); /* finite */
/* The bytes as they are, unescaped; what isn't UTF-8 becomes '?', as it would make the whole text
 * unreadable. */
void json_put_utf8(struct buf *out, const char *text);

#endif
