/* Every aggregate against a model that keeps a list of rows: over random rows that are split over
 * several objects, combined in any order, saved and loaded in between, and partly taken back.  Then
 * the errors that the approximate ones may make, what a group costs, and damaged states. */
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"
#include "libcore/expr/aggregate.h"
#include "libcore/expr/expr.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { ROWS = 260, PARTS = 4, GROUPS = 5, ALL_MAX = 2 * ROWS };

static uint64_t seed, state;

static uint64_t draw(uint64_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (state >> 33) % below;
}

static double draw_real(void)
{
	return (double)draw(1u << 30) / (double)(1u << 30);
}

/* ---- input: rows that come, some of which are taken back later ---- */

struct input {
	struct column_builder x, y;
	uint32_t groups[ALL_MAX], part[ALL_MAX];
	int64_t order[ALL_MAX];
	uint8_t picked[ALL_MAX];
	int8_t signs[ALL_MAX];
	bool by; /* y is seen */
	uint32_t len;
};

static void put_any(struct column_builder *b)
{
	struct buf bytes = BUF_INIT;

	if (draw(2))
		msgpack_put_int(&bytes, (int64_t)draw(9));
	else
		msgpack_put_str(&bytes, "text", draw(5));
	builder_put_text(b, bytes.data, bytes.len);
	buf_clear(&bytes);
}

static void put_random(struct column_builder *b)
{
	static const double floats[] = {0.0, -0.25, -1.5, 0.1, 0.2, 2.5, 1e6, 12345.678};
	static const double odd[] = {1e17, -1e17, 1e-300};
	char text[40];

	if (draw(7) == 0) {
		builder_put_null(b);
		return;
	}
	switch ((enum type_kind)b->type.kind) {
	case TYPE_BOOL: builder_put_bool(b, draw(2)); break;
	case TYPE_INT:
		builder_put_int(b, draw(9) ? (int64_t)draw(40) - 20 : INT64_MIN + (int64_t)draw(2));
		break;
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: builder_put_int(b, (int64_t)draw(1000000) - 500000); break;
	case TYPE_DATE: builder_put_date(b, (int32_t)draw(9)); break;
	case TYPE_FLOAT: builder_put_float(b, draw(12) ? floats[draw(8)] : odd[draw(3)]); break;
	case TYPE_DECIMAL:
		builder_put_decimal(b, ((__int128)draw(50) - 25) * ((__int128)1 << draw(60)));
		break;
	case TYPE_STRING:
	case TYPE_BYTES:
		memset(text, 'a' + (int)draw(3), sizeof text);
		builder_put_text(b, text, draw(3) ? draw(4) : draw(sizeof text));
		break;
	case TYPE_ANY: put_any(b); break;
	}
}

/* alone: a row is taken back in the part that has it (values that stand at an order can't be known
 * elsewhere). */
static void input_init(struct input *in, struct type x, struct type y, bool signs, bool alone)
{
	bool back[ALL_MAX] = {false};

	in->len = 0;
	builder_init(&in->x, x);
	builder_init(&in->y, y);
	while (in->len < ROWS || (signs && in->len < ALL_MAX)) {
		uint32_t r = in->len++, of = (uint32_t)draw(r + 1);
		bool undo = signs && of < r && in->signs[of] > 0 && !back[of] && draw(9) < 5;

		in->signs[r] = undo ? -1 : 1;
		if (undo) {
			struct column cx = builder_column(&in->x), cy = builder_column(&in->y);
			struct arena a = ARENA_INIT;
			struct column one, two;

			back[of] = true;
			column_gather(&cx, &of, 1, &a, &one);
			column_gather(&cy, &of, 1, &a, &two);
			builder_put_from(&in->x, &one, 0);
			builder_put_from(&in->y, &two, 0);
			arena_clear(&a);
			in->groups[r] = in->groups[of];
			in->order[r] = in->order[of];
			in->picked[r] = in->picked[of];
			in->part[r] = alone ? in->part[of] : (uint32_t)draw(PARTS);
			continue;
		}
		put_random(&in->x);
		put_random(&in->y);
		in->groups[r] = (uint32_t)draw(GROUPS - 1); /* the last group stays empty */
		in->order[r] = (int64_t)draw(60);
		in->picked[r] = draw(5) != 0;
		in->part[r] = (uint32_t)draw(PARTS);
	}
}

static void input_clear(struct input *in)
{
	builder_clear(&in->x);
	builder_clear(&in->y);
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

/* ---- the model: lists of rows, in the order in which they came ---- */

struct model {
	uint32_t rows[ALL_MAX];
	uint32_t len;
};

static bool value_equal(const struct column *c, uint32_t a, uint32_t b)
{
	if (column_is_valid(c, a) != column_is_valid(c, b))
		return false;
	return !column_is_valid(c, a) || value_compare(c, a, b) == 0;
}

/* Owed rows stand in the list as well: what comes later pays them. */
static void model_add(struct model *m, const struct input *in, uint32_t row)
{
	struct column x = builder_column(&in->x), y = builder_column(&in->y);

	for (uint32_t i = 0; i < m->len; i++) {
		uint32_t at = m->rows[i];

		if (in->signs[at] == in->signs[row] || in->groups[at] != in->groups[row] ||
			in->picked[at] != in->picked[row] || in->order[at] != in->order[row] ||
			!value_equal(&x, at, row) || (in->by && !value_equal(&y, at, row)))
			continue;
		memmove(m->rows + i, m->rows + i + 1, (m->len - i - 1) * sizeof *m->rows);
		m->len--;
		return;
	}
	m->rows[m->len++] = row;
}

struct function {
	const char *name;
	bool distinct, star;
	double fraction; /* below 0: none */
	bool separator;
};

static bool is(const struct function *f, const char *name)
{
	return strcmp(f->name, name) == 0;
}

/* A group's rows that count for the function, by order, ties as they came. */
static uint32_t model_pick(const struct model *m, const struct function *f, const struct input *in,
	uint32_t group, uint32_t *out)
{
	struct column x = builder_column(&in->x), y = builder_column(&in->y);
	bool by = strncmp(f->name, "arg_", 4) == 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->len; i++) {
		uint32_t r = m->rows[i], at = n;
		bool seen = false;

		if (in->groups[r] != group || !in->picked[r])
			continue;
		if (!f->star && !is(f, "array_agg") &&
			(!column_is_valid(&x, r) || (by && !column_is_valid(&y, r))))
			continue;
		for (uint32_t k = 0; f->distinct && k < n && !seen; k++)
			seen = value_compare(&x, out[k], r) == 0;
		if (seen)
			continue;
		while (at > 0 && in->order[out[at - 1]] > in->order[r])
			at--;
		memmove(out + at + 1, out + at, (n - at) * sizeof *out);
		out[at] = r;
		n++;
	}
	return n;
}

static double as_real(const struct column *c, uint32_t r)
{
	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: return column_bool(c, r);
	case TYPE_FLOAT: return column_float(c, r);
	case TYPE_DECIMAL: return (double)column_decimal(c, r) / pow(10, c->type.scale);
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: return (double)column_int(c, r);
	case TYPE_DATE:
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return 0;
}

struct expected {
	struct buf text; /* ... or, where that is empty, a number: */
	double value, slack;
	double gone; /* the greatest square of a value that has been taken back */
};

static void expect_row(struct expected *e, const struct column *c, uint32_t row)
{
	column_put_text(c, row, SIZE_MAX, &e->text);
}

static void expect_lists(struct expected *e, const struct function *f, const struct column *x,
	const uint32_t *rows, uint32_t n)
{
	struct buf bytes = BUF_INIT;

	if (is(f, "array_agg"))
		msgpack_put_array(&bytes, n);
	for (uint32_t i = 0; i < n; i++) {
		struct text_view v = column_text(x, rows[i]);

		if (!column_is_valid(x, rows[i]))
			msgpack_put_nil(&bytes);
		else if (i && is(f, "string_agg"))
			buf_put_text(&bytes, f->separator ? " and " : ",");
		if (column_is_valid(x, rows[i]))
			buf_put(&bytes, v.text, v.len);
	}
	if (is(f, "array_agg"))
		msgpack_put_json(bytes.data, bytes.len, &e->text);
	else
		buf_put(&e->text, bytes.data, bytes.len);
	if (e->text.len == 0)
		buf_put_text(&e->text, "<empty>");
	buf_clear(&bytes);
}

static void expect_spread(struct expected *e, const struct function *f, const struct column *x,
	const uint32_t *rows, uint32_t n)
{
	bool sample = !strstr(f->name, "_pop"), root = strstr(f->name, "stddev") != NULL;
	long double mean = 0, spread = 0, greatest = 0;

	if (n <= (sample ? 1 : 0)) {
		buf_put_text(&e->text, "null");
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		mean += (long double)as_real(x, rows[i]) / n;
	for (uint32_t i = 0; i < n; i++) {
		long double away = as_real(x, rows[i]) - mean;

		spread += away * away;
		greatest = fmaxl(greatest, fabsl(mean) + fabsl(away));
	}
	e->value = (double)(spread / (sample ? n - 1 : n));
	/* The model's own rounding of the mean counts, too. */
	e->slack = e->value * 1e-13 + (double)(greatest * greatest) * 1e-30 + e->gone * 0x1p-148;
	if (root) {
		e->slack = e->value > 0 ? e->slack / sqrt(e->value) : sqrt(e->slack);
		e->value = sqrt(e->value);
	}
}

static void expect_quantile(struct expected *e, const struct function *f, const struct column *x,
	uint32_t *rows, uint32_t n)
{
	bool approximate = is(f, "approx_quantile");
	double place = (f->fraction < 0 ? 0.5 : f->fraction) * (n - 1), part = place - floor(place);
	double low, high;

	for (uint32_t i = 1; i < n; i++) {
		for (uint32_t k = i; k > 0 && value_compare(x, rows[k - 1], rows[k]) > 0; k--) {
			uint32_t swap = rows[k];

			rows[k] = rows[k - 1];
			rows[k - 1] = swap;
		}
	}
	low = as_real(x, rows[(uint32_t)place]);
	high = part > 0 ? as_real(x, rows[(uint32_t)place + 1]) : low;
	e->value = low * (1 - part) + high * part;
	e->slack = (fabs(low) + fabs(high)) * 1e-13 + (x->type.kind == TYPE_DECIMAL ? 1e-6 : 0) +
		   (x->type.kind == TYPE_TIMESTAMP || x->type.kind == TYPE_DURATION ? 0.501 : 0);
	if (approximate)
		e->slack += (fabs(low) * (1 - part) + fabs(high) * part) / 128;
}

static void expect_sum(struct expected *e, const struct function *f, const struct column *x,
	const uint32_t *rows, uint32_t n)
{
	long double sum = 0, sizes = 0;

	for (uint32_t i = 0; i < n; i++) {
		sum += as_real(x, rows[i]);
		sizes += fabs(as_real(x, rows[i]));
	}
	e->value = (double)sum;
	e->slack = (double)sizes * 1e-15;
	if (is(f, "avg")) {
		e->value /= n;
		e->slack = e->slack / n + (x->type.kind == TYPE_DECIMAL ? 1e-6 : 0);
	}
}

static void expect_chosen(struct expected *e, const struct function *f, const struct column *x,
	const struct column *y, const uint32_t *rows, uint32_t n)
{
	bool least = is(f, "min") || is(f, "arg_min") || is(f, "bool_and");
	const struct column *c = strncmp(f->name, "arg_", 4) == 0 ? y : x;
	uint32_t best = 0;

	if (is(f, "last"))
		best = n - 1;
	for (uint32_t i = 1; i < n && !is(f, "first") && !is(f, "last"); i++) {
		int order = value_compare(c, rows[i], rows[best]);

		if (least ? order < 0 : order > 0)
			best = i;
	}
	expect_row(e, x, rows[best]);
}

static void expect(struct expected *e, const struct model *m, const struct function *f,
	const struct input *in, uint32_t group)
{
	struct column x = builder_column(&in->x), y = builder_column(&in->y);
	uint32_t rows[ALL_MAX], n = model_pick(m, f, in, group, rows);

	buf_reset(&e->text);
	if (is(f, "count") || is(f, "approx_count_distinct"))
		buf_printf(&e->text, "%u", n);
	else if (n == 0)
		buf_put_text(&e->text, "null");
	else if (is(f, "sum") || is(f, "avg"))
		expect_sum(e, f, &x, rows, n);
	else if (strncmp(f->name, "std", 3) == 0 || strncmp(f->name, "var", 3) == 0)
		expect_spread(e, f, &x, rows, n);
	else if (strstr(f->name, "quantile") || is(f, "median"))
		expect_quantile(e, f, &x, rows, n);
	else if (strstr(f->name, "_agg"))
		expect_lists(e, f, &x, rows, n);
	else
		expect_chosen(e, f, &x, &y, rows, n);
}

/* ---- the aggregates ---- */

static struct aggregate *make(const struct function *f, struct type x, struct type y, bool signs)
{
	struct type args[2] = {x, y};
	struct column fraction = {.type = TYPE_OF(TYPE_FLOAT), .data = &f->fraction};
	static const uint32_t offsets[2] = {0, 5};
	struct column separator = {.type = TYPE_OF(TYPE_STRING),
		.offsets = offsets,
		.bytes = (const uint8_t *)" and "};
	struct aggregate_spec spec = {.function = f->name,
		/* The model of approx_count_distinct counts distinct rows. */
		.distinct = f->distinct && strcmp(f->name, "approx_count_distinct") != 0,
		.star = f->star,
		.args = args,
		.args_len = f->star                            ? 0
			    : strncmp(f->name, "arg_", 4) == 0 ? 2
							       : 1,
		.parameter = f->fraction >= 0 ? &fraction
			     : f->separator   ? &separator
					      : NULL,
		.retracting = signs};
	struct aggregate *a;
	struct error e = ERROR_INIT;

	if (aggregate_new(&spec, &a, &e))
		fail_msg("%s", e.text);
	return a;
}

static void update(struct aggregate *a, const struct input *in, const uint32_t *pick, uint32_t n,
	bool signs, uint32_t shift)
{
	struct column args[2], x = builder_column(&in->x), y = builder_column(&in->y);
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	uint32_t groups[ALL_MAX];
	int64_t order[ALL_MAX];
	uint8_t picked[ALL_MAX];
	int8_t sign[ALL_MAX];
	struct aggregate_rows rows = {
		.groups = groups, .order = order, .picked = picked, .rows = n};

	column_gather(&x, pick, n, &arena, &args[0]);
	column_gather(&y, pick, n, &arena, &args[1]);
	for (uint32_t i = 0; i < n; i++) {
		groups[i] = in->groups[pick[i]] + shift;
		order[i] = in->order[pick[i]];
		picked[i] = in->picked[pick[i]];
		sign[i] = in->signs[pick[i]];
	}
	if (signs)
		rows.signs = sign;
	if (aggregate_update(a, args, &rows, &e))
		fail_msg("%s", e.text);
	arena_clear(&arena);
}

static struct aggregate *saved_and_loaded(struct aggregate *a, uint32_t shift)
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
		groups[g] = GROUPS - 1 - g + shift;
	aggregate_save(a, groups, GROUPS, b.columns);
	view = batch_builder_view(&b);
	assert_int_equal(view->rows, GROUPS);
	aggregate_resize(loaded, GROUPS + shift);
	if (aggregate_load(loaded, view->columns, groups, GROUPS, &e))
		fail_msg("%s", e.text);
	batch_builder_clear(&b);
	schema_clear(&schema);
	aggregate_free(a);
	return loaded;
}

struct part {
	struct aggregate *a;
	struct model model;
	uint32_t shift; /* of its groups' numbers */
};

/* Rows go to their parts in batches of any size; parts are saved and loaded now and then. */
static void parts_fill(struct part *parts, const struct input *in, bool signs)
{
	uint32_t next[PARTS] = {0};

	for (bool more = true; more;) {
		uint32_t p = (uint32_t)draw(PARTS), some = 1 + (uint32_t)draw(40), pick[ALL_MAX],
			 n = 0;

		for (; next[p] < in->len && n < some; next[p]++) {
			if (in->part[next[p]] == p)
				pick[n++] = next[p];
		}
		update(parts[p].a, in, pick, n, signs, parts[p].shift);
		for (uint32_t i = 0; i < n; i++)
			model_add(&parts[p].model, in, pick[i]);
		if (draw(5) == 0)
			parts[p].a = saved_and_loaded(parts[p].a, parts[p].shift);
		more = false;
		for (uint32_t i = 0; i < PARTS; i++)
			more |= next[i] < in->len;
	}
}

static void parts_combine(struct part *to, struct part *from, const struct input *in)
{
	uint32_t to_groups[GROUPS], from_groups[GROUPS];
	struct error e = ERROR_INIT;

	for (uint32_t g = 0; g < GROUPS; g++) {
		to_groups[g] = g + to->shift;
		from_groups[g] = g + from->shift;
	}
	if (aggregate_combine(to->a, to_groups, from->a, from_groups, GROUPS, &e))
		fail_msg("%s", e.text);
	for (uint32_t i = 0; i < from->model.len; i++)
		model_add(&to->model, in, from->model.rows[i]);
}

/* Groups g and g + GROUPS of one object: the latter take the former in, which are then forgotten.
 */
static void move_within(struct part *p)
{
	uint32_t here[GROUPS], there[GROUPS];
	struct error e = ERROR_INIT;

	aggregate_resize(p->a, p->shift + 2 * GROUPS);
	for (uint32_t g = 0; g < GROUPS; g++) {
		here[g] = p->shift + g;
		there[g] = p->shift + GROUPS + g;
	}
	if (aggregate_combine(p->a, there, p->a, here, GROUPS, &e))
		fail_msg("%s", e.text);
	for (uint32_t g = 0; g < GROUPS; g++)
		aggregate_clear_group(p->a, here[g]);
	p->shift += GROUPS;
}

static void check(
	const struct part *p, const struct function *f, const struct input *in, bool signs)
{
	struct expected expected = {.text = BUF_INIT, .gone = signs ? 1e34 : 0};

	for (uint32_t g = 0; g < GROUPS; g++) {
		uint32_t at = g + p->shift;
		struct buf got = BUF_INIT;
		struct column_builder out;
		struct column c;
		struct error e = ERROR_INIT;
		bool good;

		expect(&expected, &p->model, f, in, g);
		builder_init(&out, aggregate_result(p->a));
		if (aggregate_finalize(p->a, &at, 1, &out, &e)) {
			if (!strstr(e.text, "doesn't fit"))
				fail_msg("seed %llu: %s: %s", (unsigned long long)seed, f->name,
					e.text);
			builder_clear(&out);
			continue;
		}
		c = builder_column(&out);
		column_put_text(&c, 0, SIZE_MAX, &got);
		if (got.len == 0)
			buf_put_text(&got, "<empty>");
		if (expected.text.len)
			good = got.len == expected.text.len &&
			       memcmp(got.data, expected.text.data, got.len) == 0;
		else
			good = column_is_valid(&c, 0) &&
			       fabs(as_real(&c, 0) - expected.value) <= expected.slack;
		if (!good)
			fail_msg("seed %llu: %s(%s%s, %g) %s: group %u is %s, not %s (%.17g +- %g)",
				(unsigned long long)seed, f->name, f->distinct ? "distinct " : "",
				type_name(in->x.type), f->fraction, signs ? "with signs" : "", g,
				buf_cstr(&got), buf_cstr(&expected.text), expected.value,
				expected.slack);
		builder_clear(&out);
		buf_clear(&got);
	}
	buf_clear(&expected.text);
}

static void check_function(
	const struct function *f, struct type x, struct type y, bool signs, bool alone)
{
	struct aggregate *like = make(f, x, y, signs);
	struct input *in = mem_alloc(sizeof *in);
	struct part *parts = mem_zero(PARTS * sizeof *parts);

	assert_true(!signs || aggregate_retracts(like));
	input_init(in, x, y, signs, alone);
	in->by = strncmp(f->name, "arg_", 4) == 0;
	for (uint32_t p = 0; p < PARTS; p++) {
		parts[p].a = aggregate_new_like(like);
		parts[p].shift = p;
		aggregate_resize(parts[p].a, 3);
		aggregate_reset(parts[p].a);
		aggregate_resize(parts[p].a, GROUPS + p);
	}
	parts_fill(parts, in, signs);
	for (uint32_t p = 1; p < PARTS; p++) {
		if (draw(2))
			move_within(&parts[p]);
		if (draw(3) == 0)
			move_within(&parts[0]);
		parts_combine(&parts[0], &parts[p], in);
	}
	check(&parts[0], f, in, signs);
	parts[0].a = saved_and_loaded(parts[0].a, parts[0].shift);
	check(&parts[0], f, in, signs);
	assert_true(aggregate_bytes(parts[0].a) > 0);
	for (uint32_t p = 0; p < PARTS; p++)
		aggregate_free(parts[p].a);
	aggregate_free(like);
	input_clear(in);
	mem_free(in);
	mem_free(parts);
}

static const struct type cents = {TYPE_DECIMAL, 30, 2};

static struct type type_of(uint8_t kind)
{
	return kind == TYPE_DECIMAL ? cents : TYPE_OF(kind);
}

#define KIND(k) (1u << (k))
enum {
	NUMBERS = KIND(TYPE_INT) | KIND(TYPE_FLOAT) | KIND(TYPE_DECIMAL),
	SPANS = KIND(TYPE_DURATION) | KIND(TYPE_TIMESTAMP),
	ORDERED = NUMBERS | SPANS | KIND(TYPE_BOOL) | KIND(TYPE_DATE) | KIND(TYPE_STRING) |
		  KIND(TYPE_BYTES),
};

static const struct {
	struct function f;
	unsigned kinds;
	bool by_order; /* which of equal values goes makes a difference */
	bool inserts;  /* can't take rows back */
} functions[] = {
	{{"count", false, true, -1, false}, KIND(TYPE_INT), false, false},
	{{"count", false, false, -1, false}, ORDERED, false, false},
	{{"count", true, false, -1, false}, ORDERED, false, false},
	{{"sum", false, false, -1, false}, NUMBERS | KIND(TYPE_BOOL) | KIND(TYPE_DURATION), false,
		false},
	{{"sum", true, false, -1, false}, NUMBERS, false, false},
	{{"avg", false, false, -1, false}, NUMBERS | KIND(TYPE_BOOL), false, false},
	{{"avg", true, false, -1, false}, NUMBERS, false, false},
	{{"min", false, false, -1, false}, ORDERED, false, false},
	{{"max", false, false, -1, false}, ORDERED, false, false},
	{{"bool_and", false, false, -1, false}, KIND(TYPE_BOOL), false, false},
	{{"bool_or", false, false, -1, false}, KIND(TYPE_BOOL), false, false},
	{{"first", false, false, -1, false}, ORDERED | KIND(TYPE_ANY), true, false},
	{{"last", false, false, -1, false}, ORDERED | KIND(TYPE_ANY), true, false},
	{{"arg_min", false, false, -1, false}, ORDERED, true, false},
	{{"arg_max", false, false, -1, false}, ORDERED, true, false},
	{{"stddev", false, false, -1, false}, NUMBERS | KIND(TYPE_BOOL), false, false},
	{{"stddev_pop", false, false, -1, false}, NUMBERS, false, false},
	{{"variance", false, false, -1, false}, NUMBERS, false, false},
	{{"var_pop", false, false, -1, false}, NUMBERS | KIND(TYPE_BOOL), false, false},
	{{"median", false, false, -1, false}, NUMBERS | SPANS, false, false},
	{{"quantile", false, false, 0, false}, NUMBERS | SPANS, false, false},
	{{"quantile", false, false, 0.37, false}, NUMBERS | SPANS, false, false},
	{{"quantile", false, false, 0.99, false}, NUMBERS | SPANS, false, false},
	{{"quantile", false, false, 1, false}, NUMBERS | SPANS, false, false},
	{{"approx_quantile", false, false, 0.63, false}, NUMBERS | KIND(TYPE_DURATION), false,
		false},
	{{"approx_quantile", false, false, 0.02, false}, NUMBERS | KIND(TYPE_DURATION), false,
		false},
	{{"approx_count_distinct", true, false, -1, false}, ORDERED, false, true},
	{{"string_agg", false, false, -1, false}, KIND(TYPE_STRING), true, false},
	{{"string_agg", false, false, -1, true}, KIND(TYPE_STRING), true, false},
	{{"array_agg", false, false, -1, false}, KIND(TYPE_ANY), true, false},
};

static void each_function(bool signs)
{
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		if (signs && functions[i].inserts)
			continue;
		for (uint8_t kind = TYPE_BOOL; kind <= TYPE_ANY; kind++) {
			struct function f = functions[i].f;
			struct type by = draw(2) ? TYPE_OF(TYPE_STRING) : cents;

			if (!(functions[i].kinds & KIND(kind)))
				continue;
			check_function(&f, type_of(kind), by, signs, functions[i].by_order);
		}
	}
}

static void all_agree_with_lists_of_rows_however_split_saved_and_combined(void **unused)
{
	each_function(false);
}

static void a_row_taken_back_is_as_if_it_had_never_come(void **unused)
{
	each_function(true);
}

/* ---- single cases ---- */

static struct aggregate *make_simple(const char *name, struct type x, bool retracting)
{
	struct function f = {.name = name, .fraction = -1};
	struct aggregate *a = make(&f, x, TYPE_OF(TYPE_INT), retracting);

	aggregate_resize(a, 1);
	return a;
}

static void result_text(const struct aggregate *a, struct buf *out)
{
	struct column_builder b;
	struct column c;
	struct error e = ERROR_INIT;

	builder_init(&b, aggregate_result(a));
	if (aggregate_finalize(a, NULL, 1, &b, &e))
		fail_msg("%s", e.text);
	c = builder_column(&b);
	buf_reset(out);
	column_put_text(&c, 0, SIZE_MAX, out);
	builder_clear(&b);
}

static void without_event_times_the_earliest_equal_row_goes(void **unused)
{
	static const uint32_t offsets[] = {0, 1, 2, 3, 4, 5, 6};
	static const int64_t order[] = {1, 2, 3, 4, 5, 6};
	static const int8_t signs[] = {1, 1, 1, 1, -1, -1};
	struct column c = {.type = TYPE_OF(TYPE_STRING),
		.offsets = offsets,
		.bytes = (const uint8_t *)"abacba"};
	struct aggregate_rows rows = {.order = order, .signs = signs, .rows = 6};
	static const char *const cases[][2] = {
		{"string_agg", "a,c"}, {"first", "a"}, {"last", "c"}};
	struct buf text = BUF_INIT;
	struct error e = ERROR_INIT;

	for (size_t i = 0; i < 3; i++) {
		struct aggregate *a = make_simple(cases[i][0], c.type, true);

		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
		result_text(a, &text);
		assert_string_equal(buf_cstr(&text), cases[i][1]);
		aggregate_free(a);
	}
	buf_clear(&text);
}

static void an_outlier_taken_back_leaves_nothing_in_float_sums(void **unused)
{
	double values[] = {0.1, 1e12, 0.2, __builtin_inf(), 0.3, 1e12, __builtin_inf()};
	static const int8_t signs[] = {1, 1, 1, 1, 1, -1, -1};
	static const char *const cases[][2] = {{"sum", "0.6"}, {"avg", "0.19999999999999998"},
		{"stddev", "0.1"}, {"var_pop", "0.006666666666666667"}};
	struct column c = {.type = TYPE_OF(TYPE_FLOAT), .data = values};
	struct aggregate_rows rows = {.signs = signs, .rows = 7};
	struct buf text = BUF_INIT;
	struct error e = ERROR_INIT;

	for (size_t i = 0; i < 4; i++) {
		struct aggregate *a = make_simple(cases[i][0], c.type, true);
		double got;

		values[1] = values[5] = i < 2 ? 1e30 : 1e15;
		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
		result_text(a, &text);
		got = strtod(buf_cstr(&text), NULL);
		assert_true(fabs(got - strtod(cases[i][1], NULL)) < 1e-15);
		aggregate_free(a);
	}
	buf_clear(&text);
}

static void a_small_deviation_of_large_numbers_keeps_its_digits(void **unused)
{
	struct aggregate *ints = make_simple("stddev", TYPE_OF(TYPE_INT), false);
	struct aggregate *floats = make_simple("stddev", TYPE_OF(TYPE_FLOAT), false);
	int64_t whole[3] = {INT64_MAX, INT64_MAX - 1, INT64_MAX - 2};
	double real[4] = {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16};
	double same[3] = {0.1, 0.1, 0.1};
	struct column c = {.type = TYPE_OF(TYPE_INT), .data = whole};
	struct aggregate_rows rows = {.rows = 3};
	struct buf text = BUF_INIT;
	struct error e = ERROR_INIT;

	assert_int_equal(aggregate_update(ints, &c, &rows, &e), 0);
	result_text(ints, &text);
	assert_string_equal(buf_cstr(&text), "1.0");
	c = (struct column){.type = TYPE_OF(TYPE_FLOAT), .data = real};
	rows.rows = 4;
	assert_int_equal(aggregate_update(floats, &c, &rows, &e), 0);
	result_text(floats, &text);
	assert_true(strtod(buf_cstr(&text), NULL) == sqrt(30));
	aggregate_clear_group(floats, 0);
	c.data = same;
	rows.rows = 3;
	assert_int_equal(aggregate_update(floats, &c, &rows, &e), 0);
	result_text(floats, &text);
	assert_string_equal(buf_cstr(&text), "0.0");
	aggregate_free(ints);
	aggregate_free(floats);
	buf_clear(&text);
}

static void only_approx_count_distinct_refuses_to_take_rows_back(void **unused)
{
	const char *const *names;
	size_t n = aggregate_names(&names);

	for (size_t i = 0; i < n; i++) {
		struct function f = {
			.name = names[i], .fraction = strstr(names[i], "quantile") ? 0.5 : -1};
		struct type x = TYPE_OF(strncmp(names[i], "bool_", 5) == 0    ? TYPE_BOOL
					: strcmp(names[i], "string_agg") == 0 ? TYPE_STRING
					: strcmp(names[i], "array_agg") == 0  ? TYPE_ANY
									      : TYPE_INT);
		struct aggregate *a = make(&f, x, TYPE_OF(TYPE_INT), true);

		assert_true(expr_is_aggregate_name(names[i], strlen(names[i])));
		assert_int_equal(
			aggregate_retracts(a), strcmp(names[i], "approx_count_distinct") != 0);
		aggregate_free(a);
	}
}

/* ---- what the manual promises of the approximate ones ---- */

static void column_fill(struct column_builder *b, uint32_t n, int64_t from)
{
	builder_reset(b);
	for (uint32_t i = 0; i < n; i++)
		builder_put_int(b, from + i);
}

static double distinct_error(int64_t from, uint32_t n)
{
	struct aggregate *a = make_simple("approx_count_distinct", TYPE_OF(TYPE_INT), false);
	struct column_builder b;
	struct buf text = BUF_INIT;
	struct error e = ERROR_INIT;
	double error;

	builder_init(&b, TYPE_OF(TYPE_INT));
	for (uint32_t at = 0; at < n; at += BATCH_ROWS) {
		uint32_t some = n - at < BATCH_ROWS ? n - at : BATCH_ROWS;

		column_fill(&b, some, from + at);
		struct column c = builder_column(&b);
		struct aggregate_rows rows = {.rows = some};

		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
	}
	result_text(a, &text);
	error = (strtod(buf_cstr(&text), NULL) - n) / n;
	buf_clear(&text);
	builder_clear(&b);
	aggregate_free(a);
	return error;
}

static void approx_count_distinct_errs_by_less_than_two_percent_on_the_whole(void **unused)
{
	static const uint32_t sizes[] = {100, 1000, 1500, 3000, 10000, 30000, 100000};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		enum { TRIES = 40 };
		double squares = 0;

		for (int t = 0; t < TRIES; t++) {
			double error = distinct_error((int64_t)(draw(1u << 30) << 30), sizes[i]);

			squares += error * error;
			/* While sparse, two of 2^26 may meet; then five sigma. */
			if (sizes[i] <= 1000 ? fabs(error) * sizes[i] > 3 : fabs(error) > 0.085)
				fail_msg("seed %llu: %u distinct values are off by %g",
					(unsigned long long)seed, sizes[i], error);
		}
		/* 1.6 % and, with 40 tries, twice four sigma of that. */
		if (sqrt(squares / TRIES) > 0.016 * 1.5)
			fail_msg("seed %llu: %u distinct values: %g", (unsigned long long)seed,
				sizes[i], sqrt(squares / TRIES));
	}
}

static int reals_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void approx_quantile_is_within_a_128th_of_its_neighbours(void **unused)
{
	enum { N = 5000 };
	static double values[N];

	for (int t = 0; t < 30; t++) {
		struct function f = {.name = "approx_quantile", .fraction = t ? draw_real() : 1};
		struct aggregate *a = make(&f, TYPE_OF(TYPE_FLOAT), TYPE_OF(TYPE_INT), false);
		struct column c = {.type = TYPE_OF(TYPE_FLOAT), .data = values};
		struct aggregate_rows rows = {.rows = N};
		struct buf text = BUF_INIT;
		struct error e = ERROR_INIT;
		double spread = draw_real() * 20, place = f.fraction * (N - 1);
		double part = place - floor(place), low, high, got;

		for (int i = 0; i < N; i++)
			values[i] = exp(draw_real() * spread) * (draw(4) ? 1 : -1);
		aggregate_resize(a, 1);
		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
		result_text(a, &text);
		got = strtod(buf_cstr(&text), NULL);
		qsort(values, N, sizeof *values, reals_compare);
		low = values[(int)place];
		high = part > 0 ? values[(int)place + 1] : low;
		if (fabs(got - (low * (1 - part) + high * part)) >
			(fabs(low) * (1 - part) + fabs(high) * part) / 128 * 1.0001)
			fail_msg("seed %llu: quantile %g is %g, not between %g and %g",
				(unsigned long long)seed, f.fraction, got, low, high);
		/* 64 buckets of 12 bytes for every doubling, of either sign. */
		assert_true(
			aggregate_bytes(a) < 3 * 64 * 12 * (size_t)(spread / M_LN2 + 3) + 100000);
		aggregate_free(a);
		buf_clear(&text);
	}
}

static void small_ints_are_exact_in_approx_quantile(void **unused)
{
	struct function f = {.name = "approx_quantile", .fraction = 0.5};

	for (int64_t v = -140; v <= 140; v++) {
		struct aggregate *a = make(&f, TYPE_OF(TYPE_INT), TYPE_OF(TYPE_INT), false);
		struct column c = {.type = TYPE_OF(TYPE_INT), .data = &v};
		struct aggregate_rows rows = {.rows = 1};
		struct buf text = BUF_INIT;
		struct error e = ERROR_INIT;
		double got;

		aggregate_resize(a, 1);
		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
		result_text(a, &text);
		got = strtod(buf_cstr(&text), NULL);
		assert_true(v > -128 && v < 128 ? got == (double)v : fabs(got - (double)v) <= 1);
		aggregate_free(a);
		buf_clear(&text);
	}
}

static void the_ends_of_floats_have_buckets_too(void **unused)
{
	static const double values[] = {0x1.fffffffffffffp1023, 0x1.fcp1023, -0x1.8p1023,
		__builtin_inf(), -__builtin_inf(), 0.0, 0x1p-1022, __builtin_nan("")};
	struct function f = {.name = "approx_quantile", .fraction = 0.5};

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		struct aggregate *a = make(&f, TYPE_OF(TYPE_FLOAT), TYPE_OF(TYPE_INT), false);
		struct column c = {.type = TYPE_OF(TYPE_FLOAT), .data = &values[i]};
		struct aggregate_rows rows = {.rows = 1};
		struct column_builder out;
		struct error e = ERROR_INIT;
		double got;

		aggregate_resize(a, 1);
		builder_init(&out, aggregate_result(a));
		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
		assert_int_equal(aggregate_finalize(a, NULL, 1, &out, &e), 0);
		c = builder_column(&out);
		got = column_float(&c, 0);
		if (isfinite(values[i]))
			assert_true(fabs(got - values[i]) <= fabs(values[i]) / 128);
		else
			assert_true(got == values[i] || (isnan(got) && isnan(values[i])));
		builder_clear(&out);
		aggregate_free(a);
	}
}

/* ---- memory ---- */

static void groups_of_few_values_are_small_and_memory_comes_back(void **unused)
{
	enum { MANY = 20000 };
	static const struct {
		const char *name;
		bool retracting;
		size_t bytes_max; /* a group of three values */
	} cases[] = {
		{"median", false, 64}, {"approx_count_distinct", false, 64}, {"median", true, 200}};
	uint32_t *groups = mem_alloc(3 * MANY * sizeof *groups);
	struct column_builder b;
	struct error e = ERROR_INIT;

	builder_init(&b, TYPE_OF(TYPE_INT));
	column_fill(&b, 3 * MANY, 0);
	for (uint32_t i = 0; i < 3 * MANY; i++)
		groups[i] = i % MANY;
	for (size_t i = 0; i < 3; i++) {
		struct aggregate *a = make_simple(
			cases[i].name, TYPE_OF(TYPE_INT), cases[i].retracting);
		struct column c = builder_column(&b);
		struct aggregate_rows rows = {.groups = groups, .rows = 3 * MANY};
		size_t bytes;

		aggregate_resize(a, MANY);
		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
		bytes = aggregate_bytes(a);
		if (bytes / MANY > cases[i].bytes_max + (cases[i].retracting ? 0 : 32))
			fail_msg("%s takes %zu bytes a group", cases[i].name, bytes / MANY);
		for (int again = 0; again < 3; again++) {
			for (uint32_t g = 0; g < MANY; g++)
				aggregate_clear_group(a, g);
			assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
		}
		assert_true(aggregate_bytes(a) <= bytes + bytes / 8);
		aggregate_free(a);
	}
	builder_clear(&b);
	mem_free(groups);
}

static void a_large_group_grows_alone_and_is_given_back(void **unused)
{
	struct aggregate *a = make_simple("median", TYPE_OF(TYPE_INT), false);
	struct column_builder b;
	struct buf text = BUF_INIT;
	struct error e = ERROR_INIT;
	size_t small = aggregate_bytes(a);

	builder_init(&b, TYPE_OF(TYPE_INT));
	for (uint32_t at = 0; at < 400000; at += 1000) {
		column_fill(&b, 1000, at);
		struct column c = builder_column(&b);
		struct aggregate_rows rows = {.rows = 1000};

		assert_int_equal(aggregate_update(a, &c, &rows, &e), 0);
	}
	result_text(a, &text);
	assert_string_equal(buf_cstr(&text), "199999.5");
	assert_true(aggregate_bytes(a) > 400000 * 8);
	assert_true(aggregate_bytes(a) < 400000 * 8 * 2);
	aggregate_clear_group(a, 0);
	assert_true(aggregate_bytes(a) < small + 200000);
	aggregate_free(a);
	builder_clear(&b);
	buf_clear(&text);
}

/* ---- damaged states: refused or taken, but nothing worse ---- */

static void load_damaged(struct aggregate *like, const struct column_builder *saved, size_t columns)
{
	struct aggregate *a = aggregate_new_like(like);
	struct column views[AGGREGATE_STATE_COLUMNS_MAX];
	struct buf bytes = BUF_INIT;
	uint32_t offsets[2] = {0, 0};
	static const uint32_t group = 0;
	struct error e = ERROR_INIT;
	struct column_builder out;
	bool damaged = false;

	for (size_t i = 0; i < columns; i++) {
		struct text_view v;

		views[i] = builder_column(&saved[i]);
		if (views[i].type.kind != TYPE_BYTES || damaged)
			continue;
		damaged = true;
		v = column_text(&views[i], 0);
		buf_put(&bytes, v.text, v.len);
		if (bytes.len && draw(2))
			bytes.data[draw(bytes.len)] ^= (uint8_t)(1u << draw(8));
		if (bytes.len && draw(2))
			bytes.len = draw(bytes.len);
		offsets[1] = (uint32_t)bytes.len;
		views[i].offsets = offsets;
		views[i].bytes = bytes.data;
	}
	aggregate_resize(a, 1);
	builder_init(&out, aggregate_result(a));
	if (aggregate_load(a, views, &group, 1, &e))
		assert_int_equal(e.code, ERROR_STATE);
	else
		aggregate_finalize(a, NULL, 1, &out, &e);
	builder_clear(&out);
	aggregate_free(a);
	buf_clear(&bytes);
}

static void damaged_states_are_refused(void **unused)
{
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		for (uint8_t kind = TYPE_BOOL; kind <= TYPE_ANY; kind++) {
			struct function f = functions[i].f;
			bool signs = !functions[i].inserts && draw(2);
			struct aggregate *a;
			struct input *in;
			struct schema schema = SCHEMA_INIT;
			struct batch_builder b;
			static const uint32_t group = 0;
			uint32_t pick[ROWS];

			if (!(functions[i].kinds & KIND(kind)))
				continue;
			a = make(&f, type_of(kind), TYPE_OF(TYPE_STRING), signs);
			in = mem_alloc(sizeof *in);
			input_init(in, type_of(kind), TYPE_OF(TYPE_STRING), false, false);
			for (uint32_t r = 0; r < ROWS; r++)
				pick[r] = r;
			aggregate_resize(a, GROUPS);
			update(a, in, pick, ROWS, false, 0);
			aggregate_state_schema(a, "a", &schema);
			batch_builder_init(&b, &schema);
			aggregate_save(a, &group, 1, b.columns);
			for (int t = 0; t < 20; t++)
				load_damaged(a, b.columns, aggregate_state_columns(a));
			batch_builder_clear(&b);
			schema_clear(&schema);
			aggregate_free(a);
			input_clear(in);
			mem_free(in);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_states_are_refused),
		cmocka_unit_test(without_event_times_the_earliest_equal_row_goes),
		cmocka_unit_test(an_outlier_taken_back_leaves_nothing_in_float_sums),
		cmocka_unit_test(a_small_deviation_of_large_numbers_keeps_its_digits),
		cmocka_unit_test(only_approx_count_distinct_refuses_to_take_rows_back),
		cmocka_unit_test(all_agree_with_lists_of_rows_however_split_saved_and_combined),
		cmocka_unit_test(a_row_taken_back_is_as_if_it_had_never_come),
		cmocka_unit_test(groups_of_few_values_are_small_and_memory_comes_back),
		cmocka_unit_test(a_large_group_grows_alone_and_is_given_back),
		cmocka_unit_test(small_ints_are_exact_in_approx_quantile),
		cmocka_unit_test(the_ends_of_floats_have_buckets_too),
		cmocka_unit_test(approx_quantile_is_within_a_128th_of_its_neighbours),
		cmocka_unit_test(approx_count_distinct_errs_by_less_than_two_percent_on_the_whole),
	};
	const char *given = getenv("SEED");

	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	state = seed;
	printf("SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
