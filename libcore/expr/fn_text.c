/* Functions of text.  Positions and lengths count characters from 1; texts that are ASCII, which is
 * asked once a value, need no search for them. */
#include "libcore/expr/kernel.h"

#include "libcore/base/utf8.h"

static const char too_long[] = "a text too long for a batch";

/* ---- joining ---- */

static bool any_failed(const struct kernel *k, uint32_t r)
{
	for (size_t i = 0; i < k->args_len; i++) {
		if (vector_has_failed(&k->args[i], r))
			return true;
	}
	return false;
}

static void join_rows(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		for (size_t i = 0; i < k->args_len && out_is_valid(k, r); i++) {
			struct text_view v = arg_text(k, i, r);

			buf_put(k->text, v.text, v.len);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* concat skips nulls; concat_ws's first argument stands between the others. */
static void concat_rows(struct kernel *k)
{
	bool between = k->state != NULL;
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		bool first = true;

		if (any_failed(k, r))
			vector_fail(k, r, "");
		else if (between && !vector_is_valid(&k->args[0], r))
			vector_null(k, r);
		for (size_t i = between; i < k->args_len && out_is_valid(k, r); i++) {
			struct text_view v = arg_text(k, i, r), mark = arg_text(k, 0, r);

			if (!vector_is_valid(&k->args[i], r))
				continue;
			if (between && !first)
				buf_put(k->text, mark.text, mark.len);
			buf_put(k->text, v.text, v.len);
			first = false;
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static void cast_to_string(struct resolving *r)
{
	for (size_t i = 0; i < r->args_len; i++)
		r->args[i] = TYPE_OF(TYPE_STRING);
	r->result = TYPE_OF(TYPE_STRING);
}

static int resolve_join(struct resolving *r, struct error *e)
{
	r->run = join_rows;
	if (r->args[0].kind != TYPE_BYTES || r->args[1].kind != TYPE_BYTES)
		cast_to_string(r);
	else
		r->result = TYPE_OF(TYPE_BYTES);
	return 0;
}

static int resolve_concat(struct resolving *r, struct error *e)
{
	r->run = concat_rows;
	r->state = strcmp(r->function->name, "concat") ? (void *)(uintptr_t) "ws" : NULL;
	cast_to_string(r);
	return 0;
}

/* ---- length, case, reverse ---- */

static size_t characters(struct text_view v)
{
	return v.len ? utf8_count(v.text, v.len) : 0;
}

static void run_length(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++)
		out[r] = (int64_t)characters(arg_text(k, 0, r));
}

static void run_bytes(struct kernel *k)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++)
		out[r] = (int64_t)arg_text(k, 0, r).len;
}

typedef size_t (*text_mapping)(char *out, const char *text, size_t len);

static void map_rows(struct kernel *k, text_mapping map)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = arg_text(k, 0, r);

		if (v.len && out_is_valid(k, r))
			k->text->len += map((char *)buf_reserve(k->text, v.len), v.text, v.len);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static void run_lower(struct kernel *k)
{
	map_rows(k, utf8_put_lower);
}

static void run_upper(struct kernel *k)
{
	map_rows(k, utf8_put_upper);
}

static size_t character_len(const char *p, const char *end)
{
	size_t n = 1;

	while (p + n < end && ((uint8_t)p[n] & 0xc0) == 0x80)
		n++;
	return n;
}

static size_t put_reverse(char *out, const char *text, size_t len)
{
	const char *end = text + len;
	char *to = out + len;

	while (text < end) {
		size_t n = character_len(text, end);

		to -= n;
		memcpy(to, text, n);
		text += n;
	}
	return len;
}

static void run_reverse(struct kernel *k)
{
	map_rows(k, put_reverse);
}

/* ---- trim ---- */

static bool holds_character(struct text_view set, const char *p, size_t n)
{
	const char *end = set.text + set.len;

	for (const char *c = set.text; c < end;) {
		size_t len = character_len(c, end);

		if (len == n && !memcmp(c, p, n))
			return true;
		c += len;
	}
	return false;
}

static struct text_view trim_start(struct text_view v, struct text_view set)
{
	while (v.len) {
		size_t n = character_len(v.text, v.text + v.len);

		if (!holds_character(set, v.text, n))
			break;
		v.text += n;
		v.len -= n;
	}
	return v;
}

static struct text_view trim_end(struct text_view v, struct text_view set)
{
	while (v.len) {
		size_t n = 1;

		while (n < v.len && ((uint8_t)v.text[v.len - n] & 0xc0) == 0x80)
			n++;
		if (!holds_character(set, v.text + v.len - n, n))
			break;
		v.len -= n;
	}
	return v;
}

static void run_trim(struct kernel *k)
{
	const char *side = k->state;
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view set = {" ", 1}, v;

		if (out_is_valid(k, r)) {
			v = arg_text(k, 0, r);
			if (k->args_len > 1)
				set = arg_text(k, 1, r);
			if (side[0] != 'r')
				v = trim_start(v, set);
			if (side[0] != 'l')
				v = trim_end(v, set);
			buf_put(k->text, v.text, v.len);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static int resolve_named(struct resolving *r, struct error *e)
{
	r->state = (void *)(uintptr_t)r->function->name;
	return 0;
}

/* ---- parts by position ---- */

/* Characters [from, to) of the text, from 0. */
static struct text_view part_of(struct text_view v, int64_t from, int64_t to)
{
	size_t start, end;

	if (from < 0)
		from = 0;
	if (to <= from || !v.len)
		return (struct text_view){"", 0};
	if (utf8_is_ascii(v.text, v.len)) {
		start = (uint64_t)from < v.len ? (size_t)from : v.len;
		end = (uint64_t)to < v.len ? (size_t)to : v.len;
		return (struct text_view){v.text + start, end - start};
	}
	start = utf8_offset(v.text, v.len, (size_t)from);
	end = start + utf8_offset(v.text + start, v.len - start, (size_t)(to - from));
	return (struct text_view){v.text + start, end - start};
}

/* A position below 0 counts from the end; 0 is the place before the first, as in PostgreSQL. */
static void run_substr(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		int64_t from, count, to = INT64_MAX;
		struct text_view v;

		if (out_is_valid(k, r)) {
			v = arg_text(k, 0, r);
			from = arg_int(k, 1, r);
			count = k->args_len > 2 ? arg_int(k, 2, r) : INT64_MAX;
			if (from < 0 && __builtin_add_overflow(from, characters(v) + 1, &from))
				from = 0;
			if (count < 0)
				vector_fail(k, r, "a length below zero");
			else if (__builtin_add_overflow(from - (from > INT64_MIN), count, &to))
				to = INT64_MAX;
			v = part_of(v, from > 0 ? from - 1 : 0, count < 0 ? 0 : to);
			buf_put(k->text, v.text, v.len);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* left(s, n), right(s, n): below 0 all but so many of the other side. */
static void run_side(struct kernel *k)
{
	bool left = ((const char *)k->state)[0] == 'l';
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r)) {
			struct text_view v = arg_text(k, 0, r);
			int64_t n = arg_int(k, 1, r), all = (int64_t)characters(v);

			n = n < 0 ? (n < -all ? 0 : all + n) : n > all ? all : n;
			v = left ? part_of(v, 0, n) : part_of(v, all - n, all);
			buf_put(k->text, v.text, v.len);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* ---- padding ---- */

static void put_fill(struct buf *b, struct text_view fill, int64_t n)
{
	int64_t each = (int64_t)characters(fill);

	for (; n >= each; n -= each)
		buf_put(b, fill.text, fill.len);
	fill = part_of(fill, 0, n);
	buf_put(b, fill.text, fill.len);
}

static void pad(struct kernel *k, uint32_t r, bool left)
{
	struct text_view v = arg_text(k, 0, r), fill = {" ", 1};
	int64_t wanted = arg_int(k, 1, r), has = (int64_t)characters(v);

	if (k->args_len > 2)
		fill = arg_text(k, 2, r);
	if (wanted <= has || !fill.len) {
		v = part_of(v, 0, wanted);
		buf_put(k->text, v.text, v.len);
		return;
	}
	if (wanted > (int64_t)KERNEL_TEXT_MAX ||
		!vector_text_fits(
			k, ((size_t)wanted + 1) * (fill.len < 4 ? fill.len : 4) + v.len)) {
		vector_fail(k, r, too_long);
		return;
	}
	if (left)
		put_fill(k->text, fill, wanted - has);
	buf_put(k->text, v.text, v.len);
	if (!left)
		put_fill(k->text, fill, wanted - has);
}

static void run_pad(struct kernel *k)
{
	bool left = ((const char *)k->state)[0] == 'l';
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r))
			pad(k, r, left);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

static void run_repeat(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = out_is_valid(k, r) ? arg_text(k, 0, r)
							: (struct text_view){"", 0};
		int64_t n = v.len ? arg_int(k, 1, r) : 0;
		size_t bytes;

		if (n > 0 && (__builtin_mul_overflow((size_t)n, v.len, &bytes) ||
				     !vector_text_fits(k, bytes))) {
			vector_fail(k, r, too_long);
			n = 0;
		}
		for (; n > 0; n--)
			buf_put(k->text, v.text, v.len);
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

const struct function functions_text[] = {
	{.name = "||", .args_min = 2, .args_max = 2, .resolve = resolve_join},
	{.name = "concat",
		.flags = FUNCTION_OWN_NULLS,
		.args_min = 1,
		.args_max = 255,
		.resolve = resolve_concat},
	{.name = "concat_ws",
		.flags = FUNCTION_OWN_NULLS,
		.args_min = 2,
		.args_max = 255,
		.resolve = resolve_concat},
	{.name = "length", .signature = "s", .result = 'i', .run = run_length},
	{.name = "length", .signature = "y", .result = 'i', .run = run_bytes},
	{.name = "octet_length", .signature = "s", .result = 'i', .run = run_bytes},
	{.name = "octet_length", .signature = "y", .result = 'i', .run = run_bytes},
	{.name = "lower", .signature = "s", .result = 's', .run = run_lower},
	{.name = "upper", .signature = "s", .result = 's', .run = run_upper},
	{.name = "reverse", .signature = "s", .result = 's', .run = run_reverse},
	{.name = "trim",
		.signature = "s",
		.result = 's',
		.run = run_trim,
		.resolve = resolve_named},
	{.name = "trim",
		.signature = "ss",
		.result = 's',
		.run = run_trim,
		.resolve = resolve_named},
	{.name = "ltrim",
		.signature = "s",
		.result = 's',
		.run = run_trim,
		.resolve = resolve_named},
	{.name = "ltrim",
		.signature = "ss",
		.result = 's',
		.run = run_trim,
		.resolve = resolve_named},
	{.name = "rtrim",
		.signature = "s",
		.result = 's',
		.run = run_trim,
		.resolve = resolve_named},
	{.name = "rtrim",
		.signature = "ss",
		.result = 's',
		.run = run_trim,
		.resolve = resolve_named},
	{.name = "substr", .signature = "si", .result = 's', .run = run_substr},
	{.name = "substr", .signature = "sii", .result = 's', .run = run_substr},
	{.name = "substring", .signature = "si", .result = 's', .run = run_substr},
	{.name = "substring", .signature = "sii", .result = 's', .run = run_substr},
	{.name = "left",
		.signature = "si",
		.result = 's',
		.run = run_side,
		.resolve = resolve_named},
	{.name = "right",
		.signature = "si",
		.result = 's',
		.run = run_side,
		.resolve = resolve_named},
	{.name = "lpad",
		.signature = "si",
		.result = 's',
		.run = run_pad,
		.resolve = resolve_named},
	{.name = "lpad",
		.signature = "sis",
		.result = 's',
		.run = run_pad,
		.resolve = resolve_named},
	{.name = "rpad",
		.signature = "si",
		.result = 's',
		.run = run_pad,
		.resolve = resolve_named},
	{.name = "rpad",
		.signature = "sis",
		.result = 's',
		.run = run_pad,
		.resolve = resolve_named},
	{.name = "repeat", .signature = "si", .result = 's', .run = run_repeat},
	{.name = NULL},
};
