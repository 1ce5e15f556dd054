/* What a program shows on a terminal instead of frames: ssink's table. */
#ifndef RUNNEL_CMD_COMMON_TERMINAL_H
#define RUNNEL_CMD_COMMON_TERMINAL_H

#include "libcore/stage/operator.h"

int terminal_sink(struct operator **out, struct error *e);

#endif
