#include "cmd/ssource/source.h"

#include "libcore/base/memory.h"

/* What a source borrows; one a file, as long as the program. */
struct opened {
	struct opened *next;
	const char *inputs[1];
	struct source_options options;
};

int source_open_file(const char *path, struct operator** out, struct error *e)
{
	static struct opened *all;
	struct opened *o = mem_zero(sizeof *o);

	o->next = all;
	all = o;
	o->inputs[0] = path;
	o->options = (struct source_options){.limit = -1,
		.bad = "stop",
		.records = {.inputs = o->inputs,
			.inputs_len = 1,
			.reader = {.header = HEADER_AUTO, .quoted_newlines = true}}};
	return source_new_records(&o->options, out, e);
}
