/* Numbers as a person reads them at a glance: three digits or so, a unit. */
#ifndef RUNNEL_CMD_COMMON_HUMAN_H
#define RUNNEL_CMD_COMMON_HUMAN_H

#include <stddef.h>
#include <stdint.h>

enum { HUMAN_TEXT_MAX = 32 };

/* Each writes a NUL-terminated text to out and returns out.  Nothing is longer than is said here.
 */

/* 0 0.3 9.9 12 999 1.2k 12.3k 123k 4.5M: 5 characters; what isn't finite or is negative is "-". */
const char *human_count(char out[HUMAN_TEXT_MAX], double count);

/* 812 B, 1.2 KiB, 128 MiB: 8 characters. */
const char *human_bytes(char out[HUMAN_TEXT_MAX], uint64_t bytes);

/* 350us 12ms 1.2s 59s 1m12s 2h13m 3d4h 400d: 6 characters, one more if negative.  Rounded down. */
const char *human_span(char out[HUMAN_TEXT_MAX], int64_t us);

#endif
