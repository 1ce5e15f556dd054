/* What parsing and completions share: all options of a program in one list.  Private to options.c and
 * completion.c. */
#ifndef RUNNEL_BASE_OPTIONS_FLAT_H
#define RUNNEL_BASE_OPTIONS_FLAT_H

#include "libcore/base/options.h"

enum { OPTIONS_MAX = 96 };

struct options_flat {
	const struct option_spec *all[OPTIONS_MAX];
	size_t len;
};

/* The tables in order, then the standard options. */
void options_flatten(const struct option_spec *const *tables, size_t tables_len,
	struct options_flat *out);

#endif
