/* Time zones of the IANA database, read from its compiled files (TZif, RFC 8536), with the rule at a
 * file's end for the years behind its last transition.
 *
 * Offsets are seconds east of Greenwich.  Local times are microseconds as if the clock on the wall
 * showed UTC.  It reads neither TZ nor TZDIR and has no state of its own. */
#ifndef RUNNEL_BASE_ZONE_H
#define RUNNEL_BASE_ZONE_H

#include "libcore/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct zone;

/* "Europe/Berlin", "UTC", or a fixed offset "+02:00", "-0330", "+2".  An unknown name is ERROR_USAGE
 * with a hint. */
int zone_open(const char *name, size_t len, struct zone **out, struct error *e);
void zone_free(struct zone *z);

/* Parses the bytes of a file (fuzzed).  What isn't one, or refers behind its end, is ERROR_DATA. */
int zone_parse(const void *bytes, size_t len, struct zone **out, struct error *e);

/* The offset at a time, which holds in all of [*from_s, *until_s). */
int32_t zone_offset(const struct zone *z, int64_t utc_s, int64_t *from_s, int64_t *until_s);

/* What the clock on the wall shows, and back.  A local time that comes twice (clocks go back) is the
 * first of both; one that never comes (they go forward) is as if they had not gone yet.  Out of
 * int64 saturates. */
int64_t zone_to_local(const struct zone *z, int64_t utc_us);
int64_t zone_to_utc(const struct zone *z, int64_t local_us);

#endif
