/* The sinks besides files.  Those that only the twin has (cmd/common/connected.h): NULL in a program that writes files only.
 * They fill in what is to be said of them before they run. */
#ifndef RUNNEL_CMD_SSINK_SINKS_H
#define RUNNEL_CMD_SSINK_SINKS_H

#include "cmd/common/sink.h"
#include "libcore/stage/description.h"

int sink_new_kafka(const struct sink_options *o, struct stage_description *about,
	struct operator **out, struct error *e) __attribute__((weak));
int sink_new_postgres(const struct sink_options *o, struct stage_description *about,
	struct operator **out, struct error *e) __attribute__((weak));

/* Frames to another job over a socket, an epoch at a time, each once (epochs.c). */
int sink_new_epochs(const struct sink_options *o, struct stage_description *about,
	struct operator **out, struct error *e);

#endif
