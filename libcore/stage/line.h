/* The line between a stage and its supervisor: what both say, and how it lies on the wire.
 *
 * A Unix stream socket pair; the stage finds its end's descriptor number in RUNNEL_LINE.  Messages
 * are framed as frames are (0xc9, length, kind, msgpack array; shorter forms of ext are read), with
 * kinds of their own.  The line is the only way of control: edges carry rows and barriers one way,
 * nothing travels back on them.  runnel-stage(5) specifies it for who writes a stage in another
 * language; a change of what is there takes a new LINE_VERSION, new keys of DESCRIPTION don't.
 *
 *   supervisor -> stage                                  stage -> supervisor
 *   PLAN        once, first                              DESCRIPTION  once, first
 *                                                        READY      the operator is restored
 *   CHECKPOINT  to sources, and to all that FINISHED     ACK        snapshot durable, epoch prepared
 *                                                        DECLINED   the snapshot failed; life goes on
 *   COMMIT      an epoch's checkpoint is complete        COMMITTED
 *   DRAIN       unbounded sources: stop reading, END     FINISHED   END is sent on all outputs
 *   STOP        leave now, without END                   FAILED     why, before leaving
 *   PING                                                 PONG       with the metrics
 *
 * A stage's life under it:
 *
 *   options read, operator made -> DESCRIPTION.  A supervisor that only wanted to know that closes
 *   the line, and the stage leaves with status 0.
 *   PLAN -> operator restored, the plan's handles committed -> READY
 *   sources: CHECKPOINT n -> BARRIER n down the stream; all: BARRIER n aligned -> prepare, snapshot
 *   in a child process -> ACK n when the file is on disk.  COMMIT n -> sinks make it visible, sources
 *   let go of what they kept for a replay -> COMMITTED n.
 *   END of all inputs -> FINISHED.  A stage that is no sink then leaves with status 0: it counts as
 *   acknowledged in every later checkpoint.  A sink stays: CHECKPOINT n of kind final -> ACK with the
 *   last handle -> COMMIT n -> COMMITTED n, and it leaves.
 *
 * A checkpoint that isn't completed is given up without a word: its number never comes again, a
 * barrier with a greater one takes its place where channels are being aligned, and what a sink had
 * prepared for it belongs to the next one.  A stage that is blocked in a write answers PING all the
 * same, and sees the line close.
 *
 * A line that closes after PLAN ends the stage at once (status 5): nothing may write beside a
 * successor.  SIGINT and SIGTERM are ignored: the supervisor decides. */
#ifndef RUNNEL_STAGE_LINE_H
#define RUNNEL_STAGE_LINE_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"
#include "libcore/frame/frame.h"
#include "libcore/stage/description.h"
#include "libcore/stage/stage.h"

#define LINE_ENVIRONMENT "RUNNEL_LINE"

enum { LINE_VERSION = 1 }; /* DESCRIPTION says it; another one is refused */

enum line_kind {
	LINE_PLAN = 0x20,
	LINE_CHECKPOINT = 0x21, /* [id, kind, started_us] */
	LINE_COMMIT = 0x22,     /* [epoch, handle] */
	LINE_DRAIN = 0x23,      /* [] */
	LINE_STOP = 0x24,       /* [] */
	LINE_PING = 0x25,       /* [number] */

	LINE_READY = 0x30,      /* [] */
	LINE_ACK = 0x31,        /* [id, path, bytes, xxh64 or nil, handle, alignment_us] */
	LINE_COMMITTED = 0x32,  /* [epoch] */
	LINE_FINISHED = 0x33,   /* [rows sent] */
	LINE_FAILED = 0x34,     /* [status, message] */
	LINE_PONG = 0x35,       /* [number, rows in, rows out, late, bad, watermark_us, blocked_us,
	                         *  idle_us, bytes out] */
	LINE_DECLINED = 0x37,   /* [id, why] */
	/* {"line": version, "type": text, "inputs": n, ...}: a map; what isn't there has its default
	 * (description.h, zero), unknown keys are passed over. */
	LINE_DESCRIPTION = 0x36,
};

enum {
	LINE_INPUTS_MAX = 256,
	LINE_OUTPUTS_MAX = 1 + DESCRIPTION_BRANCHES_MAX,
	LINE_KEYS_MAX = 32,
	LINE_FILES_MAX = 128,
	LINE_DROPS_MAX = 32,
	LINE_MESSAGE_MAX = 1 << 20,
};

struct line_input {
	unsigned input;    /* logical input of the operator */
	int fd;
	const char *name;  /* in messages: "the stage in front, subtask 2" */
};

struct line_output {
	int fds[LINE_INPUTS_MAX];  /* one per subtask behind */
	size_t fds_len;
	const char *keys[LINE_KEYS_MAX];
	size_t keys_len;
};

struct line_handle {
	uint64_t epoch;
	const uint8_t *bytes;
	size_t len;
};

/* PLAN: [name, subtask, subtasks, [[input, fd, name], ...], [[[fd, ...], [key, ...]], ...],
 *        [restore path, ...], snapshot directory, [[epoch, handle], ...], lock fd or -1, job,
 *        attempt, finished, [part of the state that may be let go, ...], check] */
struct line_plan {
	const char *name;
	uint32_t subtask, subtasks;
	const char *job;       /* the state directory's uuid: 32 hex digits */
	uint64_t attempt;      /* how often the job has been started; never the same twice */
	bool finished;         /* it had ENDed in what is restored: say so again and do nothing else */
	const char *drops[LINE_DROPS_MAX];
	size_t drops_len;
	bool check;            /* restore, say READY or FAILED, and wait for STOP */
	struct line_input inputs[LINE_INPUTS_MAX];
	size_t inputs_len;
	struct line_output outputs[LINE_OUTPUTS_MAX]; /* no fds: the output's rows vanish */
	size_t outputs_len;
	const char *restore[LINE_FILES_MAX];          /* snapshot files of all former subtasks */
	size_t restore_len;
	const char *snapshots;                        /* files are <snapshots>/<id>/<name>.<subtask>.frames */
	struct line_handle commits[LINE_FILES_MAX];   /* prepared by an earlier attempt: commit first */
	size_t commits_len;
	int lock_fd;                                  /* kept open by snapshot children; -1: none */
};

struct line_description {
	uint64_t version; /* of the line, as it was read; 0: it said none */
	const char *type;
	unsigned inputs, outputs;
	bool bounded; /* sources */
	struct stage_description about;
};

/* One message of either side; which members count depends on the kind. */
struct line_message {
	enum line_kind kind;
	struct barrier checkpoint;  /* CHECKPOINT */
	uint64_t number;            /* COMMIT, COMMITTED: epoch; ACK: checkpoint; FINISHED: rows; PING */
	const char *text;           /* ACK: path; FAILED, DECLINED: why */
	uint64_t bytes, hash;       /* ACK: of the file */
	bool hash_unknown;          /* ACK: the stage leaves it to the supervisor to compute it */
	uint64_t alignment_us;      /* ACK: from the first barrier to the last */
	const uint8_t *handle;      /* COMMIT, ACK */
	size_t handle_len;
	int status;                 /* FAILED */
	struct line_description description;
	struct stage_metrics metrics; /* PONG */
};

struct line;

struct line *line_new(int fd); /* takes the descriptor over */
void line_free(struct line *l);
int line_fd(const struct line *l);

/* Sends; blocks while the other side doesn't read.  A closed line is ERROR_IO. */
int line_send(struct line *l, const struct line_message *m, struct error *e);
int line_send_plan(struct line *l, const struct line_plan *p, struct error *e);

enum line_status {
	LINE_ERROR = -1,
	LINE_MESSAGE = 0,
	LINE_AGAIN = 1,  /* no whole message here */
	LINE_CLOSED = 2, /* the other side has gone */
};

/* The next message; its texts and handle live until the next call.  PLAN comes by line_read_plan,
 * which blocks; texts live as long as the line.  line_read_plan: 0; 1 if the line closes instead. */
enum line_status line_read(struct line *l, bool may_block, struct line_message *out,
	struct error *e);
int line_read_plan(struct line *l, struct line_plan *out, struct error *e);

#endif
