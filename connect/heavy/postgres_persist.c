#include "connect/heavy/postgres_persist.h"

#include "libcore/base/clock.h"

#include <poll.h>

enum {
	PAUSE_LEAST_US = 100000,
	PAUSE_MOST_US = 5000000,
};

static int pause_for(const struct postgres_wait *w, int64_t us, struct error *e)
{
	int64_t until_us = clock_mono_us() + us;

	while (clock_mono_us() < until_us) {
		poll(NULL, 0, POSTGRES_SLICE_MS);
		if (w->alive && w->alive(w->context, e) < 0)
			return -1;
	}
	return 0;
}

int postgres_persist(const struct postgres_persist *p, struct error *e)
{
	int64_t pause_us = PAUSE_LEAST_US;

	for (;;) {
		int status = p->step(p->context, e);

		if (status == 0 || e->code != ERROR_IO)
			return status;
		if (p->warn)
			p->warn(p->context, e->text);
		error_clear(e);
		if (pause_for(&p->wait, pause_us, e) < 0)
			return -1;
		pause_us = pause_us * 2 < PAUSE_MOST_US ? pause_us * 2 : PAUSE_MOST_US;
	}
}
