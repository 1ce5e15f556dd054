/* runnel - runs a pipeline file supervised: parallel, checkpointed, exactly once.  See runnel(1). */
#include "cmd/common/connected.h"
#include "cmd/common/state_directory.h"
#include "cmd/runnel/explain.h"
#include "cmd/runnel/job.h"
#include "cmd/runnel/launch.h"
#include "libcore/base/civil.h"
#include "libcore/base/infile.h"
#include "libcore/base/memory.h"
#include "libcore/base/outfile.h"
#include "libcore/stage/program.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
	const char *text, *name, *state, *from, *restart, *metrics;
	int64_t parallelism, interval_us, heartbeat_us;
	struct option_list drop;
	bool plan, quiet, verbose;
} opt = {.restart = "10/10m", .parallelism = 1, .interval_us = 10000000,
	.heartbeat_us = 30000000};

static const struct option_spec options[] = {
	{.name = "command", .letter = 'c', .kind = OPTION_TEXT, .argument = "TEXT", .value = &opt.text,
		.help = "the pipeline itself instead of a FILE with it"},
	{.name = "parallelism", .letter = 'p', .kind = OPTION_INT, .argument = "N",
		.value = &opt.parallelism, .help = "subtasks of every stage that can be spread (1)"},
	{.name = "name", .kind = OPTION_TEXT, .argument = "NAME", .value = &opt.name,
		.help = "the job's name; by default the FILE's"},
	{.name = "state", .kind = OPTION_TEXT, .argument = "DIR", .value = &opt.state,
		.help = "where its state lies (~/.local/state/runnel/NAME)"},
	{.name = "checkpoint", .kind = OPTION_DURATION, .argument = "DURATION",
		.value = &opt.interval_us, .help = "time between checkpoints (10s); 0s: none by itself"},
	{.name = "from", .kind = OPTION_TEXT, .argument = "SAVEPOINT", .value = &opt.from,
		.help = "start with the state in a savepoint"},
	{.name = "drop-state", .kind = OPTION_LIST, .argument = "NAME", .value = &opt.drop,
		.help = "let a stage's state go, or a part of it, STAGE:PART; repeatable"},
	{.name = "restart", .kind = OPTION_TEXT, .argument = "N/DURATION", .value = &opt.restart,
		.help = "give up after more than N failures in DURATION (10/10m)"},
	{.name = "heartbeat", .kind = OPTION_DURATION, .argument = "DURATION",
		.value = &opt.heartbeat_us, .help = "a stage silent for longer has hung (30s); 0s: never"},
	{.name = "metrics", .kind = OPTION_TEXT, .argument = "[HOST:]PORT", .value = &opt.metrics,
		.help = "serve Prometheus metrics over HTTP; on loopback unless HOST is given"},
	{.name = "plan", .kind = OPTION_FLAG, .value = &opt.plan,
		.help = "show stages, exchanges, state and guarantees; run nothing"},
	{.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .value = &opt.quiet,
		.help = "only errors"},
	{.name = "verbose", .letter = 'v', .kind = OPTION_FLAG, .value = &opt.verbose,
		.help = "tell of every checkpoint"},
	{.name = NULL},
};

static const struct program_info info = {
	.name = "runnel",
	.summary = "run a pipeline supervised: parallel, checkpointed, exactly once",
	.usage = "[options] FILE | -c TEXT",
	.examples =
		"  runnel bids.sh                 what `bash bids.sh` does, and after a crash it goes on\n"
		"  runnel -p 4 bids.sh            four subtasks a stage\n"
		"  runnel --plan -p 4 bids.sh     what would run\n"
		"  runnel -c 'ssource a.ndjson | ssink -f csv out/'\n",
};

/* ---- the text ---- */

static const char *environment(void *context, const char *name)
{
	return getenv(name);
}

static int take_text(const struct options_result *r, struct pipeline_source *out, struct buf *text,
	struct error *e)
{
	if (opt.text && r->arguments_len)
		return error_set(e, ERROR_USAGE, "-c and a FILE: one pipeline, please");
	if (r->arguments_len > 1)
		return error_set(e, ERROR_USAGE, "one FILE, not %d; the second is '%s'\n"
			"values come in through the environment: NAME=value runnel FILE",
			r->arguments_len, r->arguments[1]);
	if (!opt.text && !r->arguments_len)
		return error_set(e, ERROR_USAGE, "no pipeline: a FILE, or -c 'ssource ... | ssink ...'");
	if (opt.text)
		buf_put_text(text, opt.text);
	else if (infile_read(r->arguments[0], PIPELINE_BYTES_MAX + 1, text, e) < 0)
		return -1;
	*out = (struct pipeline_source){.name = opt.text ? "-c" : r->arguments[0],
		.text = buf_cstr(text), .len = text->len, .variable = environment};
	return 0;
}

/* ---- names ---- */

/* "dir/bids.sh" is the job "bids"; a text without a file is known by what it is and where. */
static char *job_name(const struct pipeline_source *source)
{
	const char *slash = strrchr(source->name, '/'), *base = slash ? slash + 1 : source->name;
	const char *dot = strrchr(base, '.');
	char text[32], *cwd;
	XXH64_state_t hash;

	if (opt.name)
		return mem_strdup(opt.name);
	if (!opt.text)
		return dot && dot > base ? mem_strndup(base, (size_t)(dot - base)) : mem_strdup(base);
	cwd = getcwd(NULL, 0);
	XXH64_reset(&hash, 0);
	XXH64_update(&hash, source->text, source->len);
	XXH64_update(&hash, cwd ? cwd : "", cwd ? strlen(cwd) : 0);
	snprintf(text, sizeof text, "c-%08x", (unsigned)XXH64_digest(&hash));
	free(cwd);
	return mem_strdup(text);
}

static int find_state(const char *name, struct buf *out, struct error *e)
{
	if (!opt.state && strchr(name, '/'))
		return error_set(e, ERROR_USAGE, "--name '%s': a name has no slash; a place is --state DIR",
			name);
	if (!opt.state)
		return state_directory(name, out, e);
	buf_put_text(out, opt.state);
	buf_cstr(out);
	return 0;
}

/* What the state directory belongs to. */
static char *identity(const struct pipeline_source *source)
{
	char *path = opt.text ? NULL : realpath(source->name, NULL);
	char *text = mem_strdup(path ? path : source->name);

	free(path);
	return text;
}

/* ---- running ---- */

static int show_plan(const struct job_options *o, const char *directory, struct error *e)
{
	struct explain_options x = {.plan = o->plan, .from = o->from, .directory = directory,
		.drop = o->drop, .drop_len = o->drop_len};
	struct buf out = BUF_INIT;
	struct error misfit = ERROR_INIT;
	int status;

	buf_printf(&out, "%s: %s, parallelism %u\n", o->name,
		o->plan->bounded ? "bounded" : "unbounded", o->parallelism);
	plan_put_text(o->plan, &out);
	status = explain(&x, &out, &misfit);
	if (fd_write_all(STDOUT_FILENO, "standard output", out.data, out.len, e) == 0 && status < 0)
		*e = misfit;
	buf_clear(&out);
	return e->code ? -1 : 0;
}

static int run_job(const struct job_options *o, const char *directory, const char *pipeline,
	struct error *e)
{
	struct state state;
	int status;

	if (state_open(directory, pipeline, &state, e) < 0)
		return -1;
	if (state.ended) {
		state_remove(&state);
		state_close(&state);
		if (!o->quiet)
			fputs("runnel: the job had ended\n", stderr);
		return 0;
	}
	status = job_run(o, &state, e);
	if (status < 0 && state.attempt == 0)
		state_remove(&state); /* a wrong option: it was never started */
	state_close(&state);
	return status;
}

static int run(const struct pipeline_source *source, const struct plan *plan, struct error *e)
{
	struct buf directory = BUF_INIT;
	char *name = job_name(source), *pipeline = identity(source);
	struct job_options o = {.name = name, .plan = plan, .parallelism = (uint32_t)opt.parallelism,
		.interval_us = opt.interval_us, .heartbeat_us = opt.heartbeat_us, .restart = opt.restart,
		.from = opt.from, .drop = opt.drop.items, .drop_len = opt.drop.len,
		.metrics = opt.metrics, .quiet = opt.quiet, .verbose = opt.verbose,
		.view = isatty(STDERR_FILENO) && !plan->standard_output};
	int status = find_state(name, &directory, e);

	if (status == 0)
		status = opt.plan ? show_plan(&o, buf_cstr(&directory), e) :
			run_job(&o, buf_cstr(&directory), pipeline, e);
	buf_clear(&directory);
	mem_free(name);
	mem_free(pipeline);
	return status;
}

/* Sinks whose epochs can't last that long. */
static int check_epochs(const struct plan *plan, struct error *e)
{
	for (size_t i = 0; i < plan->stages_len; i++) {
		const struct plan_stage *s = &plan->stages[i];
		char most[DURATION_TEXT_MAX + 1], asked[DURATION_TEXT_MAX + 1];

		if (!s->d.about.epoch_max_us || opt.interval_us < s->d.about.epoch_max_us)
			continue;
		most[duration_put(most, s->d.about.epoch_max_us)] = '\0';
		asked[duration_put(asked, opt.interval_us)] = '\0';
		return pipeline_error(s->in->source, s->place,
			"a shorter --checkpoint, or more time for the sink", e,
			"an epoch of %s has to be committed within %s, and --checkpoint is %s",
			s->name, most, asked);
	}
	return 0;
}

static int draw_and_run(const struct pipeline_source *source, struct arena *arena, struct error *e)
{
	struct plan_programs programs = {.find = launch_find, .describe = launch_describe};
	struct pipeline text;
	struct plan plan;
	int status;

	if (opt.parallelism < 1 || opt.parallelism > PLAN_SUBTASKS_MAX)
		return error_set(e, ERROR_USAGE, "-p: from 1 to %d subtasks", PLAN_SUBTASKS_MAX);
	if (pipeline_parse(source, arena, &text, e) < 0)
		return -1;
	status = plan_draw(&text, source, &programs, (uint32_t)opt.parallelism, arena, &plan, e);
	if (status == 0)
		status = check_epochs(&plan, e);
	if (status == 0)
		status = run(source, &plan, e);
	plan_clear(&plan);
	return status;
}

int main(int argc, char **argv)
{
	const struct option_spec *tables[] = {options};
	struct options_result result;
	struct pipeline_source source;
	struct arena arena = ARENA_INIT;
	struct buf text = BUF_INIT;
	struct error e = ERROR_INIT;
	int status;

	argv = connected_arguments(argc, argv);
	if (!program_options(&info, tables, 1, argc, argv, &result, &status))
		return status;
	launch_raise_limits();
	status = take_text(&result, &source, &text, &e);
	if (status == 0)
		status = draw_and_run(&source, &arena, &e);
	if (status < 0)
		status = program_failed(&e);
	arena_clear(&arena);
	buf_clear(&text);
	return status;
}
