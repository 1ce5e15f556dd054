/* Small files read whole: texts, manifests.  Data goes through formats/ and frame/. */
#ifndef RUNNEL_BASE_INFILE_H
#define RUNNEL_BASE_INFILE_H

#include "libcore/base/buf.h"
#include "libcore/base/error.h"

/* Appends the file's bytes, at most bytes_max: who asks for one more than he takes sees that it is
 * too long. */
int infile_read(const char *path, size_t bytes_max, struct buf *out, struct error *e);

#endif
