/* swindow's state as sections of a snapshot, and back.
 *
 *   "window"  unkeyed, one row: what the windows are, the watermark, the running number of rows
 *   "groups"  keyed: key_group, place, first, last, the keys as key.NAME, the aggregates' state as
 *             CALL.PART ("sum(price).sum"); a slice or session is its first and last time
 *
 * What is read is kept as it came until the schema, and with it the plan, is known.  Then it must
 * fit exactly: another window, a key or an aggregate more or less is ERROR_STATE. */
#include "cmd/swindow/window.h"

#include "libcore/base/civil.h"
#include "libcore/base/memory.h"

#include <stdio.h>
#include <stdlib.h>

struct saved {
	bool has_window;
	int64_t shape, size_us, step_us, offset_us;
	int64_t watermark_us, fired_us, next_row;
	bool has_groups;
	struct schema schema;
	struct batch_builder groups;
};

static const char *const fixed_names[STATE_FIXED_COLUMNS] = {"key_group", "place", "first", "last"};
static const uint8_t fixed_kinds[STATE_FIXED_COLUMNS] = {
	TYPE_INT, TYPE_INT, TYPE_TIMESTAMP, TYPE_TIMESTAMP};

enum { WINDOW_FIELDS = 7 };
static const char *const window_names[WINDOW_FIELDS] = {
	"shape", "size", "step", "offset", "watermark", "fired", "next_row"};

static void window_fields(struct saved *s, int64_t *out[WINDOW_FIELDS])
{
	int64_t *fields[WINDOW_FIELDS] = {&s->shape, &s->size_us, &s->step_us, &s->offset_us,
		&s->watermark_us, &s->fired_us, &s->next_row};

	memcpy(out, fields, sizeof fields);
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

static int compare_groups(const void *a, const void *b)
{
	const struct state_row *x = a, *y = b;

	if (x->key_group != y->key_group)
		return x->key_group < y->key_group ? -1 : 1;
	if (x->first_us != y->first_us)
		return x->first_us < y->first_us ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

/* Rows that share their table and aggregates, which are asked once for all of them. */
static void run_put(const struct window_plan *p, const struct state_row *rows, uint32_t n,
	struct column_builder *out)
{
	uint32_t keys[BATCH_ROWS], groups[BATCH_ROWS];
	size_t column = STATE_FIXED_COLUMNS;

	for (uint32_t i = 0; i < n; i++) {
		keys[i] = rows[i].key;
		groups[i] = rows[i].group;
		builder_put_int(&out[0], rows[i].key_group);
		builder_put_int(&out[1], (int64_t)rows[i].place);
		builder_put_int(&out[2], rows[i].first_us);
		builder_put_int(&out[3], rows[i].last_us);
	}
	for (size_t i = 0; i < p->keys_len; i++) {
		struct column all = keytable_column(rows->keys, i);

		builder_put_picked(&out[column++], &all, keys, n);
	}
	for (size_t i = 0; i < p->calls_len; i++) {
		aggregate_save(rows->aggregates[i], groups, n, &out[column]);
		column += aggregate_state_columns(rows->aggregates[i]);
	}
}

int state_put(struct window *w, struct snapshot_writer *s, struct state_row *rows, size_t n,
	struct error *e)
{
	struct schema schema = SCHEMA_INIT;
	struct batch_builder b;
	int status;

	schema_set_name(&schema, "groups");
	state_schema(w->plan, &schema);
	batch_builder_init(&b, &schema);
	if (n)
		qsort(rows, n, sizeof *rows, compare_groups);
	status = snapshot_section(s, &schema, e);
	for (size_t at = 0; at < n && status == 0;) {
		uint32_t len = 0, room = BATCH_ROWS - batch_builder_rows(&b);

		while (at + len < n && len < room &&
			rows[at + len].aggregates == rows[at].aggregates)
			len++;
		run_put(w->plan, rows + at, len, b.columns);
		at += len;
		if (at < n && !batch_builder_is_full(&b) && batch_builder_rows(&b) < BATCH_ROWS)
			continue;
		status = snapshot_put(s, batch_builder_view(&b), e);
		batch_builder_reset(&b);
	}
	batch_builder_clear(&b);
	schema_clear(&schema);
	return status;
}

/* What was restored and not yet needed goes on as it came, sorted again over its files. */
static int saved_put(struct saved *saved, struct snapshot_writer *s, struct error *e)
{
	const struct batch *all;
	struct arena arena = ARENA_INIT;
	struct batch sorted;
	uint32_t *order;
	uint64_t *groups;
	int status;

	if (saved->has_window && window_put(saved, s, e))
		return -1;
	if (!saved->has_groups)
		return 0;
	all = batch_builder_view(&saved->groups);
	order = arena_alloc(&arena, ((size_t)all->rows + 1) * sizeof *order);
	groups = arena_alloc(&arena, ((size_t)all->rows + 1) * sizeof *groups);
	for (uint32_t r = 0; r < all->rows; r++)
		groups[r] = (uint64_t)column_int(&all->columns[0], r);
	snapshot_order(groups, all->rows, order);
	batch_gather(all, order, all->rows, &arena, &sorted);
	status = snapshot_section(s, &saved->schema, e);
	if (status == 0)
		status = snapshot_put(s, &sorted, e);
	arena_clear(&arena);
	return status;
}

int window_snapshot(struct operator* op, struct snapshot_writer *s, struct error *e)
{
	struct window *w = (struct window *)(void *)op;
	struct saved now = {.shape = w->options.shape,
		.size_us = w->options.size_us,
		.step_us = w->options.step_us,
		.offset_us = w->options.offset_us,
		.watermark_us = w->watermark_us,
		.fired_us = w->fired_us,
		.next_row = w->next_row};

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
	schema_clear(&s->schema);
	mem_free(s);
}

/* Of several files: the least watermark, the greatest number; the rest must agree. */
static int window_take(struct saved *s, const struct batch *b, struct error *e)
{
	struct saved one = {.has_window = true};
	int64_t *fields[WINDOW_FIELDS];

	window_fields(&one, fields);
	for (int i = 0; i < WINDOW_FIELDS; i++) {
		const struct column *c;

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
	window_fields(&one, fields);
	int64_t *to[WINDOW_FIELDS];

	window_fields(s, to);
	for (int i = 0; i < WINDOW_FIELDS; i++)
		*to[i] = *fields[i];
	s->has_window = true;
	return 0;
}

static int groups_take_in(struct saved *s, const struct batch *b, struct error *e)
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
	return 0;
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
			status = groups_take_in(s, b, e);
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

	if (s->shape == (int64_t)w->options.shape && s->size_us == w->options.size_us &&
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
	return error_hint(e, "let it go: runnel --drop-state '%s:%s'", stage_name(w->op.stage), call);
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

/* Rows go in by first time and place, so that keys get their order of first appearance back. */
static struct place *places_sorted(const struct batch *all)
{
	struct place *places = mem_alloc(all->rows * sizeof *places);

	for (uint32_t r = 0; r < all->rows; r++)
		places[r] = (struct place){
			column_int(&all->columns[2], r), column_int(&all->columns[1], r), r};
	if (all->rows)
		qsort(places, all->rows, sizeof *places, compare_places);
	return places;
}

static int groups_load(struct window *w, struct saved *s, struct error *e)
{
	const struct batch *all = batch_builder_view(&s->groups);
	struct place *places = places_sorted(all);
	struct arena arena = ARENA_INIT;
	uint32_t pick[BATCH_ROWS];
	bool by_slice = w->ops == &slices_ops; /* whose batches are of one slice */
	int status = 0;

	for (uint32_t at = 0; at < all->rows && status == 0;) {
		uint32_t n = 0, first = at;
		struct batch some;

		while (at < all->rows && n < BATCH_ROWS &&
			(!by_slice || places[at].first_us == places[first].first_us))
			pick[n++] = places[at++].row;
		arena_reset(&arena);
		batch_gather(all, pick, n, &arena, &some);
		status = w->ops->load(w, &some, e);
	}
	arena_clear(&arena);
	mem_free(places);
	return status;
}

int window_load(struct window *w, struct error *e)
{
	struct saved *s = w->saved;

	if (!s)
		return 0;
	if (s->has_window && window_compare(w, s, e))
		return -1;
	if (s->has_groups && (schema_compare(w, &s->schema, e) || groups_load(w, s, e)))
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
