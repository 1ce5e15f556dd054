/* The table behind a changelog: its rows so far, in the order in which they came. */
#ifndef RUNNEL_SSORT_TABLE_H
#define RUNNEL_SSORT_TABLE_H

#include "cmd/ssort/sorter.h"
#include "cmd/ssort/ssort.h"

struct table;

struct table *table_new(const struct ssort *s); /* which is borrowed */
void table_free(struct table *t);
int table_apply(struct table *t, const struct batch *b, struct error *e);

/* Gives all rows to a sorter, and forgets them. */
int table_drain(struct table *t, struct sorter *to, struct error *e);

/* Section "table": seq, row.<column> ... */
int table_save(struct table *t, struct snapshot_writer *w, struct error *e);
int table_load(struct table *t, const struct batch *saved, struct error *e);

#endif
