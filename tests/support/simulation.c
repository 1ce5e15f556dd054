#include "tests/support/simulation.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/table/builder.h"

#include <stdio.h>
#include <stdlib.h>

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t draw(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* ---- the source ---- */

struct source {
	struct operator op;
	struct sim_source o;
	struct schema schema;
	struct batch_builder rows;
	int64_t next, greatest_us, last_watermark_us;
	bool declared;
};

static const int64_t second_us = 1000000;

static void source_free(struct operator *op)
{
	struct source *s = (struct source *)op;

	batch_builder_clear(&s->rows);
	schema_clear(&s->schema);
	mem_free(s);
}

enum { SOURCE_CHANGE_ROWS = 10 }; /* a row changes so many rows later */

/* Row `number` as it is for good, or as it was first; what it is then is drawn from *state. */
static int64_t put_source_row(struct source *s, int64_t number, enum row_op op, uint64_t *state)
{
	int64_t at;

	*state = s->o.seed * 1000003 + (uint64_t)number;
	at = number * second_us / 4 + (int64_t)(draw(state) % (uint64_t)second_us);
	builder_put_int(&s->rows.columns[0], number);
	builder_put_int(&s->rows.columns[1],
		(int64_t)(draw(state) % 7) + (op == ROW_UPDATE_AFTER && number % 2));
	builder_put_int(&s->rows.columns[2],
		(int64_t)(draw(state) % 1000) + (op == ROW_UPDATE_AFTER));
	builder_put_int(&s->rows.columns[3], at);
	if (s->o.changelog)
		buf_put_byte(&s->rows.ops, op);
	return at;
}

static void source_row(struct source *s)
{
	uint64_t state;
	int64_t at = put_source_row(s, s->next, ROW_INSERT, &state);
	int64_t older = s->next - SOURCE_CHANGE_ROWS;

	if (at > s->greatest_us)
		s->greatest_us = at;
	s->next++;
	if (!s->o.changelog || older < 0)
		return;
	state = s->o.seed * 7919 + (uint64_t)older;
	switch (draw(&state) % 4) {
	case 0:
		put_source_row(s, older, ROW_DELETE, &state);
		break;
	case 1:
	case 2:
		put_source_row(s, older, ROW_UPDATE_BEFORE, &state);
		put_source_row(s, older, ROW_UPDATE_AFTER, &state);
		break;
	}
}

/* Watermarks and the clock by the count of rows, so that a replay places them where they were. */
static enum produce_status source_produce(struct operator *op, struct error *e)
{
	struct source *s = (struct source *)op;

	if (!s->declared && stage_declare(op->stage, 0, &s->schema, e) < 0)
		return PRODUCE_ERROR;
	s->declared = true;
	if (s->next >= s->o.rows)
		return PRODUCE_END;
	batch_builder_reset(&s->rows);
	do
		source_row(s);
	while (s->next % 5 && s->next < s->o.rows);
	if (stage_emit(op->stage, 0, batch_builder_view(&s->rows), e) < 0)
		return PRODUCE_ERROR;
	if (s->o.ticks && stage_emit_tick(op->stage, s->next * second_us / 4, e) < 0)
		return PRODUCE_ERROR;
	if (!s->o.bounded_watermark &&
		stage_emit_watermark(op->stage, s->greatest_us - second_us - 1, e) < 0)
		return PRODUCE_ERROR;
	return PRODUCE_MORE;
}

static const char *const position_names[] = {"next", "greatest"};

static int source_snapshot(struct operator *op, struct snapshot_writer *w, struct error *e)
{
	struct source *s = (struct source *)op;

	return snapshot_put_ints(w, "position", position_names,
		(int64_t[]){s->next, s->greatest_us}, 2, e);
}

static int source_restore(struct operator *op, struct snapshot_reader *r, struct error *e)
{
	struct source *s = (struct source *)op;
	const struct batch *b;
	int64_t values[2];
	bool found;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (snapshot_read_ints(b, "position", position_names, values, 2, &found, e) < 0)
			return -1;
		if (found) {
			s->next = values[0];
			s->greatest_us = values[1];
		}
	}
	return status < 0 ? -1 : 0;
}

struct operator *sim_source(void *context)
{
	static const struct operator_ops ops = {.type = "source", .free = source_free,
		.produce = source_produce, .snapshot = source_snapshot, .restore = source_restore};
	struct source *s = mem_zero(sizeof *s);

	s->o = *(struct sim_source *)context;
	s->op = (struct operator){.ops = &ops, .outputs = 1, .bounded = !s->o.unbounded};
	schema_init(&s->schema);
	schema_add(&s->schema, "id", 2, TYPE_OF(TYPE_INT));
	schema_add(&s->schema, "k", 1, TYPE_OF(TYPE_INT));
	schema_add(&s->schema, "v", 1, TYPE_OF(TYPE_INT));
	s->schema.time_column = schema_add(&s->schema, "at", 2, TYPE_OF(TYPE_TIMESTAMP));
	s->schema.changelog = s->o.changelog;
	batch_builder_init(&s->rows, &s->schema);
	return &s->op;
}

/* A stage that had finished before the checkpoint: END at once, on every output. */
static enum produce_status finished_produce(struct operator *op, struct error *e)
{
	return PRODUCE_END;
}

static void finished_free(struct operator *op)
{
	mem_free(op);
}

static const struct operator_ops finished_ops = {.type = "finished", .free = finished_free,
	.produce = finished_produce};

static struct operator *finished_stage(unsigned outputs)
{
	struct operator *op = mem_zero(sizeof *op);

	*op = (struct operator){.ops = &finished_ops, .outputs = outputs, .bounded = true};
	return op;
}

/* ---- the sink: rows wait for their epoch's commit ---- */

struct epoch_rows {
	uint64_t epoch;
	struct buf text; /* rows, each ended by a newline */
};

/* Of the world, not of a stage: what a file system would hold. */
static struct {
	struct epoch_rows *prepared;
	size_t len, cap;
	struct buf committed;
} disk;

struct sink {
	struct operator op;
	struct buf text;
};

static void sink_free(struct operator *op)
{
	buf_clear(&((struct sink *)op)->text);
	mem_free(op);
}

static int sink_batch(struct operator *op, unsigned input, const struct batch *b, struct error *e)
{
	struct sink *s = (struct sink *)op;

	for (uint32_t r = 0; r < b->rows; r++) {
		if (b->schema->changelog)
			buf_put_byte(&s->text, b->ops[r] == ROW_INSERT ||
				b->ops[r] == ROW_UPDATE_AFTER ? '+' : '-');
		batch_put_row(b, r, &s->text);
		buf_put_byte(&s->text, '\n');
	}
	return 0;
}

static int sink_prepare(struct operator *op, uint64_t epoch, struct buf *handle, struct error *e)
{
	struct sink *s = (struct sink *)op;

	MEM_GROW(disk.prepared, disk.cap, disk.len + 1);
	disk.prepared[disk.len++] = (struct epoch_rows){epoch, s->text};
	s->text = (struct buf)BUF_INIT;
	return 0;
}

/* May be repeated: what is gone was committed. */
static void disk_commit(uint64_t epoch)
{
	for (size_t i = 0; i < disk.len; i++) {
		if (disk.prepared[i].epoch != epoch)
			continue;
		buf_put(&disk.committed, disk.prepared[i].text.data, disk.prepared[i].text.len);
		buf_clear(&disk.prepared[i].text);
		disk.prepared[i] = disk.prepared[--disk.len];
		return;
	}
}

static void disk_drop_prepared(void)
{
	while (disk.len)
		buf_clear(&disk.prepared[--disk.len].text);
}

static int sink_commit(struct operator *op, uint64_t epoch, const uint8_t *handle, size_t len,
	struct error *e)
{
	disk_commit(epoch);
	return 0;
}

struct operator *sim_sink(void *context)
{
	static const struct operator_ops ops = {.type = "sink", .free = sink_free, .batch = sink_batch,
		.prepare = sink_prepare, .commit = sink_commit};
	struct sink *s = mem_zero(sizeof *s);

	s->op = (struct operator){.ops = &ops, .inputs = 1, .outputs = 0};
	return &s->op;
}

/* ---- the world ---- */

struct edge {
	struct buf frames; /* written, from `at` on not yet delivered */
	size_t at;
	struct channel_writer *writer;
	bool closed;       /* the writer's stage has ended: EOF follows */
};

struct instance {
	struct stage *st;
	int node;
	uint32_t subtask;
	struct edge *edges[SIM_INPUTS_MAX * SIM_SUBTASKS_MAX]; /* its channels */
	size_t channels;
	bool barrier_due;  /* a source that has yet to take the present checkpoint */
	bool ended;
	bool acked;        /* the present checkpoint */
};

struct kept { /* one subtask's snapshot in a checkpoint */
	struct buf state;
	bool finished;
};

struct checkpoint {
	uint64_t id; /* 0: none */
	uint32_t subtasks[SIM_NODES_MAX];
	struct kept kept[SIM_NODES_MAX][SIM_SUBTASKS_MAX];
};

struct world {
	const struct sim_plan *plan;
	uint64_t random;
	uint32_t subtasks[SIM_NODES_MAX];
	struct instance instances[SIM_NODES_MAX][SIM_SUBTASKS_MAX];
	struct edge edges[SIM_NODES_MAX][SIM_INPUTS_MAX][SIM_SUBTASKS_MAX][SIM_SUBTASKS_MAX];
	struct checkpoint complete, pending;
	uint64_t next_checkpoint; /* never used twice */
	bool again; /* once the checkpoint at hand is complete, everything stops again */
	struct sim_result *result;
};

static struct world *world_of_hooks;

static void checkpoint_clear(struct checkpoint *c)
{
	for (int n = 0; n < SIM_NODES_MAX; n++) {
		for (int s = 0; s < SIM_SUBTASKS_MAX; s++)
			buf_clear(&c->kept[n][s].state);
	}
	*c = (struct checkpoint){.id = 0};
}

static int on_checkpoint(void *context, struct stage *st, const struct barrier *b,
	const struct buf *handle, struct error *e)
{
	struct instance *i = context;
	struct world *w = world_of_hooks;
	struct channel_writer *out;
	struct kept *kept = &w->pending.kept[i->node][i->subtask];
	int status;

	if (b->checkpoint != w->pending.id)
		return 0; /* of one that was given up */
	out = channel_writer_new_memory(&kept->state);
	status = stage_snapshot(st, out, e);
	channel_writer_free(out);
	i->acked = true;
	return status;
}

/* The edges into input `to_input` of node `to` from every subtask in front. */
static void open_edges(struct world *w, int to, int to_input)
{
	int from = w->plan->nodes[to].inputs[to_input];

	for (uint32_t t = 0; t < w->subtasks[to]; t++) {
		struct instance *i = &w->instances[to][t];

		for (uint32_t f = 0; f < w->subtasks[from]; f++) {
			struct edge *edge = &w->edges[to][to_input][f][t];

			edge->writer = channel_writer_new_memory(&edge->frames);
			i->edges[i->channels++] = edge;
		}
	}
}

/* The node behind an output, and by which of its inputs; every output has one reader. */
static int node_behind(const struct world *w, int node, unsigned output, int *input)
{
	for (size_t n = 0; n < w->plan->nodes_len; n++) {
		for (int k = 0; k < SIM_INPUTS_MAX; k++) {
			if (w->plan->nodes[n].inputs[k] == node &&
				w->plan->nodes[n].outputs[k] == output) {
				*input = k;
				return (int)n;
			}
		}
	}
	return -1;
}

static struct stage *make_stage(struct world *w, struct instance *i, bool finished)
{
	const struct sim_node *node = &w->plan->nodes[i->node];
	unsigned inputs[SIM_INPUTS_MAX * SIM_SUBTASKS_MAX];
	struct stage_output_plan outputs[SIM_OUTPUTS_MAX] = {0};
	struct stage_plan plan = {.name = node->name, .subtask = i->subtask,
		.subtasks = w->subtasks[i->node], .channel_inputs = inputs, .outputs = outputs,
		.supervised = true, .hooks = {.context = i, .checkpoint = on_checkpoint}};
	static struct channel_writer
		*writers[SIM_NODES_MAX][SIM_SUBTASKS_MAX][SIM_OUTPUTS_MAX][SIM_SUBTASKS_MAX];
	unsigned outputs_len = 0;

	for (size_t c = 0; !finished && c < i->channels; c++)
		inputs[plan.channels_len++] = node->inputs[1] >= 0 &&
			c >= w->subtasks[node->inputs[0]];
	for (unsigned o = 0; o < SIM_OUTPUTS_MAX; o++) {
		int input = 0, behind = node_behind(w, i->node, o, &input);

		if (behind < 0)
			continue;
		for (uint32_t t = 0; t < w->subtasks[behind]; t++)
			writers[i->node][i->subtask][o][t] =
				w->edges[behind][input][i->subtask][t].writer;
		outputs[o].writers = writers[i->node][i->subtask][o];
		outputs[o].writers_len = w->subtasks[behind];
		outputs[o].keys = node->keys;
		outputs[o].keys_len = node->keys[0] ? 1 : 0;
		outputs_len = o + 1;
	}
	return stage_new(&plan, finished ? finished_stage(outputs_len) : node->make(node->context));
}

/* Every file of the node's snapshot; the subtask takes the key groups that are its own. */
static int restore_stage(struct world *w, struct instance *i, struct error *e)
{
	struct channel_reader *files[SIM_SUBTASKS_MAX];
	size_t n = 0;
	int status;

	for (uint32_t s = 0; s < w->complete.subtasks[i->node]; s++) {
		const struct kept *k = &w->complete.kept[i->node][s];

		if (k->state.len)
			files[n++] = channel_reader_new_memory(k->state.data, k->state.len, "snapshot");
	}
	status = n ? stage_restore(i->st, files, n, e) : 0;
	for (size_t f = 0; f < n; f++)
		channel_reader_free(files[f]);
	return status;
}

static bool all_finished(const struct world *w, int node)
{
	for (uint32_t s = 0; s < w->complete.subtasks[node]; s++) {
		if (!w->complete.kept[node][s].finished)
			return false;
	}
	return w->complete.id != 0;
}

static void tear_down(struct world *w)
{
	for (size_t n = 0; n < w->plan->nodes_len; n++) {
		for (uint32_t s = 0; s < SIM_SUBTASKS_MAX; s++) {
			stage_free(w->instances[n][s].st);
			w->instances[n][s] = (struct instance){.node = (int)n};
		}
		for (int k = 0; k < SIM_INPUTS_MAX; k++) {
			for (int f = 0; f < SIM_SUBTASKS_MAX; f++) {
				for (int t = 0; t < SIM_SUBTASKS_MAX; t++) {
					struct edge *edge = &w->edges[n][k][f][t];

					channel_writer_free(edge->writer);
					buf_clear(&edge->frames);
					*edge = (struct edge){.at = 0};
				}
			}
		}
	}
}

static int build(struct world *w, struct error *e)
{
	for (size_t n = 0; n < w->plan->nodes_len; n++) {
		for (uint32_t s = 0; s < w->subtasks[n]; s++)
			w->instances[n][s] = (struct instance){.node = (int)n, .subtask = s};
		for (int k = 0; k < SIM_INPUTS_MAX && w->plan->nodes[n].inputs[k] >= 0; k++)
			open_edges(w, (int)n, k);
	}
	for (size_t n = 0; n < w->plan->nodes_len; n++) {
		int input;
		bool is_sink = node_behind(w, (int)n, 0, &input) < 0;
		bool finished = all_finished(w, (int)n) && !is_sink;

		for (uint32_t s = 0; s < w->subtasks[n]; s++) {
			struct instance *i = &w->instances[n][s];

			i->st = make_stage(w, i, finished);
			if (finished)
				i->channels = 0;
			else if (w->complete.id && restore_stage(w, i, e) < 0)
				return error_context(e, "%s", w->plan->nodes[n].name);
		}
	}
	return 0;
}

/* ---- checkpoints ---- */

/* A stage that has ended counts as acknowledged, by its state at the end. */
static void begin_checkpoint(struct world *w)
{
	checkpoint_clear(&w->pending);
	w->pending.id = w->next_checkpoint++;
	memcpy(w->pending.subtasks, w->subtasks, sizeof w->subtasks);
	for (size_t n = 0; n < w->plan->nodes_len; n++) {
		for (uint32_t s = 0; s < w->subtasks[n]; s++) {
			struct instance *i = &w->instances[n][s];

			i->acked = false;
			i->barrier_due = i->ended || stage_operator(i->st)->inputs == 0;
		}
	}
}

static int take_barrier(struct world *w, struct instance *i, struct error *e)
{
	struct barrier b = {.checkpoint = w->pending.id, .kind = BARRIER_CHECKPOINT};

	i->barrier_due = false;
	if (i->ended)
		w->pending.kept[i->node][i->subtask].finished = true;
	return stage_checkpoint(i->st, &b, e);
}

static int finish_checkpoint(struct world *w, struct error *e)
{
	int sink = (int)w->plan->nodes_len - 1;

	for (size_t n = 0; n < w->plan->nodes_len; n++) {
		for (uint32_t s = 0; s < w->subtasks[n]; s++) {
			struct instance *i = &w->instances[n][s];

			/* One that ended after the checkpoint began and before its barrier came. */
			if (i->ended && !i->acked && !i->barrier_due)
				i->barrier_due = true;
			if (!i->acked)
				return 0;
		}
	}
	checkpoint_clear(&w->complete);
	w->complete = w->pending;
	w->pending = (struct checkpoint){.id = 0};
	w->result->checkpoints++;
	return stage_commit(w->instances[sink][0].st, w->complete.id, NULL, 0, e);
}

static void rescale(struct world *w)
{
	for (size_t n = 0; w->plan->rescale && n < w->plan->nodes_len; n++) {
		if (w->plan->nodes[n].subtasks > 1)
			w->subtasks[n] = 1 + (uint32_t)(draw(&w->random) % SIM_SUBTASKS_MAX);
	}
}

static int crash(struct world *w, struct error *e)
{
	tear_down(w);
	checkpoint_clear(&w->pending);
	w->result->crashes++;
	/* The manifest's epoch is committed first, every other prepared one is thrown away. */
	if (w->complete.id) {
		disk_commit(w->complete.id);
		w->result->restores++;
	}
	disk_drop_prepared();
	rescale(w);
	if (build(w, e) < 0)
		return -1;
	/* A barrier that follows the HELLOs, before any rows: state goes on as it was restored. */
	w->again = draw(&w->random) % 3 == 0;
	if (w->again)
		begin_checkpoint(w);
	return 0;
}

/* ---- steps ---- */

/* Delivers a frame, or the end, of a random channel that is wanted.  1 if it did. */
static int deliver(struct world *w, struct instance *i, struct error *e)
{
	size_t start = i->channels ? draw(&w->random) % i->channels : 0;

	for (size_t k = 0; k < i->channels; k++) {
		size_t c = (start + k) % i->channels;
		struct edge *edge = i->edges[c];
		const uint8_t *p = edge->frames.data + edge->at;
		struct frame f;

		if (!stage_wants(i->st, c))
			continue;
		if (edge->at == edge->frames.len) {
			if (!edge->closed)
				continue;
			return stage_take_eof(i->st, c, "edge", e) < 0 ? -1 : 1;
		}
		f = (struct frame){.kind = p[5], .body = p + FRAME_HEADER_BYTES,
			.body_bytes = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 |
				(uint32_t)p[3] << 8 | p[4]};
		edge->at += FRAME_HEADER_BYTES + f.body_bytes;
		return stage_take(i->st, c, &f, e) < 0 ? -1 : 1;
	}
	return 0;
}

static void close_behind(struct world *w, struct instance *i)
{
	i->ended = true;
	for (unsigned o = 0; o < SIM_OUTPUTS_MAX; o++) {
		int input, behind = node_behind(w, i->node, o, &input);

		for (uint32_t t = 0; behind >= 0 && t < w->subtasks[behind]; t++)
			w->edges[behind][input][i->subtask][t].closed = true;
	}
}

static int step_instance(struct world *w, struct instance *i, struct error *e)
{
	int status = 0;

	if (i->barrier_due && w->pending.id)
		return take_barrier(w, i, e);
	if (draw(&w->random) % 8 == 0)
		return i->ended ? 0 : stage_idle(i->st, e);
	if (stage_operator(i->st)->inputs)
		status = deliver(w, i, e);
	else if (!i->ended)
		status = stage_produce(i->st, e);
	if (!i->ended && stage_has_ended(i->st))
		close_behind(w, i);
	return status < 0 ? -1 : 0;
}

static bool world_has_ended(const struct world *w)
{
	for (size_t n = 0; n < w->plan->nodes_len; n++) {
		for (uint32_t s = 0; s < w->subtasks[n]; s++) {
			if (!w->instances[n][s].ended)
				return false;
		}
	}
	return true;
}

static int step(struct world *w, struct error *e)
{
	uint64_t r = draw(&w->random) % 400;
	int node;

	if (r == 0 && w->result->crashes < w->plan->crashes)
		return crash(w, e);
	if (r < 4 && !w->pending.id && w->result->checkpoints < w->plan->checkpoints)
		begin_checkpoint(w);
	node = (int)(draw(&w->random) % w->plan->nodes_len);
	if (step_instance(w, &w->instances[node][draw(&w->random) % w->subtasks[node]], e) < 0)
		return error_context(e, "%s", w->plan->nodes[node].name);
	if (w->pending.id && finish_checkpoint(w, e) < 0)
		return -1;
	return w->again && !w->pending.id ? crash(w, e) : 0;
}

/* The final checkpoint: everything has ended, and the sink's last epoch is committed. */
static int final_checkpoint(struct world *w, struct error *e)
{
	begin_checkpoint(w);
	while (w->pending.id) {
		for (size_t n = 0; n < w->plan->nodes_len; n++) {
			for (uint32_t s = 0; s < w->subtasks[n]; s++) {
				if (w->instances[n][s].barrier_due &&
					take_barrier(w, &w->instances[n][s], e) < 0)
					return -1;
			}
		}
		if (finish_checkpoint(w, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- results ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Rows that were taken back go, with what took them back.  Both are sorted, and "+" before "-". */
static void settle(struct sim_result *out)
{
	char **settled = mem_alloc(out->rows_len * sizeof *settled);
	size_t minus = 0, n = 0;

	while (minus < out->rows_len && out->rows[minus][0] != '-')
		minus++;
	for (size_t p = 0, m = minus; p < minus || m < out->rows_len;) {
		int order = p == minus ? 1 : m == out->rows_len ? -1 :
			strcmp(out->rows[p] + 1, out->rows[m] + 1);

		if (order == 0) {
			mem_free(out->rows[p++]);
			mem_free(out->rows[m++]);
		} else {
			settled[n++] = order < 0 ? out->rows[p++] : out->rows[m++];
		}
	}
	memcpy(out->rows, settled, n * sizeof *out->rows);
	out->rows_len = n;
	mem_free(settled);
}

static void collect(struct sim_result *out)
{
	const char *p = (const char *)disk.committed.data, *end = p + disk.committed.len;

	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));

		MEM_GROW(out->rows, out->rows_cap, out->rows_len + 1);
		out->rows[out->rows_len++] = mem_strndup(p, (size_t)(newline - p));
		p = newline + 1;
	}
	if (out->rows_len)
		qsort(out->rows, out->rows_len, sizeof *out->rows, by_text);
	if (out->rows_len && (out->rows[0][0] == '+' || out->rows[0][0] == '-'))
		settle(out);
	buf_clear(&disk.committed);
}

void sim_result_clear(struct sim_result *r)
{
	for (size_t i = 0; i < r->rows_len; i++)
		mem_free(r->rows[i]);
	mem_free(r->rows);
	*r = (struct sim_result){.rows = NULL};
}

enum { STEPS_MAX = 10000000 };

int sim_run(const struct sim_plan *plan, struct sim_result *out, struct error *e)
{
	struct world *w = mem_zero(sizeof *w);
	int status, steps = 0;

	*out = (struct sim_result){.rows = NULL};
	w->plan = plan;
	w->random = plan->seed;
	w->next_checkpoint = 1;
	w->result = out;
	world_of_hooks = w;
	for (size_t n = 0; n < plan->nodes_len; n++)
		w->subtasks[n] = plan->nodes[n].subtasks;
	status = build(w, e);
	while (status == 0 && !world_has_ended(w)) {
		status = step(w, e);
		if (status == 0 && ++steps > STEPS_MAX)
			status = error_set(e, ERROR_IO, "no end after %d steps: a deadlock", STEPS_MAX);
	}
	if (status == 0)
		status = final_checkpoint(w, e);
	collect(out);
	tear_down(w);
	disk_drop_prepared();
	mem_free(disk.prepared);
	disk.prepared = NULL;
	disk.cap = 0;
	checkpoint_clear(&w->complete);
	checkpoint_clear(&w->pending);
	mem_free(w);
	return status;
}
