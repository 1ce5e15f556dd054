/* Several subtasks read what one would: the division by itself, then readers that stop anywhere and
 * go on as any other number of subtasks. */
#include "cmd/ssource/lanes.h"
#include "cmd/ssource/positions.h"
#include "cmd/ssource/split.h"
#include "libcore/base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SEEDS = 400, SUBTASKS_MAX = 7, FILES_MAX = 5, ROUNDS_MAX = 5, LINES_MAX = 300 };

static uint64_t random_state;

static uint64_t draw(uint64_t below) /* splitmix64 */
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return below ? (z ^ z >> 31) % below : 0;
}

/* ---- the division ---- */

static void check_division(const struct split_item *items, size_t n, uint32_t subtasks, uint64_t min)
{
	uint64_t taken[32] = {0}, total = 0, largest_whole = 0;
	uint32_t pieces_of[32] = {0};
	struct split_piece pieces[32];

	for (size_t i = 0; i < n; i++) {
		total += items[i].bytes;
		if (!items[i].can_cut && items[i].bytes > largest_whole)
			largest_whole = items[i].bytes;
	}
	for (uint32_t k = 0; k < subtasks; k++) {
		struct split_way way = {k, subtasks, min};
		size_t len = split_share(items, n, way, pieces);
		uint64_t load = 0;

		for (size_t p = 0; p < len; p++) {
			const struct split_item *item = &items[pieces[p].item];
			uint64_t bytes = pieces[p].to - pieces[p].from;

			assert_true(!p || pieces[p - 1].item < pieces[p].item);
			/* Cut pieces are dealt in order: the next begins where the last ended. */
			assert_int_equal(pieces[p].from, taken[pieces[p].item]);
			assert_true(bytes == item->bytes || (item->can_cut && bytes >= min));
			taken[pieces[p].item] = pieces[p].to;
			pieces_of[pieces[p].item]++;
			load += bytes;
		}
		assert_true(load <= total / subtasks + 1 + largest_whole + (subtasks + 1) * min);
	}
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(taken[i], items[i].bytes);
		assert_true(pieces_of[i] == 1 || (items[i].can_cut && pieces_of[i] > 1));
	}
}

static void every_byte_is_one_subtasks_and_no_piece_is_too_small(void **state)
{
	for (uint64_t seed = 1; seed <= 5000; seed++) {
		struct split_item items[32];
		size_t n = (random_state = seed, draw(32));
		uint64_t most = UINT64_C(1) << draw(30);

		for (size_t i = 0; i < n; i++)
			items[i] = (struct split_item){
				draw(4) ? draw(most) : 0, seed % 3 ? draw(2) : true};
		check_division(items, n, 1 + (uint32_t)draw(9), 1 + draw(draw(2) ? 10 : most));
	}
}

static void one_file_is_cut_evenly_and_whole_ones_are_evened_out_by_it(void **state)
{
	struct split_item items[] = {{1000, true}, {700, false}, {100, false}, {600, true}};
	struct split_piece pieces[4];

	/* 2400 bytes in 3: the whole ones are 700 and 100, what can be cut fills up to 800. */
	assert_int_equal(split_share(items, 4, (struct split_way){0, 3, 10}, pieces), 2);
	assert_int_equal(pieces[0].to, 100);
	assert_int_equal(pieces[1].item, 1);
	assert_int_equal(split_share(items, 4, (struct split_way){1, 3, 10}, pieces), 2);
	assert_int_equal(pieces[0].from, 100);
	assert_int_equal(pieces[0].to, 800);
	assert_int_equal(pieces[1].item, 2);
	assert_int_equal(split_share(items, 4, (struct split_way){2, 3, 10}, pieces), 2);
	assert_int_equal(pieces[0].from, 800);
	assert_int_equal(pieces[1].to, 600);
}

static void a_small_file_is_not_cut_and_the_others_have_nothing(void **state)
{
	struct split_item item = {1000, true};
	struct split_piece pieces[1];

	assert_int_equal(split_share(&item, 1, (struct split_way){0, 3, 1 << 20}, pieces), 1);
	assert_int_equal(pieces[0].to, 1000);
	assert_int_equal(split_share(&item, 1, (struct split_way){1, 3, 1 << 20}, pieces), 0);
	assert_int_equal(split_share(&item, 1, (struct split_way){2, 3, 1 << 20}, pieces), 0);
}

/* ---- lanes ---- */

enum { EVENTS = 12345 };

/* Takes some events of a subtask's lanes; those of one subtask come in their order. */
static void take_events(struct lanes *l, uint8_t *seen, unsigned steps)
{
	struct lane *lane;
	uint64_t last = 0;

	for (; steps && (lane = lanes_least(l)) && lane->event < EVENTS; steps--) {
		uint64_t until = lane_until(lane) < EVENTS ? lane_until(lane) : EVENTS;
		uint64_t to = lane->event + 1 + draw(until - lane->event);

		assert_true(lane->event >= last);
		for (uint64_t n = lane->event; n < to; n++)
			assert_int_equal(seen[n]++, 0);
		last = to;
		lane_advance(lane, to);
	}
}

static void every_event_is_taken_once_however_often_lanes_are_dealt_anew(void **state)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		uint8_t seen[EVENTS] = {0};
		struct lanes all = LANES_INIT;
		unsigned rounds = (random_state = seed, 1 + (unsigned)draw(ROUNDS_MAX));

		lanes_begin(&all, 1 + (uint32_t)draw(SUBTASKS_MAX));
		for (unsigned round = 1; round <= rounds; round++) {
			uint32_t subtasks = 1 + (uint32_t)draw(SUBTASKS_MAX);
			struct lanes left = LANES_INIT;

			for (uint32_t k = 0; k < subtasks; k++) {
				struct lanes own = LANES_INIT;

				for (size_t i = 0; i < all.len; i++)
					lanes_add(&own, all.items[i]);
				lanes_share(&own, k, subtasks);
				assert_true(own.len > 0);
				take_events(&own, seen,
					round == rounds ? EVENTS : (unsigned)draw(30));
				for (size_t i = 0; i < own.len; i++)
					lanes_add(&left, own.items[i]);
				lanes_clear(&own);
			}
			lanes_clear(&all);
			all = left;
		}
		for (size_t n = 0; n < EVENTS; n++)
			assert_int_equal(seen[n], 1);
		lanes_clear(&all);
	}
}

/* ---- files ---- */

static char directory[] = "/tmp/split_test.XXXXXX";
static char paths[FILES_MAX][64];
static const char *inputs[FILES_MAX];

struct kind {
	const char *format, *schema;
	bool header;
};

static const struct kind kinds[] = {
	{"csv", "id int, text string", true},
	{"csv", "c1 int, c2 string", false},
	{"tsv", "id int, text string", true},
	{"ndjson", "id int, text string", false},
	{"lines", "line string", false},
};

static void put_text(struct buf *out)
{
	static const char *const texts[] = {"", "a", "b c", "\xc3\xa4\xc3\xb6", "12", "long"};
	const char *text = texts[draw(6)];

	buf_put_text(out, text);
	if (strcmp(text, "long") == 0) {
		size_t n = draw(20) ? draw(100) : 300000 + draw(300000);

		memset(buf_reserve(out, n), 'x', n);
		out->len += n;
	}
}

static void put_record(struct buf *out, const struct kind *k, unsigned id)
{
	bool bad = !draw(40), csv = strcmp(k->format, "csv") == 0;

	if (strcmp(k->format, "lines") == 0) {
		buf_printf(out, "%u ", id);
		put_text(out);
		if (bad)
			buf_put_byte(out, 0xff);
		return;
	}
	if (strcmp(k->format, "ndjson") == 0) {
		buf_printf(out, draw(3) ? "{\"id\":%u,\"text\":\"" : "{ \"id\": %u, \"text\": \"", id);
		put_text(out);
		buf_put_text(out, bad ? "\"" : "\"}");
		return;
	}
	buf_printf(out, bad ? "x%u" : "%u", id);
	buf_put_byte(out, csv ? ',' : '\t');
	if (draw(3)) {
		put_text(out);
		return;
	}
	buf_put_text(out, "\"quoted, \"\" ");
	put_text(out);
	buf_put_text(out, draw(30) ? "\"" : "never closed");
}

static void make_file(const char *path, const struct kind *k)
{
	struct buf text = BUF_INIT;
	const char *newline = draw(3) ? "\n" : "\r\n";
	unsigned lines = draw(5) ? (unsigned)draw(LINES_MAX) : (unsigned)draw(3);
	FILE *f = fopen(path, "w");

	if (!draw(4))
		buf_put_text(&text, "\xef\xbb\xbf");
	if (!draw(4))
		buf_put_text(&text, newline);
	if (k->header && lines)
		buf_printf(&text, "id%ctext%s", strcmp(k->format, "csv") ? '\t' : ',', newline);
	for (unsigned i = 0; i < lines; i++) {
		if (!i && *k->schema == 'c') /* it tells the number of fields */
			buf_put_text(&text, "0,first");
		else if (draw(15))
			put_record(&text, k, i);
		if (i + 1 < lines || draw(2))
			buf_put_text(&text, newline);
	}
	assert_true(!text.len || fwrite(text.data, text.len, 1, f) == 1);
	assert_int_equal(fclose(f), 0);
	buf_clear(&text);
}

/* What came out, a line each: rows, and what was refused with its place. */
struct found {
	struct buf text;
	size_t rows, bad;
};

static int take_bad(void *context, const struct bad_record *bad, struct error *e)
{
	struct found *f = context;

	f->bad++;
	buf_printf(&f->text, "%s:%llu:%u: %s: %zu\n", bad->input, (unsigned long long)bad->line,
		bad->column, bad->reason, bad->record_len);
	return 0;
}

/* Reads the ranges of one subtask, at most rows_max rows; adds what is left to *left. */
static void read_share(const struct records_options *o, struct positions *all,
	struct positions_way way, uint64_t rows_max, struct found *f, struct positions *left)
{
	struct records_range ranges[FILES_MAX * 64];
	struct batch_builder b;
	struct error e = ERROR_INIT;
	struct records *r;
	int status = 0;

	assert_int_equal(records_open(o, &r, &e), 0);
	assert_int_equal(positions_share(all, way, r, o->inputs, &e), 0);
	assert_true(all->len < sizeof ranges / sizeof *ranges);
	for (size_t i = 0; i < all->len; i++)
		ranges[i] = all->items[i].range;
	if (records_read(r, ranges, all->len, &e) < 0)
		fail_msg("%s", e.text);
	batch_builder_init(&b, records_schema(r));
	while (!status && rows_max) {
		uint32_t n = 1 + (uint32_t)draw(20);

		status = records_next(r, true, n < rows_max ? n : (uint32_t)rows_max, &b, &e);
		if (status < 0)
			fail_msg("%s", e.text);
		for (uint32_t i = 0; i < b.columns[0].rows; i++) {
			batch_put_row(batch_builder_view(&b), i, &f->text);
			buf_put_byte(&f->text, '\n');
		}
		rows_max -= b.columns[0].rows;
		f->rows += b.columns[0].rows;
		batch_builder_reset(&b);
	}
	for (size_t i = 0; i < all->len; i++) {
		struct position p = {.greatest_us = WATERMARK_NONE};

		if (records_left(r, i, &p.range))
			positions_add(left, p);
	}
	batch_builder_clear(&b);
	records_close(r);
}

static int by_text(const void *a, const void *b)
{
	const char *x, *y;

	memcpy(&x, a, sizeof x);
	memcpy(&y, b, sizeof y);
	return strcmp(x, y);
}

static void sort_lines(struct buf *text)
{
	struct buf sorted = BUF_INIT;
	char **lines = NULL;
	size_t n = 0, cap = 0;

	buf_put_byte(text, 0);
	for (char *at = (char *)text->data, *end; (end = strchr(at, '\n')); at = end + 1) {
		*end = 0;
		MEM_GROW(lines, cap, n + 1);
		lines[n++] = at;
	}
	if (n)
		qsort(lines, n, sizeof *lines, by_text);
	for (size_t i = 0; i < n; i++)
		buf_printf(&sorted, "%s\n", lines[i]);
	mem_free(lines);
	buf_clear(text);
	*text = sorted;
}

/* One subtask after another, then all again as another number. */
static void read_divided(const struct records_options *o, struct found *f)
{
	unsigned rounds = 1 + (unsigned)draw(ROUNDS_MAX);
	struct positions all = POSITIONS_INIT;
	struct error e = ERROR_INIT;

	positions_begin(&all, o->inputs_len);
	for (unsigned round = 1; round <= rounds; round++) {
		struct positions left = POSITIONS_INIT;
		struct positions_way way = {.subtasks = 1 + (uint32_t)draw(SUBTASKS_MAX),
			.cut_min_bytes = 1 + draw(draw(3) ? 300 : 20000)};

		for (; way.subtask < way.subtasks; way.subtask++) {
			struct positions own = POSITIONS_INIT;
			uint64_t rows_max = round == rounds ? UINT64_MAX : draw(150);

			for (size_t i = 0; i < all.len; i++)
				positions_add(&own, all.items[i]);
			read_share(o, &own, way, rows_max, f, &left);
			positions_clear(&own);
		}
		positions_clear(&all);
		all = left;
		if (positions_check(&all, o->inputs_len, &e) < 0)
			fail_msg("%s", e.text);
	}
	assert_int_equal(all.len, 0);
	positions_clear(&all);
}

static void compare(struct found *got, struct found *wanted, uint64_t seed)
{
	sort_lines(&got->text);
	sort_lines(&wanted->text);
	if (got->rows == wanted->rows && got->bad == wanted->bad &&
		strcmp(buf_cstr(&got->text), buf_cstr(&wanted->text)) == 0)
		return;
	for (size_t i = 0; i < got->text.len && i < wanted->text.len; i++) {
		if (got->text.data[i] != wanted->text.data[i])
			fail_msg("seed %llu: %zu rows, %zu bad, not %zu, %zu: %.80s | not | %.80s",
				(unsigned long long)seed, got->rows, got->bad, wanted->rows,
				wanted->bad, buf_cstr(&got->text) + (i > 40 ? i - 40 : 0),
				buf_cstr(&wanted->text) + (i > 40 ? i - 40 : 0));
	}
	fail_msg("seed %llu: %zu rows, %zu bad, not %zu, %zu", (unsigned long long)seed, got->rows,
		got->bad, wanted->rows, wanted->bad);
}

static void all_subtasks_together_read_what_one_would(void **state)
{
	size_t bad = 0, rows = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		const struct kind *k = &kinds[seed % (sizeof kinds / sizeof *kinds)];
		struct found whole = {.rows = 0}, divided = {.rows = 0};
		struct positions all = POSITIONS_INIT, left = POSITIONS_INIT;
		struct records_options o = {.inputs = inputs,
			.inputs_len = (random_state = seed, 1 + draw(FILES_MAX)),
			.format = k->format,
			.schema_text = k->schema,
			.reader = {.header = k->header ? HEADER_YES : HEADER_NO},
			.bad = {.take = take_bad}};

		for (size_t i = 0; i < o.inputs_len; i++)
			make_file(paths[i], k);
		positions_begin(&all, o.inputs_len);
		o.bad.context = &whole;
		read_share(&o, &all, (struct positions_way){.subtasks = 1}, UINT64_MAX, &whole, &left);
		o.bad.context = &divided;
		read_divided(&o, &divided);
		rows += whole.rows;
		bad += whole.bad;
		compare(&divided, &whole, seed);
		buf_clear(&whole.text);
		buf_clear(&divided.text);
		positions_clear(&all);
		positions_clear(&left);
	}
	assert_true(rows > SEEDS * 100 && bad > SEEDS);
}

static void a_bad_record_behind_a_cut_is_told_with_its_line(void **state)
{
	const struct records_range range = {.start = 50, .end = RECORDS_TO_END};
	struct records_options o = {.inputs = inputs, .inputs_len = 1, .schema_text = "c1 int",
		.format = "csv", .reader = {.header = HEADER_NO}};
	struct batch_builder b;
	struct error e = ERROR_INIT;
	FILE *f = fopen(paths[0], "w");
	struct records *r;
	int status = 0;

	for (int i = 1; i <= 30; i++)
		fprintf(f, i == 25 ? "oops\n" : "%d\n", i);
	fclose(f);
	assert_int_equal(records_open(&o, &r, &e), 0);
	assert_int_equal(records_read(r, &range, 1, &e), 0);
	batch_builder_init(&b, records_schema(r));
	while (!status)
		status = records_next(r, true, 3, &b, &e);
	assert_int_equal(status, -1);
	assert_memory_equal(e.text, paths[0], strlen(paths[0]));
	assert_memory_equal(e.text + strlen(paths[0]), ":25:1: ", 7);
	batch_builder_clear(&b);
	records_close(r);
}

static int make_directory(void **state)
{
	if (!mkdtemp(directory))
		return -1;
	for (size_t i = 0; i < FILES_MAX; i++) {
		snprintf(paths[i], sizeof paths[i], "%s/%zu.txt", directory, i);
		inputs[i] = paths[i];
	}
	return 0;
}

static int remove_directory(void **state)
{
	for (size_t i = 0; i < FILES_MAX; i++)
		unlink(paths[i]);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_is_one_subtasks_and_no_piece_is_too_small),
		cmocka_unit_test(one_file_is_cut_evenly_and_whole_ones_are_evened_out_by_it),
		cmocka_unit_test(a_small_file_is_not_cut_and_the_others_have_nothing),
		cmocka_unit_test(every_event_is_taken_once_however_often_lanes_are_dealt_anew),
		cmocka_unit_test(a_bad_record_behind_a_cut_is_told_with_its_line),
		cmocka_unit_test(all_subtasks_together_read_what_one_would),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
