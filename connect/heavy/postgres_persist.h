/* A server that comes and goes: a step is tried again, ever more slowly, until it works.
 *
 * What may go away by itself is an ERROR_IO of the step; every other error ends it, and so does
 * `alive`.  The step makes its own connection anew. */
#ifndef RUNNEL_CONNECT_HEAVY_POSTGRES_PERSIST_H
#define RUNNEL_CONNECT_HEAVY_POSTGRES_PERSIST_H

#include "connect/heavy/postgres.h"

struct postgres_persist {
	int (*step)(void *context, struct error *e);
	void *context;
	/* What went wrong, each time: to be said once.  NULL: nobody is told. */
	void (*warn)(void *context, const char *text);
	struct postgres_wait wait;
};

int postgres_persist(const struct postgres_persist *p, struct error *e);

#endif
