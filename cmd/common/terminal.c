#include "cmd/common/terminal.h"

#include "cmd/common/sink.h"

#include "libcore/base/clock.h"

#include <stdlib.h>

int terminal_sink(struct operator **out, struct error *e)
{
	const char *no_color = getenv("NO_COLOR");
	struct sink_options o = {.output = "-", .format = "table", .clock_us = clock_mono_us,
		.writer = {.header = true, .color = !no_color || !*no_color}};

	return sink_operator_new(&o, out, e);
}
