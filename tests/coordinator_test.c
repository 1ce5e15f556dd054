/* The coordinator under a simulated job: tasks, channels, lines and a disk in memory, a scheduler that
 * draws every step from a seed, crashes of tasks and of the supervisor at any of them, checkpoints
 * that are declined, stops, drains, and starts from what the disk has then.  Ten thousands of
 * schedules; of each is checked that
 *
 *   - nothing is committed whose manifest isn't on disk, and no number is used twice,
 *   - a start finds every state file that the newest manifest names,
 *   - at the end, and at every stop, the committed rows are exactly those the sources had sent: none
 *     twice, none missing. */
#include "cmd/runnel/coordinator.h"

#include "libcore/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
	TASKS_MAX = 8, CHANNELS_MAX = 16, ROWS_MAX = 48, QUEUE_MAX = 512, IDS_MAX = 4096,
	ROW_IDS = TASKS_MAX * ROWS_MAX, STEPS_MAX = 200000,
};

/* ---- a queue of small numbers ---- */

enum item_kind { ROW, BARRIER, END, ORDER_CHECKPOINT, ORDER_COMMIT, ORDER_DRAIN, ORDER_STOP,
	SAY_READY, SAY_ACK, SAY_DECLINED, SAY_COMMITTED, SAY_FINISHED, SAY_GONE };

struct item {
	enum item_kind kind;
	uint64_t number;
	enum barrier_kind barrier;
	bool handle[IDS_MAX / 16]; /* of a sink: which of the last epochs; by number % size */
};

struct queue {
	struct item *items;
	size_t first, len;
};

enum { HANDLES = IDS_MAX / 16 };

static void push(struct queue *q, const struct item *x)
{
	if (!q->items)
		q->items = mem_zero(QUEUE_MAX * sizeof *q->items);
	assert_true(q->len < QUEUE_MAX);
	q->items[(q->first + q->len++) % QUEUE_MAX] = *x;
}

static struct item pop(struct queue *q)
{
	struct item x = q->items[q->first];

	q->first = (q->first + 1) % QUEUE_MAX;
	q->len--;
	return x;
}

/* ---- the job ---- */

struct shape {
	const char *name;
	size_t tasks_len, channels_len;
	struct coordinator_task tasks[TASKS_MAX];
	struct { size_t from, to; } channels[CHANNELS_MAX];
};

static const struct shape shapes[] = {
	{"a straight line", 3, 2,
		{{.stage = "source", .type = "s", .subtasks = 1, .source = true},
			{.stage = "map", .type = "m", .subtasks = 1},
			{.stage = "sink", .type = "k", .subtasks = 1, .sink = true}},
		{{0, 1}, {1, 2}}},
	{"an exchange", 5, 6,
		{{.stage = "source", .type = "s", .subtask = 0, .subtasks = 2, .source = true},
			{.stage = "source", .type = "s", .subtask = 1, .subtasks = 2, .source = true},
			{.stage = "window", .type = "w", .subtask = 0, .subtasks = 2},
			{.stage = "window", .type = "w", .subtask = 1, .subtasks = 2},
			{.stage = "sink", .type = "k", .subtasks = 1, .sink = true}},
		{{0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 4}, {3, 4}}},
	{"a join, a side output", 6, 5,
		{{.stage = "left", .type = "s", .subtasks = 1, .source = true},
			{.stage = "right", .type = "s", .subtasks = 1, .source = true},
			{.stage = "map", .type = "m", .subtasks = 1},
			{.stage = "join", .type = "j", .subtasks = 1},
			{.stage = "sink", .type = "k", .subtasks = 1, .sink = true},
			{.stage = "side", .type = "k", .subtasks = 1, .sink = true}},
		{{0, 2}, {2, 3}, {1, 3}, {3, 4}, {2, 5}}},
	{"sinks by themselves", 4, 2,
		{{.stage = "a", .type = "s", .subtasks = 1, .source = true},
			{.stage = "b", .type = "s", .subtasks = 1, .source = true},
			{.stage = "ka", .type = "k", .subtasks = 1, .sink = true},
			{.stage = "kb", .type = "k", .subtasks = 1, .sink = true}},
		{{0, 2}, {1, 3}}},
};

/* What one task's snapshot holds. */
struct state {
	bool exists;
	uint64_t position;           /* sources */
	uint64_t rows;               /* stages: how many have passed, to see that state and rows agree */
	bool ended;
};

struct task {
	bool ready, stopped, ended, finished_before;
	bool draining;
	struct state state;
	bool barrier_here[CHANNELS_MAX];
	bool channel_ended[CHANNELS_MAX];
	uint64_t aligning;
	enum barrier_kind aligning_kind;
	/* sinks */
	bool epoch[ROW_IDS];         /* rows since the last prepare */
	bool uncommitted[HANDLES];   /* epochs prepared and not committed */
	uint64_t final_id;
	struct queue line, orders;
};

struct prepared {
	bool exists;
	bool rows[ROW_IDS];
};

struct world {
	const struct shape *shape;
	uint64_t seed;
	uint64_t limit[TASKS_MAX];  /* rows of each source; some end later than others */
	bool unbounded[TASKS_MAX];

	/* the disk */
	uint64_t greatest_id;
	struct state (*snapshots)[TASKS_MAX];    /* by id % IDS_MAX */
	struct checkpoint manifest;
	bool has_manifest;
	bool manifest_exists[IDS_MAX];
	struct prepared (*prepared)[HANDLES];    /* by sink */
	uint8_t committed[ROW_IDS];

	/* the attempt */
	struct coordinator *coordinator;
	struct task *tasks;
	struct queue channels[CHANNELS_MAX];
	int64_t now_us;
	bool crash_supervisor;
	bool stopped_or_ended;
	unsigned crashes_left, declines_left, stops_left;
	unsigned attempts, checkpoints;
};

static uint64_t draw(struct world *w, uint64_t below)
{
	w->seed ^= w->seed >> 12;
	w->seed ^= w->seed << 25;
	w->seed ^= w->seed >> 27;
	return (w->seed * 0x2545f4914f6cdd1d >> 33) % below;
}

/* ---- what the coordinator wants ---- */

static int on_begin(void *context, enum barrier_kind kind, uint64_t *id, char **directory,
	struct error *e)
{
	struct world *w = context;

	if (w->declines_left && !draw(w, 20)) {
		w->declines_left--;
		return error_set(e, ERROR_IO, "no space left");
	}
	*id = ++w->greatest_id;
	*directory = mem_strdup("disk");
	memset(w->snapshots[*id % IDS_MAX], 0, sizeof *w->snapshots);
	return 0;
}

static void copy_checkpoint(const struct checkpoint *from, struct checkpoint *to)
{
	checkpoint_clear(to);
	to->id = from->id;
	to->kind = from->kind;
	memcpy(to->job, from->job, sizeof to->job);
	to->directory = mem_strdup(from->directory);
	for (size_t i = 0; i < from->tasks_len; i++) {
		const struct checkpoint_task *t = &from->tasks[i];
		struct checkpoint_task *u = checkpoint_add(to, t->stage, t->type, NULL, t->subtask,
			t->subtasks);

		u->finished = t->finished;
		u->file = t->file ? mem_strdup(t->file) : NULL;
		buf_put(&u->handle, t->handle.data, t->handle.len);
	}
}

static int on_complete(void *context, const struct checkpoint *c, struct error *e)
{
	struct world *w = context;

	if (w->declines_left && !draw(w, 20)) {
		w->declines_left--;
		return error_set(e, ERROR_IO, "no space left");
	}
	if (w->crashes_left && !draw(w, 10)) { /* before it is durable */
		w->crash_supervisor = true;
		return error_set(e, ERROR_IO, "crashed");
	}
	assert_int_equal(c->tasks_len, w->shape->tasks_len);
	assert_true(!w->has_manifest || c->id > w->manifest.id);
	copy_checkpoint(c, &w->manifest);
	w->has_manifest = true;
	w->manifest_exists[c->id % IDS_MAX] = true;
	w->checkpoints++;
	if (w->crashes_left && !draw(w, 10)) /* after: nobody hears of it */
		w->crash_supervisor = true;
	return 0;
}

static void on_done(void *context, const struct checkpoint *c)
{
	struct world *w = context;

	assert_int_equal(c->id, w->manifest.id);
}

static void on_given_up(void *context, uint64_t id, const char *why)
{
}

static void order(struct world *w, size_t task, const struct item *x)
{
	if (!w->crash_supervisor)
		push(&w->tasks[task].orders, x);
}

static void on_checkpoint(void *context, size_t task, const struct barrier *b)
{
	order(context, task, &(struct item){.kind = ORDER_CHECKPOINT, .number = b->checkpoint,
		.barrier = b->kind});
}

static void on_commit(void *context, size_t task, uint64_t epoch, const struct buf *handle)
{
	struct item x = {.kind = ORDER_COMMIT, .number = epoch};

	if (handle->len)
		memcpy(x.handle, handle->data, sizeof x.handle);
	order(context, task, &x);
}

static void on_drain(void *context, size_t task)
{
	order(context, task, &(struct item){.kind = ORDER_DRAIN});
}

static void on_stop(void *context, size_t task)
{
	order(context, task, &(struct item){.kind = ORDER_STOP});
}

/* ---- tasks ---- */

static void say(struct world *w, size_t task, enum item_kind kind, uint64_t number)
{
	push(&w->tasks[task].line, &(struct item){.kind = kind, .number = number});
}

static void send(struct world *w, size_t task, const struct item *x)
{
	for (size_t c = 0; c < w->shape->channels_len; c++) {
		if (w->shape->channels[c].from == task)
			push(&w->channels[c], x);
	}
}

/* A row goes to one of the channels; which depends on the row alone. */
static void send_row(struct world *w, size_t task, uint64_t row)
{
	size_t to[CHANNELS_MAX], n = 0;

	for (size_t c = 0; c < w->shape->channels_len; c++) {
		if (w->shape->channels[c].from == task)
			to[n++] = c;
	}
	push(&w->channels[to[row % n]], &(struct item){.kind = ROW, .number = row});
}

static void commit(struct world *w, size_t task, const bool *handle)
{
	for (size_t h = 0; h < HANDLES; h++) {
		struct prepared *p = &w->prepared[task][h];

		if (!handle[h] || !p->exists)
			continue; /* committed before: its rows are not there twice */
		for (size_t r = 0; r < ROW_IDS; r++)
			w->committed[r] += p->rows[r];
		p->exists = false;
	}
}

static void prepare(struct world *w, size_t task, uint64_t id)
{
	struct task *t = &w->tasks[task];
	struct prepared *p = &w->prepared[task][id % HANDLES];

	assert_false(p->exists);
	memcpy(p->rows, t->epoch, sizeof p->rows);
	p->exists = true;
	memset(t->epoch, 0, sizeof t->epoch);
	t->uncommitted[id % HANDLES] = true;
}

/* The task stands at barrier id: prepared, written, acknowledged; or not. */
static void snapshot(struct world *w, size_t task, uint64_t id, enum barrier_kind kind)
{
	struct task *t = &w->tasks[task];
	struct item ack = {.kind = SAY_ACK, .number = id};

	if (w->shape->tasks[task].sink) {
		prepare(w, task, id);
		memcpy(ack.handle, t->uncommitted, sizeof ack.handle);
		if (kind == BARRIER_FINAL)
			t->final_id = id;
	}
	if (w->declines_left && !draw(w, 25)) {
		w->declines_left--;
		say(w, task, SAY_DECLINED, id);
		return;
	}
	w->snapshots[id % IDS_MAX][task] = t->state;
	w->snapshots[id % IDS_MAX][task].exists = true;
	w->snapshots[id % IDS_MAX][task].ended = t->ended;
	push(&t->line, &ack);
}

static void finish(struct world *w, size_t task)
{
	w->tasks[task].ended = true;
	send(w, task, &(struct item){.kind = END});
	say(w, task, SAY_FINISHED, 0);
	if (!w->shape->tasks[task].sink) {
		say(w, task, SAY_GONE, 0);
		w->tasks[task].stopped = true;
	}
}

static void try_align(struct world *w, size_t task)
{
	struct task *t = &w->tasks[task];

	for (size_t c = 0; t->aligning && c < w->shape->channels_len; c++) {
		if (w->shape->channels[c].to == task && !t->channel_ended[c] && !t->barrier_here[c])
			return;
	}
	if (!t->aligning)
		return;
	send(w, task, &(struct item){.kind = BARRIER, .number = t->aligning,
		.barrier = t->aligning_kind});
	snapshot(w, task, t->aligning, t->aligning_kind);
	t->aligning = 0;
	memset(t->barrier_here, 0, sizeof t->barrier_here);
}

static void take_frame(struct world *w, size_t channel)
{
	size_t task = w->shape->channels[channel].to;
	struct task *t = &w->tasks[task];
	struct item x = pop(&w->channels[channel]);
	bool all_ended = true;

	switch (x.kind) {
	case ROW:
		assert_false(t->finished_before);
		t->state.rows++;
		if (w->shape->tasks[task].sink)
			t->epoch[x.number] = true;
		else
			send_row(w, task, x.number);
		return;
	case BARRIER:
		if (x.number > t->aligning) {
			memset(t->barrier_here, 0, sizeof t->barrier_here);
			t->aligning = x.number;
			t->aligning_kind = x.barrier;
		}
		t->barrier_here[channel] = x.number == t->aligning;
		try_align(w, task);
		return;
	case END:
		t->channel_ended[channel] = true;
		try_align(w, task);
		for (size_t c = 0; c < w->shape->channels_len; c++)
			all_ended &= w->shape->channels[c].to != task || t->channel_ended[c];
		if (all_ended)
			finish(w, task);
		return;
	default: fail_msg("frame %d", x.kind);
	}
}

static void produce(struct world *w, size_t task)
{
	struct task *t = &w->tasks[task];

	if (t->state.position >= ROWS_MAX || t->draining || t->finished_before ||
		(t->state.position >= w->limit[task] && !w->unbounded[task])) {
		finish(w, task);
		return;
	}
	send_row(w, task, task * ROWS_MAX + t->state.position++);
}

static void follow_order(struct world *w, size_t task)
{
	struct task *t = &w->tasks[task];
	struct item x = pop(&t->orders);

	switch (x.kind) {
	case ORDER_CHECKPOINT:
		if (!w->shape->tasks[task].sink)
			send(w, task, &(struct item){.kind = BARRIER, .number = x.number,
				.barrier = x.barrier});
		else
			assert_true(t->ended || t->finished_before);
		snapshot(w, task, x.number, x.barrier);
		return;
	case ORDER_COMMIT:
		assert_true(w->manifest_exists[x.number % IDS_MAX]);
		commit(w, task, x.handle);
		for (size_t h = 0; h < HANDLES; h++)
			t->uncommitted[h] &= !x.handle[h];
		say(w, task, SAY_COMMITTED, x.number);
		if (t->final_id == x.number) {
			say(w, task, SAY_GONE, 0);
			t->stopped = true;
		}
		return;
	case ORDER_DRAIN: t->draining = true; return;
	case ORDER_STOP:
		t->stopped = true;
		say(w, task, SAY_GONE, 0);
		return;
	default: fail_msg("order %d", x.kind);
	}
}

/* ---- the coordinator hears ---- */

static void hear(struct world *w, size_t task)
{
	struct item x = pop(&w->tasks[task].line);
	struct coordinator_ack ack = {.id = x.number, .file = "f", .handle = (const uint8_t *)x.handle,
		.handle_len = w->shape->tasks[task].sink ? sizeof x.handle : 0};

	switch (x.kind) {
	case SAY_READY: coordinator_ready(w->coordinator, task); return;
	case SAY_ACK: coordinator_ack(w->coordinator, task, &ack); return;
	case SAY_DECLINED:
		coordinator_declined(w->coordinator, task, x.number, "no space left");
		return;
	case SAY_COMMITTED: coordinator_committed(w->coordinator, task, x.number); return;
	case SAY_FINISHED: coordinator_finished(w->coordinator, task); return;
	case SAY_GONE: assert_true(coordinator_may_leave(w->coordinator, task)); return;
	default: fail_msg("said %d", x.kind);
	}
}

/* ---- attempts ---- */

static const struct checkpoint_task *manifest_task(const struct world *w, size_t task)
{
	const struct coordinator_task *t = &w->shape->tasks[task];

	for (size_t i = 0; i < w->manifest.tasks_len; i++) {
		const struct checkpoint_task *k = &w->manifest.tasks[i];

		if (!strcmp(k->stage, t->stage) && k->subtask == t->subtask)
			return k;
	}
	fail_msg("the manifest lacks %s", t->stage);
	return NULL;
}

static void restore_task(struct world *w, size_t task)
{
	struct task *t = &w->tasks[task];
	const struct checkpoint_task *k = manifest_task(w, task);
	const bool *handle = k->handle.len ? (const bool *)k->handle.data : NULL;

	t->finished_before = k->finished;
	if (k->file) {
		assert_true(w->snapshots[w->manifest.id % IDS_MAX][task].exists);
		t->state = w->snapshots[w->manifest.id % IDS_MAX][task];
	} else {
		assert_true(k->finished);
	}
	if (handle)
		commit(w, task, handle);
	for (size_t h = 0; w->shape->tasks[task].sink && h < HANDLES; h++)
		w->prepared[task][h].exists = false; /* what no handle named is thrown away */
}

static void start(struct world *w)
{
	struct coordinator_actions actions = {.context = w, .begin = on_begin, .complete = on_complete,
		.done = on_done, .given_up = on_given_up, .checkpoint = on_checkpoint,
		.commit = on_commit, .drain = on_drain, .stop = on_stop};
	struct coordinator_options o = {.interval_us = 10, .job = "0123456789abcdef0123456789abcdef",
		.restored = w->has_manifest ? &w->manifest : NULL};
	struct coordinator_task tasks[TASKS_MAX];

	for (size_t i = 0; i < TASKS_MAX; i++) {
		mem_free(w->tasks[i].line.items);
		mem_free(w->tasks[i].orders.items);
		w->tasks[i] = (struct task){.ready = false};
	}
	for (size_t c = 0; c < CHANNELS_MAX; c++)
		w->channels[c].first = w->channels[c].len = 0;
	for (size_t i = 0; i < w->shape->tasks_len; i++) {
		tasks[i] = w->shape->tasks[i];
		tasks[i].finished = w->has_manifest && manifest_task(w, i)->finished;
	}
	coordinator_free(w->coordinator);
	w->coordinator = coordinator_new(&o, tasks, w->shape->tasks_len, &actions);
	w->crash_supervisor = false;
	w->attempts++;
	for (size_t i = 0; i < w->shape->tasks_len; i++) {
		if (w->has_manifest)
			restore_task(w, i);
		else
			for (size_t h = 0; h < HANDLES; h++)
				w->prepared[i][h].exists = false;
		say(w, i, SAY_READY, 0);
	}
}

/* ---- steps ---- */

static bool may_read(const struct world *w, size_t channel)
{
	const struct task *t = &w->tasks[w->shape->channels[channel].to];

	return w->channels[channel].len && !t->stopped && !t->ended && !t->barrier_here[channel];
}

static bool may_produce(const struct world *w, size_t task)
{
	const struct task *t = &w->tasks[task];

	return w->shape->tasks[task].source && !t->ended && !t->stopped;
}

/* Of everything that could happen, one. */
static void step(struct world *w)
{
	size_t tasks = w->shape->tasks_len, channels = w->shape->channels_len;
	size_t pick = draw(w, 3 * tasks + channels + 2);

	if (pick < tasks) {
		if (may_produce(w, pick) && draw(w, 3) == 0)
			produce(w, pick);
	} else if (pick < 2 * tasks) {
		if (w->tasks[pick - tasks].orders.len && !w->tasks[pick - tasks].stopped)
			follow_order(w, pick - tasks);
	} else if (pick < 3 * tasks) {
		if (w->tasks[pick - 2 * tasks].line.len)
			hear(w, pick - 2 * tasks);
	} else if (pick < 3 * tasks + channels) {
		if (may_read(w, pick - 3 * tasks))
			take_frame(w, pick - 3 * tasks);
	} else {
		/* Sometimes far enough for a retry while what was given up is still on its way. */
		w->now_us += draw(w, 4) ? 40 : (int64_t)draw(w, 1000000);
		coordinator_tick(w->coordinator, w->now_us, w->now_us);
	}
}

static uint64_t sent_by(const struct world *w, size_t source)
{
	return w->has_manifest && !manifest_task(w, source)->file ?
		w->tasks[source].state.position : w->tasks[source].state.position;
}

/* Every row up to a source's position once, none beyond. */
static void check_rows(const struct world *w, const uint64_t *positions)
{
	for (size_t s = 0; s < w->shape->tasks_len; s++) {
		for (size_t r = 0; w->shape->tasks[s].source && r < ROWS_MAX; r++) {
			unsigned wanted = r < positions[s];

			if (w->committed[s * ROWS_MAX + r] != wanted)
				fail_msg("%s: row %zu of source %zu is committed %u times instead of %u",
					w->shape->name, r, s, w->committed[s * ROWS_MAX + r], wanted);
		}
	}
}

/* A stopped job has committed what its last checkpoint covers; an ended one everything. */
static void check_end(struct world *w, uint64_t *ended_at)
{
	uint64_t positions[TASKS_MAX];

	for (size_t s = 0; s < w->shape->tasks_len; s++) {
		const struct checkpoint_task *k = manifest_task(w, s);

		positions[s] = k->file ? w->snapshots[w->manifest.id % IDS_MAX][s].position : ended_at[s];
	}
	check_rows(w, positions);
}

static void run_schedule(const struct shape *shape, uint64_t seed, unsigned *checkpoints,
	unsigned *attempts)
{
	struct world w = {.shape = shape, .seed = seed * 2654435761u + 88172645463325252u,
		.snapshots = mem_zero(IDS_MAX * sizeof *w.snapshots),
		.prepared = mem_zero(TASKS_MAX * sizeof *w.prepared),
		.tasks = mem_zero(TASKS_MAX * sizeof *w.tasks)};
	uint64_t ended_at[TASKS_MAX] = {0};
	bool drained = false;

	w.crashes_left = (unsigned)draw(&w, 5);
	w.declines_left = (unsigned)draw(&w, 6);
	w.stops_left = (unsigned)draw(&w, 3);
	for (size_t s = 0; s < shape->tasks_len; s++) {
		w.limit[s] = draw(&w, ROWS_MAX);
		w.unbounded[s] = draw(&w, 4) == 0;
	}
	start(&w);
	for (unsigned n = 0;; n++) {
		enum coordinator_phase phase;

		if (n == STEPS_MAX)
			fail_msg("%s, seed %llu: it doesn't come to an end", shape->name,
				(unsigned long long)seed);
		step(&w);
		for (size_t s = 0; s < shape->tasks_len; s++) {
			if (shape->tasks[s].source && w.tasks[s].ended && !w.tasks[s].finished_before)
				ended_at[s] = sent_by(&w, s);
		}
		if (w.crash_supervisor || (w.crashes_left && !draw(&w, 150))) {
			w.crashes_left -= w.crashes_left > 0;
			start(&w);
			continue;
		}
		phase = coordinator_phase(w.coordinator);
		if (phase == COORDINATOR_ENDED)
			break;
		if (phase == COORDINATOR_STOPPED) {
			check_end(&w, ended_at);
			start(&w);
			continue;
		}
		if (w.stops_left && phase == COORDINATOR_RUNNING && !draw(&w, 300)) {
			w.stops_left--;
			coordinator_want_stop(w.coordinator);
		}
		if (n > 3000 || (drained && !draw(&w, 50))) {
			drained = true;
			coordinator_want_drain(w.coordinator);
		}
	}
	check_end(&w, ended_at);
	*checkpoints += w.checkpoints;
	*attempts += w.attempts;
	coordinator_free(w.coordinator);
	checkpoint_clear(&w.manifest);
	for (size_t i = 0; i < TASKS_MAX; i++) {
		mem_free(w.tasks[i].line.items);
		mem_free(w.tasks[i].orders.items);
	}
	for (size_t c = 0; c < CHANNELS_MAX; c++)
		mem_free(w.channels[c].items);
	mem_free(w.snapshots);
	mem_free(w.prepared);
	mem_free(w.tasks);
}

static void every_row_is_committed_once_whatever_happens_when(void **state)
{
	const char *wanted = getenv("COORDINATOR_SCHEDULES");
	unsigned long schedules = wanted ? strtoul(wanted, NULL, 10) : 2000;

	for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
		unsigned checkpoints = 0, attempts = 0;

		for (uint64_t seed = 1; seed <= schedules; seed++)
			run_schedule(&shapes[s], seed, &checkpoints, &attempts);
		print_message("%s: %lu schedules, %u attempts, %u checkpoints\n", shapes[s].name,
			schedules, attempts, checkpoints);
		assert_true(checkpoints > schedules); /* something happened */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_committed_once_whatever_happens_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
