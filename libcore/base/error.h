/* What went wrong in the world, in words a user can act on.
 *
 * Functions that can fail return 0 for good and a negative value for an error (readers and
 * iterators also 1 for the end), and fill the struct error that their caller owns.  Each caller on
 * the way out may put its context in front: "orders.csv:41:7: unterminated quote".
 * The code is the exit status the program ends with if nobody recovers.
 *
 * What a text quotes may come from anybody: bytes that a terminal would obey (controls but for tab and
 * newline), or that aren't UTF-8, are '?' in it.
 *
 * Text is one sentence without a full stop; what helps further (the source line, a caret, a
 * suggestion) follows after a newline.  It is cut at the size of the array, never overrun. */
#ifndef RUNNEL_BASE_ERROR_H
#define RUNNEL_BASE_ERROR_H

enum error_code {
	ERROR_NONE = 0,
	ERROR_DATA = 1,     /* bad data: starting again would not help */
	ERROR_USAGE = 2,    /* options, expressions, unknown columns, schemas that don't fit */
	ERROR_UPSTREAM = 3, /* the stage in front failed */
	ERROR_STATE = 4,    /* a snapshot or savepoint that doesn't fit, or is damaged */
	ERROR_IO = 5,       /* the outside failed: I/O, a full disk, a lost connection */
	ERROR_INTERRUPTED = 130, /* a signal ended it before its input was complete */
	ERROR_CLOSED = 141, /* the reader of standard output has gone: ended without a word */
};

enum { ERROR_TEXT_MAX = 2048 };

struct error {
	enum error_code code;
	char text[ERROR_TEXT_MAX];
};

#define ERROR_INIT {.code = ERROR_NONE}

/* Sets code and text.  Returns -1, so that "return error_set(...)" reads well. */
int error_set(struct error *e, enum error_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set with ERROR_IO, followed by ": " and the text of errno as it was on entry. */
int error_errno(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "<context>: " in front of the text; keeps the code.  Returns -1. */
int error_context(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends to the text (a caret line, a suggestion), starting a new line.  Returns -1. */
int error_hint(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

void error_clear(struct error *e);

/* The same for another text that is shown. */
void error_tidy(char *text);

#endif
