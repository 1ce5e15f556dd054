/* Where a stage's frames come from, and neighbours: stages in the same process.
 *
 * A feed is one channel into a stage: a descriptor, or a source that runs in this process (a file
 * that a join opens by itself).  A neighbour is a stage whose frames pass through memory instead of
 * a pipe: that source, or the sink that shows rows on a terminal. */
#ifndef RUNNEL_STAGE_FEED_H
#define RUNNEL_STAGE_FEED_H

#include "libcore/stage/stage.h"

struct neighbour {
	struct stage *st;
	struct buf frames;              /* between the two */
	size_t at;                      /* taken from frames so far */
	struct channel_writer *writer;  /* into frames */
	bool ended;
};

struct feed {
	unsigned input;
	struct channel_reader *reader;  /* NULL: a neighbour */
	int fd;
	bool owns_fd;
	bool over;                      /* EOF has been handed out */
	struct neighbour neighbour;
	char *name;
};

void feed_open_fd(struct feed *f, unsigned input, int fd, bool owns_fd, const char *name);
void feed_open_neighbour(struct feed *f, unsigned input, struct operator *source,
	const char *name);
void feed_close(struct feed *f);

/* As channel_read.  A neighbour is made to produce and never blocks. */
enum channel_status feed_read(struct feed *f, bool may_block, struct frame *out, struct error *e);
int feed_fd(const struct feed *f);
const char *feed_name(const struct feed *f);
bool feed_is_over(const struct feed *f);

/* Puts stream, frame and byte in front of an error about the last frame, unless the error is about
 * something else (an expression, an operator's row, the first cause). */
int feed_context(const struct feed *f, const struct stage *st, struct error *e);
bool feed_looks_like_frames(const uint8_t *bytes, size_t len);

/* A sink behind: what is written to n->writer is given to it by neighbour_take. */
void neighbour_open_sink(struct neighbour *n, struct operator *sink, const char *name);
int neighbour_take(struct neighbour *n, struct error *e);
int neighbour_idle(struct neighbour *n, struct error *e);
void neighbour_abort(struct neighbour *n, const struct error *cause);
void neighbour_close(struct neighbour *n);

#endif
