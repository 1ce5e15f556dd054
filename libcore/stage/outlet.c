#include "libcore/stage/outlet.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/table/keys.h"

enum {
	/* A batch of at least so many rows is worth a frame of its own: below, gathering (a copy)
	 * costs less than the frame's fixed cost at both ends. */
	OUTLET_DIRECT_ROWS = BATCH_ROWS / 4,
};

void outlet_init(struct outlet *o, const struct stage_output_plan *plan)
{
	*o = (struct outlet){.plan = *plan};
	o->pending = mem_zero(plan->writers_len * sizeof *o->pending);
	o->rows = mem_zero(plan->writers_len * sizeof *o->rows);
	schema_init(&o->schema);
	schema_init(&o->wire_schema);
}

static void outlet_forget_pending(struct outlet *o)
{
	if (!o->declared)
		return;
	for (size_t i = 0; i < o->plan.writers_len; i++)
		batch_builder_clear(&o->pending[i]);
}

void outlet_clear(struct outlet *o)
{
	outlet_forget_pending(o);
	for (size_t i = 0; i < o->sent_len; i++)
		schema_clear(&o->sent[i]);
	mem_free(o->sent);
	mem_free(o->pending);
	mem_free(o->rows);
	program_free(o->key_program);
	arena_clear(&o->key_texts);
	schema_clear(&o->schema);
	schema_clear(&o->wire_schema);
	buf_clear(&o->scratch);
	arena_clear(&o->arena);
	*o = (struct outlet){.plan = {.writers_len = 0}};
}

/* The id of the wire schema: one sent before keeps its id. */
static int outlet_send_schema(struct outlet *o, struct error *e)
{
	for (size_t i = 0; i < o->sent_len; i++) {
		if (schema_equal(&o->sent[i], &o->wire_schema)) {
			o->schema_id = (uint32_t)i + 1;
			return 0;
		}
	}
	if (o->sent_len >= SCHEMA_ID_MAX - 1)
		return error_set(e, ERROR_DATA, "more than %d different schemas in one stream",
			SCHEMA_ID_MAX);
	MEM_GROW(o->sent, o->sent_cap, o->sent_len + 1);
	schema_init(&o->sent[o->sent_len]);
	schema_copy(&o->sent[o->sent_len++], &o->wire_schema);
	o->schema_id = (uint32_t)o->sent_len;
	buf_reset(&o->scratch);
	frame_put_schema(&o->scratch, o->schema_id, &o->wire_schema);
	for (size_t i = 0; i < o->plan.writers_len; i++) {
		if (channel_write(o->plan.writers[i], &o->scratch, e) < 0)
			return -1;
	}
	return 0;
}

static bool schema_key_has(const struct schema *s, int column)
{
	for (size_t i = 0; i < s->keys_len; i++) {
		if (s->keys[i] == column)
			return true;
	}
	return false;
}

/* One key of the exchange: a column, or what is computed from several. */
static int outlet_add_key(struct outlet *o, const char *text, struct error *e)
{
	struct expr *x;
	size_t index;
	int column;

	if (expr_parse(text, "key", &o->key_texts, &x, e) < 0 ||
		program_add(o->key_program, x, &o->schema, &index, e) < 0)
		return -1;
	if (program_type(o->key_program, index).kind == TYPE_ANY)
		return error_set(e, ERROR_USAGE, "the key '%s' has type any, which can't be a key\n"
			"cast it: %s::string", text, text);
	column = expr_column(x, &o->schema);
	if (o->schema.changelog && (column < 0 || !schema_key_has(&o->schema, column)))
		o->splits_updates = true;
	return 0;
}

static int outlet_resolve_exchange(struct outlet *o, struct error *e)
{
	o->splits_updates = o->schema.changelog && !o->plan.keys_len;
	program_free(o->key_program);
	arena_reset(&o->key_texts);
	o->key_program = program_new();
	for (size_t i = 0; i < o->plan.keys_len; i++) {
		if (outlet_add_key(o, o->plan.keys[i], e) < 0)
			return -1;
	}
	return 0;
}

int outlet_declare(struct outlet *o, const struct schema *s, struct error *e)
{
	if (o->declared && schema_equal(&o->schema, s))
		return 0;
	if (outlet_flush_rows(o, e) < 0)
		return -1;
	outlet_forget_pending(o);
	o->declared = false;
	schema_clear(&o->schema);
	schema_init(&o->schema);
	schema_copy(&o->schema, s);
	if (o->plan.writers_len > 1 && outlet_resolve_exchange(o, e) < 0)
		return -1;
	schema_clear(&o->wire_schema);
	schema_init(&o->wire_schema);
	schema_copy(&o->wire_schema, s);
	if (o->splits_updates)
		schema_set_keys(&o->wire_schema, NULL, 0);
	for (size_t i = 0; i < o->plan.writers_len; i++)
		batch_builder_init(&o->pending[i], &o->wire_schema);
	o->declared = true;
	return outlet_send_schema(o, e);
}

static int outlet_send(struct outlet *o, size_t channel, const struct batch *b, struct error *e)
{
	o->rows[channel] += b->rows;
	return channel_write_batch(o->plan.writers[channel], o->schema_id, b, e);
}

static int outlet_flush_channel(struct outlet *o, size_t channel, struct error *e)
{
	struct batch_builder *p = &o->pending[channel];
	int status;

	if (!batch_builder_rows(p))
		return 0;
	status = outlet_send(o, channel, batch_builder_view(p), e);
	batch_builder_reset(p);
	return status;
}

/* Gives a channel rows [first, first + n) of b: straight, or gathered if they are few. */
static int outlet_give_rows(struct outlet *o, size_t channel, const struct batch *b, uint32_t first,
	uint32_t n, struct error *e)
{
	struct batch_builder *p = &o->pending[channel];
	struct batch part;

	if (n >= OUTLET_DIRECT_ROWS || batch_bytes(b) >= BATCH_BYTES) {
		if (outlet_flush_channel(o, channel, e) < 0)
			return -1;
		if (first == 0 && n == b->rows)
			return outlet_send(o, channel, b, e);
		arena_reset(&o->arena);
		batch_slice(b, first, n, &o->arena, &part);
		return outlet_send(o, channel, &part, e);
	}
	batch_builder_put_rows(p, b, first, n);
	return batch_builder_is_full(p) ? outlet_flush_channel(o, channel, e) : 0;
}

/* Without its key's channel a pair of update rows may part: each then stands for itself. */
static const uint8_t *outlet_split_ops(struct outlet *o, const struct batch *b)
{
	static const uint8_t split[] = {
		[ROW_INSERT] = ROW_INSERT,
		[ROW_UPDATE_BEFORE] = ROW_DELETE,
		[ROW_UPDATE_AFTER] = ROW_INSERT,
		[ROW_DELETE] = ROW_DELETE,
	};
	uint8_t *ops = arena_alloc(&o->arena, b->rows);

	for (uint32_t r = 0; r < b->rows; r++)
		ops[r] = split[b->ops[r] & 3];
	return ops;
}

/* Deals the rows of b (at most BATCH_ROWS) out by key group. */
static int outlet_exchange(struct outlet *o, const struct batch *b, struct error *e)
{
	size_t n = o->plan.writers_len;
	struct column *values;
	const struct column **keys;
	uint64_t *hashes;
	uint32_t *picks, *counts;
	struct batch split = *b;

	arena_reset(&o->arena);
	keys = ARENA_ARRAY(&o->arena, const struct column *, o->plan.keys_len);
	values = ARENA_ARRAY(&o->arena, struct column, o->plan.keys_len);
	hashes = ARENA_ARRAY(&o->arena, uint64_t, b->rows);
	picks = ARENA_ARRAY(&o->arena, uint32_t, n * b->rows);
	counts = ARENA_ARRAY(&o->arena, uint32_t, n);
	if (o->splits_updates)
		split.ops = outlet_split_ops(o, b);
	if (program_run(o->key_program, b, values, NULL, e) < 0)
		return -1;
	for (size_t k = 0; k < o->plan.keys_len; k++)
		keys[k] = &values[k];
	keys_hash(keys, o->plan.keys_len, b->rows, hashes);
	for (uint32_t r = 0; r < b->rows; r++) {
		uint32_t to = key_group_subtask(key_group(hashes[r]), (uint32_t)n);

		picks[to * b->rows + counts[to]++] = r;
	}
	for (size_t i = 0; i < n; i++) {
		batch_builder_put_picked(&o->pending[i], &split, picks + i * b->rows, counts[i]);
		if (batch_builder_is_full(&o->pending[i]) && outlet_flush_channel(o, i, e) < 0)
			return -1;
	}
	return 0;
}

static int outlet_round_robin(struct outlet *o, const struct batch *b, struct error *e)
{
	struct batch split = *b;
	size_t channel = o->next_channel;

	o->next_channel = (channel + 1) % o->plan.writers_len;
	if (o->splits_updates) {
		arena_reset(&o->arena);
		split.ops = outlet_split_ops(o, b);
		batch_builder_put_rows(&o->pending[channel], &split, 0, b->rows);
		return outlet_flush_channel(o, channel, e);
	}
	return outlet_give_rows(o, channel, b, 0, b->rows, e);
}

static int outlet_emit_part(struct outlet *o, const struct batch *b, struct error *e)
{
	if (o->plan.writers_len == 1)
		return outlet_give_rows(o, 0, b, 0, b->rows, e);
	return o->plan.keys_len ? outlet_exchange(o, b, e) : outlet_round_robin(o, b, e);
}

int outlet_emit(struct outlet *o, const struct batch *b, struct error *e)
{
	struct arena arena = ARENA_INIT;
	int status = 0;

	MUST(o->declared);
	o->rows_out += b->rows;
	if (!b->rows || !o->plan.writers_len)
		return 0;
	if (b->rows <= BATCH_ROWS)
		return outlet_emit_part(o, b, e);
	for (uint32_t first = 0; first < b->rows && !status; first += BATCH_ROWS) {
		uint32_t n = b->rows - first < BATCH_ROWS ? b->rows - first : BATCH_ROWS;
		struct batch part;

		arena_reset(&arena);
		batch_slice(b, first, n, &arena, &part);
		status = outlet_emit_part(o, &part, e);
	}
	arena_clear(&arena);
	return status;
}

int outlet_pass(struct outlet *o, const struct frame *f, uint32_t rows, struct error *e)
{
	MUST(!o->declared && o->plan.writers_len <= 1);
	o->rows_out += rows;
	if (!o->plan.writers_len)
		return 0;
	o->rows[0] += rows;
	return channel_write_frame(o->plan.writers[0], f, e);
}

int outlet_flush_rows(struct outlet *o, struct error *e)
{
	if (!o->declared)
		return 0;
	for (size_t i = 0; i < o->plan.writers_len; i++) {
		if (outlet_flush_channel(o, i, e) < 0)
			return -1;
	}
	return 0;
}

int outlet_put(struct outlet *o, const struct buf *frames, struct error *e)
{
	if (outlet_flush_rows(o, e) < 0)
		return -1;
	for (size_t i = 0; i < o->plan.writers_len; i++) {
		if (channel_write(o->plan.writers[i], frames, e) < 0)
			return -1;
	}
	return 0;
}

int outlet_put_end(struct outlet *o, struct error *e)
{
	if (outlet_flush_rows(o, e) < 0)
		return -1;
	o->ended = true;
	for (size_t i = 0; i < o->plan.writers_len; i++) {
		buf_reset(&o->scratch);
		frame_put_end(&o->scratch, o->rows[i]);
		if (channel_write(o->plan.writers[i], &o->scratch, e) < 0 ||
			channel_flush(o->plan.writers[i], e) < 0)
			return -1;
	}
	return 0;
}

int outlet_flush(struct outlet *o, struct error *e)
{
	if (outlet_flush_rows(o, e) < 0)
		return -1;
	for (size_t i = 0; i < o->plan.writers_len; i++) {
		if (channel_flush(o->plan.writers[i], e) < 0)
			return -1;
	}
	return 0;
}

bool outlet_is_closed(const struct outlet *o)
{
	for (size_t i = 0; i < o->plan.writers_len; i++) {
		if (!channel_is_closed(o->plan.writers[i]))
			return false;
	}
	return o->plan.writers_len > 0;
}
