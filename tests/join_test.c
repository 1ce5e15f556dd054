/* Joins of every family and kind against nested loops, through the runtime's core: random rows, out
 * of order and late, in random interleaving of the two channels, with a snapshot and a restore into
 * a new stage (or two) at random barriers. */
#include "cmd/sjoin/join.h"
#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS_MAX = 400, EVENTS_MAX = 900 };

/* ---- random ---- */

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 11) % n);
}

/* ---- a stream: rows and watermarks in the order in which they come ---- */

struct row {
	bool has_key;
	int64_t key, time, value;
	int64_t seen;   /* combined watermark when it came */
	uint32_t order; /* of arrival, over both sides */
};

struct event {
	enum { EVENT_ROWS, EVENT_WATERMARK, EVENT_END } kind;
	uint32_t first, n;
	int64_t watermark;
};

struct stream {
	struct row rows[ROWS_MAX];
	uint32_t rows_len;
	struct event events[EVENTS_MAX];
	uint32_t events_len, next;
	int64_t watermark;
	bool ended;
};

enum key_type { KEYS_INT, KEYS_TEXT, KEYS_WIDENED, KEY_TYPES };

/* One subtask of the join: after a restore there may be two, each with half of the key groups. */
struct lane {
	struct stage *stage;
	struct buf out, late, snapshot;
	struct channel_writer *writers[2];
	uint64_t sent[2]; /* rows on this connection, by side */
	int64_t out_watermark;
};

enum { LANES_MAX = 2 };

struct test_case {
	struct join_options options;
	enum key_type key_type;
	uint32_t keys;
	bool restores;
	bool splits; /* a restore may change the number of subtasks */
	struct stream sides[2];
	struct lane lanes[LANES_MAX];
	uint32_t lanes_len;
	bool was_split;
	uint64_t late, late_written;
	struct schema schemas[2];
	char **found, **expected;
	size_t found_len, found_cap, expected_len, expected_cap;
	uint64_t checkpoint;
};

static void make_stream(struct test_case *t, unsigned side)
{
	struct stream *s = &t->sides[side];
	int64_t base = 0, watermark = WATERMARK_NONE;
	uint32_t spread = 1 + random_below(60);

	s->rows_len = random_below(ROWS_MAX);
	for (uint32_t i = 0; i < s->rows_len;) {
		uint32_t n = 1 + random_below(12);

		if (n > s->rows_len - i)
			n = s->rows_len - i;
		s->events[s->events_len++] = (struct event){.kind = EVENT_ROWS, .first = i, .n = n};
		for (uint32_t k = 0; k < n; k++, i++) {
			s->rows[i] = (struct row){.has_key = random_below(12) > 0,
				.key = random_below(t->keys),
				.value = random_below(10)};
			s->rows[i].time = base + random_below(spread) - random_below(4);
		}
		base += random_below(9);
		if (random_below(3) == 0 && base - (int64_t)spread / 2 > watermark) {
			watermark = base - (int64_t)spread / 2; /* some rows are late */
			s->events[s->events_len++] = (struct event){
				.kind = EVENT_WATERMARK, .watermark = watermark};
		}
	}
	s->events[s->events_len++] = (struct event){
		.kind = EVENT_WATERMARK, .watermark = WATERMARK_FINAL};
	s->events[s->events_len++] = (struct event){.kind = EVENT_END};
	s->watermark = WATERMARK_NONE;
}

static void make_schema(struct test_case *t, unsigned side)
{
	struct schema *s = &t->schemas[side];
	struct type type = TYPE_OF(TYPE_INT);

	if (t->key_type == KEYS_TEXT)
		type = TYPE_OF(TYPE_STRING);
	if (t->key_type == KEYS_WIDENED && side == RIGHT)
		type = TYPE_OF(TYPE_FLOAT);
	schema_init(s);
	schema_add(s, side == LEFT ? "k" : "b", 1, type);
	schema_add(s, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
	schema_add(s, "v", 1, TYPE_OF(TYPE_INT));
	s->time_column = 1;
}

static void build_rows(
	struct test_case *t, unsigned side, const struct event *event, struct batch_builder *b)
{
	batch_builder_init(b, &t->schemas[side]);
	for (uint32_t i = event->first; i < event->first + event->n; i++) {
		const struct row *r = &t->sides[side].rows[i];
		struct column_builder *key = &b->columns[0];
		char text[24];

		if (!r->has_key)
			builder_put_null(key);
		else if (key->type.kind == TYPE_STRING)
			builder_put_text(
				key, text, (size_t)snprintf(text, sizeof text, "%d", (int)r->key));
		else if (key->type.kind == TYPE_FLOAT)
			builder_put_float(key, (double)r->key);
		else
			builder_put_int(key, r->key);
		builder_put_int(&b->columns[1], r->time);
		builder_put_int(&b->columns[2], r->value);
	}
}

/* The rows of an event whose key belongs to a lane, as an exchange in front would send them. */
static uint32_t put_lane_rows(struct test_case *t, unsigned side, const struct event *event,
	uint32_t lane, struct buf *out)
{
	struct batch_builder b;
	struct arena arena = ARENA_INIT;
	struct batch mine;
	const struct column *key;
	uint64_t hashes[ROWS_MAX];
	uint32_t pick[ROWS_MAX], n = 0;

	build_rows(t, side, event, &b);
	key = &batch_builder_view(&b)->columns[0];
	keys_hash(&key, t->options.cross ? 0 : 1, event->n, hashes);
	for (uint32_t i = 0; i < event->n; i++) {
		pick[n] = i;
		n += key_group_subtask(key_group(hashes[i]), t->lanes_len) == lane;
	}
	batch_gather(batch_builder_view(&b), pick, n, &arena, &mine);
	frame_put_batch(out, 1, &mine);
	batch_builder_clear(&b);
	arena_clear(&arena);
	return n;
}

/* ---- a stage, fed and read ---- */

static void must_work(int status, const struct error *e)
{
	if (status < 0)
		fail_msg("%s", e->text);
}

static void feed(struct lane *lane, unsigned side, const struct buf *bytes)
{
	struct error e = ERROR_INIT;
	size_t at = 0;

	while (at < bytes->len) {
		const uint8_t *p = bytes->data + at;
		uint32_t len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 |
			       p[4];
		struct frame f = {.kind = p[5], .body = p + FRAME_HEADER_BYTES, .body_bytes = len};

		must_work(stage_take(lane->stage, side, &f, &e), &e);
		at += FRAME_HEADER_BYTES + len;
	}
}

static void feed_all(struct test_case *t, unsigned side, const struct buf *bytes)
{
	for (uint32_t i = 0; i < t->lanes_len; i++)
		feed(&t->lanes[i], side, bytes);
}

static int keep_snapshot(void *context, struct stage *st, const struct barrier *b,
	const struct buf *handle, struct error *e)
{
	struct lane *lane = context;
	struct channel_writer *w;
	int status;

	buf_reset(&lane->snapshot);
	w = channel_writer_new_memory(&lane->snapshot);
	status = stage_snapshot(st, w, e);
	channel_writer_free(w);
	return status;
}

static void open_lane(struct test_case *t, uint32_t index)
{
	static const unsigned inputs[] = {LEFT, RIGHT};
	struct lane *lane = &t->lanes[index];
	struct stage_output_plan outputs[2] = {{.writers = &lane->writers[0], .writers_len = 1},
		{.writers = &lane->writers[1], .writers_len = 1}};
	struct stage_plan plan = {.name = "sjoin",
		.subtask = index,
		.subtasks = t->lanes_len,
		.channel_inputs = inputs,
		.channels_len = 2,
		.outputs = outputs,
		.hooks = {.context = lane, .checkpoint = keep_snapshot}};
	struct operator *op;
	struct error e = ERROR_INIT;

	buf_reset(&lane->out);
	buf_reset(&lane->late);
	lane->writers[0] = channel_writer_new_memory(&lane->out);
	lane->writers[1] = channel_writer_new_memory(&lane->late);
	must_work(join_new(&t->options, &op, &e), &e);
	lane->stage = stage_new(&plan, op);
	lane->sent[LEFT] = lane->sent[RIGHT] = 0;
}

static void open_lanes(struct test_case *t, uint32_t n)
{
	t->lanes_len = n;
	for (uint32_t i = 0; i < n; i++)
		open_lane(t, i);
}

static void greet(struct test_case *t, unsigned side)
{
	struct hello hello = {.version = FRAME_VERSION, .stage = "test", .bounded = true};
	struct buf b = BUF_INIT;

	frame_put_hello(&b, &hello);
	feed_all(t, side, &b);
	buf_clear(&b);
}

static void declare(struct test_case *t, unsigned side)
{
	struct buf b = BUF_INIT;

	frame_put_schema(&b, 1, &t->schemas[side]);
	feed_all(t, side, &b);
	buf_clear(&b);
}

static void append(char ***list, size_t *len, size_t *cap, const char *text)
{
	MEM_GROW(*list, *cap, *len + 1);
	(*list)[(*len)++] = mem_strdup(text);
}

static void print_cell(const struct batch *b, const char *name, uint32_t row, struct buf *out)
{
	int i = schema_find(b->schema, name, strlen(name));
	const struct column *c;

	if (i < 0)
		return;
	c = &b->columns[i];
	if (!column_is_valid(c, row))
		buf_put_text(out, "-");
	else if (c->type.kind == TYPE_STRING)
		buf_printf(out, "%.*s", (int)column_text(c, row).len, column_text(c, row).text);
	else if (c->type.kind == TYPE_FLOAT)
		buf_printf(out, "%d", (int)column_float(c, row));
	else
		buf_printf(out, "%lld", (long long)column_int(c, row));
	buf_put_text(out, "|");
}

static void check_time(
	const struct test_case *t, const struct lane *lane, const struct batch *b, uint32_t row)
{
	const struct schema *s = b->schema;

	/* A join by keys lets late left rows through as what they are. */
	if (s->time_column >= 0 && t->options.by != JOIN_BY_KEY)
		assert_true(column_int(&b->columns[s->time_column], row) + s->time_offset_us >
			    lane->out_watermark);
}

static void read_batch(struct test_case *t, const struct lane *lane, const struct batch *b)
{
	static const char *const names[] = {
		"k", "t", "v", "right_t", "right_v", "window_start", "window_end"};
	struct buf text = BUF_INIT;

	for (uint32_t r = 0; r < b->rows; r++) {
		buf_reset(&text);
		for (size_t i = 0; i < sizeof names / sizeof *names; i++)
			print_cell(b, names[i], r, &text);
		append(&t->found, &t->found_len, &t->found_cap, buf_cstr(&text));
		check_time(t, lane, b, r);
	}
	buf_clear(&text);
}

/* Takes in what a stage wrote, frame by frame. */
static void read_output(
	struct test_case *t, struct lane *lane, const struct buf *bytes, bool is_late)
{
	struct error e = ERROR_INIT;
	struct channel_reader *r = channel_reader_new_memory(bytes->data, bytes->len, "output");
	struct schema_set schemas = {.len = 0};
	struct arena arena = ARENA_INIT;
	const struct schema *s;
	struct frame f;
	struct batch b;
	uint32_t id;
	int64_t w;

	while (channel_read(r, true, &f, &e) == CHANNEL_FRAME) {
		if (f.kind == FRAME_SCHEMA) {
			must_work(schema_set_declare(&schemas, &f, &s, &e), &e);
		} else if (f.kind == FRAME_BATCH) {
			must_work(frame_read_schema_id(&f, &id, &e), &e);
			s = schema_set_find(&schemas, id);
			must_work(frame_read_batch(&f, s, true, &arena, &b, &e), &e);
			t->late_written += is_late ? b.rows : 0;
			if (!is_late)
				read_batch(t, lane, &b);
		} else if (f.kind == FRAME_WATERMARK && !is_late) {
			must_work(frame_read_int(&f, &w, &e), &e);
			lane->out_watermark = w > lane->out_watermark ? w : lane->out_watermark;
		}
	}
	assert_int_equal(e.code, ERROR_NONE);
	channel_reader_free(r);
	schema_set_clear(&schemas);
	arena_clear(&arena);
}

static void close_lanes(struct test_case *t)
{
	struct error e = ERROR_INIT;

	for (uint32_t i = 0; i < t->lanes_len; i++) {
		struct lane *lane = &t->lanes[i];

		must_work(stage_idle(lane->stage, &e), &e);
		read_output(t, lane, &lane->out, false);
		if (lane->late.len)
			read_output(t, lane, &lane->late, true);
		t->late += stage_metrics(lane->stage).late;
		stage_free(lane->stage);
		channel_writer_free(lane->writers[0]);
		channel_writer_free(lane->writers[1]);
	}
}

/* ---- running a case ---- */

static int64_t combined(const struct test_case *t)
{
	int64_t w[2];

	for (unsigned side = 0; side < 2; side++)
		w[side] = t->sides[side].ended ? WATERMARK_FINAL : t->sides[side].watermark;
	return w[0] < w[1] ? w[0] : w[1];
}

static void send_rows(struct test_case *t, unsigned side, const struct event *event)
{
	struct buf b = BUF_INIT;

	for (uint32_t i = 0; i < t->lanes_len; i++) {
		buf_reset(&b);
		t->lanes[i].sent[side] += put_lane_rows(t, side, event, i, &b);
		feed(&t->lanes[i], side, &b);
	}
	buf_clear(&b);
}

static void send_end(struct test_case *t, unsigned side)
{
	struct buf b = BUF_INIT;

	for (uint32_t i = 0; i < t->lanes_len; i++) {
		buf_reset(&b);
		frame_put_end(&b, t->lanes[i].sent[side]);
		feed(&t->lanes[i], side, &b);
	}
	buf_clear(&b);
}

static void send_event(struct test_case *t, unsigned side, int64_t *seen, uint32_t *order)
{
	struct stream *s = &t->sides[side];
	const struct event *event = &s->events[s->next++];
	struct buf b = BUF_INIT;
	int64_t w;

	switch (event->kind) {
	case EVENT_ROWS:
		send_rows(t, side, event);
		for (uint32_t i = 0; i < event->n; i++) {
			s->rows[event->first + i].seen = *seen;
			s->rows[event->first + i].order = (*order)++;
		}
		break;
	case EVENT_WATERMARK:
		s->watermark = event->watermark;
		frame_put_watermark(&b, event->watermark);
		feed_all(t, side, &b);
		break;
	case EVENT_END:
		s->ended = true;
		send_end(t, side);
		break;
	}
	w = combined(t);
	*seen = w > *seen ? w : *seen;
	buf_clear(&b);
}

/* New stages from the snapshots of those before. */
static void restore(struct test_case *t, uint32_t lanes)
{
	struct channel_reader *files[LANES_MAX];
	struct buf snapshots[LANES_MAX];
	uint32_t files_len = t->lanes_len;
	struct error e = ERROR_INIT;

	for (uint32_t i = 0; i < files_len; i++) {
		snapshots[i] = t->lanes[i].snapshot;
		t->lanes[i].snapshot = (struct buf)BUF_INIT;
	}
	for (uint32_t i = files_len; i < lanes; i++)
		t->lanes[i].out_watermark = t->lanes[0].out_watermark;
	open_lanes(t, lanes);
	for (uint32_t i = 0; i < lanes; i++) {
		for (uint32_t k = 0; k < files_len; k++)
			files[k] = channel_reader_new_memory(
				snapshots[k].data, snapshots[k].len, "snapshot");
		must_work(stage_restore(t->lanes[i].stage, files, files_len, &e), &e);
		for (uint32_t k = 0; k < files_len; k++)
			channel_reader_free(files[k]);
	}
	for (uint32_t k = 0; k < files_len; k++)
		buf_clear(&snapshots[k]);
}

/* A checkpoint; then all is thrown away but the snapshots, and new stages go on from there. */
static void restart(struct test_case *t)
{
	struct barrier barrier = {.checkpoint = ++t->checkpoint};
	uint32_t lanes = t->splits ? 1 + random_below(LANES_MAX) : 1;
	struct buf b = BUF_INIT;

	frame_put_barrier(&b, &barrier);
	for (unsigned side = 0; side < 2; side++) {
		if (!t->sides[side].ended)
			feed_all(t, side, &b);
	}
	buf_clear(&b);
	for (uint32_t i = 0; i < t->lanes_len; i++)
		assert_true(t->lanes[i].snapshot.len > 0);
	close_lanes(t);
	restore(t, lanes);
	t->was_split = t->was_split || lanes > 1;
	greet(t, LEFT);
	greet(t, RIGHT);
	for (unsigned side = 2; side-- > 0;) {
		declare(t, side);
		if (t->sides[side].ended)
			send_end(t, side);
	}
}

static bool can_send(const struct test_case *t, unsigned side)
{
	if (t->sides[side].ended)
		return false;
	/* The build side comes first. */
	return side == RIGHT || t->options.by != JOIN_BY_KEY || t->sides[RIGHT].ended;
}

static void run_case(struct test_case *t)
{
	int64_t seen = WATERMARK_NONE;
	uint32_t order = 0, bias = 1 + random_below(9);

	for (uint32_t i = 0; i < LANES_MAX; i++)
		t->lanes[i].out_watermark = WATERMARK_NONE;
	open_lanes(t, 1);
	greet(t, LEFT);
	greet(t, RIGHT);
	if (t->options.by == JOIN_BY_KEY || random_below(2)) {
		declare(t, RIGHT);
		declare(t, LEFT);
	} else { /* rows of one side before the other's schema */
		uint32_t early = random_below(6);

		declare(t, LEFT);
		for (uint32_t i = 0;
			i < early && t->sides[LEFT].next + 2 < t->sides[LEFT].events_len; i++)
			send_event(t, LEFT, &seen, &order);
		if (t->restores && random_below(2))
			restart(t);
		else
			declare(t, RIGHT);
	}
	while (!t->sides[LEFT].ended || !t->sides[RIGHT].ended) {
		unsigned side = random_below(10) < bias ? LEFT : RIGHT;

		if (!can_send(t, side))
			side = !side;
		send_event(t, side, &seen, &order);
		if (t->restores && random_below(30) == 0 &&
			(t->options.by != JOIN_BY_KEY || t->sides[RIGHT].ended) &&
			!(t->sides[LEFT].ended && t->sides[RIGHT].ended))
			restart(t);
	}
	for (uint32_t i = 0; i < t->lanes_len; i++)
		assert_true(stage_has_ended(t->lanes[i].stage));
	close_lanes(t);
}

/* ---- the model: nested loops ---- */

static int64_t floor_to(int64_t x, int64_t step)
{
	return (x >= 0 ? x / step : -((-x + step - 1) / step)) * step;
}

struct window {
	int64_t start, end; /* both 0: no windows */
};

static void expect(
	struct test_case *t, const struct row *l, const struct row *r, const struct window *w)
{
	bool only_left = t->options.kind == JOIN_SEMI || t->options.kind == JOIN_ANTI;
	const struct row *rows[2] = {l, r}, *key = l ? l : r;
	struct buf b = BUF_INIT;

	if (key->has_key && !(t->options.cross && !l))
		buf_printf(&b, "%d|", (int)key->key);
	else
		buf_put_text(&b, "-|");
	for (unsigned side = 0; side < (only_left ? 1 : 2); side++) {
		if (rows[side])
			buf_printf(&b, "%d|%d|", (int)rows[side]->time, (int)rows[side]->value);
		else
			buf_put_text(&b, "-|-|");
	}
	if (t->options.by == JOIN_BY_WINDOW)
		buf_printf(&b, "%lld|%lld|", (long long)w->start, (long long)w->end);
	append(&t->expected, &t->expected_len, &t->expected_cap, buf_cstr(&b));
	buf_clear(&b);
}

static bool pair_holds(const struct test_case *t, const struct row *l, const struct row *r)
{
	if (!t->options.cross && (!l->has_key || !r->has_key || l->key != r->key))
		return false;
	return !t->options.where || l->value < r->value;
}

static bool in_time(
	const struct test_case *t, const struct row *l, const struct row *r, const struct window *w)
{
	const struct join_options *o = &t->options;

	switch (o->by) {
	case JOIN_BY_KEY: return true;
	case JOIN_BY_WINDOW: return true;
	case JOIN_BY_INTERVAL:
		return r->time >= l->time + o->low_us && r->time <= l->time + o->high_us;
	case JOIN_BY_LOOKUP: break;
	case JOIN_BY_LATEST:
		return r->time <= l->time &&
		       (!o->has_tolerance || l->time - r->time <= o->tolerance_us);
	}
	return false;
}

/* Whether a row takes part: not late, in a window. */
static bool takes_part(const struct test_case *t, const struct row *r, const struct window *w)
{
	switch (t->options.by) {
	case JOIN_BY_KEY: return true;
	case JOIN_BY_WINDOW: return r->time >= w->start && r->time < w->end && w->end - 1 > r->seen;
	case JOIN_BY_INTERVAL:
	case JOIN_BY_LATEST: return r->time > r->seen;
	case JOIN_BY_LOOKUP: break;
	}
	return false;
}

/* All joins are the same once it is clear who takes part; as-of keeps only the best of the pairs.
 */
static void model(struct test_case *t, const struct window *w)
{
	const struct stream *left = &t->sides[LEFT], *right = &t->sides[RIGHT];
	bool right_met[ROWS_MAX] = {false};
	enum join_kind kind = t->options.kind;

	for (uint32_t i = 0; i < left->rows_len; i++) {
		const struct row *l = &left->rows[i], *best = NULL;
		bool met = false;

		if (!takes_part(t, l, w))
			continue;
		for (uint32_t k = 0; k < right->rows_len; k++) {
			const struct row *r = &right->rows[k];

			if (!takes_part(t, r, w) || !pair_holds(t, l, r) || !in_time(t, l, r, w))
				continue;
			met = right_met[k] = true;
			if (!best || r->time >= best->time)
				best = r;
			if (t->options.by != JOIN_BY_LATEST && kind <= JOIN_FULL)
				expect(t, l, r, w);
		}
		if (met && t->options.by == JOIN_BY_LATEST && kind <= JOIN_FULL)
			expect(t, l, best, w);
		if ((met && kind == JOIN_SEMI) ||
			(!met && (kind == JOIN_LEFT || kind == JOIN_FULL || kind == JOIN_ANTI)))
			expect(t, l, NULL, w);
	}
	for (uint32_t k = 0; k < right->rows_len; k++) {
		if ((kind == JOIN_RIGHT || kind == JOIN_FULL) && !right_met[k] &&
			takes_part(t, &right->rows[k], w))
			expect(t, NULL, &right->rows[k], w);
	}
}

static void run_model(struct test_case *t)
{
	const struct join_options *o = &t->options;
	struct window w = {.start = 0};

	if (o->by != JOIN_BY_WINDOW) {
		model(t, &w);
		return;
	}
	for (w.end = -200; w.end < 3600; w.end++) {
		if (o->cumulate) {
			if (floor_to(w.end - o->offset_us, o->step_us) != w.end - o->offset_us)
				continue;
			w.start = floor_to(w.end - 1 - o->offset_us, o->size_us) + o->offset_us;
		} else {
			w.start = w.end - o->size_us;
			if (floor_to(w.start - o->offset_us, o->step_us) != w.start - o->offset_us)
				continue;
		}
		model(t, &w);
	}
}

/* Rows that came too late for all they could have met. */
static uint64_t count_late(const struct test_case *t)
{
	const struct join_options *o = &t->options;
	int64_t grid = o->cumulate ? o->size_us : o->step_us;
	uint64_t late = 0;

	for (unsigned side = 0; side < 2; side++) {
		for (uint32_t i = 0; i < t->sides[side].rows_len; i++) {
			const struct row *r = &t->sides[side].rows[i];
			int64_t last = r->time;

			if (o->by == JOIN_BY_WINDOW)
				last = floor_to(r->time - o->offset_us, grid) + o->offset_us +
				       o->size_us - 1;
			late += o->by != JOIN_BY_KEY && last <= r->seen;
		}
	}
	return late;
}

/* ---- comparing ---- */

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(char **list, size_t len)
{
	if (len) /* qsort of NULL is undefined even for nothing */
		qsort(list, len, sizeof *list, compare_texts);
}

static void free_list(char **list, size_t len)
{
	for (size_t i = 0; i < len; i++)
		mem_free(list[i]);
	mem_free(list);
}

static void compare(struct test_case *t, uint64_t seed)
{
	/* Left rows of a key join come in their order; the model's nested loop has it too. */
	if (t->options.by != JOIN_BY_KEY || t->was_split) {
		sort(t->found, t->found_len);
		sort(t->expected, t->expected_len);
	}
	for (size_t i = 0; i < t->found_len && i < t->expected_len; i++) {
		if (strcmp(t->found[i], t->expected[i]) != 0)
			fail_msg("seed %llu by %d kind %d keys %d: row %zu is %s, not %s",
				(unsigned long long)seed, t->options.by, t->options.kind,
				t->key_type, i, t->found[i], t->expected[i]);
	}
	if (t->found_len != t->expected_len)
		fail_msg("seed %llu by %d kind %d: %zu rows, not %zu", (unsigned long long)seed,
			t->options.by, t->options.kind, t->found_len, t->expected_len);
}

static void set_options(struct test_case *t, enum join_by by, enum join_kind kind)
{
	struct join_options *o = &t->options;

	*o = (struct join_options){.by = by, .kind = kind, .prefix = "right_", .keys = "k = b"};
	if (random_below(3) == 0)
		o->where = "v < right_v";
	if (random_below(8) == 0) {
		o->keys = NULL;
		o->cross = true;
	}
	o->has_late = by != JOIN_BY_KEY && random_below(2);
	o->slack_rows = random_below(2) ? 5 : 0; /* few dead rows are copied away soon */
	if (by == JOIN_BY_KEY && random_below(2)) { /* to disk, after some rows or at once */
		o->temporary = "/tmp";
		o->memory_bytes = random_below(2) ? 1 : 50000 + random_below(20000);
		o->spill_rows = 1 + random_below(random_below(2) ? 3 : 100);
	}
	o->step_us = 1 + random_below(20);
	o->size_us = o->step_us + random_below(25);
	o->offset_us = random_below(2) ? random_below(7) : 0;
	if (random_below(3) == 0)
		o->size_us = o->step_us;
	else if (random_below(3) == 0) {
		o->cumulate = true;
		o->size_us = o->step_us * (1 + random_below(4));
	}
	o->low_us = (int64_t)random_below(40) - 25;
	o->high_us = o->low_us + random_below(30);
	o->has_tolerance = random_below(2);
	o->tolerance_us = random_below(30);
}

static size_t run_random(uint64_t seed, enum join_by by, enum join_kind kind, bool restores)
{
	struct test_case *t = mem_zero(sizeof *t);
	size_t rows;

	random_state = seed * 2654435761u + 88172645463325252u;
	t->restores = restores;
	t->key_type = (enum key_type)random_below(KEY_TYPES);
	/* An exchange in front would cast keys of two types to one; this test's doesn't. */
	t->splits = restores && t->key_type != KEYS_WIDENED;
	t->keys = 1 + random_below(random_below(2) ? 5 : 300);
	set_options(t, by, kind);
	for (unsigned side = 0; side < 2; side++) {
		make_stream(t, side);
		make_schema(t, side);
	}
	run_case(t);
	run_model(t);
	compare(t, seed);
	assert_int_equal(t->late, count_late(t));
	if (t->options.has_late)
		assert_int_equal(t->late_written, t->late);
	rows = t->found_len;
	free_list(t->found, t->found_len);
	free_list(t->expected, t->expected_len);
	schema_clear(&t->schemas[LEFT]);
	schema_clear(&t->schemas[RIGHT]);
	for (uint32_t i = 0; i < LANES_MAX; i++) {
		buf_clear(&t->lanes[i].out);
		buf_clear(&t->lanes[i].late);
		buf_clear(&t->lanes[i].snapshot);
	}
	mem_free(t);
	return rows;
}

static void run_family(enum join_by by, bool restores)
{
	enum { ROUNDS = 25 };
	uint64_t seed = restores ? 100000 : 1;
	const char *given = getenv("JOIN_TEST_SEED");
	size_t rows = 0;

	if (given)
		seed = strtoull(given, NULL, 10);
	for (int round = 0; round < ROUNDS; round++) {
		for (int kind = JOIN_INNER; kind <= JOIN_ANTI; kind++) {
			if (by == JOIN_BY_LATEST && (kind == JOIN_RIGHT || kind == JOIN_FULL))
				continue;
			rows += run_random(seed++, by, (enum join_kind)kind, restores);
		}
	}
	assert_true(rows > 1000); /* a test that joins nothing says nothing */
}

static void key_joins_equal_nested_loops(void **state)
{
	run_family(JOIN_BY_KEY, false);
}

static void window_joins_equal_nested_loops(void **state)
{
	run_family(JOIN_BY_WINDOW, false);
}

static void interval_joins_equal_nested_loops(void **state)
{
	run_family(JOIN_BY_INTERVAL, false);
}

static void as_of_joins_equal_nested_loops(void **state)
{
	run_family(JOIN_BY_LATEST, false);
}

static void every_family_goes_on_after_a_restore(void **state)
{
	run_family(JOIN_BY_KEY, true);
	run_family(JOIN_BY_WINDOW, true);
	run_family(JOIN_BY_INTERVAL, true);
	run_family(JOIN_BY_LATEST, true);
}

/* ---- what is refused, and schemas that change ---- */

/* Opens a join and tells it one schema more on a side; the error is e's. */
static int tell(struct test_case *t, unsigned side, const struct schema *s, struct error *e)
{
	struct buf b = BUF_INIT;
	struct frame f;
	int status;

	frame_put_schema(&b, 2, s);
	f = (struct frame){.kind = FRAME_SCHEMA,
		.body = b.data + FRAME_HEADER_BYTES,
		.body_bytes = (uint32_t)(b.len - FRAME_HEADER_BYTES)};
	status = stage_take(t->lanes[0].stage, side, &f, e);
	buf_clear(&b);
	return status;
}

static struct test_case *open_case(enum join_by by)
{
	struct test_case *t = mem_zero(sizeof *t);

	t->options = (struct join_options){.by = by, .prefix = "right_", .keys = "k = b"};
	t->options.size_us = t->options.step_us = 10;
	make_schema(t, LEFT);
	make_schema(t, RIGHT);
	open_lanes(t, 1);
	return t;
}

static void close_case(struct test_case *t)
{
	close_lanes(t);
	free_list(t->found, t->found_len);
	schema_clear(&t->schemas[LEFT]);
	schema_clear(&t->schemas[RIGHT]);
	buf_clear(&t->lanes[0].out);
	buf_clear(&t->lanes[0].late);
	mem_free(t);
}

static void a_changelog_is_refused_and_its_stage_named(void **state)
{
	for (unsigned side = 0; side < 2; side++) {
		struct test_case *t = open_case(JOIN_BY_WINDOW);
		struct error e = ERROR_INIT;

		greet(t, LEFT);
		greet(t, RIGHT);
		t->schemas[side].changelog = true;
		assert_int_equal(tell(t, side, &t->schemas[side], &e), -1);
		assert_int_equal(e.code, ERROR_USAGE);
		assert_non_null(strstr(e.text, side == LEFT ? "LEFT is a changelog (from test)"
							    : "RIGHT is a changelog (from test)"));
		close_case(t);
	}
}

static void an_unbounded_right_is_refused_by_static(void **state)
{
	struct hello hello = {.version = FRAME_VERSION, .stage = "endless"};

	for (int by = JOIN_BY_KEY; by <= JOIN_BY_LATEST; by++) {
		struct test_case *t = open_case((enum join_by)by);
		struct error e = ERROR_INIT;
		struct buf b = BUF_INIT;
		int status;

		t->options.is_static = by == JOIN_BY_KEY;
		close_lanes(t);
		open_lanes(t, 1);
		greet(t, LEFT);
		frame_put_hello(&b, &hello);
		feed_all(t, RIGHT, &b);
		status = tell(t, RIGHT, &t->schemas[RIGHT], &e);
		assert_int_equal(status, by == JOIN_BY_KEY ? -1 : 0);
		if (status < 0) {
			assert_int_equal(e.code, ERROR_USAGE);
			assert_non_null(strstr(e.text, "RIGHT (from endless) never ends"));
			assert_non_null(strstr(e.text, "--within"));
		}
		buf_clear(&b);
		close_case(t);
	}
}

static void an_as_of_join_with_a_condition_needs_a_tolerance_on_a_stream(void **state)
{
	struct hello hello = {.version = FRAME_VERSION, .stage = "endless"};

	for (int tolerance = 0; tolerance < 2; tolerance++) {
		struct test_case *t = mem_zero(sizeof *t);
		struct error e = ERROR_INIT;
		struct buf b = BUF_INIT;

		t->options = (struct join_options){.by = JOIN_BY_LATEST,
			.prefix = "right_",
			.keys = "k = b",
			.where = "v < right_v",
			.has_tolerance = tolerance,
			.tolerance_us = 5};
		make_schema(t, LEFT);
		make_schema(t, RIGHT);
		open_lanes(t, 1);
		greet(t, LEFT);
		frame_put_hello(&b, &hello);
		feed_all(t, RIGHT, &b);
		assert_int_equal(tell(t, RIGHT, &t->schemas[RIGHT], &e), tolerance - 1);
		assert_int_equal(e.code, tolerance ? ERROR_NONE : ERROR_USAGE);
		buf_clear(&b);
		close_case(t);
	}
}

static void two_columns_of_one_name_ask_for_another_prefix(void **state)
{
	struct test_case *t = open_case(JOIN_BY_KEY);
	struct error e = ERROR_INIT;

	greet(t, LEFT);
	greet(t, RIGHT);
	declare(t, RIGHT);
	schema_add(&t->schemas[LEFT], "right_v", 7, TYPE_OF(TYPE_INT));
	assert_int_equal(tell(t, LEFT, &t->schemas[LEFT], &e), -1);
	assert_int_equal(e.code, ERROR_USAGE);
	assert_non_null(strstr(e.text, "two columns 'right_v'"));
	assert_non_null(strstr(e.text, "--prefix"));
	close_case(t);
}

static void a_side_without_a_schema_is_told_at_the_end(void **state)
{
	struct test_case *t = open_case(JOIN_BY_KEY);
	struct error e = ERROR_INIT;
	struct buf b = BUF_INIT;
	struct frame f;

	greet(t, LEFT);
	greet(t, RIGHT);
	send_end(t, RIGHT);
	declare(t, LEFT);
	frame_put_end(&b, 0);
	f = (struct frame){.kind = FRAME_END,
		.body = b.data + FRAME_HEADER_BYTES,
		.body_bytes = (uint32_t)(b.len - FRAME_HEADER_BYTES)};
	assert_int_equal(stage_take(t->lanes[0].stage, LEFT, &f, &e), -1);
	assert_int_equal(e.code, ERROR_DATA);
	assert_non_null(strstr(e.text, "RIGHT ended without a schema"));
	buf_clear(&b);
	close_case(t);
}

/* Row of the left stream under schema 2: columns in another order, one more. */
static void put_later_row(const struct schema *s, int64_t key, int64_t value, struct buf *out)
{
	struct batch_builder b;

	batch_builder_init(&b, s);
	builder_put_int(&b.columns[0], value);
	builder_put_text(&b.columns[1], "more", 4);
	builder_put_int(&b.columns[2], key);
	builder_put_int(&b.columns[3], 77);
	frame_put_batch(out, 2, batch_builder_view(&b));
	batch_builder_clear(&b);
}

static void a_later_schema_is_read_as_the_first(void **state)
{
	struct test_case *t = open_case(JOIN_BY_KEY);
	struct event rows = {.kind = EVENT_ROWS, .n = 1};
	struct error e = ERROR_INIT;
	struct schema later = SCHEMA_INIT;
	struct buf b = BUF_INIT;

	schema_add(&later, "v", 1, TYPE_OF(TYPE_INT));
	schema_add(&later, "extra", 5, TYPE_OF(TYPE_STRING));
	schema_add(&later, "k", 1, TYPE_OF(TYPE_INT));
	later.time_column = schema_add(&later, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
	t->sides[LEFT].rows[0] = (struct row){.has_key = true, .key = 4, .value = 1};
	t->sides[RIGHT].rows[0] = (struct row){.has_key = true, .key = 4, .value = 2};
	greet(t, LEFT);
	greet(t, RIGHT);
	declare(t, RIGHT);
	send_rows(t, RIGHT, &rows);
	send_end(t, RIGHT);
	declare(t, LEFT);
	send_rows(t, LEFT, &rows);
	must_work(tell(t, LEFT, &later, &e), &e);
	put_later_row(&later, 4, 9, &b);
	feed_all(t, LEFT, &b);
	t->lanes[0].sent[LEFT]++;
	send_end(t, LEFT);
	must_work(stage_idle(t->lanes[0].stage, &e), &e);
	read_output(t, &t->lanes[0], &t->lanes[0].out, false);
	assert_int_equal(t->found_len, 2);
	assert_string_equal(t->found[0], "4|0|1|0|2|");
	assert_string_equal(t->found[1], "4|77|9|0|2|");
	buf_clear(&b);
	schema_clear(&later);
	close_case(t);
}

static void a_later_schema_that_loses_a_column_or_widens_it_is_bad_data(void **state)
{
	static const struct {
		const char *name;
		uint8_t kind;
		const char *says;
	} cases[] = {
		{"other", TYPE_INT, "lacks the column 'v'"},
		{"v", TYPE_FLOAT, "'v' was int and is float"},
		{"v", TYPE_STRING, "'v' was int and is string"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct test_case *t = open_case(JOIN_BY_WINDOW);
		struct schema later = SCHEMA_INIT;
		struct error e = ERROR_INIT;

		schema_add(&later, "k", 1, TYPE_OF(TYPE_INT));
		later.time_column = schema_add(&later, "t", 1, TYPE_OF(TYPE_TIMESTAMP));
		schema_add(&later, cases[i].name, strlen(cases[i].name), TYPE_OF(cases[i].kind));
		greet(t, LEFT);
		greet(t, RIGHT);
		declare(t, LEFT);
		declare(t, RIGHT);
		assert_int_equal(tell(t, LEFT, &later, &e), -1);
		assert_int_equal(e.code, ERROR_DATA);
		assert_non_null(strstr(e.text, cases[i].says));
		schema_clear(&later);
		close_case(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_changelog_is_refused_and_its_stage_named),
		cmocka_unit_test(an_unbounded_right_is_refused_by_static),
		cmocka_unit_test(an_as_of_join_with_a_condition_needs_a_tolerance_on_a_stream),
		cmocka_unit_test(two_columns_of_one_name_ask_for_another_prefix),
		cmocka_unit_test(a_side_without_a_schema_is_told_at_the_end),
		cmocka_unit_test(a_later_schema_is_read_as_the_first),
		cmocka_unit_test(a_later_schema_that_loses_a_column_or_widens_it_is_bad_data),
		cmocka_unit_test(key_joins_equal_nested_loops),
		cmocka_unit_test(window_joins_equal_nested_loops),
		cmocka_unit_test(interval_joins_equal_nested_loops),
		cmocka_unit_test(as_of_joins_equal_nested_loops),
		cmocka_unit_test(every_family_goes_on_after_a_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
