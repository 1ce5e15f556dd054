/* A whole plan in one process: real operators behind the runtime's core, edges in memory, a scheduler
 * that draws every step from a seed, checkpoints, and crashes.
 *
 *   node --- edge (frames in a queue, one per pair of subtasks) ---> node
 *
 * One step is one frame delivered, one produce, one flush, a checkpoint begun, or a crash: then all
 * stages are thrown away, made anew and restored from the last checkpoint that every stage had
 * acknowledged, perhaps at another parallelism, as a supervisor would; sometimes twice in a row, from a
 * checkpoint in front of the first rows.  What the sink committed is
 * kept outside of the stages, as files would be. */
#ifndef RUNNEL_TESTS_SIMULATION_H
#define RUNNEL_TESTS_SIMULATION_H

#include "libcore/stage/stage.h"

enum { SIM_NODES_MAX = 8, SIM_SUBTASKS_MAX = 3, SIM_INPUTS_MAX = 2, SIM_OUTPUTS_MAX = 2 };

struct sim_node {
	const char *name;
	/* Makes the operator of a subtask; context as below. */
	struct operator *(*make)(void *context);
	void *context;
	int inputs[SIM_INPUTS_MAX];  /* nodes in front, by logical input; -1: none */
	unsigned outputs[SIM_INPUTS_MAX]; /* which output of it */
	const char *keys[2];         /* of the exchange behind this node, NULL-terminated */
	uint32_t subtasks;
};

struct sim_plan {
	const struct sim_node *nodes;
	size_t nodes_len;
	uint64_t seed;
	unsigned crashes;            /* at most so many */
	unsigned checkpoints;        /* likewise */
	bool rescale;                /* subtasks of keyed nodes change at a crash */
};

/* What came out: the texts of the committed rows, sorted; of a changelog those that were not taken back,
 * each behind a "+" (a "-": taken back and never there). */
struct sim_result {
	char **rows;
	size_t rows_len, rows_cap;
	unsigned crashes, checkpoints, restores;
};

/* 0, or -1 with what a stage said. */
int sim_run(const struct sim_plan *plan, struct sim_result *out, struct error *e);
void sim_result_clear(struct sim_result *r);

/* The sink: collects rows, prepares and commits them. */
struct operator *sim_sink(void *context);

/* A source of rows (id int, k int, v int, at timestamp), out of order within a second, with a
 * watermark every few rows; what it emits depends on its seed alone. */
struct sim_source {
	uint64_t seed;
	int64_t rows;
	bool bounded_watermark; /* only the final one */
	bool unbounded;         /* says that it never ends (it does) */
	bool ticks;             /* tells the time, a quarter of a second a row */
	bool changelog;         /* rows are changed, or deleted, a while after they came */
};
struct operator *sim_source(void *context); /* context: struct sim_source */

#endif
