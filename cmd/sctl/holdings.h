/* `sctl state`: what a savepoint's archive or a checkpoint's directory holds. */
#ifndef RUNNEL_CMD_SCTL_HOLDINGS_H
#define RUNNEL_CMD_SCTL_HOLDINGS_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>

/* Appends lines for a person, or one JSON object.  ERROR_STATE if it is neither. */
int holdings_put(const char *path, bool json, struct buf *out, struct error *e);

#endif
