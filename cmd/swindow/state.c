/* swindow's state as sections of a snapshot, and back.
 *
 *   "window"  unkeyed, one row: what the windows are, the watermark, the running number of rows,
 *             whether groups come in several parts
 *   "groups"  keyed: key_group, place, first, last, the keys as key.NAME, the aggregates' state as
 *             CALL.PART ("sum(price).sum"); a slice or session is its first and last time
 *
 * What is read is kept as it came until the schema, and with it the plan, is known.  Then it must
 * fit exactly: another window, a key or an aggregate more or less is ERROR_STATE. */
#include "cmd/swindow/spilled.h"

#include "libcore/base/civil.h"
#include "libcore/base/memory.h"

#include <stdio.h>
#include <stdlib.h>

struct saved {
	bool has_window;
	int64_t shape, size_us, step_us, offset_us;
	int64_t watermark_us, fired_us, next_row;
	int64_t split; /* 1: a group may come several times, as parts of it were on disk */
	bool has_groups;
	struct schema schema;
	struct batch_builder groups; /* what has not gone to disk */
	struct spill_run *disk;      /* NULL: all is in groups */
};

static const char *const fixed_names[STATE_FIXED_COLUMNS] = {"key_group", "place", "first", "last"};
static const uint8_t fixed_kinds[STATE_FIXED_COLUMNS] = {
	TYPE_INT, TYPE_INT, TYPE_TIMESTAMP, TYPE_TIMESTAMP};

enum { WINDOW_FIELDS = 8 };
static const char *const window_names[WINDOW_FIELDS] = {
	"shape", "size", "step", "offset", "watermark", "fired", "next_row", "split"};

static void window_fields(struct saved *s, int64_t *out[WINDOW_FIELDS])
{
	int64_t *fields[WINDOW_FIELDS] = {&s->shape, &s->size_us, &s->step_us, &s->offset_us,
		&s->watermark_us, &s->fired_us, &s->next_row, &s->split};

	memcpy(out, fields, sizeof fields);
}

/* What is kept to hand out changes is not what is kept to hand out results. */
enum { SHAPE_UPDATED = 16 };

static int64_t shape_number(const struct window *w)
{
	return (int64_t)w->options.shape + (w->options.emit == EMIT_CLOSE ? 0 : SHAPE_UPDATED);
}

/* ---- writing ---- */

void state_schema(const struct window_plan *p, struct schema *s)
{
	struct buf name = BUF_INIT;

	for (int i = 0; i < STATE_FIXED_COLUMNS; i++)
		schema_add(s, fixed_names[i], strlen(fixed_names[i]), TYPE_OF(fixed_kinds[i]));
	for (size_t i = 0; i < p->keys_len; i++) {
		buf_reset(&name);
		buf_printf(&name, "key.%s", p->key_names[i]);
		schema_add(s, (const char *)name.data, name.len, p->key_types[i]);
	}
	for (size_t i = 0; i < p->calls_len; i++)
		aggregate_state_schema(p->calls[i].like, p->calls[i].text, s);
	buf_clear(&name);
}

static int window_put(struct saved *from, struct snapshot_writer *s, struct error *e)
{
	struct schema schema = SCHEMA_INIT;
	struct batch_builder b;
	int64_t *fields[WINDOW_FIELDS];
	int status;

	window_fields(from, fields);
	schema_set_name(&schema, "window");
	for (int i = 0; i < WINDOW_FIELDS; i++)
		schema_add(&schema, window_names[i], strlen(window_names[i]), TYPE_OF(TYPE_INT));
	batch_builder_init(&b, &schema);
	for (int i = 0; i < WINDOW_FIELDS; i++)
		builder_put_int(&b.columns[i], *fields[i]);
	status = snapshot_section(s, &schema, e);
	if (status == 0)
		status = snapshot_put(s, batch_builder_view(&b), e);
	batch_builder_clear(&b);
	schema_clear(&schema);
	return status;
}

uint8_t *state_key_groups(const struct keytable *t)
{
	enum { SOME = 1024 };
	uint64_t hashes[SOME];
	uint32_t len = keytable_len(t);
	uint8_t *groups = mem_alloc(len);

	for (uint32_t first = 0; first < len; first += SOME) {
		uint32_t n = len - first < SOME ? len - first : SOME;

		keytable_hashes(t, first, n, hashes);
		for (uint32_t i = 0; i < n; i++)
			groups[first + i] = key_group(hashes[i]);
	}
	return groups;
}

/* The section while it is being written. */
struct groups_writer {
	const struct window_plan *plan;
	struct snapshot_writer *to;
	struct schema schema;
	struct batch_builder b;
};

static int groups_writer_open(
	struct groups_writer *g, struct window *w, struct snapshot_writer *s, struct error *e)
{
	*g = (struct groups_writer){.plan = w->plan, .to = s, .schema = SCHEMA_INIT};
	schema_set_name(&g->schema, "groups");
	state_schema(w->plan, &g->schema);
	batch_builder_init(&g->b, &g->schema);
	return snapshot_section(s, &g->schema, e);
}

static void groups_writer_close(struct groups_writer *g)
{
	batch_builder_clear(&g->b);
	schema_clear(&g->schema);
}

static int groups_flush(struct groups_writer *g, struct error *e)
{
	int status = snapshot_put(g->to, batch_builder_view(&g->b), e);

	batch_builder_reset(&g->b);
	return status;
}

static uint32_t groups_room(const struct groups_writer *g)
{
	return BATCH_ROWS - batch_builder_rows(&g->b);
}

static int flush_if_full(struct groups_writer *g, struct error *e)
{
	return batch_builder_is_full(&g->b) || !groups_room(g) ? groups_flush(g, e) : 0;
}

/* The keys and aggregates of rows whose fixed columns are there. */
static void values_put(const struct window_plan *p, struct column_builder *out,
	const struct keytable *keys, struct aggregate *const *aggregates, const uint32_t *key_pick,
	const uint32_t *group_pick, uint32_t n)
{
	for (size_t i = 0; i < p->keys_len; i++) {
		struct column all = keytable_column(keys, i);

		builder_put_picked(out++, &all, key_pick, n);
	}
	for (size_t i = 0; i < p->calls_len; i++) {
		aggregate_save(aggregates[i], group_pick, n, out);
		out += aggregate_state_columns(aggregates[i]);
	}
}

/* ---- tables: keys are groups, in the order of first appearance ---- */

void table_order_init(struct table_order *o, const struct keytable *t)
{
	uint32_t len = keytable_len(t), next[KEY_GROUPS];
	uint8_t *groups = state_key_groups(t);

	memset(o->from, 0, sizeof o->from);
	for (uint32_t i = 0; i < len; i++)
		o->from[groups[i] + 1]++;
	for (unsigned g = 0; g < KEY_GROUPS; g++)
		o->from[g + 1] += o->from[g];
	memcpy(next, o->from, sizeof next);
	o->ids = mem_alloc(len * sizeof *o->ids);
	for (uint32_t i = 0; i < len; i++)
		o->ids[next[groups[i]]++] = i;
	mem_free(groups);
}

void table_order_clear(struct table_order *o)
{
	mem_free(o->ids);
}

void state_rows_put(const struct window_plan *p, struct batch_builder *b,
	const struct state_table *t, uint8_t key_group, const uint32_t *ids, uint32_t n)
{
	struct column_builder *out = b->columns;

	for (uint32_t i = 0; i < n; i++) {
		builder_put_int(&out[0], key_group);
		builder_put_int(&out[1], (int64_t)(t->first_place + ids[i]));
		builder_put_int(&out[2], t->first_us);
		builder_put_int(&out[3], t->last_us);
	}
	values_put(p, out + STATE_FIXED_COLUMNS, t->keys, t->aggregates, ids, ids, n);
}

static int table_put(struct groups_writer *g, const struct state_table *t, uint8_t key_group,
	const uint32_t *ids, uint32_t n, struct error *e)
{
	int status = 0;

	for (uint32_t at = 0, some; at < n && status == 0; at += some) {
		some = n - at < groups_room(g) ? n - at : groups_room(g);
		state_rows_put(g->plan, &g->b, t, key_group, ids + at, some);
		status = flush_if_full(g, e);
	}
	return status;
}

static int spilled_batch_put(void *to, const struct batch *b, struct error *e)
{
	return snapshot_put(to, b, e);
}

/* What has been spilled of a key group, between those before and behind. */
static int spilled_put(
	struct groups_writer *g, struct spilled *spilled, unsigned group, struct error *e)
{
	if (!spilled)
		return 0;
	return groups_flush(g, e) || spilled_each(spilled, group, spilled_batch_put, g->to, e)
		       ? -1
		       : 0;
}

/* A key group's rows lie all over the table: sorting rows of a gigabyte by comparison took ten
 * times as long as writing them, and more memory than the state. */
int state_put_tables(struct window *w, struct snapshot_writer *s, const struct state_table *tables,
	size_t n, struct error *e)
{
	struct table_order *orders = mem_alloc(n * sizeof *orders);
	struct groups_writer g;
	int status = groups_writer_open(&g, w, s, e);

	for (size_t i = 0; i < n; i++)
		table_order_init(&orders[i], tables[i].keys);
	for (unsigned group = 0; group < KEY_GROUPS && status == 0; group++) {
		status = spilled_put(&g, w->spilled, group, e);
		for (size_t i = 0; i < n && status == 0; i++) {
			const struct table_order *o = &orders[i];

			status = table_put(&g, &tables[i], (uint8_t)group, o->ids + o->from[group],
				o->from[group + 1] - o->from[group], e);
		}
	}
	if (status == 0)
		status = groups_flush(&g, e);
	for (size_t i = 0; i < n; i++)
		table_order_clear(&orders[i]);
	mem_free(orders);
	groups_writer_close(&g);
	return status;
}

/* ---- rows: sessions, of which a key has several ---- */

static int compare_groups(const void *a, const void *b)
{
	const struct state_row *x = a, *y = b;

	if (x->key_group != y->key_group)
		return x->key_group < y->key_group ? -1 : 1;
	if (x->first_us != y->first_us)
		return x->first_us < y->first_us ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

void state_rows_sort(const struct state_rows *from)
{
	if (from->n)
		qsort(from->rows, from->n, sizeof *from->rows, compare_groups);
}

void state_sessions_put(const struct window_plan *p, struct batch_builder *b,
	const struct state_rows *from, const struct state_row *rows, uint32_t n)
{
	struct column_builder *out = b->columns;
	uint32_t keys[BATCH_ROWS], groups[BATCH_ROWS];

	for (uint32_t i = 0; i < n; i++) {
		keys[i] = rows[i].key;
		groups[i] = rows[i].group;
		builder_put_int(&out[0], rows[i].key_group);
		builder_put_int(&out[1], (int64_t)rows[i].place);
		builder_put_int(&out[2], rows[i].first_us);
		builder_put_int(&out[3], rows[i].last_us);
	}
	values_put(p, out + STATE_FIXED_COLUMNS, from->keys, from->aggregates, keys, groups, n);
}

int state_put_rows(
	struct window *w, struct snapshot_writer *s, const struct state_rows *from, struct error *e)
{
	struct groups_writer g;
	int status = groups_writer_open(&g, w, s, e);
	size_t at = 0;

	state_rows_sort(from);
	for (unsigned group = 0; group < KEY_GROUPS && status == 0; group++) {
		status = spilled_put(&g, w->spilled, group, e);
		while (at < from->n && from->rows[at].key_group == group && status == 0) {
			uint32_t n = 0;

			while (at + n < from->n && n < groups_room(&g) &&
				from->rows[at + n].key_group == group)
				n++;
			state_sessions_put(w->plan, &g.b, from, from->rows + at, n);
			at += n;
			status = flush_if_full(&g, e);
		}
	}
	if (status == 0)
		status = groups_flush(&g, e);
	groups_writer_close(&g);
	return status;
}

struct again_writer {
	struct snapshot_writer *to;
	int64_t key_group;
};

static int again_put(struct again_writer *aw, const struct batch *b, struct error *e)
{
	struct arena arena = ARENA_INIT;
	uint32_t *pick = arena_alloc(&arena, ((size_t)b->rows + 1) * sizeof *pick), n = 0;
	struct batch some;
	int status = 0;

	for (uint32_t r = 0; r < b->rows; r++) {
		pick[n] = r;
		n += column_int(&b->columns[0], r) == aw->key_group;
	}
	if (n) {
		batch_gather(b, pick, n, &arena, &some);
		status = snapshot_put(aw->to, &some, e);
	}
	arena_clear(&arena);
	return status;
}

static int disk_put_again(struct saved *saved, struct again_writer *aw, struct error *e)
{
	struct spill_reader *r;
	const struct batch *b;
	int status = 0;

	if (!saved->disk)
		return 0;
	r = spill_reader_new(saved->disk, 0, SPILL_TO_END);
	while (status == 0 && (status = spill_reader_next(r, &b, e)) == 0)
		status = again_put(aw, b, e);
	spill_reader_free(r);
	return status < 0 ? -1 : 0;
}

/* What was restored and not yet needed goes on as it came, sorted again over its files. */
static int saved_put(struct saved *saved, struct snapshot_writer *s, struct error *e)
{
	struct again_writer aw = {.to = s};

	if (saved->has_window && window_put(saved, s, e))
		return -1;
	if (!saved->has_groups)
		return 0;
	if (snapshot_section(s, &saved->schema, e))
		return -1;
	for (; aw.key_group < KEY_GROUPS; aw.key_group++) {
		if (disk_put_again(saved, &aw, e) ||
			again_put(&aw, batch_builder_view(&saved->groups), e))
			return -1;
	}
	return 0;
}

int window_snapshot(struct operator* op, struct snapshot_writer *s, struct error *e)
{
	struct window *w = (struct window *)(void *)op;
	struct saved now = {.shape = shape_number(w),
		.size_us = w->options.size_us,
		.step_us = w->options.step_us,
		.offset_us = w->options.offset_us,
		.watermark_us = w->watermark_us,
		.fired_us = w->fired_us,
		.next_row = w->next_row,
		.split = w->spilled != NULL};

	if (!w->plan)
		return w->saved ? saved_put(w->saved, s, e) : 0;
	return window_put(&now, s, e) || w->ops->save(w, s, e) ? -1 : 0;
}

/* ---- reading ---- */

void saved_free(struct saved *s)
{
	if (!s)
		return;
	if (s->has_groups)
		batch_builder_clear(&s->groups);
	spill_run_free(s->disk);
	schema_clear(&s->schema);
	mem_free(s);
}

/* Of several files: the least watermark, the greatest number, split if one is; the rest must
 * agree. */
static int window_take(struct saved *s, const struct batch *b, struct error *e)
{
	struct saved one = {.has_window = true};
	int64_t *fields[WINDOW_FIELDS];

	window_fields(&one, fields);
	for (int i = 0; i < WINDOW_FIELDS; i++) {
		const struct column *c;

		if (fields[i] == &one.split && schema_find(b->schema, "split", 5) < 0) {
			one.split = 1; /* written before it was told */
			continue;
		}
		if (snapshot_column(b, window_names[i], TYPE_OF(TYPE_INT), &c, e))
			return -1;
		if (b->rows != 1 || !column_is_valid(c, 0))
			return error_set(e, ERROR_STATE, "section window is damaged");
		*fields[i] = column_int(c, 0);
	}
	if (s->has_window && (s->shape != one.shape || s->size_us != one.size_us ||
				     s->step_us != one.step_us || s->offset_us != one.offset_us))
		return error_set(e, ERROR_STATE, "the files are snapshots of different windows");
	if (s->has_window && s->watermark_us < one.watermark_us)
		one.watermark_us = s->watermark_us;
	if (s->has_window && s->fired_us < one.fired_us)
		one.fired_us = s->fired_us;
	if (s->has_window && s->next_row > one.next_row)
		one.next_row = s->next_row;
	one.split |= s->split;
	window_fields(&one, fields);
	int64_t *to[WINDOW_FIELDS];

	window_fields(s, to);
	for (int i = 0; i < WINDOW_FIELDS; i++)
		*to[i] = *fields[i];
	s->has_window = true;
	return 0;
}

/* More rows than half of the memory holds go on to disk, as they come. */
static int saved_spill(struct window *w, struct saved *s, struct error *e)
{
	const struct batch *all = batch_builder_view(&s->groups);
	uint32_t at = 0, n;
	int status = 0;

	if (!s->disk && spill_run_new(w->options.temporary, &s->schema, &s->disk, e))
		return -1;
	for (; at < all->rows && status == 0; at += n) {
		struct arena arena = ARENA_INIT;
		struct batch some;

		n = all->rows - at < BATCH_ROWS ? all->rows - at : BATCH_ROWS;
		batch_slice(all, at, n, &arena, &some);
		status = spill_run_put(s->disk, &some, e);
		arena_clear(&arena);
	}
	batch_builder_reset(&s->groups);
	return status;
}

static size_t saved_bytes(struct saved *s)
{
	return batch_bytes(batch_builder_view(&s->groups));
}

static bool is_too_much(const struct window *w, size_t bytes)
{
	return w->options.memory_bytes && w->options.temporary &&
	       w->options.emit == EMIT_CLOSE && bytes > (size_t)w->options.memory_bytes / 4;
}

static int groups_take_in(
	struct window *w, struct saved *s, const struct batch *b, struct error *e)
{
	const struct column *c;

	for (int i = 0; i < STATE_FIXED_COLUMNS; i++) {
		if (snapshot_column(b, fixed_names[i], TYPE_OF(fixed_kinds[i]), &c, e))
			return -1;
		if (c != &b->columns[i] || column_nulls(c, b->rows))
			return error_set(e, ERROR_STATE, "section groups is damaged");
	}
	if (!s->has_groups) {
		schema_copy(&s->schema, b->schema);
		batch_builder_init(&s->groups, &s->schema);
		s->has_groups = true;
	}
	if (!schema_equal(&s->schema, b->schema))
		return error_set(e, ERROR_STATE, "the files are snapshots of different groups");
	batch_builder_put_rows(&s->groups, b, 0, b->rows);
	return is_too_much(w, saved_bytes(s)) ? saved_spill(w, s, e) : 0;
}

int window_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	struct window *w = (struct window *)(void *)op;
	struct saved *s = mem_zero(sizeof *s);
	const struct batch *b;
	int status;

	schema_init(&s->schema);
	w->saved = s;
	while ((status = snapshot_next(r, &b, e)) == 0) {
		const char *name = b->schema->name;

		if (strcmp(name, "window") == 0)
			status = window_take(s, b, e);
		else if (strcmp(name, "groups") == 0)
			status = groups_take_in(w, s, b, e);
		else
			status = error_set(
				e, ERROR_STATE, "a section '%s' is not known here", name);
		if (status)
			return -1;
	}
	if (status < 0)
		return -1;
	if (s->has_window) {
		w->watermark_us = s->watermark_us;
		w->fired_us = s->fired_us;
		w->next_row = s->next_row;
	}
	return 0;
}

/* ---- into the shape's state ---- */

static int window_compare(const struct window *w, const struct saved *s, struct error *e)
{
	char then[DURATION_TEXT_MAX], now[DURATION_TEXT_MAX];
	size_t then_len, now_len;

	if ((s->shape >= SHAPE_UPDATED) != (w->options.emit != EMIT_CLOSE))
		return error_set(e, ERROR_STATE, "the state is of a stage %s --emit",
			s->shape >= SHAPE_UPDATED ? "with" : "without");
	if (s->shape == shape_number(w) && s->size_us == w->options.size_us &&
		s->step_us == w->options.step_us && s->offset_us == w->options.offset_us)
		return 0;
	then_len = duration_put(then, s->size_us);
	now_len = duration_put(now, w->options.size_us);
	return error_set(e, ERROR_STATE, "the state is of other windows (of %.*s; now %.*s)",
		(int)then_len, then, (int)now_len, now);
}

/* The call whose state has this column, as far as its name tells: up to the last dot. */
static int other_column(const char *name, const char *what, struct error *e)
{
	const char *dot = strrchr(name, '.');

	if (strncmp(name, "key.", 4) == 0)
		return error_set(e, ERROR_STATE, "the state %s the key '%s'", what, name + 4);
	return error_set(e, ERROR_STATE, "the state %s the aggregate '%.*s'", what,
		dot ? (int)(dot - name) : (int)strlen(name), name);
}

/* A new aggregate starts empty in the groups there are, which is told. */
static int tell_new(struct window *w, const char *name, struct error *e)
{
	const char *dot = strrchr(name, '.');

	if (strncmp(name, "key.", 4) == 0 || !dot)
		return other_column(name, "lacks", e);
	stage_warn(w->op.stage, "%.*s is new: groups that are open know only the rows from now on",
		(int)(dot - name), name);
	return 0;
}

/* An aggregate that is asked for no longer: its state is let go only if somebody said so. */
static int let_go(struct window *w, const char *name, struct error *e)
{
	const char *dot = strrchr(name, '.');
	char call[256];

	if (strncmp(name, "key.", 4) == 0 || !dot)
		return other_column(name, "also has", e);
	snprintf(call, sizeof call, "%.*s", (int)(dot - name), name);
	if (stage_drops_state(w->op.stage, call))
		return 0;
	other_column(name, "also has", e);
	return error_hint(
		e, "let it go: runnel --drop-state '%s:%s'", stage_name(w->op.stage), call);
}

static int schema_compare(struct window *w, const struct schema *saved, struct error *e)
{
	struct schema now = SCHEMA_INIT;
	int status = 0;

	state_schema(w->plan, &now);
	for (size_t i = 0; i < now.fields_len && status == 0; i++) {
		const struct field *f = &now.fields[i];
		int at = schema_find(saved, f->name, strlen(f->name));

		if (at < 0)
			status = tell_new(w, f->name, e);
		else if (!type_equal(saved->fields[at].type, f->type))
			status = error_set(e, ERROR_STATE, "the state's '%s' is %s, and %s now",
				f->name, type_name(saved->fields[at].type), type_name(f->type));
	}
	for (size_t i = 0; i < saved->fields_len && status == 0; i++) {
		const char *name = saved->fields[i].name;

		if (schema_find(&now, name, strlen(name)) < 0)
			status = let_go(w, name, e);
	}
	schema_clear(&now);
	return status;
}

/* ---- the order in which rows go in ---- */

enum { WINDOWS_FEW = 4096 };

struct place {
	int64_t first_us, place;
	uint32_t row;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->first_us != y->first_us)
		return x->first_us < y->first_us ? -1 : 1;
	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row); /* files in their order */
}

static void order_by_comparing(const struct batch *all, bool by_place, uint32_t *order)
{
	struct place *places = mem_alloc(all->rows * sizeof *places);

	for (uint32_t r = 0; r < all->rows; r++)
		places[r] = (struct place){by_place ? 0 : column_int(&all->columns[2], r),
			column_int(&all->columns[1], r), r};
	if (all->rows)
		qsort(places, all->rows, sizeof *places, compare_places);
	for (uint32_t r = 0; r < all->rows; r++)
		order[r] = places[r].row;
	mem_free(places);
}

/* Counting sort, stable: rows of `from` (NULL: as they are) by digits[row] < digits_end. */
static void order_by_digit(const uint32_t *digits, uint32_t digits_end, const uint32_t *from,
	uint32_t n, uint32_t *order)
{
	uint32_t *next = mem_zero(((size_t)digits_end + 1) * sizeof *next);

	for (uint32_t r = 0; r < n; r++)
		next[digits[r] + 1]++;
	for (uint32_t d = 0; d < digits_end; d++)
		next[d + 1] += next[d];
	for (uint32_t i = 0; i < n; i++) {
		uint32_t row = from ? from[i] : i;

		order[next[digits[row]]++] = row;
	}
	mem_free(next);
}

static int compare_times(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The windows' first times, sorted; their number, 0 if there are many. */
static uint32_t few_windows(const struct batch *all, int64_t *times)
{
	const int64_t *first_us = all->columns[2].data;
	uint32_t n = 0, at;

	for (uint32_t r = 0; r < all->rows; r++) {
		if (n && times[n - 1] == first_us[r])
			continue;
		/* They come in runs, one run per window and key group. */
		if (n && bsearch(&first_us[r], times, n, sizeof *times, compare_times))
			continue;
		if (n == WINDOWS_FEW)
			return 0;
		for (at = n++; at && times[at - 1] > first_us[r]; at--)
			times[at] = times[at - 1];
		times[at] = first_us[r];
	}
	return n;
}

static uint32_t window_at(const int64_t *times, uint32_t n, int64_t first_us)
{
	const int64_t *at = bsearch(&first_us, times, n, sizeof *times, compare_times);

	return (uint32_t)(at - times);
}

/* The greatest place, UINT32_MAX if they don't lie densely enough to be counted. */
static uint32_t dense_places(const struct batch *all)
{
	const int64_t *places = all->columns[1].data;
	int64_t most = 0;

	for (uint32_t r = 0; r < all->rows; r++) {
		if (places[r] < 0)
			return UINT32_MAX;
		most = places[r] > most ? places[r] : most;
	}
	return most < 4 * (int64_t)all->rows && most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

/* One file's places count each window's groups without a gap, so that a row's place says where it
 * goes.  False: they don't.  (Those of a group's parts that were on disk do, too.) */
static bool order_by_place(
	const struct batch *all, const int64_t *times, uint32_t windows, uint32_t *order)
{
	const int64_t *places = all->columns[1].data, *first_us = all->columns[2].data;
	uint32_t *from = mem_zero(((size_t)windows + 1) * sizeof *from), at = 0, r;

	for (r = 0; r < all->rows; r++) {
		at = !r || first_us[r] != first_us[r - 1] ? window_at(times, windows, first_us[r])
							  : at;
		from[at + 1]++;
	}
	for (at = 0; at < windows; at++)
		from[at + 1] += from[at];
	memset(order, 0xff, all->rows * sizeof *order);
	for (r = 0; r < all->rows; r++) {
		uint64_t place = (uint64_t)places[r];

		at = !r || first_us[r] != first_us[r - 1] ? window_at(times, windows, first_us[r])
							  : at;
		if (place >= from[at + 1] - from[at] || order[from[at] + place] != UINT32_MAX)
			break;
		order[from[at] + place] = r;
	}
	mem_free(from);
	return r == all->rows;
}

/* Rows go in by first time and place, so that keys get their order of first appearance back. Groups
 * of few windows are put or counted into their order: sorted by comparison, 26 M took 8 s.
 * *one_file: no group comes twice, but parts of it. */
static uint32_t *order_of_appearance(const struct batch *all, bool *one_file)
{
	uint32_t *order = mem_alloc(all->rows * sizeof *order), *digits, *by_place, most;
	int64_t *times = mem_alloc(WINDOWS_FEW * sizeof *times);
	uint32_t windows = few_windows(all, times);

	*one_file = windows && order_by_place(all, times, windows, order);
	if (*one_file)
		goto done;
	most = dense_places(all);
	if (!windows || most == UINT32_MAX) {
		order_by_comparing(all, false, order);
		goto done;
	}
	digits = mem_alloc(all->rows * sizeof *digits);
	for (uint32_t r = 0; r < all->rows; r++)
		digits[r] = (uint32_t)column_int(&all->columns[1], r);
	order_by_digit(digits, most + 1, NULL, all->rows, order);
	if (windows > 1) {
		by_place = order;
		order = mem_alloc(all->rows * sizeof *order);
		for (uint32_t r = 0; r < all->rows; r++)
			digits[r] = window_at(times, windows, column_int(&all->columns[2], r));
		order_by_digit(digits, windows, by_place, all->rows, order);
		mem_free(by_place);
	}
	mem_free(digits);
done:
	mem_free(times);
	return order;
}

static uint32_t *order_of_load(struct window *w, const struct batch *all, bool *all_new)
{
	uint32_t *order;

	if (!w->ops->by_place)
		return order_of_appearance(all, all_new);
	*all_new = false;
	order = mem_alloc(((size_t)all->rows + 1) * sizeof *order);
	order_by_comparing(all, true, order);
	return order;
}

static int groups_load(struct window *w, struct saved *s, struct error *e)
{
	const struct batch *all = batch_builder_view(&s->groups);
	const int64_t *first_us = all->columns[2].data;
	bool all_new;
	uint32_t *order = order_of_load(w, all, &all_new);
	struct arena arena = ARENA_INIT;
	int status = 0;

	all_new &= w->ops->load_new != NULL && !s->split;
	for (uint32_t at = 0, n; at < all->rows && status == 0; at += n) {
		struct batch some;

		n = 1;
		while (at + n < all->rows && n < BATCH_ROWS &&
			(!w->ops->by_window || first_us[order[at + n]] == first_us[order[at]]))
			n++;
		arena_reset(&arena);
		batch_gather(all, order + at, n, &arena, &some);
		status = (all_new ? w->ops->load_new : w->ops->load)(w, &some, e);
	}
	if (all_new && w->ops->load_end)
		w->ops->load_end(w);
	arena_clear(&arena);
	mem_free(order);
	return status;
}

/* The rows on disk become runs of as many as fit. */
static int disk_load(struct window *w, struct saved *s, struct error *e)
{
	struct schema now = SCHEMA_INIT;
	struct spill_reader *r;
	const struct batch *b;
	int status = saved_spill(w, s, e);
	bool same;

	schema_set_name(&now, "groups");
	state_schema(w->plan, &now);
	same = schema_equal(&now, &s->schema);
	schema_clear(&now);
	if (!same)
		return error_set(e, ERROR_STATE,
			"a state larger than --memory must have the aggregates of now");
	w->spilled = spilled_new(w->options.temporary);
	r = spill_reader_new(s->disk, 0, SPILL_TO_END);
	while (status == 0 && (status = spill_reader_next(r, &b, e)) == 0) {
		batch_builder_put_rows(&s->groups, b, 0, b->rows);
		if (!is_too_much(w, saved_bytes(s)))
			continue;
		status = spilled_put_saved(w, batch_builder_view(&s->groups), e);
		batch_builder_reset(&s->groups);
	}
	spill_reader_free(r);
	if (status == 1)
		status = spilled_put_saved(w, batch_builder_view(&s->groups), e);
	if (status == 0 && w->ops->from_disk)
		w->ops->from_disk(w);
	return status < 0 ? -1 : 0;
}

static bool can_stay_on_disk(const struct window *w)
{
	return w->ops->spill && (!w->ops->can_spill || w->ops->can_spill(w));
}

/* All in memory after all: it must fit. */
static int disk_back(struct saved *s, struct error *e)
{
	struct spill_reader *r = spill_reader_new(s->disk, 0, SPILL_TO_END);
	struct batch_builder all;
	const struct batch *b, *rest = batch_builder_view(&s->groups);
	int status;

	batch_builder_init(&all, &s->schema);
	while ((status = spill_reader_next(r, &b, e)) == 0)
		batch_builder_put_rows(&all, b, 0, b->rows);
	batch_builder_put_rows(&all, rest, 0, rest->rows);
	batch_builder_clear(&s->groups);
	s->groups = all;
	spill_reader_free(r);
	spill_run_free(s->disk);
	s->disk = NULL;
	return status < 0 ? -1 : 0;
}

static int saved_load(struct window *w, struct saved *s, struct error *e)
{
	if (!s->has_groups)
		return 0;
	if (schema_compare(w, &s->schema, e))
		return -1;
	if (s->disk && can_stay_on_disk(w))
		return disk_load(w, s, e);
	if (s->disk && disk_back(s, e))
		return -1;
	return groups_load(w, s, e);
}

int window_load(struct window *w, struct error *e)
{
	struct saved *s = w->saved;

	if (!s)
		return 0;
	if (s->has_window && window_compare(w, s, e))
		return -1;
	if (saved_load(w, s, e))
		return -1;
	saved_free(s);
	w->saved = NULL;
	return 0;
}

void state_batch_read(const struct window_plan *p, const struct batch *b, struct arena *a,
	struct state_batch *out)
{
	struct schema now = SCHEMA_INIT;
	struct column *columns;
	const struct column **keys = ARENA_ARRAY(a, const struct column *, p->keys_len + 1);
	uint64_t *hashes = arena_alloc(a, ((size_t)b->rows + 1) * sizeof *hashes);

	bool *missing;

	state_schema(p, &now);
	columns = ARENA_ARRAY(a, struct column, now.fields_len);
	missing = ARENA_ARRAY(a, bool, now.fields_len);
	for (size_t i = 0; i < now.fields_len; i++) {
		const char *name = now.fields[i].name;
		int at = schema_find(b->schema, name, strlen(name));

		missing[i] = at < 0;
		if (at >= 0)
			columns[i] = b->columns[at];
	}
	for (size_t i = 0; i < p->keys_len; i++)
		keys[i] = &columns[STATE_FIXED_COLUMNS + i];
	keys_hash(keys, p->keys_len, b->rows, hashes);
	*out = (struct state_batch){.rows = b->rows,
		.places = columns[1].data,
		.first_us = columns[2].data,
		.last_us = columns[3].data,
		.keys = keys,
		.hashes = hashes,
		.columns = columns + STATE_FIXED_COLUMNS + p->keys_len,
		.missing = missing + STATE_FIXED_COLUMNS + p->keys_len};
	schema_clear(&now);
}

int state_aggregates_load(const struct window_plan *p, struct aggregate **aggregates,
	const struct state_batch *b, const uint32_t *groups, struct error *e)
{
	size_t at = 0;

	for (size_t i = 0; i < p->calls_len; i++) {
		if (!b->missing[at] &&
			aggregate_load(aggregates[i], b->columns + at, groups, b->rows, e))
			return error_context(e, "%s", p->calls[i].text);
		at += aggregate_state_columns(aggregates[i]);
	}
	return 0;
}

/* Rows [0, n) of the picked ones, as a batch of their own. */
void state_batch_pick(const struct window_plan *p, const struct state_batch *from,
	const uint32_t *pick, uint32_t n, struct arena *a, struct state_batch *out)
{
	size_t columns_len = 0;
	struct column *columns;

	for (size_t i = 0; i < p->calls_len; i++)
		columns_len += aggregate_state_columns(p->calls[i].like);
	columns = ARENA_ARRAY(a, struct column, columns_len + 1);
	for (size_t i = 0; i < columns_len; i++) {
		if (!from->missing[i])
			column_gather(&from->columns[i], pick, n, a, &columns[i]);
	}
	*out = (struct state_batch){.rows = n, .columns = columns, .missing = from->missing};
}

/* Rows of groups that have some already: loaded beside them, then combined. */
int state_groups_load_again(struct window *w, struct aggregate **aggregates,
	const struct state_batch *in, const uint32_t *to, struct arena *a, struct error *e)
{
	uint32_t *numbers = arena_alloc(a, ((size_t)in->rows + 1) * sizeof *numbers);

	if (!w->loading)
		w->loading = groups_new(w->plan);
	for (uint32_t r = 0; r < in->rows; r++)
		numbers[r] = r;
	for (size_t i = 0; i < w->plan->calls_len; i++) {
		aggregate_reset(w->loading->aggregates[i]);
		aggregate_resize(w->loading->aggregates[i], in->rows);
	}
	if (state_aggregates_load(w->plan, w->loading->aggregates, in, numbers, e))
		return -1;
	for (size_t i = 0; i < w->plan->calls_len; i++) {
		if (aggregate_combine(aggregates[i], to, w->loading->aggregates[i], numbers,
			    in->rows, e))
			return error_context(e, "%s", w->plan->calls[i].text);
	}
	return 0;
}

int state_groups_load(struct window *w, struct groups *g, const struct state_batch *in,
	struct arena *a, uint32_t **ids, struct error *e)
{
	uint32_t known = groups_len(g), *all, *fresh, *again, *to, fresh_len = 0, again_len = 0;
	struct state_batch some;

	all = *ids = arena_alloc(a, ((size_t)in->rows + 1) * sizeof *all);
	keytable_insert(g->keys, in->keys, in->rows, in->hashes, all);
	groups_resize(g, w->plan);
	fresh = arena_alloc(a, ((size_t)in->rows + 1) * sizeof *fresh);
	again = arena_alloc(a, ((size_t)in->rows + 1) * sizeof *again);
	to = arena_alloc(a, ((size_t)in->rows + 1) * sizeof *to);
	for (uint32_t r = 0; r < in->rows; r++) { /* new numbers rise one by one */
		if (all[r] == known + fresh_len)
			fresh[fresh_len++] = r;
		else
			again[again_len++] = r;
	}
	if (again_len == 0)
		return state_aggregates_load(w->plan, g->aggregates, in, all, e);
	if (fresh_len) {
		state_batch_pick(w->plan, in, fresh, fresh_len, a, &some);
		for (uint32_t i = 0; i < fresh_len; i++)
			to[i] = all[fresh[i]];
		if (state_aggregates_load(w->plan, g->aggregates, &some, to, e))
			return -1;
	}
	state_batch_pick(w->plan, in, again, again_len, a, &some);
	for (uint32_t i = 0; i < again_len; i++)
		to[i] = all[again[i]];
	return state_groups_load_again(w, g->aggregates, &some, to, a, e);
}
