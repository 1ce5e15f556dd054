/* One table of options: it parses, reads defaults from the environment, prints --help, and feeds the
 * completions and the option part of the manuals, so that they can't drift.
 *
 * GNU style (getopt_long): short and long, "--" ends options, arguments may stand between.  Any
 * option's default can be set as RUNNEL_<PROGRAM>_<OPTION>, --help and --version excepted.  Nothing here
 * prints or exits. */
#ifndef RUNNEL_BASE_OPTIONS_H
#define RUNNEL_BASE_OPTIONS_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

#include <stdbool.h>

enum option_kind {
	OPTION_FLAG,      /* bool */
	OPTION_TEXT,      /* const char * */
	OPTION_LIST,      /* struct option_list: repeatable */
	OPTION_INT,       /* int64_t, >= 0 */
	OPTION_SIZE,      /* int64_t bytes: 256M */
	OPTION_DURATION,  /* int64_t microseconds: 10s */
	OPTION_CHOICE,    /* int: index into choices */
};

struct option_list {
	const char **items;
	size_t len, cap;
};

struct option_spec {
	const char *name;      /* long, without dashes */
	char letter;           /* 0: none */
	enum option_kind kind;
	const char *argument;  /* "COLUMNS", NULL for a flag; PATH, DIR, FILE complete as paths */
	const char *help;      /* one line */
	void *value;           /* where it goes, by kind; what stands there is the default */
	const char *const *choices; /* OPTION_CHOICE: NULL-terminated */
	bool *given;           /* set if it was given (or came from the environment); may be NULL */
	bool hidden;           /* not in --help, completions, manuals, environment */
};

struct program_info {
	const char *name;        /* "smap" */
	const char *summary;     /* "choose, compute, filter" */
	const char *usage;       /* "[options] ['expr [as name], ...']" */
	const char *examples;    /* lines at the end of --help */
};

struct options_result {
	bool help, version;
	const char *complete;    /* --complete SHELL: print the completion and exit; NULL */
	char **arguments;        /* what is left, in order */
	int arguments_len;
};

/* Parses argv by the tables (NULL-terminated by name) in order; values borrow argv and the
 * environment.  ERROR_USAGE with a suggestion.  "-d ," gets a hint at --delimiter. */
int options_parse(const struct program_info *p, const struct option_spec *const *tables,
	size_t tables_len, int argc, char **argv, struct options_result *out, struct error *e);

void options_put_help(const struct program_info *p, const struct option_spec *const *tables,
	size_t tables_len, struct buf *out);
/* shell: "bash", "zsh" or "fish".  "mdoc" gives the option list of the manual.  -1: unknown shell. */
int options_put_completion(const struct program_info *p, const struct option_spec *const *tables,
	size_t tables_len, const char *shell, struct buf *out);

#endif
