/* Stages whose state goes by key (-k): each key's is with one subtask. */
#ifndef RUNNEL_CMD_COMMON_KEYED_H
#define RUNNEL_CMD_COMMON_KEYED_H

#include "libcore/base/arena.h"
#include "libcore/base/error.h"
#include "libcore/stage/description.h"

/* Describes the stage as spread by the keys that the list names, whose texts come into the arena.
 * Without a list, with * in it, or with too many keys it stays as it is: one subtask sees all. */
int keyed_describe(const char *keys, const char *what, struct arena *a,
	struct stage_description *about, struct error *e);

#endif
