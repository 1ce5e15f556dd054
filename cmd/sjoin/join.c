#include "cmd/sjoin/join.h"

#include "cmd/sjoin/lookup.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

static const char *const side_names[2] = {"LEFT", "RIGHT"};
static const char *const waiting_names[2] = {"waiting.left", "waiting.right"};
static const char *const restored_names[2] = {"left", "right"};

static struct join *join_of(struct operator* op)
{
	return (struct join *)op; /* op is the first member */
}

/* ---- held rows ---- */

static void held_clear(struct held *h)
{
	if (!h->used)
		return;
	batch_builder_clear(&h->rows);
	schema_clear(&h->schema);
	spill_run_free(h->run);
	*h = (struct held){.used = false};
}

/* What waits of an input that is joined on disk if need be goes there from half of --memory on. */
static int held_spill(struct join *j, struct held *h, struct error *e)
{
	const struct join_options *o = &j->options;

	if (o->by != JOIN_BY_KEY || j->restored_streams || !o->temporary || !o->memory_bytes ||
		!batch_builder_is_full(&h->rows))
		return 0;
	if (!h->run && batch_bytes(batch_builder_view(&h->rows)) <= (size_t)o->memory_bytes / 2)
		return 0;
	if (!h->run && spill_run_new(o->temporary, &h->schema, &h->run, e) < 0)
		return -1;
	if (spill_run_put(h->run, batch_builder_view(&h->rows), e) < 0)
		return -1;
	batch_builder_reset(&h->rows);
	return 0;
}

static int held_put(struct join *j, struct held *h, const struct batch *b, struct error *e)
{
	if (!h->used) {
		schema_init(&h->schema);
		schema_copy(&h->schema, b->schema);
		batch_builder_init(&h->rows, &h->schema);
		h->used = true;
	}
	if (!schema_equal(&h->schema, b->schema))
		return error_set(e, ERROR_STATE, "the section %s has two different schemas",
			b->schema->name ? b->schema->name : "of rows that wait");
	batch_builder_put_rows(&h->rows, b, 0, b->rows);
	return held_spill(j, h, e);
}

static int each_spilled(struct spill_reader *r,
	int (*take)(void *context, const struct batch *b, struct error *e), void *context,
	struct error *e)
{
	const struct batch *b;
	int status;

	while ((status = spill_reader_next(r, &b, e)) == 0) {
		if (take(context, b, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}

int held_each(struct held *h, int (*take)(void *context, const struct batch *b, struct error *e),
	void *context, struct error *e)
{
	struct spill_reader *r;
	int status;

	if (h->run) {
		r = spill_reader_new(h->run, 0, SPILL_TO_END);
		status = each_spilled(r, take, context, e);
		spill_reader_free(r);
		if (status < 0)
			return -1;
	}
	if (!h->used || !batch_builder_rows(&h->rows))
		return 0;
	return take(context, batch_builder_view(&h->rows), e);
}

/* ---- rows ---- */

bool join_is_timed(const struct join *j, unsigned side)
{
	const struct schema *s = &j->plan.in[side];

	return s->time_column >= 0 && s->fields[s->time_column].type.kind == TYPE_TIMESTAMP;
}

int join_times(
	struct join *j, unsigned side, const struct batch *b, const int64_t **out, struct error *e)
{
	/* Far from the ends of int64, so that bounds and windows can be computed without care. */
	static const int64_t max_us = INT64_C(1) << 61;
	const struct schema *s = b->schema;
	const struct column *c = &b->columns[s->time_column];
	int64_t *times = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *times);

	for (uint32_t r = 0; r < b->rows; r++) {
		int64_t t = column_int(c, r);

		if (!column_is_valid(c, r))
			return error_set(e, ERROR_DATA, "%s: the event time '%s' is null",
				side_names[side], s->fields[s->time_column].name);
		if (t > max_us || t < -max_us)
			return error_set(e, ERROR_DATA, "%s: the event time '%s' is out of range",
				side_names[side], s->fields[s->time_column].name);
		times[r] = t + s->time_offset_us;
	}
	*out = times;
	return 0;
}

static int put_late(
	struct join *j, const struct batch *b, const uint32_t *pick, uint32_t n, struct error *e)
{
	struct batch late;

	stage_count_late(j->op.stage, n);
	if (!j->options.has_late)
		return 0;
	/* Rows of both sides go to one place: the schema changes with the side. */
	if (stage_declare(j->op.stage, LATE_OUTPUT, b->schema, e) < 0)
		return -1;
	batch_gather(b, pick, n, &j->arena, &late);
	return stage_emit(j->op.stage, LATE_OUTPUT, &late, e);
}

static bool is_late(const struct join *j, int64_t time_us)
{
	if (time_us > j->watermark_us) /* no watermark yet is the least int64 */
		return false;
	return !j->family->last_chance || j->family->last_chance(j, time_us) <= j->watermark_us;
}

static int take_timed(struct join *j, unsigned side, const struct batch *b, struct error *e)
{
	const int64_t *times = NULL;
	int64_t *kept_times;
	uint32_t *late, *good, late_len = 0, good_len = 0;
	struct batch on_time;

	if (join_times(j, side, b, &times, e) < 0)
		return -1;
	late = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *late);
	for (uint32_t r = 0; r < b->rows; r++) {
		late[late_len] = r;
		late_len += is_late(j, times[r]);
	}
	if (!late_len)
		return j->family->rows(j, side, b, times, e);
	if (put_late(j, b, late, late_len, e) < 0)
		return -1;
	good = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *good);
	kept_times = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *kept_times);
	for (uint32_t r = 0; r < b->rows; r++) {
		good[good_len] = r;
		kept_times[good_len] = times[r];
		good_len += !is_late(j, times[r]);
	}
	if (!good_len)
		return 0;
	batch_gather(b, good, good_len, &j->arena, &on_time);
	return j->family->rows(j, side, &on_time, kept_times, e);
}

static int take_rows(struct join *j, unsigned side, const struct batch *b, struct error *e)
{
	if (!b->rows)
		return 0;
	if (j->family->timed)
		return take_timed(j, side, b, e);
	return j->family->rows(j, side, b, NULL, e);
}

static int join_batch(struct operator* op, unsigned input, const struct batch *b, struct error *e)
{
	struct join *j = join_of(op);
	struct batch adapted;

	arena_reset(&j->arena);
	if (plan_adapt(&j->plan, input, b, &adapted, e) < 0)
		return error_context(e, "%s", side_names[input]);
	return j->ready ? take_rows(j, input, &adapted, e)
			: held_put(j, &j->waiting[input], &adapted, e);
}

static size_t join_bytes(const struct join *j)
{
	return kept_bytes(&j->kept) + (j->family->bytes ? j->family->bytes(j) : 0);
}

bool join_is_over_memory(const struct join *j)
{
	return j->options.memory_bytes && join_bytes(j) > (size_t)j->options.memory_bytes;
}

bool join_can_spill(const struct join *j)
{
	return j->options.by == JOIN_BY_KEY && !j->plan.streams && j->options.temporary &&
	       stage_is_bounded(j->op.stage);
}

int join_check_memory(struct join *j, struct error *e)
{
	if (!join_is_over_memory(j))
		return 0;
	error_set(e, ERROR_USAGE, "the rows to keep take %zu MiB, more than --memory allows",
		(join_bytes(j) >> 20) + 1);
	return error_hint(e, "%s",
		j->family == &stream_family
			? "raise --memory, give a shorter --ttl, or select fewer columns"
		: j->options.by == JOIN_BY_KEY
			? "raise --memory, put the smaller input on the right, or select fewer "
			  "columns"
		: j->options.by == JOIN_BY_LOOKUP
			? "raise --memory, give a smaller --lookup-cache, or ask for fewer columns"
			: "raise --memory, join over a shorter time, or select fewer columns");
}

int join_missing(
	struct join *j, unsigned side, const struct batch *b, uint32_t row, struct error *e)
{
	struct buf text = BUF_INIT;

	batch_put_row(b, row, &text);
	error_set(e, ERROR_DATA, "%s (from %s) takes back a row that isn't there: %s",
		side_names[side], stage_input_from(j->op.stage, side), buf_cstr(&text));
	buf_clear(&text);
	return -1;
}

void join_compact(struct join *j)
{
	struct kept *k = &j->kept;
	uint32_t live[2];

	for (unsigned side = 0; side < 2; side++)
		live[side] = k->sides[side].len - k->sides[side].dead;
	if (rowstore_wants_compact(&k->sides[LEFT], live[RIGHT]) ||
		rowstore_wants_compact(&k->sides[RIGHT], live[LEFT]))
		join_compact_now(j);
}

void join_compact_now(struct join *j)
{
	struct kept *k = &j->kept;
	uint32_t *remap[2];

	for (unsigned side = 0; side < 2; side++)
		remap[side] = mem_alloc((k->sides[side].len + (size_t)1) * sizeof *remap[side]);
	kept_compact(k, remap);
	if (j->family->renumber)
		j->family->renumber(j, remap);
	mem_free(remap[LEFT]);
	mem_free(remap[RIGHT]);
}

/* ---- schemas ---- */

struct waiting {
	struct join *j;
	unsigned side;
};

static int take_waiting_rows(void *context, const struct batch *b, struct error *e)
{
	struct join *j = ((struct waiting *)context)->j;
	unsigned side = ((struct waiting *)context)->side;

	for (uint32_t first = 0; first < b->rows; first += BATCH_ROWS) {
		uint32_t n = b->rows - first < BATCH_ROWS ? b->rows - first : BATCH_ROWS;
		struct batch part;

		arena_reset(&j->arena);
		batch_slice(b, first, n, &j->arena, &part);
		part.schema = &j->plan.in[side];
		if (take_rows(j, side, &part, e) < 0)
			return -1;
	}
	return 0;
}

/* Rows that came before the other side's schema. */
static int take_waiting(struct join *j, unsigned side, struct error *e)
{
	struct waiting w = {j, side};

	if (held_each(&j->waiting[side], take_waiting_rows, &w, e) < 0)
		return -1;
	held_clear(&j->waiting[side]);
	return 0;
}

static int take_restored(struct join *j, unsigned side, struct error *e)
{
	struct held *h = &j->restored[side];

	if (!h->used)
		return 0;
	if (j->family->load
			? j->family->load(j, side, h, e) < 0
			: kept_load(&j->kept, side, batch_builder_view(&h->rows), &j->arena, e) < 0)
		return -1;
	held_clear(h);
	return 0;
}

/* Each side's exchange hashes its own column's type; the common type is known only here. */
static int check_exchange(const struct join *j, struct error *e)
{
	if (stage_subtasks(j->op.stage) == 1 || j->options.by == JOIN_BY_LOOKUP || (!j->plan.casts[LEFT] && !j->plan.casts[RIGHT]))
		return 0;
	error_set(e, ERROR_USAGE,
		"-k: the two sides' keys have different types, "
		"so that equal ones may go to different subtasks");
	return error_hint(
		e, "cast one in front, smap '*, cast(id as int) as id', or run with -p 1");
}

/* Sides whose matches are counted, because rows may lose them again. */
static unsigned counted_sides(const struct join *j)
{
	unsigned left = join_keeps_left(j) || j->options.kind == JOIN_SEMI;

	if (j->family == &stream_family)
		return left << LEFT | (unsigned)join_keeps_right(j) << RIGHT;
	return (unsigned)(j->plan.in[LEFT].changelog && join_keeps_right(j)) << RIGHT;
}

/* Both sides are kept where RIGHT has no end that could be waited for. */
static void choose_family(struct join *j)
{
	j->plan.streams = j->options.by == JOIN_BY_KEY &&
			  (j->restored_streams || !stage_input_is_bounded(j->op.stage, RIGHT));
	if (j->plan.streams)
		j->family = &stream_family;
	else if (j->options.ttl_us)
		stage_warn(j->op.stage, "--ttl: RIGHT (from %s) has an end, and is kept as a whole",
			stage_input_from(j->op.stage, RIGHT));
}

void join_reset_kept(struct join *j)
{
	kept_clear(&j->kept);
	kept_init(&j->kept, &j->plan, j->family->lists, counted_sides(j));
}

static int join_begin(struct join *j, struct error *e)
{
	choose_family(j);
	if (plan_compile(&j->plan, e) < 0 || check_exchange(j, e) < 0 ||
		stage_declare(j->op.stage, 0, &j->plan.out, e) < 0)
		return -1;
	if (j->options.by == JOIN_BY_LOOKUP && lookup_keys(j, e) < 0)
		return -1;
	if (j->plan.where && program_warnings(j->plan.where)[0])
		stage_warn(j->op.stage, "%s", program_warnings(j->plan.where));
	kept_init(&j->kept, &j->plan, j->family->lists, counted_sides(j));
	for (unsigned side = 0; side < 2; side++) {
		if (take_restored(j, side, e) < 0)
			return -1;
	}
	j->family->start(j);
	j->ready = true;
	if (take_waiting(j, RIGHT, e) < 0)
		return -1;
	return take_waiting(j, LEFT, e);
}

static int check_bounded(struct join *j, struct error *e)
{
	if (!j->options.is_static || stage_input_is_bounded(j->op.stage, RIGHT))
		return 0;
	error_set(e, ERROR_USAGE,
		"RIGHT (from %s) never ends, and --static reads it to its end first",
		stage_input_from(j->op.stage, RIGHT));
	return error_hint(e,
		"without --static both sides are kept, for --ttl; or say how far apart in "
		"time rows may be: --within, --tumble, --hop or --as-of");
}

static int check_state(struct join *j, struct error *e)
{
	const struct join_options *o = &j->options;

	if (o->by != JOIN_BY_LATEST || !o->where || o->has_tolerance ||
		stage_input_is_bounded(j->op.stage, RIGHT))
		return 0;
	return error_set(e, ERROR_USAGE,
		"with -w any right row may be the one to take, however old, and RIGHT (from %s) "
		"never ends: give --tolerance",
		stage_input_from(j->op.stage, RIGHT));
}

static int check_changelog(struct join *j, unsigned side, struct error *e)
{
	if (j->options.by == JOIN_BY_KEY)
		return 0;
	if (j->options.by == JOIN_BY_LOOKUP)
		return error_set(e, ERROR_USAGE,
			"LEFT is a changelog (from %s), and what it takes back may have met other rows "
			"than a lookup would find now",
			stage_input_from(j->op.stage, side));
	error_set(e, ERROR_USAGE,
		"%s is a changelog (from %s), and a join over time takes only rows "
		"that stay",
		side_names[side], stage_input_from(j->op.stage, side));
	return error_hint(e, "a join by keys alone, without --tumble, --within or --as-of, takes "
			     "changelogs");
}

static int join_schema(
	struct operator* op, unsigned input, const struct schema *in, struct error *e)
{
	struct join *j = join_of(op);

	arena_reset(&j->arena);
	if (in->changelog && check_changelog(j, input, e) < 0)
		return -1;
	if (input == RIGHT && (check_bounded(j, e) < 0 || check_state(j, e) < 0))
		return -1;
	if (plan_set_schema(&j->plan, input, in, e) < 0)
		return -1;
	if (j->options.by == JOIN_BY_LOOKUP && !j->ready && lookup_schema(j, e) < 0)
		return -1;
	if (j->ready || !j->plan.has[LEFT] || !j->plan.has[RIGHT])
		return 0;
	return join_begin(j, e);
}

/* ---- time and end ---- */

static int join_watermark(struct operator* op, int64_t in_us, int64_t *out_us, struct error *e)
{
	struct join *j = join_of(op);

	arena_reset(&j->arena);
	*out_us = in_us;
	if (!j->ready) { /* rows that wait for the other schema are not late when it comes */
		*out_us = WATERMARK_NONE;
		return 0;
	}
	if (in_us <= j->watermark_us || !j->family->watermark)
		return 0;
	if (j->family->watermark(j, in_us, out_us, e) < 0)
		return -1;
	j->watermark_us = in_us;
	return 0;
}

static int join_tick(struct operator* op, int64_t now_us, struct error *e)
{
	struct join *j = join_of(op);

	arena_reset(&j->arena);
	return j->ready && j->family->tick ? j->family->tick(j, e) : 0;
}

static int join_input_end(struct operator* op, unsigned input, struct error *e)
{
	struct join *j = join_of(op);

	arena_reset(&j->arena);
	if (!j->ready || !j->family->complete || !stage_input_has_ended(op->stage, LEFT) ||
		!stage_input_has_ended(op->stage, RIGHT))
		return 0;
	return j->family->complete(j, e);
}

static int join_end(struct operator* op, struct error *e)
{
	struct join *j = join_of(op);

	arena_reset(&j->arena);
	if (!j->ready)
		return error_set(e, ERROR_DATA,
			"%s ended without a schema: it has no columns to join",
			side_names[j->plan.has[LEFT] ? RIGHT : LEFT]);
	return j->family->end ? j->family->end(j, e) : 0;
}

/* ---- snapshots: "join" (the watermark, whether both sides are streams), then what is kept; or the
 * rows that wait ---- */

static int save_own(const struct join *j, struct snapshot_writer *w, struct error *e)
{
	struct schema s;
	struct batch_builder b;
	int status;

	schema_init(&s);
	schema_set_name(&s, "join");
	schema_add(&s, "watermark", 9, TYPE_OF(TYPE_INT));
	schema_add(&s, "streams", 7, TYPE_OF(TYPE_BOOL));
	batch_builder_init(&b, &s);
	builder_put_int(&b.columns[0], j->watermark_us);
	builder_put_bool(&b.columns[1], j->plan.streams);
	status = snapshot_section(w, &s, e);
	if (status == 0)
		status = snapshot_put(w, batch_builder_view(&b), e);
	batch_builder_clear(&b);
	schema_clear(&s);
	return status;
}

static int put_in_section(void *context, const struct batch *b, struct error *e)
{
	return snapshot_put(context, b, e);
}

static int save_waiting(struct join *j, unsigned side, struct snapshot_writer *w, struct error *e)
{
	struct held *h = &j->waiting[side];
	struct schema s;
	int status;

	if (!h->used)
		return 0;
	schema_init(&s);
	schema_copy(&s, &h->schema);
	schema_set_name(&s, waiting_names[side]);
	status = snapshot_section(w, &s, e);
	if (status == 0)
		status = held_each(h, put_in_section, w, e);
	schema_clear(&s);
	return status;
}

static int save_kept(struct join *j, unsigned side, struct snapshot_writer *w, struct error *e)
{
	return j->family->save ? j->family->save(j, side, w, e) : kept_save(&j->kept, side, w, e);
}

static int join_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct join *j = join_of(op);

	if (save_own(j, w, e) < 0)
		return -1;
	for (unsigned side = 0; side < 2; side++) {
		if (!j->ready && save_waiting(j, side, w, e) < 0)
			return -1;
		if (j->ready && save_kept(j, side, w, e) < 0)
			return -1;
	}
	return 0;
}

static int load_own(struct join *j, const struct batch *b, struct error *e)
{
	const struct column *c;

	if (snapshot_column(b, "watermark", TYPE_OF(TYPE_INT), &c, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		if (column_int(c, r) > j->watermark_us)
			j->watermark_us = column_int(c, r);
	}
	if (schema_find(b->schema, "streams", 7) < 0) /* written before there were any */
		return 0;
	if (snapshot_column(b, "streams", TYPE_OF(TYPE_BOOL), &c, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++)
		j->restored_streams = j->restored_streams || column_bool(c, r);
	if (j->restored_streams)
		j->op.build_inputs = 0;
	return 0;
}

/* Rows that wait are of all subtasks where a restore is at another parallelism: each takes the ones of
 * its own key groups, at once, as the next snapshot may come before the other side's schema. */
static int load_waiting(struct join *j, unsigned side, const struct batch *b, struct error *e)
{
	struct key_range range = stage_key_range(j->op.stage);
	const struct column **keys;
	uint64_t *hashes;
	uint32_t *pick, own = 0;
	struct batch mine;

	if (stage_subtasks(j->op.stage) == 1)
		return held_put(j, &j->waiting[side], b, e);
	arena_reset(&j->arena);
	keys = ARENA_ARRAY(&j->arena, const struct column *, j->plan.keys_len + 1);
	for (size_t k = 0; k < j->plan.keys_len; k++) {
		const char *name = side == LEFT ? j->plan.names[k].left : j->plan.names[k].right;
		int column = schema_require(b->schema, name, strlen(name), side_names[side], e);

		if (column < 0)
			return error_context(e, "-k");
		keys[k] = &b->columns[column];
	}
	hashes = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *hashes);
	pick = arena_alloc(&j->arena, (b->rows + (size_t)1) * sizeof *pick);
	keys_hash(keys, j->plan.keys_len, b->rows, hashes);
	for (uint32_t r = 0; r < b->rows; r++) {
		pick[own] = r;
		own += key_range_has(range, key_group(hashes[r]));
	}
	batch_gather(b, pick, own, &j->arena, &mine);
	return held_put(j, &j->waiting[side], &mine, e);
}

static int load_section(struct join *j, const struct batch *b, struct error *e)
{
	const char *name = b->schema->name ? b->schema->name : "";
	struct schema plain = *b->schema; /* further rows come without the section's name */
	struct batch rows = *b;

	plain.name = NULL;
	rows.schema = &plain;
	if (!strcmp(name, "join"))
		return load_own(j, b, e);
	for (unsigned side = 0; side < 2; side++) {
		if (!strcmp(name, restored_names[side]))
			return held_put(j, &j->restored[side], b, e);
		if (!strcmp(name, waiting_names[side]))
			return load_waiting(j, side, &rows, e);
	}
	return error_set(e, ERROR_STATE, "a join keeps no section '%s'", name);
}

static int join_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (load_section(join_of(op), b, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}

/* ---- life ---- */

static void join_free(struct operator* op)
{
	struct join *j = join_of(op);

	if (j->family->free)
		j->family->free(j);
	kept_clear(&j->kept);
	plan_clear(&j->plan);
	for (unsigned side = 0; side < 2; side++) {
		held_clear(&j->waiting[side]);
		held_clear(&j->restored[side]);
	}
	arena_clear(&j->arena);
	arena_clear(&j->emit_arena);
	mem_free(j->filter_pick);
	mem_free(j->run_rows);
	mem_free(j);
}

static const struct operator_ops join_ops = {
	.type = "sjoin",
	.free = join_free,
	.schema = join_schema,
	.batch = join_batch,
	.watermark = join_watermark,
	.input_end = join_input_end,
	.tick = join_tick,
	.end = join_end,
	.snapshot = join_snapshot,
	.restore = join_restore,
};

static const struct join_family *family_of(enum join_by by)
{
	switch (by) {
	case JOIN_BY_KEY: return &equal_family;
	case JOIN_BY_WINDOW: return &window_family;
	case JOIN_BY_INTERVAL: return &interval_family;
	case JOIN_BY_LATEST: return &asof_family;
	case JOIN_BY_LOOKUP: return &lookup_family;
	}
	MUST(!"a family for every enum join_by");
	return NULL;
}

static int check_options(const struct join_options *o, struct error *e)
{
	if (!o->keys && !o->cross) {
		error_set(e, ERROR_USAGE, "no -k: which columns have to be equal?");
		if (o->by == JOIN_BY_LOOKUP)
			return error_hint(e, "-k 'a = b' (a here, b in the table)");
		return error_hint(
			e, "-k 'a = b' (a left, b right); --cross if really every pair counts");
	}
	if (o->by == JOIN_BY_LOOKUP && o->cross)
		return error_set(e, ERROR_USAGE, "--lookup goes by key: -k instead of --cross");
	if (o->keys && o->cross)
		return error_set(e, ERROR_USAGE, "--cross joins without keys: leave out -k");
	if (o->ttl_us && (o->by != JOIN_BY_KEY || o->is_static))
		return error_set(e, ERROR_USAGE,
			"--ttl is for joins of streams by keys alone: not with --static, --tumble, "
			"--hop, --cumulate, --within or --as-of");
	if (o->ttl_us < 0)
		return error_set(e, ERROR_USAGE, "--ttl: rows can't live for less than no time");
	if (o->by == JOIN_BY_INTERVAL && o->low_us > o->high_us)
		return error_set(e, ERROR_USAGE, "--within LO,HI: LO is greater than HI");
	if (o->by == JOIN_BY_LATEST && (o->kind == JOIN_RIGHT || o->kind == JOIN_FULL))
		return error_set(e, ERROR_USAGE,
			"--as-of looks up right rows for left rows: "
			"--kind inner, left, semi or anti");
	if (o->by == JOIN_BY_LOOKUP && (o->kind == JOIN_RIGHT || o->kind == JOIN_FULL))
		return error_set(e, ERROR_USAGE,
			"--lookup asks for the rows of keys that come: --kind inner, left, semi or anti");
	return 0;
}

size_t join_keys(const struct operator* op, unsigned side, const char **names, size_t max)
{
	const struct plan *p = &((const struct join *)op)->plan;
	size_t n = p->keys_len < max ? p->keys_len : max;

	for (size_t k = 0; k < n; k++)
		names[k] = side == LEFT ? p->names[k].left : p->names[k].right;
	return n;
}

int join_new(const struct join_options *options, struct operator** out, struct error *e)
{
	struct join *j;

	if (check_options(options, e) < 0) {
		if (options->lookup)
			options->lookup->ops->free(options->lookup);
		return -1;
	}
	j = mem_zero(sizeof *j);
	j->options = *options;
	j->family = family_of(options->by);
	j->op = (struct operator){.ops = &join_ops, .inputs = 2, .wait_fd = -1};
	j->op.inputs = options->by == JOIN_BY_LOOKUP ? 1 : 2;
	j->op.outputs = options->has_late ? 2 : 1;
	j->op.build_inputs = options->by == JOIN_BY_KEY ? 1u << RIGHT : 0;
	j->watermark_us = WATERMARK_NONE;
	j->run_rows = mem_alloc((size_t)RUN_ARRAYS * BATCH_ROWS * sizeof *j->run_rows);
	j->filter_pick = mem_alloc(BATCH_ROWS * sizeof *j->filter_pick);
	if (plan_init(&j->plan, &j->options, e) < 0) {
		join_free(&j->op);
		return -1;
	}
	*out = &j->op;
	return 0;
}
