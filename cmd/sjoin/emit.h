/* Pairs of row numbers to rows of the output. */
#ifndef RUNNEL_SJOIN_EMIT_H
#define RUNNEL_SJOIN_EMIT_H

#include "cmd/sjoin/join.h"

struct pairs {
	const struct batch *left, *right;
	const uint32_t *left_rows;  /* NULL: row i; ROW_NONE: no left row (see lone_rights) */
	const uint32_t *right_rows; /* ROW_NONE: no right row */
	uint32_t n;                 /* up to BATCH_ROWS */
	bool lone_rights;           /* some have no left row: a key column shows the right one */
	const uint8_t *ops;         /* of the output, by pair; NULL: all are inserts */
	const uint8_t *left_ops;    /* by left row, where LEFT is a changelog; see emit_lefts */
	int64_t window_start_us, window_end_us;
};

/* The pairs for which -w is true: their positions go to kept (room for n). */
int emit_filter(
	struct join *j, const struct pairs *p, uint32_t *kept, uint32_t *kept_len, struct error *e);

/* ---- a changelog on the left ---- */

/* Ops of a batch of LEFT for left_ops, in the arena: only updates whose join key stays have halves.
 * NULL if LEFT is no changelog. */
const uint8_t *emit_left_ops(const struct batch *b, const uint64_t *hashes, struct arena *a);

/* What becomes of a left row has its op.  The two halves of an update stay one where each gives one
 * row, of one key: else they are deletes and inserts. */
struct emit_changes {
	const int64_t *numbers;  /* of the left rows: halves of an update have x and x + 1 */
	const int64_t *partners; /* numbers of the right rows, -1: none */
	const uint8_t *left_ops; /* all by output row */
	uint8_t *ops;            /* the result */
	uint32_t n;
	bool more;       /* rows of the last left row may follow */
	int64_t *broken; /* number of the last row that went with more to come; first -1 */
};

/* How many rows are settled: with more to come the last ones wait for the next call, unless they
 * are all of one left row. */
uint32_t emit_settle(const struct join *j, const struct emit_changes *c);

/* As emit_pairs, with ops from left_ops; halves of an update come in one call. */
int emit_lefts(struct join *j, const struct pairs *p, struct error *e);

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
	uint8_t *right_flags;    /* ROW_MATCHED is set in them; NULL: nobody asks */
	uint32_t *right_matches; /* in their place where LEFT is a changelog: how many */
	uint8_t *met;    /* by position: who met somebody; only some right rows are there, and
			  * nobody goes out alone.  NULL: all are */
	bool first_only; /* one candidate per left row is enough */
	int64_t broken;  /* see emit_changes */
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

static inline bool op_is_insert(uint8_t op)
{
	return op == ROW_INSERT || op == ROW_UPDATE_AFTER;
}

/* A candidate.  Positions never fall. */
static inline int emit_run_pair(
	struct emit_run *run, uint32_t position, uint32_t right_row, struct error *e)
{
	run->left[run->n] = position;
	run->right[run->n++] = right_row;
	return run->n < BATCH_ROWS ? 0 : emit_run_flush(run, position, e);
}

#endif
