/* Random tables for tests, and how two are compared: by schema, validity and the bytes of what is
 * not null. */
#ifndef RUNNEL_TESTS_TABLES_H
#define RUNNEL_TESTS_TABLES_H

#include "libcore/table/builder.h"

uint32_t random_below(uint32_t n); /* [0, n) */
uint64_t random_word(void);
void random_seed(uint64_t seed); /* and prints it */

struct type random_type(void);

/* Up to columns_max columns of any types, named c0, c1, ..., some as changelogs. */
void random_schema(struct schema *s, uint32_t columns_max);
void random_rows(struct batch_builder *b, uint32_t rows);
void random_value(struct column_builder *b); /* null one time in five */

/* NULL if equal, else what differs. */
const char *batches_differ(const struct batch *a, const struct batch *b);

#endif
