/* The first rows as they come, overall or per key: a count per key is all there is to keep. */
#include "cmd/ssort/ssort.h"
#include "libcore/base/memory.h"
#include "libcore/table/keytable.h"

#include <string.h>

struct way {
	struct sort_keys keys;
	struct keytable *table;
	int64_t *counts;
	size_t counts_len, counts_cap;
	struct arena arena;
};

static int head_open(struct ssort *s, struct error *e)
{
	struct way *w = s->state = mem_zero(sizeof *w);

	if (sort_keys_compile(&w->keys, s, e) < 0)
		return -1;
	w->table = keytable_new(w->keys.types, w->keys.len);
	return stage_declare(s->op.stage, 0, &s->out, e);
}

static void head_close(struct ssort *s)
{
	struct way *w = s->state;

	if (w->table)
		keytable_free(w->table);
	sort_keys_clear(&w->keys);
	mem_free(w->counts);
	arena_clear(&w->arena);
	mem_free(w);
}

static void grow_counts(struct way *w)
{
	size_t n = keytable_len(w->table);

	if (n <= w->counts_len)
		return;
	MEM_GROW(w->counts, w->counts_cap, n);
	memset(w->counts + w->counts_len, 0, (n - w->counts_len) * sizeof *w->counts);
	w->counts_len = n;
}

static bool is_done(const struct ssort *s)
{
	const struct way *w = s->state;

	return !w->keys.len && w->counts_len && w->counts[0] >= s->o.limit;
}

static int check_memory(const struct ssort *s, struct error *e)
{
	const struct way *w = s->state;

	if (!s->o.memory_bytes || keytable_bytes(w->table) + w->counts_cap * sizeof *w->counts <=
					  (size_t)s->o.memory_bytes)
		return 0;
	return error_set(e, ERROR_DATA,
		"the keys take more than --memory allows\n"
		"a larger --memory, or fewer keys");
}

static int head_batch(struct ssort *s, const struct batch *b, struct error *e)
{
	struct way *w = s->state;
	uint64_t *hashes;
	uint32_t *ids, *pick, n = 0;
	int64_t *numbers;
	struct batch picked;

	if (is_done(s))
		return 0;
	arena_reset(&w->arena);
	hashes = arena_alloc(&w->arena, b->rows * sizeof *hashes);
	ids = arena_alloc(&w->arena, b->rows * sizeof *ids);
	pick = arena_alloc(&w->arena, b->rows * sizeof *pick);
	numbers = arena_alloc(&w->arena, b->rows * sizeof *numbers);
	if (sort_keys_run(&w->keys, b, hashes, e) < 0)
		return -1;
	keytable_insert(w->table, w->keys.pointers, b->rows, hashes, ids);
	grow_counts(w);
	for (uint32_t r = 0; r < b->rows; r++) {
		if (w->counts[ids[r]] >= s->o.limit)
			continue;
		numbers[n] = ++w->counts[ids[r]];
		pick[n++] = r;
	}
	if (n < b->rows)
		batch_gather(b, pick, n, &w->arena, &picked);
	if (n && ssort_emit(s, n < b->rows ? &picked : b, numbers, e) < 0)
		return -1;
	if (is_done(s))
		stage_done(s->op.stage);
	return check_memory(s, e);
}

static int head_watermark(struct ssort *s, int64_t in_us, int64_t *out_us, struct error *e)
{
	return 0;
}

/* ---- state: section "counts": key_group, count, key.N ... ---- */

static void saved_schema(const struct way *w, struct schema *s)
{
	struct buf name = BUF_INIT;

	schema_init(s);
	schema_set_name(s, "counts");
	if (w->keys.len)
		schema_add(s, "key_group", 9, TYPE_OF(TYPE_INT));
	schema_add(s, "count", 5, TYPE_OF(TYPE_INT));
	for (size_t i = 0; i < w->keys.len; i++) {
		buf_reset(&name);
		buf_printf(&name, "key.%zu", i);
		schema_add(s, (const char *)name.data, name.len, w->keys.types[i]);
	}
	buf_clear(&name);
}

static int save_part(struct way *w, const struct schema *schema, const uint32_t *ids, uint32_t n,
	struct snapshot_writer *out, struct error *e)
{
	struct column *columns = ARENA_ARRAY(&w->arena, struct column, schema->fields_len);
	struct batch b = {.schema = schema, .rows = n, .columns = columns};
	int64_t *groups = arena_alloc(&w->arena, n * sizeof *groups);
	int64_t *counts = arena_alloc(&w->arena, n * sizeof *counts);
	size_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		groups[i] = key_group(keytable_hash(w->table, ids[i]));
		counts[i] = w->counts[ids[i]];
	}
	if (w->keys.len)
		columns[at++] = (struct column){.type = TYPE_OF(TYPE_INT), .data = groups};
	columns[at++] = (struct column){.type = TYPE_OF(TYPE_INT), .data = counts};
	for (size_t i = 0; i < w->keys.len; i++) {
		struct column all = keytable_column(w->table, i);

		column_gather(&all, ids, n, &w->arena, &columns[at++]);
	}
	return snapshot_put(out, &b, e);
}

static int head_save(struct ssort *s, struct snapshot_writer *out, struct error *e)
{
	struct way *w = s->state;
	uint32_t n = (uint32_t)w->counts_len;
	uint64_t *hashes = mem_alloc((n + (size_t)1) * sizeof *hashes);
	uint32_t *order = mem_alloc((n + (size_t)1) * sizeof *order);
	struct schema schema;
	int status;

	for (uint32_t i = 0; i < n; i++)
		hashes[i] = keytable_hash(w->table, i);
	snapshot_order(hashes, n, order);
	saved_schema(w, &schema);
	status = snapshot_section(out, &schema, e);
	for (uint32_t done = 0; done < n && status == 0; done += BATCH_ROWS) {
		arena_reset(&w->arena);
		status = save_part(w, &schema, order + done,
			n - done < BATCH_ROWS ? n - done : BATCH_ROWS, out, e);
	}
	schema_clear(&schema);
	mem_free(hashes);
	mem_free(order);
	return status;
}

static int head_load(struct ssort *s, const struct batch *saved, struct error *e)
{
	struct way *w = s->state;
	size_t first = w->keys.len ? 2 : 1;
	struct schema wanted;
	uint64_t *hashes;
	uint32_t *ids;
	bool fits;

	saved_schema(w, &wanted);
	fits = schema_equal(&wanted, saved->schema);
	schema_clear(&wanted);
	if (!fits)
		return error_set(e, ERROR_STATE, "the counts were kept by other keys");
	arena_reset(&w->arena);
	hashes = arena_alloc(&w->arena, saved->rows * sizeof *hashes);
	ids = arena_alloc(&w->arena, saved->rows * sizeof *ids);
	for (size_t i = 0; i < w->keys.len; i++)
		w->keys.columns[i] = saved->columns[first + i];
	keys_hash(w->keys.pointers, w->keys.len, saved->rows, hashes);
	keytable_insert(w->table, w->keys.pointers, saved->rows, hashes, ids);
	grow_counts(w);
	for (uint32_t r = 0; r < saved->rows; r++)
		w->counts[ids[r]] += column_int(&saved->columns[first - 1], r);
	return 0;
}

const struct way_ops head_way = {
	.open = head_open,
	.close = head_close,
	.batch = head_batch,
	.watermark = head_watermark,
	.save = head_save,
	.load = head_load,
};
