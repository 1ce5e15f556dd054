#include "cmd/sjoin/grace.h"

#include "cmd/sjoin/emit.h"
#include "cmd/sjoin/equal.h"
#include "libcore/state/rowindex.h"

#include "libcore/base/memory.h"

#include <string.h>

enum {
	SHARE_BITS = 5,
	SHARES = 1 << SHARE_BITS,
	LEVELS_MAX = 4,
	GROUP_BITS = 7,
	MERGE_MAX = SHARES,
	ROW_NUMBER = 0,
	ROW_MET,
	ROW_COLUMNS, /* columns of a run of rows */
	BIN_BYTES_MIN = 4 << 10,
	BIN_BYTES_MAX = 128 << 10,
	BUDGET_MIN = 256 << 10,
};

/* Right rows that met nobody come behind all left rows. */
static const int64_t REST_NUMBER = INT64_C(1) << 62;

/* Rows on their way to a run. */
struct bin {
	struct spill_run *run; /* NULL: none yet */
	struct batch_builder pending;
};

struct share {
	struct bin sides[2];
};

struct spread {
	unsigned level;
	struct share shares[SHARES];
};

/* Runs of results, in an order that decides where numbers are equal. */
struct runs {
	struct spill_run **list;
	size_t len, cap;
};

struct grace {
	struct join_sink sink; /* first: see sink_put */
	struct join *j;
	struct key_range range;
	struct schema row[2], out;
	size_t bin_bytes, budget_bytes;
	uint32_t bin_rows;
	struct spread *spread;
	struct bin alone; /* right rows with a null key: they meet nobody */
	int64_t next[2];  /* numbers of the rows to come */
	struct arena arena;
	/* While joining: */
	struct bin results;
	struct runs cut; /* earlier parts of the results under way */
	int64_t last_number;
	const int64_t *left_numbers; /* of the batch that probes; NULL: right rows go out alone */
};

/* ---- bins ---- */

static void bin_clear(struct bin *b)
{
	spill_run_free(b->run);
	batch_builder_clear(&b->pending);
	*b = (struct bin){.run = NULL};
}

static int bin_flush(struct grace *g, struct bin *b, struct error *e)
{
	if (!b->pending.schema || !batch_builder_rows(&b->pending))
		return 0;
	if (!b->run && spill_run_new(g->j->options.temporary, b->pending.schema, &b->run, e) < 0)
		return -1;
	if (spill_run_put(b->run, batch_builder_view(&b->pending), e) < 0)
		return -1;
	batch_builder_reset(&b->pending);
	return 0;
}

static bool bin_is_full(const struct grace *g, struct bin *b)
{
	uint32_t rows = batch_builder_rows(&b->pending);

	return rows >= g->bin_rows ||
	       (rows && batch_bytes(batch_builder_view(&b->pending)) >= g->bin_bytes);
}

/* Halves of an update stay in one batch, as they come in one. */
static int bin_put(struct grace *g, struct bin *b, const struct schema *s, const struct batch *rows,
	const uint32_t *pick, uint32_t n, struct error *e)
{
	if (!n)
		return 0;
	if (!b->pending.schema)
		batch_builder_init(&b->pending, s);
	batch_builder_put_picked(&b->pending, rows, pick, n);
	return bin_is_full(g, b) ? bin_flush(g, b, e) : 0;
}

static int bin_put_all(struct grace *g, struct bin *b, const struct schema *s,
	const struct batch *rows, struct error *e)
{
	if (!rows->rows)
		return 0;
	if (!b->pending.schema)
		batch_builder_init(&b->pending, s);
	batch_builder_put_rows(&b->pending, rows, 0, rows->rows);
	return bin_is_full(g, b) ? bin_flush(g, b, e) : 0;
}

static uint64_t bin_rows(const struct bin *b)
{
	uint64_t rows = b->run ? spill_run_rows(b->run) : 0;

	return rows + (b->pending.schema ? batch_builder_rows(&b->pending) : 0);
}

/* Calls take with every batch, without changing anything: a snapshot's child does so. */
static int bin_each(struct bin *b,
	int (*take)(void *context, const struct batch *b, struct error *e), void *context,
	struct error *e)
{
	struct held h = {.rows = b->pending, .run = b->run, .used = b->pending.schema};

	return held_each(&h, take, context, e);
}

/* ---- spreading ---- */

/* Rows with a null key may come from a snapshot of other subtasks: they meet nobody anywhere. */
static int group_of(const struct grace *g, uint64_t hash)
{
	return key_range_has(g->range, key_group(hash)) ? key_group(hash) : g->range.first;
}

/* Shares of the first level have the order of the key groups this subtask owns; further bits of the
 * hash make them even where it owns few. */
static unsigned share_of(const struct grace *g, unsigned level, uint64_t hash)
{
	unsigned groups = (unsigned)(g->range.end - g->range.first);
	unsigned bits = hash >> (GROUP_BITS + SHARE_BITS * level) & (SHARES - 1);

	return level ? bits
		     : ((unsigned)(group_of(g, hash) - g->range.first) * SHARES + bits) / groups;
}

static struct spread *spread_new(unsigned level)
{
	struct spread *s = mem_zero(sizeof *s);

	s->level = level;
	return s;
}

static void spread_free(struct spread *s)
{
	for (unsigned i = 0; s && i < SHARES; i++) {
		bin_clear(&s->shares[i].sides[LEFT]);
		bin_clear(&s->shares[i].sides[RIGHT]);
	}
	mem_free(s);
}

/* rows: as in a run.  pick: those that count, n of them. */
static int spread_rows(struct grace *g, struct spread *s, unsigned side, const struct batch *rows,
	const uint64_t *hashes, const uint32_t *pick, uint32_t n, struct error *e)
{
	uint32_t starts[SHARES + 1] = {0},
				 *order = arena_alloc(&g->arena, (n + (size_t)1) * sizeof *order);
	uint32_t at[SHARES];

	for (uint32_t i = 0; i < n; i++)
		starts[share_of(g, s->level, hashes[pick[i]]) + 1]++;
	for (unsigned i = 0; i < SHARES; i++)
		at[i] = starts[i + 1] += starts[i];
	for (uint32_t i = n; i-- > 0;)
		order[--at[share_of(g, s->level, hashes[pick[i]])]] = pick[i];
	for (unsigned i = 0; i < SHARES; i++) {
		if (bin_put(g, &s->shares[i].sides[side], &g->row[side], rows, order + starts[i],
			    starts[i + 1] - starts[i], e) < 0)
			return -1;
	}
	return 0;
}

/* The row of a run's rows: borrowed from them. */
static struct batch plain_rows(const struct grace *g, unsigned side, const struct batch *rows)
{
	struct batch b = *rows;

	b.schema = &g->j->plan.rows[side];
	b.columns = rows->columns + ROW_COLUMNS;
	return b;
}

/* ---- taking rows in ---- */

/* As in a run, in the arena. */
static struct batch run_rows(struct grace *g, unsigned side, const struct batch *b,
	const int64_t *numbers, const int64_t *met)
{
	size_t n = g->j->plan.rows[side].fields_len;
	struct column *columns = ARENA_ARRAY(&g->arena, struct column, n + ROW_COLUMNS);
	struct batch rows = {
		.schema = &g->row[side], .rows = b->rows, .columns = columns, .ops = b->ops};

	if (!numbers) {
		int64_t *next = arena_alloc(&g->arena, (b->rows + (size_t)1) * sizeof *next);

		for (uint32_t r = 0; r < b->rows; r++)
			next[r] = g->next[side] + r;
		numbers = next;
	}
	for (uint32_t r = 0; r < b->rows; r++) {
		if (numbers[r] >= g->next[side])
			g->next[side] = numbers[r] + 1;
	}
	if (!met)
		met = arena_zero(&g->arena, (b->rows + (size_t)1) * sizeof *met);
	columns[ROW_NUMBER] = (struct column){.type = TYPE_OF(TYPE_INT), .data = numbers};
	columns[ROW_MET] = (struct column){.type = TYPE_OF(TYPE_INT), .data = met};
	memcpy(columns + ROW_COLUMNS, b->columns, n * sizeof *columns);
	return rows;
}

int grace_add(struct grace *g, unsigned side, const struct batch *b, const int64_t *numbers,
	const int64_t *met, struct error *e)
{
	struct join *j = g->j;
	bool keeps = side == LEFT ? join_keeps_left(j) : join_keeps_right(j);
	uint32_t *pick, *null_pick, n = 0, nulls = 0;
	struct plan_keys keys;
	struct batch rows;

	arena_reset(&g->arena);
	if (plan_find_keys(&j->plan, side, b, &g->arena, &keys, e) < 0)
		return -1;
	rows = run_rows(g, side, b, numbers, met);
	if (side == LEFT)
		rows.ops = emit_left_ops(b, keys.hashes, &g->arena);
	else if (g->row[RIGHT].changelog && !b->ops)
		rows.ops = arena_zero(&g->arena, b->rows + (size_t)1);
	pick = arena_alloc(&g->arena, (b->rows + (size_t)1) * sizeof *pick);
	null_pick = arena_alloc(&g->arena, (b->rows + (size_t)1) * sizeof *null_pick);
	for (uint32_t r = 0; r < b->rows; r++) {
		bool is_null = keys.has_null && keys_has_null(keys.columns, j->plan.keys_len, r);

		if (is_null && !keeps)
			continue;
		if (is_null && side == RIGHT && !g->row[RIGHT].changelog)
			null_pick[nulls++] = r;
		else
			pick[n++] = r;
	}
	if (bin_put(g, &g->alone, &g->row[RIGHT], &rows, null_pick, nulls, e) < 0)
		return -1;
	return spread_rows(g, g->spread, side, &rows, keys.hashes, pick, n, e);
}

static int take_kept(struct grace *g, struct error *e)
{
	struct join *j = g->j;
	struct rowstore *s = &j->kept.sides[RIGHT];
	const uint32_t *matches = j->kept.counted >> RIGHT & 1 ? j->kept.matches[RIGHT] : NULL;
	uint32_t *pick = mem_alloc(BATCH_ROWS * sizeof *pick);
	int64_t *numbers = mem_alloc(2 * BATCH_ROWS * sizeof *numbers), *met = numbers + BATCH_ROWS;
	struct arena arena = ARENA_INIT;
	int status = 0;

	for (uint32_t r = 0; r < s->len && status == 0;) {
		struct batch b;
		uint32_t n = 0;

		for (; r < s->len && n < BATCH_ROWS; r++) {
			if (s->flags[r] & ROW_DEAD)
				continue;
			numbers[n] = r;
			met[n] = matches ? matches[r] : s->flags[r] & ROW_MATCHED;
			pick[n++] = r;
		}
		arena_reset(&arena);
		batch_gather(rowstore_view(s), pick, n, &arena, &b);
		status = grace_add(g, RIGHT, &b, numbers, met, e);
	}
	g->next[RIGHT] = s->len;
	arena_clear(&arena);
	mem_free(numbers);
	mem_free(pick);
	join_reset_kept(j);
	equal_forget(j);
	return status;
}

/* ---- snapshots ---- */

struct save {
	struct grace *g;
	unsigned side;
	int group; /* -1: rows with a null key, which may go anywhere */
	const struct schema *schema;
	struct snapshot_writer *w;
};

static int save_rows(void *context, const struct batch *rows, struct error *e)
{
	struct save *s = context;
	struct arena *a = &s->g->arena;
	struct batch plain = plain_rows(s->g, s->side, rows), mine, b;
	struct plan_keys keys;
	struct column *columns;
	int64_t *groups;
	uint8_t *matched;
	uint32_t *pick, n = 0;

	arena_reset(a);
	pick = arena_alloc(a, (rows->rows + (size_t)1) * sizeof *pick);
	if (plan_find_keys(&s->g->j->plan, s->side, &plain, a, &keys, e) < 0)
		return -1;
	for (uint32_t r = 0; r < rows->rows; r++) {
		pick[n] = r;
		n += s->group < 0 || group_of(s->g, keys.hashes[r]) == s->group;
	}
	if (!n)
		return 0;
	batch_gather(rows, pick, n, a, &mine);
	columns = ARENA_ARRAY(a, struct column, s->schema->fields_len);
	groups = arena_alloc(a, n * sizeof *groups);
	matched = arena_alloc(a, n);
	for (uint32_t i = 0; i < n; i++) {
		groups[i] = s->group < 0 ? 0 : s->group;
		matched[i] = column_int(&mine.columns[ROW_MET], i) != 0;
	}
	columns[SAVED_GROUP] = (struct column){.type = TYPE_OF(TYPE_INT), .data = groups};
	columns[SAVED_SEQ] = mine.columns[ROW_NUMBER];
	columns[SAVED_TIME] = (struct column){
		.type = TYPE_OF(TYPE_TIMESTAMP), .data = arena_zero(a, n * sizeof *groups)};
	columns[SAVED_MATCHED] = mine.columns[ROW_MET];
	if (s->schema->fields[SAVED_MATCHED].type.kind == TYPE_BOOL)
		columns[SAVED_MATCHED] = (struct column){
			.type = TYPE_OF(TYPE_BOOL), .data = matched};
	memcpy(columns + SAVED_COLUMNS, mine.columns + ROW_COLUMNS,
		(s->schema->fields_len - SAVED_COLUMNS) * sizeof *columns);
	b = (struct batch){.schema = s->schema, .rows = n, .columns = columns, .ops = mine.ops};
	return snapshot_put(s->w, &b, e);
}

/* Share by share they are in order of the groups; within a share one group after the other. */
static int save_spread(struct save *s, struct error *e)
{
	struct grace *g = s->g;
	unsigned groups = (unsigned)(g->range.end - g->range.first);

	for (unsigned i = 0; g->spread && i < SHARES; i++) {
		unsigned first = i * groups / SHARES, last = ((i + 1) * groups - 1) / SHARES;

		for (unsigned k = first; k <= last; k++) {
			s->group = g->range.first + (int)k;
			if (bin_each(&g->spread->shares[i].sides[s->side], save_rows, s, e) < 0)
				return -1;
		}
	}
	return 0;
}

int grace_save(struct grace *g, unsigned side, struct snapshot_writer *w, struct error *e)
{
	struct schema schema;
	struct save s = {.g = g, .side = side, .group = -1, .schema = &schema, .w = w};
	int status;

	kept_saved_schema(&g->j->kept, side, &schema);
	schema.changelog = g->row[side].changelog;
	status = snapshot_section(w, &schema, e);
	if (status == 0 && side == RIGHT)
		status = bin_each(&g->alone, save_rows, &s, e);
	if (status == 0)
		status = save_spread(&s, e);
	schema_clear(&schema);
	return status;
}

/* Left rows of other subtasks may have the same numbers: halves of an update part. */
static const uint8_t *split_ops(const uint8_t *ops, uint32_t n, struct arena *a)
{
	uint8_t *split = arena_alloc(a, n + (size_t)1);

	for (uint32_t i = 0; i < n; i++)
		split[i] = op_is_insert(ops[i]) ? ROW_INSERT : ROW_DELETE;
	return split;
}

int grace_load(struct grace *g, unsigned side, const struct batch *saved, struct error *e)
{
	struct arena arena = ARENA_INIT;
	int status = kept_check_saved(&g->j->kept, side, saved->schema, e);

	for (uint32_t first = 0; first < saved->rows && status == 0; first += BATCH_ROWS) {
		uint32_t n = saved->rows - first < BATCH_ROWS ? saved->rows - first : BATCH_ROWS;
		struct batch part, rows;
		int64_t *met;

		/* Not between the halves of an update. */
		if (saved->ops && first + n < saved->rows &&
			saved->ops[first + n] == ROW_UPDATE_AFTER)
			n--;
		arena_reset(&arena);
		batch_slice(saved, first, n, &arena, &part);
		rows = (struct batch){.schema = &g->j->plan.rows[side],
			.rows = n,
			.columns = part.columns + SAVED_COLUMNS,
			.ops = part.ops};
		if (rows.ops && !stage_restored_own(g->j->op.stage))
			rows.ops = split_ops(rows.ops, n, &arena);
		met = arena_alloc(&arena, n * sizeof *met);
		for (uint32_t r = 0; r < n; r++) {
			const struct column *c = &part.columns[SAVED_MATCHED];

			met[r] = c->type.kind == TYPE_BOOL ? column_bool(c, r) : column_int(c, r);
		}
		status = grace_add(g, side, &rows, part.columns[SAVED_SEQ].data, met, e);
		first -= BATCH_ROWS - n;
	}
	arena_clear(&arena);
	return status;
}

/* ---- runs of results ---- */

static void runs_add(struct runs *r, struct spill_run *run)
{
	MEM_GROW(r->list, r->cap, r->len + 1);
	r->list[r->len++] = run;
}

/* The results so far become a run. */
static int cut_results(struct grace *g, struct error *e)
{
	if (bin_flush(g, &g->results, e) < 0)
		return -1;
	if (g->results.run)
		runs_add(&g->cut, g->results.run);
	g->results.run = NULL;
	g->last_number = INT64_MIN;
	return 0;
}

/* Left rows come in the order of their numbers, but those of a restored snapshot: these do so key
 * group by key group, and the results of each are a run of their own. */
static int put_results(
	struct grace *g, const struct batch *rows, const int64_t *numbers, struct error *e)
{
	/* Many runs are merged at once: their batches have to be small, whatever comes here. */
	size_t most = g->bin_bytes / (batch_bytes(rows) / rows->rows + 1) + 1;

	if (!g->results.pending.schema)
		batch_builder_init(&g->results.pending, &g->out);
	for (uint32_t first = 0, end; first < rows->rows; first = end) {
		if (numbers[first] < g->last_number && cut_results(g, e) < 0)
			return -1;
		for (end = first + 1;
			end < rows->rows && end - first < most && numbers[end] >= numbers[end - 1];)
			end++;
		batch_builder_put_rows(&g->results.pending, rows, first, end - first);
		g->last_number = numbers[end - 1];
		if (bin_is_full(g, &g->results) && bin_flush(g, &g->results, e) < 0)
			return -1;
	}
	return 0;
}

static int sink_put(
	struct join_sink *k, const struct batch *b, const struct pairs *p, struct error *e)
{
	struct grace *g = (struct grace *)k; /* sink is the first member */
	const int64_t *seq = g->j->kept.sides[RIGHT].time_us;
	size_t n = g->j->plan.out.fields_len;
	struct arena *a = &g->j->emit_arena;
	struct column *columns = ARENA_ARRAY(a, struct column, n + 2);
	int64_t *numbers = arena_alloc(a, b->rows * sizeof *numbers);
	int64_t *partners = arena_alloc(a, b->rows * sizeof *partners);
	uint8_t *ops = arena_zero(a, b->rows);
	struct batch rows = {.schema = &g->out, .rows = b->rows, .columns = columns, .ops = ops};

	for (uint32_t i = 0; i < b->rows; i++) {
		uint32_t left = p->left_rows ? p->left_rows[i] : i;
		uint32_t right = p->right_rows ? p->right_rows[i] : ROW_NONE;

		partners[i] = right == ROW_NONE ? -1 : seq[right];
		numbers[i] = g->left_numbers ? g->left_numbers[left] : REST_NUMBER + partners[i];
		if (g->left_numbers && p->left_ops)
			ops[i] = p->left_ops[left];
	}
	memcpy(columns, b->columns, n * sizeof *columns);
	columns[n] = (struct column){.type = TYPE_OF(TYPE_INT), .data = numbers};
	columns[n + 1] = (struct column){.type = TYPE_OF(TYPE_INT), .data = partners};
	return put_results(g, &rows, numbers, e);
}

static void runs_clear(struct runs *r)
{
	for (size_t i = 0; i < r->len; i++)
		spill_run_free(r->list[i]);
	mem_free(r->list);
	*r = (struct runs){.len = 0};
}

static int results_take(struct grace *g, struct runs *out, struct error *e)
{
	if (cut_results(g, e) < 0)
		return -1;
	for (size_t i = 0; i < g->cut.len; i++)
		runs_add(out, g->cut.list[i]);
	g->cut.len = 0;
	return 0;
}

/* ---- merging ---- */

struct cursor {
	struct spill_reader *reader;
	const struct batch *b; /* NULL: at the end */
	uint32_t at;
};

struct merge {
	struct grace *g;
	struct cursor *cursors;
	uint32_t *heap, heap_len; /* of cursors, the least first */
	struct batch_builder rows;
	const struct schema *schema;
	size_t number;   /* column of the numbers */
	bool is_final;   /* to the output */
	struct bin *bin; /* else here; NULL: to the results under way */
	int64_t broken;  /* see emit_changes */
};

static int64_t cursor_number(const struct merge *m, uint32_t c)
{
	const struct cursor *k = &m->cursors[c];

	return column_int(&k->b->columns[m->number], k->at);
}

static bool comes_before(const struct merge *m, uint32_t a, uint32_t b)
{
	int64_t x = cursor_number(m, a), y = cursor_number(m, b);

	return x != y ? x < y : a < b;
}

static void sift_down(struct merge *m, uint32_t i)
{
	for (;;) {
		uint32_t child = 2 * i + 1, swap;

		if (child >= m->heap_len)
			return;
		if (child + 1 < m->heap_len && comes_before(m, m->heap[child + 1], m->heap[child]))
			child++;
		if (!comes_before(m, m->heap[child], m->heap[i]))
			return;
		swap = m->heap[i];
		m->heap[i] = m->heap[child];
		m->heap[child] = swap;
		i = child;
	}
}

static int cursor_next(struct cursor *c, struct error *e)
{
	int status = spill_reader_next(c->reader, &c->b, e);

	c->at = 0;
	if (status)
		c->b = NULL;
	return status < 0 ? -1 : 0;
}

/* Emits what is settled; the rest stays. */
static int merge_emit(struct merge *m, bool more, struct error *e)
{
	struct join *j = m->g->j;
	const struct batch *all = batch_builder_view(&m->rows);
	size_t n = j->plan.out.fields_len;
	struct arena arena = ARENA_INIT;
	struct batch b = {.schema = &j->plan.out, .rows = all->rows, .columns = all->columns};
	struct batch_builder left;
	int status;

	if (!all->rows)
		return 0;
	if (all->ops) {
		uint8_t *ops = arena_alloc(&arena, all->rows);

		b.ops = ops;
		b.rows = emit_settle(j, &(struct emit_changes){.numbers = all->columns[n].data,
						.partners = all->columns[n + 1].data,
						.left_ops = all->ops,
						.ops = ops,
						.n = all->rows,
						.more = more,
						.broken = &m->broken});
	}
	status = stage_emit(j->op.stage, 0, &b, e);
	batch_builder_init(&left, &m->g->out);
	batch_builder_put_rows(&left, all, b.rows, all->rows - b.rows);
	batch_builder_clear(&m->rows);
	m->rows = left;
	arena_clear(&arena);
	return status;
}

static int merge_flush(struct merge *m, bool more, struct error *e)
{
	struct grace *g = m->g;
	const struct batch *rows;
	int status = 0;

	if (m->is_final)
		return merge_emit(m, more, e);
	rows = batch_builder_view(&m->rows);
	if (m->bin)
		status = bin_put_all(g, m->bin, m->schema, rows, e);
	else if (rows->rows)
		status = put_results(g, rows, rows->columns[m->number].data, e);
	batch_builder_reset(&m->rows);
	return status;
}

/* Rows of the least cursor, up to where another one comes before it. */
static int merge_some(struct merge *m, struct error *e)
{
	uint32_t c = m->heap[0];
	struct cursor *k = &m->cursors[c];
	uint32_t first = k->at, room = BATCH_ROWS - batch_builder_rows(&m->rows), second = 0;

	if (m->heap_len > 1) {
		second = m->heap[1];
		if (m->heap_len > 2 && comes_before(m, m->heap[2], second))
			second = m->heap[2];
	}
	do
		k->at++;
	while (k->at < k->b->rows && k->at - first < room &&
		(m->heap_len == 1 || comes_before(m, c, second)));
	batch_builder_put_rows(&m->rows, k->b, first, k->at - first);
	if (k->at == k->b->rows && cursor_next(k, e) < 0)
		return -1;
	if (!k->b)
		m->heap[0] = m->heap[--m->heap_len];
	sift_down(m, 0);
	return batch_builder_is_full(&m->rows) ? merge_flush(m, true, e) : 0;
}

static int merge_all(struct merge *m, const struct runs *from, struct error *e)
{
	for (size_t i = 0; i < from->len; i++) {
		struct cursor *c = &m->cursors[i];

		c->reader = spill_reader_new(from->list[i], 0, SPILL_TO_END);
		if (cursor_next(c, e) < 0)
			return -1;
		if (c->b)
			m->heap[m->heap_len++] = (uint32_t)i;
	}
	for (uint32_t i = m->heap_len; i-- > 0;)
		sift_down(m, i);
	while (m->heap_len) {
		if (merge_some(m, e) < 0)
			return -1;
	}
	return merge_flush(m, false, e);
}

static int merge(struct merge *m, const struct runs *from, struct error *e)
{
	int status;

	m->cursors = mem_zero((from->len + 1) * sizeof *m->cursors);
	m->heap = mem_zero((from->len + 1) * sizeof *m->heap);
	batch_builder_init(&m->rows, m->schema);
	status = merge_all(m, from, e);
	for (size_t i = 0; i < from->len; i++)
		spill_reader_free(m->cursors[i].reader);
	mem_free(m->cursors);
	mem_free(m->heap);
	batch_builder_clear(&m->rows);
	return status;
}

/* Merges runs of results into those under way, or to the output. */
static int merge_results(struct grace *g, const struct runs *from, bool is_final, struct error *e)
{
	struct merge m = {.g = g,
		.schema = &g->out,
		.number = g->j->plan.out.fields_len,
		.is_final = is_final,
		.broken = -1};

	return merge(&m, from, e);
}

/* Several runs become one, which stands in their place. */
static int shrink(struct grace *g, struct runs *r, struct error *e)
{
	struct runs one = {.len = 0};
	int status;

	if (r->len <= 1)
		return 0;
	status = merge_results(g, r, false, e);
	if (status == 0)
		status = results_take(g, &one, e);
	runs_clear(r);
	*r = one;
	return status;
}

static int append(struct grace *g, struct runs *to, struct runs *from, struct error *e)
{
	int status = shrink(g, from, e);

	for (size_t i = 0; i < from->len; i++)
		runs_add(to, from->list[i]);
	mem_free(from->list);
	return status;
}

/* ---- joining a share ---- */

static bool is_over_budget(const struct grace *g)
{
	const struct join *j = g->j;

	return g->budget_bytes && kept_bytes(&j->kept) + j->family->bytes(j) > g->budget_bytes;
}

/* Keeps a batch of a run of right rows, its numbers as times. */
static int keep(struct grace *g, const struct batch *rows, struct error *e)
{
	struct join *j = g->j;
	struct kept *k = &j->kept;
	struct batch plain = plain_rows(g, RIGHT, rows);
	const int64_t *numbers = rows->columns[ROW_NUMBER].data, *met = rows->columns[ROW_MET].data;
	bool any_met = false;
	uint32_t first;

	arena_reset(&j->arena);
	for (uint32_t r = 0; r < rows->rows; r++)
		any_met = any_met || met[r];
	/* Who has met somebody was there when LEFT came: nothing is taken back any more. */
	if (plain.ops && !any_met)
		return equal_change(j, &plain, numbers, e);
	equal_forget(j);
	plain.ops = NULL;
	if (kept_add(k, RIGHT, &plain, numbers, true, &j->arena, &first, e) < 0)
		return -1;
	for (uint32_t r = 0; r < rows->rows; r++) {
		if (met[r])
			k->sides[RIGHT].flags[first + r] |= ROW_MATCHED;
		if (k->counted >> RIGHT & 1)
			k->matches[RIGHT][first + r] = (uint32_t)met[r];
	}
	return 0;
}

/* Keeps right rows until they are too many: *more then. */
static int keep_some(
	struct grace *g, struct spill_reader *r, uint64_t *left, bool *more, struct error *e)
{
	const struct batch *rows;
	int status;

	join_reset_kept(g->j);
	equal_forget(g->j);
	*more = false;
	while (*left > 0) {
		if ((status = spill_reader_next(r, &rows, e)) != 0)
			return status;
		if (keep(g, rows, e) < 0)
			return -1;
		*left -= rows->rows;
		*more = *left > 0;
		if (is_over_budget(g))
			break;
	}
	*more = *left > 0;
	return 0;
}

struct probing {
	struct grace *g;
	uint8_t *met; /* a bit per left row of the share; NULL: all right rows are there */
	uint64_t at;
};

static int probe_rows(void *context, const struct batch *rows, struct error *e)
{
	struct probing *p = context;
	struct grace *g = p->g;
	struct batch plain = plain_rows(g, LEFT, rows);
	uint8_t *met = NULL;
	int status;

	arena_reset(&g->j->arena);
	if (p->met)
		met = arena_zero(&g->j->arena, rows->rows + (size_t)1);
	g->left_numbers = rows->columns[ROW_NUMBER].data;
	status = equal_probe(g->j, &plain, met, e);
	g->left_numbers = NULL;
	for (uint32_t r = 0; met && r < rows->rows; r++, p->at++)
		p->met[p->at / 8] |= (uint8_t)(met[r] << p->at % 8);
	return status;
}

/* Left rows that go out alone, or once, when all blocks have been met. */
static int lone_rows(void *context, const struct batch *rows, struct error *e)
{
	struct probing *p = context;
	struct join *j = p->g->j;
	struct batch plain = plain_rows(p->g, LEFT, rows);
	uint32_t *left, *right;
	struct pairs out = {.left = &plain,
		.right = rowstore_view(&j->kept.sides[RIGHT]),
		.left_ops = plain.ops};
	int status;

	arena_reset(&j->arena);
	out.left_rows = left = arena_alloc(&j->arena, rows->rows * sizeof *left);
	out.right_rows = right = arena_alloc(&j->arena, rows->rows * sizeof *right);
	for (uint32_t r = 0; r < rows->rows; r++, p->at++) {
		bool met = p->met[p->at / 8] >> p->at % 8 & 1;

		left[out.n] = r;
		right[out.n] = ROW_NONE;
		out.n += met == (j->options.kind == JOIN_SEMI);
	}
	p->g->left_numbers = rows->columns[ROW_NUMBER].data;
	status = emit_pairs(j, &out, e);
	p->g->left_numbers = NULL;
	return status;
}

/* Too many rows of one key: a part of them at a time meets all left ones.  The first part is kept.
 */
static int join_blocks(struct grace *g, struct share *s, struct spill_reader *reader, uint64_t left,
	struct runs *out, struct error *e)
{
	struct runs parts = {.len = 0};
	struct probing p = {.g = g, .met = mem_zero(bin_rows(&s->sides[LEFT]) / 8 + 1)};
	bool alone = join_keeps_left(g->j) || g->j->options.kind == JOIN_SEMI, more = true;
	int status = 0;

	while (status == 0 && more) {
		p.at = 0;
		status = bin_each(&s->sides[LEFT], probe_rows, &p, e);
		if (status == 0)
			status = equal_rest(g->j, e);
		if (status == 0)
			status = results_take(g, &parts, e);
		if (status == 0 && parts.len >= MERGE_MAX)
			status = shrink(g, &parts, e);
		more = left > 0;
		if (status == 0 && more)
			status = keep_some(g, reader, &left, &(bool){false}, e);
	}
	p.at = 0;
	if (status == 0 && alone)
		status = bin_each(&s->sides[LEFT], lone_rows, &p, e);
	if (status == 0)
		status = results_take(g, &parts, e);
	mem_free(p.met);
	if (append(g, out, &parts, e) < 0)
		return -1;
	return status;
}

static int join_share(
	struct grace *g, struct share *s, unsigned level, struct runs *out, struct error *e);

struct spreading {
	struct grace *g;
	struct spread *to;
	unsigned side;
	bool by_content; /* not by key */
};

static int spread_batch(void *context, const struct batch *rows, struct error *e)
{
	struct spreading *s = context;
	struct grace *g = s->g;
	struct batch plain = plain_rows(g, s->side, rows);
	struct plan_keys keys;
	uint32_t *pick;

	arena_reset(&g->arena);
	if (plan_find_keys(&g->j->plan, s->side, &plain, &g->arena, &keys, e) < 0)
		return -1;
	if (s->by_content)
		rowindex_hash(&plain, &g->arena, keys.hashes);
	pick = arena_alloc(&g->arena, rows->rows * sizeof *pick);
	for (uint32_t r = 0; r < rows->rows; r++)
		pick[r] = r;
	return spread_rows(g, s->to, s->side, rows, keys.hashes, pick, rows->rows, e);
}

/* All shares of a level, which are given up one by one. */
static int join_spread(struct grace *g, struct spread *s, struct runs *out, struct error *e)
{
	for (unsigned i = 0; i < SHARES; i++) {
		struct share *share = &s->shares[i];

		if (join_share(g, share, s->level, out, e) < 0)
			return -1;
		bin_clear(&share->sides[LEFT]);
		bin_clear(&share->sides[RIGHT]);
	}
	return 0;
}

/* A share by further bits of the hash. */
static int divide(
	struct grace *g, struct share *s, unsigned level, struct runs *out, struct error *e)
{
	struct spreading to = {.g = g, .to = spread_new(level)};
	struct runs parts = {.len = 0};
	int status = 0;

	join_reset_kept(g->j);
	equal_forget(g->j);
	for (to.side = 0; to.side < 2 && status == 0; to.side++) {
		status = bin_each(&s->sides[to.side], spread_batch, &to, e);
		bin_clear(&s->sides[to.side]);
	}
	if (status == 0)
		status = join_spread(g, to.to, &parts, e);
	spread_free(to.to);
	if (append(g, out, &parts, e) < 0)
		return -1;
	return status;
}

static int too_large(const struct grace *g, struct error *e)
{
	error_set(e, ERROR_USAGE,
		"RIGHT is a changelog, and equal rows of one key take more than --memory allows "
		"(%zu MiB)",
		g->budget_bytes >> 20);
	return error_hint(e, "raise --memory, or select fewer columns");
}

/* ---- a changelog on the right, of which too much comes together ---- */

static int keep_batch(void *context, const struct batch *rows, struct error *e)
{
	return keep(context, rows, e);
}

/* What is left of some right rows, which have all that are equal to them: a run. */
static int net_part(struct grace *g, struct bin *part, struct runs *out, struct error *e)
{
	struct kept *k = &g->j->kept;
	struct rowstore *s = &k->sides[RIGHT];
	size_t columns_len = g->j->plan.rows[RIGHT].fields_len;
	struct bin left = {.run = NULL};
	int status;

	join_reset_kept(g->j);
	equal_forget(g->j);
	if (bin_each(part, keep_batch, g, e) < 0)
		return -1;
	if (is_over_budget(g) && !g->j->options.spill_rows)
		return too_large(g, e);
	equal_finish(g->j);
	status = 0;
	for (uint32_t first = 0; first < s->len && status == 0; first += BATCH_ROWS) {
		uint32_t n = s->len - first < BATCH_ROWS ? s->len - first : BATCH_ROWS;
		struct column *columns;
		struct batch plain, rows;
		int64_t *met;

		arena_reset(&g->arena);
		batch_slice(rowstore_view(s), first, n, &g->arena, &plain);
		columns = ARENA_ARRAY(&g->arena, struct column, columns_len + ROW_COLUMNS);
		met = arena_alloc(&g->arena, n * sizeof *met);
		for (uint32_t r = 0; r < n; r++)
			met[r] = k->counted >> RIGHT & 1 ? k->matches[RIGHT][first + r]
							 : s->flags[first + r] & ROW_MATCHED;
		columns[ROW_NUMBER] = (struct column){
			.type = TYPE_OF(TYPE_INT), .data = s->time_us + first};
		columns[ROW_MET] = (struct column){.type = TYPE_OF(TYPE_INT), .data = met};
		memcpy(columns + ROW_COLUMNS, plain.columns, columns_len * sizeof *columns);
		rows = (struct batch){.schema = &g->row[RIGHT],
			.rows = n,
			.columns = columns,
			.ops = arena_zero(&g->arena, n)};
		status = bin_put_all(g, &left, &g->row[RIGHT], &rows, e);
	}
	if (status == 0)
		status = bin_flush(g, &left, e);
	if (left.run)
		runs_add(out, left.run);
	left.run = NULL;
	bin_clear(&left);
	return status;
}

/* Takes rows back that can't be kept together: equal ones meet, by a hash of all they hold.  What
 * is left is in order again. */
static int net(struct grace *g, struct bin *right, struct error *e)
{
	struct spreading to = {.g = g, .to = spread_new(1), .side = RIGHT, .by_content = true};
	struct runs parts = {.len = 0};
	struct merge m = {.g = g, .schema = &g->row[RIGHT], .number = ROW_NUMBER, .bin = right};
	int status = bin_each(right, spread_batch, &to, e);

	bin_clear(right);
	for (unsigned i = 0; i < SHARES && status == 0; i++) {
		status = net_part(g, &to.to->shares[i].sides[RIGHT], &parts, e);
		bin_clear(&to.to->shares[i].sides[RIGHT]);
	}
	spread_free(to.to);
	if (status == 0)
		status = merge(&m, &parts, e);
	runs_clear(&parts);
	return status;
}

/* All right rows of a share are kept. */
static int join_kept(struct grace *g, struct share *s, struct runs *out, struct error *e)
{
	struct probing p = {.g = g};

	if (bin_each(&s->sides[LEFT], probe_rows, &p, e) < 0 || equal_rest(g->j, e) < 0)
		return -1;
	return results_take(g, out, e);
}

enum whole { WHOLE, WHOLE_NETTED };

/* In memory if it fits, else in parts. */
static int join_whole(struct grace *g, struct share *s, unsigned level, enum whole whole,
	struct runs *out, struct error *e)
{
	struct bin *right = &s->sides[RIGHT];
	struct spill_reader *reader = NULL;
	uint64_t left = 0;
	bool more = false, divides;
	int status;

	if (bin_flush(g, right, e) < 0)
		return -1;
	if (right->run) {
		left = spill_run_rows(right->run);
		reader = spill_reader_new(right->run, 0, SPILL_TO_END);
	}
	status = keep_some(g, reader, &left, &more, e);
	divides = level + 1 < LEVELS_MAX && keytable_len(g->j->kept.table) > 1;
	if (status == 0 && !more)
		status = join_kept(g, s, out, e);
	else if (status == 0 && !divides && (!g->row[RIGHT].changelog || whole == WHOLE_NETTED))
		status = join_blocks(g, s, reader, left, out, e);
	spill_reader_free(reader);
	if (status < 0 || !more)
		return status;
	if (divides)
		return divide(g, s, level + 1, out, e);
	if (!g->row[RIGHT].changelog || whole == WHOLE_NETTED)
		return 0;
	if (net(g, right, e) < 0)
		return -1;
	return join_whole(g, s, LEVELS_MAX, WHOLE_NETTED, out, e);
}

static int join_share(
	struct grace *g, struct share *s, unsigned level, struct runs *out, struct error *e)
{
	if (!bin_rows(&s->sides[RIGHT]) && !bin_rows(&s->sides[LEFT]))
		return 0;
	return join_whole(g, s, level, WHOLE, out, e);
}

/* Right rows with a null key. */
static int alone_rows(void *context, const struct batch *rows, struct error *e)
{
	struct grace *g = context;

	join_reset_kept(g->j);
	equal_forget(g->j);
	return keep(g, rows, e) < 0 ? -1 : equal_rest(g->j, e);
}

static int join_all(struct grace *g, struct runs *out, struct error *e)
{
	if (bin_each(&g->alone, alone_rows, g, e) < 0 || results_take(g, out, e) < 0)
		return -1;
	bin_clear(&g->alone);
	return join_spread(g, g->spread, out, e);
}

int grace_join(struct grace *g, struct error *e)
{
	struct runs out = {.len = 0};
	int status;

	g->j->sink = &g->sink;
	status = join_all(g, &out, e);
	g->j->sink = NULL;
	join_reset_kept(g->j);
	equal_forget(g->j);
	if (status == 0)
		status = merge_results(g, &out, true, e);
	runs_clear(&out);
	return status;
}

/* ---- life ---- */

static void make_schemas(struct grace *g)
{
	const struct plan *p = &g->j->plan;

	for (unsigned side = 0; side < 2; side++) {
		struct schema *s = &g->row[side];

		schema_init(s);
		schema_add(s, "number", 6, TYPE_OF(TYPE_INT));
		schema_add(s, "met", 3, TYPE_OF(TYPE_INT));
		for (size_t i = 0; i < p->rows[side].fields_len; i++)
			schema_add_field(s, &p->rows[side].fields[i]);
		s->changelog = p->in[side].changelog;
	}
	schema_init(&g->out);
	for (size_t i = 0; i < p->out.fields_len; i++)
		schema_add_field(&g->out, &p->out.fields[i]);
	schema_add(&g->out, "number", 6, TYPE_OF(TYPE_INT));
	schema_add(&g->out, "partner", 7, TYPE_OF(TYPE_INT));
	g->out.changelog = p->out.changelog;
}

int grace_new(struct join *j, struct grace **out, struct error *e)
{
	struct grace *g = mem_zero(sizeof *g);
	size_t memory = (size_t)j->options.memory_bytes, share = memory / (4 * SHARES);

	g->sink.put = sink_put;
	g->j = j;
	g->range = stage_key_range(j->op.stage);
	g->bin_bytes = j->options.spill_rows              ? SIZE_MAX
		       : share < BIN_BYTES_MIN            ? BIN_BYTES_MIN
		       : share > BIN_BYTES_MAX || !memory ? BIN_BYTES_MAX
							  : share;
	g->bin_rows = j->options.spill_rows ? j->options.spill_rows : BATCH_ROWS;
	g->budget_bytes = memory && memory < BUDGET_MIN && !j->options.spill_rows ? BUDGET_MIN
										  : memory;
	make_schemas(g);
	g->spread = spread_new(0);
	g->last_number = INT64_MIN;
	*out = g;
	return take_kept(g, e);
}

void grace_free(struct grace *g)
{
	if (!g)
		return;
	spread_free(g->spread);
	bin_clear(&g->alone);
	bin_clear(&g->results);
	runs_clear(&g->cut);
	schema_clear(&g->row[LEFT]);
	schema_clear(&g->row[RIGHT]);
	schema_clear(&g->out);
	arena_clear(&g->arena);
	mem_free(g);
}
