/* sctl - look at running jobs and tell them what to do.  See sctl(1). */
#include "cmd/runnel/status.h"
#include "cmd/sctl/holdings.h"
#include "cmd/sctl/jobs.h"
#include "cmd/sctl/top.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/outfile.h"
#include "libcore/base/suggest.h"
#include "libcore/stage/program.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct {
	bool json, subtasks, drain;
	const char *savepoint;
} opt;

static const struct option_spec sctl_options[] = {
	{.name = "json",
		.kind = OPTION_FLAG,
		.value = &opt.json,
		.help = "list, status, state: JSON instead of a table"},
	{.name = "subtasks",
		.kind = OPTION_FLAG,
		.value = &opt.subtasks,
		.help = "status, top: a line for each subtask of a stage"},
	{.name = "savepoint",
		.kind = OPTION_TEXT,
		.value = &opt.savepoint,
		.argument = "PATH",
		.help = "stop: write a savepoint first"},
	{.name = "drain",
		.kind = OPTION_FLAG,
		.value = &opt.drain,
		.help = "stop: end the sources, let all windows close"},
	{.name = NULL},
};

static const struct program_info sctl_info = {
	.name = "sctl",
	.summary = "look at running jobs and tell them what to do",
	.usage = "[options] COMMAND [JOB] [FILE]\n\n"
		 "  list                  all jobs, running or not\n"
		 "  status [JOB]          its stages, what they do, and its last checkpoint\n"
		 "  top [JOB]             the same, every second\n"
		 "  checkpoint [JOB]      take one now\n"
		 "  savepoint [JOB] FILE  all of its state as one archive\n"
		 "  stop [JOB]            take a checkpoint, commit it, stop\n"
		 "  state FILE            what a savepoint or a checkpoint's directory holds\n\n"
		 "JOB is a name of the list, or a state directory; needless if only one runs.",
	.examples = "  sctl top flights\n"
		    "  sctl savepoint flights before-upgrade.tar.zst\n"
		    "  sctl stop flights --drain\n"
		    "  sctl status --json | jq '.tasks[] | {stage, busy}'\n",
};

/* ---- output ---- */

static int print(const struct buf *text, struct error *e)
{
	return fd_write_all(STDOUT_FILENO, "standard output", text->data, text->len, e);
}

static bool wants_color(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && (!no_color || !*no_color) &&
	       (!term || strcmp(term, "dumb"));
}

/* 0, unlimited, where it isn't a terminal. */
static unsigned terminal_columns(void)
{
	struct winsize size = {.ws_col = 0};

	return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col
										     : 0;
}

/* ---- the commands ---- */

struct call {
	const char *job;      /* NULL: the only one */
	const char *file;     /* NULL: none */
	struct buf directory; /* of the job, where the command has one */
};

/* Asks, and prints the answer. */
static int relay(const struct call *c, const char *const *words, size_t words_len,
	unsigned timeout_ms, struct error *e)
{
	struct buf text = BUF_INIT;
	int status = job_ask(
		(const char *)c->directory.data, words, words_len, timeout_ms, &text, NULL, e);

	if (status == 0)
		status = print(&text, e);
	buf_clear(&text);
	return status;
}

/* A job that isn't running; what its supervisor would say of one that is. */
static void put_stopped(const char *directory, struct buf *out)
{
	struct status s = {.name = job_name(directory),
		.directory = directory,
		.state = "not running",
		.now_us = clock_wall_us(),
		.started_us = STATUS_NO_TIME,
		.last = {.id = job_last_checkpoint(directory), .at_us = STATUS_NO_TIME}};

	if (opt.json)
		status_put_json(&s, out);
	else
		status_put_line(&s, out);
}

/* A supervisor that hangs is told of on standard error; the others are still shown. */
static int put_listed(const char *directory, struct buf *out)
{
	const char *const words[] = {opt.json ? "status-json" : "line"};
	struct error e = ERROR_INIT;
	size_t before = out->len;
	bool gone;

	if (opt.json && out->len > 1)
		buf_put_text(out, ",\n");
	if (job_ask(directory, words, 1, JOB_ANSWER_MS, out, &gone, &e) < 0 && !gone) {
		out->len = before;
		return program_failed(&e);
	}
	if (gone)
		put_stopped(directory, out);
	if (opt.json && out->len && out->data[out->len - 1] == '\n')
		out->len--;
	return 0;
}

static int command_list(const struct call *c, struct error *e)
{
	struct buf out = BUF_INIT, path = BUF_INIT;
	struct jobs jobs;
	int status = jobs_list(&jobs, e), failed = 0;

	if (opt.json)
		buf_put_byte(&out, '[');
	else
		status_put_line_head(&out);
	for (size_t i = 0; status == 0 && i < jobs.len; i++) {
		int code;

		buf_reset(&path);
		buf_printf(&path, "%s/%s", buf_cstr(&jobs.root), jobs.names[i]);
		code = put_listed(buf_cstr(&path), &out);
		failed = code ? code : failed;
	}
	if (opt.json)
		buf_put_text(&out, "]\n");
	if (status == 0)
		status = print(&out, e);
	jobs_clear(&jobs);
	buf_clear(&out);
	buf_clear(&path);
	return status < 0 ? -1 : failed;
}

static int command_status(const struct call *c, struct error *e)
{
	char columns[16];
	const char *const json[] = {"status-json"};
	const char *const table[] = {
		"status", columns, wants_color() ? "1" : "0", opt.subtasks ? "1" : "0"};

	if (opt.json)
		return relay(c, json, 1, JOB_ANSWER_MS, e);
	snprintf(columns, sizeof columns, "%u", terminal_columns());
	return relay(c, table, 4, JOB_ANSWER_MS, e);
}

static int command_top(const struct call *c, struct error *e)
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return command_status(c, e);
	return top_run((const char *)c->directory.data, wants_color(), opt.subtasks, e);
}

static int command_checkpoint(const struct call *c, struct error *e)
{
	return relay(c, (const char *const[]){"checkpoint"}, 1, 0, e);
}

/* The supervisor has a working directory of its own. */
static int relay_path(const struct call *c, const char *word, const char *path, struct error *e)
{
	struct buf absolute = BUF_INIT;
	char here[PATH_MAX] = "";
	int status;

	if (*path != '/' && !getcwd(here, sizeof here))
		return error_errno(e, "%s", path);
	buf_printf(&absolute, "%s%s%s", here, *path == '/' ? "" : "/", path);
	status = relay(c, (const char *const[]){word, buf_cstr(&absolute)}, 2, 0, e);
	buf_clear(&absolute);
	return status;
}

static int command_savepoint(const struct call *c, struct error *e)
{
	return relay_path(c, "savepoint", c->file, e);
}

static int command_stop(const struct call *c, struct error *e)
{
	if (opt.savepoint)
		return relay_path(c, "stop-savepoint", opt.savepoint, e);
	return relay(c, (const char *const[]){opt.drain ? "drain" : "stop"}, 1, 0, e);
}

static int command_state(const struct call *c, struct error *e)
{
	struct buf out = BUF_INIT;
	int status = holdings_put(c->file, opt.json, &out, e);

	if (status == 0)
		status = print(&out, e);
	buf_clear(&out);
	return status;
}

static const struct command {
	const char *name;
	bool takes_job, takes_file, json, subtasks;
	int (*run)(
		const struct call *c, struct error *e); /* 0, -1, or an exit status told already */
} commands[] = {
	{"list", false, false, true, false, command_list},
	{"status", true, false, true, true, command_status},
	{"top", true, false, false, true, command_top},
	{"checkpoint", true, false, false, false, command_checkpoint},
	{"savepoint", true, true, false, false, command_savepoint},
	{"stop", true, false, false, false, command_stop},
	{"state", false, true, true, false, command_state},
};

enum { COMMANDS = sizeof commands / sizeof *commands };

/* ---- reading them ---- */

static int find_command(const char *name, const struct command **out, struct error *e)
{
	const char *names[COMMANDS];
	int near;

	for (size_t i = 0; i < COMMANDS; i++) {
		names[i] = commands[i].name;
		*out = &commands[i];
		if (name && !strcmp(name, commands[i].name))
			return 0;
	}
	if (!name)
		return error_set(e, ERROR_USAGE, "what shall be done? --help lists the commands");
	error_set(e, ERROR_USAGE, "there is no command '%s'", name);
	near = suggest(name, strlen(name), names, COMMANDS);
	if (near >= 0)
		return error_hint(e, "did you mean %s?", names[near]);
	return error_hint(e, "--help lists the commands");
}

/* An option that the environment sets for all commands is no mistake where it has no meaning. */
static bool is_misplaced(bool set, bool meant, const char *variable)
{
	return set && !meant && !getenv(variable);
}

static int misplaced(const char *option, const char *of, const char *command, struct error *e)
{
	return error_set(e, ERROR_USAGE, "%s is of %s, not of %s", option, of, command);
}

static int check_options(const struct command *c, struct error *e)
{
	bool stop = c->run == command_stop;

	if (is_misplaced(opt.json, c->json, "RUNNEL_SCTL_JSON"))
		return misplaced("--json", "list, status and state", c->name, e);
	if (is_misplaced(opt.subtasks, c->subtasks, "RUNNEL_SCTL_SUBTASKS"))
		return misplaced("--subtasks", "status and top", c->name, e);
	if (is_misplaced(opt.savepoint, stop, "RUNNEL_SCTL_SAVEPOINT"))
		return misplaced("--savepoint", "stop", c->name, e);
	if (is_misplaced(opt.drain, stop, "RUNNEL_SCTL_DRAIN"))
		return misplaced("--drain", "stop", c->name, e);
	if (stop && opt.drain && opt.savepoint)
		return error_set(e, ERROR_USAGE,
			"--drain and --savepoint: a drained job has no state left to go on from");
	if (stop && opt.savepoint && !*opt.savepoint)
		return error_set(e, ERROR_USAGE, "--savepoint: the path is empty");
	return 0;
}

static int take_arguments(
	const struct command *c, char **words, int n, struct call *out, struct error *e)
{
	int most = c->takes_job + c->takes_file;

	if (n > most)
		return error_set(e, ERROR_USAGE, "%s: what is '%s'?\nusage: sctl %s%s%s", c->name,
			words[most], c->name, c->takes_job ? " [JOB]" : "",
			c->takes_file ? " FILE" : "");
	if (c->takes_file && (!n || !*words[n - 1]))
		return error_set(e, ERROR_USAGE, "%s needs a FILE", c->name);
	if (c->takes_file)
		out->file = words[--n];
	if (n)
		out->job = words[0];
	return c->takes_job ? job_directory(out->job, &out->directory, e) : 0;
}

static int run(const struct options_result *given, struct error *e)
{
	struct call call = {.job = NULL};
	const struct command *command;
	int status;

	if (find_command(given->arguments_len ? given->arguments[0] : NULL, &command, e) < 0 ||
		check_options(command, e) < 0)
		return -1;
	status = take_arguments(command, given->arguments + 1, given->arguments_len - 1, &call, e);
	if (status == 0)
		status = command->run(&call, e);
	buf_clear(&call.directory);
	return status;
}

int main(int argc, char **argv)
{
	const struct option_spec *const tables[] = {sctl_options};
	struct options_result given;
	struct error e = ERROR_INIT;
	int status;

	if (!program_options(&sctl_info, tables, 1, argc, argv, &given, &status))
		return status;
	status = run(&given, &e);
	if (status >= 0)
		return status;
	return e.code == ERROR_CLOSED ? (int)e.code : program_failed(&e);
}
