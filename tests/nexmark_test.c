#include "cmd/ssource/nexmark.h"
#include "libcore/base/civil.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* All columns of a URL's events [first, end), taken `step` rows at a time. */
struct rows {
	struct schema schema;
	struct batch_builder b;
	int columns[64];
	const struct batch *batch;
};

static void generate(struct rows *r, const char *url, uint64_t first, uint64_t end, uint32_t step)
{
	struct nexmark_options o;
	struct error e = ERROR_INIT;
	struct nexmark g;

	if (nexmark_parse_url(url, &o, &e))
		fail_msg("%s", e.text);
	schema_init(&r->schema);
	nexmark_schema(o.kind, &r->schema);
	for (int i = 0; i < 64; i++)
		r->columns[i] = i;
	batch_builder_init(&r->b, &r->schema);
	nexmark_init(&g, &o);
	while (first < end)
		if (!nexmark_generate(&g, &first, end, step, r->columns, &r->b) && first < end)
			break;
	r->batch = batch_builder_view(&r->b);
}

static void rows_clear(struct rows *r)
{
	batch_builder_clear(&r->b);
	schema_clear(&r->schema);
}

static int64_t int_at(const struct rows *r, const char *column, uint32_t row)
{
	int i = schema_find(&r->schema, column, strlen(column));

	assert_true(i >= 0);
	return column_int(&r->batch->columns[i], row);
}

static void what_is_no_nexmark_url_is_told_with_what_there_is(void **state)
{
	static const struct {
		const char *url, *reason;
	} cases[] = {
		{"nexmark:", "nexmark:bid, auction, person or all"},
		{"nexmark:bids", "no 'bids'"},
		{"nexmark:bid?event=5", "there are events, rate"},
		{"nexmark:bid?events=x", "events=x is not understood"},
		{"nexmark:bid?events=", "events= is not understood"},
		{"nexmark:bid?events=5&rate=0", "rate=0 is out of range"},
		{"nexmark:bid?disorder=-1s", "out of range"},
		{"nexmark:bid?start=yesterday", "start=yesterday is not understood"},
		{"nexmark:bid?seed=99999999999999999999", "out of range"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct nexmark_options o;
		struct error e = ERROR_INIT;

		assert_int_equal(nexmark_parse_url(cases[i].url, &o, &e), -1);
		assert_int_equal(e.code, ERROR_USAGE);
		if (!strstr(e.text, cases[i].reason))
			fail_msg("%s: %s", cases[i].url, e.text);
	}
}

static void a_url_sets_what_it_names(void **state)
{
	struct nexmark_options o;
	struct error e = ERROR_INIT;

	(void)state;
	assert_int_equal(nexmark_parse_url("nexmark:auction?events=7&rate=50&seed=3&disorder=2s"
					   "&start=1970-01-01T00:00:01Z&bid_bytes=200",
				 &o, &e),
		0);
	assert_int_equal(o.kind, NEXMARK_AUCTION);
	assert_int_equal(o.events, 7);
	assert_int_equal(o.rate, 50);
	assert_int_equal(o.seed, 3);
	assert_int_equal(o.disorder_us, 2000000);
	assert_int_equal(o.start_us, 1000000);
	assert_int_equal(o.bid_bytes, 200);
}

static void of_fifty_events_one_is_a_person_three_are_auctions(void **state)
{
	static const struct {
		const char *url;
		uint32_t rows;
	} cases[] = {
		{"nexmark:person?events=1000", 20},
		{"nexmark:auction?events=1000", 60},
		{"nexmark:bid?events=1000", 920},
		{"nexmark:all?events=1000", 1000},
		{"nexmark:bid?events=4", 0},
		{"nexmark:person?events=51", 2},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct rows r;

		generate(&r, cases[i].url, 0, UINT64_MAX, 100);
		assert_int_equal(r.batch->rows, cases[i].rows);
		rows_clear(&r);
	}
}

static void assert_same_rows(const struct rows *a, const struct rows *b)
{
	struct buf left = BUF_INIT, right = BUF_INIT;

	assert_int_equal(a->batch->rows, b->batch->rows);
	for (uint32_t i = 0; i < a->batch->rows; i++) {
		buf_reset(&left);
		buf_reset(&right);
		batch_put_row(a->batch, i, &left);
		batch_put_row(b->batch, i, &right);
		assert_string_equal(buf_cstr(&left), buf_cstr(&right));
	}
	buf_clear(&left);
	buf_clear(&right);
}

static void an_event_is_the_same_however_it_is_generated(void **state)
{
	static const char *const urls[] = {"nexmark:bid?disorder=1s", "nexmark:auction",
		"nexmark:person", "nexmark:all?disorder=100ms"};

	(void)state;
	for (size_t i = 0; i < COUNT(urls); i++) {
		struct rows whole, parts;

		generate(&whole, urls[i], 12345, 20000, 8192);
		generate(&parts, urls[i], 12345, 20000, 7);
		assert_same_rows(&whole, &parts);
		rows_clear(&parts);
		rows_clear(&whole);
	}
}

static void fewer_columns_have_the_same_values(void **state)
{
	struct schema few = SCHEMA_INIT;
	const int columns[] = {2, 4};
	struct nexmark_options o;
	struct batch_builder b;
	struct nexmark g;
	struct error e;
	struct rows all;
	uint64_t event = 0;

	(void)state;
	generate(&all, "nexmark:bid?seed=9", 0, 5000, 500);
	assert_int_equal(nexmark_parse_url("nexmark:bid?seed=9", &o, &e), 0);
	nexmark_init(&g, &o);
	schema_add_field(&few, &all.schema.fields[2]);
	schema_add_field(&few, &all.schema.fields[4]);
	batch_builder_init(&b, &few);
	nexmark_generate(&g, &event, 5000, 8192, columns, &b);
	assert_int_equal(batch_builder_rows(&b), all.batch->rows);
	for (uint32_t i = 0; i < all.batch->rows; i++) {
		const struct batch *view = batch_builder_view(&b);
		struct text_view x = column_text(&view->columns[1], i);
		struct text_view y = column_text(&all.batch->columns[4], i);

		assert_int_equal(
			column_int(&view->columns[0], i), column_int(&all.batch->columns[2], i));
		assert_int_equal(x.len, y.len);
		assert_memory_equal(x.text, y.text, x.len);
	}
	batch_builder_clear(&b);
	schema_clear(&few);
	rows_clear(&all);
}

static void another_seed_gives_other_values(void **state)
{
	struct rows a, b;
	unsigned same = 0;

	(void)state;
	generate(&a, "nexmark:bid?seed=1", 0, 1000, 1000);
	generate(&b, "nexmark:bid?seed=2", 0, 1000, 1000);
	for (uint32_t i = 0; i < a.batch->rows; i++)
		same += int_at(&a, "price", i) == int_at(&b, "price", i);
	assert_true(same < 10);
	rows_clear(&a);
	rows_clear(&b);
}

static void half_of_the_bids_go_to_the_hot_auction(void **state)
{
	struct rows r;
	unsigned hot_auction = 0, hot_bidder = 0, hot_channel = 0;

	(void)state;
	generate(&r, "nexmark:bid", 100000, 200000, 8192);
	for (uint32_t i = 0; i < r.batch->rows; i++) {
		struct text_view channel = column_text(&r.batch->columns[3], i);
		int64_t cycle = (100000 + i / 46 * 50) / 50;

		hot_auction += int_at(&r, "auction", i) == 1000 + (cycle * 3 + 2) / 100 * 100;
		hot_bidder += int_at(&r, "bidder", i) == 1000 + cycle / 100 * 100 + 1;
		hot_channel += channel.len < 8 || memcmp(channel.text, "channel-", 8) != 0;
		assert_true(int_at(&r, "price", i) >= 100 && int_at(&r, "price", i) <= 100000000);
		assert_true(int_at(&r, "auction", i) >= 1000 &&
			    int_at(&r, "auction", i) <= 1000 + cycle * 3 + 2 + 10);
		assert_true(int_at(&r, "bidder", i) <= 1000 + cycle + 10);
	}
	assert_in_range(hot_auction * 1000 / r.batch->rows, 480, 530);
	assert_in_range(hot_bidder * 1000 / r.batch->rows, 730, 770);
	assert_in_range(hot_channel * 1000 / r.batch->rows, 480, 520);
	rows_clear(&r);
}

static void a_price_is_as_likely_in_each_power_of_ten(void **state)
{
	unsigned decades[7] = {0};
	struct rows r;

	(void)state;
	generate(&r, "nexmark:bid", 0, 100000, 8192);
	for (uint32_t i = 0; i < r.batch->rows; i++) {
		int64_t price = int_at(&r, "price", i);
		int decade = 0;

		for (; price >= 1000; price /= 10)
			decade++;
		decades[decade]++;
	}
	for (int i = 0; i < 6; i++)
		assert_in_range(decades[i] * 1000 / r.batch->rows, 155, 178);
	rows_clear(&r);
}

static void people_and_auctions_are_numbered(void **state)
{
	struct rows people, auctions;

	(void)state;
	generate(&people, "nexmark:person", 0, 10000, 8192);
	generate(&auctions, "nexmark:auction", 0, 10000, 8192);
	for (uint32_t i = 0; i < people.batch->rows; i++)
		assert_int_equal(int_at(&people, "id", i), 1000 + i);
	for (uint32_t i = 0; i < auctions.batch->rows; i++) {
		assert_int_equal(int_at(&auctions, "id", i), 1000 + i);
		assert_true(int_at(&auctions, "expires", i) > int_at(&auctions, "dateTime", i));
		assert_true(int_at(&auctions, "reserve", i) > int_at(&auctions, "initialBid", i));
		assert_in_range(int_at(&auctions, "category", i), 10, 14);
	}
	rows_clear(&people);
	rows_clear(&auctions);
}

static void times_never_fall_without_disorder(void **state)
{
	struct rows r;

	(void)state;
	generate(&r, "nexmark:bid?rate=2500&start=2020-02-02T00:00:00Z", 0, 50000, 8192);
	for (uint32_t i = 0; i < r.batch->rows; i++) {
		int64_t n = i / 46 * 50 + 4 + i % 46;

		assert_int_equal(int_at(&r, "dateTime", i),
			INT64_C(1580601600000000) + n * 1000 / 2500 * 1000);
	}
	rows_clear(&r);
}

static void disorder_shuffles_times_within_its_bound(void **state)
{
	struct rows r, sorted;
	int64_t greatest = 0, sum = 0, sum_sorted = 0;
	unsigned falls = 0;

	(void)state;
	generate(&r, "nexmark:all?disorder=500ms", 0, 50000, 8192);
	generate(&sorted, "nexmark:all", 0, 50000, 8192);
	for (uint32_t i = 0; i < r.batch->rows; i++) {
		int64_t at = int_at(&r, "dateTime", i);

		assert_true(greatest - at < 500000);
		falls += at < greatest;
		greatest = at > greatest ? at : greatest;
		sum += at / 1000;
		sum_sorted += int_at(&sorted, "dateTime", i) / 1000;
	}
	assert_true(falls > r.batch->rows / 2);
	assert_int_equal(sum, sum_sorted); /* the same times, in another order */
	rows_clear(&r);
	rows_clear(&sorted);
}

static void all_has_the_columns_of_each_kind_under_prefixes(void **state)
{
	struct rows all, bids;
	uint32_t bid = 0;
	int price, id;

	(void)state;
	generate(&all, "nexmark:all?seed=5", 0, 500, 100);
	generate(&bids, "nexmark:bid?seed=5", 0, 500, 100);
	price = schema_find(&all.schema, "bid_price", 9);
	id = schema_find(&all.schema, "person_id", 9);
	assert_int_equal(all.schema.time_column, schema_find(&all.schema, "dateTime", 8));
	assert_int_equal(all.schema.fields_len, 2 + 7 + 9 + 6);
	for (uint32_t i = 0; i < all.batch->rows; i++) {
		struct text_view event = column_text(&all.batch->columns[0], i);
		bool is_bid = event.len == 3 && !memcmp(event.text, "bid", 3);

		assert_int_equal(column_is_valid(&all.batch->columns[price], i), is_bid);
		assert_int_equal(column_is_valid(&all.batch->columns[id], i), i % 50 == 0);
		if (is_bid)
			assert_int_equal(column_int(&all.batch->columns[price], i),
				int_at(&bids, "price", bid++));
	}
	assert_int_equal(bid, bids.batch->rows);
	rows_clear(&all);
	rows_clear(&bids);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_nexmark_url_is_told_with_what_there_is),
		cmocka_unit_test(a_url_sets_what_it_names),
		cmocka_unit_test(of_fifty_events_one_is_a_person_three_are_auctions),
		cmocka_unit_test(an_event_is_the_same_however_it_is_generated),
		cmocka_unit_test(fewer_columns_have_the_same_values),
		cmocka_unit_test(another_seed_gives_other_values),
		cmocka_unit_test(half_of_the_bids_go_to_the_hot_auction),
		cmocka_unit_test(a_price_is_as_likely_in_each_power_of_ten),
		cmocka_unit_test(people_and_auctions_are_numbered),
		cmocka_unit_test(times_never_fall_without_disorder),
		cmocka_unit_test(disorder_shuffles_times_within_its_bound),
		cmocka_unit_test(all_has_the_columns_of_each_kind_under_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
