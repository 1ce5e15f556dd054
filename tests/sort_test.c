/* ssort against a model of nested loops, through the runtime's core: random columns, orders with
 * ties, nulls, NaNs and extremes, memory so small that it spills, changelogs in and out, windows,
 * and a snapshot and a restore into a new stage at random moments. */
#include "cmd/ssort/radix.h"
#include "cmd/ssort/ssort.h"
#include "libcore/base/memory.h"
#include "libcore/stage/stage.h"
#include "tests/support/tables.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CASES = 400, ROWS_MAX = 400, SORTED_MAX = 3 };

/* The stream: id int, k int, w timestamp (event time of some), then the columns that are sorted
 * by. */
enum { ID, KEY, AT, FIRST_SORTED };

struct column_order {
	bool descending, nulls_first;
};

struct test_case {
	struct sort_options o;
	char order[256];
	struct schema schema;
	struct batch_builder rows;         /* all that is ever sent, with ops */
	struct column_order orders[SORTED_MAX];
	uint32_t sorted;
	bool bounded, restores;
	int64_t watermark;                 /* sent last */

	/* The stage: */
	struct stage *stage;
	struct channel_writer *writers[2];
	struct buf out[2], snapshot;
	size_t read;                       /* bytes of out[0] */
	uint64_t sent, checkpoint;
	struct schema_set schemas;

	/* What came out: the rows, and the table that they describe. */
	char **found, **table;
	size_t found_len, found_cap, table_len, table_cap;
	bool changelog;
	size_t keys_len;
	uint64_t late;
};

/* ---- random input ---- */

static const enum type_kind sortable[] = {TYPE_BOOL, TYPE_INT, TYPE_FLOAT, TYPE_DECIMAL, TYPE_DATE,
	TYPE_TIMESTAMP, TYPE_DURATION, TYPE_STRING, TYPE_BYTES};

static void put_random_text(struct column_builder *b)
{
	static const char *const texts[] = {"", "a", "ab", "abcdefgh", "abcdefghi",
		"https://www.example.com/a/long/common/beginning/1",
		"https://www.example.com/a/long/common/beginning/2",
		"https://www.example.com/a/long/common/beginning/", "\xc3\xa9", "zz"};
	static const uint8_t odd[][4] = {{0}, {0, 0}, {0xff}, {0xff, 0xff}, {0, 0xff}, {0xff, 0},
		{1}, {0, 1}};
	const char *text = texts[random_below(sizeof texts / sizeof *texts)];

	if (b->type.kind == TYPE_BYTES && random_below(2))
		builder_put_text(b, odd[random_below(8)], 1 + random_below(3));
	else
		builder_put_text(b, text, strlen(text));
}

/* Few values, so that there are ties, and those at the ends of the type. */
static void put_random(struct column_builder *b)
{
	static const int64_t ints[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, 2, 300, INT64_MAX - 1,
		INT64_MAX};
	static const double floats[] = {-INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.5, INFINITY, NAN};
	uint32_t pick = random_below(9);

	if (random_below(6) == 0) {
		builder_put_null(b);
		return;
	}
	switch ((enum type_kind)b->type.kind) {
	case TYPE_BOOL: builder_put_bool(b, pick & 1); break;
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: builder_put_int(b, ints[pick]); break;
	case TYPE_FLOAT: builder_put_float(b, floats[pick & 7]); break;
	case TYPE_DECIMAL: builder_put_decimal(b, (__int128)ints[pick] * (pick & 1 ? 1 : 3)); break;
	case TYPE_DATE: builder_put_date(b, pick == 8 ? INT32_MAX : pick == 7 ? INT32_MIN :
		(int32_t)pick - 3); break;
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: put_random_text(b); break;
	}
}

static void make_columns(struct test_case *t)
{
	schema_init(&t->schema);
	schema_add(&t->schema, "id", 2, TYPE_OF(TYPE_INT));
	schema_add(&t->schema, "k", 1, TYPE_OF(TYPE_INT));
	schema_add(&t->schema, "w", 1, TYPE_OF(TYPE_TIMESTAMP));
	t->sorted = 1 + random_below(SORTED_MAX);
	for (uint32_t i = 0; i < t->sorted; i++) {
		char name[8];
		struct type type = TYPE_OF((uint8_t)sortable[random_below(
			sizeof sortable / sizeof *sortable)]);

		if (type.kind == TYPE_DECIMAL) {
			type.precision = DECIMAL_PRECISION_MAX;
			type.scale = 2;
		}
		schema_add(&t->schema, name, (size_t)snprintf(name, sizeof name, "s%u", i), type);
	}
}

static void make_order(struct test_case *t)
{
	size_t at = 0;

	for (uint32_t i = 0; i < t->sorted; i++) {
		struct column_order *o = &t->orders[i];
		uint32_t nulls = random_below(3);

		o->descending = random_below(2);
		o->nulls_first = nulls == 1 || (nulls == 0 && !o->descending);
		at += (size_t)snprintf(t->order + at, sizeof t->order - at, "%ss%u%s%s",
			i ? ", " : "", i, o->descending ? " desc" : random_below(2) ? " asc" : "",
			nulls == 1 ? " nulls first" : nulls == 2 ? " NULLS LAST" : "");
	}
	t->o.order = t->order;
	t->o.order_what = "order";
}

static void put_row(struct test_case *t, int64_t id, int64_t at_us, enum row_op op)
{
	uint8_t byte = (uint8_t)op;

	builder_put_int(&t->rows.columns[ID], id);
	if (random_below(8))
		builder_put_int(&t->rows.columns[KEY], random_below(5));
	else
		builder_put_null(&t->rows.columns[KEY]);
	builder_put_int(&t->rows.columns[AT], at_us);
	for (uint32_t i = 0; i < t->sorted; i++)
		put_random(&t->rows.columns[FIRST_SORTED + i]);
	if (t->schema.changelog)
		buf_put(&t->rows.ops, &byte, 1);
}

static void make_inserts(struct test_case *t, uint32_t n)
{
	batch_builder_init(&t->rows, &t->schema);
	for (uint32_t i = 0; i < n; i++)
		put_row(t, i, (int64_t)i / 4 + random_below(20), ROW_INSERT);
}

/* Appends a copy of an earlier row as another op. */
static void put_copy(struct test_case *t, uint32_t row, enum row_op op)
{
	uint8_t byte = (uint8_t)op;

	for (size_t i = 0; i < t->schema.fields_len; i++) {
		struct column_builder *b = &t->rows.columns[i];
		struct column c = builder_column(b);
		struct column_builder one;

		builder_init(&one, b->type); /* the column moves while it grows */
		builder_put_from(&one, &c, row);
		c = builder_column(&one);
		builder_put_from(b, &c, 0);
		builder_clear(&one);
	}
	buf_put(&t->rows.ops, &byte, 1);
}

static void row_text(const struct batch *b, uint32_t row, size_t columns, struct buf *out)
{
	buf_reset(out);
	for (size_t i = 0; i < columns; i++) {
		buf_put_text(out, i ? "|" : "");
		column_put_text(&b->columns[i], row, 1000, out);
	}
}

static bool same_row(struct test_case *t, uint32_t a, uint32_t b)
{
	struct buf x = BUF_INIT, y = BUF_INIT;
	bool same;

	row_text(batch_builder_view(&t->rows), a, t->schema.fields_len, &x);
	row_text(batch_builder_view(&t->rows), b, t->schema.fields_len, &y);
	same = x.len == y.len && !memcmp(x.data, y.data, x.len);
	buf_clear(&x);
	buf_clear(&y);
	return same;
}

/* Of equal rows the last is taken back. */
static uint32_t last_equal(struct test_case *t, const uint32_t *alive, uint32_t n, uint32_t at)
{
	uint32_t last = at;

	for (uint32_t i = at + 1; i < n; i++)
		last = same_row(t, alive[i], alive[at]) ? i : last;
	return last;
}

static bool same_key(const struct test_case *t, uint32_t a, uint32_t b)
{
	struct column k = builder_column(&t->rows.columns[KEY]);
	struct column w = builder_column(&t->rows.columns[AT]);

	if (!t->o.keys)
		return true;
	if (strchr(t->o.keys, 'w') && column_int(&w, a) != column_int(&w, b))
		return false;
	if (column_is_valid(&k, a) != column_is_valid(&k, b))
		return false;
	return !column_is_valid(&k, a) || column_int(&k, a) == column_int(&k, b);
}

static void to_end(uint32_t *rows, uint32_t n, uint32_t at)
{
	uint32_t x = rows[at];

	memmove(rows + at, rows + at + 1, (n - at - 1) * sizeof *rows);
	rows[n - 1] = x;
}

/* Inserts, updates and deletes; alive: the rows that are left, in the order of their places. */
static void make_changes(struct test_case *t, uint32_t n, uint32_t *alive, uint32_t *alive_len)
{
	bool keyed = t->schema.keys_len > 0;
	int64_t id = 0;

	*alive_len = 0;
	batch_builder_init(&t->rows, &t->schema);
	while (t->rows.columns[ID].rows < n) {
		uint32_t what = random_below(10), at = *alive_len ? random_below(*alive_len) : 0;

		if (what < 5 || !*alive_len) {
			alive[(*alive_len)++] = t->rows.columns[ID].rows;
			/* Equal rows, where nothing identifies one. */
			if (!keyed && what == 0 && *alive_len > 1)
				put_copy(t, alive[at], ROW_INSERT);
			else
				put_row(t, id++, 0, ROW_INSERT);
			continue;
		}
		at = last_equal(t, alive, *alive_len, at);
		if (what < 8) {
			uint32_t old = alive[at];
			struct column c = builder_column(&t->rows.columns[ID]);
			int64_t same = column_int(&c, old);

			put_copy(t, old, ROW_UPDATE_BEFORE);
			put_row(t, same, 0, ROW_UPDATE_AFTER);
			alive[at] = t->rows.columns[ID].rows - 1;
			if (!same_key(t, old, alive[at])) /* it arrives at its new key */
				to_end(alive, *alive_len, at);
		} else {
			put_copy(t, alive[at], ROW_DELETE);
			memmove(alive + at, alive + at + 1, (--*alive_len - at) * sizeof *alive);
		}
	}
}

/* ---- the model ---- */

static int sign_of(bool less, bool more)
{
	return more - less;
}

static int compare_values(const struct column *c, uint32_t a, uint32_t b)
{
	if (type_is_text(c->type)) {
		struct text_view x = column_text(c, a), y = column_text(c, b);
		int way = memcmp(x.text ? x.text : "", y.text ? y.text : "",
			x.len < y.len ? x.len : y.len);

		return way ? way : sign_of(x.len < y.len, x.len > y.len);
	}
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: return column_bool(c, a) - column_bool(c, b);
	case TYPE_DATE: return sign_of(column_date(c, a) < column_date(c, b),
		column_date(c, a) > column_date(c, b));
	case TYPE_DECIMAL: return sign_of(column_decimal(c, a) < column_decimal(c, b),
		column_decimal(c, a) > column_decimal(c, b));
	case TYPE_FLOAT:
		if (isnan(column_float(c, a)) || isnan(column_float(c, b)))
			return !!isnan(column_float(c, a)) - !!isnan(column_float(c, b));
		return sign_of(column_float(c, a) < column_float(c, b),
			column_float(c, a) > column_float(c, b));
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return sign_of(column_int(c, a) < column_int(c, b), column_int(c, a) > column_int(c, b));
}

static int compare_rows(const struct test_case *t, uint32_t a, uint32_t b)
{
	for (uint32_t i = 0; t->o.order && i < t->sorted; i++) {
		struct column c = builder_column(&t->rows.columns[FIRST_SORTED + i]);
		bool x = column_is_valid(&c, a), y = column_is_valid(&c, b);
		int way;

		if (!x && !y)
			continue;
		if (!x || !y)
			return x == t->orders[i].nulls_first ? 1 : -1;
		way = compare_values(&c, a, b);
		if (way)
			return t->orders[i].descending ? -way : way;
	}
	return 0;
}

/* Stable: insertion sort of row numbers. */
static void sort_rows(const struct test_case *t, uint32_t *rows, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		uint32_t x = rows[i], at = i;

		for (; at && compare_rows(t, rows[at - 1], x) > 0; at--)
			rows[at] = rows[at - 1];
		rows[at] = x;
	}
}

static void append(char ***list, size_t *len, size_t *cap, const char *text)
{
	MEM_GROW(*list, *cap, *len + 1);
	(*list)[(*len)++] = mem_strdup(text);
}

struct expected {
	char **rows;
	size_t len, cap;
};

static void expect_row(struct test_case *t, uint32_t row, int64_t number, struct expected *x)
{
	struct buf text = BUF_INIT;

	row_text(batch_builder_view(&t->rows), row, t->schema.fields_len, &text);
	if (t->o.number)
		buf_printf(&text, "|%lld", (long long)number);
	append(&x->rows, &x->len, &x->cap, buf_cstr(&text));
	buf_clear(&text);
}

/* The rows of one group, in order, as far as they are shown. */
static void expect_group(struct test_case *t, uint32_t *rows, uint32_t n, struct expected *x)
{
	int64_t rank = 0;

	sort_rows(t, rows, n);
	for (uint32_t i = 0; i < n; i++) {
		bool tie = i && t->o.ties && compare_rows(t, rows[i], rows[i - 1]) == 0;

		if (t->o.limit && i >= t->o.limit && !tie)
			return;
		rank = tie ? rank : (int64_t)i + 1;
		expect_row(t, rows[i], rank, x);
	}
}

/* Groups in order of `first`, the rows by which their keys appeared. */
static void expect_groups(struct test_case *t, const uint32_t *rows, uint32_t n,
	const uint32_t *first, uint32_t first_len, struct expected *x)
{
	uint32_t *group = mem_alloc((n + (size_t)1) * sizeof *group);

	for (uint32_t f = 0; f < first_len; f++) {
		uint32_t len = 0;
		bool again = false;

		for (uint32_t i = 0; i < f; i++)
			again |= same_key(t, first[i], first[f]);
		if (again)
			continue;
		for (uint32_t i = 0; i < n; i++) {
			if (same_key(t, rows[i], first[f]))
				group[len++] = rows[i];
		}
		expect_group(t, group, len, x);
	}
	mem_free(group);
}

static void expected_clear(struct expected *x)
{
	for (size_t i = 0; i < x->len; i++)
		mem_free(x->rows[i]);
	mem_free(x->rows);
	*x = (struct expected){.rows = NULL};
}

/* ---- a stage, fed and read ---- */

static void must_work(int status, const struct error *e)
{
	if (status < 0)
		fail_msg("%s", e->text);
}

static void feed(struct test_case *t, const struct buf *bytes)
{
	struct error e = ERROR_INIT;
	size_t at = 0;

	while (at < bytes->len) {
		const uint8_t *p = bytes->data + at;
		uint32_t len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 |
			(uint32_t)p[3] << 8 | p[4];
		struct frame f = {.kind = p[5], .body = p + FRAME_HEADER_BYTES, .body_bytes = len};

		must_work(stage_take(t->stage, 0, &f, &e), &e);
		at += FRAME_HEADER_BYTES + len;
	}
}

static int keep_snapshot(void *context, struct stage *st, const struct barrier *b,
	const struct buf *handle, struct error *e)
{
	struct test_case *t = context;
	struct channel_writer *w;
	int status;

	buf_reset(&t->snapshot);
	w = channel_writer_new_memory(&t->snapshot);
	status = stage_snapshot(st, w, e);
	channel_writer_free(w);
	return status;
}

static void open_stage(struct test_case *t)
{
	static const unsigned inputs[] = {0};
	struct hello hello = {.version = FRAME_VERSION, .stage = "test", .bounded = t->bounded};
	struct stage_output_plan outputs[2] = {{.writers = &t->writers[0], .writers_len = 1},
		{.writers = &t->writers[1], .writers_len = 1}};
	struct stage_plan plan = {.name = "ssort", .subtasks = 1, .channel_inputs = inputs,
		.channels_len = 1, .outputs = outputs,
		.hooks = {.context = t, .checkpoint = keep_snapshot}};
	struct operator *op;
	struct error e = ERROR_INIT;
	struct buf b = BUF_INIT;

	for (int i = 0; i < 2; i++) {
		buf_reset(&t->out[i]);
		t->writers[i] = channel_writer_new_memory(&t->out[i]);
	}
	t->read = 0;
	t->sent = 0;
	must_work(sort_operator_new(&t->o, &op, &e), &e);
	t->stage = stage_new(&plan, op);
	if (t->snapshot.len) {
		struct channel_reader *r = channel_reader_new_memory(t->snapshot.data,
			t->snapshot.len, "snapshot");

		must_work(stage_restore(t->stage, &r, 1, &e), &e);
		channel_reader_free(r);
	}
	frame_put_hello(&b, &hello);
	frame_put_schema(&b, 1, &t->schema);
	feed(t, &b);
	buf_clear(&b);
}

static size_t find_text(char **list, size_t len, const char *text)
{
	size_t at = 0;

	while (at < len && strcmp(list[at], text) != 0)
		at++;
	return at;
}

static void apply(struct test_case *t, enum row_op op, const char *text)
{
	size_t at;

	if (op == ROW_INSERT || op == ROW_UPDATE_AFTER) {
		append(&t->table, &t->table_len, &t->table_cap, text);
		return;
	}
	at = find_text(t->table, t->table_len, text);
	if (at == t->table_len)
		fail_msg("takes back a row that isn't there: %s", text);
	mem_free(t->table[at]);
	t->table[at] = t->table[--t->table_len];
}

static void read_rows(struct test_case *t, const struct batch *b)
{
	struct buf text = BUF_INIT, last = BUF_INIT;

	t->changelog = b->ops != NULL;
	t->keys_len = b->schema->keys_len;
	for (uint32_t r = 0; r < b->rows; r++) {
		enum row_op op = b->ops ? b->ops[r] : ROW_INSERT;

		row_text(b, r, b->schema->fields_len, &text);
		append(&t->found, &t->found_len, &t->found_cap, buf_cstr(&text));
		apply(t, op, buf_cstr(&text));
		if (op == ROW_UPDATE_BEFORE)
			assert_true(r + 1 < b->rows && b->ops[r + 1] == ROW_UPDATE_AFTER);
		if (op == ROW_UPDATE_AFTER) {
			assert_true(r > 0 && b->ops[r - 1] == ROW_UPDATE_BEFORE);
			assert_string_not_equal(buf_cstr(&text), buf_cstr(&last));
		}
		buf_reset(&last);
		buf_put(&last, text.data, text.len);
	}
	buf_clear(&text);
	buf_clear(&last);
}

/* Takes in what the stage has written since. */
static void read_output(struct test_case *t)
{
	struct error e = ERROR_INIT;
	struct channel_reader *r;
	struct arena arena = ARENA_INIT;
	const struct schema *s;
	struct frame f;
	struct batch b;
	uint32_t id;

	must_work(stage_idle(t->stage, &e), &e);
	r = channel_reader_new_memory(t->out[0].data, t->out[0].len, "output");
	for (size_t n = 0; channel_read(r, true, &f, &e) == CHANNEL_FRAME; n++) {
		if (n < t->read)
			continue;
		t->read = n + 1;
		if (f.kind == FRAME_SCHEMA) {
			must_work(schema_set_declare(&t->schemas, &f, &s, &e), &e);
		} else if (f.kind == FRAME_BATCH) {
			must_work(frame_read_schema_id(&f, &id, &e), &e);
			s = schema_set_find(&t->schemas, id);
			must_work(frame_read_batch(&f, s, true, &arena, &b, &e), &e);
			read_rows(t, &b);
		}
	}
	assert_int_equal(e.code, ERROR_NONE);
	channel_reader_free(r);
	arena_clear(&arena);
}

static void close_stage(struct test_case *t)
{
	read_output(t);
	t->late += stage_metrics(t->stage).late;
	schema_set_clear(&t->schemas);
	stage_free(t->stage);
	channel_writer_free(t->writers[0]);
	channel_writer_free(t->writers[1]);
}

static void restart(struct test_case *t)
{
	struct barrier barrier = {.checkpoint = ++t->checkpoint};
	struct buf b = BUF_INIT;

	frame_put_barrier(&b, &barrier);
	feed(t, &b);
	close_stage(t);
	t->checkpoint = 0;
	open_stage(t);
	buf_clear(&b);
}

/* Rows [first, first + n), which may be none. */
static void send_rows(struct test_case *t, uint32_t first, uint32_t n)
{
	struct arena arena = ARENA_INIT;
	struct buf b = BUF_INIT;
	struct batch part;

	batch_slice(batch_builder_view(&t->rows), first, n, &arena, &part);
	if (n)
		frame_put_batch(&b, 1, &part);
	t->sent += n;
	feed(t, &b);
	buf_clear(&b);
	arena_clear(&arena);
}

static void send_watermark(struct test_case *t, int64_t us)
{
	struct buf b = BUF_INIT;

	frame_put_watermark(&b, us);
	t->watermark = us;
	feed(t, &b);
	buf_clear(&b);
}

static void send_end(struct test_case *t)
{
	struct buf b = BUF_INIT;

	frame_put_watermark(&b, WATERMARK_FINAL);
	frame_put_end(&b, t->sent);
	feed(t, &b);
	buf_clear(&b);
	close_stage(t);
}

/* How many rows from `first` on go into a batch: an update's two stay together. */
static uint32_t part_of(const struct test_case *t, uint32_t first, uint32_t most)
{
	uint32_t all = t->rows.columns[ID].rows, n = 1 + random_below(most);

	if (n > all - first)
		n = all - first;
	if (t->schema.changelog && t->rows.ops.data[first + n - 1] == ROW_UPDATE_BEFORE)
		n++;
	return n;
}

static void send_all(struct test_case *t)
{
	uint32_t all = t->rows.columns[ID].rows, most = random_below(3) ? 40 : 400;

	open_stage(t);
	for (uint32_t first = 0, n; first < all; first += n) {
		n = part_of(t, first, most);
		send_rows(t, first, n);
		if (t->restores && random_below(6) == 0)
			restart(t);
	}
	send_end(t);
}

/* ---- comparing ---- */

static void compare_sequence(const struct test_case *t, const struct expected *x)
{
	for (size_t i = 0; i < x->len && i < t->found_len; i++) {
		if (strcmp(t->found[i], x->rows[i]) != 0)
			fail_msg("order '%s': row %zu is\n%s\nnot\n%s",
				t->o.order ? t->o.order : "-", i, t->found[i], x->rows[i]);
	}
	if (t->found_len != x->len)
		fail_msg("%zu rows, not %zu", t->found_len, x->len);
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void compare_table(struct test_case *t, struct expected *x)
{
	if (x->len)
		qsort(x->rows, x->len, sizeof *x->rows, compare_texts);
	if (t->table_len)
		qsort(t->table, t->table_len, sizeof *t->table, compare_texts);
	for (size_t i = 0; i < x->len && i < t->table_len; i++) {
		if (strcmp(t->table[i], x->rows[i]) != 0)
			fail_msg("order '%s' -n %lld: the table has\n%s\nnot\n%s",
				t->o.order ? t->o.order : "-", (long long)t->o.limit, t->table[i],
				x->rows[i]);
	}
	if (t->table_len != x->len)
		fail_msg("%zu rows in the table, not %zu", t->table_len, x->len);
}

static void case_clear(struct test_case *t)
{
	batch_builder_clear(&t->rows);
	schema_clear(&t->schema);
	buf_clear(&t->out[0]);
	buf_clear(&t->out[1]);
	buf_clear(&t->snapshot);
	for (size_t i = 0; i < t->found_len; i++)
		mem_free(t->found[i]);
	for (size_t i = 0; i < t->table_len; i++)
		mem_free(t->table[i]);
	mem_free(t->found);
	mem_free(t->table);
	mem_free(t);
}

static struct test_case *case_new(void)
{
	struct test_case *t = mem_zero(sizeof *t);

	t->bounded = true;
	t->restores = random_below(2);
	t->o.temporary = "/tmp";
	make_columns(t);
	return t;
}

static void number_rows(uint32_t *rows, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		rows[i] = i;
}

/* ---- everything sorted ---- */

static void all_rows_come_in_order_whatever_the_memory(void **state)
{
	static const int64_t memory[] = {0, 1, 16 << 10, 100 << 10, 64 << 20};

	random_seed(1);
	for (int i = 0; i < CASES; i++) {
		struct test_case *t = case_new();
		struct expected x = {.rows = NULL};
		uint32_t rows[ROWS_MAX], n = random_below(ROWS_MAX);

		make_order(t);
		make_inserts(t, n);
		t->o.sort_bytes = memory[random_below(5)];
		t->o.number = random_below(2) ? "n" : NULL;
		send_all(t);
		number_rows(rows, n);
		expect_group(t, rows, n, &x);
		compare_sequence(t, &x);
		expected_clear(&x);
		case_clear(t);
	}
}

static void a_changelog_with_an_end_is_sorted_as_its_final_table(void **state)
{
	random_seed(2);
	for (int i = 0; i < CASES; i++) {
		struct test_case *t = case_new();
		struct expected x = {.rows = NULL};
		uint32_t alive[ROWS_MAX + 2], n;

		t->schema.changelog = true;
		if (random_below(2))
			schema_set_keys(&t->schema, (int[]){ID}, 1);
		make_order(t);
		make_changes(t, random_below(ROWS_MAX), alive, &n);
		send_all(t);
		assert_false(t->changelog);
		expect_group(t, alive, n, &x);
		compare_sequence(t, &x);
		expected_clear(&x);
		case_clear(t);
	}
}

/* ---- the first rows ---- */

static void choose_top(struct test_case *t)
{
	static const int64_t limits[] = {1, 1, 2, 3, 10, 1000};

	if (random_below(8) || !t->schema.changelog) /* else by arrival */
		make_order(t);
	t->o.limit = limits[random_below(6)];
	t->o.ties = t->o.order && random_below(3) == 0;
	t->o.number = random_below(2) ? "n" : NULL;
	t->o.keys = random_below(3) ? "k" : NULL;
	t->o.keys_what = "-k";
}

static void the_first_rows_of_a_stream_with_an_end_come_at_its_end(void **state)
{
	random_seed(3);
	for (int i = 0; i < CASES; i++) {
		struct test_case *t = case_new();
		struct expected x = {.rows = NULL};
		uint32_t rows[ROWS_MAX], n = random_below(ROWS_MAX);

		choose_top(t);
		make_inserts(t, n);
		send_all(t);
		number_rows(rows, n);
		expect_groups(t, rows, n, rows, n, &x);
		compare_sequence(t, &x);
		expected_clear(&x);
		case_clear(t);
	}
}

/* The table behind what comes out is right after every batch. */
static void the_first_rows_of_an_endless_stream_are_a_changelog(void **state)
{
	random_seed(4);
	for (int i = 0; i < CASES; i++) {
		struct test_case *t = case_new();
		uint32_t rows[ROWS_MAX], n = random_below(ROWS_MAX);

		t->bounded = false;
		choose_top(t);
		make_inserts(t, n);
		number_rows(rows, n);
		open_stage(t);
		for (uint32_t first = 0, part; first < n; first += part) {
			struct expected x = {.rows = NULL};

			part = part_of(t, first, 30);
			send_rows(t, first, part);
			if (t->restores && random_below(6) == 0)
				restart(t);
			else
				read_output(t);
			expect_groups(t, rows, first + part, rows, first + part, &x);
			compare_table(t, &x);
			assert_true(t->changelog);
			expected_clear(&x);
		}
		send_end(t);
		case_clear(t);
	}
}

/* The rows by which keys appeared, since they last had no row. */
static uint32_t appearances(const struct test_case *t, uint32_t *first)
{
	uint32_t all = t->rows.columns[ID].rows, n = 0;

	for (uint32_t r = 0; r < all; r++) {
		enum row_op op = t->rows.ops.data[r];
		int64_t rows = 0;
		uint32_t at = 0;

		if (op == ROW_INSERT || (op == ROW_UPDATE_AFTER && !same_key(t, r, r - 1))) {
			first[n++] = r; /* those behind an equal key count for nothing */
			continue;
		}
		if (op == ROW_UPDATE_AFTER || (op == ROW_UPDATE_BEFORE && same_key(t, r, r + 1)))
			continue;
		for (uint32_t i = 0; i <= r; i++) {
			bool added = t->rows.ops.data[i] == ROW_INSERT ||
				t->rows.ops.data[i] == ROW_UPDATE_AFTER;

			rows += same_key(t, i, r) ? added ? 1 : -1 : 0;
		}
		for (uint32_t i = 0; i < n; i++) {
			if (rows || !same_key(t, first[i], r))
				first[at++] = first[i];
		}
		n = at;
	}
	return n;
}

static void the_first_rows_of_a_changelog(void **state)
{
	random_seed(5);
	for (int i = 0; i < CASES; i++) {
		struct test_case *t = case_new();
		struct expected x = {.rows = NULL};
		uint32_t alive[ROWS_MAX + 2], n, rows[ROWS_MAX + 2];

		t->schema.changelog = true;
		t->bounded = random_below(2);
		if (random_below(2))
			schema_set_keys(&t->schema, (int[]){ID}, 1);
		choose_top(t);
		make_changes(t, random_below(ROWS_MAX), alive, &n);
		send_all(t);
		expect_groups(t, alive, n, rows, appearances(t, rows), &x);
		if (t->bounded)
			compare_sequence(t, &x);
		compare_table(t, &x);
		expected_clear(&x);
		case_clear(t);
	}
}

static void without_an_order_the_first_rows_pass_as_they_come(void **state)
{
	random_seed(6);
	for (int i = 0; i < CASES / 4; i++) {
		struct test_case *t = case_new();
		struct expected x = {.rows = NULL};
		uint32_t n = random_below(ROWS_MAX);

		choose_top(t);
		t->o.order = NULL;
		t->o.ties = false;
		t->bounded = random_below(2);
		make_inserts(t, n);
		send_all(t);
		for (uint32_t r = 0; r < n; r++) {
			int64_t before = 0;

			for (uint32_t k = 0; k < r; k++)
				before += same_key(t, k, r);
			if (before < t->o.limit)
				expect_row(t, r, before + 1, &x);
		}
		compare_sequence(t, &x);
		assert_false(t->changelog);
		expected_clear(&x);
		case_clear(t);
	}
}

/* ---- time ---- */

/* Sends all rows with watermarks between; the rows that are in time, by row number. */
static uint32_t send_with_time(struct test_case *t, uint32_t *in_time)
{
	struct column at = builder_column(&t->rows.columns[AT]);
	uint32_t all = t->rows.columns[ID].rows, n = 0;
	int64_t greatest = 0;

	t->watermark = WATERMARK_NONE;
	open_stage(t);
	for (uint32_t first = 0, part; first < all; first += part) {
		part = part_of(t, first, 30);
		for (uint32_t r = first; r < first + part; r++) {
			if (column_int(&at, r) > t->watermark)
				in_time[n++] = r;
			greatest = column_int(&at, r) > greatest ? column_int(&at, r) : greatest;
		}
		send_rows(t, first, part);
		if (greatest - 12 > t->watermark && random_below(2))
			send_watermark(t, greatest - 12);
		if (t->restores && random_below(6) == 0)
			restart(t);
	}
	send_end(t);
	return n;
}

static void by_time(uint32_t *rows, uint32_t n, const struct column *at)
{
	for (uint32_t i = 1; i < n; i++) {
		uint32_t x = rows[i], place = i;

		for (; place && column_int(at, rows[place - 1]) > column_int(at, x); place--)
			rows[place] = rows[place - 1];
		rows[place] = x;
	}
}

static void a_stream_is_put_in_the_order_of_its_event_time(void **state)
{
	random_seed(7);
	for (int i = 0; i < CASES; i++) {
		struct test_case *t = case_new();
		struct expected x = {.rows = NULL};
		uint32_t rows[ROWS_MAX], n;
		struct column at;

		t->o.by_time = true;
		t->o.late_output = true;
		t->bounded = random_below(2);
		t->schema.time_column = AT;
		make_inserts(t, random_below(ROWS_MAX));
		n = send_with_time(t, rows);
		at = builder_column(&t->rows.columns[AT]);
		by_time(rows, n, &at);
		for (uint32_t r = 0; r < n; r++)
			expect_row(t, rows[r], 0, &x);
		compare_sequence(t, &x);
		assert_int_equal(t->late, t->rows.columns[ID].rows - n);
		expected_clear(&x);
		case_clear(t);
	}
}

static void groups_with_the_event_time_close_as_the_watermark_passes(void **state)
{
	random_seed(8);
	for (int i = 0; i < CASES; i++) {
		struct test_case *t = case_new();
		struct expected x = {.rows = NULL};
		uint32_t rows[ROWS_MAX], first[ROWS_MAX], n;
		struct column at;

		choose_top(t);
		t->o.keys = "k, w";
		t->bounded = random_below(2);
		t->schema.time_column = AT;
		make_inserts(t, random_below(ROWS_MAX));
		n = send_with_time(t, rows);
		memcpy(first, rows, n * sizeof *first);
		at = builder_column(&t->rows.columns[AT]);
		by_time(first, n, &at);
		expect_groups(t, rows, n, first, n, &x);
		assert_false(t->changelog);
		compare_sequence(t, &x);
		assert_int_equal(t->late, t->rows.columns[ID].rows - n);
		expected_clear(&x);
		case_clear(t);
	}
}

/* ---- parts ---- */

static void radix_sort_is_stable(void **state)
{
	random_seed(9);
	for (int i = 0; i < 300; i++) {
		uint32_t n = random_below(i % 2 ? 60 : 3000);
		uint64_t mask = random_word() >> random_below(64);
		struct sort_entry *entries = mem_alloc((n + (size_t)1) * 2 * sizeof *entries);

		for (uint32_t k = 0; k < n; k++)
			entries[k] = (struct sort_entry){.key = random_word() & mask, .place = k};
		radix_sort(entries, entries + n, n);
		for (uint32_t k = 1; k < n; k++)
			assert_true(entries[k - 1].key < entries[k].key ||
				(entries[k - 1].key == entries[k].key &&
				entries[k - 1].place < entries[k].place));
		mem_free(entries);
	}
}

/* ---- what is refused ---- */

static void refuses(struct test_case *t, const char *said)
{
	static const unsigned inputs[] = {0};
	struct stage_output_plan outputs[2] = {{0}};
	struct stage_plan plan = {.name = "ssort", .subtasks = 1, .channel_inputs = inputs,
		.channels_len = 1, .outputs = outputs};
	struct error e = ERROR_INIT;
	struct operator *op;
	struct stage *st;
	struct buf b = BUF_INIT;
	struct hello hello = {.version = FRAME_VERSION, .stage = "swindow", .bounded = t->bounded};

	if (sort_operator_new(&t->o, &op, &e) == 0) {
		size_t at = 0;
		int status = 0;

		st = stage_new(&plan, op);
		frame_put_hello(&b, &hello);
		frame_put_schema(&b, 1, &t->schema);
		while (at < b.len && status == 0) {
			const uint8_t *p = b.data + at;
			uint32_t len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 |
				(uint32_t)p[3] << 8 | p[4];
			struct frame f = {.kind = p[5], .body = p + FRAME_HEADER_BYTES,
				.body_bytes = len};

			status = stage_take(st, 0, &f, &e);
			at += FRAME_HEADER_BYTES + len;
		}
		stage_free(st);
		assert_int_equal(status, -1);
	}
	assert_int_equal(e.code, ERROR_USAGE);
	if (!strstr(e.text, said))
		fail_msg("said: %s", e.text);
	buf_clear(&b);
	case_clear(t);
}

static struct test_case *refused(const char *order)
{
	struct test_case *t = case_new();

	t->o.order = order;
	t->o.order_what = "order";
	t->o.keys_what = "-k";
	return t;
}

static void wrong_input_is_refused_with_its_place(void **state)
{
	struct test_case *t;

	random_seed(10);
	refuses(refused("x desc"), "order:1:1: the input has no column 'x'");
	refuses(refused("id descending"), "expected ',', asc, desc, nulls or the end");
	refuses(refused("id nulls"), "expected first or last");
	refuses(refused("id, "), "expected a value");
	t = refused("id, a");
	schema_add(&t->schema, "a", 1, TYPE_OF(TYPE_ANY));
	refuses(t, "order:1:5: type any has no order");
	t = refused("id");
	t->bounded = false;
	refuses(t, "swindow has no end");
	t = refused("id");
	t->o.limit = 1;
	t->o.keys = "kk";
	refuses(t, "-k:1:1: the input has no column 'kk'");
	t = refused("id");
	t->o.number = "k";
	refuses(t, "the input has a column 'k' already");
	t = refused(NULL);
	t->o.by_time = true;
	refuses(t, "the rows of swindow have no event time");
	t = refused(NULL);
	t->o.by_time = true;
	t->schema.time_column = AT;
	t->schema.changelog = true;
	refuses(t, "--by-time takes no changelog, and swindow sends one");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_input_is_refused_with_its_place),
		cmocka_unit_test(radix_sort_is_stable),
		cmocka_unit_test(all_rows_come_in_order_whatever_the_memory),
		cmocka_unit_test(a_changelog_with_an_end_is_sorted_as_its_final_table),
		cmocka_unit_test(the_first_rows_of_a_stream_with_an_end_come_at_its_end),
		cmocka_unit_test(the_first_rows_of_an_endless_stream_are_a_changelog),
		cmocka_unit_test(the_first_rows_of_a_changelog),
		cmocka_unit_test(without_an_order_the_first_rows_pass_as_they_come),
		cmocka_unit_test(a_stream_is_put_in_the_order_of_its_event_time),
		cmocka_unit_test(groups_with_the_event_time_close_as_the_watermark_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
