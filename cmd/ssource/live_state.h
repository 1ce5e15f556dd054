/* The snapshot of a live source:
 *
 *   section "live"       one row: schema (a -s text, null: not known yet), format, header, rows,
 * now section "inputs"     as other sources of records have it, see positions.h section "followed"
 * a row for every file: input, path, name, device, inode, head_bytes, head_hash, bytes, changed;
 * entry, offset, line (null: unknown), over, packed; of its partition: greatest_time (null: none),
 * silent, turn
 *
 * silent: for how long nothing had come, in microseconds.  now: with -t now the time of the last
 * row. */
#ifndef RUNNEL_CMD_SSOURCE_LIVE_STATE_H
#define RUNNEL_CMD_SSOURCE_LIVE_STATE_H

#include "cmd/ssource/follow.h"
#include "libcore/state/snapshot.h"

struct live_state {
	char *spec, *format; /* owned; NULL: not known */
	int header;
	uint64_t rows;
	int64_t now_us; /* WATERMARK_NONE: none */
};

void live_state_clear(struct live_state *s);
int live_state_put(const struct live_state *s, struct snapshot_writer *w, struct error *e);
int live_state_take(struct live_state *s, const struct batch *b, struct error *e);

int followed_put(
	const struct follow *f, int64_t mono_us, struct snapshot_writer *w, struct error *e);
int followed_take(struct follow *f, size_t inputs_len, const struct batch *b, struct error *e);

#endif
