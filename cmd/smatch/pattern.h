/* Patterns of MATCH_RECOGNIZE: their text to a small program.
 *
 *   A B            one after the other          A*  A+  A?  A{2}  A{2,}  A{,3}  A{2,3}
 *   A | B          either, A rather             A*? ...    as few as possible
 *   ( ... )        a group                      {- A -}    matched, but left out of --all-rows
 *   PERMUTE(A, B)  in any order, as written rather
 *
 * Variables are names, or "quoted".  The program is one of Thompson's construction, with its threads
 * in the order of preference (after Pike, and Cox, "Regular Expression Matching: the Virtual Machine
 * Approach", 2009): of two ways to match, the one that a backtracking matcher would find first.
 * Counted quantifiers are written out.
 *
 *   step i      the row must be a variable[i]; then the match goes on at any of next[i], in order
 *   step DONE   the match is complete */
#ifndef RUNNEL_SMATCH_PATTERN_H
#define RUNNEL_SMATCH_PATTERN_H

#include "libcore/base/arena.h"
#include "libcore/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	PATTERN_VARIABLES_MAX = 63, /* and a mask has room for them all */
	PATTERN_STEPS_MAX = 8192,
	PATTERN_WAYS_MAX = 1 << 20, /* of all steps' next: so much may be to do for one row */
	PATTERN_DONE = UINT16_MAX,
};

/* Where a match may go on. */
struct pattern_next {
	const uint16_t *steps; /* PATTERN_DONE among them, perhaps */
	uint32_t len;
};

struct pattern_step {
	uint8_t variable;
	bool excluded;
	struct pattern_next next;
};

struct pattern {
	const char **variables;
	size_t variables_len;
	struct pattern_step *steps;
	size_t steps_len;
	struct pattern_next start;
};

/* Everything lives in the arena.  what names the text in errors: "--pattern:1:7: ...", with a caret. */
int pattern_parse(const char *text, const char *what, struct arena *a, struct pattern *out,
	struct error *e);

/* The number of a variable, -1: the pattern has none of the name. */
int pattern_find(const struct pattern *p, const char *name, size_t len);

#endif
