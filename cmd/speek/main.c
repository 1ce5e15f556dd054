/* speek - see what flows.  See speek(1). */
#include "cmd/common/terminal.h"
#include "cmd/speek/peek.h"
#include "libcore/stage/program.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PLAIN_WIDTH = 80 }; /* of a plot that goes into a file */

static struct {
	int64_t rows, every_us;
	const char *plot;
	bool frames;
} opt = {.every_us = 1000000};

static const struct option_spec options[] = {
	{.name = "number",
		.letter = 'n',
		.kind = OPTION_INT,
		.argument = "N",
		.value = &opt.rows,
		.help = "show the first N rows as they pass"},
	{.name = "frames",
		.kind = OPTION_FLAG,
		.value = &opt.frames,
		.help = "list every frame: number, byte, kind, size"},
	{.name = "plot",
		.kind = OPTION_TEXT,
		.argument = "COLUMN",
		.value = &opt.plot,
		.help = "draw a number over event time, or over the rows"},
	{.name = "every",
		.kind = OPTION_DURATION,
		.argument = "DURATION",
		.value = &opt.every_us,
		.help = "time between reports (1s); 0s: only at the end"},
	{.name = NULL},
};

/* Telling is not worth failing for. */
static void put(void *context, const void *text, size_t len)
{
	const char *at = text;

	while (len) {
		ssize_t n = write(STDERR_FILENO, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		at += n;
		len -= (size_t)n;
	}
}

static int create(struct stage_setup *setup, struct operator** out, struct error *e)
{
	const char *no_color = getenv("NO_COLOR");
	struct peek_options o = {.rows = opt.rows,
		.frames = opt.frames,
		.plot = opt.plot,
		.every_us = opt.every_us,
		.quiet = setup->quiet,
		.width = PLAIN_WIDTH,
		.put = put,
		.terminal = !setup->supervised && isatty(STDERR_FILENO)};
	struct winsize size;

	if (setup->arguments_len)
		return error_set(e, ERROR_USAGE,
			"it takes no arguments, and there is '%s'\n"
			"it stands in a pipe: ssource a.csv | speek | ssink",
			setup->arguments[0]);
	if (opt.every_us < 0)
		return error_set(e, ERROR_USAGE, "--every: a time is not negative");
	if (o.terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		o.width = size.ws_col;
	o.color = o.terminal && (!no_color || !*no_color);
	setup->about.spread = STAGE_ANY;
	return peek_operator_new(&o, out, e);
}

static const struct stage_program speek_program = {
	.info =
		{
			.name = "speek",
			.summary = "see what flows",
			.usage = "[options]",
			.examples = "  ssource nexmark:bid | speek -n 5 | swindow --tumble 10s ... "
				    "| ssink\n"
				    "  ssource prices.csv -t at | speek --plot price >/dev/null\n"
				    "  ssource a.csv | smap ... | speek --frames | ssink b.csv\n",
		},
	.options = options,
	.create = create,
	.terminal_sink = terminal_sink,
};

int main(int argc, char **argv)
{
	return stage_main(argc, argv, &speek_program);
}
