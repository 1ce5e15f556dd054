/* The pipeline file: a subset of shell that means the same to bash, read into a tree of stages.
 *
 *   file       = { blank | comment | statement } pipeline { blank | comment }
 *   statement  = name=word { name=word } | "export" name[=word] | set
 *   set        = "set" with the flags -e -u, -o pipefail in any spelling (-euo pipefail)
 *   pipeline   = stage { "|" stage }, a newline may follow "|" and a backslash continues a line
 *   stage      = word { word | "<(" pipeline ")" | "<" word | ">" word }
 *   word       = bare text, '...', "...", \x, $name, ${name}, ${name:-default}, in any mixture
 *
 * An argument of stee is such a file in turn, in quotes: whoever runs it parses it.
 *
 * Words mean what they mean to bash: an unquoted expansion splits at blanks, a quoted one doesn't,
 * "" is an argument, a variable that isn't set is empty unless `set -u` (then an error).  "<"
 * stands only at the first stage of a pipeline, ">" only at the last of the whole; they become that
 * stage's last argument; a name by which the stage would choose another format than it has under
 * bash, where it doesn't see the name, is refused (ssink > a.csv; ssink a.csv and ssink -f csv >
 * a.csv are not).
 *
 * All else that bash would understand differently (loops, several commands, &&, ;, &, $( ), `...`,
 * globs, also in the value of an unquoted variable, ~, {a,b}, tee, >( ), 2>, >>, here documents, an
 * assignment before a command, arithmetic, arguments of the script, other ${...} forms, variables
 * that bash itself sets, a first "!") is refused with line, column, caret, and what to write
 * instead, never half-understood.  Text is UTF-8 without control characters.
 *
 * Which programs are stages this module doesn't know; it only reads.  It prints nothing, reads no
 * environment (a callback does) and no file: anything a stranger writes may be parsed. */
#ifndef RUNNEL_CMD_COMMON_PIPELINE_H
#define RUNNEL_CMD_COMMON_PIPELINE_H

#include "libcore/base/arena.h"
#include "libcore/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Where something stands in the text; both from 1, columns in bytes. */
struct pipeline_place {
	unsigned line, column;
};

struct pipeline;

/* One argument of a stage: a word, or a pipeline whose output it reads. */
struct pipeline_argument {
	const char *text; /* the word; of a substitution its text, "<(ssource b.csv)" */
	const struct pipeline *source; /* NULL: a word */
	/* '<' or '>': a path that stood behind it, which names a file whatever it looks like (where
	 * it could pass for an option or a URL it starts with ./); else 0. */
	char redirect;
	struct pipeline_place place;
};

struct pipeline_stage {
	struct pipeline_argument *arguments; /* [0] is the program */
	size_t arguments_len;
	struct pipeline_place place;
};

/* What the file changed of the environment that stages get. */
struct pipeline_variable {
	const char *name, *value;
};

/* Stages in the order of the text; rows flow from the first to the last. */
struct pipeline {
	struct pipeline_stage *stages;
	size_t stages_len;
	/* Exported, or in the environment already and assigned anew: as in bash the stages see
	 * them. Of the whole file, so only at the top. */
	const struct pipeline_variable *variables;
	size_t variables_len;
};

enum {
	PIPELINE_BYTES_MAX = 1 << 20,
	PIPELINE_STAGES_MAX = 256,       /* in all, substitutions included */
	PIPELINE_ARGUMENTS_MAX = 4096,   /* of one stage */
	PIPELINE_DEPTH_MAX = 16,         /* of substitutions, and of defaults in defaults */
	PIPELINE_VARIABLES_MAX = 1024,   /* that the file assigns */
	PIPELINE_EXPANDED_MAX = 4 << 20, /* bytes that all expansions come to */
};

struct pipeline_source {
	const char *name; /* in errors: the file's, or "-c" */
	const char *text;
	size_t len;
	bool reads_stage; /* an argument of stee: its first stage has its rows from there */
	/* A variable of the environment, or NULL; NULL: there are none. */
	const char *(*variable)(void *context, const char *name);
	void *context;
};

/* Everything *out holds lives in the arena.  0, or -1 with ERROR_USAGE:
 *
 *   p.sh:3:17: tee can't be used in a pipeline file
 *     ssource a.csv | tee copy | ssink
 *                     ^
 *   stee passes rows on to several pipelines: ... | stee 'ssink all.csv' | ...
 */
int pipeline_parse(const struct pipeline_source *source, struct arena *arena, struct pipeline *out,
	struct error *e);

/* Fills *e (ERROR_USAGE) with an error about a place in the text, in the form above; hint NULL:
 * none.  Of a message of several lines the first is the sentence, the others follow the caret. */
int pipeline_error(const struct pipeline_source *source, struct pipeline_place place,
	const char *hint, struct error *e, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

#endif
