/* --progress: one line on standard error that is written over, a few times a second. */
#ifndef RUNNEL_CMD_SSOURCE_PROGRESS_H
#define RUNNEL_CMD_SSOURCE_PROGRESS_H

#include "cmd/ssource/source.h"

struct progress {
	bool on;
	int64_t from_us, shown_us; /* shown_us 0: not yet */
	int64_t first_us;          /* when the first line may come */
	uint64_t rows_shown;
};

void progress_init(struct progress *p, const struct source_options *o);

/* Called once a batch; last: ends the line if there is one. */
void progress_show(struct progress *p, uint64_t rows, uint64_t bytes, bool last);

#endif
