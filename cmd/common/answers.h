/* A co-process's answers as rows: an object is a row, an array of objects several, null none.
 *
 * The columns are named by --exec-schema, or are those of a schema that the caller has; a name that an
 * answer lacks is null.  Without --exec-schema an answer that has another name is refused: its value
 * would be lost without a word. */
#ifndef RUNNEL_CMD_COMMON_ANSWERS_H
#define RUNNEL_CMD_COMMON_ANSWERS_H

#include "cmd/common/coprocess.h"
#include "libcore/table/builder.h"

struct answers;

/* text: of --exec-schema, NULL: none was given.  Both texts borrowed. */
struct answers *answers_new(enum coprocess_format format, const char *text);
void answers_free(struct answers *a);

/* The columns for questions of this schema, to *out: with "*" and without a text its own.  A column
 * named required may not be null (NULL: none).  ERROR_USAGE. */
int answers_schema(struct answers *a, const struct schema *asked, const char *required,
	struct schema *out, struct error *e);

/* Appends the rows of an answer to the builders, one per column of that schema.  0, or -1: nothing is
 * appended and *why says what is wrong with it (valid until the next call). */
int answers_take(struct answers *a, const struct coprocess_answer *in,
	struct column_builder *builders, uint32_t *rows, const char **why);

/* --exec-format: "ndjson" or "msgpack". */
int answers_format(const char *name, enum coprocess_format *out, struct error *e);

#endif
