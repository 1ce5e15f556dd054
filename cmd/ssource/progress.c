#include "cmd/ssource/progress.h"

#include "libcore/base/clock.h"

#include <inttypes.h>
#include <stdio.h>

enum { EVERY_US = 250000, LATE_US = 1000000 };

void progress_init(struct progress *p, const struct source_options *o)
{
	*p = (struct progress){.on = o->progress || o->progress_late};
	if (!p->on)
		return;
	p->from_us = clock_mono_us();
	p->first_us = o->progress ? 0 : p->from_us + LATE_US;
}

void progress_show(struct progress *p, uint64_t rows, uint64_t bytes, bool last)
{
	int64_t now;
	double seconds;

	if (!p->on)
		return;
	now = clock_mono_us();
	if (now < p->first_us || (!last && p->shown_us && now - p->shown_us < EVERY_US))
		return;
	if (last && !p->shown_us && p->first_us)
		return;
	p->shown_us = now;
	seconds = (double)(now - p->from_us + 1) / 1e6;
	fprintf(stderr, "\rssource: %" PRIu64 " rows, %.1f MB, %.1f s, %.0f rows/s, %.1f MB/s%s",
		rows, (double)bytes / 1e6, seconds, (double)rows / seconds,
		(double)bytes / 1e6 / seconds, last ? "\n" : "");
}
