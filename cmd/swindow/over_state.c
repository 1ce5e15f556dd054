/* Snapshots of --over.
 *
 *   "over"   unkeyed: frame, its size, the windows, the watermark, the running number of rows
 *   "held"   keyed: key_group, seq (order of arrival), time, queued (its turn), then the row
 *   "keys"   keyed: key_group, place, last, rows, rank, dense, the keys, the aggregates (--over all)
 *   "kept"   keyed: key_group, seq, time, out (of the frame, kept for lag), the key and the arguments
 *
 * Aggregates of frames of rows are made anew, of the rows that are in them. */
#include "cmd/swindow/over_operator.h"

#include "libcore/base/memory.h"

#include <stdio.h>
#include <string.h>

static const char *const section_names[SAVED_SECTIONS] = {"held", "keys", "kept"};

enum { OVER_OPTIONS = 6, OVER_FIELDS = 8 }; /* those that a state must have the same */
static const char *const over_names[OVER_FIELDS] = {
	"frame", "size", "shape", "window", "step", "offset", "watermark", "next_row"};

static void over_fields(const struct over *v, int64_t *values)
{
	const struct over_options *o = &v->options;

	values[0] = o->frame * 2 + o->exclude_current;
	values[1] = o->frame == OVER_ROWS ? o->rows : o->frame == OVER_TIME ? o->span_us : 0;
	values[2] = o->window.shape;
	values[3] = o->window.size_us;
	values[4] = o->window.step_us;
	values[5] = o->window.offset_us;
	values[6] = v->watermark_us;
	values[7] = v->next_row;
}

/* ---- writing ---- */

static void add_columns(struct schema *s, const char *const *names, size_t n)
{
	schema_add(s, "key_group", 9, TYPE_OF(TYPE_INT));
	for (size_t i = 0; i < n; i++)
		schema_add(s, names[i], strlen(names[i]), TYPE_OF(TYPE_INT));
}

static void add_rows(struct schema *s, const struct schema *rows)
{
	char name[300];

	for (size_t i = 0; i < rows->fields_len; i++) {
		int len = snprintf(name, sizeof name, "row.%s", rows->fields[i].name);

		schema_add(s, name, len < (int)sizeof name ? (size_t)len : sizeof name - 1,
			rows->fields[i].type);
	}
}

/* Rows of a section by number, in the order of key groups. */
struct section {
	struct schema schema;
	struct batch_builder b;
	struct snapshot_writer *to;
};

static int section_open(struct section *s, const char *name, struct snapshot_writer *w, struct error *e)
{
	s->to = w;
	schema_set_name(&s->schema, name);
	batch_builder_init(&s->b, &s->schema);
	return snapshot_section(w, &s->schema, e);
}

static int section_flush(struct section *s, bool last, struct error *e)
{
	int status = 0;

	if (batch_builder_rows(&s->b) && (last || batch_builder_is_full(&s->b))) {
		status = snapshot_put(s->to, batch_builder_view(&s->b), e);
		batch_builder_reset(&s->b);
	}
	return status;
}

static void section_close(struct section *s)
{
	batch_builder_clear(&s->b);
	schema_clear(&s->schema);
}

static const char *const held_names[] = {"seq", "time", "queued"};

/* The turns of held rows, by number; INT64_MIN: it has none any more. */
static int64_t *turns_of(const struct over *v)
{
	int64_t *turns = mem_alloc((v->held.len + (size_t)1) * sizeof *turns);
	const struct timequeue *q = &v->queue;

	for (uint32_t i = 0; i < v->held.len; i++)
		turns[i] = INT64_MIN;
	for (size_t i = q->run_first; i < q->run_len; i++)
		turns[q->run[i].row] = q->run[i].time_us;
	for (size_t i = 0; i < q->heap_len; i++)
		turns[q->heap[i].row] = q->heap[i].time_us;
	return turns;
}

/* The hashes of held rows' keys. */
static int held_hashes(struct over *v, uint64_t *hashes, struct error *e)
{
	const struct window_plan *w = v->plan->window;
	const struct column **keys = mem_alloc((w->keys_len + 1) * sizeof *keys);
	int status = 0;

	for (size_t i = 0; i < w->keys_len; i++)
		keys[i] = &v->frames.columns[i];
	for (uint32_t first = 0; first < v->held.len && status == 0; first += BATCH_ROWS) {
		uint32_t n = v->held.len - first < BATCH_ROWS ? v->held.len - first : BATCH_ROWS;
		struct arena arena = ARENA_INIT;
		struct batch part;

		batch_slice(rowstore_view(&v->held), first, n, &arena, &part);
		status = program_run(w->inputs, &part, v->frames.columns, NULL, e);
		if (status == 0)
			keys_hash(keys, w->keys_len, n, hashes + first);
		arena_clear(&arena);
	}
	mem_free(keys);
	return status;
}

static int put_held(struct over *v, struct snapshot_writer *w, struct error *e)
{
	uint32_t len = v->held.len, *order = mem_alloc((len + (size_t)1) * sizeof *order);
	uint64_t *hashes = mem_alloc((len + (size_t)1) * sizeof *hashes);
	int64_t *turns = turns_of(v);
	const struct batch *rows = rowstore_view(&v->held);
	struct section s = {.schema = SCHEMA_INIT};
	int status;

	add_columns(&s.schema, held_names, 3);
	add_rows(&s.schema, &v->held_schema);
	status = section_open(&s, section_names[SAVED_HELD], w, e);
	if (status == 0)
		status = held_hashes(v, hashes, e);
	if (status == 0)
		snapshot_order(hashes, len, order);
	for (uint32_t i = 0; i < len && status == 0; i++) {
		uint32_t r = order[i];

		if (turns[r] == INT64_MIN)
			continue;
		builder_put_int(&s.b.columns[0], key_group(hashes[r]));
		builder_put_int(&s.b.columns[1], r);
		builder_put_int(&s.b.columns[2], v->held.time_us[r]);
		builder_put_int(&s.b.columns[3], turns[r]);
		for (size_t c = 0; c < v->held_schema.fields_len; c++)
			builder_put_from(&s.b.columns[4 + c], &rows->columns[c], r);
		status = section_flush(&s, false, e);
	}
	if (status == 0)
		status = section_flush(&s, true, e);
	section_close(&s);
	mem_free(order);
	mem_free(hashes);
	mem_free(turns);
	return status;
}

static const char *const key_fields[] = {"place", "last", "rows", "rank", "dense"};

static void keys_schema(const struct over *v, struct schema *s)
{
	const struct window_plan *w = v->plan->window;
	char name[300];

	add_columns(s, key_fields, 5);
	for (size_t i = 0; i < w->keys_len; i++) {
		int len = snprintf(name, sizeof name, "key.%s", w->key_names[i]);

		schema_add(s, name, len < (int)sizeof name ? (size_t)len : sizeof name - 1,
			w->key_types[i]);
	}
	for (size_t i = 0; i < w->calls_len && v->options.frame == OVER_ALL; i++)
		aggregate_state_schema(w->calls[i].like, w->calls[i].text, s);
}

static int put_keys(struct over *v, struct snapshot_writer *w, const uint32_t *order, struct error *e)
{
	const struct frames *f = &v->frames;
	size_t keys_len = v->plan->window->keys_len;
	struct section s = {.schema = SCHEMA_INIT};
	int status;

	keys_schema(v, &s.schema);
	status = section_open(&s, section_names[SAVED_KEYS], w, e);
	for (uint32_t i = 0; i < f->per_key_len && status == 0; i++) {
		uint32_t k = order[i];
		const struct over_key *key = &f->per_key[k];
		size_t at = 6 + keys_len;

		builder_put_int(&s.b.columns[0], key_group(keytable_hash(f->keys, k)));
		builder_put_int(&s.b.columns[1], k);
		builder_put_int(&s.b.columns[2], key->last_us);
		builder_put_int(&s.b.columns[3], key->rows);
		builder_put_int(&s.b.columns[4], key->rank);
		builder_put_int(&s.b.columns[5], key->dense);
		for (size_t c = 0; c < keys_len; c++) {
			struct column column = keytable_column(f->keys, c);

			builder_put_from(&s.b.columns[6 + c], &column, k);
		}
		for (size_t c = 0; c < v->plan->window->calls_len && v->options.frame == OVER_ALL; c++) {
			aggregate_save(f->aggregates[c], &k, 1, &s.b.columns[at]);
			at += aggregate_state_columns(f->aggregates[c]);
		}
		status = section_flush(&s, false, e);
	}
	if (status == 0)
		status = section_flush(&s, true, e);
	section_close(&s);
	return status;
}

static const char *const kept_names[] = {"seq", "time", "out"};

static int put_kept(struct over *v, struct snapshot_writer *w, const uint32_t *order, struct error *e)
{
	struct frames *f = &v->frames;
	const struct batch *rows = rowstore_view(&f->kept);
	struct section s = {.schema = SCHEMA_INIT};
	int status;

	add_columns(&s.schema, kept_names, 3);
	add_rows(&s.schema, &v->plan->inputs);
	status = section_open(&s, section_names[SAVED_KEPT], w, e);
	for (uint32_t i = 0; i < f->per_key_len && status == 0; i++) {
		const struct over_key *key = &f->per_key[order[i]];

		for (uint32_t n = 0; n < key->len && status == 0; n++) {
			uint32_t r = key->items[key->head + n];

			builder_put_int(&s.b.columns[0], key_group(keytable_hash(f->keys, order[i])));
			builder_put_int(&s.b.columns[1], r);
			builder_put_int(&s.b.columns[2], f->kept.time_us[r]);
			builder_put_int(&s.b.columns[3], n < key->out);
			for (size_t c = 0; c < v->plan->inputs.fields_len; c++)
				builder_put_from(&s.b.columns[4 + c], &rows->columns[c], r);
			status = section_flush(&s, false, e);
		}
	}
	if (status == 0)
		status = section_flush(&s, true, e);
	section_close(&s);
	return status;
}

/* What was read before and is still waiting for the schema goes on as it came. */
static int put_saved(struct over *v, struct snapshot_writer *w, struct error *e)
{
	int status = 0;

	for (int i = 0; i < SAVED_SECTIONS && status == 0; i++) {
		struct saved_section *s = &v->saved[i];

		if (!s->used)
			continue;
		status = snapshot_section(w, &s->schema, e);
		if (status == 0)
			status = snapshot_put(w, batch_builder_view(&s->rows), e);
	}
	return status;
}

int over_snapshot(struct operator *op, struct snapshot_writer *w, struct error *e)
{
	struct over *v = (struct over *)(void *)op;
	uint32_t keys = v->frames.per_key_len, *order;
	int64_t values[OVER_FIELDS];
	uint64_t *hashes;
	int status;

	over_fields(v, values);
	if (snapshot_put_ints(w, "over", over_names, values, OVER_FIELDS, e))
		return -1;
	if (!v->plan)
		return put_saved(v, w, e);
	order = mem_alloc((keys + (size_t)1) * sizeof *order);
	hashes = mem_alloc((keys + (size_t)1) * sizeof *hashes);
	for (uint32_t k = 0; k < keys; k++)
		hashes[k] = keytable_hash(v->frames.keys, k);
	snapshot_order(hashes, keys, order);
	status = put_held(v, w, e) || put_keys(v, w, order, e) || put_kept(v, w, order, e) ? -1 : 0;
	mem_free(order);
	mem_free(hashes);
	return status;
}

/* ---- reading ---- */

void over_saved_clear(struct over *v)
{
	for (int i = 0; i < SAVED_SECTIONS; i++) {
		struct saved_section *s = &v->saved[i];

		if (!s->used)
			continue;
		batch_builder_clear(&s->rows);
		schema_clear(&s->schema);
		s->used = false;
	}
}

static int take_over(struct over *v, const struct batch *b, struct error *e)
{
	int64_t now[OVER_FIELDS], then[OVER_FIELDS];
	bool found;

	over_fields(v, now);
	if (snapshot_read_ints(b, "over", over_names, then, OVER_FIELDS, &found, e))
		return -1;
	if (!found)
		return 0;
	if (memcmp(now, then, OVER_OPTIONS * sizeof *now) != 0)
		return error_set(e, ERROR_STATE, "the state is of another --over, or of other windows");
	if (v->watermark_us == WATERMARK_NONE || then[6] < v->watermark_us)
		v->watermark_us = then[6];
	if (then[7] > v->next_row)
		v->next_row = then[7];
	return 0;
}

static int take_section(struct over *v, const struct batch *b, struct error *e)
{
	for (int i = 0; i < SAVED_SECTIONS; i++) {
		struct saved_section *s = &v->saved[i];

		if (strcmp(section_names[i], b->schema->name ? b->schema->name : "") != 0)
			continue;
		if (!s->used) {
			schema_init(&s->schema);
			schema_copy(&s->schema, b->schema);
			batch_builder_init(&s->rows, &s->schema);
			s->used = true;
		}
		if (!schema_equal(&s->schema, b->schema))
			return error_set(e, ERROR_STATE, "the files have different sections %s",
				section_names[i]);
		batch_builder_put_rows(&s->rows, b, 0, b->rows);
		return 0;
	}
	return error_set(e, ERROR_STATE, "the state is of a swindow without --over");
}

int over_restore(struct operator *op, struct snapshot_reader *r, struct error *e)
{
	struct over *v = (struct over *)(void *)op;
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		const char *name = b->schema->name ? b->schema->name : "";

		if (strcmp(name, "over") == 0 ? take_over(v, b, e) : take_section(v, b, e))
			return -1;
	}
	return status < 0 ? -1 : 0;
}

/* ---- into place ---- */

/* Whether a section is what this plan writes. */
static int check_section(const struct saved_section *s, const struct schema *wanted, struct error *e)
{
	for (size_t i = 0; i < wanted->fields_len; i++) {
		const struct field *f = &wanted->fields[i];
		int at = schema_find(&s->schema, f->name, strlen(f->name));

		if (at != (int)i || !type_equal(s->schema.fields[i].type, f->type))
			return error_set(e, ERROR_STATE, "the state lacks %s, or has it in another type",
				f->name);
	}
	if (s->schema.fields_len != wanted->fields_len)
		return error_set(e, ERROR_STATE, "the state also has %s",
			s->schema.fields[wanted->fields_len].name);
	return 0;
}

static const int64_t *ints_of(const struct saved_section *s, size_t column)
{
	return (const int64_t *)(const void *)s->rows.columns[column].data;
}

/* Numbers 0 .. n by a column, stably: subtasks' rows have been read one file after another. */
static uint32_t *sorted_by(const int64_t *values, uint32_t n)
{
	uint32_t *order = mem_alloc((n + (size_t)1) * sizeof *order), *other;

	other = mem_alloc((n + (size_t)1) * sizeof *other);
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	for (uint32_t width = 1; width < n; width *= 2) { /* merge sort */
		for (uint32_t low = 0; low < n; low += 2 * width) {
			uint32_t middle = low + width < n ? low + width : n;
			uint32_t high = low + 2 * width < n ? low + 2 * width : n;
			uint32_t a = low, b = middle;

			for (uint32_t i = low; i < high; i++) {
				bool left = a < middle &&
					(b >= high || values[order[a]] <= values[order[b]]);

				other[i] = left ? order[a++] : order[b++];
			}
		}
		memcpy(order, other, n * sizeof *order);
	}
	mem_free(other);
	return order;
}

/* Columns [first, ...) of a section as a batch. */
static struct batch section_rows(struct saved_section *s, size_t first, const struct schema *schema)
{
	const struct batch *all = batch_builder_view(&s->rows);

	return (struct batch){.schema = schema, .rows = all->rows, .columns = all->columns + first};
}

static int load_held(struct over *v, struct error *e)
{
	struct saved_section *s = &v->saved[SAVED_HELD];
	struct schema wanted = SCHEMA_INIT;
	uint32_t n, first, *order;
	struct batch rows;
	int64_t *times;
	int status;

	if (!s->used)
		return 0;
	add_columns(&wanted, held_names, 3);
	add_rows(&wanted, &v->held_schema);
	status = check_section(s, &wanted, e);
	schema_clear(&wanted);
	if (status)
		return -1;
	rows = section_rows(s, 4, &v->held_schema);
	n = rows.rows;
	order = sorted_by(ints_of(s, 1), n);
	times = mem_alloc((n + (size_t)1) * sizeof *times);
	for (uint32_t i = 0; i < n; i++)
		times[i] = ints_of(s, 2)[order[i]];
	first = rowstore_add(&v->held, &rows, order, n, times, NULL);
	for (uint32_t i = 0; i < n; i++)
		timequeue_push(&v->queue, ints_of(s, 3)[order[i]], first + i);
	mem_free(order);
	mem_free(times);
	return 0;
}

static int load_keys(struct over *v, struct error *e)
{
	struct saved_section *s = &v->saved[SAVED_KEYS];
	struct frames *f = &v->frames;
	size_t keys_len = v->plan->window->keys_len, at = 6 + keys_len;
	struct schema wanted = SCHEMA_INIT;
	struct arena arena = ARENA_INIT;
	uint32_t *ids, *order;
	uint64_t *hashes;
	struct batch rows, sorted;
	int status;

	if (!s->used)
		return 0;
	keys_schema(v, &wanted);
	status = check_section(s, &wanted, e);
	schema_clear(&wanted);
	if (status)
		return -1;
	rows = section_rows(s, 0, &s->schema);
	order = sorted_by(ints_of(s, 1), rows.rows);
	batch_gather(&rows, order, rows.rows, &arena, &sorted);
	for (size_t i = 0; i < keys_len; i++)
		f->columns[i] = sorted.columns[6 + i];
	ids = frames_keys(f, sorted.rows, &hashes, &arena);
	frames_grow(f);
	for (uint32_t i = 0; i < sorted.rows; i++) {
		struct over_key *k = &f->per_key[ids[i]];

		k->last_us = column_int(&sorted.columns[2], i);
		k->rows = k->left = column_int(&sorted.columns[3], i);
		k->rank = column_int(&sorted.columns[4], i);
		k->dense = column_int(&sorted.columns[5], i);
	}
	for (size_t c = 0; c < v->plan->window->calls_len && v->options.frame == OVER_ALL &&
		status == 0; c++) {
		status = aggregate_load(f->aggregates[c], &sorted.columns[at], ids, sorted.rows, e);
		at += aggregate_state_columns(f->aggregates[c]);
	}
	mem_free(order);
	arena_clear(&arena);
	return status;
}

static int load_kept(struct over *v, struct error *e)
{
	struct saved_section *s = &v->saved[SAVED_KEPT];
	struct frames *f = &v->frames;
	struct schema wanted = SCHEMA_INIT;
	struct arena arena = ARENA_INIT;
	uint32_t *ids, *order, first;
	uint64_t *hashes;
	struct batch rows, sorted;
	int64_t *times;
	int status;

	if (!s->used)
		return 0;
	add_columns(&wanted, kept_names, 3);
	add_rows(&wanted, &v->plan->inputs);
	status = check_section(s, &wanted, e);
	schema_clear(&wanted);
	if (status)
		return -1;
	rows = section_rows(s, 0, &s->schema);
	order = sorted_by(ints_of(s, 1), rows.rows);
	batch_gather(&rows, order, rows.rows, &arena, &sorted);
	times = arena_alloc(&arena, (rows.rows + (size_t)1) * sizeof *times);
	for (uint32_t i = 0; i < rows.rows; i++)
		times[i] = column_int(&sorted.columns[2], i);
	for (size_t i = 0; i < v->plan->window->keys_len; i++)
		f->columns[i] = sorted.columns[4 + i];
	ids = frames_keys(f, sorted.rows, &hashes, &arena);
	frames_grow(f);
	sorted = (struct batch){.schema = &v->plan->inputs, .rows = sorted.rows,
		.columns = sorted.columns + 4};
	first = rowstore_add(&f->kept, &sorted, NULL, sorted.rows, times, ids);
	for (uint32_t i = 0; i < sorted.rows; i++) {
		frames_push(f, ids[i], first + i);
		if (ints_of(s, 3)[order[i]])
			f->per_key[ids[i]].out++;
		else
			f->per_key[ids[i]].left--;
	}
	if (v->options.frame == OVER_ROWS || v->options.frame == OVER_TIME)
		status = frames_rebuild(f, &arena, e);
	mem_free(order);
	arena_clear(&arena);
	return status;
}

int over_load(struct over *v, struct error *e)
{
	int status = load_held(v, e) || load_keys(v, e) || load_kept(v, e) ? -1 : 0;

	over_saved_clear(v);
	return status;
}
