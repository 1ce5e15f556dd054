/* smerge - several streams as one.  See smerge(1). */
#include "cmd/common/terminal.h"
#include "cmd/smerge/merge.h"
#include "cmd/ssource/source.h"
#include "libcore/stage/program.h"

#include <string.h>

static const struct option_spec options[] = {{.name = NULL}};

/* Of the pipe, which is input 0, and of every path. */
static const char *names[DESCRIPTION_INPUTS_MAX];

static int take_paths(struct stage_setup *setup, char **paths, size_t n, struct error *e)
{
	if (!n)
		return error_set(e, ERROR_USAGE,
			"nothing to merge with\n"
			"for example: smerge <(ssource a.csv) <(ssource b.csv) | ssink");
	if (n >= DESCRIPTION_INPUTS_MAX)
		return error_set(e, ERROR_USAGE,
			"%zu streams; one smerge reads up to %d\n"
			"another one can read what it gives: ... | smerge ... | smerge ...",
			n, DESCRIPTION_INPUTS_MAX - 1);
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(paths[i], "-"))
			return error_set(e, ERROR_USAGE,
				"- stands first: the stage in front is the"
				" first stream");
		setup->about.inputs[i + 1] = paths[i];
		/* What a shell makes of <(...) tells a person nothing. */
		names[i + 1] = strncmp(paths[i], "/dev/fd/", 8) ? paths[i] : NULL;
	}
	return 0;
}

static int create(struct stage_setup *setup, struct operator** out, struct error *e)
{
	size_t n = (size_t)setup->arguments_len;
	bool dash = n && !strcmp(setup->arguments[0], "-");
	struct merge_options o = {.names = names};

	if (take_paths(setup, setup->arguments + dash, n - dash, e) < 0)
		return -1;
	o.inputs = (unsigned)(n - dash) + 1;
	setup->about.pipe_optional = !dash && n > 1;
	setup->about.spread = STAGE_ANY;
	setup->open_input = source_open_file;
	return merge_operator_new(&o, out, e);
}

static const struct stage_program smerge_program = {
	.info =
		{
			.name = "smerge",
			.summary = "several streams as one",
			.usage = "[options] [-] STREAM...",
			.examples = "  smerge <(ssource a.csv) <(ssource b.ndjson) | ssink\n"
				    "  ssource eu.csv -t at | smerge <(ssource us.csv -t at) | "
				    "swindow --tumble 1h ...\n"
				    "  smerge jan.csv feb.csv mar.csv | ssink year.csv\n",
		},
	.options = options,
	.create = create,
	.terminal_sink = terminal_sink,
};

int main(int argc, char **argv)
{
	return stage_main(argc, argv, &smerge_program);
}
