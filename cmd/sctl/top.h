/* `sctl top`: the job's table on the terminal's other screen, again every second, until q. */
#ifndef RUNNEL_CMD_SCTL_TOP_H
#define RUNNEL_CMD_SCTL_TOP_H

#include "libcore/base/error.h"

#include <stdbool.h>

/* Standard input and output are a terminal.  0 also if the job ends meanwhile: its last table stays
 * on the screen. */
int top_run(const char *directory, bool color, bool subtasks, struct error *e);

#endif
