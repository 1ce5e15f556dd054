/* Aggregates against a loop over all rows of a group. */
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/expr/aggregate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { ROWS = 300, BATCHES = 4, ALL = ROWS * BATCHES, GROUPS = 9 };

static uint64_t seed, state;

static uint64_t draw(uint64_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (state >> 33) % below;
}

/* ---- usage ---- */

struct refusal {
	const char *function;
	bool distinct, star;
	size_t args_len;
	struct type args[2];
	const char *text;
};

static void what_makes_no_sense_is_refused_with_a_hint(void **unused)
{
	static const struct refusal refusals[] = {
		{"cuont", false, true, 0, {{0}}, "did you mean 'count'?"},
		{"mode", false, false, 1, {{.kind = TYPE_INT}}, "unknown aggregate 'mode'"},
		{"sum", false, true, 0, {{0}}, "only count takes *"},
		{"count", true, true, 0, {{0}}, "name a column"},
		{"sum", false, false, 2, {{.kind = TYPE_INT}, {.kind = TYPE_INT}},
			"takes one argument"},
		{"arg_min", false, false, 1, {{.kind = TYPE_INT}}, "takes two arguments"},
		{"max", true, false, 1, {{.kind = TYPE_INT}}, "distinct goes with"},
		{"sum", false, false, 1, {{.kind = TYPE_STRING}},
			"can't add values of type string"},
		{"avg", false, false, 1, {{.kind = TYPE_TIMESTAMP}}, "can't add"},
		{"min", false, false, 1, {{.kind = TYPE_ANY}}, "cast it"},
		{"count", true, false, 1, {{.kind = TYPE_ANY}}, "cast it"},
		{"arg_max", false, false, 2, {{.kind = TYPE_INT}, {.kind = TYPE_ANY}}, "cast it"},
	};

	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		const struct refusal *r = &refusals[i];
		struct aggregate_spec spec = {.function = r->function,
			.distinct = r->distinct,
			.star = r->star,
			.args = r->args,
			.args_len = r->args_len};
		struct aggregate *a;
		struct error e = ERROR_INIT;

		assert_int_equal(aggregate_new(&spec, &a, &e), -1);
		assert_int_equal(e.code, ERROR_USAGE);
		if (!strstr(e.text, r->text))
			fail_msg("'%s' lacks '%s'", e.text, r->text);
	}
}

/* ---- the oracle ---- */

struct input { /* all rows of a test, as they came */
	struct column_builder x, y;
	uint32_t groups[ALL];
	int64_t order[ALL];
	uint8_t picked[ALL];
};

static void put_random(struct column_builder *b)
{
	static const char *const texts[] = {
		"", "a", "ab", "abc", "b", "a longer text than sixteen"};
	static const double floats[] = {0.0, -1.5, 2.5, 1e6, __builtin_inf()};

	if (draw(6) == 0) {
		builder_put_null(b);
		return;
	}
	switch ((enum type_kind)b->type.kind) {
	case TYPE_BOOL: builder_put_bool(b, draw(2)); break;
	case TYPE_INT: builder_put_int(b, draw(4) ? (int64_t)draw(20) - 10 : INT64_MAX - 3); break;
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: builder_put_int(b, (int64_t)draw(20) - 10); break;
	case TYPE_DATE: builder_put_date(b, (int32_t)draw(9)); break;
	case TYPE_FLOAT: builder_put_float(b, floats[draw(4)]); break;
	case TYPE_DECIMAL:
		builder_put_decimal(b, ((__int128)draw(50) - 25) * ((__int128)1 << 60));
		break;
	case TYPE_STRING:
	case TYPE_BYTES: {
		const char *text = texts[draw(6)];

		builder_put_text(b, text, strlen(text));
		break;
	}
	case TYPE_ANY: fail();
	}
}

static void input_init(struct input *in, struct type x, struct type y)
{
	builder_init(&in->x, x);
	builder_init(&in->y, y);
	for (unsigned r = 0; r < ALL; r++) {
		put_random(&in->x);
		put_random(&in->y);
		in->groups[r] = (uint32_t)draw(GROUPS - 1); /* the last group stays empty */
		in->order[r] = (int64_t)draw(50);
		in->picked[r] = draw(4) != 0;
	}
}

static void input_clear(struct input *in)
{
	builder_clear(&in->x);
	builder_clear(&in->y);
}

/* A value as text that is equal exactly if the value is. */
static void value_text(const struct column *c, uint32_t row, char out[64])
{
	struct buf b = BUF_INIT;

	column_put_text(c, row, 60, &b);
	snprintf(out, 64, "%s", buf_cstr(&b));
	buf_clear(&b);
}

static int value_compare(const struct column *c, uint32_t a, uint32_t b)
{
	struct text_view x, y;
	int order;

	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: return column_bool(c, a) - column_bool(c, b);
	case TYPE_DATE: return column_date(c, a) - column_date(c, b);
	case TYPE_FLOAT:
		return (column_float(c, a) > column_float(c, b)) -
		       (column_float(c, a) < column_float(c, b));
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION:
		return (column_int(c, a) > column_int(c, b)) -
		       (column_int(c, a) < column_int(c, b));
	case TYPE_DECIMAL:
		return (column_decimal(c, a) > column_decimal(c, b)) -
		       (column_decimal(c, a) < column_decimal(c, b));
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	x = column_text(c, a);
	y = column_text(c, b);
	order = x.len && y.len ? memcmp(x.text, y.text, x.len < y.len ? x.len : y.len) : 0;
	return order ? order : (x.len > y.len) - (x.len < y.len);
}

struct function {
	const char *name;
	bool distinct, star;
};

static bool wins(const char *f, const struct input *in, const struct column *x,
	const struct column *y, uint32_t row, uint32_t best)
{
	if (strcmp(f, "min") == 0)
		return value_compare(x, row, best) < 0;
	if (strcmp(f, "max") == 0)
		return value_compare(x, row, best) > 0;
	if (strcmp(f, "first") == 0)
		return in->order[row] < in->order[best];
	if (strcmp(f, "last") == 0)
		return in->order[row] >= in->order[best];
	if (strcmp(f, "arg_min") == 0 || strcmp(f, "arg_max") == 0) {
		int by = value_compare(y, row, best) * (f[4] == 'm' && f[5] == 'i' ? 1 : -1);

		return by < 0 || (by == 0 && in->order[row] < in->order[best]);
	}
	return false; /* any_value: the first */
}

/* What a group's result must be, as text. */
static void expect(const struct function *f, const struct input *in, uint32_t group, char out[64])
{
	struct column x = builder_column(&in->x), y = builder_column(&in->y);
	bool by = strncmp(f->name, "arg_", 4) == 0;
	uint32_t best = ROW_NONE;
	int64_t n = 0;
	__int128 sum = 0;
	double real = 0;

	for (uint32_t r = 0; r < ALL; r++) {
		bool seen = false;

		if (in->groups[r] != group || !in->picked[r])
			continue;
		if (!f->star && (!column_is_valid(&x, r) || (by && !column_is_valid(&y, r))))
			continue;
		for (uint32_t k = 0; f->distinct && k < r && !seen; k++)
			seen = in->groups[k] == group && in->picked[k] && column_is_valid(&x, k) &&
			       value_compare(&x, k, r) == 0;
		if (seen)
			continue;
		n++;
		if (best == ROW_NONE || wins(f->name, in, &x, &y, r, best))
			best = r;
		if (x.type.kind == TYPE_INT || x.type.kind == TYPE_DURATION)
			sum += column_int(&x, r);
		else if (x.type.kind == TYPE_BOOL)
			sum += column_bool(&x, r);
		else if (x.type.kind == TYPE_DECIMAL)
			sum += column_decimal(&x, r);
		else if (x.type.kind == TYPE_FLOAT)
			real += column_float(&x, r);
	}
	struct column_builder result;
	struct column c;
	bool is_sum = strcmp(f->name, "sum") == 0, is_avg = strcmp(f->name, "avg") == 0;

	builder_init(&result, x.type.kind == TYPE_FLOAT || is_avg ? TYPE_OF(TYPE_FLOAT)
			      : x.type.kind == TYPE_DECIMAL
				      ? (struct type){TYPE_DECIMAL, 38, x.type.scale}
			      : x.type.kind == TYPE_DURATION ? x.type
							     : TYPE_OF(TYPE_INT));
	if (strcmp(f->name, "count") == 0) {
		snprintf(out, 64, "%lld", (long long)n);
	} else if (n == 0) {
		snprintf(out, 64, "null");
	} else if (is_sum || is_avg) {
		if (x.type.kind == TYPE_FLOAT)
			builder_put_float(&result, is_avg ? real / (double)n : real);
		else if (is_avg)
			builder_put_float(&result, (double)sum / (double)n);
		else if (x.type.kind == TYPE_DECIMAL)
			builder_put_decimal(&result, sum);
		else if (sum != (int64_t)sum)
			builder_put_null(&result);
		else
			builder_put_int(&result, (int64_t)sum);
		c = builder_column(&result);
		value_text(&c, 0, out);
		if (is_sum && x.type.kind != TYPE_FLOAT && x.type.kind != TYPE_DECIMAL &&
			sum != (int64_t)sum)
			snprintf(out, 64, "overflow");
	} else {
		value_text(&x, best, out);
	}
	builder_clear(&result);
}

/* ---- one aggregate over batches, split, combined, saved and loaded ---- */

static void update(struct aggregate *a, const struct input *in, uint32_t first, uint32_t end,
	const uint32_t *groups)
{
	struct column args[2];
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	struct column x = builder_column(&in->x), y = builder_column(&in->y);
	uint32_t pick[ALL], n = 0;

	for (uint32_t r = first; r < end; r++)
		pick[n++] = r;
	column_gather(&x, pick, n, &arena, &args[0]);
	column_gather(&y, pick, n, &arena, &args[1]);
	struct aggregate_rows rows = {.groups = groups + first,
		.order = in->order + first,
		.picked = in->picked + first,
		.rows = n};

	assert_int_equal(aggregate_update(a, args, &rows, &e), 0);
	arena_clear(&arena);
}

static struct aggregate *saved_and_loaded(struct aggregate *a)
{
	struct schema schema = SCHEMA_INIT;
	struct batch_builder b;
	const struct batch *view;
	struct aggregate *loaded = aggregate_new_like(a);
	uint32_t groups[GROUPS];
	struct error e = ERROR_INIT;

	aggregate_state_schema(a, "a", &schema);
	assert_int_equal(schema.fields_len, aggregate_state_columns(a));
	assert_true(schema.fields_len <= AGGREGATE_STATE_COLUMNS_MAX);
	batch_builder_init(&b, &schema);
	for (uint32_t g = 0; g < GROUPS; g++)
		groups[g] = GROUPS - 1 - g;
	aggregate_save(a, groups, GROUPS, b.columns);
	view = batch_builder_view(&b);
	assert_int_equal(view->rows, GROUPS);
	aggregate_resize(loaded, GROUPS);
	assert_int_equal(aggregate_load(loaded, view->columns, groups, GROUPS, &e), 0);
	batch_builder_clear(&b);
	schema_clear(&schema);
	aggregate_free(a);
	return loaded;
}

/* Later rows went to another aggregate, under other group numbers. */
static struct aggregate *halves_combined(const struct aggregate *like, const struct input *in)
{
	struct aggregate *early = aggregate_new_like(like), *late = aggregate_new_like(like);
	uint32_t shifted[ALL], to[GROUPS], from[GROUPS];
	struct error e = ERROR_INIT;

	aggregate_resize(early, GROUPS);
	aggregate_resize(late, GROUPS + 3);
	for (uint32_t r = 0; r < ALL; r++)
		shifted[r] = in->groups[r] + 3;
	update(early, in, 0, ALL / 2, in->groups);
	update(late, in, ALL / 2, ALL, shifted);
	for (uint32_t g = 0; g < GROUPS; g++) {
		to[g] = g;
		from[g] = g + 3;
	}
	assert_int_equal(aggregate_combine(early, to, late, from, GROUPS, &e), 0);
	aggregate_free(late);
	return early;
}

/* The same object holds both halves; the later one's groups are cleared after and used again. */
static struct aggregate *combined_in_place(const struct aggregate *like, const struct input *in)
{
	struct aggregate *a = aggregate_new_like(like);
	uint32_t shifted[ALL], to[GROUPS], from[GROUPS];
	struct error e = ERROR_INIT;

	aggregate_resize(a, 2 * GROUPS);
	for (uint32_t r = 0; r < ALL; r++)
		shifted[r] = in->groups[r] + GROUPS;
	for (uint32_t g = 0; g < GROUPS; g++) {
		to[g] = g;
		from[g] = g + GROUPS;
	}
	update(a, in, 0, ALL / 3, shifted); /* to be forgotten */
	for (uint32_t g = 0; g < GROUPS; g++)
		aggregate_clear_group(a, g + GROUPS);
	update(a, in, 0, ALL / 2, in->groups);
	update(a, in, ALL / 2, ALL, shifted);
	assert_int_equal(aggregate_combine(a, to, a, from, GROUPS, &e), 0);
	return a;
}

static struct aggregate *in_batches(const struct aggregate *like, const struct input *in)
{
	struct aggregate *a = aggregate_new_like(like);

	aggregate_resize(a, 3);
	aggregate_reset(a);
	aggregate_resize(a, 1);
	aggregate_resize(a, GROUPS);
	for (uint32_t first = 0; first < ALL; first += ROWS) {
		update(a, in, first, first + ROWS, in->groups);
		a = saved_and_loaded(a);
	}
	return a;
}

static void check(const struct aggregate *a, const struct function *f, const struct input *in,
	const char *how)
{
	for (uint32_t g = 0; g < GROUPS; g++) {
		char expected[64], got[64] = "overflow";
		struct column_builder out;
		struct error e = ERROR_INIT;

		expect(f, in, g, expected);
		builder_init(&out, aggregate_result(a));
		if (aggregate_finalize(a, &g, 1, &out, &e) == 0) {
			struct column c = builder_column(&out);

			value_text(&c, 0, got);
		} else {
			assert_int_equal(e.code, ERROR_DATA);
		}
		if (strcmp(expected, got) != 0)
			fail_msg("seed %llu: %s(%s%s) %s: group %u is %s, not %s",
				(unsigned long long)seed, f->name, f->distinct ? "distinct " : "",
				type_name(in->x.type), how, g, got, expected);
		builder_clear(&out);
	}
}

static void check_function(const struct function *f, struct type x, struct type y)
{
	struct type args[2] = {x, y};
	struct aggregate_spec spec = {.function = f->name,
		.distinct = f->distinct,
		.star = f->star,
		.args = args,
		.args_len = f->star                            ? 0
			    : strncmp(f->name, "arg_", 4) == 0 ? 2
							       : 1};
	struct aggregate *like, *a;
	struct input *in = mem_alloc(sizeof *in);
	struct error e = ERROR_INIT;

	input_init(in, x, y);
	assert_int_equal(aggregate_new(&spec, &like, &e), 0);
	a = in_batches(like, in);
	check(a, f, in, "in batches");
	aggregate_free(a);
	a = halves_combined(like, in);
	check(a, f, in, "combined");
	aggregate_free(a);
	a = combined_in_place(like, in);
	check(a, f, in, "combined in place");
	assert_true(aggregate_bytes(a) > 0);
	aggregate_free(a);
	aggregate_free(like);
	input_clear(in);
	mem_free(in);
}

static const struct type decimal = {TYPE_DECIMAL, 30, 2};

static void what_orders_values_agrees_with_a_loop_for_every_type(void **unused)
{
	static const struct function functions[] = {{"min", false, false}, {"max", false, false},
		{"first", false, false}, {"last", false, false}, {"any_value", false, false},
		{"count", false, false}, {"count", false, true}, {"count", true, false},
		{"arg_min", false, false}, {"arg_max", false, false}};

	for (uint8_t kind = TYPE_BOOL; kind <= TYPE_BYTES; kind++) {
		for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
			check_function(&functions[i],
				kind == TYPE_DECIMAL ? decimal : TYPE_OF(kind),
				draw(2) ? TYPE_OF(TYPE_STRING) : TYPE_OF(TYPE_INT));
	}
}

static void what_adds_agrees_with_a_loop_in_128_bits(void **unused)
{
	static const struct function functions[] = {{"sum", false, false}, {"sum", true, false},
		{"avg", false, false}, {"avg", true, false}};
	static const struct type types[] = {
		{.kind = TYPE_BOOL}, {.kind = TYPE_INT}, {.kind = TYPE_FLOAT}};

	for (size_t t = 0; t < 3; t++) {
		for (size_t i = 0; i < 4; i++)
			check_function(&functions[i], types[t], TYPE_OF(TYPE_INT));
	}
	check_function(&functions[0], decimal, TYPE_OF(TYPE_INT));
	check_function(&functions[1], decimal, TYPE_OF(TYPE_INT));
	check_function(&functions[0], TYPE_OF(TYPE_DURATION), TYPE_OF(TYPE_INT));
}

/* ---- single cases ---- */

static struct aggregate *make(const char *function, struct type arg)
{
	struct aggregate_spec spec = {.function = function, .args = &arg, .args_len = 1};
	struct aggregate *a;
	struct error e = ERROR_INIT;

	assert_int_equal(aggregate_new(&spec, &a, &e), 0);
	aggregate_resize(a, 1);
	return a;
}

static void all_rows_of_one_group_need_no_group_numbers(void **unused)
{
	int64_t values[5] = {INT64_MAX, 2, INT64_MIN, -5, 7};
	struct column c = {.type = TYPE_OF(TYPE_INT), .data = values};
	struct aggregate_rows rows = {.rows = 5};
	static const struct {
		const char *function;
		int64_t result;
	} cases[] = {{"sum", 3}, {"min", INT64_MIN}, {"max", INT64_MAX}, {"count", 5}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct aggregate *a = make(cases[i].function, c.type);
		struct column_builder out;
		struct error e = ERROR_INIT;

		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
		builder_init(&out, aggregate_result(a));
		assert_int_equal(aggregate_finalize(a, NULL, 1, &out, &e), 0);
		struct column result = builder_column(&out);

		assert_int_equal(column_int(&result, 0), cases[i].result);
		builder_clear(&out);
		aggregate_free(a);
	}
}

static void an_int_sum_that_does_not_fit_is_an_error_only_at_the_end(void **unused)
{
	int64_t values[2] = {INT64_MAX, INT64_MAX};
	struct column c = {.type = TYPE_OF(TYPE_INT), .data = values};
	struct aggregate *a = make("sum", c.type);
	struct aggregate_rows rows = {.rows = 2};
	struct column_builder out;
	struct error e = ERROR_INIT;

	builder_init(&out, aggregate_result(a));
	assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
	assert_int_equal(aggregate_finalize(a, NULL, 1, &out, &e), -1);
	assert_int_equal(e.code, ERROR_DATA);
	values[0] = values[1] = -INT64_MAX;
	assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
	assert_int_equal(aggregate_finalize(a, NULL, 1, &out, &e), 0);
	builder_clear(&out);
	aggregate_free(a);
}

static void rows_taken_back_leave_nothing(void **unused)
{
	static const char *const functions[] = {"count", "sum", "avg"};
	int64_t values[4] = {5, 7, 7, 5};
	static const int8_t signs[4] = {1, 1, -1, -1};
	struct column c = {.type = TYPE_OF(TYPE_INT), .data = values};
	struct aggregate_rows rows = {.rows = 4, .signs = signs};

	for (size_t i = 0; i < 3; i++) {
		struct aggregate *a = make(functions[i], c.type);
		struct column_builder out;
		struct error e = ERROR_INIT;

		assert_true(aggregate_retracts(a));
		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
		builder_init(&out, aggregate_result(a));
		assert_int_equal(aggregate_finalize(a, NULL, 1, &out, &e), 0);
		struct column result = builder_column(&out);

		if (i == 0)
			assert_int_equal(column_int(&result, 0), 0);
		else
			assert_false(column_is_valid(&result, 0));
		builder_clear(&out);
		aggregate_free(a);
	}
	struct aggregate *min = make("min", c.type);

	assert_false(aggregate_retracts(min));
	aggregate_free(min);
}

static void an_average_of_decimals_has_six_digits_and_rounds(void **unused)
{
	__int128 values[3] = {100, 100, 101};
	struct type cents = {TYPE_DECIMAL, 10, 2};
	struct column c = {.type = cents, .data = values};
	struct aggregate *a = make("avg", cents);
	struct aggregate_rows rows = {.rows = 3};
	struct column_builder out;
	struct error e = ERROR_INIT;

	assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
	builder_init(&out, aggregate_result(a));
	assert_int_equal(aggregate_finalize(a, NULL, 1, &out, &e), 0);
	struct column result = builder_column(&out);

	assert_int_equal(result.type.scale, 6);
	assert_true(column_decimal(&result, 0) == 1003333);
	builder_clear(&out);
	aggregate_free(a);
}

static void a_damaged_state_is_refused(void **unused)
{
	struct type text = TYPE_OF(TYPE_STRING);
	struct aggregate_spec spec = {
		.function = "count", .distinct = true, .args = &text, .args_len = 1};
	static const uint32_t offsets[2] = {0, 6};
	struct column c = {.type = TYPE_OF(TYPE_BYTES),
		.offsets = offsets,
		.bytes = (const uint8_t *)"\xff\0\0\0ab"};
	static const uint32_t group = 0;
	struct aggregate *a;
	struct error e = ERROR_INIT;

	assert_int_equal(aggregate_new(&spec, &a, &e), 0);
	aggregate_resize(a, 1);
	assert_int_equal(aggregate_load(a, &c, &group, 1, &e), -1);
	assert_int_equal(e.code, ERROR_STATE);
	aggregate_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_makes_no_sense_is_refused_with_a_hint),
		cmocka_unit_test(a_damaged_state_is_refused),
		cmocka_unit_test(all_rows_of_one_group_need_no_group_numbers),
		cmocka_unit_test(an_int_sum_that_does_not_fit_is_an_error_only_at_the_end),
		cmocka_unit_test(rows_taken_back_leave_nothing),
		cmocka_unit_test(an_average_of_decimals_has_six_digits_and_rounds),
		cmocka_unit_test(what_orders_values_agrees_with_a_loop_for_every_type),
		cmocka_unit_test(what_adds_agrees_with_a_loop_in_128_bits),
	};
	const char *given = getenv("SEED");

	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	state = seed;
	printf("SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
