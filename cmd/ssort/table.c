#include "cmd/ssort/table.h"

#include "cmd/ssort/held.h"
#include "cmd/ssort/radix.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

struct table {
	const struct ssort *s;
	struct held held;
	struct order_keys no_keys; /* the order is the sorter's affair */
	struct arena arena;
};

struct table *table_new(const struct ssort *s)
{
	struct table *t = mem_zero(sizeof *t);

	t->s = s;
	held_init(&t->held, &s->in, true);
	order_keys_init(&t->no_keys);
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	held_clear(&t->held);
	order_keys_clear(&t->no_keys);
	arena_clear(&t->arena);
	mem_free(t);
}

/* The rows that a batch adds, behind those that are there; none can be found yet. */
static uint32_t add_rows(struct table *t, const struct batch *b, const uint32_t *pick, uint32_t n)
{
	int64_t *seqs = arena_alloc(&t->arena, n * sizeof *seqs);

	for (uint32_t i = 0; i < n; i++)
		seqs[i] = t->held.next_seq++;
	MEM_GROW(t->no_keys.prefix, t->no_keys.prefix_cap, b->rows);
	memset(t->no_keys.prefix, 0, b->rows * sizeof *t->no_keys.prefix);
	return held_add(&t->held, b, &t->no_keys, pick, n, seqs, NULL);
}

static int refuse_retraction(
	const struct table *t, const struct batch *b, uint32_t row, struct error *e)
{
	struct buf text = BUF_INIT;

	batch_put_row(b, row, &text);
	error_set(e, ERROR_DATA, "%s takes back a row that it never sent: %s",
		stage_input_from(t->s->op.stage, 0), buf_cstr(&text));
	buf_clear(&text);
	return -1;
}

static int check_memory(struct table *t, struct error *e)
{
	if (rowstore_is_full(&t->held.store))
		return error_set(e, ERROR_DATA,
			"the rows of the changelog have more text than the "
			"4 GB that fit into a column");
	if (!t->s->o.memory_bytes || held_bytes(&t->held) <= (size_t)t->s->o.memory_bytes)
		return 0;
	return error_set(e, ERROR_DATA,
		"the rows of the changelog take more than --memory allows\n"
		"they can't be spilled, as each may be taken back: give a larger --memory");
}

static void compact(struct table *t)
{
	uint32_t *remap;

	if (!rowstore_wants_compact(&t->held.store, 0))
		return;
	remap = mem_alloc((t->held.store.len + (size_t)1) * sizeof *remap);
	held_compact(&t->held, remap);
	mem_free(remap);
}

int table_apply(struct table *t, const struct batch *b, struct error *e)
{
	struct held *k = &t->held;
	uint32_t *pick, n = 0, next;
	uint64_t *hashes;
	int64_t place = -1; /* of the row that a -U has just taken back */

	arena_reset(&t->arena);
	pick = arena_alloc(&t->arena, b->rows * sizeof *pick);
	hashes = arena_alloc(&t->arena, b->rows * sizeof *hashes);
	held_hash(k, b, hashes);
	for (uint32_t r = 0; r < b->rows; r++) {
		if (b->ops[r] == ROW_INSERT || b->ops[r] == ROW_UPDATE_AFTER)
			pick[n++] = r;
	}
	next = add_rows(t, b, pick, n);
	for (uint32_t r = 0; r < b->rows; r++) {
		uint32_t row;

		if (b->ops[r] == ROW_INSERT || b->ops[r] == ROW_UPDATE_AFTER) {
			if (b->ops[r] == ROW_UPDATE_AFTER && place >= 0)
				k->store.time_us[next] = place;
			held_index(k, next++);
			place = -1;
			continue;
		}
		row = held_take(k, b, r, hashes[r]);
		if (row == ROW_NONE)
			return refuse_retraction(t, b, r, e);
		place = b->ops[r] == ROW_UPDATE_BEFORE ? k->store.time_us[row] : -1;
		rowstore_kill(&k->store, row);
	}
	compact(t);
	return check_memory(t, e);
}

/* ---- all rows by seq ---- */

static uint32_t *rows_by_seq(struct table *t, uint32_t *n)
{
	const struct rowstore *s = &t->held.store;
	struct sort_entry *entries = mem_alloc((s->len + (size_t)1) * 2 * sizeof *entries);
	uint32_t *rows = mem_alloc((s->len + (size_t)1) * sizeof *rows);

	*n = 0;
	for (uint32_t r = 0; r < s->len; r++) {
		if (!(s->flags[r] & ROW_DEAD))
			entries[(*n)++] = (struct sort_entry){
				.key = (uint64_t)s->time_us[r], .place = r};
	}
	radix_sort(entries, entries + *n, *n);
	for (uint32_t i = 0; i < *n; i++)
		rows[i] = entries[i].place;
	mem_free(entries);
	return rows;
}

/* Columns of the stream, of some rows; behind `before` free columns. */
static struct column *gather_rows(struct table *t, const uint32_t *rows, uint32_t n, size_t before)
{
	const struct batch *all = rowstore_view(&t->held.store);
	size_t fields = t->held.fields;
	struct column *columns = ARENA_ARRAY(&t->arena, struct column, fields + before);

	for (size_t i = 0; i < fields; i++)
		column_gather(&all->columns[i], rows, n, &t->arena, &columns[before + i]);
	return columns;
}

int table_drain(struct table *t, struct sorter *to, struct error *e)
{
	uint32_t n, *rows = rows_by_seq(t, &n);
	int status = 0;

	for (uint32_t done = 0; done < n && status == 0; done += BATCH_ROWS) {
		struct batch b = {
			.schema = &t->s->in, .rows = n - done < BATCH_ROWS ? n - done : BATCH_ROWS};

		arena_reset(&t->arena);
		b.columns = gather_rows(t, rows + done, b.rows, 0);
		status = sorter_put(to, &b, e);
	}
	mem_free(rows);
	held_clear(&t->held);
	held_init(&t->held, &t->s->in, true);
	return status;
}

/* ---- snapshots ---- */

static void saved_schema(const struct table *t, struct schema *s)
{
	struct buf name = BUF_INIT;

	schema_init(s);
	schema_set_name(s, "table");
	schema_add(s, "seq", 3, TYPE_OF(TYPE_INT));
	for (size_t i = 0; i < t->held.fields; i++) {
		buf_reset(&name);
		buf_printf(&name, "row.%s", t->s->in.fields[i].name);
		schema_add(s, (const char *)name.data, name.len, t->s->in.fields[i].type);
	}
	buf_clear(&name);
}

int table_save(struct table *t, struct snapshot_writer *w, struct error *e)
{
	uint32_t n, *rows = rows_by_seq(t, &n);
	struct schema schema;
	int status;

	saved_schema(t, &schema);
	status = snapshot_section(w, &schema, e);
	for (uint32_t done = 0; done < n && status == 0; done += BATCH_ROWS) {
		struct batch b = {
			.schema = &schema, .rows = n - done < BATCH_ROWS ? n - done : BATCH_ROWS};
		struct column *columns;
		int64_t *seqs;

		arena_reset(&t->arena);
		columns = gather_rows(t, rows + done, b.rows, 1);
		seqs = arena_alloc(&t->arena, b.rows * sizeof *seqs);
		for (uint32_t i = 0; i < b.rows; i++)
			seqs[i] = t->held.store.time_us[rows[done + i]];
		columns[0] = (struct column){.type = TYPE_OF(TYPE_INT), .data = seqs};
		b.columns = columns;
		status = snapshot_put(w, &b, e);
	}
	schema_clear(&schema);
	mem_free(rows);
	return status;
}

int table_load(struct table *t, const struct batch *saved, struct error *e)
{
	struct batch b = {.schema = &t->s->in, .rows = saved->rows, .columns = saved->columns + 1};
	struct held *k = &t->held;
	struct schema wanted;
	uint32_t first;
	bool fits;

	saved_schema(t, &wanted);
	fits = schema_equal(&wanted, saved->schema);
	schema_clear(&wanted);
	if (!fits)
		return error_set(e, ERROR_STATE,
			"the rows kept so far have other columns than the stream has now");
	arena_reset(&t->arena);
	first = add_rows(t, &b, NULL, b.rows);
	for (uint32_t r = 0; r < b.rows; r++) {
		int64_t seq = column_int(&saved->columns[0], r);

		k->store.time_us[first + r] = seq;
		held_index(k, first + r);
		if (seq >= k->next_seq)
			k->next_seq = seq + 1;
	}
	return 0;
}
