/* --exec of smap and swindow: rows as questions to a co-process (cmd/common/coprocess.h), its answers
 * as rows.
 *
 * Keeps the rows' order, watermarks between them, and the op of each row of a changelog.  An update of
 * which not exactly one row stays on both sides becomes deletes and inserts. */
#ifndef RUNNEL_CMD_COMMON_EXEC_H
#define RUNNEL_CMD_COMMON_EXEC_H

#include "cmd/common/coprocess.h"
#include "libcore/stage/operator.h"

struct exec_options {
	const char *command;       /* NULL: none */
	enum coprocess_format format;
	const char *schema;        /* of the answers; NULL: as the questions' */
	int64_t timeout_us;
	/* All columns of a question but its last are those of its answers, too, in front of the schema's
	 * (which must be given). */
	bool carries;
};

struct exec;

/* Rows of answers go to take, in batches of the schema that exec_schema told. */
typedef int (*exec_take)(void *context, const struct batch *b, struct error *e);

struct exec *exec_new(const struct exec_options *o, exec_take take, void *context);
void exec_free(struct exec *x);

/* Rows of this schema will be asked; those of an earlier one are answered first.  *out: the answers'.
 * From here on op's flags and descriptors are kept up to date. */
int exec_schema(struct exec *x, struct operator *op, const struct schema *asked, struct schema *out,
	struct error *e);

int exec_batch(struct exec *x, const struct batch *b, struct error *e);

/* To be emitted once what was asked before it is answered; false: nothing is, it may go on. */
bool exec_holds_watermark(struct exec *x, int64_t event_us);

/* Takes what has come; sets what the operator has to wait for. */
int exec_idle(struct exec *x, struct error *e);

/* Waits for every answer. */
int exec_settle(struct exec *x, struct error *e);

/* Nothing more will be asked: every answer, and the command's own end. */
int exec_end(struct exec *x, struct error *e);

#endif
