/* What becomes of malformed records: --bad stop, skip, or a file of NDJSON
 *
 *   {"input":"a.csv","line":41,"column":7,"reason":"...","record":"..."}
 *
 * that appears under its name when the stream is complete, like every file that is written. */
#ifndef RUNNEL_CMD_COMMON_BAD_H
#define RUNNEL_CMD_COMMON_BAD_H

#include "formats/reader.h"
#include "libcore/base/outfile.h"
#include "libcore/stage/operator.h"

struct bad_records {
	const char *where; /* "stop", "skip", a path */
	struct stage *stage;
	struct outfile file;
	struct buf text;
	uint64_t count;
};

void bad_records_init(struct bad_records *b, const char *where);
int bad_records_open(struct bad_records *b, struct stage *st, struct error *e);
struct bad_sink bad_records_sink(struct bad_records *b); /* take is NULL for stop */
int bad_records_commit(struct bad_records *b, struct error *e);
void bad_records_clear(struct bad_records *b); /* without a commit before: no file */

#endif
