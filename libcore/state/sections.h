/* Sections of a snapshot that an operator keeps as they came until it knows its schema, because only
 * then it knows what they mean; a snapshot that comes before that hands them on unchanged. */
#ifndef RUNNEL_STATE_SECTIONS_H
#define RUNNEL_STATE_SECTIONS_H

#include "libcore/state/snapshot.h"
#include "libcore/table/builder.h"

struct section_kept {
	struct schema schema;
	struct batch_builder rows;
};

struct sections {
	struct section_kept **items;
	size_t len, cap;
};

void sections_clear(struct sections *s); /* all zero bytes are none */

/* Keeps a batch of a section, and the section itself if it has no rows.  One whose columns changed
 * between files is ERROR_STATE. */
int sections_keep(struct sections *s, const struct batch *b, struct error *e);

/* The rows of a section; NULL: it isn't there. */
const struct batch *sections_find(struct sections *s, const char *name);
int sections_put(struct sections *s, struct snapshot_writer *w, struct error *e);

#endif
