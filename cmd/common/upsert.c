#include "cmd/common/upsert.h"

#include "libcore/base/memory.h"
#include "libcore/state/rowindex.h"
#include "libcore/table/keytable.h"

#include <string.h>

#define ROW_PREFIX "row."

/* The rows of a key hang together from the newest to the oldest. */
struct upsert {
	struct schema schema; /* with ops */
	struct schema plain;  /* without: what is kept */
	int *keys;
	size_t keys_len;
	struct rowstore rows;
	struct rowindex index;
	uint32_t *older, *newer; /* by row; ROW_NONE: none */
	size_t older_cap, newer_cap;
	struct keytable *table;
	uint32_t *newest; /* by key; ROW_NONE: none is there */
	size_t newest_cap;
	struct batch_builder out;
	struct arena arena;
};

bool upsert_is_needed(const struct schema *s, const int *keys, size_t keys_len)
{
	if (!s->changelog)
		return false;
	for (size_t i = 0; i < s->keys_len; i++) {
		bool found = false;

		for (size_t k = 0; k < keys_len; k++)
			found = found || keys[k] == s->keys[i];
		if (!found)
			return true;
	}
	return s->keys_len == 0;
}

static struct keytable *new_table(const struct upsert *u)
{
	struct type *types = mem_alloc(u->keys_len * sizeof *types);
	struct keytable *t;

	for (size_t k = 0; k < u->keys_len; k++)
		types[k] = u->schema.fields[u->keys[k]].type;
	t = keytable_new(types, u->keys_len);
	mem_free(types);
	return t;
}

struct upsert *upsert_new(const struct schema *s, const int *keys, size_t keys_len)
{
	struct upsert *u = mem_zero(sizeof *u);

	schema_init(&u->schema);
	schema_init(&u->plain);
	schema_copy(&u->schema, s);
	schema_set_name(&u->schema, NULL);
	schema_set_keys(&u->schema, NULL, 0);
	u->schema.time_column = -1;
	u->schema.time_offset_us = 0;
	u->schema.changelog = true;
	schema_copy(&u->plain, &u->schema);
	u->plain.changelog = false;
	u->keys = mem_alloc(keys_len * sizeof *u->keys);
	memcpy(u->keys, keys, keys_len * sizeof *keys);
	u->keys_len = keys_len;
	rowstore_init(&u->rows, &u->plain);
	batch_builder_init(&u->out, &u->schema);
	u->table = new_table(u);
	return u;
}

void upsert_free(struct upsert *u)
{
	if (!u)
		return;
	rowstore_clear(&u->rows);
	rowindex_clear(&u->index);
	batch_builder_clear(&u->out);
	keytable_free(u->table);
	arena_clear(&u->arena);
	schema_clear(&u->schema);
	schema_clear(&u->plain);
	mem_free(u->older);
	mem_free(u->newer);
	mem_free(u->newest);
	mem_free(u->keys);
	mem_free(u);
}

int upsert_check_schema(const struct upsert *u, const struct schema *s, struct error *e)
{
	bool same = s->fields_len == u->schema.fields_len;

	for (size_t i = 0; same && i < s->fields_len; i++)
		same = !strcmp(s->fields[i].name, u->schema.fields[i].name) &&
		       type_equal(s->fields[i].type, u->schema.fields[i].type);
	return same ? 0
		    : error_set(e, ERROR_DATA,
			      "the columns of the changelog have changed, and rows that "
			      "are kept have the former ones");
}

/* ---- rows ---- */

static void find_keys(struct upsert *u, const struct batch *b, uint32_t *ids)
{
	const struct column **keys = ARENA_ARRAY(&u->arena, const struct column *, u->keys_len);
	uint64_t *hashes = arena_alloc(&u->arena, (b->rows + (size_t)1) * sizeof *hashes);
	uint32_t known = keytable_len(u->table);

	for (size_t k = 0; k < u->keys_len; k++)
		keys[k] = &b->columns[u->keys[k]];
	keys_hash(keys, u->keys_len, b->rows, hashes);
	keytable_insert(u->table, keys, b->rows, hashes, ids);
	MEM_GROW(u->newest, u->newest_cap, keytable_len(u->table) + (size_t)1);
	for (uint32_t id = known; id < keytable_len(u->table); id++)
		u->newest[id] = ROW_NONE;
}

static void link_row(struct upsert *u, uint32_t row, uint32_t id)
{
	MEM_GROW(u->older, u->older_cap, row + (size_t)1);
	MEM_GROW(u->newer, u->newer_cap, row + (size_t)1);
	u->older[row] = u->newest[id];
	u->newer[row] = ROW_NONE;
	if (u->newest[id] != ROW_NONE)
		u->newer[u->newest[id]] = row;
	u->newest[id] = row;
}

static void unlink_row(struct upsert *u, uint32_t row, uint32_t id)
{
	uint32_t older = u->older[row], newer = u->newer[row];

	if (older != ROW_NONE)
		u->newer[older] = newer;
	if (newer != ROW_NONE)
		u->older[newer] = older;
	else
		u->newest[id] = older;
}

static void link_all(struct upsert *u)
{
	const struct batch *all = rowstore_view(&u->rows);

	keytable_reset(u->table);
	for (uint32_t first = 0; first < all->rows; first += BATCH_ROWS) {
		uint32_t n = all->rows - first < BATCH_ROWS ? all->rows - first : BATCH_ROWS, *ids;
		struct batch part;

		arena_reset(&u->arena);
		batch_slice(all, first, n, &u->arena, &part);
		ids = arena_alloc(&u->arena, n * sizeof *ids);
		find_keys(u, &part, ids);
		for (uint32_t r = 0; r < n; r++) {
			u->rows.key[first + r] = ids[r];
			link_row(u, first + r, ids[r]);
		}
	}
	rowindex_build(&u->index, &u->rows);
}

/* Rows that are gone go, and keys without rows with them. */
static void compact(struct upsert *u)
{
	uint32_t *remap = mem_alloc((u->rows.len + (size_t)1) * sizeof *remap);

	rowstore_compact(&u->rows, remap);
	mem_free(remap);
	link_all(u);
}

static void put_out(struct upsert *u, const struct batch *from, uint32_t row, enum row_op op)
{
	for (size_t i = 0; i < u->schema.fields_len; i++)
		builder_put_from(&u->out.columns[i], &from->columns[i], row);
	buf_put_byte(&u->out.ops, (uint8_t)op);
}

static int missing(const struct batch *b, uint32_t row, struct error *e)
{
	struct buf text = BUF_INIT;

	batch_put_row(b, row, &text);
	error_set(e, ERROR_DATA, "the changelog takes back a row that isn't there: %s",
		buf_cstr(&text));
	buf_clear(&text);
	return -1;
}

/* One that was never kept is a row from before rows were kept: then it was its key's only one. */
static int take_back(struct upsert *u, const struct batch *b, uint32_t row, uint32_t id,
	uint64_t hash, struct error *e)
{
	uint32_t found = rowindex_take(&u->index, &u->rows, b, row, hash);
	bool was_newest;

	if (found == ROW_NONE) {
		if (u->newest[id] != ROW_NONE)
			return missing(b, row, e);
		put_out(u, b, row, ROW_DELETE);
		return 0;
	}
	was_newest = u->newest[id] == found;
	unlink_row(u, found, id);
	rowstore_kill(&u->rows, found);
	if (!was_newest)
		return 0;
	if (u->newest[id] == ROW_NONE)
		put_out(u, b, row, ROW_DELETE);
	else
		put_out(u, rowstore_view(&u->rows), u->newest[id], ROW_UPDATE_AFTER);
	return 0;
}

static void add(struct upsert *u, const struct batch *b, uint32_t row, uint32_t id, uint64_t hash)
{
	uint32_t at = rowstore_add(&u->rows, b, &row, 1, NULL, &id);

	rowindex_add(&u->index, at, hash);
	link_row(u, at, id);
	put_out(u, b, row, ROW_UPDATE_AFTER);
}

int upsert_take(struct upsert *u, const struct batch *b, const struct batch **out, struct error *e)
{
	struct batch plain = *b;
	uint64_t *hashes;
	uint32_t *ids;

	if (rowstore_wants_compact(&u->rows, 0))
		compact(u);
	arena_reset(&u->arena);
	batch_builder_reset(&u->out);
	plain.schema = &u->plain;
	plain.ops = NULL;
	hashes = arena_alloc(&u->arena, (b->rows + (size_t)1) * sizeof *hashes);
	ids = arena_alloc(&u->arena, (b->rows + (size_t)1) * sizeof *ids);
	rowindex_hash(&plain, &u->arena, hashes);
	find_keys(u, &plain, ids);
	for (uint32_t r = 0; r < b->rows; r++) {
		enum row_op op = b->ops ? (enum row_op)b->ops[r] : ROW_INSERT;

		if (op == ROW_INSERT || op == ROW_UPDATE_AFTER)
			add(u, &plain, r, ids[r], hashes[r]);
		else if (take_back(u, &plain, r, ids[r], hashes[r], e) < 0)
			return -1;
	}
	*out = batch_builder_view(&u->out);
	return 0;
}

size_t upsert_bytes(const struct upsert *u)
{
	return rowstore_bytes(&u->rows) + rowindex_bytes(&u->index) + keytable_bytes(u->table) +
	       (u->older_cap + u->newer_cap + u->newest_cap) * sizeof *u->older;
}

/* ---- snapshots: key_group, then the rows' columns; per key in the order in which they came ----
 */

static void saved_schema(const struct upsert *u, struct schema *s)
{
	struct buf name = BUF_INIT;
	int *keys = mem_alloc(u->keys_len * sizeof *keys);

	schema_init(s);
	schema_set_name(s, "rows");
	schema_add(s, "key_group", 9, TYPE_OF(TYPE_INT));
	for (size_t i = 0; i < u->plain.fields_len; i++) {
		buf_reset(&name);
		buf_printf(&name, ROW_PREFIX "%s", u->plain.fields[i].name);
		schema_add(s, (const char *)name.data, name.len, u->plain.fields[i].type);
	}
	for (size_t k = 0; k < u->keys_len; k++)
		keys[k] = u->keys[k] + 1;
	schema_set_keys(s, keys, u->keys_len);
	mem_free(keys);
	buf_clear(&name);
}

static int save_part(struct upsert *u, const struct schema *schema, const uint32_t *rows,
	const uint64_t *hashes, uint32_t n, struct arena *a, struct snapshot_writer *w,
	struct error *e)
{
	const struct batch *all = rowstore_view(&u->rows);
	struct column *columns = ARENA_ARRAY(a, struct column, schema->fields_len);
	int64_t *groups = arena_alloc(a, n * sizeof *groups);
	struct batch b = {.schema = schema, .rows = n, .columns = columns};

	for (uint32_t i = 0; i < n; i++)
		groups[i] = key_group(hashes[rows[i]]);
	columns[0] = (struct column){.type = TYPE_OF(TYPE_INT), .data = groups};
	for (size_t i = 0; i < u->plain.fields_len; i++)
		column_gather(&all->columns[i], rows, n, a, &columns[i + 1]);
	return snapshot_put(w, &b, e);
}

int upsert_save(struct upsert *u, struct snapshot_writer *w, struct error *e)
{
	uint32_t n = u->rows.len - u->rows.dead, at = 0;
	uint32_t *live = mem_alloc((n + (size_t)1) * 2 * sizeof *live), *order = live + n + 1;
	uint64_t *hashes = mem_alloc((u->rows.len + (size_t)1) * 2 * sizeof *hashes);
	uint64_t *live_hashes = hashes + u->rows.len + 1;
	struct arena arena = ARENA_INIT;
	struct schema schema;
	int status;

	for (uint32_t r = 0; r < u->rows.len; r++) {
		if (u->rows.flags[r] & ROW_DEAD)
			continue;
		hashes[r] = live_hashes[at] = keytable_hash(u->table, u->rows.key[r]);
		live[at++] = r;
	}
	snapshot_order(live_hashes, n, order);
	for (uint32_t i = 0; i < n; i++)
		order[i] = live[order[i]];
	saved_schema(u, &schema);
	status = snapshot_section(w, &schema, e);
	for (uint32_t done = 0; done < n && status == 0; done += BATCH_ROWS) {
		status = save_part(u, &schema, order + done, hashes,
			n - done < BATCH_ROWS ? n - done : BATCH_ROWS, &arena, w, e);
		arena_reset(&arena);
	}
	schema_clear(&schema);
	arena_clear(&arena);
	mem_free(hashes);
	mem_free(live);
	return status;
}

static int new_from_saved(struct upsert **u, const struct schema *saved, struct error *e)
{
	struct schema s;
	int *keys = mem_alloc((saved->keys_len + 1) * sizeof *keys);
	int status = 0;

	schema_init(&s);
	for (size_t i = 1; i < saved->fields_len; i++) {
		const char *name = saved->fields[i].name;

		if (strncmp(name, ROW_PREFIX, strlen(ROW_PREFIX)) != 0)
			status = error_set(e, ERROR_STATE, "kept rows have a column '%s'", name);
		else
			schema_add(&s, name + strlen(ROW_PREFIX), strlen(name) - strlen(ROW_PREFIX),
				saved->fields[i].type);
	}
	for (size_t k = 0; k < saved->keys_len; k++) {
		keys[k] = saved->keys[k] - 1;
		if (keys[k] < 0)
			status = error_set(e, ERROR_STATE, "kept rows have no key");
	}
	if (!saved->keys_len)
		status = error_set(e, ERROR_STATE, "kept rows have no key");
	if (status == 0)
		*u = upsert_new(&s, keys, saved->keys_len);
	schema_clear(&s);
	mem_free(keys);
	return status;
}

int upsert_load(struct upsert **u, const struct batch *b, struct error *e)
{
	struct schema wanted;
	struct batch rows;
	bool same;

	if (!*u && new_from_saved(u, b->schema, e) < 0)
		return -1;
	saved_schema(*u, &wanted);
	same = schema_equal(&wanted, b->schema);
	schema_clear(&wanted);
	if (!same)
		return error_set(e, ERROR_STATE, "kept rows have different columns");
	rows = (struct batch){.schema = &(*u)->plain, .rows = b->rows, .columns = b->columns + 1};
	rowstore_add(&(*u)->rows, &rows, NULL, b->rows, NULL, NULL);
	return 0;
}

void upsert_settle(struct upsert *u)
{
	link_all(u);
}

bool upsert_has_keys(const struct upsert *u, const char *const *names, size_t n)
{
	if (u->keys_len != n)
		return false;
	for (size_t k = 0; k < n; k++) {
		if (strcmp(u->schema.fields[u->keys[k]].name, names[k]) != 0)
			return false;
	}
	return true;
}
