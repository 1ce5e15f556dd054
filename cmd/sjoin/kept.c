#include "cmd/sjoin/kept.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdlib.h>
#include <string.h>

static const char *const section_names[2] = {"left", "right"};

void kept_init(struct kept *k, struct plan *plan, unsigned listed, unsigned counted)
{
	*k = (struct kept){.plan = plan, .listed = listed, .counted = counted};
	k->table = keytable_new(plan->types, plan->keys_len);
	for (unsigned side = 0; side < 2; side++)
		rowstore_init(&k->sides[side], &plan->rows[side]);
	for (unsigned side = 0; side < 2 && plan->options->slack_rows; side++)
		k->sides[side].slack_rows = plan->options->slack_rows;
}

void kept_clear(struct kept *k)
{
	if (k->table)
		keytable_free(k->table);
	for (unsigned side = 0; side < 2; side++) {
		rowstore_clear(&k->sides[side]);
		rowlists_clear(&k->lists[side]);
		mem_free(k->matches[side]);
	}
	*k = (struct kept){.plan = NULL};
}

uint32_t *kept_keys(struct kept *k, const struct plan_keys *keys, uint32_t rows, struct arena *a,
	uint32_t *nulls)
{
	size_t n = k->plan->keys_len;
	uint32_t *ids = arena_alloc(a, rows * sizeof *ids);
	uint32_t *full, *full_ids, full_len = 0;
	const struct column **columns;
	struct column *gathered;
	uint64_t *hashes;

	if (nulls)
		*nulls = 0;
	if (!keys->has_null) {
		keytable_insert(k->table, keys->columns, rows, keys->hashes, ids);
		return ids;
	}
	full = arena_alloc(a, rows * sizeof *full);
	hashes = arena_alloc(a, rows * sizeof *hashes);
	for (uint32_t r = 0; r < rows; r++) {
		if (keys_has_null(keys->columns, n, r))
			continue;
		hashes[full_len] = keys->hashes[r];
		full[full_len++] = r;
	}
	columns = ARENA_ARRAY(a, const struct column *, n);
	gathered = ARENA_ARRAY(a, struct column, n);
	for (size_t i = 0; i < n; i++) {
		column_gather(keys->columns[i], full, full_len, a, &gathered[i]);
		columns[i] = &gathered[i];
	}
	full_ids = arena_alloc(a, rows * sizeof *full_ids);
	keytable_insert(k->table, columns, full_len, hashes, full_ids);
	memset(ids, 0xff, rows * sizeof *ids);
	for (uint32_t i = 0; i < full_len; i++)
		ids[full[i]] = full_ids[i];
	if (nulls)
		*nulls = rows - full_len;
	return ids;
}

static void add_to_lists(struct kept *k, unsigned side, uint32_t first)
{
	struct rowstore *s = &k->sides[side];

	if (!(k->listed >> side & 1))
		return;
	rowlists_resize(&k->lists[side], keytable_len(k->table));
	for (uint32_t r = first; r < s->len; r++) {
		if (s->key[r] != KEY_NONE)
			rowlists_add(&k->lists[side], s, r);
	}
}

uint32_t kept_put(struct kept *k, unsigned side, const struct batch *b, const uint32_t *pick,
	uint32_t n, const int64_t *times, const uint32_t *ids)
{
	uint32_t first = rowstore_add(&k->sides[side], b, pick, n, times, ids);

	if (n && k->counted >> side & 1) {
		MEM_GROW(k->matches[side], k->matches_cap[side], first + (size_t)n);
		memset(k->matches[side] + first, 0, n * sizeof *k->matches[side]);
	}
	add_to_lists(k, side, first);
	return first;
}

int kept_add(struct kept *k, unsigned side, const struct batch *b, const int64_t *times,
	bool with_null, struct arena *a, uint32_t *first, struct error *e)
{
	struct plan_keys keys;
	uint32_t *ids, *pick = NULL, nulls, n = b->rows;

	if (plan_find_keys(k->plan, side, b, a, &keys, e) < 0)
		return -1;
	ids = kept_keys(k, &keys, b->rows, a, &nulls);
	if (nulls && !with_null) {
		int64_t *picked_times = arena_alloc(a, n * sizeof *picked_times);

		pick = arena_alloc(a, n * sizeof *pick);
		n = 0;
		for (uint32_t r = 0; r < b->rows; r++) {
			if (ids[r] == KEY_NONE)
				continue;
			picked_times[n] = times ? times[r] : 0;
			ids[n] = ids[r];
			pick[n++] = r;
		}
		times = picked_times;
	}
	*first = kept_put(k, side, b, pick, n, times, ids);
	return 0;
}

/* ---- compaction ---- */

/* The keys that some row still has, in a table of their own.  renamed: old number -> new; keys that
 * stay keep their order. */
static void rebuild_table(struct kept *k, uint32_t *renamed)
{
	uint32_t old_len = keytable_len(k->table), n = 0;
	uint32_t *picks = mem_alloc((old_len + (size_t)1) * sizeof *picks);
	struct keytable *table = keytable_new(k->plan->types, k->plan->keys_len);
	struct arena arena = ARENA_INIT;

	for (uint32_t id = 0; id < old_len; id++) {
		if (renamed[id] != KEY_NONE) {
			renamed[id] = n;
			picks[n++] = id;
		}
	}
	for (uint32_t done = 0; done < n && n < old_len;) {
		uint32_t part = n - done < BATCH_ROWS ? n - done : BATCH_ROWS;
		size_t len = k->plan->keys_len;
		const struct column **columns = ARENA_ARRAY(&arena, const struct column *, len);
		struct column *gathered = ARENA_ARRAY(&arena, struct column, len);
		uint64_t *hashes = arena_alloc(&arena, part * sizeof *hashes);
		uint32_t *ids = arena_alloc(&arena, part * sizeof *ids);

		for (size_t i = 0; i < len; i++) {
			struct column all = keytable_column(k->table, i);

			column_gather(&all, picks + done, part, &arena, &gathered[i]);
			columns[i] = &gathered[i];
		}
		keys_hash(columns, len, part, hashes);
		keytable_insert(table, columns, part, hashes, ids);
		MUST(ids[part - 1] == done + part - 1);
		done += part;
		arena_reset(&arena);
	}
	keytable_free(n < old_len ? k->table : table); /* often no key has gone */
	k->table = n < old_len ? table : k->table;
	arena_clear(&arena);
	mem_free(picks);
}

void kept_compact(struct kept *k, uint32_t *const remap[2])
{
	uint32_t keys = keytable_len(k->table);
	uint32_t *renamed = mem_alloc((keys + (size_t)1) * sizeof *renamed);

	memset(renamed, 0xff, keys * sizeof *renamed);
	for (unsigned side = 0; side < 2; side++) {
		struct rowstore *s = &k->sides[side];
		uint32_t old_len = s->len;

		rowstore_compact(s, remap[side]);
		for (uint32_t r = 0; k->counted >> side & 1 && r < old_len; r++) {
			if (remap[side][r] != ROW_NONE)
				k->matches[side][remap[side][r]] = k->matches[side][r];
		}
		for (uint32_t r = 0; r < s->len; r++) {
			if (s->key[r] != KEY_NONE)
				renamed[s->key[r]] = 0;
		}
	}
	rebuild_table(k, renamed);
	for (unsigned side = 0; side < 2; side++) {
		struct rowstore *s = &k->sides[side];

		for (uint32_t r = 0; r < s->len; r++) {
			if (s->key[r] != KEY_NONE)
				s->key[r] = renamed[s->key[r]];
		}
		rowlists_compact(&k->lists[side], renamed, remap[side]);
	}
	mem_free(renamed);
}

/* ---- snapshots ---- */

void kept_saved_schema(const struct kept *k, unsigned side, struct schema *s)
{
	const struct schema *in = &k->plan->in[side];
	struct buf name = BUF_INIT;

	schema_init(s);
	schema_set_name(s, section_names[side]);
	schema_add(s, "key_group", 9, TYPE_OF(TYPE_INT));
	schema_add(s, "seq", 3, TYPE_OF(TYPE_INT));
	schema_add(s, "time", 4, TYPE_OF(TYPE_TIMESTAMP));
	if (k->counted >> side & 1)
		schema_add(s, "matches", 7, TYPE_OF(TYPE_INT));
	else
		schema_add(s, "matched", 7, TYPE_OF(TYPE_BOOL));
	for (size_t i = 0; i < in->fields_len; i++) {
		buf_reset(&name);
		buf_printf(&name, "row.%s", in->fields[i].name);
		schema_add(s, (const char *)name.data, name.len, in->fields[i].type);
	}
	buf_clear(&name);
}

/* matches: by row; NULL where only whether there are any is known. */
static void saved_matches(const struct rowstore *s, const uint32_t *matches, const uint32_t *rows,
	uint32_t n, struct arena *a, struct column *out)
{
	int64_t *counts = arena_alloc(a, n * sizeof *counts);
	uint8_t *matched = arena_alloc(a, n);

	for (uint32_t i = 0; i < n; i++) {
		counts[i] = matches ? matches[rows[i]] : 0;
		matched[i] = s->flags[rows[i]] & ROW_MATCHED;
	}
	if (matches)
		*out = (struct column){.type = TYPE_OF(TYPE_INT), .data = counts};
	else
		*out = (struct column){.type = TYPE_OF(TYPE_BOOL), .data = matched};
}

static int put_saved(struct kept *k, unsigned side, const struct schema *schema,
	const uint32_t *rows, const uint64_t *hashes, uint32_t n, struct arena *a,
	struct snapshot_writer *w, struct error *e)
{
	struct rowstore *s = &k->sides[side];
	struct column *columns = ARENA_ARRAY(a, struct column, schema->fields_len);
	int64_t *ints[3];
	struct batch b = {.schema = schema, .rows = n, .columns = columns};
	const struct batch *all = rowstore_view(s);

	for (int i = 0; i < 3; i++) {
		ints[i] = arena_alloc(a, n * sizeof **ints);
		columns[i] = (struct column){.type = schema->fields[i].type, .data = ints[i]};
	}
	saved_matches(s, k->counted >> side & 1 ? k->matches[side] : NULL, rows, n, a,
		&columns[SAVED_MATCHED]);
	for (uint32_t i = 0; i < n; i++) {
		ints[SAVED_GROUP][i] = key_group(hashes[i]);
		ints[SAVED_SEQ][i] = rows[i];
		ints[SAVED_TIME][i] = s->time_us[rows[i]];
	}
	for (size_t i = SAVED_COLUMNS; i < schema->fields_len; i++)
		column_gather(&all->columns[i - SAVED_COLUMNS], rows, n, a, &columns[i]);
	return snapshot_put(w, &b, e);
}

int kept_save(struct kept *k, unsigned side, struct snapshot_writer *w, struct error *e)
{
	struct rowstore *s = &k->sides[side];
	uint32_t n = s->len - s->dead, at = 0;
	uint32_t *live = mem_alloc((n + (size_t)1) * 2 * sizeof *live), *order = live + n + 1;
	uint64_t *hashes = mem_alloc((n + (size_t)1) * sizeof *hashes);
	struct arena arena = ARENA_INIT;
	struct schema schema;
	int status;

	for (uint32_t r = 0; r < s->len; r++) {
		if (s->flags[r] & ROW_DEAD)
			continue;
		/* A row without a key matches nothing wherever it goes: the first group. */
		hashes[at] = s->key[r] == KEY_NONE ? 0 : keytable_hash(k->table, s->key[r]);
		live[at++] = r;
	}
	snapshot_order(hashes, n, order);
	kept_saved_schema(k, side, &schema);
	status = snapshot_section(w, &schema, e);
	for (uint32_t done = 0; done < n && status == 0; done += BATCH_ROWS) {
		uint32_t part = n - done < BATCH_ROWS ? n - done : BATCH_ROWS;
		uint32_t *rows = arena_alloc(&arena, part * sizeof *rows);
		uint64_t *row_hashes = arena_alloc(&arena, part * sizeof *row_hashes);

		for (uint32_t i = 0; i < part; i++) {
			rows[i] = live[order[done + i]];
			row_hashes[i] = hashes[order[done + i]];
		}
		status = put_saved(k, side, &schema, rows, row_hashes, part, &arena, w, e);
		arena_reset(&arena);
	}
	schema_clear(&schema);
	arena_clear(&arena);
	mem_free(hashes);
	mem_free(live);
	return status;
}

struct saved_row {
	int64_t seq;
	uint32_t row;
};

static int compare_saved(const void *a, const void *b)
{
	const struct saved_row *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

int kept_check_saved(
	const struct kept *k, unsigned side, const struct schema *found, struct error *e)
{
	struct schema wanted;
	int status = 0;

	kept_saved_schema(k, side, &wanted);
	wanted.changelog = found->changelog;
	if (!schema_equal(&wanted, found))
		status = error_set(e, ERROR_STATE,
			"the kept rows of %s have other columns than its "
			"stream has now",
			side ? "RIGHT" : "LEFT");
	schema_clear(&wanted);
	return status;
}

static int load_part(struct kept *k, unsigned side, const struct batch *saved,
	const struct saved_row *order, uint32_t n, struct arena *a, struct error *e)
{
	const struct schema *in = &k->plan->rows[side];
	const struct column *met = &saved->columns[SAVED_MATCHED];
	struct column *columns = ARENA_ARRAY(a, struct column, in->fields_len);
	struct batch b = {.schema = in, .rows = n, .columns = columns};
	uint32_t *pick = arena_alloc(a, n * sizeof *pick), first;
	int64_t *times = arena_alloc(a, n * sizeof *times);

	for (uint32_t i = 0; i < n; i++) {
		pick[i] = order[i].row;
		times[i] = column_int(&saved->columns[SAVED_TIME], pick[i]);
	}
	for (size_t i = 0; i < in->fields_len; i++)
		column_gather(&saved->columns[SAVED_COLUMNS + i], pick, n, a, &columns[i]);
	if (kept_add(k, side, &b, times, true, a, &first, e) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		if (k->counted >> side & 1)
			k->matches[side][first + i] = (uint32_t)column_int(met, pick[i]);
		else if (column_bool(met, pick[i]))
			k->sides[side].flags[first + i] |= ROW_MATCHED;
	}
	return 0;
}

int kept_load(
	struct kept *k, unsigned side, const struct batch *saved, struct arena *a, struct error *e)
{
	struct saved_row *order;
	int status = 0;

	if (kept_check_saved(k, side, saved->schema, e) < 0)
		return -1;
	order = mem_alloc((saved->rows + (size_t)1) * sizeof *order);
	for (uint32_t r = 0; r < saved->rows; r++)
		order[r] = (struct saved_row){column_int(&saved->columns[SAVED_SEQ], r), r};
	qsort(order, saved->rows, sizeof *order, compare_saved);
	for (uint32_t done = 0; done < saved->rows && status == 0; done += BATCH_ROWS) {
		uint32_t left = saved->rows - done;

		status = load_part(
			k, side, saved, order + done, left < BATCH_ROWS ? left : BATCH_ROWS, a, e);
		arena_reset(a);
	}
	mem_free(order);
	return status;
}

size_t kept_bytes(const struct kept *k)
{
	size_t bytes = k->table ? keytable_bytes(k->table) : 0;

	for (unsigned side = 0; side < 2; side++)
		bytes += rowstore_bytes(&k->sides[side]) + rowlists_bytes(&k->lists[side]) +
			 k->matches_cap[side] * sizeof *k->matches[side];
	return bytes;
}
