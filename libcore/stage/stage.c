#include "libcore/stage/stage.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/stage/description.h"
#include "libcore/stage/outlet.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUTS_MAX = DESCRIPTION_INPUTS_MAX };

struct channel {
	unsigned input;
	bool hello;              /* has come */
	bool bounded;
	bool ended;
	bool eof;
	bool idle;
	char from[64];           /* the name in its HELLO */
	struct schema_set schemas;
	uint64_t rows;
	int64_t watermark;
	uint64_t barrier;        /* greatest checkpoint id that has come */
};

struct input {
	const struct schema *schema; /* last announced to the operator; borrowed from a channel's set,
	                              * or from `restored` */
	struct schema restored;      /* from a snapshot, until the stream says it again */
	bool has_restored;
	bool ended;
	bool discard;                /* complete in the snapshot: what is replayed is dropped */
	int64_t watermark;
};

enum { WARNINGS_MAX = 64 };

struct stage {
	struct stage_plan plan;
	char *warned[WARNINGS_MAX]; /* warnings that have been given */
	size_t warned_len;
	char *name, *job;
	struct operator *op;
	struct channel *channels;
	struct input inputs[INPUTS_MAX];
	struct outlet *outlets;
	bool began;              /* HELLO is out */
	bool bounded;
	bool ended;
	bool done;               /* the operator wants no more rows */
	bool told;               /* an ERROR frame has named the first cause */
	bool idle;               /* as last told to those behind */
	bool draining;
	bool in_operator;        /* the operator has been called for the present frame */
	int64_t watermark;       /* combined, as the operator was told */
	int64_t watermark_out;   /* as those behind were told */
	int64_t now;
	bool restored_own;
	bool straight;           /* passes frames as they came */
	bool aligning;
	struct barrier barrier;  /* while aligning */
	int64_t aligning_since_us;
	uint64_t alignment_us;   /* of the last one */
	struct arena arena;      /* of one frame */
	struct buf scratch;
	struct buf cause_stage, cause;
	struct stage_metrics metrics;
};

/* ---- life ---- */

/* The ids of schemas are of one stream, and rows that are dealt out are in no frame yet. */
static bool plan_is_straight(const struct stage_plan *plan, const struct operator *op)
{
	for (unsigned i = 0; i < op->outputs; i++) {
		if (plan->outputs[i].writers_len > 1)
			return false;
	}
	return op->passes && plan->channels_len == 1;
}

static bool input_has_channel(const struct stage *st, unsigned input)
{
	for (size_t i = 0; i < st->plan.channels_len; i++) {
		if (st->channels[i].input == input)
			return true;
	}
	return false;
}

struct stage *stage_new(const struct stage_plan *plan, struct operator *op)
{
	struct stage *st = mem_zero(sizeof *st);

	MUST(op->inputs <= INPUTS_MAX);
	st->plan = *plan;
	st->name = mem_strdup(plan->name);
	st->plan.name = st->name;
	st->job = mem_strdup(plan->job ? plan->job : "");
	st->op = op;
	op->stage = st;
	st->channels = mem_zero(plan->channels_len * sizeof *st->channels);
	for (size_t i = 0; i < plan->channels_len; i++) {
		MUST(plan->channel_inputs[i] < op->inputs);
		st->channels[i].input = plan->channel_inputs[i];
		st->channels[i].watermark = WATERMARK_NONE;
	}
	for (unsigned i = 0; i < INPUTS_MAX; i++)
		st->inputs[i].watermark = WATERMARK_NONE;
	/* An optional input that isn't there is over; a stage that is only checked has none at all. */
	for (unsigned i = 0; plan->channels_len && i < op->inputs; i++)
		st->inputs[i].ended = !input_has_channel(st, i);
	st->straight = plan_is_straight(plan, op);
	st->outlets = mem_zero(op->outputs * sizeof *st->outlets);
	for (unsigned i = 0; i < op->outputs; i++)
		outlet_init(&st->outlets[i], &plan->outputs[i]);
	st->watermark = st->watermark_out = st->now = WATERMARK_NONE;
	return st;
}

void stage_free(struct stage *st)
{
	unsigned outputs;

	if (!st)
		return;
	outputs = st->op->outputs;
	if (st->op->ops->free)
		st->op->ops->free(st->op);
	for (unsigned i = 0; i < outputs; i++)
		outlet_clear(&st->outlets[i]);
	for (size_t i = 0; i < st->warned_len; i++)
		mem_free(st->warned[i]);
	for (size_t i = 0; i < st->plan.channels_len; i++)
		schema_set_clear(&st->channels[i].schemas);
	for (unsigned i = 0; i < INPUTS_MAX; i++) {
		if (st->inputs[i].has_restored)
			schema_clear(&st->inputs[i].restored);
	}
	mem_free(st->channels);
	mem_free(st->outlets);
	arena_clear(&st->arena);
	buf_clear(&st->scratch);
	buf_clear(&st->cause_stage);
	buf_clear(&st->cause);
	mem_free(st->name);
	mem_free(st->job);
	mem_free(st);
}

/* ---- what leaves ---- */

/* Sends the frames in scratch on every output. */
static int stage_put(struct stage *st, struct error *e)
{
	for (unsigned i = 0; i < st->op->outputs; i++) {
		if (outlet_put(&st->outlets[i], &st->scratch, e) < 0)
			return -1;
	}
	return 0;
}

static int stage_put_watermark(struct stage *st, int64_t event_us, struct error *e)
{
	if (event_us <= st->watermark_out)
		return 0;
	st->watermark_out = event_us;
	st->idle = false;
	buf_reset(&st->scratch);
	frame_put_watermark(&st->scratch, event_us);
	return stage_put(st, e);
}

static int stage_put_idle(struct stage *st, bool idle, struct error *e)
{
	if (st->idle == idle)
		return 0;
	st->idle = idle;
	buf_reset(&st->scratch);
	frame_put_status(&st->scratch, idle);
	return stage_put(st, e);
}

static int stage_announce(struct stage *st, unsigned input, const struct schema *s, struct error *e)
{
	struct input *in = &st->inputs[input];

	if (in->schema && schema_equal(in->schema, s)) {
		in->schema = s;
		return 0;
	}
	in->schema = s;
	if (st->plan.finished)
		return 0;
	st->in_operator = true;
	if (st->op->ops->schema && st->op->ops->schema(st->op, input, s, e) < 0)
		return -1;
	for (unsigned i = 0; st->op->passes && !st->straight && i < st->op->outputs; i++) {
		if (outlet_declare(&st->outlets[i], s, e) < 0)
			return -1;
	}
	return 0;
}

/* Who is behind reads no row before the HELLO of every subtask in front.  So it must not wait in a
 * buffer for rows: where rows of a key stay on one side of two exchanges, none would ever come. */
static int stage_greet(struct stage *st, struct error *e)
{
	for (unsigned i = 0; i < st->op->outputs; i++) {
		if (st->outlets[i].plan.writers_len > 1 && outlet_flush(&st->outlets[i], e) < 0)
			return -1;
	}
	return 0;
}

/* HELLO, and what a snapshot brought that those behind and the operator have to hear again. */
static int stage_begin(struct stage *st, struct error *e)
{
	struct hello hello = {.version = FRAME_VERSION};

	st->bounded = st->op->inputs ? true : st->op->bounded;
	for (size_t i = 0; i < st->plan.channels_len; i++)
		st->bounded &= st->channels[i].bounded;
	hello.bounded = st->bounded;
	snprintf(hello.stage, sizeof hello.stage, "%s", st->plan.name);
	buf_reset(&st->scratch);
	frame_put_hello(&st->scratch, &hello);
	if (stage_put(st, e) < 0 || stage_greet(st, e) < 0)
		return -1;
	st->began = true;
	for (unsigned i = 0; i < st->op->inputs; i++) {
		if (st->inputs[i].has_restored &&
			stage_announce(st, i, &st->inputs[i].restored, e) < 0)
			return -1;
	}
	buf_reset(&st->scratch);
	if (st->now != WATERMARK_NONE)
		frame_put_tick(&st->scratch, st->now);
	if (st->watermark_out != WATERMARK_NONE)
		frame_put_watermark(&st->scratch, st->watermark_out);
	return st->scratch.len ? stage_put(st, e) : 0;
}

/* ---- watermarks ---- */

/* The least watermark of an input's channels that are neither idle nor ENDed; where none is left it
 * stays where it is, and is final once all have ENDed. */
static int64_t input_least(const struct stage *st, unsigned input)
{
	int64_t least = WATERMARK_FINAL;
	bool all_ended = true, any_active = false;

	for (size_t i = 0; i < st->plan.channels_len; i++) {
		const struct channel *c = &st->channels[i];

		if (c->input != input || c->ended)
			continue;
		all_ended = false;
		if (c->idle)
			continue;
		any_active = true;
		if (c->watermark < least)
			least = c->watermark;
	}
	if (all_ended)
		return WATERMARK_FINAL;
	return any_active ? least : st->inputs[input].watermark;
}

/* An input none of whose channels is active does not hold the others back. */
static bool input_is_quiet(const struct stage *st, unsigned input)
{
	for (size_t i = 0; i < st->plan.channels_len; i++) {
		const struct channel *c = &st->channels[i];

		if (c->input == input && !c->ended && !c->idle)
			return false;
	}
	return true;
}

static bool stage_all_ended(const struct stage *st)
{
	for (unsigned i = 0; i < st->op->inputs; i++) {
		if (!st->inputs[i].ended)
			return false;
	}
	return true;
}

static int stage_advance(struct stage *st, struct error *e)
{
	int64_t least = WATERMARK_FINAL, out;
	bool any_active = false;

	for (unsigned i = 0; i < st->op->inputs; i++) {
		int64_t w = input_least(st, i);

		if (w > st->inputs[i].watermark)
			st->inputs[i].watermark = w;
		if (input_is_quiet(st, i))
			continue;
		any_active = true;
		if (st->inputs[i].watermark < least)
			least = st->inputs[i].watermark;
	}
	if (!any_active && !stage_all_ended(st))
		return 0;
	if (least <= st->watermark)
		return 0;
	st->watermark = out = least;
	if (st->plan.finished)
		return stage_put_watermark(st, out, e);
	st->in_operator = true;
	if (st->op->ops->watermark && st->op->ops->watermark(st->op, least, &out, e) < 0)
		return -1;
	/* Rows may follow from end: whoever fires at the final watermark must have had them. */
	if (out == WATERMARK_FINAL && st->op->ops->end)
		return 0;
	return stage_put_watermark(st, out, e);
}

static int stage_update_idle(struct stage *st, struct error *e)
{
	bool all_idle = true, any_open = false;

	for (size_t i = 0; i < st->plan.channels_len; i++) {
		if (st->channels[i].ended)
			continue;
		any_open = true;
		all_idle &= st->channels[i].idle;
	}
	if (all_idle && st->op->holds)
		return 0; /* stage_hear comes back to it */
	return any_open ? stage_put_idle(st, all_idle, e) : 0;
}

/* ---- barriers ---- */

static bool input_is_build(const struct stage *st, unsigned input)
{
	return st->op->build_inputs >> input & 1 && stage_input_is_bounded(st, input);
}

static bool stage_is_building(const struct stage *st)
{
	for (unsigned i = 0; i < st->op->inputs; i++) {
		if (input_is_build(st, i) && !st->inputs[i].ended)
			return true;
	}
	return false;
}

/* The operator stands exactly at the barrier. */
static int stage_at_barrier(struct stage *st, const struct barrier *b, struct error *e)
{
	struct buf handle = BUF_INIT;
	int status = -1;

	if (st->plan.supervised && st->op->ops->prepare &&
		st->op->ops->prepare(st->op, b->checkpoint, &handle, e) < 0)
		goto out;
	if (!st->ended && st->op->ops->settle && st->op->ops->settle(st->op, e) < 0)
		goto out;
	if (!st->ended) {
		buf_reset(&st->scratch);
		frame_put_barrier(&st->scratch, b);
		if (stage_put(st, e) < 0)
			goto out;
		for (unsigned i = 0; i < st->op->outputs; i++) {
			if (outlet_flush(&st->outlets[i], e) < 0)
				goto out;
		}
	}
	status = 0;
	if (st->plan.hooks.checkpoint)
		status = st->plan.hooks.checkpoint(st->plan.hooks.context, st, b, &handle, e);
out:
	buf_clear(&handle);
	return status;
}

/* An ENDed channel counts as having brought every barrier. */
static int stage_try_align(struct stage *st, struct error *e)
{
	if (!st->aligning || stage_is_building(st))
		return 0;
	for (size_t i = 0; i < st->plan.channels_len; i++) {
		const struct channel *c = &st->channels[i];

		if (!c->ended && c->barrier < st->barrier.checkpoint)
			return 0;
	}
	st->aligning = false;
	st->alignment_us = (uint64_t)(clock_mono_us() - st->aligning_since_us);
	return stage_at_barrier(st, &st->barrier, e);
}

static int stage_take_barrier(struct stage *st, struct channel *c, const struct frame *f,
	struct error *e)
{
	struct barrier b;

	if (frame_read_barrier(f, &b, e) < 0)
		return -1;
	if (b.checkpoint <= c->barrier)
		return error_set(e, ERROR_DATA, "barrier %llu after barrier %llu",
			(unsigned long long)b.checkpoint, (unsigned long long)c->barrier);
	c->barrier = b.checkpoint;
	/* A later checkpoint replaces one that was given up. */
	if (!st->aligning || b.checkpoint > st->barrier.checkpoint) {
		st->aligning = true;
		st->barrier = b;
		st->aligning_since_us = clock_mono_us();
	}
	return stage_try_align(st, e);
}

int stage_checkpoint(struct stage *st, const struct barrier *b, struct error *e)
{
	if (!st->began && stage_begin(st, e) < 0)
		return -1;
	return stage_at_barrier(st, b, e);
}

/* ---- being fed ---- */

static bool stage_awaits_schemas(const struct stage *st)
{
	for (unsigned i = 0; st->op->schemas_first && i < st->op->inputs; i++) {
		if (!st->inputs[i].schema && !st->inputs[i].ended)
			return true;
	}
	return false;
}

bool stage_wants(const struct stage *st, size_t channel)
{
	const struct channel *c = &st->channels[channel];

	if (!st->began)
		return !c->hello;
	if (c->ended)
		return !c->eof;
	if (input_is_build(st, c->input))
		return true;
	/* The columns of the others are welcome meanwhile: a join can't do much without. */
	if (stage_is_building(st))
		return !st->inputs[c->input].schema && !st->aligning;
	/* A barrier that came before the columns holds up who would tell them until it has aligned. */
	if (st->inputs[c->input].schema && !st->aligning && stage_awaits_schemas(st))
		return false;
	return !(st->aligning && c->barrier >= st->barrier.checkpoint);
}

static int stage_take_hello(struct stage *st, struct channel *c, const struct frame *f,
	struct error *e)
{
	struct hello h;

	if (c->hello)
		return error_set(e, ERROR_DATA, "a second HELLO");
	if (frame_read_hello(f, &h, e) < 0)
		return -1;
	c->hello = true;
	c->bounded = h.bounded;
	memcpy(c->from, h.stage, sizeof c->from);
	for (size_t i = 0; i < st->plan.channels_len; i++) {
		if (!st->channels[i].hello)
			return 0;
	}
	return stage_begin(st, e);
}

/* Hands on a frame as it came. */
static int stage_pass(struct stage *st, const struct frame *f, uint32_t rows, struct error *e)
{
	for (unsigned i = 0; i < st->op->outputs; i++) {
		if (outlet_pass(&st->outlets[i], f, rows, e) < 0)
			return -1;
	}
	return 0;
}

static int stage_pass_rows(struct stage *st, const struct frame *f, const struct batch *b,
	struct error *e)
{
	st->idle = false; /* rows say so themselves */
	if (st->straight)
		return stage_pass(st, f, b->rows, e);
	for (unsigned i = 0; i < st->op->outputs; i++) {
		if (outlet_emit(&st->outlets[i], b, e) < 0)
			return -1;
	}
	return 0;
}

static int stage_take_schema(struct stage *st, struct channel *c, const struct frame *f,
	struct error *e)
{
	const struct schema *s;

	if (schema_set_declare(&c->schemas, f, &s, e) < 0 || stage_announce(st, c->input, s, e) < 0)
		return -1;
	return st->straight && !st->plan.finished ? stage_pass(st, f, 0, e) : 0;
}

static int stage_take_rows(struct stage *st, struct channel *c, const struct frame *f,
	struct error *e)
{
	struct input *in = &st->inputs[c->input];
	const struct schema *s;
	struct batch b;
	uint32_t id;

	if (frame_read_schema_id(f, &id, e) < 0)
		return -1;
	s = schema_set_find(&c->schemas, id);
	if (!s)
		return error_set(e, ERROR_DATA, "rows of schema %u, which was never declared", id);
	arena_reset(&st->arena);
	/* Text of strangers is checked, by who makes something of it. */
	if (frame_read_batch(f, s, !st->straight || st->op->ops->batch, &st->arena, &b, e) < 0)
		return -1;
	c->rows += b.rows;
	if (in->discard || st->plan.finished || !b.rows)
		return 0;
	c->idle = false;
	if (stage_put_idle(st, false, e) < 0)
		return -1;
	if (s != in->schema && stage_announce(st, c->input, s, e) < 0)
		return -1;
	b.schema = in->schema;
	st->metrics.rows_in += b.rows;
	st->in_operator = true;
	if (st->op->ops->batch && st->op->ops->batch(st->op, c->input, &b, e) < 0)
		return -1;
	return st->op->passes ? stage_pass_rows(st, f, &b, e) : 0;
}

static int stage_finish(struct stage *st, struct error *e)
{
	struct buf handle = BUF_INIT;
	int status = -1;

	if (!st->plan.finished && st->op->ops->end && st->op->ops->end(st->op, e) < 0)
		return -1;
	if (st->op->inputs && stage_put_watermark(st, WATERMARK_FINAL, e) < 0)
		return -1;
	for (unsigned i = 1; i < st->op->outputs; i++) {
		if (outlet_put_end(&st->outlets[i], e) < 0)
			return -1;
	}
	if (st->plan.hooks.others_ended && st->plan.hooks.others_ended(st->plan.hooks.context, e) < 0)
		return -1;
	if (st->op->outputs && outlet_put_end(&st->outlets[0], e) < 0)
		return -1;
	st->ended = true;
	if (st->plan.supervised || !st->op->ops->prepare)
		return 0;
	/* Without a supervisor the whole input is one epoch. */
	if (st->op->ops->prepare(st->op, 1, &handle, e) == 0)
		status = st->op->ops->commit ?
			st->op->ops->commit(st->op, 1, handle.data, handle.len, e) : 0;
	buf_clear(&handle);
	return status;
}

static int stage_take_end(struct stage *st, struct channel *c, const struct frame *f,
	struct error *e)
{
	struct input *in = &st->inputs[c->input];
	uint64_t rows;

	if (frame_read_end(f, &rows, e) < 0)
		return -1;
	if (rows != c->rows)
		return error_set(e, ERROR_UPSTREAM,
			"END counts %llu rows, but %llu came: the stage in front failed",
			(unsigned long long)rows, (unsigned long long)c->rows);
	c->ended = true;
	in->ended = true;
	for (size_t i = 0; i < st->plan.channels_len; i++) {
		if (st->channels[i].input == c->input && !st->channels[i].ended)
			in->ended = false;
	}
	st->in_operator = true;
	if (in->ended && !st->plan.finished && st->op->ops->input_end &&
		st->op->ops->input_end(st->op, c->input, e) < 0)
		return -1;
	if (stage_advance(st, e) < 0 || stage_try_align(st, e) < 0 || stage_update_idle(st, e) < 0)
		return -1;
	return stage_all_ended(st) ? stage_finish(st, e) : 0;
}

static int stage_take_watermark(struct stage *st, struct channel *c, const struct frame *f,
	struct error *e)
{
	int64_t w;

	if (frame_read_int(f, &w, e) < 0)
		return -1;
	if (w < c->watermark)
		return error_set(e, ERROR_DATA, "the watermark falls");
	c->watermark = w;
	if (c->idle) {
		c->idle = false;
		if (stage_put_idle(st, false, e) < 0)
			return -1;
	}
	return stage_advance(st, e);
}

static int stage_take_status(struct stage *st, struct channel *c, const struct frame *f,
	struct error *e)
{
	if (frame_read_status(f, &c->idle, e) < 0)
		return -1;
	return stage_advance(st, e) < 0 ? -1 : stage_update_idle(st, e);
}

static int stage_take_tick(struct stage *st, const struct frame *f, struct error *e)
{
	int64_t now;

	if (frame_read_int(f, &now, e) < 0)
		return -1;
	if (now <= st->now)
		return 0;
	st->now = now;
	if (st->op->ops->tick && st->op->ops->tick(st->op, now, e) < 0)
		return -1;
	buf_reset(&st->scratch);
	frame_put_tick(&st->scratch, now);
	return st->began ? stage_put(st, e) : 0;
}

static int stage_take_marker(struct stage *st, const struct frame *f, struct error *e)
{
	char source[64];
	int64_t sent_us;

	if (frame_read_marker(f, source, &sent_us, e) < 0)
		return -1;
	buf_reset(&st->scratch);
	frame_put_marker(&st->scratch, source, sent_us);
	return stage_put(st, e);
}

static int stage_take_error(struct stage *st, const struct frame *f, struct error *e)
{
	if (st->told)
		return 0;
	buf_reset(&st->cause_stage);
	buf_reset(&st->cause);
	if (frame_read_error(f, &st->cause_stage, &st->cause, e) < 0)
		return -1;
	st->told = true;
	if (!st->cause.len)
		return error_set(e, ERROR_UPSTREAM, "the stage in front failed");
	/* The stage itself has shown the rest (a caret, a suggestion): one line says which it was. */
	return error_set(e, ERROR_UPSTREAM, "%s failed: %.*s", buf_cstr(&st->cause_stage),
		(int)strcspn(buf_cstr(&st->cause), "\n"), buf_cstr(&st->cause));
}

int stage_take(struct stage *st, size_t channel, const struct frame *f, struct error *e)
{
	struct channel *c = &st->channels[channel];

	st->in_operator = false;
	if (c->ended)
		return error_set(e, ERROR_DATA, "a %s frame after END", frame_kind_name(f->kind));
	if (st->op->ops->frame && st->op->ops->frame(st->op, c->input, f, e) < 0)
		return -1;
	switch ((enum frame_kind)f->kind) {
	case FRAME_HELLO: return stage_take_hello(st, c, f, e);
	case FRAME_SCHEMA: return stage_take_schema(st, c, f, e);
	case FRAME_BATCH:
	case FRAME_ROWS: return stage_take_rows(st, c, f, e);
	case FRAME_WATERMARK: return stage_take_watermark(st, c, f, e);
	case FRAME_BARRIER: return stage_take_barrier(st, c, f, e);
	case FRAME_END: return stage_take_end(st, c, f, e);
	case FRAME_STATUS: return stage_take_status(st, c, f, e);
	case FRAME_MARKER: return stage_take_marker(st, f, e);
	case FRAME_ERROR: return stage_take_error(st, f, e);
	case FRAME_TICK: return stage_take_tick(st, f, e);
	case FRAME_EPOCH:
	case FRAME_PACKED:
	case FRAME_SKIP_FIRST:
	case FRAME_SKIP_LAST: break;
	}
	return error_set(e, ERROR_DATA, "unexpected frame of kind %u", f->kind);
}

int stage_take_eof(struct stage *st, size_t channel, const char *channel_name, struct error *e)
{
	struct channel *c = &st->channels[channel];

	c->eof = true;
	if (c->ended)
		return 0;
	if (!c->hello)
		return error_set(e, ERROR_UPSTREAM,
			"%s: no input at all: the stage in front failed or is no stage", channel_name);
	return error_set(e, ERROR_UPSTREAM, "%s ended without END after %llu rows: %s failed",
		channel_name, (unsigned long long)c->rows, c->from);
}

enum produce_status stage_produce(struct stage *st, struct error *e)
{
	enum produce_status status;

	if (!st->began && stage_begin(st, e) < 0)
		return PRODUCE_ERROR;
	status = st->plan.finished ? PRODUCE_END : st->op->ops->produce(st->op, e);
	if (status != PRODUCE_END)
		return status;
	if (stage_put_watermark(st, WATERMARK_FINAL, e) < 0 || stage_finish(st, e) < 0)
		return PRODUCE_ERROR;
	return PRODUCE_END;
}

/* Rows of before the inputs went idle may come out only now, and would end what those behind know of
 * that. */
static int stage_hear(struct stage *st, struct error *e)
{
	if (!st->op->hears || !st->began || st->ended || st->plan.finished)
		return 0;
	return st->op->ops->idle(st->op, e) < 0 ? -1 : stage_update_idle(st, e);
}

int stage_idle(struct stage *st, struct error *e)
{
	if (stage_hear(st, e) < 0)
		return -1;
	for (unsigned i = 0; i < st->op->outputs; i++) {
		if (outlet_flush(&st->outlets[i], e) < 0)
			return -1;
	}
	return st->op->ops->idle && !st->op->hears ? st->op->ops->idle(st->op, e) : 0;
}

bool stage_is_done(const struct stage *st)
{
	return st->done && !st->ended;
}

int stage_end_early(struct stage *st, struct error *e)
{
	MUST(st->done && !st->ended);
	if (stage_put_watermark(st, WATERMARK_FINAL, e) < 0)
		return -1;
	return stage_finish(st, e);
}

int stage_report(struct stage *st, const struct stage_report *r, struct error *e)
{
	return st->op->ops->report(st->op, r, e);
}

bool stage_drain(struct stage *st)
{
	if (st->op->bounded || !st->op->ops->drain)
		return false;
	if (!st->draining)
		st->op->ops->drain(st->op);
	st->draining = true;
	return true;
}

int stage_commit(struct stage *st, uint64_t epoch, const uint8_t *handle, size_t len,
	struct error *e)
{
	return st->op->ops->commit ? st->op->ops->commit(st->op, epoch, handle, len, e) : 0;
}

/* The cause is said once, by the end of the main output; pipelines behind others needn't repeat it. */
static void put_failure(struct stage *st, unsigned output, const struct error *cause)
{
	buf_reset(&st->scratch);
	if (!st->began) { /* so that the error arrives behind a HELLO, as every stream starts */
		struct hello h = {.version = FRAME_VERSION};

		snprintf(h.stage, sizeof h.stage, "%s", st->plan.name);
		frame_put_hello(&st->scratch, &h);
	}
	if (output && st->op->passes && !st->plan.supervised)
		frame_put_error(&st->scratch, "", "");
	else if (st->told)
		frame_put_error(&st->scratch, buf_cstr(&st->cause_stage), buf_cstr(&st->cause));
	else
		frame_put_error(&st->scratch, st->plan.name, cause->text);
}

void stage_fail(struct stage *st, const struct error *cause)
{
	struct error ignored = ERROR_INIT;

	if (st->op->ops->abort)
		st->op->ops->abort(st->op);
	if (cause->code == ERROR_CLOSED)
		return;
	for (unsigned i = 0; i < st->op->outputs; i++) {
		put_failure(st, i, cause);
		if (!st->outlets[i].ended && outlet_put(&st->outlets[i], &st->scratch, &ignored) == 0)
			outlet_flush(&st->outlets[i], &ignored);
	}
}

/* ---- what an operator calls ---- */

int stage_declare(struct stage *st, unsigned output, const struct schema *s, struct error *e)
{
	MUST(st->began && output < st->op->outputs);
	return outlet_declare(&st->outlets[output], s, e);
}

const struct schema *stage_output_schema(const struct stage *st, unsigned output)
{
	return &st->outlets[output].schema;
}

int stage_emit(struct stage *st, unsigned output, const struct batch *b, struct error *e)
{
	MUST(output < st->op->outputs);
	st->idle = false; /* rows say so themselves */
	return outlet_emit(&st->outlets[output], b, e);
}

int stage_emit_watermark(struct stage *st, int64_t event_us, struct error *e)
{
	if (!st->op->inputs && event_us > st->watermark)
		st->watermark = event_us;
	return stage_put_watermark(st, event_us, e);
}

int stage_emit_idle(struct stage *st, bool idle, struct error *e)
{
	MUST(!st->op->inputs);
	return stage_put_idle(st, idle, e);
}

int stage_emit_tick(struct stage *st, int64_t now_us, struct error *e)
{
	MUST(!st->op->inputs);
	if (now_us <= st->now)
		return 0;
	st->now = now_us;
	buf_reset(&st->scratch);
	frame_put_tick(&st->scratch, now_us);
	return stage_put(st, e);
}

void stage_warn(struct stage *st, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	error_tidy(text);
	if (!st->plan.hooks.warn)
		return;
	for (size_t i = 0; i < st->warned_len; i++) {
		if (strcmp(st->warned[i], text) == 0)
			return;
	}
	if (st->warned_len == WARNINGS_MAX) /* what differs every time must not be kept for ever */
		return;
	st->warned[st->warned_len++] = mem_strdup(text);
	st->plan.hooks.warn(st->plan.hooks.context, text);
}

int stage_wait_writable(struct stage *st, int fd, struct error *e)
{
	return st->plan.hooks.wait ? st->plan.hooks.wait(st->plan.hooks.context, fd, e) : 0;
}

int stage_alive(struct stage *st, struct error *e)
{
	return stage_wait_writable(st, -1, e);
}

int stage_await(struct stage *st, struct error *e)
{
	const struct stage_hooks *h = &st->plan.hooks;

	if (h->interrupted && h->interrupted(h->context))
		return error_set(e, ERROR_INTERRUPTED, "interrupted before anybody answered");
	return stage_alive(st, e);
}

int64_t stage_watermark(const struct stage *st)
{
	return st->watermark;
}

int64_t stage_input_watermark(const struct stage *st, unsigned input)
{
	return st->inputs[input].watermark;
}

int64_t stage_now(const struct stage *st)
{
	return st->now;
}

bool stage_is_bounded(const struct stage *st)
{
	return st->bounded;
}

bool stage_input_is_bounded(const struct stage *st, unsigned input)
{
	for (size_t i = 0; i < st->plan.channels_len; i++) {
		if (st->channels[i].input == input && !st->channels[i].bounded)
			return false;
	}
	return true;
}

bool stage_input_has_ended(const struct stage *st, unsigned input)
{
	return st->inputs[input].ended;
}

const char *stage_input_from(const struct stage *st, unsigned input)
{
	for (size_t i = 0; i < st->plan.channels_len; i++) {
		if (st->channels[i].input == input && st->channels[i].hello)
			return st->channels[i].from;
	}
	return "the stage in front";
}

struct key_range stage_key_range(const struct stage *st)
{
	return key_range_of(st->plan.subtask, st->plan.subtasks);
}

const char *stage_name(const struct stage *st)
{
	return st->name;
}

uint32_t stage_subtask(const struct stage *st)
{
	return st->plan.subtask;
}

uint32_t stage_subtasks(const struct stage *st)
{
	return st->plan.subtasks;
}

bool stage_drops_state(const struct stage *st, const char *part)
{
	for (size_t i = 0; i < st->plan.drops_len; i++) {
		if (!strcmp(st->plan.drops[i], part))
			return true;
	}
	return false;
}

int stage_check(struct stage *st, struct error *e)
{
	return st->op->outputs ? stage_begin(st, e) : 0;
}

bool stage_restored_own(const struct stage *st)
{
	return st->restored_own;
}

const char *stage_job(const struct stage *st)
{
	return st->job;
}

uint64_t stage_attempt(const struct stage *st)
{
	return st->plan.attempt;
}

uint64_t stage_alignment_us(const struct stage *st)
{
	return st->alignment_us;
}

void stage_done(struct stage *st)
{
	st->done = true;
}

void stage_count_late(struct stage *st, uint64_t rows)
{
	st->metrics.late += rows;
}

int stage_put_late(struct stage *st, unsigned output, const struct batch *b, const uint32_t *pick,
	uint32_t n, struct arena *scratch, struct error *e)
{
	struct batch late;

	stage_count_late(st, n);
	if (n == 0 || output == 0)
		return 0;
	batch_gather(b, pick, n, scratch, &late);
	return stage_emit(st, output, &late, e);
}

void stage_count_bad(struct stage *st, uint64_t rows)
{
	st->metrics.bad += rows;
}

/* ---- being asked ---- */

bool stage_has_ended(const struct stage *st)
{
	return st->ended;
}

bool stage_outputs_closed(const struct stage *st)
{
	for (unsigned i = 0; i < (st->op->passes ? st->op->outputs : 1); i++) {
		if (i >= st->op->outputs || !outlet_is_closed(&st->outlets[i]))
			return false;
	}
	return true;
}

const struct operator *stage_operator(const struct stage *st)
{
	return st->op;
}

bool stage_rejected_frame(const struct stage *st)
{
	return !st->in_operator;
}

bool stage_was_told_nothing(const struct stage *st)
{
	return st->told && !st->cause.len;
}

bool stage_was_told(const struct stage *st)
{
	return st->told;
}

struct stage_metrics stage_metrics(const struct stage *st)
{
	struct stage_metrics m = st->metrics;

	m.watermark_us = st->watermark;
	for (unsigned i = 0; i < st->op->outputs; i++) {
		m.rows_out += st->outlets[i].rows_out;
		for (size_t k = 0; k < st->outlets[i].plan.writers_len; k++) {
			m.blocked_us += channel_writer_blocked_us(st->outlets[i].plan.writers[k]);
			m.bytes_out += channel_writer_bytes(st->outlets[i].plan.writers[k]);
		}
	}
	return m;
}

/* ---- snapshots ----
 *
 * The runtime's own sections:
 *   @stage     what string, input int, value int: "watermark" and "ended" per input, "out", "tick",
 *              and of how many subtasks this was one
 *   @input.N   no rows: the schema input N had
 */

static void snapshot_schema(struct schema *s)
{
	schema_init(s);
	schema_set_name(s, "@stage");
	schema_add(s, "what", 4, TYPE_OF(TYPE_STRING));
	schema_add(s, "input", 5, TYPE_OF(TYPE_INT));
	schema_add(s, "value", 5, TYPE_OF(TYPE_INT));
}

static void snapshot_row(struct batch_builder *b, const char *what, int64_t input, int64_t value)
{
	builder_put_text(&b->columns[0], what, strlen(what));
	builder_put_int(&b->columns[1], input);
	builder_put_int(&b->columns[2], value);
}

static int snapshot_own(struct stage *st, struct snapshot_writer *w, struct error *e)
{
	struct schema s;
	struct batch_builder rows;
	int status = -1;

	snapshot_schema(&s);
	batch_builder_init(&rows, &s);
	for (unsigned i = 0; i < st->op->inputs; i++) {
		snapshot_row(&rows, "watermark", i, st->inputs[i].watermark);
		snapshot_row(&rows, "ended", i, st->inputs[i].ended && input_has_channel(st, i));
	}
	snapshot_row(&rows, "combined", -1, st->watermark);
	snapshot_row(&rows, "out", -1, st->watermark_out);
	snapshot_row(&rows, "tick", -1, st->now);
	snapshot_row(&rows, "subtasks", -1, st->plan.subtasks);
	if (snapshot_section(w, &s, e) == 0 && snapshot_put(w, batch_builder_view(&rows), e) == 0)
		status = 0;
	batch_builder_clear(&rows);
	schema_clear(&s);
	return status;
}

static int snapshot_input_schema(struct stage *st, unsigned input, struct snapshot_writer *w,
	struct error *e)
{
	char name[32];
	struct schema s;
	int status;

	if (!st->inputs[input].schema)
		return 0;
	snprintf(name, sizeof name, "@input.%u", input);
	schema_init(&s);
	schema_copy(&s, st->inputs[input].schema);
	schema_set_name(&s, name);
	status = snapshot_section(w, &s, e);
	schema_clear(&s);
	return status;
}

int stage_snapshot(struct stage *st, struct channel_writer *channel, struct error *e)
{
	struct snapshot_writer *w = snapshot_writer_new(channel, st->op->ops->type);
	int status = -1;

	if (snapshot_own(st, w, e) < 0)
		goto out;
	for (unsigned i = 0; i < st->op->inputs; i++) {
		if (snapshot_input_schema(st, i, w, e) < 0)
			goto out;
	}
	if (st->op->ops->snapshot && st->op->ops->snapshot(st->op, w, e) < 0)
		goto out;
	status = snapshot_end(w, e);
out:
	snapshot_writer_free(w);
	return status;
}

/* Where several subtasks wrote, the least watermark counts, and an input has ended if it had for
 * all of them. */
struct restoring {
	struct stage *st;
	unsigned ended[INPUTS_MAX];
	unsigned files;
	int64_t subtasks;
};

static int64_t least(int64_t a, int64_t b, bool first)
{
	return first || b < a ? b : a;
}

static int restore_row(struct restoring *r, struct text_view what, int64_t input, int64_t value,
	struct error *e)
{
	struct stage *st = r->st;
	bool first = r->files == 1;
	bool input_known = input >= 0 && input < (int64_t)st->op->inputs;

	if (what.len == 9 && !memcmp(what.text, "watermark", 9) && input_known)
		st->inputs[input].watermark = least(st->inputs[input].watermark, value, first);
	else if (what.len == 5 && !memcmp(what.text, "ended", 5) && input_known)
		r->ended[input] += value != 0;
	else if (what.len == 8 && !memcmp(what.text, "combined", 8))
		st->watermark = least(st->watermark, value, first);
	else if (what.len == 3 && !memcmp(what.text, "out", 3))
		st->watermark_out = least(st->watermark_out, value, first);
	else if (what.len == 8 && !memcmp(what.text, "subtasks", 8))
		r->subtasks = value;
	else if (what.len == 4 && !memcmp(what.text, "tick", 4))
		st->now = value > st->now ? value : st->now;
	else
		return error_set(e, ERROR_STATE, "section @stage: unknown row '%.*s'",
			(int)what.len, what.text);
	return 0;
}

static int restore_input_schema(struct stage *st, const struct schema *s, struct error *e)
{
	unsigned long input = strtoul(s->name + strlen("@input."), NULL, 10);
	struct input *in;

	if (input >= st->op->inputs)
		return error_set(e, ERROR_STATE, "section %s: this stage has %u inputs", s->name,
			st->op->inputs);
	in = &st->inputs[input];
	if (in->has_restored)
		return 0;
	schema_init(&in->restored);
	schema_copy(&in->restored, s);
	schema_set_name(&in->restored, NULL);
	in->has_restored = true;
	return 0;
}

static int restore_take(void *context, const struct batch *b, struct error *e)
{
	struct restoring *r = context;
	const struct column *what, *input, *value;

	if (!strncmp(b->schema->name, "@input.", 7))
		return b->rows ? 0 : restore_input_schema(r->st, b->schema, e);
	if (strcmp(b->schema->name, "@stage") != 0)
		return error_set(e, ERROR_STATE, "unknown section %s", b->schema->name);
	if (!b->rows) {
		r->files++;
		return 0;
	}
	if (snapshot_column(b, "what", TYPE_OF(TYPE_STRING), &what, e) < 0 ||
		snapshot_column(b, "input", TYPE_OF(TYPE_INT), &input, e) < 0 ||
		snapshot_column(b, "value", TYPE_OF(TYPE_INT), &value, e) < 0)
		return -1;
	for (uint32_t i = 0; i < b->rows; i++) {
		if (restore_row(r, column_text(what, i), column_int(input, i),
			column_int(value, i), e) < 0)
			return -1;
	}
	return 0;
}

int stage_restore(struct stage *st, struct channel_reader *const *files, size_t files_len,
	struct error *e)
{
	struct restoring restoring = {.st = st};
	struct snapshot_reader *r = snapshot_reader_new(files, files_len, st->op->ops->type,
		stage_key_range(st));
	const struct batch *b;
	int status = 0;

	MUST(!st->began);
	snapshot_reader_intercept(r, restore_take, &restoring);
	if (st->op->ops->restore)
		status = st->op->ops->restore(st->op, r, e);
	while (status == 0)
		status = snapshot_next(r, &b, e);
	snapshot_reader_free(r);
	if (status < 0)
		return -1;
	st->restored_own = restoring.files == 1 && restoring.subtasks == st->plan.subtasks;
	for (unsigned i = 0; i < st->op->inputs; i++) {
		if (restoring.files && restoring.ended[i] == restoring.files)
			st->inputs[i].discard = true;
	}
	/* The channels are new streams, which say where their watermark is; it may be less than what
	 * this subtask had heard (the subtasks in front are others than before).  What the inputs had
	 * reached stays. */
	return 0;
}
