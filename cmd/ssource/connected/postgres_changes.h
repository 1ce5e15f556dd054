/* A table and its changes, as a changelog: the rows that are there (unless --snapshot no), then
 * every change in the order of the commits, without a gap and without a double.
 *
 *   NEW -> ROWS -> STREAM -> OVER        restored: NEW -> STREAM
 *
 * ROWS.  A slot is made, and with it a view of the table at exactly the position where the slot
 * begins; the table is copied out of that view.  The view dies with its connection, so no
 * checkpoint may hold a part of it: at a barrier the rest goes out in front of it.
 *
 * STREAM.  A position is the end of the last transaction that went out whole, and of the one that
 * is under way its commit's position and how many of its changes went out: the server sends it
 * again from its beginning, always the same.  The slot itself is moved on (which lets the server
 * throw its log away) by commit() only.  A lost connection is opened again from the position, in
 * memory, too.
 *
 * The slot's names.  Until a checkpoint holds the first rows the slot bears a name of the job's own
 * (slot_made): who starts again without a checkpoint drops that one and begins anew.  The commit of
 * the first checkpoint gives it the name that was asked for, by a copy (slot.h).  So a slot of that
 * name that a job without a checkpoint finds is somebody else's.  Alone in a shell the slot is a
 * temporary one, which dies with its connection, and gets its name at the END.
 *
 * Without updates and deletes in the publication the stream is no changelog; with --meta it is the
 * log of the changes: each a row of its own, with what it came with as further columns. */
#ifndef RUNNEL_CMD_SSOURCE_CONNECTED_POSTGRES_CHANGES_H
#define RUNNEL_CMD_SSOURCE_CONNECTED_POSTGRES_CHANGES_H

#include "cmd/ssource/clockwork.h"
#include "cmd/ssource/connected/postgres.h"
#include "cmd/ssource/connected/postgres_slot.h"
#include "cmd/ssource/progress.h"
#include "cmd/ssource/timeline.h"
#include "connect/heavy/postgres_copy.h"
#include "connect/heavy/postgres_pgoutput.h"

enum changes_phase {
	CHANGES_NEW,
	CHANGES_ROWS,
	CHANGES_STREAM,
	CHANGES_OVER,
};

enum meta_kind {
	META_LSN,
	META_COMMIT_TIME,
	META_XID,
	META_OP,
};

enum { META_COLUMNS_MAX = 16 };

struct changes_position {
	uint64_t lsn;
	uint64_t txn_lsn; /* 0: none is under way */
	uint64_t txn_changes;
};

struct changes {
	struct operator base;
	const struct source_options *o;
	struct source_options own;
	struct postgres_input in;
	struct clockwork clockwork;
	struct progress progress;
	struct timeline timeline;
	struct partition *partition;
	int64_t watermark_us;
	bool is_idle;

	/* what is read */
	char *oid; /* of the table, as text */
	uint32_t relation;
	char *publication;
	struct postgres_plan plan;
	enum meta_kind metas[META_COLUMNS_MAX]; /* the schema's first columns; then the plan's */
	size_t metas_len;
	bool appends; /* inserts only */
	struct schema schema;
	struct batch_builder batch;
	bool has_batch;

	/* where it is */
	enum changes_phase phase;
	bool is_restored, draining;
	bool is_drained; /* it has been told to end, and how far that is */
	uint64_t drain_lsn;
	int64_t drain_us;
	struct changes_position at;
	uint64_t prepared_lsn, confirmed_lsn;
	char *slot;     /* that is read from; NULL: not known yet */
	bool slot_made; /* it has to be given its name */
	bool slot_temporary;

	/* the first rows */
	struct postgres *db;
	struct postgres_copy copy;
	struct postgres_codec *codecs;
	int64_t rows_time_us;
	uint64_t bytes;

	/* the stream */
	struct postgres *wal;
	bool is_streaming;
	struct pgoutput message;
	int *fields; /* of the plan's columns in the relation's, -1: none yet; NULL: not told yet */
	bool in_txn;
	uint64_t txn_lsn, skip; /* changes of it that went out before */
	int64_t txn_time_us;
	uint32_t txn_xid;
	uint64_t received_lsn;
	int64_t told_us; /* when the server last got an answer */
	bool must_tell;
	uint64_t told_lsn; /* how far it may move the slot on, as it knows */
	int64_t retry_at_us, retry_us, failing_since_us;
};

/* ---- setting up: postgres_setup.c ---- */

/* NEW -> ROWS or STREAM, with the schema declared. */
int changes_start(struct changes *c, struct error *e);
/* The schema of the plan and --meta, declared; again when the table has got another column. */
int changes_declare(struct changes *c, struct error *e);
/* Whether rows are those of a changelog. */
bool changes_is_changelog(const struct changes *c);
/* The slot that was made gets its name. */
int changes_name_slot(struct changes *c, const char *made, struct error *e);

/* ---- the stream: postgres_stream.c ---- */

/* What came with a row. */
struct change_meta {
	uint64_t lsn;
	int64_t time_us;
	int64_t xid; /* -1: none */
	enum row_op op;
};
void changes_put_meta(struct changes *c, const struct change_meta *m);

/* Up to a batch of changes.  0; 1: the limit is reached; 2: no more for now. */
int changes_fill(struct changes *c, struct error *e);
/* Opens the stream at the position.  0; 1: not now, try again at retry_at_us; -1. */
int changes_open(struct changes *c, struct error *e);
/* Tells the server how far it is, if that is due. */
int changes_tell(struct changes *c, bool now, struct error *e);
void changes_close(struct changes *c);

/* ---- snapshots: postgres_changes_state.c ---- */

int changes_put(const struct changes *c, struct snapshot_writer *w, struct error *e);
int changes_take(struct changes *c, struct snapshot_reader *r, struct error *e);

#endif
