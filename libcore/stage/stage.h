/* One stage's life as a state machine over frames.
 *
 *               stage_take(channel, frame)                    operator
 *   channels ------------------------------> [ alignment ] ----------> [ outlets ] ---> writers
 *               stage_take_eof(channel)      [ watermarks]   emit
 *
 * It is what operator.h describes, seen from the other side: the side that moves bytes.  It reads no
 * descriptor, no clock (but for the metrics) and starts no process, so that the same code runs as a program (run.c), as a
 * neighbour in the same process (a terminal behind a stage, a file in front of a join), and under a
 * seeded scheduler in tests/support/simulation.c.
 *
 * Channels and inputs.  An operator has logical inputs (a join has two); each is fed by one or more
 * channels (one per subtask in front).  A watermark is the least of a input's channels, and the
 * stage's the least of its inputs. */
#ifndef RUNNEL_STAGE_STAGE_H
#define RUNNEL_STAGE_STAGE_H

#include "libcore/frame/channel.h"
#include "libcore/stage/operator.h"

struct stage_output_plan {
	struct channel_writer *const *writers; /* borrowed; one per subtask behind; 0: rows vanish */
	size_t writers_len;
	/* More than one writer: rows go by the key group of these expressions over the output's
	 * columns; without any, batches go round. */
	const char *const *keys;
	size_t keys_len;
};

struct stage_hooks {
	void *context;
	/* All channels have brought this barrier and the operator stands exactly there: snapshot it
	 * (stage_snapshot) before returning, or from a child process.  handle is what the sink
	 * prepared.  NULL: barriers are forwarded and nothing is kept. */
	int (*checkpoint)(void *context, struct stage *st, const struct barrier *b,
		const struct buf *handle, struct error *e);
	void (*warn)(void *context, const char *text);
	/* END is out on all outputs but the main one, whose END it holds back, or an ERROR if it fails.
	 * NULL: nothing is to be waited for. */
	int (*others_ended)(void *context, struct error *e);
	/* Waits until a descriptor may be written, hearing the supervisor meanwhile (-1: only hears it);
	 * NULL: nothing else is to be heard. */
	int (*wait)(void *context, int fd, struct error *e);
	bool (*interrupted)(void *context); /* NULL: never */
};

struct stage_plan {
	const char *name;                /* the stage's name: HELLO, errors, snapshots by name */
	uint32_t subtask, subtasks;      /* 0 of 1 alone */
	const unsigned *channel_inputs;  /* logical input of each channel */
	size_t channels_len;
	const struct stage_output_plan *outputs; /* operator's outputs many */
	bool supervised;                 /* a sink prepares at barriers, and commits when told */
	const char *job;                 /* the job's uuid; NULL alone */
	uint64_t attempt;
	/* It had ENDed before it was restored: what its inputs send is dropped, the operator hears
	 * nothing, and END goes out at once. */
	bool finished;
	const char *const *drops;        /* parts of its state that may be let go; borrowed */
	size_t drops_len;
	struct stage_hooks hooks;
};

/* Takes the operator over, also on error. */
struct stage *stage_new(const struct stage_plan *plan, struct operator *op);
void stage_free(struct stage *st);

/* Brings back what stage_snapshot wrote, before anything else: from one file, or from those of
 * several subtasks, whose key groups outside this one's range are left out. */
int stage_restore(struct stage *st, struct channel_reader *const *files, size_t files_len,
	struct error *e);

/* After a restore: whether the operator takes what it was given, as far as that can be told without
 * rows; nothing is sent.  For a stage that is never to run. */
int stage_check(struct stage *st, struct error *e);

/* The state of runtime and operator as one frame stream on w, at the last barrier. */
int stage_snapshot(struct stage *st, struct channel_writer *w, struct error *e);

/* ---- being fed ---- */

/* Whether a frame of this channel may be given now: not while it is blocked by alignment, waits for
 * a build side, or has ENDed (then only its EOF is waited for: see stage_wants_eof). */
bool stage_wants(const struct stage *st, size_t channel);

int stage_take(struct stage *st, size_t channel, const struct frame *f, struct error *e);

/* The channel's bytes are over.  Without END before: ERROR_UPSTREAM, naming the first cause. */
int stage_take_eof(struct stage *st, size_t channel, const char *channel_name, struct error *e);

/* Sources: one call of produce.  After PRODUCE_END the stage has ended. */
enum produce_status stage_produce(struct stage *st, struct error *e);

/* Sources: the coordinator asks for a checkpoint here; also for stages that have ended. */
int stage_checkpoint(struct stage *st, const struct barrier *b, struct error *e);

/* From the first barrier of the last alignment to its last, in microseconds. */
uint64_t stage_alignment_us(const struct stage *st);

/* Nothing more to read at the moment: sends what was held back to fill batches. */
int stage_idle(struct stage *st, struct error *e);

/* The operator has said stage_done: END goes out, nothing more is taken. */
bool stage_is_done(const struct stage *st);
int stage_end_early(struct stage *st, struct error *e);

int stage_report(struct stage *st, const struct stage_report *r, struct error *e);

/* An unbounded source stops reading; false if it can't (a bounded one). */
bool stage_drain(struct stage *st);

/* Sinks: the epoch's handle, as prepared by this or an earlier attempt. */
int stage_commit(struct stage *st, uint64_t epoch, const uint8_t *handle, size_t len,
	struct error *e);

/* The stage fails: tells those behind (ERROR frame) and lets the sink clean up. */
void stage_fail(struct stage *st, const struct error *cause);

/* ---- being asked ---- */

bool stage_has_ended(const struct stage *st);
/* Every reader of the main output has closed: nothing left to do, whatever side outputs there are;
 * of a stage that passes, those of all outputs. */
bool stage_outputs_closed(const struct stage *st);
const struct operator *stage_operator(const struct stage *st);
/* If this failure came from the stage in front and that said why. */
bool stage_was_told(const struct stage *st);

/* ... that it failed, but not why: somebody else says so. */
bool stage_was_told_nothing(const struct stage *st);

/* Whether the last error of stage_take was about the frame itself, not about what an operator made
 * of its rows: then its place in the stream helps. */
bool stage_rejected_frame(const struct stage *st);

struct stage_metrics {
	uint64_t rows_in, rows_out, late, bad;
	int64_t watermark_us;
	uint64_t blocked_us; /* in writes: backpressured */
	uint64_t idle_us;    /* waiting for input; the runtime's loop counts it */
	uint64_t bytes_out;
};
struct stage_metrics stage_metrics(const struct stage *st);

#endif
