/* stee - one stream to several pipelines.  See stee(1).
 *
 * The operator only says that frames pass: the runtime hands them on to every output. */
#include "cmd/common/connected.h"
#include "cmd/common/terminal.h"
#include "cmd/stee/branch.h"
#include "libcore/base/memory.h"
#include "libcore/stage/program.h"

#include <fcntl.h>
#include <unistd.h>

static const struct option_spec options[] = {{.name = NULL}};

static void tee_free(struct operator* op)
{
	mem_free(op);
}

static const struct operator_ops tee_ops = {.type = "stee", .free = tee_free};

/* Descriptors of pipes would take the place of those that are closed. */
static int check_descriptors(struct error *e)
{
	static const char *const names[] = {"input", "output", "error"};

	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			return error_set(e, ERROR_USAGE,
				"standard %s is closed\n"
				"what goes on nowhere goes to ssink null:",
				names[fd]);
	}
	return 0;
}

static int take_branches(struct stage_setup *setup, struct error *e)
{
	size_t n = (size_t)setup->arguments_len;

	if (!n)
		return error_set(e, ERROR_USAGE,
			"no pipeline to pass rows to\n"
			"for example: ... | stee 'smap \"price > 100\" | ssink dear.csv' | ssink "
			"all.csv");
	if (n > DESCRIPTION_BRANCHES_MAX)
		return error_set(e, ERROR_USAGE,
			"%zu pipelines; one stee has up to %d\n"
			"another one can stand behind it: ... | stee ... | stee ...",
			n, DESCRIPTION_BRANCHES_MAX);
	for (size_t i = 0; i < n; i++)
		setup->about.branches[i] = setup->arguments[i];
	setup->about.branches_len = n;
	return 0;
}

static int create(struct stage_setup *setup, struct operator** out, struct error *e)
{
	static const struct stage_branches processes = {.open = branch_open, .wait = branch_wait};
	struct operator* op;

	if (take_branches(setup, e) < 0)
		return -1;
	/* A supervisor reads them itself: they are stages of its plan. */
	if (!setup->supervised &&
		(check_descriptors(e) < 0 ||
			branches_read(setup->about.branches, setup->about.branches_len, e) < 0))
		return -1;
	setup->branches = &processes;
	setup->about.spread = STAGE_ANY;
	op = mem_zero(sizeof *op);
	*op = (struct operator){.ops = &tee_ops,
		.inputs = 1,
		.passes = true,
		.outputs = 1 + (unsigned)setup->about.branches_len};
	*out = op;
	return 0;
}

static const struct stage_program stee_program = {
	.info =
		{
			.name = "stee",
			.summary = "one stream to several pipelines",
			.usage = "[options] PIPELINE...",
			.examples = "  ... | stee 'ssink raw.frames' | swindow --tumble 1h ... | "
				    "ssink\n"
				    "  ... | stee 'smap -w \"ok\" | ssink ok.csv' 'smap -w \"not "
				    "ok\" | ssink bad.csv' |\n"
				    "    ssink all.csv\n",
		},
	.options = options,
	.create = create,
	.terminal_sink = terminal_sink,
};

int main(int argc, char **argv)
{
	int status = stage_main(argc, connected_arguments(argc, argv), &stee_program);

	branches_clear();
	return status;
}
