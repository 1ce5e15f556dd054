/* Texts within texts: position, replace, split_part and their like.  Bytes are searched: in UTF-8 a
 * character is found only where one starts. */
#include "libcore/expr/kernel.h"

#include "libcore/base/utf8.h"

/* The first place of the needle at or behind `from`, as an offset; SIZE_MAX if there is none. */
static size_t find(struct text_view text, struct text_view needle, size_t from)
{
	const char *at;

	if (!needle.len)
		return from;
	if (text.len - from < needle.len)
		return SIZE_MAX;
	at = memmem(text.text + from, text.len - from, needle.text, needle.len);
	return at ? (size_t)(at - text.text) : SIZE_MAX;
}

/* ---- where and whether ---- */

static void places(struct kernel *k, size_t text, size_t needle)
{
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view in = arg_text(k, text, r);
		size_t at = out_is_valid(k, r) ? find(in, arg_text(k, needle, r), 0) : SIZE_MAX;

		out[r] = at == SIZE_MAX ? 0 : 1 + (int64_t)(at ? utf8_count(in.text, at) : 0);
	}
}

static void run_position(struct kernel *k)
{
	places(k, 1, 0);
}

static void run_strpos(struct kernel *k)
{
	places(k, 0, 1);
}

static void run_contains(struct kernel *k)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++)
		out[r] = out_is_valid(k, r) &&
			 find(arg_text(k, 0, r), arg_text(k, 1, r), 0) != SIZE_MAX;
}

static void run_starts(struct kernel *k)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = arg_text(k, 0, r), start = arg_text(k, 1, r);

		out[r] = out_is_valid(k, r) && v.len >= start.len &&
			 (!start.len || !memcmp(v.text, start.text, start.len));
	}
}

static void run_ends(struct kernel *k)
{
	uint8_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view v = arg_text(k, 0, r), end = arg_text(k, 1, r);

		out[r] = out_is_valid(k, r) && v.len >= end.len &&
			 (!end.len || !memcmp(v.text + v.len - end.len, end.text, end.len));
	}
}

/* ---- replace ---- */

/* False if the result is too long.  An empty needle is nowhere. */
static bool put_replaced(
	struct kernel *k, struct text_view v, struct text_view from, struct text_view to)
{
	size_t done = 0, at;

	while (from.len && (at = find(v, from, done)) != SIZE_MAX) {
		if (!vector_text_fits(k, at - done + to.len))
			return false;
		buf_put(k->text, v.text + done, at - done);
		buf_put(k->text, to.text, to.len);
		done = at + from.len;
	}
	if (done < v.len)
		buf_put(k->text, v.text + done, v.len - done);
	return true;
}

static void run_replace(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		if (out_is_valid(k, r) &&
			!put_replaced(k, arg_text(k, 0, r), arg_text(k, 1, r), arg_text(k, 2, r))) {
			k->text->len = offsets[r];
			vector_fail(k, r, "a text too long for a batch");
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

/* ---- split_part ---- */

static int64_t parts_in(struct text_view v, struct text_view mark)
{
	int64_t n = 1;
	size_t at = 0;

	while (mark.len && (at = find(v, mark, at)) != SIZE_MAX) {
		at += mark.len;
		n++;
	}
	return n;
}

/* Part n from 1; false beyond the last.  Without a separator the whole text is the only part. */
static bool part(struct text_view v, struct text_view mark, int64_t n, struct text_view *out)
{
	size_t from = 0, at;

	if (n < 0)
		n += parts_in(v, mark) + 1;
	if (n <= 0)
		return false;
	for (;;) {
		at = mark.len ? find(v, mark, from) : SIZE_MAX;
		if (--n == 0)
			break;
		if (at == SIZE_MAX)
			return false;
		from = at + mark.len;
	}
	at = at == SIZE_MAX ? v.len : at;
	*out = (struct text_view){at > from ? v.text + from : "", at - from};
	return true;
}

/* The same for a separator of one byte, which nearly all are: parts are short, so that a loop beats a
 * call that searches. */
static bool part_by_byte(struct text_view v, char mark, int64_t n, struct text_view *out)
{
	const char *p = v.text, *end = v.text + v.len, *from = p;

	for (; p < end; p++) {
		if (*p != mark)
			continue;
		if (--n == 0)
			break;
		from = p + 1;
	}
	if (p == end && n != 1)
		return false;
	*out = (struct text_view){from, (size_t)(p - from)};
	return true;
}

static bool part_of_row(const struct kernel *k, uint32_t r, struct text_view *out)
{
	struct text_view v = arg_text(k, 0, r), mark = arg_text(k, 1, r);
	int64_t n = arg_int(k, 2, r);

	return mark.len == 1 && n > 0 && v.len ? part_by_byte(v, mark.text[0], n, out)
					       : part(v, mark, n, out);
}

static void run_split_part(struct kernel *k)
{
	uint32_t *offsets = vector_offsets(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct text_view found;

		if (out_is_valid(k, r)) {
			if (part_of_row(k, r, &found))
				buf_put(k->text, found.text, found.len);
			else
				vector_null(k, r);
		}
		vector_text_end(k, offsets, r);
	}
	vector_text_finish(k);
}

const struct function functions_search[] = {
	{.name = "position", .signature = "ss", .result = 'i', .run = run_position},
	{.name = "strpos", .signature = "ss", .result = 'i', .run = run_strpos},
	{.name = "contains", .signature = "ss", .result = 'b', .run = run_contains},
	{.name = "starts_with", .signature = "ss", .result = 'b', .run = run_starts},
	{.name = "ends_with", .signature = "ss", .result = 'b', .run = run_ends},
	{.name = "replace", .signature = "sss", .result = 's', .run = run_replace},
	{.name = "split_part", .signature = "ssi", .result = 's', .run = run_split_part},
	{.name = NULL},
};
