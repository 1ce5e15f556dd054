/* What --version says. */
#ifndef RUNNEL_STAGE_VERSION_H
#define RUNNEL_STAGE_VERSION_H

#define RUNNEL_VERSION "0.1.0"

#endif
