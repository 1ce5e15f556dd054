/* Pairs of row numbers to rows of the output. */
#ifndef RUNNEL_SJOIN_EMIT_H
#define RUNNEL_SJOIN_EMIT_H

#include "cmd/sjoin/join.h"

struct pairs {
	const struct batch *left, *right;
	const uint32_t *left_rows;  /* NULL: row i */
	const uint32_t *right_rows; /* ROW_NONE: no right row */
	uint32_t n;                 /* up to BATCH_ROWS */
	int64_t window_start_us, window_end_us;
};

/* The pairs for which -w is true: their positions go to kept (room for n). */
int emit_filter(
	struct join *j, const struct pairs *p, uint32_t *kept, uint32_t *kept_len, struct error *e);

/* One output row per pair.  Semi and anti joins need no right side. */
int emit_pairs(struct join *j, const struct pairs *p, struct error *e);

/* Right rows that met nobody: right_rows only. */
int emit_rights(struct join *j, const struct pairs *p, struct error *e);

/* ---- a run: left rows one after another, each with its candidates in order ----
 *
 * Finds out which left rows met nobody and puts them where they belong in the order. */
struct emit_run {
	struct join *j;
	struct pairs source; /* left, right, window; left_rows by position */
	uint32_t positions;
	uint8_t *right_flags; /* ROW_MATCHED is set in them; NULL: nobody asks */
	bool first_only;      /* one candidate per left row is enough */
	/* inside */
	uint8_t *matched;       /* by position */
	uint32_t *left, *right; /* candidates: position, right row */
	uint32_t *out_left, *out_right;
	uint32_t *filter_rows;
	uint32_t n, out_n, next;
};

/* Sets up the inside; source, positions and right_flags are set.  One run at a time: it uses the
 * join's arrays (windows may be many and small). */
void emit_run_begin(struct emit_run *run, struct join *j);
void emit_run_free(struct emit_run *run);

/* Tests the candidates so far; rows before position upto have all theirs. */
int emit_run_flush(struct emit_run *run, uint32_t upto, struct error *e);

/* A candidate.  Positions never fall. */
static inline int emit_run_pair(
	struct emit_run *run, uint32_t position, uint32_t right_row, struct error *e)
{
	run->left[run->n] = position;
	run->right[run->n++] = right_row;
	return run->n < BATCH_ROWS ? 0 : emit_run_flush(run, position, e);
}

#endif
