/* What a source of records has still to read, and its snapshot: a row for every range of bytes that
 * isn't over.
 *
 *   section "position"   input, entry, offset, begun, end (null: to the end), line (null: unknown),
 *                        rows, greatest_time, divided, schema
 *
 *   section "inputs"     number, path: of all, also those that are over
 *
 * begun: a record begins at the offset, else behind the first newline there (records.h).  rows and
 * schema (a -s text) are the subtask's, in its first row.  divided: ranges are partitions of their
 * own, each with its own greatest time; else they are one after another, and so is time.
 */
#ifndef RUNNEL_CMD_SSOURCE_POSITIONS_H
#define RUNNEL_CMD_SSOURCE_POSITIONS_H

#include "formats/records.h"
#include "libcore/state/snapshot.h"

struct position {
	struct records_range range;
	uint64_t rows;
	int64_t greatest_us; /* WATERMARK_NONE: none */
};

struct positions {
	struct position *items; /* in the order in which they are read */
	size_t len, cap;
	bool is_divided;
	char *spec; /* of a snapshot; NULL: nobody had looked at the input yet */
};

#define POSITIONS_INIT {.items = NULL}
void positions_clear(struct positions *p);
void positions_add(struct positions *p, struct position item);

/* Every input whole. */
void positions_begin(struct positions *p, size_t inputs_len);

/* Leaves of the positions of all subtasks those of one.  r tells whether the inputs may be cut. */
struct positions_way {
	uint32_t subtask, subtasks;
	uint64_t cut_min_bytes; /* 0: the default */
};
int positions_share(struct positions *p, struct positions_way way, const struct records *r,
	const char *const *inputs, struct error *e);

int positions_put(const struct positions *p, struct snapshot_writer *w, struct error *e);

/* Appends what one batch of a snapshot holds; after the last of all snapshots: sorts, and refuses
 * what can't be (ERROR_STATE). */
int positions_take(struct positions *p, const struct batch *b, struct error *e);
int positions_check(struct positions *p, size_t inputs_len, struct error *e);

/* Positions go by the number of an input: one that has got another number since, or inputs that have
 * come or gone, are ERROR_STATE.  A new name in an old one's place is a file that has moved. */
int inputs_put(const char *const *inputs, size_t len, struct snapshot_writer *w, struct error *e);
int inputs_check(const struct batch *b, const char *const *inputs, size_t len, size_t *known,
	struct error *e); /* one batch; *known: so many there were */
int inputs_check_known(const char *const *inputs, size_t len, size_t known, struct error *e);

#endif
