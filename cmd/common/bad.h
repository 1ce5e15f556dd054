/* What becomes of malformed records: --bad stop, skip, or a path.  They are rows
 *
 *   input string, line int, column int, reason string, record string
 *
 * which go, as NDJSON, into a file that appears under its name when the stream is complete; under a
 * supervisor to a side output of the operator, behind which there is a sink of that file. */
#ifndef RUNNEL_CMD_COMMON_BAD_H
#define RUNNEL_CMD_COMMON_BAD_H

#include "formats/reader.h"
#include "formats/writer.h"
#include "libcore/base/outfile.h"
#include "libcore/stage/operator.h"
#include "libcore/table/builder.h"

struct bad_records {
	const char *where; /* "stop", "skip", a path */
	unsigned output;   /* their side output; 0: none, they are written here */
	struct stage *stage;
	bool is_open;
	struct schema schema;
	struct batch_builder row;
	struct outfile file;
	struct writer *writer;
	struct buf text;
	uint64_t count;
};

/* Whether --bad names a file. */
bool bad_is_path(const char *where);

void bad_records_init(struct bad_records *b, const char *where, unsigned output);
/* Before the first record comes; again, it does nothing. */
int bad_records_open(struct bad_records *b, struct stage *st, struct error *e);
struct bad_sink bad_records_sink(struct bad_records *b); /* take is NULL for stop */
int bad_records_commit(struct bad_records *b, struct error *e);
void bad_records_clear(struct bad_records *b); /* without a commit before: no file */

#endif
