/* The one place that reads the clock.  What a stage computes never depends on it: only sources (TICK,
 * --rate), metrics and the supervisor's line ask. */
#ifndef RUNNEL_BASE_CLOCK_H
#define RUNNEL_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_us(void); /* since 1970-01-01T00:00:00Z */
int64_t clock_mono_us(void); /* from an unspecified start, never falls */

#endif
