/* What a program gives to the stage runtime: an operator, a small struct of functions.
 *
 * The runtime does the rest for every program alike: HELLO and SCHEMA, several inputs, alignment on
 * BARRIER, least watermark, idleness, batching, flush when idle, END, ERROR, backpressure, signals,
 * metrics, the line to the supervisor.  An operator never sees a descriptor, never reads the clock,
 * owns no process-wide variable, and is called from one thread.
 *
 *   create -> restore? -> schema(in)* -> ( schema | batch | watermark | tick | input_end )* -> end
 *                                        snapshot at any point between two calls
 *
 * Every function may be NULL where the default does.  All return 0, or -1 with the error set.
 * Batches and columns are borrowed until the call returns. */
#ifndef RUNNEL_STAGE_OPERATOR_H
#define RUNNEL_STAGE_OPERATOR_H

#include "libcore/state/snapshot.h"
#include "libcore/table/column.h"

struct frame;
struct operator;
struct stage;

/* What a program that shows a running stream is told (operator_ops.report). */
struct stage_report {
	int64_t now_us;      /* wall clock */
	int64_t elapsed_us;  /* since the stage started */
	uint64_t rows;       /* that came in */
	uint64_t idle_us;    /* so far: waiting for input, and blocked in writes */
	uint64_t blocked_us;
	bool asked;          /* by SIGUSR1 */
	bool last;           /* nothing follows */
};

struct operator_ops {
	const char *type;         /* "swindow": in HELLO, in snapshots, in messages */
	void (*free)(struct operator *op);

	/* A schema that rows on this input will have, before the first of them; once per distinct
	 * schema.  Check names and types (ERROR_USAGE, naming the column) and declare the outputs
	 * (stage_declare).  A second, different schema on an input comes here too. */
	int (*schema)(struct operator *op, unsigned input, const struct schema *in,
		struct error *e);

	/* Rows, of the schema last announced for this input (in->schema). */
	int (*batch)(struct operator *op, unsigned input, const struct batch *in, struct error *e);

	/* Event time has reached in_us on all inputs.  *out_us is what will be handed on: in_us
	 * unless the operator holds it back.  Default: forward. */
	int (*watermark)(struct operator *op, int64_t in_us, int64_t *out_us, struct error *e);

	/* Processing time as a source told it (a TICK). */
	int (*tick)(struct operator *op, int64_t now_us, struct error *e);

	/* Every frame as it came in, before anything is made of it: for who looks at streams. */
	int (*frame)(struct operator *op, unsigned input, const struct frame *f, struct error *e);

	/* Every report_us of time that passes (0: not), on SIGUSR1, and once when all is over, however
	 * that came.  The one place that sees a clock: nothing may be emitted. */
	int (*report)(struct operator *op, const struct stage_report *r, struct error *e);

	/* Input `input` is complete (all of its channels have ENDed). */
	int (*input_end)(struct operator *op, unsigned input, struct error *e);

	/* All inputs are complete; the final watermark has been given before. */
	int (*end)(struct operator *op, struct error *e);

	/* A barrier is about to be handed on: a last moment to emit what the snapshot shall not hold. */
	int (*settle)(struct operator *op, struct error *e);

	/* State as sections of a frame stream, and back.  restore comes before anything else; the
	 * runtime keeps the schemas of the inputs itself: after restore, schema is called for every
	 * input that had one, as if it had just arrived, so an operator must not lose restored
	 * state when it is told a schema.  Nothing may be declared or emitted in restore. */
	int (*snapshot)(struct operator *op, struct snapshot_writer *w, struct error *e);
	int (*restore)(struct operator *op, struct snapshot_reader *r, struct error *e);

	/* ---- sources: produce instead of batch ---- */

	/* Emits some rows (about a batch), watermarks (stage_emit_watermark), idleness. */
	enum produce_status (*produce)(struct operator *op, struct error *e);

	/* Stop reading; the next produce calls flush what is half done and return PRODUCE_END.
	 * Only called on unbounded sources. */
	void (*drain)(struct operator *op);

	/* ---- sinks: the epoch's rows have all been given to batch ---- */

	/* Make everything since the last prepare durable, uncommitted, under the epoch's number.
	 * Appends what a commit needs to *handle (opaque; goes to the manifest).  An epoch that was
	 * prepared and for which commit has not been called since may have been given up: what it
	 * needs is part of this handle, too. */
	int (*prepare)(struct operator *op, uint64_t epoch, struct buf *handle, struct error *e);

	/* Make a prepared epoch visible; may be repeated.  Without a supervisor the runtime calls
	 * prepare and commit once, at END. */
	int (*commit)(struct operator *op, uint64_t epoch, const uint8_t *handle, size_t len,
		struct error *e);

	/* Throw away what is not prepared: the stage fails.  Must leave nothing half-written under a
	 * final name.  Called at most once, nothing follows but free. */
	void (*abort)(struct operator *op);

	/* A sink's moment to write what it holds back although nothing more came: a terminal.  If it
	 * sets wait_us it is called again when that has passed without input.
	 * Of an operator that hears (below): whenever something may be there; it may emit. */
	int (*idle)(struct operator *op, struct error *e);
};

enum produce_status {
	PRODUCE_ERROR = -1,
	PRODUCE_MORE = 0,   /* call again when the outputs have room */
	PRODUCE_END = 1,    /* the input is complete */
	PRODUCE_WAIT = 2,   /* nothing now: call again when wait_fd is readable or wait_us have passed */
};

struct operator {
	const struct operator_ops *ops;
	struct stage *stage; /* set by the runtime before any call */
	unsigned inputs;     /* logical inputs: 0 for a source, 1, 2 for a join */
	unsigned outputs;    /* 0 for a sink; output 0 is the main one, the others side outputs */
	bool bounded;        /* sources: says whether produce ever ends by itself */
	/* Has inputs, and hears somebody beside them who answers when it likes (a co-process): idle is
	 * called when nothing more is there to read, and again once wait_fd is readable, tell_fd is
	 * writable, or wait_us have passed (fds: -1 none; 0: for ever).  A watermark that is behind rows not
	 * emitted yet is held back by it, and emitted with stage_emit_watermark. */
	bool hears;
	bool holds; /* there are such rows: that the inputs are idle is told only after them */
	int tell_fd;
	int wait_fd;         /* for PRODUCE_WAIT: -1 none */
	int64_t wait_us;     /* for PRODUCE_WAIT: -1 forever; for a sink's idle: 0 forever */
	uint32_t build_inputs; /* bit i: input i, if it is bounded, is read to its END before the others */
	/* Rows of no input are read before the columns of all that have not ENDed are known, but for
	 * those in front of a barrier that came before the columns of another. */
	bool schemas_first;
	/* What comes in goes out again, on every output, byte for byte unless several channels meet or
	 * rows are dealt out; schema and batch, where there are any, only look.  All outputs count:
	 * that the reader of the main one has gone is no end as long as others read. */
	bool passes;
	int64_t report_us;
	/* Its process has threads, which a fork would leave behind: snapshots are written by this process
	 * itself, while the stream waits. */
	bool in_place;
};

/* ---- what an operator may call, from within its functions ---- */

/* Declares the schema of an output; again when it changes.  Copied.  Time column -1: no event time.
 * Rows may be emitted after. */
int stage_declare(struct stage *st, unsigned output, const struct schema *s, struct error *e);

/* The schema as last declared; stable until the next declare. */
const struct schema *stage_output_schema(const struct stage *st, unsigned output);

/* Hands rows on.  b has the columns of the declared schema (b->schema itself may be another object
 * of the same shape).  Borrowed until it returns.  Small batches are gathered, large ones go
 * straight through; more than BATCH_ROWS rows are split. */
int stage_emit(struct stage *st, unsigned output, const struct batch *b, struct error *e);

/* Sources, what gives its rows a new event time, and what holds rows back; idleness and processing
 * time are sources' only. */
int stage_emit_watermark(struct stage *st, int64_t event_us, struct error *e);
int stage_emit_idle(struct stage *st, bool idle, struct error *e);
int stage_emit_tick(struct stage *st, int64_t now_us, struct error *e);

/* Combined watermark and TICK so far (WATERMARK_NONE before the first); one input's watermark. */
int64_t stage_watermark(const struct stage *st);
int64_t stage_input_watermark(const struct stage *st, unsigned input);
int64_t stage_now(const struct stage *st);
bool stage_is_bounded(const struct stage *st);           /* all inputs are */
bool stage_input_is_bounded(const struct stage *st, unsigned input);
bool stage_input_has_ended(const struct stage *st, unsigned input);
/* Where the stream of an input comes from, for messages: the name in its HELLO. */
const char *stage_input_from(const struct stage *st, unsigned input);
struct key_range stage_key_range(const struct stage *st);
const char *stage_name(const struct stage *st); /* --name, else the program's with a number */
uint32_t stage_subtask(const struct stage *st);
uint32_t stage_subtasks(const struct stage *st);

/* Whether what was restored is this very subtask's own, written by as many subtasks as there are:
 * then what one of them had to read is still its to read.  Else every subtask has seen the parts of
 * all, and picks its share. */
bool stage_restored_own(const struct stage *st);

/* Whether a part of the state that the operator has no use for any more may be let go: asked before
 * it refuses (ERROR_STATE).  The part's name is the operator's own. */
bool stage_drops_state(const struct stage *st, const char *part);

/* The job this stage belongs to (32 hex digits, for ever the same for what is restored from its own
 * checkpoints) and which start of it this is: what a sink's hidden files are named by.  "" and 0
 * alone. */
const char *stage_job(const struct stage *st);
uint64_t stage_attempt(const struct stage *st);

/* The operator has emitted all it ever will, whatever comes: alone in a shell the stage then sends END
 * and leaves, which tells those in front; under a supervisor it goes on, and has to drop the rows that
 * still come. */
void stage_done(struct stage *st);

/* Rows of a batch that came too late: counted, and emitted on an output unless that is 0 (output 0
 * has the results).  The arena is scratch. */
int stage_put_late(struct stage *st, unsigned output, const struct batch *b, const uint32_t *pick,
	uint32_t n, struct arena *scratch, struct error *e);

/* Counted in the metrics: rows that came after their window closed; malformed ones skipped. */
void stage_count_late(struct stage *st, uint64_t rows);
void stage_count_bad(struct stage *st, uint64_t rows);

/* A sink that is about to write to somebody who may not read for long: returns once a pipe's page may
 * be written without blocking.  A supervisor would take a stage that is silent meanwhile for hung. */
int stage_wait_writable(struct stage *st, int fd, struct error *e);

/* In the middle of long work: tells a supervisor that asks that the stage hasn't hung.  Costs a system
 * call, so not for every row. */
int stage_alive(struct stage *st, struct error *e);

/* As stage_alive, while somebody outside is waited for who isn't there yet: a broker, a server, a peer.
 * A signal that asks the pipeline to come to its end lets what is on its way be written still, but ends
 * such a wait: ERROR_INTERRUPTED. */
int stage_await(struct stage *st, struct error *e);

/* A warning, printed once per text on standard error by the runtime ("swindow: warning: ..."). */
void stage_warn(struct stage *st, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
