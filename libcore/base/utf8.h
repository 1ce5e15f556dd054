/* UTF-8: is it, and where are its characters.  A character is a code point.
 *
 * Well formed means RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF.  Only
 * utf8_valid, utf8_valid_len and utf8_decode take any bytes; the others want well-formed text, and
 * on other bytes stay inside the buffer but answer nonsense. */
#ifndef RUNNEL_BASE_UTF8_H
#define RUNNEL_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_valid(const char *text, size_t len);
/* Bytes of the longest well-formed prefix: len if all is; else where the first bad byte sequence
 * starts, also when it is only cut short. */
size_t utf8_valid_len(const char *text, size_t len);
/* True if no byte is above 0x7f. */
bool utf8_is_ascii(const char *text, size_t len);

/* Characters in the text. */
size_t utf8_count(const char *text, size_t len);
/* Where character n (from 0) starts, in bytes; len if there are not so many. */
size_t utf8_offset(const char *text, size_t len, size_t n);

/* Bytes of the first character, which goes to *code; 0 if it is malformed or the text is empty. */
size_t utf8_decode(const char *text, size_t len, uint32_t *code);
/* Writes 1..4 bytes and returns how many; 0 for what isn't a character (surrogates, > U+10FFFF). */
size_t utf8_encode(char out[4], uint32_t code);

/* Simple case mapping, one character to one, the same everywhere: ASCII, Latin-1 Supplement, Latin
 * Extended-A, Greek (U+0370..03FF), Cyrillic (U+0400..052F) and Armenian.  Others, and the German
 * sharp s, stay as they are. */
uint32_t utf8_upper(uint32_t code);
uint32_t utf8_lower(uint32_t code);

/* The whole text; out has room for len bytes, which is always enough.  Returns the bytes written.
 * out may be text itself.  Malformed bytes are copied. */
size_t utf8_put_upper(char *out, const char *text, size_t len);
size_t utf8_put_lower(char *out, const char *text, size_t len);

#endif
