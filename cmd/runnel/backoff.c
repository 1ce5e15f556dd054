#include "cmd/runnel/backoff.h"

#include "libcore/base/civil.h"
#include "libcore/base/number.h"

#include <string.h>

enum {
	FIRST_US = 100000,
	LONGEST_US = 30000000,
	JITTER_PARTS = 5, /* give or take one of so many */
};

static int refuse(const char *text, struct error *e)
{
	return error_set(e, ERROR_USAGE, "--restart '%s': at most N failures in a time, as 10/10m (N up "
		"to %d)", text, BACKOFF_FAILURES_MAX);
}

int backoff_parse(const char *text, struct backoff *out, struct error *e)
{
	const char *slash = strchr(text, '/');
	uint64_t n;

	*out = (struct backoff){.seed = 0x9e3779b97f4a7c15};
	if (!slash || uint_parse(text, (size_t)(slash - text), &n) != NUMBER_OK ||
		n > BACKOFF_FAILURES_MAX ||
		duration_parse(slash + 1, strlen(slash + 1), &out->window_us) != NUMBER_OK || out->window_us <= 0)
		return refuse(text, e);
	out->failures_max = (uint32_t)n;
	return 0;
}

static void forget_old(struct backoff *b, int64_t now_us)
{
	size_t old = 0;

	while (old < b->times_len && now_us - b->times[old] > b->window_us)
		old++;
	memmove(b->times, b->times + old, (b->times_len - old) * sizeof *b->times);
	b->times_len -= old;
}

/* xorshift64*, after Vigna. */
static uint64_t next_random(struct backoff *b)
{
	b->seed ^= b->seed >> 12;
	b->seed ^= b->seed << 25;
	b->seed ^= b->seed >> 27;
	return b->seed * 0x2545f4914f6cdd1d;
}

int64_t backoff_failed(struct backoff *b, int64_t now_us)
{
	int64_t wait_us = FIRST_US, part;

	forget_old(b, now_us);
	if (b->times_len >= b->failures_max)
		return -1;
	for (size_t i = 0; i < b->times_len && wait_us < LONGEST_US; i++)
		wait_us *= 2;
	b->times[b->times_len++] = now_us;
	b->seed ^= (uint64_t)now_us;
	if (wait_us > LONGEST_US)
		wait_us = LONGEST_US;
	part = wait_us / JITTER_PARTS;
	return wait_us - part + (int64_t)(next_random(b) % (uint64_t)(2 * part + 1));
}
