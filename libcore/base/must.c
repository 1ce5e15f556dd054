#include "libcore/base/must.h"

#include <stdio.h>
#include <stdlib.h>

void must_abort(const char *condition, const char *file, int line, const char *function)
{
	fprintf(stderr, "runnel: bug: %s:%d: %s: must be: %s\n", file, line, function, condition);
	abort();
}
