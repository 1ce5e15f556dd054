/* A co-process: a command of the user's that is asked by its standard input and answers by its
 * standard output, one answer a question, in their order.
 *
 *   coprocess_ask -> | questions in flight | -> command -> | answers | -> coprocess_answer
 *                      (bounded: has_room)                  (read whenever they come)
 *
 * Questions are written and answers read by one poll loop, so that neither side can block the other,
 * however much the command buffers.  Knows how answers are told apart (lines, or msgpack objects), not
 * what they mean.
 *
 * The command runs by "sh -c" in a process group of its own under a guard, a process that puts the
 * stage's name in front of each line of its standard error and kills the whole group when the stage
 * dies, in whatever way.  It inherits no descriptor but those three, and finds RUNNEL_STAGE and
 * RUNNEL_SUBTASK in its environment.  It is started by the first question.
 *
 * Every failure is ERROR_IO: a supervisor starts the stage again and replays. */
#ifndef RUNNEL_CMD_COMMON_COPROCESS_H
#define RUNNEL_CMD_COMMON_COPROCESS_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum coprocess_format {
	COPROCESS_NDJSON,  /* a question and an answer are a line each, the newline included */
	COPROCESS_MSGPACK, /* ... one object each */
};

enum {
	/* More than what a command's own output buffer holds of the shortest answers (Python: 128 KiB of
	 * "null"), so that one that doesn't flush isn't waited for in vain before it is full. */
	COPROCESS_QUESTIONS_MAX = 64 << 10,
	COPROCESS_BYTES_MAX = 8 << 20, /* of questions without an answer; one may always be asked */
	COPROCESS_ANSWER_MAX = 64 << 20,
};

#define COPROCESS_TIMEOUT_US INT64_C(60000000)

struct coprocess_options {
	const char *command;
	enum coprocess_format format;
	int64_t timeout_us;         /* without an answer; 0: for ever */
	const char *what;           /* what a question is, in messages: "row" */
	const char *name;           /* RUNNEL_STAGE, and the prefix of standard error's lines */
	uint32_t subtask;
	/* Called while waiting, a few times a second; NULL: nobody wants to know. */
	int (*alive)(void *context, struct error *e);
	void *context;
};

struct coprocess;

/* Nothing is started yet.  Copies the texts. */
struct coprocess *coprocess_new(const struct coprocess_options *o);

/* Kills whatever still runs. */
void coprocess_free(struct coprocess *c);

/* Whether another question may be asked now. */
bool coprocess_has_room(const struct coprocess *c);
uint64_t coprocess_asked(const struct coprocess *c);    /* questions so far */
uint64_t coprocess_answered(const struct coprocess *c); /* of them: answers taken */

/* Adds a question, whole (with its newline).  The tag comes back with its answer. */
int coprocess_ask(struct coprocess *c, const void *question, size_t len, uint8_t tag,
	struct error *e);

/* Moves what can be moved without waiting; with may_block waits until an answer is there to be taken
 * (or the time is up: an error). */
int coprocess_pump(struct coprocess *c, bool may_block, struct error *e);

struct coprocess_answer {
	const uint8_t *bytes; /* without a newline; lives until the next pump */
	size_t len;
	uint8_t tag;
};

/* The next answer that has come whole.  0; 1: none is there; -1. */
int coprocess_answer(struct coprocess *c, struct coprocess_answer *out, struct error *e);

/* What is wrong with the answer last taken: the error shows both it and the question. */
int coprocess_refuse(struct coprocess *c, struct error *e, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Nothing more is asked: standard input is closed, which makes a command that buffers hand out the
 * rest.  Pump and take answers, then end. */
void coprocess_close_input(struct coprocess *c);

/* All answers are taken: waits for the command, which must have no more to say and exit with 0. */
int coprocess_end(struct coprocess *c, struct error *e);

/* For the stage's wait: -1 where there is nothing to wait for.  left_us: until the time is up, -1 for
 * ever. */
void coprocess_waits(const struct coprocess *c, int *readable_fd, int *writable_fd,
	int64_t *left_us);

#endif
