/* Joins by equal keys of changelogs and of streams: random inserts, updates and deletes on both
 * sides, in random interleaving, with restores into one or two new stages at random barriers.  What
 * the output describes, at any moment on streams and at the end of bounded inputs, is the join of
 * the two tables by nested loops. */
#include "cmd/sjoin/join.h"
#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { TABLE_ROWS = 64, TABLE_MAX = BATCH_ROWS + 1000, LANES_MAX = 2, TEXTS_MAX = 1 << 14 };

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)((random_state >> 11) % n);
}

/* ---- tables, and rows that are about to be sent ---- */

struct row {
	int64_t id, key, value; /* key -1: null */
};

struct table {
	struct row rows[TABLE_MAX];
	uint32_t n;
};

struct change {
	uint8_t op;
	struct row row;
};

enum { CHANGES_MAX = 64 };

struct changes {
	struct change list[CHANGES_MAX];
	uint32_t n;
};

struct lane {
	struct stage *stage;
	struct buf out, snapshot;
	size_t read; /* of out */
	struct channel_writer *writer;
	struct schema_set schemas;
	uint64_t sent[2];
};

struct world {
	struct join_options options;
	bool streams, changelog[2], keyed[2], unique_ids, wide;
	struct table tables[2];
	int64_t next_id;
	uint32_t keys;
	struct schema schemas[2];
	struct lane lanes[LANES_MAX];
	uint32_t lanes_len;
	bool ended[2];
	uint64_t checkpoint, seed;
	char *texts[TEXTS_MAX]; /* the table that the output describes */
	uint32_t texts_len;
	uint32_t updates;        /* pairs seen */
	bool calm;               /* no restarts */
	bool timed[2];           /* with --ttl: id is the event time; else rows live by TICKs */
	int64_t clock[2];        /* watermark; TICK */
	struct history *history; /* with --ttl */
	struct buf *log;         /* NULL: none */
};

static void make_schema(struct world *w, unsigned side)
{
	struct schema *s = &w->schemas[side];
	struct type key = TYPE_OF(TYPE_INT);

	if (w->wide && side == RIGHT)
		key = TYPE_OF(TYPE_FLOAT);
	schema_init(s);
	schema_add(s, "id", 2, w->timed[side] ? TYPE_OF(TYPE_TIMESTAMP) : TYPE_OF(TYPE_INT));
	s->time_column = w->timed[side] ? 0 : -1;
	schema_add(s, side == LEFT ? "k" : "b", 1, key);
	schema_add(s, "v", 1, TYPE_OF(TYPE_INT));
	s->changelog = w->changelog[side];
	if (w->keyed[side])
		schema_set_keys(s, (int[]){0}, 1);
}

static void put_row(struct batch_builder *b, const struct row *r)
{
	builder_put_int(&b->columns[0], r->id);
	if (r->key < 0)
		builder_put_null(&b->columns[1]);
	else if (b->columns[1].type.kind == TYPE_FLOAT)
		builder_put_float(&b->columns[1], (double)r->key);
	else
		builder_put_int(&b->columns[1], r->key);
	builder_put_int(&b->columns[2], r->value);
}

/* ---- stages ---- */

static void must_work(const struct world *w, int status, const struct error *e)
{
	if (status < 0)
		fail_msg("seed %llu: %s", (unsigned long long)w->seed, e->text);
}

static void feed(struct world *w, struct lane *lane, unsigned side, const struct buf *bytes)
{
	struct error e = ERROR_INIT;

	for (size_t at = 0; at < bytes->len;) {
		const uint8_t *p = bytes->data + at;
		uint32_t len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 |
			       p[4];
		struct frame f = {.kind = p[5], .body = p + FRAME_HEADER_BYTES, .body_bytes = len};

		must_work(w, stage_take(lane->stage, side, &f, &e), &e);
		at += FRAME_HEADER_BYTES + len;
	}
}

static void feed_all(struct world *w, unsigned side, struct buf *bytes)
{
	for (uint32_t i = 0; i < w->lanes_len; i++)
		feed(w, &w->lanes[i], side, bytes);
	buf_clear(bytes);
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

static void open_lanes(struct world *w, uint32_t n)
{
	static const unsigned inputs[] = {LEFT, RIGHT};
	struct error e = ERROR_INIT;

	w->lanes_len = n;
	for (uint32_t i = 0; i < n; i++) {
		struct lane *lane = &w->lanes[i];
		struct stage_output_plan output = {.writers = &lane->writer, .writers_len = 1};
		struct stage_plan plan = {.name = "sjoin",
			.subtask = i,
			.subtasks = n,
			.channel_inputs = inputs,
			.channels_len = 2,
			.outputs = &output,
			.hooks = {.context = lane, .checkpoint = keep_snapshot}};
		struct operator* op;

		lane->writer = channel_writer_new_memory(&lane->out);
		must_work(w, join_new(&w->options, &op, &e), &e);
		lane->stage = stage_new(&plan, op);
		lane->sent[LEFT] = lane->sent[RIGHT] = 0;
	}
}

static void greet(struct world *w)
{
	for (unsigned side = 0; side < 2; side++) {
		struct hello hello = {.version = FRAME_VERSION, .stage = "test"};
		struct buf b = BUF_INIT;

		hello.bounded = !w->streams;
		frame_put_hello(&b, &hello);
		feed_all(w, side, &b);
	}
}

static void declare(struct world *w, unsigned side)
{
	struct buf b = BUF_INIT;

	frame_put_schema(&b, 1, &w->schemas[side]);
	feed_all(w, side, &b);
}

/* The rows of a lane's key groups.  An exchange parts updates, as the join key isn't the row's. */
static void send(struct world *w, unsigned side, const struct changes *c)
{
	struct batch_builder all;
	const struct column *key;
	uint64_t hashes[CHANGES_MAX];

	batch_builder_init(&all, &w->schemas[side]);
	for (uint32_t i = 0; i < c->n; i++) {
		uint8_t op = c->list[i].op;

		put_row(&all, &c->list[i].row);
		if (w->lanes_len > 1)
			op = op == ROW_UPDATE_BEFORE  ? ROW_DELETE
			     : op == ROW_UPDATE_AFTER ? ROW_INSERT
						      : op;
		if (w->changelog[side])
			buf_put_byte(&all.ops, op);
		else
			assert_int_equal(op, ROW_INSERT);
	}
	key = &batch_builder_view(&all)->columns[1];
	if (w->wide && side == LEFT) { /* as a cast in front would have it */
		double as_float[CHANGES_MAX];
		struct column cast = {
			.type = TYPE_OF(TYPE_FLOAT), .valid = key->valid, .data = as_float};
		const struct column *cast_key = &cast;

		for (uint32_t i = 0; i < c->n; i++)
			as_float[i] = (double)column_int(key, i);
		keys_hash(&cast_key, 1, c->n, hashes);
	} else {
		keys_hash(&key, 1, c->n, hashes);
	}
	for (uint32_t lane = 0; lane < w->lanes_len; lane++) {
		struct arena arena = ARENA_INIT;
		struct buf b = BUF_INIT;
		uint32_t pick[CHANGES_MAX], n = 0;
		struct batch mine;

		for (uint32_t i = 0; i < c->n; i++) {
			pick[n] = i;
			n += key_group_subtask(key_group(hashes[i]), w->lanes_len) == lane;
		}
		batch_gather(batch_builder_view(&all), pick, n, &arena, &mine);
		frame_put_batch(&b, 1, &mine);
		feed(w, &w->lanes[lane], side, &b);
		w->lanes[lane].sent[side] += n;
		buf_clear(&b);
		arena_clear(&arena);
	}
	batch_builder_clear(&all);
}

static void send_end(struct world *w, unsigned side)
{
	for (uint32_t i = 0; i < w->lanes_len; i++) {
		struct buf b = BUF_INIT;

		frame_put_end(&b, w->lanes[i].sent[side]);
		feed(w, &w->lanes[i], side, &b);
		buf_clear(&b);
	}
	w->ended[side] = true;
}

/* ---- the table that the output describes ---- */

static void print_row(const struct batch *b, uint32_t row, bool keys_only, struct buf *out)
{
	buf_reset(out);
	for (size_t i = 0; i < b->schema->fields_len; i++) {
		const struct column *c = &b->columns[i];
		bool is_key = !keys_only;

		for (size_t k = 0; k < b->schema->keys_len; k++)
			is_key = is_key || b->schema->keys[k] == (int)i;
		if (!is_key)
			continue;
		if (!column_is_valid(c, row))
			buf_put_text(out, "-|");
		else
			buf_printf(out, "%lld|",
				c->type.kind == TYPE_FLOAT ? (long long)column_float(c, row)
							   : (long long)column_int(c, row));
	}
	buf_cstr(out);
}

static void apply(struct world *w, uint8_t op, const char *text)
{
	if (op == ROW_INSERT || op == ROW_UPDATE_AFTER) {
		assert_true(w->texts_len < TEXTS_MAX);
		w->texts[w->texts_len++] = mem_strdup(text);
		return;
	}
	for (uint32_t i = 0; i < w->texts_len; i++) {
		if (strcmp(w->texts[i], text) != 0)
			continue;
		mem_free(w->texts[i]);
		w->texts[i] = w->texts[--w->texts_len];
		return;
	}
	fail_msg("seed %llu: %s is taken back and isn't there", (unsigned long long)w->seed, text);
}

static void check_update(struct world *w, const struct batch *b, uint32_t row)
{
	struct buf old = BUF_INIT, new = BUF_INIT;

	if (row + 1 >= b->rows || b->ops[row + 1] != ROW_UPDATE_AFTER)
		fail_msg("seed %llu: half an update", (unsigned long long)w->seed);
	print_row(b, row, false, &old);
	print_row(b, row + 1, false, &new);
	if (!strcmp(buf_cstr(&old), buf_cstr(&new)))
		fail_msg("seed %llu: %s becomes itself", (unsigned long long)w->seed,
			buf_cstr(&old));
	print_row(b, row, true, &old);
	print_row(b, row + 1, true, &new);
	if (b->schema->keys_len && strcmp(buf_cstr(&old), buf_cstr(&new)) != 0)
		fail_msg("seed %llu: the key %s becomes %s", (unsigned long long)w->seed,
			buf_cstr(&old), buf_cstr(&new));
	w->updates++;
	buf_clear(&old);
	buf_clear(&new);
}

static void take_batch(struct world *w, const struct batch *b)
{
	struct buf text = BUF_INIT;

	for (uint32_t r = 0; r < b->rows; r++) {
		if (b->ops && b->ops[r] == ROW_UPDATE_BEFORE)
			check_update(w, b, r);
		if (b->ops && b->ops[r] == ROW_UPDATE_AFTER)
			assert_true(r > 0 && b->ops[r - 1] == ROW_UPDATE_BEFORE);
		print_row(b, r, false, &text);
		if (w->log)
			buf_printf(w->log, "%d %s\n", b->ops ? b->ops[r] : 0, buf_cstr(&text));
		apply(w, b->ops ? b->ops[r] : ROW_INSERT, buf_cstr(&text));
	}
	buf_clear(&text);
}

static void take_output(struct world *w, struct lane *lane)
{
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;

	must_work(w, stage_idle(lane->stage, &e), &e);
	while (lane->read < lane->out.len) {
		const uint8_t *p = lane->out.data + lane->read;
		struct frame f = {.kind = p[5], .body = p + FRAME_HEADER_BYTES};
		const struct schema *s;
		struct batch b;
		uint32_t id;

		f.body_bytes = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 |
			       p[4];
		lane->read += FRAME_HEADER_BYTES + f.body_bytes;
		if (f.kind == FRAME_SCHEMA) {
			must_work(w, schema_set_declare(&lane->schemas, &f, &s, &e), &e);
		} else if (f.kind == FRAME_BATCH) {
			must_work(w, frame_read_schema_id(&f, &id, &e), &e);
			s = schema_set_find(&lane->schemas, id);
			must_work(w, frame_read_batch(&f, s, true, &arena, &b, &e), &e);
			take_batch(w, &b);
		}
	}
	arena_clear(&arena);
}

static void close_lane(struct world *w, struct lane *lane)
{
	take_output(w, lane);
	stage_free(lane->stage);
	channel_writer_free(lane->writer);
	schema_set_clear(&lane->schemas);
	buf_clear(&lane->out);
	lane->read = 0;
}

/* ---- the model ---- */

static bool meets(const struct world *w, const struct row *l, const struct row *r)
{
	return l->key >= 0 && l->key == r->key && (!w->options.where || l->value < r->value);
}

static void expect(
	char **list, uint32_t *n, const struct world *w, const struct row *l, const struct row *r)
{
	bool only_left = w->options.kind == JOIN_SEMI || w->options.kind == JOIN_ANTI;
	int64_t key = l ? l->key : r->key;
	struct buf b = BUF_INIT;

	if (l)
		buf_printf(&b, "%lld|", (long long)l->id);
	else
		buf_put_text(&b, "-|");
	if (key >= 0)
		buf_printf(&b, "%lld|", (long long)key);
	else
		buf_put_text(&b, "-|");
	if (l)
		buf_printf(&b, "%lld|", (long long)l->value);
	else
		buf_put_text(&b, "-|");
	if (!only_left && r)
		buf_printf(&b, "%lld|%lld|", (long long)r->id, (long long)r->value);
	else if (!only_left)
		buf_put_text(&b, "-|-|");
	assert_true(*n < TEXTS_MAX);
	list[(*n)++] = mem_strdup(buf_cstr(&b));
	buf_clear(&b);
}

/* ---- the model of --ttl: what happened to every row, and the results that stand ---- */

enum fate { ROW_LIVES, ROW_FORGOTTEN, ROW_TAKEN_BACK };

struct lived {
	struct row row;
	int64_t born;
	enum fate fate;
};

enum { HISTORY_MAX = 600 };

struct history {
	struct lived rows[2][HISTORY_MAX];
	uint32_t n[2];
	bool pair[HISTORY_MAX][HISTORY_MAX]; /* left, right */
};

static bool *pair_of(struct history *h, unsigned side, uint32_t own, uint32_t other)
{
	return side == LEFT ? &h->pair[own][other] : &h->pair[other][own];
}

static void history_insert(struct world *w, unsigned side, const struct row *row)
{
	struct history *h = w->history;
	uint32_t at = h->n[side]++;

	assert_true(at < HISTORY_MAX);
	h->rows[side][at] = (struct lived){*row, w->timed[side] ? row->id : w->clock[1], ROW_LIVES};
	for (uint32_t i = 0; i < h->n[!side]; i++) {
		const struct lived *other = &h->rows[!side][i];

		*pair_of(h, side, at, i) = other->fate == ROW_LIVES &&
					   (side == LEFT ? meets(w, row, &other->row)
							 : meets(w, &other->row, row));
	}
	if (row->key >= 0 &&
		h->rows[side][at].born + w->options.ttl_us <= w->clock[!w->timed[side]])
		h->rows[side][at].fate = ROW_FORGOTTEN;
}

static void history_take_back(struct world *w, unsigned side, const struct row *row)
{
	struct history *h = w->history;

	for (uint32_t at = h->n[side]; at-- > 0;) {
		struct lived *l = &h->rows[side][at];

		if (l->fate != ROW_LIVES || memcmp(&l->row, row, sizeof *row) != 0)
			continue;
		l->fate = ROW_TAKEN_BACK;
		for (uint32_t i = 0; i < h->n[!side]; i++) {
			if (h->rows[!side][i].fate == ROW_LIVES)
				*pair_of(h, side, at, i) = false;
		}
		return;
	}
}

static void history_forget(struct world *w)
{
	for (unsigned side = 0; side < 2; side++) {
		for (uint32_t i = 0; i < w->history->n[side]; i++) {
			struct lived *l = &w->history->rows[side][i];

			/* Of a row without a key nothing is kept that could be forgotten. */
			if (l->fate == ROW_LIVES && l->row.key >= 0 &&
				l->born + w->options.ttl_us <= w->clock[!w->timed[side]])
				l->fate = ROW_FORGOTTEN;
		}
	}
}

static void history_take(struct world *w, unsigned side, const struct changes *c)
{
	for (uint32_t i = 0; i < c->n; i++) {
		if (c->list[i].op == ROW_INSERT || c->list[i].op == ROW_UPDATE_AFTER)
			history_insert(w, side, &c->list[i].row);
		else
			history_take_back(w, side, &c->list[i].row);
	}
}

static uint32_t history_model(const struct world *w, char **list)
{
	enum join_kind kind = w->options.kind;
	const struct history *h = w->history;
	bool met_right[HISTORY_MAX] = {false};
	uint32_t n = 0;

	for (uint32_t i = 0; i < h->n[LEFT]; i++) {
		const struct lived *l = &h->rows[LEFT][i];
		bool met = false;

		for (uint32_t k = 0; k < h->n[RIGHT]; k++) {
			if (!h->pair[i][k])
				continue;
			met = met_right[k] = true;
			if (kind <= JOIN_FULL)
				expect(list, &n, w, &l->row, &h->rows[RIGHT][k].row);
		}
		if (l->fate != ROW_TAKEN_BACK &&
			((met && kind == JOIN_SEMI) ||
				(!met && (kind == JOIN_LEFT || kind == JOIN_FULL ||
						 kind == JOIN_ANTI))))
			expect(list, &n, w, &l->row, NULL);
	}
	for (uint32_t k = 0; k < h->n[RIGHT]; k++) {
		if (!met_right[k] && (kind == JOIN_RIGHT || kind == JOIN_FULL) &&
			h->rows[RIGHT][k].fate != ROW_TAKEN_BACK)
			expect(list, &n, w, NULL, &h->rows[RIGHT][k].row);
	}
	return n;
}

static uint32_t model(const struct world *w, char **list)
{
	enum join_kind kind = w->options.kind;
	const struct table *left = &w->tables[LEFT], *right = &w->tables[RIGHT];
	bool met_right[TABLE_MAX] = {false};
	uint32_t n = 0;

	for (uint32_t i = 0; i < left->n; i++) {
		const struct row *l = &left->rows[i];
		bool met = false;

		for (uint32_t k = 0; k < right->n; k++) {
			if (!meets(w, l, &right->rows[k]))
				continue;
			met = met_right[k] = true;
			if (kind <= JOIN_FULL)
				expect(list, &n, w, l, &right->rows[k]);
		}
		if ((met && kind == JOIN_SEMI) ||
			(!met && (kind == JOIN_LEFT || kind == JOIN_FULL || kind == JOIN_ANTI)))
			expect(list, &n, w, l, NULL);
	}
	for (uint32_t k = 0; k < right->n; k++) {
		if (!met_right[k] && (kind == JOIN_RIGHT || kind == JOIN_FULL))
			expect(list, &n, w, NULL, &right->rows[k]);
	}
	return n;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void compare(struct world *w)
{
	static char *expected[TEXTS_MAX];
	uint32_t n = w->history ? history_model(w, expected) : model(w, expected);

	if (n)
		qsort(expected, n, sizeof *expected, compare_texts);
	if (w->texts_len)
		qsort(w->texts, w->texts_len, sizeof *w->texts, compare_texts);
	for (uint32_t i = 0; i < n && i < w->texts_len; i++) {
		if (strcmp(expected[i], w->texts[i]) != 0)
			fail_msg("seed %llu kind %d: row %u is %s, not %s",
				(unsigned long long)w->seed, w->options.kind, i, w->texts[i],
				expected[i]);
	}
	if (n != w->texts_len)
		fail_msg("seed %llu kind %d: %u rows, not %u", (unsigned long long)w->seed,
			w->options.kind, w->texts_len, n);
	for (uint32_t i = 0; i < n; i++)
		mem_free(expected[i]);
}

/* ---- random changes ---- */

static struct row random_row(struct world *w)
{
	struct row r = {.key = random_below(10) ? (int64_t)random_below(w->keys) : -1,
		.value = random_below(6)};

	r.id = w->unique_ids ? w->next_id++ : random_below(3);
	return r;
}

static void add_change(struct world *w, unsigned side, struct changes *c)
{
	struct table *t = &w->tables[side];
	uint32_t what = w->changelog[side] && t->n ? random_below(4) : 0, at;

	if (t->n == TABLE_ROWS)
		what = 1;
	if (what <= 1 && t->n < TABLE_ROWS) {
		t->rows[t->n] = random_row(w);
		c->list[c->n++] = (struct change){ROW_INSERT, t->rows[t->n++]};
		return;
	}
	at = random_below(t->n);
	if (what <= 2) {
		c->list[c->n++] = (struct change){ROW_DELETE, t->rows[at]};
		t->rows[at] = t->rows[--t->n];
	} else {
		struct row new = random_row(w);

		new.id = t->rows[at].id;
		if (random_below(2))
			new.key = t->rows[at].key;
		if (new.key == t->rows[at].key &&new.value == t->rows[at].value)
			new.value++;
		c->list[c->n++] = (struct change){ROW_UPDATE_BEFORE, t->rows[at]};
		c->list[c->n++] = (struct change){ROW_UPDATE_AFTER, new};
		t->rows[at] = new;
	}
}

static void send_changes(struct world *w, unsigned side)
{
	struct changes c = {.n = 0};
	uint32_t wanted = 1 + random_below(20);

	while (c.n < wanted) {
		if (!w->changelog[side] && w->tables[side].n == TABLE_ROWS)
			break;
		add_change(w, side, &c);
	}
	if (c.n)
		send(w, side, &c);
	if (w->history)
		history_take(w, side, &c);
}

/* Both clocks go on a bit. */
static void send_time(struct world *w)
{
	struct buf b = BUF_INIT;

	w->clock[0] += random_below(30);
	if (w->clock[0] > w->next_id)
		w->clock[0] = w->next_id;
	w->clock[1] += random_below(3);
	for (unsigned side = 0; side < 2; side++) {
		frame_put_watermark(&b, w->clock[0]);
		feed_all(w, side, &b);
	}
	frame_put_tick(&b, w->clock[1]);
	feed_all(w, LEFT, &b);
	history_forget(w);
}

/* ---- running ---- */

static void restart(struct world *w)
{
	struct barrier barrier = {.checkpoint = ++w->checkpoint};
	uint32_t lanes = 1 + random_below(LANES_MAX), files_len = w->lanes_len;
	struct buf snapshots[LANES_MAX];
	struct error e = ERROR_INIT;

	if (w->wide) /* keys of two types go to one subtask */
		lanes = 1;
	for (unsigned side = 0; side < 2; side++) {
		struct buf b = BUF_INIT;

		frame_put_barrier(&b, &barrier);
		if (!w->ended[side])
			feed_all(w, side, &b);
		buf_clear(&b);
	}
	for (uint32_t i = 0; i < files_len; i++) {
		assert_true(w->lanes[i].snapshot.len > 0);
		snapshots[i] = w->lanes[i].snapshot;
		w->lanes[i].snapshot = (struct buf)BUF_INIT;
		close_lane(w, &w->lanes[i]);
	}
	open_lanes(w, lanes);
	for (uint32_t i = 0; i < lanes; i++) {
		struct channel_reader *files[LANES_MAX];

		for (uint32_t k = 0; k < files_len; k++)
			files[k] = channel_reader_new_memory(
				snapshots[k].data, snapshots[k].len, "snapshot");
		must_work(w, stage_restore(w->lanes[i].stage, files, files_len, &e), &e);
		for (uint32_t k = 0; k < files_len; k++)
			channel_reader_free(files[k]);
	}
	for (uint32_t k = 0; k < files_len; k++)
		buf_clear(&snapshots[k]);
	greet(w);
	for (unsigned side = 2; side-- > 0;) {
		declare(w, side);
		if (w->ended[side])
			send_end(w, side);
	}
}

/* RIGHT, if it is bounded, comes as a whole first. */
static void run_bounded(struct world *w)
{
	uint32_t turns = random_below(12);

	for (uint32_t i = random_below(12); i > 0; i--)
		send_changes(w, RIGHT);
	send_end(w, RIGHT);
	for (uint32_t i = 0; i < turns; i++) {
		send_changes(w, LEFT);
		if (!w->calm && random_below(5) == 0)
			restart(w);
	}
}

static void run_streams(struct world *w)
{
	uint32_t turns = random_below(24), bias = 1 + random_below(9);

	if (w->history)
		send_time(w);
	for (uint32_t i = 0; i < turns; i++) {
		send_changes(w, random_below(10) < bias ? LEFT : RIGHT);
		if (w->history && random_below(2))
			send_time(w);
		if (random_below(5) == 0)
			restart(w);
		for (uint32_t k = 0; k < w->lanes_len; k++)
			take_output(w, &w->lanes[k]);
		compare(w);
	}
	send_end(w, RIGHT);
}

/* From the first row on. */
static void set_spilling(struct world *w)
{
	w->options.temporary = "/tmp";
	w->options.memory_bytes = 1;
	w->options.spill_rows = w->seed % 5 ? 1 + (uint32_t)(w->seed % 4) : 1000;
}

static void set_options(struct world *w, uint64_t seed, bool has_ttl)
{
	w->seed = seed;
	random_state = seed * 2654435761u + 88172645463325252u;
	w->options = (struct join_options){.by = JOIN_BY_KEY,
		.kind = (enum join_kind)(seed % 6),
		.prefix = "right_",
		.keys = "k = b"};
	if (random_below(2))
		w->options.where = "v < right_v";
	w->options.slack_rows = random_below(2) ? 5 : 0;
	w->unique_ids = random_below(2) || has_ttl;
	if (has_ttl) {
		w->history = mem_zero(sizeof *w->history);
		w->options.ttl_us = 1 + random_below(60);
		w->timed[LEFT] = random_below(3);
		w->timed[RIGHT] = random_below(3);
	}
	w->wide = random_below(4) == 0;
	w->keys = 1 + random_below(random_below(2) ? 3 : 30);
	for (unsigned side = 0; side < 2; side++) {
		w->changelog[side] = random_below(4) > 0;
		w->keyed[side] = w->changelog[side] && w->unique_ids && random_below(2);
		make_schema(w, side);
	}
}

/* log: takes the output, of a run without restarts; else some spill. */
enum run_kind { RUN_STREAMS, RUN_TTL, RUN_BOUNDED };

static uint32_t run_random(uint64_t seed, enum run_kind kind, bool spills, struct buf *log)
{
	struct world *w = mem_zero(sizeof *w);
	bool streams = kind != RUN_BOUNDED;
	uint32_t updates;

	set_options(w, seed, kind == RUN_TTL);
	w->log = log;
	w->calm = log;
	if (!streams && (log ? spills : seed / 6 % 2))
		set_spilling(w);

	w->streams = streams;
	open_lanes(w, 1);
	greet(w);
	declare(w, RIGHT);
	declare(w, LEFT);
	if (streams)
		run_streams(w);
	else
		run_bounded(w);
	send_end(w, LEFT);
	for (uint32_t i = 0; i < w->lanes_len; i++) {
		assert_true(stage_has_ended(w->lanes[i].stage));
		close_lane(w, &w->lanes[i]);
	}
	compare(w);
	for (uint32_t i = 0; i < w->texts_len; i++)
		mem_free(w->texts[i]);
	for (uint32_t i = 0; i < LANES_MAX; i++)
		buf_clear(&w->lanes[i].snapshot);
	schema_clear(&w->schemas[LEFT]);
	schema_clear(&w->schemas[RIGHT]);
	updates = w->updates;
	mem_free(w->history);
	mem_free(w);
	return updates;
}

enum { ROUNDS = 900 };

static void run_many(enum run_kind kind)
{
	const char *given = getenv("JOIN_TEST_SEED");
	uint32_t updates = 0;

	if (given) {
		run_random(strtoull(given, NULL, 10), kind, false, NULL);
		return;
	}
	for (uint64_t seed = 1; seed <= ROUNDS; seed++)
		updates += run_random(seed, kind, false, NULL);
	assert_true(updates > ROUNDS); /* halves of updates do stay together */
}

static void changes_of_streams_always_describe_the_join_of_both_tables(void **state)
{
	run_many(RUN_STREAMS);
}

static void rows_are_forgotten_after_their_ttl_and_their_results_stay(void **state)
{
	run_many(RUN_TTL);
}

/* Sends one change of LEFT's only row (the second half's value; -1: it goes), and compares. */
static void change_left(struct world *w, int64_t from, int64_t to)
{
	struct table *t = &w->tables[LEFT];
	struct changes c = {.n = 0};
	struct row row = {.id = 7, .key = 0, .value = from};

	if (from >= 0)
		c.list[c.n++] = (struct change){to < 0 ? ROW_DELETE : ROW_UPDATE_BEFORE, row};
	row.value = to;
	if (to >= 0)
		c.list[c.n++] = (struct change){from < 0 ? ROW_INSERT : ROW_UPDATE_AFTER, row};
	t->n = to >= 0;
	t->rows[0] = row;
	send(w, LEFT, &c);
	take_output(w, &w->lanes[0]);
	compare(w);
}

static void one_row_meets_more_than_a_batch(void **state)
{
	for (int kind = JOIN_INNER; kind <= JOIN_ANTI; kind++) {
		struct world *w = mem_zero(sizeof *w);
		struct table *right = &w->tables[RIGHT];

		w->options = (struct join_options){.by = JOIN_BY_KEY,
			.kind = (enum join_kind)kind,
			.prefix = "right_",
			.keys = "k = b",
			.where = "v < right_v"};
		w->streams = w->changelog[LEFT] = true;
		make_schema(w, LEFT);
		make_schema(w, RIGHT);
		open_lanes(w, 1);
		greet(w);
		declare(w, RIGHT);
		declare(w, LEFT);
		while (right->n < TABLE_MAX) {
			struct changes c = {.n = 0};

			for (; c.n < CHANGES_MAX && right->n < TABLE_MAX; right->n++) {
				right->rows[right->n] = (struct row){
					.id = right->n, .value = right->n % 50};
				c.list[c.n++] = (struct change){ROW_INSERT, right->rows[right->n]};
			}
			send(w, RIGHT, &c);
		}
		change_left(w, -1, 48);
		change_left(w, 48, 47);
		change_left(w, 47, 49);
		change_left(w, 49, 48);
		change_left(w, 48, -1);
		close_lane(w, &w->lanes[0]);
		while (w->texts_len)
			mem_free(w->texts[--w->texts_len]);
		schema_clear(&w->schemas[LEFT]);
		schema_clear(&w->schemas[RIGHT]);
		mem_free(w);
	}
}

static void changelogs_with_an_end_give_the_join_of_both_tables(void **state)
{
	run_many(RUN_BOUNDED);
}

static void rows_and_their_order_are_the_same_on_disk(void **state)
{
	for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
		struct buf in_memory = BUF_INIT, on_disk = BUF_INIT;

		run_random(seed, RUN_BOUNDED, false, &in_memory);
		run_random(seed, RUN_BOUNDED, true, &on_disk);
		if (strcmp(buf_cstr(&in_memory), buf_cstr(&on_disk)) != 0)
			fail_msg("seed %llu: in memory\n%son disk\n%s", (unsigned long long)seed,
				buf_cstr(&in_memory), buf_cstr(&on_disk));
		buf_clear(&in_memory);
		buf_clear(&on_disk);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_of_streams_always_describe_the_join_of_both_tables),
		cmocka_unit_test(rows_are_forgotten_after_their_ttl_and_their_results_stay),
		cmocka_unit_test(one_row_meets_more_than_a_batch),
		cmocka_unit_test(changelogs_with_an_end_give_the_join_of_both_tables),
		cmocka_unit_test(rows_and_their_order_are_the_same_on_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
