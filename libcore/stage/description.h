/* What a stage says of itself before it runs: all that a supervisor has to know to draw a plan.  A
 * program fills it when it makes its operator, from its options alone; no input is read for it. */
#ifndef RUNNEL_STAGE_DESCRIPTION_H
#define RUNNEL_STAGE_DESCRIPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	/* Streams that one stage reads (smerge): more is a tree of them, and the bits of an int. */
	DESCRIPTION_INPUTS_MAX = 32,
	DESCRIPTION_SIDES_MAX = 4,
	DESCRIPTION_BRANCHES_MAX = 16, /* pipelines behind one stage (stee) */
	DESCRIPTION_KEYS_MAX = 32,
};

/* How a stage may be spread over subtasks. */
enum stage_spread {
	STAGE_SINGLE = 0, /* one subtask sees every row */
	STAGE_ANY = 1,    /* a row may go to any subtask; a source: its input can be divided */
	STAGE_KEYED = 2,  /* rows of a key go to the subtask that owns its key group */
};

/* A side output: rows that go to a path of their own, through a sink that the supervisor adds. */
struct stage_side {
	const char *path;   /* NULL: its rows vanish */
	const char *format; /* of that sink; "frames" unless said */
};

struct stage_description {
	const char *name; /* --name; NULL: not given */
	enum stage_spread spread;
	/* KEYED: the key of every input, as expressions over its columns, in the order of the state's
	 * key. */
	const char *keys[DESCRIPTION_INPUTS_MAX][DESCRIPTION_KEYS_MAX];
	size_t keys_len[DESCRIPTION_INPUTS_MAX];
	const char *inputs[DESCRIPTION_INPUTS_MAX]; /* paths of inputs 1..; NULL: the pipe */
	/* Input 0 is the pipe if there is one; without it the others are all.  Else it must be there. */
	bool pipe_optional;
	struct stage_side sides[DESCRIPTION_SIDES_MAX]; /* of outputs 1.. */
	/* Pipelines in the language of pipeline files that read outputs 1.. .  A stage has sides or
	 * branches. */
	const char *branches[DESCRIPTION_BRANCHES_MAX];
	size_t branches_len;
	const char *keeps;     /* its state, for a person: "count, sum per auction and window"; NULL */
	const char *guarantee; /* sources and sinks: "file a.csv: goes back to a byte"; NULL */
	const char *writes;    /* sinks: where no other sink of the job may write; NULL */
	/* Sinks: the longest time between checkpoints that an epoch of theirs may last; 0: any. */
	int64_t epoch_max_us;
	bool cannot_replay;    /* sources: can't go back to a position (a pipe) */
	bool standard_output;  /* sinks: that is where the rows go */
	bool whole_file;       /* sinks: the output appears at the end, so the input must have one */
};

#endif
