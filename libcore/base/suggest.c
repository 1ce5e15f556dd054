#include "libcore/base/suggest.h"

#include <ctype.h>
#include <string.h>

enum { WORD_MAX = 64 };

static int lower(char c)
{
	return tolower((unsigned char)c);
}

static size_t least3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Rows of the classic table, the two before kept for transpositions. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][WORD_MAX + 1];
	size_t *older = rows[0], *old = rows[1], *now = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		old[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *spare = older;

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t cost = lower(a[i - 1]) != lower(b[j - 1]);

			now[j] = least3(old[j] + 1, now[j - 1] + 1, old[j - 1] + cost);
			if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
				lower(a[i - 2]) == lower(b[j - 1]) && older[j - 2] + 1 < now[j])
				now[j] = older[j - 2] + 1;
		}
		older = old;
		old = now;
		now = spare;
	}
	return old[b_len];
}

int suggest(const char *word, size_t word_len, const char *const *candidates, size_t n)
{
	size_t limit = word_len / 3 ? word_len / 3 : 1;
	int best = -1;

	if (!word_len || word_len > WORD_MAX)
		return -1;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(candidates[i]), d;

		if (!len || len > WORD_MAX)
			continue;
		d = distance(word, word_len, candidates[i], len);
		if (d > limit || d >= len)
			continue;
		best = (int)i;
		limit = d ? d - 1 : 0;
		if (!d)
			break;
	}
	return best;
}
