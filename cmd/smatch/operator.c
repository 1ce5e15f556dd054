/* Intake, order, watermarks, memory. */
#include "cmd/smatch/match.h"

#include "libcore/base/memory.h"
#include "libcore/stage/description.h"

#include <string.h>

static struct smatch *smatch_of(struct operator* op)
{
	return (struct smatch *)(void *)op;
}

static bool is_timed(const struct smatch *m)
{
	return m->plan->in.time_column >= 0;
}

/* ---- keys ---- */

void match_grow_keys(struct smatch *m)
{
	uint32_t len = keytable_len(m->table);

	MEM_GROW(m->keys, m->keys_cap, len);
	for (; m->keys_len < len; m->keys_len++)
		m->keys[m->keys_len] = (struct match_key){.best = LINK_NONE};
}

uint32_t *match_find_keys(struct smatch *m, const struct column *stored, uint32_t rows)
{
	size_t n = m->plan->keys_len;
	const struct column **keys = arena_alloc(&m->arena, (n + 1) * sizeof *keys);
	uint32_t *ids = arena_alloc(&m->arena, (rows + (size_t)1) * sizeof *ids);
	uint64_t *hashes = arena_alloc(&m->arena, (rows + (size_t)1) * sizeof *hashes);

	for (size_t i = 0; i < n; i++)
		keys[i] = &stored[i];
	keys_hash(keys, n, rows, hashes);
	keytable_insert(m->table, keys, rows, hashes, ids);
	match_grow_keys(m);
	return ids;
}

static void free_key(struct smatch *m, struct match_key *k)
{
	threads_forget(m, k);
	m->key_bytes -= k->cap * sizeof *k->rows + k->threads_cap * sizeof *k->threads;
	mem_free(k->rows);
	mem_free(k->threads);
}

/* Keys of which nothing is held go, when there are twice as many as there were after the last time. */
static void sweep_keys(struct smatch *m)
{
	enum { KEYS_MIN = 4096 };
	uint32_t *moved, *ids, *pick, n = 0, listed = 0;
	const struct column **columns;
	struct keytable *old = m->table;
	uint64_t *hashes;
	struct column *kept;
	bool *waits;

	if (m->plan->counts_matches || m->keys_len < KEYS_MIN || m->keys_len / 2 < m->swept)
		return;
	moved = mem_alloc(m->keys_len * sizeof *moved);
	pick = mem_alloc(m->keys_len * sizeof *pick);
	waits = mem_zero(m->keys_len * sizeof *waits);
	for (uint32_t r = 0; r < m->store.len; r++) {
		if (!(m->store.flags[r] & ROW_DEAD))
			waits[m->store.key[r]] = true;
	}
	for (uint32_t i = 0; i < m->keys_len; i++) {
		moved[i] = waits[i] ? n : KEY_NONE;
		if (waits[i])
			pick[n++] = i;
		else
			free_key(m, &m->keys[i]);
	}
	kept = mem_alloc((m->plan->keys_len + 1) * sizeof *kept);
	columns = mem_alloc((m->plan->keys_len + 1) * sizeof *columns);
	ids = mem_alloc((n + (size_t)1) * sizeof *ids);
	hashes = mem_alloc((n + (size_t)1) * sizeof *hashes);
	struct type types[DESCRIPTION_KEYS_MAX];
	struct arena arena = ARENA_INIT;

	for (size_t i = 0; i < m->plan->keys_len; i++) {
		struct column all = keytable_column(old, i);

		column_gather(&all, pick, n, &arena, &kept[i]);
		columns[i] = &kept[i];
		types[i] = all.type;
	}
	m->table = keytable_new(types, m->plan->keys_len);
	keys_hash(columns, m->plan->keys_len, n, hashes);
	keytable_insert(m->table, columns, n, hashes, ids);
	for (uint32_t i = 0; i < n; i++)
		m->keys[i] = m->keys[pick[i]];
	m->keys_len = m->swept = n;
	for (uint32_t r = 0; r < m->store.len; r++)
		m->store.key[r] = moved[m->store.key[r]];
	for (uint32_t i = 0; i < m->listed_len; i++) { /* some have nothing begun any more */
		if (waits[m->listed[i]])
			m->listed[listed++] = moved[m->listed[i]];
	}
	m->listed_len = listed;
	keytable_free(old);
	arena_clear(&arena);
	mem_free(kept);
	mem_free(columns);
	mem_free(ids);
	mem_free(hashes);
	mem_free(moved);
	mem_free(pick);
	mem_free(waits);
}

/* ---- memory ---- */

static void compact(struct smatch *m)
{
	uint32_t *remap, len = m->store.len;

	if (!rowstore_wants_compact(&m->store, 0))
		return;
	sweep_keys(m);
	remap = mem_alloc((len + (size_t)1) * sizeof *remap);
	rowstore_compact(&m->store, remap);
	timequeue_remap(&m->queue, remap);
	for (uint32_t r = 0; r < len; r++) {
		if (remap[r] != ROW_NONE)
			m->masks[remap[r]] = m->masks[r];
	}
	for (uint32_t i = 0; i < m->keys_len; i++) {
		struct match_key *k = &m->keys[i];

		for (uint32_t r = 0; r < k->len; r++)
			k->rows[k->head + r] = remap[k->rows[k->head + r]];
	}
	mem_free(remap);
}

static int check_memory(const struct smatch *m, struct error *e)
{
	size_t most = (size_t)m->options.memory_bytes, bytes;

	if (!most)
		return 0;
	bytes = rowstore_bytes(&m->store) + m->masks_cap * sizeof *m->masks + timequeue_bytes(&m->queue) +
		links_bytes(m) + keytable_bytes(m->table) + m->keys_cap * sizeof *m->keys + m->key_bytes;
	if (bytes <= most)
		return 0;
	error_set(e, ERROR_DATA, "rows of matches that have begun take %zu MB, more than --memory allows",
		bytes >> 20);
	return error_hint(e, "a larger --memory, a shorter --within, conditions that end a match sooner");
}

int match_check_growth(struct smatch *m, struct error *e)
{
	if (m->links_checked == m->links_cap)
		return 0;
	m->links_checked = m->links_cap;
	return check_memory(m, e);
}

/* ---- schema ---- */

static int smatch_schema(struct operator* op, unsigned input, const struct schema *in, struct error *e)
{
	struct smatch *m = smatch_of(op);
	const char *from = stage_input_from(op->stage, input);
	struct type types[DESCRIPTION_KEYS_MAX];

	if (m->plan) {
		if (schema_equal(&m->plan->in, in))
			return 0;
		return error_set(e, ERROR_DATA, "the columns from %s changed, and a match would have rows of "
			"both kinds", from);
	}
	if (match_plan_new(&m->options, in, from, &m->plan, e) < 0)
		return -1;
	for (size_t i = 0; i < m->plan->keys_len; i++)
		types[i] = m->plan->stored.fields[i].type;
	m->table = keytable_new(types, m->plan->keys_len);
	rowstore_init(&m->store, &m->plan->stored);
	found_init(m);
	m->columns = mem_zero((m->plan->stored.fields_len + 1) * sizeof *m->columns);
	m->stamps = mem_zero((m->plan->pattern.steps_len + 1) * sizeof *m->stamps);
	m->first_tails = mem_zero((m->plan->pattern.steps_len + 1) * sizeof *m->first_tails);
	m->is_first = mem_zero((m->plan->pattern.steps_len + 1) * sizeof *m->is_first);
	m->running = mem_zero((m->plan->defines.len + 1) * sizeof *m->running);
	m->values = mem_alloc((m->plan->defines.len + 1) * sizeof *m->values);
	for (size_t i = 0; i < m->plan->defines.len; i++) {
		builder_init(&m->values[i], m->plan->defines.items[i].type);
		if (m->plan->defines.items[i].like)
			m->running[i] = aggregate_new_like(m->plan->defines.items[i].like);
		if (m->plan->defines.items[i].is_kept)
			aggregate_resize(m->running[i], 1);
	}
	if (stage_declare(op->stage, 0, &m->plan->out, e) < 0 ||
		(m->options.late_output && stage_declare(op->stage, MATCH_LATE_OUTPUT, in, e) < 0))
		return -1;
	return match_load(m, e);
}

/* ---- rows ---- */

static int filter(struct smatch *m, const struct batch *in, struct batch *out, struct error *e)
{
	uint32_t *pick, n;

	*out = *in;
	if (!m->plan->where)
		return 0;
	pick = ARENA_ARRAY(&m->arena, uint32_t, in->rows + (size_t)1);
	if (program_filter(m->plan->where, in, pick, &n, NULL, e) < 0)
		return -1;
	if (n < in->rows)
		batch_gather(in, pick, n, &m->arena, out);
	return 0;
}

/* Stores the picked rows; their numbers are from *first on. */
static int store(struct smatch *m, const struct batch *b, const uint32_t *pick, uint32_t n,
	const int64_t *times, uint32_t *first, struct error *e)
{
	struct batch stored = {.schema = &m->plan->stored, .rows = b->rows, .columns = m->columns};
	uint32_t *ids, *keys = ARENA_ARRAY(&m->arena, uint32_t, n + (size_t)1);

	if (program_run(m->plan->inputs, b, m->columns, NULL, e) < 0)
		return -1;
	ids = match_find_keys(m, m->columns, b->rows);
	for (uint32_t i = 0; i < n; i++)
		keys[i] = ids[pick[i]];
	*first = rowstore_add(&m->store, &stored, pick, n, times, keys);
	MEM_GROW(m->masks, m->masks_cap, m->store.len + (size_t)1);
	return 0;
}

static int take_untimed(struct smatch *m, const struct batch *b, struct error *e)
{
	uint32_t *rows = mem_alloc((b->rows + (size_t)1) * sizeof *rows), first;
	int64_t *times = ARENA_ARRAY(&m->arena, int64_t, b->rows + (size_t)1);
	int status;

	for (uint32_t i = 0; i < b->rows; i++)
		rows[i] = i;
	status = store(m, b, rows, b->rows, times, &first, e);
	for (uint32_t i = 0; i < b->rows; i++)
		rows[i] = first + i;
	if (status == 0)
		status = threads_feed(m, rows, b->rows, e);
	if (status == 0)
		status = found_flush(m, e);
	mem_free(rows);
	return status;
}

static int take_timed(struct smatch *m, const struct batch *b, struct error *e)
{
	uint32_t *good = ARENA_ARRAY(&m->arena, uint32_t, b->rows + (size_t)1), n = 0, first;
	uint32_t *late = ARENA_ARRAY(&m->arena, uint32_t, b->rows + (size_t)1), lates = 0;
	int64_t *good_times = ARENA_ARRAY(&m->arena, int64_t, b->rows + (size_t)1);
	const int64_t *times;

	if (batch_times(b, &m->arena, &times, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		bool is_late = m->watermark_us != WATERMARK_NONE && times[r] <= m->watermark_us;

		late[lates] = good[n] = r;
		good_times[n] = times[r];
		lates += is_late;
		n += !is_late;
	}
	if (n && store(m, b, good, n, good_times, &first, e) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++)
		timequeue_push(&m->queue, good_times[i], first + i);
	return stage_put_late(m->op.stage, m->options.late_output ? MATCH_LATE_OUTPUT : 0, b, late, lates,
		&m->arena, e);
}

static int smatch_batch(struct operator* op, unsigned input, const struct batch *in, struct error *e)
{
	struct smatch *m = smatch_of(op);
	struct batch b;

	arena_reset(&m->arena);
	if (filter(m, in, &b, e) < 0)
		return -1;
	if (!b.rows)
		return 0;
	if ((is_timed(m) ? take_timed(m, &b, e) : take_untimed(m, &b, e)) < 0)
		return -1;
	if (!is_timed(m))
		compact(m);
	return check_memory(m, e);
}

/* ---- time ---- */

/* Rows whose turn has come, in chunks. */
static int advance(struct smatch *m, int64_t until_us, struct error *e)
{
	uint32_t *rows = mem_alloc(BATCH_ROWS * sizeof *rows), n;
	struct timequeue_entry entry;
	int status = 0;

	do {
		for (n = 0; n < BATCH_ROWS && timequeue_pop(&m->queue, until_us, &entry); n++)
			rows[n] = entry.row;
		if (n)
			status = threads_feed(m, rows, n, e);
		if (status == 0 && n)
			status = stage_alive(m->op.stage, e);
	} while (status == 0 && n == BATCH_ROWS);
	mem_free(rows);
	return status;
}

static int smatch_watermark(struct operator* op, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct smatch *m = smatch_of(op);
	int64_t earliest;
	int status;

	*out_us = in_us;
	m->watermark_us = in_us;
	if (!m->plan || !is_timed(m))
		return 0;
	status = advance(m, in_us, e);
	if (status == 0)
		status = in_us == WATERMARK_FINAL ? threads_finish(m, e) : threads_expire(m, in_us, e);
	if (status == 0)
		status = found_flush(m, e);
	if (status < 0)
		return -1;
	compact(m);
	earliest = threads_earliest(m);
	if (m->plan->has_time && earliest <= in_us)
		*out_us = earliest - 1;
	return 0;
}

static int smatch_end(struct operator* op, struct error *e)
{
	struct smatch *m = smatch_of(op);

	if (!m->plan)
		return 0;
	return threads_finish(m, e) < 0 ? -1 : found_flush(m, e);
}

static int smatch_tick(struct operator* op, int64_t now_us, struct error *e)
{
	struct match_plan *p = smatch_of(op)->plan;

	if (!p)
		return 0;
	if (p->where)
		program_set_now(p->where, now_us);
	program_set_now(p->inputs, now_us);
	program_set_now(p->results, now_us);
	if (p->by_row)
		program_set_now(p->by_row, now_us);
	for (size_t i = 0; i < PATTERN_VARIABLES_MAX; i++) {
		if (p->by_row_alone[i])
			program_set_now(p->by_row_alone[i], now_us);
		if (p->by_thread[i])
			program_set_now(p->by_thread[i], now_us);
	}
	return 0;
}

/* ---- life ---- */

static void smatch_free(struct operator* op)
{
	struct smatch *m = smatch_of(op);

	sections_clear(&m->saved);
	if (m->plan) {
		found_clear(m);
		for (uint32_t i = 0; i < m->keys_len; i++) {
			mem_free(m->keys[i].rows);
			mem_free(m->keys[i].threads);
		}
		for (size_t i = 0; i < m->plan->defines.len; i++) {
			builder_clear(&m->values[i]);
			aggregate_free(m->running[i]);
		}
		keytable_free(m->table);
		rowstore_clear(&m->store);
	}
	links_clear(m);
	threads_clear(m);
	timequeue_clear(&m->queue);
	arena_clear(&m->arena);
	mem_free(m->keys);
	mem_free(m->masks);
	mem_free(m->columns);
	mem_free(m->running);
	mem_free(m->values);
	match_plan_free(m->plan);
	mem_free(m);
}

static const struct operator_ops smatch_ops = {
	.type = "smatch",
	.free = smatch_free,
	.schema = smatch_schema,
	.batch = smatch_batch,
	.watermark = smatch_watermark,
	.tick = smatch_tick,
	.end = smatch_end,
	.snapshot = match_snapshot,
	.restore = match_restore,
};

/* What can be read without a schema is: a supervisor only asks for the description. */
static int check_texts(const struct match_options *o, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct pattern pattern;
	struct select_list list;
	struct expr *x;
	int status = pattern_parse(o->pattern, o->pattern_from, &arena, &pattern, e);

	if (status == 0 && o->keys)
		status = select_parse(o->keys, o->keys_from, &arena, &list, e);
	if (status == 0 && o->where)
		status = expr_parse(o->where, o->where_from, &arena, &x, e);
	if (status == 0 && o->list)
		status = select_parse(o->list, o->list_from, &arena, &list, e);
	arena_clear(&arena);
	return status;
}

int match_operator_new(const struct match_options *o, struct operator** out, struct error *e)
{
	struct smatch *m;

	if (check_texts(o, e) < 0)
		return -1;
	m = mem_zero(sizeof *m);
	m->op = (struct operator){.ops = &smatch_ops, .inputs = 1, .outputs = o->late_output ? 2 : 1,
		.wait_fd = -1};
	m->options = *o;
	m->watermark_us = WATERMARK_NONE;
	m->links_free = LINK_NONE;
	*out = &m->op;
	return 0;
}
