/* An argument that is a text in the language: as it stands, or from a file with @FILE, where newlines
 * and -- comments are allowed. */
#ifndef RUNNEL_CMD_COMMON_TEXT_ARGUMENT_H
#define RUNNEL_CMD_COMMON_TEXT_ARGUMENT_H

#include "libcore/base/arena.h"
#include "libcore/base/error.h"

struct text_argument {
	const char *text;
	const char *what; /* in messages: the name given, or the file's */
};

/* argument NULL gives text NULL.  Both live in the arena or are borrowed. */
int text_argument_read(const char *argument, const char *what, struct arena *a,
	struct text_argument *out, struct error *e);

#endif
