/* Hidden files that earlier starts of a job prepared and that no checkpoint took up.
 *
 * Their names begin "<prefix><attempt>-<subtask>": prefix holds the job, so that others' files are
 * never touched.  Those of former subtask t belong to the present subtask t % subtasks, which is
 * also who gets t's prepared handles to commit: whoever removes has committed all there is before. */
#ifndef RUNNEL_CMD_COMMON_LEFTOVERS_H
#define RUNNEL_CMD_COMMON_LEFTOVERS_H

#include "libcore/base/error.h"

#include <stdint.h>

struct leftovers {
	const char *directory, *prefix;
	uint64_t attempt; /* only of lower ones */
	uint32_t subtask, subtasks;
};

/* What can't be removed stays: it is hidden. */
void leftovers_remove(const struct leftovers *l);

/* Which former subtasks left them: take is called for every file, and -1 ends it. */
struct leftovers_take {
	int (*subtask)(void *context, uint64_t subtask, struct error *e);
	void *context;
};
int leftovers_read(const struct leftovers *l, const struct leftovers_take *take, struct error *e);

#endif
