/* Real operators in one process under a seeded scheduler: whatever is stopped at whatever step and
 * restored, at whatever parallelism, commits what an undisturbed run commits. */
#include "tests/support/simulation.h"

#include "cmd/sjoin/join.h"
#include "cmd/smap/map.h"
#include "cmd/smatch/match.h"
#include "cmd/smerge/merge.h"
#include "cmd/speek/peek.h"
#include "cmd/ssort/ssort.h"
#include "cmd/ssource/source.h"
#include "cmd/swindow/over.h"
#include "cmd/swindow/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__ /* ten times as slow */
enum { SEEDS = 20, FEWER_SEEDS = 10, MERGED_SEEDS = 20 };
#else
enum { SEEDS = 150, FEWER_SEEDS = 50, MERGED_SEEDS = 20 };
#endif

static struct operator *made(struct operator *op, int status, struct error *e)
{
	if (status < 0)
		fail_msg("%s", e->text);
	return op;
}

static struct operator *make_map(void *context)
{
	struct error e = ERROR_INIT;
	struct operator *op = NULL;
	int status = map_operator_new(context, &op, &e);

	return made(op, status, &e);
}

static struct operator *make_window(void *context)
{
	struct error e = ERROR_INIT;
	struct operator *op = NULL;
	int status = window_operator_new(context, &op, &e);

	return made(op, status, &e);
}

static unsigned windows_made; /* in this run */

/* Every second one has memory for all of it: what others have on disk is restored to it. */
static struct operator *make_window_of_some_memory(void *context)
{
	struct window_options o = *(struct window_options *)context;

	if (windows_made++ % 2)
		o.memory_bytes = 0;
	return make_window(&o);
}

static struct operator *make_join(void *context)
{
	struct error e = ERROR_INIT;
	struct operator *op = NULL;
	int status = join_new(context, &op, &e);

	return made(op, status, &e);
}

static struct sim_source left_source = {.seed = 1, .rows = 300};
static struct sim_source right_source = {.seed = 2, .rows = 200};
static struct map_options filter = {.where = "v >= 100", .where_what = "-w",
	.list = "*, v * 2 as w", .list_what = "list", .bad = "stop"};

/* source -> map -> X (parallel, by key) -> sink */
static struct sim_plan straight(struct sim_node nodes[4], struct operator *(*make)(void *context),
	void *context)
{
	nodes[0] = (struct sim_node){.name = "source", .make = sim_source, .context = &left_source,
		.inputs = {-1, -1}, .subtasks = 1};
	nodes[1] = (struct sim_node){.name = "map", .make = make_map, .context = &filter,
		.inputs = {0, -1}, .keys = {"k"}, .subtasks = 1};
	nodes[2] = (struct sim_node){.name = "keyed", .make = make, .context = context,
		.inputs = {1, -1}, .subtasks = 2};
	nodes[3] = (struct sim_node){.name = "sink", .make = sim_sink, .inputs = {2, -1},
		.subtasks = 1};
	return (struct sim_plan){.nodes = nodes, .nodes_len = 4};
}

/* two sources, each keyed into a parallel join, then a sink */
static struct sim_plan joined(struct sim_node nodes[4], struct join_options *o)
{
	nodes[0] = (struct sim_node){.name = "left", .make = sim_source, .context = &left_source,
		.inputs = {-1, -1}, .keys = {"k"}, .subtasks = 1};
	nodes[1] = (struct sim_node){.name = "right", .make = sim_source, .context = &right_source,
		.inputs = {-1, -1}, .keys = {"k"}, .subtasks = 1};
	nodes[2] = (struct sim_node){.name = "join", .make = make_join, .context = o,
		.inputs = {0, 1}, .subtasks = 2};
	nodes[3] = (struct sim_node){.name = "sink", .make = sim_sink, .inputs = {2, -1},
		.subtasks = 1};
	return (struct sim_plan){.nodes = nodes, .nodes_len = 4};
}

static void compare(const struct sim_result *got, const struct sim_result *wanted, uint64_t seed)
{
	for (size_t i = 0; i < got->rows_len && i < wanted->rows_len; i++) {
		if (strcmp(got->rows[i], wanted->rows[i]) != 0)
			fail_msg("seed %llu: row %zu is\n%s\nnot\n%s", (unsigned long long)seed, i,
				got->rows[i], wanted->rows[i]);
	}
	if (got->rows_len != wanted->rows_len)
		fail_msg("seed %llu: %zu rows, not %zu", (unsigned long long)seed, got->rows_len,
			wanted->rows_len);
}

/* The undisturbed run, then many that are stopped and restored; $SEEDS: so many, $SEED: this
 * one. */
static void explore_seeds(struct sim_plan plan, uint64_t seeds)
{
	struct sim_result wanted, got;
	struct error e = ERROR_INIT;
	unsigned crashes = 0, restores = 0;
	const char *asked = getenv("SEEDS"), *one = getenv("SEED");
	uint64_t first = one ? strtoull(one, NULL, 10) : 1;

	if (asked || one)
		seeds = one ? first : strtoull(asked, NULL, 10);
	plan.seed = 12345;
	if (sim_run(&plan, &wanted, &e) < 0)
		fail_msg("%s", e.text);
	assert_true(wanted.rows_len > 0);
	for (uint64_t seed = first; seed <= seeds; seed++) {
		plan.seed = seed;
		plan.crashes = 4;
		plan.checkpoints = 12;
		plan.rescale = seed % 2;
		windows_made = 0;
		if (sim_run(&plan, &got, &e) < 0)
			fail_msg("seed %llu: %s", (unsigned long long)seed, e.text);
		compare(&got, &wanted, seed);
		crashes += got.crashes;
		restores += got.restores;
		sim_result_clear(&got);
	}
	sim_result_clear(&wanted);
	assert_true(one || (crashes > seeds / 2 && restores > seeds / 4));
}

static void explore(struct sim_plan plan)
{
	explore_seeds(plan, SEEDS);
}

static void window_case_of(struct window_options o, struct sim_source *source)
{
	struct sim_node nodes[4];
	struct sim_plan plan = straight(
		nodes, o.memory_bytes ? make_window_of_some_memory : make_window, &o);

	o.keys = "k";
	o.list = "count(*) as n, sum(v) as total, max(w) as top, min(id) as low, "
		 "count(distinct v) as d, stddev(v) as dev, median(id) as mid, "
		 "approx_quantile(id, 0.9) as p90, approx_count_distinct(id) as near, "
		 "string_agg(id::string, ' ') as ids, array_agg(w) filter (where v > 0) as ws";
	nodes[0].context = source;
	explore(plan);
}

static void window_case(struct window_options o)
{
	window_case_of(o, &left_source);
}

static void tumbling_windows(void **state)
{
	window_case((struct window_options){.shape = WINDOW_TUMBLE, .size_us = 5000000,
		.step_us = 5000000});
}

static struct operator *make_merged(void *context)
{
	struct error e = ERROR_INIT;
	struct operator *op = NULL;
	int status = source_new_live(context, &op, &e);

	return made(op, status, &e);
}

/* Rows of two files, each in order, of times that overlap. */
static void write_halves(char paths[2][64])
{
	for (int f = 0; f < 2; f++) {
		FILE *out = fopen(paths[f], "w");

		assert_non_null(out);
		fprintf(out, "id,k,v,at\n");
		for (int i = 0; i < 40000 * (f + 1); i++)
			fprintf(out, "%d,%d,%d,%d\n", i * 2 + f, i % 17, i * 7919 % 1000,
				i * (f ? 5 : 10));
		fclose(out);
	}
}

static void merged_files_in_windows(void **state)
{
	char directory[] = "/tmp/simulation_test.XXXXXX", paths[2][64];
	const char *inputs[] = {paths[0], paths[1]};
	struct source_options source = {.records = {.inputs = inputs, .inputs_len = 2,
		.schema_text = "id int, k int, v int, at timestamp(ms)"}, .time_column = "at",
		.has_delay = true, .merges = true, .limit = -1, .bad = "stop"};
	struct window_options o = {.shape = WINDOW_TUMBLE, .size_us = 5000000,
		.step_us = 5000000, .keys = "k",
		.list = "count(*) as n, sum(v) as total, min(id) as low"};
	struct sim_node nodes[4];

	assert_non_null(mkdtemp(directory));
	for (int f = 0; f < 2; f++)
		snprintf(paths[f], sizeof paths[f], "%s/%d.csv", directory, f);
	write_halves(paths);
	straight(nodes, make_window, &o);
	nodes[0].make = make_merged;
	nodes[0].context = &source;
	explore_seeds((struct sim_plan){.nodes = nodes, .nodes_len = 4}, MERGED_SEEDS);
	unlink(paths[0]);
	unlink(paths[1]);
	rmdir(directory);
}

static void hopping_windows(void **state)
{
	window_case((struct window_options){.shape = WINDOW_HOP, .size_us = 6000000,
		.step_us = 2000000});
}

static void cumulating_windows(void **state)
{
	window_case((struct window_options){.shape = WINDOW_CUMULATE, .size_us = 8000000,
		.step_us = 2000000});
}

static void sessions(void **state)
{
	window_case((struct window_options){.shape = WINDOW_SESSION, .size_us = 2500000,
		.step_us = 2500000});
}

static void groups_without_a_window(void **state)
{
	window_case((struct window_options){.shape = WINDOW_NONE});
}

static void windows_with_lateness(void **state)
{
	window_case((struct window_options){.shape = WINDOW_TUMBLE, .size_us = 5000000,
		.step_us = 5000000, .lateness_us = 3000000});
}

static struct operator *make_over(void *context)
{
	struct error e = ERROR_INIT;
	struct operator *op = NULL;
	int status = over_operator_new(context, &op, &e);

	return made(op, status, &e);
}

static void over_case(struct over_options o, bool looks_ahead)
{
	static struct map_options untimed = {.where = "v >= 100", .where_what = "-w",
		.list = "id, k, v, v * 2 as w", .list_what = "list", .bad = "stop"};
	struct sim_node nodes[4];
	struct sim_plan plan = straight(nodes, make_over, &o);

	o.window.keys = "k";
	o.window.list = looks_ahead
		? "count(*) as n, sum(v) as total, v - lead(v) as step, lead(id, 3, -1) as far"
		: "count(*) as n, sum(v) as total, max(w) as top, count(distinct v) as d, "
		  "first(id) as f, string_agg(id::string, ' ') as ids, sum(v) filter (where v > 500) "
		  "as s, row_number() as nth, rank() as r, dense_rank() as dr, v - lag(v) as step, "
		  "lag(id, 3, -1) as far";
	explore_seeds(plan, FEWER_SEEDS);
	if (o.frame == OVER_TIME || o.window.shape != WINDOW_NONE)
		return;
	nodes[1].context = &untimed; /* by arrival */
	explore_seeds(plan, FEWER_SEEDS);
}

static void rows_over_those_around_them(void **state)
{
	static const struct window_options hop = {
		.shape = WINDOW_HOP, .size_us = 6000000, .step_us = 2000000};
	static const struct window_options cumulate = {
		.shape = WINDOW_CUMULATE, .size_us = 8000000, .step_us = 2000000};
	static const struct over_options frames[] = {
		{.frame = OVER_ALL},
		{.frame = OVER_ROWS, .rows = 1},
		{.frame = OVER_ROWS, .rows = 5},
		{.frame = OVER_TIME, .span_us = 2000000},
		{.frame = OVER_GROUP},
		{.frame = OVER_GROUP, .window = hop},
		{.frame = OVER_GROUP, .window = cumulate},
	};

	for (size_t i = 0; i < 2 * sizeof frames / sizeof *frames; i++) {
		struct over_options o = frames[i / 2];

		o.exclude_current = i % 2;
		over_case(o, false);
		over_case(o, true);
	}
}

static struct operator *make_match(void *context)
{
	struct error e = ERROR_INIT;
	struct operator *op = NULL;
	int status = match_operator_new(context, &op, &e);

	return made(op, status, &e);
}

static void match_case(struct match_options o)
{
	static struct map_options untimed = {.where = "v >= 100", .where_what = "-w",
		.list = "id, k, v, v * 2 as w", .list_what = "list", .bad = "stop"};
	struct sim_node nodes[4];
	struct sim_plan plan = straight(nodes, make_match, &o);

	o.keys = o.keys_from = "k";
	o.pattern_from = "--pattern";
	o.define_from = "--define";
	o.list_from = "list";
	o.partials_max = PARTIALS_DEFAULT;
	explore_seeds(plan, FEWER_SEEDS);
	if (o.has_within)
		return;
	nodes[1].context = &untimed; /* by arrival */
	explore_seeds(plan, FEWER_SEEDS);
}

static void patterns_of_rows(void **state)
{
	const struct match_options ups = {.pattern = "DOWN UP+", .define = "UP: v > prev(v)",
		.list = "first(id) as f, count(*) as n, last(UP.v) as top, prev(first(v)) as b, "
			"match_number() as m"};
	const struct match_options inside = {.pattern = "LOW (UP | ANY)*? HIGH",
		.define = "LOW: v < 300; UP: v > LOW.v; HIGH: v > 2 * first(v) and v > avg(v) + 100",
		.list = "first(id) as f, count(UP.*) as n, HIGH.v as h, sum(v) as s",
		.has_within = true, .within_us = 4000000};
	const struct match_options peaks = {.pattern = "UP* PEAK",
		.define = "UP: next(v) > v; PEAK: v > next(v, 2) or v > next(last(UP.v), 2)",
		.list = "first(id) as f, count(*) as n, last(v) as top, match_number() as m"};
	struct match_options o;

	match_case(ups);
	match_case(peaks);
	o = peaks;
	o.has_within = true;
	o.within_us = 4000000;
	match_case(o);
	o = ups;
	o.after = AFTER_NEXT_ROW;
	match_case(o);
	match_case(inside);
	o = inside;
	o.all_rows = true;
	o.list = "classifier() as c, count(*) as n, match_number() as m";
	match_case(o);
}

static void windows_of_so_many_rows(void **state)
{
	window_case((struct window_options){.shape = WINDOW_COUNT, .size_us = 7, .step_us = 7});
	window_case((struct window_options){.shape = WINDOW_COUNT, .size_us = 7, .step_us = 3,
		.partial = true});
	window_case((struct window_options){.shape = WINDOW_COUNT, .size_us = 5, .step_us = 1});
}

static const struct window_options shapes[] = {
	{.shape = WINDOW_NONE},
	{.shape = WINDOW_TUMBLE, .size_us = 5000000, .step_us = 5000000, .lateness_us = 2000000},
	{.shape = WINDOW_HOP, .size_us = 6000000, .step_us = 2000000},
	{.shape = WINDOW_CUMULATE, .size_us = 8000000, .step_us = 2000000},
	{.shape = WINDOW_SESSION, .size_us = 2500000, .step_us = 2500000},
};

static void windows_that_tell_every_change(void **state)
{
	struct sim_source ticking = {.seed = 1, .rows = 300, .ticks = true};

	for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
		struct window_options o = shapes[i / 2];

		o.emit = i % 2 ? EMIT_EVERY : EMIT_CHANGES;
		o.emit_us = 2000000;
		window_case_of(o, &ticking);
	}
}

static void groups_on_disk(void **state)
{
	/* Sessions need to know that none of them closes before the end. */
	struct sim_source at_rest = {.seed = 1, .rows = 300, .bounded_watermark = true};

	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		struct window_options o = shapes[i];

		o.memory_bytes = 24000;
		o.temporary = "/tmp";
		window_case_of(o, o.shape == WINDOW_SESSION ? &at_rest : &left_source);
	}
}

static void a_map_alone(void **state)
{
	struct sim_node nodes[4];
	struct map_options again = {.list = "id, k, w + 1 as x", .list_what = "list", .bad = "stop"};

	explore(straight(nodes, make_map, &again));
}

static void join_case(struct join_options o)
{
	struct sim_node nodes[4];

	o.keys = "k";
	o.prefix = "right_";
	explore(joined(nodes, &o));
}

static const enum join_kind kinds[] = {JOIN_INNER, JOIN_LEFT, JOIN_RIGHT, JOIN_FULL, JOIN_SEMI,
	JOIN_ANTI};

static void joins_by_equal_keys(void **state)
{
	for (size_t i = 0; i < 6; i++)
		join_case((struct join_options){.by = JOIN_BY_KEY, .kind = kinds[i],
			.where = "v > 500", .where_what = "-w"});
}

static struct sim_source endless_source = {.seed = 2, .rows = 120, .unbounded = true};
static struct sim_source left_changes = {.seed = 3, .rows = 250, .changelog = true};
static struct sim_source ticking_changes = {.seed = 3, .rows = 250, .changelog = true,
	.ticks = true};
static struct sim_source right_changes = {.seed = 4, .rows = 150, .changelog = true};
static struct sim_source endless_changes = {.seed = 4, .rows = 150, .changelog = true,
	.unbounded = true};

/* Keyed, of these sources. */
static void join_of(struct join_options o, struct sim_source *left, struct sim_source *right)
{
	struct sim_node nodes[4];
	struct sim_plan plan;

	o.keys = "k";
	o.prefix = "right_";
	o.by = JOIN_BY_KEY;
	plan = joined(nodes, &o);
	nodes[0].context = left;
	nodes[1].context = right;
	explore_seeds(plan, FEWER_SEEDS);
}

static void joins_of_streams(void **state)
{
	static struct sim_source few = {.seed = 1, .rows = 150};

	for (size_t i = 0; i < 6; i++)
		join_of((struct join_options){.kind = kinds[i], .where = i % 2 ? "v > 500" : NULL,
			.where_what = "-w", .slack_rows = 5}, &few, &endless_source);
}

static void groups_of_a_changelog(void **state)
{
	struct sim_node nodes[4];
	struct window_options o = {.shape = WINDOW_NONE, .keys = "k", .temporary = "/tmp",
		.list = "count(*) as n, sum(v) as total, max(v) as top, count(distinct v) as d"};

	for (int i = 0; i < 4; i++) {
		struct sim_plan plan = straight(
			nodes, i == 2 ? make_window_of_some_memory : make_window, &o);

		nodes[0].context = i == 3 ? &ticking_changes : &left_changes;
		o.emit = i == 1 ? EMIT_CHANGES : i == 3 ? EMIT_EVERY : EMIT_CLOSE;
		o.emit_us = 2000000;
		o.memory_bytes = i == 2 ? 24000 : 0;
		explore(plan);
	}
}

static void joins_of_changelogs(void **state)
{
	for (size_t i = 0; i < 6; i++) {
		struct join_options o = {.kind = kinds[i],
			.where = i % 2 && i < 5 ? NULL : "v > right_v", .where_what = "-w", .slack_rows = 5};

		join_of(o, &left_changes, &endless_changes);
		join_of(o, &left_changes, &right_changes);
	}
}

static void joins_on_disk(void **state)
{
	for (size_t i = 0; i < 6; i++) {
		struct join_options o = {.kind = kinds[i], .where = i % 2 ? "v > 500" : NULL,
			.where_what = "-w", .memory_bytes = 1, .temporary = "/tmp",
			.spill_rows = 7};

		join_of(o, &left_source, &right_source);
		o.spill_rows = 1000;
		join_of(o, &left_changes, &right_changes);
	}
}

static struct operator *make_sort(void *context)
{
	struct error e = ERROR_INIT;
	struct operator *op = NULL;
	int status = sort_operator_new(context, &op, &e);

	return made(op, status, &e);
}

/* source -> ssort, by key if it has one -> sink; the numbers tell whether the order was right. */
static void sort_case(struct sort_options o, bool unbounded, bool changelog)
{
	struct sim_source source = {.seed = 3, .rows = 300, .unbounded = unbounded,
		.changelog = changelog};
	struct sim_node nodes[3] = {
		{.name = "source", .make = sim_source, .context = &source, .inputs = {-1, -1},
			.keys = {o.keys}, .subtasks = 1},
		{.name = "sort", .make = make_sort, .context = &o, .inputs = {0, -1},
			.subtasks = o.keys ? 2 : 1},
		{.name = "sink", .make = sim_sink, .inputs = {1, -1}, .subtasks = 1},
	};

	o.order_what = "order";
	o.keys_what = "-k";
	o.temporary = "/tmp";
	explore_seeds((struct sim_plan){.nodes = nodes, .nodes_len = 3}, FEWER_SEEDS);
}

static void everything_sorted(void **state)
{
	sort_case((struct sort_options){.order = "v, id", .number = "n"}, false, false);
	/* Every batch is a run of its own: runs, merged ones too, are in the snapshots. */
	sort_case((struct sort_options){.order = "v, id", .number = "n", .sort_bytes = 1}, false,
		false);
	sort_case((struct sort_options){.order = "v desc, id", .number = "n"}, false, true);
}

static void the_first_rows(void **state)
{
	struct sort_options o = {.order = "v desc, id", .limit = 3, .number = "n"};

	for (int i = 0; i < 8; i++) {
		o.keys = i & 1 ? "k" : NULL;
		sort_case(o, i & 2, i & 4);
	}
	o.ties = true;
	o.order = "v % 10";
	sort_case(o, true, false);
	sort_case((struct sort_options){.order = "at desc, id", .limit = 1, .keys = "k"}, true, false);
	sort_case((struct sort_options){.limit = 4, .keys = "k", .number = "n"}, true, false);
	sort_case((struct sort_options){.order = "v", .limit = 2, .keys = "at"}, true, false);
}

static void rows_by_time(void **state)
{
	sort_case((struct sort_options){.by_time = true}, true, false);
}

static void joins_by_window(void **state)
{
	for (size_t i = 0; i < 6; i++)
		join_case((struct join_options){.by = JOIN_BY_WINDOW, .kind = kinds[i],
			.size_us = 4000000, .step_us = 4000000});
}

static void joins_by_interval(void **state)
{
	for (size_t i = 0; i < 6; i++)
		join_case((struct join_options){.by = JOIN_BY_INTERVAL, .kind = kinds[i],
			.low_us = -2000000, .high_us = 1000000});
}

static void joins_with_the_latest(void **state)
{
	join_case((struct join_options){.by = JOIN_BY_LATEST, .kind = JOIN_LEFT});
	join_case((struct join_options){.by = JOIN_BY_LATEST, .kind = JOIN_INNER,
		.has_tolerance = true, .tolerance_us = 3000000});
}

static struct operator *make_merge(void *context)
{
	struct error e = ERROR_INIT;
	struct operator *op = NULL;
	int status = merge_operator_new(context, &op, &e);

	return made(op, status, &e);
}

static struct operator *make_peek(void *context)
{
	struct error e = ERROR_INIT;
	struct operator *op = NULL;
	int status = peek_operator_new(context, &op, &e);

	return made(op, status, &e);
}

static void tee_free(struct operator *op)
{
	free(op);
}

/* As stee's: what passes is the runtime's. */
static struct operator *make_tee(void *context)
{
	static const struct operator_ops ops = {.type = "stee", .free = tee_free};
	struct operator *op = calloc(1, sizeof *op);

	*op = (struct operator){.ops = &ops, .inputs = 1, .outputs = 2, .passes = true};
	return op;
}

static void put_nothing(void *context, const void *text, size_t len)
{
}

/* source -> peek -> tee -> two maps, of other columns and types -> merge -> window by key -> sink */
static void teed_and_merged(uint32_t subtasks)
{
	struct map_options high = {.where = "v >= 500", .where_what = "-w", .list = "id, k, v, at",
		.list_what = "list", .bad = "stop"};
	struct map_options all = {.list = "at, v * 0.5 as v, k, id", .list_what = "list",
		.bad = "stop"};
	struct peek_options peek = {.rows = 5, .plot = "v", .put = put_nothing};
	struct merge_options merge = {.inputs = 2};
	struct window_options window = {.shape = WINDOW_TUMBLE, .size_us = 5000000,
		.step_us = 5000000, .keys = "k", .list = "count(*) as n, sum(v) as s, max(id) as m"};
	struct sim_node nodes[] = {
		{.name = "source", .make = sim_source, .context = &left_source, .inputs = {-1, -1},
			.subtasks = 1},
		{.name = "peek", .make = make_peek, .context = &peek, .inputs = {0, -1}, .subtasks = 1},
		{.name = "tee", .make = make_tee, .inputs = {1, -1}, .subtasks = subtasks},
		{.name = "high", .make = make_map, .context = &high, .inputs = {2, -1},
			.subtasks = subtasks},
		{.name = "all", .make = make_map, .context = &all, .inputs = {2, -1}, .outputs = {1, 0},
			.subtasks = subtasks},
		{.name = "merge", .make = make_merge, .context = &merge, .inputs = {3, 4},
			.keys = {"k"}, .subtasks = subtasks},
		{.name = "window", .make = make_window, .context = &window, .inputs = {5, -1},
			.subtasks = subtasks},
		{.name = "sink", .make = sim_sink, .inputs = {6, -1}, .subtasks = 1},
	};

	explore((struct sim_plan){.nodes = nodes, .nodes_len = sizeof nodes / sizeof *nodes});
}

static void a_stream_teed_and_merged_again(void **state)
{
	teed_and_merged(1);
	teed_and_merged(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_teed_and_merged_again),
		cmocka_unit_test(a_map_alone),
		cmocka_unit_test(tumbling_windows),
		cmocka_unit_test(merged_files_in_windows),
		cmocka_unit_test(hopping_windows),
		cmocka_unit_test(cumulating_windows),
		cmocka_unit_test(sessions),
		cmocka_unit_test(groups_without_a_window),
		cmocka_unit_test(windows_with_lateness),
		cmocka_unit_test(windows_that_tell_every_change),
		cmocka_unit_test(groups_on_disk),
		cmocka_unit_test(rows_over_those_around_them),
		cmocka_unit_test(patterns_of_rows),
		cmocka_unit_test(windows_of_so_many_rows),
		cmocka_unit_test(groups_of_a_changelog),
		cmocka_unit_test(joins_by_equal_keys),
		cmocka_unit_test(joins_of_streams),
		cmocka_unit_test(joins_of_changelogs),
		cmocka_unit_test(joins_on_disk),
		cmocka_unit_test(everything_sorted),
		cmocka_unit_test(the_first_rows),
		cmocka_unit_test(rows_by_time),
		cmocka_unit_test(joins_by_window),
		cmocka_unit_test(joins_by_interval),
		cmocka_unit_test(joins_with_the_latest),
	};

	if (getenv("ONLY")) /* a test's name, with * */
		cmocka_set_test_filter(getenv("ONLY"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
