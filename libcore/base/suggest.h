/* "did you mean": the candidate a mistyped word was probably meant to be. */
#ifndef RUNNEL_BASE_SUGGEST_H
#define RUNNEL_BASE_SUGGEST_H

#include <stddef.h>

/* Index of the candidate nearest to the word by Damerau-Levenshtein distance (restricted: optimal
 * string alignment, letters' case aside), or -1 if none is near enough (a third of the word's
 * length, at least one edit) to be worth saying. */
int suggest(const char *word, size_t word_len, const char *const *candidates, size_t n);

#endif
