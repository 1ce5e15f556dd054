/* An invariant that only a bug can break.  Never compiled out and without side effects: what the
 * world does wrong is a returned error (base/error.h), never a MUST. */
#ifndef RUNNEL_BASE_MUST_H
#define RUNNEL_BASE_MUST_H

#include <stdnoreturn.h>

#define MUST(condition) \
	((condition) ? (void)0 : must_abort(#condition, __FILE__, __LINE__, __func__))

noreturn void must_abort(const char *condition, const char *file, int line, const char *function);

#endif
