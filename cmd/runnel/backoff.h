/* When a job that failed is started again: after longer and longer, and not for ever.  Pure: the time
 * is given to it. */
#ifndef RUNNEL_CMD_RUNNEL_BACKOFF_H
#define RUNNEL_CMD_RUNNEL_BACKOFF_H

#include "libcore/base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { BACKOFF_FAILURES_MAX = 1000 };

struct backoff {
	uint32_t failures_max;  /* within window_us; one more is too many */
	int64_t window_us;
	int64_t times[BACKOFF_FAILURES_MAX]; /* of the failures within the window, oldest first */
	size_t times_len;
	uint64_t seed;          /* of the jitter */
};

/* "N/DURATION": 10/10m.  "0/1s" gives up at the first failure. */
int backoff_parse(const char *text, struct backoff *out, struct error *e);

/* A failure at now_us: how long to wait, or -1 to give up.  100 ms, doubled with every failure within
 * the window up to 30 s, give or take a fifth, so that jobs that failed together don't return
 * together. */
int64_t backoff_failed(struct backoff *b, int64_t now_us);

#endif
