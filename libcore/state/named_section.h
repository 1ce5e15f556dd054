/* Sections of a snapshot whose columns the program knows: positions, partitions, epochs.  They are
 * listed by name and kind, written row by row, and found again by name.
 *
 *	static const struct named_column columns[] = {{"lane", TYPE_INT}, {"rows", TYPE_INT}};
 *	struct named_section s;
 *
 *	named_section_begin(&s, w, "lanes", columns, 2, e);
 *	for each row: put into s.columns[0], s.columns[1]; named_section_row(&s);
 *	return named_section_end(&s);
 */
#ifndef RUNNEL_STATE_NAMED_SECTION_H
#define RUNNEL_STATE_NAMED_SECTION_H

#include "libcore/state/snapshot.h"
#include "libcore/table/builder.h"

struct named_column {
	const char *name;
	enum type_kind kind;
};

struct named_section {
	struct column_builder *columns; /* in the order of the list: a row's values are put here */
	struct snapshot_writer *to;
	struct schema schema;
	struct batch_builder rows;
	struct error *e;
	int status;                     /* -1: a write has failed, and nothing more is written */
};

/* Borrows all it is given until the end. */
void named_section_begin(struct named_section *s, struct snapshot_writer *to, const char *name,
	const struct named_column *columns, size_t n, struct error *e);

/* A row is there. */
void named_section_row(struct named_section *s);

/* 0; -1 if any write failed, with e set. */
int named_section_end(struct named_section *s);

/* The n columns of a batch of such a section, by name; one that is missing or of another kind is
 * ERROR_STATE. */
int named_section_find(const struct batch *b, const struct named_column *columns, size_t n,
	const struct column **out, struct error *e);

#endif
