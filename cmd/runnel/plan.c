#include "cmd/runnel/plan.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct draw {
	const struct plan_programs *programs;
	uint32_t parallelism;
	struct plan *plan;
	struct error *e;
};

/* ---- stages ---- */

/* NULL: there are too many. */
static struct plan_stage *add_stage(struct draw *d)
{
	struct plan *p = d->plan;
	struct plan_stage *s;

	if (p->stages_len == PLAN_STAGES_MAX) {
		error_set(d->e, ERROR_USAGE, "more than %d stages", PLAN_STAGES_MAX);
		return NULL;
	}
	MEM_GROW(p->stages, p->stages_cap, p->stages_len + 1);
	s = &p->stages[p->stages_len++];
	*s = (struct plan_stage){.name = NULL};
	for (unsigned i = 0; i < DESCRIPTION_INPUTS_MAX; i++)
		s->inputs[i].stage = -1;
	return s;
}

static int refuse_program(struct draw *d, const struct plan_text *in,
	const struct pipeline_stage *text)
{
	const char *word = text->arguments[0].text;

	if (strchr(word, '/'))
		return pipeline_error(in->source, text->place,
			"a path can be that of a program of yours which speaks frames, see runnel-stage(5);\n"
			"it has to be there and executable: chmod +x", d->e, "'%s' is no stage", word);
	return pipeline_error(in->source, text->place,
		"a pipeline under runnel consists of Runnel's stages only: what runs in front goes into\n"
		"a file first, what runs behind reads one",
		d->e, "'%s' is no stage", word);
}

static int add_text_stage(struct draw *d, const struct plan_text *in,
	const struct pipeline_stage *text, struct plan_input front)
{
	struct plan *p = d->plan;
	struct plan_stage *s;
	const char **argv;
	const char *program;
	int index, found = d->programs->find(d->programs->context, text->arguments[0].text, p->arena,
		&program);

	if (found == 1)
		return refuse_program(d, in, text);
	s = add_stage(d);
	if (!s)
		return -1;
	index = (int)p->stages_len - 1;
	argv = ARENA_ARRAY(p->arena, const char *, text->arguments_len + 1);
	for (size_t i = 0; i < text->arguments_len; i++)
		argv[i] = text->arguments[i].text;
	s->program = program;
	s->foreign = found == 2;
	s->argv = argv;
	s->argv_len = text->arguments_len;
	s->in = in;
	s->place = text->place;
	s->text = text;
	s->inputs[0] = front;
	return index;
}

/* Stages of a pipeline behind another's output (front.stage -1: none); the index of the last, or -1. */
static int add_pipeline(struct draw *d, const struct plan_text *in, const struct pipeline *text,
	struct plan_input front)
{
	for (size_t i = 0; i < text->stages_len; i++) {
		front = (struct plan_input){.stage = add_text_stage(d, in, &text->stages[i], front)};
		if (front.stage < 0)
			return -1;
	}
	return front.stage;
}

/* A stage that the text doesn't have, on account of one that it has. */
static int add_implied(struct draw *d, const char *name, const char *const *words, size_t n,
	size_t by)
{
	struct plan *p = d->plan;
	const char **argv = ARENA_ARRAY(p->arena, const char *, n + 1);
	struct plan_stage *s;
	const char *program;

	if (d->programs->find(d->programs->context, words[0], p->arena, &program))
		return error_set(d->e, ERROR_USAGE, "%s isn't installed beside runnel", words[0]);
	for (size_t i = 0; i < n; i++)
		argv[i] = words[i];
	s = add_stage(d);
	if (!s)
		return -1;
	s->name = name;
	s->program = program;
	s->argv = argv;
	s->argv_len = n;
	s->in = p->stages[by].in;
	s->place = p->stages[by].place;
	return (int)p->stages_len - 1;
}

/* ---- what they are ---- */

static int describe(struct draw *d, size_t first)
{
	size_t failed = 0;

	if (d->programs->describe(d->programs->context, d->plan, first, &failed, d->e) == 0)
		return 0;
	if (d->e->code == ERROR_USAGE) {
		const struct plan_stage *s = &d->plan->stages[failed];
		struct error cause = *d->e;
		char *hint = strchr(cause.text, '\n');

		if (hint)
			*hint++ = '\0';
		*d->e = (struct error)ERROR_INIT;
		pipeline_error(s->in->source, s->place, hint, d->e, "%s: %s", s->argv[0], cause.text);
	}
	return -1;
}

/* ---- what reads what ---- */

/* The pipeline that stands in a stage's argument of this text. */
static const struct pipeline *substitution(const struct pipeline_stage *text, const char *argument)
{
	for (size_t i = 1; text && i < text->arguments_len; i++) {
		if (text->arguments[i].source && !strcmp(text->arguments[i].text, argument))
			return text->arguments[i].source;
	}
	return NULL;
}

/* A path that looks like an option stands behind --. */
static size_t add_path(const char **words, size_t n, const char *path)
{
	if (*path == '-')
		words[n++] = "--";
	words[n++] = path;
	return n;
}

static int add_input(struct draw *d, size_t stage, unsigned input)
{
	const char *path = d->plan->stages[stage].d.about.inputs[input];
	const struct pipeline *text = substitution(d->plan->stages[stage].text, path);
	const char *words[3] = {"ssource"};
	size_t n = add_path(words, 1, path);
	int last = text ? add_pipeline(d, d->plan->stages[stage].in, text,
		(struct plan_input){.stage = -1}) : add_implied(d, NULL, words, n, stage);

	if (last < 0)
		return -1;
	d->plan->stages[stage].inputs[input] = (struct plan_input){.stage = last};
	return 0;
}

static int add_side(struct draw *d, size_t stage, unsigned output)
{
	const struct plan_stage *s = &d->plan->stages[stage];
	const struct stage_side *side = &s->d.about.sides[output - 1];
	const char *words[5] = {"ssink", "-f", side->format ? side->format : "frames"};
	size_t n;
	int sink;

	if (!side->path)
		return 0;
	n = add_path(words, 3, side->path);
	sink = add_implied(d, arena_printf(d->plan->arena, "%s-side%u", s->name, output), words, n,
		stage);
	if (sink < 0)
		return -1;
	d->plan->stages[sink].inputs[0] = (struct plan_input){.stage = (int)stage, .output = output};
	return 0;
}

static int check_place_in_pipe(struct draw *d, size_t stage)
{
	const struct plan_stage *s = &d->plan->stages[stage];

	if (!s->d.inputs && s->inputs[0].stage >= 0)
		return pipeline_error(s->in->source, s->place,
			"a second source is joined: sjoin ... <(ssource ...)", d->e,
			"%s is a source: it reads nothing from a pipe", s->argv[0]);
	if (s->d.inputs && s->inputs[0].stage < 0 && !s->d.about.pipe_optional)
		return pipeline_error(s->in->source, s->place, "put ssource in front: ssource FILE | ...",
			d->e, "%s has no input", s->argv[0]);
	if (s->inputs[0].stage >= 0 && !d->plan->stages[s->inputs[0].stage].d.outputs)
		return pipeline_error(s->in->source, s->place,
			"stee passes rows on to several pipelines: ... | stee 'ssink all.csv' | ...", d->e,
			"%s has no input: the stage in front is a sink", s->argv[0]);
	for (unsigned i = 0; s->d.about.spread == STAGE_KEYED && i < s->d.inputs; i++) {
		if (!s->d.about.keys_len[i])
			return pipeline_error(s->in->source, s->place, NULL, d->e,
				"%s is spread by key, and names none for input %u", s->argv[0], i);
	}
	if (s->d.about.cannot_replay)
		return pipeline_error(s->in->source, s->place,
			"a job reads again where its last checkpoint was: name a file",
			d->e, "%s can't go back: %s", s->argv[0],
			s->d.about.guarantee ? s->d.about.guarantee : "its input is read once");
	return 0;
}

/* ---- pipelines in arguments ---- */

/* What the stage that has it in an argument would see: what its text exports, and the environment. */
static const char *branch_variable(void *context, const char *name)
{
	const struct plan_text *around = context;

	for (size_t i = 0; i < around->file->variables_len; i++) {
		if (!strcmp(around->file->variables[i].name, name))
			return around->file->variables[i].value;
	}
	return around->source->variable ? around->source->variable(around->source->context, name) :
		NULL;
}

static struct pipeline_place argument_place(const struct plan_stage *s, const char *argument)
{
	for (size_t i = 1; s->text && i < s->text->arguments_len; i++) {
		if (!strcmp(s->text->arguments[i].text, argument))
			return s->text->arguments[i].place;
	}
	return s->place;
}

/* The variables of the text around it, and its own. */
static void add_variables(struct draw *d, const struct pipeline *around, struct pipeline *file)
{
	size_t n = around->variables_len + file->variables_len;
	struct pipeline_variable *all = ARENA_ARRAY(d->plan->arena, struct pipeline_variable, n);

	for (size_t i = 0; i < n; i++)
		all[i] = i < around->variables_len ? around->variables[i] :
			file->variables[i - around->variables_len];
	file->variables = all;
	file->variables_len = n;
}

static int add_branch(struct draw *d, size_t stage, unsigned branch)
{
	struct arena *a = d->plan->arena;
	struct plan_stage *s = &d->plan->stages[stage];
	const char *argument = s->d.about.branches[branch];
	struct pipeline_place place = argument_place(s, argument);
	struct pipeline_source *source = ARENA_NEW(a, struct pipeline_source);
	struct plan_text *in = ARENA_NEW(a, struct plan_text);
	struct pipeline *file = ARENA_NEW(a, struct pipeline);
	struct plan_text *around = ARENA_NEW(a, struct plan_text);
	int last;

	*around = *s->in;
	*source = (struct pipeline_source){.text = argument, .len = strlen(argument),
		.name = arena_printf(a, "%s:%u:%u: pipeline %u", around->source->name, place.line,
			place.column, branch + 1),
		.reads_stage = true, .variable = branch_variable, .context = around};
	if (pipeline_parse(source, a, file, d->e) < 0)
		return -1;
	add_variables(d, around->file, file);
	*in = (struct plan_text){source, file};
	last = add_pipeline(d, in, file,
		(struct plan_input){.stage = (int)stage, .output = branch + 1});
	if (last < 0)
		return -1;
	d->plan->stages[last].ends_branch = true;
	return 0;
}

static int check_branch_end(struct draw *d, size_t stage)
{
	const struct plan_stage *s = &d->plan->stages[stage];

	if (s->ends_branch && s->d.outputs)
		return pipeline_error(s->in->source, s->place, "put ssink behind: ... | ssink FILE",
			d->e, "the pipeline ends with %s: its rows go nowhere", s->argv[0]);
	if (s->ends_branch && s->d.about.standard_output)
		return pipeline_error(s->in->source, s->place, "name one: ssink FILE", d->e,
			"%s has no OUTPUT: standard output belongs to the pipeline around this one",
			s->argv[0]);
	return 0;
}

static int connect_inputs(struct draw *d, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++) {
		if (check_place_in_pipe(d, i) < 0 || check_branch_end(d, i) < 0)
			return -1;
		for (unsigned b = 0; b < d->plan->stages[i].d.about.branches_len; b++) {
			if (add_branch(d, i, b) < 0)
				return -1;
		}
		for (unsigned in = 1; in < d->plan->stages[i].d.inputs; in++) {
			if (d->plan->stages[i].d.about.inputs[in] &&
				d->plan->stages[i].inputs[in].stage < 0 && add_input(d, i, in) < 0)
				return -1;
		}
	}
	return 0;
}

/* ---- names ---- */

static bool is_plain(const char *name)
{
	for (const char *c = name; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr("_-.", *c))
			return false;
	}
	return *name && *name != '.' && strlen(name) < 64;
}

/* The type without what the path or a prefix makes of it: a stage keeps its name when it moves. */
static const char *numbered_name(struct draw *d, size_t stage)
{
	const char *type = d->plan->stages[stage].d.type;
	unsigned number = 1;

	for (size_t i = 0; i < stage; i++) {
		const struct plan_stage *s = &d->plan->stages[i];

		number += !s->d.about.name && !strcmp(s->d.type, type);
	}
	return number == 1 ? type : arena_printf(d->plan->arena, "%s%u", type, number);
}

static int name_stages(struct draw *d, size_t first)
{
	for (size_t i = first; i < d->plan->stages_len; i++) {
		struct plan_stage *s = &d->plan->stages[i];

		if (!is_plain(s->d.type))
			return pipeline_error(s->in->source, s->place,
				"a type has letters, digits, _, - and .; stages are named by it", d->e,
				"%s says that its type is '%s'", s->argv[0], s->d.type);

		if (s->d.about.name && !is_plain(s->d.about.name))
			return pipeline_error(s->in->source, s->place,
				"a name has letters, digits, _, - and .; it stands in file names", d->e,
				"--name '%s' can't be a stage's name", s->d.about.name);
		if (!s->name)
			s->name = s->d.about.name ? s->d.about.name : numbered_name(d, i);
		for (size_t k = 0; k < i; k++) {
			if (!strcmp(d->plan->stages[k].name, s->name))
				return pipeline_error(s->in->source, s->place,
					"its state is found by its name: --name another", d->e,
					"two stages are named '%s'", s->name);
		}
	}
	return 0;
}

/* ---- around foreign stages ---- */

static uint32_t subtasks_of(const struct draw *d, int stage)
{
	return d->plan->stages[stage].d.about.spread == STAGE_SINGLE ? 1 : d->parallelism;
}

/* Whether a subtask of `to` has anything but one subtask of `from` in front. */
static bool meets_several(const struct draw *d, int from, int to)
{
	uint32_t n = subtasks_of(d, to);

	return subtasks_of(d, from) != n || (n > 1 && d->plan->stages[to].d.about.spread == STAGE_KEYED);
}

/* Whether rows of a stage's first output go to several subtasks. */
static bool deals_out(const struct draw *d, int stage)
{
	for (size_t s = 0; s < d->plan->stages_len; s++) {
		for (unsigned i = 0; i < DESCRIPTION_INPUTS_MAX; i++) {
			const struct plan_input *in = &d->plan->stages[s].inputs[i];

			if (in->stage == stage && in->output == 0)
				return subtasks_of(d, (int)s) > 1 && meets_several(d, stage, (int)s);
		}
	}
	return false;
}

/* An smap that hands all rows on, between two stages. */
static int add_relay(struct draw *d, size_t foreign, const char *what)
{
	static const char *const words[] = {"smap", "*"};

	return add_implied(d, arena_printf(d->plan->arena, "%s-%s", d->plan->stages[foreign].name, what),
		words, 2, foreign);
}

/* In front it deals the rows out as the stage says they have to be: those then go one to one. */
static int relay_input(struct draw *d, size_t stage, unsigned input)
{
	struct plan_input front = d->plan->stages[stage].inputs[input];
	int relay;

	if (front.stage < 0 || !meets_several(d, front.stage, (int)stage))
		return 0;
	relay = add_relay(d, stage, input ? arena_printf(d->plan->arena, "in%u", input + 1) : "in");
	if (relay < 0)
		return -1;
	d->plan->stages[relay].inputs[0] = front;
	d->plan->stages[stage].inputs[input] = (struct plan_input){.stage = relay};
	return 0;
}

static int relay_output(struct draw *d, size_t stage)
{
	int relay = add_relay(d, stage, "out");

	if (relay < 0)
		return -1;
	for (size_t s = 0; s < d->plan->stages_len; s++) {
		for (unsigned i = 0; i < DESCRIPTION_INPUTS_MAX; i++) {
			struct plan_input *in = &d->plan->stages[s].inputs[i];

			if (in->stage == (int)stage && in->output == 0)
				in->stage = relay;
		}
	}
	d->plan->stages[relay].inputs[0] = (struct plan_input){.stage = (int)stage};
	return 0;
}

/* What the relays say of themselves is what their stage said. */
static void spread_relays(struct draw *d, size_t stage, size_t first)
{
	struct plan_stage *s = &d->plan->stages[stage];

	for (size_t r = first; r < d->plan->stages_len; r++) {
		struct stage_description *about = &d->plan->stages[r].d.about;
		bool behind = d->plan->stages[r].inputs[0].stage == (int)stage;

		if (behind)
			about->spread = s->d.about.spread == STAGE_SINGLE ? STAGE_SINGLE : STAGE_ANY;
		for (unsigned i = 0; i < s->d.inputs; i++) {
			if (s->inputs[i].stage != (int)r)
				continue;
			about->spread = s->d.about.spread;
			about->keys_len[0] = s->d.about.keys_len[i];
			memcpy(about->keys[0], s->d.about.keys[i], sizeof about->keys[0]);
		}
	}
	if (s->d.about.spread == STAGE_KEYED && s->d.inputs)
		s->d.about.spread = STAGE_ANY;
}

static int add_relays(struct draw *d)
{
	size_t n = d->plan->stages_len;

	for (size_t i = 0; i < n && d->parallelism > 1; i++) {
		size_t first = d->plan->stages_len;

		if (!d->plan->stages[i].foreign)
			continue;
		for (unsigned in = 0; in < d->plan->stages[i].d.inputs; in++) {
			if (relay_input(d, i, in) < 0)
				return -1;
		}
		if ((deals_out(d, (int)i) && relay_output(d, i) < 0) || describe(d, first) < 0)
			return -1;
		spread_relays(d, i, first);
	}
	return 0;
}

/* ---- what follows from all of it ---- */

static bool is_bounded(const struct plan *p, int stage)
{
	const struct plan_stage *s = &p->stages[stage];
	bool bounded = s->d.inputs || s->d.bounded;

	for (unsigned i = 0; i < s->d.inputs; i++)
		bounded &= s->inputs[i].stage < 0 || is_bounded(p, s->inputs[i].stage);
	return bounded;
}

/* "./out/" is "out". */
static bool is_same_place(const char *a, const char *b)
{
	size_t a_len, b_len;

	while (!strncmp(a, "./", 2))
		a += 2;
	while (!strncmp(b, "./", 2))
		b += 2;
	a_len = strlen(a);
	b_len = strlen(b);
	while (a_len > 1 && a[a_len - 1] == '/')
		a_len--;
	while (b_len > 1 && b[b_len - 1] == '/')
		b_len--;
	return a_len == b_len && !memcmp(a, b, a_len);
}

/* Each would take the other's hidden files for its own. */
static int check_writes(struct draw *d, size_t stage)
{
	const struct plan_stage *s = &d->plan->stages[stage];

	for (size_t i = 0; s->d.about.writes && i < stage; i++) {
		const struct plan_stage *other = &d->plan->stages[i];

		if (other->d.about.writes && is_same_place(s->d.about.writes, other->d.about.writes))
			return pipeline_error(s->in->source, s->place, "give each its own", d->e,
				"%s and %s both write to %s", other->name, s->name,
				s->d.about.writes);
	}
	return 0;
}

static int finish(struct draw *d)
{
	struct plan *p = d->plan;

	p->bounded = true;
	for (size_t i = 0; i < p->stages_len; i++) {
		struct plan_stage *s = &p->stages[i];

		s->subtasks = s->d.about.spread == STAGE_SINGLE ? 1 : d->parallelism;
		s->bounded = is_bounded(p, (int)i);
		p->bounded &= s->bounded;
		if (check_writes(d, i) < 0)
			return -1;
		p->standard_output |= s->d.about.standard_output;
		if (s->d.about.whole_file && !s->bounded)
			return pipeline_error(s->in->source, s->place,
				"part files appear with each checkpoint: name a directory, out/",
				d->e, "%s waits for the end of an input that has none: %s", s->name,
				s->d.about.guarantee ? s->d.about.guarantee : "one file");
	}
	return 0;
}

static int check_last(struct draw *d, int last)
{
	const struct plan_stage *s = &d->plan->stages[last];

	if (!s->d.outputs)
		return 0;
	return pipeline_error(s->in->source, s->place, "put ssink behind: ... | ssink out/", d->e,
		"the pipeline ends with %s: its rows go nowhere", s->argv[0]);
}

int plan_draw(const struct pipeline *text, const struct pipeline_source *source,
	const struct plan_programs *programs, uint32_t parallelism, struct arena *a,
	struct plan *out, struct error *e)
{
	struct draw d = {programs, parallelism, out, e};
	struct plan_text *in = ARENA_NEW(a, struct plan_text);
	int last;
	size_t first = 0, text_stages;

	MUST(parallelism >= 1 && parallelism <= PLAN_SUBTASKS_MAX);
	*out = (struct plan){.arena = a};
	*in = (struct plan_text){source, text};
	last = add_pipeline(&d, in, text, (struct plan_input){.stage = -1});
	if (last < 0)
		return -1;
	/* What stages read is only known from them, and is made of stages in turn. */
	while (first < out->stages_len) {
		size_t end = out->stages_len;

		if (describe(&d, first) < 0 || connect_inputs(&d, first, end) < 0)
			return -1;
		first = end;
	}
	if (check_last(&d, last) < 0 || name_stages(&d, 0) < 0)
		return -1;
	if (add_relays(&d) < 0)
		return -1;
	text_stages = out->stages_len;
	for (size_t i = 0; i < text_stages; i++) {
		for (unsigned o = 1; o < out->stages[i].d.outputs; o++) {
			if (o <= DESCRIPTION_SIDES_MAX && add_side(&d, i, o) < 0)
				return -1;
		}
	}
	if (describe(&d, text_stages) < 0 || name_stages(&d, text_stages) < 0)
		return -1;
	return finish(&d);
}

void plan_clear(struct plan *p)
{
	mem_free(p->stages);
	*p = (struct plan){.stages = NULL};
}

/* ---- being asked ---- */

bool plan_is_source(const struct plan_stage *s)
{
	return !s->d.inputs;
}

bool plan_is_sink(const struct plan_stage *s)
{
	return !s->d.outputs;
}

const char *plan_keeps(const struct plan_stage *s)
{
	return s->d.about.keeps ? s->d.about.keeps : s->d.about.guarantee;
}

int plan_find(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->stages_len; i++) {
		if (!strcmp(p->stages[i].name, name))
			return (int)i;
	}
	return -1;
}

enum plan_exchange plan_exchange(const struct plan *p, size_t stage, unsigned input)
{
	const struct plan_stage *s = &p->stages[stage];
	const struct plan_stage *front = &p->stages[s->inputs[input].stage];

	if (s->subtasks == 1)
		return front->subtasks == 1 ? PLAN_FORWARD : PLAN_MERGE;
	if (s->d.about.spread == STAGE_KEYED)
		return PLAN_BY_KEY;
	return s->subtasks == front->subtasks ? PLAN_FORWARD : PLAN_ROUND_ROBIN;
}

/* ---- --plan ---- */

static void put_exchange(const struct plan *p, size_t stage, unsigned input, struct buf *out)
{
	const struct plan_stage *s = &p->stages[stage];
	const struct plan_stage *front = &p->stages[s->inputs[input].stage];

	buf_printf(out, "%s", front->name);
	if (s->inputs[input].output)
		buf_printf(out, " (%s %u)", front->d.about.branches_len ? "pipeline" : "side output",
			s->inputs[input].output);
	switch (plan_exchange(p, stage, input)) {
	case PLAN_FORWARD: break;
	case PLAN_MERGE: buf_put_text(out, ", merged"); break;
	case PLAN_ROUND_ROBIN: buf_put_text(out, ", in turn"); break;
	case PLAN_BY_KEY:
		buf_put_text(out, ", by");
		for (size_t k = 0; k < s->d.about.keys_len[input]; k++)
			buf_printf(out, "%s %s", k ? "," : "", s->d.about.keys[input][k]);
		break;
	}
}

static void put_stage(const struct plan *p, size_t stage, struct buf *out)
{
	const struct plan_stage *s = &p->stages[stage];
	bool any = false;

	buf_printf(out, "%-16s x%-3u", s->name, s->subtasks);
	for (unsigned i = 0; i < s->d.inputs; i++) {
		if (s->inputs[i].stage < 0)
			continue;
		buf_put_text(out, any ? " and " : " reads ");
		put_exchange(p, stage, i, out);
		any = true;
	}
	if (plan_is_source(s))
		buf_printf(out, " %s", s->bounded ? "bounded" : "unbounded");
	buf_put_byte(out, '\n');
	if (s->d.about.guarantee)
		buf_printf(out, "%21s %s\n", "", s->d.about.guarantee);
	if (s->d.about.keeps)
		buf_printf(out, "%21s keeps %s\n", "", s->d.about.keeps);
}

void plan_put_text(const struct plan *p, struct buf *out)
{
	for (size_t i = 0; i < p->stages_len; i++)
		put_stage(p, i, out);
}
