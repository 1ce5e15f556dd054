#include "cmd/runnel/coordinator.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

enum {
	/* After a checkpoint that failed, before the next try. */
	RETRY_US = 1000000,
};

struct task {
	struct coordinator_task t;
	bool ready, finished;
	bool acked;      /* the checkpoint under way */
	bool committing; /* COMMIT is out, COMMITTED isn't back */
};

struct coordinator {
	struct coordinator_options o;
	struct coordinator_actions actions;
	struct task *tasks;
	size_t tasks_len;
	enum coordinator_phase phase;
	int64_t now_us, wall_us;

	bool pending;                /* being taken */
	bool committing;             /* complete, not committed by all */
	struct checkpoint checkpoint; /* the one pending or committing */
	struct barrier barrier;
	int64_t pending_since_us;
	int64_t due_us;              /* of the next by itself */
	int64_t retry_us;            /* not before */

	bool wanted, savepoint_wanted, stop_wanted, drain_wanted;
};

struct coordinator *coordinator_new(const struct coordinator_options *o,
	const struct coordinator_task *tasks, size_t tasks_len,
	const struct coordinator_actions *actions)
{
	struct coordinator *c = mem_zero(sizeof *c);

	MUST(strlen(o->job) == JOB_ID_LEN);
	c->o = *o;
	c->actions = *actions;
	c->tasks = mem_zero(tasks_len * sizeof *c->tasks);
	c->tasks_len = tasks_len;
	for (size_t i = 0; i < tasks_len; i++)
		c->tasks[i] = (struct task){.t = tasks[i], .finished = tasks[i].finished};
	c->due_us = INT64_MAX;
	return c;
}

void coordinator_free(struct coordinator *c)
{
	if (!c)
		return;
	checkpoint_clear(&c->checkpoint);
	mem_free(c->tasks);
	mem_free(c);
}

/* ---- asking the tasks ---- */

static bool all_finished(const struct coordinator *c)
{
	for (size_t i = 0; i < c->tasks_len; i++) {
		if (!c->tasks[i].finished)
			return false;
	}
	return true;
}

/* Whether a barrier can start anywhere. */
static bool any_source_runs(const struct coordinator *c)
{
	for (size_t i = 0; i < c->tasks_len; i++) {
		if (c->tasks[i].t.source && !c->tasks[i].finished)
			return true;
	}
	return false;
}

static bool all_acked(const struct coordinator *c)
{
	for (size_t i = 0; i < c->tasks_len; i++) {
		if (!c->tasks[i].acked)
			return false;
	}
	return true;
}

static bool all_committed(const struct coordinator *c)
{
	for (size_t i = 0; i < c->tasks_len; i++) {
		if (c->tasks[i].committing)
			return false;
	}
	return true;
}

/* ---- a checkpoint's life ---- */

static void try_commit_done(struct coordinator *c);
static void try_complete(struct coordinator *c);

static struct checkpoint_task *record(struct coordinator *c, size_t task)
{
	const struct coordinator_task *t = &c->tasks[task].t;
	struct checkpoint_task *r = checkpoint_add(&c->checkpoint, t->stage, t->type, t->keeps,
		t->subtask, t->subtasks);

	r->finished = c->tasks[task].finished;
	c->tasks[task].acked = true;
	return r;
}

static void give_up(struct coordinator *c, const char *why)
{
	uint64_t id = c->checkpoint.id;

	c->pending = false;
	c->retry_us = c->now_us + RETRY_US;
	if (c->o.interval_us)
		c->due_us = c->now_us + c->o.interval_us;
	/* Who asked for it is still waiting. */
	c->wanted |= c->checkpoint.kind == BARRIER_CHECKPOINT && c->stop_wanted;
	c->savepoint_wanted |= c->checkpoint.kind == BARRIER_SAVEPOINT && c->stop_wanted;
	checkpoint_clear(&c->checkpoint);
	c->actions.given_up(c->actions.context, id, why);
}

static void start_checkpoint(struct coordinator *c, enum barrier_kind kind)
{
	struct error e = ERROR_INIT;
	char *directory = NULL;
	uint64_t id = 0;

	checkpoint_clear(&c->checkpoint);
	c->wanted = false;
	if (kind == BARRIER_SAVEPOINT)
		c->savepoint_wanted = false;
	if (c->actions.begin(c->actions.context, kind, &id, &directory, &e) < 0) {
		c->checkpoint.kind = kind;
		c->checkpoint.id = id;
		give_up(c, e.text);
		return;
	}
	MUST(id > c->barrier.checkpoint);
	c->checkpoint = (struct checkpoint){.id = id, .kind = kind, .created_us = c->wall_us,
		.directory = directory};
	memcpy(c->checkpoint.job, c->o.job, sizeof c->checkpoint.job);
	c->barrier = (struct barrier){.checkpoint = id, .kind = kind, .started_us = c->wall_us};
	c->pending = true;
	c->pending_since_us = c->now_us;
	for (size_t i = 0; i < c->tasks_len; i++)
		c->tasks[i].acked = false;
	for (size_t i = 0; i < c->tasks_len && c->pending; i++) {
		const struct task *t = &c->tasks[i];

		if (t->t.sink ? t->finished : t->t.source && !t->finished)
			c->actions.checkpoint(c->actions.context, i, &c->barrier);
		else if (t->finished)
			record(c, i);
	}
	try_complete(c);
}

static void commit_task(struct coordinator *c, size_t task, const struct buf *handle)
{
	struct task *t = &c->tasks[task];

	if (!t->t.sink && !(t->t.source && !t->finished))
		return; /* nothing to commit there, or it has left */
	t->committing = true;
	c->actions.commit(c->actions.context, task, c->checkpoint.id, handle);
}

/* Of this attempt: a checkpoint's tasks are the plan's. */
static const struct buf *handle_of(const struct coordinator *c, size_t task)
{
	static const struct buf none;
	const struct coordinator_task *t = &c->tasks[task].t;

	for (size_t i = 0; i < c->checkpoint.tasks_len; i++) {
		const struct checkpoint_task *k = &c->checkpoint.tasks[i];

		if (k->subtask == t->subtask && !strcmp(k->stage, t->stage))
			return &k->handle;
	}
	return &none;
}

static void try_complete(struct coordinator *c)
{
	struct error e = ERROR_INIT;

	if (!c->pending || !all_acked(c))
		return;
	if (c->actions.complete(c->actions.context, &c->checkpoint, &e) < 0) {
		give_up(c, e.text);
		return;
	}
	c->pending = false;
	c->committing = true;
	for (size_t i = 0; i < c->tasks_len; i++)
		commit_task(c, i, handle_of(c, i));
	try_commit_done(c);
}

static void stop_all(struct coordinator *c)
{
	c->phase = COORDINATOR_STOPPED;
	for (size_t i = 0; i < c->tasks_len; i++) {
		if (!c->tasks[i].finished || c->tasks[i].t.sink)
			c->actions.stop(c->actions.context, i);
	}
}

static void try_commit_done(struct coordinator *c)
{
	if (!c->committing || !all_committed(c))
		return;
	c->committing = false;
	if (c->o.interval_us)
		c->due_us = c->now_us + c->o.interval_us;
	c->actions.done(c->actions.context, &c->checkpoint);
	if (c->checkpoint.kind == BARRIER_FINAL)
		c->phase = COORDINATOR_ENDED;
	else if (c->stop_wanted && !c->wanted && !c->savepoint_wanted)
		stop_all(c);
}

/* ---- what tasks say ---- */

static void all_are_ready(struct coordinator *c)
{
	c->phase = COORDINATOR_RUNNING;
	if (c->o.interval_us)
		c->due_us = c->now_us + c->o.interval_us;
	if (c->o.restored)
		c->actions.done(c->actions.context, c->o.restored);
	c->o.restored = NULL;
	for (size_t i = 0; c->drain_wanted && i < c->tasks_len; i++) {
		if (c->tasks[i].t.source && !c->tasks[i].finished)
			c->actions.drain(c->actions.context, i);
	}
}

void coordinator_ready(struct coordinator *c, size_t task)
{
	c->tasks[task].ready = true;
	if (c->phase != COORDINATOR_STARTING)
		return;
	for (size_t i = 0; i < c->tasks_len; i++) {
		if (!c->tasks[i].ready)
			return;
	}
	all_are_ready(c);
}

void coordinator_ack(struct coordinator *c, size_t task, const struct coordinator_ack *ack)
{
	struct checkpoint_task *r;

	if (!c->pending || ack->id != c->checkpoint.id || c->tasks[task].acked)
		return; /* of one that was given up */
	r = record(c, task);
	r->file = mem_strdup(ack->file);
	r->bytes = ack->bytes;
	r->hash = ack->hash;
	buf_put(&r->handle, ack->handle, ack->handle_len);
	try_complete(c);
}

void coordinator_declined(struct coordinator *c, size_t task, uint64_t id, const char *why)
{
	if (c->pending && id == c->checkpoint.id && !c->tasks[task].acked)
		give_up(c, why);
}

void coordinator_committed(struct coordinator *c, size_t task, uint64_t epoch)
{
	if (!c->committing || epoch != c->checkpoint.id)
		return;
	c->tasks[task].committing = false;
	try_commit_done(c);
}

/* A task that finishes while a checkpoint is being taken has sent END instead of the barrier: what it
 * did is wholly in the state of those behind it. */
void coordinator_finished(struct coordinator *c, size_t task)
{
	struct task *t = &c->tasks[task];

	if (t->finished)
		return; /* restored so, and now it has said so */
	t->finished = true;
	if (!t->t.sink && t->committing) {
		t->committing = false; /* it has left, with nothing to commit */
		try_commit_done(c);
	}
	if (!c->pending || t->acked)
		return;
	if (t->t.sink) {
		c->actions.checkpoint(c->actions.context, task, &c->barrier);
		return;
	}
	record(c, task);
	try_complete(c);
}

/* ---- time and users ---- */

static bool is_busy(const struct coordinator *c)
{
	return c->pending || c->committing || c->phase != COORDINATOR_RUNNING ||
		c->now_us < c->retry_us;
}

void coordinator_tick(struct coordinator *c, int64_t now_us, int64_t wall_us)
{
	c->now_us = now_us;
	c->wall_us = wall_us;
	if (is_busy(c))
		return;
	if (all_finished(c) && !c->savepoint_wanted)
		start_checkpoint(c, BARRIER_FINAL);
	else if (!any_source_runs(c) && !all_finished(c))
		return; /* it comes to its end */
	else if (c->savepoint_wanted)
		start_checkpoint(c, BARRIER_SAVEPOINT);
	else if (c->wanted || now_us >= c->due_us)
		start_checkpoint(c, BARRIER_CHECKPOINT);
}

int64_t coordinator_next_us(const struct coordinator *c)
{
	bool now = c->wanted || c->savepoint_wanted || all_finished(c);
	int64_t next = now ? c->now_us : any_source_runs(c) ? c->due_us : INT64_MAX;

	if (c->pending || c->committing || c->phase != COORDINATOR_RUNNING)
		return INT64_MAX;
	return next < c->retry_us ? c->retry_us : next;
}

void coordinator_want(struct coordinator *c, enum barrier_kind kind)
{
	if (kind == BARRIER_SAVEPOINT)
		c->savepoint_wanted = true;
	else
		c->wanted = true;
}

bool coordinator_wants(const struct coordinator *c, enum barrier_kind kind)
{
	return kind == BARRIER_SAVEPOINT ? c->savepoint_wanted : c->wanted;
}

void coordinator_want_stop(struct coordinator *c)
{
	c->stop_wanted = true;
	if (!c->savepoint_wanted)
		c->wanted = true;
}

void coordinator_want_drain(struct coordinator *c)
{
	bool again = c->drain_wanted;

	c->drain_wanted = true;
	for (size_t i = 0; !again && c->phase == COORDINATOR_RUNNING && i < c->tasks_len; i++) {
		if (c->tasks[i].t.source && !c->tasks[i].finished)
			c->actions.drain(c->actions.context, i);
	}
}

/* ---- what is so ---- */

enum coordinator_phase coordinator_phase(const struct coordinator *c)
{
	return c->phase;
}

bool coordinator_is_stopping(const struct coordinator *c)
{
	return c->stop_wanted;
}

uint64_t coordinator_pending(const struct coordinator *c)
{
	return c->pending ? c->checkpoint.id : 0;
}

int64_t coordinator_pending_since_us(const struct coordinator *c)
{
	return c->pending_since_us;
}

bool coordinator_has_finished(const struct coordinator *c, size_t task)
{
	return c->tasks[task].finished;
}

bool coordinator_may_leave(const struct coordinator *c, size_t task)
{
	const struct task *t = &c->tasks[task];

	if (c->phase >= COORDINATOR_STOPPED)
		return true;
	if (!t->t.sink)
		return t->finished;
	return c->committing && c->checkpoint.kind == BARRIER_FINAL && !t->committing;
}
