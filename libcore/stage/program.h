/* The entry of every stage program: main.c has a table of options and makes an operator; this does
 * everything else.
 *
 *   int main(int argc, char **argv) { return stage_main(argc, argv, &smap_program); }
 *
 * The only place in libcore that prints, exits, reads the environment and the clock. */
#ifndef RUNNEL_STAGE_PROGRAM_H
#define RUNNEL_STAGE_PROGRAM_H

#include "libcore/base/options.h"
#include "libcore/stage/description.h"
#include "libcore/stage/operator.h"

/* Pipelines behind a stage that runs alone, as processes.  Set by cmd/, which knows their language. */
struct stage_branches {
	/* Starts one: it reads what is written to *fd.  *over gives end of file once all of its
	 * processes have gone. */
	int (*open)(size_t branch, int *fd, int *over, struct error *e);
	/* Waits for its processes, whose input has been closed; an error names it and its status. */
	int (*wait)(size_t branch, struct error *e);
};

/* What a program learns from its command line beyond its own options. */
struct stage_setup {
	char **arguments;          /* what was left after the options */
	int arguments_len;
	bool quiet, verbose;
	int64_t memory_bytes;      /* --memory; 0: no cap */
	const char *temporary;     /* directory for what doesn't fit in memory (spill.h) */
	bool supervised;           /* a line to a supervisor exists */

	/* Filled by create: */
	/* Alone, the runtime opens the paths in it itself: inputs[1..] and sides. */
	struct stage_description about;
	bool text_output;          /* a sink that owns standard output: the runtime leaves it alone */
	/* Alone, the runtime starts about.branches with it and waits for them; NULL: there are none. */
	const struct stage_branches *branches;
	/* sjoin's RIGHT may be a file that isn't frames: opens it as a source in this process.
	 * NULL: only frame streams.  Set by cmd/, which may use formats/. */
	int (*open_input)(const char *path, struct operator **source, struct error *e);
};

struct stage_program {
	struct program_info info;
	const struct option_spec *options;  /* its own; the common ones are added; ends with name NULL */
	size_t memory_default_bytes;

	/* Whether these arguments need the program's twin, which then takes this one's place; asked before
	 * anything is opened.  become runs it, and returns only with an error.  NULL: there is none. */
	bool (*wants_twin)(const struct stage_setup *setup);
	int (*become_twin)(const char *name, char *const *argv, struct error *e);

	/* Makes the operator from the parsed options (which live in variables of main.c). */
	int (*create)(struct stage_setup *setup, struct operator **out, struct error *e);

	/* Shows rows when standard output is a terminal: makes ssink's terminal operator, which is then
	 * run behind this one in the same process.  Set by cmd/; NULL: a hint is printed instead. */
	int (*terminal_sink)(struct operator **out, struct error *e);
};

int stage_main(int argc, char **argv, const struct stage_program *program);

/* What programs that are no stages (runnel, sctl) share with those: reads the options, answers
 * --help, --version and --complete, prints what is wrong with them.  true: *out holds the rest; false:
 * the program ends with *status. */
bool program_options(const struct program_info *info, const struct option_spec *const *tables,
	size_t tables_len, int argc, char **argv, struct options_result *out, int *status);

/* "NAME: error: ..." on standard error; returns the exit status. */
int program_failed(const struct error *e);

#endif
