/* The first N rows of an order, overall or per key.
 *
 *   keys -> group -> ranks (rows in order)          rows: held.h
 *
 * Of a stream that only inserts a group keeps the rows that are shown and no others: what comes
 * behind the N-th never shows.  Of a changelog it keeps all, as what is taken back makes room.
 *
 *   windows   the event-time column is among the keys: a group closes as the watermark passes it
 *   live      the stream has no end: a changelog tells of every change
 *   else      the result comes at the end
 *
 * live: one row in gives its changes out, whatever the batches are, so that what is emitted depends
 * on the order of the rows alone, also after a restart in the middle. */
#include "cmd/ssort/shown.h"
#include "cmd/ssort/held.h"
#include "cmd/ssort/radix.h"
#include "cmd/ssort/ranks.h"
#include "cmd/ssort/ssort.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/state/timequeue.h"
#include "libcore/table/keytable.h"

#include <string.h>

enum { GROUPS_SLACK = 4096, CHANGELOG_KEYS_MAX = 64 };

struct way {
	struct sort_keys keys;
	struct order_keys ranks_of;  /* of the batch */
	struct keytable *table;
	struct held held;
	struct ranks *groups;        /* by number in the table */
	int64_t *appeared;           /* their place among all groups */
	size_t groups_len, groups_cap, appeared_cap;
	uint32_t gone;               /* groups that are closed, or have no rows left */
	size_t ranks_bytes;          /* of all groups, beside the structs */
	int64_t next_group;
	struct shown shown;
	struct timequeue closing;    /* windows: groups by their time */
	int time_key;                /* of the keys, -1: no windows */
	bool live, over;
	struct arena arena;
};

/* One batch as it is taken. */
struct taking {
	const struct batch *b;
	const uint64_t *hashes;
	uint32_t *groups;            /* per row */
};

/* ---- schemas ---- */

/* The column of the input that a key is, -1 if it is computed. */
static int key_column(const struct ssort *s, size_t key)
{
	return expr_column(s->key_list.items[key].expr, &s->in);
}

static int find_time_key(const struct ssort *s)
{
	for (size_t i = 0; i < s->key_list.len && !s->in.changelog; i++) {
		if (s->in.time_column >= 0 && key_column(s, i) == s->in.time_column)
			return (int)i;
	}
	return -1;
}

/* What identifies a row that is shown: its place, with ties and more than one row nothing does. */
static void set_changelog(struct ssort *s)
{
	int keys[CHANGELOG_KEYS_MAX + 1];
	size_t n = 0;

	s->out.changelog = true;
	s->out.time_column = -1;
	s->out.time_offset_us = 0;
	if (s->o.ties || (!s->o.number && s->o.limit > 1) || s->key_list.len >= CHANGELOG_KEYS_MAX)
		return;
	for (size_t i = 0; i < s->key_list.len; i++) {
		keys[n] = key_column(s, i);
		if (keys[n++] < 0)
			return;
	}
	if (s->o.number)
		keys[n++] = (int)s->in.fields_len;
	schema_set_keys(&s->out, keys, n);
}

static int top_open(struct ssort *s, struct error *e)
{
	struct way *w = s->state = mem_zero(sizeof *w);

	order_keys_init(&w->ranks_of);
	held_init(&w->held, &s->in, s->in.changelog);
	w->shown = (struct shown){.held = &w->held, .limit = s->o.limit, .ties = s->o.ties,
		.numbered = s->o.number != NULL};
	if (sort_keys_compile(&w->keys, s, e) < 0)
		return -1;
	w->table = keytable_new(w->keys.types, w->keys.len);
	w->time_key = find_time_key(s);
	w->live = w->time_key < 0 && !stage_is_bounded(s->op.stage);
	if (s->o.late_output && w->time_key < 0)
		return error_set(e, ERROR_USAGE, "--late: no row is ever late here\n"
			"rows are late for a window (its event time among the -k columns) and for "
			"--by-time");
	if (w->live)
		set_changelog(s);
	if (s->o.late_output && stage_declare(s->op.stage, 1, &s->in, e) < 0)
		return -1;
	return stage_declare(s->op.stage, 0, &s->out, e);
}

static void top_close(struct ssort *s)
{
	struct way *w = s->state;

	for (size_t i = 0; i < w->groups_len; i++)
		ranks_clear(&w->groups[i]);
	mem_free(w->groups);
	mem_free(w->appeared);
	held_clear(&w->held);
	shown_clear(&w->shown);
	order_keys_clear(&w->ranks_of);
	timequeue_clear(&w->closing);
	if (w->table)
		keytable_free(w->table);
	sort_keys_clear(&w->keys);
	arena_clear(&w->arena);
	mem_free(w);
}

/* ---- emitting ---- */

/* Emits what has been gathered, from kept rows that may be dead already.  Pairs of an update stay
 * in one batch. */
static int flush(struct ssort *s, struct error *e)
{
	struct way *w = s->state;
	struct shown *c = &w->shown;
	const struct batch *all = rowstore_view(&w->held.store);
	size_t done = 0;

	while (done < c->len) {
		size_t n = c->len - done < BATCH_ROWS ? c->len - done : BATCH_ROWS;
		struct batch b = {.schema = &s->in};
		struct column *columns;

		if (n < c->len - done && c->ops[done + n - 1] == ROW_UPDATE_BEFORE)
			n--;
		arena_reset(&w->arena);
		columns = ARENA_ARRAY(&w->arena, struct column, s->in.fields_len);
		for (size_t i = 0; i < s->in.fields_len; i++)
			column_gather(&all->columns[i], c->rows + done, (uint32_t)n, &w->arena,
				&columns[i]);
		b.rows = (uint32_t)n;
		b.columns = columns;
		b.ops = w->live ? c->ops + done : NULL;
		if (ssort_emit(s, &b, c->numbers + done, e) < 0)
			return -1;
		done += n;
	}
	shown_reset(c);
	return 0;
}

/* ---- groups ---- */

/* New keys have got the next numbers; returns how many groups there were before. */
static size_t grow_groups(struct way *w)
{
	size_t old = w->groups_len, n = keytable_len(w->table);

	if (n <= old)
		return old;
	MEM_GROW(w->groups, w->groups_cap, n);
	MEM_GROW(w->appeared, w->appeared_cap, n);
	memset(w->groups + old, 0, (n - old) * sizeof *w->groups);
	for (size_t i = old; i < n; i++)
		w->appeared[i] = w->next_group++;
	w->groups_len = n;
	if (w->held.indexed)
		w->gone += (uint32_t)(n - old); /* until their first row is in */
	return old;
}

/* Groups from number `old` on are new, with their first row in this batch. */
static void await_closing(struct way *w, const struct taking *t, size_t old)
{
	for (uint32_t r = 0; w->time_key >= 0 && r < t->b->rows; r++) {
		if (t->groups[r] < old)
			continue;
		old = t->groups[r] + (size_t)1; /* numbers are given in order of appearance */
		timequeue_push(&w->closing, column_int(&w->keys.columns[w->time_key], r),
			t->groups[r]);
	}
}

static void compact_rows(struct way *w)
{
	uint32_t *remap;

	if (!rowstore_wants_compact(&w->held.store, 0))
		return;
	remap = mem_alloc((w->held.store.len + (size_t)1) * sizeof *remap);
	held_compact(&w->held, remap);
	for (size_t i = 0; i < w->groups_len; i++)
		ranks_remap(&w->groups[i], remap);
	mem_free(remap);
}

/* Keys of the groups that stay, BATCH_ROWS at a time, into a new table. */
static struct keytable *rebuilt_table(struct way *w, const uint32_t *stay, uint32_t n)
{
	struct keytable *table = keytable_new(w->keys.types, w->keys.len);

	for (uint32_t done = 0; done < n; done += BATCH_ROWS) {
		uint32_t part = n - done < BATCH_ROWS ? n - done : BATCH_ROWS;
		uint64_t *hashes;
		uint32_t *ids;

		arena_reset(&w->arena);
		hashes = arena_alloc(&w->arena, part * sizeof *hashes);
		ids = arena_alloc(&w->arena, part * sizeof *ids);
		for (size_t i = 0; i < w->keys.len; i++) {
			struct column all = keytable_column(w->table, i);

			column_gather(&all, stay + done, part, &w->arena, &w->keys.columns[i]);
		}
		keys_hash(w->keys.pointers, w->keys.len, part, hashes);
		keytable_insert(table, w->keys.pointers, part, hashes, ids);
		MUST(ids[part - 1] == done + part - 1);
	}
	return table;
}

/* Group stay[i] becomes number i; the others are empty, and forgotten. */
static void renumber_groups(struct way *w, const uint32_t *stay, uint32_t n)
{
	struct keytable *table = rebuilt_table(w, stay, n);
	struct ranks *groups = mem_alloc((n + (size_t)1) * sizeof *groups);
	int64_t *appeared = mem_alloc((n + (size_t)1) * sizeof *appeared);

	for (uint32_t i = 0; i < n; i++) {
		groups[i] = w->groups[stay[i]];
		appeared[i] = w->appeared[stay[i]];
	}
	keytable_free(w->table);
	mem_free(w->groups);
	mem_free(w->appeared);
	w->table = table;
	w->groups = groups;
	w->appeared = appeared;
	w->groups_len = n;
	w->groups_cap = w->appeared_cap = n + (size_t)1;
	w->gone = 0;
}

/* Forgets the keys of groups that are gone, once they are most. */
static void compact_groups(struct way *w)
{
	uint32_t *stay, *remap, n = 0;

	if (!w->keys.len || w->gone < GROUPS_SLACK || w->gone < w->groups_len / 2)
		return;
	stay = mem_alloc(w->groups_len * sizeof *stay);
	remap = mem_alloc(w->groups_len * sizeof *remap);
	for (uint32_t i = 0; i < w->groups_len; i++) {
		remap[i] = w->groups[i].len ? n : UINT32_MAX;
		if (w->groups[i].len)
			stay[n++] = i;
	}
	timequeue_remap(&w->closing, remap);
	renumber_groups(w, stay, n);
	mem_free(stay);
	mem_free(remap);
}

static int check_memory(const struct ssort *s, struct error *e)
{
	const struct way *w = s->state;
	size_t bytes = held_bytes(&w->held) + keytable_bytes(w->table) + w->ranks_bytes +
		w->groups_cap * sizeof *w->groups + timequeue_bytes(&w->closing);

	if (rowstore_is_full(&w->held.store))
		return error_set(e, ERROR_DATA,
			"the rows kept have more text than the 4 GB that fit into a column");
	if (!s->o.memory_bytes || bytes <= (size_t)s->o.memory_bytes)
		return 0;
	error_set(e, ERROR_DATA, "the rows kept take %zu MB, more than --memory allows",
		bytes >> 20);
	return error_hint(e, "a larger --memory, a smaller -n, fewer keys");
}

/* ---- rows of a stream that only inserts ---- */

/* Whether row r comes behind all that its group will ever show. */
static bool is_hopeless(const struct way *w, const struct ranks *l, uint32_t r, bool ties)
{
	struct rank_key last, own;
	uint64_t prefix;
	uint32_t row;
	int way;

	if ((int64_t)l->len < w->shown.limit)
		return false;
	row = ranks_at(l, l->len - 1);
	prefix = held_prefix(&w->held, row);
	if (w->ranks_of.prefix[r] != prefix)
		return w->ranks_of.prefix[r] > prefix;
	last = held_key(&w->held, row);
	own = (struct rank_key){prefix, order_rest(&w->ranks_of, r), 0};
	way = rank_compare_order(&own, &last);
	return ties ? way > 0 : way >= 0;
}

/* Of one row per group: what comes better takes its place. */
static void enter_alone(struct way *w, struct ranks *l, uint32_t row)
{
	struct rank_key key = held_key(&w->held, row);
	uint32_t old = l->len ? l->only : ROW_NONE;

	if (old != ROW_NONE && ranks_find(l, &w->held, &key) > 0) {
		rowstore_kill(&w->held.store, row);
		return;
	}
	if (w->live)
		shown_replace(&w->shown, old, row, 1);
	if (old != ROW_NONE)
		rowstore_kill(&w->held.store, old);
	l->only = row;
	l->len = 1;
}

static void enter(struct way *w, struct ranks *l, uint32_t row)
{
	struct rank_key key = held_key(&w->held, row);
	uint32_t position = ranks_find(l, &w->held, &key), visible;

	if (w->live)
		shown_begin(&w->shown, l, position);
	w->ranks_bytes -= ranks_bytes(l);
	ranks_insert(l, position, row);
	visible = shown_visible(&w->shown, l);
	while (l->len > visible) {
		rowstore_kill(&w->held.store, ranks_at(l, l->len - 1));
		ranks_remove(l, l->len - 1);
	}
	w->ranks_bytes += ranks_bytes(l);
	if (w->live)
		shown_end(&w->shown, l, false);
}

static int take_inserts(struct ssort *s, const struct taking *t, struct error *e)
{
	struct way *w = s->state;
	uint32_t *pick = arena_alloc(&w->arena, t->b->rows * sizeof *pick), n = 0, first;
	int64_t *seqs = arena_alloc(&w->arena, t->b->rows * sizeof *seqs);
	bool alone = s->o.limit == 1 && !s->o.ties;

	for (uint32_t r = 0; r < t->b->rows; r++) {
		if (is_hopeless(w, &w->groups[t->groups[r]], r, s->o.ties))
			continue;
		seqs[n] = w->held.next_seq++;
		pick[n++] = r;
	}
	first = held_add(&w->held, t->b, &w->ranks_of, pick, n, seqs, NULL);
	for (uint32_t i = 0; i < n; i++) {
		struct ranks *l = &w->groups[t->groups[pick[i]]];

		if (alone)
			enter_alone(w, l, first + i);
		else
			enter(w, l, first + i);
	}
	return flush(s, e);
}

/* ---- rows of a changelog ---- */

static int refuse_retraction(const struct ssort *s, const struct batch *b, uint32_t row,
	struct error *e)
{
	struct buf text = BUF_INIT;

	batch_put_row(b, row, &text);
	error_set(e, ERROR_DATA, "%s takes back a row that it never sent: %s",
		stage_input_from(s->op.stage, 0), buf_cstr(&text));
	buf_clear(&text);
	return -1;
}

static uint32_t position_of(const struct way *w, const struct ranks *l, uint32_t row)
{
	struct rank_key key = held_key(&w->held, row);

	return ranks_find(l, &w->held, &key);
}

static void list_remove(struct way *w, struct ranks *l, uint32_t row)
{
	uint32_t position = position_of(w, l, row);

	MUST(position < l->len && ranks_at(l, position) == row);
	w->ranks_bytes -= ranks_bytes(l);
	ranks_remove(l, position);
	w->ranks_bytes += ranks_bytes(l);
	w->gone += !l->len;
	rowstore_kill(&w->held.store, row);
}

static void list_insert(struct way *w, struct ranks *l, uint32_t row)
{
	w->gone -= !l->len;
	w->ranks_bytes -= ranks_bytes(l);
	ranks_insert(l, position_of(w, l, row), row);
	w->ranks_bytes += ranks_bytes(l);
	held_index(&w->held, row);
}

/* One change of one group: a row goes, comes, or both (ROW_NONE: not). */
static void change(struct way *w, uint32_t group, uint32_t old, uint32_t new)
{
	struct ranks *l = &w->groups[group];
	uint32_t from = UINT32_MAX;

	if (old != ROW_NONE)
		from = position_of(w, l, old);
	if (new != ROW_NONE && position_of(w, l, new) < from)
		from = position_of(w, l, new);
	if (w->live)
		shown_begin(&w->shown, l, from);
	if (old == ROW_NONE && !l->len) /* a key that has had no rows for a while appears anew */
		w->appeared[group] = w->next_group++;
	if (old != ROW_NONE)
		list_remove(w, l, old);
	if (new != ROW_NONE)
		list_insert(w, l, new);
	if (w->live)
		shown_end(&w->shown, l, old != ROW_NONE && new != ROW_NONE);
}

static bool adds(enum row_op op)
{
	return op == ROW_INSERT || op == ROW_UPDATE_AFTER;
}

static int take_changes(struct ssort *s, const struct taking *t, struct error *e)
{
	struct way *w = s->state;
	const struct batch *b = t->b;
	uint32_t *pick = arena_alloc(&w->arena, b->rows * sizeof *pick), n = 0, next;
	int64_t *seqs = arena_alloc(&w->arena, b->rows * sizeof *seqs);
	uint64_t *hashes = arena_alloc(&w->arena, b->rows * sizeof *hashes);

	for (uint32_t r = 0; r < b->rows; r++) {
		if (!adds(b->ops[r]))
			continue;
		seqs[n] = w->held.next_seq++;
		pick[n++] = r;
	}
	held_hash(&w->held, b, hashes);
	next = held_add(&w->held, b, &w->ranks_of, pick, n, seqs, NULL);
	for (uint32_t r = 0; r < b->rows; r++) {
		uint32_t old;

		if (adds(b->ops[r])) {
			change(w, t->groups[r], ROW_NONE, next++);
			continue;
		}
		old = held_take(&w->held, b, r, hashes[r]);
		if (old == ROW_NONE)
			return refuse_retraction(s, b, r, e);
		if (b->ops[r] == ROW_DELETE || r + 1 == b->rows ||
			b->ops[r + 1] != ROW_UPDATE_AFTER || t->groups[r + 1] != t->groups[r]) {
			change(w, t->groups[r], old, ROW_NONE);
			continue;
		}
		/* The new row takes the place of the old one among equals. */
		w->held.store.time_us[next] = w->held.store.time_us[old];
		change(w, t->groups[r++], old, next++);
	}
	return flush(s, e);
}

/* ---- batches ---- */

/* Rows of windows that have closed go to --late; *left are the others. */
static int drop_late(struct ssort *s, const struct batch *b, struct batch *left, struct error *e)
{
	struct way *w = s->state;
	int64_t closed_us = stage_watermark(s->op.stage);
	const int64_t *times;
	uint32_t *late = arena_alloc(&w->arena, b->rows * sizeof *late), late_len = 0, n = 0;
	uint32_t *pick = arena_alloc(&w->arena, b->rows * sizeof *pick);

	if (batch_times(b, &w->arena, &times, e))
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		if (times[r] <= closed_us)
			late[late_len++] = r;
		else
			pick[n++] = r;
	}
	*left = *b;
	if (!late_len)
		return 0;
	batch_gather(b, pick, n, &w->arena, left);
	return stage_put_late(
		s->op.stage, s->o.late_output ? 1 : 0, b, late, late_len, &w->arena, e);
}

static int top_batch(struct ssort *s, const struct batch *in, struct error *e)
{
	struct way *w = s->state;
	struct batch b = *in;
	struct taking t = {.b = &b};
	uint64_t *hashes;
	int status;

	arena_reset(&w->arena);
	if (w->time_key >= 0 && drop_late(s, in, &b, e) < 0)
		return -1;
	if (!b.rows)
		return 0;
	t.hashes = hashes = arena_alloc(&w->arena, b.rows * sizeof *hashes);
	t.groups = arena_alloc(&w->arena, b.rows * sizeof *t.groups);
	if (sort_keys_run(&w->keys, &b, hashes, e) < 0)
		return -1;
	keytable_insert(w->table, w->keys.pointers, b.rows, hashes, t.groups);
	await_closing(w, &t, grow_groups(w));
	if (order_keys_of(&s->order, &b, &w->ranks_of, e) < 0)
		return -1;
	status = s->in.changelog ? take_changes(s, &t, e) : take_inserts(s, &t, e);
	if (status < 0)
		return -1;
	compact_rows(w);
	compact_groups(w);
	return check_memory(s, e);
}

/* ---- results ---- */

static void forget_group(struct way *w, uint32_t group)
{
	struct ranks *l = &w->groups[group];

	for (uint32_t i = l->len; i-- > 0;)
		rowstore_kill(&w->held.store, ranks_at(l, i));
	w->ranks_bytes -= ranks_bytes(l);
	ranks_clear(l);
	w->gone++;
}

/* Windows whose end the watermark has passed, by their end, then in order of appearance. */
static int close_windows(struct ssort *s, int64_t watermark_us, struct error *e)
{
	struct way *w = s->state;
	struct timequeue_entry x;
	int64_t until;

	if (watermark_us == WATERMARK_FINAL ||
		__builtin_sub_overflow(watermark_us, s->in.time_offset_us, &until))
		until = watermark_us;
	while (timequeue_pop(&w->closing, until, &x)) {
		shown_show(&w->shown, &w->groups[x.row]);
		forget_group(w, x.row);
		if (w->shown.len >= BATCH_ROWS && flush(s, e) < 0)
			return -1;
	}
	if (flush(s, e) < 0)
		return -1;
	compact_rows(w);
	compact_groups(w);
	return 0;
}

/* Numbers of the groups in the order in which their keys came first. */
static uint32_t *groups_in_order(const struct way *w)
{
	size_t n = w->groups_len;
	struct sort_entry *entries = mem_alloc((n + 1) * 2 * sizeof *entries);
	uint32_t *order = mem_alloc((n + 1) * sizeof *order);

	for (size_t i = 0; i < n; i++)
		entries[i] = (struct sort_entry){.key = (uint64_t)w->appeared[i],
			.place = (uint32_t)i};
	radix_sort(entries, entries + n, n);
	for (size_t i = 0; i < n; i++)
		order[i] = entries[i].place;
	mem_free(entries);
	return order;
}

static int put_result(struct ssort *s, struct error *e)
{
	struct way *w = s->state;
	uint32_t *order = groups_in_order(w);
	int status = 0;

	for (size_t i = 0; i < w->groups_len && status == 0; i++) {
		shown_show(&w->shown, &w->groups[order[i]]);
		if (w->shown.len >= BATCH_ROWS)
			status = flush(s, e);
	}
	mem_free(order);
	w->over = true;
	return status < 0 ? -1 : flush(s, e);
}

static int top_watermark(struct ssort *s, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct way *w = s->state;

	if (w->time_key >= 0)
		return close_windows(s, in_us, e);
	if (w->live)
		return 0;
	if (in_us == WATERMARK_FINAL)
		return w->over ? 0 : put_result(s, e);
	*out_us = WATERMARK_NONE; /* the rows are still to come */
	return 0;
}

/* ---- state: section "rows": [key_group,] group, seq, row.<column> ..., group by group in order
 * ---- */

enum { SAVED_INTS_MAX = 3 };

static size_t saved_ints(const struct way *w)
{
	return w->keys.len ? 3 : 2;
}

static void saved_schema(const struct ssort *s, struct schema *schema)
{
	const struct way *w = s->state;
	struct buf name = BUF_INIT;

	schema_init(schema);
	schema_set_name(schema, "rows");
	if (w->keys.len)
		schema_add(schema, "key_group", 9, TYPE_OF(TYPE_INT));
	schema_add(schema, "group", 5, TYPE_OF(TYPE_INT));
	schema_add(schema, "seq", 3, TYPE_OF(TYPE_INT));
	for (size_t i = 0; i < s->in.fields_len; i++) {
		buf_reset(&name);
		buf_printf(&name, "row.%s", s->in.fields[i].name);
		schema_add(schema, (const char *)name.data, name.len, s->in.fields[i].type);
	}
	buf_clear(&name);
}

/* Rows gathered for one batch of the section. */
struct saving {
	const struct schema *schema;
	struct snapshot_writer *out;
	uint32_t rows[BATCH_ROWS];
	int64_t ints[SAVED_INTS_MAX][BATCH_ROWS];
	uint32_t len;
};

static int put_saved(struct way *w, struct saving *x, struct error *e)
{
	const struct batch *all = rowstore_view(&w->held.store);
	struct batch b = {.schema = x->schema, .rows = x->len};
	size_t ints = saved_ints(w);
	struct column *columns;

	arena_reset(&w->arena);
	columns = ARENA_ARRAY(&w->arena, struct column, x->schema->fields_len);
	for (size_t i = 0; i < ints; i++)
		columns[i] = (struct column){.type = TYPE_OF(TYPE_INT),
			.data = x->ints[i + SAVED_INTS_MAX - ints]};
	for (size_t i = ints; i < x->schema->fields_len; i++)
		column_gather(&all->columns[i - ints], x->rows, x->len, &w->arena, &columns[i]);
	b.columns = columns;
	x->len = 0;
	return snapshot_put(x->out, &b, e);
}

static int save_group(struct way *w, uint32_t group, struct saving *x, struct error *e)
{
	const struct ranks *l = &w->groups[group];

	for (uint32_t done = 0; done < l->len;) {
		uint32_t left = l->len - done, room = BATCH_ROWS - x->len;
		uint32_t n = left < room ? left : room;

		ranks_copy(l, done, n, x->rows + x->len);
		for (uint32_t i = x->len; i < x->len + n; i++) {
			x->ints[0][i] = key_group(keytable_hash(w->table, group));
			x->ints[1][i] = w->appeared[group];
			x->ints[2][i] = w->held.store.time_us[x->rows[i]];
		}
		x->len += n;
		done += n;
		if (x->len == BATCH_ROWS && put_saved(w, x, e) < 0)
			return -1;
	}
	return 0;
}

static int top_save(struct ssort *s, struct snapshot_writer *out, struct error *e)
{
	struct way *w = s->state;
	uint32_t n = w->over ? 0 : (uint32_t)w->groups_len;
	uint64_t *hashes = mem_alloc((n + (size_t)1) * sizeof *hashes);
	uint32_t *order = mem_alloc((n + (size_t)1) * sizeof *order);
	struct saving *x = mem_zero(sizeof *x);
	struct schema schema;
	int status;

	for (uint32_t i = 0; i < n; i++)
		hashes[i] = keytable_hash(w->table, i);
	snapshot_order(hashes, n, order);
	saved_schema(s, &schema);
	x->schema = &schema;
	x->out = out;
	status = snapshot_section(out, &schema, e);
	for (uint32_t i = 0; i < n && status == 0; i++)
		status = save_group(w, order[i], x, e);
	if (status == 0)
		status = put_saved(w, x, e);
	schema_clear(&schema);
	mem_free(x);
	mem_free(hashes);
	mem_free(order);
	return status;
}

/* A group has the place it had when it was saved. */
static void load_row(struct way *w, uint32_t group, uint32_t row, int64_t appeared)
{
	struct ranks *l = &w->groups[group];

	w->appeared[group] = appeared;
	w->gone -= w->held.indexed && !l->len;
	if (appeared >= w->next_group)
		w->next_group = appeared + 1;
	if (w->held.store.time_us[row] >= w->held.next_seq)
		w->held.next_seq = w->held.store.time_us[row] + 1;
	if (w->held.indexed)
		held_index(&w->held, row);
	w->ranks_bytes -= ranks_bytes(l);
	ranks_insert(l, position_of(w, l, row), row);
	w->ranks_bytes += ranks_bytes(l);
}

static int top_load(struct ssort *s, const struct batch *saved, struct error *e)
{
	struct way *w = s->state;
	size_t ints = saved_ints(w);
	struct batch b = {.schema = &s->in, .rows = saved->rows, .columns = saved->columns + ints};
	struct taking t = {.b = &b};
	struct schema wanted;
	uint64_t *hashes;
	uint32_t first;
	bool fits;

	saved_schema(s, &wanted);
	fits = schema_equal(&wanted, saved->schema);
	schema_clear(&wanted);
	if (!fits)
		return error_set(e, ERROR_STATE,
			"the rows kept so far have other columns, or were kept without these keys");
	arena_reset(&w->arena);
	hashes = arena_alloc(&w->arena, b.rows * sizeof *hashes);
	t.groups = arena_alloc(&w->arena, b.rows * sizeof *t.groups);
	if (sort_keys_run(&w->keys, &b, hashes, e) < 0 ||
		order_keys_of(&s->order, &b, &w->ranks_of, e) < 0)
		return -1;
	keytable_insert(w->table, w->keys.pointers, b.rows, hashes, t.groups);
	grow_groups(w);
	first = held_add(&w->held, &b, &w->ranks_of, NULL, b.rows, saved->columns[ints - 1].data,
		NULL);
	for (uint32_t r = 0; r < b.rows; r++)
		load_row(w, t.groups[r], first + r, column_int(&saved->columns[ints - 2], r));
	return 0;
}

/* Groups came by key group: they get the numbers of their appearance again. */
static int top_load_end(struct ssort *s, struct error *e)
{
	struct way *w = s->state;
	uint32_t *order = groups_in_order(w);
	struct column times;

	if (w->keys.len)
		renumber_groups(w, order, (uint32_t)w->groups_len);
	mem_free(order);
	if (w->time_key < 0)
		return 0;
	times = keytable_column(w->table, (size_t)w->time_key);
	for (uint32_t i = 0; i < w->groups_len; i++)
		timequeue_push(&w->closing, column_int(&times, i), i);
	return 0;
}

const struct way_ops top_way = {
	.open = top_open,
	.close = top_close,
	.batch = top_batch,
	.watermark = top_watermark,
	.save = top_save,
	.load = top_load,
	.load_end = top_load_end,
};
