#include "cmd/ssort/radix.h"

#include <stdbool.h>
#include <string.h>

enum {
	DIGITS = 8, /* of 8 bits: a pass writes to 256 lines, which a first-level cache holds */
	VALUES = 256,
	/* Below, moving entries one by one costs less than counting 8 x 256 digits. */
	INSERTION_MAX = 48,
};

static void insertion_sort(struct sort_entry *entries, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		struct sort_entry x = entries[i];
		size_t at = i;

		for (; at && entries[at - 1].key > x.key; at--)
			entries[at] = entries[at - 1];
		entries[at] = x;
	}
}

/* Counts all digits in one pass; whether the entries are in order already. */
static bool count_digits(const struct sort_entry *entries, size_t n, size_t counts[DIGITS][VALUES])
{
	bool ordered = true;
	uint64_t last = 0;

	memset(counts, 0, DIGITS * sizeof *counts);
	for (size_t i = 0; i < n; i++) {
		uint64_t key = entries[i].key;

		ordered &= last <= key;
		last = key;
		for (int d = 0; d < DIGITS; d++)
			counts[d][key >> (8 * d) & 255]++;
	}
	return ordered;
}

static void scatter(const struct sort_entry *from, struct sort_entry *to, size_t n, int digit,
	size_t starts[VALUES])
{
	size_t sum = 0;

	for (int v = 0; v < VALUES; v++) {
		size_t count = starts[v];

		starts[v] = sum;
		sum += count;
	}
	for (size_t i = 0; i < n; i++)
		to[starts[from[i].key >> (8 * digit) & 255]++] = from[i];
}

void radix_sort(struct sort_entry *entries, struct sort_entry *room, size_t n)
{
	size_t counts[DIGITS][VALUES];
	struct sort_entry *from = entries, *to = room;

	if (n <= INSERTION_MAX) {
		insertion_sort(entries, n);
		return;
	}
	if (count_digits(entries, n, counts))
		return;
	for (int d = 0; d < DIGITS; d++) {
		struct sort_entry *swap = from;

		if (counts[d][from[0].key >> (8 * d) & 255] == n)
			continue; /* all have the same */
		scatter(from, to, n, d, counts[d]);
		from = to;
		to = swap;
	}
	if (from != entries)
		memcpy(entries, from, n * sizeof *entries);
}
