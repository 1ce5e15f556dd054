/* The plan of a job: its stages with their subtasks, and how rows go between them.
 *
 * Drawn from the pipeline's tree and from what each stage says of itself (line.h, DESCRIPTION):
 * nothing in here knows what a stage does.  A foreign stage has one channel for each input and output,
 * whatever the parallelism: where rows have to be dealt out or brought together around it, an smap of the
 * plan's own does it, for that takes alignment, and keys, which are expressions.  Beside the stages of the text there are a source for each
 * file that a stage would open itself (sjoin airports.csv), a sink for each side output (--late
 * late.frames), and the stages of pipelines in arguments (stee), so that they, too, are in
 * checkpoints.  A plan is a tree: every stage has one reader per output. */
#ifndef RUNNEL_CMD_RUNNEL_PLAN_H
#define RUNNEL_CMD_RUNNEL_PLAN_H

#include "cmd/common/pipeline.h"
#include "libcore/base/buf.h"
#include "libcore/stage/line.h"

enum { PLAN_STAGES_MAX = PIPELINE_STAGES_MAX, PLAN_SUBTASKS_MAX = 128 };

struct plan_input {
	int stage;       /* in front; -1: none */
	unsigned output; /* of it */
};

/* What a stage was read from: the file, or a pipeline in an argument. */
struct plan_text {
	const struct pipeline_source *source;
	const struct pipeline *file; /* its variables are all that its stages get */
};

struct plan_stage {
	const char *name;      /* --name, else the program and, from the second on, its number */
	const char *program;   /* path of the executable */
	const char *const *argv;
	size_t argv_len;       /* argv[argv_len] is NULL */
	const struct plan_text *in;
	struct pipeline_place place;
	bool foreign;          /* not one of Runnel's programs */
	bool ends_branch;      /* the last of a pipeline in an argument */
	const struct pipeline_stage *text; /* NULL: added by the plan */
	struct line_description d;
	bool described;
	bool bounded;          /* all that it reads ends */
	uint32_t subtasks;
	struct plan_input inputs[DESCRIPTION_INPUTS_MAX];
};

struct plan {
	struct plan_stage *stages;
	size_t stages_len, stages_cap;
	struct arena *arena;   /* borrowed: everything lives in it */
	bool bounded;
	bool standard_output;  /* some sink writes to it */
};

/* What a plan needs to know of the outside. */
struct plan_programs {
	/* The executable of a stage's program.  0; 1: that is no stage's name; 2: a program of somebody
	 * else's that has to say itself that it is a stage. */
	int (*find)(void *context, const char *word, struct arena *a, const char **path);
	/* Asks the stages [first, stages_len) what they are, into d; the texts into the arena.  An error
	 * says which (*failed). */
	int (*describe)(void *context, struct plan *p, size_t first, size_t *failed,
		struct error *e);
	void *context;
};

int plan_draw(const struct pipeline *text, const struct pipeline_source *source,
	const struct plan_programs *programs, uint32_t parallelism, struct arena *a,
	struct plan *out, struct error *e);
void plan_clear(struct plan *p);

/* How rows go into an input. */
enum plan_exchange {
	PLAN_FORWARD,     /* subtask i to subtask i */
	PLAN_BY_KEY,      /* to the subtask that owns the key group */
	PLAN_MERGE,       /* to the only subtask */
	PLAN_ROUND_ROBIN, /* batches in turn */
};
enum plan_exchange plan_exchange(const struct plan *p, size_t stage, unsigned input);

bool plan_is_source(const struct plan_stage *s);
bool plan_is_sink(const struct plan_stage *s);
/* What state it has, for a person; NULL: none that would be missed. */
const char *plan_keeps(const struct plan_stage *s);
int plan_find(const struct plan *p, const char *name); /* -1: none */

/* For --plan. */
void plan_put_text(const struct plan *p, struct buf *out);

#endif
