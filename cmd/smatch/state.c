/* Snapshots.
 *
 *   "smatch"  unkeyed: what was asked for (pattern, define, ...), the watermark
 *   "keys"    keyed: key_group, first (the number of its first row), start, matches, the key
 *   "rows"    keyed: key_group, time, number (in its key; null: it waits for the watermark), mask,
 *             place (in the order of arrival), then what is stored of it
 *
 * Rows are stored again in the order in which they came: what comes out doesn't tell that there was a
 * restore.  Of several snapshots, rows of one place stand as their files do.
 *
 * Threads aren't in it: they come again of the rows from where a match is looked for. */
#include "cmd/smatch/match.h"

#include "libcore/base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { ASKED = 5, KEY_INTS = 4, ROW_INTS = 5 };

static const char *const asked_names[ASKED] = {"pattern", "define", "subset", "after", "key"};
static const char *const key_ints[KEY_INTS] = {"key_group", "first", "start", "matches"};
static const char *const row_ints[ROW_INTS] = {"key_group", "time", "number", "mask", "place"};

static void add_ints(struct schema *s, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		schema_add(s, names[i], strlen(names[i]), TYPE_OF(TYPE_INT));
}

/* ---- writing ---- */

static void put_asked(const struct smatch *m, struct buf *texts)
{
	const struct match_options *o = &m->options;

	buf_put_text(&texts[0], o->pattern);
	buf_put_text(&texts[1], o->define ? o->define : "");
	buf_put_text(&texts[2], o->subset ? o->subset : "");
	buf_printf(&texts[3], "%d %s", o->after, o->after_variable ? o->after_variable : "");
	if (o->has_within)
		buf_printf(&texts[3], " within %lld", (long long)o->within_us);
	buf_put_text(&texts[4], o->keys ? o->keys : "");
}

static int write_head(const struct smatch *m, struct snapshot_writer *w, struct error *e)
{
	struct buf texts[ASKED] = {BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT};
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;
	int status;

	for (size_t i = 0; i < ASKED; i++)
		schema_add(&s, asked_names[i], strlen(asked_names[i]), TYPE_OF(TYPE_STRING));
	schema_add(&s, "watermark", 9, TYPE_OF(TYPE_INT));
	schema_set_name(&s, "smatch");
	batch_builder_init(&b, &s);
	put_asked(m, texts);
	for (size_t i = 0; i < ASKED; i++) {
		builder_put_text(&b.columns[i], texts[i].len ? (const char *)texts[i].data : "", texts[i].len);
		buf_clear(&texts[i]);
	}
	builder_put_int(&b.columns[ASKED], m->watermark_us);
	status = snapshot_section(w, &s, e) < 0 || snapshot_put(w, batch_builder_view(&b), e) < 0 ? -1 : 0;
	batch_builder_clear(&b);
	schema_clear(&s);
	return status;
}

static int flush(struct snapshot_writer *w, struct batch_builder *b, bool last, struct error *e)
{
	int status = 0;

	if (batch_builder_rows(b) && (last || batch_builder_is_full(b))) {
		status = snapshot_put(w, batch_builder_view(b), e);
		batch_builder_reset(b);
	}
	return status;
}

static int write_keys(struct smatch *m, struct snapshot_writer *w, const uint32_t *order,
	struct error *e)
{
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;
	int status;

	add_ints(&s, key_ints, KEY_INTS);
	for (size_t i = 0; i < m->plan->keys_len; i++)
		schema_add_field(&s, &m->plan->stored.fields[i]);
	schema_set_name(&s, "keys");
	batch_builder_init(&b, &s);
	status = snapshot_section(w, &s, e);
	for (uint32_t i = 0; i < m->keys_len && status == 0; i++) {
		const struct match_key *k = &m->keys[order[i]];

		if (!k->len && !m->plan->counts_matches)
			continue; /* as if it had never been */
		builder_put_int(&b.columns[0], key_group(keytable_hash(m->table, order[i])));
		builder_put_int(&b.columns[1], (int64_t)k->first);
		builder_put_int(&b.columns[2], (int64_t)k->start);
		builder_put_int(&b.columns[3], k->matches);
		for (size_t c = 0; c < m->plan->keys_len; c++) {
			struct column column = keytable_column(m->table, c);

			builder_put_from(&b.columns[KEY_INTS + c], &column, order[i]);
		}
		status = flush(w, &b, false, e);
	}
	if (status == 0)
		status = flush(w, &b, true, e);
	batch_builder_clear(&b);
	schema_clear(&s);
	return status;
}

struct entry {
	uint32_t row;
	int64_t number; /* < 0: it waits */
};

/* All rows that count: those of keys in their order, then those that wait, by arrival. */
static uint32_t list_rows(const struct smatch *m, struct entry *out)
{
	const struct timequeue *q = &m->queue;
	bool *waits = mem_zero((m->store.len + (size_t)1) * sizeof *waits);
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->keys_len; i++) {
		const struct match_key *k = &m->keys[i];

		for (uint32_t r = 0; r < k->len; r++)
			out[n++] = (struct entry){k->rows[k->head + r], (int64_t)(k->first + r)};
	}
	for (size_t i = q->run_first; i < q->run_len; i++)
		waits[q->run[i].row] = true;
	for (size_t i = 0; i < q->heap_len; i++)
		waits[q->heap[i].row] = true;
	for (uint32_t r = 0; r < m->store.len; r++) {
		if (waits[r])
			out[n++] = (struct entry){r, -1};
	}
	mem_free(waits);
	return n;
}

static int write_rows(struct smatch *m, struct snapshot_writer *w, struct error *e)
{
	struct entry *entries = mem_alloc((m->store.len + (size_t)1) * sizeof *entries);
	uint32_t n = list_rows(m, entries), *order = mem_alloc((n + (size_t)1) * sizeof *order);
	uint64_t *hashes = mem_alloc((n + (size_t)1) * sizeof *hashes);
	const struct batch *stored = rowstore_view(&m->store);
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;
	int status;

	add_ints(&s, row_ints, ROW_INTS);
	for (size_t i = 0; i < m->plan->stored.fields_len; i++)
		schema_add_field(&s, &m->plan->stored.fields[i]);
	schema_set_name(&s, "rows");
	batch_builder_init(&b, &s);
	for (uint32_t i = 0; i < n; i++)
		hashes[i] = keytable_hash(m->table, m->store.key[entries[i].row]);
	snapshot_order(hashes, n, order);
	status = snapshot_section(w, &s, e);
	for (uint32_t i = 0; i < n && status == 0; i++) {
		const struct entry *x = &entries[order[i]];

		builder_put_int(&b.columns[0], key_group(hashes[order[i]]));
		builder_put_int(&b.columns[1], m->store.time_us[x->row]);
		if (x->number < 0) {
			builder_put_null(&b.columns[2]);
			builder_put_null(&b.columns[3]);
		} else {
			builder_put_int(&b.columns[2], x->number);
			builder_put_int(&b.columns[3], (int64_t)m->masks[x->row]);
		}
		builder_put_int(&b.columns[4], x->row);
		for (size_t c = 0; c < m->plan->stored.fields_len; c++)
			builder_put_from(&b.columns[ROW_INTS + c], &stored->columns[c], x->row);
		status = flush(w, &b, false, e);
	}
	if (status == 0)
		status = flush(w, &b, true, e);
	batch_builder_clear(&b);
	schema_clear(&s);
	mem_free(entries);
	mem_free(order);
	mem_free(hashes);
	return status;
}

int match_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct smatch *m = (struct smatch *)(void *)op;
	uint32_t *order;
	uint64_t *hashes;
	int status;

	if (!m->plan)
		return m->saved.len ? sections_put(&m->saved, w, e) : write_head(m, w, e);
	if (write_head(m, w, e) < 0)
		return -1;
	order = mem_alloc((m->keys_len + (size_t)1) * sizeof *order);
	hashes = mem_alloc((m->keys_len + (size_t)1) * sizeof *hashes);
	for (uint32_t i = 0; i < m->keys_len; i++)
		hashes[i] = keytable_hash(m->table, i);
	snapshot_order(hashes, m->keys_len, order);
	status = write_keys(m, w, order, e) < 0 || write_rows(m, w, e) < 0 ? -1 : 0;
	mem_free(order);
	mem_free(hashes);
	return status;
}

/* ---- reading ---- */

int match_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	struct smatch *m = (struct smatch *)(void *)op;
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		const char *name = b->schema->name ? b->schema->name : "";

		if (strcmp(name, "smatch") != 0 && strcmp(name, "keys") != 0 && strcmp(name, "rows") != 0)
			return error_set(e, ERROR_STATE, "an unknown section '%s' in smatch's state", name);
		if (sections_keep(&m->saved, b, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}

/* Whether the state is of the same question. */
static int check_head(struct smatch *m, bool *drop, struct error *e)
{
	const struct batch *b = sections_find(&m->saved, "smatch");
	struct buf texts[ASKED] = {BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT};
	const struct column *c;
	int status = 0;

	*drop = stage_drops_state(m->op.stage, "matches");
	put_asked(m, texts);
	for (size_t i = 0; i < ASKED && status == 0; i++) {
		status = snapshot_column(b, asked_names[i], TYPE_OF(TYPE_STRING), &c, e);
		for (uint32_t r = 0; r < b->rows && status == 0 && !*drop; r++) {
			struct text_view t = column_text(c, r);

			if (t.len == texts[i].len && (!t.len || memcmp(t.text, texts[i].data, t.len) == 0))
				continue;
			status = error_set(e, ERROR_STATE, "the state is of another %s: '%.*s'",
				asked_names[i], (int)t.len, t.text);
			error_hint(e, "--drop-state %s:matches begins without the matches that had begun",
				stage_name(m->op.stage));
		}
	}
	for (size_t i = 0; i < ASKED; i++)
		buf_clear(&texts[i]);
	if (status == 0)
		status = snapshot_column(b, "watermark", TYPE_OF(TYPE_INT), &c, e);
	for (uint32_t r = 0; r < b->rows && status == 0; r++) {
		if (m->watermark_us == WATERMARK_NONE || column_int(c, r) < m->watermark_us)
			m->watermark_us = column_int(c, r);
	}
	return status;
}

/* The columns of a section behind its ints, in the order of what is stored; n of them. */
static int find_columns(const struct smatch *m, const struct batch *b, size_t n, struct column *out,
	struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct field *f = &m->plan->stored.fields[i];
		const struct column *c;

		if (snapshot_column(b, f->name, f->type, &c, e) < 0)
			return -1;
		out[i] = *c;
	}
	return 0;
}

static int find_ints(const struct batch *b, const char *const *names, size_t n,
	const struct column **out, struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		if (snapshot_column(b, names[i], TYPE_OF(TYPE_INT), &out[i], e) < 0)
			return -1;
	}
	return 0;
}

static int load_keys(struct smatch *m, struct error *e)
{
	const struct batch *b = sections_find(&m->saved, "keys");
	const struct column *ints[KEY_INTS];
	uint32_t *ids;

	if (!b || !b->rows)
		return 0;
	if (find_ints(b, key_ints, KEY_INTS, ints, e) < 0 ||
		find_columns(m, b, m->plan->keys_len, m->columns, e) < 0)
		return -1;
	ids = match_find_keys(m, m->columns, b->rows);
	for (uint32_t i = 0; i < b->rows; i++) {
		struct match_key *k = &m->keys[ids[i]];
		int64_t first = column_int(ints[1], i), start = column_int(ints[2], i);

		if (first < 0 || start < first)
			return error_set(e, ERROR_STATE, "a key whose rows can't be");
		k->first = (uint64_t)first;
		k->start = k->at = (uint64_t)start;
		k->matches = column_int(ints[3], i);
	}
	return 0;
}

struct placed {
	int64_t place;
	uint32_t row;
};

static int compare_places(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Stores the rows of a section in the order in which they came; out: the stored row of each. */
static uint32_t *store_rows(struct smatch *m, const struct batch *b, const struct column *times,
	const struct column *places)
{
	struct batch stored = {.schema = &m->plan->stored, .rows = b->rows, .columns = m->columns};
	struct placed *order = ARENA_ARRAY(&m->arena, struct placed, b->rows + (size_t)1);
	uint32_t *ids = match_find_keys(m, m->columns, b->rows);
	uint32_t *pick = ARENA_ARRAY(&m->arena, uint32_t, b->rows + (size_t)1);
	uint32_t *keys = ARENA_ARRAY(&m->arena, uint32_t, b->rows + (size_t)1);
	uint32_t *out = ARENA_ARRAY(&m->arena, uint32_t, b->rows + (size_t)1), first;
	int64_t *time_us = ARENA_ARRAY(&m->arena, int64_t, b->rows + (size_t)1);

	for (uint32_t i = 0; i < b->rows; i++)
		order[i] = (struct placed){column_int(places, i), i};
	qsort(order, b->rows, sizeof *order, compare_places);
	for (uint32_t i = 0; i < b->rows; i++) {
		pick[i] = order[i].row;
		keys[i] = ids[pick[i]];
		time_us[i] = column_int(times, pick[i]);
	}
	first = rowstore_add(&m->store, &stored, pick, b->rows, time_us, keys);
	for (uint32_t i = 0; i < b->rows; i++)
		out[pick[i]] = first + i;
	MEM_GROW(m->masks, m->masks_cap, m->store.len + (size_t)1);
	return out;
}

static int compare_rows(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int load_rows(struct smatch *m, struct error *e)
{
	const struct batch *b = sections_find(&m->saved, "rows");
	const struct column *ints[ROW_INTS];
	uint32_t *rows, *waiting, n = 0;

	if (!b || !b->rows)
		return 0;
	if (find_ints(b, row_ints, ROW_INTS, ints, e) < 0 ||
		find_columns(m, b, m->plan->stored.fields_len, m->columns, e) < 0)
		return -1;
	rows = store_rows(m, b, ints[1], ints[4]);
	waiting = ARENA_ARRAY(&m->arena, uint32_t, b->rows + (size_t)1);
	for (uint32_t i = 0; i < b->rows; i++) {
		struct match_key *k = &m->keys[m->store.key[rows[i]]];

		if (!column_is_valid(ints[2], i)) {
			waiting[n++] = rows[i];
			continue;
		}
		if ((uint64_t)column_int(ints[2], i) != k->first + k->len)
			return error_set(e, ERROR_STATE, "rows of a key that aren't in their order");
		m->masks[rows[i]] = (uint64_t)column_int(ints[3], i);
		match_key_push(m, k, rows[i]);
	}
	qsort(waiting, n, sizeof *waiting, compare_rows);
	for (uint32_t i = 0; i < n; i++)
		timequeue_push(&m->queue, m->store.time_us[waiting[i]], waiting[i]);
	return 0;
}

int match_load(struct smatch *m, struct error *e)
{
	bool drop;
	int status;

	if (!sections_find(&m->saved, "smatch"))
		return 0;
	arena_reset(&m->arena);
	status = check_head(m, &drop, e);
	if (status == 0 && !drop && (load_keys(m, e) < 0 || load_rows(m, e) < 0 || threads_resume(m, e) < 0))
		status = -1;
	if (status == 0)
		sections_clear(&m->saved);
	return status;
}
