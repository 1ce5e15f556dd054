/* JSON text to msgpack, strictly by RFC 8259: no comments, no trailing commas, no leading zeros, no
 * NaN; strings are UTF-8 without bare control characters.
 *
 * Whole numbers that fit are ints, all others floats; what is too large for a float is refused.
 * Of a key that comes twice both are kept: whoever looks one up takes the first.  Nesting to
 * MSGPACK_DEPTH_MAX. */
#ifndef RUNNEL_BASE_JSON_H
#define RUNNEL_BASE_JSON_H

#include "libcore/base/buf.h"

/* Appends the one value that the text is, with space around it.  0, or -1: out is as before, *at is
 * the byte where it went wrong and *why a static text that says how. */
int json_parse(const char *text, size_t len, struct buf *out, size_t *at, const char **why);

#endif
