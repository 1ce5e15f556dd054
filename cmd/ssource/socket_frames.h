/* What the source of frames from sockets is inside: private to cmd/ssource/socket_*.c.
 *
 *   socket_frames.c   the operator: frames to rows, time, snapshots
 *   socket_links.c    ports and connections
 *   socket_epochs.c   with --spool: what a connection sends goes to disk, and its job is told so
 *
 * Without a spool a connection's frames become rows as they come.  With one they become files
 * (connect/epochs.h), and rows when those are read, one after another: a position is the number of a
 * file and the rows taken of it. */
#ifndef RUNNEL_CMD_SSOURCE_SOCKET_FRAMES_H
#define RUNNEL_CMD_SSOURCE_SOCKET_FRAMES_H

#include "cmd/ssource/clockwork.h"

#include "connect/epochs.h"
#include "connect/net.h"
#include "libcore/base/arena.h"
#include "libcore/frame/channel.h"

/* Who sends, and how far its event time is: a connection, or with a spool a subtask of a stage of a
 * job, or a connection of nobody's job. */
struct frame_sender {
	struct epoch_note who;
	int64_t watermark_us;
	int64_t active_us; /* monotonic: when it last brought something */
	bool is_over;
};

/* A frame stream: a connection, or the file that is read. */
struct frame_link {
	int fd;
	char *peer;
	uint32_t input;
	struct channel_reader *reader;
	struct schema_set schemas;
	const struct schema *current; /* of the last batch; checked */
	struct frame_sender *sender;
	uint64_t rows;
	uint64_t skip;                /* rows of it that were taken before a restore */
	bool ready, has_ended, is_over;

	/* Spooled: */
	bool is_job;                  /* it speaks of epochs */
	bool has_told, is_paused;     /* it has been answered; it isn't read while there is no room */
	struct epoch_note who;        /* whose the last epoch is */
	struct epoch_receipt *receipt;
	uint64_t receipt_rows;
	int64_t receipt_us;           /* since when it is open */
	bool receipt_is_final;        /* it has the final watermark */
	bool is_final;                /* one that has it is kept */
};

struct frame_port {
	struct net_listener *listener; /* NULL: it connects */
	bool ready, is_done, is_connected;
	int64_t due_us, pause_us;      /* connect again then */
};

struct socket_frames {
	struct operator base;
	const struct source_options *o;
	struct clockwork clockwork;
	struct net_options net;
	struct frame_port *ports;
	struct frame_link **links;
	size_t links_len, links_cap;
	struct frame_sender **senders;
	size_t senders_len, senders_cap;
	struct epochs *epochs;   /* NULL: no spool */
	struct frame_link *file; /* that is being read; NULL: none */
	uint64_t number;         /* ... or comes next; 0: the oldest that is there */
	uint64_t restored_rows;  /* of it, taken before the snapshot */
	uint64_t own_number;     /* the first file of this process; 0: those before have been read */
	struct schema schema;
	struct arena arena;
	int epoll;
	int64_t watermark_us, tick_us, now_us;
	bool has_schema, is_open, draining, is_idle, told_many, told_full;
};

/* ---- socket_frames.c ---- */

struct frame_sender *frame_sender_add(struct socket_frames *s);

/* Columns that this source can hand on, as far as it knows by now. */
int frame_schema_check(const struct socket_frames *s, const struct schema *in, struct error *e);

/* The ERROR that came, as an error. */
int frame_take_failure(const struct frame *f, struct error *e);

/* ---- socket_links.c ---- */

int frame_links_open(struct socket_frames *s, struct error *e);
void frame_links_close(struct socket_frames *s);

/* Who has come is let in, who was lost is looked for again, and what is ready is marked so. */
int frame_links_turn(struct socket_frames *s, struct error *e);

/* Until something is due that no descriptor tells; -1: nothing is. */
int64_t frame_links_wait_us(const struct socket_frames *s);

/* Nobody can come any more. */
bool frame_links_are_over(const struct socket_frames *s);

struct frame_link *frame_link_new(int fd, const char *name);
void frame_link_free(struct frame_link *l);

/* A connection's end; why->code: it is let go for that.  It is freed with the next turn. */
void frame_link_end(struct socket_frames *s, struct frame_link *l, struct error *why);

/* Whether it is waited for that it can be read. */
void frame_link_watch(struct socket_frames *s, struct frame_link *l, bool on);

/* ---- socket_epochs.c ---- */

/* A frame of a connection, to the spool.  What is wrong with it is ERROR_DATA, ERROR_UPSTREAM or, of
 * the connection, ERROR_IO. */
int frame_spool(struct socket_frames *s, struct frame_link *l, const struct frame *f, struct error *e);

/* A connection has ended: what was open of it is given up, or of a stream of no job's, kept. */
int frame_spool_end(struct socket_frames *s, struct frame_link *l, struct error *e);

/* Nothing more is here by now: of a stream of no job's, what has come is kept when it is old enough.
 * *wait_us: until it is; -1: nothing waits. */
int frame_spool_rest(struct socket_frames *s, struct frame_link *l, int64_t *wait_us, struct error *e);

/* It is told why it is let go. */
void frame_spool_refuse(struct frame_link *l, const struct error *why);

#endif
