#include "libcore/stage/program.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/outfile.h"
#include "libcore/stage/run.h"
#include "libcore/stage/version.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
	const char *name;
	int64_t memory;
	bool quiet, verbose, memory_given;
} common;

static const struct option_spec common_options[] = {
	{.name = "name", .kind = OPTION_TEXT, .value = &common.name, .argument = "NAME",
		.help = "the stage's name, in messages and snapshots"},
	{.name = "memory", .kind = OPTION_SIZE, .value = &common.memory, .argument = "SIZE",
		.given = &common.memory_given, .help = "cap on the state it keeps"},
	{.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .value = &common.quiet,
		.help = "no warnings, no counts"},
	{.name = "verbose", .letter = 'v', .kind = OPTION_FLAG, .value = &common.verbose,
		.help = "tell what it does on standard error"},
	{.name = NULL},
};

static const char *program_name = "runnel";

static void print_error(const struct error *e)
{
	fprintf(stderr, "%s: error: %s\n", program_name, e->text);
}

static void out_of_memory(size_t bytes)
{
	char text[160];
	int len = snprintf(text, sizeof text, "%s: error: out of memory: %zu bytes refused\n",
		program_name, bytes);

	if (write(STDERR_FILENO, text, (size_t)len) < 0)
		_exit(ERROR_IO);
	_exit(ERROR_IO);
}

/* Prints a text that was asked for; a closed pipe is nobody's fault. */
static int print_text(struct buf *text)
{
	struct error e = ERROR_INIT;
	int status = fd_write_all(STDOUT_FILENO, "standard output", text->data, text->len, &e);

	buf_clear(text);
	if (status == 0 || e.code == ERROR_CLOSED)
		return 0;
	print_error(&e);
	return (int)e.code;
}

static int print_completion(const struct program_info *info,
	const struct option_spec *const *tables, size_t tables_len, const char *shell)
{
	struct buf text = BUF_INIT;

	if (options_put_completion(info, tables, tables_len, shell, &text) < 0) {
		fprintf(stderr, "%s: error: no completion for '%s'; there are bash, zsh, fish\n", program_name,
			shell);
		return ERROR_USAGE;
	}
	return print_text(&text);
}

int program_failed(const struct error *e)
{
	print_error(e);
	return (int)e->code;
}

/* --help, --version and --complete; false: none of them was given. */
static bool answer_question(const struct program_info *info,
	const struct option_spec *const *tables, size_t tables_len,
	const struct options_result *result, int *status)
{
	struct buf text = BUF_INIT;

	if (!result->help && !result->version && !result->complete)
		return false;
	if (result->help)
		options_put_help(info, tables, tables_len, &text);
	else if (result->version)
		buf_printf(&text, "%s (runnel) %s\n", info->name, RUNNEL_VERSION);
	*status = result->help || result->version ? print_text(&text) :
		print_completion(info, tables, tables_len, result->complete);
	return true;
}

static void program_begin(const struct program_info *info)
{
	program_name = info->name;
	mem_on_failure(out_of_memory);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of write, as a full disk */
}

bool program_options(const struct program_info *info, const struct option_spec *const *tables,
	size_t tables_len, int argc, char **argv, struct options_result *out, int *status)
{
	struct error e = ERROR_INIT;

	program_begin(info);
	if (options_parse(info, tables, tables_len, argc, argv, out, &e) < 0) {
		*status = program_failed(&e);
		return false;
	}
	return !answer_question(info, tables, tables_len, out, status);
}

/* A program that fails before its stage exists still tells the one behind why: else that could only
 * say that nothing came.  Only into a pipe: a file or a terminal is nobody's input yet. */
static void tell_behind(const struct stage_program *program, const struct error *cause)
{
	struct hello hello = {.version = FRAME_VERSION};
	struct buf frames = BUF_INIT;
	struct error ignored = ERROR_INIT;
	struct stat st;

	if (!program->terminal_sink || fstat(STDOUT_FILENO, &st) < 0 ||
		(!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)))
		return;
	snprintf(hello.stage, sizeof hello.stage, "%s", program->info.name);
	frame_put_hello(&frames, &hello);
	frame_put_error(&frames, program->info.name, cause->text);
	fd_write_all(STDOUT_FILENO, "standard output", frames.data, frames.len, &ignored);
	buf_clear(&frames);
}

/* A program that fails before it has an operator says why to whoever waits for it. */
static void tell(const struct stage_program *program, const struct error *cause)
{
	struct control *control;
	struct error ignored = ERROR_INIT;

	if (!control_is_wanted()) {
		tell_behind(program, cause);
	} else if (control_open(&control, &ignored) == 0) {
		control_fail(control, cause);
		control_close(control);
	}
}

static int run_operator(const struct stage_program *program, struct stage_setup *setup,
	struct error *e)
{
	struct run_options options = {.program = program, .setup = setup,
		.name = common.name ? common.name : program->info.name, .quiet = common.quiet};
	struct control *control = NULL;
	struct operator *op = NULL;

	int status = 0;

	if (control_is_wanted() && control_open(&control, e) < 0)
		return -1;
	setup->supervised = control != NULL;
	if (program->create(setup, &op, e) < 0) {
		if (control)
			control_fail(control, e);
		else
			tell_behind(program, e);
		control_close(control);
		return -1;
	}
	if (control)
		status = control_describe(control, op, &setup->about, e);
	if (status == 0)
		return run_stage(&options, op, control, e);
	if (op->ops->free)
		op->ops->free(op);
	control_close(control);
	return status < 0 ? -1 : 0;
}

static const char *temporary_directory(void)
{
	const char *directory = getenv("TMPDIR");

	return directory && *directory ? directory : "/tmp";
}

int stage_main(int argc, char **argv, const struct stage_program *program)
{
	const struct option_spec *tables[] = {program->options, common_options};
	struct stage_setup setup = {.arguments = NULL};
	struct options_result result;
	struct error e = ERROR_INIT;
	int status;

	program_begin(&program->info);
	common.memory = (int64_t)program->memory_default_bytes;
	if (options_parse(&program->info, tables, 2, argc, argv, &result, &e) < 0) {
		tell(program, &e);
		return program_failed(&e);
	}
	if (answer_question(&program->info, tables, 2, &result, &status))
		return status;
	setup.arguments = result.arguments;
	setup.arguments_len = result.arguments_len;
	setup.quiet = common.quiet;
	setup.verbose = common.verbose;
	setup.memory_bytes = common.memory;
	setup.temporary = temporary_directory();
	setup.about.name = common.name;
	if (program->wants_twin && program->wants_twin(&setup) &&
		program->become_twin(program->info.name, argv, &e) < 0) {
		tell(program, &e);
		return program_failed(&e);
	}
	if (run_operator(program, &setup, &e) == 0)
		return 0;
	if (!run_error_is_silent(&e))
		print_error(&e);
	return (int)e.code;
}
