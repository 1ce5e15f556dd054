/* Comparisons, in, between's parts, like.  NaN equals itself and is greater than every number; texts
 * compare by byte; numbers of different types are widened first. */
#include "libcore/expr/kernel.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"
#include "libcore/base/utf8.h"
#include "libcore/table/builder.h"

#include <math.h>
#include <stdlib.h>

enum compare_op { EQ, NE, LT, LE, GT, GE };

/* ---- the order of two values ---- */

static int compare_floats(double a, double b)
{
	if (isnan(a) || isnan(b))
		return !isnan(b) ? 1 : isnan(a) ? 0 : -1;
	return (a > b) - (a < b);
}

static int compare_texts(struct text_view a, struct text_view b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n ? memcmp(a.text, b.text, n) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_decimals(__int128 a, __int128 b)
{
	return (a > b) - (a < b);
}

/* Of two columns of one type, neither null. */
static int compare_values(const struct column *a, uint32_t ar, const struct column *b, uint32_t br)
{
	switch ((enum type_kind)a->type.kind) {
	case TYPE_BOOL: return column_bool(a, ar) - column_bool(b, br);
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION:
		return (column_int(a, ar) > column_int(b, br)) -
			(column_int(a, ar) < column_int(b, br));
	case TYPE_FLOAT: return compare_floats(column_float(a, ar), column_float(b, br));
	case TYPE_DECIMAL: return compare_decimals(column_decimal(a, ar), column_decimal(b, br));
	case TYPE_DATE:
		return (column_date(a, ar) > column_date(b, br)) -
			(column_date(a, ar) < column_date(b, br));
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return compare_texts(column_text(a, ar), column_text(b, br));
}

/* ---- kernels: one per type and operator, so that each is a plain loop ---- */

#define PLAIN(type, suffix) \
	static void eq_##suffix(struct kernel *k) { KERNEL_LOOP2(k, type, type, uint8_t, a == b); } \
	static void ne_##suffix(struct kernel *k) { KERNEL_LOOP2(k, type, type, uint8_t, a != b); } \
	static void lt_##suffix(struct kernel *k) { KERNEL_LOOP2(k, type, type, uint8_t, a < b); } \
	static void le_##suffix(struct kernel *k) { KERNEL_LOOP2(k, type, type, uint8_t, a <= b); } \
	static void gt_##suffix(struct kernel *k) { KERNEL_LOOP2(k, type, type, uint8_t, a > b); } \
	static void ge_##suffix(struct kernel *k) { KERNEL_LOOP2(k, type, type, uint8_t, a >= b); }

PLAIN(int64_t, ints)
PLAIN(int32_t, dates)
PLAIN(uint8_t, bools)

/* Without branches: x != x is NaN's mark. */

static void eq_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, uint8_t, (a == b) | ((a != a) & (b != b)));
}

static void ne_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, uint8_t, !((a == b) | ((a != a) & (b != b))));
}

static void lt_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, uint8_t, (a < b) | ((a == a) & (b != b)));
}

static void ge_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, uint8_t, !((a < b) | ((a == a) & (b != b))));
}

static void gt_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, uint8_t, (a > b) | ((a != a) & (b == b)));
}

static void le_floats(struct kernel *k)
{
	KERNEL_LOOP2(k, double, double, uint8_t, !((a > b) | ((a != a) & (b == b))));
}

static bool holds(enum compare_op op, int order)
{
	switch (op) {
	case EQ: return order == 0;
	case NE: return order != 0;
	case LT: return order < 0;
	case LE: return order <= 0;
	case GT: return order > 0;
	case GE: return order >= 0;
	}
	return false;
}

static enum compare_op op_of(const char *name)
{
	switch (name[0]) {
	case '=': return EQ;
	case '>': return name[1] ? GE : GT;
	default: return name[1] == '>' ? NE : name[1] ? LE : LT;
	}
}

static void compare_decimal_rows(struct kernel *k)
{
	enum compare_op op = op_of(k->state);
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++)
		out[r] = holds(op, compare_decimals(arg_decimal(k, 0, r), arg_decimal(k, 1, r)));
}

static void compare_text_rows(struct kernel *k)
{
	enum compare_op op = op_of(k->state);
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++)
		out[r] = holds(op, compare_texts(arg_text(k, 0, r), arg_text(k, 1, r)));
}

static bool text_equal(struct text_view a, struct text_view b)
{
	return a.len == b.len && (!a.len || !memcmp(a.text, b.text, a.len));
}

static void equal_text_rows(struct kernel *k)
{
	bool wanted = op_of(k->state) == EQ;
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++)
		out[r] = text_equal(arg_text(k, 0, r), arg_text(k, 1, r)) == wanted;
}

#define ROW(suffix) {eq_##suffix, ne_##suffix, lt_##suffix, le_##suffix, gt_##suffix, ge_##suffix}
static const kernel_run int_kernels[] = ROW(ints);
static const kernel_run date_kernels[] = ROW(dates);
static const kernel_run bool_kernels[] = ROW(bools);
static const kernel_run float_kernels[] = ROW(floats);

static kernel_run compare_kernel(struct type t, enum compare_op op)
{
	switch ((enum type_kind)t.kind) {
	case TYPE_BOOL: return bool_kernels[op];
	case TYPE_INT:
	case TYPE_TIMESTAMP:
	case TYPE_DURATION: return int_kernels[op];
	case TYPE_FLOAT: return float_kernels[op];
	case TYPE_DATE: return date_kernels[op];
	case TYPE_DECIMAL: return compare_decimal_rows;
	case TYPE_STRING:
	case TYPE_BYTES:
	case TYPE_ANY: break;
	}
	return op == EQ || op == NE ? equal_text_rows : compare_text_rows;
}

/* ---- one type for several arguments ---- */

/* The exact shape of a number literal, so that 1.5 beside a decimal stays exact. */
static bool literal_shape(const struct expr *x, struct type *out)
{
	struct decimal_shape shape;
	__int128 v;

	if (x->kind != NODE_LITERAL || !x->text ||
		(x->type.kind != TYPE_FLOAT && x->type.kind != TYPE_INT) ||
		decimal_parse_any(x->text, x->text_len, &v, &shape) != NUMBER_OK)
		return false;
	*out = (struct type){TYPE_DECIMAL, (uint8_t)shape.precision, (uint8_t)shape.scale};
	return true;
}

int resolve_common(struct resolving *r, size_t first, size_t step, struct type *out,
	struct error *e)
{
	struct type t = {0}, shape, both;
	bool decimal = false;

	for (size_t i = first; i < r->args_len; i += step)
		decimal |= r->args[i].kind == TYPE_DECIMAL;
	for (size_t i = first; i < r->args_len; i += step) {
		struct type is = r->args[i];
		const struct expr *x = r->call->args[i];

		if (decimal && literal_shape(x, &shape))
			is = shape;
		if (!is.kind || (expr_is_string_literal(x) && t.kind))
			continue;
		if (!t.kind || (t.kind == TYPE_STRING && r->constants[first] &&
			expr_is_string_literal(r->call->args[first])))
			t = is;
		else if (!type_common(t, is, &both))
			return error_set(e, ERROR_USAGE, "%s and %s don't go together\n"
				"cast one of them: x::%s", type_name(t), type_name(is), type_name(t));
		else
			t = both;
	}
	if (!t.kind)
		t = TYPE_OF(TYPE_STRING);
	for (size_t i = first; i < r->args_len; i += step)
		r->args[i] = t;
	*out = t;
	return 0;
}

static int resolve_compare(struct resolving *r, struct error *e)
{
	struct type t;

	if (resolve_common(r, 0, 1, &t, e) < 0)
		return -1;
	if (t.kind == TYPE_ANY)
		return error_set(e, ERROR_USAGE, "any can't be compared\ncast it: x::string");
	r->result = TYPE_OF(TYPE_BOOL);
	r->run = compare_kernel(t, op_of(r->call->name));
	r->state = arena_strdup(r->arena, r->call->name);
	return 0;
}

/* ---- is [not] distinct from: null is a value like others ---- */

static void distinct_rows(struct kernel *k)
{
	bool wanted = k->state != NULL; /* distinct */
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		const struct vector *a = &k->args[0], *b = &k->args[1];
		bool av = vector_is_valid(a, r), bv = vector_is_valid(b, r);
		bool same = av == bv && (!av || compare_values(&a->col, vector_row(a, r), &b->col,
			vector_row(b, r)) == 0);

		out[r] = same != wanted;
	}
	for (uint32_t r = 0; r < k->rows; r++) {
		if (vector_has_failed(&k->args[0], r) || vector_has_failed(&k->args[1], r))
			vector_fail(k, r, "");
	}
}

static int resolve_distinct(struct resolving *r, struct error *e)
{
	struct type t;

	bool with_null = expr_is_null_literal(r->call->args[0]) ||
		expr_is_null_literal(r->call->args[1]);

	if (resolve_common(r, 0, 1, &t, e) < 0)
		return -1;
	if (t.kind == TYPE_ANY && !with_null) /* 1 and 1.0 are other bytes of the same value */
		return error_set(e, ERROR_USAGE, "any can't be compared\ncast it: x::string");
	r->result = TYPE_OF(TYPE_BOOL);
	r->run = distinct_rows;
	r->state = strstr(r->call->name, "not") ? NULL : (void *)(uintptr_t)"distinct";
	return 0;
}

/* ---- in (...) ---- */

/* The constants of the list, sorted; valid for as long as the program. */
struct in_list {
	const struct column **items;
	size_t len;
	bool has_null;
};

static int order_items(const void *a, const void *b)
{
	const struct column *const *x = a, *const *y = b;

	return compare_values(*x, 0, *y, 0);
}

static bool in_sorted(const struct in_list *list, const struct column *c, uint32_t row)
{
	size_t low = 0, high = list->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare_values(c, row, list->items[mid], 0);

		if (order == 0)
			return true;
		if (order > 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* x in (constants): null where x is, or where it isn't found and the list has a null. */
static void in_constants(struct kernel *k)
{
	struct in_list list = {.items = ARENA_ARRAY(k->arena, const struct column *, k->args_len)};
	uint8_t *out = vector_data(k);

	for (size_t i = 1; i < k->args_len; i++) {
		if (vector_is_valid(&k->args[i], 0))
			list.items[list.len++] = &k->args[i].col;
		else
			list.has_null = true;
	}
	qsort(list.items, list.len, sizeof *list.items, order_items);
	for (uint32_t r = 0; r < k->rows; r++) {
		const struct vector *v = &k->args[0];
		uint32_t row = vector_row(v, r);

		out[r] = vector_is_valid(v, r) && in_sorted(&list, &v->col, row);
		if (!vector_is_valid(v, r) || (!out[r] && list.has_null))
			vector_null(k, r);
		if (vector_has_failed(v, r))
			vector_fail(k, r, "");
	}
}

static void in_columns(struct kernel *k)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		const struct vector *v = &k->args[0];
		bool unknown = !vector_is_valid(v, r), failed = vector_has_failed(v, r);

		out[r] = 0;
		for (size_t i = 1; i < k->args_len; i++) {
			const struct vector *w = &k->args[i];

			failed |= vector_has_failed(w, r);
			if (!vector_is_valid(w, r))
				unknown = true;
			else if (vector_is_valid(v, r))
				out[r] |= compare_values(&v->col, vector_row(v, r), &w->col,
					vector_row(w, r)) == 0;
		}
		if (unknown && !out[r])
			vector_null(k, r);
		if (failed && !out[r])
			vector_fail(k, r, "");
	}
}

static int resolve_in(struct resolving *r, struct error *e)
{
	bool constants = true;
	struct type t;

	for (size_t i = 1; i < r->args_len; i++)
		constants &= r->constants[i] != NULL;
	if (resolve_common(r, 0, 1, &t, e) < 0)
		return -1;
	if (t.kind == TYPE_ANY)
		return error_set(e, ERROR_USAGE, "any can't be compared\ncast it: x::string");
	r->result = TYPE_OF(TYPE_BOOL);
	r->run = constants ? in_constants : in_columns;
	return 0;
}

/* ---- greatest, least: nulls are left out, as in PostgreSQL and DuckDB ---- */

static void extreme_rows(struct kernel *k)
{
	int sign = k->state ? 1 : -1;
	struct column_builder b;
	struct column made;

	builder_init(&b, k->out->col.type);
	for (uint32_t r = 0; r < k->rows; r++) {
		const struct vector *best = NULL;
		bool failed = false;

		for (size_t i = 0; i < k->args_len; i++) {
			const struct vector *v = &k->args[i];

			failed |= vector_has_failed(v, r);
			if (vector_is_valid(v, r) && (!best || sign * compare_values(&v->col,
				vector_row(v, r), &best->col, vector_row(best, r)) > 0))
				best = v;
		}
		if (best)
			builder_put_from(&b, &best->col, vector_row(best, r));
		else
			builder_put_null(&b);
		if (failed)
			vector_fail(k, r, "");
	}
	made = builder_column(&b);
	kernel_keep(k, &made);
	builder_clear(&b);
}

static int resolve_extreme(struct resolving *r, struct error *e)
{
	if (resolve_common(r, 0, 1, &r->result, e) < 0)
		return -1;
	r->run = extreme_rows;
	r->state = r->call->name[0] == 'g' ? (void *)(uintptr_t)"greatest" : NULL;
	return 0;
}

/* ---- like ---- */

struct like {
	uint16_t *items;       /* literal bytes, or ANY_ONE, ANY_RUN */
	size_t len;
	enum { LIKE_GENERAL, LIKE_EXACT, LIKE_PREFIX, LIKE_SUFFIX, LIKE_CONTAINS } shape;
	const char *part;      /* of the simple shapes */
	size_t part_len;
};

enum { ANY_ONE = 256, ANY_RUN = 257 };

/* ilike compares in lower case, character by character. */
static struct text_view folded(struct text_view v, struct buf *b)
{
	size_t at = 0;

	buf_reset(b);
	buf_reserve(b, 1); /* nothing, too, has an address */
	while (at < v.len) {
		char *to = (char *)buf_reserve(b, 4);
		uint32_t code = (uint8_t)v.text[at];

		if (code < 0x80) {
			*to = (char)(code >= 'A' && code <= 'Z' ? code | 32 : code);
			b->len++;
			at++;
		} else {
			size_t n = utf8_decode(v.text + at, v.len - at, &code);

			MUST(n > 0); /* text is UTF-8 where it comes in */
			at += n;
			b->len += utf8_encode(to, utf8_lower(code));
		}
	}
	return (struct text_view){(const char *)b->data, b->len};
}

static const char bad_escape[] = "the pattern of like ends with its escape";

static bool like_parse(struct like *l, struct text_view pattern, int escape, struct arena *a)
{
	l->items = ARENA_ARRAY(a, uint16_t, pattern.len + 1);
	l->len = 0;
	for (size_t i = 0; i < pattern.len; i++) {
		uint8_t c = (uint8_t)pattern.text[i];

		if (c == escape) {
			if (++i == pattern.len)
				return false;
			c = (uint8_t)pattern.text[i];
			l->items[l->len++] = c;
		} else if (c == '%') {
			if (!l->len || l->items[l->len - 1] != ANY_RUN)
				l->items[l->len++] = ANY_RUN;
		} else {
			l->items[l->len++] = c == '_' ? ANY_ONE : c;
		}
	}
	return true;
}

/* Patterns of one run of plain bytes need only memcmp or memmem. */
static void like_simplify(struct like *l, struct arena *a)
{
	bool open_start = l->len && l->items[0] == ANY_RUN;
	bool open_end = l->len && l->items[l->len - 1] == ANY_RUN;
	size_t from = open_start, to = l->len - (open_end && l->len > 1);
	char *part = arena_alloc(a, l->len + 1);

	l->shape = LIKE_GENERAL;
	for (size_t i = from; i < to; i++) {
		if (l->items[i] >= ANY_ONE)
			return;
		part[i - from] = (char)l->items[i];
	}
	l->part = part;
	l->part_len = to > from ? to - from : 0;
	l->shape = open_start ? (open_end ? LIKE_CONTAINS : LIKE_SUFFIX) :
		open_end ? LIKE_PREFIX : LIKE_EXACT;
}

/* The length in bytes of the character at p: _ stands for one character. */
static size_t character(const uint8_t *p, const uint8_t *end)
{
	size_t n = 1;

	while (p + n < end && (p[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* Greedy with one point to go back to: the last run.  Linear in text times pattern. */
static bool like_match(const struct like *l, struct text_view text)
{
	const uint8_t *p = (const uint8_t *)text.text, *end = p + text.len, *back = NULL;
	size_t i = 0, back_i = 0;

	while (p < end) {
		uint8_t c = *p;

		if (i < l->len && l->items[i] == ANY_RUN) {
			back_i = ++i;
			back = p;
		} else if (i < l->len && l->items[i] == ANY_ONE) {
			p += character(p, end);
			i++;
		} else if (i < l->len && l->items[i] == c) {
			p++;
			i++;
		} else if (back) {
			back += character(back, end);
			p = back;
			i = back_i;
		} else {
			return false;
		}
	}
	while (i < l->len && l->items[i] == ANY_RUN)
		i++;
	return i == l->len;
}

static bool like_matches(const struct like *l, struct text_view t)
{
	switch (l->shape) {
	case LIKE_GENERAL: return like_match(l, t);
	case LIKE_EXACT: return text_equal(t, (struct text_view){l->part, l->part_len});
	case LIKE_PREFIX: return t.len >= l->part_len && !memcmp(t.text, l->part, l->part_len);
	case LIKE_SUFFIX:
		return t.len >= l->part_len &&
			!memcmp(t.text + t.len - l->part_len, l->part, l->part_len);
	case LIKE_CONTAINS:
		return !l->part_len || (t.len >= l->part_len &&
			memmem(t.text, t.len, l->part, l->part_len));
	}
	return false;
}

static int like_escape(const struct kernel *k, uint32_t row)
{
	if (k->args_len < 3)
		return -1;
	return arg_text(k, 2, row).len ? (uint8_t)arg_text(k, 2, row).text[0] : -1;
}

static void like_rows(struct kernel *k)
{
	struct like l = {.items = NULL};
	bool fold = k->state != NULL;
	struct buf pattern = BUF_INIT, text = BUF_INIT;
	bool constant = k->args[1].constant && (k->args_len < 3 || k->args[2].constant);
	bool good = false;
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		out[r] = 0;
		if (!out_is_valid(k, r))
			continue;
		if (!good || !constant) {
			struct text_view p = arg_text(k, 1, r);

			good = like_parse(&l, fold ? folded(p, &pattern) : p, like_escape(k, r),
				k->arena);
			like_simplify(&l, k->arena);
		}
		if (!good)
			vector_fail(k, r, bad_escape);
		else
			out[r] = like_matches(&l, fold ? folded(arg_text(k, 0, r), &text) :
				arg_text(k, 0, r));
	}
	buf_clear(&pattern);
	buf_clear(&text);
}

static int resolve_like(struct resolving *r, struct error *e)
{
	r->state = r->call->name[0] == 'i' ? (void *)(uintptr_t)"ilike" : NULL;
	return 0;
}

const struct function functions_compare[] = {
	{.name = "=", .args_min = 2, .args_max = 2, .resolve = resolve_compare},
	{.name = "<>", .args_min = 2, .args_max = 2, .resolve = resolve_compare},
	{.name = "<", .args_min = 2, .args_max = 2, .resolve = resolve_compare},
	{.name = "<=", .args_min = 2, .args_max = 2, .resolve = resolve_compare},
	{.name = ">", .args_min = 2, .args_max = 2, .resolve = resolve_compare},
	{.name = ">=", .args_min = 2, .args_max = 2, .resolve = resolve_compare},
	{.name = "is distinct from", .flags = FUNCTION_OWN_NULLS, .args_min = 2, .args_max = 2,
		.resolve = resolve_distinct},
	{.name = "is not distinct from", .flags = FUNCTION_OWN_NULLS, .args_min = 2, .args_max = 2,
		.resolve = resolve_distinct},
	{.name = "in", .flags = FUNCTION_OWN_NULLS, .args_min = 2, .args_max = 255,
		.resolve = resolve_in},
	{.name = "greatest", .flags = FUNCTION_OWN_NULLS, .args_min = 1, .args_max = 255,
		.resolve = resolve_extreme},
	{.name = "least", .flags = FUNCTION_OWN_NULLS, .args_min = 1, .args_max = 255,
		.resolve = resolve_extreme},
	{.name = "like", .signature = "ss", .result = 'b', .run = like_rows, .resolve = resolve_like},
	{.name = "like", .signature = "sss", .result = 'b', .run = like_rows, .resolve = resolve_like},
	{.name = "ilike", .signature = "ss", .result = 'b', .run = like_rows, .resolve = resolve_like},
	{.name = "ilike", .signature = "sss", .result = 'b', .run = like_rows, .resolve = resolve_like},
	{.name = NULL},
};
