/* Stages as processes on their end of a line: finds their programs, starts them, asks what they
 * are.  It knows no plan, no exchange and no checkpoint. */
#ifndef RUNNEL_CMD_COMMON_PROCESS_H
#define RUNNEL_CMD_COMMON_PROCESS_H

#include "cmd/common/pipeline.h"
#include "libcore/stage/line.h"

#include <sys/types.h>

/* The program of a stage by its name, with the prefix that this program was installed under, beside
 * this program, whose plain name is own; or a path: of one of these, or of anything that can be
 * executed, which then has to say itself that it is a stage (runnel-stage(5)).  0; 1: that is none; 2: it is
 * such a path. */
int process_find(const char *own, const char *word, struct arena *a, const char **path);

struct process_options {
	const char *log;   /* standard error is appended to it; NULL: dropped */
	bool mute;         /* standard output is dropped */
	int errors_fd;     /* standard error goes there instead of to the log; 0: it doesn't */
	const char *spool; /* RUNNEL_SPOOL */
	const int *fds;    /* to be inherited, beside the line */
	size_t fds_len;
	const struct pipeline_variable *variables; /* over this process's environment */
	size_t variables_len;
};

struct process {
	pid_t pid;
	struct line *line;
};

/* Standard input is empty, standard output this process's.  In a process group of its own: a
 * terminal's signals are for the supervisor. */
int process_start(const char *program, const char *const *argv, const struct process_options *o,
	struct process *out, struct error *e);

struct process_question {
	const char *program;
	const char *const *argv;
	const struct pipeline_variable *variables;
	size_t variables_len;
	struct line_description answer; /* its texts in the arena */
};

/* Starts each, hears its DESCRIPTION, lets it go.  An error is that of question *failed: ERROR_USAGE
 * where the program is no stage at all, or one of another version of the line. */
int process_ask(struct process_question *questions, size_t n, struct arena *a, size_t *failed,
	struct error *e);

#endif
