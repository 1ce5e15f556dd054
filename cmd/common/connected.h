/* The twin of a program: the same program, linked with what it takes to reach brokers and databases,
 * in libexec/runnel beside bin.  Most runs need none of it, and start in milliseconds for that.
 *
 * What only the twin has is declared weak where the program calls it, so that it is NULL elsewhere:
 *
 *   int source_new_kafka(...) __attribute__((weak));
 *
 * and the program's wants_twin (program.h) says for which arguments it is needed. */
#ifndef RUNNEL_CMD_COMMON_CONNECTED_H
#define RUNNEL_CMD_COMMON_CONNECTED_H

#include "libcore/base/error.h"

/* Becomes the program of this name in libexec/runnel.  Returns only if it can't: -1. */
int connected_exec(const char *name, char *const *argv, struct error *e);

/* Arguments to read in place of those that a program was started with, in which passwords are then
 * starred out: who lists processes sees those.  They live as long as the program. */
char **connected_arguments(int argc, char **argv);

/* The path of a file in libexec/runnel, of mem_alloc; NULL with the error set. */
char *connected_path(const char *name, struct error *e);

#endif
